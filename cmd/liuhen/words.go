package main

import (
	"fmt"
	"strings"
	"time"

	"liuhen/domain/calendar"
)

var weekdays = [7][2]string{
	{"周日", "Sun"}, {"周一", "Mon"}, {"周二", "Tue"}, {"周三", "Wed"}, {"周四", "Thu"}, {"周五", "Fri"}, {"周六", "Sat"},
}

// moment prints a time as officers read it: 2026-11-23 11:52 (周一).
func (p *program) moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	t = t.In(calendar.Shanghai)
	return t.Format("2006-01-02 15:04") + " (" + p.weekday(t.Weekday()) + ")"
}

// day prints a civil day with its weekday.
func (p *program) day(d calendar.Date) string {
	if d.IsZero() {
		return ""
	}
	return d.String() + " (" + p.weekday(d.Weekday()) + ")"
}

func (p *program) weekday(d time.Weekday) string {
	return p.pick(weekdays[d][0], weekdays[d][1])
}

// yuan prints fen as yuan: 2,000,000 fen is 20,000.00 元.
func (p *program) yuan(fen int64) string {
	sign := ""
	if fen < 0 {
		sign, fen = "-", -fen
	}
	return fmt.Sprintf("%s%s.%02d %s", sign, grouped(fen/100), fen%100, p.pick("元", "yuan"))
}

// listed joins names.
func (p *program) listed(names []string) string { return strings.Join(names, p.pick("、", ", ")) }

// grouped prints a number with a comma between thousands.
func grouped(n int64) string {
	s := fmt.Sprint(n)
	var parts []string
	for len(s) > 3 {
		parts = append([]string{s[len(s)-3:]}, parts...)
		s = s[:len(s)-3]
	}
	return strings.Join(append([]string{s}, parts...), ",")
}

var severities = map[string][2]string{
	"invalid": {"无效", "invalid"}, "veto": {"一票否决", "veto"}, "major": {"严重", "major"}, "minor": {"轻微", "minor"}, "notice": {"提示", "notice"},
}

// severity names the gravity of a finding.
func (p *program) severity(s string) string {
	if names, ok := severities[s]; ok {
		return p.pick(names[0], names[1])
	}
	return s
}

var lights = map[string][2]string{
	"red": {"红", "red"}, "yellow": {"黄", "yellow"}, "green": {"绿", "green"}, "done": {"已办", "done"},
}

// light names the colour of a deadline on the board.
func (p *program) light(s string) string {
	if names, ok := lights[s]; ok {
		return p.pick(names[0], names[1])
	}
	return s
}
