package projections

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
	"liuhen/internal/pgtest"
)

func TestLedgerEntry(t *testing.T) {
	_, db, rs := corrected(t)
	got, ok, err := db.Entry(t.Context(), "K-1")
	if err != nil || !ok {
		t.Fatalf("entry of K-1: %v, %v", ok, err)
	}
	want := LedgerEntry{
		Case: "K-1", Agency: "kjj", Procedure: "inspection", Edition: calendar.MakeDate(2021, 7, 15),
		Stage: "decided", Opened: calendar.MakeDate(2025, 3, 3),
		Stages: map[string]calendar.Date{
			"filed": calendar.MakeDate(2025, 3, 3), "decided": calendar.MakeDate(2025, 3, 10),
		},
		LastAct: "decide", LastAt: got.LastAt, RecordedAt: got.RecordedAt,
		Revision: 4, Position: rs[3].Position, Head: rs[3].Digest,
		Parties: []string{"沈阳新科技有限公司"}, Codes: []string{}, Numbers: []string{"沈科罚〔2025〕2号"}, // the number that was put right
		Officers: []string{"li", "zhao", "sun"}, People: []string{"李四", "赵六", "孙八"},
		Late: 1, Findings: map[rulebook.Severity]int{rulebook.Veto: 1},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("entry of K-1:\n got %+v\nwant %+v", got, want)
	}
	if _, ok, err := db.Entry(t.Context(), "K-9"); ok || err != nil {
		t.Errorf("entry of an unknown case: %v, %v; want none", ok, err)
	}
}

// register is an office with cases to search in.
func register(t *testing.T) (*office, *DB) {
	t.Helper()
	o, db := started(t)
	for i, party := range []map[string]any{
		{"name": "沈阳新科技有限公司", "uscc": "91210100MA0000001X"},
		{"name": "沈阳市华联（集团）有限公司"},
		{"name": "大连新华科技贸易公司"},
		{"name": "100%_Sure's \\ Ltd"},
		{"name": "𠮷野家"}, // beyond the first plane
	} {
		id := domain.CaseID(fmt.Sprintf("K-%d", i+1))
		o.act(id, "file-case", fields{"party": party})
		o.day = o.day.AddDate(0, 0, 1)
	}
	o.act("K-2", "decide", fields{"document_number": "沈科罚〔2025〕12号"})
	o.act("K-3", "close", nil)
	o.act("K-4", "inspect", nil, func(c *domain.Command) { c.Officers = []rulebook.Officer{{ID: "sun", Name: "孙八"}} })
	o.settle(db)
	return o, db
}

func ids(entries []LedgerEntry) string {
	var out []string
	for _, e := range entries {
		out = append(out, string(e.Case))
	}
	return strings.Join(out, " ")
}

