package export

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"liuhen/domain/rulebook"
)

// Types of the objects of an OCEL log.
const (
	caseObject        = "case"
	publicationObject = "publication"
	partyObject       = "party"
	officerObject     = "officer"
	documentObject    = "document"
	evidenceObject    = "evidence"
)

// publication is the procedure whose cases are objects of a type of their own.
const publication = "publication"

// writeOCEL writes OCEL 2.0 in JSON. An event is a record; it is related to its
// case, the officers who carried it out, the parties that its fields name, its
// documents and its evidence, each with a qualifier. The attributes of an event
// are the members of the record's data: plain values as they are, lists and
// records as JSON text, fields with "field." before their names. A value is
// always text, as the schema wants; its type stands with the event type.
//
// Objects that several cases share (an officer, a party with a credit code, a
// file with its digest) are written once. A party without a code is one of its
// case: equal names are not taken for one person. Objects go through a
// temporary file, which has no name on the disk, so that events and objects are
// of one reading; in memory are sixteen bytes for each shared object, and the
// officers.
func writeOCEL(w *bufio.Writer, h Header, book *rulebook.Book, cases Cases) (err error) {
	spool, err := newSpool()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, spool.close()) }()
	o := ocelWriter{
		w: w, spool: spool, seen: make(map[[16]byte]bool), awaited: make(map[string]time.Time), officers: make(map[string]*ocelObject),
		eventTypes: make(map[string]map[string]string), objectTypes: make(map[string]map[string]string),
	}
	o.raw(`{"events":[`)
	for records, err := range cases {
		if err != nil {
			return err
		}
		a, err := accountOf(book, records)
		if err != nil {
			return err
		}
		if err := o.account(&a); err != nil {
			return err
		}
	}
	if err := o.rest(); err != nil {
		return err
	}
	o.raw("\n],\"objects\":[")
	if err := spool.copyTo(w); err != nil {
		return err
	}
	o.raw("\n],\"eventTypes\":")
	o.json(declared(o.eventTypes))
	o.raw(",\n\"objectTypes\":")
	o.json(declared(o.objectTypes))
	// What the log says of itself has no place in the schema and is none of
	// its own: tools pass over it.
	o.raw(",\n\"liuhen\":")
	o.json(map[string]string{"name": h.Name, "position": strconv.FormatUint(h.Position, 10)})
	o.raw("}\n")
	return o.err
}

type ocelWriter struct {
	w     *bufio.Writer
	spool *spool
	err   error
	began bool

	seen        map[[16]byte]bool            // objects that were written, by the beginning of the SHA-256 of their ids
	awaited     map[string]time.Time         // cases that were referred to before they were written
	officers    map[string]*ocelObject       // by id of the object
	eventTypes  map[string]map[string]string // type → attribute → its type
	objectTypes map[string]map[string]string
}

// An ocelEvent is an event as the schema has it.
type ocelEvent struct {
	ID         string         `json:"id"` // stands first: see Format.Mark
	Type       string         `json:"type"`
	Time       string         `json:"time"`
	Attributes []ocelValue    `json:"attributes"`
	Relations  []ocelRelation `json:"relationships"`
}

// An ocelObject is an object as the schema has it.
type ocelObject struct {
	Type       string         `json:"type"`
	ID         string         `json:"id"`
	Attributes []ocelValue    `json:"attributes"`
	Relations  []ocelRelation `json:"relationships"`
}

type ocelValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Time  string `json:"time,omitempty"` // of an object's attribute: since when
}

type ocelRelation struct {
	Object    string `json:"objectId"`
	Qualifier string `json:"qualifier"`
}

type ocelType struct {
	Name       string          `json:"name"`
	Attributes []ocelAttribute `json:"attributes"`
}

type ocelAttribute struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

func declared(types map[string]map[string]string) []ocelType {
	list := make([]ocelType, 0, len(types))
	for _, name := range names(types) {
		t := ocelType{Name: name, Attributes: []ocelAttribute{}}
		for _, attribute := range names(types[name]) {
			t.Attributes = append(t.Attributes, ocelAttribute{Name: attribute, Type: types[name][attribute]})
		}
		list = append(list, t)
	}
	return list
}

func (o *ocelWriter) raw(s string) {
	if _, err := o.w.WriteString(s); err != nil && o.err == nil {
		o.err = err
	}
}

func (o *ocelWriter) json(v any) { o.raw(jsonText(v)) }

// moment is a time as the schema wants it.
func moment(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// plain is a value as text, with its type in OCEL.
func plain(v any) (text, typ string) {
	switch v := v.(type) {
	case string:
		return v, "string"
	case int64:
		return strconv.FormatInt(v, 10), "integer"
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), "float"
	case bool:
		return strconv.FormatBool(v), "boolean"
	}
	return jsonText(v), "string"
}

// declare notes an attribute of a type; one that has several types is text.
func declare(types map[string]map[string]string, of, name, typ string) {
	if types[of] == nil {
		types[of] = make(map[string]string)
	}
	if before, ok := types[of][name]; ok && before != typ {
		typ = "string"
	}
	types[of][name] = typ
}

