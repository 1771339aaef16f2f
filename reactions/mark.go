package reactions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// markTopic is where marks stand, beside what was set aside.
const markTopic = "mark"

func markKey(reaction string, position uint64) string {
	return markTopic + "." + asideID(reaction, position)
}

// mark is a Mark in the bucket of the reactions. One process at a time reads a
// reaction, so nobody else writes it; should two do so for a moment, the worst is that
// something is looked at twice.
type mark struct {
	kv   jetstream.KeyValue
	key  string
	kept bool // something may stand there

	now  func() time.Time
	last time.Time // when something was kept, or it began
}

// keepEvery is how often a mark is put down: what is done sooner than that costs
// nothing to do again.
const keepEvery = 2 * time.Second

// Load returns what was kept last.
func (m *mark) Load(ctx context.Context) ([]byte, error) {
	e, err := m.kv.Get(ctx, m.key)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return nil, nil
	case err != nil:
		return nil, Later(fmt.Errorf("mark %s: %w", m.key, err))
	}
	m.kept = true
	return e.Value(), nil
}

// Keep puts a mark in the place of the last, unless that was put down just now.
func (m *mark) Keep(ctx context.Context, data []byte) error {
	now := m.now()
	if now.Sub(m.last) < keepEvery {
		return nil
	}
	m.kept, m.last = true, now
	if _, err := m.kv.Put(ctx, m.key, data); err != nil && ctx.Err() != nil {
		return Later(fmt.Errorf("mark %s: %w", m.key, err))
	}
	return nil // a mark that is not put down costs time after a crash, and no more
}

// drop forgets the mark of what is done.
func (m *mark) drop(ctx context.Context) error {
	if !m.kept {
		return nil
	}
	if err := m.kv.Purge(ctx, m.key); err != nil {
		return Later(fmt.Errorf("mark %s: %w", m.key, err))
	}
	return nil
}
