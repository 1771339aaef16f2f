package projections

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Endings of the schemas that lie beside the one that is read.
const (
	next = "_next" // being filled
	old  = "_old"  // replaced, and about to be dropped
)

// A querier asks the database; pools, connections and transactions do.
type querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// ensure makes the tables of a model where they are missing and returns its
// position. Processes that start together take turns.
func ensure(ctx context.Context, pool *pgxpool.Pool, p Projection) (uint64, error) {
	var at uint64
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1)`, lockKey(p.schema())); err != nil {
			return err
		}
		there, err := exists(ctx, tx, p.schema())
		if err != nil {
			return err
		}
		if !there {
			if err := create(ctx, tx, p, p.schema(), true); err != nil {
				return err
			}
		}
		if err := closable(ctx, tx, p.schema()); err != nil {
			return err
		}
		at, err = readPosition(ctx, tx, p.schema())
		return err
	})
	return at, err
}

// closable adds the mark of replaced tables where they were made before there
// was one.
func closable(ctx context.Context, tx pgx.Tx, schema string) error {
	var there bool
	err := tx.QueryRow(ctx, `
		select exists (
			select from pg_attribute
			where attrelid = ($1 || '.position')::regclass and attname = 'closed'
		)`, schema).Scan(&there)
	if err != nil || there {
		return err
	}
	_, err = tx.Exec(ctx, `alter table `+schema+`.position add column closed boolean not null default false`)
	return err
}

// create makes an empty schema of a model, at position 0.
func create(ctx context.Context, tx pgx.Tx, p Projection, schema string, indexes bool) error {
	sql := `
		create schema ` + schema + `;
		set local search_path to ` + schema + `;
		create table position (
			one      boolean primary key default true check (one), -- there is one row
			position bigint  not null,
			closed   boolean not null default false -- replaced: a late reader may still read it, nobody may write
		);
		insert into position (position) values (0);` + p.Schema + ";"
	if indexes {
		sql += p.Indexes
	}
	if _, err := tx.Exec(ctx, sql); err != nil {
		return fmt.Errorf("create schema %s: %w", schema, err)
	}
	return nil
}

func exists(ctx context.Context, q querier, schema string) (bool, error) {
	var there bool
	err := q.QueryRow(ctx, `select exists (select from pg_namespace where nspname = $1)`, schema).Scan(&there)
	return there, err
}

func readPosition(ctx context.Context, q querier, schema string) (uint64, error) {
	var at int64
	err := q.QueryRow(ctx, `select position from `+schema+`.position`).Scan(&at)
	return uint64(at), err
}

func drop(ctx context.Context, q querier, schema string) error {
	_, err := q.Exec(ctx, `drop schema if exists `+schema+` cascade`)
	return err
}

// lockKey is the advisory lock for a name.
func lockKey(name string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte("liuhen projections " + name)) // never fails
	return int64(h.Sum64())
}

// code is the SQLSTATE of an error of the database, "" for others.
func code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}
