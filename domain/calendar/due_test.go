package calendar

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The examples of the day-counting rules, computed by hand from the notices.
func TestVectors(t *testing.T) {
	for _, tt := range []struct{ start, limit, unrolled, on string }{
		{"2022-09-28", "7 working days", "2022-10-12", "2022-10-12"},
		{"2025-01-24", "7 working days", "2025-02-10", "2025-02-10"},
		{"2026-02-12", "7 working days", "2026-02-28", "2026-02-28"},
		{"2024-04-30", "3 working days", "2024-05-08", "2024-05-08"},
		{"2022-04-29", "5 working days", "2022-05-10", "2022-05-10"},
		{"2025-09-26", "5 working days", "2025-10-10", "2025-10-10"},
		{"2026-04-30", "2 working days", "2026-05-07", "2026-05-07"},
		{"2024-04-26", "10 working days", "2024-05-13", "2024-05-13"},
		{"2022-09-13", "20 working days", "2022-10-14", "2022-10-14"},
		{"2022-09-13", "30 working days", "2022-10-28", "2022-10-28"},
		{"2022-12-30", "10 working days", "2023-01-16", "2023-01-16"},
		{"2023-01-10", "20 working days", "2023-02-10", "2023-02-10"},
		{"2023-06-08", "15 days", "2023-06-23", "2023-06-25"},
		{"2024-09-09", "90 days", "2024-12-08", "2024-12-09"},
		{"2023-08-31", "6 months", "2024-02-29", "2024-02-29"},
	} {
		d := National().Due(Count{Start: on(t, tt.start), Limit: limit(t, tt.limit), Roll: true})
		if d.Unrolled != on(t, tt.unrolled) || d.On != on(t, tt.on) || d.Provisional {
			t.Errorf("%s after %s is %s, rolled to %s, provisional %v; want %s, %s", tt.limit, tt.start, d.Unrolled, d.On, d.Provisional, tt.unrolled, tt.on)
		}
	}
	// A notice of a hearing.
	if d := National().Latest(MakeDate(2025, 10, 20), Limit{7, WorkingDays}); d.On != MakeDate(2025, 10, 10) || d.Provisional {
		t.Errorf("7 working days before 2025-10-20 is %s, want 2025-10-10", d.On)
	}
	// The permit limit with its extension by ten days.
	d := National().Due(Count{Start: MakeDate(2022, 9, 13), Limit: Limit{20, WorkingDays}, Extensions: []Limit{{10, WorkingDays}}})
	if d.On != MakeDate(2022, 10, 28) {
		t.Errorf("20 working days and 10 more after 2022-09-13 is %s, want 2022-10-28", d.On)
	}
}

