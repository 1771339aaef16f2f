// Package pubsub is Watermill's Publisher and Subscriber on NATS JetStream, by
// the `jetstream` package of the client library.
//
// Order is kept per key: of a group, one subscriber at a time reads (a lease
// says which), each key has a lane of its own, and a message that was not
// acknowledged comes again before any later one of its lane, in this process or
// in the next that reads. Delivery is at least once.
package pubsub

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What the Subscriber adds to the metadata of a message. Publishers do not store
// these, so that a message that is passed on does not carry where it was before.
const (
	Position   = "nats_position"   // sequence in the stream, a number
	Subject    = "nats_subject"    // under which it is stored
	StoredAt   = "nats_stored_at"  // by the server's clock, RFC 3339 with nanoseconds
	Deliveries = "nats_deliveries" // how often the server has sent it out, this time included
)

// uuidHeader holds the UUID. It is not Nats-Msg-Id itself, for a stream keeps a
// message of one id once, and the same message may be published to two topics.
const uuidHeader = "Watermill-UUID"

// metadataHeader holds the metadata of a message as one JSON object. A header of
// its own for each would change what it may not hold: line ends, colons in names.
const metadataHeader = "Watermill-Metadata"

// encode makes the message that is stored. Nats-Msg-Id is the subject and the UUID.
func encode(subject string, m *message.Message) (*nats.Msg, error) {
	out := &nats.Msg{Subject: subject, Data: m.Payload, Header: nats.Header{}}
	if m.UUID != "" {
		if strings.ContainsFunc(m.UUID, func(r rune) bool { return r <= ' ' || r == 0x7f }) || !utf8.ValidString(m.UUID) {
			return nil, fmt.Errorf("publish to %s: UUID %q: want letters without spaces", subject, m.UUID)
		}
		out.Header.Set(uuidHeader, m.UUID)
		out.Header.Set(jetstream.MsgIDHeader, subject+"/"+m.UUID)
	}
	kept := map[string]string{}
	for k, v := range m.Metadata {
		switch k {
		case Position, Subject, StoredAt, Deliveries:
			continue
		}
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return nil, fmt.Errorf("publish to %s: metadata %q is not UTF-8", subject, k)
		}
		kept[k] = v
	}
	if len(kept) > 0 {
		text, err := json.Marshal(kept)
		if err != nil {
			return nil, fmt.Errorf("publish to %s: metadata: %w", subject, err)
		}
		out.Header.Set(metadataHeader, string(text))
	}
	return out, nil
}

// decode makes the message that is handed out. A stored message that no
// Publisher of this package made has no UUID of its own: it gets the stream's
// name and its position. Metadata that cannot be read is left out, for the
// message itself is whole.
func decode(stream string, m jetstream.Msg) (*message.Message, uint64, error) {
	place, err := m.Metadata()
	if err != nil {
		return nil, 0, fmt.Errorf("a message on %s without its place: %w", m.Subject(), err)
	}
	position := place.Sequence.Stream
	uuid := m.Headers().Get(uuidHeader)
	if uuid == "" {
		uuid = stream + "-" + strconv.FormatUint(position, 10)
	}
	out := message.NewMessage(uuid, m.Data())
	out.Metadata = parseMetadata(m.Headers().Get(metadataHeader))
	out.Metadata[Position] = strconv.FormatUint(position, 10)
	out.Metadata[Subject] = m.Subject()
	out.Metadata[StoredAt] = place.Timestamp.UTC().Format(time.RFC3339Nano)
	out.Metadata[Deliveries] = strconv.FormatUint(place.NumDelivered, 10)
	return out, position, nil
}

// parseMetadata reads the header; what is no object of texts is no metadata.
func parseMetadata(text string) message.Metadata {
	m := message.Metadata{}
	if text == "" {
		return m
	}
	if err := json.Unmarshal([]byte(text), &m); err != nil || m == nil {
		return message.Metadata{}
	}
	return m
}

// PositionOf is where in its stream a message of the Subscriber is stored; 0 if
// it does not come from there.
func PositionOf(m *message.Message) uint64 {
	n, err := strconv.ParseUint(m.Metadata[Position], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// StoredAtOf is when it was stored; zero if it does not come from there.
func StoredAtOf(m *message.Message) time.Time {
	t, err := time.Parse(time.RFC3339Nano, m.Metadata[StoredAt])
	if err != nil {
		return time.Time{}
	}
	return t
}
