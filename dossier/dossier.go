// Package dossier makes a readable page of a case: one HTML text in Chinese with
// English beside it, which opens offline, loads nothing from anywhere, runs no
// script, and prints. It takes values and opens nothing.
package dossier

import (
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

//go:embed page.html page.css
var files embed.FS

var page = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"style": func() template.CSS {
		css, err := files.ReadFile("page.css")
		if err != nil {
			panic("dossier: " + err.Error())
		}
		return template.CSS(css) //nolint:gosec // our own, embedded
	},
}).ParseFS(files, "page.html"))

// A Case is what a page shows.
type Case struct {
	// Records are those of one case in their order: all of them, or those that
	// the reader may see.
	Records []domain.Recorded
	// Withheld is how many records of the case are not shown.
	Withheld int
	// Procedure gives labels; nil where the law of the case is not at hand: the
	// page then has codes for names.
	Procedure *rulebook.Procedure
	// Deadlines are the limits of the case, as rulebook.Procedure.Deadlines
	// counts them; nil shows none.
	Deadlines []rulebook.Deadline
	// At is the moment that the page is of. A limit that runs is held against it.
	At time.Time
	// Position is the position of the log that the page is of; 0: not told.
	Position uint64
	// Note is a sentence for the head of the page, such as where it belongs to.
	Note rulebook.Text
}

// Write writes the page. The same case gives the same bytes. It fails where
// there are no records, or records of several cases, and where w does.
func Write(w io.Writer, c Case) error {
	if len(c.Records) == 0 {
		return fmt.Errorf("dossier: a case without records")
	}
	for _, r := range c.Records {
		if r.Subject != c.Records[0].Subject {
			return fmt.Errorf("dossier: records of the cases %s and %s", c.Records[0].Subject, r.Subject)
		}
	}
	if err := page.Execute(w, c.view()); err != nil {
		return fmt.Errorf("dossier: case %s: %w", c.Records[0].Subject, err)
	}
	return nil
}

// What the template shows. Everything in it is text; the template escapes it.
type (
	view struct {
		Case, Agency   string
		Procedure      rulebook.Text
		Code           string // of the procedure
		Edition        string
		Stage          rulebook.Text
		Opened         string
		Closed         bool
		Records        int
		Withheld       int
		At             string
		Position       string
		Note           rulebook.Text
		Head, HeadID   string // of the last record that is shown
		Parties        []labelled
		Officers       []officerView
		Deadlines      []deadlineView
		Acts           []actView
		Late, Findings int
		Imported       int
	}
	actView struct {
		Anchor, Event string
		Revision      int
		Title         rulebook.Text
		Code          string
		Occurred      string
		Recorded      string
		Gap           rulebook.Text
		Late          bool
		LateReason    string
		AlreadyDone   bool
		Imported      string
		Actor         string
		Role          string
		Place         string
		Officers      []officerView
		Fields        []labelled
		Documents     []referenceView
		Evidence      []referenceView
		Findings      []findingView
		Corrects      *link
		CorrectedBy   []link
		Reason        string
		Digest        string
		Previous      string
		Position      string
	}
	link struct {
		Anchor string // empty: not on this page
		Text   string
	}
	officerView struct {
		Name, ID, Certificate, Valid, Field, Area string
		Acts                                      []link
	}
	labelled struct {
		Label rulebook.Text
		Value value
	}
	// A value is text, a list or a record.
	value struct {
		Text   string
		Also   string // the text in English, where it differs
		Items  []value
		Fields []labelled
	}
	referenceView struct {
		Kind, Title, Number, Digest, Type, Size string
	}
	findingView struct {
		Rule, Basis     string
		Severity        rulebook.Text
		Grave           bool
		Says, Detail    rulebook.Text
		Cure            rulebook.Text
		Due, Edition    string
		Looked          []link
		Assumed, Failed bool
		Of              *link
		Verdict         rulebook.Text
	}
	deadlineView struct {
		Rule, Basis string
		Says        rulebook.Text
		Due         string
		Why         rulebook.Text
		State       rulebook.Text
		Passed      bool
		Start, Done *link
		Provisional bool
	}
)

var severities = map[rulebook.Severity]rulebook.Text{
	rulebook.Invalid: {ZH: "无效", EN: "invalid"}, rulebook.Veto: {ZH: "否决", EN: "veto"}, rulebook.Major: {ZH: "重大", EN: "major"},
	rulebook.Minor: {ZH: "轻微", EN: "minor"}, rulebook.Notice: {ZH: "提示", EN: "notice"},
}

