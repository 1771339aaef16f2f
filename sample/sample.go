// Package sample is a small synthetic office to look at: a few officers with
// certificates and two dozen cases in all stages, some with findings. Nothing
// of it is real, and every record says so. Its days are counted back from the
// day on which it is filled in, so that the deadline board always has
// something that is due.
package sample

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
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
	Fields   map[string]any `yaml:"fields"`
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
	var all []domain.Command
	for _, c := range o.Cases {
		commands, err := o.commandsOf(book, c, now)
		if err != nil {
			return nil, fmt.Errorf("office.yaml: case %s: %w", c.ID, err)
		}
		for i := range commands {
			commands[i].ID = fmt.Sprintf("sample-%s-%d", c.ID, i+1)
			commands[i].Import.Row = int64(len(all) + i + 1)
		}
		all = append(all, commands...)
	}
	return all, nil
}

func (o Office) commandsOf(book *rulebook.Book, c Case, now time.Time) ([]domain.Command, error) {
	story, ok := o.Stories[c.Story]
	if !ok {
		return nil, fmt.Errorf("there is no story %q", c.Story)
	}
	law, ok := book.Procedure(story.Procedure)
	if !ok {
		return nil, fmt.Errorf("there is no procedure %q", story.Procedure)
	}
	began := back(book.Calendar(), calendar.DateOf(now), c.Began)
	reached := c.Until == ""
	var commands []domain.Command
	for _, a := range story.Acts {
		if !slices.Contains(c.Skip, a.Act) {
			cmd, err := o.command(book.Calendar(), law, story, c, a, began, now)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", a.Act, err)
			}
			if !cmd.At.Before(now) {
				return nil, fmt.Errorf("%s lies in the future: %s", a.Act, cmd.At)
			}
			if len(commands) == 0 {
				cmd.Agency, cmd.Procedure = o.Agency, story.Procedure
			}
			commands = append(commands, cmd)
		}
		if a.Act == c.Until {
			reached = true
			break
		}
	}
	if !reached {
		return nil, fmt.Errorf("its story has no act %q to end with", c.Until)
	}
	return commands, nil
}

func (o Office) command(cal *calendar.Calendar, law *rulebook.Procedure, story Story, c Case, a Act, began calendar.Date, now time.Time) (domain.Command, error) {
	act, ok := law.Act(a.Act)
	if !ok {
		return domain.Command{}, fmt.Errorf("%s has no such act", law.Name)
	}
	differs := c.Set[a.Act]
	dayOf := func(a Act) calendar.Date { return forward(cal, began, a.Day+c.Late[a.Act]) }
	hour, err := time.Parse("15:04", a.Hour)
	if err != nil {
		return domain.Command{}, err
	}
	cmd := domain.Command{
		Case:   domain.CaseID(c.ID),
		Act:    a.Act,
		At:     dayOf(a).Start().Add(time.Duration(hour.Hour())*time.Hour + time.Duration(hour.Minute())*time.Minute),
		Place:  a.Place,
		Import: &domain.Import{Source: Source, Batch: "sample"},
	}
	officers := c.Officers
	if differs.Officers != nil {
		officers = differs.Officers
	}
	if act.Officers > 0 || differs.Officers != nil {
		for _, id := range officers {
			officer, err := o.officer(id, now)
			if err != nil {
				return domain.Command{}, err
			}
			cmd.Officers = append(cmd.Officers, officer)
		}
	}
	for _, d := range act.Documents {
		if d.Required && !slices.Contains(differs.Without, d.Kind) {
			content := fmt.Sprintf("样例文书，虚构：%s，%s", d.Kind, c.ID)
			cmd.Documents = append(cmd.Documents, rulebook.Reference{
				Kind: d.Kind, Title: "样例：" + d.Kind, Digest: domain.DigestOf([]byte(content)).String(),
				Size: int64(len(content)), MediaType: "text/plain",
			})
		}
	}
	cmd.Actor = o.actor(act, officers)
	f := filler{c: c, at: cmd.At, on: func(name string) (calendar.Date, bool) {
		i := slices.IndexFunc(story.Acts, func(a Act) bool { return a.Act == name })
		if i < 0 {
			return calendar.Date{}, false
		}
		return dayOf(story.Acts[i]), true
	}}
	cmd.Fields, err = f.fields(a.Fields, differs.Fields)
	return cmd, err
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

// A filler puts the values of one act of one case into the fields of a story:
// "$party" is the party of the case, "$handler" its first officer, "$day" the
// day of the act, "$day+14" fourteen days later, "$at" its time, "$at+50m" a
// while later, "$on:hold-hearing" the day of another act, and another "$name"
// stands in the case.
type filler struct {
	c  Case
	at time.Time
	on func(act string) (calendar.Date, bool)
}

func (f filler) fields(layers ...map[string]any) (map[string]json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	for _, layer := range layers {
		for name, value := range layer {
			if value == nil {
				delete(fields, name)
				continue
			}
			v, err := f.replace(value)
			if err != nil {
				return nil, fmt.Errorf("field %s: %w", name, err)
			}
			if fields[name], err = json.Marshal(v); err != nil {
				return nil, fmt.Errorf("field %s: %w", name, err)
			}
		}
	}
	return fields, nil
}

var dayPlus = regexp.MustCompile(`^\$day([+-]\d+)?$`)

func (f filler) replace(value any) (any, error) {
	var err error
	switch v := value.(type) {
	case string:
		if m := dayPlus.FindStringSubmatch(v); m != nil {
			n, _ := strconv.Atoi(m[1]) // "" is 0
			return calendar.DateOf(f.at).AddDays(n), nil
		}
		if act, ok := strings.CutPrefix(v, "$on:"); ok {
			d, ok := f.on(act)
			if !ok {
				return nil, fmt.Errorf("the story has no act %s", act)
			}
			return d, nil
		}
		switch v {
		case "$party":
			return f.c.Party, nil
		case "$handler":
			return f.c.Officers[0], nil
		}
		if later, ok := strings.CutPrefix(v, "$at"); ok {
			d := time.Duration(0)
			if later != "" {
				if d, err = time.ParseDuration(strings.TrimPrefix(later, "+")); err != nil {
					return nil, err
				}
			}
			return f.at.Add(d), nil
		}
		if name, ok := strings.CutPrefix(v, "$"); ok {
			own, ok := f.c.Fields[name]
			if !ok {
				return nil, fmt.Errorf("the case does not say what %s is", v)
			}
			return own, nil
		}
	case []any:
		out := make([]any, len(v))
		for i := range v {
			if out[i], err = f.replace(v[i]); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			if out[k], err = f.replace(v[k]); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return value, nil
}

// back is the working day so many working days before a day.
func back(cal *calendar.Calendar, d calendar.Date, n int) calendar.Date {
	for n > 0 || !cal.IsWorkday(d) {
		d = d.AddDays(-1)
		if cal.IsWorkday(d) {
			n--
		}
	}
	return d
}

// forward is the working day so many working days after a working day.
func forward(cal *calendar.Calendar, d calendar.Date, n int) calendar.Date {
	for n > 0 {
		d = d.AddDays(1)
		if cal.IsWorkday(d) {
			n--
		}
	}
	return d
}
