package rulebook

import (
	"testing"
	"time"

	"liuhen/domain/calendar"
	"liuhen/domain/law"
)

func national(tb testing.TB) *Book {
	tb.Helper()
	b, err := Load(law.Files)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// plausible is an act with every required field filled, as examples fill them.
func plausible(p *Procedure, act, event string, at time.Time) Step {
	a, _ := p.Act(act)
	s := Step{
		Event: event, Act: act, At: at, Recorded: at.Add(time.Hour), Actor: "Li",
		Officers: []Officer{exampleOfficer("Li"), exampleOfficer("Zhao")},
		Fields:   map[string]any{},
	}
	for i := range a.Fields {
		if f := &a.Fields[i]; f.Required {
			c := &checking{}
			s.Fields[f.Name] = c.value(f.Name, f, mustJSON(f.filler(&Example{}, &s)))
		}
	}
	for _, d := range a.Documents {
		s.Documents = append(s.Documents, Reference{Kind: d.Kind, Title: d.Kind})
	}
	return s
}

// everyAct is a case in which each act of a procedure was done once, in the
// order of the law file, an act a day.
func everyAct(p *Procedure) []Step {
	at := calendar.MakeDate(2025, 3, 3).Start().Add(9 * time.Hour)
	steps := make([]Step, len(p.Acts))
	for i, a := range p.Acts {
		steps[i] = plausible(p, a.Name, "e"+a.Name, at.AddDate(0, 0, i))
	}
	return steps
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		national(b)
	}
}

// BenchmarkJudge judges the acts of a long case one after the other, each with
// all that came before it: the mean over the acts is what a recorded act costs.
func BenchmarkJudge(b *testing.B) {
	for _, p := range national(b).Procedures() {
		steps := everyAct(p)
		if len(steps) == 0 {
			continue
		}
		histories := []*History{p.NewHistory("C-1", "A-1")}
		for _, s := range steps {
			histories = append(histories, histories[len(histories)-1].Append(s))
		}
		b.Run(p.Name, func(b *testing.B) {
			b.ReportAllocs()
			found, i := 0, 0
			for b.Loop() {
				found += len(p.Judge(histories[i], steps[i], Known{}))
				i = (i + 1) % len(steps)
			}
			b.ReportMetric(float64(found)/float64(b.N), "findings/op")
			b.ReportMetric(float64(len(steps)), "acts")
			b.ReportMetric(float64(len(p.Rules)), "rules")
		})
	}
}

// BenchmarkJudgeDecision judges the act with the most rules, at the end.
func BenchmarkJudgeDecision(b *testing.B) {
	p, ok := national(b).Procedure("penalty-ordinary")
	if !ok {
		b.Skip("no procedure penalty-ordinary")
	}
	steps := everyAct(p)
	most := 0
	for i := range p.Acts {
		if len(p.judged[i]) > len(p.judged[most]) {
			most = i
		}
	}
	h := p.NewHistory("C-1", "A-1")
	for i, s := range steps {
		if i != most {
			h = h.Append(s)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		p.Judge(h, steps[most], Known{})
	}
	b.ReportMetric(float64(len(p.judged[most])), "rules")
}

func BenchmarkAppend(b *testing.B) {
	p, _ := national(b).Procedure("penalty-ordinary")
	steps := everyAct(p)
	b.ReportAllocs()
	h := p.NewHistory("C-1", "A-1")
	for i := 0; b.Loop(); i++ {
		if i%len(steps) == 0 {
			h = p.NewHistory("C-1", "A-1")
		}
		h = h.Append(steps[i%len(steps)])
	}
}
