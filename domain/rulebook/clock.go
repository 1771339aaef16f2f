package rulebook

import (
	"fmt"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"github.com/goccy/go-yaml/ast"

	"liuhen/domain/calendar"
)

// A clock is a `within`: a limit between an act that starts it and one that
// must follow in time.
type clock struct {
	rule   *Rule
	ends   actSet
	starts actSet
	lapses actSet // end the clock without fulfilling the duty
	limit  limitRef
	on     string // field of the ending act with the day that counts; "" for the act's own time
	from   string // likewise of the starting act
	pauses []pausing
	extend []extending
	match  []pairing
	when   *expression // over `start`
	each   bool        // every start has a clock of its own; else the last start counts
	rolls  bool
	warn   int // % of the limit after which the board shows yellow
}

type pausing struct{ from, to actSet }

type extending struct {
	act   actSet
	field string
}

// pairing says that a field of one act equals a field of another.
type pairing struct{ act, other string }

func (r *ruleReader) readWithin(n ast.Node) {
	c := &clock{rule: r.rule, rolls: true, warn: 70}
	none := actSet{in: make([]bool, len(r.p.Acts))}
	c.lapses = none
	if w := r.kept["with"]; w != nil {
		r.fail(w, "with: does not go with within; when: sees the starting act as start")
	}
	var limit, on, from, when, match, pauses, extended ast.Node
	warn := int64(c.warn)
	seen := r.keys(n, "within", map[string]func(ast.Node){
		"act":         func(n ast.Node) { c.ends = r.actNames(n, "within.act", false) },
		"after":       func(n ast.Node) { c.starts = r.actNames(n, "within.after", false) },
		"limit":       func(n ast.Node) { limit = n },
		"on":          func(n ast.Node) { on = n },
		"from":        func(n ast.Node) { from = n },
		"pauses":      func(n ast.Node) { pauses = n },
		"extended_by": func(n ast.Node) { extended = n },
		"ended_by": func(n ast.Node) {
			absent := r.absent
			c.lapses = r.actNames(n, "within.ended_by", false)
			r.absent = absent // a procedure without such an act has no such end
		},
		"rolls": r.boolean(&c.rolls, "within.rolls"),
		"each":  r.boolean(&c.each, "within.each"),
		"when":  func(n ast.Node) { when = n },
		"match": func(n ast.Node) { match = n },
		"warn":  r.integer(&warn, "within.warn"),
	})
	for _, key := range []string{"act", "after", "limit"} {
		if _, ok := seen[key]; !ok {
			r.fail(n, "within: expected %s:", key)
			r.absent = true
		}
	}
	if warn < 1 || warn > 100 {
		r.failAt(seen["warn"], "within.warn: expected 1 to 100 (%% of the limit), found %d", warn)
	}
	c.warn = int(warn)
	r.on = c.ends
	if r.absent {
		return
	}
	c.limit = r.readLimit(limit, "within.limit", &c.starts)
	if on != nil {
		c.on = r.fieldOf(on, c.ends, "within.on", kindDate, kindTime)
	}
	if from != nil {
		c.from = r.fieldOf(from, c.starts, "within.from", kindDate, kindTime)
	}
	c.match = r.readMatch(match, "within.match", c.ends, c.starts)
	for _, item := range r.items(pauses) {
		p := pausing{none, none}
		r.keys(item, "within.pauses", map[string]func(ast.Node){
			"from": func(n ast.Node) { p.from = r.optionalActs(n, "within.pauses.from") },
			"to":   func(n ast.Node) { p.to = r.optionalActs(n, "within.pauses.to") },
		})
		if len(p.from.names) > 0 {
			c.pauses = append(c.pauses, p)
		}
	}
	for _, item := range r.items(extended) {
		x := extending{act: none}
		var field ast.Node
		r.keys(item, "within.extended_by", map[string]func(ast.Node){
			"act":   func(n ast.Node) { x.act = r.optionalActs(n, "within.extended_by.act") },
			"field": func(n ast.Node) { field = n },
		})
		switch {
		case field == nil:
			r.fail(item, "within.extended_by: expected {act: …, field: the field with the longer limit}")
		case len(x.act.names) > 0:
			x.field = r.fieldOf(field, x.act, "within.extended_by.field", kindLimit)
			c.extend = append(c.extend, x)
		}
	}
	vars := map[string]*cel.Type{"start": r.compiler.actType(r.p, c.starts.types).cel}
	c.when = r.expression(when, "within.when", vars, cel.BoolType)
	r.rule.clock = c
}

