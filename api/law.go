package api

import (
	"bytes"
	"context"

	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
	"liuhen/identity"
)

// procedureItem is a procedure in one edition.
type procedureItem struct {
	Name    string        `json:"name"`
	Edition calendar.Date `json:"edition" doc:"In force from this day"`
	Title   rulebook.Text `json:"title"`
	Basis   string        `json:"basis,omitempty"`
	Newest  bool          `json:"newest" doc:"There is no later edition"`
	Open    bool          `json:"open,omitempty" doc:"Accepts any act and any field, for logs of other systems"`
	Acts    int           `json:"acts"`
	Rules   int           `json:"rules"`
}

type proceduresOutput struct {
	Body struct {
		Items    []procedureItem `json:"items"`
		Calendar string          `json:"calendar" doc:"Version of the calendar that days are counted by"`

		Files []rulebook.FileRef `json:"files" doc:"Law files of its own that the agency has put in force and that are in this"`
	}
}

// OfAgency is the parameter for the law of an agency.
type OfAgency struct {
	Agency string `query:"agency" maxLength:"64" doc:"With the law files that this agency has put in force for itself, as they are today; without it those of the caller's only agency"`
}

// bookFor is the law that is asked for, and the files of an agency's own in it.
func (s *server) bookFor(ctx context.Context, in OfAgency) *rulebook.Book {
	if in.Agency == "" {
		if of := about(ctx).actor.Agencies; len(of) == 1 {
			in.Agency = of[0]
		}
	}
	return s.bookOf(in.Agency)
}

// bookOf is the law of an agency today. Where a file of its own cannot be read any
// more, which is told when an act is recorded, it is the law without such files.
func (s *server) bookOf(agency string) *rulebook.Book {
	book, err := s.Law.Under(s.InForce(agency, s.today()))
	if err != nil {
		return s.Book
	}
	return book
}

// procedureOf is a procedure in an edition as an agency has it today.
func (s *server) procedureOf(agency, name string, edition calendar.Date) (*rulebook.Procedure, bool) {
	if p, ok := s.bookOf(agency).Edition(name, edition); ok {
		return p, true
	}
	return s.Book.Edition(name, edition)
}

type proceduresInput struct {
	OfAgency
}

func (s *server) procedures(ctx context.Context, in *proceduresInput) (*proceduresOutput, error) {
	if err := s.allow(ctx, identity.ReadLaw, identity.TheSystem()); err != nil {
		return nil, err
	}
	out := &proceduresOutput{}
	book := s.bookFor(ctx, in.OfAgency)
	out.Body.Items, out.Body.Calendar, out.Body.Files = []procedureItem{}, book.Calendar().Version(), book.Own()
	for _, p := range book.Procedures() {
		newest, _ := book.Procedure(p.Name)
		out.Body.Items = append(out.Body.Items, procedureItem{
			Name: p.Name, Edition: p.Edition, Title: p.Title, Basis: p.Basis, Newest: newest == p, Open: p.Open,
			Acts: len(p.Acts), Rules: len(p.Rules),
		})
	}
	return out, nil
}

type procedureInput struct {
	OfAgency
	Name    string `path:"name" maxLength:"64"`
	Edition date   `query:"edition" doc:"The edition of this day; without it the newest"`
}

type procedureOutput struct {
	Body *rulebook.Procedure
}

// procedure returns a procedure whole: stages, acts with their fields and
// documents, rules with their articles.
func (s *server) procedure(ctx context.Context, in *procedureInput) (*procedureOutput, error) {
	p, err := s.lawOf(ctx, in)
	return &procedureOutput{Body: p}, err
}

// lawOf is the procedure that is asked for.
func (s *server) lawOf(ctx context.Context, in *procedureInput) (*rulebook.Procedure, error) {
	if err := s.allow(ctx, identity.ReadLaw, identity.TheSystem()); err != nil {
		return nil, err
	}
	book := s.bookFor(ctx, in.OfAgency)
	p, ok := book.Procedure(in.Name)
	if !in.Edition.IsZero() {
		p, ok = book.Edition(in.Name, in.Edition.Date)
	}
	if !ok {
		return nil, problem(ctx, "not-found", "没有该程序或该版本", "there is no such procedure or edition")
	}
	return p, nil
}

type schemasOutput struct {
	Body struct {
		Procedure string                    `json:"procedure"`
		Edition   calendar.Date             `json:"edition"`
		Acts      map[string]map[string]any `json:"acts" doc:"By act: a JSON Schema (draft 2020-12) of its fields"`
	}
}

// schemas returns what the fields of each act may hold.
func (s *server) schemas(ctx context.Context, in *procedureInput) (*schemasOutput, error) {
	p, err := s.lawOf(ctx, in)
	if err != nil {
		return nil, err
	}
	out := &schemasOutput{}
	out.Body.Procedure, out.Body.Edition, out.Body.Acts = p.Name, p.Edition, make(map[string]map[string]any, len(p.Acts))
	for _, a := range p.Acts {
		out.Body.Acts[a.Name] = a.Schema(langOf(ctx))
	}
	return out, nil
}

type flowOutput struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

// flow draws a procedure.
func (s *server) flow(ctx context.Context, in *procedureInput) (*flowOutput, error) {
	p, err := s.lawOf(ctx, in)
	if err != nil {
		return nil, err
	}
	var svg bytes.Buffer
	if err := rulebook.Flow(&svg, p, langOf(ctx)); err != nil {
		return nil, err
	}
	return &flowOutput{ContentType: "image/svg+xml", Body: svg.Bytes()}, nil
}
