package domain_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// A lawOffice records commands as the desk does, with the law files that agencies
// put in force in its own log.
type lawOffice struct {
	t      testing.TB
	law    *domain.Books
	laws   *domain.Laws
	cases  map[domain.CaseID]*domain.Case
	byCase map[domain.CaseID][]domain.Recorded
	order  []domain.CaseID
	n      int
	now    time.Time
}

func newLawOffice(t testing.TB) *lawOffice {
	o := &lawOffice{
		t: t, laws: domain.NewLaws(), cases: map[domain.CaseID]*domain.Case{}, byCase: map[domain.CaseID][]domain.Recorded{},
		now: shanghai(t, "2026-03-02 10:00:00"),
	}
	o.law = o.books()
	return o
}

// books is the law as another process has it: it reads the texts anew.
func (o *lawOffice) books() *domain.Books {
	return domain.NewBooks(book, func(ref rulebook.FileRef) (string, error) {
		for _, r := range o.byCase[domain.CaseID(ref.Case)] {
			if f, ok := domain.FileOf(&r); ok && r.ID == ref.Event {
				return f.Text, nil
			}
		}
		return "", errors.New("there is no such record")
	}, nil)
}

func shanghai(t testing.TB, text string) time.Time {
	t.Helper()
	at, err := time.ParseInLocation(time.DateTime, text, calendar.Shanghai)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// act is a command of a person, one minute ago.
func (o *lawOffice) act(person string, id domain.CaseID, act string, fields map[string]any) domain.Command {
	o.t.Helper()
	cmd := domain.Command{
		Case: id, Act: act, At: o.now.Add(-time.Minute), Fields: map[string]json.RawMessage{},
		Actor: domain.Actor{ID: person, Name: person, Roles: []string{"handler", "head", "legal-reviewer"}},
	}
	for name, v := range fields {
		data, err := json.Marshal(v)
		if err != nil {
			o.t.Fatal(err)
		}
		cmd.Fields[name] = data
	}
	return cmd
}

func (o *lawOffice) record(cmd domain.Command) (domain.Recorded, error) {
	o.t.Helper()
	o.n++
	cmd.ID = fmt.Sprint("command-", o.n)
	stamp := domain.Stamp{Event: fmt.Sprint("event-", o.n), Salt: "salt", Now: o.now}
	reg := domain.Registers{Laws: o.laws, Facts: rulebook.Facts{}}
	event, err := domain.Decide(o.law, reg, o.cases[cmd.Case], cmd, stamp)
	for ask := (*domain.Unanswered)(nil); errors.As(err, &ask); event, err = domain.Decide(o.law, reg, o.cases[cmd.Case], cmd, stamp) {
		for _, a := range ask.Lookups {
			reg.Facts[a] = nil
		}
	}
	if err != nil {
		return domain.Recorded{}, err
	}
	data, err := event.Encode()
	if err != nil {
		o.t.Fatal(err)
	}
	r, err := domain.Read(uint64(o.n), o.now, data)
	if err != nil {
		o.t.Fatal(err)
	}
	if o.byCase[cmd.Case] == nil {
		o.order = append(o.order, cmd.Case)
	}
	o.byCase[cmd.Case] = append(o.byCase[cmd.Case], r)
	if o.cases[cmd.Case], err = domain.Evolve(o.law, o.cases[cmd.Case], r); err != nil {
		o.t.Fatal(err)
	}
	if o.laws, err = o.laws.With(r); err != nil {
		o.t.Fatal(err)
	}
	return r, nil
}

func (o *lawOffice) must(cmd domain.Command) domain.Recorded {
	o.t.Helper()
	r, err := o.record(cmd)
	if err != nil {
		o.t.Fatalf("%s in %s by %s: %v", cmd.Act, cmd.Case, cmd.Actor.ID, err)
	}
	return r
}

func (o *lawOffice) propose(person string, id domain.CaseID, agency, name, text, from string) domain.Command {
	cmd := o.act(person, id, "propose-file", map[string]any{"file_name": name, "text": text, "valid_from": from, "reason": "裁量基准"})
	if o.cases[id] == nil {
		cmd.Procedure, cmd.Agency = domain.LawProcedure, agency
	}
	return cmd
}

func (o *lawOffice) confirm(person string, id domain.CaseID, name, text, from string) domain.Command {
	return o.act(person, id, "put-in-force", map[string]any{"file_name": name, "digest": domain.DigestOf([]byte(text)).String(), "valid_from": from})
}

// clueOn opens a case on a day, as it is recorded now.
func (o *lawOffice) clueOn(id domain.CaseID, agency, day string) domain.Recorded {
	o.t.Helper()
	cmd := o.act("chen", id, "receive-clue", map[string]any{"source": "report", "summary": "群众举报"})
	cmd.Procedure, cmd.Agency, cmd.At = "penalty-ordinary", agency, shanghai(o.t, day+" 09:00:00")
	cmd.LateReason = "补录"
	return o.must(cmd)
}

// again judges every case again, as another process does that was not there.
func (o *lawOffice) again() {
	o.t.Helper()
	nothing := func(asked []domain.Asked) (domain.FactsThen, error) {
		facts := domain.FactsThen{}
		for _, a := range asked {
			facts[a] = nil
		}
		return facts, nil
	}
	law := o.books()
	today := domain.Today{Registers: domain.Registers{Laws: o.laws}, At: uint64(o.n)}
	inspection := newInspection(o.t, law, domain.Then{}, today, domain.InspectionScope{
		Through: uint64(o.n), All: true, TodaysLaw: true, Today: calendar.DateOf(o.now),
	})
	for _, id := range o.order {
		facts := domain.FactsThen{}
		for {
			asked, err := inspection.Asks(o.byCase[id], facts)
			if err != nil {
				o.t.Fatal(err)
			}
			if len(asked) == 0 {
				break
			}
			for _, a := range asked {
				facts[a] = nil
			}
		}
		if _, err := inspection.Case(o.byCase[id], facts); err != nil {
			o.t.Fatal(err)
		}
		ds, err := domain.JudgeAgain(law, domain.Then{Facts: nothing}, o.byCase[id])
		if err != nil || len(ds) > 0 {
			o.t.Errorf("judged again: %s: %+v, %v", id, ds, err)
		}
		c, err := domain.Replay(law, o.byCase[id])
		if err != nil {
			o.t.Fatal(err)
		}
		if got, want := dueOf(c), dueOf(o.cases[id]); got != want {
			o.t.Errorf("replayed: %s: limits %s, want %s", id, got, want)
		}
	}
	if r := inspection.Report(); r.Alarms != 0 || r.Acts == 0 || r.Differences[domain.CauseRegisters] != 0 {
		o.t.Errorf("inspected: %+v", r)
	}
}

func dueOf(c *domain.Case) string {
	var all []string
	for _, d := range c.Procedure.Deadlines(c.History, nil) {
		all = append(all, d.Rule+" "+d.Due.On.String())
	}
	return strings.Join(all, ", ")
}

const short = `parameters: {filing_limit: 2 working days}
rules:
  KJ-001:
    procedures: [penalty-ordinary]
    says: {zh: 线索写明详情, en: A clue is told in full}
    basis: 本局规定
    severity: minor
    on: receive-clue
    require: act.summary.size() > 10
    examples:
      - {holds: {receive-clue: {summary: 群众举报某公司未经许可开展活动}}}
      - {broken: {receive-clue: {summary: 举报}}}
`

const longer = `rules:
  KJ-001:
    procedures: [penalty-ordinary]
    says: {zh: 线索写明来源和详情, en: A clue is told in full}
    basis: 本局新规定
    severity: major
    on: receive-clue
    require: act.summary.size() > 20
    examples:
      - {holds: {receive-clue: {summary: 群众举报某公司未经许可开展活动，并附照片三张和录音一段}}}
      - {broken: {receive-clue: {summary: 举报}}}
  KJ-002:
    procedures: [penalty-ordinary]
    says: {zh: 线索三日内登记, en: A clue is entered within three days}
    basis: 本局新规定
    severity: minor
    within: {act: decline-filing, after: receive-clue, limit: 3 days}
    examples:
      - {holds: {receive-clue: 2025-03-03, decline-filing: 2025-03-04}}
      - {broken: {receive-clue: 2025-03-03, decline-filing: 2025-03-20}}
`

const ownProcedure = `procedure: our-visit
edition: 2026-01-01
name: {zh: 走访, en: Visit}
stages: {open: {zh: 进行, en: Open}}
acts:
  begin: {name: {zh: 开始, en: Begin}, opens: true, stage: {to: open}, fields: {whom: {type: text, required: true}}}
  end: {name: {zh: 结束, en: End}, closes: true, stage: {from: open}}
rules:
  KJ-101:
    says: {zh: 写明对象, en: It is told whom}
    basis: 本局规定
    severity: minor
    on: begin
    require: act.whom.size() > 2
    examples: [{holds: {begin: {whom: 某公司}}}, {broken: {begin: {whom: 某}}}]
  KJ-102:
    says: {zh: 十日内结束, en: It ends within ten days}
    basis: 本局规定
    severity: minor
    within: {act: end, after: begin, limit: 10 days}
    examples: [{holds: {begin: 2026-01-05, end: 2026-01-06}}, {broken: {begin: 2026-01-05, end: 2026-02-06}}]
`

// TestLawFiles puts files of an agency's own in force: by two persons, for that
// agency, from a day; each act names the files that it was judged by and is judged the
// same again, also after they were replaced and withdrawn.
func TestLawFiles(t *testing.T) {
	o := newLawOffice(t)
	name := func(files []rulebook.FileRef) string {
		var names []string
		for _, f := range files {
			names = append(names, f.Name+" "+f.Event)
		}
		return strings.Join(names, ", ")
	}
	inForce := func(on, want string) {
		t.Helper()
		day, err := calendar.ParseDate(on)
		if err != nil {
			t.Fatal(err)
		}
		if got := name(o.laws.On("A", day)); got != want {
			t.Errorf("in force on %s: %q, want %q", on, got, want)
		}
		if got := name(o.laws.On("B", day)); got != "" {
			t.Errorf("in force for another agency: %q", got)
		}
	}

	o.must(o.propose("li", "L-1", "A", "ours.yaml", short, "2026-03-10")) // event-1
	for _, c := range []struct {
		why string
		cmd domain.Command
	}{
		{"the proposer confirms", o.confirm("li", "L-1", "ours.yaml", short, "2026-03-10")},
		{"another text is confirmed", o.confirm("wang", "L-1", "ours.yaml", short+"\n", "2026-03-10")},
		{"under another name", o.confirm("wang", "L-1", "theirs.yaml", short, "2026-03-10")},
		{"from a day that is past", o.confirm("wang", "L-1", "ours.yaml", short, "2026-03-01")},
	} {
		var refusal *domain.Refusal
		if _, err := o.record(c.cmd); !errors.As(err, &refusal) {
			t.Errorf("%s: %v, want a refusal", c.why, err)
		}
		// Not even as done outside the system, nor as another system says: recorded, and in force is nothing.
		c.cmd.AlreadyDone, c.cmd.Reason = true, "补录"
		o.must(c.cmd)
		inForce("2026-03-10", "")
	}
	imported := o.confirm("wang", "L-1", "ours.yaml", short, "2026-03-10")
	imported.Import = &domain.Import{Source: "旧系统", Batch: "1", Row: 1}
	if r := o.must(imported); !slices.ContainsFunc(r.Data.Findings, func(f rulebook.Finding) bool { return f.Rule == "AL-102" }) {
		t.Errorf("imported: %+v", r.Data.Findings)
	}
	inForce("2026-03-10", "")

	put := o.must(o.confirm("wang", "L-1", "ours.yaml", short, "2026-03-10"))
	inForce("2026-03-09", "")
	inForce("2026-03-10", "ours.yaml event-1")

	// One person alone cannot undo it either.
	undo := o.confirm("li", "L-1", "ours.yaml", short, "2030-01-01")
	undo.Corrects, undo.Reason, undo.AlreadyDone = put.ID, "更正", true
	o.must(undo)
	inForce("2026-03-10", "ours.yaml event-1")
	// Nor can a text be slipped in under it.
	slipped := o.propose("li", "L-1", "A", "ours.yaml", longer, "2026-03-10")
	slipped.Corrects, slipped.Reason = "event-1", "更正"
	o.must(slipped)
	inForce("2026-03-10", "ours.yaml event-1")

	o.now = shanghai(t, "2026-03-12 10:00:00")
	for _, c := range []struct {
		id          domain.CaseID
		agency, day string
		law, rules  string
		due         string
	}{
		{"A-1", "A", "2026-03-09", "", "[]", "R-005 2026-03-30"},
		{"A-2", "A", "2026-03-10", "ours.yaml event-1", "[KJ-001]", "R-005 2026-03-12"},
		{"A-3", "A", "2026-03-12", "ours.yaml event-1", "[KJ-001]", "R-005 2026-03-16"},
		{"B-1", "B", "2026-03-12", "", "[]", "R-005 2026-04-02"},
	} {
		r := o.clueOn(c.id, c.agency, c.day)
		rules := []string{}
		for _, f := range r.Data.Findings {
			if strings.HasPrefix(f.Rule, "KJ-") {
				rules = append(rules, f.Rule)
			}
		}
		if got := name(r.Data.Law); got != c.law || fmt.Sprint(rules) != c.rules {
			t.Errorf("%s: judged by %q: %v, want %q: %s", c.id, got, rules, c.law, c.rules)
		}
		if got := dueOf(o.cases[c.id]); !strings.Contains(got, c.due) {
			t.Errorf("%s: limits %s, want %s", c.id, got, c.due)
		}
	}
	o.again()

	// Another file takes its place, with a limit that is not held against what was begun before.
	o.must(o.propose("wang", "L-2", "A", "ours.yaml", longer, "2026-03-16"))
	replaced := o.must(o.confirm("li", "L-2", "ours.yaml", longer, "2026-03-16"))
	second := "ours.yaml " + o.byCase["L-2"][0].ID
	inForce("2026-03-15", "ours.yaml event-1")
	inForce("2026-03-16", second)
	o.now = shanghai(t, "2026-03-20 10:00:00")
	decline := func(id domain.CaseID) domain.Recorded {
		t.Helper()
		return o.must(o.act("chen", id, "decline-filing", map[string]any{"reason": "不属于本机关管辖"}))
	}
	o.clueOn("A-4", "A", "2026-03-16")
	late := func(r domain.Recorded) bool {
		return slices.ContainsFunc(r.Data.Findings, func(f rulebook.Finding) bool { return f.Rule == "KJ-002" })
	}
	if got := dueOf(o.cases["A-4"]); !strings.Contains(got, "KJ-002 2026-03-19") {
		t.Errorf("under the second file: limits %s", got)
	}
	if r := decline("A-4"); !late(r) || name(r.Data.Law) != second {
		t.Errorf("late under the second file: %+v by %s", r.Data.Findings, name(r.Data.Law))
	}
	if r := decline("A-1"); late(r) || name(r.Data.Law) != second {
		t.Errorf("begun before there was any file: %+v by %s", r.Data.Findings, name(r.Data.Law))
	}
	o.again()

	// A procedure of its own, and its cases after the file was withdrawn.
	o.must(o.propose("li", "L-3", "A", "visit.yaml", ownProcedure, "2026-03-20"))
	o.must(o.confirm("wang", "L-3", "visit.yaml", ownProcedure, "2026-03-20"))
	begin := o.act("chen", "V-1", "begin", map[string]any{"whom": "某"})
	begin.Procedure, begin.Agency = "our-visit", "A"
	begin.At = o.now.Add(-time.Second)
	if r := o.must(begin); len(r.Data.Findings) != 1 || r.Data.Findings[0].Rule != "KJ-101" {
		t.Errorf("under its own procedure: %+v", r.Data.Findings)
	}
	elsewhere := begin
	elsewhere.Case, elsewhere.Agency = "V-2", "B"
	if _, err := o.record(elsewhere); err == nil {
		t.Error("another agency opened a case under it")
	}
	o.must(o.act("wang", "L-3", "withdraw-file", map[string]any{"valid_to": "2026-03-20", "reason": "不再需要"}))
	var refusal *domain.Refusal
	if _, err := o.record(o.act("li", "L-1", "withdraw-file", map[string]any{"valid_to": "2026-03-20", "reason": "不再需要"})); !errors.As(err, &refusal) {
		t.Errorf("the proposer withdraws: %v", err)
	}
	inForce("2026-03-20", second+", visit.yaml "+o.byCase["L-3"][0].ID)
	inForce("2026-03-21", second)
	o.must(o.act("wang", "L-2", "decline-file", map[string]any{"digest": replaced.Data.Fields["digest"], "reason": "误"})) // it is in force already: nothing comes of it
	inForce("2026-03-21", second)
	o.must(o.act("zhao", "L-2", "withdraw-file", map[string]any{"valid_to": "2026-03-25", "reason": "不再需要"}))
	inForce("2026-03-26", "") // the first file does not come back

	o.now = shanghai(t, "2026-04-10 10:00:00")
	another := begin
	another.Case, another.At = "V-3", o.now.Add(-time.Minute)
	var invalid *domain.Invalid
	if _, err := o.record(another); !errors.As(err, &invalid) {
		t.Errorf("a new case after it was withdrawn: %v", err)
	}
	r := o.must(o.act("chen", "V-1", "end", nil))
	if len(r.Data.Findings) != 1 || r.Data.Findings[0].Rule != "KJ-102" || !o.cases["V-1"].Closed {
		t.Errorf("a case that was open goes on: %+v", r.Data.Findings)
	}
	o.clueOn("A-5", "A", "2026-04-10")
	if got := dueOf(o.cases["A-5"]); !strings.Contains(got, "R-005 2026-05-0") {
		t.Errorf("after all: limits %s", got)
	}
	o.clueOn("A-6", "A", "2026-03-11") // recorded late: by the files of its day
	if r := o.byCase["A-6"][0]; name(r.Data.Law) != "ours.yaml event-1" {
		t.Errorf("recorded late: by %q", name(r.Data.Law))
	}
	o.again()

	// Without the texts nothing is judged, rather than by another law.
	if _, err := domain.JudgeAgain(book, domain.Then{}, o.byCase["A-2"]); !errors.Is(err, rulebook.ErrNoFile) {
		t.Errorf("without the files: %v, want ErrNoFile", err)
	}
	if _, err := domain.Replay(book, o.byCase["A-2"]); !errors.Is(err, rulebook.ErrNoFile) {
		t.Errorf("replayed without the files: %v, want ErrNoFile", err)
	}
	// A text that was changed is found out by its digest.
	changed := *o
	changed.byCase = map[domain.CaseID][]domain.Recorded{}
	for id, records := range o.byCase {
		changed.byCase[id] = slices.Clone(records)
	}
	changed.byCase["L-1"][0].Data.Fields = domain.Fields{"file_name": "ours.yaml", "text": longer}
	if _, err := domain.Replay(changed.books(), o.byCase["A-2"]); !errors.Is(err, rulebook.ErrNoFile) {
		t.Errorf("with a changed text: %v, want ErrNoFile", err)
	}
}

// TestLawFileChecked takes no file that cannot be law, and says where it is wrong.
func TestLawFileChecked(t *testing.T) {
	o := newLawOffice(t)
	o.must(o.propose("li", "L-1", "A", "values.yaml", "parameters: {filing_limit: 2 working days}\n", "2026-03-10"))
	o.must(o.confirm("wang", "L-1", "values.yaml", "parameters: {filing_limit: 2 working days}\n", "2026-03-10"))
	rule := strings.TrimPrefix(short, "parameters: {filing_limit: 2 working days}\n")
	for _, c := range []struct{ name, text, from, want string }{
		{"ours.txt", "rules: {}\n", "2026-03-10", `fields.file_name: "ours.txt" is no name`},
		{"../ours.yaml", "rules: {}\n", "2026-03-10", "is no name of a law file"},
		{"ours.yaml", strings.Repeat("# x\n", 20000), "2026-03-10", "fields.text: the file has 80000 bytes, the limit is 65536"},
		{"ours.yaml", "parameters:\n  filing_limitt: 2 days\n", "2026-03-10", "fields.text: a mistake in the law file: ours.yaml:2:3: there is no parameter filing_limitt"},
		{"ours.yaml", "parameters: {\n", "2026-03-10", "ours.yaml:1:"},
		{"ours.yaml", strings.Replace(rule, "KJ-001", "R-001", 1), "2026-03-10", "ours.yaml:2:3: "},
		{"ours.yaml", strings.Replace(rule, "act.summary.size() > 10", "act.summary > 10", 1), "2026-03-10", "ours.yaml:8:"},
		{"ours.yaml", strings.Replace(rule, "summary: 举报}", "summary: 群众举报某公司未经许可开展活动}", 1), "2026-03-10", "ours.yaml:11: penalty-ordinary KJ-001"},
		// Right by itself, and not beside what is in force on its day.
		{"ours.yaml", short, "2026-03-10", "ours.yaml:1:14: parameter filing_limit is already set in values.yaml"},
		{"values.yaml", short, "2026-03-10", ""}, // in its place
	} {
		_, err := o.record(o.propose("li", domain.CaseID(fmt.Sprint("X-", o.n)), "A", c.name, c.text, c.from))
		var invalid *domain.Invalid
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s from %s: %v", c.name, c.from, err)
		case c.want != "" && (!errors.As(err, &invalid) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s %.40q: %v, want %q", c.name, c.text, err, c.want)
		}
	}
	// What was right when it was proposed may not be any more when it is put in force.
	o.must(o.propose("li", "L-2", "A", "ours.yaml", short, "2026-03-09"))
	_, err := o.record(o.confirm("wang", "L-2", "ours.yaml", short, "2026-03-10"))
	if err == nil || !strings.Contains(err.Error(), "fields.digest: a mistake in the law file: ours.yaml:1:14: parameter filing_limit is already set") {
		t.Errorf("put in force beside another: %v", err)
	}
}

// FuzzFileOf reads what records propose: any text, without a panic.
func FuzzFileOf(f *testing.F) {
	for _, text := range []string{short, longer, ownProcedure, "", "rules: [", "\x00", "parameters: {filing_limit: 2 days}"} {
		f.Add("ours.yaml", text)
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		r := domain.Recorded{Event: domain.Event{
			ID: "e1", Type: domain.LawProcedure + ".propose-file", Subject: "L-1", Revision: 1, Source: "/agencies/A",
			Data: domain.Data{Fields: domain.Fields{"file_name": name, "text": text}},
		}}
		file, ok := domain.FileOf(&r)
		if !ok || file.Text != text || file.Digest != domain.DigestOf([]byte(text)).String() {
			t.Fatalf("%q: %+v, %v", text, file, ok)
		}
		_ = rulebook.IsFileName(name) // what the text says as law is for rulebook's own fuzz tests
		if _, err := domain.NewLaws().With(r); err != nil {
			t.Fatal(err)
		}
	})
}
