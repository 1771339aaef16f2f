// Package bagit reads, checks and writes bags: folders with a list of digests
// of everything in them (RFC 8493, "BagIt 1.0"; editions 0.93 to 0.97 are read).
//
//	bag, err := bagit.Open(fsys)    // a folder: os.DirFS; a zip or tar: OpenArchive
//	report := bag.Validate()        // every file hashed, everything that is wrong
//
//	w, err := bagit.NewWriter(out, bagit.Info{Folder: "C-7", Date: day})
//	f, err := w.Create("data/record.json")
//	err = w.Close()                 // manifests and bag-info
//
// A bag comes from a stranger. Nothing is fetched, no path leads out of the bag,
// and what a small file may cost is bounded (Limits).
package bagit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/ianaindex"
)

// ErrNotBag says that there is no bag: no bagit.txt, or one that cannot be
// read. Whatever else is wrong with a bag stands in its Report.
var ErrNotBag = errors.New("not a bag")

// Limits bound what a hostile bag can cost. Zero fields mean the default.
type Limits struct {
	Files   int   // files in all; 200,000
	Bytes   int64 // of all files, unpacked; 64 GiB
	Ratio   int64 // unpacked bytes for each packed byte of a zip, once 64 MiB are unpacked; 400
	TagFile int64 // bytes of bagit.txt, bag-info.txt, a manifest or fetch.txt; 64 MiB
}

func (l Limits) orDefault() Limits {
	if l.Files <= 0 {
		l.Files = 200_000
	}
	if l.Bytes <= 0 {
		l.Bytes = 64 << 30
	}
	if l.Ratio <= 0 {
		l.Ratio = 400
	}
	if l.TagFile <= 0 {
		l.TagFile = 64 << 20
	}
	return l
}

// An Entry is a line of bag-info.txt: a label, which may come several times,
// and its value, without the line breaks that it was folded with.
type Entry struct {
	Label string
	Value string
}

// A Bag is a bag whose tag files have been read. Its payload has not been
// looked at yet: see Validate.
type Bag struct {
	Version  string  // of BagIt: 0.93 to 1.0
	Encoding string  // of the tag files but bagit.txt, as the bag names it
	Info     []Entry // of bag-info.txt, in its order; nil where there is none

	fsys      fs.FS
	limits    Limits
	major     bool              // 1.0 or later: stricter than the drafts
	files     map[string]int64  // every regular file and its size
	odd       []string          // what is neither file nor folder
	byName    map[string]string // file by its name without regard to case and normalisation
	manifests []manifest        // payload manifests
	tags      []manifest        // tag manifests
	fetch     []fetchLine
	infoFile  string
	found     Report // what was wrong already when it was read
}

// A manifest is a list of digests.
type manifest struct {
	file      string
	algorithm string
	lines     []manifestLine
}

type manifestLine struct {
	digest string // lower case
	path   string // as it is in the bag
	line   int
}

type fetchLine struct {
	url, path string
	line      int
}

// Open reads the tag files of a bag. fsys holds it at its root or, as a packed
// bag does (RFC 8493 section 4), in its only folder. The error is ErrNotBag
// where there is none, a fault of fsys, or a limit that was broken.
func Open(fsys fs.FS) (*Bag, error) { return OpenLimited(fsys, Limits{}) }

