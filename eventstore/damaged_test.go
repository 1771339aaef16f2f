package eventstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"liuhen/eventstore"
	"liuhen/eventstore/eventstoretest"
)

// TestDamagedFile flips a bit of a record in the file of the stream, while the
// server is down. The server does not hand that record out any more, and says
// nothing: readers must.
func TestDamagedFile(t *testing.T) {
	dir := t.TempDir()
	server, err := eventstore.Embedded(dir, eventstore.ServerOptions{Logger: eventstoretest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	store, err := eventstore.Open(t.Context(), eventstore.Config{Server: server, Volume: "TEST", Logger: eventstoretest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- store.Run(ctx) }()
	for first := 0; first < 3000; first += 500 {
		var all []eventstore.Entry
		for i := first; i < first+500; i++ {
			all = append(all, eventstore.Entry{Stream: fmt.Sprint("enf.a.b.c", i), Data: [][]byte{fmt.Appendf(nil, "the record with number %d%s", i, strings.Repeat(".", 600))}})
		}
		for _, o := range store.AppendAll(t.Context(), all) {
			if o.Err != nil {
				t.Fatal(o.Err)
			}
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	server.Shutdown()

	path := filepath.Join(dir, "jetstream/$G/streams/TEST/msgs/1.blk")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, []byte("with number 1233."))
	if at < 0 {
		t.Fatalf("%s does not hold the record", path)
	}
	data[at] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}

	if server, err = eventstore.Embedded(dir, eventstore.ServerOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	if store, err = eventstore.Open(t.Context(), eventstore.Config{Server: server, Volume: "TEST", Logger: eventstoretest.Logger(t)}); err != nil {
		if errors.Is(err, eventstore.ErrNotWhole) {
			return // the server itself says that a record is missing
		}
		t.Fatal(err)
	}
	limited, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	read := 0
	for _, err := range store.Follow(limited, 0) {
		if err != nil {
			if !errors.Is(err, eventstore.ErrNotWhole) || !strings.Contains(err.Error(), "position 123") || read != 1233 {
				t.Fatalf("after %d records: %v, want ErrNotWhole at position 1234", read, err)
			}
			break
		}
		read++
	}
	// A store on it says so, and does not wait for a writer that will never come.
	ctx, stop = context.WithCancel(context.Background())
	go func() { done <- store.Run(ctx) }()
	if err := store.Ready(limited); !errors.Is(err, eventstore.ErrNotWhole) {
		t.Errorf("ready: %v, want ErrNotWhole", err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
