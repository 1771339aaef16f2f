package eventstore_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"liuhen/eventstore"
	"liuhen/eventstore/eventstoretest"
)

// payload is about what an event weighs: 512 bytes of JSON with Chinese text.
var payload = func() []byte {
	text := `{"specversion":"1.0","type":"penalty-ordinary.inspect","source":"市场监督管理局","fields":{"事实":"`
	for len(text) < 508 {
		text += "现场检查"
	}
	return []byte(text[:508] + `"}}`)
}()

func rate(b *testing.B, began time.Time, records int) {
	b.ReportMetric(float64(records)/time.Since(began).Seconds(), "records/s")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkRaw is the limit that Append is measured against: the same server,
// each write synced, driven by hand.
func BenchmarkRaw(b *testing.B) {
	b.Run("single", func(b *testing.B) {
		nc, js := rawStream(b)
		_ = nc
		began := time.Now()
		for i := range b.N {
			if _, err := js.Publish(context.Background(), "enf.a.p."+strconv.Itoa(i%1000), payload); err != nil {
				b.Fatal(err)
			}
		}
		rate(b, began, b.N)
	})
	for _, size := range []int{4, 8, 16, 64, 1000} {
		b.Run(fmt.Sprint("batch", size), func(b *testing.B) {
			nc, _ := rawStream(b)
			began := time.Now()
			for i := range b.N {
				rawBatch(b, nc, i, size)
			}
			rate(b, began, b.N*size)
		})
	}
}

func rawStream(b *testing.B) (*nats.Conn, jetstream.JetStream) {
	srv := eventstoretest.Server(b)
	if _, err := eventstore.Open(context.Background(), eventstore.Config{Server: srv, Volume: "RAW"}); err != nil {
		b.Fatal(err)
	}
	js, err := jetstream.New(srv.Conn())
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	return srv.Conn(), js
}

func rawBatch(b *testing.B, nc *nats.Conn, batch, size int) {
	for n := 1; n < size; n++ {
		if err := nc.PublishMsg(rawMessage(batch, n, size)); err != nil {
			b.Fatal(err)
		}
	}
	m, err := nc.RequestMsg(rawMessage(batch, size, size), 30*time.Second)
	if err != nil || len(m.Data) == 0 || m.Data[1] == 'e' {
		b.Fatal(err, m)
	}
}

func rawMessage(batch, n, size int) *nats.Msg {
	m := nats.NewMsg("enf.a.p." + strconv.Itoa((batch*size+n)%1000))
	m.Data = payload
	m.Header.Set("Nats-Batch-Id", "b"+strconv.Itoa(batch))
	m.Header.Set("Nats-Batch-Sequence", strconv.Itoa(n))
	if n == 1 {
		m.Header.Set("Nats-Expected-Last-Sequence", strconv.Itoa(batch*size))
	}
	if n == size {
		m.Header.Set("Nats-Batch-Commit", "1")
	}
	return m
}

// BenchmarkAppend is the store: one record an Append, many streams.
func BenchmarkAppend(b *testing.B) {
	for _, inFlight := range []int{1, 8, 16, 64, 256, 1024} {
		b.Run(fmt.Sprint(inFlight), func(b *testing.B) {
			store := eventstoretest.New(b)
			ctx := context.Background()
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			began := time.Now()
			for w := range inFlight {
				wg.Go(func() {
					last := eventstore.Position(0)
					for next.Add(1) <= int64(b.N) {
						p, err := store.Append(ctx, "enf.a.p."+strconv.Itoa(w), last, payload)
						if err != nil {
							b.Error(err)
							return
						}
						last = p
					}
				})
			}
			wg.Wait()
			rate(b, began, b.N)
			st := store.Status()
			b.ReportMetric(float64(st.Appended)/float64(st.Groups), "records/sync")
		})
	}
}

// BenchmarkFollow reads a volume of 200,000 records that is not in memory.
func BenchmarkFollow(b *testing.B) {
	const n = 200_000
	srv := eventstoretest.Server(b)
	if _, err := eventstore.Open(context.Background(), eventstore.Config{Server: srv, Volume: "RAW"}); err != nil {
		b.Fatal(err)
	}
	for i := range n / 1000 {
		rawBatch(b, srv.Conn(), i, 1000)
	}
	store, err := eventstore.Open(context.Background(), eventstore.Config{Server: srv, Volume: "RAW"})
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	began := time.Now()
	for range b.N {
		for recs, err := range store.FollowBatches(context.Background(), 0, 2000) {
			if err != nil {
				b.Fatal(err)
			}
			if recs[len(recs)-1].Position == n {
				break
			}
		}
	}
	rate(b, began, b.N*n)
}
