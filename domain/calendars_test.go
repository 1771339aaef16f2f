package domain_test

import (
	"fmt"
	"testing"
	"time"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// TestCalendars counts days by the notices that an agency has confirmed.
func TestCalendars(t *testing.T) {
	base, err := new(calendar.Calendar).With(calendar.Notice{
		Year: 2031, Title: "通知", Holidays: []calendar.Holiday{{Name: "元旦", Off: calendar.Span{From: calendar.MakeDate(2031, 1, 1), To: calendar.MakeDate(2031, 1, 1)}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	record := func(position, revision int, c domain.CaseID, agency, act string, fields domain.Fields, corrects string) domain.Recorded {
		return domain.Recorded{
			Position: uint64(position),
			Event: domain.Event{
				ID: fmt.Sprintf("e%d", position), Type: domain.NoticeProcedure + "." + act, Subject: c, Revision: revision, Source: "/agencies/" + agency,
				Time: time.Date(2031, 11, position, 9, 0, 0, 0, time.UTC), Data: domain.Data{Fields: fields, Corrects: corrects},
			},
		}
	}
	notice := func(off ...string) domain.Fields {
		f := domain.Fields{"year": int64(2032), "title": "通知"}
		var items []any
		for _, day := range off {
			items = append(items, map[string]any{"name": "节" + day, "off_from": day})
		}
		f["holidays"] = items
		return f
	}
	day := calendar.MakeDate(2032, 10, 4) // a Monday
	all := []domain.Recorded{
		record(1, 1, "N-1", "A", "enter-notice", notice("2032-10-04"), ""),
		record(2, 2, "N-1", "A", "confirm-notice", nil, ""),
		record(3, 3, "N-1", "A", "enter-notice", notice("2032-10-05"), "e1"), // a correction that nobody has confirmed
		record(4, 4, "N-1", "A", "confirm-notice", nil, "e2"),
		record(5, 1, "N-2", "B", "enter-notice", notice("2031-01-01"), ""), // of another year: it cannot be
		record(6, 2, "N-2", "B", "confirm-notice", nil, ""),
	}
	// Confirmed by the one who entered it, as already done: it is in no calendar.
	alone := record(8, 2, "N-3", "A", "confirm-notice", nil, "")
	alone.Data.Findings = []rulebook.Finding{{Rule: "CN-102", Verdict: rulebook.Refuse}}
	all = append(all, record(7, 1, "N-3", "A", "enter-notice", notice("2032-10-06"), ""), alone)
	cs := domain.NewCalendars(base)
	for n, want := range []struct {
		known, off bool
		at         uint64
	}{{}, {}, {true, true, 2}, {true, true, 2}, {true, false, 4}, {true, false, 4}, {true, false, 4}, {true, false, 4}, {true, false, 4}} {
		if n > 0 {
			var err error
			if cs, err = cs.With(all[n-1]); err != nil {
				t.Fatal(err)
			}
			if again, err := cs.With(all[n-1]); err != nil || again.At() != cs.At() {
				t.Fatalf("the same record twice: %v", err)
			}
		}
		cal, at := cs.For("A")
		if cal.Known(2032) != want.known || !cal.IsWorkday(day) != want.off || at != want.at {
			t.Errorf("after %d records: the year is known %v, the day is off %v, notice at %d; want %+v", n, cal.Known(2032), !cal.IsWorkday(day), at, want)
		}
		if other, _ := cs.For("B"); other != base {
			t.Errorf("after %d records agency B has another calendar", n)
		}
	}
	cal, _ := cs.For("A")
	if cal.IsWorkday(day.AddDays(1)) {
		t.Error("the correction that was confirmed is not in the calendar")
	}
	at := domain.CalendarAt(base, all)
	for _, want := range []struct {
		position   uint64
		known, off bool
	}{{4, true, false}, {2, true, true}, {1, false, false}, {3, true, true}, {100, true, false}} {
		cal, err := at("A", want.position)
		if err != nil || cal.Known(2032) != want.known || !cal.IsWorkday(day) != want.off {
			t.Errorf("at %d: %v, the year is known %t, the day is off %t; want %+v", want.position, err, cal.Known(2032), !cal.IsWorkday(day), want)
		}
	}
	if _, err := domain.CalendarAt(base, all[1:])("A", 4); err == nil {
		t.Error("a calendar with a record missing: no error")
	}
	if !cal.IsWorkday(day.AddDays(2)) {
		t.Error("a notice that one person entered and confirmed is in the calendar")
	}
	var none *domain.Calendars
	if cal, at := none.For("A"); cal != nil || at != 0 {
		t.Error("no calendars give one")
	}
}