// OpenLimited is Open with limits of the caller's own.
func OpenLimited(fsys fs.FS, limits Limits) (*Bag, error) {
	b := &Bag{limits: limits.orDefault(), files: make(map[string]int64), byName: make(map[string]string)}
	root, err := rootOf(fsys)
	if err != nil {
		return nil, err
	}
	b.fsys = root
	if err := b.list(); err != nil {
		return nil, err
	}
	if err := b.readDeclaration(); err != nil {
		return nil, err
	}
	for _, read := range []func() error{b.readManifests, b.readInfo, b.readFetch} {
		if err := read(); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// FS is the bag as files, bagit.txt at its root.
func (b *Bag) FS() fs.FS { return b.fsys }

// Payload is the paths of all files under data/, sorted.
func (b *Bag) Payload() []string {
	var list []string
	for name := range b.files {
		if inPayload(name) {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

func inPayload(name string) bool { return strings.HasPrefix(name, "data/") }

// rootOf finds the folder that the bag is in.
func rootOf(fsys fs.FS) (fs.FS, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("read bag: %w", err)
	}
	if len(entries) == 1 && entries[0].IsDir() {
		return fs.Sub(fsys, entries[0].Name())
	}
	return fsys, nil
}

// list finds every file. Nothing is opened later that is not in this list, so
// that no link leads out of the bag.
func (b *Bag) list() error {
	var total int64
	return fs.WalkDir(b.fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("read bag: %w", err)
		}
		if d.IsDir() {
			return nil
		}
		if !d.Type().IsRegular() {
			b.odd = append(b.odd, name)
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return fmt.Errorf("read bag: %s: %w", name, err)
		}
		b.files[name] = info.Size()
		if len(b.files) > b.limits.Files {
			return fmt.Errorf("read bag: it has more than %d files", b.limits.Files)
		}
		if total += info.Size(); total > b.limits.Bytes {
			return fmt.Errorf("read bag: its files have more than %d bytes", b.limits.Bytes)
		}
		alike := folded(name)
		if other, ok := b.byName[alike]; ok {
			b.found.warn(Clash, name, 0, "differs from %q only in case or in how its characters are composed; some systems keep only one of the two", other)
		} else {
			b.byName[alike] = name
		}
		if odd := portable(name); odd != "" {
			b.found.warn(Unportable, name, 0, "%s", odd)
		}
		return nil
	})
}

// read returns the text of a tag file.
func (b *Bag) read(name string) ([]byte, error) {
	if size := b.files[name]; size > b.limits.TagFile {
		return nil, fmt.Errorf("read bag: %s has %d bytes, the limit is %d", name, size, b.limits.TagFile)
	}
	f, err := b.fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read bag: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, b.limits.TagFile+1))
	if err != nil {
		return nil, fmt.Errorf("read bag: %s: %w", name, err)
	}
	if int64(len(data)) > b.limits.TagFile {
		return nil, fmt.Errorf("read bag: %s has more than %d bytes", name, b.limits.TagFile)
	}
	return data, nil
}

var (
	versionLine  = regexp.MustCompile(`^BagIt-Version: ([0-9]{1,4}\.[0-9]{1,4})([ \t]*)$`)
	encodingLine = regexp.MustCompile(`^Tag-File-Character-Encoding: ([A-Za-z0-9._:+-]{1,60})([ \t]*)$`)
)

// readDeclaration reads bagit.txt: two lines, in UTF-8 without a byte order
// mark (RFC 8493 section 2.1.1).
func (b *Bag) readDeclaration() error {
	if _, ok := b.files["bagit.txt"]; !ok {
		return fmt.Errorf("%w: there is no bagit.txt", ErrNotBag)
	}
	if b.files["bagit.txt"] > 4096 {
		return fmt.Errorf("%w: bagit.txt has %d bytes, two lines were expected", ErrNotBag, b.files["bagit.txt"])
	}
	data, err := b.read("bagit.txt")
	if err != nil {
		return err
	}
	if bytes.HasPrefix(data, []byte("\ufeff")) {
		return fmt.Errorf("%w: bagit.txt begins with a byte order mark", ErrNotBag)
	}
	lines := splitLines(string(data))
	if len(lines) != 2 {
		return fmt.Errorf("%w: bagit.txt has %d lines, expected two: BagIt-Version and Tag-File-Character-Encoding", ErrNotBag, len(lines))
	}
	version, coding := versionLine.FindStringSubmatch(lines[0]), encodingLine.FindStringSubmatch(lines[1])
	if version == nil {
		return fmt.Errorf("%w: bagit.txt, line 1 is %q, expected BagIt-Version: 1.0", ErrNotBag, clip(lines[0]))
	}
	if coding == nil {
		return fmt.Errorf("%w: bagit.txt, line 2 is %q, expected Tag-File-Character-Encoding: UTF-8", ErrNotBag, clip(lines[1]))
	}
	b.Version, b.Encoding = version[1], coding[1]
	switch b.Version {
	case "0.93", "0.94", "0.95", "0.96", "0.97":
	case "1.0":
		b.major = true
		if version[2] != "" || coding[2] != "" {
			return fmt.Errorf("%w: bagit.txt has blanks behind a value, which BagIt 1.0 does not allow", ErrNotBag)
		}
	default:
		return fmt.Errorf("%w: it is of BagIt version %s; 0.93 to 0.97 and 1.0 can be read", ErrNotBag, b.Version)
	}
	if _, err := decoderOf(b.Encoding); err != nil {
		return fmt.Errorf("%w: bagit.txt names the encoding %q, which is not known", ErrNotBag, b.Encoding)
	}
	return nil
}

