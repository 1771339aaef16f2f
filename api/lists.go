package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"liuhen/domain"
	"liuhen/domain/rulebook"
	"liuhen/identity"
	"liuhen/projections"
)

// Paged are the parameters of every list. It is exported, as other types that
// are embedded here, because huma passes over embedded types that are not.
type Paged struct {
	SeenFrom
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" doc:"Items on a page; 50 without it"`
	Cursor string `query:"cursor" maxLength:"2000" doc:"next of the page before"`
	Format string `query:"format" enum:"json,csv" doc:"csv: the whole filtered list, without pages, in UTF-8 with a byte order mark"`
}

func (p Paged) page() projections.Page { return projections.Page{Limit: p.Limit, Cursor: p.Cursor} }

// page is a page of a list. R is how an item is shown.
type page[R any] struct {
	Items    []R    `json:"items"`
	Total    *int   `json:"total,omitempty" doc:"With total=true: how many there are in all, counted up to 1,000,000"`
	AtLeast  bool   `json:"total_at_least,omitempty" doc:"There may be more than total: the count was not gone on with"`
	Next     string `json:"next,omitempty" doc:"Cursor of the next page; absent on the last"`
	Position uint64 `json:"position" doc:"The list holds everything up to this position, and nothing after it"`
	At       *asOf  `json:"at,omitempty" doc:"The moment that the list is of; absent: now"`
}

// A list answers a request for one: as a page of JSON, or whole as CSV. T is
// an item of the read model, R how it is shown.
type list[T, R any] struct {
	in      Paged
	what    string       // for the access trail
	agency  string       // likewise: the one that was asked for, or "*"
	of      *domain.Case // where it is a list of one case
	at      *asOf        // where it is of a moment
	models  []string     // that it is made from
	page    func(context.Context, projections.Page) (projections.List[T], error)
	each    func(context.Context, func(position uint64) error) iter.Seq2[T, error]
	count   func(context.Context) (int, error) // nil: the total was not asked for
	shown   func(T) R
	columns []column[R]
}

// answer waits, asks, records the look and answers, in this order.
func (l list[T, R]) answer(ctx context.Context, s *server) (*huma.StreamResponse, error) {
	if l.in.Format == "csv" && (l.in.Limit != 0 || l.in.Cursor != "") {
		p := problem(ctx, "unknown-parameter", "CSV 总是整个列表，不分页；请去掉 limit 和 cursor", "a CSV is always the whole list; leave out limit and cursor")
		p.Errors = []FieldError{{Location: "query.format", Message: p.Detail}}
		return nil, p
	}
	if err := s.waitFor(ctx, l.in.MinPosition, l.models...); err != nil {
		return nil, err
	}
	if l.in.Format == "csv" {
		// How many rows there are is known afterwards, and that is too late.
		if err := l.looked(ctx, s, 0, "csv"); err != nil {
			return nil, err
		}
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			_, w := humago.Unwrap(hc)
			l.writeCSV(ctx, s, w)
		}}, nil
	}
	found, err := l.page(ctx, l.in.page())
	if err != nil {
		return nil, err
	}
	out := page[R]{Items: make([]R, len(found.Items)), Next: found.Next, Position: found.Position, At: l.at}
	if l.at != nil {
		out.Position = l.at.Position // what came after it is not in the list
	}
	for i, item := range found.Items {
		out.Items[i] = l.shown(item)
	}
	if l.count != nil {
		n, err := l.count(ctx)
		if err != nil {
			return nil, err
		}
		out.Total, out.AtLeast = &n, n >= countUpTo
	}
	body, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", l.what, err)
	}
	if err := l.looked(ctx, s, len(out.Items), ""); err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		r, w := humago.Unwrap(hc)
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set(positionHeader, position(out.Position))
		if l.of != nil && l.at == nil {
			h.Set("ETag", etag(l.of.Revision))
		}
		if out.Next != "" {
			h.Set("Link", linkTo(r.URL, out.Next))
		}
		_, _ = w.Write(append(body, '\n')) // the caller may have gone
	}}, nil
}

