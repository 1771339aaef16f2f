package rulebook

import (
	"slices"
	"time"

	"liuhen/domain/calendar"
)

// Next shows every act of the procedure from where the case stands: whether it
// could be recorded now in a role ("" for any), what stands against it and
// which limits it would start. Days are counted by cal (nil: the book's own).
//
// Only what is certain whatever will be written down is told: the engine's own
// rules on stage, order and role, and those rules that look at nothing of the
// act but its name, time and role. A rule that reads a field, the officers or
// the documents of the act is judged when the act is recorded. So an act that
// is not allowed here would be refused or be out of place; one that is allowed
// may still break a rule.
//
// Allowed is false where the act, recorded now, would be refused, or does not
// belong to the stage, to the role or to a closed case. A limit that has run
// out is told in Why but does not forbid the act: what is late is still to be
// done.
func (p *Procedure) Next(h *History, now time.Time, role string, cal *calendar.Calendar) []NextAct {
	out := make([]NextAct, 0, len(p.Acts))
	for i, a := range p.Acts {
		if a.System {
			continue // nobody chooses it
		}
		step := Step{Act: a.Name, At: now, Recorded: now, Role: role}
		j := p.begin(h, &step, p.params, Known{Calendar: cal})
		for _, rule := range []string{RuleOpening, RuleStage, RuleClosed, RuleOnce, RuleBy} {
			j.builtIn(&rule)
		}
		for _, u := range p.judged[i] {
			if u.certain() {
				j.apply(u)
			}
		}
		next := NextAct{Act: a.Name, Name: a.Title, By: slices.Clone(a.By), Allowed: true, Why: j.end()}
		for k := range next.Why {
			f := &next.Why[k]
			if _, own := builtIns[f.Rule]; own || f.Verdict == Refuse && a.Effect {
				next.Allowed = false
			}
		}
		for _, r := range p.starting[i] {
			next.Starts = append(next.Starts, r.Says)
		}
		out = append(out, next)
	}
	return out
}

// known are the attributes of an act that are known before it is done.
var known = []string{"name", "at", "day", "recorded", "role", "needs_officers"}

// certain reports whether what the rule says of an act does not depend on what
// will be written down with it.
func (u *use) certain() bool {
	r := u.rule
	if len(r.Registers) > 0 {
		return false // what registers say is asked for when the act is recorded
	}
	switch u.kind {
	case useRequire:
		return !r.require.when.readsOf("act", known...) && !r.require.must.readsOf("act", known...)
	case useClock:
		return r.clock.on == "" && len(r.clock.match) == 0
	case useAhead:
		a := r.ahead
		return a.ofOn == "" && len(a.match) == 0 && !a.when.readsOf("act", known...)
	case useOrder:
		o := r.order
		return len(o.match) == 0 && !o.when.readsOf("act", known...) && !o.unless.readsOf("act", known...)
	case useCount:
		return !r.count.when.readsOf("act", known...)
	default: // sides of a rule that need what is recorded
		return false
	}
}
