// Package bundle puts cases into one file that a stranger can check with a public
// key and nothing else: the records byte for byte, a proof that each is in the log
// of proofs, a proof that there are no others, and what belongs to them. The file
// is a zip with a bag (RFC 8493) in it. docs/BUNDLE.md has its layout.
//
//	data/bundle.json                    Manifest: what is in it
//	data/HOW-TO-CHECK.txt, .html        how to check it with common tools
//	data/log/checkpoint                 the signed note that every proof stands under
//	data/log/keys                       the verifier keys that the log began with, one a line
//	data/log/rotations/<i>              signed notes by which old keys vouch for new ones
//	data/log/cosigned                   a checkpoint with cosignatures of witnesses, of that size or more
//	data/log/cosigned.consistency       how it grew out of the first: hashes in base64, one a line
//	data/log/stamp/checkpoint           a checkpoint, of that size or more, that was time-stamped
//	data/log/stamp/token.der            its time stamp (RFC 3161)
//	data/log/stamp/consistency          like cosigned.consistency
//	data/cases/<n>/case.json            File: which case, which records are shown
//	data/cases/<n>/head.json            transparency.CaseHead
//	data/cases/<n>/timeline.html        the case for people (package dossier)
//	data/cases/<n>/records/<revision>.json        the stored bytes
//	data/cases/<n>/records/<revision>.tlog-proof  C2SP tlog-proof; its extra data is the leaf
//	data/law/national/<file>, own/<file>          the law that the program judged by
//	data/evidence/digests               what documents and evidence the records name
//
// Check verifies such a file. It opens no connection and trusts nothing in the
// file but what leads to the key.
package bundle

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"liuhen/domain"
	"liuhen/domain/rulebook"
	"liuhen/transparency"
)

// Format names the layout. A bundle of another one is not read.
const Format = "liuhen/bundle/v1"

// A Manifest is data/bundle.json. Nobody vouches for what it says; Check compares
// what can be compared.
type Manifest struct {
	Format  string `json:"format"`
	Origin  string `json:"origin"` // the log's name
	Volume  string `json:"volume"`
	Size    int64  `json:"size"` // records in the log when it was sealed
	Cases   int    `json:"cases"`
	Profile string `json:"profile"`          // code of the profile
	Reader  string `json:"reader,omitempty"` // for whom, where the profile asks
	Program string `json:"program"`          // what wrote it
}

// A File is case.json: one case of a bundle.
type File struct {
	Case    domain.CaseID `json:"case"`
	Records uint64        `json:"records"` // how many the case had
	Shown   int           `json:"shown"`
	Hidden  []Hidden      `json:"hidden"` // those of which only leaf and proof are here
}

// Hidden is a record that is not shown.
type Hidden struct {
	Revision int    `json:"revision"`
	Act      string `json:"act,omitempty"` // as the agency says; nothing proves it
}

// A Later is a checkpoint of the same size as a bundle's or more, with the proof
// that it grew out of that.
type Later struct {
	Note        []byte // signed
	Consistency tlog.TreeProof
	Token       []byte // RFC 3161, DER; nil where it is none of the stamp
}

// Evidence is what of the log goes into a bundle.
type Evidence struct {
	Settings   transparency.Settings
	Checkpoint transparency.Checkpoint
	Heads      []transparency.CaseHead // of the cases, in their order
	Rotations  [][]byte
	Cosigned   *Later // nil: none
	Stamped    *Later // nil: none
}

// Names of files, below data/.
const (
	manifestFile    = "data/bundle.json"
	howToText       = "data/HOW-TO-CHECK.txt"
	howToHTML       = "data/HOW-TO-CHECK.html"
	checkpointFile  = "data/log/checkpoint"
	keysFile        = "data/log/keys"
	rotationsFolder = "data/log/rotations/"
	cosignedFile    = "data/log/cosigned"
	cosignedGrowth  = "data/log/cosigned.consistency"
	stampedFile     = "data/log/stamp/checkpoint"
	stampToken      = "data/log/stamp/token.der"
	stampedGrowth   = "data/log/stamp/consistency"
	nationalFolder  = "data/law/national/"
	ownFolder       = "data/law/own/"
	evidenceFile    = "data/evidence/digests"
)

func caseFolder(n int) string { return fmt.Sprintf("data/cases/%d/", n) }

func recordFile(folder string, revision uint64) string {
	return folder + "records/" + strconv.FormatUint(revision, 10) + ".json"
}

func proofFile(folder string, revision uint64) string {
	return folder + "records/" + strconv.FormatUint(revision, 10) + ".tlog-proof"
}

// encode writes JSON for people and programs, always in the same way.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	err := enc.Encode(v)
	return b.Bytes(), err
}

// decode reads what encode writes: nothing unknown, and nothing behind it. What
// would be written otherwise is not taken, so that one file says one thing.
func decode(text []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something behind it")
	}
	again, err := encode(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, text) {
		return errors.New("it is written otherwise than bundles are")
	}
	return nil
}

func writeGrowth(p tlog.TreeProof) []byte {
	var b bytes.Buffer
	for _, h := range p {
		b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	return b.Bytes()
}

func readGrowth(text []byte) (tlog.TreeProof, error) {
	var p tlog.TreeProof
	for line := range strings.Lines(string(text)) {
		raw, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSuffix(line, "\n"))
		if err != nil || len(raw) != tlog.HashSize || !strings.HasSuffix(line, "\n") || len(p) > 63 {
			return nil, fmt.Errorf("line %d is not the base64 of a SHA-256", len(p)+1)
		}
		p = append(p, tlog.Hash(raw))
	}
	return p, nil
}

// evidenceLines list what a record names, one reference a line: digest, bytes,
// case, revision, kind and title, with tabs between them.
func evidenceLines(b *bytes.Buffer, r *domain.Recorded) {
	plain := strings.NewReplacer("\t", " ", "\n", " ", "\r", " ")
	for _, list := range []struct {
		kind string
		refs []reference
	}{{"document", r.Data.Documents}, {"evidence", r.Data.Evidence}} {
		for _, ref := range list.refs {
			fmt.Fprintf(b, "%s\t%d\t%s\t%d\t%s\t%s\n", plain.Replace(ref.Digest), ref.Size, r.Subject, r.Revision, list.kind, plain.Replace(ref.Title))
		}
	}
}

type reference = rulebook.Reference
