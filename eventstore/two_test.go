package eventstore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"liuhen/internal/lease"
)

// outsideServer is a NATS server of its own with a port, as `--nats` would use.
func outsideServer(t testing.TB) (url string) {
	t.Helper()
	ns, err := natsserver.NewServer(&natsserver.Options{
		Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: t.TempDir(), SyncAlways: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	if !ns.ReadyForConnections(30 * time.Second) {
		t.Fatal("the outside server does not start")
	}
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	return ns.ClientURL()
}

func connect(t testing.TB, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func outsideConfig(t testing.TB, url, holder string) Config {
	c := testConfig(t, nil)
	c.NATS, c.Holder = connect(t, url), holder
	return c
}

// Both processes serve, one writes; when it stops the other takes over.
func TestTwoStores(t *testing.T) {
	url := outsideServer(t)
	a, stopA := runStore(t, outsideConfig(t, url, "a"))
	b, _ := runStore(t, outsideConfig(t, url, "b"))
	p := must(t, a, "enf.a.p.1", 0, "by a")
	p = must(t, b, "enf.a.p.1", p, "by b", "by b too")
	if p != 3 {
		t.Errorf("position %d, want 3", p)
	}
	if _, err := b.Append(within(t, 10*time.Second), "enf.a.p.1", 1, []byte("stale")); !errors.Is(err, ErrConflict) {
		t.Errorf("stale append through the other: %v, want ErrConflict", err)
	}
	if err := b.Wait(within(t, 10*time.Second), p); err != nil {
		t.Fatal(err)
	}
	if recs, through, ok := b.Since("enf.a.p.1", 1); !ok || through < 3 || len(recs) != 2 {
		t.Errorf("since on the other: %v through %d ok %v", dataOf(recs), through, ok)
	}
	if sa, sb := a.Status(), b.Status(); !sa.Writing || sb.Writing || sb.Holder != "a" || sb.HandedOver == 0 {
		t.Errorf("a writes %v, b writes %v and knows %q", sa.Writing, sb.Writing, sb.Holder)
	}
	stopA()
	began := time.Now()
	must(t, b, "enf.a.p.1", p, "by b alone")
	t.Logf("after a clean stop the other wrote within %s", time.Since(began))
	cfg := outsideConfig(t, url, "checker")
	wantRecords(t, everything(t, cfg), "by a", "by b", "by b too", "by b alone")
}

// pausedBook is a lease that stands still while the gate is shut, as the whole
// process would.
type pausedBook struct {
	lease.Book
	mu   sync.Mutex
	gate chan struct{}
}

func (p *pausedBook) wait() {
	p.mu.Lock()
	gate := p.gate
	p.mu.Unlock()
	if gate != nil {
		<-gate
	}
}

func (p *pausedBook) Read(ctx context.Context) (lease.Term, uint64, error) {
	p.wait()
	return p.Book.Read(ctx)
}

func (p *pausedBook) Write(ctx context.Context, t lease.Term, rev uint64) (uint64, error) {
	p.wait()
	return p.Book.Write(ctx, t, rev)
}

// The writer stands still in the middle of a publish, the other takes over and
// writes, and the first wakes up and sends what it had in hand.
func TestPausedWriter(t *testing.T) {
	for _, batch := range []int{1, 30} {
		t.Run(fmt.Sprint(batch, " records"), func(t *testing.T) {
			url := outsideServer(t)
			ca := outsideConfig(t, url, "a")
			f := faulty(&ca)
			book := &pausedBook{}
			ca.hold = func(b lease.Book) lease.Book { book.Book = b; return book }
			a, _ := runStore(t, ca)
			b, _ := runStore(t, outsideConfig(t, url, "b"))
			p := must(t, b, "enf.a.p.1", 0, "first")

			held := f.shut()
			book.mu.Lock()
			book.gate = make(chan struct{})
			book.mu.Unlock()
			late := make(chan error, 1)
			var data []string
			for i := range batch {
				data = append(data, fmt.Sprint("late ", i))
			}
			go func() {
				_, err := a.Append(context.Background(), "enf.a.p.1", p, bytesOf(data...)...)
				late <- err
			}()
			<-held // the writer has its message in hand and believes in its lease
			began := time.Now()
			eventually(t, 20*time.Second, "the other has taken over", func() bool { return b.Status().Writing })
			took := time.Since(began)
			must(t, b, "enf.a.p.1", p, "by b")
			f.open()
			close(book.gate)
			book.mu.Lock()
			book.gate = nil
			book.mu.Unlock()
			if err := <-late; !errors.Is(err, ErrConflict) {
				t.Errorf("the append that woke up: %v, want ErrConflict", err)
			}
			eventually(t, 10*time.Second, "the old writer knows that it is none", func() bool {
				st := a.Status()
				return !st.Writing && st.Holder == "b"
			})
			must(t, a, "enf.a.p.2", 0, "by a through b")
			wantRecords(t, everything(t, outsideConfig(t, url, "checker")), "first", "by b", "by a through b")
			t.Logf("taken over after %s with a lease of %s", took, ca.LeaseTime)
		})
	}
}

// The same with a process of its own that is stopped and continued, and one
// that is killed, with the real times.
func TestProcesses(t *testing.T) {
	for _, c := range []struct {
		name string
		sig  syscall.Signal
	}{{"stopped", syscall.SIGSTOP}, {"killed", syscall.SIGKILL}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url := outsideServer(t)
			cmd, lines := writerProcess(t, url)
			told := newLedger()
			var mu sync.Mutex
			count := 0
			reading := make(chan struct{})
			go func() { // what the process says it has been told
				defer close(reading)
				for lines.Scan() {
					var stream, data string
					var p Position
					if _, err := fmt.Sscanf(lines.Text(), "stored %s %d %s", &stream, &p, &data); err == nil {
						told.note(data, p, nil)
						mu.Lock()
						count++
						mu.Unlock()
					}
				}
			}()
			said := func() int { mu.Lock(); defer mu.Unlock(); return count }
			eventually(t, 30*time.Second, "the process writes", func() bool { return said() > 200 })

			cfg := outsideConfig(t, url, "here")
			cfg.LeaseTime = 0 // the default
			cfg.AckWait = 0
			here, _ := runStore(t, cfg)
			p := must(t, here, "enf.a.p.here", 0, "through the process")
			if err := cmd.Process.Signal(c.sig); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			var err error
			n := 0
			for n < 50 && time.Since(began) < 30*time.Second {
				data := fmt.Sprint("here-", n, "-", time.Now().UnixNano())
				var q Position
				q, err = here.Append(within(t, 30*time.Second), "enf.a.p.here", p, []byte(data))
				told.note(data, q, err)
				switch {
				case err == nil:
					if n == 0 {
						took := time.Since(began)
						t.Logf("taken over after %s", took)
						if took > 10*time.Second {
							t.Errorf("taken over after %s, want at most 10 s", took)
						}
					}
					n++
					p = q
				case errors.Is(err, ErrConflict): // an append whose outcome was unknown had landed
					recs, _, err := here.Load(within(t, 10*time.Second), "enf.a.p.here")
					if err != nil {
						t.Fatal(err)
					}
					p = recs[len(recs)-1].Position
				case !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrNoWriter):
					t.Fatal(err)
				}
			}
			if n < 50 {
				t.Fatalf("%d appends after the writer was %s, then %v", n, c.name, err)
			}
			if c.sig == syscall.SIGSTOP {
				before := said()
				if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
					t.Fatal(err)
				}
				eventually(t, 30*time.Second, "the process that woke up is served by the writer here", func() bool { return said() > before+200 })
				if st := here.Status(); !st.Writing {
					t.Errorf("the writer is %q", st.Holder)
				}
			}
			if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Fatal(err)
			}
			<-reading
			all := everything(t, outsideConfig(t, url, "checker"))
			told.check(t, all)
			inOrder(t, all)
		})
	}
}

