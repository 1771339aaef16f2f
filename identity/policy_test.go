package identity

import (
	"strings"
	"testing"
	"testing/fstest"
)

func policies(t testing.TB) *Policies {
	t.Helper()
	ps, err := LoadPolicies()
	if err != nil {
		t.Fatalf("load the shipped policies: %v", err)
	}
	return ps
}

func actor(role Role, agencies ...string) Actor {
	return Actor{Person: "p-1", Name: "李明", Role: role, Agencies: agencies, Token: "k-1"}
}

func TestAllow(t *testing.T) {
	ps := policies(t)
	const here, there = "210100", "210200"
	for _, tc := range []struct {
		name    string
		actor   Actor
		action  Action
		on      Resource
		purpose string
		allowed bool
		reason  string // id of a policy among the reasons
	}{
		{"an officer opens a case of the own agency", actor(Officer, here), OpenCase, CaseOf("", here, "penalty-ordinary"), "", true, "work-on-own-agency"},
		{"an officer of another agency", actor(Officer, there), RecordAct, CaseOf("C-1", here, ""), "", false, "work-on-own-agency"},
		{"a code is no prefix", actor(Officer, "2101"), ReadCase, CaseOf("C-1", here, ""), "", false, "staff-read-own-agency"},
		{"an officer reads the ledger", actor(Officer, here), ReadLedger, OfficeOf(here), "", true, "staff-read-own-agency"},
		{"an officer does not read everybody's ledger", actor(Officer, here), ReadLedger, OfficeOf(Everywhere), "", false, "staff-read-own-agency"},
		{"an officer exports the own agency", actor(Officer, here), Export, OfficeOf(here), "", true, "staff-export-own-agency"},
		{"an officer does not export another", actor(Officer, here), Export, OfficeOf(there), "", false, "staff-export-own-agency"},
		{"an inspector exports everywhere", actor(Inspector, Everywhere), Export, OfficeOf(Everywhere), "", true, "watchers-export-their-agencies"},
		{"an administrator exports nothing without a purpose", actor(Administrator, Everywhere), Export, OfficeOf(here), "", false, "administrator-needs-purpose"},
		{"an administrator exports with a purpose", actor(Administrator, Everywhere), Export, OfficeOf(here), "move to another system", true, "administrator-exports-with-purpose"},
		{"an importer exports nothing", actor(Importer, here), Export, OfficeOf(here), "", false, ""},
		{"a supervisor of two agencies", actor(Supervisor, here, there), ReadCase, CaseOf("C-1", there, ""), "", true, "watchers-read-their-agencies"},
		{"a supervisor records nothing", actor(Supervisor, Everywhere), RecordAct, CaseOf("C-1", here, ""), "", false, "watchers-record-nothing"},
		{"an inspector everywhere", actor(Inspector, Everywhere), ReadFindings, OfficeOf(Everywhere), "", true, "watchers-read-their-agencies"},
		{"an inspector sees who looked", actor(Inspector, here), ReadAccessTrail, TheSystem(), "", true, "inspect-access-trail"},
		{"an administrator does not see who looked", actor(Administrator, Everywhere), ReadAccessTrail, TheSystem(), "audit", false, ""},
		{"an administrator records nothing", actor(Administrator, Everywhere), RecordAct, CaseOf("C-1", here, ""), "repair", false, "administrator-records-nothing"},
		{"an administrator opens nothing", actor(Administrator, Everywhere), OpenCase, CaseOf("", here, ""), "repair", false, "administrator-records-nothing"},
		{"an administrator reads nothing personal without a purpose", actor(Administrator, Everywhere), ReadCase, CaseOf("C-1", here, ""), "", false, "administrator-needs-purpose"},
		{"an administrator reads with a purpose", actor(Administrator, Everywhere), ReadCase, CaseOf("C-1", here, ""), "restore test 12", true, "administrator-reads-with-purpose"},
		{"an administrator sees figures", actor(Administrator, Everywhere), ReadStats, OfficeOf(Everywhere), "", true, "administrator-sees-figures"},
		{"an administrator imports with a purpose", actor(Administrator, Everywhere), Import, TheSystem(), "first filling", true, "administrator-imports"},
		{"an administrator imports without", actor(Administrator, Everywhere), Import, TheSystem(), "", false, "administrator-imports"},
		{"an importer imports", actor(Importer, here), Import, TheSystem(), "", true, "import-logs"},
		{"an importer reads no case", actor(Importer, here), ReadCase, CaseOf("C-1", here, ""), "", false, ""},
		{"an officer imports nothing", actor(Officer, here), Import, TheSystem(), "", false, ""},
		{"an administrator rebuilds", actor(Administrator), Rebuild, TheSystem(), "", true, "administrator-rebuilds"},
		{"an inspector verifies", actor(Inspector, here), Verify, TheSystem(), "", true, "watchers-verify"},
		{"a supervisor verifies", actor(Supervisor, here), Verify, TheSystem(), "", true, "watchers-verify"},
		{"an administrator verifies", actor(Administrator), Verify, TheSystem(), "", true, "administrator-verifies"},
		{"a head verifies nothing", actor(Head, here), Verify, TheSystem(), "", false, ""},
		{"a head rebuilds nothing", actor(Head, here), Rebuild, TheSystem(), "", false, ""},
		{"an administrator makes an officer's token", actor(Administrator), ManageTokens, TokenFor("p-2", Officer), "", true, "administrator-manages-tokens"},
		{"an administrator makes no officer's token for themselves", actor(Administrator), ManageTokens, TokenFor("p-1", Officer), "", false, "no-second-hat-for-oneself"},
		{"an administrator renews the own token", actor(Administrator), ManageTokens, TokenFor("p-1", Administrator), "", true, "administrator-manages-tokens"},
		{"an officer makes no token", actor(Officer, here), ManageTokens, TokenFor("p-2", Officer), "", false, ""},
		{"an inspector sees what was set aside", actor(Inspector, here), ReadReactions, TheSystem(), "", true, "inspector-sees-reactions"},
		{"an inspector retries nothing", actor(Inspector, here), ManageReactions, TheSystem(), "", false, ""},
		{"an administrator sees what was set aside", actor(Administrator), ReadReactions, TheSystem(), "", true, "administrator-sees-reactions"},
		{"an administrator retries", actor(Administrator), ManageReactions, TheSystem(), "", true, "administrator-manages-reactions"},
		{"an officer does not see it", actor(Officer, here), ReadReactions, TheSystem(), "", false, ""},
		{"a supervisor tries a draft of the law", actor(Supervisor, here, there), TryLaw, OfficeOf(there), "", true, "watchers-try-a-draft"},
		{"an inspector of elsewhere tries none", actor(Inspector, there), TryLaw, OfficeOf(here), "", false, "watchers-try-a-draft"},
		{"an administrator tries a draft of the law", actor(Administrator, Everywhere), TryLaw, OfficeOf(Everywhere), "", true, "administrator-tries-a-draft"},
		{"a supervisor inspects a period", actor(Supervisor, here, there), Inspect, OfficeOf(there), "", true, "watchers-inspect"},
		{"an inspector of elsewhere inspects none", actor(Inspector, there), Inspect, OfficeOf(here), "", false, "watchers-inspect"},
		{"a head inspects none", actor(Head, here), Inspect, OfficeOf(here), "", false, ""},
		{"a head tries none", actor(Head, here), TryLaw, OfficeOf(here), "", false, ""},
		{"anybody reads the law", actor(Public), ReadLaw, TheSystem(), "", true, "law-is-public"},
		{"anybody reads nothing else", actor(Public), ReadStats, OfficeOf(here), "", false, ""},
		{"a role that there is not", actor("king", Everywhere), ReadCase, CaseOf("C-1", here, ""), "x", false, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := ps.Allow(tc.actor, tc.action, tc.on, tc.purpose)
			if d.Allowed != tc.allowed {
				t.Errorf("%s to %s: allowed = %t, want %t; %s", tc.actor.Role, tc.action, d.Allowed, tc.allowed, d.Why("en"))
			}
			if len(d.Reasons) == 0 || d.Why("zh") == "" || d.Why("en") == "" {
				t.Fatalf("decision has no reason in both languages: %+v", d)
			}
			if got := d.Reasons[0].Policy; got != tc.reason {
				t.Errorf("reason = %q (%s), want %q", got, d.Why("en"), tc.reason)
			}
		})
	}
}

