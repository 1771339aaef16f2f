// Package audit holds the record, the log of proofs and the history of its
// checkpoints against each other: all of it, a range, a case or one record. It
// believes the keys that it is given, and nothing else: every record is hashed
// anew, every leaf, root, head of a case and file of the log follows from that.
//
// It needs no running system, only something to read from (Source), and it goes on
// after the first fault: each is a Fault with the position, and with what kind of
// change it looks like.
package audit

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"liuhen/eventstore"
	"liuhen/transparency"
)

// Records are the records of a volume; *Volume is them.
type Records interface {
	// End is the position of the last.
	End(ctx context.Context) (uint64, error)
	// Read yields those from a position on, up to and with another, that there
	// are, in order; of one stream by its name, or of all ("").
	Read(ctx context.Context, from, upTo uint64, name string) iter.Seq2[[]eventstore.Record, error]
	// At is the one at a position, or ErrNoRecord.
	At(ctx context.Context, position uint64) (eventstore.Record, error)
}

// A History has what was signed, in order; *transparency.History is one.
type History interface {
	// End is the number of the last entry. An error other than that of ctx says
	// that the history is not whole.
	End(ctx context.Context) (uint64, error)
	Follow(ctx context.Context, after uint64) iter.Seq2[transparency.HistoryEntry, error]
	Last(ctx context.Context, kind transparency.Kind) (transparency.HistoryEntry, error)
}

// Tiles are the files of a log; transparency.Folder is them.
type Tiles interface {
	Hashes(level int, n int64, width int) ([]tlog.Hash, error)
	Leaves(n int64, width int) ([][]byte, error)
	// Checkpoint is the signed note that they were last made complete for; nil
	// where there is none.
	Checkpoint() ([]byte, error)
}

// A Memory is a checkpoint that was put aside where the record is not: in a file
// beside the key, or by somebody who was shown it.
type Memory struct {
	Where string
	Note  []byte
}

// A Source is what is audited.
type Source struct {
	Records  Records
	History  History
	Settings transparency.Settings // what the log was begun with
	Keys     note.Verifiers        // of the log, each good for the sizes that it signed
	Tiles    Tiles                 // nil: there are none, and what was changed cannot be told record by record
	Memories []Memory
	// Heads proves the heads of cases under the newest checkpoint; needed by Case.
	Heads func(ctx context.Context, cases []string) ([]transparency.CaseHead, error)

	Tolerance Tolerance // zero: DefaultTolerance
	Limit     int       // of faults that are told one by one; 0: 100
	Workers   int       // that hash and decode; 0: as many as there are processors
	// Progress is told how many of how many records are done; may be nil.
	Progress func(done, of uint64)
}

// A Result is what an audit found.
type Result struct {
	Scope  Scope     `json:"scope"`
	Origin string    `json:"origin"`
	Volume string    `json:"volume"`
	At     time.Time `json:"at"` // when it ended

	From        uint64 `json:"from"` // positions that were looked at
	Through     uint64 `json:"through"`
	Records     int64  `json:"records"`
	Cases       int64  `json:"cases,omitempty"`
	Checkpoints int64  `json:"checkpoints,omitempty"` // whose signatures and roots were checked
	Tiles       int64  `json:"tiles,omitempty"`       // files of the log that were compared
	Proofs      int64  `json:"proofs,omitempty"`      // of inclusion, under Sealed

	Sealed     int64     `json:"sealed"` // size of the newest checkpoint
	Root       tlog.Hash `json:"root"`
	Checkpoint string    `json:"checkpoint,omitempty"` // the signed note

	Faults []Fault `json:"faults"`
	More   int64   `json:"more,omitempty"` // faults that are not told one by one
	// Unchecked says what could not be checked because of what was found.
	Unchecked []string `json:"unchecked,omitempty"`
	Seconds   float64  `json:"seconds"`
}

// A Scope is what was to be audited: all of it where every field is zero.
type Scope struct {
	From    uint64 `json:"from,omitempty"`
	Through uint64 `json:"through,omitempty"`
	Case    string `json:"case,omitempty"`
	Record  uint64 `json:"record,omitempty"`
}

// Check says what is wrong with a scope.
func (s Scope) Check() error {
	asked := 0
	for _, is := range []bool{s.From > 0 || s.Through > 0, s.Case != "", s.Record > 0} {
		if is {
			asked++
		}
	}
	switch {
	case asked > 1:
		return fmt.Errorf("verify a range, a case or a record, not several at once")
	case (s.From > 0 || s.Through > 0) && (s.From < 1 || s.Through < s.From):
		return fmt.Errorf("a range is from a position, which is 1 or more, to a later one, not from %d to %d", s.From, s.Through)
	}
	return nil
}

