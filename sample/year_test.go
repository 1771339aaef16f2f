package sample

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/law"
	"liuhen/domain/rulebook"
)

func lawBook(t *testing.T) *rulebook.Book {
	t.Helper()
	book, err := rulebook.Load(law.Files)
	if err != nil {
		t.Fatal(err)
	}
	return book
}

func newYear(t *testing.T, book *rulebook.Book, o YearOptions) *Year {
	t.Helper()
	y, err := NewYear(book, o)
	if err != nil {
		t.Fatal(err)
	}
	return y
}

// played is a year as it was decided, without a store.
type played struct {
	cases    map[domain.CaseID]*domain.Case
	tally    *Tally
	findings map[string]int // by procedure and rule
	late     int
	imported int
	corrects int
	events   int
}

// playYear decides the whole year as the desk would, with the register of
// officers that the log gives.
func playYear(t *testing.T, book *rulebook.Book, y *Year) played {
	t.Helper()
	p := played{cases: map[domain.CaseID]*domain.Case{}, findings: map[string]int{}}
	now := time.Date(2026, 11, 24, 9, 0, 0, 0, calendar.Shanghai)
	register := domain.NewRegister(nil)
	entered := shelf{facts: rulebook.Facts{}, of: map[domain.CaseID][]rulebook.Lookup{}}
	events, corrected, found := map[string]string{}, map[string]string{}, map[string]int{}
	var all []domain.Recorded
	decide := func(e Entry) {
		t.Helper()
		cmd := e.Command
		if c := p.cases[cmd.Case]; c != nil {
			cmd.Procedure = ""
		}
		if e.CorrectsCommand != "" {
			cmd.Corrects = events[e.CorrectsCommand]
			p.corrects++
		}
		p.events++
		reg := domain.Registers{Roster: register, FactsAt: uint64(p.events - 1)}
		stamp := domain.Stamp{Event: fmt.Sprintf("e%d", p.events), Salt: "s", Now: now}
		event, err := domain.Decide(book, reg, p.cases[cmd.Case], cmd, stamp)
		for asked := new(domain.Unanswered); errors.As(err, &asked); {
			if reg.Facts == nil {
				reg.Facts = rulebook.Facts{}
			}
			for _, l := range asked.Lookups {
				reg.Facts[l] = entered.facts[l]
			}
			event, err = domain.Decide(book, reg, p.cases[cmd.Case], cmd, stamp)
		}
		if err != nil {
			t.Fatalf("%s %s: %v", cmd.Case, cmd.Act, err)
		}
		data, err := event.Encode()
		if err != nil {
			t.Fatalf("%s %s: %v", cmd.Case, cmd.Act, err)
		}
		r, err := domain.Read(uint64(p.events), now, data)
		if err != nil {
			t.Fatal(err)
		}
		if p.cases[cmd.Case], err = domain.Evolve(book, p.cases[cmd.Case], r); err != nil {
			t.Fatal(err)
		}
		if c, step := p.cases[cmd.Case], r.Step(); c.Procedure.MovesEntries(&step) {
			entered.take(c)
		}
		if r.Procedure() == domain.RegisterProcedure {
			if register, err = register.With(r); err != nil {
				t.Fatal(err)
			}
		}
		events[cmd.ID] = r.ID
		if r.Data.Corrects != "" {
			corrected[r.Data.Corrects] = r.ID
		}
		if r.Data.Import != nil && r.Data.Import.Source == Source && r.Data.Import.Batch == y.Batch() && r.Data.Import.Row == int64(p.events) {
			p.imported++
		}
		if r.Data.LateReason != "" {
			p.late++
		}
		for _, f := range r.Data.Findings {
			p.findings[r.Procedure()+" "+f.Rule]++
			found[string(cmd.Case)]++
			if p.findings[r.Procedure()+" "+f.Rule] <= 3 {
				t.Logf("%s %s %s: %s %s", cmd.Case, cmd.At.Format("2006-01-02"), cmd.Act, f.Rule, f.Detail.ZH)
			}
		}
		all = append(all, r)
	}
	for e, err := range y.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		decide(e)
	}
	tally := func() *Tally {
		tally := NewTally(2022)
		for _, r := range all {
			tally.Add(Event{ID: r.ID, Case: string(r.Subject), Procedure: r.Procedure(), Act: r.Act(), At: r.Time, Fields: r.Data.Fields, CorrectedBy: corrected[r.ID]})
		}
		for id, n := range found {
			tally.AddFindings(id, n)
		}
		return tally
	}
	report, err := y.ReportOut(tally(), uint64(p.events), int64(p.events))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range report {
		decide(e)
	}
	p.tally = tally()
	return p
}

