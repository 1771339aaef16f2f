package reactions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"liuhen/casework"
	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
	"liuhen/reactions/pubsub"
)

// Registers know what a record changed and whom that concerns;
// *projections.DB is one.
type Registers interface {
	Changes(ctx context.Context, position uint64) ([]rulebook.RegisterChange, error)
	Asked(ctx context.Context, c rulebook.RegisterChange, after domain.CaseID, limit int) ([]domain.CaseID, error)
	ChangedBetween(ctx context.Context, lookups []rulebook.Lookup, after, before uint64) (bool, error)
}

// Following are the registers in memory that the desk judges by;
// *casework.Registers is one.
type Following interface {
	Wait(ctx context.Context, position uint64) error
	// HaveLaw reports whether any agency has put a law file of its own in force.
	HaveLaw() bool
}

// certificates are the acts that can make an officer unqualified for a day that is
// past, or qualified after all (domain/law/officer.yaml).
var certificates = []string{
	"issue-certificate", "resume-certificate",
	"renew-certificate", "suspend-certificate", "revoke-certificate", "change-certificate", "cancel-certificate", "transfer-officer", "leave-post",
}

// judgeAgain has acts judged again when registers come to say something else of
// their day: a certificate revoked with effect from last month, a visit that is
// recorded late. The first findings stay; what is found now is recorded beside them
// and points at both the act and the record that had it judged again. An act that
// was judged while such a record was on its way is judged again, too.
func judgeAgain(desk Desk, book *rulebook.Book, law domain.Law, registers Registers, officers Following) Reaction {
	const name = "judge-again"
	procedures := []string{domain.RegisterProcedure}
	for _, p := range book.Procedures() {
		asks := slices.ContainsFunc(p.Rules, func(r *rulebook.Rule) bool { return len(r.Registers) > 0 })
		if (len(p.Enters) > 0 || asks) && !slices.Contains(procedures, p.Name) {
			procedures = append(procedures, p.Name)
		}
	}
	return Reaction{
		Name:  name,
		Says:  rulebook.Text{ZH: "登记册事后变动的，对受影响的行为重新判断", EN: "Judges acts again when registers change after them"},
		Begin: pubsub.AtEnd,
		// The files that agencies put in force may have rules on acts of any procedure.
		Skips: func(procedure string) bool { return !slices.Contains(procedures, procedure) && !officers.HaveLaw() },
		Wants: func(r domain.Recorded) bool {
			if ofOfficers(r) || readBefore(r) {
				return true
			}
			under, err := law.Under(r.Data.Law)
			if err != nil {
				return true // it is tried then, and tried again
			}
			p, ok := under.Edition(r.Procedure(), r.Edition)
			step := r.Step()
			return ok && p.MovesEntries(&step)
		},
		Timeout: time.Hour, // a change may concern thousands of cases
		ReactOn: func(ctx context.Context, r domain.Recorded, mark Mark) error {
			changes, err := registers.Changes(ctx, r.Position)
			if err != nil {
				return Later(err)
			}
			if ofOfficers(r) {
				c, err := desk.Case(ctx, r.Subject)
				if err != nil {
					return Later(err)
				}
				changes = append(changes, officerChanges(c, r)...)
				if err := officers.Wait(ctx, r.Position); err != nil {
					return Later(err)
				}
			}
			far, err := loadPlace(ctx, mark)
			if err != nil {
				return err
			}
			if far.Lookup == (rulebook.Lookup{}) && readBefore(r) {
				changed := r.Data.Registers.Unanswered
				if !changed {
					changed, err = registers.ChangedBetween(ctx, r.Data.Registers.Asked, r.Data.Registers.At, r.Position)
				}
				if err != nil {
					return Later(err)
				}
				if changed {
					if err := far.add(noteAgain(ctx, desk, name, []domain.CaseID{r.Subject}, r)); err != nil {
						return err
					}
				}
			}
			seen := map[domain.CaseID]bool{r.Subject: true}
			begin := max(0, slices.IndexFunc(changes, func(c rulebook.RegisterChange) bool { return c.Lookup == far.Lookup }))
			for _, c := range changes[min(begin, len(changes)):] {
				if c.Lookup != far.Lookup {
					far.Lookup, far.After = c.Lookup, ""
				}
				for {
					ids, err := registers.Asked(ctx, c, far.After, 200)
					if err != nil {
						return Later(err)
					}
					if len(ids) == 0 {
						break
					}
					far.After = ids[len(ids)-1]
					ids = slices.DeleteFunc(ids, func(id domain.CaseID) bool { return seen[id] })
					for _, id := range ids {
						seen[id] = true
					}
					if err := far.add(noteAgain(ctx, desk, name, ids, r)); err != nil {
						return err
					}
					if err := far.keep(ctx, mark); err != nil {
						return err
					}
				}
			}
			return far.wrong()
		},
	}
}

