package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/rogpeppe/go-internal/testscript"

	"liuhen/internal/postgres"
)

// The scripts run the program itself: this test binary under its name.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"liuhen": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("XDG_DATA_HOME", filepath.Join(e.WorkDir, "share"))
			e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, "config")) // keys of the logs
			e.Setenv("GOCOVERDIR", os.Getenv("GOCOVERDIR"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready":    ready,
			"stop":     stop,
			"nats":     outsideNATS,
			"postgres": outsidePostgres,
			"json":     checkJSON,
			"loses":    losesDatabase,
			"becomes":  becomesReady,
			"exits":    exits,
			"takeskey": takesKey,
			"asks":     asks,
		},
	})
}

// ready DATA [VAR] waits until the system that was started in the background on
// a data folder says where it is, and puts the address into VAR.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: ready DATA [VAR]")
	}
	dir := ts.MkAbs(args[0])
	deadline := time.Now().Add(90 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := readAddress(dir)
		if err == nil {
			if len(args) == 2 {
				ts.Setenv(args[1], r.Address)
			}
			ts.Setenv("PID", strconv.Itoa(r.PID))
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the system on %s is not ready after 90 s: %v", dir, err)
		}
		<-tick.C
	}
}

// stop DATA sends SIGINT to the system on a data folder and waits until it has
// let go of the folder; that must take less than ten seconds.
func stop(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: stop DATA")
	}
	dir := ts.MkAbs(args[0])
	r, err := readAddress(dir)
	ts.Check(err)
	began := time.Now()
	ts.Check(syscall.Kill(r.PID, syscall.SIGINT))
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		lock, err := lockFolder(dir)
		if err == nil {
			ts.Check(lock.release())
			break
		}
		if time.Since(began) > stopWithin {
			ts.Fatalf("the system on %s has not stopped after %s", dir, stopWithin)
		}
		<-tick.C
	}
	if _, err := os.Stat(filepath.Join(dir, addressName)); err == nil {
		ts.Fatalf("%s is still there after the stop", addressName)
	}
	ts.Logf("stopped in %s", time.Since(began))
}

// loses DATA kills the private PostgreSQL of a running system.
func losesDatabase(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: loses DATA")
	}
	text, err := os.ReadFile(filepath.Join(ts.MkAbs(args[0]), "pg", "cluster", "postmaster.pid"))
	ts.Check(err)
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	ts.Check(err)
	ts.Check(syscall.Kill(pid, syscall.SIGKILL))
}

// becomes COMMAND… runs a command until it succeeds.
func becomesReady(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: becomes COMMAND…")
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ts.Exec(args[0], args[1:]...) != nil; {
		if time.Now().After(deadline) {
			ts.Fatalf("%s does not succeed within a minute", strings.Join(args, " "))
		}
		<-tick.C
	}
}

// nats VAR starts a NATS server with JetStream for the rest of the script.
func outsideNATS(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: nats VAR")
	}
	s, err := natsserver.NewServer(&natsserver.Options{
		Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoSigs: true,
		JetStream: true, StoreDir: ts.MkAbs("outside-nats"), SyncAlways: true,
	})
	ts.Check(err)
	s.Start()
	ts.Defer(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(30 * time.Second) {
		ts.Fatalf("NATS is not ready")
	}
	ts.Setenv(args[0], s.ClientURL())
}

// postgres VAR starts a PostgreSQL for the rest of the script.
func outsidePostgres(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: postgres VAR")
	}
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "pg") // short, for a socket's path is
	ts.Check(err)
	ts.Defer(func() { ts.Check(os.RemoveAll(dir)) })
	s, err := postgres.Start(ctx, postgres.Config{Dir: dir, Scratch: true})
	ts.Check(err)
	ts.Defer(func() { ts.Check(s.Stop(ctx)) })
	// The address that the server gives holds in this process only.
	ts.Setenv(args[0], "postgres://liuhen@/liuhen?host="+dir+"&port=5432")
}

// exits CODE COMMAND… runs a command that must end with an exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		code = ended.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("%s ended with exit code %d, want %s", strings.Join(args[1:], " "), code, args[0])
	}
}

// takeskey VAR keeps the first verifier key that the command before has printed.
func takesKey(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: takeskey VAR")
	}
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		if line = strings.TrimSpace(line); strings.Count(line, "+") >= 2 && !strings.Contains(line, " ") {
			ts.Setenv(args[0], line)
			return
		}
	}
	ts.Fatalf("there is no verifier key in the output")
}

// asks DATA METHOD PATH [FILE] sends a request over HTTP to the system on a
// data folder, with the token for everyday work and the file as its body, and
// prints the body of the answer. It must succeed; with ! it must not.
func asks(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 3 || len(args) > 4 {
		ts.Fatalf("usage: asks DATA METHOD PATH [FILE]")
	}
	dir := ts.MkAbs(args[0])
	at, err := readAddress(dir)
	ts.Check(err)
	token, err := os.ReadFile(filepath.Join(dir, cliName))
	ts.Check(err)
	body := ""
	if len(args) == 4 {
		body = ts.ReadFile(args[3])
	}
	r, err := http.NewRequestWithContext(context.Background(), args[1], at.Address+args[2], strings.NewReader(body))
	ts.Check(err)
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(r)
	ts.Check(err)
	defer resp.Body.Close()
	_, err = io.Copy(ts.Stdout(), resp.Body)
	ts.Check(err)
	if good := resp.StatusCode < 300; good == neg {
		ts.Fatalf("%s %s: status %d", args[1], args[2], resp.StatusCode)
	}
}

// json PATH VALUE checks a value in the JSON that the last command printed:
// json items.0.case 样例-001. A number of items is items.#.
func checkJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: json PATH VALUE")
	}
	var v any
	dec := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	dec.UseNumber()
	ts.Check(dec.Decode(&v))
	for _, step := range strings.Split(args[0], ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[step]
		case []any:
			if step == "#" {
				v = len(at)
				continue
			}
			i, err := strconv.Atoi(step)
			if err != nil || i >= len(at) {
				ts.Fatalf("%s: no item %s", args[0], step)
			}
			v = at[i]
		default:
			ts.Fatalf("%s: nothing at %s", args[0], step)
		}
	}
	if same := fmt.Sprint(v) == args[1]; same == neg {
		ts.Fatalf("%s is %v, compared with %s", args[0], v, args[1])
	}
}