// account writes a case: its events, and the objects that are new.
func (o *ocelWriter) account(a *account) error {
	self := ocelObject{Type: a.object(), ID: caseID(a.id), Attributes: []ocelValue{}, Relations: []ocelRelation{}}
	at := moment(a.opened)
	for _, v := range [][2]string{
		{"procedure", a.name}, {"procedure:zh", a.title().ZH}, {"procedure:en", a.title().In("en")}, {"edition", a.edition.String()},
		{"agency", a.agency}, {"stage", a.stage},
	} {
		if v[1] != "" {
			self.add(o, v[0], v[1], at)
		}
	}
	self.add(o, "closed", a.closed, at)
	for i := range a.acts {
		if err := o.event(a, &a.acts[i], &self); err != nil {
			return err
		}
	}
	o.isNew(self.ID)
	delete(o.awaited, self.ID)
	return o.spool.add(self)
}

func (a *account) object() string {
	if a.name == publication {
		return publicationObject
	}
	return caseObject
}

func caseID(id string) string { return "case:" + id }

// add adds an attribute of an object.
func (b *ocelObject) add(o *ocelWriter, name string, v any, at string) {
	text, typ := plain(v)
	declare(o.objectTypes, b.Type, name, typ)
	b.Attributes = append(b.Attributes, ocelValue{Name: name, Value: text, Time: at})
}

// relate adds a relation once.
func relate(list []ocelRelation, object, qualifier string) []ocelRelation {
	r := ocelRelation{Object: object, Qualifier: qualifier}
	if slices.Contains(list, r) {
		return list
	}
	return append(list, r)
}

// isNew reports whether an object is met for the first time.
func (o *ocelWriter) isNew(id string) bool {
	sum := sha256.Sum256([]byte(id))
	short := [16]byte(sum[:16])
	if o.seen[short] {
		return false
	}
	o.seen[short] = true
	return true
}

func (o *ocelWriter) event(a *account, e *act, self *ocelObject) error {
	out := ocelEvent{ID: e.ID, Type: e.Type, Time: moment(e.Time), Attributes: []ocelValue{}}
	if o.eventTypes[e.Type] == nil {
		o.eventTypes[e.Type] = make(map[string]string)
	}
	attribute := func(name string, v any) {
		text, typ := plain(v)
		declare(o.eventTypes, e.Type, name, typ)
		out.Attributes = append(out.Attributes, ocelValue{Name: name, Value: text})
	}
	attribute("act:zh", e.title.ZH)
	attribute("act:en", e.title.In("en"))
	attribute("recorded", moment(e.Recorded.Recorded))
	o.eventTypes[e.Type]["recorded"] = "time"
	attribute("revision", int64(e.Revision))
	attribute("position", int64(e.Position))
	attribute("digest", e.Digest.String())
	attribute("actor", e.Actor)
	if e.ActorRole != "" {
		attribute("role", e.ActorRole)
	}
	for _, name := range names(e.data) {
		if fields, ok := e.data[name].(map[string]any); ok && name == "fields" {
			for _, field := range names(fields) {
				attribute("field."+field, fields[field])
			}
			continue
		}
		attribute(name, e.data[name])
	}

	at := moment(e.Time)
	out.Relations = relate(nil, self.ID, "case")
	for _, officer := range e.Data.Officers {
		id := "officer:" + a.agency + "/" + officer.ID
		o.officer(id, a.agency, officer, at)
		out.Relations = relate(out.Relations, id, "officer")
	}
	for _, p := range e.parties() {
		id, err := o.party(a, p, at)
		if err != nil {
			return err
		}
		out.Relations = relate(out.Relations, id, p.field)
		self.Relations = relate(self.Relations, id, "party")
	}
	for _, refs := range []struct {
		of   string
		list []rulebook.Reference
	}{{documentObject, e.Data.Documents}, {evidenceObject, e.Data.Evidence}} {
		for _, r := range refs.list {
			id := refs.of + ":" + r.Digest
			if o.isNew(id) {
				if err := o.reference(refs.of, id, r, at); err != nil {
					return err
				}
			}
			qualifier := refs.of
			if r.Kind != "" {
				qualifier = r.Kind
			}
			out.Relations = relate(out.Relations, id, qualifier)
		}
	}
	if source, ok := e.Data.Fields["source_case"].(string); ok && a.object() == publicationObject && source != "" {
		// The field of the publication procedure that names the case which is published.
		id := caseID(source)
		self.Relations = relate(self.Relations, id, "publishes")
		if sum := sha256.Sum256([]byte(id)); !o.seen[[16]byte(sum[:16])] {
			o.awaited[id] = e.Time
		}
	}
	if o.began {
		o.raw(",")
	}
	o.began = true
	o.raw("\n")
	o.json(out)
	return o.err
}

