package transparency

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"
)

func leafText(i int64) []byte { return fmt.Appendf(nil, "leaf %d", i) }

// TestTree grows a tree, opens it anew on the way, and compares root, inclusion
// and consistency with the definitions of RFC 6962 as x/mod has them.
func TestTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "tree") //nolint:usetesting // rapid's T has no folder, and this runs a hundred times
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		var stored []tlog.Hash
		reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
			out := make([]tlog.Hash, len(indexes))
			for i, x := range indexes {
				out[i] = stored[x]
			}
			return out, nil
		})
		tr := &tree{dir: dir}
		sizes := []int64{0}
		for range rapid.IntRange(1, 4).Draw(t, "parts") {
			for range rapid.SampledFrom([]int{0, 1, 2, 255, 256, 257, 700, 5000}).Draw(t, "leaves") {
				hs, err := tlog.StoredHashes(tr.size, leafText(tr.size), reader)
				if err != nil {
					t.Fatal(err)
				}
				stored = append(stored, hs...)
				if err := tr.append(leafText(tr.size)); err != nil {
					t.Fatal(err)
				}
			}
			if err := tr.publish(); err != nil {
				t.Fatal(err)
			}
			want, err := tlog.TreeHash(tr.size, reader)
			if err != nil {
				t.Fatal(err)
			}
			if tr.root() != want {
				t.Fatalf("root of %d leaves: %v, want %v", tr.size, tr.root(), want)
			}
			if tr, err = openTree(dir, tr.size); err != nil {
				t.Fatal(err)
			}
			if tr.root() != want {
				t.Fatalf("root of %d leaves, opened anew: %v, want %v", tr.size, tr.root(), want)
			}
			sizes = append(sizes, tr.size)
		}
		for _, old := range sizes {
			if old == 0 {
				continue
			}
			proof, err := tlog.ProveTree(tr.size, old, tr)
			if err != nil {
				t.Fatal(err)
			}
			oldRoot, _ := tlog.TreeHash(old, reader)
			if err := tlog.CheckTree(proof, tr.size, tr.root(), old, oldRoot); err != nil {
				t.Fatal(err)
			}
			i := rapid.Int64Range(0, old-1).Draw(t, "leaf")
			leaf, err := tr.leaf(i)
			if err != nil || string(leaf) != string(leafText(i)) {
				t.Fatalf("leaf %d is %q (%v)", i, leaf, err)
			}
			inclusion, err := tlog.ProveRecord(old, i, tr)
			if err != nil {
				t.Fatal(err)
			}
			if err := tlog.CheckRecord(inclusion, old, oldRoot, i, tlog.RecordHash(leaf)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestTilePath(t *testing.T) {
	for _, c := range []struct {
		level int
		n     int64
		width int
		want  string
	}{
		{0, 0, 256, "tile/0/000"},
		{0, 1234067, 256, "tile/0/x001/x234/067"},
		{2, 0, 1, "tile/2/000.p/1"},
		{-1, 999, 112, "tile/entries/999.p/112"},
		{-1, 1000, 256, "tile/entries/x001/000"},
	} {
		if got := tilePath(c.level, c.n, c.width); got != c.want {
			t.Errorf("tilePath(%d, %d, %d) = %s, want %s", c.level, c.n, c.width, got, c.want)
		}
	}
}

// TestPartialTiles reads a partial tile after wider ones, or the full one, have
// taken its place (C2SP tlog-tiles, Partial Tiles).
func TestPartialTiles(t *testing.T) {
	tr := &tree{dir: t.TempDir()}
	for range 3 {
		if err := tr.append(leafText(tr.size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.publish(); err != nil {
		t.Fatal(err)
	}
	for tr.size < 256 {
		if err := tr.append(leafText(tr.size)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(tr.dir, tilePath(0, 0, 3))); !os.IsNotExist(err) {
		t.Errorf("the partial tile is still there (%v)", err)
	}
	data, err := tr.read(0, 0, 3)
	if err != nil || len(data) < 3*tlog.HashSize || tlog.Hash(data[64:96]) != tlog.RecordHash(leafText(2)) {
		t.Errorf("its hashes are %d bytes (%v)", len(data), err)
	}
	if _, err := tr.read(0, 1, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a tile that there is not: %v, want %v", err, fs.ErrNotExist)
	}
}
