package projections

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
)

// CopyRows copies the rows of a model, as they are, into empty tables of its
// kind with all their indexes, and drops these again: it measures how fast
// the database alone can take them, to set beside a rebuild. The time is that
// of the copying in alone.
func CopyRows(ctx context.Context, db *DB, model string) (rows int64, took time.Duration, err error) {
	p := db.progress(model).projection
	return copyFrom(ctx, db, p, p.schema())
}

func copyFrom(ctx context.Context, db *DB, p Projection, schema string) (rows int64, took time.Duration, err error) {
	const raw = "_raw"
	err = pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error { return create(ctx, tx, p, p.schema()+raw, true) })
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, drop(context.WithoutCancel(ctx), db.pool, p.schema()+raw)) }()
	all, err := tables(ctx, db.pool, schema)
	if err != nil {
		return 0, 0, err
	}
	for _, t := range all {
		n, d, err := t.copyFrom(ctx, db, schema, p.schema()+raw)
		if err != nil {
			return 0, 0, fmt.Errorf("copy the rows of %s: %w", t.name, err)
		}
		rows, took = rows+n, took+d
	}
	return rows, took, nil
}

func (t table) copyFrom(ctx context.Context, db *DB, from, to string) (rows int64, took time.Duration, err error) {
	file, err := os.CreateTemp("", "liuhen-rows-")
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	conn, err := db.pool.Acquire(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Release()
	pg := conn.Conn().PgConn()
	if _, err := pg.CopyTo(ctx, file, "copy (select * from "+from+"."+t.name+" order by 1) to stdout (format binary)"); err != nil {
		return 0, 0, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return 0, 0, err
	}
	began := time.Now()
	tag, err := pg.CopyFrom(ctx, file, "copy "+to+"."+t.name+" from stdin (format binary)")
	return tag.RowsAffected(), time.Since(began), err
}
