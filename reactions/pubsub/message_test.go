package pubsub

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Whatever stands in a header, reading it panics nowhere, and what has been read
// is read back the same.
func FuzzParseMetadata(f *testing.F) {
	for _, seed := range []string{"", "{}", "null", "[]", `{"a":"b"}`, `{"a":1}`, `{"a":"b"`, `{"a":"b","a":"c"}`, "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		read := parseMetadata(text)
		m := message.NewMessage("u", nil)
		m.Metadata = message.Metadata{}
		for k, v := range read {
			m.Metadata[k] = v
		}
		for _, own := range []string{Position, Subject, StoredAt, Deliveries} {
			delete(m.Metadata, own)
		}
		stored, err := encode("s", m)
		if err != nil {
			t.Fatalf("%q was read as %v and cannot be written: %v", text, read, err)
		}
		again := parseMetadata(stored.Header.Get(metadataHeader))
		if len(again) != len(m.Metadata) {
			t.Fatalf("%v came back as %v", m.Metadata, again)
		}
		for k, v := range m.Metadata {
			if again[k] != v {
				t.Fatalf("%q: %q came back as %q", k, v, again[k])
			}
		}
	})
}

func TestBackoff(t *testing.T) {
	wait := Backoff(100*time.Millisecond, time.Second)
	for deliveries, want := range map[uint64]time.Duration{
		0: 100 * time.Millisecond, 1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 4: 800 * time.Millisecond,
		5: time.Second, 1 << 60: time.Second,
	} {
		if got := wait(deliveries); got != want {
			t.Errorf("after %d deliveries %s, want %s", deliveries, got, want)
		}
	}
}
