package eventstore

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// memoryBook is a leaseBook in memory whose answers can be lost.
type memoryBook struct {
	mu       sync.Mutex
	term     term
	revision uint64
	lose     map[string]string // by holder: "answer", "write", "all"
}

// bookOf is one holder's way to the book.
type bookOf struct {
	*memoryBook
	holder string
}

var errLost = errors.New("lost")

func (b bookOf) read(context.Context) (term, uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lose[b.holder] == "all" {
		return term{}, 0, errLost
	}
	if b.revision == 0 {
		return term{}, 0, errNoLease
	}
	return b.term, b.revision, nil
}

func (b bookOf) write(_ context.Context, t term, rev uint64) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.lose[b.holder] {
	case "all", "write":
		return 0, errLost
	}
	if rev != b.revision {
		return 0, errRaced
	}
	b.term = t
	b.revision++
	if b.lose[b.holder] == "answer" {
		return 0, errLost
	}
	return b.revision, nil
}

func (b *memoryBook) fault(holder, what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lose[holder] = what
}

// In a bubble of synctest time passes only when all wait for it.
func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book := &memoryBook{lose: map[string]string{}}
		leases := map[string]*lease{}
		for _, h := range []string{"a", "b", "c"} {
			leases[h] = &lease{book: bookOf{book, h}, holder: h, life: 5 * time.Second}
		}
		holders := func() (out string) {
			for _, h := range []string{"a", "b", "c"} {
				if held, _ := leases[h].step(t.Context()); held {
					out += h
				}
			}
			if len(out) > 1 {
				t.Errorf("%q hold the lease at once", out)
			}
			return out
		}
		run := func(seconds int) (last string) {
			for range seconds {
				<-time.After(time.Second)
				last = holders()
			}
			return last
		}
		expect := func(what, got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %q, want %q", what, got, want)
			}
		}
		expect("first come", holders(), "a")
		expect("renewed", run(30), "a")
		book.fault("a", "answer")
		expect("the answers are lost", run(30), "a")
		book.fault("a", "write")
		expect("it cannot renew, and stops before another begins", run(4), "")
		expect("another takes over", run(4), "b")
		book.fault("a", "")
		expect("the old one comes back", run(20), "b")
		if e := book.term.Epoch; e != 2 {
			t.Errorf("epoch %d, want 2", e)
		}
		book.fault("b", "all")
		before := time.Now()
		for holders() == "" || leases["b"].held {
			<-time.After(time.Second)
		}
		if d := time.Since(before); d > 10*time.Second {
			t.Errorf("taken over after %s", d)
		}
		book.fault("b", "")
		book.mu.Lock()
		book.term, book.revision = term{}, 0 // the server's memory is gone
		book.mu.Unlock()
		expect("a lost bucket", run(2), "a")
		if err := leases["a"].release(t.Context()); err != nil {
			t.Error(err)
		}
		leases["a"].book = bookOf{book, "none"}
		book.fault("none", "all")
		expect("given up", run(1), "b")
	})
}
