package projections

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
	"liuhen/internal/pgtest"
)

// TestPositionAt finds the position of every instant at, before and after each
// record, also where records stand in another order than they were made in.
func TestPositionAt(t *testing.T) {
	o, db := started(t)
	random := rand.New(rand.NewPCG(7, 7))
	begin := o.day
	var made []time.Time // by position
	for i := range 30 {
		o.day = begin.Add(time.Duration(i) * time.Hour)
		if i%7 == 3 { // it waited to be written while later ones were
			o.day = o.day.Add(-time.Duration(random.IntN(9*60)) * time.Minute)
		}
		o.file(domain.CaseID(fmt.Sprintf("K-%d", i)), "某公司")
		made = append(made, o.day.Add(time.Minute))
	}
	o.settle(db)
	asked := []time.Time{begin.AddDate(-1, 0, 0), begin.AddDate(1, 0, 0)}
	for _, m := range made {
		asked = append(asked, m, m.Add(-time.Second), m.Add(time.Second))
	}
	for _, at := range asked {
		want := uint64(0)
		for _, m := range made {
			if m.After(at) {
				break
			}
			want++
		}
		got, err := db.PositionAt(t.Context(), at)
		if err != nil || got != want {
			t.Errorf("position at %s: %d, %v; want %d", at, got, err, want)
		}
	}
	for position, want := range map[uint64]bool{0: false, 1: true, 30: true, 31: false, 1 << 63: false} {
		at, there, err := db.RecordedAt(t.Context(), position)
		if err != nil || there != want || there && !at.Equal(made[position-1]) {
			t.Errorf("time of position %d: %s, %v, %v", position, at, there, err)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := db.PositionAt(gone, begin); err == nil {
		t.Error("a question that was given up has an answer")
	}
}

func TestPositionAtOfNothing(t *testing.T) {
	o := newOffice(t)
	db, _ := o.run(pgtest.New(t))
	if at, err := db.PositionAt(t.Context(), o.day); at != 0 || err != nil {
		t.Errorf("of an empty log: %d, %v", at, err)
	}
}

// busy is an office in which several cases go on at once, with a correction, and
// the records of each.
func busy(t *testing.T) (*office, *DB, int) {
	t.Helper()
	o, db, rs := corrected(t)
	for i := range 4 {
		o.day = o.day.AddDate(0, 0, 3)
		id := domain.CaseID(fmt.Sprintf("K-%d", i+3))
		o.file(id, []string{"沈阳市华联（集团）有限公司", "大连新华科技贸易公司", "100%_Sure's Ltd", "𠮷野家"}[i])
		o.act("K-2", "inspect", nil)
		if i%2 == 0 {
			o.act(id, "notice", nil)
			o.act(id, "close", nil, func(c *domain.Command) { c.AlreadyDone, c.Reason = true, "补录" })
		}
	}
	o.day = o.day.AddDate(0, 0, 1)
	o.act("K-1", "inspect", nil, func(c *domain.Command) { c.Corrects, c.Reason = rs[1].Event, "人员有误" })
	o.settle(db)
	records, _, _ := o.tape.look()
	return o, db, len(records)
}

// until is a fresh office that has only the first records of another, with its read
// models: what the ledger was when it had come so far.
func (o *office) until(t *testing.T, n int) *DB {
	t.Helper()
	earlier := newOffice(t)
	records, _, _ := o.tape.look()
	for _, r := range records[:n] {
		earlier.tape.add(r.Stream, r.At, r.Data)
	}
	db, _ := earlier.run(pgtest.New(t))
	earlier.settle(db)
	return db
}

// whole reads every page of a list.
func whole[T any](t *testing.T, limit int, page func(Page) (List[T], error)) []T {
	t.Helper()
	var all []T
	for p := (Page{Limit: limit}); ; {
		list, err := page(p)
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Items) > limit {
			t.Fatalf("a page of %d has %d items", limit, len(list.Items))
		}
		all = append(all, list.Items...)
		if list.Next == "" {
			return all
		}
		if p.Cursor = list.Next; len(all) > 10_000 {
			t.Fatal("the pages have no end")
		}
	}
}

// TestListsOfThePast compares the ledger and the limits at each position with those
// that the read models had when they had come so far.
func TestListsOfThePast(t *testing.T) {
	o, db, n := busy(t)
	yes := true
	filters := []LedgerFilter{
		{}, {Procedure: "inspection"}, {Procedure: "nothing"}, {Agencies: []string{"kjj"}}, {Agencies: []string{"fgw"}}, {Stage: "decided"}, {Officer: "sun"},
		{Findings: true}, {Closed: &yes}, {Party: "科技"}, {Party: "沈"}, {Query: "〔2025〕1号"}, {Query: "(集团)"}, {Query: "k-3"}, {Query: "%_"}, {Query: "𠮷"}, {Query: "沈阳 贸易"},
		{Cases: []domain.CaseID{"K-1", "K-9"}}, {From: calendar.MakeDate(2025, 3, 12), To: calendar.MakeDate(2025, 3, 14)},
	}
	for _, at := range []int{1, 4, 8, n - 1} {
		then := o.until(t, at)
		for _, f := range filters {
			want := whole(t, 50, func(p Page) (List[LedgerEntry], error) { return then.Ledger(t.Context(), f, p) })
			slices.SortFunc(want, func(a, b LedgerEntry) int { return strings.Compare(string(a.Case), string(b.Case)) })
			for _, limit := range []int{1, 2, 50} {
				got := whole(t, limit, func(p Page) (List[LedgerEntry], error) {
					list, err := db.LedgerAt(t.Context(), f, uint64(at), p)
					if list.Position != uint64(at) {
						t.Errorf("the ledger at %d says %d", at, list.Position)
					}
					return list, err
				})
				if a, b := plain(got), plain(want); !reflect.DeepEqual(a, b) {
					t.Errorf("at %d, %+v in pages of %d:\n got %+v\nwant %+v", at, f, limit, a, b)
				}
			}
			var each []LedgerEntry
			for e, err := range db.EachLedgerAt(t.Context(), f, uint64(at), nil) {
				if err != nil {
					t.Fatal(err)
				}
				each = append(each, e)
			}
			if a, b := plain(each), plain(want); !reflect.DeepEqual(a, b) {
				t.Errorf("at %d, %+v whole:\n got %+v\nwant %+v", at, f, a, b)
			}
		}
		for _, f := range []DeadlinesFilter{{}, {Done: true}, {Light: Red}, {Light: Green}, {Case: "K-1"}, {Rule: "none"}, {Officer: "sun"}, {Provisional: &yes}, {Agencies: []string{"fgw"}}} {
			f.Now = o.day
			want := whole(t, 50, func(p Page) (List[DeadlineItem], error) { return then.Deadlines(t.Context(), f, p) })
			slices.SortFunc(want, func(a, b DeadlineItem) int {
				return slices.Compare([]string{string(a.Case), fmt.Sprintf("%4d", a.Number)}, []string{string(b.Case), fmt.Sprintf("%4d", b.Number)})
			})
			for _, limit := range []int{1, 3, 50} {
				got := whole(t, limit, func(p Page) (List[DeadlineItem], error) { return db.DeadlinesAt(t.Context(), f, uint64(at), nil, p) })
				if len(got) != len(want) {
					t.Fatalf("limits at %d, %+v: %d, want %d", at, f, len(got), len(want))
				}
				for i := range got {
					g, w := got[i], want[i]
					if !g.Ends.Equal(w.Ends) {
						t.Errorf("limits at %d: %s ends %s, want %s", at, g.Rule, g.Ends, w.Ends)
					}
					g.Ends, w.Ends = time.Time{}, time.Time{}
					if !reflect.DeepEqual(g, w) {
						t.Errorf("limits at %d:\n got %+v\nwant %+v", at, g, w)
					}
				}
			}
		}
		through := uint64(at)
		want := whole(t, 50, func(p Page) (List[FindingItem], error) { return then.Findings(t.Context(), FindingsFilter{}, p) })
		got := whole(t, 2, func(p Page) (List[FindingItem], error) {
			return db.Findings(t.Context(), FindingsFilter{Through: &through}, p)
		})
		if !reflect.DeepEqual(got, want) {
			t.Errorf("findings at %d:\n got %+v\nwant %+v", at, got, want)
		}
		for _, f := range []TimelineFilter{{Case: "K-1"}, {Case: "K-1", Corrected: true}, {Case: "K-2"}} {
			want := whole(t, 50, func(p Page) (List[TimelineItem], error) { return then.Timeline(t.Context(), f, p) })
			f.Through = &through
			got := whole(t, 2, func(p Page) (List[TimelineItem], error) { return db.Timeline(t.Context(), f, p) })
			if !reflect.DeepEqual(got, want) {
				t.Errorf("timeline of %s at %d:\n got %+v\nwant %+v", f.Case, at, got, want)
			}
		}
	}
	none := uint64(0)
	if list, err := db.Findings(t.Context(), FindingsFilter{Through: &none}, Page{}); err != nil || len(list.Items) != 0 {
		t.Errorf("before the first record there are findings: %+v, %v", list, err)
	}
}

// plain makes entries comparable: moments in one zone, no list that is nil.
func plain(entries []LedgerEntry) []LedgerEntry {
	out := []LedgerEntry{}
	for _, e := range entries {
		e.LastAt, e.RecordedAt = e.LastAt.UTC(), e.RecordedAt.UTC()
		e.Parties, e.Codes, e.Numbers, e.Officers, e.People = orEmpty(e.Parties), orEmpty(e.Codes), orEmpty(e.Numbers), orEmpty(e.Officers), orEmpty(e.People)
		if e.Findings == nil {
			e.Findings = map[rulebook.Severity]int{}
		}
		out = append(out, e)
	}
	return out
}

// TestAPageOfThePastIsBounded reads no more records for a page than it may, and goes
// on from there.
func TestAPageOfThePastIsBounded(t *testing.T) {
	_, db, n := busy(t)
	f := LedgerFilter{Query: "k-6"} // the last one
	var pages int
	var found []LedgerEntry
	for p := (Page{Limit: 10}); ; pages++ {
		list, err := f.past(uint64(n)).page(t.Context(), db, p, 1)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, list.Items...)
		if list.Next == "" {
			break
		}
		p.Cursor = list.Next
	}
	if pages != 5 || len(found) != 1 || found[0].Case != "K-6" {
		t.Errorf("%d pages before the last, %d found; want 5, for each case is more than may be read, and K-6", pages, len(found))
	}
	for _, bad := range []string{"x", cursor([]string{"K-1"}), cursor([]string{"K-1", "-1"}), cursor([]string{"K 1", "0"}), cursor([]string{"K-1", "x"}), cursor([]string{"K\x00", "0"})} {
		if _, err := db.LedgerAt(t.Context(), f, uint64(n), Page{Cursor: bad}); !errors.Is(err, ErrCursor) {
			t.Errorf("cursor %q: %v, want ErrCursor", bad, err)
		}
	}
}

