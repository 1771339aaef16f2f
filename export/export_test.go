package export_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/law"
	"liuhen/domain/rulebook"
	"liuhen/export"
	"liuhen/intake"
)

var national = sync.OnceValues(func() (*rulebook.Book, error) { return rulebook.Load(law.Files) })

func book(t testing.TB) *rulebook.Book {
	t.Helper()
	b, err := national()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// record makes a stored record.
func record(t testing.TB, e domain.Event) domain.Recorded {
	t.Helper()
	data, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	r, err := domain.Read(uint64(e.Revision), e.Recorded, data)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func event(act string, revision int, fields domain.Fields) domain.Event {
	at := time.Date(2026, 11, 24, 10, revision, 0, 0, calendar.Shanghai)
	return domain.Event{
		SpecVersion: "1.0", ID: fmt.Sprintf("e-%d", revision), Source: "/agencies/a", Type: "imported." + act, Subject: "C-1", Time: at, Recorded: at.Add(time.Hour),
		Edition: calendar.MakeDate(2000, 1, 1), Revision: revision, Command: fmt.Sprintf("c-%d", revision), Actor: "li", Salt: "s", Data: domain.Data{Fields: fields},
	}
}

func cases(all ...[]domain.Recorded) iter.Seq2[[]domain.Recorded, error] {
	return func(yield func([]domain.Recorded, error) bool) {
		for _, records := range all {
			if !yield(records, nil) {
				return
			}
		}
	}
}

// takenIn is what an import makes of an XES log.
func takenIn(t testing.TB, log []byte) ([]intake.Command, intake.Report) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log.xes")
	if err := os.WriteFile(path, log, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := intake.LoadMapping("liuhen-xes")
	if err != nil {
		t.Fatal(err)
	}
	var commands []intake.Command
	sink := func(_ context.Context, b intake.Batch) ([]intake.Outcome, error) {
		commands = append(commands, b.Commands...)
		out := make([]intake.Outcome, len(b.Commands))
		for i := range out {
			out[i].Result = intake.Taken
		}
		return out, nil
	}
	report, err := intake.Run(t.Context(), intake.Options{Mapping: m, Source: "test", InFlight: 1}, []string{path}, sink, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	return commands, report
}

// anything generates the values that fields may have.
func anything(depth int) *rapid.Generator[any] {
	text := rapid.OneOf(
		rapid.String(),
		rapid.StringOf(rapid.RuneFrom([]rune("a<>&\"'\n\r\t \u0000\u001f\ufffe\uffff\ufffd字𝄞%/="))),
	)
	plain := []*rapid.Generator[any]{
		rapid.Just[any](nil), text.AsAny(), rapid.Bool().AsAny(), rapid.Int64().AsAny(),
		rapid.Float64Range(-1e300, 1e300).Filter(func(f float64) bool { return f != math.Trunc(f) }).AsAny(),
	}
	if depth == 0 {
		return rapid.OneOf(plain...)
	}
	deeper := rapid.Deferred(func() *rapid.Generator[any] { return anything(depth - 1) })
	return rapid.OneOf(append(plain,
		rapid.SliceOfN(deeper, 0, 4).AsAny(),
		rapid.MapOfN(text, deeper, 0, 4).AsAny(),
	)...)
}

// TestFieldsSurvive: whatever a record holds, XES brings it back.
func TestFieldsSurvive(t *testing.T) {
	law := book(t)
	rapid.Check(t, func(rt *rapid.T) {
		fields := rapid.MapOfN(rapid.StringN(0, 20, -1), anything(4), 1, 5).Draw(rt, "fields")
		r := record(t, event("act", 1, fields))
		var log bytes.Buffer
		if err := export.Write(&log, export.XES, export.Header{Name: "t"}, law, cases([]domain.Recorded{r})); err != nil {
			rt.Fatal(err)
		}
		commands, report := takenIn(t, log.Bytes())
		if len(commands) != 1 || len(report.Refusals) > 0 {
			rt.Fatalf("%d rows were taken, %v\n%s", len(commands), report.Refusals, log.Bytes())
		}
		got, err := json.Marshal(commands[0].Fields)
		if err != nil {
			rt.Fatal(err)
		}
		want, err := json.Marshal(r.Data.Fields)
		if err != nil {
			rt.Fatal(err)
		}
		if !same(t, got, want) {
			rt.Fatalf("fields\n got %s\nwant %s\n%s", got, want, log.Bytes())
		}
	})
}

// same compares JSON with all digits of its numbers.
func same(t testing.TB, a, b []byte) bool {
	t.Helper()
	read := func(data []byte) (v any) {
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.UseNumber()
		if err := dec.Decode(&v); err != nil {
			t.Fatalf("%v: %s", err, data)
		}
		return numbers(v)
	}
	return reflect.DeepEqual(read(a), read(b))
}

// numbers makes equal numbers equal, however they are written.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, err := v.Float64()
		if err != nil {
			return v
		}
		return f
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	}
	return v
}

// TestCorrectionsFindTheirRows: an event that corrects another names it, in
// the import, by the command of its row.
func TestCorrectionsFindTheirRows(t *testing.T) {
	law := book(t)
	second := event("a", 2, nil)
	second.Data.Corrects, second.Data.Reason = "e-1", "typing"
	unknown := event("a", 3, nil)
	unknown.Data.Corrects, unknown.Data.Reason = "e-9", "nobody knows"
	other := event("a", 1, nil)
	other.Subject, other.Data.Corrects, other.Data.Reason = "C-2", "e-1", "of another case"
	other.ID = "e-4"
	var log bytes.Buffer
	err := export.Write(&log, export.XES, export.Header{Name: "t"}, law, cases(
		[]domain.Recorded{record(t, event("a", 1, nil)), record(t, second), record(t, unknown)}, []domain.Recorded{record(t, other)}))
	if err != nil {
		t.Fatal(err)
	}
	commands, report := takenIn(t, log.Bytes())
	if len(commands) != 2 || commands[1].CorrectsCommand != commands[0].CommandID || commands[1].Reason != "typing" {
		t.Errorf("the commands are %+v", commands)
	}
	if len(report.Refusals) != 2 || !strings.Contains(report.Refusals[0].Detail, `no event "e-9"`) || !strings.Contains(report.Refusals[1].Detail, `no event "e-1"`) {
		t.Errorf("the refusals are %+v", report.Refusals)
	}
}

var errBoom = errors.New("boom")

// TestErrorsEndALog: an error of what is exported, and one of what it is
// written to, come back.
func TestErrorsEndALog(t *testing.T) {
	law := book(t)
	bad := func(yield func([]domain.Recorded, error) bool) {
		if yield([]domain.Recorded{record(t, event("a", 1, nil))}, nil) {
			yield(nil, errBoom)
		}
	}
	many := make([]domain.Recorded, 0, 500)
	for i := range cap(many) {
		many = append(many, record(t, event("a", i+1, domain.Fields{"x": strings.Repeat("y", 500)})))
	}
	for _, f := range export.Formats {
		if err := export.Write(&bytes.Buffer{}, f, export.Header{}, law, bad); !errors.Is(err, errBoom) {
			t.Errorf("%s: the error is %v, want %v", f, err, errBoom)
		}
		if err := export.Write(failing{}, f, export.Header{}, law, cases(many)); !errors.Is(err, errBoom) {
			t.Errorf("%s: the error is %v, want %v", f, err, errBoom)
		}
		if f.MediaType() == "" || f.Ending() == "" {
			t.Errorf("%s has no media type or ending", f)
		}
		var log bytes.Buffer
		if err := export.Write(&log, f, export.Header{}, law, cases(many[:3])); err != nil {
			t.Fatal(err)
		}
		want := 3
		if f == export.CSV {
			want++ // the heads
		}
		if n := strings.Count(log.String(), f.Mark()); n != want {
			t.Errorf("%s has its mark %d times for 3 events, want %d", f, n, want)
		}
		if err := export.Write(&log, f, export.Header{}, law, cases()); err != nil {
			t.Errorf("%s of nothing: %v", f, err)
		}
	}
	if err := export.Write(&bytes.Buffer{}, "pdf", export.Header{}, law, cases()); err == nil {
		t.Error("a format that there is not was written")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errBoom }

// TestSharedObjects: an officer, a party with a code and a file are one object
// however many cases name them; parties without a code are not.
func TestSharedObjects(t *testing.T) {
	law := book(t)
	made := func(id, certificate string) []domain.Recorded {
		e := event("a", 1, domain.Fields{"parties": []any{
			map[string]any{"name": "甲厂", "uscc": "91210100MA0000000X"}, map[string]any{"name": "王某"},
		}})
		e.Subject, e.ID = domain.CaseID(id), "e-"+id
		e.Data.Officers = []rulebook.Officer{{ID: "li", Name: "李明", Certificate: certificate}}
		e.Data.Documents = []rulebook.Reference{{Kind: "告知书", Title: "告知书", Digest: "sha256:" + strings.Repeat("0", 64), Size: 3}}
		return []domain.Recorded{record(t, e)}
	}
	pub := event("a", 1, domain.Fields{"source_case": "C-1"})
	pub.Type, pub.Subject, pub.ID = "publication.a", "P-1", "e-p1"
	lost := event("a", 1, domain.Fields{"source_case": "C-9"})
	lost.Type, lost.Subject, lost.ID = "publication.a", "P-2", "e-p2"
	var log bytes.Buffer
	err := export.Write(&log, export.OCEL, export.Header{}, law, cases(
		[]domain.Recorded{record(t, pub)}, made("C-1", "证-1"), made("C-2", "证-2"), []domain.Recorded{record(t, lost)}))
	if err != nil {
		t.Fatal(err)
	}
	var read struct {
		Objects []struct {
			ID, Type      string
			Attributes    []struct{ Name, Value string }
			Relationships []struct{ ObjectID, Qualifier string }
		}
	}
	if err := json.Unmarshal(log.Bytes(), &read); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, o := range read.Objects {
		if got[o.ID] != "" {
			t.Errorf("%s stands twice", o.ID)
		}
		got[o.ID] = o.Type
		for _, a := range o.Attributes {
			if a.Name == "certificate" {
				got[o.ID] += " " + a.Value
			}
		}
		for _, r := range o.Relationships {
			if o.Type == "publication" {
				got[o.ID] += " " + r.Qualifier + " " + r.ObjectID
			}
		}
	}
	want := map[string]string{
		"case:C-1": "case", "case:C-2": "case", "case:C-9": "case", "case:P-1": "publication publishes case:C-1", "case:P-2": "publication publishes case:C-9",
		"officer:a/li": "officer 证-1 证-2", "party:91210100MA0000000X": "party", "party:C-1/王某": "party", "party:C-2/王某": "party",
		"document:sha256:" + strings.Repeat("0", 64): "document",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("objects\n got %v\nwant %v", got, want)
	}
}

// TestMoneyIsACost: amounts of the law are cost drivers, in the whole unit.
func TestMoneyIsACost(t *testing.T) {
	law := book(t)
	p, ok := law.Procedure("coercive-measure")
	if !ok {
		t.Fatal("there is no procedure coercive-measure")
	}
	e := event("x", 1, domain.Fields{"amount": int64(-3505), "violation_amount": int64(100)})
	e.Type, e.Edition = "coercive-measure.freeze-deposit", p.Edition
	var log bytes.Buffer
	if err := export.Write(&log, export.XES, export.Header{}, law, cases([]domain.Recorded{record(t, e)})); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`<float key="cost:amount" value="-35.05"/>`, `<float key="cost:amount" value="1.00"/>`, `<string key="cost:driver" value="amount"/>`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not have %s:\n%s", want, log.String())
		}
	}
	if strings.Contains(log.String(), "cost:total") {
		t.Error("amounts of different meaning were added up")
	}
}