func anchor(event string) string { return "e-" + event }

// moment is a time as an office in China reads it.
func moment(t time.Time) string {
	t = t.In(calendar.Shanghai)
	if t.Nanosecond() != 0 {
		return t.Format("2006-01-02 15:04:05.999999999")
	}
	return t.Format("2006-01-02 15:04:05")
}

func (c *Case) view() view {
	first, last := &c.Records[0], &c.Records[len(c.Records)-1]
	v := view{
		Case: string(first.Subject), Agency: first.Agency(), Code: first.Procedure(), Procedure: named(first.Procedure()), Edition: first.Edition.String(),
		Opened: calendar.DateOf(first.Time).String(), Records: len(c.Records), Withheld: c.Withheld, Note: c.Note,
		Head: last.Digest.String(), HeadID: last.ID,
	}
	if !c.At.IsZero() {
		v.At = moment(c.At)
	}
	if c.Position > 0 {
		v.Position = strconv.FormatUint(c.Position, 10)
	}
	if c.Procedure != nil {
		v.Procedure = c.Procedure.Title
	}
	by := make(map[string][]link) // event → those that correct it
	known := make(map[string]*domain.Recorded, len(c.Records))
	for i := range c.Records {
		r := &c.Records[i]
		known[r.ID] = r
		if r.Data.Corrects != "" {
			by[r.Data.Corrects] = append(by[r.Data.Corrects], link{anchor(r.ID), c.name(r)})
		}
	}
	to := func(event string) link {
		if r := known[event]; r != nil {
			return link{anchor(event), c.name(r)}
		}
		return link{Text: event}
	}
	for i := range c.Records {
		r := &c.Records[i]
		a := c.act(r, to)
		a.CorrectedBy = by[r.ID]
		v.Acts = append(v.Acts, a)
		v.Findings += len(r.Data.Findings)
		if a.Late {
			v.Late++
		}
		if r.Data.Import != nil {
			v.Imported++
		}
		if len(a.CorrectedBy) > 0 {
			continue
		}
		c.sum(&v, r)
	}
	for _, d := range c.Deadlines {
		v.Deadlines = append(v.Deadlines, c.deadline(d, to))
	}
	return v
}

// sum adds what an act that stands says of the case as a whole.
func (c *Case) sum(v *view, r *domain.Recorded) {
	law := c.law(r)
	if law != nil {
		v.Closed = v.Closed || law.Closes
		if law.To != "" {
			v.Stage = named(law.To)
			for _, s := range c.Procedure.Stages {
				if s.Name == law.To {
					v.Stage = s.Title
				}
			}
		}
	}
	for _, f := range fieldsOf(law, r.Data.Fields) {
		if f.Type != "party" && (law != nil && f.Type != "" || f.Name != "party" && f.Name != "parties") {
			continue
		}
		one := labelled{Label: f.Title, Value: c.value(f, r.Data.Fields[f.Name])}
		if !slices.ContainsFunc(v.Parties, func(p labelled) bool { return same(p.Value, one.Value) }) {
			v.Parties = append(v.Parties, one)
		}
	}
	for _, o := range r.Data.Officers {
		done := link{anchor(r.ID), c.name(r)}
		i := slices.IndexFunc(v.Officers, func(have officerView) bool { return have.ID == o.ID && have.Certificate == o.Certificate })
		if i < 0 {
			i = len(v.Officers)
			v.Officers = append(v.Officers, officer(o))
		}
		v.Officers[i].Acts = append(v.Officers[i].Acts, done)
	}
}

func same(a, b value) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

func named(code string) rulebook.Text { return rulebook.Text{ZH: code, EN: code} }

// law is what the procedure says of an act; nil where it is not known.
func (c *Case) law(r *domain.Recorded) *rulebook.Act {
	if c.Procedure == nil {
		return nil
	}
	act, ok := c.Procedure.Act(r.Act())
	if !ok {
		return nil
	}
	return act
}

// name is an act with its number in the case.
func (c *Case) name(r *domain.Recorded) string {
	title := r.Act()
	if law := c.law(r); law != nil {
		title = law.Title.In("zh")
	}
	return "#" + strconv.Itoa(r.Revision) + " " + title
}

