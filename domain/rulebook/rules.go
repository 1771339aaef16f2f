package rulebook

import (
	"regexp"
	"runtime"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"github.com/goccy/go-yaml/ast"
	"golang.org/x/sync/errgroup"

	"liuhen/domain/calendar"
)

var ruleID = regexp.MustCompile(`^[A-Z][A-Z0-9]*-[A-Za-z0-9][A-Za-z0-9.-]*$`)

// shapes are the forms a rule may take; each rule has exactly one.
var shapes = []string{"require", "within", "ahead", "before", "count"}

// rules reads the rules of each procedure's own file, then those that several
// share, and indexes them by act. They are compiled on all processors, for that
// is the other half of the work of loading.
func (l *loader) rules() {
	everyAct, everyStage := map[string]bool{}, map[string]bool{}
	for _, p := range l.all {
		for _, a := range p.Acts {
			everyAct[a.Name] = true
		}
		for _, s := range p.Stages {
			everyStage[s.Name] = true
		}
	}
	var shares []func(*loader)
	for _, p := range l.all {
		shares = append(shares, func(l *loader) {
			f := l.source[p].to(l)
			l.readEnters(f, p)
			for _, e := range f.entries(f.nodes["rules"], "rules") {
				l.readRule(&ruleReader{loader: l, reader: *f.reader, p: p, entry: e})
			}
		})
	}
	for _, f := range l.files {
		if f.procedure == nil {
			for _, e := range f.entries(f.nodes["rules"], "rules") {
				shares = append(shares, func(l *loader) { l.sharedRule(f.to(l), e, everyAct, everyStage) })
			}
		}
	}
	l.share(shares)
	for _, x := range l.examples {
		r := x.r
		if other, twice := r.p.Rule(r.rule.ID); twice {
			r.failAt(r.entry.at, "the rule is already defined in %s", other.Source)
			continue
		}
		r.p.Rules = append(r.p.Rules, r.rule)
	}
	l.readExamples()
	for _, p := range l.all {
		slices.SortStableFunc(p.Rules, func(a, b *Rule) int { return strings.Compare(a.ID, b.ID) })
		p.index()
	}
}

// share runs each share of the work with a loader of its own, on all processors,
// and then takes over what they found, in their order.
func (l *loader) share(shares []func(*loader)) {
	parts := make([]*loader, len(shares))
	var work errgroup.Group
	work.SetLimit(runtime.GOMAXPROCS(0))
	for i, read := range shares {
		part, compiler := *l, *l.compiler
		part.errs, part.examples, part.compiler = nil, nil, &compiler
		parts[i] = &part
		work.Go(func() error {
			read(&part)
			return nil
		})
	}
	_ = work.Wait() // mistakes are in the parts
	for _, part := range parts {
		l.errs = append(l.errs, part.errs...)
		for _, x := range part.examples {
			x.r.loader, x.r.reader.errs = l, &l.errs
			l.examples = append(l.examples, x)
		}
	}
}

// to is the file as a share of the work reads it: its mistakes go to l.
func (f *file) to(l *loader) *file {
	r, c := *f.reader, *f
	r.errs, c.reader = &l.errs, &r
	return &c
}

