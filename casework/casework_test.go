package casework_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"liuhen/casework"
	"liuhen/domain"
	"liuhen/domain/law"
	"liuhen/domain/rulebook"
	"liuhen/eventstore"
	"liuhen/eventstore/eventstoretest"
	"liuhen/internal/pgtest"
	"liuhen/projections"
)

var book = func() *rulebook.Book {
	b, err := rulebook.Load(law.Files)
	if err != nil {
		panic(err)
	}
	return b
}()

// clue opens a case; at is when, so that a command can be repeated as it was.
func clue(id string, c domain.CaseID, at time.Time) domain.Command {
	return domain.Command{
		ID: id, Case: c, Agency: "210100-kjj", Procedure: "penalty-ordinary", Act: "receive-clue", At: at,
		Actor:  domain.Actor{ID: "li", Name: "李明", Roles: []string{"handler"}},
		Fields: map[string]json.RawMessage{"source": json.RawMessage(`"report"`), "summary": json.RawMessage(`"群众举报"`)},
	}
}

func evidence(id string, c domain.CaseID, at time.Time) domain.Command {
	return domain.Command{
		ID: id, Case: c, Act: "collect-evidence", At: at,
		Actor:    domain.Actor{ID: "li", Name: "李明", Roles: []string{"handler"}},
		Officers: []rulebook.Officer{{ID: "li", Name: "李明"}, {ID: "zhao", Name: "赵强"}},
		Fields: map[string]json.RawMessage{
			"evidence_no": json.RawMessage(`"E1"`), "kind": json.RawMessage(`"electronic"`), "source": json.RawMessage(`"网络平台"`),
			"collector": json.RawMessage(`"li"`), "collected_at": json.RawMessage(`"2026-11-23T09:00:00+08:00"`),
		},
	}
}

// check reads the whole store and says whether every receipt is there exactly
// once and every case is a chain without a gap.
func check(t *testing.T, store *eventstore.Store, receipts []domain.Receipt) {
	t.Helper()
	last, err := store.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cases := map[domain.CaseID]*domain.Case{}
	commands := map[string]domain.Recorded{}
	for stored, err := range store.Follow(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		r, err := domain.Read(uint64(stored.Position), stored.At, stored.Data)
		if err != nil {
			t.Fatal(err)
		}
		if cases[r.Subject], err = domain.Evolve(book, cases[r.Subject], r); err != nil {
			t.Fatal(err)
		}
		if twice, ok := commands[r.Command]; ok {
			t.Errorf("command %s is there twice: positions %d and %d", r.Command, twice.Position, r.Position)
		}
		commands[r.Command] = r
		if stored.Position == last {
			break
		}
	}
	for _, receipt := range receipts {
		found := false
		for _, r := range commands {
			if r.ID == receipt.Event {
				found = r.Position == receipt.Position && r.Revision == receipt.Revision && r.Digest == receipt.Digest
				break
			}
		}
		if !found {
			t.Errorf("a receipt without its record: %+v", receipt)
		}
	}
}

func TestRecord(t *testing.T) {
	store := eventstoretest.New(t)
	desk := casework.New(book, store, nil, casework.Options{})
	at := time.Now().Add(-time.Minute)

	opened, err := desk.Record(t.Context(), clue("1", "甲-1", at))
	if err != nil {
		t.Fatal(err)
	}
	again, err := desk.Record(t.Context(), clue("1", "甲-1", at))
	if err != nil {
		t.Fatal(err)
	}
	if !again.Duplicate || again.Event != opened.Event || again.Position != opened.Position || again.Digest != opened.Digest {
		t.Errorf("the same command again: %+v, want the receipt %+v", again, opened)
	}
	var reused *domain.Reused
	if _, err := desk.Record(t.Context(), clue("1", "甲-1", at.Add(time.Second))); !errors.As(err, &reused) {
		t.Errorf("another act with the same command id: %v, want Reused", err)
	}
	var stale *domain.Stale
	if _, err := desk.Record(t.Context(), clue("2", "甲-1", at)); !errors.As(err, &stale) {
		t.Errorf("a case opened twice: %v, want Stale", err)
	}
	other := clue("3", "甲-1", at)
	other.Agency = "210200-kjj"
	if _, err := casework.New(book, store, nil, casework.Options{}).Record(t.Context(), other); !errors.As(err, &stale) {
		t.Errorf("the same case id in another agency: %v, want Stale", err)
	}
	if _, err := desk.Record(t.Context(), evidence("4", "甲-2", at)); !errors.Is(err, domain.ErrNoCase) {
		t.Errorf("an act on a case that is not there: %v, want ErrNoCase", err)
	}
	expecting := evidence("5", "甲-1", at)
	expecting.Expect = 7
	if _, err := desk.Record(t.Context(), expecting); !errors.As(err, &stale) || stale.Actual != 1 {
		t.Errorf("a revision that is not the case's: %v, want Stale", err)
	}
	check(t, store, []domain.Receipt{opened})
}

