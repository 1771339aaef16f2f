package reactions

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/nats-io/nats.go/jetstream"

	"liuhen/domain"
	"liuhen/eventstore"
	"liuhen/reactions/pubsub"
)

// An Aside is a record that was set aside: a reaction could not react to it. It
// points at the record and holds no copy, so that nothing of a person is kept
// twice.
type Aside struct {
	ID       string        `json:"id"` // <reaction>.<position>
	Reaction string        `json:"reaction"`
	Position uint64        `json:"position"`
	Case     domain.CaseID `json:"case,omitempty"`
	Event    string        `json:"event,omitempty"` // id of the event
	Type     string        `json:"type,omitempty"`  // <procedure>.<act>
	At       time.Time     `json:"at"`              // when it was set aside
	Reason   string        `json:"reason"`          // of the last try
	Retries  int           `json:"retries"`         // by hand
	Outcome  Outcome       `json:"outcome,omitempty"`
	ClosedAt time.Time     `json:"closed_at,omitzero"`
	ClosedBy string        `json:"closed_by,omitempty"`
	Why      string        `json:"why,omitempty"` // it needs no reaction
}

// An Outcome is what became of a record that was set aside; "": it waits.
type Outcome string

// The outcomes.
const (
	Retried Outcome = "retried" // a person had it tried again, and it went well
	Dropped Outcome = "dropped" // a person said why it needs no reaction
)

// Conditions that a caller can act on. Test for them with errors.Is.
var (
	// ErrNoAside: there is no record set aside under this id.
	ErrNoAside = errors.New("no record is set aside under this id")
	// ErrClosedAside: it was retried or dropped before.
	ErrClosedAside = errors.New("it does not wait any more")
	// ErrStillFails: it was tried again and failed; the reason is in the text.
	ErrStillFails = errors.New("the reaction failed again")
	// ErrNoReason: who drops a record says why.
	ErrNoReason = errors.New("a record is dropped with a reason")
	// ErrNoReaction: the reaction is not in the program any more.
	ErrNoReaction = errors.New("there is no such reaction any more; drop the record with a reason")
)

const (
	asideTopic = "aside"
	maxReason  = 2000 // bytes of a reason that are kept
	asideTries = 10   // to change an entry that others change too
)

// asides keep what was set aside: a key-value bucket on disk, a stream of the
// reactions' own, one key for each.
type asides struct {
	js     jetstream.JetStream
	bucket string
	kv     jetstream.KeyValue

	mu   sync.Mutex
	open map[string]string // id → reaction, of those that wait; guarded by mu
}

func openAsides(ctx context.Context, js jetstream.JetStream, volume string, replicas int) (*asides, error) {
	a := &asides{js: js, bucket: volume + "_reactions", open: map[string]string{}}
	var err error
	a.kv, err = js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: a.bucket, Description: "records that reactions have set aside",
		Storage: jetstream.FileStorage, History: 64, Replicas: replicas,
	})
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", a.bucket, err)
	}
	return a, nil
}

func asideID(reaction string, position uint64) string {
	return reaction + "." + strconv.FormatUint(position, 10)
}

// parseID reads what asideID makes.
func parseID(id string) (reaction string, position uint64, err error) {
	reaction, digits, ok := strings.Cut(id, ".")
	position, perr := strconv.ParseUint(digits, 10, 64)
	if !ok || perr != nil || position == 0 || !fitName.MatchString(reaction) || asideID(reaction, position) != id {
		return "", 0, fmt.Errorf("%w: %q: want the name of a reaction, a point and a position", ErrNoAside, id)
	}
	return reaction, position, nil
}

func asideKey(id string) string { return asideTopic + "." + id }

// readAside reads a stored entry. The key says which it is, whatever stands in it.
func readAside(id string, data []byte) (Aside, error) {
	reaction, position, err := parseID(id)
	if err != nil {
		return Aside{}, err
	}
	var a Aside
	if err := json.Unmarshal(data, &a); err != nil {
		return Aside{}, fmt.Errorf("record set aside as %s: %w", id, err)
	}
	a.ID, a.Reaction, a.Position = id, reaction, position
	return a, nil
}

// remember keeps the first position that a reaction was ever to see, and returns the
// one that is kept.
func (a *asides) remember(ctx context.Context, reaction string, first uint64) (uint64, error) {
	key := "begin." + reaction
	if _, err := a.kv.Create(ctx, key, []byte(strconv.FormatUint(first, 10))); err == nil {
		return first, nil
	} else if !errors.Is(err, jetstream.ErrKeyExists) {
		return 0, fmt.Errorf("where %s begins: %w", reaction, err)
	}
	e, err := a.kv.Get(ctx, key)
	if err != nil {
		return 0, fmt.Errorf("where %s begins: %w", reaction, err)
	}
	kept, err := strconv.ParseUint(string(e.Value()), 10, 64)
	if err != nil || kept == 0 {
		return 0, fmt.Errorf("where %s begins: %q in bucket %s is no position", reaction, e.Value(), a.bucket)
	}
	return kept, nil
}

