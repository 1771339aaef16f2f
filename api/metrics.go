package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"liuhen/eventstore"
)

// metrics are the figures for Prometheus. They name no person and no case.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newMetrics(c Config) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "liuhen_http_requests_total", Help: "HTTP requests answered, by route and status.",
		}, []string{"route", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "liuhen_http_request_duration_seconds", Help: "Time from the request to the end of the answer, by route.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
		}, []string{"route"}),
	}
	m.registry.MustRegister(
		m.requests, m.duration, &stateCollector{health: c.Health},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// served counts a request. The route is its pattern, so that case ids are not
// in the figures.
func (m *metrics) served(r *http.Request, status int, took time.Duration) {
	route := r.Pattern
	if route == "" {
		route = "none"
	}
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	m.duration.WithLabelValues(route).Observe(took.Seconds())
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

// stateCollector asks how the program does when the figures are asked for.
type stateCollector struct {
	health func(context.Context) Health
}

var (
	readyDesc            = prometheus.NewDesc("liuhen_ready", "1 when the program can record and read.", nil, nil)
	lastDesc             = prometheus.NewDesc("liuhen_record_position", "Position of the last record of the log of cases.", nil, nil)
	writerDesc           = prometheus.NewDesc("liuhen_writer", "1 when this process writes.", nil, nil)
	incidentDesc         = prometheus.NewDesc("liuhen_incident", "1 when an incident has stopped all writing.", nil, nil)
	modelDesc            = prometheus.NewDesc("liuhen_read_model_position", "Position that a read model holds everything up to.", []string{"model"}, nil)
	reactionPositionDesc = prometheus.NewDesc("liuhen_reaction_position", "Position that a reaction has dealt with everything up to.", []string{"reaction"}, nil)
	reactionLagDesc      = prometheus.NewDesc("liuhen_reaction_lag", "Records that a reaction has not dealt with.", []string{"reaction"}, nil)
	reactionAsideDesc    = prometheus.NewDesc("liuhen_reaction_set_aside", "Records that a reaction could not react to and that wait for a person.", []string{"reaction"}, nil)
	reactionStandsDesc   = prometheus.NewDesc("liuhen_reaction_standing", "Cases at which a reaction stands still because of a fault.", []string{"reaction"}, nil)
	reactionHandledDesc  = prometheus.NewDesc("liuhen_reaction_handled_total", "Records that this process has reacted to.", []string{"reaction"}, nil)
	tickDoneDesc         = prometheus.NewDesc("liuhen_tick_done_total", "Times that this process has done a tick without a failure.", []string{"tick"}, nil)
	tickFailuresDesc     = prometheus.NewDesc("liuhen_tick_failures_total", "Times that a tick failed in this process.", []string{"tick"}, nil)

	logSizeDesc     = prometheus.NewDesc("liuhen_log_size", "Records that the newest signed checkpoint of the log of proofs has.", nil, nil)
	logLagDesc      = prometheus.NewDesc("liuhen_log_lag", "Records that are not under a signed checkpoint yet.", nil, nil)
	logSealedDesc   = prometheus.NewDesc("liuhen_log_sealed_timestamp_seconds", "When the newest checkpoint became known here.", nil, nil)
	logCasesDesc    = prometheus.NewDesc("liuhen_log_cases", "Cases whose heads the log of proofs holds in memory.", nil, nil)
	logIncidentDesc = prometheus.NewDesc("liuhen_log_incident", "1 when the record does not fit the log of proofs.", nil, nil)

	waitingDesc = prometheus.NewDesc("liuhen_read_model_waiting", "1 when a read model cannot apply a record and waits.", []string{"model"}, nil)
)

// A figure is one number that is told of each volume.
type figure struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(eventstore.Status) float64
}

var storeFigures = []figure{
	storeFigure("position", "Last position that this process shows.", prometheus.GaugeValue, func(s eventstore.Status) float64 { return float64(s.Last) }),
	storeFigure("lag", "Records that readers do not hold durably yet.", prometheus.GaugeValue, func(s eventstore.Status) float64 { return float64(s.Lag) }),
	storeFigure("unread", "Records acknowledged and not read back yet.", prometheus.GaugeValue, func(s eventstore.Status) float64 { return float64(s.Unread) }),
	storeFigure("tail_bytes", "Size of the records in memory.", prometheus.GaugeValue, func(s eventstore.Status) float64 { return float64(s.Bytes) }),
	storeFigure("full", "1 when the disk has no room.", prometheus.GaugeValue, func(s eventstore.Status) float64 { return oneIf(s.Full) }),
	storeFigure("records_total", "Records stored by this process.", prometheus.CounterValue, func(s eventstore.Status) float64 { return float64(s.Appended) }),
	storeFigure("conflicts_total", "Appends that found the stream changed.", prometheus.CounterValue, func(s eventstore.Status) float64 { return float64(s.Conflicts) }),
	storeFigure("unknowns_total", "Appends whose outcome could not be found out.", prometheus.CounterValue, func(s eventstore.Status) float64 { return float64(s.Unknowns) }),
	storeFigure("full_total", "Groups refused for want of room.", prometheus.CounterValue, func(s eventstore.Status) float64 { return float64(s.FullTimes) }),
	storeFigure("cold_heads_total", "Appends that had to ask the stream.", prometheus.CounterValue, func(s eventstore.Status) float64 { return float64(s.ColdHeads) }),
	storeFigure("slowed_total", "Appends held back because readers were behind.", prometheus.CounterValue, func(s eventstore.Status) float64 { return float64(s.Slowed) }),
	storeFigure("takeovers_total", "Times that this process became the writer.", prometheus.CounterValue, func(s eventstore.Status) float64 { return float64(s.Takeovers) }),
}

func storeFigure(name, help string, kind prometheus.ValueType, of func(eventstore.Status) float64) figure {
	return figure{prometheus.NewDesc("liuhen_store_"+name, help, []string{"volume"}, nil), kind, of}
}

var groupDesc = prometheus.NewDesc("liuhen_store_group_size", "Records sent to the store at once.", []string{"volume"}, nil)

// groupSizes turns the counts of sendings by size into a histogram: bucket i
// of GroupSizes is for sizes below 2^(i+1).
func groupSizes(s eventstore.Status) prometheus.Metric {
	buckets := map[float64]uint64{}
	var upTo uint64
	for i, n := range s.GroupSizes {
		upTo += uint64(n)
		if i < len(s.GroupSizes)-1 {
			buckets[float64(int(2)<<i-1)] = upTo
		}
	}
	return prometheus.MustNewConstHistogram(groupDesc, upTo, float64(s.Appended), buckets, s.Volume)
}

// Describe is for prometheus.Collector.
func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{readyDesc, lastDesc, writerDesc, incidentDesc, modelDesc, waitingDesc, groupDesc,
		reactionPositionDesc, reactionLagDesc, reactionAsideDesc, reactionStandsDesc, reactionHandledDesc, tickDoneDesc, tickFailuresDesc,
		logSizeDesc, logLagDesc, logSealedDesc, logCasesDesc, logIncidentDesc} {
		ch <- d
	}
	for _, f := range storeFigures {
		ch <- f.desc
	}
}

