package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"liuhen/export"
)

// caseFilters choose whole cases, as the ledger does.
var caseFilters = []filter{
	{"agency", "only this agency"},
	{"procedure", "only this procedure"},
	{"officer", "id of an officer who took part"},
	{"stage", "only cases in this stage"},
	{"from", "opened on this day or later, 2026-01-01"},
	{"to", "opened on this day or before"},
	{"party", "part of a party's name; two Chinese characters are enough"},
	{"q", "part of the case id, a party, a credit code or a document number"},
	{"closed", "true: only closed cases; false: only open ones"},
}

func exportCommand(p *program) *cobra.Command {
	l := &list{
		filters:  caseFilters,
		switches: []filter{{"findings", "only cases with findings"}},
	}
	var format, path string
	var cases []string
	c := &cobra.Command{
		Use:   "export",
		Short: "导出案件供其他工具使用（XES、OCEL 2.0、CSV） · Export cases as an event log for other tools",
		Long: `导出案件供其他工具使用：流程挖掘用 XES、OCEL 2.0（JSON），表格用 CSV。
Export whole cases as an event log for other tools: XES or OCEL 2.0 (JSON) for
process mining, CSV for a spreadsheet. A file whose name ends in .gz is packed.
What you may not read is not in it, and the export stays in the access trail.

XES can be taken in again, in another system, with the shipped mapping liuhen-xes:
the same acts, times, officers and fields under the same procedures.`,
		Example: `  liuhen export --format xes -o cases.xes.gz
  liuhen export --format ocel --procedure penalty-ordinary --from 2026-01-01 -o 2026.jsonocel
  liuhen export --format csv --case 样例-2026-001 --case 样例-2026-002 > cases.csv
  liuhen import --mapping liuhen-xes cases.xes.gz   # in another system`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f := export.Format(format)
			if f.Ending() == "" {
				return usagef("--format is %q: want xes, ocel or csv", format)
			}
			k, err := p.client("export", false)
			if err != nil {
				return err
			}
			q := l.query(c)
			q.Set("format", format)
			if len(cases) > 0 {
				q.Set("case", strings.Join(cases, ","))
			}
			return p.export(c.Context(), k, f, q, path)
		},
	}
	fs := c.Flags()
	for _, f := range l.filters {
		fs.String(f.name, "", f.usage)
	}
	for _, f := range l.switches {
		fs.Bool(f.name, false, f.usage)
	}
	fs.StringVar(&format, "format", "", "xes, ocel or csv")
	fs.StringArrayVar(&cases, "case", nil, "only this case; may be given several times")
	fs.StringVarP(&path, "output", "o", "", "file to write (default: standard output); packed where its name ends in .gz")
	fs.BoolVar(&p.quiet, "quiet", false, "no progress bar")
	required(c, "format")
	p.flags(fs, clientKeys...)
	return c
}

// export copies a log to a file, or to the standard output. A file has its name
// only once it is whole.
func (p *program) export(ctx context.Context, c *client, f export.Format, q url.Values, path string) error {
	resp, err := c.request(ctx, http.MethodGet, "/v1/export", q, nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	total, err := strconv.ParseInt(resp.Header.Get("Liuhen-Records"), 10, 64)
	if err != nil || total == 0 {
		total = -1
	}
	bar := p.bar(total, p.pick("导出", "export"), p.pick("条记录", "records"))
	in := io.TeeReader(resp.Body, &marks{mark: []byte(f.Mark()), bar: bar})
	if path == "" {
		_, err = io.Copy(p.out, in)
	} else {
		err = writeWhole(path, in)
	}
	if err != nil {
		_ = bar.Exit()
		return fmt.Errorf("export: %w", err)
	}
	_ = bar.Finish() // drawing it can fail; the export is done
	return nil
}

// writeWhole writes a file beside its place and puts it there when it is on
// disk.
func writeWhole(path string, in io.Reader) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	var out io.Writer = tmp
	var pack *gzip.Writer
	if strings.HasSuffix(path, ".gz") {
		pack = gzip.NewWriter(tmp)
		out = pack
	}
	_, err = io.Copy(out, in)
	if err == nil && pack != nil {
		err = pack.Close()
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// marks moves a bar on with each mark that goes by.
type marks struct {
	mark []byte
	bar  *progressbar.ProgressBar
	rest []byte // the end of what went by, shorter than a mark
}

func (m *marks) Write(p []byte) (int, error) {
	seen := append(m.rest, p...)
	_ = m.bar.Add(bytes.Count(seen, m.mark)) // drawing it can fail; the export goes on
	// A mark that was counted is not counted again with what comes next.
	if i := bytes.LastIndex(seen, m.mark); i >= 0 {
		seen = seen[i+len(m.mark):]
	}
	if n := len(m.mark) - 1; len(seen) > n {
		seen = seen[len(seen)-n:]
	}
	m.rest = append([]byte(nil), seen...)
	return len(p), nil
}
