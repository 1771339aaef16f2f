package intake

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/goccy/go-yaml/ast"
)

// A partsRule says where an XES log of a system such as this one has the parts
// of an act. Each is the key of an attribute:
//
//	parts:
//	  procedure: case:procedure    # of the trace: the procedure of the case
//	  agency: case:agency          # likewise
//	  fields: fields               # a container: fields by name, as deep as they are
//	  officers: officers           # a list of containers: id, name, certificate …
//	  documents: documents         # a list of containers: title, digest …
//	  evidence: evidence           # likewise
//	  place: place
//	  reason: reason
//	  late_reason: late_reason
//	  already_done: already_done   # true where it had been carried out outside the system
//	  event: identity:id           # names the event in the log
//	  corrects: corrects           # the event that this one puts right
//
// Of the fields, officers, documents and evidence a container is an object, a
// list a list (whatever the keys in it), and every other attribute a value of
// its type; a string that holds a boolean "json" which is true is JSON text, for
// what XES cannot say otherwise.
type partsRule struct {
	procedure, agency                     string
	fields, officers, documents, evidence string
	place, reason, lateReason, done       string
	event, corrects                       string

	whole []string // keys of the attributes that are read with all that they hold
}

func (f *yamlFile) partsRule(p *partsRule, n ast.Node) {
	found := f.keys(n, "parts", map[string]func(ast.Node){
		"procedure":    f.text(&p.procedure, "parts.procedure"),
		"agency":       f.text(&p.agency, "parts.agency"),
		"fields":       f.text(&p.fields, "parts.fields"),
		"officers":     f.text(&p.officers, "parts.officers"),
		"documents":    f.text(&p.documents, "parts.documents"),
		"evidence":     f.text(&p.evidence, "parts.evidence"),
		"place":        f.text(&p.place, "parts.place"),
		"reason":       f.text(&p.reason, "parts.reason"),
		"late_reason":  f.text(&p.lateReason, "parts.late_reason"),
		"already_done": f.text(&p.done, "parts.already_done"),
		"event":        f.text(&p.event, "parts.event"),
		"corrects":     f.text(&p.corrects, "parts.corrects"),
	})
	if at, ok := found["corrects"]; ok && p.event == "" {
		f.failAt(at, "parts.corrects needs parts.event: which attribute names an event")
	}
	for _, key := range []string{p.fields, p.officers, p.documents, p.evidence} {
		switch {
		case key == "":
		case slices.Contains(p.whole, key):
			f.fail(n, "parts: two of fields, officers, documents and evidence are the attribute %q", key)
		default:
			p.whole = append(p.whole, key)
		}
	}
}

// columns are the plain attributes.
func (p *partsRule) columns() []string {
	var list []string
	for _, c := range []string{p.procedure, p.agency, p.place, p.reason, p.lateReason, p.done, p.event, p.corrects} {
		if c != "" {
			list = append(list, c)
		}
	}
	return list
}

// size is about how many bytes the parts have in a request.
func (p *Parts) size() int {
	n := len(p.Place) + len(p.Documents) + len(p.Evidence) + len(p.Reason) + len(p.LateReason) + 60
	for _, o := range p.Officers {
		n += len(o)
	}
	return n
}

// A node is an XES attribute with all that it holds.
type node struct {
	kind       string // the element: string, int, list …
	key, value string
	children   []*node
}

// keepWhole keeps an attribute, and does not make a column of it.
func (r *xesRows) keepWhole(e, in *element, key, value string) error {
	if r.size += len(key) + len(value) + 8; r.size > r.limits.Record {
		return r.fail(e.line, "the event, with the attributes of its trace, has more than %d bytes", r.limits.Record)
	}
	e.node = &node{kind: e.name, key: key, value: value}
	if in.node != nil {
		in.node.children = append(in.node.children, e.node)
		return nil
	}
	if r.rec.whole == nil {
		r.rec.whole = make(map[string]*node, len(r.whole))
	}
	if r.rec.whole[key] != nil && r.rec.refused == "" {
		r.rec.refused = fmt.Sprintf("the attribute %s stands twice", cut(key))
	}
	r.rec.whole[key] = e.node
	return nil
}

