package intake

import (
	"strings"
	"testing"
)

const partsMapping = `mapping: t
format: xes
procedure: imported
case: "case:concept:name"
act: {column: "concept:name", unknown: keep}
time: {column: "time:timestamp", layouts: [rfc3339]}
parts: {fields: fields, officers: officers, documents: documents, procedure: "case:procedure", agency: "case:agency", place: place, event: id, corrects: corrects}
other_columns: refuse
`

// partsLog is a log with one event that holds something.
func partsLog(inside string) string {
	return `<log xes.version="2.0"><trace><string key="concept:name" value="C-1"/><string key="procedure" value="permit"/><string key="agency" value="a"/>` +
		`<event><string key="concept:name" value="act"/><date key="time:timestamp" value="2026-01-01T00:00:00+08:00"/>` + inside + `</event></trace></log>`
}

func TestParts(t *testing.T) {
	for name, tt := range map[string]struct {
		inside  string
		want    string // the fields
		refused string
	}{
		"nothing":       {``, `{}`, ""},
		"an empty one":  {`<container key="fields"/>`, `{}`, ""},
		"every kind":    {`<container key="fields"><string key="s" value="x"/><int key="i" value="-7"/><float key="f" value="1.5e3"/><boolean key="b" value="true"/><date key="d" value="2026-01-01T00:00:00Z"/><id key="n" value="u"/></container>`, `{"b":true,"d":"2026-01-01T00:00:00Z","f":1.5e3,"i":-7,"n":"u","s":"x"}`, ""},
		"deep":          {`<container key="fields"><list key="l"><container key="item"><list key="m"/></container><int key="item" value="2"/></list></container>`, `{"l":[{"m":[]},2]}`, ""},
		"with values":   {`<container key="fields"><list key="l"><values><int key="item" value="1"/><int key="item" value="2"/></values></list></container>`, `{"l":[1,2]}`, ""},
		"as JSON":       {`<container key="fields"><string key="j" value="[null,&quot;\u0000&quot;]"><boolean key="json" value="true"/></string></container>`, `{"j":[null,"\u0000"]}`, ""},
		"not JSON":      {`<container key="fields"><string key="j" value="["><boolean key="json" value="true"/></string></container>`, "", "marked as JSON and is not"},
		"not an int":    {`<container key="fields"><int key="i" value="1.5"/></container>`, "", `"1.5" is no int`},
		"a plus":        {`<container key="fields"><int key="i" value="+1"/></container>`, "", `"+1" is no int`},
		"not a number":  {`<container key="fields"><float key="f" value="INF"/></container>`, "", `"INF" is no float`},
		"not a boolean": {`<container key="fields"><boolean key="b" value="1"/></container>`, "", `"1" is no boolean`},
		"twice":         {`<container key="fields"><int key="i" value="1"/><int key="i" value="2"/></container>`, "", "i stands twice"},
		"two of them":   {`<container key="fields"/><container key="fields"/>`, "", "the attribute fields stands twice"},
		"no container":  {`<string key="fields" value="x"/>`, "", "expected a container"},
		"no list":       {`<container key="officers"/>`, "", "expected a list"},
		"lost children": {`<container key="fields"><int key="i" value="1"><string key="unit" value="m"/></int></container>`, "", "would be lost"},
		"others":        {`<string key="colour" value="red"/>`, "", "the attribute colour is not in mapping"},
	} {
		t.Run(name, func(t *testing.T) {
			items := mustRead(t, mapping(t, partsMapping), write(t, "log.xes", partsLog(tt.inside)))
			if len(items) != 1 {
				t.Fatalf("read %d rows, want 1", len(items))
			}
			if tt.refused != "" {
				if !strings.Contains(items[0].Refused, tt.refused) {
					t.Errorf("refused %q, want %q", items[0].Refused, tt.refused)
				}
				return
			}
			if got := fieldsText(t, items[0]); got != tt.want || items[0].Refused != "" {
				t.Errorf("fields %s, refused %q; want %s", got, items[0].Refused, tt.want)
			}
			c := items[0].Command("imported", "")
			if c.Procedure != "permit" || c.Agency != "a" {
				t.Errorf("procedure %q of agency %q, want those of the trace", c.Procedure, c.Agency)
			}
			if c := items[0].Command("imported", "b"); c.Agency != "b" {
				t.Errorf("agency %q, want the one that was named", c.Agency)
			}
		})
	}
}

func TestPartsMappingErrors(t *testing.T) {
	for text, want := range map[string]string{
		strings.Replace(partsMapping, "event: id, ", "", 1):                            "parts.corrects needs parts.event",
		strings.Replace(partsMapping, "documents: documents", "documents: fields", 1):  `are the attribute "fields"`,
		strings.Replace(partsMapping, "place: place", "places: place", 1):              "unknown key",
		strings.Replace(partsMapping, "format: xes", "format: csv", 1):                 "parts are for XES",
		strings.Replace(partsMapping, "other_columns", "officer: x\nother_columns", 1): "parts.officers has them already",
	} {
		if _, err := ReadMapping("t.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want one with %q", err, want)
		}
	}
}

// FuzzParts reads XES of any content by a mapping with parts.
func FuzzParts(f *testing.F) {
	for _, inside := range []string{
		``, `<container key="fields"><list key="l"><values><int key="a" value="1"/></values></list></container>`,
		`<list key="officers"><container key="o"><string key="id" value="x"/></container></list>`,
		`<container key="fields"><string key="j" value="{}"><boolean key="json" value="true"/></string></container>`,
		`<container key="fields"><float key="f" value="-1e999"/></container><string key="id" value="1"/><string key="corrects" value="1"/>`,
	} {
		f.Add([]byte(partsLog(inside)))
	}
	m, err := ReadMapping("t.yaml", []byte(strings.Replace(partsMapping, "other_columns: refuse", "other_columns: keep", 1)))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) { hold(t, data, m) })
}
