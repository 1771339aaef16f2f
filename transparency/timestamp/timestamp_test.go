package timestamp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

var note = []byte("example.org/liuhen/210100/2026\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n— example.org/liuhen/210100/2026 AAAA\n")

// An authority is a time-stamping authority by openssl, with a certificate
// authority of its own, in a folder.
type authority struct {
	t   testing.TB
	dir string
}

// newAuthority makes an authority whose keys are of an algorithm (arguments of
// openssl genpkey) and whose certificate has these extensions.
func newAuthority(t testing.TB, usage string, algorithm ...string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.write("tsa.cnf", `
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
	a.write("serial", "01\n")
	key := append([]string{"genpkey"}, algorithm...)
	a.openssl(nil, append(key, "-out", "ca.key")...)
	a.openssl(nil, append(key, "-out", "tsa.key")...)
	a.openssl(nil, "req", "-x509", "-key", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=Test root", "-addext", "basicConstraints=critical,CA:true", "-addext", "keyUsage=critical,keyCertSign")
	a.openssl(nil, "req", "-new", "-key", "tsa.key", "-out", "tsa.csr", "-subj", "/O=Test/CN=Test TSA")
	a.openssl(nil, "x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "tsa.pem", "-days", "20", "-extfile", "tsa.cnf", "-extensions", "extensions")
	return a
}

// stampsTimes is what a certificate for stamping times has.
const stampsTimes = "extendedKeyUsage = critical,timeStamping\n"

var (
	rsa = []string{"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"}
	ec  = []string{"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"}
)

func (a *authority) write(name, text string) {
	a.t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) read(name string) []byte {
	a.t.Helper()
	text, err := os.ReadFile(filepath.Join(a.dir, name))
	if err != nil {
		a.t.Fatal(err)
	}
	return text
}

func (a *authority) openssl(in []byte, args ...string) []byte {
	a.t.Helper()
	out, err := a.try(in, args...)
	if err != nil {
		a.t.Fatal(err)
	}
	return out
}

func (a *authority) try(in []byte, args ...string) ([]byte, error) {
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

func (a *authority) roots() *Roots {
	a.t.Helper()
	r, err := ParseRoots(a.read("ca.pem"))
	if err != nil {
		a.t.Fatal(err)
	}
	return r
}

// reply answers a request as RFC 3161 has it.
func (a *authority) reply(query []byte, more ...string) []byte {
	a.t.Helper()
	a.write("query", string(query))
	return a.openssl(nil, append([]string{"ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query"}, more...)...)
}

// serve answers over HTTP; edit changes what goes out.
func (a *authority) serve(edit func(query, reply []byte) []byte, more ...string) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("Content-Type") != queryType {
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", replyType)
		_, _ = w.Write(edit(query, a.reply(query, more...)))
	}))
	a.t.Cleanup(server.Close)
	return server.URL
}

func asItIs(_, reply []byte) []byte { return reply }

// Real authorities, by algorithm: the token is good here and for openssl.
func TestStamp(t *testing.T) {
	for name, algorithm := range map[string][]string{
		"RSA":   rsa,
		"ECDSA": ec,
	} {
		a := newAuthority(t, stampsTimes, algorithm...)
		for _, national := range []bool{false, true} {
			before := time.Now().Add(-time.Second)
			c := &Client{URL: a.serve(asItIs), Roots: a.roots(), SM3: national}
			token, s, err := c.Stamp(t.Context(), note)
			if err != nil {
				t.Errorf("%s, SM3 %t: %v", name, national, err)
				continue
			}
			if s.Time.Before(before) || s.Time.After(time.Now().Add(time.Second)) {
				t.Errorf("%s: stamped at %s", name, s.Time)
			}
			if s.Accuracy != 1500100*time.Microsecond || s.Policy != "1.2.3.4.1" || !strings.Contains(s.Signer, "Test TSA") || s.Serial == "" {
				t.Errorf("%s: it says %+v", name, s)
			}
			again, err := Verify(token, note, a.roots())
			if err != nil || again != s {
				t.Errorf("%s: verified again: %+v, %v", name, again, err)
			}
			// A second opinion.
			a.write("token", string(token))
			a.write("note", string(note))
			a.openssl(nil, "ts", "-verify", "-in", "token", "-token_in", "-data", "note", "-CAfile", "ca.pem")
			a.write("note", string(note)+"more")
			if _, err := a.try(nil, "ts", "-verify", "-in", "token", "-token_in", "-data", "note", "-CAfile", "ca.pem"); err == nil {
				t.Errorf("%s: openssl verifies other bytes", name)
			}
		}
	}
}

// What authorities differ in: how the certificate is named, by which digest they
// sign, and whether they send the chain.
func TestKindsOfTokens(t *testing.T) {
	a := newAuthority(t, stampsTimes, ec...)
	config := string(a.read("tsa.cnf"))
	for name, change := range map[string][]string{
		"named by SHA-1":   {"ess_cert_id_alg = sha256", "ess_cert_id_alg = sha1"},
		"named by SHA-512": {"ess_cert_id_alg = sha256", "ess_cert_id_alg = sha512"},
		"signed SHA-512":   {"signer_digest = sha256", "signer_digest = sha512"},
		"with its chain":   {"ess_cert_id_chain = no", "certs = ca.pem\ness_cert_id_chain = yes", "ordering = no", "ordering = yes"},
		"without accuracy": {"accuracy = secs:1, millisecs:500, microsecs:100", ""},
		"whole seconds":    {"clock_precision_digits = 3", "clock_precision_digits = 0"},
	} {
		changed := strings.NewReplacer(change...).Replace(config)
		if changed == config {
			t.Fatalf("%s: nothing to change in\n%s", name, config)
		}
		a.write("tsa.cnf", changed)
		if _, err := Verify(token(t, a), note, a.roots()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A token signed with SM2 and SM3, by certificates of that kind. openssl makes the
// keys, the certificates and the signature; its ts does not know SM2, so the token
// is put together here.
func TestSM2(t *testing.T) {
	other := newAuthority(t, stampsTimes, ec...)
	a := &authority{t: t, dir: t.TempDir()}
	a.write("tsa.cnf", string(other.read("tsa.cnf")))
	id := "distid:1234567812345678"
	for _, key := range []string{"ca.key", "tsa.key"} {
		a.openssl(nil, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2", "-out", key)
	}
	a.openssl(nil, "req", "-x509", "-sm3", "-sigopt", id, "-key", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=SM2 root", "-addext", "basicConstraints=critical,CA:true", "-addext", "keyUsage=critical,keyCertSign")
	a.openssl(nil, "req", "-new", "-sm3", "-sigopt", id, "-key", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=SM2 TSA")
	a.openssl(nil, "x509", "-req", "-sm3", "-sigopt", id, "-vfyopt", id, "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "tsa.pem", "-days", "20", "-extfile", "tsa.cnf", "-extensions", "extensions")
	cert := certificate(t, a)

	// What is signed is by another authority, later than the certificates.
	s, err := parseToken(token(t, other))
	if err != nil {
		t.Fatal(err)
	}
	sign := func(attributes []byte) []byte {
		a.write("attributes", string(attributes))
		signature := a.openssl(nil, "pkeyutl", "-sign", "-inkey", "tsa.key", "-rawin", "-digest", "sm3", "-pkeyopt", id, "-in", "attributes")
		return sm2Token(s.content, cert, attributes, signature)
	}
	der := sign(sm2Attributes(oidTSTInfo, s.content, cert.Raw))
	got, err := Verify(der, note, a.roots())
	if err != nil || !strings.Contains(got.Signer, "SM2 TSA") {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, i := range []int{len(der) - 3, bytes.Index(der, s.content) + len(s.content)/2} {
		changed := bytes.Clone(der)
		changed[i] ^= 1
		if _, err := Verify(changed, note, a.roots()); !errors.Is(err, ErrNotStamped) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	// Well signed, and yet not what a time stamp must be.
	for name, c := range map[string]struct {
		attributes []byte
		says       string
	}{
		"another type":        {sm2Attributes(oidSignedData, s.content, cert.Raw), "content type"},
		"no type":             {sm2Attributes(nil, s.content, cert.Raw), "0 attributes"},
		"another content":     {sm2Attributes(oidTSTInfo, note, cert.Raw), "message digest"},
		"no content":          {sm2Attributes(oidTSTInfo, nil, cert.Raw), "0 attributes"},
		"another certificate": {sm2Attributes(oidTSTInfo, s.content, certificate(t, other).Raw), "names another certificate"},
		"no certificate":      {sm2Attributes(oidTSTInfo, s.content, nil), "which certificate it signed with"},
		"nothing":             {[]byte{0x31, 0}, "0 attributes"},
	} {
		if _, err := Verify(sign(c.attributes), note, a.roots()); !errors.Is(err, ErrNotStamped) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

// token returns a good token for the note.
func token(t testing.TB, a *authority) []byte {
	t.Helper()
	c := &Client{URL: a.serve(asItIs), Roots: a.roots()}
	der, _, err := c.Stamp(t.Context(), note)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// No bit of a token may be another, and the token proves nothing of other bytes
// or under other roots. (The authority sends no certificate but its own.)
func TestChangedToken(t *testing.T) {
	a := newAuthority(t, stampsTimes, ec...)
	good := token(t, a)
	roots := a.roots()
	if _, err := Verify(good, note, roots); err != nil {
		t.Fatal(err)
	}
	for i := range good {
		for bit := range 8 {
			changed := bytes.Clone(good)
			changed[i] ^= 1 << bit
			if got, err := Verify(changed, note, roots); !errors.Is(err, ErrNotStamped) {
				t.Errorf("byte %d, bit %d changed (% x → % x): %+v, %v", i, bit, good[max(0, i-8):i+4], changed[i], got, err)
			}
		}
	}
	for n := range good {
		if _, err := Verify(good[:n], note, roots); err == nil {
			t.Errorf("cut to %d of %d bytes it verifies", n, len(good))
		}
	}
	for name, c := range map[string]struct {
		data  []byte
		roots *Roots
		says  string
	}{
		"other bytes":   {append(bytes.Clone(note), '\n'), roots, "other bytes"},
		"no bytes":      {nil, roots, "other bytes"},
		"another root":  {note, newAuthority(t, stampsTimes, ec...).roots(), "does not lead to a root"},
		"without roots": {note, nil, "no roots"},
	} {
		if _, err := Verify(good, c.data, c.roots); !errors.Is(err, ErrNotStamped) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	if _, err := Verify(append(bytes.Clone(good), 0), note, roots); err == nil {
		t.Error("with a byte behind it verifies")
	}
}

// Certificates that may not stamp times.
func TestCertificates(t *testing.T) {
	// openssl refuses to sign with most of them.
	sign := func(a *authority) []byte {
		a.write("query", string(mustQuery(t, note)))
		reply, err := a.try(nil, "ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query")
		if err != nil {
			return nil
		}
		der, err := parseReply(reply)
		if err != nil {
			return nil
		}
		return der
	}
	for name, usage := range map[string]string{
		"for nothing in particular": "",
		"also for servers":          "extendedKeyUsage = critical,timeStamping,serverAuth\n",
		"not critical":              "extendedKeyUsage = timeStamping\n",
		"for servers":               "extendedKeyUsage = critical,serverAuth\n",
	} {
		a := newAuthority(t, usage, ec...)
		if der := sign(a); der != nil {
			if _, err := Verify(der, note, a.roots()); err == nil {
				t.Errorf("%s: it stamps times", name)
			}
		}
		// Whatever openssl does: the check itself.
		signed := certificate(t, a)
		if err := trust(signed, nil, a.roots(), time.Now()); err == nil || !strings.Contains(err.Error(), "not for stamping times") {
			t.Errorf("%s: trusted: %v", name, err)
		}
	}
	a := newAuthority(t, stampsTimes, ec...)
	cert := certificate(t, a)
	if err := trust(cert, nil, a.roots(), time.Now()); err != nil {
		t.Errorf("a proper certificate: %v", err)
	}
	for _, at := range []time.Time{time.Now().AddDate(0, 0, -1), time.Now().AddDate(0, 0, 21)} {
		if err := trust(cert, nil, a.roots(), at); err == nil {
			t.Errorf("it is trusted as of %s, when it was not valid", at)
		}
	}
}

// Answers that are not the one that was asked for.
func TestAnswers(t *testing.T) {
	a := newAuthority(t, stampsTimes, ec...)
	earlier, err := (&Client{}).query(note, bigOne)
	if err != nil {
		t.Fatal(err)
	}
	replayed := a.reply(earlier)
	other := a.reply(mustQuery(t, []byte("something else")))
	// The authority does not know SHA-384.
	sha256OID, sha384OID := []byte{3, 4, 2, 1}, []byte{3, 4, 2, 2}
	html := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }))
	t.Cleanup(html.Close)
	for name, c := range map[string]struct {
		url  string
		says string
	}{
		"an earlier answer":   {a.serve(func(_, _ []byte) []byte { return replayed }), "nonce"},
		"about another thing": {a.serve(func(_, _ []byte) []byte { return other }), "other bytes"},
		"a cut answer":        {a.serve(func(_, reply []byte) []byte { return reply[:len(reply)-1] }), "no TimeStampResp"},
		"nothing":             {a.serve(func(_, _ []byte) []byte { return nil }), "no TimeStampResp"},
		"a refusal":           {a.serve(func(query, _ []byte) []byte { return a.reply(bytes.Replace(query, sha256OID, sha384OID, 1)) }), "refused: status 2"},
		"a web page":          {html.URL, "RFC 3161"},
		"granted, no token":   {a.serve(func(_, _ []byte) []byte { return []byte{0x30, 5, 0x30, 3, 2, 1, 0} }), "sent none"},
	} {
		client := &Client{URL: c.url, Roots: a.roots()}
		der, _, err := client.Stamp(t.Context(), note)
		if err == nil || der != nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), c.url) {
			t.Errorf("%s: %v, want an error with the address that says %q", name, err, c.says)
		}
	}
	exact := &Client{URL: a.serve(asItIs), Roots: a.roots(), MaxAccuracy: time.Second}
	if _, _, err := exact.Stamp(t.Context(), note); err == nil || !strings.Contains(err.Error(), "accurate to 1.5001s") {
		t.Errorf("an authority that is not accurate enough: %v", err)
	}
}

func TestRefusalInWords(t *testing.T) {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(2)
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte("时间源不可用")) })
			})
			b.AddASN1(asn1.BIT_STRING, func(b *cryptobyte.Builder) { b.AddBytes([]byte{1, 0, 2}) })
		})
	})
	_, err := parseReply(b.BytesOrPanic())
	for _, want := range []string{"status 2", "时间源不可用", "timeNotAvailable"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the refusal is %v, want %q in it", err, want)
		}
	}
}

func TestTimes(t *testing.T) {
	for text, good := range map[string]bool{
		"20261125021530Z":           true,
		"20261125021530.5Z":         true,
		"20261125021530.123456789Z": true,
		"20261125021530.50Z":        false,
		"20261125021530.Z":          false,
		"20261125021530.0Z":         false,
		"20261125021530":            false,
		"20261125021530+0800":       false,
		"202611250215Z":             false,
		"20261325021530Z":           false,
		"20261125021560Z":           false,
		"":                          false,
	} {
		if got, err := parseTime(text); (err == nil) != good {
			t.Errorf("%q is %s, %v; want good %t", text, got, err, good)
		}
	}
}

func TestRoots(t *testing.T) {
	a := newAuthority(t, stampsTimes, ec...)
	if _, err := ParseRoots(append(a.read("ca.pem"), a.read("tsa.pem")...)); err != nil {
		t.Errorf("two certificates: %v", err)
	}
	for name, text := range map[string][]byte{
		"empty":         nil,
		"words":         []byte("no certificate"),
		"a private key": a.read("ca.key"),
		"and a key":     append(a.read("ca.pem"), a.read("ca.key")...),
	} {
		if _, err := ParseRoots(text); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzVerify(f *testing.F) {
	a := newAuthority(f, stampsTimes, ec...)
	good, roots := token(f, a), a.roots()
	want, err := Verify(good, note, roots)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{0x30, 0})
	f.Fuzz(func(t *testing.T, der []byte) {
		if got, err := Verify(der, note, roots); err == nil && got != want {
			t.Errorf("%x verifies as %+v", der, got)
		}
	})
}

func FuzzParse(f *testing.F) {
	a := newAuthority(f, stampsTimes, ec...)
	reply := a.reply(mustQuery(f, note))
	f.Add(reply)
	der, err := parseReply(reply)
	if err != nil {
		f.Fatal(err)
	}
	s, err := parseToken(der)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der)
	f.Add(s.content)
	f.Add(a.read("ca.pem"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = parseReply(data)
		_, _ = parseInfo(data)
		if s, err := parseToken(data); err == nil {
			_, _ = s.verify()
		}
		_, _ = ParseRoots(data)
	})
}

func mustQuery(t testing.TB, data []byte) []byte {
	t.Helper()
	q, err := (&Client{}).query(data, bigOne)
	if err != nil {
		t.Fatal(err)
	}
	return q
}