// sharedRule reads a rule for every procedure that it names. An act that only
// some of them have is left out where it is missing; a rule of which nothing
// is left does not apply to that procedure.
func (l *loader) sharedRule(f *file, e entry, acts, stages map[string]bool) {
	r := *f.reader
	r.rule = e.key
	var names []string
	for _, k := range r.entries(e.value, "rule") {
		if k.key == "procedures" {
			r.words(&names, "procedures")(k.value)
			if !slices.Equal(names, []string{"all"}) {
				for _, name := range names {
					if l.byName[name] == nil {
						r.fail(k.value, "there is no procedure %q%s", name, nearest(name, keysOf(l.byName)))
						return
					}
				}
			}
		}
	}
	if len(names) == 0 {
		r.failAt(e.at, "expected procedures: [names] or all, for a rule that is not in a procedure's file")
		return
	}
	all := slices.Equal(names, []string{"all"})
	read, idle := 0, 0
	var why []Error
	for _, p := range l.all {
		if !all && !slices.Contains(names, p.Name) {
			continue
		}
		before := len(l.errs)
		rr := &ruleReader{loader: l, reader: *f.reader, p: p, entry: e, shared: true, acts: acts, stages: stages}
		if l.readRule(rr) {
			read++
			if len(rr.idles) > 0 {
				idle++
				why = append(why, rr.idles...)
			}
		} else if len(l.errs) == before && !all {
			r.failAt(e.at, "procedure %s in the edition of %s has none of the acts of this rule", p.Name, p.Edition)
		}
		if len(l.errs) > before {
			return // the same mistakes again for the next procedure help nobody
		}
	}
	switch {
	case read == 0:
		r.failAt(e.at, "the rule applies to no procedure: none has its acts")
	case idle == read: // in some of them it may well be
		l.errs = append(l.errs, why[0])
	}
}

// ruleReader reads one rule for one procedure.
type ruleReader struct {
	*loader
	reader
	p      *Procedure
	entry  entry
	shared bool
	acts   map[string]bool // of every procedure, for a shared rule
	stages map[string]bool
	rule   *Rule
	binds  []binding
	absent bool    // an act that the rule needs is not in this procedure
	idles  []Error // why it can say nothing in this procedure; see idle
	kept   map[string]ast.Node
	on     actSet
}

// readRule adds the rule to its procedure. It returns false where there was an
// error or the rule does not apply.
func (l *loader) readRule(r *ruleReader) bool {
	before := len(l.errs)
	r.reader.rule, r.reader.procedure = r.entry.key, r.p.Name
	r.rule = &Rule{
		ID: r.entry.key, Severity: Minor, Verdict: Flag, agency: r.agency,
		Source: r.entry.at.String(),
	}
	if r.own {
		r.rule.own = r.file
	}
	r.kept = map[string]ast.Node{}
	keep := func(key string) func(ast.Node) { return func(n ast.Node) { r.kept[key] = n } }
	var severe bool
	known := map[string]func(ast.Node){
		"says":        r.both(&r.rule.Says, "says"),
		"basis":       r.text(&r.rule.Basis, "basis"),
		"severity":    func(n ast.Node) { severe = true; r.severity(n) },
		"verdict":     oneOf(&r.reader, &r.rule.Verdict, "verdict", Refuse, Flag),
		"cure":        r.both(&r.rule.Cure, "cure"),
		"unconfirmed": r.boolean(&r.rule.Unconfirmed, "unconfirmed"),
		"demands":     r.text(&r.rule.Demands, "demands"),
		"note":        r.text(&r.rule.Note, "note"),
		"effective": func(n ast.Node) {
			r.keys(n, "effective", map[string]func(ast.Node){
				"from":  r.date(&r.rule.From, "effective.from"),
				"until": r.date(&r.rule.Until, "effective.until"),
			})
		},
	}
	for _, k := range append([]string{"on", "when", "with", "detail", "examples"}, shapes...) {
		known[k] = keep(k)
	}
	if r.shared {
		known["procedures"] = func(ast.Node) {}
	}
	r.keys(r.entry.value, "rule", known)
	r.head(severe)
	if len(l.errs) > before {
		return false
	}
	r.shape()
	if len(l.errs) > before || r.absent {
		return false
	}
	r.conditions()
	r.stageOrder(r.kept[r.rule.Shape])
	if len(r.idles) > 0 && !r.shared {
		l.errs = append(l.errs, r.idles...)
		return false
	}
	l.examples = append(l.examples, pendingExamples{r, r.kept["examples"]})
	return true
}

func (r *ruleReader) severity(n ast.Node) {
	oneOf(&r.reader, &r.rule.Severity, "severity", Invalid, Veto, Major, Minor, Notice)(n)
}

