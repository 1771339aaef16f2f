package rulebook_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"liuhen/domain/law"
	"liuhen/domain/rulebook"
)

// TestCoverage holds the promise that no numbered rule is forgotten: each is
// judged, with examples that come out as written, or left out for a reason.
func TestCoverage(t *testing.T) {
	book, err := rulebook.Load(law.Files)
	if err != nil {
		t.Fatal(err)
	}
	all := book.Coverage(rulebook.RunExamples(book))
	if len(all) != 120 || all[0].Rule != "R-001" || all[119].Rule != "R-120" {
		t.Fatalf("%d rules are numbered, want R-001 to R-120", len(all))
	}
	for _, c := range all {
		if c.Missing() {
			t.Errorf("%s is nowhere and nobody says why: %+v", c.Rule, c)
		}
	}
}

func TestLeftOut(t *testing.T) {
	files := func(common string) fstest.MapFS {
		return fstest.MapFS{
			"common.yaml": {Data: []byte(common)},
			"demo.yaml": {Data: []byte(`
procedure: demo
edition: 2024-01-01
name: {zh: 示例, en: Demo}
acts:
  begin: {name: {zh: 开始, en: Begin}, opens: true, fields: {n: {type: integer, name: {zh: 数, en: Number}}}}
rules:
  X-2:
    says: {zh: 数不超过一, en: At most one}
    basis: 示例
    severity: minor
    on: begin
    require: act.n <= 1
    examples: [{holds: {begin: {n: 1}}}, {broken: {begin: {n: 2}}}]
`)},
		}
	}
	book, err := rulebook.Load(files("numbered: {from: X-1, to: X-3}\nleft_out: {X-1: {zh: 另有去处, en: Elsewhere}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	all := book.Coverage(rulebook.RunExamples(book))
	if len(all) != 3 || all[0].Missing() || all[1].Missing() || all[1].Examples != 2 || !all[2].Missing() {
		t.Errorf("coverage: %+v", all)
	}
	for text, want := range map[string]string{
		"numbered: {from: X-1, to: Y-3}":                                   "expected {from:",
		"numbered: {from: X-3, to: X-1}":                                   "expected {from:",
		"numbered: {from: X-1, to: X-3}\nleft_out: {X-2: {zh: 无, en: No}}": "is a rule of demo",
		"numbered: {from: X-1, to: X-3}\nleft_out: {X-4: {zh: 无, en: No}}": "is not numbered",
		"numbered: {from: X-1, to: X-999999999}":                           "expected {from:",
	} {
		if _, err := rulebook.Load(files(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
