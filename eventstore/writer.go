package eventstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"
)

const (
	maxGroup     = 1000    // records in one atomic batch, the server's own limit
	maxBatch     = 8 << 20 // bytes in one atomic batch
	batchFromOne = 16      // so many waiting are cheaper as one batch than one by one, where a batch is staged on the disk …
	batchFromRep = 3       // … and where it is staged in memory (a replicated stream)
	maxWaiting   = 65_536  // appends in the queue
	maxWaitBytes = 256 << 20
	maxHandovers = 4096 // appends of other processes at a time
)

// An entry is one Append on its way: its records are stored all or none.
type entry struct {
	stream string
	after  Position
	data   [][]byte
	bytes  int
	done   chan error // the answer, once

	tag  uint64   // the writer's number of the first record; the others follow
	last Position // of the last record, when stored; read it after done

	taken, withdrawn bool // guarded by writer.mu
}

// A writer is this process's time as the one writer of the volume. Appends
// wait in queue; one goroutine (run) takes what waits as a group, stores it,
// and takes the next. There is no timer: while one group is being synced the
// next gathers.
type writer struct {
	s    *Store
	wire wire

	mu      sync.Mutex
	queue   []*entry
	bytes   int64 // in queue
	closed  bool  // no more is taken in
	waiting *attempt

	kick     chan struct{} // something is in the queue
	stopping chan struct{} // closed by stop
	stopOnce sync.Once

	// Owned by run.
	end      Position // where the stream ends: what the next message expects
	maxGroup int
	token    uint64
}

func newWriter(s *Store) *writer {
	return &writer{
		s: s, wire: s.wire, maxGroup: maxGroup,
		kick: make(chan struct{}, 1), stopping: make(chan struct{}),
	}
}

// stop asks run to answer what is under way and return.
func (w *writer) stop() { w.stopOnce.Do(func() { close(w.stopping) }) }

func (w *writer) stopped() bool {
	select {
	case <-w.stopping:
		return true
	default:
		return false
	}
}

// run reads the stream to its end, then writes until stop. ready is called
// when appends can be taken. A crash between any two lines loses nothing that
// was answered: what was sent and not answered is either in the stream or not,
// and the next writer reads the stream to its end before it begins.
func (w *writer) run(ctx context.Context, ready func()) error {
	stopListening, err := w.wire.listen(w.hear)
	if err != nil {
		return fmt.Errorf("begin to write: %w", err)
	}
	defer stopListening()
	if w.end, err = w.wire.end(ctx); err != nil {
		return fmt.Errorf("begin to write: %w", err)
	}
	if err := w.s.tail.waitReceived(ctx, w.end); err != nil {
		return fmt.Errorf("begin to write: read to the end at %d: %w", w.end, err)
	}
	w.end = w.s.tail.gate(w.end)
	defer w.s.tail.ungate()

	ready()
	w.s.logger.Info("this process writes", "holder", w.s.cfg.Holder, "end", w.end)
	for {
		group, ok := w.take(ctx)
		if !ok {
			break
		}
		w.commit(ctx, group)
	}
	w.shut(errNotWriter)
	return nil
}

// push puts an entry into the queue.
func (w *writer) push(e *entry) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return errNotWriter
	case len(w.queue) >= maxWaiting || w.bytes+int64(e.bytes) > maxWaitBytes:
		return fmt.Errorf("%w: %d appends are waiting", ErrBusy, len(w.queue))
	}
	w.queue = append(w.queue, e)
	w.bytes += int64(e.bytes)
	select {
	case w.kick <- struct{}{}:
	default:
	}
	return nil
}

// withdraw takes an entry back. It reports false if that is too late.
func (w *writer) withdraw(e *entry) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.taken {
		return false
	}
	e.withdrawn = true
	return true
}

// shut answers all that waits with err and takes in no more.
func (w *writer) shut(err error) {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.refuseWaiting(err)
}

// refuseWaiting answers all that waits with err. Nothing of it was sent.
func (w *writer) refuseWaiting(err error) {
	w.mu.Lock()
	queue := w.queue
	w.queue, w.bytes = nil, 0
	for _, e := range queue {
		e.taken = true
	}
	w.mu.Unlock()
	for _, e := range queue {
		e.done <- err
	}
}

// take waits until something is in the queue and returns the entries of the
// next group, each of another stream and none stale. A second entry of a
// stream stays in the queue: whether it is stale depends on the first.
func (w *writer) take(ctx context.Context) (group []*entry, ok bool) {
	for {
		select {
		case <-w.stopping:
			return nil, false
		default:
		}
		if group = w.pick(); len(group) > 0 {
			if err := w.mayWrite(); err != nil {
				finish(group, err)
				continue
			}
			if group = w.judge(ctx, group); len(group) > 0 {
				return group, true
			}
			continue
		}
		select {
		case <-w.kick:
		case <-w.stopping:
			return nil, false
		}
	}
}

