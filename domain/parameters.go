package domain

import (
	"maps"

	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// ParametersProcedure is the procedure in which an agency sets a value for
// itself: proposed, reviewed, approved by a second person, put in force
// (domain/law/agency-parameters.yaml).
const ParametersProcedure = "agency-parameters"

// Parameters are the values that agencies have put in force, as the log has
// them at a position. It is a value: With makes the next one.
type Parameters struct {
	folded
	values map[CaseID]parameterFile
	agency map[string][]parameterFile // with a value in force at some time
}

type parameterFile struct {
	agency string
	opened uint64
	values []parameterValue // in the order in which they were put in force
}

type parameterValue struct {
	interval
	name  string
	value any // int64, string or bool
}

// NewParameters returns the parameters of an empty log.
func NewParameters() *Parameters {
	return &Parameters{folded: folded{procedure: ParametersProcedure}}
}

// With returns the parameters after further records; see Register.With.
func (ps *Parameters) With(records ...Recorded) (*Parameters, error) {
	next := *ps
	var changed []CaseID
	var err error
	if next.folded, changed, err = ps.with(records...); err != nil || len(changed) == 0 {
		return &next, err
	}
	if next.values = maps.Clone(ps.values); next.values == nil {
		next.values = make(map[CaseID]parameterFile)
	}
	for _, id := range changed {
		next.values[id] = readParameter(next.files[id])
	}
	next.agency = make(map[string][]parameterFile)
	for _, f := range next.values {
		if len(f.values) > 0 {
			next.agency[f.agency] = append(next.agency[f.agency], f)
		}
	}
	return &next, nil
}

// UpTo returns the parameters at a later position, up to which no record was of
// their procedure.
func (ps *Parameters) UpTo(position uint64) *Parameters {
	next := *ps
	next.folded = ps.upTo(position)
	return &next
}

// At is the position of the last record that was taken in.
func (ps *Parameters) At() uint64 { return ps.at }

// On returns the values that an agency has in force on a day, by name: of two
// for the same parameter the one whose case was opened last.
func (ps *Parameters) On(agency string, on calendar.Date) map[string]any {
	if ps == nil {
		return nil
	}
	var values map[string]any
	opened := make(map[string]uint64)
	for _, f := range ps.agency[agency] {
		for _, v := range f.values { // of one case, the one put in force last
			if on.Before(v.from) || !v.to.IsZero() && on.After(v.to) || f.opened < opened[v.name] {
				continue
			}
			if values == nil {
				values = make(map[string]any)
			}
			values[v.name], opened[v.name] = v.value, f.opened
		}
	}
	return values
}

// readParameter reads a case of the procedure. The names are those of
// domain/law/agency-parameters.yaml.
func readParameter(of *file) parameterFile {
	f := parameterFile{agency: of.agency, opened: of.opened}
	for _, s := range of.steps {
		day := func(field string) calendar.Date {
			text, _ := s.Fields[field].(string)
			d, _ := calendar.ParseDate(text) // zero where there is none
			return d
		}
		if refused(s.Findings) {
			continue
		}
		switch s.Act {
		case "put-in-force":
			name, _ := s.Fields["parameter"].(string)
			if value, ok := parameterOf(s); ok && name != "" {
				f.values = append(f.values, parameterValue{interval{day("valid_from"), day("valid_to")}, name, value})
			}
		case "repeal-value":
			until := day("valid_to")
			for i := range f.values {
				if v := &f.values[i]; v.to.IsZero() || v.to.After(until) {
					v.to = until
				}
			}
		}
	}
	return f
}

// parameterOf is the value that an act puts in force.
func parameterOf(s rulebook.Step) (any, bool) {
	value, _ := s.Fields["value"].(map[string]any)
	kind, _ := value["kind"].(string)
	v, ok := value[map[string]string{"money": "money", "integer": "whole", "limit": "limit", "text": "words", "boolean": "yes"}[kind]]
	return v, ok
}
