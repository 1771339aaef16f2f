package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"liuhen/eventstore"
)

const (
	maxBatch = 4096         // records applied at once
	near     = 2 * maxBatch // behind the crew by no more than this, a model joins it
	inMemory = 12_000       // folded cases kept for the crew

	// linger is the least time between the beginnings of two small batches: what
	// comes meanwhile is gathered, for five transactions of one record cost
	// nearly as much as five of a hundred. Somebody in this process who waits for
	// a position (DB.Wait) ends it.
	linger = 40 * time.Millisecond
	small  = 256 // records of a small batch

	slowest  = 30 * time.Second // between two tries of what fails
	yieldFor = 3 * time.Second  // how long another writer may rest before we write again
)

// far is how many records there must be before an empty model is filled
// beside what can be read. A test changes it.
var far uint64 = 50_000

// RunAll keeps read models up to date until ctx ends. The models are all of
// cases or all of the access trail.
//
// The record is read and decoded once for all models that are up to date (the
// crew); each has its own transaction and position. A model that cannot apply
// a batch leaves the crew, waits, says so and tries again: it never skips, and
// it does not hold up the others. A model that another process writes stands
// by until that one rests.
func RunAll(ctx context.Context, db *DB, store Store, logger *slog.Logger, models ...Projection) error {
	r := &runner{db: db, store: store, logger: logger, models: models, joins: make(chan *writer), looks: models[0].Looks}
	for _, p := range models {
		r.at = max(r.at, db.Position(p.Name))
	}
	var g sync.WaitGroup
	g.Go(func() { r.keepListening(ctx) })
	var begun, empty []Projection
	for _, p := range models {
		if p.Looks != r.looks {
			panic("projections: RunAll of models of two streams")
		}
		if db.Position(p.Name) > 0 {
			begun = append(begun, p)
		} else {
			empty = append(empty, p)
		}
	}
	for _, p := range begun {
		g.Go(func() { r.alone(ctx, p, nil) })
	}
	g.Go(func() {
		r.fillEmpty(ctx, empty)
		for _, p := range empty {
			g.Go(func() { r.alone(ctx, p, nil) })
		}
	})
	g.Go(func() { r.crew(ctx, &g) })
	g.Wait()
	for _, p := range models {
		db.progress(p.Name).enter(Idle, nil)
	}
	return nil
}

type runner struct {
	db     *DB
	store  Store
	logger *slog.Logger
	models []Projection
	looks  bool
	joins  chan *writer // models that have caught up

	mu sync.Mutex // guards at
	at uint64     // where the crew is, or was when it last had a member
}

func (r *runner) crewAt() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at
}

func (r *runner) moveCrew(at uint64) {
	r.mu.Lock()
	r.at = at
	r.mu.Unlock()
}

// crew applies batches to the models that have joined, all at once.
func (r *runner) crew(ctx context.Context, g *sync.WaitGroup) {
	folder := newFolder(r.db, r.store, inMemory, r.models...)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case w := <-r.joins:
			r.moveCrew(w.at)
			r.march(ctx, g, folder, []*writer{w})
		}
	}
}

// march goes on until no member is left or ctx ends.
func (r *runner) march(ctx context.Context, g *sync.WaitGroup, folder *folder, members []*writer) {
	reading, cancel := context.WithCancel(ctx)
	var reader sync.WaitGroup
	defer reader.Wait()
	defer cancel()
	batches := make(chan *Batch, 1)
	reader.Go(func() { r.read(reading, folder, r.crewAt(), batches) })

	r.welcome(members[0])
	for len(members) > 0 {
		select {
		case <-ctx.Done():
			for _, w := range members {
				w.close()
			}
			return
		case w := <-r.joins:
			if err := r.catchUp(ctx, w, r.crewAt); err != nil {
				g.Go(func() { r.alone(ctx, w.projection, r.leave(w, err)) })
				continue
			}
			members = append(members, w)
			r.welcome(w)
		case b := <-batches:
			failed := r.applyAll(ctx, members, b)
			r.moveCrew(b.last)
			stay := members[:0]
			for i, w := range members {
				if failed[i] == nil {
					stay = append(stay, w)
					continue
				}
				cause := r.leave(w, failed[i])
				g.Go(func() { r.alone(ctx, w.projection, cause) })
			}
			members = stay
		}
	}
}

