package rulebook

import (
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"liuhen/domain/calendar"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestLoadErrors loads a file with most of the mistakes one can make and
// compares every message, with its line and column, with testdata/errors.txt.
func TestLoadErrors(t *testing.T) {
	fsys := os.DirFS("testdata/wrong")
	b, err := Load(fsys)
	var es Errors
	if b != nil || !errors.As(err, &es) {
		t.Fatalf("the wrong law loads: %v", err)
	}
	golden(t, "testdata/errors.txt", err.Error()+"\n")
}

// TestAgencyErrors does the same for an agency's own files on top of the demo.
func TestAgencyErrors(t *testing.T) {
	national := fstest.MapFS{"national.yaml": {Data: []byte(withRule("on: drop\nrequire: case.has('notice')", "{drop: {}}"))}}
	_, err := Load(national, os.DirFS("testdata/agency"))
	if err == nil {
		t.Fatal("the wrong agency files load")
	}
	golden(t, "testdata/agency.txt", err.Error()+"\n")
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (run the test with -update and look at the change):\ngot\n%s\nwant\n%s", file, got, want)
	}
}

func TestUnreadableFiles(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"not YAML", "procedure: demo\n  edition: [\n", "a.yaml:1:12: YAML: "},
		{"two documents", "codes: {}\n---\ncodes: {}\n", "a.yaml:3:1: one document a file, this is the second"},
		{"an anchor", "codes: &x {}\n", "a.yaml:1:8: anchor is not allowed here: write the value out"},
		{"a tag", "codes: !!map {}\n", "a.yaml:1:8: tag is not allowed here"},
		{"a list", "- a\n", "a.yaml:1:1: file: expected keys and values, found a list"},
		{"brackets without end", strings.Repeat("[", 100_000), "a.yaml:1:1: too many open brackets"},
		{"nested without end", strings.Repeat("- ", 9_000), "levels deep"},
		{"an endless line", "a: " + strings.Repeat("x", 30_000), "a.yaml:1:1: the line has more than 20000 bytes"},
		{"too large", strings.Repeat("# comment\n", 300_000), "the limit is 2097152"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(fstest.MapFS{"a.yaml": {Data: []byte(tt.text)}})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	if b, err := Load(fstest.MapFS{"empty.yaml": {}, "readme.md": {Data: []byte("- [")}}); err != nil || len(b.Procedures()) != 0 {
		t.Errorf("no law at all: %v", err)
	}
}

// An agency sets parameters and adds rules and procedures of its own.
func TestAgency(t *testing.T) {
	national := fstest.MapFS{"national.yaml": {Data: []byte(withRule(
		"within: {act: dispose, after: register, limit: param.answer}", "{register: 2025-03-03, dispose: 2025-03-10}"))}}
	agency := fstest.MapFS{
		"office.yaml": {Data: []byte(`
parameters:
  answer: 2 working days
  cap: 500_00
  own_limit: {type: limit, default: 1 days, says: {zh: 自定, en: Own}}
rules:
  SY-001:
    procedures: [demo]
    says: {zh: 本局规则, en: A rule of this office}
    basis: cfg
    severity: notice
    on: hearing
    require: act.amount <= param.cap
    examples:
      - {holds: {hearing: {amount: 1}}}
      - {broken: {hearing: {amount: 600}}, parameters: {cap: 1_00}}
`)},
		"visit.yaml": {Data: []byte("procedure: visit\nedition: 2024-01-01\nname: {zh: 走访, en: Visit}\nacts:\n  go: {name: {zh: 出发, en: Go}, opens: true}\n")},
	}
	b, err := Load(national, agency)
	if err != nil {
		t.Fatal(err)
	}
	p, _ := b.Procedure("demo")
	h := p.NewHistory("C", "A").Append(Step{Event: "1", Act: "register", At: on(3)})
	var found []string
	for _, f := range p.Judge(h, Step{Event: "2", Act: "dispose", At: on(10)}, Known{}) {
		if f.Rule == "T-001" {
			found = append(found, f.Due.String())
		}
	}
	if strings.Join(found, " ") != "2025-03-05" {
		t.Errorf("with the agency's limit of 2 working days: due %v", found)
	}
	for _, par := range b.Parameters() {
		if par.Name == "cap" && (par.Value != int64(500_00) || par.Default != int64(100_00) || par.Unconfirmed || par.SetIn != "office.yaml") {
			t.Errorf("%+v", par)
		}
	}
	if _, ok := p.Rule("SY-001"); !ok {
		t.Error("the agency's rule is not there")
	}
	if _, ok := b.Procedure("visit"); !ok {
		t.Error("the agency's procedure is not there")
	}
	for _, r := range RunExamples(b) {
		// T-001's example holds under the national limit of 5 working days, and so it is tried.
		if !r.OK && !(r.Rule == "T-001" && r.Kind == "broken") && !(r.Rule == "SY-001" && r.Number == 2) {
			t.Errorf("%s example %d (%s): %s", r.Rule, r.Number, r.Kind, r.Why)
		}
	}
}