func (l list[T, R]) looked(ctx context.Context, s *server, rows int, format string) error {
	if l.of != nil {
		return s.looked(ctx, l.what, l.of, rows, format)
	}
	return s.lookedAt(ctx, l.what, "", l.agency, rows, format)
}

// linkTo is the Link header that leads to the next page.
func linkTo(here *url.URL, cursor string) string {
	q := here.Query()
	q.Set("cursor", cursor)
	next := url.URL{Path: here.Path, RawPath: here.RawPath, RawQuery: q.Encode()}
	return "<" + next.String() + `>; rel="next"`
}

// lookedAt records a look in the access trail.
func (s *server) lookedAt(ctx context.Context, what string, id domain.CaseID, agency string, rows int, format string) error {
	r := about(ctx)
	err := s.Trail.Looked(ctx, Look{
		Look: projections.Look{
			At: s.Now(), Person: r.actor.Person, Role: string(r.actor.Role), Agency: agency, What: what, Case: id,
			Query: r.query, Rows: rows, Purpose: r.purpose, Address: r.address,
		},
		Name: r.actor.Name, Token: r.actor.Token, Request: r.id, Format: format,
	})
	if err != nil && ctx.Err() == nil {
		return later(ctx, s.Logger, err, "unavailable", 2,
			"查阅记录暂时无法保存，因此不能出示内容；请稍后重试", "that you looked cannot be kept just now, so nothing is shown; try again shortly")
	}
	return err
}

// scope is the agencies whose rows a list shows to the caller.
func (s *server) scope(ctx context.Context, action identity.Action, asked string) (agencies []string, shown string, err error) {
	r := about(ctx)
	if asked == identity.Everywhere {
		asked = "" // as far as one may see
	}
	agencies, all, d := s.Policies.Agencies(r.actor, action, asked, r.purpose)
	if !d.Allowed {
		return nil, "", forbidden(ctx, d)
	}
	if all || len(agencies) > 1 {
		return agencies, identity.Everywhere, nil
	}
	return agencies, agencies[0], nil
}

type timelineInput struct {
	Paged
	AtMoment
	JudgedBy
	Case      string `path:"case" maxLength:"64"`
	Act       string `query:"act" maxLength:"2000" doc:"Only these acts, separated by commas"`
	Person    string `query:"person" maxLength:"200" doc:"Only what this person recorded or took part in"`
	From      date   `query:"from" doc:"Carried out on this day or later"`
	To        date   `query:"to" doc:"Carried out on this day or before"`
	Late      bool   `query:"late" doc:"Only what was recorded beyond the limit for recording"`
	Corrected bool   `query:"corrected" doc:"Only corrections and what they correct"`
	Findings  bool   `query:"findings" doc:"Only what has findings"`
	Newest    bool   `query:"newest" doc:"The newest first"`
}

func (s *server) timeline(ctx context.Context, in *timelineInput) (*huma.StreamResponse, error) {
	if err := s.waitForRecord(ctx, in.MinPosition); err != nil { // for the desk; the list waits for its model
		return nil, err
	}
	c, err := s.openedFor(ctx, identity.ReadCase, domain.CaseID(in.Case))
	if err != nil {
		return nil, err
	}
	f := projections.TimelineFilter{
		Case: c.ID, Acts: listed(in.Act), Person: in.Person, From: in.From.Date, To: in.To.Date,
		Late: in.Late, Corrected: in.Corrected, Findings: in.Findings, NewestUp: in.Newest,
	}
	l := list[projections.TimelineItem, timelineEntry]{
		in: in.Paged, what: "timeline", of: c, models: []string{"timeline"},
		shown:   func(i projections.TimelineItem) timelineEntry { return timelineEntryOf(c.Procedure, i) },
		columns: timelineColumns(langOf(ctx)),
	}
	if in.At != "" || in.Judged != "" {
		if err := s.timelineAt(ctx, in, c, &f, &l); err != nil {
			return nil, err
		}
	}
	l.page = func(ctx context.Context, p projections.Page) (projections.List[projections.TimelineItem], error) {
		return s.Reads.Timeline(ctx, f, p)
	}
	l.each = func(ctx context.Context, header func(uint64) error) iter.Seq2[projections.TimelineItem, error] {
		return s.Reads.EachTimeline(ctx, f, header)
	}
	return l.answer(ctx, s)
}

