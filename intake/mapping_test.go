package intake

import (
	"errors"
	"strings"
	"testing"

	"liuhen/domain/calendar"
	"liuhen/domain/law"
	"liuhen/domain/rulebook"
)

const smallMapping = `mapping: small
format: csv
procedure: imported
case: id
act: what
time: {column: when, layouts: [date], zone: Asia/Shanghai}
`

func TestMappingMistakes(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", "", "m.yaml:1:1: the file is empty"},
		{"not a mapping", "- a\n", "m.yaml:1:1: mapping file: expected keys and values, found a list"},
		{"bad YAML", smallMapping + "fields: [a\n", "m.yaml:7:9: YAML: sequence end token ']' not found"},
		{"two documents", smallMapping + "---\na: 1\n", "m.yaml:8:1: one document a file"},
		{"anchor", smallMapping + "ignore: &x [a]\n", "m.yaml:7:9: anchor is not allowed here"},
		{"unknown key", smallMapping + "colour: red\n", `m.yaml:7:1: mapping file: unknown key "colour", expected one of act, agency,`},
		{"twice", smallMapping + "act: b\n", "m.yaml:7:1: mapping file: \"act\" stands twice"},
		{"missing key", strings.Replace(smallMapping, "case: id\n", "", 1), "m.yaml:1:1: the key case is missing"},
		{"bad format", strings.Replace(smallMapping, "csv", "xlsx", 1), `m.yaml:2:9: format: expected one of csv, xes, found "xlsx"`},
		{"encoding of XES", strings.Replace(smallMapping, "csv", "xes", 1) + "encoding: big5\n", "m.yaml:7:1: encoding is for CSV"},
		{"zone", strings.Replace(smallMapping, "Asia/Shanghai", "Asia/Nowhere", 1), `m.yaml:6:39: time.zone: "Asia/Nowhere": expected an IANA name`},
		{"local zone", strings.Replace(smallMapping, "Asia/Shanghai", "Local", 1), `is another zone on another machine`},
		{"no zone", strings.Replace(smallMapping, ", zone: Asia/Shanghai", "", 1), "m.yaml:6:22: time.layouts: date has no offset, so the key zone is needed"},
		{"layout", strings.Replace(smallMapping, "[date]", "[yyyy-mm-dd]", 1), `time.layouts: "yyyy-mm-dd": expected date,`},
		{"delimiter", smallMapping + "delimiter: ab\n", `m.yaml:7:1: delimiter: expected one character or tab, found "ab"`},
		{"delimiter quote", smallMapping + "delimiter: '\"'\n", "delimiter: expected one character"},
		{"act unknown", strings.Replace(smallMapping, "act: what", "act: {column: what}", 1), "m.yaml:5:6: act: without a map every activity is unknown"},
		{"procedure", strings.Replace(smallMapping, "imported", "a.b", 1), `m.yaml:3:1: procedure "a.b" has '.'`},
		{"field name", smallMapping + "fields: {Big: a}\n", `m.yaml:7:10: fields: "Big" is no field name`},
		{"field key", smallMapping + "fields:\n  a: {column: a, kind: text}\n", `m.yaml:8:18: fields.a: unknown key "kind"`},
		{"neither column nor value", smallMapping + "fields:\n  a: {type: text}\n", "m.yaml:8:6: fields.a: expected either column or value"},
		{"money without unit", smallMapping + "fields:\n  a: {column: a, type: money}\n", "m.yaml:8:6: fields.a: money needs the key unit, one of euro, euro-cent, fen, wan-yuan, yuan"},
		{"unit without money", smallMapping + "fields:\n  a: {column: a, unit: yuan}\n", "m.yaml:8:18: fields.a: unit is for money"},
		{"unknown without codes", smallMapping + "fields:\n  a: {column: a, unknown: keep}\n", "unknown says what to do with codes that are not listed"},
		{"difference of text", smallMapping + "fields:\n  a: {column: a, difference: true}\n", "a difference is of money or integer"},
		{"digits without difference", smallMapping + "fields:\n  a: {column: a, digits: b}\n", "digits is the check of a difference"},
		{"lost point of fen", smallMapping + "fields:\n  a: {column: a, type: money, unit: fen, lost_point: true}\n", "lost_point is for money in a unit that has decimal places"},
		{"boolean", smallMapping + "fields:\n  a: {column: a, type: integer, difference: yes}\n", `fields.a.difference: expected true or false, found "yes"`},
		{"act that no activity becomes", strings.Replace(smallMapping, "act: what", "act: {column: what, map: {A: a}}", 1) +
			"fields:\n  x: {column: x, acts: [b]}\n", `m.yaml:8:18: fields.x.acts: no activity becomes "b"`},
		{"used and ignored", smallMapping + "ignore: [when]\n", `m.yaml:7:1: ignore: column "when" is used above`},
		{"replace by two characters", strings.Replace(smallMapping, "case: id", `case: {column: id, replace: {" ": "--"}}`, 1), `m.yaml:4:20: case.replace: " " → "--"`},
		{"replace two by one", strings.Replace(smallMapping, "case: id", `case: {column: id, replace: {" ": "-", "/": "-"}}`, 1), `so two case ids could become one`},
		{"number for CSV", strings.Replace(smallMapping, "case: id", `case: {column: id, missing: number}`, 1), "case: missing: number is for XES"},
		{"same marks", smallMapping + `numbers: {decimal: ",", thousands: ","}` + "\n", "m.yaml:7:25: numbers: decimal and thousands are the same"},
		{"deep", smallMapping + "ignore: " + strings.Repeat("[", 200) + "\n", "too many open brackets"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ReadMapping("m.yaml", []byte(tt.text))
			var errs MappingErrors
			if !errors.As(err, &errs) {
				t.Fatalf("read: %v, want MappingErrors", err)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("read: %v\nwant something with: %s", err, tt.want)
			}
		})
	}
}