// head checks what every rule has, whatever its shape.
func (r *ruleReader) head(severe bool) {
	at := r.entry.at
	if !ruleID.MatchString(r.rule.ID) {
		r.failAt(at, "an id has a prefix in capital letters, a hyphen and a number or name, such as R-023")
	}
	if r.agency && strings.HasPrefix(r.rule.ID, "R-") {
		r.failAt(at, "ids with R- are national rules; an agency's own rule needs a prefix of its own")
	}
	if r.rule.Says.ZH == "" {
		r.failAt(at, "expected says: {zh: …, en: …}, the rule in a sentence")
	}
	if r.rule.Basis == "" {
		r.failAt(at, "expected basis: the article, or cfg for a local rule")
	}
	if !severe {
		r.failAt(at, "expected severity: one of invalid, veto, major, minor, notice")
	}
	if !r.rule.From.IsZero() && !r.rule.Until.IsZero() && r.rule.Until.Before(r.rule.From) {
		r.failAt(at, "effective: until lies before from")
	}
	var have []string
	for _, s := range shapes {
		if r.kept[s] != nil {
			have = append(have, s)
		}
	}
	if len(have) != 1 {
		r.failAt(at, "expected exactly one of %s, found %s", list(shapes), list(have))
		return
	}
	r.rule.Shape = have[0]
	if r.rule.Shape != "require" {
		for _, key := range []string{"on", "when"} {
			if n := r.kept[key]; n != nil {
				r.fail(n, "%s: goes with require; for %s it stands inside", key, r.rule.Shape)
			}
		}
	}
}

// shape reads and compiles the one shape of the rule.
func (r *ruleReader) shape() {
	n := r.kept[r.rule.Shape]
	r.rule.Text = r.rule.Shape + ": " + strings.TrimSpace(n.String())
	if r.shared {
		r.compiler.lenientActs, r.compiler.lenientStages = r.acts, r.stages
		defer func() { r.compiler.lenientActs, r.compiler.lenientStages = nil, nil }()
	}
	switch r.rule.Shape {
	case "require":
		r.readRequire(n)
	case "within":
		r.readWithin(n)
	case "ahead":
		r.readAhead(n)
	case "before":
		r.readBefore(n)
	case "count":
		r.readCount(n)
	}
	r.rule.On, r.rule.onSet = r.on.names, r.on
	if n := r.kept["detail"]; n != nil && !r.absent {
		r.rule.detail = r.readTemplate(n)
	}
	slices.Sort(r.rule.Registers)
	r.rule.Registers = slices.Compact(r.rule.Registers)
	slices.Sort(r.rule.Parameters)
	r.rule.Parameters = slices.Compact(r.rule.Parameters)
	for _, name := range r.rule.Parameters {
		if p := r.loader.shared.params[name]; p != nil && p.Unconfirmed {
			r.rule.Unconfirmed = true
		}
	}
}

// An actSet is the acts that a part of a rule speaks of.
type actSet struct {
	every bool   // any act, listed or not
	in    []bool // by act
	names []string
	types []string // for their CEL type; empty for the common attributes only
}

// has reports whether the set has an act, by its index.
func (s *actSet) has(act int32) bool {
	return s.every || act >= 0 && int(act) < len(s.in) && s.in[act]
}

// actNames reads a set of acts. With words, `any` and `effects` stand for all
// acts and for those with a legal effect.
func (r *ruleReader) actNames(n ast.Node, what string, groups bool) actSet {
	s := actSet{in: make([]bool, len(r.p.Acts))}
	var words []string
	r.words(&words, what)(n)
	if groups && slices.Equal(words, []string{"any"}) {
		s.every, s.names = true, []string{"any"}
		return s
	}
	if groups && slices.Equal(words, []string{"effects"}) {
		s.names = []string{"effects"}
		found := false
		for i, a := range r.p.Acts {
			s.in[i] = a.Effect
			found = found || a.Effect
		}
		if !found && !r.shared {
			r.fail(n, "%s: no act of the procedure has a legal effect, so the rule never applies; expected an act, or effect: true at one", what)
		}
		r.absent = r.absent || !found
		return s
	}
	if len(words) == 0 {
		r.fail(n, "%s: expected the name of an act", what)
	}
	for _, w := range words {
		for _, name := range strings.Split(w, "|") {
			r.addAct(&s, n, what, strings.TrimSpace(name))
		}
	}
	s.types = s.names
	if len(s.names) == 0 {
		r.absent = true
	}
	return s
}

