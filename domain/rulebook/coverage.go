package rulebook

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// A Coverage tells where one rule of the law's own numbering stands.
type Coverage struct {
	Rule       string   `json:"rule"`
	Procedures []string `json:"procedures"` // whose acts it judges
	Examples   int      `json:"examples"`   // that ran, in all of them
	Failed     int      `json:"failed"`     // of them, those that did not come out as written
	LeftOut    Text     `json:"left_out,omitzero"`
}

// Missing reports whether the rule is neither judged, with an example, nor
// left out for a reason.
func (c Coverage) Missing() bool {
	return c.LeftOut == Text{} && (len(c.Procedures) == 0 || c.Examples == 0)
}

// Coverage goes through the rules that a file numbers (`numbered:`), in order,
// and says of each where it is. results are those of RunExamples.
func (b *Book) Coverage(results []ExampleResult) []Coverage {
	all := make([]Coverage, len(b.numbered))
	place := make(map[string]*Coverage, len(all))
	for i, id := range b.numbered {
		all[i] = Coverage{Rule: id, Procedures: []string{}, LeftOut: b.leftOut[id]}
		place[id] = &all[i]
	}
	for _, p := range b.procedures {
		for _, r := range p.Rules {
			if c := place[r.ID]; c != nil && !slices.Contains(c.Procedures, p.Name) {
				c.Procedures = append(c.Procedures, p.Name)
			}
		}
	}
	for _, r := range results {
		if c := place[r.Rule]; c != nil {
			c.Examples++
			if !r.OK {
				c.Failed++
			}
		}
	}
	return all
}

// maxNumbered bounds a numbering.
const maxNumbered = 10_000

// readNumbered reads `numbered: {from: R-001, to: R-120}` and `left_out:`, which
// says of single ones why no procedure has them.
func (l *loader) readNumbered() {
	known := make(map[string]bool)
	for _, f := range l.files {
		n, ok := f.nodes["numbered"]
		if !ok {
			continue
		}
		var from, to string
		f.keys(n, "numbered", map[string]func(ast.Node){
			"from": f.text(&from, "numbered: from"),
			"to":   f.text(&to, "numbered: to"),
		})
		prefix := strings.TrimRight(from, "0123456789")
		first, err1 := strconv.Atoi(from[len(prefix):])
		last, err2 := strconv.Atoi(strings.TrimPrefix(to, prefix))
		if err1 != nil || err2 != nil || last < first || last-first >= maxNumbered {
			f.fail(n, "numbered: expected {from: R-001, to: R-120}, a prefix and two numbers, at most %d apart", maxNumbered)
			continue
		}
		for i := first; i <= last; i++ {
			id := fmt.Sprintf("%s%0*d", prefix, len(from)-len(prefix), i)
			if !known[id] {
				l.numbered, known[id] = append(l.numbered, id), true
			}
		}
	}
	judged := make(map[string]*Procedure)
	for _, p := range l.all {
		for _, r := range p.Rules {
			judged[r.ID] = p
		}
	}
	l.leftOut = make(map[string]Text)
	for _, f := range l.files {
		n, ok := f.nodes["left_out"]
		if !ok {
			continue
		}
		for _, e := range f.entries(n, "left_out") {
			var why Text
			f.both(&why, "left_out: "+e.key)(e.value)
			switch p := judged[e.key]; {
			case !known[e.key]:
				f.failAt(e.at, "left_out: %s is not numbered", e.key)
			case p != nil:
				f.failAt(e.at, "left_out: %s is a rule of %s", e.key, p.Name)
			}
			l.leftOut[e.key] = why
		}
	}
}
