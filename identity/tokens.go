package identity

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"golang.org/x/sync/singleflight"
)

//go:embed migrations/*.sql
var migrations embed.FS

// What is wrong with a token that was presented.
var (
	ErrUnknownToken = errors.New("unknown token")
	ErrExpiredToken = errors.New("the token has expired")
	ErrRevokedToken = errors.New("the token was revoked")
)

// ErrNoToken says that there is no token with an id.
var ErrNoToken = errors.New("no such token")

const (
	// fresh is how long a verified token is believed without asking the
	// database again. It bounds how late a revocation by another process
	// takes effect; one by this process does at once.
	fresh = time.Second
	// kept is how many tokens are remembered between two requests.
	kept = 10_000
	// useEvery is how often the last use of a token is written.
	useEvery = time.Minute
)

// A Token is what is known of a token; the secret itself is kept nowhere.
type Token struct {
	ID        string
	Label     string // what it is for, e.g. the computer it is used on
	Actor     Actor
	Created   time.Time
	CreatedBy string    // person
	Expires   time.Time // zero: never
	Revoked   time.Time // zero: it has not been
	RevokedBy string
	LastUsed  time.Time // to the minute; zero: never
}

// A NewToken asks for a token.
type NewToken struct {
	Label    string
	Person   string
	Name     string // of the person; Person where empty
	Role     Role
	Agencies []string
	Expires  time.Time // zero: never
}

// An InvalidToken says which field of a NewToken is malformed.
type InvalidToken struct {
	Field  string // person, name, role, agency, expires or label
	ZH, EN string
}

func (e *InvalidToken) Error() string { return e.Field + ": " + e.EN }

// Tokens are the tokens of an installation, in Postgres. The methods are safe
// for many goroutines.
type Tokens struct {
	pool   *pgxpool.Pool
	now    func() time.Time
	logger *slog.Logger
	asking singleflight.Group
	known  *lru.Cache[[sha256.Size]byte, verified]

	mu      sync.Mutex           // guards what follows
	used    map[string]time.Time // last uses that are not written yet
	revoked int                  // how many tokens this process has revoked
}

// verified is a token as the database had it at a moment.
type verified struct {
	token Token
	at    time.Time
}

// OpenTokens brings the tables in schema identity up to date and returns the
// tokens kept there. Run must run for last uses to be written.
func OpenTokens(ctx context.Context, pool *pgxpool.Pool, logger *slog.Logger) (*Tokens, error) {
	if err := migrate(ctx, pool); err != nil {
		return nil, fmt.Errorf("tables of identity: %w", err)
	}
	known, err := lru.New[[sha256.Size]byte, verified](kept)
	if err != nil {
		return nil, err
	}
	return &Tokens{pool: pool, now: time.Now, logger: logger, known: known, used: map[string]time.Time{}}, nil
}

// lockKey is the advisory lock under which processes take turns at changing
// the tables and at making the first administrator's token.
const lockKey = 0x6c68_6964 // "lhid"

// locked runs do in a transaction that no other process is in.
func locked(ctx context.Context, pool *pgxpool.Pool, do func(tx pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1)`, lockKey); err != nil {
			return err
		}
		return do(tx)
	})
}

func migrate(ctx context.Context, pool *pgxpool.Pool) error {
	folder, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	return locked(ctx, pool, func(tx pgx.Tx) error {
		// The schema and the migrations are on another connection than the lock.
		if _, err := pool.Exec(ctx, `create schema if not exists identity`); err != nil {
			return err
		}
		db := stdlib.OpenDBFromPool(pool)
		defer func() { _ = db.Close() }()
		p, err := goose.NewProvider(goose.DialectPostgres, db, folder,
			goose.WithTableName("identity.migration"), goose.WithDisableGlobalRegistry(true))
		if err != nil {
			return err
		}
		_, err = p.Up(ctx)
		return err
	})
}

// Issue makes a token and returns its text, which is shown this once. The
// error is *InvalidToken where something is malformed.
func (t *Tokens) Issue(ctx context.Context, by Actor, want NewToken) (string, Token, error) {
	return t.issue(ctx, t.pool, by.Person, want)
}

type execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

func (t *Tokens) issue(ctx context.Context, tx execer, by string, want NewToken) (string, Token, error) {
	if want.Name == "" {
		want.Name = want.Person
	}
	now := t.now().UTC().Truncate(time.Microsecond)
	if err := want.check(now); err != nil {
		return "", Token{}, err
	}
	text := newToken()
	digest, _ := digestOf(text)
	token := Token{
		ID: newID(), Label: want.Label, Created: now, CreatedBy: by, Expires: want.Expires,
		Actor: Actor{Person: want.Person, Name: want.Name, Role: want.Role, Agencies: want.Agencies},
	}
	token.Actor.Token = token.ID
	_, err := tx.Exec(ctx, `
		insert into identity.token (id, digest, label, person, name, role, agencies, created_at, created_by, expires_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		token.ID, digest[:], token.Label, token.Actor.Person, token.Actor.Name, token.Actor.Role, notNil(token.Actor.Agencies),
		token.Created, token.CreatedBy, orNull(token.Expires))
	if err != nil {
		return "", Token{}, fmt.Errorf("keep a token for %s: %w", want.Person, err)
	}
	return text, token, nil
}

