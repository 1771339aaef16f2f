package attest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/mod/sumdb/note"

	"liuhen/eventstore"
	"liuhen/eventstore/eventstoretest"
	"liuhen/transparency"
	"liuhen/transparency/keys"
	"liuhen/transparency/policy"
	"liuhen/transparency/timestamp"
	"liuhen/transparency/timestamp/tsatest"
	"liuhen/transparency/witness"
)

// A bureau is a record with its log.
type bureau struct {
	t     *testing.T
	store *eventstore.Store
	log   *transparency.Log
	chain *keys.Chain
}

// newBureau begins a log with these keys; two with the same keys are what an
// attacker makes who has them and a record of his own.
func newBureau(t *testing.T, ring *keys.Ring) *bureau {
	t.Helper()
	server := eventstoretest.Server(t)
	b := &bureau{t: t, store: eventstoretest.Run(t, eventstore.Config{Server: server, Volume: "TEST"})}
	js, err := jetstream.New(server.Conn())
	if err != nil {
		t.Fatal(err)
	}
	history, err := transparency.OpenHistory(t.Context(), js, "TEST", 1)
	if err != nil {
		t.Fatal(err)
	}
	settings, err := history.Begin(t.Context(), transparency.Settings{Origin: ring.Name(), Volume: "TEST", Keys: ring.First()})
	if err != nil {
		t.Fatal(err)
	}
	if b.chain, err = ring.Verifiers(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	b.log, err = transparency.Open(t.Context(), transparency.Config{
		Store: b.store, History: history, Settings: settings, Dir: dir, Memory: filepath.Join(dir, "memory"),
		Signers: ring.Signers(), Keys: b.chain, Period: 10 * time.Millisecond, Logger: eventstoretest.Logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	wait.Go(func() {
		if err := b.log.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); wait.Wait() })
	return b
}

// record appends n records that say what, and waits until they are sealed.
func (b *bureau) record(what string, n int) int64 {
	b.t.Helper()
	var last eventstore.Position
	for i := range n {
		name := "enf.a.penalty.C-1"
		p, err := b.store.Append(b.t.Context(), name, b.store.Newest(name), fmt.Appendf(nil, `{"%s":%d}`, what, i))
		if err != nil {
			b.t.Fatal(err)
		}
		last = p
	}
	c, err := b.log.Wait(b.t.Context(), int64(last))
	if err != nil {
		b.t.Fatal(err)
	}
	return c.Size
}

func logKeys(t *testing.T) *keys.Ring {
	t.Helper()
	ring, _, err := keys.LoadOrCreate(t.TempDir(), "example.org/liuhen/attested")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ring.Close() })
	return ring
}

// court is a witness, with its address and its keys.
func court(t *testing.T, name string, of *keys.Ring) (*witness.Client, *keys.Ring, string) {
	t.Helper()
	ring, err := keys.Create(filepath.Join(t.TempDir(), "key"), name, keys.Cosignature, keys.MLDSA44)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ring.Close() })
	w, err := witness.Open(t.TempDir(), ring, of.First()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	server := httptest.NewServer(w.Handler(eventstoretest.Logger(t)))
	t.Cleanup(server.Close)
	client, err := witness.NewClient(server.URL, ring.VerifierKeys()...)
	if err != nil {
		t.Fatal(err)
	}
	return client, ring, server.URL
}

func attester(t *testing.T, b *bureau, witnesses ...*witness.Client) *Attester {
	t.Helper()
	return New(Config{Log: b.log, Witnesses: witnesses, Logger: eventstoretest.Logger(t)})
}

// TestCosigned has two witnesses cosign, by both algorithms, and the policy of a
// reader find its quorum; one that is down is named and holds up nobody.
func TestCosigned(t *testing.T) {
	of := logKeys(t)
	b := newBureau(t, of)
	one, oneKeys, oneURL := court(t, "court.example", of)
	two, twoKeys, twoURL := court(t, "archive.example", of)
	nobody, err := witness.NewClient("http://127.0.0.1:1", oneKeys.VerifierKeys()...)
	if err != nil {
		t.Fatal(err)
	}
	a := attester(t, b, one, two, nobody)
	size := b.record("first", 3)
	if err := a.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := b.log.Cosigned(t.Context())
	if err != nil || c.Size < size {
		t.Fatalf("cosigned is a checkpoint of %d records (%v), want %d", c.Size, err, size)
	}
	text := fmt.Sprintf("log %s\n", of.First()[0])
	for i, k := range append(oneKeys.VerifierKeys(), twoKeys.VerifierKeys()...) {
		text += fmt.Sprintf("witness w%d %s %s\n", i, k, []string{oneURL, oneURL, twoURL, twoURL}[i])
	}
	p, err := policy.Parse([]byte(text + "group all 4 w0 w1 w2 w3\nquorum all\n"))
	if err != nil {
		t.Fatal(err)
	}
	if result, err := p.Check(c.Note); err != nil || len(result.Cosigned) != 4 {
		t.Errorf("by the policy %+v (%v)", result, err)
	}
	if clients, err := Clients(p); err != nil || len(clients) != 2 {
		t.Errorf("%d clients for two addresses (%v)", len(clients), err)
	}
	st := a.Status()
	if st.Witnesses[0].Cosigned != c.Size || st.Witnesses[0].Why != "" || st.Witnesses[2].Why == "" || b.log.Status().Incident != "" {
		t.Errorf("status %+v, incident %q", st, b.log.Status().Incident)
	}
	b.record("second", 2)
	if err := a.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c2, err := b.log.Cosigned(t.Context()); err != nil || c2.Size <= c.Size {
		t.Errorf("then cosigned is a checkpoint of %d records (%v)", c2.Size, err)
	}
}

