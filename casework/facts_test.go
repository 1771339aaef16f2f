package casework_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"liuhen/casework"
	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
	"liuhen/eventstore"
	"liuhen/eventstore/eventstoretest"
	"liuhen/internal/pgtest"
	"liuhen/projections"
)

const visits = `
registers:
  visits: {name: {zh: 检查登记, en: Visits}}
procedure: visit
edition: 2021-07-15
name: {zh: 检查, en: Visit}
acts:
  enter: {name: {zh: 进入, en: Enter}, opens: true, fields: {firm: {type: text, required: true}}}
enters:
  - {register: visits, on: enter, key: act.firm}
rules:
  T-001:
    says: {zh: 一家一次, en: once a firm}
    basis: 试验法 第一条
    severity: minor
    on: enter
    with: {before: {register: visits, key: act.firm}}
    require: before.all(v, v.case == case.id)
    examples:
      - {holds: {enter: {firm: A}}}
      - {broken: {enter: {firm: A}}, registers: {visits: {A: [{from: 2025-01-06}]}}}
`

// TestFacts judges acts by what other cases have entered: one at a time, where
// each sees all that was recorded before, and in bulk by few questions.
func TestFacts(t *testing.T) {
	law, err := rulebook.Load(fstest.MapFS{"visit.yaml": {Data: []byte(visits)}})
	if err != nil {
		t.Fatal(err)
	}
	store := eventstoretest.New(t)
	db, err := projections.Open(t.Context(), pgtest.New(t), law)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- projections.RunAll(ctx, db, store, slog.New(slog.DiscardHandler), projections.All...) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	questions := 0
	desk := casework.New(law, store, db, casework.Options{
		Facts: func(ctx context.Context, lookups []rulebook.Lookup, from uint64) (rulebook.Facts, uint64, error) {
			questions++
			return db.Facts(ctx, lookups, from)
		},
	})
	at := time.Now().Add(-time.Minute)
	enter := func(c, firm string) domain.Command {
		text, err := json.Marshal(firm)
		if err != nil {
			t.Fatal(err)
		}
		return domain.Command{
			ID: "enter-" + c, Case: domain.CaseID(c), Agency: "kjj", Procedure: "visit", Act: "enter", At: at,
			Actor: domain.Actor{ID: "li", Name: "李明", Roles: []string{"handler"}}, Fields: map[string]json.RawMessage{"firm": text},
		}
	}
	for i := range 20 { // each follows the one before at once
		r, err := desk.Record(t.Context(), enter(fmt.Sprint("K-", i), "甲"))
		if err != nil {
			t.Fatal(err)
		}
		if found := len(r.Findings); found != min(i, 1) {
			t.Fatalf("visit %d: %+v", i+1, r.Findings)
		}
		if i == 0 {
			continue
		}
		f := r.Findings[0]
		if f.Failed || len(f.Looked) != i || len(f.Registers) != 1 {
			t.Fatalf("visit %d looked at %v of %v", i+1, f.Looked, f.Registers)
		}
	}
	if questions != 20 {
		t.Errorf("20 acts asked %d questions", questions)
	}

	questions = 0
	var commands []domain.Command
	for i := range 300 {
		commands = append(commands, enter(fmt.Sprint("L-", i), fmt.Sprint("厂", i)))
	}
	commands = append(commands, enter("L-甲", "甲"))
	for i, res := range desk.RecordAll(t.Context(), commands) {
		if res.Err != nil {
			t.Fatal(res.Err)
		}
		if want := i / 300; len(res.Receipt.Findings) != want {
			t.Errorf("command %d: %+v, want %d findings", i, res.Receipt.Findings, want)
		}
	}
	if questions != 1 {
		t.Errorf("a round of 301 cases asked %d questions", questions)
	}

	// Who was judged by a key, from which day on, is known.
	end, err := store.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := db.WaitAll(t.Context(), uint64(end)); err != nil {
		t.Fatal(err)
	}
	today := calendar.DateOf(at)
	for _, c := range []struct {
		since calendar.Date
		after domain.CaseID
		want  int
	}{{today, "", 21}, {today, "K-9", 1}, {today.AddDays(1), "", 21}, {today.AddDays(2), "", 0}} {
		ids, err := db.Asked(t.Context(), rulebook.RegisterChange{Lookup: rulebook.Lookup{Register: "visits", Key: "甲"}, Since: c.since}, c.after, 100)
		if err != nil || len(ids) != c.want {
			t.Errorf("asked since %s, after %q: %v, %v; want %d cases", c.since, c.after, ids, err, c.want)
		}
	}

	// What is in a record gives the same findings again: the registers are read
	// as they were at the position that it names.
	then := domain.Then{Facts: func(asked []domain.Asked) (domain.FactsThen, error) { return db.FactsThen(t.Context(), asked) }}
	atTheEnd := domain.Then{Facts: func(asked []domain.Asked) (domain.FactsThen, error) {
		facts := domain.FactsThen{}
		for _, a := range asked {
			later, err := db.FactsAt(t.Context(), []rulebook.Lookup{a.Lookup}, uint64(end))
			if err != nil {
				return nil, err
			}
			facts[a] = later[a.Lookup]
		}
		return facts, nil
	}}
	again, otherwise := 0, 0
	draft, err := rulebook.Load(fstest.MapFS{"visit.yaml": {Data: []byte(strings.ReplaceAll(visits, "v.case == case.id", "v.case != 'K-0'"))}})
	if err != nil {
		t.Fatal(err)
	}
	trial, facts := domain.NewTrial(law, draft, nil), domain.FactsThen{}
	for stored, err := range store.Follow(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		r, err := domain.Read(uint64(stored.Position), stored.At, stored.Data)
		if err != nil {
			t.Fatal(err)
		}
		one := []domain.Recorded{r}
		if ds, err := domain.JudgeAgain(law, then, one); err != nil || len(ds) > 0 {
			t.Errorf("position %d judged again: %+v %v", r.Position, ds, err)
		}
		if ds, err := domain.JudgeAgain(law, domain.Then{}, one); err != nil || len(ds) > 0 {
			t.Errorf("position %d judged again without registers, which it looks at: %+v %v", r.Position, ds, err)
		}
		ds, err := domain.JudgeAgain(law, atTheEnd, one)
		if err != nil {
			t.Fatal(err)
		}
		again, otherwise = again+len(r.Data.Findings), otherwise+len(ds)

		ask, err := trial.Asks(one, facts)
		if err != nil || len(ask) != 2 {
			t.Fatalf("a trial of position %d asks %v %v, want one question by each law", r.Position, ask, err)
		}
		answers, err := db.FactsThen(t.Context(), ask)
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(facts, answers)
		if ask, err = trial.Asks(one, facts); err != nil || len(ask) != 0 {
			t.Errorf("answered, it asks %v %v", ask, err)
		}
		if err := trial.Case(one, facts); err != nil {
			t.Fatal(err)
		}
		if stored.Position == end {
			break
		}
	}
	if otherwise != 21 {
		t.Errorf("by the registers as they are in the end %d visits to 甲 are judged otherwise, want all 21: the list of others is longer", otherwise)
	}
	// A draft that minds the first visit only says the same of all later ones.
	if r := trial.Report(); r.Acts != int(end) || r.Changed != 0 {
		t.Errorf("the trial: %+v", r)
	}
	if again != 20 {
		t.Errorf("%d findings again, want 20", again)
	}
}

