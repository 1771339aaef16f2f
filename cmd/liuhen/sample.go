package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"liuhen/domain"
	"liuhen/identity"
	"liuhen/sample"
)

// sampleName is the folder with the tokens of the people of the sample office.
const sampleName = "sample"

// prepareSample refuses a system that has records which are not the sample's,
// and puts the office's roster into the data folder, if there is none.
func (s *system) prepareSample(ctx context.Context) error {
	c := &s.program.config
	last, err := s.store.Last(ctx)
	if err != nil {
		return err
	}
	if last > 0 {
		if ours, err := s.beginsWithSample(ctx); err != nil || !ours {
			return errors.Join(err, fmt.Errorf("--sample fills an empty system only, and this one has %d records; take another data folder", last))
		}
	}
	if err := os.MkdirAll(filepath.Join(c.Data, sampleName), 0o700); err != nil {
		return err
	}
	if path := filepath.Join(c.Data, rosterName); c.Roster == "" && existing(path) == "" {
		office, err := sample.Read()
		if err != nil {
			return err
		}
		text, err := office.Roster(time.Now())
		if err != nil {
			return err
		}
		return os.WriteFile(path, text, 0o644)
	}
	return nil
}

// beginsWithSample reports whether the first record of all is the sample's.
func (s *system) beginsWithSample(ctx context.Context) (bool, error) {
	for stored, err := range s.store.Follow(ctx, 0) {
		if err != nil {
			return false, err
		}
		r, err := domain.Read(uint64(stored.Position), stored.At, stored.Data)
		return err == nil && r.Data.Import != nil && r.Data.Import.Source == sample.Source, err
	}
	return false, ctx.Err()
}

// fillSample fills the system with the synthetic office. Cut short by a crash
// it is filled up at the next start: commands keep their ids, and what was
// recorded on an earlier day stays.
func (s *system) fillSample(ctx context.Context) error {
	office, err := sample.Read()
	if err != nil {
		return err
	}
	commands, err := office.Commands(s.book, time.Now())
	if err != nil {
		return err
	}
	for i, r := range s.desk.RecordAll(ctx, commands) {
		var before *domain.Reused
		if r.Err != nil && !errors.As(r.Err, &before) {
			return fmt.Errorf("sample: %s %s: %w", commands[i].Case, commands[i].Act, r.Err)
		}
	}
	last, err := s.store.Last(ctx)
	if err != nil {
		return err
	}
	if err := s.sampleTokens(ctx, office, filepath.Join(s.program.config.Data, sampleName)); err != nil {
		return err
	}
	s.sampled = true
	return s.db.WaitAll(ctx, uint64(last))
}

// sampleTokens makes a token for each role of the office and an inspector; the
// commands on this machine come with the first officer's.
func (s *system) sampleTokens(ctx context.Context, office sample.Office, dir string) error {
	wanted := []identity.NewToken{{Person: "yl-inspector", Name: "样例督察", Role: identity.Inspector, Agencies: []string{office.Agency}}}
	seen := map[string]bool{}
	for _, p := range office.People {
		if !seen[p.Role] {
			seen[p.Role] = true
			wanted = append(wanted, identity.NewToken{Person: p.ID, Name: p.Name, Role: identity.Role(p.Role), Agencies: []string{office.Agency}})
		}
	}
	for _, want := range wanted {
		path := filepath.Join(dir, string(want.Role)+".token")
		if _, err := os.Stat(path); err == nil {
			continue
		}
		want.Label = "sample"
		text, _, err := s.tokens.Issue(ctx, self, want)
		if err != nil {
			return fmt.Errorf("sample: token for %s: %w", want.Role, err)
		}
		if err := writeToken(path, text); err != nil {
			return err
		}
		cli := filepath.Join(s.program.config.Data, cliName)
		if _, err := os.Stat(cli); want.Role == identity.Officer && errors.Is(err, os.ErrNotExist) {
			if err := writeToken(cli, text); err != nil {
				return err
			}
		}
	}
	return nil
}
