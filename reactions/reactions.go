// Package reactions does what must happen because something was recorded, or
// because time has passed. It follows the log of cases with Watermill's router,
// on the publisher and subscriber of package pubsub.
//
// What a reaction does is done at least once: after a crash it is done again. So
// a reaction acts through the desk, with a command id that follows from its cause
// (CommandID); the same command gets the receipt of the first time.
//
// To learn the package read All, then runner.go, which is the way of a record.
package reactions

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"liuhen/casework"
	"liuhen/domain"
	"liuhen/domain/rulebook"
	"liuhen/eventstore"
	"liuhen/reactions/pubsub"
)

// All is the table of contents: every reaction there is.
func All(s System) []Reaction {
	if s.Law == nil {
		s.Law = s.Book
	}
	return []Reaction{
		publicationTask(s.Desk, s.Book, s.Now),
		judgeAgain(s.Desk, s.Book, s.Law, s.Registers, s.Following),
	}
}

// Ticks is the table of contents of what is done from time to time.
func Ticks(s System) []Tick {
	return []Tick{
		overdue(s.Desk, s.Board),
	}
}

// A System is what reactions act on and ask.
type System struct {
	Desk      Desk
	Book      *rulebook.Book // without files that agencies have put in force
	Law       domain.Law     // with them; nil: there are none
	Board     Board
	Registers Registers
	Following Following
	Now       func() time.Time
}

// A Desk carries out commands; *casework.Desk is one.
type Desk interface {
	Record(ctx context.Context, cmd domain.Command) (domain.Receipt, error)
	RecordAll(ctx context.Context, commands []domain.Command) []casework.Result
	Case(ctx context.Context, id domain.CaseID) (*domain.Case, error)
}

// A Reaction is what must happen because something was recorded.
//
// The records of a case come in their order: a later one is not shown to a
// reaction while an earlier one of the same case is under way or is to be tried
// again. A record that is set aside (see Runner) holds nothing up: the later
// records of its case go on without it, and when it is tried again by hand it
// comes after them. A reaction for which that would be wrong looks at the case,
// not at the order in which it is called.
//
// Where it had come to belongs to its name: under another name it is another
// reaction, which begins anew.
type Reaction struct {
	Name string        // small letters, digits and -, at most 40
	Says rulebook.Text // what it does, in a sentence
	// Begin is where it begins when it is new: at the start of the log, so that it
	// reacts to all that was ever recorded, or at its end.
	Begin pubsub.Begin
	// Procedures and Acts are those whose records it wants; empty: all.
	Procedures []string
	Acts       []string
	// Skips, where it is not nil, tells of a procedure that none of its records is
	// wanted now.
	Skips func(procedure string) bool
	// Wants, where it is not nil, has the last word.
	Wants func(domain.Recorded) bool
	// Timeout is for one try; 0: Config.Timeout.
	Timeout time.Duration
	// React does it. The context ends when it takes too long and when the program
	// stops. An error that is an answer of the domain, or Final, sets the record
	// aside; one that is a fault of the system (see Later) is tried again for as long as it
	// takes; any other a few times, before the record is set aside.
	React func(ctx context.Context, r domain.Recorded) error
	// ReactOn is React for what takes long: it begins where mark says that an earlier
	// try had come to, and keeps there how far it is. One of the two is set.
	ReactOn func(ctx context.Context, r domain.Recorded, mark Mark) error
}

// A Mark is how far a reaction has come with one record. It is no record of what was
// done, which is in the log: where it is lost, the reaction begins anew and does
// nothing twice.
type Mark interface {
	// Load returns what was kept last; nil for nothing.
	Load(ctx context.Context) ([]byte, error)
	Keep(ctx context.Context, mark []byte) error
}

// A Tick is what is done from time to time, by one process at a time.
type Tick struct {
	Name  string        // as a reaction's
	Says  rulebook.Text // what it does, in a sentence
	Every time.Duration // between the end of one and the begin of the next
	// Do does it. What fails is told, and done again at the next tick; after a
	// crash, or where a process wakes up that was paused, it may be done twice.
	Do func(ctx context.Context, now time.Time) error
}

// CommandID is the id of the nth command (1, 2, 3 …) that a reaction hands in
// because of an event: the same each time that it reacts to it.
func CommandID(reaction, event string, n int) string {
	return fmt.Sprintf("%s/%s/%d", reaction, event, n)
}

// ActorID is who records what a reaction does.
const ActorID = "system"

