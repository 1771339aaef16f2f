package projections

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"liuhen/domain"
	"liuhen/domain/calendar"
)

// timeline holds every event as it was stored. Screens show cases from it, and
// cases are loaded from it to be decided on. Rows are only added.
var timeline = Projection{
	Name:    "timeline",
	Version: 1,
	Schema: `
		create table record (
			position     bigint      primary key,
			case_id      text        not null,
			revision     integer     not null,
			event        text        not null,
			agency       text        not null,
			procedure    text        not null,
			act          text        not null,
			actor        text        not null,
			officers     text[]      not null,
			occurred_at  timestamptz not null,
			recorded_at  timestamptz not null,
			stored_at    timestamptz not null,
			late         boolean     not null, -- beyond the limit of the rule on late records
			late_seconds bigint      not null, -- recorded after it occurred
			findings     integer     not null,
			imported     boolean     not null,
			command_id   text        not null,
			corrects     text        not null, -- the event that it puts right, or empty
			data         bytea       not null  -- byte for byte as stored
		);
		create table correction (
			case_id  text   not null,
			event    text   not null, -- the one that was corrected
			position bigint not null, -- of the one that corrects
			by       text   not null,
			primary key (case_id, event, position)
		)`,
	Indexes: `
		create index on record (case_id, position)`,
	Apply: func(ctx context.Context, tx pgx.Tx, b *Batch) error {
		rows := make([][]any, len(b.Records))
		for i := range b.Records {
			r := &b.Records[i]
			rows[i] = []any{
				int64(r.Position), string(r.Subject), int32(r.Revision), r.ID, r.Agency(), r.Procedure(), r.Act(), r.Actor, officers(r),
				r.Time, r.Recorded, r.StoredAt, late(r), int64(r.Recorded.Sub(r.Time) / time.Second), int32(len(r.Data.Findings)),
				r.Data.Import != nil, r.Command, r.Data.Corrects, r.Raw,
			}
		}
		err := copyRows(ctx, tx, "record", []string{
			"position", "case_id", "revision", "event", "agency", "procedure", "act", "actor", "officers",
			"occurred_at", "recorded_at", "stored_at", "late", "late_seconds", "findings",
			"imported", "command_id", "corrects", "data",
		}, rows)
		if err != nil {
			return err
		}
		return copyCorrections(ctx, tx, b.Records)
	},
}

// copyCorrections notes which events were corrected. It is a table of its own
// so that no row has to be changed later.
func copyCorrections(ctx context.Context, tx pgx.Tx, records []domain.Recorded) error {
	var rows [][]any
	for _, r := range records {
		if r.Data.Corrects != "" {
			rows = append(rows, []any{string(r.Subject), r.Data.Corrects, int64(r.Position), r.ID})
		}
	}
	return copyRows(ctx, tx, "correction", []string{"case_id", "event", "position", "by"}, rows)
}

func officers(r *domain.Recorded) []string {
	ids := make([]string, len(r.Data.Officers))
	for i, o := range r.Data.Officers {
		ids[i] = o.ID
	}
	return ids
}

// late reports whether a record was made beyond the limit of the rule on late
// records, which then demands a reason.
func late(r *domain.Recorded) bool { return r.Data.LateReason != "" }

// RecordsOf returns all records of a procedure's cases, in their order, and a
// position up to which that is all of them; some may be later.
func (db *DB) RecordsOf(ctx context.Context, procedure string) ([]domain.Recorded, uint64, error) {
	var ids []domain.CaseID
	var at uint64
	header := func(position uint64) error { at = position; return nil }
	for e, err := range db.EachLedger(ctx, LedgerFilter{Procedure: procedure}, header) {
		if err != nil {
			return nil, 0, fmt.Errorf("cases of %s: %w", procedure, err)
		}
		ids = append(ids, e.Case)
	}
	if len(ids) == 0 {
		return nil, at, nil
	}
	found, through, err := db.Load(ctx, ids)
	if err != nil {
		return nil, 0, fmt.Errorf("records of %s: %w", procedure, err)
	}
	var records []domain.Recorded
	for _, of := range found {
		records = append(records, of...)
	}
	slices.SortFunc(records, func(a, b domain.Recorded) int { return cmp.Compare(a.Position, b.Position) })
	return records, min(at, through), nil
}

