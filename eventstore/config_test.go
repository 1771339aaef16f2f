package eventstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Someone changes the running stream: writing stops with the reason, reading
// goes on, and when it is put right writing goes on as well.
func TestChangedConfiguration(t *testing.T) {
	cfg := testConfig(t, testServer(t, t.TempDir(), 0))
	cfg.CheckEvery = 20 * time.Millisecond
	s, _ := runStore(t, cfg)
	must(t, s, "enf.a.p.1", 0, "one")
	change := func(f func(*jetstream.StreamConfig)) {
		c := streamConfig(s.cfg)
		f(&c)
		if _, err := s.js.UpdateStream(within(t, 5*time.Second), c); err != nil {
			t.Fatal(err)
		}
	}
	change(func(c *jetstream.StreamConfig) { c.MaxMsgs = 1000; c.Discard = jetstream.DiscardOld })
	eventually(t, 5*time.Second, "the change is seen", func() bool { return s.Status().Incident != "" })
	if why := s.Status().Incident; !strings.Contains(why, "max_msgs is 1000, declared -1") || !strings.Contains(why, "discard") {
		t.Errorf("incident: %s", why)
	}
	if _, err := s.Append(within(t, 5*time.Second), "enf.a.p.1", 1, []byte("two")); !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "max_msgs") {
		t.Errorf("append: %v, want ErrStopped with the reason", err)
	}
	for _, err := range s.Follow(within(t, 5*time.Second), 0) {
		if err != nil {
			t.Errorf("reading while writing is stopped: %v", err)
		}
		break
	}
	change(func(*jetstream.StreamConfig) {})
	eventually(t, 5*time.Second, "it is put right", func() bool { return s.Status().Incident == "" })
	must(t, s, "enf.a.p.1", 1, "two")
}

func TestDifferences(t *testing.T) {
	declared := streamConfig(Config{Volume: "V", Subjects: []string{"v.>"}, Replicas: 1})
	running := declared
	running.Metadata = map[string]string{"_nats.ver": "2.15.2"}
	if d := differences(declared, running); len(d) > 0 {
		t.Errorf("what the server adds is a difference: %q", d)
	}
	for want, change := range map[string]func(*jetstream.StreamConfig){
		"persist_mode is \"async\"": func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.AsyncPersistMode },
		"deny_delete is none":       func(c *jetstream.StreamConfig) { c.DenyDelete = false },
		"max_age is 1000":           func(c *jetstream.StreamConfig) { c.MaxAge = time.Microsecond },
		"storage is \"memory\"":     func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"allow_rollup_hdrs is true": func(c *jetstream.StreamConfig) { c.AllowRollup = true },
		"sealed is true":            func(c *jetstream.StreamConfig) { c.Sealed = true },
	} {
		running := declared
		change(&running)
		if d := differences(declared, running); len(d) != 1 || !strings.HasPrefix(d[0], want) {
			t.Errorf("differences %q, want one that begins %q", d, want)
		}
	}
}

// Records are gone, the stream is gone, or it is another one: readers stop and
// so does writing.
func TestNotWhole(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, s *Store){
		"evicted": func(t *testing.T, s *Store) {
			c := streamConfig(s.cfg)
			c.MaxMsgs, c.Discard = 2, jetstream.DiscardOld
			if _, err := s.js.UpdateStream(within(t, 5*time.Second), c); err != nil {
				t.Fatal(err)
			}
		},
		"made anew": func(t *testing.T, s *Store) {
			if err := s.js.DeleteStream(within(t, 5*time.Second), s.cfg.Volume); err != nil {
				t.Fatal(err)
			}
			if _, err := s.js.CreateStream(within(t, 5*time.Second), streamConfig(s.cfg)); err != nil {
				t.Fatal(err)
			}
		},
		"gone": func(t *testing.T, s *Store) {
			if err := s.js.DeleteStream(within(t, 5*time.Second), s.cfg.Volume); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t, testServer(t, t.TempDir(), 0))
			cfg.CheckEvery = 20 * time.Millisecond
			s, _ := runStore(t, cfg)
			last := Position(0)
			for i := range 5 {
				last = must(t, s, "enf.a.p.1", last, fmt.Sprint(i))
			}
			ended := make(chan error, 1)
			ctx := within(t, 20*time.Second)
			following := make(chan struct{})
			go func() {
				for r, err := range s.Follow(ctx, 0) {
					if err != nil {
						ended <- err
						return
					}
					if r.Position == 5 {
						close(following)
					}
				}
			}()
			<-following
			harm(t, s)
			if err := <-ended; !errors.Is(err, ErrNotWhole) {
				t.Errorf("the follower ended with %v, want ErrNotWhole", err)
			}
			if _, err := s.Append(ctx, "enf.a.p.1", last, []byte("x")); !errors.Is(err, ErrStopped) {
				t.Errorf("append: %v, want ErrStopped", err)
			}
			if name != "gone" {
				cfg.Start = 5
				s, err := Open(ctx, cfg)
				if err != nil {
					t.Fatal(err)
				}
				if st := s.Status(); st.Incident == "" && name == "made anew" {
					t.Error("a stream that ends before what readers hold is opened without an incident")
				}
			} else if _, err := Open(ctx, Config{Server: cfg.Server, Volume: "TEST", Start: 5}); !errors.Is(err, ErrNotWhole) {
				t.Errorf("opening a stream that is gone: %v, want ErrNotWhole", err)
			}
		})
	}
}

