package timestamp

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"liuhen/transparency/timestamp/tsatest"
)

var note = []byte("example.org/liuhen/210100/2026\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n— example.org/liuhen/210100/2026 AAAA\n")

type authority struct{ *tsatest.Authority }

func newAuthority(t testing.TB, usage string, algorithm ...string) authority {
	t.Helper()
	return authority{tsatest.New(t, usage, algorithm...)}
}

func (a authority) roots() *Roots {
	r, err := ParseRoots(a.Read("ca.pem"))
	if err != nil {
		panic(err)
	}
	return r
}

func asItIs(_, reply []byte) []byte { return reply }

// Real authorities, by algorithm: the token is good here and for openssl.
func TestStamp(t *testing.T) {
	for name, algorithm := range map[string][]string{
		"RSA":   tsatest.RSA,
		"ECDSA": tsatest.EC,
	} {
		a := newAuthority(t, tsatest.StampsTimes, algorithm...)
		for _, national := range []bool{false, true} {
			before := time.Now().Add(-time.Second)
			c := &Client{URL: a.Serve(asItIs), Roots: a.roots(), SM3: national}
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
			a.Write("token", string(token))
			a.Write("note", string(note))
			a.OpenSSL(nil, "ts", "-verify", "-in", "token", "-token_in", "-data", "note", "-CAfile", "ca.pem")
			a.Write("note", string(note)+"more")
			if _, err := a.Try(nil, "ts", "-verify", "-in", "token", "-token_in", "-data", "note", "-CAfile", "ca.pem"); err == nil {
				t.Errorf("%s: openssl verifies other bytes", name)
			}
		}
	}
}

// What authorities differ in: how the certificate is named, by which digest they
// sign, and whether they send the chain.
func TestKindsOfTokens(t *testing.T) {
	a := newAuthority(t, tsatest.StampsTimes, tsatest.EC...)
	config := string(a.Read("tsa.cnf"))
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
		a.Write("tsa.cnf", changed)
		if _, err := Verify(token(t, a), note, a.roots()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A token signed with SM2 and SM3, by certificates of that kind. openssl makes the
// keys, the certificates and the signature; its ts does not know SM2, so the token
// is put together here.
func TestSM2(t *testing.T) {
	other := newAuthority(t, tsatest.StampsTimes, tsatest.EC...)
	a := authority{tsatest.Empty(t)}
	a.Write("tsa.cnf", string(other.Read("tsa.cnf")))
	id := "distid:1234567812345678"
	for _, key := range []string{"ca.key", "tsa.key"} {
		a.OpenSSL(nil, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2", "-out", key)
	}
	a.OpenSSL(nil, "req", "-x509", "-sm3", "-sigopt", id, "-key", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=SM2 root", "-addext", "basicConstraints=critical,CA:true", "-addext", "keyUsage=critical,keyCertSign")
	a.OpenSSL(nil, "req", "-new", "-sm3", "-sigopt", id, "-key", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=SM2 TSA")
	a.OpenSSL(nil, "x509", "-req", "-sm3", "-sigopt", id, "-vfyopt", id, "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "tsa.pem", "-days", "20", "-extfile", "tsa.cnf", "-extensions", "extensions")
	cert := certificate(t, a)

	// What is signed is by another authority, later than the certificates.
	s, err := parseToken(token(t, other))
	if err != nil {
		t.Fatal(err)
	}
	sign := func(attributes []byte) []byte {
		a.Write("attributes", string(attributes))
		signature := a.OpenSSL(nil, "pkeyutl", "-sign", "-inkey", "tsa.key", "-rawin", "-digest", "sm3", "-pkeyopt", id, "-in", "attributes")
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
func token(t testing.TB, a authority) []byte {
	t.Helper()
	c := &Client{URL: a.Serve(asItIs), Roots: a.roots()}
	der, _, err := c.Stamp(t.Context(), note)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// No bit of a token may be another, and the token proves nothing of other bytes
// or under other roots. (The authority sends no certificate but its own.)
func TestChangedToken(t *testing.T) {
	a := newAuthority(t, tsatest.StampsTimes, tsatest.EC...)
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
		"another root":  {note, newAuthority(t, tsatest.StampsTimes, tsatest.EC...).roots(), "does not lead to a root"},
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
	sign := func(a authority) []byte {
		a.Write("query", string(mustQuery(t, note)))
		reply, err := a.Try(nil, "ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query")
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
		a := newAuthority(t, usage, tsatest.EC...)
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
	a := newAuthority(t, tsatest.StampsTimes, tsatest.EC...)
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
	a := newAuthority(t, tsatest.StampsTimes, tsatest.EC...)
	earlier, err := (&Client{}).query(note, bigOne)
	if err != nil {
		t.Fatal(err)
	}
	replayed := a.Reply(earlier)
	other := a.Reply(mustQuery(t, []byte("something else")))
	// The authority does not know SHA-384.
	sha256OID, sha384OID := []byte{3, 4, 2, 1}, []byte{3, 4, 2, 2}
	html := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }))
	t.Cleanup(html.Close)
	for name, c := range map[string]struct {
		url  string
		says string
	}{
		"an earlier answer":   {a.Serve(func(_, _ []byte) []byte { return replayed }), "nonce"},
		"about another thing": {a.Serve(func(_, _ []byte) []byte { return other }), "other bytes"},
		"a cut answer":        {a.Serve(func(_, reply []byte) []byte { return reply[:len(reply)-1] }), "no TimeStampResp"},
		"nothing":             {a.Serve(func(_, _ []byte) []byte { return nil }), "no TimeStampResp"},
		"a refusal":           {a.Serve(func(query, _ []byte) []byte { return a.Reply(bytes.Replace(query, sha256OID, sha384OID, 1)) }), "refused: status 2"},
		"a web page":          {html.URL, "RFC 3161"},
		"granted, no token":   {a.Serve(func(_, _ []byte) []byte { return []byte{0x30, 5, 0x30, 3, 2, 1, 0} }), "sent none"},
	} {
		client := &Client{URL: c.url, Roots: a.roots()}
		der, _, err := client.Stamp(t.Context(), note)
		if err == nil || der != nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), c.url) {
			t.Errorf("%s: %v, want an error with the address that says %q", name, err, c.says)
		}
	}
	exact := &Client{URL: a.Serve(asItIs), Roots: a.roots(), MaxAccuracy: time.Second}
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
	a := newAuthority(t, tsatest.StampsTimes, tsatest.EC...)
	if _, err := ParseRoots(append(a.Read("ca.pem"), a.Read("tsa.pem")...)); err != nil {
		t.Errorf("two certificates: %v", err)
	}
	for name, text := range map[string][]byte{
		"empty":         nil,
		"words":         []byte("no certificate"),
		"a private key": a.Read("ca.key"),
		"and a key":     append(a.Read("ca.pem"), a.Read("ca.key")...),
	} {
		if _, err := ParseRoots(text); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzVerify(f *testing.F) {
	a := newAuthority(f, tsatest.StampsTimes, tsatest.EC...)
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
	a := newAuthority(f, tsatest.StampsTimes, tsatest.EC...)
	reply := a.Reply(mustQuery(f, note))
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
	f.Add(a.Read("ca.pem"))
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