func (r *ruleReader) addAct(s *actSet, n ast.Node, what, name string) {
	if i, ok := r.p.acts[name]; ok {
		if !s.in[i] {
			s.in[i] = true
			s.names = append(s.names, name)
		}
		return
	}
	if r.shared && r.acts[name] {
		return // an act of another procedure that the rule is for
	}
	r.fail(n, "%s: there is no act %q%s", what, name, nearest(name, keysOf(r.p.acts)))
}

// A binding is a name under `with`: other acts of the case.
type binding struct {
	name     string
	all      bool    // a list; else one act
	first    bool    // the first; else the last
	optional bool    // absent: the rule applies all the same
	lookup   *lookup // entries of a register, instead of acts
	acts     actSet
	typ      *objectType
}

// declare adds the variables that a binding gives.
func (b *binding) declare(vars map[string]*cel.Type) {
	switch {
	case b.lookup != nil:
		vars[b.name] = cel.ListType(b.lookup.register.entry.cel)
		return
	case b.all:
		vars[b.name] = cel.ListType(b.typ.cel)
	default:
		vars[b.name] = b.typ.cel
	}
	if b.optional {
		vars["has_"+b.name] = cel.BoolType
	}
}

var withForm = regexp.MustCompile(`^(first|last|all)(\??)\s+(\S.*)$`)

// readWith reads `with:` and returns the variables that it gives.
func (r *ruleReader) readWith(vars map[string]*cel.Type) {
	n := r.kept["with"]
	if n == nil {
		return
	}
	for _, e := range r.entries(n, "with") {
		if _, isMap := e.value.(ast.MapNode); isMap {
			if !r.nameable(e, vars) {
				continue
			}
			if b, ok := r.readLookup(e, vars); ok {
				b.declare(vars)
				r.binds = append(r.binds, b)
			}
			continue
		}
		text, _ := scalar(e.value)
		m := withForm.FindStringSubmatch(strings.TrimSpace(text))
		if m == nil || m[1] == "all" && m[2] != "" {
			r.fail(e.value, "with.%s: expected last, last?, first, first? or all and the name of an act, or {register: …, key: …}, found %s", e.key, describe(e.value))
			continue
		}
		if !r.nameable(e, vars) {
			continue
		}
		b := binding{name: e.key, all: m[1] == "all", first: m[1] == "first", optional: m[2] != ""}
		b.acts = actSet{in: make([]bool, len(r.p.Acts))}
		for _, name := range strings.FieldsFunc(m[3], func(c rune) bool { return c == '|' || c == ',' || c == ' ' }) {
			r.addAct(&b.acts, e.value, "with."+e.key, name)
		}
		if len(b.acts.names) == 0 {
			r.absent = true
			continue
		}
		b.acts.types = b.acts.names
		b.typ = r.compiler.actType(r.p, b.acts.names)
		b.declare(vars)
		r.binds = append(r.binds, b)
	}
}

// nameable reports whether a name may stand under `with`.
func (r *ruleReader) nameable(e entry, vars map[string]*cel.Type) bool {
	ok := isField(e.key) && vars[e.key] == nil && e.key != "case" && e.key != "param" && e.key != "start" && !strings.HasPrefix(e.key, "has_")
	if !ok {
		r.failAt(e.at, "with.%s: expected another name: letters a–z, digits and _, not act, case, param, start or has_…", e.key)
	}
	return ok
}

