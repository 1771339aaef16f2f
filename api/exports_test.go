package api

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"liuhen/domain"
	"liuhen/domain/law"
	"liuhen/identity"
	"liuhen/intake"
	"liuhen/projections"
	"liuhen/sample"
)

// sharedData is the path of a file of the shared data, which lies beside the
// module; the test is skipped where it is not there.
func sharedData(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "shared", "data", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the shared data file %s is not there: %v", name, err)
	}
	return path
}

// validXES holds a log against the schema of XES 2.2 with xmllint, where there
// is one.
func validXES(t testing.TB, log []byte) {
	t.Helper()
	schema := sharedData(t, "schemas/xes/xes.xsd")
	lint, err := exec.LookPath("xmllint")
	if err != nil {
		t.Log("there is no xmllint (apt-get install libxml2-utils): the log is not held against the schema")
		return
	}
	cmd := exec.CommandContext(t.Context(), lint, "--noout", "--nonet", "--huge", "--schema", schema, "-")
	cmd.Stdin = bytes.NewReader(log)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the log breaks the schema of XES: %v\n%s", err, cut(string(out)))
	}
}

func cut(s string) string { return s[:min(len(s), 2000)] }

// national opens an office under the law as it is.
func national(t testing.TB) *office { return openUnder(t, law.Files, nil) }

// everywhere is a token for all agencies.
func (o *office) everywhere(role identity.Role) string {
	o.t.Helper()
	text, _, err := o.tokens.Issue(o.t.Context(), identity.Actor{Person: "administrator"}, identity.NewToken{Person: "everywhere-" + string(role), Role: role, Agencies: []string{identity.Everywhere}})
	if err != nil {
		o.t.Fatal(err)
	}
	return text
}

// sink hands batches to POST /v1/imports.
func (o *office) sink(token string) intake.Sink {
	return func(_ context.Context, b intake.Batch) ([]intake.Outcome, error) {
		var got importAnswer
		o.post(token, "/v1/imports", b).is(200).into(&got)
		out := make([]intake.Outcome, len(got.Results))
		for i, r := range got.Results {
			out[i] = intake.Outcome{Result: intake.Result(r.Result), Why: r.Why, Event: r.Event, Findings: r.Findings}
			if r.Why == "" && r.Result == "refused" {
				out[i].Why = fmt.Sprint(r.Errors)
			}
		}
		return out, nil
	}
}

// takeIn imports a file, every row of it.
func (o *office) takeIn(mapping, path string) intake.Report {
	o.t.Helper()
	m, err := intake.LoadMapping(mapping)
	if err != nil {
		o.t.Fatal(err)
	}
	report, err := intake.Run(o.t.Context(), intake.Options{Mapping: m, Source: "test"}, []string{path}, o.sink(o.everywhere(identity.Importer)), nil)
	if err != nil {
		o.t.Fatal(err)
	}
	for _, f := range report.Files {
		for _, n := range f.Notes {
			o.t.Errorf("a note on the file: %s", n)
		}
	}
	for _, r := range report.Refusals {
		o.t.Errorf("row %d of case %s was refused: %s", r.Row, r.Case, r.Detail)
	}
	o.caughtUp()
	return report
}

func (o *office) caughtUp() {
	o.t.Helper()
	if err := o.db.WaitAll(o.t.Context(), uint64(o.stored())); err != nil {
		o.t.Fatal(err)
	}
}

// export asks for a log and writes it to a file.
func (o *office) export(query, name string) (log []byte, path string) {
	o.t.Helper()
	a := o.get(o.everywhere(identity.Inspector), "/v1/export?"+query).is(200)
	path = filepath.Join(o.t.TempDir(), name)
	if err := os.WriteFile(path, a.body, 0o600); err != nil {
		o.t.Fatal(err)
	}
	return a.body, path
}

// recorded is all that an office has, by case.
func (o *office) allRecords() map[domain.CaseID][]domain.Recorded {
	o.t.Helper()
	all := map[domain.CaseID][]domain.Recorded{}
	for records, err := range o.db.EachCase(o.t.Context(), nil, nil) {
		if err != nil {
			o.t.Fatal(err)
		}
		all[records[0].Subject] = records
	}
	return all
}

