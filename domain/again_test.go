package domain_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
	"liuhen/sample"
)

// today is the day on which the sample office is filled in: a Tuesday.
var today = time.Date(2026, 11, 24, 10, 0, 0, 0, calendar.Shanghai)

// A logbook records commands one after another, as the desk does: each is
// judged with the register of officers as the log has it by then.
type logbook struct {
	t        testing.TB
	book     *rulebook.Book
	register *domain.Register
	calendar *domain.Calendars // nil: the book's own
	cases    map[domain.CaseID]*domain.Case
	byCase   map[domain.CaseID][]domain.Recorded
	order    []domain.CaseID
	log      []domain.Recorded
	entered  map[domain.CaseID][]entered
	now      time.Time // zero: today
}

// entered is what a case had in registers from a position on.
type entered struct {
	from    uint64
	entries []rulebook.Entry
}

func newLogbook(t testing.TB, book *rulebook.Book) *logbook {
	return &logbook{
		t: t, book: book, register: domain.NewRegister(nil),
		cases: map[domain.CaseID]*domain.Case{}, byCase: map[domain.CaseID][]domain.Recorded{}, entered: map[domain.CaseID][]entered{},
	}
}

func (l *logbook) record(cmd domain.Command) domain.Recorded {
	l.t.Helper()
	position := uint64(len(l.log) + 1)
	now := today
	if !l.now.IsZero() {
		now = l.now
	}
	stamp := domain.Stamp{Event: fmt.Sprintf("event-%d", position), Salt: "salt", Now: now}
	reg := domain.Registers{Roster: l.register, Calendars: l.calendar, Facts: rulebook.Facts{}, FactsAt: position - 1}
	event, err := domain.Decide(l.book, reg, l.cases[cmd.Case], cmd, stamp)
	for ask := (*domain.Unanswered)(nil); errors.As(err, &ask); event, err = domain.Decide(l.book, reg, l.cases[cmd.Case], cmd, stamp) {
		for _, a := range ask.Lookups {
			reg.Facts[a] = l.lookUp(a, reg.FactsAt)
		}
	}
	if err != nil {
		l.t.Fatalf("%s %s: %v", cmd.Case, cmd.Act, err)
	}
	data, err := event.Encode()
	if err != nil {
		l.t.Fatal(err)
	}
	r, err := domain.Read(position, today, data)
	if err != nil {
		l.t.Fatal(err)
	}
	if l.cases[cmd.Case], err = domain.Evolve(l.book, l.cases[cmd.Case], r); err != nil {
		l.t.Fatal(err)
	}
	if l.register, err = l.register.With(r); err != nil {
		l.t.Fatal(err)
	}
	if l.calendar != nil {
		if l.calendar, err = l.calendar.With(r); err != nil {
			l.t.Fatal(err)
		}
	}
	c := l.cases[cmd.Case]
	l.entered[c.ID] = append(l.entered[c.ID], entered{position, c.Procedure.Entries(c.History)})
	if l.byCase[cmd.Case] == nil {
		l.order = append(l.order, cmd.Case)
	}
	l.byCase[cmd.Case] = append(l.byCase[cmd.Case], r)
	l.log = append(l.log, r)
	return r
}

// lookUp is what stood in a register at a position.
func (l *logbook) lookUp(asked rulebook.Lookup, at uint64) []rulebook.Entry {
	var found []rulebook.Entry
	for _, states := range l.entered {
		for _, s := range slices.Backward(states) {
			if s.from > at {
				continue
			}
			for _, e := range s.entries {
				if e.Register == asked.Register && e.Key == asked.Key {
					found = append(found, e)
				}
			}
			break
		}
	}
	slices.SortFunc(found, rulebook.Entry.Compare)
	return found
}

// facts answers what registers held at positions.
func (l *logbook) facts(asked []domain.Asked) (domain.FactsThen, error) {
	answers := domain.FactsThen{}
	for _, a := range asked {
		answers[a] = l.lookUp(a.Lookup, a.At)
	}
	return answers, nil
}

