package projections

import (
	"testing"

	"liuhen/domain"
)

// TestAfter cuts a batch for models that are ahead of it.
func TestAfter(t *testing.T) {
	o := newOffice(t)
	o.file("K-1", "甲")
	o.file("K-2", "甲")
	o.act("K-1", "inspect", nil)
	o.file("K-3", "甲")
	o.act("K-2", "inspect", nil)
	records, _, _ := o.tape.look()
	b, err := newFolder(&DB{law: o.book, book: o.book}, o.tape, maxBatch, All...).prepare(t.Context(), records, false)
	if err != nil || b.folded != nil {
		t.Fatal(err, b.folded)
	}
	for at, want := range [][]struct {
		id    domain.CaseID
		isNew bool
	}{
		0: {{"K-1", true}, {"K-2", true}, {"K-3", true}},
		1: {{"K-1", false}, {"K-2", true}, {"K-3", true}},
		2: {{"K-1", false}, {"K-2", false}, {"K-3", true}},
		3: {{"K-2", false}, {"K-3", true}},
		4: {{"K-2", false}},
		5: nil,
		6: nil,
	} {
		part := b.after(uint64(at))
		if part == nil {
			if want != nil {
				t.Errorf("after %d there is nothing, want %v", at, want)
			}
			continue
		}
		if part.first != uint64(at)+1 || part.last != 5 || len(part.Records) != 5-at || len(part.Cases) != len(want) {
			t.Errorf("after %d: %d to %d, %d records, %d cases; want %d cases", at, part.first, part.last, len(part.Records), len(part.Cases), len(want))
			continue
		}
		for i, w := range want {
			if c := part.Cases[i]; c.ID != w.id || c.New != w.isNew || c.Revision != o.cases[w.id].Revision {
				t.Errorf("after %d: case %d is %s at revision %d, new %v; want %v", at, i, c.ID, c.Revision, c.New, w)
			}
		}
	}
	alone := &Batch{first: 6, last: 5, Cases: b.Cases}
	if alone.after(5) != alone {
		t.Error("cases alone were left out")
	}
}
