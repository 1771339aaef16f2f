package transparency

import (
	"context"
	"fmt"
	"slices"

	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"liuhen/eventstore"
	"liuhen/transparency/heads"
)

// An Inclusion shows that a leaf is in the log.
type Inclusion struct {
	Leaf       Leaf
	Hashes     []tlog.Hash // RFC 6962, section 2.1.1
	Checkpoint []byte      // the signed note, with the cosignatures that there are
}

// Verify checks that the leaf is in a log of that origin, signed with one of these
// keys, and returns the checkpoint that says so. Every error is ErrNotProven.
func (p Inclusion) Verify(origin string, keys note.Verifiers) (Checkpoint, error) {
	c, err := OpenCheckpoint(p.Checkpoint, origin, keys)
	if err != nil {
		return Checkpoint{}, err
	}
	return c, p.Under(c)
}

// Under checks that the leaf is in the log as a checkpoint has it, which the caller
// has verified. It does not look at the proof's own. Every error is ErrNotProven.
func (p Inclusion) Under(c Checkpoint) error {
	i := int64(p.Leaf.Position) - 1
	if i < 0 || i >= c.Size {
		return fmt.Errorf("%w: the checkpoint has %d records, the leaf is that of position %d", ErrNotProven, c.Size, p.Leaf.Position)
	}
	if err := tlog.CheckRecord(p.Hashes, c.Size, c.Root, i, p.Leaf.Hash()); err != nil {
		return fmt.Errorf("%w: position %d: %w", ErrNotProven, p.Leaf.Position, err)
	}
	return nil
}

// VerifyRecord checks that a record is the one that the log has at its position.
// Every error is ErrNotProven.
func (p Inclusion) VerifyRecord(r eventstore.Record, origin string, keys note.Verifiers) (Checkpoint, error) {
	if err := p.Leaf.Fits(r); err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrNotProven, err)
	}
	return p.Verify(origin, keys)
}

// Marshal makes a file of it after C2SP tlog-proof; its extra data is the text of
// the leaf.
func (p Inclusion) Marshal() []byte {
	hashes := make([][tlog.HashSize]byte, len(p.Hashes))
	for i, h := range p.Hashes {
		hashes[i] = h
	}
	return proof.TLogProof{Index: p.Leaf.Position - 1, Hashes: hashes, Checkpoint: p.Checkpoint, ExtraData: p.Leaf.Text()}.Marshal()
}

// maxProof bounds a proof file: 63 hashes and a checkpoint with its cosignatures.
const maxProof = 256 << 10

// ParseInclusion reads what Marshal makes. Nothing is proven by that. Every error
// is ErrNotProven.
func ParseInclusion(file []byte) (Inclusion, error) {
	if len(file) > maxProof {
		return Inclusion{}, fmt.Errorf("%w: a proof of %d bytes, the limit is %d", ErrNotProven, len(file), maxProof)
	}
	var t proof.TLogProof
	if err := t.Unmarshal(file); err != nil {
		return Inclusion{}, fmt.Errorf("%w: %w", ErrNotProven, err)
	}
	leaf, err := ParseLeaf(t.ExtraData)
	if err != nil {
		return Inclusion{}, fmt.Errorf("%w: %w", ErrNotProven, err)
	}
	if t.Index+1 != leaf.Position {
		return Inclusion{}, fmt.Errorf("%w: the proof is of index %d, its leaf of position %d", ErrNotProven, t.Index, leaf.Position)
	}
	p := Inclusion{Leaf: leaf, Checkpoint: t.Checkpoint}
	for _, h := range t.Hashes {
		p.Hashes = append(p.Hashes, h)
	}
	return p, nil
}

// MarshalText is Marshal, for JSON.
func (p Inclusion) MarshalText() ([]byte, error) { return p.Marshal(), nil }

// UnmarshalText is ParseInclusion, for JSON.
func (p *Inclusion) UnmarshalText(text []byte) error {
	got, err := ParseInclusion(text)
	*p = got
	return err
}

// A CaseHead shows how a case ended when the log was sealed: how many records it
// had and which was the last one, as whoever sealed has committed to. Who has so many
// records of it has all of them, unless the sealer has lied in the leaf; that
// everybody finds out who verifies the whole record, and it is signed.
type CaseHead struct {
	Case  string      `json:"case"` // the name of its stream
	Head  heads.Head  `json:"head"`
	Proof heads.Proof `json:"proof"`
	// Inclusion is that of the last leaf of the checkpoint, which has the hash of
	// all heads.
	Inclusion Inclusion `json:"inclusion"`
}

// Verify checks the head, and returns the checkpoint at which it was so. The zero
// Head says that there was no such case. Every error is ErrNotProven.
func (h CaseHead) Verify(origin string, keys note.Verifiers) (Checkpoint, error) {
	c, err := OpenCheckpoint(h.Inclusion.Checkpoint, origin, keys)
	if err != nil {
		return c, err
	}
	return c, h.Under(c)
}

// Under checks the head against a checkpoint that the caller has verified. Every
// error is ErrNotProven.
func (h CaseHead) Under(c Checkpoint) error {
	if err := h.Inclusion.Under(c); err != nil {
		return err
	}
	if int64(h.Inclusion.Leaf.Position) != c.Size {
		return fmt.Errorf("%w: the head of %s stands at position %d, the checkpoint has %d records: there may be later ones",
			ErrNotProven, h.Case, h.Inclusion.Leaf.Position, c.Size)
	}
	if err := heads.Verify(h.Inclusion.Leaf.Heads, h.Case, h.Head, h.Proof); err != nil {
		return fmt.Errorf("%w: the head of %s: %w", ErrNotProven, h.Case, err)
	}
	return nil
}

