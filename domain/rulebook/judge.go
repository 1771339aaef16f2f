package rulebook

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"liuhen/domain/calendar"
)

// A use is a rule as it is judged on one act: the same rule may look at an act
// from several sides, for instance as the start of a limit and as its end.
type use struct {
	rule *Rule
	kind useKind
}

type useKind uint8

const (
	useRequire     useKind = iota
	useClock               // the act ends a limit
	useClockStart          // the act starts a limit whose end is already recorded
	useAhead               // the act must have been announced
	useAheadNotice         // the act announces another
	useOrder               // the act needs an earlier one
	useOrderBack           // the act should have come before one that is already recorded
	useCount
)

// Judge holds an act against every rule that concerns it, as the case stands
// in h: nothing of next has been appended yet. It returns what is broken,
// gravest first, or nil. Judge decides nothing: whether an act is refused for
// a finding is for the caller.
//
// A rule that cannot be evaluated (a bug in its expression) gives a finding
// that says so, never silence. Judge looks at no clock: what is late is told
// from the times in the steps.
//
// known.Facts are the answers to what Lookups asks for. A rule that needs one
// which is not there gives a finding that says so.
func (p *Procedure) Judge(h *History, next Step, known Known) []Finding {
	j := p.begin(h, &next, p.params, known)
	j.builtIn(nil)
	j.registered()
	for _, u := range j.uses() {
		j.apply(u)
	}
	return j.end()
}

// uses are the rules that concern the act.
func (j *judging) uses() []*use {
	if j.index >= 0 {
		return j.p.judged[j.index]
	}
	return j.p.anyAct
}

// judging is the state of one act being judged. It is the activation that
// expressions are evaluated in, and is used again for the next act.
type judging struct {
	p      *Procedure
	h      *History
	next   *Step
	index  int32 // of next's act, -1 if it is not listed
	act    *Act  // nil if it is not listed
	on     calendar.Date
	limit  int          // rules see the live steps before this one
	place  int          // in live of what next corrects, -1 for none
	params *paramValues // with what was frozen into the act
	base   *paramValues // without
	known  Known
	cal    *calendarValue // of known, or the book's own

	self, start stepValue
	whole       caseValue
	bound       []boundName
	values      []*stepValue // of steps that were bound, a few
	looked      []string
	findings    []Finding
	asked       []Lookup // of known.Facts
	missing     []Lookup // of them what is not there
}

type boundName struct {
	name string
	val  ref.Val
}

var pool = sync.Pool{New: func() any {
	j := new(judging)
	j.whole = caseValue{object{caseType}, j}
	return j
}}

var anyAct = newActAttributes()

func newActAttributes() *objectType {
	t := newObjectType("Act")
	t.attributes()
	return t
}

func (p *Procedure) begin(h *History, next *Step, params *paramValues, known Known) *judging {
	if h.procedure != p {
		h = h.Under(p)
	}
	j := pool.Get().(*judging)
	j.p, j.h, j.next, j.params, j.known = p, h, next, params.under(next), known
	j.base, j.cal = params, p.cal
	if c := known.Calendar; c != nil && c != p.cal.Calendar {
		j.cal = newCalendarValue(c)
	}
	j.index, j.act = p.actIndex(next.Act), nil
	if j.index >= 0 {
		j.act = p.Acts[j.index]
	}
	j.on = calendar.DateOf(next.At)
	j.limit, j.place = len(h.live.items), -1
	if next.Corrects != "" {
		if i := h.find(next.Corrects); i >= 0 {
			j.limit, j.place = i, i
		}
	}
	j.self = stepValue{object: object{anyAct}, step: next, act: j.act}
	return j
}

// end hands out the findings and gives the state back.
func (j *judging) end() []Finding {
	out := j.findings
	slices.SortStableFunc(out, func(a, b Finding) int {
		return cmp.Or(a.Severity.rank()-b.Severity.rank(), strings.Compare(a.Rule, b.Rule))
	})
	clear(j.bound[:cap(j.bound)])
	clear(j.values[:cap(j.values)])
	clear(j.looked[:cap(j.looked)])
	*j = judging{whole: j.whole, bound: j.bound[:0], values: j.values[:0], looked: j.looked[:0]}
	pool.Put(j)
	return out
}

func (s Severity) rank() int {
	return slices.Index([]Severity{Invalid, Veto, Major, Minor, Notice}, s)
}

// apply judges one rule.
func (j *judging) apply(u *use) {
	r := u.rule
	if !r.inForce(j.on) {
		return
	}
	j.bound, j.looked = j.bound[:0], j.looked[:0]
	switch u.kind {
	case useRequire:
		j.require(r)
	case useClock:
		j.clockEnds(r)
	case useClockStart:
		j.clockStarts(r)
	case useAhead:
		j.announced(r)
	case useAheadNotice:
		j.announces(r)
	case useOrder:
		j.ordered(r)
	case useOrderBack:
		j.orderedBack(r)
	case useCount:
		j.counted(r)
	}
}

