package projections

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"liuhen/domain"
	"liuhen/domain/rulebook"
	"liuhen/eventstore"
	"liuhen/internal/pgtest"
)

// A tape is a record in memory, for tests that make reading it fail.
type tape struct {
	mu      sync.Mutex // guards what follows
	records []eventstore.Record
	grown   chan struct{} // closed when records are added
	broken  error         // what reading gives
	loads   int           // calls of Load
}

func newTape() *tape { return &tape{grown: make(chan struct{})} }

func (t *tape) add(stream string, at time.Time, data []byte) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := eventstore.Position(len(t.records) + 1)
	t.records = append(t.records, eventstore.Record{Stream: stream, Position: p, At: at, Data: data})
	close(t.grown)
	t.grown = make(chan struct{})
	return uint64(p)
}

func (t *tape) breakWith(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.broken = err
	close(t.grown)
	t.grown = make(chan struct{})
}

func (t *tape) look() ([]eventstore.Record, chan struct{}, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.records, t.grown, t.broken
}

func (t *tape) FollowBatches(ctx context.Context, after eventstore.Position, most int) iter.Seq2[[]eventstore.Record, error] {
	return func(yield func([]eventstore.Record, error) bool) {
		for {
			records, grown, err := t.look()
			if err != nil {
				yield(nil, err)
				return
			}
			if int(after) < len(records) {
				part := records[after:min(len(records), int(after)+most)]
				if !yield(part, nil) {
					return
				}
				after += eventstore.Position(len(part))
				continue
			}
			select {
			case <-grown:
			case <-ctx.Done():
				yield(nil, ctx.Err())
				return
			}
		}
	}
}

func (t *tape) Load(_ context.Context, stream string) ([]eventstore.Record, eventstore.Position, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.loads++
	var found []eventstore.Record
	for _, r := range t.records {
		if r.Stream == stream {
			found = append(found, r)
		}
	}
	return found, eventstore.Position(len(t.records)), t.broken
}

func (t *tape) Last(context.Context) (eventstore.Position, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return eventstore.Position(len(t.records)), t.broken
}

// An office records acts on a tape, as casework does.
type office struct {
	tb    testing.TB
	book  *rulebook.Book
	tape  *tape
	cases map[domain.CaseID]*domain.Case
	day   time.Time // on which the next act is carried out and recorded
	n     int
}

func newOffice(tb testing.TB) *office {
	tb.Helper()
	book, err := rulebook.Load(os.DirFS("testdata/law"))
	if err != nil {
		tb.Fatal(err)
	}
	return &office{
		tb: tb, book: book, tape: newTape(), cases: make(map[domain.CaseID]*domain.Case),
		day: time.Date(2025, 3, 3, 9, 30, 0, 0, time.UTC),
	}
}

// fields are those of an act.
type fields map[string]any

// act records one act of a case; the first opens it. Changes are made to the
// command before it is carried out.
func (o *office) act(id domain.CaseID, name string, f fields, changes ...func(*domain.Command)) domain.Receipt {
	o.tb.Helper()
	o.n++
	cmd := domain.Command{
		ID: fmt.Sprintf("command-%d", o.n), Case: id, Act: name, At: o.day,
		Actor:    domain.Actor{ID: "li", Name: "李四", Roles: []string{"*"}},
		Officers: []rulebook.Officer{{ID: "li", Name: "李四"}, {ID: "zhao", Name: "赵六"}},
		Fields:   make(map[string]json.RawMessage),
	}
	for k, v := range f {
		data, err := json.Marshal(v)
		if err != nil {
			o.tb.Fatal(err)
		}
		cmd.Fields[k] = data
	}
	if o.cases[id] == nil {
		cmd.Procedure, cmd.Agency = "inspection", "kjj"
	}
	for _, change := range changes {
		change(&cmd)
	}
	event, err := domain.Decide(o.book, domain.Registers{}, o.cases[id], cmd, domain.Stamp{
		Event: fmt.Sprintf("event-%d", o.n), Salt: "salt", Now: o.day.Add(time.Minute),
	})
	if err != nil {
		o.tb.Fatalf("%s of %s: %v", name, id, err)
	}
	data, err := event.Encode()
	if err != nil {
		o.tb.Fatal(err)
	}
	at := o.tape.add(string(id), event.Recorded, data)
	r, err := domain.Read(at, event.Recorded, data)
	if err != nil {
		o.tb.Fatal(err)
	}
	if o.cases[id], err = domain.Evolve(o.book, o.cases[id], r); err != nil {
		o.tb.Fatal(err)
	}
	return domain.ReceiptOf(r)
}

// file opens a case.
func (o *office) file(id domain.CaseID, party string) domain.Receipt {
	o.tb.Helper()
	return o.act(id, "file-case", fields{"party": map[string]any{"name": party}})
}

// run opens the read models on a database and keeps them until the test ends
// or stop is called.
func (o *office) run(pool *pgxpool.Pool, models ...Projection) (db *DB, stop func()) {
	o.tb.Helper()
	if len(models) == 0 {
		models = All
	}
	db, err := open(o.tb.Context(), pool, o.book, models)
	if err != nil {
		o.tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(o.tb.Context())
	done := make(chan error, 1)
	go func() { done <- RunAll(ctx, db, o.tape, quiet, models...) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			o.tb.Errorf("RunAll: %v", err)
		}
	})
	o.tb.Cleanup(stop)
	return db, stop
}

var quiet = slog.New(slog.DiscardHandler)

// settle waits until every model has everything on the tape.
func (o *office) settle(db *DB) {
	o.tb.Helper()
	records, _, _ := o.tape.look()
	ctx, cancel := context.WithTimeout(o.tb.Context(), time.Minute)
	defer cancel()
	if err := db.WaitAll(ctx, uint64(len(records))); err != nil {
		o.tb.Fatalf("%v; models: %+v", err, db.Status())
	}
}

// agree checks that the read models are what a fresh fill makes of the tape.
func (o *office) agree(db *DB) {
	o.tb.Helper()
	report, err := rebuild(o.tb.Context(), db, o.tape, All, nil)
	if err != nil {
		o.tb.Fatal(err)
	}
	for _, m := range report.Models {
		if m.Differences != 0 {
			o.tb.Errorf("%s differs from a fresh fill in %d of %d rows, e.g. %s", m.Model, m.Differences, m.Rows, show(m.Examples))
		}
	}
}

func show(ds []Difference) string {
	data, _ := json.MarshalIndent(ds[:min(2, len(ds))], "", "  ")
	return string(data)
}

// started is an office with its read models running on a database of their own.
func started(tb testing.TB) (*office, *DB) {
	tb.Helper()
	o := newOffice(tb)
	db, _ := o.run(pgtest.New(tb))
	return o, db
}

var errTest = errors.New("broken by the test")
