package projections

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/internal/pgtest"
)

// TestAudit changes a row behind the program's back: an audit names it and leaves it
// as it is, as often as it is asked.
func TestAudit(t *testing.T) {
	o, db, _ := corrected(t)
	if report, err := Audit(t.Context(), db, o.tape, nil, nil); err != nil || !report.Clean() || len(report.Models) != len(All) {
		t.Fatalf("before anything was changed: %+v (%v)", report, err)
	}
	if _, err := db.pool.Exec(t.Context(), `update ledger_v1.entry set parties = '{somebody else}' where case_id = 'K-1'`); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		report, err := Audit(t.Context(), db, o.tape, []string{"ledger"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		m := report.Models[0]
		if m.Differences != 1 || m.Examples[0].Table != "entry" || !strings.Contains(string(m.Examples[0].Key), "K-1") || !strings.Contains(string(m.Examples[0].Was), "somebody else") {
			t.Errorf("the audit finds %+v", m)
		}
	}
	var left int
	if err := db.pool.QueryRow(t.Context(), `select count(*) from pg_namespace where nspname like 'ledger%' and nspname <> 'ledger_v1'`).Scan(&left); err != nil || left != 0 {
		t.Errorf("the audit has left %d schemas (%v)", left, err)
	}
	if _, err := Rebuild(t.Context(), db, o.tape, []string{"ledger"}, nil); err != nil {
		t.Fatal(err)
	}
	if report, err := Audit(t.Context(), db, o.tape, []string{"ledger"}, nil); err != nil || !report.Clean() {
		t.Errorf("after a rebuild: %+v (%v)", report, err)
	}
}

// TestRebuildFindsChangedRows changes rows behind the program's back.
func TestRebuildFindsChangedRows(t *testing.T) {
	o, db, _ := corrected(t)
	for _, c := range []struct {
		model, sql string
		want       int64
		shows      string // in the examples
	}{
		{"timeline", `update timeline_v1.record set data = 'forged' where position = 2`, 1, `"position": 2`},
		{"timeline", `delete from timeline_v1.correction`, 1, `"by"`},
		{"ledger", `update ledger_v1.entry set parties = '{somebody else}' where case_id = 'K-1'`, 1, "somebody else"},
		{"ledger", `delete from ledger_v1.entry where case_id = 'K-2'`, 1, "大连华联商行"},
		{"ledger", `
			insert into ledger_v1.entry
			select (jsonb_populate_record(e, '{"case_id": "K-77"}')).*
			from ledger_v1.entry e
			where case_id = 'K-1'`, 1, "K-77"},
		{"ledger", `update ledger_v1.entry set stages = stages || '{"closed": "2025-03-09"}'`, 2, "closed"},
		{"deadlines", `update deadlines_v3.clock set due = due + 1, late = not late`, 3, "due"},
		{"findings", `delete from findings_v3.finding where number = 0`, 2, "veto"},
		{"stats", `update stats_v1.act set late = late + 1`, 3, "late"},
	} {
		if _, err := db.pool.Exec(t.Context(), c.sql); err != nil {
			t.Fatal(err)
		}
		report, err := Rebuild(t.Context(), db, o.tape, []string{c.model}, nil)
		if err != nil {
			t.Fatalf("%s: %v", c.sql, err)
		}
		m := report.Models[0]
		if m.Differences != c.want || report.Clean() {
			t.Errorf("%s\n%d differences, want %d", c.sql, m.Differences, c.want)
		}
		if !strings.Contains(show(m.Examples), c.shows) {
			t.Errorf("%s\nthe examples do not show %s: %s", c.sql, c.shows, show(m.Examples))
		}
		// What was wrong is gone.
		again, err := Rebuild(t.Context(), db, o.tape, []string{c.model}, nil)
		if err != nil || !again.Clean() {
			t.Errorf("%s\nthe rows differ again after a rebuild: %s, %v", c.sql, show(again.Models[0].Examples), err)
		}
	}
	o.act("K-2", "inspect", nil) // and it is kept as before
	o.settle(db)
	o.agree(db)
}

// TestRebuildOverForgedTimeline folds cold cases although the rows they are
// read from were changed: the digests give them away.
func TestRebuildOverForgedTimeline(t *testing.T) {
	o, db, _ := corrected(t)
	if _, err := db.pool.Exec(t.Context(), `
		update timeline_v1.record
		set data = convert_to(replace(convert_from(data, 'UTF8'), '沈阳新科技', '某某'), 'UTF8')`); err != nil {
		t.Fatal(err)
	}
	f := newFolder(db, o.tape, maxBatch, All...)
	records, _, _ := o.tape.look()
	b, err := f.prepare(t.Context(), records[3:4], false) // as if K-1 had left memory
	if err != nil || b.folded != nil {
		t.Fatal(err, b.folded)
	}
	if got := entryOf(b.Cases[0].Case).Parties; len(got) != 1 || got[0] != "沈阳新科技有限公司" {
		t.Errorf("the party is %q, want the one of the record", got)
	}
	if o.tape.loads != 1 {
		t.Errorf("%d cases were read from the record, want 1", o.tape.loads)
	}
}

// TestRebuildUnderWay rebuilds every model, twice, while acts are recorded and
// readers ask without a pause: no answer fails, none goes back in time, and
// none is torn.
func TestRebuildUnderWay(t *testing.T) {
	o := newOffice(t)
	db, _ := o.run(pgtest.New(t))
	const first = 200
	for i := range first {
		o.file(domain.CaseID(fmt.Sprintf("K-%d", i)), "沈阳新科技有限公司")
	}
	o.settle(db)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var asked atomic.Int64
	var g sync.WaitGroup
	ask := func(question func() (uint64, error)) {
		g.Go(func() {
			var before uint64
			for ctx.Err() == nil {
				at, err := question()
				if ctx.Err() != nil {
					return
				}
				if err != nil {
					t.Errorf("a read failed during the rebuild: %v", err)
					return
				}
				if at < before {
					t.Errorf("an answer is of position %d, after one of %d", at, before)
					return
				}
				before = at
				asked.Add(1)
			}
		})
	}
	ask(func() (uint64, error) {
		list, err := db.Ledger(ctx, LedgerFilter{Query: "科技"}, Page{Limit: 10})
		if err == nil && len(list.Items) != 10 {
			err = fmt.Errorf("%d cases, want 10", len(list.Items))
		}
		return list.Position, err
	})
	ask(func() (uint64, error) {
		var at uint64
		rows := 0
		for _, err := range db.EachLedger(ctx, LedgerFilter{}, func(p uint64) error { at = p; return nil }) {
			if err != nil {
				return at, err
			}
			rows++
		}
		if rows < first {
			return at, fmt.Errorf("%d cases in all, want %d or more", rows, first)
		}
		return at, nil
	})
	ask(func() (uint64, error) {
		cases, at, err := db.Load(ctx, []domain.CaseID{"K-0", "K-1"})
		if err == nil {
			if c, replayed := domain.Replay(o.book, cases["K-0"]); replayed != nil || c == nil {
				err = fmt.Errorf("K-0 does not replay: %w", replayed)
			}
		}
		return at, err
	})
	ask(func() (uint64, error) {
		s, err := db.Count(ctx, nil)
		var records int64
		for _, a := range s.Acts {
			records += a.Records
		}
		if err == nil && uint64(records) != s.Position {
			err = fmt.Errorf("%d records counted at position %d", records, s.Position)
		}
		return s.Position, err
	})
	ask(func() (uint64, error) {
		list, err := db.Deadlines(ctx, DeadlinesFilter{Now: time.Now()}, Page{})
		return list.Position, err
	})

	// This goroutine alone records, as it rebuilds in another.
	rebuilt := make(chan error, 1)
	go func() {
		for range 2 {
			report, err := Rebuild(ctx, db, o.tape, nil, nil)
			if err == nil && !report.Clean() {
				err = fmt.Errorf("the models differ from a fresh fill: %+v", report)
			}
			if err != nil {
				rebuilt <- err
				return
			}
		}
		rebuilt <- nil
	}()
	for i := 0; ; i++ {
		r := o.act(domain.CaseID(fmt.Sprintf("K-%d", i%first)), "inspect", nil)
		if _, err := db.Wait(ctx, "stats", r.Position); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-rebuilt:
			if err != nil {
				t.Fatal(err)
			}
			o.settle(db)
			cancel()
			g.Wait()
			t.Logf("%d questions and %d acts during two rebuilds", asked.Load(), i)
			o.agree(db)
			return
		default:
		}
	}
}

