package audit_test

import (
	"testing"

	"liuhen/transparency/audit"
)

// TestClean audits a record in which nothing is wrong: while the system runs, and
// when it is stopped; all of it and in parts.
func TestClean(t *testing.T) {
	o := newOffice(t)
	if why := o.start(t); why != "" {
		t.Fatal(why)
	}
	o.record(t, 7, 300)
	last := o.record(t, 40, 400)
	got := o.verify(t, audit.Scope{})
	clean(t, got)
	if got.Records != int64(last) || got.Cases != 40 || got.Checkpoints < 2 || got.Sealed != int64(last) || got.Through != uint64(last) || got.Tiles != 4 {
		t.Errorf("%+v", got)
	}
	o.stop()
	clean(t, o.verify(t, audit.Scope{}))
	got = o.verify(t, audit.Scope{From: 200, Through: 600})
	clean(t, got)
	if got.Records != 401 || got.Proofs != 401 {
		t.Errorf("range: %+v", got)
	}
	got = o.verify(t, audit.Scope{Record: 257})
	clean(t, got)
	if got.Records != 1 || got.Proofs != 1 {
		t.Errorf("record: %+v", got)
	}
	got = o.verify(t, audit.Scope{Case: "C-0003"})
	clean(t, got)
	if got.Records != 53 || got.Proofs != 53 {
		t.Errorf("case: %+v", got)
	}
	if f := o.verify(t, audit.Scope{Case: "nobody"}).First(); f == nil || f.Kind != audit.NotThere {
		t.Errorf("a case that is not there: %+v", f)
	}
	if f := o.verify(t, audit.Scope{Record: 100_000}).First(); f == nil || f.Kind != audit.NotThere {
		t.Errorf("a record that is not there: %+v", f)
	}
}
