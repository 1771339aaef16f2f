package intake

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // IANA zones on machines that have none
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"

	"liuhen/domain"
)

// A Mapping says how the rows of a log become acts. It is read from a YAML
// file, whose form is this:
//
//	mapping: traffic-fine-csv        # its name
//	says: what it is for
//	format: csv                      # csv | xes; either may be gzipped
//	encoding: utf-8                  # csv: utf-8 | gb18030 | big5; XES says its own
//	delimiter: ","                   # csv: one character, or tab
//	quotes: strict                   # csv: strict | lazy (a quote inside a cell is a character)
//	ragged: refuse                   # csv: a row with too few or too many cells: refuse | pad
//	undecodable: refuse              # bytes that are not of the encoding: refuse | replace (with U+FFFD)
//	procedure: traffic-fine          # or imported, which takes any act and field
//	agency: some-agency              # optional: the agency of the cases
//	case: {column: case_id}          # also prefix, replace, unfit, missing: see caseRule
//	act: {column: activity, map: {Create Fine: create-fine}, unknown: refuse}  # unknown: refuse | keep
//	time: {column: timestamp, layouts: [date], zone: Europe/Rome}
//	order: file                      # or a column: the number that orders the rows of a case inside a day
//	officer: {column: resource, acts: [create-fine], empty: ["0"]}
//	empty: ["", NULL]                # cells that mean: nothing
//	numbers: {decimal: ",", thousands: "."}
//	ignore: [lifecycle]              # columns that are left out on purpose
//	other_columns: refuse            # columns named nowhere: refuse | ignore | keep (as fields)
//	parts: {fields: fields, officers: officers, place: place}  # xes: parts of an act, see partsRule
//	fields:
//	  amount: {column: amount, type: money, unit: euro, acts: [create-fine]}
//	  # also value, codes, invalid, unknown, elsewhere, difference, digits,
//	  # lost_point, empty, time: see fieldRule
//
// A layout is date (2006-01-02), datetime (2006-01-02 15:04:05, T or blank
// between, a fraction allowed), rfc3339 (the same with an offset), unix,
// unix-ms, or a layout of Go's package time. A zone is an IANA name or an
// offset such as +08:00; a day without a time is that zone's midnight.
//
// In an XES log the attribute k of an event is the column k, the attribute k
// of its trace the column case:k, a nested attribute c of k is k/c, and the
// n-th item of a list k with the key c is k/n/c.
type Mapping struct {
	Name      string
	Says      string
	Format    string // csv or xes
	Procedure string
	Agency    string // empty: the receiver's choice
	Digest    string // "sha256:" and the hash of the file

	encoding    string
	delimiter   rune
	lazyQuotes  bool
	padRagged   bool
	replaceBad  bool
	caseID      caseRule
	act         actRule
	time        timeRule
	order       string // column; empty: as in the file
	officer     officerRule
	parts       partsRule
	empty       []string
	decimal     byte
	thousands   byte // 0: none
	ignore      []string
	others      string // refuse | ignore | keep
	fields      []fieldRule
	fieldColumn map[string]bool // every column that a rule names
}

// A caseRule makes a case id. What is left unfit to be one after prefix and
// replace is refused, or gets a digest of the raw id behind its fit
// characters, so that two raw ids never become one case.
type caseRule struct {
	column  string
	prefix  string
	replace map[string]string // one character each for text that may not stand in a case id; a raw id that holds such a character already is unfit
	unfit   string            // refuse | digest
	missing string            // refuse | number: the trace's number and the file's digest (XES)

	replacing []string // replace, as strings.NewReplacer wants it
}

// maxPrefix is how long the prefix of a case id may be, in bytes.
const maxPrefix = 32

type actRule struct {
	column  string
	names   map[string]string // activity → act
	unknown string            // refuse | keep
}

type timeRule struct {
	column  string
	layouts []string
	zone    *time.Location // nil: the layouts have an offset
}

type officerRule struct {
	column string // empty: no officers
	acts   []string
	empty  []string
}

