package identity

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"liuhen/internal/pgtest"
)

// clock is a clock that tests set.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func tokens(t testing.TB) (*Tokens, *clock) {
	t.Helper()
	ts, err := OpenTokens(t.Context(), pgtest.New(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c := &clock{at: time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)}
	ts.now = c.now
	return ts, c
}

// other is a second process on the same database.
func other(t testing.TB, ts *Tokens) *Tokens {
	t.Helper()
	o, err := OpenTokens(t.Context(), ts.pool, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	o.now = ts.now
	return o
}

var admin = Actor{Person: "administrator", Role: Administrator, Agencies: []string{Everywhere}}

func issue(t testing.TB, ts *Tokens, want NewToken) (string, Token) {
	t.Helper()
	text, token, err := ts.Issue(t.Context(), admin, want)
	if err != nil {
		t.Fatalf("issue %+v: %v", want, err)
	}
	return text, token
}

var li = NewToken{Label: "counter 3", Person: "Li", Name: "李明", Role: Officer, Agencies: []string{"210100"}}

func TestIssueAndVerify(t *testing.T) {
	ts, _ := tokens(t)
	text, token := issue(t, ts, li)
	if !strings.HasPrefix(text, "lh_") || len(text) != 61 {
		t.Errorf("token %q: want lh_ and 58 letters", text)
	}
	a, err := ts.Verify(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	if a.Person != "Li" || a.Name != "李明" || a.Role != Officer || a.Agency() != "210100" || a.Token != token.ID {
		t.Errorf("actor = %+v", a)
	}
	var kept int
	err = ts.pool.QueryRow(t.Context(), `select count(*) from identity.token where id || digest::text || label || person like '%' || $1 || '%'`, text[3:]).Scan(&kept)
	if err != nil || kept != 0 {
		t.Errorf("the token's text is kept in the database: %d, %v", kept, err)
	}
}

func TestTokensThatAreNone(t *testing.T) {
	ts, _ := tokens(t)
	text, _ := issue(t, ts, li)
	mistyped := []byte(text)
	if mistyped[10]++; mistyped[10] > 'z' || mistyped[10] == '8' {
		mistyped[10] = 'a'
	}
	for name, bad := range map[string]string{
		"empty": "", "prefix only": "lh_", "cut": text[:len(text)-1], "longer": text + "a", "upper case": strings.ToUpper(text),
		"mistyped": string(mistyped), "unknown": newToken(), "other prefix": "gh_" + text[3:],
	} {
		if _, err := ts.Verify(t.Context(), bad); !errors.Is(err, ErrUnknownToken) {
			t.Errorf("%s: error = %v, want ErrUnknownToken", name, err)
		}
	}
}

func TestIssueChecks(t *testing.T) {
	ts, c := tokens(t)
	for _, tc := range []struct {
		field string
		with  func(*NewToken)
	}{
		{"person", func(n *NewToken) { n.Person = " " }},
		{"person", func(n *NewToken) { n.Person = "a\nb" }},
		{"name", func(n *NewToken) { n.Name = strings.Repeat("字", 100) }},
		{"role", func(n *NewToken) { n.Role = "king" }},
		{"agency", func(n *NewToken) { n.Agencies = nil }},
		{"agency", func(n *NewToken) { n.Agencies = []string{"*"} }},
		{"agency", func(n *NewToken) { n.Agencies = []string{"A", "B"} }},
		{"agency", func(n *NewToken) { n.Agencies = []string{"a b"} }},
		{"agency", func(n *NewToken) { n.Role, n.Agencies = Inspector, nil }},
		{"expires", func(n *NewToken) { n.Expires = c.now() }},
		{"label", func(n *NewToken) { n.Label = "\xff" }},
	} {
		want := li
		tc.with(&want)
		_, _, err := ts.Issue(t.Context(), admin, want)
		var invalid *InvalidToken
		if !errors.As(err, &invalid) || invalid.Field != tc.field || invalid.ZH == "" || invalid.EN == "" {
			t.Errorf("%+v: error = %v, want one about %s", want, err, tc.field)
		}
	}
}

func TestExpiry(t *testing.T) {
	ts, c := tokens(t)
	want := li
	want.Expires = c.now().Add(time.Hour)
	text, _ := issue(t, ts, want)
	if _, err := ts.Verify(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	c.forward(time.Hour - time.Millisecond)
	if _, err := ts.Verify(t.Context(), text); err != nil {
		t.Errorf("just before it expires: %v", err)
	}
	c.forward(time.Millisecond)
	if _, err := ts.Verify(t.Context(), text); !errors.Is(err, ErrExpiredToken) {
		t.Errorf("when it expires: error = %v, want ErrExpiredToken", err)
	}
}

func TestRevoke(t *testing.T) {
	ts, c := tokens(t)
	elsewhere := other(t, ts)
	text, token := issue(t, ts, li)
	for _, p := range []*Tokens{ts, elsewhere} {
		if _, err := p.Verify(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	if err := ts.Revoke(t.Context(), admin, token.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := ts.Verify(t.Context(), text); !errors.Is(err, ErrRevokedToken) {
		t.Errorf("in the process that revoked it: error = %v, want ErrRevokedToken", err)
	}
	c.forward(fresh)
	if _, err := elsewhere.Verify(t.Context(), text); !errors.Is(err, ErrRevokedToken) {
		t.Errorf("in another process after %s: error = %v, want ErrRevokedToken", fresh, err)
	}
	if err := ts.Revoke(t.Context(), admin, "nothing"); !errors.Is(err, ErrNoToken) {
		t.Errorf("revoke one that is not there: error = %v, want ErrNoToken", err)
	}

	first, err := ts.Find(t.Context(), token.ID)
	if err != nil {
		t.Fatal(err)
	}
	c.forward(time.Hour)
	if err := ts.Revoke(t.Context(), Actor{Person: "somebody"}, token.ID); err != nil {
		t.Fatal(err)
	}
	again, err := ts.Find(t.Context(), token.ID)
	if err != nil {
		t.Fatal(err)
	}
	if !again.Revoked.Equal(first.Revoked) || again.RevokedBy != "administrator" {
		t.Errorf("a second revocation changed the first: %v by %s, was %v", again.Revoked, again.RevokedBy, first.Revoked)
	}
}

// A database that answers nothing: what was verified is believed for a
// moment, then verifying fails, and not with an answer.
func TestDatabaseDown(t *testing.T) {
	ts, c := tokens(t)
	text, _ := issue(t, ts, li)
	if _, err := ts.Verify(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	ts.pool.Close()
	if _, err := ts.Verify(t.Context(), text); err != nil {
		t.Errorf("within %s: %v", fresh, err)
	}
	c.forward(fresh)
	_, err := ts.Verify(t.Context(), text)
	if err == nil || errors.Is(err, ErrUnknownToken) || errors.Is(err, ErrRevokedToken) {
		t.Errorf("error = %v, want a fault", err)
	}
}

func TestBootstrap(t *testing.T) {
	ts, _ := tokens(t)
	elsewhere := other(t, ts)
	texts := make([]string, 8)
	var wg sync.WaitGroup
	for i := range texts {
		wg.Go(func() {
			p := ts
			if i%2 == 1 {
				p = elsewhere
			}
			var err error
			if texts[i], err = p.Bootstrap(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	text := strings.Join(texts, "")
	a, err := ts.Verify(t.Context(), text)
	if err != nil || a.Role != Administrator || a.Agencies[0] != Everywhere {
		t.Fatalf("of eight, one makes the token: %q, %+v, %v", texts, a, err)
	}
	if again, err := ts.Bootstrap(t.Context()); err != nil || again != "" {
		t.Errorf("a second start makes another: %q, %v", again, err)
	}
	if err := ts.Revoke(t.Context(), admin, a.Token); err != nil {
		t.Fatal(err)
	}
	if again, err := ts.Bootstrap(t.Context()); err != nil || again == "" {
		t.Errorf("after the last was revoked: %q, %v, want a new one", again, err)
	}
}

func TestLastUsed(t *testing.T) {
	ts, c := tokens(t)
	text, token := issue(t, ts, li)
	_, unused := issue(t, ts, li)
	if _, err := ts.Verify(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	c.forward(90 * time.Second)
	if _, err := ts.Verify(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if err := ts.Run(stopped); !errors.Is(err, context.Canceled) { // writes once more before it ends
		t.Fatal(err)
	}
	list, err := ts.List(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatalf("list = %v, %v", list, err)
	}
	for _, l := range list {
		switch l.ID {
		case token.ID:
			if !l.LastUsed.Equal(c.now()) {
				t.Errorf("last used = %s, want %s", l.LastUsed, c.now())
			}
		case unused.ID:
			if !l.LastUsed.IsZero() {
				t.Errorf("the unused token was last used %s", l.LastUsed)
			}
		}
	}
}

// Many at once, with revocations in between: once Revoke has returned nobody
// gets through.
func TestRevokeUnderLoad(t *testing.T) {
	ts, _ := tokens(t)
	for range 20 {
		text, token := issue(t, ts, li)
		revoked := make(chan struct{})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for done := false; !done; {
					select {
					case <-revoked:
						done = true
					default:
					}
					_, err := ts.Verify(t.Context(), text)
					if done && !errors.Is(err, ErrRevokedToken) {
						t.Errorf("after the revocation: error = %v", err)
					}
				}
			})
		}
		if err := ts.Revoke(t.Context(), admin, token.ID); err != nil {
			t.Error(err)
		}
		close(revoked)
		wg.Wait()
	}
}

func FuzzDigestOf(f *testing.F) {
	f.Add(newToken())
	f.Add("lh_")
	f.Fuzz(func(t *testing.T, s string) {
		if _, ok := digestOf(s); ok && (len(s) != 61 || s[:3] != "lh_") {
			t.Errorf("%q passes for a token", s)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	ts, _ := tokens(b)
	text, _ := issue(b, ts, li)
	for b.Loop() {
		if _, err := ts.Verify(b.Context(), text); err != nil {
			b.Fatal(err)
		}
	}
}