// officer records an act in the case of an officer.
func (l *logbook) officer(person, act string, fields map[string]any) {
	l.t.Helper()
	id := domain.CaseID("证-" + person)
	cmd := domain.Command{
		ID: fmt.Sprintf("officer-%d", len(l.log)), Case: id, Act: act, At: today.Add(-time.Hour),
		Actor:  domain.Actor{ID: "clerk", Name: "赵", Roles: []string{"*"}},
		Fields: map[string]json.RawMessage{}, AlreadyDone: true, Reason: "补录",
	}
	if l.cases[id] == nil {
		cmd.Agency, cmd.Procedure = "样例科技局", domain.RegisterProcedure
	}
	for name, v := range fields {
		data, err := json.Marshal(v)
		if err != nil {
			l.t.Fatal(err)
		}
		cmd.Fields[name] = data
	}
	l.record(cmd)
}

// officeOf is the commands of the sample office under a book.
func officeOf(t testing.TB, book *rulebook.Book) (sample.Office, []domain.Command) {
	t.Helper()
	office, err := sample.Read()
	if err != nil {
		t.Fatal(err)
	}
	commands, err := office.Commands(book, today)
	if err != nil {
		t.Fatal(err)
	}
	return office, commands
}

// sampleLog is the sample office on a log of its own, its officers' certificates
// with it. Half way a certificate is suspended, and in the end all are
// revoked, so that judging by the register of another time shows.
func sampleLog(t testing.TB, book *rulebook.Book) *logbook {
	t.Helper()
	l := newLogbook(t, book)
	office, commands := officeOf(t, book)
	var certified []string
	for _, p := range office.People {
		if p.Certificate == "" {
			continue
		}
		certified = append(certified, p.ID)
		l.officer(p.ID, "enrol-officer", map[string]any{"person": p.ID, "full_name": p.Name, "unit": "执法科", "staff_kind": "formal"})
		l.officer(p.ID, "issue-certificate", map[string]any{
			"certificate_no": p.Certificate, "card": "enforcement", "category": "科技", "area": "2101", "issuer": "司法局",
			"valid_from": "2023-01-01", "valid_to": fmt.Sprintf("%d-12-31", 2022+p.Years),
		})
	}
	for i, cmd := range commands {
		if i == len(commands)/2 {
			l.officer("yl-li", "suspend-certificate", map[string]any{"ground": "investigation", "reason": "调查", "suspended_from": "2026-09-01"})
			// What the officer did before, as the register has it now.
			note := l.record(domain.Command{
				ID: "note", Case: "样例-002", Act: "note-findings", At: today.Add(-time.Minute),
				Actor: domain.Actor{ID: "liuhen", Roles: []string{"system"}}, Fields: map[string]json.RawMessage{"cause": json.RawMessage(`"registers"`)},
			})
			if len(note.Data.Findings) == 0 || note.Data.Findings[0].Of == "" || note.Data.RosterAt == 0 {
				t.Fatalf("noted after the suspension: %+v at %d", note.Data.Findings, note.Data.RosterAt)
			}
		}
		l.record(cmd)
	}
	for _, person := range certified {
		l.officer(person, "revoke-certificate", map[string]any{"ground": "fraud", "reason": "取得资格不实", "revoked_on": "2023-01-02"})
	}
	return l
}

// judgeAll judges every case of a log again.
func (l *logbook) judgeAll(then domain.Then) []domain.Difference {
	l.t.Helper()
	var all []domain.Difference
	for _, id := range l.order {
		ds, err := domain.JudgeAgain(l.book, then, l.byCase[id])
		if err != nil {
			l.t.Fatal(err)
		}
		all = append(all, ds...)
	}
	return all
}

