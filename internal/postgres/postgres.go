// Package postgres runs a private PostgreSQL: a cluster in a folder of the
// program, reached over a unix socket in that folder and over nothing else.
//
// PostgreSQL refuses to run as root. Started as root, the server runs as the
// user postgres, or nobody where there is none, and the folder belongs to
// that user. The folder is handed over as an open descriptor, and the server
// knows it as /proc/self/fd/3: so it may lie below folders that the user may
// not pass (/root, a private temporary folder), and its path may be longer
// than the 107 bytes that a socket's path may have.
//
// Who may connect: the socket lies in the folder, the folder has mode 0700, and the
// server trusts who gets that far. That is the user of the server, who can
// read the files anyway, and root.
package postgres

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Config says where the cluster lies and how it runs.
type Config struct {
	Dir      string            // folder of the cluster, made when it is missing; needed
	Binaries string            // folder with initdb and postgres; empty: the newest that Find finds
	Settings map[string]string // server settings that go before our own
	Scratch  bool              // for tests: nothing is synced, a crash of the machine may lose all
	Logger   *slog.Logger      // gets what the server says; nil: slog.Default
}

// settings suit a machine that the server shares with the program. Commits
// are durable; who writes what can be replayed turns synchronous_commit off
// in its own sessions.
var settings = map[string]string{
	"listen_addresses":     "",
	"fsync":                "on",
	"synchronous_commit":   "on",
	"max_connections":      "100",
	"shared_buffers":       "256MB",
	"work_mem":             "16MB",
	"maintenance_work_mem": "256MB",
	"max_wal_size":         "4GB",
	"checkpoint_timeout":   "3min",
	"random_page_cost":     "1.1", // no spinning disks
	"jit":                  "off", // compiling costs more than our short questions
	"timezone":             "UTC",
	"log_line_prefix":      "",
}

// scratch is added for Config.Scratch.
var scratch = map[string]string{
	"fsync":              "off",
	"synchronous_commit": "off",
	"full_page_writes":   "off",
	"shared_buffers":     "128MB",
}

// names of our one role and database, and of the folder of the cluster.
const (
	role    = "liuhen"
	cluster = "cluster"
	port    = "5432" // names the socket; nothing listens on it
)

// patience is how long a server may take to recover after a crash before it
// is given up.
const patience = 10 * time.Minute

// A Server is a running PostgreSQL of our own.
type Server struct {
	dir    string
	handle *os.File // of dir: the short way to the socket
	lock   *os.File
	output *tail
	proc   *os.Process

	done chan struct{} // closed when the server has ended
	err  error         // how it ended; set before done is closed
}

// Start starts the cluster in config.Dir, makes it first where there is none,
// and returns when it accepts connections. A server that an earlier run left
// behind is stopped. The folder belongs to one program at a time: a second
// Start fails while the first one's process lives.
func Start(ctx context.Context, config Config) (_ *Server, err error) {
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	dir, err := filepath.Abs(config.Dir)
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, output: &tail{logger: config.Logger}, done: make(chan struct{})}
	defer func() {
		if err != nil {
			s.close()
			err = fmt.Errorf("start PostgreSQL in %s: %w", dir, err)
		}
	}()

	user, err := s.settle()
	if err != nil {
		return nil, err
	}
	bin, err := s.binaries(config.Binaries)
	if err != nil {
		return nil, err
	}
	if err := s.stopOrphan(ctx); err != nil {
		return nil, err
	}
	if err := s.initialise(ctx, bin, user, config.Scratch); err != nil {
		return nil, err
	}
	if err := s.launch(bin, user, config); err != nil {
		return nil, err
	}
	if err := s.ready(ctx); err != nil {
		return nil, errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// settle makes the folder, gives it to the user that the server will run as,
// and locks it. It returns nil where the server runs as who we are.
func (s *Server) settle() (*account, error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	user, err := serverAccount(s.dir)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(s.dir, 0o700); err != nil {
		return nil, err
	}
	if user != nil {
		if err := os.Chown(s.dir, user.uid, user.gid); err != nil {
			return nil, err
		}
	}
	if s.handle, err = os.Open(s.dir); err != nil {
		return nil, err
	}
	// An open of its own: the server shares handle, and would keep the lock
	// when we are gone.
	if s.lock, err = os.Open(s.dir); err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("another process uses the folder: %w", err)
	}
	return user, nil
}

