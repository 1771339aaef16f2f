package projections

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sync/errgroup"

	"liuhen/domain"
	"liuhen/eventstore"
)

// A folder follows cases through the batches, so that models which need the
// folded case get it, each case folded once for all of them. Cases of late are
// in memory; others are read from the timeline, all that a batch needs by one
// question. One goroutine at a time may use a folder.
type folder struct {
	db     *DB
	store  Store
	schema string // of the timeline that cases are read from
	cases  *simplelru.LRU[domain.CaseID, *kept]
	idle   bool // no model asks for cases

	// back says that a case is handed out when it leaves memory, not after
	// each batch that touches it: for a fill, which need not be readable on
	// the way, and so writes most cases once.
	back bool
	left []CaseState // left memory, and not handed out yet
}

// kept is a case in memory.
type kept struct {
	*domain.Case
	isNew bool // it was never handed out
	dirty bool // it changed since it was handed out
}

// newFolder returns a folder for some models that keeps a number of cases in
// memory: at least as many as a batch can have.
func newFolder(db *DB, store Store, capacity int, models ...Projection) *folder {
	f := &folder{
		db: db, store: store, schema: timeline.schema(),
		idle: !slices.ContainsFunc(models, func(p Projection) bool { return p.Folds }),
	}
	cases, err := simplelru.NewLRU(capacity, func(_ domain.CaseID, k *kept) {
		if k.dirty {
			f.left = append(f.left, CaseState{Case: k.Case, New: k.isNew})
		}
	})
	if err != nil {
		panic("projections: " + err.Error())
	}
	f.cases = cases
	return f
}

// fold takes a batch in and returns the cases whose rows must be written.
func (f *folder) fold(ctx context.Context, records []domain.Recorded) ([]CaseState, error) {
	if err := f.fetch(ctx, records); err != nil {
		return nil, err
	}
	var touched []*kept
	for _, r := range records {
		k, ok := f.cases.Get(r.Subject)
		if !ok {
			k = &kept{isNew: true}
		}
		c, err := domain.Evolve(f.db.law, k.Case, r)
		if err != nil {
			// What is in memory went further than the tables will: forget it.
			f.forget()
			return nil, fmt.Errorf("fold position %d: %w", r.Position, err)
		}
		k.Case = c
		if !k.dirty {
			k.dirty = true
			touched = append(touched, k)
		}
		if !ok {
			f.cases.Add(r.Subject, k)
		}
	}
	if f.back {
		return f.takeLeft(), nil
	}
	f.left = nil
	states := make([]CaseState, len(touched))
	for i, k := range touched {
		states[i] = CaseState{Case: k.Case, New: k.isNew}
		k.isNew, k.dirty = false, false
	}
	return states, nil
}

// flush hands out what has changed and is still in memory, and ends back.
func (f *folder) flush() []CaseState {
	f.back = false
	for _, k := range f.cases.Values() {
		if k.dirty {
			f.left = append(f.left, CaseState{Case: k.Case, New: k.isNew})
			k.isNew, k.dirty = false, false
		}
	}
	return f.takeLeft()
}

func (f *folder) takeLeft() []CaseState {
	left := f.left
	f.left = nil
	return left
}

func (f *folder) forget() {
	f.cases.Purge()
	f.left = nil
}

// fetch brings the cases into memory that the batch goes on with.
func (f *folder) fetch(ctx context.Context, records []domain.Recorded) error {
	var missing []domain.CaseID
	follows := make(map[domain.CaseID]domain.Recorded) // first record of each missing case in the batch
	seen := make(map[domain.CaseID]bool, len(records))
	for _, r := range records {
		if seen[r.Subject] {
			continue
		}
		seen[r.Subject] = true
		if k, ok := f.cases.Get(r.Subject); ok {
			if k.Revision+1 == r.Revision && k.Head == r.Previous {
				continue
			}
			f.cases.Remove(r.Subject) // memory is ahead or behind: the batch is another than it had been
		}
		if r.Revision > 1 {
			missing = append(missing, r.Subject)
			follows[r.Subject] = r
		}
	}
	if len(missing) == 0 {
		return nil
	}
	found, err := f.db.load(ctx, f.schema, missing, records[0].Position)
	if err != nil {
		return fmt.Errorf("read cases from the timeline: %w", err)
	}
	for _, id := range missing {
		c, err := f.replay(ctx, found.cases[id], follows[id])
		if err != nil {
			return err
		}
		f.cases.Add(id, &kept{Case: c})
	}
	return nil
}

