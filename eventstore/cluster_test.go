package eventstore

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// cluster starts three servers that replicate.
func cluster(t *testing.T) []*natsserver.Server {
	t.Helper()
	var servers []*natsserver.Server
	var routes []*url.URL
	var ports []int
	for range 3 { // each must know the others' ports beforehand
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		routes = append(routes, &url.URL{Scheme: "nats", Host: l.Addr().String()})
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for i, port := range ports {
		ns, err := natsserver.NewServer(&natsserver.Options{
			ServerName: fmt.Sprint("n", i), Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: t.TempDir(), SyncAlways: true,
			Cluster: natsserver.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port},
			Routes:  routes,
		})
		if err != nil {
			t.Fatal(err)
		}
		ns.Start()
		t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
		servers = append(servers, ns)
	}
	for _, ns := range servers {
		if !ns.ReadyForConnections(30 * time.Second) {
			t.Fatalf("server %s does not start", ns.Name())
		}
	}
	eventually(t, 60*time.Second, "the cluster has a leader and three members", func() bool {
		for _, ns := range servers {
			if ns.JetStreamIsLeader() {
				return len(ns.JetStreamClusterPeers()) == 3
			}
		}
		return false
	})
	return servers
}

// On three replicas the server that leads the stream is stopped while callers
// write: nothing acknowledged is lost, nothing stands twice, writing goes on.
func TestReplicated(t *testing.T) {
	servers := cluster(t)
	var urls []string
	for _, ns := range servers {
		urls = append(urls, ns.ClientURL())
	}
	cfg := outsideConfig(t, strings.Join(urls, ","), "here")
	cfg.Replicas, cfg.AckWait, cfg.GiveUp, cfg.LeaseTime = 3, time.Second, 30*time.Second, 5*time.Second
	s, _ := runStore(t, cfg)

	told := newLedger()
	var done atomic.Int64
	var stopped atomic.Bool
	var wg sync.WaitGroup
	ctx := within(t, 2*time.Minute)
	for w := range 32 {
		wg.Go(func() {
			stream := fmt.Sprint("enf.a.p.", w)
			after := Position(0)
			for n := 1; !stopped.Load(); n++ {
				data := fmt.Sprintf("%d-%d/%d", w, n, n)
				p, err := s.Append(ctx, stream, after, []byte(data))
				told.note(data, p, err)
				switch {
				case err == nil:
					after = p
					done.Add(1)
				case errors.Is(err, ErrUnknown), errors.Is(err, ErrConflict), errors.Is(err, ErrBusy), errors.Is(err, ErrNoWriter):
					if recs, through, ok := s.Since(stream, after); ok && len(recs) > 0 {
						after = through
					}
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	t.Cleanup(func() { stopped.Store(true); wg.Wait() })
	eventually(t, 60*time.Second, "it writes", func() bool { return done.Load() > 500 })
	info, err := s.stream.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(servers, func(ns *natsserver.Server) bool { return ns.Name() == info.Cluster.Leader })
	if i < 0 {
		t.Fatalf("the stream's leader is %q", info.Cluster.Leader)
	}
	servers[i].Shutdown()
	servers[i].WaitForShutdown()
	before := done.Load()
	began := time.Now()
	eventually(t, 60*time.Second, "it goes on without the leader", func() bool { return done.Load() > before+500 })
	t.Logf("500 more within %s", time.Since(began).Round(time.Millisecond))
	stopped.Store(true)
	wg.Wait()
	all := everything(t, Config{NATS: connect(t, strings.Join(urls, ",")), Volume: cfg.Volume, Replicas: 3, Logger: cfg.Logger})
	told.check(t, all)
	inOrder(t, all)
	st := s.Status()
	t.Logf("%d records, %d acknowledged, %d unknown, %d retries", len(all), len(told.acked), len(told.maybe), st.Retries)
	if st.Incident != "" {
		t.Errorf("incident: %s", st.Incident)
	}
}
