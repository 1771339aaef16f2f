package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A report is what one run of the benchmark found.
type report struct {
	Machine  map[string]string `json:"machine"`
	Settings map[string]string `json:"settings"`
	Rows     []*row            `json:"rows"`
	order    map[string]*row
}

// A row is one measured case, once a round.
type row struct {
	Group  string    `json:"group"`
	Name   string    `json:"name"`
	Unit   string    `json:"unit"`
	Rounds []float64 `json:"rounds"`
	P50    []float64 `json:"p50_ms,omitempty"` // by round
	P99    []float64 `json:"p99_ms,omitempty"`
	Raw    string    `json:"raw,omitempty"`  // name of the raw limit it is set beside
	Want   float64   `json:"want,omitempty"` // the ratio it should reach
	Note   string    `json:"note,omitempty"`
	Ratio  float64   `json:"ratio,omitempty"` // median over the rounds, each beside the raw limit of its own moment

	ratios []float64 // by round
}

func newReport() *report {
	return &report{
		Machine: map[string]string{
			"cpus": fmt.Sprint(runtime.NumCPU()), "cpu": cpuModel(), "go": runtime.Version(), "os": runtime.GOOS + "/" + runtime.GOARCH,
			"memory": memTotal(), "at": time.Now().UTC().Format(time.RFC3339),
		},
		Settings: map[string]string{},
		order:    map[string]*row{},
	}
}

// add keeps one round's figure. lat may be nil.
func (r *report) add(group, name, unit string, value float64, lat []time.Duration) *row {
	m, ok := r.order[name]
	if !ok {
		m = &row{Group: group, Name: name, Unit: unit}
		r.order[name] = m
		r.Rows = append(r.Rows, m)
	}
	m.Rounds = append(m.Rounds, value)
	if len(lat) > 0 {
		slices.Sort(lat)
		m.P50 = append(m.P50, ms(lat[len(lat)/2]))
		m.P99 = append(m.P99, ms(lat[len(lat)*99/100]))
	}
	fmt.Fprintf(os.Stderr, "  %-64s %12s\n", name, format(value, unit))
	return m
}

// beside names the raw limit of the same run that a row is compared with, and
// the share of it that it should reach.
func (m *row) beside(raw string, want float64) { m.Raw, m.Want = raw, want }

// besideNow is beside for a limit that was measured just before this round:
// this kind of machine is twice as fast in one minute as in the next, so a
// round is compared with its own minute.
func (r *report) besideNow(m *row, raw string, want float64) {
	if limit, ok := r.order[raw]; ok && limit.Rounds[len(limit.Rounds)-1] > 0 {
		m.ratios = append(m.ratios, m.Rounds[len(m.Rounds)-1]/limit.Rounds[len(limit.Rounds)-1])
	}
	m.beside(raw, want)
}

func (r *report) write(w io.Writer, jsonFile string) error {
	for _, m := range r.Rows {
		if len(m.ratios) > 0 {
			m.Ratio = median(m.ratios)
		} else if raw, ok := r.order[m.Raw]; ok && median(raw.Rounds) > 0 {
			m.Ratio = median(m.Rounds) / median(raw.Rounds)
		}
	}
	fmt.Fprintf(w, "Machine: %s × %s, %s, %s, %s\n", r.Machine["cpus"], r.Machine["cpu"], r.Machine["memory"], r.Machine["os"], r.Machine["go"])
	for _, k := range sortedKeys(r.Settings) {
		fmt.Fprintf(w, "%s: %s\n", k, r.Settings[k])
	}
	group := ""
	for _, m := range r.grouped() {
		if m.Group != group {
			group = m.Group
			fmt.Fprintf(w, "\n## %s\n\n| case | median (min–max) | p50 ms | p99 ms | ratio | wanted |\n|---|---|---|---|---|---|\n", group)
		}
		ratio, want := "", ""
		if m.Ratio > 0 {
			ratio = fmt.Sprintf("%.2f of %s", m.Ratio, m.Raw)
			if len(m.ratios) > 1 {
				ratio = fmt.Sprintf("%.2f (%.2f–%.2f) of %s", m.Ratio, slices.Min(m.ratios), slices.Max(m.ratios), m.Raw)
			}
		}
		if m.Want > 0 {
			want = fmt.Sprintf("≥ %.2g", m.Want)
			if m.Ratio < m.Want {
				want += " **short**"
			}
		}
		name := m.Name
		if m.Note != "" {
			name += " (" + m.Note + ")"
		}
		fmt.Fprintf(w, "| %s | %s (%s–%s) | %s | %s | %s | %s |\n", name,
			format(median(m.Rounds), m.Unit), format(slices.Min(m.Rounds), m.Unit), format(slices.Max(m.Rounds), m.Unit),
			figure(m.P50), figure(m.P99), ratio, want)
	}
	if jsonFile == "" {
		return nil
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(jsonFile, append(data, '\n'), 0o644)
}

// grouped are the rows of each group together, in the order they came.
func (r *report) grouped() []*row {
	place := make(map[string]int)
	for _, m := range r.Rows {
		if _, ok := place[m.Group]; !ok {
			place[m.Group] = len(place)
		}
	}
	rows := slices.Clone(r.Rows)
	slices.SortStableFunc(rows, func(a, b *row) int { return place[a.Group] - place[b.Group] })
	return rows
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

func figure(v []float64) string {
	if len(v) == 0 {
		return ""
	}
	return fmt.Sprintf("%.3g", median(v))
}

func format(v float64, unit string) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.2fM %s", v/1e6, unit)
	case v >= 1e4:
		return fmt.Sprintf("%.1fk %s", v/1e3, unit)
	case v >= 100:
		return fmt.Sprintf("%.0f %s", v, unit)
	default:
		return fmt.Sprintf("%.3g %s", v, unit)
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func cpuModel() string { return procField("/proc/cpuinfo", "model name") }
func memTotal() string { return procField("/proc/meminfo", "MemTotal") }

func procField(file, key string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(data)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}
