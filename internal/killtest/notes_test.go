package killtest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"liuhen/domain"
	"liuhen/eventstore"
)

// TestKillNotes kills the program with SIGKILL in the middle of what it notes by itself:
// while the tick notes limits that have passed in many cases, and while many cases are
// judged again because an officer was suspended with effect from before. Started
// again it goes on, and in the end every note is there exactly once.
func TestKillNotes(t *testing.T) {
	const cases = 700 // more than a page of each
	s := &system{binary: build(t), data: t.TempDir()}
	s.start(t)
	t.Cleanup(s.kill)
	o, head := &office{system: s, token: s.token(t, "officer")}, &office{system: s, token: s.token(t, "head")}
	post := func(o *office, path, id string, body map[string]any) {
		t.Helper()
		for range 3000 {
			status, answer, err := o.post(path, id, body)
			switch {
			case err != nil, status == http.StatusServiceUnavailable:
				pause(20 * time.Millisecond)
			case status == http.StatusCreated, status == http.StatusOK:
				return
			default:
				t.Errorf("POST %s: %d %s", path, status, answer)
				return
			}
		}
		t.Errorf("POST %s: no receipt", path)
	}
	// at is the position of the last record, 0 while nobody answers.
	at := func() uint64 {
		resp, err := client.Get(s.where() + "/readyz")
		if err != nil {
			return 0
		}
		defer resp.Body.Close()
		var h struct {
			Position uint64 `json:"position"`
		}
		_ = json.NewDecoder(resp.Body).Decode(&h)
		return h.Position
	}
	killed := func(what string, after, end uint64) {
		t.Helper()
		var seen uint64
		waitUntil(t, 3*time.Minute, what+" to have begun", func() bool { seen = at(); return seen > after })
		s.kill()
		t.Logf("killed while %s, %d notes after it began, %d before the end", what, seen-after, end-seen)
		if seen >= end {
			t.Errorf("%s: nothing was left to do", what)
		}
		s.start(t)
	}

	now := time.Now()
	officer := func(by *office, person, act string, fields map[string]any) {
		t.Helper()
		body := map[string]any{"act": act, "occurred_at": now.Format(time.RFC3339), "already_done": true, "reason": "kill test", "fields": fields}
		path := "/v1/cases/证-" + person + "/acts"
		if act == "enrol-officer" {
			body["procedure"], body["case"], path = domain.RegisterProcedure, "证-"+person, "/v1/cases"
		}
		post(by, path, person+act, body)
	}
	for _, person := range []string{"li", "zhao"} {
		officer(o, person, "enrol-officer", map[string]any{"person": person, "full_name": person, "unit": "执法科", "staff_kind": "formal"})
		officer(head, person, "issue-certificate", map[string]any{
			"certificate_no": "06-" + person, "card": "enforcement", "category": "科技", "area": "2101", "issuer": "司法局",
			"valid_from": "2022-01-01", "valid_to": "2039-12-31",
		})
	}
	var working sync.WaitGroup
	for n := range 16 {
		working.Go(func() {
			for i := n; i < cases; i += 16 {
				name := fmt.Sprintf("K-%03d", i)
				post(o, "/v1/cases", name, map[string]any{
					"procedure": "penalty-ordinary", "case": name, "act": "receive-clue",
					"occurred_at": now.AddDate(0, 0, -60).Format(time.RFC3339), "late_reason": "补录",
					"fields": map[string]any{"source": "report", "summary": "样例"},
				})
				post(o, "/v1/cases/"+name+"/acts", name+"-2", map[string]any{
					"act": "show-certificate", "occurred_at": now.Format(time.RFC3339), "officers": []string{"li", "zhao"},
					"fields": map[string]any{"person": "样例"},
				})
			}
		})
	}
	working.Wait()
	if t.Failed() {
		return
	}
	// The tick comes by itself; it may have come once while the acts were recorded.
	acts := uint64(2*cases + 4)
	killed("limits are noted", at(), acts+cases)
	waitUntil(t, 5*time.Minute, "every limit that has passed to be noted", func() bool { return at() >= acts+cases })

	before := at()
	officer(head, "li", "suspend-certificate", map[string]any{"ground": "other", "reason": "调查", "suspended_from": now.AddDate(0, 0, -1).Format(time.DateOnly)})
	killed("cases are judged again", before+1, before+1+cases)
	waitUntil(t, 5*time.Minute, "every case to be judged again", func() bool { return at() >= before+1+cases })
	s.rebuild(t)
	s.stop(t)

	type note struct {
		of   domain.CaseID
		rule string
		on   string
	}
	notes := map[note]int{}
	eachRecord(t, filepath.Join(s.data, "nats"), func(r domain.Recorded) {
		for _, f := range r.Data.Findings {
			if f.Of != "" {
				notes[note{r.Subject, f.Rule, f.Of}]++
			}
		}
	})
	rules := map[string]int{}
	for n, times := range notes {
		rules[n.rule]++
		if times != 1 {
			t.Errorf("%s: %s of %s is noted %d times", n.of, n.rule, n.on, times)
		}
	}
	for _, rule := range []string{"R-005", "R-002"} {
		if rules[rule] != cases {
			t.Errorf("%s is noted in %d cases, want %d", rule, rules[rule], cases)
		}
	}
}

// eachRecord reads the record itself, without the program.
func eachRecord(t *testing.T, dir string, f func(r domain.Recorded)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server, err := eventstore.Embedded(dir, eventstore.ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Shutdown()
	store, err := eventstore.Open(ctx, eventstore.Config{Server: server, Volume: "ENF"})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = store.Run(ctx) })
	defer running.Wait()
	defer cancel()
	last, err := store.Last(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for stored, err := range store.Follow(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		r, err := domain.Read(uint64(stored.Position), stored.At, stored.Data)
		if err != nil {
			t.Fatal(err)
		}
		f(r)
		if stored.Position == last {
			return
		}
	}
}