// Clean says that nothing was found.
func (r Result) Clean() bool { return len(r.Faults) == 0 }

// First is the fault at the first bad position, or, where none has a position,
// the first of all; nil if there is none.
func (r Result) First() *Fault {
	if len(r.Faults) == 0 {
		return nil
	}
	return &r.Faults[0]
}

// Run audits a scope. An error means that it could not be done; what it found is
// in the Result.
func (s Source) Run(ctx context.Context, scope Scope) (Result, error) {
	if err := scope.Check(); err != nil {
		return Result{}, err
	}
	if s.Tolerance == (Tolerance{}) {
		s.Tolerance = DefaultTolerance
	}
	s.Limit = cmp.Or(s.Limit, 100)
	if s.Progress == nil {
		s.Progress = func(uint64, uint64) {}
	}
	began := time.Now()
	a := &run{Source: s, Result: Result{Scope: scope, Origin: s.Settings.Origin, Volume: s.Settings.Volume, Faults: []Fault{}}}
	var err error
	switch {
	case scope.Record > 0:
		err = a.rangeOf(ctx, scope.Record, scope.Record)
	case scope.From > 0:
		err = a.rangeOf(ctx, scope.From, scope.Through)
	case scope.Case != "":
		err = a.caseOf(ctx, scope.Case)
	default:
		err = a.whole(ctx)
	}
	a.settle()
	a.Result.At, a.Seconds = time.Now().UTC(), time.Since(began).Seconds()
	return a.Result, err
}

// A run is one audit under way.
type run struct {
	Source
	Result
}

// found takes a fault in; nil is none.
func (a *run) found(f *Fault) {
	switch {
	case f == nil:
	case len(a.Faults) < a.Limit:
		a.Faults = append(a.Faults, *f)
	default:
		a.More++
	}
}

// settle puts the faults in the order of their positions, those about no record
// last, and tells changed records that only stand elsewhere.
func (a *run) settle() {
	for i := range a.Faults {
		f := &a.Faults[i]
		if f.Kind != Changed {
			continue
		}
		for k := range a.Faults {
			if g := &a.Faults[k]; k != i && f.mine == g.theirs && g.Position > 0 && g.Position != f.Position {
				f.moved(g.Position)
				break
			}
		}
	}
	order := func(f Fault) uint64 { return f.Position - 1 } // 0 comes last
	slices.SortStableFunc(a.Faults, func(x, y Fault) int { return cmp.Compare(order(x), order(y)) })
}

// newest is the newest checkpoint that the history has, by a good signature; zero
// if there is none.
func (a *run) newest(ctx context.Context) (transparency.Checkpoint, error) {
	e, err := a.History.Last(ctx, transparency.KindCheckpoint)
	if err != nil {
		return transparency.Checkpoint{}, err
	}
	c, err := transparency.OpenCheckpoint(e.Data, a.Settings.Origin, a.Keys)
	if err != nil {
		a.found(foundSignature(entry(e.Seq), err))
		return transparency.Checkpoint{}, nil
	}
	a.Sealed, a.Root, a.Checkpoint = c.Size, c.Root, string(c.Note)
	return c, nil
}

func entry(seq uint64) string {
	return fmt.Sprintf("历史第 %d 项 · entry %d of the history", seq, seq)
}

// remembered reads the checkpoints that were put aside; those of the history must
// not have fallen behind them.
func (a *run) remembered() []remembered {
	var all []remembered
	memories := a.Memories
	if a.Source.Tiles != nil {
		text, err := a.Source.Tiles.Checkpoint()
		if err != nil {
			a.found(foundTile("checkpoint", 0, 0, tileGone))
		} else if text != nil {
			memories = append(slices.Clone(memories), Memory{Where: "log/checkpoint", Note: text})
		}
	}
	for _, m := range memories {
		c, err := transparency.OpenCheckpoint(m.Note, a.Settings.Origin, a.Keys)
		if err != nil {
			a.found(foundSignature(m.Where, err))
			continue
		}
		all = append(all, remembered{m.Where, c})
	}
	slices.SortFunc(all, func(x, y remembered) int { return cmp.Compare(x.c.Size, y.c.Size) })
	return all
}

type remembered struct {
	where string
	c     transparency.Checkpoint
}
