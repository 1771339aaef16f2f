package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"liuhen/eventstore"
	"liuhen/transparency"
	"liuhen/transparency/heads"
)

// rangeOf audits the records of some positions: each is hashed anew and held
// against its leaf, which is proven up to the root of the newest checkpoint, and
// the records of a case follow each other. What rests on all records before, the
// heads in the leaves, is for the whole audit.
func (a *run) rangeOf(ctx context.Context, from, through uint64) error {
	a.From, a.Through = from, through
	c, err := a.ready(ctx)
	if err != nil {
		return err
	}
	end, err := a.Source.Records.End(ctx)
	if err != nil {
		return err
	}
	if c.Size > int64(end) {
		a.found(foundLost(end, c.Size))
	}
	if through > end {
		if c.Size <= int64(end) {
			a.found(foundNotThere(
				fmt.Sprintf("记录止于位置 %d，没有位置 %d", end, through),
				fmt.Sprintf("the record ends at position %d, there is no position %d", end, through), through, ""))
		}
		through = min(through, end)
	}
	p := a.prover(c)
	cases := map[string]heads.Head{} // bounded by the range
	next := from
	for recs, err := range a.Source.Records.Read(ctx, from, through, "") {
		if err != nil {
			return err
		}
		for _, it := range a.looked(recs) {
			if it.position > next {
				a.found(foundMissing(next, it.position-1))
			}
			next = it.position + 1
			a.found(it.found)
			if before, known := cases[it.name]; known && it.read && (uint64(it.revision) != before.Count+1 || it.previous != before.Digest) {
				a.found(foundChain(it.position, it.name, it.revision, before))
			}
			cases[it.name] = heads.Head{Count: uint64(it.revision), Digest: it.leaf.Digest}
			a.prove(p, &it)
			a.Result.Records++
		}
		a.Progress(uint64(a.Result.Records), through-from+1)
	}
	if next <= through {
		a.found(foundMissing(next, through))
	}
	a.Cases = int64(len(cases))
	if through > uint64(c.Size) {
		a.found(foundUnsealed(max(from, uint64(c.Size)+1), through, c.Size))
	}
	return nil
}

// caseOf audits a case: its records are in the log, follow each other from the
// first on, and are all that the log has of it.
func (a *run) caseOf(ctx context.Context, name string) error {
	c, err := a.ready(ctx)
	if err != nil {
		return err
	}
	if a.Heads == nil {
		return errors.New("verify a case: the heads of cases cannot be proven here")
	}
	// The head first: it is that of a checkpoint, and records that come after it
	// are told apart by their positions.
	head, checkpoint, err := a.head(ctx, name)
	if err != nil {
		return err
	}
	if checkpoint.Size > c.Size {
		c = checkpoint
		a.Sealed, a.Root, a.Checkpoint = c.Size, c.Root, string(c.Note)
	}
	end, err := a.Source.Records.End(ctx)
	if err != nil {
		return err
	}
	if c.Size > int64(end) {
		a.found(foundLost(end, c.Size))
	}
	p := a.prover(c)
	var before, sealed heads.Head
	for recs, err := range a.Source.Records.Read(ctx, 1, end, name) {
		if err != nil {
			return err
		}
		for _, it := range a.looked(recs) {
			if a.From == 0 {
				a.From = it.position
			}
			a.Through = it.position
			a.found(it.found)
			if it.read && (uint64(it.revision) != before.Count+1 || it.previous != before.Digest) {
				a.found(foundChain(it.position, it.name, it.revision, before))
			}
			before = heads.Head{Count: before.Count + 1, Digest: it.leaf.Digest}
			if it.read {
				before.Count = uint64(it.revision)
			}
			if it.position <= uint64(checkpoint.Size) {
				sealed = heads.Head{Count: sealed.Count + 1, Digest: it.leaf.Digest}
			} else if it.position > uint64(c.Size) {
				a.found(foundUnsealed(it.position, it.position, c.Size))
			}
			a.prove(p, &it)
			a.Result.Records++
		}
	}
	switch {
	case a.Result.Records == 0 && head.Count == 0:
		a.found(foundNotThere("没有这个案件，日志也没有它的记录", "there is no such case, and the log has none of its records", 0, name))
	case sealed.Count != head.Count:
		a.found(foundHidden(name, sealed.Count, head.Count))
	case sealed != head:
		a.found(foundHeadDiffers(name))
	}
	a.Cases = min(1, a.Result.Records)
	return nil
}

// head proves the head of a case. What does not prove it is a fault.
func (a *run) head(ctx context.Context, name string) (heads.Head, transparency.Checkpoint, error) {
	all, err := a.Heads(ctx, []string{name})
	if err != nil {
		return heads.Head{}, transparency.Checkpoint{}, fmt.Errorf("head of case %s: %w", name, err)
	}
	h := all[0]
	c, err := h.Verify(a.Settings.Origin, a.Keys)
	if err != nil || h.Case != name {
		a.found(&Fault{
			Kind: Heads, Case: name,
			ZH: fmt.Sprintf("日志对该案末尾的证明不成立（%v）", err),
			EN: fmt.Sprintf("what the log shows does not prove how the case ends (%v)", err),
		})
		return heads.Head{}, transparency.Checkpoint{}, nil
	}
	return h.Head, c, nil
}

