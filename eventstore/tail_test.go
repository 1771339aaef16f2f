package eventstore

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The tail against a plain list: whatever is appended, committed, released,
// cut and gated, it answers like the list, or says that it cannot.
func TestTailLikeAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := Position(rapid.IntRange(0, 5).Draw(t, "start"))
		tl := newTail(start, rapid.IntRange(0, 10).Draw(t, "margin"), int64(rapid.IntRange(500, 20_000).Draw(t, "bytes")))
		tl.start()
		list := make([]Record, start) // list[p-1]
		shown := start
		limit := open
		stream := func() string { return fmt.Sprint("s", rapid.IntRange(0, 4).Draw(t, "stream")) }
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				var recs []kept
				for range rapid.IntRange(1, 5).Draw(t, "n") {
					r := Record{Stream: stream(), Position: Position(len(list) + 1), Data: make([]byte, rapid.IntRange(0, 100).Draw(t, "size"))}
					list = append(list, r)
					recs = append(recs, kept{Record: r, tag: uint64(r.Position)})
				}
				if err := tl.append(recs); err != nil {
					t.Fatal(err)
				}
				shown = min(Position(len(list)), limit)
			},
			"gap": func(t *rapid.T) {
				if err := tl.append([]kept{{Record: Record{Position: Position(len(list) + 2)}}}); !errors.Is(err, ErrNotWhole) {
					t.Fatalf("a gap: %v", err)
				}
			},
			"release": func(t *rapid.T) {
				tl.release(Position(rapid.IntRange(0, int(shown)).Draw(t, "release")))
			},
			"gate": func(t *rapid.T) {
				limit = tl.gate(0)
				if limit != Position(len(list)) {
					t.Fatalf("gated at %d, want %d", limit, len(list))
				}
				shown = limit
			},
			"ungate": func(t *rapid.T) {
				tl.ungate()
				limit, shown = open, Position(len(list))
			},
			"commit": func(t *rapid.T) {
				if limit == open {
					t.Skip("not writing")
				}
				e := &entry{stream: stream(), last: limit + 1}
				if e.last <= Position(len(list)) {
					e.stream = list[limit].Stream
				}
				tl.commit([]*entry{e}, e.last)
				limit++
				if last, _ := tl.head(e.stream); last < e.last {
					t.Fatalf("committed at %d, the head is %d", e.last, last)
				}
				if Position(len(list)) < limit { // it is read back later
					r := Record{Stream: e.stream, Position: limit}
					list = append(list, r)
					if err := tl.append([]kept{{Record: r}}); err != nil {
						t.Fatal(err)
					}
				}
				shown = min(Position(len(list)), limit)
			},
			"cut": func(t *rapid.T) {
				if len(list) == int(start) {
					t.Skip("empty")
				}
				end := Position(rapid.IntRange(int(start), len(list)).Draw(t, "end"))
				if end < tl.base {
					t.Skip("forgotten")
				}
				err := tl.cut(end)
				if end < shown {
					if !errors.Is(err, ErrNotWhole) {
						t.Fatalf("cut to %d of what was shown to %d: %v", end, shown, err)
					}
					return
				}
				list = list[:end]
			},
			"": func(t *rapid.T) {
				received, s, _, base := tl.ends()
				if received != Position(len(list)) || s != shown {
					t.Fatalf("received %d shown %d, want %d and %d", received, s, len(list), shown)
				}
				name := "s" + fmt.Sprint(rapid.IntRange(0, 4).Draw(t, "asked"))
				after := Position(rapid.IntRange(0, len(list)).Draw(t, "after"))
				recs, through, ok := tl.since(name, after)
				if ok != (after >= base) {
					t.Fatalf("since %d with base %d: ok %v", after, base, ok)
				}
				var want []Position
				var head Position
				for p := base + 1; p <= Position(len(list)); p++ {
					if list[p-1].Stream == name {
						head = p
						if p > after && p <= shown {
							want = append(want, p)
						}
					}
				}
				if got, _ := tl.head(name); got != head {
					t.Fatalf("head of %s is %d, want %d", name, got, head)
				}
				if !ok {
					return
				}
				if through != max(shown, after) {
					t.Fatalf("through %d, want %d", through, max(shown, after))
				}
				if got := positions(recs); !slices.Equal(got, want) {
					t.Fatalf("since %d: %v, want %v", after, got, want)
				}
				next, _, ok := tl.next(after, 3)
				if !ok || len(next) != max(0, min(3, int(shown)-int(after))) {
					t.Fatalf("next after %d: %d records, ok %v, shown %d", after, len(next), ok, shown)
				}
				for i, r := range next {
					if r.Position != after+1+Position(i) || r.Stream != list[r.Position-1].Stream {
						t.Fatalf("next after %d: %v", after, next)
					}
				}
			},
		})
	})
}

func positions(recs []Record) (out []Position) {
	for _, r := range recs {
		out = append(out, r.Position)
	}
	return out
}

