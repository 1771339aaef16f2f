package eventstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// once makes a fault that happens a number of times and then no more.
func once() func() bool {
	var n atomic.Int64
	return func() bool { return n.Add(1) == 1 }
}

func TestLostAcknowledgement(t *testing.T) {
	batch := make([]string, 20)
	for i := range batch {
		batch[i] = fmt.Sprint("batch-", i)
	}
	commits := func(m *nats.Msg) bool { return m.Header.Get(headerBatch) == "" || m.Header.Get(headerCommit) != "" }
	for _, c := range []struct {
		name   string
		data   []string
		stored bool
	}{
		{"one record, stored", []string{"single"}, true},
		{"one record, not stored", []string{"single"}, false},
		{"a batch, stored", batch, true},
		{"a batch, not stored", batch, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := testConfig(t, testServer(t, t.TempDir(), 0))
			f := faulty(&cfg)
			s, _ := runStore(t, cfg)
			must(t, s, "enf.a.p.0", 0, "before")
			first := once()
			if c.stored {
				f.set(nil, func(_ uint64, a answer) (answer, bool) { return a, a.last == 0 || !first() })
			} else {
				f.set(func(m *nats.Msg, _ uint64) bool { return commits(m) && first() }, nil)
			}
			p := must(t, s, "enf.a.p.1", 0, c.data...)
			if want := Position(1 + len(c.data)); p != want {
				t.Errorf("position %d, want %d", p, want)
			}
			must(t, s, "enf.a.p.1", p, "after")
			wantRecords(t, everything(t, cfg), append(append([]string{"before"}, c.data...), "after")...)
			if st := s.Status(); st.Retries == 0 {
				t.Error("the loss was not noticed")
			}
		})
	}
}

// The server stays silent for longer than the writer tries: the caller is told
// ErrUnknown, whether the record is there or not, and the store goes on.
func TestUnknown(t *testing.T) {
	for _, stored := range []bool{true, false} {
		t.Run(fmt.Sprint("stored=", stored), func(t *testing.T) {
			cfg := testConfig(t, testServer(t, t.TempDir(), 0))
			cfg.GiveUp = 300 * time.Millisecond
			f := faulty(&cfg)
			s, _ := runStore(t, cfg)
			if stored {
				f.set(nil, func(uint64, answer) (answer, bool) { return answer{}, false })
			} else {
				f.set(func(*nats.Msg, uint64) bool { return true }, nil)
			}
			_, err := s.Append(within(t, 20*time.Second), "enf.a.p.1", 0, []byte("perhaps"))
			if !errors.Is(err, ErrUnknown) {
				t.Fatalf("append: %v, want ErrUnknown", err)
			}
			f.set(nil, nil)
			_, err = s.Append(within(t, 20*time.Second), "enf.a.p.1", 0, []byte("again"))
			if stored {
				if !errors.Is(err, ErrConflict) {
					t.Errorf("append where the unknown one was stored: %v, want ErrConflict", err)
				}
				wantRecords(t, everything(t, cfg), "perhaps")
			} else {
				if err != nil {
					t.Errorf("append where the unknown one was not stored: %v", err)
				}
				wantRecords(t, everything(t, cfg), "again")
			}
		})
	}
}

// A message that was given up comes to the server late, when another record
// already stands in its place.
func TestLateMessage(t *testing.T) {
	cfg := testConfig(t, testServer(t, t.TempDir(), 0))
	cfg.GiveUp = 300 * time.Millisecond
	f := faulty(&cfg)
	s, _ := runStore(t, cfg)
	var mu sync.Mutex
	var late []*nats.Msg
	f.set(func(m *nats.Msg, _ uint64) bool {
		mu.Lock()
		defer mu.Unlock()
		late = append(late, m)
		return true
	}, nil)
	if _, err := s.Append(within(t, 20*time.Second), "enf.a.p.1", 0, []byte("late")); !errors.Is(err, ErrUnknown) {
		t.Fatalf("append: %v, want ErrUnknown", err)
	}
	f.set(nil, nil)
	must(t, s, "enf.a.p.1", 0, "instead")
	for _, m := range late {
		m.Reply = ""
		if err := s.wire.(*faultyWire).wire.publish(m, 0); err != nil {
			t.Fatal(err)
		}
	}
	must(t, s, "enf.a.p.2", 0, "other")
	wantRecords(t, everything(t, cfg), "instead", "other")
}

