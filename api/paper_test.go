package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"liuhen/casework"
	"liuhen/domain"
	"liuhen/domain/rulebook"
	"liuhen/identity"
)

// paperDesk decides as casework does and keeps nothing, so that fuzzing and
// benchmarks measure this package and not the store.
type paperDesk struct {
	book *rulebook.Book
	c    *domain.Case
}

func (d *paperDesk) Record(ctx context.Context, cmd domain.Command) (domain.Receipt, error) {
	c := d.c
	if cmd.Procedure != "" {
		c = nil
	}
	event, err := d.Decide(ctx, c, cmd)
	if err != nil {
		return domain.Receipt{}, err
	}
	data, err := event.Encode()
	if err != nil {
		return domain.Receipt{}, err
	}
	if _, err := domain.Read(1, now, data); err != nil { // what is recorded can be read
		return domain.Receipt{}, err
	}
	return domain.ReceiptOf(domain.Recorded{Position: 1, Digest: domain.DigestOf(data), Event: event}), nil
}

func (d *paperDesk) Decide(_ context.Context, c *domain.Case, cmd domain.Command) (domain.Event, error) {
	return domain.Decide(d.book, domain.Registers{}, c, cmd, domain.Stamp{Event: "e", Salt: "s", Now: now})
}

func (d *paperDesk) RecordAll(ctx context.Context, commands []domain.Command) []casework.Result {
	results := make([]casework.Result, len(commands))
	for i, cmd := range commands {
		results[i].Receipt, results[i].Err = d.Record(ctx, cmd)
	}
	return results
}

func (d *paperDesk) Case(_ context.Context, id domain.CaseID) (*domain.Case, error) {
	if id != d.c.ID {
		return nil, fmt.Errorf("%w: %s", domain.ErrNoCase, id)
	}
	return d.c, nil
}

// oneToken lets everybody in as one person.
type oneToken struct {
	Tokens
	actor identity.Actor
}

func (o oneToken) Verify(context.Context, string) (identity.Actor, error) { return o.actor, nil }

func paperOffice(t testing.TB, role identity.Role) (http.Handler, *logBuffer) {
	t.Helper()
	book, err := rulebook.Load(os.DirFS("testdata/law"))
	if err != nil {
		t.Fatal(err)
	}
	policies, err := identity.LoadPolicies()
	if err != nil {
		t.Fatal(err)
	}
	cmd := domain.Command{
		ID: "k", Case: "C-1", Agency: "210100", Procedure: "visit", Act: "file-case", At: now.Add(-time.Hour),
		Actor: domain.Actor{ID: "li", Roles: []string{"handler"}}, Fields: map[string]json.RawMessage{"party": json.RawMessage(`{"name":"某厂"}`)},
	}
	event, err := domain.Decide(book, domain.Registers{}, nil, cmd, domain.Stamp{Event: "e-1", Salt: "s", Now: now})
	if err != nil {
		t.Fatal(err)
	}
	c, err := domain.Evolve(book, nil, domain.Recorded{Position: 1, Event: event})
	if err != nil {
		t.Fatal(err)
	}
	log := &logBuffer{}
	return New(Config{
		Desk: &paperDesk{book: book, c: c}, Book: book, Policies: policies,
		Tokens: oneToken{actor: identity.Actor{Person: "li", Name: "李明", Role: role, Agencies: []string{"210100"}, Token: "t"}},
		Trail:  NewTrail(func(context.Context, [][]byte) error { return nil }),
		Health: func(context.Context) Health { return Health{} },
		Logger: slog.New(slog.NewTextHandler(log, nil)), Now: func() time.Time { return now },
	}), log
}

