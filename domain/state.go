package domain

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// A Past is a case as it was at a moment.
type Past struct {
	Moment  Moment
	Case    *Case      // nil: it was not there yet
	Records []Recorded // those that count, in their order

	law      Law                // that it was folded by
	calendar *calendar.Calendar // that days were counted by; nil: the book's own
	noted    []StateFinding     // in hindsight: found later on acts that had happened
}

// At folds a case as it was at a moment. records are all that the case has, in
// their order; the moment has its Time. Days are counted by cal, the calendar as
// it was then; nil: the book's own.
//
// The fold is that of Evolve. Seen in hindsight it leaves out the records of acts
// that had not happened, so that its revisions have gaps; that the whole is a
// chain is checked all the same. It fails with ErrChain where it is not.
func At(law Law, records []Recorded, m Moment, cal *calendar.Calendar) (Past, error) {
	p := Past{Moment: m, Records: m.Of(records), law: law, calendar: cal}
	if len(p.Records) == 0 {
		return p, nil
	}
	if !m.Hindsight() {
		var err error
		p.Case, err = Replay(law, p.Records)
		return p, err
	}
	if _, err := Replay(law, records); err != nil {
		return p, err
	}
	c, err := unopened(law, records[0])
	if err != nil {
		return p, err
	}
	for _, r := range p.Records {
		if c, err = c.take(law, r); err != nil {
			return p, err
		}
	}
	p.Case = c
	p.noted = notedSince(records, p.Records, m)
	return p, nil
}

// notedSince are findings that were noted after a moment on acts that had
// happened by then, and on limits that had run out by then.
func notedSince(records, then []Recorded, m Moment) []StateFinding {
	counts := make(map[string]bool, len(then))
	for i := range then {
		counts[then[i].ID] = true
	}
	var all []StateFinding
	for i := range records {
		r := &records[i]
		if counts[r.ID] {
			continue
		}
		for n, f := range r.Data.Findings {
			if f.Of != "" && counts[f.Of] && (f.Due.IsZero() || f.Due.Before(calendar.DateOf(m.Time))) {
				all = append(all, StateFinding{Event: r.ID, Number: n, Act: r.Act(), Stands: true, Finding: f})
			}
		}
	}
	return all
}

// Deadlines are the limits that have begun to run, as they stood.
func (p Past) Deadlines() []rulebook.Deadline {
	return p.Case.Procedure.Deadlines(p.Case.History, p.calendar)
}

// Noted are, in hindsight, findings that were noted after the moment on acts that
// had happened by then, and on limits that had run out by then.
func (p Past) Noted() []StateFinding { return p.noted }

// Next is what could have been recorded then, in a role; see rulebook.Next.
func (p Past) Next(role string) []rulebook.NextAct {
	return p.Case.Procedure.Next(p.Case.History, p.Moment.Time, role, p.calendar)
}

// A ClockState is how a limit stands at a moment.
type ClockState string

// The states of a limit.
const (
	ClockRunning ClockState = "running"
	ClockPaused  ClockState = "paused"  // a pause is open: the last day will move
	ClockOverdue ClockState = "overdue" // it has run out and what was due is not there
	ClockMet     ClockState = "met"
	ClockLate    ClockState = "late" // what was due came too late
)

// StateOf tells how a limit stands by a clock.
func StateOf(d rulebook.Deadline, now time.Time) ClockState {
	switch {
	case d.Done != "" && d.Late:
		return ClockLate
	case d.Done != "":
		return ClockMet
	case d.Paused:
		return ClockPaused
	case !d.Due.At.IsZero() && now.After(d.Due.At), d.Due.At.IsZero() && calendar.DateOf(now).After(d.Due.On):
		return ClockOverdue
	}
	return ClockRunning
}

// A State is all that is known of a case at a moment, in a form that two moments
// can be compared in: what an act says stands under the event that first recorded
// the act, also when it was corrected since, so that a correction shows as the
// fields that it changed.
type State struct {
	Case      CaseID                   `json:"case"`
	Agency    string                   `json:"agency"`
	Procedure string                   `json:"procedure"`
	Edition   calendar.Date            `json:"edition"`
	Stage     string                   `json:"stage"`
	Opened    calendar.Date            `json:"opened,omitzero"`
	Closed    bool                     `json:"closed"`
	Revision  int                      `json:"revision"`  // of the last record; 0: the case was not there yet
	Head      Digest                   `json:"head"`      // likewise
	Acts      map[string]StateAct      `json:"acts"`      // by the event that first recorded it
	Deadlines map[string]StateDeadline `json:"deadlines"` // by the rule and the event that started it, rule@event
	Findings  map[string]StateFinding  `json:"findings"`  // by the event and the number in it, event#0
}