// Readers lag: Append waits for Release, and gives up with ErrBusy.
func TestSlowReaders(t *testing.T) {
	cfg := testConfig(t, testServer(t, t.TempDir(), 0))
	cfg.MaxLag, cfg.GiveUp = 10, 300*time.Millisecond
	s, _ := runStore(t, cfg)
	last := Position(0)
	for i := range 11 {
		last = must(t, s, "enf.a.p.1", last, fmt.Sprint(i))
	}
	if _, err := s.Append(within(t, 10*time.Second), "enf.a.p.1", last, []byte("too far")); !errors.Is(err, ErrBusy) {
		t.Fatalf("append beyond the lag: %v, want ErrBusy", err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := s.Append(within(t, 10*time.Second), "enf.a.p.1", last, []byte("waits"))
		done <- err
	}()
	eventually(t, 5*time.Second, "the append is held back", func() bool { return s.Status().Slowed == 2 })
	s.Release(5)
	if err := <-done; err != nil {
		t.Errorf("append after release: %v", err)
	}
}

// A store that starts far behind the end, or has forgotten, asks the stream.
func TestColdHeads(t *testing.T) {
	cfg := testConfig(t, testServer(t, t.TempDir(), 0))
	s, stop := runStore(t, cfg)
	for i := range 20 {
		must(t, s, fmt.Sprint("enf.a.p.", i), Position(0), "old")
	}
	if n := s.Status().ColdHeads; n != 0 {
		t.Errorf("%d cold heads with everything in memory", n)
	}
	stop()
	cfg.Start = 20
	s, _ = runStore(t, cfg)
	if _, _, ok := s.Since("enf.a.p.3", 19); ok {
		t.Error("the tail answers for what it does not hold")
	}
	if _, err := s.Append(within(t, 10*time.Second), "enf.a.p.3", 2, []byte("stale")); !errors.Is(err, ErrConflict) {
		t.Errorf("append after 2 to a stream that was written to at 4: %v, want ErrConflict", err)
	}
	if _, err := s.Append(within(t, 10*time.Second), "enf.b.q.3", 2, []byte("stale")); !errors.Is(err, ErrConflict) {
		t.Errorf("append after 2 under another subject of the same name: %v, want ErrConflict", err)
	}
	must(t, s, "enf.a.p.3", 4, "new")
	must(t, s, "enf.a.p.new", 0, "new")
	must(t, s, "enf.a.p.5", 22, "known to the end")
	if n := s.Status().ColdHeads; n != 4 {
		t.Errorf("%d cold heads, want 4", n)
	}
	if n := len(everything(t, cfg)); n != 23 {
		t.Errorf("%d records, want 23", n)
	}
}

// The tail forgets under want of room, while appends go on.
func TestSmallTail(t *testing.T) {
	cfg := testConfig(t, testServer(t, t.TempDir(), 0))
	cfg.TailBytes = 3000
	s, _ := runStore(t, cfg)
	heads := map[string]Position{}
	for i := range 60 {
		stream := fmt.Sprint("enf.a.p.", i%7)
		heads[stream] = must(t, s, stream, heads[stream], fmt.Sprint(i))
	}
	st := s.Status()
	if st.Base == 0 || st.Bytes > 4000 {
		t.Errorf("the tail holds %d bytes from %d on", st.Bytes, st.Base)
	}
	n := 0
	for r, err := range s.Follow(within(t, 10*time.Second), 0) {
		if err != nil || string(r.Data) != fmt.Sprint(n) {
			t.Fatalf("record %d is %q, %v", n, r.Data, err)
		}
		if n++; n == 60 {
			break
		}
	}
}

// What is read back must be what was sent, whichever of the two comes first.
func TestReadBack(t *testing.T) {
	read := func(data string) []kept {
		return []kept{{Record: Record{Stream: "enf.a.p.1", Position: 1, Data: []byte(data)}}}
	}
	sent := []*entry{{stream: "enf.a.p.1", data: bytesOf("one"), last: 1}}
	for _, data := range []string{"one", "two"} {
		want := map[string]error{"one": nil, "two": ErrNotWhole}[data]

		acknowledged := newTail(0, 10, 1<<20)
		if err := acknowledged.commit(sent, 1); err != nil {
			t.Fatal(err)
		}
		if err := acknowledged.append(read(data)); !errors.Is(err, want) {
			t.Errorf("reading %q back after the acknowledgement: %v, want %v", data, err, want)
		}
		early := newTail(0, 10, 1<<20)
		if err := early.append(read(data)); err != nil {
			t.Fatal(err)
		}
		if err := early.commit(sent, 1); !errors.Is(err, want) {
			t.Errorf("reading %q back before the acknowledgement: %v, want %v", data, err, want)
		}
		if len(acknowledged.sent)+len(early.sent) != 0 {
			t.Error("what was read back is still waited for")
		}
	}
}

// What was acknowledged and not read back yet counts as stored: it may not be
// missing after a restart of the server, and readers are behind by it.
func TestAcknowledgedAndNotReadBack(t *testing.T) {
	tl := newTail(0, 10, 1<<20)
	tl.gate(0)
	if err := tl.commit([]*entry{{stream: "enf.a.p.1", data: bytesOf("one", "two"), last: 2}}, 2); err != nil {
		t.Fatal(err)
	}
	if shown, stored := tl.shown(), tl.stored(); shown != 0 || stored != 2 {
		t.Errorf("shown to %d, stored to %d; want 0 and 2", shown, stored)
	}
	if tl.waiting() != 2 || tl.size() == 0 {
		t.Errorf("%d records wait to be read back, %d bytes; want 2 and their size", tl.waiting(), tl.size())
	}
	if err := tl.cut(1); !errors.Is(err, ErrNotWhole) {
		t.Errorf("the stream ends at 1 after 2 was acknowledged: %v, want ErrNotWhole", err)
	}
	if err := tl.cut(2); err != nil {
		t.Errorf("the stream ends where it was acknowledged: %v", err)
	}
	one := kept{Record: Record{Stream: "enf.a.p.1", Position: 1, Data: []byte("one")}}
	two := kept{Record: Record{Stream: "enf.a.p.1", Position: 2, Data: []byte("two")}}
	if err := tl.append([]kept{one, two}); err != nil {
		t.Fatal(err)
	}
	if want := one.size() + two.size(); tl.waiting() != 0 || tl.size() != want {
		t.Errorf("read back, %d records wait and the tail has %d bytes; want 0 and %d", tl.waiting(), tl.size(), want)
	}
}
