package eventstore

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nuid"
)

// commit stores a group and has every entry answered. Whatever goes wrong, it
// asks what stands in the stream and goes by that: an error or a silence of
// the server never decides whether something was stored. Sending again is
// always safe, because the same expected sequence can be met only once.
//
// A crash at any line leaves the group in the stream or not, the entries of
// one batch all or none; the callers have no answer and must read.
func (w *writer) commit(ctx context.Context, group []*entry) {
	var (
		began   = time.Now()
		unclear bool // something was sent, was not answered, and may yet be stored
		tries   int
	)
	for _, e := range group {
		if e.tag == 0 {
			e.tag = w.s.nextTag(len(e.data))
		}
	}
	giveUp := func(clearErr error) { // the rest of the group gets its answer
		if unclear {
			w.s.count.unknowns.Add(int64(len(group)))
			clearErr = fmt.Errorf("%w after %s", ErrUnknown, time.Since(began).Round(time.Millisecond))
		}
		finish(group, clearErr)
	}
	for len(group) > 0 {
		if tries++; tries > 1 {
			w.s.count.retries.Add(1)
			switch late := time.Since(began) > w.s.cfg.GiveUp; {
			case w.stopped():
				if group, unclear = w.lastLook(ctx, group, unclear); len(group) > 0 {
					giveUp(errNotWriter)
				}
				return
			case late:
				giveUp(fmt.Errorf("%w: the server has refused for %s", ErrBusy, w.s.cfg.GiveUp))
				return
			}
		}
		out := w.try(group)
		if group = w.stored(group, out.acked); len(group) == 0 {
			return
		}
		unclear = unclear || out.unclear
		switch out.verdict {
		case fine: // no answer came
			w.s.logger.Warn("the server did not answer", "records", records(group), "expected", w.end)
			group = w.thaw(ctx, group, began)
		case again:
			if err := w.mayWrite(); err != nil && !unclear { // a full disk refuses batches in this way, too
				finish(group, err)
				return
			}
			w.rest(tries)
		case read:
			landed, end, ok := w.readBack(ctx, group)
			group = w.stored(group, landed)
			switch {
			case !ok:
				group = w.thaw(ctx, group, began)
				w.rest(tries)
			case end > w.end: // the place is taken: nothing of the rest can be stored there any more
				unclear = false
				w.foreign(end)
				group = w.judge(ctx, group)
			default:
				w.rest(tries)
			}
		case full:
			if !unclear {
				w.s.count.full.Add(1)
				finish(group, fmt.Errorf("%w: %s", ErrFull, out.why.text))
				return
			}
			w.rest(tries)
		case never:
			if len(group) == 1 {
				giveUp(fmt.Errorf("%w: append to %s: %s (%d)", neverError(out.why), group[0].stream, out.why.text, out.why.code))
				return
			}
			w.split(ctx, group, 1)
			return
		case smaller:
			if len(group) == 1 {
				giveUp(fmt.Errorf("%w: %d records of %s at once: %s", ErrTooLarge, len(group[0].data), group[0].stream, out.why.text))
				return
			}
			w.maxGroup = max(1, records(group)/2)
			w.split(ctx, group, max(1, len(group)/2))
			return
		case stop:
			w.s.alarm(out.why)
			giveUp(fmt.Errorf("%w: %s", ErrStopped, w.s.stopReason()))
			return
		}
	}
}

// neverError says what a refusal for good means to the caller.
func neverError(a answer) error {
	if a.code == codeSourceHeader {
		return errRefused
	}
	return ErrTooLarge
}

// split commits a group in parts, so that one entry's fault is not the others'.
func (w *writer) split(ctx context.Context, group []*entry, size int) {
	for len(group) > 0 {
		n := min(size, len(group))
		w.commit(ctx, group[:n])
		group = w.judge(ctx, group[n:])
	}
}

// rest waits a moment before the next try, longer each time, at most 100 ms.
func (w *writer) rest(tries int) {
	t := time.NewTimer(min(time.Millisecond<<min(tries, 10), 100*time.Millisecond))
	defer t.Stop()
	<-t.C
}

