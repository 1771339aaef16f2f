package casework_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
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

const ownLaw = `rules:
  KJ-001:
    procedures: [penalty-ordinary]
    says: {zh: 线索写明详情, en: A clue is told in full}
    basis: 本局规定
    severity: minor
    on: receive-clue
    require: act.summary.size() > 10
    examples: [{holds: {receive-clue: {summary: 群众举报某公司未经许可开展活动}}}, {broken: {receive-clue: {summary: 举报}}}]
  KJ-002:
    procedures: [penalty-ordinary]
    says: {zh: 三日内决定, en: It is decided within three days}
    basis: 本局规定
    severity: minor
    within: {act: decline-filing, after: receive-clue, limit: 3 days}
    examples: [{holds: {receive-clue: 2025-03-03, decline-filing: 2025-03-04}}, {broken: {receive-clue: 2025-03-03, decline-filing: 2025-03-20}}]
`

// textsOf finds the texts of law files in a store.
func textsOf(store *eventstore.Store) func(rulebook.FileRef) (string, error) {
	return func(ref rulebook.FileRef) (string, error) {
		stored, _, err := store.Load(context.Background(), ref.Case)
		if err != nil {
			return "", err
		}
		for _, s := range stored {
			r, err := domain.Read(uint64(s.Position), s.At, s.Data)
			if err != nil {
				return "", err
			}
			if f, ok := domain.FileOf(&r); ok && r.ID == ref.Event {
				return f.Text, nil
			}
		}
		return "", fmt.Errorf("no event %s", ref.Event)
	}
}

// A process is what one running program has: nothing of it is shared with another
// but the store.
type process struct {
	registers *casework.Registers
	law       *domain.Books
	desk      *casework.Desk
}

func processOn(t *testing.T, store *eventstore.Store, from past, cases casework.Cases) process {
	t.Helper()
	p := process{registers: casework.NewRegisters(nil, book.Calendar()), law: domain.NewBooks(book, textsOf(store), nil)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.registers.Run(ctx, store, from, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	p.desk = casework.New(p.law, store, cases, casework.Options{Registers: p.registers.Now})
	return p
}

// TestLawFiles puts a law file in force in one process, and judges by it in others:
// one that runs beside it, one that starts later in the middle of the log, and in the
// read models, which a rebuild finds as they should be.
func TestLawFiles(t *testing.T) {
	store := eventstoretest.New(t)
	first := processOn(t, store, past{store: store}, nil)
	beside := processOn(t, store, past{store: store}, nil)
	db, err := projections.Open(t.Context(), pgtest.New(t), domain.NewBooks(book, textsOf(store), nil))
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

	now := time.Now()
	today := calendar.DateOf(now).String()
	act := func(person, role, name string, fields map[string]string) domain.Command {
		cmd := domain.Command{
			ID: person + " " + name, Case: "规则-1", Act: name, At: now.Add(-time.Minute),
			Actor: domain.Actor{ID: person, Roles: []string{role}}, Fields: map[string]json.RawMessage{},
		}
		for k, v := range fields {
			data, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			cmd.Fields[k] = data
		}
		return cmd
	}
	propose := act("li", "clerk", "propose-file", map[string]string{"file_name": "ours.yaml", "text": ownLaw, "valid_from": today, "reason": "本局规定"})
	propose.Procedure, propose.Agency = domain.LawProcedure, "210100-kjj"
	if _, err := first.desk.Record(t.Context(), propose); err != nil {
		t.Fatal(err)
	}
	put := act("wang", "head", "put-in-force", map[string]string{
		"file_name": "ours.yaml", "digest": domain.DigestOf([]byte(ownLaw)).String(), "valid_from": today,
	})
	receipt, err := beside.desk.Record(t.Context(), put)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []process{first, beside} {
		if err := p.registers.Wait(t.Context(), receipt.Position); err != nil {
			t.Fatal(err)
		}
	}

	ruled := func(r domain.Receipt) bool {
		return slices.ContainsFunc(r.Findings, func(f rulebook.Finding) bool { return f.Rule == "KJ-001" })
	}
	for i, p := range []process{first, beside} {
		r, err := p.desk.Record(t.Context(), clue("1", domain.CaseID(fmt.Sprint("甲-", i)), now.Add(-time.Second)))
		if err != nil || !ruled(r) {
			t.Errorf("process %d: %+v, %v", i, r.Findings, err)
		}
	}
	results := first.desk.RecordAll(t.Context(), []domain.Command{clue("1", "丙-0", now.Add(-time.Second)), clue("1", "丙-1", now.AddDate(0, 0, -1))})
	if len(results) != 2 || results[0].Err != nil || !ruled(results[0].Receipt) || ruled(results[1].Receipt) {
		t.Errorf("in bulk: %+v", results)
	}

	// A process that starts now knows only what is stored.
	end := last(store)
	late := processOn(t, store, past{store: store, upTo: end - 2}, db)
	if err := late.registers.Wait(t.Context(), uint64(end)); err != nil {
		t.Fatal(err)
	}
	c, err := late.desk.Case(t.Context(), "甲-0")
	if err != nil || len(c.Law) != 1 || c.Law[0].Digest != domain.DigestOf([]byte(ownLaw)).String() {
		t.Fatalf("after a start: %+v, %v", c, err)
	}
	due := ""
	for _, d := range c.Procedure.Deadlines(c.History, nil) {
		if d.Rule == "KJ-002" {
			due = d.Due.On.String()
		}
	}
	if due == "" {
		t.Error("after a start: the limit of the agency's own file does not run")
	}
	if r, err := late.desk.Record(t.Context(), clue("1", "乙-1", now.Add(-time.Second))); err != nil || !ruled(r) {
		t.Errorf("after a start: %+v, %v", r.Findings, err)
	}

	// The read models count by it, say so in its words, and are the same when filled anew.
	if err := db.WaitAll(t.Context(), uint64(last(store))); err != nil {
		t.Fatal(err)
	}
	list, err := db.Deadlines(t.Context(), projections.DeadlinesFilter{Now: now, Rule: "KJ-002"}, projections.Page{Limit: 10})
	if err != nil || len(list.Items) != 4 {
		t.Fatalf("limits by the agency's own file: %+v, %v", list.Items, err)
	}
	if d := list.Items[0]; d.Due.String() != due || d.Says.ZH != "三日内决定" {
		t.Errorf("on the board: %+v, want %s", d, due)
	}
	report, err := projections.Rebuild(t.Context(), db, store, nil, nil)
	if err != nil || !report.Clean() {
		t.Errorf("filled anew: %+v, %v", report, err)
	}
	records, _, err := db.Load(t.Context(), []domain.CaseID{"甲-1"})
	if err != nil {
		t.Fatal(err)
	}
	nothing := func(asked []domain.Asked) (domain.FactsThen, error) { return db.FactsThen(t.Context(), asked) }
	if ds, err := domain.JudgeAgain(late.law, domain.Then{Facts: nothing}, records["甲-1"]); err != nil || len(ds) > 0 {
		t.Errorf("judged again: %+v, %v", ds, err)
	}
	if !strings.Contains(string(records["甲-1"][0].Raw), `"law":[{"name":"ours.yaml","digest":"sha256:`) {
		t.Errorf("the record does not name the file: %s", records["甲-1"][0].Raw)
	}
}
