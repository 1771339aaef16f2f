package bundle

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/mod/sumdb/note"

	"liuhen/bagit"
	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
	"liuhen/eventstore"
	"liuhen/eventstore/eventstoretest"
	"liuhen/transparency"
	"liuhen/transparency/keys"
	"liuhen/transparency/witness"
)

const (
	testOrigin = "example.org/liuhen/test"
	partyName  = "沈阳某某科技有限公司"
)

var (
	lawFiles = os.DirFS("testdata/law")
	lawBook  = sync.OnceValues(func() (*rulebook.Book, error) { return rulebook.Load(lawFiles) })
	day      = time.Date(2026, 11, 24, 10, 0, 0, 0, calendar.Shanghai)
)

// An office is a volume with its log, real from the store to the keys.
type office struct {
	t       testing.TB
	store   *eventstore.Store
	history *transparency.History
	log     *transparency.Log
	ring    *keys.Ring
	dir     string
	stop    func()
	records map[domain.CaseID][]domain.Recorded
}

func newOffice(t testing.TB, kinds ...keys.Kind) *office {
	t.Helper()
	server := eventstoretest.Server(t)
	o := &office{t: t, dir: t.TempDir(), records: map[domain.CaseID][]domain.Recorded{}}
	o.store = eventstoretest.Run(t, eventstore.Config{Server: server, Volume: "TEST"})
	js, err := jetstream.New(server.Conn())
	if err != nil {
		t.Fatal(err)
	}
	if o.history, err = transparency.OpenHistory(t.Context(), js, "TEST", 1); err != nil {
		t.Fatal(err)
	}
	if len(kinds) == 0 {
		kinds = []keys.Kind{keys.Ed25519}
	}
	if o.ring, err = keys.Create(keys.Path(o.dir, testOrigin), testOrigin, kinds...); err != nil {
		t.Fatal(err)
	}
	if _, err := o.history.Begin(t.Context(), transparency.Settings{Origin: testOrigin, Volume: "TEST", Keys: o.ring.First()}); err != nil {
		t.Fatal(err)
	}
	o.start()
	return o
}

// start runs the log with the ring of the moment.
func (o *office) start() {
	o.t.Helper()
	settings, err := o.history.Settings(o.t.Context())
	if err != nil {
		o.t.Fatal(err)
	}
	chain, err := o.ring.Verifiers()
	if err != nil {
		o.t.Fatal(err)
	}
	o.log, err = transparency.Open(o.t.Context(), transparency.Config{
		Store: o.store, History: o.history, Settings: settings, Dir: filepath.Join(o.dir, "log"), Memory: filepath.Join(o.dir, "memory"),
		Signers: o.ring.Signers(), Keys: chain, Period: 5 * time.Millisecond, Logger: eventstoretest.Logger(o.t),
	})
	if err != nil {
		o.t.Fatal(err)
	}
	running, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.log.Run(running) }()
	o.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			o.t.Error(err)
		}
		if err := o.ring.Close(); err != nil {
			o.t.Error(err)
		}
	})
	o.t.Cleanup(o.stop)
}

func (o *office) key() string { return o.ring.First()[0] }

// act records acts of a case: "inspect", or "notice 某某" for one with an addressee.
func (o *office) act(id domain.CaseID, acts ...string) {
	o.t.Helper()
	var data [][]byte
	have := o.records[id]
	var previous domain.Digest
	if len(have) > 0 {
		previous = have[len(have)-1].Digest
	}
	for i, act := range acts {
		revision := len(have) + i + 1
		name, addressee, _ := strings.Cut(act, " ")
		e := domain.Event{
			SpecVersion: "1.0", ID: fmt.Sprintf("%s-%d", id, revision), Source: "/agencies/210100", Type: "visit." + name, Subject: id,
			Time: day.Add(time.Duration(revision) * time.Hour), Recorded: day.Add(time.Duration(revision)*time.Hour + time.Minute),
			ContentType: "application/json", Edition: calendar.MakeDate(2021, 7, 15), Revision: revision, Previous: previous,
			Command: fmt.Sprintf("c-%s-%d", id, revision), Actor: "li", ActorRole: "handler", Salt: fmt.Sprintf("salt %d", revision),
			Data: domain.Data{Place: "浑南区某路 1 号", Fields: domain.Fields{"remark": "第" + fmt.Sprint(revision) + "次"}},
		}
		if name == "file-case" {
			e.Data.Fields["party"] = map[string]any{"name": partyName}
		}
		if addressee != "" {
			e.Data.Fields["person"] = addressee
			e.Data.Documents = []rulebook.Reference{{Kind: "告知书", Title: "告知书", Digest: "sha256:" + strings.Repeat("ab", 32), Size: 1234}}
		}
		text, err := e.Encode()
		if err != nil {
			o.t.Fatal(err)
		}
		previous = domain.DigestOf(text)
		data = append(data, text)
	}
	subject := domain.Subject("210100", "visit", id)
	at := eventstore.Position(0)
	if len(have) > 0 {
		at = eventstore.Position(have[len(have)-1].Position)
	}
	last, err := o.store.Append(o.t.Context(), subject, max(at, o.store.Newest(subject)), data...)
	if err != nil {
		o.t.Fatal(err)
	}
	for i, text := range data {
		r, err := domain.Read(uint64(last)-uint64(len(data)-1-i), day, text)
		if err != nil {
			o.t.Fatal(err)
		}
		o.records[id] = append(o.records[id], r)
	}
}

func (o *office) last() uint64 {
	o.t.Helper()
	last, err := o.store.Last(o.t.Context())
	if err != nil {
		o.t.Fatal(err)
	}
	return uint64(last)
}

