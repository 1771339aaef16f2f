package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"liuhen/eventstore/eventstoretest"
	"liuhen/reactions/pubsub"
)

// patience is how long a test waits for what must come.
const patience = 60 * time.Second

const stream = "SUITE"

// newStream starts a server that syncs each write, and makes a stream.
func newStream(t testing.TB) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(eventstoretest.Server(t).Conn())
	if err != nil {
		t.Fatal(err)
	}
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: stream, Subjects: []string{"suite.>"}, Storage: jetstream.FileStorage, AllowAtomicPublish: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func publisher(js jetstream.JetStream) *pubsub.Publisher {
	return pubsub.NewPublisher(pubsub.PublisherConfig{
		JS: js, Atomic: true, Subject: func(topic string, m *message.Message) string {
			if key := m.Metadata.Get("key"); key != "" {
				return "suite." + topic + "." + key
			}
			return "suite." + topic
		},
	})
}

func subscriber(t testing.TB, js jetstream.JetStream, group string, change ...func(*pubsub.SubscriberConfig)) *pubsub.Subscriber {
	t.Helper()
	c := pubsub.SubscriberConfig{
		JS: js, Stream: stream, Group: group,
		Filter:  func(topic string) string { return "suite." + topic },
		Backoff: pubsub.Backoff(time.Millisecond, 10*time.Millisecond), Grace: 200 * time.Millisecond, LeaseTime: 2 * time.Second,
		Logger: eventstoretest.Logger(t),
	}
	for _, f := range change {
		f(&c)
	}
	s, err := pubsub.NewSubscriber(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// Watermill's own suite, against the real server. Order is guaranteed with many
// subscribers too, for one of a group reads at a time.
func TestWatermillSuite(t *testing.T) {
	js := newStream(t)
	group := func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
		return publisher(js), subscriber(t, js, group)
	}
	tests.TestPubSub(t, tests.Features{
		ConsumerGroups:      true,
		ExactlyOnceDelivery: false,
		GuaranteedOrder:     true,
		Persistent:          true,
	}, func(t *testing.T) (message.Publisher, message.Subscriber) { return group(t, "all") }, group)
}

// numbered publishes count messages a key, in turns; the payload is the number.
func numbered(t testing.TB, js jetstream.JetStream, topic string, keys, count int) {
	t.Helper()
	p := publisher(js)
	var all []*message.Message
	for n := range count {
		for k := range keys {
			m := message.NewMessage(fmt.Sprintf("%s-%d-%d", topic, k, n), []byte(strconv.Itoa(n)))
			m.Metadata.Set("key", fmt.Sprint("k", k))
			all = append(all, m)
		}
	}
	if err := p.Publish(topic, all...); err != nil {
		t.Fatal(err)
	}
}

func next(t testing.TB, messages <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, ok := <-messages:
		if !ok {
			t.Fatal("the channel is closed")
		}
		return m
	case <-time.After(patience):
		t.Fatal("no message")
	}
	return nil
}

func wildcard(c *pubsub.SubscriberConfig) {
	c.Filter = func(topic string) string { return "suite." + topic + ".>" }
}

// An order is what has been acknowledged of each key; a message may come again,
// but never before an earlier one of its key was acknowledged.
type order struct {
	mu   sync.Mutex
	done map[string]int // key → how many
	seen int
}

func (o *order) came(t testing.TB, m *message.Message, acknowledged bool) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := strconv.Atoi(string(m.Payload))
	if err != nil {
		t.Error(err)
	}
	key := m.Metadata.Get("key")
	if n > o.done[key] {
		t.Errorf("%s: number %d came while %d is not done", key, n, o.done[key])
	}
	if acknowledged && n == o.done[key] {
		o.done[key]++
		o.seen++
	}
}

func (o *order) all() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seen
}

// Handlers fail at random, readers are closed at random moments with messages in
// hand, and others go on: nothing is lost, and no message of a key overtakes
// another.
func TestOrderThroughFailuresAndClosing(t *testing.T) {
	const keys, count = 12, 60
	js := newStream(t)
	numbered(t, js, "busy", keys, count)
	o := &order{done: map[string]int{}}
	chance := rand.New(rand.NewPCG(1, 2))
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	for round := 0; o.all() < keys*count; round++ {
		if ctx.Err() != nil {
			t.Fatalf("%d of %d messages after %d readers", o.all(), keys*count, round)
		}
		s := subscriber(t, js, "busy", wildcard)
		messages, err := s.Subscribe(ctx, "busy")
		if err != nil {
			t.Fatal(err)
		}
		until := o.all() + 20 + chance.IntN(100)
		var handlers sync.WaitGroup
		for m := range messages {
			good := chance.IntN(4) > 0
			handlers.Go(func() {
				o.came(t, m, good)
				if good {
					m.Ack()
				} else {
					m.Nack()
				}
				if n := o.all(); n >= until || n == keys*count {
					_ = s.Close()
				}
			})
		}
		handlers.Wait()
	}
}

