package projections

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// ledger is the 台账: one row a case, as it stands.
var ledger = Projection{
	Name:    "ledger",
	Version: 1,
	Folds:   true,
	Schema: `
		create table entry (
			case_id     text        primary key,
			agency      text        not null,
			procedure   text        not null,
			edition     date        not null,
			stage       text        not null, -- empty where the procedure has none
			closed      boolean     not null,
			imported    boolean     not null, -- at least one event
			opened      date        not null,
			stages      jsonb       not null, -- stage → day on which it was last entered
			last_act    text        not null,
			last_at     timestamptz not null, -- occurred
			recorded_at timestamptz not null, -- the last record
			revision    integer     not null,
			position    bigint      not null, -- of the last record
			head        bytea       not null, -- digest of the last record
			parties     text[]      not null,
			codes       text[]      not null, -- unified social credit codes
			numbers     text[]      not null, -- of documents
			officers    text[]      not null, -- ids
			people      text[]      not null, -- names of the officers, in the same order
			late        integer     not null, -- records made too late, with the reason
			invalid     integer     not null, -- findings by severity, of events that stand
			veto        integer     not null,
			major       integer     not null,
			minor       integer     not null,
			notice      integer     not null,
			words       tsvector    not null, -- pairs of characters of what can be searched
			names       text        not null, -- the parties, normalised, one a line
			search      text        not null  -- what else can be searched, likewise
		) with (fillfactor = 80)`,
	Indexes: `
		create index on entry (opened, case_id);
		create index on entry (agency, opened, case_id);
		create index on entry (procedure, opened, case_id);
		create index on entry using gin (officers);
		create index on entry using gin (words)`,
	Apply: func(ctx context.Context, tx pgx.Tx, b *Batch) error {
		return replaceRows(ctx, tx, ledgerTable, b.Cases, func(c CaseState) [][]any {
			e := entryOf(c.Case)
			names, rest := searchable(e.Parties...), searchable(e.searched()...)
			return [][]any{{
				string(e.Case), e.Agency, e.Procedure, day(e.Edition), e.Stage, e.Closed, e.Imported, day(e.Opened), e.Stages,
				e.LastAct, e.LastAt, e.RecordedAt, int32(e.Revision), int64(e.Position), e.Head[:],
				orEmpty(e.Parties), orEmpty(e.Codes), orEmpty(e.Numbers), orEmpty(e.Officers), orEmpty(e.People), int32(e.Late),
				int32(e.Findings[rulebook.Invalid]), int32(e.Findings[rulebook.Veto]), int32(e.Findings[rulebook.Major]),
				int32(e.Findings[rulebook.Minor]), int32(e.Findings[rulebook.Notice]),
				vector(names, rest), names, rest,
			}}
		})
	},
}

var ledgerTable = caseTable{
	name:    "entry",
	key:     []string{"case_id"},
	columns: ledgerColumns,
}

var ledgerColumns = []string{
	"case_id", "agency", "procedure", "edition", "stage", "closed", "imported", "opened", "stages",
	"last_act", "last_at", "recorded_at", "revision", "position", "head",
	"parties", "codes", "numbers", "officers", "people", "late",
	"invalid", "veto", "major", "minor", "notice",
	"words", "names", "search",
}

// A LedgerEntry is one case as it stands.
type LedgerEntry struct {
	Case       domain.CaseID
	Agency     string
	Procedure  string
	Edition    calendar.Date
	Stage      string // empty where the procedure has none
	Closed     bool
	Imported   bool // at least one event was taken over from elsewhere
	Opened     calendar.Date
	Stages     map[string]calendar.Date // the day on which each stage was last entered
	LastAct    string
	LastAt     time.Time // when the last act occurred
	RecordedAt time.Time // when the last record was made
	Revision   int       // number of records
	Position   uint64    // of the last record
	Head       domain.Digest
	Parties    []string
	Codes      []string // unified social credit codes of the parties
	Numbers    []string // of documents
	Officers   []string // ids of those who took part
	People     []string // their names as last recorded, in the same order
	Late       int      // records made too late, with the reason
	Findings   map[rulebook.Severity]int
}

