package projections

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"liuhen/domain/calendar"
)

// Numbers of items on a page.
const (
	DefaultLimit = 50
	MaxLimit     = 1000
)

// A Page says which part of a list is wanted.
type Page struct {
	Limit  int    // items; 0: DefaultLimit; never more than MaxLimit
	Cursor string // Next of the page before; empty: from the start
}

// A List is one page of an answer.
type List[T any] struct {
	Items    []T
	Next     string // cursor of the next page, empty on the last
	Position uint64 // the rows hold everything up to here, and nothing after it
}

// A question is a list that can be read in pages or as a whole.
type question[T any] struct {
	schema  string // of the model
	table   string
	columns []string // those of order among them
	where   where
	order   []sortKey // unique together, all in one direction
	down    bool      // descending
	scan    func(scan func(dest ...any) error) (T, error)
	key     func(T) []string // of order, as text
}

// A sortKey is a column that a list is sorted by.
type sortKey struct{ column, typ string }

// page answers with one page. Rows and position come from one statement, and
// so from one moment.
func (q question[T]) page(ctx context.Context, db querier, p Page) (List[T], error) {
	limit := min(p.Limit, MaxLimit)
	if limit <= 0 {
		limit = DefaultLimit
	}
	if p.Cursor != "" {
		if err := q.startAfter(p.Cursor); err != nil {
			return List[T]{}, err
		}
	}
	rows, err := db.Query(ctx, `
		select p.position, t.*
		from `+q.schema+`.position p
		left join lateral (`+q.inner()+`
			limit `+strconv.Itoa(limit+1)+`
		) t on true
		where p.one
		order by `+q.orderBy(), q.where.args...)
	if err != nil {
		return List[T]{}, err
	}
	var list List[T]
	err = forEach(rows, func() error {
		if rows.RawValues()[1] == nil { // no row but the position
			var position int64
			scan := make([]any, len(rows.RawValues()))
			scan[0] = &position
			err := rows.Scan(scan...)
			list.Position = uint64(position)
			return err
		}
		var position int64
		item, err := q.scan(func(dest ...any) error {
			return rows.Scan(append([]any{&position, nil}, dest...)...)
		})
		list.Position = uint64(position)
		list.Items = append(list.Items, item)
		return err
	})
	if p.Cursor != "" && strings.HasPrefix(code(err), "22") { // data exception: a cursor that we did not make
		err = ErrCursor
	}
	if err != nil {
		return List[T]{}, err
	}
	if len(list.Items) > limit {
		list.Items = list.Items[:limit]
		list.Next = cursor(q.key(list.Items[limit-1]))
	}
	return list, nil
}

// all answers with every item, as they were at one moment, and reads them
// from the database as they are asked for. header gets the position before the first
// item, also where there is none; it may be nil.
func (q question[T]) all(ctx context.Context, db *DB, header func(position uint64) error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		err := pgx.BeginTxFunc(ctx, db.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			at, err := readPosition(ctx, tx, q.schema)
			if err != nil {
				return err
			}
			if header != nil {
				if err := header(at); err != nil {
					return err
				}
			}
			rows, err := tx.Query(ctx, q.inner(), q.where.args...) //nolint:sqlclosecheck // forEach closes them
			if err != nil {
				return err
			}
			return forEach(rows, func() error {
				item, err := q.scan(func(dest ...any) error { return rows.Scan(append([]any{nil}, dest...)...) })
				if err != nil {
					return err
				}
				if !yield(item, nil) {
					return errEnough
				}
				return nil
			})
		})
		if err != nil && !errors.Is(err, errEnough) {
			var none T
			yield(none, err)
		}
	}
}

var errEnough = errors.New("the reader wants no more")

// count counts the rows, but no further than to most.
func (q question[T]) count(ctx context.Context, db querier, most int) (int, error) {
	var n int
	err := db.QueryRow(ctx, `
		select count(*)
		from (
			select
			from `+q.schema+`.`+q.table+` t`+q.where.sql()+`
			limit `+strconv.Itoa(most)+`
		) c`, q.where.args...).Scan(&n)
	return n, err
}

