package projections

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"liuhen/domain"
	"liuhen/internal/pgtest"
	"liuhen/internal/postgres"
)

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !holds() {
		if !pause(ctx, 5*time.Millisecond) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func state(db *DB, model string) Status {
	for _, s := range db.Status() {
		if s.Model == model {
			return s
		}
	}
	panic("no model " + model)
}

// fragile is a model of one column whose Apply can be made to fail after its
// rows have been written.
type fragile struct {
	Projection
	fail atomic.Pointer[error]
}

func newFragile() *fragile {
	f := &fragile{}
	f.Projection = Projection{
		Name: "fragile", Version: 1,
		Schema: `create table seen (position bigint primary key)`,
		Apply: func(ctx context.Context, tx pgx.Tx, b *Batch) error {
			rows := make([][]any, len(b.Records))
			for i, r := range b.Records {
				rows[i] = []any{int64(r.Position)}
			}
			if err := copyRows(ctx, tx, "seen", []string{"position"}, rows); err != nil {
				return err
			}
			if err := f.fail.Load(); err != nil {
				return *err
			}
			return nil
		},
	}
	return f
}

func (f *fragile) failWith(err error) {
	if err == nil {
		f.fail.Store(nil)
		return
	}
	f.fail.Store(&err)
}

// TestRowsAndPositionTogether fails a model after it has written its rows:
// neither rows nor position are there, the others go on, and when the fault is
// gone the model catches up without a record left out or doubled.
func TestRowsAndPositionTogether(t *testing.T) {
	o := newOffice(t)
	f := newFragile()
	db, _ := o.run(pgtest.New(t), append(slices.Clone(All), f.Projection)...)
	o.file("K-1", "甲")
	o.settle(db)

	f.failWith(errTest)
	for i := range 5 {
		o.file(domain.CaseID(fmt.Sprintf("K-%d", i+2)), "乙")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if _, err := db.Wait(ctx, "ledger", uint64(i+2)); err != nil { // the others are not held up
			t.Fatal(err)
		}
		cancel()
	}
	eventually(t, "the model says that it waits, and for what", func() bool {
		s := state(db, "fragile")
		return s.State == Waiting && strings.Contains(s.Error, errTest.Error())
	})
	if got := seen(t, db); got != "1" {
		t.Errorf("rows while the model fails: %s, want 1", got)
	}
	if at, err := readPosition(t.Context(), db.pool, "fragile_v1"); at != 1 || err != nil {
		t.Errorf("position while the model fails: %d, %v; want 1", at, err)
	}

	f.failWith(nil)
	o.settle(db)
	if got := seen(t, db); got != "1 2 3 4 5 6" {
		t.Errorf("rows after the fault: %s, want 1 to 6", got)
	}
	eventually(t, "the model runs with the others again", func() bool { return state(db, "fragile").State == Running })
	o.file("K-9", "丙")
	o.settle(db)
}

func seen(t *testing.T, db *DB) string {
	t.Helper()
	rows, err := db.pool.Query(t.Context(), `select position::text from fragile_v1.seen order by position`)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

// TestKilledInTheMiddle ends the database session of each model again and
// again while it writes.
func TestKilledInTheMiddle(t *testing.T) {
	o := newOffice(t)
	pool := pgtest.New(t)
	db, _ := o.run(pool)
	for i := range 200 {
		o.file(domain.CaseID(fmt.Sprintf("K-%d", i)), "甲")
		o.act(domain.CaseID(fmt.Sprintf("K-%d", i/2)), "inspect", nil)
		if i%10 == 0 {
			if _, err := pool.Exec(t.Context(), `
				select pg_terminate_backend(pid)
				from pg_stat_activity
				where datname = current_database() and application_name like 'liuhen %'`); err != nil {
				t.Fatal(err)
			}
		}
	}
	o.settle(db)
	o.agree(db)
}

// TestTwoRunners keeps the same models in two processes: what one writes the
// other leaves, and when one ends the other takes over.
func TestTwoRunners(t *testing.T) {
	o := newOffice(t)
	pool := pgtest.New(t)
	one, stop := o.run(pool)
	two, _ := o.run(pool)
	act := func(from, to int) {
		for i := from; i < to; i++ {
			o.file(domain.CaseID(fmt.Sprintf("K-%d", i)), "甲")
			o.act(domain.CaseID(fmt.Sprintf("K-%d", i)), "inspect", nil)
		}
	}
	act(0, 300)
	o.settle(one)
	o.settle(two) // it hears of what the other has written
	act(300, 600)
	o.settle(one)
	o.agree(one)

	act(600, 610)
	stop()
	act(610, 700)
	o.settle(two)
	o.agree(two)
	cases, through, err := two.Load(t.Context(), []domain.CaseID{"K-699"})
	if err != nil || len(cases["K-699"]) != 2 || through != 1400 {
		t.Errorf("the last case has %d records through %d, %v; want 2 through 1400", len(cases["K-699"]), through, err)
	}
}

// TestFence lets two writers apply the same batch: one of them does, whole.
func TestFence(t *testing.T) {
	o := newOffice(t)
	for i := range 50 {
		o.file(domain.CaseID(fmt.Sprintf("K-%d", i)), "甲")
	}
	db, err := open(t.Context(), pgtest.New(t), o.book, All)
	if err != nil {
		t.Fatal(err)
	}
	records, _, _ := o.tape.look()
	var fenced atomic.Int64
	var g sync.WaitGroup
	for range 4 {
		g.Go(func() {
			w, err := db.openWriter(t.Context(), timeline, timeline.schema())
			if err != nil {
				t.Error(err)
				return
			}
			defer w.close()
			b, err := newFolder(db, o.tape, maxBatch).prepare(t.Context(), records, false)
			if err != nil {
				t.Error(err)
				return
			}
			w.at = 0 // as if it had not looked since
			switch err := w.apply(t.Context(), b); {
			case errors.Is(err, errFenced):
				fenced.Add(1)
			case err != nil:
				t.Error(err)
			}
		})
	}
	g.Wait()
	if got := fenced.Load(); got != 3 {
		t.Errorf("%d of 4 writers were fenced, want 3", got)
	}
	var rows int
	if err := db.pool.QueryRow(t.Context(), `select count(*) from timeline_v1.record`).Scan(&rows); err != nil || rows != 50 {
		t.Errorf("%d rows, %v; want 50", rows, err)
	}
}

// TestBrokenReading breaks the record under the models: they say so, and go
// on when it is whole.
func TestBrokenReading(t *testing.T) {
	o, db := started(t)
	o.file("K-1", "甲")
	o.settle(db)
	o.tape.breakWith(errTest)
	o.file("K-2", "甲")
	eventually(t, "every model waits", func() bool {
		return !slices.ContainsFunc(db.Status(), func(s Status) bool { return s.State != Waiting || !strings.Contains(s.Error, "broken") })
	})
	o.tape.breakWith(nil)
	o.settle(db)
	eventually(t, "every model runs", func() bool {
		return !slices.ContainsFunc(db.Status(), func(s Status) bool { return s.State != Running })
	})
}

// TestNotARecord stops every model at bytes that are no record: none skips it.
func TestNotARecord(t *testing.T) {
	o, db := started(t)
	o.file("K-1", "甲")
	o.settle(db)
	o.tape.add("K-1", o.day, []byte(`{"specversion":"1.0"}`))
	o.file("K-2", "甲")
	eventually(t, "every model waits at what is not a record", func() bool {
		return !slices.ContainsFunc(db.Status(), func(s Status) bool {
			return s.State != Waiting || s.Position != 1 || !strings.Contains(s.Error, "position 2")
		})
	})
}

// TestBrokenChain stops the models that fold cases at a record that does not
// follow, and only them.
func TestBrokenChain(t *testing.T) {
	o, db := started(t)
	o.file("K-1", "甲")
	o.act("K-1", "inspect", nil)
	records, _, _ := o.tape.look()
	o.tape.add("K-1", o.day, records[1].Data) // the same again
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := db.Wait(ctx, "timeline", 3); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the ledger waits and says why", func() bool {
		s := state(db, "ledger")
		return s.State == Waiting && s.Position <= 2 && strings.Contains(s.Error, "chain")
	})
}

