package api

import (
	"cmp"
	"context"
	"time"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
	"liuhen/eventstore"
	"liuhen/identity"
	"liuhen/projections"
)

// SeenFrom is the parameter for reading what one has written.
type SeenFrom struct {
	MinPosition uint64 `query:"min_position" doc:"Wait until the answer holds everything up to this position, which a receipt gave; where that takes too long the answer is 503"`
}

type caseInput struct {
	SeenFrom
	Case string `path:"case" maxLength:"64"`
}

// caseFile is a case as it stands.
type caseFile struct {
	Case          domain.CaseID  `json:"case"`
	Agency        string         `json:"agency"`
	Procedure     string         `json:"procedure"`
	ProcedureName rulebook.Text  `json:"procedure_name"`
	Edition       calendar.Date  `json:"edition" doc:"Edition of the procedure that the case is judged by"`
	Stage         string         `json:"stage,omitempty"`
	StageName     rulebook.Text  `json:"stage_name,omitzero"`
	Opened        calendar.Date  `json:"opened"`
	Closed        bool           `json:"closed"`
	Revision      int            `json:"revision" doc:"Number of records"`
	Head          domain.Digest  `json:"head" doc:"Digest of the last record"`
	Parties       []caseParty    `json:"parties"`
	Officers      []caseOfficer  `json:"officers"`
	Documents     []caseDocument `json:"documents"`
	Evidence      []caseDocument `json:"evidence"`
	Deadlines     []caseDeadline `json:"deadlines"`
	Findings      []caseFinding  `json:"findings"`
	Position      uint64         `json:"position" doc:"Position that this is complete to"`
	At            *asOf          `json:"at,omitempty" doc:"The moment that this is of; absent: now"`
	JudgedNow     *judgedNow     `json:"judged_now,omitempty" doc:"The same acts by today's law and registers"`
}

// caseParty is a party as an act names it.
type caseParty struct {
	Field string `json:"field"`
	Event string `json:"event"`
	Value any    `json:"value"`
}

// caseOfficer is an officer as last recorded, with what they took part in.
type caseOfficer struct {
	rulebook.Officer
	Acts []string `json:"acts"`
}

// caseDocument is a reference and the event that it came with.
type caseDocument struct {
	Event      string    `json:"event"`
	Act        string    `json:"act"`
	OccurredAt time.Time `json:"occurred_at"`
	rulebook.Reference
}

// caseDeadline is a limit and how it stands today.
type caseDeadline struct {
	rulebook.Deadline
	Light projections.Light `json:"light,omitempty" doc:"Of one that runs: red, yellow or green"`
	State domain.ClockState `json:"state" enum:"running,paused,overdue,met,late" doc:"How it stands; late: what was due came too late"`
	Why   string            `json:"why" doc:"How the day was counted"`
}

// caseFinding is a finding and the event that it stands beside.
type caseFinding struct {
	Event       string    `json:"event"`
	Act         string    `json:"act"`
	OccurredAt  time.Time `json:"occurred_at"`
	CorrectedBy string    `json:"corrected_by,omitempty"`
	LiftedBy    string    `json:"lifted_by,omitempty" doc:"Event that takes it back: by registers as they became later it does not hold"`
	rulebook.Finding
}

type caseOutput struct {
	ETag     string `header:"ETag"`
	Position string `header:"Liuhen-Position"`
	Body     caseFile
}

// readCase returns a case file. It is made from the desk's case, which is
// complete up to the last record.
func (s *server) readCase(ctx context.Context, in *caseAtInput) (*caseOutput, error) {
	if in.At != "" || in.Judged != "" {
		return s.readCaseAt(ctx, in)
	}
	c, err := s.caseFor(ctx, &caseInput{SeenFrom: in.SeenFrom, Case: in.Case}, "case")
	if err != nil {
		return nil, err
	}
	file := s.fileOf(c, c.Procedure.Deadlines(c.History, s.calendar(c.Agency)), s.Now(), langOf(ctx))
	file.Position = max(c.Position, in.MinPosition)
	return &caseOutput{ETag: etag(c.Revision), Position: position(file.Position), Body: file}, nil
}

// caseFor returns a case for reading, and records the look.
func (s *server) caseFor(ctx context.Context, in *caseInput, what string) (*domain.Case, error) {
	if err := s.waitForRecord(ctx, in.MinPosition); err != nil {
		return nil, err
	}
	c, err := s.openedFor(ctx, identity.ReadCase, domain.CaseID(in.Case))
	if err != nil {
		return nil, err
	}
	return c, s.looked(ctx, what, c, c.Revision, "")
}