// appendJSON appends the value of a node.
func (n *node) appendJSON(b []byte) ([]byte, error) {
	switch n.kind {
	case "container":
		b = append(b, '{')
		seen := make(map[string]bool, len(n.children))
		for i, c := range n.children {
			if seen[c.key] {
				return b, fmt.Errorf("%s stands twice", cut(c.key))
			}
			seen[c.key] = true
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendText(b, c.key), ':')
			var err error
			if b, err = c.appendJSON(b); err != nil {
				return b, fmt.Errorf("%s: %w", cut(c.key), err)
			}
		}
		return append(b, '}'), nil
	case "list":
		b = append(b, '[')
		for i, c := range n.children {
			if i > 0 {
				b = append(b, ',')
			}
			var err error
			if b, err = c.appendJSON(b); err != nil {
				return b, fmt.Errorf("item %d: %w", i+1, err)
			}
		}
		return append(b, ']'), nil
	}
	if len(n.children) == 1 && n.kind == "string" && n.children[0].kind == "boolean" && n.children[0].key == "json" && n.children[0].value == "true" {
		if !json.Valid([]byte(n.value)) {
			return b, errors.New("is marked as JSON and is not")
		}
		return append(b, n.value...), nil
	}
	if len(n.children) > 0 {
		return b, fmt.Errorf("a %s that holds further attributes, which would be lost", n.kind)
	}
	return n.appendValue(b)
}

func (n *node) appendValue(b []byte) ([]byte, error) {
	var ok bool
	switch n.kind {
	case "int":
		_, err := strconv.ParseInt(n.value, 10, 64)
		ok = err == nil && json.Valid([]byte(n.value))
	case "float":
		ok = n.value != "" && (n.value[0] == '-' || n.value[0] >= '0' && n.value[0] <= '9') && json.Valid([]byte(n.value))
	case "boolean":
		ok = n.value == "true" || n.value == "false"
	default: // string, date, id
		return appendText(b, n.value), nil
	}
	if !ok {
		return b, fmt.Errorf("%q is no %s", cut(n.value), n.kind)
	}
	return append(b, n.value...), nil
}

// part is a part of the act as JSON; nil where there is none.
func (mp *mapper) part(rec *record, key string) json.RawMessage {
	n := rec.whole[key]
	if key == "" || n == nil {
		return nil
	}
	data, err := n.appendJSON(nil)
	if err != nil {
		mp.refuse("%s: %v", key, err)
		return nil
	}
	return data
}

// mapParts fills the parts of an act.
func (mp *mapper) mapParts(rec *record) {
	rule := &mp.m.parts
	column := func(name string) string {
		i, ok := mp.cols.index[name]
		if !ok || i >= len(rec.values) || rec.kinds[i] == absent {
			return ""
		}
		return rec.values[i]
	}
	p := &mp.item.Parts
	p.Procedure, p.Agency, p.Place = column(rule.procedure), column(rule.agency), column(rule.place)
	p.Reason, p.LateReason, p.Done = column(rule.reason), column(rule.lateReason), column(rule.done) == "true"
	p.Documents, p.Evidence = mp.part(rec, rule.documents), mp.part(rec, rule.evidence)
	if data := mp.part(rec, rule.officers); data != nil && json.Unmarshal(data, &p.Officers) != nil {
		mp.refuse("%s: expected a list", rule.officers)
	}
	if data := mp.part(rec, rule.fields); data != nil {
		var fields map[string]json.RawMessage
		if json.Unmarshal(data, &fields) != nil {
			mp.refuse("%s: expected a container", rule.fields)
		}
		for name, value := range fields {
			if _, ok := mp.item.Fields[name]; ok {
				mp.refuse("%s: the mapping fills the field %s otherwise, too", rule.fields, name)
			}
			mp.item.Fields[name] = value
		}
	}
	mp.mapCorrection(rec, column(rule.event), column(rule.corrects))
}

// maxEvents is how many events of one trace are known by their ids.
const maxEvents = 1_000_000

// mapCorrection turns the id that an event has in the log into the command id
// of its row: the receiver gives events ids of its own.
func (mp *mapper) mapCorrection(rec *record, event, corrects string) {
	if mp.m.parts.event == "" {
		return
	}
	if mp.events == nil || mp.eventsOf != rec.trace {
		mp.events, mp.eventsOf = make(map[string]string), rec.trace
	}
	if corrects != "" {
		command, ok := mp.events[corrects]
		if !ok {
			mp.refuse("%s: there is no event %q before this one in its trace", mp.m.parts.corrects, cut(corrects))
		}
		mp.item.Parts.Corrects = command
	}
	if event != "" && len(mp.events) < maxEvents {
		mp.events[event] = mp.item.CommandID
	}
}
