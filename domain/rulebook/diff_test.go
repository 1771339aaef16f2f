package rulebook_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"liuhen/domain/rulebook"
)

const beforeText = `
procedure: demo
edition: 2021-01-01
name: {zh: 示例, en: Demo}
retention: 三十年
stages:
  one: {zh: 甲, en: One}
acts:
  begin: {name: {zh: 开始, en: Begin}, opens: true, stage: {to: one}}
  ask: {name: {zh: 询问, en: Ask}, officers: 1}
  gone: {name: {zh: 旧行为, en: Old act}}
rules:
  X-1:
    says: {zh: 七日内询问, en: Ask in seven days}
    basis: 示例
    severity: minor
    within: {act: ask, after: begin, limit: 7 days}
    examples: [{holds: {begin: 2024-01-02, ask: 2024-01-05}}, {broken: {begin: 2024-01-02, ask: 2024-03-05}}]
`

// TestDiff says in words what changed between two editions.
func TestDiff(t *testing.T) {
	after := strings.NewReplacer(
		"edition: 2021-01-01", "edition: 2025-01-01", "三十年", "永久", "officers: 1", "officers: 2",
		"  gone: {name: {zh: 旧行为, en: Old act}}\n", "  new: {name: {zh: 新行为, en: New act}}\n",
		"limit: 7 days", "limit: 10 days", "severity: minor", "severity: major").Replace(beforeText)
	book, err := rulebook.Load(fstest.MapFS{"a.yaml": {Data: []byte(beforeText)}, "b.yaml": {Data: []byte(after)}})
	if err != nil {
		t.Fatal(err)
	}
	all := book.Procedures()
	var zh, en strings.Builder
	for _, c := range rulebook.Diff(all[0], all[1]) {
		zh.WriteString(c.Kind + " " + c.What + "：" + c.Says.ZH + "\n")
		en.WriteString(c.Says.EN + "\n")
	}
	for _, want := range []string{
		"changed procedure：程序的保管期限：三十年 → 永久",
		"changed act ask：行为「询问」的执法人员数：1 → 2",
		"added act new：新增行为「新行为」",
		"removed act gone：删去行为「旧行为」",
		"changed rule X-1：规则 X-1的程度：minor → major",
		"changed rule X-1：规则 X-1的条文表达：",
	} {
		if !strings.Contains(zh.String(), want) {
			t.Errorf("%q is not said in\n%s", want, zh.String())
		}
	}
	if !strings.Contains(en.String(), "act “Ask”, officers: 1 → 2") {
		t.Errorf("in English:\n%s", en.String())
	}
	if same := rulebook.Diff(all[0], all[0]); len(same) != 0 {
		t.Errorf("an edition differs from itself: %+v", same)
	}
}

// TestDiffBooks says what is different in another book: parameters, procedures,
// and a rule that several share but once.
func TestDiffBooks(t *testing.T) {
	const shared = `
parameters:
  cap: {type: money, default: 100, says: {zh: 上限, en: Cap}}
  gone: {type: text, default: x, says: {zh: 旧, en: Old}}
rules:
  X-2:
    procedures: all
    says: {zh: 规则, en: Rule}
    basis: 示例
    severity: minor
    on: any
    require: act.late_reason != ''
    examples: [{holds: {begin: {late_reason: x}}}, {broken: {begin: 2024-01-02}}]
`
	load := func(files ...string) *rulebook.Book {
		fsys := fstest.MapFS{}
		for i, text := range files {
			fsys[string(rune('a'+i))+".yaml"] = &fstest.MapFile{Data: []byte(text)}
		}
		b, err := rulebook.Load(fsys)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	other := strings.Replace(beforeText, "procedure: demo", "procedure: other", 1)
	before := load(shared, beforeText, other)
	after := load(strings.NewReplacer("default: 100", "default: 200", "gone", "fresh", "severity: minor", "severity: major").Replace(shared),
		beforeText, strings.Replace(other, "edition: 2021-01-01", "edition: 2025-01-01", 1))
	var got []string
	for _, c := range rulebook.DiffBooks(before, after) {
		if c.Says.ZH == "" {
			t.Errorf("%+v is not said in Chinese", c)
		}
		got = append(got, c.Kind+" "+c.What+": "+c.Says.EN)
	}
	want := []string{
		"changed parameter cap: parameter cap: 100 → 200",
		"added parameter fresh: parameter fresh is new",
		"removed parameter gone: parameter gone is gone",
		"changed rule X-2: rule X-2, severity: minor → major",
		"added procedure other 2025-01-01: procedure other in the edition of 2025-01-01 is new",
		"removed procedure other 2021-01-01: procedure other in the edition of 2021-01-01 is gone",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if same := rulebook.DiffBooks(before, before); len(same) != 0 {
		t.Errorf("a book differs from itself: %+v", same)
	}
}
