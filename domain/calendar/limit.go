package calendar

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Kind is the unit in which a limit is counted.
type Kind string

// The kinds. Which of them a number of days in a law is, the law itself says:
// 行政处罚法 85, 行政许可法 82, 行政强制法 69, 行政复议法 88.
const (
	WorkingDays Kind = "working days" // 工作日
	Days        Kind = "days"         // 日: calendar days
	Months      Kind = "months"       // 月
	Years       Kind = "years"        // 年
	Hours       Kind = "hours"        // 小时
)

// kinds has each kind with how it is written, one and many, in English and in
// Chinese, and what else is read as it.
var kinds = []struct {
	kind    Kind
	one     string
	chinese string
	also    []string
}{
	{WorkingDays, "working day", "个工作日", []string{"工作日"}},
	{Days, "day", "日", []string{"calendar day", "calendar days", "天", "自然日", "个自然日"}},
	{Months, "month", "个月", nil},
	{Years, "year", "年", nil},
	{Hours, "hour", "小时", []string{"个小时"}},
}

// A Limit is a length of time as a law gives it: 7 working days, 90 days, 6
// months, 24 hours. Limits can be compared with ==. The zero Limit is none.
type Limit struct {
	N    int
	Kind Kind
}

// maxLimit is the largest number of a limit that is read; no law comes near.
const maxLimit = 100_000

// ParseLimit reads "7 working days", "1 day", "90 calendar days", "6 months",
// "2 years", "24 hours", and the same in Chinese: 7个工作日, 90日, 90天, 6个月,
// 2年, 24小时. Case and spaces do not matter.
func ParseLimit(s string) (Limit, error) {
	bad := fmt.Errorf("%q is not a limit: write it as 7 working days, 90 days, 6 months, 2 years, 24 hours (7个工作日, 90日, 6个月, 2年, 24小时)", clip(s))
	text := strings.ToLower(strings.Join(strings.Fields(s), " "))
	digits := len(text) - len(strings.TrimLeft(text, "0123456789"))
	n, err := strconv.Atoi(text[:digits])
	if err != nil && digits < 7 {
		return Limit{}, bad
	}
	if err != nil || n > maxLimit {
		return Limit{}, fmt.Errorf("%q is not a limit: its number is above %d", clip(s), maxLimit)
	}
	unit := strings.TrimPrefix(text[digits:], " ")
	for _, k := range kinds {
		if unit == k.one || unit == string(k.kind) || unit == k.chinese || slices.Contains(k.also, unit) {
			return Limit{n, k.kind}, nil
		}
	}
	return Limit{}, bad
}

// IsZero says whether l is no limit at all.
func (l Limit) IsZero() bool { return l == Limit{} }

// In returns the limit in a language: "7 working days" for "en", 7个工作日
// otherwise.
func (l Limit) In(lang string) string {
	if l.IsZero() {
		return ""
	}
	for _, k := range kinds {
		switch {
		case k.kind != l.Kind:
		case lang != "en":
			return strconv.Itoa(l.N) + k.chinese
		case l.N == 1:
			return "1 " + k.one
		}
	}
	return strconv.Itoa(l.N) + " " + string(l.Kind)
}

// String returns the limit in English.
func (l Limit) String() string { return l.In("en") }

// MarshalText writes the limit as String does; JSON and YAML use it. The zero
// Limit is an empty text.
func (l Limit) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what ParseLimit reads; an empty text is the zero Limit.
func (l *Limit) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*l = Limit{}
		return nil
	}
	parsed, err := ParseLimit(string(text))
	if err != nil {
		return err
	}
	*l = parsed
	return nil
}
