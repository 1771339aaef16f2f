package transparency

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A Kind is what an entry of the history is.
type Kind string

// The kinds of entries.
const (
	KindSettings   Kind = "settings"   // what the log was begun with: Settings as JSON; the first entry
	KindCheckpoint Kind = "checkpoint" // a checkpoint, signed by the log: a signed note
	KindCosigned   Kind = "cosigned"   // a checkpoint with cosignatures of witnesses: a signed note
	KindTimestamp  Kind = "timestamp"  // a time stamp of a checkpoint
	KindRotation   Kind = "rotation"   // a statement by which one key vouches for the next
	KindIncident   Kind = "incident"   // what was found wrong
	KindCarried    Kind = "carried"    // a checkpoint whose cosignatures came back when a newer one was cosigned already
)

// A History keeps for good what cannot be made anew from the record: the signed
// checkpoints, and what belongs to them. It is a stream of its own beside that of
// the volume, with one subject a kind, from which nothing is ever deleted.
type History struct {
	js     jetstream.JetStream
	stream jetstream.Stream
	prefix string
}

// A HistoryEntry is one entry. Data must not be changed.
type HistoryEntry struct {
	Seq  uint64 // 1, 2, 3 … over all kinds
	Kind Kind
	At   time.Time // by the clock of the store
	Data []byte
}

// Conditions that a caller can act on.
var (
	// ErrNone: there is no such entry.
	ErrNone = errors.New("there is none")
	// ErrRaced: another was faster; nothing was written.
	ErrRaced = errors.New("another process was faster")
)

// errNotWhole says that entries of the history are missing.
var errNotWhole = errors.New("the history of the log is not whole")

// OpenHistory finds the history of a volume, or creates it.
func OpenHistory(ctx context.Context, js jetstream.JetStream, volume string, replicas int) (*History, error) {
	h := &History{js: js, prefix: "log." + volume + "."}
	config := jetstream.StreamConfig{
		Name: volume + "_LOG", Description: "signed checkpoints of the volume, and what belongs to them",
		Subjects: []string{h.prefix + "*"}, Storage: jetstream.FileStorage, Replicas: max(replicas, 1),
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
		MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1, MaxConsumers: -1,
		DenyDelete: true, DenyPurge: true,
	}
	var err error
	h.stream, err = js.Stream(ctx, config.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		h.stream, err = js.CreateStream(ctx, config)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was first
			h.stream, err = js.Stream(ctx, config.Name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("history of the log: %w", err)
	}
	if c := h.stream.CachedInfo().Config; !c.DenyDelete || !c.DenyPurge || c.MaxMsgs > 0 || c.MaxBytes > 0 || c.MaxAge > 0 || c.MaxMsgsPerSubject > 0 || c.Discard != jetstream.DiscardNew {
		return nil, fmt.Errorf("history of the log: the stream %s is set up to lose entries; it must deny deletion and purge, have no limits, and refuse what is new when it is full", config.Name)
	}
	return h, nil
}

// Settings are what a log was begun with. They do not change.
type Settings struct {
	Leaf    string   `json:"leaf"`              // the version of its leaves
	Origin  string   `json:"origin"`            // its name
	Volume  string   `json:"volume"`            // whose log it is
	Keys    []string `json:"keys"`              // the verifier keys that it began with
	Digests []string `json:"digests,omitempty"` // beside SHA-256
}

// Settings returns what the log was begun with, or ErrNone.
func (h *History) Settings(ctx context.Context) (Settings, error) {
	e, err := h.Last(ctx, KindSettings)
	if err != nil {
		return Settings{}, err
	}
	var s Settings
	if err := json.Unmarshal(e.Data, &s); err != nil {
		return Settings{}, fmt.Errorf("settings of the log: %w", err)
	}
	if s.Leaf != leafVersion {
		return Settings{}, fmt.Errorf("the leaves of the log are %q, this program makes %q", s.Leaf, leafVersion)
	}
	for _, name := range s.Digests {
		if furtherDigests[name] == nil {
			return Settings{}, fmt.Errorf("the log was begun with the digest %q, which is not known here", name)
		}
	}
	return s, nil
}

// Begin begins a log, and returns ErrRaced where it was begun already.
func (h *History) Begin(ctx context.Context, s Settings) (Settings, error) {
	s.Leaf = leafVersion
	for _, name := range s.Digests {
		if furtherDigests[name] == nil {
			return s, fmt.Errorf("there is no digest %q", name)
		}
	}
	text, err := json.Marshal(s)
	if err != nil {
		return s, err
	}
	_, err = h.Replace(ctx, KindSettings, text, 0)
	return s, err
}

// Last returns the newest entry of a kind, or ErrNone.
func (h *History) Last(ctx context.Context, kind Kind) (HistoryEntry, error) {
	m, err := h.stream.GetLastMsgForSubject(ctx, h.prefix+string(kind))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return HistoryEntry{}, fmt.Errorf("history of the log: %s: %w", kind, ErrNone)
	}
	if err != nil {
		return HistoryEntry{}, fmt.Errorf("history of the log: %s: %w", kind, err)
	}
	return HistoryEntry{m.Sequence, kind, m.Time, m.Data}, nil
}

