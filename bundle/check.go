package bundle

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
	"strings"
	"testing/fstest"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"liuhen/bagit"
	"liuhen/domain"
	"liuhen/domain/rulebook"
	"liuhen/internal/checkpoint"
	"liuhen/transparency"
	"liuhen/transparency/keys"
	"liuhen/transparency/policy"
	"liuhen/transparency/timestamp"
)

// A Verdict is what a check comes to.
type Verdict string

// The verdicts.
const (
	// Proven: all that the bundle shows is in the log of the key that was given,
	// and nothing was left out.
	Proven Verdict = "proven"
	// Unpinned: the parts fit together, and nobody vouches for them, for no key was
	// given.
	Unpinned Verdict = "unpinned"
	// NotProven: something is wrong; Faults says what.
	NotProven Verdict = "not-proven"
)

// Options say what a bundle is checked against. All of it must come from elsewhere
// than from the bundle.
type Options struct {
	// Key is a verifier key of the log, one of those that it began with or a later
	// one. Without it, and without a policy that names the log, nothing is proven.
	Key    string
	Policy *policy.Policy   // who must have cosigned; nil: nobody
	Roots  *timestamp.Roots // of authorities for time stamps; nil: a stamp is not checked

	// Law is the national law of the program that checks, to compare that of the
	// bundle with; nil: not compared. Book makes of it and of an agency's own files
	// what the pages take their labels from, so that they can be made anew and
	// compared; nil: the pages are not looked at.
	Law  fs.FS
	Book func(own fs.FS) (*rulebook.Book, error)

	Limits bagit.Limits
}

// A Result is what Check found.
type Result struct {
	Verdict Verdict       `json:"verdict"`
	Says    rulebook.Text `json:"says"` // the verdict in words

	Key      string         `json:"key,omitempty"` // that the checkpoint was checked with
	Origin   string         `json:"origin,omitempty"`
	Size     int64          `json:"size,omitempty"`       // records in the log
	Root     tlog.Hash      `json:"root,omitzero"`        //
	Sealed   time.Time      `json:"sealed,omitzero"`      // when the last of them was stored, by the system's clock
	Profile  string         `json:"profile,omitempty"`    // as the bundle says
	Reader   string         `json:"reader,omitempty"`     // likewise
	Cases    []CaseResult   `json:"cases"`                //
	Cosigned *policy.Result `json:"cosigned,omitempty"`   // who of the policy cosigned
	Stamp    *Stamp         `json:"time_stamp,omitempty"` //
	Pages    bool           `json:"pages"`                // the readable pages were made anew and are as they should be
	Law      []LawFile      `json:"law"`                  //

	Faults []Fault         `json:"faults"` // what is wrong; the first 200
	Notes  []rulebook.Text `json:"notes"`  // what was not looked at, and why
}

// CaseResult is one case of a bundle.
type CaseResult struct {
	Case    domain.CaseID `json:"case"`
	Records uint64        `json:"records"` // that the log counts
	Shown   int           `json:"shown"`
	// Bound is how many of the others are proven to be of this case: those that
	// a shown record, or the head, names by digest.
	Bound int `json:"bound"`
}

// A Stamp is a trusted time at which the log existed as far as the bundle needs it.
type Stamp struct {
	Size int64 `json:"size"` // of the checkpoint that was stamped
	timestamp.Stamp
}

// A LawFile is a text of the law in a bundle. The log does not vouch for it.
type LawFile struct {
	File    string `json:"file"`
	Own     bool   `json:"own"`     // the agency's own
	Shipped bool   `json:"shipped"` // the program that checks has the same
}

// A Fault is one thing that is wrong.
type Fault struct {
	Code string        `json:"code"`
	File string        `json:"file,omitempty"`
	Says rulebook.Text `json:"says"`
}

// Bounds on what is read.
const (
	maxFaults = 200
	maxSmall  = 4 << 20  // of a file that is neither a record nor a page
	maxPage   = 64 << 20 // of a page
	maxFiles  = 1_000_000
)