// A shelf is what registers of other cases hold.
type shelf struct {
	facts rulebook.Facts
	of    map[domain.CaseID][]rulebook.Lookup // under which keys a case stands
}

// take puts what a case has entered in the place of what it had.
func (s *shelf) take(c *domain.Case) {
	for _, l := range s.of[c.ID] {
		s.facts[l] = slices.DeleteFunc(s.facts[l], func(e rulebook.Entry) bool { return e.Case == string(c.ID) })
	}
	s.of[c.ID] = nil
	for _, e := range c.Procedure.Entries(c.History) {
		l := rulebook.Lookup{Register: e.Register, Key: e.Key}
		s.facts[l] = append(s.facts[l], e)
		s.of[c.ID] = append(s.of[c.ID], l)
	}
}

// TestTheYear decides the whole year: every number of the report is counted,
// and what is found is what was meant to be found.
func TestTheYear(t *testing.T) {
	book := lawBook(t)
	y := newYear(t, book, YearOptions{Number: 2022, Seed: 1, Scale: 1})
	p := playYear(t, book, y)
	t.Logf("%d cases, %d events", len(p.cases), p.events)

	for _, f := range Figures() {
		if c := f.Of(p.tally); !f.Agrees(c, 1) {
			t.Errorf("%s %s: counted %d/%d, the report says %s (%d to %d)", f.No, f.EN, c.Value, c.Denominator, f.Printed, f.Least, f.Most)
		}
	}
	wanted, late := map[string]int{}, 0
	for _, x := range irregularities {
		if x.rule == "late" {
			late += x.count
			continue
		}
		wanted[y.teller.stories[y.work(x.work).story].Procedure+" "+x.rule] += x.count
	}
	if !maps.Equal(p.findings, wanted) {
		t.Errorf("findings %v\nwant     %v", p.findings, wanted)
	}
	if p.late != late {
		t.Errorf("%d records are late, want %d", p.late, late)
	}
	if p.imported != p.events || len(p.cases) != y.Cases() {
		t.Errorf("%d of %d events are marked with source, batch and row; %d cases, want %d", p.imported, p.events, len(p.cases), y.Cases())
	}
	if p.corrects != 1 {
		t.Errorf("%d corrections, want 1", p.corrects)
	}
	if n := len(p.tally.events["foreign-work-permit.withdraw-publication"]); n != 1 {
		t.Errorf("%d publications were withdrawn, want 1", n)
	}
}

// TestTheYearIsTheSame asks that the options alone make the acts.
func TestTheYearIsTheSame(t *testing.T) {
	book := lawBook(t)
	first := linesOf(t, newYear(t, book, YearOptions{Number: 2022, Seed: 1, Scale: 1}))
	if again := linesOf(t, newYear(t, book, YearOptions{Number: 2022, Seed: 1, Scale: 1})); !slices.Equal(first, again) {
		t.Error("the same seed makes another year")
	}
	if other := linesOf(t, newYear(t, book, YearOptions{Number: 2022, Seed: 2, Scale: 1})); slices.Equal(first, other) {
		t.Error("another seed makes the same year")
	}
	// Twice the year is the year itself and another one.
	twice := map[string]bool{}
	for _, line := range linesOf(t, newYear(t, book, YearOptions{Number: 2022, Seed: 1, Scale: 2})) {
		twice[line] = true
	}
	for _, line := range first {
		if !twice[line] {
			t.Fatalf("twice the year lacks %s", line)
		}
	}
}

// linesOf is each command of a year in a line.
func linesOf(t *testing.T, y *Year) []string {
	t.Helper()
	var lines []string
	for e, err := range y.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%s %s %s %s %s %v", e.ID, e.Act, e.At, e.Agency, e.Fields, e.Officers))
	}
	return lines
}

