package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Files of the data folder that this package looks after; nats/ and pg/ belong
// to the servers inside.
const (
	lockName    = "lock"
	tokenName   = "admin.token" // the first administrator's token, mode 0600
	cliName     = "cli.token"   // what the commands on this machine come with, mode 0600
	addressName = "server.json" // is there while the system runs
	rosterName  = "roster.yaml" // the roster of officers, if the office keeps one here
)

// A running system, as it says of itself in the lock and in server.json.
type running struct {
	PID     int       `json:"pid"`
	Address string    `json:"address,omitempty"` // http://host:port; empty while it starts
	Started time.Time `json:"started"`
}

// A folderLock keeps a second instance out of a data folder. The kernel
// releases it when the process ends, however it ends.
type folderLock struct{ file *os.File }

// lockFolder makes the data folder if it is not there and takes its lock. The
// error names who holds it.
func lockFolder(dir string) (*folderLock, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		defer f.Close()
		return nil, fmt.Errorf("the data folder %s is in use by %s", dir, holder(f))
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &folderLock{file: f}, nil
}

func holder(f *os.File) string {
	text, err := io.ReadAll(f)
	var r running
	if err != nil || json.Unmarshal(text, &r) != nil || r.PID == 0 {
		return "another process, which is just starting"
	}
	if r.Address == "" {
		return fmt.Sprintf("process %d, which is starting", r.PID)
	}
	return fmt.Sprintf("process %d, which serves %s", r.PID, r.Address)
}

// tell writes who holds the lock into it.
func (l *folderLock) tell(r running) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err = l.file.WriteAt(append(text, '\n'), 0)
	return err
}

func (l *folderLock) release() error { return l.file.Close() }

// writeAddress tells clients where the system is, all or nothing.
func writeAddress(dir string, r running) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, addressName)
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// readAddress finds the running system of a data folder.
func readAddress(dir string) (running, error) {
	path := filepath.Join(dir, addressName)
	text, err := os.ReadFile(path)
	if err != nil {
		return running{}, err
	}
	var r running
	if err := json.Unmarshal(text, &r); err != nil {
		return running{}, fmt.Errorf("%s: %w", path, err)
	}
	if r.Address == "" {
		return running{}, fmt.Errorf("%s does not hold an address", path)
	}
	return r, nil
}

// removeAddress is done on the way out; a file that is gone is no error.
func removeAddress(dir string) error {
	err := os.Remove(filepath.Join(dir, addressName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// writeToken keeps a token for its owner alone, all or nothing.
func writeToken(path, token string) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(token + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