// Closing at any moment closes the channel and panics nowhere.
func TestCloseAtAnyMoment(t *testing.T) {
	js := newStream(t)
	numbered(t, js, "closing", 8, 200)
	for i := range 25 {
		s := subscriber(t, js, "closing", wildcard)
		messages, err := s.Subscribe(t.Context(), "closing")
		if err != nil {
			t.Fatal(err)
		}
		closed := make(chan struct{})
		for range i {
			m := next(t, messages)
			go m.Ack()
		}
		go func() {
			_ = s.Close()
			close(closed)
		}()
		for m := range messages {
			go m.Ack()
		}
		<-closed
		if _, err := s.Subscribe(t.Context(), "closing"); !errors.Is(err, pubsub.ErrClosed) {
			t.Fatalf("subscribe after close: %v, want ErrClosed", err)
		}
	}
}

// A delivery that another took, or that was lost on its way, leaves a gap: what
// comes after it waits until it has come.
func TestLostDelivery(t *testing.T) {
	js := newStream(t)
	s := subscriber(t, js, "lossy", wildcard)
	messages, err := s.Subscribe(t.Context(), "lost")
	if err != nil {
		t.Fatal(err)
	}
	waiting := func(n int) func() bool {
		return func() bool {
			consumer, err := js.Consumer(t.Context(), stream, "lossy-lost")
			return err == nil && consumer.CachedInfo().NumWaiting >= n
		}
	}
	eventually(t, waiting(1))
	thief, err := js.Consumer(t.Context(), stream, "lossy-lost")
	if err != nil {
		t.Fatal(err)
	}
	batch, err := thief.Fetch(1) // the server serves who waits in turns
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, waiting(2))
	numbered(t, js, "lost", 1, 40)
	o := &order{done: map[string]int{}}
	for o.all() < 40 {
		m := next(t, messages)
		o.came(t, m, true)
		m.Ack()
	}
	stolen := 0
	for range batch.Messages() {
		stolen++
	}
	if stolen != 1 {
		t.Errorf("%d deliveries were stolen, want 1: the test has shown nothing", stolen)
	}
}

// The reader that holds the lease has a message in hand and closes without an
// answer; the one that stood by gets that message first.
func TestTakeOver(t *testing.T) {
	js := newStream(t)
	numbered(t, js, "over", 1, 3)
	first, second := subscriber(t, js, "over", wildcard), subscriber(t, js, "over", wildcard)
	a, err := first.Subscribe(t.Context(), "over")
	if err != nil {
		t.Fatal(err)
	}
	inHand := next(t, a)
	b, err := second.Subscribe(t.Context(), "over")
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		m := next(t, b)
		if string(m.Payload) != strconv.Itoa(n) {
			t.Errorf("message %s came, want %d", m.Payload, n)
		}
		m.Ack()
	}
	if inHand.Context().Err() == nil {
		t.Error("the context of the message in hand has not ended")
	}
}

// While a handler works, longer than the server waits for an answer, its message
// does not come again.
func TestLongHandler(t *testing.T) {
	const wait = 300 * time.Millisecond
	js := newStream(t)
	numbered(t, js, "long", 2, 1)
	s := subscriber(t, js, "long", wildcard, func(c *pubsub.SubscriberConfig) {
		c.AckWait = wait
		c.Backoff = func(uint64) time.Duration { return 4 * wait }
	})
	messages, err := s.Subscribe(t.Context(), "long")
	if err != nil {
		t.Fatal(err)
	}
	working, clock := next(t, messages), next(t, messages)
	clock.Nack()
	again := next(t, messages) // the one that was refused, four waits later
	if again.UUID != clock.UUID || again.Metadata.Get(pubsub.Deliveries) != "2" {
		t.Errorf("%s came in delivery %s, want %s in its second", again.UUID, again.Metadata.Get(pubsub.Deliveries), clock.UUID)
	}
	again.Ack()
	working.Ack()
	consumer, err := js.Consumer(t.Context(), stream, "long-long")
	if err != nil {
		t.Fatal(err)
	}
	info, err := consumer.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.Delivered.Consumer != 3 {
		t.Errorf("the server delivered %d times, want 3: two messages, and one of them again", info.Delivered.Consumer)
	}
}

