package audit

import (
	"golang.org/x/mod/sumdb/tlog"

	"liuhen/transparency"
)

// A range of a tree from its first leaf on: for each level of tiles the hashes of
// the tile that is not full yet. It takes a few kilobytes, whatever its size.
type edge struct {
	size   int64
	levels [][]tlog.Hash
}

// add adds a leaf by its hash. full is told of each tile that is full with it.
func (e *edge) add(h tlog.Hash, full func(level int, n int64, hs []tlog.Hash)) {
	n := e.size
	for level := 0; ; level++ {
		if level == len(e.levels) {
			e.levels = append(e.levels, make([]tlog.Hash, 0, transparency.TileWidth))
		}
		hs := append(e.levels[level], h)
		e.levels[level] = hs
		if len(hs) < transparency.TileWidth {
			break
		}
		n /= transparency.TileWidth
		if full != nil {
			full(level, n, hs)
		}
		h, e.levels[level] = perfect(hs), hs[:0]
	}
	e.size++
}

// perfect is the root over a power of two of hashes.
func perfect(hs []tlog.Hash) tlog.Hash {
	if len(hs) == 1 {
		return hs[0]
	}
	return tlog.NodeHash(perfect(hs[:len(hs)/2]), perfect(hs[len(hs)/2:]))
}

var noRoot, _ = tlog.TreeHash(0, nil)

// root is the root of the tree as it is.
func (e *edge) root() tlog.Hash {
	var right *tlog.Hash
	for _, hs := range e.levels { // the lowest level is the right end
		for len(hs) > 0 {
			low := len(hs) & -len(hs)
			h := perfect(hs[len(hs)-low:])
			if right != nil {
				h = tlog.NodeHash(h, *right)
			}
			right, hs = &h, hs[:len(hs)-low]
		}
	}
	if right == nil {
		return noRoot
	}
	return *right
}

func (e *edge) clone() *edge {
	c := &edge{size: e.size, levels: make([][]tlog.Hash, len(e.levels))}
	for i, hs := range e.levels {
		c.levels[i] = append(make([]tlog.Hash, 0, transparency.TileWidth), hs...)
	}
	return c
}

// A reader reads the hashes of a tree of a size from tiles, each of which it reads
// once, as far as it remembers.
type reader struct {
	tiles Tiles
	size  int64
	have  map[tlog.Tile][]byte
}

func newReader(tiles Tiles, size int64) *reader {
	return &reader{tiles: tiles, size: size, have: map[tlog.Tile][]byte{}}
}

// ReadHashes implements tlog.HashReader.
func (r *reader) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		t := tlog.TileForIndex(8, x)
		t.W = int(min(transparency.TileWidth, r.size>>(8*t.L)-t.N*transparency.TileWidth))
		data, ok := r.have[t]
		if !ok {
			hs, err := r.tiles.Hashes(t.L, t.N, t.W)
			if err != nil {
				return nil, err
			}
			for k := range hs {
				data = append(data, hs[k][:]...)
			}
			if len(r.have) == 1000 { // 8 MB
				clear(r.have)
			}
			r.have[t] = data
		}
		h, err := tlog.HashFromTile(t, data, x)
		if err != nil {
			return nil, err
		}
		out[i] = h
	}
	return out, nil
}
