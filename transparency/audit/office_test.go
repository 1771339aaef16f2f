package audit_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/mod/sumdb/note"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/eventstore"
	"liuhen/eventstore/eventstoretest"
	"liuhen/transparency"
	"liuhen/transparency/audit"
)

const (
	testOrigin = "example.org/liuhen/test"
	testVolume = "ENF"
)

// testKey is a key of a log.
type testKey struct {
	signer   note.Signer
	verifier note.Verifier
}

func newKey(t testing.TB) testKey {
	t.Helper()
	secret, public, err := note.GenerateKey(nil, testOrigin)
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	return testKey{s, v}
}

// An office is a data folder with a record and its log, and the folder beside it
// in which the key's owner remembers the newest checkpoint.
type office struct {
	dir  string // nats, log
	away string // the memory
	past string // data and away as they were some time ago; empty: not kept
	key  testKey

	heads map[string]domain.Recorded // the last record of each case

	server  *eventstore.Server
	store   *eventstore.Store
	log     *transparency.Log
	history *transparency.History
	ends    []func() // in the order of starting
}

func newOffice(t testing.TB) *office {
	t.Helper()
	return &office{dir: t.TempDir(), away: t.TempDir(), key: newKey(t), heads: map[string]domain.Recorded{}}
}

// copied is an office in a copy of the folders of another, which must be stopped.
func (o *office) copied(t testing.TB) *office {
	t.Helper()
	c := &office{dir: t.TempDir(), away: t.TempDir(), key: o.key, heads: map[string]domain.Recorded{}}
	for name, r := range o.heads {
		c.heads[name] = r
	}
	copyFolder(t, o.dir, c.dir)
	copyFolder(t, o.away, c.away)
	return c
}

