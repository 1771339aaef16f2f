package projections

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"liuhen/domain"
	"liuhen/internal/pgtest"
)

// benchCases is the size of the office that the benchmarks measure with:
// LIUHEN_BENCH_CASES, or 20,000.
func benchCases() int {
	if n, err := strconv.Atoi(os.Getenv("LIUHEN_BENCH_CASES")); err == nil {
		return n
	}
	return 20_000
}

// bigOffice is an office with many cases of about four acts each, in the order
// of time: the acts of a case lie months apart, as they do in life.
var bigOffice = sync.OnceValue(func() *office {
	return makeBigOffice(benchCases())
})

type fatal struct{ testing.TB }

func (fatal) Helper()                   {}
func (fatal) Fatal(args ...any)         { panic(fmt.Sprint(args...)) }
func (fatal) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

func makeBigOffice(cases int) *office {
	o := newOffice(fatal{})
	random := rand.New(rand.NewPCG(1, 2))
	type due struct {
		id   domain.CaseID
		next int
	}
	const perDay = 30
	var waiting [4000][]due // by day, around
	begin := o.day
	for d, opened := 0, 0; ; d++ {
		o.day = begin.AddDate(0, 0, d)
		slot := &waiting[d%len(waiting)]
		for _, w := range *slot {
			switch w.next {
			case 1:
				if random.IntN(20) > 0 {
					o.act(w.id, "notice", nil)
				}
			case 2:
				o.act(w.id, "decide", fields{"document_number": fmt.Sprintf("沈科罚〔%d〕%d号", o.day.Year(), o.n), "amount": 100_00 * (1 + random.IntN(50))})
			case 3:
				o.act(w.id, "serve", nil)
			}
			if w.next < 3 {
				at := d + 5 + random.IntN(80)
				waiting[at%len(waiting)] = append(waiting[at%len(waiting)], due{id: w.id, next: w.next + 1})
			}
		}
		*slot = nil
		if opened >= cases {
			if d > cases/perDay+300 {
				return o
			}
			continue
		}
		for range perDay {
			opened++
			id := domain.CaseID(fmt.Sprintf("沈科案%06d", opened))
			o.file(id, places[random.IntN(len(places))]+names[random.IntN(len(names))]+names[random.IntN(len(names))]+kinds[random.IntN(len(kinds))])
			at := d + 5 + random.IntN(80)
			waiting[at%len(waiting)] = append(waiting[at%len(waiting)], due{id: id, next: 1})
		}
	}
}

var (
	places = []string{"沈阳", "大连", "鞍山", "抚顺", "本溪", "丹东", "锦州", "营口", "阜新", "辽阳"}
	names  = []string{"新", "华", "联", "科", "创", "达", "信", "安", "宏", "盛", "鑫", "瑞", "远", "东", "北", "星", "海", "天", "诚", "德"}
	kinds  = []string{"科技有限公司", "贸易有限公司", "生物技术股份有限公司", "商行", "工程咨询有限责任公司"}
)

