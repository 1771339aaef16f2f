package intake

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/unicode"
)

func TestPermits(t *testing.T) {
	text, err := os.ReadFile("testdata/permits.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`1 2 证-2024-001 accept 2024-03-04T09:15:00+08:00 李敏 {"applicant":"海河印染, 有限公司","fee":12050}`,
		`2 3 证-2024-001 review 2024-03-06T10:00:00+08:00 赵亮 {"remark":"需补\n材料"}`,
		`3 5 证-2024-001 decide 2024-03-11T16:40:00+08:00 李敏 {}`,
		`4 6 证-2024-002 accept 2024-03-05T08:30:00+08:00 赵亮 {"applicant":"东湖食品厂","fee":8000}`,
		`5 7 证-2024-002 decide 2024-03-05T17:20:00+08:00 赵亮 {}`,
	}
	utf8Text, err := os.ReadFile("testdata/permits.csv")
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.TrimPrefix(string(utf8Text), "\ufeff")
	utf16, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String(plain)
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]struct{ path, encoding string }{
		"with a byte order mark": {"testdata/permits.csv", "utf-8"},
		"gb18030":                {"testdata/permits-gb18030.csv", "gb18030"},
		"utf-16":                 {write(t, "permits.csv", utf16), "utf-8"},
		"gzip, CRLF":             {write(t, "permits.csv", pack(t, strings.ReplaceAll(plain, "\n", "\r\n"))), "utf-8"},
	} {
		t.Run(name, func(t *testing.T) {
			m := mapping(t, string(text)+"encoding: "+file.encoding+"\n")
			items := mustRead(t, m, file.path)
			if len(items) != len(want) {
				t.Fatalf("read %d rows, want %d", len(items), len(want))
			}
			for i, item := range items {
				got := fmt.Sprintf("%d %d %s %s %s %s %s", item.Number, item.Line, item.Case, item.Act, item.At.Format(time.RFC3339), item.Officer, fieldsText(t, item))
				if got != want[i] || item.Refused != "" || item.Repairs != nil {
					t.Errorf("row %d:\n got %s\nwant %s (refused %q, repairs %v)", i+1, got, want[i], item.Refused, item.Repairs)
				}
			}
		})
	}
}

const csvMapping = `mapping: t
format: csv
procedure: imported
case: {column: id}
act: {column: what, map: {A: a, B: b}}
time: {column: when, layouts: [date], zone: "+08:00"}
`

func TestCSVFaults(t *testing.T) {
	good := "x,A,2024-01-02\n"
	tests := []struct {
		name, mapping, text string
		limits              Limits
		want                string // of the error of the file
		rows                int    // read before it
	}{
		{name: "empty", text: "", want: "f.csv:1: is empty"},
		{name: "no such column", text: "id,what\n", want: `f.csv:1: there is no column "when", which mapping t needs; there are id, what`},
		{name: "wrong delimiter", text: "id;what;when\n", want: "there are id;what;when; is the delimiter right?"},
		{name: "column twice", text: "id,what,when,what\n", want: `f.csv:1: two columns are called "what": number 2 and number 4`},
		{name: "column too much", text: "id,what,when,more\n", want: `f.csv:1: the column "more" is not in mapping t`},
		{name: "quote left open", text: "id,what,when\n" + good + "y,\"A,2024-01-02\n" + good, rows: 1,
			want: "f.csv:3: a quote that is opened in this row is not closed properly by line 4"},
		{name: "long record", text: "id,what,when\n" + good + "y,\"" + strings.Repeat(good, 60_000), rows: 1, limits: Limits{Record: 1000},
			want: "f.csv:3: a record that begins here or later has more than 1000 bytes; is a quote left open?"},
		{name: "long line", text: "id,what,when\n" + strings.Repeat("x", 1001) + ",A,2024-01-02\n", limits: Limits{Record: 1000},
			want: "f.csv:2: a record that begins here or later has more than 1000 bytes"},
		{name: "many columns", text: "id,what,when,a,b\n", limits: Limits{Columns: 4}, want: "f.csv:1: has 5 columns, the limit is 4"},
		{name: "mark of another encoding", mapping: "encoding: big5\n", text: "\ufeffid,what,when\n", want: "byte order mark of UTF-8, but the mapping says big5"},
		{name: "cut off", text: pack(t, "id,what,when\n"+strings.Repeat(good, 1000))[:60], want: "the gzip file ends in the middle; it was cut off", rows: -1},
		{name: "unpacks without end", text: pack(t, "id,what,when\n"+strings.Repeat("x,A,2024-01-02\n", 100)), limits: Limits{Unpacked: 200},
			want: "f.csv: unpacks to more than 200 bytes"},
		{name: "not gzip", text: "\x1f\x8bnonsense", want: "f.csv: unpack: gzip: invalid header"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := mapping(t, csvMapping+tt.mapping)
			items, _, err := readAll(t, m, write(t, "f.csv", tt.text), tt.limits, false)
			var fault *FileError
			if !errors.As(err, &fault) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("read: %v, want a FileError with: %s", err, tt.want)
			}
			if tt.rows >= 0 && len(items) != tt.rows {
				t.Errorf("read %d rows before the fault, want %d", len(items), tt.rows)
			}
		})
	}
}

