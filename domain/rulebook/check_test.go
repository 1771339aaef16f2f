package rulebook

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

const checked = `
codes:
  kind: {"11": {zh: 警告, en: Warning}, "21": {zh: 罚款, en: Fine}}
types:
  penalty: {kind: {type: code, of: kind, required: true, name: {zh: 种类, en: Kind}}, amount: {type: money, min: 1}}
procedure: checked
edition: 2021-07-15
name: {zh: 校验, en: Checked}
acts:
  all:
    name: {zh: 全部字段, en: All fields}
    opens: true
    fields:
      text: {type: text, required: true, name: {zh: 正文, en: Text}, help: {zh: 写明事实, en: State the facts}}
      date: {type: date}
      time: {type: time}
      integer: {type: integer, min: 1, max: 9}
      number: {type: number}
      boolean: {type: boolean}
      money: {type: money}
      code: {type: code, of: kind}
      limit: {type: limit}
      person: {type: person}
      uscc: {type: uscc}
      id_number: {type: id-number}
      event: {type: event}
      penalty: {type: penalty}
      penalties: {type: penalty, many: true}
      reason: {type: text, required_if: "act.money > 1000 || act.penalties.exists(p, p.kind == '21')", name: {zh: 理由, en: Reason}}
`

func fields(t *testing.T, text string) map[string]json.RawMessage {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestCheck(t *testing.T) {
	p, _ := load(t, checked).Procedure("checked")
	for _, tt := range []struct {
		in   string
		want map[string]any
	}{
		{`{"text": "  事实 "}`, map[string]any{"text": "事实"}},
		{`{"text": "x", "date": null, "person": "", "penalties": []}`, map[string]any{"text": "x"}},
		{`{"text": "x", "date": "2022-09-28", "time": "2022-09-28T01:30:00Z", "limit": "7个工作日"}`,
			map[string]any{"text": "x", "date": "2022-09-28", "time": "2022-09-28T09:30:00+08:00", "limit": "7 working days"}},
		{`{"text": "x", "time": "2022-09-28 09:30"}`, map[string]any{"text": "x", "time": "2022-09-28T09:30:00+08:00"}},
		{`{"text": "x", "integer": 9, "number": 3, "boolean": false, "money": 9007199254740993, "code": "21", "reason": "r"}`,
			map[string]any{"text": "x", "integer": int64(9), "number": 3.0, "boolean": false, "money": int64(9007199254740993), "code": "21", "reason": "r"}},
		{`{"text": "x", "uscc": "91350100m000100y43", "id_number": "11010519491231002x", "person": "Li", "event": "e-1"}`,
			map[string]any{"text": "x", "uscc": "91350100M000100Y43", "id_number": "11010519491231002X", "person": "Li", "event": "e-1"}},
		{`{"text": "x", "penalty": {"kind": "11"}, "penalties": [{"kind": "11"}, {"kind": "11", "amount": 5}]}`,
			map[string]any{"text": "x", "penalty": map[string]any{"kind": "11"}, "penalties": []any{map[string]any{"kind": "11"}, map[string]any{"kind": "11", "amount": int64(5)}}}},
	} {
		got, problems := p.Check("all", fields(t, tt.in))
		if len(problems) > 0 || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s\ngot  %#v %v\nwant %#v", tt.in, got, problems, tt.want)
		}
	}
}