// Check checks a bundle. Its error means that what it was to be checked against
// cannot be used; whatever is wrong with the bundle is in the Result.
func Check(r io.ReaderAt, size int64, o Options) (Result, error) {
	c := &checker{Options: o, known: map[string]bool{}, cases: map[domain.CaseID]string{}, at: map[uint64]string{}}
	c.result = Result{Cases: []CaseResult{}, Law: []LawFile{}, Faults: []Fault{}, Notes: []rulebook.Text{}}
	if o.Key != "" {
		if _, err := keys.NewVerifier(o.Key); err != nil {
			return c.result, err
		}
	}
	if c.open(r, size) {
		// Side by side: either reads every file, and takes about as long.
		validated := make(chan bagit.Report, 1)
		go func() { validated <- c.bag.Validate() }()
		c.check()
		c.valid(<-validated)
	}
	c.conclude()
	return c.result, nil
}

type checker struct {
	Options
	result Result

	bag       *bagit.Bag
	known     map[string]bool // files that have a place in the layout
	manifest  Manifest
	rotations [][]byte
	chain     *keys.Chain
	signed    transparency.Checkpoint
	sealed    bool // signed was verified
	last      transparency.Leaf

	cases      map[domain.CaseID]string // → its folder
	at         map[uint64]string        // position → the proof that claims it
	references bytes.Buffer
	book       func() (*rulebook.Book, error)
	pages      int // that were compared
}

func (c *checker) fail(code, file, zh, en string, args ...any) {
	if len(c.result.Faults) < maxFaults {
		c.result.Faults = append(c.result.Faults, Fault{Code: code, File: file, Says: rulebook.Text{ZH: fmt.Sprintf(zh, args...), EN: fmt.Sprintf(en, args...)}})
	}
}

func (c *checker) note(zh, en string, args ...any) {
	c.result.Notes = append(c.result.Notes, rulebook.Text{ZH: fmt.Sprintf(zh, args...), EN: fmt.Sprintf(en, args...)})
}

// open reads the list of the bag.
func (c *checker) open(r io.ReaderAt, size int64) bool {
	limits := c.Limits
	if limits.Files == 0 {
		limits.Files = maxFiles
	}
	fsys, err := bagit.OpenArchive(r, size, limits)
	if err == nil {
		c.bag, err = bagit.OpenLimited(fsys, limits)
	}
	if err != nil {
		c.fail("bag", "", "不是可以读取的包：%v", "this is no bundle that can be read: %v", err)
		return false
	}
	return true
}

// valid tells what is wrong with the bag, before all else.
func (c *checker) valid(report bagit.Report) {
	inside := c.result.Faults
	c.result.Faults = []Fault{}
	for _, issue := range report.Errors {
		switch issue.Code {
		case bagit.Corrupt:
			c.fail("changed-file", issue.Path, "文件内容与清单所列摘要不符：%s", "the file is not what the manifest lists: %s", issue.Detail)
		case bagit.Missing:
			c.fail("missing-file", issue.Path, "清单所列文件不在包内：%s", "a file that is listed is not there: %s", issue.Detail)
		case bagit.Unlisted:
			c.fail("extra-file", issue.Path, "文件未列入清单：%s", "a file that is not listed: %s", issue.Detail)
		default:
			c.fail("bag", issue.Path, "不是有效的 BagIt 包：%s", "the bag is not valid (RFC 8493): %s", issue.Detail)
		}
	}
	c.result.Faults = append(c.result.Faults, inside...)
	c.result.Faults = c.result.Faults[:min(len(c.result.Faults), maxFaults)]
}

// read returns a file that has a place in the layout.
func (c *checker) read(name string, limit int64) ([]byte, error) {
	c.known[name] = true
	f, err := c.bag.FS().Open(name) // of an archive: no name leads out of it
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() || info.Size() > limit {
		return nil, fmt.Errorf("it is a folder, or has more than %d bytes", limit)
	}
	text := make([]byte, info.Size())
	if _, err := io.ReadFull(f, text); err != nil {
		return nil, err
	}
	// To its end, where the archive compares its checksum.
	if n, err := f.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		return nil, errors.Join(errors.New("it does not end where the archive says"), err)
	}
	return text, nil
}

