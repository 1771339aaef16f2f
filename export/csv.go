package export

import (
	"bufio"
	"encoding/csv"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// heads are the columns: one row is one event. Lists and records are JSON.
var heads = []string{
	"case", "agency", "procedure", "procedure_zh", "procedure_en", "edition", "revision", "act", "act_zh", "act_en",
	"occurred_at", "recorded_at", "actor", "actor_name", "officers", "officer_names", "place",
	"fields", "documents", "evidence", "findings", "corrects", "reason", "late_reason", "imported_from", "event", "position", "digest",
}

// writeCSV writes CSV after RFC 4180, in UTF-8 with a byte order mark so that
// spreadsheets know it.
func writeCSV(w *bufio.Writer, book *rulebook.Book, cases Cases) error {
	if _, err := w.WriteString("\ufeff"); err != nil {
		return err
	}
	out := csv.NewWriter(w)
	out.UseCRLF = true
	if err := out.Write(heads); err != nil {
		return err
	}
	for records, err := range cases {
		if err != nil {
			return err
		}
		a, err := accountOf(book, records)
		if err != nil {
			return err
		}
		for i := range a.acts {
			if err := out.Write(a.row(&a.acts[i])); err != nil {
				return err
			}
		}
	}
	out.Flush()
	return out.Error()
}

func (a *account) row(e *act) []string {
	d := &e.Data
	var ids, people, rules []string
	for _, o := range d.Officers {
		ids, people = append(ids, o.ID), append(people, o.Name)
	}
	for _, f := range d.Findings {
		rules = append(rules, f.Rule)
	}
	from := ""
	if d.Import != nil {
		from = d.Import.Source
	}
	part := func(name string) string {
		if v, ok := e.data[name]; ok {
			return jsonText(v)
		}
		return ""
	}
	row := []string{
		a.id, a.agency, a.name, a.title().ZH, a.title().In("en"), a.edition.String(), strconv.Itoa(e.Revision), e.Act(), e.title.ZH, e.title.In("en"),
		e.Time.In(calendar.Shanghai).Format(time.RFC3339Nano), e.Recorded.Recorded.In(calendar.Shanghai).Format(time.RFC3339Nano),
		e.Actor, d.ActorName, strings.Join(ids, "、"), strings.Join(people, "、"), d.Place,
		part("fields"), part("documents"), part("evidence"), strings.Join(rules, "、"),
		d.Corrects, d.Reason, d.LateReason, from, e.ID, strconv.FormatUint(e.Position, 10), e.Digest.String(),
	}
	for i := range row {
		row[i] = inert(row[i])
	}
	return row
}

// inert puts an apostrophe before what a spreadsheet would run as a formula,
// also behind blanks and in the full-width forms that some take for the same.
// CRLF marks the end of a row and nothing else.
func inert(s string) string {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	if strings.HasPrefix(s, "\t") || strings.HasPrefix(s, "\r") || strings.HasPrefix(s, "\n") {
		return "'" + s
	}
	first, _ := utf8.DecodeRuneInString(strings.TrimLeft(s, " \u00a0\u3000"))
	if strings.ContainsRune("=+-@\t\r\n＝＋－＠", first) {
		return "'" + s
	}
	return s
}
