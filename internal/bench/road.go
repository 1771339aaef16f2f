package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"liuhen/casework"
	"liuhen/domain"
	"liuhen/domain/law"
	"liuhen/domain/rulebook"
	"liuhen/eventstore"
	"liuhen/internal/postgres"
	"liuhen/projections"
)

// An office is the whole road in this process: store, read models, desk, with
// the settings of the program.
type office struct {
	dir   string
	store *eventstore.Store
	db    *projections.DB
	desk  *casework.Desk
	pool  *pgxpool.Pool
	close func()

	following bool
}

// Without following there are no read models: cases come from memory alone.
func openOffice(ctx context.Context, following bool) (*office, error) {
	dir, err := os.MkdirTemp("", "liuhen-bench")
	if err != nil {
		return nil, err
	}
	quiet := slog.New(slog.DiscardHandler)
	book, err := rulebook.Load(law.Files)
	if err != nil {
		return nil, err
	}
	pg, err := postgres.Start(ctx, postgres.Config{Dir: filepath.Join(dir, "pg"), Logger: quiet})
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.New(ctx, pg.URL("liuhen"))
	if err != nil {
		return nil, err
	}
	db, err := projections.Open(ctx, pool, book)
	if err != nil {
		return nil, err
	}
	server, err := eventstore.Embedded(filepath.Join(dir, "nats"), eventstore.ServerOptions{})
	if err != nil {
		return nil, err
	}
	store, err := eventstore.Open(ctx, eventstore.Config{Server: server, Volume: "ENF", MaxLag: 200_000, Logger: quiet})
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	g, running := errgroup.WithContext(running)
	g.Go(func() error { return store.Run(running) })
	var cases casework.Cases
	if following {
		cases = db
		g.Go(func() error { return projections.RunAll(running, db, store, quiet, projections.All...) })
		g.Go(func() error { return release(running, db, store) })
	}
	return &office{
		dir: dir, store: store, db: db, pool: pool, following: following,
		desk: casework.New(book, store, cases, casework.Options{}),
		close: func() {
			stop()
			_ = g.Wait()
			pool.Close()
			_ = pg.Stop(context.WithoutCancel(ctx))
			server.Shutdown()
			_ = os.RemoveAll(dir)
		},
	}, nil
}

// release tells the store how far the read models are.
func release(ctx context.Context, db *projections.DB, store *eventstore.Store) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			store.Release(eventstore.Position(db.Slowest()))
		}
	}
}

// A small act of the ordinary penalty, with fields that are checked and rules
// that are judged.
func evidence(id string, c domain.CaseID, n int) domain.Command {
	return domain.Command{
		ID: id, Case: c, Act: "collect-evidence", At: time.Now().Add(-time.Minute),
		Actor:    domain.Actor{ID: "li", Name: "李明", Roles: []string{"handler"}},
		Officers: officers,
		Fields: map[string]json.RawMessage{
			"evidence_no":  json.RawMessage(fmt.Sprintf(`"E%d"`, n)),
			"kind":         json.RawMessage(`"electronic"`),
			"source":       json.RawMessage(`"网络平台"`),
			"collector":    json.RawMessage(`"li"`),
			"collected_at": json.RawMessage(`"2026-11-23T09:00:00+08:00"`),
		},
	}
}

func clue(id string, c domain.CaseID) domain.Command {
	return domain.Command{
		ID: id, Case: c, Agency: "210100-kjj", Procedure: "penalty-ordinary", Act: "receive-clue", At: time.Now().Add(-time.Minute),
		Actor:  domain.Actor{ID: "li", Name: "李明", Roles: []string{"handler"}},
		Fields: map[string]json.RawMessage{"source": json.RawMessage(`"report"`), "summary": json.RawMessage(`"群众举报"`)},
	}
}

var officers = []rulebook.Officer{{ID: "li", Name: "李明"}, {ID: "zhao", Name: "赵强"}}

