package sample

import (
	"fmt"
	"strconv"
)

// officersHeld is how many officers work in the bureau when the year begins.
const officersHeld = 18

func officerID(i int) string { return fmt.Sprintf("yn-%02d", i+1) }

// officerName is an invented name: a surname, 样, and a stem of the sexagenary
// cycle.
func officerName(i int) string {
	surnames, stems := []rune("陈林黄何郭马罗梁宋郑谢韩唐冯于董萧程曹袁"), []rune("甲乙丙丁戊己庚辛壬癸")
	return string(surnames[i%len(surnames)]) + "样" + string(stems[i/len(surnames)%len(stems)])
}

// certified fills in the certificate, which is issued on the fortieth working
// day and lasts so many months.
func (m *making) certified(months int) {
	to := m.at(40).AddMonths(months).AddDays(-1)
	m.set(map[string]any{"certificate_no": m.reference("执法"), "valid_to": to, "remind_on": to.AddDays(-60), "score": 70 + m.rand.IntN(28), "proof_no": m.reference("考")})
}

func heldOfficer(m *making) {
	m.set(map[string]any{"person": officerID(m.planned.index), "full_name": officerName(m.planned.index)})
	m.certified(60)
}

// expiredOfficer is the last one: the certificate runs out at the end of June
// 2022, and the new one comes in July.
func expiredOfficer(m *making) {
	last := officersHeld - 1
	m.set(map[string]any{"person": officerID(last), "full_name": officerName(last)})
	m.certified(9)
	renewed := m.at(245)
	to := renewed.AddMonths(60).AddDays(-1)
	m.set(map[string]any{"renewed_no": m.reference("执法换"), "renewed_to": to, "renewed_remind": to.AddDays(-60)})
}

func newOfficer(m *making) {
	n := officersHeld + m.number()
	m.set(map[string]any{"person": fmt.Sprintf("yn-%s-%02d", m.planned.work.name, m.number()), "full_name": officerName(n * 7)})
	m.certified(60)
}

// proposal fills in a suggestion of a deputy or a proposal of a member.
func proposal(level string) func(*making) {
	return func(m *making) {
		i := m.planned.index
		m.Officers = []string{officerID(i % officersHeld)}
		topic := one(m, "科技成果转化", "外国专家服务", "科技型中小企业培育", "产学研协同", "科普工作", "科技金融", "创新平台建设")
		m.set(map[string]any{
			"no": m.reference("提"), "level": level, "kind": one(m, "suggestion", "cppcc", "cppcc"), "title": "关于加强" + topic + "的建议（样例）",
			"proposer": fmt.Sprintf("样例代表委员%03d", m.number()), "assigned_by": map[string]string{"province": "样例省人大常委会", "city": "样例市政府督查室"}[level],
			"department": one(m, "政策法规处", "成果转化处", "外国专家服务处", "高新技术处"), "way": one(m, "visit", "symposium", "invited"), "reply_no": m.reference("提复"),
			"class": "A", "reason": nil, "promise": nil, "promise_within": nil, "public": true,
			"satisfaction": one(m, "satisfied", "satisfied", "satisfied", "basically"), "archive_no": fmt.Sprintf("%d%04d", m.options.Number, 6000+m.number()),
		})
		switch i % 5 {
		case 1, 3:
			m.set(map[string]any{"class": "B", "promise": "年内落实（样例）", "promise_within": "6 months"})
		case 4:
			m.set(map[string]any{"class": "C", "reason": "受条件限制暂难解决，留作参考（样例）", "public": nil})
			m.Skip = append(m.Skip, "publish-reply", "fulfil-promise")
		}
		if m.Fields["promise"] == nil {
			m.Skip = append(m.Skip, "fulfil-promise")
		}
	}
}

