package transparency

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"liuhen/eventstore"
	"liuhen/transparency/heads"
)

// Config says which volume a log is of, and where its parts are.
type Config struct {
	Store    *eventstore.Store
	History  *History
	Settings Settings // what History has; see Begin

	Dir string // of the tiles and what else can be made anew from the record
	// Memory is a file that remembers the newest checkpoint that this process has
	// seen. It should lie where the record does not: with it, a record that was
	// put back to an older copy together with its history is found out.
	Memory string

	// Signers sign checkpoints; their names are the log's origin. Without one this
	// process follows the log and does not seal.
	Signers []note.Signer
	Keys    note.Verifiers // of the log: present and past
	// Rekey returns Keys anew when the history says that they were replaced; nil:
	// they stay as they are.
	Rekey func() (note.Verifiers, error)

	Period time.Duration // between two checkpoints while records come; default 1 s
	Logger *slog.Logger

	beforePublish func() // a test comes between signature and publication
}

// A Log is this process's view of the log of a volume. Its methods may be called
// from many goroutines.
type Log struct {
	cfg     Config
	logger  *slog.Logger
	history *History

	mu       sync.Mutex // guards what follows
	tree     *tree
	heads    *heads.Map // of the first tree.size records; nil: not read yet
	last     Checkpoint // the newest that is signed, and that tree has and fits
	lastSeq  uint64     // its number in the history
	lastNews time.Time  // when it became last
	own      bool       // it was sealed here
	ahead    []HistoryEntry
	changed  chan struct{} // closed when last changes, or an incident comes
	asks     []*headAsk
	incident string
	standing string // why the log does not go on at present; empty if it does
	saved    int64  // how many records the saved heads have taken in
}

// gathering is how long the first record after a pause waits for others.
const gathering = 50 * time.Millisecond

// sampled is how many records, beside those at the end, are read at a start and
// held against the log.
const sampled = 16

// Open opens the log of a volume and holds the volume against the newest
// checkpoint. Call it before Store.Run, so that nothing is written before.
// What does not fit is an incident: it stops all writing (Store.Halt), and is
// told by Status; the log is then only read. An error means that the check could
// not be made.
func Open(ctx context.Context, c Config) (*Log, error) {
	if c.Period == 0 {
		c.Period = time.Second
	}
	l := &Log{cfg: c, logger: c.Logger, history: c.History, changed: make(chan struct{})}
	err := l.check(ctx)
	if w := (*incident)(nil); errors.As(err, &w) {
		l.fail(w)
	} else if err != nil {
		return nil, fmt.Errorf("log of proofs: %w", err)
	}
	return l, nil
}

// incident is an error that means: the record, or the log, is not what it was.
// evidence are signed notes that show it.
type incident struct {
	kind, why string
	evidence  []string
}

func (w *incident) Error() string { return w.why }

func wrong(kind, format string, args ...any) error {
	return &incident{kind: kind, why: fmt.Sprintf(format, args...)}
}