func (want NewToken) check(now time.Time) error {
	for _, text := range []struct {
		field, value string
		needed       bool
	}{{"person", want.Person, true}, {"name", want.Name, true}, {"label", want.Label, false}} {
		switch {
		case text.needed && strings.TrimSpace(text.value) == "":
			return &InvalidToken{text.field, "不能为空", "must not be empty"}
		case len(text.value) > 200 || !utf8.ValidString(text.value) || strings.ContainsFunc(text.value, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return &InvalidToken{text.field, "须为不超过 200 字节、无控制字符的文字", "must be text of at most 200 bytes without control characters"}
		}
	}
	if !slices.Contains(Roles(), want.Role) {
		return &InvalidToken{"role", "角色须为以下之一：" + words(Roles(), "、"), "must be one of: " + words(Roles(), ", ")}
	}
	if _, err := ParseScope(strings.Join(want.Agencies, ",")); err != nil {
		return &InvalidToken{"agency", "机关代码须为字母、数字、- 和 _，或 *：" + strings.Join(want.Agencies, "、"), err.Error()}
	}
	if want.Role.group() == caseworker && (len(want.Agencies) != 1 || want.Agencies[0] == Everywhere) {
		return &InvalidToken{"agency", "办案人员须且只能属于一个机关", "an officer, head, legal reviewer or publisher belongs to exactly one agency"}
	}
	if want.Role.group() == watcher && len(want.Agencies) == 0 {
		return &InvalidToken{"agency", "须列出监督的机关，* 表示全部", "name the agencies to watch over, or * for all"}
	}
	if !want.Expires.IsZero() && !want.Expires.After(now) {
		return &InvalidToken{"expires", "到期时间已过", "is not in the future"}
	}
	return nil
}

// Bootstrap makes a token for an administrator where there is no usable one:
// on a new installation, and after the last one was revoked or has expired.
// It returns "" where there is one. Of several processes one makes it.
func (t *Tokens) Bootstrap(ctx context.Context) (string, error) {
	var text string
	err := locked(ctx, t.pool, func(tx pgx.Tx) error {
		var there bool
		err := tx.QueryRow(ctx, `
			select exists (
				select from identity.token
				where role = $1 and revoked_at is null and (expires_at is null or expires_at > $2))`,
			Administrator, t.now()).Scan(&there)
		if err != nil || there {
			return err
		}
		text, _, err = t.issue(ctx, tx, "bootstrap", NewToken{
			Label: "first administrator", Person: "administrator", Name: "系统管理员",
			Role: Administrator, Agencies: []string{Everywhere},
		})
		return err
	})
	if err != nil {
		return "", fmt.Errorf("first administrator's token: %w", err)
	}
	return text, nil
}

// Verify returns the actor whose token it is. The errors ErrUnknownToken,
// ErrExpiredToken and ErrRevokedToken are answers; others are faults of the
// database.
//
// A token is looked up by its SHA-256, which whoever guesses cannot steer, and
// what is found is compared in constant time.
func (t *Tokens) Verify(ctx context.Context, text string) (Actor, error) {
	digest, ok := digestOf(text)
	if !ok {
		return Actor{}, ErrUnknownToken
	}
	now := t.now()
	v, ok := t.known.Get(digest)
	if !ok || now.Sub(v.at) >= fresh || now.Before(v.at) {
		var err error
		if v, err = t.ask(ctx, digest); err != nil {
			return Actor{}, err
		}
	}
	switch {
	case !v.token.Revoked.IsZero():
		return Actor{}, ErrRevokedToken
	case !v.token.Expires.IsZero() && !now.Before(v.token.Expires):
		return Actor{}, ErrExpiredToken
	}
	t.use(v.token, now)
	return v.token.Actor, nil
}

// ask reads a token from the database. Of concurrent calls for the same one a
// single question is put; it goes on when the caller that put it gives up.
func (t *Tokens) ask(ctx context.Context, digest [sha256.Size]byte) (verified, error) {
	answer := t.asking.DoChan(string(digest[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		at, revoked := t.now(), t.revocations() // before the question
		rows, err := t.pool.Query(ctx, tokenColumns+` where digest = $1`, digest[:])
		if err != nil {
			return verified{}, err
		}
		f, err := pgx.CollectExactlyOneRow(rows, scanToken)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && subtle.ConstantTimeCompare(f.digest, digest[:]) != 1 {
			return verified{}, ErrUnknownToken
		}
		if err != nil {
			return verified{}, err
		}
		f.Token.Actor = f.Token.Actor.prepared()
		v := verified{token: f.Token, at: at}
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.revoked == revoked { // else this may be the one, as it was before
			t.known.Add(digest, v)
		}
		return v, nil
	})
	select {
	case r := <-answer:
		if r.Err != nil {
			if errors.Is(r.Err, ErrUnknownToken) {
				return verified{}, ErrUnknownToken
			}
			return verified{}, fmt.Errorf("look up a token: %w", r.Err)
		}
		return r.Val.(verified), nil
	case <-ctx.Done():
		return verified{}, ctx.Err()
	}
}

const tokenColumns = `
	select id, digest, label, person, name, role, agencies, created_at, created_by,
		expires_at, revoked_at, coalesce(revoked_by, ''), last_used_at
	from identity.token`

// found is a row of identity.token.
type found struct {
	Token
	digest []byte
}

func scanToken(row pgx.CollectableRow) (found, error) {
	var f found
	var expires, revoked, used *time.Time
	err := row.Scan(&f.ID, &f.digest, &f.Label, &f.Actor.Person, &f.Actor.Name, &f.Actor.Role, &f.Actor.Agencies, &f.Created, &f.CreatedBy,
		&expires, &revoked, &f.RevokedBy, &used)
	f.Actor.Token = f.ID
	f.Expires, f.Revoked, f.LastUsed = orZero(expires), orZero(revoked), orZero(used)
	return f, err
}

// List returns all tokens, revoked and expired ones too, newest first.
func (t *Tokens) List(ctx context.Context) ([]Token, error) {
	rows, err := t.pool.Query(ctx, tokenColumns+` order by created_at desc, id`)
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	tokens, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Token, error) {
		f, err := scanToken(row)
		return f.Token, err
	})
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	return tokens, nil
}

