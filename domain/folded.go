package domain

import (
	"fmt"
	"maps"
	"slices"

	"liuhen/domain/rulebook"
)

// folded is what has been recorded in the cases of one procedure, up to a
// position: what registers in memory are made of. It is a value: with makes the
// next one.
type folded struct {
	procedure string
	at        uint64
	files     map[CaseID]*file
}

// A file is one case of it.
type file struct {
	agency   string
	opened   uint64 // position of the first record
	revision int
	steps    []rulebook.Step // those not corrected, each correction in the place of what it corrects
}

// with returns what there is after further records, in their order, and which
// cases they changed. The records may be of any procedure, and may have been
// taken in before. It fails with ErrChain where one is missing.
func (f folded) with(records ...Recorded) (folded, []CaseID, error) {
	var changed []CaseID
	for _, r := range records {
		f.at = max(f.at, r.Position)
		if r.Procedure() != f.procedure {
			continue
		}
		next := file{agency: r.Agency(), opened: r.Position}
		if known := f.files[r.Subject]; known != nil {
			next = *known
		}
		switch {
		case r.Revision <= next.revision:
			continue
		case r.Revision > next.revision+1:
			return folded{}, nil, fmt.Errorf("%w: register of %s: case %s, position %d: revision %d after %d",
				ErrChain, f.procedure, r.Subject, r.Position, r.Revision, next.revision)
		}
		next.revision++
		next.take(r.Step())
		if len(changed) == 0 {
			if f.files = maps.Clone(f.files); f.files == nil {
				f.files = make(map[CaseID]*file)
			}
		}
		f.files[r.Subject] = &next
		if !slices.Contains(changed, r.Subject) {
			changed = append(changed, r.Subject)
		}
	}
	return f, changed, nil
}

// upTo is the same at a later position, up to which no record was of the
// procedure.
func (f folded) upTo(position uint64) folded {
	f.at = max(f.at, position)
	return f
}

func (f *file) take(s rulebook.Step) {
	f.steps = slices.Clone(f.steps)
	place := slices.IndexFunc(f.steps, func(earlier rulebook.Step) bool { return earlier.Event == s.Corrects })
	if s.Corrects != "" && place >= 0 {
		f.steps[place] = s
	} else {
		f.steps = append(f.steps, s)
	}
}
