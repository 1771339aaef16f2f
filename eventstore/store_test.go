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