// inOrder checks that the numbers in stream/number records rise in each stream.
func inOrder(t testing.TB, all []Record) {
	t.Helper()
	last := map[string]int{}
	for _, r := range all {
		_, number, ok := strings.Cut(string(r.Data), "/")
		if !ok {
			continue
		}
		var n int
		if _, err := fmt.Sscan(number, &n); err != nil {
			t.Fatal(err)
		}
		if n <= last[r.Stream] {
			t.Errorf("stream %s: %d stands after %d", r.Stream, n, last[r.Stream])
		}
		last[r.Stream] = n
	}
}

// TestMain lets the test binary be a process that opens the store at
// EVENTSTORE_TEST_URL or in EVENTSTORE_TEST_DIR and appends until it is killed,
// saying each thing that was acknowledged.
func TestMain(m *testing.M) {
	url, dir := os.Getenv("EVENTSTORE_TEST_URL"), os.Getenv("EVENTSTORE_TEST_DIR")
	if url == "" && dir == "" {
		os.Exit(m.Run())
	}
	if err := appendForever(url, dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func writerProcess(t testing.TB, url string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	return testProcess(t, "EVENTSTORE_TEST_URL="+url)
}

func testProcess(t testing.TB, env string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be dead already
		_ = cmd.Wait()         // killed: an error is as it should be
	})
	return cmd, bufio.NewScanner(out)
}

