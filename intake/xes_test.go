package intake

import (
	"archive/tar"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
)

func TestXESPermits(t *testing.T) {
	text, err := os.ReadFile("testdata/permits.xes")
	if err != nil {
		t.Fatal(err)
	}
	gbk, err := simplifiedchinese.GBK.NewEncoder().String(strings.Replace(string(text), "UTF-8", "GBK", 1))
	if err != nil {
		t.Fatal(err)
	}
	utf16, err := unicode.UTF16(unicode.BigEndian, unicode.UseBOM).NewEncoder().String(strings.Replace(string(text), "UTF-8", "UTF-16", 1))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`11 trace 1/event 1 证-2024-001 accept 2024-03-04T09:15:00+08:00 李敏 {"case_applicant":"海河印染","case_applicant_kind":"company",` +
			`"fee":120.50,"on_site":true,"pages":12,"pages_unit":"A4","papers_1_paper":"licence","papers_2_paper":"map","place_lat":39.1,"place_lon":117.2}`,
		`21 trace 1/event 2 证-2024-001 review 2024-03-06T10:00:00.25+08:00  {"case_applicant":"海河印染","case_applicant_kind":"company",` +
			`"note":"a < b & \"c\"","ticket":"7f0c"}`,
		`29 trace 2/event 1 trace-2-DIGEST accept 2024-03-05T08:30:00Z  {}`,
		`37 trace 4/event 1 B-7-3-2d7ceced187d: time: the column time:timestamp is empty`,
		`40 trace 4/event 2 B-7-3-2d7ceced187d: act: the column concept:name is empty`,
	}
	m := loadMapping(t, "generic-xes")
	for name, path := range map[string]string{
		"as it is":     "testdata/permits.xes",
		"gzip":         write(t, "permits.xes.gz", pack(t, string(text))),
		"GBK":          write(t, "permits.xes", gbk),
		"UTF-16":       write(t, "permits.xes", utf16),
		"no namespace": write(t, "permits.xes", strings.Replace(string(text), ` xmlns="http://www.xes-standard.org/"`, "", 1)),
		"prefixed": write(t, "permits.xes", strings.NewReplacer("</", "</x:", "<?", "<?", "<", "<x:", "xmlns=", "xmlns:x=").
			Replace(string(text))),
	} {
		t.Run(name, func(t *testing.T) {
			items, notes, err := readAll(t, m, path, Limits{}, true)
			if err != nil || len(notes) > 0 {
				t.Fatalf("read: %v, notes %v", err, notes)
			}
			if len(items) != len(want) {
				t.Fatalf("read %d events, want %d", len(items), len(want))
			}
			s, err := openSource(t.Context(), path, Limits{}.orDefault())
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			for i, item := range items {
				got := fmt.Sprintf("%d %s %s", item.Line, item.Path, item.Case)
				if item.Refused != "" {
					got += ": " + item.Refused
				} else {
					got += fmt.Sprintf(" %s %s %s %s", item.Act, item.At.Format(time.RFC3339Nano), item.Officer, fieldsText(t, item))
				}
				if w := strings.ReplaceAll(want[i], "DIGEST", s.digest[7:15]); got != w {
					t.Errorf("event %d:\n got %s\nwant %s", i+1, got, w)
				}
			}
		})
	}
}

// oneEvent is a log around the inside of an event.
func oneEvent(inside string) string {
	return `<log xes.version="1.0"><trace><string key="concept:name" value="c"/><event>` +
		`<string key="concept:name" value="a"/><date key="time:timestamp" value="2024-01-02T03:04:05Z"/>` + inside + "</event></trace></log>"
}

