package pubsub_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"liuhen/reactions/pubsub"
)

// BenchmarkReader reads a stream to its end: what is skipped, and what is handed out
// and acknowledged at once, of a thousand keys.
func BenchmarkReader(b *testing.B) {
	for _, skip := range []bool{true, false} {
		b.Run(fmt.Sprint("skip ", skip), func(b *testing.B) {
			js := newStream(b)
			p := publisher(js)
			for first := 0; first < b.N; first += 1000 {
				var part []*message.Message
				for n := first; n < min(first+1000, b.N); n++ {
					m := message.NewMessage(fmt.Sprint(n), make([]byte, 500))
					m.Metadata.Set("key", fmt.Sprint("k", n%1000))
					part = append(part, m)
				}
				if err := p.Publish("bench", part...); err != nil {
					b.Fatal(err)
				}
			}
			last := message.NewMessage("last", nil)
			last.Metadata.Set("key", "last")
			if err := p.Publish("bench", last); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			messages, err := subscriber(b, js, "bench", wildcard, func(c *pubsub.SubscriberConfig) {
				if skip {
					c.Skip = func(subject string) bool { return !strings.HasSuffix(subject, ".last") }
				}
			}).Subscribe(b.Context(), "bench")
			if err != nil {
				b.Fatal(err)
			}
			for m := range messages {
				m.Ack()
				if m.UUID == "last" {
					break
				}
			}
		})
	}
}
