package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"
)

func rebuildCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "rebuild [MODEL…]",
		Short: "从记录重建读模型并逐行比对 · Fill read models anew from the record and compare",
		Long: `从记录重建读模型：在旧表旁边重新填写，逐行比对，然后切换；期间查询不中断。
Fill read models anew from the record, beside the ones that are read, compare the
two row by row and switch. Reading goes on all the while. Exit code 1 if there was
a difference: the new rows, which come from the record, have taken its place.`,
		Example: `  liuhen rebuild
  liuhen rebuild ledger --json`,
		RunE: func(c *cobra.Command, models []string) error { return p.rebuild(c.Context(), models) },
	}
	c.Flags().BoolVar(&p.quiet, "quiet", false, "no progress bar")
	p.flags(c.Flags(), clientKeys...)
	return c
}

// A rebuildLine is one line of the answer of POST /v1/rebuilds: how far it is,
// and at the end what was found.
type rebuildLine struct {
	Progress *struct {
		Model    string `json:"model"`
		Phase    string `json:"phase"`
		Position int64  `json:"position"`
		Target   int64  `json:"target"`
	} `json:"progress"`
	Report  *rebuildReport `json:"report"`
	Problem *problem       `json:"problem"`
}

type rebuildReport struct {
	Models []struct {
		Model       string            `json:"model"`
		Version     int               `json:"version"`
		Position    int64             `json:"position"`
		Rows        int64             `json:"rows"`
		Differences int64             `json:"differences"`
		Examples    []json.RawMessage `json:"examples,omitempty"`
		Filled      float64           `json:"filled"`
		Seconds     float64           `json:"seconds"`
	} `json:"models"`
}

func (p *program) rebuild(ctx context.Context, models []string) error {
	c, err := p.client("rebuild", true)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string][]string{"models": models})
	if err != nil {
		return err
	}
	resp, err := c.request(ctx, http.MethodPost, "/v1/rebuilds", nil, nil, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	report, err := p.followRebuild(bufio.NewScanner(resp.Body))
	if err != nil {
		return err
	}
	if err := p.printRebuild(report); err != nil {
		return err
	}
	for _, m := range report.Models {
		if m.Differences > 0 {
			return fmt.Errorf("%s had rows that were not as the record has them; they are now", m.Model)
		}
	}
	return nil
}

// followRebuild shows how far all models are together, until the report comes.
func (p *program) followRebuild(lines *bufio.Scanner) (rebuildReport, error) {
	lines.Buffer(nil, 16<<20)
	bar := p.bar(-1, p.pick("重建", "rebuild"), "records")
	defer func() { _ = bar.Exit() }() // drawing can fail; the rebuild goes on
	reached := map[string]int64{}
	for lines.Scan() {
		var line rebuildLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return rebuildReport{}, fmt.Errorf("answer: %w", err)
		}
		switch {
		case line.Problem != nil:
			return rebuildReport{}, line.Problem
		case line.Report != nil:
			return *line.Report, nil
		case line.Progress != nil:
			reached[line.Progress.Model] = line.Progress.Position
			sum := int64(0)
			for _, n := range reached {
				sum += n
			}
			bar.Describe(line.Progress.Phase + " " + line.Progress.Model)
			bar.ChangeMax64(max(line.Progress.Target*int64(len(reached)), sum+1))
			_ = bar.Set64(sum)
		}
	}
	if err := lines.Err(); err != nil {
		return rebuildReport{}, fmt.Errorf("answer: %w", err)
	}
	return rebuildReport{}, fmt.Errorf("the answer ended before the report; see the log of the system")
}

func (p *program) printRebuild(r rebuildReport) error {
	if p.json {
		return p.printJSON(p.out, r)
	}
	t := table{
		head:  []string{p.pick("读模型", "MODEL"), p.pick("版本", "VERSION"), p.pick("位置", "POSITION"), p.pick("行数", "ROWS"), p.pick("差异", "DIFFERENCES"), p.pick("秒", "SECONDS")},
		right: []int{1, 2, 3, 4, 5},
	}
	for _, m := range r.Models {
		t.add(m.Model, fmt.Sprint(m.Version), fmt.Sprint(m.Position), grouped(m.Rows), grouped(m.Differences), fmt.Sprintf("%.1f", m.Seconds))
		for _, e := range m.Examples {
			t.note(string(e))
		}
	}
	return t.write(p.out)
}
