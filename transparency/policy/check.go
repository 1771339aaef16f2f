package policy

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"liuhen/internal/checkpoint"
	"liuhen/transparency/keys"
)

// A Result is what a policy finds in a checkpoint.
type Result struct {
	Origin string    `json:"origin"`
	Size   int64     `json:"size"`
	Root   tlog.Hash `json:"root"`
	// The log's keys that signed it.
	Signed []string `json:"signed"`
	// The witnesses of the policy that cosigned it, in the order of the file.
	Cosigned []Cosigned `json:"cosigned"`
	// The witnesses of the policy that did not.
	Missing []string `json:"missing"`
	// The quorum that the policy asks for, and whether it is there.
	Quorum string `json:"quorum"`
	Met    bool   `json:"met"`
}

// Cosigned is one witness's cosignature.
type Cosigned struct {
	Witness string `json:"witness"` // its name in the policy
	Key     string `json:"key"`     // name and ID of its key
	// When, by the witness's clock; zero if it states no time. As of then the
	// witness had seen no larger tree of this log, and none that contradicts.
	At time.Time `json:"at"`
}

// What Check can say, beside a note that cannot be read.
var (
	// ErrNotSigned: no log of the policy signed it, under its own origin.
	ErrNotSigned = errors.New("not signed by a log of the policy")
	// ErrQuorum: too few witnesses cosigned it. The Result says who did.
	ErrQuorum = errors.New("too few witnesses")
)

// Check says whether a signed checkpoint is to be believed after the policy: it is
// signed by one of its logs, whose origin it has, and cosigned by the quorum.
// Every signature by a key that the policy knows must be good, also those that it
// could do without; lines by unknown keys are ignored.
//
// Rotations are the replacements of the logs' keys (package keys), of any logs, in
// order. With ErrQuorum the Result is filled in; with every other error it is not.
func (p *Policy) Check(msg []byte, rotations ...[]byte) (Result, error) {
	at, err := checkpoint.Peek(msg)
	if err != nil {
		return Result{}, err
	}
	logs, err := p.chains(at.Origin, rotations)
	if err != nil {
		return Result{}, err
	}
	witnesses, err := p.verifiers()
	if err != nil {
		return Result{}, err
	}
	result := Result{Origin: at.Origin, Size: at.Size, Root: at.Root, Quorum: p.Quorum, Signed: []string{}, Cosigned: []Cosigned{}, Missing: []string{}}
	for _, chain := range logs {
		_, n, err := chain.Open(msg)
		var unsigned *note.UnverifiedNoteError
		if errors.As(err, &unsigned) {
			continue
		}
		if err != nil {
			return Result{}, err
		}
		for _, s := range n.Sigs {
			result.Signed = append(result.Signed, keyName(s))
		}
	}
	if len(result.Signed) == 0 {
		return Result{}, fmt.Errorf("checkpoint of %s, size %d: %w%s", at.Origin, at.Size, ErrNotSigned, p.known())
	}
	if err := p.cosignatures(msg, witnesses, &result); err != nil {
		return Result{}, fmt.Errorf("checkpoint of %s, size %d: %w", at.Origin, at.Size, err)
	}
	var cosigned []string
	for _, c := range result.Cosigned {
		cosigned = append(cosigned, c.Witness)
	}
	if result.Met = p.satisfied(p.Quorum, cosigned); !result.Met {
		return result, fmt.Errorf("checkpoint of %s, size %d: %w for quorum %q: cosigned by %s, not by %s",
			at.Origin, at.Size, ErrQuorum, p.Quorum, orNobody(cosigned), orNobody(result.Missing))
	}
	return result, nil
}

// chains returns the keys of each log of an origin, followed through the rotations
// that are about it.
func (p *Policy) chains(origin string, rotations [][]byte) (all []*keys.Chain, err error) {
	var about [][]byte
	for _, msg := range rotations {
		r, err := keys.ParseRotation(msg)
		if err != nil {
			return nil, err
		}
		if r.Name == origin {
			about = append(about, msg)
		}
	}
	for _, l := range p.Logs {
		if l.Origin() != origin {
			continue
		}
		chain, err := keys.Verifiers(l.Key, about)
		if err != nil {
			return nil, err
		}
		all = append(all, chain)
	}
	return all, nil
}

// cosignatures fills in who of the policy cosigned.
func (p *Policy) cosignatures(msg []byte, witnesses note.Verifiers, result *Result) error {
	_, n, err := checkpoint.Open(msg, witnesses)
	var unverified *note.UnverifiedNoteError
	if errors.As(err, &unverified) {
		n, err = unverified.Note, nil
	}
	if err != nil {
		return err
	}
	for _, w := range p.Witnesses {
		v, err := keys.NewVerifier(w.Key)
		if err != nil {
			return err
		}
		signed := false
		for _, s := range n.Sigs {
			if s.Name == v.Name() && s.Hash == v.KeyHash() {
				signed = true
				result.Cosigned = append(result.Cosigned, Cosigned{Witness: w.Name, Key: keyName(s), At: keys.CosignedAt(s)})
			}
		}
		if !signed {
			result.Missing = append(result.Missing, w.Name)
		}
	}
	return nil
}

func keyName(s note.Signature) string { return fmt.Sprintf("%s+%08x", s.Name, s.Hash) }

func (p *Policy) known() string {
	var names []string
	for _, l := range p.Logs {
		names = append(names, l.Origin())
	}
	return " (it knows " + orNobody(names) + ")"
}

func orNobody(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}
