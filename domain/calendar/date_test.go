package calendar

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"pgregory.net/rapid"
)

// on reads a day of a test table.
func on(t testing.TB, s string) Date {
	t.Helper()
	var d Date
	if err := d.UnmarshalText([]byte(s)); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestParseDate(t *testing.T) {
	for _, tt := range []struct{ text, wrong string }{
		{"2022-09-28", ""},
		{"0001-01-01", ""},
		{"9999-12-31", ""},
		{"2024-02-29", ""},
		{"2023-02-29", "2023-02-29 is not a day: that month has no day 29"},
		{"2022-04-31", "2022-04-31 is not a day: that month has no day 31"},
		{"", `"" is not a day: write it as 2022-09-28`},
		{"0000-01-01", `"0000-01-01" is not a day: write it as 2022-09-28`},
		{"2022-13-01", `"2022-13-01" is not a day: write it as 2022-09-28`},
		{"2022-1-01", `"2022-1-01" is not a day: write it as 2022-09-28`},
		{"2022/09/28", `"2022/09/28" is not a day: write it as 2022-09-28`},
		{"+022-09-28", `"+022-09-28" is not a day: write it as 2022-09-28`},
	} {
		d, err := ParseDate(tt.text)
		if tt.wrong == "" && (err != nil || d.String() != tt.text) {
			t.Errorf("ParseDate(%q) = %s, %v", tt.text, d, err)
		}
		if tt.wrong != "" && (err == nil || err.Error() != tt.wrong) {
			t.Errorf("ParseDate(%q) = %s, %v; want %s", tt.text, d, err, tt.wrong)
		}
	}
}

// A day is a day in Shanghai, whatever the zone of the moment.
func TestDateOf(t *testing.T) {
	newYork := time.FixedZone("", -5*60*60)
	for _, tt := range []struct {
		at   time.Time
		want string
	}{
		{time.Date(2022, 9, 28, 15, 59, 59, 0, time.UTC), "2022-09-28"},
		{time.Date(2022, 9, 28, 16, 0, 0, 0, time.UTC), "2022-09-29"},
		{time.Date(2022, 12, 31, 12, 0, 0, 0, newYork), "2023-01-01"},
		{time.Date(1960, 2, 28, 16, 0, 0, 0, time.UTC), "1960-02-29"},
		{time.Time{}, ""},
		{time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC), "0001-01-01"},
		{time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC), "9999-12-31"},
	} {
		if got := DateOf(tt.at); got != on(t, tt.want) {
			t.Errorf("DateOf(%s) = %q, want %q", tt.at, got, tt.want)
		}
	}
	if got := MakeDate(2022, 9, 28).Start().Format(time.RFC3339); got != "2022-09-28T00:00:00+08:00" {
		t.Errorf("2022-09-28 starts at %s", got)
	}
}

func TestMonths(t *testing.T) {
	for _, tt := range []struct {
		from   string
		months int
		want   string
	}{
		{"2023-08-31", 6, "2024-02-29"},
		{"2022-08-31", 6, "2023-02-28"},
		{"2024-02-29", 12, "2025-02-28"},
		{"2024-02-29", 48, "2028-02-29"},
		{"2022-11-15", 2, "2023-01-15"},
		{"2024-05-31", -3, "2024-02-29"},
		{"2024-01-31", -2, "2023-11-30"},
		{"0001-02-01", -2, "0001-01-01"},
		{"9999-11-30", 2, "9999-12-31"},
		{"", 5, ""},
	} {
		if got := on(t, tt.from).AddMonths(tt.months); got != on(t, tt.want) {
			t.Errorf("%s and %d months = %s, want %s", tt.from, tt.months, got, tt.want)
		}
	}
}

