package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"liuhen/domain/rulebook"
	"liuhen/intake"
	"liuhen/sample"
)

func sampleCommand(p *program) *cobra.Command {
	var o sample.YearOptions
	var dryRun, yes, report bool
	c := &cobra.Command{
		Use:   "sample --year 2022",
		Short: "写入一个虚构机关的一整年，或统计其年报数字 · Fill in a synthetic year, or count its report",
		Long: `写入一个虚构机关的一整年：年度报告中的每个数字都能从记录的行为中数出来。
Fill in the synthetic year of a bureau, through the same road as any import: every
number of its annual report can be counted from the acts. Every record says that it
is a sample (source, batch, row) and when it was really made. The same seed gives
the same year, and running it again doubles nothing; another seed is another bureau.

What is recorded stays for good. So the command refuses a system that holds
anything else than samples, unless --yes is given.

--report writes nothing: it reads the events of the system and prints each number
of the report beside what was counted.`,
		Example: `  liuhen sample --year 2022
  liuhen sample --year 2022 --report
  liuhen sample --year 2022 --dry-run --scale 10`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			book, err := p.book()
			if err != nil {
				return err
			}
			year, err := sample.NewYear(book, o)
			if err != nil {
				return usagef("%v", err)
			}
			switch {
			case report:
				return p.reportYear(c.Context(), year, o)
			case dryRun:
				return p.countYear(year)
			}
			return p.fillYear(c.Context(), year, o, yes)
		},
	}
	fs := c.Flags()
	fs.IntVar(&o.Number, "year", 0, "which year; there is 2022")
	fs.Uint64Var(&o.Seed, "seed", 1, "what the invented names, times and fields are drawn from")
	fs.IntVar(&o.Scale, "scale", 1, "so many such years in one")
	fs.BoolVar(&dryRun, "dry-run", false, "count the acts and record nothing; no system is needed")
	fs.BoolVar(&yes, "yes", false, "also into a system that holds other records")
	fs.BoolVar(&report, "report", false, "count the numbers of the annual report from what is recorded")
	fs.BoolVar(&p.quiet, "quiet", false, "no progress bar")
	c.MarkFlagsMutuallyExclusive("dry-run", "report")
	required(c, "year")
	p.flags(fs, append([]string{"law"}, clientKeys...)...)
	return c
}

// countYear tells how many cases and acts there would be.
func (p *program) countYear(year *sample.Year) error {
	type tally struct {
		Procedure string `json:"procedure"`
		Cases     int    `json:"cases"`
		Acts      int    `json:"acts"`
	}
	counts := map[string]*tally{}
	seen := map[string]bool{}
	total := tally{}
	for e, err := range year.Entries() {
		if err != nil {
			return err
		}
		t := counts[e.Procedure]
		if t == nil {
			t = &tally{Procedure: e.Procedure}
			counts[e.Procedure] = t
		}
		t.Acts++
		total.Acts++
		if id := string(e.Case); !seen[id] {
			seen[id] = true
			t.Cases++
			total.Cases++
		}
	}
	procedure, more := year.ReportActs()
	counts[procedure].Acts += more
	total.Acts += more
	rows := slices.SortedFunc(maps.Values(counts), func(a, b *tally) int { return strings.Compare(a.Procedure, b.Procedure) })
	if p.json {
		return p.printJSON(p.out, map[string]any{"agency": year.Agency(), "cases": total.Cases, "acts": total.Acts, "procedures": rows})
	}
	t := table{head: []string{p.pick("程序", "PROCEDURE"), p.pick("案件", "CASES"), p.pick("行为", "ACTS")}, right: []int{1, 2}}
	for _, r := range rows {
		t.add(r.Procedure, grouped(int64(r.Cases)), grouped(int64(r.Acts)))
	}
	if err := t.write(p.out); err != nil {
		return err
	}
	p.say("共 %s 个案件，%s 个行为；试运行，未记录任何内容。", "%s cases, %s acts. Dry run: nothing was recorded.",
		grouped(int64(total.Cases)), grouped(int64(total.Acts)))
	return nil
}