// Load returns all records of the cases up to one position, which it returns
// too. A case that the timeline does not have is left out.
func (db *DB) Load(ctx context.Context, ids []domain.CaseID) (map[domain.CaseID][]domain.Recorded, uint64, error) {
	l, err := db.load(ctx, timeline.schema(), ids, 0)
	return l.cases, l.through, err
}

// loaded is what a timeline has of some cases.
type loaded struct {
	cases   map[domain.CaseID][]domain.Recorded // by revision
	through uint64                              // the position of the timeline
}

// load reads cases in one statement, which sees one moment. With before, only
// what lies before that position.
func (db *DB) load(ctx context.Context, schema string, ids []domain.CaseID, before uint64) (loaded, error) {
	names := column(ids, func(id domain.CaseID) string { return string(id) })
	slices.Sort(names)
	names = slices.Compact(names)
	if before == 0 {
		before = 1 << 62
	}
	// The inner select keeps to the index, case by case, whatever the planner
	// thinks of a table that has just been filled.
	rows, err := db.pool.Query(ctx, `
		select p.position, r.position, r.stored_at, r.data
		from `+schema+`.position p
		left join (
			unnest($1::text[]) as asked(case_id)
			cross join lateral (
				select r.position, r.stored_at, r.data
				from `+schema+`.record r
				where r.case_id = asked.case_id and r.position < $2
				order by r.position
				offset 0
			) r
		) on true
		where p.one
		order by r.position`, names, int64(before))
	if err != nil {
		return loaded{}, err
	}
	l := loaded{cases: make(map[domain.CaseID][]domain.Recorded, len(ids))}
	err = forEach(rows, func() error {
		var through int64
		var position *int64
		var stored *time.Time
		var data []byte
		if err := rows.Scan(&through, &position, &stored, &data); err != nil {
			return err
		}
		l.through = uint64(through)
		if position == nil {
			return nil
		}
		r, err := domain.Read(uint64(*position), *stored, data)
		if err != nil {
			return err
		}
		l.cases[r.Subject] = append(l.cases[r.Subject], r)
		return nil
	})
	return l, err
}

// recordsRead is how many records EachCase asks for at once.
const recordsRead = 1000

// EachCase returns all records of each case of some agencies, or of all where
// none is named, case by case, as they were at one position, which header gets
// before the first; it may be nil. Records are read a page at a time, by one
// statement each, and nothing is held in the database between them: memory is a
// page and the one case that is handed out.
func (db *DB) EachCase(ctx context.Context, agencies []string, header func(position uint64) error) iter.Seq2[[]domain.Recorded, error] {
	return db.eachCase(ctx, agencies, header, recordsRead)
}

func (db *DB) eachCase(ctx context.Context, agencies []string, header func(position uint64) error, limit int) iter.Seq2[[]domain.Recorded, error] {
	return func(yield func([]domain.Recorded, error) bool) {
		at, err := readPosition(ctx, db.pool, timeline.schema())
		if err == nil && header != nil {
			err = header(at)
		}
		if err != nil {
			yield(nil, fmt.Errorf("read every case: %w", err))
			return
		}
		db.casesFrom(ctx, caseRange{agencies: agencies, through: at}, limit)(yield)
	}
}

// A caseRange is some cases as they were at a position.
type caseRange struct {
	agencies  []string // of these; none: of all
	procedure string
	cases     []domain.CaseID
	from      domain.CaseID // those before it are left out
	through   uint64
}

// casesFrom returns the records of cases, case by case, read in pages.
func (db *DB) casesFrom(ctx context.Context, of caseRange, limit int) iter.Seq2[[]domain.Recorded, error] {
	return func(yield func([]domain.Recorded, error) bool) {
		fail := func(err error) { yield(nil, fmt.Errorf("read every case: %w", err)) }
		var one []domain.Recorded // of the case that is being read
		for {
			last := domain.Recorded{Event: domain.Event{Subject: of.from}}
			if n := len(one); n > 0 {
				last = one[n-1]
			}
			page, err := db.recordsByCase(ctx, of, last, limit)
			if err != nil {
				fail(err)
				return
			}
			for _, r := range page {
				if len(one) > 0 && one[0].Subject != r.Subject {
					if !yield(one, nil) {
						return
					}
					one = nil
				}
				one = append(one, r)
			}
			if len(page) < limit {
				break
			}
		}
		if len(one) > 0 {
			yield(one, nil)
		}
	}
}