// A fieldRule fills one field of an act.
type fieldRule struct {
	name   string
	column string   // empty: value is a constant
	value  string   // the constant, as text of the given type
	acts   []string // nil: every act
	kind   string   // text | code | integer | integer-text (a whole number, kept as text) | number | boolean | date | time | money
	unit   string   // of money as the file writes it: euro, yuan, wan-yuan, euro-cent, fen
	codes  map[string]string
	// A value that cannot be read refuses its row, is left out with a note, or
	// is left out silently, where another field keeps it raw. A code that is
	// not listed may be kept as it is, too.
	invalid string // refuse | drop | ignore
	unknown string // refuse | drop | keep
	// A value of this column on another act than acts, where no other rule
	// takes it: noted as left out, left out silently, or refused.
	elsewhere string // note | ignore | refuse
	// The field is the amount by which the column grew since the last row of
	// the case that had it, from 0.
	difference bool
	// The difference is taken only if it has the digits of this column, which
	// has lost its decimal point.
	digits string
	// The file has lost the decimal point of this money. The source wrote at
	// least one decimal place and no zero behind the first, so a number that
	// ends in 0 had one; of any other number it is not known where the point
	// was, and it is invalid.
	lostPoint bool
	empty     []string // nil: the mapping's
	time      timeRule // for date and time; zero: the mapping's
}

var fieldKinds = []string{"text", "code", "integer", "integer-text", "number", "boolean", "date", "time", "money"}

// Money is kept in the smallest unit; these are the units that a file may
// write it in, as powers of ten of the smallest.
var moneyUnits = map[string]int{"euro": 2, "euro-cent": 0, "yuan": 2, "wan-yuan": 6, "fen": 0}

//go:embed mappings/*.yaml
var shipped embed.FS

// Shipped returns the names of the mappings that come with the program.
func Shipped() []string {
	files, err := fs.Glob(shipped, "mappings/*.yaml")
	if err != nil {
		panic("intake: " + err.Error())
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(strings.TrimPrefix(f, "mappings/"), ".yaml")
	}
	return files
}

// LoadMapping reads the mapping file at a path, or, where there is no such
// file, the shipped mapping of that name.
func LoadMapping(path string) (*Mapping, error) {
	data, err := os.ReadFile(path)
	if err == nil {
		return ReadMapping(path, data)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read mapping: %w", err)
	}
	if !slices.Contains(Shipped(), path) {
		return nil, fmt.Errorf("no mapping file %s, and no shipped mapping of that name; shipped are %s", path, strings.Join(Shipped(), ", "))
	}
	if data, err = shipped.ReadFile("mappings/" + path + ".yaml"); err != nil {
		return nil, fmt.Errorf("read mapping: %w", err)
	}
	return ReadMapping(path+".yaml", data)
}

// ReadMapping reads a mapping from the bytes of a file; name goes into its
// errors, which are MappingErrors.
func ReadMapping(name string, data []byte) (*Mapping, error) {
	f := &yamlFile{name: name}
	sum := sha256.Sum256(data)
	m := &Mapping{
		Digest:    "sha256:" + hex.EncodeToString(sum[:]),
		encoding:  "utf-8",
		delimiter: ',',
		caseID:    caseRule{unfit: "refuse", missing: "refuse"},
		act:       actRule{unknown: "refuse"},
		empty:     []string{""},
		decimal:   '.',
		others:    "refuse",
	}
	if root := f.parse(data); root != nil {
		f.mapping(m, root)
	}
	if len(f.errs) > 0 {
		return nil, f.errs
	}
	return m, nil
}