func (o *office) collect(cases ...domain.CaseID) Evidence {
	o.t.Helper()
	e, err := Collect(o.t.Context(), o.log, cases, o.last(), time.Minute)
	if err != nil {
		o.t.Fatal(err)
	}
	return e
}

func (o *office) contents(e Evidence) Contents {
	o.t.Helper()
	book, err := lawBook()
	if err != nil {
		o.t.Fatal(err)
	}
	return Contents{Evidence: e, Profile: Profile{All: true}, Code: "full", Program: "liuhen test", Book: book, National: lawFiles}
}

// of yields the records of the cases of some evidence.
func (o *office) of(e Evidence) iter.Seq2[[]domain.Recorded, error] {
	return func(yield func([]domain.Recorded, error) bool) {
		for _, h := range e.Heads {
			if !yield(o.records[domain.CaseID(h.Case)], nil) {
				return
			}
		}
	}
}

func (o *office) write(c Contents) []byte {
	o.t.Helper()
	var b bytes.Buffer
	prove := func(p []uint64) ([]transparency.Inclusion, error) { return o.log.ProveUnder(c.Evidence.Checkpoint, p) }
	if err := Write(&b, c, prove, o.of(c.Evidence)); err != nil {
		o.t.Fatal(err)
	}
	return b.Bytes()
}

func (o *office) bundle(cases ...domain.CaseID) []byte {
	o.t.Helper()
	return o.write(o.contents(o.collect(cases...)))
}

// options check against a key, pages included.
func options(key string) Options {
	return Options{Key: key, Law: lawFiles, Book: func(own fs.FS) (*rulebook.Book, error) {
		if names, err := fs.Glob(own, "*.yaml"); err != nil || len(names) > 0 {
			return rulebook.Load(lawFiles, own)
		}
		return lawBook()
	}}
}

func check(t testing.TB, data []byte, o Options) Result {
	t.Helper()
	r, err := Check(bytes.NewReader(data), int64(len(data)), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// files are the files of a bundle by their paths in the bag.
type files map[string][]byte

func unpack(t testing.TB, data []byte) files {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	all := files{}
	for _, f := range z.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(f.Name, "/")
		if all[name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// rebag packs files as an attacker does who knows what a bag is: every manifest
// fits again.
func (f files) rebag(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := bagit.NewWriter(&b, bagit.Info{Folder: "bag", Date: day})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if !strings.HasPrefix(name, "data/") {
			continue
		}
		into, err := w.Create(name)
		if err == nil {
			_, err = into.Write(f[name])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// rezip packs files as they are.
func (f files) rezip(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(f)) {
		w, err := z.Create("bag/" + name)
		if err == nil {
			_, err = w.Write(f[name])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (f files) clone() files {
	g := files{}
	for name, text := range f {
		g[name] = bytes.Clone(text)
	}
	return g
}

func (f files) replace(t testing.TB, name, from, to string) {
	t.Helper()
	if !strings.Contains(string(f[name]), from) {
		t.Fatalf("%s does not hold %q:\n%s", name, from, f[name])
	}
	f[name] = []byte(strings.Replace(string(f[name]), from, to, 1))
}

// hasFault fails unless a fault of that code stands at that file.
func hasFault(t testing.TB, r Result, code, file string) {
	t.Helper()
	if r.Verdict == Proven || len(r.Faults) == 0 {
		t.Fatalf("the verdict is %s with %d faults, want one of code %s", r.Verdict, len(r.Faults), code)
	}
	for _, f := range r.Faults {
		if f.Says.ZH == "" || f.Says.EN == "" || strings.Contains(f.Says.EN+f.Says.ZH, "%!") {
			t.Errorf("a fault is not said in both languages: %+v", f)
		}
		if f.Code == code && f.File == file {
			return
		}
	}
	t.Errorf("want the fault %s at %s; the faults are %s", code, file, told(r))
}

func told(r Result) string {
	var b strings.Builder
	for _, f := range r.Faults {
		fmt.Fprintf(&b, "\n\t%s %s: %s", f.Code, f.File, f.Says.EN)
	}
	return b.String()
}

func isProven(t testing.TB, r Result) {
	t.Helper()
	if r.Verdict != Proven {
		t.Fatalf("the verdict is %s:%s", r.Verdict, told(r))
	}
}

// A cosigner is a witness's key.
func cosigner(t testing.TB, name string) *keys.Ring {
	t.Helper()
	r, err := keys.Create(filepath.Join(t.TempDir(), "witness.key"), name, keys.Cosignature)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// cosigned is a checkpoint with the cosignatures of some.
func cosign(t testing.TB, c transparency.Checkpoint, by ...*keys.Ring) []byte {
	t.Helper()
	var lines []note.Signature
	for _, r := range by {
		msg, err := note.Sign(&note.Note{Text: c.Text()}, r.Signers()...)
		if err != nil {
			t.Fatal(err)
		}
		for _, vkey := range r.VerifierKeys() {
			v, err := keys.NewVerifier(vkey)
			if err != nil {
				t.Fatal(err)
			}
			n, err := note.Open(msg, note.VerifierList(v))
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, n.Sigs...)
		}
	}
	out, err := witness.Attach(c.Note, lines)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// resign signs a text as this log does.
func (o *office) resign(c transparency.Checkpoint) []byte {
	o.t.Helper()
	msg, err := note.Sign(&note.Note{Text: c.Text()}, o.ring.Signers()...)
	if err != nil {
		o.t.Fatal(err)
	}
	return msg
}

var other = sha256.Sum256([]byte("another tree"))
