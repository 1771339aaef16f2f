package rulebook

import (
	"crypto/sha256"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"liuhen/domain/calendar"
)

// visits is a register with a procedure that enters into it and rules that
// look at it.
const visits = `
registers:
  visits: {name: {zh: 检查登记, en: Visits}, says: {source: {zh: 来源, en: Source}}}
procedure: visit
edition: 2021-07-15
name: {zh: 检查, en: Visit}
acts:
  approve: {name: {zh: 审批, en: Approve}, opens: true, fields: {firm: {type: text}, names: {type: text, many: true}, source: {type: text}, planned: {type: date}, no: {type: text}}}
  cancel: {name: {zh: 取消, en: Cancel}, fields: {on: {type: date}, no: {type: text}}}
  enter: {name: {zh: 进入, en: Enter}}
enters:
  - register: visits
    on: enter
    with: {approval: last approve}
    when: approval.source != 'complaint'
    key: "[normal(approval.firm)] + approval.names"
    from: act.day
    says: {source: approval.source}
  - register: visits
    on: approve
    when: has(act.planned)
    key: "'planned ' + act.firm"
    from: act.planned
    until: due(act.planned, '2 days')
    ended_by: [{act: cancel, on: on, match: {no: no}}]
rules:
  T-001:
    says: {zh: 一年一次, en: once a year}
    basis: 试验法 第一条
    severity: minor
    on: approve
    with: {before: {register: visits, key: "[normal(act.firm)] + act.names"}}
    detail: {zh: "已有 {string(size(before))} 次", en: "{string(size(before))} visits"}
    require: before.filter(v, v.case != case.id && v.from <= act.day && v.source != 'joint').size() < 1
    examples:
      - {holds: {approve: {at: 2025-03-03, firm: A}}}
      - {holds: {approve: {at: 2025-03-03, firm: A}}, registers: {visits: {a: [{from: 2025-01-06, source: joint}], b: [{from: 2025-01-07}]}}}
      - {broken: {approve: {at: 2025-03-03, firm: A}}, registers: {visits: {a: [{from: 2025-01-06, source: plan}]}}}
`

func TestEntries(t *testing.T) {
	b := load(t, visits)
	for _, r := range RunExamples(b) {
		if !r.OK {
			t.Errorf("example at %s: %s", r.Source, r.Why)
		}
	}
	p, _ := b.Procedure("visit")
	type fields = map[string]any
	step := func(event, act string, d int, f fields) Step {
		return Step{Event: event, Act: act, At: on(d), Recorded: on(d), Fields: f}
	}
	for _, tt := range []struct {
		name  string
		steps []Step
		want  string
	}{
		{"nothing entered yet", []Step{step("1", "approve", 1, fields{"firm": "Ａ 厂"})}, ""},
		{"under each key", []Step{step("1", "approve", 1, fields{"firm": "Ａ 厂", "names": []any{"甲", "甲", ""}, "source": "plan"}), step("2", "enter", 2, nil)},
			"visits a厂 2025-03-02.. by 2 plan; visits 甲 2025-03-02.. by 2 plan"},
		{"not when", []Step{step("1", "approve", 1, fields{"firm": "A", "source": "complaint"}), step("2", "enter", 2, nil)}, ""},
		{"without the act it needs", []Step{step("2", "enter", 2, nil)}, ""},
		{"by the act before it, not after", []Step{step("1", "approve", 1, fields{"firm": "A"}), step("2", "enter", 2, nil), step("3", "approve", 3, fields{"firm": "B"})},
			"visits a 2025-03-02.. by 2 "},
		{"corrected", []Step{
			step("1", "approve", 1, fields{"firm": "A"}), step("2", "enter", 2, nil),
			{Event: "3", Act: "approve", At: on(1), Recorded: on(3), Fields: fields{"firm": "C"}, Corrects: "1"},
		}, "visits c 2025-03-02.. by 2 "},
		{"days of its own", []Step{step("1", "approve", 1, fields{"firm": "A", "planned": "2025-03-10", "no": "7"})},
			"visits planned A 2025-03-10..2025-03-12 by 1 "},
		{"ended", []Step{
			step("1", "approve", 1, fields{"firm": "A", "planned": "2025-03-10", "no": "7"}), step("2", "cancel", 9, fields{"on": "2025-03-11", "no": "7"}),
		}, "visits planned A 2025-03-10..2025-03-11 by 1 "},
		{"another is ended", []Step{
			step("1", "approve", 1, fields{"firm": "A", "planned": "2025-03-10", "no": "7"}), step("2", "cancel", 9, fields{"on": "2025-03-11", "no": "8"}),
		}, "visits planned A 2025-03-10..2025-03-12 by 1 "},
		{"ended before it began", []Step{
			step("1", "approve", 1, fields{"firm": "A", "planned": "2025-03-10", "no": "7"}), step("2", "cancel", 2, fields{"no": "7"}),
		}, "visits planned A 2025-03-10..2025-03-12 by 1 "},
		{"a long key", []Step{step("1", "approve", 1, fields{"firm": strings.Repeat("长", 100)}), step("2", "enter", 2, nil)},
			fmt.Sprintf("visits sha256:%x 2025-03-02.. by 2 ", sha256.Sum256([]byte(strings.Repeat("长", 100))))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := p.NewHistory("C", "A")
			for _, s := range tt.steps {
				h = h.Append(s)
			}
			var got []string
			for _, e := range p.Entries(h) {
				until := ""
				if !e.Until.IsZero() {
					until = e.Until.String()
				}
				got = append(got, fmt.Sprintf("%s %s %s..%s by %s %s", e.Register, e.Key, e.From, until, e.Event, e.Says["source"]))
			}
			all := strings.Join(got, "; ")
			var stands []Entry // by the changes
			p.EachEntryChange(h, func(_ int, gone, known []Entry) {
				for _, e := range gone {
					i := slices.IndexFunc(stands, e.Equal)
					if i < 0 {
						t.Fatalf("%+v goes and was not there", e)
					}
					stands = slices.Delete(stands, i, i+1)
				}
				stands = append(stands, known...)
			})
			slices.SortFunc(stands, Entry.Compare)
			if whole := p.Entries(h); !slices.EqualFunc(stands, whole, Entry.Equal) {
				t.Errorf("by its changes the case has %+v, at once %+v", stands, whole)
			}
			if all != tt.want {
				t.Errorf("entries %q\nwant    %q", all, tt.want)
			}
		})
	}
}