func (f *yamlFile) mapping(m *Mapping, root ast.Node) {
	var delimiter, quotes, ragged, undecodable, order string
	var fields []entry
	found := f.keys(root, "mapping file", map[string]func(ast.Node){
		"mapping":       f.text(&m.Name, "mapping"),
		"says":          f.text(&m.Says, "says"),
		"format":        f.choice(&m.Format, "format", "csv", "xes"),
		"encoding":      f.choice(&m.encoding, "encoding", "utf-8", "gb18030", "big5"),
		"delimiter":     f.text(&delimiter, "delimiter"),
		"quotes":        f.choice(&quotes, "quotes", "strict", "lazy"),
		"ragged":        f.choice(&ragged, "ragged", "refuse", "pad"),
		"undecodable":   f.choice(&undecodable, "undecodable", "refuse", "replace"),
		"procedure":     f.text(&m.Procedure, "procedure"),
		"agency":        f.text(&m.Agency, "agency"),
		"case":          func(n ast.Node) { f.caseRule(&m.caseID, n) },
		"act":           func(n ast.Node) { f.actRule(&m.act, n) },
		"time":          func(n ast.Node) { f.timeRule(&m.time, n, true) },
		"order":         f.text(&order, "order"),
		"officer":       func(n ast.Node) { f.officerRule(&m.officer, n) },
		"parts":         func(n ast.Node) { f.partsRule(&m.parts, n) },
		"empty":         f.list(&m.empty, "empty"),
		"numbers":       func(n ast.Node) { f.numbers(m, n) },
		"ignore":        f.list(&m.ignore, "ignore"),
		"other_columns": f.choice(&m.others, "other_columns", "refuse", "ignore", "keep"),
		"fields":        func(n ast.Node) { fields = f.entries(n, "fields") },
	})
	for _, need := range []string{"mapping", "format", "procedure", "case", "act", "time"} {
		if _, ok := found[need]; !ok {
			f.fail(root, "the key %s is missing", need)
		}
	}
	for _, e := range fields {
		m.fields = append(m.fields, f.fieldRule(m, e))
	}

	m.lazyQuotes, m.padRagged, m.replaceBad = quotes == "lazy", ragged == "pad", undecodable == "replace"
	if order != "file" {
		m.order = order
	}
	if at, ok := found["delimiter"]; ok {
		m.delimiter = f.delimiter(at, delimiter)
	}
	for key, value := range map[string]string{"procedure": m.Procedure, "agency": m.Agency} {
		if at, ok := found[key]; ok && value != "" {
			if why := domain.Token(value); why != "" {
				f.failAt(at, "%s %q %s", key, value, why)
			}
		}
	}
	if m.Format == "xes" {
		if at, ok := found["officer"]; ok && m.parts.officers != "" {
			f.failAt(at, "officer: parts.officers has them already")
		}
		for _, key := range []string{"encoding", "delimiter", "quotes", "ragged"} {
			if at, ok := found[key]; ok {
				f.failAt(at, "%s is for CSV; an XES file says its own", key)
			}
		}
	}
	if at, ok := found["undecodable"]; ok && m.Format == "xes" {
		f.failAt(at, "undecodable is for CSV; XML with wrong bytes is not well-formed")
	}
	if at, ok := found["parts"]; ok && m.Format != "xes" {
		f.failAt(at, "parts are for XES, whose attributes can hold others")
	}
	if m.Format == "csv" && m.caseID.missing == "number" {
		f.failAt(found["case"], "case: missing: number is for XES, where a trace holds its events together")
	}
	m.name(f, found)
}

// name gathers the columns that the mapping names, and complains where a
// column is both used and ignored.
func (m *Mapping) name(f *yamlFile, found map[string][2]int) {
	m.fieldColumn = make(map[string]bool)
	add := func(c string) {
		if c != "" {
			m.fieldColumn[c] = true
		}
	}
	for _, c := range []string{m.caseID.column, m.act.column, m.time.column, m.order, m.officer.column} {
		add(c)
	}
	for _, c := range m.parts.columns() {
		add(c)
	}
	for _, r := range m.fields {
		add(r.column)
		add(r.digits)
	}
	for _, c := range m.ignore {
		if m.fieldColumn[c] {
			f.failAt(found["ignore"], "ignore: column %q is used above", c)
		}
	}
}

func (f *yamlFile) delimiter(at [2]int, s string) rune {
	if s == "tab" {
		return '\t'
	}
	r, n := utf8.DecodeRuneInString(s)
	if n != len(s) || r == '"' || r == '\n' || r == '\r' || r == utf8.RuneError {
		f.failAt(at, "delimiter: expected one character or tab, found %q", s)
		return ','
	}
	return r
}

// column allows the short form of a rule: just the name of its column.
func column(n ast.Node, into *string) bool {
	if s, ok := scalar(n); ok && !isNull(n) && s != "" {
		*into = s
		return true
	}
	return false
}

