package killtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"liuhen/domain"
	"liuhen/domain/law"
	"liuhen/domain/rulebook"
	"liuhen/eventstore"
)

const (
	clients = 64
	cases   = 200
	short   = 5 // kills in "make test"; LIUHENTEST_KILLS asks for more
)

// TestKill runs the built program on a folder, lets 64 clients record acts in
// many cases, kills the program with SIGKILL again and again at random moments,
// and starts it anew. Clients repeat what was cut off, with the same command
// id. Afterwards every act that got a receipt must be there exactly once, every
// case must be a chain without a hole, positions must be gapless, and the read
// models must be what a rebuild makes of the record.
func TestKill(t *testing.T) {
	kills := short
	if text := os.Getenv("LIUHENTEST_KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil || kills < 1 {
			t.Fatalf("LIUHENTEST_KILLS is %q: want a number of kills", text)
		}
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("LIUHENTEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("LIUHENTEST_SEED is %q: want a number", text)
		}
	}
	t.Logf("%d kills, LIUHENTEST_SEED=%d", kills, seed)

	s := &system{binary: build(t), data: t.TempDir()}
	s.start(t)
	t.Cleanup(s.kill)
	token := s.token(t, "officer")

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	o := &office{system: s, token: token, receipts: map[string]domain.Receipt{}}
	var working sync.WaitGroup
	for n := range clients {
		working.Go(func() { o.work(ctx, rand.New(rand.NewPCG(seed, uint64(n)))) })
	}

	chance := rand.New(rand.NewPCG(seed, 1<<32))
	for n := range kills {
		before := o.recorded.Load()
		pause(time.Duration(50+chance.IntN(1500)) * time.Millisecond)
		s.kill()
		starting := ""
		if chance.IntN(4) == 0 { // and once more while it starts
			s.launch(t)
			pause(time.Duration(chance.IntN(2000)) * time.Millisecond)
			s.kill()
			starting = ", and was killed while it started"
		}
		s.start(t)
		t.Logf("kill %d: %d receipts since the one before%s; ready again after %s",
			n+1, o.recorded.Load()-before, starting, s.took.Round(time.Millisecond))
	}
	reached := o.recorded.Load()
	waitUntil(t, time.Minute, "the clients to record on after the last kill", func() bool { return o.recorded.Load() > reached+clients })
	stop()
	working.Wait()
	if o.failure.Load() != nil {
		t.Fatal(*o.failure.Load())
	}

	t.Logf("%d receipts; %d commands had been cut off and were sent again, %d of them were found to be there already",
		len(o.receipts), o.repeated.Load(), o.duplicates.Load())
	if o.repeated.Load() == 0 {
		t.Error("no command was ever cut off: the kills did not hit anything")
	}
	s.rebuild(t)
	s.stop(t)
	check(t, filepath.Join(s.data, "nats"), o.receipts)
}

// build builds the program as it is shipped.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "liuhen")
	cmd := exec.Command("go", "build", "-o", binary, "liuhen/cmd/liuhen")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

// A system is the program as a process of its own.
type system struct {
	binary, data string
	took         time.Duration // the last start

	mu      sync.RWMutex // guards what follows
	address string       // while it runs
	process *os.Process
	ended   chan struct{} // closed when the process has ended

	log bytes.Buffer // what the process said; read it when it has ended
}

// launch starts the program.
func (s *system) launch(t *testing.T) {
	t.Helper()
	cmd := exec.Command(s.binary, "serve", "--data", s.data, "--keys", s.data+"-keys", "--http", "127.0.0.1:0")
	s.log.Reset()
	cmd.Stderr = &s.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended stands in its log
		close(ended)
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process, s.ended = cmd.Process, ended
}