// publisher is where Watermill's poison queue puts messages: the entry of each
// goes into the bucket. An entry that is there already stays as it is: after a
// crash the record came again, which is no news.
func (a *asides) publisher(now func() time.Time, logger *slog.Logger) message.Publisher {
	return &asidePublisher{
		asides: a, now: now, logger: logger,
		to: pubsub.NewPublisher(pubsub.PublisherConfig{JS: a.js, Subject: func(_ string, m *message.Message) string {
			return "$KV." + a.bucket + "." + asideKey(m.UUID)
		}}),
	}
}

type asidePublisher struct {
	*asides
	to     *pubsub.Publisher
	now    func() time.Time
	logger *slog.Logger
}

// Publish is for message.Publisher. The messages' own contexts have ended with the
// last try.
func (p *asidePublisher) Publish(topic string, messages ...*message.Message) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, m := range messages {
		entry := p.entry(m)
		known, _, err := p.get(ctx, entry.ID)
		if err == nil {
			p.logger.Info("a record that was set aside before came again", "id", entry.ID, "outcome", known.Outcome)
			continue
		}
		if !errors.Is(err, ErrNoAside) {
			return err
		}
		text, err := json.Marshal(entry)
		if err != nil {
			return err
		}
		out := message.NewMessageWithContext(ctx, entry.ID, text)
		middleware.SetCorrelationID(middleware.MessageCorrelationID(m), out)
		if err := p.to.Publish(topic, out); err != nil {
			return err
		}
		p.logger.Error("a record was set aside", "reaction", entry.Reaction, "position", entry.Position, "case", entry.Case, "error", entry.Reason)
	}
	return nil
}

// Close is for message.Publisher.
func (p *asidePublisher) Close() error { return p.to.Close() }

func (p *asidePublisher) entry(m *message.Message) Aside {
	reaction, position := m.Metadata.Get(middleware.PoisonedHandlerKey), pubsub.PositionOf(m)
	entry := Aside{
		ID: asideID(reaction, position), Reaction: reaction, Position: position,
		At: p.now().UTC(), Reason: shortened(m.Metadata.Get(middleware.ReasonForPoisonedKey)),
	}
	if rec, err := domain.Read(position, pubsub.StoredAtOf(m), m.Payload); err == nil {
		entry.Case, entry.Event, entry.Type = rec.Subject, rec.ID, rec.Type
	}
	return entry
}

// shortened is a reason without the stack of a panic and without what a text may
// not hold.
func shortened(reason string) string {
	reason, _, _ = strings.Cut(reason, ", stacktrace:")
	reason = strings.ToValidUTF8(reason, "?")
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "") + " …"
	}
	return reason
}

func (a *asides) get(ctx context.Context, id string) (Aside, uint64, error) {
	if _, _, err := parseID(id); err != nil {
		return Aside{}, 0, err
	}
	e, err := a.kv.Get(ctx, asideKey(id))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return Aside{}, 0, fmt.Errorf("%w: %s", ErrNoAside, id)
	}
	if err != nil {
		return Aside{}, 0, fmt.Errorf("record set aside as %s: %w", id, err)
	}
	entry, err := readAside(id, e.Value())
	return entry, e.Revision(), err
}

// change changes an entry that waits. Where another has changed it meanwhile, it
// is looked at anew.
func (a *asides) change(ctx context.Context, id string, f func(*Aside)) (Aside, error) {
	for range asideTries {
		entry, revision, err := a.get(ctx, id)
		if err != nil {
			return Aside{}, err
		}
		if entry.Outcome != "" {
			return entry, fmt.Errorf("%w: %s was %s", ErrClosedAside, id, entry.Outcome)
		}
		f(&entry)
		text, err := json.Marshal(entry)
		if err != nil {
			return Aside{}, err
		}
		if _, err = a.kv.Update(ctx, asideKey(id), text, revision); err == nil {
			a.seen(entry)
			return entry, nil
		}
		if e := (*jetstream.APIError)(nil); !errors.As(err, &e) {
			return Aside{}, fmt.Errorf("record set aside as %s: %w", id, err)
		}
	}
	return Aside{}, fmt.Errorf("%w: record set aside as %s is being changed by others", eventstore.ErrBusy, id)
}

