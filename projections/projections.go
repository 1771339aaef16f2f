// Package projections keeps tables to read from, filled from the record, and
// answers their questions.
//
// A read model is one file: its tables, how a batch of records changes them,
// and what can be asked of it. Rows and the position that they have come to are
// written in one transaction; every answer carries the position of its rows.
// Any read model can be filled anew from the record: see Rebuild.
//
// To learn the package read timeline.go, the simplest model, then apply.go,
// which is the one transaction, and run.go.
package projections

import (
	"context"
	"fmt"
	"iter"
	"strconv"

	"github.com/jackc/pgx/v5"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/eventstore"
)

// All are the read models of the record of cases.
var All = []Projection{
	timeline,
	ledger,
	deadlines,
	findings,
	registers,
	stats,
}

// Access are the read models of the access trail.
var Access = []Projection{
	looks,
}

// A Projection is one read model.
type Projection struct {
	Name    string
	Version int // raise it when Schema or Apply changes; the tables are then filled anew beside the old ones

	// Schema makes the tables, each with a primary key, in an empty schema
	// that is first in the search path. So it writes table names without
	// schema, and so does Apply; everywhere else names have their schema.
	Schema string
	// Indexes are what only the questions need. A fill makes them last.
	Indexes string

	// Apply changes the tables by a batch: one record when the system is
	// quiet, thousands when tables are filled. The rows must follow from the
	// records alone, however these are cut into batches.
	Apply func(ctx context.Context, tx pgx.Tx, b *Batch) error

	Folds bool // Apply looks at Batch.Cases
	Looks bool // of the access trail: Apply looks at Batch.Looks
}

// schema is where the tables of a model lie.
func (p *Projection) schema() string { return p.Name + "_v" + strconv.Itoa(p.Version) }

// A Batch is what a model applies at once: records without a gap.
type Batch struct {
	Records []domain.Recorded
	Cases   []CaseState    // for a model that Folds: cases whose rows must be written
	Looks   []RecordedLook // for the access trail, instead of Records

	first, last uint64 // positions, both included
	folded      error  // why there are no Cases

	base *calendar.Calendar // that days are counted by where nothing else was confirmed
	// load reads cases from the record, as they are at the end of the batch.
	load func(ctx context.Context, ids []domain.CaseID) ([]CaseState, error)
}

// A CaseState is a case as it is after a batch.
type CaseState struct {
	*domain.Case
	New bool // no row has been written for it yet
}

// A Store is the record that models follow; an *eventstore.Store is one.
type Store interface {
	// FollowBatches yields what is there after a position, up to max records
	// at a time, and then waits for more. There is no gap, or an error.
	FollowBatches(ctx context.Context, after eventstore.Position, max int) iter.Seq2[[]eventstore.Record, error]
	// Load reads the records of one case, and the position up to which they
	// are complete.
	Load(ctx context.Context, stream string) ([]eventstore.Record, eventstore.Position, error)
	// Last is the position of the last record of all.
	Last(ctx context.Context) (eventstore.Position, error)
}

// named returns the models with the names; without names all of them.
func named(models []Projection, names ...string) ([]Projection, error) {
	if len(names) == 0 {
		return models, nil
	}
	var out []Projection
	for _, name := range names {
		p, ok := model(models, name)
		if !ok {
			return nil, fmt.Errorf("there is no read model %q", name)
		}
		out = append(out, p)
	}
	return out, nil
}

func model(models []Projection, name string) (Projection, bool) {
	for _, p := range models {
		if p.Name == name {
			return p, true
		}
	}
	return Projection{}, false
}
