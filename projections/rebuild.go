package projections

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"
)

const (
	fillBatch  = 16_384 // records applied at once while filling
	fillMemory = 32_768 // folded cases kept while filling
	shown      = 20     // differences that a report shows of each table
)

// ErrRebuilding says that read models are being filled already.
var ErrRebuilding = errors.New("read models are being filled by another already")

// A Progress tells how far a rebuild is with a model.
type Progress struct {
	Model    string `json:"model"`
	Phase    string `json:"phase"` // fill, index, compare, switch, done
	Position uint64 `json:"position"`
	Target   uint64 `json:"target"`
}

// A Report tells what a rebuild found of each model.
type Report struct {
	Models []ModelReport `json:"models"`
}

// Clean reports whether every model was as it should be.
func (r Report) Clean() bool {
	return !slices.ContainsFunc(r.Models, func(m ModelReport) bool { return m.Differences > 0 })
}

// A ModelReport tells how the rows that were read until now compare with those
// that were made anew from the record.
type ModelReport struct {
	Model       string       `json:"model"`
	Version     int          `json:"version"`
	Position    uint64       `json:"position"` // at which the two were compared
	Rows        int64        `json:"rows"`     // made anew
	Differences int64        `json:"differences"`
	Examples    []Difference `json:"examples,omitempty"` // the first of each table
	Filled      float64      `json:"filled"`             // seconds from the start until rows and indexes were there; models are filled together
	Seconds     float64      `json:"seconds"`            // from the start until it was read
}

// A Difference is a row that was not as it should be.
type Difference struct {
	Table string          `json:"table"`
	Key   json.RawMessage `json:"key"`
	Was   json.RawMessage `json:"was"` // null: it was missing
	Is    json.RawMessage `json:"is"`  // null: it should not have been there
}

// Rebuild fills read models anew from the record, beside those that are read,
// compares the two row by row at the same position, and puts the new ones in
// the place of the old, whatever the comparison says: the record is the truth.
// Reading goes on all the while, and so does the keeping of the models.
//
// Without names it is every model of cases. Names of both streams at once are
// an error. progress may be nil. One rebuild runs at a time: ErrRebuilding.
func Rebuild(ctx context.Context, db *DB, store Store, names []string, progress func(Progress)) (Report, error) {
	models := All
	if len(names) > 0 {
		var err error
		if models, err = named(slices.Concat(All, Access), names...); err != nil {
			return Report{}, err
		}
	}
	return rebuild(ctx, db, store, models, progress)
}

// Audit is Rebuild without the switch: models are filled anew beside those that are
// read, up to a position, and compared with them row by row. What is read stays as
// it is, faults and all, until somebody rebuilds.
func Audit(ctx context.Context, db *DB, store Store, names []string, progress func(Progress)) (Report, error) {
	models := All
	if len(names) > 0 {
		var err error
		if models, err = named(slices.Concat(All, Access), names...); err != nil {
			return Report{}, err
		}
	}
	return anew(ctx, db, store, models, progress, false)
}

func rebuild(ctx context.Context, db *DB, store Store, models []Projection, tell func(Progress)) (Report, error) {
	return anew(ctx, db, store, models, tell, true)
}

// anew fills models anew, compares, and switches to them if asked to.
func anew(ctx context.Context, db *DB, store Store, models []Projection, tell func(Progress), change bool) (Report, error) {
	if slices.ContainsFunc(models, func(p Projection) bool { return p.Looks != models[0].Looks }) {
		return Report{}, errors.New("the access trail is rebuilt by itself")
	}
	if tell == nil {
		tell = func(Progress) {}
	}
	began := time.Now()
	var report Report
	err := db.alone(ctx, models, func(ctx context.Context) error {
		target := ^uint64(0)
		for _, p := range models {
			at, err := readPosition(ctx, db.pool, p.schema())
			if err != nil {
				return err
			}
			target = min(target, at)
		}
		writers, err := fill(ctx, db, store, models, target, tell)
		defer closeAll(writers)
		if err != nil {
			return err
		}
		for _, w := range writers {
			m, err := replace(ctx, w, store, began, tell, change)
			if err != nil {
				return fmt.Errorf("rebuild %s: %w", w.projection.Name, err)
			}
			m.Seconds = time.Since(began).Seconds()
			report.Models = append(report.Models, m)
		}
		return nil
	})
	return report, err
}

