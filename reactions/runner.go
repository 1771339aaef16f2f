package reactions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"liuhen/domain"
	"liuhen/eventstore"
	"liuhen/internal/lease"
	"liuhen/reactions/pubsub"
)

// A Store is the log as far as this package asks it; *eventstore.Store is one.
type Store interface {
	// Wait returns when a position may be shown: it is on the disk.
	Wait(ctx context.Context, p eventstore.Position) error
}

// Config is what a Runner needs. Those that have a default say so.
type Config struct {
	NATS   *nats.Conn
	Volume string // the stream of the log
	Store  Store

	Reactions []Reaction
	Ticks     []Tick

	Replicas  int              // of what is kept beside the log. Default: 1
	Now       func() time.Time // Default: time.Now
	Timeout   time.Duration    // for one try. Default: 30 s
	Tries     int              // before a record is set aside. Default: 5
	FirstWait time.Duration    // between the first two tries, then doubled. Default: 200 ms
	LeaseTime time.Duration    // see pubsub. Default: 5 s
	Logger    *slog.Logger     // Default: slog.Default()
}

func (c Config) withDefaults() Config {
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Replicas = cmp.Or(c.Replicas, 1)
	c.Timeout = cmp.Or(c.Timeout, 30*time.Second)
	c.Tries = cmp.Or(c.Tries, 5)
	c.FirstWait = cmp.Or(c.FirstWait, 200*time.Millisecond)
	c.LeaseTime = cmp.Or(c.LeaseTime, 5*time.Second)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	return c
}

// A Runner runs reactions and ticks. Several processes may run the same: each
// reaction and each tick is run by one of them at a time, and by another when that
// one is gone.
//
// A record to which a reaction cannot react is set aside after some tries: it is
// kept beside the log with the reason (SetAside), and a person tries it again when
// the reason is gone (Retry) or says why it needs no reaction (Drop). A fault of the
// system sets nothing aside: the reaction stands still at that case until it is
// mended, and Status says so.
type Runner struct {
	Config
	js     jetstream.JetStream
	asides *asides

	mu        sync.Mutex // guards what follows
	reactions map[string]*state
	ticks     map[string]*TickStatus
}

// state is what is known of a reaction at present.
type state struct {
	position uint64
	lag      uint64
	trouble  string
	standing map[uint64]Standing // by position
	handled  uint64
}

// Open makes what is kept beside the log, where it is not there yet. A reaction that
// is new and begins at the log's end begins here: it misses nothing that is recorded
// after Open. Nothing runs before Run.
func Open(ctx context.Context, c Config) (*Runner, error) {
	c = c.withDefaults()
	if err := check(c.Reactions, c.Ticks); err != nil {
		return nil, err
	}
	js, err := jetstream.New(c.NATS)
	if err != nil {
		return nil, fmt.Errorf("reactions: %w", err)
	}
	r := &Runner{Config: c, js: js, reactions: map[string]*state{}, ticks: map[string]*TickStatus{}}
	for _, re := range c.Reactions {
		r.reactions[re.Name] = &state{standing: map[uint64]Standing{}}
	}
	for _, t := range c.Ticks {
		r.ticks[t.Name] = &TickStatus{Name: t.Name, Says: t.Says, Every: t.Every}
	}
	if r.asides, err = openAsides(ctx, js, c.Volume, c.Replicas); err != nil {
		return nil, err
	}
	for _, re := range c.Reactions {
		s, err := r.subscriber(re)
		if err == nil {
			err = s.SubscribeInitialize(re.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("reaction %s: %w", re.Name, err)
		}
	}
	return r, nil
}

// Run runs all reactions and ticks until ctx ends, lets what is under way finish
// for a moment, and returns nil. What goes wrong is told and tried again.
func (r *Runner) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.again(ctx, "reactions", r.route) })
	g.Go(func() error { return r.again(ctx, "records set aside", r.asides.watch) })
	g.Go(func() error { return r.again(ctx, "positions of reactions", r.measure) })
	for _, t := range r.Ticks {
		g.Go(func() error { r.tick(ctx, t); return nil })
	}
	return g.Wait()
}

