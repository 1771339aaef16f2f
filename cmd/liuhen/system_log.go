package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/mod/sumdb/note"

	"liuhen/transparency"
	"liuhen/transparency/attest"
	"liuhen/transparency/keys"
	"liuhen/transparency/policy"
	"liuhen/transparency/timestamp"
)

// openLog opens the log of proofs of the record, or begins one, and holds the
// record against it, before anything is written.
func (s *system) openLog(ctx context.Context, conn *nats.Conn) error {
	js, err := jetstream.New(conn)
	if err != nil {
		return fmt.Errorf("log of proofs: %w", err)
	}
	history, err := transparency.OpenHistory(ctx, js, caseVolume, s.program.config.Replicas)
	if err != nil {
		return err
	}
	settings, ring, err := s.beginLog(ctx, history)
	if err != nil {
		return err
	}
	c := transparency.Config{
		Store: s.store, History: history, Settings: settings,
		Dir: filepath.Join(s.program.config.Data, "log"), Logger: s.logger,
	}
	dir, err := s.keysFolder()
	if err != nil {
		return err
	}
	c.Memory = keys.Path(dir, settings.Origin) + ".checkpoint"
	if ring != nil {
		s.opened("keys", func(context.Context) error { return ring.Close() })
		c.Signers = ring.Signers()
		if err := publishRotations(ctx, history, ring); err != nil {
			return err
		}
	} else {
		s.logger.Warn("there are no keys of the log here, so this process follows the log and cannot seal it",
			"log", settings.Origin, "keys", keys.Path(dir, settings.Origin))
	}
	chain, err := verifierKeys(ctx, history, settings, ring)
	if err != nil {
		return err
	}
	c.Keys, s.keys = chain, chain
	c.Rekey = func() (note.Verifiers, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return verifierKeys(ctx, history, settings, nil)
	}
	if s.log, err = transparency.Open(ctx, c); err != nil {
		return err
	}
	s.attester, err = s.attesting()
	return err
}

// attesting is who has others vouch for the log, by the settings.
func (s *system) attesting() (*attest.Attester, error) {
	c := attest.Config{Log: s.log, Logger: s.logger}
	if path := s.program.config.Witnesses; path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("witnesses: %w", err)
		}
		p, err := policy.Parse(text)
		if err == nil {
			c.Witnesses, err = attest.Clients(p)
		}
		if err != nil {
			return nil, fmt.Errorf("witnesses: %s: %w", path, err)
		}
	}
	if url := s.program.config.TSA; url != "" {
		text, err := os.ReadFile(s.program.config.TSARoots)
		if err != nil {
			return nil, fmt.Errorf("tsa-roots: %w", err)
		}
		roots, err := timestamp.ParseRoots(text)
		if err != nil {
			return nil, fmt.Errorf("tsa-roots: %s: %w", s.program.config.TSARoots, err)
		}
		c.Authority = &timestamp.Client{URL: url, Roots: roots}
	}
	return attest.New(c), nil
}

func (s *system) keysFolder() (string, error) {
	if dir := s.program.config.Keys; dir != "" {
		return filepath.Abs(dir)
	}
	return keys.DefaultDir()
}

// beginLog says what the log was begun with, and has its keys; none where another
// process began it and its keys are not here. A log that is not there yet is begun.
func (s *system) beginLog(ctx context.Context, history *transparency.History) (transparency.Settings, *keys.Ring, error) {
	dir, err := s.keysFolder()
	if err != nil {
		return transparency.Settings{}, nil, err
	}
	for {
		have, err := history.Settings(ctx)
		if err == nil {
			return s.joinLog(dir, have)
		}
		if !errors.Is(err, transparency.ErrNone) {
			return have, nil, err
		}
		if err := s.mayBegin(ctx, dir); err != nil {
			return have, nil, err
		}
		origin := s.program.config.Origin
		if origin == "" {
			origin = keys.DefaultOrigin(strings.ToLower(caseVolume) + "-" + strings.ToLower(rand.Text()[:8]))
		}
		ring, created, err := keys.LoadOrCreate(dir, origin)
		if err != nil {
			return have, nil, fmt.Errorf("keys of the log of proofs: %w", err)
		}
		begun, err := history.Begin(ctx, transparency.Settings{Origin: origin, Volume: caseVolume, Keys: ring.First(), Digests: s.digests()})
		if err == nil {
			s.newKeys = created
			return begun, ring, os.WriteFile(ring.File()+storeSuffix, []byte(s.storeName()+"\n"), 0o600)
		}
		if err = errors.Join(err, ring.Close()); !errors.Is(err, transparency.ErrRaced) {
			return have, nil, err
		}
	}
}

