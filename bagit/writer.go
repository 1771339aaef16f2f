package bagit

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"time"
)

// Info is what a Writer says of the bag as a whole.
type Info struct {
	Folder  string    // the bag's folder in the zip: one name, such as the case number
	Date    time.Time // Bagging-Date, the day in its zone; it is also the date of every file in the zip
	Entries []Entry   // further lines of bag-info.txt, in their order
}

// The writer's own lines of bag-info.txt.
var ownLabels = []string{"Bagging-Date", "Payload-Oxum"}

// A Writer writes a bag of BagIt 1.0 as a zip, file by file, with manifests of
// SHA-256 and SHA-512. The same input gives the same bytes. It is for one
// goroutine, and after an error it does nothing more.
type Writer struct {
	zip     *zip.Writer
	info    Info
	current *hashed
	payload []*hashed
	tags    []*hashed
	names   map[string]string // folded → as it was given
	folders map[string]string // likewise
	oxum    int64
	err     error
}

// hashed is a file that was written or is being written.
type hashed struct {
	name   string
	w      io.Writer
	short  hash.Hash
	long   hash.Hash
	size   int64
	closed bool
}

func (h *hashed) Write(p []byte) (int, error) {
	if h.closed {
		return 0, fmt.Errorf("write bag: %s is done; the next file was begun", h.name)
	}
	n, err := h.w.Write(p)
	h.short.Write(p[:n])
	h.long.Write(p[:n])
	h.size += int64(n)
	return n, err
}

