package reactions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"liuhen/domain"
	"liuhen/domain/rulebook"
)

// noteFindings is the act with which every procedure records findings that come
// to light later (domain/law/common.yaml).
const noteFindings = "note-findings"

// A Board knows which limits have passed; *projections.DB is one.
type Board interface {
	Overdues(ctx context.Context, now time.Time, after domain.CaseID, limit int) ([]domain.Overdue, error)
}

// overduePage is how many cases are noted at once.
const overduePage = 500

// overdue records that a limit has passed without the act that was due, when it
// happens and not only when the late act comes, so that who supervises sees it in
// time. One record tells all that has run out in a case.
func overdue(desk Desk, board Board) Tick {
	const name = "overdue"
	return Tick{
		Name:  name,
		Says:  rulebook.Text{ZH: "期限届满而应有的行为未见记录的，登记问题", EN: "Notes limits that have passed without the act that was due"},
		Every: time.Minute,
		Do: func(ctx context.Context, now time.Time) error {
			var wrong error
			for after := domain.CaseID(""); ; {
				page, err := board.Overdues(ctx, now, after, overduePage)
				if err != nil || len(page) == 0 {
					return errors.Join(wrong, err)
				}
				commands := make([]domain.Command, len(page))
				for i, o := range page {
					commands[i] = domain.Command{
						ID: fmt.Sprintf("%s/%s/%s/%s", name, o.Start, o.Rule, o.Due), Case: o.Case, Act: noteFindings, At: now,
						Actor: Actor(name), Causation: o.Start, Correlation: o.Start,
						Fields: map[string]json.RawMessage{"cause": json.RawMessage(`"overdue"`)},
					}
				}
				ids := make([]domain.CaseID, len(page))
				for i, o := range page {
					ids[i] = o.Case
				}
				wrong = errors.Join(wrong, noted(desk.RecordAll(ctx, commands), ids))
				after = page[len(page)-1].Case
			}
		},
	}
}
