package domain

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// ErrChain says that a record does not follow the one before it in its case:
// a revision is missing or doubled, or the digest of the record before it is
// not the one it carries. The case cannot be shown until that is explained.
var ErrChain = errors.New("the records of the case do not form a chain")

// A Case is a file of its own under some procedure: a penalty, a fine, an
// inspection. It is the fold of its records. A Case is never changed: Evolve
// makes the next one, so that many may read the same case.
type Case struct {
	ID        CaseID
	Agency    string
	Procedure *rulebook.Procedure // in the edition that the case was opened under
	Revision  int                 // of the last record
	Position  uint64              // of the last record
	Head      Digest              // of the last record
	History   *rulebook.History
	Closed    bool
	Law       []rulebook.FileRef // files that its agency had put in force and that it goes by: those of the act that was carried out last

	lastAct time.Time // when that was
	last    *link     // newest first; shared with the cases before this one
}

type link struct {
	command string
	receipt Receipt
	before  *link
}

// An Overdue is a limit of a case that has passed and that nobody has noted.
type Overdue struct {
	Case  CaseID
	Rule  string
	Start string        // id of the event that started it
	Due   calendar.Date // the last day
	Ends  time.Time     // the moment after which it is late
}

// Evolve returns the case as it is after one more record; c is nil before the
// first. It judges nothing: what is recorded happened. It fails with ErrChain
// where the record is not the next one of the case, and where book does not
// have the procedure.
func Evolve(law Law, c *Case, r Recorded) (*Case, error) {
	if c == nil {
		var err error
		if c, err = unopened(law, r); err != nil {
			return nil, err
		}
	}
	if r.Subject != c.ID {
		panic("domain: record of case " + string(r.Subject) + " folded into case " + string(c.ID))
	}
	if r.Revision != c.Revision+1 || r.Previous != c.Head {
		return nil, fmt.Errorf("%w: case %s, position %d: revision %d after %d, previous digest %.15s, want %.15s",
			ErrChain, r.Subject, r.Position, r.Revision, c.Revision, r.Previous, c.Head)
	}
	return c.take(law, r)
}

// unopened is a case before its first record.
func unopened(law Law, first Recorded) (*Case, error) {
	book, err := law.Under(first.Data.Law)
	if err != nil {
		return nil, fmt.Errorf("case %s, position %d: %w", first.Subject, first.Position, err)
	}
	procedure, ok := book.Edition(first.Procedure(), first.Edition)
	if !ok {
		return nil, fmt.Errorf("case %s: no procedure %s in edition %s", first.Subject, first.Procedure(), first.Edition)
	}
	return &Case{
		ID: first.Subject, Agency: first.Agency(), Procedure: procedure,
		History: procedure.NewHistory(string(first.Subject), first.Agency()), Law: first.Data.Law,
	}, nil
}

// take is the case with one more record, whatever came before it. Without a law it goes
// on by what it went by, and cannot fail.
func (c *Case) take(law Law, r Recorded) (*Case, error) {
	next := *c
	if law != nil && !r.Time.Before(next.lastAct) { // an act that is recorded late changes nothing of this
		next.lastAct = r.Time
		if !slices.Equal(r.Data.Law, next.Law) {
			p, err := lawOf(law, r.Data.Law, next.Procedure)
			if err != nil {
				return nil, fmt.Errorf("case %s, position %d: %w", r.Subject, r.Position, err)
			}
			if p != nil {
				next.Procedure, next.History, next.Law = p, next.History.Under(p), r.Data.Law
			}
		}
	}
	next.Revision, next.Position, next.Head = r.Revision, r.Position, r.Digest
	next.History = next.History.Append(r.Step())
	if act, ok := next.Procedure.Act(r.Act()); ok && act.Closes {
		next.Closed = true
	}
	next.last = &link{command: r.Command, before: next.last, receipt: ReceiptOf(r)}
	return &next, nil
}

// ReceiptOf is the receipt of a record.
func ReceiptOf(r Recorded) Receipt {
	return Receipt{
		Case: r.Subject, Event: r.ID, Act: r.Act(), Position: r.Position, Revision: r.Revision, Digest: r.Digest,
		OccurredAt: r.Time, RecordedAt: r.Recorded, Findings: r.Data.Findings,
	}
}

// Replay folds records in the order of the case.
func Replay(law Law, records []Recorded) (*Case, error) {
	var c *Case
	for _, r := range records {
		var err error
		if c, err = Evolve(law, c, r); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Carried returns the receipt of a command that has been carried out in the
// case before.
func (c *Case) Carried(command string) (Receipt, bool) {
	if c == nil {
		return Receipt{}, false
	}
	for l := c.last; l != nil; l = l.before {
		if l.command == command {
			r := l.receipt
			r.Duplicate = true
			return r, true
		}
	}
	return Receipt{}, false
}

// After returns the receipts of what was recorded after a revision, oldest
// first.
func (c *Case) After(revision int) []Receipt {
	var rs []Receipt
	for l := c.last; l != nil && l.receipt.Revision > revision; l = l.before {
		rs = append(rs, l.receipt)
	}
	for i, j := 0, len(rs)-1; i < j; i, j = i+1, j-1 {
		rs[i], rs[j] = rs[j], rs[i]
	}
	return rs
}

// Stage is the stage that the case stands in.
func (c *Case) Stage() string { return c.History.Stage }

// Opened is the day of the first act.
func (c *Case) Opened() calendar.Date { return c.History.Opened }

// step returns an event of the case that has not been corrected.
func (c *Case) step(event string) (rulebook.Step, bool) {
	for _, s := range c.History.Steps {
		if s.Event == event && s.CorrectedBy == "" {
			return s, true
		}
	}
	return rulebook.Step{}, false
}