// counsel tells a contract of legal counsel with its services.
func counsel(year, services int) func(*making) {
	return func(m *making) {
		lawyers := []any{map[string]any{"name": "律样甲", "licence_no": "样例执业0001"}, map[string]any{"name": "律样乙", "licence_no": "样例执业0002"}}
		kinds := []string{"decision", "normative", "fair-competition", "administrative-act", "contract", "project", "fund", "dispute"}
		from, first := m.at(8), 0
		until := from.AddMonths(12).AddDays(-1)
		renewal := any(m.reference("法顾合"))
		if year < m.options.Number { // its services of this year
			until, renewal = day(m.options.Number, "03-31"), nil
			first = len(workdays(m.book.Calendar(), m.on, day(m.options.Number, "01-04"))) - 1
		}
		s := Story{Procedure: "legal-counsel", Acts: []Act{
			{Act: "select-counsel", Day: 0, Hour: "09:30", With: []string{"选聘（采购）文件"}, Fields: map[string]any{"way": "tender", "candidates": []any{"样例甲律师事务所", "样例乙律师事务所"}, "chosen": "样例甲律师事务所", "reason": "综合评分第一"}},
			{Act: "sign-contract", Day: 6, Hour: "10:00", Fields: map[string]any{
				"contract_no": m.reference("法顾"), "counsel": map[string]any{"name": "样例甲律师事务所", "kind": "entity"}, "lawyers": lawyers,
				"from": from, "until": until, "scope": kinds, "fee": 12_000_000, "conflict_checked": true, "confidentiality": true, "renewal_of": renewal,
			}},
		}}
		end := day(m.options.Number, "12-23")
		if until.Before(end) {
			end = until
		}
		last := len(workdays(m.book.Calendar(), m.on, end)) - 1
		begin := max(first, 9)
		for i := range services {
			kind, output := kinds[m.rand.IntN(len(kinds))], one(m, "oral", "meeting", "drafting")
			if kind == "contract" || kind == "normative" || kind == "fair-competition" {
				output = map[string]string{"contract": "contract-review"}[kind]
				if output == "" {
					output = "written-opinion"
				}
			}
			on := begin + i*(last-begin-2)/services
			given, hour := on, "16:00"
			if m.rand.IntN(2) == 0 {
				given, hour = on+1, "09:00"
			}
			matter := fmt.Sprintf("样例法律事务%03d", i+1)
			number := m.reference("法") + "-" + strconv.Itoa(i+1)
			s.Acts = append(s.Acts,
				Act{Act: "request-advice", Day: on, Hour: "09:10", With: []string{"法律事务委托单"}, Fields: map[string]any{"request_no": number, "matter": matter, "kind": kind, "department": "政策法规处", "within": "3 working days"}},
				Act{Act: "give-advice", Day: given, Hour: hour, With: []string{"法律意见书"}, Fields: map[string]any{
					"request_no": number, "matter": matter, "kind": kind, "output": output, "opinion": one(m, "lawful", "lawful", "amend"),
					"summary": "样例意见", "lawyer": one(m, "律样甲", "律样乙"), "hours": 1 + m.rand.IntN(6),
				}})
		}
		s.Acts = append(s.Acts, Act{Act: "assess-counsel", Day: last + 1, Hour: "15:00", With: []string{"法律顾问考核表"}, Fields: map[string]any{"year": m.options.Number, "services": services, "result": "合格"}})
		if year < m.options.Number {
			s.Acts = append(s.Acts, Act{Act: "end-contract", Day: last + 1, Hour: "16:30", With: []string{"解除（终止）通知"}, Fields: map[string]any{"early": false, "handed_over": true}})
		}
		m.told = &s
	}
}

// The sessions and attendances of a year, which the report gives as 40多 and
// 6000余.
const (
	outreachSessions    = 46
	outreachAttendances = 6418
)

