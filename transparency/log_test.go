package transparency

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm3"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"liuhen/eventstore"
	"liuhen/eventstore/eventstoretest"
	"liuhen/transparency/heads"
)

const testOrigin = "example.org/liuhen/test"

// key is a key of a log, made anew for each test.
type key struct {
	signer   note.Signer
	verifier note.Verifier
}

func newKey(t testing.TB, name string) key {
	t.Helper()
	secret, public, err := note.GenerateKey(nil, name)
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
	return key{s, v}
}

func (k key) known() note.Verifiers { return note.VerifierList(k.verifier) }

// office is a volume with a log.
type office struct {
	server *eventstore.Server
	store  *eventstore.Store
	key    key
	dir    string

	digests []string // that the log is begun with
}

func newOffice(t testing.TB) *office {
	t.Helper()
	o := &office{server: eventstoretest.Server(t), key: newKey(t, testOrigin), dir: t.TempDir()}
	o.store = eventstoretest.Run(t, eventstore.Config{Server: o.server, Volume: "TEST"})
	return o
}

// config is that of one process.
func (o *office) config(t testing.TB, process string) Config {
	t.Helper()
	js, err := jetstream.New(o.server.Conn())
	if err != nil {
		t.Fatal(err)
	}
	history, err := OpenHistory(t.Context(), js, "TEST", 1)
	if err != nil {
		t.Fatal(err)
	}
	begun, err := history.Begin(t.Context(), Settings{Origin: testOrigin, Volume: "TEST", Digests: o.digests})
	if errors.Is(err, ErrRaced) {
		begun, err = history.Settings(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Store: o.store, History: history, Settings: begun,
		Dir: filepath.Join(o.dir, process, "log"), Memory: filepath.Join(o.dir, process+"-memory"),
		Signers: []note.Signer{o.key.signer}, Keys: o.key.known(),
		Period: 10 * time.Millisecond, Logger: eventstoretest.Logger(t),
	}
}

// running opens a log and runs it until stop or the end of the test.
func running(t testing.TB, c Config) (l *Log, stop func()) {
	t.Helper()
	l, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the log ended with: %v", err)
		}
	})
	t.Cleanup(stop)
	return l, stop
}

// record appends n records, spread over some cases, and returns the last position.
func (o *office) record(t testing.TB, cases, n int) eventstore.Position {
	t.Helper()
	var last eventstore.Position
	for i := range n {
		name := fmt.Sprint("enf.a.penalty.C-", i%cases)
		at := o.store.Newest(name)
		if last > at {
			at = last
		}
		p, err := o.store.Append(t.Context(), name, at, fmt.Appendf(nil, `{"act":%d,"salt":"%x"}`, i, sha256.Sum256([]byte(fmt.Sprint(i, last)))))
		if err != nil {
			t.Fatal(err)
		}
		last = p
	}
	return last
}