func (f *yamlFile) caseRule(c *caseRule, n ast.Node) {
	if column(n, &c.column) {
		return
	}
	found := f.keys(n, "case", map[string]func(ast.Node){
		"column":  f.text(&c.column, "case.column"),
		"prefix":  f.text(&c.prefix, "case.prefix"),
		"replace": f.table(&c.replace, "case.replace"),
		"unfit":   f.choice(&c.unfit, "case.unfit", "refuse", "digest"),
		"missing": f.choice(&c.missing, "case.missing", "refuse", "number"),
	})
	f.need(n, "case", found, "column")
	if at, ok := found["prefix"]; ok && c.prefix != "" {
		if why := domain.Token(c.prefix); why != "" {
			f.failAt(at, "case.prefix %q %s", c.prefix, why)
		}
	}
	if len(c.prefix) > maxPrefix {
		f.failAt(found["prefix"], "case.prefix has more than %d bytes", maxPrefix)
	}
	by := make(map[string]string)
	for _, from := range sortedKeys(c.replace) {
		to := c.replace[from]
		if other, ok := by[to]; ok {
			f.failAt(found["replace"], "case.replace: %q and %q both become %q, so two case ids could become one", other, from, to)
		}
		by[to] = from
		if from == "" || utf8.RuneCountInString(to) != 1 || domain.Token(to) != "" {
			f.failAt(found["replace"], "case.replace: %q → %q: expected some text on the left, and on the right one character that a case id may hold", from, to)
		}
		c.replacing = append(c.replacing, from, to)
	}
}

func (f *yamlFile) need(n ast.Node, what string, found map[string][2]int, keys ...string) {
	for _, k := range keys {
		if _, ok := found[k]; !ok {
			f.fail(n, "%s: the key %s is missing", what, k)
		}
	}
}

func (f *yamlFile) actRule(a *actRule, n ast.Node) {
	if column(n, &a.column) {
		a.unknown = "keep"
		return
	}
	found := f.keys(n, "act", map[string]func(ast.Node){
		"column":  f.text(&a.column, "act.column"),
		"map":     f.table(&a.names, "act.map"),
		"unknown": f.choice(&a.unknown, "act.unknown", "refuse", "keep"),
	})
	f.need(n, "act", found, "column")
	for activity, act := range a.names {
		if why := unfitAct(act); why != "" {
			f.failAt(found["map"], "act.map: the act of %q %s", activity, why)
		}
	}
	if a.unknown == "refuse" && len(a.names) == 0 {
		f.fail(n, "act: without a map every activity is unknown; write unknown: keep to take them as they are")
	}
}

// unfitAct says why a name cannot be an act's; "" where it can.
func unfitAct(name string) string {
	switch {
	case strings.TrimSpace(name) == "":
		return "is empty"
	case len(name) > 200:
		return "has more than 200 bytes"
	case !utf8.ValidString(name):
		return "is not UTF-8"
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "has a control character"
	}
	return ""
}

func (f *yamlFile) timeRule(t *timeRule, n ast.Node, withColumn bool) {
	var zone string
	known := map[string]func(ast.Node){
		"layouts": f.list(&t.layouts, "time.layouts"),
		"zone":    f.text(&zone, "time.zone"),
	}
	if withColumn {
		known["column"] = f.text(&t.column, "time.column")
	}
	found := f.keys(n, "time", known)
	if withColumn {
		f.need(n, "time", found, "column")
	}
	f.need(n, "time", found, "layouts")
	if at, ok := found["zone"]; ok && zone != "" {
		loc, err := parseZone(zone)
		if err != nil {
			f.failAt(at, "time.zone: %v", err)
			return
		}
		t.zone = loc
	}
	if at, ok := found["layouts"]; ok && len(t.layouts) == 0 {
		f.failAt(at, "time.layouts: the list is empty")
	}
	for _, l := range t.layouts {
		local, err := layoutIsLocal(l)
		switch {
		case err != nil:
			f.failAt(found["layouts"], "time.layouts: %v", err)
		case local && t.zone == nil:
			f.failAt(found["layouts"], "time.layouts: %s has no offset, so the key zone is needed", l)
		}
	}
}

func (f *yamlFile) officerRule(o *officerRule, n ast.Node) {
	if column(n, &o.column) {
		return
	}
	found := f.keys(n, "officer", map[string]func(ast.Node){
		"column": f.text(&o.column, "officer.column"),
		"acts":   f.list(&o.acts, "officer.acts"),
		"empty":  f.list(&o.empty, "officer.empty"),
	})
	f.need(n, "officer", found, "column")
}

