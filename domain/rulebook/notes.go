package rulebook

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"liuhen/domain/calendar"
)

// systemActs reads `system_acts:` of the files that procedures share: acts that
// every procedure has, and that the program itself carries out.
func (l *loader) systemActs() {
	for _, f := range l.files {
		n := f.nodes["system_acts"]
		if n == nil {
			continue
		}
		if f.agency || f.procedure != nil {
			f.failAt(f.at["system_acts"], "system_acts: stand in a national file that is no procedure's")
			continue
		}
		before := len(l.errs)
		for _, p := range l.all {
			if p.Open { // its limits are none of ours
				for _, e := range f.entries(n, "system_acts") {
					p.reserved = append(p.reserved, e.key)
				}
				continue
			}
			conditions := make(map[*Act]map[string]ast.Node)
			for _, e := range f.entries(n, "system_acts") {
				if _, taken := p.acts[e.key]; taken {
					f.failAt(e.at, "procedure %s has an act %q of its own", p.Name, e.key)
					continue
				}
				a, needed := l.readAct(f, p, e)
				a.System = true
				p.acts[a.Name] = int32(len(p.Acts))
				p.Acts = append(p.Acts, a)
				conditions[a] = needed
			}
			for a, fields := range conditions {
				for field, n := range fields {
					l.compileNeeded(f, p, a, field, n)
				}
			}
			if len(l.errs) > before {
				return // the same mistakes again for the next procedure help nobody
			}
		}
	}
}

// Reserves reports whether an act is one that the program carries out in other
// procedures, and that this open one, which takes any act, has not got.
func (p *Procedure) Reserves(act string) bool { return slices.Contains(p.reserved, act) }

// Again is what earlier acts are judged by once more: what registers hold now.
type Again struct {
	Known
	// Certify gives officers the certificates that the register has now for a
	// day; nil leaves them as they were frozen.
	Certify func([]Officer, calendar.Date) []Officer
	// Law is the procedure with the files of its agency by which an act was judged;
	// nil: the procedure that judges again.
	Law func(files []FileRef) *Procedure
}

// law is the procedure by which an act is judged again: with the files of then, for a
// file is not held against what was done before it was in force.
func (a *Again) law(p *Procedure, s *Step) *Procedure {
	if a.Law == nil {
		return p
	}
	return a.Law(s.Law)
}

// Note returns the findings that an act with Notes records at its time. Its field
// cause says which: limits that have run out without the act that was due
// (overdue), or what rules say of earlier acts now that registers hold something
// else (registers), and what they do not say any more (Finding.Lifts). Each is told
// once: what the case has recorded already is left out. Of names the act that a finding
// is about.
//
// Limits that an imported act began are left out: what another system kept is
// judged when it is imported.
func (p *Procedure) Note(h *History, next Step, again Again) []Finding {
	j := p.begin(h, &next, p.params, again.Known)
	by := RuleBy
	j.builtIn(&by)
	if !ofRegisters(next) {
		j.overdue()
		return j.end()
	}
	return append(j.end(), p.anew(h, again)...)
}

// NoteLookups is what Note needs to know of registers and known.Facts has not got.
func (p *Procedure) NoteLookups(h *History, next Step, again Again) []Lookup {
	_, missing := p.NoteAsks(h, next, again)
	return missing
}

// NoteAsks is all that Note asks of registers, and what of it known.Facts has not
// got.
func (p *Procedure) NoteAsks(h *History, next Step, again Again) (asked, missing []Lookup) {
	if !ofRegisters(next) {
		return nil, nil
	}
	p.eachBefore(h, func(before *History, s Step) {
		a, m := again.law(p, &s).Asks(before, s, again.Known)
		asked, missing = append(asked, a...), append(missing, m...)
	})
	return eachOnce(asked), eachOnce(missing)
}

// ofRegisters reports whether a note is about registers that have changed; any
// other is about limits that have passed.
func ofRegisters(next Step) bool { return next.Fields["cause"] == "registers" }

// eachBefore calls f for each act that has not been corrected, with the case as
// it stood when the act was recorded.
func (p *Procedure) eachBefore(h *History, f func(before *History, s Step)) {
	before := p.NewHistory(h.Case, h.Agency)
	before.Area = h.Area
	for _, s := range h.Steps {
		corrected := s.CorrectedBy != ""
		s.CorrectedBy = "" // not yet
		if act := p.actIndex(s.Act); !corrected && (act < 0 || !p.Acts[act].Notes) {
			f(before, s)
		}
		before = before.Append(s)
	}
}

// noted reports whether a case has recorded a finding of a rule on an act that
// came to light later, and has not taken it back.
func (h *History) noted(rule, of string, due calendar.Date) bool {
	for i := range h.Steps {
		for k := range h.Steps[i].Findings {
			if f := &h.Steps[i].Findings[k]; f.Of == of && f.Rule == rule && f.Due == due && f.Lifts == "" && !h.lifted(h.Steps[i].Event, rule, of) {
				return true
			}
		}
	}
	return false
}

// overdue finds the limits that have run out by the time of the act.
func (j *judging) overdue() {
	j.eachRun(func(c *clock, run *run) {
		if !run.toNote(j.h, c.rule) || !run.passed(j.next.At) {
			return
		}
		j.looked = append(j.looked[:0], run.start.Event)
		j.bound = j.bound[:0]
		f := j.finding(c.rule)
		f.Verdict, f.Demands = Flag, ""
		f.Of, f.Due, f.Detail = run.start.Event, run.due.On, j.overdueText(c, run)
		j.findings = append(j.findings, f)
	})
}