// fail stops all writing, and tells of it outside the log: in the history, in a
// file beside the memory, in the log of the program.
func (l *Log) fail(w *incident) {
	l.mu.Lock()
	first := l.incident == ""
	if first {
		l.incident = w.why
		close(l.changed)
		l.changed = make(chan struct{})
	}
	l.mu.Unlock()
	if !first {
		return
	}
	l.cfg.Store.Halt("log of proofs", w.why)
	l.logger.Error("incident: the record does not fit the log of proofs", "kind", w.kind, "why", w.why)
	if w.kind == unresolved { // it is written down already
		return
	}
	text, err := json.Marshal(map[string]any{
		"at": time.Now().UTC(), "kind": w.kind, "why": w.why, "volume": l.cfg.Settings.Volume, "origin": l.cfg.Settings.Origin, "evidence": w.evidence,
	})
	if err != nil {
		panic("transparency: " + err.Error()) // plain values of our own
	}
	if l.cfg.Memory != "" {
		if err := appendLine(l.incidentsFile(), text); err != nil {
			l.logger.Error("the incident could not be written down", "err", err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := l.history.Add(ctx, KindIncident, text); err != nil {
		l.logger.Error("the incident could not be written into the history", "err", err)
	}
}

// unresolved is the kind of an incident of an earlier start that nobody has looked at.
const unresolved = "unresolved"

func (l *Log) incidentsFile() string { return l.cfg.Memory + ".incidents" }

// looked says no while there is an incident of an earlier start: what was found out
// once, by chance perhaps, does not go away by starting again.
func (l *Log) looked() error {
	if l.cfg.Memory == "" {
		return nil
	}
	text, err := os.ReadFile(l.incidentsFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	var last struct {
		Why string `json:"why"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		last.Why = lines[len(lines)-1]
	}
	return wrong(unresolved, "%s (an incident of an earlier start; when it is put right, keep %s elsewhere as evidence, and start again)", last.Why, l.incidentsFile())
}

func appendLine(path string, line []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Sync(), f.Close())
}

// check holds the record against what was signed.
func (l *Log) check(ctx context.Context) error {
	if err := l.looked(); err != nil {
		return err
	}
	// What is remembered is read before the history: another process may publish
	// between the two.
	remembered, err := l.file(l.cfg.Memory)
	if err != nil {
		return err
	}
	local, err := l.file(l.checkpointFile())
	if err != nil {
		return err
	}
	if _, err := l.history.End(ctx); errors.Is(err, errNotWhole) {
		return wrong("history", "%v", err)
	} else if err != nil {
		return err
	}
	signed, seq, err := l.newest(ctx)
	if err != nil {
		return err
	}
	for _, m := range []struct {
		c     Checkpoint
		where string
	}{{remembered, l.cfg.Memory}, {local, l.checkpointFile()}} {
		var w *incident
		switch {
		case m.c.Size > signed.Size:
			w = &incident{kind: "lost checkpoint", why: fmt.Sprintf("%s holds a checkpoint signed at %d records, the history of the log ends with one at %d: it was put back to an older state, and the record perhaps with it",
				m.where, m.c.Size, signed.Size)}
		case m.c.Note != nil && m.c.Size == signed.Size && m.c.Root != signed.Root:
			w = &incident{kind: "two truths", why: fmt.Sprintf("%s and the history of the log hold two checkpoints of %d records with different roots", m.where, signed.Size)}
		default:
			continue
		}
		w.evidence = []string{string(m.c.Note), string(signed.Note)}
		return w
	}
	end, err := l.cfg.Store.Last(ctx)
	if err != nil {
		return err
	}
	if int64(end) < signed.Size {
		return &incident{"lost records", fmt.Sprintf("the log was signed at %d records, the record ends at position %d: %d acknowledged records are missing",
			signed.Size, end, signed.Size-int64(end)), []string{string(signed.Note)}}
	}
	l.last, l.lastSeq, l.lastNews = signed, seq, time.Now()
	err = l.hold(ctx, local, remembered)
	if errors.Is(err, errTiles) { // they follow from the record, which is what counts
		l.logger.Warn("the tiles of the log are damaged and are made anew from the record", "err", err)
		err = l.hold(ctx, Checkpoint{Root: emptyRoot}, remembered, local)
	}
	if err != nil {
		return err
	}
	return l.remember(signed) // last: what contradicts it is not written over
}

// hold brings the tree to the newest checkpoint and holds it, other checkpoints and
// some records against each other. local is that of the tiles which are there.
func (l *Log) hold(ctx context.Context, local Checkpoint, others ...Checkpoint) error {
	if err := l.catchUp(ctx, local, l.last); err != nil {
		return err
	}
	for _, c := range append(others, local) {
		if c.Note != nil {
			if err := l.fits(c); err != nil {
				return err
			}
		}
	}
	return l.sample(ctx)
}

// newest is the newest checkpoint of the history; zero if there is none.
func (l *Log) newest(ctx context.Context) (Checkpoint, uint64, error) {
	e, err := l.history.Last(ctx, KindCheckpoint)
	if errors.Is(err, ErrNone) {
		return Checkpoint{Origin: l.cfg.Settings.Origin, Root: emptyRoot}, 0, nil
	}
	if err != nil {
		return Checkpoint{}, 0, err
	}
	c, err := l.signed(e)
	return c, e.Seq, err
}

// signed reads an entry of the history as a checkpoint of this log.
func (l *Log) signed(e HistoryEntry) (Checkpoint, error) {
	c, err := OpenCheckpoint(e.Data, l.cfg.Settings.Origin, l.cfg.Keys)
	if err != nil {
		return c, wrong("foreign checkpoint", "entry %d of the history of the log is no checkpoint signed with a key of this log (%v)", e.Seq, err)
	}
	return c, nil
}

func (l *Log) checkpointFile() string { return filepath.Join(l.cfg.Dir, "checkpoint") }

func (l *Log) headsFile() string { return filepath.Join(l.cfg.Dir, "heads") }

// file reads a checkpoint from a file; zero if there is none.
func (l *Log) file(path string) (Checkpoint, error) {
	none := Checkpoint{Origin: l.cfg.Settings.Origin, Root: emptyRoot}
	if path == "" {
		return none, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return none, err
	}
	c, err := OpenCheckpoint(text, l.cfg.Settings.Origin, l.cfg.Keys)
	if err != nil {
		return none, wrong("foreign checkpoint", "%s is no checkpoint signed with a key of this log (%v)", path, err)
	}
	return c, nil
}

// remember writes a checkpoint where this process finds it again: where the tiles
// are, for readers, and where the record is not.
func (l *Log) remember(c Checkpoint) error {
	if c.Note == nil {
		return nil
	}
	have, err := l.file(l.cfg.Memory)
	if err != nil {
		return err
	}
	if l.cfg.Memory != "" && c.Size >= have.Size { // another process that shares it may be ahead
		if err := os.MkdirAll(filepath.Dir(l.cfg.Memory), 0o700); err != nil {
			return err
		}
		if err := errors.Join(writeFile(l.cfg.Memory, c.Note, true), syncPath(filepath.Dir(l.cfg.Memory))); err != nil {
			return err
		}
	}
	return writeFile(l.checkpointFile(), c.Note, false)
}

// openTree opens the tree of a checkpoint from the tiles that are there, or begins
// one anew where they do not fit.
func (l *Log) openTree(c Checkpoint) (*tree, error) {
	t, err := openTree(l.cfg.Dir, c.Size)
	if err == nil && t.root() == c.Root && c.Size > 0 {
		return t, nil
	}
	if c.Size > 0 {
		l.logger.Warn("the tiles of the log do not fit their checkpoint and are made anew from the record", "size", c.Size, "err", err)
	}
	return &tree{dir: l.cfg.Dir}, os.RemoveAll(filepath.Join(l.cfg.Dir, "tile"))
}

// catchUp brings the tree to the size of a signed checkpoint, from the tiles that
// are there where they fit and from the record, and compares the roots.
func (l *Log) catchUp(ctx context.Context, local, signed Checkpoint) error {
	t, err := l.openTree(local)
	if err != nil {
		return err
	}
	l.tree = t
	if t.size < signed.Size {
		if l.heads, l.saved, err = l.loadHeads(ctx, t); err != nil {
			return err
		}
		if err := l.grow(ctx, t, l.heads, signed.Size); err != nil {
			return err
		}
	}
	if t.size == signed.Size && t.root() != signed.Root {
		return wrong("changed records", "the first %d records have another root than the checkpoint that was signed of them: some were changed, removed or put in another order", signed.Size)
	}
	return nil
}

// read reads records after a position, up to and with another.
func (l *Log) read(ctx context.Context, after, upTo int64, do func([]eventstore.Record) error) error {
	if after >= upTo {
		return nil
	}
	for recs, err := range l.cfg.Store.FollowBatches(ctx, eventstore.Position(after), 2500) {
		if errors.Is(err, eventstore.ErrNotWhole) {
			return wrong("gap", "%v", err)
		}
		if err != nil {
			return err
		}
		recs = recs[:min(int64(len(recs)), upTo-after)]
		if err := do(recs); err != nil {
			return err
		}
		if after += int64(len(recs)); after >= upTo {
			return nil
		}
	}
	return nil
}

// grow brings a tree and its heads to a size, from the record.
func (l *Log) grow(ctx context.Context, t *tree, m *heads.Map, size int64) error {
	err := l.read(ctx, t.size, size, func(recs []eventstore.Record) error { return l.take(t, m, recs) })
	if err != nil {
		return err
	}
	return t.publish()
}

// take adds records to a tree and its heads.
func (l *Log) take(t *tree, m *heads.Map, recs []eventstore.Record) error {
	for i := range recs {
		r := &recs[i]
		if int64(r.Position) != t.size+1 {
			return wrong("gap", "position %d follows %d", r.Position, t.size)
		}
		leaf := l.cfg.Settings.LeafOf(*r, heads.Hash{})
		m.Add(r.Name(), leaf.Digest)
		leaf.Heads = m.Root()
		if err := t.append(leaf.Text()); err != nil {
			return err
		}
	}
	return nil
}

// headsVersion begins the file of saved heads; the number of records follows.
const headsVersion = "liuhen/heads/v1"

// loadHeads makes the heads of a tree's records: from those that were saved and
// the records after them, else from all records. It returns how many were saved.
func (l *Log) loadHeads(ctx context.Context, t *tree) (*heads.Map, int64, error) {
	want, err := headsRoot(t)
	if err != nil {
		return nil, 0, err
	}
	m, size, err := l.readHeads()
	if err != nil || size > t.size {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.logger.Warn("the saved heads of the log cannot be used", "err", err)
		}
		m, size = &heads.Map{}, 0
	}
	for {
		err := l.read(ctx, size, t.size, func(recs []eventstore.Record) error {
			for i := range recs {
				m.Add(recs[i].Name(), sha256.Sum256(recs[i].Data))
			}
			return nil
		})
		switch {
		case err != nil:
			return nil, 0, err
		case m.Root() == want:
			return m, size, nil
		case size == 0:
			return nil, 0, wrong("changed records", "the heads of the cases in the first %d records are others than the log says: records were changed, removed or given to another case", t.size)
		}
		m, size = &heads.Map{}, 0
	}
}

// headsRoot is what a tree says of the heads of all its records.
func headsRoot(t *tree) (heads.Hash, error) {
	if t.size == 0 {
		return heads.Hash{}, nil
	}
	text, err := t.leaf(t.size - 1)
	if err != nil {
		return heads.Hash{}, err
	}
	leaf, err := ParseLeaf(text)
	return leaf.Heads, err
}

func (l *Log) readHeads() (*heads.Map, int64, error) {
	f, err := os.Open(l.headsFile())
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, 0, err
	}
	var size int64
	if _, err := fmt.Sscanf(line, headsVersion+" %d\n", &size); err != nil || size < 0 {
		return nil, 0, fmt.Errorf("%s begins with %q", l.headsFile(), line)
	}
	m, err := heads.Read(r)
	return m, size, err
}

// saveHeads saves the heads, so that a start need not read every record.
func (l *Log) saveHeads() error {
	var b bytes.Buffer
	b.Grow(72*l.heads.Len() + 64)
	fmt.Fprintf(&b, "%s %d\n", headsVersion, l.tree.size)
	if err := l.heads.Write(&b); err != nil {
		return err
	}
	if err := writeFile(l.headsFile(), b.Bytes(), false); err != nil {
		return err
	}
	l.saved = l.tree.size
	return nil
}

// fits checks that a checkpoint is of this log, which has at least its size.
func (l *Log) fits(c Checkpoint) error {
	root, err := tlog.TreeHash(c.Size, l.tree)
	if err != nil {
		return err
	}
	if root != c.Root {
		return wrong("two truths", "a checkpoint was signed of %d records whose root is not that of the first %d records here", c.Size, c.Size)
	}
	return nil
}

// sample holds the records at the end, and some others, against the log, each up
// to the root that was signed.
func (l *Log) sample(ctx context.Context) error {
	size := l.last.Size
	if size == 0 {
		return nil
	}
	compare := func(r eventstore.Record) error {
		i := int64(r.Position) - 1
		text, err := l.tree.leaf(i)
		if err != nil {
			return err
		}
		leaf, err := ParseLeaf(text)
		if err != nil {
			return fmt.Errorf("%w: leaf %d: %w", errTiles, i, err)
		}
		proof, err := tlog.ProveRecord(size, i, l.tree)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, size, l.last.Root, i, tlog.RecordHash(text)); err != nil {
			return fmt.Errorf("%w: leaf %d is not in the log that was signed: %w", errTiles, i, err)
		}
		if err := leaf.Fits(r); err != nil {
			return wrong("changed records", "%v", err)
		}
		return nil
	}
	for range min(sampled, size) {
		r, err := l.cfg.Store.At(ctx, eventstore.Position(1+rand.Int64N(size)))
		if errors.Is(err, eventstore.ErrNotWhole) {
			return wrong("lost records", "%v", err)
		}
		if err != nil {
			return err
		}
		if err := compare(r); err != nil {
			return err
		}
	}
	return l.read(ctx, max(0, size-tileWidth), size, func(recs []eventstore.Record) error {
		for _, r := range recs {
			if err := compare(r); err != nil {
				return err
			}
		}
		return nil
	})
}

// Run takes in the records as they come, seals the log, and follows what others
// seal. It blocks until ctx ends, seals once more and returns nil. Call it once,
// while Store.Run runs. After an incident it only waits: what was found is not
// written over.
func (l *Log) Run(ctx context.Context) error {
	for ctx.Err() == nil && !l.stopped() {
		err := l.run(ctx)
		if w := (*incident)(nil); errors.As(err, &w) {
			l.fail(w)
		}
		if l.stopped() {
			break
		}
		if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			break
		}
		// A full disk, a lost connection: begin anew from what is on the disk.
		l.stand(err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
	if l.stopped() {
		<-ctx.Done()
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	return l.finish(ctx)
}

// stopped says that an incident has stopped the log.
func (l *Log) stopped() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.incident != ""
}

func (l *Log) stand(err error) {
	why := "it ended without an error"
	if err != nil {
		why = err.Error()
	}
	l.logger.Warn("the log of proofs stands still and is begun anew", "err", why)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.standing = why
	l.tree, l.heads = nil, nil
}

// finish seals what is left at the end, so that the next start finds all of it.
func (l *Log) finish(ctx context.Context) error {
	l.mu.Lock()
	ready := l.tree != nil && l.heads != nil && l.incident == ""
	l.mu.Unlock()
	if !ready {
		return nil
	}
	if err := l.seal(ctx); err != nil {
		l.logger.Info("the log was not sealed at the end; the next start does it", "err", err)
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tree.size != l.last.Size || l.saved == l.tree.size {
		return nil
	}
	return l.saveHeads()
}

// run is Run up to its first trouble.
func (l *Log) run(ctx context.Context) error {
	after, seq, err := l.prepare(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer cancel()
	records, entries, failed := make(chan []eventstore.Record), make(chan HistoryEntry), make(chan error, 2)
	reading.Go(func() {
		for recs, err := range l.cfg.Store.FollowBatches(ctx, after, 1000) {
			if err != nil {
				if errors.Is(err, eventstore.ErrNotWhole) {
					err = wrong("gap", "%v", err)
				}
				failed <- err
				return
			}
			select {
			case records <- recs:
			case <-ctx.Done():
				return
			}
			if len(recs) < 500 { // let some more come, rather than wake for each group that is committed
				select {
				case <-time.After(gathering):
				case <-ctx.Done():
					return
				}
			}
		}
	})
	reading.Go(func() {
		for e, err := range l.history.Follow(ctx, seq) {
			if err != nil {
				failed <- err
				return
			}
			select {
			case entries <- e:
			case <-ctx.Done():
				return
			}
		}
	})
	due := time.NewTimer(gathering)
	defer due.Stop()
	waiting := true // for due
	for {
		var err error
		select {
		case recs := <-records:
			err = l.integrate(recs)
		case e := <-entries:
			err = l.heard(e)
		case <-due.C:
			waiting = false
			if l.mine() {
				if err = l.seal(ctx); errors.Is(err, ErrRaced) {
					err = l.raced(ctx)
				}
			}
		case err = <-failed:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err != nil || l.stopped() {
			return err
		}
		if wait, more := l.next(); more && !waiting {
			due.Reset(wait)
			waiting = true
		}
	}
}

// raced looks who was faster: another process, of which the history will tell, or
// nobody, because the history is not the one that it was.
func (l *Log) raced(ctx context.Context) error {
	e, err := l.history.Last(ctx, KindCheckpoint)
	if err != nil && !errors.Is(err, ErrNone) {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Seq < l.lastSeq {
		return wrong("history", "the history of the log ends with entry %d, the newest checkpoint was entry %d: it was made anew or put back to an older state", e.Seq, l.lastSeq)
	}
	return nil
}

// prepare makes tree and heads ready, and says from where on to read the record
// and the history.
func (l *Log) prepare(ctx context.Context) (eventstore.Position, uint64, error) {
	l.mu.Lock()
	t, m, saved, last, seq := l.tree, l.heads, l.saved, l.last, l.lastSeq
	l.mu.Unlock()
	var err error
	if t == nil { // nobody reads it yet
		if t, err = l.openTree(last); err != nil {
			return 0, 0, err
		}
	}
	if m == nil {
		if m, saved, err = l.loadHeads(ctx, t); err != nil {
			return 0, 0, err
		}
	}
	if t.size < last.Size {
		if err := l.grow(ctx, t, m, last.Size); err != nil {
			return 0, 0, err
		}
		if t.root() != last.Root {
			return 0, 0, wrong("changed records", "the first %d records have another root than the checkpoint that was signed of them", last.Size)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tree, l.heads, l.saved, l.ahead, l.standing = t, m, saved, nil, ""
	return eventstore.Position(t.size), seq, nil
}

// integrate takes records in, and looks at the checkpoints that came before them.
func (l *Log) integrate(recs []eventstore.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.take(l.tree, l.heads, recs); err != nil {
		return err
	}
	ahead := l.ahead
	l.ahead = nil
	for _, e := range ahead {
		if err := l.compare(e); err != nil {
			return err
		}
	}
	return nil
}

// heard looks at an entry that this or another process has written.
func (l *Log) heard(e HistoryEntry) error {
	switch e.Kind {
	case KindRotation:
		return l.rekey()
	case KindCheckpoint:
	default:
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.compare(e)
}

// rekey reads anew which keys are those of the log.
func (l *Log) rekey() error {
	if l.cfg.Rekey == nil {
		return nil
	}
	known, err := l.cfg.Rekey()
	if err != nil {
		return fmt.Errorf("keys of the log: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cfg.Keys = known
	return nil
}

// compare holds a checkpoint against the tree, now or when the tree has come so
// far. l.mu must be held.
func (l *Log) compare(e HistoryEntry) error {
	if e.Seq <= l.lastSeq {
		return nil
	}
	c, err := l.signed(e)
	if err != nil {
		return err
	}
	if c.Size < l.last.Size {
		return wrong("two truths", "after the checkpoint of %d records one of %d was published", l.last.Size, c.Size)
	}
	if c.Size > l.tree.size {
		l.ahead = append(l.ahead, e)
		return nil
	}
	if err := l.fits(c); err != nil {
		return err
	}
	if err := l.tree.publish(); err != nil {
		return err
	}
	l.own = false
	return l.published(c, e.Seq)
}

// published makes a checkpoint the newest. l.mu must be held.
func (l *Log) published(c Checkpoint, seq uint64) error {
	if l.incident != "" {
		return nil // what was found is not written over
	}
	if err := l.remember(c); err != nil {
		return err
	}
	l.last, l.lastSeq, l.lastNews = c, seq, time.Now()
	close(l.changed)
	l.changed = make(chan struct{})
	if c.Size == l.tree.size {
		l.answer()
		if l.tree.size-l.saved > max(20_000, int64(l.heads.Len())/2) {
			return l.saveHeads()
		}
	}
	return nil
}

// next says whether there is something to seal, and how long to wait before.
func (l *Log) next() (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tree.size <= l.last.Size || len(l.cfg.Signers) == 0 {
		return 0, false
	}
	return max(gathering, l.cfg.Period-time.Since(l.lastNews)), true
}

// mine says whether this process should seal now: it writes, or nobody has sealed
// for a while. Who seals does not matter for what is true, only for speed.
func (l *Log) mine() bool {
	if l.cfg.Store.Status().Writing {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.lastNews) > 5*l.cfg.Period
}

// seal signs the tree as it is and publishes that, unless another process has
// published since: then it returns ErrRaced, and what was signed is forgotten.
// Only the goroutine of Run calls it, so that the tree stays as it is meanwhile.
func (l *Log) seal(ctx context.Context) error {
	l.mu.Lock()
	if l.tree.size <= l.last.Size || len(l.cfg.Signers) == 0 || l.incident != "" {
		l.mu.Unlock()
		return nil
	}
	err := l.tree.publish()
	c := Checkpoint{Origin: l.cfg.Settings.Origin, Size: l.tree.size, Root: l.tree.root()}
	last := l.lastSeq
	known := l.cfg.Keys
	l.mu.Unlock()
	if err != nil {
		return err
	}
	if c.Note, err = note.Sign(&note.Note{Text: c.Text()}, l.cfg.Signers...); err != nil {
		return fmt.Errorf("sign the log at %d records: %w", c.Size, err)
	}
	// Keys that were replaced elsewhere sign nothing any more.
	if _, err := OpenCheckpoint(c.Note, c.Origin, known); err != nil {
		return fmt.Errorf("the keys that are here may not sign the log at %d records: %w", c.Size, err)
	}
	if l.cfg.beforePublish != nil {
		l.cfg.beforePublish()
	}
	seq, err := l.history.Replace(ctx, KindCheckpoint, c.Note, last)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.own = true
	return l.published(c, seq)
}

// Status is what the log is doing.
type Status struct {
	Origin     string    `json:"origin"`
	Size       int64     `json:"size"`               // of the newest checkpoint
	Root       tlog.Hash `json:"root"`               // of it
	SealedAt   time.Time `json:"sealed_at"`          // when it became known here
	Integrated int64     `json:"integrated"`         // records that the tree has taken in
	Cases      int       `json:"cases"`              // whose heads are in memory
	Incident   string    `json:"incident,omitempty"` // why all writing is stopped
	Standing   string    `json:"standing,omitempty"` // why the log does not go on at present
	Seals      bool      `json:"seals"`              // this process can
}

// Status returns what the log is doing at this moment.
func (l *Log) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Status{
		Origin: l.cfg.Settings.Origin, Size: l.last.Size, Root: l.last.Root, SealedAt: l.lastNews, Incident: l.incident, Standing: l.standing,
		Seals: len(l.cfg.Signers) > 0,
	}
	if l.tree != nil {
		s.Integrated = l.tree.size
	}
	if l.heads != nil {
		s.Cases = l.heads.Len()
	}
	return s
}

// Checkpoint is the newest checkpoint. Note is nil where nothing was signed yet.
func (l *Log) Checkpoint() Checkpoint {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// History is where the signed checkpoints are kept.
func (l *Log) History() *History { return l.history }

// Wait returns when a checkpoint has at least so many records.
func (l *Log) Wait(ctx context.Context, size int64) (Checkpoint, error) {
	for {
		l.mu.Lock()
		c, changed, incident := l.last, l.changed, l.incident
		l.mu.Unlock()
		switch {
		case c.Size >= size:
			return c, nil
		case incident != "":
			return c, fmt.Errorf("the log was sealed at %d records, not at %d, and is stopped: %s", c.Size, size, incident)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return c, fmt.Errorf("wait for the log to be sealed at %d records: %w", size, ctx.Err())
		}
	}
}

// Tile is a file of the log as C2SP tlog-tiles has it, by its path below the
// log's prefix, such as tile/0/x001/234 or tile/entries/000.p/17. ErrNone: there
// is no such tile in the newest checkpoint.
func (l *Log) Tile(path string) ([]byte, error) {
	level, n, width, ok := parseTilePath(path)
	if !ok {
		return nil, fmt.Errorf("%q is no path of a tile: %w", path, ErrNone)
	}
	l.mu.Lock()
	size := l.last.Size
	l.mu.Unlock()
	have := size >> (tileHeight * max(level, 0)) // hashes at its level
	if have/tileWidth < n || have/tileWidth == n && have%tileWidth < int64(width) {
		return nil, fmt.Errorf("%s: the log has %d leaves: %w", path, size, ErrNone)
	}
	data, err := readTile(l.cfg.Dir, level, n, width)
	if err != nil {
		return nil, err
	}
	if level >= 0 {
		if len(data) < width*tlog.HashSize {
			return nil, io.ErrUnexpectedEOF
		}
		return data[:width*tlog.HashSize], nil
	}
	leaves, err := entries(data)
	if err != nil || len(leaves) < width {
		return nil, errors.Join(err, io.ErrUnexpectedEOF)
	}
	return bundle(leaves[:width]), nil
}

// parseTilePath is the inverse of tilePath; nothing else is a path.
func parseTilePath(path string) (level int, n int64, width int, ok bool) {
	rest, found := strings.CutPrefix(path, "tile/")
	name, rest, cut := strings.Cut(rest, "/")
	if !found || !cut || len(rest) > 40 {
		return 0, 0, 0, false
	}
	if level = -1; name != "entries" {
		if _, err := fmt.Sscanf(name, "%d", &level); err != nil || level < 0 || level > 7 {
			return 0, 0, 0, false
		}
	}
	width = tileWidth
	if full, partial, is := strings.Cut(rest, ".p/"); is {
		if _, err := fmt.Sscanf(partial, "%d", &width); err != nil || width < 1 || width >= tileWidth {
			return 0, 0, 0, false
		}
		rest = full
	}
	for _, part := range strings.Split(rest, "/") {
		var d int64
		if _, err := fmt.Sscanf(strings.TrimPrefix(part, "x"), "%03d", &d); err != nil || d < 0 {
			return 0, 0, 0, false
		}
		n = n*1000 + d
	}
	return level, n, width, tilePath(level, n, width) == path
}

// Sealing says whether this process is the one that seals at present.
func (l *Log) Sealing() bool {
	writing := l.cfg.Store.Status().Writing
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.cfg.Signers) > 0 && l.incident == "" && (l.own || writing)
}

// Keys are the keys of the log, present and past.
func (l *Log) Keys() note.Verifiers {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cfg.Keys
}

// Newest is the newest checkpoint of the history, which may be newer than the one
// that this process has heard of.
func (l *Log) Newest(ctx context.Context) (Checkpoint, error) {
	e, err := l.history.Last(ctx, KindCheckpoint)
	if err != nil {
		return Checkpoint{}, err
	}
	return OpenCheckpoint(e.Data, l.cfg.Settings.Origin, l.Keys())
}

// Report makes an incident of what others have found out about the log.
func (l *Log) Report(kind, why string, evidence ...string) {
	l.fail(&incident{kind, why, evidence})
}

// Cosigned is the newest checkpoint that witnesses have cosigned, with their
// signatures; ErrNone if there is none.
func (l *Log) Cosigned(ctx context.Context) (Checkpoint, error) {
	e, err := l.history.Last(ctx, KindCosigned)
	if err != nil {
		return Checkpoint{}, err
	}
	return OpenCheckpoint(e.Data, l.cfg.Settings.Origin, l.Keys())
}

// CheckpointAt is the signed checkpoint of a size; ErrNone if there is none.
func (l *Log) CheckpointAt(ctx context.Context, size int64) (Checkpoint, error) {
	if c := l.Checkpoint(); c.Size == size && c.Note != nil {
		return c, nil
	}
	for e, err := range l.history.All(ctx) {
		if err != nil {
			return Checkpoint{}, err
		}
		if e.Kind != KindCheckpoint {
			continue
		}
		if c, err := OpenCheckpoint(e.Data, l.cfg.Settings.Origin, l.Keys()); err == nil && c.Size == size {
			return c, nil
		}
	}
	return Checkpoint{}, fmt.Errorf("a checkpoint of %d records: %w", size, ErrNone)
}
