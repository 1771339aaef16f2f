package rulebook

import (
	"sync/atomic"
	"time"

	"liuhen/domain/calendar"
)

// A History is what has been recorded in a case, as rules look at it. It is
// never changed: Append makes the next one and shares what the two have in
// common, so that many may read a history while others go on from it.
type History struct {
	Case   string
	Agency string
	Area   string        // GB/T 2260 code of the place, where it is known
	Opened calendar.Date // day of the first act; zero while there is none
	Stage  string        // in which the case stands; empty before the first act
	Steps  []Step        // every event in the order recorded; do not change them

	procedure *Procedure
	steps     grown[Step]
	live      grown[past] // what rules see: a correction stands in the place of what it corrects
	last      []int32     // by act: the last of it in live, -1 for none
	stage     int32
	closed    bool
}

// past is one step as rules see it.
type past struct {
	step  int32 // in Steps
	act   int32 // in Procedure.Acts, -1 if it is not listed
	prev  int32 // in live: the one before it of the same act, -1 for none
	stage int32 // in which the case was, -1 before the first stage
	on    calendar.Date
}

// NewHistory is the empty history of a case under the procedure.
func (p *Procedure) NewHistory(caseID, agency string) *History {
	last := make([]int32, len(p.Acts))
	for i := range last {
		last[i] = -1
	}
	return &History{Case: caseID, Agency: agency, procedure: p, last: last, stage: -1}
}

// Procedure is the law that the case goes by.
func (h *History) Procedure() *Procedure { return h.procedure }

// Append returns the history with one more step. A step that corrects another
// takes its place for every rule from then on; in the new history, and only
// there, the corrected one says so in CorrectedBy. A step that claims to
// correct an unknown event counts as one of its own.
func (h *History) Append(s Step) *History {
	next := *h
	if s.Corrects != "" {
		if i := h.find(s.Corrects); i >= 0 {
			next.correct(i, s)
			return &next
		}
	}
	next.steps = h.steps.add(s)
	next.Steps = next.steps.items
	next.enter(int32(len(next.Steps)-1), true)
	return &next
}

// Under is the same history under another text of the procedure: of a book that was
// loaded anew, or that has files which an agency has put in force.
func (h *History) Under(p *Procedure) *History {
	if h.procedure == p {
		return h
	}
	next := p.NewHistory(h.Case, h.Agency)
	next.Area = h.Area
	for _, s := range h.Steps {
		next = next.Append(s)
	}
	return next
}

// find returns the place in live of an event that has not been corrected.
func (h *History) find(event string) int {
	for i := len(h.live.items) - 1; i >= 0; i-- {
		if h.Steps[h.live.items[i].step].Event == event {
			return i
		}
	}
	return -1
}

// correct puts a step in the place of a live one and follows the case anew:
// the stage, the day of opening and the order may all have changed.
func (h *History) correct(place int, s Step) {
	steps := append(make([]Step, 0, len(h.Steps)+1), h.Steps...)
	steps[h.live.items[place].step].CorrectedBy = s.Event
	h.steps = grown[Step]{items: append(steps, s)}
	h.Steps = h.steps.items

	order := h.live.items
	h.live = grown[past]{}
	h.last = make([]int32, len(h.last))
	for i := range h.last {
		h.last[i] = -1
	}
	h.Opened, h.Stage, h.stage, h.closed = calendar.Date{}, "", -1, false
	for i, e := range order {
		if i == place {
			e.step = int32(len(h.Steps) - 1)
		}
		h.enter(e.step, false)
	}
}

// enter adds a step to what rules see and moves the case on. fresh says that
// last is still shared with the history before.
func (h *History) enter(step int32, fresh bool) {
	s := &h.Steps[step]
	e := past{step: step, act: h.procedure.actIndex(s.Act), prev: -1, stage: h.stage, on: calendar.DateOf(s.At)}
	if e.act >= 0 {
		if fresh {
			h.last = append([]int32(nil), h.last...)
		}
		e.prev = h.last[e.act]
		h.last[e.act] = int32(len(h.live.items))
		a := h.procedure.Acts[e.act]
		if a.to >= 0 {
			h.stage, h.Stage = a.to, a.To
		}
		h.closed = a.Closes || h.closed && !a.Opens
	}
	if len(h.live.items) == 0 {
		h.Opened = e.on
	}
	h.live = h.live.add(e)
}

// at is the step of a live entry.
func (h *History) at(i int32) *Step { return &h.Steps[h.live.items[i].step] }

// grown is a slice that is only added to and may be shared: the first to add
// behind a given length takes the room there, any other gets a copy.
type grown[T any] struct {
	items []T
	used  *atomic.Int64 // how much of the room behind items is taken
}

func (g grown[T]) add(v T) grown[T] {
	n := len(g.items)
	if n < cap(g.items) && g.used != nil && g.used.CompareAndSwap(int64(n), int64(n+1)) {
		items := g.items[:n+1]
		items[n] = v
		return grown[T]{items, g.used}
	}
	items := make([]T, n+1, max(4, n+n/2+1))
	copy(items, g.items)
	items[n] = v
	used := new(atomic.Int64)
	used.Store(int64(n + 1))
	return grown[T]{items, used}
}

// dayOnly reports whether a time was recorded without an hour: a time of
// exactly midnight in Shanghai stands for the whole day.
func dayOnly(t time.Time) bool {
	s := t.Unix() + 8*60*60
	return s%86400 == 0 && t.Nanosecond() == 0
}

// later reports whether a lies after b. Where one of them has no hour only the
// days are compared.
func later(a, b time.Time) bool {
	if dayOnly(a) || dayOnly(b) {
		return calendar.DateOf(a).After(calendar.DateOf(b))
	}
	return a.After(b)
}
