package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"pgregory.net/rapid"

	"liuhen/casework"
	"liuhen/domain"
	"liuhen/domain/rulebook"
)

// timed is an office whose clock can be set: by it records are made and answers
// given.
func timed(t testing.TB, change ...func(*office, *Config)) (*office, *time.Time) {
	t.Helper()
	clock := now
	read := func() time.Time { return clock }
	o := open(t, append(change, func(o *office, c *Config) {
		o.desk.Desk = casework.New(o.book, o.store, o.db, casework.Options{Now: read, Facts: o.db.Facts})
		c.Now = read
	})...)
	return o, &clock
}

// told is a case of its own story: filed on the 2nd, inspected on the 1st and
// recorded late on the 13th, noticed on the 5th, and that put right on the 14th to
// have been the 12th. The clock then stands on the 20th.
func told(t testing.TB) (o *office, notice, correction domain.Receipt) {
	t.Helper()
	o, clock := timed(t)
	day := func(n int) time.Time { return time.Date(2026, 11, n, 10, 0, 0, 0, shanghai) }
	at := func(n int) string { return day(n).Format(time.RFC3339) }
	*clock = day(2).Add(time.Hour)
	o.filed("C-1", "occurred_at", at(2))
	*clock = day(5).Add(time.Hour)
	notice = o.recorded(o.li, "C-1", act("notice", "occurred_at", at(5)))
	*clock = day(13).Add(time.Hour)
	o.recorded(o.li, "C-1", act("inspect", "occurred_at", at(1), "officers", []string{"li"}, "late_reason", "纸质材料由乡镇转交", "fields", map[string]any{"amount": 100}))
	*clock = day(14).Add(time.Hour)
	correction = o.recorded(o.zhao, "C-1", act("notice", "occurred_at", at(12), "corrects", notice.Event, "reason", "日期有误"))
	*clock = day(20)
	return o, notice, correction
}

// TestACaseAsItWas asks for a case by each way to name a moment.
func TestACaseAsItWas(t *testing.T) {
	o, notice, correction := told(t)
	for _, c := range []struct {
		at, known, position string
		revision            int // 0: the case was not there
		acts                string
		findings            int
	}{
		{"now", "today", "4", 4, "file-case inspect notice", 1},
		{"position:1", "then", "1", 1, "file-case", 0},
		{"position:3", "then", "3", 3, "file-case inspect notice", 1},
		{"revision:2", "then", "2", 2, "file-case notice", 0},
		{"recorded:2026-11-01", "then", "0", 0, "", 0},
		{"recorded:2026-11-02T10:59:59", "then", "0", 0, "", 0},
		{"recorded:2026-11-02T11:00:00+08:00", "then", "1", 1, "file-case", 0},
		{"recorded:2026-11-12", "then", "2", 2, "file-case notice", 0}, // the inspection of the 1st was not known
		{"recorded:2026-11-13", "then", "3", 3, "file-case inspect notice", 1},
		{"recorded:2026-11-20", "then", "4", 4, "file-case inspect notice", 1}, // the day is not over: until now
		{"occurred:2026-11-01", "today", "4", 3, "inspect", 1},
		{"occurred:2026-11-11", "today", "4", 3, "file-case inspect", 1}, // the notice was on the 12th, as is known today
		{"occurred:2026-11-12", "today", "4", 4, "file-case inspect notice", 1},
	} {
		target := "/v1/cases/C-1?at=" + url.QueryEscape(c.at)
		if c.revision == 0 {
			if p := o.get(o.li, target, "Accept-Language", "en").problem(404, "not-found"); !strings.Contains(p.Detail, "not there yet") || !strings.Contains(p.Detail, "position 1") {
				t.Errorf("%s: %+v", c.at, p)
			}
		} else {
			var f caseFile
			a := o.get(o.li, target).is(200).into(&f)
			if f.At == nil || f.At.Known != c.known || f.At.Judged != "then" || f.At.Says.ZH == "" || f.At.Says.EN == "" || f.Revision != c.revision || len(f.Findings) != c.findings ||
				a.header.Get(positionHeader) != c.position || fmt.Sprint(f.Position) != c.position || a.header.Get("ETag") != "" {
				t.Errorf("%s: position %s, %s", c.at, a.header.Get(positionHeader), a.body)
			}
		}
		var s struct {
			At    asOf
			State domain.State
		}
		o.get(o.li, "/v1/cases/C-1/state?at="+url.QueryEscape(c.at)).is(200).into(&s)
		var acts []string
		for _, a := range s.State.Acts {
			acts = append(acts, a.Act)
		}
		slices.Sort(acts)
		if strings.Join(acts, " ") != c.acts || s.State.Revision != c.revision {
			t.Errorf("%s: the state has %v at revision %d, want %s at %d", c.at, acts, s.State.Revision, c.acts, c.revision)
		}
		if c.revision == 0 {
			continue
		}
		var line page[timelineEntry]
		o.get(o.li, "/v1/cases/C-1/timeline?at="+url.QueryEscape(c.at)).is(200).into(&line)
		records := map[string]bool{}
		for _, e := range line.Items {
			records[e.Act] = true
			if (e.CorrectedBy != "") != (e.Event == notice.Event && len(s.State.Acts[notice.Event].Event) > 0 && s.State.Acts[notice.Event].Event == correction.Event) {
				t.Errorf("%s: %s is corrected by %q", c.at, e.Act, e.CorrectedBy)
			}
		}
		if line.At == nil || fmt.Sprint(line.Position) != c.position || len(records) != len(acts) {
			t.Errorf("%s: timeline %+v", c.at, line)
		}
		if first := o.get(o.li, "/v1/cases/C-1/timeline?limit=1&at="+url.QueryEscape(c.at)).is(200).into(&line); len(line.Items) != 1 || (line.Next == "") != (len(records) == 1) {
			t.Errorf("%s: the first page is %s", c.at, first.body)
		}
	}
	for bad, want := range map[string]string{
		"yesterday": "position:123", "position:0": "position:123", "revision:5": "4", "recorded:2026-11-21": "尚未到来", "occurred:2026-11-01T09:00:00 08:00": "position:123",
	} {
		p := o.get(o.li, "/v1/cases/C-1?at="+url.QueryEscape(bad)).problem(400, "unknown-parameter")
		if len(p.Errors) != 1 || p.Errors[0].Location != "query.at" || !strings.Contains(p.Detail, want) {
			t.Errorf("%s: %+v", bad, p)
		}
	}
	o.get(o.li, "/v1/cases/C-1?at=position:99").problem(503, "behind")
	o.get(o.li, "/v1/cases/C-1?judged=maybe").problem(400, "unknown-parameter")
}