type ledgerInput struct {
	Paged
	AtMoment
	Agency    string `query:"agency" maxLength:"64"`
	Procedure string `query:"procedure" maxLength:"64"`
	Officer   string `query:"officer" maxLength:"200" doc:"Id of an officer who took part"`
	Stage     string `query:"stage" maxLength:"64"`
	From      date   `query:"from" doc:"Opened on this day or later"`
	To        date   `query:"to" doc:"Opened on this day or before"`
	Party     string `query:"party" maxLength:"500" doc:"Part of a party's name; two Chinese characters are enough"`
	Q         string `query:"q" maxLength:"500" doc:"Part of the case id, a party's name, a credit code or a document number"`
	Closed    string `query:"closed" enum:"true,false" doc:"Only closed cases, or only open ones"`
	Findings  bool   `query:"findings" doc:"Only cases with findings"`
	Total     bool   `query:"total" doc:"Also count them"`
}

// countUpTo is how many cases are counted, at the most, to say how many there are.
const countUpTo = 1_000_000

func (s *server) ledger(ctx context.Context, in *ledgerInput) (*huma.StreamResponse, error) {
	agencies, shown, err := s.scope(ctx, identity.ReadLedger, in.Agency)
	if err != nil {
		return nil, err
	}
	f := projections.LedgerFilter{
		Agencies: agencies, Procedure: in.Procedure, Officer: in.Officer, Stage: in.Stage, From: in.From.Date, To: in.To.Date,
		Party: in.Party, Query: in.Q, Closed: either(in.Closed), Findings: in.Findings,
	}
	l := list[projections.LedgerEntry, ledgerEntry]{
		in: in.Paged, what: "ledger", agency: shown, models: []string{"ledger"},
		page: func(ctx context.Context, p projections.Page) (projections.List[projections.LedgerEntry], error) {
			return s.Reads.Ledger(ctx, f, p)
		},
		each: func(ctx context.Context, header func(uint64) error) iter.Seq2[projections.LedgerEntry, error] {
			return s.Reads.EachLedger(ctx, f, header)
		},
		shown:   s.ledgerEntryOf,
		columns: ledgerColumns(),
	}
	if in.At != "" {
		if err := s.ledgerAt(ctx, in, f, &l); err != nil {
			return nil, err
		}
		return l.answer(ctx, s)
	}
	if in.Total {
		l.count = func(ctx context.Context) (int, error) { return s.Reads.CountLedger(ctx, f, countUpTo) }
	}
	return l.answer(ctx, s)
}

// either reads true, false or neither.
func either(s string) *bool {
	if s == "" {
		return nil
	}
	yes := s == "true"
	return &yes
}

type deadlinesInput struct {
	Paged
	AtMoment
	Agency      string `query:"agency" maxLength:"64"`
	Procedure   string `query:"procedure" maxLength:"64"`
	Officer     string `query:"officer" maxLength:"200" doc:"Id of an officer who took part in the case"`
	Case        string `query:"case" maxLength:"64"`
	Rule        string `query:"rule" maxLength:"64"`
	Light       string `query:"light" enum:"red,yellow,green" doc:"red: passed; yellow: soon; green: the others"`
	Provisional string `query:"provisional" enum:"true,false" doc:"Only those whose day needs a calendar that is not published yet, or only the others"`
	Done        bool   `query:"done" doc:"Those that have ended instead of those that run"`
}

