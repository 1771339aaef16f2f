package policy

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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

// An office is a log and its witnesses: two with Ed25519 and one with ML-DSA-44.
type office struct {
	log       *keys.Ring
	witnesses map[string]*keys.Ring
}

func newOffice(t testing.TB) office {
	t.Helper()
	return office{
		log: ring(t, origin, keys.Ed25519, keys.SM2),
		witnesses: map[string]*keys.Ring{
			"court":     ring(t, "witness.court.example", keys.Cosignature),
			"archive":   ring(t, "witness.archive.example", keys.MLDSA44),
			"ombudsman": ring(t, "witness.ombudsman.example", keys.Cosignature),
		},
	}
}

// text is the policy of the office; %s stands for its last lines.
func (o office) text(last string) string {
	return fmt.Sprintf("# 见证规则\nlog %s https://liuhen.example/log\n\nwitness court %s https://court.example\n\twitness archive\t%s  \nwitness ombudsman %s\n%s\n",
		o.log.VerifierKeys()[0], o.key("court"), o.key("archive"), o.key("ombudsman"), last)
}

func (o office) key(witness string) string { return o.witnesses[witness].VerifierKeys()[0] }

// checkpoint is a checkpoint of the log, cosigned by some.
func (o office) checkpoint(t testing.TB, name string, size int64, by ...string) []byte {
	t.Helper()
	signers := slices.Clone(o.log.Signers())
	for _, w := range by {
		signers = append(signers, o.witnesses[w].Signers()...)
	}
	msg, err := note.Sign(&note.Note{Text: checkpoint.Checkpoint{Origin: name, Size: size, Root: tlog.RecordHash(nil)}.Text()}, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func parse(t testing.TB, text string) *Policy {
	t.Helper()
	p, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return p
}

func TestQuorum(t *testing.T) {
	o := newOffice(t)
	for _, c := range []struct {
		last string
		by   string
		met  bool
	}{
		{"quorum none", "", true},
		{"quorum court", "court", true},
		{"quorum court", "archive ombudsman", false},
		{"group two 2 court archive ombudsman\nquorum two", "court archive", true},
		{"group two 2 court archive ombudsman\nquorum two", "archive ombudsman", true},
		{"group two 2 court archive ombudsman\nquorum two", "archive", false},
		{"group two 2 court archive ombudsman\nquorum two", "", false},
		{"group any any court archive\nquorum any", "archive", true},
		{"group any any court archive\nquorum any", "ombudsman", false},
		{"group all all court archive ombudsman\nquorum all", "court archive ombudsman", true},
		{"group all all court archive ombudsman\nquorum all", "court archive", false},
		{"group either any court archive\ngroup both all either ombudsman\nquorum both", "archive ombudsman", true},
		{"group either any court archive\ngroup both all either ombudsman\nquorum both", "court archive", false},
	} {
		by := strings.Fields(c.by)
		got, err := parse(t, o.text(c.last)).Check(o.checkpoint(t, origin, 7, by...))
		if got.Met != c.met || (err == nil) != c.met || err != nil && !errors.Is(err, ErrQuorum) {
			t.Errorf("%q, cosigned by %q: met %t, %v; want %t", c.last, c.by, got.Met, err, c.met)
			continue
		}
		var cosigned []string
		for _, s := range got.Cosigned {
			cosigned = append(cosigned, s.Witness)
			if since := time.Since(s.At); since < 0 || since > time.Hour {
				t.Errorf("%s cosigned at %s", s.Witness, s.At)
			}
		}
		if slices.Sort(by); !slices.Equal(slices.Sorted(slices.Values(cosigned)), by) || len(got.Missing) != 3-len(by) {
			t.Errorf("%q: it says that %q cosigned and %q did not", c.by, cosigned, got.Missing)
		}
		if got.Size != 7 || got.Origin != origin || len(got.Signed) != 1 {
			t.Errorf("result %+v", got)
		}
		for _, name := range got.Missing {
			if err != nil && !strings.Contains(err.Error(), name) {
				t.Errorf("the error does not name %s: %v", name, err)
			}
		}
	}
}

func TestNotBelieved(t *testing.T) {
	o := newOffice(t)
	p := parse(t, o.text("quorum court"))
	good := string(o.checkpoint(t, origin, 7, "court", "archive"))
	if _, err := p.Check([]byte(good)); err != nil {
		t.Fatal(err)
	}
	stranger := newOffice(t)
	mixed := office{log: stranger.log, witnesses: o.witnesses}
	var invalid *note.InvalidSignatureError
	for name, c := range map[string]struct {
		msg  string
		want any
	}{
		"another log, our witnesses":     {string(mixed.checkpoint(t, origin, 7, "court")), ErrNotSigned},
		"our key under another name":     {string(o.checkpoint(t, "example.org/other", 7, "court")), ErrNotSigned},
		"another size":                   {strings.Replace(good, "\n7\n", "\n8\n", 1), &invalid},
		"an extension added":             {strings.Replace(good, "\n\n", "\nmore\n\n", 1), &invalid},
		"a needless cosignature changed": {good[:len(good)-6] + "AAAA=\n", nil},
		"no note":                        {"hello", nil},
		"empty":                          {"", nil},
	} {
		got, err := p.Check([]byte(c.msg))
		if err == nil || got.Met {
			t.Errorf("%s: it is believed: %+v", name, got)
		}
		switch want := c.want.(type) {
		case error:
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
		case **note.InvalidSignatureError:
			if !errors.As(err, want) {
				t.Errorf("%s: %v, want an invalid signature", name, err)
			}
		}
	}
}

// A log whose keys were replaced is believed through the rotations, and not
// without them.
func TestRotated(t *testing.T) {
	o := newOffice(t)
	p := parse(t, o.text("quorum court"))
	before := o.checkpoint(t, origin, 7, "court")
	if err := o.log.Close(); err != nil {
		t.Fatal(err)
	}
	next, err := keys.Rotate(o.log.File(), before)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = next.Close() })
	old := o.log
	o.log = next
	after := o.checkpoint(t, origin, 8, "court")

	if _, err := p.Check(after); !errors.Is(err, ErrNotSigned) {
		t.Errorf("the new key, unknown: %v", err)
	}
	for name, msg := range map[string][]byte{"before": before, "after": after} {
		if _, err := p.Check(msg, next.Rotations()...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	o.log = old
	if _, err := p.Check(o.checkpoint(t, origin, 8, "court"), next.Rotations()...); !errors.Is(err, keys.ErrReplaced) {
		t.Errorf("the old key after it was replaced: %v", err)
	}
	if _, err := p.Check(after, []byte("nothing")); err == nil {
		t.Error("a rotation that is none is passed over")
	}
}

func TestSyntax(t *testing.T) {
	o := newOffice(t)
	key, log := o.key("court"), o.log.VerifierKeys()[0]
	for name, c := range map[string]struct {
		text string
		line int
	}{
		"empty":                    {"", 0},
		"no quorum":                {"log " + log + "\n", 0},
		"two quorums":              {"quorum none\nquorum none\n", 2},
		"unknown quorum":           {"quorum court\n", 1},
		"quorum before its name":   {"quorum court\nwitness court " + key + "\n", 1},
		"no last newline":          {"quorum none", 1},
		"Windows":                  {"quorum none\r\n", 1},
		"control character":        {"# \x7f\nquorum none\n", 1},
		"unknown word":             {"quorum none\nwitnesses a\n", 2},
		"capitals":                 {"Quorum none\n", 1},
		"comment behind":           {"quorum none # all of them\n", 1},
		"log without key":          {"log\nquorum none\n", 1},
		"log with too much":        {"log " + log + " url more\nquorum none\n", 1},
		"log with a broken key":    {"log " + log[:len(log)-1] + "\nquorum none\n", 1},
		"log twice":                {"log " + log + "\nlog " + log + "\nquorum none\n", 2},
		"witness named none":       {"witness none " + key + "\nquorum none\n", 1},
		"witness with a log's key": {"witness w " + log + "\nquorum none\n", 1},
		"witness twice":            {"witness a " + key + "\nwitness a " + o.key("archive") + "\nquorum none\n", 2},
		"one key, two witnesses":   {"witness a " + key + "\nwitness b " + key + "\nquorum none\n", 2},
		"group of nobody":          {"group g all\nquorum g\n", 1},
		"group of itself":          {"group g all g\nquorum g\n", 1},
		"group of none":            {"group g all none\nquorum g\n", 1},
		"group later":              {"group g all w\nwitness w " + key + "\nquorum g\n", 1},
		"none of one":              {"witness w " + key + "\ngroup g 0 w\nquorum g\n", 2},
		"two of one":               {"witness w " + key + "\ngroup g 2 w\nquorum g\n", 2},
		"01 of one":                {"witness w " + key + "\ngroup g 01 w\nquorum g\n", 2},
		"a name of witness, group": {"witness w " + key + "\ngroup w 1 w\nquorum w\n", 2},
		"member of two groups":     {"witness w " + key + "\ngroup g 1 w\ngroup h 1 w\nquorum h\n", 3},
		"member twice":             {"witness w " + key + "\ngroup g 1 w w\nquorum g\n", 2},
		"non-breaking space":       {"quorum\u00a0none\n", 1},
		"too large":                {"#" + strings.Repeat("#", maxBytes) + "\nquorum none\n", 0},
	} {
		p, err := Parse([]byte(c.text))
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || syntax.Line != c.line {
			t.Errorf("%s: %+v, %v; want an error in line %d", name, p, err, c.line)
		}
	}
	// What may stand there.
	for name, text := range map[string]string{
		"no log":          "quorum none\n",
		"Chinese names":   "witness 法院 " + key + "\ngroup 全部 all 法院\nquorum 全部\n",
		"Latin-1 comment": "# \xe9\n\t \nquorum none\n",
		"words as names":  "witness any " + key + "\ngroup all any any\nquorum all\n",
		"order":           "quorum none\nlog " + log + "\n",
	} {
		if _, err := Parse([]byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAsLargeAsAskedFor(t *testing.T) {
	var text strings.Builder
	names := make([]string, 32)
	for i := range names {
		names[i] = fmt.Sprintf("w%d", i)
		fmt.Fprintf(&text, "log %s\n", ring(t, fmt.Sprintf("log.example/%d", i), keys.Ed25519).VerifierKeys()[0])
		fmt.Fprintf(&text, "witness %s %s\n", names[i], ring(t, names[i], keys.Cosignature).VerifierKeys()[0])
		fmt.Fprintf(&text, "group g%d 1 %s\n", i, names[i])
	}
	text.WriteString("quorum g31\n")
	if p := parse(t, text.String()); len(p.Logs) != 32 || len(p.Witnesses) != 32 || len(p.Groups) != 32 {
		t.Errorf("%d logs, %d witnesses, %d groups; want 32 each", len(p.Logs), len(p.Witnesses), len(p.Groups))
	}
}

func FuzzParse(f *testing.F) {
	o := newOffice(f)
	f.Add([]byte(o.text("group two 2 court archive ombudsman\nquorum two")))
	f.Add([]byte("quorum none\n"))
	f.Add([]byte("group g all g\nquorum g\n"))
	msg := o.checkpoint(f, origin, 7, "court")
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Parse(text)
		if err != nil {
			return
		}
		if got, err := p.Check(msg); (err == nil) != got.Met {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	})
}