// reference writes the object of a document or of evidence.
func (o *ocelWriter) reference(typ, id string, r rulebook.Reference, at string) error {
	b := ocelObject{Type: typ, ID: id, Attributes: []ocelValue{}, Relations: []ocelRelation{}}
	for _, v := range [][2]string{{"kind", r.Kind}, {"title", r.Title}, {"number", r.Number}, {"media_type", r.MediaType}, {"digest", r.Digest}} {
		if v[1] != "" {
			b.add(o, v[0], v[1], at)
		}
	}
	b.add(o, "size", r.Size, at)
	return o.spool.add(b)
}

// officer keeps what an officer was since when; it is written at the end.
func (o *ocelWriter) officer(id, agency string, officer rulebook.Officer, at string) {
	b := o.officers[id]
	if b == nil {
		b = &ocelObject{Type: officerObject, ID: id, Attributes: []ocelValue{}, Relations: []ocelRelation{}}
		b.add(o, "agency", agency, at)
		o.officers[id] = b
	}
	for _, v := range [][2]string{
		{"name", officer.Name}, {"certificate", officer.Certificate}, {"valid_from", officer.ValidFrom.String()}, {"valid_to", officer.ValidTo.String()},
		{"field", officer.Field}, {"area", officer.Area},
	} {
		known := slices.ContainsFunc(b.Attributes, func(a ocelValue) bool { return a.Name == v[0] && a.Value == v[1] })
		if v[1] != "" && !known {
			b.add(o, v[0], v[1], at)
		}
	}
}

// A namedParty is a party as a field of an act names it.
type namedParty struct {
	field string
	value map[string]any
}

// parties are those that the fields of an act name, in the order of the fields.
func (e *act) parties() []namedParty {
	var list []namedParty
	var take func(field string, v any)
	take = func(field string, v any) {
		switch v := v.(type) {
		case string:
			if v != "" {
				list = append(list, namedParty{field, map[string]any{"name": v}})
			}
		case []any:
			for _, one := range v {
				take(field, one)
			}
		case map[string]any:
			if name, ok := v["name"].(string); ok && name != "" {
				list = append(list, namedParty{field, v})
			}
		}
	}
	for _, name := range names(e.Data.Fields) {
		typ := ""
		if e.law != nil {
			if f, ok := e.law.Field(name); ok {
				typ = f.Type
			}
		}
		if typ == "party" || typ == "" && (name == "party" || name == "parties") {
			take(name, e.Data.Fields[name])
		}
	}
	return list
}

// party writes the object of a party, once.
func (o *ocelWriter) party(a *account, p namedParty, at string) (string, error) {
	id := fmt.Sprintf("party:%s/%s", a.id, p.value["name"])
	if code, ok := p.value["uscc"].(string); ok && code != "" {
		id = "party:" + code
	}
	if !o.isNew(id) {
		return id, nil
	}
	b := ocelObject{Type: partyObject, ID: id, Attributes: []ocelValue{}, Relations: []ocelRelation{}}
	for _, name := range names(p.value) {
		b.add(o, name, p.value[name], at)
	}
	return id, o.spool.add(b)
}

// rest writes the officers, and cases that were referred to and are not in the
// log: an event log names no object that it does not have.
func (o *ocelWriter) rest() error {
	for _, id := range names(o.officers) {
		if err := o.spool.add(*o.officers[id]); err != nil {
			return err
		}
	}
	for _, id := range names(o.awaited) {
		b := ocelObject{Type: caseObject, ID: id, Attributes: []ocelValue{}, Relations: []ocelRelation{}}
		b.add(o, "elsewhere", true, moment(o.awaited[id]))
		if err := o.spool.add(b); err != nil {
			return err
		}
	}
	return nil
}

// A spool keeps objects until the events are written, packed, in a file that
// has no name.
type spool struct {
	file  *os.File
	pack  *gzip.Writer
	began bool
}

func newSpool() (*spool, error) {
	f, err := os.CreateTemp("", "liuhen-export-*")
	if err != nil {
		return nil, fmt.Errorf("keep objects: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, fmt.Errorf("keep objects: %w", errors.Join(err, f.Close()))
	}
	pack, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	return &spool{file: f, pack: pack}, err
}

func (s *spool) add(b ocelObject) error {
	var buf []byte
	if s.began {
		buf = append(buf, ',')
	}
	s.began = true
	buf = append(append(buf, '\n'), jsonText(b)...)
	if _, err := s.pack.Write(buf); err != nil {
		return fmt.Errorf("keep objects: %w", err)
	}
	return nil
}

// copyTo writes what was kept. Nothing is added afterwards.
func (s *spool) copyTo(w io.Writer) error {
	if err := s.pack.Close(); err != nil {
		return fmt.Errorf("keep objects: %w", err)
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("keep objects: %w", err)
	}
	z, err := gzip.NewReader(s.file)
	if err != nil {
		return fmt.Errorf("read objects: %w", err)
	}
	if _, err := io.Copy(w, z); err != nil { //nolint:gosec // packed by ourselves
		return fmt.Errorf("read objects: %w", err)
	}
	return nil
}

func (s *spool) close() error { return s.file.Close() }
