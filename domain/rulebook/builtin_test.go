package rulebook

import (
	"slices"
	"strings"
	"testing"

	"liuhen/domain/calendar"
)

func TestBuiltIns(t *testing.T) {
	p, _ := load(t, demo).Procedure("demo")
	paper := []Reference{{Kind: "决定书", Title: "决定书", Digest: "sha256:0"}}
	for _, tt := range []struct {
		name  string
		past  []string
		next  Step
		want  string // rule/verdict, …
		cured bool
	}{
		{"a case begins with what opens it", nil, Step{Act: "file-case"}, "", false},
		{"a case begins with another act", nil, Step{Act: "register"}, "opening/flag", true},
		{"an effect cannot open a case that it does not open", nil, Step{Act: "hearing"}, "opening/refuse", true},
		{"in its stage", []string{"file-case"}, Step{Act: "register"}, "", false},
		{"in the stage that it leads to, too", []string{"file-case", "register"}, Step{Act: "register"}, "", false},
		{"outside of its stage", []string{"file-case", "register"}, Step{Act: "archive"}, "stage/flag", false},
		{"any stage", []string{"file-case", "register"}, Step{Act: "hearing"}, "", false},
		{"once, again", []string{"file-case"}, Step{Act: "file-case"}, "once/refuse", true},
		{"once, corrected", []string{"file-case"}, Step{Act: "file-case", Corrects: "file-case"}, "", false},
		{"after closing", []string{"file-case", "register", "close"}, Step{Act: "archive"}, "", false},
		{"after closing, out of place", []string{"file-case", "register", "close"}, Step{Act: "hearing"}, "closed/refuse", false},
		{"after closing, a fact", []string{"file-case", "register", "close"}, Step{Act: "register"}, "closed/flag", false},
		{"by a role that may", nil, Step{Act: "file-case", Role: "head"}, "", false},
		{"by a role that may not", nil, Step{Act: "file-case", Role: "clerk"}, "by/refuse", false},
		{"by anyone", []string{"file-case"}, Step{Act: "register", Role: "clerk"}, "", false},
		{"a document is missing", []string{"file-case"}, Step{Act: "decide", Documents: []Reference{{Kind: "附件"}}}, "documents/flag", true},
		{"the document is there", []string{"file-case"}, Step{Act: "decide", Documents: paper}, "", false},
		{"an act that the procedure does not know", []string{"file-case"}, Step{Act: "nothing"}, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := p.NewHistory("C", "A")
			for i, act := range tt.past {
				h = h.Append(Step{Event: act, Act: act, At: on(i + 1), Documents: paper})
			}
			tt.next.Event, tt.next.At = "next", on(20)
			var got []string
			for _, f := range p.Judge(h, tt.next, Known{}) {
				got = append(got, f.Rule+"/"+string(f.Verdict))
				if f.Detail.ZH == "" || f.Detail.EN == "" || f.Says.EN == "" || f.Severity == "" {
					t.Errorf("the finding does not say enough: %+v", f)
				}
				if (f.Cure.ZH != "") != tt.cured {
					t.Errorf("cure %q", f.Cure.ZH)
				}
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("found %q, want %q", s, tt.want)
			}
		})
	}
}

func TestFindingsComeGravestFirst(t *testing.T) {
	var rules strings.Builder
	for _, r := range []string{"T-005 notice", "T-004 minor", "T-002 major", "T-003 major", "T-006 veto", "T-001 invalid"} {
		id, severity, _ := strings.Cut(r, " ")
		rules.WriteString("  " + id + ": {says: {zh: 一}, basis: b, severity: " + severity + ", on: drop, require: 'false', examples: [{holds: {drop: {}}}, {broken: {drop: {}}}]}\n")
	}
	p, _ := load(t, demo+rules.String()).Procedure("demo")
	var got []string
	for _, f := range p.Judge(p.NewHistory("C", "A"), Step{Event: "1", Act: "drop", At: on(1)}, Known{}) {
		got = append(got, f.Rule)
	}
	if want := "T-001 T-006 T-002 T-003 T-004 opening T-005"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestNext(t *testing.T) {
	rules := `  T-001: {says: {zh: 九十日, en: In 90 days}, basis: b, severity: minor, verdict: refuse, within: {act: hearing, after: file-case, limit: 3 days}, examples: [{holds: {drop: {}}}, {broken: {drop: {}}}]}
  T-002: {says: {zh: 先告知, en: Notice first}, basis: b, severity: major, verdict: refuse, before: {first: notice, then: decide}, examples: [{holds: {drop: {}}}, {broken: {drop: {}}}]}
  T-003: {says: {zh: 主持人, en: Presider}, basis: b, severity: major, verdict: refuse, on: hearing, require: "act.presider != 'x'", examples: [{holds: {drop: {}}}, {broken: {drop: {}}}]}
  T-004: {says: {zh: 已登记, en: Registered}, basis: b, severity: major, on: dispose, require: "case.has('register')", examples: [{holds: {drop: {}}}, {broken: {drop: {}}}]}
`
	p, _ := load(t, demo+rules).Procedure("demo")
	h := p.NewHistory("C", "A").Append(Step{Event: "1", Act: "file-case", At: on(3)})
	next := map[string]NextAct{}
	for _, n := range p.Next(h, on(4), "clerk", nil) {
		next[n.Act] = n
	}
	check := func(act string, allowed bool, why ...string) {
		t.Helper()
		var got []string
		for _, f := range next[act].Why {
			got = append(got, f.Rule)
		}
		if next[act].Allowed != allowed || !slices.Equal(got, why) {
			t.Errorf("%s: allowed %t because of %v, want %t, %v", act, next[act].Allowed, got, allowed, why)
		}
	}
	check("register", true)
	check("file-case", false, "by", "once")
	check("decide", false, "T-002") // the missing document is not known yet
	check("hearing", true)          // who presides is not known yet
	check("dispose", true, "T-004") // a fact may be recorded all the same
	check("archive", false, "stage")
	if s := p.Next(p.NewHistory("C", "A"), on(4), "", nil)[0].Starts; len(s) != 1 || s[0].EN != "In 90 days" {
		t.Errorf("filing starts %v", s)
	}
	late := p.Next(h, on(20), "", nil)
	i := slices.IndexFunc(late, func(n NextAct) bool { return n.Act == "hearing" })
	if n := late[i]; len(n.Why) != 1 || n.Why[0].Due != calendar.MakeDate(2025, 3, 6) {
		t.Errorf("a late hearing: %+v", n.Why)
	}
}