func TestCheckProblems(t *testing.T) {
	p, _ := load(t, checked).Procedure("checked")
	for _, tt := range []struct{ act, in, want string }{
		{"none", `{}`, "act"},
		{"all", `{}`, "fields.text"},
		{"all", `{"text": "  "}`, "fields.text"},
		{"all", `{"text": "x", "other": 1}`, "fields.other"},
		{"all", `{"text": 5, "date": "28.9.2022", "time": "noon"}`, "fields.date fields.text fields.time"},
		{"all", `{"text": "x", "integer": 10}`, "fields.integer"},
		{"all", `{"text": "x", "integer": 0}`, "fields.integer"},
		{"all", `{"text": "x", "integer": 1.5, "money": "12", "number": "n", "boolean": 1}`, "fields.boolean fields.integer fields.money fields.number"},
		{"all", `{"text": "x", "money": 1e3}`, "fields.money"},
		{"all", `{"text": "x", "money": 99999999999999999999}`, "fields.money"},
		{"all", `{"text": "x", "code": "99", "limit": "soon", "uscc": "123", "id_number": "!"}`, "fields.code fields.id_number fields.limit fields.uscc"},
		{"all", `{"text": "x", "penalty": {"amount": 0, "size": 1}}`, "fields.penalty.amount fields.penalty.size fields.penalty.kind"},
		{"all", `{"text": "x", "penalty": "fine", "penalties": {"kind": "11"}}`, "fields.penalties fields.penalty"},
		{"all", `{"text": "x", "penalties": [{"kind": "11"}, {"amount": 5}, null]}`, "fields.penalties[1].kind fields.penalties[2]"},
		{"all", `{"text": "x", "money": 1001}`, "fields.reason"},
		{"all", `{"text": "x", "penalties": [{"kind": "21"}]}`, "fields.reason"},
	} {
		got, problems := p.Check(tt.act, fields(t, tt.in))
		var paths []string
		for _, pr := range problems {
			paths = append(paths, pr.Field)
			if pr.Detail.ZH == "" || pr.Detail.EN == "" || strings.Contains(pr.Detail.ZH+pr.Detail.EN, "%!") {
				t.Errorf("%s: %+v", tt.in, pr)
			}
		}
		if s := strings.Join(paths, " "); s != tt.want || got != nil {
			t.Errorf("%s\ngot  %s %v\nwant %s", tt.in, s, got, tt.want)
		}
	}
}

func TestOpenProcedure(t *testing.T) {
	b := load(t, `procedure: any-log
edition: 2000-01-01
name: {zh: 导入, en: Imported}
open: true
`, `rules:
  T-001: {procedures: all, says: {zh: 不得来自未来, en: Not from the future}, basis: b, severity: minor, on: any, require: act.at <= act.recorded, examples: [{holds: {Whatever we call it: 2025-01-01}}, {broken: {X: {at: 2025-01-02, recorded: 2025-01-01, colour: red}}}]}
`)
	p, _ := b.Procedure("any-log")
	a, ok := p.Act("T02 Check confirmation (临时)")
	if !ok || a.Title.ZH != "T02 Check confirmation (临时)" || !a.Opens || a.Effect {
		t.Errorf("the act is %+v", a)
	}
	got, problems := p.Check("Anything", fields(t, `{"a": 1, "b": 1.5, "c": "x", "d": [true, 2], "e": {"f": null, "g": 3}, "h": null}`))
	want := map[string]any{"a": int64(1), "b": 1.5, "c": "x", "d": []any{true, int64(2)}, "e": map[string]any{"f": nil, "g": int64(3)}}
	if len(problems) > 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v %v", got, problems)
	}
	h := p.NewHistory("C", "A").Append(Step{Event: "1", Act: "A", At: on(1), Recorded: on(1)})
	if fs := p.Judge(h, Step{Event: "2", Act: "B", At: on(2), Recorded: on(1), Role: "x"}, Known{}); len(fs) != 1 || fs[0].Rule != "T-001" {
		t.Errorf("found %+v", fs)
	}
	for _, r := range RunExamples(b) {
		if !r.OK {
			t.Errorf("example %d: %s", r.Number, r.Why)
		}
	}
}

func TestSchema(t *testing.T) {
	p, _ := load(t, checked).Procedure("checked")
	a, _ := p.Act("all")
	s := a.Schema("en")
	props := s["properties"].(map[string]any)
	if len(props) != len(a.Fields) || s["additionalProperties"] != false || !reflect.DeepEqual(s["required"], []string{"text"}) {
		t.Errorf("%v", s)
	}
	if d := props["reason"].(map[string]any)["description"].(string); !strings.HasPrefix(d, "Required if act.money > 1000") {
		t.Errorf("description %q", d)
	}
	items := props["penalties"].(map[string]any)["items"].(map[string]any)
	if items["type"] != "object" || !reflect.DeepEqual(items["required"], []string{"kind"}) {
		t.Errorf("items %v", items)
	}
	if _, err := json.Marshal(s); err != nil {
		t.Error(err)
	}
	text, err := json.Marshal(a)
	if err != nil || !strings.Contains(string(text), `"name":"penalties","type":"penalty","record":[{"name":"kind"`) {
		t.Errorf("the act as JSON: %s %v", text, err)
	}
}
