package keys

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"liuhen/internal/checkpoint"
)

const fileHeader = "liuhen-keys/v1"

// A content is what stands in a key file.
type content struct {
	name      string
	first     []string // verifier keys
	secrets   []secret
	rotations [][]byte // signed notes, the oldest first
}

// format is the reverse of parse.
func (c content) format() []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, fileHeader)
	fmt.Fprintln(&b, "name", c.name)
	for _, vkey := range c.first {
		fmt.Fprintln(&b, "first", vkey)
	}
	for _, s := range c.secrets {
		fmt.Fprintln(&b, "secret", s.text)
	}
	for _, r := range c.rotations {
		fmt.Fprintln(&b, "rotation", base64.StdEncoding.EncodeToString(r))
	}
	return b.Bytes()
}

// parse reads a key file and checks that it holds together: the secrets are those
// of the keys that the rotations lead to. Errors name the line and say nothing of
// what is secret.
func parse(text []byte) (content, error) {
	var c content
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line, ended := strings.CutSuffix(line, "\n")
		if !ended {
			return c, fmt.Errorf("line %d does not end: the file was cut", number)
		}
		if number == 1 {
			if line != fileHeader {
				return c, fmt.Errorf("line 1: want %q: this is no key file of this program", fileHeader)
			}
			continue
		}
		if err := c.add(line); err != nil {
			return c, fmt.Errorf("line %d: %w", number, err)
		}
	}
	return c, c.check()
}

func (c *content) add(line string) error {
	item, value, _ := strings.Cut(line, " ")
	switch item {
	case "name":
		if c.name != "" {
			return errors.New("a second name")
		}
		if err := checkName(value); err != nil {
			return err
		}
		c.name = value
	case "first":
		if _, err := NewVerifier(value); err != nil {
			return err
		}
		c.first = append(c.first, value)
	case "secret":
		s, err := parseSecret(value)
		if err != nil {
			return err
		}
		c.secrets = append(c.secrets, s)
	case "rotation":
		note, err := base64.StdEncoding.Strict().DecodeString(value)
		if err != nil {
			return errors.New("a rotation that is not base64")
		}
		c.rotations = append(c.rotations, note)
	default:
		return fmt.Errorf("%.20q: want name, first, secret or rotation", item)
	}
	return nil
}

func (c *content) check() error {
	if c.name == "" || len(c.first) == 0 || len(c.secrets) == 0 {
		return errors.New("it lacks a name, a first key or a secret: the file was cut, or written by hand")
	}
	// The last set of keys that the first ones vouch for is the one held here.
	chain, err := follow(c.first, c.rotations)
	if err != nil {
		return err
	}
	newest := chain.Newest()
	held := c.vkeys()
	if strings.Join(newest, "\n") != strings.Join(held, "\n") {
		return errors.New("the secrets are not those of the keys that the rotations lead to")
	}
	for _, vkey := range held {
		if name, _, _ := strings.Cut(vkey, "+"); name != c.name {
			return fmt.Errorf("a key of %s in the file of %s", name, c.name)
		}
	}
	return nil
}

func (c *content) vkeys() []string {
	out := make([]string, 0, len(c.secrets))
	for _, s := range c.secrets {
		out = append(out, s.vkey)
	}
	return out
}

// rotationSuffix ends the origin of a rotation, which is no origin of a log.
const rotationSuffix = "/keys"

func checkName(name string) error {
	switch {
	case !checkpoint.ValidName(name):
		return fmt.Errorf("name %.80q: want something like example.org/liuhen/210100/2026, without spaces and plus signs", name)
	case len(name) > 200:
		return fmt.Errorf("name %.80q…: %d bytes, want at most 200", name, len(name))
	case strings.HasSuffix(name, rotationSuffix):
		return fmt.Errorf("name %s: no name ends in %s, which is where the rotations of its keys are told apart from its checkpoints", name, rotationSuffix)
	}
	return nil
}

// read reads an open key file that nobody else may read.
func read(f *os.File) (content, error) {
	info, err := f.Stat()
	if err != nil {
		return content{}, fmt.Errorf("read the keys: %w", err)
	}
	path := f.Name()
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return content{}, fmt.Errorf("read the keys: others than its owner can get at %s (mode %04o), so its keys may be known to them: "+
			"find out who had access; if nobody had, \"chmod 600 %s\", otherwise replace the keys (liuhen keygen --rotate)", path, mode, path)
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return content{}, fmt.Errorf("read the keys: %w", err)
	}
	c, err := parse(text)
	if err != nil {
		return content{}, fmt.Errorf("read the keys in %s: %w; bring the file back from where you keep its copy", path, err)
	}
	return c, nil
}

// writeFile puts a key file in its place, whole and on disk. With exclusive it
// does not replace one that is there (fs.ErrExist).
func writeFile(path string, c content, exclusive bool) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder for keys: %w", err)
	}
	f, err := os.CreateTemp(dir, ".new-*") // mode 0600 from its first moment
	if err != nil {
		return fmt.Errorf("write the keys: %w", err)
	}
	defer func() {
		if removed := os.Remove(f.Name()); err == nil && !errors.Is(removed, fs.ErrNotExist) {
			err = removed
		}
	}()
	_, err = f.Write(c.format())
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write the keys to %s: %w", path, err)
	}
	place := os.Rename
	if exclusive {
		place = os.Link // which does not replace
	}
	err = place(f.Name(), path)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("write the keys: %s: %w", path, fs.ErrExist)
	}
	if err != nil {
		return fmt.Errorf("write the keys to %s: %w", path, err)
	}
	return syncFolder(dir)
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// openLocked opens a key file under a lock: shared by whoever signs, alone for
// whoever replaces the keys. The kernel gives it back when the file is closed or
// the process ends. A file that was replaced while we waited is opened anew.
func openLocked(path string, how int) (*os.File, error) {
	for {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read the keys: %w", err)
		}
		err = syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("the keys in %s are in use: %w", path, ErrInUse)
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		there, err := os.Stat(path)
		here, herr := f.Stat()
		if err == nil && herr == nil && os.SameFile(there, here) {
			return f, nil
		}
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("read the keys: %w", err)
		}
	}
}