func (c *Case) act(r *domain.Recorded, to func(string) link) actView {
	d := &r.Data
	law := c.law(r)
	a := actView{
		Anchor: anchor(r.ID), Event: r.ID, Revision: r.Revision, Title: named(r.Act()), Code: r.Act(),
		Occurred: moment(r.Time), Recorded: moment(r.Recorded), Gap: gap(r.Recorded.Sub(r.Time)),
		Late: d.LateReason != "", LateReason: d.LateReason, AlreadyDone: d.AlreadyDone,
		Actor: person(r.Actor, d.ActorName), Role: r.ActorRole, Place: d.Place, Reason: d.Reason,
		Digest: r.Digest.String(), Previous: r.Previous.String(), Position: strconv.FormatUint(r.Position, 10),
		Documents: references(d.Documents), Evidence: references(d.Evidence),
	}
	if law != nil {
		a.Title = law.Title
	}
	if d.Import != nil {
		a.Imported = fmt.Sprintf("%s · %s · %d", d.Import.Source, d.Import.Batch, d.Import.Row)
	}
	for _, o := range d.Officers {
		a.Officers = append(a.Officers, officer(o))
	}
	for _, f := range fieldsOf(law, d.Fields) {
		a.Fields = append(a.Fields, labelled{Label: f.Title, Value: c.value(f, d.Fields[f.Name])})
	}
	for _, f := range d.Findings {
		a.Findings = append(a.Findings, finding(f, to))
	}
	if d.Corrects != "" {
		l := to(d.Corrects)
		a.Corrects = &l
	}
	return a
}

func person(id, name string) string {
	if name == "" || name == id {
		return id
	}
	return name + "（" + id + "）"
}

func officer(o rulebook.Officer) officerView {
	v := officerView{Name: o.Name, ID: o.ID, Certificate: o.Certificate, Field: o.Field, Area: o.Area}
	if !o.ValidFrom.IsZero() || !o.ValidTo.IsZero() {
		v.Valid = o.ValidFrom.String() + " – " + o.ValidTo.String()
	}
	return v
}

func references(list []rulebook.Reference) []referenceView {
	out := make([]referenceView, len(list))
	for i, r := range list {
		out[i] = referenceView{Kind: r.Kind, Title: r.Title, Number: r.Number, Digest: r.Digest, Type: r.MediaType, Size: grouped(r.Size)}
	}
	return out
}

func finding(f rulebook.Finding, to func(string) link) findingView {
	v := findingView{
		Rule: f.Rule, Basis: f.Basis, Severity: severities[f.Severity], Grave: f.Severity == rulebook.Invalid || f.Severity == rulebook.Veto || f.Severity == rulebook.Major,
		Says: f.Says, Detail: f.Detail, Cure: f.Cure, Edition: f.Edition.String(), Assumed: f.Assumed, Failed: f.Failed,
		Verdict: rulebook.Text{ZH: "记录", EN: "recorded"},
	}
	if f.Verdict == rulebook.Refuse {
		v.Verdict = rulebook.Text{ZH: "依规则应当拒绝", EN: "the rule asks to refuse"}
	}
	if !f.Due.IsZero() {
		v.Due = f.Due.String()
	}
	for _, event := range f.Looked {
		v.Looked = append(v.Looked, to(event))
	}
	if f.Of != "" {
		l := to(f.Of)
		v.Of = &l
	}
	return v
}

func (c *Case) deadline(d rulebook.Deadline, to func(string) link) deadlineView {
	v := deadlineView{
		Rule: d.Rule, Basis: d.Basis, Says: d.Says, Due: d.Due.On.String(), Why: rulebook.Text{ZH: d.Due.Why("zh"), EN: d.Due.Why("en")}, Provisional: d.Due.Provisional,
	}
	if !d.Due.At.IsZero() {
		v.Due = moment(d.Due.At)
	}
	start := to(d.Start)
	v.Start = &start
	passed := !c.At.IsZero() && (!d.Due.At.IsZero() && !c.At.Before(d.Due.At) || d.Due.At.IsZero() && calendar.DateOf(c.At).After(d.Due.On))
	switch {
	case d.Done != "" && d.Late:
		v.State, v.Passed = rulebook.Text{ZH: "逾期完成 " + d.DoneOn.String(), EN: "done late"}, true
	case d.Done != "":
		v.State = rulebook.Text{ZH: "按期完成 " + d.DoneOn.String(), EN: "done in time"}
	case d.Paused:
		v.State = rulebook.Text{ZH: "中止计算", EN: "paused"}
	case passed:
		v.State, v.Passed = rulebook.Text{ZH: "已逾期", EN: "passed"}, true
	default:
		v.State = rulebook.Text{ZH: "进行中", EN: "running"}
	}
	if d.Done != "" {
		done := to(d.Done)
		v.Done = &done
	}
	return v
}