// entryOf reads the entry off a folded case. Events that were corrected do not
// count.
func entryOf(c *domain.Case) LedgerEntry {
	steps := c.History.Steps
	last := steps[len(steps)-1]
	e := LedgerEntry{
		Case: c.ID, Agency: c.Agency, Procedure: c.Procedure.Name, Edition: c.Procedure.Edition,
		Stage: c.Stage(), Closed: c.Closed, Opened: c.Opened(), Stages: make(map[string]calendar.Date),
		LastAct: last.Act, LastAt: last.At, RecordedAt: last.Recorded,
		Revision: c.Revision, Position: c.Position, Head: c.Head,
		Findings: make(map[rulebook.Severity]int),
	}
	var corrected map[string]bool
	for i := range steps {
		s := &steps[i]
		e.Imported = e.Imported || s.Imported
		if s.CorrectedBy != "" {
			if corrected == nil {
				corrected = make(map[string]bool)
			}
			corrected[s.Event] = true
			continue
		}
		e.take(c.Procedure, s)
		e.Late += int(one(s.LateReason != ""))
	}
	type found struct{ by, rule, of string }
	lifted := make(map[found]bool)
	for _, r := range c.After(0) {
		for _, f := range r.Findings {
			if f.Lifts != "" {
				lifted[found{f.Lifts, f.Rule, f.Of}] = true
			}
		}
	}
	for _, r := range c.After(0) {
		if corrected[r.Event] {
			continue
		}
		for _, f := range r.Findings {
			if f.Lifts == "" && !lifted[found{r.Event, f.Rule, cmp.Or(f.Of, r.Event)}] {
				e.Findings[f.Severity]++
			}
		}
	}
	return e
}

// take adds what one step says.
func (e *LedgerEntry) take(p *rulebook.Procedure, s *rulebook.Step) {
	act, _ := p.Act(s.Act)
	if act != nil && act.To != "" {
		if on := calendar.DateOf(s.At); on.After(e.Stages[act.To]) {
			e.Stages[act.To] = on
		}
	}
	for _, o := range s.Officers {
		if i := slices.Index(e.Officers, o.ID); i >= 0 {
			e.People[i] = o.Name
			continue
		}
		e.Officers, e.People = append(e.Officers, o.ID), append(e.People, o.Name)
	}
	for _, d := range s.Documents {
		e.Numbers = with(e.Numbers, d.Number)
	}
	for name, value := range s.Fields {
		var typ string
		if act != nil {
			if f, ok := act.Field(name); ok {
				typ = f.Type
			}
		}
		switch {
		case typ == "party", typ == "" && (name == "party" || name == "parties"):
			e.takeParty(value)
		case typ == "uscc":
			e.Codes = with(e.Codes, text(value))
		case (typ == "text" || typ == "") && (name == "number" || strings.HasSuffix(name, "_number")):
			e.Numbers = with(e.Numbers, text(value))
		}
	}
	// Fields come in no order, and the row must not depend on that.
	slices.Sort(e.Parties)
	slices.Sort(e.Codes)
	slices.Sort(e.Numbers)
}

// takeParty takes a party, several, or a bare name.
func (e *LedgerEntry) takeParty(value any) {
	switch v := value.(type) {
	case string:
		e.Parties = with(e.Parties, v)
	case []any:
		for _, one := range v {
			e.takeParty(one)
		}
	case map[string]any:
		e.Parties = with(e.Parties, text(v["name"]))
		e.Codes = with(e.Codes, text(v["uscc"]))
	}
}