// need is read for a file that must be there.
func (c *checker) need(name string, limit int64) ([]byte, bool) {
	text, err := c.read(name, limit)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.fail("missing-file", name, "包内没有这个文件", "the bundle does not have this file")
	case err != nil:
		c.fail("unreadable", name, "无法读取：%v", "it cannot be read: %v", err)
	}
	return text, err == nil
}

// has is read for a file that may be there.
func (c *checker) has(name string) ([]byte, bool) {
	text, err := c.read(name, maxSmall)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false
	}
	if err != nil {
		c.fail("unreadable", name, "无法读取：%v", "it cannot be read: %v", err)
	}
	return text, err == nil
}

// needJSON reads a file of JSON that must be there.
func (c *checker) needJSON(name string, v any) bool {
	text, ok := c.need(name, maxSmall)
	if !ok {
		return false
	}
	if err := decode(text, v); err != nil {
		c.fail("malformed", name, "内容不合格式：%v", "it is not of the form that it should have: %v", err)
		return false
	}
	return true
}

// check is the check, from the key down to the last record.
func (c *checker) check() {
	if !c.needJSON(manifestFile, &c.manifest) {
		return
	}
	m := &c.manifest
	c.result.Profile, c.result.Reader = m.Profile, m.Reader
	if m.Format != Format {
		c.fail("format", manifestFile, "格式是 %q，本程序读 %q", "the format is %q; this program reads %q", m.Format, Format)
		return
	}
	if m.Cases < 1 || m.Cases > maxFiles {
		c.fail("malformed", manifestFile, "案件数 %d 不合理", "it cannot hold %d cases", m.Cases)
		return
	}
	c.law()
	c.texts()
	if !c.seal() {
		return
	}
	c.cosignatures()
	c.stamp()
	for n := 1; n <= m.Cases; n++ {
		c.file(caseFolder(n))
	}
	c.evidence()
	c.strangers()
	c.result.Pages = c.book != nil && c.pages > 0
	if c.Book == nil {
		c.note("可读页面（timeline.html）未核对；请以记录为准", "the readable pages (timeline.html) were not looked at; what counts are the records")
	}
}

// law reads the law files, and begins to make the book of them.
func (c *checker) law() {
	own := fstest.MapFS{}
	for _, name := range c.bag.Payload() {
		national, isNational := strings.CutPrefix(name, nationalFolder)
		base, isOwn := strings.CutPrefix(name, ownFolder)
		if !isNational && !isOwn || !lawName(name) {
			continue // strangers finds it
		}
		text, ok := c.need(name, maxSmall)
		if !ok {
			continue
		}
		file := LawFile{File: base, Own: isOwn}
		if isNational {
			file.File = national
		}
		if file.Own {
			own[base] = &fstest.MapFile{Data: text, Mode: 0o444}
		} else if c.Law != nil {
			shipped, err := fs.ReadFile(c.Law, national)
			file.Shipped = err == nil && bytes.Equal(shipped, text)
		}
		c.result.Law = append(c.result.Law, file)
	}
	if c.Book == nil {
		return
	}
	type made struct {
		book *rulebook.Book
		err  error
	}
	// It takes longer than all the rest, which goes on meanwhile.
	done := make(chan made, 1)
	go func() {
		b, err := c.Book(own)
		done <- made{b, err}
	}()
	var got *made
	c.book = func() (*rulebook.Book, error) {
		if got == nil {
			m := <-done
			got = &m
		}
		return got.book, got.err
	}
}

// howToEditions are the SHA-256 of the texts of HOW-TO-CHECK.txt that were ever
// shipped, and of the pages made of them.
func howToEditions() [][32]byte { return [][32]byte{sha256.Sum256(howTo), sha256.Sum256(howToPage())} }

// texts checks that who reads how to check is told the truth.
func (c *checker) texts() {
	for _, name := range []string{howToText, howToHTML} {
		if text, ok := c.need(name, maxSmall); ok && !slices.Contains(howToEditions(), sha256.Sum256(text)) {
			c.fail("changed-text", name, "核验说明不是本程序所附的文本，请勿照其操作", "this is not the text that the program ships with; do not do what it says")
		}
	}
}

