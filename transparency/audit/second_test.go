package audit_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"liuhen/eventstore"
	"liuhen/internal/checkpoint"
	"liuhen/transparency/keys"
)

// TestSecondOpinion has our tiles, checkpoints and proofs checked by code that
// others wrote: Tessera's fsck and client, and the proofs of transparency-dev/merkle.
func TestSecondOpinion(t *testing.T) {
	o := newOffice(t)
	if why := o.start(t); why != "" {
		t.Fatal(why)
	}
	old := o.sealed(t, o.record(t, 9, 300))
	last := o.record(t, 40, 400)
	c := o.sealed(t, last)

	files := client.FileFetcher{Root: string(o.tiles())}
	hasher := func(bundle []byte) ([][]byte, error) {
		var b api.EntryBundle
		if err := b.UnmarshalText(bundle); err != nil {
			return nil, err
		}
		var hashes [][]byte
		for _, e := range b.Entries {
			hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(e))
		}
		return hashes, nil
	}
	if err := fsck.New(testOrigin, o.key.verifier, files, hasher, fsck.Opts{N: 2}).Check(t.Context()); err != nil {
		t.Errorf("Tessera's fsck: %v", err)
	}

	theirs, err := client.NewProofBuilder(t.Context(), uint64(c.Size), files.ReadTile)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []eventstore.Position{1, 256, 257, 299, 512, last} {
		ours, err := o.log.Prove(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		var hashes [][]byte
		for _, h := range ours.Hashes {
			hashes = append(hashes, h[:])
		}
		leaf := rfc6962.DefaultHasher.HashLeaf(ours.Leaf.Text())
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(p)-1, uint64(c.Size), leaf, hashes, c.Root[:]); err != nil {
			t.Errorf("position %d: merkle: %v", p, err)
		}
		built, err := theirs.InclusionProof(t.Context(), uint64(p)-1)
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprintf("%x", built) != fmt.Sprintf("%x", hashes) {
			t.Errorf("position %d: Tessera's proof is %x, ours %x", p, built, hashes)
		}
	}
	grown, err := o.log.Consistency(old.Size, c.Size)
	if err != nil {
		t.Fatal(err)
	}
	var hashes [][]byte
	for _, h := range grown {
		hashes = append(hashes, h[:])
	}
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(old.Size), uint64(c.Size), hashes, old.Root[:], c.Root[:]); err != nil {
		t.Errorf("consistency: merkle: %v", err)
	}

	// And it would have said so.
	o.stop()
	file := string(o.tiles()) + "/tile/0/001"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[17] ^= 1
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := fsck.New(testOrigin, o.key.verifier, files, hasher, fsck.Opts{N: 2}).Check(t.Context()); err == nil {
		t.Error("Tessera's fsck finds nothing wrong with a tile that was altered")
	}
}