// A StateAct is an act as it stands.
type StateAct struct {
	Event       string               `json:"event"` // the record that stands
	Revision    int                  `json:"revision"`
	Act         string               `json:"act"`
	OccurredAt  time.Time            `json:"occurred_at"`
	RecordedAt  time.Time            `json:"recorded_at"`
	Actor       string               `json:"actor"`
	ActorName   string               `json:"actor_name,omitempty"`
	Role        string               `json:"role,omitempty"`
	Officers    []rulebook.Officer   `json:"officers,omitempty"`
	Place       string               `json:"place,omitempty"`
	Fields      Fields               `json:"fields,omitempty"`
	Documents   []rulebook.Reference `json:"documents,omitempty"`
	Evidence    []rulebook.Reference `json:"evidence,omitempty"`
	Reason      string               `json:"reason,omitempty"`
	LateReason  string               `json:"late_reason,omitempty"`
	AlreadyDone bool                 `json:"already_done,omitempty"`
	Import      *Import              `json:"import,omitempty"`
}

func stateAct(r *Recorded) StateAct {
	d := &r.Data
	return StateAct{
		Event: r.ID, Revision: r.Revision, Act: r.Act(), OccurredAt: r.Time.In(calendar.Shanghai), RecordedAt: r.Recorded.UTC(),
		Actor: r.Actor, ActorName: d.ActorName, Role: r.ActorRole, Officers: d.Officers, Place: d.Place, Fields: d.Fields,
		Documents: d.Documents, Evidence: d.Evidence, Reason: d.Reason, LateReason: d.LateReason, AlreadyDone: d.AlreadyDone, Import: d.Import,
	}
}

// A StateDeadline is a limit as it stands.
type StateDeadline struct {
	Rule        string        `json:"rule"`
	Basis       string        `json:"basis"`
	Act         string        `json:"act"`   // that must be done in time
	Start       string        `json:"start"` // event that started it
	StartOn     calendar.Date `json:"start_on"`
	Limit       string        `json:"limit"`
	Due         calendar.Date `json:"due"`             // the last day
	DueAt       time.Time     `json:"due_at,omitzero"` // where it counts hours
	Provisional bool          `json:"provisional"`
	Done        string        `json:"done,omitempty"` // event that ended it
	DoneOn      calendar.Date `json:"done_on,omitzero"`
	State       ClockState    `json:"state"`
}

func stateDeadline(d rulebook.Deadline, now time.Time) StateDeadline {
	return StateDeadline{
		Rule: d.Rule, Basis: d.Basis, Act: d.Act, Start: d.Start, StartOn: d.Due.Start, Limit: d.Due.Limit.String(), Due: d.Due.On, DueAt: d.Due.At,
		Provisional: d.Due.Provisional, Done: d.Done, DoneOn: d.DoneOn, State: StateOf(d, now),
	}
}

// passed reports whether a limit stands otherwise than it did though nothing was
// recorded that concerns it.
func (d StateDeadline) passed(was StateDeadline) bool {
	d.State, was.State = "", ""
	return d == was
}

// A StateFinding is a finding and the event that it was recorded with.
type StateFinding struct {
	Event  string `json:"event"`
	Number int    `json:"-"` // in the event: 0, 1 …
	Act    string `json:"act"`
	Stands bool   `json:"stands"` // the event has not been corrected
	rulebook.Finding
}

func (f *StateFinding) key() string { return f.Event + "#" + strconv.Itoa(f.Number) }

// Findings are all that was found, in the order in which it was recorded.
func (p Past) Findings() []StateFinding {
	corrected := make(map[string]bool)
	for i := range p.Records {
		corrected[p.Records[i].Data.Corrects] = true
	}
	var all []StateFinding
	for i := range p.Records {
		r := &p.Records[i]
		for n, f := range r.Data.Findings {
			all = append(all, StateFinding{Event: r.ID, Number: n, Act: r.Act(), Stands: !corrected[cmp.Or(f.Of, r.ID)], Finding: f})
		}
	}
	return append(all, p.noted...)
}

