package api

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// column is one column of a CSV.
type column[R any] struct {
	head rulebook.Text
	cell func(R) any // string, []string, int, int64, uint64, bool, time.Time, calendar.Date, rulebook.Text
}

// csvWriter writes rows as they come.
type csvWriter[R any] struct {
	w       *csv.Writer
	http    http.ResponseWriter
	lang    string
	columns []column[R]
	rows    int
	cells   []string
}

// newCSV begins an answer: headers, byte order mark, heads. It flushes every
// few hundred rows; how many there were is told in a trailer.
func newCSV[R any](w http.ResponseWriter, name string, columns []column[R]) *csvWriter[R] {
	h := w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8; header=present")
	h.Set("Content-Disposition", `attachment; filename="`+name+`.csv"`)
	h.Set("Trailer", rowsTrailer)
	_, _ = w.Write([]byte("\ufeff")) // so that spreadsheets know it is UTF-8
	c := &csvWriter[R]{w: csv.NewWriter(w), http: w, columns: columns, cells: make([]string, len(columns)), lang: "zh"}
	if strings.HasPrefix(h.Get("Content-Language"), "en") {
		c.lang = "en"
	}
	c.w.UseCRLF = true // RFC 4180
	for i, col := range columns {
		c.cells[i] = col.head.In(c.lang)
	}
	_ = c.w.Write(c.cells) // told by row and end
	return c
}

const flushEvery = 500

// row writes a row, and reports whether somebody still reads.
func (c *csvWriter[R]) row(r R) bool {
	for i, col := range c.columns {
		c.cells[i] = cell(col.cell(r), c.lang)
	}
	if c.w.Write(c.cells) != nil {
		return false
	}
	c.rows++
	if c.rows%flushEvery == 0 {
		c.w.Flush()
		return c.w.Error() == nil
	}
	return true
}

func (c *csvWriter[R]) end() {
	c.w.Flush()
	c.http.Header().Set(rowsTrailer, strconv.Itoa(c.rows))
}

// cell writes a value for a person with a spreadsheet. Text that a spreadsheet
// would run as a formula gets an apostrophe before it.
func cell(v any, lang string) string {
	switch v := v.(type) {
	case string:
		return inert(v)
	case []string:
		return inert(strings.Join(v, "、"))
	case rulebook.Text:
		return inert(v.In(lang))
	case int, int64, uint64:
		return fmt.Sprint(v)
	case bool:
		return yes(v, lang)
	case time.Time:
		if v.IsZero() {
			return ""
		}
		return v.In(calendar.Shanghai).Format(time.RFC3339)
	case calendar.Date:
		if v.IsZero() {
			return ""
		}
		return v.String()
	case nil:
		return ""
	}
	data, err := json.Marshal(v)
	if err != nil {
		panic("api: csv cell: " + err.Error())
	}
	return inert(string(data))
}

func yes(v bool, lang string) string {
	switch {
	case lang == "en" && v:
		return "yes"
	case lang == "en":
		return "no"
	case v:
		return "是"
	default:
		return "否"
	}
}

// inert puts an apostrophe before what would be a formula, also behind spaces
// and in the full-width forms that some spreadsheets take for the same.
func inert(s string) string {
	if strings.HasPrefix(s, "\t") || strings.HasPrefix(s, "\r") || strings.HasPrefix(s, "\n") {
		return "'" + s
	}
	first, _ := utf8.DecodeRuneInString(strings.TrimLeft(s, " \u00a0\u3000"))
	if strings.ContainsRune("=+-@\t\r\n＝＋－＠", first) {
		return "'" + s
	}
	return s
}
