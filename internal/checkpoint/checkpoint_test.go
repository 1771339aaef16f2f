package checkpoint

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

const root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="

func TestParse(t *testing.T) {
	for _, text := range []string{
		"example.com/behind-the-sofa\n20852163\n" + root + "\n",
		"留痕.example/甲\n0\n" + root + "\n",
		"a name with spaces\n9223372036854775807\n" + root + "\nan extension\nanother\n",
	} {
		c, err := Parse(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if c.Text() != text {
			t.Errorf("%q is read and written as %q", text, c.Text())
		}
	}
	for name, text := range map[string]string{
		"empty":                   "",
		"no last newline":         "o\n1\n" + root,
		"two lines":               "o\n1\n",
		"no origin":               "\n1\n" + root + "\n",
		"no size":                 "o\n\n" + root + "\n",
		"leading zero":            "o\n01\n" + root + "\n",
		"sign":                    "o\n+1\n" + root + "\n",
		"negative":                "o\n-1\n" + root + "\n",
		"too large":               "o\n9223372036854775808\n" + root + "\n",
		"hexadecimal":             "o\n0x1\n" + root + "\n",
		"short root":              "o\n1\nAAAA\n",
		"no padding":              "o\n1\n" + strings.TrimSuffix(root, "=") + "\n",
		"stray bits in the root":  "o\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J=\n",
		"carriage return":         "o\r\n1\r\n" + root + "\r\n",
		"empty extension":         "o\n1\n" + root + "\n\n",
		"empty extension between": "o\n1\n" + root + "\n\nx\n",
	} {
		if c, err := Parse(text); err == nil {
			t.Errorf("%s: %q is read as %+v, want an error", name, text, c)
		}
	}
}

// vectors are notes with the verdict that they must get: the specification's
// example, a real tree head, and both changed by one character.
func vectors(t testing.TB) (all []struct {
	Name, Kind, Vkey, Note, Why string
	Valid                       bool
}) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "signed_note_vectors.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no vectors")
	}
	return all
}

func TestSignedNoteVectors(t *testing.T) {
	for _, v := range vectors(t) {
		key, err := note.NewVerifier(v.Vkey)
		if err != nil {
			t.Errorf("%s: key: %v", v.Name, err)
			continue
		}
		known := note.VerifierList(key)
		_, err = note.Open([]byte(v.Note), known)
		if (err == nil) != v.Valid {
			t.Errorf("%s (%s): as a note: %v, want valid: %t", v.Name, v.Why, err, v.Valid)
		}
		if v.Kind != "checkpoint" {
			continue
		}
		_, _, err = Open([]byte(v.Note), known)
		if (err == nil) != v.Valid {
			t.Errorf("%s (%s): as a checkpoint: %v, want valid: %t", v.Name, v.Why, err, v.Valid)
		}
		if _, err := Peek([]byte(v.Note)); err != nil {
			t.Errorf("%s (%s): unverified: %v", v.Name, v.Why, err)
		}
	}
}

// A second line of a known key that does not verify spoils the note, wherever it
// stands.
func TestOpenVerifiesEveryLine(t *testing.T) {
	skey, vkey, err := note.GenerateKey(nil, "example.org/log")
	if err != nil {
		t.Fatal(err)
	}
	signer, _ := note.NewSigner(skey)
	verifier, _ := note.NewVerifier(vkey)
	text := "example.org/log\n7\n" + root + "\n"
	good, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		t.Fatal(err)
	}
	other, err := note.Sign(&note.Note{Text: "something else\n"}, signer)
	if err != nil {
		t.Fatal(err)
	}
	known := note.VerifierList(verifier)
	if c, _, err := Open(good, known); err != nil || c.Size != 7 {
		t.Fatalf("the good note: %+v, %v", c, err)
	}
	for name, msg := range map[string]string{
		"after":  string(good) + Line(Signatures(other)[0]),
		"before": text + "\n" + Line(Signatures(other)[0]) + Line(Signatures(good)[0]),
	} {
		_, _, err := Open([]byte(msg), known)
		var invalid *note.InvalidSignatureError
		if !errors.As(err, &invalid) {
			t.Errorf("a false line %s the good one: %v, want an invalid signature", name, err)
		}
	}
	// The same signature in another spelling: bits behind its end.
	line := Line(Signatures(good)[0])
	respelt := strings.Replace(line, "=\n", "\n", 1)
	last := respelt[len(respelt)-2]
	alphabet := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	respelt = respelt[:len(respelt)-2] + string(alphabet[strings.IndexByte(alphabet, last)|1]) + "=\n"
	if _, _, err := Open([]byte(text+"\n"+respelt), known); err == nil || respelt == line {
		t.Errorf("the signature spelt %q for %q: %v", respelt, line, err)
	}
	// The same good line twice is no harm.
	if _, _, err := Open([]byte(string(good)+Line(Signatures(good)[0])), known); err != nil {
		t.Errorf("the good line twice: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("example.com/behind-the-sofa\n20852163\n" + root + "\n")
	f.Add("o\n0\n" + root + "\nextension\n")
	f.Add("o\n01\n" + root + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse(text)
		if err == nil && c.Text() != text {
			t.Errorf("%q is read, and written as %q", text, c.Text())
		}
	})
}

func FuzzOpen(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add([]byte(v.Note))
	}
	key, err := note.NewVerifier(vectors(f)[0].Vkey)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		for _, s := range Signatures(msg) {
			if again, ok := parseSignature([]byte(Line(s))); !ok || again != s {
				t.Errorf("%q: signature %+v is written as %q", msg, s, Line(s))
			}
		}
		if _, n, err := Open(msg, note.VerifierList(key)); err == nil {
			if _, err := note.Open(msg, note.VerifierList(key)); err != nil {
				t.Errorf("%q opens as %+v, but not as a note: %v", msg, n, err)
			}
		}
		_, _ = Peek(msg)
	})
}