// A place is how far judging again has come with one record: the change of registers,
// the last case of those that it concerns, and what went wrong in some of them.
type place struct {
	rulebook.Lookup
	After domain.CaseID `json:"after"`
	Wrong []string      `json:"wrong,omitempty"`
}

// keepWrong is how many cases that could not be judged again are told.
const keepWrong = 20

func loadPlace(ctx context.Context, mark Mark) (far place, err error) {
	data, err := mark.Load(ctx)
	if err != nil || data == nil {
		return place{}, err
	}
	if err := json.Unmarshal(data, &far); err != nil {
		return place{}, nil //nolint:nilerr // what cannot be read is as good as lost
	}
	return far, nil
}

func (p *place) keep(ctx context.Context, mark Mark) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return mark.Keep(ctx, data)
}

// add notes what went wrong in cases. A fault that is none of theirs ends the try.
func (p *place) add(err error) error {
	switch {
	case err == nil:
	case isLater(err):
		return err
	case len(p.Wrong) < keepWrong:
		p.Wrong = append(p.Wrong, err.Error())
	}
	return nil
}

// wrong is what went wrong on the way: of no use to try again at once.
func (p *place) wrong() error {
	if len(p.Wrong) == 0 {
		return nil
	}
	return Final(errors.New(strings.Join(p.Wrong, "\n")))
}

// ofOfficers reports whether a record can make an officer unqualified, or qualified,
// for a day that is past.
func ofOfficers(r domain.Recorded) bool {
	return r.Procedure() == domain.RegisterProcedure && (r.Data.Corrects != "" || slices.Contains(certificates, r.Act()))
}

// readBefore reports whether registers were read for a record before the record
// that precedes it, or could not be read at all.
func readBefore(r domain.Recorded) bool {
	return r.Data.Registers != nil && r.Data.Registers.At+1 < r.Position
}

// noteAgain judges cases again. One that fails does not hold up the others.
func noteAgain(ctx context.Context, desk Desk, name string, ids []domain.CaseID, cause domain.Recorded) error {
	changed, err := json.Marshal(cause.ID)
	if err != nil {
		return err
	}
	commands := make([]domain.Command, len(ids))
	for i, id := range ids {
		commands[i] = Caused(domain.Command{
			Case: id, Act: noteFindings, At: cause.Recorded,
			Fields: map[string]json.RawMessage{"cause": json.RawMessage(`"registers"`), "changed": changed},
		}, name, cause, 1)
	}
	return noted(desk.RecordAll(ctx, commands), ids)
}

// noted is what went wrong where cases were to note findings. That there is
// nothing to note, or that it is noted already, is not wrong. A fault that is none of
// the cases is for later.
func noted(results []casework.Result, ids []domain.CaseID) error {
	var wrong error
	for i, res := range results {
		var reused *domain.Reused
		if res.Err == nil || errors.Is(res.Err, domain.ErrNothingToNote) || errors.As(res.Err, &reused) {
			continue
		}
		err := fmt.Errorf("note findings of case %s: %w", ids[i], res.Err)
		if !isFinal(res.Err) {
			return Later(err)
		}
		wrong = errors.Join(wrong, err)
	}
	return wrong
}

// officerChanges are the changes that an act on an officer's certificates makes:
// from the earliest day that it names, or that what it corrects had named, for the
// person of the file, and for the one whom a correction put in their place.
func officerChanges(c *domain.Case, r domain.Recorded) []rulebook.RegisterChange {
	since := calendar.DateOf(r.Time)
	var persons []string
	dates := func(fields map[string]any) {
		for _, v := range fields {
			text, _ := v.(string)
			if d, err := calendar.ParseDate(text); err == nil && d.Before(since) {
				since = d
			}
		}
	}
	dates(r.Data.Fields)
	for _, s := range c.History.Steps {
		if s.Event == r.Data.Corrects {
			dates(s.Fields)
		}
		corrected := s.CorrectedBy != "" && s.Event != r.Data.Corrects
		if person, ok := s.Fields["person"].(string); ok && s.Act == "enrol-officer" && !corrected && !slices.Contains(persons, person) {
			persons = append(persons, person)
		}
	}
	changes := make([]rulebook.RegisterChange, len(persons))
	for i, person := range persons {
		changes[i].Lookup = rulebook.Lookup{Register: domain.RegisterProcedure, Key: person}
		changes[i].Since = since
	}
	return changes
}
