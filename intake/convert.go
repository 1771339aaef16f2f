package intake

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A decimal is digits × 10^exp, exactly as written.
type decimal struct {
	digits int64
	exp    int
}

var errNumber = errors.New("not a number")

// parseDecimal reads a number as it is written, without rounding: a sign,
// digits, a decimal point, an exponent. point and thousands are the
// characters that the file uses; thousands 0 means none.
func parseDecimal(s string, point, thousands byte) (decimal, error) {
	var d decimal
	i, neg, any, frac := 0, false, false, false
	if i < len(s) && (s[i] == '-' || s[i] == '+') {
		neg = s[i] == '-'
		i++
	}
	group := -1 // digits since the last thousands mark; -1: none yet
	for ; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= '0' && c <= '9':
			if d.digits > (math.MaxInt64-9)/10 {
				return d, errors.New("too many digits")
			}
			d.digits = d.digits*10 + int64(c-'0')
			any = true
			if frac {
				d.exp--
			} else if group >= 0 {
				group++
			}
			continue
		case c == point && !frac && (group < 0 || group == 3):
			frac, group = true, -1
			continue
		case thousands != 0 && c == thousands && !frac && any && (group < 0 || group == 3):
			group = 0
			continue
		}
		break
	}
	if !any || group >= 0 && group != 3 {
		return d, errNumber
	}
	if i < len(s) {
		if s[i] != 'e' && s[i] != 'E' {
			return d, errNumber
		}
		e, err := strconv.Atoi(strings.TrimPrefix(s[i+1:], "+"))
		if err != nil || e < -400 || e > 400 {
			return d, errNumber
		}
		d.exp += e
	}
	if neg {
		d.digits = -d.digits
	}
	return d, nil
}

// whole is d × 10^shift as a whole number; false where it is not whole or does
// not fit.
func (d decimal) whole(shift int) (int64, bool) {
	n, exp := d.digits, d.exp+shift
	if n == 0 {
		return 0, true
	}
	for ; exp < 0; exp++ {
		if n%10 != 0 {
			return 0, false
		}
		n /= 10
	}
	for ; exp > 0; exp-- {
		if n > math.MaxInt64/10 || n < math.MinInt64/10 {
			return 0, false
		}
		n *= 10
	}
	return n, true
}

// significant is the digits of a number without sign, point, leading and
// trailing zeros: what is left of it when its decimal point is lost.
func significant(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if s[i] >= '0' && s[i] <= '9' {
			b.WriteByte(s[i])
		}
	}
	return strings.Trim(b.String(), "0")
}

// parseZone reads an IANA name, Z or an offset such as +08:00.
func parseZone(s string) (*time.Location, error) {
	if s == "Z" || s == "UTC" {
		return time.UTC, nil
	}
	if s[0] == '+' || s[0] == '-' {
		if secs, rest, ok := parseOffset(s); ok && rest == "" {
			return time.FixedZone(s, secs), nil
		}
		return nil, fmt.Errorf("%q: expected an offset such as +08:00", s)
	}
	if s == "Local" {
		return nil, errors.New("Local is another zone on another machine; name it")
	}
	loc, err := time.LoadLocation(s)
	if err != nil {
		return nil, fmt.Errorf("%q: expected an IANA name such as Asia/Shanghai, or an offset such as +08:00", s)
	}
	return loc, nil
}

// parseOffset reads Z, +08:00, +0800 or +08 and returns what follows.
func parseOffset(s string) (secs int, rest string, ok bool) {
	if s == "" {
		return 0, s, false
	}
	if s[0] == 'Z' || s[0] == 'z' {
		return 0, s[1:], true
	}
	if s[0] != '+' && s[0] != '-' || len(s) < 3 {
		return 0, s, false
	}
	h, ok := number(s[1:3])
	if !ok || h > 15 {
		return 0, s, false
	}
	m, rest := 0, s[3:]
	if colon := strings.HasPrefix(rest, ":"); colon || rest != "" && rest[0] >= '0' && rest[0] <= '9' {
		if colon {
			rest = rest[1:]
		}
		if len(rest) < 2 {
			return 0, s, false
		}
		if m, ok = number(rest[:2]); !ok || m > 59 {
			return 0, s, false
		}
		rest = rest[2:]
	}
	secs = h*3600 + m*60
	if s[0] == '-' {
		secs = -secs
	}
	return secs, rest, true
}

// number reads ASCII digits, all of them.
func number(s string) (n int, ok bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, s != ""
}

// layoutIsLocal reports whether times of a layout are local to a zone that
// must be given, because they have no offset of their own.
func layoutIsLocal(layout string) (bool, error) {
	switch layout {
	case "date", "datetime":
		return true, nil
	case "rfc3339", "unix", "unix-ms":
		return false, nil
	}
	if !strings.Contains(layout, "06") {
		return false, fmt.Errorf("%q: expected date, datetime, rfc3339, unix, unix-ms or a layout such as 02.01.2006 15:04", layout)
	}
	return !strings.Contains(layout, "07") && !strings.Contains(layout, "MST"), nil
}

// A clock reads times by a rule. It keeps the offsets that it has seen; it is
// for one goroutine.
type clock struct {
	offsets map[int]*time.Location
}