// list returns all entries, in the order of reaction and position.
func (a *asides) list(ctx context.Context) ([]Aside, error) {
	w, err := a.kv.Watch(ctx, asideTopic+".>", jetstream.IgnoreDeletes())
	if err != nil {
		return nil, fmt.Errorf("records set aside: %w", err)
	}
	defer func() { _ = w.Stop() }() // fails only when the connection is gone
	var all []Aside
	for {
		select {
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return nil, errors.New("records set aside: the watch ended")
			case e == nil: // that was all
				slices.SortFunc(all, func(x, y Aside) int {
					return cmp.Or(strings.Compare(x.Reaction, y.Reaction), cmp.Compare(x.Position, y.Position))
				})
				return all, nil
			}
			entry, err := readAside(strings.TrimPrefix(e.Key(), asideTopic+"."), e.Value())
			if err != nil {
				return nil, err
			}
			all = append(all, entry)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// watch keeps count of those that wait, until ctx ends.
func (a *asides) watch(ctx context.Context) error {
	w, err := a.kv.Watch(ctx, asideTopic+".>")
	if err != nil {
		return err
	}
	defer func() { _ = w.Stop() }()
	for {
		select {
		case e, ok := <-w.Updates():
			if !ok {
				return errors.New("the watch ended")
			}
			if e == nil {
				continue
			}
			entry, err := readAside(strings.TrimPrefix(e.Key(), asideTopic+"."), e.Value())
			if err != nil {
				return err
			}
			a.seen(entry)
		case <-ctx.Done():
			return nil
		}
	}
}

func (a *asides) seen(entry Aside) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if entry.Outcome == "" {
		a.open[entry.ID] = entry.Reaction
	} else {
		delete(a.open, entry.ID)
	}
}

func (a *asides) counts() map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := map[string]int{}
	for _, reaction := range a.open {
		n[reaction]++
	}
	return n
}

// SetAside returns the records that are set aside and wait for a person, and with
// closed those that were retried or dropped too, in the order of reaction and
// position.
func (r *Runner) SetAside(ctx context.Context, closed bool) ([]Aside, error) {
	all, err := r.asides.list(ctx)
	if err != nil || closed {
		return all, err
	}
	return slices.DeleteFunc(all, func(a Aside) bool { return a.Outcome != "" }), nil
}

// Retry lets the reaction try a record again that was set aside, at once and in
// this process. by is who asks for it. Later records of its case have been dealt
// with before it. It fails with ErrNoAside, ErrClosedAside, ErrNoReaction and
// ErrStillFails; after the last, the entry has the new reason.
func (r *Runner) Retry(ctx context.Context, id, by string) (Aside, error) {
	entry, _, err := r.asides.get(ctx, id)
	if err != nil {
		return Aside{}, err
	}
	if entry.Outcome != "" {
		return entry, fmt.Errorf("%w: %s was %s", ErrClosedAside, id, entry.Outcome)
	}
	i := slices.IndexFunc(r.Reactions, func(re Reaction) bool { return re.Name == entry.Reaction })
	if i < 0 {
		return entry, fmt.Errorf("%w: %s", ErrNoReaction, entry.Reaction)
	}
	rec, err := r.record(ctx, entry.Position)
	if err != nil {
		return entry, err
	}
	try, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	failed := guarded(func() error { return r.react(try, r.Reactions[i], rec) })
	if failed != nil && isLater(failed) { // nothing is learnt about the record
		return entry, failed
	}
	entry, err = r.asides.change(ctx, id, func(a *Aside) {
		a.Retries++
		if failed != nil {
			a.Reason = shortened(failed.Error())
			return
		}
		a.Outcome, a.ClosedAt, a.ClosedBy = Retried, r.Now().UTC(), by
	})
	if err == nil && failed != nil {
		err = fmt.Errorf("%w: %w", ErrStillFails, failed)
	}
	return entry, err
}

// Drop says that a record that was set aside needs no reaction, and why. The entry
// is kept with who said so. It fails with ErrNoReason, ErrNoAside and ErrClosedAside.
func (r *Runner) Drop(ctx context.Context, id, by, why string) (Aside, error) {
	if why = strings.TrimSpace(why); why == "" {
		return Aside{}, ErrNoReason
	}
	return r.asides.change(ctx, id, func(a *Aside) {
		a.Outcome, a.ClosedAt, a.ClosedBy, a.Why = Dropped, r.Now().UTC(), by, shortened(why)
	})
}

// record reads a record from the log itself.
func (r *Runner) record(ctx context.Context, position uint64) (domain.Recorded, error) {
	stream, err := r.js.Stream(ctx, r.Volume)
	if err != nil {
		return domain.Recorded{}, fmt.Errorf("read position %d: %w", position, err)
	}
	m, err := stream.GetMsg(ctx, position)
	if err != nil {
		return domain.Recorded{}, fmt.Errorf("read position %d: %w", position, err)
	}
	return domain.Read(position, m.Time, m.Data)
}
