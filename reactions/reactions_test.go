package reactions_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"liuhen/casework"
	"liuhen/domain"
	"liuhen/domain/law"
	"liuhen/domain/rulebook"
	"liuhen/eventstore"
	"liuhen/eventstore/eventstoretest"
	"liuhen/reactions"
	"liuhen/reactions/pubsub"
)

// patience is how long a test waits for what must come.
const patience = 60 * time.Second

const volume = "TEST"

var book = func() *rulebook.Book {
	b, err := rulebook.Load(law.Files)
	if err != nil {
		panic(err)
	}
	return b
}()

// office is a store with a desk.
type office struct {
	t     testing.TB
	conn  *nats.Conn
	store *eventstore.Store
	desk  *casework.Desk
}

// empty answers for registers that nobody has entered anything into.
func empty(_ context.Context, lookups []rulebook.Lookup, from uint64) (rulebook.Facts, uint64, error) {
	facts := make(rulebook.Facts, len(lookups))
	for _, l := range lookups {
		facts[l] = nil
	}
	return facts, from, nil
}

func newOffice(t testing.TB) *office {
	t.Helper()
	server := eventstoretest.Server(t)
	store := eventstoretest.Run(t, eventstore.Config{Server: server, Volume: volume})
	return &office{t: t, conn: server.Conn(), store: store, desk: casework.New(book, store, nil, casework.Options{Facts: empty})}
}

// noted is an act of a case of the procedure that takes any.
func noted(c domain.CaseID, n int) domain.Command {
	cmd := domain.Command{
		ID: fmt.Sprint(c, "-", n), Case: c, Act: "note", At: time.Now(), Actor: domain.Actor{ID: "li", Roles: []string{"handler"}},
		Fields: map[string]json.RawMessage{"n": json.RawMessage(fmt.Sprint(n))},
	}
	if n == 1 {
		cmd.Agency, cmd.Procedure = "kjj", "imported"
	}
	return cmd
}

func (o *office) record(cmd domain.Command) domain.Receipt {
	o.t.Helper()
	receipt, err := o.desk.Record(o.t.Context(), cmd)
	if err != nil {
		o.t.Fatal(err)
	}
	return receipt
}

// runner runs reactions until the test ends, or stop is called.
func (o *office) runner(change func(*reactions.Config)) (r *reactions.Runner, stop func()) {
	o.t.Helper()
	c := reactions.Config{
		NATS: o.conn, Volume: volume, Store: o.store, Logger: eventstoretest.Logger(o.t),
		FirstWait: time.Millisecond, LeaseTime: 2 * time.Second,
	}
	change(&c)
	r, err := reactions.Open(o.t.Context(), c)
	if err != nil {
		o.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			o.t.Errorf("the runner ended with: %v", err)
		}
	})
	o.t.Cleanup(stop)
	return r, stop
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come about: %s", what)
		}
	}
}

// dealtWith waits until a reaction has dealt with the whole log.
func (o *office) dealtWith(r *reactions.Runner, name string) {
	o.t.Helper()
	eventually(o.t, name+" has dealt with the log", func() bool {
		last, err := o.store.Last(o.t.Context())
		if err != nil || r.Measure(o.t.Context()) != nil {
			return false
		}
		for _, s := range r.Status() {
			if s.Name == name {
				return s.Position == uint64(last) && s.Lag == 0
			}
		}
		return false
	})
}

// everything reads the whole log.
func everything(t testing.TB, store *eventstore.Store) []domain.Recorded {
	t.Helper()
	last, err := store.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all []domain.Recorded
	if last == 0 {
		return nil
	}
	for stored, err := range store.Follow(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		r, err := domain.Read(uint64(stored.Position), stored.At, stored.Data)
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, r); stored.Position == last {
			break
		}
	}
	return all
}

