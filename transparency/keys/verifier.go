package keys

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	formats "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"liuhen/internal/checkpoint"
	"liuhen/transparency/sm"
)

// Types of signature (https://c2sp.org/signed-note): the first byte of a key.
const (
	typeEd25519  = 0x01
	typeCosigned = 0x04 // Ed25519 cosignature/v1, with a time
	typeMLDSA44  = 0x06 // ML-DSA-44 cosignature, with a time
	typeOther    = 0xff
)

// NewVerifier reads a verifier key of any kind that is known here: Ed25519 (type
// 0x01), cosignatures by Ed25519 (0x04) and ML-DSA-44 (0x06), SM2 (0xff, package
// sm). The key ID must be that of the key.
func NewVerifier(vkey string) (note.Verifier, error) {
	name, id, key, err := splitKey(vkey)
	if err != nil {
		return nil, err
	}
	v, err := newVerifier(vkey, key[0])
	if err != nil {
		return nil, fmt.Errorf("verifier key of %s: %w", name, err)
	}
	// Not every reader below compares what it was told with what it computed.
	if v.KeyHash() != id || v.Name() != name {
		return nil, fmt.Errorf("verifier key of %s: the key ID is %08x, that of the key is %08x: was it cut or mistyped?", name, id, v.KeyHash())
	}
	return v, nil
}

func newVerifier(vkey string, kind byte) (note.Verifier, error) {
	switch kind {
	case typeEd25519:
		return note.NewVerifier(vkey)
	case typeCosigned, typeMLDSA44:
		v, err := formats.NewVerifierForCosignatureV1(vkey)
		if err != nil {
			return nil, err
		}
		return cosigner{v}, nil
	case typeOther:
		return sm.NewVerifier(vkey)
	default:
		return nil, fmt.Errorf("signature type 0x%02x is not known here (0x01 Ed25519, 0x04 and 0x06 cosignatures, 0xff SM2 are)", kind)
	}
}

// A cosigner turns back times that no clock shows: tlog-cosignature has them end
// at 2^63-1, and the package below does not look.
type cosigner struct{ note.Verifier }

func (c cosigner) Verify(msg, sig []byte) bool {
	return len(sig) >= 8 && sig[0] < 0x80 && c.Verifier.Verify(msg, sig)
}

// IsCosigner reports whether a verifier key is of a type that witnesses sign
// with: a signature with a time.
func IsCosigner(vkey string) bool {
	_, _, key, err := splitKey(vkey)
	return err == nil && (key[0] == typeCosigned || key[0] == typeMLDSA44)
}

// Public returns what a verifier key wraps: the type and the public key. Two
// verifier keys with different names may wrap the same one.
func Public(vkey string) ([]byte, error) {
	_, _, key, err := splitKey(vkey)
	return key, err
}

// splitKey takes a verifier key apart; key begins with the type.
func splitKey(vkey string) (name string, id uint32, key []byte, err error) {
	name, rest, _ := strings.Cut(vkey, "+")
	hex, b64, _ := strings.Cut(rest, "+")
	number, err := strconv.ParseUint(hex, 16, 32)
	if err != nil || len(hex) != 8 || !checkpoint.ValidName(name) {
		return "", 0, nil, fmt.Errorf("verifier key %.80q: want name+key ID in 8 hexadecimal digits+key in base64", vkey)
	}
	key, err = base64.StdEncoding.Strict().DecodeString(b64)
	if err != nil || len(key) < 2 {
		return "", 0, nil, fmt.Errorf("verifier key of %s: what follows the second + is not the base64 of a key", name)
	}
	return name, uint32(number), key, nil
}

// CosignedAt returns the time in a cosignature, by the cosigner's clock: seconds
// since 1970 in its first eight bytes. It is zero where the cosigner states none.
func CosignedAt(s note.Signature) time.Time {
	raw, err := base64.StdEncoding.DecodeString(s.Base64)
	if err != nil || len(raw) < 12 {
		return time.Time{}
	}
	seconds := binary.BigEndian.Uint64(raw[4:12]) // behind the key ID
	if seconds == 0 || seconds > math.MaxInt64 {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}