// fillFirst fills models that have never been filled, up to a position.
func fillFirst(ctx context.Context, db *DB, store Store, models []Projection, target uint64) error {
	return db.alone(ctx, models, func(ctx context.Context) error {
		writers, err := fill(ctx, db, store, models, target, func(Progress) {})
		defer closeAll(writers)
		if err != nil {
			return err
		}
		for _, w := range writers {
			if err := w.finish(ctx); err != nil {
				return err
			}
			if err := w.take(ctx, store); err != nil {
				return err
			}
		}
		return nil
	})
}

// alone runs do while nobody else fills, and clears away what was left beside
// the models before and after.
func (db *DB) alone(ctx context.Context, models []Projection, do func(context.Context) error) (err error) {
	conn, err := pgx.ConnectConfig(ctx, db.pool.Config().ConnConfig) // its end is the end of the lock
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var mine bool
	if err := conn.QueryRow(ctx, `select pg_try_advisory_lock($1)`, lockKey("rebuild")).Scan(&mine); err != nil {
		return err
	}
	if !mine {
		return ErrRebuilding
	}
	if err := clear(ctx, conn, models); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, clear(context.WithoutCancel(ctx), conn, models)) }()
	return do(ctx)
}

// clear drops what lies beside the schemas of models: half-filled ones,
// replaced ones, and those of other versions.
func clear(ctx context.Context, conn *pgx.Conn, models []Projection) error {
	for _, p := range models {
		rows, err := conn.Query(ctx, `
			select nspname
			from pg_namespace
			where nspname ~ $1 and nspname <> $2`,
			`^`+p.Name+`_v[0-9]+(`+next+`|`+old+`)?$`, p.schema())
		if err != nil {
			return err
		}
		schemas, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, schema := range schemas {
			if err := dropPatiently(ctx, conn, schema); err != nil {
				return fmt.Errorf("drop schema %s: %w", schema, err)
			}
		}
	}
	return nil
}

// dropPatiently drops a schema that some long reading may still go on in. It
// does not stand in the queue for longer than a moment.
func dropPatiently(ctx context.Context, conn *pgx.Conn, schema string) error {
	if _, err := conn.Exec(ctx, `set lock_timeout to '1s'`); err != nil {
		return err
	}
	for try := 0; ; try++ {
		err := drop(ctx, conn, schema)
		if code(err) != "55P03" || try == 120 { // lock_not_available
			return err
		}
		if !pause(ctx, poll) {
			return ctx.Err()
		}
	}
}

// fill makes schemas beside those of the models and fills them up to a
// position. Nothing can be read from them on the way.
func fill(ctx context.Context, db *DB, store Store, models []Projection, target uint64, tell func(Progress)) (writers []*writer, err error) {
	f := newFolder(db, store, fillMemory, models...)
	f.back = true
	if err := f.chooseTimeline(ctx, models, target); err != nil {
		return nil, err
	}
	for _, p := range models {
		indexed := p.schema()+next == f.schema
		err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
			return create(ctx, tx, p, p.schema()+next, indexed)
		})
		if err != nil {
			return writers, err
		}
		w, err := db.openWriter(ctx, p, p.schema()+next)
		if err != nil {
			return writers, err
		}
		w.indexed = indexed
		writers = append(writers, w)
	}
	err = copyUp(ctx, f, writers, fillBatch, func() uint64 { return target }, func() {
		for _, w := range writers {
			tell(Progress{Model: w.projection.Name, Phase: "fill", Position: w.at, Target: target})
		}
	})
	if err != nil {
		return writers, err
	}
	for cases := range slices.Chunk(f.flush(), fillBatch) {
		for _, w := range writers {
			if !w.projection.Folds {
				continue
			}
			b := &Batch{Cases: cases, first: target + 1, last: target}
			f.equip(b, target)
			if err := w.apply(ctx, b); err != nil {
				return writers, err
			}
		}
	}
	return writers, nil
}

