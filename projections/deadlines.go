package projections

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// deadlines holds the limits that run or ran in each case.
var deadlines = Projection{
	Name:    "deadlines",
	Version: 3,
	Folds:   true,
	Schema: `
		create table clock (
			case_id     text        not null,
			number      integer     not null, -- in the case
			agency      text        not null,
			procedure   text        not null,
			edition     date        not null,
			law         jsonb,                -- files that the agency had put in force and that it is counted by; null: none
			officers    text[]      not null, -- ids of those who took part in the case
			rule        text        not null,
			severity    text        not null,
			act         text        not null, -- that must be done
			start_event text        not null,
			start_on    date        not null,
			limited     text        not null, -- the limit, e.g. 7 working days
			due         date        not null, -- the last day
			ends        timestamptz not null, -- the moment after which it is late
			warn        date,                 -- yellow from this day on
			provisional boolean     not null,
			paused      boolean     not null,
			done_event  text        not null, -- empty while it runs
			done_on     date,
			late        boolean     not null,
			to_note     boolean     not null, -- should it pass, nobody has noted that yet
			primary key (case_id, number)
		) with (fillfactor = 80);
		create table notice ( -- on holidays, that an agency has confirmed
			case_id  text    primary key,
			position bigint  not null, -- of the record that confirmed it
			agency   text    not null,
			year     integer not null,
			body     text    not null  -- the notice, JSON
		)`,
	Indexes: `
		create index on clock (ends, case_id, number) where done_event = '';
		create index on clock (agency, ends, case_id, number) where done_event = '';
		create index on clock using gin (officers) where done_event = '';
		create index on clock (case_id, ends) where to_note`,
	Apply: func(ctx context.Context, tx pgx.Tx, b *Batch) error {
		news, err := keepNotices(ctx, tx, b)
		if err != nil {
			return err
		}
		calendars, err := calendarsOf(ctx, tx, b)
		if err != nil {
			return err
		}
		rows := func(c CaseState) [][]any { return clocksOf(c, calendars[c.Agency]) }
		if err := replaceRows(ctx, tx, clockTable, b.Cases, rows); err != nil {
			return err
		}
		return recount(ctx, tx, b, news, rows)
	},
}

// news is the years for which an agency has confirmed a notice.
type news struct {
	agency string
	year   int
}

// keepNotices adds the notices that cases of the batch have confirmed and returns
// those that were not there.
func keepNotices(ctx context.Context, tx pgx.Tx, b *Batch) ([]news, error) {
	var all []news
	for _, c := range b.Cases {
		if c.Procedure.Name != domain.NoticeProcedure {
			continue
		}
		n, ok := domain.NoticeOf(c.Case)
		if !ok {
			continue
		}
		if _, err := b.base.With(n.Notice); err != nil {
			continue // it cannot be, and may not even be written down and read again
		}
		body, err := json.Marshal(n.Notice)
		if err != nil {
			return nil, err
		}
		var was *int // the year that it was for before
		err = tx.QueryRow(ctx, `
			with before as (
				select year
				from notice
				where case_id = $1
			), kept as (
				insert into notice as t (case_id, position, agency, year, body)
				values ($1, $2, $3, $4, $5)
				on conflict (case_id) do update set position = excluded.position, year = excluded.year, body = excluded.body
				where t.position <> excluded.position
				returning year
			)
			select (select year from before)
			from kept`, string(c.ID), int64(n.Position), c.Agency, n.Year, withoutZero(string(body))).Scan(&was)
		if errors.Is(err, pgx.ErrNoRows) {
			continue // it was there
		}
		if err != nil {
			return nil, err
		}
		all = append(all, news{c.Agency, n.Year})
		if was != nil && *was != n.Year {
			all = append(all, news{c.Agency, *was})
		}
	}
	return all, nil
}

