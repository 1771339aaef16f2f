package lease

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// memoryBook is a Book in memory whose answers can be lost.
type memoryBook struct {
	mu       sync.Mutex
	term     Term
	revision uint64
	lose     map[string]string // by holder: "answer", "write", "all"
}

// bookOf is one holder's way to the book.
type bookOf struct {
	*memoryBook
	holder string
}

var errLost = errors.New("lost")

func (b bookOf) Read(context.Context) (Term, uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lose[b.holder] == "all" {
		return Term{}, 0, errLost
	}
	if b.revision == 0 {
		return Term{}, 0, ErrNone
	}
	return b.term, b.revision, nil
}

func (b bookOf) Write(_ context.Context, t Term, rev uint64) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.lose[b.holder] {
	case "all", "write":
		return 0, errLost
	}
	if rev != b.revision {
		return 0, ErrRaced
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
		leases := map[string]*Lease{}
		for _, h := range []string{"a", "b", "c"} {
			leases[h] = New(bookOf{book, h}, h, 5*time.Second)
		}
		holders := func() (out string) {
			for _, h := range []string{"a", "b", "c"} {
				if held, _ := leases[h].Step(t.Context()); held {
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
		book.term, book.revision = Term{}, 0 // the server's memory is gone
		book.mu.Unlock()
		expect("a lost bucket", run(2), "a")
		if err := leases["a"].Release(t.Context()); err != nil {
			t.Error(err)
		}
		leases["a"].book = bookOf{book, "none"}
		book.fault("none", "all")
		expect("given up", run(1), "b")
	})
}

// Work runs while the lease is held, in one place at a time: it is begun anew when it
// returns, ends when the lease is lost, and goes on elsewhere when it is given up.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book := &memoryBook{lose: map[string]string{}}
		var mu sync.Mutex
		working := map[string]bool{}
		begun := map[string]int{}
		work := func(name string) func(context.Context) {
			return func(ctx context.Context) {
				mu.Lock()
				for other := range working {
					t.Errorf("%s begins while %s works", name, other)
				}
				working[name] = true
				begun[name]++
				first := begun[name] == 1
				mu.Unlock()
				if !first || name != "a" { // a returns once by itself
					<-ctx.Done()
				}
				mu.Lock()
				delete(working, name)
				mu.Unlock()
			}
		}
		var all sync.WaitGroup
		stop := map[string]context.CancelFunc{}
		for _, h := range []string{"a", "b"} {
			ctx, cancel := context.WithCancel(t.Context())
			stop[h] = cancel
			all.Go(func() { New(bookOf{book, h}, h, 5*time.Second).Run(ctx, work(h), func(error) {}) })
			synctest.Wait() // a comes first
		}
		expect := func(what, want string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if len(working) != 1 || !working[want] {
				t.Errorf("%s: %v, want %s to work", what, working, want)
			}
		}
		<-time.After(2 * time.Second)
		expect("begun anew", "a")
		if begun["a"] != 2 {
			t.Errorf("begun %d times, want 2", begun["a"])
		}
		book.fault("a", "all")
		<-time.After(12 * time.Second)
		expect("the holder has lost the book", "b")
		book.fault("a", "")
		<-time.After(10 * time.Second)
		expect("the first is back", "b")
		stop["b"]()
		<-time.After(2 * time.Second)
		expect("given up", "a")
		stop["a"]()
		all.Wait()
	})
}
