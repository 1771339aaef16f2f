// Package rulebook reads the law as data: procedures and rules written in
// YAML, checked and compiled once, then asked many times.
//
// It knows no procedure by name. What may be done, by whom, with which fields
// and within which time stands in the files of domain/law and in an agency's
// own files; conditions are CEL expressions that are type-checked when a file
// is read. To learn the package read Load (load.go), which makes a Book, and
// Judge (judge.go), which holds an act against the rules of its procedure.
//
// The package is pure: no clock, no randomness, no storage. A Book and
// everything reached from it is immutable and may be used by many goroutines.
package rulebook

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"liuhen/domain/calendar"
)

// Ids of the rules that the engine itself judges, for every procedure.
const (
	RuleStage     = "stage"     // the act does not belong to the stage of the case
	RuleOnce      = "once"      // an act that a case has once was recorded again
	RuleOpening   = "opening"   // a case cannot begin with this act
	RuleDocuments = "documents" // a document that belongs to the act is not attached
	RuleBy        = "by"        // the role of the actor may not record the act
	RuleClosed    = "closed"    // the case is closed and the act does not belong after closing
)

// A Book is all the law that a running program knows: the procedures in each
// of their editions and the parameters that an agency has set.
type Book struct {
	procedures []*Procedure // by name, then by edition, oldest first
	byName     map[string][]*Procedure
	parameters []*Parameter
	registers  []*Register // by name
	codes      map[string]*CodeTable
	cal        *calendar.Calendar
	numbered   []string        // ids of rules, see Coverage
	leftOut    map[string]Text // by id

	sources []fs.FS // that it was loaded from
	own     []File  // that it was loaded with, by name
}

// Procedure returns the newest edition of a procedure.
func (b *Book) Procedure(name string) (*Procedure, bool) {
	editions := b.byName[name]
	if len(editions) == 0 {
		return nil, false
	}
	return editions[len(editions)-1], true
}

// Edition returns a procedure in the edition of a day.
func (b *Book) Edition(name string, edition calendar.Date) (*Procedure, bool) {
	for _, p := range b.byName[name] {
		if p.Edition == edition {
			return p, true
		}
	}
	return nil, false
}

// InForce returns the edition that a case opened on a day is judged by: the
// newest that was in force then, or the oldest where the day is before all of
// them.
func (b *Book) InForce(name string, on calendar.Date) (*Procedure, bool) {
	editions := b.byName[name]
	if len(editions) == 0 {
		return nil, false
	}
	in := editions[0]
	for _, p := range editions[1:] {
		if p.Edition.After(on) {
			break
		}
		in = p
	}
	return in, true
}

// Procedures returns every procedure in every edition, by name and then by
// edition, oldest first.
func (b *Book) Procedures() []*Procedure { return slices.Clone(b.procedures) }

// Parameters returns the values that an agency may set, by name.
func (b *Book) Parameters() []Parameter {
	out := make([]Parameter, len(b.parameters))
	for i, p := range b.parameters {
		out[i] = *p
	}
	return out
}

// Codes returns a code table by its name.
func (b *Book) Codes(name string) (*CodeTable, bool) {
	t, ok := b.codes[name]
	return t, ok
}

// Calendar is the calendar by which the book counts days.
func (b *Book) Calendar() *calendar.Calendar { return b.cal }

// A Procedure is the law of one sort of case in one edition.
type Procedure struct {
	Name      string        `json:"name"`
	Edition   calendar.Date `json:"edition"` // in force from this day
	Title     Text          `json:"title"`
	Basis     string        `json:"basis,omitempty"`
	Retention string        `json:"retention,omitempty"`
	Dossier   *Dossier      `json:"dossier,omitempty"`
	Open      bool          `json:"open,omitempty"` // accepts any act and any field, for logs of other systems
	Stages    []Stage       `json:"stages,omitempty"`
	Acts      []*Act        `json:"acts,omitempty"`
	Enters    []*Entering   `json:"enters,omitempty"`
	Rules     []*Rule       `json:"rules,omitempty"` // its own and those shared by several, by id
	Source    string        `json:"source"`          // the file it was read from

	acts     map[string]int32 // index into Acts
	reserved []string         // names of acts that an open procedure does not take
	stages   map[string]int32 // index into Stages
	params   *paramValues
	cal      *calendarValue

	judged   [][]*use  // by act: what is judged when the act is recorded
	anyAct   []*use    // for acts that an open procedure does not list
	clocks   []*clock  // every `within`
	starting [][]*Rule // by act: the limits that it starts
	looks    []bool    // by act: whether a rule on it looks at a register
	anyLooks bool      // likewise for acts that an open procedure does not list
}

