package domain_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/law"
	"liuhen/domain/rulebook"
)

// ownRule is a rule of the agency's own: decisions are served within a limit.
const ownRule = `
rules:
  KJ-001:
    procedures: [penalty-ordinary]
    says: {zh: 决定书及时送达, en: The decision is served soon}
    basis: 样例科技局规定
    severity: minor
    within: {act: serve-decision, after: decide-penalty, limit: 5 working days}
    examples: [{holds: {decide-penalty: 2025-06-20, serve-decision: 2025-06-20}}, {broken: {decide-penalty: 2025-06-20, serve-decision: 2025-08-20}}]
`

func bookWith(t testing.TB, files ...string) *rulebook.Book {
	t.Helper()
	own := fstest.MapFS{}
	for i, text := range files {
		own[fmt.Sprintf("own-%d.yaml", i)] = &fstest.MapFile{Data: []byte(text)}
	}
	b, err := rulebook.Load(law.Files, own)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func tryOn(t testing.TB, l *logbook, present, draft *rulebook.Book) domain.TrialReport {
	t.Helper()
	trial := domain.NewTrial(present, draft, nil)
	for _, id := range l.order {
		facts := domain.FactsThen{}
		for {
			ask, err := trial.Asks(l.byCase[id], facts)
			if err != nil {
				t.Fatal(err)
			}
			if len(ask) == 0 {
				break
			}
			answers, _ := l.facts(ask)
			maps.Copy(facts, answers)
		}
		if err := trial.Case(l.byCase[id], facts); err != nil {
			t.Fatal(err)
		}
	}
	return trial.Report()
}

// outcome is a report without its examples: of each rule "rule what count/cases/already".
func outcome(r domain.TrialReport) []string {
	out := []string{}
	for _, rule := range r.Rules {
		for _, k := range []struct {
			what string
			domain.Tally
		}{
			{"further", rule.Further}, {"gone", rule.Gone}, {"altered", rule.Altered}, {"refused", rule.Refused},
			{"started", rule.Started}, {"dropped", rule.Dropped}, {"moved", rule.Moved},
		} {
			if k.Count > 0 {
				out = append(out, fmt.Sprintf("%s %s %d/%d/%d", rule.Rule, k.what, k.Count, k.Cases, k.Already))
			}
		}
	}
	return out
}

// TestTrial tries drafts on the sample office. In it a decision is served two
// working days after it was made in seven cases (001, 002, 005, 007, 008, 009,
// 012), eleven days after in one (006), and not yet in two (010, 011).
func TestTrial(t *testing.T) {
	with := func(limit string) *rulebook.Book {
		return bookWith(t, strings.ReplaceAll(ownRule, "5 working days", limit))
	}
	national, five, one := book, with("5 working days"), with("1 working days")
	byNational, byFive := newLogbook(t, national), newLogbook(t, five)
	for _, l := range []*logbook{byNational, byFive} {
		_, commands := officeOf(t, l.book)
		for _, cmd := range commands {
			l.record(cmd)
		}
	}
	for _, tt := range []struct {
		name           string
		log            *logbook
		present, draft *rulebook.Book
		want           []string
	}{
		{"nothing changes", byFive, five, five, nil},
		{"a new rule", byNational, national, five, []string{"KJ-001 further 1/1/0", "KJ-001 started 2/2/0"}},
		{"a shorter limit", byFive, five, one, []string{"KJ-001 further 7/7/0", "KJ-001 altered 1/1/0", "KJ-001 moved 2/2/0"}},
		{"a longer limit", byFive, five, with("30 working days"), []string{"KJ-001 gone 1/1/0", "KJ-001 moved 2/2/0"}},
		{"the rule goes", byFive, five, national, []string{"KJ-001 gone 1/1/0", "KJ-001 dropped 2/2/0"}},
		{"the present law has it already", byNational, five, five, []string{"KJ-001 further 1/1/1"}},
		{"a rule that refuses decisions", byNational, national, bookWith(t, strings.NewReplacer(
			"severity: minor", "severity: major\n    verdict: refuse",
			"within: {act: serve-decision, after: decide-penalty, limit: 5 working days}", "on: decide-penalty\n    require: act.penalties.all(p, p.amount < 1000000)").Replace(
			strings.NewReplacer("decide-penalty: 2025-06-20, serve-decision: 2025-06-20", "decide-penalty: {penalties: []}",
				"decide-penalty: 2025-06-20, serve-decision: 2025-08-20", "decide-penalty: {penalties: []}").Replace(ownRule))),
			// 002, 007, 008, 010, 012 are fined 10,000 yuan or more
			[]string{"KJ-001 further 5/5/0", "KJ-001 refused 5/5/0"}},
		// 002, 008, 010, 012: without a word of the right to a hearing
		{"a parameter", byNational, national, bookWith(t, "parameters: {hearing_fine_entity: 1000000}\n"),
			[]string{"R-021 further 4/4/0", "R-021 refused 4/4/0", "R-021-2 further 4/4/0", "R-021-2 refused 4/4/0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := tryOn(t, tt.log, tt.present, tt.draft)
			if got := outcome(r); !reflect.DeepEqual(got, append([]string{}, tt.want...)) {
				t.Errorf("got  %v\nwant %v", got, tt.want)
			}
			if r.Cases != len(tt.log.order) || r.Acts != len(tt.log.log) || len(r.Unjudged) != 0 {
				t.Errorf("tried %d cases with %d acts, there are %d with %d; without law: %v", r.Cases, r.Acts, len(tt.log.order), len(tt.log.log), r.Unjudged)
			}
		})
	}

	moved := tryOn(t, byFive, five, one)
	rule := moved.Rules[0]
	// 010 was decided three working days ago, on Thursday 19 November.
	if e := rule.Moved.Examples[0]; e.Case != "样例-010" || e.Act != "decide-penalty" || e.Was != "2026-11-26" || e.Would != "2026-11-20" {
		t.Errorf("moved: %+v", e)
	}
	if e := rule.Further.Examples; len(e) != 5 || e[0].Case != "样例-001" || e[0].Act != "serve-decision" || e[0].Was != "" || !strings.HasPrefix(e[0].Would, "minor flag 2026-") {
		t.Errorf("further: %+v", e)
	}
	if rule.Says.EN != "The decision is served soon" || rule.Procedure != "penalty-ordinary" || moved.Changed != 8 || moved.Affected != 10 {
		t.Errorf("%+v", moved)
	}
}

// visits is a small law, with one rule that every visit to a shop breaks.
const visits = `
procedure: visit
edition: 2024-01-01
name: {zh: 走访, en: Visit}
acts:
  go: {name: {zh: 出发, en: Go}, opens: true, effect: true, fields: {to: {type: text}}}
rules:
  V-1: {says: {zh: 不去商店, en: Not to a shop}, basis: b, severity: minor, on: go, require: "act.to != 'shop'", examples: [{holds: {go: {to: park}}}, {broken: {go: {to: shop}}}]}
`

// TestTrialOfFindings changes what the rule says, how grave it is and what it
// asks for, and then the edition that the cases go by.
func TestTrialOfFindings(t *testing.T) {
	load := func(change ...string) *rulebook.Book {
		b, err := rulebook.Load(fstest.MapFS{"visit.yaml": {Data: []byte(strings.NewReplacer(change...).Replace(visits))}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	present := load()
	l := newLogbook(t, present)
	visit := func(id domain.CaseID, to string, more func(*domain.Command)) {
		cmd := domain.Command{
			ID: string(id), Case: id, Agency: "a", Procedure: "visit", Act: "go", At: today, Actor: domain.Actor{ID: "li"},
			Fields: map[string]json.RawMessage{"to": json.RawMessage(strconv.Quote(to))},
		}
		more(&cmd)
		l.record(cmd)
	}
	visit("V-1", "shop", func(*domain.Command) {})
	visit("V-2", "shop", func(c *domain.Command) { c.AlreadyDone, c.Reason = true, "停电" })
	visit("V-3", "shop", func(c *domain.Command) { c.Import = &domain.Import{Source: "旧系统", Batch: "b", Row: 1} })
	visit("V-4", "park", func(*domain.Command) {})
	for _, tt := range []struct {
		name  string
		draft *rulebook.Book
		want  []string
	}{
		{"only the words", load("Not to a shop", "Shops are not visited"), nil},
		{"another severity", load("severity: minor", "severity: major"), []string{"V-1 altered 3/3/0"}},
		// V-2 was carried out outside the system: it would be recorded all the same.
		{"it refuses", load("severity: minor", "severity: minor, verdict: refuse"), []string{"V-1 altered 3/3/0", "V-1 refused 2/2/0"}},
		{"it refuses a fact", load("severity: minor", "severity: minor, verdict: refuse", ", effect: true", ""), []string{"V-1 altered 3/3/0"}},
		{"parks, too", load("act.to != 'shop'", "!(act.to in ['shop', 'park'])"), []string{"V-1 further 1/1/0"}},
		{"a rule that cannot be judged", load("act.to != 'shop'", "[act.to][size(act.to)] == ''"), []string{"V-1 further 1/1/0", "V-1 altered 3/3/0"}},
	} {
		if got := outcome(tryOn(t, l, present, tt.draft)); !reflect.DeepEqual(got, append([]string{}, tt.want...)) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}

	later := load("2024-01-01", "2025-01-01")
	r := tryOn(t, l, present, later)
	want := []domain.Unjudged{{Procedure: "visit", Edition: calendar.MakeDate(2024, 1, 1), Cases: 4}}
	if r.Cases != 0 || !reflect.DeepEqual(r.Unjudged, want) {
		t.Errorf("an edition that the draft does not have: %+v", r)
	}
	if err := domain.NewTrial(later, present, nil).Case(l.byCase["V-1"], nil); err == nil {
		t.Error("a case that the present law does not have: no error")
	}
	if err := domain.NewTrial(present, later, nil).Case(nil, nil); err != nil {
		t.Errorf("no records: %v", err)
	}
}
