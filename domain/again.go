package domain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"

	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// Then answers what registers held at positions of the log, for acts that are
// judged again by what was known when they were recorded.
type Then struct {
	// Roster is the register of officers as it was at a position; see
	// RegisterAt. Without it officers are taken as the records froze them.
	Roster func(position uint64) (Roster, error)
	// Calendar is the calendar of an agency as it was at a position; see
	// CalendarAt. Without it days are counted by the calendar of the book.
	Calendar func(agency string, position uint64) (*calendar.Calendar, error)
	// Facts answers what was asked of registers of other cases.
	Facts func(asked []Asked) (FactsThen, error)
}

// Asked is a question to a register of other cases as it was at a position.
type Asked struct {
	rulebook.Lookup
	At uint64
}

// FactsThen are the answers. A question that found nothing stands there with
// none.
type FactsThen map[Asked][]rulebook.Entry

// A Rejudging goes through the records of one case again and judges each act
// anew by what came before it, as Decide did when the act was recorded. It may
// be by another law than then, such as a draft.
type Rejudging struct {
	law       Law
	procedure *rulebook.Procedure // as the files have it by which the record at hand was judged
	files     []rulebook.FileRef  // these
	history   *rulebook.History
	then      Then
	today     *Today // nil: by what was known then

	lastAct time.Time          // of the records taken in
	last    []rulebook.FileRef // by which the act was judged that was carried out last; see Case.Law
}

// Today is what registers hold now, for acts that are judged again by it.
type Today struct {
	Registers        // but for Facts and FactsAt
	At        uint64 // the position of the log at which registers of other cases are asked
}

// RejudgeToday begins with the case of a first record, to be judged by a
// procedure as it is now, in whatever edition, and by what registers hold now.
// As where findings are noted when a register has changed, an act that was not
// judged by the register of officers is not held to it, and acts that note
// findings are not judged: what they would note is another question.
func RejudgeToday(p *rulebook.Procedure, today Today, first *Recorded) *Rejudging {
	return &Rejudging{procedure: p, history: p.NewHistory(string(first.Subject), first.Agency()), today: &today}
}

// Rejudge begins with the case of a first record. It fails where law does not
// have the procedure in the edition that the case goes by.
func Rejudge(law Law, then Then, first *Recorded) (*Rejudging, error) {
	book, err := law.Under(first.Data.Law)
	if err != nil {
		return nil, fmt.Errorf("case %s: %w", first.Subject, err)
	}
	p, ok := book.Edition(first.Procedure(), first.Edition)
	if !ok {
		return nil, fmt.Errorf("case %s: no procedure %s in edition %s", first.Subject, first.Procedure(), first.Edition)
	}
	return &Rejudging{
		law: law, procedure: p, files: first.Data.Law, history: p.NewHistory(string(first.Subject), first.Agency()), then: then,
	}, nil
}

// Next judges the next record, with the officers as it has frozen them, and
// takes it in. A rule that asks registers for what facts has not got says that
// it could not be judged; Asks tells what that is.
func (j *Rejudging) Next(r *Recorded, facts FactsThen) ([]rulebook.Finding, error) {
	found, _, err := j.judge(r, nil, facts)
	j.take(r)
	return found, err
}

// Asks is what the rules want to know of registers to judge the next record,
// and facts has not got. What they then want to know may depend on the answer.
func (j *Rejudging) Asks(r *Recorded, facts FactsThen) ([]Asked, error) {
	_, missing, err := j.known(r, facts)
	return missing, err
}

// take takes a record in that has been judged.
func (j *Rejudging) take(r *Recorded) {
	j.history = j.history.Append(r.Step())
	if !r.Time.Before(j.lastAct) {
		j.lastAct, j.last = r.Time, r.Data.Law
	}
}

// under goes on by the files of the agency that a record was judged by.
func (j *Rejudging) under(files []rulebook.FileRef) error {
	if j.law == nil {
		return nil // it is judged by the one procedure that was given
	}
	if slices.Equal(files, j.files) {
		return nil
	}
	p, err := lawOf(j.law, files, j.procedure)
	if err != nil {
		return err
	}
	if p != nil {
		j.procedure, j.history = p, j.history.Under(p)
	}
	j.files = files
	return nil
}

