package keys

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"liuhen/internal/checkpoint"
)

const rotationHeader = "liuhen-key-rotation/v1"

// A Rotation is what a rotation says. Whether it is true only its signatures tell:
// see Verifiers.
type Rotation struct {
	Name string   `json:"name"` // whose keys are replaced
	Size int64    `json:"size"` // of the last checkpoint under the old keys
	Old  []string `json:"old"`  // verifier keys
	New  []string `json:"new"`
}

// text is what is signed; the package's comment tells its form.
func (r Rotation) text() string {
	lines := []string{rotationHeader}
	for _, k := range r.Old {
		lines = append(lines, "old "+k)
	}
	for _, k := range r.New {
		lines = append(lines, "new "+k)
	}
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n") + "\n"))
	return checkpoint.Checkpoint{Origin: r.Name + rotationSuffix, Size: r.Size, Root: tlog.Hash(sum), Extensions: lines}.Text()
}

func signRotation(name string, size int64, old, next []secret) ([]byte, error) {
	r := Rotation{Name: name, Size: size}
	var signers []note.Signer
	for _, s := range old {
		r.Old = append(r.Old, s.vkey)
		signers = append(signers, s.signer)
	}
	for _, s := range next {
		r.New = append(r.New, s.vkey)
		signers = append(signers, s.signer)
	}
	if size < 0 {
		return nil, fmt.Errorf("replace the keys at size %d: want the size of a checkpoint", size)
	}
	return note.Sign(&note.Note{Text: r.text()}, signers...)
}

// ParseRotation reads a rotation without believing it.
func ParseRotation(msg []byte) (Rotation, error) {
	c, err := checkpoint.Peek(msg)
	if err != nil {
		return Rotation{}, fmt.Errorf("rotation: %w", err)
	}
	name, suffixed := strings.CutSuffix(c.Origin, rotationSuffix)
	if !suffixed || len(c.Extensions) == 0 || c.Extensions[0] != rotationHeader {
		return Rotation{}, fmt.Errorf("rotation: %q is no replacement of keys: want an origin that ends in %s, and %s in line 4", c.Origin, rotationSuffix, rotationHeader)
	}
	r := Rotation{Name: name, Size: c.Size}
	for i, line := range c.Extensions[1:] {
		item, vkey, _ := strings.Cut(line, " ")
		switch {
		case item == "old" && r.New == nil:
			r.Old = append(r.Old, vkey)
		case item == "new":
			r.New = append(r.New, vkey)
		default:
			return Rotation{}, fmt.Errorf("rotation of %s: line %d: want the old keys, then the new ones", name, i+5)
		}
		if _, err := NewVerifier(vkey); err != nil {
			return Rotation{}, fmt.Errorf("rotation of %s: line %d: %w", name, i+5, err)
		}
		if of, _, _ := strings.Cut(vkey, "+"); of != name {
			return Rotation{}, fmt.Errorf("rotation of %s: line %d: a key of %s", name, i+5, of)
		}
	}
	if len(r.Old) == 0 || len(r.New) == 0 {
		return Rotation{}, fmt.Errorf("rotation of %s: it lacks old or new keys", name)
	}
	if r.text() != c.Text() {
		return Rotation{}, fmt.Errorf("rotation of %s: the digest in line 3 is not that of the lines below it", name)
	}
	return r, nil
}

// A span is the sizes of checkpoints that keys are good for, both included.
type span struct{ from, to int64 }

func (s span) holds(size int64) bool { return s.from <= size && size <= s.to }

// A Chain is the keys of a log, each with the sizes that it is good for. It is a
// note.Verifiers for checkpoints: a signature by a key that was not good for the
// checkpoint's size does not verify.
type Chain struct {
	name string
	keys []chainKey
}

type chainKey struct {
	vkey     string
	verifier note.Verifier
	good     span
}

var _ note.Verifiers = (*Chain)(nil)

// Verifiers follows the rotations of a log from a key that is known to be its
// own, by other ways than from the log. The rotations may come from anywhere and
// must be in order; each must be signed by all the keys that it replaces, those
// that were known as good among them, and by all that it brings in. Those from before the pinned key are passed over:
// a key that is pinned needs nobody to vouch for it.
func Verifiers(pinned string, rotations [][]byte) (*Chain, error) {
	for len(rotations) > 0 {
		r, err := ParseRotation(rotations[0])
		if err != nil {
			return nil, err
		}
		if slices.Contains(r.Old, pinned) {
			break
		}
		rotations = rotations[1:]
	}
	return follow([]string{pinned}, rotations)
}

func follow(pinned []string, rotations [][]byte) (*Chain, error) {
	c := &Chain{}
	for _, vkey := range pinned {
		if err := c.add(vkey, span{0, math.MaxInt64}); err != nil {
			return nil, err
		}
	}
	if len(c.keys) == 0 {
		return nil, errors.New("no key is pinned")
	}
	c.name = c.keys[0].verifier.Name()
	for i, msg := range rotations {
		if err := c.rotate(msg); err != nil {
			return nil, fmt.Errorf("rotation %d of the keys of %s: %w", i+1, c.name, err)
		}
	}
	return c, nil
}

func (c *Chain) add(vkey string, good span) error {
	v, err := NewVerifier(vkey)
	if err != nil {
		return err
	}
	for _, k := range c.keys {
		if k.verifier.Name() == v.Name() && k.verifier.KeyHash() == v.KeyHash() {
			return fmt.Errorf("key %s+%08x comes in twice", v.Name(), v.KeyHash())
		}
	}
	c.keys = append(c.keys, chainKey{vkey: vkey, verifier: v, good: good})
	return nil
}

