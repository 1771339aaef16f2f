package domain_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"liuhen/domain"
	"liuhen/domain/calendar"
)

// officerActs is what is recorded of one officer's certificates.
type officerAct struct {
	act      string
	fields   domain.Fields
	corrects string
}

func record(n int, a officerAct) domain.Recorded {
	return domain.Recorded{
		Position: uint64(n),
		Event: domain.Event{
			ID: fmt.Sprintf("e%d", n), Type: domain.RegisterProcedure + "." + a.act, Subject: "O-1", Revision: n, Source: "/agencies/A",
			Time: time.Date(2024, 1, n, 9, 0, 0, 0, time.UTC), Data: domain.Data{Fields: a.fields, Corrects: a.corrects},
		},
	}
}

// TestRegister asks who was qualified on a day, after what was recorded of the
// officer's certificates.
func TestRegister(t *testing.T) {
	enrol := officerAct{act: "enrol-officer", fields: domain.Fields{"person": "li", "full_name": "李明"}}
	issue := officerAct{act: "issue-certificate", fields: domain.Fields{
		"certificate_no": "06-1", "category": "科技", "area": "2101", "valid_from": "2022-01-01", "valid_to": "2026-12-31",
	}}
	act := func(name string, fields ...any) officerAct {
		a := officerAct{act: name, fields: domain.Fields{}}
		for i := 0; i < len(fields); i += 2 {
			a.fields[fields[i].(string)] = fields[i+1]
		}
		return a
	}
	for _, c := range []struct {
		name  string
		acts  []officerAct
		on    string
		valid bool
		what  string // field and area
	}{
		{"a valid certificate", []officerAct{enrol, issue}, "2025-12-30", true, "科技 2101"},
		{"the last day", []officerAct{enrol, issue}, "2026-12-31", true, "科技 2101"},
		{"after the last day", []officerAct{enrol, issue}, "2027-01-02", false, "科技 2101"},
		{"before the first day", []officerAct{enrol, issue}, "2021-12-31", false, "科技 2101"},
		{"renewed", []officerAct{enrol, issue, act("renew-certificate", "certificate_no", "06-2", "valid_from", "2027-01-01", "valid_to", "2031-12-31")}, "2027-01-02", true, "科技 2101"},
		{"suspended", []officerAct{enrol, issue, act("suspend-certificate", "suspended_from", "2024-03-01", "suspended_to", "2024-03-31")}, "2024-03-15", false, "科技 2101"},
		{"after a suspension", []officerAct{enrol, issue, act("suspend-certificate", "suspended_from", "2024-03-01", "suspended_to", "2024-03-31")}, "2024-04-01", true, "科技 2101"},
		{"suspended without an end", []officerAct{enrol, issue, act("suspend-certificate", "suspended_from", "2024-03-01")}, "2026-01-01", false, "科技 2101"},
		{"resumed", []officerAct{enrol, issue, act("suspend-certificate", "suspended_from", "2024-03-01"), act("resume-certificate", "resumed_from", "2024-05-01")}, "2024-05-01", true, "科技 2101"},
		{"revoked", []officerAct{enrol, issue, act("revoke-certificate", "revoked_on", "2024-06-01")}, "2024-06-01", false, "科技 2101"},
		{"before it was revoked", []officerAct{enrol, issue, act("revoke-certificate", "revoked_on", "2024-06-01")}, "2024-05-31", true, "科技 2101"},
		{"another field before the change", []officerAct{enrol, issue, act("change-certificate", "category", "文化", "changed_from", "2024-07-01")}, "2024-06-30", true, "科技 2101"},
		{"another field after it", []officerAct{enrol, issue, act("change-certificate", "category", "文化", "changed_from", "2024-07-01")}, "2024-07-01", true, "文化 2101"},
		{"a certificate of supervision", []officerAct{enrol, act("issue-certificate", "certificate_no", "J-1", "card", "supervision", "valid_from", "2022-01-01", "valid_to", "2026-12-31")}, "2025-01-01", false, " "},
		{"suspended twice, resumed once", []officerAct{enrol, issue, act("suspend-certificate", "suspended_from", "2024-03-01"), act("suspend-certificate", "suspended_from", "2024-04-01"), act("resume-certificate", "resumed_from", "2024-05-01")}, "2024-05-01", true, "科技 2101"},
		{"resumed long after the suspension had ended", []officerAct{enrol, issue, act("suspend-certificate", "suspended_from", "2024-03-01", "suspended_to", "2024-03-31"), act("resume-certificate", "resumed_from", "2024-06-01")}, "2024-04-15", true, "科技 2101"},
		{"issued anew after an open suspension and a revocation", []officerAct{enrol, issue, act("suspend-certificate", "suspended_from", "2024-03-01"), act("revoke-certificate", "revoked_on", "2024-04-01"),
			act("issue-certificate", "certificate_no", "06-9", "category", "科技", "area", "2101", "valid_from", "2025-01-01", "valid_to", "2029-12-31")}, "2025-06-01", true, "科技 2101"},
		{"renewed while suspended", []officerAct{enrol, issue, act("suspend-certificate", "suspended_from", "2024-03-01"), act("renew-certificate", "certificate_no", "06-2", "valid_from", "2025-01-01", "valid_to", "2031-12-31")}, "2025-06-01", false, "科技 2101"},
		{"a renewed certificate of supervision", []officerAct{enrol, act("issue-certificate", "certificate_no", "J-1", "card", "supervision", "valid_from", "2022-01-01", "valid_to", "2026-12-31"),
			act("renew-certificate", "certificate_no", "J-2", "valid_from", "2025-01-01", "valid_to", "2031-12-31")}, "2025-06-01", false, " "},
		{"transferred away", []officerAct{enrol, issue, act("transfer-officer", "enforcement_post", false, "transferred_on", "2024-08-01")}, "2024-08-02", false, "科技 2101"},
		{"transferred to an enforcement post", []officerAct{enrol, issue, act("transfer-officer", "enforcement_post", true, "transferred_on", "2024-08-01")}, "2024-08-02", true, "科技 2101"},
		{"left", []officerAct{enrol, issue, act("leave-post", "left_on", "2024-09-01")}, "2024-09-02", false, "科技 2101"},
		{"a corrected end of validity", []officerAct{enrol, issue, {act: "issue-certificate", corrects: "e2", fields: domain.Fields{
			"certificate_no": "06-1", "category": "科技", "area": "2101", "valid_from": "2022-01-01", "valid_to": "2023-12-31",
		}}}, "2024-01-01", false, "科技 2101"},
	} {
		t.Run(c.name, func(t *testing.T) {
			register := domain.NewRegister(nil)
			for i, a := range c.acts {
				before := register
				var err error
				if register, err = register.With(record(i+1, a)); err != nil {
					t.Fatal(err)
				}
				if again, err := register.With(record(i+1, a)); err != nil || again.At() != register.At() {
					t.Fatalf("the same record twice leads to %d, once to %d: %v", again.At(), register.At(), err)
				}
				if before.At() != uint64(i) {
					t.Fatalf("the register before was changed: it is at %d", before.At())
				}
			}
			day, err := calendar.ParseDate(c.on)
			if err != nil {
				t.Fatal(err)
			}
			o, ok := register.Officer("A", "li", day)
			if !ok || o.Name != "李明" {
				t.Fatalf("officer li is %+v, %v", o, ok)
			}
			if valid := !day.Before(o.ValidFrom) && !day.After(o.ValidTo); valid != c.valid || o.Field+" "+o.Area != c.what {
				t.Errorf("on %s: %+v; want valid %v, %s", c.on, o, c.valid, c.what)
			}
		})
	}
}

