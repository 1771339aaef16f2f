package eventstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
)

// A tail is the end of the volume in memory: every record after base, found
// by position and by stream. It answers what an Append must know ("was this
// stream written to after …?") without asking the server, and feeds the
// readers of this process.
//
// Two processes fill it: the reader of the stream (append) and, where this
// process writes, the writer (commit), which knows a record's place a moment
// before it has been read back. What has been read but not acknowledged to
// the writer is held back (limit): until then it may not be on the disk.
type tail struct {
	mu       sync.Mutex
	base     Position            // what stands at or before base is not here
	kept     []kept              // kept[i] stands at base+1+i
	heads    map[string]Position // the last record of each stream in kept
	ahead    map[string]Position // the same for records committed but not yet read back …
	sent     map[Position]sent   // … and what they are
	limit    Position            // nothing after it is shown; open when this process does not write
	released Position            // readers hold everything up to here
	bytes    int64               // the size of kept
	unread   int64               // the size of sent
	live     bool                // something fills the tail
	changed  chan struct{}       // closed when more is shown, or the tail went live

	margin   int   // how many released records stay
	maxBytes int64 // when even unreleased records go
}

// kept is a record with the place of the one before it in the same stream (at
// or before base: not here) and the writer's own number of it (0: not ours).
type kept struct {
	Record
	prev Position
	tag  uint64
}

// sent is what the writer has sent to a position.
type sent struct {
	stream string
	data   []byte
}

// size is about what it takes in memory.
func (w sent) size() int64 { return int64(len(w.data)) + 64 }

// same compares what was read back with what was sent.
func (w sent) same(k *kept) error {
	if k.Stream != w.stream || !bytes.Equal(k.Data, w.data) {
		return fmt.Errorf("%w: at position %d stands something else than was written there", ErrNotWhole, k.Position)
	}
	return nil
}

// size is about what a record takes in memory: its data, the struct, its share of the maps.
func (k *kept) size() int64 { return int64(len(k.Data)) + 160 }

const open = Position(math.MaxUint64) // the tail's limit when this process does not write

func newTail(start Position, margin int, maxBytes int64) *tail {
	return &tail{
		base: start, released: start, limit: open,
		heads: map[string]Position{}, ahead: map[string]Position{}, sent: map[Position]sent{},
		margin: margin, maxBytes: maxBytes,
		changed: make(chan struct{}),
	}
}

// received is the last position that has been read. t.mu must be held.
func (t *tail) received() Position { return t.base + Position(len(t.kept)) }

// shown is the last position that readers may have. t.mu must be held.
func (t *tail) shown() Position { return min(t.received(), max(t.limit, t.base)) }

// stored is the last position that is known to be on the disk, shown or about
// to be. t.mu must be held.
func (t *tail) stored() Position {
	if t.limit == open {
		return t.received()
	}
	return max(t.shown(), t.limit)
}

// wake tells those who wait that more is shown. t.mu must be held.
func (t *tail) wake() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// end is stored for who does not hold t.mu.
func (t *tail) end() Position {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stored()
}

// start says that the tail is being filled from now on.
func (t *tail) start() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live = true
	t.wake()
}

// append adds records that were read from the stream, in order and without a gap.
func (t *tail) append(recs []kept) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range recs {
		if want := t.received() + 1; k.Position != want {
			return fmt.Errorf("%w: position %d follows %d", ErrNotWhole, k.Position, want-1)
		}
		if w, ok := t.sent[k.Position]; ok {
			delete(t.sent, k.Position)
			t.unread -= w.size()
			if err := w.same(&k); err != nil {
				return err
			}
		}
		name := nameOf(k.Stream)
		if p, ok := t.heads[name]; ok {
			k.prev = p
			if before := t.kept[p-t.base-1].Stream; before == k.Stream {
				k.Stream, name = before, nameOf(before) // one string for all
			}
		}
		t.heads[name] = k.Position
		if t.ahead[name] == k.Position {
			delete(t.ahead, name)
		}
		t.bytes += k.size()
		t.kept = append(t.kept, k)
	}
	t.shrink()
	t.wake()
	return nil
}

// shrink forgets what is released and beyond the margin, in steps so that it
// costs little, and under want of room even what is not released. t.mu must
// be held.
func (t *tail) shrink() {
	forget := 0
	if t.released > t.base {
		forget = min(int(t.released-t.base), len(t.kept)) - t.margin
	}
	if forget <= t.margin/8 {
		forget = 0
	}
	bytes := t.bytes
	for i := range forget {
		bytes -= t.kept[i].size()
	}
	for shown := t.shown(); bytes > t.maxBytes && t.base+Position(forget) < shown; forget++ {
		bytes -= t.kept[forget].size()
	}
	for _, k := range t.kept[:forget] {
		if name := nameOf(k.Stream); t.heads[name] == k.Position {
			delete(t.heads, name)
		}
	}
	clear(t.kept[:forget])
	t.kept = t.kept[forget:]
	t.base += Position(forget)
	t.bytes = bytes
}

