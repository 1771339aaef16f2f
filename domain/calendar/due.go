package calendar

import (
	"slices"
	"time"
)

// A Pause is a time during which a clock stands still (a hearing, an appraisal,
// a correction of papers).
//
// From is the day on which the clock was stopped and To the day on which it was
// started again. As with every count here the first is not part of what is
// counted and the last is: the days that are added to a limit are those after
// From up to and with To, so that a clock stopped on the 10th and started on
// the 20th has stood for ten calendar days. Without To the pause is still open.
type Pause struct {
	From Date   `json:"from"`
	To   Date   `json:"to,omitzero"`
	Why  string `json:"why,omitempty"`  // hearing, appraisal, …: shown as it is
	Days int    `json:"days,omitempty"` // set in a Due: how many days it added, of the limit's kind
}

// A Count is what is to be counted.
type Count struct {
	Start      Date      // the day that the limit runs from; it is not counted, day 1 is the next
	At         time.Time // for hours: the moment they run from; without it the end of Start
	Limit      Limit
	Extensions []Limit // longer by these
	Pauses     []Pause // in any order; where two overlap, their days are added once
	Roll       bool    // a last day that is a rest day passes to the next working day (民事诉讼法 85); not for hours
}

// A Due is the last day of a limit, counted, with what its explanation needs.
// It is a plain value that can be kept as JSON.
//
// Provisional is set where a day that the count looked at is not settled by a
// notice: the date may move when the notice for Unpublished comes. Working days
// look at every day of the limit, rolling only at the last ones; days, months
// and years that do not roll, and hours, look at none.
//
// Paused is set where a pause is open: the date is then the earliest possible,
// as if the clock were started again on the day on which it was stopped.
type Due struct {
	On          Date      `json:"on"`                // the last day, rolled if that was asked for; the whole day counts
	Unrolled    Date      `json:"unrolled"`          // the last day before rolling
	At          time.Time `json:"at,omitzero"`       // for hours: the last moment, in Shanghai; it lies on On
	Start       Date      `json:"start"`             // as counted from; for Latest the day of the event
	StartAt     time.Time `json:"start_at,omitzero"` // for hours
	Limit       Limit     `json:"limit"`
	Extensions  []Limit   `json:"extensions,omitempty"`
	Pauses      []Pause   `json:"pauses,omitempty"` // by From, with the days that each added
	Paused      bool      `json:"paused,omitempty"`
	Backwards   bool      `json:"backwards,omitempty"` // made by Latest
	Provisional bool      `json:"provisional,omitempty"`
	Unpublished int       `json:"unpublished,omitempty"` // the first year whose notice is wanting
	Calendar    string    `json:"calendar"`              // the version that was counted with
	Skipped     []Skip    `json:"skipped,omitempty"`     // days passed over; only after Explained
	Worked      []Skip    `json:"worked,omitempty"`      // weekend days that counted as worked; only after Explained

	calendar *Calendar
}

// A Skip is a range of days, both ends included, and why they were passed over
// (or, in Worked, why they were not).
type Skip struct {
	From Date   `json:"from"`
	To   Date   `json:"to"`
	Kind string `json:"kind"`           // "weekend", "holiday", "pause"; in Worked "make-up"
	Name string `json:"name,omitempty"` // of the holiday (国庆节), or the Why of the pause
}

// most is what a single number is held to while counting: three thousand years
// of days. What runs past 9999-12-31 stays there.
const most = 1_000_000

// Due counts a limit forwards from its start.
//
// Extensions of the limit's own kind are added to it before it is counted; one
// of another kind runs on from the last day so far, before any rolling. Then
// each pause that began on or before that last day moves it by the days for
// which it lasted: working days for a limit in working days, calendar days for
// the others. Without a start or a limit there is no last day: On is zero.
func (c *Calendar) Due(q Count) Due {
	if q.Start.IsZero() {
		q.Start = DateOf(q.At)
	}
	d := Due{Start: q.Start, Limit: q.Limit, Calendar: c.version, calendar: c}
	if len(q.Extensions) > 0 {
		d.Extensions = slices.Clone(q.Extensions)
	}
	if q.Start.IsZero() || q.Limit.Kind == "" {
		return d
	}
	if q.Limit.Kind == Hours {
		return c.dueAt(q, d)
	}

	var looked Date // the day after which working days were first counted; zero if never
	d.Unrolled, looked = c.reach(q)
	if len(q.Pauses) > 0 {
		d.Unrolled = c.pause(&d, d.Unrolled, q.Pauses)
	}
	d.On = d.Unrolled
	if q.Roll && !c.IsWorkday(d.On) {
		d.On = c.addWorkdays(d.On, 1)
	}

	switch {
	case !looked.IsZero():
		d.settle(looked.AddDays(1), d.On)
	case q.Roll:
		d.settle(d.Unrolled, d.On)
	}
	return d
}

