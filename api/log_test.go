package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
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
)

// openWithLog opens an office with a log of proofs, and returns its public key.
func openWithLog(t *testing.T) (*office, string) {
	t.Helper()
	var public string
	o := open(t, func(o *office, c *Config) {
		js, err := jetstream.New(o.server.Conn())
		if err != nil {
			t.Fatal(err)
		}
		history, err := transparency.OpenHistory(t.Context(), js, "CASES", 1)
		if err != nil {
			t.Fatal(err)
		}
		ring, _, err := keys.LoadOrCreate(t.TempDir(), "example.org/liuhen/cases")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ring.Close() })
		settings, err := history.Begin(t.Context(), transparency.Settings{Origin: ring.Name(), Volume: "CASES", Keys: ring.First()})
		if err != nil {
			t.Fatal(err)
		}
		if c.LogKeys, err = ring.Verifiers(); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		log, err := transparency.Open(t.Context(), transparency.Config{
			Store: o.store, History: history, Settings: settings, Dir: dir, Memory: filepath.Join(dir, "memory"),
			Signers: ring.Signers(), Keys: c.LogKeys, Period: 10 * time.Millisecond, Logger: eventstoretest.Logger(t),
		})
		if err != nil {
			t.Fatal(err)
		}
		running, stop := context.WithCancel(context.Background())
		var wait sync.WaitGroup
		wait.Go(func() {
			if err := log.Run(running); err != nil {
				t.Error(err)
			}
		})
		t.Cleanup(func() { stop(); wait.Wait() })
		c.Log, public = log, ring.First()[0]
		c.LawFiles = os.DirFS("testdata/law")
	})
	return o, public
}

// TestStrangerChecks does what a stranger does who has a record, the public key,
// and the log's address.
func TestStrangerChecks(t *testing.T) {
	o, public := openWithLog(t)
	known, err := note.NewVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	origin, pinned := known.Name(), note.VerifierList(known)
	filed := o.filed("C-1")
	o.filed("C-2")
	last := o.recorded(o.li, "C-1", act("inspect", "officers", []string{"li", "zhao"}, "fields", map[string]any{"amount": 1}))

	record := o.get(o.li, "/v1/cases/C-1/records/"+last.Event).is(http.StatusOK)
	text := o.get(o.li, "/v1/cases/C-1/records/"+last.Event+"/proof").is(http.StatusOK)
	p, err := transparency.ParseInclusion(text.body)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := o.store.At(t.Context(), eventstore.Position(last.Position))
	if err != nil {
		t.Fatal(err)
	}
	stored.Data = record.body // what the caller was given
	if _, err := p.VerifyRecord(stored, origin, pinned); err != nil {
		t.Error(err)
	}

	var h transparency.CaseHead
	o.get(o.li, "/v1/cases/C-1/head").is(http.StatusOK).into(&h)
	c, err := h.Verify(origin, pinned)
	if err != nil || h.Head.Count != 2 || c.Size < int64(last.Position) {
		t.Errorf("the head of C-1 has %d records at %d (%v), want 2", h.Head.Count, c.Size, err)
	}

	// The log itself asks for nothing and tells of no case.
	checkpoint := o.get("", "/log/checkpoint").is(http.StatusOK)
	newest, err := transparency.OpenCheckpoint(checkpoint.body, origin, pinned)
	if err != nil || newest.Size < 3 {
		t.Fatalf("the checkpoint has %d records (%v)", newest.Size, err)
	}
	entries := o.get("", "/log/tile/entries/000.p/3").is(http.StatusOK)
	if got := entries.header.Get("Cache-Control"); got != "public, max-age=31536000, immutable" {
		t.Errorf("a tile may be kept: %q", got)
	}
	if !strings.Contains(string(entries.body), string(p.Leaf.Text())) || strings.Contains(string(entries.body), "C-1") {
		t.Errorf("the entries are %q", entries.body)
	}
	for _, path := range []string{"000.p/200", "0", "../checkpoint", "000.p/0"} {
		if got := o.get("", "/log/tile/0/"+url.PathEscape(path)).status; got != http.StatusNotFound {
			t.Errorf("tile %s: status %d, want 404", path, got)
		}
	}
	var k logKeys
	o.get("", "/log/keys").is(http.StatusOK).into(&k)
	if k.Origin != origin || !slices.Equal(k.First, []string{public}) || !slices.Equal(k.Now, []string{public}) {
		t.Errorf("keys = %+v, want %s", k, public)
	}
	var kinds []transparency.Kind
	after := uint64(0)
	for line := range strings.Lines(string(o.get("", "/log/history").is(http.StatusOK).body)) {
		var l historyLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		kinds, after = append(kinds, l.Kind), l.Seq
	}
	if len(kinds) < 2 || kinds[0] != transparency.KindSettings || kinds[1] != transparency.KindCheckpoint {
		t.Errorf("the history holds %v", kinds)
	}
	if got := o.get("", "/log/history?after="+position(after)).is(http.StatusOK); len(got.body) > 0 {
		t.Errorf("after the last entry there is %s", got.body)
	}
	o.get("", "/log/history?before=1").problem(http.StatusUnprocessableEntity, "malformed")

	// Who may not read a case is not told of it by a proof either.
	o.get(o.stranger, "/v1/cases/C-1/head").problem(http.StatusNotFound, "not-found")
	o.get(o.stranger, "/v1/cases/C-1/records/"+filed.Event+"/proof").problem(http.StatusNotFound, "not-found")
	o.get("", "/v1/cases/C-1/head").problem(http.StatusUnauthorized, "unauthenticated")
}

func TestStandingLog(t *testing.T) {
	now := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		status transparency.Status
		want   string
	}{
		{transparency.Status{Size: 5, Integrated: 5, SealedAt: now.Add(-time.Hour)}, ""},
		{transparency.Status{Size: 5, Integrated: 6, SealedAt: now.Add(-time.Second)}, ""},
		{transparency.Status{Size: 5, Integrated: 6, SealedAt: now.Add(-time.Hour)}, "sealed at 5 of 6 records"},
		{transparency.Status{Standing: "no room"}, "no room"},
	} {
		got := strings.Join(StandingLog(c.status, now), "; ")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%+v: %q, want %q", c.status, got, c.want)
		}
	}
}