// waitForRecord waits until the desk's cases hold what the caller has seen.
func (s *server) waitForRecord(ctx context.Context, at uint64) error {
	if at == 0 {
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, s.Patience)
	defer cancel()
	err := s.Record.Wait(wait, eventstore.Position(at))
	if err != nil && wait.Err() != nil && ctx.Err() == nil {
		return s.behind(ctx, 0, at)
	}
	return err
}

// fileOf is a case with its limits, as they stand by a clock.
func (s *server) fileOf(c *domain.Case, deadlines []rulebook.Deadline, now time.Time, lang string) caseFile {
	p := c.Procedure
	f := caseFile{
		Case: c.ID, Agency: c.Agency, Procedure: p.Name, ProcedureName: p.Title, Edition: p.Edition,
		Stage: c.Stage(), StageName: stageName(p, c.Stage()), Opened: c.Opened(), Closed: c.Closed,
		Revision: c.Revision, Head: c.Head,
		Parties: []caseParty{}, Officers: []caseOfficer{}, Documents: []caseDocument{}, Evidence: []caseDocument{},
		Deadlines: []caseDeadline{}, Findings: []caseFinding{},
	}
	corrected := map[string]string{}
	for i := range c.History.Steps {
		step := &c.History.Steps[i]
		if step.CorrectedBy != "" {
			corrected[step.Event] = step.CorrectedBy
			continue
		}
		f.take(p, step)
	}
	type found struct{ by, rule, of string }
	lifted := map[found]string{}
	for _, r := range c.After(0) {
		for _, finding := range r.Findings {
			if finding.Lifts != "" {
				lifted[found{finding.Lifts, finding.Rule, finding.Of}] = r.Event
			}
		}
	}
	for _, r := range c.After(0) {
		for _, finding := range r.Findings {
			one := caseFinding{Event: r.Event, Act: r.Act, OccurredAt: r.OccurredAt, CorrectedBy: corrected[r.Event], Finding: finding}
			if finding.Lifts == "" {
				one.LiftedBy = lifted[found{r.Event, finding.Rule, cmp.Or(finding.Of, r.Event)}]
			}
			f.Findings = append(f.Findings, one)
		}
	}
	for _, d := range deadlines {
		f.Deadlines = append(f.Deadlines, deadlineAt(d, now, lang))
	}
	return f
}

// take adds what one event that stands says.
func (f *caseFile) take(p *rulebook.Procedure, step *rulebook.Step) {
	act, _ := p.Act(step.Act)
	if act != nil {
		for _, field := range act.Fields {
			if value, ok := step.Fields[field.Name]; ok && field.Type == "party" {
				f.Parties = append(f.Parties, caseParty{Field: field.Name, Event: step.Event, Value: value})
			}
		}
	}
	for _, o := range step.Officers {
		f.takeOfficer(o, step.Act)
	}
	for _, d := range step.Documents {
		f.Documents = append(f.Documents, caseDocument{Event: step.Event, Act: step.Act, OccurredAt: step.At, Reference: d})
	}
	for _, e := range step.Evidence {
		f.Evidence = append(f.Evidence, caseDocument{Event: step.Event, Act: step.Act, OccurredAt: step.At, Reference: e})
	}
}

func (f *caseFile) takeOfficer(o rulebook.Officer, act string) {
	for i := range f.Officers {
		if f.Officers[i].ID == o.ID {
			f.Officers[i].Officer = o
			f.Officers[i].Acts = append(f.Officers[i].Acts, act)
			return
		}
	}
	f.Officers = append(f.Officers, caseOfficer{Officer: o, Acts: []string{act}})
}

func deadlineAt(d rulebook.Deadline, now time.Time, lang string) caseDeadline {
	out := caseDeadline{Deadline: d, State: domain.StateOf(d, now), Why: d.Due.Why(lang)}
	if d.Done != "" {
		return out
	}
	today := calendar.DateOf(now)
	switch {
	case !d.Due.At.IsZero() && !now.Before(d.Due.At), d.Due.At.IsZero() && today.After(d.Due.On):
		out.Light = projections.Red
	case !d.Warn.IsZero() && !today.Before(d.Warn):
		out.Light = projections.Yellow
	default:
		out.Light = projections.Green
	}
	return out
}

func stageName(p *rulebook.Procedure, stage string) rulebook.Text {
	for _, st := range p.Stages {
		if st.Name == stage {
			return st.Title
		}
	}
	return rulebook.Text{}
}

func actName(p *rulebook.Procedure, act string) rulebook.Text {
	if a, ok := p.Act(act); ok {
		return a.Title
	}
	return rulebook.Text{ZH: act, EN: act}
}