// TestLookups asks what the rule needs, and judges with and without the answer.
func TestLookups(t *testing.T) {
	p, _ := load(t, visits).Procedure("visit")
	h := p.NewHistory("C", "A")
	next := Step{Event: "9", Act: "approve", At: on(5), Recorded: on(5), Fields: map[string]any{"firm": "A", "names": []any{"甲", "a"}}}
	asked := p.Lookups(h, next, Known{})
	if want := []Lookup{{"visits", "a"}, {"visits", "甲"}}; !reflect.DeepEqual(asked, want) {
		t.Fatalf("asked %v, want %v", asked, want)
	}
	if got := p.Lookups(h, Step{Event: "9", Act: "enter", At: on(5)}, Known{}); got != nil {
		t.Errorf("an act whose rules look at no register asks %v", got)
	}
	found := p.Judge(h, next, Known{})
	if len(found) != 1 || !found[0].Failed || found[0].Verdict != Flag {
		t.Errorf("without an answer: %+v, want one finding that says so", found)
	}
	entry := Entry{Register: "visits", From: calendar.MakeDate(2025, 1, 6), Case: "B", Event: "e1", Says: map[string]string{"source": "plan"}}
	twice := Facts{{"visits", "a"}: {entry}, {"visits", "甲"}: {entry}} // one entry under two keys
	if got := p.Lookups(h, next, Known{Facts: twice}); len(got) > 0 {
		t.Errorf("answered, it still asks %v", got)
	}
	found = p.Judge(h, next, Known{Facts: twice})
	if len(found) != 1 || found[0].Failed || !slices.Equal(found[0].Looked, []string{"e1"}) || !slices.Equal(found[0].Registers, []string{"visits"}) ||
		!strings.Contains(found[0].Detail.EN, "1 visits") {
		t.Errorf("with the answer: %+v, want the entry e1 named once", found)
	}
	none := Facts{{"visits", "a"}: nil, {"visits", "甲"}: nil}
	if found = p.Judge(h, next, Known{Facts: none}); len(found) > 0 {
		t.Errorf("with an empty register: %+v", found)
	}
}

// TestEntriesOfOneEvent sees all that one act entered under a key.
func TestEntriesOfOneEvent(t *testing.T) {
	p, _ := load(t, visits).Procedure("visit")
	next := Step{Event: "9", Act: "approve", At: on(5), Recorded: on(5), Fields: map[string]any{"firm": "A"}}
	joint := Entry{Register: "visits", Key: "a", From: calendar.MakeDate(2025, 1, 6), Case: "B", Event: "e1", Says: map[string]string{"source": "joint"}}
	plan := joint
	plan.Says = map[string]string{"source": "plan"}
	found := p.Judge(p.NewHistory("C", "A"), next, Known{Facts: Facts{{"visits", "a"}: {joint, plan}}})
	if len(found) != 1 || !strings.Contains(found[0].Detail.EN, "2 visits") {
		t.Errorf("found %+v, want both entries seen and the second found", found)
	}
}