// A bomb unpacks to far more than a file of its size can hold.
func TestGzipBomb(t *testing.T) {
	bomb := pack(t, "id,what,when,x\n"+strings.Repeat("x,A,2024-01-02,"+strings.Repeat(" ", 500_000)+"\n", 200))
	m := mapping(t, csvMapping+"ignore: [x]\n")
	_, _, err := readAll(t, m, write(t, "f.csv", bomb), Limits{}, false)
	if err == nil || !strings.Contains(err.Error(), "unpacks to more than 400 times its size") {
		t.Errorf("read: %v, want an error about the ratio", err)
	}
}

func TestCSVRows(t *testing.T) {
	const header = "id,what,when,x\n"
	tests := []struct {
		name, mapping, row string
		refused            string // part of the reason; empty: taken
		repair             string // part of the one repair
		fields             string
	}{
		{name: "taken", row: "c,A,2024-01-02,v", fields: `{"x":"v"}`},
		{name: "empty cell", row: "c,A,2024-01-02,", fields: `{}`},
		{name: "escapes", row: "c,A,2024-01-02,\"a\"\"<&>\"", fields: `{"x":"a\"<&>"}`},
		{name: "everything wrong", row: ",C,yesterday,v",
			refused: `case: the column id is empty; act: the activity "C" is not in the mapping; time: "yesterday" is not a time of the form date`},
		{name: "no act, no time", row: "c,,,v", refused: "act: the column what is empty; time: the column when is empty"},
		{name: "year", row: "c,A,1812-01-02,v", refused: "the year of \"1812-01-02\" is not within 1900 to 2200"},
		{name: "unfit case", row: "c d,A,2024-01-02,v", refused: `case: the case id "c d" has ' '`},
		{name: "unknown activity kept", mapping: "K", row: "c,Other thing,2024-01-02,v", fields: `{"x":"v"}`},
		{name: "unfit activity", mapping: "K", row: "c,\"a\nb\",2024-01-02,v", refused: "has a control character"},
		{name: "short row", row: "c,A,2024-01-02", refused: "the row has 3 cells, the header has 4"},
		{name: "long row", row: "c,A,2024-01-02,v,", refused: "the row has 5 cells, the header has 4"},
		{name: "short row padded", mapping: "ragged: pad\n", row: "c,A,2024-01-02", repair: "row: 3 cells, the header has 4; empty cells were taken for the rest", fields: `{}`},
		{name: "long row cut", mapping: "ragged: pad\n", row: "c,A,2024-01-02,v,,", repair: "the rest are empty and were left out", fields: `{"x":"v"}`},
		{name: "long row with more", mapping: "ragged: pad\n", row: "c,A,2024-01-02,v,w", refused: "the row has 5 cells"},
		{name: "quote inside", row: "c,A,2024-01-02,v\"w", refused: "a quote in the wrong place, in column 17"},
		{name: "quote inside, lazy", mapping: "quotes: lazy\n", row: "c,A,2024-01-02,v\"w", fields: `{"x":"v\"w"}`},
		{name: "text behind a quote", row: "c,A,2024-01-02,\"v\"w", refused: "a quote in the wrong place"},
		{name: "bytes", row: "c,A,2024-01-02,a\xffb", refused: `cell 4 has bytes that are not utf-8: "a\xffb"`},
		{name: "bytes replaced", mapping: "undecodable: replace\n", row: "c,A,2024-01-02,a\xffb", repair: `cell 4 has bytes that are not utf-8`, fields: "{\"x\":\"a\uFFFDb\"}"},
		{name: "undecodable", mapping: "encoding: gb18030\n", row: "c,A,2024-01-02,a\xff\xffb", refused: "bytes that are not gb18030"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := csvMapping + "fields: {x: x}\n" + tt.mapping
			if tt.mapping == "K" {
				text = strings.Replace(csvMapping, "B: b}", "B: b}, unknown: keep", 1) + "fields: {x: x}\n"
			}
			// The row stands between two others, which it must not touch.
			path := write(t, "f.csv", header+"c,A,2024-01-01,first\n"+tt.row+"\nc,B,2024-01-03,last\n")
			items := mustRead(t, mapping(t, text), path)
			if len(items) != 3 || items[0].Refused != "" || items[2].Refused != "" || items[2].Number != 3 {
				t.Fatalf("read %+v, want three rows of which the first and last are taken", items)
			}
			checkItem(t, items[1], tt.refused, tt.repair, tt.fields)
		})
	}
}

