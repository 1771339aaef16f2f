package sample

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"liuhen/domain"
	"liuhen/domain/calendar"
)

// An Event is what a count looks at: an event as anybody may read it from the
// system. One that was corrected is left out by Add; what corrects it counts.
type Event struct {
	ID, Case, Procedure, Act string
	At                       time.Time
	Fields                   map[string]any
	CorrectedBy              string
}

// A Tally is the events that the figures of a year are counted from, gathered
// case by case. It knows nothing of how the sample was made.
type Tally struct {
	year   int
	events map[string][]Event // by "procedure.act"
	inCase map[string][]Event // by "case procedure.act"
	found  map[string]int     // findings of a case
}

// NewTally returns an empty tally of a year.
func NewTally(year int) *Tally {
	return &Tally{year: year, events: map[string][]Event{}, inCase: map[string][]Event{}, found: map[string]int{}}
}

// Add takes in an event; which ones are needed, Asks says.
func (t *Tally) Add(e Event) {
	if e.CorrectedBy != "" {
		return
	}
	name := e.Procedure + "." + e.Act
	t.events[name] = append(t.events[name], e)
	t.inCase[e.Case+" "+name] = append(t.inCase[e.Case+" "+name], e)
}

// AddFindings takes in how many findings a case has.
func (t *Tally) AddFindings(id string, n int) { t.found[id] = n }

// Asks are the acts that the figures are counted from, by procedure.
func Asks() map[string][]string {
	asks := map[string][]string{}
	for _, f := range Figures() {
		for _, from := range f.From {
			procedure, act, _ := strings.Cut(from, ".")
			if !slices.Contains(asks[procedure], act) {
				asks[procedure] = append(asks[procedure], act)
			}
		}
	}
	return asks
}

// A Count is a figure as it was counted.
type Count struct {
	Value       int      // the number; of a rate the numerator
	Denominator int      // of a rate; else 0
	Events      []string // ids of the events that were counted
}

// Digest is the SHA-256 of the ids of the events, sorted, one a line.
func (c Count) Digest() string {
	return domain.DigestOf([]byte(strings.Join(slices.Sorted(slices.Values(c.Events)), "\n"))).String()
}

// A Figure is one number of the report, and how it is counted.
type Figure struct {
	No       string // its number in the table of the report's numbers
	ZH, EN   string // what it is
	Sentence string // where the report says so
	Printed  string // as the report prints it
	Least    int    // the value, or the least that the rounded words allow
	Most     int    // the value, or the most that they allow; of a rate the denominator
	Rate     bool
	Once     bool     // is the same however often the year is multiplied
	Unit     string   // of the code table figure-unit of the law; "" for what the report does not print as a number
	Step     int      // of a rounded number: ten for 40多
	From     []string // the acts it is counted from
	count    func(*Tally) Count
}

// Agrees reports whether a count is what the report says, of a year multiplied
// by scale.
func (f *Figure) Agrees(c Count, scale int) bool {
	if f.Once {
		scale = 1
	}
	if f.Rate {
		return c.Value == c.Denominator && c.Denominator >= f.Least*scale && c.Denominator <= f.Most*scale && c.Denominator > 0
	}
	if f.Most == 0 && len(c.Events) == 0 {
		return false // a zero has to be looked for somewhere
	}
	return c.Value >= f.Least*scale && c.Value <= f.Most*scale
}

// Of counts a figure.
func (f *Figure) Of(t *Tally) Count { return f.count(t) }

// decided are the acts that decide on a work permit; what is given back or
// turned away before a decision is not handled in the sense of the report.
var decided = []string{"grant-permit", "refuse-permit", "decide-renewal", "decide-change", "decide-replacement", "cancel-permit"}

func permits(acts ...string) []string {
	var names []string
	for _, a := range acts {
		names = append(names, "foreign-work-permit."+a)
	}
	return names
}

// units are those of the numbers that the report prints.
var units = map[string]string{
	"1": "document", "2": "item", "3": "item", "4": "item", "6": "item", "7": "person", "8": "session", "9": "attendance", "10": "time",
	"11": "person", "12": "file", "13": "item", "14": "item", "15": "item", "16": "percent", "17": "percent", "18": "percent", "19": "document", "20": "document",
}