// sameActs fails unless two offices hold the same acts, times, officers,
// places, fields, documents and evidence, in the same order, and corrections of
// the same acts. It returns how many records it compared.
func sameActs(t testing.TB, was, is map[domain.CaseID][]domain.Recorded) int {
	t.Helper()
	n := 0
	if len(was) != len(is) {
		t.Errorf("%d cases, want %d", len(is), len(was))
	}
	for id, want := range was {
		got := is[id]
		if len(got) != len(want) {
			t.Errorf("case %s has %d records, want %d", id, len(got), len(want))
			continue
		}
		place := func(records []domain.Recorded, event string) int {
			return slices.IndexFunc(records, func(r domain.Recorded) bool { return r.ID == event })
		}
		for i := range want {
			a, b := want[i], got[i]
			n++
			if a.Type != b.Type || !a.Time.Equal(b.Time) || a.Agency() != b.Agency() || a.Edition != b.Edition {
				t.Errorf("case %s, record %d: %s at %s of %s under %s, want %s at %s of %s under %s", id, i+1, b.Type, b.Time, b.Agency(), b.Edition, a.Type, a.Time, a.Agency(), a.Edition)
			}
			for what, pair := range map[string][2]any{
				"officers": {a.Data.Officers, b.Data.Officers}, "fields": {a.Data.Fields, b.Data.Fields}, "place": {a.Data.Place, b.Data.Place},
				"documents": {a.Data.Documents, b.Data.Documents}, "evidence": {a.Data.Evidence, b.Data.Evidence},
				"already done": {a.Data.AlreadyDone, b.Data.AlreadyDone}, "reason": {a.Data.Reason, b.Data.Reason}, "late reason": {a.Data.LateReason, b.Data.LateReason},
				"correction of": {place(want, a.Data.Corrects), place(got, b.Data.Corrects)},
			} {
				if !reflect.DeepEqual(pair[0], pair[1]) {
					t.Errorf("case %s, record %d, %s: %s:\n got %v\nwant %v", id, i+1, a.Act(), what, pair[1], pair[0])
				}
			}
			if b.Data.Import == nil {
				t.Errorf("case %s, record %d is not marked as imported", id, i+1)
			}
		}
	}
	return n
}

// hostile are fields that no format of events was made for; odd ones have names
// besides that XML cannot hold.
var hostile = `{"文字":"a<b>&\"'\n\t ]]> 𝄞","nothing":{"a":null,"b":[],"c":{},"d":[null,[],{}]},"control":"a\u0000b\ufffe\u001f","spaces":"  x ",
	"big":9223372036854775807,"small":-9223372036854775808,"float":0.1,"huge":1e300,"yes":true,"no":false,"a/b":{"1":"x","item":["y"]},
	"2nd":{"\u0000":1},"":"no key","deep":` + deep + `,"text that looks like a number":"007","date":"2024-02-30T25:00:00Z"}`

var odd = strings.Replace(hostile, "{", `{"\u0001":"odd key",`, 1)

var deep = strings.Repeat(`[{"x":`, 30) + `"bottom"` + strings.Repeat(`}]`, 30)

