package rulebook

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode"

	"cel.dev/cel-go/cel"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"github.com/goccy/go-yaml/ast"

	"liuhen/domain/calendar"
)

// Bounds on what an agency's own expression may cost in one evaluation and on
// the size of any expression. A rule over a case of a thousand acts stays far
// below the cost.
const (
	agencyCost      = 1_000_000
	expressionSize  = 4_000 // characters
	expressionDepth = 60
	expressionNodes = 4_000
)

// An expression is a compiled CEL expression. It was type-checked: an error
// when it is evaluated is a bug of the expression (an index out of range, a
// day that is not one) and never a missing name or a wrong type.
type expression struct {
	text    string
	program cel.Program
	reads   map[string][]string // by variable: which of its fields; "*" for the whole
	params  []string
	typ     *cel.Type
	told    told // of a condition
}

// readsOf reports whether the expression looks at more of a variable than the
// fields given.
func (e *expression) readsOf(variable string, but ...string) bool {
	if e == nil {
		return false
	}
	for _, f := range e.reads[variable] {
		if !slices.Contains(but, f) {
			return true
		}
	}
	return false
}

// A scope is what an expression may name: variables with their types.
type scope struct {
	env   *cel.Env
	names map[string]*cel.Type
}

// compiler makes expressions for the acts of one procedure. Copies of it share
// what they have made, and may be used at once.
type compiler struct {
	base     *cel.Env
	types    *typeProvider
	anything *objectType // the attributes that every act has
	*made

	// Names of every procedure, while a rule that several share is compiled.
	lenientActs, lenientStages map[string]bool
}

// made is what compilers share. The mutex guards the maps.
type made struct {
	mu      sync.Mutex
	scopes  map[string]*scope
	objects map[string]*objectType // act types by name
}

func newCompiler(paramType *objectType, shared *catalogue) *compiler {
	standard, err := types.NewRegistry()
	if err != nil {
		panic("rulebook: " + err.Error())
	}
	provider := &typeProvider{Provider: standard, objects: map[string]*objectType{}}
	for _, t := range []*objectType{officerType, referenceType, caseType, calendarType, paramType} {
		provider.objects[t.name] = t
	}
	for _, t := range shared.records {
		provider.objects[t.object.name] = t.object
	}
	for _, r := range shared.registers {
		provider.objects[r.entry.name] = r.entry
	}
	options := []cel.EnvOption{
		cel.CustomTypeProvider(provider),
		cel.CustomTypeAdapter(standard),
		cel.ParserExpressionSizeLimit(expressionSize),
		cel.ParserRecursionLimit(expressionDepth),
		cel.ExpressionNodeLimit(expressionNodes),
		cel.RegexProgramSizeLimit(2_000),
		cel.HomogeneousAggregateLiterals(),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(),
			cel.ValidateComprehensionNestingLimit(4)),
		cel.Variable("case", caseType.cel),
		cel.Variable("param", paramType.cel),
		cel.Variable(calendarVariable, calendarType.cel),
	}
	base, err := cel.NewEnv(append(options, functions(shared)...)...)
	if err != nil {
		panic("rulebook: " + err.Error()) // our own declarations: a bug of ours
	}
	c := &compiler{base: base, types: provider, made: &made{scopes: map[string]*scope{}, objects: map[string]*objectType{}}}
	c.anything = newObjectType("Act")
	c.anything.attributes()
	provider.objects["Act"] = c.anything
	return c
}

// actType is the type of any one of some acts: the attributes, and the fields
// that all of them have with the same type. Without acts it is any act.
func (c *compiler) actType(p *Procedure, acts []string) *objectType {
	if len(acts) == 0 {
		return c.anything
	}
	acts = slices.Compact(slices.Sorted(slices.Values(acts)))
	name := p.Name + "@" + p.Edition.String() + "/" + strings.Join(acts, "|")
	c.mu.Lock()
	defer c.mu.Unlock()
	if t, ok := c.objects[name]; ok {
		return t
	}
	t := newObjectType(name)
	t.attributes()
	for _, act := range acts {
		a, _ := p.Act(act)
		t.acts = append(t.acts, a)
	}
	first := t.acts[0]
	for i := range first.Fields {
		f := &first.Fields[i]
		common := true
		for _, other := range acts[1:] {
			a, _ := p.Act(other)
			g, ok := a.Field(f.Name)
			common = common && ok && g.Type == f.Type && g.Many == f.Many && g.Of == f.Of
		}
		if common {
			t.recorded(f)
		}
	}
	c.objects[name] = t
	c.types.add(t)
	return t
}

