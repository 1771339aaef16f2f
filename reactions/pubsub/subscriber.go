package pubsub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"

	"liuhen/internal/lease"
)

// A Begin is where a group that there was not yet begins to read.
type Begin int

// A new group begins at the first message of the stream, or after the last.
const (
	AtStart Begin = iota
	AtEnd
)

// A SubscriberConfig says what is read and how.
type SubscriberConfig struct {
	JS     jetstream.JetStream
	Stream string // it must be there
	// Group names who reads: its subscribers read a topic together, each message
	// once, and a group goes on where it had come to.
	Group string
	// Durable names the consumer of a group and topic. Default: both, joined.
	Durable func(group, topic string) string
	// Filter is the subject that the messages of a topic are stored under, with
	// wildcards; "" is the whole stream. Default: the topic.
	Filter func(topic string) string
	// Key is the lane of a subject: messages of one lane are handed out one
	// after another, of different lanes side by side. Default: the subject.
	Key func(subject string) string
	// Skip says that messages of a subject are not handed out, but acknowledged at
	// once. Default: none.
	Skip func(subject string) bool
	// Settled waits until a message may be seen, for streams whose server hands
	// out what it has not synced yet. Default: at once.
	Settled func(ctx context.Context, position uint64) error
	// Begin is where a new group begins. Default: AtStart.
	Begin Begin
	// Remember keeps the first position that a group which begins AtEnd was ever
	// to read, and returns the one that is kept. Should its consumer be lost, the
	// group begins there again and misses nothing. Default: nothing is kept.
	Remember func(ctx context.Context, first uint64) (uint64, error)

	// InFlight is how many messages are handed out or wait in their lane at
	// most, in all. Default: 64.
	InFlight int
	// AckWait is after how long the server sends a message again of which it has
	// heard nothing. While one is handled or waits it hears something every third
	// of that, so that a handler may take as long as it likes. Default: 30 s.
	AckWait time.Duration
	// Backoff is how long a message that was not acknowledged waits before it
	// comes again, by how often it has come. Default: 100 ms, doubled up to 30 s.
	Backoff func(deliveries uint64) time.Duration
	// Grace is how long a handler may take to end after its message's context has
	// ended. What it says after that is not heard: the message comes again.
	// Default: 3 s.
	Grace time.Duration
	// Bucket keeps the leases. Default: the stream's name and "_readers".
	Bucket string
	// LeaseTime is how long another subscriber of the group must see no sign of
	// life before it takes over; at least 2 s. Default: 5 s.
	LeaseTime time.Duration
	Replicas  int // of the bucket. Default: 1
	// Trouble hears what goes wrong and is tried again, and nil when it goes well
	// again. Default: it is logged.
	Trouble func(topic string, err error)
	Logger  *slog.Logger // Default: slog.Default()
}

func (c SubscriberConfig) withDefaults() (SubscriberConfig, error) {
	if c.JS == nil || c.Stream == "" || c.Group == "" {
		return c, errors.New("pubsub: a subscriber needs JS, Stream and Group")
	}
	if c.Durable == nil {
		c.Durable = func(group, topic string) string { return group + "-" + topic }
	}
	if c.Filter == nil {
		c.Filter = func(topic string) string { return topic }
	}
	if c.Key == nil {
		c.Key = func(subject string) string { return subject }
	}
	if c.Backoff == nil {
		c.Backoff = Backoff(100*time.Millisecond, 30*time.Second)
	}
	c.InFlight = cmp.Or(c.InFlight, 64)
	c.AckWait = cmp.Or(c.AckWait, 30*time.Second)
	c.Grace = cmp.Or(c.Grace, 3*time.Second)
	c.Bucket = cmp.Or(c.Bucket, c.Stream+"_readers")
	c.LeaseTime = max(cmp.Or(c.LeaseTime, 5*time.Second), 2*time.Second)
	c.Replicas = cmp.Or(c.Replicas, 1)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	if c.Trouble == nil {
		c.Trouble = func(topic string, err error) {
			if err != nil {
				c.Logger.Warn("reading is begun anew", "stream", c.Stream, "group", c.Group, "topic", topic, "error", err)
			}
		}
	}
	return c, nil
}