// TestExportAndImport takes the small sample office, and a case with everything
// that makes trouble, out as XES and into another system: the same acts.
func TestExportAndImport(t *testing.T) {
	first := national(t)
	o, err := sample.Read()
	if err != nil {
		t.Fatal(err)
	}
	commands, err := o.Commands(first.book, now)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range first.desk.RecordAll(t.Context(), commands) {
		if r.Err != nil {
			t.Fatalf("%s %s: %v", commands[i].Case, commands[i].Act, r.Err)
		}
	}
	importer := first.everywhere(identity.Importer)
	for i, act := range []string{"Alles <auf> einmal & \"mehr\"", "纠正", "纠正", "end"} {
		body := row(i+1, "case", "X-1", "procedure", "imported", "agency", "a", "act", act, "occurred_at", time.Date(2011, 10, 30, 2, 30, i, 123456789, time.FixedZone("", 3600)).Format(time.RFC3339Nano), "officers",
			[]any{"someone", map[string]any{"id": "o-2", "name": "王<某>", "certificate": "证-1", "valid_to": "2012-01-01"}})
		switch body["command_id"] = fmt.Sprintf("x-%d", i); i {
		case 0:
			body["fields"] = json.RawMessage(odd)
		case 1:
			body["fields"], body["already_done"], body["late_reason"], body["place"] = json.RawMessage(hostile), true, "忘记了", "某地\n二楼"
		case 2:
			body["fields"], body["corrects_command"], body["reason"] = json.RawMessage(hostile), "x-1", "写错了"
		}
		var got importAnswer
		first.post(importer, "/v1/imports", map[string]any{"source": "s", "batch": "b", "commands": []any{body}}).is(200).into(&got)
		if got.Taken != 1 {
			t.Fatalf("%+v", got)
		}
	}
	first.caughtUp()

	log, path := first.export("format=xes", "office.xes")
	validXES(t, log)
	second := national(t)
	second.takeIn("liuhen-xes", path)
	was := first.allRecords()
	corrections := 0
	for _, records := range was {
		for _, r := range records {
			if r.Data.Corrects != "" {
				corrections++
			}
		}
	}
	if n := sameActs(t, was, second.allRecords()); n < 300 || corrections < 1 {
		t.Errorf("%d records were compared, %d of them corrections: too few to show anything", n, corrections)
	}

	// Out of the second and into a third: nothing wears off.
	again, path := second.export("format=xes", "again.xes")
	validXES(t, again)
	third := national(t)
	third.takeIn("liuhen-xes", path)
	sameActs(t, was, third.allRecords())

	ocel, _ := first.export("format=ocel", "office.jsonocel")
	checkOCEL(t, ocel, was)
	table, _ := first.export("format=csv", "office.csv")
	checkCSV(t, table, was)
}

// TestRealLogAgain takes a real log in, out and in again.
func TestRealLogAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("a log of 8,577 events, twice")
	}
	first, second := national(t), national(t)
	first.takeIn("wabo-xes", sharedData(t, "logs/wabo_receipt_phase.xes.gz"))
	log, path := first.export("format=xes", "wabo.xes")
	validXES(t, log)
	second.takeIn("liuhen-xes", path)
	was := first.allRecords()
	if n := sameActs(t, was, second.allRecords()); n != 8577 {
		t.Errorf("%d records were compared, want 8577", n)
	}
	ocel, _ := first.export("format=ocel", "wabo.jsonocel")
	checkOCEL(t, ocel, was)
}

