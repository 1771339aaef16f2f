package sample

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"liuhen/domain/calendar"
)

// TestCounting asks each figure that counts more than events about what must be
// counted and what must not.
func TestCounting(t *testing.T) {
	type fields = map[string]any
	event := func(id, name, on string, f fields) Event {
		procedure, act, _ := strings.Cut(name, ".")
		d, err := calendar.ParseDate(on)
		if err != nil {
			t.Fatal(err)
		}
		return Event{Case: id, Procedure: procedure, Act: act, At: d.Start().Add(10 * time.Hour), Fields: f}
	}
	grant := func(id, date, passport string) Event {
		return event(id, "foreign-work-permit.grant-permit", "2022-05-06", fields{
			"decision_date": date, "category": "A", "business": "new-abroad", "worker": fields{"nationality": "德国", "passport_no": passport},
		})
	}
	with := func(e Event, name string, value any) Event {
		f := fields{name: value}
		for k, v := range e.Fields {
			if k != name {
				f[k] = v
			}
		}
		e.Fields = f
		return e
	}
	corrected := func(e Event) Event { e.CorrectedBy = "another"; return e }
	exam := func(id, on string, passed bool) Event {
		return event(id, "officer.take-exam", on, fields{"exam": "qualification", "exam_on": on, "passed": passed})
	}
	sheet := func(file string, more fields) Event {
		f := fields{"file_no": file, "round": "self-check", "kind": "permit"}
		for k, v := range more {
			f[k] = v
		}
		return event("R-1", "case-file-review.score-file", "2022-09-20", f)
	}
	assigned := event("P-1", "proposal.receive-assignment", "2022-03-15", fields{"level": "city"})
	met := event("P-1", "proposal.meet-proposer", "2022-04-01", fields{"way": "visit"})
	replied := event("P-1", "proposal.send-reply", "2022-06-15", nil)
	feedback := func(said string) Event {
		return event("P-1", "proposal.receive-proposer-feedback", "2022-06-20", fields{"satisfaction": said})
	}
	refusal := event("C-1", "foreign-work-permit.refuse-permit", "2022-05-06", fields{"decision_date": "2022-05-06", "review_grounds": []any{"major-rights"}})
	review := func(on, outcome string) Event {
		return event("C-1", "foreign-work-permit.complete-legal-review", on, fields{"outcome": outcome})
	}

	for _, c := range []struct {
		name     string
		no       string
		events   []Event
		findings map[string]int
		want     int
		of       int
	}{
		{"a permit counts by the date on the decision", "6", []Event{grant("C-1", "2022-12-30", "A"), grant("C-2", "2021-12-31", "B"), grant("C-3", "2023-01-03", "C")}, nil, 1, 0},
		{"a case that is decided on twice is one", "6", []Event{grant("C-1", "2022-05-06", "A"), event("C-1", "foreign-work-permit.cancel-permit", "2022-07-01", fields{"decision_date": "2022-07-01"})}, nil, 1, 0},
		{"what was corrected is not counted beside its correction", "6", []Event{corrected(grant("C-1", "2022-05-06", "A")), grant("C-1", "2022-05-06", "A")}, nil, 1, 0},
		{"a correction that moves the date moves the count", "6", []Event{corrected(grant("C-1", "2022-12-30", "A")), grant("C-1", "2023-01-03", "A")}, nil, 0, 0},
		{"a person with two grants is one person", "7", []Event{grant("C-1", "2022-05-06", "A"), grant("C-2", "2022-09-06", "A"), grant("C-3", "2022-09-06", "B")}, nil, 2, 0},
		{"category B and short stays are not new of category A", "7", []Event{with(grant("C-1", "2022-05-06", "A"), "category", "B"), with(grant("C-2", "2022-05-06", "B"), "business", "short-term")}, nil, 0, 0},
		{"attendances are summed", "9", []Event{event("O-1", "outreach.hold-session", "2022-05-06", fields{"attendees": float64(150)}), event("O-1", "outreach.hold-session", "2022-06-06", fields{"attendees": int64(90)})}, nil, 240, 0},
		{"who passed at the second attempt passed", "11", []Event{exam("O-1", "2022-05-10", false), exam("O-1", "2022-07-10", true), exam("O-2", "2022-05-10", false), exam("O-3", "2021-05-10", true)}, nil, 1, 0},
		{"a file with two sheets is one file", "12", []Event{sheet("F-1", nil), sheet("F-1", nil), sheet("F-2", fields{"kind": "penalty"}), sheet("F-3", fields{"round": "sampled"})}, nil, 1, 0},
		{"a problem of procedure counts", "13", []Event{sheet("F-1", fields{"problems": []any{fields{"kind": "procedure"}, fields{"kind": "document"}}})}, nil, 1, 0},
		{"a veto counts", "13", []Event{sheet("F-1", fields{"vetoes": []any{"V8"}})}, nil, 1, 0},
		{"what this system found in a reviewed file counts", "13", []Event{sheet("F-1", nil)}, map[string]int{"F-1": 2, "F-2": 1}, 2, 0},
		{"met before the answer", "16", []Event{assigned, met, replied}, nil, 1, 1},
		{"met after the answer only", "16", []Event{assigned, event("P-1", "proposal.meet-proposer", "2022-06-20", fields{"way": "visit"}), replied}, nil, 0, 1},
		{"called without agreement", "16", []Event{assigned, with(met, "way", "telephone"), replied}, nil, 0, 1},
		{"called as agreed", "16", []Event{assigned, with(with(met, "way", "telephone"), "way_agreed", true), replied}, nil, 1, 1},
		{"answered on the last day", "17", []Event{assigned, replied}, nil, 1, 1},
		{"answered a day late", "17", []Event{assigned, event("P-1", "proposal.send-reply", "2022-06-16", nil)}, nil, 0, 1},
		{"not answered", "17", []Event{assigned}, nil, 0, 1},
		{"basically satisfied", "18", []Event{assigned, feedback("basically")}, nil, 1, 1},
		{"the last feedback counts", "18", []Event{assigned, feedback("satisfied"), feedback("dissatisfied")}, nil, 0, 1},
		{"reviewed before the decision", "22", []Event{refusal, review("2022-05-05", "agree")}, nil, 1, 1},
		{"reviewed after the decision", "22", []Event{refusal, review("2022-05-09", "agree")}, nil, 0, 1},
		{"not agreed to", "22", []Event{refusal, review("2022-05-05", "disagree")}, nil, 0, 1},
		{"a decision that needs no review", "22", []Event{grant("C-1", "2022-05-06", "A")}, nil, 0, 0},
	} {
		t.Run(c.no+" "+c.name, func(t *testing.T) {
			tally := NewTally(2022)
			for i, e := range c.events {
				e.ID = fmt.Sprintf("e%d", i)
				tally.Add(e)
			}
			for id, n := range c.findings {
				tally.AddFindings(id, n)
			}
			for _, f := range Figures() {
				if f.No != c.no {
					continue
				}
				if got := f.Of(tally); got.Value != c.want || got.Denominator != c.of {
					t.Errorf("counted %d of %d, want %d of %d", got.Value, got.Denominator, c.want, c.of)
				}
			}
		})
	}
}

// TestNothingIsNoHundredPerCent: of nothing there is no rate.
func TestNothingIsNoHundredPerCent(t *testing.T) {
	tally := NewTally(2022)
	for _, f := range Figures() {
		if c := f.Of(tally); f.Agrees(c, 1) {
			t.Errorf("%s %s agrees although nothing is recorded", f.No, f.EN)
		}
	}
}
