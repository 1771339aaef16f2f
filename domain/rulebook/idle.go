package rulebook

import (
	"fmt"
	"slices"

	"github.com/goccy/go-yaml/ast"
)

// What stands here finds rules that can never say anything, or that nobody can
// keep: a mistake that no example shows, for examples are not bound by forms
// and stages. It looks at a rule after it was read.
//
// "Never" is meant strictly. A fact can be recorded in any stage, twice where
// once would do, and years after the next edition has come into force, for a
// case keeps the edition that it was opened under. So that an act does not belong
// where the rule looks at it, or is done once, does not make a rule idle, and a
// rule that ends before its edition begins still speaks of acts dated back.

// idle notes that the rule says nothing, or nobody can keep it. A rule of one
// procedure is then a mistake; one that several share is, where it is so in
// all of them.
func (r *ruleReader) idle(at pos, format string, args ...any) {
	r.idles = append(r.idles, Error{
		File: at.file, Line: at.line, Column: at.col,
		Procedure: r.p.Name, Rule: r.rule.ID, Message: fmt.Sprintf(format, args...),
	})
}

// conditions looks at conditions of the rule that are settled beforehand.
func (r *ruleReader) conditions() {
	var when, must, unless *expression
	what := r.rule.Shape + "."
	switch rule := r.rule; {
	case rule.require != nil:
		what, when, must = "", rule.require.when, rule.require.must
	case rule.clock != nil:
		when = rule.clock.when
	case rule.ahead != nil:
		when = rule.ahead.when
	case rule.order != nil:
		when, unless = rule.order.when, rule.order.unless
	case rule.count != nil:
		when = rule.count.when
	}
	if when != nil && when.told.truth == never {
		r.idle(when.told.at, "%swhen: this is never true (%s), so the rule never applies; expected a condition that an act can meet", what, when.told.why)
	}
	if unless != nil && unless.told.truth == always {
		r.idle(unless.told.at, "%sunless: this is always true (%s), so the rule never applies; expected a condition that an act can fail", what, unless.told.why)
	}
	if must != nil && must.told.truth == always {
		r.idle(must.told.at, "require: this is always true (%s), so nothing breaks the rule; expected a condition that an act can fail", must.told.why)
	}
}

// canPair looks at a pair of fields that are to be equal and never are.
func (r *ruleReader) canPair(n ast.Node, what string, acts actSet, field string, others actSet, other string) {
	var a, b *Field
	for _, act := range acts.types {
		for _, of := range others.types {
			x, _ := r.p.Act(act)
			y, _ := r.p.Act(of)
			if a, _ = x.Field(field); a == nil {
				return // said already
			}
			if b, _ = y.Field(other); b == nil || canMeet(a, b) {
				return
			}
		}
	}
	if a != nil && b != nil {
		r.idle(r.at(n), "%s: %s is a %s and %s is a %s, which are never equal, so nothing is ever paired; expected two fields that can be", what, field, kindOf(a), other, kindOf(b))
	}
}

func kindOf(f *Field) string {
	if f.kind == kindCode {
		return "code of " + f.Of
	}
	return f.Type
}

// canMeet reports whether two recorded values can be equal, as meet compares
// them. Texts are told apart only where their forms exclude each other.
func canMeet(a, b *Field) bool {
	number := func(f *Field) bool { return f.kind == kindInteger || f.kind == kindMoney || f.kind == kindNumber }
	formed := func(f *Field) bool { return f.kind == kindDate || f.kind == kindTime || f.kind == kindLimit }
	switch {
	case a.kind == kindRecord || b.kind == kindRecord:
		return false
	case number(a) || number(b):
		return number(a) && number(b)
	case a.kind == kindBoolean || b.kind == kindBoolean:
		return a.kind == b.kind
	case formed(a) && formed(b):
		return a.kind == b.kind
	case a.kind == kindCode && b.kind == kindCode:
		return slices.ContainsFunc(a.codes.Codes, func(c Code) bool { return b.codes.Has(c.Code) })
	}
	return true
}

// stageOrder looks at rules that ask for an order which the stages exclude: an act
// that has to be recorded before another, and can be so only out of its stage.
// Whoever keeps to the stages then breaks the rule whenever it applies.
func (r *ruleReader) stageOrder(n ast.Node) {
	name := func(s *actSet) string { return list(s.names) }
	switch rule := r.rule; {
	case rule.order != nil && rule.order.needed:
		// A rule under a condition may be meant for what is done out of stage.
		if o := rule.order; o.when == nil && o.unless == nil && !r.p.canPrecede(&o.first, &o.then) {
			r.idle(r.at(n), "before: by the stages %s can never come before %s, so nobody can keep the rule; expected acts that the stages allow in this order", name(&o.first), name(&o.then))
		}
	case rule.ahead != nil && !rule.ahead.optional:
		if a := rule.ahead; a.when == nil && !r.p.canPrecede(&a.act, &a.of) {
			r.idle(r.at(n), "ahead: by the stages %s can never come before %s, so nobody can keep the rule; expected acts that the stages allow in this order", name(&a.act), name(&a.of))
		}
	case rule.clock != nil:
		// What is recorded before the start ends the clock too, where it was
		// carried out after it.
		if c := rule.clock; c.when == nil && !r.p.canPrecede(&c.starts, &c.ends) && !r.p.canPrecede(&c.ends, &c.starts) {
			r.idle(r.at(n), "within: by the stages no case has both %s and %s, so nobody can keep the rule; expected acts that the stages allow in one case", name(&c.starts), name(&c.ends))
		}
	}
}