// A runaway expression of an agency is stopped and says so.
func TestAgencyCost(t *testing.T) {
	list := "[" + strings.TrimSuffix(strings.Repeat("1, ", 100), ", ") + "]"
	expr := list + ".all(a, " + list + ".all(b, " + list + ".all(c, a + b + c > 0)))"
	agency := fstest.MapFS{"office.yaml": {Data: []byte(`
rules:
  SY-001: {procedures: [demo], says: {zh: 慢}, basis: cfg, severity: notice, on: drop, require: "` + expr + `", examples: [{holds: {drop: {}}}, {broken: {drop: {}}}]}
`)}}
	b, err := Load(fstest.MapFS{"national.yaml": {Data: []byte(strings.TrimSuffix(demo, "rules:\n"))}}, agency)
	if err != nil {
		t.Fatal(err)
	}
	p, _ := b.Procedure("demo")
	fs := p.Judge(p.NewHistory("C", "A"), Step{Event: "1", Act: "drop", At: on(1)}, Known{})
	for _, f := range fs {
		if f.Rule == "SY-001" && f.Failed && f.Verdict == Flag && strings.Contains(f.Detail.EN, "cost limit") {
			return
		}
	}
	t.Errorf("found %+v", fs)
}

func TestEditionTwice(t *testing.T) {
	const text = "procedure: p\nedition: 2021-07-15\nname: {zh: 程序}\nacts:\n  a: {name: {zh: 甲}, opens: true}\n"
	_, err := Load(fstest.MapFS{"a.yaml": {Data: []byte(text)}, "b.yaml": {Data: []byte(text)}})
	want := "b.yaml:1:1: procedure p: procedure p in the edition of 2021-07-15 is already defined in a.yaml"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestEditions(t *testing.T) {
	edition := func(day string) string {
		return "procedure: p\nedition: " + day + "\nname: {zh: 程序}\nacts:\n  a: {name: {zh: 甲}, opens: true}\n"
	}
	b := load(t, edition("2021-07-15"), edition("2009-08-27"), edition("1996-10-01"))
	for on, want := range map[string]string{
		"1990-01-01": "1996-10-01", "1996-10-01": "1996-10-01", "2009-08-26": "1996-10-01",
		"2009-08-27": "2009-08-27", "2021-07-14": "2009-08-27", "2021-07-15": "2021-07-15", "2030-01-01": "2021-07-15",
	} {
		day, _ := calendar.ParseDate(on)
		if p, ok := b.InForce("p", day); !ok || p.Edition.String() != want {
			t.Errorf("in force on %s: %v, want %s", on, p.Edition, want)
		}
	}
	if p, _ := b.Procedure("p"); p.Edition.String() != "2021-07-15" {
		t.Errorf("the newest is %s", p.Edition)
	}
	if p, ok := b.Edition("p", calendar.MakeDate(2009, 8, 27)); !ok || p.Edition.Year() != 2009 {
		t.Errorf("the edition of 2009: %v %t", p, ok)
	}
	if _, ok := b.Edition("p", calendar.MakeDate(2010, 1, 1)); ok {
		t.Error("there is no edition of 2010")
	}
	if _, ok := b.InForce("q", calendar.MakeDate(2010, 1, 1)); ok {
		t.Error("there is no procedure q")
	}
	if len(b.Procedures()) != 3 {
		t.Errorf("%d procedures", len(b.Procedures()))
	}
}