func (s *server) deadlines(ctx context.Context, in *deadlinesInput) (*huma.StreamResponse, error) {
	agencies, shown, err := s.scope(ctx, identity.ReadDeadlines, in.Agency)
	if err != nil {
		return nil, err
	}
	f := projections.DeadlinesFilter{
		Now: s.Now(), Agencies: agencies, Procedure: in.Procedure, Officer: in.Officer, Case: domain.CaseID(in.Case), Rule: in.Rule,
		Light: projections.Light(in.Light), Provisional: either(in.Provisional), Done: in.Done,
	}
	l := list[projections.DeadlineItem, deadlineEntry]{
		in: in.Paged, what: "deadlines", agency: shown, models: []string{"deadlines"},
		page: func(ctx context.Context, p projections.Page) (projections.List[projections.DeadlineItem], error) {
			return s.Reads.Deadlines(ctx, f, p)
		},
		each: func(ctx context.Context, header func(uint64) error) iter.Seq2[projections.DeadlineItem, error] {
			return s.Reads.EachDeadline(ctx, f, header)
		},
		shown:   s.deadlineEntryOf,
		columns: deadlineColumns(langOf(ctx)),
	}
	if in.At != "" {
		if err := s.deadlinesAt(ctx, in, f, &l); err != nil {
			return nil, err
		}
	}
	return l.answer(ctx, s)
}

// A FindingsFilter is which findings are wanted.
type FindingsFilter struct {
	Agency      string `query:"agency" maxLength:"64"`
	Procedure   string `query:"procedure" maxLength:"64"`
	Rule        string `query:"rule" maxLength:"64"`
	Severity    string `query:"severity" enum:"invalid,veto,major,minor,notice"`
	Case        string `query:"case" maxLength:"64"`
	Since       date   `query:"since" doc:"Recorded on this day or later"`
	From        date   `query:"from" doc:"Of acts carried out on this day or later"`
	To          date   `query:"to" doc:"Of acts carried out on this day or before"`
	Uncorrected bool   `query:"uncorrected" doc:"Only of events that have not been corrected"`
}

type findingsInput struct {
	Paged
	AtMoment
	FindingsFilter
}

func (in FindingsFilter) of(agencies []string) projections.FindingsFilter {
	return projections.FindingsFilter{
		Agencies: agencies, Procedure: in.Procedure, Rule: in.Rule, Severity: rulebook.Severity(in.Severity), Case: domain.CaseID(in.Case),
		Since: in.Since.Date, From: in.From.Date, To: in.To.Date, Uncorrected: in.Uncorrected,
	}
}

func (s *server) findings(ctx context.Context, in *findingsInput) (*huma.StreamResponse, error) {
	agencies, shown, err := s.scope(ctx, identity.ReadFindings, in.Agency)
	if err != nil {
		return nil, err
	}
	f := in.of(agencies)
	l := list[projections.FindingItem, findingEntry]{
		in: in.Paged, what: "findings", agency: shown, models: []string{"findings"},
		page: func(ctx context.Context, p projections.Page) (projections.List[projections.FindingItem], error) {
			return s.Reads.Findings(ctx, f, p)
		},
		each: func(ctx context.Context, header func(uint64) error) iter.Seq2[projections.FindingItem, error] {
			return s.Reads.EachFinding(ctx, f, header)
		},
		shown:   s.findingEntryOf,
		columns: findingColumns(),
	}
	if in.At != "" {
		if f.Through, l.at, err = s.through(ctx, in.SeenFrom, in.At); err != nil {
			return nil, err
		}
		l.page = func(ctx context.Context, p projections.Page) (projections.List[projections.FindingItem], error) {
			return s.Reads.Findings(ctx, f, p)
		}
		l.each = func(ctx context.Context, header func(uint64) error) iter.Seq2[projections.FindingItem, error] {
			return s.Reads.EachFinding(ctx, f, header)
		}
	}
	return l.answer(ctx, s)
}

