package transparency

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"liuhen/internal/checkpoint"
)

// reportOrigin is what the origin of a log has behind it in the signature of a
// report; no log here may have such a name.
const reportOrigin = "/report"

// SignReport signs the exact bytes of a report with the keys of a log. The
// signature is a note of its own, in the form of a checkpoint so that every kind of
// key can make it, and can be taken for none:
//
//	<origin>/report
//	<size of the newest checkpoint when it was signed>
//	<base64 of the SHA-256 of the report>
func SignReport(report []byte, origin string, size int64, signers ...note.Signer) ([]byte, error) {
	if len(signers) == 0 {
		return nil, errors.New("the keys of the log are not here, so reports are not signed")
	}
	c := checkpoint.Checkpoint{Origin: origin + reportOrigin, Size: size, Root: tlog.Hash(sha256.Sum256(report))}
	return note.Sign(&note.Note{Text: c.Text()}, signers...)
}

// VerifyReport checks that a log has signed a report, and returns how many records
// it had then. Every error is ErrNotProven.
func VerifyReport(report, signed []byte, origin string, keys note.Verifiers) (int64, error) {
	if len(signed) > maxNote {
		return 0, fmt.Errorf("%w: a signature of %d bytes, the limit is %d", ErrNotProven, len(signed), maxNote)
	}
	c, _, err := checkpoint.Open(signed, keys)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: %w", ErrNotProven, err)
	case c.Origin != origin+reportOrigin || len(c.Extensions) > 0:
		return 0, fmt.Errorf("%w: what is signed is no report of the log %s", ErrNotProven, origin)
	case c.Root != tlog.Hash(sha256.Sum256(report)):
		return 0, fmt.Errorf("%w: another report was signed, or this one was changed", ErrNotProven)
	}
	return c.Size, nil
}

// SignReport signs a report as it is handed out; an error where this process has
// no keys of the log.
func (l *Log) SignReport(report []byte) ([]byte, error) {
	return SignReport(report, l.cfg.Settings.Origin, l.Checkpoint().Size, l.cfg.Signers...)
}
