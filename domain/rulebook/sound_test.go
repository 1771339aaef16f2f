package rulebook

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"liuhen/domain/calendar"
)

// No rule of the national law may fail to be judged, whatever acts a case has
// in whatever order, with or without any of the fields that may be left out.
func TestNationalRulesNeverFail(t *testing.T) {
	book := national(t)
	for _, p := range book.Procedures() {
		if len(p.Acts) == 0 {
			continue
		}
		t.Run(p.Name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				h := p.NewHistory("C", "A")
				for i := range rapid.IntRange(1, 12).Draw(t, "acts") {
					a := rapid.SampledFrom(p.Acts).Draw(t, "act")
					s := plausible(p, a.Name, fmt.Sprint(i), on(1).AddDate(0, 0, rapid.IntRange(0, 400).Draw(t, "day")))
					for k := range a.Fields {
						f := &a.Fields[k]
						if !f.Required && !rapid.Bool().Draw(t, "with "+f.Name) {
							continue
						}
						s.Fields[f.Name] = (&checking{}).value(f.Name, f, mustJSON(f.any(t, &Example{Steps: h.Steps}, &s)))
					}
					if rapid.IntRange(0, 5).Draw(t, "no officers") == 0 {
						s.Officers = nil
					}
					if len(h.Steps) > 0 && rapid.IntRange(0, 5).Draw(t, "corrects") == 0 {
						if k := slices.IndexFunc(h.Steps, func(o Step) bool { return o.Act == s.Act && o.CorrectedBy == "" }); k >= 0 {
							s.Corrects = h.Steps[k].Event
						}
					}
					facts := Facts{}
					for asked := p.Lookups(h, s, Known{Facts: facts}); len(asked) > 0; asked = p.Lookups(h, s, Known{Facts: facts}) {
						for _, l := range asked {
							facts[l] = l.any(t, book.registers)
						}
					}
					for _, f := range p.Judge(h, s, Known{Facts: facts}) {
						if f.Failed {
							t.Fatalf("rule %s on %s %v: %s", f.Rule, s.Act, s.Fields, f.Detail.EN)
						}
						if f.Detail.ZH == "" || f.Detail.EN == "" {
							t.Fatalf("rule %s says nothing", f.Rule)
						}
					}
					h = h.Append(s)
				}
				p.Deadlines(h, nil)
				p.Next(h, on(28), "", nil)
				p.Entries(h)
			})
		})
	}
}

// any draws what stands in a register under a key: nothing, or entries of this
// case and of others with days and texts as acts enter them.
func (l Lookup) any(t *rapid.T, registers []*Register) []Entry {
	entries := make([]Entry, rapid.IntRange(0, 2).Draw(t, l.Register))
	for i := range entries {
		e := &entries[i]
		*e = Entry{Register: l.Register, Key: l.Key, Agency: "A", Event: fmt.Sprint("entry-", i), Says: map[string]string{}}
		e.Case = rapid.SampledFrom([]string{"C", "D"}).Draw(t, "of case")
		e.From = calendar.DateOf(on(1)).AddDays(rapid.IntRange(0, 400).Draw(t, "from"))
		if rapid.Bool().Draw(t, "ended") {
			e.Until = e.From.AddDays(rapid.IntRange(0, 40).Draw(t, "until"))
		}
		for _, reg := range registers {
			if reg.Name != l.Register {
				continue
			}
			for _, f := range reg.Says {
				e.Says[f.Name] = rapid.SampledFrom([]string{"", "version", "owned", "registered", "review", "revoked", "yes"}).Draw(t, f.Name)
			}
		}
		if l.Register == "officer-presence" { // always times
			e.Says["began"], e.Says["ended"] = "2025-03-01T01:00:00Z", "2025-03-01T02:00:00Z"
		}
	}
	return entries
}

// any draws a value of the field: any code, any yes or no, records with or
// without what may be left out.
func (f *Field) any(t *rapid.T, e *Example, s *Step) any {
	one := f.fillerOne(e, s)
	switch f.kind {
	case kindCode:
		one = rapid.SampledFrom(f.codes.Codes).Draw(t, f.Name).Code
	case kindBoolean:
		one = rapid.Bool().Draw(t, f.Name)
	case kindRecord:
		m := map[string]any{}
		for i := range f.record.fields {
			if g := &f.record.fields[i]; g.Required || rapid.Bool().Draw(t, g.Name) {
				m[g.Name] = g.any(t, e, s)
			}
		}
		one = m
	default: // the filler will do
	}
	if f.Many {
		return []any{one}
	}
	return one
}
