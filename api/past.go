package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/wI2L/jsondiff"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
	"liuhen/identity"
	"liuhen/projections"
)

// What was: cases, lists and differences as of a moment. Nothing here is kept for
// it; a case is folded from its records, as it always is.

// AtMoment is the parameter for what was. It is exported for huma; see Paged.
type AtMoment struct {
	At string `query:"at" maxLength:"64" doc:"The moment to show: now; position:123, the records up to that position of the log; revision:5, the first five of the case; recorded:TIME, what had been recorded by then, as it was known then; occurred:TIME, what had happened by then, with today's knowledge. TIME is 2022-03-01 (the end of that day in Shanghai), 2022-03-01T09:00 (in Shanghai) or 2022-03-01T09:00:00+08:00"`
}

// JudgedBy is the parameter for by what acts are judged.
type JudgedBy struct {
	Judged string `query:"judged" enum:"then,now,both" doc:"then: what the records say (without it); now: today's law and registers; both: side by side"`
}

func (j JudgedBy) now() bool { return j.Judged == "now" || j.Judged == "both" }

type caseAtInput struct {
	SeenFrom
	AtMoment
	JudgedBy
	Case string `path:"case" maxLength:"64"`
}

// asOf says of which moment an answer is, and by what knowledge.
type asOf struct {
	Moment   domain.Moment `json:"moment" doc:"As it can be asked for again"`
	Position uint64        `json:"position" doc:"What was recorded up to this position of the log is known, and nothing after it"`
	Clock    time.Time     `json:"clock" doc:"The time by which limits stand"`
	Known    string        `json:"known" enum:"then,today" doc:"then: only what had been recorded; today: with what was recorded and corrected since"`
	Judged   string        `json:"judged" enum:"then,now,both"`
	Says     rulebook.Text `json:"says" doc:"The same in a sentence"`
}

func asOfMoment(m domain.Moment, judged string) *asOf {
	a := &asOf{Moment: m, Position: m.Position, Clock: m.Time.In(calendar.Shanghai), Known: "then", Judged: cmp.Or(judged, "then")}
	at := a.Clock.Format("2006-01-02 15:04:05")
	switch m.By {
	case domain.ByOccurred:
		a.Known = "today"
		a.Says = text(
			fmt.Sprintf("截至 %s 已发生的情况，按今日所知（记录至第 %d 位）", at, m.Position),
			fmt.Sprintf("what had happened by %s, with today's knowledge (recorded up to position %d)", at, m.Position))
	case domain.ByNow:
		a.Known = "today"
		a.Says = text(fmt.Sprintf("现状（记录至第 %d 位）", m.Position), fmt.Sprintf("as it is now (recorded up to position %d)", m.Position))
	default:
		a.Says = text(
			fmt.Sprintf("记录至第 %d 位时的情况，按当时所知（%s）", m.Position, at),
			fmt.Sprintf("what had been recorded up to position %d, as it was known then (%s)", m.Position, at))
	}
	return a
}

func (s *server) badMoment(ctx context.Context, parameter, zh, en string) error {
	p := problem(ctx, "unknown-parameter", zh, en)
	p.Errors = []FieldError{{Location: "query." + parameter, Message: p.Detail}}
	return p
}

