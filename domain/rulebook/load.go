package rulebook

import (
	"io/fs"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"github.com/goccy/go-yaml/ast"
	"golang.org/x/sync/errgroup"

	"liuhen/domain/calendar"
)

// Load reads every .yaml file of some file systems and makes a book that
// counts days by the State Council notices the program ships with.
//
// The first file system is the national law. Those after it are an agency's
// own: they may set parameters and add code tables, types, parameters,
// procedures and rules, but not change or replace what the law before them
// says; a rule of theirs has an id with a prefix of their own, not R-.
//
// What is wrong with the files comes back as Errors, all at once where that
// is possible. Any bytes may be read: Load does not panic, and its work is
// bounded by the size of the files.
func Load(fsys ...fs.FS) (*Book, error) { return LoadWith(calendar.National(), fsys...) }

// LoadWith is Load with another calendar, such as one with a newer notice.
func LoadWith(cal *calendar.Calendar, fsys ...fs.FS) (*Book, error) { return loadAll(cal, fsys, nil) }

// loadAll is LoadWith, with files that an agency has put in force beside those of the
// file systems.
func loadAll(cal *calendar.Calendar, fsys []fs.FS, own []File) (*Book, error) {
	l := &loader{cal: cal, shared: newCatalogue(), byName: map[string][]*Procedure{}}
	for i, f := range fsys {
		l.readAll(f, i > 0)
	}
	l.readOwn(own)
	if !l.unreadable { // what a file that is no YAML would have said, the others miss
		l.catalogue()
		l.procedures()
		l.rules()
		l.readNumbered()
	}
	if len(l.errs) > 0 {
		l.sortErrors()
		return nil, l.errs
	}
	b := l.book()
	b.sources = fsys
	return b, nil
}

// paramTypeName is the CEL type of `param`.
const paramTypeName = "Param"

// loader holds what is read while it is not yet a book.
type loader struct {
	cal      *calendar.Calendar
	errs     Errors
	files    []*file
	shared   *catalogue
	params   *paramValues
	compiler *compiler
	all      []*Procedure
	byName   map[string][]*Procedure
	numbered []string        // see Coverage
	leftOut  map[string]Text // by id
	source   map[*Procedure]*file
	examples []pendingExamples // one for each rule that was read, in order

	unreadable bool // a file is not YAML at all
}

// file is one law file: its keys are read, what is below them is not yet.
type file struct {
	*reader
	root      ast.Node
	procedure ast.Node // nil for a file that several procedures share
	nodes     map[string]ast.Node
	at        map[string]pos
}

// readAll reads the files of one file system in the order of their names. They
// are parsed on all processors, for that is half of the work of loading.
func (l *loader) readAll(fsys fs.FS, agency bool) {
	var files []*file
	var parsing errgroup.Group
	parsing.SetLimit(runtime.GOMAXPROCS(0))
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ext := path.Ext(name); d.IsDir() || ext != ".yaml" && ext != ".yml" {
			return nil
		}
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		f := newFile(&reader{file: name, agency: agency})
		files = append(files, f)
		parsing.Go(func() error {
			f.root = f.parse(data)
			return nil
		})
		return nil
	})
	if err != nil {
		l.errs = append(l.errs, Error{File: ".", Line: 1, Column: 1, Message: err.Error()})
	}
	_ = parsing.Wait() // mistakes are in the files
	l.take(files)
}

func newFile(r *reader) *file {
	r.errs = new(Errors)
	return &file{reader: r, nodes: map[string]ast.Node{}}
}

// take adds files that have been parsed.
func (l *loader) take(files []*file) {
	for _, f := range files {
		l.errs = append(l.errs, *f.errs...)
		l.unreadable = l.unreadable || len(*f.errs) > 0
		f.errs = &l.errs
		if f.root != nil {
			l.readFile(f)
		}
	}
}

// readFile sorts what a file has by its top keys.
func (l *loader) readFile(f *file) {
	keep := func(key string) func(ast.Node) { return func(n ast.Node) { f.nodes[key] = n } }
	known := map[string]func(ast.Node){}
	for _, k := range []string{"codes", "types", "parameters", "registers", "system_acts", "rules", "numbered", "left_out"} {
		known[k] = keep(k)
	}
	for _, e := range f.entries(f.root, "file") {
		if e.key == "procedure" {
			f.procedure = e.value
			for _, k := range []string{"procedure", "edition", "name", "basis", "retention", "dossier", "open", "stages", "acts", "enters"} {
				known[k] = keep(k)
			}
			name, _ := scalar(e.value)
			f.reader.procedure = strings.TrimSpace(name)
		}
	}
	f.at = f.keys(f.root, "file", known)
	l.files = append(l.files, f)
}

// catalogue reads what the files share, and the parameters' values.
func (l *loader) catalogue() {
	for _, f := range l.files {
		l.shared.readCodes(f.reader, f.nodes["codes"])
	}
	for _, f := range l.files {
		l.shared.declareTypes(f.reader, f.nodes["types"])
	}
	for _, f := range l.files {
		l.shared.defineTypes(f.reader, f.nodes["types"])
	}
	l.shared.resolveTypes(&l.errs)
	for _, f := range l.files {
		l.shared.readParameters(f.reader, f.nodes["parameters"])
		l.shared.readRegisters(f.reader, f.nodes["registers"])
	}
	l.params = newParamValues(l.shared.params)
	l.compiler = newCompiler(l.params.typ, l.shared)
}

