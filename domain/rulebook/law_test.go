package rulebook_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"liuhen/domain/calendar"
	"liuhen/domain/law"
	"liuhen/domain/rulebook"
)

// TestLawExamples runs every example of every rule that the program ships with.
func TestLawExamples(t *testing.T) {
	book, err := rulebook.Load(law.Files)
	if err != nil {
		t.Fatalf("the national law does not load:\n%v", err)
	}
	for _, r := range rulebook.RunExamples(book) {
		t.Run(fmt.Sprintf("%s/%s/%s/%d-%s", r.Procedure, r.Edition, r.Rule, r.Number, r.Kind), func(t *testing.T) {
			if !r.OK {
				t.Errorf("%s: %s", r.Source, r.Why)
			}
		})
	}
}

// The case that a city justice bureau published in 2025: filed on 9 September
// 2024, decided by a document dated 11 December. An internal opinion and a
// telephone call before that did not count.
func TestPublishedCase(t *testing.T) {
	book, err := rulebook.Load(law.Files)
	if err != nil {
		t.Fatal(err)
	}
	procedure, ok := book.InForce("penalty-ordinary", calendar.MakeDate(2024, 9, 9))
	if !ok {
		t.Fatal("no ordinary penalty procedure in force")
	}
	day := func(m time.Month, d int) time.Time {
		return calendar.MakeDate(2024, int(m), d).Start().Add(9 * time.Hour)
	}
	h := procedure.NewHistory("C-1", "A-1").Append(rulebook.Step{Event: "e1", Act: "file-case", At: day(9, 9), Recorded: day(9, 9)})
	open := 0
	for _, d := range procedure.Deadlines(h, nil) {
		if d.Rule == "R-028" && d.Done == "" && d.Due.On.String() == "2024-12-09" && d.Due.Unrolled.String() == "2024-12-08" {
			open++
		}
	}
	if open != 1 {
		t.Errorf("the limit of ninety days is open %d times, want once: %+v", open, procedure.Deadlines(h, nil))
	}
	for _, f := range procedure.Judge(h, rulebook.Step{
		Event: "e2", Act: "decide-penalty", At: day(12, 5), Recorded: day(12, 11),
		Fields: map[string]any{"decision_date": "2024-12-11"},
	}, rulebook.Known{}) {
		if f.Rule != "R-028" {
			continue
		}
		if f.Severity != rulebook.Minor || f.Verdict != rulebook.Flag || f.Due.String() != "2024-12-09" ||
			!strings.Contains(f.Detail.EN, "2 days late") || !strings.Contains(f.Detail.EN, "3 days late") {
			t.Errorf("found %+v", f)
		}
		return
	}
	t.Error("the decision was not found late")
}