func sealed(t testing.TB, l *Log, size eventstore.Position) Checkpoint {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := l.Wait(ctx, int64(size))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// proven checks what a stranger would: every record up to last, every case.
func (o *office) proven(t testing.TB, l *Log, last eventstore.Position) {
	t.Helper()
	count, digest := map[string]uint64{}, map[string]heads.Hash{}
	for r, err := range o.store.Follow(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		p, err := l.Prove(t.Context(), r.Position)
		if err != nil {
			t.Fatal(err)
		}
		if p, err = ParseInclusion(p.Marshal()); err != nil {
			t.Fatal(err)
		}
		if _, err := p.VerifyRecord(r, testOrigin, o.key.known()); err != nil {
			t.Fatalf("position %d: %v", r.Position, err)
		}
		count[r.Name()]++
		digest[r.Name()] = sha256.Sum256(r.Data)
		if r.Position == last {
			break
		}
	}
	names := []string{"nobody"}
	for name := range count {
		names = append(names, name)
	}
	all, err := l.Heads(t.Context(), names, last)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range all {
		text, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		h = CaseHead{}
		if err := json.Unmarshal(text, &h); err != nil {
			t.Fatalf("%s cannot be read again: %v", text, err)
		}
		if _, err := h.Verify(testOrigin, o.key.known()); err != nil {
			t.Errorf("%s: %v", h.Case, err)
		}
		if want := (heads.Head{Count: count[h.Case], Digest: digest[h.Case]}); h.Head != want {
			t.Errorf("the head of %s is %v, want %v", h.Case, h.Head, want)
		}
	}
}

func TestLog(t *testing.T) {
	o := newOffice(t)
	l, stop := running(t, o.config(t, "one"))
	last := o.record(t, 7, 600)
	first := sealed(t, l, last)
	o.proven(t, l, last)

	// Started again: nothing is made anew.
	stop()
	tile := filepath.Join(o.dir, "one/log/tile/0/001")
	before, err := os.Stat(tile)
	if err != nil {
		t.Fatal(err)
	}
	l, stop = running(t, o.config(t, "one"))
	if got := l.Checkpoint(); string(got.Note) != string(first.Note) {
		t.Errorf("after a start the checkpoint is %q, want %q", got.Note, first.Note)
	}
	last = o.record(t, 9, 300)
	second := sealed(t, l, last)
	o.proven(t, l, last)
	if after, err := os.Stat(tile); err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("a full tile was written again (%v)", err)
	}
	grown, err := l.Consistency(first.Size, second.Size)
	if err != nil {
		t.Fatal(err)
	}
	if err := tlog.CheckTree(grown, second.Size, second.Root, first.Size, first.Root); err != nil {
		t.Error(err)
	}

	// Without its folder it is made anew from the record, to the same root.
	stop()
	if err := os.RemoveAll(filepath.Join(o.dir, "one/log")); err != nil {
		t.Fatal(err)
	}
	l, stop = running(t, o.config(t, "one"))
	if got := l.Checkpoint(); got.Root != second.Root || l.Status().Incident != "" {
		t.Errorf("made anew it is %v, want %v (%s)", got.Root, second.Root, l.Status().Incident)
	}
	o.proven(t, l, last)

	// With heads that were saved at another size, and with some that are wrong.
	stop()
	file := filepath.Join(o.dir, "one/log/heads")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)-1] ^= 1
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	l, _ = running(t, o.config(t, "one"))
	last = o.record(t, 9, 20)
	sealed(t, l, last)
	o.proven(t, l, last)
}

// TestTwoProcesses lets two processes follow one record: they agree on the root,
// and a reader finds the same tiles at both.
func TestTwoProcesses(t *testing.T) {
	o := newOffice(t)
	one, _ := running(t, o.config(t, "one"))
	two, _ := running(t, o.config(t, "two"))
	last := o.record(t, 5, 700)
	a, b := sealed(t, one, last), sealed(t, two, last)
	if string(a.Note) != string(b.Note) {
		t.Errorf("one says\n%s\nthe other\n%s", a.Note, b.Note)
	}
	for _, path := range []string{"tile/0/000", "tile/0/002.p/188", "tile/1/000.p/2", "tile/entries/001", "tile/entries/002.p/1"} {
		x, err := one.Tile(path)
		y, err2 := two.Tile(path)
		if err != nil || err2 != nil || string(x) != string(y) || len(x) == 0 {
			t.Errorf("%s: %d bytes (%v) and %d bytes (%v)", path, len(x), err, len(y), err2)
		}
	}
	for _, path := range []string{"tile/0/002", "tile/0/002.p/189", "tile/9/000", "tile/0/3", "tile/0/../x", "checkpoint", "tile/entries/003.p/1"} {
		if _, err := one.Tile(path); !errors.Is(err, ErrNone) {
			t.Errorf("%s: %v, want ErrNone", path, err)
		}
	}
}

// TestPausedSealer pauses a sealer between its signature and the publication.
// Another goes on; what the first had signed is never seen by anybody.
func TestPausedSealer(t *testing.T) {
	o := newOffice(t)
	paused, wake := make(chan struct{}), make(chan struct{})
	c := o.config(t, "one")
	pause := sync.OnceFunc(func() { close(paused); <-wake })
	c.beforePublish = pause
	one, _ := running(t, c)
	last := o.record(t, 3, 10)
	<-paused
	two, _ := running(t, o.config(t, "two"))
	// The writer is this process, so both think that it is theirs to seal.
	sealed(t, two, last)
	last = o.record(t, 3, 10)
	newest := sealed(t, two, last)
	close(wake)
	last = o.record(t, 3, 10)
	sealed(t, one, last)
	sealed(t, two, last)
	seen := map[int64]tlog.Hash{}
	size := int64(0)
	for e, err := range two.History().All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind != KindCheckpoint {
			continue
		}
		cp, err := OpenCheckpoint(e.Data, testOrigin, o.key.known())
		if err != nil {
			t.Fatal(err)
		}
		if cp.Size <= size {
			t.Errorf("after the checkpoint of %d records there is one of %d", size, cp.Size)
		}
		size = cp.Size
		seen[size] = cp.Root
	}
	if seen[newest.Size] != newest.Root {
		t.Errorf("the history has lost the checkpoint of %d records", newest.Size)
	}
	if one.Status().Incident+two.Status().Incident != "" {
		t.Errorf("incidents: %q, %q", one.Status().Incident, two.Status().Incident)
	}
}

