package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"liuhen/internal/checkpoint"
	"liuhen/transparency/keys"
)

const origin = "example.org/liuhen/210100/2026"

func ring(t testing.TB, name string, kinds ...keys.Kind) *keys.Ring {
	t.Helper()
	r, err := keys.Create(filepath.Join(t.TempDir(), "key"), name, kinds...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// A tree is a log's records, hashed.
type tree struct {
	t      testing.TB
	hashes []tlog.Hash
	size   int64
}

func (r *tree) ReadHashes(at []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range at {
		out = append(out, r.hashes[i])
	}
	return out, nil
}

// newTree returns a tree of n records; those from fork on are others than in the
// tree of another label.
func newTree(t testing.TB, n, fork int64, label string) *tree {
	t.Helper()
	r := &tree{t: t}
	for i := range n {
		text := fmt.Sprintf("record %d", i)
		if i >= fork {
			text += label
		}
		hashes, err := tlog.StoredHashes(i, []byte(text), r)
		if err != nil {
			t.Fatal(err)
		}
		r.hashes = append(r.hashes, hashes...)
	}
	r.size = n
	return r
}

func (r *tree) root(size int64) tlog.Hash {
	r.t.Helper()
	if size == 0 {
		return emptyRoot
	}
	h, err := tlog.TreeHash(size, r)
	if err != nil {
		r.t.Fatal(err)
	}
	return h
}

func (r *tree) prove(old, next int64) (tlog.TreeProof, error) { return tlog.ProveTree(next, old, r) }

// checkpoint is signed by whoever it is said to be.
func (r *tree) checkpoint(origin string, size int64, signers ...note.Signer) []byte {
	r.t.Helper()
	msg, err := note.Sign(&note.Note{Text: checkpoint.Checkpoint{Origin: origin, Size: size, Root: r.root(size)}.Text()}, signers...)
	if err != nil {
		r.t.Fatal(err)
	}
	return msg
}

// request asks for a checkpoint with a proper proof.
func (r *tree) request(old, size int64, signers ...note.Signer) Request {
	r.t.Helper()
	q := Request{Old: old, Checkpoint: r.checkpoint(origin, size, signers...)}
	if 0 < old && old < size {
		var err error
		if q.Proof, err = r.prove(old, size); err != nil {
			r.t.Fatal(err)
		}
	}
	return q
}

func open(t testing.TB, dir string, own *keys.Ring, logs ...string) *Witness {
	t.Helper()
	w, err := Open(dir, own, logs...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// An office is a log and one witness of it, over HTTP.
type office struct {
	log, own *keys.Ring
	witness  *Witness
	server   *httptest.Server
	tree     *tree
}

func newOffice(t testing.TB) *office {
	t.Helper()
	o := &office{log: ring(t, origin, keys.Ed25519), own: ring(t, "witness.court.example", keys.Cosignature, keys.MLDSA44), tree: newTree(t, 300, 300, "")}
	o.witness = open(t, t.TempDir(), o.own, o.log.VerifierKeys()...)
	o.server = httptest.NewServer(o.witness.Handler(quiet()))
	t.Cleanup(o.server.Close)
	return o
}

func (o *office) client(t testing.TB) *Client {
	t.Helper()
	c, err := NewClient(o.server.URL+"/", o.own.VerifierKeys()...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (o *office) cosign(t testing.TB, c *Client, from *tree, size int64) ([]note.Signature, error) {
	t.Helper()
	return c.Cosign(t.Context(), from.checkpoint(origin, size, o.log.Signers()...), from.prove)
}

// The statuses of tlog-witness, each with the request that it is for.
func TestStatuses(t *testing.T) {
	o := newOffice(t)
	log := o.log.Signers()
	stranger := ring(t, origin, keys.Ed25519).Signers()
	good := func(old, size int64) string { return string(o.tree.request(old, size, log...).Marshal()) }
	fork := newTree(t, 300, 5, " changed")
	post := func(body string) (int, string, string) {
		t.Helper()
		resp, err := http.Post(o.server.URL+"/add-checkpoint", "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var answer bytes.Buffer
		if _, err := answer.ReadFrom(resp.Body); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header.Get("Content-Type"), answer.String()
	}
	bad := good(0, 10)
	bad = bad[:len(bad)-8] + "AAAAAA=\n"
	with := func(old, size int64, edit func(*Request)) string {
		q := o.tree.request(old, size, log...)
		edit(&q)
		return string(q.Marshal())
	}
	for _, c := range []struct {
		name, body string
		status     int
		size       string // of a 409
	}{
		{"no body", "", 400, ""},
		{"no checkpoint", "old 0\n\n", 400, ""},
		{"leading zero", strings.Replace(good(0, 10), "old 0", "old 00", 1), 400, ""},
		{"sign", strings.Replace(good(0, 10), "old 0", "old +0", 1), 400, ""},
		{"no old", strings.Replace(good(0, 10), "old 0\n", "", 1), 400, ""},
		{"a proof line that is none", strings.Replace(good(0, 10), "old 0\n", "old 0\nAAAA\n", 1), 400, ""},
		{"64 proof lines", with(0, 10, func(q *Request) { q.Proof = make(tlog.TreeProof, 64) }), 400, ""},
		{"larger than a request is", good(0, 10) + strings.Repeat("a", maxRequest), 400, ""},
		{"another log", string(Request{Checkpoint: o.tree.checkpoint("example.org/other", 10, log...)}.Marshal()), 404, ""},
		{"another key", string(o.tree.request(0, 10, stranger...).Marshal()), 403, ""},
		{"a false signature", bad, 403, ""},
		{"a good signature and a false one", good(0, 10) + checkpoint.Line(checkpoint.Signatures([]byte(bad))[0]), 403, ""},
		{"old above the size", with(0, 10, func(q *Request) { q.Old = 11 }), 400, ""},
		{"nothing cosigned yet, from 5", good(5, 10), 409, "0\n"},
		{"a proof from nothing", with(0, 10, func(q *Request) { q.Proof = make(tlog.TreeProof, 1) }), 422, ""},
		{"an empty tree with a root", string(Request{Checkpoint: sign(t, origin+"\n0\n"+tlog.RecordHash(nil).String()+"\n", log...)}.Marshal()), 422, ""},
		{"an empty tree", good(0, 0), 200, ""},
		{"the first records", good(0, 10), 200, ""},
		{"again from nothing", good(0, 10), 409, "10\n"},
		{"again", good(10, 10), 200, ""},
		{"the same size, another root", string(fork.request(10, 10, log...).Marshal()), 422, ""},
		{"the same size with a proof", with(10, 10, func(q *Request) { q.Proof = make(tlog.TreeProof, 1) }), 422, ""},
		{"more", good(10, 200), 200, ""},
		{"from before", good(10, 300), 409, "200\n"},
		{"without proof", with(200, 300, func(q *Request) { q.Proof = nil }), 422, ""},
		{"with a cut proof", with(200, 300, func(q *Request) { q.Proof = q.Proof[1:] }), 422, ""},
		{"with a changed proof", with(200, 300, func(q *Request) { q.Proof[0][0] ^= 1 }), 422, ""},
		{"another history", string(fork.request(200, 300, log...).Marshal()), 422, ""},
		{"smaller", good(200, 200), 200, ""},
		{"signed by the log and by a stranger", with(200, 201, func(q *Request) {
			q.Checkpoint = o.tree.checkpoint(origin, 201, slices.Concat(log, stranger)...)
		}), 200, ""},
	} {
		before := o.witness.Newest(origin)
		status, kind, answer := post(c.body)
		if status != c.status {
			t.Errorf("%s: status %d (%s), want %d", c.name, status, strings.TrimSpace(answer), c.status)
			continue
		}
		if status != 200 && !bytes.Equal(before, o.witness.Newest(origin)) {
			t.Errorf("%s: refused, and yet the state has changed", c.name)
		}
		switch status {
		case 409:
			if kind != "text/x.tlog.size" || answer != c.size {
				t.Errorf("%s: the body is %q of type %q, want %q of type text/x.tlog.size", c.name, answer, kind, c.size)
			}
		case 200:
			q, err := ParseRequest([]byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if sigs, err := Verify(q.Checkpoint, []byte(answer), o.client(t).verifiers); err != nil || len(sigs) != 2 {
				t.Errorf("%s: %d cosignatures, %v; want two", c.name, len(sigs), err)
			}
		}
	}
	if status, _, _ := get(t, o.server.URL+"/add-checkpoint"); status != http.StatusMethodNotAllowed {
		t.Errorf("GET /add-checkpoint: status %d", status)
	}
}

func sign(t testing.TB, text string, signers ...note.Signer) []byte {
	t.Helper()
	msg, err := note.Sign(&note.Note{Text: text}, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func get(t testing.TB, url string) (status int, kind, body string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), b.String()
}

// Whoever asks sees the newest checkpoint with both signatures.
func TestMonitor(t *testing.T) {
	o := newOffice(t)
	url := o.server.URL + "/" + originHash(origin) + "/checkpoint"
	if status, _, body := get(t, url); status != http.StatusNotFound {
		t.Errorf("before the first: status %d %s", status, body)
	}
	c := o.client(t)
	if _, err := o.cosign(t, c, o.tree, 10); err != nil {
		t.Fatal(err)
	}
	status, _, body := get(t, url)
	if status != http.StatusOK {
		t.Fatalf("status %d %s", status, body)
	}
	for _, vkey := range slices.Concat(o.log.VerifierKeys(), o.own.VerifierKeys()) {
		v, err := keys.NewVerifier(vkey)
		if err != nil {
			t.Fatal(err)
		}
		if at, _, err := checkpoint.Open([]byte(body), note.VerifierList(v)); err != nil || at.Size != 10 {
			t.Errorf("by %s: size %d, %v", v.Name(), at.Size, err)
		}
	}
	for _, hash := range []string{originHash("example.org/other"), strings.ToUpper(originHash(origin)), "..", "x"} {
		if status, _, _ := get(t, o.server.URL+"/"+hash+"/checkpoint"); status != http.StatusNotFound {
			t.Errorf("%s: status %d", hash, status)
		}
	}
}

func TestClient(t *testing.T) {
	o := newOffice(t)
	c := o.client(t)
	for _, size := range []int64{1, 7, 7, 100, 256, 300} {
		sigs, err := o.cosign(t, c, o.tree, size)
		if err != nil || len(sigs) != 2 {
			t.Fatalf("size %d: %d cosignatures, %v", size, len(sigs), err)
		}
	}
	// A client that knows nothing is told where the witness stands.
	if _, err := o.cosign(t, o.client(t), o.tree, 300); err != nil {
		t.Errorf("a new client: %v", err)
	}
	signed := o.tree.checkpoint(origin, 300, o.log.Signers()...)
	sigs, err := c.Cosign(t.Context(), signed, o.tree.prove)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := Attach(signed, sigs)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Attach(whole, sigs)
	if err != nil || !bytes.Equal(again, whole) || len(checkpoint.Signatures(whole)) != 3 {
		t.Errorf("attached once:\n%s\nand twice:\n%s%v", whole, again, err)
	}
	at, imported, err := Import(whole, o.own.VerifierKeys()...)
	if err != nil || at.Size != 300 || !slices.Equal(imported, sigs) {
		t.Errorf("imported: size %d, %d signatures, %v", at.Size, len(imported), err)
	}
	if _, _, err := Import(whole, ring(t, "witness.court.example", keys.Cosignature).VerifierKeys()...); err == nil {
		t.Error("imported under another key of that name")
	}
	if _, _, err := Import(bytes.Replace(whole, []byte("\n300\n"), []byte("\n299\n"), 1), o.own.VerifierKeys()...); err == nil {
		t.Error("imported with another size")
	}
}

// A log that lost records is told so, with the proof.
func TestSeenMore(t *testing.T) {
	o := newOffice(t)
	if _, err := o.cosign(t, o.client(t), o.tree, 250); err != nil {
		t.Fatal(err)
	}
	known := o.client(t) // remembers more than the log has now
	known.size = 250
	for name, c := range map[string]*Client{"a new client": o.client(t), "one that remembers": known} {
		_, err := o.cosign(t, c, o.tree, 200)
		var more *SeenMoreError
		if !errors.As(err, &more) || more.Size != 250 {
			t.Fatalf("%s: %v, want SeenMoreError with size 250", name, err)
		}
		// The proof stands by itself: the log's own signature on what it lost.
		v, _ := keys.NewVerifier(o.log.VerifierKeys()[0])
		if at, _, err := checkpoint.Open(more.Checkpoint, note.VerifierList(v)); err != nil || at.Size != 250 || at.Root != o.tree.root(250) {
			t.Errorf("%s: the proof: size %d, %v", name, at.Size, err)
		}
	}
}

// A log that goes on from another past is told so, with the proof.
func TestForked(t *testing.T) {
	o := newOffice(t)
	fork := newTree(t, 300, 5, " changed")
	if _, err := o.cosign(t, o.client(t), o.tree, 200); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{200, 201, 300} {
		_, err := o.cosign(t, o.client(t), fork, size)
		var forked *ForkedError
		if !errors.As(err, &forked) || forked.Size != 200 {
			t.Fatalf("size %d: %v, want ForkedError at size 200", size, err)
		}
		v, _ := keys.NewVerifier(o.log.VerifierKeys()[0])
		at, _, err := checkpoint.Open(forked.Checkpoint, note.VerifierList(v))
		if err != nil || at.Root == fork.root(at.Size) {
			t.Errorf("size %d: the proof: root %s of size %d, %v", size, at.Root, at.Size, err)
		}
	}
	// What has not changed yet is not called a fork.
	small := newOffice(t)
	if _, err := small.cosign(t, small.client(t), small.tree, 4); err != nil {
		t.Fatal(err)
	}
	if _, err := small.cosign(t, small.client(t), fork, 300); err != nil {
		t.Errorf("a tree that continues what was cosigned: %v", err)
	}
}

// Answers of what is no witness, or a false one.
func TestFalseWitness(t *testing.T) {
	o := newOffice(t)
	signed := o.tree.checkpoint(origin, 10, o.log.Signers()...)
	other, err := note.Sign(&note.Note{Text: o.tree.textOf(11)}, o.own.Signers()...)
	if err != nil {
		t.Fatal(err)
	}
	otherLines := other[bytes.LastIndex(other, []byte("\n\n"))+2:]
	stranger, err := note.Sign(&note.Note{Text: o.tree.textOf(10)}, ring(t, "witness.court.example", keys.Cosignature).Signers()...)
	if err != nil {
		t.Fatal(err)
	}
	strangerLines := stranger[bytes.LastIndex(stranger, []byte("\n\n"))+2:]
	for name, c := range map[string]struct {
		status int
		kind   string
		body   string
		says   string
	}{
		"a web page":                 {200, "text/html", "<html>", "signature line"},
		"nothing":                    {200, "text/plain", "", "no signature line"},
		"cosignatures on another":    {200, "text/plain", string(otherLines), "invalid signature"},
		"cosignatures of a stranger": {200, "text/plain", string(strangerLines), "none of the signature lines"},
		"a conflict without a size":  {409, "text/plain", "12\n", "without a size"},
		"a conflict with words":      {409, sizeType, "twelve\n", "without a size"},
		"always another size":        {409, sizeType, "3\n", "somebody else is asking"},
		"unknown":                    {404, "text/plain", "who?", "must be given the log's verifier key"},
		"forbidden":                  {403, "text/plain", "no", "new verifier key"},
		"broken":                     {500, "text/plain", "internal error", "status 500"},
		"a redirect":                 {302, "text/plain", "", "status 302"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("Content-Type", c.kind)
			w.Header().Set("Location", o.server.URL)
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body))
		}))
		client, err := NewClient(server.URL, o.own.VerifierKeys()...)
		if err != nil {
			t.Fatal(err)
		}
		sigs, err := client.Cosign(t.Context(), signed, o.tree.prove)
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "witness.court.example") {
			t.Errorf("%s: %d signatures, %v; want an error that names the witness and says %q", name, len(sigs), err, c.says)
		}
		server.Close()
	}
	// One that says it has seen more, and shows nothing.
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", sizeType)
		w.WriteHeader(http.StatusConflict)
		_, _ = w.Write([]byte("11\n"))
	}))
	defer server.Close()
	client, err := NewClient(server.URL, o.own.VerifierKeys()...)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Cosign(t.Context(), signed, o.tree.prove)
	var more *SeenMoreError
	if !errors.As(err, &more) || more.Checkpoint != nil || !strings.Contains(err.Error(), "shows no checkpoint that proves it") {
		t.Errorf("a witness that only says so: %v", err)
	}
}

// A witness that cosigns what the log never signed proves nothing against the log.
func TestLyingWitness(t *testing.T) {
	o := newOffice(t)
	fork := newTree(t, 300, 5, " invented")
	var shown []byte
	status := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = w.Write(shown)
			return
		}
		if status == http.StatusConflict {
			w.Header().Set("Content-Type", sizeType)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte("250\n"))
	}))
	defer server.Close()
	log, err := keys.NewVerifier(o.log.VerifierKeys()[0])
	if err != nil {
		t.Fatal(err)
	}
	signed := o.tree.checkpoint(origin, 200, o.log.Signers()...)
	for _, byLog := range []bool{false, true} {
		signers := o.own.Signers()
		if byLog {
			signers = append(signers, o.log.Signers()...)
		}
		client, err := NewClient(server.URL, o.own.VerifierKeys()...)
		if err != nil {
			t.Fatal(err)
		}
		client.Log = note.VerifierList(log)
		shown, status = fork.checkpoint(origin, 250, signers...), http.StatusConflict
		var more *SeenMoreError
		if _, err := client.Cosign(t.Context(), signed, o.tree.prove); !errors.As(err, &more) || (more.Checkpoint != nil) != byLog {
			t.Errorf("it says it has seen more; signed by the log: %t: %v", byLog, err)
		}
		shown, status, client.size = fork.checkpoint(origin, 100, signers...), http.StatusUnprocessableEntity, 100
		var forked *ForkedError
		if _, err := client.Cosign(t.Context(), signed, o.tree.prove); !errors.As(err, &forked) || (forked.Checkpoint != nil) != byLog {
			t.Errorf("it says the log was forked; signed by the log: %t: %v", byLog, err)
		}
	}
}

