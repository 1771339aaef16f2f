package rulebook

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"liuhen/domain/calendar"
)

func on(day int) time.Time {
	return calendar.MakeDate(2025, 3, day).Start().Add(9 * time.Hour)
}

func acts(h *History) string {
	var out []string
	for _, s := range h.Steps {
		text := s.Event + ":" + s.Act
		if s.CorrectedBy != "" {
			text += "!" + s.CorrectedBy
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func TestAppendLeavesTheOldHistoryAlone(t *testing.T) {
	p, _ := load(t, demo).Procedure("demo")
	h0 := p.NewHistory("C-1", "A-1")
	h1 := h0.Append(Step{Event: "1", Act: "file-case", At: on(3)})
	h2 := h1.Append(Step{Event: "2", Act: "register", At: on(4)})
	left := h2.Append(Step{Event: "3", Act: "close", At: on(5)})
	right := h2.Append(Step{Event: "3", Act: "dispose", At: on(6)})
	fixed := right.Append(Step{Event: "4", Act: "file-case", At: on(1), Corrects: "1"})

	for _, tt := range []struct {
		name                string
		h                   *History
		acts, stage, opened string
		closed              bool
	}{
		{"empty", h0, "", "", "", false},
		{"filed", h1, "1:file-case", "clue", "2025-03-03", false},
		{"registered", h2, "1:file-case 2:register", "inquiry", "2025-03-03", false},
		{"one way on", left, "1:file-case 2:register 3:close", "done", "2025-03-03", true},
		{"the other way on", right, "1:file-case 2:register 3:dispose", "inquiry", "2025-03-03", false},
		{"corrected", fixed, "1:file-case!4 2:register 3:dispose 4:file-case", "inquiry", "2025-03-01", false},
	} {
		if acts(tt.h) != tt.acts || tt.h.Stage != tt.stage || tt.h.Opened.String() != tt.opened || tt.h.closed != tt.closed {
			t.Errorf("%s: %q in stage %q, opened %s, closed %t; want %q in %q, opened %s, closed %t", tt.name,
				acts(tt.h), tt.h.Stage, tt.h.Opened, tt.h.closed, tt.acts, tt.stage, tt.opened, tt.closed)
		}
	}
}

// A history grown step by step, with side branches that are thrown away, is
// the same as one built in one go.
func TestAppendIsReplay(t *testing.T) {
	p, _ := load(t, withRule("on: any\nwith: {ds: all dispose, r: last? register}\nrequire: size(ds) < 3 && (!has_r || r.item != 'x')", "{drop: {}}")).Procedure("demo")
	names := []string{"file-case", "register", "dispose", "notice", "decide", "close", "unknown"}
	rapid.Check(t, func(t *rapid.T) {
		h := p.NewHistory("C", "A")
		var steps []Step
		for i := range rapid.IntRange(0, 30).Draw(t, "steps") {
			s := Step{
				Event: fmt.Sprint(i), Act: rapid.SampledFrom(names).Draw(t, "act"), At: on(rapid.IntRange(1, 28).Draw(t, "day")),
				Fields: map[string]any{"item": rapid.SampledFrom([]string{"x", "y"}).Draw(t, "item")},
			}
			if i > 0 && rapid.IntRange(0, 3).Draw(t, "corrects") == 0 {
				old := rapid.SampledFrom(steps).Draw(t, "corrected")
				s.Corrects, s.Act = old.Event, old.Act
			}
			h.Append(Step{Event: "side", Act: "drop", At: on(1)}) // nobody goes on from this one
			h = h.Append(s)
			steps = append(steps, s)
		}
		again := p.NewHistory("C", "A")
		for _, s := range steps {
			again = again.Append(s)
		}
		probe := Step{Event: "probe", Act: "decide", At: on(20)}
		if acts(h) != acts(again) || h.Stage != again.Stage || h.Opened != again.Opened {
			t.Fatalf("%s / %s", acts(h), acts(again))
		}
		if a, b := p.Judge(h, probe, Known{}), p.Judge(again, probe, Known{}); !reflect.DeepEqual(a, b) {
			t.Fatalf("judged %+v and %+v", a, b)
		}
	})
}

func TestManyReadWhileOneGoesOn(t *testing.T) {
	p, _ := load(t, withRule("on: any\nwith: {ds: all dispose}\nrequire: size(ds) == case.count('dispose')", "{drop: {}}")).Procedure("demo")
	h := p.NewHistory("C", "A").Append(Step{Event: "0", Act: "file-case", At: on(1)})
	var readers sync.WaitGroup
	for i := range 50 {
		at := h
		readers.Go(func() {
			if len(at.Steps) != i+1 {
				t.Errorf("%d steps, want %d", len(at.Steps), i+1)
			}
			for _, f := range p.Judge(at, Step{Event: "x", Act: "drop", At: on(2)}, Known{}) {
				t.Errorf("after %d: %s", i, f.Detail.EN)
			}
			p.Deadlines(at, nil)
			p.Next(at, on(2), "head", nil)
			at.Append(Step{Event: "side", Act: "drop", At: on(1)})
		})
		h = h.Append(Step{Event: fmt.Sprint(i + 1), Act: "dispose", At: on(2)})
	}
	readers.Wait()
}

func TestCorrections(t *testing.T) {
	within := `within: {act: dispose, after: register, limit: 7 working days}`
	for _, tt := range []struct{ name, shape, history, want string }{
		{"a corrected start counts for later acts", within,
			`[register: {at: 2025-01-24, id: a}, register: {at: 2025-02-05, corrects: a}, dispose: 2025-02-13]`, ""},
		{"a start corrected to an earlier day makes its end late", within,
			`[register: {at: 2025-02-05, id: a}, dispose: 2025-02-13, register: {at: 2025-01-24, corrects: a}]`, "3 due 2025-02-10"},
		{"an end corrected to a later day is late", within,
			`[register: 2025-01-24, dispose: {at: 2025-02-10, id: b}, dispose: {at: 2025-02-11, corrects: b}]`, "3 due 2025-02-10"},
		{"an end corrected to an earlier day is in time", within,
			`[register: 2025-01-24, dispose: {at: 2025-02-11, id: b}, dispose: {at: 2025-02-10, corrects: b}]`, "2 due 2025-02-10"},
		{"a correction is judged where the corrected act stood", "on: notice\nrequire: \"!case.has('decide')\"",
			`[notice: {id: a}, decide: {}, notice: {corrects: a}]`, ""},
		{"a correction is not one more", `count: {act: register, at_most: 1, in: case}`,
			`[register: {id: a}, register: {corrects: a}]`, ""},
		{"an order put wrong by a correction", `before: {first: notice, then: decide}`,
			`[notice: {at: 2025-03-03, id: a}, decide: 2025-03-04, notice: {at: 2025-03-05, corrects: a}]`, "3"},
		{"an order put right by a correction", `before: {first: notice, then: decide}`,
			`[notice: {at: 2025-03-05, id: a}, decide: 2025-03-04, notice: {at: 2025-03-03, corrects: a}]`, "2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, found := tried(t, tt.shape, tt.history)
			if got := strings.Join(found, " "); got != tt.want {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
}

// A book that is loaded anew (a parameter was set) judges cases that were
// folded under the one before.
func TestHistoryOfAnotherBook(t *testing.T) {
	old, _ := load(t, withRule(`count: {act: register, at_most: 1, in: case}`, `{drop: {}}`)).Procedure("demo")
	h := old.NewHistory("C", "A").Append(Step{Event: "1", Act: "register", At: on(3)})
	renewed, _ := load(t, strings.Replace(withRule(`count: {act: register, at_most: 1, in: case}`, `{drop: {}}`),
		"acts:\n", "acts:\n  extra: {name: {zh: 新, en: New}}\n", 1)).Procedure("demo")
	found := 0
	for _, f := range renewed.Judge(h, Step{Event: "2", Act: "register", At: on(4)}, Known{}) {
		if f.Rule == "T-001" {
			found++
		}
	}
	if found != 1 {
		t.Errorf("the rule was found broken %d times, want once", found)
	}
}
