package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"iter"
	"regexp"
	"slices"
	"strings"

	_ "embed"

	"liuhen/bagit"
	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
	"liuhen/dossier"
	"liuhen/transparency"
)

// Contents are what a bundle is made of, beside the records.
type Contents struct {
	Evidence Evidence
	Profile  Profile
	Code     string // of the profile
	Reader   string // for whom; see Profile.Addressee
	Program  string // what writes it, such as "liuhen 1.2"

	Book     *rulebook.Book // for the labels of the pages
	National fs.FS          // the law files that Book was made of
	Own      fs.FS          // those of the agency's own; nil: none
}

// Records returns the records of the case with a head: at least those that the
// head counts, in their order. Raw must be the stored bytes.
type Records = iter.Seq2[[]domain.Recorded, error]

// Write writes a bundle of the cases of c.Evidence.Heads, whose records come in the
// same order; prove is Log.ProveUnder for the checkpoint of c.Evidence. It reads and writes case by case, and the same input gives the same
// bytes. Each case is held against the log first: what a reader could not prove is
// not written. After an error what was written is no bundle.
func Write(w io.Writer, c Contents, prove func([]uint64) ([]transparency.Inclusion, error), cases Records) error {
	e := &c.Evidence
	if c.Profile.NeedsReader() && c.Reader == "" {
		return errors.New("bundle: for whom it is must be said")
	}
	if len(e.Heads) == 0 {
		return errors.New("bundle: there are no cases")
	}
	folder := "liuhen-bundle"
	if len(e.Heads) == 1 {
		folder = "liuhen-" + e.Heads[0].Case
	}
	bag, err := bagit.NewWriter(w, bagit.Info{
		Folder: folder, Date: e.Heads[0].Inclusion.Leaf.StoredAt.In(calendar.Shanghai),
		Entries: []bagit.Entry{
			{Label: "Bag-Software-Agent", Value: c.Program},
			{Label: "External-Description", Value: "Records of administrative enforcement with proofs; see data/HOW-TO-CHECK.txt"},
			{Label: "External-Identifier", Value: fmt.Sprintf("%s %d", e.Checkpoint.Origin, e.Checkpoint.Size)},
		},
	})
	if err != nil {
		return err
	}
	b := &writer{bag: bag, Contents: c, prove: prove, procedures: map[string]bool{}}
	if err := b.front(); err != nil {
		return err
	}
	n := 0
	for records, err := range cases {
		if err != nil {
			return err
		}
		if n == len(e.Heads) {
			return fmt.Errorf("bundle: there are more cases than the %d whose heads were asked for", n)
		}
		if err := b.file(n, records); err != nil {
			return fmt.Errorf("bundle: case %s: %w", e.Heads[n].Case, err)
		}
		n++
	}
	if n != len(e.Heads) {
		return fmt.Errorf("bundle: of %d cases the records of %d came", len(e.Heads), n)
	}
	if err := b.law(); err != nil {
		return err
	}
	if err := b.put(evidenceFile, b.references.Bytes()); err != nil {
		return err
	}
	return bag.Close()
}

type writer struct {
	Contents
	bag        *bagit.Writer
	prove      func([]uint64) ([]transparency.Inclusion, error)
	procedures map[string]bool // that judged a record
	references bytes.Buffer
}

func (b *writer) put(name string, text []byte) error { return write(b.bag.Create, name, text) }

// store is put for records and proofs, which are small and many.
func (b *writer) store(name string, text []byte) error { return write(b.bag.CreateStored, name, text) }

func write(create func(string) (io.Writer, error), name string, text []byte) error {
	f, err := create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return err
}

func (b *writer) putJSON(name string, v any) error {
	text, err := encode(v)
	if err != nil {
		return err
	}
	return b.put(name, text)
}

// front writes what is known before the first case.
func (b *writer) front() error {
	e := &b.Evidence
	err := errors.Join(
		b.putJSON(manifestFile, Manifest{
			Format: Format, Origin: e.Checkpoint.Origin, Volume: e.Settings.Volume, Size: e.Checkpoint.Size, Cases: len(e.Heads),
			Profile: b.Code, Reader: b.Reader, Program: b.Program,
		}),
		b.put(howToText, howTo), b.put(howToHTML, howToPage()),
		b.put(checkpointFile, e.Checkpoint.Note),
		b.put(keysFile, []byte(strings.Join(e.Settings.Keys, "\n")+"\n")),
	)
	for i, r := range e.Rotations {
		err = errors.Join(err, b.put(fmt.Sprintf("%s%d", rotationsFolder, i+1), r))
	}
	if l := e.Cosigned; l != nil {
		err = errors.Join(err, b.put(cosignedFile, l.Note), b.put(cosignedGrowth, writeGrowth(l.Consistency)))
	}
	if l := e.Stamped; l != nil {
		err = errors.Join(err, b.put(stampedFile, l.Note), b.put(stampToken, l.Token), b.put(stampedGrowth, writeGrowth(l.Consistency)))
	}
	return err
}