// checkOCEL reads a log by the schema and by hand, and compares it with the
// records.
func checkOCEL(t *testing.T, log []byte, was map[domain.CaseID][]domain.Recorded) {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	schema, err := compiler.Compile(sharedData(t, "schemas/ocel/schema_ocel2.json"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(doc); err != nil {
		t.Errorf("the log breaks the schema of OCEL: %s", cut(err.Error()))
	}
	type attribute struct{ Name, Value, Type, Time string }
	type relation struct{ ObjectID, Qualifier string }
	type entity struct {
		ID, Type, Time string
		Attributes     []attribute
		Relationships  []relation
	}
	type typ struct {
		Name       string
		Attributes []attribute
	}
	var read struct {
		Events, Objects         []entity
		EventTypes, ObjectTypes []typ
	}
	if err := json.Unmarshal(log, &read); err != nil {
		t.Fatal(err)
	}
	declared := func(list []typ, of string) map[string]string {
		for _, d := range list {
			if d.Name == of {
				names := map[string]string{}
				for _, a := range d.Attributes {
					names[a.Name] = a.Type
				}
				return names
			}
		}
		t.Errorf("the type %s is not declared", of)
		return nil
	}
	objects := map[string]entity{}
	kinds := map[string]int{}
	for _, o := range read.Objects {
		if _, twice := objects[o.ID]; twice {
			t.Errorf("the object %s stands twice", o.ID)
		}
		objects[o.ID] = o
		kinds[o.Type]++
		names := declared(read.ObjectTypes, o.Type)
		for _, a := range o.Attributes {
			if names[a.Name] == "" {
				t.Errorf("%s of object type %s is not declared", a.Name, o.Type)
			}
		}
	}
	events := map[string]entity{}
	for _, e := range read.Events {
		if _, twice := events[e.ID]; twice {
			t.Errorf("the event %s stands twice", e.ID)
		}
		events[e.ID] = e
		names := declared(read.EventTypes, e.Type)
		for _, a := range e.Attributes {
			if names[a.Name] == "" {
				t.Errorf("%s of event type %s is not declared", a.Name, e.Type)
			}
		}
	}
	for _, of := range [][]entity{read.Events, read.Objects} {
		for _, e := range of {
			for _, r := range e.Relationships {
				if _, ok := objects[r.ObjectID]; !ok || r.Qualifier == "" {
					t.Errorf("%s is related to %s (%q), which is no object", e.ID, r.ObjectID, r.Qualifier)
				}
			}
		}
	}
	n := 0
	for id, records := range was {
		if o := objects["case:"+string(id)]; o.ID == "" {
			t.Errorf("the case %s is no object", id)
		}
		for _, r := range records {
			n++
			e, ok := events[r.ID]
			at, err := time.Parse(time.RFC3339Nano, e.Time)
			if !ok || e.Type != r.Type || err != nil || !at.Equal(r.Time) {
				t.Errorf("event %s of case %s: %+v", r.ID, id, e)
				continue
			}
			related := map[string][]string{}
			for _, x := range e.Relationships {
				related[objects[x.ObjectID].Type] = append(related[objects[x.ObjectID].Type], x.ObjectID)
			}
			distinct := func(refs int, digests func(int) string) int {
				seen := map[string]bool{}
				for i := range refs {
					seen[digests(i)] = true
				}
				return len(seen)
			}
			documents := distinct(len(r.Data.Documents), func(i int) string { return r.Data.Documents[i].Digest + r.Data.Documents[i].Kind })
			evidence := distinct(len(r.Data.Evidence), func(i int) string { return r.Data.Evidence[i].Digest + r.Data.Evidence[i].Kind })
			if len(related["case"])+len(related["publication"]) != 1 || len(related["officer"]) != len(r.Data.Officers) ||
				len(related["document"]) != documents || len(related["evidence"]) != evidence {
				t.Errorf("event %s (%s) has the relations %v; the record has %d officers, %d documents, %d pieces of evidence", r.ID, r.Type, related, len(r.Data.Officers), documents, evidence)
			}
			values := map[string]string{}
			for _, a := range e.Attributes {
				values[a.Name] = a.Value
			}
			for name, v := range r.Data.Fields {
				want, isText := v.(string)
				if !isText {
					data, err := json.Marshal(v)
					if err != nil {
						t.Fatal(err)
					}
					want = string(data)
				}
				got := values["field."+name]
				if isText && got != want || !isText && !sameJSON(got, want) {
					t.Errorf("event %s: the field %s is %q, want %q", r.ID, name, cut(got), cut(want))
				}
			}
		}
	}
	if n != len(read.Events) {
		t.Errorf("the log has %d events, there are %d records", len(read.Events), n)
	}
	t.Logf("objects: %v", kinds)
}

func sameJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}

func checkCSV(t *testing.T, table []byte, was map[domain.CaseID][]domain.Recorded) {
	t.Helper()
	text, ok := bytes.CutPrefix(table, []byte("\ufeff"))
	if !ok {
		t.Error("there is no byte order mark, by which spreadsheets know UTF-8")
	}
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := map[string]int{}
	for i, head := range rows[0] {
		column[head] = i
	}
	n := 0
	for _, records := range was {
		n += len(records)
	}
	if len(rows)-1 != n {
		t.Errorf("%d rows, want %d", len(rows)-1, n)
	}
	for _, row := range rows[1:] {
		records := was[domain.CaseID(row[column["case"]])]
		i := slices.IndexFunc(records, func(r domain.Recorded) bool { return r.ID == row[column["event"]] })
		if i < 0 {
			t.Errorf("there is no record like %v", row)
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, row[column["occurred_at"]])
		if r := records[i]; r.Act() != row[column["act"]] || err != nil || !at.Equal(r.Time) || (len(r.Data.Fields) > 0) != (row[column["fields"]] != "") {
			t.Errorf("row %v does not match %s", row, r.Raw)
		}
		for _, cell := range row {
			if strings.HasPrefix(cell, "=") || strings.HasPrefix(cell, "+") || strings.HasPrefix(cell, "@") {
				t.Errorf("a spreadsheet would run %q", cell)
			}
		}
	}
}

func TestExportIsFiltered(t *testing.T) {
	o := open(t)
	o.filed("C-1", "officers", []string{"li", "zhao"})
	o.recorded(o.li, "C-1", act("inspect", "officers", []string{"li", "zhao"}))
	o.filed("C-2", "fields", map[string]any{"party": map[string]any{"name": "另一家公司", "uscc": "91210100MA0000000X"}})
	o.filed("C-3")
	o.recorded(o.li, "C-3", act("close"))
	cases := func(token, query string) []string {
		t.Helper()
		rows, err := csv.NewReader(bytes.NewReader(o.get(token, "/v1/export?format=csv"+query).is(200).body)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]bool{}
		for _, row := range rows[1:] {
			found[row[0]] = true
		}
		return slices.Sorted(maps.Keys(found))
	}
	for query, want := range map[string][]string{
		"": {"C-1", "C-2", "C-3"}, "&case=C-1,C-3": {"C-1", "C-3"}, "&party=另一家": {"C-2"}, "&stage=filed": {"C-1", "C-2"}, "&closed=true": {"C-3"},
		"&officer=zhao": {"C-1"}, "&procedure=visit": {"C-1", "C-2", "C-3"}, "&procedure=none": nil, "&to=2020-01-01": nil, "&agency=210100": {"C-1", "C-2", "C-3"},
		"&q=91210100": {"C-2"},
	} {
		if got := cases(o.li, query); !slices.Equal(got, want) {
			t.Errorf("export%s has %v, want %v", query, got, want)
		}
	}
	if got := cases(o.inspector, ""); len(got) != 3 {
		t.Errorf("an inspector exports %v", got)
	}
	a := o.get(o.li, "/v1/export?format=xes").is(200)
	if a.header.Get("Content-Type") != "application/xml" || a.header.Get(recordsHeader) != "5" || a.header.Get(positionHeader) != "5" || strings.Count(string(a.body), "<event>") != 5 {
		t.Errorf("%v\n%s", a.header, a.body)
	}
	if !strings.Contains(a.header.Get("Content-Disposition"), ".xes") {
		t.Errorf("Content-Disposition is %q", a.header.Get("Content-Disposition"))
	}
}

func TestExportIsForThoseWhoMay(t *testing.T) {
	own, err := identity.LoadPolicies(fstest.MapFS{"own.cedar": &fstest.MapFile{Data: []byte(`
		@id("c-2-is-sealed") @en("C-2 is sealed")
		forbid (principal, action == Action::"read-case", resource == Case::"C-2");`)}})
	if err != nil {
		t.Fatal(err)
	}
	o := open(t, func(_ *office, c *Config) { c.Policies = own })
	o.filed("C-1")
	o.filed("C-2")
	for _, format := range []string{"xes", "ocel", "csv"} {
		body := string(o.get(o.li, "/v1/export?format="+format).is(200).body)
		if strings.Contains(body, "C-2") || !strings.Contains(body, "C-1") {
			t.Errorf("%s: a case that may not be read is in it, or one that may is not:\n%s", format, cut(body))
		}
	}
	o.get(o.li, "/v1/export?format=xes&case=C-2").problem(404, "not-found")
	o.get(o.li, "/v1/export?format=xes&case=C-1,C-9").problem(404, "not-found")
	o.get(o.stranger, "/v1/export?format=xes&agency=210100").problem(403, "forbidden")
	if body := string(o.get(o.stranger, "/v1/export?format=csv").is(200).body); strings.Contains(body, "C-1") {
		t.Errorf("another agency's officer has C-1:\n%s", body)
	}
	for _, token := range []string{o.importer, o.public, o.administrator} {
		o.get(token, "/v1/export?format=xes").problem(403, "forbidden")
	}
	o.get(o.administrator, "/v1/export?format=xes", purposeHeader, "move").is(200)
	o.get(o.li, "/v1/export").problem(400, "unknown-parameter")
	o.get(o.li, "/v1/export?format=pdf").problem(400, "unknown-parameter")
	o.get(o.li, "/v1/export?format=xes&case="+strings.Repeat("C-1,", 100)+"C-1").problem(400, "unknown-parameter")
}

func TestExportStaysInTheTrail(t *testing.T) {
	o := open(t)
	o.filed("C-1")
	o.filed("C-2")
	before := len(o.trail.looks(t))
	o.get(o.li, "/v1/export?format=xes&stage=filed").is(200)
	o.get(o.li, "/v1/export?format=csv&case=C-1,C-2").is(200)
	looks := o.trail.looks(t)[before:]
	if len(looks) != 3 || looks[0].What != "export" || looks[0].Case != "" || looks[0].Rows != 2 || looks[0].Agency != "210100" || !strings.Contains(looks[0].Query, "stage=filed") ||
		looks[1].Case != "C-1" || looks[2].Case != "C-2" || looks[2].Person != "li" {
		t.Errorf("the looks are %+v, want one at the list and one at each named case", looks)
	}
	o.trail.failWith(errBoom)
	o.get(o.li, "/v1/export?format=xes").problem(503, "unavailable")
	o.get(o.li, "/v1/export?format=xes&case=C-1").problem(503, "unavailable")
}

// brokenReads fail after some cases.
type brokenReads struct {
	Reads
	after *int
}

func (b brokenReads) EachChosen(ctx context.Context, f projections.LedgerFilter, through uint64, may func(projections.LedgerEntry) bool) iter.Seq2[[]domain.Recorded, error] {
	return func(yield func([]domain.Recorded, error) bool) {
		n := 0
		for records, err := range b.Reads.EachChosen(ctx, f, through, may) {
			if n++; n > *b.after {
				yield(nil, errBoom)
				return
			}
			for range 200 { // so that something has gone out
				if !yield(records, err) {
					return
				}
			}
		}
	}
}

func TestExportBreaksOff(t *testing.T) {
	after := 0
	o := open(t, func(_ *office, c *Config) { c.Reads = brokenReads{Reads: c.Reads, after: &after} })
	o.filed("C-1")
	o.filed("C-2")
	for _, format := range []string{"xes", "ocel", "csv"} {
		after = 0 // before the first byte there is an answer
		o.get(o.li, "/v1/export?format="+format).problem(500, "internal")
		after = 1
		func() {
			defer func() {
				if fault, ok := recover().(error); !ok || !errors.Is(fault, http.ErrAbortHandler) {
					t.Errorf("%s: half a log ended with %v, want the transfer broken off", format, fault)
				}
			}()
			o.get(o.li, "/v1/export?format="+format)
		}()
	}
}

// TestExportOfOneMoment: what is recorded while a log is written is not in it.
func TestExportOfOneMoment(t *testing.T) {
	o := open(t)
	o.filed("C-1")
	chosen, err := o.db.Choose(t.Context(), projections.LedgerFilter{})
	if err != nil {
		t.Fatal(err)
	}
	o.recorded(o.li, "C-1", act("inspect"))
	o.filed("C-2")
	var found []string
	for records, err := range o.db.EachChosen(t.Context(), projections.LedgerFilter{}, chosen.Position, func(projections.LedgerEntry) bool { return true }) {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			found = append(found, string(r.Subject)+" "+r.Act())
		}
	}
	if want := []string{"C-1 file-case"}; !slices.Equal(found, want) || chosen.Cases != 1 || chosen.Records != 1 {
		t.Errorf("found %v of %+v, want %v", found, chosen, want)
	}
}
