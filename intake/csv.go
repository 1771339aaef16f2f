package intake

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// csvBuffer is how far the reader of CSV looks ahead.
const csvBuffer = 256 << 10

// A csvRows reads CSV. The first record names the columns.
type csvRows struct {
	file     string
	in       *csv.Reader
	feed     *feed
	limit    int
	width    int
	encoding string
	pad      bool
	replace  bool
	last     int // line of the last record
	rec      record
}

// A feed counts what is read of a file since its last record, and stops where
// that is more than a record may have: an open quote would otherwise take in
// the whole file.
type feed struct {
	in     io.Reader
	limit  int64
	total  int64
	record int64 // offset behind the last record
}

var errLongRecord = errors.New("a record is longer than the limit")

func (f *feed) Read(p []byte) (int, error) {
	if f.total-f.record > f.limit+csvBuffer {
		return 0, errLongRecord
	}
	n, err := f.in.Read(p)
	f.total += int64(n)
	return n, err
}

func newCSV(file string, in io.Reader, m *Mapping, cols *columns, limits Limits) (*csvRows, error) {
	r := &csvRows{file: file, limit: limits.Record, encoding: m.encoding, pad: m.padRagged, replace: m.replaceBad}
	decoded, err := decode(in, m.encoding)
	if err != nil {
		return nil, r.fail(0, err)
	}
	r.feed = &feed{in: decoded, limit: int64(limits.Record)}
	r.in = csv.NewReader(bufio.NewReaderSize(r.feed, csvBuffer))
	r.in.Comma = m.delimiter
	r.in.LazyQuotes = m.lazyQuotes
	r.in.FieldsPerRecord = -1
	r.in.ReuseRecord = true
	return r, r.header(m, cols, limits)
}

// decode makes UTF-8 of a file. A byte order mark is taken off, and one of
// UTF-16 decides the encoding.
func decode(in io.Reader, name string) (io.Reader, error) {
	b := bufio.NewReaderSize(in, 64<<10)
	mark, err := b.Peek(3)
	if err != nil && err != io.EOF {
		return nil, err
	}
	var enc encoding.Encoding
	switch {
	case strings.HasPrefix(string(mark), "\xef\xbb\xbf"):
		if name != "utf-8" {
			return nil, fmt.Errorf("begins with the byte order mark of UTF-8, but the mapping says %s", name)
		}
		_, err := b.Discard(3)
		return b, err
	case strings.HasPrefix(string(mark), "\xff\xfe"), strings.HasPrefix(string(mark), "\xfe\xff"):
		enc = unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM)
	case name == "gb18030":
		enc = simplifiedchinese.GB18030
	case name == "big5":
		enc = traditionalchinese.Big5
	default:
		return b, nil
	}
	return transform.NewReader(b, enc.NewDecoder()), nil
}

// header reads the names of the columns.
func (r *csvRows) header(m *Mapping, cols *columns, limits Limits) error {
	rec, err := r.next()
	switch {
	case err == io.EOF:
		return r.fail(1, errors.New("is empty; expected a first line with the names of the columns"))
	case err != nil:
		return err
	case rec.refused != "":
		return r.fail(rec.line, errors.New(rec.refused))
	case len(rec.values) > limits.Columns:
		return r.fail(rec.line, fmt.Errorf("has %d columns, the limit is %d", len(rec.values), limits.Columns))
	}
	for i, name := range rec.values {
		name = strings.Clone(strings.TrimSpace(name))
		if name == "" {
			name = fmt.Sprintf("column %d", i+1)
		}
		if at, ok := cols.index[name]; ok {
			return r.fail(rec.line, fmt.Errorf("two columns are called %q: number %d and number %d", name, at+1, i+1))
		}
		cols.add(name)
	}
	for _, c := range sortedKeys(m.fieldColumn) {
		if _, ok := cols.index[c]; !ok {
			hint := ""
			if len(cols.names) == 1 {
				hint = "; is the delimiter right?"
			}
			return r.fail(rec.line, fmt.Errorf("there is no column %q, which mapping %s needs; there are %s%s",
				c, m.Name, cut(strings.Join(cols.names, ", ")), hint))
		}
	}
	r.width = len(cols.names)
	r.rec = record{kinds: make([]kind, r.width)}
	for i := range r.rec.kinds {
		r.rec.kinds[i] = textKind
	}
	return nil
}

func (r *csvRows) fail(line int, err error) error {
	return &FileError{File: r.file, Line: line, Err: err}
}

func (r *csvRows) next() (*record, error) {
	cells, err := r.in.Read()
	size := r.in.InputOffset() - r.feed.record
	r.feed.record = r.in.InputOffset()
	r.rec.number++
	r.rec.refused, r.rec.repairs = "", nil

	var quote *csv.ParseError
	switch {
	case err == io.EOF:
		return nil, io.EOF
	case errors.Is(err, errLongRecord) || err == nil && size > int64(r.limit):
		return nil, r.fail(r.last+1, fmt.Errorf("a record that begins here or later has more than %d bytes; is a quote left open?", r.limit))
	case errors.As(err, &quote):
		r.last = quote.StartLine
		r.rec.line = quote.StartLine
		if errors.Is(err, csv.ErrQuote) && quote.Line > quote.StartLine {
			return nil, r.fail(quote.StartLine, fmt.Errorf("a quote that is opened in this row is not closed properly by line %d, column %d", quote.Line, quote.Column))
		}
		r.rec.refused = fmt.Sprintf("a quote in the wrong place, in column %d of the line; a quote inside a quoted cell is written twice", quote.Column)
		return &r.rec, nil
	case err != nil:
		return nil, r.fail(r.last+1, err)
	}
	r.rec.line, _ = r.in.FieldPos(0)
	r.last = r.rec.line
	r.rec.values = cells
	if r.width > 0 {
		r.even()
	}
	r.valid()
	return &r.rec, nil
}

// even looks at a row with too few or too many cells.
func (r *csvRows) even() {
	v := r.rec.values
	if len(v) == r.width {
		return
	}
	found := fmt.Sprintf("%d cells, the header has %d", len(v), r.width)
	if !r.pad || len(v) > r.width && strings.Join(v[r.width:], "") != "" {
		r.rec.refused = "the row has " + found
		return
	}
	r.rec.repairs = []Repair{{Field: "row", Why: found + "; empty cells were taken for the rest"}}
	if len(v) > r.width {
		r.rec.values = v[:r.width]
		r.rec.repairs[0].Why = found + "; the rest are empty and were left out"
		return
	}
	r.rec.values = append(append(make([]string, 0, r.width), v...), make([]string, r.width-len(v))...)
}

// valid looks for bytes that are not of the encoding: as they are in UTF-8,
// and as U+FFFD where the file was decoded.
func (r *csvRows) valid() {
	for i, v := range r.rec.values {
		if ascii(v) || utf8.ValidString(v) && !strings.ContainsRune(v, utf8.RuneError) {
			continue
		}
		if !r.replace {
			r.rec.refused = fmt.Sprintf("cell %d has bytes that are not %s: %q", i+1, r.encoding, cut(v))
			return
		}
		r.rec.values[i] = strings.ToValidUTF8(v, "\uFFFD")
		r.rec.repairs = append(r.rec.repairs, Repair{
			Field: "row", To: cut(r.rec.values[i]),
			Why: fmt.Sprintf("cell %d has bytes that are not %s", i+1, r.encoding),
		})
	}
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func (r *csvRows) notes() []Note { return nil }
