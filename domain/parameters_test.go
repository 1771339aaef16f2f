package domain_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// set is what is recorded when an agency puts a value in force, or repeals it.
func set(position, revision int, c domain.CaseID, agency, act string, fields domain.Fields, corrects string) domain.Recorded {
	return domain.Recorded{
		Position: uint64(position),
		Event: domain.Event{
			ID: fmt.Sprintf("e%d", position), Type: domain.ParametersProcedure + "." + act, Subject: c, Revision: revision, Source: "/agencies/" + agency,
			Time: time.Date(2025, 1, position, 9, 0, 0, 0, time.UTC), Data: domain.Data{Fields: fields, Corrects: corrects},
		},
	}
}

func inForce(name string, value map[string]any, days ...string) domain.Fields {
	f := domain.Fields{"parameter": name, "value": value, "valid_from": days[0]}
	if len(days) > 1 {
		f["valid_to"] = days[1]
	}
	return f
}

func TestParameters(t *testing.T) {
	limit := func(text string) map[string]any { return map[string]any{"kind": "limit", "limit": text} }
	all := []domain.Recorded{
		set(1, 1, "P-1", "A", "propose-value", domain.Fields{"parameter": "filing_limit"}, ""),
		set(2, 2, "P-1", "A", "put-in-force", inForce("filing_limit", limit("10 working days"), "2025-02-01"), ""),
		set(3, 1, "P-2", "B", "put-in-force", inForce("filing_limit", limit("5 working days"), "2025-01-01"), ""),
		set(4, 3, "P-1", "A", "put-in-force", inForce("filing_limit", limit("20 working days"), "2025-03-01", "2025-03-31"), ""),
		set(5, 1, "P-3", "A", "put-in-force", inForce("hearing_fine_entity", map[string]any{"kind": "money", "money": int64(300)}, "2025-01-01"), ""),
		set(6, 2, "P-3", "A", "repeal-value", domain.Fields{"valid_to": "2025-06-30"}, ""),
		set(7, 2, "P-2", "B", "put-in-force", inForce("filing_limit", limit("6 working days"), "2025-01-01"), "e3"),
		set(8, 1, "P-4", "A", "put-in-force", inForce("warned", map[string]any{"kind": "boolean", "yes": false}, "2025-01-01"), ""),
	}
	// Recorded though a rule would have refused it: it puts nothing in force.
	alone := set(9, 1, "P-5", "A", "put-in-force", inForce("filing_limit", limit("1 working day"), "2025-01-01"), "")
	alone.Data.Findings = []rulebook.Finding{{Rule: "AP-103", Verdict: rulebook.Refuse}}
	all = append(all, alone,
		set(10, 2, "P-4", "A", "put-in-force", inForce("other", map[string]any{"kind": "text", "words": "x"}, "2025-02-01"), "")) // a second one in one case
	at := func(n int) *domain.Parameters {
		ps := domain.NewParameters()
		for _, r := range all[:n] {
			var err error
			if ps, err = ps.With(r); err != nil {
				t.Fatal(err)
			}
			if again, err := ps.With(r); err != nil || again.At() != ps.At() {
				t.Fatalf("the same record twice: %v", err)
			}
		}
		return ps
	}
	for _, c := range []struct {
		n          int // records
		agency, on string
		want       string
	}{
		{0, "A", "2025-02-01", "map[]"},
		{1, "A", "2025-02-01", "map[]"},
		{2, "A", "2025-01-31", "map[]"},
		{2, "A", "2025-02-01", "map[filing_limit:10 working days]"},
		{2, "B", "2025-02-01", "map[]"},
		{4, "B", "2025-02-01", "map[filing_limit:5 working days]"},
		{4, "A", "2025-03-31", "map[filing_limit:20 working days]"},
		{4, "A", "2025-04-01", "map[filing_limit:10 working days]"},
		{5, "A", "2025-07-01", "map[filing_limit:10 working days hearing_fine_entity:300]"},
		{6, "A", "2025-07-01", "map[filing_limit:10 working days]"},
		{6, "A", "2025-06-30", "map[filing_limit:10 working days hearing_fine_entity:300]"},
		{7, "B", "2025-02-01", "map[filing_limit:6 working days]"},
		{8, "A", "2025-01-15", "map[hearing_fine_entity:300 warned:false]"},
		{9, "A", "2025-07-01", "map[filing_limit:10 working days warned:false]"},
		{10, "A", "2025-07-01", "map[filing_limit:10 working days other:x warned:false]"},
	} {
		day, err := calendar.ParseDate(c.on)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(at(c.n).On(c.agency, day)); got != c.want {
			t.Errorf("after %d records, agency %s on %s: %s, want %s", c.n, c.agency, c.on, got, c.want)
		}
	}
	if _, err := at(1).With(all[3]); !errors.Is(err, domain.ErrChain) {
		t.Errorf("a missing record: %v, want ErrChain", err)
	}
}