// optionalActs reads acts that a procedure need not have.
func (r *ruleReader) optionalActs(n ast.Node, what string) actSet {
	absent := r.absent
	s := r.actNames(n, what, false)
	r.absent = absent
	return s
}

func (r *ruleReader) readMatch(n ast.Node, what string, acts, others actSet) []pairing {
	var out []pairing
	for _, e := range r.entries(n, what) {
		var pair pairing
		pair.act = r.fieldNamed(e.key, e.at, acts, what)
		pair.other = r.fieldOf(e.value, others, what+"."+e.key)
		r.canPair(e.value, what+"."+e.key, acts, pair.act, others, pair.other)
		out = append(out, pair)
	}
	return out
}

func (r *ruleReader) fieldNamed(name string, at pos, s actSet, what string) string {
	for _, act := range s.types {
		if a, _ := r.p.Act(act); a != nil {
			if _, ok := a.Field(name); !ok {
				r.failAt(at, "%s: act %s has no field %q; it has %s", what, act, name, list(keysOf(a.fields)))
			}
		}
	}
	return name
}

// paired reports whether two steps belong together.
func paired(pairs []pairing, act, other *Step) bool {
	for _, p := range pairs {
		if !meet(act.Fields[p.act], other.Fields[p.other]) {
			return false
		}
	}
	return true
}

// meet reports whether two recorded values are equal or, where one is a list,
// have a value in common.
func meet(a, b any) bool {
	if list, ok := a.([]any); ok {
		for _, x := range list {
			if meet(x, b) {
				return true
			}
		}
		return false
	}
	if _, ok := b.([]any); ok {
		return meet(b, a)
	}
	if i, ok := whole(a); ok {
		k, ok := whole(b)
		return ok && i == k
	}
	switch a.(type) {
	case string, bool, float64:
		return a == b
	}
	return false
}

// legal is the day and the moment that count for a step: those of a field where
// the rule names one and it is filled, else those of the act itself.
func legal(s *Step, on calendar.Date, field string) (calendar.Date, time.Time) {
	if field != "" {
		if text, ok := s.Fields[field].(string); ok && text != "" {
			if d, err := calendar.ParseDate(text); err == nil {
				return d, d.Start()
			}
			if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
				return calendar.DateOf(t), t
			}
		}
	}
	return on, s.At
}

// A run is one clock that has begun to run in a case.
type run struct {
	start    *Step
	startAt  int32 // in live; the length of live for an act that is being judged
	day      calendar.Date
	moment   time.Time
	limit    calendar.Limit
	end      *Step // nil while open
	endDay   calendar.Date
	endTime  time.Time
	lapsed   bool // ended without the duty being fulfilled
	due      calendar.Due
	extended int
}

func (r *run) late() bool {
	if r.end == nil {
		return false
	}
	if !r.due.At.IsZero() {
		return later(r.endTime, r.due.At)
	}
	return r.endDay.After(r.due.On)
}

// runs finds the clocks of a rule among the visible steps. Where next is given
// it counts as a step after them, in the place of what it corrects.
func (j *judging) runs(c *clock, withNext bool) []run {
	var out []run
	n := int32(len(j.h.live.items))
	for i := int32(0); i < n; i++ {
		s, e := j.step(i, withNext)
		if s == nil || !c.starts.has(e.act) {
			continue
		}
		if int(i) > j.place && j.place >= 0 && !withNext && e.on.After(j.on) {
			continue // it began after the act that is being corrected
		}
		if r, ok := j.started(c, s, e.on, i); ok {
			out = append(out, r)
		}
	}
	if withNext && j.place < 0 && c.starts.has(j.index) {
		if r, ok := j.started(c, j.next, j.on, n); ok {
			out = append(out, r)
		}
	}
	if !c.each && len(out) > 1 {
		out = out[len(out)-1:]
	}
	return out
}

// step is a live entry; the one that next corrects is next itself, or nothing
// where next does not take part.
func (j *judging) step(i int32, withNext bool) (*Step, past) {
	e := j.h.live.items[i]
	if int(i) == j.place {
		if !withNext {
			return nil, e
		}
		e.on = j.on
		return j.next, e
	}
	return &j.h.Steps[e.step], e
}

