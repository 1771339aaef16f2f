package reactions_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"liuhen/casework"
	"liuhen/domain"
	"liuhen/reactions"
)

// fields are the fields of an act.
type fields map[string]any

func (f fields) raw(t testing.TB) map[string]json.RawMessage {
	t.Helper()
	raw := map[string]json.RawMessage{}
	for name, v := range f {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		raw[name] = text
	}
	return raw
}

func execution(t testing.TB, c domain.CaseID, party fields) domain.Command {
	t.Helper()
	return domain.Command{
		ID: "open-" + string(c), Case: c, Agency: "kjj", Procedure: "compulsory-execution", Act: "open-execution", At: time.Now(),
		Actor: domain.Actor{ID: "li", Roles: []string{"handler"}},
		Fields: fields{
			"party": party, "decision_no": "沈科罚〔2026〕3号", "decision_date": "2026-01-05", "decision_served_on": "2026-01-06",
			"obligation": "money", "principal": 100000, "has_power": true, "power_basis": "某法第十条",
		}.raw(t),
	}
}

func decision(t testing.TB, c domain.CaseID, party fields) domain.Command {
	t.Helper()
	return domain.Command{
		ID: "decide-" + string(c), Case: c, Act: "decide-execution", At: time.Now(), AlreadyDone: true, Reason: "系统停用期间作出",
		Actor: domain.Actor{ID: "wang", Roles: []string{"head"}}, Correlation: "request-7",
		Fields: fields{
			"decision_no": "沈科强〔2026〕1号", "decision_date": "2026-11-20", "party": party, "methods": []string{"deposit"},
		}.raw(t),
	}
}

func measure(t testing.TB, c domain.CaseID, more fields) domain.Command {
	t.Helper()
	f := fields{"measure_no": "沈科封〔2026〕1号", "kind": "seal", "party": fields{"name": "张某", "kind": "citizen", "birth": "2010-05-01"}}
	for k, v := range more {
		f[k] = v
	}
	return domain.Command{
		ID: "measure-" + string(c), Case: c, Agency: "kjj", Procedure: "coercive-measure", Act: "implement-measure", At: time.Now(),
		AlreadyDone: true, Reason: "系统停用期间实施", Actor: domain.Actor{ID: "li", Roles: []string{"handler"}}, Fields: f.raw(t),
	}
}

const company, trader = "91350100M000100Y43", "92350100M000100Y41"

// A decision that must be published, in a procedure that has no act to publish it,
// opens a publication file: once, from what the record says, with its cause.
func TestPublicationTask(t *testing.T) {
	o := newOffice(t)
	desk := casework.New(book, o.store, nil, casework.Options{Facts: empty})
	config := func(c *reactions.Config) { c.Reactions = publication(desk) }
	r, stop := o.runner(config)

	enterprise := fields{"name": "某公司", "kind": "entity", "uscc": company}
	o.record(execution(t, "强-1", enterprise))
	decided := o.record(decision(t, "强-1", enterprise))
	long := domain.CaseID(strings.Repeat("长", 20))
	o.record(execution(t, long, enterprise))
	decidedLong := o.record(decision(t, long, enterprise))
	o.record(measure(t, "封-1", fields{"decision_date": "2026-11-20"}))
	o.record(measure(t, "封-2", nil)) // no date on a decision
	o.record(measure(t, "封-3", fields{"decision_date": "2026-11-20", "party": fields{"name": "甲", "kind": "entity"}}))
	correction := decision(t, "强-1", enterprise)
	correction.ID, correction.Corrects, correction.Reason = "correct-1", decided.Event, "笔误"
	o.record(correction)
	imported := measure(t, "封-4", fields{"decision_date": "2026-11-20"})
	imported.Import = &domain.Import{Source: "旧系统", Batch: "b", Row: 1}
	o.record(imported)
	o.dealtWith(r, reactions.PublicationTask)
	stop()
	// All of it once more, as after a crash that lost every acknowledgement.
	for _, re := range publication(desk) {
		for _, rec := range everything(t, o.store) {
			if re.Wants(rec) {
				_ = re.React(t.Context(), rec) // what it cannot do was set aside
			}
		}
	}

	files := map[domain.CaseID]domain.Recorded{}
	for _, rec := range everything(t, o.store) {
		if rec.Procedure() != "publication" {
			continue
		}
		if _, twice := files[rec.Subject]; twice || rec.Act() != "receive-decision" {
			t.Errorf("a further record in %s: %s", rec.Subject, rec.Type)
		}
		files[rec.Subject] = rec
	}
	if len(files) != 3 {
		t.Errorf("%d publication files, want 3: %v", len(files), files)
	}
	file := files["公示-强-1-2"]
	if got := fmt.Sprint(file.Data.Fields); got != "map[decision_date:2026-11-20 decision_kind:coercion decision_no:沈科强〔2026〕1号 object_kind:entity source_case:强-1]" {
		t.Errorf("fields = %s", got)
	}
	if file.Causation != decided.Event || file.Correlation != "request-7" || file.Actor != reactions.ActorID || file.ActorRole != "system" ||
		file.Agency() != "kjj" || file.Command != reactions.CommandID(reactions.PublicationTask, decided.Event, 1) || file.Data.LateReason != "" {
		t.Errorf("file = %+v", file.Event)
	}
	if other := files[domain.CaseID("公示-"+decidedLong.Event)]; other.Causation != decidedLong.Event {
		t.Errorf("the file of a case with a long id = %+v", other.Event)
	}
	if minor := files["公示-封-1-1"]; minor.Data.Fields["party_is_minor"] != true || minor.Data.Fields["object_kind"] != "natural" || minor.Data.Fields["decision_no"] != "沈科封〔2026〕1号" {
		t.Errorf("the file of a measure = %+v", minor.Data.Fields)
	}
	for _, f := range file.Data.Findings {
		t.Errorf("finding %s: %s", f.Rule, f.Says.EN)
	}

	r, _ = o.runner(config)
	list, err := r.SetAside(t.Context(), false)
	if err != nil || len(list) != 2 {
		t.Fatalf("set aside = %+v %v, want the two that do not say enough", list, err)
	}
	if list[0].Case != "封-2" || !strings.Contains(list[0].Reason, "decision_date") || list[1].Case != "封-3" || !strings.Contains(list[1].Reason, "sole trader") {
		t.Errorf("set aside = %+v", list)
	}
	o.dealtWith(r, reactions.PublicationTask)
}