// Figures are the numbers of the report, in its table's order. Numbers 21, 27
// and 28 are names and slogans, and are never counted.
func Figures() []Figure {
	figure := func(no, zh, en, printed, sentence string, n int, from []string, count func(*Tally) Count) Figure {
		f := Figure{No: no, ZH: zh, EN: en, Printed: printed, Sentence: sentence, From: from, count: count}
		f.Least, f.Most, f.Unit = n, n, units[no]
		return f
	}
	once := func(f Figure) Figure { f.Once = true; return f }
	rate := func(f Figure) Figure { f.Rate = true; return f }
	about := func(f Figure, least, most, step int) Figure { f.Least, f.Most, f.Step = least, most, step; return f }

	planned, cleaned := []string{"normative-document.plan-document"}, []string{"normative-document.clean-up-document"}
	sessions, scored := []string{"outreach.hold-session"}, []string{"case-file-review.score-file"}
	assigned := []string{"proposal.receive-assignment"}
	of := func(more ...string) []string { return append(slices.Clone(assigned), more...) }
	reviews := []string{"foreign-work-permit.grant-permit", "foreign-work-permit.refuse-permit", "foreign-work-permit.complete-legal-review", "confirmation.decide-confirmation", "confirmation.complete-legal-review"}
	papers := []string{"annual-report.adopt-work-plan", "annual-report.adopt-system", "outreach-list.publish-list"}

	return []Figure{
		figure("1", "提报次年发文计划的规范性文件", "Normative documents put forward for next year's plan", "11个", "11个规范性文件提报2023年度发文计划", 11, planned,
			func(t *Tally) Count { return t.number(planned, field("plan_year", strconv.Itoa(t.year+1))) }),
		figure("2", "清理后保留的文件", "Documents kept at the clean-up", "3件", "保留3件、废止5件、失效1件", 3, cleaned,
			func(t *Tally) Count { return t.number(cleaned, field("result", "keep")) }),
		figure("3", "清理后废止的文件", "Documents repealed at the clean-up", "5件", "保留3件、废止5件、失效1件", 5, cleaned,
			func(t *Tally) Count { return t.number(cleaned, field("result", "repeal")) }),
		figure("4", "清理后失效的文件", "Documents that had expired at the clean-up", "1件", "保留3件、废止5件、失效1件", 1, cleaned,
			func(t *Tally) Count { return t.number(cleaned, field("result", "expired")) }),
		once(figure("5", "全市首个两证联办试点", "The city's first pilot of both documents together", "首个", "开展全市首个外国人来华两证联办业务试点", 1, []string{"pilot.start-pilot"},
			func(t *Tally) Count { return t.number([]string{"pilot.start-pilot"}, field("first_of", "city")) })),
		figure("6", "办理工作许可（按决定日期）", "Work permits handled, by date of decision", "2133件", "今年以来办理工作许可2133件", 2133, permits(decided...),
			func(t *Tally) Count { return t.permitsDecided() }),
		figure("7", "A类新办人数", "People newly granted category A", "240人", "其中A类新办240人", 240, permits("grant-permit"),
			func(t *Tally) Count { return t.newHighEnd() }),
		about(figure("8", "普法培训场次", "Training and outreach sessions", "40多场次", "目前开展培训40多场次、服务6000余人次", 0, sessions,
			func(t *Tally) Count { return t.number(sessions, always) }), 41, 49, 10),
		about(figure("9", "普法培训人次", "Attendances at them", "6000余人次", "目前开展培训40多场次、服务6000余人次", 0, sessions,
			func(t *Tally) Count { return t.sum(sessions, "attendees") }), 6001, 6999, 1000),
		figure("10", "法律顾问服务", "Services of legal counsel", "119次", "法律顾问今年以来开展法律事务服务119次", 119, []string{"legal-counsel.give-advice"},
			func(t *Tally) Count { return t.number([]string{"legal-counsel.give-advice"}, always) }),
		figure("11", "通过省执法资格考试的人数", "People who passed the provincial examination", "45人", "新增45人通过省执法资格考试", 45, []string{"officer.take-exam"},
			func(t *Tally) Count { return t.passed() }),
		figure("12", "自查的许可、确认案卷", "Permit and confirmation files reviewed by the bureau itself", "72个", "重点对行政许可、行政确认案卷开展自查，72个案卷", 72, scored,
			func(t *Tally) Count { return t.reviewed() }),
		figure("13", "其中超越职权、违反程序的问题和本系统的偏差", "Problems of authority or procedure in them, and findings of this system", "无", "72个案卷无超越职权或违反程序情况发生", 0, scored,
			func(t *Tally) Count { return t.problems() }),
		figure("14", "省建议提案", "Proposals of the province", "1件", "共承办省建议提案1件、市建议提案103件", 1, assigned,
			func(t *Tally) Count { return t.number(assigned, field("level", "province")) }),
		figure("15", "市建议提案", "Proposals of the city", "103件", "共承办省建议提案1件、市建议提案103件", 103, assigned,
			func(t *Tally) Count { return t.number(assigned, field("level", "city")) }),
		rate(figure("16", "见面率（答复前面商）", "Proposers met before the answer", "100%", "见面率、办复率、满意率均达到100%", 104, of("proposal.meet-proposer", "proposal.send-reply"),
			func(t *Tally) Count { return t.met() })),
		rate(figure("17", "办复率（三个月内）", "Proposals answered within three months", "100%", "见面率、办复率、满意率均达到100%", 104, of("proposal.send-reply"),
			func(t *Tally) Count { return t.answered() })),
		rate(figure("18", "满意率（满意和基本满意）", "Proposers satisfied, basically or wholly", "100%", "见面率、办复率、满意率均达到100%", 104, of("proposal.receive-proposer-feedback"),
			func(t *Tally) Count { return t.satisfied() })),
		figure("19", "公开的政策文件", "Policy documents disclosed", "14个", "公开文件14个，发布解读18个", 14, []string{"disclosure.disclose-document"},
			func(t *Tally) Count {
				return t.number([]string{"disclosure.disclose-document"}, field("kind", "policy", "normative"))
			}),
		figure("20", "发布的解读", "Interpretations published", "18个", "公开文件14个，发布解读18个", 18, []string{"disclosure.publish-interpretation"},
			func(t *Tally) Count { return t.number([]string{"disclosure.publish-interpretation"}, always) }),
		about(rate(figure("22", "法制审核覆盖率", "Coverage of legal review", "全覆盖", "重大执法决定法制审核全覆盖", 0, reviews,
			func(t *Tally) Count { return t.coverage() })), 1, 1<<20, 0),
		once(figure("23", "执法全过程记录办案室", "Recording room opened", "设立", "设立执法全过程记录办案室", 1, []string{"facility.open-facility"},
			func(t *Tally) Count {
				return t.number([]string{"facility.open-facility"}, field("kind", "recording-room"))
			})),
		once(figure("24", "2021年度先进单位和先进个人", "Honours for 2021, to the unit and a person", "先进单位和先进个人", "荣获2021年度全市行政执法监督先进单位和行政执法监督先进个人", 2, []string{"award.receive-award"},
			func(t *Tally) Count {
				return t.number([]string{"award.receive-award"}, field("for_year", strconv.Itoa(t.year-1)))
			})),
		figure("25", "新一轮法律顾问服务合同", "New contract of legal counsel", "签订", "签订新一轮法律顾问服务合同", 1, []string{"legal-counsel.sign-contract"},
			func(t *Tally) Count { return t.number([]string{"legal-counsel.sign-contract"}, always) }),
		once(figure("26", "普法责任清单", "List of outreach duties published", "制定、公示", "制定《沈阳市科学技术局2022年普法责任清单》，普法清单及时在局官网公示", 1, []string{"outreach-list.publish-list"},
			func(t *Tally) Count { return t.number([]string{"outreach-list.publish-list"}, always) })),
		once(figure("29", "报告日期为2023年2月6日", "The report is dated 2023-02-06", "2023年2月6日", "2023年2月6日", 1, []string{"annual-report.approve-report"},
			func(t *Tally) Count { return t.reportsDated(calendar.MakeDate(t.year+1, 2, 6)) })),
		once(figure("—", "制定的工作方案、制度和清单", "Plans, rules and lists that were made", "（未列数）", "制定《…2022年依法行政工作实施方案》等六件", 6, papers,
			func(t *Tally) Count { return t.number(papers, always) })),
	}
}