// calendarsOf are the calendars of agencies that have confirmed notices.
func calendarsOf(ctx context.Context, tx pgx.Tx, b *Batch) (map[string]*calendar.Calendar, error) {
	rows, err := tx.Query(ctx, `
		select agency, body
		from notice
		order by position`)
	if err != nil {
		return nil, err
	}
	notices := make(map[string][]calendar.Notice)
	var agency, body string
	_, err = pgx.ForEachRow(rows, []any{&agency, &body}, func() error {
		var n calendar.Notice
		if err := json.Unmarshal([]byte(body), &n); err != nil {
			return err
		}
		notices[agency] = append(notices[agency], n)
		return nil
	})
	calendars := make(map[string]*calendar.Calendar, len(notices))
	for agency, all := range notices {
		calendars[agency] = domain.CalendarWith(b.base, all)
	}
	return calendars, err
}

// recountPage is how many cases are counted anew at once. A test changes it.
var recountPage = 200

// recount counts the cases anew, other than those of the batch, whose limits can run
// through a year for which their agency has a new notice. It goes page by page, so that
// it needs the memory of a page; that is one transaction, so that nobody reads some
// limits counted by the new notice beside others counted without it.
func recount(ctx context.Context, tx pgx.Tx, b *Batch, all []news, rows func(CaseState) [][]any) error {
	if len(all) == 0 {
		return nil
	}
	// Cases are read one by one while the transaction waits.
	if _, err := tx.Exec(ctx, `set local idle_in_transaction_session_timeout = '30min'`); err != nil {
		return err
	}
	in := make(map[domain.CaseID]bool, len(b.Cases))
	for _, c := range b.Cases {
		in[c.ID] = true
	}
	for _, n := range all {
		for after := domain.CaseID(""); ; {
			found, err := tx.Query(ctx, `
				select case_id
				from clock
				where agency = $1 and (provisional or start_on <= make_date($2, 12, 31) and due >= make_date($2 - 1, 12, 20)) and case_id > $3
				group by case_id
				order by case_id
				limit $4`, n.agency, n.year, string(after), recountPage)
			if err != nil {
				return err
			}
			ids, err := pgx.CollectRows(found, pgx.RowTo[domain.CaseID])
			if err != nil {
				return err
			}
			if len(ids) == 0 {
				break
			}
			after = ids[len(ids)-1]
			cases, err := b.load(ctx, slices.DeleteFunc(ids, func(id domain.CaseID) bool { return in[id] }))
			if err != nil {
				return err
			}
			if err := replaceRows(ctx, tx, clockTable, cases, rows); err != nil {
				return err
			}
		}
	}
	return nil
}

var clockTable = caseTable{
	name: "clock",
	key:  []string{"case_id", "number"},
	columns: []string{
		"case_id", "number", "agency", "procedure", "edition", "law", "officers", "rule", "severity", "act", "start_event", "start_on",
		"limited", "due", "ends", "warn", "provisional", "paused", "done_event", "done_on", "late", "to_note",
	},
}

func clocksOf(c CaseState, cal *calendar.Calendar) [][]any {
	all := c.Procedure.Deadlines(c.History, cal)
	if len(all) == 0 {
		return nil
	}
	var ids []string
	for i := range c.History.Steps {
		if s := &c.History.Steps[i]; s.CorrectedBy == "" {
			for _, o := range s.Officers {
				ids = with(ids, o.ID)
			}
		}
	}
	var law *string
	if len(c.Law) > 0 {
		data, err := json.Marshal(c.Law)
		if err != nil {
			panic("projections: names that are no JSON: " + err.Error())
		}
		text := withoutZero(string(data))
		law = &text
	}
	rows := make([][]any, len(all))
	for i, d := range all {
		rows[i] = []any{
			string(c.ID), int32(i), c.Agency, c.Procedure.Name, day(c.Procedure.Edition), law, orEmpty(ids), d.Rule, string(d.Severity), d.Act,
			d.Start, day(d.Due.Start), d.Due.Limit.String(), day(d.Due.On), endOf(d), day(d.Warn), d.Due.Provisional, d.Paused,
			d.Done, day(d.DoneOn), d.Late, d.ToNote,
		}
	}
	return rows
}