// load records acts with n commands in flight for a while.
func (o *office) load(ctx context.Context, n int, d time.Duration, next func(i int64) domain.Command) (float64, []time.Duration, error) {
	var i atomic.Int64
	lat := make([][]time.Duration, n)
	g, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	for w := range n {
		g.Go(func() error {
			for time.Since(start) < d {
				cmd := next(i.Add(1))
				t := time.Now()
				if _, err := o.desk.Record(ctx, cmd); err != nil {
					return err
				}
				lat[w] = append(lat[w], time.Since(t))
			}
			return nil
		})
	}
	err := g.Wait()
	all := flat(lat)
	return float64(len(all)) / time.Since(start).Seconds(), all, err
}

// openCases opens many cases at once and waits until the read models have them.
func (o *office) openCases(ctx context.Context, prefix string, n int) error {
	for from := 0; from < n; from += 2000 {
		var commands []domain.Command
		for i := from; i < min(n, from+2000); i++ {
			id := fmt.Sprintf("%s%d", prefix, i)
			commands = append(commands, clue("open-"+id, domain.CaseID(id)))
		}
		for _, res := range o.desk.RecordAll(ctx, commands) {
			if res.Err != nil {
				return res.Err
			}
		}
	}
	return o.settle(ctx)
}

// settle waits until the read models have come to the end.
func (o *office) settle(ctx context.Context) error {
	last, err := o.store.Last(ctx)
	if err != nil || !o.following {
		return err
	}
	return o.db.WaitAll(ctx, uint64(last))
}

const manyCases = 20_000

// wanted is the share of the raw single publish that acts should reach, by how
// many are in flight.
var wanted = map[int]float64{1: 0.5, 64: 2, 1024: 5}

// benchRoad measures the road as far as the receipt, alone and with the read
// models following on the same cores.
func benchRoad(ctx context.Context, o options, r *report) error {
	for _, following := range []bool{false, true} {
		if o.models != "both" && following != (o.models == "with") {
			continue
		}
		if err := benchRoadOf(ctx, o, r, following); err != nil {
			return err
		}
	}
	return nil
}

func benchRoadOf(ctx context.Context, o options, r *report, following bool) error {
	off, err := openOffice(ctx, following)
	if err != nil {
		return err
	}
	defer off.close()
	if err := off.openCases(ctx, "案-", manyCases); err != nil {
		return err
	}
	with := ""
	if following {
		with = ", read models following"
	}
	raw, err := openRaw()
	if err != nil {
		return err
	}
	defer raw.close()
	for round := range o.rounds {
		for _, level := range o.levels {
			rate, lat, err := raw.single(ctx, 1, payload, o.seconds)
			if err != nil {
				return err
			}
			r.add("Raw limits", rawSingle, "records/s", rate, lat)
			used := processorTime()
			rate, lat, err = off.load(ctx, level, o.seconds, func(i int64) domain.Command {
				c := domain.CaseID(fmt.Sprintf("案-%d", (i*7919)%manyCases))
				return evidence(fmt.Sprintf("r%d-%d-%d", round, level, i), c, int(i))
			})
			if err != nil {
				return err
			}
			m := r.add("The road: acts judged, checked and on disk", fmt.Sprintf("acts, %d in flight over %d cases%s", level, manyCases, with), "acts/s", rate, lat)
			r.besideNow(m, rawSingle, wanted[level])
			if err := off.settle(ctx); err != nil {
				return err
			}
			// With read models following, until they have followed.
			now := processorTime()
			for _, who := range sortedKeys(now) {
				r.add("Processor time an act", fmt.Sprintf("%s, %d in flight%s", who, level, with), "µs", (now[who]-used[who])/float64(len(lat))*1e6, nil)
			}
		}
	}
	return nil
}