// seal finds the keys and opens the checkpoint with them.
func (c *checker) seal() bool {
	listed, ok := c.need(keysFile, maxSmall)
	if !ok {
		return false
	}
	for i := 1; ; i++ {
		text, ok := c.has(fmt.Sprintf("%s%d", rotationsFolder, i))
		if !ok {
			break
		}
		c.rotations = append(c.rotations, text)
	}
	text, ok := c.need(checkpointFile, maxSmall)
	if !ok {
		return false
	}
	c.pin(text)
	first := strings.Split(strings.TrimSuffix(string(listed), "\n"), "\n")
	began, err := keys.Verifiers(first[0], c.rotations)
	if err != nil {
		c.fail("keys", keysFile, "包内所列公钥或其更换声明有误：%v", "the keys in the bundle, or how they were replaced, are not in order: %v", err)
		return false
	}
	if c.Key == "" {
		c.chain = began
	} else if c.chain, err = keys.Verifiers(c.Key, c.rotations); err != nil {
		c.fail("keys", strings.TrimSuffix(rotationsFolder, "/"), "密钥更换声明有误：%v", "how the keys were replaced is not in order: %v", err)
		return false
	}
	if c.Key != "" && !slices.Contains(append(first, began.All()...), c.Key) {
		c.fail("keys", keysFile, "包内所列的最初公钥不是所给公钥，也未经更换声明通向它", "the keys that the bundle lists are not the one that was given and do not lead to it")
	}
	c.signed, err = transparency.OpenCheckpoint(text, c.chain.Name(), c.chain)
	if err != nil {
		c.unsigned(checkpointFile, text, err)
		return false
	}
	c.sealed = true
	c.result.Key, c.result.Origin, c.result.Size, c.result.Root = c.Key, c.signed.Origin, c.signed.Size, c.signed.Root
	m := &c.manifest
	if m.Origin != c.signed.Origin || m.Size != c.signed.Size {
		c.fail("manifest", manifestFile, "其中称日志 %s 有 %d 条记录，检查点是 %s 的 %d 条", "it speaks of the log %s with %d records; the checkpoint is that of %s with %d",
			m.Origin, m.Size, c.signed.Origin, c.signed.Size)
	}
	return true
}

// pin takes the key from the policy where none was given.
func (c *checker) pin(signed []byte) {
	if c.Key != "" || c.Policy == nil {
		return
	}
	at, err := checkpoint.Peek(signed)
	if err != nil {
		return
	}
	for _, l := range c.Policy.Logs {
		if l.Origin() == at.Origin {
			c.Key = l.Key
			return
		}
	}
}

// unsigned tells why a checkpoint is not to be believed.
func (c *checker) unsigned(file string, text []byte, err error) {
	var unknown *note.UnverifiedNoteError
	var invalid *note.InvalidSignatureError
	at, _ := checkpoint.Peek(text)
	switch {
	case errors.As(err, &unknown) && at.Origin != c.chain.Name():
		c.fail("other-log", file, "这是日志 %q 的检查点，公钥是 %q 的", "this is a checkpoint of the log %q; the key is that of %q", at.Origin, c.chain.Name())
	case errors.As(err, &unknown):
		c.fail("other-key", file, "检查点不是由所给公钥签名的：包是别人做的，或者公钥不对", "the checkpoint is not signed with this key: somebody else made the bundle, or the key is another log's")
	case errors.As(err, &invalid):
		_, _, why := c.chain.Open(text)
		c.fail("bad-signature", file, "检查点上该公钥的签名不成立，检查点被改动过，或密钥当时已不可用：%v", "the signature does not fit the checkpoint, which was changed, or the key was not good for it: %v", why)
	default:
		c.fail("bad-checkpoint", file, "检查点不可信：%v", "the checkpoint is not to be believed: %v", err)
	}
}