// TestNoFacts records what has happened also where registers cannot be read, with a
// finding that says what it could not be judged by.
func TestNoFacts(t *testing.T) {
	law, err := rulebook.Load(fstest.MapFS{"visit.yaml": {Data: []byte(visits)}})
	if err != nil {
		t.Fatal(err)
	}
	store := eventstoretest.New(t)
	broken := fmt.Errorf("broken by the test")
	for name, facts := range map[string]casework.Facts{
		"none": nil,
		"broken": func(context.Context, []rulebook.Lookup, uint64) (rulebook.Facts, uint64, error) {
			return nil, 0, broken
		},
	} {
		desk := casework.New(law, store, nil, casework.Options{Facts: facts})
		cmd := domain.Command{
			ID: name, Case: domain.CaseID("K-" + name), Agency: "kjj", Procedure: "visit", Act: "enter", At: time.Now().Add(-time.Minute),
			Actor: domain.Actor{ID: "li"}, Fields: map[string]json.RawMessage{"firm": json.RawMessage(`"甲"`)},
		}
		if r, err := desk.Record(t.Context(), cmd); err != nil || len(r.Findings) != 1 || !r.Findings[0].Failed {
			t.Errorf("%s: %+v, %v", name, r.Findings, err)
		}
		cmd.Case += "-2"
		if res := desk.RecordAll(t.Context(), []domain.Command{cmd})[0]; res.Err != nil || len(res.Receipt.Findings) != 1 || !res.Receipt.Findings[0].Failed {
			t.Errorf("%s, in bulk: %+v, %v", name, res.Receipt.Findings, res.Err)
		}
		// Who gave up waiting has not recorded it.
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		cmd.Case += "-3"
		if r, err := desk.Record(gone, cmd); err == nil {
			t.Errorf("%s, given up: %+v", name, r)
		}
	}
	if end, err := store.Last(t.Context()); err != nil || end != eventstore.Position(4) {
		t.Errorf("the record ends at %d, %v; want four records", end, err)
	}
}