func TestXESFaults(t *testing.T) {
	tests := []struct {
		name, text string
		limits     Limits
		want       string
	}{
		{name: "empty", text: "", want: "f.xes:1: is not an XES log: there is no <log> element"},
		{name: "text", text: "hello", want: `f.xes:1: is not an XES log: it begins with "hello"`},
		{name: "HTML", text: "<html></html>", want: "f.xes:1: is not an XES log: the first element is <html>, expected <log>"},
		{name: "two logs", text: "<log/>\n<log/>", want: "f.xes:2: a second <log>"},
		{name: "cut off", text: "<log>\n<trace>\n<event>\n", want: "f.xes:4: the file ends inside <event>, which was opened in line 3"},
		{name: "cut off in a tag", text: "<log>\n<trace><str", want: "f.xes:2: not well-formed XML"},
		{name: "wrong end", text: "<log>\n<trace>\n</log>", want: "f.xes:3: not well-formed XML: </log> where <trace> of line 2 is open"},
		{name: "end of nothing", text: "</log>", want: "not well-formed XML: </log> closes nothing"},
		{name: "unknown entity", text: `<log><string key="a" value="&bomb;"/></log>`, want: "not well-formed XML: invalid character entity &bomb;"},
		{name: "wrong bytes", text: "<log><string key=\"a\" value=\"\xff\"/></log>", want: "not well-formed XML: invalid UTF-8"},
		{name: "unknown encoding", text: `<?xml version="1.0" encoding="klingon"?><log/>`, want: `unknown encoding "klingon"`},
		{name: "element of no XES", text: oneEvent("\n<text/>"), want: "f.xes:2: <text> inside <event> is not XES"},
		{name: "event in event", text: oneEvent("\n<event/>"), want: "f.xes:2: <event> inside <event> is not XES"},
		{name: "values outside a list", text: oneEvent("<container key=\"c\"><values/></container>"), want: "<values> inside <container> is not XES"},
		{name: "text in an event", text: oneEvent("oops"), want: `text "oops" between the elements`},
		{name: "trace attribute behind events", text: "<log><trace><event/>\n<string key=\"concept:name\" value=\"c\"/></trace></log>",
			want: "f.xes:2: an attribute of the trace stands behind its events"},
		{name: "long value", text: oneEvent(`<string key="k" value="` + strings.Repeat("x", 3000) + `"/>`), limits: Limits{Token: 2000}, want: "a tag or text has more than 2000 bytes"},
		{name: "long comment", text: oneEvent("<!--" + strings.Repeat("x", 3000) + "-->"), limits: Limits{Token: 2000}, want: "a tag or text has more than 2000 bytes"},
		{name: "large event", text: oneEvent(strings.Repeat(`<string key="k" value="xxxxxxxx"/>`, 300)), limits: Limits{Record: 2000}, want: "has more than 2000 bytes"},
		{name: "large trace", text: "<log><trace>" + strings.Repeat(`<string key="k" value="xxxxxxxx"/>`, 300) + "</trace></log>", limits: Limits{Record: 2000}, want: "has more than 2000 bytes"},
		{name: "deep", text: oneEvent(strings.Repeat(`<container key="c">`, 100)), want: "elements are more than 64 deep"},
		{name: "long path", text: oneEvent(strings.Repeat(`<container key="`+strings.Repeat("k", 100)+`">`, 10)), want: "has more than 500 bytes"},
		{name: "many keys", text: oneEvent(keys(50)), limits: Limits{Columns: 40}, want: "more than 40 different attributes"},
		{name: "two keys of one field", text: oneEvent(`<string key="a b" value="1"/><string key="a:b" value="2"/>`), want: `the columns "a b" and "a:b" would both become the field a_b`},
	}
	m := loadMapping(t, "generic-xes")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := readAll(t, m, write(t, "f.xes", tt.text), tt.limits, false)
			var fault *FileError
			if !errors.As(err, &fault) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("read: %v, want a FileError with: %s", err, tt.want)
			}
		})
	}
}

func keys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `<string key="k%d" value="v"/>`, i)
	}
	return b.String()
}

