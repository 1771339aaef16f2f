package projections

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"liuhen/internal/pgtest"
)

func TestDbgFollow(t *testing.T) {
	o := bigOffice()
	records, _, _ := o.tape.look()
	pool := pgtest.New(t)
	db, err := open(t.Context(), pool, o.book, All)
	if err != nil {
		t.Fatal(err)
	}
	writers := make([]*writer, len(All))
	for i, p := range All {
		if writers[i], err = db.openWriter(t.Context(), p, p.schema()); err != nil {
			t.Fatal(err)
		}
	}
	f := newFolder(db, o.tape, inMemory, All...)
	total := map[string]time.Duration{}
	n := 0
	for len(records) > 0 {
		part := records[:min(len(records), maxBatch)]
		records = records[len(part):]
		began := time.Now()
		b, err := f.prepare(t.Context(), part, false)
		if err != nil {
			t.Fatal(err)
		}
		total["fold"] += time.Since(began)
		for _, w := range writers {
			began := time.Now()
			if err := w.apply(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			total[w.projection.Name] += time.Since(began)
		}
		if n++; n%4 == 0 {
			fmt.Println(n, total)
			clear2(total)
		}
	}
	for _, w := range writers {
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.conn.PgConn().PID()))
		f := strings.Fields(string(data))
		fmt.Println(w.projection.Name, "backend cpu user", f[13], "sys", f[14])
	}
	rows, err := pool.Query(t.Context(), `select schemaname||'.'||relname, n_tup_upd, n_tup_hot_upd, n_dead_tup, pg_total_relation_size(relid)/1024/1024 from pg_stat_user_tables order by 1`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		v, _ := rows.Values()
		fmt.Println(v...)
	}
	var ru syscall.Rusage
	syscall.Getrusage(0, &ru)
	fmt.Println("go cpu", ru.Utime, ru.Stime)
	closeAll(writers)
}

func clear2(m map[string]time.Duration) {
	for k := range m {
		delete(m, k)
	}
}