// Backoff waits first, twice as long each further time, and never longer than
// most.
func Backoff(first, most time.Duration) func(deliveries uint64) time.Duration {
	return func(deliveries uint64) time.Duration {
		wait := first
		for n := uint64(1); n < deliveries && wait < most; n++ {
			wait *= 2
		}
		return min(wait, most)
	}
}

// A Subscriber reads a stream for a group. It is safe for many goroutines.
type Subscriber struct {
	c       SubscriberConfig
	closing chan struct{} // closed by Close

	mu      sync.Mutex // guards closed, and adding to running
	closed  bool
	running sync.WaitGroup
}

// NewSubscriber returns a Subscriber. Nothing is read before Subscribe.
func NewSubscriber(c SubscriberConfig) (*Subscriber, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Subscriber{c: c, closing: make(chan struct{})}, nil
}

// SubscribeInitialize makes the group's durable consumer where there is none, so
// that what is published from now on is not missed.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := s.consumer(ctx, topic)
	return err
}

// Subscribe makes the group's durable consumer where there is none, and hands
// out its messages until ctx ends or Close is called; then the channel is closed.
//
// One subscriber of a group and topic reads at a time, whatever process it is in;
// the others stand by. A message of a lane is handed out when the one before it
// has been acknowledged. One that was refused (Nack) comes again after a while,
// before any later one of its lane. The message's context ends with its Ack or
// Nack, with ctx, with Close, and when another subscriber takes over.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, fmt.Errorf("subscribe to %s: %w", topic, ErrClosed)
	}
	s.running.Add(1)
	s.mu.Unlock()

	ctx, cancel := context.WithCancel(ctx)
	done := func() {
		cancel()
		s.running.Done()
	}
	go func() {
		select {
		case <-s.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	if _, err := s.consumer(ctx, topic); err != nil {
		done()
		return nil, err
	}
	out := make(chan *message.Message)
	book := lease.Bucket{JS: s.c.JS, Name: s.c.Bucket, About: "who reads a stream for a group", Replicas: s.c.Replicas}.Book(s.durable(topic))
	l := lease.New(book, lease.Holder(), s.c.LeaseTime)
	go func() {
		defer done()
		defer close(out) // nobody sends any more: Run waits for the reader, and that for its lanes
		l.Run(ctx, func(ctx context.Context) { s.read(ctx, topic, out) }, func(err error) {
			s.c.Logger.Warn("lease of a reader", "stream", s.c.Stream, "group", s.c.Group, "topic", topic, "error", err)
		})
	}()
	return out, nil
}

// Close ends all subscriptions and returns when their channels are closed. The
// connection stays open.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
	s.mu.Unlock()
	s.running.Wait()
	return nil
}

// notInName is what the name of a consumer may not hold.
var notInName = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

func (s *Subscriber) durable(topic string) string {
	return notInName.ReplaceAllString(s.c.Durable(s.c.Group, topic), "_")
}

// consumer finds the durable consumer, or makes it.
func (s *Subscriber) consumer(ctx context.Context, topic string) (jetstream.Consumer, error) {
	name := s.durable(topic)
	consumer, err := s.find(ctx, name, topic)
	if err != nil {
		return nil, fmt.Errorf("consumer %s of stream %s: %w", name, s.c.Stream, err)
	}
	return consumer, nil
}