// Which acts it is about follows from the law that is in the program; a change there
// shows here.
func TestPublicationTaskConcerns(t *testing.T) {
	task := publication(nil)[0]
	var got []string
	for _, p := range book.Procedures() {
		for _, a := range p.Acts {
			rec := domain.Recorded{Event: domain.Event{Type: p.Name + "." + a.Name, Edition: p.Edition}}
			if task.Wants(rec) {
				got = append(got, rec.Type)
			}
		}
	}
	want := "coercive-measure.implement-measure compulsory-execution.decide-execution compulsory-execution.decide-substitute"
	if text := strings.Join(got, " "); text != want {
		t.Errorf("it is about %s, want %s", text, want)
	}
}

// The kind of party, as far as a record tells it.
func TestPublicationTaskParty(t *testing.T) {
	for _, c := range []struct {
		party fields
		want  string // "" where it cannot be told
	}{
		{fields{"kind": "entity", "uscc": company}, "entity"},
		{fields{"kind": "entity", "uscc": trader}, "sole-trader"},
		{fields{"kind": "citizen", "uscc": trader}, "sole-trader"},
		{fields{"kind": "citizen"}, "natural"},
		{fields{"kind": "entity"}, ""},
		{fields{"kind": "citizen", "uscc": company}, ""},
		{fields{}, ""},
	} {
		var got domain.Command
		desk := deskFunc(func(_ context.Context, cmd domain.Command) (domain.Receipt, error) {
			got = cmd
			return domain.Receipt{}, nil
		})
		rec := domain.Recorded{Event: domain.Event{
			ID: "e-1", Type: "compulsory-execution.decide-execution", Subject: "c-1", Source: "/agencies/kjj", Recorded: time.Now().Add(-48 * time.Hour),
			Data: domain.Data{Fields: domain.Fields{"decision_no": "1", "decision_date": "2026-11-20", "party": map[string]any(c.party)}},
		}}
		err := publication(desk)[0].React(t.Context(), rec)
		if c.want == "" {
			if err == nil {
				t.Errorf("%v: opened %v, want an error", c.party, got)
			}
			continue
		}
		if err != nil || string(got.Fields["object_kind"]) != `"`+c.want+`"` || got.LateReason == "" {
			t.Errorf("%v: %s %v, want %s and a reason for being late", c.party, got.Fields["object_kind"], err, c.want)
		}
	}
}

// A desk that fails otherwise than by an answer makes the reaction wait, and sets
// nothing aside.
func TestDeskDown(t *testing.T) {
	o := newOffice(t)
	var down atomic.Bool
	down.Store(true)
	desk := deskFunc(func(ctx context.Context, cmd domain.Command) (domain.Receipt, error) {
		if down.Load() {
			return domain.Receipt{}, errors.New("the database is away")
		}
		return o.desk.Record(ctx, cmd)
	})
	r, _ := o.runner(func(c *reactions.Config) { c.Reactions, c.Tries = publication(desk), 2 })
	o.record(measure(t, "封-1", fields{"decision_date": "2026-11-20"}))
	eventually(t, "it stands still", func() bool { return len(r.Status()[0].Standing) == 1 })
	down.Store(false)
	o.dealtWith(r, reactions.PublicationTask)
	if list, err := r.SetAside(t.Context(), true); err != nil || len(list) != 0 {
		t.Errorf("set aside = %+v %v", list, err)
	}
	if all := everything(t, o.store); len(all) != 2 || all[1].Subject != "公示-封-1-1" {
		t.Errorf("%d records, want the measure and its file", len(all))
	}
}

type recorded struct {
	reactions.Desk
	record func(context.Context, domain.Command) (domain.Receipt, error)
}

func (r recorded) Record(ctx context.Context, cmd domain.Command) (domain.Receipt, error) {
	return r.record(ctx, cmd)
}

func deskFunc(record func(context.Context, domain.Command) (domain.Receipt, error)) reactions.Desk {
	return recorded{record: record}
}

// publication is the reaction that this file is about.
func publication(desk reactions.Desk) []reactions.Reaction {
	return reactions.All(reactions.System{Desk: desk, Book: book, Now: time.Now})[:1]
}
