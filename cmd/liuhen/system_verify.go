package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/mod/sumdb/note"

	"liuhen/eventstore"
	"liuhen/projections"
	"liuhen/transparency"
	"liuhen/transparency/audit"
	"liuhen/transparency/keys"
)

// verify holds the record, the log and its history against each other while the
// system runs. It has a connection of its own, as the reactions have.
func (s *system) verify(ctx context.Context, scope audit.Scope, progress func(done, of uint64)) (audit.Result, error) {
	conn := s.conn
	if s.server != nil {
		var err error
		if conn, err = s.server.Connect("liuhen verify"); err != nil {
			return audit.Result{}, fmt.Errorf("verify: %w", err)
		}
		defer conn.Close()
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return audit.Result{}, fmt.Errorf("verify: %w", err)
	}
	dir, err := s.keysFolder()
	if err != nil {
		return audit.Result{}, err
	}
	source, err := s.program.source(ctx, js, s.log.History(), dir, s.keys)
	if err != nil {
		return audit.Result{}, err
	}
	source.Heads = func(ctx context.Context, cases []string) ([]transparency.CaseHead, error) {
		return s.log.Heads(ctx, cases, 0)
	}
	source.Progress = progress
	return source.Run(ctx, scope)
}

// verifyModels compares read models with what the record makes of them.
func (s *system) verifyModels(ctx context.Context, models []string, progress func(projections.Progress)) (projections.Report, error) {
	store := s.store
	if len(models) > 0 && slices.ContainsFunc(projections.Access, func(p projections.Projection) bool { return p.Name == models[0] }) {
		store = s.looks
	}
	return projections.Audit(ctx, s.db, store, models, progress)
}

// source is what is audited in a data folder: what the stream has, what was signed,
// the files of the log, and the checkpoint that is remembered beside the keys.
func (p *program) source(ctx context.Context, js jetstream.JetStream, history *transparency.History, keysDir string, known note.Verifiers) (audit.Source, error) {
	settings, err := history.Settings(ctx)
	if err != nil {
		return audit.Source{}, err
	}
	volume, err := audit.FindVolume(ctx, js, caseVolume)
	if err != nil {
		return audit.Source{}, err
	}
	source := audit.Source{
		Records: volume, History: history, Settings: settings, Keys: known,
		Tiles: transparency.Folder(filepath.Join(p.config.Data, "log")),
	}
	memory := keys.Path(keysDir, settings.Origin) + ".checkpoint"
	text, err := os.ReadFile(memory)
	switch {
	case err == nil:
		source.Memories = append(source.Memories, audit.Memory{Where: memory, Note: text})
	case !errors.Is(err, fs.ErrNotExist):
		return audit.Source{}, err
	}
	return source, nil
}

// verifyStopped audits a data folder on which no system runs; the caller holds its
// lock. The NATS server inside is started for it, which may tidy up its files as at
// every start; nothing else is written.
func (p *program) verifyStopped(ctx context.Context, scope audit.Scope, vkey string, progress func(done, of uint64)) (audit.Result, error) {
	server, err := eventstore.Embedded(filepath.Join(p.config.Data, "nats"), eventstore.ServerOptions{Logger: p.logger()})
	if err != nil {
		return audit.Result{}, err
	}
	defer server.Shutdown()
	js, err := jetstream.New(server.Conn())
	if err != nil {
		return audit.Result{}, err
	}
	history, err := transparency.FindHistory(ctx, js, caseVolume)
	if err != nil {
		return audit.Result{}, err
	}
	chain, err := p.chain(ctx, history, vkey)
	if err != nil {
		return audit.Result{}, err
	}
	dir := p.config.Keys
	if dir == "" {
		if dir, err = keys.DefaultDir(); err != nil {
			return audit.Result{}, err
		}
	}
	source, err := p.source(ctx, js, history, dir, chain)
	if err != nil {
		return audit.Result{}, err
	}
	source.Heads, source.Progress = source.HeadsOf, progress
	return source.Run(ctx, scope)
}

// chain follows the keys of a log from the one that is pinned, or, where none is,
// from the one that the history names itself.
func (p *program) chain(ctx context.Context, history *transparency.History, vkey string) (*keys.Chain, error) {
	settings, err := history.Settings(ctx)
	if err != nil {
		return nil, err
	}
	if vkey != "" {
		settings.Keys = []string{vkey}
	}
	return verifierKeys(ctx, history, settings, nil)
}