// expression compiles one expression of the rule and notes its parameters.
func (r *ruleReader) expression(n ast.Node, what string, vars map[string]*cel.Type, want *cel.Type) *expression {
	if n == nil || r.absent {
		return nil
	}
	e := r.compiler.compile(&r.reader, r.p, n, what, r.compiler.scope(vars), want)
	if e != nil {
		r.rule.Parameters = append(r.rule.Parameters, e.params...)
	}
	return e
}

// A requirement is a condition on an act.
type requirement struct {
	binds []binding
	when  *expression // nil: always
	must  *expression
}

func (r *ruleReader) readRequire(n ast.Node) {
	on := r.kept["on"]
	if on == nil {
		r.fail(n, "require: expected on: act, [acts], any or effects")
		return
	}
	r.on = r.actNames(on, "on", true)
	if r.absent {
		return
	}
	vars := r.vars(r.on)
	q := &requirement{}
	q.when = r.expression(r.kept["when"], "when", vars, cel.BoolType)
	q.must = r.expression(n, "require", vars, cel.BoolType)
	q.binds = r.binds
	r.rule.require = q
}

// vars is the variables of an expression on an act, with what `with` binds.
func (r *ruleReader) vars(on actSet) map[string]*cel.Type {
	vars := map[string]*cel.Type{"act": r.compiler.actType(r.p, on.types).cel}
	r.readWith(vars)
	return vars
}

// fieldOf checks that all acts of a set have a field of some types.
func (r *ruleReader) fieldOf(n ast.Node, s actSet, what string, kinds ...fieldKind) string {
	name, ok := r.word(n, what)
	if !ok {
		return ""
	}
	for _, act := range s.types {
		a, _ := r.p.Act(act)
		f, ok := a.Field(name)
		switch {
		case !ok:
			r.fail(n, "%s: act %s has no field %q; it has %s", what, act, name, list(keysOf(a.fields)))
		case len(kinds) > 0 && !slices.Contains(kinds, f.kind):
			r.fail(n, "%s: field %q of act %s is a %s, which cannot stand here", what, name, act, f.Type)
		}
	}
	return name
}

// A limitRef is a limit as a rule gives it: written out, a parameter, or a
// field of the act that starts it.
type limitRef struct {
	literal calendar.Limit
	param   int // index, or -1
	field   string
	named   bool // field is a date: the last day itself
	text    string
}

func (r *ruleReader) readLimit(n ast.Node, what string, start *actSet) limitRef {
	s, _ := scalar(n)
	s = strings.TrimSpace(s)
	if name, ok := strings.CutPrefix(s, "start."); ok && start != nil {
		ref := limitRef{param: -1, text: s, field: name}
		for i, act := range start.types {
			a, _ := r.p.Act(act)
			f, ok := a.Field(name)
			if !ok || f.kind != kindLimit && f.kind != kindDate || f.Many || i > 0 && ref.named != (f.kind == kindDate) {
				r.fail(n, "%s: act %s has no field %q of type limit, or date", what, act, name)
				continue
			}
			ref.named = f.kind == kindDate
		}
		return ref
	}
	ref, param := r.loader.readLimit(&r.reader, n, what)
	if param != "" {
		r.rule.Parameters = append(r.rule.Parameters, param)
	}
	return ref
}

// readLimit reads a limit or the name of a parameter that is one; param is that name.
func (l *loader) readLimit(r *reader, n ast.Node, what string) (ref limitRef, param string) {
	s, _ := scalar(n)
	s = strings.TrimSpace(s)
	ref = limitRef{param: -1, text: s}
	if name, ok := strings.CutPrefix(s, "param."); ok {
		p := l.shared.params[name]
		switch {
		case p == nil:
			r.fail(n, "%s: there is no parameter %q%s", what, name, nearest(name, keysOf(l.shared.params)))
		case p.Type != "limit":
			r.fail(n, "%s: parameter %s is a %s; expected a limit", what, name, p.Type)
		default:
			ref.param = l.params.names[name]
			return ref, name
		}
		return ref, ""
	}
	limit, err := calendar.ParseLimit(s)
	if err != nil {
		r.fail(n, "%s: %v, or param.name", what, err)
	} else if limit.N < 1 {
		r.fail(n, "%s: expected a limit of at least one, found %s", what, s)
	}
	ref.literal = limit
	return ref, ""
}

