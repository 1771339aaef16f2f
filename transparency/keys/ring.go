package keys

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/mod/sumdb/note"

	"liuhen/internal/checkpoint"
)

// What loading and replacing keys can answer.
var (
	// ErrInUse: keys are replaced while nobody signs with them, for a
	// checkpoint that the old ones sign afterwards would be turned back by
	// everybody. Stop the program first.
	ErrInUse = errors.New("stop whoever signs with them (liuhen serve, liuhen witness serve) first")
)

// A Ring is the keys that a name signs with today, and how it came to them. It is
// safe for use by several goroutines.
type Ring struct {
	path string
	content
	held *os.File // the shared lock
}

// DefaultDir is where key files are kept if nobody says otherwise: liuhen/keys
// below $XDG_CONFIG_HOME; without that, /etc/liuhen/keys for root and
// ~/.config/liuhen/keys for others. It is not in the data folder, so that whoever
// copies that, or gets at a backup of it, cannot sign.
func DefaultDir() (string, error) {
	if dir := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "liuhen", "keys"), nil
	}
	if os.Geteuid() == 0 {
		return "/etc/liuhen/keys", nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("where the keys are kept: %w; say so with --keys", err)
	}
	return filepath.Join(home, ".config", "liuhen", "keys"), nil
}

// DefaultOrigin is a name for a log on a machine that nobody gave one: the host's
// name, liuhen, and what tells the volume apart from others on this machine. Two
// logs must not share a name, for to everybody else they would be one log that
// says two things.
func DefaultOrigin(volume string) string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "localhost"
	}
	return strings.Trim(plain(strings.ToLower(host)), "-.") + "/liuhen/" + plain(volume)
}

// plain keeps letters, digits, points and hyphens.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, text)
}

// Path is where the keys of a name are kept in a folder: a file name that can be
// read, and that no two names share.
func Path(dir, name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(dir, fmt.Sprintf("%.80s-%x.key", strings.TrimLeft(plain(name), ".-"), sum[:6]))
}

// LoadOrCreate returns the keys of a log. Where there are none it makes an Ed25519
// key (created is true then: others must be told its verifier key). While the
// Ring is open nobody replaces the keys.
func LoadOrCreate(dir, origin string) (r *Ring, created bool, err error) {
	r, err = Load(Path(dir, origin))
	if !errors.Is(err, fs.ErrNotExist) {
		return r, false, r.named(origin, err)
	}
	r, err = Create(Path(dir, origin), origin, Ed25519)
	if errors.Is(err, fs.ErrExist) { // another process was first
		r, err = Load(Path(dir, origin))
		return r, false, r.named(origin, err)
	}
	return r, err == nil, err
}

// named makes sure that a file holds the keys that were asked for.
func (r *Ring) named(origin string, err error) error {
	if err == nil && r.name != origin {
		return errors.Join(fmt.Errorf("%s holds the keys of %s, not of %s", r.path, r.name, origin), r.Close())
	}
	return err
}

// Load reads a key file. Its error is fs.ErrNotExist where there is none; a file
// that others can read is not read.
func Load(path string) (*Ring, error) {
	held, err := openLocked(path, syscall.LOCK_SH)
	if err != nil {
		return nil, err
	}
	c, err := read(held)
	if err != nil {
		return nil, errors.Join(err, held.Close())
	}
	return &Ring{path: path, content: c, held: held}, nil
}

// Create makes a key of each kind for a name and writes them to a new file. Its
// error is fs.ErrExist where there is one.
func Create(path, name string, kinds ...Kind) (*Ring, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	secrets, err := generateAll(name, kinds)
	if err != nil {
		return nil, err
	}
	c := content{name: name, secrets: secrets}
	c.first = c.vkeys()
	if err := writeFile(path, c, true); err != nil {
		return nil, err
	}
	return Load(path)
}

