package transparency

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A Checkpoint is a signed tree head: this was the log at this size (C2SP
// tlog-checkpoint). Note is the signed note as it was written.
type Checkpoint struct {
	Origin string
	Size   int64
	Root   tlog.Hash
	Note   []byte
}

// Text is what is signed: origin, size and root, one a line.
func (c Checkpoint) Text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
}

// Tree is the head as x/mod's functions take it.
func (c Checkpoint) Tree() tlog.Tree { return tlog.Tree{N: c.Size, Hash: c.Root} }

// ErrNotProven says that what was shown does not prove what it should.
var ErrNotProven = errors.New("not proven")

// maxNote bounds a signed note: a checkpoint has a few hundred bytes, an ML-DSA
// cosignature 3.3 KB.
const maxNote = 128 << 10

// OpenCheckpoint reads a signed note that is a checkpoint of a log and has a good
// signature of one of its keys. Every error is ErrNotProven.
func OpenCheckpoint(signed []byte, origin string, keys note.Verifiers) (Checkpoint, error) {
	if len(signed) > maxNote {
		return Checkpoint{}, fmt.Errorf("%w: a checkpoint of %d bytes, the limit is %d", ErrNotProven, len(signed), maxNote)
	}
	n, err := note.Open(signed, keys)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: checkpoint: %w", ErrNotProven, err)
	}
	c, err := parseCheckpoint(n.Text)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrNotProven, err)
	}
	if c.Origin != origin {
		return Checkpoint{}, fmt.Errorf("%w: the checkpoint is of the log %q, not of %q", ErrNotProven, c.Origin, origin)
	}
	c.Note = signed
	return c, nil
}

// parseCheckpoint reads the text of a checkpoint. Extension lines are not used
// here, and are refused: cosignatures do not all cover them.
func parseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[0] == "" || lines[3] != "" {
		return Checkpoint{}, errors.New("a checkpoint has three lines: origin, size, root")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return Checkpoint{}, fmt.Errorf("the size of a checkpoint cannot be %q", lines[1])
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil || root.String() != lines[2] {
		return Checkpoint{}, fmt.Errorf("the root of a checkpoint cannot be %q", lines[2])
	}
	if size == 0 && root != emptyRoot {
		return Checkpoint{}, errors.New("a log without leaves has another root")
	}
	return Checkpoint{Origin: lines[0], Size: size, Root: root}, nil
}
