package keys

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"liuhen/internal/checkpoint"
)

const origin = "example.org/liuhen/210100/2026"

var everyKind = []Kind{Ed25519, MLDSA44, SM2}

// signed is a checkpoint of some size under the keys of a ring.
func signed(t testing.TB, r *Ring, size int64) []byte {
	t.Helper()
	text := checkpoint.Checkpoint{Origin: r.Name(), Size: size, Root: tlog.RecordHash([]byte{byte(size)})}.Text()
	msg, err := note.Sign(&note.Note{Text: text}, r.Signers()...)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func create(t testing.TB, kinds ...Kind) *Ring {
	t.Helper()
	r, err := Create(filepath.Join(t.TempDir(), "keys", "a.key"), origin, kinds...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// rotated replaces the keys of a ring, which is closed by that, at a size.
func rotated(t testing.TB, r *Ring, size int64, kinds ...Kind) *Ring {
	t.Helper()
	newest := signed(t, r, size)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	next, err := Rotate(r.File(), newest, kinds...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = next.Close() })
	return next
}

func TestLoadOrCreate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	r, created, err := LoadOrCreate(dir, origin)
	if err != nil || !created {
		t.Fatalf("first: created %t, %v", created, err)
	}
	again, created, err := LoadOrCreate(dir, origin)
	if err != nil || created {
		t.Fatalf("again: created %t, %v", created, err)
	}
	if !slices.Equal(r.VerifierKeys(), again.VerifierKeys()) {
		t.Errorf("the keys are %q, then %q", r.VerifierKeys(), again.VerifierKeys())
	}
	other, created, err := LoadOrCreate(dir, origin+"-b")
	if err != nil || !created || slices.Equal(other.VerifierKeys(), r.VerifierKeys()) {
		t.Errorf("another name: created %t, keys %q, %v", created, other.VerifierKeys(), err)
	}
	for _, path := range []string{dir, r.File()} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v: others can get at it", path, info.Mode())
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".new-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := Create(r.File(), origin, Ed25519); !errors.Is(err, fs.ErrExist) {
		t.Errorf("making keys over keys: %v, want fs.ErrExist", err)
	}
	// A file under another's path is not taken for its keys.
	if err := os.Rename(r.File(), other.File()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := LoadOrCreate(dir, origin+"-b"); err == nil || !strings.Contains(err.Error(), "holds the keys of "+origin) {
		t.Errorf("the keys of another name: %v", err)
	}
}

// A file that others can read is refused, whatever is in it.
func TestOthersCanRead(t *testing.T) {
	r := create(t, Ed25519)
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o601} {
		if err := os.Chmod(r.File(), mode); err != nil {
			t.Fatal(err)
		}
		_, err := Load(r.File())
		if err == nil || !strings.Contains(err.Error(), "chmod 600 "+r.File()) {
			t.Errorf("mode %04o: %v, want a refusal that says what to do", mode, err)
		}
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"", "a b", "a+b", "a\nb", "a\u00a0b", "example.org/log/keys", strings.Repeat("a", 201), "\xff"} {
		if r, err := Create(filepath.Join(t.TempDir(), "k"), name, Ed25519); err == nil {
			t.Errorf("name %q has keys %q, want an error", name, r.VerifierKeys())
		}
	}
	if Path("d", "a/b") == Path("d", "a-b") {
		t.Error("two names share a file")
	}
	if got := DefaultOrigin("ENF 2026"); !checkpoint.ValidName(got) || !strings.HasSuffix(got, "/liuhen/ENF-2026") {
		t.Errorf("the default origin is %q", got)
	}
	t.Setenv("XDG_CONFIG_HOME", "/somewhere")
	if got, err := DefaultDir(); err != nil || got != "/somewhere/liuhen/keys" {
		t.Errorf("the default folder is %q, %v", got, err)
	}
}

