package eventstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"liuhen/internal/lease"
)

// Config says where a volume is kept and how. Only Volume and one of Server
// and NATS must be set.
type Config struct {
	// Server is the embedded server; then NATS may be left out.
	Server *Server
	// NATS is a connection to an outside server, version 2.15.2 or newer. That
	// server must run with `sync_interval: always`: a client cannot ask for
	// it, so it cannot be checked here. Connect with MaxReconnects(-1) and
	// ReconnectBufSize(-1), so that nothing is sent late after a reconnect.
	NATS *nats.Conn

	// Volume is the name of the JetStream stream: letters, digits, - and _.
	Volume string
	// Subjects are the subjects of the volume, best with * for the last token,
	// which is a stream's name: then Load finds a stream by its name alone.
	// Default: "enf.*.*.*".
	Subjects []string
	// Replicas is 1 or, on a cluster, 3 or 5. Default: 1.
	Replicas int

	// Start is the position up to which readers already hold everything
	// durably. The tail in memory begins there, so that starting does not
	// read the whole volume. A volume that ends before Start is refused.
	Start Position
	// MaxLag is how many records the volume may be ahead of Release before
	// Append is slowed. Zero: no limit.
	MaxLag int
	// TailRecords is how many released records stay in memory for callers
	// whose position is a little old. Default: 20,000.
	TailRecords int
	// TailBytes is when the tail forgets even what has not been released.
	// What is forgotten is asked of the stream: slower, never wrong.
	// Default: 512 MiB.
	TailBytes int64

	// Holder names this process in the lease. Default: host, process id and
	// a random part. Two processes must not share it.
	Holder string
	// LeaseTime is how long another process must see no sign of life from
	// the writer before it takes over. Default: 5 s. Renewed every fifth of it.
	LeaseTime time.Duration
	// AckWait is how long the writer waits for an answer of the server
	// before it looks again. Default: 5 s.
	AckWait time.Duration
	// GiveUp is how long the writer tries to find out about a group before
	// it tells the callers ErrUnknown, and how long Append waits for a
	// writer, or for slow readers. Default: 15 s.
	GiveUp time.Duration
	// CheckEvery is how often the stream's configuration is compared with
	// the declared one. Default: 1 h.
	CheckEvery time.Duration

	// Logger hears of takeovers, incidents and retries. Default: slog.Default().
	Logger *slog.Logger

	wrap func(wire) wire             // tests put themselves between the writer and the server
	hold func(lease.Book) lease.Book // and between the lease and the server
}

var volumeName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// withDefaults fills in what was left out and refuses what cannot be.
func (c Config) withDefaults() (Config, error) {
	if c.Server != nil && c.NATS == nil {
		c.NATS = c.Server.Conn()
	}
	if c.NATS == nil {
		return c, errors.New("eventstore: neither a server nor a NATS connection was given")
	}
	if !volumeName.MatchString(c.Volume) {
		return c, fmt.Errorf("eventstore: volume name %q: want letters, digits, - and _", c.Volume)
	}
	if c.Holder == "" {
		c.Holder = lease.Holder()
	}
	c.Holder = lease.Name(c.Holder)
	if len(c.Subjects) == 0 {
		c.Subjects = []string{"enf.*.*.*"}
	}
	orDefault(&c.Replicas, 1)
	orDefault(&c.TailRecords, 20_000)
	orDefault(&c.TailBytes, 512<<20)
	orDefault(&c.LeaseTime, 5*time.Second)
	orDefault(&c.AckWait, 5*time.Second)
	orDefault(&c.GiveUp, 15*time.Second)
	orDefault(&c.CheckEvery, time.Hour)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Logger = c.Logger.With("volume", c.Volume)
	return c, nil
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// streamConfig is the one place where the volume's stream is declared. Every
// field that JetStream knows and that could lose, change or reorder a record
// is set, also where it is the default, for this is what the running stream
// is compared with.
func streamConfig(c Config) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:      c.Volume,
		Subjects:  c.Subjects,
		Storage:   jetstream.FileStorage,
		Replicas:  c.Replicas,
		Retention: jetstream.LimitsPolicy,
		Discard:   jetstream.DiscardNew, // at a limit refuse the new, never evict the old

		// Nothing is evicted …
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxAge:            0,
		MaxMsgsPerSubject: -1,
		MaxMsgSize:        -1,
		MaxConsumers:      -1,
		// … nor deleted, purged, rolled up or expired.
		DenyDelete:  true,
		DenyPurge:   true,
		AllowRollup: false,
		AllowMsgTTL: false,

		AllowAtomicPublish: true, // group commit
		AllowDirect:        true,
		Compression:        jetstream.NoCompression,
		PersistMode:        jetstream.DefaultPersistMode, // async would acknowledge before the disk
		Duplicates:         2 * time.Minute,
	}
}

