package bagit

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// freely is how much an archive may unpack to whatever its ratio.
const freely = 64 << 20

// OpenArchive shows the files of a zip or an unpacked tar. It looks at the
// names as they stand in the archive, before anything tidies them: one that is
// unsafe or stands twice, a link, an encrypted file, or more than the limits
// allow is an error. Use the result with Open.
func OpenArchive(r io.ReaderAt, size int64, limits Limits) (fs.FS, error) {
	limits = limits.orDefault()
	head := make([]byte, 4)
	if _, err := r.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	a := &archive{files: make(map[string]*packed), folders: map[string][]string{".": nil}, limits: limits}
	var err error
	if bytes.HasPrefix(head, []byte("PK")) {
		err = a.addZip(r, size)
	} else {
		err = a.addTar(r, size)
	}
	if err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	for name := range a.folders {
		slices.Sort(a.folders[name])
	}
	return a, nil
}

// An archive is a read-only file system over packed files.
type archive struct {
	files   map[string]*packed
	folders map[string][]string // names in each folder
	limits  Limits
	bytes   int64
}

type packed struct {
	size int64
	open func() (io.ReadCloser, error)
}

func (a *archive) addZip(r io.ReaderAt, size int64) error {
	z, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return fmt.Errorf("as zip: %w", err)
	}
	var narrow int64
	for _, f := range z.File {
		if f.Mode()&^fs.ModePerm&^fs.ModeDir != 0 {
			return fmt.Errorf("%q is neither a file nor a folder", clip(f.Name))
		}
		if f.Flags&1 != 0 {
			return fmt.Errorf("%q is encrypted", clip(f.Name))
		}
		if f.UncompressedSize64 > 1<<62 || f.CompressedSize64 > 1<<62 {
			return fmt.Errorf("%q says that it has %d bytes", clip(f.Name), f.UncompressedSize64)
		}
		narrow += int64(f.CompressedSize64)
		if err := a.add(f.Name, strings.HasSuffix(f.Name, "/"), int64(f.UncompressedSize64), f.Open); err != nil {
			return err
		}
		if a.bytes > freely && a.bytes/max(narrow, 1) > a.limits.Ratio {
			return fmt.Errorf("unpacks to more than %d times its size", a.limits.Ratio)
		}
	}
	return nil
}

func (a *archive) addTar(r io.ReaderAt, size int64) error {
	in := &counter{r: io.NewSectionReader(r, 0, size)}
	t := tar.NewReader(in)
	for n := 0; ; n++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) && n > 0 {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return errors.New("it is empty")
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return fmt.Errorf("as tar: %w", err)
		}
		switch h.Typeflag {
		case tar.TypeReg, tar.TypeDir:
		default:
			return fmt.Errorf("%q is neither a file nor a folder", clip(h.Name))
		}
		for name := range h.PAXRecords {
			if strings.HasPrefix(name, "GNU.sparse") {
				return fmt.Errorf("%q is a sparse file, which is not read here", clip(h.Name))
			}
		}
		section := io.NewSectionReader(r, in.n, h.Size)
		open := func() (io.ReadCloser, error) {
			return io.NopCloser(io.NewSectionReader(section, 0, section.Size())), nil
		}
		name := h.Name
		if h.Typeflag == tar.TypeDir {
			name = strings.TrimSuffix(name, "/") + "/"
		}
		if name = strings.TrimPrefix(name, "./"); name == "" || name == "/" {
			continue // the folder that was packed
		}
		if err := a.add(name, h.Typeflag == tar.TypeDir, h.Size, open); err != nil {
			return err
		}
		if in.n+h.Size > size {
			return fmt.Errorf("%q is cut off", clip(h.Name))
		}
	}
}

