package audit_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"liuhen/transparency/audit"
)

// BenchmarkWhole measures a whole audit beside the raw ordered read of the same
// stream, alternating in one run. raw/s and audit/s are records a second; the
// audit should come to 0.6 of the raw read.
func BenchmarkWhole(b *testing.B) {
	const records = 100_000
	o := newOffice(b)
	if why := o.start(b); why != "" {
		b.Fatal(why)
	}
	o.record(b, 20_000, records)
	o.stop()
	s := o.source(b)
	js := o.serve(b)
	var raw, audited time.Duration
	var most uint64
	for b.Loop() {
		began := time.Now()
		stream, err := js.Stream(b.Context(), testVolume)
		if err != nil {
			b.Fatal(err)
		}
		consumer, err := stream.OrderedConsumer(b.Context(), jetstream.OrderedConsumerConfig{})
		if err != nil {
			b.Fatal(err)
		}
		messages, err := consumer.Messages(jetstream.PullMaxMessages(5000))
		if err != nil {
			b.Fatal(err)
		}
		for range records {
			if _, err := messages.Next(); err != nil {
				b.Fatal(err)
			}
		}
		messages.Stop()
		raw += time.Since(began)

		began = time.Now()
		s.Progress = func(done, _ uint64) {
			if done%20_000 == 0 {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
		}
		got, err := s.Run(b.Context(), audit.Scope{})
		if err != nil || !got.Clean() || got.Records != records {
			b.Fatalf("%+v (%v)", got, err)
		}
		audited += time.Since(began)
	}
	n := float64(b.N) * records
	b.ReportMetric(n/raw.Seconds(), "raw/s")
	b.ReportMetric(n/audited.Seconds(), "audit/s")
	b.ReportMetric(raw.Seconds()/audited.Seconds(), "share")
	b.Logf("heap at most %d MiB", most>>20)
}
