package rulebook_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"liuhen/domain/calendar"
	"liuhen/domain/law"
	"liuhen/domain/rulebook"
)

type given = map[string]any

// A lawStep is an act in a case of the national law.
type lawStep struct {
	act      string
	at       string // 2006-01-02, with 15:04 where the time matters
	officers []string
	fields   given
}

// A lawCase is a case with what was done in it.
type lawCase struct {
	id, agency, procedure string
	steps                 []lawStep
}

// A lawRow is a rule that is broken by what other cases entered.
type lawRow struct {
	name string
	rule string    // "-" before it: broken unless they entered
	in   []lawCase // that enter
	then lawCase   // whose last act is judged
}

func (c lawCase) open(t *testing.T, book *rulebook.Book) (*rulebook.Procedure, []rulebook.Step) {
	t.Helper()
	steps := make([]rulebook.Step, len(c.steps))
	for i, s := range c.steps {
		layout := "2006-01-02 15:04"
		at, err := time.ParseInLocation(layout[:len(s.at)], s.at, calendar.Shanghai)
		if err != nil {
			t.Fatal(err)
		}
		steps[i] = rulebook.Step{Event: fmt.Sprintf("%s-%d", c.id, i+1), Act: s.act, At: at, Recorded: at, Fields: s.fields}
		for _, o := range s.officers {
			steps[i].Officers = append(steps[i].Officers, rulebook.Officer{ID: o, Certificate: "C-" + o})
		}
	}
	p, ok := book.InForce(c.procedure, calendar.DateOf(steps[0].At))
	if !ok {
		t.Fatalf("no procedure %s", c.procedure)
	}
	return p, steps
}

// enter is what cases have in registers.
func enter(t *testing.T, book *rulebook.Book, cases ...lawCase) []rulebook.Entry {
	t.Helper()
	var entered []rulebook.Entry
	for _, c := range cases {
		p, steps := c.open(t, book)
		h := p.NewHistory(c.id, c.agency)
		for _, s := range steps {
			h = h.Append(s)
		}
		entered = append(entered, p.Entries(h)...)
	}
	return entered
}