// moment reads a moment and finds it in the log. records are those of the case that
// it is for; without them it is for a list, which has no revision.
func (s *server) moment(ctx context.Context, parameter, asked string, seen SeenFrom, records []domain.Recorded) (domain.Moment, error) {
	m, err := domain.ParseMoment(asked)
	if err != nil {
		return m, s.badMoment(ctx, parameter, fmt.Sprintf(
			"%q 不是时点；请写 now、position:123、revision:5、recorded:时间 或 occurred:时间，时间如 2022-03-01（该日结束时，北京时间）、2022-03-01T09:00 或 2022-03-01T09:00:00+08:00", asked), err.Error())
	}
	now := s.Now()
	switch m.By {
	case domain.ByPosition:
		if err := s.waitFor(ctx, max(m.Position, seen.MinPosition), "timeline"); err != nil {
			return m, err
		}
		at, there, err := s.Reads.RecordedAt(ctx, m.Position)
		if err == nil && !there {
			err = s.behind(ctx, 0, m.Position)
		}
		m.Time = at
		return m, err
	case domain.ByRevision:
		if records == nil {
			return m, s.badMoment(ctx, parameter, "revision 是一个案件内的序号，列表请用 position 或 recorded", "a revision is of one case; for a list use position or recorded")
		}
		m, there := m.In(records)
		if !there {
			return m, s.badMoment(ctx, parameter, fmt.Sprintf("该案件只有 %d 条记录", len(records)), fmt.Sprintf("the case has only %d records", len(records)))
		}
		return m, nil
	case domain.ByRecorded:
		if m.Time.After(now) {
			if m.Day != calendar.DateOf(now) {
				return m, s.badMoment(ctx, parameter, "该时间尚未到来，不能得知届时的记录", "that time lies in the future: what will have been recorded by then is not known")
			}
			m.Time, m.Day = now, calendar.Date{} // the day is not over
		}
		if err := s.waitFor(ctx, max(s.Health(ctx).Position, seen.MinPosition), "timeline"); err != nil {
			return m, err
		}
		m.Position, err = s.Reads.PositionAt(ctx, m.Time)
		return m, err
	case domain.ByNow, domain.ByOccurred: // everything that is recorded by now
	}
	if err := s.waitFor(ctx, seen.MinPosition, "timeline"); err != nil {
		return m, err
	}
	if m.By == domain.ByNow {
		m.Time = now
	}
	m.Position, err = s.Reads.Wait(ctx, "timeline", 0)
	return m, err
}

// A record of one case, whole, and what is needed to show it as it was.
type pastCase struct {
	today     *domain.Case
	records   []domain.Recorded
	calendars func(agency string, position uint64) (*calendar.Calendar, error)
}

// opensPast reads a case that the caller may read, with its records.
func (s *server) opensPast(ctx context.Context, id string, seen SeenFrom) (*pastCase, error) {
	if err := s.waitForRecord(ctx, seen.MinPosition); err != nil {
		return nil, err
	}
	c, err := s.openedFor(ctx, identity.ReadCase, domain.CaseID(id))
	if err != nil {
		return nil, err
	}
	if err := s.waitFor(ctx, max(c.Position, seen.MinPosition), "timeline"); err != nil {
		return nil, err
	}
	found, _, err := s.Reads.Load(ctx, []domain.CaseID{c.ID})
	if err != nil {
		return nil, err
	}
	calendars, err := s.calendarsThen(ctx)
	return &pastCase{today: c, records: found[c.ID], calendars: calendars}, err
}

// calendarsThen are the calendars of agencies at positions of the log.
func (s *server) calendarsThen(ctx context.Context) (func(agency string, position uint64) (*calendar.Calendar, error), error) {
	notices, _, err := s.Reads.RecordsOf(ctx, domain.NoticeProcedure)
	if err != nil {
		return nil, err
	}
	return domain.CalendarAt(s.Book.Calendar(), notices), nil
}

// at folds the case as it was at a moment. By what is known today days are counted
// by today's calendar, else by that of then.
func (s *server) at(p *pastCase, m domain.Moment) (domain.Past, error) {
	cal := s.calendar(p.today.Agency)
	if m.By != domain.ByOccurred && m.By != domain.ByNow {
		var err error
		if cal, err = p.calendars(p.today.Agency, m.Position); err != nil {
			return domain.Past{}, err
		}
	}
	return domain.At(s.Law, p.records, m, cal)
}

// momentOf finds a moment of a case and folds the case as it was then. Where the
// case was not there yet, that is the answer.
func (s *server) momentOf(ctx context.Context, p *pastCase, parameter, asked string, seen SeenFrom) (domain.Past, error) {
	m, err := s.moment(ctx, parameter, cmp.Or(asked, string(domain.ByNow)), seen, p.records)
	if err != nil {
		return domain.Past{}, err
	}
	return s.at(p, m)
}

func notYet(ctx context.Context, p *pastCase, m domain.Moment) error {
	first := &p.records[0]
	return problem(ctx, "not-found",
		fmt.Sprintf("该案件在该时点（%s）尚不存在：第一条记录在第 %d 位，发生于 %s，记录于 %s", m, first.Position, inShanghai(first.Time), inShanghai(first.Recorded)),
		fmt.Sprintf("the case was not there yet at %s: its first record is at position %d, carried out at %s and recorded at %s", m, first.Position, inShanghai(first.Time), inShanghai(first.Recorded)))
}

func inShanghai(t time.Time) string { return t.In(calendar.Shanghai).Format("2006-01-02 15:04:05") }

