package projections

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// registers holds what cases have entered for the rules of other cases to look
// at. A row is never changed but for gone_at: so the registers can be read as
// they were at any position, and an act be judged again by what was known then.
var registers = Projection{
	Name:    "registers",
	Version: 1,
	Folds:   true,
	Schema: `
		create table entry (
			case_id    text    not null,
			number     integer not null, -- in the case
			register   text    not null,
			key        text    not null,
			valid_from date    not null,
			valid_to   date,             -- the last day; null: open
			agency     text    not null,
			event      text    not null, -- that entered it
			act        text    not null,
			says       jsonb   not null,
			known_at   bigint  not null, -- position from which it is known as it is here
			gone_at    bigint,           -- position at which it was known otherwise, or not at all
			primary key (case_id, number)
		);
		create table asked ( -- by whom
			register text not null,
			key      text not null,
			case_id  text not null,
			last_on  date not null, -- the day after the last act that was judged by the answer
			primary key (register, key, case_id)
		)`,
	Indexes: `
		create index on entry (register, key);
		create index on entry (known_at);
		create index on entry (gone_at) where gone_at is not null`,
	Apply: func(ctx context.Context, tx pgx.Tx, b *Batch) error {
		if err := replaceRows(ctx, tx, entryTable, b.Cases, entriesOf); err != nil {
			return err
		}
		return noteAsked(ctx, tx, b.Records)
	},
}

// noteAsked keeps which cases were judged by what is under a key, and by which
// officers' certificates.
func noteAsked(ctx context.Context, tx pgx.Tx, records []domain.Recorded) error {
	type who struct{ register, key, caseID string }
	last := make(map[who]calendar.Date)
	for i := range records {
		r := &records[i]
		if notes(r) {
			continue // what it says is of other days than its own
		}
		// A key may hold the day after, for an act about midnight.
		on := calendar.DateOf(r.Time).AddDays(1)
		note := func(register, key string) {
			w := who{register, key, string(r.Subject)}
			if on.After(last[w]) {
				last[w] = on
			}
		}
		if r.Data.Registers != nil {
			for _, l := range r.Data.Registers.Asked {
				note(l.Register, withoutZero(l.Key))
			}
		}
		if r.Data.RosterAt > 0 {
			for _, o := range r.Data.Officers {
				note(domain.RegisterProcedure, withoutZero(o.ID))
			}
		}
	}
	if len(last) == 0 {
		return nil
	}
	var registers, keys, cases []string
	var days []day
	for w, on := range last {
		registers, keys, cases, days = append(registers, w.register), append(keys, w.key), append(cases, w.caseID), append(days, day(on))
	}
	_, err := tx.Exec(ctx, `
		insert into asked as t (register, key, case_id, last_on)
		select * from unnest($1::text[], $2::text[], $3::text[], $4::date[])
		on conflict (register, key, case_id) do update set last_on = excluded.last_on
		where excluded.last_on > t.last_on`, registers, keys, cases, days)
	return err
}

var entryTable = caseTable{
	name:    "entry",
	key:     []string{"case_id", "number"},
	columns: []string{"case_id", "number", "register", "key", "valid_from", "valid_to", "agency", "event", "act", "says", "known_at", "gone_at"},
}

// notes reports whether a record notes findings on earlier acts.
func notes(r *domain.Recorded) bool {
	return len(r.Data.Findings) > 0 && !slices.ContainsFunc(r.Data.Findings, func(f rulebook.Finding) bool { return f.Of == "" })
}

// A heldEntry is an entry with the positions between which it was known.
type heldEntry struct {
	rulebook.Entry
	knownAt, goneAt uint64
}

// entriesOf is what a case has had in registers, from its first act on: what
// is known at each act is set beside what was known at the one before.
func entriesOf(c CaseState) [][]any {
	if len(c.Procedure.Enters) == 0 {
		return nil
	}
	var all []heldEntry
	receipts := c.After(0)
	c.Procedure.EachEntryChange(c.History, func(step int, gone, known []rulebook.Entry) {
		at := receipts[step].Position
		if len(gone) > 0 {
			left := make(map[string]int, len(gone)) // how often, by what it says
			for _, e := range gone {
				left[e.Text()]++
			}
			for k := range all {
				if held := &all[k]; held.goneAt == 0 {
					if text := held.Text(); left[text] > 0 {
						left[text]--
						held.goneAt = at
					}
				}
			}
		}
		for _, e := range known {
			all = append(all, heldEntry{Entry: e, knownAt: at})
		}
	})
	rows := make([][]any, len(all))
	for i, e := range all {
		says, err := json.Marshal(e.Says)
		if err != nil {
			panic("projections: texts that are no JSON: " + err.Error())
		}
		var gone *int64
		if e.goneAt > 0 {
			at := int64(e.goneAt)
			gone = &at
		}
		rows[i] = []any{
			e.Case, int32(i), e.Register, e.Key, day(e.From), day(e.Until), e.Agency, e.Event, e.Act, string(says), int64(e.knownAt), gone,
		}
	}
	return rows
}

