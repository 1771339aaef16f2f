// Package heads keeps the head of every stream of a volume, which is how many
// records a stream has and the digest of the last one, under one hash. A short
// proof shows a stream's head under that hash, or that there is no such stream,
// and so that a reader who holds so many records holds all of them.
//
// It is a binary Merkle trie over SHA-256(name), with chains of single children
// left out, so that its depth is about the logarithm of its size. A hash stands
// for one set of heads only, in whatever order they came to be. All hashes are
// SHA-256:
//
//	key  = SHA-256(name)
//	leaf = SHA-256(0x00 ‖ key ‖ count, 8 bytes, big-endian ‖ digest)
//	node = SHA-256(0x01 ‖ bit, 2 bytes, big-endian ‖ left ‖ right)
//
// where bit, 0 to 255 from the most significant one of the first byte, is the
// first in which the keys below a node differ: those with 0 are left of it. The
// hash of no heads is all zeroes.
package heads

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/bits"
)

// Hash is a SHA-256; as text it is 64 hex digits in lower case.
type Hash [sha256.Size]byte

// MarshalText writes it in hex.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText reads what MarshalText writes, and nothing else.
func (h *Hash) UnmarshalText(text []byte) error {
	var got Hash
	if len(text) != hex.EncodedLen(len(h)) || bytes.ContainsAny(text, "ABCDEF") {
		return fmt.Errorf("%q is not a SHA-256: want 64 hex digits in lower case", text)
	}
	if _, err := hex.Decode(got[:], text); err != nil {
		return fmt.Errorf("%q is not a SHA-256: %w", text, err)
	}
	*h = got
	return nil
}

// A Head is the end of a stream: how many records it has, and the SHA-256 of the
// last one's bytes. The zero Head is that of no stream.
type Head struct {
	Count  uint64 `json:"count"`
	Digest Hash   `json:"digest"`
}

// Key is where a stream of that name stands.
func Key(name string) Hash { return sha256.Sum256([]byte(name)) }

// A Map has the heads of all streams. Its methods are not safe for concurrent use.
// One stream takes about 120 bytes, and a change about as many hashes as the
// logarithm of the number of streams.
type Map struct {
	leaves []leaf
	nodes  []node
	root   int32 // as in node.child; meaningless without leaves
	path   []int32
}

type leaf struct {
	key Hash
	Head
}

// node has two children: c ≥ 0 is nodes[c], c < 0 is leaves[^c].
type node struct {
	hash  Hash
	child [2]int32
	bit   uint16
}

// Len is the number of streams.
func (m *Map) Len() int { return len(m.leaves) }

// Root is the hash of all heads.
func (m *Map) Root() Hash {
	if len(m.leaves) == 0 {
		return Hash{}
	}
	return m.hash(m.root)
}

func (m *Map) hash(c int32) Hash {
	if c >= 0 {
		return m.nodes[c].hash
	}
	l := &m.leaves[^c]
	return leafHash(l.key, l.Head)
}

func leafHash(key Hash, h Head) Hash {
	var b [1 + 32 + 8 + 32]byte
	copy(b[1:], key[:])
	binary.BigEndian.PutUint64(b[33:], h.Count)
	copy(b[41:], h.Digest[:])
	return sha256.Sum256(b[:])
}

func nodeHash(bit uint16, left, right Hash) Hash {
	var b [1 + 2 + 64]byte
	b[0] = 1
	binary.BigEndian.PutUint16(b[1:], bit)
	copy(b[3:], left[:])
	copy(b[35:], right[:])
	return sha256.Sum256(b[:])
}

// at is a bit of a key, 0 or 1.
func at(key Hash, bit uint16) int { return int(key[bit>>3]>>(7-bit&7)) & 1 }

// differs is the first bit in which two keys differ; 256 if they are the same.
func differs(a, b Hash) uint16 {
	for i := range a {
		if x := a[i] ^ b[i]; x != 0 {
			return uint16(i*8 + bits.LeadingZeros8(x))
		}
	}
	return 256
}

