package intake

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// Bounds on XES that no log comes near.
const (
	maxKey   = 500 // bytes of an attribute's path
	maxNotes = 100 // different notes on one file
)

// An xesRows reads the events of an XES log (IEEE 1849, and the editions
// before it) token by token; no more than one event and the attributes of its
// trace are in memory.
//
// What breaks the XES schema but leaves the events readable is noted, for many
// real logs break it: no namespace or version, a global without its scope, a
// log attribute without a key. What leaves doubt about events is an error: an
// element that is not of XES, elements inside the wrong ones, attributes of a
// trace behind its events. With strict every note is an error.
type xesRows struct {
	file   string
	dec    *xml.Decoder
	feed   *tokenFeed
	cols   *columns
	limits Limits
	strict bool
	whole  []string // attributes of events that are kept with all that they hold, and are no columns

	open     []element
	started  bool // <log> was seen
	rank     int  // how far into the schema's order of the log's parts
	traces   int
	events   int // of this trace
	number   int64
	traceRec record // the attributes of the trace
	rec      record
	size     int // bytes of the record that is being filled, with those of its trace
	sizeUp   int // bytes of the trace's attributes
	found    []Note
	foundAt  map[string]int
	err      error // a note, where they are errors
}

// An element is one that is open.
type element struct {
	name  string
	line  int
	path  string // of an attribute: the column it stands for
	list  bool
	items int   // of a list: how many it has
	split bool  // of a list: it has <values>
	dead  bool  // an attribute without a key, or inside one: it and what it holds are left out
	node  *node // of an attribute that is kept whole, or inside one
}

// A tokenFeed counts the bytes of the token that is being read, which the
// decoder keeps in memory whole.
type tokenFeed struct {
	in    *bufio.Reader
	n     int
	limit int
}

var errLongToken = errors.New("a tag or text is longer than the limit")

func (f *tokenFeed) ReadByte() (byte, error) {
	if f.n++; f.n > f.limit {
		return 0, errLongToken
	}
	return f.in.ReadByte()
}

func (f *tokenFeed) Read(p []byte) (int, error) {
	n, err := f.in.Read(p)
	if f.n += n; f.n > f.limit {
		return 0, errLongToken
	}
	return n, err
}

func newXES(file string, in io.Reader, cols *columns, limits Limits, strict bool) (*xesRows, error) {
	r := &xesRows{file: file, cols: cols, limits: limits, strict: strict, foundAt: make(map[string]int)}
	b := bufio.NewReaderSize(in, 64<<10)
	mark, err := b.Peek(3)
	if err != nil && err != io.EOF {
		return nil, &FileError{File: file, Err: err}
	}
	utf16 := false
	switch {
	case strings.HasPrefix(string(mark), "\xef\xbb\xbf"):
		_, _ = b.Discard(3) // they were peeked at
	case strings.HasPrefix(string(mark), "\xff\xfe"), strings.HasPrefix(string(mark), "\xfe\xff"):
		utf16 = true
		b = bufio.NewReaderSize(transform.NewReader(b, unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM).NewDecoder()), 64<<10)
	}
	r.feed = &tokenFeed{in: b, limit: limits.Token}
	r.dec = xml.NewDecoder(r.feed)
	r.dec.CharsetReader = func(label string, in io.Reader) (io.Reader, error) {
		if utf16 {
			return in, nil // it has been decoded
		}
		enc, err := htmlindex.Get(label)
		if err != nil {
			return nil, fmt.Errorf("unknown encoding %q", label)
		}
		r.feed = &tokenFeed{in: bufio.NewReaderSize(transform.NewReader(in, enc.NewDecoder()), 4096), limit: limits.Token}
		return r.feed, nil
	}
	return r, nil
}

func (r *xesRows) line() int { l, _ := r.dec.InputPos(); return l }

func (r *xesRows) fail(line int, format string, args ...any) error {
	return &FileError{File: r.file, Line: line, Err: fmt.Errorf(format, args...)}
}

