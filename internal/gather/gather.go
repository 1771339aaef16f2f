// Package gather turns many small calls into few large ones, without a timer:
// while one call is under way, the keys that arrive wait together for the next.
package gather

import (
	"context"
	"sync"
)

// A Group merges concurrent calls of Get into calls of Do.
type Group[K comparable, V any] struct {
	Do  func(ctx context.Context, keys []K) (map[K]V, error) // keys are distinct
	Max int                                                  // keys in one call; 0: no limit

	mu      sync.Mutex // guards what follows
	waiting []call[K, V]
	running bool
}

type call[K comparable, V any] struct {
	key  K
	done chan answer[V]
}

type answer[V any] struct {
	value V
	found bool
	err   error
}

// Get returns the value of key, and false where Do has none. A Do under way
// is not stopped when ctx ends: others wait for it too.
func (g *Group[K, V]) Get(ctx context.Context, key K) (V, bool, error) {
	c := call[K, V]{key: key, done: make(chan answer[V], 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, c)
	lead := !g.running
	g.running = true
	g.mu.Unlock()
	if lead {
		go g.run(context.WithoutCancel(ctx))
	}
	select {
	case a := <-c.done:
		return a.value, a.found, a.err
	case <-ctx.Done():
		var zero V
		return zero, false, ctx.Err()
	}
}

// run serves what waits until nothing does.
func (g *Group[K, V]) run(ctx context.Context) {
	for {
		g.mu.Lock()
		batch := g.waiting
		if g.Max > 0 && len(batch) > g.Max {
			batch = batch[:g.Max]
		}
		g.waiting = g.waiting[len(batch):]
		if len(batch) == 0 {
			g.waiting, g.running = nil, false
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()

		keys := make([]K, 0, len(batch))
		seen := make(map[K]bool, len(batch))
		for _, c := range batch {
			if !seen[c.key] {
				seen[c.key] = true
				keys = append(keys, c.key)
			}
		}
		values, err := g.Do(ctx, keys)
		for _, c := range batch {
			v, found := values[c.key]
			c.done <- answer[V]{value: v, found: found, err: err}
		}
	}
}
