package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

func caseCommand(p *program) *cobra.Command {
	var next bool
	c := &cobra.Command{
		Use:   "case CASE",
		Short: "案件概况：当事人、阶段、文书、时限、偏差 · A case as it stands",
		Long: `案件概况：当事人、阶段、文书、证据、时限、偏差。
A case as it stands: parties, stage, documents, evidence, deadlines, findings.
With --next: what may be done next, by whom, and why not.`,
		Example: `  liuhen case 样例-015
  liuhen case 样例-015 --next --lang en
  liuhen case 样例-015 --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			k, err := p.client("case", false)
			if err != nil {
				return err
			}
			if next {
				return p.showNext(c.Context(), k, args[0])
			}
			return p.showCase(c.Context(), k, args[0], nil)
		},
	}
	c.Flags().BoolVar(&next, "next", false, "what may be done next, by whom, and why not")
	p.flags(c.Flags(), clientKeys...)
	return c
}

type caseFile struct {
	Case          string        `json:"case"`
	Agency        string        `json:"agency"`
	Procedure     string        `json:"procedure"`
	ProcedureName rulebook.Text `json:"procedure_name"`
	Edition       calendar.Date `json:"edition"`
	Stage         string        `json:"stage"`
	StageName     rulebook.Text `json:"stage_name"`
	Opened        calendar.Date `json:"opened"`
	Closed        bool          `json:"closed"`
	Revision      int           `json:"revision"`
	Head          string        `json:"head"`
	Position      uint64        `json:"position"`
	Parties       []struct {
		Value any `json:"value"`
	} `json:"parties"`
	Officers []struct {
		rulebook.Officer
	} `json:"officers"`
	Documents []caseDocument `json:"documents"`
	Evidence  []caseDocument `json:"evidence"`
	Deadlines []struct {
		rulebook.Deadline
		Light string `json:"light"`
		State string `json:"state"`
	} `json:"deadlines"`
	Findings []struct {
		Act         string    `json:"act"`
		OccurredAt  time.Time `json:"occurred_at"`
		CorrectedBy string    `json:"corrected_by"`
		rulebook.Finding
	} `json:"findings"`
	At *struct {
		Says rulebook.Text `json:"says"`
	} `json:"at"`
	JudgedNow *struct {
		Edition calendar.Date `json:"edition"`
		Differs []struct {
			ActName rulebook.Text      `json:"act_name"`
			Then    []rulebook.Finding `json:"then"`
			Now     []rulebook.Finding `json:"now"`
		} `json:"differs"`
	} `json:"judged_now"`
}

type caseDocument struct {
	Act        string    `json:"act"`
	OccurredAt time.Time `json:"occurred_at"`
	rulebook.Reference
}

// showCase prints a case: as it stands, or by the question as it was.
func (p *program) showCase(ctx context.Context, k *client, id string, q url.Values) error {
	var raw json.RawMessage
	if err := k.get(ctx, at("v1", "cases", id), q, &raw); err != nil {
		return err
	}
	if p.json {
		return p.printJSON(p.out, raw)
	}
	var c caseFile
	if err := json.Unmarshal(raw, &c); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	law := k.editionOf(c.Procedure, c.Edition.String())
	stage := c.StageName.In(p.config.Lang)
	if c.Closed {
		stage += p.pick("（已结案）", " (closed)")
	}
	if c.At != nil {
		fmt.Fprintln(p.out, c.At.Says.In(p.config.Lang))
	}
	p.printPairs([][2]string{
		{p.pick("案号", "case"), c.Case},
		{p.pick("机关", "agency"), c.Agency},
		{p.pick("程序", "procedure"), fmt.Sprintf("%s (%s, %s)", c.ProcedureName.In(p.config.Lang), c.Procedure, c.Edition)},
		{p.pick("阶段", "stage"), stage},
		{p.pick("立案", "opened"), p.day(c.Opened)},
		{p.pick("当事人", "parties"), p.partyNames(c)},
		{p.pick("执法人员", "officers"), p.officerNames(c)},
		{p.pick("记录", "records"), fmt.Sprint(c.Revision)},
		{p.pick("末条摘要", "head"), c.Head},
	})
	for _, part := range []struct {
		zh, en string
		t      table
	}{
		{"文书", "Documents", p.documentTable(law, c.Documents)},
		{"证据", "Evidence", p.documentTable(law, c.Evidence)},
		{"时限", "Deadlines", p.caseDeadlines(law, c)},
		{"偏差", "Findings", p.caseFindings(law, c)},
		{"按今日规则和登记册，结果不同的行为", "Judged otherwise by today's law and registers", p.judgedOtherwise(c)},
	} {
		if len(part.t.rows) == 0 {
			continue
		}
		p.say("\n%s", "\n%s", p.pick(part.zh, part.en))
		if err := part.t.write(p.out); err != nil {
			return err
		}
	}
	return nil
}

func (p *program) partyNames(c caseFile) string {
	var names []string
	for _, party := range c.Parties {
		switch v := party.Value.(type) {
		case map[string]any:
			if name, ok := v["name"].(string); ok {
				names = append(names, name)
			}
		case string:
			names = append(names, v)
		}
	}
	return p.listed(distinct(names))
}

// distinct drops what came before.
func distinct(in []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, s := range in {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

func (p *program) officerNames(c caseFile) string {
	var names []string
	for _, o := range c.Officers {
		name := either(o.Name, o.ID)
		if o.Certificate != "" {
			name += p.pick("（", " (") + o.Certificate + p.pick("）", ")")
		}
		names = append(names, name)
	}
	return p.listed(names)
}

func (p *program) documentTable(law *rulebook.Procedure, documents []caseDocument) table {
	t := table{head: []string{p.pick("名称", "KIND"), p.pick("标题", "TITLE"), p.pick("行为", "ACT"), p.pick("时间", "AT"), p.pick("摘要", "DIGEST")}}
	for _, d := range documents {
		t.add(d.Kind, d.Title, p.actTitle(law, d.Act), p.moment(d.OccurredAt), shortened(d.Digest, 20))
	}
	return t
}

func (p *program) caseDeadlines(law *rulebook.Procedure, c caseFile) table {
	t := table{head: []string{p.pick("灯", "LIGHT"), p.pick("届满日", "DUE"), p.pick("须作出", "TO DO"), p.pick("规则", "RULE"), p.pick("依据", "ARTICLE")}}
	for _, d := range c.Deadlines {
		light := p.light(d.Light)
		switch {
		case c.At != nil && d.Done == "":
			light = p.clockState(d.State)
		case d.Done != "" && d.Late:
			light = p.pick("逾期办结", "done late")
		case d.Done != "":
			light = p.pick("按期办结", "done")
		}
		due := p.day(d.Due.On)
		if d.Due.Provisional && d.Done == "" {
			due += p.pick("暂定", " provisional")
		}
		t.add(light, due, p.actTitle(law, d.Act), d.Rule, d.Basis)
		t.note(d.Says.In(p.config.Lang))
	}
	return t
}

func (p *program) caseFindings(law *rulebook.Procedure, c caseFile) table {
	t := table{head: []string{p.pick("规则", "RULE"), p.pick("程度", "SEVERITY"), p.pick("行为", "ACT"), p.pick("时间", "AT"), p.pick("依据", "ARTICLE")}}
	for _, f := range c.Findings {
		severity := p.severity(string(f.Severity))
		if f.CorrectedBy != "" {
			severity += p.pick("〔已更正〕", " (corrected)")
		}
		t.add(f.Rule, severity, p.actTitle(law, f.Act), p.moment(f.OccurredAt), f.Basis)
		t.note(either(f.Detail.In(p.config.Lang), f.Says.In(p.config.Lang)))
	}
	return t
}

// actTitle is the name of an act for a reader.
func (p *program) actTitle(law *rulebook.Procedure, act string) string {
	if law != nil {
		for _, a := range law.Acts {
			if a.Name == act {
				return a.Title.In(p.config.Lang)
			}
		}
	}
	return act
}

func (p *program) showNext(ctx context.Context, k *client, id string) error {
	var raw json.RawMessage
	if err := k.get(ctx, at("v1", "cases", id, "next"), nil, &raw); err != nil {
		return err
	}
	if p.json {
		return p.printJSON(p.out, raw)
	}
	var next struct {
		Acts []struct {
			rulebook.NextAct
			Yours bool `json:"yours"`
		} `json:"acts"`
	}
	if err := json.Unmarshal(raw, &next); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	t := table{head: []string{p.pick("行为", "ACT"), p.pick("名称", "NAME"), p.pick("可作出", "ALLOWED"), p.pick("由", "BY"), p.pick("本人可录", "YOURS")}}
	for _, a := range next.Acts {
		t.add(a.Act, a.Name.In(p.config.Lang), p.yesNo(a.Allowed), strings.Join(a.By, ","), p.yesNo(a.Yours))
		for _, f := range a.Why {
			t.note(fmt.Sprintf("%s %s", f.Rule, f.Says.In(p.config.Lang)))
			if cure := f.Cure.In(p.config.Lang); cure != "" {
				t.note(p.pick("补正：", "cure: ") + cure)
			}
		}
		for _, s := range a.Starts {
			t.note(p.pick("起算：", "starts: ") + s.In(p.config.Lang))
		}
	}
	return t.write(p.out)
}

func (p *program) yesNo(yes bool) string {
	if yes {
		return p.pick("是", "yes")
	}
	return p.pick("否", "no")
}