// notes reports whether the act of a record notes findings on earlier ones.
func (j *Rejudging) notes(r *Recorded) bool {
	act, ok := j.procedure.Act(r.Act())
	return ok && act.Notes
}

// again is what a record that notes findings judged earlier acts by.
func (j *Rejudging) again(r *Recorded, roster Roster, known rulebook.Known) rulebook.Again {
	again := rulebook.Again{Known: known}
	if roster != nil {
		again.Certify = func(officers []rulebook.Officer, on calendar.Date) []rulebook.Officer {
			return certified(roster, r.Agency(), officers, on)
		}
	}
	again.Law = func(files []rulebook.FileRef) *rulebook.Procedure {
		if p, err := lawOf(j.law, files, j.procedure); err == nil && p != nil {
			return p // it could be read when the record of that act was judged
		}
		return j.procedure
	}
	return again
}

// judge judges a record with the officers of a roster, nil for those that the
// record has frozen. missing is what registers were not asked for.
func (j *Rejudging) judge(r *Recorded, roster Roster, facts FactsThen) (found []rulebook.Finding, missing []Asked, err error) {
	known, missing, err := j.known(r, facts)
	if err != nil {
		return nil, nil, err
	}
	step := j.step(r)
	step.Findings = nil // they are what is asked for
	if j.today != nil {
		if j.notes(r) {
			return nil, nil, nil
		}
		return j.procedure.Judge(j.history, step, known), missing, nil
	}
	if !j.notes(r) {
		step.Officers = certified(roster, r.Agency(), step.Officers, calendar.DateOf(r.Time))
		return j.procedure.Judge(j.history, step, known), missing, nil
	}
	return j.procedure.Note(j.history, step, j.again(r, roster, known)), missing, nil
}

// step is a record as it is judged: today, with the values and the certificates
// that registers now have for the day of the act.
func (j *Rejudging) step(r *Recorded) rulebook.Step {
	step := r.Step()
	if j.today == nil {
		return step
	}
	on := calendar.DateOf(r.Time)
	step.Params = j.procedure.Applied(r.Act(), j.today.Parameters.On(r.Agency(), on))
	if r.Data.RosterAt > 0 {
		step.Officers = certified(j.today.Roster, r.Agency(), step.Officers, on)
	}
	return step
}

// known is what a record is judged by beside its case: the files of its agency, the
// calendar that it was judged by, and what registers of other cases held at the
// position at which they were read for it, or, where none were asked then, just before
// it.
func (j *Rejudging) known(r *Recorded, facts FactsThen) (known rulebook.Known, missing []Asked, err error) {
	if err := j.under(r.Data.Law); err != nil {
		return known, nil, err
	}
	if at := r.Data.CalendarAt; at > 0 && j.then.Calendar != nil {
		if known.Calendar, err = j.then.Calendar(r.Agency(), at); err != nil {
			return known, nil, fmt.Errorf("calendar at %d: %w", at, err)
		}
	}
	at := r.Position - 1
	if r.Data.Registers != nil {
		if r.Data.Registers.Unanswered && j.today == nil {
			return known, nil, nil
		}
		at = r.Data.Registers.At
	}
	if j.today != nil {
		known.Calendar, _ = j.today.Calendars.For(r.Agency())
		at = j.today.At
	}
	lookups := func() []rulebook.Lookup { return j.procedure.Lookups(j.history, j.step(r), known) }
	switch {
	case j.notes(r) && j.today != nil:
		return known, nil, nil
	case j.notes(r):
		lookups = func() []rulebook.Lookup {
			return j.procedure.NoteLookups(j.history, r.Step(), j.again(r, nil, known))
		}
	}
	for asks := lookups(); len(asks) > 0 && missing == nil; asks = lookups() {
		if known.Facts == nil {
			known.Facts = rulebook.Facts{}
		}
		for _, l := range asks {
			entries, ok := facts[Asked{l, at}]
			if !ok {
				missing = append(missing, Asked{l, at})
				continue
			}
			known.Facts[l] = entries
		}
	}
	return known, missing, nil
}

