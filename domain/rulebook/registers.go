package rulebook

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"github.com/goccy/go-yaml/ast"

	"liuhen/domain/calendar"
)

// RuleRegisters is the id of the finding that an act could not be entered into
// a register: a mistake in the law file, told rather than kept silent.
const RuleRegisters = "registers"

// A Register is what cases have entered under a key, for the rules of other
// cases to look at: the visits to an enterprise, the devices of an agency.
// Which acts enter what is said by the procedures (`enters:`); what is in it
// follows from the log alone.
type Register struct {
	Name  string          `json:"name"`
	Title Text            `json:"title"`
	Says  []RegisterField `json:"says,omitempty"` // texts that an entry has beside its key and days

	at    pos
	entry *objectType
}

// A RegisterField is one text of an entry.
type RegisterField struct {
	Name  string `json:"name"`
	Title Text   `json:"title"`
}

// An Entry is one line of a register: what an act of some case entered under
// a key, with the days from which and until which it holds, both included.
type Entry struct {
	Register string            `json:"register"`
	Key      string            `json:"key"`
	From     calendar.Date     `json:"from"`
	Until    calendar.Date     `json:"until,omitzero"` // zero: open
	Case     string            `json:"case"`
	Agency   string            `json:"agency"`
	Event    string            `json:"event"` // that entered it
	Act      string            `json:"act"`
	Says     map[string]string `json:"says,omitempty"`
}

// Compare orders entries by their register, key and days, and then by what
// entered them.
func (e Entry) Compare(other Entry) int {
	return cmp.Or(
		strings.Compare(e.Register, other.Register), strings.Compare(e.Key, other.Key),
		e.From.Compare(other.From), e.Until.Compare(other.Until),
		strings.Compare(e.Case, other.Case), strings.Compare(e.Event, other.Event),
	)
}

// Equal reports whether two entries say the same.
func (e Entry) Equal(other Entry) bool {
	if e.Compare(other) != 0 || e.Agency != other.Agency || e.Act != other.Act || len(e.Says) != len(other.Says) {
		return false
	}
	for name, text := range e.Says {
		if other.Says[name] != text {
			return false
		}
	}
	return true
}

// Text is all that an entry says, in one text: equal for equal entries.
func (e Entry) Text() string {
	data, err := json.Marshal(e) // with the names of Says in order
	if err != nil {
		panic("rulebook: an entry that is no JSON: " + err.Error())
	}
	return string(data)
}

// underAnyKey reports whether two entries say the same, be it under two keys.
func (e Entry) underAnyKey(other Entry) bool {
	other.Key = e.Key
	return e.Equal(other)
}

// A Lookup is a question to a register: what stands under the key?
type Lookup struct {
	Register string `json:"register"`
	Key      string `json:"key"`
}

// A RegisterChange is that a register answers otherwise under a key, from a day on.
type RegisterChange struct {
	Lookup
	Since calendar.Date
}

// Known is what an act is judged by beside its own case, at one position of the
// log.
type Known struct {
	Facts    Facts              // what registers answer
	Calendar *calendar.Calendar // nil: the book's own
}

// Facts is what registers answer, as they were at one position of the log. A
// lookup without entries stands there with none.
type Facts map[Lookup][]Entry

// An Entering is how the acts of a procedure make entries.
type Entering struct {
	Register string   `json:"register"`
	On       []string `json:"on"`
	EndedBy  []string `json:"ended_by,omitempty"`
	Text     string   `json:"text"` // as it is written, for a reader

	on          actSet
	binds       []binding
	when        *expression // nil: always
	key         *expression // a text or a list of texts
	from, until *expression // days; nil: the act's own day, open
	says        []saying
	ends        []ending
}

// A saying is one text of an entry.
type saying struct {
	name string
	text *expression
}

// An ending closes the entries of a case.
type ending struct {
	acts  actSet
	on    string // field with the last day; "" for the act's own day
	match []pairing
}

// Registers returns the registers of a book, by name.
func (b *Book) Registers() []*Register { return slices.Clone(b.registers) }

