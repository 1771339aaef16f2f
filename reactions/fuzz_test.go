package reactions

import (
	"encoding/json"
	"errors"
	"testing"
)

// An id from outside is one of ours, exactly, or no id at all.
func FuzzParseID(f *testing.F) {
	for _, seed := range []string{"", "a.1", "publication-task.18446744073709551615", "a.01", "a.-1", "a.0", "A.1", "a.1.>", "*.1", "a .1", "a.1 "} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		reaction, position, err := parseID(id)
		if err != nil {
			if !errors.Is(err, ErrNoAside) {
				t.Fatalf("%q: %v, want ErrNoAside", id, err)
			}
			return
		}
		if asideID(reaction, position) != id {
			t.Fatalf("%q was read as %s, %d", id, reaction, position)
		}
	})
}

// What stands in the bucket is read or is an error, and what was read is written the
// same.
func FuzzReadAside(f *testing.F) {
	for _, seed := range []string{"", "{}", "null", `{"id":"b.2","reason":"x","outcome":"dropped"}`, `{"at":"yesterday"}`, `{"retries":1e9}`, "[]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := readAside("picky.7", data)
		if err != nil {
			return
		}
		if a.ID != "picky.7" || a.Reaction != "picky" || a.Position != 7 {
			t.Fatalf("%q was read as %+v", data, a)
		}
		text, err := json.Marshal(a)
		if err != nil {
			t.Skip("a time that JSON cannot hold")
		}
		again, err := readAside("picky.7", text)
		if err != nil || again.Reason != a.Reason || again.Outcome != a.Outcome || !again.At.Equal(a.At) {
			t.Fatalf("%+v came back as %+v, %v", a, again, err)
		}
	})
}
