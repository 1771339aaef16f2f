package eventstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// smallDisk mounts a file system of a few megabytes, or skips the test.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a small file system cannot be mounted here (%v); run as root to test a full disk", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// ballast fills the file system of a folder but for so many bytes.
func ballast(t *testing.T, dir string, leave int64) (remove func()) {
	t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "ballast")
	if n := int64(st.Bavail)*st.Bsize - leave; n > 0 {
		err := os.WriteFile(name, make([]byte, n), 0o600)
		if err != nil && !(leave == 0 && errors.Is(err, syscall.ENOSPC)) { // the server took some of it first: full as well
			t.Error(err)
		}
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
}

// The disk fills up: the writer stops before the server meets it, says so,
// and goes on by itself when there is room.
func TestDiskAlmostFull(t *testing.T) {
	dir := smallDisk(t, "64m")
	cfg := testConfig(t, testServer(t, filepath.Join(dir, "nats"), 16<<20))
	s, _ := runStore(t, cfg)
	must(t, s, "enf.a.p.1", 0, "before")
	remove := ballast(t, dir, 8<<20)
	if _, err := s.Append(within(t, 10*time.Second), "enf.a.p.1", 1, []byte("refused")); !errors.Is(err, ErrFull) {
		t.Errorf("append to a full disk: %v, want ErrFull", err)
	}
	if st := s.Status(); !st.Full {
		t.Error("the status does not say that the disk is full")
	}
	if recs, _, err := s.Load(within(t, 10*time.Second), "enf.a.p.1"); err != nil || len(recs) != 1 {
		t.Errorf("reading while the disk is full: %d records, %v", len(recs), err)
	}
	if _, err := Embedded(filepath.Join(dir, "other"), ServerOptions{Reserve: 32 << 20, Logger: testLogger(t)}); !errors.Is(err, ErrFull) {
		t.Errorf("starting on a full disk: %v, want ErrFull", err)
	}
	remove()
	must(t, s, "enf.a.p.1", 1, "after")
	wantRecords(t, everything(t, cfg), "before", "after")
	if st := s.Status(); st.Full || st.Frozen != 0 {
		t.Errorf("full %v, frozen %d times, want neither", st.Full, st.Frozen)
	}
}

// fillAtPublish takes the last room on the disk between the writer's look and
// its next message, as another program might. The result gives it back.
func fillAtPublish(t *testing.T, f *faultyWire, dir string) (remove func()) {
	first := once()
	give := make(chan func(), 1)
	f.set(func(m *nats.Msg, _ uint64) bool {
		if (m.Header.Get(headerBatch) == "" || m.Header.Get(headerCommit) != "") && first() {
			give <- ballast(t, dir, 0)
		}
		return false
	}, nil)
	return func() { (<-give)() }
}

// The server itself meets the full disk: it freezes. Nothing that was
// acknowledged is lost, nothing that was refused is there, and writing goes on
// when there is room.
func TestDiskFull(t *testing.T) {
	for _, writers := range []int{1, 64} {
		t.Run(fmt.Sprint(writers, " writers"), func(t *testing.T) {
			dir := smallDisk(t, "64m")
			cfg := testConfig(t, testServer(t, filepath.Join(dir, "nats"), 1<<20))
			cfg.GiveUp = 2 * time.Second
			f := faulty(&cfg)
			s, _ := runStore(t, cfg)
			must(t, s, "enf.a.p.0", 0, "before")
			remove := fillAtPublish(t, f, dir)

			// Write until each writer has been refused a few times.
			told := newLedger()
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					refused := 0
					for n := 0; refused < 3; n++ {
						data := fmt.Sprintf("%d/%d %020000d", w, n, 0)
						p, err := s.Append(within(t, 30*time.Second), fmt.Sprint("enf.a.w.", w), s.Status().Last, []byte(data))
						told.note(data, p, err)
						if err == nil {
							err = s.Wait(within(t, 30*time.Second), p) // so that the next goes on from there
						}
						switch {
						case errors.Is(err, ErrFull):
							refused++
						case err != nil && !errors.Is(err, ErrUnknown):
							t.Errorf("writer %d: %v", w, err)
						}
					}
				})
			}
			wg.Wait()
			if st := s.Status(); !st.Full || st.Frozen == 0 {
				t.Errorf("full %v, frozen %d times", st.Full, st.Frozen)
			}
			remove()
			eventually(t, 20*time.Second, "the store goes on", func() bool {
				_, err := s.Append(within(t, 10*time.Second), "enf.a.p.after", s.Status().Last, []byte(fmt.Sprint("after ", time.Now())))
				return err == nil
			})
			all := everything(t, cfg)
			told.check(t, all)
			t.Logf("%d records, %d acknowledged, %d unknown, %d refused", len(all), len(told.acked), len(told.maybe), len(told.never))
			if why := s.Status().Incident; why != "" {
				t.Errorf("incident: %s", why)
			}
			// A receipt does not wait until the record is read back.
			if err := s.Wait(within(t, 20*time.Second), Position(len(all))); err != nil || s.Status().Last != Position(len(all)) {
				t.Errorf("the tail ends at %d, the volume at %d (%v)", s.Status().Last, len(all), err)
			}
		})
	}
}

// There is room again before the writer gives up: the callers notice nothing
// but the wait.
func TestDiskFullForAMoment(t *testing.T) {
	for _, n := range []int{1, 40} {
		t.Run(fmt.Sprint(n, " records"), func(t *testing.T) {
			dir := smallDisk(t, "64m")
			cfg := testConfig(t, testServer(t, filepath.Join(dir, "nats"), 1<<20))
			cfg.GiveUp = 30 * time.Second
			f := faulty(&cfg)
			s, _ := runStore(t, cfg)
			must(t, s, "enf.a.p.0", 0, "before")
			remove := fillAtPublish(t, f, dir)
			var data []string
			for i := range n {
				data = append(data, fmt.Sprintf("%d %010000d", i, 0))
			}
			done := make(chan error, 1)
			go func() {
				_, err := s.Append(within(t, 30*time.Second), "enf.a.p.1", 0, bytesOf(data...)...)
				done <- err
			}()
			refused := false // a batch may be refused before it is begun: then the server does not freeze
			eventually(t, 10*time.Second, "the server is frozen, or the append refused", func() bool {
				select {
				case err := <-done:
					if !errors.Is(err, ErrFull) {
						t.Errorf("append to a full disk: %v", err)
					}
					refused = true
				default:
				}
				return refused || s.Status().Frozen > 0
			})
			if _, err := s.Append(within(t, 10*time.Second), "enf.a.p.2", 0, []byte("refused")); !errors.Is(err, ErrFull) {
				t.Errorf("append while the disk is full: %v, want ErrFull", err)
			}
			remove()
			if refused {
				wantRecords(t, everything(t, cfg), "before")
				return
			}
			if err := <-done; err != nil {
				t.Errorf("the append under way: %v", err)
			}
			wantRecords(t, everything(t, cfg), append([]string{"before"}, data...)...)
		})
	}
}