// TestReplaced reads the tables that were replaced, as a statement does that
// found them just before the switch: they answer as before, and take nothing more.
func TestReplaced(t *testing.T) {
	o := newOffice(t)
	db, stop := o.run(pgtest.New(t))
	o.file("K-1", "甲")
	o.settle(db)
	stop()
	ctx := t.Context()
	writers, err := fill(ctx, db, o.tape, []Projection{stats}, 1, func(Progress) {})
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(writers)
	if err := writers[0].take(ctx, o.tape); err != nil {
		t.Fatal(err)
	}
	replaced := stats.schema() + old
	if at, err := readPosition(ctx, db.pool, replaced); at != 1 || err != nil {
		t.Errorf("the replaced tables are at %d, %v; want 1", at, err)
	}
	w, err := db.openWriter(ctx, stats, replaced)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	o.file("K-2", "乙")
	records, _, _ := o.tape.look()
	b, err := newFolder(db, o.tape, maxBatch, stats).prepare(ctx, records[1:], false)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.apply(ctx, b); !errors.Is(err, errFenced) {
		t.Errorf("writing to the replaced tables gives %v, want %v", err, errFenced)
	}
}

// TestOlderTables opens tables from before replaced ones were marked.
func TestOlderTables(t *testing.T) {
	o := newOffice(t)
	pool := pgtest.New(t)
	db, stop := o.run(pool)
	o.file("K-1", "甲")
	o.settle(db)
	stop()
	if _, err := pool.Exec(t.Context(), `alter table stats_v1.position drop column closed`); err != nil {
		t.Fatal(err)
	}
	db, _ = o.run(pool)
	o.file("K-2", "乙")
	o.settle(db)
	o.agree(db)
}