// always is a condition that every event meets.
func always(Event) bool { return true }

// field is the condition that a field has one of some values.
func field(name string, values ...string) func(Event) bool {
	return func(e Event) bool { return slices.Contains(values, words(e, name)) }
}

// words is a field in words: a number as it is written.
func words(e Event, name string) string {
	if v, ok := e.Fields[name]; ok && v != nil {
		return fmt.Sprint(v)
	}
	return ""
}

// record is a field that is a record.
func record(e Event, name string) map[string]any {
	m, _ := e.Fields[name].(map[string]any)
	return m
}

// whole is a field that is a whole number: JSON gives them as float64.
func whole(e Event, name string) int {
	switch v := e.Fields[name].(type) {
	case int64:
		return int(v)
	case float64:
		return int(v)
	}
	return 0
}

// of are the events of some acts, carried out in the year, that meet a
// condition.
func (t *Tally) of(names []string, meets func(Event) bool) []Event {
	var out []Event
	for _, name := range names {
		for _, e := range t.events[name] {
			if e.At.In(calendar.Shanghai).Year() == t.year && meets(e) {
				out = append(out, e)
			}
		}
	}
	return out
}

func ids(events []Event) []string {
	out := make([]string, len(events))
	for i, e := range events {
		out[i] = e.ID
	}
	return out
}