// judgedNow is a case by today's law and registers.
type judgedNow struct {
	Edition   calendar.Date     `json:"edition" doc:"Edition of the procedure that is in force today"`
	Position  uint64            `json:"position" doc:"Registers were read at this position"`
	Findings  []caseFinding     `json:"findings,omitempty"`
	Deadlines []caseDeadline    `json:"deadlines,omitempty"`
	Differs   []judgedOtherwise `json:"differs" doc:"Acts of which the rules say something else than they did"`

	byEvent map[string][]rulebook.Finding
}

// judgedOtherwise is an act that is judged otherwise now than it was.
type judgedOtherwise struct {
	Event   string             `json:"event"`
	Act     string             `json:"act"`
	ActName rulebook.Text      `json:"act_name"`
	Then    []rulebook.Finding `json:"then"`
	Now     []rulebook.Finding `json:"now"`
}

// registersNow is what acts are judged by today.
func (s *server) registersNow(ctx context.Context) (domain.Today, error) {
	var today domain.Today
	if s.Registers != nil {
		today.Registers = s.Registers()
	}
	var err error
	today.At, err = s.Reads.Wait(ctx, "registers", 0)
	return today, err
}

// judgeNow judges the acts of a case at a moment by today's law and registers.
func (s *server) judgeNow(ctx context.Context, past domain.Past) (*judgedNow, error) {
	c := past.Case
	law, ok := s.bookOf(c.Agency).InForce(c.Procedure.Name, s.today())
	if !ok {
		law = c.Procedure
	}
	today, err := s.registersNow(ctx)
	if err != nil {
		return nil, err
	}
	found, err := domain.JudgeToday(law, today, past.Records, func(asked []domain.Asked) (domain.FactsThen, error) { return s.Reads.FactsThen(ctx, asked) })
	if err != nil {
		return nil, err
	}
	j := &judgedNow{Edition: law.Edition, Position: today.At, Differs: []judgedOtherwise{}, Findings: []caseFinding{}, Deadlines: []caseDeadline{}, byEvent: found}
	corrected := map[string]string{}
	for i := range past.Records {
		if r := &past.Records[i]; r.Data.Corrects != "" {
			corrected[r.Data.Corrects] = r.ID
		}
	}
	for i := range past.Records {
		r := &past.Records[i]
		now, judged := found[r.ID]
		if !judged {
			continue
		}
		for _, f := range now {
			j.Findings = append(j.Findings, caseFinding{Event: r.ID, Act: r.Act(), OccurredAt: r.Time, CorrectedBy: corrected[r.ID], Finding: f})
		}
		if !domain.SameJudgement(r.Data.Findings, now) {
			j.Differs = append(j.Differs, judgedOtherwise{Event: r.ID, Act: r.Act(), ActName: actName(law, r.Act()), Then: orNone(r.Data.Findings), Now: orNone(now)})
		}
	}
	for _, d := range law.Deadlines(c.History, s.calendar(c.Agency)) {
		j.Deadlines = append(j.Deadlines, deadlineAt(d, past.Moment.Time, langOf(ctx)))
	}
	return j, nil
}

func orNone(findings []rulebook.Finding) []rulebook.Finding {
	if findings == nil {
		return []rulebook.Finding{}
	}
	return findings
}

// readCaseAt returns a case file as it was.
func (s *server) readCaseAt(ctx context.Context, in *caseAtInput) (*caseOutput, error) {
	p, past, err := s.pastOf(ctx, in)
	if err != nil {
		return nil, err
	}
	file := s.fileOf(past.Case, past.Deadlines(), past.Moment.Time, langOf(ctx))
	for _, f := range past.Noted() {
		file.Findings = append(file.Findings, caseFinding{Event: f.Event, Act: f.Act, OccurredAt: timeOf(p.records, f.Event), Finding: f.Finding})
	}
	file.At = asOfMoment(past.Moment, in.Judged)
	file.Position = past.Moment.Position
	if in.now() {
		if file.JudgedNow, err = s.judgeNow(ctx, past); err != nil {
			return nil, err
		}
	}
	if in.Judged == "now" {
		file.Findings, file.Deadlines = file.JudgedNow.Findings, file.JudgedNow.Deadlines
		file.JudgedNow.Findings, file.JudgedNow.Deadlines = nil, nil
	}
	if err := s.looked(ctx, "case", p.today, past.Case.Revision, ""); err != nil {
		return nil, err
	}
	return &caseOutput{Position: position(file.Position), Body: file}, nil
}