// readRegisters reads `registers:`, which declares them.
func (c *catalogue) readRegisters(r *reader, n ast.Node) {
	for _, e := range r.entries(n, "registers") {
		what := "register " + e.key
		if other, twice := c.registers[e.key]; twice {
			r.failAt(e.at, "%s is already declared in %s", what, other.at)
			continue
		}
		reg := &Register{Name: e.key, at: e.at, entry: newObjectType("register/" + e.key)}
		reg.attributes()
		r.keys(e.value, what, map[string]func(ast.Node){
			"name": r.both(&reg.Title, what+": name"),
			"says": func(n ast.Node) {
				for _, f := range r.entries(n, what+": says") {
					field := RegisterField{Name: f.key}
					r.both(&field.Title, what+": says."+f.key)(f.value)
					if _, taken := reg.entry.fields[f.key]; taken || !isField(f.key) {
						r.failAt(f.at, "%s: says.%s: expected another name: letters a–z, digits and _, not one that every entry has (%s)", what, f.key, list(reg.entry.order))
						continue
					}
					reg.Says = append(reg.Says, field)
					reg.entry.text(f.key, func(e *Entry) string { return e.Says[f.key] })
				}
			},
		})
		if reg.Title.ZH == "" {
			r.failAt(e.at, "%s: expected name: {zh: …, en: …}", what)
		}
		c.registers[e.key] = reg
	}
}

// text adds a text that entries have.
func (t *objectType) text(name string, get func(*Entry) string) {
	t.attribute(name, cel.StringType, func(v any) ref.Val { return types.String(get(v.(*entryValue).e)) })
}

func (reg *Register) attributes() {
	t := reg.entry
	t.text("key", func(e *Entry) string { return e.Key })
	t.text("from", func(e *Entry) string { return dayText(e.From) })
	t.text("until", func(e *Entry) string { return dayText(e.Until) })
	t.text("case", func(e *Entry) string { return e.Case })
	t.text("agency", func(e *Entry) string { return e.Agency })
	t.text("event", func(e *Entry) string { return e.Event })
	t.text("act", func(e *Entry) string { return e.Act })
}

// entryValue is an entry of a register as expressions see it.
type entryValue struct {
	object
	e *Entry
}

func (v *entryValue) Value() any              { return v }
func (v *entryValue) Get(i ref.Val) ref.Val   { return v.get(v, i) }
func (v *entryValue) IsSet(f ref.Val) ref.Val { return v.isSet(v, f) }
func (v *entryValue) Equal(other ref.Val) ref.Val {
	o, ok := other.Value().(*entryValue)
	return types.Bool(ok && o.e.Equal(*v.e))
}

// readEnters reads what the acts of a procedure enter into registers.
func (l *loader) readEnters(f *file, p *Procedure) {
	for i, item := range f.items(f.nodes["enters"]) {
		what := fmt.Sprintf("enters, item %d", i+1)
		r := &ruleReader{loader: l, reader: *f.reader, p: p, entry: entry{key: what, at: f.reader.at(item)}, rule: &Rule{}, kept: map[string]ast.Node{}}
		r.reader.procedure = p.Name
		if e := r.readEntering(item, what); e != nil {
			p.Enters = append(p.Enters, e)
		}
	}
}

