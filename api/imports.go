package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"liuhen/casework"
	"liuhen/domain"
	"liuhen/domain/rulebook"
	"liuhen/identity"
)

// perImport is how many commands one request may bring.
const perImport = 2000

// importCommand is one row of a log of another system.
type importCommand struct {
	Row         int64                      `json:"row" minimum:"1" doc:"Number of the row in the file"`
	Case        string                     `json:"case"`
	Agency      string                     `json:"agency,omitempty" doc:"Of the case; where the case exists, it stays with its agency"`
	Procedure   string                     `json:"procedure" doc:"Of the case; where the case exists, it goes by its own"`
	Act         string                     `json:"act"`
	OccurredAt  time.Time                  `json:"occurred_at"`
	Officers    []officer                  `json:"officers,omitempty"`
	Place       string                     `json:"place,omitempty"`
	Fields      map[string]json.RawMessage `json:"fields,omitempty"`
	Documents   []attachment               `json:"documents,omitempty"`
	Evidence    []attachment               `json:"evidence,omitempty"`
	LateReason  string                     `json:"late_reason,omitempty"`
	Corrects    string                     `json:"corrects,omitempty" doc:"Event id of the earlier record of the case that this row puts right; it has the same act"`
	AlreadyDone bool                       `json:"already_done,omitempty" doc:"It had been carried out outside of the other system, too, before it was recorded there"`
	CorrectsCmd string                     `json:"corrects_command,omitempty" doc:"In place of corrects: command id of the row that this one puts right"`
	Reason      string                     `json:"reason,omitempty" doc:"Why it is corrected"`
	CommandID   string                     `json:"command_id,omitempty" doc:"Names the row for good: sent again it is not doubled. Without it one is made of source, batch and row"`
}

// importBody is what is handed in. Rows are decoded one by one, so that one
// that is malformed does not hold up the others.
type importBody struct {
	Source   string            `json:"source"`
	Batch    string            `json:"batch"`
	DryRun   bool              `json:"dry_run,omitempty"`
	Commands []json.RawMessage `json:"commands"`
}

// importDoc is importBody for the OpenAPI document.
type importDoc struct {
	Source   string          `json:"source" minLength:"1" maxLength:"200" doc:"The system or file that the log comes from"`
	Batch    string          `json:"batch" minLength:"1" maxLength:"200" doc:"Names this import"`
	DryRun   bool            `json:"dry_run,omitempty" doc:"Judge everything and record nothing"`
	Commands []importCommand `json:"commands" minItems:"1" maxItems:"2000"`
}

// importResult is what became of one row.
type importResult struct {
	Row      int64         `json:"row"`
	Case     domain.CaseID `json:"case,omitempty"`
	Result   string        `json:"result" enum:"taken,already,refused" doc:"taken: recorded; already: had been recorded by an earlier request; refused: not recorded"`
	Event    string        `json:"event,omitempty"`
	Position uint64        `json:"position,omitempty"`
	Revision int           `json:"revision,omitempty"`
	Findings int           `json:"findings,omitempty" doc:"How many rules it broke"`
	Code     string        `json:"code,omitempty" doc:"Why it was refused, for programs"`
	Why      string        `json:"why,omitempty" doc:"Why it was refused"`
	Errors   []FieldError  `json:"errors,omitempty"`
}

type importInput struct {
	RawBody []byte `contentType:"application/json"`
}

type importOutput struct {
	Position string `header:"Liuhen-Position"`
	Body     struct {
		Results  []importResult `json:"results" doc:"One for each command, in their order"`
		Taken    int            `json:"taken"`
		Already  int            `json:"already"`
		Refused  int            `json:"refused"`
		DryRun   bool           `json:"dry_run,omitempty"`
		Position uint64         `json:"position,omitempty" doc:"Of the last record that was made or found"`
	}
}