// Every kind of key signs checkpoints that verify under what is shown of it.
func TestKinds(t *testing.T) {
	r := create(t, everyKind...)
	msg := signed(t, r, 7)
	if n := len(checkpoint.Signatures(msg)); n != 3 {
		t.Fatalf("%d signatures, want 3:\n%s", n, msg)
	}
	for i, vkey := range r.VerifierKeys() {
		v, err := NewVerifier(vkey)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := checkpoint.Open(msg, note.VerifierList(v)); err != nil {
			t.Errorf("%s: %v", everyKind[i], err)
		}
		changed := bytes.Replace(msg, []byte("\n7\n"), []byte("\n8\n"), 1)
		var invalid *note.InvalidSignatureError
		if _, _, err := checkpoint.Open(changed, note.VerifierList(v)); !errors.As(err, &invalid) {
			t.Errorf("%s: a changed checkpoint: %v, want an invalid signature", everyKind[i], err)
		}
		if want := everyKind[i] == MLDSA44; IsCosigner(vkey) != want {
			t.Errorf("%s: cosigner %t", everyKind[i], !want)
		}
	}
	if _, err := Create(filepath.Join(t.TempDir(), "k"), origin, Ed25519, Ed25519); err == nil {
		t.Error("two keys of one kind")
	}
}

// A verifier key with one character changed anywhere is no key, or another name's.
func TestChangedVerifierKey(t *testing.T) {
	for _, vkey := range create(t, Ed25519, SM2, Cosignature).VerifierKeys() {
		for i := range vkey {
			changed := []byte(vkey)
			changed[i] ^= 1
			if v, err := NewVerifier(string(changed)); err == nil {
				t.Errorf("%s with byte %d changed is the key %s+%08x", vkey, i, v.Name(), v.KeyHash())
			}
		}
	}
	mldsa := create(t, MLDSA44).VerifierKeys()[0]
	for i := 0; i < len(mldsa); i += 13 {
		changed := []byte(mldsa)
		changed[i] ^= 1
		if _, err := NewVerifier(string(changed)); err == nil {
			t.Errorf("ML-DSA key with byte %d changed is a key", i)
		}
	}
}

// Nothing that is printed or said of a ring repeats a secret.
func TestSecretsStayInside(t *testing.T) {
	r := create(t, everyKind...)
	text, err := os.ReadFile(r.File())
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, "secret ") {
			continue
		}
		for _, broken := range []string{line[:len(line)-3], line + "A", strings.Replace(line, "+", "", 1), strings.Replace(line, origin, "other", 1)} {
			changed := slices.Clone(lines)
			changed[i] = broken
			_, err := parse([]byte(strings.Join(changed, "\n")))
			if err == nil {
				t.Errorf("line %d broken as %.40s… is read", i+1, broken)
				continue
			}
			secret := strings.SplitN(line, "+", 5)[4] // base64 has plus signs of its own
			if strings.Contains(err.Error(), secret[5:25]) {
				t.Errorf("an error repeats a secret: %v", err)
			}
		}
	}
}

func TestRotation(t *testing.T) {
	first := create(t, Ed25519)
	pinned := first.VerifierKeys()[0]
	oldSmall, oldLast, oldBeyond := signed(t, first, 3), signed(t, first, 10), signed(t, first, 11)

	second := rotated(t, first, 10, everyKind...)
	newEarly, newFirst, newLater := signed(t, second, 9), signed(t, second, 10), signed(t, second, 500)
	third := rotated(t, second, 500)
	newest := signed(t, third, 501)

	rotations := third.Rotations()
	if len(rotations) != 2 {
		t.Fatalf("%d rotations, want 2", len(rotations))
	}
	chain, err := Verifiers(pinned, rotations)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		msg  []byte
		good bool
	}{
		"first keys, before":            {oldSmall, true},
		"first keys, last":              {oldLast, true},
		"first keys, past their end":    {oldBeyond, false},
		"second keys, too early":        {newEarly, false},
		"second keys, first":            {newFirst, true},
		"second keys, last":             {newLater, true},
		"third keys":                    {newest, true},
		"second keys, past their end":   {signed(t, second, 501), false},
		"third keys, before their time": {signed(t, third, 499), false},
	} {
		_, _, err := chain.Open(c.msg)
		if c.good && err != nil || !c.good && !errors.Is(err, ErrReplaced) {
			t.Errorf("%s: %v, want good %t", name, err, c.good)
		}
		// Also for who knows note.Open only.
		if _, err := note.Open(c.msg, chain); (err == nil) != c.good {
			t.Errorf("%s, by note.Open: %v, want good %t", name, err, c.good)
		}
	}
	if got := len(chain.At(3)); got != 1 {
		t.Errorf("%d keys are good at size 3, want 1", got)
	}
	if got := chain.At(10); len(got) != 4 {
		t.Errorf("keys good at size 10: %q, want the first and the three after it", got)
	}
	if got := chain.Newest(); !slices.Equal(got, third.VerifierKeys()) {
		t.Errorf("newest keys %q, want %q", got, third.VerifierKeys())
	}
	// Whoever pinned a later key passes over what was before it.
	later, err := Verifiers(second.VerifierKeys()[2], rotations)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := later.Open(newest); err != nil {
		t.Errorf("pinned at the SM2 key of the second set: %v", err)
	}
	// The ring itself says the same of its keys.
	own, err := third.Verifiers()
	if err != nil || !slices.Equal(own.Newest(), chain.Newest()) {
		t.Errorf("the ring's own verifiers: %v, %v", own, err)
	}
	// The old secrets are gone.
	text, err := os.ReadFile(third.File())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range slices.Concat(first.secrets, second.secrets) {
		if bytes.Contains(text, []byte(s.text)) {
			t.Errorf("the file still holds an old secret of kind %s", s.kind)
		}
	}
}

