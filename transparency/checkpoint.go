package transparency

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"liuhen/internal/checkpoint"
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
	return checkpoint.Checkpoint{Origin: c.Origin, Size: c.Size, Root: c.Root}.Text()
}

// ErrNotProven says that what was shown does not prove what it should.
var ErrNotProven = errors.New("not proven")

// maxNote bounds a signed note: a checkpoint has a few hundred bytes, an ML-DSA
// cosignature 3.3 KB.
const maxNote = 128 << 10

// OpenCheckpoint reads a signed note that is a checkpoint of a log and has a good
// signature of one of its keys; of known keys every signature that is there must be
// good, but one is enough. Extension lines are not used here and are refused:
// cosignatures do not all cover them. Every error is ErrNotProven.
func OpenCheckpoint(signed []byte, origin string, keys note.Verifiers) (Checkpoint, error) {
	if len(signed) > maxNote {
		return Checkpoint{}, fmt.Errorf("%w: a checkpoint of %d bytes, the limit is %d", ErrNotProven, len(signed), maxNote)
	}
	c, _, err := checkpoint.Open(signed, keys)
	switch {
	case err != nil:
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrNotProven, err)
	case c.Origin != origin:
		return Checkpoint{}, fmt.Errorf("%w: the checkpoint is of the log %q, not of %q", ErrNotProven, c.Origin, origin)
	case len(c.Extensions) > 0:
		return Checkpoint{}, fmt.Errorf("%w: the checkpoint has further lines, which nobody vouches for", ErrNotProven)
	case c.Size == 0 && c.Root != emptyRoot:
		return Checkpoint{}, fmt.Errorf("%w: a log without leaves has another root", ErrNotProven)
	}
	return Checkpoint{Origin: c.Origin, Size: c.Size, Root: c.Root, Note: signed}, nil
}