// TestForeignKey begins a log with another key than it was sealed with.
func TestForeignKey(t *testing.T) {
	o := newOffice(t)
	l, stop := running(t, o.config(t, "one"))
	sealed(t, l, o.record(t, 1, 3))
	stop()
	c := o.config(t, "one")
	other := newKey(t, testOrigin)
	c.Signers, c.Keys = []note.Signer{other.signer}, other.known()
	l, _ = running(t, c)
	if got := l.Status().Incident; !strings.Contains(got, "no checkpoint signed with a key of this log") {
		t.Errorf("incident %q", got)
	}
	_, err := o.store.Append(t.Context(), "enf.a.penalty.C-0", 3, []byte("{}"))
	if !errors.Is(err, eventstore.ErrStopped) {
		t.Errorf("an append after it: %v, want ErrStopped", err)
	}
	notes, err := os.ReadFile(c.Memory + ".incidents")
	if err != nil || !strings.Contains(string(notes), "foreign checkpoint") {
		t.Errorf("beside the memory stands %q (%v)", notes, err)
	}
	if e, err := l.History().Last(t.Context(), KindIncident); err != nil || !strings.Contains(string(e.Data), "foreign checkpoint") {
		t.Errorf("in the history stands %q (%v)", e.Data, err)
	}
}

// TestForgedProof changes every part of a proof.
func TestForgedProof(t *testing.T) {
	o := newOffice(t)
	l, _ := running(t, o.config(t, "one"))
	sealed(t, l, o.record(t, 3, 40))
	r, err := o.store.At(t.Context(), 17)
	if err != nil {
		t.Fatal(err)
	}
	good, err := l.Prove(t.Context(), 17)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := good.VerifyRecord(r, testOrigin, o.key.known()); err != nil {
		t.Fatal(err)
	}
	refused := func(what string, change func(p *Inclusion, r *eventstore.Record)) {
		t.Helper()
		p, s := good, r
		p.Hashes = append([]tlog.Hash(nil), good.Hashes...)
		p.Checkpoint = append([]byte(nil), good.Checkpoint...)
		s.Data = append([]byte(nil), r.Data...)
		change(&p, &s)
		if _, err := p.VerifyRecord(s, testOrigin, o.key.known()); !errors.Is(err, ErrNotProven) {
			t.Errorf("%s: %v, want ErrNotProven", what, err)
		}
	}
	for i := range r.Data {
		refused("a byte of the record", func(_ *Inclusion, r *eventstore.Record) { r.Data[i] ^= 1 })
	}
	refused("another time", func(_ *Inclusion, r *eventstore.Record) { r.At = r.At.Add(-time.Hour) })
	refused("another time in both", func(p *Inclusion, r *eventstore.Record) { r.At = r.At.Add(-time.Hour); p.Leaf.StoredAt = r.At })
	refused("another position in both", func(p *Inclusion, r *eventstore.Record) { r.Position++; p.Leaf.Position++ })
	refused("another volume", func(p *Inclusion, _ *eventstore.Record) { p.Leaf.Volume = "X" })
	refused("other heads", func(p *Inclusion, _ *eventstore.Record) { p.Leaf.Heads[0] ^= 1 })
	refused("other bytes in both", func(p *Inclusion, r *eventstore.Record) { r.Data[0] ^= 1; p.Leaf.Digest = sha256.Sum256(r.Data) })
	for i := range good.Hashes {
		for b := range 32 {
			refused("a hash", func(p *Inclusion, _ *eventstore.Record) { p.Hashes[i][b] ^= 1 })
		}
		refused("a hash less", func(p *Inclusion, _ *eventstore.Record) { p.Hashes = append(p.Hashes[:i], p.Hashes[i+1:]...) })
	}
	// The last letter of the signature has two bits that say nothing.
	for i, b := range good.Checkpoint[:len(good.Checkpoint)-len("A=\n")] {
		if b != '\n' {
			refused("a byte of the checkpoint", func(p *Inclusion, _ *eventstore.Record) { p.Checkpoint[i] ^= 1 })
		}
	}
	if _, err := good.VerifyRecord(r, testOrigin+"/other", o.key.known()); !errors.Is(err, ErrNotProven) {
		t.Errorf("another log: %v, want ErrNotProven", err)
	}
	if _, err := good.VerifyRecord(r, testOrigin, newKey(t, testOrigin).known()); !errors.Is(err, ErrNotProven) {
		t.Errorf("another key: %v, want ErrNotProven", err)
	}
}

