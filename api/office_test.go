package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"liuhen/casework"
	"liuhen/domain"
	"liuhen/domain/rulebook"
	"liuhen/eventstore"
	"liuhen/eventstore/eventstoretest"
	"liuhen/identity"
	"liuhen/internal/pgtest"
	"liuhen/projections"
)

// shanghai is the zone in which the office writes times.
var shanghai = time.FixedZone("+08:00", 8*60*60)

// now is the office's clock: a Tuesday.
var now = time.Date(2026, 11, 24, 10, 0, 0, 0, shanghai)

// An office is the whole program but for the command line: a real store, a
// real database, the real handler.
type office struct {
	t       testing.TB
	server  *eventstore.Server
	store   *eventstore.Store
	book    *rulebook.Book
	pool    *pgxpool.Pool
	handler http.Handler
	desk    *switchDesk
	db      *projections.DB
	tokens  *identity.Tokens
	trail   *memory
	log     *logBuffer
	health  Health

	li, zhao, head, stranger, supervisor, inspector, administrator, importer, public string // tokens
}

// logBuffer keeps what was logged.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// switchDesk is a desk that can be made to fail.
type switchDesk struct {
	Desk
	mu   sync.Mutex
	fail error
}

func (d *switchDesk) failWith(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = err
}

func (d *switchDesk) failure() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fail
}

func (d *switchDesk) Record(ctx context.Context, cmd domain.Command) (domain.Receipt, error) {
	if err := d.failure(); err != nil {
		return domain.Receipt{}, err
	}
	return d.Desk.Record(ctx, cmd)
}

func (d *switchDesk) RecordAll(ctx context.Context, commands []domain.Command) []casework.Result {
	if err := d.failure(); err != nil {
		results := make([]casework.Result, len(commands))
		for i := range results {
			results[i].Err = err
		}
		return results
	}
	return d.Desk.RecordAll(ctx, commands)
}

// open opens an office; change, if given, can alter what the handler is made
// of first.
func open(t testing.TB, change ...func(*office, *Config)) *office {
	t.Helper()
	return openUnder(t, os.DirFS("testdata/law"), nil, change...)
}

// openUnder opens an office under some law, with files of the agency's own.
func openUnder(t testing.TB, national fs.FS, own map[string]string, change ...func(*office, *Config)) *office {
	t.Helper()
	draft := func(files map[string]string, alone bool) (*rulebook.Book, error) {
		all := fstest.MapFS{}
		if !alone {
			for name, text := range own {
				all[name] = &fstest.MapFile{Data: []byte(text)}
			}
		}
		for name, text := range files {
			all[name] = &fstest.MapFile{Data: []byte(text)}
		}
		return rulebook.Load(national, all)
	}
	book, err := draft(nil, false)
	if err != nil {
		t.Fatal(err)
	}
	pool := pgtest.New(t)
	server := eventstoretest.Server(t)
	store := eventstoretest.Run(t, eventstore.Config{Server: server, Volume: "CASES"})
	o := &office{t: t, server: server, store: store, book: book, pool: pool, log: &logBuffer{}, trail: &memory{}}
	logger := slog.New(slog.NewTextHandler(o.log, nil))

	if o.db, err = projections.Open(t.Context(), pool, book); err != nil {
		t.Fatal(err)
	}
	if o.tokens, err = identity.OpenTokens(t.Context(), pool, logger); err != nil {
		t.Fatal(err)
	}
	policies, err := identity.LoadPolicies()
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	wait.Go(func() {
		if err := projections.RunAll(running, o.db, store, logger, projections.All...); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); wait.Wait() })

	clock := func() time.Time { return now }
	o.desk = &switchDesk{Desk: casework.New(book, store, o.db, casework.Options{Now: clock, Facts: o.db.Facts})}
	o.health = Health{Ready: true, Writer: true}
	config := Config{
		Desk: o.desk, Record: store, Reads: o.db, Book: book, Policies: policies, Tokens: o.tokens, Trail: NewTrail(o.trail.append),
		Rebuild: func(ctx context.Context, models []string, progress func(projections.Progress)) (projections.Report, error) {
			return projections.Rebuild(ctx, o.db, store, models, progress)
		},
		VerifyModels: func(ctx context.Context, models []string, progress func(projections.Progress)) (projections.Report, error) {
			return projections.Audit(ctx, o.db, store, models, progress)
		},
		Draft: func(files map[string]string, alone bool) (domain.Law, error) {
			b, err := draft(files, alone)
			return b, err
		},
		Health: func(context.Context) Health {
			h := o.health
			h.Models = o.db.Status()
			h.Stores = []eventstore.Status{store.Status()}
			return h
		},
		Logger: logger, Version: "test", Now: clock, Patience: 2 * time.Second,
	}
	for _, f := range change {
		f(o, &config)
	}
	o.handler = New(config)

	token := func(person, name string, role identity.Role, agencies ...string) string {
		text, _, err := o.tokens.Issue(t.Context(), identity.Actor{Person: "administrator"}, identity.NewToken{Person: person, Name: name, Role: role, Agencies: agencies})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	o.li, o.zhao = token("li", "李明", identity.Officer, "210100"), token("zhao", "赵敏", identity.Officer, "210100")
	o.head = token("sun", "孙局", identity.Head, "210100")
	o.stranger = token("wu", "吴某", identity.Officer, "210200")
	o.supervisor = token("zheng", "郑某", identity.Supervisor, "210100", "210200")
	o.inspector = token("wang", "王督", identity.Inspector, identity.Everywhere)
	o.administrator = token("admin", "管理员", identity.Administrator, identity.Everywhere)
	o.importer = token("import", "", identity.Importer, "210100")
	o.public = token("anybody", "", identity.Public)
	return o
}