// BenchmarkRebuild fills each read model anew, and copies the rows that come
// out into tables of the same kind, which is as fast as the database can be.
func BenchmarkRebuild(b *testing.B) {
	o := bigOffice()
	pool := pgtest.New(b)
	db, err := open(b.Context(), pool, o.book, All)
	if err != nil {
		b.Fatal(err)
	}
	records, _, _ := o.tape.look()
	target := uint64(len(records))
	if err := fillFirst(b.Context(), db, o.tape, All, target); err != nil {
		b.Fatal(err)
	}
	sets := map[string][]Projection{"all": All}
	for _, p := range All {
		sets[p.Name] = []Projection{p}
	}
	for _, name := range []string{"timeline", "ledger", "deadlines", "findings", "stats", "all"} {
		models := sets[name]
		b.Run(name, func(b *testing.B) {
			var filled, copied time.Duration
			var rows int64
			for range b.N {
				began := time.Now()
				err := db.alone(b.Context(), models, func(ctx context.Context) error {
					writers, err := fill(ctx, db, o.tape, models, target, func(Progress) {})
					defer closeAll(writers)
					for _, w := range writers {
						if err := w.finish(ctx); err != nil {
							return err
						}
					}
					filled += time.Since(began)
					if err != nil {
						return err
					}
					rows = 0
					for _, w := range writers {
						n, took, err := copyFrom(ctx, db, w.projection, w.schema)
						if err != nil {
							return err
						}
						rows += n
						copied += took
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(filled.Seconds()/float64(b.N), "s/rebuild")
			b.ReportMetric(copied.Seconds()/float64(b.N), "s/copy")
			b.ReportMetric(copied.Seconds()/filled.Seconds(), "of-copy")
			b.ReportMetric(float64(target)*float64(b.N)/filled.Seconds(), "records/s")
			b.ReportMetric(float64(rows)/1, "rows")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkFollow measures the models together on a stream that is there
// already, with the indexes that questions need.
func BenchmarkFollow(b *testing.B) {
	o := bigOffice()
	records, _, _ := o.tape.look()
	for range b.N {
		b.StopTimer()
		pool := pgtest.New(b)
		db, err := open(b.Context(), pool, o.book, All)
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		writers := make([]*writer, len(All))
		for i, p := range All {
			if writers[i], err = db.openWriter(b.Context(), p, p.schema()); err != nil {
				b.Fatal(err)
			}
		}
		err = copyUp(b.Context(), newFolder(db, o.tape, inMemory, All...), writers, maxBatch, func() uint64 { return uint64(len(records)) }, func() {})
		if err != nil {
			b.Fatal(err)
		}
		closeAll(writers)
	}
	b.ReportMetric(float64(len(records))*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkApplyOne measures what one act costs until it can be read in every
// model.
func BenchmarkApplyOne(b *testing.B) {
	o, db := started(b)
	o.file("K-1", "沈阳新科技有限公司")
	o.settle(db)
	b.ResetTimer()
	for range b.N {
		id := domain.CaseID(fmt.Sprintf("K-%d", 1+o.n/20)) // 20 acts a case
		if o.cases[id] == nil {
			o.file(id, "沈阳新科技有限公司")
		}
		r := o.act(id, "inspect", nil)
		if err := db.WaitAll(b.Context(), r.Position); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkQuestions measures what is asked of a big office.
func BenchmarkQuestions(b *testing.B) {
	o := bigOffice()
	pool := pgtest.New(b)
	db, err := open(b.Context(), pool, o.book, All)
	if err != nil {
		b.Fatal(err)
	}
	records, _, _ := o.tape.look()
	if err := fillFirst(b.Context(), db, o.tape, All, uint64(len(records))); err != nil {
		b.Fatal(err)
	}
	random := rand.New(rand.NewPCG(3, 4))
	anyone := func() domain.CaseID { return domain.CaseID(fmt.Sprintf("沈科案%06d", 1+random.IntN(benchCases()))) }
	now := o.day
	ctx := b.Context()
	closed := false
	for _, q := range []struct {
		name string
		ask  func() error
	}{
		{"load one case", func() error { _, _, err := db.Load(ctx, []domain.CaseID{anyone()}); return err }},
		{"load 500 cases", func() error {
			ids := make([]domain.CaseID, 500)
			for i := range ids {
				ids[i] = anyone()
			}
			_, _, err := db.Load(ctx, ids)
			return err
		}},
		{"timeline", func() error { _, err := db.Timeline(ctx, TimelineFilter{Case: anyone()}, Page{}); return err }},
		{"ledger, first page", func() error { _, err := db.Ledger(ctx, LedgerFilter{}, Page{}); return err }},
		{"ledger, search 2 characters", func() error {
			_, err := db.Ledger(ctx, LedgerFilter{Query: places[random.IntN(len(places))]}, Page{})
			return err
		}},
		{"ledger, search 4 characters", func() error {
			_, err := db.Ledger(ctx, LedgerFilter{Query: places[random.IntN(len(places))] + names[random.IntN(len(names))] + names[random.IntN(len(names))]}, Page{})
			return err
		}},
		{"ledger, search a case number", func() error { _, err := db.Ledger(ctx, LedgerFilter{Query: string(anyone())}, Page{}); return err }},
		{"ledger, search digits", func() error {
			_, err := db.Ledger(ctx, LedgerFilter{Query: fmt.Sprint(10000 + random.IntN(benchCases()))}, Page{})
			return err
		}},
		{"ledger, search nothing", func() error {
			_, err := db.Ledger(ctx, LedgerFilter{Query: "沈阳不存在公司"}, Page{})
			return err
		}},
		{"ledger, by officer and open", func() error {
			_, err := db.Ledger(ctx, LedgerFilter{Officer: "zhao", Closed: &closed}, Page{})
			return err
		}},
		{"ledger, count capped at 10,000", func() error { _, err := db.CountLedger(ctx, LedgerFilter{Query: "沈阳"}, 10_000); return err }},
		{"deadlines", func() error { _, err := db.Deadlines(ctx, DeadlinesFilter{Now: now}, Page{}); return err }},
		{"deadlines, yellow", func() error {
			_, err := db.Deadlines(ctx, DeadlinesFilter{Now: now, Light: Yellow}, Page{})
			return err
		}},
		{"findings of a rule", func() error { _, err := db.Findings(ctx, FindingsFilter{Rule: "I-4"}, Page{}); return err }},
		{"findings counted", func() error { _, err := db.CountFindings(ctx, FindingsFilter{}); return err }},
		{"stats", func() error { _, err := db.Count(ctx, nil); return err }},
	} {
		b.Run(q.name, func(b *testing.B) {
			var took []time.Duration
			for range b.N {
				began := time.Now()
				if err := q.ask(); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-p50")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms-p99")
		})
	}
}
