package rulebook

import (
	"fmt"
	"time"

	"cel.dev/cel-go/cel"
	"github.com/goccy/go-yaml/ast"

	"liuhen/domain/calendar"
)

// ahead is a notice that must be given so long before an act.
type ahead struct {
	act      actSet // the notice
	of       actSet // what it announces
	by       limitRef
	on       string // field of the notice with the day that counts
	ofOn     string // field of the announced act with the day that counts
	planned  string // field of the notice with the day that it announces
	optional bool   // the notice may be missing altogether
	when     *expression
	match    []pairing
	binds    []binding
}

func (r *ruleReader) readAhead(n ast.Node) {
	a := &ahead{}
	var by, on, ofOn, planned, when, match ast.Node
	seen := r.keys(n, "ahead", map[string]func(ast.Node){
		"act":      func(n ast.Node) { a.act = r.actNames(n, "ahead.act", false) },
		"of":       func(n ast.Node) { a.of = r.actNames(n, "ahead.of", false) },
		"by":       func(n ast.Node) { by = n },
		"on":       func(n ast.Node) { on = n },
		"of_on":    func(n ast.Node) { ofOn = n },
		"planned":  func(n ast.Node) { planned = n },
		"optional": r.boolean(&a.optional, "ahead.optional"),
		"when":     func(n ast.Node) { when = n },
		"match":    func(n ast.Node) { match = n },
	})
	for _, key := range []string{"act", "of", "by"} {
		if _, ok := seen[key]; !ok {
			r.fail(n, "ahead: expected %s:", key)
			r.absent = true
		}
	}
	r.on = a.of
	if r.absent {
		return
	}
	a.by = r.readLimit(by, "ahead.by", nil)
	if on != nil {
		a.on = r.fieldOf(on, a.act, "ahead.on", kindDate, kindTime)
	}
	if ofOn != nil {
		a.ofOn = r.fieldOf(ofOn, a.of, "ahead.of_on", kindDate, kindTime)
	}
	if planned != nil {
		a.planned = r.fieldOf(planned, a.act, "ahead.planned", kindDate, kindTime)
	}
	a.match = r.readMatch(match, "ahead.match", a.act, a.of)
	a.when = r.expression(when, "ahead.when", r.vars(a.of), cel.BoolType)
	a.binds = r.binds
	r.rule.ahead = a
}

func (a *ahead) limit(params *paramValues) calendar.Limit {
	if a.by.param >= 0 {
		return params.limits[a.by.param]
	}
	return a.by.literal
}

// announced judges the act that should have been announced: the last notice of
// it before is the one that counts.
func (j *judging) announced(r *Rule) {
	a := r.ahead
	if !j.bind(r, a.binds) || !j.when(r, a.when) {
		return
	}
	j.looked = j.looked[:0]
	day, moment := legal(j.next, j.on, a.ofOn)
	due := j.cal.Latest(day, a.limit(j.params))
	for i := j.limit - 1; i >= 0; i-- {
		e := &j.h.live.items[i]
		s := &j.h.Steps[e.step]
		if !a.act.has(e.act) || !paired(a.match, s, j.next) {
			continue
		}
		noticeDay, noticeTime := legal(s, e.on, a.on)
		if a.inTime(due, noticeDay, noticeTime, moment, j.params) {
			return
		}
		j.looked = append(j.looked, s.Event)
		j.found(r, j.aheadText(r, s.Act, noticeDay, day, due), due.On)
		return
	}
	if !a.optional {
		notice := j.p.title(a.act.names[0])
		j.found(r, Text{
			ZH: fmt.Sprintf("%s「%s」之前没有「%s」，最迟应于 %s（%s前）", day, j.title().ZH, notice.ZH, due.On, a.by.in("zh", j.params)),
			EN: fmt.Sprintf("%s on %s was not preceded by %s, which was due by %s (%s before)", quoted(j.title()), day, quoted(notice), due.On, a.by.in("en", j.params)),
		}, due.On)
	}
}

// announces judges a notice that says for when it announces.
func (j *judging) announces(r *Rule) {
	a := r.ahead
	j.self.step = j.next
	if a.when != nil && a.when.readsOf("act") {
		return // a condition on the announced act, which has not been done yet
	}
	if !j.bind(r, a.binds) || !j.when(r, a.when) {
		return
	}
	j.looked = j.looked[:0]
	if text, _ := j.next.Fields[a.planned].(string); text == "" {
		return
	}
	planned, moment := legal(j.next, j.on, a.planned)
	day, at := legal(j.next, j.on, a.on)
	due := j.cal.Latest(planned, a.limit(j.params))
	if !a.inTime(due, day, at, moment, j.params) {
		j.found(r, j.aheadText(r, j.next.Act, day, planned, due), due.On)
	}
}

