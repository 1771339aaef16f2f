package projections

import (
	"context"
	"fmt"
	"iter"

	"liuhen/domain"
)

// Bounds on what EachChosen asks for at once.
const (
	casesAtOnce   = 500   // of the ledger
	recordsAtOnce = 2_000 // of the timeline, or one case where that has more
)

// A Chosen is how much EachChosen will find.
type Chosen struct {
	Cases    int64
	Records  int64
	Position uint64 // the records go up to here
}

// Choose counts the cases of a filter and their records, and names the
// position that EachChosen is to read up to.
func (db *DB) Choose(ctx context.Context, f LedgerFilter) (Chosen, error) {
	c := Chosen{Position: ^uint64(0)}
	// The lower of both: up to there each of the two has everything.
	for _, schema := range []string{ledger.schema(), timeline.schema()} {
		at, err := readPosition(ctx, db.pool, schema)
		if err != nil {
			return Chosen{}, fmt.Errorf("choose cases: %w", err)
		}
		c.Position = min(c.Position, at)
	}
	q := f.question()
	err := db.pool.QueryRow(ctx, `
		select count(*), coalesce(sum(t.revision), 0)::bigint
		from `+q.schema+`.`+q.table+` t`+q.where.sql(), q.where.args...).Scan(&c.Cases, &c.Records)
	if err != nil {
		return Chosen{}, fmt.Errorf("choose cases: %w", err)
	}
	return c, nil
}

// EachChosen returns all records of each case of a filter, case by case, the
// first opened first, up to a position. Cases are chosen from the ledger as it
// is when it comes to them; one that has no record up to the position is left
// out, and one that may refuses is not read. Both tables are read in pages, by
// one statement each, and nothing is held in the database between them: memory
// is a page, or the largest case.
func (db *DB) EachChosen(ctx context.Context, f LedgerFilter, through uint64, may func(LedgerEntry) bool) iter.Seq2[[]domain.Recorded, error] {
	return func(yield func([]domain.Recorded, error) bool) {
		q := f.question()
		q.down = false
		for next := ""; ; {
			page, err := q.page(ctx, db.pool, Page{Limit: casesAtOnce, Cursor: next})
			if err != nil {
				yield(nil, fmt.Errorf("choose cases: %w", err))
				return
			}
			for ids := range portions(page.Items, may) {
				l, err := db.load(ctx, timeline.schema(), ids, through+1)
				if err != nil {
					yield(nil, fmt.Errorf("read chosen cases: %w", err))
					return
				}
				for _, id := range ids {
					if records := l.cases[id]; len(records) > 0 && !yield(records, nil) {
						return
					}
				}
			}
			if next = page.Next; next == "" {
				return
			}
		}
	}
}

// portions cuts a page into portions that have not too many records.
func portions(entries []LedgerEntry, may func(LedgerEntry) bool) iter.Seq[[]domain.CaseID] {
	return func(yield func([]domain.CaseID) bool) {
		var ids []domain.CaseID
		records := 0
		for _, e := range entries {
			if !may(e) {
				continue
			}
			if len(ids) > 0 && records+e.Revision > recordsAtOnce {
				if !yield(ids) {
					return
				}
				ids, records = nil, 0
			}
			ids, records = append(ids, e.Case), records+e.Revision
		}
		if len(ids) > 0 {
			yield(ids)
		}
	}
}
