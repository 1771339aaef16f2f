package domain

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// A Trial holds recorded cases against a draft of the law and counts what would
// be otherwise. Then is what was: the findings that stand in the records,
// whatever law gave them, and the limits that run by the present book (limits
// are not recorded, they follow from the acts). Now is what the draft makes of
// the same acts: each judged by the edition that its case goes by, on what was
// recorded before it, with the officers' certificates and the values of the
// agency as they were frozen into it, and with registers of other cases as they
// were read for it. Acts that note findings on earlier ones are left out: what
// they would note is not what they noted then.
//
// A Trial records nothing and keeps no case: what it needs grows with the
// number of rules.
type Trial struct {
	present, draft Law
	calendars      Then // of which only the calendar is asked
	report         TrialReport
	rules          map[trialKey]*TrialRule
	unjudged       map[edition]int
}

type trialKey struct{ procedure, rule string }

type edition struct {
	procedure string
	of        calendar.Date
}

// NewTrial returns a trial that has seen no case yet. calendars are those of
// agencies at positions of the log, as CalendarAt has them; nil: the book's own.
func NewTrial(present, draft Law, calendars func(agency string, position uint64) (*calendar.Calendar, error)) *Trial {
	return &Trial{present: present, draft: draft, calendars: Then{Calendar: calendars}, rules: map[trialKey]*TrialRule{}, unjudged: map[edition]int{}}
}

// A TrialReport is what came of a trial.
type TrialReport struct {
	Cases    int         `json:"cases"`         // that were judged
	Acts     int         `json:"acts"`          // that were judged
	Changed  int         `json:"changed_acts"`  // acts with other findings
	Affected int         `json:"changed_cases"` // cases with other findings or limits
	Rules    []TrialRule `json:"rules"`         // those that say something else, by procedure and id
	Unjudged []Unjudged  `json:"unjudged"`      // cases that the draft has no law for
}

// A TrialRule is what would be otherwise by one rule of one procedure.
//
// An act would be refused where it has a legal effect, was not carried out
// outside the system, and the draft has a finding that refuses it while nothing
// in its record does. Imported acts count too, as if they had been recorded in
// the ordinary way; an import itself is never refused.
type TrialRule struct {
	Procedure string        `json:"procedure"`
	Rule      string        `json:"rule"`
	Says      rulebook.Text `json:"says"` // by the draft, or, where it does not have the rule, as it was

	Further Tally `json:"further"` // acts that would have a finding of it, or one more
	Gone    Tally `json:"gone"`    // acts that would have one less
	Altered Tally `json:"altered"` // acts whose finding would have another severity, verdict or last day
	Refused Tally `json:"refused"` // acts that nothing refused and that it would refuse

	Started Tally `json:"started"` // limits that would run and do not
	Dropped Tally `json:"dropped"` // limits that run and would not
	Moved   Tally `json:"moved"`   // limits that would run to another day
}

// A Tally counts acts or limits.
type Tally struct {
	Count    int            `json:"count"`
	Cases    int            `json:"cases"`
	Already  int            `json:"already"` // of these: by the present law, too, so that they do not come from the draft
	Examples []TrialExample `json:"examples,omitempty"`

	last CaseID // the case counted last
}

// A TrialExample is one act, or one limit by the act that started it.
type TrialExample struct {
	Case  CaseID `json:"case"`
	Event string `json:"event"`
	Act   string `json:"act"`
	Was   string `json:"was,omitempty"`      // as it is: severity, verdict and last day of a finding; the last day of a limit
	Would string `json:"would_be,omitempty"` // as it would be
}

// Unjudged is cases of a procedure in an edition that the draft does not have.
type Unjudged struct {
	Procedure string        `json:"procedure"`
	Edition   calendar.Date `json:"edition"`
	Cases     int           `json:"cases"`
}

// examplesKept is how many examples of each kind a report has.
const examplesKept = 5

func (t *Tally) add(already bool, e TrialExample) {
	t.Count++
	if t.Cases == 0 || t.last != e.Case {
		t.Cases++
	}
	t.last = e.Case
	if already {
		t.Already++
	}
	if len(t.Examples) < examplesKept {
		t.Examples = append(t.Examples, e)
	}
}

