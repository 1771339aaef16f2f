package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"liuhen/intake"
)

func importCommand(p *program) *cobra.Command {
	var mapping string
	var o intake.Options
	c := &cobra.Command{
		Use:   "import --mapping FILE FILE…",
		Short: "导入其他系统的日志（CSV、XES，可压缩） · Import logs of other systems",
		Long: `导入其他系统的日志（CSV、XES，可用 gzip 压缩）。
Import logs of other systems: CSV or XES, gzipped or not. A mapping file says
which column is the case, the act, the time, the officer and the fields. Every
record is marked as imported with source, batch and row; what a rule would refuse
is taken with a finding. A killed import goes on where it was when it is started
again, and no row is ever recorded twice.

Shipped mappings, which can be named instead of a file: ` + strings.Join(intake.Shipped(), ", ") + `.`,
		Example: `  liuhen import --mapping traffic-fine-csv fines.csv.gz
  liuhen import --mapping our-old-system.yaml --dry-run --report rows.csv 2025.csv 2026.csv
  liuhen import --mapping our-old-system.yaml --source 旧执法系统 2025.csv`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, files []string) error {
			m, err := intake.LoadMapping(mapping)
			if err != nil {
				return err
			}
			o.Mapping = m
			if o.Source == "" {
				o.Source = m.Name
			}
			return p.importFiles(c.Context(), o, files)
		},
	}
	fs := c.Flags()
	fs.StringVar(&mapping, "mapping", "", "mapping file, or the name of a shipped one")
	fs.StringVar(&o.Source, "source", "", "the system that the logs come from (default: the name of the mapping)")
	fs.StringVar(&o.Batch, "batch", "", "name of this import (default: made of the first file)")
	fs.StringVar(&o.Agency, "agency", "", "agency of the cases (default: the mapping's)")
	fs.BoolVar(&o.DryRun, "dry-run", false, "read, map and judge, but record nothing")
	fs.BoolVar(&o.Strict, "strict", false, "XES that breaks its schema is an error")
	fs.StringVar(&o.Report, "report", "", "write what became of each row to this file (.csv or .jsonl)")
	fs.StringVar(&o.State, "state", stateFolder(), "folder that remembers how far an import has come")
	fs.BoolVar(&p.quiet, "quiet", false, "no progress bar")
	required(c, "mapping")
	p.flags(fs, clientKeys...)
	return c
}

// stateFolder is where an import remembers how far it is; "" where this user
// has no such place.
func stateFolder() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "liuhen", "import")
}

func (p *program) importFiles(ctx context.Context, o intake.Options, files []string) error {
	if o.State != "" {
		if err := os.MkdirAll(o.State, 0o700); err != nil {
			return err
		}
	}
	c, err := p.client("import "+o.Mapping.Name, true)
	var sink intake.Sink
	switch {
	case err == nil:
		sink = c.importBatch
	case !o.DryRun:
		return err
	default:
		fmt.Fprintln(p.errOut, p.pick("没有运行中的系统：只检查映射，不按规则判断。", "No system is running: rows are mapped, but not judged by the rules."))
	}
	began := time.Now()
	bar := p.bar(-1, p.pick("导入", "import"), "")
	report, err := intake.Run(ctx, o, files, sink, func(at intake.Progress) {
		bar.ChangeMax64(at.BytesTotal)
		bar.Describe(fmt.Sprintf(p.pick("导入 %s：%s 行，%s 行/秒", "import %s: %s rows, %s rows/s"), at.File, grouped(at.Rows), grouped(int64(at.Rate))))
		_ = bar.Set64(at.Bytes) // drawing it can fail; the import goes on
	})
	_ = bar.Exit()
	if printErr := p.printImport(report, time.Since(began)); err == nil {
		err = printErr
	}
	var file *intake.FileError
	if errors.As(err, &file) {
		return fmt.Errorf("import: %w", err)
	}
	return err
}

// importBatch is a sink over POST /v1/imports. A batch is safe to send again.
func (c *client) importBatch(ctx context.Context, b intake.Batch) ([]intake.Outcome, error) {
	return c.importRows(ctx, b)
}

// importRows hands in a body of POST /v1/imports and returns what became of
// each row.
func (c *client) importRows(ctx context.Context, body any) ([]intake.Outcome, error) {
	var answer struct {
		Results []struct {
			Result   intake.Result `json:"result"`
			Why      string        `json:"why"`
			Event    string        `json:"event"`
			Findings int           `json:"findings"`
		} `json:"results"`
	}
	err := retrying(ctx, func() error {
		return c.call(ctx, http.MethodPost, "/v1/imports", nil, nil, body, &answer)
	})
	if err != nil {
		return nil, err
	}
	outcomes := make([]intake.Outcome, len(answer.Results))
	for i, r := range answer.Results {
		outcomes[i] = intake.Outcome{Result: r.Result, Why: r.Why, Event: r.Event, Findings: r.Findings}
	}
	return outcomes, nil
}

func (p *program) printImport(r intake.Report, took time.Duration) error {
	if p.json {
		return p.printJSON(p.out, r)
	}
	if len(r.Files) == 0 {
		return nil
	}
	results := []intake.Result{intake.Taken, intake.Repaired, intake.Already, intake.Refused}
	t := table{
		head:  []string{p.pick("行为", "ACT"), p.pick("采用", "TAKEN"), p.pick("修补后采用", "REPAIRED"), p.pick("此前已导入", "ALREADY"), p.pick("拒绝", "REFUSED")},
		right: []int{1, 2, 3, 4},
	}
	for _, act := range slices.Sorted(maps.Keys(r.Acts)) {
		cells := []string{act}
		for _, result := range results {
			cells = append(cells, grouped(r.Acts[act][result]))
		}
		t.add(cells...)
	}
	total := []string{p.pick("合计", "total")}
	for _, result := range results {
		total = append(total, grouped(r.Results[result]))
	}
	t.add(total...)
	if err := t.write(p.out); err != nil {
		return err
	}
	for _, f := range r.Files {
		for _, note := range f.Notes {
			p.say("注意：%s", "note: %s", note.String())
		}
	}
	for _, l := range r.Refusals {
		p.say("拒绝：%s 第 %d 行（%s）：%s", "refused: %s line %d (%s): %s", l.File, l.Line, l.Case, l.Detail)
	}
	if r.DryRun {
		p.say("试运行，未记录任何内容。", "Dry run: nothing was recorded.")
	}
	rate := float64(r.Rows) / max(took.Seconds(), 0.001)
	p.say("%s 行，%s 项偏差，用时 %s，每秒 %s 行；来源 %s，批次 %s。", "%s rows, %s findings, in %s, %s rows/s; source %s, batch %s.",
		grouped(r.Rows), grouped(r.Findings), took.Round(100*time.Millisecond), grouped(int64(rate)), r.Source, r.Batch)
	return nil
}
