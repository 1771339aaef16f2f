package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"

	"github.com/danielgtaylor/huma/v2"

	"liuhen/domain"
	"liuhen/domain/rulebook"
	"liuhen/identity"
)

type dryRunInput struct {
	Body struct {
		Files []lawFile `json:"files" minItems:"1" maxItems:"100" doc:"An agency's own law files: parameters, rules, procedures"`
		Alone bool      `json:"alone,omitempty" doc:"They are all of the agency's own law; without it they are added to what the system runs on, each in the place of the file of its name"`
	}
}

// lawFile is the text of one file.
type lawFile struct {
	Name string `json:"name" minLength:"1" maxLength:"200" doc:"Ends with .yaml or .yml; it stands in what is said of mistakes"`
	Text string `json:"text"`
}

// dryRunLine is one line of the answer: how far it is, and last the report or
// why there is none.
type dryRunLine struct {
	Progress *dryRunProgress `json:"progress,omitempty"`
	Report   *dryRunReport   `json:"report,omitempty"`
	Problem  *Problem        `json:"problem,omitempty"`
}

type dryRunProgress struct {
	Cases   int   `json:"cases" doc:"That were tried"`
	Records int   `json:"records" doc:"That were judged"`
	Of      int64 `json:"of" doc:"How many records there are, at least"`
}

type dryRunReport struct {
	Compared rulebook.Text     `json:"compared" doc:"What is compared with what"`
	Changes  []rulebook.Change `json:"changes" doc:"What is different in the draft"`
	Agencies []string          `json:"agencies" doc:"Whose cases were tried; * for all"`
	Position uint64            `json:"position" doc:"The cases are as they were at this position"`
	domain.TrialReport
}

// compared says what is compared with what.
var compared = text(
	"「原」是记录中已有的偏差（由当时的规则得出）和按现行规则正在计算的期限；「试」是同一些行为、同一版本程序按草案重新判断的结果，执法人员证件、机关设定的数值和其他案件的登记均以记录时为准。“现行规则已如此”的，不是草案带来的变化。未写入任何内容。",
	"“Was” is the findings that stand in the records, by the law of their day, and the limits that run by the present law. “Would be” is the same acts judged by the draft, each by the edition of its case, with the officers' certificates, the values of the agency and the registers of other cases as they were then. What is “already” so by the present law does not come from the draft. Nothing was written.",
)

// dryRun tries a draft of an agency's law on the recorded cases and streams how
// far it is, a JSON object a line. Nothing is written. One is read or tried at a
// time.
func (s *server) dryRun(ctx context.Context, in *dryRunInput) (*huma.StreamResponse, error) {
	agencies, _, err := s.scope(ctx, identity.TryLaw, "")
	if err != nil {
		return nil, err
	}
	busy := func() *Problem {
		p := problem(ctx, "busy", "正在试行另一份草案，请稍后再试", "another draft is being tried; try again when that is done")
		p.retryAfter = 10
		return p
	}
	if !s.trying.TryLock() {
		return nil, busy()
	}
	draft, err := s.draft(ctx, in)
	s.trying.Unlock()
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		lines := newLines(hc)
		if !s.trying.TryLock() {
			lines.write(dryRunLine{Problem: busy()})
			return
		}
		defer s.trying.Unlock()
		report, err := s.try(ctx, draft, agencies, func(p dryRunProgress) { lines.write(dryRunLine{Progress: &p}) })
		if err != nil {
			lines.write(dryRunLine{Problem: answer(ctx, s.Logger, err)})
			return
		}
		lines.write(dryRunLine{Report: &report})
	}}, nil
}

