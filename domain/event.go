package domain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// An Event is one act, as it is kept for good: a CloudEvents 1.0 event in
// structured JSON form. Names of its attributes follow the CloudEvents rule
// for extensions (lower-case letters and digits); what is not a plain value
// stands in Data.
type Event struct {
	SpecVersion string        `json:"specversion"` // "1.0"
	ID          string        `json:"id"`          // UUIDv7
	Source      string        `json:"source"`      // "/agencies/<agency>"
	Type        string        `json:"type"`        // "<procedure>.<act>"
	Subject     CaseID        `json:"subject"`
	Time        time.Time     `json:"time"` // occurred_at: claimed
	ContentType string        `json:"datacontenttype"`
	Recorded    time.Time     `json:"recordedtime"` // recorded_at: our clock when it was made
	Edition     calendar.Date `json:"edition"`      // of the procedure that the case is judged by
	Revision    int           `json:"caserevision"` // 1, 2, 3 … in the case
	Previous    Digest        `json:"previousdigest,omitzero"`
	Command     string        `json:"commandid"`
	Correlation string        `json:"correlationid,omitempty"`
	Causation   string        `json:"causationid,omitempty"`
	Actor       string        `json:"actor"`
	ActorRole   string        `json:"actorrole,omitempty"` // the role of the law that the actor recorded in
	Salt        string        `json:"salt"`                // random, so that a digest tells nothing of short contents
	Data        Data          `json:"data"`
}

// Data is what an act says: frozen, with the names and certificates as they
// were when it was recorded.
type Data struct {
	ActorName   string               `json:"actor_name,omitempty"`
	Officers    []rulebook.Officer   `json:"officers,omitempty"`
	RosterAt    uint64               `json:"roster_at,omitempty"`   // position up to which the register of officers had been read
	CalendarAt  uint64               `json:"calendar_at,omitempty"` // position of the newest notice on holidays that the agency had confirmed; 0: the program's own calendar
	Registers   *RegistersRead       `json:"registers,omitempty"`   // what registers of other cases were asked, nil for none
	Law         []rulebook.FileRef   `json:"law,omitempty"`         // files of its own that the agency had put in force and that the act was judged by, by name
	Parameters  Fields               `json:"parameters,omitempty"`  // values that the agency had put in force and that the act was judged by
	Place       string               `json:"place,omitempty"`
	Fields      Fields               `json:"fields,omitempty"`
	Documents   []rulebook.Reference `json:"documents,omitempty"`
	Evidence    []rulebook.Reference `json:"evidence,omitempty"`
	Findings    []rulebook.Finding   `json:"findings,omitempty"`
	Corrects    string               `json:"corrects,omitempty"`
	Reason      string               `json:"reason,omitempty"`
	LateReason  string               `json:"late_reason,omitempty"`
	AlreadyDone bool                 `json:"already_done,omitempty"`
	Import      *Import              `json:"import,omitempty"`
}

// RegistersRead says what registers of other cases were asked to judge an act,
// so that it can be asked again.
type RegistersRead struct {
	At         uint64            `json:"at"` // position of the log at which they were read
	Asked      []rulebook.Lookup `json:"asked"`
	Unanswered bool              `json:"unanswered,omitempty"` // they could not be read then: a later record of the case says what came of it
}

// Encode makes the bytes that are stored and hashed. It is called once in the
// life of an event.
func (e Event) Encode() ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, err
	}
	data := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	if len(data) > MaxRecord {
		return nil, &Invalid{Problems: []rulebook.Problem{{Field: "fields", Detail: rulebook.Text{
			ZH: fmt.Sprintf("记录有 %d 字节，上限 %d 字节；大文件请存为证据并引用其摘要", len(data), MaxRecord),
			EN: fmt.Sprintf("the record has %d bytes, the limit is %d; keep large files as evidence and refer to their digest", len(data), MaxRecord),
		}}}}
	}
	return data, nil
}

// Agency is the agency whose case it is.
func (e *Event) Agency() string { return strings.TrimPrefix(e.Source, "/agencies/") }

// Procedure and Act are the two halves of the type.
func (e *Event) Procedure() string { p, _, _ := strings.Cut(e.Type, "."); return p }