// Act returns an act by its name. An open procedure has every act: one that
// it does not list has no fields and no stage and may be recorded by anyone.
func (p *Procedure) Act(name string) (*Act, bool) {
	if i, ok := p.acts[name]; ok {
		return p.Acts[i], true
	}
	if p.Open && name != "" {
		return &Act{Name: name, Title: Text{ZH: name, EN: name}, By: []string{"any"}, Opens: true}, true
	}
	return nil, false
}

// Rule returns a rule of the procedure by its id.
func (p *Procedure) Rule(id string) (*Rule, bool) {
	for _, r := range p.Rules {
		if r.ID == id {
			return r, true
		}
	}
	return nil, false
}

func (p *Procedure) actIndex(name string) int32 {
	if i, ok := p.acts[name]; ok {
		return i
	}
	return -1
}

// title is the name of an act for a reader.
func (p *Procedure) title(act string) Text {
	if i, ok := p.acts[act]; ok {
		return p.Acts[i].Title
	}
	return Text{ZH: act, EN: act}
}

// A Stage is a part of a procedure that a case is in.
type Stage struct {
	Name  string `json:"name"`
	Title Text   `json:"title"`
}

// Recording says which record of the act the law asks for
// (行政处罚法 47; 国办发〔2018〕118号).
type Recording string

// The sorts of recording.
const (
	RecordNone     Recording = "none"
	RecordText     Recording = "text"
	RecordVisual   Recording = "audio-visual"
	RecordAsNeeded Recording = "as-needed"
)

// An Act is something that is done in a case and recorded as one event.
type Act struct {
	Name      string     `json:"name"`
	Title     Text       `json:"title"`
	Help      Text       `json:"help,omitzero"`
	Basis     string     `json:"basis,omitempty"`
	Effect    bool       `json:"effect"`             // it creates a legal effect, so that a rule may refuse it; else it is a fact
	Opens     bool       `json:"opens,omitempty"`    // a case may begin with it
	Closes    bool       `json:"closes,omitempty"`   // it closes the case
	Once      bool       `json:"once,omitempty"`     // a case has it once
	Notes     bool       `json:"notes,omitempty"`    // it records findings on earlier acts: see Procedure.Note
	System    bool       `json:"system,omitempty"`   // every procedure has it, and the program carries it out
	By        []string   `json:"by"`                 // roles that may record it; "any" for everyone
	Officers  int        `json:"officers,omitempty"` // how many officers must act
	From      []string   `json:"from,omitempty"`     // stages in which it is done; empty: any
	To        string     `json:"to,omitempty"`       // stage that it leads to; empty: the case stays
	Recording Recording  `json:"recording,omitempty"`
	Publicity *Publicity `json:"publicity,omitempty"`
	Documents []Document `json:"documents,omitempty"`
	Fields    []Field    `json:"fields,omitempty"`

	fields  map[string]int
	belongs []bool // by stage: whether it is one of From
	to      int32  // index of To, -1 to stay
}

// Field returns a field of the act.
func (a *Act) Field(name string) (*Field, bool) {
	if i, ok := a.fields[name]; ok {
		return &a.Fields[i], true
	}
	return nil, false
}

// anyone reports whether every role may record the act.
func (a *Act) anyone() bool { return len(a.By) == 0 || slices.Contains(a.By, "any") }

// A Document is a paper (文书) that belongs to an act.
type Document struct {
	Kind     string `json:"kind"`               // its Chinese name, as References carry it
	EN       string `json:"en,omitempty"`       // its English name
	Required bool   `json:"required,omitempty"` // its absence is a finding
	Volume   string `json:"volume,omitempty"`   // main 正卷 or side 副卷
	External bool   `json:"external,omitempty"` // it goes to the party

	States []string `json:"states,omitempty"` // fields of the act that it must state
}

// A Dossier is the order of a procedure's documents in the file, by their
// kinds: what is in it goes to the archive in this order.
type Dossier struct {
	Main []string `json:"main"`           // 正卷
	Side []string `json:"side,omitempty"` // 副卷, which the party and the public do not see
}

// Publicity is the duty to publish what came of an act (行政处罚法 48, 国办发〔2018〕118号).
type Publicity struct {
	Within string `json:"within"` // a limit, or param.<name>
	Basis  string `json:"basis,omitempty"`

	limit limitRef
}

// A Field is one thing that is written down with an act.
type Field struct {
	Name       string  `json:"name"`
	Type       string  `json:"type"`             // one of the plain types, or the name of a record type
	Of         string  `json:"of,omitempty"`     // code table, where Type is code
	Codes      []Code  `json:"codes,omitempty"`  // the codes of that table
	Record     []Field `json:"record,omitempty"` // fields of the record type
	Many       bool    `json:"many,omitempty"`   // a list of Type
	Required   bool    `json:"required,omitempty"`
	RequiredIf string  `json:"required_if,omitempty"` // CEL over the fields of the act
	Min        *int64  `json:"min,omitempty"`
	Max        *int64  `json:"max,omitempty"`
	Title      Text    `json:"title"`
	Help       Text    `json:"help,omitzero"`

	needed *expression // RequiredIf
	kind   fieldKind
	record *recordType
	codes  *CodeTable
	at     pos
}

