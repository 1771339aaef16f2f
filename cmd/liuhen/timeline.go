package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"liuhen/domain"
	"liuhen/domain/rulebook"
)

func timelineCommand(p *program) *cobra.Command {
	var raw string
	l := &list{
		filters: []filter{
			{"at", "as it was at a moment: position:123, recorded:2026-01-01, or of a case occurred:2026-01-01"},
			{"act", "only these acts, separated by commas"},
			{"person", "only what this person recorded or took part in"},
			{"from", "carried out on this day or later, 2026-01-01"},
			{"to", "carried out on this day or before"},
		},
		switches: []filter{
			{"late", "only what was recorded beyond the limit for recording"},
			{"corrected", "only corrections and what they correct"},
			{"findings", "only what has findings"},
			{"newest", "the newest first"},
		},
		rows: timelineRows,
	}
	c := &cobra.Command{
		Use:   "timeline CASE",
		Short: "案件时间线 · The events of a case in order",
		Long: `案件时间线：每个行为的发生时间、记录时间、人员、内容、文书、偏差、更正。
The events of a case: when each was carried out and when it was recorded, by
whom, with fields, documents, findings and corrections. --record prints the
stored bytes of one event as they were hashed.`,
		Example: `  liuhen timeline 样例-005
  liuhen timeline 样例-005 --findings --lang en
  liuhen timeline 样例-005 --record 01957b0e-… | sha256sum`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			k, err := p.client("timeline", false)
			if err != nil {
				return err
			}
			if raw != "" {
				return k.copyTo(c.Context(), p.out, at("v1", "cases", args[0], "records", raw), nil)
			}
			return l.print(c.Context(), p, k, at("v1", "cases", args[0], "timeline"), l.query(c))
		},
	}
	l.asks(p, c)
	c.Flags().StringVar(&raw, "record", "", "print the stored bytes of this event")
	return c
}

type timelineItem struct {
	Revision    int                  `json:"revision"`
	Event       string               `json:"event"`
	Procedure   string               `json:"procedure"`
	Edition     string               `json:"edition"`
	Act         string               `json:"act"`
	ActName     rulebook.Text        `json:"act_name"`
	OccurredAt  time.Time            `json:"occurred_at"`
	RecordedAt  time.Time            `json:"recorded_at"`
	Late        bool                 `json:"late"`
	Actor       string               `json:"actor"`
	ActorName   string               `json:"actor_name"`
	Officers    []rulebook.Officer   `json:"officers"`
	Place       string               `json:"place"`
	Fields      map[string]any       `json:"fields"`
	Documents   []rulebook.Reference `json:"documents"`
	Evidence    []rulebook.Reference `json:"evidence"`
	Findings    []rulebook.Finding   `json:"findings"`
	Corrects    string               `json:"corrects"`
	CorrectedBy string               `json:"corrected_by"`
	Reason      string               `json:"reason"`
	LateReason  string               `json:"late_reason"`
	AlreadyDone bool                 `json:"already_done"`
	Import      *domain.Import       `json:"import"`
}

func timelineRows(p *program, c *client, raw []json.RawMessage) (table, error) {
	items, err := decode[timelineItem](raw)
	if err != nil {
		return table{}, err
	}
	var law *rulebook.Procedure
	if len(items) > 0 {
		law = c.editionOf(items[0].Procedure, items[0].Edition)
	}
	t := table{
		head: []string{
			p.pick("序", "REV"), p.pick("行为", "ACT"), p.pick("发生时间", "OCCURRED"), p.pick("记录时间", "RECORDED"), p.pick("记录人", "BY"), p.pick("执法人员", "OFFICERS"),
		},
		right: []int{0},
	}
	for _, i := range items {
		var officers []string
		for _, o := range i.Officers {
			officers = append(officers, either(o.Name, o.ID))
		}
		recorded := p.moment(i.RecordedAt)
		switch {
		case i.Import != nil:
			recorded += p.pick("〔导入〕", " (imported)")
		case i.Late:
			recorded += p.pick("〔迟录〕", " (late)")
		}
		t.add(fmt.Sprint(i.Revision), i.ActName.In(p.config.Lang), p.moment(i.OccurredAt), recorded, either(i.ActorName, i.Actor), p.listed(officers))
		for _, line := range p.about(law, i) {
			t.note(line)
		}
	}
	return t, nil
}

