package sample

import (
	"encoding/json"
	"fmt"
	"slices"

	"liuhen/domain/calendar"
	"liuhen/domain/identifier"
)

// Employers, foreigners and what they do: all invented. What might be taken for
// real is marked: organisations are named 样例, their codes have the division
// 000000, which does not exist, people are SPECIMEN and passports begin with YL.
var (
	employerNames  = []string{"青禾", "远山", "星河", "云帆", "松岭", "海棠", "白桦", "长风", "映川", "朝阳花", "紫塞", "辽南"}
	employerTrades = []string{"精密机械", "生物医药", "软件技术", "新能源材料", "航空部件", "汽车研发", "环境工程", "语言培训", "国际学校", "检测认证", "机器人", "设计咨询"}
	givenNames     = []string{"Anna", "Boris", "Chiara", "David", "Elena", "Farid", "Grace", "Hiroshi", "Ingrid", "Jorge", "Katya", "Liam", "Minji", "Noor", "Olga", "Pavel", "Rosa", "Samir", "Tomas", "Yuki"}
	familyNames    = []string{"Ivanov", "Keller", "Rossi", "Smith", "Petrova", "Rahman", "Taylor", "Sato", "Larsen", "Silva", "Novak", "Walsh", "Kim", "Ahmed", "Orlova", "Horvat", "Costa", "Haddad", "Nagy", "Tanaka"}
	nationalities  = []string{"俄罗斯", "德国", "意大利", "英国", "韩国", "日本", "美国", "法国", "加拿大", "巴西", "波兰", "埃及"}
)

// employers are invented organisations.
func employers() []map[string]any {
	var all []map[string]any
	for _, name := range employerNames {
		for _, trade := range employerTrades {
			all = append(all, map[string]any{"name": "样例" + name + trade + "有限公司", "kind": "entity", "uscc": creditCode(len(all))})
		}
	}
	return all
}

// creditCode has check characters that are right, and a division that does not
// exist.
func creditCode(n int) string {
	const characters = "0123456789ABCDEFGHJKLMNPQRTUWXY"
	body := fmt.Sprintf("91000000YL%06d", n)
	for _, organisation := range characters {
		for _, whole := range characters {
			if code := body + string(organisation) + string(whole); identifier.CheckUSCC(code) == nil {
				return code
			}
		}
	}
	panic("sample: no check characters fit " + body)
}

// A foreigner is one person: the same work and index in a copy, the same passport.
func (m *making) foreigner(name string, index int) map[string]any {
	place := slices.IndexFunc(m.works, func(w work) bool { return w.name == name })
	n := place*100_000 + index
	return map[string]any{
		"name":             fmt.Sprintf("SPECIMEN %s %s", givenNames[(n*7+index)%len(givenNames)], familyNames[(n*3+index/5)%len(familyNames)]),
		"nationality":      nationalities[(n*5+index/3)%len(nationalities)],
		"passport_no":      fmt.Sprintf("YL%d%03d%07d", m.options.Seed%10, m.planned.copy, n),
		"passport_until":   m.on.AddMonths(72),
		"birth":            calendar.MakeDate(1965+(n*11)%32, 1+n%12, 1+n%28),
		"degree":           "硕士",
		"experience_years": 2 + n%20,
	}
}

// permit fills in what every work permit case has.
func (m *making) permit(business, category string, worker map[string]any) {
	m.Officers = m.two()
	m.Party = m.employers[m.rand.IntN(len(m.employers))]
	months := one(m, 12, 12, 24, 36)
	from := m.on.AddMonths(1)
	m.set(map[string]any{
		"worker": worker, "worker_name": worker["name"], "employer": m.Party["name"], "business": business, "category": category,
		"ground": map[string]string{"A": one(m, "talent-plan", "achievement", "encouraged-post", "innovation"), "B": one(m, "degree", "skill", "language"), "C": "quota"}[category],
		"post":   one(m, "研发工程师", "技术专家", "外籍教师", "首席科学家", "质量经理", "设计师"), "salary": 100 * (12_000 + 500*m.rand.IntN(120)),
		"quota_no": nil, "together": nil,
		"materials":     []any{map[string]any{"name": "申请表", "copies": 1}, map[string]any{"name": "聘用合同", "copies": 1}, map[string]any{"name": "学历学位证书", "copies": 1, "original": true}},
		"contract_from": from, "contract_until": from.AddMonths(months + 1), "valid_from": from, "valid_until": from.AddMonths(months).AddDays(-1),
		"no": m.reference("业"), "receipt_no": m.reference("收"), "correction_no": m.reference("补"), "correction_receipt_no": m.reference("补收"),
		"acceptance_no": m.reference("受"), "decision_no": m.reference("许"), "notification_no": m.reference("通知"),
		"licence_no": m.reference("证"), "residence_no": m.reference("居"), "mail_no": m.reference("邮"),
		"revocation_no": m.reference("撤"), "cancellation_no": m.reference("注"), "right_until": from.AddMonths(months).AddDays(-2),
		"archive_no": fmt.Sprintf("%d%04d", m.options.Number, m.number()),
		"old_no":     nil, "expires_on": nil, "changed_on": nil, "ended_on": nil,
	})
	if category == "C" {
		m.Fields["quota_no"] = fmt.Sprintf("样例限额%d-%d", m.options.Number, m.number())
	}
	// One in twelve has something to hand in later.
	if slices.ContainsFunc(m.story().Acts, func(a Act) bool { return a.Act == "request-correction" }) && m.rand.IntN(12) == 0 {
		m.delay("accept-application", 5)
	} else {
		m.Skip = append(m.Skip, "request-correction", "receive-correction")
	}
}