// A Code is one entry of a code table.
type Code struct {
	Code  string `json:"code"`
	Title Text   `json:"title"`
}

// A CodeTable is a closed list of codes with their meaning.
type CodeTable struct {
	Name  string `json:"name"`
	Codes []Code `json:"codes"`
	index map[string]int
}

// Has reports whether code is in the table.
func (t *CodeTable) Has(code string) bool { _, ok := t.index[code]; return ok }

// Title is the meaning of a code; the code itself where it is not in the table.
func (t *CodeTable) Title(code string) Text {
	if i, ok := t.index[code]; ok {
		return t.Codes[i].Title
	}
	return Text{ZH: code, EN: code}
}

// A Rule is one thing that the law asks of an act, with the article that asks
// for it.
type Rule struct {
	ID          string        `json:"id"`
	Says        Text          `json:"says"`
	Basis       string        `json:"basis"`
	Severity    Severity      `json:"severity"`
	Verdict     Verdict       `json:"verdict"`
	Cure        Text          `json:"cure,omitzero"`
	From        calendar.Date `json:"from,omitzero"`         // applies to acts carried out from this day on
	Until       calendar.Date `json:"until,omitzero"`        // last day, inclusive
	Unconfirmed bool          `json:"unconfirmed,omitempty"` // basis or threshold could not be confirmed
	Demands     string        `json:"demands,omitempty"`     // what a command must give, else it is malformed
	Note        string        `json:"note,omitempty"`
	Shape       string        `json:"shape"`                // require, within, ahead, before or count
	On          []string      `json:"on"`                   // acts that it is judged on
	Parameters  []string      `json:"parameters,omitempty"` // parameters that it looks at
	Registers   []string      `json:"registers,omitempty"`  // registers that it looks at
	Text        string        `json:"text"`                 // the shape as it is written, for a reader
	Source      string        `json:"source"`               // file:line
	Examples    []*Example    `json:"-"`

	agency  bool   // from an agency's own file: its expressions have a cost limit
	own     string // the name of the file, where an agency has put it in force
	onSet   actSet // for require
	outside bool   // what it says can change with registers
	detail  *template
	require *requirement
	clock   *clock
	ahead   *ahead
	order   *order
	count   *counting
}

// Own reports whether the rule stands in a file that is read beside the law and may be
// altered without an edition; a file that an agency has put in force is not one, for
// records name its text.
func (r *Rule) Own() bool { return r.agency && r.own == "" }

// inForce reports whether the rule applies to an act carried out on a day.
func (r *Rule) inForce(on calendar.Date) bool {
	return (r.From.IsZero() || !on.Before(r.From)) && (r.Until.IsZero() || !on.After(r.Until))
}

// Says is the sentence of a rule of the procedure, or of one that the engine
// itself judges (RuleStage and its like); empty for an unknown id.
func (p *Procedure) Says(rule string) Text {
	if r, ok := p.Rule(rule); ok {
		return r.Says
	}
	return builtIns[rule].says
}

// A Parameter is a value that is not fixed by national law: a local amount, a
// local limit. An agency's own file may set it.
type Parameter struct {
	Name        string `json:"name"`
	Type        string `json:"type"`  // money, integer, limit, text or boolean
	Value       any    `json:"value"` // int64, string or bool; a limit is its text
	Default     any    `json:"default"`
	Unconfirmed bool   `json:"unconfirmed,omitempty"` // the default could not be confirmed, and no agency has set it
	Says        Text   `json:"says"`
	Basis       string `json:"basis,omitempty"`
	SetIn       string `json:"set_in,omitempty"` // the agency's file that set it
}

// An Error is one thing wrong with a law file.
type Error struct {
	File      string `json:"file"`
	Line      int    `json:"line"`
	Column    int    `json:"column"`
	Procedure string `json:"procedure,omitempty"`
	Rule      string `json:"rule,omitempty"`
	Message   string `json:"message"` // what is wrong and what was expected
}

// Error reads "file:line:col: procedure P, rule R: message".
func (e Error) Error() string {
	var where []string
	if e.Procedure != "" {
		where = append(where, "procedure "+e.Procedure)
	}
	if e.Rule != "" {
		where = append(where, "rule "+e.Rule)
	}
	s := fmt.Sprintf("%s:%d:%d: ", e.File, e.Line, e.Column)
	if len(where) > 0 {
		s += strings.Join(where, ", ") + ": "
	}
	return s + e.Message
}

// Errors is all that is wrong with the files that were to be read, in the
// order of the files.
type Errors []Error

// Error has one line for each.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}