func checkItem(t *testing.T, item Item, refused, repair, fields string) {
	t.Helper()
	if (item.Refused == "") != (refused == "") || !strings.Contains(item.Refused, refused) {
		t.Errorf("refused because %q, want %q", item.Refused, refused)
	}
	if refused != "" {
		return
	}
	if repair == "" && len(item.Repairs) > 0 || repair != "" && (len(item.Repairs) != 1 || !strings.Contains(item.Repairs[0].String(), repair)) {
		t.Errorf("repairs %v, want one with %q", item.Repairs, repair)
	}
	if got := fieldsText(t, item); got != fields {
		t.Errorf("fields %s, want %s", got, fields)
	}
}

func TestFields(t *testing.T) {
	const head = csvMapping + `numbers: {decimal: ",", thousands: "."}
empty: ["", "NULL"]
fields:
  x: `
	tests := []struct{ rule, value, refused, repair, fields string }{
		{rule: "{column: x, type: integer}", value: "12", fields: `{"x":12}`},
		{rule: "{column: x, type: integer}", value: "12,0", fields: `{"x":12}`},
		{rule: "{column: x, type: integer}", value: "12,5", refused: `x: "12,5" of column x: not a whole number`},
		{rule: "{column: x, type: integer}", value: " NULL ", fields: `{}`},
		{rule: "{column: x, type: integer, invalid: drop}", value: "abc", repair: `x: left out: not a number ("abc")`, fields: `{}`},
		{rule: "{column: x, type: integer, invalid: ignore}", value: "abc", fields: `{}`},
		{rule: "{column: x, type: integer-text}", value: "157,0", fields: `{"x":"157"}`},
		{rule: "{column: x, type: number}", value: "1.234,50", fields: `{"x":1234.5}`},
		{rule: "{column: x, type: boolean}", value: "True", fields: `{"x":true}`},
		{rule: "{column: x, type: boolean}", value: "maybe", refused: "neither true nor false"},
		{rule: "{column: x, type: money, unit: euro}", value: "1.234,5", fields: `{"x":123450}`},
		{rule: "{column: x, type: money, unit: euro}", value: "1,234", refused: "not a whole number of the smallest unit of money"},
		{rule: "{column: x, type: money, unit: wan-yuan}", value: "2,5", fields: `{"x":2500000}`},
		{rule: "{column: x, type: money, unit: euro, lost_point: true}", value: "350", fields: `{"x":3500}`},
		{rule: "{column: x, type: money, unit: euro, lost_point: true}", value: "516", refused: "it is not known where its decimal point was"},
		{rule: "{column: x, type: money, unit: euro, lost_point: true}", value: "0", fields: `{"x":0}`},
		{rule: "{column: x, type: date}", value: "2024-02-29", fields: `{"x":"2024-02-29"}`},
		{rule: "{column: x, type: time, time: {layouts: [rfc3339]}}", value: "2024-02-29 10:00:00.5+08:00", fields: `{"x":"2024-02-29T10:00:00.5+08:00"}`},
		{rule: "{column: x, type: time, time: {layouts: [datetime], zone: Europe/Rome}}", value: "2011-03-27 02:30", repair: "does not exist in Europe/Rome", fields: `{"x":"2011-03-27T03:30:00+02:00"}`},
		{rule: "{column: x, type: code, codes: {P: posted}}", value: "P", fields: `{"x":"posted"}`},
		{rule: "{column: x, type: code, codes: {P: posted}}", value: "Q", refused: "the code is not in the mapping"},
		{rule: "{column: x, type: code, codes: {P: posted}, unknown: keep}", value: "Q", fields: `{"x":"Q"}`},
		{rule: "{column: x, type: code, codes: {P: posted}, unknown: drop}", value: "Q", repair: "left out: the code is not in the mapping", fields: `{}`},
		{rule: "{column: x, acts: [b]}", value: "v", repair: `x: left out: the act does not take the column x ("v")`, fields: `{}`},
		{rule: "{column: x, acts: [b], elsewhere: ignore}", value: "v", fields: `{}`},
		{rule: "{column: x, acts: [b], elsewhere: refuse}", value: "v", refused: `the column x has "v", which act a does not take`},
		{rule: "{column: x, acts: [b]}\n  y: {column: x, acts: [a]}", value: "v", fields: `{"y":"v"}`},
		{rule: "{value: fixed}\n  y: x", value: "v", fields: `{"x":"fixed","y":"v"}`},
	}
	for _, tt := range tests {
		t.Run(tt.rule+" "+tt.value, func(t *testing.T) {
			path := write(t, "f.csv", "id,what,when,x\nc,A,2024-01-02,\""+tt.value+"\"\n")
			items := mustRead(t, mapping(t, head+tt.rule+"\n"), path)
			if len(items) != 1 {
				t.Fatalf("read %d rows, want 1", len(items))
			}
			checkItem(t, items[0], tt.refused, tt.repair, tt.fields)
		})
	}
}