// What another could hand us as a rotation.
func TestForgedRotations(t *testing.T) {
	first := create(t, everyKind...)
	pinned := first.VerifierKeys()[0]
	old := first.secrets
	second := rotated(t, first, 10)
	third := rotated(t, second, 20)
	good := third.Rotations()
	stranger := create(t, everyKind...)

	forge := func(old, next []secret, size int64, edit func(*Rotation)) []byte {
		r := Rotation{Name: origin, Size: size}
		var signers []note.Signer
		for _, s := range old {
			r.Old = append(r.Old, s.vkey)
			signers = append(signers, s.signer)
		}
		for _, s := range next {
			r.New = append(r.New, s.vkey)
			signers = append(signers, s.signer)
		}
		edit(&r)
		msg, err := note.Sign(&note.Note{Text: r.text()}, signers...)
		if err != nil {
			t.Fatal(err)
		}
		return msg
	}
	nothing := func(*Rotation) {}
	if _, err := Verifiers(pinned, [][]byte{forge(old, stranger.secrets, 10, nothing)}); err != nil {
		t.Fatalf("the forger's own work does not pass where it should: %v", err)
	}
	text := string(good[0])
	for name, rotations := range map[string][][]byte{
		"signed by a stranger who names our keys": {forge(stranger.secrets, stranger.secrets, 10, func(r *Rotation) { r.Old = first.First() })},
		"keys that their owner did not sign with": {forge(old, nil, 10, func(r *Rotation) { r.New = stranger.VerifierKeys() })},
		"one of the new keys did not sign":        {forge(old, stranger.secrets[:2], 10, func(r *Rotation) { r.New = stranger.VerifierKeys() })},
		"back in size":                            {good[0], forge(second.secrets, stranger.secrets, 9, nothing)},
		"a key that comes back":                   {good[0], forge(second.secrets, old, 20, nothing)},
		"a key left out of the old":               {good[0], forge(second.secrets, stranger.secrets, 20, func(r *Rotation) { r.Old = r.Old[1:] })},
		"replaced twice":                          {good[0], forge(old, stranger.secrets, 10, nothing)},
		"another size":                            {[]byte(strings.Replace(text, "\n10\n", "\n11\n", 1))},
		"another digest":                          {[]byte(strings.Replace(text, strings.Split(text, "\n")[2], tlog.Hash{}.String(), 1))},
		"no rotation":                             {signed(t, stranger, 3)},
		"of another name":                         {[]byte(strings.ReplaceAll(text, origin, "example.org/other"))},
		"empty":                                   {nil},
	} {
		if chain, err := Verifiers(pinned, rotations); err == nil {
			t.Errorf("%s: no error; newest keys %q", name, chain.Newest())
		}
	}
	// Every byte of a rotation is under a signature.
	for i := 0; i < len(text); i += 17 {
		changed := []byte(text)
		changed[i] ^= 1
		if _, err := Verifiers(pinned, [][]byte{changed}); err == nil {
			t.Errorf("byte %d (%q) changed: it still counts", i, text[max(0, i-5):i+1])
		}
	}
}

// Keys are not replaced while somebody signs with them, also where only their
// signers are left of the ring.
func TestRotateWhileInUse(t *testing.T) {
	path, newest, signers := onlySigners(t)
	for range 3 {
		runtime.GC()
	}
	if _, err := Rotate(path, newest); !errors.Is(err, ErrInUse) {
		t.Fatalf("rotate while a signer is left: %v, want ErrInUse", err)
	}
	runtime.KeepAlive(signers)
}

