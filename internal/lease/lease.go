// Package lease lets one process at a time do a piece of work. A lease is there
// for order and speed, not for safety: a process can wake up and believe that it
// still holds one. What must not be done twice needs a fence of its own.
package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// A Term is what stands in a lease.
type Term struct {
	Holder string `json:"holder"` // empty: given up, whoever comes first may have it
	Epoch  uint64 `json:"epoch"`  // grows with each new holder
	Beat   uint64 `json:"beat"`   // grows with each renewal
}

// A Book holds one lease: compare and set, nothing more.
type Book interface {
	// Read returns the term and its revision, or ErrNone.
	Read(ctx context.Context) (Term, uint64, error)
	// Write replaces the term of a revision (0: there is none) and returns
	// the new revision, or ErrRaced if it is another one by now.
	Write(ctx context.Context, t Term, revision uint64) (uint64, error)
}

// What a Book says.
var (
	ErrNone  = errors.New("there is no lease")
	ErrRaced = errors.New("the lease was written by another")
)

// A Lease is one holder's view of a Book.
type Lease struct {
	book   Book
	holder string
	life   time.Duration

	// Owned by the goroutine that calls Step or Run.
	term     Term
	revision uint64
	since    time.Time // not held: when this revision was first seen; held: when it was last renewed
	held     bool
}

// New returns a holder's view of a lease that another may take when it has seen
// no sign of life for so long. Two holders must not share a name.
func New(book Book, holder string, life time.Duration) *Lease {
	return &Lease{book: book, holder: holder, life: life}
}

// Holder makes a name for a holder: host, process and a random part.
func Holder() string {
	host, _ := os.Hostname()
	return Name(fmt.Sprintf("%s-%d-%s", host, os.Getpid(), nuid.Next()[16:]))
}

// Name makes a text fit to be one token of a subject.
func Name(text string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == '.' || r == '*' || r == '>' || r > '~' {
			return '-'
		}
		return r
	}, text)
}

// Term is what this holder has last seen in the lease.
func (l *Lease) Term() Term { return l.term }

