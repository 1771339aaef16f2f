package projections

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// findings holds each thing that a rule had to say of an act when it was
// recorded. Rows are only added: what was found stays found, also when the
// event is corrected.
var findings = Projection{
	Name:    "findings",
	Version: 3,
	Schema: `
		create table finding (
			position    bigint      not null,
			number      integer     not null, -- in the event
			case_id     text        not null,
			event       text        not null,
			agency      text        not null,
			procedure   text        not null,
			act         text        not null,
			rule        text        not null,
			severity    text        not null,
			verdict     text        not null,
			occurred_at timestamptz not null, -- the act
			recorded_at timestamptz not null,
			imported    boolean     not null,
			due         date,
			about       text        not null, -- the event that it is about: its own, or an earlier one
			lifts       text        not null, -- the event whose finding of the rule it takes back; empty: it finds something
			body        text        not null, -- the finding as it was recorded, JSON
			primary key (position, number)
		);
		create table correction (
			case_id  text   not null,
			event    text   not null, -- the one that was corrected
			position bigint not null, -- of the one that corrects
			by       text   not null,
			primary key (case_id, event, position)
		)`,
	Indexes: `
		create index on finding (rule, position, number);
		create index on finding (severity, position, number);
		create index on finding (agency, position, number);
		create index on finding (case_id, position, number);
		create index on finding (case_id, lifts) where lifts <> ''`,
	Apply: func(ctx context.Context, tx pgx.Tx, b *Batch) error {
		var rows [][]any
		for i := range b.Records {
			r := &b.Records[i]
			for n, f := range r.Data.Findings {
				body, err := json.Marshal(f)
				if err != nil {
					return err
				}
				rows = append(rows, []any{
					int64(r.Position), int32(n), string(r.Subject), r.ID, r.Agency(), r.Procedure(), r.Act(),
					f.Rule, string(f.Severity), string(f.Verdict), r.Time, r.Recorded, r.Data.Import != nil, day(f.Due), cmp.Or(f.Of, r.ID), f.Lifts, string(body),
				})
			}
		}
		err := copyRows(ctx, tx, "finding", []string{
			"position", "number", "case_id", "event", "agency", "procedure", "act",
			"rule", "severity", "verdict", "occurred_at", "recorded_at", "imported", "due", "about", "lifts", "body",
		}, rows)
		if err != nil {
			return err
		}
		return copyCorrections(ctx, tx, b.Records)
	},
}

// A FindingsFilter narrows findings; what is empty asks for nothing.
type FindingsFilter struct {
	Agencies    []string // one of these
	Procedure   string
	Rule        string
	Severity    rulebook.Severity
	Case        domain.CaseID
	Since       calendar.Date // recorded on this day or later
	From, To    calendar.Date // the act occurred, days included
	Uncorrected bool          // only of events that have not been corrected
	Through     *uint64       // only what was recorded up to this position, and as it was known then; nil: all
}

// A FindingItem is a finding and the event that it was made of.
type FindingItem struct {
	Position   uint64
	Number     int // in the event: 0, 1 …
	Case       domain.CaseID
	Event      string
	Agency     string
	Procedure  string
	Act        string
	OccurredAt time.Time
	RecordedAt time.Time
	Imported   bool
	Corrected  bool // the act that it is about has been corrected since
	Lifted     bool // it was taken back: by registers as they became later it does not hold
	rulebook.Finding
}

// Findings returns what rules had to say, the latest record first.
func (db *DB) Findings(ctx context.Context, f FindingsFilter, p Page) (List[FindingItem], error) {
	list, err := f.question().page(ctx, db.pool, p)
	if err != nil {
		return list, fmt.Errorf("findings: %w", err)
	}
	return list, nil
}

// EachFinding is Findings without pages; see EachLedger.
func (db *DB) EachFinding(ctx context.Context, f FindingsFilter, header func(position uint64) error) iter.Seq2[FindingItem, error] {
	return f.question().all(ctx, db, header)
}

