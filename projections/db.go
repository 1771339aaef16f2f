package projections

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"liuhen/domain"
	"liuhen/domain/rulebook"
)

// A DB is where the read models are and how far each has come. Many
// goroutines may use it.
type DB struct {
	pool   *pgxpool.Pool
	law    domain.Law             // that cases are folded by
	book   *rulebook.Book         // the same without files that agencies have put in force
	models map[string]*progress   // by name; the map does not change
	hurry  map[bool]chan struct{} // somebody waits for a position: of cases, and (true) of looks; the map does not change
}

// Open prepares the tables of every model, empty where they were missing.
// Cases are folded by law.
func Open(ctx context.Context, pool *pgxpool.Pool, law domain.Law) (*DB, error) {
	return open(ctx, pool, law, slices.Concat(All, Access))
}

func open(ctx context.Context, pool *pgxpool.Pool, law domain.Law, models []Projection) (*DB, error) {
	book, err := law.Under(nil)
	if err != nil {
		return nil, err
	}
	db := &DB{pool: pool, law: law, book: book, models: make(map[string]*progress, len(models)), hurry: map[bool]chan struct{}{false: make(chan struct{}, 1), true: make(chan struct{}, 1)}}
	for _, p := range models {
		at, err := ensure(ctx, pool, p)
		if err != nil {
			return nil, fmt.Errorf("prepare read model %s: %w", p.Name, err)
		}
		db.models[p.Name] = &progress{projection: p, at: at, moved: make(chan struct{}), state: Idle}
	}
	return db, nil
}

// A State says what a model is doing.
type State string

// The states of a model.
const (
	Idle    State = "idle"    // nobody here has begun to keep it
	Running State = "running" // it is kept by this process
	Standby State = "standby" // another process keeps it
	Filling State = "filling" // it is filled from the beginning, beside what can be read
	Waiting State = "waiting" // it cannot apply a batch; it tries again and skips nothing
)

// A Status tells how a model does.
type Status struct {
	Model    string    `json:"model"`
	Version  int       `json:"version"`
	Position uint64    `json:"position"` // its rows hold everything up to here
	State    State     `json:"state"`
	Error    string    `json:"error,omitempty"` // what it waits for
	Since    time.Time `json:"since,omitzero"`  // when it came into that state
}

// Status returns the state of every model, by name.
func (db *DB) Status() []Status {
	var all []Status
	for _, g := range db.models {
		all = append(all, g.status())
	}
	slices.SortFunc(all, func(a, b Status) int {
		if a.Model < b.Model {
			return -1
		}
		return 1
	})
	return all
}

// Position says up to where a model had come when this process last heard of
// it. It panics if there is no such model.
func (db *DB) Position(model string) uint64 { return db.progress(model).position() }

// Slowest is the smallest Position of the models of cases.
func (db *DB) Slowest() uint64 {
	slowest := ^uint64(0)
	for _, g := range db.models {
		if !g.projection.Looks {
			slowest = min(slowest, g.position())
		}
	}
	return slowest
}

// poll is how often a position is read from the database, should nobody tell
// it.
const poll = 200 * time.Millisecond

// Wait returns when the rows of a model hold everything up to a position, and
// says how far they go. It panics if there is no such model.
func (db *DB) Wait(ctx context.Context, model string, position uint64) (uint64, error) {
	g := db.progress(model)
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		at, moved := g.watch()
		if at >= position {
			return at, nil
		}
		if g.mayLook() {
			if _, err := db.look(ctx, g); err != nil {
				return at, err
			}
			continue
		}
		select { // those who keep the models need not gather more
		case db.hurry[g.projection.Looks] <- struct{}{}:
		default:
		}
		select {
		case <-moved:
		case <-tick.C:
		case <-ctx.Done():
			return at, fmt.Errorf("wait for %s to reach %d, it is at %d: %w", model, position, at, ctx.Err())
		}
	}
}

// WaitAll is Wait for every model of cases.
func (db *DB) WaitAll(ctx context.Context, position uint64) error {
	for name, g := range db.models {
		if g.projection.Looks {
			continue
		}
		if _, err := db.Wait(ctx, name, position); err != nil {
			return err
		}
	}
	return nil
}

// rest pauses, unless somebody waits for a position of cases, or of looks.
func (db *DB) rest(ctx context.Context, looks bool, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-db.hurry[looks]:
	case <-ctx.Done():
	}
}

// look reads a model's position from its schema.
func (db *DB) look(ctx context.Context, g *progress) (uint64, error) {
	at, err := readPosition(ctx, db.pool, g.projection.schema())
	if err != nil {
		return 0, fmt.Errorf("position of %s: %w", g.projection.Name, err)
	}
	g.advance(at)
	return at, nil
}

func (db *DB) progress(model string) *progress {
	g, ok := db.models[model]
	if !ok {
		panic("projections: no read model " + model)
	}
	return g
}

// channel is what a committed batch is announced on: "<schema> <position>".
const channel = "liuhen_read_models"

// listen keeps the positions that other processes write up to date. It
// returns when the connection fails or ctx ends.
func (db *DB) listen(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, db.pool.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, `listen `+channel); err != nil {
		return err
	}
	bySchema := make(map[string]*progress)
	for _, g := range db.models {
		bySchema[g.projection.schema()] = g
		if _, err := db.look(ctx, g); err != nil { // what was announced before we listened
			return err
		}
	}
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		var schema string
		var at uint64
		if _, err := fmt.Sscanf(n.Payload, "%s %d", &schema, &at); err != nil {
			return fmt.Errorf("announcement %q: %w", n.Payload, err)
		}
		if g, ok := bySchema[schema]; ok {
			g.advance(at)
		}
	}
}

// progress is how far a model has come and what it is doing.
type progress struct {
	projection Projection

	mu    sync.Mutex // guards what follows
	at    uint64
	moved chan struct{} // closed when at moves
	state State
	err   error
	since time.Time
	looks time.Time // when somebody who waits last read it from the database
}

// mayLook reports whether it is time to read the position from the database;
// of many who wait one does.
func (g *progress) mayLook() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.looks) < poll {
		return false
	}
	g.looks = time.Now()
	return true
}

// advance notes a position. Positions may come in any order: an answer can
// overtake an announcement.
func (g *progress) advance(at uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if at <= g.at {
		return
	}
	g.at = at
	close(g.moved)
	g.moved = make(chan struct{})
}

// restart notes that a model goes on from an earlier position: what was
// committed last can be lost when the database crashes.
func (g *progress) restart(at uint64) {
	g.mu.Lock()
	g.at = min(g.at, at)
	g.mu.Unlock()
	g.advance(at)
}

func (g *progress) position() uint64 { at, _ := g.watch(); return at }

func (g *progress) watch() (uint64, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.at, g.moved
}

func (g *progress) enter(state State, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state != state {
		g.since = time.Now()
	}
	g.state, g.err = state, err
}

func (g *progress) status() Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := Status{
		Model: g.projection.Name, Version: g.projection.Version, Position: g.at, State: g.state, Since: g.since,
	}
	if g.err != nil {
		s.Error = g.err.Error()
	}
	return s
}

// ErrCursor says that a cursor is not one that a list gave.
var ErrCursor = errors.New("not a cursor of this list")