// Step reads or renews the lease once and reports whether it is held. It
// blocks for at most a quarter of the lease's life. A holder that could not
// renew for three quarters of the life gives up by itself, before another can
// have taken over; clocks are only compared with themselves.
func (l *Lease) Step(ctx context.Context) (held bool, err error) {
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

func (l *Lease) renew(ctx context.Context) error {
	began := time.Now()
	next := l.term
	next.Beat++
	rev, err := l.book.Write(ctx, next, l.revision)
	if err == nil {
		l.term, l.revision, l.since = next, rev, began
		return nil
	}
	// The answer may have been lost, the bucket may have been lost with a
	// server's memory, or another has the lease: reading tells.
	cur, rev, rerr := l.book.Read(ctx)
	switch {
	case errors.Is(rerr, ErrNone):
		next.Epoch++
		if rev, err = l.book.Write(ctx, next, 0); err == nil {
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

func (l *Lease) watch(ctx context.Context) error {
	cur, rev, err := l.book.Read(ctx)
	switch {
	case errors.Is(err, ErrNone):
		cur, rev = Term{}, 0
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
	next := Term{Holder: l.holder, Epoch: cur.Epoch + 1}
	rev, err = l.book.Write(ctx, next, rev)
	if errors.Is(err, ErrRaced) {
		return nil // the next step sees who was first
	}
	if err != nil {
		return err
	}
	l.term, l.revision, l.since, l.held = next, rev, now, true
	return nil
}

// Release gives the lease up, so that another need not wait for it to run out.
func (l *Lease) Release(ctx context.Context) error {
	if !l.held {
		return nil
	}
	l.held = false
	_, err := l.book.Write(ctx, Term{Epoch: l.term.Epoch, Beat: l.term.Beat + 1}, l.revision)
	return err
}

// Run takes part in the lease until ctx ends, and lets work run while it is
// held. The context of work ends when the lease is lost, and when ctx ends; Run
// waits for work to return, and gives the lease up last. Work that returns by
// itself is begun anew at the next step, a fifth of the lease's life later. What
// goes wrong with the lease is told to trouble.
func (l *Lease) Run(ctx context.Context, work func(ctx context.Context), trouble func(error)) {
	var current *shift // nil: there is none
	tick := time.NewTicker(l.life / 5)
	defer tick.Stop()
	for ctx.Err() == nil {
		held, err := l.Step(ctx)
		if err != nil && ctx.Err() == nil {
			trouble(err)
		}
		if current != nil && (!held || current.ended()) {
			current.end()
			current = nil
		}
		if held && current == nil && ctx.Err() == nil {
			current = begin(ctx, work)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	if current != nil {
		current.end()
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer stop()
	if err := l.Release(ctx); err != nil {
		trouble(fmt.Errorf("the lease was not given up, it will run out: %w", err))
	}
}

// A shift is work that runs while the lease is held.
type shift struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func begin(ctx context.Context, work func(ctx context.Context)) *shift {
	ctx, cancel := context.WithCancel(ctx)
	s := &shift{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		work(ctx)
	}()
	return s
}

func (s *shift) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

func (s *shift) end() {
	s.cancel()
	<-s.done
}

// A Bucket is where leases are kept: a key-value bucket in the servers' memory,
// for they need not outlive them, and renewing one costs no disk.
type Bucket struct {
	JS       jetstream.JetStream
	Name     string
	About    string // what its leases are for, in a few words
	Replicas int
}

// Book is the lease of a key.
func (b Bucket) Book(key string) Book { return &natsBook{Bucket: b, key: key} }

type natsBook struct {
	Bucket
	key string

	mu sync.Mutex
	kv jetstream.KeyValue // nil: to be opened
}

// Two codes of the server for an update that came too late; the second while the
// other write is still on its way (server/errors.json).
const (
	codeWrongLast         jetstream.ErrorCode = 10071
	codeWrongLastInFlight jetstream.ErrorCode = 10164
)

func (b *natsBook) open(ctx context.Context) (jetstream.KeyValue, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kv == nil {
		kv, err := b.JS.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: b.Name, Description: b.About, Storage: jetstream.MemoryStorage, Replicas: b.Replicas,
		})
		if err != nil {
			return nil, fmt.Errorf("open lease bucket %s: %w", b.Name, err)
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

// Read is for Book.
func (b *natsBook) Read(ctx context.Context) (Term, uint64, error) {
	kv, err := b.open(ctx)
	if err != nil {
		return Term{}, 0, err
	}
	e, err := kv.Get(ctx, b.key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return Term{}, 0, ErrNone
	}
	if err != nil {
		b.forget()
		return Term{}, 0, fmt.Errorf("read lease: %w", err)
	}
	var t Term
	if err := json.Unmarshal(e.Value(), &t); err != nil {
		return Term{}, e.Revision(), nil //nolint:nilerr // what no one can read no one holds
	}
	return t, e.Revision(), nil
}

// Write is for Book.
func (b *natsBook) Write(ctx context.Context, t Term, revision uint64) (uint64, error) {
	kv, err := b.open(ctx)
	if err != nil {
		return 0, err
	}
	text, err := json.Marshal(t)
	if err != nil {
		return 0, err
	}
	if revision == 0 {
		revision, err = kv.Create(ctx, b.key, text)
	} else {
		revision, err = kv.Update(ctx, b.key, text, revision)
	}
	if e := (*jetstream.APIError)(nil); errors.Is(err, jetstream.ErrKeyExists) ||
		errors.As(err, &e) && (e.ErrorCode == codeWrongLast || e.ErrorCode == codeWrongLastInFlight) {
		return 0, ErrRaced
	}
	if err != nil {
		b.forget()
		return 0, fmt.Errorf("write lease: %w", err)
	}
	return revision, nil
}
