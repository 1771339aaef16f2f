package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

func ledgerCommand(p *program) *cobra.Command {
	l := &list{
		filters: []filter{
			{"at", "as it was at a moment: position:123 or recorded:2026-01-01"},
			{"agency", "only this agency"},
			{"procedure", "only this procedure"},
			{"officer", "id of an officer who took part"},
			{"stage", "only cases in this stage"},
			{"from", "opened on this day or later, 2026-01-01"},
			{"to", "opened on this day or before"},
			{"party", "part of a party's name; two Chinese characters are enough"},
			{"q", "part of the case id, a party, a credit code or a document number"},
			{"closed", "true: only closed cases; false: only open ones"},
		},
		switches: []filter{{"findings", "only cases with findings"}},
		rows:     ledgerRows,
	}
	c := &cobra.Command{
		Use:   "ledger",
		Short: "执法台账 · The ledger: one row a case, the last opened first",
		Example: `  liuhen ledger
  liuhen ledger --party 科技 --closed false
  liuhen ledger --from 2026-01-01 --stage investigation --csv > ledger.csv`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			k, err := p.client("ledger", false)
			if err != nil {
				return err
			}
			q := l.query(c)
			if !l.csv && !q.Has("at") {
				q.Set("total", "true")
			}
			return l.print(c.Context(), p, k, "/v1/ledger", q)
		},
	}
	l.asks(p, c)
	return c
}

type ledgerItem struct {
	Case          string         `json:"case"`
	ProcedureName rulebook.Text  `json:"procedure_name"`
	StageName     rulebook.Text  `json:"stage_name"`
	Closed        bool           `json:"closed"`
	Imported      bool           `json:"imported"`
	Opened        calendar.Date  `json:"opened"`
	LastActName   rulebook.Text  `json:"last_act_name"`
	LastAt        time.Time      `json:"last_at"`
	Revision      int            `json:"revision"`
	Parties       []string       `json:"parties"`
	Findings      map[string]int `json:"findings"`
	Officers      []struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"officers"`
}

func ledgerRows(p *program, _ *client, raw []json.RawMessage) (table, error) {
	items, err := decode[ledgerItem](raw)
	if err != nil {
		return table{}, err
	}
	t := table{
		head: []string{
			p.pick("案号", "CASE"), p.pick("当事人", "PARTIES"), p.pick("阶段", "STAGE"), p.pick("立案", "OPENED"), p.pick("最近行为", "LAST ACT"),
			p.pick("时间", "AT"), p.pick("记录", "RECORDS"), p.pick("偏差", "FINDINGS"), p.pick("承办", "OFFICERS"), p.pick("程序", "PROCEDURE"),
		},
		right: []int{6, 7},
	}
	for _, i := range items {
		findings, officers := 0, []string{}
		for _, n := range i.Findings {
			findings += n
		}
		for _, o := range i.Officers {
			officers = append(officers, either(o.Name, o.ID))
		}
		procedure := i.ProcedureName.In(p.config.Lang)
		if i.Imported {
			procedure += p.pick("〔导入〕", " (imported)")
		}
		t.add(i.Case, shortened(p.listed(i.Parties), 28), i.StageName.In(p.config.Lang), i.Opened.String(), i.LastActName.In(p.config.Lang),
			p.moment(i.LastAt), fmt.Sprint(i.Revision), fmt.Sprint(findings), shortened(p.listed(officers), 28), procedure)
	}
	return t, nil
}

// either is the first of two texts that is not empty.
func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// shortened cuts a text to so many cells of a terminal.
func shortened(s string, cells int) string {
	if width(s) <= cells {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if width(b.String())+width(string(r)) > cells-1 {
			break
		}
		b.WriteRune(r)
	}
	return b.String() + "…"
}
