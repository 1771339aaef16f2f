package calendar

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNotices(t *testing.T) {
	c := National()
	for y := 2015; y <= 2030; y++ {
		if c.Known(y) != (y >= 2018 && y <= 2026) {
			t.Errorf("%d: known = %v", y, c.Known(y))
		}
	}
	for _, n := range c.Notices() {
		if n.Number == "" || !strings.HasPrefix(n.Source, "http") || n.Issued.IsZero() || n.Issued.Year() < n.Year-1 {
			t.Errorf("the notice for %d does not say where it comes from: %+v", n.Year, n)
		}
	}
	for _, tt := range []struct {
		day  string
		work bool
	}{
		{"2018-12-29", true}, {"2018-12-31", false}, // by the notice for 2019
		{"2022-12-31", false}, {"2023-01-02", false}, // a Saturday and a Monday, by the notice for 2023
		{"2019-05-02", false}, {"2019-05-05", true}, // changed in March 2019
		{"2020-01-31", false}, {"2020-02-01", false}, {"2020-02-03", true}, // lengthened in January 2020
		{"2024-02-09", true}, // the eve of the Spring Festival was no day off in 2024
		{"2026-02-14", true}, {"2026-02-28", true}, {"2026-09-20", true},
		{"2015-10-01", true}, {"2027-10-01", true}, // no notice here: a weekday is all that is known
		{"", false},
	} {
		if got := c.IsWorkday(on(t, tt.day)); got != tt.work {
			t.Errorf("%s: worked = %v, want %v", tt.day, got, tt.work)
		}
	}
}

// The facts agree with the collection that the notices were taken from, day for
// day: no more and no less.
func TestAgainstHolidayCN(t *testing.T) {
	c := National()
	theirs := make(map[Date]bool)
	for y := 2018; y <= 2026; y++ {
		var file struct {
			Papers []string
			Days   []struct {
				Date     Date
				IsOffDay bool
			}
		}
		sharedJSON(t, fmt.Sprintf("holidays/holiday-cn/%d.json", y), &file)
		for _, d := range file.Days {
			theirs[d.Date] = d.IsOffDay
		}
		var sources []string
		for _, n := range c.Notices() {
			if n.Year == y {
				sources = append(sources, n.Source)
			}
		}
		if strings.Join(sources, " ") != strings.Join(file.Papers, " ") {
			t.Errorf("%d: sources are %v, theirs %v", y, sources, file.Papers)
		}
	}
	// They say that Monday 3 February 2020 was worked: so it was, as any Monday.
	delete(theirs, MakeDate(2020, 2, 3))
	compare(t, c, theirs, "holiday-cn")
}

// They agree with a second collection, too, but for the weekends beside the one-day
// holidays of 2019, which it lists and the notice calls joined.
func TestAgainstChineseDays(t *testing.T) {
	var file struct{ Holidays, Workdays map[Date]string }
	sharedJSON(t, "holidays/chinese-days.json", &file)
	theirs := make(map[Date]bool)
	for d := range file.Holidays {
		theirs[d] = true
	}
	for d := range file.Workdays {
		theirs[d] = false
	}
	for d := range theirs {
		if d.Year() < 2018 || d.Year() == 2019 && strings.Contains("04-06 04-07 06-08 06-09 09-14 09-15", d.String()[5:]) {
			delete(theirs, d)
		}
	}
	compare(t, National(), theirs, "chinese-days")
}

func compare(t *testing.T, c *Calendar, theirs map[Date]bool, name string) {
	t.Helper()
	ours := make(map[Date]bool)
	for _, s := range c.special {
		ours[s.day] = s.off
		if off, ok := theirs[s.day]; !ok || off != s.off {
			t.Errorf("%s: off = %v here, %v there (listed: %v in %s)", s.day, s.off, off, ok, name)
		}
	}
	for d := range theirs {
		if _, ok := ours[d]; !ok {
			t.Errorf("%s is in %s and not here", d, name)
		}
	}
	if len(theirs) < 250 {
		t.Errorf("only %d days of %s were compared", len(theirs), name)
	}
}