// started makes the clock that a step starts, if it starts one.
func (j *judging) started(c *clock, s *Step, on calendar.Date, at int32) (run, bool) {
	if !c.rule.holds(s) {
		return run{}, false
	}
	if c.when != nil {
		j.start = stepValue{object: object{anyAct}, step: s}
		if i := j.p.actIndex(s.Act); i >= 0 {
			j.start.act = j.p.Acts[i]
		}
		if v, _, err := c.when.program.Eval(j); err != nil {
			j.broken(c.rule, c.when, err)
			return run{}, false
		} else if v != types.True {
			return run{}, false
		}
	}
	r := run{start: s, startAt: at}
	r.day, r.moment = legal(s, on, c.from)
	switch {
	case c.limit.param >= 0:
		r.limit = j.base.under(s).limits[c.limit.param]
	case c.limit.named:
		text, _ := s.Fields[c.limit.field].(string)
		if d, err := calendar.ParseDate(text); err == nil && d.After(r.day) { // a day that is not after the start is no limit
			r.limit = calendar.Limit{N: d.Sub(r.day), Kind: calendar.Days}
		}
	case c.limit.field != "":
		text, _ := s.Fields[c.limit.field].(string)
		r.limit, _ = calendar.ParseLimit(text)
	default:
		r.limit = c.limit.literal
	}
	return r, !r.limit.IsZero()
}

// finish finds what ended a clock, and counts when it was due. until bounds the
// steps that are looked at, in live.
func (j *judging) finish(c *clock, r *run, until int32, withNext bool) {
	for i := int32(0); i < until && r.end == nil; i++ {
		if i == r.startAt {
			continue
		}
		s, e := j.step(i, withNext)
		if s != nil {
			j.ending(c, r, s, e.act, e.on, i)
		}
	}
	if withNext && j.place < 0 && r.end == nil && r.start != j.next {
		j.ending(c, r, j.next, j.index, j.on, int32(len(j.h.live.items)))
	}
	j.count(c, r, withNext)
}

// ending takes a step as the end of a clock if it is one: an act that follows
// the start, or that was recorded before it and carried out after it.
func (j *judging) ending(c *clock, r *run, s *Step, act int32, on calendar.Date, at int32) {
	ends, lapses := c.ends.has(act), c.lapses.has(act)
	if !ends && !lapses {
		return
	}
	day, moment := on, s.At
	if ends {
		day, moment = legal(s, on, c.on)
	}
	if at < r.startAt && later(r.moment, moment) {
		return
	}
	if ends && !paired(c.match, s, r.start) || lapses && !ends && !j.alsoPaired(c, s, r.start) {
		return
	}
	r.end, r.endDay, r.endTime, r.lapsed = s, day, moment, !ends
}

// alsoPaired pairs a step that is not an end (a pause, an extension) where it
// has the fields by which ends are paired; without them it concerns every start.
func (j *judging) alsoPaired(c *clock, s, start *Step) bool {
	for _, p := range c.match {
		if v, ok := s.Fields[p.act]; ok && !meet(v, start.Fields[p.other]) {
			return false
		}
	}
	return true
}

// count works out the due date of a clock, with the pauses and extensions that
// were recorded before it ended.
func (j *judging) count(c *clock, r *run, withNext bool) {
	q := calendar.Count{Start: r.day, Limit: r.limit, Roll: c.rolls && !c.limit.named}
	if r.limit.Kind == calendar.Hours {
		q.At = r.moment
	}
	if len(c.pauses) > 0 {
		j.eachAfter(r, withNext, func(s *Step, act int32, on calendar.Date) {
			if !j.alsoPaired(c, s, r.start) {
				return
			}
			last := len(q.Pauses) - 1
			open := last >= 0 && q.Pauses[last].To.IsZero()
			for i := range c.pauses {
				switch {
				case !open && c.pauses[i].from.has(act):
					q.Pauses = append(q.Pauses, calendar.Pause{From: on, Why: j.p.title(s.Act).ZH})
					return
				case open && c.pauses[i].to.has(act):
					q.Pauses[last].To = atLeast(on, q.Pauses[last].From)
					return
				}
			}
		})
		if last := len(q.Pauses) - 1; r.end != nil && last >= 0 && q.Pauses[last].To.IsZero() {
			q.Pauses[last].To = atLeast(r.endDay, q.Pauses[last].From)
		}
	}
	r.due = j.cal.Due(q)
	if len(c.extend) == 0 {
		return
	}
	j.eachAfter(r, withNext, func(s *Step, act int32, on calendar.Date) {
		for i := range c.extend {
			x := &c.extend[i]
			if !x.act.has(act) || !j.alsoPaired(c, s, r.start) || on.After(r.due.On) {
				continue // an extension after the limit has run out extends nothing
			}
			text, _ := s.Fields[x.field].(string)
			if l, err := calendar.ParseLimit(text); err == nil {
				q.Extensions = append(q.Extensions, l)
				r.extended++
				r.due = j.cal.Due(q)
			}
		}
	})
}