func (r *ruleReader) readEntering(n ast.Node, what string) *Entering {
	before := len(*r.reader.errs)
	e := &Entering{Text: strings.TrimSpace(n.String())}
	keep := func(key string) func(ast.Node) { return func(n ast.Node) { r.kept[key] = n } }
	known := map[string]func(ast.Node){"register": r.reader.text(&e.Register, what+": register")}
	for _, key := range []string{"on", "with", "when", "key", "from", "until", "says", "ended_by"} {
		known[key] = keep(key)
	}
	r.keys(n, what, known)
	reg := r.loader.shared.registers[e.Register]
	if reg == nil {
		r.fail(n, "%s: there is no register %q%s", what, e.Register, nearest(e.Register, keysOf(r.loader.shared.registers)))
		return nil
	}
	for _, key := range []string{"on", "key"} {
		if r.kept[key] == nil {
			r.fail(n, "%s: expected %s:", what, key)
			return nil
		}
	}
	e.on = r.actNames(r.kept["on"], what+": on", false)
	vars := r.vars(e.on)
	for _, b := range r.binds {
		if b.lookup != nil {
			r.fail(r.kept["with"], "%s: with.%s: an entry cannot rest on another register", what, b.name)
		}
	}
	e.binds = r.binds
	e.when = r.expression(r.kept["when"], what+": when", vars, cel.BoolType)
	e.key = r.keyOf(r.kept["key"], what+": key", vars)
	e.from = r.expression(r.kept["from"], what+": from", vars, cel.StringType)
	e.until = r.expression(r.kept["until"], what+": until", vars, cel.StringType)
	for _, s := range r.entries(r.kept["says"], what+": says") {
		if !slices.ContainsFunc(reg.Says, func(f RegisterField) bool { return f.Name == s.key }) {
			r.failAt(s.at, "%s: register %s has no %q; its entries say %s", what, reg.Name, s.key, list(reg.fieldNames()))
			continue
		}
		e.says = append(e.says, saying{s.key, r.expression(s.value, what+": says."+s.key, vars, cel.StringType)})
	}
	for _, item := range r.items(r.kept["ended_by"]) {
		e.ends = append(e.ends, r.readEnding(item, what+": ended_by", e.on))
	}
	for _, x := range []*expression{e.when, e.key, e.from, e.until} {
		if x.readsOf("case", "id", "agency", "area", "opened") {
			r.fail(n, "%s: expected to rest on the act, on acts before it, and on case.id, case.agency, case.area or case.opened", what)
		}
	}
	e.On = e.on.names
	for _, x := range e.ends {
		e.EndedBy = append(e.EndedBy, x.acts.names...)
	}
	if e.when != nil && e.when.told.truth == never {
		r.idle(e.when.told.at, "%s: when: this is never true (%s), so nothing is ever entered; expected a condition that an act can meet", what, e.when.told.why)
	}
	*r.reader.errs = append(*r.reader.errs, r.idles...)
	if len(*r.reader.errs) > before {
		return nil
	}
	return e
}

func (reg *Register) fieldNames() []string {
	names := make([]string, len(reg.Says))
	for i, f := range reg.Says {
		names[i] = f.Name
	}
	return names
}

// keyOf compiles a key: a text, or a list of texts.
func (r *ruleReader) keyOf(n ast.Node, what string, vars map[string]*cel.Type) *expression {
	e := r.expression(n, what, vars, nil)
	if e != nil && !e.typ.IsExactType(cel.StringType) && !e.typ.IsExactType(cel.ListType(cel.StringType)) {
		r.fail(n, "%s: expected a text or a list of texts, this one is a %s", what, e.typ)
		return nil
	}
	return e
}

func (r *ruleReader) readEnding(n ast.Node, what string, entering actSet) ending {
	x := ending{acts: actSet{in: make([]bool, len(r.p.Acts))}}
	var acts, on, match ast.Node
	r.keys(n, what, map[string]func(ast.Node){
		"act":   func(n ast.Node) { acts = n },
		"on":    func(n ast.Node) { on = n },
		"match": func(n ast.Node) { match = n },
	})
	if acts == nil {
		r.fail(n, "%s: expected {act: …}", what)
		return x
	}
	x.acts = r.actNames(acts, what+".act", false)
	if on != nil {
		x.on = r.fieldOf(on, x.acts, what+".on", kindDate, kindTime)
	}
	x.match = r.readMatch(match, what+".match", x.acts, entering)
	return x
}

// MovesEntries reports whether a step can change what its case has in
// registers.
func (p *Procedure) MovesEntries(s *Step) bool {
	act := p.actIndex(s.Act)
	for _, e := range p.Enters {
		if s.Corrects != "" || e.on.has(act) {
			return true
		}
		for i := range e.ends {
			if e.ends[i].acts.has(act) {
				return true
			}
		}
	}
	return false
}