// replay folds what the timeline has of a case. The record that follows
// carries the digest of the one before it, so a timeline that is behind, or
// whose rows were changed, is found out; the case then comes from the record
// itself.
func (f *folder) replay(ctx context.Context, records []domain.Recorded, follows domain.Recorded) (*domain.Case, error) {
	c, err := domain.Replay(f.db.law, records)
	if err == nil && c != nil && c.Revision+1 == follows.Revision && c.Head == follows.Previous {
		return c, nil
	}
	if err != nil && !errors.Is(err, domain.ErrChain) && !errors.Is(err, domain.ErrRecord) {
		return nil, err
	}
	return f.stored(ctx, follows.Subject, follows.Position)
}

// stored folds a case from the record itself, as it is before a position.
func (f *folder) stored(ctx context.Context, id domain.CaseID, before uint64) (*domain.Case, error) {
	stored, _, err := f.store.Load(ctx, string(id))
	if err != nil {
		return nil, fmt.Errorf("read case %s from the record: %w", id, err)
	}
	var records []domain.Recorded
	for _, s := range stored {
		if uint64(s.Position) >= before {
			break
		}
		r, err := domain.Read(uint64(s.Position), s.At, s.Data)
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	return domain.Replay(f.db.law, records)
}

// decode reads stored records, on all processors.
func decode(stored []eventstore.Record) ([]domain.Recorded, error) {
	records := make([]domain.Recorded, len(stored))
	err := inParts(len(stored), func(from, to int) error {
		for i := from; i < to; i++ {
			var err error
			if records[i], err = domain.Read(uint64(stored[i].Position), stored[i].At, stored[i].Data); err != nil {
				return err
			}
		}
		return nil
	})
	return records, err
}

// inParts does n things on all processors, each taking a part of them.
func inParts(n int, do func(from, to int) error) error {
	var g errgroup.Group
	part := max(64, (n+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	for from := 0; from < n; from += part {
		g.Go(func() error { return do(from, min(from+part, n)) })
	}
	return g.Wait()
}

// equip gives a batch what a model needs beside it, as it is at a position.
func (f *folder) equip(b *Batch, at uint64) {
	b.base = f.db.book.Calendar()
	b.load = func(ctx context.Context, ids []domain.CaseID) ([]CaseState, error) {
		states := make([]CaseState, len(ids))
		var g errgroup.Group
		g.SetLimit(8)
		for i, id := range ids {
			g.Go(func() error {
				c, err := f.stored(ctx, id, at+1)
				states[i] = CaseState{Case: c}
				return err
			})
		}
		return states, g.Wait()
	}
}

// prepare makes a batch of what was stored. A case that cannot be folded stops
// only the models that need it.
func (f *folder) prepare(ctx context.Context, stored []eventstore.Record, looks bool) (*Batch, error) {
	b := &Batch{first: uint64(stored[0].Position), last: uint64(stored[len(stored)-1].Position)}
	if b.last-b.first+1 != uint64(len(stored)) {
		return nil, fmt.Errorf("there is a gap between positions %d and %d", b.first, b.last)
	}
	var err error
	if looks {
		b.Looks, err = decodeLooks(stored)
		return b, err
	}
	if b.Records, err = decode(stored); err != nil {
		return nil, err
	}
	if f.idle {
		return b, nil
	}
	f.equip(b, b.last)
	b.Cases, b.folded = f.fold(ctx, b.Records)
	return b, nil
}