// TestFurtherDigest begins a log with SM3 beside SHA-256.
func TestFurtherDigest(t *testing.T) {
	o := newOffice(t)
	o.digests = []string{"sm3"}
	l, _ := running(t, o.config(t, "one"))
	last := o.record(t, 2, 5)
	sealed(t, l, last)
	o.proven(t, l, last)
	p, err := l.Prove(t.Context(), last)
	if err != nil {
		t.Fatal(err)
	}
	r, err := o.store.At(t.Context(), last)
	if err != nil {
		t.Fatal(err)
	}
	if want := []Digest{{"sm3", fmt.Sprintf("%x", sm3.Sum(r.Data))}}; !slices.Equal(p.Leaf.More, want) {
		t.Errorf("further digests are %v, want %v", p.Leaf.More, want)
	}
	p.Leaf.More[0].Hex = strings.Repeat("0", 64)
	if _, err := p.VerifyRecord(r, testOrigin, o.key.known()); !errors.Is(err, ErrNotProven) {
		t.Errorf("another SM3: %v, want ErrNotProven", err)
	}
	if _, err := l.History().Begin(t.Context(), Settings{Digests: []string{"md5"}}); err == nil || !strings.Contains(err.Error(), "md5") {
		t.Errorf("begun with md5: %v", err)
	}
}

func TestLeafIsWhatItIs(t *testing.T) {
	at := time.Date(2022, 9, 28, 1, 2, 3, 40, time.UTC)
	l := Leaf{Volume: "ENF", Position: 7, StoredAt: at, Digest: sha256.Sum256([]byte("{}")), Heads: heads.Key("x")}
	const want = `liuhen/leaf/v1
ENF
7
2022-09-28T01:02:03.00000004Z
sha256 44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a
heads 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881
`
	if got := string(l.Text()); got != want {
		t.Errorf("the leaf is\n%swant\n%s", got, want)
	}
}

func FuzzParseLeaf(f *testing.F) {
	f.Add([]byte("liuhen/leaf/v1\nENF\n7\n2022-09-28T01:02:03.00000004Z\nsha256 44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\nheads 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\n"))
	f.Add([]byte("liuhen/leaf/v1\n\n\n\n\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if l, err := ParseLeaf(text); err == nil && string(l.Text()) != string(text) {
			t.Errorf("%q was taken and is written %q", text, l.Text())
		}
	})
}

func FuzzParseInclusion(f *testing.F) {
	l := Leaf{Volume: "ENF", Position: 1}
	f.Add(Inclusion{Leaf: l, Hashes: []tlog.Hash{{1}}, Checkpoint: []byte("x\n1\n\n")}.Marshal())
	f.Fuzz(func(t *testing.T, file []byte) {
		p, err := ParseInclusion(file)
		if err != nil {
			if !errors.Is(err, ErrNotProven) {
				t.Error(err)
			}
			return
		}
		if _, err := ParseInclusion(p.Marshal()); err != nil {
			t.Errorf("what was read cannot be written and read: %v", err)
		}
	})
}

func FuzzCaseHead(f *testing.F) {
	var m heads.Map
	m.Add("C-1", heads.Key("x"))
	m.Add("C-2", heads.Key("y"))
	h, p := m.Prove("C-1")
	text, _ := json.Marshal(CaseHead{Case: "C-1", Head: h, Proof: p, Inclusion: Inclusion{Leaf: Leaf{Volume: "ENF", Position: 1}}})
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		var h CaseHead
		if json.Unmarshal(text, &h) != nil {
			return
		}
		if _, err := h.Verify(testOrigin, note.VerifierList()); !errors.Is(err, ErrNotProven) {
			t.Errorf("proven by nobody's key: %v", err)
		}
	})
}

func FuzzTilePath(f *testing.F) {
	f.Add("tile/0/x001/234")
	f.Add("tile/entries/000.p/17")
	f.Fuzz(func(t *testing.T, path string) {
		if level, n, width, ok := parseTilePath(path); ok && tilePath(level, n, width) != path {
			t.Errorf("%q was taken", path)
		}
	})
}