// walk follows a key down to the one leaf where it could be; there must be one. m.path then has the
// nodes on the way.
func (m *Map) walk(key Hash) *leaf {
	m.path = m.path[:0]
	c := m.root
	for c >= 0 {
		m.path = append(m.path, c)
		c = m.nodes[c].child[at(key, m.nodes[c].bit)]
	}
	return &m.leaves[^c]
}

// Head is the head of a stream; zero if there is none.
func (m *Map) Head(name string) Head {
	if len(m.leaves) == 0 {
		return Head{}
	}
	key := Key(name)
	if l := m.walk(key); l.key == key {
		return l.Head
	}
	return Head{}
}

// Add takes in the next record of a stream by the digest of its bytes.
func (m *Map) Add(name string, digest Hash) { m.Next(Key(name), digest) }

// Next is Add by the key of a name, and returns the head before.
func (m *Map) Next(key, digest Hash) (before Head) {
	if len(m.leaves) == 0 {
		m.leaves, m.root = append(m.leaves, leaf{key, Head{1, digest}}), ^0
		return Head{}
	}
	l := m.walk(key)
	if l.key == key {
		before = l.Head
		l.Count, l.Digest = l.Count+1, digest
	} else {
		m.insert(leaf{key, Head{1, digest}}, differs(key, l.key))
	}
	m.rehashPath()
	return before
}

// Put replaces the head of a stream that is there, by the key of its name: for
// whoever knows better than the records.
func (m *Map) Put(key Hash, h Head) {
	if len(m.leaves) == 0 {
		return
	}
	if l := m.walk(key); l.key == key {
		l.Head = h
		m.rehashPath()
	}
}

func (m *Map) rehashPath() {
	for i := len(m.path) - 1; i >= 0; i-- {
		m.rehash(m.path[i])
	}
}

func (m *Map) rehash(c int32) {
	n := &m.nodes[c]
	n.hash = nodeHash(n.bit, m.hash(n.child[0]), m.hash(n.child[1]))
}

// insert puts a leaf, and a node for the bit in which it differs, into the path
// of its key, and cuts the path to the nodes above and with the new one.
func (m *Map) insert(l leaf, bit uint16) {
	depth := 0
	for depth < len(m.path) && m.nodes[m.path[depth]].bit < bit {
		depth++
	}
	into := &m.root
	if depth > 0 {
		above := &m.nodes[m.path[depth-1]]
		into = &above.child[at(l.key, above.bit)]
	}
	n, side := node{bit: bit}, at(l.key, bit)
	n.child[side], n.child[1-side] = ^int32(len(m.leaves)), *into
	*into = int32(len(m.nodes))
	m.path = append(m.path[:depth], int32(len(m.nodes)))
	m.leaves, m.nodes = append(m.leaves, l), append(m.nodes, n)
}

// A Proof shows what a Map has for a name.
type Proof struct {
	Steps []Step `json:"steps"` // from the root down
	// Other is the leaf that stands where the name would have to stand, in the
	// proof that there is none; nil if there is one, or no stream at all.
	Other *Other `json:"other,omitempty"`
}

// A Step is one node on the way down.
type Step struct {
	Bit     uint16 `json:"bit"`
	Sibling Hash   `json:"sibling"` // the child that the way does not go to
}

// Other is the head of another stream, of which nothing is told but its key.
type Other struct {
	Key Hash `json:"key"`
	Head
}

// Prove proves the head of a stream, or that there is none.
func (m *Map) Prove(name string) (Head, Proof) {
	if len(m.leaves) == 0 {
		return Head{}, Proof{}
	}
	key := Key(name)
	l := m.walk(key)
	p := Proof{Steps: make([]Step, len(m.path))}
	for i, c := range m.path {
		n := &m.nodes[c]
		p.Steps[i] = Step{n.bit, m.hash(n.child[1-at(key, n.bit)])}
	}
	if l.key != key {
		p.Other = &Other{l.key, l.Head}
		return Head{}, p
	}
	return l.Head, p
}

