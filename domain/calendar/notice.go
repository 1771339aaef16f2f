package calendar

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// A Notice is what the General Office of the State Council makes known for a
// year, usually in October to December of the year before: the days off and
// the weekend days that are worked for them (全国年节及纪念日放假办法 7).
type Notice struct {
	Year     int       `yaml:"year" json:"year"`
	Title    string    `yaml:"title" json:"title"`
	Number   string    `yaml:"number" json:"number,omitempty"` // 国办发明电〔2021〕11号
	Issued   Date      `yaml:"issued" json:"issued,omitzero"`  // the day under the notice
	Source   string    `yaml:"source" json:"source,omitempty"` // where it can be read
	Holidays []Holiday `yaml:"holidays" json:"holidays"`
}

// A Holiday is one item of a notice. In a notice for a year that has one
// already it takes the place of the holiday of that name.
type Holiday struct {
	Name string `yaml:"name" json:"name"`           // 国庆节; several are joined by 、
	Off  Span   `yaml:"off" json:"off,omitzero"`    // weekends within included
	Work []Date `yaml:"work" json:"work,omitempty"` // Saturdays and Sundays that are worked for it
}

// A Span is a range of days, both ends included. As text it is
// "2022-10-01..2022-10-07", or "2022-10-01" for one day.
type Span struct{ From, To Date }

// Days returns how many days the span has.
func (s Span) Days() int {
	if s.IsZero() {
		return 0
	}
	return s.To.Sub(s.From) + 1
}

// IsZero says whether s is no span at all.
func (s Span) IsZero() bool { return s == Span{} }

// MarshalText writes the span as its comment says; JSON and YAML use it.
func (s Span) MarshalText() ([]byte, error) {
	if s.From == s.To {
		return s.From.MarshalText()
	}
	return []byte(s.From.String() + ".." + s.To.String()), nil
}

// UnmarshalText reads what MarshalText wrote; an empty text is the zero Span.
func (s *Span) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*s = Span{}
		return nil
	}
	first, last, found := strings.Cut(string(text), "..")
	if !found {
		last = first
	}
	from, err := ParseDate(first)
	if err != nil {
		return err
	}
	to, err := ParseDate(last)
	if err != nil {
		return err
	}
	if to.Before(from) {
		return fmt.Errorf("%s..%s ends before it begins", from, to)
	}
	*s = Span{from, to}
	return nil
}

// maxNotices is the size of the largest file of notices that is read, in bytes.
const maxNotices = 64 << 10

// Load reads a file of notices (YAML or JSON, in the form of notices.yaml) and
// makes a calendar of them. The error names line, column, year and holiday of
// everything that is wrong.
func Load(r io.Reader) (*Calendar, error) { return new(Calendar).WithFile(r) }

// WithFile is With for the notices of a file.
func (c *Calendar) WithFile(r io.Reader) (*Calendar, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxNotices+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxNotices {
		return nil, fmt.Errorf("the file is larger than %d bytes", maxNotices)
	}
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, placed(err)
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return nil, fmt.Errorf("the file has %d documents and not one", len(file.Docs))
	}
	var content struct {
		Notices []Notice `yaml:"notices"`
	}
	if err := yaml.NodeToValue(file.Docs[0].Body, &content, yaml.Strict()); err != nil {
		return nil, placed(err)
	}
	return c.with(content.Notices, func(notice, holiday int) string {
		path := fmt.Sprintf("$.notices[%d]", notice)
		if holiday >= 0 {
			path += fmt.Sprintf(".holidays[%d]", holiday)
		}
		return find(file, path)
	})
}

// find returns where a path of the file stands: its line and column, or
// nothing if that cannot be told.
func find(file *ast.File, path string) string {
	p, err := yaml.PathString(path)
	if err != nil {
		return ""
	}
	node, err := p.FilterFile(file)
	if err != nil || node == nil {
		return ""
	}
	if m, ok := node.(*ast.MappingNode); ok && len(m.Values) > 0 {
		node = m.Values[0].Key
	}
	return position(node.GetToken())
}

// placed puts line and column before what the YAML library found wrong.
func placed(err error) error {
	var e yaml.Error
	if !errors.As(err, &e) {
		return err
	}
	return errors.New(position(e.GetToken()) + e.GetMessage())
}

func position(t *token.Token) string {
	if t == nil || t.Position == nil {
		return ""
	}
	return fmt.Sprintf("%d:%d: ", t.Position.Line, t.Position.Column)
}

// The years that a notice may be for; outside of them a number is a slip.
const firstYear, lastYear = 1950, 2150

// maxOff is the most days that one holiday may have; ten is the record so far.
const maxOff = 31

