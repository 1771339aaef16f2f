package pubsub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// ErrClosed says that a Publisher or Subscriber has been closed.
var ErrClosed = errors.New("closed")

// maxBatch is how many messages the server takes in one atomic batch.
const maxBatch = 1000

// A PublisherConfig says where messages go.
type PublisherConfig struct {
	JS jetstream.JetStream
	// Subject is what a message of a topic is stored under. Default: the topic.
	Subject func(topic string, m *message.Message) string
	// Atomic: the stream takes atomic batches (allow_atomic), so that several
	// messages of one call are stored all or none, and synced once.
	Atomic bool
	// Wait is how long the server may take to answer. Default: 10 s.
	Wait time.Duration
}

// A Publisher stores messages in a stream. It is safe for many goroutines.
type Publisher struct {
	PublisherConfig

	mu     sync.RWMutex // read-locked by each Publish, so that Close waits for them
	closed bool
}

// NewPublisher returns a Publisher.
func NewPublisher(c PublisherConfig) *Publisher {
	if c.Subject == nil {
		c.Subject = func(topic string, _ *message.Message) string { return topic }
	}
	if c.Wait == 0 {
		c.Wait = 10 * time.Second
	}
	return &Publisher{PublisherConfig: c}
}

// Publish stores messages in their order and returns when all are on the server's
// disk. With Atomic each thousand of them is stored all or none; without it those
// before the first that failed are stored. Subject and UUID of a message are its
// Nats-Msg-Id: sent again within the stream's duplicate window it is stored once, so
// that a call that failed can be repeated.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return fmt.Errorf("publish to %s: %w", topic, ErrClosed)
	}
	stored := make([]*nats.Msg, len(messages))
	for i, m := range messages {
		var err error
		if stored[i], err = encode(p.Subject(topic, m), m); err != nil {
			return err
		}
	}
	for first := 0; first < len(stored); first += maxBatch {
		part := stored[first:min(first+maxBatch, len(stored))]
		if err := p.publish(messages[first].Context(), part); err != nil {
			return fmt.Errorf("publish to %s: %w", topic, err)
		}
	}
	return nil
}

// codeBatchDuplicate: one of the messages of a batch, or all, are stored already.
const codeBatchDuplicate jetstream.ErrorCode = 10201

func (p *Publisher) publish(ctx context.Context, part []*nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, p.Wait)
	defer cancel()
	if p.Atomic && len(part) > 1 {
		batch := make([]*nats.Msg, len(part)) // headers of the batch do not stay with the messages
		for i, m := range part {
			batch[i] = nats.NewMsg(m.Subject)
			batch[i].Data = m.Data
			for k, v := range m.Header {
				batch[i].Header[k] = v
			}
		}
		_, err := jetstreamext.PublishMsgBatch(ctx, p.JS, batch)
		if e := (*jetstream.APIError)(nil); !errors.As(err, &e) || e.ErrorCode != codeBatchDuplicate {
			return err
		}
		// An earlier call has stored them, or some of them: one by one the server
		// leaves out those that it has.
	}
	for _, m := range part {
		if _, err := p.JS.PublishMsg(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// Close waits for calls under way. The connection stays open.
func (p *Publisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}