func records(group []*entry) (n int) {
	for _, e := range group {
		n += len(e.data)
	}
	return n
}

// lastLook is what a writer that has to stop does about a group that it could
// not finish: it sends nothing more, and looks whether it is there.
func (w *writer) lastLook(ctx context.Context, group []*entry, unclear bool) ([]*entry, bool) {
	if !unclear {
		return group, false
	}
	landed, end, ok := w.readBack(ctx, group)
	group = w.stored(group, landed)
	return group, !ok || end == w.end
}

// An outcome is what one try brought.
type outcome struct {
	acked   int     // records that were acknowledged as stored: all of the group or none
	unclear bool    // it was sent and not answered
	verdict verdict // what to do, if nothing was acknowledged; fine: there was no answer
	why     answer
}

// try sends a group once and waits for the answer. One record goes as a
// message of its own, several as one atomic batch. They are never sent one
// behind the other: if the first were lost and another writer took its place,
// the second would find its expected sequence and be stored unjudged.
func (w *writer) try(group []*entry) outcome {
	n := records(group)
	batch := n > 1
	at := &attempt{batch: batch, left: 1, done: make(chan struct{})}
	if batch {
		at.left = 2
	}
	at.answers = make([]*answer, at.left)
	w.mu.Lock()
	at.first = w.token + 1
	w.token += uint64(at.left)
	w.waiting = at
	w.mu.Unlock()

	var sent int
	var err error
	if batch {
		sent, err = w.sendBatch(group, n, at.first)
	} else {
		sent, err = w.sendSingle(group[0], at.first)
	}
	w.s.count.group(n)
	if err == nil {
		w.await(at)
	} else {
		w.s.logger.Warn("send", "err", err)
	}
	w.mu.Lock()
	w.waiting = nil
	answers := at.answers
	w.mu.Unlock()
	return readOutcome(answers, n, sent, w.end)
}

// sendSingle publishes one record.
func (w *writer) sendSingle(e *entry, token uint64) (sent int, err error) {
	m := w.message(e, 0, headerStream, w.s.cfg.Volume, headerExpected, formatPosition(w.end))
	if err := w.wire.publish(m, token); err != nil {
		return 0, err
	}
	return 1, nil
}

// sendBatch publishes a group as one atomic batch. The server answers the
// first message (is a batch allowed at all?) and the last (is it stored?).
func (w *writer) sendBatch(group []*entry, n int, token uint64) (sent int, err error) {
	id := nuid.Next() // a new one for each try: the server may still know the old one as broken
	for _, e := range group {
		for i := range e.data {
			m := w.message(e, i, headerBatch, id, headerPart, strconv.Itoa(sent+1))
			tok := uint64(0)
			if sent == 0 {
				m.Header[headerStream] = []string{w.s.cfg.Volume}
				m.Header[headerExpected] = []string{formatPosition(w.end)}
				tok = token
			}
			if sent == n-1 {
				m.Header[headerCommit] = []string{"1"}
				tok = token + 1
			}
			if err := w.wire.publish(m, tok); err != nil {
				return sent, err
			}
			sent++
		}
	}
	return sent, nil
}

func formatPosition(p Position) string { return strconv.FormatUint(uint64(p), 10) }

// await waits for the answers to an attempt, or until it is clear that they
// will not come.
func (w *writer) await(at *attempt) {
	late := time.NewTimer(w.s.cfg.AckWait)
	defer late.Stop()
	look := time.NewTicker(250 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-at.done:
			return
		case <-late.C:
			return
		case <-look.C:
			if srv := w.s.cfg.Server; srv != nil && srv.frozen() != nil {
				return
			}
		}
	}
}

// readOutcome reads the answers to a message, or to the first and the last
// message of a batch, of which the last alone stores it.
func readOutcome(answers []*answer, n, sent int, end Position) (out outcome) {
	first, last := answers[0], answers[len(answers)-1]
	switch {
	case last != nil && classify(*last) == fine:
		if last.last == end+Position(n) {
			out.acked = n
		} else {
			out.verdict, out.why = read, *last // stored, but where?
		}
	case first != nil && classify(*first) != fine: // a batch that was refused at its beginning
		out.verdict, out.why = classify(*first), *first
		out.unclear = last == nil && sent == n
	case last != nil:
		out.verdict, out.why = classify(*last), *last
	case sent < n:
		out.verdict = again
	default:
		out.unclear = true
	}
	return out
}