func send(t testing.TB, h http.Handler, method, target string, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(t.Context(), method, target, bytes.NewReader(body))
	r.Header.Set("Authorization", "Bearer x")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// sound fails where an answer is not one of those that a caller's mistake can
// get.
func sound(t *testing.T, w *httptest.ResponseRecorder, log *logBuffer) {
	t.Helper()
	if w.Code >= 500 {
		t.Fatalf("status %d: %s\n%s", w.Code, w.Body, log)
	}
	if w.Code >= 400 {
		var p Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Code == "" || p.Detail == "" {
			t.Fatalf("status %d with %s: %v", w.Code, w.Body, err)
		}
	}
}

func FuzzActBody(f *testing.F) {
	for _, seed := range []string{
		`{"act":"inspect","occurred_at":"2026-11-24T09:00:00+08:00","officers":["li",{"id":"zhao","valid_to":"2030-01-01"}],"fields":{"remark":"x","amount":1}}`,
		`{"act":"decide","occurred_at":"2026-11-24T09:00:00Z","already_done":true,"reason":"r"}`,
		`{"act":"inspect","occurred_at":"2026-11-24T09:00:00+08:00","corrects":"e-1","reason":"r"}`,
		`{"act":"inspect","occurred_at":"9999-12-31T23:59:59Z","officers":[null,1,{}]}`,
		`{"act":"inspect","occurred_at":"0000-01-01T00:00:00Z","fields":{"amount":1e309}}`,
		`{"act":"inspect","occurred_at":"2026-11-24T09:00:00+08:00","fields":{"remark":"\ud800"}}`,
		`{"act":"inspect","occurred_at":"2026-11-24T09:00:00+08:00","documents":[{"title":"t","digest":"sha256:` + strings.Repeat("0", 64) + `","size":-1}]}`,
		`{"act":"file-case","procedure":"visit","case":"C-2","occurred_at":"2026-11-24T09:00:00+08:00","fields":{"party":{"name":"某厂","uscc":"91210100MA0P4XXXX1"}}}`,
		`{"act":"a","act":"b"}`, `null`, `[]`, `0`, `"x"`, `{"fields":null,"officers":null}`, "\xff", "{\"\x00\":1}",
		strings.Repeat("[", 200), `{"fields":` + strings.Repeat(`{"a":`, 150) + `1` + strings.Repeat(`}`, 151),
	} {
		f.Add([]byte(seed))
	}
	h, log := paperOffice(f, identity.Officer)
	f.Fuzz(func(t *testing.T, body []byte) {
		sound(t, send(t, h, "POST", "/v1/cases/C-1/acts", body), log)
		sound(t, send(t, h, "POST", "/v1/cases", body), log)
	})
}

func FuzzImportBody(f *testing.F) {
	good, err := json.Marshal(map[string]any{"source": "s", "batch": "b", "commands": []any{row(1), row(2, "agency", "210200"), row(3, "officers", []any{"li", nil})}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(bytes.Replace(good, []byte(`"batch":"b"`), []byte(`"batch":"b","dry_run":true`), 1))
	f.Add([]byte(`{"source":"s","batch":"b","commands":[null,1,"x",{},{"row":-1},{"occurred_at":"x","row":9}]}`))
	f.Add([]byte(`{"source":"s","batch":"b","commands":{}}`))
	h, log := paperOffice(f, identity.Importer)
	f.Fuzz(func(t *testing.T, body []byte) {
		sound(t, send(t, h, "POST", "/v1/imports", body), log)
	})
}

// Cursors and filters as strangers make them up, against a real database.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		"limit=1", "cursor=WyIyMDI2LTExLTI0IiwiQy0xIl0", "cursor=WyJ4IiwieSJd", "cursor=W10", "cursor=bnVsbA", "cursor=" + strings.Repeat("A", 2001),
		"cursor=WyIxIiwiMiIsIjMiXQ", "q=%E7%A7%91%E6%8A%80", "party=%27%22%5C%25_", "q=%00", "q=%ff", "from=2026-01-01&to=0001-01-01", "closed=true&closed=false",
		"format=csv", "stage=%F0%9F%92%A5", "officer=%22%7D%2C%7B%22",
	} {
		f.Add(seed)
	}
	o := open(f)
	o.filed("C-1")
	f.Fuzz(func(t *testing.T, query string) {
		if strings.Contains(query, "min_position") {
			return // it may well wait for what never comes
		}
		for _, path := range []string{"/v1/ledger", "/v1/deadlines", "/v1/findings", "/v1/cases/C-1/timeline", "/v1/access"} {
			token := o.li
			if path == "/v1/access" {
				token = o.inspector
			}
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
			r.URL.RawQuery = query
			r.Header.Set("Authorization", "Bearer "+token)
			w := httptest.NewRecorder()
			o.handler.ServeHTTP(w, r)
			sound(t, w, o.log)
		}
	})
}

func FuzzHeaders(f *testing.F) {
	f.Add("en", `"1"`, "k", "purpose")
	f.Add("zh-CN,zh;q=0.9", `*`, strings.Repeat("k", 300), "%E6%81%A2")
	f.Add("\xff", `W/"`, "\x00", "%zz\n")
	h, log := paperOffice(f, identity.Officer)
	body, err := json.Marshal(act("inspect"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, lang, match, key, purpose string) {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/v1/cases/C-1/acts", bytes.NewReader(body))
		for name, value := range map[string]string{"Authorization": "Bearer x", "Accept-Language": lang, "If-Match": match, "Idempotency-Key": key, purposeHeader: purpose} {
			r.Header[http.CanonicalHeaderKey(name)] = []string{value}
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		sound(t, w, log)
	})
}

func FuzzNoDuplicates(f *testing.F) {
	for _, seed := range []string{`{"a":1,"a":2}`, `[{"a":1},{"a":2}]`, `{"a":{"a":1}}`, `{"a":"a","b":"a"}`, `["a","a"]`, `{"a":[{"b":1,"b":2}]}`, `{`, ``} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var twice errTwice
		if err := noDuplicates(data); errors.As(err, &twice) && bytes.Count(data, []byte{'"'}) < 4 {
			t.Errorf("%q: %v", data, err)
		}
	})
}

