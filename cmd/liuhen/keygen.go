package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"liuhen/transparency/keys"
)

func keygenCommand(p *program) *cobra.Command {
	var g keygen
	c := &cobra.Command{
		Use:   "keygen",
		Short: "生成、显示、更换签名密钥 · Make, show and replace the keys that checkpoints are signed with",
		Long: `生成、显示、更换签名密钥。
Make the keys that a log's checkpoints are signed with, show the public ones, or
replace them. The private keys are written to a file that only its owner can read,
outside the data folder, and are never printed. Keep a copy of that file where
nobody can get at it unseen: without it the log cannot go on under its name.

The public keys (verifier keys) are for everybody: whoever is to check the log
must get them another way than from the log.

--rotate makes new keys, for which the old ones vouch by a signed statement; the
old private keys are then gone. Stop the system first. The old keys are good up to
the newest checkpoint that they signed, the new ones from there on; that checkpoint
is read from the file that the system keeps beside the keys, or from --newest.`,
		Example: `  liuhen keygen --origin example.org/liuhen/210100/2026
  liuhen keygen --origin example.org/liuhen/210100/2026 --sm2 --ml-dsa
  liuhen keygen --show
  liuhen keygen --origin example.org/liuhen/210100/2026 --rotate`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return p.keygen(g) },
	}
	flags := c.Flags()
	flags.BoolVar(&g.mldsa, "ml-dsa", false, "also a key for ML-DSA-44, which quantum computers do not break")
	flags.BoolVar(&g.sm2, "sm2", false, "also a key for SM2 with SM3 (国密)")
	flags.BoolVar(&g.show, "show", false, "make nothing; print the public keys and the replacements of keys")
	flags.BoolVar(&g.rotate, "rotate", false, "replace the keys by new ones")
	flags.StringVar(&g.newest, "newest", "", "with --rotate: the file with the newest checkpoint of the log (default: the one beside the keys); none: the keys have signed nothing")
	c.MarkFlagsMutuallyExclusive("show", "rotate")
	p.flags(flags, "keys", "origin")
	return c
}

// A keygen is what "liuhen keygen" was told.
type keygen struct {
	mldsa, sm2   bool
	show, rotate bool
	newest       string
}

// replace makes new keys in the place of the old ones.
func (g keygen) replace(path string) (*keys.Ring, error) {
	newest, err := g.newestCheckpoint(path)
	if err != nil {
		return nil, err
	}
	return keys.Rotate(path, newest, g.kinds(nil)...)
}

// newestCheckpoint finds the last one that the old keys signed; nil if that is
// said to be none, which the file beside the keys must not contradict.
func (g keygen) newestCheckpoint(path string) (newest []byte, err error) {
	ring, err := keys.Load(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ring.Close()) }()
	file := g.newest
	if file == "" || file == "none" {
		file = path + ".checkpoint"
	}
	newest, err = os.ReadFile(file)
	switch {
	case g.newest == "none" && errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("the newest checkpoint under the old keys: %v; say where it is with --newest, or --newest none if they have signed nothing", err) //nolint:errorlint // its not being there must not be taken for that of the keys
	case g.newest == "none":
		if ring.Signed(newest) {
			return nil, fmt.Errorf("the keys have signed something: the checkpoint in %s", file)
		}
		return nil, nil
	}
	return newest, nil
}

func (p *program) keygen(g keygen) (err error) {
	dir, origin := p.config.Keys, p.config.Origin
	if dir == "" {
		if dir, err = keys.DefaultDir(); err != nil {
			return err
		}
	}
	path, err := keyFile(dir, origin, g.show || g.rotate)
	if err != nil {
		return err
	}
	var ring *keys.Ring
	switch {
	case g.show:
		ring, err = keys.Load(path)
	case g.rotate:
		ring, err = g.replace(path)
	default:
		ring, err = keys.Create(path, origin, g.kinds([]keys.Kind{keys.Ed25519})...)
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("there are keys for %s already (--show shows the public ones, --rotate replaces them): %w", origin, err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there are no keys for %s yet; make them without --show and --rotate, or give their folder with --keys: %w", origin, err)
	case err != nil:
		return err
	}
	defer func() { err = errors.Join(err, ring.Close()) }()
	return p.printKeys(ring)
}

// keyFile is where the keys of a log are. Where its name is not said, and there
// are keys of one log only, it is those.
func keyFile(dir, origin string, there bool) (string, error) {
	if origin != "" {
		return keys.Path(dir, origin), nil
	}
	if !there {
		return "", usagef("--origin is missing: the name of the log, which no other log has, such as example.org/liuhen/210100/2026")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.key"))
	if err != nil {
		return "", err
	}
	if len(files) != 1 {
		return "", usagef("there are keys of %d logs in %s: say which with --origin", len(files), dir)
	}
	return files[0], nil
}

// kinds are the kinds of keys that were asked for; preset if none was named. With
// --rotate and none named, the new keys are of the kinds of the old ones.
func (g keygen) kinds(preset []keys.Kind) []keys.Kind {
	if !g.mldsa && !g.sm2 {
		return preset
	}
	kinds := []keys.Kind{keys.Ed25519}
	if g.mldsa {
		kinds = append(kinds, keys.MLDSA44)
	}
	if g.sm2 {
		kinds = append(kinds, keys.SM2)
	}
	return kinds
}

// printKeys prints what others may know of a ring of keys.
func (p *program) printKeys(ring *keys.Ring) error {
	rotations := ring.Rotations()
	if p.json {
		texts := make([]string, 0, len(rotations))
		for _, r := range rotations {
			texts = append(texts, string(r))
		}
		return p.printJSON(p.out, map[string]any{
			"name": ring.Name(), "file": ring.File(),
			"first_keys": ring.First(), "verifier_keys": ring.VerifierKeys(), "rotations": texts,
		})
	}
	p.say("名称  %s", "name  %s", ring.Name())
	p.say("私钥文件（勿外传）  %s", "private keys (for nobody else)  %s", ring.File())
	p.say("公钥（验证用）：", "verifier keys:")
	for _, k := range ring.VerifierKeys() {
		fmt.Fprintln(p.out, k)
	}
	if len(rotations) == 0 {
		return nil
	}
	p.say("最初的公钥：", "the keys that it began with:")
	for _, k := range ring.First() {
		fmt.Fprintln(p.out, k)
	}
	for i, r := range rotations {
		p.say("第 %d 次更换，由旧密钥签名担保：", "replacement %d, which the old keys vouch for:", i+1)
		fmt.Fprintln(p.out, string(r))
	}
	return nil
}
