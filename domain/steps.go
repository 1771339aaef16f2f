package domain

import (
	"cmp"
	"iter"
	"maps"
	"slices"

	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// A ReplayStep is what one record did to its case, and what rules said of it.
type ReplayStep struct {
	Maker
	Late     string             `json:"late_reason,omitempty"` // why it was recorded late
	Stage    string             `json:"stage,omitempty"`       // that the case stands in after it
	Closed   bool               `json:"closed,omitempty"`      // likewise
	Changes  []StateChange      `json:"changes"`               // in the State, but for revision and head; all of them are By this record, or Passed
	Findings []rulebook.Finding `json:"findings"`
}

// Steps goes through a case record by record. records are all that it has, in
// their order; each state is seen at the time at which its record was made, with
// days counted by the calendar of that position (calendars nil: the book's own).
// What it yields is what Changes tells of the two moments before and after each
// record; it costs no more than one fold and the limits at each step.
func Steps(law Law, records []Recorded, calendars func(agency string, position uint64) (*calendar.Calendar, error)) iter.Seq2[ReplayStep, error] {
	return func(yield func(ReplayStep, error) bool) {
		s := stepping{acts: actsOf(records), stands: map[string]*Recorded{}, found: map[string][]StateFinding{}, byKey: map[string]StateFinding{}}
		for i := range records {
			step, err := s.next(law, &records[i], calendars)
			if !yield(step, err) || err != nil {
				return
			}
		}
	}
}

// A stepping is what Steps knows of the case before the next record.
type stepping struct {
	acts   corrections
	c      *Case
	limits []rulebook.Deadline // as they are now
	clocks map[string]StateDeadline
	cal    *calendar.Calendar        // that they were counted by
	stands map[string]*Recorded      // by the first event of an act
	found  map[string][]StateFinding // by the event that they are about
	byKey  map[string]StateFinding
}

func (s *stepping) next(law Law, r *Recorded, calendars func(string, uint64) (*calendar.Calendar, error)) (ReplayStep, error) {
	var cal *calendar.Calendar
	if calendars != nil {
		var err error
		if cal, err = calendars(r.Agency(), r.Position); err != nil {
			return ReplayStep{}, err
		}
	}
	was := s.c
	c, err := Evolve(law, s.c, *r)
	if err != nil {
		return ReplayStep{}, err
	}
	s.c = c
	p := c.Procedure
	step := ReplayStep{Maker: *makerOf(r), Late: r.Data.LateReason, Stage: c.Stage(), Closed: c.Closed, Changes: []StateChange{}, Findings: append([]rulebook.Finding{}, r.Data.Findings...)}

	before, after := leaves{}, leaves{}
	first := s.acts.first[r.ID]
	under := "/acts/" + pointerEscape.Replace(first)
	if earlier := s.stands[first]; earlier != nil {
		before.add(under, stateAct(earlier))
	}
	after.add(under, stateAct(r))
	s.stands[first] = r
	if was == nil { // the case came to be
		after.add("/case", c.ID)
		after.add("/agency", c.Agency)
		after.add("/procedure", p.Name)
		after.add("/edition", p.Edition)
		before.add("/case", "")
		before.add("/agency", "")
		before.add("/procedure", "")
		before.add("/edition", calendar.Date{})
		was = &Case{History: p.NewHistory("", "")}
	}
	before.add("/stage", was.Stage())
	after.add("/stage", c.Stage())
	before.add("/closed", was.Closed)
	after.add("/closed", c.Closed)
	if !was.Opened().IsZero() {
		before.add("/opened", was.Opened())
	}
	after.add("/opened", c.Opened())

	s.findings(r, before, after)
	if s.clocks == nil || cal != s.cal || movesLimits(p, r) || was.Procedure != p {
		s.limits = p.Deadlines(c.History, cal)
	}
	now := clocksAt(s.limits, r.Recorded)
	prior := s.clocks
	if cal != s.cal && s.clocks != nil {
		prior = clocks(was, cal, r.Recorded) // what only the calendar moves, the record did not
	}
	s.moved(now, before, after)
	for _, path := range differing(before, after) {
		change := StateChange{Path: path, Before: before[path], After: after[path]}
		s.explain(&change, r, prior, now)
		step.Changes = append(step.Changes, change)
	}
	s.clocks, s.cal = now, cal
	return step, nil
}

// explain says whether a record made a change, and by which rule or article.
// prior is how the limits stood before it, by the calendar that they stand by now.
func (s *stepping) explain(change *StateChange, r *Recorded, prior, now map[string]StateDeadline) {
	switch section, id, rest := partsOf(change.Path); section {
	case "deadlines":
		was, had := s.clocks[id]
		is, has := now[id]
		change.Rule, change.Basis = cmp.Or(is.Rule, was.Rule), cmp.Or(is.Basis, was.Basis)
		earlier, ran := prior[id]
		change.Passed = ran && has && is.passed(earlier) || had && has && rest == "state" && is.passed(was)
	case "findings":
		f := s.byKey[id]
		change.Rule, change.Basis = f.Rule, f.Basis
	}
	if change.Basis == "" && !change.Passed {
		change.Basis = BasisOf(s.c.Procedure, r.Act())
	}
}

// findings adds those of a record, and those that stand no more by it.
func (s *stepping) findings(r *Recorded, before, after leaves) {
	if gone := s.found[r.Data.Corrects]; r.Data.Corrects != "" {
		for i := range gone {
			under := "/findings/" + pointerEscape.Replace(gone[i].key()) + "/stands"
			before.add(under, gone[i].Stands)
			gone[i].Stands = false
			after.add(under, false)
		}
	}
	for n, f := range r.Data.Findings {
		one := StateFinding{Event: r.ID, Number: n, Act: r.Act(), Stands: true, Finding: f}
		about := cmp.Or(f.Of, r.ID)
		after.add("/findings/"+pointerEscape.Replace(one.key()), one)
		s.found[about] = append(s.found[about], one)
		s.byKey[one.key()] = one
	}
}

// moved adds the limits that stand otherwise than before.
func (s *stepping) moved(now map[string]StateDeadline, before, after leaves) {
	for _, key := range slices.Sorted(maps.Keys(now)) {
		is := now[key]
		was, there := s.clocks[key]
		if there && is == was {
			continue
		}
		under := "/deadlines/" + pointerEscape.Replace(key)
		after.add(under, is)
		if there {
			before.add(under, was)
		}
	}
	for key, was := range s.clocks {
		if _, there := now[key]; !there {
			before.add("/deadlines/"+pointerEscape.Replace(key), was)
		}
	}
}
