package rulebook

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"liuhen/domain/calendar"
)

// An Example is a small history on which a rule is tried: it holds, or it is
// broken somewhere, or nothing is broken yet and a deadline is open. It stands
// in the law file beside the rule and is run by the tests.
type Example struct {
	Kind    string // holds, broken or open
	Note    string
	Due     calendar.Date // of a finding or an open deadline; zero: any
	Steps   []Step
	Written []string // by step: what the file writes of it beside the act, for a reader
	Source  string   // file:line

	params map[string]any
	facts  Facts // of the registers that its rule looks at
	agency string
	area   string
}

var exampleKinds = []string{"holds", "broken", "open"}

// readExamples reads the examples of all rules. Those of a shared rule are
// read for each procedure that has the acts in them, and must fit one.
func (l *loader) readExamples() {
	type text struct{ at pos }
	groups := map[text][]pendingExamples{}
	var order []text
	for _, p := range l.examples {
		t := text{p.r.entry.at}
		if groups[t] == nil {
			order = append(order, t)
		}
		groups[t] = append(groups[t], p)
	}
	var shares []func(*loader)
	for _, t := range order {
		shares = append(shares, func(l *loader) { l.readGroup(groups[t]) })
	}
	l.share(shares)
}

func (l *loader) readGroup(group []pendingExamples) {
	// An open procedure has every act, so any example would fit it; it is asked
	// only where no other one takes the example.
	slices.SortStableFunc(group, func(a, b pendingExamples) int {
		return cmp.Compare(btoi(a.r.p.Open), btoi(b.r.p.Open))
	})
	first := *group[0].r
	first.reader.errs = &l.errs
	items := first.items(group[0].n)
	count := map[string]int{}
	for i, item := range items {
		var failed Errors
		fits := false
		for _, p := range group {
			if fits && p.r.p.Open {
				continue
			}
			var errs Errors
			r := *p.r
			r.reader.errs = &errs
			e, kind := r.readExample(item, i)
			count[kind]++
			if len(errs) == 0 {
				fits = true
				p.r.rule.Examples = append(p.r.rule.Examples, e)
			} else if failed == nil {
				failed = errs
			}
		}
		if !fits {
			l.errs = append(l.errs, failed...)
		}
	}
	for _, kind := range exampleKinds[:2] {
		if count[kind] == 0 {
			first.failAt(first.entry.at, "expected at least one example with %s:", kind)
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// readExample reads one example.
func (r *ruleReader) readExample(n ast.Node, i int) (*Example, string) {
	e := &Example{Source: r.at(n).String()}
	what := fmt.Sprintf("example %d", i+1)
	var history ast.Node
	known := map[string]func(ast.Node){
		"due":  r.date(&e.Due, what+": due"),
		"note": r.text(&e.Note, what+": note"),
		"case": func(n ast.Node) {
			r.keys(n, what+": case", map[string]func(ast.Node){
				"agency": r.text(&e.agency, what+": case.agency"),
				"area":   r.text(&e.area, what+": case.area"),
			})
		},
		"registers": func(n ast.Node) { r.readFacts(e, n, what+": registers") },
		"parameters": func(n ast.Node) {
			e.params = map[string]any{}
			for _, p := range r.entries(n, what+": parameters") {
				declared := r.loader.shared.params[p.key]
				if declared == nil {
					r.failAt(p.at, "%s: there is no parameter %q%s", what, p.key, nearest(p.key, keysOf(r.loader.shared.params)))
					continue
				}
				if v, ok := r.parameterValue(p.value, declared.Type, what+": parameter "+p.key); ok {
					e.params[p.key] = v
				}
			}
		},
	}
	for _, kind := range exampleKinds {
		known[kind] = func(n ast.Node) {
			if e.Kind != "" {
				r.fail(n, "%s: has both %s and %s", what, e.Kind, kind)
			}
			e.Kind, history = kind, n
		}
	}
	r.keys(n, what, known)
	if e.Kind == "" {
		r.fail(n, "%s: expected one of %s with a history", what, list(exampleKinds))
		return e, ""
	}
	r.readSteps(e, history, what)
	if len(e.Steps) == 0 {
		r.fail(n, "%s: expected a history: act: day, or act: {at: …, field: value}", what)
	}
	return e, e.Kind
}

// readFacts reads what an example has in registers: by register and key a list
// of entries, each with from (needed), until, case, agency, event, act and the
// texts that the register's entries say.
func (r *ruleReader) readFacts(e *Example, n ast.Node, what string) {
	e.facts = Facts{}
	for _, reg := range r.entries(n, what) {
		declared := r.loader.shared.registers[reg.key]
		if declared == nil {
			r.failAt(reg.at, "%s: there is no register %q%s", what, reg.key, nearest(reg.key, keysOf(r.loader.shared.registers)))
			continue
		}
		for _, key := range r.entries(reg.value, what+"."+reg.key) {
			var entries []Entry
			for i, item := range r.items(key.value) {
				x := Entry{
					Register: reg.key, Key: key.key, Case: "another", Event: "entry-" + strconv.Itoa(i+1), Says: map[string]string{},
				}
				known := map[string]func(ast.Node){
					"from": r.date(&x.From, what+": from"), "until": r.date(&x.Until, what+": until"),
					"case": r.text(&x.Case, what+": case"), "agency": r.text(&x.Agency, what+": agency"),
					"event": r.text(&x.Event, what+": event"), "act": r.text(&x.Act, what+": act"),
				}
				for _, f := range declared.Says {
					known[f.Name] = func(n ast.Node) {
						var text string
						r.text(&text, what+": "+f.Name)(n)
						x.Says[f.Name] = text
					}
				}
				r.keys(item, what, known)
				if x.From.IsZero() {
					r.fail(item, "%s: %s under %s: expected from: a day", what, reg.key, key.key)
				}
				entries = append(entries, x)
			}
			slices.SortFunc(entries, Entry.Compare)
			e.facts[Lookup{reg.key, key.key}] = entries
		}
	}
}

// readSteps reads a history: acts with their day, or a list of such.
func (r *ruleReader) readSteps(e *Example, n ast.Node, what string) {
	if seq, ok := n.(*ast.SequenceNode); ok {
		for _, item := range seq.Values {
			if act, ok := scalar(item); ok && act != "" { // a bare act
				r.readStep(e, entry{act, r.at(item), nil}, what)
				continue
			}
			for _, step := range r.entries(item, what) {
				r.readStep(e, step, what)
			}
		}
		return
	}
	for _, step := range r.entries(n, what) {
		r.readStep(e, step, what)
	}
}

func (r *ruleReader) readStep(e *Example, from entry, what string) {
	what += ": " + from.key
	act, ok := r.p.Act(from.key)
	if !ok {
		r.failAt(from.at, "%s: there is no act %q%s", what, from.key, nearest(from.key, keysOf(r.p.acts)))
		return
	}
	s := Step{
		Event: strconv.Itoa(len(e.Steps) + 1), Act: act.Name,
		At:       time.Date(2025, 6, 3, 9, 0, 0, 0, calendar.Shanghai), // a Tuesday
		Officers: []Officer{exampleOfficer("Li"), exampleOfficer("Zhao")},
	}
	if len(e.Steps) > 0 {
		s.At = e.Steps[len(e.Steps)-1].At.AddDate(0, 0, 1)
	}
	if !act.anyone() {
		s.Role = act.By[0]
	}
	var written []string
	fields := map[string]ast.Node{}
	if text, plain := scalar(from.value); from.value == nil || plain {
		if text != "" {
			r.moment(&s.At, what)(from.value)
			written = append(written, text)
		}
	} else {
		written = r.readSpec(&s, act, from.value, fields, what)
	}
	if s.Recorded.IsZero() {
		s.Recorded = s.At
	}
	if s.Actor == "" && len(s.Officers) > 0 {
		s.Actor = s.Officers[0].ID
	}
	r.fillFields(e, &s, act, fields, from.at, what)
	e.Steps = append(e.Steps, s)
	e.Written = append(e.Written, strings.Join(written, ", "))
}

// readSpec reads the attributes and fields of a step.
func (r *ruleReader) readSpec(s *Step, act *Act, n ast.Node, fields map[string]ast.Node, what string) []string {
	var written []string
	known := map[string]func(ast.Node){
		"id":           r.text(&s.Event, what+": id"),
		"at":           r.moment(&s.At, what+": at"),
		"recorded":     r.moment(&s.Recorded, what+": recorded"),
		"actor":        r.text(&s.Actor, what+": actor"),
		"role":         r.text(&s.Role, what+": role"),
		"officers":     r.officers(&s.Officers, what+": officers"),
		"documents":    r.references(&s.Documents, what+": documents"),
		"evidence":     r.references(&s.Evidence, what+": evidence"),
		"late_reason":  r.text(&s.LateReason, what+": late_reason"),
		"already_done": r.boolean(&s.AlreadyDone, what+": already_done"),
		"imported":     r.boolean(&s.Imported, what+": imported"),
		"corrects":     r.text(&s.Corrects, what+": corrects"),
	}
	for _, e := range r.entries(n, what) {
		written = append(written, e.key+": "+strings.TrimSpace(e.value.String()))
		if decode, ok := known[e.key]; ok {
			decode(e.value)
			continue
		}
		if _, ok := act.Field(e.key); !ok && (!r.p.Open || r.p.lists(act.Name)) {
			r.failAt(e.at, "%s: act %s has no field and no attribute %q%s", what, act.Name, e.key,
				nearest(e.key, append(keysOf(act.fields), keysOf(known)...)))
			continue
		}
		fields[e.key] = e.value
	}
	return written
}

// moment reads a day (its midnight, which stands for the whole day) or a time.
func (r *ruleReader) moment(into *time.Time, what string) func(ast.Node) {
	return func(n ast.Node) {
		s, _ := scalar(n)
		if d, err := calendar.ParseDate(s); err == nil {
			*into = d.Start()
		} else if t, ok := parseTime(s); ok {
			*into = t
		} else {
			r.fail(n, "%s: expected a day such as 2025-06-03 or a time such as 2025-06-03 09:30, found %s", what, describe(n))
		}
	}
}

// exampleOfficer is an officer with a certificate for every field and area.
func exampleOfficer(id string) Officer {
	return Officer{
		ID: id, Name: id, Certificate: "C-" + id,
		ValidFrom: calendar.MakeDate(2020, 1, 1), ValidTo: calendar.MakeDate(2035, 12, 31),
	}
}

func (r *ruleReader) officers(into *[]Officer, what string) func(ast.Node) {
	return func(n ast.Node) {
		*into = nil
		for _, item := range r.items(n) {
			if id, ok := scalar(item); ok {
				*into = append(*into, exampleOfficer(id))
				continue
			}
			o := Officer{ValidFrom: calendar.MakeDate(2020, 1, 1), ValidTo: calendar.MakeDate(2035, 12, 31)}
			seen := r.keys(item, what, map[string]func(ast.Node){
				"id":          r.text(&o.ID, what+": id"),
				"name":        r.text(&o.Name, what+": name"),
				"certificate": r.text(&o.Certificate, what+": certificate"),
				"valid_from":  r.date(&o.ValidFrom, what+": valid_from"),
				"valid_to":    r.date(&o.ValidTo, what+": valid_to"),
				"field":       r.text(&o.Field, what+": field"),
				"area":        r.text(&o.Area, what+": area"),
			})
			if _, ok := seen["certificate"]; !ok {
				for _, about := range []string{"valid_from", "valid_to", "field", "area"} {
					if _, ok := seen[about]; ok {
						o.Certificate = "C-" + o.ID
					}
				}
			}
			if o.Name == "" {
				o.Name = o.ID
			}
			*into = append(*into, o)
		}
	}
}

func (r *ruleReader) references(into *[]Reference, what string) func(ast.Node) {
	return func(n ast.Node) {
		for i, item := range r.items(n) {
			x := Reference{Digest: "sha256:" + strings.Repeat(strconv.Itoa(i%10), 64)}
			if kind, ok := scalar(item); ok {
				x.Kind, x.Title = kind, kind
			} else {
				r.keys(item, what, map[string]func(ast.Node){
					"kind":   r.text(&x.Kind, what+": kind"),
					"title":  r.text(&x.Title, what+": title"),
					"digest": r.text(&x.Digest, what+": digest"),
					"number": r.text(&x.Number, what+": number"),
				})
			}
			*into = append(*into, x)
		}
	}
}

// fillFields turns what was written into the fields of a step, as Check would
// return them, and gives the required ones that were not written a value. A
// field written as null is left out.
func (r *ruleReader) fillFields(e *Example, s *Step, act *Act, written map[string]ast.Node, at pos, what string) {
	raw := make(map[string]json.RawMessage, len(written))
	if r.p.Open && !r.p.lists(act.Name) {
		for name, n := range written {
			raw[name] = anyJSON(n)
		}
		s.Fields, _ = r.p.Check(act.Name, raw)
		return
	}
	absent := map[string]bool{}
	for name, n := range written {
		f, _ := act.Field(name)
		if isNull(n) {
			absent["fields."+name] = true
			continue
		}
		raw[name] = f.json(n, e, s)
	}
	fill := func(f *Field) {
		if _, ok := raw[f.Name]; !ok && !absent["fields."+f.Name] {
			raw[f.Name], _ = json.Marshal(f.filler(e, s))
		}
	}
	for i := range act.Fields {
		if act.Fields[i].Required {
			fill(&act.Fields[i])
		}
	}
	c := &checking{}
	have := make(map[string]any, len(raw))
	for _, name := range keysOf(raw) {
		f, _ := act.Field(name)
		if v := c.value("fields."+name, f, raw[name]); v != nil {
			have[name] = v
		}
	}
	if len(c.problems) == 0 {
		// Fields that the others make necessary.
		c.missingIf(r.p, act, have)
		for _, p := range c.problems {
			if f, ok := act.Field(strings.TrimPrefix(p.Field, "fields.")); ok && !absent[p.Field] {
				have[f.Name] = c.value(p.Field, f, mustJSON(f.filler(e, s)))
			}
		}
		c.problems = nil
	}
	for _, p := range c.problems {
		r.failAt(at, "%s: %s: %s", what, p.Field, p.Detail.EN)
	}
	s.Fields = have
}

func mustJSON(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic("rulebook: " + err.Error()) // plain values of our own
	}
	return raw
}

// anyJSON is a YAML value as JSON, by its looks.
func anyJSON(n ast.Node) json.RawMessage {
	switch n := n.(type) {
	case ast.MapNode:
		m := map[string]json.RawMessage{}
		for it := n.MapRange(); it.Next(); {
			key, _ := scalar(it.Key())
			m[key] = anyJSON(it.Value())
		}
		return mustJSON(m)
	case *ast.SequenceNode:
		items := make([]json.RawMessage, len(n.Values))
		for i, v := range n.Values {
			items[i] = anyJSON(v)
		}
		return mustJSON(items)
	case *ast.BoolNode:
		return mustJSON(n.Value)
	case *ast.IntegerNode, *ast.FloatNode:
		s, _ := scalar(n)
		if json.Valid([]byte(s)) {
			return json.RawMessage(s)
		}
	case *ast.NullNode:
		return json.RawMessage("null")
	}
	s, _ := scalar(n)
	return mustJSON(s)
}

// json is a YAML value as JSON of the field's type: a code written as 11 is
// the text "11", a day may stand for a time, and a record's required fields
// that are not written are filled.
func (f *Field) json(n ast.Node, e *Example, s *Step) json.RawMessage {
	if !f.Many {
		return f.jsonOne(n, e, s)
	}
	items := []json.RawMessage{}
	if seq, ok := n.(*ast.SequenceNode); ok {
		for _, v := range seq.Values {
			items = append(items, f.jsonOne(v, e, s))
		}
	} else if !isNull(n) {
		items = append(items, f.jsonOne(n, e, s))
	}
	return mustJSON(items)
}

func (f *Field) jsonOne(n ast.Node, e *Example, s *Step) json.RawMessage {
	text, plain := scalar(n)
	switch {
	case f.kind == kindRecord:
		m, ok := n.(ast.MapNode)
		if !ok {
			return anyJSON(n)
		}
		out := map[string]json.RawMessage{}
		for it := m.MapRange(); it.Next(); {
			key, _ := scalar(it.Key())
			i := slices.IndexFunc(f.record.fields, func(g Field) bool { return g.Name == key })
			if i < 0 {
				out[key] = anyJSON(it.Value())
			} else {
				out[key] = f.record.fields[i].json(it.Value(), e, s)
			}
		}
		for i := range f.record.fields {
			g := &f.record.fields[i]
			if _, ok := out[g.Name]; !ok && g.Required {
				out[g.Name] = mustJSON(g.filler(e, s))
			}
		}
		return mustJSON(out)
	case !plain:
		return anyJSON(n)
	case f.kind == kindInteger, f.kind == kindMoney, f.kind == kindNumber, f.kind == kindBoolean:
		if text = strings.ReplaceAll(text, "_", ""); json.Valid([]byte(text)) {
			return json.RawMessage(text)
		}
	case f.kind == kindTime:
		if d, err := calendar.ParseDate(text); err == nil {
			text = d.Start().Format(time.RFC3339)
		}
	}
	return mustJSON(text)
}

// filler is a plausible value of the field.
func (f *Field) filler(e *Example, s *Step) any {
	one := f.fillerOne(e, s)
	if f.Many {
		return []any{one}
	}
	return one
}

func (f *Field) fillerOne(e *Example, s *Step) any {
	switch f.kind {
	case kindDate:
		return calendar.DateOf(s.At).String()
	case kindTime:
		return s.At.Format(time.RFC3339)
	case kindInteger, kindMoney:
		n := int64(1)
		if f.kind == kindMoney {
			n = 10_000
		}
		if f.Max != nil {
			n = min(n, *f.Max)
		}
		if f.Min != nil {
			n = max(n, *f.Min)
		}
		return n
	case kindNumber:
		return 1
	case kindBoolean:
		return false
	case kindCode:
		return f.codes.Codes[0].Code
	case kindLimit:
		return "3 working days"
	case kindPerson:
		return "Chen"
	case kindUSCC:
		return "91350100M000100Y43" // the standard's own example
	case kindIDNumber:
		return "11010519491231002X" // likewise
	case kindEvent:
		return strconv.Itoa(max(len(e.Steps), 1))
	case kindRecord:
		m := map[string]any{}
		for i := range f.record.fields {
			if g := &f.record.fields[i]; g.Required {
				m[g.Name] = g.filler(e, s)
			}
		}
		return m
	default:
		return "样例"
	}
}

// An ExampleResult is how one example came out.
type ExampleResult struct {
	Procedure string        `json:"procedure"`
	Edition   calendar.Date `json:"edition"`
	Rule      string        `json:"rule"`
	Number    int           `json:"number"` // from 1, among the examples of the rule that fit the procedure
	Kind      string        `json:"kind"`
	Source    string        `json:"source"`
	Note      string        `json:"note,omitempty"`
	OK        bool          `json:"ok"`
	Why       string        `json:"why,omitempty"` // what came instead
	Findings  []Finding     `json:"findings,omitempty"`
}

// RunExamples tries every example of every rule of a book, in the order of
// procedures and rules. Each step is judged by the rule of the example alone.
// A national rule is tried with the national values of the parameters: what an
// agency has set is no fault of its examples.
func RunExamples(b *Book) []ExampleResult { return b.runExamples(func(*Rule) bool { return true }) }

// RunOwnExamples runs the examples in one of the files of the book that an agency
// has put in force; see RunExamples.
func RunOwnExamples(b *Book, file string) []ExampleResult {
	return b.runExamples(func(r *Rule) bool { return r.own != "" && r.own == file })
}

func (b *Book) runExamples(of func(*Rule) bool) []ExampleResult {
	defaults := make(map[string]any)
	for _, p := range b.parameters {
		if p.SetIn != "" {
			defaults[p.Name] = p.Default
		}
	}
	var out []ExampleResult
	for _, p := range b.procedures {
		for _, r := range p.Rules {
			if !of(r) {
				continue
			}
			values := p.params
			if !r.agency {
				values = values.with(defaults)
			}
			for i, e := range r.Examples {
				res := p.try(r, e.under(r), values.with(e.params))
				res.Number = i + 1
				out = append(out, res)
			}
		}
	}
	return out
}

// under is the example as if the file of its rule had been in force from its first
// step on.
func (e *Example) under(r *Rule) *Example {
	if r.own == "" {
		return e
	}
	next := *e
	next.Steps = slices.Clone(e.Steps)
	for i := range next.Steps {
		next.Steps[i].Law = []FileRef{{Name: r.own}}
	}
	return &next
}

// try runs one example.
func (p *Procedure) try(r *Rule, e *Example, params *paramValues) ExampleResult {
	res := ExampleResult{
		Procedure: p.Name, Edition: p.Edition, Rule: r.ID, Kind: e.Kind, Source: e.Source, Note: e.Note,
	}
	h := p.NewHistory("example", e.agency)
	h.Area = e.area
	for i := range e.Steps {
		facts := maps.Clone(e.facts)
		if facts == nil {
			facts = Facts{}
		}
		for _, at := range p.Lookups(h, e.Steps[i], Known{Facts: facts}) {
			facts[at] = nil // what the example does not write is not there
		}
		j := p.begin(h, &e.Steps[i], params, Known{Facts: facts})
		for _, u := range j.uses() {
			if u.rule == r {
				j.apply(u)
			}
		}
		res.Findings = append(res.Findings, j.end()...)
		h = h.Append(e.Steps[i])
	}
	none := Step{}
	j := p.begin(h, &none, params, Known{})
	all := j.deadlines()
	j.end()
	var deadlines []Deadline
	for _, d := range all {
		if d.Rule == r.ID {
			deadlines = append(deadlines, d)
		}
	}
	res.Why = e.compare(res.Findings, deadlines)
	res.OK = res.Why == ""
	return res
}

// compare says what is not as the example has it, or nothing.
func (e *Example) compare(findings []Finding, deadlines []Deadline) string {
	var dues []string
	for _, f := range findings {
		if f.Failed {
			return f.Detail.EN
		}
		if !f.Due.IsZero() {
			dues = append(dues, f.Due.String())
		}
	}
	open := false
	for _, d := range deadlines {
		dues = append(dues, d.Due.On.String())
		open = open || d.Done == ""
	}
	switch {
	case e.Kind == "broken" && len(findings) == 0:
		return "expected it to be broken, it holds"
	case e.Kind != "broken" && len(findings) > 0:
		return "expected it to hold; " + findings[0].Detail.EN
	case e.Kind == "open" && !open:
		return "expected an open deadline, there is none"
	case !e.Due.IsZero() && !slices.Contains(dues, e.Due.String()):
		slices.Sort(dues)
		return fmt.Sprintf("expected %s to be due, found %s", e.Due, list(slices.Compact(dues)))
	}
	return ""
}