// imports records the rows of a log of another system, on the same road as
// acts: a refusal becomes a finding, and each event is marked as imported.
// Where the store turns some rows away, the answer is that condition as a
// whole; what had been recorded is found "already" the next time.
func (s *server) imports(ctx context.Context, in *importInput) (*importOutput, error) {
	if err := s.allow(ctx, identity.Import, identity.TheSystem()); err != nil {
		return nil, err
	}
	var body importBody
	if err := strictly(in.RawBody, &body); err != nil {
		return nil, malformedJSON(ctx, err)
	}
	if err := body.check(ctx); err != nil {
		return nil, err
	}
	if about(ctx).actor.Role == identity.Administrator { // who states a purpose, and that is kept
		if err := s.lookedAt(ctx, "import", "", identity.Everywhere, len(body.Commands), ""); err != nil {
			return nil, err
		}
	}
	out := &importOutput{}
	b := &out.Body
	b.Results, b.DryRun = make([]importResult, len(body.Commands)), body.DryRun

	var commands []domain.Command
	var at []int // which result each command is for
	gate := gate{s: s, actor: about(ctx).actor, known: map[domain.CaseID]string{}}
	for i, raw := range body.Commands {
		cmd, err := body.command(ctx, raw, i)
		b.Results[i] = importResult{Row: cmd.Import.Row, Case: cmd.Case}
		if err == nil {
			err = gate.pass(ctx, cmd)
		}
		if err != nil {
			if err := s.refuseRow(ctx, &b.Results[i], err); err != nil {
				return nil, err
			}
			continue
		}
		commands, at = append(commands, cmd), append(at, i)
	}

	carryOut := s.Desk.RecordAll
	if body.DryRun {
		carryOut = s.rehearse
	}
	for n, r := range carryOut(ctx, commands) {
		row := &b.Results[at[n]]
		if r.Err != nil {
			if err := s.refuseRow(ctx, row, r.Err); err != nil {
				return nil, err
			}
			continue
		}
		row.Result = "taken"
		if r.Receipt.Duplicate {
			row.Result = "already"
		}
		row.Event, row.Position, row.Revision, row.Findings = r.Receipt.Event, r.Receipt.Position, r.Receipt.Revision, len(r.Receipt.Findings)
		b.Position = max(b.Position, row.Position)
	}
	for _, r := range b.Results {
		switch r.Result {
		case "taken":
			b.Taken++
		case "already":
			b.Already++
		default:
			b.Refused++
		}
	}
	if b.Position > 0 {
		out.Position = position(b.Position)
	}
	if s.Registered != nil && !body.DryRun && slices.ContainsFunc(commands, ofOfficers) {
		// Who is told that officers were taken in may hand in their acts next.
		return out, s.Registered(ctx, b.Position)
	}
	return out, nil
}

func ofOfficers(cmd domain.Command) bool { return cmd.Procedure == domain.RegisterProcedure }

func (b *importBody) check(ctx context.Context) error {
	var wrong []FieldError
	add := func(field, zh, en string) {
		wrong = append(wrong, FieldError{Location: "body." + field, Message: text(zh, en).In(langOf(ctx))})
	}
	if b.Source == "" || len(b.Source) > 200 {
		add("source", "须为 1 到 200 字节", "must have 1 to 200 bytes")
	}
	if b.Batch == "" || len(b.Batch) > 200 {
		add("batch", "须为 1 到 200 字节", "must have 1 to 200 bytes")
	}
	if n := len(b.Commands); n == 0 || n > perImport {
		add("commands", fmt.Sprintf("须有 1 到 %d 条，现有 %d 条", perImport, n), fmt.Sprintf("must have 1 to %d items, has %d", perImport, n))
	}
	if len(wrong) == 0 {
		return nil
	}
	p := problem(ctx, "malformed", wrong[0].Location+" "+wrong[0].Message, wrong[0].Location+" "+wrong[0].Message)
	p.Errors = wrong
	return p
}

// malformedJSON answers a body that is not the JSON that was expected.
func malformedJSON(ctx context.Context, err error) *Problem {
	location := "body"
	var typed *json.UnmarshalTypeError
	if errors.As(err, &typed) && typed.Field != "" {
		location += "." + typed.Field
	}
	p := problem(ctx, "malformed", location+" "+inWords(err.Error(), "zh"), location+" "+err.Error())
	p.Errors = []FieldError{{Location: location, Message: inWords(err.Error(), langOf(ctx))}}
	return p
}