func (t *Tally) number(names []string, meets func(Event) bool) Count {
	events := t.of(names, meets)
	return Count{Value: len(events), Events: ids(events)}
}

func (t *Tally) sum(names []string, name string) Count {
	events := t.of(names, always)
	c := Count{Events: ids(events)}
	for _, e := range events {
		c.Value += whole(e, name)
	}
	return c
}

// distinct counts something in events once, however often it is there.
func distinct(events []Event, what func(Event) string) Count {
	seen := map[string]bool{}
	for _, e := range events {
		seen[what(e)] = true
	}
	return Count{Value: len(seen), Events: ids(events)}
}

// dated reports whether the decision bears a date of the year: that date
// counts, and not the day on which it was recorded or carried out.
func (t *Tally) dated(e Event) bool {
	return strings.HasPrefix(words(e, "decision_date"), strconv.Itoa(t.year)+"-")
}

// permitsDecided counts cases: one that is decided on twice is one. A permit
// that is revoked later, and cancelled for that, was handled when it was granted.
func (t *Tally) permitsDecided() Count {
	var events []Event
	for _, name := range permits(decided...) {
		for _, e := range t.events[name] {
			if t.dated(e) {
				events = append(events, e)
			}
		}
	}
	return distinct(events, func(e Event) string { return e.Case })
}

// newHighEnd counts people, by their passports.
func (t *Tally) newHighEnd() Count {
	var events []Event
	for _, e := range t.events["foreign-work-permit.grant-permit"] {
		if t.dated(e) && words(e, "category") == "A" && slices.Contains([]string{"new-abroad", "new-in-country"}, words(e, "business")) {
			events = append(events, e)
		}
	}
	return distinct(events, func(e Event) string {
		w := record(e, "worker")
		return fmt.Sprint(w["nationality"], " ", w["passport_no"])
	})
}

// passed counts people: a case of the procedure officer is one person.
func (t *Tally) passed() Count {
	events := t.of([]string{"officer.take-exam"}, func(e Event) bool {
		return words(e, "exam") == "qualification" && words(e, "passed") == "true" && strings.HasPrefix(words(e, "exam_on"), strconv.Itoa(t.year)+"-")
	})
	return distinct(events, func(e Event) string { return e.Case })
}

func (t *Tally) sheets() []Event {
	return t.of([]string{"case-file-review.score-file"}, func(e Event) bool {
		return words(e, "round") == "self-check" && slices.Contains([]string{"permit", "confirmation"}, words(e, "kind"))
	})
}