// endOf is the moment after which a limit has run out.
func endOf(d rulebook.Deadline) time.Time {
	if !d.Due.At.IsZero() {
		return d.Due.At
	}
	return d.Due.On.AddDays(1).Start()
}

// A Light is how a running limit shows on the board.
type Light string

// The lights.
const (
	Red    Light = "red"    // the limit has passed
	Yellow Light = "yellow" // it soon will
	Green  Light = "green"
)

// A DeadlinesFilter narrows the board; what is empty asks for nothing.
type DeadlinesFilter struct {
	Now         time.Time // by which lights are shown; needed
	Agencies    []string  // one of these
	Procedure   string
	Officer     string // id
	Case        domain.CaseID
	Rule        string
	Light       Light
	Provisional *bool
	Done        bool // the limits that have ended, instead of those that run
}

// A DeadlineItem is one limit of a case.
type DeadlineItem struct {
	Case        domain.CaseID
	Number      int // in the case
	Agency      string
	Procedure   string
	Edition     calendar.Date
	Law         []rulebook.FileRef // files that its agency had put in force and that it is counted by
	Officers    []string           // ids of those who took part in the case
	Rule        string
	Says        rulebook.Text // the rule, in a sentence, by the book of this process
	Basis       string
	Severity    rulebook.Severity
	Act         string // that must be done
	Start       string // id of the event that started it
	StartOn     calendar.Date
	Limit       string // e.g. 7 working days
	Due         calendar.Date
	Ends        time.Time // the moment after which it is late
	Warn        calendar.Date
	Provisional bool
	Paused      bool   // the due date will move
	Done        string // id of the event that ended it
	DoneOn      calendar.Date
	Late        bool // it was done too late
	Light       Light
	Left        time.Duration // until Ends; negative when it has passed
}

// Deadlines returns limits, least time left first.
func (db *DB) Deadlines(ctx context.Context, f DeadlinesFilter, p Page) (List[DeadlineItem], error) {
	list, err := f.question(db.law).page(ctx, db.pool, p)
	if err != nil {
		return list, fmt.Errorf("deadlines: %w", err)
	}
	return list, nil
}

// EachDeadline is Deadlines without pages; see EachLedger.
func (db *DB) EachDeadline(ctx context.Context, f DeadlinesFilter, header func(position uint64) error) iter.Seq2[DeadlineItem, error] {
	return f.question(db.law).all(ctx, db, header)
}

// Lights counts the limits that run, by light. The filter's own Light does not
// count.
func (db *DB) Lights(ctx context.Context, f DeadlinesFilter) (map[Light]int, error) {
	f.Light, f.Done = "", false
	q := f.question(db.law)
	q.where.args = append(q.where.args, f.Now, day(calendar.DateOf(f.Now)))
	now, today := "$"+strconv.Itoa(len(q.where.args)-1), "$"+strconv.Itoa(len(q.where.args))
	var red, yellow, all int
	err := db.pool.QueryRow(ctx, `
		select
			count(*) filter (where t.ends <= `+now+`),
			count(*) filter (where t.ends > `+now+` and t.warn <= `+today+`),
			count(*)
		from `+deadlines.schema()+`.clock t`+q.where.sql(), q.where.args...).Scan(&red, &yellow, &all)
	if err != nil {
		return nil, fmt.Errorf("count deadlines: %w", err)
	}
	return map[Light]int{Red: red, Yellow: yellow, Green: all - red - yellow}, nil
}

