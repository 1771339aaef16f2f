package export

import (
	"bufio"
	"encoding/xml"
	"strconv"
	"strings"
	"time"

	"liuhen/domain/rulebook"
)

// deepest is how far attributes are nested; what is deeper is JSON text.
const deepest = 24

// extensions are those of the standard that the log uses.
var extensions = [][2]string{
	{"Concept", "concept"}, {"Time", "time"}, {"Organizational", "org"}, {"Lifecycle", "lifecycle"}, {"Identity", "identity"}, {"Cost", "cost"},
}

// writeXES writes XES 2.2: a trace is a case, an event a record. Every member
// of a record's data is an attribute of the same name: an object is a container,
// a list a list whose items have the key "item", text a string, and so on. What
// XML cannot hold, and null and what is nested too deeply, is JSON text in a
// string that holds the boolean "json".
func writeXES(w *bufio.Writer, h Header, book *rulebook.Book, cases Cases) error {
	x := xesWriter{w: w}
	x.raw(xml.Header + `<log xes.version="2.0" xes.features="nested-attributes" xmlns="http://www.xes-standard.org/">` + "\n")
	for _, e := range extensions {
		x.raw(`<extension name="` + e[0] + `" prefix="` + e[1] + `" uri="http://www.xes-standard.org/` + e[1] + `.xesext"/>` + "\n")
	}
	x.raw("<global scope=\"trace\">")
	x.text("concept:name", "")
	x.raw("</global>\n<global scope=\"event\">")
	x.text("concept:name", "")
	x.attr("date", "time:timestamp", "1970-01-01T00:00:00Z")
	x.text("lifecycle:transition", "complete")
	x.text("identity:id", "")
	x.raw("</global>\n")
	x.raw(`<classifier name="行为" keys="act:zh"/>` + "\n" + `<classifier name="Act" keys="concept:name"/>` + "\n" + `<classifier name="Act (English)" keys="act:en"/>` + "\n")
	x.text("concept:name", h.Name)
	x.text("lifecycle:model", "standard")
	x.integer("position", int64(h.Position))
	x.raw("\n")
	for records, err := range cases {
		if err != nil {
			return err
		}
		a, err := accountOf(book, records)
		if err != nil {
			return err
		}
		x.trace(&a)
		if x.err != nil {
			return x.err
		}
	}
	x.raw("</log>\n")
	return x.err
}

// An xesWriter writes attributes and remembers the first error.
type xesWriter struct {
	w   *bufio.Writer
	err error
}

func (x *xesWriter) raw(s string) {
	if _, err := x.w.WriteString(s); err != nil && x.err == nil {
		x.err = err
	}
}

func (x *xesWriter) escaped(s string) {
	if err := xml.EscapeText(x.w, []byte(s)); err != nil && x.err == nil {
		x.err = err
	}
}

func (x *xesWriter) open(element, key string) {
	x.raw("<" + element + ` key="`)
	x.escaped(key)
	x.raw(`"`)
}

// attr writes an attribute that holds no other.
func (x *xesWriter) attr(element, key, value string) {
	x.open(element, key)
	x.raw(` value="`)
	x.escaped(value)
	x.raw(`"/>`)
}

func (x *xesWriter) text(key, value string)         { x.attr("string", key, value) }
func (x *xesWriter) integer(key string, n int64)    { x.attr("int", key, strconv.FormatInt(n, 10)) }
func (x *xesWriter) moment(key string, t time.Time) { x.attr("date", key, t.Format(time.RFC3339Nano)) }

// some writes text that is not empty.
func (x *xesWriter) some(key, value string) {
	if value != "" {
		x.value(key, value, 0)
	}
}

