package gather_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"liuhen/internal/gather"
)

func TestCallsThatArriveMeanwhileGoTogether(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	var sizes []int // written by Do alone, which runs one at a time
	g := gather.Group[int, int]{Max: 10, Do: func(_ context.Context, keys []int) (map[int]int, error) {
		sizes = append(sizes, len(keys))
		if len(sizes) == 1 {
			close(entered)
			<-leave
		}
		m := map[int]int{}
		for _, k := range keys {
			if k != 7 {
				m[k] = k * k
			}
		}
		return m, nil
	}}
	var wg, asked sync.WaitGroup
	get := func(k int) {
		v, found, err := g.Get(t.Context(), k)
		if err != nil || found != (k != 7) || found && v != k*k {
			t.Errorf("Get(%d) = %d, %v, %v", k, v, found, err)
		}
	}
	wg.Go(func() { get(1) })
	<-entered
	for k := range 25 {
		asked.Add(1)
		wg.Go(func() { asked.Done(); get(k % 12) })
	}
	asked.Wait()
	close(leave)
	wg.Wait()
	total := 0
	for _, n := range sizes {
		total += n
		if n > 10 {
			t.Errorf("a call with %d keys, at most 10 were allowed", n)
		}
	}
	if len(sizes) == 26 {
		t.Errorf("26 calls for 26 questions: nothing was gathered")
	}
}

func TestAnErrorReachesAllWhoWait(t *testing.T) {
	broken := errors.New("broken")
	g := gather.Group[int, int]{Do: func(context.Context, []int) (map[int]int, error) { return nil, broken }}
	if _, _, err := g.Get(t.Context(), 1); !errors.Is(err, broken) {
		t.Errorf("%v, want %v", err, broken)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := g.Get(ctx, 1); !errors.Is(err, context.Canceled) && !errors.Is(err, broken) {
		t.Errorf("with a context that has ended: %v", err)
	}
}