// TestEachCaseBetween reads the cases of every period whole up to its end, each once,
// wherever a group ends.
func TestEachCaseBetween(t *testing.T) {
	o, db, n := busy(t)
	records, _, _ := o.tape.look()
	for after := 0; after < n; after += 3 {
		for through := after; through <= n; through += 2 {
			p := Period{After: uint64(after), Through: uint64(through)}
			want := map[domain.CaseID]int{}
			var order []domain.CaseID
			for i, r := range records[:through] {
				id := domain.CaseID(r.Stream)
				if i >= after && !slices.Contains(order, id) {
					order = append(order, id)
				}
				want[id]++
			}
			for _, limit := range []int{1, 2, 100} {
				var got []domain.CaseID
				for group, err := range db.eachCaseBetween(t.Context(), p, limit) {
					if err != nil {
						t.Fatal(err)
					}
					for _, of := range group {
						got = append(got, of[0].Subject)
						if len(of) != want[of[0].Subject] || of[len(of)-1].Position > uint64(through) {
							t.Errorf("%+v: case %s has %d records, want %d", p, of[0].Subject, len(of), want[of[0].Subject])
						}
					}
				}
				if !slices.Equal(got, order) {
					t.Errorf("%+v in groups of %d: %v, want %v", p, limit, got, order)
				}
			}
			if count, err := db.CountBetween(t.Context(), p); err != nil || count != int64(through-after) {
				t.Errorf("%+v: %d records, %v", p, count, err)
			}
		}
	}
	for range db.EachCaseBetween(t.Context(), Period{Through: uint64(n)}) {
		break // the reader wants no more
	}
	if count, err := db.CountBetween(t.Context(), Period{Agencies: []string{"fgw"}, Through: uint64(n)}); count != 0 || err != nil {
		t.Errorf("of another agency: %d, %v", count, err)
	}
	for group := range db.EachCaseBetween(t.Context(), Period{Procedure: "nothing", Through: uint64(n)}) {
		t.Errorf("of another procedure: %v", group)
	}
}