func limit(t testing.TB, s string) Limit {
	t.Helper()
	l, err := ParseLimit(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestWorkingDaysOfTheMonths(t *testing.T) {
	for year, months := range map[int][12]int{
		2022: {21, 16, 23, 21, 20, 21, 21, 23, 21, 18, 22, 22},
		2023: {18, 20, 23, 20, 21, 21, 21, 23, 20, 19, 22, 21},
		2024: {22, 18, 21, 22, 21, 19, 23, 22, 21, 19, 21, 22},
		2025: {19, 19, 21, 22, 19, 20, 23, 21, 23, 18, 20, 23},
		2026: {21, 16, 22, 21, 19, 21, 23, 21, 22, 18, 21, 23},
	} {
		sum := 0
		for i, want := range months {
			from := MakeDate(year, i+1, 1).AddDays(-1)
			got := National().Workdays(from, from.AddDays(1).AddMonths(1).AddDays(-1))
			if got != want {
				t.Errorf("%d-%02d has %d working days, want %d", year, i+1, got, want)
			}
			sum += got
		}
		want := map[int]int{2022: 249, 2023: 249, 2024: 251, 2025: 248, 2026: 248}[year]
		if got := National().Workdays(MakeDate(year-1, 12, 31), MakeDate(year, 12, 31)); got != want || sum != want {
			t.Errorf("%d has %d working days, its months %d, want %d", year, got, sum, want)
		}
	}
}

func TestPauses(t *testing.T) {
	span := func(from, to string) Pause { return Pause{From: on(t, from), To: on(t, to)} }
	for _, tt := range []struct {
		name   string
		limit  string
		pauses []Pause
		on     string
		days   []int // that each pause added, by From
		paused bool
	}{
		{"ten calendar days", "90 days", []Pause{span("2024-10-10", "2024-10-20")}, "2024-12-18", []int{10}, false},
		{"working days only for working days", "20 working days", []Pause{span("2024-09-12", "2024-09-19")}, "2024-10-17", []int{4}, false},
		{"a day off adds nothing to working days", "20 working days", []Pause{span("2024-09-14", "2024-09-17")}, "2024-10-12", []int{0}, false},
		{"stopped and started on one day", "90 days", []Pause{span("2024-10-10", "2024-10-10")}, "2024-12-08", []int{0}, false},
		{"stopped on the last day, it ends when started", "90 days", []Pause{span("2024-12-08", "2024-12-20")}, "2024-12-20", []int{12}, false},
		{"stopped after the last day", "90 days", []Pause{span("2024-12-09", "2024-12-20")}, "2024-12-08", []int{0}, false},
		{"reached only through the pause before", "90 days", []Pause{span("2024-12-10", "2024-12-12"), span("2024-12-01", "2024-12-05")}, "2024-12-14", []int{4, 2}, false},
		{"two that overlap", "90 days", []Pause{span("2024-10-01", "2024-10-11"), span("2024-10-06", "2024-10-16")}, "2024-12-23", []int{10, 5}, false},
		{"one within the other", "90 days", []Pause{span("2024-10-01", "2024-10-11"), span("2024-10-02", "2024-10-03")}, "2024-12-18", []int{10, 0}, false},
		{"before the start", "90 days", []Pause{span("2024-09-01", "2024-09-12")}, "2024-12-11", []int{3}, false},
		{"still open", "90 days", []Pause{span("2024-10-01", "2024-10-11"), span("2024-11-01", "")}, "2024-12-18", []int{10, 0}, true},
		{"open after the last day", "90 days", []Pause{span("2024-12-09", "")}, "2024-12-08", []int{0}, false},
		{"months", "3 months", []Pause{span("2024-10-01", "2024-10-11")}, "2024-12-19", []int{10}, false},
		{"turned round", "90 days", []Pause{span("2024-10-10", "2024-10-01")}, "2024-12-08", []int{0}, false},
	} {
		given := slices.Clone(tt.pauses)
		d := National().Due(Count{Start: MakeDate(2024, 9, 9), Limit: limit(t, tt.limit), Pauses: tt.pauses})
		var days []int
		for _, p := range d.Pauses {
			days = append(days, p.Days)
		}
		if d.On != on(t, tt.on) || !slices.Equal(days, tt.days) || d.Paused != tt.paused {
			t.Errorf("%s: %s after 2024-09-09 is %s, pauses added %v, open %v; want %s, %v, %v", tt.name, tt.limit, d.On, days, d.Paused, tt.on, tt.days, tt.paused)
		}
		if !reflect.DeepEqual(tt.pauses, given) {
			t.Errorf("%s: the pauses were changed where they were given", tt.name)
		}
	}
}

func TestExtensions(t *testing.T) {
	for _, tt := range []struct {
		start, limit string
		extensions   []string
		unrolled, on string
	}{
		{"2024-09-09", "90 days", []string{"30 days"}, "2025-01-07", "2025-01-07"},
		{"2024-09-09", "90 days", []string{"0 days"}, "2024-12-08", "2024-12-09"},
		{"2023-11-30", "3 months", []string{"1 month"}, "2024-03-30", "2024-04-01"}, // four months, and not from the clamped 29 February
		{"2024-09-09", "60 days", []string{"1 month"}, "2024-12-08", "2024-12-09"},
		{"2024-09-23", "5 working days", []string{"15 days"}, "2024-10-14", "2024-10-14"},
		{"2024-09-20", "10 days", []string{"3 working days", "2 working days"}, "2024-10-12", "2024-10-12"},
		{"2024-09-20", "10 days", []string{"25 hours"}, "2024-10-02", "2024-10-08"},
	} {
		q := Count{Start: on(t, tt.start), Limit: limit(t, tt.limit), Roll: true}
		for _, e := range tt.extensions {
			q.Extensions = append(q.Extensions, limit(t, e))
		}
		if d := National().Due(q); d.Unrolled != on(t, tt.unrolled) || d.On != on(t, tt.on) {
			t.Errorf("%s and %v after %s is %s, rolled to %s; want %s, %s", tt.limit, tt.extensions, tt.start, d.Unrolled, d.On, tt.unrolled, tt.on)
		}
	}
}

func TestHours(t *testing.T) {
	at := time.Date(2024, 9, 30, 1, 30, 0, 0, time.UTC) // half past nine in Shanghai
	for _, tt := range []struct {
		name string
		q    Count
		want string
	}{
		{"from a moment", Count{At: at, Limit: Limit{24, Hours}}, "2024-10-01T09:30:00+08:00"},
		{"a day off is no matter", Count{At: at, Limit: Limit{24, Hours}, Roll: true}, "2024-10-01T09:30:00+08:00"},
		{"from a day, its end", Count{Start: MakeDate(2024, 9, 30), Limit: Limit{24, Hours}}, "2024-10-02T00:00:00+08:00"},
		{"longer by hours", Count{At: at, Limit: Limit{24, Hours}, Extensions: []Limit{{12, Hours}}}, "2024-10-01T21:30:00+08:00"},
		{"longer by a working day", Count{At: at, Limit: Limit{24, Hours}, Extensions: []Limit{{1, WorkingDays}}}, "2024-10-08T09:30:00+08:00"},
		{"paused", Count{At: at, Limit: Limit{24, Hours}, Pauses: []Pause{{From: MakeDate(2024, 10, 1), To: MakeDate(2024, 10, 3)}}}, "2024-10-03T09:30:00+08:00"},
	} {
		d := National().Due(tt.q)
		if got := d.At.Format(time.RFC3339); got != tt.want || d.On != DateOf(d.At) || d.Unrolled != d.On || d.Provisional {
			t.Errorf("%s: due at %s, on %s, want %s", tt.name, got, d.On, tt.want)
		}
	}
	d := National().Latest(MakeDate(2024, 9, 30), Limit{24, Hours})
	if got := d.At.Format(time.RFC3339); got != "2024-09-29T00:00:00+08:00" {
		t.Errorf("24 hours before 2024-09-30 is %s", got)
	}
}

func TestLatest(t *testing.T) {
	for _, tt := range []struct{ event, by, want string }{
		{"2025-10-20", "7 working days", "2025-10-10"},
		{"2025-10-20", "8 working days", "2025-10-09"}, // seven whole days in between
		{"2022-10-10", "3 working days", "2022-09-30"}, // Saturday and Sunday are worked
		{"2022-10-05", "1 working day", "2022-09-30"},
		{"2025-10-20", "7 days", "2025-10-13"},
		{"2024-05-31", "3 months", "2024-02-29"},
		{"2024-02-29", "1 year", "2023-02-28"},
		{"2025-10-20", "0 working days", "2025-10-20"},
	} {
		d := National().Latest(on(t, tt.event), limit(t, tt.by))
		if d.On != on(t, tt.want) || d.Unrolled != d.On || !d.Backwards || d.Provisional {
			t.Errorf("%s before %s is %+v, want %s", tt.by, tt.event, d, tt.want)
		}
	}
}

func TestProvisional(t *testing.T) {
	for _, tt := range []struct {
		name        string
		start       string
		limit       string
		roll        bool
		unpublished int
	}{
		{"all in a year with a notice", "2026-12-01", "10 working days", false, 0},
		{"to the last day that the notice of one year settles", "2026-12-14", "8 working days", false, 0},
		{"a day later the next notice may say otherwise", "2026-12-14", "9 working days", false, 2027},
		{"late December with both notices", "2025-12-20", "5 working days", false, 0},
		{"into a year without", "2026-12-01", "60 working days", false, 2027},
		{"before the first notice", "2017-12-01", "3 working days", false, 2017},
		{"from before the first notice into it", "2017-12-28", "30 working days", false, 2017},
		{"calendar days look at nothing", "2026-12-01", "60 days", false, 0},
		{"unless they roll", "2026-12-01", "60 days", true, 2027},
		{"rolling looks only at the last days", "2017-12-01", "60 days", true, 0},
		{"rolling to and fro over New Year", "2026-12-01", "2 years", true, 2028},
		{"hours look at nothing", "2026-12-31", "24 hours", true, 0},
		{"nothing to count, nothing to look at", "2028-01-01", "0 working days", false, 0},
	} {
		d := National().Due(Count{Start: on(t, tt.start), Limit: limit(t, tt.limit), Roll: tt.roll})
		if d.Provisional != (tt.unpublished != 0) || d.Unpublished != tt.unpublished {
			t.Errorf("%s: %s after %s is %s, provisional %v for want of %d; want %d", tt.name, tt.limit, tt.start, d.On, d.Provisional, d.Unpublished, tt.unpublished)
		}
	}
	if d := National().Latest(MakeDate(2027, 1, 4), Limit{7, WorkingDays}); !d.Provisional || d.Unpublished != 2027 {
		t.Errorf("backwards from 2027: %+v", d)
	}
	if d := new(Calendar).Due(Count{Start: MakeDate(2022, 9, 28), Limit: Limit{7, WorkingDays}}); d.On != MakeDate(2022, 10, 7) || !d.Provisional || d.Unpublished != 2022 {
		t.Errorf("without any notice: %+v", d)
	}
}

func TestNothingToCount(t *testing.T) {
	for _, q := range []Count{{}, {Start: MakeDate(2022, 9, 28)}, {Limit: Limit{7, Days}}} {
		if d := National().Due(q); !d.On.IsZero() || d.Provisional {
			t.Errorf("%+v is due on %s", q, d.On)
		}
	}
	if d := National().Latest(Date{}, Limit{7, Days}); !d.On.IsZero() {
		t.Errorf("7 days before nothing is %s", d.On)
	}
	if d := National().Due(Count{Start: MakeDate(2022, 9, 28), Limit: Limit{0, WorkingDays}}); d.On != d.Start {
		t.Errorf("no working days after 2022-09-28 is %s", d.On)
	}
}

// Numbers without sense give a day all the same, and do not overflow.
func TestHugeLimits(t *testing.T) {
	for _, kind := range []Kind{WorkingDays, Days, Months, Years, Hours} {
		for _, n := range []int{math.MinInt, -1, most, math.MaxInt} {
			for _, start := range []Date{{1}, MakeDate(2022, 9, 28), {lastDay}} {
				l := Limit{n, kind}
				d := National().Due(Count{Start: start, Limit: l, Extensions: []Limit{l, {n, Years}}, Roll: true, Pauses: []Pause{{From: start, To: Date{lastDay}}}})
				if d.On.Before(start) {
					t.Errorf("%s after %s is %s", l, start, d.On)
				}
				if d := National().Latest(start, l); d.On.After(start) {
					t.Errorf("%s before %s is %s", l, start, d.On)
				}
				if _, err := json.Marshal(d); err != nil {
					t.Errorf("%s after %s: %v", l, start, err)
				}
			}
		}
	}
}

// Counting one day after the other, as one would with a calendar on the wall,
// comes to the same.
func TestAgainstSlowCount(t *testing.T) {
	c := National()
	works := make(map[Date]bool)
	for _, n := range c.Notices() { // a later notice for a year speaks last
		for _, h := range n.Holidays {
			for _, w := range h.Work {
				works[w] = true
			}
			for d := h.Off.From; !d.After(h.Off.To); d = d.AddDays(1) {
				works[d] = false
			}
		}
	}
	isWorkday := func(d Date) bool {
		if w, ok := works[d]; ok {
			return w
		}
		return d.Weekday() != time.Saturday && d.Weekday() != time.Sunday
	}
	rapid.Check(t, func(t *rapid.T) {
		start, n := anyDate(t, "start"), rapid.IntRange(1, 300).Draw(t, "n")
		d := c.Due(Count{Start: start, Limit: Limit{n, WorkingDays}})
		slow, left := start, n
		for left > 0 && slow.n < lastDay {
			if slow = slow.AddDays(1); isWorkday(slow) {
				left--
			}
		}
		if d.On != slow {
			t.Fatalf("%d working days after %s is %s, counted slowly %s", n, start, d.On, slow)
		}
	})
}

func TestCountProperties(t *testing.T) {
	c := National()
	rapid.Check(t, func(t *rapid.T) {
		a, b, e := anyDate(t, "a"), anyDate(t, "b"), anyDate(t, "e")
		if c.Workdays(a, b)+c.Workdays(b, e) != c.Workdays(a, e) || c.Workdays(a, a) != 0 {
			t.Fatalf("working days do not add up from %s over %s to %s", a, b, e)
		}
		if c.IsWorkday(a) != (c.Workdays(a.AddDays(-1), a) == 1) && a.n > 1 {
			t.Fatalf("%s is worked = %v and counts %d", a, c.IsWorkday(a), c.Workdays(a.AddDays(-1), a))
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		start := MakeDate(2000, 1, 1).AddDays(rapid.IntRange(0, 20000).Draw(t, "start"))
		n := rapid.IntRange(1, 400).Draw(t, "n")
		l := Limit{n, WorkingDays}

		d := c.Due(Count{Start: start, Limit: l})
		if !c.IsWorkday(d.On) || c.Workdays(start, d.On) != n {
			t.Fatalf("%s after %s is %s, worked %v, %d days", l, start, d.On, c.IsWorkday(d.On), c.Workdays(start, d.On))
		}
		if more := c.Due(Count{Start: start, Limit: Limit{n + 1, WorkingDays}}); !more.On.After(d.On) {
			t.Fatalf("one more working day after %s is %s and not after %s", start, more.On, d.On)
		}
		if later := c.Due(Count{Start: start.AddDays(1), Limit: l}); later.On.Before(d.On) {
			t.Fatalf("a day later the limit ends earlier: %s", later.On)
		}
		// Backwards is the inverse: the latest day is just in time, and the next
		// working day is too late.
		back := c.Latest(d.On, l)
		if back.On.After(start.AddDays(1)) || c.IsWorkday(start) && back.On != start || !c.IsWorkday(back.On) {
			t.Fatalf("%s before %s is %s, counted forwards from %s", l, d.On, back.On, start)
		}
		if again := c.Due(Count{Start: back.On, Limit: l}); again.On != d.On {
			t.Fatalf("%s after %s is %s and not %s", l, back.On, again.On, d.On)
		}
		// Rolling moves rest days only, and to the first working day.
		r := c.Due(Count{Start: start, Limit: Limit{n, Days}, Roll: true})
		if r.Unrolled != start.AddDays(n) || !c.IsWorkday(r.On) || c.Workdays(r.Unrolled.AddDays(-1), r.On) != 1 {
			t.Fatalf("%d days after %s: %s rolls to %s", n, start, r.Unrolled, r.On)
		}
	})
}

// The explanation is complete: the days of the limit are those between start
// and end that are not named as skipped.
func TestExplanationAddsUp(t *testing.T) {
	c := National()
	rapid.Check(t, func(t *rapid.T) {
		start := MakeDate(2017, 12, 1).AddDays(rapid.IntRange(0, 3300).Draw(t, "start"))
		n := rapid.IntRange(1, 60).Draw(t, "n")
		q := Count{Start: start, Limit: Limit{n, rapid.SampledFrom([]Kind{WorkingDays, Days}).Draw(t, "kind")}, Roll: rapid.Bool().Draw(t, "roll")}
		for range rapid.IntRange(0, 3).Draw(t, "pauses") {
			from := start.AddDays(rapid.IntRange(-3, 80).Draw(t, "from"))
			q.Pauses = append(q.Pauses, Pause{From: from, To: from.AddDays(rapid.IntRange(0, 20).Draw(t, "long"))})
		}
		for _, d := range []Due{c.Due(q).Explained(), c.Latest(start, q.Limit).Explained()} {
			between := d.On.Sub(d.Start)
			if d.Backwards {
				between = -between
			}
			for _, s := range d.Skipped {
				if s.To.Before(s.From) {
					t.Fatalf("%+v ends before it begins", s)
				}
				between -= Span{s.From, s.To}.Days()
			}
			// A limit that was stopped on its last day ends on the day it is started
			// again, which is then among those added.
			if between != n && !(d.On != d.Unrolled && between == n+1) {
				t.Fatalf("%d of the days from %s to %s are not skipped, want %d: %+v", between, d.Start, d.On, n, d)
			}
			for _, s := range d.Worked {
				for day := s.From; !day.After(s.To); day = day.AddDays(1) {
					if !c.IsWorkday(day) || day.Weekday() != time.Saturday && day.Weekday() != time.Sunday {
						t.Fatalf("%s is said to be a weekend day that is worked", day)
					}
				}
			}
		}
	})
}

func BenchmarkDueWorkingDays(b *testing.B) {
	c, q := National(), Count{Start: MakeDate(2022, 9, 28), Limit: Limit{7, WorkingDays}, Roll: true}
	b.ReportAllocs()
	for b.Loop() {
		if c.Due(q).On != (Date{738440}) {
			b.Fatal(c.Due(q).On)
		}
	}
}

func BenchmarkDueOverTheHorizon(b *testing.B) {
	c, q := National(), Count{Start: MakeDate(2026, 9, 28), Limit: Limit{90, WorkingDays}}
	b.ReportAllocs()
	for b.Loop() {
		if !c.Due(q).Provisional {
			b.Fatal("not provisional")
		}
	}
}

func BenchmarkDueWithPauses(b *testing.B) {
	c := National()
	q := Count{Start: MakeDate(2022, 9, 28), Limit: Limit{90, Days}, Roll: true, Extensions: []Limit{{30, Days}},
		Pauses: []Pause{{From: MakeDate(2022, 11, 1), To: MakeDate(2022, 11, 20)}}}
	b.ReportAllocs()
	for b.Loop() {
		c.Due(q)
	}
}

func BenchmarkWorkdays(b *testing.B) {
	c, from, to := National(), MakeDate(2019, 1, 1), MakeDate(2030, 1, 1)
	for b.Loop() {
		c.Workdays(from, to)
	}
}

func BenchmarkWhy(b *testing.B) {
	d := National().Due(Count{Start: MakeDate(2022, 9, 28), Limit: Limit{7, WorkingDays}})
	for b.Loop() {
		d.Why("zh")
	}
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		if _, err := National().With(National().Notices()...); err != nil {
			b.Fatal(err)
		}
	}
}
