package sample

import (
	"fmt"
	"strconv"
)

// ReportOut makes what becomes of the annual report when its figures have been
// counted: they are frozen as they were counted, with the events they rest on,
// and the report goes out. It follows from what the system holds, and not from
// the options alone: ids of events are made when they are recorded. Rows go on
// after the year's last.
func (y *Year) ReportOut(tally *Tally, position uint64, row int64) ([]Entry, error) {
	w := y.work(reportWork)
	p := w.planned(1, 0)
	c := Case{ID: y.ReportCase(), Story: "annual-report-out", on: p.on, Fields: map[string]any{"position": position}}
	var frozen []any
	for _, f := range Figures() {
		count := f.Of(tally)
		switch {
		case f.No == "22":
			c.Fields["coverage"] = coverage(f, count)
		case f.Unit != "":
			frozen = append(frozen, f.frozen(count))
		}
	}
	c.Fields["figures"] = frozen
	entries, err := y.teller.tell(c)
	if err != nil {
		return nil, fmt.Errorf("case %s: %w", c.ID, err)
	}
	before := len(y.teller.stories[w.story].Acts)
	for i := range entries {
		entries[i].ID = commandID(c.ID, strconv.Itoa(before+i))
		entries[i].Import.Row = row + int64(i) + 1
	}
	return entries, nil
}

// reportWork is the work whose case is the annual report.
const reportWork = "年度报告"

// ReportCase is the case of the annual report. It is closed when the report is
// out.
func (y *Year) ReportCase() string { return y.id(y.work(reportWork), 1, 0) }

// ReportActs is how many acts ReportOut makes, all in one case of the year.
func (y *Year) ReportActs() (procedure string, acts int) {
	s := y.teller.stories["annual-report-out"]
	return s.Procedure, len(s.Acts)
}

// frozen is a figure as the report has it: the number that was counted, or the
// round one below it where the report says 多 or 余.
func (f *Figure) frozen(c Count) map[string]any {
	m := map[string]any{
		"label": f.ZH, "printed": f.Printed, "value": c.Value, "query_value": c.Value, "unit": f.Unit, "rounding": "exact",
		"query": "年报数字-" + f.No, "event_count": len(c.Events), "digest": c.Digest(),
	}
	if f.Step > 0 {
		m["value"], m["rounding"], m["step"] = max(c.Value-1, 0)/f.Step*f.Step, "above", f.Step
	}
	if f.Rate {
		m["value"], m["query_value"] = percent(c), percent(c)
		m["numerator"], m["denominator"] = c.Value, c.Denominator
	}
	return m
}

func coverage(f Figure, c Count) map[string]any {
	m := map[string]any{"major": c.Denominator, "reviewed": c.Value, "printed": "none", "query": "年报数字-" + f.No}
	if c.Denominator > 0 {
		m["printed"], m["rate"] = "rate", percent(c)
	}
	return m
}

// percent is a rate in per cent, to a hundredth.
func percent(c Count) float64 {
	if c.Denominator == 0 {
		return 0
	}
	return float64(10_000*c.Value/c.Denominator) / 100
}