// broken is a store whose appends fail: before they reach it, or on the way
// back.
type broken struct {
	*eventstore.Store
	fail   atomic.Int32 // how many appends still fail
	stored bool         // they are stored all the same
	with   error
}

func (b *broken) Append(ctx context.Context, stream string, after eventstore.Position, data ...[]byte) (eventstore.Position, error) {
	if b.fail.Add(-1) < 0 {
		return b.Store.Append(ctx, stream, after, data...)
	}
	if b.stored {
		if _, err := b.Store.Append(ctx, stream, after, data...); err != nil {
			return 0, err
		}
	}
	return 0, b.with
}

func (b *broken) AppendAll(ctx context.Context, entries []eventstore.Entry) []eventstore.Outcome {
	outcomes := make([]eventstore.Outcome, len(entries))
	for i, e := range entries {
		outcomes[i].Position, outcomes[i].Err = b.Append(ctx, e.Stream, e.After, e.Data...)
	}
	return outcomes
}

func TestFailedAndFailedButStored(t *testing.T) {
	for _, stored := range []bool{false, true} {
		for _, with := range []error{eventstore.ErrUnknown, eventstore.ErrConflict} {
			t.Run(fmt.Sprintf("stored %v, %v", stored, with), func(t *testing.T) {
				store := &broken{Store: eventstoretest.New(t), stored: stored, with: with}
				desk := casework.New(book, store, nil, casework.Options{})
				at := time.Now().Add(-time.Minute)
				var receipts []domain.Receipt
				for i := range 4 {
					store.fail.Store(1)
					cmd := evidence(fmt.Sprint(i), "甲-1", at)
					if i == 0 {
						cmd = clue("0", "甲-1", at)
					}
					receipt, err := desk.Record(t.Context(), cmd)
					if err != nil {
						t.Fatalf("act %d: %v", i+1, err)
					}
					if receipt.Revision != i+1 || receipt.Duplicate != stored {
						t.Errorf("act %d: %+v", i+1, receipt)
					}
					receipts = append(receipts, receipt)
				}
				store.fail.Store(3)
				results := desk.RecordAll(t.Context(), []domain.Command{
					evidence("a", "甲-1", at), clue("b", "甲-2", at), evidence("c", "甲-2", at), clue("d", "甲-3", at),
				})
				for i, r := range results {
					if r.Err != nil {
						t.Fatalf("of many, %d: %v", i+1, r.Err)
					}
					receipts = append(receipts, r.Receipt)
				}
				check(t, store.Store, receipts)
			})
		}
	}
}

func TestManyWritersOnOneCaseAndOnMany(t *testing.T) {
	for _, cases := range []int{1, 1000} {
		t.Run(fmt.Sprintf("%d cases", cases), func(t *testing.T) {
			store := eventstoretest.New(t)
			desk := casework.New(book, store, nil, casework.Options{})
			at := time.Now().Add(-time.Minute)
			var open []domain.Command
			for c := range cases {
				open = append(open, clue(fmt.Sprintf("open-%d", c), domain.CaseID(fmt.Sprintf("甲-%d", c)), at))
			}
			for _, r := range desk.RecordAll(t.Context(), open) {
				if r.Err != nil {
					t.Fatal(r.Err)
				}
			}
			const writers, each = 64, 20
			receipts := make([][]domain.Receipt, writers)
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					for i := range each {
						c := domain.CaseID(fmt.Sprintf("甲-%d", (w*each+i)%cases))
						receipt, err := desk.Record(t.Context(), evidence(fmt.Sprintf("%d-%d", w, i), c, at))
						if err != nil {
							t.Errorf("writer %d, act %d: %v", w, i, err)
							return
						}
						receipts[w] = append(receipts[w], receipt)
					}
				})
			}
			wg.Wait()
			var all []domain.Receipt
			for _, r := range receipts {
				all = append(all, r...)
			}
			if len(all) != writers*each {
				t.Errorf("%d receipts, want %d", len(all), writers*each)
			}
			check(t, store, all)
		})
	}
}