func (r *tree) textOf(size int64) string {
	return checkpoint.Checkpoint{Origin: origin, Size: size, Root: r.root(size)}.Text()
}

// All witnesses are asked at once, and one that is down or mute is named and keeps
// nobody waiting for longer than its time.
func TestCosignAll(t *testing.T) {
	o := newOffice(t)
	release := make(chan struct{})
	asked := make(chan struct{})
	mute := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(mute.Close)
	t.Cleanup(func() { close(release) })
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	client := func(url, name string) *Client {
		c, err := NewClient(url, ring(t, name, keys.Cosignature).VerifierKeys()...)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	muteClient := client(mute.URL, "witness.mute.example")
	ctx, cancel := context.WithCancel(t.Context())
	muteClient.HTTP = &http.Client{Transport: giveUp{ctx}}
	go func() { <-asked; cancel() }() // as its timeout would
	answers := CosignAll(t.Context(), []*Client{client(down.URL, "witness.down.example"), muteClient, o.client(t)},
		o.tree.checkpoint(origin, 10, o.log.Signers()...), o.tree.prove)
	for i, name := range []string{"witness.down.example", "witness.mute.example", "witness.court.example"} {
		if a := answers[i]; a.Witness != name || (a.Err == nil) != (i == 2) || a.Err != nil && !strings.Contains(a.Err.Error(), name) {
			t.Errorf("answer %d: %s, %v; want that of %s", i+1, a.Witness, a.Err, name)
		}
	}
	if len(answers[2].Signatures) != 2 {
		t.Errorf("%d cosignatures", len(answers[2].Signatures))
	}
}

// giveUp ends requests when its context does.
type giveUp struct{ ctx context.Context } //nolint:containedctx // the test's own clock

func (g giveUp) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(g.ctx, cancel)
	defer stop()
	return http.DefaultTransport.RoundTrip(r.WithContext(ctx))
}