// require judges a condition.
func (j *judging) require(r *Rule) {
	q := r.require
	if !j.bind(r, q.binds) {
		return
	}
	if !j.when(r, q.when) {
		return
	}
	if ok, sound := j.test(r, q.must); !sound || ok {
		return
	}
	detail := Text{
		ZH: fmt.Sprintf("%s的「%s」不符合：%s", j.on, j.title().ZH, r.Says.ZH),
		EN: fmt.Sprintf("%s on %s does not meet the rule: %s", quoted(j.title()), j.on, r.Says.In("en")),
	}
	if seen := j.seen("zh"); seen != "" {
		detail.ZH += "（所看：" + seen + "）"
		detail.EN += " (looked at: " + j.seen("en") + ")"
	}
	j.found(r, detail, calendar.Date{})
}

// when reports whether a rule applies; without a condition it does.
func (j *judging) when(r *Rule, e *expression) bool {
	if e == nil {
		return true
	}
	yes, _ := j.test(r, e)
	return yes
}

// test evaluates a condition. If that fails it leaves a finding that says so
// and returns sound = false.
func (j *judging) test(r *Rule, e *expression) (yes, sound bool) {
	v, _, err := e.program.Eval(j)
	if err == nil {
		b, ok := v.(types.Bool)
		if ok {
			return bool(b), true
		}
		err = fmt.Errorf("it gives %v, neither true nor false", v)
	}
	j.broken(r, e, err)
	return false, false
}

// broken is the finding of a rule that could not be judged.
func (j *judging) broken(r *Rule, e *expression, err error) {
	f := j.finding(r)
	f.Verdict, f.Demands, f.Failed = Flag, "", true
	f.Detail = Text{
		ZH: fmt.Sprintf("规则无法判断：表达式 %s 出错：%v", clip(e.text), err),
		EN: fmt.Sprintf("the rule could not be judged: the expression %s failed: %v", clip(e.text), err),
	}
	j.findings = append(j.findings, f)
}

// found adds a finding. A detail of the rule's own comes before the engine's.
func (j *judging) found(r *Rule, detail Text, due calendar.Date) {
	f := j.finding(r)
	f.Detail, f.Due = detail, due
	if t := r.detail; t != nil {
		zh, err := j.fill(t.zh)
		en, err2 := j.fill(t.en)
		if err == nil && err2 == nil {
			f.Detail = Text{ZH: zh + "。" + detail.ZH, EN: en + ". " + detail.EN}
		}
	}
	j.findings = append(j.findings, f)
}

func (j *judging) finding(r *Rule) Finding {
	f := Finding{
		Rule: r.ID, Edition: j.p.Edition, Severity: r.Severity, Verdict: r.Verdict,
		Says: r.Says, Basis: r.Basis, Cure: r.Cure, Assumed: r.Unconfirmed, Demands: r.Demands,
	}
	f.Registers = r.Registers
	if len(j.looked) > 0 {
		f.Looked = slices.Clone(j.looked)
	}
	return f
}

func (j *judging) fill(parts []templatePart) (string, error) {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.text)
		if p.expr != nil {
			v, _, err := p.expr.program.Eval(j)
			if err != nil {
				return "", err
			}
			s, ok := v.ConvertToType(types.StringType).(types.String)
			if !ok {
				return "", fmt.Errorf("%v has no text", v)
			}
			b.WriteString(string(s))
		}
	}
	return b.String(), nil
}

// bind looks up what `with` names. It returns false where something that the
// rule needs has not been done: the rule then does not apply.
func (j *judging) bind(r *Rule, binds []binding) bool {
	complete := true
	for i := range binds {
		b := &binds[i]
		if b.lookup != nil {
			complete = j.look(r, b) && complete // go on: all that is missing is asked for at once
			continue
		}
		if b.all {
			var vals []ref.Val
			for i, e := range j.past() {
				if b.acts.has(e.act) {
					vals = append(vals, j.value(int32(i)))
				}
			}
			list := noList
			if len(vals) > 0 {
				list = types.NewRefValList(listAdapter, vals)
			}
			j.bound = append(j.bound, boundName{b.name, list})
			continue
		}
		at := j.lastOf(&b.acts)
		if b.first {
			at = j.firstOf(&b.acts)
		}
		switch {
		case at >= 0:
			j.bound = append(j.bound, boundName{b.name, j.value(at)})
		case b.optional:
			j.bound = append(j.bound, boundName{b.name, nothing})
		default:
			return false
		}
		if b.optional {
			j.bound = append(j.bound, boundName{"has_" + b.name, types.Bool(at >= 0)})
		}
	}
	return complete
}

