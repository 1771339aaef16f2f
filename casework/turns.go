package casework

import (
	"context"
	"sync"

	"liuhen/domain"
)

// turns lets the commands of one case go one after another in this process:
// many at once would only make each other judge anew. Other processes are met
// by the store's check.
type turns struct {
	mu    sync.Mutex // guards cases
	cases map[domain.CaseID]*turn
}

type turn struct {
	free chan struct{} // holds one token while nobody has the turn
	want int           // how many have it or wait for it; guarded by turns.mu
}

// take waits for the case's turn and returns what gives it back.
func (t *turns) take(ctx context.Context, id domain.CaseID) (func(), error) {
	t.mu.Lock()
	c, ok := t.cases[id]
	if !ok {
		c = &turn{free: make(chan struct{}, 1)}
		c.free <- struct{}{}
		if t.cases == nil {
			t.cases = make(map[domain.CaseID]*turn)
		}
		t.cases[id] = c
	}
	c.want++
	t.mu.Unlock()

	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if c.want--; c.want == 0 {
			delete(t.cases, id)
		}
	}
	select {
	case <-c.free:
		return func() {
			c.free <- struct{}{}
			leave()
		}, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
