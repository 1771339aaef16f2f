package transparency

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// tileWidth is how many hashes a full tile has (C2SP tlog-tiles), and tileHeight
// how many levels of the tree it stands for.
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
)

// errTiles says that files of the tree are missing or damaged. They can be made anew.
var errTiles = errors.New("the tiles of the log are missing or damaged")

// A tree is a Merkle tree in a folder of tiles. Full tiles are files that never
// change; the right edge is in memory, and is written as partial tiles when the
// tree is published at a size. Not safe for concurrent use.
//
// The folder can be read by any client of C2SP tlog-tiles, and copied by any
// means. Nothing in it is trusted: it is compared with signed checkpoints when it
// is opened, and made anew from the record where it does not fit.
type tree struct {
	dir    string
	size   int64
	edge   [][]tlog.Hash // by level: the hashes of the tile that is not full yet
	leaves [][]byte      // of the bundle that is not full yet
	failed error         // an append that did not end: the tree is not what it says
	fresh  []string      // full tiles that are not synced yet
}

// tilePath is the path of a tile below a log's prefix; width is tileWidth for a
// full one. level -1 is the entries.
func tilePath(level int, n int64, width int) string {
	var b strings.Builder
	b.WriteString("tile/")
	if level < 0 {
		b.WriteString("entries")
	} else {
		b.WriteString(strconv.Itoa(level))
	}
	digits := strconv.FormatInt(n, 10)
	for len(digits)%3 != 0 {
		digits = "0" + digits
	}
	for len(digits) > 0 {
		b.WriteByte('/')
		if len(digits) > 3 {
			b.WriteByte('x')
		}
		b.WriteString(digits[:3])
		digits = digits[3:]
	}
	if width < tileWidth {
		fmt.Fprintf(&b, ".p/%d", width)
	}
	return b.String()
}

// openTree reads the right edge of the tree of a size from its folder.
func openTree(dir string, size int64) (*tree, error) {
	t := &tree{dir: dir, size: size}
	for level, rest := 0, size; rest > 0; level, rest = level+1, rest/tileWidth {
		var edge []tlog.Hash
		if w := int(rest % tileWidth); w > 0 {
			data, err := t.tile(level, rest/tileWidth, w)
			if err != nil {
				return nil, err
			}
			edge = hashes(data)
		}
		t.edge = append(t.edge, edge)
	}
	if w := int(size % tileWidth); w > 0 {
		data, err := t.read(-1, size/tileWidth, w)
		if err != nil {
			return nil, err
		}
		if t.leaves, err = entries(data); err != nil || len(t.leaves) < w {
			return nil, fmt.Errorf("entries %d of the log: %d of %d: %w", size/tileWidth, len(t.leaves), w, errors.Join(err, errTiles))
		}
		t.leaves = t.leaves[:w]
		for k, leaf := range t.leaves {
			if tlog.RecordHash(leaf) != t.edge[0][k] {
				return nil, fmt.Errorf("%w: entry %d is not that of its hash", errTiles, size/tileWidth*tileWidth+int64(k))
			}
		}
	}
	return t, nil
}

func hashes(data []byte) []tlog.Hash {
	out := make([]tlog.Hash, 0, tileWidth)
	for part := range slices.Chunk(data, tlog.HashSize) {
		out = append(out, tlog.Hash(part))
	}
	return out
}

// entries are the leaves in a bundle: each behind its length as 16 bits.
func entries(bundle []byte) ([][]byte, error) {
	var out [][]byte
	for len(bundle) > 0 {
		if len(bundle) < 2 || len(bundle) < 2+int(binary.BigEndian.Uint16(bundle)) {
			return out, fmt.Errorf("entry %d is cut off", len(out))
		}
		end := 2 + int(binary.BigEndian.Uint16(bundle))
		out = append(out, bundle[2:end])
		bundle = bundle[end:]
	}
	return out, nil
}

func bundle(leaves [][]byte) []byte {
	var b []byte
	for _, l := range leaves {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(l))), l...)
	}
	return b
}

// append adds a leaf. After an error the tree is good for nothing.
func (t *tree) append(leaf []byte) error {
	if t.failed == nil {
		t.failed = t.add(leaf)
	}
	return t.failed
}

func (t *tree) add(leaf []byte) error {
	t.leaves = append(t.leaves, leaf)
	if len(t.leaves) == tileWidth {
		if err := t.write(-1, t.size/tileWidth, tileWidth, bundle(t.leaves)); err != nil {
			return err
		}
		t.leaves = nil
	}
	h, n := tlog.RecordHash(leaf), t.size
	for level := 0; ; level++ {
		if level == len(t.edge) {
			t.edge = append(t.edge, nil)
		}
		t.edge[level] = append(t.edge[level], h)
		if len(t.edge[level]) < tileWidth {
			break
		}
		n /= tileWidth
		if err := t.write(level, n, tileWidth, tileData(t.edge[level])); err != nil {
			return err
		}
		h, t.edge[level] = perfect(t.edge[level]), t.edge[level][:0]
	}
	t.size++
	return nil
}

func tileData(hs []tlog.Hash) []byte {
	b := make([]byte, 0, len(hs)*tlog.HashSize)
	for i := range hs {
		b = append(b, hs[i][:]...)
	}
	return b
}

// perfect is the root over a power of two of hashes.
func perfect(hs []tlog.Hash) tlog.Hash {
	if len(hs) == 1 {
		return hs[0]
	}
	return tlog.NodeHash(perfect(hs[:len(hs)/2]), perfect(hs[len(hs)/2:]))
}