// Entries is what a case has in registers as its history stands, in the order
// of Entry.Compare. An act from which no entry can be made (a mistake in the
// law file) makes none; Judge says so when it is recorded. Days are counted by the
// book's own calendar, so that entries follow from the case alone.
func (p *Procedure) Entries(h *History) []Entry {
	if len(p.Enters) == 0 {
		return nil
	}
	if h.procedure != p {
		h = h.Under(p)
	}
	var out []Entry
	for _, e := range p.Enters {
		for i := range h.live.items {
			if !e.on.has(h.live.items[i].act) {
				continue
			}
			entries, err := p.entered(h, e, i)
			if err == nil {
				out = append(out, entries...)
			}
		}
	}
	slices.SortFunc(out, Entry.Compare)
	return out
}

// EachEntryChange calls f for each step of a case at which what it has in registers
// became another: with the step's place in h.Steps, what stood there before and
// does not any more, and what stands there now and did not, in the order of
// Entry.Compare. It goes through the case once.
func (p *Procedure) EachEntryChange(h *History, f func(step int, gone, known []Entry)) {
	type line struct {
		e       *Entering
		at      int // in live
		entries []Entry
	}
	var lines []line
	enter := func(g *History, at int) (more []line) {
		for _, e := range p.Enters {
			if !e.on.has(g.live.items[at].act) {
				continue
			}
			if entries, err := p.entered(g, e, at); err == nil && len(entries) > 0 {
				more = append(more, line{e, at, entries})
			}
		}
		return more
	}
	g := p.NewHistory(h.Case, h.Agency)
	g.Area = h.Area
	for n, s := range h.Steps {
		s.CorrectedBy = "" // not yet
		g = g.Append(s)
		if !p.MovesEntries(&s) {
			continue
		}
		var was, now []Entry
		if s.Corrects != "" { // what followed may be another
			for _, l := range lines {
				was = append(was, l.entries...)
			}
			lines = nil
			for at := range g.live.items {
				lines = append(lines, enter(g, at)...)
			}
			for _, l := range lines {
				now = append(now, l.entries...)
			}
		} else {
			act := p.actIndex(s.Act)
			for i := range lines {
				l := &lines[i]
				if !slices.ContainsFunc(l.e.ends, func(x ending) bool { return x.acts.has(act) }) {
					continue
				}
				entries, err := p.entered(g, l.e, l.at)
				if err != nil {
					entries = nil
				}
				was, now = append(was, l.entries...), append(now, entries...)
				l.entries = entries
			}
			more := enter(g, len(g.live.items)-1)
			lines = append(lines, more...)
			for _, l := range more {
				now = append(now, l.entries...)
			}
		}
		if gone, known := apart(was, now); len(gone)+len(known) > 0 {
			f(n, gone, known)
		}
	}
}

// apart is what stands in one of two lists of entries and not in the other.
func apart(was, now []Entry) (gone, known []Entry) {
	if len(was) == 0 || len(now) == 0 {
		gone, known = was, now
	} else {
		left := make(map[string]int, len(now)) // how often, by what it says
		for _, e := range now {
			left[e.Text()]++
		}
		for _, e := range was {
			if text := e.Text(); left[text] > 0 {
				left[text]--
			} else {
				gone = append(gone, e)
			}
		}
		for _, e := range now {
			if text := e.Text(); left[text] > 0 {
				left[text]--
				known = append(known, e)
			}
		}
	}
	slices.SortFunc(known, Entry.Compare)
	return gone, known
}

