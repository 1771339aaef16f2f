package projections

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"liuhen/domain"
	"liuhen/domain/calendar"
)

// What was, asked of the timeline: it has every record, so that a case, or a list
// of cases, can be made as it was at any position of the log.

// RecordedAt is when the record at a position was made. It returns false where
// the timeline has none there.
func (db *DB) RecordedAt(ctx context.Context, position uint64) (time.Time, bool, error) {
	if position > math.MaxInt64 {
		return time.Time{}, false, nil
	}
	var at time.Time
	err := db.pool.QueryRow(ctx, `
		select recorded_at
		from `+timeline.schema()+`.record
		where position = $1`, int64(position)).Scan(&at)
	if errors.Is(err, pgx.ErrNoRows) {
		return time.Time{}, false, nil
	}
	if err != nil {
		return time.Time{}, false, fmt.Errorf("time of position %d: %w", position, err)
	}
	return at, true, nil
}

// reordered is by how many positions two records can stand in another order than
// that in which they were made: what waits to be written while others are, and
// the clocks of several processes.
const reordered = 100_000

// PositionAt is the position of the log up to which every record had been made by
// a time, and no record after it counts, so that what is shown of it is one state
// of the log. It is 0 where the first record was made later. A record that was
// made by then and stands behind one made later is left out: it was not on disk.
//
// It asks for about as many rows as the number of records has binary digits.
func (db *DB) PositionAt(ctx context.Context, t time.Time) (uint64, error) {
	fail := func(err error) (uint64, error) {
		return 0, fmt.Errorf("position at %s: %w", t.Format(time.RFC3339), err)
	}
	head, err := readPosition(ctx, db.pool, timeline.schema())
	if err != nil {
		return fail(err)
	}
	low, high := uint64(1), head+1 // the first record made later lies between the two
	for low < high {
		middle := low + (high-low)/2
		at, there, err := db.RecordedAt(ctx, middle)
		if err == nil && !there {
			err = fmt.Errorf("the timeline has no record at position %d", middle)
		}
		if err != nil {
			return fail(err)
		}
		if at.After(t) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	// Records stand nearly in the order of their times: one made later can stand
	// a little before.
	for {
		var earlier *int64
		err := db.pool.QueryRow(ctx, `
			select min(position)
			from `+timeline.schema()+`.record
			where position < $1 and position >= $1 - $2 and recorded_at > $3`, int64(low), int64(reordered), t).Scan(&earlier)
		if err != nil {
			return fail(err)
		}
		if earlier == nil {
			return low - 1, nil
		}
		low = uint64(*earlier)
	}
}

// A Period is what was recorded after one position of the log and up to another.
type Period struct {
	Agencies       []string // of these; none: of all
	Procedure      string   // empty: any
	After, Through uint64
}

func (p Period) where() where {
	var q where
	q.add("r.position > ?", int64(p.After))
	q.add("r.position <= ?", int64(p.Through))
	q.oneOf("r.agency", p.Agencies)
	q.is("r.procedure", p.Procedure)
	return q
}

// CountBetween counts the records of a period.
func (db *DB) CountBetween(ctx context.Context, p Period) (int64, error) {
	q := p.where()
	var n int64
	err := db.pool.QueryRow(ctx, `
		select count(*)
		from `+timeline.schema()+`.record r`+q.sql(), q.args...).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count the records of a period: %w", err)
	}
	return n, nil
}

// casesOfPeriod is how many cases EachCaseBetween hands out at once, at the most.
const casesOfPeriod = 200

// EachCaseBetween returns the cases of which something was recorded in a period,
// each with all of its records up to the end of the period, some cases at a time,
// in the order of their first record in it. Two statements are asked for each
// group, and nothing is held in the database between them: memory is one group.
func (db *DB) EachCaseBetween(ctx context.Context, p Period) iter.Seq2[[][]domain.Recorded, error] {
	return db.eachCaseBetween(ctx, p, casesOfPeriod)
}

func (db *DB) eachCaseBetween(ctx context.Context, p Period, limit int) iter.Seq2[[][]domain.Recorded, error] {
	return func(yield func([][]domain.Recorded, error) bool) {
		fail := func(err error) { yield(nil, fmt.Errorf("read the cases of a period: %w", err)) }
		for after := p.After; ; {
			ids, last, err := db.casesBetween(ctx, p, after, limit)
			if err != nil {
				fail(err)
				return
			}
			if len(ids) == 0 {
				return
			}
			found, err := db.load(ctx, timeline.schema(), ids, p.Through+1)
			if err != nil {
				fail(err)
				return
			}
			group := make([][]domain.Recorded, len(ids))
			for i, id := range ids {
				group[i] = found.cases[id]
			}
			if !yield(group, nil) || len(ids) < limit {
				return
			}
			after = last
		}
	}
}

