package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"
)

func statsCommand(p *program) *cobra.Command {
	var agency string
	c := &cobra.Command{
		Use:   "stats",
		Short: "统计记录和案件，按程序和行为 · Count records and cases, per procedure and act",
		Example: `  liuhen stats
  liuhen stats --agency 210100-kj --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			q := url.Values{}
			if agency != "" {
				q.Set("agency", agency)
			}
			return p.stats(c.Context(), q)
		},
	}
	c.Flags().StringVar(&agency, "agency", "", "only this agency")
	p.flags(c.Flags(), clientKeys...)
	return c
}

func (p *program) stats(ctx context.Context, q url.Values) error {
	c, err := p.client("stats", false)
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := c.get(ctx, "/v1/stats", q, &raw); err != nil {
		return err
	}
	if p.json {
		return p.printJSON(p.out, raw)
	}
	var s struct {
		Records  int64  `json:"records"`
		Cases    int64  `json:"cases"`
		Findings int64  `json:"findings"`
		Position uint64 `json:"position"`
		Acts     []struct {
			Agency      string `json:"agency"`
			Procedure   string `json:"procedure"`
			Act         string `json:"act"`
			Records     int64  `json:"records"`
			Opened      int64  `json:"opened"`
			Corrections int64  `json:"corrections"`
			Late        int64  `json:"late"`
			Imported    int64  `json:"imported"`
			Findings    int64  `json:"findings"`
		} `json:"acts"`
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	t := table{
		head: []string{
			p.pick("机关", "AGENCY"), p.pick("程序", "PROCEDURE"), p.pick("行为", "ACT"), p.pick("记录", "RECORDS"), p.pick("立案", "OPENED"),
			p.pick("更正", "CORRECTIONS"), p.pick("迟录", "LATE"), p.pick("导入", "IMPORTED"), p.pick("偏差", "FINDINGS"),
		},
		right: []int{3, 4, 5, 6, 7, 8},
	}
	for _, a := range s.Acts {
		t.add(a.Agency, a.Procedure, a.Act, grouped(a.Records), grouped(a.Opened), grouped(a.Corrections), grouped(a.Late), grouped(a.Imported), grouped(a.Findings))
	}
	if len(t.rows) > 0 {
		if err := t.write(p.out); err != nil {
			return err
		}
	}
	p.say("共 %s 条记录，%s 个案件，%s 项偏差（位置 %d）。", "%s records, %s cases, %s findings (position %d).",
		grouped(s.Records), grouped(s.Cases), grouped(s.Findings), s.Position)
	return nil
}
