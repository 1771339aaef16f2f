package eventstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
)

// A process that does not write hands its appends to the one that does, by a
// NATS request to a subject that names the holder of the lease. A holder that
// is dead answers nothing: then nothing was stored, or it is not known.

const handoverVersion = 1

// encodeHandover writes an append as bytes: a version, after as eight bytes,
// then the stream, the number of records and each record, each with its
// length before it as a uvarint.
func encodeHandover(stream string, after Position, data [][]byte) []byte {
	size := 1 + 8 + 2*binary.MaxVarintLen64 + len(stream)
	for _, d := range data {
		size += binary.MaxVarintLen64 + len(d)
	}
	b := make([]byte, 0, size)
	b = append(b, handoverVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(after))
	b = binary.AppendUvarint(b, uint64(len(stream)))
	b = append(b, stream...)
	b = binary.AppendUvarint(b, uint64(len(data)))
	for _, d := range data {
		b = binary.AppendUvarint(b, uint64(len(d)))
		b = append(b, d...)
	}
	return b
}

var errHandover = errors.New("a request to append that cannot be read")

// decodeHandover reads what encodeHandover wrote. The records share b.
func decodeHandover(b []byte) (stream string, after Position, data [][]byte, err error) {
	if len(b) < 9 || b[0] != handoverVersion {
		return "", 0, nil, errHandover
	}
	after = Position(binary.BigEndian.Uint64(b[1:]))
	b = b[9:]
	part := func() ([]byte, bool) {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(len(b)-used) {
			return nil, false
		}
		p := b[used : used+int(n) : used+int(n)]
		b = b[used+int(n):]
		return p, true
	}
	name, ok := part()
	if !ok {
		return "", 0, nil, errHandover
	}
	count, used := binary.Uvarint(b)
	if used <= 0 || count > uint64(len(b)-used) { // each record takes a byte at least
		return "", 0, nil, errHandover
	}
	b = b[used:]
	data = make([][]byte, 0, min(count, maxGroup))
	for range count {
		d, ok := part()
		if !ok {
			return "", 0, nil, errHandover
		}
		data = append(data, d)
	}
	if len(b) > 0 {
		return "", 0, nil, errHandover
	}
	return string(name), after, data, nil
}

// answerErrors are the errors that keep their meaning on the way between
// processes, by the number that stands in the answer. The order is part of
// the format: add at the end.
var answerErrors = []error{
	nil, ErrConflict, ErrUnknown, ErrTooLarge, ErrFull, ErrBusy, ErrNoWriter, ErrStopped, errNotWriter, errRefused, ErrNotWhole,
}

// errRefused: the append is not one that could ever be stored.
var errRefused = errors.New("refused")

// encodeOutcome writes the answer to an append: a number out of answerErrors,
// a position as eight bytes (of the last record, or of the one that was in the
// way), and the error in words.
func encodeOutcome(last Position, err error) []byte {
	if err == nil {
		return binary.BigEndian.AppendUint64([]byte{0}, uint64(last))
	}
	if c := (*conflict)(nil); errors.As(err, &c) {
		last = c.at
	}
	kind := len(answerErrors) // a fault without a name: not known what it means
	for i, e := range answerErrors {
		if e != nil && errors.Is(err, e) {
			kind = i
			break
		}
	}
	return append(binary.BigEndian.AppendUint64([]byte{byte(kind)}, uint64(last)), err.Error()...)
}

// decodeOutcome reads what encodeOutcome wrote. What it cannot read is
// ErrUnknown, for the writer may have stored something.
func decodeOutcome(b []byte) (Position, error) {
	if len(b) < 9 {
		return 0, fmt.Errorf("%w: the writer's answer cannot be read", ErrUnknown)
	}
	at, text := Position(binary.BigEndian.Uint64(b[1:])), string(b[9:])
	switch {
	case b[0] == 0 && text == "":
		return at, nil
	case b[0] > 0 && int(b[0]) < len(answerErrors):
		return 0, &remote{kind: answerErrors[b[0]], at: at, text: text}
	}
	return 0, fmt.Errorf("%w: the writer said %q", ErrUnknown, text)
}

// remote is an error of another process: its words, what it means here, and
// for ErrConflict the place of what was written since.
type remote struct {
	kind error
	at   Position
	text string
}

func (r *remote) Error() string { return r.text }
func (r *remote) Unwrap() error { return r.kind }

func (s *Store) handoverSubject(holder string) string {
	return "liuhen.append." + s.cfg.Volume + "." + holder
}

// handOver asks the holder of the lease to append. errNotWriter: it did not
// take it, nothing was stored. It does not wait for a holder that has lost the
// lease: then the outcome is not known.
func (s *Store) handOver(ctx context.Context, holder string, e *entry) (Position, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.GiveUp)
	defer cancel()
	go func() {
		defer cancel()
		for {
			r, changed := s.currentRole()
			if r.holder != holder {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	s.count.handedOver.Add(1)
	m, err := s.cfg.NATS.RequestWithContext(ctx, s.handoverSubject(holder), encodeHandover(e.stream, e.after, e.data))
	switch {
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, nats.ErrReconnectBufExceeded):
		return 0, errNotWriter
	case err != nil:
		s.count.unknowns.Add(1)
		return 0, fmt.Errorf("%w: hand over to %s: %w", ErrUnknown, holder, err)
	}
	return decodeOutcome(m.Data)
}

// serve takes the appends of other processes while this one writes. Each is
// answered when it is stored or refused; over maxHandovers at a time ErrBusy.
func (s *Store) serve(ctx context.Context, w *writer) (stop func(), err error) {
	slots := make(chan struct{}, maxHandovers)
	sub, err := s.cfg.NATS.Subscribe(s.handoverSubject(s.cfg.Holder), func(m *nats.Msg) {
		select {
		case slots <- struct{}{}:
		default:
			s.reply(m, 0, fmt.Errorf("%w: %d appends of other processes are waiting", ErrBusy, maxHandovers))
			return
		}
		go func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, s.cfg.GiveUp)
			defer cancel()
			e, err := s.decodeEntry(m.Data)
			var last Position
			if err == nil {
				last, err = s.submit(ctx, w, e)
			}
			s.reply(m, last, err)
		}()
	})
	if err != nil {
		return nil, err
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, errors.Join(err, sub.Unsubscribe())
	}
	return func() {
		_ = sub.Unsubscribe()    // fails only when the connection is gone, and then it is done
		for range maxHandovers { // those under way have been answered
			slots <- struct{}{}
		}
	}, nil
}

func (s *Store) decodeEntry(b []byte) (*entry, error) {
	stream, after, data, err := decodeHandover(b)
	if err != nil {
		return &entry{}, fmt.Errorf("%w: %w", errRefused, err)
	}
	return s.newEntry(stream, after, data)
}

func (s *Store) reply(m *nats.Msg, last Position, err error) {
	if err := m.Respond(encodeOutcome(last, err)); err != nil {
		s.logger.Debug("an append of another process was not answered", "err", err)
	}
}
