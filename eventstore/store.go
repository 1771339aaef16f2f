package eventstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"golang.org/x/sync/errgroup"

	"liuhen/internal/lease"
)

// A Store is one process's door to a volume. Its methods may be called from
// many goroutines.
type Store struct {
	cfg     Config
	logger  *slog.Logger
	js      jetstream.JetStream
	stream  jetstream.Stream
	created time.Time // of the stream that was opened
	plain   *natsWire // for questions
	wire    wire      // for the writer
	tail    *tail
	count   counters
	frozen  atomic.Bool // the embedded server is waiting for room
	nonce   string      // begins the tag of every record that this store writes
	lastTag atomic.Uint64
	lookNow chan struct{} // the lease should be looked at
	broken  chan struct{} // closed when the volume turns out not to be whole

	mu        sync.Mutex
	role      role
	changed   chan struct{} // closed when role changes
	incidents map[string]string
}

// role is who writes, as far as this process knows.
type role struct {
	writer *writer // this process, ready to take appends; else nil
	holder string  // of the lease; empty if unknown
	epoch  uint64
}

// Open finds the volume, or creates it where there is none and Config.Start is
// zero, and compares its configuration with the declared one. Nothing is
// written and the tail is empty until Run.
func Open(ctx context.Context, c Config) (*Store, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(c.NATS)
	if err != nil {
		return nil, fmt.Errorf("open volume %s: %w", c.Volume, err)
	}
	s := &Store{
		cfg: c, logger: c.Logger, js: js, plain: newWire(c.NATS, js, c.Volume),
		tail:  newTail(c.Start, c.TailRecords, c.TailBytes),
		nonce: nuid.Next(), lookNow: make(chan struct{}, 1),
		broken: make(chan struct{}), changed: make(chan struct{}), incidents: map[string]string{},
	}
	s.wire = s.plain
	if c.wrap != nil {
		s.wire = c.wrap(s.wire)
	}
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Run reads the volume into the tail, takes part in the lease, writes while it
// holds it, and compares the configuration from time to time. It blocks until
// ctx ends, then finishes what is under way, gives the lease up and returns nil.
// Call it once. An incident does not end it: reading goes on.
func (s *Store) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	s.tail.start()
	reading, stopReading := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error { s.fillTail(reading); return nil })
	g.Go(func() error {
		defer stopReading() // the writer needs the tail to its end
		s.lead(ctx)
		return nil
	})
	g.Go(func() error { s.watch(ctx); return nil })
	return g.Wait()
}

// fillTail follows the stream into the tail.
func (s *Store) fillTail(ctx context.Context) {
	for ctx.Err() == nil {
		after, _, _, _ := s.tail.ends()
		var broken error
		err := s.read(ctx, after, pullBatch, func(recs []kept) bool {
			broken = s.tail.append(recs)
			return broken == nil
		})
		if broken != nil {
			err = broken
		}
		if errors.Is(err, errBeyond) { // the server was started anew and what it had not synced is gone
			if err = s.cutTail(ctx); err == nil {
				continue
			}
		}
		if err != nil && ctx.Err() == nil {
			s.incident("identity", err.Error())
			return
		}
	}
}

// cutTail drops from the tail what the stream does not have, if that was never shown.
func (s *Store) cutTail(ctx context.Context) error {
	end, err := s.plain.end(ctx)
	if err != nil {
		return pause(ctx, retryWait) // try again
	}
	return s.tail.cut(end)
}