// The case that a command is judged by is the one that a replay of the stream
// gives, whether it comes from memory, from the read model or from the store.
func TestFoldedCaseEqualsReplay(t *testing.T) {
	store := eventstoretest.New(t)
	db, err := projections.Open(t.Context(), pgtest.New(t), book)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = projections.RunAll(ctx, db, store, slog.New(slog.DiscardHandler), projections.All...) })
	defer running.Wait()
	defer stop()

	writer := casework.New(book, store, db, casework.Options{})
	at := time.Now().Add(-time.Hour)
	for c := range 5 {
		id := domain.CaseID(fmt.Sprintf("甲-%d", c))
		if _, err := writer.Record(t.Context(), clue(fmt.Sprintf("o%d", c), id, at)); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if _, err := writer.Record(t.Context(), evidence(fmt.Sprintf("e%d-%d", c, i), id, at)); err != nil {
				t.Fatal(err)
			}
		}
	}
	last, err := store.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := db.WaitAll(t.Context(), uint64(last)); err != nil {
		t.Fatal(err)
	}
	for c := range 5 {
		id := domain.CaseID(fmt.Sprintf("甲-%d", c))
		stored, _, err := store.Load(t.Context(), string(id))
		if err != nil {
			t.Fatal(err)
		}
		var records []domain.Recorded
		for _, s := range stored {
			r, err := domain.Read(uint64(s.Position), s.At, s.Data)
			if err != nil {
				t.Fatal(err)
			}
			records = append(records, r)
		}
		replayed, err := domain.Replay(book, records)
		if err != nil {
			t.Fatal(err)
		}
		for name, desk := range map[string]*casework.Desk{
			"memory":         writer,
			"the read model": casework.New(book, store, db, casework.Options{}),
			"the store":      casework.New(book, store, nil, casework.Options{}),
		} {
			folded, err := desk.Case(t.Context(), id)
			if err != nil {
				t.Fatalf("from %s: %v", name, err)
			}
			if folded.Head != replayed.Head || folded.Revision != replayed.Revision || folded.Position != replayed.Position || folded.Stage() != replayed.Stage() {
				t.Errorf("from %s: case %s is at %d (%s), a replay at %d (%s)", name, id, folded.Revision, folded.Head, replayed.Revision, replayed.Head)
			}
			if got, want := steps(folded), steps(replayed); !reflect.DeepEqual(got, want) {
				t.Errorf("from %s: case %s:\n%+v\nreplayed:\n%+v", name, id, got, want)
			}
		}
	}
}

func steps(c *domain.Case) []rulebook.Step {
	out := make([]rulebook.Step, len(c.History.Steps))
	for i, s := range c.History.Steps {
		s.At, s.Recorded = s.At.UTC(), s.Recorded.UTC()
		out[i] = s
	}
	return out
}

// laggard is a store whose memory shows what was stored only after Wait, as it
// can be for a moment between an acknowledgement and the reading back.
type laggard struct {
	*eventstore.Store
	waited atomic.Bool
}

func (l *laggard) Since(stream string, after eventstore.Position) ([]eventstore.Record, eventstore.Position, bool) {
	if !l.waited.Load() {
		return nil, after, true
	}
	return l.Store.Since(stream, after)
}

func (l *laggard) Wait(ctx context.Context, p eventstore.Position) error {
	err := l.Store.Wait(ctx, p)
	l.waited.Store(true)
	return err
}

// TestANoIsNotStale: another process has just opened the case, and this one's
// memory does not show it yet. "There is no such case" would be wrong.
func TestANoIsNotStale(t *testing.T) {
	store := eventstoretest.New(t)
	at := time.Now().Add(-time.Minute)
	if _, err := casework.New(book, store, nil, casework.Options{}).Record(t.Context(), clue("1", "甲-1", at)); err != nil {
		t.Fatal(err)
	}
	desk := casework.New(book, &laggard{Store: store}, nil, casework.Options{})
	r, err := desk.Record(t.Context(), evidence("2", "甲-1", at))
	if err != nil || r.Revision != 2 {
		t.Errorf("an act on a case that was just opened: %+v, %v", r, err)
	}
}