// under checks that a proof stands under the one checkpoint.
func (c *checker) under(file string, signed []byte) bool {
	if bytes.Equal(signed, c.signed.Note) {
		return true
	}
	if other, err := transparency.OpenCheckpoint(signed, c.signed.Origin, c.chain); err == nil && other.Size == c.signed.Size && other.Root != c.signed.Root {
		c.twoTruths(file)
		return false
	}
	c.fail("other-checkpoint", file, "证明所依的检查点不是 %s", "the proof does not stand under %s", checkpointFile)
	return false
}

func (c *checker) twoTruths(file string) {
	c.fail("two-truths", file, "日志对同样 %d 条记录签过两个不同的树根：这本身就是该日志造假的证据，请保存本包",
		"the log has signed two different roots of the same %d records: keep this bundle, it is proof against the log's operator", c.signed.Size)
}

// grown opens a later checkpoint and checks that it grew out of ours.
func (c *checker) grown(file, growth string) (transparency.Checkpoint, bool) {
	signed, there := c.has(file)
	if !there {
		return transparency.Checkpoint{}, false
	}
	text, ok := c.need(growth, maxSmall)
	if !ok {
		return transparency.Checkpoint{}, false
	}
	at, err := transparency.OpenCheckpoint(signed, c.signed.Origin, c.chain)
	if err != nil {
		c.unsigned(file, signed, err)
		return at, false
	}
	steps, err := readGrowth(text)
	if err != nil {
		c.fail("malformed", growth, "内容不合格式：%v", "it is not of the form that it should have: %v", err)
		return at, false
	}
	switch {
	case at.Size == c.signed.Size && at.Root != c.signed.Root:
		c.twoTruths(file)
		return at, false
	case at.Size < c.signed.Size:
		c.fail("too-early", file, "该检查点只到 %d 条，早于本包的 %d 条", "this checkpoint has %d records, fewer than the %d of the bundle", at.Size, c.signed.Size)
		return at, false
	}
	if err := tlog.CheckTree(steps, at.Size, at.Root, c.signed.Size, c.signed.Root); err != nil {
		c.fail("not-grown", growth, "不能证明 %d 条的日志由 %d 条的日志增长而来", "it is not proven that the log of %d records grew out of that of %d", at.Size, c.signed.Size)
		return at, false
	}
	return at, true
}

// cosignatures checks who has cosigned.
func (c *checker) cosignatures() {
	at, ok := c.grown(cosignedFile, cosignedGrowth)
	if c.Policy == nil {
		if ok {
			c.note("有见证人的联署，但未给出政策文件（--policy），未核验", "witnesses have cosigned; without a policy (--policy) that was not checked")
		}
		return
	}
	file, signed := cosignedFile, at.Note
	if !ok {
		file, signed = checkpointFile, c.signed.Note
	}
	got, err := c.Policy.Check(signed, c.rotations...)
	switch {
	case errors.Is(err, policy.ErrQuorum):
		c.result.Cosigned = &got
		c.fail("too-few-witnesses", file, "联署的见证人不足政策所要求的 %q：缺 %s", "fewer witnesses than the quorum %q have cosigned; missing: %s", got.Quorum, strings.Join(got.Missing, ", "))
	case err != nil:
		c.fail("policy", file, "不符合政策文件：%v", "it does not satisfy the policy: %v", err)
	default:
		c.result.Cosigned = &got
	}
}

// stamp checks the time stamp.
func (c *checker) stamp() {
	at, ok := c.grown(stampedFile, stampedGrowth)
	if !ok {
		if c.Roots != nil {
			c.note("包内没有覆盖这些记录的时间戳", "the bundle has no time stamp that covers these records")
		}
		return
	}
	token, ok := c.need(stampToken, maxSmall)
	if !ok {
		return
	}
	if c.Roots == nil {
		c.note("有时间戳，但未给出根证书（--tsa-roots），未核验", "there is a time stamp; without roots (--tsa-roots) it was not checked")
		return
	}
	s, err := timestamp.Verify(token, at.Note, c.Roots)
	if err != nil {
		c.fail("time-stamp", stampToken, "时间戳不成立：%v", "the time stamp is not good: %v", err)
		return
	}
	c.result.Stamp = &Stamp{Size: at.Size, Stamp: s}
}