// pastOf finds the moment that is asked for, at which the case was there.
func (s *server) pastOf(ctx context.Context, in *caseAtInput) (*pastCase, domain.Past, error) {
	p, err := s.opensPast(ctx, in.Case, in.SeenFrom)
	if err != nil {
		return nil, domain.Past{}, err
	}
	past, err := s.momentOf(ctx, p, "at", in.At, in.SeenFrom)
	if err == nil && past.Case == nil {
		err = notYet(ctx, p, past.Moment)
	}
	return p, past, err
}

func timeOf(records []domain.Recorded, event string) time.Time {
	for i := range records {
		if records[i].ID == event {
			return records[i].Time
		}
	}
	return time.Time{}
}

// nextAt tells what could have been done next. Nobody can do it any more, so that
// no act is the caller's.
func (s *server) nextAt(ctx context.Context, in *caseAtInput) (*nextOutput, error) {
	p, past, err := s.pastOf(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.Judged == "both" {
		return nil, s.badMoment(ctx, "judged", "下一步只能按当时（then）或者按今日（now）的规则列出", "what could be done next is told by the law of then, or of now, not both")
	}
	acts := past.Next("")
	if in.Judged == "now" {
		if law, ok := s.bookOf(past.Case.Agency).InForce(past.Case.Procedure.Name, s.today()); ok {
			acts = law.Next(past.Case.History, past.Moment.Time, "", s.calendar(past.Case.Agency))
		}
	}
	out := &nextOutput{Position: position(past.Moment.Position)}
	b := &out.Body
	b.Case, b.Stage, b.Closed, b.Roles, b.Acts = past.Case.ID, past.Case.Stage(), past.Case.Closed, []string{}, []nextAct{}
	b.At, b.Position = asOfMoment(past.Moment, in.Judged), past.Moment.Position
	for _, a := range acts {
		b.Acts = append(b.Acts, nextAct{NextAct: a})
	}
	return out, s.looked(ctx, "next", p.today, past.Case.Revision, "")
}

// stateOutput is a case in the form that moments are compared in.
type stateOutput struct {
	Position string `header:"Liuhen-Position"`
	Body     struct {
		At    *asOf        `json:"at"`
		State domain.State `json:"state"`
	}
}

type stateInput struct {
	SeenFrom
	AtMoment
	Case string `path:"case" maxLength:"64"`
}

// state returns a case in that form. A case that was not there yet has no acts.
func (s *server) state(ctx context.Context, in *stateInput) (*stateOutput, error) {
	p, err := s.opensPast(ctx, in.Case, in.SeenFrom)
	if err != nil {
		return nil, err
	}
	past, err := s.momentOf(ctx, p, "at", in.At, in.SeenFrom)
	if err != nil {
		return nil, err
	}
	out := &stateOutput{Position: position(past.Moment.Position)}
	out.Body.At, out.Body.State = asOfMoment(past.Moment, ""), past.State()
	return out, s.looked(ctx, "state", p.today, len(past.Records), "")
}

type differenceInput struct {
	SeenFrom
	Case   string `path:"case" maxLength:"64"`
	From   string `query:"from" required:"true" maxLength:"64" doc:"The first moment; see at of GET /v1/cases/{case}"`
	To     string `query:"to" maxLength:"64" doc:"The second; without it now"`
	Format string `query:"format" enum:"json,patch" doc:"patch: a JSON Patch (RFC 6902) of GET /v1/cases/{case}/state, as with Accept: application/json-patch+json"`
	Accept string `header:"Accept" hidden:"true"`
}

// differenceBody is what is different between two moments.
type differenceBody struct {
	Case    domain.CaseID `json:"case"`
	From    *asOf         `json:"from"`
	To      *asOf         `json:"to"`
	Changes []shownChange `json:"changes" doc:"In the order of their paths, which are JSON Pointers into GET /v1/cases/{case}/state"`
}

// shownChange is a change with the name of the act that made it.
type shownChange struct {
	domain.StateChange
	ActName rulebook.Text `json:"act_name,omitzero"`
}

func changesShown(p *rulebook.Procedure, changes []domain.StateChange) []shownChange {
	out := make([]shownChange, len(changes))
	for i, c := range changes {
		out[i].StateChange = c
		if c.By != nil {
			out[i].ActName = actName(p, c.By.Act)
		}
	}
	return out
}

// exactNumbers decodes JSON without rounding a number.
func exactNumbers(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	return dec.Decode(v)
}

const jsonPatch = "application/json-patch+json"

// difference compares two moments of a case.
func (s *server) difference(ctx context.Context, in *differenceInput) (*huma.StreamResponse, error) {
	p, err := s.opensPast(ctx, in.Case, in.SeenFrom)
	if err != nil {
		return nil, err
	}
	from, err := s.momentOf(ctx, p, "from", in.From, in.SeenFrom)
	if err != nil {
		return nil, err
	}
	to, err := s.momentOf(ctx, p, "to", in.To, in.SeenFrom)
	if err != nil {
		return nil, err
	}
	patch := in.Format == "patch" || in.Format == "" && strings.HasPrefix(in.Accept, jsonPatch)
	var body any
	var rows int
	if patch {
		ops, err := jsondiff.Compare(from.State(), to.State(), jsondiff.UnmarshalFunc(exactNumbers))
		if err != nil {
			return nil, fmt.Errorf("patch from %s to %s: %w", from.Moment, to.Moment, err)
		}
		body, rows = append(jsondiff.Patch{}, ops...), len(ops)
	} else {
		changes := domain.Changes(from, to)
		body, rows = differenceBody{
			Case: p.today.ID, From: asOfMoment(from.Moment, ""), To: asOfMoment(to.Moment, ""), Changes: changesShown(p.today.Procedure, changes),
		}, len(changes)
	}
	data, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode the difference: %w", err)
	}
	if err := s.looked(ctx, "difference", p.today, rows, in.Format); err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		_, w := humago.Unwrap(hc)
		w.Header().Set("Content-Type", map[bool]string{false: "application/json", true: jsonPatch}[patch])
		w.Header().Set(positionHeader, position(max(from.Moment.Position, to.Moment.Position)))
		w.Header().Add("Vary", "Accept")
		_, _ = w.Write(append(data, '\n')) // the caller may have gone
	}}, nil
}