func copyFolder(t testing.TB, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

func (o *office) memory() string { return filepath.Join(o.away, "checkpoint") }

func (o *office) tiles() transparency.Folder { return transparency.Folder(filepath.Join(o.dir, "log")) }

// serve starts the NATS server alone.
func (o *office) serve(t testing.TB) jetstream.JetStream {
	t.Helper()
	if o.server == nil {
		server, err := eventstore.Embedded(filepath.Join(o.dir, "nats"), eventstore.ServerOptions{Logger: eventstoretest.Logger(t)})
		if err != nil {
			t.Fatal(err)
		}
		o.server = server
		o.ends = append(o.ends, func() { server.Shutdown(); o.server = nil })
		t.Cleanup(o.stop)
	}
	js, err := jetstream.New(o.server.Conn())
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// open opens store and log as "liuhen serve" does before anything is written, and
// says by what incident writing was stopped, if it was.
func (o *office) open(t testing.TB, change ...func(*eventstore.Config)) (incident string) {
	t.Helper()
	js := o.serve(t)
	c := eventstore.Config{Server: o.server, Volume: testVolume, Logger: eventstoretest.Logger(t)}
	for _, f := range change {
		f(&c)
	}
	store, err := eventstore.Open(t.Context(), c)
	if err != nil {
		return err.Error()
	}
	o.store = store
	if o.history, err = transparency.OpenHistory(t.Context(), js, testVolume, 1); err != nil {
		t.Fatal(err)
	}
	begun, err := o.history.Begin(t.Context(), transparency.Settings{Origin: testOrigin, Volume: testVolume})
	if errors.Is(err, transparency.ErrRaced) {
		begun, err = o.history.Settings(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	o.log, err = transparency.Open(t.Context(), transparency.Config{
		Store: store, History: o.history, Settings: begun, Dir: string(o.tiles()), Memory: o.memory(),
		Signers: []note.Signer{o.key.signer}, Keys: note.VerifierList(o.key.verifier),
		Period: 5 * time.Millisecond, Logger: eventstoretest.Logger(t),
	})
	if err != nil {
		return err.Error()
	}
	return store.Status().Incident
}

// start opens store and log and runs them, unless there is an incident.
func (o *office) start(t testing.TB, change ...func(*eventstore.Config)) (incident string) {
	t.Helper()
	if why := o.open(t, change...); why != "" {
		return why
	}
	for _, run := range []func(context.Context) error{o.store.Run, o.log.Run} {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- run(ctx) }()
		o.ends = append(o.ends, func() {
			cancel()
			if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := o.store.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return ""
}

func (o *office) stop() {
	for len(o.ends) > 0 {
		o.ends[len(o.ends)-1]()
		o.ends = o.ends[:len(o.ends)-1]
	}
}

// event makes the next event of a case, of a length that does not depend on what
// it says.
func (o *office) event(t testing.TB, name string, change ...func(*domain.Event)) []byte {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Microsecond).Add(time.Microsecond / 2)
	last := o.heads[name]
	e := domain.Event{
		SpecVersion: "1.0", ID: fmt.Sprintf("0199-%s-%06d", name, last.Revision+1), Source: "/agencies/kjj", Type: "penalty-ordinary.inspect-scene",
		Subject: domain.CaseID(name), Time: now.Add(-time.Minute), ContentType: "application/json", Recorded: now,
		Edition: calendar.Date{}, Revision: last.Revision + 1, Previous: last.Digest, Command: fmt.Sprintf("command-%s-%06d", name, last.Revision+1),
		Actor: "zhang-san", Salt: fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, name, last.Revision)))[:32],
		Data: domain.Data{Place: "沈阳市某区某路 1 号", Fields: domain.Fields{"findings": "现场检查正常，未发现违法行为", "fine": int64(20000 + last.Revision)}},
	}
	e.Edition, _ = calendar.ParseDate("2021-07-15")
	for _, f := range change {
		f(&e)
	}
	data, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func subject(name string) string {
	return domain.Subject("kjj", "penalty-ordinary", domain.CaseID(name))
}

// record appends n events, spread over some cases, and waits until the log is
// sealed over them.
func (o *office) record(t testing.TB, cases, n int, change ...func(*domain.Event)) eventstore.Position {
	t.Helper()
	last, err := o.store.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for done := 0; done < n; {
		var group []eventstore.Entry
		for range min(n-done, 500) {
			name := fmt.Sprintf("C-%04d", done%cases)
			data := o.event(t, name, change...)
			o.known(t, data)
			group = append(group, eventstore.Entry{Stream: subject(name), After: last, Data: [][]byte{data}})
			done++
			if done%cases == 0 {
				break // each waits for the one before it in its case
			}
		}
		for _, out := range o.store.AppendAll(t.Context(), group) {
			if out.Err != nil {
				t.Fatal(out.Err)
			}
			last = max(last, out.Position)
		}
	}
	o.sealed(t, last)
	return last
}

// known remembers an event as the last of its case.
func (o *office) known(t testing.TB, data []byte) {
	t.Helper()
	r, err := domain.Read(1, time.Time{}, data)
	if err != nil {
		t.Fatal(err)
	}
	o.heads[string(r.Subject)] = r
}

func (o *office) sealed(t testing.TB, size eventstore.Position) transparency.Checkpoint {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := o.log.Wait(ctx, int64(size))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// source is what an audit reads: the stream, the history, the tiles and the
// memory, without a store or a log that runs.
func (o *office) source(t testing.TB) audit.Source {
	t.Helper()
	js := o.serve(t)
	volume, err := audit.FindVolume(t.Context(), js, testVolume)
	if err != nil {
		t.Fatal(err)
	}
	history, err := transparency.FindHistory(t.Context(), js, testVolume)
	if err != nil {
		t.Fatal(err)
	}
	settings, err := history.Settings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := audit.Source{Records: volume, History: history, Settings: settings, Keys: note.VerifierList(o.key.verifier), Tiles: o.tiles()}
	if text, err := os.ReadFile(o.memory()); err == nil {
		s.Memories = []audit.Memory{{Where: "memory", Note: text}}
	}
	s.Heads = s.HeadsOf
	return s
}

func (o *office) verify(t testing.TB, scope audit.Scope) audit.Result {
	t.Helper()
	got, err := o.source(t).Run(t.Context(), scope)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func clean(t testing.TB, got audit.Result) {
	t.Helper()
	if !got.Clean() || len(got.Unchecked) > 0 {
		text, _ := json.MarshalIndent(got, "", " ")
		t.Errorf("want nothing found:\n%s", text)
	}
}
