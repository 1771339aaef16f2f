package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"liuhen/api"
	"liuhen/casework"
	"liuhen/domain"
	"liuhen/domain/law"
	"liuhen/domain/rulebook"
	"liuhen/eventstore"
	"liuhen/identity"
	"liuhen/projections"
	"liuhen/reactions"
	"liuhen/transparency"
	"liuhen/transparency/attest"
	"liuhen/transparency/keys"
)

// A system is everything that "liuhen serve" runs. Its fields are set by start
// and do not change afterwards.
type system struct {
	program *program
	logger  *slog.Logger

	address  string // http://host:port
	newToken bool   // an administrator's token was made at this start
	newKeys  bool   // the log of proofs was begun, with new keys
	sampled  bool   // the sample office is in

	own    fstest.MapFS       // the agency's own law files
	book   *rulebook.Book     // the law without what agencies have put in force
	law    *domain.Books      // the law with it
	server *eventstore.Server // nil where NATS is outside
	conn   *nats.Conn
	pool   *pgxpool.Pool
	db     *projections.DB
	tokens *identity.Tokens
	store  *eventstore.Store // of cases
	looks  *eventstore.Store // of the access trail
	log    *transparency.Log // of cases
	keys   *keys.Chain       // of log

	attester *attest.Attester // of log
	desk     *casework.Desk

	registers *casework.Registers
	reactions *reactions.Runner

	parts  []part     // in the order in which they were started
	failed chan error // the first part that ended by itself says why; room for one
}

// A part is something that runs and can be stopped.
type part struct {
	name string
	stop func(ctx context.Context) error
}

// opened adds a part that stop ends.
func (s *system) opened(name string, stop func(ctx context.Context) error) {
	s.parts = append(s.parts, part{name, stop})
}

// run starts a function that blocks until its context ends. Should it end
// before, the system has failed.
func (s *system) run(name string, f func(ctx context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := f(ctx)
		if ctx.Err() == nil {
			s.fail(fmt.Errorf("%s ended: %w", name, orEnded(err)))
		}
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		done <- err
	}()
	s.opened(name, func(ctx context.Context) error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return errors.New("it did not end in time")
		}
	})
}

func orEnded(err error) error {
	if err == nil {
		return errors.New("without an error")
	}
	return err
}

func (s *system) fail(err error) {
	select {
	case s.failed <- err:
	default: // somebody was first
	}
}

// stop ends every part, the last started first, within stopWithin in all.
func (s *system) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin-time.Second)
	defer cancel()
	var all error
	for i := len(s.parts) - 1; i >= 0; i-- {
		p := s.parts[i]
		began := time.Now()
		if err := p.stop(ctx); err != nil {
			all = errors.Join(all, fmt.Errorf("stop %s: %w", p.name, err))
		}
		s.logger.Info("stopped", "part", p.name, "took", time.Since(began).Round(time.Millisecond))
	}
	s.parts = nil
	return all
}

// start starts the parts in order; what has been started when one fails is for
// stop to end.
func (s *system) start(ctx context.Context, withSample bool) error {
	policies, err := s.policies()
	if err != nil {
		return fmt.Errorf("policies: %w", err)
	}
	if err := s.startServers(ctx); err != nil {
		return err
	}
	if s.tokens, err = identity.OpenTokens(ctx, s.pool, s.logger); err != nil {
		return err
	}
	s.run("tokens", s.tokens.Run)
	s.run("record", s.runStores)
	s.run("log of proofs", s.log.Run)
	s.run("attester", s.attester.Run)
	s.run("read models", s.runReadModels)
	if err := errors.Join(s.store.Ready(ctx), s.looks.Ready(ctx)); err != nil {
		return err
	}
	if err := s.bootstrap(ctx); err != nil {
		return err
	}
	if withSample {
		if err := s.prepareSample(ctx); err != nil {
			return err
		}
	}
	roster, err := s.roster()
	if err != nil {
		return err
	}
	registers := casework.NewRegisters(roster, s.book.Calendar())
	s.registers = registers
	s.run("registers", func(ctx context.Context) error { return registers.Run(ctx, s.store, s.db, s.logger) })
	last, err := s.store.Last(ctx)
	if err != nil {
		return err
	}
	if err := registers.Wait(ctx, uint64(last)); err != nil {
		return err
	}
	s.desk = casework.New(s.law, s.store, s.db, casework.Options{Registers: registers.Now, Facts: s.db.Facts})
	if withSample {
		if err := s.fillSample(ctx); err != nil {
			return err
		}
	}
	if err := s.startReactions(ctx); err != nil {
		return err
	}
	return s.startHTTP(ctx, api.Config{
		Desk: s.desk, Record: s.store, Reads: s.db, Book: s.book, Law: s.law, InForce: registers.Law, Calendar: registers.Calendar, Policies: policies, Tokens: s.tokens,
		Registered: registers.Wait, Registers: registers.Now, Roster: roster,
		LawFiles: law.Files, OwnLaw: s.own,
		Trail: api.NewTrail(s.keepLooks), Reactions: s.reactions, Log: s.log, LogKeys: s.keys, SignReport: s.signReport,
		Rebuild: s.rebuild, Verify: s.verify, VerifyModels: s.verifyModels, Draft: s.draft, Health: s.health, Logger: s.logger, Version: version,
	})
}

