// Package export writes recorded cases for other tools: event logs in XES (IEEE
// 1849) and OCEL 2.0 for process mining, CSV for a spreadsheet.
//
// Cases come one after another and are written as they come; what is in memory
// is one case, and for OCEL the names of objects that several cases share. What
// XES says can be taken in again with the mapping liuhen-xes (package intake).
package export

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// A Format is how a log is written.
type Format string

// The formats.
const (
	XES  Format = "xes"
	OCEL Format = "ocel"
	CSV  Format = "csv"
)

// Formats are all of them.
var Formats = []Format{XES, OCEL, CSV}

// MediaType is the type of the format on the web.
func (f Format) MediaType() string {
	return map[Format]string{XES: "application/xml", OCEL: "application/json", CSV: "text/csv; charset=utf-8; header=present"}[f]
}

// Ending is how the name of a file of the format ends.
func (f Format) Ending() string {
	return map[Format]string{XES: ".xes", OCEL: ".jsonocel", CSV: ".csv"}[f]
}

// Mark is a text that a log of the format has once for each event and nowhere
// else, so that who copies it can tell how far it is.
func (f Format) Mark() string {
	return map[Format]string{XES: "<event>", OCEL: "\n{\"id\":\"", CSV: "\r\n"}[f]
}

// A Header is what a log says of itself.
type Header struct {
	Name     string // of the log
	Position uint64 // it holds the records up to here
}

// Cases are cases with all their records, in order.
type Cases = iter.Seq2[[]domain.Recorded, error]

// Write writes a log. Labels come from book; what it does not know is named by
// its code. An error of cases ends it, and what was written is no log then.
func Write(w io.Writer, f Format, h Header, book *rulebook.Book, cases Cases) error {
	out := bufio.NewWriterSize(w, 64<<10)
	var err error
	switch f {
	case XES:
		err = writeXES(out, h, book, cases)
	case OCEL:
		err = writeOCEL(out, h, book, cases)
	case CSV:
		err = writeCSV(out, book, cases)
	default:
		return fmt.Errorf("export: there is no format %q", f)
	}
	if err != nil {
		return fmt.Errorf("export %s: %w", f, err)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("export %s: %w", f, err)
	}
	return nil
}

// An account is a case as formats tell it.
type account struct {
	id        string
	agency    string
	name      string              // of the procedure
	procedure *rulebook.Procedure // nil where the book does not know it
	edition   calendar.Date
	opened    time.Time
	stage     string // empty: none
	closed    bool
	acts      []act
}

// An act is an event of a case.
type act struct {
	domain.Recorded
	title rulebook.Text
	law   *rulebook.Act  // nil where the book does not know it
	data  map[string]any // all of data as it stands in the record
}

// accountOf reads a case.
func accountOf(book *rulebook.Book, records []domain.Recorded) (account, error) {
	if len(records) == 0 {
		return account{}, errors.New("a case without records")
	}
	first := &records[0]
	a := account{id: string(first.Subject), agency: first.Agency(), name: first.Procedure(), edition: first.Edition, opened: first.Time}
	a.procedure, _ = book.Edition(first.Procedure(), first.Edition)
	corrected := make(map[string]bool)
	for i := range records {
		if c := records[i].Data.Corrects; c != "" {
			corrected[c] = true
		}
	}
	for _, r := range records {
		one := act{Recorded: r, title: rulebook.Text{ZH: r.Act(), EN: r.Act()}}
		// Read once more, as it is: what a later edition of the record says
		// besides is exported all the same.
		var stored struct {
			Data domain.Fields `json:"data"`
		}
		if err := jsonv2.Unmarshal(r.Raw, &stored); err != nil {
			return a, fmt.Errorf("case %s, position %d: %w", a.id, r.Position, err)
		}
		one.data = stored.Data
		if a.procedure != nil {
			if law, ok := a.procedure.Act(r.Act()); ok {
				one.law, one.title = law, law.Title
				if !corrected[r.ID] {
					a.closed = a.closed || law.Closes
					if law.To != "" {
						a.stage = law.To
					}
				}
			}
		}
		a.acts = append(a.acts, one)
	}
	return a, nil
}

// title is the name of the case's procedure.
func (a *account) title() rulebook.Text {
	if a.procedure != nil {
		return a.procedure.Title
	}
	return rulebook.Text{ZH: a.name, EN: a.name}
}

// money are the fields of an act that hold an amount, in the order of the law.
func (e *act) money() []string {
	if e.law == nil {
		return nil
	}
	var names []string
	for i := range e.law.Fields {
		f := &e.law.Fields[i]
		if _, ok := e.Data.Fields[f.Name].(int64); ok && f.Type == "money" && !f.Many {
			names = append(names, f.Name)
		}
	}
	return names
}

// yuan writes an amount in fen as a decimal number of the whole unit.
func yuan(fen int64) string {
	sign := ""
	if fen < 0 {
		sign = "-"
	}
	whole, rest := fen/100, fen%100
	return fmt.Sprintf("%s%d.%02d", sign, max(whole, -whole), max(rest, -rest))
}

// jsonText is a value as one line of JSON.
func jsonText(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("export: " + err.Error()) // it came from JSON
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func names[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// xmlText reports whether XML 1.0 can hold a text.
func xmlText(s string) bool {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return false
			}
		}
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return false
		}
	}
	return true
}
