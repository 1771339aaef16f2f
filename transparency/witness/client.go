package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"liuhen/internal/checkpoint"
	"liuhen/transparency/keys"
)

// DefaultTimeout is how long one witness has for one checkpoint, everything
// included.
const DefaultTimeout = 5 * time.Second

// A Prover proves that a log's tree of size next holds all of its tree of size
// old, 0 < old < next.
type Prover func(old, next int64) (tlog.TreeProof, error)

// A Client asks one witness. It is safe for use by several goroutines.
type Client struct {
	url       string
	name      string
	verifiers note.Verifiers

	// Log is the log's own keys. A checkpoint that the witness shows is proof
	// against the log if the log signed it too: a witness could cosign what there
	// never was. nil: whoever is given such a proof looks at that himself.
	Log note.Verifiers
	// HTTP is the client that is used; nil: one that follows no redirects.
	HTTP *http.Client
	// Timeout is how long Cosign may take; 0: DefaultTimeout.
	Timeout time.Duration

	mu   sync.Mutex
	size int64 // guarded by mu: what the witness cosigned last, as far as is known here
}

// NewClient returns a client for the witness at a URL (its submission prefix).
// vkeys are its verifier keys: at least one must sign each checkpoint.
func NewClient(url string, vkeys ...string) (*Client, error) {
	if !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://") {
		return nil, fmt.Errorf("witness %q: want an address that begins with https:// or http://", url)
	}
	c := &Client{url: url}
	var all []note.Verifier
	for _, vkey := range vkeys {
		if !keys.IsCosigner(vkey) {
			return nil, fmt.Errorf("witness %s: key %.80q is none that witnesses sign with (type 0x04 or 0x06)", url, vkey)
		}
		v, err := keys.NewVerifier(vkey)
		if err != nil {
			return nil, fmt.Errorf("witness %s: %w", url, err)
		}
		all = append(all, v)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("witness %s: its verifier key is not given", url)
	}
	c.name, c.verifiers = all[0].Name(), note.VerifierList(all...)
	return c, nil
}

// Name is the name of the witness's key, for messages.
func (c *Client) Name() string { return c.name }

// A SeenMoreError says that the witness has cosigned a larger tree of this log than the
// checkpoint that was offered. If the log has no larger one either, then records
// that it had signed are lost.
type SeenMoreError struct {
	Witness string // its name
	Size    int64  // of the largest tree that it cosigned
	// That checkpoint: the proof. Its cosignature is verified, and the log's
	// signature with Client.Log. nil if the witness only says so, or shows
	// something else.
	Checkpoint []byte
}

func (e *SeenMoreError) Error() string {
	return fmt.Sprintf("witness %s has cosigned %d records of this log, more than it is now shown: records are lost, or an old checkpoint was offered%s", e.Witness, e.Size, unproven(e.Checkpoint))
}

// A ForkedError says that the witness has cosigned a tree of this log that the offered
// checkpoint does not continue. One of the two contradicts what the log's key had
// signed.
type ForkedError struct {
	Witness string
	Size    int64 // of the tree that it cosigned
	// As in SeenMoreError. Where it is there, its root was compared: the fork is
	// proven by the two checkpoints.
	Checkpoint []byte
}

func (e *ForkedError) Error() string {
	return fmt.Sprintf("witness %s has cosigned, at size %d, a tree of this log that is not the beginning of the one it is now shown: the log was forked%s", e.Witness, e.Size, unproven(e.Checkpoint))
}

func unproven(proof []byte) string {
	if proof == nil {
		return " (the witness says so, and shows no checkpoint that proves it)"
	}
	return ""
}

// tries is how often a checkpoint is offered: with the size known here, with the
// one that the witness names, and once or twice more if others ask it meanwhile.
const tries = 4

// Cosign has the witness cosign a signed checkpoint and returns the signatures,
// verified. A witness that answers with a larger or a different tree gives
// *SeenMoreError or *ForkedError; everything else that goes wrong means that the
// witness could not be had this time.
func (c *Client) Cosign(ctx context.Context, signed []byte, prove Prover) ([]note.Signature, error) {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	at, err := checkpoint.Peek(signed)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	old := min(c.size, at.Size) // what is known here may be of a tree that was lost
	c.mu.Unlock()
	for range tries {
		request := Request{Old: old, Checkpoint: signed}
		if 0 < old && old < at.Size {
			if request.Proof, err = prove(old, at.Size); err != nil {
				return nil, fmt.Errorf("witness %s: prove size %d from %d: %w", c.name, at.Size, old, err)
			}
		}
		sigs, conflict, err := c.offer(ctx, at, request)
		if err != nil {
			return nil, err
		}
		if conflict == nil {
			c.remember(at.Size)
			return sigs, nil
		}
		if conflict.Size > at.Size {
			return nil, c.seenMore(ctx, at, conflict.Size)
		}
		old = conflict.Size
	}
	return nil, fmt.Errorf("witness %s: it named another size each of %d times: somebody else is asking it about this log", c.name, tries)
}