// Add writes an entry.
func (h *History) Add(ctx context.Context, kind Kind, data []byte) (uint64, error) {
	return h.add(ctx, kind, data)
}

// Replace writes an entry if the newest of its kind is still the one with that
// number (0: there is none), else it returns ErrRaced. Any other error can mean
// that it was written all the same: Last tells.
func (h *History) Replace(ctx context.Context, kind Kind, data []byte, last uint64) (uint64, error) {
	return h.add(ctx, kind, data, jetstream.WithExpectLastSequencePerSubject(last))
}

func (h *History) add(ctx context.Context, kind Kind, data []byte, options ...jetstream.PublishOpt) (uint64, error) {
	ack, err := h.js.Publish(ctx, h.prefix+string(kind), data, append(options, jetstream.WithRetryAttempts(0))...)
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == writeInFlight) {
		return 0, fmt.Errorf("history of the log: %s: %w", kind, ErrRaced)
	}
	if err != nil {
		return 0, fmt.Errorf("history of the log: %s: %w", kind, err)
	}
	return ack.Sequence, nil
}

// writeInFlight is what a cluster says of an expectation that another write, which
// is under way, will break.
const writeInFlight jetstream.ErrorCode = 10164

// End is the number of the last entry.
func (h *History) End(ctx context.Context) (uint64, error) {
	info, err := h.stream.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("history of the log: %w", err)
	}
	if st := info.State; st.NumDeleted > 0 || st.Msgs > 0 && st.FirstSeq != 1 || st.Msgs != st.LastSeq {
		return 0, fmt.Errorf("%w: %d entries stand at %d to %d, %d of them deleted", errNotWhole, st.Msgs, st.FirstSeq, st.LastSeq, st.NumDeleted)
	}
	return info.State.LastSeq, nil
}

// Follow yields every entry after a number, in order, and then each new one,
// until ctx ends; the last thing it yields is an error, that of ctx then.
func (h *History) Follow(ctx context.Context, after uint64) iter.Seq2[HistoryEntry, error] {
	return h.follow(ctx, after, "*")
}

// follow is Follow for one kind, or for all ("*").
func (h *History) follow(ctx context.Context, after uint64, kind Kind) iter.Seq2[HistoryEntry, error] {
	return func(yield func(HistoryEntry, error) bool) {
		consumer, err := h.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
			DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
			FilterSubjects: []string{h.prefix + string(kind)},
		})
		if err != nil {
			yield(HistoryEntry{}, fmt.Errorf("history of the log: %w", err))
			return
		}
		messages, err := consumer.Messages()
		if err != nil {
			yield(HistoryEntry{}, fmt.Errorf("history of the log: %w", err))
			return
		}
		defer context.AfterFunc(ctx, messages.Stop)()
		defer messages.Stop()
		for {
			m, err := messages.Next()
			if err != nil {
				if ctx.Err() != nil {
					err = ctx.Err()
				}
				yield(HistoryEntry{}, err)
				return
			}
			meta, err := m.Metadata()
			if err != nil {
				yield(HistoryEntry{}, err)
				return
			}
			seq := meta.Sequence.Stream
			if seq != after+1 && kind == "*" {
				yield(HistoryEntry{}, fmt.Errorf("history of the log: entry %d follows %d", seq, after))
				return
			}
			after = seq
			if !yield(HistoryEntry{after, Kind(strings.TrimPrefix(m.Subject(), h.prefix)), meta.Timestamp, m.Data()}, nil) {
				return
			}
		}
	}
}

// All yields every entry that is there now, in order.
func (h *History) All(ctx context.Context) iter.Seq2[HistoryEntry, error] {
	return func(yield func(HistoryEntry, error) bool) {
		end, err := h.End(ctx)
		if err != nil {
			yield(HistoryEntry{}, err)
			return
		}
		if end == 0 {
			return
		}
		for e, err := range h.Follow(ctx, 0) {
			if !yield(e, err) || err != nil || e.Seq >= end {
				return
			}
		}
	}
}

// Of returns every entry of a kind that is there now, in order: for kinds that
// have few.
func (h *History) Of(ctx context.Context, kind Kind) ([]HistoryEntry, error) {
	last, err := h.Last(ctx, kind)
	if errors.Is(err, ErrNone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []HistoryEntry
	for e, err := range h.follow(ctx, 0, kind) {
		if err != nil {
			return nil, err
		}
		if all = append(all, e); e.Seq >= last.Seq {
			break
		}
	}
	return all, nil
}
