package projections

import (
	"fmt"
	"reflect"
	"testing"

	"liuhen/domain"
)

// What is read at once is bounded by records, and a case is never cut.
func TestPortions(t *testing.T) {
	entry := func(id string, records int) LedgerEntry {
		return LedgerEntry{Case: domain.CaseID(id), Revision: records}
	}
	var got []string
	entries := []LedgerEntry{entry("a", 1500), entry("b", 500), entry("c", 1), entry("sealed", 1), entry("d", 9000), entry("e", 1)}
	for ids := range portions(entries, func(e LedgerEntry) bool { return e.Case != "sealed" }) {
		got = append(got, fmt.Sprint(ids))
	}
	if want := []string{"[a b]", "[c]", "[d]", "[e]"}; !reflect.DeepEqual(got, want) {
		t.Errorf("portions %v, want %v", got, want)
	}
	for range portions(nil, nil) {
		t.Error("a portion of nothing")
	}
}