// With returns a calendar that knows newer notices as well. A notice for a
// year without one is added; in a year with one, each holiday of the newer
// notice takes the place of the holiday with that name, and the rest stays.
//
// Everything that cannot be is refused, all of it in one error: a day that two
// holidays speak of; a day outside of the notice's year (from 25 December of
// the year before it is inside); a day to be worked that is no Saturday or
// Sunday, for those are worked anyway; a range that is empty, turned round or
// longer than a month.
func (c *Calendar) With(newer ...Notice) (*Calendar, error) {
	return c.with(newer, func(int, int) string { return "" })
}

// with does it; where says where the i-th newer notice stands in a file, and
// within it the j-th holiday (the notice itself for j = -1).
func (c *Calendar) with(newer []Notice, where func(i, j int) string) (*Calendar, error) {
	var problems []error
	type item struct {
		Holiday
		notice, number int // as where takes them; negative: of a notice that we had before
	}
	inForce := make(map[int][]item) // by year
	for i, n := range append(slices.Clone(c.notices), newer...) {
		i -= len(c.notices)
		if i >= 0 {
			problems = append(problems, check(n, func(j int) string { return where(i, j) })...)
		}
		inForce[n.Year] = slices.DeleteFunc(inForce[n.Year], func(old item) bool {
			return slices.ContainsFunc(n.Holidays, func(h Holiday) bool { return h.Name == old.Name })
		})
		for j, h := range n.Holidays {
			inForce[n.Year] = append(inForce[n.Year], item{h, i, j})
		}
	}
	if len(inForce) == 0 {
		return nil, errors.New("there are no notices")
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}

	taken := make(map[Date]special)
	years := slices.Sorted(maps.Keys(inForce))
	for _, y := range years {
		for _, h := range inForce[y] {
			for _, s := range h.days() {
				if other, twice := taken[s.day]; twice {
					at := ""
					if h.notice >= 0 {
						at = where(h.notice, h.number)
					}
					problems = append(problems, fmt.Errorf("%snotice for %d: %s: %s is named twice, here and for %s", at, y, h.Name, s.day, other.name))
				}
				taken[s.day] = s
			}
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}

	days := slices.SortedFunc(maps.Values(taken), func(a, b special) int { return a.day.Compare(b.day) })
	return newCalendar(append(slices.Clone(c.notices), newer...), years, days), nil
}

// check looks at one notice by itself and returns all that is wrong with it.
func check(n Notice, where func(holiday int) string) (problems []error) {
	complain := func(j int, format string, args ...any) {
		at := fmt.Sprintf("%snotice for %d: ", where(j), n.Year)
		if j >= 0 && n.Holidays[j].Name != "" {
			at += n.Holidays[j].Name + ": "
		}
		problems = append(problems, errors.New(at+fmt.Sprintf(format, args...)))
	}
	if n.Year < firstYear || n.Year > lastYear {
		complain(-1, "the year is outside of %d to %d", firstYear, lastYear)
		return problems
	}
	if n.Title == "" {
		complain(-1, "it has no title")
	}
	if len(n.Holidays) == 0 {
		complain(-1, "it has no holidays; leave out a year that has no notice yet")
	}
	from, to := MakeDate(n.Year-1, 12, borderDay), MakeDate(n.Year, 12, 31)
	named := make(map[string]bool)
	for j, h := range n.Holidays {
		if h.Name == "" || named[h.Name] {
			complain(j, "each holiday needs a name of its own")
		}
		named[h.Name] = true
		switch {
		case h.Off.IsZero() && len(h.Work) == 0:
			complain(j, "it has no days")
			continue
		case !h.Off.IsZero() && (h.Off.From.IsZero() || h.Off.Days() < 1 || h.Off.Days() > maxOff):
			complain(j, "%s..%s is not a range of 1 to %d days", h.Off.From, h.Off.To, maxOff)
			continue
		}
		for _, s := range h.days() {
			if s.day.Before(from) || s.day.After(to) {
				complain(j, "%s lies outside of %s..%s", s.day, from, to)
			}
			if wd := s.day.Weekday(); !s.off && wd != time.Saturday && wd != time.Sunday {
				complain(j, "%s is to be worked, but is a %s: only a Saturday or Sunday can be", s.day, wd)
			}
		}
	}
	return problems
}

// days returns what the holiday says of each of its days.
func (h Holiday) days() []special {
	var days []special
	if !h.Off.IsZero() {
		for d := h.Off.From; !d.After(h.Off.To); d = d.AddDays(1) {
			days = append(days, special{d, true, h.Name})
		}
	}
	for _, d := range h.Work {
		days = append(days, special{d, false, h.Name})
	}
	return days
}