// recordsByCase reads the records that follow one in the order of cases.
func (db *DB) recordsByCase(ctx context.Context, of caseRange, after domain.Recorded, limit int) ([]domain.Recorded, error) {
	var q where
	q.add("(r.case_id, r.position) > (?, ?)", string(after.Subject), int64(after.Position))
	q.add("r.position <= ?", int64(of.through))
	q.oneOf("r.agency", of.agencies)
	q.is("r.procedure", of.procedure)
	q.oneOf("r.case_id", column(of.cases, func(id domain.CaseID) string { return string(id) }))
	rows, err := db.pool.Query(ctx, `
		select r.position, r.stored_at, r.data
		from `+timeline.schema()+`.record r`+q.sql()+`
		order by r.case_id, r.position
		limit `+strconv.Itoa(limit), q.args...)
	if err != nil {
		return nil, err
	}
	page := make([]domain.Recorded, 0, limit)
	err = forEach(rows, func() error {
		var position int64
		var stored time.Time
		var data []byte
		if err := rows.Scan(&position, &stored, &data); err != nil {
			return err
		}
		r, err := domain.Read(uint64(position), stored, data)
		page = append(page, r)
		return err
	})
	return page, err
}

// A TimelineFilter narrows a timeline; what is empty asks for nothing.
type TimelineFilter struct {
	Case      domain.CaseID
	Acts      []string
	Person    string        // id of the actor or of an officer
	From, To  calendar.Date // occurred, days included
	Late      bool          // only records made too late
	Corrected bool          // only those that correct or were corrected
	Findings  bool          // only those with findings
	NewestUp  bool          // newest first

	Through *uint64  // only what was recorded up to this position, and as it was known then; nil: all
	Events  []string // only these; nil: all
}

// A TimelineItem is one event and what is known of it since.
type TimelineItem struct {
	domain.Recorded
	Late        bool
	CorrectedBy string // id of the last event that corrects it
}

// Timeline returns events in the order recorded.
func (db *DB) Timeline(ctx context.Context, f TimelineFilter, p Page) (List[TimelineItem], error) {
	list, err := f.question().page(ctx, db.pool, p)
	if err != nil {
		return list, fmt.Errorf("timeline: %w", err)
	}
	return list, nil
}

// EachTimeline is Timeline without pages; see EachLedger.
func (db *DB) EachTimeline(ctx context.Context, f TimelineFilter, header func(position uint64) error) iter.Seq2[TimelineItem, error] {
	return f.question().all(ctx, db, header)
}

func (f TimelineFilter) question() question[TimelineItem] {
	known := ""
	if f.Through != nil {
		known = " and c.position <= " + strconv.FormatUint(*f.Through, 10)
	}
	q := question[TimelineItem]{
		schema: timeline.schema(),
		table:  "record",
		columns: []string{
			"t.position", "t.stored_at", "t.data", "t.late",
			`(
				select c.by
				from timeline_v1.correction c
				where c.case_id = t.case_id and c.event = t.event` + known + `
				order by c.position desc
				limit 1
			) as corrected_by`,
		},
		order: []sortKey{{"position", "bigint"}},
		down:  f.NewestUp,
		scan: func(scan func(...any) error) (item TimelineItem, err error) {
			var position int64
			var stored time.Time
			var data []byte
			var by *string
			if err := scan(&position, &stored, &data, &item.Late, &by); err != nil {
				return item, err
			}
			if by != nil {
				item.CorrectedBy = *by
			}
			item.Recorded, err = domain.Read(uint64(position), stored, data)
			return item, err
		},
		key: func(item TimelineItem) []string { return []string{strconv.FormatUint(item.Position, 10)} },
	}
	q.where.is("t.case_id", string(f.Case))
	q.where.oneOf("t.act", f.Acts)
	if f.Person != "" {
		q.where.add("(t.actor = ? or ? = any(t.officers))", f.Person, f.Person)
	}
	q.where.within("t.occurred_at", f.From, f.To)
	if f.Late {
		q.where.add("t.late")
	}
	if f.Findings {
		q.where.add("t.findings > 0")
	}
	if f.Corrected {
		q.where.add(`(
			t.corrects <> ''
			or exists (
				select
				from timeline_v1.correction c
				where c.case_id = t.case_id and c.event = t.event` + known + `
			)
		)`)
	}
	if f.Through != nil {
		q.where.add("t.position <= ?", int64(*f.Through))
	}
	if f.Events != nil {
		q.where.add("t.event = any(?)", f.Events)
	}
	return q
}
