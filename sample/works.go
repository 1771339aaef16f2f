package sample

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"

	"liuhen/domain/calendar"
)

// yearAgency is whose year it is, the agency of office.yaml.
const yearAgency = "样例科技局"

// A work is one kind of work of the year.
type work struct {
	name  string // in the ids of its cases
	story string
	count int    // cases in one year
	once  bool   // there is one however often the year is multiplied
	from  string // the days between which the cases begin, evenly spread
	to    string
	fill  func(*making) // what is different in each

	days []calendar.Date // the working days from from to to
}

// works is all the work of the year: how much of what, and when. What the report
// counts stands under the number that the figure has in figures.go, with the
// sentence; the rest is invented, some of it so that there is something that must
// not be counted.
func works() []work {
	return []work{
		// 11: 45 passed the provincial examination, two of them the second time.
		{name: "在岗", story: "officer-held", count: officersHeld - 1, once: true, from: "-1 08-02", to: "-1 08-02", fill: heldOfficer},
		{name: "换证", story: "officer-expired", count: 1, once: true, from: "-1 08-02", to: "-1 08-02", fill: expiredOfficer},
		{name: "新增", story: "officer", count: 43, from: "03-01", to: "09-15", fill: newOfficer},
		{name: "补考", story: "officer-again", count: 2, from: "03-01", to: "03-15", fill: newOfficer},
		{name: "未过", story: "officer-failed", count: 4, from: "03-01", to: "09-15", fill: newOfficer},

		// 6 and 7: 2,133 work permits decided, among them 243 grants of category A
		// to 240 people: three came to another employer within the year.
		{name: "A境外", story: "permit-abroad", count: 150, from: "-1 12-27", to: "12-05", fill: newcomer("A")},
		{name: "A境内", story: "permit-here", count: 91, from: "-1 12-27", to: "12-05", fill: newcomer("A")},
		{name: "A更正", story: "permit-corrected", count: 1, from: "05-16", to: "05-16", fill: newcomer("A")},
		{name: "A撤销", story: "permit-revoked", count: 1, from: "03-14", to: "03-14", fill: newcomer("A")},
		{name: "B境外", story: "permit-abroad", count: 330, from: "-1 12-27", to: "12-05", fill: newcomer("B")},
		{name: "B境内", story: "permit-here", count: 260, from: "-1 12-27", to: "12-05", fill: newcomer("B")},
		{name: "C境内", story: "permit-here", count: 37, from: "02-14", to: "12-05", fill: newcomer("C")},
		{name: "短期", story: "permit-short", count: 48, from: "-1 12-27", to: "12-05", fill: newcomer("B")},
		{name: "不予", story: "permit-refused", count: 19, from: "01-10", to: "12-05", fill: newcomer("B")},
		{name: "延期", story: "permit-renewal", count: 730, from: "-1 12-27", to: "12-05", fill: permitHolder("renewal")},
		{name: "不延", story: "permit-renewal-refused", count: 12, from: "01-10", to: "12-05", fill: permitHolder("renewal")},
		{name: "变更", story: "permit-change", count: 218, from: "-1 12-27", to: "12-05", fill: permitHolder("change")},
		{name: "补办", story: "permit-replacement", count: 36, from: "01-10", to: "12-05", fill: permitHolder("replacement")},
		{name: "注销", story: "permit-cancellation", count: 200, from: "-1 12-27", to: "12-05", fill: permitHolder("cancellation")},
		// Not in the number: decided in the year before or after, or not at all.
		{name: "上年", story: "permit-here", count: 15, from: "-1 12-02", to: "-1 12-14", fill: newcomer("A")},
		{name: "次年", story: "permit-here", count: 20, from: "12-26", to: "12-30", fill: newcomer("A")},
		{name: "撤回", story: "permit-withdrawn", count: 22, from: "01-10", to: "12-05", fill: newcomer("B")},
		{name: "不受", story: "permit-not-accepted", count: 11, from: "01-10", to: "12-05", fill: newcomer("B")},

		// Publicity: a file of its own for some decisions, and for the one whose
		// publication was withdrawn.
		{name: "公示", story: "publication", count: 24, from: "-1 12-27", to: "11-14", fill: publication("B境外")},
		{name: "公示撤回", story: "publication-withdrawn", count: 1, from: "03-14", to: "03-14", fill: publication("A撤销")},

		// 12 and 13: 72 files reviewed, of permits and confirmations.
		{name: "确认", story: "confirmation", count: 60, from: "01-05", to: "11-28", fill: confirmation},
		{name: "自查", story: "file-review", count: 1, from: "09-19", to: "09-19", fill: fileReview},

		// 14 to 18: 1 and 103 proposals.
		{name: "省提案", story: "proposal", count: 1, from: "03-04", to: "03-04", fill: proposal("province")},
		{name: "市提案", story: "proposal", count: 103, from: "02-21", to: "03-18", fill: proposal("city")},

		// 10 and 25: 119 services of counsel, 25 of them under the contract before.
		{name: "法顾旧", story: "counsel-2021", count: 1, from: "-1 09-01", to: "-1 09-01", fill: counsel(2021, 25)},
		{name: "法顾新", story: "counsel-2022", count: 1, from: "03-21", to: "03-21", fill: counsel(2022, 94)},

		// 8 and 9: 46 sessions, 6,418 attendances, and 26.
		{name: "普法", story: "outreach", count: 12, from: "01-17", to: "10-24", fill: outreach},
		{name: "清单", story: "outreach-list", count: 1, once: true, from: "02-14", to: "02-14", fill: outreachList},

		// 1 to 4: 11 documents for the plan of the next year, 9 cleaned up.
		{name: "发文", story: "plan-document", count: 11, from: "11-07", to: "11-25", fill: planDocument(2023)},
		{name: "前发", story: "plan-document", count: 3, from: "01-10", to: "01-12", fill: planDocument(2022)}, // late for this year's plan
		{name: "保留", story: "clean-up", count: 3, from: "05-09", to: "05-11", fill: cleanUp("keep")},
		{name: "废止", story: "clean-up-repealed", count: 5, from: "05-09", to: "05-13", fill: cleanUp("repeal")},
		{name: "失效", story: "clean-up-expired", count: 1, from: "05-09", to: "05-09", fill: cleanUp("expired")},

		// 19 and 20: 14 documents and 18 interpretations.
		{name: "公开", story: "disclosure", count: 10, from: "01-20", to: "11-21", fill: disclosure("policy")},
		{name: "图解", story: "disclosure-two", count: 4, from: "02-10", to: "10-20", fill: disclosure("policy")},
		{name: "信息", story: "disclosure", count: 6, from: "02-15", to: "11-10", fill: disclosure("statistics")}, // public, yet no policy papers

		// 5, 23, 24, 29 and what else is done once.
		{name: "试点", story: "pilot", count: 1, once: true, from: "03-07", to: "03-07", fill: nothing},
		{name: "办案室", story: "facility", count: 1, once: true, from: "05-09", to: "05-09", fill: nothing},
		{name: "先进单位", story: "award-unit", count: 1, once: true, from: "03-29", to: "03-29", fill: nothing},
		{name: "先进个人", story: "award-person", count: 1, once: true, from: "03-29", to: "03-29", fill: nothing},
		{name: "述法", story: "law-report", count: 1, once: true, from: "+1 01-04", to: "+1 01-04", fill: nothing},
		{name: reportWork, story: "annual-report", count: 1, once: true, from: "02-14", to: "02-14", fill: nothing},
	}
}

