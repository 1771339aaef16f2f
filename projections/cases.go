package projections

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// A caseTable holds rows that follow from a folded case: one a case, or
// several, numbered from 0.
type caseTable struct {
	name    string
	key     []string // case_id, and number where there are several
	columns []string
}

// replaceRows puts the rows that cases have now in the place of those they
// had. The rows of a new case are copied in. Those of others are merged, so that
// a row which stays as it is is not written, and one of which only columns
// without an index change leaves the indexes alone: an act changes little of
// its case, and an index of words is dear.
func replaceRows(ctx context.Context, tx pgx.Tx, t caseTable, cases []CaseState, rowsOf func(CaseState) [][]any) error {
	made := make([][][]any, len(cases))
	_ = inParts(len(cases), func(from, to int) error { // cannot fail
		for i := from; i < to; i++ {
			made[i] = rowsOf(cases[i])
		}
		return nil
	})
	var fresh, merged [][]any
	var known []string
	var counts []int32 // rows of each known case
	for i, c := range cases {
		if c.New {
			fresh = append(fresh, made[i]...)
			continue
		}
		merged = append(merged, made[i]...)
		known, counts = append(known, string(c.ID)), append(counts, int32(len(made[i])))
	}
	if err := copyRows(ctx, tx, t.name, t.columns, fresh); err != nil {
		return err
	}
	if len(known) == 0 {
		return nil
	}
	if slices.Contains(t.key, "number") {
		_, err := tx.Exec(ctx, `
			delete from `+t.name+` t
			using unnest($1::text[], $2::integer[]) k(case_id, rows)
			where t.case_id = k.case_id and t.number >= k.rows`, known, counts)
		if err != nil {
			return err
		}
	}
	if len(merged) == 0 {
		return nil
	}
	staged := "staged_" + t.name
	if _, err := tx.Exec(ctx, `create temp table if not exists `+staged+` (like `+t.name+`) on commit delete rows`); err != nil {
		return err
	}
	if err := copyRows(ctx, tx, staged, t.columns, merged); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, t.merge(staged))
	return err
}

// merge is the statement that brings staged rows in.
func (t caseTable) merge(staged string) string {
	var set, was, is []string
	for _, c := range t.columns {
		if !slices.Contains(t.key, c) {
			set = append(set, c+" = excluded."+c)
			was = append(was, "t."+c)
			is = append(is, "excluded."+c)
		}
	}
	columns := strings.Join(t.columns, ", ")
	return `
		insert into ` + t.name + ` as t (` + columns + `)
		select ` + columns + `
		from ` + staged + `
		on conflict (` + strings.Join(t.key, ", ") + `) do update set ` + strings.Join(set, ", ") + `
		where (` + strings.Join(was, ", ") + `) is distinct from (` + strings.Join(is, ", ") + `)`
}