// Every action is known to every role, and whatever is asked there is a reason.
func TestEveryRoleGetsAReason(t *testing.T) {
	ps := policies(t)
	if len(ps.actions) != 18 {
		t.Errorf("the schema has %d actions, package identity names 18", len(ps.actions))
	}
	for action := range ps.actions {
		for _, role := range Roles() {
			for _, on := range []Resource{CaseOf("C", "A", "p"), OfficeOf("A"), TokenFor("x", Head), TheSystem()} {
				if d := ps.Allow(actor(role, "A"), action, on, ""); len(d.Reasons) == 0 {
					t.Errorf("%s, %s, %v: no reason", role, action, on)
				}
			}
		}
	}
}

func TestDenialNamesTheRolesThatMay(t *testing.T) {
	d := policies(t).Allow(actor(Officer, "A"), ManageTokens, TokenFor("", ""), "")
	if want := "the role officer may not do manage-tokens; roles that may: administrator"; d.Why("en") != want {
		t.Errorf("why = %q, want %q", d.Why("en"), want)
	}
}

func TestAgencies(t *testing.T) {
	ps := policies(t)
	list, all, d := ps.Agencies(actor(Supervisor, "B", "A"), ReadLedger, "", "")
	if all || !d.Allowed || strings.Join(list, " ") != "A B" {
		t.Errorf("a supervisor of A and B: %v all=%t %v", list, all, d)
	}
	if _, all, d := ps.Agencies(actor(Inspector, Everywhere), ReadLedger, "", ""); !all || !d.Allowed {
		t.Errorf("an inspector everywhere: all=%t %v", all, d)
	}
	if list, _, d := ps.Agencies(actor(Inspector, Everywhere), ReadLedger, "A", ""); len(list) != 1 || !d.Allowed {
		t.Errorf("an inspector everywhere who asks for A: %v %v", list, d)
	}
	if _, _, d := ps.Agencies(actor(Officer, "A"), ReadLedger, "B", ""); d.Allowed || len(d.Reasons) == 0 {
		t.Errorf("an officer of A who asks for B: %v", d)
	}
	if _, _, d := ps.Agencies(actor(Officer), ReadLedger, "", ""); d.Allowed || len(d.Reasons) == 0 {
		t.Errorf("an officer of no agency: %v", d)
	}
}

