package projections

import (
	"fmt"
	"strings"
	"testing"

	"liuhen/domain"
	"liuhen/domain/rulebook"
)

func entries(f rulebook.Facts, key string) string {
	var out []string
	for _, e := range f[rulebook.Lookup{Register: "fines", Key: key}] {
		until := ""
		if !e.Until.IsZero() {
			until = e.Until.String()
		}
		out = append(out, fmt.Sprintf("%s %s..%s %s", e.Case, e.From, until, e.Says["number"]))
	}
	return strings.Join(out, "; ")
}

// TestRegisters asks for what cases have entered, now and as it was.
func TestRegisters(t *testing.T) {
	o, db := started(t)
	party := fields{"party": map[string]any{"name": "甲（沈阳）公司"}}
	o.act("K-1", "file-case", party)
	first := o.act("K-1", "decide", fields{"document_number": "1 号", "amount": 100})
	o.act("K-2", "file-case", party)
	o.day = o.day.AddDate(0, 0, 1)
	second := o.act("K-2", "decide", fields{"document_number": "2 号\x00", "amount": 200})
	o.day = o.day.AddDate(0, 0, 1)
	corrected := o.act("K-2", "decide", fields{"document_number": "2-1 号", "amount": 200}, func(c *domain.Command) {
		c.Corrects, c.Reason = second.Event, "文号有误"
	})
	closed := o.act("K-1", "close", nil)
	o.settle(db)

	const key = "甲(沈阳)公司"
	lookups := []rulebook.Lookup{{Register: "fines", Key: key}, {Register: "fines", Key: "乙"}}
	now, at, err := db.Facts(t.Context(), lookups, closed.Position)
	if err != nil || at != closed.Position {
		t.Fatalf("at %d, %v; want position %d", at, err, closed.Position)
	}
	if _, answered := now[lookups[1]]; !answered || len(now) != 2 {
		t.Errorf("a lookup without entries is not in the answer: %v", now)
	}
	for _, c := range []struct {
		at   uint64
		want string
	}{
		{first.Position - 1, ""},
		{first.Position, "K-1 2025-03-03.. 1 号"},
		{second.Position, "K-1 2025-03-03.. 1 号; K-2 2025-03-04.. 2 号\uFFFD"},
		{corrected.Position, "K-1 2025-03-03.. 1 号; K-2 2025-03-05.. 2-1 号"},
		{closed.Position, "K-1 2025-03-03..2025-03-05 1 号; K-2 2025-03-05.. 2-1 号"},
	} {
		then, err := db.FactsAt(t.Context(), lookups, c.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := entries(then, key); got != c.want {
			t.Errorf("at position %d: %s\nwant %s", c.at, got, c.want)
		}
	}
	if got, want := entries(now, key), "K-1 2025-03-03..2025-03-05 1 号; K-2 2025-03-05.. 2-1 号"; got != want {
		t.Errorf("now: %s, want %s", got, want)
	}
	for _, c := range []struct {
		what string
		at   uint64
		want string // since when the key answers otherwise
	}{
		{"entered", first.Position, "2025-03-03"},
		{"corrected: the entry is another", corrected.Position, "2025-03-04"},
		{"ended: from its end on", closed.Position, "2025-03-05"},
		{"no register", first.Position - 1, ""},
	} {
		changes, err := db.Changes(t.Context(), c.at)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, ch := range changes {
			if ch.Lookup != lookups[0] {
				t.Errorf("%s: a change of %v", c.what, ch.Lookup)
			}
			got += ch.Since.String()
		}
		if got != c.want {
			t.Errorf("%s: since %q, want %q", c.what, got, c.want)
		}
	}
	o.agree(db)
}

// TestTooManyEntries fails rather than answering with a part.
func TestTooManyEntries(t *testing.T) {
	_, db := started(t)
	_, err := db.pool.Exec(t.Context(), `
		insert into registers_v1.entry (case_id, number, register, key, valid_from, agency, event, act, says, known_at)
		select 'K-' || n, 0, 'fines', 'x', '2025-01-01', 'A', 'e', 'decide', '{}', 0
		from generate_series(1, $1) n`, MaxEntries+1)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.FactsAt(t.Context(), []rulebook.Lookup{{Register: "fines", Key: "x"}}, 0)
	if err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("look up %d entries: %v, want an error that says so", MaxEntries+1, err)
	}
}
