// Package calendar counts time as Chinese law counts it: working days by the
// State Council's yearly notices on holidays, calendar days, months, years and
// hours, forwards and backwards, with pauses, extensions and the rolling of a
// last day that is a rest day; and it says in words how it counted.
//
// A Calendar is data with a version and never changes; a newer notice makes a
// new one. Nothing here reads a clock.
package calendar

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"slices"
	"sync"
	"time"
)

//go:embed notices.yaml
var shipped []byte

// National returns the calendar of the State Council notices that the program
// ships with (notices.yaml). It is read once and shared.
var National = sync.OnceValue(func() *Calendar {
	c, err := Load(bytes.NewReader(shipped))
	if err != nil {
		panic("calendar: notices.yaml: " + err.Error())
	}
	return c
})

// A Calendar knows which days are worked. A day that no notice speaks of is
// worked from Monday to Friday. A Calendar is never changed and may be used by
// many at once; the zero Calendar has no notices, so that every count that
// needs one is provisional.
type Calendar struct {
	notices []Notice  // as they were given, in order
	special []special // the days that the notices speak of, in order
	years   []int     // those with a notice, in order
	certain []Span    // what the notices settle; see Certain
	version string

	// From the first special day to the last: how many days were worked up to
	// and with each, counted from 0001-01-01; and the day of each worked one.
	// Outside of it every week has five, and arithmetic does.
	first, last int64
	worked      []int32 // worked[i] belongs to day first+i
	days        []int32 // days[0] is the first worked day of the table
}

// A special day is one that a notice speaks of.
type special struct {
	day  Date
	off  bool   // a day off; otherwise a weekend day that is worked
	name string // of the holiday that it is off or worked for
}

// Where the year before ends for the notice of a year: New Year's holidays and
// the weekends worked for them have begun as early as 29 December.
const borderDay = 25 // of December

// newCalendar builds the tables from what a set of notices says.
func newCalendar(notices []Notice, years []int, days []special) *Calendar {
	c := &Calendar{notices: notices, years: years, special: days}
	for i, y := range years {
		to := MakeDate(y, 12, borderDay-1)
		if i > 0 && years[i-1] == y-1 {
			c.certain[len(c.certain)-1].To = to
		} else {
			c.certain = append(c.certain, Span{MakeDate(y, 1, 1), to})
		}
	}
	if len(days) > 0 {
		c.first, c.last = int64(days[0].day.n), int64(days[len(days)-1].day.n)
		count, next := int32(weekdays(c.first-1)), 0
		for n := c.first; n <= c.last; n++ {
			works := n%7 >= 1 && n%7 <= 5
			if int64(days[next].day.n) == n {
				works = !days[next].off
				next++
			}
			if works {
				count++
				c.days = append(c.days, int32(n))
			}
			c.worked = append(c.worked, count)
		}
	}
	c.version = c.digest()
	return c
}

// digest hashes the facts of the calendar and not their sources: a line "year
// 2022" for each year with a notice, in order, then for each day that a notice
// speaks of, in order, a line "2022-10-01 off" or "2022-10-08 work", all ended
// by a newline; SHA-256, of which the first 12 hex digits, after the last year.
func (c *Calendar) digest() string {
	var text bytes.Buffer
	for _, y := range c.years {
		fmt.Fprintf(&text, "year %d\n", y)
	}
	for _, s := range c.special {
		fmt.Fprintf(&text, "%s %s\n", s.day, map[bool]string{true: "off", false: "work"}[s.off])
	}
	return fmt.Sprintf("%d-%x", c.years[len(c.years)-1], sha256.Sum256(text.Bytes()))[:4+1+12]
}

// Version names what the calendar knows: the last year with a notice and a
// digest of all days, such as "2026-1f0c3a5b7d9e". Two calendars with the same
// version count alike. The zero Calendar's version is empty.
func (c *Calendar) Version() string { return c.version }

// Notices returns the notices that the calendar was made from, in order.
func (c *Calendar) Notices() []Notice { return slices.Clone(c.notices) }

// Known says whether there is a notice for a year.
func (c *Calendar) Known(year int) bool {
	_, found := slices.BinarySearch(c.years, year)
	return found
}

// Certain says whether the notices settle every day from one to another, both
// included. A day needs the notice of its year; from 25 December on it needs
// that of the next year, too, which may give days off, or work, around New Year
// (2022-12-31 is a day off by the notice for 2023).
func (c *Calendar) Certain(from, to Date) bool {
	for _, s := range c.certain {
		if !from.Before(s.From) && !to.After(s.To) {
			return true
		}
	}
	return false
}

// missing returns the first year whose notice is wanting for the days from one
// to another, or 0.
func (c *Calendar) missing(from, to Date) int {
	if c.Certain(from, to) {
		return 0
	}
	y, _, _ := from.Date()
	lastYear, m, d := to.Date()
	if m == time.December && d >= borderDay {
		lastYear++
	}
	for ; y <= lastYear; y++ {
		if !c.Known(y) {
			return y
		}
	}
	return 0
}

// IsWorkday says whether a day is worked.
func (c *Calendar) IsWorkday(d Date) bool {
	return d.n != 0 && c.rank(int64(d.n)) > c.rank(int64(d.n)-1)
}

// Workdays returns how many working days lie after from, up to and with to;
// the negative number of those between them where to lies before from.
func (c *Calendar) Workdays(from, to Date) int {
	return int(c.rank(int64(to.n)) - c.rank(int64(from.n)))
}

// addWorkdays returns the n-th working day after d, or d itself for n = 0.
func (c *Calendar) addWorkdays(d Date, n int) Date {
	if n == 0 {
		return d
	}
	return nthDay(c.nth(c.rank(int64(d.n)) + int64(n)))
}

// rank returns how many days are worked from 0001-01-01 up to and with day n.
func (c *Calendar) rank(n int64) int64 {
	switch {
	case len(c.worked) == 0 || n < c.first:
		return weekdays(n)
	case n <= c.last:
		return int64(c.worked[n-c.first])
	}
	return int64(c.worked[len(c.worked)-1]) + weekdays(n) - weekdays(c.last)
}

// nth is the inverse of rank: the k-th day that is worked.
func (c *Calendar) nth(k int64) int64 {
	before := k
	if len(c.worked) > 0 {
		before = k - weekdays(c.first-1)
	}
	switch {
	case len(c.worked) == 0 || before <= 0:
		return nthWeekday(k)
	case before <= int64(len(c.days)):
		return int64(c.days[before-1])
	}
	return nthWeekday(k - int64(c.worked[len(c.worked)-1]) + weekdays(c.last))
}

// weekdays returns how many of the first n days are Mondays to Fridays: day 1
// is a Monday.
func weekdays(n int64) int64 { return n/7*5 + min(n%7, 5) }

// nthWeekday is its inverse.
func nthWeekday(k int64) int64 {
	if k < 1 {
		return 0
	}
	return (k-1)/5*7 + (k-1)%5 + 1
}

// about returns what a notice says of a day, if one does.
func (c *Calendar) about(d Date) (special, bool) {
	i, found := slices.BinarySearchFunc(c.special, d, func(s special, d Date) int { return s.day.Compare(d) })
	if !found {
		return special{}, false
	}
	return c.special[i], true
}