// startReactions starts what must happen because of what is recorded. It has a
// connection of its own: a reaction that reads the whole log must not hold up the
// writer.
func (s *system) startReactions(ctx context.Context) error {
	conn := s.conn
	if s.server != nil {
		var err error
		if conn, err = s.server.Connect("liuhen reactions"); err != nil {
			return fmt.Errorf("reactions: %w", err)
		}
		s.opened("connection of the reactions", func(context.Context) error { conn.Close(); return nil })
	}
	var err error
	all := reactions.System{Desk: s.desk, Book: s.book, Law: s.law, Board: s.db, Registers: s.db, Following: s.registers, Now: time.Now}
	s.reactions, err = reactions.Open(ctx, reactions.Config{
		NATS: conn, Volume: caseVolume, Store: s.store, Replicas: s.program.config.Replicas, Logger: s.logger,
		Reactions: reactions.All(all), Ticks: reactions.Ticks(all),
	})
	if err != nil {
		return err
	}
	s.run("reactions", s.reactions.Run)
	return nil
}

// roster is the roster file, for officers whom the log does not know; nil where
// there is none.
func (s *system) roster() (*domain.RosterFile, error) {
	path := s.program.config.Roster
	if path == "" {
		path = existing(filepath.Join(s.program.config.Data, rosterName))
	}
	if path == "" {
		return nil, nil //nolint:nilnil // none is as good as an empty one
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("roster: %w", err)
	}
	roster, err := domain.ParseRoster(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return roster, nil
}

func (s *system) policies() (*identity.Policies, error) {
	if s.program.config.Policies == "" {
		return identity.LoadPolicies()
	}
	return identity.LoadPolicies(os.DirFS(s.program.config.Policies))
}

// startServers starts PostgreSQL and NATS, or connects to those outside, and
// reads the law, side by side: they take most of a start.
func (s *system) startServers(ctx context.Context) error {
	var database, record part
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		database, err = s.startPostgres(gctx)
		return err
	})
	var server *eventstore.Server
	var conn *nats.Conn
	g.Go(func() (err error) {
		server, conn, record, err = s.startNATS()
		return err
	})
	g.Go(func() (err error) {
		if s.own, err = s.program.ownLaw(); err == nil {
			s.book, err = rulebook.Load(law.Files, s.own)
		}
		if err != nil {
			return fmt.Errorf("law: %w", err)
		}
		return nil
	})
	err := g.Wait()
	for _, p := range []part{database, record} {
		if p.stop != nil {
			s.opened(p.name, p.stop)
		}
	}
	if err != nil {
		return err
	}
	s.server, s.conn = server, conn
	return s.openStores(ctx, server, conn)
}

// startPostgres starts the private cluster, or connects to the one outside.
func (s *system) startPostgres(ctx context.Context) (part, error) {
	c := &s.program.config
	if c.Postgres != "" {
		pool, err := connectPostgres(ctx, c.Postgres, c.PostgresPasswordFile, nil)
		s.pool = pool
		return part{"PostgreSQL", func(context.Context) error { s.closePool(); return nil }}, err
	}
	own, err := startDatabase(ctx, filepath.Join(c.Data, "pg"), s.logger)
	if err != nil {
		return part{}, err
	}
	running := part{"PostgreSQL", func(ctx context.Context) error {
		s.closePool()
		return own.stop(ctx)
	}}
	s.pool, err = connectPostgres(ctx, own.url(), "", own.dial)
	return running, err
}

func (s *system) closePool() {
	if s.pool != nil {
		s.pool.Close()
	}
}

// connections is how many connections to PostgreSQL are kept at most.
const connections = 20

