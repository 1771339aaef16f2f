package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
	"golang.org/x/sync/errgroup"
)

// Names of the raw limits that liuhen's figures are set beside.
const (
	rawSingle  = "raw: single publish, sync always, 1 in flight"
	rawSingleN = "raw: single publish, sync always, 64 in flight"
	rawBatch   = "raw: atomic batches of 1,000, expected sequence, sync always"
	rawRead    = "raw: ordered read"
	rawCopy    = "raw: COPY of the rows of %s, with indexes"
)

// A rawStream is JetStream alone: a server in the process with sync always,
// and one stream, with nothing of liuhen on top.
type rawStream struct {
	server *server.Server
	nc     *nats.Conn
	js     jetstream.JetStream
	dir    string
}

func openRaw() (*rawStream, error) {
	dir, err := os.MkdirTemp("", "liuhen-bench-raw")
	if err != nil {
		return nil, err
	}
	s, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: dir, SyncAlways: true, NoSigs: true, NoLog: true})
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return nil, fmt.Errorf("the raw server does not answer")
	}
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	_, err = js.CreateStream(context.Background(), jetstream.StreamConfig{
		Name: "RAW", Subjects: []string{"raw.>"}, Storage: jetstream.FileStorage, AllowAtomicPublish: true, AllowDirect: true,
	})
	return &rawStream{server: s, nc: nc, js: js, dir: dir}, err
}

func (r *rawStream) close() {
	r.nc.Close()
	r.server.Shutdown()
	r.server.WaitForShutdown()
	_ = os.RemoveAll(r.dir)
}

// single publishes one by one from n goroutines for a while.
func (r *rawStream) single(ctx context.Context, n int, payload []byte, d time.Duration) (float64, []time.Duration, error) {
	var done atomic.Int64
	lat := make([][]time.Duration, n)
	g, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	for w := range n {
		g.Go(func() error {
			for i := 0; time.Since(start) < d; i++ {
				t := time.Now()
				if _, err := r.js.Publish(ctx, fmt.Sprintf("raw.c%d", (w*7919+i)%100_000), payload); err != nil {
					return err
				}
				lat[w] = append(lat[w], time.Since(t))
				done.Add(1)
			}
			return nil
		})
	}
	err := g.Wait()
	return float64(done.Load()) / time.Since(start).Seconds(), flat(lat), err
}

// batches publishes atomic batches of a thousand, each expecting the stream's
// last sequence.
func (r *rawStream) batches(ctx context.Context, payload []byte, d time.Duration) (float64, []time.Duration, error) {
	stream, err := r.js.Stream(ctx, "RAW")
	if err != nil {
		return 0, nil, err
	}
	last := stream.CachedInfo().State.LastSeq
	n := 0
	var lat []time.Duration
	start := time.Now()
	for time.Since(start) < d {
		t := time.Now()
		p, err := jetstreamext.NewBatchPublisher(r.js)
		if err != nil {
			return 0, nil, err
		}
		for i := range 999 {
			m := nats.NewMsg(fmt.Sprintf("raw.c%d", (n+i)%100_000))
			m.Data = payload
			var opts []jetstreamext.BatchMsgOpt
			if i == 0 {
				opts = append(opts, jetstreamext.WithBatchExpectLastSequence(last))
			}
			if err := p.AddMsg(m, opts...); err != nil {
				return 0, nil, err
			}
		}
		m := nats.NewMsg(fmt.Sprintf("raw.c%d", (n+999)%100_000))
		m.Data = payload
		ack, err := p.CommitMsg(ctx, m)
		if err != nil {
			return 0, nil, err
		}
		last = ack.Sequence
		n += 1000
		lat = append(lat, time.Since(t))
	}
	return float64(n) / time.Since(start).Seconds(), lat, nil
}

// read reads the stream in order from its beginning.
func (r *rawStream) read(ctx context.Context) (float64, error) {
	stream, err := r.js.Stream(ctx, "RAW")
	if err != nil {
		return 0, err
	}
	want := stream.CachedInfo().State.Msgs
	c, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return 0, err
	}
	start := time.Now()
	it, err := c.Messages(jetstream.PullMaxMessages(5000))
	if err != nil {
		return 0, err
	}
	defer it.Stop()
	for range want {
		if _, err := it.Next(); err != nil {
			return 0, err
		}
	}
	return float64(want) / time.Since(start).Seconds(), nil
}

func flat(lat [][]time.Duration) []time.Duration {
	var all []time.Duration
	for _, l := range lat {
		all = append(all, l...)
	}
	return all
}
