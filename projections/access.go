package projections

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/eventstore"
)

// A Look says that somebody read personal data: it is the record of the
// access trail, one JSON object each.
type Look struct {
	At      time.Time     `json:"at"`
	Person  string        `json:"person"`            // id of who looked
	Role    string        `json:"role"`              // in which the person looked
	Agency  string        `json:"agency"`            // of that person
	What    string        `json:"what"`              // case, timeline, ledger, export …
	Case    domain.CaseID `json:"case,omitempty"`    // empty where a list was read
	Query   string        `json:"query,omitempty"`   // the filter, where a list was read
	Rows    int           `json:"rows,omitempty"`    // how many were handed out, where a list was read
	Purpose string        `json:"purpose,omitempty"` // as stated
	Address string        `json:"address,omitempty"` // where the request came from
}

// ErrLook says that stored bytes are not a record of the access trail.
var ErrLook = errors.New("not a record of the access trail")

// ReadLook decodes a record of the access trail.
func ReadLook(data []byte) (Look, error) {
	var l Look
	if err := json.Unmarshal(data, &l); err != nil {
		return Look{}, fmt.Errorf("%w: %w", ErrLook, err)
	}
	if l.At.IsZero() || l.Person == "" || l.What == "" {
		return Look{}, fmt.Errorf("%w: at %s, person %q, what %q", ErrLook, l.At, l.Person, l.What)
	}
	return l, nil
}

// A RecordedLook is a look and where it stands in the access trail.
type RecordedLook struct {
	Position uint64 `json:"position"`
	Look
}

func decodeLooks(stored []eventstore.Record) ([]RecordedLook, error) {
	looks := make([]RecordedLook, len(stored))
	for i, s := range stored {
		l, err := ReadLook(s.Data)
		if err != nil {
			return nil, fmt.Errorf("position %d: %w", s.Position, err)
		}
		looks[i] = RecordedLook{Position: uint64(s.Position), Look: l}
	}
	return looks, nil
}

// looks holds who looked at what, and why. Rows are only added.
var looks = Projection{
	Name:    "access",
	Version: 1,
	Looks:   true,
	Schema: `
		create table look (
			position  bigint      primary key,
			looked_at timestamptz not null,
			person    text        not null,
			role      text        not null,
			agency    text        not null,
			what      text        not null,
			case_id   text        not null, -- empty where a list was read
			query     text        not null,
			handed    bigint      not null, -- rows
			purpose   text        not null,
			address   text        not null
		)`,
	Indexes: `
		create index on look (case_id, position) where case_id <> '';
		create index on look (person, position)`,
	Apply: func(ctx context.Context, tx pgx.Tx, b *Batch) error {
		rows := make([][]any, len(b.Looks))
		for i, l := range b.Looks {
			rows[i] = []any{
				int64(l.Position), l.At, l.Person, l.Role, l.Agency, l.What, string(l.Case), l.Query, int64(l.Rows), l.Purpose, l.Address,
			}
		}
		return copyRows(ctx, tx, "look", []string{
			"position", "looked_at", "person", "role", "agency", "what", "case_id", "query", "handed", "purpose", "address",
		}, rows)
	},
}

// A LooksFilter narrows the access trail; what is empty asks for nothing.
type LooksFilter struct {
	Case     domain.CaseID
	Person   string
	Agencies []string // of who looked: one of these
	What     string
	From, To calendar.Date // looked, days included
}

// LooksAt returns who looked at what, the latest first.
func (db *DB) LooksAt(ctx context.Context, f LooksFilter, p Page) (List[RecordedLook], error) {
	list, err := f.question().page(ctx, db.pool, p)
	if err != nil {
		return list, fmt.Errorf("access trail: %w", err)
	}
	return list, nil
}

// EachLook is LooksAt without pages; see EachLedger.
func (db *DB) EachLook(ctx context.Context, f LooksFilter, header func(position uint64) error) iter.Seq2[RecordedLook, error] {
	return f.question().all(ctx, db, header)
}

func (f LooksFilter) question() question[RecordedLook] {
	q := question[RecordedLook]{
		schema: looks.schema(),
		table:  "look",
		columns: []string{
			"t.position", "t.looked_at", "t.person", "t.role", "t.agency", "t.what", "t.case_id", "t.query", "t.handed", "t.purpose", "t.address",
		},
		order: []sortKey{{"position", "bigint"}},
		down:  true,
		scan: func(scan func(...any) error) (l RecordedLook, err error) {
			var position int64
			err = scan(&position, &l.At, &l.Person, &l.Role, &l.Agency, &l.What, (*string)(&l.Case), &l.Query, &l.Rows, &l.Purpose, &l.Address)
			l.Position = uint64(position)
			return l, err
		},
		key: func(l RecordedLook) []string { return []string{strconv.FormatUint(l.Position, 10)} },
	}
	q.where.is("t.case_id", string(f.Case))
	q.where.is("t.person", f.Person)
	q.where.oneOf("t.agency", f.Agencies)
	q.where.is("t.what", f.What)
	q.where.within("t.looked_at", f.From, f.To)
	return q
}