// A reader that is ahead of the volume is refused.
func TestReaderAhead(t *testing.T) {
	cfg := testConfig(t, testServer(t, t.TempDir(), 0))
	s, _ := runStore(t, cfg)
	must(t, s, "enf.a.p.1", 0, "one")
	for _, err := range s.Follow(within(t, 5*time.Second), 2) {
		if !errors.Is(err, ErrNotWhole) {
			t.Errorf("following after 2 of 1: %v, want ErrNotWhole", err)
		}
	}
}

// Followers, in memory and on the wire, live through a restart of the server.
func TestFollowAcrossRestart(t *testing.T) {
	srv := testServer(t, t.TempDir(), 0)
	cfg := testConfig(t, srv)
	cfg.GiveUp = 20 * time.Second
	s, _ := runStore(t, cfg)
	reader, err := Open(within(t, 5*time.Second), cfg) // does not run: reads from the stream alone
	if err != nil {
		t.Fatal(err)
	}
	ctx := within(t, 60*time.Second)
	const n = 30
	done := make(chan error, 2)
	for _, s := range []*Store{s, reader} {
		go func() {
			want := Position(1)
			for r, err := range s.Follow(ctx, 0) {
				if err == nil && (r.Position != want || string(r.Data) != fmt.Sprint(want)) {
					err = fmt.Errorf("position %d %q, want %d", r.Position, r.Data, want)
				}
				if err != nil || want == n {
					done <- err
					return
				}
				want++
			}
		}()
	}
	last := Position(0)
	for i := 1; i <= n; i++ {
		if i%10 == 0 {
			if err := srv.restart(ctx); err != nil {
				t.Fatal(err)
			}
		}
		last = must(t, s, "enf.a.p.1", last, fmt.Sprint(i))
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestOldServer(t *testing.T) {
	for version, ok := range map[string]bool{"2.15.2": true, "2.16.0": true, "3.0.0": true, "2.15.1": false, "2.9.30": false, "": false} {
		if err := checkVersion(version); (err == nil) != ok {
			t.Errorf("version %q: %v", version, err)
		}
	}
}

// A caller that goes away while its append waits is told what that means.
func TestCallerGoesAway(t *testing.T) {
	cfg := testConfig(t, testServer(t, t.TempDir(), 0))
	f := faulty(&cfg)
	s, _ := runStore(t, cfg)
	held := f.shut()
	t.Cleanup(f.open)
	inHand, goInHand := context.WithCancel(context.Background())
	waiting, goWaiting := context.WithCancel(context.Background())
	errs := [2]chan error{make(chan error, 1), make(chan error, 1)}
	go func() {
		_, err := s.Append(inHand, "enf.a.p.1", 0, []byte("in hand"))
		errs[0] <- err
	}()
	<-held
	go func() {
		_, err := s.Append(waiting, "enf.a.p.2", 0, []byte("waiting"))
		errs[1] <- err
	}()
	r, _ := s.currentRole()
	eventually(t, 5*time.Second, "the second waits", func() bool {
		r.writer.mu.Lock()
		defer r.writer.mu.Unlock()
		return len(r.writer.queue) == 1
	})
	goWaiting()
	if err := <-errs[1]; !errors.Is(err, ErrBusy) || !errors.Is(err, context.Canceled) {
		t.Errorf("gone while waiting: %v, want ErrBusy: nothing was stored", err)
	}
	goInHand()
	if err := <-errs[0]; !errors.Is(err, ErrUnknown) || !errors.Is(err, context.Canceled) {
		t.Errorf("gone while it was sent: %v, want ErrUnknown", err)
	}
	f.open()
	must(t, s, "enf.a.p.3", 0, "after")
	wantRecords(t, everything(t, cfg), "in hand", "after")
}
