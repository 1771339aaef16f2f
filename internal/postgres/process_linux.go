package postgres

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// inside is how the server names a path in our folder: by the descriptor it
// was handed.
func (s *Server) inside(name string) string {
	return filepath.Join("/proc/self/fd/3", name)
}

// socketDir is how clients name our folder; they may be other processes.
func (s *Server) socketDir() string {
	const longest = 107 - len("/.s.PGSQL."+port)
	if len(s.dir) <= longest {
		return s.dir
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), s.handle.Fd())
}

// dieWithParent asks the kernel to stop the server (fast shutdown) when the
// thread that starts it ends.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGINT }

// runsIn reports whether a process is alive and works in a folder, as
// PostgreSQL does in that of its cluster.
func runsIn(pid int, dir string) bool {
	at, err := os.Stat(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		return false
	}
	want, err := os.Stat(dir)
	return err == nil && os.SameFile(at, want)
}
