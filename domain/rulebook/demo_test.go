package rulebook

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

// demo is a small procedure that the tests add rules to.
const demo = `
codes:
  kind: {"11": {zh: 警告, en: Warning}, "21": {zh: 罚款, en: Fine}}
types:
  penalty: {kind: {type: code, of: kind, required: true}, amount: {type: money}}
parameters:
  answer: {type: limit, default: 5 working days, says: {zh: 答辩期, en: Answer period}}
  cap: {type: money, default: 100_00, unconfirmed: true, says: {zh: 上限, en: Cap}}
  strict: {type: boolean, default: false, says: {zh: 从严, en: Strict}}
procedure: demo
edition: 2021-07-15
name: {zh: 演示程序, en: Demonstration}
stages:
  clue: {zh: 案源, en: Clue}
  inquiry: {zh: 调查, en: Inquiry}
  done: {zh: 结案, en: Done}
acts:
  file-case: {name: {zh: 立案, en: File}, opens: true, effect: true, once: true, by: [handler, head], stage: {to: clue}}
  register: {name: {zh: 登记, en: Register}, officers: 2, stage: {from: [clue, inquiry], to: inquiry}, fields: {item: {type: text}, items: {type: text, many: true}, limit: {type: limit}, on: {type: date}}}
  dispose: {name: {zh: 处理, en: Dispose}, fields: {item: {type: text}, dated: {type: date}, presider: {type: person}}}
  pause: {name: {zh: 中止, en: Pause}}
  resume: {name: {zh: 恢复, en: Resume}}
  extend: {name: {zh: 延长, en: Extend}, fields: {by: {type: limit, required: true}}}
  drop: {name: {zh: 撤案, en: Drop}}
  notice: {name: {zh: 通知, en: Notice}, fields: {planned: {type: date}, penalties: {type: penalty, many: true}}}
  hearing: {name: {zh: 听证, en: Hearing}, effect: true, officers: 1, fields: {presider: {type: person, required: true}, amount: {type: integer, max: 1000}, weight: {type: number}, seen: {type: time}, told: {type: boolean}, penalties: {type: penalty, many: true}, main: {type: penalty}}}
  decide: {name: {zh: 决定, en: Decide}, effect: true, documents: [{kind: 决定书, required: true}, {kind: 附件}], fields: {dated: {type: date}}}
  close: {name: {zh: 结案, en: Close}, closes: true, stage: {from: [clue, inquiry], to: done}}
  archive: {name: {zh: 归档, en: Archive}, stage: {from: done}}
rules:
`

// withRule is the demo procedure with one rule, T-001, of the shape given.
func withRule(shape, history string) string {
	return demo + `  T-001:
    says: {zh: 规则, en: the rule}
    basis: 试验法 第一条
    severity: minor
    ` + strings.ReplaceAll(strings.TrimSpace(shape), "\n", "\n    ") + `
    examples: [{holds: ` + history + `}, {broken: {file-case: }}]
`
}

func load(tb testing.TB, files ...string) *Book {
	tb.Helper()
	fsys := fstest.MapFS{}
	for i, f := range files {
		fsys[fmt.Sprintf("%c.yaml", 'a'+i)] = &fstest.MapFile{Data: []byte(f)}
	}
	b, err := Load(fsys)
	if err != nil {
		tb.Fatalf("load:\n%v", err)
	}
	return b
}

// tried loads the demo with a rule and judges a history by it. It returns the
// procedure, the history, and for each finding of the rule the number of the
// step with the due date, if there is one.
func tried(tb testing.TB, shape, history string) (*Procedure, *History, []string) {
	tb.Helper()
	p, _ := load(tb, withRule(shape, history)).Procedure("demo")
	h := p.NewHistory("C-1", "A-1")
	var found []string
	for i, s := range p.Rules[0].Examples[0].Steps {
		for _, f := range p.Judge(h, s, Known{}) {
			if f.Rule == "T-001" {
				at := fmt.Sprint(i + 1)
				if f.Failed {
					at += " failed"
				}
				if !f.Due.IsZero() {
					at += " due " + f.Due.String()
				}
				found = append(found, at)
			}
		}
		h = h.Append(s)
	}
	return p, h, found
}
