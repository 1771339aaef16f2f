package projections

import (
	"slices"
	"testing"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

func TestFindings(t *testing.T) {
	o, db, rs := corrected(t)
	o.file("K-3", "丙")
	o.day = o.day.AddDate(0, 0, 100)
	o.act("K-3", "decide", nil) // late, and without notice
	o.settle(db)

	list, err := db.Findings(t.Context(), FindingsFilter{}, Page{})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 4 || list.Position != 7 {
		t.Fatalf("%d findings at %d, want 4 at 7: %+v", len(list.Items), list.Position, list.Items)
	}
	newest := list.Items[0]
	if newest.Case != "K-3" || newest.Position != 7 || newest.Act != "decide" || newest.Basis == "" || newest.Detail.ZH == "" {
		t.Errorf("the newest finding is %+v", newest)
	}
	for _, item := range list.Items {
		if want := item.Event == rs[2].Event; item.Corrected != want {
			t.Errorf("finding of %s corrected: %v, want %v", item.Event, item.Corrected, want)
		}
	}
	var paged []FindingItem
	for page := (Page{Limit: 1}); ; {
		l, err := db.Findings(t.Context(), FindingsFilter{}, page)
		if err != nil {
			t.Fatal(err)
		}
		paged = append(paged, l.Items...)
		if page.Cursor = l.Next; page.Cursor == "" {
			break
		}
	}
	same := func(a, b FindingItem) bool {
		return a.Position == b.Position && a.Number == b.Number && a.Rule == b.Rule
	}
	if !slices.EqualFunc(paged, list.Items, same) {
		t.Errorf("page by page %+v, want %+v", paged, list.Items)
	}

	for _, c := range []struct {
		name string
		f    FindingsFilter
		want int
	}{
		{"rule", FindingsFilter{Rule: "I-4"}, 3},
		{"severity", FindingsFilter{Severity: rulebook.Major}, 1},
		{"case", FindingsFilter{Case: "K-1"}, 2},
		{"agency", FindingsFilter{Agencies: []string{"other"}}, 0},
		{"procedure", FindingsFilter{Procedure: "inspection"}, 4},
		{"since", FindingsFilter{Since: calendar.MakeDate(2025, 4, 1)}, 2},
		{"period", FindingsFilter{To: calendar.MakeDate(2025, 4, 1)}, 2},
		{"uncorrected", FindingsFilter{Uncorrected: true}, 3},
	} {
		n := 0
		for _, err := range db.EachFinding(t.Context(), c.f, nil) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != c.want {
			t.Errorf("%s: %d findings, want %d", c.name, n, c.want)
		}
	}
	counts, err := db.CountFindings(t.Context(), FindingsFilter{Uncorrected: true})
	want := []RuleCount{
		{"inspection", "I-4", rulebook.Veto, 2, 2},
		{"inspection", "I-1", rulebook.Major, 1, 1},
	}
	if err != nil || !slices.Equal(counts, want) {
		t.Errorf("counted %+v, %v; want %+v", counts, err, want)
	}
	o.agree(db)
}

func TestStats(t *testing.T) {
	o, db, _ := corrected(t)
	got, err := db.Count(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []ActCount{
		{Agency: "kjj", Procedure: "inspection", Act: "decide", Records: 2, Corrections: 1, Findings: 2},
		{Agency: "kjj", Procedure: "inspection", Act: "file-case", Records: 2, Opened: 2},
		{Agency: "kjj", Procedure: "inspection", Act: "inspect", Records: 1, Late: 1},
	}
	if !slices.Equal(got.Acts, want) || got.Position != 5 {
		t.Errorf("counts %+v at %d, want %+v at 5", got.Acts, got.Position, want)
	}
	if other, err := db.Count(t.Context(), []string{"other"}); err != nil || len(other.Acts) != 0 || other.Position != 5 {
		t.Errorf("counts of another agency: %+v, %v; want none at 5", other, err)
	}
	days, err := db.Days(t.Context(), []string{"kjj"}, calendar.MakeDate(2025, 3, 1), calendar.MakeDate(2025, 3, 9))
	wantDays := []DayCount{{calendar.MakeDate(2025, 3, 3), "kjj", "inspection", 3}}
	if err != nil || !slices.Equal(days, wantDays) {
		t.Errorf("days %+v, %v; want %+v", days, err, wantDays)
	}
	o.act("K-2", "inspect", nil, func(c *domain.Command) { c.Import = &domain.Import{Source: "x", Batch: "b", Row: 1} })
	o.settle(db)
	if got, err = db.Count(t.Context(), nil); err != nil || got.Acts[2].Records != 2 || got.Acts[2].Imported != 1 {
		t.Errorf("after an import: %+v, %v", got.Acts, err)
	}
	o.agree(db)
}