func (c *clock) at(secs int) *time.Location {
	if secs == 0 {
		return time.UTC
	}
	loc, ok := c.offsets[secs]
	if !ok {
		if c.offsets == nil {
			c.offsets = make(map[int]*time.Location)
		}
		loc = time.FixedZone("", secs)
		c.offsets[secs] = loc
	}
	return loc
}

// read tries the layouts of a rule in turn. odd says what is doubtful about a
// local time: in a zone that changes its clocks it may occur twice or not at
// all.
func (c *clock) read(s string, rule *timeRule) (t time.Time, odd string, err error) {
	for _, layout := range rule.layouts {
		switch layout {
		case "date", "datetime", "rfc3339":
			iso, ok := parseISO(s)
			if !ok || iso.clock != (layout != "date") || iso.offset != (layout == "rfc3339") {
				continue
			}
			if iso.offset {
				return iso.in(c.at(iso.secs)), "", nil
			}
			t, odd = local(iso.in(time.UTC), rule.zone)
			return t, odd, nil
		case "unix", "unix-ms":
			n, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				continue
			}
			if layout == "unix" {
				t = time.Unix(n, 0)
			} else {
				t = time.UnixMilli(n)
			}
			if rule.zone != nil {
				return t.In(rule.zone), "", nil
			}
			return t.UTC(), "", nil
		default:
			if isLocal, _ := layoutIsLocal(layout); !isLocal {
				if t, err := time.ParseInLocation(layout, s, time.UTC); err == nil {
					_, secs := t.Zone()
					return t.In(c.at(secs)), "", nil
				}
				continue
			}
			wall, err := time.ParseInLocation(layout, s, time.UTC)
			if err != nil {
				continue
			}
			t, odd = local(wall, rule.zone)
			return t, odd, nil
		}
	}
	return time.Time{}, "", fmt.Errorf("is not a time of the form %s", strings.Join(rule.layouts, " or "))
}

// local is the moment when the clocks of a zone show what wall shows in UTC.
// Of two such moments it is the first. odd says so, or that there is none.
func local(wall time.Time, zone *time.Location) (t time.Time, odd string) {
	t = time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), wall.Nanosecond(), zone)
	_, before := t.Add(-12 * time.Hour).Zone()
	_, after := t.Add(12 * time.Hour).Zone()
	if before == after {
		return t, ""
	}
	_, now := t.Zone()
	if !t.Add(time.Duration(now) * time.Second).Equal(wall) {
		return t, "this local time does not exist in " + zone.String() + "; the clocks were put forward"
	}
	first := wall.Add(-time.Duration(before) * time.Second).In(zone)
	second := wall.Add(-time.Duration(after) * time.Second).In(zone)
	_, b := first.Zone()
	_, a := second.Zone()
	if b == before && a == after {
		return first, "this local time occurs twice in " + zone.String() + "; the clocks were put back"
	}
	return t, ""
}

// An isoTime is the parts of 2006-01-02[T15:04[:05[.999]][Z|+01:00]].
type isoTime struct {
	y, mo, d, h, mi, s, ns int
	clock, offset          bool // it has a time of day, an offset
	secs                   int  // the offset
}

func (t isoTime) in(loc *time.Location) time.Time {
	return time.Date(t.y, time.Month(t.mo), t.d, t.h, t.mi, t.s, t.ns, loc)
}

var monthDays = [...]int{31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

// parseISO is several times as fast as time.Parse, and takes a blank for the T.
func parseISO(s string) (t isoTime, ok bool) {
	if len(s) < 10 || s[4] != '-' || s[7] != '-' {
		return t, false
	}
	y, ok1 := number(s[:4])
	mo, ok2 := number(s[5:7])
	d, ok3 := number(s[8:10])
	if !ok1 || !ok2 || !ok3 || mo < 1 || mo > 12 || d < 1 || d > monthDays[mo-1] {
		return t, false
	}
	if mo == 2 && d == 29 && (y%4 != 0 || y%100 == 0 && y%400 != 0) {
		return t, false
	}
	t.y, t.mo, t.d = y, mo, d
	s = s[10:]
	if s == "" {
		return t, true
	}
	if (s[0] != 'T' && s[0] != 't' && s[0] != ' ') || len(s) < 6 || s[3] != ':' {
		return t, false
	}
	h, ok1 := number(s[1:3])
	mi, ok2 := number(s[4:6])
	if !ok1 || !ok2 || h > 23 || mi > 59 {
		return t, false
	}
	t.h, t.mi, t.clock = h, mi, true
	s = s[6:]
	if len(s) >= 3 && s[0] == ':' {
		sec, ok := number(s[1:3])
		if !ok || sec > 59 {
			return t, false
		}
		t.s, s = sec, s[3:]
		if len(s) > 1 && s[0] == '.' {
			i, unit := 1, 100_000_000
			for ; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
				t.ns += int(s[i]-'0') * unit
				unit /= 10
			}
			if i == 1 {
				return t, false
			}
			s = s[i:]
		}
	}
	if s == "" {
		return t, true
	}
	secs, rest, ok := parseOffset(s)
	if !ok || rest != "" {
		return t, false
	}
	t.secs, t.offset = secs, true
	return t, true
}
