// Package keys keeps the keys that a log, or a witness, signs with: it makes
// them, reads them, replaces them so that the old ones vouch for the new, and
// tells which are good for a checkpoint of some size.
//
// # The file
//
// All of one name's keys are in one file that only its owner may read. It is text,
// one item a line, and is written whole, to disk, before it takes the place of the
// one before it:
//
//	liuhen-keys/v1
//	name example.org/liuhen/210100/2026
//	first <verifier key>         the keys that this name began with: what others pin
//	secret PRIVATE+KEY+…         a key that signs today
//	rotation <base64 of a note>  how one set of keys was replaced by the next
//
// Secrets are never printed and never part of an error.
//
// # Replacing keys
//
// A rotation is a signed note that has the form of a checkpoint, so that every
// type of key can sign it, also ML-DSA-44, which signs nothing else. Its text is
//
//	<name>/keys                  an origin that no log here may have
//	<size>                       the size of the last checkpoint under the old keys
//	<base64 of a SHA-256>        over all that follows, newlines included
//	liuhen-key-rotation/v1
//	old <verifier key>           every key that signed until then, one a line
//	new <verifier key>           every key that signs from then on, one a line
//
// All the old keys sign it, which is what vouches for the new ones, and all the
// new ones, so that nobody can be given a key that they do not hold. The old keys
// are good for checkpoints up to that size, the new ones from that size on. A
// reader who pinned one of the first keys follows the rotations from there
// (Verifiers).
package keys

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"filippo.io/mldsa"
	formats "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"liuhen/transparency/sm"
)

// A Kind is an algorithm that a name signs with.
type Kind string

// The kinds of keys.
const (
	Ed25519     Kind = "ed25519"     // signed-note type 0x01: a log's first line
	MLDSA44     Kind = "ml-dsa-44"   // type 0x06: good against quantum computers; for logs and witnesses
	SM2         Kind = "sm2"         // type 0xff, package sm: the national algorithm
	Cosignature Kind = "cosignature" // type 0x04: Ed25519 with a time; for witnesses
)

// generate makes a key of a kind.
func generate(kind Kind, name string) (skey string, err error) {
	switch kind {
	case Ed25519:
		skey, _, err = note.GenerateKey(rand.Reader, name)
	case Cosignature:
		skey, err = generateCosignature(name)
	case MLDSA44:
		skey, _, err = formats.GenerateMLDSAKey(name)
	case SM2:
		skey, _, err = sm.GenerateKey(name)
	default:
		err = fmt.Errorf("unknown kind of key %q: want %s, %s, %s or %s", kind, Ed25519, MLDSA44, SM2, Cosignature)
	}
	if err != nil {
		return "", fmt.Errorf("make a key for %s: %w", name, err)
	}
	return skey, nil
}

func generateCosignature(name string) (string, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	id := sha256.Sum256(append([]byte(name+"\n\x04"), public...))
	return fmt.Sprintf("PRIVATE+KEY+%s+%x+%s", name, id[:4], base64.StdEncoding.EncodeToString(append([]byte{typeCosigned}, private.Seed()...))), nil
}

// A secret is one private key, with what others may know of it.
type secret struct {
	text   string // the private key; it leaves this package in the file only
	signer note.Signer
	vkey   string
	kind   Kind
}

// parseSecret reads a private key. Errors say nothing of its contents.
func parseSecret(text string) (secret, error) {
	rest, private := strings.CutPrefix(text, "PRIVATE+KEY+")
	name, _, key, err := splitKey(rest)
	if !private || err != nil {
		return secret{}, errors.New("not a private key: want PRIVATE+KEY+name+key ID+key")
	}
	s := secret{text: text}
	var public []byte
	switch key[0] {
	case typeEd25519:
		s.kind = Ed25519
		if len(key) == 1+ed25519.SeedSize {
			public = ed25519Public(key)
		}
		s.signer, err = note.NewSigner(text)
	case typeCosigned:
		s.kind = Cosignature
		if len(key) == 1+ed25519.SeedSize {
			public = ed25519Public(key)
		}
		s.signer, err = cosignatureSigner(text)
	case typeMLDSA44:
		s.kind = MLDSA44
		s.signer, err = cosignatureSigner(text)
		if err == nil {
			public, err = mldsaPublic(key)
		}
	case typeOther:
		s.kind = SM2
		signer, serr := sm.NewSigner(text)
		if serr == nil {
			s.signer, s.vkey = signer, signer.VerifierKey()
		}
		err = serr
	default:
		err = fmt.Errorf("signature type 0x%02x is not known here", key[0])
	}
	if err != nil {
		return secret{}, fmt.Errorf("private key of %s: %w", name, err)
	}
	if s.vkey == "" {
		s.vkey = fmt.Sprintf("%s+%08x+%s", name, s.signer.KeyHash(), base64.StdEncoding.EncodeToString(public))
	}
	// What is shown to others must be what verifies: tried, not believed.
	v, err := NewVerifier(s.vkey)
	if err != nil {
		return secret{}, fmt.Errorf("private key of %s: %w", name, err)
	}
	if v.Name() != s.signer.Name() || v.KeyHash() != s.signer.KeyHash() || !strings.HasPrefix(rest, fmt.Sprintf("%s+%08x+", name, v.KeyHash())) {
		return secret{}, fmt.Errorf("private key of %s: the key ID that stands in it is not that of the key", name)
	}
	return s, nil
}

func ed25519Public(key []byte) []byte {
	public := ed25519.NewKeyFromSeed(key[1:]).Public().(ed25519.PublicKey) //nolint:forcetypeassert // documented
	return append([]byte{key[0]}, public...)
}

// cosignatureSigner returns an error and not a typed nil.
func cosignatureSigner(skey string) (note.Signer, error) {
	s, err := formats.NewSignerForCosignatureV1(skey)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func mldsaPublic(key []byte) ([]byte, error) {
	private, err := mldsa.NewPrivateKey(mldsa.MLDSA44(), key[1:])
	if err != nil {
		return nil, err
	}
	return append([]byte{typeMLDSA44}, private.PublicKey().Bytes()...), nil
}