// sharedJSON reads a file of the shared development data beside the module, or
// skips the test where there is none.
func sharedJSON(t testing.TB, name string, into any) {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("there is no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	data, err := os.ReadFile(filepath.Join(dir, "..", "shared", "data", name))
	if err != nil {
		t.Skipf("the shared development data is not here: %v", err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

func TestLoadSaysWhatIsWrong(t *testing.T) {
	for _, tt := range []struct{ name, notices, want string }{
		{"a day twice in one holiday", `
  - year: 2027
    title: T
    holidays:
      - {name: 国庆节, off: 2027-10-01..2027-10-07, work: [2027-10-02]}`,
			"5:10: notice for 2027: 国庆节: 2027-10-02 is named twice, here and for 国庆节"},
		{"a day twice in two holidays", `
  - year: 2027
    title: T
    holidays:
      - {name: 中秋节, off: 2027-09-15..2027-09-17}
      - {name: 国庆节, off: 2027-10-01..2027-10-07, work: [2027-09-18, 2027-09-19]}
      - {name: 教师节, off: 2027-09-17..2027-09-18}`,
			"7:10: notice for 2027: 教师节: 2027-09-17 is named twice, here and for 中秋节\n" +
				"7:10: notice for 2027: 教师节: 2027-09-18 is named twice, here and for 国庆节"},
		{"a day twice in two years", `
  - {year: 2026, title: T, holidays: [{name: 冬至, off: 2026-12-31}]}
  - {year: 2027, title: T, holidays: [{name: 元旦, off: 2026-12-31..2027-01-02}]}`,
			"3:40: notice for 2027: 元旦: 2026-12-31 is named twice, here and for 冬至"},
		{"another year", `
  - year: 2027
    title: T
    holidays:
      - {name: 元旦, off: 2026-12-24..2027-01-02, work: [2028-01-08]}`,
			"5:10: notice for 2027: 元旦: 2026-12-24 lies outside of 2026-12-25..2027-12-31\n" +
				"5:10: notice for 2027: 元旦: 2028-01-08 lies outside of 2026-12-25..2027-12-31"},
		{"a weekday worked", `
  - year: 2027
    title: T
    holidays:
      - {name: 元旦, off: 2027-01-01, work: [2027-01-04]}`,
			"5:10: notice for 2027: 元旦: 2027-01-04 is to be worked, but is a Monday: only a Saturday or Sunday can be"},
		{"several things", `
  - year: 2027
    title: ""
    holidays:
      - {name: 元旦}
      - {off: 2027-01-01..2027-02-01}
  - {year: 20277, title: T, holidays: []}`,
			"2:5: notice for 2027: it has no title\n" +
				"5:10: notice for 2027: 元旦: it has no days\n" +
				"6:10: notice for 2027: each holiday needs a name of its own\n" +
				"6:10: notice for 2027: 2027-01-01..2027-02-01 is not a range of 1 to 31 days\n" +
				"7:6: notice for 20277: the year is outside of 1950 to 2150"},
		{"an empty notice", `
  - {year: 2027, title: T, holidays: []}`,
			"2:6: notice for 2027: it has no holidays; leave out a year that has no notice yet"},
		{"a range turned round", `
  - {year: 2027, title: T, holidays: [{name: 元旦, off: 2027-01-03..2027-01-01}]}`,
			"2:55: 2027-01-03..2027-01-01 ends before it begins"},
		{"no such day", `
  - {year: 2027, title: T, holidays: [{name: 元旦, off: 2027-02-29}]}`,
			"2:55: 2027-02-29 is not a day: that month has no day 29"},
		{"an unknown key", `
  - {year: 2027, title: T, holydays: []}`,
			`2:28: unknown field "holydays"`},
		{"not a number", `
  - {year: next}`,
			`2:12: cannot unmarshal string into Go struct field .Notices of type int`},
		{"nothing", " []", "there are no notices"},
	} {
		_, err := Load(strings.NewReader("notices:" + tt.notices + "\n"))
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s: the error is\n%v\nwant\n%s", tt.name, err, tt.want)
		}
	}
	if _, err := Load(strings.NewReader(strings.Repeat(" ", maxNotices+1))); err == nil {
		t.Error("a file of any size is read")
	}
}

// A newer notice settles what was provisional, and leaves the older calendar
// as it was.
func TestNewerNotice(t *testing.T) {
	old := National()
	q := Count{Start: MakeDate(2026, 12, 25), Limit: Limit{5, WorkingDays}}
	if d := old.Due(q); d.On != MakeDate(2027, 1, 1) || !d.Provisional || d.Unpublished != 2027 {
		t.Errorf("without the notice for 2027: %+v", d)
	}
	notice := Notice{Year: 2027, Title: "T", Holidays: []Holiday{
		{Name: "元旦", Off: Span{MakeDate(2027, 1, 1), MakeDate(2027, 1, 3)}},
		{Name: "国庆节", Off: Span{MakeDate(2027, 10, 1), MakeDate(2027, 10, 7)}, Work: []Date{MakeDate(2027, 9, 26)}},
	}}
	c, err := old.With(notice)
	if err != nil {
		t.Fatal(err)
	}
	if d := c.Due(q); d.On != MakeDate(2027, 1, 4) || d.Provisional || d.Calendar == old.Version() {
		t.Errorf("with the notice for 2027: %+v", d)
	}
	if old.Known(2027) || old.Version() != National().Version() || !strings.HasPrefix(c.Version(), "2027-") {
		t.Errorf("the versions are %s and %s", old.Version(), c.Version())
	}

	// Read once more it changes nothing; a later notice changes what it names.
	again, err := c.With(notice)
	if err != nil || again.Version() != c.Version() {
		t.Errorf("the same notice twice: %v, %v", again.Version(), err)
	}
	later, err := c.WithFile(strings.NewReader(`{"notices": [{"year": 2027, "title": "T", "holidays": [{"name": "国庆节", "off": "2027-10-01..2027-10-08"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for day, want := range map[string]bool{"2027-10-08": false, "2027-09-26": false, "2027-01-01": false, "2026-10-10": true} {
		if got := later.IsWorkday(on(t, day)); got != want {
			t.Errorf("%s after the change: worked = %v, want %v", day, got, want)
		}
	}
	_, err = c.With(Notice{Year: 2027, Title: "T", Holidays: []Holiday{{Name: "校庆", Off: Span{MakeDate(2027, 10, 1), MakeDate(2027, 10, 1)}}}})
	if want := "notice for 2027: 校庆: 2027-10-01 is named twice, here and for 国庆节"; err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
}

// What a notice is as JSON is also a notice: an administrator's event keeps it so.
func TestNoticeAsJSON(t *testing.T) {
	data, err := json.Marshal(map[string]any{"notices": National().Notices()})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Load(bytes.NewReader(data))
	if err != nil || c.Version() != National().Version() {
		t.Errorf("read back: %v, %v", c, err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(shipped)
	for _, s := range []string{
		`{"notices": [{"year": 2027, "title": "T", "holidays": [{"name": "元旦", "off": "2027-01-01"}]}]}`,
		"notices: [{year: 2150, title: T, holidays: [{name: a, off: 2150-01-01, work: [2150-01-02]}]}]",
		"notices:\n- year: &y 2027\n  title: *y\n  holidays: *y\n", "notices: {}", "- ", "---\n---\n", "a: [", "\xff",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Load(bytes.NewReader(data))
		if err != nil {
			return
		}
		for _, s := range c.special {
			if c.IsWorkday(s.day) == s.off {
				t.Errorf("%s is off = %v and worked = %v", s.day, s.off, c.IsWorkday(s.day))
			}
		}
		if d := c.Due(Count{Start: c.special[0].day, Limit: Limit{1000, WorkingDays}}); c.Workdays(d.Start, d.On) != 1000 {
			t.Errorf("1000 working days after %s is %s, where %d are counted", d.Start, d.On, c.Workdays(d.Start, d.On))
		}
	})
}