type countsInput struct {
	SeenFrom
	FindingsFilter
}

// ruleCount is how often a rule was broken.
type ruleCount struct {
	Procedure string            `json:"procedure"`
	Rule      string            `json:"rule"`
	Says      rulebook.Text     `json:"says,omitzero"`
	Severity  rulebook.Severity `json:"severity"`
	Findings  int64             `json:"findings"`
	Cases     int64             `json:"cases"`
}

type countsOutput struct {
	Position string `header:"Liuhen-Position"`
	Body     struct {
		Items    []ruleCount `json:"items"`
		Position uint64      `json:"position" doc:"The counts hold everything up to this position, and perhaps a little more"`
	}
}

// findingCounts counts findings by rule. Nobody is named, so it is for whom
// the figures are for.
func (s *server) findingCounts(ctx context.Context, in *countsInput) (*countsOutput, error) {
	action := identity.ReadStats
	if in.Case != "" {
		action = identity.ReadFindings // of one case they are no figures
	}
	agencies, shown, err := s.scope(ctx, action, in.Agency)
	if err != nil {
		return nil, err
	}
	if err := s.waitFor(ctx, in.MinPosition, "findings"); err != nil {
		return nil, err
	}
	at, err := s.Reads.Wait(ctx, "findings", 0)
	if err != nil {
		return nil, err
	}
	counts, err := s.Reads.CountFindings(ctx, in.of(agencies))
	if err != nil {
		return nil, err
	}
	if in.Case != "" {
		if err := s.lookedAt(ctx, "findings", domain.CaseID(in.Case), shown, len(counts), ""); err != nil {
			return nil, err
		}
	}
	out := &countsOutput{Position: position(at)}
	out.Body.Items, out.Body.Position = []ruleCount{}, at
	for _, c := range counts {
		item := ruleCount{Procedure: c.Procedure, Rule: c.Rule, Severity: c.Severity, Findings: c.Findings, Cases: c.Cases}
		if p, ok := s.bookOf(shown).Procedure(c.Procedure); ok {
			item.Says = p.Says(c.Rule)
		}
		out.Body.Items = append(out.Body.Items, item)
	}
	return out, nil
}

type statsInput struct {
	SeenFrom
	Agency string `query:"agency" maxLength:"64"`
	Format string `query:"format" enum:"json,csv"`
}

// actCount is what was recorded of one act.
type actCount struct {
	Agency      string        `json:"agency"`
	Procedure   string        `json:"procedure"`
	Act         string        `json:"act"`
	ActName     rulebook.Text `json:"act_name"`
	Records     int64         `json:"records"`
	Opened      int64         `json:"opened" doc:"Cases that began with it"`
	Corrections int64         `json:"corrections" doc:"Of the records, those that correct one"`
	Late        int64         `json:"late"`
	Imported    int64         `json:"imported"`
	Findings    int64         `json:"findings"`
}

type statsBody struct {
	Records  int64      `json:"records"`
	Cases    int64      `json:"cases"`
	Findings int64      `json:"findings"`
	Acts     []actCount `json:"acts"`
	Position uint64     `json:"position"`
}

