package casework_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"liuhen/casework"
	"liuhen/domain"
	"liuhen/domain/rulebook"
	"liuhen/eventstore"
	"liuhen/eventstore/eventstoretest"
)

// past is a read model as registers begin from it: the records up to a position.
type past struct {
	store *eventstore.Store
	upTo  eventstore.Position
}

func (p past) RecordsOf(ctx context.Context, procedure string) ([]domain.Recorded, uint64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var records []domain.Recorded
	if p.upTo == 0 {
		return nil, 0, nil
	}
	for stored, err := range p.store.Follow(ctx, 0) {
		if err != nil {
			return nil, 0, err
		}
		r, err := domain.Read(uint64(stored.Position), stored.At, stored.Data)
		if err != nil {
			return nil, 0, err
		}
		if r.Procedure() == procedure {
			records = append(records, r)
		}
		if stored.Position == p.upTo+1 || stored.Position == p.upTo && p.upTo == last(p.store) {
			break // one more than it claims, as read models may have
		}
	}
	return records, uint64(p.upTo), nil
}

func last(s *eventstore.Store) eventstore.Position { p, _ := s.Last(context.Background()); return p }

// TestRegisters judges acts by certificates that are themselves recorded: each
// event freezes them as they were on its day, and says up to where the register
// was read.
func TestRegisters(t *testing.T) {
	store := eventstoretest.New(t)
	follow := func(from past) *casework.Registers {
		registers := casework.NewRegisters(nil)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- registers.Run(ctx, store, from, slog.New(slog.DiscardHandler)) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		return registers
	}
	registers := follow(past{store: store})
	desk := casework.New(book, store, nil, casework.Options{Roster: registers.Roster})
	n := 0
	officer := func(person, act string, fields map[string]any) domain.Receipt {
		t.Helper()
		n++
		c := domain.Command{
			ID: fmt.Sprint("officer-", n), Case: domain.CaseID("证-" + person), Act: act,
			At: time.Now().Add(-time.Minute), Actor: domain.Actor{ID: "clerk", Name: "赵", Roles: []string{"*"}}, AlreadyDone: true, Reason: "补录",
			Fields: map[string]json.RawMessage{},
		}
		if act == "enrol-officer" {
			c.Agency, c.Procedure = "210100-kjj", domain.RegisterProcedure
		}
		for name, v := range fields {
			data, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			c.Fields[name] = data
		}
		r, err := desk.Record(t.Context(), c)
		if err != nil {
			t.Fatalf("%s of %s: %v", act, person, err)
		}
		if err := registers.Wait(t.Context(), r.Position); err != nil {
			t.Fatal(err)
		}
		return r
	}
	for person, name := range map[string]string{"li": "李明", "zhao": "赵强"} {
		officer(person, "enrol-officer", map[string]any{"person": person, "full_name": name, "unit": "执法科", "staff_kind": "formal"})
		officer(person, "issue-certificate", map[string]any{
			"certificate_no": "06-" + person, "card": "enforcement", "category": "科技", "area": "2101", "issuer": "司法局",
			"valid_from": "2022-01-01", "valid_to": "2029-12-31",
		})
	}
	if _, err := desk.Record(t.Context(), clue("1", "甲-1", time.Now().Add(-time.Minute))); err != nil {
		t.Fatal(err)
	}
	judged := func(desk *casework.Desk, id string) (domain.Receipt, domain.Recorded) {
		t.Helper()
		r, err := desk.Record(t.Context(), evidence(id, "甲-1", time.Now().Add(-time.Minute)))
		if err != nil {
			t.Fatal(err)
		}
		stored, _, err := store.Load(t.Context(), "甲-1")
		if err != nil {
			t.Fatal(err)
		}
		s := stored[len(stored)-1]
		event, err := domain.Read(uint64(s.Position), s.At, s.Data)
		if err != nil {
			t.Fatal(err)
		}
		return r, event
	}
	unqualified := func(r domain.Receipt) bool {
		return slices.ContainsFunc(r.Findings, func(f rulebook.Finding) bool { return f.Rule == "R-002" })
	}

	r, event := judged(desk, "2")
	if unqualified(r) {
		t.Errorf("with certificates: %+v", r.Findings)
	}
	if o := event.Data.Officers[0]; o.Certificate != "06-li" || o.ValidTo.String() != "2029-12-31" || event.Data.RosterAt == 0 || event.Data.RosterAt >= event.Position {
		t.Errorf("the event has frozen %+v at %d", o, event.Data.RosterAt)
	}
	yesterday := time.Now().AddDate(0, 0, -1).Format(time.DateOnly)
	suspended := officer("li", "suspend-certificate", map[string]any{"ground": "other", "reason": "调查", "suspended_from": yesterday})
	if r, event = judged(desk, "3"); !unqualified(r) || event.Data.RosterAt < suspended.Position {
		t.Errorf("with a suspended certificate: %+v, roster at %d", r.Findings, event.Data.RosterAt)
	}

	// Another process begins in the middle, from a read model.
	later := follow(past{store: store, upTo: 3})
	if err := later.Wait(t.Context(), event.Position); err != nil {
		t.Fatal(err)
	}
	if r, _ = judged(casework.New(book, store, nil, casework.Options{Roster: later.Roster}), "4"); !unqualified(r) {
		t.Errorf("in another process: %+v", r.Findings)
	}
}
