package audit_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/minio/highwayhash"
)

// A block is a file of a stream as nats-server 2.15 writes it: records one after
// another, each with a checksum under a key that everybody knows. Who can write the
// file can make the checksum right again, which is why it proves nothing.
//
//	length 4 (top bit: has headers) | sequence 8 | time 8 | length of subject 2 |
//	subject | [length of headers 4 | headers] | payload | highwayhash-64 8
type block struct {
	path  string
	index int
	data  []byte
}

func readBlock(t testing.TB, o *office, index int) *block {
	t.Helper()
	b := &block{path: filepath.Join(o.dir, "nats/jetstream/$G/streams", testVolume, "msgs", fmt.Sprint(index, ".blk")), index: index}
	var err error
	if b.data, err = os.ReadFile(b.path); err != nil {
		t.Fatal(err)
	}
	return b
}

// record returns the bytes of a record in the block, which may be changed.
func (b *block) record(t testing.TB, seq uint64) []byte {
	t.Helper()
	for at := 0; at+22 <= len(b.data); {
		n := int(binary.LittleEndian.Uint32(b.data[at:]) &^ (1 << 31))
		if binary.LittleEndian.Uint64(b.data[at+4:]) == seq {
			return b.data[at : at+n]
		}
		at += n
	}
	t.Fatalf("%s has no record %d", b.path, seq)
	return nil
}

// payload is the part of a record that is ours.
func payload(rec []byte) []byte {
	at := 22 + int(binary.LittleEndian.Uint16(rec[20:]))
	if rec[3]&0x80 != 0 {
		at += 4 + int(binary.LittleEndian.Uint32(rec[at:]))
	}
	return rec[at : len(rec)-8]
}

// right makes the checksum of a record right again.
func (b *block) right(t testing.TB, rec []byte) {
	t.Helper()
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", testVolume, b.index))
	h, err := highwayhash.New64(key[:])
	if err != nil {
		t.Fatal(err)
	}
	slen := int(binary.LittleEndian.Uint16(rec[20:]))
	rest := rec[22+slen : len(rec)-8]
	if rec[3]&0x80 != 0 {
		rest = rest[4:]
	}
	h.Write(rec[4:20])
	h.Write(rec[22 : 22+slen])
	h.Write(rest)
	copy(rec[len(rec)-8:], h.Sum(nil))
}

func (b *block) write(t testing.TB) {
	t.Helper()
	if err := os.WriteFile(b.path, b.data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// replace writes other text of the same length into a record.
func replaceText(t testing.TB, rec []byte, old, new string) {
	t.Helper()
	p := payload(rec)
	at := bytes.Index(p, []byte(old))
	if at < 0 || len(old) != len(new) {
		t.Fatalf("%q is not in %s, or %q has another length", old, p, new)
	}
	copy(p[at:], new)
}
