package api

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"liuhen/domain"
	"liuhen/projections"
)

// memory is a trail's store: it keeps groups and can be held up or broken.
type memory struct {
	hold chan struct{} // where not nil, append waits for it

	mu     sync.Mutex // guards what follows
	data   [][]byte
	groups []int
	fail   error
}

func (m *memory) append(_ context.Context, data [][]byte) error {
	if m.hold != nil {
		<-m.hold
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	m.data = append(m.data, data...)
	m.groups = append(m.groups, len(data))
	return nil
}

func (m *memory) failWith(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

// looks are those that are kept, decoded as the read model does.
func (m *memory) looks(t testing.TB) []projections.Look {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var looks []projections.Look
	for _, data := range m.data {
		l, err := projections.ReadLook(data)
		if err != nil {
			t.Fatalf("the read model cannot read %s: %v", data, err)
		}
		looks = append(looks, l)
	}
	return looks
}

func look(id string) Look {
	return Look{Look: projections.Look{
		At: time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC), Person: "Li", Role: "officer", Agency: "210100", What: "timeline",
		Case: domain.CaseID(id), Query: "act=inspect&late=true", Rows: 7, Purpose: "<备份 & test>",
	}}
}

func TestLooksAreGrouped(t *testing.T) {
	m := &memory{hold: make(chan struct{})}
	tr := NewTrail(m.append)
	const n = 1200
	errs := make(chan error, n)
	var asked sync.WaitGroup
	asked.Add(n)
	for i := range n {
		go func() {
			asked.Done()
			errs <- tr.Looked(t.Context(), look(fmt.Sprintf("C-%d", i)))
		}()
	}
	asked.Wait()
	close(m.hold)
	for range n {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	seen := map[domain.CaseID]bool{}
	for _, l := range m.looks(t) {
		seen[l.Case] = true
	}
	if len(seen) != n || len(m.data) != n {
		t.Errorf("%d looks of %d cases are kept, want %d each once", len(m.data), len(seen), n)
	}
	for _, g := range m.groups {
		if g > perGroup {
			t.Errorf("a group has %d looks, at most %d are allowed", g, perGroup)
		}
	}
	if len(m.groups) == n {
		t.Errorf("%d looks took as many appends: nothing was grouped", n)
	}
}

func TestLookAsTheReadModelReadsIt(t *testing.T) {
	m := &memory{}
	want := look("沈科罚〔2026〕1号")
	if err := NewTrail(m.append).Looked(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if got := m.looks(t); len(got) != 1 || got[0] != want.Look {
		t.Errorf("read %+v, want %+v", got, want.Look)
	}
}

func TestALookThatIsNotKept(t *testing.T) {
	full := errors.New("disk full")
	m := &memory{}
	m.failWith(full)
	tr := NewTrail(m.append)
	if err := tr.Looked(t.Context(), look("C-1")); !errors.Is(err, full) {
		t.Errorf("error = %v, want %v", err, full)
	}
	m.failWith(nil)
	if err := tr.Looked(t.Context(), look("C-1")); err != nil {
		t.Errorf("after there is room again: %v", err)
	}
}

// Who stops waiting does not lose the look.
func TestAReaderWhoLeaves(t *testing.T) {
	m := &memory{hold: make(chan struct{})}
	tr := NewTrail(m.append)
	gone, leave := context.WithCancel(t.Context())
	leave()
	if err := tr.Looked(gone, look("C-1")); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want context.Canceled", err)
	}
	close(m.hold)
	if err := tr.Looked(t.Context(), look("C-2")); err != nil {
		t.Fatal(err)
	}
	if got := m.looks(t); len(got) != 2 {
		t.Errorf("%d looks are kept, want 2", len(got))
	}
}
