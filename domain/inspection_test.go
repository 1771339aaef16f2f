package domain_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/law"
	"liuhen/domain/rulebook"
)

// inspects inspects every case of a log.
func (l *logbook) inspects(n *domain.Inspection) []domain.Inspected {
	l.t.Helper()
	var all []domain.Inspected
	for _, id := range l.order {
		facts := domain.FactsThen{}
		for {
			ask, err := n.Asks(l.byCase[id], facts)
			if err != nil {
				l.t.Fatal(err)
			}
			if len(ask) == 0 {
				break
			}
			answers, _ := l.facts(ask)
			maps.Copy(facts, answers)
		}
		found, err := n.Case(l.byCase[id], facts)
		if err != nil {
			l.t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

func (l *logbook) then() domain.Then { return domain.Then{Roster: domain.RegisterAt(nil, l.log)} }

func (l *logbook) today(register *domain.Register) domain.Today {
	return domain.Today{Registers: domain.Registers{Roster: register}, At: uint64(len(l.log))}
}

// whole is the scope of everything.
func (l *logbook) whole() domain.InspectionScope {
	return domain.InspectionScope{Through: uint64(len(l.log)), All: true, Today: calendar.DateOf(today)}
}

func causesOf(all []domain.Inspected) map[domain.InspectionCause]int {
	out := map[domain.InspectionCause]int{}
	for _, d := range all {
		out[d.Cause]++
	}
	return out
}

// TestInspectionOfTheSample inspects the sample office, whose certificates are all
// revoked in the end: each act is judged as it was recorded, and those that officers
// took part in come out otherwise by the register of today, for that cause.
func TestInspectionOfTheSample(t *testing.T) {
	l := sampleLog(t, book)
	n := newInspection(t, book, l.then(), l.today(l.register), l.whole())
	all := l.inspects(n)
	r := n.Report()
	if r.Acts != len(l.log) || r.Cases != len(l.order) || r.Alarms != 0 || r.Unjudged != 0 || r.Same+len(all) != r.Acts {
		t.Errorf("report %+v for %d records of %d cases, %d differences", r, len(l.log), len(l.order), len(all))
	}
	if causes := causesOf(all); causes[domain.CauseRegisters] < 50 || len(causes) != 1 || !maps.Equal(causes, r.Differences) {
		t.Errorf("causes %v, in the report %v; want only registers", causes, r.Differences)
	}
	for _, d := range all {
		if !slices.Contains(d.Rules, "R-002") || len(d.Judged) <= len(d.Recorded) || d.Because.ZH == "" || d.Because.EN == "" {
			t.Errorf("%s %s: %v, %d findings then and %d now", d.Case, d.Act, d.Rules, len(d.Recorded), len(d.Judged))
		}
	}

	// By the register as it was after each certificate was issued and before any was
	// suspended, only what was judged by the suspension differs.
	at := slices.IndexFunc(l.log, func(r domain.Recorded) bool { return r.Act() == "suspend-certificate" })
	before, err := domain.NewRegister(nil).With(l.log[:at]...)
	if err != nil {
		t.Fatal(err)
	}
	n = newInspection(t, book, l.then(), l.today(before), l.whole())
	for _, d := range l.inspects(n) {
		if d.Cause != domain.CauseRegisters || len(d.Judged) >= len(d.Recorded) {
			t.Errorf("before the suspension: %+v", d)
		}
	}

	// Only what has an effect, and only of a part of the log.
	n = newInspection(t, book, l.then(), l.today(l.register), domain.InspectionScope{After: 100, Through: 200})
	effects := 0
	for _, r := range l.log[100:200] {
		p, _ := book.Edition(r.Procedure(), r.Edition)
		if act, ok := p.Act(r.Act()); ok && act.Effect {
			effects++
		}
	}
	for _, d := range l.inspects(n) {
		if d.Position <= 100 || d.Position > 200 {
			t.Errorf("an act at %d was inspected", d.Position)
		}
	}
	if n.Report().Acts != effects || effects < 10 {
		t.Errorf("%d acts with an effect were inspected, want %d", n.Report().Acts, effects)
	}
}

// TestInspectionRaisesTheAlarm alters a record in each way that counts, and hands in
// registers that were altered.
func TestInspectionRaisesTheAlarm(t *testing.T) {
	l := sampleLog(t, book)
	i := slices.IndexFunc(l.log, func(r domain.Recorded) bool {
		return len(r.Data.Findings) > 0 && r.Data.RosterAt > 0 && r.Act() != "note-findings"
	})
	of := l.log[i]
	for name, change := range map[string]func(*domain.Recorded){
		"a word of a finding": func(r *domain.Recorded) { r.Data.Findings[0].Detail.EN += "!" },
		"a finding less":      func(r *domain.Recorded) { r.Data.Findings = r.Data.Findings[1:] },
		"a finding more": func(r *domain.Recorded) {
			r.Data.Findings = append(r.Data.Findings, r.Data.Findings[0])
		},
		"a certificate": func(r *domain.Recorded) { r.Data.Officers[0].Certificate += "0" },
	} {
		records := slices.Clone(l.byCase[of.Subject])
		k := slices.IndexFunc(records, func(r domain.Recorded) bool { return r.ID == of.ID })
		records[k].Data.Findings = slices.Clone(records[k].Data.Findings)
		records[k].Data.Officers = slices.Clone(records[k].Data.Officers)
		change(&records[k])
		n := newInspection(t, book, l.then(), l.today(l.register), domain.InspectionScope{After: of.Position - 1, Through: of.Position, All: true})
		altered := *l
		altered.byCase, altered.order = map[domain.CaseID][]domain.Recorded{of.Subject: records}, []domain.CaseID{of.Subject}
		all := altered.inspects(n)
		if len(all) == 0 || !all[0].Alarm || all[0].Cause != domain.CauseAlarm || all[0].Event != of.ID || n.Report().Alarms != 1 || n.Report().Same != 0 {
			t.Errorf("%s: %+v, report %+v", name, all, n.Report())
		}
		if (name == "a certificate") != (len(all) > 0 && all[0].Officers != nil) {
			t.Errorf("%s: officers %+v", name, all)
		}
	}
}

// TestInspectionTellsTheLaw judges the sample by law files that are not those of
// then.
func TestInspectionTellsTheLaw(t *testing.T) {
	l := sampleLog(t, bookWith(t, ownRule))
	scope := l.whole()
	inspect := func(b *rulebook.Book, scope domain.InspectionScope) ([]domain.Inspected, domain.InspectionReport) {
		n := newInspection(t, b, l.then(), domain.Today{Registers: domain.Registers{}, At: uint64(len(l.log))}, scope)
		return l.inspects(n), n.Report()
	}

	// The agency's own rule is gone: what it found shows a changed law.
	all, r := inspect(book, scope)
	if causes := causesOf(all); causes[domain.CauseLawChanged] != 1 || r.Alarms != 0 || all[0].Rules[0] != "KJ-001" {
		t.Errorf("a rule is gone: %v, %+v", causes, r)
	}
	// It says something else now, in words or in what it asks for.
	all, r = inspect(bookWith(t, strings.ReplaceAll(ownRule, "决定书及时送达", "决定书按时送达")), scope)
	if causes := causesOf(all); causes[domain.CauseLawChanged] != 1 || r.Alarms != 0 {
		t.Errorf("a rule was worded anew: %v, %+v", causes, r)
	}
	// A value that an agency's file sets.
	_, r = inspect(bookWith(t, ownRule, "parameters: {hearing_fine_entity: 1000000}\n"), scope)
	if r.Differences[domain.CauseLawChanged] != 8 || r.Alarms != 0 {
		t.Errorf("a parameter: %+v", r)
	}
	// Today's edition, by choice: the sentence is the same, a limit is not. By the
	// edition of then nothing differs.
	both := scope
	both.TodaysLaw = true
	newer := newEdition(t)
	all, r = inspect(newer, both)
	if r.Differences[domain.CauseTodaysLaw] == 0 || r.Alarms != 0 || r.Differences[domain.CauseRegisters] != 0 {
		t.Errorf("today's edition: %+v", r)
	}
	for _, d := range all {
		if d.Cause == domain.CauseTodaysLaw && (d.JudgedBy != calendar.MakeDate(2026, 11, 1) || d.Edition == d.JudgedBy || d.Procedure != "penalty-ordinary") {
			t.Errorf("judged by %s, recorded by %s: %+v", d.JudgedBy, d.Edition, d)
		}
	}
	if all, _ = inspect(newer, scope); len(all) != 1 { // the agency's rule, which this book has not got
		t.Errorf("without that choice %d acts differ, the first %+v", len(all), all[0])
	}

	// An edition that is not there any more.
	gone := *l
	records := slices.Clone(l.byCase["样例-001"])
	for i := range records {
		records[i].Edition = calendar.MakeDate(1990, 1, 1)
	}
	gone.byCase, gone.order = map[domain.CaseID][]domain.Recorded{"样例-001": records}, []domain.CaseID{"样例-001"}
	n := newInspection(t, book, l.then(), domain.Today{}, scope)
	all = gone.inspects(n)
	if len(all) != len(records) || all[0].Cause != domain.CauseEditionGone || n.Report().Alarms != 0 || n.Report().Acts != len(records) || n.Report().Cases != 1 {
		t.Errorf("the edition is gone: %d of %d, %+v", len(all), len(records), n.Report())
	}
}

// newEdition is the law with an edition of the ordinary procedure in force since the
// first of the month, by which a hearing is due from fines of one yuan on.
func newEdition(t testing.TB) *rulebook.Book {
	t.Helper()
	files := fstest.MapFS{}
	entries, err := law.Files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		data, err := law.Files.ReadFile(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = &fstest.MapFile{Data: data}
	}
	text := string(files["penalty-ordinary.yaml"].Data)
	files["penalty-ordinary-2026.yaml"] = &fstest.MapFile{Data: []byte(strings.NewReplacer(
		"edition: 2021-07-15", "edition: 2026-11-01",
		"? param.hearing_fine_entity :", "? 100 :",
	).Replace(text))}
	b, err := rulebook.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRegistersToAndFro asks for registers at positions in any order and finds what
// a register that was made for each has.
func TestRegistersToAndFro(t *testing.T) {
	l := sampleLog(t, book)
	at := domain.RegisterAt(nil, l.log)
	on := calendar.DateOf(today)
	for i := range 400 {
		position := uint64(i*7919%len(l.log) + 1)
		got, err := at(position)
		if err != nil {
			t.Fatal(err)
		}
		want, err := domain.NewRegister(nil).With(l.log[:position]...)
		if err != nil {
			t.Fatal(err)
		}
		for _, person := range []string{"yl-li", "yl-zhang", "nobody"} {
			a, okA := got.Officer("样例科技局", person, on)
			b, okB := want.Officer("样例科技局", person, on)
			if a != b || okA != okB || got.At() != position || got.Knows("样例科技局") != want.Knows("样例科技局") {
				t.Fatalf("at %d %s is %+v (%v, register at %d), want %+v (%v)", position, person, a, okA, got.At(), b, okB)
			}
		}
	}
	if _, err := at(0); err != nil {
		t.Error(fmt.Errorf("at 0: %w", err))
	}
}

func newInspection(t testing.TB, law domain.Law, then domain.Then, today domain.Today, scope domain.InspectionScope) *domain.Inspection {
	t.Helper()
	n, err := domain.NewInspection(law, then, today, scope)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