// What a witness keeps is verified when it starts again.
func TestState(t *testing.T) {
	log, own := ring(t, origin, keys.Ed25519), ring(t, "witness.court.example", keys.Cosignature)
	dir, from := t.TempDir(), newTree(t, 50, 50, "")
	w := open(t, dir, own, log.VerifierKeys()...)
	if _, err := Open(dir, own, log.VerifierKeys()...); err == nil || !strings.Contains(err.Error(), "another witness is running") {
		t.Errorf("a second witness on the folder: %v", err)
	}
	if _, _, err := w.Add(from.request(0, 10, log.Signers()...).Marshal()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, own, log.VerifierKeys()...)
	if !bytes.Equal(again.Newest(origin), w.Newest(origin)) {
		t.Error("started again, it knows another checkpoint")
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, originHash(origin)+".checkpoint")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"another size":        bytes.Replace(good, []byte("\n10\n"), []byte("\n9\n"), 1),
		"another log's":       sign(t, "example.org/other\n10\n"+from.root(10).String()+"\n", own.Signers()...),
		"the log's word only": from.checkpoint(origin, 9, log.Signers()...),
		"another witness's":   from.checkpoint(origin, 9, ring(t, "witness.court.example", keys.Cosignature).Signers()...),
		"cut":                 good[:len(good)/2],
		"empty":               {},
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if w, err := Open(dir, own, log.VerifierKeys()...); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: it starts: %v", name, err)
			_ = w.Close()
		}
	}
	if _, err := Open(t.TempDir(), log, log.VerifierKeys()...); err == nil || !strings.Contains(err.Error(), "witness keygen") {
		t.Errorf("with keys of a log: %v", err)
	}
	for _, logs := range [][]string{nil, {"nonsense"}} {
		if _, err := Open(t.TempDir(), own, logs...); err == nil {
			t.Errorf("logs %q: no error", logs)
		}
	}
}

