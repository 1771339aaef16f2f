package projections

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// corrected is an office with a case K-1 of four events, of which the third is
// corrected by the fourth, and a case K-2.
func corrected(t *testing.T) (*office, *DB, []domain.Receipt) {
	t.Helper()
	o, db := started(t)
	var rs []domain.Receipt
	rs = append(rs, o.file("K-1", "沈阳新科技有限公司"))
	o.file("K-2", "大连华联商行")
	rs = append(rs, o.act("K-1", "inspect", nil, func(c *domain.Command) {
		c.At = c.At.AddDate(0, 0, -20)
		c.LateReason = "纸质记录由乡镇转交"
		c.Officers = []rulebook.Officer{{ID: "sun", Name: "孙八"}}
	}))
	o.day = o.day.AddDate(0, 0, 7)
	rs = append(rs, o.act("K-1", "decide", fields{"document_number": "沈科罚〔2025〕1号", "amount": 500000}))
	rs = append(rs, o.act("K-1", "decide", fields{"document_number": "沈科罚〔2025〕2号"}, func(c *domain.Command) {
		c.Corrects, c.Reason = rs[2].Event, "文号有误"
	}))
	o.settle(db)
	return o, db, rs
}

func TestTimeline(t *testing.T) {
	o, db, rs := corrected(t)
	list, err := db.Timeline(t.Context(), TimelineFilter{Case: "K-1"}, Page{})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 4 || list.Position != 5 || list.Next != "" {
		t.Fatalf("timeline of K-1 has %d events at position %d, next %q; want 4 at 5 and no next", len(list.Items), list.Position, list.Next)
	}
	for i, item := range list.Items {
		if item.ID != rs[i].Event || item.Digest != rs[i].Digest || item.Position != rs[i].Position {
			t.Errorf("event %d is %s %s at %d, want %s %s at %d", i, item.ID, item.Digest, item.Position, rs[i].Event, rs[i].Digest, rs[i].Position)
		}
		stored, _, _ := o.tape.look()
		if !bytes.Equal(item.Raw, stored[item.Position-1].Data) {
			t.Errorf("event %d is not byte for byte what was stored", i)
		}
	}
	if got := list.Items[2].CorrectedBy; got != rs[3].Event {
		t.Errorf("the first decision is corrected by %q, want %q", got, rs[3].Event)
	}
	if !list.Items[1].Late || list.Items[0].Late {
		t.Errorf("late: %v, %v; want the inspection to be late and the filing not", list.Items[1].Late, list.Items[0].Late)
	}
	o.agree(db)
}