// A sampleRow is a row of POST /v1/imports.
type sampleRow struct {
	Row        int64                      `json:"row"`
	Case       string                     `json:"case"`
	Agency     string                     `json:"agency"`
	Procedure  string                     `json:"procedure"`
	Act        string                     `json:"act"`
	OccurredAt time.Time                  `json:"occurred_at"`
	Officers   []rulebook.Officer         `json:"officers,omitempty"`
	Place      string                     `json:"place,omitempty"`
	Fields     map[string]json.RawMessage `json:"fields,omitempty"`
	Documents  []rulebook.Reference       `json:"documents,omitempty"`
	LateReason string                     `json:"late_reason,omitempty"`
	Corrects   string                     `json:"corrects,omitempty"`
	Reason     string                     `json:"reason,omitempty"`
	CommandID  string                     `json:"command_id"`
}

// sampleBatch is how many rows are handed in at once.
const sampleBatch = 1000

// A filling is a year on its way into a system.
type filling struct {
	client *client
	source string
	batch  string

	rows      []sampleRow
	certified bool              // rows issue certificates, which acts after them are judged by
	events    map[string]string // command that is corrected later → its event
	last      int64             // row

	Results  map[intake.Result]int `json:"results"`
	Findings int                   `json:"findings"`
	Refusals []string              `json:"refusals,omitempty"` // the first of them
}

func (p *program) fillYear(ctx context.Context, year *sample.Year, o sample.YearOptions, yes bool) error {
	c, err := p.client("sample", true)
	if err != nil {
		return err
	}
	others, err := c.others(ctx, year.Agency())
	if err != nil {
		return err
	}
	if others != "" && !yes {
		return fmt.Errorf("this system holds records of %s: synthetic records beside them stay for good, for nothing that is recorded can be taken out again; take another data folder, or give --yes", others)
	}
	f := filling{client: c, source: sample.Source, batch: year.Batch(), events: map[string]string{}, Results: map[intake.Result]int{}}
	began := time.Now()
	bar := p.bar(int64(year.Cases()), p.pick("样例年", "sample year"), p.pick("案", "cases"))
	seen := map[string]bool{}
	err = func() error {
		for e, err := range year.Entries() {
			if err == nil {
				err = f.take(ctx, e)
			}
			if err != nil {
				return err
			}
			if id := string(e.Case); !seen[id] {
				seen[id] = true
				_ = bar.Add(1) // drawing it can fail; the filling goes on
			}
		}
		return f.flush(ctx)
	}()
	_ = bar.Exit()
	if err == nil {
		err = p.reportOut(ctx, &f, year, o)
	}
	if err != nil {
		return fmt.Errorf("sample: %w", err)
	}
	if err := p.printFilling(&f, year, time.Since(began)); err != nil {
		return err
	}
	if len(f.Refusals) > 0 {
		return errors.New("sample: some rows were refused")
	}
	return nil
}

// reportOut counts the numbers of the annual report and lets it go out with them,
// once.
func (p *program) reportOut(ctx context.Context, f *filling, year *sample.Year, o sample.YearOptions) error {
	var report struct {
		Closed bool `json:"closed"`
	}
	if err := f.client.get(ctx, at("v1", "cases", year.ReportCase()), nil, &report); err != nil || report.Closed {
		return err
	}
	tally, position, err := f.client.tally(ctx, p, year.Agency(), o.Number)
	if err != nil {
		return err
	}
	entries, err := year.ReportOut(tally, position, f.last)
	for _, e := range entries {
		if err == nil {
			err = f.take(ctx, e)
		}
	}
	if err != nil {
		return err
	}
	return f.flush(ctx)
}

// others names the agencies that a system has records of beside those of the
// samples; "" where there are none.
func (c *client) others(ctx context.Context, agency string) (string, error) {
	var stats struct {
		Acts []struct {
			Agency  string `json:"agency"`
			Records int64  `json:"records"`
		} `json:"acts"`
	}
	if err := c.get(ctx, "/v1/stats", nil, &stats); err != nil {
		return "", err
	}
	office, err := sample.Read()
	if err != nil {
		return "", err
	}
	records := map[string]int64{}
	for _, a := range stats.Acts {
		if a.Agency != agency && a.Agency != office.Agency && !strings.HasPrefix(a.Agency, office.Agency+"-") {
			records[a.Agency] += a.Records
		}
	}
	var named []string
	for _, name := range slices.Sorted(maps.Keys(records)) {
		named = append(named, fmt.Sprintf("%s (%d)", name, records[name]))
	}
	return strings.Join(named, ", "), nil
}

