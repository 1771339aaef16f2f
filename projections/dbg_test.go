package projections

import (
	"fmt"
	"testing"
	"time"

	"liuhen/internal/pgtest"
)

func TestDbgExplain(t *testing.T) {
	o := bigOffice()
	pool := pgtest.New(t)
	db, err := open(t.Context(), pool, o.book, All)
	if err != nil {
		t.Fatal(err)
	}
	records, _, _ := o.tape.look()
	if err := fillFirst(t.Context(), db, o.tape, All, uint64(len(records))); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, f := range []LedgerFilter{{Query: "沈阳"}, {Query: "沈阳新华"}, {Query: "科技有限公司"}, {Query: "有限 公司"},{Query: "0123"}, {Query: "沈科案000123"}, {Party: "沈阳"}, {Officer: "zhao"}, {}} {
		q := f.question()
		began := time.Now()
		for range 5 {
			if _, err := db.Ledger(t.Context(), f, Page{}); err != nil {
				t.Fatal(err)
			}
		}
		fmt.Printf("\n%+v %v\n", f, time.Since(began)/5)
		rows, err := pool.Query(t.Context(), "explain (analyze, timing off) "+`
		select p.position, t.*
		from `+q.schema+`.position p
		left join lateral (`+q.inner()+`
			limit 51
		) t on true
		order by `+q.orderBy(), q.where.args...)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var s string
			rows.Scan(&s)
			fmt.Println(s)
		}
	}
	for _, ask := range []func() error{
		func() error { _, err := db.CountFindings(t.Context(), FindingsFilter{}); return err },
		func() error { _, err := db.Lights(t.Context(), DeadlinesFilter{Now: now}); return err },
		func() error { _, err := db.Deadlines(t.Context(), DeadlinesFilter{Now: now}, Page{}); return err },
		func() error { _, err := db.Deadlines(t.Context(), DeadlinesFilter{Now: now, Officer: "zhao"}, Page{}); return err },
		func() error { _, err := db.Count(t.Context(), nil); return err },
	} {
		began := time.Now()
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		fmt.Println(time.Since(began))
	}
}