// again runs f until ctx ends.
func (r *Runner) again(ctx context.Context, what string, f func(context.Context) error) error {
	for {
		err := f(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was asked to end
		}
		r.Logger.Error(what+" ended and are begun anew", "error", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

// closeTimeout is how long handlers under way may take when the program stops.
const closeTimeout = 5 * time.Second

// route is the way of a record: Watermill's router, with one subscriber and one
// handler for each reaction, and its middleware between the two.
//
//	subscriber → standing → correlation → set aside (retry (recover (React, with a timeout))) → acknowledge
//
// What comes out of it as an error is not acknowledged, and comes again.
func (r *Runner) route(ctx context.Context) error {
	if len(r.Reactions) == 0 {
		<-ctx.Done()
		return nil
	}
	logger := watermill.NewSlogLoggerWithLevelMapping(r.Logger, map[slog.Level]slog.Level{
		slog.LevelInfo: slog.LevelDebug, slog.LevelError: slog.LevelWarn,
	})
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: closeTimeout}, logger)
	if err != nil {
		return err
	}
	setAside, err := middleware.PoisonQueueWithFilter(r.asides.publisher(r.Now, r.Logger), asideTopic, func(err error) bool { return !isLater(err) })
	if err != nil {
		return err
	}
	retry := middleware.Retry{
		MaxRetries: r.Tries - 1, MaxInterval: 10 * time.Second, RandomizationFactor: 0.2,
		// Where there is a ShouldRetry, Retry takes two steps of its backoff for each
		// wait: two of √2 are one of 2.
		InitialInterval: time.Duration(float64(r.FirstWait) / math.Sqrt2), Multiplier: math.Sqrt2,
		ShouldRetry:         func(p middleware.RetryParams) bool { return !isFinal(p.Err) },
		ResetContextOnRetry: true, // else the second try has the first one's timeout
	}
	router.AddMiddleware(r.standing, middleware.CorrelationID, setAside, retry.Middleware, middleware.Recoverer)
	for _, re := range r.Reactions {
		s, err := r.subscriber(re)
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }() // it has no error to give
		router.AddConsumerHandler(re.Name, re.Name, s, r.handler(re))
	}
	return router.Run(ctx)
}

// DurableOf is the name of a reaction's consumer on the log.
func DurableOf(reaction string) string { return "reaction-" + reaction }

func (r *Runner) subscriber(re Reaction) (*pubsub.Subscriber, error) {
	return pubsub.NewSubscriber(pubsub.SubscriberConfig{
		JS: r.js, Stream: r.Volume, Group: re.Name,
		Durable: func(group, _ string) string { return DurableOf(group) },
		Filter:  func(string) string { return "" }, // the whole log: a position is then the log's
		Key:     func(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] },
		Skip:    re.skips,
		Settled: func(ctx context.Context, position uint64) error {
			return r.Store.Wait(ctx, eventstore.Position(position))
		},
		Begin: re.Begin,
		Remember: func(ctx context.Context, first uint64) (uint64, error) {
			return r.asides.remember(ctx, re.Name, first)
		},
		Bucket: r.Volume + "_reactions_lease", LeaseTime: r.LeaseTime, Replicas: r.Replicas,
		Logger: r.Logger,
		Trouble: func(_ string, err error) {
			text := ""
			if err != nil {
				text = err.Error()
				r.Logger.Warn("a reaction begins anew to read", "reaction", re.Name, "error", err)
			}
			r.about(re.Name, func(s *state) { s.trouble = text })
		},
	})
}