func appendForever(url, dir string) error {
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	c := Config{Volume: "TEST", Logger: logger}
	var err error
	if dir != "" {
		c.Server, err = Embedded(dir, ServerOptions{Logger: logger})
	} else {
		c.NATS, err = nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectBufSize(-1))
	}
	if err != nil {
		return err
	}
	ctx := context.Background()
	s, err := Open(ctx, c)
	if err != nil {
		return err
	}
	go func() { _ = s.Run(ctx) }() // until killed
	run := time.Now().UnixNano()
	var out sync.Mutex
	for w := range 64 {
		go func() {
			stream := fmt.Sprint("enf.process.p.", w)
			recs, after, err := s.Load(ctx, stream)
			n := len(recs) * 1000
			for {
				if err != nil {
					recs, after, err = s.Load(ctx, stream)
					n = max(n, len(recs)*1000)
					continue
				}
				n++
				data := fmt.Sprintf("%d-%d-%d/%d", run, w, n, n)
				var p Position
				if p, err = s.Append(ctx, stream, after, []byte(data)); err == nil {
					after = p
					out.Lock()
					fmt.Println("stored", stream, p, data)
					out.Unlock()
				}
			}
		}()
	}
	select {}
}

// The process with the embedded server is killed again and again while 64
// callers write: what was acknowledged is there, once and in order.
func TestKilledAgainAndAgain(t *testing.T) {
	dir := t.TempDir()
	told := newLedger()
	rounds := 5
	if testing.Short() {
		rounds = 2
	}
	for round := range rounds {
		cmd, lines := testProcess(t, "EVENTSTORE_TEST_DIR="+dir)
		stop := 300 + 177*round // a number of acknowledgements, so each time at another point of a group
		for n := 0; lines.Scan(); {
			var stream, data string
			var p Position
			if _, err := fmt.Sscanf(lines.Text(), "stored %s %d %s", &stream, &p, &data); err != nil {
				continue // the last line may be half
			}
			told.note(data, p, nil)
			if n++; n == stop {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait() // killed
	}
	cfg := testConfig(t, testServer(t, dir, 0))
	all := everything(t, cfg)
	told.check(t, all)
	inOrder(t, all)
	t.Logf("%d records, %d acknowledged, after %d kills", len(all), len(told.acked), rounds)
}

// 64 callers on one stream and on a thousand.
func TestManyWriters(t *testing.T) {
	for _, streams := range []int{1, 1000} {
		t.Run(fmt.Sprint(streams, " streams"), func(t *testing.T) {
			t.Parallel()
			cfg := testConfig(t, testServer(t, t.TempDir(), 0))
			cfg.AckWait, cfg.GiveUp = 5*time.Second, 30*time.Second
			s, _ := runStore(t, cfg)
			told := newLedger()
			ctx := within(t, 5*time.Minute)
			each := 40
			if streams == 1 {
				each = 10 // each must lose to all others first
			}
			var wg sync.WaitGroup
			for w := range 64 {
				wg.Go(func() {
					for n := range each {
						stream := fmt.Sprint("enf.a.p.", (w*each+n)%streams)
						for try := 1; ; try++ { // read, decide, append: the next number of the stream
							recs, through, ok := s.Since(stream, 0)
							if !ok {
								t.Error("the tail does not hold all")
								return
							}
							next := 1
							if len(recs) > 0 {
								_, number, _ := strings.Cut(string(recs[len(recs)-1].Data), "/")
								if _, err := fmt.Sscan(number, &next); err != nil {
									t.Error(err)
									return
								}
								next++
							}
							data := fmt.Sprintf("%d-%d-%d/%d", w, n, try, next)
							p, err := s.Append(ctx, stream, through, []byte(data))
							told.note(data, p, err)
							if err == nil {
								break
							}
							if !errors.Is(err, ErrConflict) {
								t.Error(err)
								return
							}
						}
					}
				})
			}
			wg.Wait()
			all := everything(t, cfg)
			if len(all) != 64*each {
				t.Errorf("%d records, want %d", len(all), 64*each)
			}
			told.check(t, all)
			count := map[string]int{}
			for _, r := range all { // each stream counts 1, 2, 3 …
				count[r.Stream]++
				if want := fmt.Sprint("/", count[r.Stream]); !strings.HasSuffix(string(r.Data), want) {
					t.Errorf("record %d of %s is %s", count[r.Stream], r.Stream, r.Data)
				}
			}
			st := s.Status()
			t.Logf("%d conflicts, %d sendings", st.Conflicts, st.Groups)
		})
	}
}