// note keeps a flaw that does not touch the events.
func (r *xesRows) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if r.strict && r.err == nil {
		r.err = r.fail(r.line(), "%s", text)
	}
	if i, ok := r.foundAt[text]; ok {
		r.found[i].Count++
		return
	}
	if len(r.found) < maxNotes {
		r.foundAt[text] = len(r.found)
		r.found = append(r.found, Note{File: r.file, Line: r.line(), Text: text, Count: 1})
	}
}

func (r *xesRows) notes() []Note { return r.found }

// next reads to the end of the next event.
func (r *xesRows) next() (*record, error) {
	for {
		r.feed.n = 0
		t, err := r.dec.RawToken()
		if err != nil {
			return nil, r.broken(err)
		}
		event := false
		switch t := t.(type) {
		case xml.StartElement:
			err = r.start(t)
		case xml.EndElement:
			event, err = r.end(t.Name.Local)
		case xml.CharData:
			err = r.text(t)
		case xml.Directive:
			r.note("a document type declaration; it is not read")
		}
		if err == nil {
			err = r.err
		}
		if err != nil {
			return nil, err
		}
		if event {
			return &r.rec, nil
		}
	}
}

// broken explains why there is no further token.
func (r *xesRows) broken(err error) error {
	var syntax *xml.SyntaxError
	switch {
	case err == io.EOF && len(r.open) > 0:
		e := r.open[len(r.open)-1]
		return r.fail(r.line(), "the file ends inside <%s>, which was opened in line %d", e.name, e.line)
	case err == io.EOF && !r.started:
		return r.fail(r.line(), "is not an XES log: there is no <log> element")
	case err == io.EOF:
		return io.EOF
	case errors.Is(err, errLongToken):
		return r.fail(r.line(), "a tag or text has more than %d bytes", r.limits.Token)
	case errors.As(err, &syntax):
		return r.fail(syntax.Line, "not well-formed XML: %s", syntax.Msg)
	}
	return r.fail(r.line(), "%w", err)
}

func (r *xesRows) text(data []byte) error {
	s := strings.TrimSpace(string(data))
	if s == "" {
		return nil
	}
	if !r.started {
		return r.fail(r.line(), "is not an XES log: it begins with %q", cut(s))
	}
	return r.fail(r.line(), "text %q between the elements, where XES has none", cut(s))
}

func (r *xesRows) parent() *element {
	if len(r.open) == 0 {
		return &element{}
	}
	return &r.open[len(r.open)-1]
}

// The parts of a log, in the order that the schema wants.
var logRank = map[string]int{"extension": 1, "global": 2, "classifier": 3, "trace": 5, "event": 5}

var attributeKinds = map[string]kind{
	"string": textKind, "id": textKind, "date": dateKind, "int": intKind, "float": floatKind, "boolean": booleanKind,
	"list": absent, "container": absent,
}

func (r *xesRows) start(t xml.StartElement) error {
	name, in := t.Name.Local, r.parent()
	if len(r.open) >= r.limits.Depth {
		return r.fail(r.line(), "elements are more than %d deep", r.limits.Depth)
	}
	e := element{name: name, line: r.line()}
	kind, isAttribute := attributeKinds[name]
	switch {
	case len(r.open) == 0:
		if name != "log" {
			return r.fail(e.line, "is not an XES log: the first element is <%s>, expected <log>", name)
		}
		if r.started {
			return r.fail(e.line, "a second <log>")
		}
		r.started = true
		r.logAttributes(t)
	case isAttribute && attributable(in.name):
		if err := r.attribute(&e, in, kind, t); err != nil {
			return err
		}
	case name == "values" && in.list:
		r.note("<values> in a <list>, of a later edition of XES than 2.2")
		in.split = true
		e.path, e.dead, e.list, e.items, e.node = in.path, in.dead, true, in.items, in.node
	case in.name == "log" && logRank[name] > 0:
		r.inOrder(name, logRank[name])
		r.part(name, t)
	case in.name == "trace" && name == "event":
		r.part(name, t)
	default:
		return r.fail(e.line, "<%s> inside <%s> is not XES", name, in.name)
	}
	r.open = append(r.open, e)
	return nil
}

// attributable reports whether an element may hold attributes.
func attributable(name string) bool {
	switch name {
	case "log", "trace", "event", "global", "values":
		return true
	}
	_, ok := attributeKinds[name]
	return ok
}