func (s *Subscriber) find(ctx context.Context, name, topic string) (jetstream.Consumer, error) {
	declared := jetstream.ConsumerConfig{
		Durable:       name,
		FilterSubject: s.c.Filter(topic),
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		ReplayPolicy:  jetstream.ReplayInstantPolicy,
		AckWait:       s.c.AckWait,
		MaxDeliver:    -1, // what is to be given up is for the handler to say
		MaxAckPending: s.c.InFlight,
	}
	for {
		consumer, err := s.c.JS.Consumer(ctx, s.c.Stream, name)
		if err == nil {
			is := consumer.CachedInfo().Config
			if is.AckWait == declared.AckWait && is.MaxAckPending == declared.MaxAckPending && is.FilterSubject == declared.FilterSubject {
				return consumer, nil
			}
			// Where it began is not for us to change.
			is.AckWait, is.MaxAckPending, is.FilterSubject = declared.AckWait, declared.MaxAckPending, declared.FilterSubject
			return s.c.JS.UpdateConsumer(ctx, s.c.Stream, is)
		}
		if !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return nil, err
		}
		if s.c.Begin == AtEnd {
			stream, err := s.c.JS.Stream(ctx, s.c.Stream)
			if err != nil {
				return nil, err
			}
			declared.DeliverPolicy = jetstream.DeliverByStartSequencePolicy
			declared.OptStartSeq = stream.CachedInfo().State.LastSeq + 1
			if s.c.Remember != nil {
				if declared.OptStartSeq, err = s.c.Remember(ctx, declared.OptStartSeq); err != nil {
					return nil, err
				}
			}
		}
		consumer, err = s.c.JS.CreateConsumer(ctx, s.c.Stream, declared)
		if !errors.Is(err, jetstream.ErrConsumerExists) { // another was first
			return consumer, err
		}
	}
}

// pauseAfter is how long a reader waits after a trouble.
const pauseAfter = 200 * time.Millisecond

// read hands out messages until ctx ends, and begins anew after any trouble.
func (s *Subscriber) read(ctx context.Context, topic string, out chan<- *message.Message) {
	for ctx.Err() == nil {
		err := s.readOnce(ctx, topic, out)
		if ctx.Err() != nil {
			return
		}
		s.c.Trouble(topic, err)
		select {
		case <-time.After(pauseAfter):
		case <-ctx.Done():
		}
	}
}

// errGap says that something that the server has sent did not come. What is sent
// next must wait for it, or a later message would overtake an earlier one.
var errGap = errors.New("a message was lost on its way")

// readOnce reads from the last message before which all are acknowledged, until
// ctx ends or something goes wrong. What a reader before this one had in hand comes
// again first, in order: the server is told to begin anew there, instead of
// sending each unacknowledged message again when its time is over, among newer ones.
func (s *Subscriber) readOnce(ctx context.Context, topic string, out chan<- *message.Message) error {
	consumer, err := s.consumer(ctx, topic)
	if err != nil {
		return err
	}
	begin, err := s.c.JS.ResetConsumer(ctx, s.c.Stream, s.durable(topic))
	if err != nil {
		return fmt.Errorf("begin at the last acknowledged message: %w", err)
	}
	// Requests to the server die within half a lease, so that one of a reader that
	// was paused takes nothing from the next.
	expiry := max(s.c.LeaseTime/2, time.Second)
	messages, err := consumer.Messages(jetstream.PullMaxMessages(s.c.InFlight), jetstream.PullExpiry(expiry), jetstream.PullHeartbeat(expiry/2))
	if err != nil {
		return err
	}
	defer messages.Stop()

	ctx, cancel := context.WithCancel(ctx)
	r := &reader{s: s, out: out, lanes: map[string]*lane{}, held: map[uint64]*item{}}
	defer r.working.Wait()
	defer cancel()
	r.working.Go(func() { r.keepAlive(ctx) })
	s.c.Trouble(topic, nil)
	for last := begin.Delivered.Consumer; ; last++ {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		place, err := m.Metadata()
		if err != nil {
			return err
		}
		if place.Sequence.Consumer != last+1 {
			return fmt.Errorf("%w: delivery %d came after %d", errGap, place.Sequence.Consumer, last)
		}
		if s.c.Settled != nil {
			if err := s.c.Settled(ctx, place.Sequence.Stream); err != nil {
				return err
			}
		}
		if err := r.take(ctx, m, place); err != nil {
			return err
		}
	}
}

// A reader is one readOnce at work.
type reader struct {
	s       *Subscriber
	out     chan<- *message.Message
	working sync.WaitGroup // lanes and keepAlive

	mu    sync.Mutex // guards what follows, and what is in it
	lanes map[string]*lane
	held  map[uint64]*item // by position: what has come and is not acknowledged
}