// newcomer fills in an application of somebody who comes to work.
func newcomer(category string) func(*making) {
	return func(m *making) {
		business, together := "new-in-country", false
		switch m.Case.Story {
		case "permit-abroad", "permit-refused":
			business = "new-abroad"
		case "permit-short":
			business = "short-term"
		case "permit-here", "permit-corrected":
			// Both documents together, since the pilot began.
			together = !m.on.Before(calendar.MakeDate(m.options.Number, 4, 20)) && m.planned.index%3 == 0
		}
		worker := m.foreigner(m.planned.work.name, m.planned.index)
		if m.planned.work.name == "A境内" && m.planned.index >= 80 && m.planned.index < 83 {
			// These three came from abroad at the beginning of the year.
			earlier := m.foreigner("A境外", m.planned.index-80)
			worker["name"], worker["nationality"], worker["passport_no"], worker["birth"] = earlier["name"], earlier["nationality"], earlier["passport_no"], earlier["birth"]
		}
		m.permit(business, category, worker)
		switch {
		case together:
			m.Fields["together"] = true
			m.Skip = append(m.Skip, "serve-licence")
		case business == "new-in-country":
			m.Skip = append(m.Skip, "forward-to-police", "receive-residence-decision", "hand-over-both")
		}
		if act := "grant-permit"; !together && m.Case.Story != "permit-refused" {
			if category == "A" || business == "short-term" {
				m.delay(act, m.rand.IntN(2))
			} else {
				m.delay(act, m.rand.IntN(6))
			}
		}
	}
}

// permitHolder fills in an application of somebody who has a permit.
func permitHolder(business string) func(*making) {
	return func(m *making) {
		m.permit(business, one(m, "A", "B", "B", "B", "C"), m.foreigner(m.planned.work.name, m.planned.index))
		m.Fields["old_no"] = m.reference("原证")
		switch business {
		case "renewal":
			expires := m.on.AddDays(60 + m.rand.IntN(30))
			m.set(map[string]any{"expires_on": expires, "valid_from": expires.AddDays(1), "valid_until": expires.AddMonths(one(m, 12, 24))})
		case "change":
			m.Fields["changed_on"] = m.on.AddDays(-1)
			m.set(map[string]any{"old_passport": m.reference("旧护照"), "passport": m.reference("新护照")})
		case "cancellation":
			m.Fields["ended_on"] = m.on.AddDays(-1)
		}
		if act := "decide-renewal"; m.Case.Story == "permit-renewal" {
			m.delay(act, m.rand.IntN(3))
		}
	}
}

// confirmation fills in the registration of a technology contract.
func confirmation(m *making) {
	m.Officers = m.two()
	m.Party = m.employers[m.rand.IntN(len(m.employers))]
	amount := 1_000_000 * (3 + m.rand.IntN(400))
	m.set(map[string]any{
		"employer": m.Party["name"], "contract": "样例技术合同" + m.reference("合"), "contract_kind": one(m, "development", "transfer", "consulting", "service"),
		"amount": amount, "technology_amount": amount * 9 / 10,
		"receipt_no": m.reference("确收"), "acceptance_no": m.reference("确受"), "decision_no": m.reference("确"), "licence_no": m.reference("登"),
		"archive_no": fmt.Sprintf("%d%04d", m.options.Number, 5000+m.number()),
	})
	m.delay("decide-confirmation", m.rand.IntN(4))
}

// publication fills in the listing of a grant; it begins on the day of that
// decision.
func publication(of string) func(*making) {
	return func(m *making) {
		w := m.work(of)
		granted := w.planned(m.planned.copy, m.planned.index*w.count/m.planned.work.count)
		entries, err := m.tell(granted)
		if err != nil {
			panic("sample: " + err.Error()) // a bug of ours, which that case's own telling reports
		}
		e := entries[slices.IndexFunc(entries, func(e Entry) bool { return e.Act == "grant-permit" })]
		var party map[string]any
		var number string
		for name, to := range map[string]any{"party": &party, "decision_no": &number} {
			if err := json.Unmarshal(e.Fields[name], to); err != nil {
				panic("sample: " + err.Error())
			}
		}
		m.Case.on = calendar.DateOf(e.At)
		m.set(map[string]any{
			"decision_no": number, "source_case": string(e.Case), "batch": m.reference("批"), "receipt_no": m.reference("回执"), "revocation_no": m.reference("撤"),
			"entry": map[string]any{
				"subject": party["name"], "subject_kind": "entity", "uscc": party["uscc"], "decision_name": "准予行政许可决定书", "decision_no": number,
				"decision_date": m.Case.on, "content": "外国人来华工作许可", "permit_kind": "ordinary", "permit_certificate": "外国人工作许可证", "permit_no": m.reference("证"),
				"valid_from": m.Case.on, "valid_to": m.Case.on.AddMonths(12), "agency": yearAgency, "source_unit": yearAgency,
			},
		})
	}
}
