package domain

import (
	"fmt"
	"slices"
	"time"

	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// An Inspection judges the acts of a period anew and tells where that does not
// give what stands in the record, and why.
//
// Each act is judged first as it was then: by the edition that its record names,
// on what was recorded before it, with registers as they were when it was recorded
// (JudgeAgain). That must give the recorded findings to the letter; where it does
// not and no change of the law's text shows, it is an alarm. Then it is judged by
// what registers hold now, and, where that was asked for, by today's edition of the
// procedure: what differs there is no fault of the record, and is told with its
// cause.
//
// An Inspection records nothing and keeps no case: it needs memory for its counts.
type Inspection struct {
	law    Law
	book   *rulebook.Book // without files that agencies have put in force
	then   Then
	today  Today
	scope  InspectionScope
	report InspectionReport
}

// An InspectionScope says which acts are inspected, and by what.
type InspectionScope struct {
	After, Through uint64 // the acts recorded after one position and up to another
	All            bool   // every act, not only those with a legal effect
	TodaysLaw      bool   // judged by today's edition, too
	Today          calendar.Date
}

// An InspectionCause says why an act is judged otherwise than its record says.
type InspectionCause string

// The causes.
const (
	CauseAlarm       InspectionCause = "alarm"        // nothing else differs: the record, the registers or the law's text are not what they were
	CauseLawChanged  InspectionCause = "law-changed"  // the text of the rule is not the one that was applied
	CauseEditionGone InspectionCause = "edition-gone" // the law files do not have the edition any more
	CauseRegisters   InspectionCause = "registers"    // registers, values or holidays were changed since
	CauseTodaysLaw   InspectionCause = "todays-law"   // today's edition says otherwise
)

var inspectionCauses = map[InspectionCause]rulebook.Text{
	CauseAlarm: {
		ZH: "依记录所载版本、按当时的登记册重新判断，结果与记录不同，而未见规则文本有变化：记录、登记册或者规则文件可能被改动，须查明",
		EN: "judged anew by the edition in the record and the registers of then it comes out otherwise, though no change of the rule's text shows: the record, the registers or the law files may have been altered; find out which",
	},
	CauseLawChanged: {
		ZH: "规则的文本与判断时所用的不同",
		EN: "the text of the rule is not the one that was applied",
	},
	CauseEditionGone: {
		ZH: "规则文件中已没有该案适用的版本，无法重新判断",
		EN: "the law files do not have the edition of the case any more, so that it cannot be judged again",
	},
	CauseRegisters: {
		ZH: "登记册（人员证件、其他案件的登记、机关设定的数值、放假安排）在记录之后有变化",
		EN: "registers were changed since: certificates, entries of other cases, values of the agency or notices on holidays",
	},
	CauseTodaysLaw: {
		ZH: "按今日有效的版本判断有所不同；当时依当时的版本，并无差错",
		EN: "today's edition says otherwise; by the edition of then the record is as it should be",
	},
}

// An Inspected is an act that is judged otherwise than its record says.
type Inspected struct {
	Cause      InspectionCause    `json:"cause"`
	Alarm      bool               `json:"alarm,omitempty"`
	Because    rulebook.Text      `json:"because"` // the cause in a sentence
	Case       CaseID             `json:"case"`
	Agency     string             `json:"agency"`
	Procedure  string             `json:"procedure"`
	Edition    calendar.Date      `json:"edition"` // that the record names
	Event      string             `json:"event"`
	Position   uint64             `json:"position"`
	Revision   int                `json:"revision"`
	Act        string             `json:"act"`
	ActName    rulebook.Text      `json:"act_name"`
	OccurredAt time.Time          `json:"occurred_at"`
	RecordedAt time.Time          `json:"recorded_at"`
	Actor      string             `json:"actor"`
	ActorName  string             `json:"actor_name,omitempty"`
	Rules      []string           `json:"rules"`              // that say otherwise
	Recorded   []rulebook.Finding `json:"recorded"`           // the findings that stand in the record
	Judged     []rulebook.Finding `json:"judged"`             // those that it has when it is judged anew
	JudgedBy   calendar.Date      `json:"judged_by,omitzero"` // edition that it was judged by
	Officers   []rulebook.Officer `json:"officers,omitempty"` // as the register of then has them, where the record froze others
}

// An InspectionReport counts.
type InspectionReport struct {
	Cases       int                     `json:"cases"`       // with acts that were inspected
	Acts        int                     `json:"acts"`        // that were inspected
	Same        int                     `json:"same"`        // of them: judged anew as recorded, in every way that was asked for
	Alarms      int                     `json:"alarms"`      // differences of that cause
	Differences map[InspectionCause]int `json:"differences"` // by cause; an act can have several
	Unjudged    int                     `json:"unjudged"`    // acts that could not be judged as then, for want of a register
}

// NewInspection returns an inspection that has seen no case yet. then are the
// registers as they were, but for Facts, which Case is given; today those of now.
func NewInspection(law Law, then Then, today Today, scope InspectionScope) (*Inspection, error) {
	book, err := law.Under(nil)
	if err != nil {
		return nil, err
	}
	then.Facts = nil
	return &Inspection{
		law: law, book: book, then: then, today: today, scope: scope,
		report: InspectionReport{Differences: map[InspectionCause]int{}},
	}, nil
}

// Report is what came of it so far.
func (n *Inspection) Report() InspectionReport { return n.report }

// judges are the ways in which a case is judged anew: as then, with registers as
// they are now, and by today's law. Those that do not apply are nil.
type judges struct{ then, registers, law *Rejudging }

func (n *Inspection) judges(first *Recorded) (judges, bool, error) {
	if _, err := n.law.Under(first.Data.Law); err != nil {
		return judges{}, false, err
	}
	then, err := Rejudge(n.law, n.then, first)
	if err != nil {
		return judges{}, false, nil //nolint:nilerr // the edition is gone
	}
	j := judges{then: then, registers: RejudgeToday(then.procedure, n.today, first)}
	j.registers.law, j.registers.files = n.law, then.files // by the files of then, which the records name
	if n.scope.TodaysLaw {
		book, err := n.law.Under(n.today.Laws.On(first.Agency(), n.scope.Today))
		if err != nil {
			return judges{}, false, err
		}
		if p, ok := book.InForce(first.Procedure(), n.scope.Today); ok && p != then.procedure {
			j.law = RejudgeToday(p, n.today, first)
		}
	}
	return j, true, nil
}

func (j judges) all() []*Rejudging {
	return slices.DeleteFunc([]*Rejudging{j.then, j.registers, j.law}, func(r *Rejudging) bool { return r == nil })
}

// Asks is what registers have to be asked for to inspect a case, as far as that
// can be told by what is known: ask until there is nothing left. records are all
// records of the case up to the end of the period, in their order.
func (n *Inspection) Asks(records []Recorded, known FactsThen) ([]Asked, error) {
	if len(records) == 0 {
		return nil, nil
	}
	j, ok, err := n.judges(&records[0])
	if err != nil || !ok {
		return nil, err
	}
	var all []Asked
	for _, again := range j.all() {
		for i := range records {
			r := &records[i]
			if n.inspects(again.procedure, r) {
				more, err := again.Asks(r, known)
				if err != nil {
					return nil, err
				}
				all = append(all, more...)
			}
			again.take(r)
		}
	}
	return all, nil
}

// inspects reports whether an act is one that the inspection is about.
func (n *Inspection) inspects(p *rulebook.Procedure, r *Recorded) bool {
	if r.Position <= n.scope.After || r.Position > n.scope.Through {
		return false
	}
	if n.scope.All {
		return true
	}
	act, ok := p.Act(r.Act())
	return ok && act.Effect
}

// Case inspects one case, with the answers to what Asks asked, and returns what
// differs, in the order of the acts.
func (n *Inspection) Case(records []Recorded, facts FactsThen) ([]Inspected, error) {
	if len(records) == 0 {
		return nil, nil
	}
	var out []Inspected
	acts := n.report.Acts
	j, ok, err := n.judges(&records[0])
	if err != nil {
		return nil, fmt.Errorf("inspect case %s: %w", records[0].Subject, err)
	}
	if !ok {
		out = n.gone(records)
	} else {
		for i := range records {
			r := &records[i]
			if n.inspects(j.then.procedure, r) {
				found, err := n.act(j, r, facts)
				if err != nil {
					return nil, fmt.Errorf("inspect case %s, position %d: %w", r.Subject, r.Position, err)
				}
				out = append(out, found...)
			}
			for _, again := range j.all() {
				again.take(r)
			}
		}
	}
	if n.report.Acts > acts {
		n.report.Cases++
	}
	for i := range out {
		n.report.Differences[out[i].Cause]++
		if out[i].Alarm {
			n.report.Alarms++
		}
	}
	return out, nil
}

// gone tells of the acts of a case whose edition the book does not have. Which of
// them have an effect is asked of the newest edition that there is.
func (n *Inspection) gone(records []Recorded) []Inspected {
	p, _ := n.book.Procedure(records[0].Procedure())
	var out []Inspected
	for i := range records {
		r := &records[i]
		inside := r.Position > n.scope.After && r.Position <= n.scope.Through
		if p != nil && !n.inspects(p, r) || !inside {
			continue
		}
		n.report.Acts++
		out = append(out, inspected(CauseEditionGone, p, r, nil))
	}
	return out
}

// act inspects one act.
func (n *Inspection) act(j judges, r *Recorded, facts FactsThen) ([]Inspected, error) {
	n.report.Acts++
	var out []Inspected
	then, judged, err := j.then.whether(r, facts)
	if err != nil {
		return nil, err
	}
	if !judged {
		n.report.Unjudged++
	}
	if then != nil {
		d := inspected(causeOf(n.book, j.then.procedure, then), j.then.procedure, r, then.Judged)
		d.Officers = then.Officers
		out = append(out, d)
	}
	if j.registers.notes(r) {
		if judged && len(out) == 0 {
			n.report.Same++
		}
		return out, nil // what it would note today is another question
	}
	was := r.Data.Findings
	if then != nil {
		was = then.Judged // so that each difference is told by its own cause
	}
	for _, way := range []struct {
		again *Rejudging
		cause InspectionCause
	}{{j.registers, CauseRegisters}, {j.law, CauseTodaysLaw}} {
		if way.again == nil {
			continue
		}
		found, _, err := way.again.judge(r, nil, facts)
		if err != nil {
			return nil, err
		}
		if !SameJudgement(was, found) {
			d := inspected(way.cause, way.again.procedure, r, found)
			d.Recorded, d.Rules = was, differingRules(was, found)
			out = append(out, d)
		}
		was = found
	}
	if judged && len(out) == 0 {
		n.report.Same++
	}
	return out, nil
}

// whether judges a record as difference does, and says whether it could.
func (j *Rejudging) whether(r *Recorded, facts FactsThen) (*Difference, bool, error) {
	if j.notes(r) && r.Data.RosterAt > 0 && j.then.Roster == nil {
		return nil, false, nil
	}
	_, missing, err := j.known(r, facts)
	if err != nil || len(missing) > 0 {
		return nil, false, err
	}
	d, err := j.difference(r, facts)
	return d, true, err
}

func inspected(cause InspectionCause, p *rulebook.Procedure, r *Recorded, judged []rulebook.Finding) Inspected {
	d := Inspected{
		Cause: cause, Alarm: cause == CauseAlarm, Because: inspectionCauses[cause], Case: r.Subject, Agency: r.Agency(), Procedure: r.Procedure(), Edition: r.Edition,
		Event: r.ID, Position: r.Position, Revision: r.Revision, Act: r.Act(), ActName: rulebook.Text{ZH: r.Act(), EN: r.Act()},
		OccurredAt: r.Time.In(calendar.Shanghai), RecordedAt: r.Recorded.UTC(), Actor: r.Actor, ActorName: r.Data.ActorName,
		Rules: []string{}, Recorded: orNone(r.Data.Findings), Judged: orNone(judged),
	}
	if p == nil {
		return d
	}
	if act, ok := p.Act(r.Act()); ok {
		d.ActName = act.Title
	}
	if cause != CauseEditionGone {
		d.JudgedBy, d.Rules = p.Edition, differingRules(r.Data.Findings, judged)
	}
	return d
}

func orNone(findings []rulebook.Finding) []rulebook.Finding {
	if findings == nil {
		return []rulebook.Finding{}
	}
	return findings
}

// differingRules are the rules of which two judgements have not the same findings
// to the letter.
func differingRules(was, is []rulebook.Finding) []string {
	rules := []string{}
	for _, id := range rulesOf(was, is) {
		if !SameFindings(ofRule(was, id), ofRule(is, id)) {
			rules = append(rules, id)
		}
	}
	return rules
}

func ofRule(findings []rulebook.Finding, id string) []rulebook.Finding {
	return slices.DeleteFunc(slices.Clone(findings), func(f rulebook.Finding) bool { return f.Rule != id })
}

// SameJudgement reports whether two judgements of an act are the same but for their
// words.
func SameJudgement(was, is []rulebook.Finding) bool {
	return !slices.ContainsFunc(rulesOf(was, is), func(id string) bool { return outlines(was, id) != outlines(is, id) })
}

// causeOf tells a changed law from an alarm. What was applied then is known only
// by what the findings say of it: the sentence, the article, the severity and what
// would cure it. A rule that said nothing then and does now shows a change where it
// stands in an agency's own file, or goes by a value that such a file sets: these
// may be altered without an edition.
func causeOf(book *rulebook.Book, p *rulebook.Procedure, d *Difference) InspectionCause {
	if len(d.Officers) > 0 {
		return CauseAlarm // the register of then is made of records, too
	}
	for _, id := range differingRules(d.Recorded, d.Judged) {
		if !textChanged(book, p, id, ofRule(d.Recorded, id)) {
			return CauseAlarm
		}
	}
	return CauseLawChanged
}

// textChanged reports whether a rule shows that it is not the one that gave the
// recorded findings, or none.
func textChanged(book *rulebook.Book, p *rulebook.Procedure, id string, recorded []rulebook.Finding) bool {
	rule, ok := p.Rule(id)
	if !ok {
		return p.Says(id) == (rulebook.Text{}) // there is no such rule any more, and it is none of the engine's
	}
	set := slices.ContainsFunc(rule.Parameters, func(name string) bool {
		parameter, ok := book.Parameter(name)
		return ok && parameter.SetIn != ""
	})
	return set || rule.Own() && len(recorded) == 0 || slices.ContainsFunc(recorded, func(f rulebook.Finding) bool {
		return f.Says != rule.Says || f.Basis != rule.Basis || f.Severity != rule.Severity || f.Cure != rule.Cure
	})
}
