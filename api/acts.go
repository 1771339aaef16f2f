package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
	"liuhen/identity"
)

// An ActBody is what is handed in of an act.
type ActBody struct {
	Act         string                     `json:"act" minLength:"1" maxLength:"200" doc:"Name of the act in its procedure" example:"collect-evidence"`
	OccurredAt  time.Time                  `json:"occurred_at" doc:"When the act was carried out, with offset" example:"2026-11-24T09:30:00+08:00"`
	Place       string                     `json:"place,omitempty" doc:"Where it was carried out"`
	Officers    []officer                  `json:"officers,omitempty" maxItems:"50" doc:"Who carried it out: ids, or objects with certificates where the system keeps no roster"`
	Fields      map[string]json.RawMessage `json:"fields,omitempty" doc:"Fields of the act by name; GET /v1/procedures/{name} lists them"`
	Documents   []attachment               `json:"documents,omitempty" maxItems:"500" doc:"Documents (文书) of the act"`
	Evidence    []attachment               `json:"evidence,omitempty" maxItems:"500" doc:"References to evidence"`
	LateReason  string                     `json:"late_reason,omitempty" doc:"Why it is recorded late"`
	AlreadyDone bool                       `json:"already_done,omitempty" doc:"It was carried out outside the system before: it is recorded with its findings and not refused; needs a reason"`
	Reason      string                     `json:"reason,omitempty" doc:"Why it is corrected, or why it was carried out outside the system"`
}

// An officer is an id, or an object with the certificate.
type officer rulebook.Officer

// Schema is for huma.
func (*officer) Schema(huma.Registry) *huma.Schema {
	text := func(doc string) *huma.Schema { return &huma.Schema{Type: huma.TypeString, Description: doc} }
	return &huma.Schema{
		Description: "An officer: the id alone, or an object",
		OneOf: []*huma.Schema{
			text("Id of the officer"),
			{
				Type:                 huma.TypeObject,
				AdditionalProperties: false,
				Required:             []string{"id"},
				Properties: map[string]*huma.Schema{
					"id":          text("Id of the officer"),
					"name":        text("Name"),
					"certificate": text("Number of the certificate (行政执法证)"),
					"valid_from":  text("First valid day, yyyy-mm-dd"),
					"valid_to":    text("Last valid day, yyyy-mm-dd"),
					"field":       text("Category (执法类别) that the certificate covers; empty: all"),
					"area":        text("GB/T 2260 prefix that it covers; empty: all"),
				},
			},
		},
	}
}

// UnmarshalJSON is for encoding/json.
func (o *officer) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		*o = officer{}
		return json.Unmarshal(data, &o.ID)
	}
	return strictly(data, (*rulebook.Officer)(o))
}

// strictly decodes JSON and takes an unknown name as an error.
func strictly(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}

// An attachment points at a document or a piece of evidence kept elsewhere.
type attachment struct {
	Kind      string `json:"kind,omitempty" doc:"Of a document: its name in the act's list of documents; of evidence: its kind"`
	Title     string `json:"title" minLength:"1"`
	Digest    string `json:"digest" pattern:"^sha256:[0-9a-f]{64}$" patternDescription:"sha256: and 64 hexadecimal digits"`
	Size      int64  `json:"size,omitempty" minimum:"0" doc:"Bytes"`
	MediaType string `json:"media_type,omitempty" example:"application/pdf"`
	Number    string `json:"number,omitempty" doc:"文号"`
}

// command is the command that a body asks for, without case and id.
func (b *ActBody) command(a identity.Actor) domain.Command {
	cmd := domain.Command{
		Act: b.Act, At: b.OccurredAt, Place: b.Place, Fields: b.Fields,
		Actor:      domain.Actor{ID: a.Person, Name: a.Name, Roles: a.RecordsAs()},
		LateReason: b.LateReason, AlreadyDone: b.AlreadyDone, Reason: b.Reason,
	}
	for _, o := range b.Officers {
		cmd.Officers = append(cmd.Officers, rulebook.Officer(o))
	}
	cmd.Documents, cmd.Evidence = references(b.Documents), references(b.Evidence)
	return cmd
}

func references(in []attachment) []rulebook.Reference {
	var out []rulebook.Reference
	for _, r := range in {
		out = append(out, rulebook.Reference(r))
	}
	return out
}