// entered is what one live step enters, with what ended it since.
func (p *Procedure) entered(h *History, e *Entering, i int) ([]Entry, error) {
	s := h.at(int32(i))
	j := p.begin(h, s, p.params, Known{})
	defer j.end()
	j.limit = i
	entries, err := j.enter(e)
	if err != nil {
		return nil, err
	}
	for k := range h.live.items {
		if k == i {
			continue
		}
		by := h.at(int32(k))
		for x := range e.ends {
			end := &e.ends[x]
			if !end.acts.has(h.live.items[k].act) || !paired(end.match, by, s) {
				continue
			}
			on, _ := legal(by, h.live.items[k].on, end.on)
			for n := range entries {
				if on.Before(entries[n].From) {
					continue // it ended something earlier
				}
				if u := entries[n].Until; u.IsZero() || on.Before(u) {
					entries[n].Until = on
				}
			}
		}
	}
	return entries, nil
}

// enter makes the entries of the act that is being judged.
func (j *judging) enter(e *Entering) ([]Entry, error) {
	j.bound, j.looked = j.bound[:0], j.looked[:0]
	if !j.bind(nil, e.binds) {
		return nil, nil
	}
	if e.when != nil {
		if v, _, err := e.when.program.Eval(j); err != nil || v != types.True {
			return nil, err
		}
	}
	keys, err := j.keys(e.key)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	one := Entry{Register: e.Register, From: j.on, Case: j.h.Case, Agency: j.h.Agency, Event: j.next.Event, Act: j.next.Act}
	for _, day := range []struct {
		of   *expression
		into *calendar.Date
	}{{e.from, &one.From}, {e.until, &one.Until}} {
		if day.of == nil {
			continue
		}
		text, err := j.textOf(day.of)
		if err != nil {
			return nil, err
		}
		if text == "" {
			continue
		}
		if *day.into, err = calendar.ParseDate(text); err != nil {
			return nil, err
		}
	}
	if len(e.says) > 0 {
		one.Says = make(map[string]string, len(e.says))
	}
	for _, s := range e.says {
		if one.Says[s.name], err = j.textOf(s.text); err != nil {
			return nil, err
		}
	}
	entries := make([]Entry, len(keys))
	for i, key := range keys {
		entries[i] = one
		entries[i].Key = key
	}
	return entries, nil
}

func (j *judging) textOf(e *expression) (string, error) {
	v, _, err := e.program.Eval(j)
	if err != nil {
		return "", err
	}
	s, ok := v.(types.String)
	if !ok {
		return "", fmt.Errorf("it gives %v, not a text", v)
	}
	return storable(string(s)), nil
}

// storable is a text without the character zero, which JSON can hold and
// PostgreSQL cannot.
func storable(s string) string { return strings.ReplaceAll(s, "\x00", "\uFFFD") }

// maxKey is how many bytes a key may have; the digest of a longer one stands in
// its place.
const maxKey = 200

func keyText(s string) string {
	if s = storable(s); len(s) > maxKey {
		return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(s)))
	}
	return s
}

