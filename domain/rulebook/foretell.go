package rulebook

import (
	"fmt"
	"math"
	"slices"
	"strings"

	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// A truth is what can be told of a condition before any act is recorded.
type truth int8

const (
	depends truth = iota // on what is recorded
	always
	never
)

func (t truth) not() truth {
	switch t {
	case always:
		return never
	case never:
		return always
	default:
		return depends
	}
}

// told is the truth of a condition with the part of it that decides.
type told struct {
	truth
	part int64 // id of that part in the expression
	why  string
	at   pos
}

// foretell finds out of a condition whether it is true, or false, whatever is
// recorded. It looks at what the text alone settles: literals, the acts that
// `act` can be, the codes and the least and greatest values of their fields.
// What it cannot settle depends; it is never wrong, and does not find all.
//
// Only of `act` it is known that its fields were held against the text: another
// act may have been recorded when the text said something else.
func (c *compiler) foretell(a *celast.AST) told {
	f := foreteller{c: c, a: a}
	return f.of(a.Expr())
}

type foreteller struct {
	c *compiler
	a *celast.AST
}

func (f *foreteller) of(x celast.Expr) told {
	switch x.Kind() {
	case celast.LiteralKind:
		if b, ok := x.AsLiteral().(types.Bool); ok {
			t := told{truth: never, part: x.ID(), why: "it is written out"}
			if b {
				t.truth = always
			}
			return t
		}
	case celast.SelectKind:
		return f.given(x)
	case celast.CallKind:
		return f.call(x)
	default: // lists, records and comprehensions depend
	}
	return told{}
}

func (f *foreteller) call(x celast.Expr) told {
	call := x.AsCall()
	args := call.Args()
	switch name := call.FunctionName(); name {
	case operators.LogicalAnd:
		return f.both(args, never)
	case operators.LogicalOr:
		return f.both(args, always)
	case operators.LogicalNot:
		t := f.of(args[0])
		t.truth = t.not()
		return t
	case operators.Conditional:
		switch c := f.of(args[0]); c.truth {
		case always:
			return f.of(args[1])
		case never:
			return f.of(args[2])
		default:
			if yes, no := f.of(args[1]), f.of(args[2]); yes.truth == no.truth {
				return yes
			}
			return told{}
		}
	case operators.In:
		if args[1].Kind() == celast.ListKind {
			return f.within(x, args[0], args[1].AsList().Elements())
		}
	case operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		return f.compared(x, name, args[0], args[1])
	}
	return told{}
}

// both is && (settled by a part that is never true) or || (by one that always
// is); otherwise it is settled where both parts are.
func (f *foreteller) both(args []celast.Expr, by truth) told {
	a := f.of(args[0])
	if a.truth == by {
		return a
	}
	b := f.of(args[1])
	if b.truth == by || a.truth == b.truth {
		return b
	}
	return told{}
}

// A span is what a value can be: one of some texts, or a whole number between
// two. says puts it into words; it is empty for one that can be anything.
type span struct {
	texts  []string
	number bool
	lo, hi int64
	says   string
}

// span finds what a part of an expression can be.
func (f *foreteller) span(x celast.Expr) span {
	switch x.Kind() {
	case celast.LiteralKind:
		switch v := x.AsLiteral().(type) {
		case types.String:
			return span{texts: []string{string(v)}, says: "it is written out"}
		case types.Int:
			return span{number: true, lo: int64(v), hi: int64(v), says: "it is written out"}
		}
	case celast.CallKind:
		call := x.AsCall()
		counted := call.FunctionName() == "size" ||
			call.IsMemberFunction() && call.FunctionName() == "count" && f.a.GetType(call.Target().ID()).TypeName() == caseType.name
		if counted {
			return span{number: true, hi: math.MaxInt64, says: "a number of things is at least 0"}
		}
	case celast.SelectKind:
		if sel := x.AsSelect(); !sel.IsTestOnly() {
			return f.field(sel)
		}
	default: // anything
	}
	return span{}
}

// acts are those that a part of an expression can be, where it is `act`.
func (f *foreteller) acts(x celast.Expr) []*Act {
	if x.Kind() != celast.IdentKind || x.AsIdent() != "act" {
		return nil
	}
	if t := f.c.object(f.a.GetType(x.ID()).TypeName()); t != nil {
		return t.acts
	}
	return nil
}

// field is what a field or an attribute of `act` can be.
func (f *foreteller) field(sel celast.SelectExpr) span {
	acts, name := f.acts(sel.Operand()), sel.FieldName()
	if len(acts) == 0 {
		return span{}
	}
	if name == "name" {
		var names []string
		for _, a := range acts {
			names = append(names, a.Name)
		}
		return span{texts: names, says: "act.name is " + oneOfList(names)}
	}
	var out span
	for i, a := range acts {
		s := ofField(a, name)
		switch {
		case s.says == "":
			return span{}
		case i == 0:
			out = s
		case s.number:
			out.lo, out.hi = min(out.lo, s.lo), max(out.hi, s.hi)
		default:
			out.texts = append(slices.Clone(out.texts), s.texts...)
		}
	}
	switch {
	case !out.number:
		slices.Sort(out.texts)
		out.texts = slices.Compact(out.texts)
		out.says = "act." + name + " is " + oneOfList(out.texts)
	case out.lo == math.MinInt64:
		out.says = fmt.Sprintf("act.%s is at most %d", name, out.hi)
	case out.hi == math.MaxInt64:
		out.says = fmt.Sprintf("act.%s is at least %d", name, out.lo)
	case out.lo == out.hi:
		out.says = fmt.Sprintf("act.%s is %d", name, out.lo)
	default:
		out.says = fmt.Sprintf("act.%s is from %d to %d", name, out.lo, out.hi)
	}
	return out
}

// ofField is what one act's field can be; an absent one reads as zero or "".
func ofField(a *Act, name string) span {
	if name == "needs_officers" {
		return span{number: true, lo: int64(a.Officers), hi: int64(a.Officers), says: "fixed"}
	}
	field, ok := a.Field(name)
	switch {
	case !ok || field.Many:
		return span{}
	case field.kind == kindCode:
		var codes []string
		for _, c := range field.codes.Codes {
			codes = append(codes, c.Code)
		}
		if !field.Required {
			codes = append(codes, "")
		}
		return span{texts: codes, says: "coded"}
	case (field.kind == kindInteger || field.kind == kindMoney) && (field.Min != nil || field.Max != nil):
		s := span{number: true, lo: math.MinInt64, hi: math.MaxInt64, says: "bounded"}
		if field.Min != nil {
			s.lo = *field.Min
		}
		if field.Max != nil {
			s.hi = *field.Max
		}
		if !field.Required {
			s.lo, s.hi = min(s.lo, 0), max(s.hi, 0)
		}
		return s
	}
	return span{}
}

func oneOfList(texts []string) string {
	shown := make([]string, len(texts))
	for i, s := range texts {
		if shown[i] = s; s == "" {
			shown[i] = "empty"
		}
	}
	if len(shown) == 1 {
		return shown[0]
	}
	return "one of " + strings.Join(shown, ", ")
}

// compared is the truth of a comparison.
func (f *foreteller) compared(x celast.Expr, name string, l, r celast.Expr) told {
	for _, pair := range [][2]celast.Expr{{l, r}, {r, l}} {
		if t := f.filled(x, name, pair[0], pair[1]); t.truth != depends {
			return t
		}
	}
	a, b := f.span(l), f.span(r)
	if a.says == "" || b.says == "" || a.number != b.number {
		return told{}
	}
	why := a.says
	if l.Kind() == celast.LiteralKind {
		why = b.says
	}
	t := told{part: x.ID(), why: why}
	if a.number {
		t.truth = a.against(b, name)
		return t
	}
	switch name {
	case operators.Equals:
		t.truth = meets(a.texts, b.texts)
	case operators.NotEquals:
		t.truth = meets(a.texts, b.texts).not()
	}
	return t
}

// against compares two spans of numbers.
func (a span) against(b span, name string) truth {
	less := func(a, b span, orEqual bool) truth {
		switch {
		case a.hi < b.lo || orEqual && a.hi == b.lo:
			return always
		case a.lo > b.hi || !orEqual && a.lo == b.hi:
			return never
		}
		return depends
	}
	equal := depends
	switch {
	case a.hi < b.lo || b.hi < a.lo:
		equal = never
	case a.lo == a.hi && b.lo == b.hi:
		equal = always
	}
	switch name {
	case operators.Less:
		return less(a, b, false)
	case operators.LessEquals:
		return less(a, b, true)
	case operators.Greater:
		return less(b, a, false)
	case operators.GreaterEquals:
		return less(b, a, true)
	case operators.NotEquals:
		return equal.not()
	default:
		return equal
	}
}

// meets compares what two texts can be: they are never equal where they have
// nothing in common, and always where each can be one thing only.
func meets(a, b []string) truth {
	for _, s := range a {
		if slices.Contains(b, s) {
			if len(a) == 1 && len(b) == 1 {
				return always
			}
			return depends
		}
	}
	return never
}

// within is the truth of x in [texts].
func (f *foreteller) within(x, operand celast.Expr, elements []celast.Expr) told {
	a := f.span(operand)
	if a.says == "" || a.number {
		return told{}
	}
	var listed []string
	for _, e := range elements {
		s := f.span(e)
		if e.Kind() != celast.LiteralKind || s.number || s.says == "" {
			return told{}
		}
		listed = append(listed, s.texts...)
	}
	in := 0
	for _, s := range a.texts {
		if slices.Contains(listed, s) {
			in++
		}
	}
	t := told{part: x.ID(), why: a.says}
	switch in {
	case 0:
		t.truth = never
	case len(a.texts):
		t.truth = always
	}
	return t
}

// given is the truth of has(act.x): an act without a required field is turned
// back before a rule sees it.
func (f *foreteller) given(x celast.Expr) told {
	sel := x.AsSelect()
	acts := f.acts(sel.Operand())
	if !sel.IsTestOnly() || len(acts) == 0 {
		return told{}
	}
	for _, a := range acts {
		if field, ok := a.Field(sel.FieldName()); !ok || !field.Required {
			return told{}
		}
	}
	return told{truth: always, part: x.ID(), why: fmt.Sprintf("act.%s is required, and an act without it is turned back before any rule sees it", sel.FieldName())}
}

// filled is the truth of comparing a required text with an empty one: what is
// empty counts as absent.
func (f *foreteller) filled(x celast.Expr, name string, field, empty celast.Expr) told {
	if empty.Kind() != celast.LiteralKind || empty.AsLiteral() != types.String("") || field.Kind() != celast.SelectKind {
		return told{}
	}
	sel := field.AsSelect()
	acts := f.acts(sel.Operand())
	for _, a := range acts {
		if of, ok := a.Field(sel.FieldName()); !ok || !of.Required || of.Many {
			return told{}
		}
	}
	t := told{part: x.ID(), why: fmt.Sprintf("act.%s is required, and an act without it is turned back before any rule sees it", sel.FieldName())}
	switch {
	case len(acts) == 0:
	case name == operators.Equals:
		t.truth = never
	case name == operators.NotEquals:
		t.truth = always
	}
	return t
}