// MaxEntries is how many entries may stand under one key. Who asks for more gets
// an error: part of an answer is none.
const MaxEntries = 10_000

// Facts answers what rules ask of registers, at a position that is not before
// from: it waits for the rows to come that far. It returns the position of the
// answer. Every lookup is in the answer, without entries where there are none.
func (db *DB) Facts(ctx context.Context, lookups []rulebook.Lookup, from uint64) (rulebook.Facts, uint64, error) {
	at, err := db.Wait(ctx, registers.Name, from)
	if err != nil {
		return nil, 0, err
	}
	facts, err := db.FactsAt(ctx, lookups, at)
	return facts, at, err
}

// FactsAt answers as Facts did at a position.
func (db *DB) FactsAt(ctx context.Context, lookups []rulebook.Lookup, at uint64) (rulebook.Facts, error) {
	asked := make([]domain.Asked, len(lookups))
	for i, l := range lookups {
		asked[i] = domain.Asked{Lookup: l, At: at}
	}
	then, err := db.FactsThen(ctx, asked)
	if err != nil {
		return nil, err
	}
	facts := make(rulebook.Facts, len(then))
	for a, entries := range then {
		facts[a.Lookup] = entries
	}
	return facts, nil
}

// FactsThen answers questions to registers each at the position that it names. It
// waits for the rows to come that far. Every question is in the answer.
func (db *DB) FactsThen(ctx context.Context, asked []domain.Asked) (domain.FactsThen, error) {
	facts := make(domain.FactsThen, len(asked))
	var last uint64
	for _, a := range asked {
		last = max(last, a.At)
		facts[a] = nil
	}
	if _, err := db.Wait(ctx, registers.Name, last); err != nil {
		return nil, err
	}
	for part := range slices.Chunk(slices.Collect(maps.Keys(facts)), 500) {
		if err := db.answer(ctx, facts, part); err != nil {
			return nil, fmt.Errorf("look up registers: %w", err)
		}
	}
	return facts, nil
}

// answer adds the answers to some questions, each asked once.
func (db *DB) answer(ctx context.Context, facts domain.FactsThen, asked []domain.Asked) error {
	names, keys, positions := make([]string, len(asked)), make([]string, len(asked)), make([]int64, len(asked))
	for i, a := range asked {
		names[i], keys[i], positions[i] = a.Register, withoutZero(a.Key), int64(a.At)
	}
	rows, err := db.pool.Query(ctx, `
		select a.number, e.valid_from, e.valid_to, e.case_id, e.agency, e.event, e.act, e.says
		from unnest($1::text[], $2::text[], $3::bigint[]) with ordinality a(register, key, position, number)
		cross join lateral (
			select *
			from `+registers.schema()+`.entry e
			where e.register = a.register and e.key = a.key and e.known_at <= a.position and (e.gone_at is null or e.gone_at > a.position)
			limit $4
		) e`, names, keys, positions, MaxEntries+1)
	if err != nil {
		return err
	}
	var number int64
	var e rulebook.Entry
	var says []byte
	_, err = pgx.ForEachRow(rows, []any{&number, (*day)(&e.From), (*day)(&e.Until), &e.Case, &e.Agency, &e.Event, &e.Act, &says}, func() error {
		a := asked[number-1]
		one := e
		one.Register, one.Key, one.Says = a.Register, a.Key, nil
		if err := json.Unmarshal(says, &one.Says); err != nil {
			return err
		}
		if facts[a] = append(facts[a], one); len(facts[a]) > MaxEntries {
			return fmt.Errorf("more than %d entries under %s in register %s", MaxEntries, a.Key, a.Register)
		}
		return nil
	})
	for _, a := range asked {
		slices.SortFunc(facts[a], rulebook.Entry.Compare)
	}
	return err
}

