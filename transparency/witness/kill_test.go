package witness

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"liuhen/internal/checkpoint"
	"liuhen/transparency/keys"
)

// The test binary is the witness that is killed: with these in its environment it
// serves until it is.
const (
	childDir = "LIUHENTEST_WITNESS_DIR"
	childKey = "LIUHENTEST_WITNESS_KEY"
	childLog = "LIUHENTEST_WITNESS_LOG"
)

func TestMain(m *testing.M) {
	if os.Getenv(childDir) == "" {
		os.Exit(m.Run())
	}
	if err := child(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func child() error {
	ring, err := keys.Load(os.Getenv(childKey))
	if err != nil {
		return err
	}
	w, err := Open(os.Getenv(childDir), ring, os.Getenv(childLog))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	return http.Serve(listener, w.Handler(quiet()))
}

// startChild starts a witness of its own process and returns its address.
func startChild(t *testing.T, dir string, own *keys.Ring, log string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childKey+"="+own.File(), childLog+"="+log)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the witness does not start: %v", err)
	}
	return cmd, "http://" + strings.TrimSpace(address)
}

// A witness that is killed with SIGKILL again and again, while two histories of one
// log are offered to it at once, never cosigns two roots of one size, never goes
// back behind what it had cosigned, and cosigns one history only.
func TestKilled(t *testing.T) {
	kills := 12
	if testing.Short() {
		kills = 3
	}
	log, own := ring(t, origin, keys.Ed25519), ring(t, "witness.court.example", keys.Cosignature)
	trees := []*tree{newTree(t, 4000, 5, " a"), newTree(t, 4000, 5, " b")}
	dir, vkey := t.TempDir(), log.VerifierKeys()[0]

	var mu sync.Mutex
	roots := map[int64]tlog.Hash{} // what was cosigned
	largest := int64(0)
	next := atomic.Int64{}
	next.Store(5)
	for range kills {
		cmd, url := startChild(t, dir, own, vkey)
		var kill sync.Once
		left := atomic.Int64{}
		left.Store(40) // so many cosignatures it gives before it is killed, and what comes in between
		var all sync.WaitGroup
		for i := range 4 {
			from := trees[i%2]
			client, err := NewClient(url, own.VerifierKeys()...)
			if err != nil {
				t.Fatal(err)
			}
			all.Go(func() {
				for {
					size := min(next.Add(1), 4000)
					_, err := client.Cosign(t.Context(), from.checkpoint(origin, size, log.Signers()...), from.prove)
					var (
						more   *SeenMoreError
						forked *ForkedError
					)
					switch {
					case err == nil:
						mu.Lock()
						if known, some := roots[size]; some && known != from.root(size) {
							t.Errorf("two roots of size %d were cosigned", size)
						}
						roots[size] = from.root(size)
						largest = max(largest, size)
						mu.Unlock()
						if left.Add(-1) == 0 {
							kill.Do(func() { _ = cmd.Process.Kill() })
						}
					case errors.As(err, &more), errors.As(err, &forked):
						continue // an answer
					case strings.Contains(err.Error(), "somebody else is asking"):
						continue
					default:
						return // it is dead
					}
				}
			})
		}
		all.Wait()
		kill.Do(func() { t.Error("the witness ended before it was killed"); _ = cmd.Process.Kill() })
		_ = cmd.Wait()

		// What is on disk is at least what was answered.
		w := open(t, dir, own, vkey)
		at, err := checkpoint.Peek(w.Newest(origin))
		if err != nil || at.Size < largest {
			t.Fatalf("after the kill it knows size %d (%v), but had cosigned %d", at.Size, err, largest)
		}
		if known, some := roots[at.Size]; some && known != at.Root {
			t.Fatalf("after the kill it knows another root of size %d than it cosigned", at.Size)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for i, from := range trees {
		same := 0
		for size, root := range roots {
			if from.root(size) == root {
				same++
			}
		}
		if same != 0 && same != len(roots) {
			t.Errorf("history %d: %d of %d cosigned checkpoints are of it, want all or none", i, same, len(roots))
		}
	}
	t.Logf("%d checkpoints cosigned, the largest of size %d, through %d kills", len(roots), largest, kills)
}
