package casework

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
	"liuhen/eventstore"
)

// Registers follow the log for what acts are judged by beside their own case
// and is asked of every act: the register of officers, the values that agencies
// have put in force, the calendars that they count days by, and the law files of their
// own that they have put in force. What they say is passed into each judgement as a
// value, and is frozen into the event, so that a replay judges by the same.
type Registers struct {
	mu    sync.Mutex // guards what follows
	now   known
	moved chan struct{} // closed when now is another
	wrong error         // why they cannot follow at present
}

// known is the registers at one position.
type known struct {
	officers   *domain.Register
	parameters *domain.Parameters
	calendars  *domain.Calendars
	laws       *domain.Laws
}

// procedures are those whose cases make up the registers.
var procedures = []string{domain.RegisterProcedure, domain.ParametersProcedure, domain.NoticeProcedure, domain.LawProcedure}

// with returns the registers after further records, which are complete up to a
// position.
func (k known) with(records []domain.Recorded, through uint64) (known, error) {
	officers, err := k.officers.With(records...)
	if err != nil {
		return known{}, err
	}
	parameters, err := k.parameters.With(records...)
	if err != nil {
		return known{}, err
	}
	calendars, err := k.calendars.With(records...)
	if err != nil {
		return known{}, err
	}
	laws, err := k.laws.With(records...)
	if err != nil {
		return known{}, err
	}
	return known{officers.UpTo(through), parameters.UpTo(through), calendars.UpTo(through), laws.UpTo(through)}, nil
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

// NewRegisters returns registers that know only the officers below, which may be
// nil, and a calendar.
func NewRegisters(below *domain.RosterFile, base *calendar.Calendar) *Registers {
	return &Registers{now: known{domain.NewRegister(below), domain.NewParameters(), domain.NewCalendars(base), domain.NewLaws()}, moved: make(chan struct{})}
}

func (r *Registers) look() (known, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now, r.moved
}

func (r *Registers) set(next known) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now, r.wrong = next, nil
	close(r.moved)
	r.moved = make(chan struct{})
}

// Now is what acts are judged by now.
func (r *Registers) Now() domain.Registers {
	now, _ := r.look()
	return domain.Registers{Roster: now.officers, Parameters: now.parameters, Calendars: now.calendars, Laws: now.laws}
}

// Calendar is what an agency counts days by now.
func (r *Registers) Calendar(agency string) *calendar.Calendar {
	now, _ := r.look()
	cal, _ := now.calendars.For(agency)
	return cal
}

// Law is the files of its own that an agency has in force on a day.
func (r *Registers) Law(agency string, on calendar.Date) []rulebook.FileRef {
	now, _ := r.look()
	return now.laws.On(agency, on)
}

// HaveLaw reports whether any agency has put a law file of its own in force.
func (r *Registers) HaveLaw() bool {
	now, _ := r.look()
	return now.laws.Any()
}

// Status is how far they have come, and why they go no further.
func (r *Registers) Status() (at uint64, wrong error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now.officers.At(), r.wrong
}

// Wait returns when they have come to a position.
func (r *Registers) Wait(ctx context.Context, position uint64) error {
	for {
		now, moved := r.look()
		if now.officers.At() >= position {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("wait for the registers to reach %d, they are at %d: %w", position, now.officers.At(), ctx.Err())
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
	now, _ := r.look()
	after := now.officers.At()
	if after == 0 {
		var err error
		if now, after, err = begin(ctx, now, past); err != nil {
			return err
		}
		r.set(now)
	}
	for batch, err := range log.FollowBatches(ctx, eventstore.Position(after), 4096) {
		if err != nil {
			return err
		}
		var records []domain.Recorded
		for _, stored := range batch {
			if !ofProcedures(stored.Stream) {
				continue
			}
			record, err := domain.Read(uint64(stored.Position), stored.At, stored.Data)
			if err != nil {
				return fmt.Errorf("registers: %w", err)
			}
			records = append(records, record)
		}
		if now, err = now.with(records, uint64(batch[len(batch)-1].Position)); err != nil {
			return err
		}
		r.set(now)
	}
	return ctx.Err()
}

// begin reads the registers from a read model, and says up to which position
// they are complete.
func begin(ctx context.Context, now known, past Past) (known, uint64, error) {
	var all []domain.Recorded
	after := uint64(math.MaxUint64)
	for _, procedure := range procedures {
		records, through, err := past.RecordsOf(ctx, procedure)
		if err != nil {
			return known{}, 0, err
		}
		all, after = append(all, records...), min(after, through)
	}
	// What is later comes with the log.
	all = slices.DeleteFunc(all, func(r domain.Recorded) bool { return r.Position > after })
	now, err := now.with(all, after)
	return now, after, err
}

// ofProcedures reports whether a stream is of a case that registers are made
// of; see domain.Subject.
func ofProcedures(stream string) bool {
	parts := strings.Split(stream, ".")
	return len(parts) == 4 && slices.Contains(procedures, parts[2])
}