// Keyed is the header that names a command.
type Keyed struct {
	Key string `header:"Idempotency-Key" minLength:"1" maxLength:"200" doc:"Names the command: sent again with the same key it gets the same receipt and is not doubled. Without it a request that was broken off cannot be repeated safely"`
}

// receipt is the answer to an act that was recorded.
type receipt struct {
	Status   int
	Location string `header:"Location"`
	ETag     string `header:"ETag"`
	Position string `header:"Liuhen-Position"`
	Body     domain.Receipt
}

func receiptOf(r domain.Receipt) *receipt {
	if r.Findings == nil {
		r.Findings = []rulebook.Finding{}
	}
	out := &receipt{
		Status: http.StatusCreated, Location: "/v1/cases/" + url.PathEscape(string(r.Case)),
		ETag: etag(r.Revision), Position: position(r.Position), Body: r,
	}
	if r.Duplicate {
		out.Status = http.StatusOK
	}
	return out
}

func etag(revision int) string { return strconv.Quote(strconv.Itoa(revision)) }

type openInput struct {
	Keyed
	Body struct {
		ActBody
		Procedure string `json:"procedure" minLength:"1" maxLength:"64" doc:"Procedure that the case goes by" example:"penalty-ordinary"`
		Case      string `json:"case,omitempty" maxLength:"64" doc:"Case id (案号); without one the system makes one"`
		Agency    string `json:"agency,omitempty" maxLength:"64" doc:"Agency of the case; without one the caller's"`
	}
}

// open opens a case with its first act.
func (s *server) open(ctx context.Context, in *openInput) (*receipt, error) {
	actor, b := about(ctx).actor, &in.Body
	cmd := b.command(actor)
	cmd.Procedure, cmd.Agency, cmd.Case = b.Procedure, b.Agency, domain.CaseID(b.Case)
	if cmd.Agency == "" {
		cmd.Agency = actor.Agency()
	}
	if err := s.mayOpen(ctx, cmd); err != nil {
		return nil, err
	}
	cmd.ID = in.Key
	if cmd.ID == "" {
		cmd.ID = uuid.Must(uuid.NewV7()).String()
	}
	if cmd.Case == "" {
		cmd.Case = newCase(actor, cmd.ID)
	}
	r, err := s.Desk.Record(ctx, cmd)
	var stale *domain.Stale
	if errors.As(err, &stale) {
		return nil, caseExists(ctx, cmd.Case)
	}
	if err != nil {
		return nil, err
	}
	if r.Duplicate { // of a command in this case, whosever it is
		if _, err := s.openedFor(ctx, identity.OpenCase, r.Case); err != nil {
			return nil, caseExists(ctx, cmd.Case)
		}
	}
	return receiptOf(r), nil
}

func caseExists(ctx context.Context, id domain.CaseID) error {
	return problem(ctx, "case-exists", "案号 "+string(id)+" 已被使用", "the case id "+string(id)+" is in use")
}

func (s *server) mayOpen(ctx context.Context, cmd domain.Command) error {
	// Who may open no case at all hears that first, whatever the agency.
	if err := s.mayAnywhere(ctx, identity.OpenCase); err != nil {
		return err
	}
	if cmd.Agency == "" {
		p := problem(ctx, "malformed", "须写明案件所属机关（agency）", "say which agency the case belongs to (agency)")
		p.Errors = []FieldError{{Location: "body.agency", Message: p.Detail}}
		return p
	}
	return s.allow(ctx, identity.OpenCase, identity.CaseOf(string(cmd.Case), cmd.Agency, cmd.Procedure))
}

// newCase makes a case id. It follows from who asks and the command's id, so
// that a command sent again opens the same case.
func newCase(a identity.Actor, command string) domain.CaseID {
	sum := sha256.Sum256([]byte("case\x00" + a.Person + "\x00" + command))
	return domain.CaseID("c-" + idLetters.EncodeToString(sum[:10]))
}

type recordInput struct {
	Keyed
	Case    string `path:"case" maxLength:"64"`
	IfMatch string `header:"If-Match" doc:"The revision that the caller saw, in quotes as ETag gives it; where the case has changed since, the answer is 409 with what came between"`
	Body    struct {
		ActBody
		Corrects string `json:"corrects,omitempty" doc:"Id of the event that this one puts right; needs a reason"`
	}
}