// in is the limit in words, where it does not depend on the case.
func (l *limitRef) in(lang string, params *paramValues) string {
	switch {
	case l.param >= 0:
		return params.limits[l.param].In(lang)
	case l.field != "":
		return l.text
	}
	return l.literal.In(lang)
}

// A template is a text with expressions in braces.
type template struct{ zh, en []templatePart }

type templatePart struct {
	text string
	expr *expression
}

// readTemplate reads `detail:`. Its expressions see the same variables as the
// rule's condition.
func (r *ruleReader) readTemplate(n ast.Node) *template {
	vars := map[string]*cel.Type{"act": r.compiler.actType(r.p, r.on.types).cel}
	for i := range r.binds {
		r.binds[i].declare(vars)
	}
	s := r.compiler.scope(vars)
	t := &template{}
	part := func(into *[]templatePart, lang string) func(ast.Node) {
		return func(n ast.Node) {
			whole, _ := scalar(n)
			for rest := whole; rest != ""; {
				open := strings.IndexByte(rest, '{')
				shut := strings.IndexByte(rest, '}')
				if open < 0 || shut < open {
					*into = append(*into, templatePart{text: rest})
					break
				}
				*into = append(*into, templatePart{text: rest[:open]})
				if e := r.compiler.compileText(&r.reader, r.p, n, whole, rest[open+1:shut], "detail."+lang, s, nil); e != nil {
					r.rule.Parameters = append(r.rule.Parameters, e.params...)
					*into = append(*into, templatePart{expr: e})
				}
				rest = rest[shut+1:]
			}
		}
	}
	r.keys(n, "detail", map[string]func(ast.Node){"zh": part(&t.zh, "zh"), "en": part(&t.en, "en")})
	if len(t.en) == 0 {
		t.en = t.zh
	}
	return t
}

// index sorts the rules by the acts on which they are judged.
func (p *Procedure) index() {
	p.judged = make([][]*use, len(p.Acts))
	p.starting = make([][]*Rule, len(p.Acts))
	p.looks = make([]bool, len(p.Acts))
	add := func(s *actSet, u *use) {
		if s.every {
			p.anyAct = append(p.anyAct, u)
			p.anyLooks = p.anyLooks || len(u.rule.Registers) > 0
		}
		for i := range p.Acts {
			if s.has(int32(i)) {
				p.judged[i] = append(p.judged[i], u)
				p.looks[i] = p.looks[i] || len(u.rule.Registers) > 0
			}
		}
	}
	for _, r := range p.Rules {
		r.outside = r.looksOutside()
		switch {
		case r.require != nil:
			add(&r.onSet, &use{r, useRequire})
		case r.clock != nil:
			c := r.clock
			p.clocks = append(p.clocks, c)
			add(&c.ends, &use{r, useClock})
			add(&c.starts, &use{r, useClockStart})
			for i := range p.Acts {
				if c.starts.has(int32(i)) {
					p.starting[i] = append(p.starting[i], r)
				}
			}
		case r.ahead != nil:
			add(&r.ahead.of, &use{r, useAhead})
			if r.ahead.planned != "" {
				add(&r.ahead.act, &use{r, useAheadNotice})
			}
		case r.order != nil:
			add(&r.order.then, &use{r, useOrder})
			add(&r.order.first, &use{r, useOrderBack})
		case r.count != nil:
			add(&r.count.act, &use{r, useCount})
		}
	}
}

// pendingExamples is the examples of a rule that is read for one procedure;
// they are read when every procedure is known.
type pendingExamples struct {
	r *ruleReader
	n ast.Node
}