// Collect is for prometheus.Collector.
func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	h := c.health(ctx)
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(readyDesc, oneIf(h.Ready))
	gauge(lastDesc, float64(h.Position))
	gauge(writerDesc, oneIf(h.Writer))
	gauge(incidentDesc, oneIf(h.Incident != ""))
	if l := h.Log; l.Origin != "" {
		gauge(logSizeDesc, float64(l.Size))
		gauge(logLagDesc, max(0, float64(h.Position)-float64(l.Size)))
		gauge(logSealedDesc, float64(l.SealedAt.UnixMilli())/1000)
		gauge(logCasesDesc, float64(l.Cases))
		gauge(logIncidentDesc, oneIf(l.Incident != ""))
	}
	for _, m := range h.Models {
		gauge(modelDesc, float64(m.Position), m.Model)
		gauge(waitingDesc, oneIf(m.Error != ""), m.Model)
	}
	counter := func(d *prometheus.Desc, v uint64, label string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), label)
	}
	for _, r := range h.Reactions {
		gauge(reactionPositionDesc, float64(r.Position), r.Name)
		gauge(reactionLagDesc, float64(r.Lag), r.Name)
		gauge(reactionAsideDesc, float64(r.SetAside), r.Name)
		gauge(reactionStandsDesc, float64(len(r.Standing)), r.Name)
		counter(reactionHandledDesc, r.Handled, r.Name)
	}
	for _, t := range h.Ticks {
		counter(tickDoneDesc, t.Done, t.Name)
		counter(tickFailuresDesc, t.Failures, t.Name)
	}
	for _, st := range h.Stores {
		for _, f := range storeFigures {
			ch <- prometheus.MustNewConstMetric(f.desc, f.kind, f.of(st), st.Volume)
		}
		ch <- groupSizes(st)
	}
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// healthz says that the process answers, nothing more.
func (s *server) healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n"))
}

// readyz says whether the program can record and read, and if not, why.
func (s *server) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	h := s.Health(ctx)
	w.Header().Set("Content-Type", "application/json")
	if !h.Ready {
		w.Header().Set("Retry-After", "2")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", strings.Repeat(" ", 2))
	_ = enc.Encode(h) // the caller may have gone
}