// Another writer, wrongly, has written to the stream.
func TestForeignRecord(t *testing.T) {
	cfg := testConfig(t, testServer(t, t.TempDir(), 0))
	f := faulty(&cfg)
	s, _ := runStore(t, cfg)
	foreign := func(subject, data string) {
		if _, err := s.js.Publish(within(t, 5*time.Second), subject, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	foreign("enf.a.p.1", "foreign 1")
	if _, err := s.Append(within(t, 20*time.Second), "enf.a.p.1", 0, []byte("stale")); !errors.Is(err, ErrConflict) {
		t.Errorf("append to a stream that another has written to: %v, want ErrConflict", err)
	}
	foreign("enf.a.p.1", "foreign 2")
	if p := must(t, s, "enf.a.p.2", 0, "mine"); p != 3 {
		t.Errorf("position %d, want 3", p)
	}

	// Our message is lost and in its place stands a foreign one.
	first := once()
	f.set(func(*nats.Msg, uint64) bool {
		if !first() {
			return false
		}
		foreign("enf.a.p.9", "foreign 3")
		return true
	}, nil)
	if p := must(t, s, "enf.a.p.2", 3, "mine too"); p != 5 {
		t.Errorf("position %d, want 5", p)
	}
	wantRecords(t, everything(t, cfg), "foreign 1", "foreign 2", "mine", "foreign 3", "mine too")
	if st := s.Status(); st.Foreign < 2 || !st.Writing {
		t.Errorf("foreign records seen %d times, writing %v", st.Foreign, st.Writing)
	}
}

// One of many in a batch is stale: the others land.
func TestOneStaleAmongMany(t *testing.T) {
	cfg := testConfig(t, testServer(t, t.TempDir(), 0))
	f := faulty(&cfg)
	s, _ := runStore(t, cfg)
	stale := must(t, s, "enf.a.p.stale", 0, "first")
	var appends []func() (Position, error)
	for i := range 40 {
		stream, after := fmt.Sprint("enf.a.p.", i), Position(0)
		switch i {
		case 20:
			stream, after = "enf.a.p.stale", stale
		case 30:
			stream = "enf.a.p.29" // a second one of a stream in the group
		}
		appends = append(appends, func() (Position, error) {
			return s.Append(context.Background(), stream, after, []byte(fmt.Sprint("many ", i)))
		})
	}
	before := s.Status().Groups
	_, errs := together(t, s, f, "enf.a.p.stale", appends...)
	for i, err := range errs {
		if wrong := i == 20 || i == 30; wrong != errors.Is(err, ErrConflict) || !wrong && err != nil {
			t.Errorf("append %d: %v", i, err)
		}
	}
	if n := s.Status().Groups - before; n != 2 {
		t.Errorf("%d sendings, want 2: the first append and the group", n)
	}
	if n := len(everything(t, cfg)); n != 1+1+38 {
		t.Errorf("%d records, want 40", n)
	}
}

func TestTooLarge(t *testing.T) {
	cfg := testConfig(t, testServer(t, t.TempDir(), 0))
	s, _ := runStore(t, cfg)
	big := strings.Repeat("x", 1<<20-80<<10)
	for name, data := range map[string][]string{
		"a record over the server's limit":   {strings.Repeat("x", 1<<20)},
		"records that together are over it":  {big, big},
		"more records than a batch may hold": make([]string, 1001),
	} {
		if _, err := s.Append(within(t, 20*time.Second), "enf.a.p.1", 0, bytesOf(data...)...); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v, want ErrTooLarge", name, err)
		}
	}
	must(t, s, "enf.a.p.1", 0, big)
	must(t, s, "enf.a.p.2", 0, make([]string, 1000)...)
	for _, bad := range []string{"", "enf", "enf.", "enf.*", "enf.a.>", "enf.a b", "other.a", "enf..a", "enf.a\r\n"} {
		if _, err := s.Append(within(t, 20*time.Second), bad, 0, []byte("x")); !errors.Is(err, errRefused) {
			t.Errorf("append to %q: %v, want a refusal", bad, err)
		}
	}
	if n := len(everything(t, cfg)); n != 1001 {
		t.Errorf("%d records, want 1001", n)
	}
}

// What Append gives for each answer of the server, once forged in place of the
// real one, to a message that was or was not stored.
func TestVerdictsInAppend(t *testing.T) {
	cfg := testConfig(t, testServer(t, t.TempDir(), 0))
	f := faulty(&cfg)
	for code, v := range verdicts {
		for _, stored := range []bool{false, true} {
			if stored && v != read && v != again { // a definite refusal is believed
				continue
			}
			t.Run(fmt.Sprint(code, " stored=", stored), func(t *testing.T) {
				cfg.Volume, cfg.Subjects = fmt.Sprintf("V%d%v", code, stored), []string{fmt.Sprintf("v%d%v.>", code, stored)}
				s, _ := runStore(t, cfg)
				stream := fmt.Sprintf("v%d%v.x", code, stored)
				first := once()
				forged := answer{code: code, text: "forged"}
				if stored {
					f.set(nil, func(_ uint64, a answer) (answer, bool) {
						if first() {
							return forged, true
						}
						return a, true
					})
				} else {
					f.set(func(m *nats.Msg, token uint64) bool {
						if !first() {
							return false
						}
						r, _ := s.currentRole()
						r.writer.hear(token, forged)
						return true
					}, nil)
				}
				defer f.set(nil, nil)
				p, err := s.Append(within(t, 20*time.Second), stream, 0, []byte("x"))
				var want error
				switch v {
				case full:
					want = ErrFull
				case never, smaller:
					want = ErrTooLarge
					if code == codeSourceHeader {
						want = errRefused
					}
				case stop:
					want = ErrStopped
				}
				if !errors.Is(err, want) || want == nil && p != 1 {
					t.Errorf("position %d, %v, want %v", p, err, want)
				}
				if n := len(everything(t, cfg)); (n == 1) != (want == nil) {
					t.Errorf("%d records", n)
				}
				if why := s.Status().Incident; (why != "") != (v == stop) {
					t.Errorf("incident %q", why)
				}
			})
		}
	}
}

// The codes as the real server gives them.
func TestVerdictsOfTheServer(t *testing.T) {
	srv := testServer(t, t.TempDir(), 0)
	s, err := Open(within(t, 10*time.Second), testConfig(t, srv))
	if err != nil {
		t.Fatal(err)
	}
	stream := func(name string, change func(*jetstream.StreamConfig)) string {
		c := streamConfig(Config{Volume: name, Subjects: []string{name + ".>"}, Replicas: 1})
		c.DenyPurge, c.DenyDelete = false, false
		change(&c)
		if _, err := s.js.CreateStream(within(t, 5*time.Second), c); err != nil {
			t.Fatal(err)
		}
		return name
	}
	plain := stream("plain", func(*jetstream.StreamConfig) {})
	small := stream("small", func(c *jetstream.StreamConfig) { c.MaxBytes = 10_000; c.MaxMsgSize = 8000 })
	single := stream("single", func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false })
	sealed := stream("sealed", func(*jetstream.StreamConfig) {})
	c := streamConfig(Config{Volume: sealed, Subjects: []string{sealed + ".>"}, Replicas: 1})
	c.DenyPurge, c.DenyDelete, c.Sealed = false, false, true
	if _, err := s.js.UpdateStream(within(t, 5*time.Second), c); err != nil {
		t.Fatal(err)
	}

	ask := func(subject, data string, header ...string) answer {
		m := nats.NewMsg(subject)
		m.Data = []byte(data)
		for i := 0; i < len(header); i += 2 {
			m.Header.Set(header[i], header[i+1])
		}
		reply, err := srv.Conn().RequestMsgWithContext(within(t, 10*time.Second), m)
		if errors.Is(err, nats.ErrNoResponders) {
			return answer{nobody: true}
		}
		if err != nil {
			t.Fatal(err)
		}
		a, _ := parseAnswer(reply)
		return a
	}
	part := func(stream, id string, n int, header ...string) answer {
		return ask(stream+".x"+fmt.Sprint(n), "x", append([]string{headerBatch, id, headerPart, fmt.Sprint(n)}, header...)...)
	}
	for _, c := range []struct {
		name string
		ask  func() answer
		code jetstream.ErrorCode
		want verdict
	}{
		{"stored", func() answer { return ask(plain+".x", "x") }, 0, fine},
		{"nobody listens", func() answer { return ask("nowhere", "x") }, 0, again},
		{"stale stream sequence", func() answer { return ask(plain+".x", "x", headerExpected, "7") }, 10071, read},
		{"stale stream sequence in a batch", func() answer {
			part(plain, "stale", 1, headerExpected, "7")
			return part(plain, "stale", 2, headerCommit, "1")
		}, 10071, read},
		{"one subject expected twice in a batch", func() answer {
			ask(plain+".twice", "x", headerBatch, "twice", headerPart, "1", "Nats-Expected-Last-Subject-Sequence", "0")
			return ask(plain+".twice", "x", headerBatch, "twice", headerPart, "2", "Nats-Expected-Last-Subject-Sequence", "0", headerCommit, "1")
		}, 10164, read},
		{"a batch with an id that is there", func() answer {
			ask(plain+".x", "x", "Nats-Msg-Id", "same")
			return part(plain, "dup", 1, "Nats-Msg-Id", "same", headerCommit, "1")
		}, 10201, read},
		{"batches not allowed", func() answer { return part(single, "b", 1) }, 10174, stop},
		{"no place in the batch", func() answer { return ask(plain+".x", "x", headerBatch, "b") }, 10175, again},
		{"a message of a batch is missing", func() answer {
			part(plain, "gap", 1)
			return part(plain, "gap", 3, headerCommit, "1")
		}, 10176, again},
		{"batch id too long", func() answer { return part(plain, strings.Repeat("b", 65), 1) }, 10179, again},
		{"batch too large", func() answer {
			for n := range 1000 {
				m := nats.NewMsg(plain + ".x")
				m.Header.Set(headerBatch, "large")
				m.Header.Set(headerPart, fmt.Sprint(n+1))
				if err := srv.Conn().PublishMsg(m); err != nil {
					t.Fatal(err)
				}
			}
			return part(plain, "large", 1001, headerCommit, "1")
		}, 10199, smaller},
		{"headers too large", func() answer { return ask(plain+".x", "x", "Long", strings.Repeat("x", 65<<10)) }, 10097, never},
		{"a header of the server's own", func() answer { return ask(plain+".x", "x", "Nats-Stream-Source", "x") }, 10227, never},
		{"message over the stream's limit", func() answer { return ask(small+".x", strings.Repeat("x", 9000)) }, 10054, never},
		{"stream over its limit", func() answer {
			ask(small+".x", strings.Repeat("x", 6000))
			return ask(small+".x", strings.Repeat("x", 6000))
		}, 10077, full},
		{"sealed", func() answer { return ask(sealed+".x", "x") }, 10109, stop},
		{"another stream", func() answer { return ask(plain+".x", "x", headerStream, "other") }, 10060, stop},
		{"too many batches", func() answer {
			var a answer
			for n := range 60 {
				if a = part(plain, fmt.Sprint("open", n), 1); a.code != 0 {
					break
				}
			}
			return a
		}, 10210, again},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := c.ask()
			if a.code != c.code || classify(a) != c.want {
				t.Errorf("the server said %d %q, verdict %d, want %d and verdict %d", a.code, a.text, classify(a), c.code, c.want)
			}
		})
	}
}