// ErrNotProven says that a proof does not show what it should.
var ErrNotProven = errors.New("not proven")

// Verify checks a proof of a stream's head under a root. The zero Head is the
// claim that there is no such stream. Every other error is ErrNotProven.
func Verify(root Hash, name string, h Head, p Proof) error {
	key := Key(name)
	var under Hash
	switch {
	case h.Count == 0 && h != Head{}:
		return fmt.Errorf("%w: a stream without records has no digest", ErrNotProven)
	case h.Count > 0 && p.Other != nil:
		return fmt.Errorf("%w: the proof is that of a stream that is not there", ErrNotProven)
	case h.Count > 0:
		under = leafHash(key, h)
	case p.Other == nil:
		if len(p.Steps) > 0 || root != (Hash{}) {
			return fmt.Errorf("%w: nothing stands where the stream would be", ErrNotProven)
		}
		return nil
	case p.Other.Key == key || p.Other.Count == 0:
		return fmt.Errorf("%w: the stream is there", ErrNotProven)
	default:
		under = leafHash(p.Other.Key, p.Other.Head)
	}
	for i := len(p.Steps) - 1; i >= 0; i-- {
		s := p.Steps[i]
		below := uint16(256)
		if i < len(p.Steps)-1 {
			below = p.Steps[i+1].Bit
		}
		switch {
		case s.Bit >= below:
			return fmt.Errorf("%w: step %d looks at bit %d, the one below it at %d", ErrNotProven, i, s.Bit, below)
		case p.Other != nil && at(p.Other.Key, s.Bit) != at(key, s.Bit):
			return fmt.Errorf("%w: the other stream stands elsewhere", ErrNotProven)
		case at(key, s.Bit) == 0:
			under = nodeHash(s.Bit, under, s.Sibling)
		default:
			under = nodeHash(s.Bit, s.Sibling, under)
		}
	}
	if under != root {
		return fmt.Errorf("%w: the proof leads to %x, not to %x", ErrNotProven, under[:8], root[:8])
	}
	return nil
}

// Write writes the heads so that Read finds them again: 72 bytes a stream.
func (m *Map) Write(w io.Writer) error {
	var b [72]byte
	for i := range m.leaves {
		l := &m.leaves[i]
		copy(b[:], l.key[:])
		binary.BigEndian.PutUint64(b[32:], l.Count)
		copy(b[40:], l.Digest[:])
		if _, err := w.Write(b[:]); err != nil {
			return err
		}
	}
	return nil
}

// Read reads what Write has written, to its end. It is no proof of anything: who
// reads compares the Root.
func Read(r io.Reader) (*Map, error) {
	m := &Map{}
	var b [72]byte
	for {
		switch _, err := io.ReadFull(r, b[:]); {
		case errors.Is(err, io.EOF):
			m.rehashAll()
			return m, nil
		case err != nil:
			return nil, fmt.Errorf("heads: after %d streams: %w", len(m.leaves), err)
		}
		l := leaf{key: Hash(b[:32]), Head: Head{binary.BigEndian.Uint64(b[32:]), Hash(b[40:])}}
		if l.Count == 0 {
			return nil, fmt.Errorf("heads: stream %d has no records", len(m.leaves))
		}
		if len(m.leaves) == 0 {
			m.leaves, m.root = append(m.leaves, l), ^0
			continue
		}
		other := m.walk(l.key)
		if other.key == l.key {
			return nil, fmt.Errorf("heads: stream %d stands there twice", len(m.leaves))
		}
		m.insert(l, differs(l.key, other.key))
	}
}

// rehashAll computes every node once, children first.
func (m *Map) rehashAll() {
	if len(m.leaves) < 2 {
		return
	}
	todo := []int32{m.root}
	for i := 0; i < len(todo); i++ { // parents before children
		for _, c := range m.nodes[todo[i]].child {
			if c >= 0 {
				todo = append(todo, c)
			}
		}
	}
	for i := len(todo) - 1; i >= 0; i-- {
		m.rehash(todo[i])
	}
}
