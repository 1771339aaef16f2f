package rulebook

import (
	"time"

	"liuhen/domain/calendar"
)

// A Text is one sentence or name in both languages of the program.
type Text struct {
	ZH string `yaml:"zh" json:"zh"`
	EN string `yaml:"en" json:"en"`
}

// In returns the text in a language ("zh" or "en"), and the other language
// where that one is empty.
func (t Text) In(lang string) string {
	if lang == "en" && t.EN != "" || t.ZH == "" {
		return t.EN
	}
	return t.ZH
}

// A Severity says what a broken rule does to the act it was broken by
// (行政处罚法 38, 75, 76; 行政复议法 64, 65, 67).
type Severity string

// From the gravest to the lightest.
const (
	Invalid Severity = "invalid" // gross and obvious: no authority, no basis
	Veto    Severity = "veto"    // fails the whole file in case-file review
	Major   Severity = "major"   // can set the act aside
	Minor   Severity = "minor"   // lateness or form without effect on rights
	Notice  Severity = "notice"  // filing and form
)

// A Verdict says what a rule does when it is broken.
type Verdict string

// What a broken rule asks for.
const (
	Refuse Verdict = "refuse" // an act with a legal effect is refused; a fact is flagged
	Flag   Verdict = "flag"   // the act is recorded and the finding stands beside it
)

// An Officer is one of the persons who carried out an act, with the
// certificate as it was on that day (行政处罚法 42): frozen into the event.
type Officer struct {
	ID          string        `json:"id"`
	Name        string        `json:"name"`
	Certificate string        `json:"certificate,omitempty"` // certificate number; empty: none known
	ValidFrom   calendar.Date `json:"valid_from,omitzero"`
	ValidTo     calendar.Date `json:"valid_to,omitzero"` // last valid day, inclusive
	Field       string        `json:"field,omitempty"`   // 执法类别 that the certificate covers; empty: every field
	Area        string        `json:"area,omitempty"`    // GB/T 2260 prefix it covers; empty: every area
}

// A Reference points at a document or a piece of evidence kept elsewhere.
type Reference struct {
	Kind      string `json:"kind,omitempty"` // for a document: its name in the act's list of documents
	Title     string `json:"title"`
	Digest    string `json:"digest"` // "sha256:" and 64 hex digits
	Size      int64  `json:"size"`   // bytes
	MediaType string `json:"media_type,omitempty"`
	Number    string `json:"number,omitempty"` // 文号
}

// A Step is one event of a case in the form that rules look at.
type Step struct {
	Event       string // the event's id
	Act         string
	At          time.Time // occurred_at: when the act was carried out, as claimed
	Recorded    time.Time // recorded_at: when it reached us
	Actor       string    // id of who recorded it
	Role        string    // the role in which the actor recorded it
	Officers    []Officer
	Fields      map[string]any // as Procedure.Check returns them: string, int64, float64, bool, []any, map[string]any
	Documents   []Reference
	Evidence    []Reference
	LateReason  string // why it was recorded late
	AlreadyDone bool   // the act had been carried out outside the system before it was recorded
	Imported    bool
	CorrectedBy string         // id of the event that corrects this one; rules do not see a corrected step
	Corrects    string         // id of the event that this one corrects
	RosterAt    uint64         // position at which the register of officers was read for it; 0: it was not
	Params      map[string]any // values of its agency that it was judged by, see Procedure.Applied
	Law         []FileRef      // files that its agency had put in force and that it was judged by, by name
	Findings    []Finding      // what was found when it was recorded
}

// A Finding is what a rule said of an act: it was broken.
type Finding struct {
	Rule      string        `json:"rule"`
	Edition   calendar.Date `json:"edition"` // of the procedure's text that was applied
	Severity  Severity      `json:"severity"`
	Verdict   Verdict       `json:"verdict"` // what the rule asks for; a fact is recorded even on refuse
	Says      Text          `json:"says"`    // the rule, in a sentence
	Basis     string        `json:"basis"`   // article
	Detail    Text          `json:"detail"`  // what was wrong here, with dates
	Cure      Text          `json:"cure,omitzero"`
	Looked    []string      `json:"looked,omitempty"`    // ids of the events it looked at
	Due       calendar.Date `json:"due,omitzero"`        // for a limit: the last day
	Registers []string      `json:"registers,omitempty"` // names of the registers it looked at, as they were at the record's registers.at
	Assumed   bool          `json:"assumed,omitempty"`
	Failed    bool          `json:"failed,omitempty"` // the rule could not be judged: a mistake in the rule, not in the act
	Of        string        `json:"of,omitempty"`     // id of the act that it is about, where that is not the act which it was recorded with
	Lifts     string        `json:"lifts,omitempty"`  // id of the event whose finding of the rule, on the same act, does not hold any more: this one takes it back and finds nothing
	Demands   string        `json:"-"`                // what the command must give before the act is recorded at all, e.g. late_reason
}

// A Deadline is a limit that has begun to run in a case.
type Deadline struct {
	Rule     string        `json:"rule"`
	Says     Text          `json:"says"`
	Basis    string        `json:"basis"`
	Severity Severity      `json:"severity"`
	Act      string        `json:"act"`              // the act that must be done in time
	Start    string        `json:"start"`            // id of the event that started it
	Due      calendar.Due  `json:"due"`              // with its explanation
	Warn     calendar.Date `json:"warn"`             // from this day on the board shows yellow
	Done     string        `json:"done,omitempty"`   // id of the event that ended it
	DoneOn   calendar.Date `json:"done_on,omitzero"` // the day that counts for it
	Late     bool          `json:"late"`             // done after the due date
	Paused   bool          `json:"paused"`           // a pause is open: the due date will move
	ToNote   bool          `json:"-"`                // should it pass, nobody has noted that yet
}

// A Problem is one thing wrong with an act as it was handed in: malformed, not unlawful.
type Problem struct {
	Field  string `json:"field"`          // path, e.g. fields.proposed[0].amount
	Rule   string `json:"rule,omitempty"` // the rule that asks for it, if one does
	Detail Text   `json:"detail"`
}

// A NextAct is an act of the procedure seen from where a case stands.
type NextAct struct {
	Act     string    `json:"act"`
	Name    Text      `json:"name"`
	By      []string  `json:"by"`               // roles that may record it
	Allowed bool      `json:"allowed"`          // nothing known now stands against it
	Why     []Finding `json:"why,omitempty"`    // what stands against it, with what would cure it
	Starts  []Text    `json:"starts,omitempty"` // limits that it would start
}
