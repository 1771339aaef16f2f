package projections

import (
	"testing"
	"time"

	"liuhen/domain"
)

// TestNotice counts limits anew when an agency confirms a notice on holidays for a
// year that had none: those that it touches, in cases that nobody has touched since.
func TestNotice(t *testing.T) {
	defer func(n int) { recountPage = n }(recountPage)
	recountPage = 2 // so that the cases below are some pages
	o, db := started(t)
	last := 0
	for _, n := range o.book.Calendar().Notices() {
		last = max(last, n.Year)
	}
	year := last + 1
	days := func(month, day int) string {
		return time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
	}
	o.day = time.Date(year, 3, 1, 9, 30, 0, 0, time.UTC)
	for o.day.Weekday() != time.Monday {
		o.day = o.day.AddDate(0, 0, 1)
	}
	o.file("K-1", "甲")
	o.act("K-1", "decide", nil) // to be served within seven working days: Wednesday of the week after
	o.file("K-2", "乙")
	o.act("K-2", "decide", nil)
	untouched := []domain.CaseID{"K-1", "L-1", "L-2", "L-3", "L-4", "L-5"}
	for _, id := range untouched[1:] {
		o.file(id, "丁")
		o.act(id, "decide", nil)
	}
	before := o.day
	o.day = time.Date(2025, 3, 3, 9, 30, 0, 0, time.UTC)
	o.file("K-3", "丙") // in a year that is known
	o.day = before
	o.settle(db)
	due := func(id domain.CaseID) (string, bool) {
		t.Helper()
		list, err := db.Deadlines(t.Context(), DeadlinesFilter{Now: o.day, Case: id}, Page{})
		if err != nil || len(list.Items) != 1 {
			t.Fatalf("limits of %s: %+v, %v", id, list.Items, err)
		}
		return list.Items[0].Due.String(), list.Items[0].Provisional
	}
	plain := before.AddDate(0, 0, 9).Format(time.DateOnly)
	if on, provisional := due("K-1"); on != plain || !provisional {
		t.Fatalf("without a notice due %s, provisional %v; want %s, provisional", on, provisional, plain)
	}

	// A holiday on the Tuesday to the Thursday of the second week.
	off := before.AddDate(0, 0, 8)
	holidays := []any{
		map[string]any{"name": "元旦", "off_from": days(1, 1)},
		map[string]any{"name": "试验节", "off_from": off.Format(time.DateOnly), "off_to": off.AddDate(0, 0, 2).Format(time.DateOnly)},
	}
	o.act("N-1", "enter-notice", fields{"year": year, "title": "通知", "holidays": holidays}, func(c *domain.Command) { c.Procedure = domain.NoticeProcedure })
	o.settle(db)
	if on, _ := due("K-1"); on != plain {
		t.Errorf("a notice that nobody has confirmed moves the day to %s", on)
	}
	o.act("N-1", "confirm-notice", nil)
	o.act("K-2", "inspect", nil)
	o.settle(db)
	moved := before.AddDate(0, 0, 14).Format(time.DateOnly) // Friday and Monday are left
	for _, id := range append(untouched, "K-2") {
		if on, provisional := due(id); on != moved || provisional {
			t.Errorf("%s: with the notice due %s, provisional %v; want %s for good", id, on, provisional, moved)
		}
	}
	if on, provisional := due("K-3"); on != "2025-06-03" || provisional {
		t.Errorf("K-3, of a year that was known: due %s, provisional %v", on, provisional)
	}
	o.agree(db)

	// A notice that cannot be, though it was recorded, stops nothing.
	for i, off := range []map[string]any{{"name": "节", "off_from": days(5, 3), "off_to": days(5, 1)}, {"name": "节", "off_to": days(5, 1)}, {"name": "\x00"}} {
		id := domain.CaseID([]string{"N-2", "N-3", "N-4"}[i])
		o.act(id, "enter-notice", fields{"year": year, "title": "通知", "holidays": []any{off}}, func(c *domain.Command) { c.Procedure = domain.NoticeProcedure })
		o.act(id, "confirm-notice", nil)
	}
	o.settle(db)
	if on, provisional := due("K-1"); on != moved || provisional {
		t.Errorf("after notices that cannot be: due %s, provisional %v", on, provisional)
	}
	o.agree(db)

	// Another agency's days are not counted by it.
	o.act("K-9", "file-case", fields{"party": map[string]any{"name": "丁"}}, func(c *domain.Command) { c.Agency = "other" })
	o.act("K-9", "decide", nil)
	o.settle(db)
	if on, provisional := due("K-9"); on != plain || !provisional {
		t.Errorf("of another agency: due %s, provisional %v; want %s, provisional", on, provisional, plain)
	}
	o.agree(db)
}
