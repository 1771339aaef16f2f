// Package sm has the national algorithms for sites that are bound to them
// (密码法 第二十七条; 商用密码管理条例): SM2 signatures (GB/T 32918.2-2016) as a line
// of a signed note, and SM3 digests (GB/T 32905-2016).
//
// # The signature line
//
// C2SP signed-note has no type for SM2, so the line is of the reserved type 0xff
// with a longer identifier. The bytes of a public key are
//
//	0xff || "liuhen/sm2-sm3/v1" || 0x04 || x || y
//
// with the 17 ASCII bytes of the identifier and the 65 bytes of the uncompressed
// point. Key ID and verifier key follow the rules of signed-note:
//
//	key ID = SHA-256(name || 0x0A || the bytes of the public key)[:4]
//	verifier key = name+hex(key ID)+base64(the bytes of the public key)
//
// The signature is the DER encoding of (r, s) after GM/T 0009, by SM2 with SM3
// over the text of the note as it stands, with the default user identifier
// "1234567812345678". So a stranger verifies it with common tools:
//
//	openssl pkeyutl -verify -pubin -inkey sm2.pem -rawin -digest sm3 \
//	    -pkeyopt distid:1234567812345678 -in text -sigfile sig
//
// A private key is written as signed-note's private keys are:
//
//	PRIVATE+KEY+name+hex(key ID)+base64(0xff || "liuhen/sm2-sm3/v1" || d)
//
// with the 32 bytes of d.
package sm

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"golang.org/x/mod/sumdb/note"

	"liuhen/internal/checkpoint"
)

// Prefix is what the bytes of a key begin with: the type 0xff of signed-note and
// the identifier of this one.
const Prefix = "\xff" + "liuhen/sm2-sm3/v1"

const (
	pointSize   = 65 // 0x04 || x || y
	privateSize = 32
)

// Sum returns the SM3 digest of data.
func Sum(data []byte) [32]byte { return sm3.Sum(data) }

// New returns a hash that computes SM3.
func New() hash.Hash { return sm3.New() }

// GenerateKey makes a key for a named signer. skey is private.
func GenerateKey(name string) (skey, vkey string, err error) {
	if !checkpoint.ValidName(name) {
		return "", "", fmt.Errorf("sm: key name %q: want a name without spaces and plus signs", name)
	}
	// A random number that is no private key is thrown away, which happens about
	// once in 2^32 times; so the others are evenly spread.
	d := make([]byte, privateSize)
	key := (*sm2.PrivateKey)(nil)
	for key == nil {
		if _, err := rand.Read(d); err != nil {
			return "", "", fmt.Errorf("sm: make a key: %w", err)
		}
		key, _ = sm2.NewPrivateKey(d)
	}
	public, err := publicBytes(&key.PublicKey)
	if err != nil {
		return "", "", fmt.Errorf("sm: make a key: %w", err)
	}
	id := keyID(name, public)
	skey = fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", name, id, base64.StdEncoding.EncodeToString(append([]byte(Prefix), d...)))
	return skey, vkeyText(name, id, public), nil
}

// A Signer signs notes with an SM2 key.
type Signer struct {
	key  *sm2.PrivateKey
	name string
	id   uint32
	vkey string
}

var _ note.Signer = (*Signer)(nil)

// Name is the key's name.
func (s *Signer) Name() string { return s.name }

// KeyHash is the key ID of signed-note.
func (s *Signer) KeyHash() uint32 { return s.id }

// Sign returns the DER signature of the text of a note.
func (s *Signer) Sign(msg []byte) ([]byte, error) {
	return s.key.Sign(rand.Reader, msg, sm2.DefaultSM2SignerOpts)
}

// VerifierKey returns the public key as text.
func (s *Signer) VerifierKey() string { return s.vkey }

// NewSigner reads a private key. Errors do not repeat it.
func NewSigner(skey string) (*Signer, error) {
	rest, private := strings.CutPrefix(skey, "PRIVATE+KEY+")
	name, id, key, err := split(rest)
	switch {
	case !private:
		return nil, errors.New("sm: a private key begins with PRIVATE+KEY+")
	case err != nil:
		return nil, fmt.Errorf("sm: private key: %w", err)
	case len(key) != privateSize:
		return nil, fmt.Errorf("sm: private key of %s: %d bytes, want %d", name, len(key), privateSize)
	}
	d, err := sm2.NewPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("sm: private key of %s: not a number from 1 to n-2", name)
	}
	public, err := publicBytes(&d.PublicKey)
	if err != nil || id != keyID(name, public) {
		return nil, fmt.Errorf("sm: private key of %s: the key ID %08x is not that of the key", name, id)
	}
	return &Signer{key: d, name: name, id: id, vkey: vkeyText(name, id, public)}, nil
}

type verifier struct {
	key  *ecdsa.PublicKey
	name string
	id   uint32
}

func (v *verifier) Name() string    { return v.name }
func (v *verifier) KeyHash() uint32 { return v.id }

func (v *verifier) Verify(msg, sig []byte) bool {
	return sm2.VerifyASN1WithSM2(v.key, nil, msg, sig)
}

// NewVerifier reads a verifier key.
func NewVerifier(vkey string) (note.Verifier, error) {
	name, id, key, err := split(vkey)
	if err != nil {
		return nil, fmt.Errorf("sm: verifier key: %w", err)
	}
	if len(key) != pointSize {
		return nil, fmt.Errorf("sm: verifier key of %s: %d bytes, want a point of %d", name, len(key), pointSize)
	}
	public, err := sm2.NewPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("sm: verifier key of %s: not a point of the curve", name)
	}
	if id != keyID(name, append([]byte(Prefix), key...)) {
		return nil, fmt.Errorf("sm: verifier key of %s: the key ID %08x is not that of the key", name, id)
	}
	return &verifier{key: public, name: name, id: id}, nil
}

// split takes name+id+base64 apart; key is what follows Prefix.
func split(text string) (name string, id uint32, key []byte, err error) {
	name, rest, _ := strings.Cut(text, "+")
	hex, b64, _ := strings.Cut(rest, "+")
	number, err := strconv.ParseUint(hex, 16, 32)
	if err != nil || len(hex) != 8 || !checkpoint.ValidName(name) {
		return "", 0, nil, errors.New("want name+key ID+key")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(b64)
	if err != nil {
		return "", 0, nil, fmt.Errorf("%s: the key is not base64", name)
	}
	material, ours := strings.CutPrefix(string(raw), Prefix)
	if !ours {
		return "", 0, nil, fmt.Errorf("%s: not a key of type 0xff %s", name, Prefix[1:])
	}
	return name, uint32(number), []byte(material), nil
}

// publicBytes are the bytes of a public key as they stand in a verifier key.
func publicBytes(key *ecdsa.PublicKey) ([]byte, error) {
	point, err := sm2.PublicKeyToECDH(key)
	if err != nil {
		return nil, err
	}
	return append([]byte(Prefix), point.Bytes()...), nil
}

func keyID(name string, public []byte) uint32 {
	sum := sha256.Sum256(append([]byte(name+"\n"), public...))
	return binary.BigEndian.Uint32(sum[:])
}

func vkeyText(name string, id uint32, public []byte) string {
	return fmt.Sprintf("%s+%08x+%s", name, id, base64.StdEncoding.EncodeToString(public))
}
