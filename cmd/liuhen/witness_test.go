package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"liuhen/internal/checkpoint"
	"liuhen/transparency/keys"
	"liuhen/transparency/witness"
)

// A paper is the log of a test: its records hashed, and its public files in a
// folder.
type paper struct {
	t      *testing.T
	dir    string
	ring   *keys.Ring
	hashes []tlog.Hash
}

func (l *paper) ReadHashes(at []int64) (out []tlog.Hash, err error) {
	for _, i := range at {
		out = append(out, l.hashes[i])
	}
	return out, nil
}

// grow writes the log's public files at a size below 256; its records from some on
// have another text.
func (l *paper) grow(size, changed int64) {
	l.t.Helper()
	l.hashes = nil
	for i := range size {
		hashes, err := tlog.StoredHashes(i, fmt.Appendf(nil, "record %d %t", i, i >= changed), l)
		if err != nil {
			l.t.Fatal(err)
		}
		l.hashes = append(l.hashes, hashes...)
	}
	root, err := tlog.TreeHash(size, l)
	if err != nil {
		l.t.Fatal(err)
	}
	text := checkpoint.Checkpoint{Origin: l.ring.Name(), Size: size, Root: root}.Text()
	signed, err := note.Sign(&note.Note{Text: text}, l.ring.Signers()...)
	if err != nil {
		l.t.Fatal(err)
	}
	tile := tlog.Tile{H: 8, N: 0, W: int(size)}
	data, err := tlog.ReadTileData(tile, l)
	if err != nil {
		l.t.Fatal(err)
	}
	for path, content := range map[string][]byte{"checkpoint": signed, fmt.Sprintf("tile/0/000.p/%d", size): data} {
		path = filepath.Join(l.dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			l.t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			l.t.Fatal(err)
		}
	}
}

// liuhen runs the program and returns its exit code and what it printed.
func liuhen(t *testing.T, args ...string) (code int, out, said string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), append([]string{"--data", t.TempDir(), "--lang", "en"}, args...), strings.NewReader(""), &o, &e)
	return code, o.String(), e.String()
}

// Keys are replaced at the checkpoint that the system keeps beside them, and what
// they have signed is not forgotten.
func TestKeysAreReplaced(t *testing.T) {
	const origin = "example.org/liuhen/a/2026"
	dir := t.TempDir()
	path := keys.Path(dir, origin)
	args := func(more ...string) []string {
		return append([]string{"keygen", "--origin", origin, "--keys", dir}, more...)
	}
	if code, _, said := liuhen(t, args()...); code != 0 {
		t.Fatal(said)
	}
	ring, err := keys.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	log := &paper{t: t, dir: filepath.Join(dir, "log"), ring: ring}
	log.grow(7, 100)
	if code, _, said := liuhen(t, args("--rotate", "--newest", filepath.Join(log.dir, "checkpoint"))...); code != 1 || !strings.Contains(said, "in use") {
		t.Errorf("while they are in use: exit code %d: %s", code, said)
	}
	if err := errors.Join(ring.Close(), os.Rename(filepath.Join(log.dir, "checkpoint"), path+".checkpoint")); err != nil {
		t.Fatal(err)
	}
	if code, _, said := liuhen(t, args("--rotate", "--newest", "none")...); code != 1 || !strings.Contains(said, "the keys have signed something") {
		t.Errorf("as if they had signed nothing: exit code %d: %s", code, said)
	}
	if code, out, said := liuhen(t, args("--rotate")...); code != 0 || !strings.Contains(out, origin+"/keys\n7\n") {
		t.Errorf("replaced: exit code %d: %s%s; want a statement at size 7", code, out, said)
	}
	if code, _, said := liuhen(t, args("--rotate")...); code != 1 || !strings.Contains(said, "--newest none") {
		t.Errorf("replaced again before they signed: exit code %d: %s", code, said)
	}
	if code, _, said := liuhen(t, args("--rotate", "--newest", "none")...); code != 0 {
		t.Errorf("replaced again, as having signed nothing: exit code %d: %s", code, said)
	}
}