type replayInput struct {
	SeenFrom
	JudgedBy
	Case string `path:"case" maxLength:"64"`
}

// replayLine is one step, or at the end what went wrong.
type replayLine struct {
	Step    *replayStep `json:"step,omitempty"`
	Problem *Problem    `json:"problem,omitempty"`
}

// replayStep is what one record did to its case.
type replayStep struct {
	domain.ReplayStep
	ActName   rulebook.Text       `json:"act_name"`
	StageName rulebook.Text       `json:"stage_name,omitzero" doc:"Of the stage that the case stands in after it"`
	Basis     string              `json:"basis" doc:"The article of the act, or of its procedure"`
	Officers  []rulebook.Officer  `json:"officers"`
	JudgedNow *[]rulebook.Finding `json:"judged_now,omitempty" doc:"With judged=now or both: what today's law and registers find of the act"`

	Place       string               `json:"place,omitempty"`
	Fields      map[string]any       `json:"fields,omitempty"`
	Documents   []rulebook.Reference `json:"documents,omitempty"`
	Evidence    []rulebook.Reference `json:"evidence,omitempty"`
	AlreadyDone bool                 `json:"already_done,omitempty"`
	Import      *domain.Import       `json:"import,omitempty"`
}

// replayCase goes through a case record by record, a JSON object a line.
func (s *server) replayCase(ctx context.Context, in *replayInput) (*huma.StreamResponse, error) {
	p, err := s.opensPast(ctx, in.Case, in.SeenFrom)
	if err != nil {
		return nil, err
	}
	var now *judgedNow
	if in.now() {
		past, err := s.momentOf(ctx, p, "at", "", in.SeenFrom)
		if err != nil {
			return nil, err
		}
		if now, err = s.judgeNow(ctx, past); err != nil {
			return nil, err
		}
	}
	if err := s.looked(ctx, "replay", p.today, len(p.records), ""); err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		_, w := humago.Unwrap(hc)
		w.Header().Set(positionHeader, position(p.today.Position))
		lines := newLines(hc)
		law, i := p.today.Procedure, 0
		for step, err := range domain.Steps(s.Law, p.records, p.calendars) {
			if err != nil {
				lines.write(replayLine{Problem: answer(ctx, s.Logger, err)})
				return
			}
			if ctx.Err() != nil {
				return // nobody reads it
			}
			d := p.records[i].Data
			i++
			shown := replayStep{
				ReplayStep: step, ActName: actName(law, step.Act), StageName: stageName(law, step.Stage), Basis: domain.BasisOf(law, step.Act),
				Officers: append([]rulebook.Officer{}, d.Officers...), Place: d.Place, Fields: d.Fields, Documents: d.Documents, Evidence: d.Evidence,
				AlreadyDone: d.AlreadyDone, Import: d.Import,
			}
			if now != nil {
				if found, judged := now.byEvent[step.Event]; judged {
					found = orNone(found)
					shown.JudgedNow = &found
				}
			}
			lines.write(replayLine{Step: &shown})
		}
	}}, nil
}

