package sample

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/law"
	"liuhen/domain/rulebook"
)

// The office is filled in on days of all sorts: after a holiday, on a weekend,
// at the turn of a year.
func TestTheOfficeShowsSomethingOnEveryDay(t *testing.T) {
	book, err := rulebook.Load(law.Files)
	if err != nil {
		t.Fatal(err)
	}
	office, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	for _, today := range []string{"2026-11-24", "2026-10-10", "2026-02-28", "2026-01-04", "2025-10-09"} {
		t.Run(today, func(t *testing.T) {
			d, err := calendar.ParseDate(today)
			if err != nil {
				t.Fatal(err)
			}
			now := d.Start().Add(8 * time.Hour)
			commands, err := office.Commands(book, now)
			if err != nil {
				t.Fatal(err)
			}
			text, err := office.Roster(now)
			if err != nil {
				t.Fatal(err)
			}
			roster, err := domain.ParseRoster(text)
			if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			show(t, book, now, play(t, book, roster, now, commands))
		})
	}
}

// play decides every command as the desk would.
func play(t *testing.T, book *rulebook.Book, roster domain.Roster, now time.Time, commands []domain.Command) map[domain.CaseID]*domain.Case {
	t.Helper()
	cases := map[domain.CaseID]*domain.Case{}
	for i, cmd := range commands {
		reg, stamp := domain.Registers{Roster: roster, Facts: rulebook.Facts{}}, domain.Stamp{Event: fmt.Sprintf("e%d", i+1), Salt: "s", Now: now}
		event, err := domain.Decide(book, reg, cases[cmd.Case], cmd, stamp)
		for ask := (*domain.Unanswered)(nil); errors.As(err, &ask); event, err = domain.Decide(book, reg, cases[cmd.Case], cmd, stamp) {
			answer(reg.Facts, cases, ask.Lookups)
		}
		if err != nil {
			t.Fatalf("%s %s: %v", cmd.Case, cmd.Act, err)
		}
		data, err := event.Encode()
		if err != nil {
			t.Fatalf("%s %s: %v", cmd.Case, cmd.Act, err)
		}
		r, err := domain.Read(uint64(i+1), now, data)
		if err != nil {
			t.Fatal(err)
		}
		if cases[cmd.Case], err = domain.Evolve(book, cases[cmd.Case], r); err != nil {
			t.Fatal(err)
		}
		for _, f := range event.Data.Findings {
			t.Logf("%s %s: %s %s", cmd.Case, cmd.Act, f.Rule, f.Detail.ZH)
		}
	}
	return cases
}

// answer looks up what the cases so far have entered.
func answer(facts rulebook.Facts, cases map[domain.CaseID]*domain.Case, lookups []rulebook.Lookup) {
	for _, l := range lookups {
		facts[l] = nil
		for _, c := range cases {
			for _, e := range c.Procedure.Entries(c.History) {
				if e.Register == l.Register && e.Key == l.Key {
					facts[l] = append(facts[l], e)
				}
			}
		}
		slices.SortFunc(facts[l], rulebook.Entry.Compare)
	}
}

// show checks that there is something to look at in every list.
func show(t *testing.T, book *rulebook.Book, now time.Time, cases map[domain.CaseID]*domain.Case) {
	t.Helper()
	if n := len(cases); n < 20 || n > 30 {
		t.Errorf("%d cases, want 20 to 30", n)
	}
	today := calendar.DateOf(now)
	stages, clean := map[string]int{}, 0
	var overdue, warned, open int
	for _, c := range cases {
		stages[c.Procedure.Name+" "+c.Stage()]++
		if len(c.After(0)) > 0 && findings(c) == 0 {
			clean++
		}
		for _, d := range c.Procedure.Deadlines(c.History, nil) {
			switch {
			case d.Done != "":
			case d.Due.On.Before(today):
				overdue++
			case !d.Warn.After(today):
				warned++
			default:
				open++
			}
		}
	}
	if overdue < 2 || warned < 2 || open < 5 {
		t.Errorf("deadlines: %d overdue, %d soon due, %d open; want at least 2, 2 and 5", overdue, warned, open)
	}
	if clean < 12 || clean > len(cases)-5 {
		t.Errorf("%d of %d cases have no finding; want most, and at least five that have some", clean, len(cases))
	}
	for _, name := range []string{"penalty-ordinary", "penalty-summary"} {
		law, _ := book.Procedure(name)
		for _, s := range law.Stages {
			if stages[name+" "+s.Name] == 0 && !(name == "penalty-summary" && (s.Name == "scene" || s.Name == "decided" || s.Name == "archived")) {
				t.Errorf("%s: no case stands in stage %s: %v", name, s.Name, stages)
			}
		}
	}
}

func findings(c *domain.Case) int {
	n := 0
	for _, r := range c.After(0) {
		n += len(r.Findings)
	}
	return n
}
