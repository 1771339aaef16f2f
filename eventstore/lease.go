package eventstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The lease says which process writes. It is there for order and speed, not
// for safety: a process that wrongly believes itself the writer is stopped by
// the expected sequence on everything it publishes.

// A term is what stands in the lease.
type term struct {
	Holder string `json:"holder"` // empty: given up, whoever comes first may have it
	Epoch  uint64 `json:"epoch"`  // grows with each new holder
	Beat   uint64 `json:"beat"`   // grows with each renewal
}

// A leaseBook holds the lease: compare and set, nothing more.
type leaseBook interface {
	// read returns the term and its revision, or errNoLease.
	read(ctx context.Context) (term, uint64, error)
	// write replaces the term of a revision (0: there is none) and returns
	// the new revision, or errRaced if it is another one by now.
	write(ctx context.Context, t term, revision uint64) (uint64, error)
}

var (
	errNoLease = errors.New("there is no lease")
	errRaced   = errors.New("the lease was written by another")
)

// A lease is one process's view of the leaseBook.
type lease struct {
	book   leaseBook
	holder string
	life   time.Duration

	// Owned by the goroutine that calls step.
	term     term
	revision uint64
	since    time.Time // not held: when this revision was first seen; held: when it was last renewed
	held     bool
}

// step reads or renews the lease once and reports whether it is held. It
// blocks for at most a quarter of the lease's life. A holder that could not
// renew for three quarters of the life gives up by itself, before another can
// have taken over; clocks are only compared with themselves.
func (l *lease) step(ctx context.Context) (held bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.life/4)
	defer cancel()
	if l.held {
		err = l.renew(ctx)
	} else {
		err = l.watch(ctx)
	}
	if l.held && time.Since(l.since) > l.life*3/4 {
		l.held = false
		l.since = time.Now()
	}
	return l.held, err
}

func (l *lease) renew(ctx context.Context) error {
	began := time.Now()
	next := l.term
	next.Beat++
	rev, err := l.book.write(ctx, next, l.revision)
	if err == nil {
		l.term, l.revision, l.since = next, rev, began
		return nil
	}
	// The answer may have been lost, the bucket may have been lost with a
	// server's memory, or another has the lease: reading tells.
	cur, rev, rerr := l.book.read(ctx)
	switch {
	case errors.Is(rerr, errNoLease):
		next.Epoch++
		if rev, err = l.book.write(ctx, next, 0); err == nil {
			l.term, l.revision, l.since = next, rev, began
		}
		return err
	case rerr != nil:
		return errors.Join(err, rerr)
	case cur.Holder == l.holder && cur.Epoch == l.term.Epoch:
		if cur.Beat == next.Beat { // it was written, only the answer was lost
			l.since = began
		}
		l.term, l.revision = cur, rev
		return nil
	}
	l.held = false
	l.term, l.revision, l.since = cur, rev, time.Now()
	return nil
}

func (l *lease) watch(ctx context.Context) error {
	cur, rev, err := l.book.read(ctx)
	switch {
	case errors.Is(err, errNoLease):
		cur, rev = term{}, 0
	case err != nil:
		return err
	}
	now := time.Now()
	if rev != l.revision || cur.Holder != l.term.Holder || l.since.IsZero() {
		l.since = now
	}
	l.term, l.revision = cur, rev
	if cur.Holder != "" && now.Sub(l.since) < l.life {
		return nil
	}
	next := term{Holder: l.holder, Epoch: cur.Epoch + 1}
	rev, err = l.book.write(ctx, next, rev)
	if errors.Is(err, errRaced) {
		return nil // the next step sees who was first
	}
	if err != nil {
		return err
	}
	l.term, l.revision, l.since, l.held = next, rev, now, true
	return nil
}

// release gives the lease up, so that another need not wait for it to run out.
func (l *lease) release(ctx context.Context) error {
	if !l.held {
		return nil
	}
	l.held = false
	_, err := l.book.write(ctx, term{Epoch: l.term.Epoch, Beat: l.term.Beat + 1}, l.revision)
	return err
}

// natsBook keeps the lease in a key-value bucket in the servers' memory: it
// need not outlive them, and renewing it costs no disk.
type natsBook struct {
	js       jetstream.JetStream
	bucket   string
	replicas int

	mu sync.Mutex
	kv jetstream.KeyValue // nil: to be opened
}

const leaseKey = "writer"

func (b *natsBook) open(ctx context.Context) (jetstream.KeyValue, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kv == nil {
		kv, err := b.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: b.bucket, Description: "who writes the volume", Storage: jetstream.MemoryStorage, Replicas: b.replicas,
		})
		if err != nil {
			return nil, fmt.Errorf("open lease bucket %s: %w", b.bucket, err)
		}
		b.kv = kv
	}
	return b.kv, nil
}

// forget makes the next call open, and where it is gone create, the bucket.
func (b *natsBook) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kv = nil
}

func (b *natsBook) read(ctx context.Context) (term, uint64, error) {
	kv, err := b.open(ctx)
	if err != nil {
		return term{}, 0, err
	}
	e, err := kv.Get(ctx, leaseKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return term{}, 0, errNoLease
	}
	if err != nil {
		b.forget()
		return term{}, 0, fmt.Errorf("read lease: %w", err)
	}
	var t term
	if err := json.Unmarshal(e.Value(), &t); err != nil {
		return term{}, e.Revision(), nil //nolint:nilerr // what no one can read no one holds
	}
	return t, e.Revision(), nil
}

func (b *natsBook) write(ctx context.Context, t term, revision uint64) (uint64, error) {
	kv, err := b.open(ctx)
	if err != nil {
		return 0, err
	}
	text, err := json.Marshal(t)
	if err != nil {
		return 0, err
	}
	if revision == 0 {
		revision, err = kv.Create(ctx, leaseKey, text)
	} else {
		revision, err = kv.Update(ctx, leaseKey, text, revision)
	}
	if e := (*jetstream.APIError)(nil); errors.Is(err, jetstream.ErrKeyExists) ||
		errors.As(err, &e) && verdicts[e.ErrorCode] == read {
		return 0, errRaced
	}
	if err != nil {
		b.forget()
		return 0, fmt.Errorf("write lease: %w", err)
	}
	return revision, nil
}