func atLeast(a, b calendar.Date) calendar.Date {
	if a.Before(b) {
		return b
	}
	return a
}

// eachAfter calls f for the steps that follow the start of a clock: later in
// the case, or not earlier by their day.
func (j *judging) eachAfter(r *run, withNext bool, f func(s *Step, act int32, on calendar.Date)) {
	for i := int32(0); int(i) < len(j.h.live.items); i++ {
		s, e := j.step(i, withNext)
		if s != nil && s != r.start && s != r.end && (i > r.startAt || !e.on.Before(r.day)) {
			f(s, e.act, e.on)
		}
	}
}

// clockEnds judges an act that should come in time.
func (j *judging) clockEnds(r *Rule) {
	c := r.clock
	if j.lastOf(&c.starts) < 0 && j.place < 0 {
		return
	}
	runs := j.runs(c, false)
	for i := range runs {
		run := &runs[i]
		before := int32(j.limit)
		// What ended the clock before leaves nothing for this act to be late for.
		j.finish(c, run, before, false)
		if run.end != nil {
			continue
		}
		j.ending(c, run, j.next, j.index, j.on, before)
		if run.end == nil || run.lapsed {
			continue
		}
		j.count(c, run, false)
		j.lateness(r, run)
	}
}

// clockStarts judges a start that is recorded, or corrected, when its end is
// already there.
func (j *judging) clockStarts(r *Rule) {
	c := r.clock
	runs := j.runs(c, true)
	for i := range runs {
		run := &runs[i]
		if run.start != j.next {
			continue
		}
		j.finish(c, run, int32(len(j.h.live.items)), true)
		if run.end != nil && run.end != j.next && !run.lapsed {
			j.lateness(r, run)
		}
	}
}

// lateness is the finding of a run that ended too late.
func (j *judging) lateness(r *Rule, run *run) {
	if !run.late() {
		return
	}
	j.looked = append(j.looked[:0], run.start.Event)
	if run.end != j.next {
		j.looked = append(j.looked, run.end.Event)
	}
	j.found(r, j.lateText(run), run.due.On)
}