// Latest counts backwards: the last day on which something that must be done
// so long before an event is still in time. The day of the event is not
// counted, and the day that is found is the N-th before it. (An office that
// wants N whole days in between asks for N+1.) A rest day is not moved. Hours
// are counted from the midnight with which the day of the event begins.
func (c *Calendar) Latest(event Date, by Limit) Due {
	d := Due{Start: event, Limit: by, Backwards: true, Calendar: c.version, calendar: c}
	if event.IsZero() || by.Kind == "" {
		return d
	}
	n := held(by.N)
	switch {
	case by.Kind == Hours:
		d.StartAt = event.Start()
		d.At = within(d.StartAt.Add(time.Duration(-n) * time.Hour))
		d.On = DateOf(d.At)
	case by.Kind == WorkingDays && n > 0:
		d.On = nthDay(c.nth(c.rank(int64(event.n)-1) - int64(n) + 1))
		d.settle(d.On, event.AddDays(-1))
	default:
		d.On = c.add(event, -n, by.Kind)
	}
	d.Unrolled = d.On
	return d
}

// reach returns the last day of a limit with its extensions, and the day after
// which a part of them in working days begins, if there is one.
func (c *Calendar) reach(q Count) (on, looked Date) {
	on = q.Start
	n, kind := held(q.Limit.N), q.Limit.Kind
	if kind == WorkingDays {
		looked = on
	}
	for _, e := range q.Extensions {
		if e.Kind == kind {
			n += held(e.N)
			continue
		}
		on = c.add(on, n, kind)
		n, kind = held(e.N), e.Kind
		if kind == WorkingDays && looked.IsZero() {
			looked = on
		}
	}
	return c.add(on, n, kind), looked
}

// add returns the day n days, months or years after d. Hours that follow on
// whole days are rounded up to whole days.
func (c *Calendar) add(d Date, n int, kind Kind) Date {
	switch kind {
	case WorkingDays:
		return c.addWorkdays(d, n)
	case Days:
		return d.AddDays(n)
	case Months:
		return d.AddMonths(n)
	case Years:
		return d.AddMonths(12 * n)
	case Hours:
		return d.AddDays((n + 23) / 24)
	case "":
		return d
	}
	panic("calendar: no kind of limit " + string(kind))
}

// pause moves the last day by the pauses that began on or before it, and notes
// them in d.
func (c *Calendar) pause(d *Due, on Date, pauses []Pause) Date {
	d.Pauses = slices.Clone(pauses)
	slices.SortStableFunc(d.Pauses, func(a, b Pause) int { return a.From.Compare(b.From) })
	counted := d.Start // no day up to here is added any more
	for i := range d.Pauses {
		p := &d.Pauses[i]
		p.Days = 0
		from := p.From
		if from.Before(counted) {
			from = counted
		}
		switch {
		case d.Paused || p.From.After(on):
			continue
		case p.To.IsZero():
			d.Paused = true
			continue
		case !p.To.After(from):
			continue
		case d.Limit.Kind == WorkingDays:
			p.Days = c.Workdays(from, p.To)
			on = c.addWorkdays(on, p.Days)
		default:
			p.Days = p.To.Sub(from)
			on = on.AddDays(p.Days)
		}
		counted = p.To
	}
	return on
}

