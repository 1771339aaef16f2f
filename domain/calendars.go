package domain

import (
	"maps"
	"slices"

	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// NoticeProcedure is the procedure in which an agency takes a notice of the
// State Council on holidays into its calendar: entered, and confirmed by a second
// person (domain/law/calendar-notice.yaml).
const NoticeProcedure = "calendar-notice"

// Calendars are the calendars that agencies count days by, as the log has them at
// a position: the program's own, and the notices that an agency has confirmed
// since. It is a value: With makes the next one.
type Calendars struct {
	folded
	base     *calendar.Calendar
	agencies map[string]agencyCalendar
}

type agencyCalendar struct {
	*calendar.Calendar
	at      uint64 // position of the last notice in it
	notices []caseNotice
}

// caseNotice is the notice of a case.
type caseNotice struct {
	id     CaseID
	notice calendar.Notice
}

// NewCalendars returns the calendars of an empty log.
func NewCalendars(base *calendar.Calendar) *Calendars {
	return &Calendars{folded: folded{procedure: NoticeProcedure}, base: base}
}

// With returns the calendars after further records; see Register.With.
func (cs *Calendars) With(records ...Recorded) (*Calendars, error) {
	next := *cs
	for _, r := range records { // one by one: the position of each counts
		f, changed, err := next.with(r)
		if err != nil {
			return nil, err
		}
		next.folded = f
		if len(changed) == 0 {
			continue
		}
		notice, ok := lastNotice(f.files[r.Subject].steps)
		if r.Act() != confirmNotice || !ok || refused(r.Data.Findings) {
			continue
		}
		agency := next.of(r.Agency())
		agency.at = r.Position
		agency.notices = append(slices.DeleteFunc(slices.Clone(agency.notices), func(n caseNotice) bool { return n.id == r.Subject }),
			caseNotice{r.Subject, notice})
		all := make([]calendar.Notice, len(agency.notices))
		for i, n := range agency.notices {
			all[i] = n.notice
		}
		agency.Calendar = CalendarWith(next.base, all)
		next.agencies = maps.Clone(next.agencies)
		if next.agencies == nil {
			next.agencies = make(map[string]agencyCalendar)
		}
		next.agencies[r.Agency()] = agency
	}
	return &next, nil
}

// UpTo returns the calendars at a later position, up to which no record was of
// their procedure.
func (cs *Calendars) UpTo(position uint64) *Calendars {
	next := *cs
	next.folded = cs.upTo(position)
	return &next
}

// At is the position of the last record that was taken in.
func (cs *Calendars) At() uint64 { return cs.at }

// For returns an agency's calendar, and the position of the last notice that it
// has beside the program's own; 0 for none. It is nil where cs is.
func (cs *Calendars) For(agency string) (*calendar.Calendar, uint64) {
	if cs == nil {
		return nil, 0
	}
	c := cs.of(agency)
	return c.Calendar, c.at
}

func (cs *Calendars) of(agency string) agencyCalendar {
	if c, ok := cs.agencies[agency]; ok {
		return c
	}
	return agencyCalendar{Calendar: cs.base}
}

// A ConfirmedNotice is a notice with the position of the record that confirmed it.
type ConfirmedNotice struct {
	calendar.Notice
	Position uint64
}

// CalendarWith is a calendar with notices, in the order in which they were
// confirmed. One that cannot be, beside those before it, is left out: a rule of the
// procedure has said so when it was confirmed.
func CalendarWith(cal *calendar.Calendar, notices []calendar.Notice) *calendar.Calendar {
	for _, n := range notices {
		if next, err := cal.With(n); err == nil {
			cal = next
		}
	}
	return cal
}

// NoticeOf returns the notice that a case has confirmed last, as it was entered
// then. What is corrected after that counts when it is confirmed again, by a
// correction of the confirmation.
func NoticeOf(c *Case) (last ConfirmedNotice, ok bool) {
	var f file
	receipts := c.After(0)
	for i, s := range c.History.Steps {
		f.take(s)
		if notice, entered := lastNotice(f.steps); entered && s.Act == confirmNotice && !refused(s.Findings) {
			last, ok = ConfirmedNotice{notice, receipts[i].Position}, true
		}
	}
	return last, ok
}

// refused reports whether a rule would have refused an act that was recorded all
// the same, as already done or imported. Such an act puts nothing in force: that two
// persons agree is a rule, and what is recorded against it stays a fact and no more.
func refused(findings []rulebook.Finding) bool {
	return slices.ContainsFunc(findings, func(f rulebook.Finding) bool { return f.Verdict == rulebook.Refuse })
}

// The acts of domain/law/calendar-notice.yaml, whose fields noticeOf knows.
const enterNotice, confirmNotice = "enter-notice", "confirm-notice"

func lastNotice(steps []rulebook.Step) (calendar.Notice, bool) {
	for _, s := range slices.Backward(steps) {
		if s.Act == enterNotice {
			return noticeOf(s), true
		}
	}
	return calendar.Notice{}, false
}

func noticeOf(s rulebook.Step) calendar.Notice {
	text := func(fields map[string]any, name string) string { v, _ := fields[name].(string); return v }
	day := func(v any) calendar.Date {
		s, _ := v.(string)
		d, _ := calendar.ParseDate(s) // zero where there is none
		return d
	}
	year, _ := s.Fields["year"].(int64)
	n := calendar.Notice{
		Year: int(year), Title: text(s.Fields, "title"), Number: text(s.Fields, "document_no"), Issued: day(s.Fields["issued"]), Source: text(s.Fields, "source"),
	}
	items, _ := s.Fields["holidays"].([]any)
	n.Holidays = rulebook.HolidaysOf(items)
	return n
}