// mayWrite tells why nothing can be stored at present: an incident, or a disk
// that is all but full.
func (w *writer) mayWrite() error {
	if why := w.s.stopReason(); why != "" {
		return fmt.Errorf("%w: %s", ErrStopped, why)
	}
	if srv := w.s.cfg.Server; srv != nil {
		if err := srv.room(); err != nil {
			w.s.count.full.Add(1)
			return err
		}
	}
	return nil
}

// pick takes entries out of the queue, oldest first: as many as one batch may
// hold, or only the first where a batch would cost more than it saves.
func (w *writer) pick() (group []*entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var (
		left           = make([]*entry, 0, len(w.queue))
		records, bytes int
		inGroup        = make(map[string]bool, min(len(w.queue), maxGroup))
	)
	for _, e := range w.queue {
		over := records > 0 && (records+len(e.data) > w.maxGroup || bytes+e.bytes > maxBatch)
		name := nameOf(e.stream)
		switch {
		case e.withdrawn:
			w.bytes -= int64(e.bytes)
		case over || inGroup[name]:
			left = append(left, e)
			inGroup[name] = true // those of one stream stay in their order
		default:
			inGroup[name] = true
			records += len(e.data)
			bytes += e.bytes
			group = append(group, e)
		}
	}
	if records == len(group) && records > 1 && records < w.s.batchFrom() {
		left = slices.DeleteFunc(slices.Clone(w.queue), func(e *entry) bool { return e.withdrawn || e == group[0] })
		group = group[:1]
	}
	for _, e := range group {
		e.taken = true
		w.bytes -= int64(e.bytes)
	}
	w.queue = left
	return group
}

// judge answers the entries whose stream has been written to since, and
// returns the others.
func (w *writer) judge(ctx context.Context, group []*entry) (fresh []*entry) {
	for _, e := range group {
		if e.after > w.end { // the caller has read what this writer does not know: is there another?
			w.resync(ctx)
		}
		last, base := w.s.tail.head(e.stream)
		switch {
		case e.after > w.end:
			e.done <- fmt.Errorf("%w: append to %s after %d: the volume ends at %d", errRefused, e.stream, e.after, w.end)
		case last > e.after:
			w.s.count.conflicts.Add(1)
			e.done <- &conflict{e.stream, e.after, last}
		case e.after < base:
			e.done <- errForgotten
		default:
			fresh = append(fresh, e)
		}
	}
	return fresh
}

// errForgotten: the tail no longer reaches back to the entry's after; ask the stream.
var errForgotten = errors.New("the tail does not reach back that far")

// resync finds out where the stream ends now and reads up to there.
func (w *writer) resync(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	end, err := w.wire.end(ctx)
	if err == nil {
		err = w.s.tail.waitReceived(ctx, end)
	}
	if err != nil {
		w.s.logger.Warn("the end of the stream could not be found out", "err", err)
		return false
	}
	if end > w.end {
		w.foreign(end)
	}
	return true
}

// foreign takes note that the stream has come to end without this writer: the
// lease is looked at again, and what stands there counts from now on.
func (w *writer) foreign(end Position) {
	w.s.count.foreign.Add(1)
	w.s.logger.Warn("the stream was written to by another, or late", "expected", w.end, "end", end)
	w.end = end
	w.commitTail(nil, end)
	w.s.look()
}

func finish(group []*entry, err error) {
	for _, e := range group {
		e.done <- err
	}
}

// An attempt is what was sent and what was answered so far.
type attempt struct {
	first   uint64 // the token of the first message that wants an answer
	answers []*answer
	left    int
	batch   bool // the answer to the last message is enough
	done    chan struct{}
}

// hear takes the answers of the server. Those to earlier attempts are dropped:
// what they said has been, or will be, found out by reading.
func (w *writer) hear(token uint64, a answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.waiting
	if at == nil || token < at.first || token >= at.first+uint64(len(at.answers)) {
		return
	}
	i := token - at.first
	if at.answers[i] != nil || at.left == 0 {
		return
	}
	at.answers[i] = &a
	at.left--
	if at.batch && int(i) == len(at.answers)-1 {
		at.left = 0
	}
	if at.left == 0 {
		close(at.done)
	}
}

// message builds the n-th record of an entry as a message with the headers given.
func (w *writer) message(e *entry, n int, header ...string) *nats.Msg {
	m := &nats.Msg{Subject: e.stream, Data: e.data[n], Header: make(nats.Header, len(header)/2+1)}
	m.Header[headerTag] = []string{w.s.tagText(e.tag + uint64(n))}
	for i := 0; i < len(header); i += 2 {
		m.Header[header[i]] = []string{header[i+1]}
	}
	return m
}
