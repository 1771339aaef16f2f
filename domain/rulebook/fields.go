package rulebook

import (
	"fmt"
	"maps"
	"slices"

	"github.com/goccy/go-yaml/ast"
)

// fieldKind is how the values of a field are read and kept.
type fieldKind int

const (
	kindText fieldKind = iota
	kindDate
	kindTime
	kindInteger
	kindNumber
	kindBoolean
	kindMoney
	kindCode
	kindLimit
	kindPerson
	kindUSCC
	kindIDNumber
	kindEvent
	kindFile
	kindRecord
)

// plainTypes are the field types that the format has of itself.
var plainTypes = map[string]fieldKind{
	"text":      kindText,
	"date":      kindDate,     // 2022-09-28
	"time":      kindTime,     // RFC 3339
	"integer":   kindInteger,  // whole number
	"number":    kindNumber,   // any number
	"boolean":   kindBoolean,  //
	"money":     kindMoney,    // fen, whole number
	"code":      kindCode,     // of a code table
	"limit":     kindLimit,    // 7 working days
	"person":    kindPerson,   // id or name
	"uscc":      kindUSCC,     // 统一社会信用代码
	"id-number": kindIDNumber, // of an identity document
	"event":     kindEvent,    // id of an event of the case
	"file":      kindFile,     // the text of a file, kept byte for byte, at most MaxFile
}

// recordType is a named set of fields.
type recordType struct {
	name   string
	fields []Field
	object *objectType
	at     pos
}

// catalogue is what the files share: code tables, record types, parameters,
// registers.
type catalogue struct {
	codes   map[string]*CodeTable
	codesAt map[string]pos
	records map[string]*recordType
	params  map[string]*Parameter
	paramAt map[string]pos

	registers map[string]*Register
}

func newCatalogue() *catalogue {
	return &catalogue{
		codes: map[string]*CodeTable{}, codesAt: map[string]pos{},
		records: map[string]*recordType{},
		params:  map[string]*Parameter{}, paramAt: map[string]pos{},
		registers: map[string]*Register{},
	}
}

// readCodes reads `codes:`.
func (c *catalogue) readCodes(r *reader, n ast.Node) {
	for _, table := range r.entries(n, "codes") {
		if at, twice := c.codesAt[table.key]; twice {
			r.failAt(table.at, "code table %s is already defined in %s", table.key, at)
			continue
		}
		t := &CodeTable{Name: table.key, index: map[string]int{}}
		for _, e := range r.entries(table.value, "codes."+table.key) {
			code := Code{Code: e.key}
			r.both(&code.Title, "codes."+table.key+"."+e.key)(e.value)
			t.index[code.Code] = len(t.Codes)
			t.Codes = append(t.Codes, code)
		}
		if len(t.Codes) == 0 {
			r.failAt(table.at, "code table %s has no codes: expected \"code\": {zh: …, en: …}", table.key)
			continue
		}
		c.codes[table.key], c.codesAt[table.key] = t, table.at
	}
}

// declareTypes notes the names under `types:`, so that types may refer to each
// other in any order; defineTypes then reads them.
func (c *catalogue) declareTypes(r *reader, n ast.Node) {
	for _, e := range r.entries(n, "types") {
		_, plain := plainTypes[e.key]
		switch other, twice := c.records[e.key]; {
		case plain:
			r.failAt(e.at, "type %s is one of the format's own types", e.key)
		case !isName(e.key):
			r.failAt(e.at, "type %q: a name has letters a–z, digits, _ and -, and begins with a letter", e.key)
		case twice:
			r.failAt(e.at, "type %s is already defined in %s", e.key, other.at)
		default:
			c.records[e.key] = &recordType{name: e.key, object: newObjectType(e.key), at: e.at}
		}
	}
}

func (c *catalogue) defineTypes(r *reader, n ast.Node) {
	for _, e := range r.entries(n, "types") {
		if t := c.records[e.key]; t != nil && t.at == e.at {
			t.fields = c.readFields(r, e.value, "type "+e.key, nil)
		}
	}
}

// resolveTypes gives every record type its CEL type, and refuses types that
// hold themselves.
func (c *catalogue) resolveTypes(errs *Errors) {
	var holds func(t *recordType, seen []string) bool
	holds = func(t *recordType, seen []string) bool {
		if slices.Contains(seen, t.name) {
			return true
		}
		for i := range t.fields {
			if f := &t.fields[i]; f.record != nil && holds(f.record, append(seen, t.name)) {
				return true
			}
		}
		return false
	}
	for _, name := range slices.Sorted(maps.Keys(c.records)) {
		t := c.records[name]
		if holds(t, nil) {
			*errs = append(*errs, Error{File: t.at.file, Line: t.at.line, Column: t.at.col,
				Message: fmt.Sprintf("type %s holds itself", name)})
			for i := range t.fields {
				t.fields[i].record, t.fields[i].kind = nil, kindText
			}
		}
	}
	for _, t := range c.records {
		for i := range t.fields {
			t.object.recorded(&t.fields[i])
		}
	}
	for _, t := range c.records {
		t.describe()
	}
}

