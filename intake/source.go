package intake

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// A source is an open log file: its digest, and its bytes unpacked.
type source struct {
	name   string // without its folder
	digest string // "sha256:" and the hash of the file as it is, packed or not
	size   int64

	file   *os.File
	since  time.Time // when the file was last changed
	limits Limits
	packed int64 // bytes read of the file; owned by the goroutine that reads
}

// openSource opens a file and hashes it.
func openSource(ctx context.Context, path string, limits Limits) (*source, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	s := &source{name: filepath.Base(path), file: file, limits: limits}
	if err := s.hash(ctx); err != nil {
		file.Close()
		return nil, &FileError{File: s.name, Err: err}
	}
	return s, nil
}

func (s *source) hash(ctx context.Context) error {
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("is not a regular file")
	}
	s.size, s.since = info.Size(), info.ModTime()
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for {
		n, err := s.file.Read(buf)
		h.Write(buf[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	s.digest = "sha256:" + hex.EncodeToString(h.Sum(nil))
	return nil
}

func (s *source) close() error { return s.file.Close() }

// unchanged fails if the file was written to since it was hashed: the ids of
// its rows would then be wrong.
func (s *source) unchanged() error {
	info, err := s.file.Stat()
	if err != nil {
		return &FileError{File: s.name, Err: err}
	}
	if info.Size() != s.size || !info.ModTime().Equal(s.since) {
		return &FileError{File: s.name, Err: errors.New("was changed while it was read")}
	}
	return nil
}

// unpack returns the bytes of the file from its beginning, unpacked where it
// is gzipped, whatever its name.
func (s *source) unpack() (io.Reader, error) {
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	s.packed = 0
	in := bufio.NewReaderSize(&counting{s: s}, 64<<10)
	magic, err := in.Peek(2)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return in, nil
	}
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	return &unpacking{s: s, z: z}, nil
}

// counting reads the file and counts.
type counting struct{ s *source }

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.s.file.Read(p)
	c.s.packed += int64(n)
	return n, err
}

// unpacking reads gzip and stops where a small file unpacks to no end.
type unpacking struct {
	s     *source
	z     *gzip.Reader
	total int64
}

// freely is how much a file may unpack to whatever its ratio.
const freely = 64 << 20

func (u *unpacking) Read(p []byte) (int, error) {
	n, err := u.z.Read(p)
	u.total += int64(n)
	switch {
	case u.total > u.s.limits.Unpacked:
		return 0, fmt.Errorf("unpacks to more than %d bytes", u.s.limits.Unpacked)
	case u.total > freely && u.total/max(u.s.packed, 1) > u.s.limits.Ratio:
		return 0, fmt.Errorf("unpacks to more than %d times its size", u.s.limits.Ratio)
	case err == io.ErrUnexpectedEOF:
		return n, errors.New("the gzip file ends in the middle; it was cut off")
	case err != nil && err != io.EOF:
		return n, fmt.Errorf("unpack: %w", err)
	}
	return n, err
}

// A record is one row as a file has it, by column. It is good until the next
// one is read.
type record struct {
	number  int64
	line    int
	path    string
	trace   int
	values  []string
	kinds   []kind           // absent where the row has no such value; in CSV the same for every row
	whole   map[string]*node // attributes that are kept with all that they hold
	refused string           // why the row cannot be read
	repairs []Repair         // what the reader put right
}

// clone is a record that keeps.
func (r *record) clone() *record {
	c := *r
	c.values = append([]string(nil), r.values...)
	if r.path != "" {
		c.kinds = append([]kind(nil), r.kinds...)
	}
	return &c
}

// A kind is the type that a file itself gives a value.
type kind byte

const (
	absent kind = iota
	textKind
	dateKind
	intKind
	floatKind
	booleanKind
)

// columns are the names of a file's columns. Those of XES come up as it is
// read.
type columns struct {
	names []string
	index map[string]int
}

func newColumns() *columns { return &columns{index: make(map[string]int)} }

func (c *columns) add(name string) int {
	i, ok := c.index[name]
	if !ok {
		i = len(c.names)
		c.names = append(c.names, name)
		c.index[name] = i
	}
	return i
}

// rows reads the records of a file, one after the other, to io.EOF. Other
// errors are *FileError.
type rows interface {
	next() (*record, error)
	notes() []Note
}

// openRows begins to read a source with the reader that the mapping asks for.
func openRows(s *source, m *Mapping, cols *columns, strict bool) (rows, error) {
	in, err := s.unpack()
	if err != nil {
		return nil, &FileError{File: s.name, Err: err}
	}
	if m.Format == "xes" {
		r, err := newXES(s.name, in, cols, s.limits, strict)
		if err != nil {
			return nil, err
		}
		r.whole = m.parts.whole
		return r, nil
	}
	return newCSV(s.name, in, m, cols, s.limits)
}
