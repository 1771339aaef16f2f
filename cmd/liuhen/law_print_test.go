package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"liuhen/domain/law"
	"liuhen/domain/rulebook"
)

// TestDocsAreFresh compares docs/law and docs/DUTIES.md with what the law says
// now; "make docs" makes them anew.
func TestDocsAreFresh(t *testing.T) {
	book, err := rulebook.Load(law.Files)
	if err != nil {
		t.Fatal(err)
	}
	docs := filepath.Join("..", "..", "docs")
	p := &program{}
	p.config.Lang = "zh"
	want, err := p.lawPrints(book)
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(filepath.Join(docs, "law"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if want[f.Name()] == nil {
			t.Errorf("docs/law/%s is of no procedure; run make docs", f.Name())
		}
	}
	for name, text := range want {
		if have, err := os.ReadFile(filepath.Join(docs, "law", name)); err != nil || !bytes.Equal(have, text) {
			t.Errorf("docs/law/%s is not fresh (%v); run make docs", name, err)
		}
	}
	duties, err := readDuties(law.Duties)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkDuties(book, duties); err != nil {
		t.Error(err)
	}
	var table bytes.Buffer
	if err := writeDuties(&table, book, duties); err != nil {
		t.Fatal(err)
	}
	if have, err := os.ReadFile(filepath.Join(docs, "DUTIES.md")); err != nil || !bytes.Equal(have, table.Bytes()) {
		t.Errorf("docs/DUTIES.md is not fresh (%v); run make docs", err)
	}
}

// TestDutiesCoverTheReport goes through the report itself: no sentence of it is
// left out of the table.
func TestDutiesCoverTheReport(t *testing.T) {
	report, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "domain", "annual-report-2022.txt"))
	if err != nil {
		t.Skipf("the report is not here (%v): put it into ../shared/domain to compare", err)
	}
	duties, err := readDuties(law.Duties)
	if err != nil {
		t.Fatal(err)
	}
	rest := duties
	for line := range strings.Lines(string(report)) {
		line = strings.TrimSpace(line)
		for sentence := range strings.SplitAfterSeq(line, "。") {
			sentence = strings.TrimSpace(sentence)
			if sentence == "" {
				continue
			}
			if len(rest) == 0 || !strings.HasPrefix(sentence, rest[0].Begins) || rest[0].Begins == "" {
				t.Fatalf("the next sentence of the report is %q, the table goes on with %+v", sentence, rest[:min(1, len(rest))])
			}
			rest = rest[1:]
		}
	}
	if len(rest) > 0 {
		t.Errorf("the table has %d sentences that the report has not, from %+v", len(rest), rest[0])
	}
}
