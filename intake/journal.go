package intake

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// A journal remembers how far the import of one file has come, so that a run
// that was killed can go on. It is a small file, replaced as a whole and
// synced, at most a few times a second: after a kill some rows are handed in
// again, and the receiver knows their command ids.
type journal struct {
	path string // empty: nothing is kept
	last time.Time

	Source  string   `json:"source"`
	File    string   `json:"file"`
	Digest  string   `json:"file_digest"`
	Mapping string   `json:"mapping_digest"`
	Rows    int64    `json:"rows"`             // acknowledged, from the beginning of the file
	Done    bool     `json:"done"`             // all of them
	Probe   *Command `json:"probe,omitempty"`  // the last that was recorded
	Report  string   `json:"report,omitempty"` // the row-by-row report, and where it ended
	Offset  int64    `json:"report_offset,omitempty"`
	Tally   tally    `json:"tally"`
}

// between is how long a journal may lag behind.
const between = 200 * time.Millisecond

// openJournal reads the journal of a file, or begins one. A journal for
// another state of the file or of the mapping has another name.
func openJournal(folder, source string, s *source, m *Mapping) (*journal, error) {
	j := &journal{Source: source, File: s.name, Digest: s.digest, Mapping: m.Digest}
	if folder == "" {
		return j, nil
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	sum := sha256.Sum256([]byte(source + "\x00" + s.digest + "\x00" + m.Digest))
	j.path = filepath.Join(folder, "import-"+hex.EncodeToString(sum[:12])+".json")
	data, err := os.ReadFile(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	kept := journal{path: j.path}
	if json.Unmarshal(data, &kept) != nil || kept.Digest != j.Digest || kept.Mapping != j.Mapping || kept.Source != j.Source || kept.Rows < 0 {
		return j, nil //nolint:nilerr // not ours or damaged: begin again, which doubles nothing
	}
	kept.File = s.name
	return &kept, nil
}

// restart forgets what was done.
func (j *journal) restart() {
	*j = journal{path: j.path, Source: j.Source, File: j.File, Digest: j.Digest, Mapping: j.Mapping}
}

// due reports whether it is time to save.
func (j *journal) due() bool { return j.path != "" && time.Since(j.last) >= between }

// save replaces the file and syncs it.
func (j *journal) save() error {
	if j.path == "" {
		return nil
	}
	data, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("save journal: %w", err)
	}
	if err := replaceFile(j.path, data); err != nil {
		return fmt.Errorf("save journal: %w", err)
	}
	j.last = time.Now()
	return nil
}

// replaceFile writes a file anew, all or nothing, and syncs it and its folder.
func replaceFile(path string, data []byte) error {
	folder := filepath.Dir(path)
	f, err := os.CreateTemp(folder, ".import-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (j *journal) remove() error {
	if j.path == "" {
		return nil
	}
	if err := os.Remove(j.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove journal: %w", err)
	}
	return nil
}
