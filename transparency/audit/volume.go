package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"liuhen/eventstore"
)

// A Volume is the stream of a volume, as it lies there. It is read without the
// care of package eventstore, which refuses a stream that is not whole: what is
// wrong with it is what an audit is after. Nothing is written.
type Volume struct {
	js     jetstream.JetStream
	stream jetstream.Stream
	name   string
}

// FindVolume finds a volume's stream, which is not created.
func FindVolume(ctx context.Context, js jetstream.JetStream, name string) (*Volume, error) {
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("volume %s: %w", name, err)
	}
	return &Volume{js: js, stream: stream, name: name}, nil
}

// End is the position of the last record.
func (v *Volume) End(ctx context.Context) (uint64, error) {
	info, err := v.stream.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("volume %s: %w", v.name, err)
	}
	return info.State.LastSeq, nil
}

const (
	readAhead = 5000            // messages asked for at once
	perBatch  = 256             // records handed on together
	silence   = 3 * time.Second // after which the server is asked whether a record cannot be read
)

// Read yields the records from a position on, up to and with another, that there
// are, in order; of one stream by its name, or of all (""). A record that the
// server cannot read is left out like one that is not there.
func (v *Volume) Read(ctx context.Context, from, upTo uint64, name string) iter.Seq2[[]eventstore.Record, error] {
	return func(yield func([]eventstore.Record, error) bool) {
		for from <= upTo {
			next, more, err := v.readOn(ctx, from, upTo, name, yield)
			if err != nil {
				yield(nil, fmt.Errorf("read volume %s from position %d: %w", v.name, next, err))
				return
			}
			if !more {
				return
			}
			from = next
		}
	}
}

// readOn is one consumer of Read, up to the first record that it cannot read. It
// says where to begin anew.
func (v *Volume) readOn(ctx context.Context, from, upTo uint64, name string, yield func([]eventstore.Record, error) bool) (next uint64, more bool, err error) {
	config := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from}
	if name != "" {
		config.FilterSubjects = []string{"*.*.*." + name}
	}
	consumer, err := v.stream.OrderedConsumer(ctx, config)
	if err != nil {
		return from, false, err
	}
	if info, err := consumer.Info(ctx); err != nil || info.NumPending == 0 {
		return from, false, err
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(readAhead))
	if err != nil {
		return from, false, err
	}
	defer messages.Stop()
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	silent := time.AfterFunc(silence, cancel)
	defer silent.Stop()
	batch := make([]eventstore.Record, 0, perBatch)
	for {
		m, err := messages.Next(jetstream.NextContext(waiting))
		switch {
		case ctx.Err() != nil:
			return from, false, ctx.Err()
		case waiting.Err() != nil:
			if len(batch) > 0 && !yield(batch, nil) {
				return from, false, nil
			}
			return v.pass(ctx, from, upTo, name, yield)
		case err != nil:
			return from, false, err
		}
		at, err := m.Metadata()
		if err != nil {
			return from, false, err
		}
		seq := at.Sequence.Stream
		if seq <= upTo {
			batch = append(batch, eventstore.Record{Stream: m.Subject(), Position: eventstore.Position(seq), At: at.Timestamp.UTC(), Data: m.Data()})
			from = seq + 1
		}
		end := seq >= upTo || at.NumPending == 0
		if len(batch) == cap(batch) || end && len(batch) > 0 {
			silent.Stop() // the audit may take its time
			if !yield(batch, nil) {
				return from, false, nil
			}
			silent.Reset(silence)
			batch = make([]eventstore.Record, 0, perBatch)
		}
		if end {
			return from, false, nil
		}
	}
}

// singly is how many records are asked for one by one where the server has fallen
// silent: it does so at a record that it cannot read, and perhaps at all others in
// the same file.
const singly = 2000

// pass gets past what cannot be read.
func (v *Volume) pass(ctx context.Context, from, upTo uint64, name string, yield func([]eventstore.Record, error) bool) (next uint64, more bool, err error) {
	end := min(upTo, from+singly-1)
	for p := from; p <= end; p++ {
		r, err := v.At(ctx, p)
		if errors.Is(err, ErrNoRecord) || err == nil && name != "" && r.Name() != name {
			continue
		}
		if err != nil {
			return p, false, err
		}
		if !yield([]eventstore.Record{r}, nil) {
			return p, false, nil
		}
	}
	return end + 1, true, nil
}

// ErrNoRecord says that there is no record at a position, or the server cannot read it.
var ErrNoRecord = errors.New("no record can be read there")

// At returns the record at a position.
func (v *Volume) At(ctx context.Context, position uint64) (eventstore.Record, error) {
	m, err := v.stream.GetMsg(ctx, position)
	var api *jetstream.APIError
	if errors.Is(err, jetstream.ErrMsgNotFound) || errors.As(err, &api) {
		return eventstore.Record{}, fmt.Errorf("position %d: %w (%w)", position, ErrNoRecord, err)
	}
	if err != nil {
		return eventstore.Record{}, err
	}
	return eventstore.Record{Stream: m.Subject, Position: eventstore.Position(m.Sequence), At: m.Time.UTC(), Data: m.Data}, nil
}
