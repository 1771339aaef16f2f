package domain

import (
	"bytes"
	"fmt"

	"github.com/goccy/go-yaml"

	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// A RosterFile is the roster (执法人员名册) as an agency keeps it in a file:
//
//	officers:
//	  - id: zhang-san
//	    name: 张三
//	    certificates:
//	      - {number: "06010012023001", from: 2023-01-01, to: 2027-12-31, field: 科技, area: "2101"}
type RosterFile struct {
	byID map[string]rosterOfficer
}

type rosterOfficer struct {
	ID           string              `yaml:"id"`
	Name         string              `yaml:"name"`
	Certificates []rosterCertificate `yaml:"certificates"`
}

type rosterCertificate struct {
	Number string        `yaml:"number"`
	From   calendar.Date `yaml:"from"`
	To     calendar.Date `yaml:"to"` // the last valid day
	Field  string        `yaml:"field"`
	Area   string        `yaml:"area"`
}

// ParseRoster reads a roster. Its errors name the line.
func ParseRoster(data []byte) (*RosterFile, error) {
	var file struct {
		Officers []rosterOfficer `yaml:"officers"`
	}
	if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(&file); err != nil {
		return nil, fmt.Errorf("roster: %w", err)
	}
	r := &RosterFile{byID: make(map[string]rosterOfficer, len(file.Officers))}
	for i, o := range file.Officers {
		if o.ID == "" || o.Name == "" {
			return nil, fmt.Errorf("roster: officer %d (%s%s): an id and a name are needed", i+1, o.ID, o.Name)
		}
		if _, twice := r.byID[o.ID]; twice {
			return nil, fmt.Errorf("roster: officer %s stands there twice", o.ID)
		}
		for _, c := range o.Certificates {
			if c.Number == "" || c.From.IsZero() || c.To.IsZero() || c.To.Before(c.From) {
				return nil, fmt.Errorf("roster: officer %s, certificate %q: a number, a from and a later to are needed", o.ID, c.Number)
			}
		}
		r.byID[o.ID] = o
	}
	return r, nil
}

// Officer returns the officer with the certificate that was valid on a day;
// where none was, with the one that had expired last, or begins next.
func (r *RosterFile) Officer(_, id string, on calendar.Date) (rulebook.Officer, bool) {
	o, ok := r.byID[id]
	if !ok {
		return rulebook.Officer{}, false
	}
	return o.on(on), true
}

// on is the officer with the certificate of a day.
func (o rosterOfficer) on(on calendar.Date) rulebook.Officer {
	officer := rulebook.Officer{ID: o.ID, Name: o.Name}
	for _, c := range o.Certificates {
		valid := !on.Before(c.From) && !on.After(c.To)
		better := officer.Certificate == "" || c.To.After(officer.ValidTo) && !c.From.After(on)
		if !valid && !better {
			continue
		}
		officer.Certificate, officer.ValidFrom, officer.ValidTo = c.Number, c.From, c.To
		officer.Field, officer.Area = c.Field, c.Area
		if valid {
			break
		}
	}
	return officer
}

// Knows is true: who is not in a file is not an officer.
func (r *RosterFile) Knows(string) bool { return true }

// At is 0: a file is at no position of the log.
func (r *RosterFile) At() uint64 { return 0 }

// Len is the number of officers.
func (r *RosterFile) Len() int { return len(r.byID) }