func (c *Client) remember(size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.size = max(c.size, size)
}

// offer sends one request.
func (c *Client) offer(ctx context.Context, at checkpoint.Checkpoint, request Request) ([]note.Signature, *ConflictError, error) {
	status, kind, body, err := c.do(ctx, http.MethodPost, "add-checkpoint", request.Marshal())
	if err != nil {
		return nil, nil, fmt.Errorf("witness %s: %w", c.name, err)
	}
	switch status {
	case http.StatusOK:
		sigs, err := Verify(request.Checkpoint, body, c.verifiers)
		if err != nil {
			return nil, nil, fmt.Errorf("witness %s: its answer: %w", c.name, err)
		}
		return sigs, nil, nil
	case http.StatusConflict:
		size, err := ParseSize(body)
		if kind != sizeType || err != nil {
			return nil, nil, fmt.Errorf("witness %s: status 409 without a size (content type %q): is %s the address of a witness?", c.name, kind, c.url)
		}
		return nil, &ConflictError{Size: size}, nil
	case http.StatusUnprocessableEntity:
		return nil, nil, c.forked(ctx, at, request, body)
	case http.StatusNotFound:
		return nil, nil, fmt.Errorf("witness %s does not know the log %s: its operator must be given the log's verifier key (status 404: %s)", c.name, at.Origin, short(body))
	case http.StatusForbidden:
		return nil, nil, fmt.Errorf("witness %s knows the log %s by another key: its operator must be given the new verifier key (status 403: %s)", c.name, at.Origin, short(body))
	default:
		return nil, nil, fmt.Errorf("witness %s: status %d: %s", c.name, status, short(body))
	}
}

// seenMore looks for the proof that the witness has seen more.
func (c *Client) seenMore(ctx context.Context, at checkpoint.Checkpoint, size int64) error {
	e := &SeenMoreError{Witness: c.name, Size: size}
	if newest, shown := c.newest(ctx, at.Origin); shown != nil && newest.Size > at.Size {
		e.Size, e.Checkpoint = newest.Size, shown
	}
	return e
}

// forked finds out what a witness means that takes the proof for wrong. A proof
// that does lead from what the witness shows is a witness's fault and no fork.
func (c *Client) forked(ctx context.Context, at checkpoint.Checkpoint, request Request, body []byte) error {
	e := &ForkedError{Witness: c.name, Size: request.Old}
	newest, shown := c.newest(ctx, at.Origin)
	switch {
	case shown == nil || newest.Size != request.Old:
		if request.Old == 0 {
			return fmt.Errorf("witness %s: status 422: %s", c.name, short(body))
		}
		return e
	case newest.Size == at.Size && newest.Root == at.Root,
		0 < newest.Size && newest.Size < at.Size && tlog.CheckTree(request.Proof, at.Size, at.Root, newest.Size, newest.Root) == nil:
		return fmt.Errorf("witness %s: it calls a proof wrong that is right: %s", c.name, short(body))
	}
	e.Checkpoint = shown
	return e
}

// newest asks the witness for the newest checkpoint that it cosigned; shown is nil
// if it has none that verifies, or none that the log signed.
func (c *Client) newest(ctx context.Context, origin string) (at checkpoint.Checkpoint, shown []byte) {
	status, _, body, err := c.do(ctx, http.MethodGet, originHash(origin)+"/checkpoint", nil)
	if err != nil || status != http.StatusOK {
		return at, nil
	}
	at, _, err = checkpoint.Open(body, c.verifiers)
	if err != nil || at.Origin != origin {
		return at, nil
	}
	if c.Log != nil {
		if _, _, err := checkpoint.Open(body, c.Log); err != nil {
			return at, nil
		}
	}
	return at, body
}