// A checkpoint that cannot be kept is not cosigned.
func TestCannotKeep(t *testing.T) {
	log, own := ring(t, origin, keys.Ed25519), ring(t, "witness.court.example", keys.Cosignature)
	dir, from := t.TempDir(), newTree(t, 50, 50, "")
	w := open(t, dir, own, log.VerifierKeys()...)
	// A folder in the place of the file that is written.
	block := filepath.Join(dir, originHash(origin)+".checkpoint.new")
	if err := os.Mkdir(block, 0o700); err != nil {
		t.Fatal(err)
	}
	if lines, _, err := w.Add(from.request(0, 10, log.Signers()...).Marshal()); err == nil || lines != nil || w.Newest(origin) != nil {
		t.Fatalf("cosigned without keeping: %s, %v", lines, err)
	}
	if err := os.Remove(block); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.Add(newTree(t, 50, 2, "x").request(0, 10, log.Signers()...).Marshal()); err != nil {
		t.Errorf("what was not cosigned does not bind: %v", err)
	}
}

// Of many requests at once for two histories only one history is cosigned, and
// never is a size taken back.
func TestAtOnce(t *testing.T) {
	log, own := ring(t, origin, keys.Ed25519), ring(t, "witness.court.example", keys.Cosignature)
	w := open(t, t.TempDir(), own, log.VerifierKeys()...)
	trees := []*tree{newTree(t, 40, 5, " a"), newTree(t, 40, 5, " b")}
	var mu sync.Mutex
	roots := map[int64]tlog.Hash{}
	var all sync.WaitGroup
	for i := range 8 {
		from := trees[i%2]
		all.Go(func() {
			for size := int64(6); size <= 40; size++ {
				old := int64(0)
				for {
					lines, signed, err := w.Add(from.request(min(old, size), size, log.Signers()...).Marshal())
					var conflict *ConflictError
					if errors.As(err, &conflict) && conflict.Size <= size && conflict.Size != old {
						old = conflict.Size
						continue
					}
					if lines != nil {
						at, _ := checkpoint.Peek(signed)
						mu.Lock()
						if known, some := roots[at.Size]; some && known != at.Root {
							t.Errorf("two roots of size %d were cosigned", at.Size)
						}
						roots[at.Size] = at.Root
						mu.Unlock()
					}
					break
				}
			}
		})
	}
	all.Wait()
	if len(roots) == 0 {
		t.Fatal("nothing was cosigned")
	}
	for _, from := range trees {
		same := 0
		for size, root := range roots {
			if from.root(size) == root {
				same++
			}
		}
		if same != 0 && same != len(roots) {
			t.Errorf("%d of %d cosigned checkpoints are of one history", same, len(roots))
		}
	}
	if at, _ := checkpoint.Peek(w.Newest(origin)); at.Size != 40 {
		t.Errorf("in the end it has cosigned size %d, want 40", at.Size)
	}
}