// describe copies the fields of records into the exported form.
func (t *recordType) describe() {
	for i := range t.fields {
		t.fields[i].describe()
	}
}

func (f *Field) describe() {
	if f.record != nil && f.Record == nil {
		f.record.describe()
		f.Record = f.record.fields
	}
}

// readFields reads the fields of an act or a record type. keep gets the node of
// each required_if, which is compiled once the whole act is known; record types
// have none.
func (c *catalogue) readFields(r *reader, n ast.Node, where string, keep map[string]ast.Node) []Field {
	var fields []Field
	for _, e := range r.entries(n, where+": fields") {
		f := Field{Name: e.key, at: e.at}
		what := where + ": field " + e.key
		var title, typed bool
		known := map[string]func(ast.Node){
			"type":     func(n ast.Node) { r.text(&f.Type, what+": type")(n); typed = true; c.setType(r, n, &f, what) },
			"of":       r.text(&f.Of, what+": of"),
			"many":     r.boolean(&f.Many, what+": many"),
			"required": r.boolean(&f.Required, what+": required"),
			"min":      func(n ast.Node) { f.Min = new(int64); r.integer(f.Min, what+": min")(n) },
			"max":      func(n ast.Node) { f.Max = new(int64); r.integer(f.Max, what+": max")(n) },
			"name":     func(n ast.Node) { title = true; r.both(&f.Title, what+": name")(n) },
			"help":     r.both(&f.Help, what+": help"),
		}
		if keep != nil {
			known["required_if"] = func(n ast.Node) { r.text(&f.RequiredIf, what+": required_if")(n); keep[f.Name] = n }
		}
		seen := r.keys(e.value, what, known)
		switch {
		case !isField(e.key):
			r.failAt(e.at, "%s: a field's name has letters a–z, digits and _, begins with a letter and is no word of CEL", what)
		case !typed:
			r.failAt(e.at, "%s: expected type: one of %s", what, list(c.typeNames()))
		case f.kind == kindCode && f.Of == "":
			r.failAt(e.at, "%s: a code needs of: the name of a code table, one of %s", what, list(keysOf(c.codes)))
		case f.kind == kindCode && c.codes[f.Of] == nil:
			r.failAt(seen["of"], "%s: there is no code table %q%s", what, f.Of, nearest(f.Of, keysOf(c.codes)))
		case f.kind != kindCode && f.Of != "":
			r.failAt(seen["of"], "%s: only a code has of", what)
		case (f.Min != nil || f.Max != nil) && f.kind != kindInteger && f.kind != kindMoney:
			r.failAt(e.at, "%s: only an integer or money has min and max", what)
		}
		if !title {
			f.Title = Text{ZH: f.Name, EN: f.Name}
		}
		if f.codes = c.codes[f.Of]; f.codes != nil {
			f.Codes = f.codes.Codes
		} else if f.kind == kindCode {
			f.kind = kindText // it is wrong; what follows must be able to go on
		}
		fields = append(fields, f)
	}
	return fields
}

func (c *catalogue) setType(r *reader, n ast.Node, f *Field, what string) {
	if k, ok := plainTypes[f.Type]; ok {
		f.kind = k
		return
	}
	if t, ok := c.records[f.Type]; ok {
		f.kind, f.record = kindRecord, t
		return
	}
	r.fail(n, "%s: there is no type %q%s; there are %s", what, f.Type, nearest(f.Type, c.typeNames()), list(c.typeNames()))
}

func (c *catalogue) typeNames() []string {
	return append(keysOf(plainTypes), keysOf(c.records)...)
}

// reserved words cannot be identifiers in CEL.
var reserved = map[string]bool{
	"as": true, "break": true, "const": true, "continue": true, "else": true, "false": true, "for": true, "function": true,
	"if": true, "import": true, "in": true, "let": true, "loop": true, "namespace": true, "null": true, "package": true,
	"return": true, "true": true, "var": true, "void": true, "while": true,
}

func isField(s string) bool {
	for i, c := range s {
		if !(c >= 'a' && c <= 'z' || c == '_' && i > 0 || c >= '0' && c <= '9' && i > 0) {
			return false
		}
	}
	return s != "" && !reserved[s]
}

// isName reports whether a text can name a procedure, an act or a stage.
func isName(s string) bool {
	for i, c := range s {
		if !(c >= 'a' && c <= 'z' || i > 0 && (c == '-' || c == '_' || c >= '0' && c <= '9')) {
			return false
		}
	}
	return s != ""
}