func TestAnAgencyAddsPolicies(t *testing.T) {
	own := fstest.MapFS{"night.cedar": {Data: []byte(`
@id("no-heads-in-C")
@zh("C 机关负责人不看台账")
@en("Heads of C do not read the ledger")
forbid (principal in Role::"head", action == Action::"read-ledger", resource) when { resource.agency == "C" };
`)}}
	ps, err := LoadPolicies(own, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := ps.Allow(actor(Head, "C"), ReadLedger, OfficeOf("C"), ""); d.Allowed || d.Reasons[0].Policy != "no-heads-in-C" {
		t.Errorf("a head of C: %+v", d)
	}
	if d := ps.Allow(actor(Head, "D"), ReadLedger, OfficeOf("D"), ""); !d.Allowed {
		t.Errorf("a head of D: %+v", d)
	}
}

func TestPoliciesThatDoNotLoad(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"syntax", `permit (principal, action, resource`, "x.cedar"},
		{"no id", `@en("x") permit (principal, action == Action::"read-law", resource);`, "x.cedar:1: the policy has no @id"},
		{"no sentence", `@id("x") permit (principal, action == Action::"read-law", resource);`, "wants @zh or @en"},
		{"id of ours", `@id("law-is-public") @en("x") permit (principal, action == Action::"read-law", resource);`, "stands at reading.cedar"},
		{"unknown action", "\n" + `@id("x") @en("x") permit (principal, action == Action::"fly", resource);`, "x.cedar:2: policy x"},
		{"unknown attribute", `@id("x") @en("x") permit (principal, action == Action::"read-law", resource) when { principal.height > 3 };`, "height"},
		{"wrong type", `@id("x") @en("x") permit (principal, action == Action::"read-law", resource) when { principal.role > 3 };`, "x.cedar:1: policy x"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := LoadPolicies(fstest.MapFS{"x.cedar": {Data: []byte(tc.text)}})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error = %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestRecordsAs(t *testing.T) {
	want := map[Role]string{
		Officer: "handler presider clerk", LegalReviewer: "legal-reviewer presider clerk", Head: "head",
		Publisher: "publisher", System: "system",
	}
	for _, role := range Roles() {
		if got := strings.Join(actor(role, "A").RecordsAs(), " "); got != want[role] {
			t.Errorf("%s records as %q, want %q", role, got, want[role])
		}
	}
}

func TestParseScope(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "210100": "210100", " 210100, 210200 ,210100": "210100 210200", "*": "*", "A,*": "*", "沈阳市科技局": "沈阳市科技局",
		"a b": "!", "21*": "!", "a.b": "!", strings.Repeat("x", 65): "!",
	} {
		got, err := ParseScope(in)
		if err != nil && want != "!" || err == nil && strings.Join(got, " ") != want {
			t.Errorf("ParseScope(%q) = %v, %v, want %s", in, got, err, want)
		}
	}
}

func BenchmarkAllow(b *testing.B) {
	ps := policies(b)
	a := actor(Officer, "210100").prepared()
	for b.Loop() {
		if !ps.Allow(a, RecordAct, CaseOf("C-1", "210100", ""), "").Allowed {
			b.Fatal("denied")
		}
	}
}

func BenchmarkDeny(b *testing.B) {
	ps := policies(b)
	a := actor(Administrator, Everywhere).prepared()
	for b.Loop() {
		if ps.Allow(a, ReadCase, CaseOf("C-1", "210100", ""), "").Allowed {
			b.Fatal("allowed")
		}
	}
}