// TestColdCases has more cases than memory keeps, each touched again and
// again: they are read from the timeline.
func TestColdCases(t *testing.T) {
	o := newOffice(t)
	pool := pgtest.New(t)
	db, err := open(t.Context(), pool, o.book, All)
	if err != nil {
		t.Fatal(err)
	}
	const cases = 40
	for round := range 5 {
		for i := range cases {
			id := domain.CaseID(fmt.Sprintf("K-%d", i))
			if round == 0 {
				o.file(id, "甲")
			} else {
				o.act(id, "inspect", nil)
			}
		}
	}
	f := newFolder(db, o.tape, 10, All...)
	var writers []*writer
	for _, p := range All {
		w, err := db.openWriter(t.Context(), p, p.schema())
		if err != nil {
			t.Fatal(err)
		}
		defer w.close()
		writers = append(writers, w)
	}
	// Batches are read ahead of those that are applied, by one: no case may
	// come back within the batch that is on its way.
	if err := copyUp(t.Context(), f, writers, 5, func() uint64 { return 5 * cases }, func() {}); err != nil {
		t.Fatal(err)
	}
	if o.tape.loads != 0 {
		t.Errorf("%d cases were read from the record itself, want none", o.tape.loads)
	}
	o.agree(db)
}

func TestWait(t *testing.T) {
	o, db := started(t)
	r := o.file("K-1", "甲")
	if at, err := db.Wait(t.Context(), "ledger", r.Position); err != nil || at < r.Position {
		t.Fatalf("waited for %d: at %d, %v", r.Position, at, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := db.Wait(ctx, "ledger", 99); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waited for what does not come: %v, want the end of the context", err)
	}

	// Another process, which only reads.
	reader, err := Open(t.Context(), db.pool, o.book)
	if err != nil {
		t.Fatal(err)
	}
	r = o.file("K-2", "乙")
	if err := reader.WaitAll(t.Context(), r.Position); err != nil {
		t.Fatal(err)
	}
	if got := reader.Slowest(); got != r.Position {
		t.Errorf("the slowest model is at %d, want %d", got, r.Position)
	}
}

// TestDatabaseCrash kills the whole server under the models. What was lost
// with it is applied again.
func TestDatabaseCrash(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pg")
	start := func() *postgres.Server {
		s, err := postgres.Start(t.Context(), postgres.Config{Dir: dir, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	server := start()
	pool, err := pgxpool.New(t.Context(), server.URL("liuhen"))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	o := newOffice(t)
	db, stop := o.run(pool)
	act := func(from int) {
		for i := range 300 {
			o.file(domain.CaseID(fmt.Sprintf("K-%d", from+i)), "甲")
			o.act(domain.CaseID(fmt.Sprintf("K-%d", from+i/2)), "inspect", nil)
		}
	}
	act(0)
	if _, err := db.Wait(t.Context(), "timeline", 100); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(server.Pid(), syscall.SIGQUIT); err != nil { // the postmaster and all its children, without a checkpoint
		t.Fatal(err)
	}
	<-server.Done()
	_ = server.Stop(t.Context())
	act(300)
	server = start()
	o.settle(db)
	o.agree(db)
	stop()
	pool.Close()
	if err := server.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestStopsAndGoesOn ends the models and starts them again, over and over.
func TestStopsAndGoesOn(t *testing.T) {
	o := newOffice(t)
	pool := pgtest.New(t)
	var db *DB
	for i := range 10 {
		var stop func()
		db, stop = o.run(pool)
		for j := range 20 {
			id := domain.CaseID(fmt.Sprintf("K-%d", 20*i+j))
			o.file(id, "甲")
			o.act(domain.CaseID(fmt.Sprintf("K-%d", j)), "inspect", nil)
		}
		if i%2 == 0 {
			o.settle(db)
		}
		stop()
	}
	db, _ = o.run(pool)
	o.settle(db)
	o.agree(db)
}