func (f *yamlFile) numbers(m *Mapping, n ast.Node) {
	decimal, thousands := ".", ""
	found := f.keys(n, "numbers", map[string]func(ast.Node){
		"decimal":   f.choice(&decimal, "numbers.decimal", ".", ","),
		"thousands": f.choice(&thousands, "numbers.thousands", ".", ",", " ", "'"),
	})
	m.decimal = decimal[0]
	if thousands != "" {
		m.thousands = thousands[0]
	}
	if m.thousands == m.decimal {
		f.failAt(found["thousands"], "numbers: decimal and thousands are the same")
	}
}

// fieldName is what a field may be called: an identifier, as rules use it.
var fieldName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

func (f *yamlFile) fieldRule(m *Mapping, e entry) fieldRule {
	r := fieldRule{name: e.key, kind: "text", invalid: "refuse", unknown: "refuse", elsewhere: "note"}
	what := "fields." + e.key
	if !fieldName.MatchString(e.key) {
		f.failAt(e.at, "fields: %q is no field name; lower-case letters, digits and _ are allowed, a letter first", e.key)
	}
	if column(e.value, &r.column) {
		return r
	}
	timeSeen := false
	found := f.keys(e.value, what, map[string]func(ast.Node){
		"column":     f.text(&r.column, what+".column"),
		"value":      f.text(&r.value, what+".value"),
		"acts":       f.list(&r.acts, what+".acts"),
		"type":       f.choice(&r.kind, what+".type", fieldKinds...),
		"unit":       f.choice(&r.unit, what+".unit", sortedKeys(moneyUnits)...),
		"codes":      f.table(&r.codes, what+".codes"),
		"invalid":    f.choice(&r.invalid, what+".invalid", "refuse", "drop", "ignore"),
		"unknown":    f.choice(&r.unknown, what+".unknown", "refuse", "drop", "keep"),
		"elsewhere":  f.choice(&r.elsewhere, what+".elsewhere", "note", "ignore", "refuse"),
		"difference": f.flag(&r.difference, what+".difference"),
		"digits":     f.text(&r.digits, what+".digits"),
		"lost_point": f.flag(&r.lostPoint, what+".lost_point"),
		"empty":      f.list(&r.empty, what+".empty"),
		"time":       func(n ast.Node) { timeSeen = true; f.timeRule(&r.time, n, false) },
	})
	has := func(key string) bool { _, ok := found[key]; return ok }
	clash := func(key, why string) { f.failAt(found[key], "%s: %s", what, why) }
	if has("column") == has("value") {
		f.fail(e.value, "%s: expected either column or value", what)
	}
	switch {
	case r.kind == "money" && !has("unit"):
		f.fail(e.value, "%s: money needs the key unit, one of %s", what, strings.Join(sortedKeys(moneyUnits), ", "))
	case r.kind != "money" && has("unit"):
		clash("unit", "unit is for money")
	}
	if timeSeen && r.kind != "date" && r.kind != "time" {
		clash("time", "time is for the types date and time")
	}
	if !timeSeen && (r.kind == "date" || r.kind == "time") {
		r.time = timeRule{layouts: m.time.layouts, zone: m.time.zone}
	}
	if has("codes") && r.kind != "code" && r.kind != "text" {
		clash("codes", "codes are for the types code and text")
	}
	if has("unknown") && !has("codes") {
		clash("unknown", "unknown says what to do with codes that are not listed; there is no list")
	}
	if r.difference && r.kind != "money" && r.kind != "integer" {
		clash("difference", "a difference is of money or integer")
	}
	if r.lostPoint && (r.kind != "money" || moneyUnits[r.unit] < 1 || r.difference) {
		clash("lost_point", "lost_point is for money in a unit that has decimal places, and not for differences")
	}
	if has("digits") && !r.difference {
		clash("digits", "digits is the check of a difference")
	}
	f.actsKnown(m, found["acts"], what, r.acts)
	return r
}

// actsKnown complains of acts that no row can have.
func (f *yamlFile) actsKnown(m *Mapping, at [2]int, what string, acts []string) {
	if m.act.unknown == "keep" {
		return
	}
	for _, a := range acts {
		known := false
		for _, name := range m.act.names {
			known = known || name == a
		}
		if !known {
			f.failAt(at, "%s.acts: no activity becomes %q", what, a)
		}
	}
}