// rotate verifies a rotation against the newest keys and takes it in.
func (c *Chain) rotate(msg []byte) error {
	r, err := ParseRotation(msg)
	if err != nil {
		return err
	}
	if r.Name != c.name {
		return fmt.Errorf("it is about the keys of %s", r.Name)
	}
	newest := c.Newest()
	if !slices.ContainsFunc(r.Old, func(vkey string) bool { return slices.Contains(newest, vkey) }) {
		return errors.New("none of the keys that it replaces is one that was good until then: rotations are missing or out of order, or this one is forged")
	}
	var all []note.Verifier
	for _, vkey := range slices.Concat(r.Old, r.New) {
		v, err := NewVerifier(vkey)
		if err != nil {
			return err
		}
		all = append(all, v)
	}
	_, n, err := checkpoint.Open(msg, note.VerifierList(all...))
	if err != nil {
		return err
	}
	if len(n.Sigs) != len(all) {
		return fmt.Errorf("%d of %d keys signed it; every old and every new one must", len(n.Sigs), len(all))
	}
	return c.take(r, newest)
}

// take ends the old keys at the rotation's size and begins the new ones there.
// Old keys that were not known until now, because another of their set was
// pinned, are known from here on.
func (c *Chain) take(r Rotation, newest []string) error {
	from := int64(0)
	for i, k := range c.keys {
		if !slices.Contains(newest, k.vkey) {
			continue
		}
		if from = k.good.from; r.Size < from {
			return fmt.Errorf("it replaces at size %d keys that are good from size %d on", r.Size, from)
		}
		if !slices.Contains(r.Old, k.vkey) {
			return fmt.Errorf("it does not name key %s+%08x, which was good until then, among the old ones", k.verifier.Name(), k.verifier.KeyHash())
		}
		c.keys[i].good.to = r.Size
	}
	for _, vkey := range r.Old {
		if !slices.Contains(newest, vkey) {
			if err := c.add(vkey, span{from, r.Size}); err != nil {
				return err
			}
		}
	}
	for _, vkey := range r.New {
		if err := c.add(vkey, span{r.Size, math.MaxInt64}); err != nil {
			return err
		}
	}
	return nil
}

// Name is the name of the log whose keys they are.
func (c *Chain) Name() string { return c.name }

// Newest returns the verifier keys that are good today.
func (c *Chain) Newest() (vkeys []string) {
	for _, k := range c.keys {
		if k.good.to == math.MaxInt64 {
			vkeys = append(vkeys, k.vkey)
		}
	}
	return vkeys
}

// At returns the verifier keys that are good for a checkpoint of a size.
func (c *Chain) At(size int64) (vkeys []string) {
	for _, k := range c.keys {
		if k.good.holds(size) {
			vkeys = append(vkeys, k.vkey)
		}
	}
	return vkeys
}

// All returns every verifier key, the oldest first.
func (c *Chain) All() (vkeys []string) {
	for _, k := range c.keys {
		vkeys = append(vkeys, k.vkey)
	}
	return vkeys
}

// Verifier finds a key for note.Open.
func (c *Chain) Verifier(name string, id uint32) (note.Verifier, error) {
	for _, k := range c.keys {
		if k.verifier.Name() == name && k.verifier.KeyHash() == id {
			return k, nil
		}
	}
	return nil, &note.UnknownVerifierError{Name: name, KeyHash: id}
}

// Open reads a checkpoint of the log and verifies its signatures. It says more
// than note.Open of a signature by a key that was replaced (ErrReplaced), and
// turns back a checkpoint of another log.
func (c *Chain) Open(msg []byte) (checkpoint.Checkpoint, *note.Note, error) {
	at, n, err := checkpoint.Open(msg, c)
	var invalid *note.InvalidSignatureError
	switch {
	case errors.As(err, &invalid):
		return at, nil, c.explain(msg, invalid)
	case err != nil:
		return at, nil, fmt.Errorf("checkpoint of %s: %w", c.name, err)
	case at.Origin != c.name:
		return at, nil, fmt.Errorf("checkpoint of %s: its origin is %s, but it is signed by a key of %s", at.Origin, at.Origin, c.name)
	}
	return at, n, nil
}

// ErrReplaced says that the signature is good, but the key was not, at that size.
var ErrReplaced = errors.New("signed by a key that was not good for a checkpoint of this size")

func (c *Chain) explain(msg []byte, invalid *note.InvalidSignatureError) error {
	for _, k := range c.keys {
		if k.verifier.Name() != invalid.Name || k.verifier.KeyHash() != invalid.Hash {
			continue
		}
		at, err := checkpoint.Peek(msg)
		if err != nil || k.good.holds(at.Size) {
			continue
		}
		if _, _, err := checkpoint.Open(msg, note.VerifierList(k.verifier)); err == nil {
			if at.Size < k.good.from {
				return fmt.Errorf("checkpoint of %s at size %d: %w: %s+%08x is good from size %d on", c.name, at.Size, ErrReplaced, invalid.Name, invalid.Hash, k.good.from)
			}
			return fmt.Errorf("checkpoint of %s at size %d: %w: %s+%08x was replaced at size %d", c.name, at.Size, ErrReplaced, invalid.Name, invalid.Hash, k.good.to)
		}
	}
	return fmt.Errorf("checkpoint of %s: %w", c.name, invalid)
}

func (k chainKey) Name() string    { return k.verifier.Name() }
func (k chainKey) KeyHash() uint32 { return k.verifier.KeyHash() }

// Verify is for checkpoints: what cannot be read as one has no size, and no key is
// good for it.
func (k chainKey) Verify(msg, sig []byte) bool {
	at, err := checkpoint.Parse(string(msg))
	return err == nil && k.good.holds(at.Size) && k.verifier.Verify(msg, sig)
}