// A reply is what came back.
type reply struct {
	t       testing.TB
	asked   string
	status  int
	header  http.Header
	trailer http.Header
	body    []byte
}

// ask sends a request; header is name, value, name, value …
func (o *office) ask(token, method, target string, body any, header ...string) *reply {
	o.t.Helper()
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	default:
		data, err := json.Marshal(b)
		if err != nil {
			o.t.Fatal(err)
		}
		in = bytes.NewReader(data)
	}
	r := httptest.NewRequestWithContext(o.t.Context(), method, target, in)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	o.handler.ServeHTTP(w, r)
	res := w.Result()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	return &reply{t: o.t, asked: method + " " + target, status: res.StatusCode, header: res.Header, trailer: res.Trailer, body: data}
}

func (o *office) get(token, target string, header ...string) *reply {
	o.t.Helper()
	return o.ask(token, http.MethodGet, target, nil, header...)
}

func (o *office) post(token, target string, body any, header ...string) *reply {
	o.t.Helper()
	return o.ask(token, http.MethodPost, target, body, header...)
}

// is fails unless the status is the one wanted.
func (r *reply) is(status int) *reply {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("%s: status %d, want %d; %s", r.asked, r.status, status, r.body)
	}
	return r
}

// into decodes the body.
func (r *reply) into(v any) *reply {
	r.t.Helper()
	if err := json.Unmarshal(r.body, v); err != nil {
		r.t.Fatalf("%s: %v in %s", r.asked, err, r.body)
	}
	return r
}

// problem fails unless the answer is a problem with that status and code.
func (r *reply) problem(status int, code string) Problem {
	r.t.Helper()
	r.is(status)
	if got := r.header.Get("Content-Type"); got != "application/problem+json" {
		r.t.Errorf("%s: content type %q, want application/problem+json", r.asked, got)
	}
	var p Problem
	r.into(&p)
	if p.Code != code || p.Status != status || p.Title == "" || p.Detail == "" || p.Request == "" || p.Request != r.header.Get(requestHeader) {
		r.t.Errorf("%s: problem %s, want code %s and every field of it", r.asked, r.body, code)
	}
	return p
}

// an act as a body; more is name, value, name, value …
func act(name string, more ...any) map[string]any {
	b := map[string]any{"act": name, "occurred_at": now.Add(-time.Hour).Format(time.RFC3339)}
	for i := 0; i < len(more); i += 2 {
		b[more[i].(string)] = more[i+1]
	}
	return b
}

func filing(id string, more ...any) map[string]any {
	b := act("file-case", append([]any{"procedure", "visit", "fields", map[string]any{"party": map[string]any{"name": "沈阳某某科技有限公司"}}}, more...)...)
	if id != "" {
		b["case"] = id
	}
	return b
}

// filed opens a case of agency 210100 and returns its receipt, seen by all
// read models.
func (o *office) filed(id string, more ...any) domain.Receipt {
	o.t.Helper()
	var r domain.Receipt
	o.post(o.li, "/v1/cases", filing(id, more...)).is(http.StatusCreated).into(&r)
	o.settled(r)
	return r
}

// recorded records an act of a case.
func (o *office) recorded(token, id string, body map[string]any) domain.Receipt {
	o.t.Helper()
	var r domain.Receipt
	o.post(token, "/v1/cases/"+id+"/acts", body).is(http.StatusCreated).into(&r)
	o.settled(r)
	return r
}

// stored is how many records there are.
func (o *office) stored() eventstore.Position {
	o.t.Helper()
	last, err := o.store.Last(o.t.Context())
	if err != nil {
		o.t.Fatal(err)
	}
	return last
}

// settled waits until every read model holds a record.
func (o *office) settled(r domain.Receipt) {
	o.t.Helper()
	if err := o.db.WaitAll(o.t.Context(), r.Position); err != nil {
		o.t.Fatal(err)
	}
}

var errBoom = errors.New("boom: secret detail")