// vectors reads the files of an archive of test vectors; the test is skipped where
// it is not there.
func vectors(t *testing.T, name string) map[string][]byte {
	t.Helper()
	dir := os.Getenv("LIUHENTEST_VECTORS")
	if dir == "" {
		dir = "../../../shared/data/vectors"
	}
	f, err := os.Open(path.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("the vectors are not here: put %s into %s, or name their folder in LIUHENTEST_VECTORS", name, dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !strings.HasSuffix(name, ".tar.gz") {
		data, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		return map[string][]byte{name: data}
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if all[path.Clean(h.Name)], err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func hashOf(raw []byte) (h tlog.Hash, ok bool) {
	return h, copy(h[:], raw) == len(h) && len(raw) == len(h)
}

func proofOf(raw [][]byte) (p []tlog.Hash, ok bool) {
	for _, r := range raw {
		h, ok := hashOf(r)
		if !ok {
			return nil, false
		}
		p = append(p, h)
	}
	return p, true
}

// TestMerkleVectors has the checks that we rely on judge the vectors of
// transparency-dev/merkle, good and bad.
func TestMerkleVectors(t *testing.T) {
	seen := 0
	for name, text := range vectors(t, "merkle_proof_vectors.tar.gz") {
		if !strings.HasSuffix(name, ".json") {
			continue
		}
		var v struct {
			LeafIdx, TreeSize, Size1, Size2 uint64
			Root, LeafHash, Root1, Root2    []byte
			Proof                           [][]byte
			WantErr                         bool
		}
		if err := json.Unmarshal(text, &v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		seen++
		hashes, ok := proofOf(v.Proof)
		if strings.Contains(name, "/inclusion/") {
			root, ok1 := hashOf(v.Root)
			leaf, ok2 := hashOf(v.LeafHash)
			good := ok && ok1 && ok2 && v.TreeSize < 1<<62 && v.LeafIdx < v.TreeSize &&
				tlog.CheckRecord(hashes, int64(v.TreeSize), root, int64(v.LeafIdx), leaf) == nil
			if good == v.WantErr {
				t.Errorf("%s: proven %v, want %v", name, good, !v.WantErr)
			}
			continue
		}
		// Some roots are words of another length, for nobody looks at more than
		// whether the two are the same.
		one, two := tlog.Hash(sha256.Sum256(v.Root1)), tlog.Hash(sha256.Sum256(v.Root2))
		if h, ok := hashOf(v.Root1); ok {
			one = h
		}
		if h, ok := hashOf(v.Root2); ok {
			two = h
		}
		good := ok && v.Size1 >= 1 && v.Size1 <= v.Size2 && v.Size2 < 1<<62 &&
			tlog.CheckTree(hashes, int64(v.Size2), two, int64(v.Size1), one) == nil
		if good == v.WantErr && !(v.Size1 == 0 && !v.WantErr) { // what an empty log grew into is not asked here
			t.Errorf("%s: proven %v, want %v", name, good, !v.WantErr)
		}
	}
	if seen != 518 {
		t.Errorf("%d vectors, want 518", seen)
	}
}

// TestChecksumDatabase reads a piece of Go's checksum database: its signed tree
// heads, tiles, and records that are looked up.
func TestChecksumDatabase(t *testing.T) {
	const vkey = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
	files := vectors(t, "go_sumdb_tlog_sample.tar.gz")
	v, err := keys.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	head := func(signed []byte) checkpoint.Checkpoint {
		t.Helper()
		c, _, err := checkpoint.Open(signed, note.VerifierList(v))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	latest := head(files["latest"])
	tiles := tlog.TileHashReader(tlog.Tree{N: latest.Size, Hash: latest.Root}, sample(files))
	lookups := 0
	for name, text := range files {
		if !strings.HasPrefix(name, "lookup/") {
			continue
		}
		lookups++
		id, record, signed, err := tlog.ParseRecord(text)
		if err != nil {
			t.Fatal(err)
		}
		if c := head(signed); c.Size <= id {
			t.Errorf("%s: record %d under a head of %d", name, id, c.Size)
		}
		p, err := tlog.ProveRecord(latest.Size, id, tiles)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := tlog.CheckRecord(p, latest.Size, latest.Root, id, tlog.RecordHash(record)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		record[0] ^= 1
		if tlog.CheckRecord(p, latest.Size, latest.Root, id, tlog.RecordHash(record)) == nil {
			t.Errorf("%s: proven with another byte", name)
		}
	}
	if lookups == 0 {
		t.Error("no records to look up")
	}
	forged := bytes.Replace(bytes.Clone(files["latest"]), []byte("\n7"), []byte("\n8"), 1)
	if _, _, err := checkpoint.Open(forged, note.VerifierList(v)); err == nil {
		t.Error("a tree head with another size is taken")
	}
}

// sample are tiles as the go command asks for them.
type sample map[string][]byte

func (sample) Height() int { return 8 }

func (sample) SaveTiles([]tlog.Tile, [][]byte) {}

func (s sample) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, t := range tiles {
		data, ok := s[t.Path()]
		if !ok { // the full tile has it
			full := t
			full.W = 1 << 8
			if data, ok = s[full.Path()]; ok {
				data = data[:t.W*tlog.HashSize]
			}
		}
		if !ok {
			return nil, fmt.Errorf("the sample has no %s", t.Path())
		}
		out = append(out, data)
	}
	return out, nil
}

// TestCertificateTransparency checks proofs of a real log of certificates.
func TestCertificateTransparency(t *testing.T) {
	files := vectors(t, "ct_argon2020_proofs.tar.gz")
	var sth struct {
		Size int64  `json:"tree_size"`
		Root []byte `json:"sha256_root_hash"`
	}
	var entries struct {
		Entries []struct {
			Leaf []byte `json:"leaf_input"`
		} `json:"entries"`
	}
	var inclusion struct {
		Index int64    `json:"leaf_index"`
		Path  [][]byte `json:"audit_path"`
	}
	for name, into := range map[string]any{"sth.json": &sth, "entries.json": &entries, "proof.json": &inclusion} {
		if err := json.Unmarshal(files[name], into); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	root, _ := hashOf(sth.Root)
	p, _ := proofOf(inclusion.Path)
	good := 0
	for _, e := range entries.Entries {
		if tlog.CheckRecord(p, sth.Size, root, inclusion.Index, tlog.RecordHash(e.Leaf)) == nil {
			good++
			e.Leaf[len(e.Leaf)-1] ^= 1
			if tlog.CheckRecord(p, sth.Size, root, inclusion.Index, tlog.RecordHash(e.Leaf)) == nil {
				t.Error("proven with another byte")
			}
		}
	}
	if good != 1 {
		t.Errorf("the proof of leaf %d under a tree of %d proves %d of %d entries, want 1", inclusion.Index, sth.Size, good, len(entries.Entries))
	}
}

// TestNoteVectors has our reader of signed notes judge the vectors, good and bad.
func TestNoteVectors(t *testing.T) {
	var all []struct {
		Name, Kind, Vkey, Note, Why string
		Valid                       bool
	}
	if err := json.Unmarshal(vectors(t, "signed_note_vectors.json")["signed_note_vectors.json"], &all); err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		var err error
		key, err := keys.NewVerifier(v.Vkey)
		if err == nil {
			switch v.Kind {
			case "signed-note":
				_, err = note.Open([]byte(v.Note), note.VerifierList(key))
			default:
				_, _, err = checkpoint.Open([]byte(v.Note), note.VerifierList(key))
			}
		}
		if (err == nil) != v.Valid {
			t.Errorf("%s (%s): %v, valid %v: %s", v.Name, v.Kind, err, v.Valid, v.Why)
		}
	}
	if len(all) == 0 {
		t.Error("no vectors")
	}
}
