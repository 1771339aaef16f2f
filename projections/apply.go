package projections

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"liuhen/domain"
)

// errFenced says that the position of a model is not where its writer left it:
// another one writes.
var errFenced = errors.New("another process has moved the read model on")

// A writer writes one schema of one model, over a connection of its own.
type writer struct {
	db         *DB
	projection Projection
	schema     string
	conn       *pgx.Conn
	at         uint64 // what has been committed
	indexed    bool   // of one being filled: it has its indexes already
}

// openWriter connects and reads how far the schema has come.
func (db *DB) openWriter(ctx context.Context, p Projection, schema string) (*writer, error) {
	config := db.pool.Config().ConnConfig
	for name, value := range map[string]string{
		"application_name": "liuhen " + schema,
		"search_path":      schema,
		// Rows and position are lost together or not at all, and what is lost
		// is applied again: there is nothing to wait for the disk for.
		"synchronous_commit": "off",
		// A process that is stopped in the middle of a batch would hold the
		// position row, and so keep any other from going on.
		"idle_in_transaction_session_timeout": "30s",
		"statement_timeout":                   "120s",
	} {
		config.RuntimeParams[name] = value
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	w := &writer{db: db, projection: p, schema: schema, conn: conn}
	if w.at, err = readPosition(ctx, conn, schema); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *writer) close() { _ = w.conn.Close(context.Background()) }

// apply brings a batch into the tables: rows and position in one transaction.
// What the tables have already is left out. It fails with errFenced where
// another writer has been there; nothing was changed then.
func (w *writer) apply(ctx context.Context, b *Batch) error {
	b = b.after(w.at)
	if b == nil {
		return nil
	}
	if w.projection.Folds && b.folded != nil {
		return b.folded
	}
	if err := w.commit(ctx, b); err != nil {
		if errors.Is(err, errFenced) {
			return err
		}
		return fmt.Errorf("%s: apply %d to %d: %w", w.projection.Name, b.first, b.last, err)
	}
	w.at = b.last
	return nil
}

func (w *writer) commit(ctx context.Context, b *Batch) error {
	return pgx.BeginFunc(ctx, w.conn, func(tx pgx.Tx) error {
		// The position first: a second writer waits here, before it has done
		// any work, and finds out that it has lost.
		tag, err := tx.Exec(ctx, `
			with moved as (
				update position
				set position = $2
				where position = $1 and not closed
				returning position
			)
			select pg_notify('`+channel+`', $3::text || ' ' || position)
			from moved`, int64(w.at), int64(b.last), w.schema)
		if err != nil {
			return err
		}
		if tag.RowsAffected() != 1 {
			return errFenced
		}
		return w.projection.Apply(ctx, tx, b)
	})
}

// after returns the part of the batch that lies after a position, nil if there
// is none.
func (b *Batch) after(at uint64) *Batch {
	switch {
	case b.first > b.last: // cases alone
		return b
	case b.last <= at:
		return nil
	case b.first > at+1:
		panic(fmt.Sprintf("projections: batch from %d on a model at %d", b.first, at))
	case b.first == at+1:
		return b
	}
	part := *b
	part.first = at + 1
	skip := int(part.first - b.first)
	if len(b.Looks) > 0 {
		part.Looks = b.Looks[skip:]
		return &part
	}
	part.Records = b.Records[skip:]
	begun := make(map[domain.CaseID]bool) // touched cases, and whether they begin in part
	for _, r := range part.Records {
		begun[r.Subject] = begun[r.Subject] || r.Revision == 1
	}
	part.Cases = slices.Clone(b.Cases)
	part.Cases = slices.DeleteFunc(part.Cases, func(c CaseState) bool { _, touched := begun[c.ID]; return !touched })
	for i, c := range part.Cases {
		part.Cases[i].New = begun[c.ID]
	}
	return &part
}

// copyRows adds rows to a table. PostgreSQL's text cannot hold the character
// zero, which JSON can: it is replaced, for a model must not stop at it.
func copyRows(ctx context.Context, tx pgx.Tx, table string, columns []string, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	for _, row := range rows {
		for i, v := range row {
			switch v := v.(type) {
			case string:
				row[i] = withoutZero(v)
			case []string:
				for j := range v {
					v[j] = withoutZero(v[j])
				}
			}
		}
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromRows(rows))
	return err
}

func withoutZero(s string) string {
	if strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(s, "\x00", "\uFFFD")
}
