package projections

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// board is an office with limits that run and that have ended.
func board(t *testing.T) (*office, *DB) {
	t.Helper()
	o, db := started(t)
	begin := o.day // 2025-03-03, a Monday
	on := func(days int) { o.day = begin.AddDate(0, 0, days) }
	o.file("K-1", "甲") // to be decided by 2025-06-03: the 1st and 2nd are rest days
	on(7)
	o.file("K-2", "乙") // by 2025-06-09, rolled from Sunday
	o.act("K-2", "notice", nil)
	on(14)
	o.act("K-2", "decide", nil) // 2025-03-17; to be served by 2025-03-26
	on(15)
	o.act("K-3", "file-case", fields{"party": map[string]any{"name": "丙"}}, func(c *domain.Command) {
		c.Officers = []rulebook.Officer{{ID: "sun", Name: "孙八"}}
	})
	o.settle(db)
	return o, db
}

func clocks(items []DeadlineItem) string {
	var out []string
	for _, d := range items {
		out = append(out, fmt.Sprintf("%s/%s/%s/%s", d.Case, d.Rule, d.Due, d.Light))
	}
	return strings.Join(out, " ")
}

func TestDeadlines(t *testing.T) {
	_, db := board(t)
	const k1, k2, k3 = "K-1/I-1/2025-06-03", "K-2/I-2/2025-03-26", "K-3/I-1/2025-06-16"
	yes := true
	at := func(month, day int) time.Time { return calendar.MakeDate(2025, month, day).Start().Add(12 * time.Hour) }
	for _, c := range []struct {
		name string
		f    DeadlinesFilter
		want string
	}{
		{"least time left first", DeadlinesFilter{Now: at(3, 18)}, k2 + "/green " + k1 + "/green " + k3 + "/green"},
		{"on the last day it is yellow", DeadlinesFilter{Now: at(3, 26)}, k2 + "/yellow " + k1 + "/green " + k3 + "/green"},
		{"the day after it is red", DeadlinesFilter{Now: at(3, 27)}, k2 + "/red " + k1 + "/green " + k3 + "/green"},
		{"red", DeadlinesFilter{Now: at(3, 27), Light: Red}, k2 + "/red"},
		{"yellow", DeadlinesFilter{Now: at(5, 30), Light: Yellow}, k1 + "/yellow " + k3 + "/yellow"},
		{"green", DeadlinesFilter{Now: at(3, 27), Light: Green}, k1 + "/green " + k3 + "/green"},
		{"officer", DeadlinesFilter{Now: at(3, 18), Officer: "sun"}, k3 + "/green"},
		{"rule", DeadlinesFilter{Now: at(3, 18), Rule: "I-2"}, k2 + "/green"},
		{"case", DeadlinesFilter{Now: at(3, 18), Case: "K-1"}, k1 + "/green"},
		{"agency", DeadlinesFilter{Now: at(3, 18), Agencies: []string{"other"}}, ""},
		{"provisional", DeadlinesFilter{Now: at(3, 18), Provisional: &yes}, ""},
		{"done", DeadlinesFilter{Now: at(3, 18), Done: true}, "K-2/I-1/2025-06-09/green"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []DeadlineItem
			for page := (Page{Limit: 1}); ; {
				list, err := db.Deadlines(t.Context(), c.f, page)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, list.Items...)
				if page.Cursor = list.Next; page.Cursor == "" {
					break
				}
			}
			if clocks(got) != c.want {
				t.Errorf("got  %s\nwant %s", clocks(got), c.want)
			}
		})
	}

	lights, err := db.Lights(t.Context(), DeadlinesFilter{Now: at(5, 30)})
	if err != nil || lights[Red] != 1 || lights[Yellow] != 2 || lights[Green] != 0 {
		t.Errorf("lights %v, %v; want 1 red, 2 yellow", lights, err)
	}
	list, err := db.Deadlines(t.Context(), DeadlinesFilter{Now: at(3, 18), Done: true}, Page{})
	if err != nil {
		t.Fatal(err)
	}
	d := list.Items[0]
	if d.DoneOn != calendar.MakeDate(2025, 3, 17) || d.Late || d.Says.ZH == "" || d.Limit != "90 days" || d.Act != "decide" {
		t.Errorf("what was done is %+v", d)
	}
}

func TestDeadlinesMove(t *testing.T) {
	o, db := board(t)
	o.act("K-1", "notice", nil)
	o.act("K-1", "decide", nil) // ends one limit and starts another
	o.settle(db)
	list, err := db.Deadlines(t.Context(), DeadlinesFilter{Now: o.day, Case: "K-1"}, Page{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := clocks(list.Items), "K-1/I-2/2025-03-27/green"; got != want {
		t.Errorf("limits that run: %s, want %s", got, want)
	}
	o.agree(db)
}
