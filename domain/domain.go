// Package domain knows what a case is, what an act is, and how the two make
// the next event. It is pure: no clock, no randomness, no storage. Time, ids
// and registers come in as arguments, so that a replay is exact.
package domain

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// A CaseID names a case (案号). It is unique in the volume, whatever the
// agency and procedure.
type CaseID string

// Limits on what a record may hold; over them an act is Invalid.
const (
	MaxCaseID     = 64      // bytes of a case id
	MaxRecord     = 1 << 19 // bytes of one stored record
	MaxFields     = 200     // fields of one act
	MaxReferences = 500     // documents and evidence of one act
	MaxOfficers   = 50      // officers of one act
	MaxText       = 4096    // bytes of a reason, place or name
)

// A Digest is the SHA-256 of stored bytes. Zero means none.
type Digest [sha256.Size]byte

// DigestOf hashes data as it is.
func DigestOf(data []byte) Digest { return sha256.Sum256(data) }

// String is "sha256:" and 64 hexadecimal digits, or "" for none.
func (d Digest) String() string {
	if d == (Digest{}) {
		return ""
	}
	return "sha256:" + hex.EncodeToString(d[:])
}

// MarshalText is String.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what String prints.
func (d *Digest) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "" {
		*d = Digest{}
		return nil
	}
	digits, ok := strings.CutPrefix(s, "sha256:")
	if !ok || len(digits) != 2*len(d) {
		return fmt.Errorf("digest %q: want sha256: and %d hexadecimal digits", s, 2*len(d))
	}
	_, err := hex.Decode(d[:], []byte(digits))
	return err
}

// An Actor is who hands in a command: a person in a role of the law, or a
// program on behalf of one.
type Actor struct {
	ID    string   `json:"id"`
	Name  string   `json:"name,omitempty"`
	Roles []string `json:"-"` // roles of the law this actor may record in: handler, head, legal-reviewer …; "*" is every role
}

// An Import tells where an imported event comes from. Such an event was not
// recorded when it happened, and is never shown as if it had been.
type Import struct {
	Source string `json:"source"` // the system or file it was taken from
	Batch  string `json:"batch"`
	Row    int64  `json:"row"`
}

// A Command asks for one act to be recorded in a case.
type Command struct {
	ID        string // the same id gets the same receipt, however often it comes
	Case      CaseID
	Agency    string // of the case; needed when the act opens it
	Procedure string // likewise
	Act       string
	At        time.Time // when the act was carried out, as claimed
	Actor     Actor
	Officers  []rulebook.Officer
	Place     string
	Fields    map[string]json.RawMessage
	Documents []rulebook.Reference
	Evidence  []rulebook.Reference

	LateReason  string // why it is recorded late
	AlreadyDone bool   // carried out outside the system: recorded, with findings, and never refused
	Corrects    string // id of the event that this one puts right
	Reason      string // why it is corrected, or why it was already done

	// CorrectsCommand names that event by the command that it came of, for
	// who cannot know its id yet: the rows of a log.
	CorrectsCommand string

	Correlation string
	Causation   string
	Import      *Import
	Expect      int // the revision the caller saw; 0: any
}

// A Receipt is given only after the event is on disk.
type Receipt struct {
	Case       CaseID             `json:"case"`
	Event      string             `json:"event"`
	Act        string             `json:"act"`
	Position   uint64             `json:"position"`
	Revision   int                `json:"revision"`
	Digest     Digest             `json:"digest"`
	OccurredAt time.Time          `json:"occurred_at"`
	RecordedAt time.Time          `json:"recorded_at"`
	Findings   []rulebook.Finding `json:"findings"`
	Duplicate  bool               `json:"duplicate,omitempty"` // this command had been carried out before
}

// A Refusal is an answer, not a fault: the law does not allow the act now.
type Refusal struct {
	Case     CaseID             `json:"case"`
	Act      string             `json:"act"`
	Findings []rulebook.Finding `json:"findings"` // what stands against it, gravest first; at least one asks to refuse
}

// Cause is the gravest finding that refuses.
func (r *Refusal) Cause() rulebook.Finding {
	for _, f := range r.Findings {
		if f.Verdict == rulebook.Refuse {
			return f
		}
	}
	return r.Findings[0]
}

func (r *Refusal) Error() string {
	f := r.Cause()
	return fmt.Sprintf("%s refused by %s: %s", r.Act, f.Rule, f.Says.In("en"))
}

// Invalid says that a command is malformed: nothing of it was judged or kept.
type Invalid struct {
	Problems []rulebook.Problem
}

func (e *Invalid) Error() string {
	parts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		parts[i] = p.Field + ": " + p.Detail.In("en")
	}
	return "invalid command: " + strings.Join(parts, "; ")
}

// Stale says that the case is not as the caller saw it.
type Stale struct {
	Case     CaseID
	Expected int // the revision the caller saw
	Actual   int
}

func (e *Stale) Error() string {
	return fmt.Sprintf("case %s is at revision %d, not %d", e.Case, e.Actual, e.Expected)
}

// Reused says that a command id has been used for something else before.
type Reused struct {
	Command string
	Event   string // the event that the id belongs to
}

func (e *Reused) Error() string {
	return fmt.Sprintf("command id %s was used for another act: event %s", e.Command, e.Event)
}

// Subject is the subject that a case's records are kept under:
// enf.<agency>.<procedure>.<case>, one token each.
func Subject(agency, procedure string, id CaseID) string {
	return "enf." + agency + "." + procedure + "." + string(id)
}

// Token reports what is wrong with a name that must be one token of a
// subject: letters (Chinese too), digits, - and _ and brackets such as 〔〕,
// at most MaxCaseID bytes. It returns "" when nothing is.
func Token(s string) string {
	switch {
	case s == "":
		return "is empty"
	case len(s) > MaxCaseID:
		return fmt.Sprintf("is longer than %d bytes", MaxCaseID)
	case !utf8.ValidString(s):
		return "is not UTF-8"
	}
	for _, r := range s {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_〔〕（）【】", r) {
			continue
		}
		return fmt.Sprintf("has %q; letters, digits, - and _ are allowed", r)
	}
	return ""
}

// A Roster answers who an officer was on a day (行政处罚法 42).
type Roster interface {
	// Officer returns the officer of an agency with the certificate as of that day.
	Officer(agency, id string, on calendar.Date) (rulebook.Officer, bool)
	// Knows reports whether it has the officers of an agency. Where it does
	// not, what commands say of them is taken as it is.
	Knows(agency string) bool
	// At is the position in the log up to which it was read, 0 for a roster
	// that does not come from the log.
	At() uint64
}