func (r *xesRows) inOrder(name string, rank int) {
	if rank < r.rank {
		r.note("<%s> stands too late in the log; the order is extension, global, classifier, attributes, trace", name)
	}
	r.rank = max(r.rank, rank)
}

// logAttributes looks at the opening tag of the log.
func (r *xesRows) logAttributes(t xml.StartElement) {
	version, ok := attr(t, "xes.version")
	if !ok {
		r.note("the log has no xes.version")
	} else if _, err := parseDecimal(version, '.', 0); err != nil {
		r.note("xes.version %q is not a decimal number", cut(version))
	}
}

// attr returns an attribute of a tag, without regard to namespaces.
func attr(t xml.StartElement, name string) (string, bool) {
	for _, a := range t.Attr {
		if a.Name.Local == name && a.Name.Space == "" {
			return a.Value, true
		}
	}
	return "", false
}

// tag notes what a tag lacks and what it has too much.
func (r *xesRows) tag(t xml.StartElement, wanted ...string) {
	for _, name := range wanted {
		if _, ok := attr(t, name); !ok {
			r.note("<%s> without %s", t.Name.Local, name)
		}
	}
next:
	for _, a := range t.Attr {
		if a.Name.Space == "xmlns" || a.Name.Local == "xmlns" {
			continue
		}
		for _, name := range wanted {
			if a.Name.Local == name {
				continue next
			}
		}
		r.note("<%s> has %s, which XES does not know", t.Name.Local, cut(a.Name.Local))
	}
}

// part begins a part of the log.
func (r *xesRows) part(name string, t xml.StartElement) {
	switch name {
	case "extension":
		r.tag(t, "name", "prefix", "uri")
	case "global":
		r.tag(t, "scope")
		if scope, ok := attr(t, "scope"); ok && scope != "trace" && scope != "event" {
			r.note("a global of scope %q, expected trace or event", cut(scope))
		}
	case "classifier":
		r.tag(t, "name", "keys")
	case "trace":
		r.tag(t)
		r.traces++
		r.events = 0
		r.traceRec.reset()
		r.size, r.sizeUp = 0, 0
	case "event":
		r.tag(t)
		r.beginEvent()
	}
}

func (r *record) reset() {
	clear(r.values)
	clear(r.kinds)
	r.values, r.kinds = r.values[:0], r.kinds[:0]
	r.refused, r.repairs, r.whole = "", nil, nil
}

func (r *xesRows) beginEvent() {
	r.number++
	r.events++
	r.rec.reset()
	r.size = r.sizeUp
	r.rec.number, r.rec.line = r.number, r.line()
	if r.parent().name != "trace" {
		r.note("an event outside a trace, which XES 2.2 does not know")
		r.rec.trace, r.rec.path = 0, "event outside a trace"
		r.rec.refused = "the event stands outside a trace, so its case is not known"
		return
	}
	r.rec.trace = r.traces
	r.rec.path = "trace " + strconv.Itoa(r.traces) + "/event " + strconv.Itoa(r.events)
	r.rec.refused = r.traceRec.refused
	r.rec.values = append(r.rec.values, r.traceRec.values...)
	r.rec.kinds = append(r.rec.kinds, r.traceRec.kinds...)
	r.rec.repairs = append([]Repair(nil), r.traceRec.repairs...)
}

// end closes an element, and reports whether an event is complete.
func (r *xesRows) end(name string) (event bool, err error) {
	if len(r.open) == 0 {
		return false, r.fail(r.line(), "not well-formed XML: </%s> closes nothing", name)
	}
	e := r.open[len(r.open)-1]
	if e.name != name {
		return false, r.fail(r.line(), "not well-formed XML: </%s> where <%s> of line %d is open", name, e.name, e.line)
	}
	r.open = r.open[:len(r.open)-1]
	if name == "values" {
		r.parent().items = e.items
	}
	return name == "event", nil
}