// echo records, for each note in a case, one note in the case's echo.
func echo(desk reactions.Desk) reactions.Reaction {
	return reactions.Reaction{
		Name: "echo", Procedures: []string{"imported"},
		Wants: func(r domain.Recorded) bool { return !strings.HasPrefix(string(r.Subject), "echo-") },
		React: func(ctx context.Context, r domain.Recorded) error {
			cmd := reactions.Caused(domain.Command{Case: "echo-" + r.Subject, Act: "echo", At: r.Recorded}, "echo", r, 1)
			cmd.Fields = map[string]json.RawMessage{"of": json.RawMessage(fmt.Sprint(r.Revision))}
			if r.Revision == 1 {
				cmd.Agency, cmd.Procedure = r.Agency(), "imported"
			}
			_, err := desk.Record(ctx, cmd)
			return err
		},
	}
}

// checkEchoes says what is wrong with the echoes of cases with so many notes each:
// every note must have exactly one, in the order of the notes.
func checkEchoes(t testing.TB, all []domain.Recorded, cases, notes int) {
	t.Helper()
	echoes := map[domain.CaseID][]int64{}
	causes := map[string]int{}
	for _, r := range all {
		if r.Act() == "echo" {
			n, _ := r.Data.Fields["of"].(int64)
			echoes[r.Subject] = append(echoes[r.Subject], n)
			causes[r.Causation]++
		}
	}
	for _, r := range all {
		if r.Act() == "note" && causes[r.ID] != 1 {
			t.Errorf("note %d of %s has %d echoes, want 1", r.Revision, r.Subject, causes[r.ID])
		}
	}
	if len(echoes) != cases {
		t.Errorf("%d cases have an echo, want %d", len(echoes), cases)
	}
	for c, of := range echoes {
		if len(of) != notes {
			t.Errorf("%s: %d echoes, want %d", c, len(of), notes)
		}
		for i, n := range of {
			if n != int64(i+1) {
				t.Errorf("%s: echo %d is of note %d", c, i+1, n)
				break
			}
		}
	}
}

// A reaction fails at random in every way while many cases are written to: what it
// does for a case comes in the order of the case, once each, and what it does goes on
// after a new start where it was.
func TestOrderPerCase(t *testing.T) {
	const cases, notes = 15, 12
	o := newOffice(t)
	desk := casework.New(book, o.store, nil, casework.Options{Facts: empty})
	inner := echo(desk)
	var tries atomic.Int64
	shaky := inner
	shaky.React = func(ctx context.Context, r domain.Recorded) error {
		tries.Add(1)
		switch rand.IntN(8) { //nolint:gosec // a test
		case 0:
			return errors.New("at random")
		case 1:
			return reactions.Later(errors.New("at random, none of the record's"))
		case 2: // it was done, and fails all the same
			if err := inner.React(ctx, r); err != nil {
				return err
			}
			return errors.New("after it was done")
		case 3:
			panic("at random")
		}
		return inner.React(ctx, r)
	}
	config := func(c *reactions.Config) { c.Reactions, c.Tries = []reactions.Reaction{shaky}, 1000 }
	_, stop := o.runner(config)
	var writers sync.WaitGroup
	for k := range cases {
		writers.Go(func() {
			for n := 1; n <= notes; n++ {
				if _, err := o.desk.Record(t.Context(), noted(domain.CaseID(fmt.Sprint("c-", k)), n)); err != nil {
					t.Error(err)
					return
				}
				if n == notes/2 && k == 0 {
					stop()
				}
			}
		})
	}
	writers.Wait()
	r, _ := o.runner(config)
	o.dealtWith(r, "echo")
	checkEchoes(t, everything(t, o.store), cases, notes)
	if list, err := r.SetAside(t.Context(), true); err != nil || len(list) != 0 {
		t.Errorf("set aside: %v %v", list, err)
	}
	t.Logf("%d tries for %d notes", tries.Load(), cases*notes)
}