func TestKeepOtherColumns(t *testing.T) {
	m := mapping(t, csvMapping+"other_columns: keep\nignore: [skip]\n")
	items := mustRead(t, m, write(t, "f.csv", "id,what,when,lastSent,skip,Post Code\nc,A,2024-01-02,P,no,\nc,B,2024-01-02,,no,0351\n"))
	for i, want := range []string{`{"last_sent":"P"}`, `{"post_code":"0351"}`} {
		if got := fieldsText(t, items[i]); got != want {
			t.Errorf("row %d: fields %s, want %s", i+1, got, want)
		}
	}
	_, _, err := readAll(t, m, write(t, "f.csv", "id,what,when,a b,a-b\n"), Limits{}, false)
	if err == nil || !strings.Contains(err.Error(), `the columns "a b" and "a-b" would both become the field a_b`) {
		t.Errorf("read: %v, want an error about two columns of one field", err)
	}
}

func TestCaseIDs(t *testing.T) {
	rows := "id,what,when\nCase 1,A,2024-01-02\nCase-1,A,2024-01-02\nA/1,A,2024-01-02\n"
	tests := []struct {
		rule string
		want []string // case ids; empty: refused
	}{
		{`{column: id}`, []string{"", "Case-1", ""}},
		{`{column: id, prefix: hd-, replace: {" ": "-"}}`, []string{"hd-Case-1", "", ""}},
		{`{column: id, prefix: hd-, replace: {" ": "-"}, unfit: digest}`, []string{"hd-Case-1", "hd-Case-1-", "hd-A-1-"}},
	}
	for _, tt := range tests {
		items := mustRead(t, mapping(t, strings.Replace(csvMapping, "{column: id}", tt.rule, 1)), write(t, "f.csv", rows))
		for i, want := range tt.want {
			item := items[i]
			exact := item.Case == want || strings.HasSuffix(want, "-") && strings.HasPrefix(item.Case, want) && len(item.Case) == len(want)+12
			if !exact || (want == "") != (item.Refused != "") {
				t.Errorf("%s: row %d is of case %q (refused %q), want %q", tt.rule, i+1, item.Case, item.Refused, want)
			}
			if strings.HasSuffix(want, "-") != (len(item.Repairs) == 1) {
				t.Errorf("%s: row %d has repairs %v", tt.rule, i+1, item.Repairs)
			}
		}
	}
}

