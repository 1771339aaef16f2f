package api

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"liuhen/bundle"
	"liuhen/domain"
	"liuhen/identity"
	"liuhen/transparency"
)

// Bounds on one bundle.
const (
	perBundle       = 10_000 // cases: the heads of all are held in memory
	bundleRecords   = 2_000  // records read at once, or one case where that has more
	bundleMediaType = "application/zip"
)

// How are the parameters of every bundle.
type How struct {
	SeenFrom
	Profile string `query:"profile" maxLength:"64" doc:"Which records are shown: full (without it), party (those served on the reader), public. Of the others the bundle has leaf and proof"`
	Reader  string `query:"reader" maxLength:"500" doc:"With profile=party: the party's name, exactly as it is recorded"`
	Wait    int    `query:"wait" minimum:"0" maximum:"60" default:"15" doc:"Seconds to wait for witnesses to cosign, where they have cosigned before"`
}

type caseBundleInput struct {
	How
	Case string `path:"case" maxLength:"64"`
}

type bundleInput struct {
	How
	Choice
}

// bundled documents the answer.
func bundled(_ *server, op *huma.Operation) {
	headers := positionDocumented()
	headers[recordsHeader] = &huma.Param{Description: "About how many records the file proves", Schema: &huma.Schema{Type: huma.TypeString}}
	op.Responses["200"] = &huma.Response{
		Description: "A zip with a bag (RFC 8493); see docs/BUNDLE.md. A transfer that breaks off is none", Headers: headers,
		Content: map[string]*huma.MediaType{bundleMediaType: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
	}
}

// profile is the profile that was asked for.
func (in How) profile(ctx context.Context) (bundle.Profile, string, error) {
	code := in.Profile
	if code == "" {
		code = "full"
	}
	p, ok := bundle.Profiles()[code]
	var zh, en, at string
	switch {
	case !ok:
		zh, en, at = "没有这个出示范围："+code+"（有 full、party、public）", "there is no profile "+code+" (there are full, party, public)", "query.profile"
	case p.NeedsReader() && in.Reader == "":
		zh, en, at = "请用 reader 说明供哪位当事人", "say with reader for which party it is", "query.reader"
	case !p.NeedsReader() && in.Reader != "":
		zh, en, at = "reader 只用于 profile=party", "reader goes with profile=party", "query.reader"
	default:
		return p, code, nil
	}
	wrong := problem(ctx, "unknown-parameter", zh, en)
	wrong.Errors = []FieldError{{Location: at, Message: wrong.Detail}}
	return p, code, wrong
}

// bundling is a bundle that is about to be written.
type bundling struct {
	how     How
	ids     []domain.CaseID
	records []int // of each, about
	last    uint64
	name    string // of the file
}

func (b *bundling) add(id domain.CaseID, revision int, position uint64) {
	b.ids, b.records, b.last = append(b.ids, id), append(b.records, revision), max(b.last, position)
}

// caseBundle hands out one case. Who may read it and may take cases out of the
// agency may have it.
func (s *server) caseBundle(ctx context.Context, in *caseBundleInput) (*huma.StreamResponse, error) {
	if err := s.waitForRecord(ctx, in.MinPosition); err != nil {
		return nil, err
	}
	c, err := s.openedFor(ctx, identity.ReadCase, domain.CaseID(in.Case))
	if err != nil {
		return nil, err
	}
	if err := s.allow(ctx, identity.Export, identity.OfficeOf(c.Agency)); err != nil {
		return nil, err
	}
	b := &bundling{how: in.How, name: "liuhen-" + string(c.ID) + ".zip"}
	b.add(c.ID, c.Revision, c.Position)
	return s.hand(ctx, b, func(format string) error { return s.looked(ctx, "bundle", c, c.Revision, format) })
}

// bundle hands out several cases. Each that the caller may not read is left out and
// not told of; one that is named and that they may not read is an error, as
// everywhere.
func (s *server) bundle(ctx context.Context, in *bundleInput) (*huma.StreamResponse, error) {
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
		return nil, tooMany(ctx, "query.case", perExport)
	}
	var opened []*domain.Case
	for _, id := range named {
		c, err := s.openedFor(ctx, identity.ReadCase, domain.CaseID(id))
		if err != nil {
			return nil, err
		}
		opened, f.Cases = append(opened, c), append(f.Cases, c.ID)
	}
	b := &bundling{how: in.How, name: "liuhen-bundle.zip"}
	r, records := about(ctx), 0
	for e, err := range s.Reads.EachLedger(ctx, f, nil) {
		if err != nil {
			return nil, err
		}
		if !s.Policies.Allow(r.actor, identity.ReadCase, identity.CaseOf(string(e.Case), e.Agency, e.Procedure), r.purpose).Allowed {
			continue
		}
		if len(b.ids) == perBundle {
			return nil, tooMany(ctx, "query", perBundle)
		}
		b.add(e.Case, e.Revision, e.Position)
		records += e.Revision
	}
	if len(b.ids) == 0 {
		return nil, problem(ctx, "not-found", "没有符合条件的案件", "no case fits")
	}
	return s.hand(ctx, b, func(format string) error {
		for _, c := range opened {
			if err := s.looked(ctx, "bundle", c, c.Revision, format); err != nil {
				return err
			}
		}
		if len(opened) > 0 {
			return nil
		}
		return s.lookedAt(ctx, "bundle", "", shown, records, format)
	})
}

