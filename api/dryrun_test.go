package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"liuhen/domain"
	"liuhen/domain/law"
	"liuhen/sample"
)

// served is a rule of the agency's own, as it is at present.
const served = `
rules:
  KJ-001:
    procedures: [penalty-ordinary]
    says: {zh: 决定书五个工作日内送达, en: The decision is served within five working days}
    basis: 样例科技局规定
    severity: minor
    within: {act: serve-decision, after: decide-penalty, limit: 5 working days}
    examples: [{holds: {decide-penalty: 2025-06-20, serve-decision: 2025-06-20}}, {broken: {decide-penalty: 2025-06-20, serve-decision: 2025-08-20}}]
`

// filled is the sample office under the national law and that rule.
func filled(t testing.TB) (*office, []domain.Command) {
	t.Helper()
	o := openUnder(t, law.Files, map[string]string{"served.yaml": served})
	return o, o.fill()
}

// fill records the sample office.
func (o *office) fill() []domain.Command {
	o.t.Helper()
	t := o.t
	text, err := sample.Read()
	if err != nil {
		t.Fatal(err)
	}
	commands, err := text.Commands(o.book, now)
	if err != nil {
		t.Fatal(err)
	}
	var last uint64
	for _, r := range o.desk.RecordAll(t.Context(), commands) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		last = max(last, r.Receipt.Position)
	}
	if err := o.db.WaitAll(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	return commands
}

// tries asks for a dry run and returns its report; the lines before it are
// progress.
func (o *office) tries(token string, alone bool, files ...string) dryRunReport {
	o.t.Helper()
	body := map[string]any{"alone": alone}
	var all []lawFile
	for i := 0; i < len(files); i += 2 {
		all = append(all, lawFile{Name: files[i], Text: files[i+1]})
	}
	body["files"] = all
	r := o.post(token, "/v1/law/dry-run", body).is(http.StatusOK)
	if got := r.header.Get("Content-Type"); got != "application/x-ndjson" {
		o.t.Errorf("content type %q", got)
	}
	var lines []dryRunLine
	for scan := bufio.NewScanner(bytes.NewReader(r.body)); scan.Scan(); {
		var line dryRunLine
		if err := json.Unmarshal(scan.Bytes(), &line); err != nil {
			o.t.Fatalf("%v in %s", err, scan.Bytes())
		}
		lines = append(lines, line)
	}
	last := lines[len(lines)-1]
	if len(lines) < 2 || lines[0].Progress == nil || last.Report == nil {
		o.t.Fatalf("the answer is %s", r.body)
	}
	return *last.Report
}

// TestDryRun tries drafts on the sample office, whose numbers are worked out by
// hand. Of its cases under the ordinary procedure,
//
//   - seven served their decision two working days after it was made (001, 002,
//     005, 007, 008, 009, 012), one eleven days after (006), and two (010, 011)
//     have not served it;
//   - four told a company of a fine of 10,000 yuan or more without a word of a
//     hearing, and fined it so (002, 008, 010, 012).
func TestDryRun(t *testing.T) {
	o, commands := filled(t)
	before := o.stored()
	cases := map[domain.CaseID]bool{}
	for _, c := range commands {
		cases[c.Case] = true
	}

	// A parameter: fines from 10,000 yuan call for a hearing, not from 50,000.
	r := o.tries(o.inspector, false, "amounts.yaml", "parameters: {hearing_fine_entity: 1000000}\n")
	if r.Cases != len(cases) || r.Acts != len(commands) || r.Changed != 8 || r.Affected != 4 || r.Position != uint64(len(commands)) || len(r.Unjudged) != 0 {
		t.Errorf("a parameter: %+v", r)
	}
	if len(r.Changes) != 1 || r.Changes[0].Says.EN != "parameter hearing_fine_entity: 5000000 → 1000000" || r.Compared.ZH == "" || !reflect.DeepEqual(r.Agencies, []string{"*"}) {
		t.Errorf("a parameter: changes %+v, compared %+v, agencies %v", r.Changes, r.Compared, r.Agencies)
	}
	o.counts(r, map[string][7]int{"R-021": {4, 0, 0, 4}, "R-021-2": {4, 0, 0, 4}})
	if got := casesOf(r.Rules[0].Further); !slices.Equal(got, []string{"样例-002", "样例-008", "样例-010", "样例-012"}) {
		t.Errorf("R-021 would be found in %v", got)
	}

	// A rule, changed from five working days to one.
	r = o.tries(o.administrator, false, "served.yaml", strings.ReplaceAll(served, "5 working days", "1 working days"))
	o.counts(r, map[string][7]int{"KJ-001": {7, 0, 1, 0, 0, 0, 2}})
	if got := casesOf(r.Rules[0].Moved); !slices.Equal(got, []string{"样例-010", "样例-011"}) || r.Rules[0].Moved.Examples[0].Was != "2026-11-26" || r.Rules[0].Moved.Examples[0].Would != "2026-11-20" {
		t.Errorf("limits would move in %+v", r.Rules[0].Moved)
	}
	if r.Changed != 8 || r.Affected != 10 {
		t.Errorf("%d acts and %d cases, want 8 and 10", r.Changed, r.Affected)
	}

	// Alone, without the rule: its one finding goes, and its two limits.
	r = o.tries(o.inspector, true, "nothing.yaml", "parameters: {}\n")
	o.counts(r, map[string][7]int{"KJ-001": {0, 1, 0, 0, 0, 2, 0}})
	// Added to the present files it is no change.
	o.counts(o.tries(o.inspector, false, "nothing.yaml", "parameters: {}\n"), map[string][7]int{})

	// Nothing was written, and only the cases of one's own agencies are tried.
	if after := o.stored(); after != before {
		t.Errorf("the log went from %d to %d", before, after)
	}
	r = o.tries(o.supervisor, false, "amounts.yaml", "parameters: {hearing_fine_entity: 1000000}\n")
	if r.Cases != 0 || len(r.Rules) != 0 || !reflect.DeepEqual(r.Agencies, []string{"210100", "210200"}) {
		t.Errorf("a supervisor of other agencies: %+v", r)
	}
}

