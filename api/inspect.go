package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"maps"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
	"liuhen/identity"
	"liuhen/projections"
)

type inspectInput struct {
	SeenFrom
	From      date   `query:"from" required:"true" doc:"Acts recorded on this day or later"`
	To        date   `query:"to" required:"true" doc:"Acts recorded on this day or before"`
	Agency    string `query:"agency" maxLength:"64"`
	Procedure string `query:"procedure" maxLength:"64"`
	Acts      string `query:"acts" enum:"decisions,all" doc:"decisions: acts with a legal effect (without it); all: every act"`
	Judged    string `query:"judged" enum:"then,both" doc:"both: judged by today's edition of the procedures, too"`
}

// inspectLine is one line of the answer: how far it is, an act that is judged
// otherwise, and last the report or why there is none.
type inspectLine struct {
	Progress   *inspectProgress  `json:"progress,omitempty"`
	Difference *domain.Inspected `json:"difference,omitempty"`
	Report     *inspectReport    `json:"report,omitempty"`
	Signature  string            `json:"signature,omitempty" doc:"With the report: over its exact bytes"`
	Problem    *Problem          `json:"problem,omitempty"`
}

type inspectProgress struct {
	Records int64 `json:"records" doc:"Of the period, gone through"`
	Of      int64 `json:"of" doc:"How many records the period has"`
	Cases   int   `json:"cases" doc:"With acts that were inspected"`
}

// inspectReport is what came of an inspection.
type inspectReport struct {
	Kind      string        `json:"kind" doc:"liuhen inspection report 1"`
	Says      rulebook.Text `json:"says" doc:"What was done"`
	From      calendar.Date `json:"from"`
	To        calendar.Date `json:"to"`
	After     uint64        `json:"after" doc:"The period is the records after this position of the log"`
	Through   uint64        `json:"through" doc:"and up to this one"`
	Position  uint64        `json:"position" doc:"Registers of today were read at this position"`
	Agencies  []string      `json:"agencies" doc:"* for all"`
	Procedure string        `json:"procedure,omitempty"`
	Scope     string        `json:"scope" enum:"decisions,all" doc:"Which acts were inspected"`
	Judged    string        `json:"judged" enum:"then,both"`
	Inspector string        `json:"inspector"`
	Name      string        `json:"inspector_name,omitempty"`
	Role      string        `json:"role"`
	Purpose   string        `json:"purpose"`
	Request   string        `json:"request" doc:"Under this id, and under the digest of this report, the inspection stands in the access trail"`
	Began     time.Time     `json:"began"`
	Ended     time.Time     `json:"ended"`
	Program   string        `json:"program" doc:"Version of the program that judged"`
	domain.InspectionReport
	Digest string `json:"differences_digest" doc:"SHA-256 over the differences as they were handed out: of each the bytes of its JSON and a line feed"`
}

// inspected says what an inspection is.
var inspectedSays = text(
	"将该期间记录的行为逐一依记录所载版本、按记录时的登记册重新判断，与记录中的偏差逐字比对；再按今日的登记册（及所要求的今日版本）判断，列出不同及原因。未写入任何案件记录；本次检查记入查阅记录。",
	"Every act recorded in the period was judged anew by the edition that its record names, with the registers as they were when it was recorded, and compared to the letter with the findings in the record; then by the registers of today, and, where that was asked for, today's edition. What differs is listed with its cause. Nothing was written into a case; the inspection stands in the access trail.",
)

// inspect judges the acts of a period anew and streams what differs, a JSON object
// a line. One inspection goes on at a time. Memory is a group of cases, and
// registers are asked once a group.
func (s *server) inspect(ctx context.Context, in *inspectInput) (*huma.StreamResponse, error) {
	agencies, shown, err := s.scope(ctx, identity.Inspect, in.Agency)
	if err != nil {
		return nil, err
	}
	r := about(ctx)
	if r.purpose == "" {
		p := problem(ctx, "unknown-parameter", "检查必须说明目的（请求头 Liuhen-Purpose），目的记入查阅记录", "an inspection states its purpose (header Liuhen-Purpose), which is kept in the access trail")
		p.Errors = []FieldError{{Location: "header." + purposeHeader, Message: p.Detail}}
		return nil, p
	}
	if in.To.Before(in.From.Date) {
		return nil, s.badMoment(ctx, "to", "截止日早于开始日", "to is before from")
	}
	if in.From.After(s.today()) {
		return nil, s.badMoment(ctx, "from", "该期间尚未到来", "the period lies in the future")
	}
	n, err := s.inspection(ctx, in, agencies)
	if err != nil {
		return nil, err
	}
	if !s.judging.TryLock() {
		return nil, inspecting(ctx)
	}
	s.judging.Unlock()
	if err := s.lookedAt(ctx, "inspection", "", shown, 0, ""); err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		lines := newLines(hc)
		if !s.judging.TryLock() {
			lines.write(inspectLine{Problem: inspecting(ctx)})
			return
		}
		defer s.judging.Unlock()
		if err := s.runInspection(ctx, n, shown, lines); err != nil {
			lines.write(inspectLine{Problem: answer(ctx, s.Logger, err)})
		}
	}}, nil
}

func inspecting(ctx context.Context) *Problem {
	p := problem(ctx, "busy", "正在进行另一项检查，请稍后再试", "another inspection is under way; try again when that is done")
	p.retryAfter = 10
	return p
}

// An inspection is what one request asked for.
type inspection struct {
	*domain.Inspection
	period projections.Period
	report inspectReport
}

