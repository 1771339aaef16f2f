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

// fillSample fills an empty system with the synthetic office. It refuses where
// there are records already, unless they are the office's own.
func (s *system) fillSample(ctx context.Context) error {
	dir := filepath.Join(s.program.config.Data, sampleName)
	last, err := s.store.Last(ctx)
	if err != nil {
		return err
	}
	if last > 0 {
		if _, err := os.Stat(dir); err != nil {
			return fmt.Errorf("--sample fills an empty system only, and this one has %d records; take another data folder", last)
		}
	}
	office, err := sample.Read()
	if err != nil {
		return err
	}
	commands, err := office.Commands(s.book, time.Now())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// Cut short by a crash it is filled up at the next start: commands keep
	// their ids, and what was recorded on an earlier day stays.
	if int(last) < len(commands) {
		for i, r := range s.desk.RecordAll(ctx, commands) {
			var before *domain.Reused
			if r.Err != nil && !errors.As(r.Err, &before) {
				return fmt.Errorf("sample: %s %s: %w", commands[i].Case, commands[i].Act, r.Err)
			}
		}
		if last, err = s.store.Last(ctx); err != nil {
			return err
		}
	}
	if err := s.sampleTokens(ctx, office, dir); err != nil {
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