func (r *runner) welcome(w *writer) {
	r.db.progress(w.projection.Name).enter(Running, nil)
}

// leave ends a writer and returns why, to go on alone with.
func (r *runner) leave(w *writer, err error) *setback {
	w.close()
	return &setback{at: w.at, err: err}
}

// A setback is why a model left the crew, and where.
type setback struct {
	at  uint64
	err error
}

// applyAll returns an error for each member that could not apply the batch.
func (r *runner) applyAll(ctx context.Context, members []*writer, b *Batch) []error {
	failed := make([]error, len(members))
	var g sync.WaitGroup
	for i, w := range members {
		g.Go(func() {
			if failed[i] = w.apply(ctx, b); failed[i] == nil {
				progress := r.db.progress(w.projection.Name)
				progress.advance(w.at)
				progress.enter(Running, nil)
			}
		})
	}
	g.Wait()
	return failed
}

// read reads the record after a position and sends it on in batches that grow
// with what waits, until ctx ends. Faults are told and tried again.
func (r *runner) read(ctx context.Context, folder *folder, after uint64, out chan<- *Batch) {
	for try := 0; ctx.Err() == nil; try++ {
		from := after
		err := r.readOn(ctx, folder, &after, out)
		if ctx.Err() != nil {
			return
		}
		if after != from {
			try = 0
		}
		r.logger.Error("read models cannot read the record and try again", "after", after, "error", err)
		for name, g := range r.db.models {
			if g.projection.Looks == r.looks && g.position() >= after {
				r.db.progress(name).enter(Waiting, err)
			}
		}
		if !pause(ctx, backoff(try)) {
			return
		}
	}
}

func (r *runner) readOn(ctx context.Context, folder *folder, after *uint64, out chan<- *Batch) error {
	began := time.Now()
	for stored, err := range r.store.FollowBatches(ctx, eventstore.Position(*after), maxBatch) {
		if err != nil {
			return err
		}
		if len(stored) == 0 {
			continue
		}
		if uint64(stored[0].Position) != *after+1 {
			return fmt.Errorf("there is a gap: position %d follows %d", stored[0].Position, *after)
		}
		b, err := folder.prepare(ctx, stored, r.looks)
		if err != nil {
			return err
		}
		select {
		case out <- b:
		case <-ctx.Done():
			return ctx.Err()
		}
		*after = b.last
		if len(stored) < small {
			r.db.rest(ctx, r.looks, linger-time.Since(began))
		}
		began = time.Now()
	}
	return errors.New("the record ended")
}

// alone brings one model to where the crew is, whatever it takes, and hands
// it over. It is how every model begins, and where it returns to when
// something fails.
func (r *runner) alone(ctx context.Context, p Projection, back *setback) {
	g := r.db.progress(p.Name)
	for try := 0; ctx.Err() == nil; try++ {
		if back != nil && errors.Is(back.err, errFenced) {
			try = 0
			if !r.standBy(ctx, g, back.at) {
				return
			}
		} else if back != nil {
			g.enter(Waiting, back.err)
			r.logger.Error("a read model waits and tries again", "model", p.Name, "position", back.at, "error", back.err)
			if !pause(ctx, backoff(try)) {
				return
			}
		}
		if back = r.prepare(ctx, p); back == nil {
			return
		}
		if back.at > g.position() {
			try = 0
		}
	}
}

// prepare opens a model, brings it near the crew and hands it over.
func (r *runner) prepare(ctx context.Context, p Projection) *setback {
	g := r.db.progress(p.Name)
	w, err := r.db.openWriter(ctx, p, p.schema())
	if err != nil {
		return &setback{at: g.position(), err: err}
	}
	g.restart(w.at)
	if err := r.catchUp(ctx, w, func() uint64 { return max(near, r.crewAt()) - near }); err != nil {
		return r.leave(w, err)
	}
	select {
	case r.joins <- w:
	case <-ctx.Done():
		w.close()
	}
	return nil
}

// catchUp applies batches to one model until it has come to a position, which
// may move meanwhile.
func (r *runner) catchUp(ctx context.Context, w *writer, to func() uint64) error {
	if w.at >= to() {
		return nil
	}
	g := r.db.progress(w.projection.Name)
	g.enter(Running, nil)
	return copyUp(ctx, newFolder(r.db, r.store, 2*maxBatch, w.projection), []*writer{w}, maxBatch, to, func() { g.advance(w.at) })
}