// TestTheSampleIsJudgedAgainAlike judges every act of the sample office anew,
// with the officers' register as it was then, and finds what was found to the
// letter.
func TestTheSampleIsJudgedAgainAlike(t *testing.T) {
	l := sampleLog(t, book)
	byRegister, withFindings, suspended := 0, 0, 0
	for _, r := range l.log {
		if r.Data.RosterAt > 0 && r.Act() != "note-findings" {
			byRegister++
		}
		if len(r.Data.Findings) > 0 {
			withFindings++
		}
		for _, f := range r.Data.Findings {
			if f.Rule == "R-002" && slices.ContainsFunc(r.Data.Officers, func(o rulebook.Officer) bool { return o.ID == "yl-li" }) {
				suspended++
			}
		}
	}
	if len(l.log) < 300 || byRegister < 100 || withFindings < 20 || suspended == 0 {
		t.Fatalf("the log shows little: %d records, %d judged with the register, %d with findings, %d with a suspended certificate",
			len(l.log), byRegister, withFindings, suspended)
	}
	if ds := l.judgeAll(domain.Then{Roster: domain.RegisterAt(nil, l.log), Facts: l.facts}); len(ds) > 0 {
		t.Errorf("%d acts are judged otherwise, such as %+v", len(ds), ds[0])
	}
	if ds := l.judgeAll(domain.Then{Facts: l.facts}); len(ds) > 0 {
		t.Errorf("with the certificates as they were frozen, %d acts are judged otherwise, such as %+v", len(ds), ds[0])
	}

	if ds := l.judgeAll(domain.Then{}); len(ds) > 0 {
		t.Errorf("with no registers at all, %d acts are judged otherwise, such as %+v", len(ds), ds[0])
	}

	// By the register of another time they are not, so that the test can fail.
	end := func(uint64) (domain.Roster, error) { return l.register, nil }
	ds := l.judgeAll(domain.Then{Roster: end, Facts: l.facts})
	if len(ds) != byRegister {
		t.Errorf("by the register as it is in the end, in which nobody is qualified, %d acts differ, want the %d that were judged with it", len(ds), byRegister)
	}
	for _, d := range ds {
		if d.Officers == nil || d.Officers[0].Certificate != "" && !d.Officers[0].ValidTo.Before(calendar.MakeDate(2023, 1, 3)) {
			t.Errorf("%s %s: the register in the end has %+v", d.Case, d.Act, d.Officers)
		}
	}
}

// TestWhatWasNotedIsJudgedAgain asks the register of before the suspension: then
// there was nothing to note.
func TestWhatWasNotedIsJudgedAgain(t *testing.T) {
	l := sampleLog(t, book)
	at := slices.IndexFunc(l.log, func(r domain.Recorded) bool { return r.Act() == "suspend-certificate" })
	before, err := domain.NewRegister(nil).With(l.log[:at]...)
	if err != nil {
		t.Fatal(err)
	}
	ds, err := domain.JudgeAgain(book, domain.Then{Roster: func(uint64) (domain.Roster, error) { return before, nil }, Facts: l.facts}, l.byCase["样例-002"])
	if err != nil || len(ds) != 1 || ds[0].Act != "note-findings" || len(ds[0].Judged) != 0 || len(ds[0].Recorded) == 0 {
		t.Errorf("%+v %v", ds, err)
	}
}

