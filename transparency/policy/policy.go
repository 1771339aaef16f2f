// Package policy says whether a checkpoint is to be believed: it must be signed by
// a log that is known, and cosigned by as many witnesses as a policy file asks for
// (https://c2sp.org/tlog-policy). The file is written by whoever verifies, not by
// the log:
//
//	log <verifier key> [<url>]
//	witness <name> <verifier key> [<url>]
//	group <name> all|any|<k> <name> …
//	quorum <name>|none
package policy

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"liuhen/transparency/keys"
)

// None is the quorum that asks for no witness.
const None = "none"

// What a policy file may be at most; the specification asks for 32 logs, witnesses
// and groups.
const (
	maxBytes = 1 << 20
	maxItems = 256
)

// A Policy is a policy file. The zero Policy knows nobody; use Parse.
type Policy struct {
	Logs      []Log
	Witnesses []Witness
	Groups    []Group
	Quorum    string // name of a witness or a group, or None
}

// A Log is a log whose checkpoints may be believed.
type Log struct {
	Key string // its verifier key; the key's name is the log's origin
	URL string // may be empty
}

// Origin is the origin of the log's checkpoints.
func (l Log) Origin() string { origin, _, _ := strings.Cut(l.Key, "+"); return origin }

// A Witness is somebody who cosigns checkpoints.
type Witness struct {
	Name string // in this file
	Key  string // verifier key of type 0x04 or 0x06
	URL  string // where it is asked (tlog-witness); may be empty
}

// A Group witnesses a checkpoint if so many of its members do.
type Group struct {
	Name    string
	Least   int // 1 … number of members
	Members []string
}

// A SyntaxError is what is wrong with a policy file, and where.
type SyntaxError struct {
	Line int // from 1; 0: the file as a whole
	Why  string
}

func (e *SyntaxError) Error() string {
	if e.Line == 0 {
		return "policy: " + e.Why
	}
	return fmt.Sprintf("policy: line %d: %s", e.Line, e.Why)
}

// Parse reads a policy file. Errors are SyntaxErrors.
func Parse(text []byte) (*Policy, error) {
	if len(text) > maxBytes {
		return nil, &SyntaxError{Why: fmt.Sprintf("%d bytes, want at most %d", len(text), maxBytes)}
	}
	r := reader{names: map[string]bool{None: true}, members: map[string]bool{}, public: map[string]int{}}
	for line := range bytes.Lines(text) {
		r.line++
		if err := r.read(line); err != nil {
			return nil, &SyntaxError{Line: r.line, Why: err.Error()}
		}
	}
	if r.policy.Quorum == "" {
		return nil, &SyntaxError{Why: `it has no line "quorum": say "quorum none" if no witness is asked for`}
	}
	return &r.policy, nil
}

// A reader is a policy file read so far.
type reader struct {
	policy  Policy
	line    int
	names   map[string]bool // of witnesses and groups, and None
	members map[string]bool // names that are members of a group already
	public  map[string]int  // "log" or "witness" and the public key → its line
}

func (r *reader) read(line []byte) error {
	body, ended := bytes.CutSuffix(line, []byte("\n"))
	if !ended {
		return errors.New("it does not end with a newline: was the file cut?")
	}
	for i, b := range body {
		if b < 0x20 && b != '\t' || b == 0x7f {
			return fmt.Errorf("byte %d is the control character 0x%02x; only tabs may stand here (were the lines ended the way of Windows?)", i+1, b)
		}
	}
	items := strings.FieldsFunc(string(body), func(c rune) bool { return c == ' ' || c == '\t' })
	if len(items) == 0 || strings.HasPrefix(items[0], "#") {
		return nil
	}
	switch kind, rest := items[0], items[1:]; kind {
	case "log":
		return r.log(rest)
	case "witness":
		return r.witness(rest)
	case "group":
		return r.group(rest)
	case "quorum":
		return r.quorum(rest)
	default:
		return fmt.Errorf("%.40q: want log, witness, group or quorum", kind)
	}
}

func (r *reader) log(items []string) error {
	if len(items) < 1 || len(items) > 2 {
		return errors.New("want: log <verifier key> [<url>]")
	}
	if err := r.key("log", items[0]); err != nil {
		return err
	}
	r.policy.Logs = append(r.policy.Logs, Log{Key: items[0], URL: rest(items, 1)})
	return full("logs", len(r.policy.Logs))
}

