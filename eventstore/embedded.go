package eventstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// ServerOptions are what can be chosen about an embedded server.
type ServerOptions struct {
	// Reserve is how many bytes must be free on the disk for writing to go
	// on. The writer stops before the disk is full, so that the server never
	// meets a full disk with a record half written. Default: 64 MiB.
	Reserve int64
	// Logger hears what the server says. Default: slog.Default().
	Logger *slog.Logger
}

// A Server is a NATS server with JetStream inside this process. It listens on
// no port. Each write is synced to the disk before it is acknowledged. Only
// one process may use a folder at a time; the caller sees to that.
type Server struct {
	dir     string
	reserve int64
	logger  *slog.Logger
	conn    *nats.Conn

	mu   sync.Mutex
	ns   *natsserver.Server // the one that runs; replaced by restart
	done bool
}

// Embedded starts a server that keeps its files under dir. It refuses to start
// where less than half of the reserve is free: a start after a crash may have
// to finish a batch, and a server that cannot would leave half of it.
func Embedded(dir string, o ServerOptions) (*Server, error) {
	s := &Server{dir: dir, reserve: cmp.Or(o.Reserve, 64<<20), logger: cmp.Or(o.Logger, slog.Default())}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if free, err := s.free(); err != nil {
		return nil, err
	} else if free < s.reserve/2 {
		return nil, fmt.Errorf("%w: %d MiB are free under %s, starting needs %d", ErrFull, free>>20, dir, s.reserve/2>>20)
	}
	if err := s.start(); err != nil {
		return nil, err
	}
	conn, err := s.Connect("liuhen")
	if err != nil {
		s.Shutdown()
		return nil, err
	}
	s.conn = conn
	return s, nil
}

// start starts a server. s.mu must be held, or s not yet be shared.
func (s *Server) start() error {
	ns, err := natsserver.NewServer(&natsserver.Options{
		ServerName: "liuhen",
		DontListen: true,
		NoSigs:     true,
		MaxPayload: 1 << 20,

		JetStream:  true,
		StoreDir:   s.dir,
		SyncAlways: true, // acknowledged means synced
		// Explicit, because the default is a share of what is free just now.
		JetStreamMaxStore:  1 << 50,
		JetStreamMaxMemory: 1 << 30,
		JetStreamLimits:    natsserver.JSLimitOpts{MaxBatchSize: maxGroup},
	})
	if err != nil {
		return fmt.Errorf("embedded NATS server: %w", err)
	}
	ns.SetLogger(serverLogger{s.logger}, false, false)
	ns.Start()
	if !ns.ReadyForConnections(30 * time.Second) {
		ns.Shutdown()
		ns.WaitForShutdown()
		return fmt.Errorf("embedded NATS server in %s is not ready after 30 s", s.dir)
	}
	if !ns.JetStreamEnabled() {
		ns.Shutdown()
		ns.WaitForShutdown()
		return fmt.Errorf("embedded NATS server in %s runs without JetStream; is the folder used by another process?", s.dir)
	}
	s.ns = ns
	return nil
}

// Conn returns the server's own connection, shared by all who ask.
func (s *Server) Conn() *nats.Conn { return s.conn }

// Connect makes a further connection inside the process, for a user with so
// much traffic of its own that it would hold up others. The caller closes it.
func (s *Server) Connect(name string) (*nats.Conn, error) {
	return nats.Connect("", nats.InProcessServer(s), nats.Name(name),
		nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.ReconnectBufSize(-1), // nothing is sent late
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			s.logger.Warn("NATS connection", "name", name, "err", err)
		}))
}

// InProcessConn lets a NATS client connect to whichever server runs now.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	ns := s.ns
	s.mu.Unlock()
	if ns == nil {
		return nil, errors.New("the embedded NATS server does not run")
	}
	return ns.InProcessConn()
}

// Shutdown stops the server and waits until its files are written.
func (s *Server) Shutdown() {
	if s.conn != nil {
		s.conn.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = true
	s.stopLocked()
}

func (s *Server) stopLocked() {
	if s.ns != nil {
		s.ns.Shutdown()
		s.ns.WaitForShutdown()
		s.ns = nil
	}
}

// free is how many bytes are free on the disk of the store.
func (s *Server) free() (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &st); err != nil {
		return 0, fmt.Errorf("free space under %s: %w", s.dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// room returns ErrFull where the reserve is touched.
func (s *Server) room() error {
	free, err := s.free()
	if err == nil && free < s.reserve {
		return fmt.Errorf("%w: %d MiB are free, %d are kept in reserve", ErrFull, free>>20, s.reserve>>20)
	}
	return err
}

// frozen returns the write error after which the server refuses all further
// writes to a stream without an answer, until it is started anew (nats-server
// 2.14 and newer); nil if there has been none.
func (s *Server) frozen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.frozenLocked()
}

func (s *Server) frozenLocked() error {
	ns := s.ns
	if ns == nil {
		return errors.New("the embedded NATS server does not run")
	}
	if h := ns.Healthz(nil); strings.Contains(h.Error, "write error") {
		return errors.New(h.Error)
	}
	return nil
}

// restart stops the server and starts it on the same files. Connections find
// the new one by themselves; what lay in the old one's queues is gone.
func (s *Server) restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.restartLocked(ctx)
}

// revive is restart where the server is frozen; several stores may ask at once.
func (s *Server) revive(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozenLocked() == nil {
		return nil
	}
	return s.restartLocked(ctx)
}

func (s *Server) restartLocked(ctx context.Context) error {
	if s.done {
		return errors.New("the embedded NATS server is shut down")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.logger.Warn("the embedded NATS server is started anew")
	s.stopLocked()
	return s.start()
}

// serverLogger passes on what the server logs: errors and warnings as such,
// the rest as debug.
type serverLogger struct{ *slog.Logger }

func (l serverLogger) Noticef(f string, v ...any) { l.Debug(fmt.Sprintf(f, v...)) }
func (l serverLogger) Warnf(f string, v ...any)   { l.Warn(fmt.Sprintf(f, v...)) }
func (l serverLogger) Fatalf(f string, v ...any)  { l.Error(fmt.Sprintf(f, v...)) }
func (l serverLogger) Errorf(f string, v ...any)  { l.Error(fmt.Sprintf(f, v...)) }
func (l serverLogger) Debugf(f string, v ...any)  { l.Debug(fmt.Sprintf(f, v...)) }
func (l serverLogger) Tracef(f string, v ...any)  { l.Debug(fmt.Sprintf(f, v...)) }
