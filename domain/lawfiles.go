package domain

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// LawProcedure is the procedure in which an agency puts a law file of its own in
// force: proposed with its text, confirmed by a second person, withdrawn
// (domain/law/agency-law.yaml).
const LawProcedure = "agency-law"

// A Law finds the book that an act is judged by: the law that the program runs on,
// with the files that an agency had put in force. A *rulebook.Book without such files is
// one, and *Books.
type Law interface {
	// Under fails with rulebook.ErrNoFile where it has not got a file, and with
	// rulebook.Errors where a file cannot be read beside the law any more.
	Under(files []rulebook.FileRef) (*rulebook.Book, error)
}

// Laws are the files that agencies have put in force, as the log has them at a
// position. It is a value: With makes the next one.
type Laws struct {
	folded
	cases    map[CaseID]lawCase
	agencies map[string][]lawInForce // in the order in which they were put in force
}

// A lawCase is a case of the procedure.
type lawCase struct {
	agency   string
	proposed map[string]string // every text that was ever proposed in it: the event that did so first, by digest
	first    map[string]string // of an event that corrects another: the one that was there first
	acts     []lawAct          // that put in force or withdraw
	inForce  []lawInForce
}

// A lawAct is an act that counts, with its latest correction that does.
type lawAct struct {
	first string // the event that was there first
	at    uint64 // position
	step  rulebook.Step
}

// lawInForce is a file with the days on which it is in force.
type lawInForce struct {
	interval
	rulebook.FileRef
	at uint64 // position of the record that put it in force
}

// NewLaws returns the files of an empty log.
func NewLaws() *Laws { return &Laws{folded: folded{procedure: LawProcedure}} }

// With returns the files after further records; see Register.With.
func (ls *Laws) With(records ...Recorded) (*Laws, error) {
	next := *ls
	for _, r := range records { // one by one: the position of each counts
		f, changed, err := next.with(r)
		if err != nil {
			return nil, err
		}
		next.folded = f
		if len(changed) == 0 {
			continue
		}
		c := next.cases[r.Subject].with(r)
		if next.cases = maps.Clone(next.cases); next.cases == nil {
			next.cases = make(map[CaseID]lawCase)
		}
		next.cases[r.Subject] = c
		if next.agencies = maps.Clone(next.agencies); next.agencies == nil {
			next.agencies = make(map[string][]lawInForce)
		}
		next.agencies[c.agency] = nil
		for _, other := range next.cases {
			if other.agency == c.agency {
				next.agencies[c.agency] = append(next.agencies[c.agency], other.inForce...)
			}
		}
		slices.SortFunc(next.agencies[c.agency], func(a, b lawInForce) int { return int(a.at) - int(b.at) })
	}
	return &next, nil
}

// UpTo returns the files at a later position, up to which no record was of their
// procedure.
func (ls *Laws) UpTo(position uint64) *Laws {
	next := *ls
	next.folded = ls.upTo(position)
	return &next
}

// At is the position of the last record that was taken in.
func (ls *Laws) At() uint64 { return ls.at }

// Any reports whether any agency has ever put a file in force.
func (ls *Laws) Any() bool {
	if ls == nil {
		return false
	}
	for _, files := range ls.agencies {
		if len(files) > 0 {
			return true
		}
	}
	return false
}

// On returns the files that an agency has in force on a day, by name. From its day on
// a file takes the place of those of its name that were put in force before it, and for
// good: when it ends, they do not come back.
func (ls *Laws) On(agency string, on calendar.Date) []rulebook.FileRef {
	if ls == nil {
		return nil
	}
	var now []lawInForce
	for _, f := range ls.agencies[agency] {
		if on.Before(f.from) {
			continue
		}
		now = append(slices.DeleteFunc(now, func(earlier lawInForce) bool { return earlier.Name == f.Name }), f)
	}
	var refs []rulebook.FileRef
	for _, f := range now {
		if f.to.IsZero() || !on.After(f.to) {
			refs = append(refs, f.FileRef)
		}
	}
	slices.SortFunc(refs, func(a, b rulebook.FileRef) int { return strings.Compare(a.Name, b.Name) })
	return refs
}

// The acts of domain/law/agency-law.yaml, whose fields this file knows.
const (
	proposeFile  = "propose-file"
	putInForce   = "put-in-force"
	withdrawFile = "withdraw-file"
)

