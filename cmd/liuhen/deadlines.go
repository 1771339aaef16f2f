package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

func deadlinesCommand(p *program) *cobra.Command {
	l := &list{
		filters: []filter{
			{"at", "as it was at a moment: position:123 or recorded:2026-01-01"},
			{"agency", "only this agency"},
			{"procedure", "only this procedure"},
			{"officer", "id of an officer who took part in the case"},
			{"case", "only this case"},
			{"rule", "only this rule"},
			{"light", "red (passed), yellow (soon) or green"},
			{"provisional", "true: only days that need a calendar that is not published yet; false: only the others"},
		},
		switches: []filter{{"done", "those that have ended instead of those that run"}},
		rows:     deadlineRows,
	}
	c := &cobra.Command{
		Use:   "deadlines",
		Short: "时限看板，剩余时间少的在前 · The deadline board, least time left first",
		Example: `  liuhen deadlines
  liuhen deadlines --light red --json
  liuhen deadlines --officer zhang-san --csv > due.csv`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			k, err := p.client("deadlines", false)
			if err != nil {
				return err
			}
			return l.print(c.Context(), p, k, "/v1/deadlines", l.query(c))
		},
	}
	l.asks(p, c)
	return c
}

type deadlineItem struct {
	Case        string        `json:"case"`
	Rule        string        `json:"rule"`
	Says        rulebook.Text `json:"says"`
	Basis       string        `json:"basis"`
	ActName     rulebook.Text `json:"act_name"`
	StartOn     calendar.Date `json:"start_on"`
	Limit       string        `json:"limit"`
	Due         calendar.Date `json:"due"`
	SecondsLeft int64         `json:"seconds_left"`
	Light       string        `json:"light"`
	Provisional bool          `json:"provisional"`
	Paused      bool          `json:"paused"`
	DoneOn      calendar.Date `json:"done_on"`
	Late        bool          `json:"late"`
}

func deadlineRows(p *program, _ *client, raw []json.RawMessage) (table, error) {
	items, err := decode[deadlineItem](raw)
	if err != nil {
		return table{}, err
	}
	t := table{
		head: []string{
			p.pick("灯", "LIGHT"), p.pick("剩余", "LEFT"), p.pick("届满日", "DUE"), p.pick("案号", "CASE"), p.pick("须作出", "TO DO"),
			p.pick("起算", "FROM"), p.pick("期限", "LIMIT"), p.pick("规则", "RULE"), p.pick("依据", "ARTICLE"),
		},
		right: []int{1},
	}
	for _, i := range items {
		limit := i.Limit
		if parsed, err := calendar.ParseLimit(limit); err == nil {
			limit = parsed.In(p.config.Lang)
		}
		due := p.day(i.Due)
		if i.Provisional {
			due += p.pick("暂定", " provisional")
		}
		if i.Paused {
			due += p.pick("中止中", " paused")
		}
		t.add(p.light(i.Light), p.left(i), due, i.Case, i.ActName.In(p.config.Lang), i.StartOn.String(), limit, i.Rule, i.Basis)
	}
	return t, nil
}

// left says how much time is left of a limit, or how it ended.
func (p *program) left(i deadlineItem) string {
	const day = 24 * 60 * 60
	switch {
	case !i.DoneOn.IsZero() && i.Late:
		return p.pick("逾期办结", "done late")
	case !i.DoneOn.IsZero():
		return p.pick("按期办结", "done")
	case i.SecondsLeft < 0:
		return fmt.Sprintf(p.pick("逾期 %d 日", "%dd late"), (-i.SecondsLeft+day-1)/day)
	case i.SecondsLeft < day:
		return p.pick("今日", "today")
	}
	return fmt.Sprintf(p.pick("%d 日", "%dd"), i.SecondsLeft/day)
}
