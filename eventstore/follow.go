package eventstore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Follow yields every record after a position, in order, and then each new one
// as it comes, until ctx ends or the caller stops. Positions are gapless: where
// one is missing, or the volume ends before after, it yields an error that is
// ErrNotWhole and ends. Reconnects and restarts of the server are ridden out.
//
// On the process that writes, a record is yielded only when it is on the disk.
// On other processes it can come a moment earlier: a power cut in that moment
// makes the volume end before what was read, which the next start refuses
// (ErrNotWhole). On a cluster (Replicas 3) a record is never seen too early.
func (s *Store) Follow(ctx context.Context, after Position) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for recs, err := range s.FollowBatches(ctx, after, pullBatch) {
			if err != nil {
				yield(Record{}, err)
				return
			}
			for _, r := range recs {
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}

// FollowBatches is Follow for whoever works on many records at once: each
// batch is what is there now, at least one and at most limit. When ctx ends it
// ends with the error of ctx.
func (s *Store) FollowBatches(ctx context.Context, after Position, limit int) iter.Seq2[[]Record, error] {
	return func(yield func([]Record, error) bool) {
		if err := s.reaches(ctx, after); err != nil {
			yield(nil, err)
			return
		}
		if limit < 1 {
			limit = pullBatch
		}
		for pos := after; ; {
			recs, more, ok := s.tail.next(pos, limit)
			switch {
			case !ok: // older than the tail, or there is none: read the stream up to it
				stopped := false
				err := s.read(ctx, pos, limit, func(ks []kept) bool {
					for _, k := range ks {
						recs = append(recs, k.Record)
					}
					pos = recs[len(recs)-1].Position
					stopped = !yield(recs, nil)
					recs = nil
					_, _, inTail := s.tail.next(pos, 1)
					return !stopped && !inTail
				})
				if stopped {
					return
				}
				if err != nil {
					yield(nil, err)
					return
				}
			case len(recs) == 0:
				select {
				case <-more:
				case <-s.broken:
					yield(nil, s.brokenErr())
					return
				case <-ctx.Done():
					yield(nil, ctx.Err())
					return
				}
			default:
				if !yield(recs, nil) {
					return
				}
				pos = recs[len(recs)-1].Position
			}
		}
	}
}

// reaches refuses a reader that is ahead of the volume, after asking the server.
func (s *Store) reaches(ctx context.Context, after Position) error {
	for {
		info, err := s.stream.Info(ctx)
		if err == nil {
			err = s.whole(info)
			if err == nil && Position(info.State.LastSeq) < after {
				err = fmt.Errorf("%w: it ends at %d, the reader has come to %d", ErrNotWhole, info.State.LastSeq, after)
			}
		}
		if err == nil || !transient(err) || ctx.Err() != nil {
			return err
		}
		if err := pause(ctx, retryWait); err != nil {
			return err
		}
	}
}

// Load returns all records of one stream from the server itself, and the
// position up to which that is all. It asks the leader record by record: a
// tenth of a second where the records lie scattered on the disk, but never
// stale. Since is the fast way for what is new.
func (s *Store) Load(ctx context.Context, stream string) ([]Record, Position, error) {
	through, err := s.plain.end(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("load %s: %w", stream, err)
	}
	var recs []Record
	for _, filter := range s.filters(stream) {
		for next := Position(1); next <= through; {
			r, err := s.plain.get(ctx, map[string]any{"seq": next, "next_by_subj": filter})
			if err != nil {
				return nil, 0, fmt.Errorf("load %s: %w", stream, err)
			}
			if r.Position == 0 || r.Position > through {
				break
			}
			recs = append(recs, r)
			next = r.Position + 1
		}
	}
	slices.SortFunc(recs, func(a, b Record) int { return cmp.Compare(a.Position, b.Position) })
	return recs, through, nil
}

// At returns the record at a position, from the server; ErrNotWhole if there is none.
func (s *Store) At(ctx context.Context, p Position) (Record, error) {
	r, err := s.plain.get(ctx, map[string]any{"seq": p})
	if err != nil {
		return Record{}, fmt.Errorf("read position %d: %w", p, err)
	}
	if r.Position != p {
		return Record{}, fmt.Errorf("%w: there is no record at position %d", ErrNotWhole, p)
	}
	return r, nil
}

// Last returns the position of the volume's last record, from the server.
func (s *Store) Last(ctx context.Context) (Position, error) { return s.plain.end(ctx) }

const (
	pullBatch = 2500                   // messages asked for at once; two such requests are open at a time
	pullBytes = 8 << 20                // and their size, so that the server never has more than 16 MiB on its way to one reader
	pullLife  = 30 * time.Second       // how long a request stays open on the server
	pullBeat  = 5 * time.Second        // how often the server says that it is still there
	retryWait = 100 * time.Millisecond // before a reader tries again
)

// read reads the stream after a position until take says no, ctx ends, or the
// stream turns out not to be whole. It begins anew by itself after a reconnect
// or any other trouble, from where it had come to.
func (s *Store) read(ctx context.Context, after Position, limit int, take func([]kept) bool) error {
	for {
		err := s.readOnce(ctx, &after, limit, take)
		if err == nil || !transient(err) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.count.rereads.Add(1)
		s.logger.Debug("reading is begun anew", "after", after, "err", err)
		if err := pause(ctx, retryWait); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readOnce is one try of read: one consumer, from its creation to its first
// trouble. It moves after along.
func (s *Store) readOnce(ctx context.Context, after *Position, limit int, take func([]kept) bool) error {
	c, err := s.openCursor(ctx, *after)
	if err != nil {
		return err
	}
	defer c.close()
	for {
		recs, err := c.next(ctx, limit)
		if len(recs) > 0 {
			*after = recs[len(recs)-1].Position
			if !take(recs) {
				return nil
			}
		}
		if err != nil {
			return err
		}
	}
}

// A cursor is one ephemeral consumer that reads the stream in order. It asks
// for messages in two overlapping requests, so that the server never waits.
type cursor struct {
	s      *Store
	after  Position
	name   string
	inbox  string
	msgs   chan *nats.Msg
	sub    *nats.Subscription
	status chan nats.Status
	pulls  []pull // open requests, oldest first
	serial int
}

type pull struct {
	serial int
	left   int
}

// openCursor creates the consumer, after it has made sure that the stream is
// the one that was opened and reaches to after.
func (s *Store) openCursor(ctx context.Context, after Position) (*cursor, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	info, err := s.stream.Info(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.whole(info); err != nil {
		return nil, err
	}
	if end := Position(info.State.LastSeq); end < after {
		return nil, fmt.Errorf("%w (%d, read %d)", errBeyond, end, after)
	}
	con, err := s.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       uint64(after) + 1,
		AckPolicy:         jetstream.AckNonePolicy,
		ReplayPolicy:      jetstream.ReplayInstantPolicy,
		InactiveThreshold: time.Minute,
		MemoryStorage:     true,
		Replicas:          1,
		MaxDeliver:        1,
	})
	if err != nil {
		return nil, err
	}
	c := &cursor{
		s: s, after: after, name: con.CachedInfo().Name, inbox: s.cfg.NATS.NewInbox() + ".",
		msgs:   make(chan *nats.Msg, 2*pullBatch+64),
		status: s.cfg.NATS.StatusChanged(nats.RECONNECTING, nats.CONNECTED, nats.CLOSED),
	}
	if c.sub, err = s.cfg.NATS.ChanSubscribe(c.inbox+"*", c.msgs); err != nil {
		c.close()
		return nil, err
	}
	for range 2 {
		if err := c.pull(); err != nil {
			c.close()
			return nil, err
		}
	}
	return c, nil
}

func (c *cursor) close() {
	if c.sub != nil {
		_ = c.sub.Unsubscribe() // fails only when the connection is gone, and then it is done
	}
	c.s.cfg.NATS.RemoveStatusListener(c.status)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if c.s.cfg.NATS.IsConnected() {
		_ = c.s.stream.DeleteConsumer(ctx, c.name) // else the server removes it in a minute
	}
}

// pull opens one more request for messages.
func (c *cursor) pull() error {
	c.serial++
	c.pulls = append(c.pulls, pull{c.serial, pullBatch})
	body, err := json.Marshal(map[string]any{
		"batch": pullBatch, "max_bytes": pullBytes, "expires": pullLife, "idle_heartbeat": pullBeat,
	})
	if err != nil {
		return err
	}
	return c.s.cfg.NATS.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+c.s.cfg.Volume+"."+c.name,
		c.inbox+strconv.Itoa(c.serial), body)
}

// next returns what has come, at least one record and at most limit, or waits.
func (c *cursor) next(ctx context.Context, limit int) ([]kept, error) {
	silence := time.NewTimer(2*pullBeat + time.Second)
	defer silence.Stop()
	var recs []kept
	for len(recs) < limit {
		var m *nats.Msg
		if len(recs) > 0 { // take what is there, do not wait for more
			select {
			case m = <-c.msgs:
			default:
				return recs, nil
			}
		} else {
			select {
			case m = <-c.msgs:
			case st := <-c.status:
				return nil, fmt.Errorf("connection %s", st)
			case <-silence.C:
				return nil, errors.New("the server is silent")
			case <-c.s.broken:
				return nil, c.s.brokenErr()
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			silence.Reset(2*pullBeat + time.Second)
		}
		k, ok, err := c.take(m)
		if err != nil {
			return recs, err
		}
		if ok {
			recs = append(recs, k)
		}
	}
	return recs, nil
}

// take reads one message: a record, or word from the server about a request.
func (c *cursor) take(m *nats.Msg) (kept, bool, error) {
	seq, at, ok := parsePlace(m.Reply)
	if !ok {
		return kept{}, false, c.heed(m)
	}
	if pos := Position(seq); pos != c.after+1 {
		if pos > c.after+1 { // lost on its way, or gone? opening anew tells
			return kept{}, false, c.gone(pos)
		}
		return kept{}, false, fmt.Errorf("position %d came after %d", pos, c.after)
	}
	c.after++
	if len(c.pulls) > 0 {
		if c.pulls[0].left--; c.pulls[0].left == 0 {
			c.pulls = c.pulls[1:]
			if err := c.pull(); err != nil {
				return kept{}, false, err
			}
		}
	}
	r := Record{Stream: m.Subject, Position: c.after, At: time.Unix(0, at).UTC(), Data: m.Data}
	return kept{Record: r, tag: c.s.ownTag(m.Header)}, true, nil
}

// gone tells a message that was lost on its way (opening anew will bring it)
// from one that is no longer in the stream.
func (c *cursor) gone(next Position) error {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	r, err := c.s.plain.get(ctx, map[string]any{"seq": c.after + 1})
	if err == nil && r.Position == 0 {
		return fmt.Errorf("%w: position %d follows %d", ErrNotWhole, next, c.after)
	}
	return fmt.Errorf("position %d came after %d", next, c.after)
}

// heed acts on a status message. An error means that the cursor is at its end.
func (c *cursor) heed(m *nats.Msg) error {
	status, text := m.Header.Get("Status"), m.Header.Get("Description")
	switch status {
	case "100":
		return nil // a heartbeat
	case "408", "409":
		if strings.Contains(text, "Consumer") || strings.Contains(text, "Leader") || strings.Contains(text, "Shutdown") {
			return fmt.Errorf("reading ended: %s %s", status, text)
		}
		serial, _ := strconv.Atoi(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:])
		for i, p := range c.pulls { // this request is over: open another
			if p.serial == serial {
				c.pulls = append(c.pulls[:i], c.pulls[i+1:]...)
				return c.pull()
			}
		}
		return nil
	}
	return fmt.Errorf("reading ended: %s %s", status, text)
}

// parsePlace reads the stream sequence and the time of a message from the
// subject that an acknowledgement would go to:
//
//	$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>
//	$JS.ACK.<domain>.<account>.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>…
func parsePlace(reply string) (seq uint64, at int64, ok bool) {
	if !strings.HasPrefix(reply, "$JS.ACK.") {
		return 0, 0, false
	}
	fields := strings.Count(reply, ".") + 1
	skip := 5 // fields before the stream sequence
	if fields >= 11 {
		skip = 7
	} else if fields != 9 {
		return 0, 0, false
	}
	rest := reply
	for range skip {
		rest = rest[strings.IndexByte(rest, '.')+1:]
	}
	text, rest, _ := strings.Cut(rest, ".")
	_, rest, _ = strings.Cut(rest, ".")
	stamp, _, _ := strings.Cut(rest, ".")
	seq, err1 := strconv.ParseUint(text, 10, 64)
	at, err2 := strconv.ParseInt(stamp, 10, 64)
	return seq, at, err1 == nil && err2 == nil && seq > 0
}