// scope returns the environment with some variables beside case and param.
func (c *compiler) scope(names map[string]*cel.Type) *scope {
	var key strings.Builder
	var options []cel.EnvOption
	for _, name := range keysOf(names) {
		fmt.Fprintf(&key, "%s:%s;", name, names[name])
		options = append(options, cel.Variable(name, names[name]))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.scopes[key.String()]; ok {
		return s
	}
	env, err := c.base.Extend(options...)
	if err != nil {
		panic("rulebook: " + err.Error())
	}
	s := &scope{env: env, names: names}
	c.scopes[key.String()] = s
	return s
}

// compile checks and compiles the expression in a YAML scalar. want is the
// type that it must have. On an error it returns nil after reporting it where
// it stands in the file.
func (c *compiler) compile(r *reader, p *Procedure, n ast.Node, what string, s *scope, want *cel.Type) *expression {
	text, ok := scalar(n)
	if !ok || strings.TrimSpace(text) == "" {
		r.fail(n, "%s: expected an expression, found %s", what, describe(n))
		return nil
	}
	return c.compileText(r, p, n, text, text, what, s, want)
}

// compileText compiles text, which stands somewhere within the scalar whole of
// node n; positions are found by looking for it there.
func (c *compiler) compileText(r *reader, p *Procedure, n ast.Node, whole, text, what string, s *scope, want *cel.Type) *expression {
	skip := strings.Index(whole, text)
	at := func(line, col int) pos {
		if skip > 0 {
			before := whole[:skip]
			if line == 1 {
				col += len([]rune(before[strings.LastIndexByte(before, '\n')+1:]))
			}
			line += strings.Count(before, "\n")
		}
		return r.inside(n, whole, line, col+1)
	}
	checked, issues := s.env.Compile(text)
	if issues.Err() != nil {
		for _, e := range issues.Errors() {
			r.failAt(at(e.Location.Line(), e.Location.Column()), "%s: %s", what, c.readable(e.Message, upTo(text, e.Location.Line(), e.Location.Column()), s))
		}
		return nil
	}
	if got := checked.OutputType(); want != nil && !want.IsExactType(got) {
		r.fail(n, "%s: expected an expression that is a %s, this one is a %s", what, want, got)
		return nil
	}
	e := &expression{text: strings.TrimSpace(text), reads: map[string][]string{}, typ: checked.OutputType()}
	sound := true
	complain := func(id int64, format string, args ...any) {
		sound = false
		loc := checked.NativeRep().SourceInfo().GetStartLocation(id)
		r.failAt(at(loc.Line(), loc.Column()), what+": "+format, args...)
	}
	c.inspect(checked.NativeRep(), p, e, complain)
	if !sound {
		return nil
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if r.agency {
		options = append(options, cel.CostLimit(agencyCost))
	}
	program, err := s.env.Program(checked, options...)
	if err != nil {
		r.fail(n, "%s: %v", what, err)
		return nil
	}
	e.program = program
	if want == cel.BoolType {
		if e.told = c.foretell(checked.NativeRep()); e.told.truth != depends {
			loc := checked.NativeRep().SourceInfo().GetStartLocation(e.told.part)
			e.told.at = at(loc.Line(), loc.Column())
		}
	}
	return e
}

// readable adds to CEL's message what would have been right. before is the
// expression up to the place of the error.
func (c *compiler) readable(message, before string, s *scope) string {
	if field, ok := strings.CutPrefix(message, "undefined field '"); ok {
		field = strings.TrimSuffix(field, "'")
		at := strings.LastIndexFunc(strings.TrimRight(before, ". "), func(c rune) bool { return c != '_' && !unicode.IsLetter(c) && !unicode.IsDigit(c) })
		variable := strings.TrimRight(before[at+1:], ". ")
		var have []string
		for name, t := range c.variables(s) {
			if o := c.types.object(t.TypeName()); o != nil && (name == variable || s.names[variable] == nil && variable != "case" && variable != "param") {
				have = append(have, o.order...)
			}
		}
		slices.Sort(have)
		return fmt.Sprintf("there is no field %q here%s; there are %s", field, nearest(field, have), list(slices.Compact(have)))
	}
	if name, ok := strings.CutPrefix(message, "undeclared reference to '"); ok {
		name, _, _ = strings.Cut(name, "'")
		known := keysOf(c.variables(s))
		return fmt.Sprintf("there is no %q here%s; there are %s and the functions of the law format", name, nearest(name, known), list(known))
	}
	return message
}

// upTo is the part of a text before a line (from 1) and a column (from 0).
func upTo(text string, line, col int) string {
	rest := text
	for ; line > 1; line-- {
		_, after, ok := strings.Cut(rest, "\n")
		if !ok {
			break
		}
		rest = after
	}
	if r := []rune(rest); col < len(r) {
		rest = string(r[col:])
	}
	return strings.TrimSuffix(text, rest)
}

// variables are all that an expression in a scope may name.
func (c *compiler) variables(s *scope) map[string]*cel.Type {
	all := map[string]*cel.Type{"case": caseType.cel, "param": cel.ObjectType(paramTypeName)}
	maps.Copy(all, s.names)
	return all
}

// inspect looks at what a type check cannot see: names of acts, stages and
// codes in literals, days and limits; and it notes what the expression reads.
func (c *compiler) inspect(a *celast.AST, p *Procedure, e *expression, complain func(int64, string, ...any)) {
	literal := func(x celast.Expr) (string, bool) {
		if x.Kind() != celast.LiteralKind {
			return "", false
		}
		s, ok := x.AsLiteral().(types.String)
		return string(s), ok
	}
	selected := make(map[int64]bool) // identifiers that are the operand of a selection
	note := func(variable, field string) {
		if !slices.Contains(e.reads[variable], field) {
			e.reads[variable] = append(e.reads[variable], field)
		}
	}
	celast.PreOrderVisit(a.Expr(), celast.NewExprVisitor(func(x celast.Expr) {
		switch x.Kind() {
		case celast.StructKind:
			complain(x.ID(), "an expression cannot make a value of a type")
		case celast.IdentKind:
			if !selected[x.ID()] && x.AsIdent() != calendarVariable {
				note(x.AsIdent(), "*")
			}
		case celast.SelectKind:
			sel := x.AsSelect()
			if op := sel.Operand(); op.Kind() == celast.IdentKind {
				selected[op.ID()] = true
				note(op.AsIdent(), sel.FieldName())
				if op.AsIdent() == "param" && a.GetType(op.ID()).TypeName() == paramTypeName {
					e.params = append(e.params, sel.FieldName())
				}
			}
		case celast.CallKind:
			call := x.AsCall()
			if call.IsMemberFunction() && call.Target().Kind() == celast.IdentKind {
				if t := call.Target(); a.GetType(t.ID()).TypeName() == caseType.name {
					selected[t.ID()] = true
					note(t.AsIdent(), call.FunctionName()+"()")
				}
			}
			c.inspectCall(a, p, x, literal, complain)
		default: // literals and comprehensions: their parts are visited, too
		}
	}))
	slices.Sort(e.params)
	e.params = slices.Compact(e.params)
}

func (c *compiler) inspectCall(a *celast.AST, p *Procedure, x celast.Expr, literal func(celast.Expr) (string, bool), complain func(int64, string, ...any)) {
	call := x.AsCall()
	args := call.Args()
	day := func(arg celast.Expr) {
		if s, ok := literal(arg); ok && a.GetType(arg.ID()) == cel.StringType {
			if _, err := calendar.ParseDate(s); err != nil {
				complain(arg.ID(), "%v", err)
			}
		}
	}
	switch name := call.FunctionName(); {
	case name == "dyn" || name == "type":
		complain(x.ID(), "%s() would put off type checking until the rule is judged", name)
	case call.IsMemberFunction() && a.GetType(call.Target().ID()).TypeName() == caseType.name:
		s, ok := literal(args[0])
		switch {
		case !ok:
			complain(args[0].ID(), "case.%s() takes a name written out, such as case.%s('act')", name, name)
		case c.hasAct(p, s):
		case name == "officers" && c.hasStage(p, s):
		case name == "officers":
			complain(args[0].ID(), "procedure %s has no act and no stage %q; its stages are %s", p.Name, s, list(p.stageNames()))
		default:
			complain(args[0].ID(), "procedure %s has no act %q%s", p.Name, s, nearest(s, keysOf(p.acts)))
		}
	case name == operators.Equals || name == operators.NotEquals:
		for i := range 2 {
			if s, ok := literal(args[1-i]); ok {
				c.inspectLiteral(a, p, args[i], s, args[1-i].ID(), complain)
			}
		}
	case name == operators.In:
		if s, ok := literal(args[0]); ok {
			c.inspectLiteral(a, p, args[1], s, args[0].ID(), complain)
		}
		if args[1].Kind() == celast.ListKind {
			for _, item := range args[1].AsList().Elements() {
				if s, ok := literal(item); ok {
					c.inspectLiteral(a, p, args[0], s, item.ID(), complain)
				}
			}
		}
	case name == "due" || name == "due_unrolled" || name == "latest":
		if s, ok := literal(args[1]); ok {
			if l, err := calendar.ParseLimit(s); err != nil {
				complain(args[1].ID(), "%v", err)
			} else if l.Kind == calendar.Hours {
				complain(args[1].ID(), "%s() counts days; for hours use hours_between()", name)
			}
		}
		day(args[0])
	case strings.HasSuffix(name, "s_between") && name != "hours_between":
		day(args[0])
		day(args[1])
	}
}

// inspectLiteral checks a text that an attribute or a coded field is compared
// with. operand may be the field itself or a list of codes.
func (c *compiler) inspectLiteral(a *celast.AST, p *Procedure, operand celast.Expr, s string, at int64, complain func(int64, string, ...any)) {
	if operand.Kind() != celast.SelectKind {
		return
	}
	sel := operand.AsSelect()
	t := c.types.object(a.GetType(sel.Operand().ID()).TypeName())
	if t == nil {
		return
	}
	f := t.source[sel.FieldName()]
	switch {
	case f != nil && f.codes != nil && s != "" && !f.codes.Has(s):
		complain(at, "code table %s has no code %q", f.codes.Name, s)
	case f == nil && sel.FieldName() == "name" && (t == c.anything || c.object(t.name) == t) && !c.hasAct(p, s):
		complain(at, "procedure %s has no act %q%s", p.Name, s, nearest(s, keysOf(p.acts)))
	case t == caseType && sel.FieldName() == "stage" && s != "" && !c.hasStage(p, s):
		complain(at, "procedure %s has no stage %q; its stages are %s", p.Name, s, list(p.stageNames()))
	}
}

// object is a type that actType has made, or nil.
func (m *made) object(name string) *objectType {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.objects[name]
}

func (c *compiler) hasAct(p *Procedure, name string) bool {
	_, ok := p.acts[name]
	return ok || p.Open || c.lenientActs[name]
}

func (c *compiler) hasStage(p *Procedure, name string) bool {
	_, ok := p.stages[name]
	return ok || p.Open || c.lenientStages[name]
}

func (p *Procedure) stageNames() []string {
	names := make([]string, len(p.Stages))
	for i, s := range p.Stages {
		names[i] = s.Name
	}
	return names
}

// nearest names the known word that a wrong one is closest to, for an error.
func nearest(wrong string, known []string) string {
	best, bestDistance := "", 1+len(wrong)/2
	for _, k := range known {
		if d := distance(wrong, k); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

// distance is the number of letters to add, drop or change from a to b.
func distance(a, b string) int {
	if len(a) > 100 || len(b) > 100 {
		return 100
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			up := row[j+1]
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(up+1, row[j]+1, diagonal+cost)
			diagonal = up
		}
	}
	return row[len(b)]
}
