package sm

import (
	"bytes"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The two examples of GB/T 32905-2016, annex A.
func TestSM3Examples(t *testing.T) {
	for text, want := range map[string]string{
		"abc":                      "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0",
		strings.Repeat("abcd", 16): "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732",
	} {
		if got := Sum([]byte(text)); hex.EncodeToString(got[:]) != want {
			t.Errorf("SM3 of %q is %x, want %s", text, got, want)
		}
		h := New()
		for _, c := range []byte(text) {
			_, _ = h.Write([]byte{c})
		}
		if got := h.Sum(nil); hex.EncodeToString(got) != want {
			t.Errorf("SM3 of %q, byte by byte, is %x, want %s", text, got, want)
		}
	}
}

// The example of GB/T 32918.5-2017 annex A (GM/T 0003.5-2012): the recommended
// curve, the default identifier, the message "message digest".
const (
	exampleD = "3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8"
	exampleX = "09f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020"
	exampleY = "ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13"
	exampleR = "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3"
	exampleS = "b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa"
)

// exampleKeys are the keys of the example under a name.
func exampleKeys(t testing.TB, name string) (skey, vkey string) {
	t.Helper()
	public := append([]byte(Prefix+"\x04"), unhex(t, exampleX+exampleY)...)
	id := keyID(name, public)
	private := append([]byte(Prefix), unhex(t, exampleD)...)
	vkey = vkeyText(name, id, public)
	return "PRIVATE+KEY+" + strings.TrimSuffix(vkey, base64.StdEncoding.EncodeToString(public)) + base64.StdEncoding.EncodeToString(private), vkey
}

func der(t testing.TB, r, s *big.Int) []byte {
	t.Helper()
	sig, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func TestSM2Example(t *testing.T) {
	skey, vkey := exampleKeys(t, "example.org/log")
	signer, err := NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	if signer.VerifierKey() != vkey {
		t.Errorf("the private key has the public key %s, want %s", signer.VerifierKey(), vkey)
	}
	v, err := NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	r, s := new(big.Int).SetBytes(unhex(t, exampleR)), new(big.Int).SetBytes(unhex(t, exampleS))
	if !v.Verify([]byte("message digest"), der(t, r, s)) {
		t.Fatal("the signature of the standard does not verify")
	}
	n, _ := new(big.Int).SetString("fffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123", 16)
	for name, sig := range map[string][]byte{
		"r and s exchanged": der(t, s, r),
		"r negative":        der(t, new(big.Int).Neg(r), s),
		"s plus the order":  der(t, r, new(big.Int).Add(s, n)),
		"zero":              der(t, new(big.Int), new(big.Int)),
		"raw":               unhex(t, exampleR+exampleS),
		"something behind":  append(der(t, r, s), 0),
		"cut":               der(t, r, s)[:60],
		"empty":             nil,
	} {
		if v.Verify([]byte("message digest"), sig) {
			t.Errorf("%s: the signature verifies", name)
		}
	}
	if v.Verify([]byte("message digests"), der(t, r, s)) {
		t.Error("the signature verifies another message")
	}
}

func TestNote(t *testing.T) {
	skey, vkey, err := GenerateKey("example.org/log")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := note.Sign(&note.Note{Text: "a text\nof two lines\n"}, signer)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := note.Open(msg, note.VerifierList(verifier)); err != nil || len(n.Sigs) != 1 {
		t.Errorf("%v for\n%s", err, msg)
	}
	if _, err := note.Open(bytes.Replace(msg, []byte("two"), []byte("ten"), 1), note.VerifierList(verifier)); err == nil {
		t.Error("another text verifies")
	}
	if _, err := note.NewVerifier(vkey); err == nil {
		t.Error("x/mod takes the key for one of its own")
	}
	if _, _, err := GenerateKey("a b"); err == nil {
		t.Error("a name with a space")
	}
}

func TestKeysThatAreNone(t *testing.T) {
	skey, vkey := exampleKeys(t, "example.org/log")
	zero := base64.StdEncoding.EncodeToString(append([]byte(Prefix), make([]byte, 32)...))
	offCurve := append([]byte(Prefix+"\x04"), unhex(t, exampleX+exampleX)...)
	infinity := append([]byte(Prefix+"\x00"), make([]byte, 64)...)
	for name, vkey := range map[string]string{
		"empty":           "",
		"a private key":   skey,
		"another name":    strings.Replace(vkey, "log", "lob", 1),
		"cut":             vkey[:len(vkey)-4],
		"off the curve":   vkeyText("a", keyID("a", offCurve), offCurve),
		"infinity":        vkeyText("a", keyID("a", infinity), infinity),
		"compressed":      vkeyText("a", keyID("a", []byte(Prefix+"\x02")), append([]byte(Prefix+"\x02"), unhex(t, exampleX)...)),
		"another type":    "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
		"name with space": vkeyText("a b", keyID("a b", offCurve), offCurve),
	} {
		if _, err := NewVerifier(vkey); err == nil {
			t.Errorf("%s: %q is a verifier key", name, vkey)
		}
	}
	for name, skey := range map[string]string{
		"empty":        "",
		"a public key": vkey,
		"another name": strings.Replace(skey, "log", "lob", 1),
		"zero":         "PRIVATE+KEY+a+00000000+" + zero,
		"cut":          skey[:len(skey)-4],
	} {
		_, err := NewSigner(skey)
		if err == nil {
			t.Errorf("%s: %q is a private key", name, skey)
		}
		if err != nil && strings.Contains(err.Error(), "OUUgj3") {
			t.Errorf("%s: the error repeats the key: %v", name, err)
		}
	}
}

// OpenSSL verifies what is signed here, with the command in the package's comment,
// and the other way round.
func TestOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("the test needs openssl: apt-get install openssl")
	}
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	write := func(name string, data []byte) {
		if err := os.WriteFile(in(name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), openssl, args...).CombinedOutput()
		return string(out), err
	}
	skey, _ := exampleKeys(t, "example.org/log")
	signer, err := NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	text := []byte("example.org/log\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n")
	sig, err := signer.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	// A SubjectPublicKeyInfo of the curve SM2 (1.2.156.10197.1.301).
	spki, err := asn1.Marshal(struct {
		Algorithm struct{ ID, Curve asn1.ObjectIdentifier }
		Key       asn1.BitString
	}{
		struct{ ID, Curve asn1.ObjectIdentifier }{asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}, asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301}},
		asn1.BitString{Bytes: unhex(t, "04"+exampleX+exampleY), BitLength: 65 * 8},
	})
	if err != nil {
		t.Fatal(err)
	}
	write("sm2.pem", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}))
	write("text", text)
	write("sig", sig)
	verify := []string{"pkeyutl", "-verify", "-pubin", "-inkey", in("sm2.pem"), "-rawin", "-digest", "sm3", "-pkeyopt", "distid:1234567812345678", "-in", in("text"), "-sigfile", in("sig")}
	if out, err := run(verify...); err != nil {
		t.Errorf("openssl does not verify our signature: %v\n%s", err, out)
	}
	write("text", append(text, "more\n"...))
	if out, err := run(verify...); err == nil {
		t.Errorf("openssl verifies another text: %s", out)
	}
}

func FuzzNewVerifier(f *testing.F) {
	skey, vkey := exampleKeys(f, "example.org/log")
	f.Add(vkey)
	f.Add(skey)
	f.Fuzz(func(t *testing.T, key string) {
		if v, err := NewVerifier(key); err == nil {
			v.Verify([]byte("text\n"), []byte(key))
		}
		if s, err := NewSigner(key); err == nil {
			if _, err := NewVerifier(s.VerifierKey()); err != nil {
				t.Errorf("%q: its verifier key: %v", key, err)
			}
		}
	})
}

func FuzzVerify(f *testing.F) {
	_, vkey := exampleKeys(f, "example.org/log")
	v, err := NewVerifier(vkey)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("message digest"), der(f, new(big.Int).SetBytes(unhex(f, exampleR)), new(big.Int).SetBytes(unhex(f, exampleS))))
	good := der(f, new(big.Int).SetBytes(unhex(f, exampleR)), new(big.Int).SetBytes(unhex(f, exampleS)))
	f.Fuzz(func(t *testing.T, msg, sig []byte) {
		if v.Verify(msg, sig) && !(bytes.Equal(sig, good) && string(msg) == "message digest") {
			t.Errorf("%x verifies %q", sig, msg)
		}
	})
}
