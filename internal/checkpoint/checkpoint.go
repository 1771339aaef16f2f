// Package checkpoint reads the text of a transparency log's checkpoint
// (https://c2sp.org/tlog-checkpoint) as strictly as it is specified: what two
// readers could read differently is refused.
package checkpoint

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A Checkpoint is what a log says of itself: so many leaves, this root.
type Checkpoint struct {
	Origin     string    // the log's name, not empty
	Size       int64     // number of leaves, from 0
	Root       tlog.Hash // RFC 6962 root of the tree of that size
	Extensions []string  // further lines, none of them empty; nobody vouches for them
}

// Text returns the text that is signed: origin, size and root, one a line, then
// the further lines.
func (c Checkpoint) Text() string {
	lines := append([]string{c.Origin, strconv.FormatInt(c.Size, 10), c.Root.String()}, c.Extensions...)
	return strings.Join(lines, "\n") + "\n"
}

// Parse reads the text of a note as a checkpoint. Parse(t).Text() is t again.
func Parse(text string) (Checkpoint, error) {
	body, ended := strings.CutSuffix(text, "\n")
	lines := strings.Split(body, "\n")
	switch {
	case !ended:
		return Checkpoint{}, errors.New("checkpoint: the text does not end with a newline")
	case len(lines) < 3:
		return Checkpoint{}, fmt.Errorf("checkpoint: %d lines, want origin, size and root", len(lines))
	case lines[0] == "":
		return Checkpoint{}, errors.New("checkpoint: line 1: the origin is empty")
	}
	size, err := ParseSize(lines[1])
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint: line 2: %w", err)
	}
	root, err := ParseHash(lines[2])
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint: line 3: root: %w", err)
	}
	c := Checkpoint{Origin: lines[0], Size: size, Root: root}
	for i, line := range lines[3:] {
		if line == "" {
			return Checkpoint{}, fmt.Errorf("checkpoint: line %d is empty", i+4)
		}
		c.Extensions = append(c.Extensions, line)
	}
	return c, nil
}

// ParseSize reads the decimal size of a tree, without sign or leading zeroes.
func ParseSize(text string) (int64, error) {
	size, err := strconv.ParseInt(text, 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != text {
		return 0, fmt.Errorf("size %q: want a number from 0 to 2^63-1 without sign or leading zeroes", text)
	}
	return size, nil
}

// ParseHash reads a SHA-256 in base64, in its one proper spelling.
func ParseHash(text string) (h tlog.Hash, err error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != tlog.HashSize || base64.StdEncoding.EncodeToString(raw) != text {
		return h, fmt.Errorf("%q is not the base64 of a SHA-256", text)
	}
	return tlog.Hash(raw), nil
}

// Open reads a signed checkpoint. The signatures of known keys are verified, all
// of them: note.Open looks at a key's first signature only, and a line after it
// that does not verify would be carried on as if it did. Errors are those of
// note.Open, and of Parse.
func Open(msg []byte, known note.Verifiers) (Checkpoint, *note.Note, error) {
	n, err := note.Open(msg, known)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	for _, s := range Signatures(msg) {
		v, err := known.Verifier(s.Name, s.Hash)
		if err != nil {
			continue // unknown: none of our business
		}
		raw, err := base64.StdEncoding.Strict().DecodeString(s.Base64) // note.Open takes two spellings of one signature
		if err != nil || !v.Verify([]byte(n.Text), raw[4:]) {
			return Checkpoint{}, nil, &note.InvalidSignatureError{Name: s.Name, Hash: s.Hash}
		}
	}
	c, err := Parse(n.Text)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	return c, n, nil
}

// Peek reads a signed checkpoint without verifying any signature. What it says
// is to be trusted as far as whoever handed it over.
func Peek(msg []byte) (Checkpoint, error) {
	_, err := note.Open(msg, nil)
	var unverified *note.UnverifiedNoteError
	if !errors.As(err, &unverified) {
		return Checkpoint{}, fmt.Errorf("checkpoint: %w", err)
	}
	return Parse(unverified.Note.Text)
}

var signatureMark = []byte("— ")

// Signatures returns the signature lines of a note, as they stand there and
// unverified; lines that are none are left out.
func Signatures(msg []byte) (all []note.Signature) {
	split := bytes.LastIndex(msg, []byte("\n\n"))
	if split < 0 {
		return nil
	}
	for line := range bytes.Lines(msg[split+2:]) {
		if s, ok := parseSignature(line); ok {
			all = append(all, s)
		}
	}
	return all
}

func parseSignature(line []byte) (s note.Signature, ok bool) {
	rest, marked := bytes.CutPrefix(bytes.TrimSuffix(line, []byte("\n")), signatureMark)
	name, b64, spaced := bytes.Cut(rest, []byte(" "))
	raw, err := base64.StdEncoding.DecodeString(string(b64))
	if !marked || !spaced || err != nil || len(raw) < 5 {
		return s, false
	}
	return note.Signature{Name: string(name), Hash: binary.BigEndian.Uint32(raw), Base64: string(b64)}, true
}

// Line returns a signature as the line that stands in a note, with its newline.
func Line(s note.Signature) string { return "— " + s.Name + " " + s.Base64 + "\n" }

// ValidName reports whether a text may be the name of a key in a signed note: not
// empty, UTF-8, without spaces, plus signs and control characters.
func ValidName(name string) bool {
	return name != "" && utf8.ValidString(name) && !strings.Contains(name, "+") &&
		strings.IndexFunc(name, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) < 0
}