// Find returns the token with an id; it fails with ErrNoToken.
func (t *Tokens) Find(ctx context.Context, id string) (Token, error) {
	rows, err := t.pool.Query(ctx, tokenColumns+` where id = $1`, id)
	if err != nil {
		return Token{}, fmt.Errorf("find token %s: %w", id, err)
	}
	f, err := pgx.CollectExactlyOneRow(rows, scanToken)
	if errors.Is(err, pgx.ErrNoRows) {
		return Token{}, fmt.Errorf("%w: %s", ErrNoToken, id)
	}
	if err != nil {
		return Token{}, fmt.Errorf("find token %s: %w", id, err)
	}
	return f.Token, nil
}

// Revoke ends a token for good; it fails with ErrNoToken. In this process it
// takes effect before Revoke returns, in others within a second or so. To
// revoke one that is revoked changes nothing.
func (t *Tokens) Revoke(ctx context.Context, by Actor, id string) error {
	var digest []byte
	err := t.pool.QueryRow(ctx, `
		update identity.token
		set revoked_at = coalesce(revoked_at, $2), revoked_by = coalesce(revoked_by, $3)
		where id = $1
		returning digest`, id, t.now(), by.Person).Scan(&digest)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%w: %s", ErrNoToken, id)
	}
	if err != nil {
		return fmt.Errorf("revoke token %s: %w", id, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.revoked++
	t.asking.Forget(string(digest))
	t.known.Remove([sha256.Size]byte(digest))
	return nil
}

func (t *Tokens) revocations() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.revoked
}

// use remembers a last use, to be written by Run.
func (t *Tokens) use(token Token, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.used[token.ID] = now
}

// Run writes last uses once a minute and once more when ctx ends.
func (t *Tokens) Run(ctx context.Context) error {
	tick := time.NewTicker(useEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := t.writeUses(ctx); err != nil {
				t.logger.Warn("last uses of tokens are not written, next try in a minute", "error", err)
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			if err := t.writeUses(last); err != nil {
				t.logger.Warn("last uses of tokens are not written", "error", err)
			}
			return ctx.Err()
		}
	}
}

// writeUses writes what has been used since it was called last. What it could
// not write it keeps for the next time.
func (t *Tokens) writeUses(ctx context.Context) error {
	t.mu.Lock()
	uses := t.used
	t.used = map[string]time.Time{}
	t.mu.Unlock()
	if len(uses) == 0 {
		return nil
	}
	ids := slices.Sorted(maps.Keys(uses)) // in one order everywhere, so that processes do not lock each other out
	times := make([]time.Time, len(ids))
	for i, id := range ids {
		times[i] = uses[id]
	}
	_, err := t.pool.Exec(ctx, `
		update identity.token
		set last_used_at = used.at
		from unnest($1::text[], $2::timestamptz[]) as used (id, at)
		where token.id = used.id
		and (last_used_at is null or last_used_at < used.at)`, ids, times)
	if err != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		for id, at := range uses {
			if t.used[id].Before(at) {
				t.used[id] = at
			}
		}
	}
	return err
}

func orNull(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	return &at
}

func orZero(at *time.Time) time.Time {
	if at == nil {
		return time.Time{}
	}
	return *at
}

func notNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