// State is the case in the form that moments are compared in. Of a case that was
// not there yet only the maps are there, empty.
func (p Past) State() State {
	s := State{Acts: map[string]StateAct{}, Deadlines: map[string]StateDeadline{}, Findings: map[string]StateFinding{}}
	if p.Case == nil {
		return s
	}
	c := p.Case
	s.Case, s.Agency, s.Procedure, s.Edition = c.ID, c.Agency, c.Procedure.Name, c.Procedure.Edition
	s.Stage, s.Opened, s.Closed, s.Revision, s.Head = c.Stage(), c.Opened(), c.Closed, c.Revision, c.Head
	for first, i := range actsOf(p.Records).last {
		s.Acts[first] = stateAct(&p.Records[i])
	}
	for _, f := range p.Findings() {
		s.Findings[f.key()] = f
	}
	s.Deadlines = clocks(c, p.calendar, p.Moment.Time)
	return s
}

func clocks(c *Case, cal *calendar.Calendar, now time.Time) map[string]StateDeadline {
	return clocksAt(c.Procedure.Deadlines(c.History, cal), now)
}

func clocksAt(all []rulebook.Deadline, now time.Time) map[string]StateDeadline {
	out := make(map[string]StateDeadline, len(all))
	for _, d := range all {
		out[d.Rule+"@"+d.Start] = stateDeadline(d, now)
	}
	return out
}

// movesLimits reports whether a record can begin, end or move a limit of its case.
func movesLimits(p *rulebook.Procedure, r *Recorded) bool {
	return r.Data.Corrects != "" || p.MovesLimits(r.Act())
}

// leaves are the values of a JSON document that hold no others, by their JSON
// Pointer (RFC 6901) from where they stand; an empty list or record is one too.
type leaves map[string]json.RawMessage

// leaves are those of a state; that a section is empty is none.
func (s State) leaves() leaves {
	l := leaves{}
	l.add("", s)
	for _, section := range []string{"/acts", "/deadlines", "/findings"} {
		delete(l, section)
	}
	return l
}

func (l leaves) add(path string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		panic("domain: a state has no JSON: " + err.Error()) // it consists of texts, numbers, days and times
	}
	var tree any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&tree); err != nil {
		panic("domain: a state's own JSON: " + err.Error())
	}
	l.walk(path, tree)
}

func (l leaves) walk(path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, item := range v {
			l.walk(path+"/"+pointerEscape.Replace(name), item)
		}
		if len(v) > 0 {
			return
		}
	case []any:
		for i, item := range v {
			l.walk(path+"/"+strconv.Itoa(i), item)
		}
		if len(v) > 0 {
			return
		}
	}
	l[path] = plainJSON(v)
}

func plainJSON(v any) json.RawMessage {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("domain: " + err.Error()) // it came out of a decoder
	}
	return bytes.TrimRight(buf.Bytes(), "\n")
}

var pointerEscape = strings.NewReplacer("~", "~0", "/", "~1")

// A Maker is the record that made a change.
type Maker struct {
	Event      string    `json:"event"`
	Position   uint64    `json:"position"`
	Revision   int       `json:"revision"`
	Act        string    `json:"act"`
	Actor      string    `json:"actor"` // who recorded it
	ActorName  string    `json:"actor_name,omitempty"`
	OccurredAt time.Time `json:"occurred_at"`
	RecordedAt time.Time `json:"recorded_at"`
	Corrects   string    `json:"corrects,omitempty"`
	Reason     string    `json:"reason,omitempty"`
}

func makerOf(r *Recorded) *Maker {
	return &Maker{
		Event: r.ID, Position: r.Position, Revision: r.Revision, Act: r.Act(), Actor: r.Actor, ActorName: r.Data.ActorName,
		OccurredAt: r.Time.In(calendar.Shanghai), RecordedAt: r.Recorded.UTC(), Corrects: r.Data.Corrects, Reason: r.Data.Reason,
	}
}

// A StateChange is one value of a State that is not the same at two moments.
type StateChange struct {
	Path   string          `json:"path"`             // JSON Pointer into the State
	Before json.RawMessage `json:"before,omitempty"` // none: it was not there
	After  json.RawMessage `json:"after,omitempty"`  // none: it is not there any more
	By     *Maker          `json:"by,omitempty"`
	Passed bool            `json:"passed,omitempty"` // no record of the case made it: time has passed, or days are counted by another notice
	Rule   string          `json:"rule,omitempty"`   // that says it, of a limit or a finding
	Basis  string          `json:"basis,omitempty"`  // the article of that rule, or of the act
}

