package transparency

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/mod/sumdb/tlog"

	"liuhen/eventstore"
	"liuhen/transparency/heads"
)

// TileWidth is how many hashes, or leaves, a full tile has.
const TileWidth = tileWidth

// A Folder is where the tiles of a log are (Config.Dir), as they lie there, for
// whoever holds them against something else. Nothing in it is trusted.
type Folder string

// Hashes returns the first width hashes of tile n of a level, of 32 bytes each.
func (f Folder) Hashes(level int, n int64, width int) ([]tlog.Hash, error) {
	data, err := readTile(string(f), level, n, width)
	if err != nil {
		return nil, err
	}
	if len(data) < width*tlog.HashSize {
		return nil, fmt.Errorf("%s: %d bytes, want %d: %w", tilePath(level, n, width), len(data), width*tlog.HashSize, io.ErrUnexpectedEOF)
	}
	return hashes(data[:width*tlog.HashSize]), nil
}

// Leaves returns the texts of the first width leaves of bundle n.
func (f Folder) Leaves(n int64, width int) ([][]byte, error) {
	data, err := readTile(string(f), -1, n, width)
	if err != nil {
		return nil, err
	}
	all, err := entries(data)
	if err != nil || len(all) < width {
		return nil, fmt.Errorf("%s: %d leaves, want %d: %w", tilePath(-1, n, width), len(all), width, errors.Join(err, io.ErrUnexpectedEOF))
	}
	return all[:width], nil
}

// Checkpoint is the signed note that the folder was last made complete for; nil
// where there is none.
func (f Folder) Checkpoint() ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(string(f), "checkpoint"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, err
}

// LeafOf makes the leaf of a record of the log; all is the hash of the heads of all
// streams with the record taken in.
func (s Settings) LeafOf(r eventstore.Record, all heads.Hash) Leaf {
	l := Leaf{Volume: s.Volume, Position: uint64(r.Position), StoredAt: r.At, Digest: sha256.Sum256(r.Data), Heads: all}
	for _, name := range s.Digests {
		l.More = append(l.More, Digest{name, furtherDigests[name](r.Data)})
	}
	return l
}

// FindHistory finds the history of a volume, which is not created: ErrNone where
// there is none.
func FindHistory(ctx context.Context, js jetstream.JetStream, volume string) (*History, error) {
	h := &History{js: js, prefix: "log." + volume + "."}
	var err error
	h.stream, err = js.Stream(ctx, volume+"_LOG")
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("history of the log: %w", ErrNone)
	}
	if err != nil {
		return nil, fmt.Errorf("history of the log: %w", err)
	}
	return h, nil
}
