package intake

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"liuhen/domain"
)

// inMemory is a stream over bytes.
func inMemory(data []byte, m *Mapping) (*stream, error) {
	s := &source{name: "f", digest: "sha256:" + strings.Repeat("0", 64), limits: Limits{Record: 1 << 16, Token: 1 << 16}.orDefault()}
	cols := newColumns()
	var in rows
	var err error
	if m.Format == "xes" {
		var r *xesRows
		if r, err = newXES(s.name, bytes.NewReader(data), cols, s.limits, false); err == nil {
			r.whole = m.parts.whole
		}
		in = r
	} else {
		in, err = newCSV(s.name, bytes.NewReader(data), m, cols, s.limits)
	}
	if err != nil {
		return nil, err
	}
	mp, err := newMapper(m, cols, "fuzz", s)
	if err != nil {
		return nil, err
	}
	return &stream{rows: in, mapper: mp, file: s.name, limits: s.limits}, nil
}

// hold reads all of a stream and holds what every item promises.
func hold(t *testing.T, data []byte, m *Mapping) {
	st, err := inMemory(data, m)
	if err != nil {
		return
	}
	ids := make(map[string]bool)
	for range 1 << 20 {
		item, err := st.next()
		if errors.Is(err, io.EOF) {
			return
		}
		var fault *FileError
		if err != nil {
			if !errors.As(err, &fault) || fault.File != "f" {
				t.Fatalf("an error without its file: %v", err)
			}
			return
		}
		if ids[item.CommandID] || item.Number < 1 {
			t.Fatalf("row %d has the command id of another", item.Number)
		}
		ids[item.CommandID] = true
		for name, value := range item.Fields {
			if !json.Valid(value) || !utf8.ValidString(name) {
				t.Fatalf("field %q is not JSON: %q", name, value)
			}
		}
		if item.Refused != "" {
			continue
		}
		if domain.Token(item.Case) != "" || unfitAct(item.Act) != "" || item.At.Year() < 1900 || item.At.Year() > 2200 {
			t.Fatalf("taken with case %q, act %q, time %v", item.Case, item.Act, item.At)
		}
		if _, err := json.Marshal(item.Command(m.Procedure, m.Agency)); err != nil {
			t.Fatalf("command: %v", err)
		}
	}
	t.Fatal("a stream without end")
}

func FuzzMapping(f *testing.F) {
	for _, name := range Shipped() {
		data, err := shipped.ReadFile("mappings/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(csvMapping + "fields: {x: {column: x, type: money, unit: euro, difference: true, digits: y}}\n"))
	f.Add([]byte("case: {replace: {\"\": \"\"}, prefix: \"\"}\ntime: {zone: \"+\", layouts: [\"\"]}\n"))
	rows := []byte("id,what,when,x\na b,A,2024-01-02,1\nc,B,2024-01-03,2.5\n")
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ReadMapping("m", data)
		var errs MappingErrors
		if err != nil {
			if !errors.As(err, &errs) || len(errs) == 0 {
				t.Fatalf("not MappingErrors: %v", err)
			}
			for _, e := range errs {
				if e.File != "m" || e.Line < 1 || e.Column < 1 || e.Message == "" {
					t.Fatalf("a mistake without its place: %+v", e)
				}
			}
			return
		}
		hold(t, rows, m)
	})
}

func FuzzCSV(f *testing.F) {
	permits, err := os.ReadFile("testdata/permits.csv")
	if err != nil {
		f.Fatal(err)
	}
	gb, err := os.ReadFile("testdata/permits-gb18030.csv")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(permits, byte(0))
	f.Add(gb, byte(1))
	f.Add([]byte("id,what,when,x\na,A,2024-01-02,\"1\n\"\n\"a\"b,A\n,,,\n"), byte(2))
	f.Add([]byte("id,what,when,x,n,y\na,A,2024-01-02,1.5,3,15\na,A,2024-01-02,2.5,2,10\nb c,A,2024-02-30,1e9,x,\xff\n"), byte(2))
	text, err := os.ReadFile("testdata/permits.yaml")
	if err != nil {
		f.Fatal(err)
	}
	maps := []*Mapping{
		mapping(f, string(text)), mapping(f, string(text)+"encoding: gb18030\n"),
		mapping(f, csvMapping+"order: n\nother_columns: keep\nragged: pad\nquotes: lazy\nundecodable: replace\n"+
			"fields: {paid: {column: x, type: money, unit: euro, difference: true, digits: y, invalid: drop}}\n"),
	}
	f.Fuzz(func(t *testing.T, data []byte, which byte) { hold(t, data, maps[int(which)%len(maps)]) })
}

func FuzzXES(f *testing.F) {
	permits, err := os.ReadFile("testdata/permits.xes")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(permits)
	f.Add([]byte(oneEvent(`<list key="l"><values><int key="a" value="1"/></values></list><string value="v"/>`)))
	f.Add([]byte("<?xml version=\"1.0\" encoding=\"gbk\"?><log><event/></log>"))
	f.Add([]byte("\xff\xfe<\x00l\x00o\x00g\x00/\x00>\x00"))
	m := loadMapping(f, "generic-xes")
	f.Fuzz(func(t *testing.T, data []byte) { hold(t, data, m) })
}
