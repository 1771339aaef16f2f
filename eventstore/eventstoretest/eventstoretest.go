// Package eventstoretest gives a test a real store: an embedded server in a
// temporary folder, each write synced, and a store that runs.
package eventstoretest

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"liuhen/eventstore"
)

// Server starts an embedded server in a folder of the test and stops it at its end.
func Server(t testing.TB) *eventstore.Server {
	t.Helper()
	logger := Logger(t)
	srv, err := eventstore.Embedded(t.TempDir(), eventstore.ServerOptions{Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Shutdown)
	return srv
}

// New starts an embedded server and a store on it, volume TEST with subjects
// enf.>, waits until it writes, and stops both at the end of the test. change,
// if given, can alter the configuration first.
func New(t testing.TB, change ...func(*eventstore.Config)) *eventstore.Store {
	t.Helper()
	return Run(t, eventstore.Config{Server: Server(t), Volume: "TEST"}, change...)
}

// Run opens a store and runs it until the end of the test. It returns when
// some process, this one or another, is ready to write.
func Run(t testing.TB, c eventstore.Config, change ...func(*eventstore.Config)) *eventstore.Store {
	t.Helper()
	if c.Logger == nil {
		c.Logger = Logger(t)
	}
	for _, f := range change {
		f(&c)
	}
	ctx, cancel := context.WithCancel(context.Background())
	store, err := eventstore.Open(ctx, c)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- store.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the store ended with: %v", err)
		}
	})
	ready, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	if err := store.Ready(ready); err != nil {
		t.Fatalf("the store is not ready: %v", err)
	}
	return store
}

// Logger writes warnings and errors to the output of the test, until it ends.
func Logger(t testing.TB) *slog.Logger {
	w := &testWriter{t: t}
	t.Cleanup(w.end)
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// testWriter drops what comes after the test has ended, where writing would panic.
type testWriter struct {
	mu    sync.Mutex
	t     testing.TB
	ended bool
}

func (w *testWriter) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
}

func (w *testWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return len(p), nil
	}
	return w.t.Output().Write(p)
}