// Overdues returns limits that had passed by a moment and that nobody has noted
// yet: one a case, in the order of the cases, up to limit of them after one.
func (db *DB) Overdues(ctx context.Context, now time.Time, after domain.CaseID, limit int) ([]domain.Overdue, error) {
	rows, err := db.pool.Query(ctx, `
		select distinct on (case_id) case_id, rule, start_event, due, ends
		from `+deadlines.schema()+`.clock
		where to_note and ends <= $1 and case_id > $2
		order by case_id, ends, number
		limit $3`, now, string(after), limit)
	if err != nil {
		return nil, fmt.Errorf("limits that have passed: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (o domain.Overdue, err error) {
		return o, row.Scan((*string)(&o.Case), &o.Rule, &o.Start, (*day)(&o.Due), &o.Ends)
	})
	if err != nil {
		return nil, fmt.Errorf("limits that have passed: %w", err)
	}
	return all, nil
}

func (f DeadlinesFilter) question(law domain.Law) question[DeadlineItem] {
	q := question[DeadlineItem]{
		schema: deadlines.schema(),
		table:  "clock",
		columns: []string{
			"t.case_id", "t.number", "t.agency", "t.procedure", "t.edition", "t.law", "t.officers", "t.rule", "t.severity", "t.act", "t.start_event",
			"t.start_on", "t.limited", "t.due", "t.ends", "t.warn", "t.provisional", "t.paused", "t.done_event", "t.done_on", "t.late",
		},
		order: []sortKey{{"ends", "timestamptz"}, {"case_id", "text"}, {"number", "integer"}},
		scan: func(scan func(...any) error) (d DeadlineItem, err error) {
			var files []byte
			err = scan(
				(*string)(&d.Case), &d.Number, &d.Agency, &d.Procedure, (*day)(&d.Edition), &files, &d.Officers, &d.Rule, (*string)(&d.Severity), &d.Act, &d.Start,
				(*day)(&d.StartOn), &d.Limit, (*day)(&d.Due), &d.Ends, (*day)(&d.Warn), &d.Provisional, &d.Paused, &d.Done, (*day)(&d.DoneOn), &d.Late,
			)
			if err == nil && files != nil {
				err = json.Unmarshal(files, &d.Law)
			}
			d.explain(law, f.Now)
			return d, err
		},
		key: func(d DeadlineItem) []string { return []string{stamp(d.Ends), string(d.Case), strconv.Itoa(d.Number)} },
	}
	if f.Done {
		q.where.add("t.done_event <> ''")
	} else {
		q.where.add("t.done_event = ''")
	}
	q.where.oneOf("t.agency", f.Agencies)
	q.where.is("t.procedure", f.Procedure)
	q.where.is("t.case_id", string(f.Case))
	q.where.is("t.rule", f.Rule)
	if f.Officer != "" {
		q.where.add("t.officers @> array[?::text]", f.Officer)
	}
	if f.Provisional != nil {
		q.where.add("t.provisional = ?", *f.Provisional)
	}
	switch f.Light {
	case Red:
		q.where.add("t.ends <= ?", f.Now)
	case Yellow:
		q.where.add("t.ends > ? and t.warn <= ?", f.Now, day(calendar.DateOf(f.Now)))
	case Green:
		q.where.add("t.ends > ? and (t.warn is null or t.warn > ?)", f.Now, day(calendar.DateOf(f.Now)))
	}
	return q
}

// explain adds what does not stand in the table.
func (d *DeadlineItem) explain(law domain.Law, now time.Time) {
	if book, err := law.Under(d.Law); err != nil {
		d.Says = rulebook.Text{ZH: "规则文件不在手边：" + d.Rule, EN: "the law file is not at hand: " + d.Rule}
	} else if p, ok := book.Edition(d.Procedure, d.Edition); ok {
		if r, ok := p.Rule(d.Rule); ok {
			d.Says, d.Basis = r.Says, r.Basis
		}
	}
	d.Left = d.Ends.Sub(now)
	switch {
	case d.Left <= 0:
		d.Light = Red
	case !d.Warn.IsZero() && !calendar.DateOf(now).Before(d.Warn):
		d.Light = Yellow
	default:
		d.Light = Green
	}
}