// inspection finds the period in the log and reads the registers.
func (s *server) inspection(ctx context.Context, in *inspectInput, agencies []string) (*inspection, error) {
	n := &inspection{period: projections.Period{Agencies: agencies, Procedure: in.Procedure}}
	first, err := s.moment(ctx, "from", "recorded:"+in.From.AddDays(-1).String(), in.SeenFrom, nil)
	if err != nil {
		return nil, err
	}
	last, err := s.moment(ctx, "to", "recorded:"+earlier(in.To.Date, s.today()).String(), in.SeenFrom, nil)
	if err != nil {
		return nil, err
	}
	n.period.After, n.period.Through = first.Position, last.Position

	officers, _, err := s.Reads.RecordsOf(ctx, domain.RegisterProcedure)
	if err != nil {
		return nil, err
	}
	calendars, err := s.calendarsThen(ctx)
	if err != nil {
		return nil, err
	}
	today, err := s.registersNow(ctx)
	if err != nil {
		return nil, err
	}
	then := domain.Then{Calendar: calendars}
	if s.Registers != nil {
		then.Roster = domain.RegisterAt(s.Roster, officers)
	}
	n.Inspection, err = domain.NewInspection(s.Law, then, today, domain.InspectionScope{
		After: n.period.After, Through: n.period.Through, All: in.Acts == "all", TodaysLaw: in.Judged == "both", Today: s.today(),
	})
	if err != nil {
		return nil, err
	}
	r := about(ctx)
	n.report = inspectReport{
		Kind: "liuhen inspection report 1", Says: inspectedSays, From: in.From.Date, To: in.To.Date, After: n.period.After, Through: n.period.Through,
		Position: today.At, Agencies: agencies, Procedure: in.Procedure, Scope: orElse(in.Acts, "decisions"), Judged: orElse(in.Judged, "then"),
		Inspector: r.actor.Person, Name: r.actor.Name, Role: string(r.actor.Role), Purpose: r.purpose, Request: r.id, Began: s.Now().UTC(), Program: s.Version,
	}
	if len(agencies) == 0 {
		n.report.Agencies = []string{identity.Everywhere}
	}
	return n, nil
}

func earlier(a, b calendar.Date) calendar.Date {
	if b.Before(a) {
		return b
	}
	return a
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// runInspection goes through the cases, group after group.
func (s *server) runInspection(ctx context.Context, n *inspection, shown string, lines *lineWriter) error {
	var far inspectProgress
	var err error
	if far.Of, err = s.Reads.CountBetween(ctx, n.period); err != nil {
		return err
	}
	lines.write(inspectLine{Progress: &far})
	digest := sha256.New()
	for group, err := range s.Reads.EachCaseBetween(ctx, n.period) {
		if err != nil {
			return err
		}
		if err := s.inspectCases(ctx, n, group, digest, lines); err != nil {
			return err
		}
		for _, records := range group {
			for i := range records {
				if records[i].Position > n.period.After {
					far.Records++
				}
			}
		}
		far.Cases = n.Report().Cases
		lines.write(inspectLine{Progress: &far})
	}
	n.report.InspectionReport, n.report.Ended = n.Report(), s.Now().UTC()
	n.report.Digest = "sha256:" + hex.EncodeToString(digest.Sum(nil))
	return s.handOut(ctx, n.report, shown, lines)
}

// inspectCases inspects some cases, with what their rules ask of registers.
func (s *server) inspectCases(ctx context.Context, n *inspection, group [][]domain.Recorded, digest hash.Hash, lines *lineWriter) error {
	facts := domain.FactsThen{}
	for {
		var ask []domain.Asked
		for _, records := range group {
			more, err := n.Asks(records, facts)
			if err != nil {
				return err
			}
			ask = append(ask, more...)
		}
		if len(ask) == 0 {
			break
		}
		answers, err := s.Reads.FactsThen(ctx, ask)
		if err != nil {
			return err
		}
		maps.Copy(facts, answers)
	}
	for _, records := range group {
		found, err := n.Case(records, facts)
		if err != nil {
			return err
		}
		for i := range found {
			exact, err := plainJSON(found[i])
			if err != nil {
				return err
			}
			digest.Write(append(exact, '\n'))
			lines.raw([]byte(`{"difference":`), exact, []byte("}\n"))
		}
	}
	return nil
}

// handOut writes the report, and before that the digest of it into the access
// trail. Its bytes are made once: they are what is hashed, signed and handed out.
func (s *server) handOut(ctx context.Context, report inspectReport, shown string, lines *lineWriter) error {
	exact, err := plainJSON(report)
	if err != nil {
		return err
	}
	differences := 0
	for _, count := range report.Differences {
		differences += count
	}
	sum := sha256.Sum256(exact)
	if err := s.lookedAt(ctx, "inspection report sha256:"+hex.EncodeToString(sum[:]), "", shown, differences, ""); err != nil {
		return err
	}
	signature := ""
	if s.SignReport != nil {
		if signature, err = s.SignReport(exact); err != nil {
			return fmt.Errorf("sign the report of an inspection: %w", err)
		}
	}
	end := []byte("}\n")
	if signature != "" {
		signed, err := plainJSON(signature)
		if err != nil {
			return err
		}
		end = append(append([]byte(`,"signature":`), signed...), end...)
	}
	lines.raw([]byte(`{"report":`), exact, end)
	return nil
}

// plainJSON encodes a value once, without a line feed.
func plainJSON(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(buf.Bytes(), "\n"), nil
}