// NewWriter begins a bag on w.
func NewWriter(w io.Writer, info Info) (*Writer, error) {
	if why := wrong(info.Folder); why != "" || strings.Contains(info.Folder, "/") {
		return nil, fmt.Errorf("write bag: the folder %q %s", info.Folder, either(why, "has a slash"))
	}
	if info.Date.IsZero() {
		return nil, errors.New("write bag: there is no bagging date")
	}
	for _, e := range info.Entries {
		if why := e.wrong(); why != "" {
			return nil, fmt.Errorf("write bag: bag-info line %q %s", e.Label, why)
		}
	}
	b := &Writer{zip: zip.NewWriter(w), info: info, names: make(map[string]string), folders: make(map[string]string)}
	// A bag without payload has the folder all the same.
	if _, err := b.zip.CreateHeader(b.header("data/", zip.Store)); err != nil {
		return nil, fmt.Errorf("write bag: %w", err)
	}
	return b, b.tag("bagit.txt", "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
}

func (e Entry) wrong() string {
	switch {
	case e.Label == "" || strings.TrimSpace(e.Label) != e.Label || strings.ContainsAny(e.Label, ":\r\n"):
		return "has no label of one line without a colon"
	case strings.ContainsAny(e.Value, "\r\n"):
		return "has a value of more than one line"
	case slices.ContainsFunc(ownLabels, func(own string) bool { return strings.EqualFold(own, e.Label) }):
		return "is written by the writer itself"
	}
	return ""
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// wrong says why the writer does not take a path; "" where it does. It is
// stricter than the reader: what we write can be unpacked everywhere, and every
// validator finds the files. A % is to be written as %25, which not all of them
// read (bagit-python 1.9 does not).
func wrong(name string) string {
	if why := unsafe(name); why != "" {
		return why
	}
	if strings.Contains(name, "%") {
		return "has a %, which validators read in different ways"
	}
	return portable(name)
}

// header describes a file of the zip, the same whenever it is made.
func (b *Writer) header(name string, method uint16) *zip.FileHeader {
	y, m, d := b.info.Date.Date()
	return &zip.FileHeader{
		Name: b.info.Folder + "/" + name, Method: method,
		Modified: time.Date(y, m, d, 0, 0, 0, 0, time.UTC),
	}
}

// Create begins a file: payload where its path begins with data/, a tag file
// of its own otherwise. What is written goes through to the zip; the file ends
// where the next one is created or the bag is closed.
func (b *Writer) Create(name string) (io.Writer, error) { return b.begin(name, zip.Deflate) }

// CreateStored is Create for a file that is not packed: small ones that are read by
// the thousand, whose unpacking would take longer than all that is done with them.
func (b *Writer) CreateStored(name string) (io.Writer, error) { return b.begin(name, zip.Store) }

func (b *Writer) begin(name string, method uint16) (io.Writer, error) {
	if b.err != nil {
		return nil, b.err
	}
	if why := wrong(name); why != "" {
		return nil, b.fail(fmt.Errorf("write bag: the path %q %s", clip(name), why))
	}
	if name == "bagit.txt" || name == "bag-info.txt" || name == "fetch.txt" || manifestName.MatchString(name) || name == "data" {
		return nil, b.fail(fmt.Errorf("write bag: %s is the writer's own", name))
	}
	return b.create(name, method)
}

func (b *Writer) create(name string, method uint16) (*hashed, error) {
	b.finish()
	if err := b.claim(name); err != nil {
		return nil, b.fail(err)
	}
	w, err := b.zip.CreateHeader(b.header(name, method))
	if err != nil {
		return nil, b.fail(fmt.Errorf("write bag: %s: %w", name, err))
	}
	b.current = &hashed{name: name, w: w, short: sha256.New(), long: sha512.New()}
	return b.current, nil
}

// claim refuses a path that stands already, or that some system would take for
// one that does.
func (b *Writer) claim(name string) error {
	alike := folded(name)
	if other, ok := b.names[alike]; ok {
		return fmt.Errorf("write bag: %q and %q would be one file on some systems", clip(other), clip(name))
	}
	if other, ok := b.folders[alike]; ok {
		return fmt.Errorf("write bag: %q is a folder already, as %q", clip(name), clip(other))
	}
	b.names[alike] = name
	for i := range len(name) {
		if name[i] != '/' {
			continue
		}
		folder, alike := name[:i], folded(name[:i])
		if other, ok := b.names[alike]; ok {
			return fmt.Errorf("write bag: %q is a file already, as %q", clip(folder), clip(other))
		}
		if other, ok := b.folders[alike]; ok && other != folder {
			return fmt.Errorf("write bag: the folders %q and %q would be one on some systems", clip(other), clip(folder))
		}
		b.folders[alike] = folder
	}
	return nil
}

// finish notes the digests of the file that was being written.
func (b *Writer) finish() {
	f := b.current
	if f == nil {
		return
	}
	f.closed = true
	b.current = nil
	if inPayload(f.name) {
		b.payload = append(b.payload, f)
		b.oxum += f.size
	} else {
		b.tags = append(b.tags, f)
	}
}

func (b *Writer) fail(err error) error {
	if b.err == nil {
		b.err = err
	}
	return b.err
}

// tag writes a tag file of the writer's own.
func (b *Writer) tag(name, text string) error {
	f, err := b.create(name, zip.Deflate)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(f, text); err != nil {
		return b.fail(fmt.Errorf("write bag: %s: %w", name, err))
	}
	return nil
}

// Close writes bag-info.txt and the manifests, and ends the zip. It does not
// close what it was written to. Without it there is no bag.
func (b *Writer) Close() error {
	if b.err != nil {
		return b.err
	}
	b.finish()
	var info bytes.Buffer
	for _, e := range b.info.Entries {
		fmt.Fprintf(&info, "%s: %s\n", e.Label, e.Value)
	}
	fmt.Fprintf(&info, "Bagging-Date: %s\n", b.info.Date.Format(time.DateOnly))
	fmt.Fprintf(&info, "Payload-Oxum: %d.%d\n", b.oxum, len(b.payload))
	if err := b.tag("bag-info.txt", info.String()); err != nil {
		return err
	}
	for _, m := range []struct {
		name string
		of   *[]*hashed
	}{{"manifest", &b.payload}, {"tagmanifest", &b.tags}} {
		b.finish()
		// Both lists are made before either is written: a tag manifest does
		// not list the other one.
		short := list(*m.of, func(h *hashed) hash.Hash { return h.short })
		long := list(*m.of, func(h *hashed) hash.Hash { return h.long })
		if err := errors.Join(b.tag(m.name+"-sha256.txt", short), b.tag(m.name+"-sha512.txt", long)); err != nil {
			return err
		}
	}
	b.finish()
	if err := b.zip.Close(); err != nil {
		return b.fail(fmt.Errorf("write bag: %w", err))
	}
	b.err = errors.New("write bag: it is closed")
	return nil
}

// list is the text of a manifest, by path.
func list(files []*hashed, sum func(*hashed) hash.Hash) string {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b *hashed) int { return strings.Compare(a.name, b.name) })
	var b strings.Builder
	for _, f := range files {
		fmt.Fprintf(&b, "%s  %s\n", hex.EncodeToString(sum(f).Sum(nil)), f.name)
	}
	return b.String()
}
