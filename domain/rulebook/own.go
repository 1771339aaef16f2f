package rulebook

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// ErrNoFile says that a law file which an agency has put in force is not at hand.
var ErrNoFile = errors.New("a law file that was put in force is not at hand")

// A FileRef names a law file that an agency has put in force for itself, and the
// record in which its text stands.
type FileRef struct {
	Name   string `json:"name"`   // a later file of the name takes the place of an earlier one
	Digest string `json:"digest"` // of its text: sha256: and 64 hexadecimal digits
	Case   string `json:"case"`   // in which it was proposed and put in force
	Event  string `json:"event"`  // that proposed it, with the text
}

// A File is such a file with its text.
type File struct {
	FileRef
	Text string
}

// Under returns the book with files that an agency has put in force: itself
// where there are none. It has the texts only of those that it was made with, and
// fails with ErrNoFile for others.
func (b *Book) Under(files []FileRef) (*Book, error) {
	if len(files) == 0 && len(b.own) == 0 || slices.EqualFunc(files, b.own, func(ref FileRef, f File) bool { return ref == f.FileRef }) {
		return b, nil
	}
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.Name + " (" + f.Digest + ")"
	}
	return nil, fmt.Errorf("%w: %s", ErrNoFile, list(names))
}

// With reads the law again, from the file systems that the book was loaded from,
// with files that an agency has put in force beside them. Of two files of one name the
// later takes the place of the earlier, also of one that the book was made with. What
// is wrong with them, or with all of them together, comes back as Errors.
//
// What such a file says may be what any file of an agency's own may say (see Load).
// It is not held against what was done before it: its rules start limits only from
// acts that were judged when a file of its name was in force (Step.Law).
func (b *Book) With(files ...File) (*Book, error) {
	var own []File // the new ones last: a contradiction is told of them
	for _, f := range slices.Concat(b.own, files) {
		own = append(slices.DeleteFunc(own, func(earlier File) bool { return earlier.Name == f.Name }), f)
	}
	next, err := loadAll(b.cal, b.sources, own)
	if err != nil {
		return nil, err
	}
	next.own = slices.SortedFunc(slices.Values(own), func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return next, nil
}

// Own returns the files of an agency's own that the book was made with, by name.
func (b *Book) Own() []FileRef {
	refs := make([]FileRef, len(b.own))
	for i, f := range b.own {
		refs[i] = f.FileRef
	}
	return refs
}

// readOwn reads the files that an agency has put in force.
func (l *loader) readOwn(own []File) {
	files := make([]*file, len(own))
	for i, f := range own {
		files[i] = newFile(&reader{file: f.Name, agency: true, own: true})
		files[i].root = files[i].parse([]byte(f.Text))
	}
	l.take(files)
}

// IsFileName reports whether a name can be that of a law file: a relative path
// that ends with .yaml or .yml.
func IsFileName(name string) bool {
	return fs.ValidPath(name) && (strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml"))
}

// holds reports whether a rule may be held against what an act began: one of the
// program's own law always may, one of a file that an agency has put in force only
// where a file of that name was in force for the act.
func (r *Rule) holds(s *Step) bool {
	return r.own == "" || slices.ContainsFunc(s.Law, func(f FileRef) bool { return f.Name == r.own })
}
