// Package pgtest gives tests a real PostgreSQL: one server for the test
// binary, started when the first test asks, and a database of its own for each
// test.
//
// The server does not outlive the test binary, however that ends, and its
// folder is removed behind it. It syncs nothing to disk.
package pgtest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"liuhen/internal/postgres"
)

var (
	server = sync.OnceValues(start)
	number atomic.Int64
)

// New returns a pool on an empty database that is dropped with the test. A
// machine without PostgreSQL fails the test.
func New(t testing.TB) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), URL(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// URL returns the address of an empty database that is dropped with the test,
// for programs that are given an address.
func URL(t testing.TB) string {
	t.Helper()
	s, err := server()
	if err != nil {
		t.Fatalf("a test needs PostgreSQL: %v", err)
	}
	name := "test_" + strconv.FormatInt(number.Add(1), 10)
	admin(t, s, "create database "+name)
	t.Cleanup(func() { admin(t, s, "drop database "+name+" with (force)") })
	return s.URL(name)
}

func admin(t testing.TB, s *postgres.Server, sql string) {
	t.Helper()
	ctx := context.Background() // also runs when the test's context has ended
	conn, err := pgx.Connect(ctx, s.URL("liuhen"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func start() (*postgres.Server, error) {
	dir, err := os.MkdirTemp("", "liuhen-pgtest-")
	if err != nil {
		return nil, err
	}
	s, err := postgres.Start(context.Background(), postgres.Config{
		Dir: dir, Scratch: true,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	if err := sweepAfter(dir, s.Pid()); err != nil {
		return nil, err
	}
	return s, nil
}

// held is never written to. It is closed when this process ends, and must not
// be collected before.
var held io.WriteCloser //nolint:unused // it is used by being there

// sweepAfter leaves a shell behind that waits for the end of this process,
// which closes its input, and then for that of the server, and removes the
// folder. There is no other moment: a test binary has no last clean-up.
func sweepAfter(dir string, pid int) error {
	cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf(`
		cat
		kill -INT %[1]d
		while kill -0 %[1]d; do sleep 0.05; done
		rm -rf "$0"`, pid), dir)
	var err error
	if held, err = cmd.StdinPipe(); err != nil {
		return err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd.Start()
}