// chooseTimeline decides where cases that have left memory are read from:
// what is read now, or, where that does not reach far enough, the timeline
// that is being filled, which then gets its index at once.
func (f *folder) chooseTimeline(ctx context.Context, models []Projection, target uint64) error {
	if f.idle {
		return nil
	}
	at, err := readPosition(ctx, f.db.pool, timeline.schema())
	if err != nil {
		return err
	}
	if _, filled := model(models, timeline.Name); filled && at < target {
		f.schema = timeline.schema() + next
	}
	return nil
}

func closeAll(writers []*writer) {
	for _, w := range writers {
		w.close()
	}
}

// replace compares a filled model with the one that is read and, if asked to, puts
// it in its place.
func replace(ctx context.Context, w *writer, store Store, began time.Time, tell func(Progress), change bool) (ModelReport, error) {
	phase := func(name string) {
		tell(Progress{Model: w.projection.Name, Phase: name, Position: w.at, Target: w.at})
	}
	m := ModelReport{Model: w.projection.Name, Version: w.projection.Version}
	phase("index")
	if err := w.finish(ctx); err != nil {
		return m, err
	}
	m.Filled = time.Since(began).Seconds()
	phase("compare")
	snapshot, err := w.snapshot(ctx, store)
	if err != nil {
		return m, err
	}
	m.Position = w.at
	err = compare(ctx, snapshot, w, &m)
	if err := errors.Join(err, snapshot.Rollback(ctx)); err != nil {
		return m, err
	}
	if change {
		phase("switch")
		if err := w.take(ctx, store); err != nil {
			return m, err
		}
	}
	phase("done")
	return m, nil
}