// Changes tells what is different between two moments of one case, value by
// value, in the order of their paths, and which record made each: of two moments
// far apart the last one that touched the value. Where to is the earlier one, the
// records are those that are undone.
func Changes(from, to Past) []StateChange {
	d := differ{from: from, to: to, before: from.State(), after: to.State(), made: map[string]*Recorded{}}
	d.byRecord = make(map[string]*Recorded, max(len(from.Records), len(to.Records)))
	for _, p := range []Past{from, to} {
		for i := range p.Records {
			d.byRecord[p.Records[i].ID] = &p.Records[i]
		}
	}
	before, after := d.before.leaves(), d.after.leaves()
	d.follow()
	var all []StateChange
	for _, path := range differing(before, after) {
		c := StateChange{Path: path, Before: before[path], After: after[path]}
		d.explain(&c)
		all = append(all, c)
	}
	return all
}

// differing are the paths at which two documents have not the same, in order.
func differing(before, after leaves) []string {
	var paths []string
	for path, was := range before {
		if is, there := after[path]; !there || !bytes.Equal(was, is) {
			paths = append(paths, path)
		}
	}
	for path := range after {
		if _, there := before[path]; !there {
			paths = append(paths, path)
		}
	}
	slices.SortFunc(paths, comparePaths)
	return paths
}

// comparePaths sorts pointers, the numbers of list items as numbers.
func comparePaths(a, b string) int {
	for a != "" || b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, "/")
		y, b, _ = strings.Cut(b, "/")
		if x == y {
			continue
		}
		if isNumber(x) && isNumber(y) && len(x) != len(y) {
			return cmp.Compare(len(x), len(y))
		}
		return strings.Compare(x, y)
	}
	return 0
}

