package projections

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"liuhen/domain/calendar"
	"liuhen/internal/pgtest"
)

func TestAccessTrail(t *testing.T) {
	o := newOffice(t)
	at := time.Date(2025, 3, 3, 1, 0, 0, 0, time.UTC)
	for i, l := range []Look{
		{Person: "li", Role: "officer", Agency: "kjj", What: "case", Case: "K-1", Purpose: "办案", Address: "10.0.0.1"},
		{Person: "wang", Role: "inspector", Agency: "sfj", What: "case", Case: "K-1", Purpose: "案卷评查"},
		{Person: "li", Role: "officer", Agency: "kjj", What: "ledger", Query: "party=沈阳", Rows: 12},
	} {
		l.At = at.AddDate(0, 0, i)
		data, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		o.tape.add("access.kjj", l.At, data)
	}
	db, _ := o.run(pgtest.New(t), Access...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := db.Wait(ctx, "access", 3); err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct {
		name string
		f    LooksFilter
		want []uint64
	}{
		{"all", LooksFilter{}, []uint64{3, 2, 1}},
		{"case", LooksFilter{Case: "K-1"}, []uint64{2, 1}},
		{"person", LooksFilter{Person: "li"}, []uint64{3, 1}},
		{"agency", LooksFilter{Agencies: []string{"sfj"}}, []uint64{2}},
		{"what", LooksFilter{What: "ledger"}, []uint64{3}},
		{"period", LooksFilter{From: calendar.MakeDate(2025, 3, 4), To: calendar.MakeDate(2025, 3, 4)}, []uint64{2}},
	} {
		var got []uint64
		for page := (Page{Limit: 1}); ; {
			list, err := db.LooksAt(t.Context(), c.f, page)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range list.Items {
				got = append(got, l.Position)
			}
			if page.Cursor = list.Next; page.Cursor == "" {
				break
			}
		}
		if len(got) != len(c.want) || got[0] != c.want[0] || got[len(got)-1] != c.want[len(got)-1] {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
	list, err := db.LooksAt(t.Context(), LooksFilter{}, Page{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if got := list.Items[0]; got.Rows != 12 || got.Query != "party=沈阳" || !got.At.Equal(at.AddDate(0, 0, 2)) {
		t.Errorf("the last look is %+v", got)
	}

	report, err := rebuild(t.Context(), db, o.tape, Access, nil)
	if err != nil || !report.Clean() || report.Models[0].Rows != 3 {
		t.Errorf("rebuilt: %+v, %v; want 3 rows and no difference", report, err)
	}
	if _, err := Rebuild(t.Context(), db, o.tape, []string{"access", "ledger"}, nil); err == nil {
		t.Error("models of two streams were rebuilt together")
	}
	if _, err := ReadLook([]byte(`{"at":"2025-03-03T01:00:00Z"}`)); !errors.Is(err, ErrLook) {
		t.Errorf("a look without person: %v, want ErrLook", err)
	}
}

func FuzzReadLook(f *testing.F) {
	f.Add([]byte(`{"at":"2025-03-03T01:00:00Z","person":"li","what":"case"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := ReadLook(data)
		if err == nil && (l.Person == "" || l.At.IsZero()) {
			t.Errorf("%q was read as %+v", data, l)
		}
	})
}