// stored marks the entries of the first n records as stored right after the
// known end, moves the end, and returns the others.
func (w *writer) stored(group []*entry, n int) []*entry {
	k := 0
	for ; k < len(group) && n >= len(group[k].data); k++ {
		n -= len(group[k].data)
		w.end += Position(len(group[k].data))
		group[k].last = w.end
		w.s.count.appended.Add(int64(len(group[k].data)))
	}
	if k > 0 {
		w.commitTail(group[:k], w.end)
		finish(group[:k], nil)
	}
	return group[k:]
}

// commitTail tells the tail what is on the disk.
func (w *writer) commitTail(group []*entry, end Position) {
	if err := w.s.tail.commit(group, end); err != nil {
		w.s.incident("identity", err.Error())
	}
}

// readBack looks what stands in the stream after the expected end: how many
// records of the group, from its front, are there, and where the stream ends.
// ok is false if that could not be found out for certain.
func (w *writer) readBack(ctx context.Context, group []*entry) (landed int, end Position, ok bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer cancel()
	end, err := w.wire.end(ctx)
	if err == nil {
		err = w.s.tail.waitReceived(ctx, end)
	}
	if err != nil {
		w.s.logger.Warn("reading back", "err", err)
		return 0, w.end, false
	}
	if srv := w.s.cfg.Server; srv != nil && srv.frozen() != nil {
		return 0, w.end, false // what can be read may not be on the disk: start anew and look again
	}
	tags := w.s.tail.tags(w.end, records(group))
	for _, e := range group {
		here := 0
		for here < len(e.data) && landed+here < len(tags) && tags[landed+here] == e.tag+uint64(here) {
			here++
		}
		if here == len(e.data) {
			landed += here
			continue
		}
		if here > 0 {
			if end == w.end+Position(landed+here) {
				return 0, w.end, false // a replicated stream is just taking it in
			}
			w.s.incident("half", fmt.Sprintf("after position %d stand %d of %d records of %s that belong together", int(w.end)+landed, here, len(e.data), e.stream))
		}
		break
	}
	return landed, end, true
}

// thaw is called when the server has not answered. The embedded server falls
// silent for good after a write error (a full disk, say); then everyone who
// waits is refused, and the server is started anew once there is room. The
// group under way stays, for it may be stored all the same: the server
// finishes a batch when it starts. So the end of the stream is not taken from
// the server while the group is kept: sending it again tells. thaw returns
// what is left of the group: nothing, if it had to be told ErrUnknown.
func (w *writer) thaw(ctx context.Context, group []*entry, began time.Time) []*entry {
	srv := w.s.cfg.Server
	if srv == nil {
		return group
	}
	why := srv.frozen()
	if why == nil {
		return group
	}
	w.s.count.frozen.Add(1)
	w.s.frozen.Store(true)
	defer w.s.frozen.Store(false)
	w.s.logger.Error("the server has stopped writing", "err", why)
	for ; why != nil; why = srv.frozen() {
		w.refuseWaiting(fmt.Errorf("%w: %w", ErrFull, why))
		if len(group) > 0 && (time.Since(began) > w.s.cfg.GiveUp || w.stopped()) {
			w.s.count.unknowns.Add(int64(len(group)))
			finish(group, fmt.Errorf("%w: %w", ErrUnknown, why))
			group = nil
		}
		if w.stopped() {
			return nil
		}
		if srv.room() == nil {
			if err := srv.revive(ctx); err != nil {
				w.s.logger.Error("starting the server anew", "err", err)
			}
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-w.stopping:
		}
	}
	for len(group) == 0 && !w.stopped() && !w.resync(ctx) {
		w.refuseWaiting(fmt.Errorf("%w: the server is being started anew", ErrBusy))
	}
	return group
}