// A record that a reaction cannot react to is set aside after some tries, with the
// reason, and holds up neither its case nor others; it is tried again by hand, or
// dropped with a reason, and does not come back.
func TestSetAside(t *testing.T) {
	o := newOffice(t)
	var mended atomic.Bool
	var mu sync.Mutex
	came := map[uint64]int{}
	reaction := reactions.Reaction{
		Name: "picky",
		React: func(_ context.Context, r domain.Recorded) error {
			mu.Lock()
			came[r.Position]++
			mu.Unlock()
			n, _ := r.Data.Fields["n"].(int64)
			switch {
			case mended.Load() || n != 2 && n != 3 && n != 4:
				return nil
			case n == 2:
				return errors.New("the second is not to its taste")
			case n == 3:
				return reactions.Final(errors.New("nor is the third, for good"))
			}
			panic("the fourth")
		},
	}
	config := func(c *reactions.Config) { c.Reactions, c.Tries = []reactions.Reaction{reaction}, 3 }
	r, stop := o.runner(config)
	for n := 1; n <= 5; n++ {
		o.record(noted("a", n))
	}
	o.dealtWith(r, "picky")
	list, err := r.SetAside(t.Context(), false)
	if err != nil || len(list) != 3 {
		t.Fatalf("set aside = %+v %v, want 3", list, err)
	}
	for i, want := range []struct {
		id, reason string
		tries      int
	}{{"picky.2", "not to its taste", 3}, {"picky.3", "for good", 1}, {"picky.4", "the fourth", 3}} {
		a := list[i]
		mu.Lock()
		tries := came[a.Position]
		mu.Unlock()
		if a.ID != want.id || !strings.Contains(a.Reason, want.reason) || strings.Contains(a.Reason, "goroutine") ||
			a.Case != "a" || a.Event == "" || a.Type != "imported.note" || a.At.IsZero() || tries != want.tries {
			t.Errorf("set aside = %+v after %d tries, want %+v", a, tries, want)
		}
	}
	eventually(t, "they are counted", func() bool { return r.Status()[0].SetAside == 3 })

	// By hand, while the reason is still there, and when it is gone.
	if a, err := r.Retry(t.Context(), "picky.2", "wang"); !errors.Is(err, reactions.ErrStillFails) || a.Retries != 1 || a.Outcome != "" {
		t.Errorf("retry = %+v %v, want ErrStillFails", a, err)
	}
	mended.Store(true)
	if a, err := r.Retry(t.Context(), "picky.2", "wang"); err != nil || a.Outcome != reactions.Retried || a.ClosedBy != "wang" || a.Retries != 2 {
		t.Errorf("retry = %+v %v", a, err)
	}
	if _, err := r.Retry(t.Context(), "picky.2", "wang"); !errors.Is(err, reactions.ErrClosedAside) {
		t.Errorf("a second retry: %v, want ErrClosedAside", err)
	}
	if _, err := r.Drop(t.Context(), "picky.3", "wang", "  "); !errors.Is(err, reactions.ErrNoReason) {
		t.Errorf("drop without a reason: %v", err)
	}
	if a, err := r.Drop(t.Context(), "picky.3", "wang", "已人工处理"); err != nil || a.Outcome != reactions.Dropped || a.Why != "已人工处理" || a.ClosedAt.IsZero() {
		t.Errorf("drop = %+v %v", a, err)
	}
	for _, id := range []string{"picky.9", "other.2", "picky", "picky.x", "picky.02", "", "Picky.2", "picky.2.>"} {
		if _, err := r.Retry(t.Context(), id, "wang"); !errors.Is(err, reactions.ErrNoAside) {
			t.Errorf("retry of %q: %v, want ErrNoAside", id, err)
		}
	}
	if list, err = r.SetAside(t.Context(), false); err != nil || len(list) != 1 || list[0].ID != "picky.4" {
		t.Errorf("what waits = %+v %v", list, err)
	}
	if list, err = r.SetAside(t.Context(), true); err != nil || len(list) != 3 {
		t.Errorf("all = %+v %v", list, err)
	}
	// A new start knows of it, and that the reaction has gone.
	stop()
	r, _ = o.runner(func(*reactions.Config) {})
	if _, err := r.Retry(t.Context(), "picky.4", "wang"); !errors.Is(err, reactions.ErrNoReaction) {
		t.Errorf("retry without the reaction: %v", err)
	}
}

