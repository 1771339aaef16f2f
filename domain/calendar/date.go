package calendar

import (
	"fmt"
	"time"
)

// Shanghai is the only time zone of the law here: UTC+8 the whole year. It is
// a fixed zone, so that no zone database is needed to read a record.
var Shanghai = time.FixedZone("Asia/Shanghai", 8*60*60)

// A Date is a civil day in Shanghai, from 0001-01-01 to 9999-12-31. Dates can
// be compared with ==. The zero Date is no day at all; as text it is empty,
// and `omitzero` leaves it out of JSON.
type Date struct {
	n int32 // 1 is 0001-01-01, a Monday; 0 is no day
}

const (
	unixEpoch = 719163  // the n of 1970-01-01
	lastDay   = 3652059 // the n of 9999-12-31
)

// MakeDate returns the day of a year, month and day of the month. Numbers out
// of range are carried over as time.Date does: 31 April is 1 May. Outside of
// the years 1 to 9999 it returns the zero Date.
func MakeDate(y, m, d int) Date {
	if y < 0 || y > 10000 || m < -1e5 || m > 1e5 || d < -1e7 || d > 1e7 {
		return Date{}
	}
	n := time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC).Unix()/86400 + unixEpoch
	if n < 1 || n > lastDay {
		return Date{}
	}
	return Date{int32(n)}
}

// DateOf returns the day in Shanghai on which t lies; for the zero time the zero Date.
func DateOf(t time.Time) Date {
	if t.IsZero() {
		return Date{}
	}
	s := t.Unix() + 8*60*60
	n := s / 86400
	if s%86400 < 0 {
		n--
	}
	return nthDay(n + unixEpoch)
}

// ParseDate reads a day written as 2022-09-28, and nothing else.
func ParseDate(s string) (Date, error) {
	bad := func() (Date, error) { return Date{}, fmt.Errorf("%q is not a day: write it as 2022-09-28", clip(s)) }
	if len(s) != 10 || s[4] != '-' || s[7] != '-' {
		return bad()
	}
	number := func(s string) int {
		n := 0
		for _, c := range []byte(s) {
			if c < '0' || c > '9' {
				return -1
			}
			n = n*10 + int(c-'0')
		}
		return n
	}
	y, m, d := number(s[:4]), number(s[5:7]), number(s[8:])
	if y < 1 || m < 1 || m > 12 || d < 1 || d > 31 {
		return bad()
	}
	made := MakeDate(y, m, d)
	if made.Day() != d { // carried over: there is no such day in that month
		return Date{}, fmt.Errorf("%s is not a day: that month has no day %d", s, d)
	}
	return made, nil
}

// nthDay returns the n-th day, held between the first and the last that there is.
func nthDay(n int64) Date { return Date{int32(min(max(n, 1), lastDay))} }

// IsZero says whether d is no day at all.
func (d Date) IsZero() bool { return d.n == 0 }

// Date returns the year, the month and the day of the month; zeros for the zero Date.
func (d Date) Date() (year int, month time.Month, dayOfMonth int) {
	if d.n == 0 {
		return 0, 0, 0
	}
	return time.Unix(int64(d.n-unixEpoch)*86400, 0).UTC().Date()
}

// Year returns the year, or 0 for the zero Date.
func (d Date) Year() int { y, _, _ := d.Date(); return y }

// Month returns the month, or 0 for the zero Date.
func (d Date) Month() time.Month { _, m, _ := d.Date(); return m }

// Day returns the day of the month, or 0 for the zero Date.
func (d Date) Day() int { _, _, dd := d.Date(); return dd }

// Weekday returns the day of the week. The zero Date has none: do not ask.
func (d Date) Weekday() time.Weekday { return time.Weekday(d.n % 7) }

// AddDays returns the day n days later, or earlier where n is negative. It
// stops at the first and the last day that there is. The zero Date stays zero.
func (d Date) AddDays(n int) Date {
	if d.n == 0 {
		return d
	}
	n = min(max(n, -lastDay), lastDay)
	return nthDay(int64(d.n) + int64(n))
}

// AddMonths returns the day with the same number n months later, or earlier
// where n is negative; and the month's last day where it has no such number:
// 31 August and six months is 28 or 29 February.
func (d Date) AddMonths(n int) Date {
	if d.n == 0 {
		return d
	}
	n = min(max(n, -12*10000), 12*10000)
	y, m, dd := d.Date()
	months := y*12 + int(m) - 1 + n
	switch {
	case months < 12:
		return Date{1}
	case months >= 12*10000:
		return Date{lastDay}
	}
	y, m = months/12, time.Month(months%12+1)
	return MakeDate(y, int(m), min(dd, daysIn(y, m)))
}

func daysIn(y int, m time.Month) int {
	return time.Date(y, m+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// Sub returns how many days d lies after earlier; negative if it lies before.
func (d Date) Sub(earlier Date) int { return int(d.n - earlier.n) }

// Before says whether d lies before e. The zero Date lies before every day.
func (d Date) Before(e Date) bool { return d.n < e.n }

// After says whether d lies after e.
func (d Date) After(e Date) bool { return d.n > e.n }

// Compare returns -1, 0 or +1 as d lies before e, is e, or lies after e.
func (d Date) Compare(e Date) int {
	switch {
	case d.n < e.n:
		return -1
	case d.n > e.n:
		return 1
	}
	return 0
}

// Start returns the midnight in Shanghai with which the day begins; the day
// ends with the Start of the next. The zero Date gives the zero time.
func (d Date) Start() time.Time {
	if d.n == 0 {
		return time.Time{}
	}
	return time.Unix((int64(d.n)-unixEpoch)*86400-8*60*60, 0).In(Shanghai)
}

// String returns the day as 2022-09-28, or nothing for the zero Date.
func (d Date) String() string {
	text, _ := d.AppendText(nil)
	return string(text)
}

// AppendText appends String to b. It never fails.
func (d Date) AppendText(b []byte) ([]byte, error) {
	if d.n == 0 {
		return b, nil
	}
	y, m, dd := d.Date()
	return append(b,
		byte('0'+y/1000), byte('0'+y/100%10), byte('0'+y/10%10), byte('0'+y%10), '-',
		byte('0'+m/10), byte('0'+m%10), '-',
		byte('0'+dd/10), byte('0'+dd%10)), nil
}

// MarshalText is String; JSON and YAML use it.
func (d Date) MarshalText() ([]byte, error) { return d.AppendText(make([]byte, 0, 10)) }

// UnmarshalText reads what MarshalText wrote; an empty text is the zero Date.
func (d *Date) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = Date{}
		return nil
	}
	parsed, err := ParseDate(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// clip keeps what is shown of a wrong input short.
func clip(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}