func generateAll(name string, kinds []Kind) ([]secret, error) {
	if len(kinds) == 0 {
		return nil, errors.New("no kind of key was asked for")
	}
	var out []secret
	for i, kind := range kinds {
		if slices.Contains(kinds[:i], kind) {
			return nil, fmt.Errorf("kind of key %s is asked for twice", kind)
		}
		text, err := generate(kind, name)
		if err != nil {
			return nil, err
		}
		s, err := parseSecret(text)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// Rotate replaces the keys in a file by new ones of the given kinds (none: of the
// kinds that it has). newest is the newest checkpoint that was signed with the old
// keys; nil if nothing was. The old secrets are not kept. Nobody may be signing
// meanwhile (ErrInUse).
//
// An older checkpoint than the newest must not be given: what was signed after it
// would be turned back by everybody, and nobody could sign it anew.
func Rotate(path string, newest []byte, kinds ...Kind) (*Ring, error) {
	alone, err := openLocked(path, syscall.LOCK_EX)
	if err != nil {
		return nil, err
	}
	err = rotate(alone, newest, kinds)
	if err := errors.Join(err, alone.Close()); err != nil {
		return nil, err
	}
	return Load(path)
}

func rotate(f *os.File, newest []byte, kinds []Kind) error {
	c, err := read(f)
	if err != nil {
		return err
	}
	size, err := c.sizeOf(newest)
	if err != nil {
		return fmt.Errorf("replace the keys of %s: %w", c.name, err)
	}
	if len(kinds) == 0 {
		for _, s := range c.secrets {
			kinds = append(kinds, s.kind)
		}
	}
	next, err := generateAll(c.name, kinds)
	if err != nil {
		return err
	}
	statement, err := signRotation(c.name, size, c.secrets, next)
	if err != nil {
		return err
	}
	c.rotations = append(c.rotations, statement)
	c.secrets = next
	if err := c.check(); err != nil {
		return fmt.Errorf("replace the keys: %w", err) // a bug: nothing was written
	}
	return writeFile(f.Name(), c, false)
}

// sizeOf is the size of a checkpoint that was signed with today's keys, or of
// none, where they have signed none.
func (c *content) sizeOf(newest []byte) (int64, error) {
	if newest == nil {
		if n := len(c.rotations); n > 0 {
			last, err := ParseRotation(c.rotations[n-1])
			return last.Size, err
		}
		return 0, nil
	}
	chain, err := follow(c.first, c.rotations)
	if err != nil {
		return 0, err
	}
	at, n, err := chain.Open(newest)
	if err != nil {
		return 0, err
	}
	if !c.signed(n.Sigs) {
		return 0, fmt.Errorf("the checkpoint at size %d is not signed with today's keys: it is not the newest one, or they have signed nothing yet (--newest none)", at.Size)
	}
	return at.Size, nil
}

// signed reports whether today's keys are all among those of signatures.
func (c *content) signed(sigs []note.Signature) bool {
	for _, s := range c.secrets {
		if !slices.ContainsFunc(sigs, func(sig note.Signature) bool { return sig.Name == c.name && sig.Hash == s.signer.KeyHash() }) {
			return false
		}
	}
	return true
}

// Signed reports whether a note bears today's keys' signatures, without verifying
// them.
func (r *Ring) Signed(msg []byte) bool { return r.signed(checkpoint.Signatures(msg)) }

// Close lets others replace the keys.
func (r *Ring) Close() error {
	if r.held == nil {
		return nil
	}
	held := r.held
	r.held = nil
	return held.Close()
}

// Name is whose keys they are: the origin of a log, or the name of a witness.
func (r *Ring) Name() string { return r.name }

// File is where they are kept.
func (r *Ring) File() string { return r.path }

// Signers are the keys that sign today, in the order of their lines. A log's
// checkpoint is signed by all of them. Until the Ring is closed, or nobody has it
// or a signer any more, the keys are not replaced.
func (r *Ring) Signers() []note.Signer {
	out := make([]note.Signer, 0, len(r.secrets))
	for _, s := range r.secrets {
		out = append(out, heldSigner{s.signer, r})
	}
	return out
}

// A heldSigner keeps the lock of its ring: the file would be closed behind it if
// the ring were collected.
type heldSigner struct {
	note.Signer
	ring *Ring
}

// VerifierKeys are the public keys of Signers, as text.
func (r *Ring) VerifierKeys() []string { return r.vkeys() }

// First are the public keys that the name began with: what others pin.
func (r *Ring) First() []string { return slices.Clone(r.first) }

// Rotations are the signed notes by which the first keys were replaced, the
// oldest first; they are public, and belong beside the checkpoints.
func (r *Ring) Rotations() [][]byte { return slices.Clone(r.rotations) }

// Verifiers are the keys that were good for checkpoints of this name, each for the
// sizes that it was good for.
func (r *Ring) Verifiers() (*Chain, error) { return follow(r.first, r.rotations) }
