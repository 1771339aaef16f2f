package audit

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"liuhen/domain"
	"liuhen/eventstore"
)

// records are examples of every version of the record.
func records(t testing.TB) [][]byte {
	t.Helper()
	files, err := filepath.Glob("../../domain/testdata/record/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no records: %v", err)
	}
	var all [][]byte
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data)
	}
	return all
}

// TestEnvelope reads every example as domain.Read does.
func TestEnvelope(t *testing.T) {
	for i, data := range records(t) {
		r, err := domain.Read(1, time.Time{}, data)
		if err != nil {
			t.Fatal(err)
		}
		e, err := parseEnvelope(data)
		if err != nil || e.under() != domain.Subject(r.Agency(), r.Procedure(), r.Subject) || e.Revision != r.Revision || e.Previous != r.Previous || !e.Recorded.Equal(r.Recorded) {
			t.Errorf("record %d: %+v (%v), want %+v", i, e, err, r.Event)
		}
	}
}

// FuzzEnvelope holds the light reader against domain.Read: what that takes, this
// takes too, and finds the same in it.
func FuzzEnvelope(f *testing.F) {
	for _, data := range records(f) {
		f.Add(data)
	}
	f.Add([]byte(`{"specversion":"1.0","specversion":"1.0"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := parseEnvelope(data)
		r, want := domain.Read(1, time.Time{}, data)
		if want != nil {
			return // it is stricter about what the act says
		}
		if r.Procedure() == "" {
			if err == nil {
				t.Error("taken without a procedure")
			}
			return
		}
		if err != nil || e.Revision != r.Revision || e.Previous != r.Previous || e.under() != domain.Subject(r.Agency(), r.Procedure(), r.Subject) {
			t.Errorf("%+v (%v), want %+v", e, err, r.Event)
		}
	})
}

// TestTolerance holds times against each other at the edges of what is tolerated.
func TestTolerance(t *testing.T) {
	data := records(t)[0]
	e, err := parseEnvelope(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		stored time.Duration // after it says that it was recorded
		found  bool
	}{{0, false}, {10 * time.Minute, false}, {10*time.Minute + 1, true}, {-2 * time.Minute, false}, {-2*time.Minute - 1, true}} {
		r := eventstore.Record{Stream: e.under(), Position: 1, At: e.Recorded.Add(c.stored), Data: data}
		_, f := DefaultTolerance.look(&r)
		if (f != nil) != c.found || f != nil && f.Kind != Dated {
			t.Errorf("stored %s after it was recorded: %+v", c.stored, f)
		}
	}
	r := eventstore.Record{Stream: "enf.other.penalty-ordinary." + e.Subject, Position: 1, At: e.Recorded, Data: data}
	if _, f := DefaultTolerance.look(&r); f == nil || f.Kind != Foreign {
		t.Errorf("under another agency's subject: %+v", f)
	}
}