// about is what else there is to tell of an event, a line each.
func (p *program) about(law *rulebook.Procedure, i timelineItem) []string {
	var lines []string
	line := func(zh, en, text string) {
		if text != "" {
			lines = append(lines, p.pick(zh+"：", en+": ")+text)
		}
	}
	line("地点", "place", i.Place)
	line("内容", "fields", p.fieldsText(law, i.Act, i.Fields))
	line("文书", "documents", p.titles(i.Documents))
	line("证据", "evidence", p.titles(i.Evidence))
	if i.AlreadyDone {
		line("补录", "already done", i.Reason)
	}
	line("迟录原因", "late because", i.LateReason)
	if i.Corrects != "" {
		line("更正", "corrects", i.Corrects+p.pick("，理由：", ", because: ")+i.Reason)
	}
	line("已被更正，见", "corrected by", i.CorrectedBy)
	for _, f := range i.Findings {
		line("偏差 "+f.Rule, "finding "+f.Rule, fmt.Sprintf("[%s] %s", p.severity(string(f.Severity)), either(f.Detail.In(p.config.Lang), f.Says.In(p.config.Lang))))
	}
	if i.Import != nil {
		line("导入自", "imported from", fmt.Sprintf(p.pick("%s，批次 %s，第 %d 行", "%s, batch %s, row %d"), i.Import.Source, i.Import.Batch, i.Import.Row))
	}
	line("事件", "event", i.Event)
	return lines
}

func (p *program) titles(refs []rulebook.Reference) string {
	var all []string
	for _, r := range refs {
		title := r.Title
		if r.Kind != "" && r.Kind != r.Title {
			title = r.Kind + "(" + r.Title + ")"
		}
		all = append(all, title)
	}
	return p.listed(all)
}

// fieldsText is the fields of an act in words: names as the law gives them,
// codes with their meaning, money in yuan.
func (p *program) fieldsText(law *rulebook.Procedure, act string, fields map[string]any) string {
	var known []rulebook.Field
	if law != nil {
		for _, a := range law.Acts {
			if a.Name == act {
				known = a.Fields
			}
		}
	}
	return p.recordText(known, fields)
}

func (p *program) recordText(known []rulebook.Field, values map[string]any) string {
	var parts []string
	told := map[string]bool{}
	for _, f := range known {
		if v, ok := values[f.Name]; ok {
			told[f.Name] = true
			parts = append(parts, f.Title.In(p.config.Lang)+p.pick("＝", "=")+p.valueText(f, v))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !told[name] {
			parts = append(parts, name+p.pick("＝", "=")+p.valueText(rulebook.Field{}, values[name]))
		}
	}
	return strings.Join(parts, p.pick("；", "; "))
}

func (p *program) valueText(f rulebook.Field, v any) string {
	switch v := v.(type) {
	case []any:
		one := f
		one.Many = false
		var parts []string
		for _, item := range v {
			parts = append(parts, p.valueText(one, item))
		}
		return strings.Join(parts, p.pick("、", ", "))
	case map[string]any:
		return p.pick("（", "(") + p.recordText(f.Record, v) + p.pick("）", ")")
	case bool:
		if v {
			return p.pick("是", "yes")
		}
		return p.pick("否", "no")
	case float64:
		if f.Type == "money" {
			return p.yuan(int64(v))
		}
		return strings.TrimSuffix(fmt.Sprintf("%.6f", v), ".000000")
	case string:
		if f.Type == "code" {
			for _, code := range f.Codes {
				if code.Code == v {
					return code.Title.In(p.config.Lang)
				}
			}
		}
		if f.Type == "time" {
			if t, err := time.Parse(time.RFC3339, v); err == nil {
				return p.moment(t)
			}
		}
		return v
	}
	return fmt.Sprint(v)
}

// editionOf asks for a procedure, for the names of its fields; nil where it
// cannot be had, for a timeline can be read without.
func (c *client) editionOf(name, edition string) *rulebook.Procedure {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var law rulebook.Procedure
	if err := c.get(ctx, at("v1", "procedures", name), url.Values{"edition": {edition}}, &law); err != nil {
		return nil
	}
	return &law
}