// A request is made from the public files of a log, and those that were changed
// make none.
func TestMakeRequest(t *testing.T) {
	log, own := ring(t, origin, keys.Ed25519), ring(t, "witness.court.example", keys.Cosignature)
	from := newTree(t, 70000, 70000, "")
	w := open(t, t.TempDir(), own, log.VerifierKeys()...)
	changed := ""
	read := func(size int64) func(string) ([]byte, error) {
		files := map[string]tlog.Tile{}
		for _, tile := range tlog.NewTiles(tileHeight, 0, size) {
			files[tilePath(tile)] = tile
		}
		return func(path string) ([]byte, error) {
			if path == "checkpoint" {
				return from.checkpoint(origin, size, log.Signers()...), nil
			}
			tile, some := files[path]
			if !some {
				return nil, fmt.Errorf("%s: %w", path, os.ErrNotExist)
			}
			data, err := tlog.ReadTileData(tile, from)
			if path == changed {
				data[0] ^= 1
			}
			return data, err
		}
	}
	last := int64(0)
	for _, size := range []int64{1, 255, 256, 257, 65536, 65537, 70000, 70000} {
		q, err := MakeRequest(read(size), last)
		if err != nil {
			t.Fatalf("from %d to %d: %v", last, size, err)
		}
		if _, _, err := w.Add(q.Marshal()); err != nil {
			t.Errorf("from %d to %d: %v", last, size, err)
		}
		last = size
	}
	if _, err := MakeRequest(read(69999), 70000); err == nil || !strings.Contains(err.Error(), "records are lost") {
		t.Errorf("from 70000 to 69999: %v", err)
	}
	changed = "tile/2/000.p/1"
	if _, err := MakeRequest(read(70000), 300); err == nil {
		t.Error("with a changed tile")
	}
	for tile, want := range map[tlog.Tile]string{
		{H: 8, L: 0, N: 0, W: 256}:       "tile/0/000",
		{H: 8, L: 3, N: 1234067, W: 256}: "tile/3/x001/x234/067",
		{H: 8, L: 0, N: 1000, W: 7}:      "tile/0/x001/000.p/7",
	} {
		if got := tilePath(tile); got != want {
			t.Errorf("the path of %+v is %s, want %s", tile, got, want)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	log := ring(f, origin, keys.Ed25519)
	from := newTree(f, 50, 50, "")
	f.Add(from.request(10, 37, log.Signers()...).Marshal())
	f.Add(from.request(0, 1, log.Signers()...).Marshal())
	f.Add([]byte("old 0\n\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		q, err := ParseRequest(body)
		if err == nil && !bytes.Equal(q.Marshal(), body) {
			t.Errorf("%q is read, and written as %q", body, q.Marshal())
		}
		if size, err := ParseSize(body); err == nil && formatSize(size) != string(body) {
			t.Errorf("%q is read as size %d", body, size)
		}
	})
}

func FuzzVerify(f *testing.F) {
	log, own := ring(f, origin, keys.Ed25519), ring(f, "witness.court.example", keys.Cosignature)
	from := newTree(f, 50, 50, "")
	signed := from.checkpoint(origin, 10, log.Signers()...)
	v, err := keys.NewVerifier(own.VerifierKeys()[0])
	if err != nil {
		f.Fatal(err)
	}
	good := sign(f, from.textOf(10), own.Signers()...)
	good = good[bytes.LastIndex(good, []byte("\n\n"))+2:]
	f.Add(good)
	f.Add([]byte("— a b\n"))
	f.Fuzz(func(t *testing.T, lines []byte) {
		sigs, err := Verify(signed, lines, note.VerifierList(v))
		if err == nil && (len(sigs) == 0 || !bytes.Contains(lines, bytes.TrimSpace(good))) {
			t.Errorf("%q has %d cosignatures", lines, len(sigs))
		}
	})
}
