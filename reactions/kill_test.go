package reactions_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"liuhen/casework"
	"liuhen/domain"
	"liuhen/eventstore"
	"liuhen/eventstore/eventstoretest"
	"liuhen/reactions"
)

// childOf tells this test binary that it is to run reactions on a server.
const childOf = "LIUHENTEST_REACTIONS_ON"

func TestMain(m *testing.M) {
	if url := os.Getenv(childOf); url != "" {
		if err := runChild(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// runChild runs the echo until it is killed.
func runChild(url string) error {
	conn, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectBufSize(-1))
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	store, err := eventstore.Open(context.Background(), eventstore.Config{NATS: conn, Volume: volume, Logger: logger})
	if err != nil {
		return err
	}
	go func() { _ = store.Run(context.Background()) }()
	r, err := reactions.Open(context.Background(), reactions.Config{
		NATS: conn, Volume: volume, Store: store, LeaseTime: 2 * time.Second, Logger: logger,
		Reactions: []reactions.Reaction{echo(casework.New(book, store, nil, casework.Options{Facts: empty}))},
	})
	if err != nil {
		return err
	}
	fmt.Println("runs")
	return r.Run(context.Background())
}

// A process that runs a reaction is killed again and again at random moments while
// acts are recorded. Each act has its effect once, in the order of its case.
func TestKilled(t *testing.T) {
	const kills, cases = 4, 8
	ns, err := natsserver.NewServer(&natsserver.Options{
		Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(), SyncAlways: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() {
		ns.Shutdown()
		ns.WaitForShutdown()
	})
	if !ns.ReadyForConnections(30 * time.Second) {
		t.Fatal("the server is not ready")
	}
	conn, err := nats.Connect(ns.ClientURL(), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	store := eventstoretest.Run(t, eventstore.Config{NATS: conn, Volume: volume})
	o := &office{t: t, conn: conn, store: store, desk: casework.New(book, store, nil, casework.Options{Facts: empty})}

	notes := 0
	write := func(rounds int) {
		for range rounds {
			notes++
			for k := range cases {
				o.record(noted(domain.CaseID(fmt.Sprint("c-", k)), notes))
			}
		}
	}
	echoed := func() int {
		n := 0
		for _, r := range everything(t, store) {
			if r.Act() == "echo" {
				n++
			}
		}
		return n
	}
	chance := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1)) //nolint:gosec // a moment to kill at
	for range kills {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childOf+"="+ns.ClientURL())
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if !bufio.NewScanner(out).Scan() {
			t.Fatalf("the process has not said that it runs: %v", cmd.Wait())
		}
		before := echoed()
		write(4)
		// At a random moment while it works through them.
		some := before + 1 + chance.IntN(3*cases)
		eventually(t, "it reacts", func() bool { return echoed() >= some })
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
	}
	r, _ := o.runner(func(c *reactions.Config) {
		c.Reactions = []reactions.Reaction{echo(casework.New(book, store, nil, casework.Options{Facts: empty}))}
	})
	o.dealtWith(r, "echo")
	checkEchoes(t, everything(t, store), cases, notes)
	t.Logf("%d kills, %d notes, %d records", kills, cases*notes, len(everything(t, store)))
}
