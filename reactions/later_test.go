package reactions_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"liuhen/casework"
	"liuhen/domain"
	"liuhen/domain/rulebook"
	"liuhen/internal/pgtest"
	"liuhen/projections"
	"liuhen/reactions"
)

// whole is an office with its read models and registers, and all reactions.
func whole(t *testing.T, book *rulebook.Book) (*office, *projections.DB, reactions.System) {
	t.Helper()
	return wholeOn(t, book, pgtest.New(t), 0)
}

// wholeOn is whole on a database; registers may take as long as patience to answer.
func wholeOn(t *testing.T, book *rulebook.Book, pool *pgxpool.Pool, patience time.Duration) (*office, *projections.DB, reactions.System) {
	t.Helper()
	o := newOffice(t)
	db, err := projections.Open(t.Context(), pool, book)
	if err != nil {
		t.Fatal(err)
	}
	registers := casework.NewRegisters(nil, book.Calendar())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	quiet := slog.New(slog.DiscardHandler)
	go func() { done <- projections.RunAll(ctx, db, o.store, quiet, projections.All...) }()
	go func() { done <- registers.Run(ctx, o.store, db, quiet) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	o.desk = casework.New(book, o.store, db, casework.Options{Registers: registers.Now, Facts: db.Facts, Patience: patience})
	return o, db, reactions.System{Desk: o.desk, Book: book, Board: db, Registers: db, Following: registers, Now: time.Now}
}

// findingsOf are the findings that a case has noted later: rule and the act that
// each is about.
func (o *office) findingsOf(c domain.CaseID) map[string]string {
	o.t.Helper()
	k, err := o.desk.Case(o.t.Context(), c)
	if err != nil {
		o.t.Fatal(err)
	}
	found := map[string]string{}
	for _, r := range k.After(0) {
		for _, f := range r.Findings {
			if f.Of != "" {
				found[f.Rule] = f.Of
			}
		}
	}
	return found
}

// TestOverdue notes limits that have passed: in each case once, however often the
// tick comes, and not before the day.
func TestOverdue(t *testing.T) {
	o, db, system := whole(t, book)
	tick := reactions.Ticks(system)[0]
	const cases = 700 // more than a page
	var commands []domain.Command
	for i := range cases {
		cmd := domain.Command{
			ID: fmt.Sprint("open-", i), Case: domain.CaseID(fmt.Sprint("案-", i)), Agency: "kjj", Procedure: "penalty-ordinary", Act: "receive-clue",
			At: time.Now().AddDate(0, 0, -60), LateReason: "补录", Actor: domain.Actor{ID: "li", Roles: []string{"handler"}},
			Fields: fields{"source": "report", "summary": "群众举报"}.raw(t),
		}
		if i%7 == 0 {
			cmd.At = time.Now().Add(-time.Hour)
		}
		commands = append(commands, cmd)
	}
	opened := map[domain.CaseID]string{}
	for _, res := range o.desk.RecordAll(t.Context(), commands) {
		if res.Err != nil {
			t.Fatal(res.Err)
		}
		opened[res.Receipt.Case] = res.Receipt.Event
	}
	settle := func() uint64 {
		t.Helper()
		last, err := o.store.Last(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := db.WaitAll(t.Context(), uint64(last)); err != nil {
			t.Fatal(err)
		}
		return uint64(last)
	}
	settle()
	if err := tick.Do(t.Context(), time.Now().AddDate(0, 0, -59)); err != nil {
		t.Fatal(err)
	}
	before := settle()
	if err := tick.Do(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := tick.Do(t.Context(), time.Now()); err != nil { // whether or not the read model has come that far
		t.Fatal(err)
	}
	after := settle()
	if err := tick.Do(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if end := settle(); end != after {
		t.Errorf("the next tick records %d more", end-after)
	}
	late := 0
	for c, event := range opened {
		found := o.findingsOf(c)
		var i int
		if _, err := fmt.Sscanf(string(c), "案-%d", &i); err != nil {
			t.Fatal(err)
		}
		switch {
		case i%7 == 0 && len(found) > 0:
			t.Errorf("%s, opened an hour ago: %v", c, found)
		case i%7 != 0 && (len(found) != 1 || found["R-005"] != event):
			t.Errorf("%s: %v, want R-005 of %s", c, found, event)
		case i%7 != 0:
			late++
		}
	}
	if uint64(late) != after-before {
		t.Errorf("%d records for %d cases", after-before, late)
	}
}

// TestJudgeAgain revokes a certificate with effect from before an act that was in
// order: the act gets a finding, by itself, and the first record stays.
func TestJudgeAgain(t *testing.T) {
	o, _, system := whole(t, book)
	running, _ := o.runner(func(c *reactions.Config) { c.Reactions = reactions.All(system) })
	n := 0
	officer := func(person, act string, f fields) domain.Receipt {
		t.Helper()
		n++
		cmd := domain.Command{
			ID: fmt.Sprint("officer-", n), Case: domain.CaseID("证-" + person), Act: act, At: time.Now().Add(-time.Minute),
			Actor: domain.Actor{ID: "clerk", Roles: []string{"*"}}, AlreadyDone: true, Reason: "补录", Fields: f.raw(t),
		}
		if act == "enrol-officer" {
			cmd.Agency, cmd.Procedure = "kjj", domain.RegisterProcedure
		}
		r := o.record(cmd)
		if err := system.Following.Wait(t.Context(), r.Position); err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, person := range []string{"li", "zhao"} {
		officer(person, "enrol-officer", fields{"person": person, "full_name": person, "unit": "执法科", "staff_kind": "formal"})
		officer(person, "issue-certificate", fields{
			"certificate_no": "06-" + person, "card": "enforcement", "category": "科技", "area": "2101", "issuer": "司法局",
			"valid_from": "2022-01-01", "valid_to": "2039-12-31",
		})
	}
	act := func(c domain.CaseID, officers ...rulebook.Officer) domain.Receipt {
		t.Helper()
		o.record(domain.Command{
			ID: "open", Case: c, Agency: "kjj", Procedure: "penalty-ordinary", Act: "receive-clue", At: time.Now().Add(-time.Minute),
			Actor: domain.Actor{ID: "li", Roles: []string{"handler"}}, Fields: fields{"source": "report", "summary": "群众举报"}.raw(t),
		})
		return o.record(domain.Command{
			ID: "evidence", Case: c, Act: "collect-evidence", At: time.Now().Add(-time.Minute), Officers: officers,
			Actor: domain.Actor{ID: "li", Roles: []string{"handler"}},
			Fields: fields{
				"evidence_no": "E1", "kind": "electronic", "source": "网络平台", "collector": "li", "collected_at": "2026-11-23T09:00:00+08:00",
			}.raw(t),
		})
	}
	li, zhao := rulebook.Officer{ID: "li"}, rulebook.Officer{ID: "zhao"}
	concerned, other := act("案-1", li, zhao), act("案-2", zhao, rulebook.Officer{ID: "zhao2"})
	yesterday := time.Now().AddDate(0, 0, -1).Format(time.DateOnly)
	o.dealtWith(running, "judge-again") // the certificates that were issued have nothing to do with it any more
	cause := officer("li", "suspend-certificate", fields{"ground": "other", "reason": "调查", "suspended_from": yesterday})
	eventually(t, "the act is judged again", func() bool { return o.findingsOf("案-1")["R-002"] == concerned.Event })
	if found := o.findingsOf("案-2"); len(found) > 0 {
		t.Errorf("a case without the officer, act %s: %v", other.Event, found)
	}
	stored, _, err := o.store.Load(t.Context(), "案-1")
	if err != nil {
		t.Fatal(err)
	}
	last := stored[len(stored)-1]
	r, err := domain.Read(uint64(last.Position), last.At, last.Data)
	if err != nil {
		t.Fatal(err)
	}
	if r.Data.Fields["changed"] != cause.Event || r.Causation != cause.Event {
		t.Errorf("the finding names %v and cause %q, want the event %s", r.Data.Fields["changed"], r.Causation, cause.Event)
	}
	if len(stored) != 3 {
		t.Errorf("%d records in the case, want three", len(stored))
	}
}

// A watched desk tells which cases it was asked to judge again, and lets the test
// stand in the way.
type watched struct {
	reactions.Desk
	mu    sync.Mutex // guards pages
	pages [][]domain.CaseID
	way   func(page int) // before a page is recorded
}

func (d *watched) RecordAll(ctx context.Context, commands []domain.Command) []casework.Result {
	d.mu.Lock()
	var ids []domain.CaseID
	for _, c := range commands {
		ids = append(ids, c.Case)
	}
	d.pages = append(d.pages, ids)
	page := len(d.pages)
	d.mu.Unlock()
	if d.way != nil {
		d.way(page)
	}
	if err := ctx.Err(); err != nil {
		results := make([]casework.Result, len(commands))
		for i := range results {
			results[i].Err = err
		}
		return results
	}
	return d.Desk.RecordAll(ctx, commands)
}

// TestJudgeAgainGoesOn stops the program in the middle of many cases that are judged
// again: the next start goes on from there, and judges none of those before.
func TestJudgeAgainGoesOn(t *testing.T) {
	law := visitLaw(t)
	o, db, system := whole(t, law)
	day := time.Now().AddDate(0, 0, -10)
	const cases = 500 // three pages
	var commands []domain.Command
	for i := range cases {
		commands = append(commands, visit(t, fmt.Sprint("K-", i), "甲", day))
	}
	for _, res := range o.desk.RecordAll(t.Context(), commands) {
		if res.Err != nil {
			t.Fatal(res.Err)
		}
	}
	reached, stopped := make(chan struct{}), make(chan struct{})
	first := &watched{Desk: o.desk, way: func(page int) {
		if page == 2 {
			close(reached)
			<-stopped
		}
	}}
	system.Desk = first
	var clock atomic.Int64 // each look at it is a minute after the one before: every page is worth a mark
	_, stop := o.runner(func(c *reactions.Config) {
		c.Reactions = reactions.All(system)[1:]
		c.Now = func() time.Time { return day.Add(time.Duration(clock.Add(1)) * time.Minute) }
	})
	o.record(visit(t, "E-1", "甲", day.AddDate(0, 0, -1)))
	<-reached
	// It stops while the second page is under way.
	ended := make(chan struct{})
	go func() { stop(); close(ended) }()
	close(stopped)
	<-ended
	if len(first.pages) < 2 || len(first.pages[0]) < 190 {
		t.Fatalf("it stopped after %d pages", len(first.pages))
	}
	done := map[domain.CaseID]bool{}
	for _, id := range first.pages[0] {
		done[id] = true
	}

	second := &watched{Desk: o.desk}
	system.Desk = second
	o.runner(func(c *reactions.Config) { c.Reactions = reactions.All(system)[1:] })
	eventually(t, "every case is judged again", func() bool {
		for i := range cases {
			if len(o.findingsOf(domain.CaseID(fmt.Sprint("K-", i)))) != 1 {
				return false
			}
		}
		return true
	})
	second.mu.Lock()
	defer second.mu.Unlock()
	for _, page := range second.pages {
		for _, id := range page {
			if done[id] {
				t.Errorf("%s was judged again a second time", id)
			}
		}
	}
	last, err := o.store.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := db.WaitAll(t.Context(), uint64(last)); err != nil {
		t.Fatal(err)
	}
	if want := 2*cases + 1; int(last) != want {
		t.Errorf("%d records, want %d: each case noted once", last, want)
	}
}

// visit is a visit to a firm.
func visit(t testing.TB, c, firm string, at time.Time) domain.Command {
	return domain.Command{
		ID: "enter", Case: domain.CaseID(c), Agency: "kjj", Procedure: "visit", Act: "enter", At: at,
		Actor: domain.Actor{ID: "li", Roles: []string{"handler"}}, Fields: fields{"firm": firm}.raw(t),
	}
}

func visitLaw(t testing.TB) *rulebook.Book {
	t.Helper()
	law, err := rulebook.Load(fstest.MapFS{"a.yaml": {Data: []byte(strings.SplitAfter(visits, "{visits: {A: [{from: 2025-01-06}]}}}\n")[0])}, "b.yaml": {Data: []byte("system_acts:" + strings.Split(visits, "system_acts:")[1])}})
	if err != nil {
		t.Fatal(err)
	}
	return law
}

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
    with: {others: {register: visits, key: act.firm}}
    require: others.all(v, v.case == case.id || v.from >= act.day)
    examples:
      - {holds: {enter: {firm: A}}}
      - {broken: {enter: {at: 2025-03-03, firm: A}}, registers: {visits: {A: [{from: 2025-01-06}]}}}
system_acts:
  note-findings:
    name: {zh: 系统登记问题, en: Findings noted}
    notes: true
    by: [system]
    fields: {cause: {type: text}, changed: {type: text}}
`

// TestJudgeAgainByRegister enters something for a day before the acts of many other
// cases: each of them that asked for it is judged again, and no other.
func TestJudgeAgainByRegister(t *testing.T) {
	o, db, system := whole(t, visitLaw(t))
	o.runner(func(c *reactions.Config) { c.Reactions = reactions.All(system)[1:] })
	enter := func(c, firm string, at time.Time) domain.Command { return visit(t, c, firm, at) }
	day := time.Now().AddDate(0, 0, -10)
	const cases = 250 // more than a page
	var commands []domain.Command
	for i := range cases { // all at once: none sees another
		commands = append(commands, enter(fmt.Sprint("K-", i), "甲", day))
	}
	commands = append(commands, enter("L-1", "乙", day))
	for _, res := range o.desk.RecordAll(t.Context(), commands) {
		if res.Err != nil || len(res.Receipt.Findings) > 0 {
			t.Fatalf("%+v, %v", res.Receipt.Findings, res.Err)
		}
	}
	o.record(enter("E-1", "甲", day.AddDate(0, 0, -1))) // recorded last, for the day before
	eventually(t, "every case of the firm is judged again", func() bool {
		for i := range cases {
			if len(o.findingsOf(domain.CaseID(fmt.Sprint("K-", i)))) != 1 {
				return false
			}
		}
		return true
	})
	for _, c := range []domain.CaseID{"L-1", "E-1"} {
		if found := o.findingsOf(c); len(found) > 0 {
			t.Errorf("%s: %v", c, found)
		}
	}
	last, err := o.store.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := db.WaitAll(t.Context(), uint64(last)); err != nil {
		t.Fatal(err)
	}
	if want := 2*cases + 2; int(last) != want {
		t.Errorf("%d records, want %d: each case noted once", last, want)
	}
}