// file checks one case.
func (c *checker) file(folder string) {
	var index File
	var head transparency.CaseHead
	if !c.needJSON(folder+"case.json", &index) || !c.needJSON(folder+"head.json", &head) {
		return
	}
	if other, ok := c.cases[index.Case]; ok {
		c.fail("twice", folder+"case.json", "案件 %s 已在 %s", "the case %s stands in %s already", index.Case, other)
		return
	}
	c.cases[index.Case] = folder
	if !c.head(folder, index, head) {
		return
	}
	hidden := make(map[uint64]bool, len(index.Hidden))
	for _, h := range index.Hidden {
		hidden[uint64(h.Revision)] = true
	}
	if uint64(len(index.Hidden)+index.Shown) != index.Records || len(hidden) != len(index.Hidden) {
		c.fail("malformed", folder+"case.json", "称有 %d 条，其中出示 %d 条、未出示 %d 条", "it speaks of %d records, %d of them shown and %d not", index.Records, index.Shown, len(index.Hidden))
	}
	k := &keeper{checker: c, folder: folder, id: index.Case, result: CaseResult{Case: index.Case, Records: head.Head.Count}}
	for revision := uint64(1); revision <= head.Head.Count; revision++ {
		// As many proofs as the log counts, or the first one that is missing ends
		// it: a count is no reason to look for 2^64 files.
		if !k.record(revision, hidden[revision]) {
			c.fail("left-out", proofFile(folder, revision), "日志计有 %d 条记录，第 %d 条不在包内：包内有遗漏", "the log counts %d records of this case; record %d is not in the bundle: something was left out",
				head.Head.Count, revision)
			break
		}
	}
	if len(k.digests) == int(min(head.Head.Count, math.MaxInt32)) {
		k.end(head)
	}
	c.page(k)
	c.result.Cases = append(c.result.Cases, k.result)
}

// head checks how the case ended at the checkpoint.
func (c *checker) head(folder string, index File, head transparency.CaseHead) bool {
	file := folder + "head.json"
	if !c.under(file, head.Inclusion.Checkpoint) {
		return false
	}
	if err := head.Under(c.signed); err != nil {
		c.fail("head", file, "案件首部没有得到证明：%v", "how the case ends is not proven: %v", err)
		return false
	}
	c.last = head.Inclusion.Leaf
	c.result.Sealed = c.last.StoredAt
	if c.last.Volume != c.manifest.Volume {
		c.fail("manifest", manifestFile, "其中称卷为 %q，日志的是 %q", "it speaks of the volume %q; the log is that of %q", c.manifest.Volume, c.last.Volume)
	}
	if head.Case != string(index.Case) {
		c.fail("other-case", file, "这是案件 %s 的首部，不是 %s 的", "this is the head of the case %s, not of %s", head.Case, index.Case)
		return false
	}
	if head.Head.Count != index.Records {
		c.fail("count", folder+"case.json", "称有 %d 条记录，日志计有 %d 条", "it speaks of %d records; the log counts %d", index.Records, head.Head.Count)
	}
	if head.Head.Count == 0 {
		c.fail("head", file, "日志中没有该案件", "the log has no such case")
		return false
	}
	return true
}

// A keeper is one case as it is checked.
type keeper struct {
	*checker
	folder  string
	id      domain.CaseID
	digests []domain.Digest   // by revision - 1
	bound   []bool            // named by the record after it, or by the head
	shown   []domain.Recorded // that are as they should be
	hidden  int
	after   uint64 // position of the record before
	result  CaseResult
}

// record checks a record by its proof; false if there is none.
func (k *keeper) record(revision uint64, hidden bool) bool {
	name := proofFile(k.folder, revision)
	text, err := k.read(name, maxSmall)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	var leaf transparency.Leaf
	proven := false
	if err != nil {
		k.fail("unreadable", name, "无法读取：%v", "it cannot be read: %v", err)
	} else {
		leaf, proven = k.proof(name, text)
	}
	// Also where the proof is bad the record is looked at, to tell all that is wrong.
	k.digests, k.bound = append(k.digests, domain.Digest(leaf.Digest)), append(k.bound, false)
	if hidden {
		k.hidden++
		return true
	}
	file := recordFile(k.folder, revision)
	data, ok := k.need(file, domain.MaxRecord)
	if ok && proven {
		k.content(file, revision, data, leaf)
	}
	return true
}