// TestParametersApply judges an act by its agency's value, which is frozen into
// the event; the limit that it begins goes by the value of its day also when the
// agency has set another since.
func TestParametersApply(t *testing.T) {
	ps, err := domain.NewParameters().With(set(1, 1, "P-1", "A", "put-in-force",
		inForce("filing_limit", map[string]any{"kind": "limit", "limit": "2 working days"}, "2025-02-01"), ""))
	if err != nil {
		t.Fatal(err)
	}
	clue := func(on string) domain.Command {
		at, err := time.ParseInLocation(time.DateTime, on+" 09:00:00", calendar.Shanghai)
		if err != nil {
			t.Fatal(err)
		}
		return domain.Command{
			ID: "1", Case: "K-1", Agency: "A", Procedure: "penalty-ordinary", Act: "receive-clue", At: at,
			Actor:  domain.Actor{ID: "li", Roles: []string{"handler"}},
			Fields: map[string]json.RawMessage{"source": json.RawMessage(`"report"`), "summary": json.RawMessage(`"群众举报"`)},
		}
	}
	for _, c := range []struct {
		on     string
		ps     *domain.Parameters
		frozen string
		due    string
	}{
		{"2025-03-03", nil, "map[]", "2025-03-24"}, // fifteen working days by the law files
		{"2025-03-03", ps, "map[filing_limit:2 working days]", "2025-03-05"},
		{"2025-01-20", ps, "map[]", "2025-02-14"}, // before the day from which it is in force
	} {
		cmd := clue(c.on)
		event, err := domain.Decide(book, domain.Registers{Parameters: c.ps}, nil, cmd, domain.Stamp{Event: "e1", Salt: "s", Now: cmd.At.Add(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		data, err := event.Encode()
		if err != nil {
			t.Fatal(err)
		}
		r, err := domain.Read(1, cmd.At, data)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(map[string]any(r.Data.Parameters)); got != c.frozen {
			t.Errorf("%s: frozen %s, want %s", c.on, got, c.frozen)
		}
		k, err := domain.Evolve(book, nil, r)
		if err != nil {
			t.Fatal(err)
		}
		due := ""
		for _, d := range k.Procedure.Deadlines(k.History, nil) {
			if d.Rule == "R-005" {
				due = d.Due.On.String()
			}
		}
		if due != c.due {
			t.Errorf("%s: due %s, want %s", c.on, due, c.due)
		}
		// The act that ends the limit is judged by what the one that began it froze.
		late := rulebook.Step{Event: "e2", Act: "decline-filing", At: cmd.At.AddDate(0, 0, 3), Recorded: cmd.At.AddDate(0, 0, 3)}
		broken := false
		for _, f := range k.Procedure.Judge(k.History, late, rulebook.Known{}) {
			broken = broken || f.Rule == "R-005"
		}
		if broken != (c.frozen != "map[]") {
			t.Errorf("%s: three days later it is late: %v", c.on, broken)
		}
	}
}