// dueAt counts a limit in hours: from moment to moment, with no rolling. An
// extension of another kind moves the day and keeps the time of day.
func (c *Calendar) dueAt(q Count, d Due) Due {
	d.StartAt = q.At.In(Shanghai)
	if q.At.IsZero() {
		d.StartAt = q.Start.AddDays(1).Start()
	}
	at := d.StartAt.Add(time.Duration(held(q.Limit.N)) * time.Hour)
	var looked Date
	for _, e := range q.Extensions {
		if e.Kind == Hours {
			at = at.Add(time.Duration(held(e.N)) * time.Hour)
			continue
		}
		on := DateOf(at)
		at = at.AddDate(0, 0, c.add(on, held(e.N), e.Kind).Sub(on))
		if e.Kind == WorkingDays && looked.IsZero() {
			looked = on
		}
	}
	if len(q.Pauses) > 0 {
		on := DateOf(at)
		at = at.AddDate(0, 0, c.pause(&d, on, q.Pauses).Sub(on))
	}
	d.At = within(at)
	d.On = DateOf(d.At)
	d.Unrolled = d.On
	if !looked.IsZero() {
		d.settle(looked.AddDays(1), d.On)
	}
	return d
}

// settle notes whether the notices settle every day from one to another.
func (d *Due) settle(from, to Date) {
	if to.Before(from) || d.calendar.Certain(from, to) {
		return
	}
	d.Provisional = true
	d.Unpublished = d.calendar.missing(from, to)
}

// held keeps a number of a limit in bounds in which nothing overflows.
func held(n int) int { return min(max(n, 0), most) }

// within keeps a moment within the days that there are.
func within(t time.Time) time.Time {
	if first := (Date{1}).Start(); t.Before(first) {
		return first
	}
	if last := (Date{lastDay}).Start(); t.After(last) {
		return last
	}
	return t
}

// Explained returns d with Skipped and Worked filled in. They are left out
// until someone asks, because most dates are only compared.
func (d Due) Explained() Due {
	c := d.calendar
	if c == nil && d.Calendar == National().Version() { // d was read from JSON
		c = National()
	}
	if c == nil || d.On.IsZero() || d.Skipped != nil || d.Worked != nil {
		return d
	}

	first, last := d.Start.AddDays(1), d.On
	if d.Backwards {
		first, last = d.On, d.Start.AddDays(-1)
	}
	kind, rolled := d.kinds(c), d.On != d.Unrolled || d.At.IsZero() && !d.Backwards && c.IsWorkday(d.On)
	for n := first; !n.After(last); n = n.AddDays(1) {
		s, special := c.about(n)
		pause, paused := d.pausedOn(n)
		switch works := c.IsWorkday(n); {
		case paused:
			d.Skipped = join(d.Skipped, n, "pause", pause.Why)
		case kind(n) != WorkingDays && (n.Before(d.Unrolled) || !rolled):
			// It was counted whatever day it is.
		case works && special:
			d.Worked = join(d.Worked, n, "make-up", s.name)
		case works:
		case special:
			d.Skipped = join(d.Skipped, n, "holiday", s.name)
		default:
			d.Skipped = join(d.Skipped, n, "weekend", "")
		}
		if n.n == lastDay {
			break
		}
	}
	return d
}

// kinds returns the kind in which each day up to the last was counted: that of
// the limit, then those of the extensions, then for what pauses added that of
// the limit again.
func (d Due) kinds(c *Calendar) func(Date) Kind {
	if len(d.Extensions) == 0 || d.Backwards || d.Limit.Kind == Hours {
		return func(Date) Kind { return d.Limit.Kind }
	}
	parts := append([]Limit{d.Limit}, d.Extensions...)
	ends := make([]Date, len(parts))
	on := d.Start
	for i, p := range parts {
		on = c.add(on, held(p.N), p.Kind)
		ends[i] = on
	}
	return func(n Date) Kind {
		for i, end := range ends {
			if !n.After(end) {
				return parts[i].Kind
			}
		}
		return d.Limit.Kind
	}
}

// pausedOn returns the pause that a day was added for.
func (d Due) pausedOn(n Date) (Pause, bool) {
	for _, p := range d.Pauses {
		if p.Days > 0 && n.After(p.From) && !n.After(p.To) {
			return p, true
		}
	}
	return Pause{}, false
}

// join adds a day to a list of ranges.
func join(list []Skip, d Date, kind, name string) []Skip {
	if i := len(list) - 1; i >= 0 && list[i].Kind == kind && list[i].Name == name && list[i].To.AddDays(1) == d {
		list[i].To = d
		return list
	}
	return append(list, Skip{d, d, kind, name})
}
