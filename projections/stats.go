package projections

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"liuhen/domain"
	"liuhen/domain/calendar"
)

// stats counts records and cases, per procedure and act and per day.
var stats = Projection{
	Name:    "stats",
	Version: 1,
	Schema: `
		create table act (
			agency    text   not null,
			procedure text   not null,
			act       text   not null,
			records   bigint not null,
			opened    bigint not null, -- cases that began with this act
			corrected bigint not null, -- records of this act that correct one
			late      bigint not null,
			imported  bigint not null,
			findings  bigint not null,
			primary key (agency, procedure, act)
		);
		create table day (
			recorded_on date   not null,
			agency      text   not null,
			procedure   text   not null,
			records     bigint not null,
			primary key (recorded_on, agency, procedure)
		)`,
	Apply: func(ctx context.Context, tx pgx.Tx, b *Batch) error {
		acts, days := tally(b.Records)
		if len(acts) == 0 {
			return nil
		}
		_, err := tx.Exec(ctx, `
			insert into act as a
			select *
			from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])
			on conflict (agency, procedure, act) do update set
				records   = a.records   + excluded.records,
				opened    = a.opened    + excluded.opened,
				corrected = a.corrected + excluded.corrected,
				late      = a.late      + excluded.late,
				imported  = a.imported  + excluded.imported,
				findings  = a.findings  + excluded.findings`,
			column(acts, func(c ActCount) string { return c.Agency }),
			column(acts, func(c ActCount) string { return c.Procedure }),
			column(acts, func(c ActCount) string { return c.Act }),
			column(acts, func(c ActCount) int64 { return c.Records }),
			column(acts, func(c ActCount) int64 { return c.Opened }),
			column(acts, func(c ActCount) int64 { return c.Corrections }),
			column(acts, func(c ActCount) int64 { return c.Late }),
			column(acts, func(c ActCount) int64 { return c.Imported }),
			column(acts, func(c ActCount) int64 { return c.Findings }))
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			insert into day as d
			select *
			from unnest($1::date[], $2::text[], $3::text[], $4::bigint[])
			on conflict (recorded_on, agency, procedure) do update set
				records = d.records + excluded.records`,
			column(days, func(c DayCount) day { return day(c.Day) }),
			column(days, func(c DayCount) string { return c.Agency }),
			column(days, func(c DayCount) string { return c.Procedure }),
			column(days, func(c DayCount) int64 { return c.Records }))
		return err
	},
}

// An ActCount is what was recorded of one act.
type ActCount struct {
	Agency      string
	Procedure   string
	Act         string
	Records     int64
	Opened      int64 // cases that began with it
	Corrections int64 // of the records, those that correct one
	Late        int64
	Imported    int64
	Findings    int64
}

// A DayCount is what was recorded on one day.
type DayCount struct {
	Day       calendar.Date
	Agency    string
	Procedure string
	Records   int64
}

// tally counts a batch. What comes out is sorted, so that two writers lock
// rows in the same order.
func tally(records []domain.Recorded) ([]ActCount, []DayCount) {
	type actKey struct{ agency, procedure, act string }
	type dayKey struct {
		on                calendar.Date
		agency, procedure string
	}
	acts := make(map[actKey]*ActCount)
	days := make(map[dayKey]*DayCount)
	for i := range records {
		r := &records[i]
		ak := actKey{r.Agency(), r.Procedure(), key(r.Act())}
		a := acts[ak]
		if a == nil {
			a = &ActCount{Agency: ak.agency, Procedure: ak.procedure, Act: ak.act}
			acts[ak] = a
		}
		a.Records++
		a.Opened += one(r.Revision == 1)
		a.Corrections += one(r.Data.Corrects != "")
		a.Late += one(late(r))
		a.Imported += one(r.Data.Import != nil)
		for _, f := range r.Data.Findings {
			a.Findings += one(f.Lifts == "") // what was found, also where it was taken back later
		}

		dk := dayKey{calendar.DateOf(r.Recorded), ak.agency, ak.procedure}
		d := days[dk]
		if d == nil {
			d = &DayCount{Day: dk.on, Agency: dk.agency, Procedure: dk.procedure}
			days[dk] = d
		}
		d.Records++
	}
	return sorted(acts, func(a, b *ActCount) int {
			return cmp.Or(cmp.Compare(a.Agency, b.Agency), cmp.Compare(a.Procedure, b.Procedure), cmp.Compare(a.Act, b.Act))
		}), sorted(days, func(a, b *DayCount) int {
			return cmp.Or(a.Day.Compare(b.Day), cmp.Compare(a.Agency, b.Agency), cmp.Compare(a.Procedure, b.Procedure))
		})
}

// key makes an act of another system's log fit into an index.
func key(act string) string {
	const longest = 200
	act = withoutZero(act)
	if len(act) <= longest {
		return act
	}
	return strings.ToValidUTF8(act[:longest], "") + "…"
}

func one(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}

func sorted[K comparable, V any](m map[K]*V, by func(a, b *V) int) []V {
	var pointers []*V
	for _, v := range m {
		pointers = append(pointers, v)
	}
	slices.SortFunc(pointers, by)
	return column(pointers, func(v *V) V { return *v })
}

// column takes one value out of each row.
func column[R, V any](rows []R, of func(R) V) []V {
	values := make([]V, len(rows))
	for i, r := range rows {
		values[i] = of(r)
	}
	return values
}

// Stats are the counts of everything up to a position.
type Stats struct {
	Acts     []ActCount // by agency, procedure, act
	Position uint64
}

// Count returns the counts of some agencies; without any, of all.
func (db *DB) Count(ctx context.Context, agencies []string) (Stats, error) {
	rows, err := db.pool.Query(ctx, `
		select p.position, a.agency, a.procedure, a.act, a.records, a.opened, a.corrected, a.late, a.imported, a.findings
		from stats_v1.position p
		left join stats_v1.act a on cardinality($1::text[]) = 0 or a.agency = any($1)
		where p.one
		order by a.agency, a.procedure, a.act`, orEmpty(agencies))
	if err != nil {
		return Stats{}, fmt.Errorf("stats: %w", err)
	}
	var s Stats
	err = forEach(rows, func() error {
		var position int64
		if rows.RawValues()[1] == nil { // nothing counted yet
			err := rows.Scan(&position, nil, nil, nil, nil, nil, nil, nil, nil, nil)
			s.Position = uint64(position)
			return err
		}
		var a ActCount
		err := rows.Scan(&position, &a.Agency, &a.Procedure, &a.Act, &a.Records, &a.Opened, &a.Corrections, &a.Late, &a.Imported, &a.Findings)
		s.Acts, s.Position = append(s.Acts, a), uint64(position)
		return err
	})
	if err != nil {
		return Stats{}, fmt.Errorf("stats: %w", err)
	}
	return s, nil
}

// Days returns what was recorded on each day of a period, both included.
func (db *DB) Days(ctx context.Context, agencies []string, from, to calendar.Date) ([]DayCount, error) {
	var w where
	w.oneOf("t.agency", agencies)
	w.days("t.recorded_on", from, to)
	rows, err := db.pool.Query(ctx, `
		select t.recorded_on, t.agency, t.procedure, t.records
		from stats_v1.day t`+w.sql()+`
		order by t.recorded_on, t.agency, t.procedure`, w.args...)
	if err != nil {
		return nil, fmt.Errorf("stats of days: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (d DayCount, err error) {
		return d, row.Scan((*day)(&d.Day), &d.Agency, &d.Procedure, &d.Records)
	})
}
