package bagit

import (
	"crypto/md5"  //nolint:gosec // bags of others are read, and what MD5 is worth is said
	"crypto/sha1" //nolint:gosec // likewise
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"
)

// A Code says of what sort an issue is, for programs.
type Code string

// The codes.
const (
	Malformed  Code = "malformed"  // a tag file is not of the form that it should have
	Unsafe     Code = "unsafe"     // a path that leads out of the bag, here or on another system
	Misplaced  Code = "misplaced"  // a file listed where it does not belong
	Twice      Code = "twice"      // a file listed twice
	Missing    Code = "missing"    // listed and not there, or demanded and not there
	Unlisted   Code = "unlisted"   // there and not listed
	Corrupt    Code = "corrupt"    // the digest is another
	Oxum       Code = "oxum"       // Payload-Oxum says something else
	Irregular  Code = "irregular"  // a link or a device
	Clash      Code = "clash"      // two names that some systems take for one
	Unportable Code = "unportable" // a name that is trouble on some systems
	Flourish   Code = "flourish"   // ./ or * before a path
	Unknown    Code = "unknown"    // a digest that cannot be checked here
	Weak       Code = "weak"       // only digests that do not withstand a deliberate change
	More       Code = "more"       // there were further issues
)

// An Issue is one thing that is wrong or doubtful.
type Issue struct {
	Code   Code   `json:"code"`
	Path   string `json:"path,omitempty"` // the file that it is about, from the root of the bag
	Line   int    `json:"line,omitempty"` // in that file, from 1
	Detail string `json:"detail"`
}

// String is the issue in a line.
func (i Issue) String() string {
	switch {
	case i.Path == "":
		return i.Detail
	case i.Line == 0:
		return i.Path + ": " + i.Detail
	}
	return fmt.Sprintf("%s:%d: %s", i.Path, i.Line, i.Detail)
}

// A Report is what came of checking a bag.
type Report struct {
	Version  string  `json:"version"`
	Files    int     `json:"files"` // of the payload
	Bytes    int64   `json:"bytes"` // likewise
	Errors   []Issue `json:"errors"`
	Warnings []Issue `json:"warnings"`
}

// Valid reports whether the bag is complete and every digest is as listed.
func (r Report) Valid() bool { return len(r.Errors) == 0 }

// maxIssues is how many errors, and how many warnings, are kept.
const maxIssues = 1000

func (r *Report) fail(code Code, name string, line int, format string, args ...any) {
	r.Errors = add(r.Errors, Issue{Code: code, Path: clip(name), Line: line, Detail: fmt.Sprintf(format, args...)})
}

func (r *Report) warn(code Code, name string, line int, format string, args ...any) {
	r.Warnings = add(r.Warnings, Issue{Code: code, Path: clip(name), Line: line, Detail: fmt.Sprintf(format, args...)})
}

func add(list []Issue, i Issue) []Issue {
	switch {
	case len(list) < maxIssues:
		return append(list, i)
	case len(list) == maxIssues:
		return append(list, Issue{Code: More, Detail: fmt.Sprintf("there are more than %d of these", maxIssues)})
	}
	return list
}

// algorithms are the digests that can be checked.
var algorithms = map[string]func() hash.Hash{
	"md5": md5.New, "sha1": sha1.New, "sha224": sha256.New224, "sha256": sha256.New, "sha384": sha512.New384, "sha512": sha512.New,
}

// newHash is nil for an algorithm that is not known.
func newHash(name string) hash.Hash {
	if f, ok := algorithms[name]; ok {
		return f()
	}
	return nil
}

// Validate hashes every listed file and tells everything that is wrong with
// the bag (RFC 8493 section 3: complete and valid). An error makes the bag
// invalid; a warning is about what other systems would make of it. The report
// holds the first thousand of each.
func (b *Bag) Validate() Report {
	r := Report{
		Version: b.Version, Errors: slices.Clone(b.found.Errors), Warnings: slices.Clone(b.found.Warnings),
	}
	for _, name := range b.odd {
		r.fail(Irregular, name, 0, "is neither a file nor a folder")
	}
	for name, size := range b.files {
		if inPayload(name) {
			r.Files++
			r.Bytes += size
		}
	}
	b.checkLists(&r)
	b.checkOxum(&r)
	b.checkDigests(&r)
	return r
}