// nothing is what an optional binding is bound to that found no act.
var nothing = &stepValue{object: object{anyAct}}

// value is a live step as expressions see it, and notes that it was looked at.
// Several rules look at the same steps, so it is made once.
func (j *judging) value(i int32) ref.Val {
	s := j.h.at(i)
	j.looked = append(j.looked, s.Event)
	for _, v := range j.values {
		if v.step == s {
			return v
		}
	}
	v := &stepValue{object: object{anyAct}, step: s}
	if act := j.h.live.items[i].act; act >= 0 {
		v.act = j.p.Acts[act]
	}
	if len(j.values) < 16 {
		j.values = append(j.values, v)
	}
	return v
}

// past ranges over the steps that rules may look at.
func (j *judging) past() func(func(int, *past) bool) {
	return func(yield func(int, *past) bool) {
		for i := 0; i < j.limit; i++ {
			if !yield(i, &j.h.live.items[i]) {
				return
			}
		}
	}
}

// lastOf is the place in live of the last visible step of some acts, -1 for none.
func (j *judging) lastOf(s *actSet) int32 {
	if len(s.names) == 1 && !s.every {
		for i := j.h.last[j.p.acts[s.names[0]]]; i >= 0; i = j.h.live.items[i].prev {
			if int(i) < j.limit {
				return i
			}
		}
		return -1
	}
	for i := j.limit - 1; i >= 0; i-- {
		if s.has(j.h.live.items[i].act) {
			return int32(i)
		}
	}
	return -1
}

func (j *judging) firstOf(s *actSet) int32 {
	for i := range j.limit {
		if s.has(j.h.live.items[i].act) {
			return int32(i)
		}
	}
	return -1
}

// countActs is case.count.
func (j *judging) countActs(name string) int {
	act, ok := j.p.acts[name]
	n := 0
	if !ok {
		if !j.p.Open {
			return 0
		}
		for i := range j.limit {
			if j.h.at(int32(i)).Act == name {
				n++
			}
		}
		return n
	}
	for i := j.h.last[act]; i >= 0; i = j.h.live.items[i].prev {
		if int(i) < j.limit {
			n++
		}
	}
	return n
}

// officersOf is case.officers: who acted in an act of that name, or in a stage.
// A step belongs to the stage in which the case was, if its act is done in
// that stage or in any; otherwise to the stages in which its act is done.
func (j *judging) officersOf(name string) []string {
	var ids []string
	act, isAct := j.p.acts[name]
	stage, isStage := j.p.stages[name]
	for i := range j.limit {
		e := &j.h.live.items[i]
		switch {
		case isAct && e.act == act:
		case isStage && j.belongs(e, stage):
		default:
			continue
		}
		for _, o := range j.h.Steps[e.step].Officers {
			if !slices.Contains(ids, o.ID) {
				ids = append(ids, o.ID)
			}
		}
	}
	return ids
}

func (j *judging) belongs(e *past, stage int32) bool {
	if e.act < 0 {
		return e.stage == stage
	}
	a := j.p.Acts[e.act]
	switch {
	case e.stage >= 0 && (len(a.From) == 0 || a.belongs[e.stage]):
		return e.stage == stage
	case len(a.From) == 0:
		return a.to == stage // it opened the case
	}
	return a.belongs[stage]
}

func (j *judging) opened() calendar.Date {
	if j.h.Opened.IsZero() {
		return j.on
	}
	return j.h.Opened
}

// ResolveName gives an expression its variables.
func (j *judging) ResolveName(name string) (any, bool) {
	switch name {
	case "act":
		return &j.self, true
	case "case":
		return &j.whole, true
	case "param":
		return j.params, true
	case "start":
		return &j.start, true
	case calendarVariable:
		return j.cal, true
	}
	for i := range j.bound {
		if j.bound[i].name == name {
			return j.bound[i].val, true
		}
	}
	return nil, false
}

// Parent is part of an activation: there is none above.
func (j *judging) Parent() cel.Activation { return nil }

func (j *judging) title() Text { return j.p.title(j.next.Act) }

// seen lists what was looked at, in words.
func (j *judging) seen(lang string) string {
	var parts []string
	for _, id := range j.looked {
		if len(parts) == 6 {
			parts = append(parts, "…")
			break
		}
		for i := range j.limit {
			if s := j.h.at(int32(i)); s.Event == id {
				parts = append(parts, j.p.title(s.Act).In(lang)+" "+j.h.live.items[i].on.String())
				break
			}
		}
	}
	if lang == "zh" {
		return strings.Join(parts, "，")
	}
	return strings.Join(parts, ", ")
}

func quoted(t Text) string { return "“" + t.In("en") + "”" }