// Rows of a case are ordered by day, and inside a day by the order column.
func TestOrder(t *testing.T) {
	m := mapping(t, csvMapping+"order: n\n")
	rows := "id,what,when,n\n" +
		"c,A,2024-01-02,30\nc,B,2024-01-02,4\nc,A,2024-01-01,99\n" +
		"d,A,2024-01-05,2\nd,B,2024-01-05,x\n" +
		"c,A,2023-01-01,1\n" // stands apart: it cannot be sorted in
	var got []string
	for _, item := range mustRead(t, m, write(t, "f.csv", rows)) {
		mark := ""
		if item.Refused != "" {
			mark = "!"
		}
		got = append(got, fmt.Sprintf("%s%d/%d%s", item.Case, item.Number, item.Order, mark))
	}
	if want := "c3/99 c2/4 c1/30 d5/0! d4/2 c6/1"; strings.Join(got, " ") != want {
		t.Errorf("order %v, want %s", got, want)
	}
	_, _, err := readAll(t, m, write(t, "f.csv", rows), Limits{CaseRows: 2}, false)
	if err == nil || !strings.Contains(err.Error(), "f.csv:4: a case has more than 2 rows, too many to sort by n") {
		t.Errorf("read: %v, want an error about the rows of a case", err)
	}
}

func TestDifference(t *testing.T) {
	m := mapping(t, csvMapping+`
fields:
  total: {column: total, type: money, unit: euro, elsewhere: ignore, acts: [b], invalid: drop}
  paid: {column: total, type: money, unit: euro, difference: true, digits: raw, acts: [b], invalid: drop}
`)
	rows := "id,what,when,total,raw\n" +
		"c,A,2024-01-01,0.0,\n" + // 1: another act, which sets the total
		"c,B,2024-01-02,35.0,350\n" + // 2: 35.00
		"d,B,2024-01-02,12.5,125\n" + // 3: another case, in between
		"c,B,2024-01-03,49.25,1425\n" + // 4: 14.25
		"c,B,2024-01-04,136.0,490\n" + // 5: two payments on a day
		"c,B,2024-01-04,136.0,870\n" + // 6
		"c,B,2024-01-05,100.0,1\n" + // 7: less than before
		"c,B,2024-01-06,huh,1\n" + // 8: not a number
		"c,B,2024-01-07,200.0,1\n" + // 9: the total before is not known
		"c,B,2024-01-08,201.0,10\n" + // 10: 1.00
		"c,B,never,205.0,40\n" + // 11: refused, but it counts
		"c,B,2024-01-09,210.0,50\n" // 12: 5.00
	want := []string{`{}`, `{"paid":3500,"total":3500}`, `{"paid":1250,"total":1250}`, `{"paid":1425,"total":4925}`, `{"total":13600}`, `{"total":13600}`,
		`{"total":10000}`, `{}`, `{"total":20000}`, `{"paid":100,"total":20100}`, "", `{"paid":500,"total":21000}`}
	for i, item := range mustRead(t, m, write(t, "f.csv", rows)) {
		if (item.Refused != "") != (want[i] == "") {
			t.Errorf("row %d: refused %q", i+1, item.Refused)
		}
		if got := fieldsText(t, item); want[i] != "" && got != want[i] {
			t.Errorf("row %d: fields %s, want %s (repairs %v)", i+1, got, want[i], item.Repairs)
		}
	}
}
