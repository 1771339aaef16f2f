// Package intake turns the logs of other systems into commands: it reads a
// file, maps its columns to acts and fields, repairs what it may, refuses what
// it must, and hands the rest on in batches. What a batch becomes is not its
// business: a Sink records it.
//
// The way of a row:
//
//	file → source (digest, gzip, encoding) → reader (CSV or XES) → mapper → Run → Sink
//
// Nothing is invented on the way. A value that cannot be read is dropped with a
// note or refuses its row, as the mapping says; it is never guessed.
package intake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// A Repair is something that was put right in a row so that it could be taken.
type Repair struct {
	Field string `json:"field"`          // a field of the act, or case, act, time, officer, row
	From  string `json:"from,omitempty"` // as it stands in the file, cut to 200 bytes
	To    string `json:"to,omitempty"`   // as it was taken; empty: left out
	Why   string `json:"why"`
}

// String is the repair in a phrase: field: why ("from" → "to").
func (r Repair) String() string {
	switch {
	case r.From == "" && r.To == "":
		return r.Field + ": " + r.Why
	case r.To == "":
		return fmt.Sprintf("%s: %s (%q)", r.Field, r.Why, r.From)
	}
	return fmt.Sprintf("%s: %s (%q → %q)", r.Field, r.Why, r.From, r.To)
}

// A Row is one act as a file tells it.
type Row struct {
	File    string // the file's name without its folder
	Number  int64  // 1, 2, 3 … in the file; with the file's digest it names the row for good
	Line    int    // where it begins in the (unpacked) file
	Path    string // for XES, where it stands: trace 3/event 2
	Case    string
	Act     string
	At      time.Time // with the offset that the file or the mapping gives
	Order   int       // the number that the row was ordered by inside its day: the order column's, or Number
	Officer string    // empty: none
	Fields  map[string]json.RawMessage
	Parts   Parts // what a log says of an act besides
	Repairs []Repair
}

// Parts are what the log of a system such as this one says of an act besides
// its fields; other logs have none of it.
type Parts struct {
	Procedure  string // of the case; empty: the mapping's
	Agency     string // of the case; empty: the mapping's
	Officers   []json.RawMessage
	Place      string
	Documents  json.RawMessage // a list, or nil
	Evidence   json.RawMessage // likewise
	Corrects   string          // command id of the earlier row that this one puts right
	Reason     string          // why it is corrected
	LateReason string
	Done       bool // it had been carried out outside the system before
}

// An Item is a row together with what intake made of it.
type Item struct {
	Row
	CommandID string
	Refused   string // why it is not handed on; empty: it is
}

// A Command is the request to record one row, in the form of the HTTP API
// (POST /v1/imports). Where Procedure names a procedure and the case exists
// already, the receiver goes by the case.
type Command struct {
	Row             int64                      `json:"row"`
	Case            string                     `json:"case"`
	Agency          string                     `json:"agency,omitempty"`
	Procedure       string                     `json:"procedure"`
	Act             string                     `json:"act"`
	OccurredAt      time.Time                  `json:"occurred_at"`
	Fields          map[string]json.RawMessage `json:"fields,omitempty"`
	Officers        []json.RawMessage          `json:"officers,omitempty"` // ids, or objects with certificates
	Place           string                     `json:"place,omitempty"`
	Documents       json.RawMessage            `json:"documents,omitempty"`
	Evidence        json.RawMessage            `json:"evidence,omitempty"`
	LateReason      string                     `json:"late_reason,omitempty"`
	AlreadyDone     bool                       `json:"already_done,omitempty"`
	CorrectsCommand string                     `json:"corrects_command,omitempty"`
	Reason          string                     `json:"reason,omitempty"`
	CommandID       string                     `json:"command_id"`
}

// Command makes the request for a row, with the procedure and agency of the
// mapping it was read by, or those that the log itself gives: an agency that is
// named goes before the log's, a procedure does not.
func (i Item) Command(procedure, agency string) Command {
	p := i.Parts
	c := Command{
		Row: i.Number, Case: i.Case, Agency: agency, Procedure: procedure, Act: i.Act,
		OccurredAt: i.At, Fields: i.Fields, Officers: p.Officers, CommandID: i.CommandID,
		Place: p.Place, Documents: p.Documents, Evidence: p.Evidence,
		LateReason: p.LateReason, AlreadyDone: p.Done, CorrectsCommand: p.Corrects, Reason: p.Reason,
	}
	if p.Procedure != "" {
		c.Procedure = p.Procedure
	}
	if c.Agency == "" {
		c.Agency = p.Agency
	}
	if i.Officer != "" {
		c.Officers = []json.RawMessage{appendText(nil, i.Officer)}
	}
	return c
}