// value writes a value with all that is in it.
func (x *xesWriter) value(key string, v any, depth int) {
	if !xmlText(key) {
		key = strings.ToValidUTF8(key, "\uFFFD") // a list's and a record's own keys are checked by their owner
	}
	switch v := v.(type) {
	case string:
		if xmlText(v) {
			x.text(key, v)
			return
		}
	case int64:
		x.integer(key, v)
		return
	case float64:
		x.attr("float", key, strconv.FormatFloat(v, 'g', -1, 64))
		return
	case bool:
		x.attr("boolean", key, strconv.FormatBool(v))
		return
	case []any:
		if depth < deepest {
			x.open("list", key)
			x.raw(">")
			for _, item := range v {
				x.value("item", item, depth+1)
			}
			x.raw("</list>")
			return
		}
	case map[string]any:
		if depth < deepest && sayable(v) {
			x.open("container", key)
			x.raw(">")
			for _, name := range names(v) {
				x.value(name, v[name], depth+1)
			}
			x.raw("</container>")
			return
		}
	}
	x.open("string", key)
	x.raw(` value="`)
	x.escaped(asciiJSON(v))
	x.raw(`"><boolean key="json" value="true"/></string>`)
}

// sayable reports whether the names of a record can be keys in XML.
func sayable(m map[string]any) bool {
	for name := range m {
		if !xmlText(name) {
			return false
		}
	}
	return true
}

// asciiJSON is a value as JSON in which every character outside ASCII, and
// every control character, is escaped.
func asciiJSON(v any) string {
	var b strings.Builder
	for _, r := range jsonText(v) {
		switch {
		case r < 0x7f:
			b.WriteRune(r)
		case r < 0x10000:
			b.WriteString(`\u` + hex4(r))
		default:
			r -= 0x10000
			b.WriteString(`\u` + hex4(0xD800+r>>10) + `\u` + hex4(0xDC00+r&0x3FF))
		}
	}
	return b.String()
}

func hex4(r rune) string {
	s := strconv.FormatInt(int64(r), 16)
	return "0000"[len(s):] + s
}

func (x *xesWriter) trace(a *account) {
	x.raw("<trace>\n")
	x.text("concept:name", a.id)
	x.text("procedure", a.name)
	x.text("procedure:zh", a.title().ZH)
	x.text("procedure:en", a.title().In("en"))
	x.text("edition", a.edition.String())
	x.text("agency", a.agency)
	x.moment("opened", a.opened)
	x.some("stage", a.stage)
	x.attr("boolean", "closed", strconv.FormatBool(a.closed))
	x.raw("\n")
	for i := range a.acts {
		x.event(&a.acts[i])
	}
	x.raw("</trace>\n")
}

func (x *xesWriter) event(e *act) {
	x.raw("<event>")
	x.text("concept:name", e.Act())
	x.text("act:zh", e.title.ZH)
	x.text("act:en", e.title.In("en"))
	x.moment("time:timestamp", e.Time)
	x.text("lifecycle:transition", "complete")
	x.attr("id", "identity:id", e.ID)
	resource := e.Actor
	if len(e.Data.Officers) > 0 {
		resource = e.Data.Officers[0].ID
	}
	x.some("org:resource", resource)
	x.some("org:role", e.ActorRole)
	x.some("org:group", e.Agency())
	x.cost(e)
	x.moment("recorded", e.Recorded.Recorded)
	x.integer("revision", int64(e.Revision))
	x.integer("position", int64(e.Position))
	x.text("digest", e.Digest.String())
	x.some("previous", e.Previous.String())
	x.some("command", e.Command)
	x.some("correlation", e.Correlation)
	x.some("causation", e.Causation)
	x.some("actor", e.Actor)
	for _, name := range names(e.data) {
		x.value(name, e.data[name], 0)
	}
	x.raw("</event>\n")
}

// cost writes the amounts of an act as its cost drivers, in the whole unit of
// money. The law files say nothing of a currency, and neither does the log.
func (x *xesWriter) cost(e *act) {
	fields := e.money()
	if len(fields) == 0 {
		return
	}
	if len(fields) == 1 {
		x.attr("float", "cost:total", yuan(e.Data.Fields[fields[0]].(int64)))
	}
	x.open("list", "cost:drivers")
	x.raw(">")
	for _, name := range fields {
		x.open("container", "driver")
		x.raw(">")
		x.text("cost:driver", name)
		if f, ok := e.law.Field(name); ok {
			x.text("cost:type", f.Title.In("zh"))
		}
		x.attr("float", "cost:amount", yuan(e.Data.Fields[name].(int64)))
		x.raw("</container>")
	}
	x.raw("</list>")
}