// A RuleCount is how often a rule has been broken.
type RuleCount struct {
	Procedure string
	Rule      string
	Severity  rulebook.Severity
	Findings  int64
	Cases     int64
}

// CountFindings counts findings by rule, the most first, without those that were
// taken back.
func (db *DB) CountFindings(ctx context.Context, f FindingsFilter) ([]RuleCount, error) {
	q := f.question()
	q.where.add("t.lifts = '' and not " + f.wasLifted())
	rows, err := db.pool.Query(ctx, `
		select c.procedure, c.rule, c.severity, sum(c.findings)::bigint, count(*)
		from (
			select t.procedure, t.rule, t.severity, count(*) as findings
			from `+findings.schema()+`.finding t`+q.where.sql()+`
			group by t.procedure, t.rule, t.severity, t.case_id
		) c
		group by c.procedure, c.rule, c.severity
		order by sum(c.findings) desc, c.procedure, c.rule, c.severity`, q.where.args...)
	if err != nil {
		return nil, fmt.Errorf("count findings: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c RuleCount, err error) {
		return c, row.Scan(&c.Procedure, &c.Rule, (*string)(&c.Severity), &c.Findings, &c.Cases)
	})
}

// wasLifted is true of a finding that a later one takes back, as far as that was known.
func (f FindingsFilter) wasLifted() string {
	known := ""
	if f.Through != nil {
		known = " and l.position <= " + strconv.FormatUint(*f.Through, 10)
	}
	return `(t.lifts = '' and exists (
				select
				from ` + findings.schema() + `.finding l
				where l.case_id = t.case_id and l.lifts <> '' and l.lifts = t.event and l.rule = t.rule and l.about = t.about` + known + `
			))`
}

func (f FindingsFilter) question() question[FindingItem] {
	known := ""
	if f.Through != nil {
		known = " and c.position <= " + strconv.FormatUint(*f.Through, 10)
	}
	wasCorrected := `exists (
				select
				from ` + findings.schema() + `.correction c
				where c.case_id = t.case_id and c.event = t.about` + known + `
			)`
	q := question[FindingItem]{
		schema: findings.schema(),
		table:  "finding",
		columns: []string{
			"t.position", "t.number", "t.case_id", "t.event", "t.agency", "t.procedure", "t.act", "t.occurred_at", "t.recorded_at",
			"t.imported", wasCorrected + " as corrected", f.wasLifted() + " as lifted", "t.body",
		},
		order: []sortKey{{"position", "bigint"}, {"number", "integer"}},
		down:  true,
		scan: func(scan func(...any) error) (item FindingItem, err error) {
			var position int64
			var body []byte
			err = scan(
				&position, &item.Number, (*string)(&item.Case), &item.Event, &item.Agency, &item.Procedure, &item.Act,
				&item.OccurredAt, &item.RecordedAt, &item.Imported, &item.Corrected, &item.Lifted, &body,
			)
			if err != nil {
				return item, err
			}
			item.Position = uint64(position)
			return item, json.Unmarshal(body, &item.Finding)
		},
		key: func(item FindingItem) []string {
			return []string{strconv.FormatUint(item.Position, 10), strconv.Itoa(item.Number)}
		},
	}
	q.where.oneOf("t.agency", f.Agencies)
	q.where.is("t.procedure", f.Procedure)
	q.where.is("t.rule", f.Rule)
	q.where.is("t.severity", string(f.Severity))
	q.where.is("t.case_id", string(f.Case))
	q.where.within("t.recorded_at", f.Since, calendar.Date{})
	q.where.within("t.occurred_at", f.From, f.To)
	if f.Uncorrected {
		q.where.add("not " + wasCorrected)
	}
	if f.Through != nil {
		q.where.add("t.position <= ?", int64(*f.Through))
	}
	return q
}