// nextOutput is what may be done next in a case.
type nextOutput struct {
	ETag     string `header:"ETag"`
	Position string `header:"Liuhen-Position"`
	Body     struct {
		Case     domain.CaseID `json:"case"`
		Stage    string        `json:"stage,omitempty"`
		Closed   bool          `json:"closed"`
		Roles    []string      `json:"roles" doc:"Roles of the law in which the caller may record acts here; none where they only read"`
		Acts     []nextAct     `json:"acts"`
		Position uint64        `json:"position"`
		At       *asOf         `json:"at,omitempty" doc:"The moment that this is of; absent: now"`
	}
}

// nextAct is an act from where the case stands.
type nextAct struct {
	rulebook.NextAct
	Yours bool `json:"yours" doc:"The caller may record it now"`
}

// next tells what may be done next, by whom, and why not.
func (s *server) next(ctx context.Context, in *caseAtInput) (*nextOutput, error) {
	if in.At != "" || in.Judged != "" {
		return s.nextAt(ctx, in)
	}
	c, err := s.caseFor(ctx, &caseInput{SeenFrom: in.SeenFrom, Case: in.Case}, "next")
	if err != nil {
		return nil, err
	}
	r := about(ctx)
	out := &nextOutput{ETag: etag(c.Revision)}
	b := &out.Body
	b.Case, b.Stage, b.Closed, b.Roles, b.Acts = c.ID, c.Stage(), c.Closed, []string{}, []nextAct{}
	on := identity.CaseOf(string(c.ID), c.Agency, c.Procedure.Name)
	if s.Policies.Allow(r.actor, identity.RecordAct, on, r.purpose).Allowed {
		b.Roles = append(b.Roles, r.actor.RecordsAs()...)
	}
	// What may be done next is judged by the files that the agency has in force today.
	law := c.Procedure
	if today, err := s.Law.Under(s.InForce(c.Agency, s.today())); err == nil && c.Procedure.Name != domain.LawProcedure {
		if p, ok := today.Edition(law.Name, law.Edition); ok {
			law = p
		}
	}
	yours := map[string]bool{}
	for _, role := range b.Roles {
		for _, a := range law.Next(c.History, s.Now(), role, s.calendar(c.Agency)) {
			yours[a.Act] = yours[a.Act] || a.Allowed
		}
	}
	for _, a := range law.Next(c.History, s.Now(), "", s.calendar(c.Agency)) {
		b.Acts = append(b.Acts, nextAct{NextAct: a, Yours: yours[a.Act]})
	}
	b.Position = max(c.Position, in.MinPosition)
	out.Position = position(b.Position)
	return out, nil
}

type recordedInput struct {
	SeenFrom
	Case  string `path:"case" maxLength:"64"`
	Event string `path:"event" maxLength:"200"`
}

// recordedOutput is a record byte for byte.
type recordedOutput struct {
	ContentType string `header:"Content-Type"`
	Digest      string `header:"Repr-Digest"`
	Position    string `header:"Liuhen-Position"`
	Body        []byte
}

// recorded returns the stored bytes of an event, as they were hashed.
func (s *server) recorded(ctx context.Context, in *recordedInput) (*recordedOutput, error) {
	r, through, err := s.found(ctx, in)
	if err != nil {
		return nil, err
	}
	return &recordedOutput{
		ContentType: "application/cloudevents+json", Digest: reprDigest(r.Digest), Position: position(through), Body: r.Raw,
	}, nil
}

// found is the record of an event that the caller may read, and has now looked at.
func (s *server) found(ctx context.Context, in *recordedInput) (domain.Recorded, uint64, error) {
	var none domain.Recorded
	if err := s.waitForRecord(ctx, in.MinPosition); err != nil {
		return none, 0, err
	}
	if err := s.waitFor(ctx, in.MinPosition, "timeline"); err != nil {
		return none, 0, err
	}
	c, err := s.openedFor(ctx, identity.ReadCase, domain.CaseID(in.Case))
	if err != nil {
		return none, 0, err
	}
	found, through, err := s.Reads.Load(ctx, []domain.CaseID{c.ID})
	if err != nil {
		return none, 0, err
	}
	for _, r := range found[c.ID] {
		if r.ID == in.Event {
			return r, through, s.looked(ctx, "record "+r.ID, c, 1, "")
		}
	}
	return none, 0, problem(ctx, "not-found", "该案件没有这条记录，或数据尚未跟上", "the case has no such event, or the data has not come so far yet")
}

// calendar is what an agency counts days by now; nil for the book's own.
func (s *server) calendar(agency string) *calendar.Calendar {
	if s.Calendar == nil {
		return nil
	}
	return s.Calendar(agency)
}