// asks is what registers have to be asked for to judge all records of a case,
// as far as that can be told by what is known.
func asks(law Law, then Then, records []Recorded, facts FactsThen) ([]Asked, error) {
	again, err := Rejudge(law, then, &records[0])
	if err != nil {
		return nil, err
	}
	return again.asksAll(records, facts)
}

func (j *Rejudging) asksAll(records []Recorded, facts FactsThen) ([]Asked, error) {
	again := *j
	var all []Asked
	for i := range records {
		more, err := again.Asks(&records[i], facts)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
		again.take(&records[i])
	}
	return all, nil
}

// A Difference is an act that is judged otherwise than its record says.
type Difference struct {
	Case     CaseID             `json:"case"`
	Event    string             `json:"event"`
	Act      string             `json:"act"`
	Position uint64             `json:"position"`
	Recorded []rulebook.Finding `json:"recorded"`           // the findings that stand in the record
	Judged   []rulebook.Finding `json:"judged"`             // those that the act has when it is judged anew
	Officers []rulebook.Officer `json:"officers,omitempty"` // as the registers have them, where the record froze others
}

// JudgeToday judges every act of a case by what a procedure and the registers are
// now, and returns the findings by event; acts that note findings are not among
// them. records are all records of the case, in their order; ask answers what is
// asked of registers of other cases, and is called as long as there is something
// to ask.
func JudgeToday(p *rulebook.Procedure, today Today, records []Recorded, ask func([]Asked) (FactsThen, error)) (map[string][]rulebook.Finding, error) {
	if len(records) == 0 {
		return nil, nil //nolint:nilnil // no act, no finding
	}
	again := RejudgeToday(p, today, &records[0])
	known := FactsThen{}
	for {
		asked, err := again.asksAll(records, known)
		if err != nil {
			return nil, err
		}
		if len(asked) == 0 {
			break
		}
		answers, err := ask(asked)
		if err != nil {
			return nil, fmt.Errorf("judge case %s by today's law: registers: %w", records[0].Subject, err)
		}
		maps.Copy(known, answers)
	}
	judged := make(map[string][]rulebook.Finding, len(records))
	for i := range records {
		r := &records[i]
		found, err := again.Next(r, known)
		if err != nil {
			return nil, err
		}
		if !again.notes(r) {
			judged[r.ID] = found
		}
	}
	return judged, nil
}

// JudgeAgain judges every act of a case anew: by the edition that the case goes
// by, with the files of its agency that the record names, on what was recorded before it, and with the registers as they had been
// read when it was recorded. It returns the acts of which that does not give,
// to the letter, the findings in the record, or of which the register does not
// give the officers' certificates in it.
//
// records are all records of one case, in their order. Where then cannot answer
// (a nil Roster or Facts), the acts that cannot be judged without are left out:
// those that looked at registers of other cases, and those that noted what
// registers had come to say of earlier acts.
func JudgeAgain(law Law, then Then, records []Recorded) ([]Difference, error) {
	if len(records) == 0 {
		return nil, nil
	}
	known := FactsThen{}
	for then.Facts != nil {
		ask, err := asks(law, then, records, known)
		if err != nil {
			return nil, err
		}
		if len(ask) == 0 {
			break
		}
		answers, err := then.Facts(ask)
		if err != nil {
			return nil, fmt.Errorf("judge case %s again: registers: %w", records[0].Subject, err)
		}
		maps.Copy(known, answers)
	}
	again, err := Rejudge(law, then, &records[0])
	if err != nil {
		return nil, err
	}
	var out []Difference
	for i := range records {
		r := &records[i]
		d, err := again.difference(r, known)
		if err != nil {
			return nil, fmt.Errorf("judge case %s, position %d again: %w", r.Subject, r.Position, err)
		}
		if d != nil {
			out = append(out, *d)
		}
		again.take(r)
	}
	return out, nil
}

