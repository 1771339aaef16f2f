// Package eventstore keeps bytes in order, for good. It hides streams,
// consumers, leases and error codes of NATS JetStream behind Append, Load and
// Follow, and knows nothing of what the bytes mean.
package eventstore

import (
	"errors"
	"time"
)

// A Position is the place of a record in its volume: 1, 2, 3 … without gaps.
// Zero stands before the first record.
type Position uint64

// A Record is what was kept: Data is byte for byte what Append was given.
// Records are shared between readers; do not change Data.
type Record struct {
	Stream   string // the subject: enf.<agency>.<procedure>.<case>
	Position Position
	At       time.Time // when the server stored it
	Data     []byte
}

// Name is the name of the record's stream: the last token of its subject.
func (r *Record) Name() string { return nameOf(r.Stream) }

// Conditions that a caller can act on. Test for them with errors.Is.
var (
	// ErrConflict: something has been written to the stream since.
	ErrConflict = errors.New("the stream has been written to since")
	// ErrUnknown: whether the records were stored could not be found out in
	// time. Read the stream before you try again.
	ErrUnknown = errors.New("it is not known whether the records were stored")
	// ErrTooLarge: a record or a group of records is over the limit. Nothing was stored.
	ErrTooLarge = errors.New("over the size limit")
	// ErrFull: the disk has no room. Nothing was stored.
	ErrFull = errors.New("no room on the disk of the record")
	// ErrBusy: too much is waiting or readers are too far behind. Nothing was stored; try again.
	ErrBusy = errors.New("the store is busy")
	// ErrNoWriter: no process holds the volume's lease at present. Nothing was stored; try again.
	ErrNoWriter = errors.New("no writer at present")
	// ErrStopped: an incident has stopped all writing; the reason is in the text. Nothing was stored.
	ErrStopped = errors.New("writing is stopped")
	// ErrNotWhole: the volume has a gap, ends before a position that has been
	// read, or is another one than it was. A reader that sees it must stop.
	ErrNotWhole = errors.New("the volume is not whole")
)
