package api

import (
	"context"
	"errors"
	"fmt"

	"github.com/danielgtaylor/huma/v2"

	"liuhen/identity"
	"liuhen/projections"
	"liuhen/transparency/audit"
)

type verifyInput struct {
	Body *struct {
		From       uint64   `json:"from,omitempty" doc:"A range: the first position"`
		Through    uint64   `json:"through,omitempty" doc:"and the last"`
		Case       string   `json:"case,omitempty" maxLength:"64" doc:"One case: its records, and that they are all"`
		Record     uint64   `json:"record,omitempty" doc:"One record, by its position"`
		ReadModels bool     `json:"read_models,omitempty" doc:"The read models instead: filled anew beside, and compared row by row"`
		Models     []string `json:"models,omitempty" maxItems:"20" doc:"With read_models: these only"`
	}
}

// verifyLine is one line of the answer: how far it is, and last what was found or
// why that is not known.
type verifyLine struct {
	Progress  *verifyProgress       `json:"progress,omitempty"`
	Filling   *projections.Progress `json:"filling,omitempty"`
	Result    *audit.Result         `json:"result,omitempty"`
	Report    *projections.Report   `json:"report,omitempty"`
	Clean     *bool                 `json:"clean,omitempty" doc:"With result or report: nothing is wrong"`
	Statement string                `json:"statement,omitempty" doc:"With result: the same as the text of a report, byte for byte as it is signed"`
	Signature string                `json:"signature,omitempty" doc:"With statement: its signature with the keys of the log, a signed note; none where the keys are not here"`
	Problem   *Problem              `json:"problem,omitempty"`
}

type verifyProgress struct {
	Done uint64 `json:"done"`
	Of   uint64 `json:"of"`
}

// verify verifies and streams how far it is, a JSON object a line. It goes on only
// as long as somebody reads.
func (s *server) verify(ctx context.Context, in *verifyInput) (*huma.StreamResponse, error) {
	if err := s.allow(ctx, identity.Verify, identity.TheSystem()); err != nil {
		return nil, err
	}
	var scope audit.Scope
	if b := in.Body; b != nil {
		scope = audit.Scope{From: b.From, Through: b.Through, Case: b.Case, Record: b.Record}
		if err := scope.Check(); err != nil {
			return nil, problem(ctx, "malformed", "一次只能核验一个范围、一个案件或一条记录；范围为 from 至 through，均从 1 起", err.Error())
		}
		if b.ReadModels && scope != (audit.Scope{}) || !b.ReadModels && len(b.Models) > 0 {
			return nil, problem(ctx, "malformed", "读模型（read_models、models）须单独核验", "read models (read_models, models) are verified by themselves")
		}
		if b.ReadModels {
			if p := knownModels(ctx, b.Models); p != nil {
				return nil, p
			}
			return &huma.StreamResponse{Body: func(hc huma.Context) { s.verifyModels(ctx, newLines(hc), b.Models) }}, nil
		}
	}
	if s.Verify == nil {
		return nil, problem(ctx, "unavailable", "此处没有证明日志", "there is no log of proofs here")
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		lines, told := newLines(hc), uint64(0)
		if !s.auditing.TryLock() {
			lines.write(verifyLine{Problem: problem(ctx, "busy", "正在核验，请稍后再试", "a verification is under way; try again when it is done")})
			return
		}
		defer s.auditing.Unlock()
		result, err := s.Verify(ctx, scope, func(done, of uint64) {
			if done >= of || done-told >= 5000 {
				told = done
				lines.write(verifyLine{Progress: &verifyProgress{done, of}})
			}
		})
		if err != nil {
			lines.write(verifyLine{Problem: answer(ctx, s.Logger, err)})
			return
		}
		// Which case a record is of is for those who may see all cases.
		if s.allow(ctx, identity.ReadLedger, identity.OfficeOf(identity.Everywhere)) != nil {
			for i := range result.Faults {
				result.Faults[i].Case = ""
			}
		}
		line := verifyLine{Result: &result, Statement: string(result.Statement())}
		if s.SignReport != nil {
			if line.Signature, err = s.SignReport([]byte(line.Statement)); err != nil {
				lines.write(verifyLine{Problem: answer(ctx, s.Logger, fmt.Errorf("sign the report: %w", err))})
				return
			}
		}
		clean := result.Clean()
		line.Clean = &clean
		lines.write(line)
	}}, nil
}

func (s *server) verifyModels(ctx context.Context, lines *lineWriter, models []string) {
	report, err := s.VerifyModels(ctx, models, func(p projections.Progress) { lines.write(verifyLine{Filling: &p}) })
	switch {
	case errors.Is(err, projections.ErrRebuilding):
		lines.write(verifyLine{Problem: problem(ctx, "busy", "正在重建，请稍后再试", "a rebuild is under way; try again when it is done")})
		return
	case err != nil:
		lines.write(verifyLine{Problem: answer(ctx, s.Logger, err)})
		return
	}
	clean := report.Clean()
	if err := s.mayShow(ctx, &report); err != nil {
		lines.write(verifyLine{Problem: answer(ctx, s.Logger, err)})
		return
	}
	lines.write(verifyLine{Report: &report, Clean: &clean})
}
