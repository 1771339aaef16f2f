package intake

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// A stream yields the items of one file in the order in which they are to be
// recorded.
type stream struct {
	rows   rows
	mapper *mapper
	file   string
	limits Limits

	// Where the mapping names an order column: the rows of the case that is
	// being sorted, and the first row of the next one.
	sorted []*record
	after  *record
	end    error
}

func openStream(s *source, m *Mapping, sourceName string, strict bool) (*stream, error) {
	cols := newColumns()
	in, err := openRows(s, m, cols, strict)
	if err != nil {
		return nil, err
	}
	mp, err := newMapper(m, cols, sourceName, s)
	if err != nil {
		return nil, &FileError{File: s.name, Line: 1, Err: err}
	}
	return &stream{rows: in, mapper: mp, file: s.name, limits: s.limits}, nil
}

// next returns the next item, or io.EOF, or a *FileError.
func (s *stream) next() (Item, error) {
	rec, err := s.record()
	if err != nil {
		return Item{}, err
	}
	return s.mapper.mapRow(rec)
}

// skip passes over the next item.
func (s *stream) skip() error {
	rec, err := s.record()
	if err == nil && s.mapper.remembers() {
		_, err = s.mapper.mapRow(rec)
	}
	return err
}

func (s *stream) record() (*record, error) {
	if s.mapper.orderAt < 0 {
		return s.rows.next()
	}
	if len(s.sorted) == 0 {
		if err := s.gather(); err != nil {
			return nil, err
		}
	}
	rec := s.sorted[0]
	s.sorted = s.sorted[1:]
	return rec, nil
}

// gather reads the rows of one case, as far as they stand together in the
// file, and sorts them.
func (s *stream) gather() error {
	s.sorted = nil
	if s.after != nil {
		s.sorted, s.after = append(s.sorted, s.after), nil
	}
	for s.end == nil {
		rec, err := s.rows.next()
		if err != nil {
			s.end = err
			break
		}
		if rec = rec.clone(); len(s.sorted) > 0 && !s.together(rec, s.sorted[0]) {
			s.after = rec
			break
		}
		s.sorted = append(s.sorted, rec)
		if len(s.sorted) > s.limits.CaseRows {
			return &FileError{File: s.file, Line: rec.line, Err: fmt.Errorf("a case has more than %d rows, too many to sort by %s", s.limits.CaseRows, s.mapper.m.order)}
		}
	}
	if len(s.sorted) == 0 || s.end != nil && !errors.Is(s.end, io.EOF) {
		return s.end
	}
	s.sort()
	return nil
}

func (s *stream) together(a, b *record) bool {
	return a.trace == b.trace && s.mapper.get(a, s.mapper.caseAt) == s.mapper.get(b, s.mapper.caseAt)
}

// sort orders the rows of a case by day, and inside a day by the order column.
// A row whose time or order cannot be read, and which will be refused, comes
// first.
func (s *stream) sort() {
	type place struct {
		day, order int
		rec        *record
	}
	places := make([]place, len(s.sorted))
	for i, rec := range s.sorted {
		places[i].rec = rec
		t, _, err := s.mapper.clock.read(s.mapper.get(rec, s.mapper.timeAt), &s.mapper.m.time)
		if err != nil {
			continue
		}
		places[i].day = t.Year()*10_000 + int(t.Month())*100 + t.Day()
		if n, err := strconv.Atoi(s.mapper.get(rec, s.mapper.orderAt)); err == nil {
			places[i].order = n
		}
	}
	slices.SortStableFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.order, b.order))
	})
	for i := range places {
		s.sorted[i] = places[i].rec
	}
}