// watch compares the configuration from time to time.
func (s *Store) watch(ctx context.Context) {
	tick := time.NewTicker(s.cfg.CheckEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := s.check(ctx); err != nil && ctx.Err() == nil {
				s.logger.Warn("the volume could not be checked", "err", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// lead takes part in the lease until ctx ends. While it holds it, a writer runs.
// The lease says which process writes, for order and speed: a process that
// wrongly believes itself the writer is stopped by the expected sequence on
// everything it publishes.
func (s *Store) lead(ctx context.Context) {
	book := lease.Bucket{JS: s.js, Name: s.cfg.Volume + "_lease", About: "who writes the volume", Replicas: s.cfg.Replicas}.Book("writer")
	if s.cfg.hold != nil {
		book = s.cfg.hold(book)
	}
	l := lease.New(book, s.cfg.Holder, s.cfg.LeaseTime)
	var current *writing
	tick := time.NewTicker(s.cfg.LeaseTime / 5)
	defer tick.Stop()
	for ctx.Err() == nil {
		held, err := l.Step(ctx)
		if err != nil && ctx.Err() == nil {
			s.logger.Warn("lease", "held", held, "err", err)
		}
		if current != nil && (!held || current.ended()) {
			s.logger.Info("this process no longer writes", "holder", l.Term().Holder)
			s.setRole(role{holder: l.Term().Holder, epoch: l.Term().Epoch})
			current.stop()
			current = nil
		}
		if held && current == nil && ctx.Err() == nil {
			s.count.takeovers.Add(1)
			current = s.beginWriting(ctx, l.Term().Epoch)
		}
		if !held {
			s.setRole(role{holder: l.Term().Holder, epoch: l.Term().Epoch})
		}
		select {
		case <-tick.C:
		case <-s.lookNow:
		case <-ctx.Done():
		}
	}
	if current != nil {
		current.stop()
	}
	s.setRole(role{})
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := l.Release(ctx); err != nil {
		s.logger.Info("the lease was not given up, it will run out", "err", err)
	}
}

// writing is a running writer.
type writing struct {
	w      *writer
	cancel context.CancelFunc
	done   chan struct{}
}

func (c *writing) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// stop lets the writer finish what is under way.
func (c *writing) stop() {
	c.w.stop()
	c.cancel()
	<-c.done
}

// beginWriting starts a writer, which takes appends when it has read to the end.
func (s *Store) beginWriting(ctx context.Context, epoch uint64) *writing {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &writing{w: newWriter(s), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		defer s.look()
		stopServing, err := s.serve(ctx, c.w)
		if err == nil {
			err = c.w.run(ctx, func() {
				s.setRole(role{writer: c.w, holder: s.cfg.Holder, epoch: epoch})
			})
			c.w.shut(errNotWriter)
			stopServing()
		}
		if err != nil && ctx.Err() == nil {
			s.logger.Warn("writing", "err", err)
		}
	}()
	return c
}

// look asks the lease to be looked at now.
func (s *Store) look() {
	select {
	case s.lookNow <- struct{}{}:
	default:
	}
}

func (s *Store) setRole(r role) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.role == r {
		return
	}
	s.role = r
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Store) currentRole() (role, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.role, s.changed
}

// Append writes records to the end of a stream, all or none, if nothing has
// been written to that stream after the position after, and returns the
// position of the last of them. after may be the position of the stream's last
// record, or any later position up to which the caller has read the volume.
// It returns ErrConflict if something has been written since;
// Since on this process then finds it.
//
// When it returns without an error the records are on the disk. Since finds
// them after Wait: they are read back a moment later, and are compared with data
// then, which must not be changed.
//
// A failed Append may have been stored all the same: with ErrUnknown, and with
// the error of ctx when it ended at the wrong moment (then both are wrapped).
// Load the stream to find out. All other errors mean that nothing was stored.
//
// At most 1,000 records at once, together with the stream's name no longer
// than the server's largest message less 64 KiB; else ErrTooLarge.
func (s *Store) Append(ctx context.Context, stream string, after Position, data ...[]byte) (Position, error) {
	giveUp := time.NewTimer(s.cfg.GiveUp)
	defer giveUp.Stop()
	for tries := 0; ; tries++ {
		e, err := s.newEntry(stream, after, data)
		if err != nil {
			return 0, err
		}
		if why := s.stopReason(); why != "" {
			return 0, fmt.Errorf("%w: %s", ErrStopped, why)
		}
		r, changed := s.currentRole()
		var last Position
		switch {
		case r.writer != nil:
			last, err = s.submit(ctx, r.writer, e)
		case r.holder != "" && r.holder != s.cfg.Holder:
			last, err = s.handOver(ctx, r.holder, e)
		default:
			err = errNotWriter
		}
		if !errors.Is(err, errNotWriter) {
			s.showConflict(ctx, err)
			return last, err
		}
		s.look()
		select { // nothing was stored: wait for a writer
		case <-changed:
		case <-time.After(min(10*time.Millisecond<<min(tries, 5), 200*time.Millisecond)):
		case <-giveUp.C:
			return 0, fmt.Errorf("append to %s: %w", stream, ErrNoWriter)
		case <-ctx.Done():
			return 0, fmt.Errorf("append to %s: %w: %w", stream, ErrNoWriter, ctx.Err())
		}
	}
}

// showConflict waits, but not for long, until this process shows what was in
// an append's way, so that the caller who reads again finds it.
func (s *Store) showConflict(ctx context.Context, err error) {
	var at Position
	if c := (*conflict)(nil); errors.As(err, &c) {
		at = c.at
	} else if r := (*remote)(nil); errors.As(err, &r) && r.kind == ErrConflict {
		at = r.at
	} else {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = s.tail.waitShown(ctx, at) // else the caller finds it a moment later
}

// newEntry checks an append before anything is done about it.
func (s *Store) newEntry(stream string, after Position, data [][]byte) (*entry, error) {
	e := &entry{stream: stream, after: after, data: data, bytes: len(stream), done: make(chan error, 1)}
	if len(data) == 0 {
		return e, fmt.Errorf("%w: append to %s: no records", errRefused, stream)
	}
	if !s.subjectFits(stream) {
		return e, fmt.Errorf("%w: %q is no subject of volume %s", errRefused, stream, s.cfg.Volume)
	}
	for _, d := range data {
		e.bytes += len(d) + 16
	}
	limit := int(s.cfg.NATS.MaxPayload()) - 64<<10
	switch {
	case len(data) > maxGroup:
		return e, fmt.Errorf("append to %s: %d records, at most %d: %w", stream, len(data), maxGroup, ErrTooLarge)
	case e.bytes > limit:
		return e, fmt.Errorf("append to %s: %d bytes, at most %d: %w", stream, e.bytes, limit, ErrTooLarge)
	}
	return e, nil
}

// subjectFits reports whether a stream name is a literal subject under one of
// the volume's.
func (s *Store) subjectFits(stream string) bool {
	if len(stream) > 1024 {
		return false
	}
	for t := range strings.SplitSeq(stream, ".") {
		if t == "" || t == "*" || t == ">" || strings.ContainsFunc(t, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return false
		}
	}
	return slices.ContainsFunc(s.cfg.Subjects, func(pattern string) bool { return subjectMatches(pattern, stream) })
}

func subjectMatches(pattern, subject string) bool {
	want, have := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, t := range want {
		if t == ">" {
			return len(have) > i
		}
		if i >= len(have) || t != "*" && t != have[i] {
			return false
		}
	}
	return len(have) == len(want)
}

// submit gives an entry to this process's writer and waits for its answer: the
// position of the last record, or why it was not stored.
func (s *Store) submit(ctx context.Context, w *writer, e *entry) (Position, error) {
	if err := s.slow(ctx); err != nil {
		return 0, err
	}
	for {
		if err := s.remember(ctx, e); err != nil {
			return 0, err
		}
		if err := w.push(e); err != nil {
			return 0, err
		}
		var err error
		select {
		case err = <-e.done:
		case <-ctx.Done():
			if w.withdraw(e) {
				return 0, fmt.Errorf("append to %s: %w: %w", e.stream, ErrBusy, ctx.Err())
			}
			select {
			case err = <-e.done:
			default:
				s.count.unknowns.Add(1)
				return 0, fmt.Errorf("append to %s: %w: %w", e.stream, ErrUnknown, ctx.Err())
			}
		}
		switch {
		case err == nil:
			return e.last, nil
		case !errors.Is(err, errForgotten):
			return 0, err
		}
		e = s.again(e)
	}
}

// again makes a fresh entry of one that was answered and not stored.
func (s *Store) again(e *entry) *entry {
	return &entry{stream: e.stream, after: e.after, data: e.data, bytes: e.bytes, done: e.done}
}

// slow holds an append back while readers are too far behind, and while too
// much waits to be read back.
func (s *Store) slow(ctx context.Context) error {
	var why string
	fits := func() bool {
		switch {
		case s.cfg.MaxLag > 0 && s.tail.stored() > s.tail.released+Position(s.cfg.MaxLag):
			why = fmt.Sprintf("readers are more than %d records behind", s.cfg.MaxLag)
		case s.tail.unread > s.tail.maxBytes/2:
			why = fmt.Sprintf("%d records are stored and not read back yet", len(s.tail.sent))
		default:
			return true
		}
		return false
	}
	s.tail.mu.Lock()
	ok := fits()
	s.tail.mu.Unlock()
	if ok {
		return nil
	}
	s.count.slowed.Add(1)
	ctx, cancel := context.WithTimeout(ctx, s.cfg.GiveUp)
	defer cancel()
	if err := s.tail.until(ctx, fits); err != nil {
		return fmt.Errorf("%w: %s", ErrBusy, why)
	}
	return nil
}

// remember makes sure that the tail reaches back to the entry's after. Where
// it does not, the stream's leader is asked for the last record of the stream:
// slow (a cold block of 8 MiB may have to be read), never wrong.
func (s *Store) remember(ctx context.Context, e *entry) error {
	for {
		last, base := s.tail.head(e.stream)
		if last > e.after {
			s.count.conflicts.Add(1)
			return &conflict{e.stream, e.after, last}
		}
		if e.after >= base {
			return nil
		}
		_, shown, _, _ := s.tail.ends() // the answer is at least as new as this
		s.count.coldHeads.Add(1)
		last, err := s.lastOf(ctx, e.stream)
		if err != nil {
			return fmt.Errorf("append to %s: %w: its last record: %w", e.stream, ErrBusy, err)
		}
		if last > e.after {
			s.count.conflicts.Add(1)
			return &conflict{e.stream, e.after, last}
		}
		e.after = max(e.after, shown)
	}
}

// Since returns from memory the records of a stream after a position, and the
// position up to which that is all of them. ok is false where the tail does
// not reach back to after: then read them elsewhere (a read model, Load).
func (s *Store) Since(stream string, after Position) (recs []Record, through Position, ok bool) {
	return s.tail.since(stream, after)
}

// Newest returns the last position of a stream that this process knows to be
// stored, read back or not, after what the tail has forgotten; 0 if there is none.
// Where it lies behind a position that Since came to, Wait for it.
func (s *Store) Newest(stream string) Position {
	last, _ := s.tail.head(stream)
	return last
}

// End is the last position that this process knows to be stored.
func (s *Store) End() Position { return s.tail.end() }

// Release says that all readers hold everything up to a position durably, so
// that the tail may forget it, but for a margin (Config.TailRecords).
func (s *Store) Release(upTo Position) { s.tail.release(upTo) }

// Wait returns when the tail of this process holds a position, so that Since
// and Follow show it. Run must be running.
func (s *Store) Wait(ctx context.Context, p Position) error {
	if err := s.tail.waitShown(ctx, p); err != nil {
		return fmt.Errorf("wait for position %d: %w", p, err)
	}
	return nil
}

// incident stops all writing, and where the volume is not whole ("identity")
// reading as well. It is logged once.
func (s *Store) incident(kind, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.incidents[kind] == why {
		return
	}
	if _, known := s.incidents[kind]; !known && kind == "identity" {
		close(s.broken)
	}
	s.incidents[kind] = why
	s.logger.Error("incident: writing is stopped", "kind", kind, "why", why)
}

// Halt stops all writing of this process for a reason that others have found in
// the volume, such as records that are missing: Append says ErrStopped with it.
// Reading goes on. It ends with the process: a person must look first.
func (s *Store) Halt(kind, why string) { s.incident("halt: "+kind, why) }

// resolved lets writing go on after an incident that a person has put right.
func (s *Store) resolved(kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if why, ok := s.incidents[kind]; ok {
		delete(s.incidents, kind)
		s.logger.Warn("incident resolved", "kind", kind, "why", why)
	}
}

// stopReason says why writing is stopped; empty if it is not.
func (s *Store) stopReason() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.incidents) == 0 {
		return ""
	}
	var all []string
	for _, why := range s.incidents {
		all = append(all, why)
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

func (s *Store) brokenErr() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Errorf("%w: %s", ErrNotWhole, s.incidents["identity"])
}

// alarm looks for the reason behind a refusal that should not be. If the
// configuration explains it, the incident ends when that is put right.
func (s *Store) alarm(why answer) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	if err := s.check(ctx); err != nil || s.stopReason() == "" {
		s.incident("refused", fmt.Sprintf("the server refuses to store: %s (%d)", why.text, why.code))
	}
}

// batchFrom is from how many waiting records on a batch is cheaper.
func (s *Store) batchFrom() int {
	if s.cfg.Replicas > 1 {
		return batchFromRep
	}
	return batchFromOne
}

// nextTag reserves numbers for n records of this store.
func (s *Store) nextTag(n int) uint64 { return s.lastTag.Add(uint64(n)) - uint64(n) + 1 }

// tagText is the header that a record of this store carries.
func (s *Store) tagText(tag uint64) string { return s.nonce + "-" + strconv.FormatUint(tag, 36) }

// ownTag returns this store's number of a record, 0 if another wrote it.
func (s *Store) ownTag(h nats.Header) uint64 {
	v := h[headerTag]
	if len(v) != 1 {
		return 0
	}
	text, ok := strings.CutPrefix(v[0], s.nonce)
	if !ok || len(text) < 2 || text[0] != '-' {
		return 0
	}
	tag, err := strconv.ParseUint(text[1:], 36, 64)
	if err != nil {
		return 0
	}
	return tag
}

// nameOf is the name of a stream: the last token of its subject. The tokens
// before it are labels, for permissions and for people; two subjects with one
// name are one stream, so that a name cannot be begun twice.
func nameOf(stream string) string { return stream[strings.LastIndexByte(stream, '.')+1:] }

// filters are the subjects that a stream's records can stand under: each of
// the volume's with the stream's name in the last place.
func (s *Store) filters(stream string) []string {
	var out []string
	for _, pattern := range s.cfg.Subjects {
		head, last := pattern[:len(pattern)-len(nameOf(pattern))], nameOf(pattern)
		switch {
		case last == "*":
			out = append(out, head+nameOf(stream))
		case stream != nameOf(stream) && subjectMatches(pattern, stream):
			out = append(out, stream)
		}
	}
	return out
}

// lastOf asks the stream's leader for the last record of a stream.
func (s *Store) lastOf(ctx context.Context, stream string) (Position, error) {
	var last Position
	for _, filter := range s.filters(stream) {
		p, err := s.wire.lastOf(ctx, filter)
		if err != nil {
			return 0, err
		}
		last = max(last, p)
	}
	return last, nil
}

// An Entry is one append of many; see Append.
type Entry struct {
	Stream string
	After  Position
	Data   [][]byte
}

// An Outcome is what became of an Entry.
type Outcome struct {
	Position Position // of its last record
	Err      error
}

// AppendAll is Append for many streams at once. The entries are stored in the
// order given, as far as they are stored: each lands or fails by itself.
func (s *Store) AppendAll(ctx context.Context, entries []Entry) []Outcome {
	outcomes := make([]Outcome, len(entries))
	waiting := make([]*entry, len(entries))
	if r, _ := s.currentRole(); r.writer != nil {
		for i, e := range entries {
			waiting[i] = s.pushed(ctx, r.writer, e)
		}
	}
	for i, e := range entries {
		if w := waiting[i]; w != nil {
			select {
			case err := <-w.done:
				if !errors.Is(err, errNotWriter) && !errors.Is(err, errForgotten) {
					s.showConflict(ctx, err)
					outcomes[i] = Outcome{Position: w.last, Err: err}
					continue
				}
			case <-ctx.Done():
				s.count.unknowns.Add(1)
				outcomes[i].Err = fmt.Errorf("append to %s: %w: %w", e.Stream, ErrUnknown, ctx.Err())
				continue
			}
		}
		outcomes[i].Position, outcomes[i].Err = s.Append(ctx, e.Stream, e.After, e.Data...)
	}
	return outcomes
}

// pushed gives an entry to this process's writer; nil where that was not
// possible at once, and nothing was stored.
func (s *Store) pushed(ctx context.Context, w *writer, in Entry) *entry {
	e, err := s.newEntry(in.Stream, in.After, in.Data)
	if err != nil || s.stopReason() != "" || s.slow(ctx) != nil || s.remember(ctx, e) != nil || w.push(e) != nil {
		return nil
	}
	return e
}

// Ready returns when a writer is known, this process or another, so that
// Append need not wait for one; ErrNotWhole where the volume turns out not to be
// whole, for then nobody here will write. Run must be running.
func (s *Store) Ready(ctx context.Context) error {
	for {
		r, changed := s.currentRole()
		if r.writer != nil || r.holder != "" && r.holder != s.cfg.Holder {
			return nil
		}
		select {
		case <-changed:
		case <-s.broken:
			return s.brokenErr()
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrNoWriter, ctx.Err())
		}
	}
}