func TestDateAsText(t *testing.T) {
	type form struct {
		Day  Date  `json:"day" yaml:"day"`
		Left Date  `json:"left,omitzero" yaml:"left,omitempty"`
		By   Limit `json:"by" yaml:"by"`
	}
	in := form{Day: MakeDate(2022, 9, 28), By: Limit{7, WorkingDays}}

	data, err := json.Marshal(in)
	if want := `{"day":"2022-09-28","by":"7 working days"}`; err != nil || string(data) != want {
		t.Errorf("JSON is %s, %v; want %s", data, err, want)
	}
	var out form
	if err := json.Unmarshal(data, &out); err != nil || out != in {
		t.Errorf("%s is read as %v, %v", data, out, err)
	}
	if err := json.Unmarshal([]byte(`{"day":"", "left": null}`), &out); err != nil || !out.Day.IsZero() {
		t.Errorf("an empty day is read as %v, %v", out, err)
	}

	data, err = yaml.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	out = form{}
	if err := yaml.Unmarshal(data, &out); err != nil || out != in {
		t.Errorf("%s is read as %v, %v", data, out, err)
	}
	out = form{}
	if err := yaml.Unmarshal([]byte("day: &d 2022-09-28\nby: 7个工作日\nleft: null\n"), &out); err != nil || out != in {
		t.Errorf("YAML is read as %v, %v", out, err)
	}
	for text, want := range map[string]string{
		"day: 2022-02-30":   "[1:6] 2022-02-30 is not a day: that month has no day 30",
		"day: 20220928":     `[1:6] "20220928" is not a day: write it as 2022-09-28`,
		"\nby:\n  [7, day]": "[3:3] a plain text was expected here",
	} {
		err := yaml.Unmarshal([]byte(text), &out)
		if got := yaml.FormatError(err, false, false); got != want {
			t.Errorf("%q gives %s, want %s", text, got, want)
		}
	}

	keyed, err := json.Marshal(map[Date]int{in.Day: 1})
	if err != nil || string(keyed) != `{"2022-09-28":1}` {
		t.Errorf("as a key: %s, %v", keyed, err)
	}
}

func TestDateProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := anyDate(t, "d")
		y, m, dd := d.Date()
		if MakeDate(y, int(m), dd) != d || y != d.Year() || m != d.Month() || dd != d.Day() {
			t.Fatalf("%s is %d-%d-%d", d, y, m, dd)
		}
		if DateOf(d.Start()) != d || DateOf(d.Start().Add(24*time.Hour-1)) != d || DateOf(d.Start().Add(-1)) == d && d.n > 1 {
			t.Fatalf("%s does not reach from midnight to midnight", d)
		}
		if d.Weekday() != d.Start().Weekday() {
			t.Fatalf("%s is a %s and not a %s", d, d.Start().Weekday(), d.Weekday())
		}
		n := rapid.IntRange(-lastDay, lastDay).Draw(t, "n")
		if e := d.AddDays(n); e.n > 1 && e.n < lastDay && (e.Sub(d) != n || d.Before(e) != (n > 0) || d.After(e) != (n < 0)) {
			t.Fatalf("%s and %d days is %s", d, n, e)
		}
	})
}

// anyDate draws a day, mostly one for which there are notices.
func anyDate(t *rapid.T, label string) Date {
	if rapid.IntRange(0, 3).Draw(t, label+" far") == 0 {
		return Date{int32(rapid.IntRange(1, lastDay).Draw(t, label))}
	}
	return MakeDate(2017, 6, 1).AddDays(rapid.IntRange(0, 4000).Draw(t, label))
}

func FuzzParseDate(f *testing.F) {
	for _, s := range []string{"2022-09-28", "2024-02-30", "0000-00-00", "9999-12-31", "２022-09-28", "-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDate(s)
		if err == nil && d.String() != s {
			t.Errorf("%q is read as %s", s, d)
		}
		if standard, wrong := time.Parse(time.DateOnly, s); (wrong == nil && standard.Year() > 0) != (err == nil) {
			t.Errorf("%q: %v, and by package time: %v", s, err, wrong)
		}
	})
}