func TestTimelineFilters(t *testing.T) {
	_, db, rs := corrected(t)
	march := func(day int) calendar.Date { return calendar.MakeDate(2025, 3, day) }
	for _, c := range []struct {
		name string
		f    TimelineFilter
		want []int // of rs
	}{
		{"all", TimelineFilter{}, []int{0, 1, 2, 3}},
		{"newest first", TimelineFilter{NewestUp: true}, []int{3, 2, 1, 0}},
		{"one act", TimelineFilter{Acts: []string{"decide"}}, []int{2, 3}},
		{"two acts", TimelineFilter{Acts: []string{"decide", "file-case"}}, []int{0, 2, 3}},
		{"an officer", TimelineFilter{Person: "sun"}, []int{1}},
		{"the actor", TimelineFilter{Person: "li"}, []int{0, 1, 2, 3}},
		{"nobody", TimelineFilter{Person: "wu"}, nil},
		{"from", TimelineFilter{From: march(4)}, []int{2, 3}},
		{"to", TimelineFilter{To: march(2)}, []int{1}},
		{"one day", TimelineFilter{From: march(3), To: march(3)}, []int{0}},
		{"late", TimelineFilter{Late: true}, []int{1}},
		{"corrections", TimelineFilter{Corrected: true}, []int{2, 3}},
		{"findings", TimelineFilter{Findings: true}, []int{2, 3}}, // no notice before the decision
		{"late decisions", TimelineFilter{Late: true, Acts: []string{"decide"}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.f.Case = "K-1"
			list, err := db.Timeline(t.Context(), c.f, Page{})
			if err != nil {
				t.Fatal(err)
			}
			var got, want []string
			for _, item := range list.Items {
				got = append(got, item.ID)
			}
			for _, i := range c.want {
				want = append(want, rs[i].Event)
			}
			if strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("asked %+v, got %v, want %v", c.f, got, want)
			}
			if list.Position != 5 {
				t.Errorf("position %d, want 5", list.Position)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	o, db, rs := corrected(t)
	cases, through, err := db.Load(t.Context(), []domain.CaseID{"K-1", "K-2", "K-3", "K-1"})
	if err != nil {
		t.Fatal(err)
	}
	if through != 5 || len(cases) != 2 {
		t.Fatalf("%d cases through %d, want 2 through 5", len(cases), through)
	}
	c, err := domain.Replay(o.book, cases["K-1"])
	if err != nil {
		t.Fatal(err)
	}
	if c.Revision != 4 || c.Head != rs[3].Digest {
		t.Errorf("K-1 is at revision %d, head %s; want 4, %s", c.Revision, c.Head, rs[3].Digest)
	}
	if got, want := len(cases["K-2"]), 1; got != want {
		t.Errorf("K-2 has %d records, want %d", got, want)
	}
}

func TestLoadOfNothingHasPosition(t *testing.T) {
	_, db, _ := corrected(t)
	cases, through, err := db.Load(t.Context(), []domain.CaseID{"K-9"})
	if err != nil || len(cases) != 0 || through != 5 {
		t.Errorf("load of an unknown case: %v through %d, %v; want none through 5", cases, through, err)
	}
}

// TestEachCase reads every case whole, wherever a page ends, as it was when the
// reading began.
func TestEachCase(t *testing.T) {
	o, db := started(t)
	want := map[domain.CaseID]int{}
	for round := range 4 {
		for i, id := range []domain.CaseID{"K-3", "K-1", "甲-1", "K-2", "K-10"} {
			switch {
			case round == 0:
				o.act(id, "file-case", fields{"party": map[string]any{"name": "某公司"}}, func(c *domain.Command) {
					if c.Agency = "kjj"; i == 1 {
						c.Agency = "fgw"
					}
				})
			case i >= round: // one has four records, one three …
				o.act(id, "inspect", nil)
			default:
				continue
			}
			want[id]++
		}
	}
	o.settle(db)
	records, _, _ := o.tape.look()
	through := uint64(len(records))
	for _, limit := range []int{1, 2, 3, 5, 1000} {
		for _, agencies := range [][]string{nil, {"kjj"}, {"fgw", "kjj"}, {"elsewhere"}} {
			seen := map[domain.CaseID]int{}
			var at uint64
			for of, err := range db.eachCase(t.Context(), agencies, func(p uint64) error { at = p; return nil }, limit) {
				if err != nil {
					t.Fatal(err)
				}
				if seen[of[0].Subject] > 0 {
					t.Errorf("pages of %d: case %s comes twice", limit, of[0].Subject)
				}
				for i, r := range of {
					if r.Subject != of[0].Subject || r.Revision != i+1 || r.Position > through {
						t.Errorf("pages of %d: record %d of case %s is %d of %s at %d", limit, i+1, of[0].Subject, r.Revision, r.Subject, r.Position)
					}
				}
				seen[of[0].Subject] = len(of)
			}
			for id, n := range want {
				asked := agencies == nil || len(agencies) == 2 || agencies[0] == "kjj" && id != "K-1"
				if asked && seen[id] != n || !asked && seen[id] != 0 {
					t.Errorf("pages of %d, agencies %v: case %s has %d records, want %d", limit, agencies, id, seen[id], n)
				}
			}
			if at < through {
				t.Errorf("pages of %d: position %d, want %d", limit, at, through)
			}
		}
	}

	// What is recorded meanwhile belongs to a later reading.
	first, n := true, 0
	for of, err := range db.eachCase(t.Context(), nil, nil, 2) {
		if err != nil {
			t.Fatal(err)
		}
		if first {
			first = false
			o.act("甲-1", "inspect", nil)
			o.file("甲-2", "某公司")
			o.settle(db)
		}
		n += len(of)
	}
	if uint64(n) != through {
		t.Errorf("%d records were read, want the %d that there were", n, through)
	}
	for range db.EachCase(t.Context(), nil, nil) {
		break // the reader wants no more
	}
	stopped := func(uint64) error { return errTest }
	for of, err := range db.EachCase(t.Context(), nil, stopped) {
		if of != nil || !errors.Is(err, errTest) {
			t.Errorf("a header that fails: %v %v", of, err)
		}
	}
}