// A witness without a network, and one with it, from the making of the keys to the
// cosignature.
func TestWitness(t *testing.T) {
	const origin = "example.org/liuhen/a/2026"
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	must := func(args ...string) string {
		t.Helper()
		code, out, said := liuhen(t, args...)
		if code != 0 {
			t.Fatalf("liuhen %s: exit code %d: %s", strings.Join(args, " "), code, said)
		}
		return out
	}
	fails := func(want string, args ...string) {
		t.Helper()
		code, _, said := liuhen(t, args...)
		if code != 1 || !strings.Contains(said, want) {
			t.Errorf("liuhen %s: exit code %d: %s; want 1 and %q", strings.Join(args, " "), code, said, want)
		}
	}
	must("keygen", "--origin", origin, "--keys", in("keys"), "--sm2")
	ring, err := keys.Load(keys.Path(in("keys"), origin))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ring.Close() })
	log := &paper{t: t, dir: in("log"), ring: ring}
	must("witness", "keygen", "--name", "witness.court.example", "--key", in("w.key"))
	own, err := keys.Load(in("w.key"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = own.Close() })
	with := []string{"--key", in("w.key"), "--state", in("state"), "--log", ring.VerifierKeys()[0], "--log", ring.VerifierKeys()[1]}
	sign := func(request, cosigned string) []string {
		return append([]string{"witness", "sign", "--in", in(request), "--out", in(cosigned)}, with...)
	}
	request := func(old int, name string) []string {
		return []string{"witness", "request", "--from", in("log"), "--old", fmt.Sprint(old), "--out", in(name)}
	}

	log.grow(3, 100)
	must(request(0, "request1")...)
	must(sign("request1", "cosigned1")...)
	log.grow(7, 100)
	must(request(3, "request2")...)
	must(sign("request2", "cosigned2")...)
	carried, err := os.ReadFile(in("cosigned2"))
	if err != nil {
		t.Fatal(err)
	}
	if at, sigs, err := witness.Import(carried, own.VerifierKeys()...); err != nil || at.Size != 7 || len(sigs) != 2 {
		t.Errorf("carried back: size %d, %d cosignatures, %v", at.Size, len(sigs), err)
	}

	fails("prove from there", sign("request1", "again")...)
	if _, err := os.Stat(in("again")); err == nil {
		t.Error("where nothing was signed a file is left")
	}
	fails("exists", sign("request2", "cosigned2")...)
	fails("records are lost", request(8, "request3")...)
	log.grow(9, 5) // another past
	must(request(7, "request4")...)
	fails("not proven to hold what was cosigned", sign("request4", "cosigned4")...)
	fails("not told of the log", append([]string{"witness", "sign", "--in", in("request4"), "--out", in("x"),
		"--key", in("w.key"), "--state", in("other"), "--log"}, own.VerifierKeys()[0])...)

	// The same witness on the network goes on from there.
	log.grow(9, 100)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, printed := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, append([]string{"--data", dir, "--lang", "en", "witness", "serve", "--listen", "127.0.0.1:0"}, with...), strings.NewReader(""), printed, os.Stderr)
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url := strings.TrimSpace(line[strings.Index(line, "http://"):])
	client, err := witness.NewClient(url, own.VerifierKeys()...)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := os.ReadFile(filepath.Join(log.dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	sigs, err := client.Cosign(ctx, signed, func(old, next int64) (tlog.TreeProof, error) {
		if old != 7 {
			t.Errorf("the witness had cosigned size %d, want 7", old)
		}
		return tlog.ProveTree(next, old, log)
	})
	if err != nil || len(sigs) != 2 {
		t.Errorf("over the network: %d cosignatures, %v", len(sigs), err)
	}
	fails("another witness is running", sign("request4", "cosigned4")...)
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("the witness stops with exit code %d", code)
	}
}
