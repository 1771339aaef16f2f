// Package witness has both sides of https://c2sp.org/tlog-witness: a small witness
// that a court, an archive or an ombudsman runs, and the client by which a log asks
// its witnesses.
//
// A witness remembers, of each log that it was told of, the largest checkpoint that
// it has cosigned. It cosigns the next one only with a proof that it holds all of
// the one before, and has it on disk before the cosignature leaves. So a log that
// shows different people different records, or that loses records and goes on,
// cannot get cosignatures for both: it is found out by anybody who asks for them.
//
// # State
//
// For each log one file, <hex SHA-256 of the origin>.checkpoint: the newest
// checkpoint with the log's signature and the witness's own, as it is given to
// whoever asks. It is verified when it is read. A witness that has lost the file
// would cosign anything, so it is never brought back from a backup: a witness that
// has lost its state takes new keys. A folder has one witness at a time (a lock).
package witness

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"liuhen/internal/checkpoint"
	"liuhen/transparency/keys"
)

// A Witness cosigns the checkpoints of the logs that it was told of. It is safe
// for use by several goroutines.
type Witness struct {
	dir       string
	held      *os.File // the folder's lock
	signers   []note.Signer
	verifiers note.Verifiers // of the witness's own keys
	logs      map[string]*log
}

// A log is what a witness knows of one.
type log struct {
	origin string
	known  note.Verifiers
	path   string

	mu     sync.Mutex
	newest *cosigned // guarded by mu; nil: none yet
}

// cosigned is a checkpoint that the witness vouched for.
type cosigned struct {
	at   checkpoint.Checkpoint
	note []byte
}

// Open starts a witness on its folder of state, which is made if it is not there.
// ring is its own keys, logs the verifier keys of the logs that it cosigns; several
// keys of one name are keys of one log.
func Open(dir string, ring *keys.Ring, logs ...string) (*Witness, error) {
	w := &Witness{dir: dir, signers: ring.Signers(), logs: map[string]*log{}}
	var own []note.Verifier
	for _, vkey := range ring.VerifierKeys() {
		if !keys.IsCosigner(vkey) {
			return nil, fmt.Errorf("witness: the keys in %s are not for a witness: make some with \"liuhen witness keygen\"", ring.File())
		}
		v, err := keys.NewVerifier(vkey)
		if err != nil {
			return nil, fmt.Errorf("witness: %w", err)
		}
		own = append(own, v)
	}
	w.verifiers = note.VerifierList(own...)
	if err := w.know(logs); err != nil {
		return nil, err
	}
	if err := w.lock(); err != nil {
		return nil, err
	}
	for _, l := range w.logs {
		if err := w.load(l); err != nil {
			return nil, errors.Join(err, w.Close())
		}
	}
	return w, nil
}

func (w *Witness) know(logs []string) error {
	if len(logs) == 0 {
		return errors.New("witness: no log to witness: give the verifier key of one")
	}
	byOrigin := map[string][]note.Verifier{}
	for _, vkey := range logs {
		v, err := keys.NewVerifier(vkey)
		if err != nil {
			return fmt.Errorf("witness: log: %w", err)
		}
		byOrigin[v.Name()] = append(byOrigin[v.Name()], v)
	}
	for origin, verifiers := range byOrigin {
		w.logs[origin] = &log{origin: origin, known: note.VerifierList(verifiers...), path: filepath.Join(w.dir, originHash(origin)+".checkpoint")}
	}
	return nil
}

// originHash names a log in paths: hexadecimal SHA-256 of its origin.
func originHash(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(sum[:])
}

func (w *Witness) lock() error {
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		return fmt.Errorf("witness: make the folder of state: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(w.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("witness: lock the folder of state: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errors.New("another witness is running on it; two of them could cosign what contradicts")
	}
	if err != nil {
		return errors.Join(fmt.Errorf("witness: lock %s: %w", w.dir, err), f.Close())
	}
	w.held = f
	return nil
}

// Close gives the folder back.
func (w *Witness) Close() error { return w.held.Close() }

// load reads the state of a log and verifies that this witness wrote it.
func (w *Witness) load(l *log) error {
	text, err := os.ReadFile(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("witness: state of %s: %w", l.origin, err)
	}
	at, _, err := checkpoint.Open(text, w.verifiers)
	if err == nil && at.Origin != l.origin {
		err = fmt.Errorf("it is of %s", at.Origin)
	}
	if err != nil {
		return fmt.Errorf("witness: state of %s in %s: %w: it was changed, or cosigned with other keys; a witness that does not know what it cosigned must not go on: begin with new keys and an empty folder, and tell the log's operator", l.origin, l.path, err)
	}
	l.newest = &cosigned{at: at, note: text}
	return nil
}