// with takes a record into a case. What a rule would have refused, and was recorded
// as already done, counts for nothing, nor does what another system says: neither puts
// it a file in force, nor does it take the place of what it claims to correct.
func (c lawCase) with(r Recorded) lawCase {
	c.agency = r.Agency()
	s := r.Step()
	first := s.Event
	if s.Corrects != "" {
		if first = c.first[s.Corrects]; first == "" {
			first = s.Corrects
		}
		c.first = with(c.first, s.Event, first)
	}
	if s.Act == proposeFile {
		_, text := fileOf(s)
		if digest := DigestOf([]byte(text)).String(); c.proposed[digest] == "" {
			c.proposed = with(c.proposed, digest, s.Event)
		}
	}
	if s.Act != putInForce && s.Act != withdrawFile || refused(s.Findings) || s.Imported {
		return c
	}
	act := lawAct{first, r.Position, s}
	c.acts = slices.Clone(c.acts)
	if i := slices.IndexFunc(c.acts, func(a lawAct) bool { return a.first == first }); i >= 0 {
		c.acts[i] = act
	} else {
		c.acts = append(c.acts, act)
	}
	c.inForce = nil
	for _, a := range c.acts {
		day := func(field string) calendar.Date {
			text, _ := a.step.Fields[field].(string)
			d, _ := calendar.ParseDate(text) // zero where there is none
			return d
		}
		if a.step.Act == putInForce {
			name, _ := fileOf(a.step)
			digest, _ := a.step.Fields["digest"].(string)
			if event := c.proposed[digest]; event != "" {
				ref := rulebook.FileRef{Name: name, Digest: digest, Case: string(r.Subject), Event: event}
				c.inForce = append(c.inForce, lawInForce{interval{day("valid_from"), day("valid_to")}, ref, a.at})
			}
			continue
		}
		until := day("valid_to")
		for i := range c.inForce {
			if f := &c.inForce[i]; f.to.IsZero() || f.to.After(until) {
				f.to = until
			}
		}
	}
	return c
}

// with is a map with one more entry; the one before stays as it is.
func with(m map[string]string, key, value string) map[string]string {
	next := maps.Clone(m)
	if next == nil {
		next = make(map[string]string)
	}
	next[key] = value
	return next
}

// fileOf is the file that an act proposes.
func fileOf(s rulebook.Step) (name, text string) {
	name, _ = s.Fields["file_name"].(string)
	text, _ = s.Fields["text"].(string)
	return name, text
}

// FileOf returns the text that a record proposes as a file; ok is false where it
// proposes none.
func FileOf(r *Recorded) (f rulebook.File, ok bool) {
	if r.Procedure() != LawProcedure || r.Act() != proposeFile {
		return rulebook.File{}, false
	}
	f.Name, f.Text = fileOf(r.Step())
	f.Digest, f.Case, f.Event = DigestOf([]byte(f.Text)).String(), string(r.Subject), r.ID
	return f, true
}

// underLaw is what a case's next act is judged by: the case with the text of its
// procedure that is in force for it, and the files of its agency that this has.
//
// An act is judged by the files of its day. The acts in which files are put in force
// are judged without any, so that no file can bar its own withdrawal. A case under a
// procedure that a file brought and that is withdrawn goes on by what it went by; so
// does what the program notes in a case.
func (c *Case) underLaw(law Law, reg Registers, cmd Command) (*Case, []rulebook.FileRef, error) {
	if c.Procedure.Name == LawProcedure {
		return c, nil, nil
	}
	if act, ok := c.Procedure.Act(cmd.Act); ok && act.Notes {
		return c, c.Law, nil
	}
	files := reg.Laws.On(c.Agency, calendar.DateOf(cmd.At))
	if slices.Equal(files, c.Law) {
		return c, c.Law, nil
	}
	p, err := lawOf(law, files, c.Procedure)
	if err != nil {
		return nil, nil, err
	}
	if p == nil {
		return c, c.Law, nil
	}
	next := *c
	next.Procedure, next.History = p, c.History.Under(p)
	return &next, files, nil
}

// lawOf is a procedure as some files have it; nil where it is not there.
func lawOf(law Law, files []rulebook.FileRef, p *rulebook.Procedure) (*rulebook.Procedure, error) {
	book, err := law.Under(files)
	if err != nil {
		return nil, err
	}
	next, _ := book.Edition(p.Name, p.Edition)
	return next, nil
}