// Act names the act; see Procedure.
func (e *Event) Act() string { _, a, _ := strings.Cut(e.Type, "."); return a }

// Step is the event as rules look at it.
func (e *Event) Step() rulebook.Step {
	return rulebook.Step{
		Event:       e.ID,
		Act:         e.Act(),
		At:          e.Time,
		Recorded:    e.Recorded,
		Actor:       e.Actor,
		Role:        e.ActorRole,
		Officers:    e.Data.Officers,
		Fields:      e.Data.Fields,
		Documents:   e.Data.Documents,
		Evidence:    e.Data.Evidence,
		LateReason:  e.Data.LateReason,
		AlreadyDone: e.Data.AlreadyDone,
		Imported:    e.Data.Import != nil,
		Corrects:    e.Data.Corrects,
		RosterAt:    e.Data.RosterAt,
		Params:      e.Data.Parameters,
		Law:         e.Data.Law,
		Findings:    e.Data.Findings,
	}
}

// A Recorded is an event as it was stored.
type Recorded struct {
	Position uint64    // in the volume
	StoredAt time.Time // the store's own time stamp, to set beside the event's recordedtime
	Digest   Digest    // of Raw
	Raw      []byte    // the stored bytes, verbatim
	Event
}

// ErrRecord says that stored bytes are not a record of ours.
var ErrRecord = errors.New("not a record")

// Read decodes stored bytes, strictly: a name that stands twice or text that
// is not UTF-8 makes them no record. It keeps data, which must not be changed.
func Read(position uint64, storedAt time.Time, data []byte) (Recorded, error) {
	r := Recorded{Position: position, StoredAt: storedAt, Digest: DigestOf(data), Raw: data}
	if err := jsonv2.Unmarshal(data, &r.Event); err != nil {
		return Recorded{}, fmt.Errorf("%w at position %d: %w", ErrRecord, position, err)
	}
	for _, need := range []struct{ name, value string }{
		{"id", r.ID}, {"source", r.Source}, {"subject", string(r.Subject)}, {"commandid", r.Command}, {"act in type", r.Act()},
	} {
		if need.value == "" {
			return Recorded{}, fmt.Errorf("%w at position %d: no %s", ErrRecord, position, need.name)
		}
	}
	if r.SpecVersion != "1.0" || r.Revision < 1 || r.Time.IsZero() || r.Recorded.IsZero() {
		return Recorded{}, fmt.Errorf("%w at position %d: specversion %q, caserevision %d, time %s, recordedtime %s",
			ErrRecord, position, r.SpecVersion, r.Revision, r.Time, r.Recorded)
	}
	return r, nil
}

// Fields are the values of an act by name: text, whole numbers as int64,
// other numbers as float64, booleans, lists and records, as rulebook's Check
// returns them.
type Fields map[string]any

// UnmarshalJSONFrom reads numbers without loss.
func (f *Fields) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	v, err := value(dec)
	if err != nil {
		return err
	}
	m, ok := v.(map[string]any)
	if !ok && v != nil {
		return fmt.Errorf("fields are %T, want a JSON object", v)
	}
	*f = m
	return nil
}

func value(dec *jsontext.Decoder) (any, error) {
	token, err := dec.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case jsontext.KindNull:
		return nil, nil
	case jsontext.KindTrue, jsontext.KindFalse:
		return token.Bool(), nil
	case jsontext.KindString:
		return token.String(), nil
	case jsontext.KindNumber:
		text := token.String()
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n, nil
		}
		n, err := strconv.ParseFloat(text, 64)
		return n, err
	case jsontext.KindBeginArray:
		list := []any{}
		for dec.PeekKind() != jsontext.KindEndArray {
			v, err := value(dec)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := dec.ReadToken()
		return list, err
	default: // the decoder knows no further kind that may begin a value
		m := map[string]any{}
		for dec.PeekKind() != jsontext.KindEndObject {
			name, err := dec.ReadToken()
			if err != nil {
				return nil, err
			}
			key := name.String()
			if m[key], err = value(dec); err != nil {
				return nil, err
			}
		}
		_, err := dec.ReadToken()
		return m, err
	}
}