// binaries finds the server that fits the cluster, if there is one already.
func (s *Server) binaries(dir string) (Binaries, error) {
	major := 0
	text, err := os.ReadFile(filepath.Join(s.dir, cluster, "PG_VERSION"))
	if err == nil {
		if major, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
			return Binaries{}, fmt.Errorf("PG_VERSION: %w", err)
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return Binaries{}, err
	}
	if dir == "" {
		return Find(major)
	}
	b, err := at(dir)
	switch {
	case err != nil:
		return Binaries{}, fmt.Errorf("%w: %w", ErrNoBinaries, err)
	case b.Major < oldest:
		return Binaries{}, fmt.Errorf("%w: %s has version %d, needed is %d or later", ErrNoBinaries, dir, b.Major, oldest)
	case major != 0 && b.Major != major:
		return Binaries{}, fmt.Errorf("%w: the data was made by version %d and %s has version %d", ErrNoBinaries, major, dir, b.Major)
	}
	return b, nil
}

// initialise makes the cluster. It is made under another name and renamed
// when it is whole, so that a crash on the way leaves nothing half made.
func (s *Server) initialise(ctx context.Context, bin Binaries, user *account, scratch bool) error {
	if _, err := os.Stat(filepath.Join(s.dir, cluster, "PG_VERSION")); err == nil {
		return nil
	}
	const making = "making"
	if err := os.RemoveAll(filepath.Join(s.dir, making)); err != nil {
		return err
	}
	args := []string{
		"--pgdata=" + s.inside(making), "--username=" + role, "--auth=trust",
		"--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions",
	}
	if scratch {
		args = append(args, "--no-sync")
	}
	cmd := s.command(ctx, bin, user, "initdb", args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, lastLines(out.String(), 5))
	}
	return os.Rename(filepath.Join(s.dir, making), filepath.Join(s.dir, cluster))
}

// launch starts the server as a child that does not outlive us.
func (s *Server) launch(bin Binaries, user *account, config Config) error {
	args := []string{"-D", s.inside(cluster), "-c", "unix_socket_directories=" + s.inside(""), "-c", "port=" + port}
	args = append(args, flags(config)...)
	cmd := s.command(context.Background(), bin, user, "postgres", args...)
	cmd.Stdout, cmd.Stderr = s.output, s.output
	cmd.WaitDelay = time.Second
	dieWithParent(cmd.SysProcAttr)

	started := make(chan error)
	go func() {
		// The kernel stops the server when the thread that started it ends
		// (dieWithParent): this goroutine keeps that thread until the server
		// has ended by itself.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		s.err = cmd.Wait()
		close(s.done)
	}()
	if err := <-started; err != nil {
		return err
	}
	s.proc = cmd.Process
	return nil
}

func flags(config Config) []string {
	all := make(map[string]string)
	layers := []map[string]string{settings, config.Settings}
	if config.Scratch {
		layers = []map[string]string{settings, scratch, config.Settings}
	}
	for _, layer := range layers {
		for k, v := range layer {
			all[k] = v
		}
	}
	var args []string
	for k, v := range all {
		args = append(args, "-c", k+"="+v)
	}
	return args
}

// command prepares a program of PostgreSQL that has our folder as
// descriptor 3.
func (s *Server) command(ctx context.Context, bin Binaries, user *account, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(bin.Dir, name), args...)
	cmd.Dir = "/"
	cmd.Env = []string{"LC_ALL=C.UTF-8", "PATH=/usr/local/bin:/usr/bin:/bin"}
	cmd.ExtraFiles = []*os.File{s.handle}
	// A group of its own: Ctrl-C is for us, and we stop the server last.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if user != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(user.uid), Gid: uint32(user.gid)}
	}
	return cmd
}

