package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"liuhen/domain/rulebook"
)

func reactionsCommand(p *program) *cobra.Command {
	var closed bool
	c := &cobra.Command{
		Use:   "reactions",
		Short: "系统反应：进度和搁置的记录 · What happens because of what was recorded",
		Long: `系统反应：因记录而须办的事项，各自的进度，以及搁置待人工处理的记录。
What must happen because something was recorded: how far each reaction has come,
and the records that one could not react to and that wait for a person. Such a
record is tried again (retry) when the reason is gone, or dropped with a reason.`,
		Example: `  liuhen reactions
  liuhen reactions --closed --json
  liuhen reactions retry publication-task.1204
  liuhen reactions drop publication-task.1204 --reason 已人工立公示案卷`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q for %q", args[0], c.CommandPath())
			}
			return p.listReactions(c.Context(), closed)
		},
	}
	c.Flags().BoolVar(&closed, "closed", false, "also the records that were retried or dropped")
	p.flags(c.Flags(), clientKeys...)
	c.AddCommand(reactionsRetryCommand(p), reactionsDropCommand(p))
	return c
}

type reactionItem struct {
	Name     string        `json:"name"`
	Says     rulebook.Text `json:"says"`
	Position uint64        `json:"position"`
	Lag      int64         `json:"lag"`
	SetAside int64         `json:"set_aside"`
	Standing []struct {
		Position uint64    `json:"position"`
		Since    time.Time `json:"since"`
		Error    string    `json:"error"`
	} `json:"standing"`
	Trouble string `json:"trouble"`
}

type tickItem struct {
	Name  string        `json:"name"`
	Says  rulebook.Text `json:"says"`
	Every float64       `json:"every_seconds"`
	Last  time.Time     `json:"last"`
	Error string        `json:"error"`
	Done  int64         `json:"done"`
	Fails int64         `json:"failures"`
}

type asideItem struct {
	ID       string    `json:"id"`
	Case     string    `json:"case"`
	Type     string    `json:"type"`
	At       time.Time `json:"at"`
	Reason   string    `json:"reason"`
	Retries  int64     `json:"retries"`
	Outcome  string    `json:"outcome"`
	ClosedAt time.Time `json:"closed_at"`
	ClosedBy string    `json:"closed_by"`
	Why      string    `json:"why"`
}