// TestClocksAndNextOfThen follows the limit of ninety days and what could be done.
func TestClocksAndNextOfThen(t *testing.T) {
	o, clock := timed(t)
	o.filed("C-1") // on the 24th of November: decided by the 22nd of February 2027, a Monday
	*clock = now.AddDate(0, 4, 0)
	o.recorded(o.li, "C-1", act("notice", "occurred_at", clock.Format(time.RFC3339)))
	*clock = clock.Add(time.Hour)
	decided := o.recorded(o.head, "C-1", act("decide", "occurred_at", clock.Format(time.RFC3339)))
	for at, want := range map[string]domain.ClockState{
		"position:1": domain.ClockRunning, "recorded:2027-02-21": domain.ClockRunning, "recorded:2027-02-22": domain.ClockRunning, "recorded:2027-02-23": domain.ClockOverdue,
		"revision:2": domain.ClockOverdue, "now": domain.ClockLate, "occurred:2027-03-01": domain.ClockOverdue,
	} {
		var f caseFile
		o.get(o.li, "/v1/cases/C-1?at="+url.QueryEscape(at)).is(200).into(&f)
		if len(f.Deadlines) != 1 || f.Deadlines[0].State != want {
			t.Errorf("%s: limits %+v, want %s", at, f.Deadlines, want)
		}
		var board page[deadlineEntry]
		if strings.HasPrefix(at, "occurred") || strings.HasPrefix(at, "revision") {
			continue
		}
		o.get(o.li, "/v1/deadlines?at="+url.QueryEscape(at)).is(200).into(&board)
		if want == domain.ClockLate {
			o.get(o.li, "/v1/deadlines?done=true&at="+url.QueryEscape(at)).is(200).into(&board)
		}
		if len(board.Items) != 1 || board.At == nil || (board.Items[0].Light == "red") != (want == domain.ClockOverdue || want == domain.ClockLate) || (board.Items[0].Done != "") != (want == domain.ClockLate) {
			t.Errorf("%s: board %+v", at, board)
		}
	}
	var next struct {
		Acts []nextAct
		At   *asOf
	}
	allowed := func(at string) bool {
		o.get(o.li, "/v1/cases/C-1/next?at="+url.QueryEscape(at)).is(200).into(&next)
		i := slices.IndexFunc(next.Acts, func(a nextAct) bool { return a.Act == "decide" })
		if next.At == nil || next.Acts[i].Yours {
			t.Errorf("%s: %+v", at, next)
		}
		return next.Acts[i].Allowed
	}
	if allowed("revision:1") || !allowed("revision:2") || allowed("revision:3") {
		t.Error("a decision could be made once notice had been given, and once")
	}
	o.get(o.li, "/v1/cases/C-1/next?judged=both").problem(400, "unknown-parameter")

	// What was noted of the limit, and the day on which it came to be.
	var d differenceBody
	o.get(o.li, "/v1/cases/C-1/difference?from=recorded:2027-02-22&to=recorded:2027-02-23").is(200).into(&d)
	if len(d.Changes) != 1 || !d.Changes[0].Passed || d.Changes[0].By != nil || d.Changes[0].Rule != "V-1" || d.Changes[0].Basis != "行政处罚法 第六十条" || string(d.Changes[0].After) != `"overdue"` {
		t.Errorf("from one day to the next: %+v", d.Changes)
	}
	o.get(o.li, "/v1/cases/C-1/difference?from=revision:2").is(200).into(&d)
	by := map[string]string{}
	for _, c := range d.Changes {
		if c.By != nil {
			by[c.Path] = c.By.Event
		}
	}
	if by["/stage"] != decided.Event || by["/head"] != decided.Event {
		t.Errorf("the decision made %+v", d.Changes)
	}
	if d.To.Moment.By != domain.ByNow || d.From.Moment.String() != "revision:2" {
		t.Errorf("from %+v to %+v", d.From, d.To)
	}
}