func (r *reader) witness(items []string) error {
	if len(items) < 2 || len(items) > 3 {
		return errors.New("want: witness <name> <verifier key> [<url>]")
	}
	if err := r.key("witness", items[1]); err != nil {
		return err
	}
	if !keys.IsCosigner(items[1]) {
		return errors.New("the key is none that witnesses sign with: want type 0x04 (Ed25519 cosignature) or 0x06 (ML-DSA-44)")
	}
	if err := r.name(items[0]); err != nil {
		return err
	}
	r.policy.Witnesses = append(r.policy.Witnesses, Witness{Name: items[0], Key: items[1], URL: rest(items, 2)})
	return full("witnesses", len(r.policy.Witnesses))
}

func (r *reader) group(items []string) error {
	if len(items) < 3 {
		return errors.New("want: group <name> all|any|<number> <member> …")
	}
	name, members := items[0], items[2:]
	least, err := threshold(items[1], len(members))
	if err != nil {
		return fmt.Errorf("group %q: %w", name, err)
	}
	for _, m := range members {
		switch {
		case m == None || !r.names[m]:
			return fmt.Errorf("group %q: member %q is not the name of a witness or group in a line above", name, m)
		case r.members[m]:
			return fmt.Errorf("group %q: %q is a member already, and nobody counts twice", name, m)
		}
		r.members[m] = true
	}
	if err := r.name(name); err != nil {
		return err
	}
	r.policy.Groups = append(r.policy.Groups, Group{Name: name, Least: least, Members: members})
	return full("groups", len(r.policy.Groups))
}

func (r *reader) quorum(items []string) error {
	switch {
	case len(items) != 1:
		return errors.New("want: quorum <name>, or quorum none")
	case r.policy.Quorum != "":
		return errors.New("a second quorum; there must be exactly one")
	case !r.names[items[0]]:
		return fmt.Errorf("quorum %q is not the name of a witness or group in a line above", items[0])
	}
	r.policy.Quorum = items[0]
	return nil
}

// key checks a verifier key, and that no other line of its kind has the same
// public key: one who signs under two names would count twice.
func (r *reader) key(kind, vkey string) error {
	if _, err := keys.NewVerifier(vkey); err != nil {
		return err
	}
	public, err := keys.Public(vkey)
	if err != nil {
		return err
	}
	// The same key under two types of signature is still the same key.
	same := kind + " " + string(public[1:])
	if line, known := r.public[same]; known {
		return fmt.Errorf("the %s of line %d has the same public key", kind, line)
	}
	r.public[same] = r.line
	return nil
}

func (r *reader) name(name string) error {
	if r.names[name] {
		return fmt.Errorf("the name %q is taken", name)
	}
	r.names[name] = true
	return nil
}

func threshold(text string, members int) (int, error) {
	switch text {
	case "all":
		return members, nil
	case "any":
		return 1, nil
	}
	k, err := strconv.Atoi(text)
	if err != nil || k < 1 || k > members || strconv.Itoa(k) != text {
		return 0, fmt.Errorf("%.20q of %d members: want all, any or a number from 1 to %d", text, members, members)
	}
	return k, nil
}

func full(what string, n int) error {
	if n > maxItems {
		return fmt.Errorf("more than %d %s", maxItems, what)
	}
	return nil
}

func rest(items []string, i int) string {
	if i < len(items) {
		return items[i]
	}
	return ""
}

// verifiers returns every key that the policy knows. Where two lines have keys of
// one name and ID, note.Open says so.
func (p *Policy) verifiers() (note.Verifiers, error) {
	var all []note.Verifier
	for _, w := range p.Witnesses {
		v, err := keys.NewVerifier(w.Key)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return note.VerifierList(all...), nil
}

// satisfied reports whether a name of the policy witnesses what these witnesses
// cosigned. Groups name only what stands above them, so that it ends.
func (p *Policy) satisfied(name string, cosigned []string) bool {
	if name == None || slices.Contains(cosigned, name) {
		return true
	}
	for _, g := range p.Groups {
		if g.Name != name {
			continue
		}
		n := 0
		for _, m := range g.Members {
			if p.satisfied(m, cosigned) {
				n++
			}
		}
		return n >= g.Least
	}
	return false
}
