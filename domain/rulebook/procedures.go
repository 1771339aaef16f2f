package rulebook

import (
	"fmt"
	"slices"

	"cel.dev/cel-go/cel"
	"github.com/goccy/go-yaml/ast"
)

// procedures reads every procedure with its stages, acts and fields.
func (l *loader) procedures() {
	l.source = make(map[*Procedure]*file)
	for _, f := range l.files {
		if f.procedure != nil {
			l.readProcedure(f)
		}
	}
	l.systemActs()
	for _, editions := range l.byName {
		slices.SortFunc(editions, func(a, b *Procedure) int { return a.Edition.Compare(b.Edition) })
	}
	cal := newCalendarValue(l.cal)
	for _, p := range l.all {
		p.params, p.cal = l.params, cal
	}
}

func (l *loader) readProcedure(f *file) {
	p := &Procedure{Source: f.file, acts: map[string]int32{}, stages: map[string]int32{}}
	f.text(&p.Name, "procedure")(f.procedure)
	need := func(key string, decode func(ast.Node)) {
		n, ok := f.nodes[key]
		if !ok {
			f.failAt(f.at["procedure"], "expected %s: in a procedure's file", key)
			return
		}
		decode(n)
	}
	need("edition", func(n ast.Node) {
		f.date(&p.Edition, "edition")(n)
		if isNull(n) {
			f.fail(n, "edition: expected the day from which this text is in force")
		}
	})
	need("name", f.both(&p.Title, "name"))
	f.optional("basis", f.text(&p.Basis, "basis"))
	f.optional("retention", f.text(&p.Retention, "retention"))
	f.optional("open", f.boolean(&p.Open, "open"))
	f.optional("stages", func(n ast.Node) { f.readStages(p, n) })
	if n, ok := f.nodes["acts"]; ok {
		l.readActs(f, p, n)
	} else if !p.Open {
		f.failAt(f.at["procedure"], "expected acts: in a procedure's file (or open: true)")
	}
	l.roads(f, p)
	f.optional("dossier", func(n ast.Node) { f.readDossier(p, n) })

	if !isName(p.Name) {
		f.fail(f.procedure, "procedure %q: a name has letters a–z, digits, - and _, and begins with a letter", p.Name)
	}
	for _, other := range l.byName[p.Name] {
		switch {
		case other.Edition == p.Edition:
			f.failAt(f.at["procedure"], "procedure %s in the edition of %s is already defined in %s", p.Name, p.Edition, other.Source)
			return
		case f.agency && !l.source[other].agency:
			f.failAt(f.at["procedure"], "procedure %s is national law (%s); an agency's own file cannot replace it", p.Name, other.Source)
			return
		}
	}
	l.byName[p.Name] = append(l.byName[p.Name], p)
	l.all = append(l.all, p)
	l.source[p] = f
}

func (f *file) optional(key string, decode func(ast.Node)) {
	if n, ok := f.nodes[key]; ok {
		decode(n)
	}
}

func (f *file) readStages(p *Procedure, n ast.Node) {
	for _, e := range f.entries(n, "stages") {
		s := Stage{Name: e.key}
		f.both(&s.Title, "stage "+e.key)(e.value)
		if !isName(e.key) {
			f.failAt(e.at, "stage %q: a name has letters a–z, digits, - and _, and begins with a letter", e.key)
		}
		p.stages[s.Name] = int32(len(p.Stages))
		p.Stages = append(p.Stages, s)
	}
}

func (l *loader) readActs(f *file, p *Procedure, n ast.Node) {
	conditions := make(map[*Act]map[string]ast.Node)
	opens := false
	for _, e := range f.entries(n, "acts") {
		a, needed := l.readAct(f, p, e)
		p.acts[a.Name] = int32(len(p.Acts))
		p.Acts = append(p.Acts, a)
		conditions[a] = needed
		opens = opens || a.Opens
	}
	if len(p.Acts) > 0 && !opens {
		f.failAt(f.at["acts"], "no act of the procedure can open a case: expected opens: true at one of them")
	}
	// Conditions are compiled when all acts are known: they may name them.
	for _, a := range p.Acts {
		for field, n := range conditions[a] {
			l.compileNeeded(f, p, a, field, n)
		}
	}
}

