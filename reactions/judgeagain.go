package reactions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

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
}

// Following are the registers in memory that the desk judges by;
// *casework.Registers is one.
type Following interface {
	Wait(ctx context.Context, position uint64) error
}

// takeAway are the acts that can make an officer unqualified for a day that is
// past (domain/law/officer.yaml).
var takeAway = []string{"suspend-certificate", "revoke-certificate", "change-certificate", "cancel-certificate", "transfer-officer", "leave-post"}

// judgeAgain has acts judged again when registers come to say something else of
// their day: a certificate revoked with effect from last month, a visit that is
// recorded late. The first findings stay; what is found now is recorded beside them
// and points at both the act and the record that changed the register.
func judgeAgain(desk Desk, book *rulebook.Book, registers Registers, officers Following) Reaction {
	const name = "judge-again"
	procedures := []string{domain.RegisterProcedure}
	for _, p := range book.Procedures() {
		if len(p.Enters) > 0 && !slices.Contains(procedures, p.Name) {
			procedures = append(procedures, p.Name)
		}
	}
	return Reaction{
		Name:       name,
		Says:       rulebook.Text{ZH: "登记册事后变动的，对受影响的行为重新判断", EN: "Judges acts again when registers change after them"},
		Begin:      pubsub.AtEnd,
		Procedures: procedures,
		Wants: func(r domain.Recorded) bool {
			if r.Procedure() == domain.RegisterProcedure && (r.Data.Corrects != "" || slices.Contains(takeAway, r.Act())) {
				return true
			}
			p, ok := book.Edition(r.Procedure(), r.Edition)
			step := r.Step()
			return ok && p.MovesEntries(&step)
		},
		React: func(ctx context.Context, r domain.Recorded) error {
			changes, err := registers.Changes(ctx, r.Position)
			if err != nil {
				return Later(err)
			}
			if r.Procedure() == domain.RegisterProcedure {
				c, err := desk.Case(ctx, r.Subject)
				if err != nil {
					return err
				}
				if c, ok := officerChange(c, r); ok {
					changes = append(changes, c)
				}
				if err := officers.Wait(ctx, r.Position); err != nil {
					return Later(err)
				}
			}
			n := 0
			seen := map[domain.CaseID]bool{r.Subject: true}
			for _, c := range changes {
				for after := domain.CaseID(""); ; {
					ids, err := registers.Asked(ctx, c, after, 500)
					if err != nil {
						return Later(err)
					}
					if len(ids) == 0 {
						break
					}
					after = ids[len(ids)-1]
					for _, id := range ids {
						if seen[id] {
							continue
						}
						seen[id] = true
						n++
						if err := noteAgain(ctx, desk, name, id, r); err != nil {
							return err
						}
					}
				}
			}
			return nil
		},
	}
}

func noteAgain(ctx context.Context, desk Desk, name string, id domain.CaseID, cause domain.Recorded) error {
	changed, err := json.Marshal(cause.ID)
	if err != nil {
		return err
	}
	cmd := Caused(domain.Command{
		Case: id, Act: noteFindings, At: cause.Recorded,
		Fields: map[string]json.RawMessage{"cause": json.RawMessage(`"registers"`), "changed": changed},
	}, name, cause, 1)
	var nothing *domain.Invalid
	if _, err := desk.Record(ctx, cmd); err != nil && !errors.As(err, &nothing) {
		return fmt.Errorf("judge case %s again: %w", id, err)
	}
	return nil
}

// officerChange is the change that an act on an officer's certificates makes:
// from the earliest day that it names.
func officerChange(c *domain.Case, r domain.Recorded) (rulebook.RegisterChange, bool) {
	change := rulebook.RegisterChange{Since: calendar.DateOf(r.Time)}
	change.Register = domain.RegisterProcedure
	for _, v := range r.Data.Fields {
		text, _ := v.(string)
		if d, err := calendar.ParseDate(text); err == nil && d.Before(change.Since) {
			change.Since = d
		}
	}
	for _, s := range c.History.Steps {
		if person, ok := s.Fields["person"].(string); ok && s.Act == "enrol-officer" && s.CorrectedBy == "" {
			change.Key = person
		}
	}
	return change, change.Key != ""
}
