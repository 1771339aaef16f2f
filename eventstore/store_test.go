package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"liuhen/eventstore"
	"liuhen/eventstore/eventstoretest"
)

func ctxFor(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestAppendAndRead(t *testing.T) {
	store := eventstoretest.New(t)
	ctx := ctxFor(t, 30*time.Second)
	p1, err := store.Append(ctx, "enf.a.p.1", 0, []byte("one"))
	if err != nil || p1 != 1 {
		t.Fatalf("first append: position %d, %v", p1, err)
	}
	p3, err := store.Append(ctx, "enf.a.p.1", p1, []byte("two"), []byte("three"))
	if err != nil || p3 != 3 {
		t.Fatalf("second append: position %d, %v", p3, err)
	}
	if _, err := store.Append(ctx, "enf.a.p.1", p1, []byte("stale")); !errors.Is(err, eventstore.ErrConflict) {
		t.Fatalf("stale append: %v, want ErrConflict", err)
	}
	p4, err := store.Append(ctx, "enf.a.p.2", p3, []byte("four"))
	if err != nil || p4 != 4 {
		t.Fatalf("other stream: position %d, %v", p4, err)
	}
	if err := store.Wait(ctx, p4); err != nil {
		t.Fatal(err)
	}
	recs, through, ok := store.Since("enf.a.p.1", 1)
	if !ok || through != 4 || fmt.Sprint(texts(recs)) != "[two three]" {
		t.Fatalf("since 1: %v through %d ok %v", texts(recs), through, ok)
	}
	loaded, through, err := store.Load(ctx, "enf.a.p.1")
	if err != nil || through != 4 || fmt.Sprint(texts(loaded)) != "[one two three]" {
		t.Fatalf("load: %v through %d, %v", texts(loaded), through, err)
	}
	for i, r := range recs {
		if l := loaded[i+1]; !r.At.Equal(l.At) || r.Position != l.Position || r.Stream != l.Stream {
			t.Errorf("since gives %v, load gives %v", r, l)
		}
	}
	n := eventstore.Position(0)
	for r, err := range store.Follow(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; r.Position != n {
			t.Fatalf("position %d, want %d", r.Position, n)
		}
		if n == 4 {
			break
		}
	}
}

func texts(recs []eventstore.Record) (out []string) {
	for _, r := range recs {
		out = append(out, string(r.Data))
	}
	return out
}

// Two subjects that end alike are one stream, in memory and on the disk (see
// TestColdHeads for a store that has forgotten them).
func TestOneNameIsOneStream(t *testing.T) {
	store := eventstoretest.New(t)
	ctx := ctxFor(t, 30*time.Second)
	for i, e := range []eventstore.Entry{
		{Stream: "enf.a.p.C-1", After: 0, Data: [][]byte{[]byte("one")}},
		{Stream: "enf.a.p.C-2", After: 0, Data: [][]byte{[]byte("two")}},
		{Stream: "enf.b.q.C-1", After: 1, Data: [][]byte{[]byte("three")}},
	} {
		if p, err := store.Append(ctx, e.Stream, e.After, e.Data...); err != nil || p != eventstore.Position(i+1) {
			t.Fatalf("append %d: position %d, %v", i, p, err)
		}
	}
	if _, err := store.Append(ctx, "enf.c.r.C-1", 1, []byte("stale")); !errors.Is(err, eventstore.ErrConflict) {
		t.Errorf("an append after 1 to a name that was written to at 3: %v, want ErrConflict", err)
	}
	if err := store.Wait(ctx, 3); err != nil {
		t.Fatal(err)
	}
	recs, _, ok := store.Since("C-1", 0)
	if !ok || fmt.Sprint(texts(recs)) != "[one three]" {
		t.Errorf("since: %v", texts(recs))
	}
	recs, through, err := store.Load(ctx, "C-1")
	if err != nil || through != 3 || fmt.Sprint(texts(recs)) != "[one three]" {
		t.Errorf("load: %v through %d, %v", texts(recs), through, err)
	}
}

func TestAppendAll(t *testing.T) {
	store := eventstoretest.New(t)
	ctx := ctxFor(t, 30*time.Second)
	var entries []eventstore.Entry
	for i := range 2500 {
		entries = append(entries, eventstore.Entry{Stream: fmt.Sprint("enf.a.p.", i), Data: [][]byte{[]byte(fmt.Sprint(i))}})
	}
	entries[1000].Stream = entries[999].Stream // stale, for the one before comes first
	entries[2000].Stream = "nowhere"
	var last eventstore.Position
	for i, out := range store.AppendAll(ctx, entries) {
		switch {
		case i == 1000:
			if !errors.Is(out.Err, eventstore.ErrConflict) {
				t.Errorf("entry %d: %v, want ErrConflict", i, out.Err)
			}
		case i == 2000:
			if out.Err == nil {
				t.Errorf("entry %d was stored at %d", i, out.Position)
			}
		case out.Err != nil || out.Position != last+1:
			t.Fatalf("entry %d: position %d after %d, %v", i, out.Position, last, out.Err)
		default:
			last = out.Position
		}
	}
	if st := store.Status(); st.Groups > 20 {
		t.Errorf("%d sendings for 2,500 entries", st.Groups)
	}
}