// A lane is the messages of one key, in order. It is there while it has some.
type lane struct {
	waiting []*item
}

// An item is a message that has come and is not acknowledged.
type item struct {
	position uint64
	msg      jetstream.Msg // as it came last: what is said of it goes to this delivery; guarded by reader.mu
	refused  bool          // it is to come again; guarded by reader.mu
	again    chan struct{} // it has; room for one
}

// take puts a message into its lane.
func (r *reader) take(ctx context.Context, m jetstream.Msg, place *jetstream.MsgMetadata) error {
	if r.s.c.Skip != nil && r.s.c.Skip(m.Subject()) {
		return m.Ack()
	}
	position, key := place.Sequence.Stream, r.s.c.Key(m.Subject())
	r.mu.Lock()
	defer r.mu.Unlock()
	if i, ok := r.held[position]; ok { // refused, or the server had heard nothing of it
		i.msg = m
		if i.refused {
			i.refused = false
			i.again <- struct{}{}
		}
		return nil
	}
	i := &item{position: position, msg: m, again: make(chan struct{}, 1)}
	r.held[position] = i
	if l, ok := r.lanes[key]; ok {
		l.waiting = append(l.waiting, i)
		return nil
	}
	r.lanes[key] = &lane{waiting: []*item{i}}
	r.working.Go(func() { r.work(ctx, key) })
	return nil
}

// work hands out the messages of a lane, one after another, until it is empty.
func (r *reader) work(ctx context.Context, key string) {
	for {
		r.mu.Lock()
		l := r.lanes[key]
		if len(l.waiting) == 0 {
			delete(r.lanes, key)
			r.mu.Unlock()
			return
		}
		i := l.waiting[0]
		l.waiting = l.waiting[1:]
		r.mu.Unlock()
		for !r.handOut(ctx, i) {
			select {
			case <-i.again:
			case <-ctx.Done():
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// handOut hands out a message and waits for the verdict. It reports false where
// the message is to come again.
func (r *reader) handOut(ctx context.Context, i *item) (done bool) {
	r.mu.Lock()
	stored := i.msg
	r.mu.Unlock()
	m, _, err := decode(r.s.c.Stream, stored)
	if err != nil { // the reader has read its place before
		r.s.c.Logger.Error("a message cannot be handed out", "error", err)
		return false
	}
	its, cancel := context.WithCancel(ctx)
	defer cancel()
	m.SetContext(its)
	select {
	case r.out <- m:
	case <-ctx.Done():
		return false
	}
	select {
	case <-m.Acked():
		return r.acknowledge(i)
	case <-m.Nacked():
		return r.refuse(i)
	case <-ctx.Done():
	}
	// It is to end; but what the handler has done all the same need not be done again.
	grace := time.NewTimer(r.s.c.Grace)
	defer grace.Stop()
	select {
	case <-m.Acked():
		return r.acknowledge(i)
	case <-m.Nacked():
	case <-grace.C:
	}
	return false
}

func (r *reader) acknowledge(i *item) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.held, i.position)
	if err := i.msg.Ack(); err != nil { // then it comes again
		r.s.c.Logger.Debug("an acknowledgement was not sent", "position", i.position, "error", err)
	}
	return true
}

func (r *reader) refuse(i *item) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	i.refused = true
	var deliveries uint64 = 1
	if place, err := i.msg.Metadata(); err == nil {
		deliveries = place.NumDelivered
	}
	if err := i.msg.NakWithDelay(r.s.c.Backoff(deliveries)); err != nil { // then it comes again when AckWait is over
		r.s.c.Logger.Debug("a refusal was not sent", "position", i.position, "error", err)
	}
	return false
}

// keepAlive tells the server that what is held is being worked on.
func (r *reader) keepAlive(ctx context.Context) {
	tick := time.NewTicker(r.s.c.AckWait / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		r.mu.Lock()
		for _, i := range r.held {
			if !i.refused {
				_ = i.msg.InProgress() // if it cannot be told it comes again, and is known
			}
		}
		r.mu.Unlock()
	}
}