// outreach tells an activity with its sessions: the last two of twelve have
// three, the others four.
func outreach(m *making) {
	first, sessions := 4*m.planned.index, 4
	if m.planned.index >= 10 {
		first, sessions = 40+3*(m.planned.index-10), 3
	}
	topic := "普法：" + []string{"科学技术进步法", "民法典", "科技政策", "人才政策"}[m.planned.index%4] + "（样例）"
	kind, audience := one(m, "enterprise", "staff", "public"), []any{one(m, "enterprises", "staff", "districts")}
	s := Story{Procedure: "outreach", Acts: []Act{
		{Act: "plan-activity", Day: 0, Hour: "09:30", Fields: map[string]any{"topic": topic, "kind": kind, "audience": audience, "laws": []any{"科学技术进步法"}, "list_item": "1", "department": "政策法规处", "sessions": sessions}},
		{Act: "approve-plan", Day: 2, Hour: "10:00", With: []string{"活动审批表"}, Fields: map[string]any{"opinion": "同意"}},
		{Act: "prepare-material", Day: 4, Hour: "15:00", Fields: map[string]any{"title": topic + "讲义", "kind": "slides", "quantity": 200, "checked_by": "yn-law-1"}},
	}}
	for i := range sessions {
		s.Acts = append(s.Acts, Act{Act: "hold-session", Day: 7 + 4*i, Hour: m.hour(), Place: "样例报告厅", With: []string{"签到表"}, Fields: map[string]any{
			"topic": topic, "kind": kind, "form": one(m, "lecture", "video", "visit"), "audience": audience, "place": "样例报告厅", "laws": []any{"科学技术进步法"},
			"speaker": "讲样甲", "hours": 2, "attendees": attendances(first + i),
		}})
	}
	s.Acts = append(s.Acts, Act{Act: "close-activity", Day: 9 + 4*sessions, Hour: "16:00", With: []string{"活动总结"}, Fields: map[string]any{"summary": "按计划完成"}})
	m.told = &s
}

// attendances are those of one of the sessions: more here and fewer there, and
// outreachAttendances in all.
func attendances(session int) int {
	sway := 7 * (session%9 - 4)
	if session >= outreachSessions/9*9 { // the last ones take no part in it
		sway = 0
	}
	n := outreachAttendances/outreachSessions + sway
	if session < outreachAttendances%outreachSessions {
		n++
	}
	return n
}

func outreachList(m *making) {
	var items []any
	for i, law := range []string{"科学技术进步法", "民法典", "行政许可法"} {
		items = append(items, map[string]any{
			"item_no": strconv.Itoa(i + 1), "law": law, "content": "宣传" + law, "basis": "谁执法谁普法", "audience": []any{"enterprises"}, "department": "政策法规处", "form": []any{"lecture"}, "time": "全年",
		})
	}
	m.Fields["items"] = items
}

// planDocument fills in a document for the plan of a year.
func planDocument(year int) func(*making) {
	return func(m *making) {
		m.set(map[string]any{"plan_year": year, "title": "样例科技计划管理办法（" + m.reference("拟") + "）", "department": one(m, "政策法规处", "成果转化处", "高新技术处")})
	}
}

// cleanUp fills in a document that is looked through.
func cleanUp(result string) func(*making) {
	return func(m *making) {
		m.set(map[string]any{
			"doc_no": m.reference("科发"), "title": "样例科技专项资金管理办法（" + m.reference("现行") + "）", "published_on": day(m.options.Number-3, "06-10"),
			"cleaned_on": day(m.options.Number-2, "08-20"), "result": result,
			"reason": map[string]string{"keep": "仍需执行", "repeal": "已被新规定代替", "expired": "适用期已过"}[result],
		})
	}
}