func (q question[T]) inner() string {
	return `
		select true as there, ` + strings.Join(q.columns, ", ") + `
		from ` + q.schema + `.` + q.table + ` t` + q.where.sql() + `
		order by ` + q.orderBy()
}

func (q question[T]) orderBy() string {
	var parts []string
	for _, k := range q.order {
		part := "t." + k.column
		if q.down {
			part += " desc"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

// startAfter narrows the question to what lies behind a cursor.
func (q *question[T]) startAfter(text string) error {
	values, err := readCursor(text, len(q.order))
	if err != nil {
		return err
	}
	var columns, marks []string
	var args []any
	for i, k := range q.order {
		columns = append(columns, "t."+k.column)
		marks = append(marks, "?::text::"+k.typ)
		args = append(args, values[i])
	}
	than := " > "
	if q.down {
		than = " < "
	}
	q.where.conditions = slices.Clone(q.where.conditions)
	q.where.args = slices.Clone(q.where.args)
	q.where.add("("+strings.Join(columns, ", ")+")"+than+"("+strings.Join(marks, ", ")+")", args...)
	return nil
}

func cursor(values []string) string {
	data, err := json.Marshal(values)
	if err != nil {
		panic("projections: cursor: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

// readCursor reads what cursor wrote of so many values.
func readCursor(text string, n int) ([]string, error) {
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, ErrCursor
	}
	var values []string
	if json.Unmarshal(data, &values) != nil || len(values) != n {
		return nil, ErrCursor
	}
	return values, nil
}

// where collects conditions and their arguments.
type where struct {
	conditions []string
	args       []any
}

// add adds a condition in which each ? stands for the next argument.
func (w *where) add(condition string, args ...any) {
	for _, a := range args {
		w.args = append(w.args, a)
		condition = strings.Replace(condition, "?", "$"+strconv.Itoa(len(w.args)), 1)
	}
	w.conditions = append(w.conditions, condition)
}

// is asks for a value in a column; the zero value asks for nothing.
func (w *where) is(column, value string) {
	if value != "" {
		w.add(column+" = ?", value)
	}
}

// oneOf asks for one of several values; none asks for nothing.
func (w *where) oneOf(column string, values []string) {
	if len(values) > 0 {
		w.add(column+" = any(?)", values)
	}
}

// between asks for days or moments from one to another, both included; zero
// ones ask for nothing.
func (w *where) days(column string, from, to calendar.Date) {
	if !from.IsZero() {
		w.add(column+" >= ?", day(from))
	}
	if !to.IsZero() {
		w.add(column+" <= ?", day(to))
	}
}

// within asks for moments of the days from one to another, both included.
func (w *where) within(column string, from, to calendar.Date) {
	if !from.IsZero() {
		w.add(column+" >= ?", from.Start())
	}
	if !to.IsZero() {
		w.add(column+" < ?", to.AddDays(1).Start())
	}
}

func (w *where) sql() string {
	if len(w.conditions) == 0 {
		return ""
	}
	return `
		where ` + strings.Join(w.conditions, ` and `)
}

// forEach runs do on each row and closes them.
func forEach(rows pgx.Rows, do func() error) error {
	defer rows.Close()
	for rows.Next() {
		if err := do(); err != nil {
			return err
		}
	}
	return rows.Err()
}

// day is a calendar.Date as a date of the database; zero is null.
type day calendar.Date

// DateValue is for pgx.
func (d day) DateValue() (pgtype.Date, error) {
	if calendar.Date(d).IsZero() {
		return pgtype.Date{}, nil
	}
	y, m, dd := calendar.Date(d).Date()
	return pgtype.Date{Time: time.Date(y, m, dd, 0, 0, 0, 0, time.UTC), Valid: true}, nil
}

// ScanDate is for pgx.
func (d *day) ScanDate(v pgtype.Date) error {
	*d = day{}
	if v.Valid {
		*d = day(calendar.MakeDate(v.Time.Year(), int(v.Time.Month()), v.Time.Day()))
	}
	return nil
}

// stamp writes a moment for a cursor, as exactly as the database keeps it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// orEmpty makes a list that is stored as an array, never null.
func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