// ready finds the newest checkpoint, and holds what was put aside against it.
func (a *run) ready(ctx context.Context) (transparency.Checkpoint, error) {
	memories := a.remembered()
	c, err := a.newest(ctx)
	if err != nil && !errors.Is(err, transparency.ErrNone) {
		return c, err
	}
	for _, m := range memories {
		switch {
		case m.c.Size > c.Size:
			a.found(foundRemembered(m.where, m.c.Size, c.Size))
		case m.c.Size == c.Size && m.c.Root != c.Root:
			a.found(foundTwoTruths(c.Size, m.where, "历史的最后一项 · the last entry of the history"))
		}
	}
	return c, nil
}

// A prover proves leaves under a checkpoint, from the tiles.
type prover struct {
	c      transparency.Checkpoint
	reader *reader
	n      int64
	leaves [][]byte
}

func (a *run) prover(c transparency.Checkpoint) *prover {
	if a.Source.Tiles == nil {
		a.Unchecked = append(a.Unchecked, "inclusion in the log: its tiles are not here")
		return nil
	}
	return &prover{c: c, reader: newReader(a.Source.Tiles, c.Size)}
}

// prove holds a record against the leaf that the log has at its position, and
// that leaf against the signed root.
func (a *run) prove(p *prover, it *item) {
	i := int64(it.position) - 1
	if p == nil || i >= p.c.Size {
		return
	}
	n, k := i/transparency.TileWidth, int(i%transparency.TileWidth)
	path := fmt.Sprintf("tile/entries/%d", n)
	if p.leaves == nil || p.n != n {
		var err error
		width := int(min(transparency.TileWidth, p.c.Size-n*transparency.TileWidth))
		if p.leaves, err = a.Source.Tiles.Leaves(n, width); err != nil {
			a.found(foundTile(path, it.position, it.position, tileGone))
			p.leaves = [][]byte{}
		}
		p.n = n
	}
	if k >= len(p.leaves) {
		return
	}
	text := p.leaves[k]
	leaf, err := transparency.ParseLeaf(text)
	if err != nil {
		a.found(foundTile(path, it.position, it.position, tileAltered))
		return
	}
	proof, err := tlog.ProveRecord(p.c.Size, i, p.reader)
	if err != nil {
		a.found(foundTile("tile/0", it.position, it.position, tileGone))
		return
	}
	if err := tlog.CheckRecord(proof, p.c.Size, p.c.Root, i, tlog.RecordHash(text)); err != nil {
		a.found(foundTile("tile", it.position, it.position, tileAltered))
		return
	}
	a.Proofs++
	it.leaf.Heads = leaf.Heads // that rest on all records before
	switch {
	case bytes.Equal(it.leaf.Text(), text):
	case leaf.Digest != it.leaf.Digest:
		a.found(foundChanged(it.position, it.name, it.leaf.Digest, leaf.Digest))
	case !leaf.StoredAt.Equal(it.leaf.StoredAt):
		a.found(foundRestored(it.position, it.name, it.leaf.StoredAt, leaf.StoredAt))
	default:
		a.found(foundTile(path, it.position, it.position, tileAltered))
	}
}

// HeadsOf proves heads of cases from the record and the tiles alone, where no
// system runs that knows them: it reads the record up to the newest checkpoint.
func (s Source) HeadsOf(ctx context.Context, cases []string) ([]transparency.CaseHead, error) {
	e, err := s.History.Last(ctx, transparency.KindCheckpoint)
	if err != nil {
		return nil, err
	}
	c, err := transparency.OpenCheckpoint(e.Data, s.Settings.Origin, s.Keys)
	if err != nil {
		return nil, err
	}
	var m heads.Map
	var last eventstore.Record
	for recs, err := range s.Records.Read(ctx, 1, uint64(c.Size), "") {
		if err != nil {
			return nil, err
		}
		for i := range recs {
			m.Add(recs[i].Name(), s.Settings.LeafOf(recs[i], heads.Hash{}).Digest)
			last = recs[i]
		}
		if s.Progress != nil {
			s.Progress(uint64(last.Position), uint64(c.Size))
		}
	}
	if int64(last.Position) != c.Size {
		return nil, fmt.Errorf("the record ends at position %d, the log was signed at %d records: verify all of it first", last.Position, c.Size)
	}
	proof, err := tlog.ProveRecord(c.Size, c.Size-1, newReader(s.Tiles, c.Size))
	if err != nil {
		return nil, err
	}
	in := transparency.Inclusion{Leaf: s.Settings.LeafOf(last, m.Root()), Hashes: proof, Checkpoint: e.Data}
	out := make([]transparency.CaseHead, len(cases))
	for i, name := range cases {
		h, p := m.Prove(name)
		out[i] = transparency.CaseHead{Case: name, Head: h, Proof: p, Inclusion: in}
	}
	return out, nil
}