// keys evaluates a key: texts that are not empty, each once, in order.
func (j *judging) keys(e *expression) ([]string, error) {
	v, _, err := e.program.Eval(j)
	if err != nil {
		return nil, err
	}
	var keys []string
	add := func(v ref.Val) error {
		s, ok := v.(types.String)
		if !ok {
			return fmt.Errorf("it gives %v, not a text", v)
		}
		if key := keyText(string(s)); key != "" && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
		return nil
	}
	many, ok := v.(traits.Lister)
	if !ok {
		return keys, add(v)
	}
	for it := many.Iterator(); it.HasNext() == types.True; {
		if err := add(it.Next()); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// registered notes an act that no entry can be made of.
func (j *judging) registered() {
	for _, e := range j.p.Enters {
		if !e.on.has(j.index) {
			continue
		}
		if _, err := j.enter(e); err != nil {
			j.builtInFinding(RuleRegisters, Flag, Text{
				ZH: fmt.Sprintf("无法记入登记册 %s：%v", e.Register, err),
				EN: fmt.Sprintf("it could not be entered into the register %s: %v", e.Register, err),
			}, Text{})
			j.findings[len(j.findings)-1].Failed = true
		}
	}
}

// A lookup is a name under `with` that is bound to entries of a register.
type lookup struct {
	register *Register
	key      *expression
}

// readLookup reads {register: …, key: …} under `with`.
func (r *ruleReader) readLookup(e entry, vars map[string]*cel.Type) (binding, bool) {
	var name string
	var key ast.Node
	what := "with." + e.key
	r.keys(e.value, what, map[string]func(ast.Node){
		"register": r.reader.text(&name, what+": register"),
		"key":      func(n ast.Node) { key = n },
	})
	reg := r.loader.shared.registers[name]
	if reg == nil || key == nil {
		r.fail(e.value, "%s: expected {register: …, key: …} with one of the registers %s, found %q", what, list(keysOf(r.loader.shared.registers)), name)
		return binding{}, false
	}
	x := &lookup{register: reg, key: r.keyOf(key, what+": key", vars)} // it sees the names before it
	r.rule.Registers = append(r.rule.Registers, name)
	return binding{name: e.key, lookup: x}, x.key != nil
}

// look binds the entries under the keys of a lookup, none where they cannot be
// had, and reports whether they could.
func (j *judging) look(r *Rule, b *binding) bool {
	keys, err := j.keys(b.lookup.key)
	if err != nil {
		j.broken(r, b.lookup.key, err)
		j.bound = append(j.bound, boundName{b.name, noList})
		return false
	}
	had := len(j.missing)
	var vals []ref.Val
	var seen []*Entry
	for _, key := range keys {
		at := Lookup{b.lookup.register.Name, key}
		j.asked = append(j.asked, at)
		entries, ok := j.known.Facts[at]
		if !ok {
			j.missing = append(j.missing, at)
			continue
		}
		for i := range entries {
			if slices.ContainsFunc(seen, func(e *Entry) bool { return e.Event == entries[i].Event && e.underAnyKey(entries[i]) }) {
				continue // it stands under two of the keys
			}
			seen = append(seen, &entries[i])
			vals = append(vals, &entryValue{object{b.lookup.register.entry}, &entries[i]})
			j.looked = append(j.looked, entries[i].Event)
		}
	}
	list := noList
	if len(vals) > 0 {
		list = types.NewRefValList(listAdapter, vals)
	}
	j.bound = append(j.bound, boundName{b.name, list})
	if len(j.missing) > had {
		j.unanswered(r, b.lookup.register)
		return false
	}
	return true
}

// unanswered is the finding of a rule whose register was not at hand.
func (j *judging) unanswered(r *Rule, reg *Register) {
	f := j.finding(r)
	f.Verdict, f.Demands, f.Failed = Flag, "", true
	f.Detail = Text{
		ZH: fmt.Sprintf("规则无法判断：登记册「%s」不在手边", reg.Title.ZH),
		EN: fmt.Sprintf("the rule could not be judged: the register %s is not at hand", quoted(reg.Title)),
	}
	j.findings = append(j.findings, f)
}

// Lookups is what the rules need to know of registers to judge an act: what
// known.Facts has not got. Ask for all of it and call Judge with the answers.
func (p *Procedure) Lookups(h *History, next Step, known Known) []Lookup {
	_, missing := p.Asks(h, next, known)
	return missing
}

// Asks is all that the rules ask of registers to judge an act, and what of it
// known.Facts has not got. What they ask may depend on what was answered.
func (p *Procedure) Asks(h *History, next Step, known Known) (asked, missing []Lookup) {
	act := p.actIndex(next.Act)
	if act >= 0 && !p.looks[act] || act < 0 && !p.anyLooks {
		return nil, nil
	}
	j := p.begin(h, &next, p.params, known)
	defer j.end()
	for _, u := range j.uses() {
		if r := u.rule; len(r.Registers) > 0 && r.inForce(j.on) {
			j.apply(u)
		}
	}
	return eachOnce(slices.Clone(j.asked)), eachOnce(slices.Clone(j.missing))
}

// eachOnce sorts lookups and leaves out doubles.
func eachOnce(lookups []Lookup) []Lookup {
	slices.SortFunc(lookups, func(a, b Lookup) int {
		return cmp.Or(strings.Compare(a.Register, b.Register), strings.Compare(a.Key, b.Key))
	})
	return slices.Compact(lookups)
}