// TestAsksInTurn asks what depends on an answer, and tells all that was asked.
func TestAsksInTurn(t *testing.T) {
	text := strings.Replace(visits, `with: {before: {register: visits, key: "[normal(act.firm)] + act.names"}}`,
		`with: {first: {register: visits, key: act.firm}, before: {register: visits, key: "first.map(e, e.case)"}}`, 1)
	if text == visits {
		t.Fatal("the rule is not in the text")
	}
	text = strings.NewReplacer("{a: [{from: 2025-01-06, source: plan}]}", "{A: [{from: 2025-01-06, case: X}], X: [{from: 2025-01-06, source: plan}]}",
		"- {holds: {approve: {at: 2025-03-03, firm: A}}, registers: {visits: {a: [{from: 2025-01-06, source: joint}], b: [{from: 2025-01-07}]}}}\n      ", "").Replace(text)
	b := load(t, text)
	for _, r := range RunExamples(b) {
		if !r.OK {
			t.Errorf("example at %s: %s", r.Source, r.Why)
		}
	}
	p, _ := b.Procedure("visit")
	h := p.NewHistory("C", "A")
	next := Step{Event: "9", Act: "approve", At: on(5), Recorded: on(5), Fields: map[string]any{"firm": "A"}}
	facts := Facts{{"visits", "A"}: {{Register: "visits", Key: "A", Case: "X", Event: "e1"}}}
	asked, missing := p.Asks(h, next, Known{Facts: facts})
	if want := []Lookup{{"visits", "A"}, {"visits", "X"}}; !reflect.DeepEqual(asked, want) || !reflect.DeepEqual(missing, want[1:]) {
		t.Errorf("asked %v, missing %v; want %v and the second of them", asked, missing, want)
	}
}

// TestEnteringFails says so where no entry can be made.
func TestEnteringFails(t *testing.T) {
	p, _ := load(t, strings.Replace(visits, "from: act.planned", "from: act.no", 1)).Procedure("visit")
	next := Step{Event: "1", Act: "approve", At: on(5), Recorded: on(5), Fields: map[string]any{"firm": "A", "no": "not a day", "planned": "2025-03-10"}}
	h := p.NewHistory("C", "A")
	found := p.Judge(h, next, Known{Facts: Facts{{"visits", "a"}: nil}})
	if len(found) != 1 || found[0].Rule != RuleRegisters || !found[0].Failed {
		t.Errorf("found %+v, want that it could not be entered", found)
	}
	if e := p.Entries(h.Append(next)); len(e) > 0 {
		t.Errorf("entries %+v", e)
	}
}

func TestRegisterErrors(t *testing.T) {
	for _, tt := range []struct{ name, from, to, want string }{
		{"no such register", "  - register: visits\n    on: enter", "  - register: visit\n    on: enter", `there is no register "visit" (did you mean "visits"?)`},
		{"no such act", "on: enter", "on: entre", `there is no act "entre"`},
		{"a key that is no text", "key: \"'planned ' + act.firm\"", "key: size(act.firm)", "expected a text or a list of texts, this one is a int"},
		{"no key", "    key: \"'planned ' + act.firm\"\n", "", "expected key:"},
		{"a text that is not declared", "says: {source: approval.source}", "says: {sorce: approval.source}", `register visits has no "sorce"; its entries say source`},
		{"a rule asks for an unknown register", "{register: visits, key: \"[normal", "{register: vists, key: \"[normal", "with one of the registers visits"},
		{"a field that entries do not have", "v.source != 'joint'", "v.sauce != 'joint'", `"sauce"`},
		{"resting on another register", "with: {approval: last approve}", "with: {approval: last approve, x: {register: visits, key: act.day}}", "cannot rest on another register"},
		{"resting on what changes", "when: has(act.planned)", "when: has(act.planned) && case.stage == ''", "expected to rest on the act"},
		{"a name that is taken", "says: {source: {zh: 来源, en: Source}}", "says: {from: {zh: 来源, en: Source}}", "expected another name"},
		{"declared twice", "registers:\n", "registers:\n  visits: {name: {zh: 甲}}\n", "visits"},
		{"without a name", "{name: {zh: 检查登记, en: Visits}, says", "{says", "expected name"},
		{"an example with an unknown register", "registers: {visits: {a: [{from: 2025-01-06, source: plan}]}}", "registers: {visit: {A: [{from: 2025-01-06}]}}", `there is no register "visit"`},
		{"an example without a day", "{a: [{from: 2025-01-06, source: plan}]}", "{A: [{source: plan}]}", "expected from: a day"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(visits, tt.from, tt.to, 1)
			if text == visits {
				t.Fatalf("%q is not in the text", tt.from)
			}
			_, err := Load(fstest.MapFS{"a.yaml": {Data: []byte(text)}})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("load: %v\nwant %s", err, tt.want)
			}
		})
	}
}