// root is the root of the tree as it is now.
func (t *tree) root() tlog.Hash {
	if t.size == 0 {
		return emptyRoot
	}
	var right *tlog.Hash
	for _, edge := range t.edge { // from the right, which is the lowest level
		for len(edge) > 0 {
			low := len(edge) & -len(edge) // the last perfect subtree
			h := perfect(edge[len(edge)-low:])
			if right != nil {
				h = tlog.NodeHash(h, *right)
			}
			right, edge = &h, edge[:len(edge)-low]
		}
	}
	return *right
}

// emptyRoot is the root of a tree without leaves: the SHA-256 of nothing.
var emptyRoot, _ = tlog.TreeHash(0, nil)

// publish writes the partial tiles of the tree as it is, and syncs the full ones
// that are new: together, for one by one each would make the file system's journal
// be written while acts wait for theirs. Then the tree of this size can be read from
// the folder, and its full tiles outlast a power cut. Partial tiles may not: then
// openTree fails.
func (t *tree) publish() error {
	if t.failed != nil {
		return t.failed
	}
	var folders []string
	for _, path := range t.fresh {
		if err := syncPath(path); err != nil {
			return err
		}
		if dir := filepath.Dir(path); !slices.Contains(folders, dir) {
			folders = append(folders, dir)
		}
	}
	for _, dir := range folders {
		if err := syncPath(dir); err != nil {
			return err
		}
	}
	t.fresh = nil
	n := t.size
	for level, edge := range t.edge {
		n /= tileWidth
		if len(edge) > 0 {
			if err := t.write(level, n, len(edge), tileData(edge)); err != nil {
				return err
			}
		}
	}
	if len(t.leaves) > 0 {
		return t.write(-1, t.size/tileWidth, len(t.leaves), bundle(t.leaves))
	}
	return nil
}

// write writes a file of the tree so that a reader finds all of it or none.
func (t *tree) write(level int, n int64, width int, data []byte) error {
	full := width == tileWidth
	path := filepath.Join(t.dir, filepath.FromSlash(tilePath(level, n, width)))
	if err := writeFile(path, data, false); err != nil || !full {
		return err
	}
	t.fresh = append(t.fresh, path)
	return os.RemoveAll(path + ".p") // what led to it is in it
}

// syncPath syncs a file, or the names in a folder.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// writeFile replaces a file as a whole.
func writeFile(path string, data []byte, synced bool) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if synced {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// read returns the first width hashes of a tile, or entries of a bundle and
// perhaps more, from a file that has at least so many.
func (t *tree) read(level int, n int64, width int) ([]byte, error) {
	data, err := readTile(t.dir, level, n, width)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errTiles, err)
	}
	return data, nil
}

func readTile(dir string, level int, n int64, width int) ([]byte, error) {
	full := filepath.Join(dir, filepath.FromSlash(tilePath(level, n, tileWidth)))
	for _, path := range []string{filepath.Join(dir, filepath.FromSlash(tilePath(level, n, width))), full} {
		data, err := os.ReadFile(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return data, err
		}
	}
	// A wider partial tile begins with it.
	partial, _ := os.ReadDir(full + ".p") // it may just have gone: then the full one is there
	for _, p := range partial {
		if w, err := strconv.Atoi(p.Name()); err == nil && w >= width {
			if data, err := os.ReadFile(filepath.Join(full+".p", p.Name())); err == nil {
				return data, nil
			}
		}
	}
	if data, err := os.ReadFile(full); err == nil {
		return data, nil
	}
	return nil, fmt.Errorf("%s: %w", tilePath(level, n, width), fs.ErrNotExist)
}

// tile returns the first width hashes of a tile.
func (t *tree) tile(level int, n int64, width int) ([]byte, error) {
	at := t.size >> (tileHeight * level)
	if level < len(t.edge) && n == at/tileWidth {
		if len(t.edge[level]) >= width {
			return tileData(t.edge[level][:width]), nil
		}
		if len(t.edge[level]) > 0 {
			return nil, fmt.Errorf("%s: the tree has %d leaves: %w", tilePath(level, n, width), t.size, fs.ErrNotExist)
		}
	}
	data, err := t.read(level, n, width)
	if err != nil {
		return nil, err
	}
	if len(data) < width*tlog.HashSize {
		return nil, fmt.Errorf("%s has %d bytes, want %d: %w", tilePath(level, n, width), len(data), width*tlog.HashSize, errTiles)
	}
	return data[:width*tlog.HashSize], nil
}

// ReadHashes implements tlog.HashReader.
func (t *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	have := map[tlog.Tile][]byte{}
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		want := tlog.TileForIndex(tileHeight, x)
		data, ok := have[want]
		if !ok {
			var err error
			if data, err = t.tile(want.L, want.N, want.W); err != nil {
				return nil, err
			}
			have[want] = data
		}
		h, err := tlog.HashFromTile(want, data, x)
		if err != nil {
			return nil, err
		}
		out[i] = h
	}
	return out, nil
}

// leaf is the text of a leaf, from 0.
func (t *tree) leaf(i int64) ([]byte, error) {
	n, k := i/tileWidth, int(i%tileWidth)
	if n == t.size/tileWidth && k < len(t.leaves) {
		return t.leaves[k], nil
	}
	data, err := t.read(-1, n, k+1)
	if err != nil {
		return nil, err
	}
	all, err := entries(data)
	if err != nil || k >= len(all) {
		return nil, fmt.Errorf("%s: %d entries, want %d: %w", tilePath(-1, n, k+1), len(all), k+1, errors.Join(err, errTiles))
	}
	return all[k], nil
}