// connectPostgres connects to a PostgreSQL; dial may be nil.
func connectPostgres(ctx context.Context, address, passwordFile string, dial pgconn.DialFunc) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	if config.MaxConns < connections {
		config.MaxConns = connections
	}
	if dial != nil {
		config.ConnConfig.DialFunc = dial
	}
	if passwordFile != "" {
		text, err := os.ReadFile(passwordFile)
		if err != nil {
			return nil, fmt.Errorf("password of PostgreSQL: %w", err)
		}
		config.ConnConfig.Password = strings.TrimRight(string(text), "\r\n")
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	var version int
	if err := pool.QueryRow(ctx, `select current_setting('server_version_num')::int / 10000`).Scan(&version); err != nil {
		pool.Close()
		return nil, fmt.Errorf("connect to PostgreSQL at %s: %w", masked(address), err)
	}
	if version < 15 {
		pool.Close()
		return nil, fmt.Errorf("PostgreSQL at %s has version %d, needed is 15 or newer", masked(address), version)
	}
	return pool, nil
}

// startNATS starts the server inside, or connects to the one outside.
func (s *system) startNATS() (*eventstore.Server, *nats.Conn, part, error) {
	c := &s.program.config
	if c.NATS == "" {
		server, err := eventstore.Embedded(filepath.Join(c.Data, "nats"), eventstore.ServerOptions{Logger: s.logger})
		if err != nil {
			return nil, nil, part{}, err
		}
		return server, server.Conn(), part{"NATS", func(context.Context) error { server.Shutdown(); return nil }}, nil
	}
	options := []nats.Option{
		nats.Name("liuhen"), nats.MaxReconnects(-1),
		nats.ReconnectBufSize(-1), // nothing is sent late
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { s.logger.Warn("NATS", "error", err) }),
	}
	if c.NATSCredentials != "" {
		options = append(options, nats.UserCredentials(c.NATSCredentials))
	}
	conn, err := nats.Connect(c.NATS, options...)
	if err != nil {
		return nil, nil, part{}, fmt.Errorf("connect to NATS at %s: %w", masked(c.NATS), err)
	}
	return nil, conn, part{"NATS", func(context.Context) error { conn.Close(); return nil }}, nil
}

// maxLag is how far the read models may fall behind before intake is slowed.
const maxLag = 200_000

// The volumes: the record of cases, and the access trail, which is one stream.
const (
	caseVolume   = "ENF"
	lookVolume   = "ACCESS"
	lookSubjects = "look.>"
	lookStream   = "look.all"
)

// openStores opens the two volumes from where the read models have come to.
func (s *system) openStores(ctx context.Context, server *eventstore.Server, conn *nats.Conn) error {
	var err error
	s.law = domain.NewBooks(s.book, s.textOf, nil)
	if s.db, err = projections.Open(ctx, s.pool, s.law); err != nil {
		return err
	}
	c := eventstore.Config{
		Server: server, NATS: conn, Replicas: s.program.config.Replicas, Logger: s.logger,
		Volume: caseVolume,
		Start:  eventstore.Position(s.db.Slowest()), MaxLag: maxLag,
	}
	if s.store, err = eventstore.Open(ctx, c); err != nil {
		return err
	}
	if err := s.openLog(ctx, conn); err != nil {
		return err
	}
	c.Volume, c.Subjects, c.Start = lookVolume, []string{lookSubjects}, eventstore.Position(s.db.Position("access"))
	s.looks, err = eventstore.Open(ctx, c)
	return err
}

// runStores keeps both volumes open: lease, writer, tail.
func (s *system) runStores(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.store.Run(ctx) })
	g.Go(func() error { return s.looks.Run(ctx) })
	return g.Wait()
}

// runReadModels keeps the read models up to date, and tells the stores what
// they need not remember any more.
func (s *system) runReadModels(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return projections.RunAll(ctx, s.db, s.store, s.logger, projections.All...) })
	g.Go(func() error { return projections.RunAll(ctx, s.db, s.looks, s.logger, projections.Access...) })
	g.Go(func() error {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.store.Release(eventstore.Position(s.db.Slowest()))
				s.looks.Release(eventstore.Position(s.db.Position("access")))
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	return g.Wait()
}

// keepLooks appends to the access trail. Looks stand by themselves: where
// another process has appended meanwhile, they simply come after.
func (s *system) keepLooks(ctx context.Context, data [][]byte) error {
	for {
		last, err := s.looks.Last(ctx)
		if err != nil {
			return err
		}
		if _, err = s.looks.Append(ctx, lookStream, last, data...); !errors.Is(err, eventstore.ErrConflict) {
			return err
		}
	}
}

// rebuild fills read models anew: those of cases, or the one of the access
// trail, from the volume that they are made of.
func (s *system) rebuild(ctx context.Context, models []string, progress func(projections.Progress)) (projections.Report, error) {
	store := s.store
	if len(models) > 0 && slices.ContainsFunc(projections.Access, func(p projections.Projection) bool { return p.Name == models[0] }) {
		store = s.looks
	}
	return projections.Rebuild(ctx, s.db, store, models, progress)
}

// textOf finds the text of a law file that an agency has put in force, in the record
// that proposed it.
func (s *system) textOf(ref rulebook.FileRef) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	stored, _, err := s.store.Load(ctx, ref.Case)
	if err != nil {
		return "", err
	}
	for _, r := range stored {
		record, err := domain.Read(uint64(r.Position), r.At, r.Data)
		if err != nil {
			return "", err
		}
		if f, ok := domain.FileOf(&record); ok && record.ID == ref.Event {
			return f.Text, nil
		}
	}
	return "", fmt.Errorf("case %s has no event %s that proposes a law file", ref.Case, ref.Event)
}