// copyUp applies the record to writers, which are all at the same position,
// until they have come to another position, and not further. The next batch is
// read while one is applied; done is called after each.
func copyUp(ctx context.Context, f *folder, writers []*writer, size int, to func() uint64, done func()) error {
	for w := writers[0]; w.at < to(); {
		batches := make(chan *Batch, 1)
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error {
			defer close(batches)
			return readUp(ctx, f, w.at, size, to(), w.projection.Looks, batches)
		})
		g.Go(func() error {
			for b := range batches {
				if err := applyTo(ctx, writers, b); err != nil {
					return err
				}
				done()
			}
			return nil
		})
		if err := g.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// readUp sends the record after a position and up to another on in batches.
func readUp(ctx context.Context, f *folder, after uint64, size int, to uint64, looks bool, out chan<- *Batch) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for stored, err := range f.store.FollowBatches(ctx, eventstore.Position(after), size) {
		if err != nil {
			return err
		}
		if len(stored) == 0 {
			continue
		}
		if uint64(stored[0].Position) != after+1 {
			return fmt.Errorf("there is a gap: position %d follows %d", stored[0].Position, after)
		}
		stored = stored[:min(uint64(len(stored)), to-after)]
		b, err := f.prepare(ctx, stored, looks)
		if err != nil {
			return err
		}
		select {
		case out <- b:
		case <-ctx.Done():
			return ctx.Err()
		}
		if after = b.last; after == to {
			return nil
		}
	}
	return errors.New("the record ended")
}

// applyTo applies a batch to every writer, or says which failed first.
func applyTo(ctx context.Context, writers []*writer, b *Batch) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, w := range writers {
		g.Go(func() error { return w.apply(ctx, b) })
	}
	return g.Wait()
}

// standBy returns when it is our turn to write: no other process has moved the
// model beyond ours, or it has not done so for a while although there is more
// to apply. It reports false when ctx ends.
func (r *runner) standBy(ctx context.Context, g *progress, ours uint64) bool {
	for seen, rested := ours, time.Now(); ; {
		now, err := r.db.look(ctx, g)
		if err == nil {
			if now <= ours {
				return true
			}
			if now != seen {
				seen, rested = now, time.Now()
				g.enter(Standby, nil)
			}
			if time.Since(rested) > yieldFor {
				if last, err := r.store.Last(ctx); err == nil && uint64(last) > seen {
					r.logger.Info("taking over a read model", "model", g.projection.Name, "position", seen)
					return true
				}
			}
		}
		if !pause(ctx, poll) {
			return false
		}
	}
}

// keepListening hears what other processes have written.
func (r *runner) keepListening(ctx context.Context) {
	for try := 0; ; try++ {
		err := r.db.listen(ctx)
		if ctx.Err() != nil {
			return
		}
		r.logger.Warn("lost the connection that announces positions", "error", err)
		if !pause(ctx, backoff(try)) {
			return
		}
	}
}

// fillEmpty fills the models that are empty although there is much to fill
// them with: all at once, beside what can be read, and without the indexes
// that only questions need.
func (r *runner) fillEmpty(ctx context.Context, models []Projection) {
	for try := 0; len(models) > 0; try++ {
		last, err := r.store.Last(ctx)
		if err == nil {
			models, err = r.stillEmpty(ctx, models)
		}
		if err == nil {
			if len(models) == 0 || uint64(last) < far {
				return
			}
			for _, p := range models {
				r.db.progress(p.Name).enter(Filling, nil)
			}
			err = fillFirst(ctx, r.db, r.store, models, uint64(last))
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		r.logger.Error("filling the read models failed and is tried again", "error", err)
		for _, p := range models {
			r.db.progress(p.Name).enter(Waiting, err)
		}
		if !pause(ctx, backoff(try)) {
			return
		}
	}
}

func (r *runner) stillEmpty(ctx context.Context, models []Projection) ([]Projection, error) {
	var empty []Projection
	for _, p := range models {
		at, err := r.db.look(ctx, r.db.progress(p.Name))
		if err != nil {
			return nil, err
		}
		if at == 0 {
			empty = append(empty, p)
		}
	}
	return empty, nil
}

// backoff grows from 0.1 s to slowest.
func backoff(try int) time.Duration {
	return min(slowest, 100*time.Millisecond<<min(try, 10))
}

// pause reports false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