// A fault of the system sets nothing aside: the reaction stands still at the case,
// says so, goes on with other cases, and then with this one where it was.
func TestStandsStill(t *testing.T) {
	o := newOffice(t)
	var down atomic.Bool
	down.Store(true)
	var mu sync.Mutex
	var done []string
	reaction := reactions.Reaction{Name: "patient", React: func(_ context.Context, r domain.Recorded) error {
		if r.Subject == "a" && r.Revision >= 2 && down.Load() {
			return fmt.Errorf("record it: %w", eventstore.ErrFull)
		}
		mu.Lock()
		defer mu.Unlock()
		done = append(done, fmt.Sprint(r.Subject, r.Revision))
		return nil
	}}
	r, _ := o.runner(func(c *reactions.Config) { c.Reactions, c.Tries = []reactions.Reaction{reaction}, 2 })
	o.record(noted("a", 1))
	o.record(noted("a", 2))
	o.record(noted("a", 3))
	o.record(noted("b", 1))
	eventually(t, "it stands still and goes on with the other case", func() bool {
		mu.Lock()
		defer mu.Unlock()
		s := r.Status()[0]
		return len(s.Standing) == 1 && len(done) == 2
	})
	if s := r.Status()[0].Standing[0]; s.Position != 2 || !strings.Contains(s.Error, eventstore.ErrFull.Error()) || s.Since.IsZero() {
		t.Errorf("standing = %+v", s)
	}
	down.Store(false)
	o.dealtWith(r, "patient")
	mu.Lock()
	defer mu.Unlock()
	text := strings.Join(done, " ")
	if text != "a1 b1 a2 a3" && text != "b1 a1 a2 a3" {
		t.Errorf("done = %s", text)
	}
	if s := r.Status()[0]; len(s.Standing) != 0 || s.SetAside != 0 {
		t.Errorf("status = %+v, want nothing standing", s)
	}
}

// Two processes run the same reaction. Its effects are there once, also when the one
// that reads is stopped in the middle.
func TestTwoProcesses(t *testing.T) {
	const cases, notes = 10, 10
	o := newOffice(t)
	var handled [2]atomic.Int64
	var stops [2]func()
	var rs [2]*reactions.Runner
	for i := range 2 {
		re := echo(casework.New(book, o.store, nil, casework.Options{Facts: empty}))
		inner := re.React
		re.React = func(ctx context.Context, r domain.Recorded) error {
			handled[i].Add(1)
			return inner(ctx, r)
		}
		rs[i], stops[i] = o.runner(func(c *reactions.Config) { c.Reactions = []reactions.Reaction{re} })
	}
	for n := 1; n <= notes; n++ {
		for k := range cases {
			o.record(noted(domain.CaseID(fmt.Sprint("c-", k)), n))
		}
		if n == notes/2 {
			eventually(t, "one of them works", func() bool { return handled[0].Load()+handled[1].Load() > 0 })
			if handled[0].Load() > 0 && handled[1].Load() > 0 {
				t.Error("both work at once")
			}
			if handled[0].Load() > 0 {
				stops[0]()
			} else {
				stops[1]()
				rs[1] = rs[0]
			}
		}
	}
	o.dealtWith(rs[1], "echo")
	checkEchoes(t, everything(t, o.store), cases, notes)
	if handled[0].Load() == 0 || handled[1].Load() == 0 {
		t.Errorf("handled %d and %d: one has done nothing", handled[0].Load(), handled[1].Load())
	}
}

// A reaction that begins at the end does not see what was before, also not after a
// new start; one that begins at the start sees all.
func TestBegin(t *testing.T) {
	o := newOffice(t)
	for n := 1; n <= 3; n++ {
		o.record(noted("a", n))
	}
	var mu sync.Mutex
	saw := map[string][]int{}
	see := func(name string, begin pubsub.Begin) reactions.Reaction {
		return reactions.Reaction{Name: name, Begin: begin, React: func(_ context.Context, r domain.Recorded) error {
			mu.Lock()
			defer mu.Unlock()
			saw[name] = append(saw[name], r.Revision)
			return nil
		}}
	}
	config := func(c *reactions.Config) {
		c.Reactions = []reactions.Reaction{see("all", pubsub.AtStart), see("new", pubsub.AtEnd)}
	}
	r, stop := o.runner(config)
	o.dealtWith(r, "all")
	o.dealtWith(r, "new")
	stop()
	o.record(noted("a", 4))
	r, _ = o.runner(config)
	o.dealtWith(r, "all")
	o.dealtWith(r, "new")
	mu.Lock()
	defer mu.Unlock()
	if got := fmt.Sprint(saw["all"], saw["new"]); got != "[1 2 3 4] [4]" {
		t.Errorf("saw %s, want [1 2 3 4] [4]", got)
	}
}