func TestLedgerSearch(t *testing.T) {
	_, db := register(t)
	for _, c := range []struct{ query, want string }{
		{"沈阳", "K-2 K-1"},
		{"科技", "K-3 K-1"},
		{"新科技", "K-1"}, // K-3 has 新华 and 科技
		{"沈", "K-2 K-1"},
		{"科", ""}, // nothing begins with it
		{"沈阳 公司", "K-2 K-1"},
		{"沈阳 贸易", ""},
		{"(集团)", "K-2"},
		{"（集团）", "K-2"},
		{"华联(集团)有限", "K-2"},
		{"沈科罚[2025]12号", "K-2"},
		{"〔2025〕12", "K-2"},
		{"91210100ma0000001x", "K-1"},
		{"９１２１０１００MA", "K-1"}, // full width
		{"k-3", "K-3"},
		{"100%", "K-4"},
		{"%_", "K-4"},
		{"%%", ""},
		{"sure's", "K-4"},
		{`\`, ""},
		{`ltd`, "K-4"},
		{"𠮷野", "K-5"},
		{"𠮷", "K-5"},
		{"'", ""},
		{"' | '", ""},
		{"\x00", "K-5 K-4 K-3 K-2 K-1"}, // nothing to ask for
		{"  ", "K-5 K-4 K-3 K-2 K-1"},
	} {
		list, err := db.Ledger(t.Context(), LedgerFilter{Query: c.query}, Page{})
		if err != nil {
			t.Errorf("search %q: %v", c.query, err)
			continue
		}
		if got := ids(list.Items); got != c.want {
			t.Errorf("search %q: got %q, want %q", c.query, got, c.want)
		}
	}
}

func TestLedgerFilters(t *testing.T) {
	_, db := register(t)
	yes, no := true, false
	march := func(day int) calendar.Date { return calendar.MakeDate(2025, 3, day) }
	for _, c := range []struct {
		name string
		f    LedgerFilter
		want string
	}{
		{"all", LedgerFilter{}, "K-5 K-4 K-3 K-2 K-1"},
		{"agency", LedgerFilter{Agencies: []string{"kjj", "other"}}, "K-5 K-4 K-3 K-2 K-1"},
		{"other agency", LedgerFilter{Agencies: []string{"other"}}, ""},
		{"procedure", LedgerFilter{Procedure: "other"}, ""},
		{"officer", LedgerFilter{Officer: "sun"}, "K-4"},
		{"stage", LedgerFilter{Stage: "decided"}, "K-2"},
		{"period", LedgerFilter{From: march(4), To: march(5)}, "K-3 K-2"},
		{"closed", LedgerFilter{Closed: &yes}, "K-3"},
		{"open", LedgerFilter{Closed: &no}, "K-5 K-4 K-2 K-1"},
		{"findings", LedgerFilter{Findings: true}, "K-2"},
		{"party", LedgerFilter{Party: "沈阳"}, "K-2 K-1"},
		{"party, not its case number", LedgerFilter{Party: "K-1"}, ""},
		{"party by one character", LedgerFilter{Party: "沈"}, "K-2 K-1"},
		{"party, not its document", LedgerFilter{Party: "沈科"}, ""},
		{"together", LedgerFilter{Party: "沈阳", Stage: "decided", Query: "2025"}, "K-2"},
		{"cases", LedgerFilter{Cases: []domain.CaseID{"K-1", "K-5", "K-9"}}, "K-5 K-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			list, err := db.Ledger(t.Context(), c.f, Page{})
			if err != nil {
				t.Fatal(err)
			}
			if got := ids(list.Items); got != c.want {
				t.Errorf("asked %+v, got %q, want %q", c.f, got, c.want)
			}
			if list.Position != 8 {
				t.Errorf("position %d, want 8", list.Position)
			}
			var each []LedgerEntry
			var header uint64
			for e, err := range db.EachLedger(t.Context(), c.f, func(p uint64) error { header = p; return nil }) {
				if err != nil {
					t.Fatal(err)
				}
				each = append(each, e)
			}
			if !reflect.DeepEqual(each, list.Items) || header != 8 {
				t.Errorf("without pages at %d: %q, want %q at 8", header, ids(each), c.want)
			}
			n, err := db.CountLedger(t.Context(), c.f, 100)
			if err != nil || n != len(list.Items) {
				t.Errorf("counted %d, %v; want %d", n, err, len(list.Items))
			}
		})
	}
}

func TestLedgerPages(t *testing.T) {
	_, db := register(t)
	var got []LedgerEntry
	page := Page{Limit: 2}
	for pages := 0; ; pages++ {
		list, err := db.Ledger(t.Context(), LedgerFilter{}, page)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, list.Items...)
		if list.Next == "" {
			if pages != 2 {
				t.Errorf("%d pages, want 3", pages+1)
			}
			break
		}
		page.Cursor = list.Next
	}
	if want := "K-5 K-4 K-3 K-2 K-1"; ids(got) != want {
		t.Errorf("page by page: %q, want %q", ids(got), want)
	}
	if n, err := db.CountLedger(t.Context(), LedgerFilter{}, 3); n != 3 || err != nil {
		t.Errorf("counted %d to at most 3: %v", n, err)
	}
}

func TestEachStopsEarly(t *testing.T) {
	_, db := register(t)
	for range 20 { // more than there are connections: each must come back
		for _, err := range db.EachLedger(t.Context(), LedgerFilter{}, nil) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	wrong := errTest
	for _, err := range db.EachLedger(t.Context(), LedgerFilter{}, func(uint64) error { return wrong }) {
		if err != wrong {
			t.Errorf("got %v, want the error of the header", err)
		}
	}
}

func TestPairs(t *testing.T) {
	got := pairs(searchable("沈阳市", " A b"), searchable("阳市"))
	want := []string{"^a", "^沈", "^阳", "ab", "沈阳", "阳市"}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("pairs %q, want %q", got, want)
	}
}

// TestUnusual records what other systems' logs can hold: a model must not stop
// at it.
func TestUnusual(t *testing.T) {
	o, db := started(t)
	o.act("K-1", "file-case", fields{"party": map[string]any{"name": "零\x00字节 'quoted' \\ ^ \u2028"}}, func(c *domain.Command) {
		c.Officers = []rulebook.Officer{{ID: "z\x00ero", Name: "\x00"}}
		c.Actor.ID = "a\x00b"
	})
	o.act("K-1", "inspect", fields{"remark": strings.Repeat("长", 2000)}, func(c *domain.Command) {
		c.Import = &domain.Import{Source: "x", Batch: "y", Row: 1}
	})
	o.settle(db)
	e, _, err := db.Entry(t.Context(), "K-1")
	if err != nil {
		t.Fatal(err)
	}
	if !e.Imported || e.Revision != 2 || len(e.Parties) != 1 {
		t.Errorf("entry %+v, want an imported one of two records and a party", e)
	}
	if got := key(strings.Repeat("长", 100)); len(got) > 210 {
		t.Errorf("the key of a long act has %d bytes, want at most 210", len(got))
	}
	o.agree(db)
}

// FuzzSearch asks for anything: an answer, never an error.
func FuzzSearch(f *testing.F) {
	for _, q := range []string{"沈阳", "a", "' & !b", `\'`, "\x00", "%_", "(((", "^", "a\nb", "\xff\xfe", "é́", "１２"} {
		f.Add(q)
	}
	o := newOffice(f)
	db, _ := o.run(pgtest.New(f))
	o.file("K-1", "沈阳新科技有限公司")
	o.settle(db)
	f.Fuzz(func(t *testing.T, query string) {
		if _, err := db.Ledger(t.Context(), LedgerFilter{Query: query}, Page{}); err != nil {
			t.Errorf("query %q: %v", query, err)
		}
		if _, err := db.Ledger(t.Context(), LedgerFilter{Party: query}, Page{}); err != nil {
			t.Errorf("party %q: %v", query, err)
		}
	})
}