// take adds an act to the rows, and hands them in where they have to be there
// before it.
func (f *filling) take(ctx context.Context, e sample.Entry) error {
	if len(f.rows) >= sampleBatch || f.certified && len(e.Officers) > 0 || e.CorrectsCommand != "" {
		if err := f.flush(ctx); err != nil {
			return err
		}
	}
	f.certified = f.certified || e.Act == "issue-certificate" || e.Act == "renew-certificate"
	if e.Corrected {
		f.events[e.ID] = ""
	}
	f.last = e.Import.Row
	f.rows = append(f.rows, sampleRow{
		Row: e.Import.Row, Case: string(e.Case), Agency: e.Agency, Procedure: e.Procedure, Act: e.Act, OccurredAt: e.At,
		Officers: e.Officers, Place: e.Place, Fields: e.Fields, Documents: e.Documents,
		LateReason: e.LateReason, Corrects: f.events[e.CorrectsCommand], Reason: e.Reason, CommandID: e.ID,
	})
	return nil
}

// flush hands the rows in. It is safe to do so again: each row has its command
// id.
func (f *filling) flush(ctx context.Context) error {
	if len(f.rows) == 0 {
		return nil
	}
	outcomes, err := f.client.importRows(ctx, map[string]any{"source": f.source, "batch": f.batch, "commands": f.rows})
	if err != nil {
		return err
	}
	for i, o := range outcomes {
		row := &f.rows[i]
		f.Results[o.Result]++
		f.Findings += o.Findings
		if _, wanted := f.events[row.CommandID]; wanted {
			f.events[row.CommandID] = o.Event
		}
		if o.Result == intake.Refused && len(f.Refusals) < 10 {
			f.Refusals = append(f.Refusals, fmt.Sprintf("%s %s: %s", row.Case, row.Act, o.Why))
		}
	}
	f.rows, f.certified = f.rows[:0], false
	return nil
}

func (p *program) printFilling(f *filling, year *sample.Year, took time.Duration) error {
	if p.json {
		return p.printJSON(p.out, map[string]any{
			"agency": year.Agency(), "batch": f.batch, "cases": year.Cases(), "results": f.Results, "findings": f.Findings, "refusals": f.Refusals,
		})
	}
	for _, r := range f.Refusals {
		p.say("拒绝：%s", "refused: %s", r)
	}
	taken, already, refused := int64(f.Results[intake.Taken]), int64(f.Results[intake.Already]), int64(f.Results[intake.Refused])
	p.say("%s：%s 个案件，采用 %s 个行为，此前已有 %s，拒绝 %s；%s 项偏差，用时 %s（来源 %s，批次 %s）。",
		"%s: %s cases, %s acts taken, %s there already, %s refused; %s findings, in %s (source %s, batch %s).",
		year.Agency(), grouped(int64(year.Cases())), grouped(taken), grouped(already), grouped(refused),
		grouped(int64(f.Findings)), took.Round(100*time.Millisecond), f.source, f.batch)
	return nil
}

// A yearFigure is a number of the report as it was counted.
type yearFigure struct {
	No          string `json:"no"`
	ZH          string `json:"zh"`
	EN          string `json:"en"`
	Sentence    string `json:"sentence"`
	Printed     string `json:"printed"`
	Counted     int    `json:"counted"`
	Denominator int    `json:"denominator,omitempty"`
	Agrees      bool   `json:"agrees"`
	Events      int    `json:"events"`
	Digest      string `json:"digest"` // SHA-256 of the ids of the events counted, sorted, a line each
}

// reportYear counts the numbers of the report from the events of the system.
func (p *program) reportYear(ctx context.Context, year *sample.Year, o sample.YearOptions) error {
	c, err := p.client("sample --report", true)
	if err != nil {
		return err
	}
	tally, position, err := c.tally(ctx, p, year.Agency(), o.Number)
	if err != nil {
		return err
	}
	var figures []yearFigure
	differ := 0
	for _, f := range sample.Figures() {
		count := f.Of(tally)
		counted := yearFigure{
			No: f.No, ZH: f.ZH, EN: f.EN, Sentence: f.Sentence, Printed: f.Printed, Counted: count.Value, Denominator: count.Denominator,
			Agrees: f.Agrees(count, o.Scale), Events: len(count.Events), Digest: count.Digest(),
		}
		if !counted.Agrees {
			differ++
		}
		figures = append(figures, counted)
	}
	if err := p.printFigures(year.Agency(), position, figures); err != nil {
		return err
	}
	if differ > 0 {
		return fmt.Errorf("%d of %d numbers are not what the report says of a year multiplied by %d", differ, len(figures), o.Scale)
	}
	return nil
}