// digits is how wide the number in a case id is.
func (w *work) digits() int { return len(strconv.Itoa(w.count)) }

// An irregularity is what goes wrong in some cases, on purpose: the findings of
// the year are these and no others (TestTheYear).
type irregularity struct {
	rule   string // that finds it; "late" is a record made late, which none finds
	work   string // in the cases of this work
	first  int    // from this index on
	step   int    // every so many
	count  int    // so many of them
	change func(*making)
}

var irregularities = []irregularity{
	// Decided a day after the time the agency set itself; still within the law.
	{rule: "FW-110", work: "A境外", first: 60, step: 31, count: 3, change: func(m *making) { m.apart("accept-application", "grant-permit", 6) }},
	{rule: "FW-111", work: "B境外", first: 70, step: 60, count: 4, change: func(m *making) { m.apart("accept-application", "grant-permit", 11) }},
	{rule: "CF-105", work: "确认", first: 40, step: 9, count: 2, change: func(m *making) { m.apart("accept-application", "decide-confirmation", 11) }},
	// Published a day after the limit.
	{rule: "R-116-2", work: "确认", first: 44, step: 2, count: 3, change: func(m *making) { m.apart("decide-confirmation", "publish-decision", 21) }},
	{rule: "R-075", work: "公示", first: 8, step: 9, count: 2, change: func(m *making) { m.apart("receive-decision", "publish", 8) }},
	// The receipt of service is not in the file.
	{rule: "documents", work: "延期", first: 120, step: 90, count: 6, change: func(m *making) { m.Set["serve-licence"] = Act{Without: []string{"送达回证"}} }},
	// The certificate of one of the two had run out a few days before, and was
	// renewed late.
	{rule: "R-002", work: "C境内", first: 18, step: 1, count: 1, change: func(m *making) {
		m.Set["verify-materials"] = Act{Officers: []string{m.Officers[0], officerID(officersHeld - 1)}}
	}},
	{rule: "R-099", work: "换证", first: 0, step: 1, count: 1, change: func(*making) {}},
	// Employers who came late; their applications are handled all the same.
	{rule: "FW-150", work: "变更", first: 30, step: 20, count: 9, change: func(m *making) { m.Fields["changed_on"] = m.on.AddDays(-40) }},
	{rule: "FW-151", work: "注销", first: 25, step: 14, count: 12, change: func(m *making) { m.Fields["ended_on"] = m.on.AddDays(-45) }},
	// An interpretation a day after its limit.
	{rule: "R-105", work: "公开", first: 6, step: 1, count: 1, change: func(m *making) { m.apart("disclose-document", "publish-interpretation", 4) }},

	// Records made late, each with its reason.
	{rule: "late", work: "延期", first: 200, step: 40, count: 12, change: func(m *making) { m.Set["receive-application"] = Act{LateReason: "窗口系统停机，事后补录"} }},
	{rule: "late", work: "市提案", first: 30, step: 10, count: 6, change: func(m *making) { m.Set["approve-reply"] = Act{LateReason: "审签单纸质流转，事后补录"} }},
	{rule: "late", work: "确认", first: 41, step: 3, count: 5, change: func(m *making) {
		m.Set["verify-materials"] = Act{LateReason: "登记系统升级，事后补录", Officers: m.Officers}
	}},
}

