package eventstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A wire is all that the writer says to the server. Tests put one of their
// own between, which loses, delays or forges.
type wire interface {
	// publish sends a message. If token is not 0 an answer to it is asked
	// for. An error means that the message has not left this process.
	publish(m *nats.Msg, token uint64) error
	// listen calls hear for each answer, one at a time, until stopped.
	// Answers can be lost, and can come when nobody waits for them any more.
	listen(hear func(token uint64, a answer)) (stop func(), err error)
	// end asks the stream's leader where the stream ends.
	end(ctx context.Context) (Position, error)
	// lastOf asks the stream's leader for the last position of a subject, 0 if it has none.
	lastOf(ctx context.Context, subject string) (Position, error)
}

// An answer is what the server said to a message: the position, or an error.
type answer struct {
	last   Position            // position of the message, of the last one of a batch; 0 for a batch that goes on
	code   jetstream.ErrorCode // 0: stored
	text   string              // the error in words
	nobody bool                // nobody listens on the subject: not stored
}

// Headers that the server reads and keeps with the message.
const (
	headerStream   = "Nats-Expected-Stream"
	headerExpected = "Nats-Expected-Last-Sequence"
	headerBatch    = "Nats-Batch-Id"
	headerPart     = "Nats-Batch-Sequence"
	headerCommit   = "Nats-Batch-Commit"
	// headerTag is our own: who wrote the record, and the writer's number of
	// it. It is how a writer that lost an acknowledgement knows its record
	// again when it reads it. It has no meaning for anyone else.
	headerTag = "Liuhen-Tag"
)

// askTimeout is how long a question to the server may take where the caller sets no limit.
const askTimeout = 5 * time.Second

type natsWire struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	volume string
	inbox  string // answers come to inbox + token
}

func newWire(nc *nats.Conn, js jetstream.JetStream, volume string) *natsWire {
	return &natsWire{nc: nc, js: js, volume: volume, inbox: nc.NewInbox() + "."}
}

func (w *natsWire) publish(m *nats.Msg, token uint64) error {
	if token != 0 {
		m.Reply = w.inbox + strconv.FormatUint(token, 36)
	}
	return w.nc.PublishMsg(m)
}

func (w *natsWire) listen(hear func(token uint64, a answer)) (func(), error) {
	sub, err := w.nc.Subscribe(w.inbox+"*", func(m *nats.Msg) {
		token, err := strconv.ParseUint(strings.TrimPrefix(m.Subject, w.inbox), 36, 64)
		if err != nil {
			return
		}
		if a, ok := parseAnswer(m); ok {
			hear(token, a)
		}
	})
	if err != nil {
		return nil, err
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, errors.Join(err, sub.Unsubscribe())
	}
	return func() { _ = sub.Unsubscribe() }, nil // fails only when the connection is gone, and then it is done
}

// parseAnswer reads an acknowledgement. What cannot be read is no answer: the
// writer then waits, and reads the stream.
func parseAnswer(m *nats.Msg) (answer, bool) {
	if len(m.Data) == 0 {
		return answer{nobody: m.Header.Get("Status") == "503"}, true
	}
	var body struct {
		Seq   uint64              `json:"seq"`
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &body); err != nil {
		return answer{}, false
	}
	if e := body.Error; e != nil {
		code := e.ErrorCode
		if code == 0 {
			code = jetstream.ErrorCode(e.Code)
		}
		return answer{code: code, text: e.Description}, true
	}
	return answer{last: Position(body.Seq)}, true
}

func (w *natsWire) end(ctx context.Context) (Position, error) {
	var resp struct {
		State struct {
			LastSeq Position `json:"last_seq"`
		} `json:"state"`
	}
	err := w.ask(ctx, "STREAM.INFO", nil, &resp)
	return resp.State.LastSeq, err
}

func (w *natsWire) lastOf(ctx context.Context, subject string) (Position, error) {
	m, err := w.get(ctx, map[string]any{"last_by_subj": subject})
	return m.Position, err
}

// get reads one message from the stream's leader: never a stale replica, as
// the direct get of the client library may. A zero Record: there is none.
func (w *natsWire) get(ctx context.Context, what map[string]any) (Record, error) {
	var resp struct {
		Message struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Time     time.Time `json:"time"`
			Data     []byte    `json:"data"`
		} `json:"message"`
	}
	err := w.ask(ctx, "STREAM.MSG.GET", what, &resp)
	if e := (*jetstream.APIError)(nil); errors.As(err, &e) && e.ErrorCode == jetstream.JSErrCodeMessageNotFound {
		return Record{}, nil
	}
	m := resp.Message
	return Record{Stream: m.Subject, Position: Position(m.Sequence), At: m.Time, Data: m.Data}, err
}

// ask sends a request to the JetStream API and reads the answer into resp.
func (w *natsWire) ask(ctx context.Context, what string, body, resp any) error {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return err
		}
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, askTimeout)
		defer cancel()
	}
	m, err := w.nc.RequestWithContext(ctx, "$JS.API."+what+"."+w.volume, data)
	if err != nil {
		return fmt.Errorf("ask for %s of %s: %w", what, w.volume, err)
	}
	var fault struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &fault); err != nil {
		return fmt.Errorf("ask for %s of %s: %w", what, w.volume, err)
	}
	if fault.Error != nil {
		return fmt.Errorf("ask for %s of %s: %w", what, w.volume, fault.Error)
	}
	return json.Unmarshal(m.Data, resp)
}
