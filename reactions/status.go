package reactions

import (
	"cmp"
	"slices"
	"time"

	"liuhen/domain/rulebook"
)

// A Status is how a reaction does.
type Status struct {
	Name     string        `json:"name"`
	Says     rulebook.Text `json:"says"`
	Position uint64        `json:"position"`           // it has dealt with every record up to here
	Lag      uint64        `json:"lag"`                // records that it has not dealt with
	SetAside int           `json:"set_aside"`          // records that wait for a person
	Handled  uint64        `json:"handled"`            // records that this process has reacted to, since it started
	Standing []Standing    `json:"standing,omitempty"` // records at which it stands still, first position first
	Trouble  string        `json:"trouble,omitempty"`  // why it cannot read at present
}

// A Standing is a record at which a reaction stands still, because of a fault
// that is none of the record's.
type Standing struct {
	Position uint64    `json:"position"`
	Since    time.Time `json:"since"`
	Error    string    `json:"error"`
}

// A TickStatus is how a Tick does, as far as this process has done it.
type TickStatus struct {
	Name     string        `json:"name"`
	Says     rulebook.Text `json:"says"`
	Every    time.Duration `json:"-"`
	Last     time.Time     `json:"last,omitzero"`
	LastGood time.Time     `json:"last_good,omitzero"`
	Error    string        `json:"error,omitempty"` // of the last time
	Done     uint64        `json:"done"`
	Failures uint64        `json:"failures"`
}

// Status is how the reactions do, in the order of the table of contents. It
// answers from memory: positions are at most a second old.
func (r *Runner) Status() []Status {
	counts := r.asides.counts()
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Status, 0, len(r.Reactions))
	for _, re := range r.Reactions {
		s := r.reactions[re.Name]
		st := Status{
			Name: re.Name, Says: re.Says, Position: s.position, Lag: s.lag, SetAside: counts[re.Name], Handled: s.handled, Trouble: s.trouble,
		}
		for _, standing := range s.standing {
			st.Standing = append(st.Standing, standing)
		}
		slices.SortFunc(st.Standing, func(a, b Standing) int { return cmp.Compare(a.Position, b.Position) })
		all = append(all, st)
	}
	return all
}

// TickStatus is how the ticks do, in the order of their table of contents.
func (r *Runner) TickStatus() []TickStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]TickStatus, 0, len(r.Ticks))
	for _, t := range r.Ticks {
		all = append(all, *r.ticks[t.Name])
	}
	return all
}