func TestMappingTellsAllMistakes(t *testing.T) {
	_, err := ReadMapping("m.yaml", []byte("format: xml\ncase: {prefix: a}\nfoo: 1\n"))
	for _, want := range []string{"m.yaml:1:9:", "m.yaml:2:7: case: the key column is missing", "m.yaml:3:1:", "the key time is missing"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("read: %v\nwant something with: %s", err, want)
		}
	}
}

func TestLoadMapping(t *testing.T) {
	_, err := LoadMapping("no-such-mapping")
	if err == nil || !strings.Contains(err.Error(), "shipped are generic-xes, helpdesk-xes") {
		t.Errorf("load a mapping that is not there: %v, want the names of the shipped ones", err)
	}
	for _, name := range Shipped() {
		if m := loadMapping(t, name); m.Name != name {
			t.Errorf("mapping file %s calls itself %s", name, m.Name)
		}
	}
}

// The shipped mappings must agree with the procedures that they fill.
func TestShippedMappingsFitTheLaw(t *testing.T) {
	book, err := rulebook.Load(law.Files)
	if err != nil {
		t.Skipf("the law cannot be loaded: %v", err)
	}
	for _, name := range Shipped() {
		m := loadMapping(t, name)
		procedure, ok := book.InForce(m.Procedure, calendar.MakeDate(2010, 1, 1))
		if !ok {
			t.Errorf("%s: there is no procedure %s", name, m.Procedure)
			continue
		}
		for activity, act := range m.act.names {
			a, ok := procedure.Act(act)
			if !ok {
				t.Errorf("%s: activity %q becomes %s, which is no act of %s", name, activity, act, m.Procedure)
				continue
			}
			for _, r := range m.fields {
				takes := r.acts == nil
				for _, on := range r.acts {
					takes = takes || on == act
				}
				if _, ok := a.Field(r.name); takes && !ok && !procedure.Open {
					t.Errorf("%s: act %s has no field %s", name, act, r.name)
				}
			}
		}
	}
}