// listReactions prints the reactions, and below them what they have set aside.
func (p *program) listReactions(ctx context.Context, closed bool) error {
	c, err := p.client("reactions", true)
	if err != nil {
		return err
	}
	var all struct {
		Items    json.RawMessage `json:"items"`
		Ticks    json.RawMessage `json:"ticks"`
		SetAside json.RawMessage `json:"set_aside"`
	}
	if err := c.get(ctx, "/v1/reactions", nil, &all); err != nil {
		return err
	}
	query := url.Values{}
	if closed {
		query.Set("closed", "true")
	}
	var aside struct {
		Items json.RawMessage `json:"items"`
	}
	if err := c.get(ctx, "/v1/reactions/set-aside", query, &aside); err != nil {
		return err
	}
	all.SetAside = aside.Items
	if p.json {
		return p.printJSON(p.out, all)
	}
	var items []reactionItem
	var ticks []tickItem
	var asides []asideItem
	for _, part := range []struct {
		raw  json.RawMessage
		into any
	}{{all.Items, &items}, {all.Ticks, &ticks}, {all.SetAside, &asides}} {
		if err := json.Unmarshal(part.raw, part.into); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
	return p.printReactions(items, ticks, asides)
}

func (p *program) printReactions(items []reactionItem, ticks []tickItem, asides []asideItem) error {
	t := table{
		head:  []string{p.pick("反应", "REACTION"), p.pick("位置", "POSITION"), p.pick("待处理", "LAG"), p.pick("搁置", "SET ASIDE")},
		right: []int{1, 2, 3},
	}
	for _, i := range items {
		t.add(i.Name, fmt.Sprint(i.Position), grouped(i.Lag), grouped(i.SetAside))
		t.note(i.Says.In(p.config.Lang))
		for _, s := range i.Standing {
			t.note(fmt.Sprintf(p.pick("停在位置 %d，自 %s：%s", "stands still at position %d since %s: %s"), s.Position, p.moment(s.Since), s.Error))
		}
		if i.Trouble != "" {
			t.note(p.pick("无法读取：", "cannot read: ") + i.Trouble)
		}
	}
	if err := t.write(p.out); err != nil {
		return err
	}
	if len(ticks) > 0 {
		t := table{
			head:  []string{p.pick("定时", "FROM TIME TO TIME"), p.pick("间隔", "EVERY"), p.pick("最近", "LAST"), p.pick("完成", "DONE"), p.pick("失败", "FAILED")},
			right: []int{3, 4},
		}
		for _, i := range ticks {
			t.add(i.Name, time.Duration(i.Every*float64(time.Second)).String(), p.moment(i.Last), grouped(i.Done), grouped(i.Fails))
			t.note(either(i.Error, i.Says.In(p.config.Lang)))
		}
		fmt.Fprintln(p.out)
		if err := t.write(p.out); err != nil {
			return err
		}
	}
	if len(asides) == 0 {
		return nil
	}
	fmt.Fprintln(p.out)
	return p.printAsides(asides)
}

func (p *program) printAsides(asides []asideItem) error {
	t := table{head: []string{
		p.pick("搁置编号", "SET ASIDE"), p.pick("案号", "CASE"), p.pick("行为", "ACT"), p.pick("搁置时间", "AT"), p.pick("处理", "OUTCOME"),
	}}
	for _, a := range asides {
		outcome := ""
		switch a.Outcome {
		case "retried":
			outcome = p.pick("已重试成功", "retried")
		case "dropped":
			outcome = p.pick("已放弃", "dropped")
		}
		t.add(a.ID, a.Case, a.Type, p.moment(a.At), outcome)
		t.note(a.Reason)
		if a.Retries > 0 && a.Outcome == "" {
			t.note(fmt.Sprintf(p.pick("已人工重试 %d 次", "retried by hand %d times"), a.Retries))
		}
		if a.ClosedBy != "" {
			t.note(a.ClosedBy + " " + p.moment(a.ClosedAt) + " " + a.Why)
		}
	}
	return t.write(p.out)
}

func reactionsRetryCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "retry ID",
		Short: "重试搁置的记录 · Let a reaction try a record again",
		Long: `重试搁置的记录。
Let a reaction try a record again that it could not react to. Exit code 1 if it
fails again; the record then stays set aside, with the new reason.`,
		Example: "  liuhen reactions retry publication-task.1204",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return p.changeAside(c.Context(), args[0], "retry", nil, "%s 已重试成功", "%s went well")
		},
	}
	p.flags(c.Flags(), clientKeys...)
	return c
}

func reactionsDropCommand(p *program) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "drop ID",
		Short: "说明理由，放弃搁置的记录 · Say why a record needs no reaction",
		Long: `说明理由，放弃搁置的记录；理由和放弃的人留存。
Say why a record that was set aside needs no reaction. The reason is kept, with who
gave it.`,
		Example: "  liuhen reactions drop publication-task.1204 --reason 已人工立公示案卷",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return p.changeAside(c.Context(), args[0], "drop", map[string]string{"reason": reason}, "%s 已放弃", "%s is dropped")
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why the record needs no reaction")
	required(c, "reason")
	p.flags(c.Flags(), clientKeys...)
	return c
}

func (p *program) changeAside(ctx context.Context, id, what string, body any, zh, en string) error {
	c, err := p.client("reactions "+what, true)
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := c.call(ctx, http.MethodPost, at("v1", "reactions", "set-aside", id, what), nil, nil, body, &raw); err != nil {
		return err
	}
	if p.json {
		return p.printJSON(p.out, raw)
	}
	p.say(zh, en, id)
	return nil
}