func (p *program) printFigures(agency string, position uint64, figures []yearFigure) error {
	if p.json {
		return p.printJSON(p.out, map[string]any{"agency": agency, "position": position, "figures": figures})
	}
	t := table{
		head:  []string{p.pick("序号", "NO"), p.pick("指标", "FIGURE"), p.pick("报告", "REPORT"), p.pick("统计", "COUNTED"), "", p.pick("报告原句", "THE REPORT SAYS")},
		right: []int{3},
	}
	for _, f := range figures {
		counted := grouped(int64(f.Counted))
		if f.Denominator > 0 {
			counted += "/" + grouped(int64(f.Denominator))
		}
		mark := "✓"
		if !f.Agrees {
			mark = "✗"
		}
		t.add(f.No, p.pick(f.ZH, f.EN), f.Printed, counted, mark, f.Sentence)
	}
	if err := t.write(p.out); err != nil {
		return err
	}
	p.say("机关 %s；统计到位置 %d。第 21、27、28 项是名称和固定提法，不计数。",
		"Agency %s, counted up to position %d. Numbers 21, 27 and 28 are names and set phrases and are not counted.", agency, position)
	return nil
}

// tally reads the events that the figures are counted from: the ledger gives the
// cases, the timeline of each its acts.
func (c *client) tally(ctx context.Context, p *program, agency string, year int) (*sample.Tally, uint64, error) {
	var now struct {
		Position uint64 `json:"position"`
	}
	if err := c.get(ctx, "/readyz", nil, &now); err != nil {
		return nil, 0, err
	}
	since := strconv.FormatUint(now.Position, 10)
	asks := sample.Asks()
	type file struct{ id, procedure string }
	var files []file
	findings := map[string]int{}
	for _, procedure := range slices.Sorted(maps.Keys(asks)) {
		var l list
		whole, err := l.fetch(ctx, c, "/v1/ledger", url.Values{"agency": {agency}, "procedure": {procedure}, "min_position": {since}})
		if err != nil {
			return nil, 0, err
		}
		entries, err := decode[struct {
			Case     string         `json:"case"`
			Findings map[string]int `json:"findings"`
		}](whole.Items)
		if err != nil {
			return nil, 0, fmt.Errorf("ledger: %w", err)
		}
		for _, e := range entries {
			files = append(files, file{e.Case, procedure})
			for _, n := range e.Findings {
				findings[e.Case] += n
			}
		}
	}

	bar := p.bar(int64(len(files)), p.pick("读取案件", "reading cases"), p.pick("案", "cases"))
	timelines := make([][]sample.Event, len(files))
	g, reading := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, f := range files {
		g.Go(func() error {
			var err error
			timelines[i], err = c.eventsOf(reading, f.id, asks[f.procedure], since)
			_ = bar.Add(1) // drawing it can fail; the reading goes on
			return err
		})
	}
	err := g.Wait()
	_ = bar.Exit()
	if err != nil {
		return nil, 0, err
	}
	tally := sample.NewTally(year)
	for _, events := range timelines {
		for _, e := range events {
			tally.Add(e)
		}
	}
	for _, id := range tally.Files() {
		tally.AddFindings(id, findings[id])
	}
	return tally, now.Position, nil
}

// eventsOf reads acts of a case.
func (c *client) eventsOf(ctx context.Context, id string, acts []string, since string) ([]sample.Event, error) {
	var l list
	whole, err := l.fetch(ctx, c, at("v1", "cases", id, "timeline"), url.Values{"act": {strings.Join(acts, ",")}, "min_position": {since}})
	if err != nil {
		return nil, err
	}
	entries, err := decode[struct {
		Event       string         `json:"event"`
		Case        string         `json:"case"`
		Procedure   string         `json:"procedure"`
		Act         string         `json:"act"`
		OccurredAt  time.Time      `json:"occurred_at"`
		Fields      map[string]any `json:"fields"`
		CorrectedBy string         `json:"corrected_by"`
	}](whole.Items)
	if err != nil {
		return nil, fmt.Errorf("timeline of %s: %w", id, err)
	}
	events := make([]sample.Event, len(entries))
	for i, e := range entries {
		events[i] = sample.Event{ID: e.Event, Case: e.Case, Procedure: e.Procedure, Act: e.Act, At: e.OccurredAt, Fields: e.Fields, CorrectedBy: e.CorrectedBy}
	}
	return events, nil
}