// Changes returns what the record at a position changed in registers. It waits
// for the model to come that far.
func (db *DB) Changes(ctx context.Context, position uint64) ([]rulebook.RegisterChange, error) {
	if _, err := db.Wait(ctx, registers.Name, position); err != nil {
		return nil, err
	}
	rows, err := db.pool.Query(ctx, `
		select register, key, valid_from, valid_to, case_id, agency, event, act, says, known_at = $1
		from `+registers.schema()+`.entry
		where known_at = $1 or gone_at = $1
		order by register, key, case_id, number`, int64(position))
	if err != nil {
		return nil, fmt.Errorf("changes of registers: %w", err)
	}
	var gone, known []rulebook.Entry
	var e rulebook.Entry
	var says []byte
	var isKnown bool
	_, err = pgx.ForEachRow(rows, []any{&e.Register, &e.Key, (*day)(&e.From), (*day)(&e.Until), &e.Case, &e.Agency, &e.Event, &e.Act, &says, &isKnown}, func() error {
		one := e
		one.Says = nil
		if err := json.Unmarshal(says, &one.Says); err != nil {
			return err
		}
		if isKnown {
			known = append(known, one)
		} else {
			gone = append(gone, one)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("changes of registers: %w", err)
	}
	return changed(gone, known), nil
}

// changed says from which day on a register answers otherwise: where an entry
// only ends on another day, from the earlier of the two on.
func changed(gone, known []rulebook.Entry) []rulebook.RegisterChange {
	since := make(map[rulebook.Lookup]calendar.Date)
	from := func(e rulebook.Entry, on calendar.Date) {
		l := rulebook.Lookup{Register: e.Register, Key: e.Key}
		if earlier, ok := since[l]; !ok || on.Before(earlier) {
			since[l] = on
		}
	}
	for _, e := range known {
		ended := slices.IndexFunc(gone, func(was rulebook.Entry) bool {
			was.Until = e.Until
			return was.Equal(e)
		})
		if ended < 0 {
			from(e, e.From)
			continue
		}
		was := gone[ended]
		gone = slices.Delete(gone, ended, ended+1)
		switch {
		case was.Until.IsZero() || !e.Until.IsZero() && e.Until.Before(was.Until):
			from(e, e.Until)
		default:
			from(e, was.Until)
		}
	}
	for _, e := range gone {
		from(e, e.From)
	}
	all := make([]rulebook.RegisterChange, 0, len(since))
	for l, on := range since {
		all = append(all, rulebook.RegisterChange{Lookup: l, Since: on})
	}
	slices.SortFunc(all, func(a, b rulebook.RegisterChange) int {
		return cmp.Or(strings.Compare(a.Register, b.Register), strings.Compare(a.Key, b.Key))
	})
	return all
}

// Asked returns the cases with an act on a change's first day or later that was
// judged by what is under its key, in the order of their ids: up to limit of
// them, after one of them. Under the name of the officers' procedure stand the
// cases in which an officer took part.
func (db *DB) Asked(ctx context.Context, c rulebook.RegisterChange, after domain.CaseID, limit int) ([]domain.CaseID, error) {
	rows, err := db.pool.Query(ctx, `
		select case_id
		from `+registers.schema()+`.asked
		where register = $1 and key = $2 and last_on >= $3 and case_id > $4
		order by case_id
		limit $5`, c.Register, withoutZero(c.Key), day(c.Since), string(after), limit)
	if err != nil {
		return nil, fmt.Errorf("cases that asked registers: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[domain.CaseID])
	if err != nil {
		return nil, fmt.Errorf("cases that asked registers: %w", err)
	}
	return ids, nil
}

// ChangedBetween reports whether a register came to answer otherwise under one of
// some keys between two positions, both left out.
func (db *DB) ChangedBetween(ctx context.Context, lookups []rulebook.Lookup, after, before uint64) (bool, error) {
	if _, err := db.Wait(ctx, registers.Name, before); err != nil {
		return false, err
	}
	names, keys := make([]string, len(lookups)), make([]string, len(lookups))
	for i, l := range lookups {
		names[i], keys[i] = l.Register, withoutZero(l.Key)
	}
	var changed bool
	err := db.pool.QueryRow(ctx, `
		select exists (
			select
			from unnest($1::text[], $2::text[]) a(register, key)
			join `+registers.schema()+`.entry e using (register, key)
			where e.known_at > $3 and e.known_at < $4 or e.gone_at > $3 and e.gone_at < $4
		)`, names, keys, int64(after), int64(before)).Scan(&changed)
	if err != nil {
		return false, fmt.Errorf("changes of registers: %w", err)
	}
	return changed, nil
}
