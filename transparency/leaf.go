// Package transparency keeps a log of proofs beside the record: a Merkle tree
// with one leaf a record, whose root is signed, so that a stranger can check
// with a record, a proof and a public key that the record is in the log, that the
// log only ever grew, and that nothing of a case was left out.
//
// The tree is that of RFC 6962, served as tiles (C2SP tlog-tiles); its root is
// signed as a checkpoint (C2SP tlog-checkpoint). Leaf i is the record at position
// i+1. Tiles follow from the record alone: every process makes its own and
// compares the signed roots of the others with it. What cannot be made anew, the
// signed checkpoints, is kept in a stream of its own (History) by compare-and-swap.
package transparency

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"liuhen/eventstore"
	"liuhen/transparency/heads"
	"liuhen/transparency/sm"
)

// A Leaf is what the log says of one record. It has digests only: it tells
// nobody whose case it is, nor which procedure.
type Leaf struct {
	Volume   string    // of the record
	Position uint64    // of the record, from 1
	StoredAt time.Time // by the clock of the store
	Digest   heads.Hash
	More     []Digest // by further algorithms, in the order of the log's settings
	// Heads is the hash of the heads of all streams (package heads) with this
	// record taken in: who knows it can be shown that a case has no more records
	// than these.
	Heads heads.Hash
}

// A Digest is a further digest of a record's bytes.
type Digest struct {
	Algorithm string // "sm3"
	Hex       string
}

// leafVersion is the first line of every leaf.
const leafVersion = "liuhen/leaf/v1"

// Text is the leaf, byte for byte: lines of UTF-8, each ended by a line feed.
//
//	liuhen/leaf/v1
//	<volume>
//	<position, decimal>
//	<time at which it was stored, RFC 3339 in UTC with as many decimals as it has>
//	sha256 <SHA-256 of the stored bytes, hex>
//	<further digests of the stored bytes: algorithm, space, hex; one a line>
//	heads <hash of all heads, hex>
//
// Its hash in the tree is SHA-256(0x00 ‖ text), after RFC 6962, section 2.1.
func (l Leaf) Text() []byte {
	b := make([]byte, 0, 256)
	b = append(b, leafVersion+"\n"...)
	b = append(append(b, l.Volume...), '\n')
	b = append(strconv.AppendUint(b, l.Position, 10), '\n')
	b = append(l.StoredAt.UTC().AppendFormat(b, time.RFC3339Nano), '\n')
	b = append(hex.AppendEncode(append(b, "sha256 "...), l.Digest[:]), '\n')
	for _, d := range l.More {
		b = append(append(append(append(b, d.Algorithm...), ' '), d.Hex...), '\n')
	}
	return append(hex.AppendEncode(append(b, "heads "...), l.Heads[:]), '\n')
}

// Hash is the leaf's hash in the tree.
func (l Leaf) Hash() tlog.Hash { return tlog.RecordHash(l.Text()) }

// ErrLeaf says that a text is no leaf.
var ErrLeaf = errors.New("not a leaf of liuhen")

// ParseLeaf reads the text of a leaf. Only what Text makes is taken.
func ParseLeaf(text []byte) (Leaf, error) {
	lines := strings.Split(string(text), "\n")
	if len(lines) < 7 || lines[0] != leafVersion || lines[len(lines)-1] != "" {
		return Leaf{}, fmt.Errorf("%w: expected the lines %s, volume, position, time, digests, heads", ErrLeaf, leafVersion)
	}
	l := Leaf{Volume: lines[1]}
	var err error
	if l.Position, err = strconv.ParseUint(lines[2], 10, 63); err != nil {
		return Leaf{}, fmt.Errorf("%w: position: %w", ErrLeaf, err)
	}
	if l.StoredAt, err = time.Parse(time.RFC3339Nano, lines[3]); err != nil {
		return Leaf{}, fmt.Errorf("%w: time: %w", ErrLeaf, err)
	}
	for i, line := range lines[4 : len(lines)-1] {
		name, value, _ := strings.Cut(line, " ")
		switch {
		case i == 0:
			err = hashFrom(&l.Digest, name, "sha256", value)
		case i == len(lines)-6:
			err = hashFrom(&l.Heads, name, "heads", value)
		default:
			l.More = append(l.More, Digest{name, value})
		}
		if err != nil {
			return Leaf{}, fmt.Errorf("%w: line %d: %w", ErrLeaf, i+5, err)
		}
	}
	if !bytes.Equal(l.Text(), text) {
		return Leaf{}, fmt.Errorf("%w: it is written otherwise than leaves are", ErrLeaf)
	}
	return l, nil
}

func hashFrom(into *heads.Hash, name, want, value string) error {
	if name != want {
		return fmt.Errorf("%q, want %s", name, want)
	}
	raw, err := hex.DecodeString(value)
	if err != nil || len(raw) != len(into) {
		return fmt.Errorf("%s: %q is not 64 hex digits", want, value)
	}
	copy(into[:], raw)
	return nil
}

// Fits says whether a leaf is that of a record, as far as a record tells: all but
// Heads, which rests on all records before it.
func (l Leaf) Fits(r eventstore.Record) error {
	if l.Position != uint64(r.Position) {
		return fmt.Errorf("the leaf is that of position %d, the record stands at %d", l.Position, r.Position)
	}
	if err := l.Holds(r.Data); err != nil {
		return err
	}
	if !l.StoredAt.Equal(r.At) {
		return fmt.Errorf("the record at position %d is said to have been stored at %s, the log knows %s",
			r.Position, r.At.UTC().Format(time.RFC3339Nano), l.StoredAt.Format(time.RFC3339Nano))
	}
	return nil
}

// Holds says whether a leaf is that of a record with these bytes: by each of its
// digests.
func (l Leaf) Holds(data []byte) error {
	if l.Digest != sha256.Sum256(data) {
		return fmt.Errorf("the record at position %d has other bytes than the log knows", l.Position)
	}
	for _, d := range l.More {
		algorithm, ok := furtherDigests[d.Algorithm]
		if !ok {
			return fmt.Errorf("the leaf of position %d has a digest by %q, which is not known here", l.Position, d.Algorithm)
		}
		if d.Hex != algorithm(data) {
			return fmt.Errorf("the record at position %d has another %s than the log knows", l.Position, d.Algorithm)
		}
	}
	return nil
}

// furtherDigests are the algorithms that a log may be begun with beside SHA-256.
var furtherDigests = map[string]func(data []byte) string{
	"sm3": func(data []byte) string { return fmt.Sprintf("%x", sm.Sum(data)) }, // GB/T 32905
}