// readParameters reads `parameters:`. A mapping declares one; any other value
// sets one that was declared before, which only an agency's file may do.
func (c *catalogue) readParameters(r *reader, n ast.Node) {
	for _, e := range r.entries(n, "parameters") {
		what := "parameter " + e.key
		if _, declares := e.value.(ast.MapNode); declares {
			c.declareParameter(r, e, what)
			continue
		}
		p, ok := c.params[e.key]
		switch {
		case !ok:
			r.failAt(e.at, "there is no %s to set%s", what, nearest(e.key, keysOf(c.params)))
			continue
		case p.SetIn != "":
			r.failAt(e.at, "%s is already set in %s", what, p.SetIn)
			continue
		case !r.agency:
			r.failAt(e.at, "%s: expected {type: …, default: …, says: {zh: …, en: …}}", what)
			continue
		}
		if v, ok := r.parameterValue(e.value, p.Type, what); ok {
			p.Value, p.SetIn, p.Unconfirmed = v, r.file, false
		}
	}
}

func (c *catalogue) declareParameter(r *reader, e entry, what string) {
	p := &Parameter{Name: e.key}
	var value ast.Node
	seen := r.keys(e.value, what, map[string]func(ast.Node){
		"type":        oneOf(r, &p.Type, what+": type", "money", "integer", "limit", "text", "boolean"),
		"default":     func(n ast.Node) { value = n },
		"unconfirmed": r.boolean(&p.Unconfirmed, what+": unconfirmed"),
		"says":        r.both(&p.Says, what+": says"),
		"basis":       r.text(&p.Basis, what+": basis"),
	})
	_, typed := seen["type"]
	switch at, twice := c.paramAt[e.key]; {
	case twice:
		r.failAt(e.at, "%s is already declared in %s; an agency's file sets it with `%s: value`", what, at, e.key)
		return
	case !isField(e.key):
		r.failAt(e.at, "%s: a name has letters a–z, digits and _, begins with a letter and is no word of CEL", what)
	case !typed || value == nil:
		r.failAt(e.at, "%s: expected type and default", what)
	}
	if value != nil && p.Type != "" {
		p.Value, _ = r.parameterValue(value, p.Type, what+": default")
	}
	p.Default = p.Value
	c.params[e.key], c.paramAt[e.key] = p, e.at
}

// parameterValue reads a value of a parameter's type: int64, bool or string.
func (r *reader) parameterValue(n ast.Node, typ, what string) (any, bool) {
	before := len(*r.errs)
	var value any
	switch typ {
	case "money", "integer":
		var i int64
		r.integer(&i, what)(n)
		value = i
	case "boolean":
		var b bool
		r.boolean(&b, what)(n)
		value = b
	case "limit":
		value = r.limit(n, what).String()
	default:
		var s string
		r.text(&s, what)(n)
		value = s
	}
	return value, len(*r.errs) == before
}

func (r *reader) limit(n ast.Node, what string) calendar.Limit {
	s, _ := scalar(n)
	l, err := calendar.ParseLimit(s)
	if err != nil {
		r.fail(n, "%s: %v", what, err)
	}
	return l
}

// newParamValues makes the value of `param`. Its type is made with it, because
// its fields read by index.
func newParamValues(params map[string]*Parameter) *paramValues {
	t := newObjectType(paramTypeName)
	v := &paramValues{object: object{t}, names: map[string]int{}}
	for i, name := range keysOf(params) {
		p := params[name]
		typ := cel.StringType
		switch p.Type {
		case "money", "integer":
			typ = cel.IntType
		case "boolean":
			typ = cel.BoolType
		}
		t.attribute(name, typ, func(x any) ref.Val { return x.(*paramValues).values[i] })
		v.names[name] = i
		v.values = append(v.values, nil)
		v.limits = append(v.limits, calendar.Limit{})
		v.types = append(v.types, p.Type)
		v.set(i, p.Value)
	}
	return v
}

func (v *paramValues) set(i int, value any) {
	switch x := value.(type) {
	case int64:
		v.values[i] = types.Int(x)
	case bool:
		v.values[i] = types.Bool(x)
	case string:
		v.values[i] = types.String(x)
		if v.types[i] == "limit" {
			v.limits[i], _ = calendar.ParseLimit(x)
		}
	default: // it was declared wrongly, which is reported elsewhere
		v.values[i] = types.String("")
	}
}

// with is a copy with some other values.
func (v *paramValues) with(other map[string]any) *paramValues {
	if len(other) == 0 {
		return v
	}
	c := *v
	c.values, c.limits = slices.Clone(v.values), slices.Clone(v.limits)
	for name, value := range other {
		c.set(c.names[name], value)
	}
	return &c
}

func (l *loader) sortErrors() {
	order := make(map[string]int)
	for i, f := range l.files {
		order[f.file] = i
	}
	slices.SortStableFunc(l.errs, func(a, b Error) int {
		if a.File != b.File {
			return order[a.File] - order[b.File]
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	l.errs = slices.Compact(l.errs)
}

func (l *loader) book() *Book {
	b := &Book{byName: l.byName, codes: l.shared.codes, cal: l.cal, numbered: l.numbered, leftOut: l.leftOut}
	for _, name := range slices.Sorted(maps.Keys(l.byName)) {
		b.procedures = append(b.procedures, l.byName[name]...)
	}
	for _, name := range keysOf(l.shared.registers) {
		b.registers = append(b.registers, l.shared.registers[name])
	}
	for _, name := range keysOf(l.shared.params) {
		b.parameters = append(b.parameters, l.shared.params[name])
	}
	return b
}
