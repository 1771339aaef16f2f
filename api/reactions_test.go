package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"liuhen/domain"
	"liuhen/domain/rulebook"
	"liuhen/eventstore/eventstoretest"
	"liuhen/reactions"
)

// withReactions opens an office with a reaction that cannot react to a record until
// it is mended, and one that stands still at it.
func withReactions(t *testing.T) (o *office, mended *atomic.Bool) {
	t.Helper()
	mended = &atomic.Bool{}
	fails := func(err error) func(context.Context, domain.Recorded) error {
		return func(_ context.Context, r domain.Recorded) error {
			if r.Revision == 1 || mended.Load() {
				return nil
			}
			return err
		}
	}
	o = open(t, func(o *office, c *Config) {
		r, err := reactions.Open(t.Context(), reactions.Config{
			NATS: o.server.Conn(), Volume: "CASES", Store: c.Record, FirstWait: time.Millisecond, Logger: eventstoretest.Logger(t),
			Reactions: []reactions.Reaction{
				{Name: "picky", Says: rulebook.Text{ZH: "挑剔", EN: "Is picky"}, React: fails(reactions.Final(errors.New("not to its taste")))},
				{Name: "patient", React: fails(reactions.Later(errors.New("the other end is down")))},
			},
			Ticks: []reactions.Tick{{Name: "clock", Every: time.Hour, Do: func(context.Context, time.Time) error { return errors.New("stopped") }}},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		c.Reactions = r
		health := c.Health
		c.Health = func(ctx context.Context) Health {
			h := health(ctx)
			h.Reactions, h.Ticks = r.Status(), r.TickStatus()
			return h
		}
	})
	o.filed("C-1")
	o.recorded(o.li, "C-1", act("inspect", "officers", []string{"li", "zhao"}))
	return o, mended
}

type reactionsAnswer struct {
	Items []reactions.Status
	Ticks []tickItem
}

func (o *office) reactions() (all reactionsAnswer) {
	o.t.Helper()
	o.get(o.inspector, "/v1/reactions").is(http.StatusOK).into(&all)
	return all
}

func (o *office) until(what string, ok func() bool) {
	o.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			o.t.Fatalf("it did not come about: %s", what)
		}
	}
}

func TestReactions(t *testing.T) {
	o, mended := withReactions(t)
	o.until("one is set aside, and one stands still", func() bool {
		all := o.reactions()
		return all.Items[0].SetAside == 1 && all.Items[0].Position == 2 && len(all.Items[1].Standing) == 1 && all.Ticks[0].Failures == 1
	})
	all := o.reactions()
	if all.Items[0].Name != "picky" || all.Items[0].Says.EN != "Is picky" || all.Items[0].Lag != 0 || all.Items[1].Lag != 1 || all.Items[1].Position != 1 ||
		!strings.Contains(all.Items[1].Standing[0].Error, "the other end") || all.Ticks[0].Error != "stopped" || all.Ticks[0].Every != 3600 {
		t.Errorf("reactions = %+v", all)
	}
	metrics := string(o.get("", "/metrics").is(200).body)
	for _, line := range []string{
		`liuhen_reaction_set_aside{reaction="picky"} 1`, `liuhen_reaction_standing{reaction="patient"} 1`, `liuhen_reaction_position{reaction="picky"} 2`,
		`liuhen_reaction_lag{reaction="patient"} 1`, `liuhen_reaction_handled_total{reaction="picky"} 1`, `liuhen_tick_failures_total{tick="clock"} 1`,
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
	if reasons := StandingReactions(all.Items, time.Now()); len(reasons) != 0 {
		t.Errorf("a moment's fault is told: %v", reasons)
	}
	if reasons := StandingReactions(all.Items, time.Now().Add(time.Minute)); len(reasons) != 1 || !strings.Contains(reasons[0], "patient stands still at position 2") {
		t.Errorf("reasons = %v, want that patient stands still", reasons)
	}

	var list struct{ Items []reactions.Aside }
	o.get(o.administrator, "/v1/reactions/set-aside").is(http.StatusOK).into(&list)
	if len(list.Items) != 1 || list.Items[0].ID != "picky.2" || list.Items[0].Case != "C-1" || list.Items[0].Type != "visit.inspect" {
		t.Fatalf("set aside = %+v", list.Items)
	}
	const at = "/v1/reactions/set-aside/picky.2"
	if p := o.post(o.administrator, at+"/retry", nil).problem(422, "still-fails"); !strings.Contains(p.Detail, "not to its taste") {
		t.Errorf("problem = %+v", p)
	}
	mended.Store(true)
	var entry reactions.Aside
	o.post(o.administrator, at+"/retry", nil).is(http.StatusOK).into(&entry)
	if entry.Outcome != reactions.Retried || entry.ClosedBy != "admin" || entry.Retries != 2 {
		t.Errorf("entry = %+v", entry)
	}
	o.post(o.administrator, at+"/retry", nil).problem(409, "not-waiting")
	o.post(o.administrator, at+"/drop", map[string]any{"reason": "x"}).problem(409, "not-waiting")
	o.get(o.administrator, "/v1/reactions/set-aside").is(http.StatusOK).into(&list)
	if len(list.Items) != 0 {
		t.Errorf("what waits = %+v", list.Items)
	}
	o.get(o.administrator, "/v1/reactions/set-aside?closed=true").is(http.StatusOK).into(&list)
	if len(list.Items) != 1 {
		t.Errorf("all = %+v", list.Items)
	}
	o.until("the other goes on", func() bool {
		all := o.reactions()
		return all.Items[1].Position == 2 && len(all.Items[1].Standing) == 0
	})
}

func TestReactionsAreForInspectorsAndAdministrators(t *testing.T) {
	o, _ := withReactions(t)
	o.until("one is set aside", func() bool { return o.reactions().Items[0].SetAside == 1 })
	const at = "/v1/reactions/set-aside/picky.2"
	for name, token := range map[string]string{"officer": o.li, "supervisor": o.supervisor, "anybody": o.public} {
		for _, p := range []*reply{o.get(token, "/v1/reactions"), o.get(token, "/v1/reactions/set-aside"), o.post(token, at+"/retry", nil)} {
			t.Log(name)
			p.problem(403, "forbidden")
		}
	}
	o.post(o.inspector, at+"/retry", nil).problem(403, "forbidden")
	o.post(o.inspector, at+"/drop", map[string]any{"reason": "x"}).problem(403, "forbidden")
	o.post(o.administrator, at+"/drop", map[string]any{"reason": " "}).problem(422, "malformed")
	o.post(o.administrator, at+"/drop", map[string]any{}).problem(422, "malformed")
	o.post(o.administrator, "/v1/reactions/set-aside/picky.3/retry", nil).problem(404, "not-found")
	o.post(o.administrator, "/v1/reactions/set-aside/..%2Fx/drop", map[string]any{"reason": "x"}).problem(404, "not-found")
	var entry reactions.Aside
	o.post(o.administrator, at+"/drop", map[string]any{"reason": "已人工处理"}).is(http.StatusOK).into(&entry)
	if entry.Outcome != reactions.Dropped || entry.Why != "已人工处理" || entry.ClosedBy != "admin" {
		t.Errorf("entry = %+v", entry)
	}
}