// TestLawRegisters has one case enter what a rule of another case finds: that
// the keys of both sides agree is what no example of a rule can show.
func TestLawRegisters(t *testing.T) {
	book, err := rulebook.Load(law.Files)
	if err != nil {
		t.Fatal(err)
	}
	firm := given{"name": "甲公司", "kind": "entity", "uscc": "91350100M000100Y43"}
	fine := []any{given{"kind": "21", "amount": int64(100000), "basis": "某条例第三十条", "item_code": "CF-001", "statute_min": int64(100000), "statute_max": int64(500000)}}
	decided := lawStep{act: "decide-penalty", at: "2025-05-10", officers: []string{"Li", "Zhao"}, fields: given{
		"decision_no": "沈科罚〔2025〕3号", "decision_date": "2025-05-10", "act_ended": "2025-03-01", "party": firm, "penalties": fine, "agency_name": "市科技局",
	}}
	penalty := func(agency string, more ...lawStep) lawCase {
		return lawCase{"P-1", agency, "penalty-ordinary", append([]lawStep{decided}, more...)}
	}
	list := func(kind string, entries ...any) lawCase {
		return lawCase{"L-" + kind, "A", "published-list", []lawStep{
			{act: "open-list", at: "2022-01-10", fields: given{"list": kind}},
			{act: "publish-version", at: "2022-02-01", fields: given{"list": kind, "version": int64(1), "valid_from": "2022-02-01", "entries": entries}},
		}}
	}
	entry := func(code, title string) any { return given{"code": code, "title": title} }
	dispute := lawCase{"V-1", "A", "review-and-litigation", []lawStep{
		{act: "receive-review-notice", at: "2025-06-02", fields: given{"contested_no": "沈科罚 (2025) 3号", "decided_in": "P-1", "review_no": "复1"}},
	}}
	revoked := lawCase{"V-1", "A", "review-and-litigation", append(slices.Clone(dispute.steps),
		lawStep{act: "receive-review-decision", at: "2025-08-02", fields: given{"document_no": "复决1", "decided_on": "2025-07-30", "outcome": "revoked"}})}
	device := func(more ...lawStep) lawCase {
		return lawCase{"D-1", "A", "recorder-device", append([]lawStep{{act: "register-device", at: "2025-01-02", fields: given{"device_no": "Z-01", "kind": "body-camera"}}}, more...)}
	}
	again := lawCase{"P-9", "A", "penalty-ordinary", []lawStep{{act: "decide-penalty", at: "2025-09-20", fields: given{
		"decision_no": "9", "decision_date": "2025-09-20", "act_ended": "2025-03-01", "party": firm, "penalties": fine,
	}}}}
	ledger := lawCase{"D-0", "A", "recorder-device", []lawStep{{act: "open-ledger", at: "2025-01-02", fields: given{"complete_from": "2025-01-02"}}}}
	start := func(procedure, day, no string) lawCase {
		return lawCase{"R-1", "A", procedure, []lawStep{{act: "start-recording", at: day, fields: given{"recording_no": "A1", "device": no}}}}
	}
	reviewer := func(more ...lawStep) lawCase {
		return lawCase{"W-1", "A", "legal-reviewer", append([]lawStep{{act: "register-reviewer", at: "2024-01-02", fields: given{"person": "Zhou"}}}, more...)}
	}
	review := lawCase{"P-2", "A", "penalty-ordinary", []lawStep{{act: "complete-legal-review", at: "2025-07-01", fields: given{"reviewer": "Zhou", "outcome": "agree", "first_time": true, "qualification_no": "A1"}}}}
	approve := func(id, day, source string) lawCase {
		return lawCase{id, "A", "inspection", []lawStep{{act: "approve-inspection", at: day, fields: given{"party": firm, "source": source, "mode": "on-site", "items": []any{"饲养 环境"}, "item_listed": true}}}}
	}
	visited := approve("I-1", "2025-03-03", "plan")
	visited.steps = append(visited.steps,
		lawStep{act: "enter-premises", at: "2025-03-10 10:00", officers: []string{"Li", "Sun"}, fields: given{"place": "某路1号"}},
		lawStep{act: "record-inspection", at: "2025-03-10 11:00", officers: []string{"Li", "Sun"}, fields: given{
			"mode": "on-site", "address": "某路1号", "started_at": "2025-03-10T10:05:00+08:00", "ended_at": "2025-03-10T11:00:00+08:00",
		}})
	urgent := lawCase{"I-3", "A", "inspection", []lawStep{
		{act: "enter-premises", at: "2025-03-10 10:00", fields: given{"place": "某路1号", "urgent": true}},
		{act: "approve-inspection", at: "2025-03-11", fields: given{"party": firm, "source": "plan", "mode": "on-site"}},
	}}
	application := func(id string, more ...lawStep) lawCase {
		return lawCase{id, "A", "permit", append([]lawStep{
			{act: "receive-application", at: "2022-09-05", fields: given{"party": firm, "item": "某许可", "business": "new", "safety_item": true}},
		}, more...)}
	}
	accept := func(day string) lawStep {
		return lawStep{act: "accept-application", at: day, fields: given{"accepted_on": day}}
	}

	rows := []lawRow{
		{"the same act is fined by another agency", "R-008", []lawCase{penalty("B")},
			lawCase{"P-9", "A", "penalty-summary", []lawStep{{act: "decide-penalty", at: "2025-06-20", fields: given{
				"decision_no": "9", "decision_date": "2025-06-20", "act_ended": "2025-03-01", "party": given{"name": "甲 公司", "kind": "entity"}, "penalties": fine,
			}}}}},
		{"the same day under another provision", "R-008-2", []lawCase{penalty("B")},
			lawCase{"P-9", "A", "penalty-ordinary", []lawStep{{act: "decide-penalty", at: "2025-06-20", fields: given{
				"decision_no": "9", "decision_date": "2025-06-20", "act_ended": "2025-03-01", "party": firm, "penalties": []any{given{"kind": "21", "amount": int64(1), "basis": "别的规定"}},
			}}}}},
		{"an officer at two places", "PR-101", []lawCase{visited},
			lawCase{"P-9", "A", "penalty-ordinary", []lawStep{{act: "inspect-scene", at: "2025-03-10 10:30", officers: []string{"Li", "Zhao"}, fields: given{"address": "另一路9号"}}}}},
		{"an officer asks elsewhere", "PR-102", []lawCase{visited},
			lawCase{"P-9", "A", "penalty-summary", []lawStep{{act: "conduct-inquiry", at: "2025-03-10 10:30", officers: []string{"Li"}, fields: given{"person": "王五", "place": "本局询问室"}}}}},
		{"an officer carries out a measure elsewhere", "PR-103", []lawCase{visited},
			lawCase{"M-9", "A", "coercive-measure", []lawStep{{act: "implement-measure", at: "2025-03-10 11:10", officers: []string{"Sun"}, fields: given{"measure_no": "1", "place": "另一路9号"}}}}},
		{"an officer fines elsewhere", "PR-104", []lawCase{visited},
			lawCase{"P-9", "A", "penalty-summary", []lawStep{{act: "find-violation", at: "2025-03-10 09:50", officers: []string{"Sun"}, fields: given{"where": "某市场"}}}}},
		{"a visit beyond the cap", "R-086", []lawCase{visited}, approve("I-2", "2025-09-01", "plan")},
		{"an urgent visit beyond the cap", "R-086", []lawCase{urgent}, approve("I-2", "2025-09-01", "plan")},
		{"a visit that was not stated", "R-086-3", []lawCase{visited}, approve("I-2", "2025-09-01", "complaint")},
		{"a device of nobody", "R-080-6", []lawCase{ledger, device()}, start("recording", "2025-05-06 09:00", "手机")},
		{"a lost device", "R-080-7", []lawCase{device(lawStep{act: "report-device-loss", at: "2025-05-02", fields: given{"lost_at": "2025-05-01T10:00:00+08:00"}})},
			start("inspection", "2025-05-06 09:00", "z-01")},
		{"a device in repair", "R-080-7", []lawCase{device(lawStep{act: "report-fault", at: "2025-05-02"})}, start("penalty-ordinary", "2025-05-06 09:00", "Z-01")},
		{"a device found unfit", "R-080-7", []lawCase{device(lawStep{act: "check-device", at: "2025-05-02", fields: given{"working": false}})}, start("recording", "2025-05-06 09:00", "Z-01")},
		{"a device that nobody checked", "R-080-8", []lawCase{device()}, start("recording", "2025-05-06 09:00", "Z-01")},
		{"a body that is not listed", "R-073-3", []lawCase{list("bodies", entry("112101", "市发展改革委"))}, penalty("A")},
		{"an officer who is not listed", "R-073-4", []lawCase{list("officers", entry("C-Li", "李某"))}, penalty("A")},
		{"an item that is not listed", "R-073-5", []lawCase{list("items", entry("XK-2", "别的许可"))},
			application("X-1", lawStep{act: "grant-permit", at: "2022-10-14", fields: given{"item": "某许可", "decision_date": "2022-10-14"}})},
		{"an item of inspection that is not listed", "IN-101-2", []lawCase{list("random-inspection", entry("S-1", "财务账簿"))}, approve("I-2", "2025-09-01", "plan")},
		{"a monitoring device that is not listed", "R-017-2", []lawCase{list("devices", entry("D-1", "某路口"))},
			lawCase{"P-9", "A", "penalty-summary", []lawStep{{act: "record-by-device", at: "2025-05-06", fields: given{"device_no": "D-2", "location_published": true}}}}},
		{"a range that the item does not have", "R-030-3", []lawCase{{"C-1", "A", "item-catalogue", []lawStep{
			{act: "decide-item", at: "2022-03-01", fields: given{"item_code": "CF-001", "version": int64(1), "valid_from": "2022-03-15", "decided": given{
				"benchmarks": []any{given{"circumstance": "较轻", "statute_min": int64(100000), "statute_max": int64(300000)}},
			}}},
		}}}, penalty("A")},
		{"a reviewer without qualification", "R-047", []lawCase{reviewer()}, review},
		{"another number", "R-047-3", []lawCase{reviewer(lawStep{act: "verify-qualification", at: "2024-02-01", fields: given{"qualification_no": "A2", "granted_on": "2022-03-01"}})}, review},
		{"a suspended reviewer", "R-047-4", []lawCase{reviewer(
			lawStep{act: "appoint-reviewer", at: "2024-02-01", fields: given{"valid_from": "2024-02-01"}},
			lawStep{act: "suspend-reviewer", at: "2025-06-01", fields: given{"suspended_from": "2025-06-01"}})}, review},
		{"a surcharge during a review with a file of its own", "R-040", []lawCase{dispute},
			penalty("A", lawStep{act: "impose-surcharge", at: "2025-06-30", fields: given{
				"fine": int64(100000), "amount": int64(30000), "counted_from": "2025-06-10", "counted_to": "2025-06-19", "days_late": int64(10),
			}})},
		{"the court is asked during a review", "R-042-3", []lawCase{dispute}, penalty("A", lawStep{act: "apply-court-enforcement", at: "2025-06-30"})},
		{"evidence is collected during a review", "R-090-5", []lawCase{dispute}, penalty("A", lawStep{act: "collect-evidence", at: "2025-06-30"})},
		{"the execution of a contested decision", "R-042-4", []lawCase{dispute}, lawCase{"E-1", "A", "compulsory-execution", []lawStep{
			{act: "open-execution", at: "2025-06-01", fields: given{"decision_no": "沈科罚〔2025〕3号", "decision_served_on": "2025-05-12"}}, {act: "apply-court-enforcement", at: "2025-07-01"},
		}}},
		{"the execution of a revoked decision", "CE-151", []lawCase{revoked}, lawCase{"E-1", "A", "compulsory-execution", []lawStep{
			{act: "open-execution", at: "2025-06-01", fields: given{"decision_no": "X", "source_case": "P-1"}}, {act: "decide-execution", at: "2025-09-01"},
		}}},
		{"evidence that was recorded after the review began", "R-090-6", []lawCase{penalty("A",
			lawStep{act: "collect-evidence", at: "2025-06-10", fields: given{"evidence_no": "E1", "kind": "documentary"}})},
			lawCase{"V-1", "A", "review-and-litigation", append(slices.Clone(dispute.steps), lawStep{act: "file-reply", at: "2025-06-12", fields: given{
				"bundle": []any{given{"no": "E 1", "collected_on": "2025-04-01", "recorded_on": "2025-04-01"}},
			}})}},
		{"a structure comes down during a review", "CE-153", []lawCase{dispute}, lawCase{"E-1", "A", "compulsory-execution", []lawStep{
			{act: "open-execution", at: "2025-06-01", fields: given{"decision_no": "沈科罚〔2025〕3号", "decision_served_on": "2025-05-12"}},
			{act: "carry-out-execution", at: "2025-06-10", fields: given{"methods": []any{"demolish"}}},
		}}},
		{"a dispute that is not stated", "CE-152", []lawCase{penalty("A", lawStep{act: "accept-suit", at: "2025-06-02"})},
			lawCase{"E-1", "A", "compulsory-execution", []lawStep{{act: "open-execution", at: "2025-06-05", fields: given{"decision_no": "沈科罚〔2025〕3号"}}}}},
		{"a file is destroyed during a review", "R-093-3", []lawCase{dispute}, lawCase{"F-1", "A", "archive", []lawStep{
			{act: "receive-closed-case", at: "2025-05-20", fields: given{"source_case": "P-1", "closed_on": "2025-05-20"}}, {act: "destroy-file", at: "2025-07-01"},
		}}},
		{"a file is destroyed during a supervision", "R-093-3", []lawCase{{"S-1", "Justice", "supervision", []lawStep{
			{act: "find-facts", at: "2026-04-10", fields: given{"problems": []any{given{"kind": "procedure", "text": "未听证", "case_ref": "沈科罚〔2025〕3号"}}}},
		}}}, lawCase{"F-1", "A", "archive", []lawStep{
			{act: "receive-closed-case", at: "2025-05-20", fields: given{"source_case": "P-7", "decision_no": "沈科罚〔2025〕3号", "closed_on": "2025-05-20"}}, {act: "approve-destruction", at: "2026-07-01"},
		}}},
		{"a recording is deleted during a suit", "R-082-4", []lawCase{penalty("A", lawStep{act: "accept-suit", at: "2025-06-02"})}, lawCase{"R-1", "A", "recording", []lawStep{
			{act: "start-recording", at: "2025-01-06", fields: given{"source_case": "P-1"}}, {act: "dispose-recording", at: "2026-01-10"},
		}}},
		{"a letter of supervision during a review", "SV-105", []lawCase{dispute}, lawCase{"S-1", "Justice", "supervision", []lawStep{
			{act: "find-facts", at: "2026-04-10", fields: given{"problems": []any{given{"kind": "procedure", "text": "未听证", "case_ref": "P-1"}}}}, {act: "issue-opinion", at: "2026-04-20"},
		}}},
		{"a complaint during a review", "CP-112", []lawCase{dispute}, lawCase{"B-1", "A", "complaint", []lawStep{
			{act: "receive-complaint", at: "2025-06-03", fields: given{"related_case": "沈科罚〔2025〕3号"}}, {act: "accept-complaint", at: "2025-06-06"},
		}}},
		{"a typical case that is contested", "TC-108", []lawCase{dispute}, lawCase{"T-1", "A", "typical-case", []lawStep{
			{act: "nominate-case", at: "2025-11-04", fields: given{"case_ref": "P-1"}}, {act: "publish-case", at: "2025-12-04"},
		}}},
		{"a typical case that was revoked", "TC-108-2", []lawCase{revoked}, lawCase{"T-1", "A", "typical-case", []lawStep{
			{act: "nominate-case", at: "2025-11-04", fields: given{"case_ref": "P-1"}}, {act: "publish-case", at: "2025-12-04"},
		}}},
		{"a revoked decision is published", "R-077-4", []lawCase{penalty("A", lawStep{act: "withdraw-decision", at: "2025-05-12", fields: given{"outcome": "revoked"}})},
			lawCase{"G-1", "A", "publication", []lawStep{{act: "receive-decision", at: "2025-05-11", fields: given{"decision_no": "沈科罚〔2025〕3号"}}, {act: "publish", at: "2025-05-14"}}}},
		{"a change is noted with a later day", "R-077-5", []lawCase{revoked}, lawCase{"G-1", "A", "publication", []lawStep{
			{act: "receive-decision", at: "2025-05-11", fields: given{"decision_no": "沈科罚〔2025〕3号"}},
			{act: "note-decision-changed", at: "2025-08-05", fields: given{"changed_on": "2025-08-05", "outcome": "revoked", "decision_kind": "penalty"}},
		}}},
		{"a measure that outlived the decision", "R-055-4", []lawCase{penalty("A")}, lawCase{"M-1", "A", "coercive-measure", []lawStep{
			{act: "implement-measure", at: "2025-05-02", fields: given{"measure_no": "1", "source_case": "P-1"}},
			{act: "find-lift-ground", at: "2025-05-20", fields: given{"measure_no": "1", "ground": "decided", "ground_on": "2025-05-20"}},
		}}},
		{"who may not apply again", "PM-176", []lawCase{application("X-0",
			lawStep{act: "examine-application", at: "2022-09-08", fields: given{"false_materials": true}},
			lawStep{act: "refuse-permit", at: "2022-09-12", fields: given{"decision_date": "2022-09-12", "party": firm}})},
			application("X-1", accept("2022-10-10"))},
		{"whose permit was got by fraud", "PM-176", []lawCase{application("X-0",
			lawStep{act: "revoke-permit", at: "2022-09-12", fields: given{"decision_date": "2022-09-12", "ground": "fraud"}})},
			application("X-1", accept("2024-10-10"))},
		{"out of the order of acceptance", "PM-177", []lawCase{application("X-0", accept("2022-09-06"))},
			application("X-1", accept("2022-09-13"), lawStep{act: "grant-permit", at: "2022-10-14", fields: given{"quota_limited": true, "in_order": true}})},
		{"who scores the own case", "R-097-4", []lawCase{penalty("A")}, lawCase{"Q-1", "A", "case-file-review", []lawStep{
			{act: "score-file", at: "2025-09-05", fields: given{"file_no": "P-1", "scorer": "Zhao"}},
		}}},
		{"a search that found nothing", "R-008-3", []lawCase{penalty("B")}, again},
		{"a fine under review stands", "R-008", []lawCase{penalty("A"), dispute}, again},
		{"a complaint beyond the cap that nobody made", "R-086-2", []lawCase{visited}, approve("I-2", "2025-09-01", "complaint")},
		{"a visit after the approval of this one", "R-086-4", []lawCase{visited}, lawCase{"I-2", "A", "inspection", append(approve("I-2", "2025-03-04", "plan").steps,
			lawStep{act: "enter-premises", at: "2025-03-20 10:00", fields: given{"place": "某路1号"}})}},
		{"a supervision that does not know of the review", "SV-105-2", []lawCase{dispute}, lawCase{"S-1", "Justice", "supervision", []lawStep{
			{act: "find-facts", at: "2026-04-10", fields: given{"problems": []any{given{"kind": "procedure", "text": "未听证", "case_ref": "P-1"}}}}, {act: "issue-urge-letter", at: "2026-04-20"},
		}}},
		{"published by a file of its own", "-R-074-4", []lawCase{{"G-1", "A", "publication", []lawStep{
			{act: "receive-decision", at: "2025-05-11", fields: given{"decision_no": "沈科罚〔2025〕3号"}}, {act: "publish", at: "2025-05-14"},
		}}}, penalty("A", lawStep{act: "archive-case", at: "2025-08-01"})},
	}
	for _, tt := range rows {
		t.Run(tt.rule+" "+tt.name, func(t *testing.T) {
			rule, mends := strings.CutPrefix(tt.rule, "-")
			entered := enter(t, book, tt.in...)
			p, steps := tt.then.open(t, book)
			h := p.NewHistory(tt.then.id, tt.then.agency)
			for _, s := range steps[:len(steps)-1] {
				h = h.Append(s)
			}
			last := steps[len(steps)-1]
			broken := func(entered []rulebook.Entry) bool {
				found, facts := judge(p, h, last, entered)
				for _, f := range found {
					if f.Failed {
						t.Errorf("%s cannot be judged: %s", f.Rule, f.Detail.EN)
					}
				}
				return slices.ContainsFunc(found, func(f rulebook.Finding) bool {
					if f.Rule == rule && facts == 0 {
						t.Errorf("%s asks no register", f.Rule)
					}
					return f.Rule == rule
				})
			}
			if broken(nil) != mends {
				t.Errorf("%s: broken %t where no other case entered anything", rule, !mends)
			}
			if broken(entered) == mends {
				t.Errorf("%s: broken %t by what the other case entered: %+v", rule, mends, entered)
			}
		})
	}
	t.Run("R-008 a fine that was revoked is none", func(t *testing.T) {
		entered := enter(t, book, penalty("A"), revoked)
		p, steps := again.open(t, book)
		found, _ := judge(p, p.NewHistory(again.id, again.agency), steps[0], entered)
		if slices.ContainsFunc(found, func(f rulebook.Finding) bool { return f.Rule == "R-008" }) {
			t.Errorf("R-008 is broken by a fine that was revoked: %+v", entered)
		}
	})
	for _, p := range book.Procedures() {
		for _, r := range p.Rules {
			if len(r.Registers) > 0 && !slices.ContainsFunc(rows, func(row lawRow) bool { return strings.TrimPrefix(row.rule, "-") == r.ID }) {
				t.Errorf("%s of %s looks at %v, and no case here enters for it", r.ID, p.Name, r.Registers)
			}
		}
	}
}