// draft is the law with other files of the agency's own: alone, or added to
// those that the system was started with and that agencies have put in force, each in
// the place of its namesake.
func (s *system) draft(files map[string]string, alone bool) (domain.Law, error) {
	own := fstest.MapFS{}
	if !alone {
		maps.Copy(own, s.own)
	}
	for name, text := range files {
		own[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o444}
	}
	book, err := rulebook.Load(law.Files, own)
	if err != nil {
		return nil, err
	}
	return domain.NewBooks(book, s.textOf, func(f rulebook.FileRef) bool {
		_, replaced := files[f.Name]
		return alone || replaced
	}), nil
}

// health says whether acts can be recorded and read. It answers from memory.
func (s *system) health(context.Context) api.Health {
	st, looks := s.store.Status(), s.looks.Status()
	h := api.Health{Position: uint64(st.Last), Writer: st.Writing, Incident: st.Incident, Models: s.db.Status(), Stores: []eventstore.Status{st, looks}}
	add := func(bad bool, why string) {
		if bad {
			h.Reasons = append(h.Reasons, why)
		}
	}
	add(st.Incident != "", "writing is stopped: "+st.Incident)
	add(looks.Incident != "", "the access trail is stopped: "+looks.Incident)
	add(st.Full || looks.Full, "the disk is full")
	add(!st.Writing && (st.Holder == "" || st.Holder == st.Self), "no process writes at present")
	if at, wrong := s.registers.Status(); wrong != nil {
		add(true, fmt.Sprintf("the registers stand at position %d: %v", at, wrong))
	}
	h.Reactions, h.Ticks = s.reactions.Status(), s.reactions.TickStatus()
	for _, reason := range api.StandingReactions(h.Reactions, time.Now()) {
		add(true, reason)
	}
	h.Log, h.Attested = s.log.Status(), s.attester.Status()
	for _, reason := range api.StandingLog(h.Log, time.Now()) {
		add(true, reason)
	}
	for _, m := range h.Models {
		add(m.State == projections.Waiting, fmt.Sprintf("read model %s waits at position %d: %s", m.Model, m.Position, m.Error))
	}
	h.Ready = len(h.Reasons) == 0
	return h
}

// bootstrap makes a token for the first administrator, where there is none
// that is good. The empty file that it makes first tells a later start that a
// crash came between the token and the file that it belongs into.
func (s *system) bootstrap(ctx context.Context) error {
	path := filepath.Join(s.program.config.Data, tokenName)
	info, err := os.Stat(path)
	missing := errors.Is(err, os.ErrNotExist)
	if err != nil && !missing {
		return err
	}
	if missing {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return err
		}
	}
	text, err := s.tokens.Bootstrap(ctx)
	if err == nil && text == "" && !missing && info.Size() == 0 {
		text, _, err = s.tokens.Issue(ctx, self, identity.NewToken{
			Label: "after a crash", Person: "admin", Role: identity.Administrator, Agencies: []string{identity.Everywhere},
		})
	}
	switch {
	case err != nil:
		return err
	case text != "":
		s.newToken = true
		return writeToken(path, text)
	case missing: // there is an administrator, whose token is kept elsewhere
		return os.Remove(path)
	}
	return nil
}

// self is the program where it makes tokens at its start.
var self = identity.Actor{Person: "liuhen", Name: "liuhen serve", Role: identity.Administrator, Agencies: []string{identity.Everywhere}}

// startHTTP serves until the system stops, and lets requests under way finish.
func (s *system) startHTTP(ctx context.Context, c api.Config) error {
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", s.program.config.HTTP)
	if err != nil {
		return fmt.Errorf("listen for HTTP (another address: --http HOST:PORT): %w", err)
	}
	s.address = "http://" + reachable(listener.Addr())
	server := &http.Server{
		Handler:           api.New(c),
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      2 * time.Minute, // what streams takes the limit off
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.fail(fmt.Errorf("HTTP ended: %w", err))
		}
	}()
	s.opened("HTTP", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			return server.Close() // who reads on after three seconds is cut off
		}
		return nil
	})
	return nil
}

// reachable is an address that a client on this machine can use.
func reachable(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