// falls reports whether the irregularity is in a case.
func (x *irregularity) falls(p planned) bool {
	n := p.index - x.first
	return p.work.name == x.work && n >= 0 && n%x.step == 0 && n/x.step < x.count
}

// A making is a case that is being made.
type making struct {
	*Year
	*Case
	planned planned
	rand    *rand.Rand
	told    *Story // where no story of year.yaml tells it
}

func nothing(*making) {}

// number is the number of the case among all copies of its work, from 1.
func (m *making) number() int { return (m.planned.copy-1)*m.planned.work.count + m.planned.index + 1 }

// reference is a number on a paper: 样例许〔2022〕A境外007号.
func (m *making) reference(kind string) string {
	return fmt.Sprintf("样例%s〔%d〕%s%0*d号", kind, m.options.Number, m.planned.work.name, m.planned.work.digits(), m.number())
}

// set fills in $names.
func (m *making) set(fields map[string]any) { maps.Copy(m.Fields, fields) }

// delay moves an act, and all that come after it in the story, by working days.
func (m *making) delay(act string, days int) {
	var later []string
	for _, a := range m.story().Acts {
		if (a.Act == act || len(later) > 0) && !slices.Contains(later, a.Act) {
			later = append(later, a.Act)
			m.Late[a.Act] += days
		}
	}
}

// apart lets an act be so many working days after an earlier one.
func (m *making) apart(earlier, act string, days int) {
	of := func(name string) int {
		acts := m.story().Acts
		return acts[slices.IndexFunc(acts, func(a Act) bool { return a.Act == name })].Day + m.Late[name]
	}
	m.delay(act, days-of(act)+of(earlier))
}

func (m *making) story() Story {
	if m.told != nil {
		return *m.told
	}
	return m.teller.stories[m.Case.Story]
}

// one picks from a list.
func one[T any](m *making, from ...T) T { return from[m.rand.IntN(len(from))] }

// two picks two officers who may be sent.
func (m *making) two() []string {
	a := m.rand.IntN(officersHeld - 1)
	b := m.rand.IntN(officersHeld - 2)
	if b >= a {
		b++
	}
	return []string{officerID(a), officerID(b)}
}

// at is a day so many working days after the case began.
func (m *making) at(days int) calendar.Date { return forward(m.book.Calendar(), m.on, days) }

// hour is a time of day in the hours of the office.
func (m *making) hour() string {
	return fmt.Sprintf("%02d:%02d", one(m, 9, 10, 11, 14, 15), m.rand.IntN(20))
}