// with adds what is not empty and not there.
func with(list []string, s string) []string {
	if s == "" || slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

func text(v any) string { s, _ := v.(string); return s }

// searched is what a search looks in besides the parties: the case number,
// credit codes and the numbers of documents.
func (e *LedgerEntry) searched() []string {
	return slices.Concat([]string{string(e.Case)}, e.Codes, e.Numbers)
}

// A LedgerFilter narrows the ledger; what is empty asks for nothing.
type LedgerFilter struct {
	Agencies  []string // one of these
	Procedure string
	Officer   string // id
	Stage     string
	From, To  calendar.Date // opened, days included
	Party     string        // words, each part of a party's name
	Query     string        // words, each in the case number, a party, a credit code or a document number
	Closed    *bool
	Findings  bool // only cases with findings
	Cases     []domain.CaseID
}

// Ledger returns cases, the last opened first.
func (db *DB) Ledger(ctx context.Context, f LedgerFilter, p Page) (List[LedgerEntry], error) {
	list, err := f.question().page(ctx, db.pool, p)
	if err != nil {
		return list, fmt.Errorf("ledger: %w", err)
	}
	return list, nil
}

// EachLedger is Ledger without pages: every entry as of one moment, read while
// it is ranged over. header gets the position first, also where there are no
// entries; it may be nil, and its error ends the sequence.
func (db *DB) EachLedger(ctx context.Context, f LedgerFilter, header func(position uint64) error) iter.Seq2[LedgerEntry, error] {
	return f.question().all(ctx, db, header)
}

// CountLedger counts the cases, but no further than to most.
func (db *DB) CountLedger(ctx context.Context, f LedgerFilter, most int) (int, error) {
	n, err := f.question().count(ctx, db.pool, most)
	if err != nil {
		return 0, fmt.Errorf("count the ledger: %w", err)
	}
	return n, nil
}

// Entry returns the ledger's row of one case, and false if there is none.
func (db *DB) Entry(ctx context.Context, id domain.CaseID) (LedgerEntry, bool, error) {
	list, err := db.Ledger(ctx, LedgerFilter{Cases: []domain.CaseID{id}}, Page{Limit: 1})
	if err != nil || len(list.Items) == 0 {
		return LedgerEntry{}, false, err
	}
	return list.Items[0], true, nil
}

func (f LedgerFilter) question() question[LedgerEntry] {
	q := question[LedgerEntry]{
		schema: ledger.schema(),
		table:  "entry",
		order:  []sortKey{{"opened", "date"}, {"case_id", "text"}},
		down:   true,
		scan:   scanEntry,
		key:    func(e LedgerEntry) []string { return []string{e.Opened.String(), string(e.Case)} },
	}
	for _, c := range ledgerColumns[:len(ledgerColumns)-3] { // not what is only searched in
		q.columns = append(q.columns, "t."+c)
	}
	q.where.oneOf("t.agency", f.Agencies)
	q.where.is("t.procedure", f.Procedure)
	q.where.is("t.stage", f.Stage)
	if f.Officer != "" {
		q.where.add("t.officers @> array[?::text]", f.Officer)
	}
	q.where.days("t.opened", f.From, f.To)
	if f.Closed != nil {
		q.where.add("t.closed = ?", *f.Closed)
	}
	if f.Findings {
		q.where.add("t.invalid + t.veto + t.major + t.minor + t.notice > 0")
	}
	if len(f.Cases) > 0 {
		q.where.oneOf("t.case_id", column(f.Cases, func(id domain.CaseID) string { return string(id) }))
	}
	q.where.search("t.words", f.Query, true, "t.search", "t.names")
	q.where.search("t.words", f.Party, false, "t.names")
	return q
}

func scanEntry(scan func(...any) error) (e LedgerEntry, err error) {
	var position int64
	var head []byte
	var counts [5]int
	err = scan(
		(*string)(&e.Case), &e.Agency, &e.Procedure, (*day)(&e.Edition), &e.Stage, &e.Closed, &e.Imported, (*day)(&e.Opened), &e.Stages,
		&e.LastAct, &e.LastAt, &e.RecordedAt, &e.Revision, &position, &head,
		&e.Parties, &e.Codes, &e.Numbers, &e.Officers, &e.People, &e.Late,
		&counts[0], &counts[1], &counts[2], &counts[3], &counts[4],
	)
	e.Position = uint64(position)
	copy(e.Head[:], head)
	e.Findings = make(map[rulebook.Severity]int)
	for i, severity := range []rulebook.Severity{rulebook.Invalid, rulebook.Veto, rulebook.Major, rulebook.Minor, rulebook.Notice} {
		if counts[i] > 0 {
			e.Findings[severity] = counts[i]
		}
	}
	return e, err
}