// TestRegisterBelow looks up who is not in the log in the file.
func TestRegisterBelow(t *testing.T) {
	if domain.NewRegister(nil).Knows("A") {
		t.Error("an empty log knows somebody")
	}
	file, err := domain.ParseRoster([]byte("officers:\n  - {id: zhao, name: 赵强, certificates: [{number: '1', from: 2023-01-01, to: 2027-12-31}]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	enrolled := record(1, officerAct{act: "enrol-officer", fields: domain.Fields{"person": "li", "full_name": "李明"}})
	register, err := domain.NewRegister(file).With(enrolled)
	if err != nil {
		t.Fatal(err)
	}
	on := calendar.MakeDate(2025, 1, 1)
	if o, ok := register.Officer("A", "zhao", on); !ok || o.Certificate != "1" {
		t.Errorf("zhao is %+v, %v", o, ok)
	}
	if o, ok := register.Officer("A", "li", on); !ok || o.Certificate != "" {
		t.Errorf("li, who has no certificate, is %+v, %v", o, ok)
	}
	if _, ok := register.Officer("A", "nobody", on); ok {
		t.Error("somebody who is nowhere was found")
	}
	if alone, err := domain.NewRegister(nil).With(enrolled); err != nil || alone.Knows("A") {
		t.Errorf("a candidate without a certificate makes the agency known: %v", err)
	}
	lost := record(3, officerAct{act: "issue-certificate"})
	if _, err := register.With(lost); !errors.Is(err, domain.ErrChain) {
		t.Errorf("after a missing record: %v, want ErrChain", err)
	}
}

// TestRegisterOfAgencies: a file that another agency opens for the same person
// does not stand before the agency's own.
func TestRegisterOfAgencies(t *testing.T) {
	of := func(agency string, position, revision int, a officerAct) domain.Recorded {
		r := record(position, a)
		r.Source, r.Subject, r.Revision = "/agencies/"+agency, domain.CaseID("O-"+agency), revision
		return r
	}
	enrol := officerAct{act: "enrol-officer", fields: domain.Fields{"person": "li", "full_name": "李明"}}
	issue := func(number string) officerAct {
		return officerAct{act: "issue-certificate", fields: domain.Fields{"certificate_no": number, "valid_from": "2022-01-01", "valid_to": "2026-12-31"}}
	}
	register, err := domain.NewRegister(nil).With(of("A", 1, 1, enrol), of("A", 2, 2, issue("A-1")), of("B", 3, 1, enrol), of("B", 4, 2, issue("B-1")))
	if err != nil {
		t.Fatal(err)
	}
	for agency, want := range map[string]string{"A": "A-1", "B": "B-1", "C": "B-1"} {
		if o, ok := register.Officer(agency, "li", calendar.MakeDate(2025, 1, 1)); !ok || o.Certificate != want {
			t.Errorf("for %s li has %q, %v; want %q", agency, o.Certificate, ok, want)
		}
	}
	if !register.Knows("A") || register.Knows("C") {
		t.Error("it knows of which agencies it has officers")
	}
}