// file writes one case.
func (b *writer) file(n int, records []domain.Recorded) error {
	head := b.Evidence.Heads[n]
	if head.Head.Count == 0 {
		return errors.New("the log has no record of it")
	}
	if uint64(len(records)) < head.Head.Count {
		return fmt.Errorf("the log counts %d records, %d were read", head.Head.Count, len(records))
	}
	records = slices.Clone(records[:head.Head.Count])
	positions := make([]uint64, len(records))
	for i := range records {
		positions[i] = records[i].Position
	}
	proofs, err := b.prove(positions)
	if err != nil {
		return err
	}
	if len(proofs) != len(records) {
		return fmt.Errorf("%d proofs came for %d records", len(proofs), len(records))
	}
	folder := caseFolder(n + 1)
	index := File{Case: domain.CaseID(head.Case), Records: head.Head.Count, Hidden: []Hidden{}}
	var shown []domain.Recorded
	for i := range records {
		r, err := fitting(records[i], proofs[i], head, i)
		if err != nil {
			return fmt.Errorf("record %d: %w", i+1, err)
		}
		b.procedures[r.Procedure()] = true
		if b.Profile.Shows(&r, b.Reader) {
			shown = append(shown, r)
			continue
		}
		h := Hidden{Revision: r.Revision}
		if b.Profile.NamesActs {
			h.Act = r.Type
		}
		index.Hidden = append(index.Hidden, h)
	}
	index.Shown = len(shown)
	if last := records[len(records)-1]; domain.DigestOf(last.Raw) != domain.Digest(head.Head.Digest) {
		return errors.New("its last record is not the one that the log has as its last")
	}
	if err := errors.Join(b.putJSON(folder+"case.json", index), b.putJSON(folder+"head.json", head)); err != nil {
		return err
	}
	for i := range proofs {
		if err := b.store(proofFile(folder, uint64(i+1)), proofs[i].Marshal()); err != nil {
			return err
		}
	}
	for i := range shown {
		if err := b.store(recordFile(folder, uint64(shown[i].Revision)), shown[i].Raw); err != nil {
			return err
		}
		evidenceLines(&b.references, &shown[i])
	}
	if len(shown) == 0 {
		return nil
	}
	page, err := timeline(shown, b.Book, len(index.Hidden), head.Inclusion.Leaf)
	if err != nil {
		return err
	}
	return b.put(folder+"timeline.html", page)
}

// fitting is a record as its bytes and its leaf say, if these are what they should
// be at its place in the case.
func fitting(r domain.Recorded, p transparency.Inclusion, head transparency.CaseHead, i int) (domain.Recorded, error) {
	if err := p.Leaf.Holds(r.Raw); err != nil {
		return r, err
	}
	r, err := domain.Read(p.Leaf.Position, p.Leaf.StoredAt, r.Raw)
	if err != nil {
		return r, err
	}
	if string(r.Subject) != head.Case || r.Revision != i+1 {
		return r, fmt.Errorf("it says that it is record %d of case %s", r.Revision, r.Subject)
	}
	return r, nil
}

// timeline is the page of a case. It follows from the records and the labels of
// the law alone, so that a reader can make it anew. Limits are left out: they rest
// on calendars that the case does not hold.
func timeline(shown []domain.Recorded, book *rulebook.Book, hidden int, last transparency.Leaf) ([]byte, error) {
	page := dossier.Case{
		Records: shown, Withheld: hidden, At: last.StoredAt, Position: last.Position,
		Note: rulebook.Text{
			ZH: "本页供阅读，由本包内的记录生成；凭据是记录及其证明，核验方法见 HOW-TO-CHECK。",
			EN: "This page is for reading and was made from the records in this bundle. What counts are the records and their proofs; see HOW-TO-CHECK.",
		},
	}
	if book != nil {
		page.Procedure, _ = book.Edition(shown[0].Procedure(), shown[0].Edition)
	}
	var text bytes.Buffer
	err := dossier.Write(&text, page)
	return text.Bytes(), err
}

var procedureLine = regexp.MustCompile(`(?m)^procedure: *([^\s#]+)`)

// law writes the law files: of the national law those that several procedures
// share and those of the procedures that judged a record, and all of the agency's.
func (b *writer) law() error {
	err := eachFile(b.National, func(name string, text []byte) error {
		if m := procedureLine.FindSubmatch(text); m != nil && !b.procedures[string(m[1])] {
			return nil
		}
		return b.put(nationalFolder+name, text)
	})
	if err != nil {
		return err
	}
	return eachFile(b.Own, func(name string, text []byte) error { return b.put(ownFolder+name, text) })
}

// eachFile calls f for every law file, by name, as the program reads them.
func eachFile(fsys fs.FS, f func(name string, text []byte) error) error {
	if fsys == nil {
		return nil
	}
	return fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !lawName(name) {
			return err
		}
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		return f(name, text)
	})
}

func lawName(name string) bool {
	return strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}

//go:embed HOW-TO-CHECK.txt
var howTo []byte

// howToPage is the same text as a page.
func howToPage() []byte {
	return []byte("<!DOCTYPE html>\n<html lang=\"zh-CN\"><head><meta charset=\"utf-8\">" +
		"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">" +
		"<title>怎样核验 · How to check</title></head>\n<body><pre style=\"white-space: pre-wrap; max-width: 60em\">" +
		html.EscapeString(string(howTo)) + "</pre></body></html>\n")
}