// draft reads the files. What is wrong with them is told with file, line and
// column.
func (s *server) draft(ctx context.Context, in *dryRunInput) (domain.Law, error) {
	malformed := func(where, zh, en string) error {
		p := problem(ctx, "malformed", zh, en)
		p.Errors = []FieldError{{Location: "body.files" + where, Message: p.Detail}}
		return p
	}
	if len(in.Body.Files) == 0 { // null, which is no list
		return nil, malformed("", "须有至少一个文件", "expected at least one file")
	}
	files := make(map[string]string, len(in.Body.Files))
	for i, f := range in.Body.Files {
		where := fmt.Sprintf("[%d].name", i)
		switch ext := path.Ext(f.Name); {
		case !fs.ValidPath(f.Name) || ext != ".yaml" && ext != ".yml":
			return nil, malformed(where, fmt.Sprintf("文件名 %q 不合规：须为相对路径，以 .yaml 或 .yml 结尾", f.Name),
				fmt.Sprintf("%q is no name of a law file: want a relative path that ends with .yaml or .yml", f.Name))
		default:
			if _, twice := files[f.Name]; twice {
				return nil, malformed(where, f.Name+" 出现两次", f.Name+" stands twice")
			}
		}
		files[f.Name] = f.Text
	}
	law, err := s.Draft(files, in.Body.Alone)
	var wrong rulebook.Errors
	if !errors.As(err, &wrong) {
		return law, err
	}
	p := problem(ctx, "malformed", fmt.Sprintf("草案有 %d 处错误，例如 %s", len(wrong), wrong[0]), fmt.Sprintf("the draft has %d mistakes, such as %s", len(wrong), wrong[0]))
	for _, e := range wrong {
		p.Errors = append(p.Errors, FieldError{Location: fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Column), Message: e.Message, Rule: e.Rule})
	}
	return nil, p
}

// try runs a draft over the cases of some agencies; none is all.
func (s *server) try(ctx context.Context, draft domain.Law, agencies []string, progress func(dryRunProgress)) (dryRunReport, error) {
	report := dryRunReport{Compared: compared, Agencies: agencies}
	// What the draft says otherwise is said of the law of the one agency, or of the law that all share.
	var files []rulebook.FileRef
	if len(agencies) == 1 {
		files = s.InForce(agencies[0], s.today())
	}
	present, err := s.Law.Under(files)
	if err != nil {
		return report, err
	}
	changed, err := draft.Under(files)
	if err != nil {
		return report, err
	}
	report.Changes = append([]rulebook.Change{}, rulebook.DiffBooks(present, changed)...)
	if len(agencies) == 0 {
		report.Agencies = []string{identity.Everywhere}
	}
	stats, err := s.Reads.Count(ctx, agencies)
	if err != nil {
		return report, err
	}
	var far dryRunProgress
	for _, a := range stats.Acts {
		far.Of += a.Records
	}
	progress(far)
	notices, _, err := s.Reads.RecordsOf(ctx, domain.NoticeProcedure)
	if err != nil {
		return report, err
	}
	trial := domain.NewTrial(s.Law, draft, domain.CalendarAt(s.Book.Calendar(), notices))
	header := func(position uint64) error { report.Position = position; return nil }
	// What is asked of registers is asked for several cases at once.
	var cases [][]domain.Recorded
	waiting := 0
	tryThem := func() error {
		if err := s.tryCases(ctx, trial, cases); err != nil {
			return err
		}
		far.Cases, far.Records = far.Cases+len(cases), far.Records+waiting
		far.Of = max(far.Of, int64(far.Records))
		cases, waiting = nil, 0
		progress(far)
		return nil
	}
	for records, err := range s.Reads.EachCase(ctx, agencies, header) {
		if err != nil {
			return report, err
		}
		cases = append(cases, records)
		if waiting += len(records); waiting >= atOnce {
			if err := tryThem(); err != nil {
				return report, err
			}
		}
	}
	if err := tryThem(); err != nil {
		return report, err
	}
	report.TrialReport = trial.Report()
	return report, nil
}

// atOnce is how many records are tried between two questions to registers and
// two lines of progress, at least.
const atOnce = 1000

// tryCases tries some cases, with what their rules ask of registers.
func (s *server) tryCases(ctx context.Context, trial *domain.Trial, cases [][]domain.Recorded) error {
	facts := domain.FactsThen{}
	for {
		var ask []domain.Asked
		for _, records := range cases {
			more, err := trial.Asks(records, facts)
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
	for _, records := range cases {
		if err := trial.Case(records, facts); err != nil {
			return err
		}
	}
	return nil
}
