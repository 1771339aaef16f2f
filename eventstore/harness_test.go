package eventstore

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// The tests inside the package cannot use eventstoretest (it imports us).

func testServer(t testing.TB, dir string, reserve int64) *Server {
	t.Helper()
	srv, err := Embedded(dir, ServerOptions{Logger: testLogger(t), Reserve: reserve})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Shutdown)
	return srv
}

// testLogger shows warnings of failed and of verbose tests, until the test ends.
func testLogger(t testing.TB) *slog.Logger {
	w := &logWriter{t: t}
	t.Cleanup(func() { w.mu.Lock(); w.t = nil; w.mu.Unlock() })
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

type logWriter struct {
	mu sync.Mutex
	t  testing.TB // nil: ended
}

func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.t == nil {
		return len(p), nil
	}
	return w.t.Output().Write(p)
}

// testConfig is a configuration with short times.
func testConfig(t testing.TB, srv *Server) Config {
	return Config{
		Server: srv, Volume: "TEST", Logger: testLogger(t),
		LeaseTime: time.Second, AckWait: 200 * time.Millisecond, GiveUp: 5 * time.Second,
	}
}

// runStore runs a store until the returned stop, or the end of the test.
func runStore(t testing.TB, c Config) (s *Store, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s, err := Open(ctx, c)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the store ended with: %v", err)
		}
	})
	t.Cleanup(stop)
	if err := s.Ready(within(t, 30*time.Second)); err != nil {
		t.Fatal(err)
	}
	return s, stop
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until cond holds, looking again every few milliseconds.
func eventually(t testing.TB, d time.Duration, what string, cond func() bool) {
	t.Helper()
	limit := time.After(d)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not within %s: %s", d, what)
		}
	}
}

// everything reads the whole volume with a store of its own and checks that it
// is gapless.
func everything(t testing.TB, c Config) []Record {
	t.Helper()
	ctx := within(t, 60*time.Second)
	s, err := Open(ctx, Config{Server: c.Server, NATS: c.NATS, Volume: c.Volume, Replicas: c.Replicas, Subjects: c.Subjects, Logger: c.Logger})
	if err != nil {
		t.Fatal(err)
	}
	last, err := s.Last(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var all []Record
	if last == 0 {
		return nil
	}
	for recs, err := range s.FollowBatches(ctx, 0, 500) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, recs...)
		if all[len(all)-1].Position >= last {
			break
		}
	}
	for i, r := range all {
		if r.Position != Position(i+1) {
			t.Fatalf("record %d of the volume has position %d", i+1, r.Position)
		}
	}
	return all
}

// A ledger is what the callers were told, for a checker to compare with the
// store. Each record says stream/number and is unique.
type ledger struct {
	mu    sync.Mutex
	acked map[string]Position
	maybe map[string]bool // ErrUnknown
	never map[string]bool // any other error
}

func newLedger() *ledger {
	return &ledger{acked: map[string]Position{}, maybe: map[string]bool{}, never: map[string]bool{}}
}

func (l *ledger) note(data string, p Position, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.acked[data] = p
	case strings.Contains(err.Error(), ErrUnknown.Error()):
		l.maybe[data] = true
	default:
		l.never[data] = true
	}
}

// check compares what was told with what is there.
func (l *ledger) check(t testing.TB, all []Record) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := map[string]Position{}
	for _, r := range all {
		d := string(r.Data)
		if p, twice := seen[d]; twice {
			t.Errorf("%q stands at %d and again at %d", d, p, r.Position)
		}
		seen[d] = r.Position
		if l.never[d] {
			t.Errorf("%q stands at %d, though its caller was told that nothing was stored", d, r.Position)
		}
	}
	for d, p := range l.acked {
		if seen[d] != p {
			t.Errorf("%q was acknowledged at %d and stands at %d", d, p, seen[d])
		}
	}
}

// A faultyWire stands between the writer and the server and lets a test lose,
// hold or forge what passes.
type faultyWire struct {
	wire
	mu        sync.Mutex
	onPublish func(m *nats.Msg, token uint64) (lose bool)
	onAnswer  func(token uint64, a answer) (answer, bool) // false: lose it
	gate      chan struct{}                               // while not nil and not closed, publish waits
	held      chan struct{}                               // told each time that publish waits
}

func (f *faultyWire) set(onPublish func(*nats.Msg, uint64) bool, onAnswer func(uint64, answer) (answer, bool)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onPublish, f.onAnswer = onPublish, onAnswer
}

func (f *faultyWire) shut() (held <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gate, f.held = make(chan struct{}), make(chan struct{}, 10_000)
	return f.held
}

func (f *faultyWire) open() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gate != nil {
		close(f.gate)
		f.gate = nil
	}
}

func (f *faultyWire) publish(m *nats.Msg, token uint64) error {
	f.mu.Lock()
	lose, gate, held := f.onPublish, f.gate, f.held
	f.mu.Unlock()
	if gate != nil {
		held <- struct{}{}
		<-gate
	}
	if lose != nil && lose(m, token) {
		return nil
	}
	return f.wire.publish(m, token)
}

func (f *faultyWire) listen(hear func(uint64, answer)) (func(), error) {
	return f.wire.listen(func(token uint64, a answer) {
		f.mu.Lock()
		change := f.onAnswer
		f.mu.Unlock()
		if change != nil {
			var ok bool
			if a, ok = change(token, a); !ok {
				return
			}
		}
		hear(token, a)
	})
}

// faulty makes a configuration's writer speak through a faultyWire.
func faulty(c *Config) *faultyWire {
	f := &faultyWire{}
	c.wrap = func(w wire) wire { f.wire = w; return f }
	return f
}

func must(t testing.TB, s *Store, stream string, after Position, data ...string) Position {
	t.Helper()
	p, err := s.Append(within(t, 20*time.Second), stream, after, bytesOf(data...)...)
	if err != nil {
		t.Fatalf("append %v to %s after %d: %v", data, stream, after, err)
	}
	if err := s.Wait(within(t, 20*time.Second), p); err != nil {
		t.Fatal(err)
	}
	return p
}

func bytesOf(data ...string) (out [][]byte) {
	for _, d := range data {
		out = append(out, []byte(d))
	}
	return out
}

func dataOf(recs []Record) (out []string) {
	for _, r := range recs {
		out = append(out, string(r.Data))
	}
	return out
}

func wantRecords(t testing.TB, all []Record, want ...string) {
	t.Helper()
	if got := dataOf(all); !slices.Equal(got, want) {
		t.Errorf("the volume holds %q, want %q", got, want)
	}
}

// together makes the writer store several appends as one group: it holds the
// wire shut with a first append, to the stream gate, until the others wait in
// the queue, and returns their results.
func together(t testing.TB, s *Store, f *faultyWire, gate string, appends ...func() (Position, error)) (positions []Position, errs []error) {
	t.Helper()
	held := f.shut()
	t.Cleanup(f.open)
	first := make(chan error, 1)
	go func() {
		_, err := s.Append(context.Background(), gate, s.Status().Last, []byte("gate"))
		first <- err
	}()
	<-held
	r, _ := s.currentRole()
	positions, errs = make([]Position, len(appends)), make([]error, len(appends))
	var wg sync.WaitGroup
	for i, a := range appends {
		wg.Go(func() { positions[i], errs[i] = a() })
		eventually(t, 5*time.Second, "an append waits in the queue", func() bool {
			r.writer.mu.Lock()
			defer r.writer.mu.Unlock()
			return len(r.writer.queue) == i+1
		})
	}
	f.open()
	wg.Wait()
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	return positions, errs
}
