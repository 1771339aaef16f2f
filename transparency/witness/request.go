package witness

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"liuhen/internal/checkpoint"
)

// maxRequest is how large the body of a request may be: 63 hashes and a note with
// a few dozen signatures, of 3 kB each where they are ML-DSA.
const maxRequest = 256 << 10

// maxProof is how many hashes a proof of consistency has at most.
const maxProof = 63

// A Request is what a log asks a witness: to cosign a checkpoint, with the proof
// that nothing was changed since the one that the witness cosigned before. It is
// the body of add-checkpoint, and what is carried to a witness without a network.
type Request struct {
	Old        int64          // size that the witness last cosigned; 0: none
	Proof      tlog.TreeProof // of consistency from Old to the checkpoint's size; empty where Old is 0 or that size
	Checkpoint []byte         // a signed note
}

// Marshal writes a request as tlog-witness has it.
func (r Request) Marshal() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "old %d\n", r.Old)
	for _, h := range r.Proof {
		fmt.Fprintln(&b, h)
	}
	b.WriteString("\n")
	b.Write(r.Checkpoint)
	return b.Bytes()
}

// ParseRequest reads a request. Of the checkpoint it reads that it is a note; its
// signatures are looked at later.
func ParseRequest(body []byte) (Request, error) {
	if len(body) > maxRequest {
		return Request{}, fmt.Errorf("request: %d bytes, want at most %d", len(body), maxRequest)
	}
	head, note, split := bytes.Cut(body, []byte("\n\n"))
	if !split {
		return Request{}, errors.New("request: no empty line before the checkpoint")
	}
	lines := strings.Split(string(head), "\n")
	old, prefixed := strings.CutPrefix(lines[0], "old ")
	size, err := checkpoint.ParseSize(old)
	if !prefixed || err != nil {
		return Request{}, fmt.Errorf("request: line 1 is %.40q: want \"old \" and a size without leading zeroes", lines[0])
	}
	if len(lines)-1 > maxProof {
		return Request{}, fmt.Errorf("request: %d lines of proof, want at most %d", len(lines)-1, maxProof)
	}
	r := Request{Old: size, Checkpoint: note}
	for i, line := range lines[1:] {
		h, err := checkpoint.ParseHash(line)
		if err != nil {
			return Request{}, fmt.Errorf("request: line %d: proof: %w", i+2, err)
		}
		r.Proof = append(r.Proof, h)
	}
	if _, err := checkpoint.Peek(note); err != nil {
		return Request{}, fmt.Errorf("request: %w", err)
	}
	return r, nil
}

// ParseSize reads the body of a 409: the size that the witness last cosigned.
func ParseSize(body []byte) (int64, error) {
	text, ended := strings.CutSuffix(string(body), "\n")
	if !ended {
		return 0, errors.New("the size does not end with a newline")
	}
	return checkpoint.ParseSize(text)
}

func formatSize(size int64) string { return strconv.FormatInt(size, 10) + "\n" }