// casesBetween are the next cases of a period by their first record in it, and
// the position of the last of these.
func (db *DB) casesBetween(ctx context.Context, p Period, after uint64, limit int) ([]domain.CaseID, uint64, error) {
	q := p.where()
	q.add("r.position > ?", int64(after))
	q.add(`not exists (
				select
				from `+timeline.schema()+`.record e
				where e.case_id = r.case_id and e.position > ? and e.position < r.position
			)`, int64(p.After))
	rows, err := db.pool.Query(ctx, `
		select r.case_id, r.position
		from `+timeline.schema()+`.record r`+q.sql()+`
		order by r.position
		limit `+strconv.Itoa(limit), q.args...)
	if err != nil {
		return nil, 0, err
	}
	var ids []domain.CaseID
	var id string
	var position int64
	_, err = pgx.ForEachRow(rows, []any{&id, &position}, func() error {
		ids = append(ids, domain.CaseID(id))
		return nil
	})
	return ids, uint64(position), err
}

// readForPage is how many records are read, at the most and for whole cases, for
// one page of a list of the past.
const readForPage = 20_000

// A pastList is a list of cases, or of what cases have, as it was at a position.
// There is no table of it: the cases are folded from their records, in the order of
// their ids, as they are asked for.
type pastList[T any] struct {
	of    caseRange
	items func(*domain.Case) []T // those of one case, filtered, in their order
}

// page answers with one page. It reads no more than readForPage records and those
// of one case: where few cases pass the filter a page has fewer items than asked
// for, or none, and there is a next one all the same.
func (l pastList[T]) page(ctx context.Context, db *DB, p Page, most int) (List[T], error) {
	limit := min(p.Limit, MaxLimit)
	if limit <= 0 {
		limit = DefaultLimit
	}
	passed := 0 // items of the first case that were on an earlier page
	if p.Cursor != "" {
		values, err := readCursor(p.Cursor, 2)
		if err != nil {
			return List[T]{}, err
		}
		if passed, err = strconv.Atoi(values[1]); err != nil || passed < 0 || domain.Token(values[0]) != "" {
			return List[T]{}, ErrCursor
		}
		l.of.from = domain.CaseID(values[0])
	}
	list := List[T]{Items: []T{}, Position: l.of.through}
	begin, read := l.of.from, 0
	for records, err := range db.casesFrom(ctx, l.of, recordsRead) {
		if err != nil {
			return List[T]{}, err
		}
		id := records[0].Subject
		if len(list.Items) == limit || read >= most {
			list.Next = cursor([]string{string(id), "0"})
			return list, nil
		}
		read += len(records)
		items, err := l.fold(db, records)
		if err != nil {
			return List[T]{}, err
		}
		skip := 0
		if id == begin {
			skip = min(passed, len(items))
		}
		room := limit - len(list.Items)
		if len(items)-skip > room {
			list.Items = append(list.Items, items[skip:skip+room]...)
			list.Next = cursor([]string{string(id), strconv.Itoa(skip + room)})
			return list, nil
		}
		list.Items = append(list.Items, items[skip:]...)
	}
	return list, nil
}

func (l pastList[T]) fold(db *DB, records []domain.Recorded) ([]T, error) {
	c, err := domain.Replay(db.book, records)
	if err != nil {
		return nil, err
	}
	return l.items(c), nil
}

// all answers with every item, as pages do.
func (l pastList[T]) all(ctx context.Context, db *DB, header func(position uint64) error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		if header != nil {
			if err := header(l.of.through); err != nil {
				yield(none, err)
				return
			}
		}
		for records, err := range db.casesFrom(ctx, l.of, recordsRead) {
			var items []T
			if err == nil {
				items, err = l.fold(db, records)
			}
			if err != nil {
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
		}
	}
}

// LedgerAt is the ledger as it was at a position of the log, which the timeline
// must have come to, in the order of the cases' ids. Every case that the agency and
// the procedure of the filter leave is read and folded on the way, so that a page
// can cost the reading of 20,000 records; see pastList.page.
func (db *DB) LedgerAt(ctx context.Context, f LedgerFilter, at uint64, p Page) (List[LedgerEntry], error) {
	list, err := f.past(at).page(ctx, db, p, readForPage)
	if err != nil {
		return list, fmt.Errorf("ledger at position %d: %w", at, err)
	}
	return list, nil
}

// EachLedgerAt is LedgerAt without pages; see EachLedger.
func (db *DB) EachLedgerAt(ctx context.Context, f LedgerFilter, at uint64, header func(position uint64) error) iter.Seq2[LedgerEntry, error] {
	return f.past(at).all(ctx, db, header)
}

func (f LedgerFilter) past(at uint64) pastList[LedgerEntry] {
	return pastList[LedgerEntry]{
		of: caseRange{agencies: f.Agencies, procedure: f.Procedure, cases: f.Cases, through: at},
		items: func(c *domain.Case) []LedgerEntry {
			if e := entryOf(c); f.has(&e) {
				return []LedgerEntry{e}
			}
			return nil
		},
	}
}

