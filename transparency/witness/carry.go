package witness

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"liuhen/internal/checkpoint"
)

// MakeRequest makes the file that is carried to a witness without a network, from
// what a log has public after https://c2sp.org/tlog-tiles: its newest checkpoint
// and the tiles. old is the size that the witness last cosigned. read returns the
// file at a path below the log's address, such as "checkpoint" or
// "tile/0/x001/234.p/7". Nobody need be asked for it but the log, and the log not
// be believed: tiles that do not lead to the checkpoint's root are an error.
func MakeRequest(read func(path string) ([]byte, error), old int64) (Request, error) {
	signed, err := read("checkpoint")
	if err != nil {
		return Request{}, fmt.Errorf("the log's checkpoint: %w", err)
	}
	at, err := checkpoint.Peek(signed)
	if err != nil {
		return Request{}, fmt.Errorf("the log's checkpoint: %w", err)
	}
	q := Request{Old: old, Checkpoint: signed}
	switch {
	case old > at.Size:
		return Request{}, fmt.Errorf("the log %s shows %d records, and the witness has cosigned %d: records are lost, or this is an old copy of the log", at.Origin, at.Size, old)
	case old == 0 || old == at.Size:
		return q, nil
	}
	tree := tlog.Tree{N: at.Size, Hash: at.Root}
	q.Proof, err = tlog.ProveTree(at.Size, old, tlog.TileHashReader(tree, tileReader(read)))
	if err != nil {
		return Request{}, fmt.Errorf("prove size %d of %s from size %d: %w", at.Size, at.Origin, old, err)
	}
	return q, nil
}

// tileHeight is that of tlog-tiles: 256 hashes.
const tileHeight = 8

// tileReader reads tiles where tlog-tiles has them.
type tileReader func(path string) ([]byte, error)

func (tileReader) Height() int                     { return tileHeight }
func (tileReader) SaveTiles([]tlog.Tile, [][]byte) {}

func (read tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, t := range tiles {
		data, err := read(tilePath(t))
		if err != nil {
			return nil, fmt.Errorf("tile: %w", err)
		}
		out = append(out, data)
	}
	return out, nil
}

// tilePath is where a tile of hashes is: "tile/<level>/<number>", the number in
// groups of three digits, all but the last with an x before them, and ".p/<width>"
// behind it for a tile that is not full.
func tilePath(t tlog.Tile) string {
	number := fmt.Sprintf("%03d", t.N%1000)
	for n := t.N / 1000; n > 0; n /= 1000 {
		number = fmt.Sprintf("x%03d/%s", n%1000, number)
	}
	path := fmt.Sprintf("tile/%d/%s", t.L, number)
	if t.W < 1<<tileHeight {
		path += fmt.Sprintf(".p/%d", t.W)
	}
	return path
}