// TestDryRunRefuses checks what is not tried at all.
func TestDryRunRefuses(t *testing.T) {
	o := openUnder(t, law.Files, map[string]string{"served.yaml": served})
	send := func(token string, files ...lawFile) *reply {
		return o.post(token, "/v1/law/dry-run", map[string]any{"files": files}, "Accept-Language", "en")
	}
	p := send(o.inspector, lawFile{"ours.yaml", "parameters:\n  hearing_fine_entitty: 5\n"},
		lawFile{"rules.yaml", strings.ReplaceAll(served, "KJ-001", "KJ-002") + "    when: act.x\n"}).problem(422, "malformed")
	want := []FieldError{
		{Location: "ours.yaml:2:3", Message: `there is no parameter hearing_fine_entitty to set (did you mean "hearing_fine_entity"?)`},
		{Location: "rules.yaml:10:11", Message: "when: goes with require; for within it stands inside", Rule: "KJ-002"},
	}
	if !reflect.DeepEqual(p.Errors, want) {
		t.Errorf("errors %+v, want %+v", p.Errors, want)
	}
	for _, f := range []lawFile{{"../ours.yaml", ""}, {"/ours.yaml", ""}, {"ours.txt", ""}, {"a//b.yaml", ""}} {
		if p := send(o.inspector, f).problem(422, "malformed"); len(p.Errors) != 1 || p.Errors[0].Location != "body.files[0].name" {
			t.Errorf("%s: %+v", f.Name, p)
		}
	}
	if p := send(o.inspector, lawFile{"a.yaml", ""}, lawFile{"a.yaml", ""}).problem(422, "malformed"); p.Errors[0].Location != "body.files[1].name" {
		t.Errorf("a name twice: %+v", p)
	}
	send(o.inspector).problem(422, "malformed")
	send(o.inspector, lawFile{"a.yaml", strings.Repeat("#", maxLaw)}).problem(413, "too-large")
	good := lawFile{"a.yaml", "parameters: {}\n"}
	for _, token := range []string{o.li, o.head, o.importer, o.public} {
		send(token, good).problem(403, "forbidden")
	}
}

// slowReads are read models that hold up whoever reads every case.
type slowReads struct {
	Reads
	entered, release chan struct{}
}

func (r slowReads) EachCase(ctx context.Context, agencies []string, header func(uint64) error) iter.Seq2[[]domain.Recorded, error] {
	r.entered <- struct{}{}
	<-r.release
	return r.Reads.EachCase(ctx, agencies, header)
}

// TestDryRunOneAtATime answers the second that it is busy.
func TestDryRunOneAtATime(t *testing.T) {
	slow := slowReads{entered: make(chan struct{}), release: make(chan struct{})}
	o := open(t, func(_ *office, c *Config) {
		slow.Reads = c.Reads
		c.Reads = slow
	})
	body := map[string]any{"files": []lawFile{{"a.yaml", "parameters: {}\n"}}}
	first := make(chan *reply)
	go func() { first <- o.post(o.inspector, "/v1/law/dry-run", body) }()
	<-slow.entered
	second := o.post(o.inspector, "/v1/law/dry-run", body)
	second.problem(503, "busy")
	if second.header.Get("Retry-After") == "" {
		t.Errorf("busy without Retry-After: %v", second.header)
	}
	close(slow.release)
	if r := <-first; r.status != 200 || !strings.Contains(string(r.body), `"report":{`) {
		t.Errorf("the first: %d %s", r.status, r.body)
	}
}

// counts compares how many acts and limits each rule is about: further, gone,
// altered, refused, started, dropped, moved.
func (o *office) counts(r dryRunReport, want map[string][7]int) {
	o.t.Helper()
	got := map[string][7]int{}
	for _, rule := range r.Rules {
		got[rule.Rule] = [7]int{
			rule.Further.Count, rule.Gone.Count, rule.Altered.Count, rule.Refused.Count, rule.Started.Count, rule.Dropped.Count, rule.Moved.Count,
		}
	}
	if !reflect.DeepEqual(got, want) {
		o.t.Errorf("further, gone, altered, refused, started, dropped, moved: %v, want %v", got, want)
	}
}

func casesOf(t domain.Tally) []string {
	var ids []string
	for _, e := range t.Examples {
		ids = append(ids, string(e.Case))
	}
	return ids
}