func (a *ahead) inTime(due calendar.Due, day calendar.Date, at, event time.Time, params *paramValues) bool {
	if l := a.limit(params); l.Kind == calendar.Hours && !dayOnly(event) {
		return !later(at, event.Add(-time.Duration(l.N)*time.Hour))
	}
	return !day.After(due.On)
}

func (j *judging) aheadText(r *Rule, act string, day, of calendar.Date, due calendar.Due) Text {
	notice, event := j.p.title(act), j.p.title(r.ahead.of.names[0])
	late := day.Sub(due.On)
	t := Text{
		ZH: fmt.Sprintf("「%s」在 %s，「%s」最迟应于 %s（%s前），实际为 %s，迟 %d 日",
			event.ZH, of, notice.ZH, due.On, r.ahead.by.in("zh", j.params), day, late),
		EN: fmt.Sprintf("%s is on %s, so %s was due by %s (%s before); it is dated %s, %s late",
			quoted(event), of, quoted(notice), due.On, r.ahead.by.in("en", j.params), day, days(late)),
	}
	if due.Provisional {
		t.ZH += fmt.Sprintf("（%d 年放假安排未公布，日期暂定）", due.Unpublished)
		t.EN += fmt.Sprintf(" (provisional: the notice for %d is not published)", due.Unpublished)
	}
	return t
}

// order is an act that must come before another.
type order struct {
	first  actSet
	then   actSet
	when   *expression // over the later act as `act`
	unless *expression
	needed bool // the first must be there; else only the order counts
	match  []pairing
	binds  []binding
}

func (r *ruleReader) readBefore(n ast.Node) {
	o := &order{needed: true}
	var when, unless, match ast.Node
	seen := r.keys(n, "before", map[string]func(ast.Node){
		"first":  func(n ast.Node) { o.first = r.actNames(n, "before.first", false) },
		"then":   func(n ast.Node) { o.then = r.actNames(n, "before.then", true) },
		"when":   func(n ast.Node) { when = n },
		"unless": func(n ast.Node) { unless = n },
		"needed": r.boolean(&o.needed, "before.needed"),
		"match":  func(n ast.Node) { match = n },
	})
	for _, key := range []string{"first", "then"} {
		if _, ok := seen[key]; !ok {
			r.fail(n, "before: expected %s:", key)
			r.absent = true
		}
	}
	r.on = o.then
	if r.absent {
		return
	}
	o.match = r.readMatch(match, "before.match", o.then, o.first)
	vars := r.vars(o.then)
	o.when = r.expression(when, "before.when", vars, cel.BoolType)
	o.unless = r.expression(unless, "before.unless", vars, cel.BoolType)
	o.binds = r.binds
	r.rule.order = o
}

// ordered judges the later act.
func (j *judging) ordered(r *Rule) {
	o := r.order
	if !o.first.has(j.index) || o.then.has(j.index) {
		j.orderOf(r, j.next, j.limit)
	}
}

func (j *judging) orderOf(r *Rule, then *Step, limit int) {
	o := r.order
	var wrong *past
	for i := limit - 1; i >= 0; i-- {
		e := &j.h.live.items[i]
		if s := &j.h.Steps[e.step]; o.first.has(e.act) && paired(o.match, then, s) {
			if !later(s.At, then.At) {
				return
			}
			wrong = e
		}
	}
	if wrong == nil && !o.needed || !j.applies(r) {
		return
	}
	first, next := j.p.title(o.first.names[0]), j.p.title(then.Act)
	on := calendar.DateOf(then.At)
	if wrong == nil {
		j.looked = j.looked[:0]
		j.found(r, Text{
			ZH: fmt.Sprintf("%s「%s」之前没有「%s」", on, next.ZH, first.ZH),
			EN: fmt.Sprintf("%s on %s was not preceded by %s", quoted(next), on, quoted(first)),
		}, calendar.Date{})
		return
	}
	j.looked = append(j.looked[:0], j.h.Steps[wrong.step].Event)
	j.found(r, j.inverted(j.p.title(j.h.Steps[wrong.step].Act), j.h.Steps[wrong.step].At, next, then.At), calendar.Date{})
}

// applies evaluates when and unless over the later act, which is `act`.
func (j *judging) applies(r *Rule) bool {
	o := r.order
	if !j.bind(r, o.binds) || !j.when(r, o.when) {
		return false
	}
	if o.unless == nil {
		return true
	}
	unless, sound := j.test(r, o.unless)
	return sound && !unless
}

