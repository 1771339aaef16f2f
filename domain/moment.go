package domain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"liuhen/domain/calendar"
)

// A MomentBy says by what a moment is told.
type MomentBy string

// The ways to name a moment.
const (
	ByNow      MomentBy = "now"      // everything that is recorded
	ByPosition MomentBy = "position" // the records up to a position of the log
	ByRevision MomentBy = "revision" // the records of one case up to a revision
	ByRecorded MomentBy = "recorded" // what had been recorded by a time: as it was known then
	ByOccurred MomentBy = "occurred" // what had happened by a time: as it was, with today's knowledge
)

// A Moment is a point at which a case, or all of them, can be shown. What
// ParseMoment returns still has to be found in the log: Position and Time are
// both needed before a case is folded, whatever the moment is told by.
//
//	now                                  everything that is recorded
//	position:123                         the records up to position 123 of the log
//	revision:5                           the first five records of the case
//	recorded:2022-03-01T09:00:00+08:00   what had been recorded by then
//	occurred:2022-03-01                  what had happened by the end of that day
//
// A time without a zone is of Shanghai, the one zone of the law here, and so is
// a day; a day alone is the end of it, as "by day N" is in a limit.
type Moment struct {
	By       MomentBy
	Position uint64        // the last record of the log that is known
	Revision int           // by revision: the last record of the case that counts
	Time     time.Time     // the clock by which limits stand; by recorded and occurred: the last instant that counts
	Day      calendar.Date // where a day alone was asked for
}

// momentGrammar is what an unreadable moment is told.
const momentGrammar = "want now, position:123, revision:5, recorded:TIME or occurred:TIME, with a TIME such as 2022-03-01 (the end of that day in Shanghai), 2022-03-01T09:00 or 2022-03-01T09:00:00+08:00"

// ParseMoment reads a moment as Moment describes it. Its error says what can be
// written.
func ParseMoment(s string) (Moment, error) {
	bad := func() (Moment, error) { return Moment{}, fmt.Errorf("%.80q is no moment: %s", s, momentGrammar) }
	if s == string(ByNow) {
		return Moment{By: ByNow}, nil
	}
	by, value, _ := strings.Cut(s, ":")
	m := Moment{By: MomentBy(by)}
	switch m.By {
	case ByPosition, ByRevision:
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil || n == 0 || value[0] == '+' || value[0] == '0' || m.By == ByRevision && n > 1<<31-1 {
			return bad()
		}
		if m.By == ByPosition {
			m.Position = n
		} else {
			m.Revision = int(n)
		}
		return m, nil
	case ByRecorded, ByOccurred:
		var ok bool
		if m.Time, m.Day, ok = parseInstant(value); !ok {
			return bad()
		}
		return m, nil
	case ByNow: // it has no value
	}
	return bad()
}

// parseInstant reads a time, or a day as its last instant.
func parseInstant(s string) (time.Time, calendar.Date, bool) {
	if day, err := calendar.ParseDate(s); err == nil {
		return day.AddDays(1).Start().Add(-1), day, day.Year() < 9999
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	for _, local := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if err != nil {
			t, err = time.ParseInLocation(local, s, calendar.Shanghai)
		}
	}
	if t = t.In(calendar.Shanghai); err != nil || t.Year() < 1 || t.Year() > 9998 {
		return time.Time{}, calendar.Date{}, false
	}
	return t, calendar.Date{}, true
}

// String writes the moment as ParseMoment reads it.
func (m Moment) String() string {
	switch m.By {
	case ByPosition:
		return fmt.Sprintf("position:%d", m.Position)
	case ByRevision:
		return fmt.Sprintf("revision:%d", m.Revision)
	case ByRecorded, ByOccurred:
		if !m.Day.IsZero() {
			return string(m.By) + ":" + m.Day.String()
		}
		return string(m.By) + ":" + m.Time.In(calendar.Shanghai).Format(time.RFC3339Nano)
	case ByNow:
	}
	return string(ByNow)
}

// MarshalText is String.
func (m Moment) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText is ParseMoment.
func (m *Moment) UnmarshalText(text []byte) (err error) {
	*m, err = ParseMoment(string(text))
	return err
}

// Hindsight reports whether the moment is seen with today's knowledge: what was
// recorded and corrected later counts.
func (m Moment) Hindsight() bool { return m.By == ByOccurred }

// Of returns the records of a case that count at a moment, in their order.
// records are all that the case has, in their order.
//
// By occurred an act counts if it had happened by then as it is told today: of
// an act that was corrected, the time in the last correction decides, and its
// records count all or none. An act of which only the day is known counts from
// the beginning of that day.
func (m Moment) Of(records []Recorded) []Recorded {
	switch m.By {
	case ByOccurred:
		acts := actsOf(records)
		return slices.DeleteFunc(slices.Clone(records), func(r Recorded) bool {
			return records[acts.standing(r.ID)].Time.After(m.Time)
		})
	case ByRevision:
		return records[:min(len(records), m.Revision)]
	case ByPosition, ByRecorded:
		n, _ := slices.BinarySearchFunc(records, m.Position, func(r Recorded, at uint64) int {
			if r.Position <= at {
				return -1
			}
			return 1
		})
		return records[:n]
	case ByNow:
	}
	return records
}

// In is the moment with what the records of one case tell of it: the position
// and the time of a revision. It returns false where the case has no such
// revision.
func (m Moment) In(records []Recorded) (Moment, bool) {
	if m.By != ByRevision {
		return m, true
	}
	if m.Revision > len(records) {
		return m, false
	}
	r := &records[m.Revision-1]
	m.Position, m.Time = r.Position, r.Recorded
	return m, true
}

// corrections tells which records are of one act: the one that first recorded
// it, and those that put it right.
type corrections struct {
	first map[string]string // event → the first of its act
	last  map[string]int    // first event → index of the record that stands
}

func actsOf(records []Recorded) corrections {
	c := corrections{first: make(map[string]string, len(records)), last: make(map[string]int, len(records))}
	for i := range records {
		r := &records[i]
		first := r.ID
		// What corrects no event that stands is an act of its own, as History.Append has it.
		if of, known := c.first[r.Data.Corrects]; known && records[c.last[of]].ID == r.Data.Corrects {
			first = of
		}
		c.first[r.ID], c.last[first] = first, i
	}
	return c
}

// standing is the index of the record that stands of an event's act.
func (c corrections) standing(event string) int { return c.last[c.first[event]] }