// ready waits until the server answers.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, s.URL("postgres"))
		if err == nil {
			defer func() { _ = conn.Close(ctx) }()
			return makeDatabase(ctx, conn)
		}
		select {
		case <-s.done:
			return fmt.Errorf("it ended: %w: %s", cmp.Or(s.err, errors.New("exit status 0")), s.output.last(5))
		case <-ctx.Done():
			return fmt.Errorf("%w, and it does not answer: %w: %s", ctx.Err(), err, s.output.last(5))
		case <-tick.C:
		}
	}
}

func makeDatabase(ctx context.Context, conn *pgx.Conn) error {
	var there bool
	if err := conn.QueryRow(ctx, `select exists (select from pg_database where datname = $1)`, role).Scan(&there); err != nil || there {
		return err
	}
	_, err := conn.Exec(ctx, `create database `+role)
	return err
}

// URL is the address of a database of the server in the form that pgx and
// psql read. The database of the program is "liuhen"; so is the role. The
// address holds as long as this process lives.
func (s *Server) URL(database string) string {
	return (&url.URL{
		Scheme: "postgres", User: url.User(role), Path: "/" + database,
		RawQuery: url.Values{"host": {s.socketDir()}, "port": {port}, "sslmode": {"disable"}}.Encode(),
	}).String()
}

// Done is closed when the server has ended, asked or not.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err says how the server ended, once Done is closed: nil after Stop.
func (s *Server) Err() error {
	<-s.done
	if s.err == nil {
		return nil
	}
	return fmt.Errorf("PostgreSQL in %s ended: %w: %s", s.dir, s.err, s.output.last(5))
}

// Pid is the process id of the server.
func (s *Server) Pid() int { return s.proc.Pid }

// Stop ends open connections and the server, and waits for it. When ctx ends
// first the server is killed; it then recovers at its next start.
func (s *Server) Stop(ctx context.Context) error {
	if s.proc == nil {
		return nil
	}
	defer s.close()
	select {
	case <-s.done:
		return s.Err()
	default:
	}
	if err := s.proc.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop PostgreSQL: %w", err)
	}
	select {
	case <-s.done:
		return s.Err()
	case <-ctx.Done():
		_ = s.proc.Signal(syscall.SIGQUIT) // aborts without a checkpoint, and takes the backends along
		<-s.done
		return fmt.Errorf("stop PostgreSQL: %w; it was killed", ctx.Err())
	}
}

// close gives the folder free. The lock goes last.
func (s *Server) close() {
	for _, f := range []*os.File{s.handle, s.lock} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// stopOrphan ends a server that runs on our cluster although its parent,
// whose lock we hold now, is gone.
func (s *Server) stopOrphan(ctx context.Context) error {
	path := filepath.Join(s.dir, cluster, "postmaster.pid")
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil || pid <= 1 || !runsIn(pid, filepath.Join(s.dir, cluster)) {
		return nil // the file of a server that is gone; PostgreSQL clears it itself
	}
	s.output.logger.Warn("stopping a PostgreSQL that an earlier run left behind", "pid", pid)
	if err := syscall.Kill(pid, syscall.SIGINT); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop the server left behind (pid %d): %w", pid, err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); runsIn(pid, filepath.Join(s.dir, cluster)); {
		if time.Now().After(deadline) {
			return fmt.Errorf("the server left behind (pid %d) does not stop; end it by hand", pid)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// A tail passes on what the server says and keeps the last lines.
type tail struct {
	logger *slog.Logger

	mu    sync.Mutex // guards what follows
	part  []byte     // of a line that has not ended
	lines []string
}

// Write takes any pieces of lines.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.part = append(t.part, p...)
	for {
		line, rest, ok := bytes.Cut(t.part, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		t.part = rest
		t.say(string(line))
	}
}

func (t *tail) say(line string) {
	level := slog.LevelDebug // statements that fail are told by who sent them
	if strings.HasPrefix(line, "PANIC") || strings.HasPrefix(line, "WARNING") {
		level = slog.LevelWarn
	}
	t.logger.Log(context.Background(), level, "postgres says", "line", line)
	t.lines = append(t.lines, line)
	if len(t.lines) > 50 {
		t.lines = slices.Delete(t.lines, 0, 25)
	}
}

func (t *tail) last(n int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines[max(0, len(t.lines)-n):], "; ")
}

var _ io.Writer = (*tail)(nil)

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}
