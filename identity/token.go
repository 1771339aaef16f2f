package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"hash/crc32"
	"strings"
)

// tokenPrefix begins every token, so that people and scanners of leaked
// secrets know one when they see it.
const tokenPrefix = "lh_"

var letters = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// newToken makes a token: the prefix and, in base 32, 32 random bytes with
// their CRC-32. The check sum keeps nothing secret; it tells a mistyped token
// from an unknown one without asking the database.
func newToken() string {
	var b [36]byte
	_, _ = rand.Read(b[:32]) // never fails: crypto/rand
	binary.BigEndian.PutUint32(b[32:], crc32.ChecksumIEEE(b[:32]))
	return tokenPrefix + letters.EncodeToString(b[:])
}

// digestOf returns what is kept of a token, and false where the text cannot
// be one.
func digestOf(token string) ([sha256.Size]byte, bool) {
	rest, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok || len(rest) != letters.EncodedLen(36) {
		return [sha256.Size]byte{}, false
	}
	b, err := letters.DecodeString(rest) // passes over line ends
	if err != nil || len(b) != 36 || crc32.ChecksumIEEE(b[:32]) != binary.BigEndian.Uint32(b[32:]) {
		return [sha256.Size]byte{}, false
	}
	return sha256.Sum256([]byte(token)), true
}

// newID makes the id of a token: 80 random bits.
func newID() string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	return letters.EncodeToString(b[:])
}