// proof checks that a leaf is in the log.
func (k *keeper) proof(name string, text []byte) (transparency.Leaf, bool) {
	p, err := transparency.ParseInclusion(text)
	if err != nil {
		k.fail("bad-proof", name, "不是可读的证明：%v", "this is no proof that can be read: %v", err)
		return transparency.Leaf{}, false
	}
	if !bytes.Equal(p.Marshal(), text) {
		k.fail("bad-proof", name, "证明的写法与规定不同", "the proof is written otherwise than proofs are")
		return p.Leaf, false
	}
	if !k.under(name, p.Checkpoint) {
		return p.Leaf, false
	}
	if err := p.Under(k.signed); err != nil {
		k.fail("not-in-log", name, "不能证明该叶在日志中：%v", "it is not proven that the leaf is in the log: %v", err)
		return p.Leaf, false
	}
	if other, ok := k.at[p.Leaf.Position]; ok {
		k.fail("twice", name, "位置 %d 已由 %s 使用", "position %d stands in %s already", p.Leaf.Position, other)
		return p.Leaf, false
	}
	k.at[p.Leaf.Position] = name
	if p.Leaf.Position <= k.after {
		k.fail("order", name, "位置 %d 不在前一条 %d 之后", "position %d does not come after %d, that of the record before", p.Leaf.Position, k.after)
		return p.Leaf, false
	}
	k.after = p.Leaf.Position
	return p.Leaf, true
}

// content checks the bytes of a record against its leaf, and what they say against
// its place in the case.
func (k *keeper) content(file string, revision uint64, data []byte, leaf transparency.Leaf) {
	if err := leaf.Holds(data); err != nil {
		k.fail("changed-record", file, "记录被改动，或不是日志中的这一条：%v", "the record was changed, or is not the one that the log has there: %v", err)
		return
	}
	r, err := domain.Read(leaf.Position, leaf.StoredAt, data)
	if err != nil {
		k.fail("bad-record", file, "在日志中，但不是执法记录：%v", "it is in the log and no record of an act: %v", err)
		return
	}
	switch {
	case r.Subject != k.id:
		k.fail("other-case", file, "这是案件 %s 的记录，不是 %s 的", "this is a record of the case %s, not of %s", r.Subject, k.id)
		return
	case uint64(r.Revision) != revision:
		k.fail("order", file, "这是本案第 %d 条记录，不是第 %d 条", "this is record %d of its case, not %d", r.Revision, revision)
		return
	case revision == 1 && r.Previous != domain.Digest{}:
		k.fail("chain", file, "第一条记录却指向更早的记录", "it is the first and names a record before it")
		return
	case revision > 1 && r.Previous != k.digests[revision-2]:
		k.fail("chain", file, "所载前一条的摘要与第 %d 条不符：链条中断", "it follows another record than number %d: the chain is broken", revision-1)
		return
	}
	if revision > 1 {
		k.bound[revision-2] = true
	}
	k.shown = append(k.shown, r)
	evidenceLines(&k.references, &r)
}

// end checks the last record against the head.
func (k *keeper) end(head transparency.CaseHead) {
	last := len(k.digests) - 1
	if k.digests[last] != domain.Digest(head.Head.Digest) {
		k.fail("left-out", proofFile(k.folder, head.Head.Count), "本案最后一条不是日志所记的最后一条", "this is not the record that the log has as the last of the case")
		return
	}
	k.bound[last] = true
}