// storeSuffix is behind the name of a key file in that of the file which says whose
// record it seals.
const storeSuffix = ".store"

// storeName tells the record of this system from others on this machine.
func (s *system) storeName() string {
	if url := s.program.config.NATS; url != "" {
		return masked(url) + " " + caseVolume
	}
	return s.program.config.Data + " " + caseVolume
}

// mayBegin refuses to begin a log in the place of one that was lost: over records
// that are there already, or where there are keys for a log of this same record.
func (s *system) mayBegin(ctx context.Context, dir string) error {
	if s.program.config.BeginLog {
		return nil
	}
	end, err := s.store.Last(ctx)
	if err != nil {
		return err
	}
	if end > 0 {
		return fmt.Errorf("there are %d records and no log of proofs of them: if the record never had one (it is of a version before), start once with --begin-log; if it had, the log was lost, and with it what proves the records", end)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"+storeSuffix))
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err == nil && strings.TrimSpace(string(text)) == s.storeName() {
			return fmt.Errorf("%s says that there was a log of proofs of this record (%s), and the record is empty: it was lost, or removed on purpose; then start once with --begin-log", f, s.storeName())
		}
	}
	return nil
}

func (s *system) digests() []string {
	return strings.FieldsFunc(s.program.config.Digests, func(r rune) bool { return r == ',' || r == ' ' })
}

// joinLog finds the keys of a log that was begun.
func (s *system) joinLog(dir string, have transparency.Settings) (transparency.Settings, *keys.Ring, error) {
	if want := s.program.config.Origin; want != "" && want != have.Origin {
		return have, nil, fmt.Errorf("the log of proofs was begun as %s, the setting origin says %s: a log keeps its name", have.Origin, want)
	}
	path := keys.Path(dir, have.Origin)
	ring, err := keys.Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		return have, nil, nil
	}
	if err != nil {
		return have, nil, fmt.Errorf("keys of the log of proofs: %w", err)
	}
	if first := ring.First(); strings.Join(first, "\n") != strings.Join(have.Keys, "\n") {
		return have, nil, errors.Join(fmt.Errorf("%s holds other keys (%s) than the log of proofs was begun with (%s)",
			path, strings.Join(first, ", "), strings.Join(have.Keys, ", ")), ring.Close())
	}
	return have, ring, nil
}

// publishRotations writes into the history by which statements the keys were
// replaced since, so that every reader can follow.
func publishRotations(ctx context.Context, history *transparency.History, ring *keys.Ring) error {
	published, err := history.Of(ctx, transparency.KindRotation)
	if err != nil {
		return err
	}
	have := ring.Rotations()
	for i, e := range published {
		if i >= len(have) || string(e.Data) != string(have[i]) {
			return fmt.Errorf("keys of the log of proofs: %s does not know how the keys were replaced (entry %d of the history): it is an older copy", ring.File(), e.Seq)
		}
	}
	last := uint64(0)
	if len(published) > 0 {
		last = published[len(published)-1].Seq
	}
	for _, statement := range have[len(published):] {
		if last, err = history.Replace(ctx, transparency.KindRotation, statement, last); err != nil {
			return err
		}
	}
	return nil
}

// verifierKeys are the keys of the log, each for the sizes that it was good for.
func verifierKeys(ctx context.Context, history *transparency.History, settings transparency.Settings, ring *keys.Ring) (*keys.Chain, error) {
	if ring != nil {
		return ring.Verifiers()
	}
	published, err := history.Of(ctx, transparency.KindRotation)
	if err != nil {
		return nil, err
	}
	if len(settings.Keys) == 0 {
		return nil, errors.New("the log of proofs was begun without keys")
	}
	rotations := make([][]byte, len(published))
	for i, e := range published {
		rotations[i] = e.Data
	}
	return keys.Verifiers(settings.Keys[0], rotations)
}

// signReport signs a report with the keys of the log. Where they are not here the
// report goes out unsigned.
func (s *system) signReport(report []byte) (string, error) {
	if !s.log.Status().Seals {
		return "", nil
	}
	signature, err := s.log.SignReport(report)
	return string(signature), err
}