// toNote reports whether a limit is one whose end is to be noted when it passes:
// it runs, and nobody has noted it yet.
func (r *run) toNote(h *History, rule *Rule) bool {
	return r.end == nil && !r.due.Paused && !r.start.Imported && !h.noted(rule.ID, r.start.Event, r.due.On)
}

func (r *run) passed(now time.Time) bool {
	if !r.due.At.IsZero() {
		return now.After(r.due.At)
	}
	return calendar.DateOf(now).After(r.due.On)
}

func (j *judging) overdueText(c *clock, run *run) Text {
	var zh, en []string
	for _, name := range c.ends.names {
		zh, en = append(zh, "「"+j.p.title(name).ZH+"」"), append(en, quoted(j.p.title(name)))
	}
	start := j.p.title(run.start.Act)
	by := run.due.On.String()
	if !run.due.At.IsZero() {
		by = run.due.At.Format("2006-01-02 15:04")
	}
	return Text{
		ZH: fmt.Sprintf("%s最迟应于 %s，至 %s 未见记录（自%s %s起 %s）",
			strings.Join(zh, "或"), by, j.on, start.ZH, run.due.Start, run.limit.In("zh")),
		EN: fmt.Sprintf("%s was due by %s and is not recorded by %s (%s from %s on %s)",
			strings.Join(en, " or "), by, j.on, run.limit, quoted(start), run.due.Start),
	}
}

// anew judges earlier acts again by what registers hold now, and returns what
// was not found then. Only rules that look at officers or registers can say
// anything else than they did.
func (p *Procedure) anew(h *History, again Again) []Finding {
	var out []Finding
	p.eachBefore(h, func(before *History, s Step) {
		if again.Certify != nil && s.RosterAt > 0 { // an act judged before there was a register is not held to it
			s.Officers = again.Certify(s.Officers, calendar.DateOf(s.At))
		}
		law := again.law(p, &s)
		judged := law.Judge(before, s, again.Known)
		for _, f := range judged {
			r, ok := law.Rule(f.Rule)
			if !ok || f.Failed || !r.outside || h.noted(f.Rule, s.Event, f.Due) ||
				slices.ContainsFunc(s.Findings, func(was Finding) bool {
					return was.Rule == f.Rule && !was.Failed && !h.lifted(s.Event, f.Rule, s.Event)
				}) {
				continue
			}
			f.Of, f.Verdict = s.Event, Flag
			f.Detail = Text{ZH: "按登记册现状重新判断：" + f.Detail.ZH, EN: "judged again by the registers as they are now: " + f.Detail.EN}
			out = append(out, f)
		}
		out = append(out, law.lifts(h, &s, judged)...)
	})
	return out
}

// lifts takes back what was found of an act, when it was recorded or later, and does
// not hold by what registers hold now, and what could not be judged and now can. The
// first finding stays in its record.
func (p *Procedure) lifts(h *History, s *Step, judged []Finding) []Finding {
	var out []Finding
	lift := func(by string, was *Finding) {
		r, ok := p.Rule(was.Rule)
		if !ok || !r.outside || was.Lifts != "" || h.lifted(by, was.Rule, s.Event) ||
			slices.ContainsFunc(out, func(f Finding) bool { return f.Lifts == by && f.Rule == was.Rule }) {
			return
		}
		detail := Text{ZH: "按登记册现状重新判断，此前的认定不再成立", EN: "judged again by the registers as they are now, what was found does not hold any more"}
		if was.Failed {
			detail = Text{ZH: "登记册已可查，经重新判断未发现问题", EN: "registers can be asked again and it was judged: nothing was found"}
		}
		for i := range judged {
			switch f := &judged[i]; {
			case f.Rule != was.Rule:
			case f.Failed, !was.Failed:
				return // it cannot be told, or it holds
			default:
				detail = Text{ZH: "登记册已可查，已重新判断，另有认定", EN: "registers can be asked again and it was judged: there is another finding"}
			}
		}
		out = append(out, Finding{
			Rule: r.ID, Edition: p.Edition, Severity: Notice, Verdict: Flag, Says: r.Says, Basis: r.Basis, Detail: detail,
			Registers: r.Registers, Of: s.Event, Lifts: by,
		})
	}
	for i := range s.Findings {
		lift(s.Event, &s.Findings[i])
	}
	for i := range h.Steps {
		for k := range h.Steps[i].Findings {
			if f := &h.Steps[i].Findings[k]; f.Of == s.Event {
				lift(h.Steps[i].Event, f)
			}
		}
	}
	return out
}

// lifted reports whether what an event found by a rule of an act was taken back.
func (h *History) lifted(by, rule, of string) bool {
	for i := range h.Steps {
		for k := range h.Steps[i].Findings {
			if f := &h.Steps[i].Findings[k]; f.Lifts == by && f.Rule == rule && f.Of == of {
				return true
			}
		}
	}
	return false
}

// looksOutside reports whether what a rule says can change with registers.
func (r *Rule) looksOutside() bool {
	if len(r.Registers) > 0 {
		return true
	}
	var all []*expression
	switch {
	case r.require != nil:
		all = append(all, r.require.when, r.require.must)
	case r.order != nil:
		all = append(all, r.order.when, r.order.unless)
	case r.ahead != nil:
		all = append(all, r.ahead.when)
	case r.count != nil:
		all = append(all, r.count.when)
	}
	for _, e := range all {
		if e != nil && (slices.Contains(e.reads["act"], "officers") || slices.Contains(e.reads["act"], "*")) {
			return true
		}
	}
	return false
}