// start starts the program and returns when it says where it is.
func (s *system) start(t *testing.T) {
	t.Helper()
	began := time.Now()
	s.launch(t)
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		var r struct {
			PID     int    `json:"pid"`
			Address string `json:"address"`
		}
		text, err := os.ReadFile(filepath.Join(s.data, "server.json"))
		if err == nil && json.Unmarshal(text, &r) == nil && r.PID == s.process.Pid {
			s.mu.Lock()
			s.address = r.Address
			s.mu.Unlock()
			s.took = time.Since(began)
			return
		}
		select {
		case <-s.ended:
			t.Fatalf("the program ended while it was starting\n%s", s.log.String())
		case <-deadline:
			t.Fatalf("the program is not ready after two minutes\n%s", s.log.String())
		case <-tick.C:
		}
	}
}

// kill kills the program as the kernel would in need of memory.
func (s *system) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return
	}
	_ = s.process.Kill() // it may have ended by itself
	<-s.ended
	s.process, s.address = nil, ""
}

// stop stops the program as Ctrl-C does.
func (s *system) stop(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.ended:
	case <-time.After(10 * time.Second):
		t.Fatalf("not stopped after ten seconds\n%s", s.log.String())
	}
	s.process, s.address = nil, ""
}

func (s *system) where() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.address
}

// token makes a token for a role.
func (s *system) token(t *testing.T, role string) string {
	t.Helper()
	out, err := exec.Command(s.binary, "token", "create", "--data", s.data, "--person", "kill", "--role", role, "--agency", "kill").Output()
	if err != nil {
		t.Fatalf("token create: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// rebuild asks for a rebuild of every read model, which must find no
// difference.
func (s *system) rebuild(t *testing.T) {
	t.Helper()
	var errOut bytes.Buffer
	cmd := exec.Command(s.binary, "rebuild", "--data", s.data, "--json")
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("rebuild: %v\n%s%s", err, out, errOut.String())
		return
	}
	var report struct {
		Models []struct {
			Model       string `json:"model"`
			Rows        int64  `json:"rows"`
			Differences int64  `json:"differences"`
		} `json:"models"`
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("rebuild says %s: %v", out, err)
	}
	if len(report.Models) == 0 {
		t.Error("rebuild tells of no model")
	}
	for _, m := range report.Models {
		empty := m.Rows == 0 && m.Model != "registers" // the clients' acts enter nothing
		if m.Differences != 0 || empty {
			t.Errorf("read model %s: %d rows, %d differences", m.Model, m.Rows, m.Differences)
		}
	}
}

// An office is the clients and what they were told.
type office struct {
	system *system
	token  string

	recorded, repeated, duplicates atomic.Int64
	failure                        atomic.Pointer[error]

	mu       sync.Mutex                // guards what follows
	receipts map[string]domain.Receipt // by command id
}

// work records act after act until ctx ends. A command that was begun is
// brought to its receipt, also after that.
func (o *office) work(ctx context.Context, chance *rand.Rand) {
	for n := 0; ctx.Err() == nil; n++ {
		id := fmt.Sprintf("%x-%d", chance.Uint64(), n)
		r, err := o.command(id, chance.IntN(cases), chance)
		if err != nil {
			err = fmt.Errorf("command %s: %w", id, err)
			o.failure.CompareAndSwap(nil, &err)
			return
		}
		o.mu.Lock()
		o.receipts[id] = r
		o.mu.Unlock()
		o.recorded.Add(1)
	}
}

// command sends a command until there is a receipt: as an act of a case, or
// where there is no such case yet as the one that opens it. Answers that leave
// open what became of it are followed by the same again.
func (o *office) command(id string, number int, chance *rand.Rand) (domain.Receipt, error) {
	name := fmt.Sprintf("K-%03d", number)
	at := time.Now().Format(time.RFC3339Nano)
	act := map[string]any{
		"act": "show-certificate", "occurred_at": at, "officers": []string{"li", "zhao"},
		"fields": map[string]any{"person": "样例" + strconv.Itoa(chance.IntN(1000))},
	}
	if chance.IntN(4) == 0 { // one that starts a limit and leaves findings
		act["act"], act["already_done"], act["reason"] = "register-evidence", true, "kill test"
		act["fields"] = map[string]any{"list_no": id, "person": "样例", "items": []map[string]any{{"name": "样例物品"}}}
	}
	opening := map[string]any{
		"procedure": "penalty-ordinary", "case": name, "act": "receive-clue", "occurred_at": at,
		"fields": map[string]any{"source": "report", "summary": "样例"},
	}

	path, body, cut := "/v1/cases/"+name+"/acts", act, false
	for range 5000 {
		status, answer, err := o.post(path, id, body)
		switch {
		case err != nil || status == http.StatusServiceUnavailable: // killed, or just starting
			cut = true
			pause(10 * time.Millisecond)
		case status == http.StatusNotFound:
			path, body = "/v1/cases", opening
		case status == http.StatusConflict: // another client opened it first
			path, body = "/v1/cases/"+name+"/acts", act
		case status == http.StatusCreated || status == http.StatusOK:
			var r domain.Receipt
			if err := json.Unmarshal(answer, &r); err != nil {
				return r, err
			}
			if cut {
				o.repeated.Add(1)
			}
			if r.Duplicate {
				o.duplicates.Add(1)
			}
			return r, nil
		default:
			return domain.Receipt{}, fmt.Errorf("POST %s: %d %s", path, status, answer)
		}
	}
	return domain.Receipt{}, errors.New("no receipt after 5,000 tries")
}

func (o *office) post(path, id string, body any) (int, []byte, error) {
	address := o.system.where()
	if address == "" {
		return 0, nil, errors.New("it does not run")
	}
	text, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address+path, bytes.NewReader(text))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+o.token)
	r.Header.Set("Idempotency-Key", id)
	r.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}

