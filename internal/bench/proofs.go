package main

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"liuhen/eventstore"
	"liuhen/transparency"
	"liuhen/transparency/keys"
)

// Names of what the log of proofs is set beside.
const withoutLog = "appends without the log, %s in flight"

// A sealed is a store with its log of proofs, in this process.
type sealed struct {
	dir    string
	server *eventstore.Server
	store  *eventstore.Store
	config transparency.Config
	log    *transparency.Log // nil: without
	close  func() error
}

func openSealed(ctx context.Context, withLog bool) (*sealed, error) {
	dir, err := os.MkdirTemp("", "liuhen-bench-proofs")
	if err != nil {
		return nil, err
	}
	s := &sealed{dir: dir}
	quiet := slog.New(slog.DiscardHandler)
	if s.server, err = eventstore.Embedded(filepath.Join(dir, "nats"), eventstore.ServerOptions{}); err != nil {
		return nil, err
	}
	if s.store, err = eventstore.Open(ctx, eventstore.Config{Server: s.server, Volume: "ENF", Logger: quiet}); err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	g, running := errgroup.WithContext(running)
	if withLog {
		if err := s.openLog(ctx, quiet); err != nil {
			stop()
			return nil, err
		}
		g.Go(func() error { return s.log.Run(running) })
	}
	g.Go(func() error { return s.store.Run(running) })
	g.Go(func() error { return s.forget(running) })
	s.close = func() error {
		stop()
		err := g.Wait()
		s.server.Shutdown()
		return err
	}
	return s, s.store.Ready(ctx)
}

func (s *sealed) openLog(ctx context.Context, quiet *slog.Logger) error {
	js, err := jetstream.New(s.server.Conn())
	if err != nil {
		return err
	}
	history, err := transparency.OpenHistory(ctx, js, "ENF", 1)
	if err != nil {
		return err
	}
	ring, _, err := keys.LoadOrCreate(filepath.Join(s.dir, "keys"), "example.org/liuhen/bench")
	if err != nil {
		return err
	}
	settings, err := history.Begin(ctx, transparency.Settings{Origin: ring.Name(), Volume: "ENF", Keys: ring.First()})
	if err != nil {
		return err
	}
	chain, err := ring.Verifiers()
	if err != nil {
		return err
	}
	s.config = transparency.Config{
		Store: s.store, History: history, Settings: settings, Signers: ring.Signers(), Keys: chain,
		Dir: filepath.Join(s.dir, "log"), Memory: filepath.Join(s.dir, "memory"), Logger: quiet,
	}
	s.log, err = transparency.Open(ctx, s.config)
	return err
}

// forget lets the store forget what it need not remember, as the program does.
func (s *sealed) forget(ctx context.Context) error {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.store.Release(s.store.End())
		case <-ctx.Done():
			return nil
		}
	}
}

// load appends records of n callers to 100,000 cases for a while. Of every 64th it
// measures how long after the receipt it is under a signed checkpoint.
func (s *sealed) load(ctx context.Context, n int, d time.Duration) (float64, []time.Duration, error) {
	var done atomic.Int64
	var mu sync.Mutex
	var included []time.Duration
	var waiting sync.WaitGroup
	g, gctx := errgroup.WithContext(ctx)
	start := time.Now()
	for w := range n {
		g.Go(func() error {
			for i := w; time.Since(start) < d; i += n {
				data := fmt.Appendf(append([]byte(nil), payload...), "%d", i)
				stream := fmt.Sprintf("enf.a.penalty.C-%d", i%100_000)
				p, err := s.store.Append(gctx, stream, s.store.Newest(stream), data)
				if err != nil {
					return err
				}
				if done.Add(1)%64 == 0 && s.log != nil {
					receipt := time.Now()
					waiting.Go(func() {
						if _, err := s.log.Wait(ctx, int64(p)); err == nil {
							mu.Lock()
							included = append(included, time.Since(receipt))
							mu.Unlock()
						}
					})
				}
			}
			return nil
		})
	}
	err := g.Wait()
	rate := float64(done.Load()) / time.Since(start).Seconds()
	waiting.Wait()
	return rate, included, err
}

func benchProofs(ctx context.Context, o options, r *report) error {
	const group = "Log of proofs"
	for range o.rounds {
		for _, n := range o.levels {
			for _, withLog := range []bool{false, true} {
				s, err := openSealed(ctx, withLog)
				if err != nil {
					return err
				}
				rate, included, err := s.load(ctx, n, o.seconds)
				if err != nil {
					return err
				}
				without := fmt.Sprintf(withoutLog, fmt.Sprint(n))
				if !withLog {
					r.add(group, without, "records/s", rate, nil)
				} else {
					r.besideNow(r.add(group, fmt.Sprintf("appends with the log, %d in flight", n), "records/s", rate, nil), without, 0.85)
					r.add(group, fmt.Sprintf("from the receipt to a signed checkpoint, %d in flight", n), "samples", float64(len(included)), included)
				}
				if withLog && n == o.levels[len(o.levels)-1] {
					if err := s.figures(ctx, r, group); err != nil {
						return err
					}
				}
				if err := s.close(); err != nil {
					return err
				}
				_ = os.RemoveAll(s.dir)
			}
		}
	}
	return nil
}

// figures are what a log of that size takes, and how long proofs do.
func (s *sealed) figures(ctx context.Context, r *report, group string) error {
	size := s.log.Checkpoint().Size
	bytes, err := folderSize(filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	r.add(group, "disk of tiles, entries and heads, per million records", "MB", float64(bytes)/float64(size), nil)

	const proofs = 1000
	var lat, headLat []time.Duration
	total := 0
	for range proofs {
		began := time.Now()
		p, err := s.log.Prove(ctx, eventstore.Position(1+rand.Int64N(size)))
		if err != nil {
			return err
		}
		text := p.Marshal()
		lat = append(lat, time.Since(began))
		total += len(text)
	}
	r.add(group, "proof of a record", "bytes", float64(total)/proofs, lat)
	for i := range proofs {
		began := time.Now()
		if _, err := s.log.Heads(ctx, []string{fmt.Sprintf("C-%d", i)}, 0); err != nil {
			return err
		}
		headLat = append(headLat, time.Since(began))
	}
	r.add(group, "proof of a case's head", "samples", proofs, headLat)

	// Made anew from the record, in a folder of its own, before it is opened.
	anew := s.config
	anew.Dir, anew.Memory, anew.Signers = filepath.Join(s.dir, "anew"), "", nil
	began := time.Now()
	if _, err := transparency.Open(ctx, anew); err != nil {
		return err
	}
	r.besideNow(r.add(group, "the log made anew from the record", "records/s", float64(size)/time.Since(began).Seconds(), nil), rawRead, 0)
	return nil
}

func folderSize(dir string) (int64, error) {
	var n int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		n += info.Size()
		return err
	})
	return n, err
}
