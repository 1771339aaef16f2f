package rulebook

import (
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	b := load(t, withRule(`within: {act: decide, after: file-case, limit: param.answer, on: dated, pauses: [{from: pause, to: resume}], extended_by: {act: extend, field: by}, ended_by: [drop], rolls: false, each: true, when: "case.has('drop')"}
verdict: refuse
cure: {zh: 补办延期, en: Have it extended}
unconfirmed: true`, `{file-case: 2024-09-09, decide: {at: 2024-09-10, dated: 2024-09-10}}`))
	p, _ := b.Procedure("demo")
	for lang, wants := range map[string][]string{
		"zh": {
			"演示程序（demo，2021-07-15 版）", "案源 clue → 调查 inquiry → 结案 done", "立案  file-case", "产生法律效果，可以拒绝；可以立卷；一案一次",
			"由谁记录：handler、head", "执法人员：2 名以上", "阶段：案源、调查 → 调查", "文书：《决定书》（必附）", "· penalties penalties（penalty，可多项）",
			"· kind kind（代码 kind，必填）", "T-001  规则", "依据：试验法 第一条", "违反时：程序轻微违法；拒绝产生效果的行为",
			"※ 依据或数值未经确认", "期限：「决定」应在「立案」之后 5个工作日 内", "期满日不顺延", "每次分别起算", "自「中止」至「恢复」不计入",
			"可由「延长」延长（by）", "因「撤案」而终止", "起算条件：case.has('drop')", "补正：补办延期", "参数：answer = 5个工作日，答辩期",
			"例·符合：立案 2024-09-09 → 决定 at: 2024-09-10, dated: 2024-09-10", "例·违反：立案", "三、参数",
		},
		"en": {
			"Demonstration (demo, edition of 2021-07-15)", "Recorded by: handler, head", "Officers: at least 2", "Stage: Clue, Inquiry → Inquiry",
			"Limit: “Decide” within 5 working days after “File”", "Cure: Have it extended", "※ basis or figure not confirmed",
			"Example, holds: File 2024-09-09 → Decide at: 2024-09-10", "Starts: T-001 5 working days",
		},
	} {
		var out strings.Builder
		if err := Explain(&out, b, p, lang); err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: the text lacks %q", lang, want)
			}
		}
		if strings.Contains(out.String(), "%!") {
			t.Errorf("%s: a wrong format:\n%s", lang, out.String())
		}
	}
	for _, shape := range []string{
		"ahead: {act: notice, of: hearing, by: 7 working days, planned: planned, optional: true, when: act.told}",
		"before: {first: notice, then: [decide, hearing], needed: false, unless: 'false'}",
		"count: {act: register, at_most: 2, in: case}",
		"on: any\nwith: {a: all register, f: first? notice, l: last drop}\nwhen: has_f\nrequire: size(a) > 0",
	} {
		b := load(t, withRule(shape, "{drop: {}}"))
		p, _ := b.Procedure("demo")
		for _, lang := range []string{"zh", "en"} {
			var out strings.Builder
			if err := Explain(&out, b, p, lang); err != nil || strings.Contains(out.String(), "%!") {
				t.Errorf("%s in %s: %v\n%s", shape, lang, err, out.String())
			}
		}
	}
}