// TestTwiceTheYear counts a year of another seed, multiplied by two, from what is
// handed in.
func TestTwiceTheYear(t *testing.T) {
	book := lawBook(t)
	y := newYear(t, book, YearOptions{Number: 2022, Seed: 7, Scale: 2})
	tally := NewTally(2022)
	add := func(e Entry) {
		fields := map[string]any{}
		for name, raw := range e.Fields {
			var v any
			if err := json.Unmarshal(raw, &v); err != nil {
				t.Fatal(err)
			}
			fields[name] = v
		}
		event := Event{ID: e.ID, Case: string(e.Case), Procedure: e.Procedure, Act: e.Act, At: e.At, Fields: fields}
		if e.Corrected {
			event.CorrectedBy = "a later one"
		}
		tally.Add(event)
	}
	for e, err := range y.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		add(e)
	}
	report, err := y.ReportOut(tally, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range report {
		add(e)
	}
	for _, f := range Figures() {
		if c := f.Of(tally); !f.Agrees(c, 2) || !f.Once && f.Most > 0 && f.No != "22" && f.Agrees(c, 1) {
			t.Errorf("%s %s: counted %d/%d of twice the year, the report says %s", f.No, f.EN, c.Value, c.Denominator, f.Printed)
		}
	}
}

// TestTheYearKeepsOfficeHours asks when the acts lie: on working days, in
// office hours, in the order of the case, and spread over the year.
func TestTheYearKeepsOfficeHours(t *testing.T) {
	book := lawBook(t)
	months := map[time.Month]int{}
	last := map[domain.CaseID]time.Time{}
	var before time.Time
	for e, err := range newYear(t, book, YearOptions{Number: 2022, Seed: 1, Scale: 1}).Entries() {
		if err != nil {
			t.Fatal(err)
		}
		at := e.At.In(calendar.Shanghai)
		if d := calendar.DateOf(at); !book.Calendar().IsWorkday(d) || at.Hour() < 9 || at.Hour() > 17 || at.Hour() == 17 && at.Minute() > 15 {
			t.Errorf("%s %s at %s: not in the hours of the office", e.Case, e.Act, at)
		}
		if at.Before(last[e.Case]) && e.CorrectsCommand == "" {
			t.Errorf("%s %s at %s: before the act that stands before it, at %s", e.Case, e.Act, at, last[e.Case])
		}
		if at.Before(before) && e.CorrectsCommand == "" {
			t.Errorf("%s %s at %s: told after an act at %s", e.Case, e.Act, at, before)
		}
		last[e.Case], before = at, at
		if e.Act == "accept-application" && at.Year() == 2022 {
			months[at.Month()]++
		}
	}
	for m := time.January; m <= time.December; m++ {
		if months[m] < 60 {
			t.Errorf("%d applications were accepted in %s; the work is to be spread over the year", months[m], m)
		}
	}
}

func TestThereIsOneYear(t *testing.T) {
	book := lawBook(t)
	for _, o := range []YearOptions{{Number: 2021, Seed: 1, Scale: 1}, {Number: 2022, Seed: 1}, {Number: 2022, Seed: 1, Scale: 1001}} {
		if _, err := NewYear(book, o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}

// TestNothingIsReal looks for what might be taken for a real name or number.
func TestNothingIsReal(t *testing.T) {
	book := lawBook(t)
	for e, err := range newYear(t, book, YearOptions{Number: 2022, Seed: 1, Scale: 1}).Entries() {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(e.Case), "样例") {
			t.Errorf("case %s is not marked", e.Case)
		}
		for name, mark := range map[string]string{"party": `"name":"样例`, "worker": `"name":"SPECIMEN `} {
			if raw := string(e.Fields[name]); raw != "" && !strings.Contains(raw, mark) {
				t.Errorf("%s %s: %s %s has no %s", e.Case, e.Act, name, raw, mark)
			}
		}
		if raw := string(e.Fields["party"]); raw != "" && !strings.Contains(raw, `"uscc":"91000000YL`) {
			t.Errorf("%s %s: party %s has a code that might be real", e.Case, e.Act, raw)
		}
	}
}
