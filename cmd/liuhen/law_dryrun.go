package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"liuhen/domain"
	"liuhen/domain/rulebook"
)

func lawDryRunCommand(p *program) *cobra.Command {
	var alone bool
	c := &cobra.Command{
		Use:   "dry-run FILE…",
		Short: "在已记录的案件上试行规则草案 · Try a draft of your own law on the recorded cases",
		Long: `在已记录的案件上试行本机关的规则草案（参数、规则、程序），说明结果有何不同。不写入任何内容。
Try a draft of an agency's own law files (parameters, rules, procedures) on every
recorded case and say what would differ: findings, limits that run, acts that
would be refused. Nothing is written.

The files are added to those that the running system was started with (--law), each
in the place of the file of its name; with --alone they are all there is beside
the national law. What is wrong with them is told with file, line and column.

Was: the findings that stand in the records, and the limits that run by the
present law. Would be: the same acts judged by the draft, each by the edition of
its case. What is "already" so by the present law, because the law has changed since
the act was recorded, does not come from the draft.

Supervisors, inspectors and administrators may, on the cases of their agencies.`,
		Example: `  liuhen law dry-run ours.yaml
  liuhen law dry-run ours.yaml our-permits.yaml --json
  liuhen law dry-run --alone new/*.yaml --token-file supervisor.token`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, files []string) error { return p.dryRun(c.Context(), files, alone) },
	}
	c.Flags().BoolVar(&alone, "alone", false, "the files are all of the agency's own law, not added to what the system has")
	c.Flags().BoolVar(&p.quiet, "quiet", false, "no progress bar")
	p.flags(c.Flags(), clientKeys...)
	return c
}

// A dryRunBody is what POST /v1/law/dry-run takes.
type dryRunBody struct {
	Files []dryRunFile `json:"files"`
	Alone bool         `json:"alone,omitempty"`
}

type dryRunFile struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// A dryRunLine is one line of its answer.
type dryRunLine struct {
	Progress *struct {
		Records int64 `json:"records"`
		Of      int64 `json:"of"`
	} `json:"progress"`
	Report  json.RawMessage `json:"report"`
	Problem *problem        `json:"problem"`
}

type dryRunReport struct {
	Compared rulebook.Text     `json:"compared"`
	Changes  []rulebook.Change `json:"changes"`
	Agencies []string          `json:"agencies"`
	Position uint64            `json:"position"`
	domain.TrialReport
}

