// Package sample makes synthetic data to look at. Nothing of it is real, and
// every record says so.
//
// Office is a small office: a few officers with certificates and two dozen cases
// in all stages, some with findings. Its days are counted back from the day on
// which it is filled in, so that the deadline board always has something that is
// due. Year is a whole bureau in a year that is over: every number of its annual
// report can be counted from the acts.
package sample

import (
	"bytes"
	_ "embed"
	"fmt"
	"slices"
	"time"

	"github.com/goccy/go-yaml"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// Source marks every record of the sample as imported from here, so that it is
// never shown as recorded when it happened.
const Source = "样例（虚构数据）"

//go:embed office.yaml
var text []byte

// An Office is the sample as it stands in office.yaml.
type Office struct {
	Agency  string           `yaml:"agency"`
	People  []Person         `yaml:"people"`
	Stories map[string]Story `yaml:"stories"`
	Cases   []Case           `yaml:"cases"`
}

// A Person works in the office.
type Person struct {
	ID          string `yaml:"id"`
	Name        string `yaml:"name"`
	Role        string `yaml:"role"`        // a role of package identity
	Certificate string `yaml:"certificate"` // empty: none
	Years       int    `yaml:"years"`       // how long the certificate is valid, from three years ago
}

// A Story is how a case of its sort runs from beginning to end.
type Story struct {
	Procedure string `yaml:"procedure"`
	After     string `yaml:"after"` // the story that this one goes on from, of the same procedure
	Acts      []Act  `yaml:"acts"`
}

// An Act is one act of a story.
type Act struct {
	Act      string         `yaml:"act"`
	Day      int            `yaml:"day"`  // working days after the case began
	Hour     string         `yaml:"hour"` // 09:30
	Place    string         `yaml:"place"`
	Officers []string       `yaml:"officers"` // empty: those of the case, where the act needs any
	Without  []string       `yaml:"without"`  // required documents that are missing
	With     []string       `yaml:"with"`     // documents that are there though none asks for them
	Fields   map[string]any `yaml:"fields"`

	LateReason string `yaml:"late_reason"`
	Corrects   bool   `yaml:"corrects"` // puts the last one of the same act right
	Reason     string `yaml:"reason"`   // why
}

// A Case is a story that has come so far, with what is different in it.
type Case struct {
	ID       string         `yaml:"case"`
	Story    string         `yaml:"story"`
	Began    int            `yaml:"began"`    // working days ago
	Until    string         `yaml:"until"`    // the last act so far; empty: all of them
	Officers []string       `yaml:"officers"` // ids
	Party    map[string]any `yaml:"party"`
	Fields   map[string]any `yaml:"fields"` // values of $names in the story
	Skip     []string       `yaml:"skip"`   // acts that were left out
	Late     map[string]int `yaml:"late"`   // act → working days later than in the story
	Set      map[string]Act `yaml:"set"`    // act → what is different in it

	on    calendar.Date // the day on which it began
	shift time.Duration // so much later on each day than in the story
}

// Read returns the office. A mistake in its text is a bug of ours.
func Read() (Office, error) {
	var o Office
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&o); err != nil {
		return Office{}, fmt.Errorf("office.yaml: %w", err)
	}
	return o, nil
}

// Commands makes the acts of the office, in the order in which they happened
// in each case; all lie before now.
func (o Office) Commands(book *rulebook.Book, now time.Time) ([]domain.Command, error) {
	t := teller{
		book: book, agency: o.Agency, batch: "sample", stories: o.Stories,
		officer: func(id string) (rulebook.Officer, error) { return o.officer(id, now) },
		actor:   o.actor,
	}
	var all []domain.Command
	for _, c := range o.Cases {
		c.on = back(book.Calendar(), calendar.DateOf(now), c.Began)
		told, err := t.tell(c)
		if err != nil {
			return nil, fmt.Errorf("office.yaml: case %s: %w", c.ID, err)
		}
		for i, e := range told {
			if !e.At.Before(now) {
				return nil, fmt.Errorf("office.yaml: case %s: %s lies in the future: %s", c.ID, e.Act, e.At)
			}
			if i > 0 {
				e.Agency, e.Procedure = "", "" // of the case that is there
			}
			e.ID = fmt.Sprintf("sample-%s-%d", c.ID, i+1)
			e.Import.Row = int64(len(all) + 1)
			all = append(all, e.Command)
		}
	}
	return all, nil
}

// officer is who acted, with the certificate as it was.
func (o Office) officer(id string, now time.Time) (rulebook.Officer, error) {
	for _, p := range o.People {
		if p.ID == id {
			from, to := p.validity(now)
			return rulebook.Officer{ID: p.ID, Name: p.Name, Certificate: p.Certificate, ValidFrom: from, ValidTo: to}, nil
		}
	}
	return rulebook.Officer{}, fmt.Errorf("there is no person %q", id)
}

// validity is from when to when the person's certificate is valid; zero where
// there is none.
func (p Person) validity(now time.Time) (from, to calendar.Date) {
	if p.Certificate == "" {
		return from, to
	}
	from = calendar.MakeDate(calendar.DateOf(now).Year()-3, 1, 1)
	return from, from.AddMonths(12 * p.Years).AddDays(-1)
}

// Roster is the office's roster of officers, as domain.ParseRoster reads it.
func (o Office) Roster(now time.Time) ([]byte, error) {
	type certificate struct {
		Number string        `yaml:"number"`
		From   calendar.Date `yaml:"from"`
		To     calendar.Date `yaml:"to"`
	}
	type officer struct {
		ID           string        `yaml:"id"`
		Name         string        `yaml:"name"`
		Certificates []certificate `yaml:"certificates,omitempty"`
	}
	var officers []officer
	for _, p := range o.People {
		one := officer{ID: p.ID, Name: p.Name}
		if from, to := p.validity(now); p.Certificate != "" {
			one.Certificates = []certificate{{Number: p.Certificate, From: from, To: to}}
		}
		officers = append(officers, one)
	}
	text, err := yaml.Marshal(map[string]any{"officers": officers})
	if err != nil {
		return nil, err
	}
	return append([]byte("# The synthetic office: nobody here is real. Edit or replace it at will.\n"), text...), nil
}

// actor is who recorded the act: somebody whose role may.
func (o Office) actor(act *rulebook.Act, officers []string) domain.Actor {
	for _, p := range o.People {
		suits := slices.Contains(act.By, p.Role) || p.Role == "officer" && slices.ContainsFunc(act.By, func(by string) bool {
			return by == "handler" || by == "clerk" || by == "presider" || by == "any"
		})
		if suits && (p.Role != "officer" || len(officers) == 0 || p.ID == officers[0]) {
			return domain.Actor{ID: p.ID, Name: p.Name, Roles: []string{"*"}}
		}
	}
	return domain.Actor{ID: o.People[0].ID, Name: o.People[0].Name, Roles: []string{"*"}}
}