// record records an act in a case.
func (s *server) record(ctx context.Context, in *recordInput) (*receipt, error) {
	expect, err := revisionOf(ctx, in.IfMatch)
	if err != nil {
		return nil, err
	}
	c, err := s.openedFor(ctx, identity.RecordAct, domain.CaseID(in.Case))
	if err != nil {
		return nil, err
	}
	cmd := in.Body.command(about(ctx).actor)
	cmd.ID, cmd.Case, cmd.Corrects, cmd.Expect = in.Key, c.ID, in.Body.Corrects, expect
	if cmd.ID == "" {
		cmd.ID = uuid.Must(uuid.NewV7()).String()
	}
	r, err := s.Desk.Record(ctx, cmd)
	var stale *domain.Stale
	if errors.As(err, &stale) {
		return nil, s.changed(ctx, stale)
	}
	if err != nil {
		return nil, err
	}
	return receiptOf(r), nil
}

// changed tells what came between the revision that the caller saw and now.
func (s *server) changed(ctx context.Context, stale *domain.Stale) error {
	p := answer(ctx, s.Logger, stale)
	if c, err := s.Desk.Case(ctx, stale.Case); err == nil {
		p.Revision, p.Between = c.Revision, c.After(stale.Expected)
	}
	return p
}

// revisionOf reads an If-Match header; 0 stands for any revision.
func revisionOf(ctx context.Context, header string) (int, error) {
	header = strings.TrimSpace(header)
	if header == "" || header == "*" {
		return 0, nil
	}
	if len(header) > 2 && header[0] == '"' && header[len(header)-1] == '"' {
		if n, err := strconv.Atoi(header[1 : len(header)-1]); err == nil && n > 0 && etag(n) == header {
			return n, nil
		}
	}
	p := problem(ctx, "unknown-parameter", `If-Match 须为带引号的案件版本，如 "3"`, `If-Match must be a revision in quotes, such as "3"`)
	p.Errors = []FieldError{{Location: "header.If-Match", Message: p.Detail}}
	return 0, p
}

// mayAnywhere asks whether there is any agency in whose cases the caller may
// do the action. A denial then says why, for it tells nothing of any case.
func (s *server) mayAnywhere(ctx context.Context, action identity.Action) error {
	r := about(ctx)
	agencies := r.actor.Agencies
	if len(agencies) == 0 {
		agencies = []string{""}
	}
	var denied identity.Decision
	for _, agency := range agencies {
		d := s.Policies.Allow(r.actor, action, identity.CaseOf("", agency, ""), r.purpose)
		if d.Allowed {
			return nil
		}
		denied = d
	}
	return forbidden(ctx, denied)
}

// openedFor returns a case that the caller may do the action to. Who may do it
// to no case hears why. Otherwise a case that they may not read is not
// revealed: the answer is that of one that is not there. Where they may read
// it, the answer to another action says why not.
func (s *server) openedFor(ctx context.Context, action identity.Action, id domain.CaseID) (*domain.Case, error) {
	if domain.Token(string(id)) != "" {
		return nil, s.unseen(ctx, action, nil) // no case can have that id
	}
	c, err := s.Desk.Case(ctx, id)
	if errors.Is(err, domain.ErrNoCase) {
		return nil, s.unseen(ctx, action, nil)
	}
	if err != nil {
		return nil, err
	}
	r, on := about(ctx), identity.CaseOf(string(id), c.Agency, c.Procedure.Name)
	d := s.Policies.Allow(r.actor, action, on, r.purpose)
	if d.Allowed {
		return c, nil
	}
	if action != identity.ReadCase && s.Policies.Allow(r.actor, identity.ReadCase, on, r.purpose).Allowed {
		return nil, forbidden(ctx, d)
	}
	return nil, s.unseen(ctx, action, c)
}

// unseen is the answer where there is no case or the caller may not know of
// it; an attempt on one that there is stays in the access trail.
func (s *server) unseen(ctx context.Context, action identity.Action, c *domain.Case) error {
	if err := s.mayAnywhere(ctx, action); err != nil {
		return err
	}
	if c != nil {
		if err := s.looked(ctx, "denied "+string(action), c, 0, ""); err != nil {
			return err
		}
	}
	return noCase(ctx)
}

// looked records in the access trail that the caller reads a case.
func (s *server) looked(ctx context.Context, what string, c *domain.Case, rows int, format string) error {
	return s.lookedAt(ctx, what, c.ID, c.Agency, rows, format)
}

// today is the day by our clock, in Shanghai.
func (s *server) today() calendar.Date { return calendar.DateOf(s.Now()) }