// TestRebuildWithoutLive rebuilds while nobody keeps the models.
func TestRebuildWithoutLive(t *testing.T) {
	o := newOffice(t)
	db, stop := o.run(pgtest.New(t))
	o.file("K-1", "甲")
	o.settle(db)
	stop()
	o.file("K-2", "乙") // on the record, not in the models
	report, err := Rebuild(t.Context(), db, o.tape, nil, nil)
	if err != nil || !report.Clean() || report.Models[0].Position != 1 {
		t.Errorf("rebuild: %+v, %v; want clean at position 1", report, err)
	}
}

func TestOneRebuildAtATime(t *testing.T) {
	o, db, _ := corrected(t)
	var inner error
	_, err := Rebuild(t.Context(), db, o.tape, []string{"ledger"}, func(p Progress) {
		if p.Phase == "compare" {
			_, inner = Rebuild(t.Context(), db, o.tape, []string{"stats"}, nil)
		}
	})
	if err != nil || !errors.Is(inner, ErrRebuilding) {
		t.Errorf("rebuild %v, one within it %v; want the second to be refused", err, inner)
	}
	if _, err := Rebuild(t.Context(), db, o.tape, []string{"nothing"}, nil); err == nil || !strings.Contains(err.Error(), `"nothing"`) {
		t.Errorf("rebuild of an unknown model: %v", err)
	}
}

// TestRebuildStopped ends a rebuild in each of its phases: the models are as
// they were, nothing lies about, and the next one works.
func TestRebuildStopped(t *testing.T) {
	o, db, _ := corrected(t)
	for _, phase := range []string{"fill", "index", "compare", "switch"} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := Rebuild(ctx, db, o.tape, []string{"ledger", "timeline"}, func(p Progress) {
			if p.Phase == phase {
				cancel()
			}
		})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("stopped in phase %s: %v, want the end of the context", phase, err)
		}
		var beside int
		if err := db.pool.QueryRow(t.Context(), `select count(*) from pg_namespace where nspname like '%\_next' or nspname like '%\_old'`).Scan(&beside); err != nil || beside != 0 {
			t.Errorf("stopped in phase %s: %d schemas lie beside, %v; want none", phase, beside, err)
		}
		o.act("K-2", "inspect", nil)
		o.settle(db)
	}
	o.agree(db)
}

// TestNewVersion fills a new version of a model beside the old one.
func TestNewVersion(t *testing.T) {
	o := newOffice(t)
	pool := pgtest.New(t)
	f := newFragile()
	db, stop := o.run(pool, f.Projection)
	o.file("K-1", "甲")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := db.Wait(ctx, "fragile", 1); err != nil {
		t.Fatal(err)
	}
	stop()
	second := f.Projection
	second.Version = 2
	db, _ = o.run(pool, second)
	if _, err := db.Wait(ctx, "fragile", 1); err != nil {
		t.Fatal(err)
	}
	there := func(schema string) bool {
		yes, err := exists(t.Context(), pool, schema)
		if err != nil {
			t.Fatal(err)
		}
		return yes
	}
	if !there("fragile_v1") || !there("fragile_v2") {
		t.Error("the old version is gone before anyone asked for that")
	}
	if _, err := rebuild(t.Context(), db, o.tape, []Projection{second}, nil); err != nil {
		t.Fatal(err)
	}
	if there("fragile_v1") || !there("fragile_v2") {
		t.Error("after a rebuild the old version is there, or the new one is not")
	}
}

func TestCopyRows(t *testing.T) {
	_, db, _ := corrected(t)
	rows, took, err := CopyRows(t.Context(), db, "timeline")
	if err != nil || rows != 6 || took <= 0 { // five records and a correction
		t.Errorf("copied %d rows in %s, %v; want 6", rows, took, err)
	}
	if there, err := exists(t.Context(), db.pool, "timeline_v1_raw"); there || err != nil {
		t.Errorf("the copy is there afterwards: %v, %v", there, err)
	}
}

// TestFillEmpty begins with a long record and empty tables.
func TestFillEmpty(t *testing.T) {
	before := far
	far = 1000
	defer func() { far = before }()
	o := newOffice(t)
	for i := range 500 {
		id := domain.CaseID(fmt.Sprintf("K-%d", i))
		o.file(id, "甲")
		o.act(id, "inspect", nil)
		o.act(domain.CaseID(fmt.Sprintf("K-%d", i/2)), "decide", nil)
	}
	pool := pgtest.New(t)
	db, _ := o.run(pool)
	two, _ := o.run(pool) // a second process begins at the same time
	o.settle(db)
	o.settle(two)
	o.file("K-new", "乙")
	o.settle(db)
	o.agree(db)
	list, err := db.Findings(t.Context(), FindingsFilter{Since: calendar.MakeDate(2025, 1, 1)}, Page{})
	if err != nil || len(list.Items) == 0 {
		t.Errorf("%d findings after the fill, %v", len(list.Items), err)
	}
}