// command decodes one row. The command names its row also where it fails.
func (b *importBody) command(ctx context.Context, raw json.RawMessage, i int) (domain.Command, error) {
	var row importCommand
	err := strictly(raw, &row)
	if err != nil { // decoding stopped somewhere: say at least which row it is
		var head struct {
			Row  int64  `json:"row"`
			Case string `json:"case"`
		}
		if json.Unmarshal(raw, &head) == nil {
			row.Row, row.Case = head.Row, head.Case
		}
	}
	actor := about(ctx).actor
	cmd := domain.Command{
		ID: row.CommandID, Case: domain.CaseID(row.Case), Agency: row.Agency, Procedure: row.Procedure, Act: row.Act, At: row.OccurredAt,
		Actor: domain.Actor{ID: actor.Person, Name: actor.Name}, Place: row.Place, Fields: row.Fields,
		LateReason: row.LateReason, AlreadyDone: row.AlreadyDone, Corrects: row.Corrects, CorrectsCommand: row.CorrectsCmd, Reason: row.Reason,
		Documents: references(row.Documents), Evidence: references(row.Evidence),
		Import: &domain.Import{Source: b.Source, Batch: b.Batch, Row: row.Row},
	}
	for _, o := range row.Officers {
		cmd.Officers = append(cmd.Officers, rulebook.Officer(o))
	}
	if cmd.Agency == "" {
		cmd.Agency = actor.Agency()
	}
	if cmd.ID == "" {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", b.Source, b.Batch, row.Row))
		cmd.ID = "import-" + hex.EncodeToString(sum[:16])
	}
	if err != nil {
		p := malformedJSON(ctx, err)
		for n := range p.Errors {
			p.Errors[n].Location = fmt.Sprintf("body.commands[%d]", i) + p.Errors[n].Location[len("body"):]
		}
		return cmd, p
	}
	return cmd, nil
}

// refuseRow notes why a row was not recorded. What is not about the row itself
// is returned, as the answer to all.
func (s *server) refuseRow(ctx context.Context, row *importResult, err error) error {
	p := answer(ctx, s.Logger, err)
	if p.Status >= 500 {
		return p
	}
	row.Result, row.Code, row.Why, row.Errors = "refused", p.Code, p.Detail, p.Errors
	return nil
}

// gate keeps an importer to its agencies.
type gate struct {
	s     *server
	actor identity.Actor
	known map[domain.CaseID]string // agencies of cases that exist
}

func (g *gate) pass(ctx context.Context, cmd domain.Command) error {
	if g.actor.Covers(identity.Everywhere) {
		return nil
	}
	agency, ok := g.known[cmd.Case]
	if !ok && domain.Token(string(cmd.Case)) == "" {
		c, err := g.s.Desk.Case(ctx, cmd.Case)
		switch {
		case err == nil:
			agency = c.Agency
		case errors.Is(err, domain.ErrNoCase):
			agency = ""
		default:
			return err
		}
		g.known[cmd.Case] = agency
	}
	if agency == "" {
		agency = cmd.Agency
	}
	if !g.actor.Covers(agency) {
		return problem(ctx, "forbidden", "您不能为该案件所属机关导入", "you may not import for the agency of this case")
	}
	return nil
}

// rehearse judges commands as RecordAll would and records nothing.
func (s *server) rehearse(ctx context.Context, commands []domain.Command) []casework.Result {
	results := make([]casework.Result, len(commands))
	cases := map[domain.CaseID]*domain.Case{}
	for i, cmd := range commands {
		results[i] = s.rehearseOne(ctx, cases, cmd)
	}
	return results
}

func (s *server) rehearseOne(ctx context.Context, cases map[domain.CaseID]*domain.Case, cmd domain.Command) casework.Result {
	c, ok := cases[cmd.Case]
	if !ok && domain.Token(string(cmd.Case)) == "" {
		var err error
		if c, err = s.Desk.Case(ctx, cmd.Case); err != nil && !errors.Is(err, domain.ErrNoCase) {
			return casework.Result{Err: err}
		}
		cases[cmd.Case] = c
	}
	if c != nil {
		cmd.Procedure = "" // a row of a log does not know whether its case is new
	}
	if receipt, ok := c.Carried(cmd.ID); ok {
		return casework.Result{Receipt: receipt}
	}
	event, err := s.Desk.Decide(ctx, c, cmd)
	if err != nil {
		return casework.Result{Err: err}
	}
	data, err := event.Encode()
	if err != nil {
		return casework.Result{Err: err}
	}
	next, err := domain.Evolve(s.Law, c, domain.Recorded{Digest: domain.DigestOf(data), Raw: data, Event: event})
	if err != nil {
		return casework.Result{Err: err}
	}
	cases[cmd.Case] = next
	return casework.Result{Receipt: domain.Receipt{Case: cmd.Case, Act: cmd.Act, Revision: next.Revision, Findings: event.Data.Findings}}
}