// TestWitnessProvesLoss shows a witness a log that has lost records.
func TestWitnessProvesLoss(t *testing.T) {
	of := logKeys(t)
	w, _, _ := court(t, "court.example", of)
	before := newBureau(t, of)
	size := before.record("kept", 9)
	if err := attester(t, before, w).Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := newBureau(t, of)
	after.record("kept", 4)
	if err := attester(t, after, w).Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := after.log.Status().Incident
	if !strings.Contains(got, fmt.Sprintf("court.example has cosigned the log at %d records", size)) {
		t.Errorf("incident %q", got)
	}
	_, err := after.store.Append(t.Context(), "enf.a.penalty.C-1", 100, []byte("{}"))
	if !errors.Is(err, eventstore.ErrStopped) {
		t.Errorf("an append after it: %v, want ErrStopped", err)
	}
}

// TestWitnessProvesFork shows a witness another record of the same log.
func TestWitnessProvesFork(t *testing.T) {
	of := logKeys(t)
	w, _, _ := court(t, "court.example", of)
	one := newBureau(t, of)
	one.record("one", 4)
	if err := attester(t, one, w).Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := newBureau(t, of)
	other.record("other", 9)
	if err := attester(t, other, w).Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := other.log.Status().Incident; !strings.Contains(got, "court.example has cosigned") || !strings.Contains(got, "another root") {
		t.Errorf("incident %q", got)
	}
	if got := one.log.Status().Incident; got != "" {
		t.Errorf("the log that the witness knows has an incident: %q", got)
	}
}

// TestCarried takes a checkpoint to a witness without a network, and back.
func TestCarried(t *testing.T) {
	of := logKeys(t)
	b := newBureau(t, of)
	size := b.record("carried", 5)
	ring, err := keys.Create(filepath.Join(t.TempDir(), "key"), "archive.example", keys.Cosignature)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ring.Close() })
	w, err := witness.Open(t.TempDir(), ring, of.First()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	request, err := witness.MakeRequest(func(path string) ([]byte, error) {
		if path == "checkpoint" {
			return b.log.Checkpoint().Note, nil
		}
		return b.log.Tile(path)
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, back, err := w.Add(request.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	a := attester(t, b)
	if got, err := a.Carry(t.Context(), back, ring.VerifierKeys()...); err != nil || got != size {
		t.Fatalf("carried back a checkpoint of %d records (%v), want %d", got, err, size)
	}
	c, err := b.log.Cosigned(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	known, err := keys.NewVerifier(ring.VerifierKeys()[0])
	if err != nil {
		t.Fatal(err)
	}
	if n, err := note.Open(c.Note, note.VerifierList(known)); err != nil || len(n.Sigs) != 1 {
		t.Errorf("the kept checkpoint is not cosigned by the archive: %v", err)
	}
	if _, err := a.Carry(t.Context(), []byte("nonsense"), ring.VerifierKeys()...); err == nil {
		t.Error("nonsense was taken")
	}
}

// TestStamped has an authority stamp a checkpoint, once a day.
func TestStamped(t *testing.T) {
	tsa := tsatest.New(t, tsatest.StampsTimes, tsatest.EC...)
	roots, err := timestamp.ParseRoots(tsa.Read("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	b := newBureau(t, logKeys(t))
	size := b.record("stamped", 3)
	now := time.Now()
	a := New(Config{
		Log: b.log, Logger: eventstoretest.Logger(t), Now: func() time.Time { return now },
		Authority: &timestamp.Client{URL: tsa.Serve(func(_, reply []byte) []byte { return reply }), Roots: roots},
	})
	stamps := func() []Stamped {
		t.Helper()
		if err := a.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
		all, err := b.log.History().Of(t.Context(), transparency.KindTimestamp)
		if err != nil {
			t.Fatal(err)
		}
		var out []Stamped
		for _, e := range all {
			var s Stamped
			if err := json.Unmarshal(e.Data, &s); err != nil {
				t.Fatal(err)
			}
			out = append(out, s)
		}
		return out
	}
	all := stamps()
	if len(all) != 1 || all[0].Size < size {
		t.Fatalf("stamps: %+v, want one of %d records", all, size)
	}
	if _, err := timestamp.Verify(all[0].Token, []byte(all[0].Checkpoint), roots); err != nil {
		t.Error(err)
	}
	if _, err := transparency.OpenCheckpoint([]byte(all[0].Checkpoint), b.log.Status().Origin, b.chain); err != nil {
		t.Error(err)
	}
	b.record("later", 2)
	if all = stamps(); len(all) != 1 {
		t.Errorf("on the same day there are %d stamps", len(all))
	}
	now = now.Add(25 * time.Hour)
	if all = stamps(); len(all) != 2 || all[1].Size <= size {
		t.Errorf("a day later the stamps are %+v", all)
	}
	if all = stamps(); len(all) != 2 {
		t.Errorf("the same checkpoint was stamped again: %d stamps", len(all))
	}
	// An authority that is down is told of, and holds up nothing.
	b.record("down", 1)
	now = now.Add(25 * time.Hour)
	a.cfg.Authority = &timestamp.Client{URL: "http://127.0.0.1:1", Roots: roots}
	if all = stamps(); len(all) != 2 || a.Status().StampWhy == "" {
		t.Errorf("with an authority that is down: %d stamps, status %+v", len(all), a.Status())
	}
}
