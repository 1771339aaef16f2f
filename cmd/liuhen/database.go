package main

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"liuhen/internal/postgres"
)

// A database is the private PostgreSQL. Should it end by itself (killed for
// want of memory, say) it is started anew: until then the record goes on being
// kept, and read models go on from where they were.
type database struct {
	config postgres.Config
	cancel context.CancelFunc
	kept   chan struct{} // closed when nobody starts it anew any more

	mu     sync.Mutex // guards server
	server *postgres.Server
}

func startDatabase(ctx context.Context, dir string, logger *slog.Logger) (*database, error) {
	d := &database{config: postgres.Config{Dir: dir, Logger: logger}, kept: make(chan struct{})}
	var err error
	if d.server, err = postgres.Start(ctx, d.config); err != nil {
		return nil, err
	}
	keeping, cancel := context.WithCancel(context.WithoutCancel(ctx))
	d.cancel = cancel
	go d.keep(keeping)
	return d, nil
}

func (d *database) current() *postgres.Server {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.server
}

func (d *database) url() string { return d.current().URL("liuhen") }

// keep starts the server anew when it has ended, until ctx ends.
func (d *database) keep(ctx context.Context) {
	defer close(d.kept)
	for {
		select {
		case <-d.current().Done():
		case <-ctx.Done():
			return
		}
		d.config.Logger.Error("PostgreSQL has ended; it is started anew", "error", d.current().Err())
		if !d.again(ctx) {
			return
		}
	}
}

// again tries to start the server until that succeeds. What is left of the old
// one may stand in the way for a moment.
func (d *database) again(ctx context.Context) bool {
	_ = d.current().Stop(ctx) // it has ended: this gives the folder free
	for {
		server, err := postgres.Start(ctx, d.config)
		if err == nil {
			d.mu.Lock()
			d.server = server
			d.mu.Unlock()
			d.config.Logger.Warn("PostgreSQL runs again")
			return true
		}
		d.config.Logger.Warn("PostgreSQL could not be started", "error", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return false
		}
	}
}

// dial connects to whichever server runs now.
func (d *database) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	config, err := pgx.ParseConfig(d.url())
	if err != nil {
		return nil, err
	}
	network, address := pgconn.NetworkAddress(config.Host, config.Port)
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, address)
}

func (d *database) stop(ctx context.Context) error {
	d.cancel()
	<-d.kept
	return d.current().Stop(ctx)
}