func isNumber(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

// A differ finds out which record made which change.
type differ struct {
	from, to      Past
	before, after State
	byRecord      map[string]*Recorded // by event
	made          map[string]*Recorded // by the path of what is not of one act: /stage, /deadlines/…
}

// follow goes from one moment to the other, record by record, and notes which
// changed what of the case as a whole.
func (d *differ) follow() {
	less, more := d.from, d.to
	if len(more.Records) < len(less.Records) {
		less, more = more, less
	}
	n := len(less.Records)
	begins := slices.EqualFunc(less.Records, more.Records[:n], func(a, b Recorded) bool { return a.ID == b.ID })
	if begins {
		c := less.Case
		was := outlineOf(c, more.calendar)
		for i := n; i < len(more.Records); i++ {
			if c == nil {
				c = d.opening(more)
			}
			r := &more.Records[i]
			c = d.take(c, r)
			was = d.note(was, d.outlineAfter(c, r, was, more.calendar), r)
		}
		return
	}
	// Seen in hindsight an act can come in between: the case is folded anew.
	in := func(p Past) map[string]bool {
		set := make(map[string]bool, len(p.Records))
		for i := range p.Records {
			set[p.Records[i].ID] = true
		}
		return set
	}
	inFrom, inTo := in(d.from), in(d.to)
	all := slices.Collect(maps.Values(d.byRecord))
	slices.SortFunc(all, func(a, b *Recorded) int { return cmp.Compare(a.Position, b.Position) })
	counts := maps.Clone(inFrom)
	fold := func() *Case {
		c := d.opening(d.to)
		for _, r := range all {
			if counts[r.ID] {
				c = d.take(c, r)
			}
		}
		return c
	}
	was := outlineOf(d.from.Case, d.to.calendar)
	for _, r := range all {
		if inFrom[r.ID] == inTo[r.ID] {
			continue
		}
		counts[r.ID] = inTo[r.ID]
		was = d.note(was, outlineOf(fold(), d.to.calendar), r)
	}
}

// take takes a record in that was folded when the moments were looked up. Should its
// law be out of reach since, the case goes on by what it went by: what is told of the
// moments stays, and at most a limit is not traced to its record.
func (d *differ) take(c *Case, r *Recorded) *Case {
	law := cmp.Or(d.from.law, d.to.law)
	if next, err := c.take(law, *r); err == nil {
		return next
	}
	next, _ := c.take(nil, *r) // which cannot fail
	return next
}

// opening is the case before its first record.
func (d *differ) opening(p Past) *Case {
	c := cmp.Or(p.Case, d.from.Case, d.to.Case)
	return &Case{ID: c.ID, Agency: c.Agency, Procedure: c.Procedure, History: c.Procedure.NewHistory(string(c.ID), c.Agency)}
}

// outlineOf is what a case says as a whole, by the paths of a State.
func outlineOf(c *Case, cal *calendar.Calendar) map[string]any {
	if c == nil {
		return map[string]any{}
	}
	out := map[string]any{"/stage": c.Stage(), "/closed": c.Closed, "/opened": c.Opened()}
	for key, d := range clocks(c, cal, time.Time{}) {
		d.State = "" // it moves by itself, too
		out["/deadlines/"+pointerEscape.Replace(key)] = d
	}
	return out
}

// outlineAfter is outlineOf after one more record, by what it was before.
func (d *differ) outlineAfter(c *Case, r *Recorded, was map[string]any, cal *calendar.Calendar) map[string]any {
	if len(was) == 0 || movesLimits(c.Procedure, r) {
		return outlineOf(c, cal)
	}
	is := maps.Clone(was)
	is["/stage"], is["/closed"], is["/opened"] = c.Stage(), c.Closed, c.Opened()
	return is
}

func (d *differ) note(was, is map[string]any, by *Recorded) map[string]any {
	for path, v := range is {
		if was[path] != v {
			d.made[path] = by
		}
	}
	for path := range was {
		if _, there := is[path]; !there {
			d.made[path] = by
		}
	}
	return is
}

// explain says which record made a change, and by which article.
func (d *differ) explain(c *StateChange) {
	section, id, rest := partsOf(c.Path)
	var by *Recorded
	switch section {
	case "acts":
		act, there := d.after.Acts[id]
		if !there {
			act = d.before.Acts[id]
		}
		by = d.byRecord[act.Event]
	case "findings":
		f, there := d.after.Findings[id]
		if !there {
			f = d.before.Findings[id]
		}
		c.Rule, c.Basis = f.Rule, f.Basis
		by = d.byRecord[f.Event]
		if rest == "stands" && c.Before != nil && c.After != nil {
			by = d.corrector(f)
		}
	case "deadlines":
		clock, there := d.after.Deadlines[id]
		if !there {
			clock = d.before.Deadlines[id]
		}
		c.Rule, c.Basis = clock.Rule, clock.Basis
		by = d.made["/deadlines/"+pointerEscape.Replace(id)]
		if was, there := d.before.Deadlines[id]; rest == "state" && there && clock.passed(was) {
			by = nil
		}
	case "stage", "closed", "opened":
		by = d.made["/"+section]
	default: // what changes with every record
		more := d.to.Records
		if len(d.from.Records) > len(more) {
			more = d.from.Records
		}
		if len(more) > 0 {
			by = &more[len(more)-1]
		}
	}
	if by == nil {
		c.Passed = true
		return
	}
	c.By = makerOf(by)
	if c.Basis == "" {
		c.Basis = BasisOf(cmp.Or(d.to.Case, d.from.Case).Procedure, by.Act())
	}
}

// partsOf are the section of a path into a State, what stands there, and the path
// inside of it.
func partsOf(path string) (section, id, rest string) {
	section, id, _ = strings.Cut(strings.TrimPrefix(path, "/"), "/")
	id, rest, _ = strings.Cut(id, "/")
	return section, pointerUnescape.Replace(id), rest
}

var pointerUnescape = strings.NewReplacer("~1", "/", "~0", "~")

// corrector is the record by which a finding came to stand no more.
func (d *differ) corrector(f StateFinding) *Recorded {
	var last *Recorded
	for _, r := range d.byRecord {
		if r.Data.Corrects != "" && (r.Data.Corrects == f.Event || r.Data.Corrects == f.Of) && (last == nil || r.Position > last.Position) {
			last = r
		}
	}
	return last
}

// BasisOf is the article of an act, or, where it names none, of its procedure.
func BasisOf(p *rulebook.Procedure, act string) string {
	if a, ok := p.Act(act); ok && a.Basis != "" {
		return a.Basis
	}
	return p.Basis
}

// String is the moment with what was found for it, for messages.
func (p Past) String() string {
	return fmt.Sprintf("%s (%d records, clock %s)", p.Moment, len(p.Records), p.Moment.Time.Format(time.RFC3339))
}
