package sample

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// A teller makes the acts of cases from stories.
type teller struct {
	book    *rulebook.Book
	agency  string
	batch   string // names the sample in the record
	stories map[string]Story

	officer func(id string) (rulebook.Officer, error)
	actor   func(act *rulebook.Act, officers []string) domain.Actor // who recorded the act
}

// An Entry is a command, and the earlier one of its case that it corrects.
// Which event that is, only who recorded it knows.
type Entry struct {
	domain.Command
	CorrectsCommand string // the id of the earlier command, or ""
	Corrected       bool   // a later command corrects this one
}

// tell makes the acts of a case, in the order of its story. Ids and rows are
// the caller's; until then a correction names the place of what it corrects.
func (t teller) tell(c Case) ([]Entry, error) {
	story, ok := t.stories[c.Story]
	if !ok {
		return nil, fmt.Errorf("there is no story %q", c.Story)
	}
	law, ok := t.book.Procedure(story.Procedure)
	if !ok {
		return nil, fmt.Errorf("there is no procedure %q", story.Procedure)
	}
	reached := c.Until == ""
	var entries []Entry
	for _, a := range story.Acts {
		if !slices.Contains(c.Skip, a.Act) {
			e, err := t.entry(law, story, c, a)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", a.Act, err)
			}
			e.Procedure = story.Procedure
			if a.Corrects {
				if !correct(entries, &e) {
					return nil, fmt.Errorf("%s: there is none before it to correct", a.Act)
				}
			}
			entries = append(entries, e)
		}
		if a.Act == c.Until {
			reached = true
			break
		}
	}
	if !reached {
		return nil, fmt.Errorf("its story has no act %q to end with", c.Until)
	}
	return entries, nil
}

// correct lets e correct the last entry of its act.
func correct(entries []Entry, e *Entry) bool {
	for i := range slices.Backward(entries) {
		if entries[i].Act == e.Act {
			entries[i].Corrected = true
			e.CorrectsCommand = strconv.Itoa(i)
			e.At = entries[i].At // when it happened does not change
			return true
		}
	}
	return false
}

func (t teller) entry(law *rulebook.Procedure, story Story, c Case, a Act) (Entry, error) {
	act, ok := law.Act(a.Act)
	if !ok {
		return Entry{}, fmt.Errorf("%s has no such act", law.Name)
	}
	differs := c.Set[a.Act]
	if a.Corrects {
		differs = Act{} // it stands in the story what is different
	}
	dayOf := func(a Act) calendar.Date { return forward(t.book.Calendar(), c.on, a.Day+c.Late[a.Act]) }
	hour, err := time.Parse("15:04", a.Hour)
	if err != nil {
		return Entry{}, err
	}
	cmd := domain.Command{
		Case:       domain.CaseID(c.ID),
		Agency:     t.agency,
		Act:        a.Act,
		At:         dayOf(a).Start().Add(time.Duration(hour.Hour())*time.Hour + time.Duration(hour.Minute())*time.Minute + c.shift),
		Place:      a.Place,
		LateReason: differs.LateReason,
		Reason:     a.Reason,
		Import:     &domain.Import{Source: Source, Batch: t.batch},
	}
	officers := c.Officers
	if differs.Officers != nil {
		officers = differs.Officers
	}
	if act.Officers > 0 || differs.Officers != nil {
		for _, id := range officers {
			officer, err := t.officer(id)
			if err != nil {
				return Entry{}, err
			}
			cmd.Officers = append(cmd.Officers, officer)
		}
	}
	for _, d := range act.Documents {
		if (d.Required || slices.Contains(a.With, d.Kind)) && !slices.Contains(differs.Without, d.Kind) {
			cmd.Documents = append(cmd.Documents, document(d.Kind, c.ID))
		}
	}
	cmd.Actor = t.actor(act, officers)
	f := filler{c: c, at: cmd.At, on: func(name string) (calendar.Date, bool) {
		i := slices.IndexFunc(story.Acts, func(a Act) bool { return a.Act == name })
		if i < 0 {
			return calendar.Date{}, false
		}
		return dayOf(story.Acts[i]), true
	}}
	cmd.Fields, err = f.fields(a.Fields, differs.Fields)
	return Entry{Command: cmd}, err
}

// document is a reference to a document that does not exist: its digest is that
// of a sentence which says so.
func document(kind, id string) rulebook.Reference {
	content := fmt.Sprintf("样例文书，虚构：%s，%s", kind, id)
	return rulebook.Reference{
		Kind: kind, Title: "样例：" + kind, Digest: domain.DigestOf([]byte(content)).String(),
		Size: int64(len(content)), MediaType: "text/plain",
	}
}

// A filler puts the values of one act of one case into the fields of a story:
// "$party" is the party of the case, "$handler" its first officer, "$day" the
// day of the act, "$day+14" fourteen days later, "$at" its time, "$at+50m" a
// while later, "$on:hold-hearing" the day of another act (and "+3" three days
// later), and another "$name" stands in the case.
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
			if v == nil { // the case says that it has none
				delete(fields, name)
				continue
			}
			if fields[name], err = json.Marshal(v); err != nil {
				return nil, fmt.Errorf("field %s: %w", name, err)
			}
		}
	}
	return fields, nil
}

var (
	dayPlus = regexp.MustCompile(`^\$day([+-]\d+)?$`)
	onPlus  = regexp.MustCompile(`^\$on:([a-z-]+?)([+-]\d+)?$`)
)

func (f filler) replace(value any) (any, error) {
	var err error
	switch v := value.(type) {
	case string:
		if m := dayPlus.FindStringSubmatch(v); m != nil {
			n, _ := strconv.Atoi(m[1]) // "" is 0
			return calendar.DateOf(f.at).AddDays(n), nil
		}
		if m := onPlus.FindStringSubmatch(v); m != nil {
			d, ok := f.on(m[1])
			if !ok {
				return nil, fmt.Errorf("the story has no act %s", m[1])
			}
			n, _ := strconv.Atoi(m[2]) // "" is 0
			return d.AddDays(n), nil
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