// onlySigners makes keys and lets go of their ring.
func onlySigners(t *testing.T) (path string, newest []byte, signers []note.Signer) {
	t.Helper()
	r, err := Create(filepath.Join(t.TempDir(), "a.key"), origin, Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	newest = signed(t, r, 10)
	if _, err := Rotate(r.File(), newest); !errors.Is(err, ErrInUse) {
		t.Fatalf("rotate while the ring is open: %v, want ErrInUse", err)
	}
	return r.File(), newest, r.Signers()
}

// Keys are replaced at the newest checkpoint that they signed, and no other.
func TestRotateWhere(t *testing.T) {
	first := create(t, Ed25519, SM2)
	before := signed(t, first, 9)
	half, err := note.Sign(&note.Note{Text: checkpoint.Checkpoint{Origin: origin, Size: 11}.Text()}, first.Signers()[0])
	if err != nil {
		t.Fatal(err)
	}
	second := rotated(t, first, 10)
	if second.Signed(before) || !second.Signed(signed(t, second, 10)) {
		t.Error("the ring takes old signatures for its own, or its own for others'")
	}
	stranger := create(t, Ed25519, SM2)
	early := signed(t, second, 9)
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	for name, newest := range map[string][]byte{
		"of the keys before":        before,
		"of a stranger":             signed(t, stranger, 11),
		"smaller than the last one": early,
		"by one key of two":         half,
		"no checkpoint":             []byte("12"),
		"empty":                     {},
	} {
		if r, err := Rotate(second.File(), newest); err == nil {
			t.Errorf("at a checkpoint that is %s: replaced, %d times by now", name, len(r.Rotations()))
			_ = r.Close()
		}
	}
	// Keys that have signed nothing are good for nothing.
	third, err := Rotate(second.File(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = third.Close() })
	if r, err := ParseRotation(third.Rotations()[1]); err != nil || r.Size != 10 {
		t.Errorf("after keys that signed nothing: at size %d, %v; want 10", r.Size, err)
	}
}

func TestCosignatureTime(t *testing.T) {
	r := create(t, Cosignature, Ed25519)
	sigs := checkpoint.Signatures(signed(t, r, 7))
	if CosignedAt(sigs[0]).IsZero() {
		t.Error("a cosignature without a time")
	}
	for _, raw := range [][]byte{{1, 2, 3, 4}, append([]byte{1, 2, 3, 4}, bytes.Repeat([]byte{0}, 72)...), append([]byte{1, 2, 3, 4}, bytes.Repeat([]byte{0xff}, 72)...)} {
		if at := CosignedAt(note.Signature{Base64: base64.StdEncoding.EncodeToString(raw)}); !at.IsZero() {
			t.Errorf("%x has the time %s", raw, at)
		}
	}
}

func FuzzParseFile(f *testing.F) {
	r := create(f, everyKind...)
	text, err := os.ReadFile(rotated(f, r, 10, Ed25519).File())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(fileHeader + "\nname a\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parse(text)
		if err != nil {
			return
		}
		again, err := parse(c.format())
		if err != nil || !bytes.Equal(again.format(), c.format()) {
			t.Errorf("%q is read, and then not read again: %v", text, err)
		}
	})
}

func FuzzParseRotation(f *testing.F) {
	r := create(f, everyKind...)
	f.Add(rotated(f, r, 10).Rotations()[0])
	f.Fuzz(func(t *testing.T, msg []byte) {
		r, err := ParseRotation(msg)
		if err != nil {
			return
		}
		if at, err := checkpoint.Peek(msg); err != nil || at.Text() != r.text() {
			t.Errorf("%q is read as another rotation: %q, %v", msg, r.text(), err)
		}
	})
}

func FuzzNewVerifier(f *testing.F) {
	for _, vkey := range create(f, Ed25519, Cosignature, MLDSA44, SM2).VerifierKeys() {
		f.Add(vkey)
	}
	f.Fuzz(func(t *testing.T, vkey string) {
		v, err := NewVerifier(vkey)
		if err == nil && !strings.HasPrefix(vkey, v.Name()+"+") {
			t.Errorf("%q is the key of %q", vkey, v.Name())
		}
		_ = IsCosigner(vkey)
		_, _ = parseSecret(vkey)
	})
}