// TestStateAtEveryPosition compares, for every case of the sample office and every
// record of it, what is served with what the desk's case had come to.
func TestStateAtEveryPosition(t *testing.T) {
	o, commands := filled(t)
	cases := map[domain.CaseID]bool{}
	for _, c := range commands {
		cases[c.Case] = true
	}
	ids := make([]domain.CaseID, 0, len(cases))
	for id := range cases {
		ids = append(ids, id)
	}
	all, _, err := o.db.Load(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for id, records := range all {
		for n, r := range records {
			want, err := domain.Replay(o.book, records[:n+1])
			if err != nil {
				t.Fatal(err)
			}
			var f caseFile
			o.get(o.inspector, fmt.Sprintf("/v1/cases/%s?at=position:%d", url.PathEscape(string(id)), r.Position)).is(200).into(&f)
			if f.Revision != n+1 || f.Head != r.Digest || f.Stage != want.Stage() || f.Closed != want.Closed || f.Opened != want.Opened() || f.Position != r.Position {
				t.Errorf("%s at %d: %+v", id, r.Position, f)
			}
			deadlines := want.Procedure.Deadlines(want.History, nil)
			if len(f.Deadlines) != len(deadlines) {
				t.Errorf("%s at %d: %d limits, want %d", id, r.Position, len(f.Deadlines), len(deadlines))
			}
			for i, d := range deadlines {
				if got := f.Deadlines[i]; got.Rule != d.Rule || got.Due.On != d.Due.On || got.Done != d.Done || got.State != domain.StateOf(d, r.Recorded) {
					t.Errorf("%s at %d: limit %+v, want %+v", id, r.Position, got, d)
				}
			}
			findings := 0
			for _, receipt := range want.After(0) {
				findings += len(receipt.Findings)
			}
			if len(f.Findings) != findings {
				t.Errorf("%s at %d: %d findings, want %d", id, r.Position, len(f.Findings), findings)
			}
			seen++
		}
	}
	if seen != len(commands) {
		t.Errorf("%d records were seen, want %d", seen, len(commands))
	}
	// Whole, the ledger at the last position is the ledger.
	var then, today page[ledgerEntry]
	o.get(o.inspector, fmt.Sprintf("/v1/ledger?limit=1000&at=position:%d", len(commands))).is(200).into(&then)
	o.get(o.inspector, "/v1/ledger?limit=1000").is(200).into(&today)
	order := func(a, b ledgerEntry) int { return strings.Compare(string(a.Case), string(b.Case)) }
	slices.SortFunc(then.Items, order)
	slices.SortFunc(today.Items, order)
	if !reflect.DeepEqual(then.Items, today.Items) || then.At == nil {
		t.Errorf("the ledger at the last position has %d cases, the ledger %d, or they differ", len(then.Items), len(today.Items))
	}
	// Whoever may not read the cases has no list of them.
	o.get(o.stranger, fmt.Sprintf("/v1/ledger?at=position:%d", len(commands))).is(200).into(&then)
	if len(then.Items) != 0 {
		t.Errorf("a stranger's ledger of then has %d cases", len(then.Items))
	}
}

// TestPatchGivesTheOtherState draws two moments of a case of the sample office, or of
// the one told by hand, and applies the patch between them, by a library that is not
// the one that makes it.
func TestPatchGivesTheOtherState(t *testing.T) {
	for name, offices := range map[string]func() (*office, []string){
		"the sample": func() (*office, []string) {
			o, _ := filled(t)
			return o, []string{"样例-001", "样例-002", "样例-005", "样例-006", "样例-010"}
		},
		"by hand": func() (*office, []string) { o, _, _ := told(t); return o, []string{"C-1"} },
	} {
		o, ids := offices()
		state := func(id, at string) []byte {
			var body struct{ State json.RawMessage }
			o.get(o.inspector, "/v1/cases/"+url.PathEscape(id)+"/state?at="+url.QueryEscape(at)).is(200).into(&body)
			return body.State
		}
		moment := rapid.OneOf(
			rapid.Just("now"), rapid.Map(rapid.IntRange(1, 4), func(n int) string { return fmt.Sprintf("revision:%d", n) }),
			rapid.Map(rapid.IntRange(1, int(o.stored())), func(n int) string { return fmt.Sprintf("position:%d", n) }),
			rapid.Map(rapid.IntRange(0, 400), func(n int) string { return "occurred:" + now.AddDate(0, 0, -n).Format("2006-01-02") }),
			rapid.Map(rapid.IntRange(4, 30), func(n int) string { return "recorded:" + now.AddDate(0, 0, -n).Format("2006-01-02") }),
		)
		rapid.Check(t, func(t *rapid.T) {
			id, from, to := rapid.SampledFrom(ids).Draw(t, "case"), moment.Draw(t, "from"), moment.Draw(t, "to")
			target := "/v1/cases/" + url.PathEscape(id) + "/difference?from=" + url.QueryEscape(from) + "&to=" + url.QueryEscape(to)
			a := o.get(o.inspector, target, "Accept", jsonPatch)
			if a.status != http.StatusOK || a.header.Get("Content-Type") != jsonPatch {
				t.Fatalf("%s: %s: %d %v %s", name, target, a.status, a.header, a.body)
			}
			patch, err := jsonpatch.DecodePatch(a.body)
			if err != nil {
				t.Fatalf("%s: %v in %s", target, err, a.body)
			}
			before, after := state(id, from), state(id, to)
			got, err := patch.Apply(before)
			if err != nil {
				t.Fatalf("%s: %v", target, err)
			}
			if !jsonpatch.Equal(got, after) {
				t.Fatalf("%s: patched it is\n%s\nwant\n%s", target, got, after)
			}
			if b := o.get(o.inspector, target+"&format=patch"); !bytes.Equal(a.body, b.body) {
				t.Fatalf("%s: by parameter another patch: %s", target, b.body)
			}
			// The list has a line for each value, which leads there.
			var d differenceBody
			o.get(o.inspector, target).is(200).into(&d)
			if (len(d.Changes) == 0) != jsonpatch.Equal(before, after) {
				t.Fatalf("%s: %d changes, patch %s", target, len(d.Changes), a.body)
			}
			for _, c := range d.Changes {
				for doc, want := range map[*json.RawMessage][]byte{&c.Before: before, &c.After: after} {
					if *doc == nil {
						continue
					}
					test, err := json.Marshal([]map[string]any{{"op": "test", "path": c.Path, "value": *doc}})
					if err != nil {
						t.Fatal(err)
					}
					p, err := jsonpatch.DecodePatch(test)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := p.Apply(want); err != nil {
						t.Fatalf("%s: %s is not %s: %v", target, c.Path, *doc, err)
					}
				}
			}
		})
	}
}

// TestJudgedThenAndNow judges a case by the edition of its day and by one that came
// into force since, side by side.
func TestJudgedThenAndNow(t *testing.T) {
	files := fstest.MapFS{}
	for _, name := range []string{"common.yaml", "visit.yaml"} {
		text, err := os.ReadFile("testdata/law/" + name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: text}
	}
	files["visit-2026.yaml"] = &fstest.MapFile{Data: []byte(strings.NewReplacer(
		"edition: 2021-07-15", "edition: 2026-11-24", "limit: 90 days", "limit: 30 days",
		"{holds: {file-case: 2024-09-09, decide: 2024-12-09}}", "{holds: {file-case: 2024-09-09, decide: 2024-10-09}}",
		"require: size(act.officers) >= 2", "require: size(act.officers) >= 3",
		"{holds: {inspect: {officers: [Li, Zhao]}}}", "{holds: {inspect: {officers: [Li, Zhao, Wang]}}}",
	).Replace(string(files["visit.yaml"].Data)))}
	o := openUnder(t, files, nil)
	o.filed("C-1", "occurred_at", now.AddDate(0, 0, -5).Format(time.RFC3339))
	two := o.recorded(o.li, "C-1", act("inspect", "officers", []string{"li", "zhao"}))
	one := o.recorded(o.li, "C-1", act("inspect", "officers", []string{"li"}))

	rulesAt := func(findings []caseFinding) string {
		var out []string
		for _, f := range findings {
			if f.Rule == "V-3" {
				out = append(out, f.Event+" "+f.Edition.String())
			}
		}
		return strings.Join(out, ", ")
	}
	var f caseFile
	o.get(o.li, "/v1/cases/C-1?judged=both").is(200).into(&f)
	then, today := one.Event+" 2021-07-15", two.Event+" 2026-11-24, "+one.Event+" 2026-11-24"
	if f.Edition.String() != "2021-07-15" || rulesAt(f.Findings) != then || f.JudgedNow == nil || f.JudgedNow.Edition.String() != "2026-11-24" || rulesAt(f.JudgedNow.Findings) != today {
		t.Errorf("side by side: %s, now %+v", rulesAt(f.Findings), f.JudgedNow)
	}
	if len(f.JudgedNow.Differs) != 1 || f.JudgedNow.Differs[0].Event != two.Event || len(f.JudgedNow.Differs[0].Now) != len(f.JudgedNow.Differs[0].Then)+1 {
		t.Errorf("what differs: %+v", f.JudgedNow.Differs)
	}
	if len(f.Deadlines) != 1 || len(f.JudgedNow.Deadlines) != 1 || f.Deadlines[0].Due.On.Sub(f.JudgedNow.Deadlines[0].Due.On) < 55 {
		t.Errorf("limits: %+v and now %+v", f.Deadlines, f.JudgedNow.Deadlines)
	}
	o.get(o.li, "/v1/cases/C-1?at=revision:2&judged=now").is(200).into(&f)
	if rulesAt(f.Findings) != two.Event+" 2026-11-24" || f.At.Judged != "now" || f.At.Moment.String() != "revision:2" {
		t.Errorf("now only, at the second record: %s", rulesAt(f.Findings))
	}
	f = caseFile{}
	o.get(o.li, "/v1/cases/C-1?judged=then").is(200).into(&f)
	if rulesAt(f.Findings) != then || f.JudgedNow != nil {
		t.Errorf("then only: %s, %+v", rulesAt(f.Findings), f.JudgedNow)
	}

	var line page[timelineEntry]
	o.get(o.li, "/v1/cases/C-1/timeline?judged=both").is(200).into(&line)
	has := func(findings []rulebook.Finding) bool {
		return slices.ContainsFunc(findings, func(f rulebook.Finding) bool { return f.Rule == "V-3" })
	}
	if len(line.Items) != 3 || has(line.Items[1].Findings) || line.Items[1].JudgedNow == nil || !has(*line.Items[1].JudgedNow) || !has(line.Items[2].Findings) {
		t.Errorf("timeline: %+v", line.Items)
	}
	o.get(o.li, "/v1/cases/C-1/timeline?judged=now").is(200).into(&line)
	if !has(line.Items[1].Findings) || line.At.Judged != "now" {
		t.Errorf("timeline by today's law: %+v", line.Items[1])
	}

	// Step by step.
	steps := o.steps(o.li, "/v1/cases/C-1/replay?judged=both")
	if len(steps) != 3 || has(steps[1].Findings) || steps[1].JudgedNow == nil || !has(*steps[1].JudgedNow) || steps[1].ActName.ZH != "检查" || steps[1].StageName.ZH != "立案" || len(steps[1].Officers) != 2 {
		t.Errorf("steps: %+v", steps)
	}
	if steps = o.steps(o.li, "/v1/cases/C-1/replay"); steps[1].JudgedNow != nil || len(steps[0].Changes) < 5 {
		t.Errorf("steps: %+v", steps)
	}
}

// steps reads a case step by step.
func (o *office) steps(token, target string) []replayStep {
	o.t.Helper()
	var steps []replayStep
	dec := json.NewDecoder(bytes.NewReader(o.get(token, target).is(200).body))
	for dec.More() {
		var line replayLine
		if err := dec.Decode(&line); err != nil {
			o.t.Fatal(err)
		}
		if line.Problem != nil || line.Step == nil {
			o.t.Fatalf("%s: %+v", target, line)
		}
		steps = append(steps, *line.Step)
	}
	return steps
}

// TestListsAtAMoment asks for what lists do not offer.
func TestListsAtAMoment(t *testing.T) {
	o, _, _ := told(t)
	for _, target := range []string{
		"/v1/ledger?at=occurred:2026-11-01", "/v1/deadlines?at=occurred:2026-11-01", "/v1/findings?at=occurred:2026-11-01", "/v1/ledger?at=revision:1",
		"/v1/ledger?at=position:1&total=true", "/v1/ledger?at=tomorrow",
	} {
		o.get(o.li, target).problem(400, "unknown-parameter")
	}
	var found page[findingEntry]
	o.get(o.li, "/v1/findings?at=recorded:2026-11-12").is(200).into(&found)
	if len(found.Items) != 0 || found.Position != 2 {
		t.Errorf("findings of then: %+v", found)
	}
	o.get(o.li, "/v1/findings?at=position:3").is(200).into(&found)
	if len(found.Items) != 1 || found.At == nil {
		t.Errorf("findings at position 3: %+v", found)
	}
	a := o.get(o.li, "/v1/ledger?format=csv&at=position:1").is(200)
	if a.header.Get(positionHeader) != "1" || bytes.Count(a.body, []byte("\n")) != 2 || a.trailer.Get(rowsTrailer) != "1" {
		t.Errorf("CSV of then: %v %s %v", a.header, a.body, a.trailer)
	}
	var then page[ledgerEntry]
	o.get(o.li, "/v1/ledger?at=position:1").is(200).into(&then)
	if len(then.Items) != 1 || then.Items[0].Revision != 1 {
		t.Errorf("ledger of then: %+v", then)
	}
}

// TestThePastIsNotRevealed answers for a case that one may not read as for one that
// is not there, whatever moment is asked for; and what was read is in the trail.
func TestThePastIsNotRevealed(t *testing.T) {
	o, _, _ := told(t)
	for _, path := range []string{"%s?at=position:1", "%s?at=nonsense", "%s?judged=both", "%s/state", "%s/difference?from=revision:1", "%s/replay", "%s/next?at=revision:1", "%s/timeline?at=revision:9"} {
		var denied, missing Problem
		o.get(o.stranger, "/v1/cases/"+fmt.Sprintf(path, "C-1")).is(404).into(&denied)
		o.get(o.stranger, "/v1/cases/"+fmt.Sprintf(path, "C-404")).is(404).into(&missing)
		denied.Request, missing.Request = "", ""
		if !reflect.DeepEqual(denied, missing) {
			t.Errorf("%s: denied %+v, missing %+v", path, denied, missing)
		}
	}
	before := len(o.trail.looks(t))
	o.get(o.li, "/v1/cases/C-1?at=revision:1").is(200)
	o.get(o.li, "/v1/cases/C-1/state").is(200)
	o.get(o.li, "/v1/cases/C-1/difference?from=revision:1&format=patch").is(200)
	o.get(o.li, "/v1/cases/C-1/replay").is(200)
	o.get(o.li, "/v1/cases/C-1/next?at=revision:1").is(200)
	o.get(o.li, "/v1/cases/C-1/timeline?at=revision:1").is(200)
	o.get(o.supervisor, "/v1/ledger?at=position:1").is(200)
	var got []string
	for _, l := range o.trail.looks(t)[before:] {
		got = append(got, strings.Join([]string{l.Person, l.What, string(l.Case), l.Query}, "|"))
	}
	want := []string{
		"li|case|C-1|at=revision:1", "li|state|C-1|", "li|difference|C-1|from=revision:1&format=patch", "li|replay|C-1|", "li|next|C-1|at=revision:1",
		"li|timeline|C-1|at=revision:1", "zheng|ledger||at=position:1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("looks:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	o.trail.failWith(errBoom)
	for _, path := range []string{"?at=revision:1", "/state", "/difference?from=revision:1", "/replay"} {
		o.get(o.li, "/v1/cases/C-1"+path).problem(503, "unavailable")
	}
}
