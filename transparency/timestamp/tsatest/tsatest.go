// Package tsatest gives a test a real time-stamping authority: openssl ts, with a
// certificate authority of its own, behind HTTP.
package tsatest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// An Authority is a time-stamping authority by openssl, with a certificate
// authority of its own, in a folder.
type Authority struct {
	t   testing.TB
	dir string
}

// New makes an authority whose keys are of an algorithm (arguments of
// openssl genpkey) and whose certificate has these extensions.
func New(t testing.TB, usage string, algorithm ...string) *Authority {
	t.Helper()
	a := Empty(t)
	a.Write("tsa.cnf", `
[tsa]
default_tsa = one
[one]
serial = serial
signer_cert = tsa.pem
signer_key = tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
other_policies = 1.2.3.4.5
digests = sha256, sha512, sm3
accuracy = secs:1, millisecs:500, microsecs:100
clock_precision_digits = 3
ordering = no
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = sha256
[extensions]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature
`+usage)
	a.Write("serial", "01\n")
	key := append([]string{"genpkey"}, algorithm...)
	a.OpenSSL(nil, append(key, "-out", "ca.key")...)
	a.OpenSSL(nil, append(key, "-out", "tsa.key")...)
	a.OpenSSL(nil, "req", "-x509", "-key", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=Test root", "-addext", "basicConstraints=critical,CA:true", "-addext", "keyUsage=critical,keyCertSign")
	a.OpenSSL(nil, "req", "-new", "-key", "tsa.key", "-out", "tsa.csr", "-subj", "/O=Test/CN=Test TSA")
	a.OpenSSL(nil, "x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "tsa.pem", "-days", "20", "-extfile", "tsa.cnf", "-extensions", "extensions")
	return a
}

// StampsTimes is what a certificate for stamping times has.
const StampsTimes = "extendedKeyUsage = critical,timeStamping\n"

// Algorithms, as New takes them.
var (
	RSA = []string{"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"}
	EC  = []string{"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"}
)

// Empty is a folder without an authority, for openssl to work in.
func Empty(t testing.TB) *Authority {
	t.Helper()
	return &Authority{t: t, dir: t.TempDir()}
}

// Write writes a file into the authority's folder: ca.pem, tsa.pem and tsa.key are
// its own.
func (a *Authority) Write(name, text string) {
	a.t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// Read reads one.
func (a *Authority) Read(name string) []byte {
	a.t.Helper()
	text, err := os.ReadFile(filepath.Join(a.dir, name))
	if err != nil {
		a.t.Fatal(err)
	}
	return text
}

// OpenSSL runs openssl in the folder, and fails the test where it fails.
func (a *Authority) OpenSSL(in []byte, args ...string) []byte {
	a.t.Helper()
	out, err := a.Try(in, args...)
	if err != nil {
		a.t.Fatal(err)
	}
	return out
}

// Try runs openssl in the folder.
func (a *Authority) Try(in []byte, args ...string) ([]byte, error) {
	a.t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		a.t.Fatal("the test needs openssl: apt-get install openssl")
	}
	cmd := exec.CommandContext(context.WithoutCancel(a.t.Context()), path, args...)
	cmd.Dir, cmd.Stdin = a.dir, bytes.NewReader(in)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("openssl %s: %w\n%s", strings.Join(args, " "), err, said.String())
	}
	return out.Bytes(), nil
}

// Reply answers a request as RFC 3161 has it.
func (a *Authority) Reply(query []byte, more ...string) []byte {
	a.t.Helper()
	a.Write("query", string(query))
	return a.OpenSSL(nil, append([]string{"ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query"}, more...)...)
}

// Serve answers over HTTP and returns the address; edit changes what goes out.
func (a *Authority) Serve(edit func(query, reply []byte) []byte, more ...string) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("Content-Type") != "application/timestamp-query" {
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/timestamp-reply")
		_, _ = w.Write(edit(query, a.Reply(query, more...)))
	}))
	a.t.Cleanup(server.Close)
	return server.URL
}