// check reads the record itself, without the program: every receipt is there
// exactly once, positions are gapless, each case is a chain, and no command was
// carried out twice.
func check(t *testing.T, dir string, receipts map[string]domain.Receipt) {
	t.Helper()
	book, err := rulebook.Load(law.Files)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server, err := eventstore.Embedded(dir, eventstore.ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Shutdown()
	store, err := eventstore.Open(ctx, eventstore.Config{Server: server, Volume: "ENF"})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = store.Run(ctx) })
	defer running.Wait()
	defer cancel()

	last, err := store.Last(ctx)
	if err != nil {
		t.Fatal(err)
	}
	files := map[domain.CaseID]*domain.Case{}
	commands := map[string]domain.Receipt{}
	next := eventstore.Position(1)
	for stored, err := range store.Follow(ctx, 0) {
		if err != nil {
			t.Fatalf("follow: %v", err)
		}
		if stored.Position != next {
			t.Fatalf("position %d comes after %d", stored.Position, next-1)
		}
		next++
		r, err := domain.Read(uint64(stored.Position), stored.At, stored.Data)
		if err != nil {
			t.Fatal(err)
		}
		if files[r.Subject], err = domain.Evolve(book, files[r.Subject], r); err != nil {
			t.Fatal(err) // a hole, a doubled revision, or a broken chain
		}
		if first, twice := commands[r.Command]; twice {
			t.Errorf("command %s was carried out twice: positions %d and %d", r.Command, first.Position, r.Position)
		}
		commands[r.Command] = domain.ReceiptOf(r)
		if stored.Position == last {
			break
		}
	}
	lost := 0
	for id, receipt := range receipts {
		there, ok := commands[id]
		switch {
		case !ok:
			lost++
			t.Errorf("receipt at position %d for command %s in case %s: the record does not have it", receipt.Position, id, receipt.Case)
		case there.Position != receipt.Position || there.Digest != receipt.Digest || there.Revision != receipt.Revision || there.Case != receipt.Case:
			t.Errorf("command %s: the receipt says %+v, the record %+v", id, receipt, there)
		}
		if lost > 20 {
			t.Fatal("and so on")
		}
	}
	t.Logf("%d records in %d cases, %d receipts: all there, once", last, len(files), len(receipts))
}

// pause waits for a random moment to come; nothing else is waited for by time.
func pause(d time.Duration) { <-time.After(d) }

// waitUntil waits for a condition.
func waitUntil(t *testing.T, patience time.Duration, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain for %s", patience, what)
		}
		pause(5 * time.Millisecond)
	}
}
