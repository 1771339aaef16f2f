package casework_test

import (
	"context"
	"encoding/json"
	"errors"
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
		registers := casework.NewRegisters(nil, book.Calendar())
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
	desk := casework.New(book, store, nil, casework.Options{Registers: registers.Now})
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
	first := r
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
	if r, _ = judged(casework.New(book, store, nil, casework.Options{Registers: later.Now}), "4"); !unqualified(r) {
		t.Errorf("in another process: %+v", r.Findings)
	}

	// A suspension that is recorded with effect from before an act that was
	// found in order: the act gets a new finding, and the first record stays.
	note := domain.Command{
		ID: "note-1", Case: "甲-1", Act: "note-findings", At: time.Now().Add(-time.Millisecond), Actor: domain.Actor{ID: "system", Roles: []string{"system"}},
		Fields: map[string]json.RawMessage{"cause": json.RawMessage(`"registers"`), "changed": json.RawMessage(`"` + suspended.Event + `"`)},
	}
	noted, err := desk.Record(t.Context(), note)
	if err != nil {
		t.Fatal(err)
	}
	if f := noted.Findings; len(f) != 1 || f[0].Rule != "R-002" || f[0].Of != first.Event || f[0].Verdict != rulebook.Flag {
		t.Errorf("noted %+v, want R-002 of %s", f, first.Event)
	}
	note.ID, note.At = "note-2", time.Now().Add(-time.Millisecond)
	var nothing *domain.Invalid
	if r, err := desk.Record(t.Context(), note); !errors.As(err, &nothing) {
		t.Errorf("noted again: %+v, %v; want that there is nothing new", r.Findings, err)
	}
	note.ID, note.Actor.Roles = "note-3", []string{"handler"}
	var refused *domain.Refusal
	if _, err := desk.Record(t.Context(), note); !errors.As(err, &refused) {
		t.Errorf("noted by an officer: %v, want a refusal", err)
	}
}

// TestOverdue notes a limit that passes without the act that was due, once.
func TestOverdue(t *testing.T) {
	desk := casework.New(book, eventstoretest.New(t), nil, casework.Options{})
	opened := clue("1", "甲-1", time.Now().AddDate(0, 0, -60))
	opened.LateReason = "补录"
	receipt, err := desk.Record(t.Context(), opened)
	if err != nil {
		t.Fatal(err)
	}
	note := domain.Command{
		ID: "note-1", Case: "甲-1", Act: "note-findings", At: time.Now().Add(-time.Millisecond), Actor: domain.Actor{ID: "system", Roles: []string{"system"}},
		Fields: map[string]json.RawMessage{"cause": json.RawMessage(`"overdue"`)},
	}
	early := note
	early.ID, early.At = "note-0", opened.At.Add(time.Hour)
	var nothing *domain.Invalid
	if r, err := desk.Record(t.Context(), early); !errors.As(err, &nothing) {
		t.Errorf("before the limit has passed: %+v, %v", r.Findings, err)
	}
	early.At = time.Now().AddDate(0, 0, 30)
	if r, err := desk.Record(t.Context(), early); !errors.As(err, &nothing) {
		t.Errorf("noted in the future: %+v, %v", r.Findings, err)
	}
	noted, err := desk.Record(t.Context(), note)
	if err != nil {
		t.Fatal(err)
	}
	if f := noted.Findings; len(f) != 1 || f[0].Rule != "R-005" || f[0].Of != receipt.Event || f[0].Due.IsZero() {
		t.Errorf("noted %+v, want R-005 of %s", f, receipt.Event)
	}
	note.ID = "note-2"
	if r, err := desk.Record(t.Context(), note); !errors.As(err, &nothing) {
		t.Errorf("noted again: %+v, %v", r.Findings, err)
	}
	late := evidence("2", "甲-1", time.Now().Add(-time.Minute)) // the case goes on as before
	if r, err := desk.Record(t.Context(), late); err != nil {
		t.Errorf("an act after it: %+v, %v", r, err)
	}
}