// commandID names a row for good: the same source, file and row give the same
// id whatever the mapping, so that a row is never recorded twice.
func commandID(source, fileDigest string, row int64) string {
	b := make([]byte, 0, 160)
	b = append(b, source...)
	b = append(b, 0)
	b = append(b, fileDigest...)
	b = append(b, 0)
	h := sha256.Sum256(strconv.AppendInt(b, row, 10))
	return string(hex.AppendEncode(append(b[:0], "import-"...), h[:16]))
}

// A Batch is what a Sink gets at once, in the form of POST /v1/imports. The
// commands of one case stand in the order of the log.
type Batch struct {
	Source   string    `json:"source"` // the system that the log comes from
	Batch    string    `json:"batch"`  // this import
	DryRun   bool      `json:"dry_run"`
	Commands []Command `json:"commands"`
}

// A Result is what became of a row.
type Result string

// The results. A Sink answers with Taken, Already or Refused.
const (
	Taken    Result = "taken"    // recorded as it stands in the file
	Repaired Result = "repaired" // recorded, with repairs
	Refused  Result = "refused"  // not recorded, and why
	Already  Result = "already"  // had been recorded by an earlier run
)

// An Outcome is the answer to one command of a batch.
type Outcome struct {
	Result   Result
	Why      string // for Refused
	Event    string // id of the event; may be empty
	Findings int    // rules that it broke
}

// A Sink records a batch and answers for each command, in their order. It may
// be called for several batches at once, which then have no case in common. An
// error means that the fate of the batch is not known: the run stops, and a
// later run hands the batch in again under the same command ids. Waiting and
// trying again where that helps is the sink's business.
type Sink func(ctx context.Context, b Batch) ([]Outcome, error)

// Limits bound what a hostile or broken file can cost. Zero fields mean the
// default.
type Limits struct {
	Record   int   // bytes of one CSV record, or of one XES event with the attributes of its trace; 1 MiB
	Token    int   // bytes of one XML tag or text; 1 MiB
	Depth    int   // XML elements inside each other; 64
	Columns  int   // columns of a CSV file, or distinct attribute keys of an XES file; 2,000
	CaseRows int   // rows of one case that are sorted together where the mapping names an order column; 100,000
	Ratio    int64 // unpacked bytes for each packed byte, once 64 MiB are unpacked; 400
	Unpacked int64 // bytes of an unpacked file; 256 GiB
}

func (l Limits) orDefault() Limits {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&l.Record, 1<<20)
	set(&l.Token, 1<<20)
	set(&l.Depth, 64)
	set(&l.Columns, 2000)
	set(&l.CaseRows, 100_000)
	if l.Ratio <= 0 {
		l.Ratio = 400
	}
	if l.Unpacked <= 0 {
		l.Unpacked = 256 << 30
	}
	return l
}

// A FileError is a fault of a file as a whole: nothing behind it was read.
type FileError struct {
	File string
	Line int // 0: the whole file
	Err  error
}

func (e *FileError) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Err.Error()
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

func (e *FileError) Unwrap() error { return e.Err }

// A Note is a flaw of a file that does not touch its rows, such as a schema
// rule of XES that many real logs break.
type Note struct {
	File  string `json:"file"`
	Line  int    `json:"line"` // the first place
	Text  string `json:"text"`
	Count int    `json:"count"`
}

func (n Note) String() string {
	s := fmt.Sprintf("%s:%d: %s", n.File, n.Line, n.Text)
	if n.Count > 1 {
		s += fmt.Sprintf(" (%d times)", n.Count)
	}
	return s
}

// cut shortens a value for a message.
func cut(s string) string {
	if c := clip(s, 200); len(c) < len(s) {
		return c + "…"
	}
	return s
}

// clip is the first bytes of s, whole runes of them.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && s[most]&0xC0 == 0x80 {
		most--
	}
	return s[:most]
}
