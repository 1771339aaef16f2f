package postgres_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"liuhen/internal/postgres"
)

// start starts a server that ends with the test.
func start(t *testing.T, dir string) *postgres.Server {
	t.Helper()
	s, err := postgres.Start(t.Context(), postgres.Config{Dir: dir, Scratch: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return s
}

// ask runs one query that gives one text.
func ask(t *testing.T, s *postgres.Server, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL("liuhen"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	var answer string
	if err := conn.QueryRow(t.Context(), sql).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return answer
}

func TestStartKeepsData(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pg") // below a folder that only its owner may pass
	s, err := postgres.Start(t.Context(), postgres.Config{Dir: dir, Scratch: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(t, s, `show server_encoding`); got != "UTF8" {
		t.Errorf("server_encoding is %s, want UTF8", got)
	}
	if got := ask(t, s, `show lc_collate`); got != "C.UTF-8" {
		t.Errorf("lc_collate is %s, want C.UTF-8", got)
	}
	if got := ask(t, s, `show listen_addresses`); got != "" {
		t.Errorf("the server listens on %q, want nothing", got)
	}
	conn, err := pgx.Connect(t.Context(), s.URL("liuhen"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `create table kept as select '留痕' as word`); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatalf("stop: %v", err)
	}

	if got := ask(t, start(t, dir), `select word from kept`); got != "留痕" {
		t.Errorf("after a restart the word is %q, want 留痕", got)
	}
}

func TestOnlyTheOwnerMayPass(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pg")
	start(t, dir)
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o700 {
		t.Errorf("the folder of the socket has mode %o, want 700", got)
	}
	stat := info.Sys().(*syscall.Stat_t)
	if os.Geteuid() == 0 && stat.Uid == 0 {
		t.Error("as root, the folder belongs to root; the server must run as somebody else")
	}
}

func TestLongPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("a-long-folder-name/", 12), "pg")
	if got := ask(t, start(t, dir), `select 'here'`); got != "here" {
		t.Errorf("answer %q, want here", got)
	}
}

func TestOneOwner(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pg")
	start(t, dir)
	s, err := postgres.Start(t.Context(), postgres.Config{Dir: dir, Scratch: true})
	if err == nil {
		_ = s.Stop(context.Background())
		t.Fatal("a second start on the same folder succeeded")
	}
	if !strings.Contains(err.Error(), "another process uses the folder") {
		t.Errorf("second start: %v", err)
	}
}

func TestNoBinaries(t *testing.T) {
	_, err := postgres.Start(t.Context(), postgres.Config{Dir: filepath.Join(t.TempDir(), "pg"), Binaries: t.TempDir()})
	if !errors.Is(err, postgres.ErrNoBinaries) {
		t.Errorf("start without binaries: %v, want ErrNoBinaries", err)
	}
	if _, err := postgres.Find(99); err == nil || !strings.Contains(err.Error(), "apt-get install postgresql-99") {
		t.Errorf("find version 99: %v, want what to install", err)
	}
}

func TestBadSettingSaysWhy(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pg")
	_, err := postgres.Start(t.Context(), postgres.Config{Dir: dir, Scratch: true, Settings: map[string]string{"shared_buffers": "much"}})
	if err == nil || !strings.Contains(err.Error(), "shared_buffers") {
		t.Errorf("start: %v, want an error that names shared_buffers", err)
	}
}

// TestKilledParent starts a server in another process, kills that process
// without warning, and starts on the same folder.
func TestKilledParent(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pg")
	cmd := exec.Command(os.Args[0], "-test.run=^TestAsParent$")
	cmd.Env = append(os.Environ(), "LIUHEN_TEST_PG_PARENT="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the parent says %q: %v", line, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // "signal: killed"

	s := start(t, dir)
	if s.Pid() == pid {
		t.Errorf("the server left behind, %d, was taken over", pid)
	}
	if got := ask(t, s, `select 'here'`); got != "here" {
		t.Errorf("answer %q, want here", got)
	}
}

func TestAsParent(t *testing.T) {
	dir := os.Getenv("LIUHEN_TEST_PG_PARENT")
	if dir == "" {
		t.Skip("runs as the child of TestKilledParent")
	}
	s, err := postgres.Start(t.Context(), postgres.Config{Dir: dir, Scratch: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stdout.WriteString(strconv.Itoa(s.Pid()) + "\n"); err != nil {
		t.Fatal(err)
	}
	select {} // until killed
}

// TestOrphan lets a server run on without anyone to stop it: it is stopped by
// the next start.
func TestOrphan(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pg")
	s, err := postgres.Start(t.Context(), postgres.Config{Dir: dir, Scratch: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Abandon()

	next := start(t, dir)
	<-s.Done()
	if got := ask(t, next, `select 'here'`); got != "here" {
		t.Errorf("answer %q, want here", got)
	}
}

// TestKilledServer kills the server itself: Done tells, and the next start
// recovers.
func TestKilledServer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pg")
	s, err := postgres.Start(t.Context(), postgres.Config{Dir: dir, Scratch: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := s.Err(); err == nil {
		t.Error("a killed server ended without an error")
	}
	_ = s.Stop(t.Context())

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err = postgres.Start(ctx, postgres.Config{Dir: dir, Scratch: true})
	if err != nil {
		t.Fatalf("start after a crash: %v", err)
	}
	if err := s.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}
