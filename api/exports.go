package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"liuhen/domain"
	"liuhen/export"
	"liuhen/identity"
	"liuhen/projections"
)

// perExport is how many cases may be named.
const perExport = 100

// recordsHeader tells about how many records a file will hold.
const recordsHeader = "Liuhen-Records"

// A Choice chooses whole cases: by name, or as the ledger does.
type Choice struct {
	Case      string `query:"case" maxLength:"7000" doc:"Only these cases, separated by commas"`
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
}

// filter is the choice as the ledger takes it, but for the cases that are named.
func (c Choice) filter(agencies []string) projections.LedgerFilter {
	return projections.LedgerFilter{
		Agencies: agencies, Procedure: c.Procedure, Officer: c.Officer, Stage: c.Stage, From: c.From.Date, To: c.To.Date,
		Party: c.Party, Query: c.Q, Closed: either(c.Closed), Findings: c.Findings,
	}
}

type exportInput struct {
	SeenFrom
	Format string `query:"format" required:"true" enum:"xes,ocel,csv" doc:"xes: XES 2.2; ocel: OCEL 2.0 in JSON; csv: one row an event"`
	Choice
}

// exported documents the answer.
func exported(_ *server, op *huma.Operation) {
	content := map[string]*huma.MediaType{}
	for _, f := range export.Formats {
		content[f.MediaType()] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	}
	headers := positionDocumented()
	headers[recordsHeader] = &huma.Param{Description: "About how many records the file holds", Schema: &huma.Schema{Type: huma.TypeString}}
	op.Responses["200"] = &huma.Response{Description: "The log; a transfer that breaks off is none", Headers: headers, Content: content}
}

// export hands out whole cases. Who asks may export from the agency, and each
// case that they may not read is left out; one that is named and that they may
// not read is an error, as everywhere. The access trail has the export, and each
// case that was named.
func (s *server) export(ctx context.Context, in *exportInput) (*huma.StreamResponse, error) {
	agencies, shown, err := s.scope(ctx, identity.Export, in.Agency)
	if err != nil {
		return nil, err
	}
	if err := s.waitFor(ctx, in.MinPosition, "ledger", "timeline"); err != nil {
		return nil, err
	}
	f := in.filter(agencies)
	named := listed(in.Case)
	if len(named) > perExport {
		p := problem(ctx, "unknown-parameter", fmt.Sprintf("一次最多指定 %d 个案件", perExport), fmt.Sprintf("at most %d cases can be named at once", perExport))
		p.Errors = []FieldError{{Location: "query.case", Message: p.Detail}}
		return nil, p
	}
	var cases []*domain.Case
	for _, id := range named {
		c, err := s.openedFor(ctx, identity.ReadCase, domain.CaseID(id))
		if err != nil {
			return nil, err
		}
		cases, f.Cases = append(cases, c), append(f.Cases, c.ID)
	}
	chosen, err := s.Reads.Choose(ctx, f)
	if err != nil {
		return nil, err
	}
	for _, c := range cases {
		if err := s.looked(ctx, "export", c, c.Revision, in.Format); err != nil {
			return nil, err
		}
	}
	if len(cases) == 0 {
		if err := s.lookedAt(ctx, "export", "", shown, int(chosen.Records), in.Format); err != nil {
			return nil, err
		}
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		_, w := humago.Unwrap(hc)
		s.writeExport(ctx, w, export.Format(in.Format), f, chosen, shown)
	}}, nil
}

// writeExport streams the log. What fails before the first byte is answered;
// what fails later breaks the transfer off, so that a part is never taken for
// the whole.
func (s *server) writeExport(ctx context.Context, w http.ResponseWriter, format export.Format, f projections.LedgerFilter, chosen projections.Chosen, agency string) {
	r := about(ctx)
	may := func(e projections.LedgerEntry) bool {
		return s.Policies.Allow(r.actor, identity.ReadCase, identity.CaseOf(string(e.Case), e.Agency, e.Procedure), r.purpose).Allowed
	}
	out := &lateHeader{ResponseWriter: w, header: func(h http.Header) {
		h.Set("Content-Type", format.MediaType())
		h.Set("Content-Disposition", `attachment; filename="liuhen`+format.Ending()+`"`)
		h.Set(positionHeader, position(chosen.Position))
		h.Set(recordsHeader, strconv.FormatInt(chosen.Records, 10))
	}}
	head := export.Header{Name: "liuhen " + agency, Position: chosen.Position}
	err := export.Write(out, format, head, s.Book, s.Reads.EachChosen(ctx, f, chosen.Position, may))
	switch {
	case err == nil:
	case !out.began:
		write(w, answer(ctx, s.Logger, err))
	default:
		if !errors.Is(err, context.Canceled) && ctx.Err() == nil {
			s.Logger.ErrorContext(ctx, "an export was broken off", "format", format, "request", requestID(ctx), "error", err)
		}
		panic(http.ErrAbortHandler)
	}
}

// A lateHeader sets its headers with the first byte.
type lateHeader struct {
	http.ResponseWriter
	header func(http.Header)
	began  bool
}

func (l *lateHeader) Write(p []byte) (int, error) {
	if !l.began {
		l.began = true
		l.header(l.ResponseWriter.Header())
	}
	return l.ResponseWriter.Write(p)
}