// judge answers what an act's rules ask from entries, and says how many
// questions there were.
func judge(p *rulebook.Procedure, h *rulebook.History, next rulebook.Step, entered []rulebook.Entry) ([]rulebook.Finding, int) {
	facts := rulebook.Facts{}
	for {
		asked := p.Lookups(h, next, rulebook.Known{Facts: facts})
		if len(asked) == 0 {
			return p.Judge(h, next, rulebook.Known{Facts: facts}), len(facts)
		}
		for _, l := range asked {
			facts[l] = nil
			for _, e := range entered {
				if e.Register == l.Register && e.Key == l.Key {
					facts[l] = append(facts[l], e)
				}
			}
		}
	}
}

// TestLawEnters makes the entries of every history that the examples have: each
// act that enters something can be entered.
func TestLawEnters(t *testing.T) {
	book, err := rulebook.Load(law.Files)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range book.Procedures() {
		if len(p.Enters) == 0 {
			continue
		}
		for _, r := range p.Rules {
			for _, e := range r.Examples {
				h := p.NewHistory("example", "A")
				for _, s := range e.Steps {
					for _, f := range p.Judge(h, s, rulebook.Known{}) {
						if f.Rule == rulebook.RuleRegisters {
							t.Errorf("%s: %s: %s", e.Source, s.Act, f.Detail.EN)
						}
					}
					h = h.Append(s)
				}
				for _, x := range p.Entries(h) {
					if strings.TrimSpace(x.Key) == "" || strings.HasSuffix(x.Key, " ") {
						t.Errorf("%s: %s enters under the key %q", e.Source, x.Act, x.Key)
					}
				}
			}
		}
	}
}
