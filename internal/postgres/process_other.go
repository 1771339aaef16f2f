//go:build unix && !linux

package postgres

import (
	"path/filepath"
	"syscall"
)

func (s *Server) inside(name string) string { return filepath.Join(s.dir, name) }

func (s *Server) socketDir() string { return s.dir }

func dieWithParent(*syscall.SysProcAttr) {}

// runsIn takes the word of the pid file: there is no portable way to look.
func runsIn(pid int, _ string) bool { return syscall.Kill(pid, 0) == nil }