// Asks is what registers of other cases have to be asked for to try a case, as
// far as that can be told by what is known: ask until there is nothing left.
func (t *Trial) Asks(records []Recorded, known FactsThen) ([]Asked, error) {
	if len(records) == 0 {
		return nil, nil
	}
	if judges, err := t.judges(records); err != nil || !judges {
		return nil, err
	}
	then, err := asks(t.present, t.calendars, records, known)
	if err != nil {
		return nil, err
	}
	now, err := asks(t.draft, t.calendars, records, known)
	return append(then, now...), err
}

// judges reports whether the draft has a law for a case.
func (t *Trial) judges(records []Recorded) (bool, error) {
	book, err := t.draft.Under(records[0].Data.Law)
	if err != nil {
		return false, err
	}
	_, ok := book.Edition(records[0].Procedure(), records[0].Edition)
	return ok, nil
}

// Case tries one case, given whole: all of its records in their order, with the
// answers to what Asks asked. It fails where the present book does not have the
// case's edition.
func (t *Trial) Case(records []Recorded, facts FactsThen) error {
	if len(records) == 0 {
		return nil
	}
	first := &records[0]
	then, err := Rejudge(t.present, t.calendars, first)
	if err != nil {
		return err
	}
	judges, err := t.judges(records)
	if err != nil {
		return err
	}
	if !judges {
		t.unjudged[edition{first.Procedure(), first.Edition}]++
		return nil
	}
	now, err := Rejudge(t.draft, t.calendars, first)
	if err != nil {
		return err
	}
	t.report.Cases++
	affected := false
	for i := range records {
		r := &records[i]
		if err := errors.Join(then.under(r.Data.Law), now.under(r.Data.Law)); err != nil {
			return fmt.Errorf("try case %s, position %d: %w", r.Subject, r.Position, err)
		}
		if !then.notes(r) && !now.notes(r) {
			changed, err := t.act(then, now, r, facts)
			if err != nil {
				return fmt.Errorf("try case %s, position %d: %w", r.Subject, r.Position, err)
			}
			affected = affected || changed
		}
		then.take(r)
		now.take(r)
	}
	changed, err := t.limits(then, now, records)
	if err != nil {
		return fmt.Errorf("try case %s: %w", first.Subject, err)
	}
	if affected || changed {
		t.report.Affected++
	}
	return nil
}

// act compares the findings of one act. By the present law it is judged only
// where that can matter.
func (t *Trial) act(then, now *Rejudging, r *Recorded, facts FactsThen) (changed bool, err error) {
	t.report.Acts++
	recorded := r.Data.Findings
	found, _, err := now.judge(r, nil, facts)
	if err != nil || len(recorded)+len(found) == 0 {
		return false, err
	}
	var present []rulebook.Finding
	for _, rule := range rulesOf(recorded, found) {
		was, would := outlines(recorded, rule), outlines(found, rule)
		if was == would {
			continue
		}
		if !changed {
			changed = true
			if present, _, err = then.judge(r, nil, facts); err != nil {
				return true, err
			}
		}
		row := t.rule(r.Procedure(), rule, slices.Concat(found, recorded))
		tally := &row.Altered
		switch n, m := count(recorded, rule), count(found, rule); {
		case m > n:
			tally = &row.Further
		case m < n:
			tally = &row.Gone
		}
		tally.add(outlines(present, rule) == would, TrialExample{Case: r.Subject, Event: r.ID, Act: r.Act(), Was: was, Would: would})
	}
	if changed {
		t.report.Changed++
		t.refusal(then, now, r, found, present)
	}
	return changed, nil
}

// refusal notes an act that the draft would refuse.
func (t *Trial) refusal(then, now *Rejudging, r *Recorded, found, present []rulebook.Finding) {
	if refusing(then.procedure, r, r.Data.Findings) >= 0 {
		return
	}
	if i := refusing(now.procedure, r, found); i >= 0 {
		already := refusing(then.procedure, r, present) >= 0
		row := t.rule(r.Procedure(), found[i].Rule, found)
		row.Refused.add(already, TrialExample{Case: r.Subject, Event: r.ID, Act: r.Act(), Would: outline(found[i])})
	}
}

// refusing is the index of the gravest finding that refuses an act, -1 for none.
func refusing(p *rulebook.Procedure, r *Recorded, findings []rulebook.Finding) int {
	act, known := p.Act(r.Act())
	return slices.IndexFunc(findings, func(f rulebook.Finding) bool {
		return refuses(f, known && act.Effect && !r.Data.AlreadyDone)
	})
}

