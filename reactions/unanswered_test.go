package reactions_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"liuhen/domain"
	"liuhen/domain/rulebook"
	"liuhen/internal/postgres"
	"liuhen/projections"
	"liuhen/reactions"
)

// orders adds an act with a legal effect, whose rule asks the same register.
const orders = `
  order: {name: {zh: 责令, en: Order}, effect: true, fields: {firm: {type: text, required: true}}}
`

const ordersRule = `
  T-002:
    says: {zh: 查过的才责令, en: only who was visited}
    basis: 试验法 第二条
    severity: minor
    verdict: refuse
    on: order
    with: {others: {register: visits, key: act.firm}}
    require: others.size() > 0
    examples:
      - {holds: {order: {firm: A}}, registers: {visits: {A: [{from: 2025-01-06}]}}}
      - {broken: {order: {firm: A}}}
`

// TestDatabaseDown records what has happened while PostgreSQL is down, with a finding
// that says what could not be judged, refuses what would create a legal effect, and
// judges by itself when the registers answer again. What a register that was corrected
// makes baseless is taken back, and found again when it holds again.
func TestDatabaseDown(t *testing.T) {
	procedure, system, _ := strings.Cut(visits, "system_acts:")
	procedure = strings.Replace(procedure, "\nenters:", orders+"enters:", 1) + strings.TrimPrefix(ordersRule, "\n")
	law, err := rulebook.Load(fstest.MapFS{"a.yaml": {Data: []byte(procedure)}, "b.yaml": {Data: []byte("system_acts:" + system)}})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "pg")
	start := func() *postgres.Server {
		t.Helper()
		s, err := postgres.Start(t.Context(), postgres.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	server := start()
	t.Cleanup(func() { _ = server.Stop(t.Context()) })
	pool, err := pgxpool.New(t.Context(), server.URL("liuhen"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	o, db, parts := wholeOn(t, law, pool, time.Second)
	o.runner(func(c *reactions.Config) { c.Reactions = reactions.All(parts)[1:] })
	day := time.Now().AddDate(0, 0, -10)
	first := o.record(visit(t, "K-1", "甲", day))
	if _, err := db.Wait(t.Context(), "registers", first.Position); err != nil {
		t.Fatal(err)
	}

	if err := server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	unanswered := func(r domain.Receipt) bool {
		return len(r.Findings) == 1 && r.Findings[0].Rule == "T-001" && r.Findings[0].Failed && r.Findings[0].Verdict == rulebook.Flag
	}
	second := o.record(visit(t, "K-2", "甲", day.AddDate(0, 0, 1)))
	other := o.record(visit(t, "K-3", "乙", day.AddDate(0, 0, 1)))
	results := o.desk.RecordAll(t.Context(), []domain.Command{visit(t, "K-4", "甲", day.AddDate(0, 0, 2)), visit(t, "K-5", "丁", day)})
	for _, r := range append([]domain.Receipt{second, other}, results[0].Receipt, results[1].Receipt) {
		if !unanswered(r) {
			t.Errorf("recorded while it is down: %+v, %v, %v", r, results[0].Err, results[1].Err)
		}
	}
	order := visit(t, "K-2", "甲", time.Now().Add(-time.Minute))
	order.ID, order.Act, order.Agency, order.Procedure = "order", "order", "", ""
	var refusal *domain.Refusal
	var ask *domain.Unanswered
	if r, err := o.desk.Record(t.Context(), order); err == nil || errors.As(err, &refusal) || errors.As(err, &ask) {
		t.Errorf("an order while it is down: %+v, %v; want the fault", r, err)
	}
	if res := o.desk.RecordAll(t.Context(), []domain.Command{order})[0]; res.Err == nil {
		t.Errorf("an order in bulk while it is down: %+v", res.Receipt)
	}
	done := order
	done.ID, done.AlreadyDone, done.Reason = "done", true, "已责令"
	if r := o.record(done); len(r.Findings) != 1 || !r.Findings[0].Failed {
		t.Errorf("an order that was given already: %+v", r.Findings)
	}

	server = start()
	// says are what a case has noted of its first act: what was found, and what was taken back.
	says := func(id domain.CaseID) string {
		t.Helper()
		c, err := o.desk.Case(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, r := range c.After(1) {
			for _, f := range r.Findings {
				switch {
				case f.Lifts != "":
					all = append(all, "lifts "+f.Rule)
				case f.Of != "":
					all = append(all, f.Rule)
				}
			}
		}
		return strings.Join(all, ", ")
	}
	become := func(id domain.CaseID, want string) {
		t.Helper()
		eventually(t, fmt.Sprintf("%s says %q", id, want), func() bool { return says(id) == want })
	}
	become("K-3", "lifts T-001")
	become("K-5", "lifts T-001")
	become("K-4", "T-001, lifts T-001")
	eventually(t, "K-2 is judged", func() bool {
		return strings.HasPrefix(says("K-2"), "T-001, lifts T-001") && strings.Contains(says("K-2"), "lifts T-002")
	})
	if r, err := o.desk.Record(t.Context(), order); err != nil {
		t.Errorf("the order when it is up: %+v, %v", r, err)
	}

	// The first visit was to another firm: what was found of the second does not hold.
	corrected := visit(t, "K-1", "丙", day)
	corrected.ID, corrected.Agency, corrected.Procedure = "corrected", "", ""
	corrected.Corrects, corrected.Reason = first.Event, "企业名称写错"
	o.record(corrected)
	eventually(t, "what was found of K-2 is taken back", func() bool { return strings.Count(says("K-2"), "lifts T-001") == 2 })
	settle := func() {
		t.Helper()
		last, err := o.store.Last(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := db.WaitAll(t.Context(), uint64(last)); err != nil {
			t.Fatal(err)
		}
	}
	settle()
	list, err := db.Findings(t.Context(), projections.FindingsFilter{Case: "K-2", Rule: "T-001"}, projections.Page{Limit: 10})
	if err != nil || len(list.Items) != 4 {
		t.Fatalf("findings of K-2: %+v, %v", list.Items, err)
	}
	slices.Reverse(list.Items) // the first first
	for i, item := range list.Items {
		lift := item.Lifts != ""
		if lift != (i == 2 || i == 3) || item.Lifted == lift {
			t.Errorf("finding %d of K-2: lifts %q, lifted %v: %+v", i, item.Lifts, item.Lifted, item)
		}
	}
	counts, err := db.CountFindings(t.Context(), projections.FindingsFilter{Case: "K-2"})
	if err != nil || len(counts) != 0 {
		t.Errorf("findings of K-2 that stand: %+v, %v", counts, err)
	}
	o.record(visit(t, "K-9", "甲", day.AddDate(0, 0, -1)))
	eventually(t, "K-2 is found again", func() bool { return strings.HasSuffix(says("K-2"), "lifts T-001, T-001") })

	// All of it is judged the same again.
	settle()
	found, _, err := db.Load(t.Context(), []domain.CaseID{"K-1", "K-2", "K-3", "K-4", "K-5", "K-9"})
	if err != nil {
		t.Fatal(err)
	}
	then := domain.Then{Facts: func(asked []domain.Asked) (domain.FactsThen, error) { return db.FactsThen(t.Context(), asked) }}
	for id, records := range found {
		if ds, err := domain.JudgeAgain(law, then, records); err != nil || len(ds) > 0 {
			t.Errorf("%s judged again: %+v, %v", id, ds, err)
		}
	}
	report, err := projections.Rebuild(t.Context(), db, o.store, nil, nil)
	if err != nil || !report.Clean() {
		t.Errorf("filled anew: %+v, %v", report, err)
	}
}
