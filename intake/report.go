package intake

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A Line is what the row-by-row report says of one row.
type Line struct {
	File     string `json:"file"`
	Row      int64  `json:"row"`
	Line     int    `json:"line"`
	Path     string `json:"path,omitempty"`
	Case     string `json:"case,omitempty"`
	Act      string `json:"act,omitempty"`
	Outcome  Result `json:"outcome"`
	Detail   string `json:"detail,omitempty"` // what was repaired, or why it was refused
	Findings int    `json:"findings"`
	Event    string `json:"event,omitempty"`
}

func (l *Line) cells() []string {
	return []string{
		l.File, strconv.FormatInt(l.Row, 10), strconv.Itoa(l.Line), l.Path, l.Case, l.Act,
		string(l.Outcome), l.Detail, strconv.Itoa(l.Findings), l.Event,
	}
}

// A reportFile is the row-by-row report: CSV with a byte order mark, or JSON
// lines where its name ends in .jsonl or .ndjson. It is written as the run
// goes. After a kill it is cut back to where the journal was, and goes on.
type reportFile struct {
	path  string // absolute
	file  *os.File
	begun bool
	end   int64 // where it goes on, until begun; then where it ends
	out   *bufio.Writer
	csv   *csv.Writer // nil: JSON lines
}

// openReport opens the report; a nil *reportFile writes nothing.
func openReport(path string) (*reportFile, error) {
	if path == "" {
		return nil, nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open report: %w", err)
	}
	f, err := os.OpenFile(abs, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open report: %w", err)
	}
	return &reportFile{path: abs, file: f}, nil
}

// resume goes on at an offset that a journal remembers, if the report is still
// as long as that. It reports whether it could.
func (r *reportFile) resume(path string, offset int64) bool {
	if r == nil || r.begun || path != r.path {
		return false
	}
	info, err := r.file.Stat()
	if err != nil || info.Size() < offset || offset < r.end {
		return false
	}
	r.end = offset
	return true
}

func (r *reportFile) begin() error {
	r.begun = true
	if err := r.file.Truncate(r.end); err != nil {
		return err
	}
	if _, err := r.file.Seek(r.end, io.SeekStart); err != nil {
		return err
	}
	r.out = bufio.NewWriterSize(countingWriter{r}, 64<<10)
	switch filepath.Ext(r.path) {
	case ".jsonl", ".ndjson":
		return nil
	}
	r.csv = csv.NewWriter(r.out)
	if r.end > 0 {
		return nil
	}
	if _, err := r.out.WriteString("\ufeff"); err != nil {
		return err
	}
	return r.csv.Write([]string{"file", "row", "line", "path", "case", "act", "outcome", "detail", "findings", "event"})
}

type countingWriter struct{ r *reportFile }

func (w countingWriter) Write(p []byte) (int, error) {
	n, err := w.r.file.Write(p)
	w.r.end += int64(n)
	return n, err
}

func (r *reportFile) write(l *Line) error {
	if r == nil {
		return nil
	}
	if !r.begun {
		if err := r.begin(); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	var err error
	if r.csv != nil {
		err = r.csv.Write(l.cells())
	} else {
		var data []byte
		if data, err = json.Marshal(l); err == nil {
			_, err = r.out.Write(append(data, '\n'))
		}
	}
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// flush hands what was written to the system and returns where the report
// ends.
func (r *reportFile) flush() (path string, end int64, err error) {
	if r == nil {
		return "", 0, nil
	}
	if r.csv != nil {
		r.csv.Flush()
		err = r.csv.Error()
	}
	if r.out != nil {
		err = errors.Join(err, r.out.Flush())
	}
	if err != nil {
		return "", 0, fmt.Errorf("write report: %w", err)
	}
	return r.path, r.end, nil
}

func (r *reportFile) close() error {
	if r == nil {
		return nil
	}
	var err error
	if !r.begun {
		err = r.begin()
	}
	_, _, flush := r.flush()
	return errors.Join(err, flush, r.file.Close())
}

// A tally counts what became of the rows of one file.
type tally struct {
	Acts     map[string]map[Result]int64 `json:"acts,omitempty"`
	Findings int64                       `json:"findings,omitempty"`
}

// maxActs is how many different acts are counted each by itself.
const maxActs = 10_000

func (t *tally) count(act string, result Result, rows, findings int64) {
	if t.Acts == nil {
		t.Acts = make(map[string]map[Result]int64)
	}
	n, ok := t.Acts[act]
	if !ok && len(t.Acts) >= maxActs {
		act = "(other acts)"
		n = t.Acts[act]
	}
	if n == nil {
		n = make(map[Result]int64)
		t.Acts[act] = n
	}
	n[result] += rows
	t.Findings += findings
}

func (t *tally) add(o tally) {
	for act, results := range o.Acts {
		for result, n := range results {
			t.count(act, result, n, 0)
		}
	}
	t.Findings += o.Findings
}

// A FileReport is what became of one file.
type FileReport struct {
	Name    string `json:"name"`
	Digest  string `json:"digest"` // "sha256:" and the hash of the file
	Rows    int64  `json:"rows"`
	Resumed int64  `json:"resumed,omitempty"` // rows that an earlier run had done with
	Notes   []Note `json:"notes,omitempty"`
}

// A Report is what became of a run. The counts are those of the whole files,
// with the part that an earlier, interrupted run had done.
type Report struct {
	Source   string                      `json:"source"`
	Batch    string                      `json:"batch"`
	DryRun   bool                        `json:"dry_run"`
	Files    []FileReport                `json:"files"`
	Rows     int64                       `json:"rows"`
	Results  map[Result]int64            `json:"results"`
	Acts     map[string]map[Result]int64 `json:"acts"` // by act; a refused row whose activity is not mapped counts under the activity
	Findings int64                       `json:"findings"`
	Refusals []Line                      `json:"refusals,omitempty"` // the first 20 of this run
	Took     time.Duration               `json:"took_ns"`
}

const maxRefusals = 20

// finish counts by result what was counted by act.
func (r *Report) finish(t tally) {
	r.Acts, r.Findings = t.Acts, t.Findings
	r.Results = make(map[Result]int64)
	for _, results := range t.Acts {
		for result, n := range results {
			r.Results[result] += n
		}
	}
	r.Rows = 0
	for _, f := range r.Files {
		r.Rows += f.Rows
	}
}

// line says what became of an item.
func (i *Item) line(o Outcome) Line {
	l := Line{
		File: i.File, Row: i.Number, Line: i.Line, Path: i.Path, Case: i.Case, Act: i.Act,
		Outcome: o.Result, Findings: o.Findings, Event: o.Event,
	}
	switch {
	case i.Refused != "":
		l.Outcome, l.Detail = Refused, i.Refused
	case o.Result == Refused:
		l.Detail = o.Why
	case len(i.Repairs) > 0:
		if o.Result == Taken {
			l.Outcome = Repaired
		}
		parts := make([]string, len(i.Repairs))
		for n, r := range i.Repairs {
			parts[n] = r.String()
		}
		l.Detail = strings.Join(parts, "; ")
	}
	return l
}