// attribute begins an attribute of the log, of a global, of a trace, of an
// event or of another attribute.
func (r *xesRows) attribute(e, in *element, k kind, t xml.StartElement) error {
	key, hasKey := attr(t, "key")
	value, hasValue := attr(t, "value")
	if e.name == "list" || e.name == "container" {
		r.tag(t, "key")
		e.list = e.name == "list"
	} else {
		r.tag(t, "key", "value")
	}
	if hasValue {
		r.valid(key, value, k)
	}
	if in.split {
		r.note("a <list> has attributes behind its <values>")
	}
	target := r.target()
	if target == nil {
		if len(r.open) == 1 {
			r.inOrder(e.name, 4)
		}
		return nil
	}
	if target == &r.traceRec && r.events > 0 {
		return r.fail(e.line, "an attribute of the trace stands behind its events; those have been read without it")
	}
	if !hasKey && !in.dead && target.refused == "" {
		target.refused = fmt.Sprintf("an attribute <%s> in line %d has no key", e.name, e.line)
	}
	if e.dead = in.dead || !hasKey; e.dead {
		return nil
	}
	if in.node != nil || target == &r.rec && in.name == "event" && slices.Contains(r.whole, key) {
		return r.keepWhole(e, in, key, value)
	}
	if err := r.path(e, in, key, target); err != nil {
		return err
	}
	if k == absent {
		return nil
	}
	return r.set(target, e, k, value)
}

// target is the record that an attribute belongs to; nil for the attributes of
// the log and of its globals, which are not imported.
func (r *xesRows) target() *record {
	for _, e := range r.open {
		switch e.name {
		case "event":
			return &r.rec
		case "global":
			return nil
		}
	}
	if len(r.open) > 1 && r.open[1].name == "trace" {
		return &r.traceRec
	}
	return nil
}

// path names the column that an attribute stands for.
func (r *xesRows) path(e, in *element, key string, target *record) error {
	switch {
	case in.path == "" && target == &r.traceRec:
		e.path = "case:" + key
	case in.path == "":
		e.path = key
	case in.list:
		in.items++
		e.path = in.path + "/" + strconv.Itoa(in.items) + "/" + key
	default:
		e.path = in.path + "/" + key
	}
	if len(e.path) > maxKey {
		return r.fail(e.line, "the key of an attribute, with those around it, has more than %d bytes", maxKey)
	}
	return nil
}

// set puts a value into the record.
func (r *xesRows) set(target *record, e *element, k kind, value string) error {
	i := r.cols.add(e.path)
	if i >= r.limits.Columns {
		return r.fail(e.line, "more than %d different attributes", r.limits.Columns)
	}
	if r.size += len(value) + len(e.path); r.size > r.limits.Record {
		return r.fail(e.line, "the event, with the attributes of its trace, has more than %d bytes", r.limits.Record)
	}
	if target == &r.traceRec {
		r.sizeUp = r.size
	}
	for len(target.values) <= i {
		target.values, target.kinds = append(target.values, ""), append(target.kinds, absent)
	}
	if target.kinds[i] == absent {
		target.values[i], target.kinds[i] = value, k
		return nil
	}
	if target.values[i] == value {
		target.repairs = append(target.repairs, Repair{Field: "row", From: cut(value), Why: fmt.Sprintf("the attribute %s stands twice with the same value", cut(e.path))})
	} else if target.refused == "" {
		target.refused = fmt.Sprintf("the attribute %s stands twice, as %q and %q", cut(e.path), cut(target.values[i]), cut(value))
	}
	return nil
}

// valid notes a value that is not of the type its element promises.
func (r *xesRows) valid(key, value string, k kind) {
	ok, want := true, ""
	switch k {
	case dateKind:
		t, parsed := parseISO(value)
		ok, want = parsed && t.clock && value[10] == 'T', "a date and time such as 2010-06-30T12:00:00+08:00"
	case intKind:
		_, err := strconv.ParseInt(value, 10, 64)
		ok, want = err == nil, "a whole number"
	case floatKind:
		_, err := strconv.ParseFloat(value, 64)
		ok, want = err == nil, "a number"
	case booleanKind:
		ok, want = value == "true" || value == "false" || value == "0" || value == "1", "true or false"
	default: // text promises nothing
	}
	if !ok {
		r.note("the value %q of the attribute %s is not %s", cut(value), cut(key), want)
	}
}