// checkLists compares what is listed with what is there.
func (b *Bag) checkLists(r *Report) {
	if info, err := statDir(b.fsys, "data"); err != nil || !info {
		r.fail(Missing, "data", 0, "there is no folder data/")
	}
	if len(b.manifests) == 0 {
		r.fail(Missing, "", 0, "there is no payload manifest (manifest-sha256.txt or its like)")
		return
	}
	strong, known := false, false
	for _, m := range b.manifests {
		known = known || newHash(m.algorithm) != nil
		strong = strong || newHash(m.algorithm) != nil && m.algorithm != "md5" && m.algorithm != "sha1"
	}
	switch {
	case !known:
		r.fail(Unknown, "", 0, "none of the payload manifests has an algorithm that is known here")
	case !strong:
		r.warn(Weak, "", 0, "MD5 and SHA-1 show an accident and not a deliberate change")
	}
	waiting := make(map[string]bool, len(b.fetch))
	for _, f := range b.fetch {
		waiting[f.path] = true
	}
	everywhere := make(map[string]int)
	for _, m := range b.manifests {
		listed := b.present(r, m, waiting)
		for name := range listed {
			everywhere[name]++
		}
	}
	for _, name := range b.Payload() {
		switch n := everywhere[name]; {
		case n == 0:
			r.fail(Unlisted, name, 0, "stands in no payload manifest")
		case n < len(b.manifests) && b.major: // "every payload manifest MUST list every payload file"
			r.fail(Unlisted, name, 0, "does not stand in every payload manifest")
		}
	}
	for _, f := range b.fetch {
		if everywhere[f.path] == 0 {
			r.fail(Unlisted, "fetch.txt", f.line, "%q stands in no payload manifest", clip(f.path))
		}
	}
	for _, m := range b.tags {
		listed := b.present(r, m, nil)
		for _, p := range b.manifests {
			if !listed[p.file] && b.major {
				r.fail(Unlisted, m.file, 0, "does not list %s", p.file)
			}
		}
	}
}

// present returns what a manifest lists, and tells what of it is not there.
func (b *Bag) present(r *Report, m manifest, waiting map[string]bool) map[string]bool {
	listed := make(map[string]bool, len(m.lines))
	for _, l := range m.lines {
		if listed[l.path] {
			continue
		}
		listed[l.path] = true
		if _, ok := b.files[l.path]; ok {
			continue
		}
		if waiting[l.path] {
			r.fail(Missing, l.path, 0, "is still to be fetched (fetch.txt); nothing is fetched here")
			continue
		}
		r.fail(Missing, l.path, 0, "is listed in %s, line %d, and not there", m.file, l.line)
	}
	return listed
}

// checkOxum compares Payload-Oxum, "bytes.files", with the payload.
func (b *Bag) checkOxum(r *Report) {
	seen := 0
	for _, e := range b.Info {
		if !strings.EqualFold(e.Label, "Payload-Oxum") {
			continue
		}
		if seen++; seen == 2 && b.major {
			r.fail(Malformed, b.infoFile, 0, "Payload-Oxum stands twice")
		}
		bytes, files, ok := strings.Cut(e.Value, ".")
		n, err := strconv.ParseInt(bytes, 10, 64)
		count, err2 := strconv.Atoi(files)
		switch {
		case !ok || err != nil || err2 != nil:
			r.fail(Malformed, b.infoFile, 0, "Payload-Oxum is %q, expected bytes.files", clip(e.Value))
		case n != r.Bytes || count != r.Files:
			r.fail(Oxum, b.infoFile, 0, "Payload-Oxum says %d bytes in %d files; there are %d in %d", n, count, r.Bytes, r.Files)
		}
	}
}

// checkDigests hashes each file once, by all algorithms that it is listed with.
func (b *Bag) checkDigests(r *Report) {
	type want struct{ algorithm, digest, manifest string }
	wanted := make(map[string][]want)
	for _, m := range slices.Concat(b.manifests, b.tags) {
		if newHash(m.algorithm) == nil {
			continue
		}
		for _, l := range m.lines {
			if _, ok := b.files[l.path]; ok {
				wanted[l.path] = append(wanted[l.path], want{m.algorithm, l.digest, m.file})
			}
		}
	}
	names := make([]string, 0, len(wanted))
	for name := range wanted {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		var need []string
		for _, w := range wanted[name] {
			if !slices.Contains(need, w.algorithm) {
				need = append(need, w.algorithm)
			}
		}
		sums, err := b.hash(name, need)
		if err != nil {
			r.fail(Corrupt, name, 0, "cannot be read: %v", err)
			continue
		}
		for _, w := range wanted[name] {
			if sums[w.algorithm] != w.digest {
				r.fail(Corrupt, name, 0, "has the %s digest %s; %s says %s", w.algorithm, sums[w.algorithm], w.manifest, w.digest)
			}
		}
	}
}

// hash reads a file, no more of it than it said it has.
func (b *Bag) hash(name string, need []string) (map[string]string, error) {
	f, err := b.fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	hashes := make([]hash.Hash, len(need))
	writers := make([]io.Writer, len(need))
	for i, n := range need {
		hashes[i] = newHash(n)
		writers[i] = hashes[i]
	}
	size := b.files[name]
	n, err := io.Copy(io.MultiWriter(writers...), io.LimitReader(f, size+1))
	if err != nil {
		return nil, err
	}
	if n != size {
		return nil, fmt.Errorf("%d bytes were read, it should have %d", n, size)
	}
	sums := make(map[string]string, len(need))
	for i, n := range need {
		sums[n] = hex.EncodeToString(hashes[i].Sum(nil))
	}
	return sums, nil
}