// What a message carries, and what it does not.
func TestMetadata(t *testing.T) {
	js := newStream(t)
	p := publisher(js)
	m := message.NewMessage("u-1", []byte("原文 \x00\xff"))
	m.Metadata = message.Metadata{"key": "k", "多行": "一\r\n二: 三 ", pubsub.Position: "999", "": "empty name"}
	if err := p.Publish("meta", m); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish("meta", m); err != nil { // the same UUID: kept once
		t.Fatal(err)
	}
	foreign := nats.NewMsg("suite.meta.k")
	foreign.Data = []byte("foreign")
	foreign.Header.Set("Watermill-Metadata", "{broken")
	if _, err := js.PublishMsg(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	messages, err := subscriber(t, js, "meta", wildcard).Subscribe(t.Context(), "meta")
	if err != nil {
		t.Fatal(err)
	}
	got := next(t, messages)
	if got.UUID != "u-1" || string(got.Payload) != "原文 \x00\xff" || got.Metadata["多行"] != "一\r\n二: 三 " || got.Metadata[""] != "empty name" ||
		pubsub.PositionOf(got) != 1 || got.Metadata[pubsub.Subject] != "suite.meta.k" || pubsub.StoredAtOf(got).IsZero() {
		t.Errorf("message = %s %q %v", got.UUID, got.Payload, got.Metadata)
	}
	got.Ack()
	if got = next(t, messages); got.UUID != "SUITE-2" || string(got.Payload) != "foreign" || len(got.Metadata) != 4 {
		t.Errorf("foreign message = %s %q %v", got.UUID, got.Payload, got.Metadata)
	}
	for name, bad := range map[string]*message.Message{
		"a line end in the UUID": message.NewMessage("a\nb", nil),
		"no UTF-8":               {UUID: "u-2", Metadata: message.Metadata{"k": "\xff"}},
	} {
		if err := p.Publish("meta", bad); err == nil {
			t.Errorf("%s: published", name)
		}
	}
}

// A call that is repeated, in part or whole, stores what is not stored yet.
func TestPublishAgain(t *testing.T) {
	js := newStream(t)
	p := publisher(js)
	of := func(uuids ...string) (all []*message.Message) {
		for _, u := range uuids {
			all = append(all, message.NewMessage(u, []byte(u)))
		}
		return all
	}
	for _, call := range [][]*message.Message{of("1", "2"), of("1", "2"), of("2", "3", "4"), of("5"), of("5")} {
		if err := p.Publish("again", call...); err != nil {
			t.Fatal(err)
		}
	}
	var many []string
	for n := range 2500 {
		many = append(many, fmt.Sprint("many-", n))
	}
	if err := p.Publish("again", of(many...)...); err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	for position, want := range map[uint64]string{1: "1", 2: "2", 3: "3", 4: "4", 5: "5", 6: "many-0", 2505: "many-2499"} {
		if m, err := s.GetMsg(t.Context(), position); err != nil || string(m.Data) != want {
			t.Errorf("position %d: %v %v, want %s", position, m, err, want)
		}
	}
	if last := s.CachedInfo().State.LastSeq; last != 2505 {
		t.Errorf("the stream ends at %d, want 2505", last)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish("again", of("6")...); !errors.Is(err, pubsub.ErrClosed) {
		t.Errorf("publish after close: %v, want ErrClosed", err)
	}
}

// A group that begins at the end sees what is published after Subscribe; one that
// was there goes on where it was, whatever its Begin says now.
func TestBegin(t *testing.T) {
	js := newStream(t)
	numbered(t, js, "begin", 1, 2)
	atEnd := func(c *pubsub.SubscriberConfig) { c.Begin = pubsub.AtEnd }
	s := subscriber(t, js, "late", wildcard, atEnd)
	messages, err := s.Subscribe(t.Context(), "begin")
	if err != nil {
		t.Fatal(err)
	}
	p := publisher(js)
	for _, uuid := range []string{"after-1", "after-2"} {
		m := message.NewMessage(uuid, nil)
		m.Metadata.Set("key", "k0")
		if err := p.Publish("begin", m); err != nil {
			t.Fatal(err)
		}
	}
	m := next(t, messages)
	if m.UUID != "after-1" {
		t.Errorf("%s came first, want after-1", m.UUID)
	}
	m.Ack()
	next(t, messages) // in hand, not acknowledged
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	messages, err = subscriber(t, js, "late", wildcard, atEnd).Subscribe(t.Context(), "begin")
	if err != nil {
		t.Fatal(err)
	}
	if m := next(t, messages); m.UUID != "after-2" {
		t.Errorf("%s came after a new start, want after-2", m.UUID)
	}
}

// What is skipped is acknowledged, and what is not settled waits.
func TestSkipAndSettled(t *testing.T) {
	js := newStream(t)
	numbered(t, js, "skip", 3, 5)
	var mu sync.Mutex
	asked := map[uint64]bool{}
	s := subscriber(t, js, "skip", wildcard, func(c *pubsub.SubscriberConfig) {
		c.Skip = func(subject string) bool { return subject != "suite.skip.k1" }
		c.Settled = func(_ context.Context, position uint64) error {
			mu.Lock()
			defer mu.Unlock()
			again := asked[position]
			asked[position] = true
			if position == 5 && !again {
				return errors.New("not on the disk yet")
			}
			return nil
		}
	})
	messages, err := s.Subscribe(t.Context(), "skip")
	if err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		m := next(t, messages)
		if string(m.Payload) != strconv.Itoa(n) || m.Metadata.Get("key") != "k1" {
			t.Errorf("%s of %s came, want %d of k1", m.Payload, m.Metadata.Get("key"), n)
		}
		mu.Lock()
		if !asked[pubsub.PositionOf(m)] {
			t.Errorf("position %d was handed out before it was settled", pubsub.PositionOf(m))
		}
		mu.Unlock()
		m.Ack()
	}
	eventually(t, func() bool {
		consumer, err := js.Consumer(t.Context(), stream, "skip-skip")
		return err == nil && consumer.CachedInfo().AckFloor.Stream == 15
	})
}

// eventually waits for a condition.
func eventually(t testing.TB, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("it did not come about")
		}
	}
}