func (j *judging) inverted(first Text, at time.Time, then Text, thenAt time.Time) Text {
	form := "2006-01-02"
	if calendar.DateOf(at) == calendar.DateOf(thenAt) {
		form = "2006-01-02 15:04"
	}
	a, b := at.In(calendar.Shanghai).Format(form), thenAt.In(calendar.Shanghai).Format(form)
	return Text{
		ZH: fmt.Sprintf("程序倒置：「%s」在 %s，「%s」在 %s", then.ZH, b, first.ZH, a),
		EN: fmt.Sprintf("out of order: %s at %s, %s only at %s", quoted(then), b, quoted(first), a),
	}
}

// orderedBack judges an act that should have come before one that is already
// recorded. It breaks the rule where it was carried out after that one and no
// other like it was carried out in time.
func (j *judging) orderedBack(r *Rule) {
	o := r.order
	for i := 0; i < len(j.h.live.items); i++ {
		e := &j.h.live.items[i]
		then := &j.h.Steps[e.step]
		if i == j.place || !o.then.has(e.act) || !paired(o.match, then, j.next) || !later(j.next.At, then.At) {
			continue
		}
		if j.place < 0 && i >= j.limit || j.inTime(r, then, i) {
			continue
		}
		// The conditions are about the later act, in the case as it is now.
		self := j.self
		j.self = stepValue{object: object{anyAct}, step: then}
		if e.act >= 0 {
			j.self.act = j.p.Acts[e.act]
		}
		j.bound = j.bound[:0]
		applies := j.applies(r)
		j.self = self
		if !applies {
			continue
		}
		j.looked = append(j.looked[:0], then.Event)
		j.found(r, j.inverted(j.title(), j.next.At, j.p.title(then.Act), then.At), calendar.Date{})
		return
	}
}

// inTime reports whether another act that may come first was carried out
// before then, wherever it was recorded.
func (j *judging) inTime(r *Rule, then *Step, at int) bool {
	for i := range j.h.live.items {
		e := &j.h.live.items[i]
		s := &j.h.Steps[e.step]
		if i != j.place && i != at && r.order.first.has(e.act) && paired(r.order.match, then, s) && !later(s.At, then.At) {
			return true
		}
	}
	return false
}

// counting is a cap on how often an act is done in a case.
type counting struct {
	act    actSet
	atMost int
	when   *expression
	binds  []binding
}

func (r *ruleReader) readCount(n ast.Node) {
	c := &counting{}
	var when ast.Node
	var scope string
	var atMost int64
	seen := r.keys(n, "count", map[string]func(ast.Node){
		"act":     func(n ast.Node) { c.act = r.actNames(n, "count.act", false) },
		"at_most": r.integer(&atMost, "count.at_most"),
		"in":      oneOf(&r.reader, &scope, "count.in", "case"),
		"when":    func(n ast.Node) { when = n },
	})
	for _, key := range []string{"act", "at_most"} {
		if _, ok := seen[key]; !ok {
			r.fail(n, "count: expected %s:", key)
			r.absent = true
		}
	}
	if _, ok := seen["at_most"]; ok && (atMost < 0 || atMost > 1_000_000) {
		r.failAt(seen["at_most"], "count.at_most: expected a number from 0, found %d", atMost)
	}
	r.on = c.act
	if r.absent {
		return
	}
	c.atMost = int(atMost)
	c.when = r.expression(when, "count.when", r.vars(c.act), cel.BoolType)
	c.binds = r.binds
	r.rule.count = c
}

// counted judges a cap: only the acts that meet the condition count.
func (j *judging) counted(r *Rule) {
	c := r.count
	if !j.bind(r, c.binds) || !j.when(r, c.when) {
		return
	}
	j.looked = j.looked[:0]
	n := 1
	self := j.self
	for i := range j.limit {
		e := &j.h.live.items[i]
		if !c.act.has(e.act) {
			continue
		}
		if c.when != nil {
			j.self = stepValue{object: object{anyAct}, step: &j.h.Steps[e.step], act: j.p.Acts[e.act]}
			yes := j.when(r, c.when)
			j.self = self
			if !yes {
				continue
			}
		}
		n++
		j.looked = append(j.looked, j.h.Steps[e.step].Event)
	}
	if n > c.atMost {
		j.found(r, Text{
			ZH: fmt.Sprintf("「%s」是第 %d 次，最多 %d 次", j.title().ZH, n, c.atMost),
			EN: fmt.Sprintf("this is %s number %d, at most %d are allowed", quoted(j.title()), n, c.atMost),
		}, calendar.Date{})
	}
}