// finish makes what only questions need: indexes, several at a time, and the
// statistics that plans are made by.
func (w *writer) finish(ctx context.Context) error {
	if !w.indexed {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(runtime.GOMAXPROCS(0))
		for statement := range strings.SplitSeq(w.projection.Indexes, ";") {
			g.Go(func() error { return w.beside(ctx, statement) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	all, err := tables(ctx, w.db.pool, w.schema)
	if err != nil {
		return err
	}
	for _, t := range all {
		if err := w.beside(ctx, `analyze `+t.name); err != nil {
			return err
		}
	}
	return nil
}

// beside runs a statement in the writer's schema on a connection without time
// limits.
func (w *writer) beside(ctx context.Context, statement string) error {
	return pgx.BeginFunc(ctx, w.db.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local search_path to `+w.schema); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, statement)
		return err
	})
}

// hold locks the position of the model that is read, so that it stands still
// until tx ends, and brings the new one to it.
func (w *writer) hold(ctx context.Context, tx pgx.Tx, store Store) error {
	var at int64
	live := w.projection.schema()
	if err := tx.QueryRow(ctx, `select position from `+live+`.position for update`).Scan(&at); err != nil {
		return err
	}
	return w.catchUp(ctx, store, uint64(at))
}

func (w *writer) catchUp(ctx context.Context, store Store, to uint64) error {
	return copyUp(ctx, newFolder(w.db, store, 2*maxBatch, w.projection), []*writer{w}, maxBatch, func() uint64 { return to }, func() {})
}

// approach brings the new model close to the one that is read, which goes on
// meanwhile, so that hold is short.
func (w *writer) approach(ctx context.Context, store Store) error {
	for {
		at, err := readPosition(ctx, w.db.pool, w.projection.schema())
		if err != nil {
			return err
		}
		far := at > w.at+maxBatch
		if err := w.catchUp(ctx, store, at); err != nil || !far {
			return err
		}
	}
}

// snapshot opens a view of the database in which the new model and the one
// that is read are at the same position. It holds the latter up for no longer
// than that takes.
func (w *writer) snapshot(ctx context.Context, store Store) (pgx.Tx, error) {
	if err := w.approach(ctx, store); err != nil {
		return nil, err
	}
	var snapshot pgx.Tx
	err := pgx.BeginFunc(ctx, w.db.pool, func(lock pgx.Tx) error {
		if err := w.hold(ctx, lock, store); err != nil {
			return err
		}
		var err error
		snapshot, err = w.db.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
		if err != nil {
			return err
		}
		_, err = snapshot.Exec(ctx, `select position from `+w.schema+`.position`) // the first statement takes it
		return err
	})
	if err != nil && snapshot != nil {
		err = errors.Join(err, snapshot.Rollback(ctx))
	}
	return snapshot, err
}

// take puts the new schema in the place of the one that is read, in one
// transaction. Statements under way finish in the old one, which says to them
// what it always said: a statement can have found its tables before the switch
// and see the rows as they are after it. Whoever was about to write to the old one
// finds it closed, and looks anew.
func (w *writer) take(ctx context.Context, store Store) error {
	if err := w.approach(ctx, store); err != nil {
		return err
	}
	live := w.projection.schema()
	err := pgx.BeginFunc(ctx, w.db.pool, func(tx pgx.Tx) error {
		if err := w.hold(ctx, tx, store); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			update `+live+`.position set closed = true;
			alter schema `+live+` rename to `+live+old+`;
			alter schema `+w.schema+` rename to `+live)
		return err
	})
	if err != nil {
		return fmt.Errorf("switch to the new tables: %w", err)
	}
	w.db.progress(w.projection.Name).advance(w.at)
	return nil
}

// A table is one of a model, with the columns of its primary key.
type table struct {
	name string
	key  []string
}

// tables are those of a schema, but for the position.
func tables(ctx context.Context, q querier, schema string) ([]table, error) {
	rows, err := q.Query(ctx, `
		select c.relname, array_agg(a.attname::text order by array_position(i.indkey::int2[], a.attnum))
		from pg_class c
		join pg_index i on i.indrelid = c.oid and i.indisprimary
		join pg_attribute a on a.attrelid = c.oid and a.attnum = any(i.indkey)
		where c.relnamespace = to_regnamespace($1) and c.relname <> 'position'
		group by c.relname
		order by c.relname`, schema)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (t table, err error) {
		return t, row.Scan(&t.name, &t.key)
	})
}

// compare sets the tables of the new model beside those that are read: rows
// with the same key must be the same in every column.
func compare(ctx context.Context, tx pgx.Tx, w *writer, m *ModelReport) error {
	all, err := tables(ctx, tx, w.schema)
	if err != nil {
		return err
	}
	for _, t := range all {
		if err := t.compare(ctx, tx, w.projection.schema(), w.schema, m); err != nil {
			return fmt.Errorf("compare %s: %w", t.name, err)
		}
	}
	return nil
}

func (t table) compare(ctx context.Context, tx pgx.Tx, live, fresh string, m *ModelReport) error {
	var rows int64
	if err := tx.QueryRow(ctx, `select count(*) from `+fresh+`.`+t.name).Scan(&rows); err != nil {
		return err
	}
	m.Rows += rows

	var on, key []string
	for _, c := range t.key {
		on = append(on, "l."+c+" = n."+c)
		key = append(key, "'"+c+"', coalesce(l."+c+", n."+c+")")
	}
	answer, err := tx.Query(ctx, `
		select
			jsonb_build_object(`+strings.Join(key, ", ")+`),
			case when l.`+t.key[0]+` is not null then to_jsonb(l) end,
			case when n.`+t.key[0]+` is not null then to_jsonb(n) end,
			count(*) over ()
		from `+live+`.`+t.name+` l
		full join `+fresh+`.`+t.name+` n on `+strings.Join(on, " and ")+`
		where row(l.*) is distinct from row(n.*)
		limit $1`, shown)
	if err != nil {
		return err
	}
	var d Difference
	var count int64
	_, err = pgx.ForEachRow(answer, []any{&d.Key, &d.Was, &d.Is, &count}, func() error {
		m.Examples = append(m.Examples, Difference{
			Table: t.name, Key: slices.Clone(d.Key), Was: slices.Clone(d.Was), Is: slices.Clone(d.Is),
		})
		return nil
	})
	m.Differences += count
	return err
}

var _ querier = (*pgxpool.Pool)(nil)