// head returns the last position of a stream after base, 0 if there is none,
// and base. It counts what has been committed and not yet read back.
func (t *tail) head(stream string) (last, base Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	name := nameOf(stream)
	return max(t.heads[name], t.ahead[name]), t.base
}

// gate begins the writer's time: nothing more is shown until committed. It
// returns the last position that has been read, last or a later one.
func (t *tail) gate(last Position) Position {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit = max(last, t.received())
	return t.limit
}

// ungate ends the writer's time: what is read is shown.
func (t *tail) ungate() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit = open
	clear(t.ahead)
	clear(t.sent)
	t.unread = 0
	t.wake()
}

// commit tells the tail that what the entries hold is on the disk, up to last.
// What has been read back already is compared at once, the rest when it is. It
// fails with ErrNotWhole.
func (t *tail) commit(entries []*entry, last Position) (err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	received := t.received()
	for _, e := range entries {
		if e.last > received {
			t.ahead[nameOf(e.stream)] = e.last
		}
		for i, d := range e.data {
			w := sent{e.stream, d}
			switch p := e.last - Position(len(e.data)-1-i); {
			case p > received:
				t.sent[p] = w
				t.unread += w.size()
			case p > t.base:
				err = errors.Join(err, w.same(&t.kept[p-t.base-1]))
			}
		}
	}
	if t.limit != open && last > t.limit {
		t.limit = last
	}
	t.wake()
	return err
}

// since returns the records of a stream after a position, in order, and the
// position up to which that is all. ok is false if the tail begins later.
func (t *tail) since(stream string, after Position) (recs []Record, through Position, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.live || after < t.base {
		return nil, 0, false
	}
	shown := t.shown()
	for p := t.heads[nameOf(stream)]; p > after; {
		k := &t.kept[p-t.base-1]
		if p <= shown {
			recs = append(recs, k.Record)
		}
		p = k.prev
	}
	slices.Reverse(recs)
	return recs, max(shown, after), true
}

// next returns up to limit records after a position. ok is false if the tail
// does not reach back that far; then ask the stream. When nothing is there
// yet, more is closed as soon as it may be.
func (t *tail) next(after Position, limit int) (recs []Record, more <-chan struct{}, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.live || after < t.base {
		return nil, t.changed, false
	}
	shown := t.shown()
	if after >= shown {
		return nil, t.changed, true
	}
	n := min(limit, int(shown-after))
	recs = make([]Record, n)
	from := int(after - t.base)
	for i := range recs {
		recs[i] = t.kept[from+i].Record
	}
	return recs, nil, true
}

// tags returns the writer's numbers of the records after a position that have
// been read, up to n of them, whether shown or not.
func (t *tail) tags(after Position, n int) []uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []uint64
	for p := max(after, t.base) + 1; p <= t.received() && len(out) < n; p++ {
		out = append(out, t.kept[p-t.base-1].tag)
	}
	return out
}

// cut forgets what was read after end, because the stream turns out to end
// there. It returns an error if that had been shown or acknowledged.
func (t *tail) cut(end Position) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.limit != open && end < t.limit {
		return fmt.Errorf("%w: it ends at %d, position %d was acknowledged", ErrNotWhole, end, t.limit)
	}
	if end >= t.received() {
		return nil
	}
	if shown := t.shown(); end < shown {
		return fmt.Errorf("%w: it ends at %d, position %d has been read before", ErrNotWhole, end, shown)
	}
	for t.received() > end {
		k := t.kept[len(t.kept)-1]
		if k.prev > t.base {
			t.heads[nameOf(k.Stream)] = k.prev
		} else {
			delete(t.heads, nameOf(k.Stream))
		}
		t.bytes -= k.size()
		t.kept = t.kept[:len(t.kept)-1]
	}
	return nil
}

// release lets the tail forget.
func (t *tail) release(upTo Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if upTo > t.released {
		t.released = upTo
		t.shrink()
		t.wake()
	}
}

// ends returns the last position read, the last shown, the last released, and base.
func (t *tail) ends() (received, shown, released, base Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.received(), t.shown(), t.released, t.base
}

// until waits until cond, which is called with t.mu held, holds.
func (t *tail) until(ctx context.Context, cond func() bool) error {
	for {
		t.mu.Lock()
		ok, changed := cond(), t.changed
		t.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// waitReceived waits until p has been read, whether shown or not.
func (t *tail) waitReceived(ctx context.Context, p Position) error {
	return t.until(ctx, func() bool { return t.received() >= p })
}

// waitShown waits until p is shown.
func (t *tail) waitShown(ctx context.Context, p Position) error {
	return t.until(ctx, func() bool { return t.live && t.shown() >= p })
}

// size is about what the tail takes in memory, in bytes.
func (t *tail) size() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bytes + t.unread
}

// waiting is how many records are acknowledged and not read back yet.
func (t *tail) waiting() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.sent)
}
