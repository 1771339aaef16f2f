package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"liuhen/domain/rulebook"
)

// A filter is a flag of a list that goes into the question as it is.
type filter struct{ name, usage string }

// A list is a command that asks for a filtered list and prints it: as a table
// of the first so many, as JSON, or whole as CSV.
type list struct {
	filters  []filter
	switches []filter // filters that are there or not
	rows     func(p *program, c *client, items []json.RawMessage) (table, error)

	limit int
	csv   bool
}

// asks gives a command the flags of a list.
func (l *list) asks(p *program, c *cobra.Command) {
	fs := c.Flags()
	for _, f := range l.filters {
		fs.String(f.name, "", f.usage)
	}
	for _, f := range l.switches {
		fs.Bool(f.name, false, f.usage)
	}
	fs.IntVar(&l.limit, "limit", 50, "how many to print; 0 is all")
	fs.BoolVar(&l.csv, "csv", false, "print the whole filtered list as CSV, for a spreadsheet")
	p.flags(fs, clientKeys...)
}

// query makes the question from the flags that were given.
func (l *list) query(c *cobra.Command) url.Values {
	q := url.Values{}
	for _, f := range append(append([]filter{}, l.filters...), l.switches...) {
		if c.Flags().Changed(f.name) {
			q.Set(strings.ReplaceAll(f.name, "-", "_"), c.Flags().Lookup(f.name).Value.String())
		}
	}
	return q
}

// A page is how the API answers a list.
type page struct {
	Items    []json.RawMessage `json:"items"`
	Total    *int64            `json:"total,omitempty"`
	AtLeast  bool              `json:"total_at_least,omitempty"`
	Next     string            `json:"next,omitempty"`
	Position uint64            `json:"position"`
	At       *asOf             `json:"at,omitempty"`
}

// An asOf says of which moment an answer is; see GET /v1/cases/{case}.
type asOf struct {
	Moment   string        `json:"moment"`
	Position uint64        `json:"position"`
	Clock    time.Time     `json:"clock"`
	Known    string        `json:"known"`
	Judged   string        `json:"judged"`
	Says     rulebook.Text `json:"says"`
}

// perPage is how many items are asked for at once.
const perPage = 500

// print asks and prints.
func (l *list) print(ctx context.Context, p *program, c *client, path string, q url.Values) error {
	if l.csv {
		q.Set("format", "csv")
		return c.copyTo(ctx, p.out, path, q)
	}
	whole, err := l.fetch(ctx, c, path, q)
	if err != nil {
		return err
	}
	if p.json {
		return p.printJSON(p.out, whole)
	}
	t, err := l.rows(p, c, whole.Items)
	if err != nil {
		return err
	}
	if len(t.rows) == 0 {
		p.say("没有符合条件的记录（位置 %d）。", "Nothing found (position %d).", whole.Position)
		return nil
	}
	if err := t.write(p.out); err != nil {
		return err
	}
	p.printFooter(whole)
	return nil
}

func (p *program) printFooter(whole page) {
	if whole.At != nil {
		fmt.Fprintln(p.out, whole.At.Says.In(p.config.Lang))
	}
	shown, position := len(whole.Items), whole.Position
	switch {
	case whole.AtLeast:
		p.say("至少 %d 项，列出前 %d 项（位置 %d）。", "%d or more, the first %d shown (position %d).", *whole.Total, shown, position)
	case whole.Total != nil && *whole.Total > int64(shown):
		p.say("共 %d 项，列出前 %d 项（位置 %d）。", "%d in all, the first %d shown (position %d).", *whole.Total, shown, position)
	case whole.Next != "":
		p.say("列出前 %d 项，后面还有；用 --limit 多列（位置 %d）。", "The first %d shown, there are more: see --limit (position %d).", shown, position)
	default:
		p.say("共 %d 项（位置 %d）。", "%d in all (position %d).", shown, position)
	}
}

// fetch follows the pages until there are enough.
func (l *list) fetch(ctx context.Context, c *client, path string, q url.Values) (page, error) {
	if l.limit < 0 {
		return page{}, usagef("--limit is %d: want 0 (all) or more", l.limit)
	}
	whole := page{Items: []json.RawMessage{}}
	for {
		size := perPage
		if l.limit > 0 {
			size = min(size, l.limit-len(whole.Items))
		}
		q.Set("limit", strconv.Itoa(size))
		var next page
		if err := c.get(ctx, path, q, &next); err != nil {
			return page{}, err
		}
		whole.Items = append(whole.Items, next.Items...)
		if whole.Total == nil {
			whole.Total, whole.AtLeast, whole.Position = next.Total, next.AtLeast, next.Position
		}
		whole.Next, whole.At = next.Next, next.At
		if next.Next == "" || l.limit > 0 && len(whole.Items) >= l.limit {
			return whole, nil
		}
		q.Set("cursor", next.Next)
	}
}

// decode reads the items of a list.
func decode[T any](items []json.RawMessage) ([]T, error) {
	out := make([]T, len(items))
	for i, raw := range items {
		if err := json.Unmarshal(raw, &out[i]); err != nil {
			return nil, fmt.Errorf("item %d of the answer: %w", i+1, err)
		}
	}
	return out, nil
}