func TestNoDuplicates(t *testing.T) {
	for in, want := range map[string]bool{
		`{"a":1,"a":2}`: true, `[{"a":1},{"a":2}]`: false, `{"a":{"a":1}}`: false, `{"a":"a","b":"a"}`: false, `["a","a"]`: false,
		`{"a":[{"b":1,"b":2}]}`: true, `{"a":[1,2],"b":{},"a":0}`: true, `{"a":1,"\u0061":2}`: true, `{}`: false,
	} {
		if err := noDuplicates([]byte(in)); (err != nil) != want {
			t.Errorf("noDuplicates(%s) = %v, want an error: %t", in, err, want)
		}
	}
}

// What this package adds to an act.
func BenchmarkRecordAct(b *testing.B) {
	h, _ := paperOffice(b, identity.Officer)
	body, err := json.Marshal(act("inspect", "officers", []string{"li", "zhao"}, "fields", map[string]any{"remark": "两瓶", "amount": 1}))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if w := send(b, h, "POST", "/v1/cases/C-1/acts", body); w.Code != http.StatusCreated {
			b.Fatal(w.Body)
		}
	}
}

func BenchmarkImport(b *testing.B) {
	h, _ := paperOffice(b, identity.Importer)
	var rows []any
	for i := range perImport {
		rows = append(rows, row(i+1))
	}
	body, err := json.Marshal(map[string]any{"source": "s", "batch": "b", "commands": rows})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if w := send(b, h, "POST", "/v1/imports", body); w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
	b.ReportMetric(float64(b.N*perImport)/b.Elapsed().Seconds(), "rows/s")
}

// A timeline over the real store and database, with the look kept in memory.
func BenchmarkTimeline(b *testing.B) {
	o := open(b)
	o.filed("C-1")
	for range 9 {
		o.recorded(o.li, "C-1", act("notice"))
	}
	for b.Loop() {
		o.get(o.li, "/v1/cases/C-1/timeline").is(http.StatusOK)
	}
}