func (t *Tally) reviewed() Count {
	return distinct(t.sheets(), func(e Event) string { return words(e, "file_no") })
}

// problems counts what the reviewers noted of authority or procedure, and what
// this system found in the same files, of whatever kind.
func (t *Tally) problems() Count {
	sheets := t.sheets()
	c := Count{Events: ids(sheets)}
	for _, e := range sheets {
		c.Value += t.found[words(e, "file_no")]
		noted, _ := e.Fields["problems"].([]any)
		for _, p := range noted {
			if m, ok := p.(map[string]any); ok && (m["kind"] == "authority" || m["kind"] == "procedure") {
				c.Value++
			}
		}
		if vetoes, _ := e.Fields["vetoes"].([]any); len(vetoes) > 0 {
			c.Value++
		}
	}
	return c
}

// Files are the cases that were reviewed, whose findings a tally has to know.
func (t *Tally) Files() []string {
	var out []string
	for _, e := range t.sheets() {
		if file := words(e, "file_no"); !slices.Contains(out, file) {
			out = append(out, file)
		}
	}
	return out
}

// perProposal is a rate over the proposals assigned in the year.
func (t *Tally) perProposal(holds func(Event) (Event, bool)) Count {
	assigned := t.of([]string{"proposal.receive-assignment"}, always)
	c := Count{Denominator: len(assigned)}
	for _, a := range assigned {
		if e, ok := holds(a); ok {
			c.Value++
			c.Events = append(c.Events, e.ID)
		}
	}
	return c
}

// in are the events of an act in a case.
func (t *Tally) in(id, name string) []Event { return t.inCase[id+" "+name] }

func (t *Tally) met() Count {
	return t.perProposal(func(a Event) (Event, bool) {
		replies := t.in(a.Case, "proposal.send-reply")
		for _, m := range t.in(a.Case, "proposal.meet-proposer") {
			inPerson := slices.Contains([]string{"visit", "symposium", "invited"}, words(m, "way")) || words(m, "way_agreed") == "true"
			if inPerson && len(replies) > 0 && !m.At.After(replies[0].At) {
				return m, true
			}
		}
		return Event{}, false
	})
}

func (t *Tally) answered() Count {
	return t.perProposal(func(a Event) (Event, bool) {
		for _, r := range t.in(a.Case, "proposal.send-reply") {
			months := 3
			if words(a, "difficult") == "true" {
				months = 6
			}
			if !calendar.DateOf(r.At).After(calendar.DateOf(a.At).AddMonths(months)) {
				return r, true
			}
		}
		return Event{}, false
	})
}

func (t *Tally) satisfied() Count {
	return t.perProposal(func(a Event) (Event, bool) {
		given := t.in(a.Case, "proposal.receive-proposer-feedback")
		if len(given) == 0 {
			return Event{}, false
		}
		last := given[len(given)-1]
		return last, slices.Contains([]string{"satisfied", "basically"}, words(last, "satisfaction"))
	})
}

func (t *Tally) reportsDated(d calendar.Date) Count {
	var events []Event
	for _, e := range t.events["annual-report.approve-report"] {
		if words(e, "report_date") == d.String() {
			events = append(events, e)
		}
	}
	return Count{Value: len(events), Events: ids(events)}
}

// coverage is over the decisions for which legal review is due.
func (t *Tally) coverage() Count {
	var c Count
	for procedure, acts := range map[string][]string{"foreign-work-permit": {"grant-permit", "refuse-permit"}, "confirmation": {"decide-confirmation"}} {
		for _, act := range acts {
			for _, e := range t.events[procedure+"."+act] {
				if grounds, _ := e.Fields["review_grounds"].([]any); len(grounds) == 0 || !t.dated(e) {
					continue
				}
				c.Denominator++
				c.Events = append(c.Events, e.ID)
				for _, r := range t.in(e.Case, procedure+".complete-legal-review") {
					if words(r, "outcome") == "agree" && !r.At.After(e.At) {
						c.Value++
						break
					}
				}
			}
		}
	}
	return c
}