// The answers of a witness, beside a cosignature. Each has its status in
// tlog-witness.
var (
	ErrBadRequest   = errors.New("the request cannot be read")                             // 400
	ErrUnknownLog   = errors.New("this witness was not told of the log")                   // 404
	ErrSignature    = errors.New("not signed by the log")                                  // 403
	ErrInconsistent = errors.New("the checkpoint is not proven to hold what was cosigned") // 422
)

// A ConflictError says that the witness last cosigned another size than the one
// that the proof begins at (409). Prove from Size.
type ConflictError struct{ Size int64 }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("the witness last cosigned size %d: prove from there", e.Size)
}

// Add cosigns a checkpoint and returns it with the log's signatures and this
// witness's; the lines are the cosignatures alone. By then the checkpoint is on
// disk. Otherwise the error is one of those above, or a fault of the machine.
func (w *Witness) Add(body []byte) (lines, signed []byte, err error) {
	r, err := ParseRequest(body)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrBadRequest, err)
	}
	claimed, err := checkpoint.Peek(r.Checkpoint)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrBadRequest, err)
	}
	l, known := w.logs[claimed.Origin]
	if !known {
		return nil, nil, fmt.Errorf("%w %.100s", ErrUnknownLog, claimed.Origin)
	}
	at, n, err := checkpoint.Open(r.Checkpoint, l.known)
	if err != nil {
		return nil, nil, fmt.Errorf("checkpoint of %s: %w: %w", l.origin, ErrSignature, err)
	}
	if r.Old > at.Size {
		return nil, nil, fmt.Errorf("%w: the proof begins at size %d, the checkpoint has %d", ErrBadRequest, r.Old, at.Size)
	}

	// From comparing to being on disk nobody else may come in between: he would
	// be compared with what is about to be replaced.
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.consistent(r, at); err != nil {
		return nil, nil, err
	}
	signed, err = note.Sign(&note.Note{Text: n.Text, Sigs: n.Sigs}, w.signers...)
	if err != nil {
		return nil, nil, fmt.Errorf("cosign: %w", err)
	}
	if err := write(l.path, signed); err != nil {
		return nil, nil, fmt.Errorf("keep the checkpoint: %w", err)
	}
	l.newest = &cosigned{at: at, note: signed}
	for _, s := range checkpoint.Signatures(signed) {
		if _, err := w.verifiers.Verifier(s.Name, s.Hash); err == nil {
			lines = append(lines, checkpoint.Line(s)...)
		}
	}
	return lines, signed, nil
}

// emptyRoot is the root of a tree without leaves: the SHA-256 of nothing (RFC 6962
// section 2.1).
var emptyRoot = tlog.Hash(sha256.Sum256(nil))

// consistent checks a checkpoint against the newest one that was cosigned. The
// caller holds l.mu.
func (l *log) consistent(r Request, at checkpoint.Checkpoint) error {
	last := checkpoint.Checkpoint{Origin: l.origin, Root: emptyRoot}
	if l.newest != nil {
		last = l.newest.at
	}
	inconsistent := func(format string, args ...any) error {
		return fmt.Errorf("checkpoint of %s, size %d, root %s: %w: %s", l.origin, at.Size, at.Root, ErrInconsistent, fmt.Sprintf(format, args...))
	}
	switch {
	case r.Old != last.Size:
		return &ConflictError{Size: last.Size}
	case at.Size == 0 && at.Root != emptyRoot:
		return inconsistent("the root of an empty tree is %s", emptyRoot)
	case r.Old == at.Size && at.Root != last.Root:
		return inconsistent("of that size another root was cosigned: %s", last.Root)
	case (r.Old == 0 || r.Old == at.Size) && len(r.Proof) != 0:
		return inconsistent("nothing is to be proven from size %d, yet there are %d hashes", r.Old, len(r.Proof))
	case r.Old == 0 || r.Old == at.Size:
		return nil
	}
	if err := tlog.CheckTree(r.Proof, at.Size, at.Root, last.Size, last.Root); err != nil {
		return inconsistent("the proof does not lead from size %d, root %s", last.Size, last.Root)
	}
	return nil
}

// Newest returns the newest checkpoint of a log that was cosigned, with the
// signatures of both; it is nil if there is none.
func (w *Witness) Newest(origin string) []byte {
	l, known := w.logs[origin]
	if !known {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.newest == nil {
		return nil
	}
	return l.newest.note
}

// write puts a file in its place, whole and on disk.
func write(path string, text []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
