package rulebook

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/fstest"

	"liuhen/domain/law"
)

// FuzzLoad reads any bytes as a law file. It must not panic, and what it loads
// can be judged by, tried and explained.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(withRule(`within: {act: dispose, after: register, limit: 7 working days}`, `{register: 2025-01-24, dispose: 2025-02-10}`)))
	f.Add([]byte(withRule("on: hearing\nwith: {n: last? notice}\nrequire: has_n || act.presider != ''", `[notice: {}, hearing: {}]`)))
	f.Add([]byte(checked))
	f.Add([]byte("procedure: p\nedition: 2021-07-15\nname: x\nopen: true\n"))
	f.Add([]byte("a: [\n- {b: &c !!d e"))
	f.Add([]byte("codes: {x: {y: >\n  z"))
	for _, pattern := range []string{"testdata/wrong/*.yaml", "testdata/agency/*.yaml", "testdata/idle/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 20_000 {
			return
		}
		b, err := Load(fstest.MapFS{"a.yaml": {Data: data}})
		if err != nil {
			return
		}
		for _, p := range b.Procedures() {
			h := p.NewHistory("C", "A")
			for i, a := range p.Acts {
				s := plausible(p, a.Name, "e"+strconv.Itoa(i), on(1+i%28))
				p.Judge(h, s, Known{})
				h = h.Append(s)
			}
			p.Deadlines(h, nil)
			p.Next(h, on(28), "", nil)
			if err := Explain(io.Discard, b, p, "zh"); err != nil {
				t.Fatal(err)
			}
		}
		RunExamples(b)
	})
}

// FuzzAgencyExpression compiles any expression as an agency's rule over the
// national law, and judges by it.
func FuzzAgencyExpression(f *testing.F) {
	for _, e := range []string{
		"act.presider != ''", "size(act.officers) >= 2 && act.officers.all(o, o.valid_to >= act.day)",
		"act.penalties.map(p, p.amount).exists(a, a > 100)", "case.officers('inquiry').filter(x, x in case.officers('register')).size() == 0",
		"due(act.day, '7 working days') > '2025-01-01'", "[1,2,3].map(x, x * 9223372036854775807)[2] > 0", "act.at - timestamp('2025-01-01T00:00:00Z') > duration('1h')",
		"'a'.matches('(a+)+$')", "act.main == act.main && act.penalties == act.penalties", "{'a': 1}['b'] == 1 || has(act.main.kind)",
		"param.cap / (act.amount - act.amount) == 0", "case.has('x'", "\"\\", "max([]) == 0 || sum([1.5]) > 0.0", "act == act && act.officers[0] == act.officers[0]",
	} {
		f.Add(e)
	}
	national := fstest.MapFS{"national.yaml": {Data: []byte(demo[:len(demo)-len("rules:\n")])}}
	f.Fuzz(func(t *testing.T, expr string) {
		quoted, err := json.Marshal(expr)
		if err != nil || len(expr) > 2_000 {
			return
		}
		agency := "rules:\n  SY-1: {procedures: [demo], says: {zh: x}, basis: cfg, severity: notice, on: hearing, require: " + string(quoted) +
			", examples: [{holds: {hearing: {}}}, {broken: {hearing: {}}}]}\n"
		b, err := Load(national, fstest.MapFS{"agency.yaml": {Data: []byte(agency)}})
		if err != nil {
			return
		}
		p, _ := b.Procedure("demo")
		h := p.NewHistory("C", "A")
		for _, act := range []string{"file-case", "register", "notice", "hearing"} {
			s := plausible(p, act, act, on(3))
			p.Judge(h, s, Known{})
			h = h.Append(s)
		}
	})
}

// FuzzCheck reads any JSON as the fields of any act of the national law. What
// passes can be judged.
func FuzzCheck(f *testing.F) {
	b, err := Load(law.Files)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("decide-penalty", `{"decision_date": "2024-12-11", "penalties": [{"kind": "21", "amount": 5}]}`)
	f.Add("file-case", `{"party": {"name": "甲", "kind": "citizen"}}`)
	f.Fuzz(func(t *testing.T, act, text string) {
		var raw map[string]json.RawMessage
		if json.Unmarshal([]byte(text), &raw) != nil {
			return
		}
		for _, p := range b.Procedures() {
			fields, problems := p.Check(act, raw)
			if len(problems) > 0 {
				continue
			}
			s := Step{Event: "1", Act: act, At: on(3), Recorded: on(3), Fields: fields}
			h := p.NewHistory("C", "A")
			for range 2 {
				for _, f := range p.Judge(h, s, Known{}) {
					if f.Failed {
						t.Errorf("%s: %s", f.Rule, f.Detail.EN)
					}
				}
				h = h.Append(s)
			}
		}
	})
}
