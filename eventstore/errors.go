package eventstore

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// A verdict is what the writer does about an answer of the server.
type verdict int

const (
	fine    verdict = iota // stored
	again                  // nothing was stored: wait a moment and send the same
	read                   // what stands in the stream decides
	full                   // nothing was stored and nothing can be at present
	never                  // nothing was stored and this message never can be
	smaller                // the batch is over the server's limit: send it in parts
	stop                   // an incident: a person must look
)

// Error codes of JetStream that an Append can meet, by the numbers that the
// server uses (server/errors.json); the names in client libraries differ.
const (
	codeAccountResources   jetstream.ErrorCode = 10002
	codeUnavailable        jetstream.ErrorCode = 10008
	codeNotLeader          jetstream.ErrorCode = 10017
	codeNoResources        jetstream.ErrorCode = 10023
	codeNotEnabled         jetstream.ErrorCode = 10039
	codeStorageResources   jetstream.ErrorCode = 10047
	codeMessageTooLarge    jetstream.ErrorCode = 10054
	codeStreamNotFound     jetstream.ErrorCode = 10059
	codeOtherStream        jetstream.ErrorCode = 10060
	codeWrongLast          jetstream.ErrorCode = 10071
	codeStoreFailed        jetstream.ErrorCode = 10077
	codeHeaderTooLarge     jetstream.ErrorCode = 10097
	codeSealed             jetstream.ErrorCode = 10109
	codeDuplicateInProcess jetstream.ErrorCode = 10158
	codeWrongLastInFlight  jetstream.ErrorCode = 10164
	codeQueueFull          jetstream.ErrorCode = 10167
	codeBatchDisabled      jetstream.ErrorCode = 10174
	codeBatchNoSequence    jetstream.ErrorCode = 10175
	codeBatchIncomplete    jetstream.ErrorCode = 10176
	codeBatchBadID         jetstream.ErrorCode = 10179
	codeBatchTooLarge      jetstream.ErrorCode = 10199
	codeBatchDuplicate     jetstream.ErrorCode = 10201
	codeBatchesInFlight    jetstream.ErrorCode = 10210
	codeFastInFlight       jetstream.ErrorCode = 10211
	codeSourceHeader       jetstream.ErrorCode = 10227
)

// verdicts has each code once. A code that is not here is treated as again:
// sending the same message with the same expected sequence twice can store it
// at most once, so trying is always safe, and a caller is told ErrUnknown when
// it has not helped in time.
var verdicts = map[jetstream.ErrorCode]verdict{
	codeWrongLast:          read, // our own lost acknowledgement, or another writer
	codeWrongLastInFlight:  read, // the same, while the other write is still on its way
	codeBatchDuplicate:     read, // the batch, or one with the same ids, is there already
	codeDuplicateInProcess: again,
	codeBatchNoSequence:    again, // a message of the batch was lost: a new batch id, the same records
	codeBatchIncomplete:    again,
	codeBatchBadID:         again,
	codeBatchesInFlight:    again,
	codeFastInFlight:       again,
	codeQueueFull:          again,
	codeUnavailable:        again,
	codeNotLeader:          again,
	codeNotEnabled:         again,
	codeBatchTooLarge:      smaller,
	codeStoreFailed:        full,
	codeNoResources:        full,
	codeStorageResources:   full,
	codeAccountResources:   full,
	codeMessageTooLarge:    never,
	codeHeaderTooLarge:     never,
	codeSourceHeader:       never,
	codeSealed:             stop,
	codeOtherStream:        stop,
	codeBatchDisabled:      stop,
	codeStreamNotFound:     stop,
}

// classify says what to do about an answer.
func classify(a answer) verdict {
	switch {
	case a.code == 0 && !a.nobody:
		return fine
	case a.nobody:
		return again
	}
	return verdicts[a.code].orAgain()
}

// orAgain turns the zero verdict of an unlisted code into again.
func (v verdict) orAgain() verdict {
	if v == fine {
		return again
	}
	return v
}

// A conflict is ErrConflict with the place of what was written since.
type conflict struct {
	stream    string
	after, at Position
}

func (c *conflict) Error() string {
	return fmt.Sprintf("append to %s after %d: %v (at %d)", c.stream, c.after, ErrConflict, c.at)
}

func (c *conflict) Unwrap() error { return ErrConflict }

// errNotWriter tells the caller inside the package that the entry was not
// taken because this process does not write at present; nothing was stored.
var errNotWriter = errors.New("this process does not write")

// errBeyond: the stream ends before the position asked for.
var errBeyond = fmt.Errorf("%w: it ends before the position that was read", ErrNotWhole)

// transient reports whether a reader may try the same again after err.
func transient(err error) bool {
	return err != nil && !errors.Is(err, ErrNotWhole)
}
