package casework

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"time"

	"liuhen/domain"
	"liuhen/eventstore"
)

// Registers follow the log for what acts are judged by beside their own case:
// the register of officers. What it says is passed into each judgement as a
// value, and is written into the event with the position it was read at, so that
// a replay judges by the same.
type Registers struct {
	mu    sync.Mutex // guards what follows
	now   *domain.Register
	moved chan struct{} // closed when now is another
	wrong error         // why they cannot follow at present
}

// A Log is what registers follow; an *eventstore.Store is one.
type Log interface {
	FollowBatches(ctx context.Context, after eventstore.Position, limit int) iter.Seq2[[]eventstore.Record, error]
}

// A Past is the read model that registers begin from, so that a start does not
// read the whole log.
type Past interface {
	// RecordsOf returns all records of a procedure's cases, and a position up
	// to which that is all of them; some may be later.
	RecordsOf(ctx context.Context, procedure string) ([]domain.Recorded, uint64, error)
}

// NewRegisters returns registers that know only below, which may be nil.
func NewRegisters(below *domain.RosterFile) *Registers {
	return &Registers{now: domain.NewRegister(below), moved: make(chan struct{})}
}

func (r *Registers) look() (*domain.Register, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now, r.moved
}

func (r *Registers) set(next *domain.Register) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now, r.wrong = next, nil
	close(r.moved)
	r.moved = make(chan struct{})
}

// Roster is the register of officers as it is now.
func (r *Registers) Roster() domain.Roster {
	now, _ := r.look()
	return now
}

// Status is how far they have come, and why they go no further.
func (r *Registers) Status() (at uint64, wrong error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now.At(), r.wrong
}

// Wait returns when they have come to a position.
func (r *Registers) Wait(ctx context.Context, position uint64) error {
	for {
		now, moved := r.look()
		if now.At() >= position {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("wait for the registers to reach %d, they are at %d: %w", position, now.At(), ctx.Err())
		}
	}
}

// Run brings the registers up to the log's end and keeps them there until ctx
// ends. What fails is told and tried again.
func (r *Registers) Run(ctx context.Context, log Log, past Past, logger *slog.Logger) error {
	for {
		err := r.follow(ctx, log, past)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was asked to end
		}
		r.mu.Lock()
		r.wrong = err
		r.mu.Unlock()
		logger.Error("the registers cannot follow the log and try again", "error", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

func (r *Registers) follow(ctx context.Context, log Log, past Past) error {
	register, _ := r.look()
	after := register.At()
	if after == 0 {
		records, through, err := past.RecordsOf(ctx, domain.RegisterProcedure)
		if err != nil {
			return err
		}
		for i, record := range records {
			if record.Position > through { // these come with the log
				records = records[:i]
				break
			}
		}
		if register, err = register.With(records...); err != nil {
			return err
		}
		after = through
		register = register.UpTo(after)
		r.set(register)
	}
	for batch, err := range log.FollowBatches(ctx, eventstore.Position(after), 4096) {
		if err != nil {
			return err
		}
		var records []domain.Recorded
		for _, stored := range batch {
			if !ofProcedure(stored.Stream, domain.RegisterProcedure) {
				continue
			}
			record, err := domain.Read(uint64(stored.Position), stored.At, stored.Data)
			if err != nil {
				return fmt.Errorf("register of officers: %w", err)
			}
			records = append(records, record)
		}
		if register, err = register.With(records...); err != nil {
			return err
		}
		register = register.UpTo(uint64(batch[len(batch)-1].Position))
		r.set(register)
	}
	return ctx.Err()
}

// ofProcedure reports whether a stream is of a case of a procedure; see
// domain.Subject.
func ofProcedure(stream, procedure string) bool {
	parts := strings.Split(stream, ".")
	return len(parts) == 4 && parts[2] == procedure
}
