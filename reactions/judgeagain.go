package reactions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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

// takeAway are the acts that can make an officer unqualified for a day that is
// past (domain/law/officer.yaml).
var takeAway = []string{
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
		React: func(ctx context.Context, r domain.Recorded) error {
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
			seen := map[domain.CaseID]bool{r.Subject: true}
			var wrong error
			if readBefore(r) {
				changed, err := registers.ChangedBetween(ctx, r.Data.Registers.Asked, r.Data.Registers.At, r.Position)
				if err != nil {
					return Later(err)
				}
				if changed {
					wrong = noteAgain(ctx, desk, name, []domain.CaseID{r.Subject}, r)
				}
			}
			for _, c := range changes {
				for after := domain.CaseID(""); ; {
					ids, err := registers.Asked(ctx, c, after, 200)
					if err != nil {
						return Later(err)
					}
					if len(ids) == 0 {
						break
					}
					after = ids[len(ids)-1]
					ids = slices.DeleteFunc(ids, func(id domain.CaseID) bool { return seen[id] })
					for _, id := range ids {
						seen[id] = true
					}
					wrong = errors.Join(wrong, noteAgain(ctx, desk, name, ids, r))
				}
			}
			return wrong
		},
	}
}

// ofOfficers reports whether a record can make an officer unqualified for a day
// that is past.
func ofOfficers(r domain.Recorded) bool {
	return r.Procedure() == domain.RegisterProcedure && (r.Data.Corrects != "" || slices.Contains(takeAway, r.Act()))
}

// readBefore reports whether registers were read for a record before the record
// that precedes it.
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
