package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"liuhen/eventstore"
	"liuhen/transparency"
	"liuhen/transparency/heads"
)

// An item is a record on its way through a whole audit. Its bytes are let go
// after the first stage.
type item struct {
	position uint64
	at       time.Time
	name     string
	key      heads.Hash
	leaf     transparency.Leaf
	revision int
	previous heads.Hash
	read     bool // as an event: revision and previous mean something
	found    *Fault

	text   []byte // of the leaf as it follows from the records; nil where there is none
	theirs []byte // of the leaf in the log, where that is another one
	about  *Fault // what is wrong if the log's leaf is the one that was signed
}

// whole audits everything. Four stages pass batches on to each other: reading;
// hashing and decoding, side by side; heads and chains of cases, in order; tree,
// tiles and checkpoints, in order. Memory is a few batches, the heads of the cases
// (120 bytes each), and the right edge of a tree.
func (a *run) whole(ctx context.Context) error {
	// In this order: a checkpoint that is in the history by now was signed of
	// records that are there when the record's end is looked at afterwards.
	memories := a.remembered()
	end := uint64(0)
	if n, err := a.History.End(ctx); err == nil {
		end = n
	} else if ctx.Err() != nil {
		return ctx.Err()
	} else {
		a.found(foundHistory(err))
	}
	last, err := a.Source.Records.End(ctx)
	if err != nil {
		return err
	}
	a.From, a.Through = 1, last
	size := int64(0) // of the tree that the tiles are complete for
	for _, m := range memories {
		if m.where == "log/checkpoint" {
			size = m.c.Size
		}
	}

	g, ctx := errgroup.WithContext(ctx)
	workers := a.Workers
	if workers < 1 {
		workers = runtime.GOMAXPROCS(0)
	}
	type job struct {
		recs []eventstore.Record
		done chan []item
	}
	todo, inOrder := make(chan job, workers), make(chan job, 2*workers+2)
	g.Go(func() error { // reading
		defer close(inOrder)
		defer close(todo)
		if last == 0 {
			return nil
		}
		for recs, err := range a.Source.Records.Read(ctx, 1, last, "") {
			if err != nil {
				return err
			}
			j := job{recs, make(chan []item, 1)}
			for _, to := range []chan job{todo, inOrder} {
				select {
				case to <- j:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		return nil
	})
	for range workers {
		g.Go(func() error {
			for j := range todo {
				j.done <- a.looked(j.recs)
			}
			return nil
		})
	}
	leaves := make(chan []item, 4)
	cases := &casesStage{a: a, size: size, next: 1}
	g.Go(func() error { // heads and chains of cases
		defer close(leaves)
		send := func(items []item) error {
			if len(items) == 0 {
				return nil
			}
			select {
			case leaves <- items:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		for j := range inOrder {
			if err := cases.take(<-j.done, send); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return cases.gap(last+1, send)
	})
	signed := make(chan sealed, 64)
	g.Go(func() error { // the history
		defer close(signed)
		return a.history(ctx, end, signed)
	})
	tree := &treeStage{a: a, size: size, mine: &edge{}}
	g.Go(func() error { return tree.run(ctx, leaves, signed, memories, last) })
	if err := g.Wait(); err != nil {
		return err
	}
	a.Cases = int64(cases.heads.Len())
	a.Faults = append(a.Faults, cases.found.kept...)
	a.Faults = append(a.Faults, tree.found.kept...)
	a.More += cases.found.more + tree.found.more
	if over := len(a.Faults) - a.Limit; over > 0 {
		a.settle()
		a.Faults, a.More = a.Faults[:a.Limit], a.More+int64(over)
	}
	if cases.blind > 0 {
		a.Unchecked = append(a.Unchecked, fmt.Sprintf("heads of cases that the log states after position %d: they rest on every record before them", cases.blind))
	}
	return nil
}

// collected are the faults of one stage.
type collected struct {
	limit int
	kept  []Fault
	more  int64
}

func (c *collected) add(f *Fault) {
	switch {
	case f == nil:
	case len(c.kept) < c.limit:
		c.kept = append(c.kept, *f)
	default:
		c.more++
	}
}

// looked is the second stage: what a record says by itself.
func (a *run) looked(recs []eventstore.Record) []item {
	items := make([]item, len(recs))
	for i := range recs {
		r := &recs[i]
		it := &items[i]
		it.position, it.at, it.name = uint64(r.Position), r.At, r.Name()
		it.key = heads.Key(it.name)
		it.leaf = a.Settings.LeafOf(*r, heads.Hash{})
		e, f := a.Tolerance.look(r)
		it.found = f
		if f == nil || f.Kind == Dated {
			it.read, it.revision, it.previous = true, e.Revision, heads.Hash(e.Previous)
		}
	}
	return items
}

// casesStage is the third stage: what rests on all records before.
type casesStage struct {
	a      *run
	heads  heads.Map
	next   uint64 // the position that comes next
	newest time.Time
	blind  uint64 // from where on the heads in the log cannot be compared; 0: they can
	found  collected
	size   int64 // of the tree that there are tiles for

	bundle int64 // which leaves are those in memory
	leaves [][]byte
}

// take hands on items, with those that the log has of positions in between that
// have no record.
func (s *casesStage) take(items []item, send func([]item) error) error {
	s.found.limit = s.a.Limit
	begun := 0
	for i := range items {
		if it := &items[i]; it.position > s.next {
			if err := errors.Join(send(items[begun:i]), s.gap(it.position, send)); err != nil {
				return err
			}
			begun = i
		}
		s.one(&items[i])
		s.next = items[i].position + 1
	}
	return send(items[begun:])
}

// gap hands on the positions up to another that have no record.
func (s *casesStage) gap(upTo uint64, send func([]item) error) error {
	if upTo <= s.next {
		return nil
	}
	s.found.add(foundMissing(s.next, upTo-1))
	if s.blind == 0 {
		s.blind = s.next
	}
	for s.next < upTo {
		var out []item
		for ; s.next < upTo && len(out) < perBatch; s.next++ {
			out = append(out, item{position: s.next, theirs: s.log(s.next)})
		}
		if err := send(out); err != nil {
			return err
		}
	}
	return nil
}

// one takes a record in.
func (s *casesStage) one(it *item) {
	s.found.add(it.found)
	if it.at.Before(s.newest.Add(-s.a.Tolerance.Back)) {
		s.found.add(foundClock(it.position, it.name, it.at, s.newest))
	} else if it.at.After(s.newest) {
		s.newest = it.at
	}
	before := s.heads.Next(it.key, it.leaf.Digest)
	count := before.Count + 1
	if it.read && (uint64(it.revision) != count || it.previous != before.Digest) {
		s.found.add(foundChain(it.position, it.name, it.revision, before))
		if uint64(it.revision) > count { // what follows is held against what it says
			count = uint64(it.revision)
			if s.blind == 0 {
				s.blind = it.position
			}
			s.heads.Put(it.key, heads.Head{Count: count, Digest: it.leaf.Digest})
		}
	}
	it.leaf.Heads = s.heads.Root()
	it.text = it.leaf.Text()
	theirs := s.log(it.position)
	if theirs == nil || bytes.Equal(theirs, it.text) {
		return
	}
	s.differs(it, theirs, count)
}

// differs finds out how the leaf of the log differs from that of a record.
func (s *casesStage) differs(it *item, theirs []byte, count uint64) {
	i := int64(it.position) - 1
	bad := foundTile(fmt.Sprintf("tile/entries/%d", i/transparency.TileWidth), it.position, it.position, tileAltered)
	if hs, err := s.a.Source.Tiles.Hashes(0, i/transparency.TileWidth, int(i%transparency.TileWidth)+1); err == nil && hs[len(hs)-1] == tlog.RecordHash(it.text) {
		s.found.add(bad) // the tree itself has the record's leaf
		return
	}
	l, err := transparency.ParseLeaf(theirs)
	if err != nil || l.Position != it.position || l.Volume != it.leaf.Volume {
		s.found.add(bad)
		return
	}
	it.theirs = theirs
	switch {
	case l.Digest != it.leaf.Digest:
		it.about = foundChanged(it.position, it.name, it.leaf.Digest, l.Digest)
	case !l.StoredAt.Equal(it.leaf.StoredAt):
		it.about = foundRestored(it.position, it.name, it.leaf.StoredAt, l.StoredAt)
	case s.blind == 0:
		it.about = foundHeads(it.position, it.name)
		s.blind = it.position
	default:
		// Only the heads differ, which cannot be compared any more.
	}
	if s.blind == 0 && l.Heads != it.leaf.Heads {
		// Go on with what the log has of this record, if that explains it.
		s.heads.Put(it.key, heads.Head{Count: count, Digest: l.Digest})
		if s.heads.Root() != l.Heads {
			s.heads.Put(it.key, heads.Head{Count: count, Digest: it.leaf.Digest})
			s.blind = it.position
		}
	}
	if s.blind > 0 { // then the record is held against the rest of the leaf
		it.leaf.Heads = l.Heads
		if it.text = it.leaf.Text(); bytes.Equal(it.text, theirs) {
			it.theirs = nil
		}
	}
}

// log is the text of the leaf that the log has of a position; nil if there is none.
func (s *casesStage) log(position uint64) []byte {
	i := int64(position) - 1
	if s.a.Source.Tiles == nil || i >= s.size {
		return nil
	}
	n := i / transparency.TileWidth
	if s.leaves == nil || n != s.bundle {
		width := int(min(transparency.TileWidth, s.size-n*transparency.TileWidth))
		var err error
		if s.leaves, err = s.a.Source.Tiles.Leaves(n, width); err != nil {
			s.found.add(foundTile(fmt.Sprintf("tile/entries/%d", n), uint64(n*transparency.TileWidth)+1, uint64(n*transparency.TileWidth)+uint64(width), tileGone))
			s.leaves = [][]byte{}
		}
		s.bundle = n
	}
	if k := int(i % transparency.TileWidth); k < len(s.leaves) {
		return s.leaves[k]
	}
	return nil
}

// sealed is a checkpoint of the history.
type sealed struct {
	seq uint64
	c   transparency.Checkpoint
}

// history reads what was signed, up to an entry, and checks each signature.
func (a *run) history(ctx context.Context, end uint64, out chan<- sealed) error {
	if end == 0 {
		return nil
	}
	recent := roots{}
	for e, err := range a.History.Follow(ctx, 0) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return a.send(ctx, out, sealed{}, foundHistory(err))
		}
		switch e.Kind {
		case transparency.KindCheckpoint:
			c, err := transparency.OpenCheckpoint(e.Data, a.Settings.Origin, a.Keys)
			if err != nil {
				if err := a.send(ctx, out, sealed{}, foundSignature(entry(e.Seq), err)); err != nil {
					return err
				}
				break
			}
			recent.add(c.Size, c.Root)
			if err := a.send(ctx, out, sealed{seq: e.Seq, c: c}, nil); err != nil {
				return err
			}
		case transparency.KindCosigned, transparency.KindCarried:
			a.found(a.cosigned(e, recent))
		case transparency.KindTimestamp, transparency.KindRotation, transparency.KindSettings, transparency.KindIncident:
			// Here time stamps are held against the authority's certificate.
			// Rotations are in Keys already.
		}
		if e.Seq >= end {
			return nil
		}
	}
	return nil
}

// roots are those of the last checkpoints, by their sizes.
type roots map[int64]tlog.Hash

const rememberedRoots = 100_000

func (r roots) add(size int64, root tlog.Hash) {
	if len(r) >= rememberedRoots {
		clear(r) // older ones are then not compared again: they were when they came
	}
	r[size] = root
}

// cosigned checks a checkpoint that witnesses have cosigned: it is signed by the
// log, and is the one that the log published. Whether the witnesses are enough is
// for a policy (package policy) to say, whose keys are others than the log's.
func (a *run) cosigned(e transparency.HistoryEntry, recent roots) *Fault {
	c, err := transparency.OpenCheckpoint(e.Data, a.Settings.Origin, a.Keys)
	if err != nil {
		return foundSignature(entry(e.Seq), err)
	}
	if root, ok := recent[c.Size]; ok && root != c.Root {
		return foundTwoTruths(c.Size, entry(e.Seq), "一个更早的检查点 · an earlier checkpoint")
	}
	return nil
}

func (a *run) send(ctx context.Context, out chan<- sealed, s sealed, f *Fault) error {
	if f != nil {
		a.found(f) // the only stage that does so while others run
		return nil
	}
	select {
	case out <- s:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// treeStage is the last stage: the tree over the leaves, held against its tiles
// and every root that was signed.
type treeStage struct {
	a     *run
	size  int64 // of the tree that there are tiles for
	found collected

	mine *edge // over the leaves that follow from the records
	logs *edge // over those of the log, from where they differ on until it is known which was signed; nil: they do not
	open []Fault
	many int64 // of open that are not kept
	good int64 // the last size whose root was right
	lost bool  // roots cannot be compared any more
	last transparency.Checkpoint
	seq  uint64 // of last
	tile int64  // files compared
}

func (s *treeStage) run(ctx context.Context, leaves <-chan []item, signed <-chan sealed, memories []remembered, end uint64) error {
	s.found.limit = s.a.Limit
	all := memories
	next, more := <-signed
	for more && next.c.Size == 0 {
		s.checkpoint(next)
		next, more = <-signed
	}
	for items := range leaves {
		for i := range items {
			s.leaf(&items[i])
			for more && next.c.Size <= s.mine.size {
				s.checkpoint(next)
				next, more = <-signed
			}
			for len(memories) > 0 && memories[0].c.Size <= s.mine.size {
				s.memory(memories[0])
				memories = memories[1:]
			}
			if s.mine.size == s.size {
				s.edge()
			}
		}
		s.a.Result.Records += count(items)
		s.a.Progress(items[len(items)-1].position, end)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for ; more; next, more = <-signed {
		s.checkpoint(next)
	}
	for _, m := range memories {
		s.memory(m)
	}
	s.close()
	s.a.Sealed, s.a.Root, s.a.Checkpoint = s.last.Size, s.last.Root, string(s.last.Note)
	if s.last.Size > int64(end) {
		s.found.add(foundLost(end, s.last.Size))
	}
	for _, m := range all {
		if m.c.Size > s.last.Size {
			s.found.add(foundRemembered(m.where, m.c.Size, s.last.Size))
		}
	}
	return nil
}

func count(items []item) (n int64) {
	for i := range items {
		if items[i].key != (heads.Hash{}) {
			n++
		}
	}
	return n
}

// leaf adds one leaf.
func (s *treeStage) leaf(it *item) {
	if s.lost {
		s.mine.size++
		return
	}
	if it.text == nil && it.theirs == nil { // no record, and the log has no leaf here
		s.lost = true
		s.mine.size++
		s.a.Unchecked = append(s.a.Unchecked, fmt.Sprintf("roots and tiles from position %d on: what stood there is not known", it.position))
		return
	}
	mine, logs := it.text, it.theirs
	if mine == nil {
		mine = logs
	}
	if logs == nil {
		logs = mine
	}
	if it.about != nil {
		if len(s.open) < s.a.Limit {
			s.open = append(s.open, *it.about)
		} else {
			s.many++
		}
	}
	if s.logs == nil && it.text != nil && it.theirs != nil {
		s.logs = s.mine.clone()
	}
	h := tlog.RecordHash(logs)
	if s.logs == nil {
		s.mine.add(h, s.full)
		return
	}
	s.logs.add(h, s.full)
	s.mine.add(tlog.RecordHash(mine), nil)
}

// full holds a tile that is full with the last leaf against its file.
func (s *treeStage) full(level int, n int64, hs []tlog.Hash) {
	if through := (n + 1) << (8 * (level + 1)); s.a.Source.Tiles != nil && through <= s.size {
		s.compare(level, n, hs)
	}
}

func (s *treeStage) compare(level int, n int64, hs []tlog.Hash) {
	s.tile++
	from, span := uint64(n)<<(8*(level+1)), uint64(1)<<(8*level)
	path := fmt.Sprintf("tile/%d/%d", level, n)
	have, err := s.a.Source.Tiles.Hashes(level, n, len(hs))
	if err != nil {
		s.found.add(foundTile(path, from+1, from+span*uint64(len(hs)), tileGone))
		return
	}
	for i := range hs {
		if hs[i] != have[i] {
			s.found.add(foundTile(path, from+span*uint64(i)+1, from+span*uint64(i+1), tileAltered))
			return
		}
	}
}

// edge holds the partial tiles of the size that the folder is complete for
// against their files.
func (s *treeStage) edge() {
	if s.a.Source.Tiles == nil || s.lost {
		return
	}
	e := s.mine
	if s.logs != nil {
		e = s.logs
	}
	n := e.size
	for level, hs := range e.levels {
		n /= transparency.TileWidth
		if len(hs) > 0 {
			s.compare(level, n, hs)
		}
	}
}

// checkpoint holds one against the tree, which has come to its size or beyond.
func (s *treeStage) checkpoint(x sealed) {
	s.a.Checkpoints++
	defer func() {
		if x.c.Size >= s.last.Size {
			s.last, s.seq = x.c, x.seq
		}
	}()
	switch {
	case s.seq > 0 && x.c.Size < s.last.Size:
		s.found.add(foundFalling(x.seq, x.c.Size, s.last.Size))
		return
	case s.seq > 0 && x.c.Size == s.last.Size && x.c.Root != s.last.Root:
		s.found.add(foundTwoTruths(x.c.Size, entry(s.seq), entry(x.seq)))
		return
	case x.c.Size != s.mine.size || s.lost: // the record does not reach so far, or was told already
		return
	}
	mine := s.mine.root()
	switch {
	case mine == x.c.Root:
		if s.logs != nil { // what the log has of those records was altered, not they
			for _, f := range s.open {
				s.found.add(foundTile(fmt.Sprintf("tile/entries/%d", (f.Position-1)/transparency.TileWidth), f.Position, f.Position, tileAltered))
			}
			s.found.more += s.many
			s.logs, s.open, s.many = nil, nil, 0
		}
	case s.logs != nil && s.logs.root() == x.c.Root:
		s.close()
		s.mine, s.logs = s.logs, nil
	default:
		s.close()
		s.found.add(foundRoot(s.good+1, x.c.Size, x.seq))
		s.lost = true
		s.a.Unchecked = append(s.a.Unchecked, fmt.Sprintf("roots after %d records: they rest on the records before them", x.c.Size))
	}
	s.good = x.c.Size
}

// close takes the faults in that were left open: the log's leaf is the one that
// was signed, or nobody knows.
func (s *treeStage) close() {
	for i := range s.open {
		s.found.add(&s.open[i])
	}
	s.found.more += s.many
	s.open, s.many = nil, 0
	s.a.Result.Tiles = s.tile
}

// memory holds a checkpoint that was put aside against the tree.
func (s *treeStage) memory(m remembered) {
	if s.seq > 0 && m.c.Size == s.last.Size {
		if m.c.Root != s.last.Root {
			s.found.add(foundTwoTruths(m.c.Size, m.where, entry(s.seq)))
		}
		return
	}
	if m.c.Size != s.mine.size || s.lost {
		return
	}
	if root := s.mine.root(); root != m.c.Root && (s.logs == nil || s.logs.root() != m.c.Root) {
		s.found.add(foundTwoTruths(m.c.Size, m.where, "记录 · the record"))
	}
}