// page makes the page of a case anew and compares.
func (c *checker) page(k *keeper) {
	k.result.Shown = len(k.shown)
	seen := map[int]bool{}
	for i := range k.shown {
		seen[k.shown[i].Revision] = true
	}
	for i, bound := range k.bound {
		if bound && !seen[i+1] {
			k.result.Bound++
		}
	}
	name := k.folder + "timeline.html"
	if len(k.shown) == 0 {
		return // then there is none: strangers finds one
	}
	if k.hidden > 0 && k.result.Bound < k.hidden {
		c.note("案件 %s 有 %d 条未出示，其中 %d 条经摘要链证明属于本案；其余只证明在日志中", "%[2]d records of the case %[1]s are not shown; %[3]d of them are proven to be of it by the chain of digests, of the others it is proven only that the log has them",
			k.id, k.hidden, k.result.Bound)
	}
	got, ok := c.need(name, maxPage)
	if !ok || c.book == nil {
		return
	}
	book, err := c.book()
	if err != nil {
		c.fail("law", strings.TrimSuffix(ownFolder, "/"), "包内的本机关规则无法读取，页面不能核对：%v", "the agency's own law in the bundle cannot be read, so that the pages cannot be compared: %v", err)
		c.book = nil
		return
	}
	want, err := timeline(k.shown, book, k.hidden, c.last)
	if err != nil || !bytes.Equal(got, want) {
		c.fail("changed-page", name, "可读页面与记录不一致：被改动过，或由本程序的其他版本生成（只核对记录：--records-only）",
			"the readable page is not what the records say: it was changed, or another version of the program made it (--records-only checks the records alone)")
		return
	}
	c.pages++
}

// evidence checks the list of what the records name.
func (c *checker) evidence() {
	if got, ok := c.need(evidenceFile, maxPage); ok && !bytes.Equal(got, c.references.Bytes()) {
		c.fail("evidence", evidenceFile, "证据和文书清单与记录所载不一致", "the list of documents and evidence is not what the records name")
	}
}

// strangers finds files that have no place in a bundle.
func (c *checker) strangers() {
	err := fs.WalkDir(c.bag.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || c.known[name] || slices.Contains(tagFiles, name) {
			return err
		}
		c.fail("extra-file", name, "本包不应有这个文件，没有任何证明涉及它", "a bundle has no such file, and nothing vouches for it")
		return nil
	})
	if err != nil {
		c.fail("bag", "", "无法列出包内文件：%v", "the files cannot be listed: %v", err)
	}
}

var tagFiles = []string{"bagit.txt", "bag-info.txt", "manifest-sha256.txt", "manifest-sha512.txt", "tagmanifest-sha256.txt", "tagmanifest-sha512.txt"}

// conclude gives the verdict.
func (c *checker) conclude() {
	r := &c.result
	if len(r.Faults) == 0 && (!c.sealed || len(r.Cases) != c.manifest.Cases) {
		c.fail("bag", "", "核验没有完成", "the check did not come to its end") // no way here is known
	}
	shown, records := 0, uint64(0)
	for _, f := range r.Cases {
		shown, records = shown+f.Shown, records+f.Records
	}
	switch {
	case len(r.Faults) > 0:
		r.Verdict, r.Says = NotProven, rulebook.Text{ZH: "未能证明：包内有不符之处。", EN: "Not proven: something is wrong with the bundle."}
	case c.Key == "":
		r.Verdict, r.Says = Unpinned, rulebook.Text{
			ZH: "未能证明：各部分互相吻合，但没有给出公钥，任何人都能造出这样的包。请从其他途径取得该日志的验证公钥，用 --key 给出，才能证明这些记录由该日志收存、未改动、无遗漏。",
			EN: "Not proven: the parts fit together, but no key was given, and anybody could make such a bundle. Get the log's verifier key another way and give it with --key: that would prove that these records are in that log, unchanged, and that none was left out.",
		}
	default:
		r.Verdict, r.Says = Proven, rulebook.Text{
			ZH: fmt.Sprintf("已证明：%d 个案件，出示的 %d 条记录与存入时逐字节相同；到日志第 %d 条为止，这些案件共 %d 条记录，没有遗漏。", len(r.Cases), shown, r.Size, records),
			EN: fmt.Sprintf("Proven: in %d case(s), the %d records shown are byte for byte what was stored; up to position %d of the log these cases have %d records, and none was left out.", len(r.Cases), shown, r.Size, records),
		}
	}
}