// timelineAt makes a timeline one of a moment, and adds what today's law says.
func (s *server) timelineAt(ctx context.Context, in *timelineInput, c *domain.Case, f *projections.TimelineFilter, l *list[projections.TimelineItem, timelineEntry]) error {
	_, past, err := s.pastOf(ctx, &caseAtInput{SeenFrom: in.SeenFrom, AtMoment: in.AtMoment, Case: in.Case})
	if err != nil {
		return err
	}
	l.at = asOfMoment(past.Moment, in.Judged)
	if past.Moment.Hindsight() {
		f.Events = []string{}
		for i := range past.Records {
			f.Events = append(f.Events, past.Records[i].ID)
		}
	} else {
		f.Through = &past.Moment.Position
	}
	if !in.now() {
		return nil
	}
	now, err := s.judgeNow(ctx, past)
	if err != nil {
		return err
	}
	l.shown = func(i projections.TimelineItem) timelineEntry {
		e := timelineEntryOf(c.Procedure, i)
		found, judged := now.byEvent[i.ID]
		if !judged {
			return e
		}
		if found = orNone(found); in.Judged == "now" {
			e.Findings = found
		} else {
			e.JudgedNow = &found
		}
		return e
	}
	return nil
}

// through finds a moment for a list: the position up to which it holds everything.
func (s *server) through(ctx context.Context, seen SeenFrom, asked string) (*uint64, *asOf, error) {
	m, err := s.moment(ctx, "at", asked, seen, nil)
	if err != nil {
		return nil, nil, err
	}
	if m.By == domain.ByOccurred {
		return nil, nil, s.badMoment(ctx, "at", "列表可按 position 或 recorded 查询；按 occurred（已发生）只能查询单个案件", "a list can be had by position or recorded; by occurred only a case")
	}
	if err := s.waitFor(ctx, m.Position, "findings"); err != nil { // for the one list that is not made from the timeline
		return nil, nil, err
	}
	return &m.Position, asOfMoment(m, ""), nil
}

// ledgerAt makes the ledger one of a moment.
func (s *server) ledgerAt(ctx context.Context, in *ledgerInput, f projections.LedgerFilter, l *list[projections.LedgerEntry, ledgerEntry]) error {
	if in.Total {
		return s.badMoment(ctx, "total", "过去时点的台账不计总数", "the ledger of a moment is not counted")
	}
	at, asOf, err := s.through(ctx, in.SeenFrom, in.At)
	if err != nil {
		return err
	}
	l.at, l.models = asOf, []string{"timeline"}
	l.page = func(ctx context.Context, p projections.Page) (projections.List[projections.LedgerEntry], error) {
		return s.Reads.LedgerAt(ctx, f, *at, p)
	}
	l.each = func(ctx context.Context, header func(uint64) error) iter.Seq2[projections.LedgerEntry, error] {
		return s.Reads.EachLedgerAt(ctx, f, *at, header)
	}
	return nil
}

// deadlinesAt makes the board one of a moment.
func (s *server) deadlinesAt(ctx context.Context, in *deadlinesInput, f projections.DeadlinesFilter, l *list[projections.DeadlineItem, deadlineEntry]) error {
	at, asOf, err := s.through(ctx, in.SeenFrom, in.At)
	if err != nil {
		return err
	}
	then, err := s.calendarsThen(ctx)
	if err != nil {
		return err
	}
	calendars := func(agency string) *calendar.Calendar {
		cal, err := then(agency, *at)
		if err != nil {
			return s.Book.Calendar() // the notices are records that were folded before
		}
		return cal
	}
	f.Now = asOf.Clock
	l.at, l.models = asOf, []string{"timeline"}
	l.page = func(ctx context.Context, p projections.Page) (projections.List[projections.DeadlineItem], error) {
		return s.Reads.DeadlinesAt(ctx, f, *at, calendars, p)
	}
	l.each = func(ctx context.Context, header func(uint64) error) iter.Seq2[projections.DeadlineItem, error] {
		return s.Reads.EachDeadlineAt(ctx, f, *at, calendars, header)
	}
	return nil
}
