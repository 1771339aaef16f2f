package bundle

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"liuhen/transparency"
	"liuhen/transparency/timestamp/tsatest"
)

// folder unpacks files.
func (f files) folder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range f {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// byHand runs the very lines of the bundle's HOW-TO-CHECK.txt.
func byHand(t testing.TB, f files, key string) (string, error) {
	t.Helper()
	var script strings.Builder
	for line := range strings.Lines(string(f[howToText])) {
		if code, ok := strings.CutPrefix(line, "    | "); ok {
			script.WriteString(code)
		}
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script.String())
	cmd.Dir = f.folder(t)
	cmd.Env = []string{"KEY=" + key, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + t.TempDir()}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestByHand checks a bundle with bash, coreutils and openssl, as the bundle says.
func TestByHand(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("the test needs openssl: apt-get install openssl")
	}
	// A small office: under load a shell takes its time for each hash.
	o := newOffice(t)
	o.act("C-1", "file-case", "inspect")
	o.act("沈科罚〔2026〕7号", "file-case", "inspect")
	o.act("C-1", "close")
	bag := unpack(t, o.bundle("C-1", "沈科罚〔2026〕7号"))
	out, err := byHand(t, bag, o.key())
	if err != nil || !strings.HasSuffix(out, "ALL GOOD\n") {
		t.Fatalf("%v\n%s", err, out)
	}
	const one, two = "data/cases/1/", "data/cases/2/"
	// Two attacks at once, with manifests that fit: each is named.
	f := bag.clone()
	f.replace(t, recordFile(one, 2), "第2次", "第9次")
	delete(f, proofFile(two, 2))
	delete(f, recordFile(two, 2))
	out, err = byHand(t, unpack(t, f.rebag(t)), o.key())
	for _, says := range []string{"WRONG " + recordFile(one, 2), "WRONG " + two + " does not have the 2 records"} {
		if err == nil || !strings.Contains(out, says) || strings.Contains(out, "ALL GOOD") {
			t.Errorf("%v, want %q in\n%s", err, says, out)
		}
	}
	out, err = byHand(t, bag, newOffice(t).key())
	if err == nil || !strings.Contains(out, "not signed with this key") {
		t.Errorf("with another key: %v\n%s", err, out)
	}
}

func signWith(t testing.TB, c transparency.Checkpoint, signers []note.Signer) []byte {
	t.Helper()
	msg, err := note.Sign(&note.Note{Text: c.Text()}, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

// stampOf is a token over some bytes.
func stampOf(a *tsatest.Authority, data []byte) []byte {
	a.Write("data", string(data))
	query := a.OpenSSL(nil, "ts", "-query", "-data", "data", "-sha256", "-cert")
	return a.Reply(query, "-token_out")
}