// has reports whether an entry passes the filter, as question has the database do it.
func (f LedgerFilter) has(e *LedgerEntry) bool {
	found := 0
	for _, n := range e.Findings {
		found += n
	}
	names := searchable(e.Parties...)
	return (f.Officer == "" || slices.Contains(e.Officers, f.Officer)) &&
		(f.Stage == "" || e.Stage == f.Stage) &&
		(f.From.IsZero() || !e.Opened.Before(f.From)) &&
		(f.To.IsZero() || !e.Opened.After(f.To)) &&
		(f.Closed == nil || e.Closed == *f.Closed) &&
		(!f.Findings || found > 0) &&
		contains(f.Query, searchable(e.searched()...), names) &&
		contains(f.Party, names)
}

// contains reports whether each word of a query stands in one of the texts, which
// are searchable; one character alone must begin a line. See where.search.
func contains(query string, texts ...string) bool {
	for word := range strings.FieldsSeq(query) {
		word = normal(word)
		if word == "" {
			continue
		}
		begins := len([]rune(word)) == 1
		if !slices.ContainsFunc(texts, func(text string) bool {
			if begins {
				return strings.HasPrefix(text, word) || strings.Contains(text, "\n"+word)
			}
			return strings.Contains(text, word)
		}) {
			return false
		}
	}
	return true
}

// DeadlinesAt are limits as they stood at a position of the log: those that ran,
// or with Done those that had ended, by the filter's Now, in the order of the cases'
// ids. calendars are what agencies counted days by then; nil: the book's own. What
// it costs is as with LedgerAt.
func (db *DB) DeadlinesAt(ctx context.Context, f DeadlinesFilter, at uint64, calendars func(agency string) *calendar.Calendar, p Page) (List[DeadlineItem], error) {
	list, err := f.past(db, at, calendars).page(ctx, db, p, readForPage)
	if err != nil {
		return list, fmt.Errorf("deadlines at position %d: %w", at, err)
	}
	return list, nil
}

// EachDeadlineAt is DeadlinesAt without pages; see EachLedger.
func (db *DB) EachDeadlineAt(ctx context.Context, f DeadlinesFilter, at uint64, calendars func(agency string) *calendar.Calendar, header func(position uint64) error) iter.Seq2[DeadlineItem, error] {
	return f.past(db, at, calendars).all(ctx, db, header)
}

func (f DeadlinesFilter) past(db *DB, at uint64, calendars func(agency string) *calendar.Calendar) pastList[DeadlineItem] {
	l := pastList[DeadlineItem]{of: caseRange{agencies: f.Agencies, procedure: f.Procedure, through: at}}
	if f.Case != "" {
		l.of.cases = []domain.CaseID{f.Case}
	}
	l.items = func(c *domain.Case) []DeadlineItem {
		var cal *calendar.Calendar
		if calendars != nil {
			cal = calendars(c.Agency)
		}
		return slices.DeleteFunc(f.itemsOf(db, c, cal), func(d DeadlineItem) bool { return !f.has(&d) })
	}
	return l
}

// itemsOf are all limits of a case, as the table has them.
func (f DeadlinesFilter) itemsOf(db *DB, c *domain.Case, cal *calendar.Calendar) []DeadlineItem {
	var ids []string
	for i := range c.History.Steps {
		if s := &c.History.Steps[i]; s.CorrectedBy == "" {
			for _, o := range s.Officers {
				ids = with(ids, o.ID)
			}
		}
	}
	var all []DeadlineItem
	for i, d := range c.Procedure.Deadlines(c.History, cal) {
		item := DeadlineItem{
			Case: c.ID, Number: i, Agency: c.Agency, Procedure: c.Procedure.Name, Edition: c.Procedure.Edition, Officers: orEmpty(ids), Rule: d.Rule,
			Severity: d.Severity, Act: d.Act, Start: d.Start, StartOn: d.Due.Start, Limit: d.Due.Limit.String(), Due: d.Due.On, Ends: endOf(d),
			Warn: d.Warn, Provisional: d.Due.Provisional, Paused: d.Paused, Done: d.Done, DoneOn: d.DoneOn, Late: d.Late,
		}
		item.explain(db.book, f.Now)
		all = append(all, item)
	}
	return all
}

func (f DeadlinesFilter) has(d *DeadlineItem) bool {
	return (d.Done != "") == f.Done &&
		(f.Officer == "" || slices.Contains(d.Officers, f.Officer)) &&
		(f.Rule == "" || d.Rule == f.Rule) &&
		(f.Provisional == nil || d.Provisional == *f.Provisional) &&
		(f.Light == "" || d.Light == f.Light)
}