func tooMany(ctx context.Context, at string, most int) error {
	p := problem(ctx, "unknown-parameter", fmt.Sprintf("超过 %d 个案件，请缩小范围", most), fmt.Sprintf("these are more than %d cases; ask for fewer", most))
	p.Errors = []FieldError{{Location: at, Message: p.Detail}}
	return p
}

// hand takes from the log what the bundle needs, records the look, and streams.
func (s *server) hand(ctx context.Context, b *bundling, look func(profile string) error) (*huma.StreamResponse, error) {
	profile, code, err := b.how.profile(ctx)
	if err != nil {
		return nil, err
	}
	witnesses := time.Duration(b.how.Wait) * time.Second
	wait, cancel := context.WithTimeout(ctx, s.Patience+witnesses)
	defer cancel()
	evidence, err := bundle.Collect(wait, s.Log, b.ids, b.last, witnesses)
	if err != nil {
		return nil, unsealed(ctx, err)
	}
	// The records of the cases up to the checkpoint come from the timeline.
	if err := s.waitFor(ctx, uint64(evidence.Checkpoint.Size), "timeline"); err != nil {
		return nil, err
	}
	if err := look(code); err != nil {
		return nil, err
	}
	c := bundle.Contents{
		Evidence: evidence, Profile: profile, Code: code, Reader: b.how.Reader, Program: "liuhen " + s.Version,
		Book: s.Book, National: s.LawFiles, Own: s.OwnLaw,
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		_, w := humago.Unwrap(hc)
		s.writeBundle(ctx, w, b, c)
	}}, nil
}

// writeBundle streams a bundle. What fails before the first byte is answered; what
// fails later breaks the transfer off.
func (s *server) writeBundle(ctx context.Context, w http.ResponseWriter, b *bundling, c bundle.Contents) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // as long as it takes
	at, records := c.Evidence.Checkpoint, 0
	for _, n := range b.records {
		records += n
	}
	out := &lateHeader{ResponseWriter: w, header: func(h http.Header) {
		h.Set("Content-Type", bundleMediaType)
		h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": b.name}))
		h.Set(positionHeader, position(uint64(at.Size)))
		h.Set(recordsHeader, strconv.Itoa(records))
	}}
	prove := func(p []uint64) ([]transparency.Inclusion, error) { return s.Log.ProveUnder(at, p) }
	err := bundle.Write(out, c, prove, s.recordsOf(ctx, b))
	switch {
	case err == nil:
	case !out.began:
		write(w, answer(ctx, s.Logger, err))
	default:
		if !errors.Is(err, context.Canceled) && ctx.Err() == nil {
			s.Logger.ErrorContext(ctx, "a bundle was broken off", "request", requestID(ctx), "error", err)
		}
		panic(http.ErrAbortHandler)
	}
}

// recordsOf reads the cases of a bundle, some at a time.
func (s *server) recordsOf(ctx context.Context, b *bundling) iter.Seq2[[]domain.Recorded, error] {
	return func(yield func([]domain.Recorded, error) bool) {
		for from := 0; from < len(b.ids); {
			to, n := from+1, b.records[from]
			for to < len(b.ids) && n+b.records[to] <= bundleRecords {
				n += b.records[to]
				to++
			}
			found, _, err := s.Reads.Load(ctx, b.ids[from:to])
			if err != nil {
				yield(nil, err)
				return
			}
			for _, id := range b.ids[from:to] {
				if !yield(found[id], nil) {
					return
				}
			}
			from = to
		}
	}
}