// stats counts records and cases, per procedure and act.
func (s *server) stats(ctx context.Context, in *statsInput) (*huma.StreamResponse, error) {
	agencies, _, err := s.scope(ctx, identity.ReadStats, in.Agency)
	if err != nil {
		return nil, err
	}
	if err := s.waitFor(ctx, in.MinPosition, "stats"); err != nil {
		return nil, err
	}
	found, err := s.Reads.Count(ctx, agencies)
	if err != nil {
		return nil, err
	}
	body := statsBody{Acts: []actCount{}, Position: found.Position}
	for _, a := range found.Acts {
		body.Records += a.Records
		body.Cases += a.Opened
		body.Findings += a.Findings
		body.Acts = append(body.Acts, actCount{
			Agency: a.Agency, Procedure: a.Procedure, Act: a.Act, ActName: s.nameOfAct(a.Agency, a.Procedure, a.Act),
			Records: a.Records, Opened: a.Opened, Corrections: a.Corrections, Late: a.Late, Imported: a.Imported, Findings: a.Findings,
		})
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		_, w := humago.Unwrap(hc)
		w.Header().Set(positionHeader, position(body.Position))
		if in.Format != "csv" {
			w.Header().Set("Content-Type", "application/json")
			_ = huma.DefaultJSONFormat.Marshal(w, body) // the caller may have gone
			return
		}
		out := newCSV(w, "stats", statsColumns())
		for _, a := range body.Acts {
			out.row(a)
		}
		out.end()
	}}, nil
}

func (s *server) nameOfAct(agency, procedure, act string) rulebook.Text {
	if p, ok := s.bookOf(agency).Procedure(procedure); ok {
		return actName(p, act)
	}
	return rulebook.Text{ZH: act, EN: act}
}

type accessInput struct {
	Paged
	Case   string `query:"case" maxLength:"64"`
	Person string `query:"person" maxLength:"200" doc:"Id of who looked"`
	What   string `query:"what" maxLength:"200" doc:"case, timeline, next, ledger, deadlines, findings, access, record …"`
	From   date   `query:"from" doc:"Looked on this day or later"`
	To     date   `query:"to" doc:"Looked on this day or before"`
}

// access tells who looked at what. Who is not everywhere sees the looks at
// cases of their agencies. Positions are those of the access trail.
func (s *server) access(ctx context.Context, in *accessInput) (*huma.StreamResponse, error) {
	if err := s.allow(ctx, identity.ReadAccessTrail, identity.TheSystem()); err != nil {
		return nil, err
	}
	f := projections.LooksFilter{Case: domain.CaseID(in.Case), Person: in.Person, What: in.What, From: in.From.Date, To: in.To.Date}
	shown := identity.Everywhere
	if a := about(ctx).actor; !a.Covers(identity.Everywhere) {
		f.Agencies = a.Agencies
		if a.Agency() != "" {
			shown = a.Agency()
		}
		if len(f.Agencies) == 0 {
			return nil, problem(ctx, "forbidden", "您没有所属机关", "you act for no agency")
		}
	}
	return list[projections.RecordedLook, lookEntry]{
		in: in.Paged, what: "access", agency: shown, models: []string{"access"},
		page: func(ctx context.Context, p projections.Page) (projections.List[projections.RecordedLook], error) {
			return s.Reads.LooksAt(ctx, f, p)
		},
		each: func(ctx context.Context, header func(uint64) error) iter.Seq2[projections.RecordedLook, error] {
			return s.Reads.EachLook(ctx, f, header)
		},
		shown:   func(l projections.RecordedLook) lookEntry { return lookEntry(l) },
		columns: accessColumns(),
	}.answer(ctx, s)
}

// writeCSV streams the whole list. What fails before the first byte is
// answered; what fails later breaks the transfer off, so that a part is never
// taken for the whole.
func (l list[T, R]) writeCSV(ctx context.Context, s *server, w http.ResponseWriter) {
	var out *csvWriter[R]
	for item, err := range l.each(ctx, func(at uint64) error {
		w.Header().Set(positionHeader, position(at))
		out = newCSV(w, l.what, l.columns)
		return nil
	}) {
		if err != nil && out == nil {
			write(w, answer(ctx, s.Logger, err))
			return
		}
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				s.Logger.ErrorContext(ctx, "a CSV was broken off", "list", l.what, "request", requestID(ctx), "error", err)
			}
			panic(http.ErrAbortHandler)
		}
		if !out.row(l.shown(item)) {
			return // the caller has gone
		}
	}
	if out != nil {
		out.end()
	}
}

// listed are the values of a parameter, separated by commas.
func listed(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}