// lateText says by how much, by the rolled date and, where that differs, by
// the one without rolling: which of them binds an agency the law leaves open,
// and only the later one is held against it (民事诉讼法 85).
func (j *judging) lateText(run *run) Text {
	d := &run.due
	start, end := j.p.title(run.start.Act), j.p.title(run.end.Act)
	if !d.At.IsZero() {
		hours := run.endTime.Sub(d.At).Hours()
		const form = "2006-01-02 15:04"
		return Text{
			ZH: fmt.Sprintf("「%s」最迟应于 %s 完成，实际为 %s，迟 %.1f 小时（自%s %s起 %s）",
				end.ZH, d.At.Format(form), run.endTime.In(calendar.Shanghai).Format(form), hours,
				start.ZH, d.StartAt.Format(form), run.limit.In("zh")),
			EN: fmt.Sprintf("%s was due by %s and done at %s, %.1f hours late (%s from %s at %s)",
				quoted(end), d.At.Format(form), run.endTime.In(calendar.Shanghai).Format(form), hours,
				run.limit, quoted(start), d.StartAt.Format(form)),
		}
	}
	var zh, en []string
	zh = append(zh, fmt.Sprintf("自%s %s起 %s", start.ZH, d.Start, run.limit.In("zh")))
	en = append(en, fmt.Sprintf("%s from %s on %s", run.limit, quoted(start), d.Start))
	if d.Unrolled != d.On {
		zh = append(zh, fmt.Sprintf("不顺延则为 %s，逾期 %d 日", d.Unrolled, run.endDay.Sub(d.Unrolled)))
		en = append(en, fmt.Sprintf("without rolling over rest days %s, %s late", d.Unrolled, days(run.endDay.Sub(d.Unrolled))))
	}
	if run.extended > 0 {
		zh = append(zh, fmt.Sprintf("已计入 %d 次延长", run.extended))
		en = append(en, fmt.Sprintf("with %d extensions", run.extended))
	}
	for _, p := range d.Pauses {
		if p.Days > 0 {
			zh = append(zh, fmt.Sprintf("已扣除%s %s 至 %s", p.Why, p.From, p.To))
			en = append(en, fmt.Sprintf("without the pause from %s to %s", p.From, p.To))
		}
	}
	if d.Provisional {
		zh = append(zh, fmt.Sprintf("%d 年放假安排未公布，日期暂定", d.Unpublished))
		en = append(en, fmt.Sprintf("provisional: the notice for %d is not published", d.Unpublished))
	}
	late := run.endDay.Sub(d.On)
	return Text{
		ZH: fmt.Sprintf("「%s」最迟应于 %s，实际为 %s，逾期 %d 日（%s）", end.ZH, d.On, run.endDay, late, strings.Join(zh, "；")),
		EN: fmt.Sprintf("%s was due by %s and is dated %s, %s late (%s)", quoted(end), d.On, run.endDay, days(late), strings.Join(en, "; ")),
	}
}

func days(n int) string {
	if n == 1 {
		return "1 day"
	}
	return fmt.Sprintf("%d days", n)
}

// Deadlines returns the limits that have begun to run in a case, open or done,
// in the order of the rules and then of what started them. They follow from
// the history, the law and the calendar (nil: the book's own) alone; whether an
// open one is overdue is for the caller's clock to say.
func (p *Procedure) Deadlines(h *History, cal *calendar.Calendar) []Deadline {
	none := Step{}
	j := p.begin(h, &none, p.params, Known{Calendar: cal})
	defer j.end()
	return j.deadlines()
}

// MovesLimits reports whether an act can begin, end or move a limit. After any other
// the Deadlines of a case are what they were before it, unless it is a correction.
func (p *Procedure) MovesLimits(act string) bool {
	i := p.actIndex(act)
	for _, c := range p.clocks {
		if c.starts.has(i) || c.ends.has(i) || c.lapses.has(i) || c.when.readsOf("case") {
			return true
		}
		for k := range c.pauses {
			if c.pauses[k].from.has(i) || c.pauses[k].to.has(i) {
				return true
			}
		}
		for k := range c.extend {
			if c.extend[k].act.has(i) {
				return true
			}
		}
	}
	return false
}

func (j *judging) deadlines() []Deadline {
	var out []Deadline
	j.eachRun(func(c *clock, run *run) {
		d := c.deadline(run)
		d.ToNote = run.toNote(j.h, c.rule)
		out = append(out, d)
	})
	return out
}

// eachRun calls f for every limit that has begun to run in the case.
func (j *judging) eachRun(f func(c *clock, run *run)) {
	for _, c := range j.p.clocks {
		runs := j.runs(c, false)
		for i := range runs {
			if run := &runs[i]; c.rule.inForce(run.day) {
				j.finish(c, run, int32(len(j.h.live.items)), false)
				f(c, run)
			}
		}
	}
}

func (c *clock) deadline(run *run) Deadline {
	d := Deadline{
		Rule: c.rule.ID, Says: c.rule.Says, Basis: c.rule.Basis, Severity: c.rule.Severity,
		Act: c.ends.names[0], Start: run.start.Event, Due: run.due, Paused: run.due.Paused,
	}
	d.Warn = run.due.Start.AddDays(run.due.On.Sub(run.due.Start) * c.warn / 100)
	if before := run.due.On.AddDays(-1); before.Before(d.Warn) {
		d.Warn = before
	}
	if d.Warn.Before(run.due.Start) {
		d.Warn = run.due.Start
	}
	if run.end != nil {
		d.Done, d.DoneOn, d.Late = run.end.Event, run.endDay, run.late()
	}
	return d
}