// TestJudgeAgainTellsWhatDiffers changes a record in each way that counts.
func TestJudgeAgainTellsWhatDiffers(t *testing.T) {
	l := sampleLog(t, book)
	registers := domain.Then{Roster: domain.RegisterAt(nil, l.log), Facts: l.facts}
	i := slices.IndexFunc(l.log, func(r domain.Recorded) bool { return len(r.Data.Findings) > 0 && r.Data.RosterAt > 0 })
	of := l.log[i]
	for name, change := range map[string]func(*domain.Recorded){
		"a word of a finding": func(r *domain.Recorded) { r.Data.Findings[0].Detail.EN += "!" },
		"its verdict":         func(r *domain.Recorded) { r.Data.Findings[0].Verdict += "x" },
		"a finding less":      func(r *domain.Recorded) { r.Data.Findings = r.Data.Findings[1:] },
		"a finding more":      func(r *domain.Recorded) { r.Data.Findings = append(r.Data.Findings, r.Data.Findings[0]) },
		"a certificate":       func(r *domain.Recorded) { r.Data.Officers[0].Certificate += "0" },
	} {
		records := slices.Clone(l.byCase[of.Subject])
		n := slices.IndexFunc(records, func(r domain.Recorded) bool { return r.ID == of.ID })
		records[n].Data.Findings = slices.Clone(records[n].Data.Findings)
		records[n].Data.Officers = slices.Clone(records[n].Data.Officers)
		change(&records[n])
		ds, err := domain.JudgeAgain(book, registers, records)
		if err != nil || len(ds) == 0 || ds[0].Event != of.ID || ds[0].Case != of.Subject || ds[0].Position != of.Position {
			t.Errorf("%s: %+v %v", name, ds, err)
		}
		if (name == "a certificate") != (len(ds) > 0 && ds[0].Officers != nil) {
			t.Errorf("%s: officers %+v", name, ds)
		}
	}
	for name, change := range map[string]func(*domain.Recorded){
		"no such edition":   func(r *domain.Recorded) { r.Edition = calendar.MakeDate(1990, 1, 1) },
		"no such procedure": func(r *domain.Recorded) { r.Type = "nothing." + r.Act() },
	} {
		records := slices.Clone(l.byCase[of.Subject])
		change(&records[0])
		if _, err := domain.JudgeAgain(book, registers, records); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	broken := domain.Then{Roster: func(uint64) (domain.Roster, error) { return nil, domain.ErrChain }, Facts: l.facts}
	if _, err := domain.JudgeAgain(book, broken, l.byCase[of.Subject]); err == nil {
		t.Error("registers that cannot be had: no error")
	}
	if ds, err := domain.JudgeAgain(book, registers, nil); err != nil || ds != nil {
		t.Errorf("no records: %v %v", ds, err)
	}
}

// TestStoriesAreJudgedAgainAlike does the same with the stories of testdata,
// which have every sort of act and correction in them.
func TestStoriesAreJudgedAgainAlike(t *testing.T) {
	nothing := func(asked []domain.Asked) (domain.FactsThen, error) {
		answers := domain.FactsThen{}
		for _, a := range asked {
			answers[a] = nil
		}
		return answers, nil
	}
	for name, s := range stories(t) {
		ds, err := domain.JudgeAgain(book, domain.Then{Facts: nothing}, s.play(t, nil))
		if err != nil || len(ds) > 0 {
			t.Errorf("%s: %v %+v", name, err, ds)
		}
	}
}

// TestTheCalendarOfThenCounts judges an act again by the holidays that its agency
// had confirmed when it was recorded.
func TestTheCalendarOfThenCounts(t *testing.T) {
	notices, err := os.ReadFile("../projections/testdata/law/calendar-notice.yaml")
	if err != nil {
		t.Fatal(err)
	}
	law := func(limit string) *rulebook.Book {
		b, err := rulebook.Load(fstest.MapFS{"notice.yaml": {Data: notices}, "lend.yaml": {Data: []byte(`
procedure: lend
edition: 2024-01-01
name: {zh: 借出, en: Lend}
acts:
  lend: {name: {zh: 借出, en: Lend}, opens: true}
  return: {name: {zh: 归还, en: Return}}
rules:
  L-1: {says: {zh: 归还, en: Return}, basis: b, severity: minor, within: {act: return, after: lend, limit: ` + limit + ` working days}, examples: [{holds: {lend: }}, {broken: {lend: }}]}
`)}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := law("3")
	l := newLogbook(t, b)
	l.calendar = domain.NewCalendars(b.Calendar())
	record := func(id domain.CaseID, procedure, act, day string, fields map[string]json.RawMessage) domain.Recorded {
		at, err := calendar.ParseDate(day)
		if err != nil {
			t.Fatal(err)
		}
		return l.record(domain.Command{
			ID: fmt.Sprint(len(l.log)), Case: id, Agency: "a", Procedure: procedure, Act: act, At: at.Start(), Fields: fields, Actor: domain.Actor{ID: "li", Roles: []string{"*"}},
		})
	}
	// Monday to Wednesday are off in a year of which the program knows nothing.
	record("N-1", domain.NoticeProcedure, "enter-notice", "2029-11-01", map[string]json.RawMessage{
		"year": json.RawMessage("2030"), "title": json.RawMessage(`"通知"`), "holidays": json.RawMessage(`[{"name": "春节", "off_from": "2030-02-04", "off_to": "2030-02-06"}]`),
	})
	record("N-1", "", "confirm-notice", "2029-11-02", nil)
	record("L-1", "lend", "lend", "2030-02-01", nil)
	record("L-2", "lend", "lend", "2030-02-01", nil)
	last := record("L-1", "", "return", "2030-02-11", nil)
	if len(last.Data.Findings) != 0 || last.Data.CalendarAt != 2 {
		t.Fatalf("%+v, by the calendar of %d", last.Data.Findings, last.Data.CalendarAt)
	}
	at := domain.CalendarAt(b.Calendar(), l.log)
	if ds, err := domain.JudgeAgain(b, domain.Then{Calendar: at}, l.byCase["L-1"]); err != nil || len(ds) > 0 {
		t.Errorf("by the calendar of then: %+v %v", ds, err)
	}
	if ds, err := domain.JudgeAgain(b, domain.Then{}, l.byCase["L-1"]); err != nil || len(ds) != 1 || ds[0].Judged[0].Due.String() != "2030-02-06" {
		t.Errorf("by the program's own: %+v %v", ds, err)
	}
	trial := domain.NewTrial(b, law("4"), at)
	for _, id := range []domain.CaseID{"L-1", "L-2"} {
		if err := trial.Case(l.byCase[id], nil); err != nil {
			t.Fatal(err)
		}
	}
	r := trial.Report()
	if got := outcome(r); len(got) != 1 || got[0] != "L-1 moved 1/1/0" || r.Rules[0].Moved.Examples[0].Was != "2030-02-11" || r.Rules[0].Moved.Examples[0].Would != "2030-02-12" {
		t.Errorf("a day more: %v %+v", got, r.Rules)
	}
}

// TestRegisterAt asks for positions in any order.
func TestRegisterAt(t *testing.T) {
	l := sampleLog(t, book)
	at := domain.RegisterAt(nil, l.log)
	day := calendar.MakeDate(2026, 10, 12)
	suspended := slices.IndexFunc(l.log, func(r domain.Recorded) bool { return r.Act() == "suspend-certificate" })
	before, last := l.log[suspended].Position-1, uint64(len(l.log))
	for _, position := range []uint64{0, before, before + 1, last, before, 1, last + 100} {
		roster, err := at(position)
		if err != nil {
			t.Fatal(err)
		}
		o, known := roster.Officer("样例科技局", "yl-li", day)
		valid := known && !day.After(o.ValidTo) && !day.Before(o.ValidFrom)
		if want := position == before; valid != want || roster.At() != position {
			t.Errorf("at %d: %+v (known %t, register at %d), want a valid certificate: %t", position, o, known, roster.At(), want)
		}
	}
	gap := slices.DeleteFunc(slices.Clone(l.log), func(r domain.Recorded) bool { return r.Act() == "issue-certificate" })
	if _, err := domain.RegisterAt(nil, gap)(last); err == nil {
		t.Error("a register with a gap in it: no error")
	}
}