func TestXESEvents(t *testing.T) {
	tests := []struct{ name, inside, refused, repair, fields string }{
		{name: "same attribute twice", inside: `<string key="x" value="v"/><string key="x" value="v"/>`, repair: "the attribute x stands twice with the same value", fields: `{"x":"v"}`},
		{name: "different attribute twice", inside: `<string key="x" value="v"/><string key="x" value="w"/>`, refused: `the attribute x stands twice, as "v" and "w"`},
		{name: "no key", inside: "\n<string value=\"v\"><string key=\"y\" value=\"w\"/></string>", refused: "an attribute <string> in line 2 has no key"},
		{name: "not of its type", inside: `<int key="x" value="1.5"/>`, repair: "not of the type that the file gives it; kept as text", fields: `{"x":"1.5"}`},
		{name: "date without offset", inside: `<date key="x" value="2024-01-02T03:04:05"/>`, repair: "kept as text", fields: `{"x":"2024-01-02T03:04:05"}`},
		{name: "not a number", inside: `<float key="x" value="NaN"/>`, repair: "kept as text", fields: `{"x":"NaN"}`},
		{name: "list with values", inside: `<list key="l"><values><int key="a" value="1"/><int key="a" value="2"/></values></list>`, fields: `{"l_1_a":1,"l_2_a":2}`},
		{name: "list of lists", inside: `<list key="l"><list key="m"><id key="a" value="q"/></list></list>`, fields: `{"l_1_m_1_a":"q"}`},
		{name: "empty value", inside: `<string key="x" value=""/>`, fields: `{}`},
		{name: "no value", inside: `<string key="x"/>`, fields: `{}`},
		{name: "comment and instruction", inside: `<!-- no --><?no?>`, fields: `{}`},
		{name: "control character", inside: `<string key="x" value="a&#10;b&#9;c"/>`, fields: `{"x":"a\nb\tc"}`},
	}
	m := loadMapping(t, "generic-xes")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			items := mustRead(t, m, write(t, "f.xes", oneEvent(tt.inside)))
			if len(items) != 1 {
				t.Fatalf("read %d events, want 1", len(items))
			}
			checkItem(t, items[0], tt.refused, tt.repair, tt.fields)
		})
	}
}

// An attribute that a strict mapping does not name refuses its row only.
func TestXESUnwantedAttribute(t *testing.T) {
	m := mapping(t, strings.Replace(csvMapping, "format: csv", "format: xes", 1))
	items := mustRead(t, m, write(t, "f.xes", `<log><trace><string key="t" value="1"/>`+
		`<event><string key="id" value="c"/><string key="what" value="A"/><date key="when" value="2024-01-02"/></event></trace>`+
		`<trace><event><string key="id" value="c"/><string key="what" value="A"/><date key="when" value="2024-01-02"/></event></trace></log>`))
	if len(items) != 2 || !strings.Contains(items[0].Refused, "the attribute case:t is not in mapping t") || items[1].Refused != "" {
		t.Errorf("read %+v, want the first refused for its attribute case:t and the second taken", items)
	}
}

// The 71 files of the pm4py importer tests: those that are valid against the
// schema import without a note; of the others each has an error or a note with
// its place, and an error when the run is strict.
func TestXESImporterCases(t *testing.T) {
	files := untar(t, shared(t, "schemas/xes/xes_importer_cases.tar.gz"))
	index, err := os.Open(shared(t, "schemas/xes/xes_importer_cases_index.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer index.Close()
	rows, err := csv.NewReader(index).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	// Errors whatever the mode: what is in these files cannot be known.
	hard := map[string]bool{
		"noLog.xes": true, "classifierNoAttributes.xes": true, "elementIncorrect.xes": true, "logOutOfPlace.xes": true, "traceOutOfPlace.xes": true,
	}
	m := loadMapping(t, "generic-xes")
	if len(rows) != 72 {
		t.Fatalf("the index has %d rows, want 71 and a header", len(rows)-1)
	}
	for _, row := range rows[1:] {
		name, valid := row[0], row[2] == "yes"
		text, ok := files[name]
		if !ok {
			t.Errorf("%s is in the index and not in the archive", name)
			continue
		}
		path := write(t, name, text)
		_, notes, err := readAll(t, m, path, Limits{}, false)
		_, _, strictErr := readAll(t, m, path, Limits{}, true)
		switch {
		case valid && (err != nil || strictErr != nil || len(notes) > 0):
			t.Errorf("%s is valid: read: %v, strictly: %v, notes %v", name, err, strictErr, notes)
		case !valid && (strictErr == nil || !strings.HasPrefix(strictErr.Error(), name+":")):
			t.Errorf("%s breaks the schema (%s): read strictly: %v, want an error with file and line", name, row[3], strictErr)
		case !valid && err == nil && (len(notes) == 0 || !strings.HasPrefix(notes[0].String(), name+":")):
			t.Errorf("%s breaks the schema (%s): no error and notes %v", name, row[3], notes)
		case hard[name] != (err != nil):
			t.Errorf("%s: read: %v, want an error: %v", name, err, hard[name])
		}
	}
}

// untar returns the files of a .tar.gz by their names.
func untar(t testing.TB, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for in := tar.NewReader(z); ; {
		h, err := in.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(h.Name, "./")] = string(data)
	}
}
