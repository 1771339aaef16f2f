package main

import (
	"encoding/json"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"liuhen/domain/rulebook"
)

func findingsCommand(p *program) *cobra.Command {
	var counts bool
	l := &list{
		filters: []filter{
			{"at", "as it was at a moment: position:123 or recorded:2026-01-01"},
			{"agency", "only this agency"},
			{"procedure", "only this procedure"},
			{"rule", "only this rule"},
			{"severity", "invalid, veto, major, minor or notice"},
			{"case", "only this case"},
			{"since", "recorded on this day or later, 2026-01-01"},
			{"from", "of acts carried out on this day or later"},
			{"to", "of acts carried out on this day or before"},
		},
		switches: []filter{{"uncorrected", "only of events that have not been corrected"}},
		rows:     findingRows,
	}
	c := &cobra.Command{
		Use:   "findings",
		Short: "偏差清单，最近记录的在前 · What rules had to say, the latest record first",
		Example: `  liuhen findings --severity veto
  liuhen findings --rule R-031 --since 2026-01-01 --csv > findings.csv
  liuhen findings --counts`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			k, err := p.client("findings", false)
			if err != nil {
				return err
			}
			if counts {
				return p.countFindings(c, k, l.query(c))
			}
			return l.print(c.Context(), p, k, "/v1/findings", l.query(c))
		},
	}
	l.asks(p, c)
	c.Flags().BoolVar(&counts, "counts", false, "how often each rule was broken, instead of the list")
	c.MarkFlagsMutuallyExclusive("counts", "csv")
	return c
}

type findingItem struct {
	Case       string        `json:"case"`
	ActName    rulebook.Text `json:"act_name"`
	OccurredAt time.Time     `json:"occurred_at"`
	Imported   bool          `json:"imported"`
	Corrected  bool          `json:"corrected"`
	Lifted     bool          `json:"lifted"`
	rulebook.Finding
}

func findingRows(p *program, _ *client, raw []json.RawMessage) (table, error) {
	items, err := decode[findingItem](raw)
	if err != nil {
		return table{}, err
	}
	t := table{head: []string{
		p.pick("案号", "CASE"), p.pick("规则", "RULE"), p.pick("程度", "SEVERITY"), p.pick("行为", "ACT"), p.pick("时间", "AT"), p.pick("依据", "ARTICLE"),
	}}
	for _, i := range items {
		severity := p.severity(string(i.Severity))
		if i.Corrected {
			severity += p.pick("〔已更正〕", " (corrected)")
		}
		switch {
		case i.Lifts != "":
			severity = p.pick("撤回此前认定", "takes back")
		case i.Lifted:
			severity += p.pick("〔不再成立〕", " (lifted)")
		}
		if i.Assumed {
			severity += p.pick("〔依据待核〕", " (assumed)")
		}
		t.add(i.Case, i.Rule, severity, i.ActName.In(p.config.Lang), p.moment(i.OccurredAt), i.Basis)
		t.note(either(i.Detail.In(p.config.Lang), i.Says.In(p.config.Lang)))
	}
	return t, nil
}

// countFindings prints how often each rule was broken.
func (p *program) countFindings(c *cobra.Command, k *client, q url.Values) error {
	var raw json.RawMessage
	if err := k.get(c.Context(), "/v1/findings/counts", q, &raw); err != nil {
		return err
	}
	if p.json {
		return p.printJSON(p.out, raw)
	}
	var answer struct {
		Items []struct {
			Procedure string        `json:"procedure"`
			Rule      string        `json:"rule"`
			Says      rulebook.Text `json:"says"`
			Severity  string        `json:"severity"`
			Findings  int64         `json:"findings"`
			Cases     int64         `json:"cases"`
		} `json:"items"`
		Position uint64 `json:"position"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return err
	}
	t := table{
		head:  []string{p.pick("规则", "RULE"), p.pick("偏差", "FINDINGS"), p.pick("案件", "CASES"), p.pick("程度", "SEVERITY"), p.pick("程序", "PROCEDURE"), p.pick("内容", "SAYS")},
		right: []int{1, 2},
	}
	for _, i := range answer.Items {
		t.add(i.Rule, grouped(i.Findings), grouped(i.Cases), p.severity(i.Severity), i.Procedure, i.Says.In(p.config.Lang))
	}
	if err := t.write(p.out); err != nil {
		return err
	}
	p.say("位置 %d。", "Position %d.", answer.Position)
	return nil
}