// processorTime is how many seconds of processor time this process (the acts,
// liuhen, and the NATS server inside) has used, and the processes of
// PostgreSQL on this machine.
func processorTime() map[string]float64 {
	used := make(map[string]float64, 2)
	var own syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &own) // never fails for the process itself
	used["the program with NATS and the load"] = time.Duration(own.Utime.Nano() + own.Stime.Nano()).Seconds()
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is good
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		if _, rest, ok := strings.Cut(string(text), "(postgres) "); ok {
			fields := strings.Fields(rest) // from the third of proc_pid_stat(5) on
			user, _ := strconv.ParseFloat(fields[11], 64)
			system, _ := strconv.ParseFloat(fields[12], 64)
			used["PostgreSQL"] += (user + system) / 100 // in ticks, of which Linux shows 100 a second
		}
	}
	return used
}

// benchCold sets acts on cases that lie untouched since the beginning of a
// long stream beside the same act on cases that have just been opened.
func benchCold(ctx context.Context, o options, r *report) error {
	off, err := openOffice(ctx, true)
	if err != nil {
		return err
	}
	defer off.close()
	const old, fresh = 60_000, 10_000
	if err := off.openCases(ctx, "旧-", old); err != nil {
		return err
	}
	perCase := 50
	for n := 0; n < o.cold; n += perCase * 1000 {
		var commands []domain.Command
		for c := range 1000 {
			id := fmt.Sprintf("填-%d-%d", n, c)
			commands = append(commands, clue("f-"+id, domain.CaseID(id)))
			for e := range perCase - 1 {
				commands = append(commands, evidence(fmt.Sprintf("f-%s-%d", id, e), domain.CaseID(id), e))
			}
		}
		for _, res := range off.desk.RecordAll(ctx, commands) {
			if res.Err != nil {
				return res.Err
			}
		}
		fmt.Fprintf(os.Stderr, "\r  %d records before the cold cases are touched", n+len(commands))
	}
	fmt.Fprintln(os.Stderr)
	if err := off.settle(ctx); err != nil {
		return err
	}
	r.Settings["cold"] = fmt.Sprintf("%d records in the stream after the cold cases", o.cold)
	if err := off.tidy(ctx); err != nil {
		return err
	}
	touched := 0
	for round := range o.rounds {
		prefix := fmt.Sprintf("新-%d-", round)
		if err := off.openCases(ctx, prefix, fresh); err != nil {
			return err
		}
		rate, lat, err := off.load(ctx, 64, min(o.seconds, 2*time.Second), func(i int64) domain.Command {
			return evidence(fmt.Sprintf("fresh-%d-%d", round, i), domain.CaseID(fmt.Sprint(prefix, i%fresh)), 1)
		})
		if err != nil {
			return err
		}
		r.add("Old cases", freshCases, "acts/s", rate, lat)
		if err := off.settle(ctx); err != nil {
			return err
		}
		from := touched
		rate, lat, err = off.load(ctx, 64, min(o.seconds, 2*time.Second), func(i int64) domain.Command {
			return evidence(fmt.Sprintf("cold-%d", int64(from)+i), domain.CaseID(fmt.Sprintf("旧-%d", (int64(from)+i)%old)), 1)
		})
		if err != nil {
			return err
		}
		touched += len(lat)
		cold := r.add("Old cases", coldCases, "acts/s", rate, lat)
		if touched > old {
			cold.Note = "some cases were touched before"
		}
		r.besideNow(cold, freshCases, 0.7)
		if err := off.settle(ctx); err != nil {
			return err
		}
	}
	return nil
}

// tidy lets the database finish what filling it left behind, which a system
// that grew in months has long done.
func (o *office) tidy(ctx context.Context) error {
	for _, statement := range []string{"vacuum analyze", "checkpoint"} {
		if _, err := o.pool.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

const (
	coldCases  = "acts on cases untouched since the stream began, 64 in flight"
	freshCases = "acts on cases just opened, 64 in flight"
)