// A counter knows how far it was read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (a *archive) add(name string, folder bool, size int64, open func() (io.ReadCloser, error)) error {
	clean := strings.TrimSuffix(name, "/")
	if why := unsafe(clean); why != "" {
		return fmt.Errorf("the name %q %s", clip(name), why)
	}
	if _, ok := a.files[clean]; ok || !folder && a.folders[clean] != nil {
		return fmt.Errorf("the name %q stands twice", clip(name))
	}
	if len(a.files) >= a.limits.Files || len(a.folders) > a.limits.Files {
		return fmt.Errorf("it has more than %d files", a.limits.Files)
	}
	if folder {
		return a.folder(clean)
	}
	if size < 0 || size > a.limits.Bytes || a.bytes > a.limits.Bytes-size {
		return fmt.Errorf("it unpacks to more than %d bytes", a.limits.Bytes)
	}
	a.bytes += size
	parent := path.Dir(clean)
	if err := a.folder(parent); err != nil {
		return err
	}
	a.folders[parent] = append(a.folders[parent], path.Base(clean))
	a.files[clean] = &packed{size: size, open: open}
	return nil
}

// folder adds a folder and those that it is in.
func (a *archive) folder(name string) error {
	if _, ok := a.folders[name]; ok {
		return nil
	}
	if _, ok := a.files[name]; ok {
		return fmt.Errorf("the name %q is that of a file and of a folder", clip(name))
	}
	parent := path.Dir(name)
	if err := a.folder(parent); err != nil {
		return err
	}
	a.folders[name] = []string{}
	a.folders[parent] = append(a.folders[parent], path.Base(name))
	return nil
}

// Open is for fs.FS.
func (a *archive) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if p, ok := a.files[name]; ok {
		r, err := p.open()
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		return &openFile{stat: stat{name: path.Base(name), size: p.size}, r: r, left: p.size}, nil
	}
	if names, ok := a.folders[name]; ok {
		return &openFolder{stat: stat{name: path.Base(name), folder: true}, in: a, at: name, names: names}, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func (a *archive) entry(folder, name string) stat {
	full := path.Join(folder, name)
	if p, ok := a.files[full]; ok {
		return stat{name: name, size: p.size}
	}
	return stat{name: name, folder: true}
}

// stat describes a file or folder of an archive.
type stat struct {
	name   string
	size   int64
	folder bool
}

func (s stat) Name() string               { return s.name }
func (s stat) Size() int64                { return s.size }
func (s stat) ModTime() time.Time         { return time.Time{} }
func (s stat) IsDir() bool                { return s.folder }
func (s stat) Sys() any                   { return nil }
func (s stat) Type() fs.FileMode          { return s.Mode().Type() }
func (s stat) Info() (fs.FileInfo, error) { return s, nil }
func (s stat) Mode() fs.FileMode {
	if s.folder {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

// openFile reads a packed file, and no more of it than it said it has.
type openFile struct {
	stat
	r    io.ReadCloser
	left int64
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.stat, nil }
func (f *openFile) Close() error               { return f.r.Close() }
func (f *openFile) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if f.left -= int64(n); f.left < 0 {
		return 0, errors.New("it unpacks to more than the archive says")
	}
	return n, err
}

// openFolder lists a folder.
type openFolder struct {
	stat
	in    *archive
	at    string
	names []string
}

func (f *openFolder) Stat() (fs.FileInfo, error) { return f.stat, nil }
func (f *openFolder) Close() error               { return nil }
func (f *openFolder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: f.at, Err: errors.New("is a folder")}
}

// ReadDir is for fs.ReadDirFile.
func (f *openFolder) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 || n > len(f.names) {
		if n > 0 && len(f.names) == 0 {
			return nil, io.EOF
		}
		n = len(f.names)
	}
	list := make([]fs.DirEntry, n)
	for i, name := range f.names[:n] {
		list[i] = f.in.entry(f.at, name)
	}
	f.names = f.names[n:]
	return list, nil
}

// statDir reports whether a name is a folder.
func statDir(fsys fs.FS, name string) (bool, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return false, err
	}
	return info.IsDir(), nil
}