// A consumer that is lost (a stream that was restored without it) costs a reaction
// that began at the end nothing: it begins where it first began.
func TestLostConsumer(t *testing.T) {
	o := newOffice(t)
	o.record(noted("before", 1))
	re := echo(o.desk)
	re.Begin = pubsub.AtEnd
	config := func(c *reactions.Config) { c.Reactions = []reactions.Reaction{re} }
	r, stop := o.runner(config)
	for n := 1; n <= 3; n++ {
		o.record(noted("c-0", n))
	}
	o.dealtWith(r, "echo")
	stop()
	o.record(noted("c-0", 4))
	js, err := jetstream.New(o.conn)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteConsumer(t.Context(), volume, reactions.DurableOf("echo")); err != nil {
		t.Fatal(err)
	}
	r, _ = o.runner(config)
	o.dealtWith(r, "echo")
	if err := js.DeleteConsumer(t.Context(), volume, reactions.DurableOf("echo")); err != nil { // and while it reads
		t.Fatal(err)
	}
	o.record(noted("c-0", 5))
	o.dealtWith(r, "echo")
	all := everything(t, o.store)
	checkEchoes(t, all[1:], 1, 5) // of the note that was before there is none
	if all[0].Subject != "before" {
		t.Errorf("the first record is of %s", all[0].Subject)
	}
}

// Two processes have the same tick: one does it, failures and panics are told and it
// is done again, and the other goes on when the first is gone.
func TestTicks(t *testing.T) {
	o := newOffice(t)
	var did [2]atomic.Int64
	var stops [2]func()
	var rs [2]*reactions.Runner
	for i := range 2 {
		rs[i], stops[i] = o.runner(func(c *reactions.Config) {
			c.Ticks = []reactions.Tick{{Name: "clock", Every: time.Millisecond, Do: func(_ context.Context, now time.Time) error {
				if now.IsZero() {
					t.Error("a tick without its time")
				}
				switch did[i].Add(1) {
				case 2:
					return errors.New("at its second time")
				case 3:
					panic("at its third time")
				}
				return nil
			}}}
		})
	}
	eventually(t, "one of them ticks", func() bool { return did[0].Load()+did[1].Load() > 5 })
	first := 0
	if did[1].Load() > 0 {
		first = 1
	}
	if did[1-first].Load() != 0 {
		t.Error("both tick at once")
	}
	s := rs[first].TickStatus()[0]
	if s.Name != "clock" || s.Failures != 2 || s.Done < 2 || s.Error != "" || s.Last.IsZero() || s.LastGood.IsZero() {
		t.Errorf("status = %+v, want two failures and none of late", s)
	}
	stops[first]()
	eventually(t, "the other goes on", func() bool { return did[1-first].Load() > 0 })
}

func TestNames(t *testing.T) {
	o := newOffice(t)
	react := func(context.Context, domain.Recorded) error { return nil }
	for name, c := range map[string]reactions.Config{
		"a bad name":     {Reactions: []reactions.Reaction{{Name: "Bad.Name", React: react}}},
		"twice":          {Reactions: []reactions.Reaction{{Name: "a", React: react}, {Name: "a", React: react}}},
		"nothing to do":  {Reactions: []reactions.Reaction{{Name: "a"}}},
		"a tick without": {Ticks: []reactions.Tick{{Name: "a", Do: func(context.Context, time.Time) error { return nil }}}},
	} {
		c.NATS, c.Volume, c.Store = o.conn, volume, o.store
		if _, err := reactions.Open(t.Context(), c); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}
