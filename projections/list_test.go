package projections

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"liuhen/internal/pgtest"
)

// TestSchemasInStatements holds the schemas that SQL names against the
// versions of the models: who raises a version must change them too.
func TestSchemasInStatements(t *testing.T) {
	known := make(map[string]bool)
	for _, p := range append(append([]Projection{}, All...), Access...) {
		known[p.schema()] = true
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\b([a-z_]+_v[0-9]+)\.`)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllSubmatch(text, -1) {
			if !known[string(m[1])] {
				t.Errorf("%s names the schema %s, which no model has", file, m[1])
			}
		}
	}
}

func TestCursors(t *testing.T) {
	_, db, _ := corrected(t)
	list, err := db.Timeline(t.Context(), TimelineFilter{Case: "K-1"}, Page{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{
		"x", "!", "e30", cursor(nil), cursor([]string{"1", "2"}), cursor([]string{"one"}), cursor([]string{"99999999999999999999"}), list.Next + "x",
	} {
		if _, err := db.Timeline(t.Context(), TimelineFilter{Case: "K-1"}, Page{Cursor: c}); !errors.Is(err, ErrCursor) {
			t.Errorf("cursor %q: %v, want ErrCursor", c, err)
		}
	}
	if _, err := db.Ledger(t.Context(), LedgerFilter{}, Page{Cursor: list.Next}); !errors.Is(err, ErrCursor) {
		t.Errorf("a cursor of another list: %v, want ErrCursor", err)
	}
	if _, err := db.Deadlines(t.Context(), DeadlinesFilter{Now: time.Now()}, Page{Cursor: cursor([]string{"2025-13-01", "K", "1"})}); !errors.Is(err, ErrCursor) {
		t.Errorf("a cursor with a day that does not exist: %v, want ErrCursor", err)
	}
}

func TestPageLimits(t *testing.T) {
	_, db, _ := corrected(t)
	for _, limit := range []int{-1, 0, MaxLimit, MaxLimit + 1} {
		list, err := db.Ledger(t.Context(), LedgerFilter{}, Page{Limit: limit})
		if err != nil || len(list.Items) != 2 || list.Next != "" {
			t.Errorf("limit %d: %d items, next %q, %v; want both", limit, len(list.Items), list.Next, err)
		}
	}
}

func FuzzCursor(f *testing.F) {
	f.Add("WyIxIl0")
	f.Add("")
	f.Add(cursor([]string{"2025-03-03", "K-1"}))
	f.Add(cursor([]string{"infinity", "\x00"}))
	o := newOffice(f)
	db, _ := o.run(pgtest.New(f))
	o.file("K-1", "甲")
	o.settle(db)
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := db.Ledger(t.Context(), LedgerFilter{}, Page{Cursor: text}); err != nil && !errors.Is(err, ErrCursor) {
			t.Errorf("cursor %q: %v", text, err)
		}
	})
}
