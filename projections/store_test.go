package projections

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"liuhen/domain"
	"liuhen/eventstore"
	"liuhen/eventstore/eventstoretest"
	"liuhen/internal/pgtest"
)

// TestOnTheRealStore keeps the models from a real record while many write to
// it.
func TestOnTheRealStore(t *testing.T) {
	store := eventstoretest.New(t)
	o := newOffice(t) // it decides; the store keeps
	for i := range 40 {
		id := domain.CaseID(fmt.Sprintf("K-%d", i))
		o.file(id, "沈阳新科技有限公司")
		for range 10 {
			o.act(id, "inspect", nil)
		}
	}
	byCase := make(map[string][][]byte)
	records, _, _ := o.tape.look()
	for _, r := range records {
		byCase[r.Stream] = append(byCase[r.Stream], r.Data)
	}

	db, err := Open(t.Context(), pgtest.New(t), o.book)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := RunAll(ctx, db, store, slog.New(slog.DiscardHandler), All...); err != nil {
			t.Error(err)
		}
	})
	defer running.Wait()
	defer cancel()

	var writers sync.WaitGroup
	for id, all := range byCase {
		writers.Go(func() {
			var at eventstore.Position
			for _, data := range all {
				var err error
				if at, err = store.Append(t.Context(), domain.Subject("kjj", "inspection", domain.CaseID(id)), at, data); err != nil {
					t.Errorf("append to %s: %v", id, err)
					return
				}
			}
		})
	}
	writers.Wait()
	waiting, done := context.WithTimeout(t.Context(), time.Minute)
	defer done()
	if err := db.WaitAll(waiting, uint64(len(records))); err != nil {
		t.Fatalf("%v; models: %+v", err, db.Status())
	}
	report, err := Rebuild(t.Context(), db, store, nil, nil)
	if err != nil || !report.Clean() {
		t.Errorf("the models differ from a fresh fill: %+v, %v", report, err)
	}
	for id := range byCase {
		cases, _, err := db.Load(t.Context(), []domain.CaseID{domain.CaseID(id)})
		if err != nil {
			t.Fatal(err)
		}
		c, err := domain.Replay(o.book, cases[domain.CaseID(id)])
		if err != nil || c.Head != o.cases[domain.CaseID(id)].Head {
			t.Errorf("%s from the timeline ends with %s, %v; want %s", id, c.Head, err, o.cases[domain.CaseID(id)].Head)
		}
	}
	// A case that is not in the timeline is found in the record by its id.
	f := newFolder(db, store, maxBatch, All...)
	follows, err := domain.Read(1, time.Time{}, byCase["K-7"][10])
	if err != nil {
		t.Fatal(err)
	}
	follows.Position = 1 << 40
	c, err := f.replay(t.Context(), nil, follows)
	if err != nil || c == nil || c.Revision != 11 {
		t.Errorf("K-7 from the record: %+v, %v; want 11 revisions", c, err)
	}
}