// handler decodes the record and hands it to the reaction.
func (r *Runner) handler(re Reaction) message.NoPublishHandlerFunc {
	return func(m *message.Message) error {
		rec, err := domain.Read(pubsub.PositionOf(m), pubsub.StoredAtOf(m), m.Payload)
		if err != nil {
			return Final(err)
		}
		middleware.SetCorrelationID(correlation(rec), m)
		if !re.wants(rec) {
			return nil
		}
		if err := r.react(m.Context(), re, rec); err != nil {
			return err
		}
		r.about(re.Name, func(s *state) { s.handled++ })
		return nil
	}
}

// react has a reaction react to a record, on from where it had come to.
func (r *Runner) react(ctx context.Context, re Reaction, rec domain.Recorded) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(re.Timeout, r.Timeout))
	defer cancel()
	if re.ReactOn == nil {
		return re.React(ctx, rec)
	}
	m := &mark{kv: r.asides.kv, key: markKey(re.Name, rec.Position), now: r.Now, last: r.Now()}
	if err := re.ReactOn(ctx, rec, m); err != nil {
		return err
	}
	return m.drop(ctx)
}

// standing is the outermost middleware: an error that comes to it means that the
// reaction stands still at this record.
func (r *Runner) standing(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		ctx := m.Context()
		out, err := next(m)
		name, position := message.HandlerNameFromCtx(ctx), pubsub.PositionOf(m)
		r.about(name, func(s *state) {
			switch known, ok := s.standing[position]; {
			case err == nil, ctx.Err() != nil: // or it was broken off: who goes on will tell
				delete(s.standing, position)
			case ok:
				known.Error = err.Error()
				s.standing[position] = known
			default:
				s.standing[position] = Standing{Position: position, Since: r.Now(), Error: err.Error()}
			}
		})
		return out, err
	}
}

func (r *Runner) about(reaction string, f func(*state)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s, ok := r.reactions[reaction]; ok {
		f(s)
	}
}

// measureEvery is how often the positions of reactions are looked up, for who asks
// in between is answered from memory.
const measureEvery = time.Second

func (r *Runner) measure(ctx context.Context) error {
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	for {
		if err := r.Measure(ctx); err != nil {
			r.Logger.Debug("positions of reactions", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Measure asks the server how far each reaction has come, so that Status is fresh.
func (r *Runner) Measure(ctx context.Context) error {
	var all error
	for _, re := range r.Reactions {
		consumer, err := r.js.Consumer(ctx, r.Volume, DurableOf(re.Name))
		if err != nil {
			all = errors.Join(all, fmt.Errorf("reaction %s: %w", re.Name, err))
			continue
		}
		info := consumer.CachedInfo()
		r.about(re.Name, func(s *state) {
			s.position, s.lag = info.AckFloor.Stream, info.NumPending+uint64(info.NumAckPending)
			for position := range s.standing { // another process may have gone on
				if position <= s.position {
					delete(s.standing, position)
				}
			}
		})
	}
	return all
}

// tick does a Tick from time to time, while this process holds its lease.
func (r *Runner) tick(ctx context.Context, t Tick) {
	book := lease.Bucket{JS: r.js, Name: r.Volume + "_reactions_lease", About: "who reads a stream for a group", Replicas: r.Replicas}.Book("tick-" + t.Name)
	lease.New(book, lease.Holder(), r.LeaseTime).Run(ctx, func(ctx context.Context) {
		for {
			now := r.Now()
			err := guarded(func() error { return t.Do(ctx, now) })
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				r.Logger.Error("a tick failed and is done again", "tick", t.Name, "after", t.Every, "error", err)
			}
			r.ticked(t.Name, now, err)
			select {
			case <-time.After(t.Every):
			case <-ctx.Done():
				return
			}
		}
	}, func(err error) { r.Logger.Warn("lease of a tick", "tick", t.Name, "error", err) })
}

func (r *Runner) ticked(name string, now time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.ticks[name]
	t.Last, t.Error = now, ""
	if err != nil {
		t.Failures++
		t.Error = err.Error()
	} else {
		t.Done++
		t.LastGood = now
	}
}

// guarded turns a panic into an error.
func guarded(f func() error) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("panic: %v", fault)
		}
	}()
	return f()
}