// fieldsOf are the fields that have a value: those of the law in its order,
// then the others by name.
func fieldsOf(law *rulebook.Act, have map[string]any) []rulebook.Field {
	var list []rulebook.Field
	if law != nil {
		for _, f := range law.Fields {
			if _, ok := have[f.Name]; ok {
				list = append(list, f)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if !slices.ContainsFunc(list, func(f rulebook.Field) bool { return f.Name == name }) {
			list = append(list, rulebook.Field{Name: name, Title: named(name)})
		}
	}
	return list
}

// deepest is how far values are shown inside each other; what is deeper is
// shown as JSON.
const deepest = 12

func (c *Case) value(f rulebook.Field, v any) value { return valueOf(f, v, 0) }

func valueOf(f rulebook.Field, v any, depth int) value {
	switch v := v.(type) {
	case nil:
		return value{Text: "—"}
	case string:
		for _, code := range f.Codes {
			if code.Code == v {
				return value{Text: code.Title.In("zh"), Also: code.Title.In("en")}
			}
		}
		if t, err := time.Parse(time.RFC3339Nano, v); err == nil && f.Type == "time" {
			return value{Text: moment(t)}
		}
		return value{Text: v}
	case bool:
		if v {
			return value{Text: "是", Also: "yes"}
		}
		return value{Text: "否", Also: "no"}
	case int64:
		if f.Type == "money" {
			return value{Text: yuan(v) + " 元", Also: yuan(v) + " yuan"}
		}
		return value{Text: strconv.FormatInt(v, 10)}
	case float64:
		return value{Text: strconv.FormatFloat(v, 'g', -1, 64)}
	case []any:
		if depth >= deepest {
			break
		}
		out := value{Items: make([]value, len(v))}
		for i, item := range v {
			out.Items[i] = valueOf(f, item, depth+1)
		}
		if len(v) == 0 {
			return value{Text: "—"}
		}
		return out
	case map[string]any:
		if depth >= deepest {
			break
		}
		var out value
		for _, inner := range fieldsOf(&rulebook.Act{Fields: f.Record}, v) {
			out.Fields = append(out.Fields, labelled{Label: inner.Title, Value: valueOf(inner, v[inner.Name], depth+1)})
		}
		if len(v) == 0 {
			return value{Text: "—"}
		}
		return out
	}
	data, err := json.Marshal(v)
	if err != nil {
		panic("dossier: " + err.Error()) // it came from JSON
	}
	return value{Text: string(data)}
}

// yuan writes fen as yuan, with the thousands apart.
func yuan(fen int64) string {
	sign := ""
	if fen < 0 {
		sign = "-"
	}
	whole, rest := fen/100, fen%100
	return fmt.Sprintf("%s%s.%02d", sign, grouped(max(whole, -whole)), max(rest, -rest))
}

// grouped writes a number with its thousands apart.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// gap says how long after an act its record was made, in the two largest units.
func gap(d time.Duration) rulebook.Text {
	early := d < 0
	if early {
		d = -d
	}
	var zh, en []string
	for _, u := range []struct {
		size   time.Duration
		zh, en string
	}{{24 * time.Hour, "天", "d"}, {time.Hour, "小时", "h"}, {time.Minute, "分", "min"}, {time.Second, "秒", "s"}} {
		if n := int64(d / u.size); n > 0 && len(zh) < 2 {
			zh, en = append(zh, strconv.FormatInt(n, 10)+u.zh), append(en, strconv.FormatInt(n, 10)+" "+u.en)
		}
		d %= u.size
	}
	switch {
	case len(zh) == 0:
		return rulebook.Text{ZH: "随即", EN: "at once"}
	case early:
		return rulebook.Text{ZH: "早于所称时间 " + strings.Join(zh, ""), EN: strings.Join(en, " ") + " before the time claimed"}
	}
	return rulebook.Text{ZH: strings.Join(zh, "") + "后", EN: strings.Join(en, " ") + " later"}
}