// Prove proves the record at a position, when the log is sealed so far; then it
// does not wait.
func (l *Log) Prove(ctx context.Context, p eventstore.Position) (Inclusion, error) {
	proofs, err := l.ProveAll(ctx, []eventstore.Position{p})
	if err != nil {
		return Inclusion{}, err
	}
	return proofs[0], nil
}

// ProveAll proves many records under one checkpoint.
func (l *Log) ProveAll(ctx context.Context, positions []eventstore.Position) ([]Inclusion, error) {
	var most eventstore.Position
	for _, p := range positions {
		if p == 0 {
			return nil, fmt.Errorf("prove position 0: positions begin at 1")
		}
		most = max(most, p)
	}
	if _, err := l.Wait(ctx, int64(most)); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.proofs(positions)
}

// ProveUnder proves records under a checkpoint that the log has published, which
// need not be the newest, so that many proofs made one after another stand under
// one checkpoint.
func (l *Log) ProveUnder(c Checkpoint, positions []uint64) ([]Inclusion, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.Size > l.last.Size {
		return nil, fmt.Errorf("prove under a checkpoint of %d records: the log has %d", c.Size, l.last.Size)
	}
	return l.under(c, positions)
}

// proofs proves records under the newest checkpoint. l.mu must be held.
func (l *Log) proofs(positions []eventstore.Position) ([]Inclusion, error) {
	plain := make([]uint64, len(positions))
	for i, p := range positions {
		plain[i] = uint64(p)
	}
	return l.under(l.last, plain)
}

func (l *Log) under(c Checkpoint, positions []uint64) ([]Inclusion, error) {
	if l.tree == nil {
		return nil, fmt.Errorf("the log stands still: %s", l.standing)
	}
	out := make([]Inclusion, len(positions))
	for i, p := range positions {
		if p == 0 || int64(p) > c.Size {
			return nil, fmt.Errorf("prove position %d: the checkpoint has %d records", p, c.Size)
		}
		text, err := l.tree.leaf(int64(p) - 1)
		if err != nil {
			return nil, fmt.Errorf("prove position %d: %w", p, err)
		}
		if out[i].Leaf, err = ParseLeaf(text); err != nil {
			return nil, fmt.Errorf("prove position %d: %w", p, err)
		}
		if out[i].Hashes, err = tlog.ProveRecord(c.Size, int64(p)-1, l.tree); err != nil {
			return nil, fmt.Errorf("prove position %d: %w", p, err)
		}
		out[i].Checkpoint = c.Note
	}
	return out, nil
}

// Consistency proves that the log of one size grew out of that of a smaller one
// (RFC 6962, section 2.1.2).
func (l *Log) Consistency(old, size int64) (tlog.TreeProof, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tree == nil {
		return nil, fmt.Errorf("the log stands still: %s", l.standing)
	}
	if old < 1 || old > size || size > l.last.Size {
		return nil, fmt.Errorf("no proof from %d to %d records: the log has %d", old, size, l.last.Size)
	}
	return tlog.ProveTree(size, old, l.tree)
}

// headAsk waits for the heads of cases at the next seal.
type headAsk struct {
	cases []string
	done  chan struct{}
	heads []CaseHead
	err   error
}

// Heads shows the heads of cases, with all records up to a position at the least, as
// they are when the log is next sealed, or at once where it is sealed as it is; all
// under one checkpoint. The process that seals answers within about a second; one
// that follows only when it stands just where a checkpoint does.
func (l *Log) Heads(ctx context.Context, cases []string, least eventstore.Position) ([]CaseHead, error) {
	if _, err := l.Wait(ctx, int64(least)); err != nil {
		return nil, err
	}
	ask := &headAsk{cases: cases, done: make(chan struct{})}
	l.mu.Lock()
	if l.incident != "" {
		defer l.mu.Unlock()
		return nil, fmt.Errorf("the log is stopped: %s", l.incident)
	}
	l.asks = append(l.asks, ask)
	if l.tree != nil && l.heads != nil && l.tree.size == l.last.Size {
		l.answer()
	}
	l.mu.Unlock()
	select {
	case <-ask.done:
		return ask.heads, ask.err
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		l.asks = slices.DeleteFunc(l.asks, func(a *headAsk) bool { return a == ask })
		return nil, fmt.Errorf("wait for the log to be sealed: %w", ctx.Err())
	}
}

// answer answers who waits for heads. The tree must be as it was sealed, and l.mu
// held.
func (l *Log) answer() {
	for _, ask := range l.asks {
		ask.heads, ask.err = l.headsOf(ask.cases)
		close(ask.done)
	}
	l.asks = nil
}

func (l *Log) headsOf(cases []string) ([]CaseHead, error) {
	if l.last.Size == 0 {
		return nil, fmt.Errorf("nothing was sealed yet")
	}
	proofs, err := l.proofs([]eventstore.Position{eventstore.Position(l.last.Size)})
	if err != nil {
		return nil, err
	}
	out := make([]CaseHead, len(cases))
	for i, name := range cases {
		h, p := l.heads.Prove(name)
		out[i] = CaseHead{Case: name, Head: h, Proof: p, Inclusion: proofs[0]}
	}
	return out, nil
}