// Actor is a reaction as the record names it.
func Actor(reaction string) domain.Actor {
	return domain.Actor{ID: ActorID, Name: "liuhen " + reaction, Roles: []string{"system"}}
}

// Caused fills in what a command has from its cause: id, actor, causation, and
// the correlation of the cause, which is the cause itself where it has none.
func Caused(cmd domain.Command, reaction string, cause domain.Recorded, n int) domain.Command {
	cmd.ID = CommandID(reaction, cause.ID, n)
	cmd.Actor = Actor(reaction)
	cmd.Causation = cause.ID
	cmd.Correlation = correlation(cause)
	return cmd
}

func correlation(cause domain.Recorded) string {
	if cause.Correlation != "" {
		return cause.Correlation
	}
	return cause.ID
}

// record carries out a command of a reaction. What the domain answers is about the
// record; whatever else a desk fails with is a fault of the system.
func record(ctx context.Context, desk Desk, cmd domain.Command) error {
	_, err := desk.Record(ctx, cmd)
	if err != nil && !isFinal(err) {
		err = Later(err)
	}
	if err != nil {
		return fmt.Errorf("%s in %s: %w", cmd.Act, cmd.Case, err)
	}
	return nil
}

// Final says of an error that trying again will not help: it lies in the record.
func Final(err error) error { return &final{err} }

type final struct{ error }

func (f *final) Unwrap() error { return f.error }

// Later says of an error that it does not lie in the record, but in something
// that will be mended: the reaction waits for that and skips nothing. Faults of the
// store, and what took too long, are that by themselves.
func Later(err error) error { return &later{err} }

type later struct{ error }

func (l *later) Unwrap() error { return l.error }

// isFinal reports whether trying again is useless.
func isFinal(err error) bool {
	var (
		marked  *final
		refusal *domain.Refusal
		invalid *domain.Invalid
		stale   *domain.Stale
		reused  *domain.Reused
	)
	return errors.As(err, &marked) || errors.As(err, &refusal) || errors.As(err, &invalid) ||
		errors.As(err, &stale) || errors.As(err, &reused) || errors.Is(err, domain.ErrNoCase) ||
		errors.Is(err, domain.ErrRecord) || errors.Is(err, eventstore.ErrTooLarge)
}

// isLater reports whether a fault is none of the record.
func isLater(err error) bool {
	var marked *later
	if errors.As(err, &marked) {
		return true
	}
	return slices.ContainsFunc([]error{
		eventstore.ErrBusy, eventstore.ErrConflict, eventstore.ErrFull, eventstore.ErrNoWriter, eventstore.ErrNotWhole,
		eventstore.ErrStopped, eventstore.ErrUnknown, context.Canceled, context.DeadlineExceeded,
	}, func(fault error) bool { return errors.Is(err, fault) })
}

var fitName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)

// check refuses what cannot be run.
func check(reactions []Reaction, ticks []Tick) error {
	seen := map[string]bool{}
	name := func(name string, complete bool) error {
		switch {
		case !fitName.MatchString(name):
			return fmt.Errorf("reaction %q: a name is small letters, digits and -, at most 40", name)
		case seen[name]:
			return fmt.Errorf("reaction %s: the name stands twice", name)
		case !complete:
			return fmt.Errorf("reaction %s: it does nothing", name)
		}
		seen[name] = true
		return nil
	}
	for _, r := range reactions {
		if err := name(r.Name, (r.React != nil) != (r.ReactOn != nil)); err != nil {
			return err
		}
	}
	for _, t := range ticks {
		if err := name(t.Name, t.Do != nil && t.Every > 0); err != nil {
			return err
		}
	}
	return nil
}

// skips reports whether a subject is of a procedure that it does not want.
func (r *Reaction) skips(subject string) bool {
	if len(r.Procedures) == 0 && r.Skips == nil {
		return false
	}
	parts := strings.Split(subject, ".") // see domain.Subject
	return len(parts) != 4 || len(r.Procedures) > 0 && !slices.Contains(r.Procedures, parts[2]) || r.Skips != nil && r.Skips(parts[2])
}

// wants reports whether it reacts to a record.
func (r *Reaction) wants(rec domain.Recorded) bool {
	return (len(r.Procedures) == 0 || slices.Contains(r.Procedures, rec.Procedure())) &&
		(len(r.Acts) == 0 || slices.Contains(r.Acts, rec.Act())) &&
		(r.Wants == nil || r.Wants(rec))
}
