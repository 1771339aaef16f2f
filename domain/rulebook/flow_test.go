package rulebook_test

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"liuhen/domain/law"
	"liuhen/domain/rulebook"
)

// TestFlow draws every procedure: the chart is well-formed and shows every
// stage and every act by its name.
func TestFlow(t *testing.T) {
	book, err := rulebook.Load(law.Files)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range book.Procedures() {
		for _, lang := range []string{"zh", "en"} {
			var svg strings.Builder
			if err := rulebook.Flow(&svg, p, lang); err != nil {
				t.Fatal(err)
			}
			var shown strings.Builder
			d := xml.NewDecoder(strings.NewReader(svg.String()))
			for {
				token, err := d.Token()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatalf("%s in %s: %v", p.Name, lang, err)
				}
				if text, ok := token.(xml.CharData); ok {
					shown.Write(text)
				}
			}
			for _, s := range p.Stages {
				if !strings.Contains(shown.String(), s.Title.In(lang)) {
					t.Errorf("%s in %s: stage %s is not shown", p.Name, lang, s.Name)
				}
			}
			for _, a := range p.Acts {
				if !strings.Contains(shown.String(), a.Title.In(lang)) {
					t.Errorf("%s in %s: act %s is not shown", p.Name, lang, a.Name)
				}
			}
		}
	}
}