// difference judges one record; nil where it is as it was, or cannot be judged.
func (j *Rejudging) difference(r *Recorded, facts FactsThen) (*Difference, error) {
	if err := j.under(r.Data.Law); err != nil {
		return nil, err
	}
	var roster Roster
	if at := r.Data.RosterAt; at > 0 && j.then.Roster != nil {
		var err error
		if roster, err = j.then.Roster(at); err != nil {
			return nil, fmt.Errorf("register of officers at %d: %w", at, err)
		}
	}
	if j.notes(r) && r.Data.RosterAt > 0 && roster == nil {
		return nil, nil //nolint:nilnil // it cannot be judged
	}
	found, missing, err := j.judge(r, roster, facts)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 && j.then.Facts == nil {
		return nil, nil //nolint:nilnil // likewise
	}
	officers := certified(roster, r.Agency(), r.Data.Officers, calendar.DateOf(r.Time))
	sameOfficers := slices.Equal(officers, r.Data.Officers)
	if sameOfficers && SameFindings(found, r.Data.Findings) {
		return nil, nil //nolint:nilnil // there is none
	}
	d := &Difference{Case: r.Subject, Event: r.ID, Act: r.Act(), Position: r.Position, Recorded: r.Data.Findings, Judged: found}
	if !sameOfficers {
		d.Officers = officers
	}
	return d, nil
}

// SameFindings reports whether two lists of findings are the same to the
// letter, in the form in which records keep them.
func SameFindings(a, b []rulebook.Finding) bool {
	return slices.EqualFunc(a, b, func(a, b rulebook.Finding) bool { return bytes.Equal(recordedForm(a), recordedForm(b)) })
}

func recordedForm(f rulebook.Finding) []byte {
	data, err := json.Marshal(f)
	if err != nil {
		panic("domain: a finding has no JSON: " + err.Error()) // it consists of texts and days
	}
	return data
}

// RegisterAt answers what the register of officers was at a position of the
// log. records are those of the officers' cases in the order of the log; others
// among them do no harm. below is as in NewRegister.
//
// The function goes on from the nearest earlier position of those that it has
// been asked for lately. One goroutine at a time may use it.
func RegisterAt(below *RosterFile, records []Recorded) func(position uint64) (Roster, error) {
	at := pastOf(NewRegister(below), records)
	return func(position uint64) (Roster, error) {
		register, err := at(position)
		if err != nil {
			return nil, err
		}
		return register, nil
	}
}

// CalendarAt answers what the calendar of an agency was at a position of the
// log. records are those of the cases of notices, base is as in NewCalendars;
// beyond that it is as RegisterAt.
func CalendarAt(base *calendar.Calendar, records []Recorded) func(agency string, position uint64) (*calendar.Calendar, error) {
	at := pastOf(NewCalendars(base), records)
	return func(agency string, position uint64) (*calendar.Calendar, error) {
		calendars, err := at(position)
		if err != nil {
			return nil, err
		}
		cal, _ := calendars.For(agency)
		return cal, nil
	}
}

// pastOf goes forwards and backwards in what a register of this package was. It
// keeps some of the states that it has been asked for, so that questions that go
// to and fro, as those of one case after another do, do not each begin anew.
func pastOf[R interface {
	With(records ...Recorded) (R, error)
	UpTo(position uint64) R
	At() uint64
}](empty R, records []Recorded) func(position uint64) (R, error) {
	type state struct {
		register R
		taken    int // records that are in it
	}
	const kept = 64
	states := []state{{register: empty}} // the first is always there; the others by taken
	return func(position uint64) (R, error) {
		end := sort.Search(len(records), func(i int) bool { return records[i].Position > position })
		near := sort.Search(len(states), func(i int) bool { return states[i].taken > end }) - 1
		from := states[near]
		if from.taken == end {
			return from.register.UpTo(position), nil
		}
		next, err := from.register.With(records[from.taken:end]...)
		if err != nil {
			return next, err
		}
		states = slices.Insert(states, near+1, state{next, end})
		if len(states) > kept { // thin them out, the first and the newest stay
			states = slices.Concat(states[:1], everySecond(states[1:]))
		}
		return next.UpTo(position), nil
	}
}

// everySecond are the items of a list with an odd index.
func everySecond[T any](list []T) []T {
	var out []T
	for i := 1; i < len(list); i += 2 {
		out = append(out, list[i])
	}
	return out
}