func decoderOf(name string) (encoding.Encoding, error) {
	enc, err := ianaindex.IANA.Encoding(name)
	if err != nil {
		return nil, err
	}
	if enc == nil {
		return nil, fmt.Errorf("encoding %q is known and cannot be read", name)
	}
	return enc, nil
}

// tagLines reads a tag file in the bag's encoding, by lines.
func (b *Bag) tagLines(name string) ([]string, error) {
	data, err := b.read(name)
	if err != nil {
		return nil, err
	}
	enc, err := decoderOf(b.Encoding)
	if err != nil {
		return nil, err
	}
	text, ok := decoded(enc, data)
	if !ok {
		b.found.fail(Malformed, name, 0, "is not text in %s", b.Encoding)
		return nil, nil
	}
	if bytes.HasPrefix(text, []byte("\ufeff")) {
		b.found.warn(Malformed, name, 1, "begins with a byte order mark")
		text = bytes.TrimPrefix(text, []byte("\ufeff"))
	}
	return splitLines(string(text)), nil
}

// decoded is a text in UTF-8, and false where the bytes are no text of the
// encoding: some decoders fail, others put U+FFFD for what they cannot read.
func decoded(enc encoding.Encoding, data []byte) ([]byte, bool) {
	text, err := enc.NewDecoder().Bytes(data)
	if err != nil || bytes.ContainsRune(text, 0) {
		return nil, false
	}
	again, err := enc.NewEncoder().Bytes(text)
	if bytes.ContainsRune(text, '\uFFFD') && (err != nil || !bytes.Equal(again, data)) {
		return nil, false
	}
	return text, true
}

// splitLines cuts at LF, CR and CRLF; the last line may lack its end.
func splitLines(s string) []string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	s = strings.TrimSuffix(s, "\n")
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

var manifestName = regexp.MustCompile(`^(tag)?manifest-([a-z0-9-]{1,40})\.txt$`)

