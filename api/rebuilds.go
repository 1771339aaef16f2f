package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"liuhen/identity"
	"liuhen/projections"
)

type rebuildInput struct {
	Body *struct {
		Model  string   `json:"model,omitempty" doc:"One read model; without one all that are made of the record of cases"`
		Models []string `json:"models,omitempty" maxItems:"20" doc:"Several"`
	}
}

// rebuildLine is one line of the answer: how far it is, and last the report or
// why there is none.
type rebuildLine struct {
	Progress *projections.Progress `json:"progress,omitempty"`
	Report   *projections.Report   `json:"report,omitempty"`
	Clean    *bool                 `json:"clean,omitempty" doc:"With the report: every row was as it should be"`
	Problem  *Problem              `json:"problem,omitempty"`
}

// rebuild fills read models anew and streams how far it is, a JSON object a
// line. It goes on only as long as somebody reads.
func (s *server) rebuild(ctx context.Context, in *rebuildInput) (*huma.StreamResponse, error) {
	if err := s.allow(ctx, identity.Rebuild, identity.TheSystem()); err != nil {
		return nil, err
	}
	var models []string
	if in.Body != nil {
		models = in.Body.Models
		if in.Body.Model != "" {
			models = append(models, in.Body.Model)
		}
	}
	if p := knownModels(ctx, models); p != nil {
		return nil, p
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		lines := newLines(hc)
		report, err := s.Rebuild(ctx, models, func(p projections.Progress) { lines.write(rebuildLine{Progress: &p}) })
		switch {
		case errors.Is(err, projections.ErrRebuilding):
			lines.write(rebuildLine{Problem: problem(ctx, "busy", "正在重建，请稍后再试", "a rebuild is under way; try again when it is done")})
		case err != nil:
			lines.write(rebuildLine{Problem: answer(ctx, s.Logger, err)})
		default:
			clean := report.Clean()
			if err := s.mayShow(ctx, &report); err != nil {
				lines.write(rebuildLine{Problem: answer(ctx, s.Logger, err)})
				return
			}
			lines.write(rebuildLine{Report: &report, Clean: &clean})
		}
	}}, nil
}

// mayShow takes the contents of rows, which name persons, out of a report to
// somebody who has stated no purpose, and records the look where they stay.
func (s *server) mayShow(ctx context.Context, report *projections.Report) error {
	if report.Clean() {
		return nil
	}
	if about(ctx).purpose != "" {
		return s.lookedAt(ctx, "rebuild", "", identity.Everywhere, 0, "")
	}
	for m := range report.Models {
		for i := range report.Models[m].Examples {
			e := &report.Models[m].Examples[i]
			e.Was, e.Is = withheld(e.Was), withheld(e.Is)
		}
	}
	return nil
}

// withheld leaves of a row only whether there is one.
func withheld(row json.RawMessage) json.RawMessage {
	if len(row) == 0 || string(row) == "null" {
		return json.RawMessage("null")
	}
	return json.RawMessage("{}")
}

func knownModels(ctx context.Context, models []string) *Problem {
	known := map[string]bool{}
	for _, p := range projections.All {
		known[p.Name] = true
	}
	access := map[string]bool{}
	for _, p := range projections.Access {
		access[p.Name] = true
	}
	both := 0
	for _, m := range models {
		if !known[m] && !access[m] {
			p := problem(ctx, "malformed", "没有读模型 "+m, "there is no read model "+m)
			p.Errors = []FieldError{{Location: "body.model", Message: p.Detail}}
			return p
		}
		if known[m] {
			both |= 1
		} else {
			both |= 2
		}
	}
	if both == 3 {
		return problem(ctx, "malformed", "查阅记录的读模型须单独重建", "the read model of the access trail is rebuilt by itself")
	}
	return nil
}

// lineWriter writes a JSON object a line and sends each at once.
type lineWriter struct {
	mu   sync.Mutex // guards w
	w    http.ResponseWriter
	rest *http.ResponseController
}

// newLines begins an answer of lines. It takes the time limit off the answer,
// for it may take long.
func newLines(hc huma.Context) *lineWriter {
	_, w := humago.Unwrap(hc)
	w.Header().Set("Content-Type", "application/x-ndjson")
	l := &lineWriter{w: w, rest: http.NewResponseController(w)}
	_ = l.rest.SetWriteDeadline(time.Time{})
	return l
}

func (l *lineWriter) write(v any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	enc := json.NewEncoder(l.w)
	enc.SetEscapeHTML(false)
	if enc.Encode(v) == nil {
		_ = l.rest.Flush() // what cannot flush sends when it ends
	}
}

// raw writes a line whose bytes are made already, in parts.
func (l *lineWriter) raw(parts ...[]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, part := range parts {
		if _, err := l.w.Write(part); err != nil {
			return // the caller has gone
		}
	}
	_ = l.rest.Flush()
}