// differences compares two stream configurations and names each field in
// which the running one departs from the declared one, in words for a person.
func differences(declared, running jetstream.StreamConfig) []string {
	want, have := fields(declared), fields(running)
	var out []string
	for _, key := range slices.Sorted(maps.Keys(have)) {
		if want[key] != have[key] {
			out = append(out, fmt.Sprintf("%s is %s, declared %s", key, orNone(have[key]), orNone(want[key])))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if _, ok := have[key]; !ok {
			out = append(out, fmt.Sprintf("%s is none, declared %s", key, want[key]))
		}
	}
	return out
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// fields spreads a configuration into its JSON fields. What the server adds of
// its own (metadata that begins with "_nats.") and empty values are left out.
func fields(c jetstream.StreamConfig) map[string]string {
	c.Metadata = maps.Clone(c.Metadata)
	maps.DeleteFunc(c.Metadata, func(k, _ string) bool { return strings.HasPrefix(k, "_nats.") })
	text, err := json.Marshal(c)
	if err != nil {
		panic("eventstore: a stream configuration that is no JSON: " + err.Error())
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil {
		panic("eventstore: a stream configuration that is no JSON object: " + err.Error())
	}
	out := make(map[string]string, len(raw))
	for k, v := range raw {
		switch s := string(v); s {
		case "null", "{}", "[]", "false", "0", `""`:
		default:
			out[k] = s
		}
	}
	return out
}

// prepare finds or creates the stream and remembers which one it is. A stream
// that readers are ahead of (Start) is never created anew: that would hide a loss.
func (s *Store) prepare(ctx context.Context) error {
	if err := checkVersion(s.cfg.NATS.ConnectedServerVersion()); err != nil {
		return err
	}
	stream, err := s.js.Stream(ctx, s.cfg.Volume)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if s.cfg.Start > 0 {
			return fmt.Errorf("%w: readers have come to position %d, but there is no stream %s", ErrNotWhole, s.cfg.Start, s.cfg.Volume)
		}
		stream, err = s.js.CreateStream(ctx, streamConfig(s.cfg))
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was first
			stream, err = s.js.Stream(ctx, s.cfg.Volume)
		}
	}
	if err != nil {
		return fmt.Errorf("open volume %s: %w", s.cfg.Volume, err)
	}
	s.stream = stream
	s.created = stream.CachedInfo().Created
	return s.check(ctx)
}

// check compares the running stream with the declared one and with what is
// known of it. What it finds stops all writing; a configuration that has been
// put right starts it again. The error says only that it could not be checked.
func (s *Store) check(ctx context.Context) error {
	info, err := s.stream.Info(ctx)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s.incident("identity", "the stream is gone")
		return nil
	}
	if err != nil {
		return fmt.Errorf("check volume %s: %w", s.cfg.Volume, err)
	}
	if err := s.whole(info); err != nil {
		s.incident("identity", err.Error())
		return nil
	}
	if end := Position(info.State.LastSeq); end < s.cfg.Start {
		s.incident("behind", fmt.Sprintf("readers have come to position %d, but the stream ends at %d", s.cfg.Start, end))
	}
	if diff := differences(streamConfig(s.cfg), info.Config); len(diff) > 0 {
		s.incident("config", "the stream's configuration was changed: "+strings.Join(diff, "; "))
	} else {
		s.resolved("config")
	}
	return nil
}

// whole checks that a stream is still the one that was opened and lacks nothing.
func (s *Store) whole(info *jetstream.StreamInfo) error {
	st := info.State
	switch {
	case !info.Created.Equal(s.created):
		return fmt.Errorf("%w: the stream was made anew at %s, the one that was opened at %s", ErrNotWhole, info.Created, s.created)
	case st.NumDeleted > 0 || st.Msgs > 0 && st.FirstSeq != 1 || st.Msgs != st.LastSeq:
		return fmt.Errorf("%w: %d records stand at positions %d to %d, %d of them deleted", ErrNotWhole, st.Msgs, st.FirstSeq, st.LastSeq, st.NumDeleted)
	}
	return nil
}

// checkVersion refuses servers whose `sync_interval: always` is known to leak
// or whose atomic batches are not one sync (before 2.15.2).
func checkVersion(version string) error {
	var major, minor, patch int
	if _, err := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch); err != nil {
		return fmt.Errorf("eventstore: server version %q: %w", version, err)
	}
	if slices.Compare([]int{major, minor, patch}, []int{2, 15, 2}) < 0 {
		return fmt.Errorf("eventstore: NATS server %s is too old, want 2.15.2 or newer", version)
	}
	return nil
}