// do sends one HTTP request and reads the answer, up to the size of a request.
func (c *Client) do(ctx context.Context, method, path string, body []byte) (status int, kind string, answer []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, method, endpoint(c.url, path), bytes.NewReader(body))
	if err != nil {
		return 0, "", nil, err
	}
	client := c.HTTP
	if client == nil {
		client = direct
	}
	resp, err := client.Do(r)
	if err != nil {
		return 0, "", nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxRequest))
	if err != nil {
		return 0, "", nil, fmt.Errorf("read its answer: %w", err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), answer, nil
}

var direct = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

func short(body []byte) string {
	text, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	if len(text) > 300 {
		text = text[:300] + "…"
	}
	return fmt.Sprintf("%q", text)
}

// Verify reads the cosignature lines that a witness gave for a checkpoint, and
// returns those of the known keys; there must be one at least, and each must state
// its time. Lines of unknown keys are ignored.
func Verify(signed, lines []byte, known note.Verifiers) ([]note.Signature, error) {
	if len(lines) == 0 || lines[len(lines)-1] != '\n' {
		return nil, errors.New("no signature line, or the last one was cut")
	}
	c, err := checkpoint.Peek(signed)
	if err != nil {
		return nil, err
	}
	_, n, err := checkpoint.Open([]byte(c.Text()+"\n"+string(lines)), known)
	var unverified *note.UnverifiedNoteError
	if errors.As(err, &unverified) {
		return nil, errors.New("none of the signature lines is by a key of the witness that is known here")
	}
	if err != nil {
		return nil, err
	}
	for _, s := range n.Sigs {
		if keys.CosignedAt(s).IsZero() {
			return nil, fmt.Errorf("the cosignature of %s+%08x states no time", s.Name, s.Hash)
		}
	}
	return n.Sigs, nil
}

// An Answer is what came of asking one witness.
type Answer struct {
	Witness    string
	Signatures []note.Signature // verified
	Err        error            // a reason why there are none
}

// CosignAll asks several witnesses at once and returns what each answered, in
// their order. It takes as long as the slowest, and that not longer than its
// timeout.
func CosignAll(ctx context.Context, witnesses []*Client, signed []byte, prove Prover) []Answer {
	answers := make([]Answer, len(witnesses))
	var all sync.WaitGroup
	for i, c := range witnesses {
		all.Go(func() {
			sigs, err := c.Cosign(ctx, signed, prove)
			answers[i] = Answer{Witness: c.Name(), Signatures: sigs, Err: err}
		})
	}
	all.Wait()
	return answers
}

// Attach returns a signed checkpoint with further signature lines. A line that is
// there already stays; one by the same key is replaced.
func Attach(signed []byte, sigs []note.Signature) ([]byte, error) {
	_, err := note.Open(signed, nil)
	var unverified *note.UnverifiedNoteError
	if !errors.As(err, &unverified) {
		return nil, fmt.Errorf("attach cosignatures: %w", err)
	}
	var out strings.Builder
	out.WriteString(unverified.Note.Text + "\n")
	replaced := func(old note.Signature) bool {
		for _, s := range sigs {
			if s.Name == old.Name && s.Hash == old.Hash {
				return true
			}
		}
		return false
	}
	for _, s := range unverified.Note.UnverifiedSigs {
		if !replaced(s) {
			out.WriteString(checkpoint.Line(s))
		}
	}
	for _, s := range sigs {
		out.WriteString(checkpoint.Line(s))
	}
	return []byte(out.String()), nil
}

// Import reads what came back from a witness without a network: the checkpoint
// that was carried there, with its cosignatures. It returns the text of the
// checkpoint, by which the log finds its own, and the verified signatures.
func Import(carried []byte, vkeys ...string) (checkpoint.Checkpoint, []note.Signature, error) {
	var known []note.Verifier
	for _, vkey := range vkeys {
		v, err := keys.NewVerifier(vkey)
		if err != nil {
			return checkpoint.Checkpoint{}, nil, err
		}
		known = append(known, v)
	}
	at, err := checkpoint.Peek(carried)
	if err != nil {
		return at, nil, fmt.Errorf("carried cosignature: %w", err)
	}
	var lines strings.Builder
	for _, s := range checkpoint.Signatures(carried) {
		lines.WriteString(checkpoint.Line(s))
	}
	sigs, err := Verify(carried, []byte(lines.String()), note.VerifierList(known...))
	if err != nil {
		return at, nil, fmt.Errorf("carried cosignature on size %d of %s: %w", at.Size, at.Origin, err)
	}
	return at, sigs, nil
}