// checkLawFile takes no file that cannot be law, on its own or beside the others that
// are in force on its day: when it is proposed, and when it is put in force, for much
// may have changed in between. It fails with *Invalid, which says where it is wrong.
func (c *Case) checkLawFile(law Law, reg Registers, s rulebook.Step) error {
	name, text := fileOf(s)
	field := "fields.text"
	switch {
	case s.Act == proposeFile && !rulebook.IsFileName(name):
		return invalid("fields.file_name", "文件名 %q 不合规：须以 .yaml 或 .yml 结尾", "%q is no name of a law file: want one that ends with .yaml or .yml", name)
	case s.Act == proposeFile:
	case s.Act != putInForce || refused(s.Findings) || s.Imported:
		return nil
	default:
		field = "fields.digest"
		for _, earlier := range c.History.Steps { // a rule has made sure that it is there
			if _, proposed := fileOf(earlier); earlier.Act == proposeFile && DigestOf([]byte(proposed)).String() == s.Fields["digest"] {
				text = proposed
			}
		}
	}
	from, _ := s.Fields["valid_from"].(string)
	on, err := calendar.ParseDate(from)
	if err != nil {
		return err
	}
	beside := slices.DeleteFunc(reg.Laws.On(c.Agency, on), func(f rulebook.FileRef) bool { return f.Name == name })
	book, err := law.Under(beside)
	if err != nil {
		return fmt.Errorf("the files in force on %s: %w", on, err)
	}
	book, err = book.With(rulebook.File{FileRef: rulebook.FileRef{Name: name}, Text: text})
	var wrong rulebook.Errors
	if err != nil && !errors.As(err, &wrong) {
		return err
	}
	var problems []rulebook.Problem
	for _, e := range wrong {
		problems = append(problems, problem(field, "规则文件有误：%s", "a mistake in the law file: %s", e.Error())...)
	}
	if err == nil {
		for _, res := range rulebook.RunOwnExamples(book, name) {
			if !res.OK {
				problems = append(problems, problem(field, "规则文件的例不符：%s：%s %s：%s", "an example in the law file does not come out as written: %s: %s %s: %s",
					res.Source, res.Procedure, res.Rule, strings.TrimSpace(res.Why))...)
			}
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return &Invalid{Problems: problems[:min(len(problems), 50)]}
}

// Books keep the law in each of the states that acts are judged by: the base, and
// with the files that agencies have put in force. Many goroutines may use them.
type Books struct {
	base *rulebook.Book
	text func(rulebook.FileRef) (string, error)
	hide func(rulebook.FileRef) bool

	mu    sync.Mutex // guards what follows
	books map[string]func() (*rulebook.Book, error)
	order []string // of books, the one asked for last at the end
}

// keepBooks is how many states are kept: a book takes some megabytes.
const keepBooks = 24

// NewBooks returns the law that stands on a base. text finds the text of a file,
// which FileOf has from the record that it names; it may be slow, for it is asked once
// for a state of the law. Files that hide, if given, holds of are left out: a draft takes
// their place.
func NewBooks(base *rulebook.Book, text func(rulebook.FileRef) (string, error), hide func(rulebook.FileRef) bool) *Books {
	return &Books{base: base, text: text, hide: hide, books: make(map[string]func() (*rulebook.Book, error))}
}

// Base is the law without any files.
func (b *Books) Base() *rulebook.Book { return b.base }

// Under returns the book with files that an agency has put in force.
func (b *Books) Under(files []rulebook.FileRef) (*rulebook.Book, error) {
	if b.hide != nil {
		files = slices.DeleteFunc(slices.Clone(files), b.hide)
	}
	if len(files) == 0 {
		return b.base, nil
	}
	var key strings.Builder
	for _, f := range files {
		key.WriteString(f.Name + "\x00" + f.Digest + "\x00" + f.Event + "\x00")
	}
	return b.get(key.String(), files)()
}

func (b *Books) get(key string, files []rulebook.FileRef) func() (*rulebook.Book, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.order = append(slices.DeleteFunc(b.order, func(k string) bool { return k == key }), key)
	if book, ok := b.books[key]; ok {
		return book
	}
	if len(b.order) > keepBooks {
		delete(b.books, b.order[0])
		b.order = b.order[1:]
	}
	book := sync.OnceValues(func() (*rulebook.Book, error) {
		book, err := b.read(files)
		if err != nil {
			b.forget(key) // it may be there the next time
		}
		return book, err
	})
	b.books[key] = book
	return book
}

func (b *Books) forget(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.books, key)
	b.order = slices.DeleteFunc(b.order, func(k string) bool { return k == key })
}

func (b *Books) read(files []rulebook.FileRef) (*rulebook.Book, error) {
	all := make([]rulebook.File, len(files))
	for i, ref := range files {
		text, err := b.text(ref)
		if err != nil {
			return nil, fmt.Errorf("%w: %s of case %s: %w", rulebook.ErrNoFile, ref.Name, ref.Case, err)
		}
		if got := DigestOf([]byte(text)).String(); got != ref.Digest {
			return nil, fmt.Errorf("%w: %s of case %s has the digest %s, and was put in force with %s", rulebook.ErrNoFile, ref.Name, ref.Case, got, ref.Digest)
		}
		all[i] = rulebook.File{FileRef: ref, Text: text}
	}
	book, err := b.base.With(all...)
	if err != nil {
		return nil, fmt.Errorf("the files that an agency has put in force cannot be read beside the law of this program: %w", err)
	}
	return book, nil
}