// limits compares the limits that run in a case after its last record, by the
// calendar that its agency has now.
func (t *Trial) limits(then, now *Rejudging, records []Recorded) (changed bool, err error) {
	if err := errors.Join(then.under(then.last), now.under(now.last)); err != nil {
		return false, err
	}
	var cal *calendar.Calendar
	if t.calendars.Calendar != nil {
		if cal, err = t.calendars.Calendar(records[0].Agency(), math.MaxInt64); err != nil {
			return false, err
		}
	}
	type key struct{ rule, start string }
	running := func(j *Rejudging) ([]rulebook.Deadline, map[key]string) {
		all := slices.DeleteFunc(j.procedure.Deadlines(j.history, cal), func(d rulebook.Deadline) bool { return d.Done != "" })
		ends := make(map[key]string, len(all))
		for _, d := range all {
			ends[key{d.Rule, d.Start}] = lastDay(d)
		}
		return all, ends
	}
	nowRuns, would := running(now)
	thenRuns, was := running(then)
	for _, d := range slices.Concat(nowRuns, thenRuns) {
		k := key{d.Rule, d.Start}
		from, ran := was[k]
		to, runs := would[k]
		if from == to {
			continue
		}
		row := t.rule(records[0].Procedure(), d.Rule, nil)
		if row.Says == (rulebook.Text{}) {
			row.Says = d.Says
		}
		tally := &row.Moved
		switch {
		case !ran:
			tally = &row.Started
		case !runs:
			tally = &row.Dropped
		}
		start := slices.IndexFunc(records, func(r Recorded) bool { return r.ID == d.Start })
		tally.add(false, TrialExample{Case: records[0].Subject, Event: d.Start, Act: records[start].Act(), Was: from, Would: to})
		was[k] = to // it is counted once
		if !runs {
			delete(was, k)
		}
		changed = true
	}
	return changed, nil
}

// lastDay is when a limit runs out: a day, or a moment where it counts hours.
func lastDay(d rulebook.Deadline) string {
	if !d.Due.At.IsZero() {
		return d.Due.At.In(calendar.Shanghai).Format("2006-01-02 15:04")
	}
	return d.Due.On.String()
}

// rule is the row of a rule, with its sentence from the first finding that has one.
func (t *Trial) rule(procedure, id string, findings []rulebook.Finding) *TrialRule {
	k := trialKey{procedure, id}
	row := t.rules[k]
	if row == nil {
		row = &TrialRule{Procedure: procedure, Rule: id}
		t.rules[k] = row
	}
	for i := range findings {
		if row.Says == (rulebook.Text{}) && findings[i].Rule == id {
			row.Says = findings[i].Says
		}
	}
	return row
}

// rulesOf are the rules that have a finding, each once.
func rulesOf(lists ...[]rulebook.Finding) []string {
	var ids []string
	for _, list := range lists {
		for i := range list {
			if !slices.Contains(ids, list[i].Rule) {
				ids = append(ids, list[i].Rule)
			}
		}
	}
	return ids
}

func count(findings []rulebook.Finding, rule string) int {
	n := 0
	for i := range findings {
		if findings[i].Rule == rule {
			n++
		}
	}
	return n
}

// outlines is what a rule says of an act, without the words: in these two
// judgements are compared. The words may differ where nothing else does, as
// after a law was worded anew.
func outlines(findings []rulebook.Finding, rule string) string {
	var parts []string
	for i := range findings {
		if findings[i].Rule == rule {
			parts = append(parts, outline(findings[i]))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, "; ")
}

func outline(f rulebook.Finding) string {
	s := string(f.Severity) + " " + string(f.Verdict)
	if !f.Due.IsZero() {
		s += " " + f.Due.String()
	}
	if f.Failed {
		s += " failed"
	}
	return s
}

// Report is what came of the cases so far.
func (t *Trial) Report() TrialReport {
	r := t.report
	r.Rules, r.Unjudged = []TrialRule{}, []Unjudged{}
	for _, row := range t.rules {
		r.Rules = append(r.Rules, *row)
	}
	slices.SortFunc(r.Rules, func(a, b TrialRule) int {
		return cmp.Or(strings.Compare(a.Procedure, b.Procedure), strings.Compare(a.Rule, b.Rule))
	})
	for e, n := range t.unjudged {
		r.Unjudged = append(r.Unjudged, Unjudged{Procedure: e.procedure, Edition: e.of, Cases: n})
	}
	slices.SortFunc(r.Unjudged, func(a, b Unjudged) int {
		return cmp.Or(strings.Compare(a.Procedure, b.Procedure), a.Edition.Compare(b.Edition))
	})
	return r
}
