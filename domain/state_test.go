package domain_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// played are all cases that tests of replay go through: the sample office with its
// officers, and the stories.
func played(t testing.TB) map[string][]domain.Recorded {
	t.Helper()
	all := map[string][]domain.Recorded{}
	for id, records := range sampleLog(t, book).byCase {
		all[string(id)] = records
	}
	for name, s := range stories(t) {
		all["story "+name] = s.play(t, nil)
	}
	all["told by hand"] = told(t)
	return all
}

// at is a case at a moment that is found.
func at(t testing.TB, records []domain.Recorded, moment string) domain.Past {
	t.Helper()
	m, err := domain.ParseMoment(moment)
	if err != nil {
		t.Fatal(err)
	}
	m, ok := m.In(records)
	if !ok {
		t.Fatalf("no %s among %d records", moment, len(records))
	}
	last := records[len(records)-1]
	if m.By == domain.ByNow {
		m.Position, m.Time = last.Position, today
	}
	if m.By == domain.ByRecorded {
		for _, r := range records {
			if r.Recorded.After(m.Time) {
				break
			}
			m.Position = r.Position
		}
	}
	past, err := domain.At(book, records, m, nil)
	if err != nil {
		t.Fatal(err)
	}
	return past
}

// atRevision is a case after so many records.
func atRevision(t testing.TB, records []domain.Recorded, n int) domain.Past {
	t.Helper()
	if n == 0 {
		past, err := domain.At(book, records, domain.Moment{By: domain.ByPosition}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return past
	}
	return at(t, records, fmt.Sprintf("revision:%d", n))
}

// TestStateAtEveryRecord compares the state at each record with a fold of the
// records up to it, and sees that what an act says stands in it.
func TestStateAtEveryRecord(t *testing.T) {
	corrections := 0
	for name, records := range played(t) {
		for n := 1; n <= len(records); n++ {
			want, err := domain.Replay(book, records[:n])
			if err != nil {
				t.Fatal(err)
			}
			past := atRevision(t, records, n)
			s := past.State()
			if past.Case.Head != want.Head || s.Head != want.Head || s.Revision != n || s.Stage != want.Stage() || s.Closed != want.Closed || s.Opened != want.Opened() {
				t.Errorf("%s after %d: state %+v, folded %+v", name, n, s, want)
			}
			standing := 0
			for _, step := range want.History.Steps {
				if step.CorrectedBy != "" {
					continue
				}
				standing++
				found := false
				for _, act := range s.Acts {
					found = found || act.Event == step.Event && act.Act == step.Act && act.OccurredAt.Equal(step.At) && reflect.DeepEqual(map[string]any(act.Fields), step.Fields)
				}
				if !found {
					t.Errorf("%s after %d: %s %s stands and is not in the state", name, n, step.Act, step.Event)
				}
			}
			if len(s.Acts) != standing {
				t.Errorf("%s after %d: %d acts, want the %d that stand", name, n, len(s.Acts), standing)
			}
			deadlines := want.Procedure.Deadlines(want.History, nil)
			if len(s.Deadlines) != len(deadlines) {
				t.Errorf("%s after %d: %d limits, want %d", name, n, len(s.Deadlines), len(deadlines))
			}
			for _, d := range deadlines {
				is := s.Deadlines[d.Rule+"@"+d.Start]
				if is.Due != d.Due.On || is.Done != d.Done || is.State != domain.StateOf(d, records[n-1].Recorded) {
					t.Errorf("%s after %d: limit %+v, want %+v", name, n, is, d)
				}
			}
			found := 0
			for _, r := range records[:n] {
				found += len(r.Data.Findings)
			}
			if len(s.Findings) != found {
				t.Errorf("%s after %d: %d findings, want %d", name, n, len(s.Findings), found)
			}
		}
		for _, r := range records {
			if r.Data.Corrects != "" {
				corrections++
			}
		}
	}
	if corrections == 0 {
		t.Error("no case has a correction: the test shows too little")
	}
}

// TestStepsAreDifferences holds that stepping through a case tells what comparing
// the moments before and after each record does, and that every change has its
// article or the rule that says it.
func TestStepsAreDifferences(t *testing.T) {
	kinds := map[string]int{}
	for name, records := range played(t) {
		n := 0
		for step, err := range domain.Steps(book, records, nil) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			if step.Revision != n || step.Event != records[n-1].ID || step.Position != records[n-1].Position {
				t.Errorf("%s: step %d is %+v", name, n, step.Maker)
			}
			if !domain.SameFindings(step.Findings, records[n-1].Data.Findings) {
				t.Errorf("%s: step %d has findings %+v", name, n, step.Findings)
			}
			all := domain.Changes(atRevision(t, records, n-1), atRevision(t, records, n))
			want := slices.DeleteFunc(all, func(c domain.StateChange) bool { return c.Path == "/revision" || c.Path == "/head" })
			for i := range want {
				c := &want[i]
				switch {
				case c.By != nil && c.By.Event != step.Event:
					t.Errorf("%s: step %d: %s is said to be made by %s", name, n, c.Path, c.By.Event)
				case (c.By == nil) != c.Passed:
					t.Errorf("%s: step %d: %s by %v, passed %v", name, n, c.Path, c.By, c.Passed)
				}
				c.By = nil
				section, _, _ := strings.Cut(c.Path[1:], "/")
				kinds[fmt.Sprintf("%s passed=%v", section, c.Passed)]++
			}
			if got, _ := json.Marshal(step.Changes); !bytes.Equal(got, mustJSON(t, want)) {
				t.Errorf("%s: step %d says\n%s\nthe difference is\n%s", name, n, got, mustJSON(t, want))
			}
		}
		if n != len(records) {
			t.Errorf("%s: %d steps for %d records", name, n, len(records))
		}
	}
	for _, kind := range []string{"acts passed=false", "deadlines passed=false", "deadlines passed=true", "findings passed=false", "stage passed=false", "closed passed=false"} {
		if kinds[kind] == 0 {
			t.Errorf("no change of the kind %q: the test shows too little (%v)", kind, kinds)
		}
	}
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestChangesBothWays compares far moments: what is different is told alike in both
// directions, made by the same records.
func TestChangesBothWays(t *testing.T) {
	for name, records := range played(t) {
		for _, pair := range [][2]int{{0, len(records)}, {1, len(records)}, {len(records) / 2, len(records)}, {1, 1 + len(records)/2}} {
			from, to := atRevision(t, records, pair[0]), atRevision(t, records, min(pair[1], len(records)))
			there, back := domain.Changes(from, to), domain.Changes(to, from)
			if len(there) != len(back) {
				t.Fatalf("%s %v: %d changes there, %d back", name, pair, len(there), len(back))
			}
			for i := range there {
				a, b := there[i], back[i]
				if a.Path != b.Path || !bytes.Equal(a.Before, b.After) || !bytes.Equal(a.After, b.Before) {
					t.Errorf("%s %v: there %+v, back %+v", name, pair, a, b)
				}
				if strings.HasPrefix(a.Path, "/deadlines/") || a.Path == "/stage" {
					if (a.By == nil) != (b.By == nil) && !strings.HasSuffix(a.Path, "/state") || a.By != nil && b.By != nil && a.By.Event != b.By.Event {
						t.Errorf("%s %v: %s made by %+v there, %+v back", name, pair, a.Path, a.By, b.By)
					}
				}
				if a.By == nil && !a.Passed {
					t.Errorf("%s %v: %s is made by nothing", name, pair, a.Path)
				}
			}
		}
	}
}

// told is a case by hand: filed on the 3rd; a scene inspected on the 1st and
// recorded late, on the 9th; concluded on the 8th with a wrong day, put right on the
// 10th to the 12th.
func told(t testing.TB) []domain.Recorded {
	t.Helper()
	day := func(n int) time.Time { return time.Date(2025, 3, n, 10, 0, 0, 0, calendar.Shanghai) }
	l := newLogbook(t, book)
	n := 0
	record := func(act string, occurred, recorded int, change func(*domain.Command)) domain.Recorded {
		n++
		cmd := domain.Command{
			ID: fmt.Sprintf("c-%d", n), Case: "T-1", Act: act, At: day(occurred), Actor: domain.Actor{ID: "li", Name: "李四", Roles: []string{"*"}},
			Fields: map[string]json.RawMessage{}, Import: &domain.Import{Source: "test", Batch: "1", Row: int64(n)},
		}
		if n == 1 {
			cmd.Agency, cmd.Procedure = "样例科技局", "imported"
		}
		change(&cmd)
		l.now = day(recorded).Add(time.Hour)
		return l.record(cmd)
	}
	amount := func(v string) func(*domain.Command) {
		return func(c *domain.Command) { c.Fields["amount"] = json.RawMessage(v) }
	}
	record("file", 3, 3, amount("1"))
	wrong := record("conclude", 8, 8, amount("500"))
	record("inspect", 1, 9, amount("2"))
	record("conclude", 12, 13, func(c *domain.Command) {
		amount("700")(c)
		c.Corrects, c.Reason = wrong.ID, "日期有误"
	})
	return l.log
}

// TestTwoClocks shows a case as it was known at a time and as it was.
func TestTwoClocks(t *testing.T) {
	records := told(t)
	for _, c := range []struct {
		moment string
		want   string // act and amount of those that stand, in the order of their records
	}{
		{"recorded:2025-03-02", ""},
		{"recorded:2025-03-03", "file 1"},
		{"recorded:2025-03-08T10:59", "file 1"}, // recorded at eleven
		{"recorded:2025-03-08T11:00", "file 1, conclude 500"},
		{"recorded:2025-03-09", "file 1, conclude 500, inspect 2"},
		{"recorded:2025-03-13", "file 1, conclude 700, inspect 2"},
		{"occurred:2025-02-28", ""},
		{"occurred:2025-03-01T09:59", ""},
		{"occurred:2025-03-01", "inspect 2"}, // as it was: it was recorded eight days later
		{"occurred:2025-03-03", "file 1, inspect 2"},
		{"occurred:2025-03-08", "file 1, inspect 2"}, // the day was wrong, as is known today
		{"occurred:2025-03-12T09:59", "file 1, inspect 2"},
		{"occurred:2025-03-12", "file 1, conclude 700, inspect 2"},
		{"revision:2", "file 1, conclude 500"},
		{"position:3", "file 1, conclude 500, inspect 2"},
		{"now", "file 1, conclude 700, inspect 2"},
	} {
		past := at(t, records, c.moment)
		s := past.State()
		var acts []string
		for _, r := range records { // in the order in which the acts were first recorded
			if act, ok := s.Acts[r.ID]; ok {
				acts = append(acts, fmt.Sprintf("%s %v", act.Act, act.Fields["amount"]))
			}
		}
		if got := strings.Join(acts, ", "); got != c.want {
			t.Errorf("%s: %s, want %s", c.moment, got, c.want)
		}
		if (past.Case == nil) != (c.want == "") {
			t.Errorf("%s: case %+v", c.moment, past.Case)
		}
	}

	// A correction shows as the fields that it changed, made by it.
	changes := domain.Changes(at(t, records, "revision:3"), at(t, records, "now"))
	var amount *domain.StateChange
	for i := range changes {
		if changes[i].Path == "/acts/"+records[1].ID+"/fields/amount" {
			amount = &changes[i]
		}
	}
	if amount == nil || string(amount.Before) != "500" || string(amount.After) != "700" || amount.By == nil || amount.By.Event != records[3].ID ||
		amount.By.Corrects != records[1].ID || amount.By.Reason != "日期有误" || amount.By.ActorName != "李四" || amount.By.Revision != 4 {
		t.Errorf("the corrected amount is told as %+v", amount)
	}
	// In hindsight an act that comes in between is folded where it stands.
	for _, c := range domain.Changes(at(t, records, "occurred:2025-03-01"), at(t, records, "occurred:2025-03-12")) {
		if c.By == nil {
			t.Errorf("%+v is made by nothing", c)
		}
	}
	// What is no chain is not shown, in hindsight either.
	broken := slices.Clone(records)
	broken[1].Previous = domain.DigestOf(nil)
	for _, by := range []domain.MomentBy{domain.ByNow, domain.ByOccurred} {
		if _, err := domain.At(book, broken, domain.Moment{By: by, Time: today}, nil); err == nil {
			t.Errorf("by %s a broken chain is shown", by)
		}
	}
}

// TestClocksAtAMoment follows a limit of a story from its beginning through its
// last day.
func TestClocksAtAMoment(t *testing.T) {
	records := stories(t)["ordinary-late-decision"].play(t, nil)
	last := at(t, records, "now")
	var late rulebook.Deadline
	for _, d := range last.Deadlines() {
		if d.Late {
			late = d
		}
	}
	if late.Done == "" {
		t.Fatal("the story has no limit that was met late")
	}
	key := late.Rule + "@" + late.Start
	start := slices.IndexFunc(records, func(r domain.Recorded) bool { return r.ID == late.Start })
	done := slices.IndexFunc(records, func(r domain.Recorded) bool { return r.ID == late.Done })
	state := func(moment string) domain.ClockState { return at(t, records, moment).State().Deadlines[key].State }
	for moment, want := range map[string]domain.ClockState{
		fmt.Sprintf("revision:%d", start+1):                                     domain.ClockRunning,
		"occurred:" + late.Due.On.String():                                      domain.ClockRunning, // the last day is in time
		"occurred:" + late.Due.On.AddDays(1).String():                           domain.ClockOverdue,
		fmt.Sprintf("revision:%d", done+1):                                      domain.ClockLate,
		"occurred:" + calendar.DateOf(records[start].Time).AddDays(-1).String(): "", // it had not begun
	} {
		if got := state(moment); got != want {
			t.Errorf("%s: %s is %q, want %q", moment, key, got, want)
		}
	}
}

// TestChangesAreInOrder has more than ten items in a list: they come by number.
func TestChangesAreInOrder(t *testing.T) {
	records := told(t)
	records[0].Data.Evidence = make([]rulebook.Reference, 12)
	for i := range records[0].Data.Evidence {
		records[0].Data.Evidence[i].Title = fmt.Sprint(i)
	}
	none := domain.Past{Moment: domain.Moment{By: domain.ByPosition}}
	var titles []string
	for _, c := range domain.Changes(none, at(t, records, "revision:1")) {
		if strings.Contains(c.Path, "/evidence/") && strings.HasSuffix(c.Path, "/title") {
			titles = append(titles, string(c.After))
		}
	}
	if got := strings.Join(titles, " "); got != `"0" "1" "2" "3" "4" "5" "6" "7" "8" "9" "10" "11"` {
		t.Errorf("the titles come as %s", got)
	}
}

// TestNotedInHindsight sees an act of before the note as it is known today: with what
// was noted of it since, and, as it was known then, without.
func TestNotedInHindsight(t *testing.T) {
	records := sampleLog(t, book).byCase["样例-002"]
	i := slices.IndexFunc(records, func(r domain.Recorded) bool { return r.Act() == "note-findings" })
	note := records[i]
	before := calendar.DateOf(note.Time).AddDays(-1).String()
	past := at(t, records, "occurred:"+before)
	if len(past.Noted()) != len(note.Data.Findings) {
		t.Fatalf("%d findings were noted since, want %d", len(past.Noted()), len(note.Data.Findings))
	}
	s := past.State()
	for n, f := range past.Noted() {
		if f.Event != note.ID || f.Of == "" || !f.Stands {
			t.Errorf("noted: %+v", f)
		}
		if _, ok := s.Acts[note.ID]; ok {
			t.Error("the note had not been made, and stands among the acts")
		}
		if got, ok := s.Findings[fmt.Sprintf("%s#%d", note.ID, n)]; !ok || got.Of != f.Of {
			t.Errorf("finding %d is not in the state", n)
		}
	}
	if then := atRevision(t, records, i); len(then.Noted()) != 0 || len(then.Findings()) != len(past.Findings())-len(past.Noted()) {
		t.Errorf("as it was known then: %d findings, %d noted", len(then.Findings()), len(then.Noted()))
	}
	// Of acts that had not happened nothing is told.
	if early := at(t, records, "occurred:"+calendar.DateOf(records[0].Time).String()); slices.ContainsFunc(early.Noted(), func(f domain.StateFinding) bool {
		return !slices.ContainsFunc(early.Records, func(r domain.Recorded) bool { return r.ID == f.Of })
	}) {
		t.Errorf("noted of acts to come: %+v", early.Noted())
	}
}