func (p *program) dryRun(ctx context.Context, files []string, alone bool) error {
	body, err := readDraft(files, alone)
	if err != nil {
		return err
	}
	c, err := p.client("law dry-run", true)
	if err != nil {
		return err
	}
	resp, err := c.request(ctx, http.MethodPost, "/v1/law/dry-run", nil, nil, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := p.followDryRun(bufio.NewScanner(resp.Body))
	if err != nil {
		return err
	}
	if p.json {
		return p.printJSON(p.out, raw)
	}
	var report dryRunReport
	if err := json.Unmarshal(raw, &report); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return p.printDryRun(report)
}

// readDraft makes the body of the request. A file goes by the last part of its
// path, as in the folder that it may later be put into.
func readDraft(files []string, alone bool) ([]byte, error) {
	body := dryRunBody{Alone: alone}
	from := map[string]string{}
	for _, path := range files {
		name := filepath.Base(path)
		if !lawName(name) {
			return nil, usagef("%s: want law files, which end with .yaml or .yml", path)
		}
		if other, twice := from[name]; twice {
			return nil, usagef("%s and %s have the same name", other, path)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		from[name] = path
		body.Files = append(body.Files, dryRunFile{Name: name, Text: string(text)})
	}
	return json.Marshal(body)
}

// followDryRun shows how far it is, until the report comes.
func (p *program) followDryRun(lines *bufio.Scanner) (json.RawMessage, error) {
	lines.Buffer(nil, 16<<20)
	bar := p.bar(-1, p.pick("试行", "dry run"), "records")
	defer func() { _ = bar.Exit() }() // drawing can fail; the dry run goes on
	for lines.Scan() {
		var line dryRunLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("answer: %w", err)
		}
		switch {
		case line.Problem != nil:
			return nil, line.Problem
		case line.Report != nil:
			_ = bar.Finish()
			return line.Report, nil
		case line.Progress != nil:
			bar.ChangeMax64(max(line.Progress.Of, line.Progress.Records+1))
			_ = bar.Set64(line.Progress.Records)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	return nil, errors.New("the answer ended before the report; see the log of the system")
}

// printDryRun says first what the draft changes, then what comes of it.
func (p *program) printDryRun(r dryRunReport) error {
	for _, c := range r.Changes {
		p.say("草案：%s", "draft: %s", c.Says.In(p.config.Lang))
	}
	if len(r.Changes) == 0 {
		p.say("草案与现行规则相同。", "The draft is the same as the present law.")
	}
	t := table{
		head: []string{
			p.pick("规则", "RULE"), p.pick("变化", "WHAT"), p.pick("数", "COUNT"), p.pick("案件", "CASES"), p.pick("现行已如此", "ALREADY"),
			p.pick("程序", "PROCEDURE"), p.pick("例", "EXAMPLES"),
		},
		right: []int{2, 3, 4},
	}
	for i := range r.Rules {
		rule := &r.Rules[i]
		for _, kind := range []struct {
			what  string
			tally domain.Tally
		}{
			{p.pick("行为将新增偏差", "acts would have a further finding"), rule.Further},
			{p.pick("行为将不再有偏差", "acts would have one finding less"), rule.Gone},
			{p.pick("行为的偏差将改变", "acts would have another finding"), rule.Altered},
			{p.pick("行为将被拒绝", "acts would be refused"), rule.Refused},
			{p.pick("期限将开始计算", "limits would run"), rule.Started},
			{p.pick("期限将不再计算", "limits would not run any more"), rule.Dropped},
			{p.pick("期限届满日将改变", "limits would run to another day"), rule.Moved},
		} {
			if kind.tally.Count > 0 {
				t.add(rule.Rule, kind.what, fmt.Sprint(kind.tally.Count), fmt.Sprint(kind.tally.Cases), fmt.Sprint(kind.tally.Already), rule.Procedure, examplesOf(kind.tally))
			}
		}
	}
	if len(r.Rules) > 0 {
		if err := t.write(p.out); err != nil {
			return err
		}
	}
	for _, u := range r.Unjudged {
		p.say("草案没有程序 %s（%s 版）：%d 个案件未试行。", "The draft has no procedure %s in the edition of %s: %d cases were not tried.", u.Procedure, u.Edition, u.Cases)
	}
	p.say("试行 %d 个案件、%d 个行为（至第 %d 位）：%d 个行为的偏差、%d 个案件将有变化。",
		"Tried %d cases with %d acts (position %d): %d acts would have other findings, %d cases would be otherwise.",
		r.Cases, r.Acts, r.Position, r.Changed, r.Affected)
	fmt.Fprint(p.out, wrapped(r.Compared.In(p.config.Lang), 100, ""))
	return nil
}

// examplesOf is the first examples in a line: the case, and how it was and would be.
func examplesOf(t domain.Tally) string {
	var parts []string
	for i, e := range t.Examples {
		if i == 2 {
			break
		}
		s := string(e.Case) + " " + e.Act
		switch {
		case e.Was != "" && e.Would != "":
			s += " " + e.Was + " → " + e.Would
		case e.Would != "":
			s += " → " + e.Would
		default:
			s += " " + e.Was + " →"
		}
		parts = append(parts, s)
	}
	if t.Count > len(parts) {
		parts = append(parts, "…")
	}
	return strings.Join(parts, "; ")
}
