package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"liuhen/projections"
)

// perGroup is how many looks are kept with one append at most.
const perGroup = 500

// A Trail keeps who looked at what. It groups without a timer: the looks that
// come while an append is under way are kept together by the next one. So a
// quiet office pays one append a look and a busy one hardly more in all.
type Trail struct {
	keep func(ctx context.Context, data [][]byte) error

	mu      sync.Mutex // guards what follows
	waiting []waitingLook
	running bool
}

type waitingLook struct {
	data []byte
	done chan error // with room for one
}

// NewTrail returns a trail that keeps looks by keep, which must have them on
// disk when it returns nil, all or none, and which is called from one
// goroutine at a time.
func NewTrail(keep func(ctx context.Context, data [][]byte) error) *Trail {
	return &Trail{keep: keep}
}

// A Look is one reading of personal data as it is kept. Beside what the read
// model shows it holds what helps to follow it up.
//
// Agency is that of the case that was looked at; of a list, the one that it was
// asked for, and "*" for a list over several.
type Look struct {
	projections.Look
	Name    string `json:"name,omitempty"`    // of the person
	Token   string `json:"token,omitempty"`   // id of the token that the person came with
	Request string `json:"request,omitempty"` // id of the HTTP request
	Format  string `json:"format,omitempty"`  // csv where the whole filtered list was handed out
}

// Looked keeps a look and returns when it is on disk. Who shows personal data
// calls it before showing, and does not show where it fails: what is shown is
// in the trail. A look whose Looked failed may be in the trail all the same.
func (t *Trail) Looked(ctx context.Context, l Look) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(l); err != nil {
		return fmt.Errorf("access trail: %w", err)
	}
	w := waitingLook{data: bytes.TrimSuffix(buf.Bytes(), []byte("\n")), done: make(chan error, 1)}
	t.mu.Lock()
	t.waiting = append(t.waiting, w)
	lead := !t.running
	t.running = true
	t.mu.Unlock()
	if lead {
		go t.run(context.WithoutCancel(ctx))
	}
	select {
	case err := <-w.done:
		if err != nil {
			return fmt.Errorf("access trail: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("access trail: %w", ctx.Err())
	}
}

// run keeps what waits until nothing does. It ends by itself: it waits for
// nothing but keep.
func (t *Trail) run(ctx context.Context) {
	for {
		t.mu.Lock()
		group := t.waiting[:min(len(t.waiting), perGroup)]
		t.waiting = t.waiting[len(group):]
		if len(group) == 0 {
			t.waiting, t.running = nil, false
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()

		data := make([][]byte, len(group))
		for i, w := range group {
			data[i] = w.data
		}
		err := t.keep(ctx, data)
		for _, w := range group {
			w.done <- err
		}
	}
}