func (b *Bag) readManifests() error {
	var names []string
	for name := range b.files {
		if manifestName.MatchString(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		parts := manifestName.FindStringSubmatch(name)
		lines, err := b.tagLines(name)
		if err != nil {
			return err
		}
		m := manifest{file: name, algorithm: strings.ReplaceAll(parts[2], "-", "")}
		if newHash(m.algorithm) == nil {
			b.found.warn(Unknown, name, 0, "the algorithm %s is not known here, so its digests were not checked", parts[2])
		}
		b.parseManifest(&m, lines, parts[1] != "")
		if parts[1] != "" {
			b.tags = append(b.tags, m)
		} else {
			b.manifests = append(b.manifests, m)
		}
	}
	return nil
}

// parseManifest reads the lines of a manifest (RFC 8493 section 2.1.3).
func (b *Bag) parseManifest(m *manifest, lines []string, tag bool) {
	seen := make(map[string]string, len(lines))
	for i, text := range lines {
		line, problem := parseManifestLine(text)
		line.line = i + 1
		if problem != "" {
			if strings.TrimSpace(text) == "" {
				b.found.warn(Malformed, m.file, i+1, "an empty line")
				continue
			}
			b.found.fail(Malformed, m.file, i+1, "%s", problem)
			continue
		}
		if h := newHash(m.algorithm); h != nil && len(line.digest) != 2*h.Size() {
			b.found.fail(Malformed, m.file, i+1, "the digest has %d hexadecimal digits, %s has %d", len(line.digest), m.algorithm, 2*h.Size())
			continue
		}
		line.path = b.placed(m.file, line.path, i+1)
		if why := unsafe(line.path); why != "" {
			b.found.fail(Unsafe, m.file, i+1, "the path %q %s", clip(line.path), why)
			continue
		}
		switch {
		case !tag && !inPayload(line.path):
			b.found.fail(Misplaced, m.file, i+1, "%q is not under data/; a payload manifest lists the payload and nothing else", clip(line.path))
			continue
		case tag && inPayload(line.path):
			b.found.fail(Misplaced, m.file, i+1, "%q is payload; a tag manifest lists tag files", clip(line.path))
			continue
		case tag && strings.HasPrefix(line.path, "tagmanifest-"):
			b.found.fail(Misplaced, m.file, i+1, "a tag manifest lists no tag manifest")
			continue
		}
		before, twice := seen[line.path]
		switch {
		case twice && before != line.digest:
			b.found.fail(Twice, m.file, i+1, "%q is listed twice with different digests", clip(line.path))
		case twice && b.major: // "MUST NOT be listed more than once"
			b.found.fail(Twice, m.file, i+1, "%q is listed twice", clip(line.path))
		case twice:
			b.found.warn(Twice, m.file, i+1, "%q is listed twice", clip(line.path))
		}
		seen[line.path] = line.digest
		m.lines = append(m.lines, line)
	}
}

// parseManifestLine cuts a line into digest and path; problem says why it
// could not.
func parseManifestLine(text string) (line manifestLine, problem string) {
	i := strings.IndexAny(text, " \t")
	if i < 0 {
		return line, fmt.Sprintf("%q is no line of a manifest: expected a digest, blanks and a path", clip(text))
	}
	digest, name := text[:i], strings.TrimLeft(text[i:], " \t")
	if name == "" {
		return line, "there is no path behind the digest"
	}
	if digest == "" || strings.Trim(strings.ToLower(digest), "0123456789abcdef") != "" {
		return line, fmt.Sprintf("%q is no digest in hexadecimal digits", clip(digest))
	}
	return manifestLine{digest: strings.ToLower(digest), path: name}, ""
}

// placed finds the file that a manifest means: as it is written, else decoded,
// else without the flourishes of other tools, else the one that differs only
// in case or in how its characters are composed. The last three are warned of.
func (b *Bag) placed(file, name string, line int) string {
	if b.major {
		name = decodeName(name)
	}
	if _, ok := b.files[name]; ok {
		return name
	}
	if decoded := decodeName(name); decoded != name {
		if _, ok := b.files[decoded]; ok {
			return decoded
		}
	}
	if plain, ok := strings.CutPrefix(name, "*"); ok {
		b.found.warn(Flourish, file, line, "the path begins with *, as md5sum and its kin write it")
		name = plain
	}
	if plain, ok := strings.CutPrefix(name, "./"); ok {
		b.found.warn(Flourish, file, line, "the path begins with ./")
		name = plain
	}
	if _, ok := b.files[name]; ok {
		return name
	}
	if other, ok := b.byName[folded(name)]; ok {
		b.found.warn(Clash, file, line, "%q is here as %q, which differs only in case or in how its characters are composed", clip(name), clip(other))
		return other
	}
	return name
}

// readInfo reads bag-info.txt, which was called package-info.txt before 0.96.
func (b *Bag) readInfo() error {
	for _, name := range []string{"bag-info.txt", "package-info.txt"} {
		if _, ok := b.files[name]; ok {
			b.infoFile = name
			break
		}
	}
	if b.infoFile == "" {
		return nil
	}
	lines, err := b.tagLines(b.infoFile)
	if err != nil {
		return err
	}
	b.Info = b.parseInfo(lines)
	return nil
}

// parseInfo reads "Label: value" with lines that are folded by leading blanks.
func (b *Bag) parseInfo(lines []string) []Entry {
	info := make([]Entry, 0, len(lines))
	for i, text := range lines {
		if strings.TrimSpace(text) == "" {
			continue
		}
		if text[0] == ' ' || text[0] == '\t' {
			if len(info) == 0 {
				b.found.fail(Malformed, b.infoFile, i+1, "goes on a line that there is not")
				continue
			}
			last := &info[len(info)-1]
			last.Value = strings.TrimSpace(last.Value + " " + strings.TrimSpace(text))
			continue
		}
		label, value, ok := strings.Cut(text, ":")
		trimmed := strings.TrimRight(label, " \t")
		switch {
		case !ok || trimmed == "":
			b.found.fail(Malformed, b.infoFile, i+1, "%q is no line of the form Label: value", clip(text))
			continue
		case b.major && trimmed != label:
			b.found.warn(Malformed, b.infoFile, i+1, "there are blanks between the label %q and its colon", clip(trimmed))
		}
		info = append(info, Entry{Label: trimmed, Value: strings.TrimSpace(value)})
	}
	return info
}

// readFetch reads fetch.txt: "URL LENGTH PATH" (RFC 8493 section 2.2.3).
func (b *Bag) readFetch() error {
	if _, ok := b.files["fetch.txt"]; !ok {
		return nil
	}
	lines, err := b.tagLines("fetch.txt")
	if err != nil {
		return err
	}
	for i, text := range lines {
		if strings.TrimSpace(text) == "" {
			continue
		}
		f, problem := parseFetchLine(text)
		if problem != "" {
			b.found.fail(Malformed, "fetch.txt", i+1, "%s", problem)
			continue
		}
		f.line = i + 1
		f.path = b.placed("fetch.txt", f.path, i+1)
		if why := unsafe(f.path); why != "" {
			b.found.fail(Unsafe, "fetch.txt", i+1, "the path %q %s", clip(f.path), why)
			continue
		}
		if !inPayload(f.path) {
			b.found.fail(Misplaced, "fetch.txt", i+1, "%q is not under data/; only payload is fetched", clip(f.path))
			continue
		}
		b.fetch = append(b.fetch, f)
	}
	return nil
}

func parseFetchLine(text string) (f fetchLine, problem string) {
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' })
	if len(words) < 3 {
		return f, fmt.Sprintf("%q is no line of fetch.txt: expected a URL, a length or -, and a path", clip(text))
	}
	if words[1] != "-" {
		if n, err := strconv.ParseInt(words[1], 10, 64); err != nil || n < 0 {
			return f, fmt.Sprintf("%q is no length in bytes", clip(words[1]))
		}
	}
	rest := text
	for range 2 {
		rest = strings.TrimLeft(rest, " \t")
		rest = rest[strings.IndexAny(rest, " \t"):]
	}
	return fetchLine{url: words[0], path: strings.TrimLeft(rest, " \t")}, ""
}

// OpenFile opens a file of the bag for reading, whatever its digest.
func (b *Bag) OpenFile(name string) (io.ReadCloser, error) {
	if _, ok := b.files[name]; !ok {
		return nil, fmt.Errorf("open %s: %w", path.Clean(name), fs.ErrNotExist)
	}
	f, err := b.fsys.Open(name)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{bufio.NewReaderSize(f, 64<<10), f}, nil
}

// clip shortens a text for a message.
func clip(s string) string {
	if r := []rune(s); len(r) > 120 {
		return string(r[:120]) + "…"
	}
	return s
}