// disclosure fills in a document that is made public, and explained where it is
// policy.
func disclosure(kind string) func(*making) {
	return func(m *making) {
		title := "样例科技政策文件（" + m.reference("科政") + "）"
		m.set(map[string]any{
			"title": title, "kind": kind, "doc_no": m.reference("科发"), "no": m.reference("索"), "department": one(m, "政策法规处", "成果转化处"),
			"forms": []any{"text"}, "interpreted": true, "interpretation": title + "解读", "archive_no": fmt.Sprintf("%d%04d", m.options.Number, 7000+m.planned.index),
		})
		if m.Case.Story == "disclosure-two" {
			m.Fields["forms"] = []any{"text", "picture"}
		}
		if kind != "policy" {
			m.Fields["interpreted"] = false
			m.Skip = append(m.Skip, "plan-interpretation", "publish-interpretation")
		}
	}
}

// reviewed are the files that the bureau looked through itself: so many of each
// work, the first ones of the year.
var reviewed = []struct {
	work, kind string
	files      int
}{
	{"A境外", "permit", 24},
	{"延期", "permit", 24},
	{"确认", "confirmation", 24},
}

// fileReview tells the review of the bureau's own files: each has a sheet, and
// no sheet has a problem of authority or procedure.
func fileReview(m *making) {
	items := []struct {
		number, title string
		points        int
	}{{"一", "受理", 15}, {"二", "审查", 30}, {"三", "决定", 22}, {"四", "送达和公开", 13}, {"五", "立卷归档", 12}, {"六", "三项制度", 8}}
	var standard []any
	for _, it := range items {
		standard = append(standard, map[string]any{"number": it.number, "title": it.title, "points": it.points})
	}
	adopt := func(kind string) Act {
		return Act{Act: "adopt-standard", Day: 3, Hour: "10:00", Fields: map[string]any{"title": "样例案卷评查评分标准（" + kind + "）", "version": "2022", "kind": kind, "items": standard}}
	}
	s := Story{Procedure: "case-file-review", Acts: []Act{
		{Act: "plan-review", Day: 0, Hour: "09:30", Fields: map[string]any{"title": "2022年行政执法案卷自查（样例）", "period_from": day(m.options.Number, "01-01"), "period_to": day(m.options.Number, "08-31"), "kinds": []any{"permit", "confirmation"}, "units": []any{yearAgency}}},
		adopt("permit"), adopt("confirmation"),
		{Act: "start-self-check", Day: 5, Hour: "09:00", Fields: map[string]any{"unit": yearAgency, "files": 72}},
	}}
	files := 0
	for _, r := range reviewed {
		for i := range r.files {
			deducted := m.rand.IntN(3)
			var scores []any
			for _, it := range items {
				score := map[string]any{"number": it.number, "points": it.points, "deducted": 0}
				if it.number == "五" && deducted > 0 {
					score["deducted"], score["reason"] = deducted, "备考表填写不规范"
				}
				scores = append(scores, score)
			}
			s.Acts = append(s.Acts, Act{Act: "score-file", Day: 6 + files/6, Hour: fmt.Sprintf("%02d:%02d", 9+files%6, 10), Fields: map[string]any{
				"file_no": m.id(m.work(r.work), m.planned.copy, i), "kind": r.kind, "unit": yearAgency, "round": "self-check",
				"scorer": one(m, "yn-law-1", "yn-law-2"), "scorer_unit": "政策法规处", "items": scores, "total": 100 - deducted, "grade": "excellent", "opinion": "未发现超越职权或者违反程序",
			}})
			files++
		}
	}
	s.Acts = append(s.Acts,
		Act{Act: "report-review", Day: 22, Hour: "15:00", Fields: map[string]any{"round": "self-check", "reviewed": files, "unqualified": 0, "authority_problems": 0, "procedure_problems": 0, "sent_to": "样例市司法局", "summary": "无超越职权或者违反程序情况"}},
		Act{Act: "close-review", Day: 24, Hour: "16:00"},
		Act{Act: "archive-review", Day: 34, Hour: "10:00", Fields: map[string]any{"archive_no": fmt.Sprintf("%d%04d", m.options.Number, 8000+m.planned.copy), "pieces": 80, "pages": 200, "retention": "三十年"}},
	)
	m.told = &s
}