func (l *loader) readAct(f *file, p *Procedure, e entry) (*Act, map[string]ast.Node) {
	what := "act " + e.key
	a := &Act{Name: e.key, fields: map[string]int{}, to: -1}
	needed := make(map[string]ast.Node)
	var titled bool
	var officers int64
	var stage ast.Node
	f.keys(e.value, what, map[string]func(ast.Node){
		"name":      func(n ast.Node) { titled = true; f.both(&a.Title, what+": name")(n) },
		"help":      f.both(&a.Help, what+": help"),
		"basis":     f.text(&a.Basis, what+": basis"),
		"effect":    f.boolean(&a.Effect, what+": effect"),
		"opens":     f.boolean(&a.Opens, what+": opens"),
		"closes":    f.boolean(&a.Closes, what+": closes"),
		"once":      f.boolean(&a.Once, what+": once"),
		"notes":     f.boolean(&a.Notes, what+": notes"),
		"by":        f.words(&a.By, what+": by"),
		"officers":  f.integer(&officers, what+": officers"),
		"stage":     func(n ast.Node) { stage = n },
		"recording": oneOf(f.reader, &a.Recording, what+": recording", RecordNone, RecordText, RecordVisual, RecordAsNeeded),
		"publicity": func(n ast.Node) { a.Publicity = l.readPublicity(f, n, what+": publicity") },
		"documents": func(n ast.Node) { f.readDocuments(a, n, what) },
		"fields":    func(n ast.Node) { a.Fields = l.shared.readFields(f.reader, n, what, needed) },
	})
	if !isName(e.key) && !p.Open {
		f.failAt(e.at, "%s: a name has letters a–z, digits, - and _, and begins with a letter", what)
	}
	if !titled {
		f.failAt(e.at, "%s: expected name: {zh: …, en: …}", what)
	}
	if officers < 0 || officers > 20 {
		f.failAt(e.at, "%s: officers: expected 0 to 20, found %d", what, officers)
	}
	a.Officers = int(officers)
	if len(a.By) == 0 {
		a.By = []string{"any"}
	}
	f.readStage(p, a, stage, what)
	for i := range a.Fields {
		field := &a.Fields[i]
		a.fields[field.Name] = i
		if _, common := l.compiler.anything.fields[field.Name]; common {
			f.failAt(field.at, "%s: field %q: every act has an attribute of that name; expected another name than %s",
				what, field.Name, list(l.compiler.anything.order))
		}
		field.describe()
	}
	for _, d := range a.Documents {
		for _, name := range d.States {
			if _, ok := a.fields[name]; !ok {
				f.failAt(e.at, "%s: document %s states %q, which is no field of the act", what, d.Kind, name)
			}
		}
	}
	return a, needed
}

func (l *loader) readPublicity(f *file, n ast.Node, what string) *Publicity {
	var p Publicity
	var within ast.Node
	f.keys(n, what, map[string]func(ast.Node){
		"within": func(n ast.Node) { within = n },
		"basis":  f.text(&p.Basis, what+": basis"),
	})
	if within == nil {
		f.fail(n, "%s: expected within: the limit", what)
		return nil
	}
	p.limit, _ = l.readLimit(f.reader, within, what+": within")
	p.Within = p.limit.text
	return &p
}

// readDossier reads the order of the documents, each of which some act has.
func (f *file) readDossier(p *Procedure, n ast.Node) {
	p.Dossier = &Dossier{}
	kinds := make(map[string]bool)
	for _, a := range p.Acts {
		for _, d := range a.Documents {
			kinds[d.Kind] = true
		}
	}
	volume := func(into *[]string, what string) func(ast.Node) {
		return func(n ast.Node) {
			f.words(into, what)(n)
			for _, kind := range *into {
				if !kinds[kind] {
					f.fail(n, "%s: no act has a document %q%s", what, kind, nearest(kind, keysOf(kinds)))
				}
			}
		}
	}
	f.keys(n, "dossier", map[string]func(ast.Node){
		"main": volume(&p.Dossier.Main, "dossier: main"),
		"side": volume(&p.Dossier.Side, "dossier: side"),
	})
}

// readStage reads `stage:`, which is {from: …, to: …}, or one word for both.
func (f *file) readStage(p *Procedure, a *Act, n ast.Node, what string) {
	if n != nil {
		if s, ok := scalar(n); ok {
			a.From = []string{s}
		} else {
			f.keys(n, what+": stage", map[string]func(ast.Node){
				"from": f.words(&a.From, what+": stage.from"),
				"to":   f.text(&a.To, what+": stage.to"),
			})
		}
	}
	a.belongs = make([]bool, len(p.Stages))
	for _, s := range a.From {
		i, ok := p.stages[s]
		if !ok {
			f.fail(n, "%s: there is no stage %q; there are %s", what, s, list(p.stageNames()))
			continue
		}
		a.belongs[i] = true
	}
	if a.To != "" {
		i, ok := p.stages[a.To]
		if !ok {
			f.fail(n, "%s: there is no stage %q; there are %s", what, a.To, list(p.stageNames()))
			return
		}
		a.to = i
	}
}

func (f *file) readDocuments(a *Act, n ast.Node, what string) {
	for i, item := range f.items(n) {
		var d Document
		where := fmt.Sprintf("%s: document %d", what, i+1)
		f.keys(item, where, map[string]func(ast.Node){
			"kind":     f.text(&d.Kind, where+": kind"),
			"en":       f.text(&d.EN, where+": en"),
			"required": f.boolean(&d.Required, where+": required"),
			"volume":   oneOf(f.reader, &d.Volume, where+": volume", "main", "side"),
			"external": f.boolean(&d.External, where+": external"),
			"states":   f.words(&d.States, where+": states"),
		})
		if d.Kind == "" {
			f.fail(item, "%s: expected kind: the name of the document", where)
			continue
		}
		a.Documents = append(a.Documents, d)
	}
}

// compileNeeded compiles a required_if. Check evaluates it before anything but
// the fields is known, so it may look at nothing else.
func (l *loader) compileNeeded(f *file, p *Procedure, a *Act, field string, n ast.Node) {
	what := fmt.Sprintf("act %s: field %s: required_if", a.Name, field)
	act := l.compiler.actType(p, []string{a.Name})
	e := l.compiler.compile(f.reader, p, n, what, l.compiler.scope(map[string]*cel.Type{"act": act.cel}), cel.BoolType)
	if e == nil {
		return
	}
	for _, attribute := range e.reads["act"] {
		if _, ok := a.Field(attribute); !ok {
			f.fail(n, "%s: expected a condition on the act's own fields; act.%s is not one", what, attribute)
			return
		}
	}
	if e.readsOf("case") {
		f.fail(n, "%s: expected a condition on the act's own fields; the case is not known yet", what)
		return
	}
	target, _ := a.Field(field)
	target.needed = e
}
