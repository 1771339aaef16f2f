package api

import (
	"encoding/base64"
	"encoding/json"
	"time"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
	"liuhen/projections"
)

// How items of lists are shown, in JSON and in CSV.

// date is a day in a parameter.
type date struct{ calendar.Date }

// UnmarshalText is for huma; an empty day is not a day here.
func (d *date) UnmarshalText(b []byte) (err error) {
	d.Date, err = calendar.ParseDate(string(b))
	return err
}

// timelineEntry is one event of a case.
type timelineEntry struct {
	Position    uint64               `json:"position"`
	Revision    int                  `json:"revision"`
	Event       string               `json:"event"`
	Case        domain.CaseID        `json:"case"`
	Agency      string               `json:"agency"`
	Procedure   string               `json:"procedure"`
	Edition     calendar.Date        `json:"edition"`
	Act         string               `json:"act"`
	ActName     rulebook.Text        `json:"act_name"`
	OccurredAt  time.Time            `json:"occurred_at"`
	RecordedAt  time.Time            `json:"recorded_at"`
	GapSeconds  int64                `json:"gap_seconds" doc:"Recorded so long after it was carried out"`
	Late        bool                 `json:"late" doc:"Recorded beyond the limit for recording"`
	Actor       string               `json:"actor" doc:"Who recorded it"`
	ActorName   string               `json:"actor_name,omitempty"`
	Role        string               `json:"role,omitempty" doc:"In which role of the law"`
	Officers    []rulebook.Officer   `json:"officers"`
	Place       string               `json:"place,omitempty"`
	Fields      map[string]any       `json:"fields,omitempty"`
	Documents   []rulebook.Reference `json:"documents,omitempty"`
	Evidence    []rulebook.Reference `json:"evidence,omitempty"`
	Findings    []rulebook.Finding   `json:"findings"`
	JudgedNow   *[]rulebook.Finding  `json:"judged_now,omitempty" doc:"With judged=both: what today's law and registers find of the act"`
	Corrects    string               `json:"corrects,omitempty"`
	CorrectedBy string               `json:"corrected_by,omitempty"`
	Reason      string               `json:"reason,omitempty"`
	LateReason  string               `json:"late_reason,omitempty"`
	AlreadyDone bool                 `json:"already_done,omitempty"`
	Import      *domain.Import       `json:"import,omitempty" doc:"Where it was imported from; it was not recorded when it happened"`
	Digest      domain.Digest        `json:"digest" doc:"SHA-256 of the stored bytes: GET /v1/cases/{case}/records/{event}"`
	Previous    domain.Digest        `json:"previous,omitzero" doc:"Digest of the record before it in the case"`
	Command     string               `json:"command_id"`
}

func timelineEntryOf(p *rulebook.Procedure, i projections.TimelineItem) timelineEntry {
	d := i.Data
	e := timelineEntry{
		Position: i.Position, Revision: i.Revision, Event: i.ID, Case: i.Subject, Agency: i.Agency(), Procedure: i.Procedure(), Edition: i.Edition,
		Act: i.Act(), ActName: actName(p, i.Act()), OccurredAt: i.Time, RecordedAt: i.Recorded.Recorded,
		GapSeconds: int64(i.Recorded.Recorded.Sub(i.Time) / time.Second), Late: i.Late, Actor: i.Actor, ActorName: d.ActorName, Role: i.ActorRole,
		Officers: d.Officers, Place: d.Place, Fields: d.Fields, Documents: d.Documents, Evidence: d.Evidence, Findings: d.Findings,
		Corrects: d.Corrects, CorrectedBy: i.CorrectedBy, Reason: d.Reason, LateReason: d.LateReason, AlreadyDone: d.AlreadyDone, Import: d.Import,
		Digest: i.Digest, Previous: i.Previous, Command: i.Command,
	}
	if e.Officers == nil {
		e.Officers = []rulebook.Officer{}
	}
	if e.Findings == nil {
		e.Findings = []rulebook.Finding{}
	}
	return e
}

func timelineColumns(lang string) []column[timelineEntry] {
	return []column[timelineEntry]{
		{text("序号", "revision"), func(e timelineEntry) any { return e.Revision }},
		{text("行为", "act"), func(e timelineEntry) any { return e.ActName }},
		{text("行为代码", "act code"), func(e timelineEntry) any { return e.Act }},
		{text("发生时间", "occurred"), func(e timelineEntry) any { return e.OccurredAt }},
		{text("记录时间", "recorded"), func(e timelineEntry) any { return e.RecordedAt }},
		{text("迟录", "late"), func(e timelineEntry) any { return e.Late }},
		{text("记录人", "recorded by"), func(e timelineEntry) any { return named(e.Actor, e.ActorName) }},
		{text("执法人员", "officers"), func(e timelineEntry) any {
			names := make([]string, len(e.Officers))
			for i, o := range e.Officers {
				names[i] = named(o.ID, o.Name)
			}
			return names
		}},
		{text("地点", "place"), func(e timelineEntry) any { return e.Place }},
		{text("内容", "fields"), func(e timelineEntry) any {
			if len(e.Fields) == 0 {
				return ""
			}
			return json.RawMessage(compact(e.Fields))
		}},
		{text("文书", "documents"), func(e timelineEntry) any { return titlesOf(e.Documents) }},
		{text("证据", "evidence"), func(e timelineEntry) any { return titlesOf(e.Evidence) }},
		{text("偏差", "findings"), func(e timelineEntry) any {
			rules := make([]string, len(e.Findings))
			for i, f := range e.Findings {
				rules[i] = f.Rule + " " + f.Says.In(lang)
			}
			return rules
		}},
		{text("更正", "corrects"), func(e timelineEntry) any { return e.Corrects }},
		{text("被更正", "corrected by"), func(e timelineEntry) any { return e.CorrectedBy }},
		{text("理由", "reason"), func(e timelineEntry) any { return e.Reason }},
		{text("迟录理由", "late reason"), func(e timelineEntry) any { return e.LateReason }},
		{text("导入自", "imported from"), func(e timelineEntry) any {
			if e.Import == nil {
				return ""
			}
			return e.Import.Source
		}},
		{text("事件编号", "event"), func(e timelineEntry) any { return e.Event }},
		{text("位置", "position"), func(e timelineEntry) any { return e.Position }},
		{text("摘要", "digest"), func(e timelineEntry) any { return e.Digest.String() }},
	}
}

func compact(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic("api: fields: " + err.Error())
	}
	return data
}

// named is a name with its id, where the two differ.
func named(id, name string) string {
	if name == "" || name == id {
		return id
	}
	return name + "(" + id + ")"
}

func titlesOf(refs []rulebook.Reference) []string {
	out := make([]string, len(refs))
	for i, r := range refs {
		out[i] = r.Title
	}
	return out
}

// ledgerEntry is a row of the 台账.
type ledgerEntry struct {
	Case          domain.CaseID             `json:"case"`
	Agency        string                    `json:"agency"`
	Procedure     string                    `json:"procedure"`
	ProcedureName rulebook.Text             `json:"procedure_name"`
	Edition       calendar.Date             `json:"edition"`
	Stage         string                    `json:"stage,omitempty"`
	StageName     rulebook.Text             `json:"stage_name,omitzero"`
	Closed        bool                      `json:"closed"`
	Imported      bool                      `json:"imported,omitempty"`
	Opened        calendar.Date             `json:"opened"`
	Stages        map[string]calendar.Date  `json:"stages,omitempty" doc:"The day on which each stage was last entered"`
	LastAct       string                    `json:"last_act"`
	LastActName   rulebook.Text             `json:"last_act_name"`
	LastAt        time.Time                 `json:"last_at" doc:"When the last act was carried out"`
	RecordedAt    time.Time                 `json:"recorded_at" doc:"When the last record was made"`
	Revision      int                       `json:"revision" doc:"Number of records"`
	Position      uint64                    `json:"position" doc:"Of the last record"`
	Head          domain.Digest             `json:"head"`
	Parties       []string                  `json:"parties"`
	Codes         []string                  `json:"codes,omitempty" doc:"Unified social credit codes"`
	Numbers       []string                  `json:"numbers,omitempty" doc:"文号"`
	Officers      []ledgerOfficer           `json:"officers"`
	Late          int                       `json:"late" doc:"Records made too late"`
	Findings      map[rulebook.Severity]int `json:"findings"`
}

type ledgerOfficer struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

func (s *server) ledgerEntryOf(e projections.LedgerEntry) ledgerEntry {
	out := ledgerEntry{
		Case: e.Case, Agency: e.Agency, Procedure: e.Procedure, ProcedureName: text(e.Procedure, e.Procedure), Edition: e.Edition,
		Stage: e.Stage, Closed: e.Closed, Imported: e.Imported, Opened: e.Opened, Stages: e.Stages,
		LastAct: e.LastAct, LastActName: text(e.LastAct, e.LastAct), LastAt: e.LastAt.In(calendar.Shanghai), RecordedAt: e.RecordedAt.UTC(),
		Revision: e.Revision, Position: e.Position, Head: e.Head,
		Parties: e.Parties, Codes: e.Codes, Numbers: e.Numbers, Officers: make([]ledgerOfficer, len(e.Officers)), Late: e.Late, Findings: e.Findings,
	}
	if out.Parties == nil {
		out.Parties = []string{}
	}
	for i, id := range e.Officers {
		out.Officers[i] = ledgerOfficer{ID: id, Name: e.People[i]}
	}
	if p, ok := s.procedureOf(e.Agency, e.Procedure, e.Edition); ok {
		out.ProcedureName, out.StageName, out.LastActName = p.Title, stageName(p, e.Stage), actName(p, e.LastAct)
	}
	return out
}

func ledgerColumns() []column[ledgerEntry] {
	count := func(e ledgerEntry, severities ...rulebook.Severity) int {
		n := 0
		for _, s := range severities {
			n += e.Findings[s]
		}
		return n
	}
	return []column[ledgerEntry]{
		{text("案号", "case"), func(e ledgerEntry) any { return string(e.Case) }},
		{text("当事人", "parties"), func(e ledgerEntry) any { return e.Parties }},
		{text("统一社会信用代码", "credit codes"), func(e ledgerEntry) any { return e.Codes }},
		{text("程序", "procedure"), func(e ledgerEntry) any { return e.ProcedureName }},
		{text("阶段", "stage"), func(e ledgerEntry) any { return e.StageName }},
		{text("立案日期", "opened"), func(e ledgerEntry) any { return e.Opened }},
		{text("最近行为", "last act"), func(e ledgerEntry) any { return e.LastActName }},
		{text("最近行为时间", "last act at"), func(e ledgerEntry) any { return e.LastAt }},
		{text("结案", "closed"), func(e ledgerEntry) any { return e.Closed }},
		{text("文号", "document numbers"), func(e ledgerEntry) any { return e.Numbers }},
		{text("承办", "officers"), func(e ledgerEntry) any {
			names := make([]string, len(e.Officers))
			for i, o := range e.Officers {
				names[i] = named(o.ID, o.Name)
			}
			return names
		}},
		{text("机关", "agency"), func(e ledgerEntry) any { return e.Agency }},
		{text("重大偏差", "grave findings"), func(e ledgerEntry) any {
			return count(e, rulebook.Invalid, rulebook.Veto, rulebook.Major)
		}},
		{text("一般偏差", "minor findings"), func(e ledgerEntry) any { return count(e, rulebook.Minor, rulebook.Notice) }},
		{text("迟录", "late records"), func(e ledgerEntry) any { return e.Late }},
		{text("导入", "imported"), func(e ledgerEntry) any { return e.Imported }},
		{text("记录数", "records"), func(e ledgerEntry) any { return e.Revision }},
		{text("最近记录时间", "last recorded"), func(e ledgerEntry) any { return e.RecordedAt }},
	}
}

// deadlineEntry is a limit on the board.
type deadlineEntry struct {
	Case        domain.CaseID     `json:"case"`
	Agency      string            `json:"agency"`
	Procedure   string            `json:"procedure"`
	Officers    []string          `json:"officers"`
	Rule        string            `json:"rule"`
	Says        rulebook.Text     `json:"says"`
	Basis       string            `json:"basis"`
	Severity    rulebook.Severity `json:"severity"`
	Act         string            `json:"act" doc:"The act that must be done in time"`
	ActName     rulebook.Text     `json:"act_name"`
	Start       string            `json:"start" doc:"Event that started it"`
	StartOn     calendar.Date     `json:"start_on"`
	Limit       string            `json:"limit"`
	Due         calendar.Date     `json:"due"`
	Ends        time.Time         `json:"ends" doc:"The moment after which it is late"`
	SecondsLeft int64             `json:"seconds_left" doc:"Until then; negative when it has passed"`
	Light       projections.Light `json:"light"`
	Warn        calendar.Date     `json:"warn,omitzero"`
	Provisional bool              `json:"provisional"`
	Paused      bool              `json:"paused"`
	Done        string            `json:"done,omitempty" doc:"Event that ended it"`
	DoneOn      calendar.Date     `json:"done_on,omitzero"`
	Late        bool              `json:"late"`
}

func (s *server) deadlineEntryOf(d projections.DeadlineItem) deadlineEntry {
	e := deadlineEntry{
		Case: d.Case, Agency: d.Agency, Procedure: d.Procedure, Officers: d.Officers, Rule: d.Rule, Says: d.Says, Basis: d.Basis, Severity: d.Severity,
		Act: d.Act, ActName: text(d.Act, d.Act), Start: d.Start, StartOn: d.StartOn, Limit: d.Limit, Due: d.Due, Ends: d.Ends.In(calendar.Shanghai),
		SecondsLeft: int64(d.Left / time.Second), Light: d.Light, Warn: d.Warn, Provisional: d.Provisional, Paused: d.Paused,
		Done: d.Done, DoneOn: d.DoneOn, Late: d.Late,
	}
	if e.Officers == nil {
		e.Officers = []string{}
	}
	if p, ok := s.procedureOf(d.Agency, d.Procedure, d.Edition); ok {
		e.ActName = actName(p, d.Act)
	}
	return e
}

func deadlineColumns(lang string) []column[deadlineEntry] {
	lights := map[projections.Light]rulebook.Text{
		projections.Red: text("红", "red"), projections.Yellow: text("黄", "yellow"), projections.Green: text("绿", "green"),
	}
	return []column[deadlineEntry]{
		{text("案号", "case"), func(e deadlineEntry) any { return string(e.Case) }},
		{text("灯", "light"), func(e deadlineEntry) any { return lights[e.Light] }},
		{text("应作出的行为", "act"), func(e deadlineEntry) any { return e.ActName }},
		{text("到期日", "due"), func(e deadlineEntry) any { return e.Due }},
		{text("剩余天数", "days left"), func(e deadlineEntry) any { return floorDays(e.SecondsLeft) }},
		{text("期限", "limit"), func(e deadlineEntry) any {
			if l, err := calendar.ParseLimit(e.Limit); err == nil {
				return l.In(lang)
			}
			return e.Limit
		}},
		{text("起算日", "from"), func(e deadlineEntry) any { return e.StartOn }},
		{text("暂定", "provisional"), func(e deadlineEntry) any { return e.Provisional }},
		{text("中止", "paused"), func(e deadlineEntry) any { return e.Paused }},
		{text("规则", "rule"), func(e deadlineEntry) any { return e.Rule }},
		{text("规则内容", "says"), func(e deadlineEntry) any { return e.Says }},
		{text("依据", "article"), func(e deadlineEntry) any { return e.Basis }},
		{text("完成日", "done on"), func(e deadlineEntry) any { return e.DoneOn }},
		{text("逾期完成", "done late"), func(e deadlineEntry) any { return e.Late }},
		{text("承办", "officers"), func(e deadlineEntry) any { return e.Officers }},
		{text("机关", "agency"), func(e deadlineEntry) any { return e.Agency }},
	}
}

// floorDays is whole days left; a moment too late is one day too late.
func floorDays(seconds int64) int64 {
	const day = 24 * 60 * 60
	if seconds < 0 {
		return -((-seconds + day - 1) / day)
	}
	return seconds / day
}

// findingEntry is a finding and the event that it was made of.
type findingEntry struct {
	Position   uint64        `json:"position"`
	Case       domain.CaseID `json:"case"`
	Event      string        `json:"event"`
	Agency     string        `json:"agency"`
	Procedure  string        `json:"procedure"`
	Act        string        `json:"act"`
	ActName    rulebook.Text `json:"act_name"`
	OccurredAt time.Time     `json:"occurred_at"`
	RecordedAt time.Time     `json:"recorded_at"`
	Imported   bool          `json:"imported,omitempty"`
	Corrected  bool          `json:"corrected,omitempty" doc:"The event has been corrected since"`
	Lifted     bool          `json:"lifted,omitempty" doc:"It was taken back: by registers as they became later it does not hold"`
	rulebook.Finding
}

func (s *server) findingEntryOf(f projections.FindingItem) findingEntry {
	e := findingEntry{
		Position: f.Position, Case: f.Case, Event: f.Event, Agency: f.Agency, Procedure: f.Procedure, Act: f.Act, ActName: text(f.Act, f.Act),
		OccurredAt: f.OccurredAt.In(calendar.Shanghai), RecordedAt: f.RecordedAt.UTC(), Imported: f.Imported, Corrected: f.Corrected, Lifted: f.Lifted, Finding: f.Finding,
	}
	if p, ok := s.procedureOf(f.Agency, f.Procedure, f.Edition); ok {
		e.ActName = actName(p, f.Act)
	}
	return e
}

func findingColumns() []column[findingEntry] {
	return []column[findingEntry]{
		{text("案号", "case"), func(e findingEntry) any { return string(e.Case) }},
		{text("规则", "rule"), func(e findingEntry) any { return e.Rule }},
		{text("程度", "severity"), func(e findingEntry) any { return string(e.Severity) }},
		{text("规则内容", "says"), func(e findingEntry) any { return e.Says }},
		{text("情况", "detail"), func(e findingEntry) any { return e.Detail }},
		{text("依据", "article"), func(e findingEntry) any { return e.Basis }},
		{text("补正", "cure"), func(e findingEntry) any { return e.Cure }},
		{text("行为", "act"), func(e findingEntry) any { return e.ActName }},
		{text("发生时间", "occurred"), func(e findingEntry) any { return e.OccurredAt }},
		{text("记录时间", "recorded"), func(e findingEntry) any { return e.RecordedAt }},
		{text("到期日", "due"), func(e findingEntry) any { return e.Due }},
		{text("已更正", "corrected"), func(e findingEntry) any { return e.Corrected }},
		{text("不再成立", "lifted"), func(e findingEntry) any { return e.Lifted }},
		{text("撤回的认定", "lifts"), func(e findingEntry) any { return e.Lifts }},
		{text("依据待核", "assumed"), func(e findingEntry) any { return e.Assumed }},
		{text("导入", "imported"), func(e findingEntry) any { return e.Imported }},
		{text("机关", "agency"), func(e findingEntry) any { return e.Agency }},
		{text("所指记录", "of"), func(e findingEntry) any { return e.Of }},
		{text("事件编号", "event"), func(e findingEntry) any { return e.Event }},
		{text("位置", "position"), func(e findingEntry) any { return e.Position }},
	}
}

func statsColumns() []column[actCount] {
	return []column[actCount]{
		{text("机关", "agency"), func(a actCount) any { return a.Agency }},
		{text("程序", "procedure"), func(a actCount) any { return a.Procedure }},
		{text("行为", "act"), func(a actCount) any { return a.ActName }},
		{text("行为代码", "act code"), func(a actCount) any { return a.Act }},
		{text("记录", "records"), func(a actCount) any { return a.Records }},
		{text("立案", "opened"), func(a actCount) any { return a.Opened }},
		{text("更正", "corrections"), func(a actCount) any { return a.Corrections }},
		{text("迟录", "late"), func(a actCount) any { return a.Late }},
		{text("导入", "imported"), func(a actCount) any { return a.Imported }},
		{text("偏差", "findings"), func(a actCount) any { return a.Findings }},
	}
}

// lookEntry is one look of the access trail.
type lookEntry projections.RecordedLook

func accessColumns() []column[lookEntry] {
	type look = lookEntry
	return []column[look]{
		{text("时间", "at"), func(l look) any { return l.At }},
		{text("人员", "person"), func(l look) any { return l.Person }},
		{text("角色", "role"), func(l look) any { return l.Role }},
		{text("机关", "agency"), func(l look) any { return l.Agency }},
		{text("内容", "what"), func(l look) any { return l.What }},
		{text("案号", "case"), func(l look) any { return string(l.Case) }},
		{text("条件", "query"), func(l look) any { return l.Query }},
		{text("条数", "rows"), func(l look) any { return l.Rows }},
		{text("目的", "purpose"), func(l look) any { return l.Purpose }},
		{text("来自", "address"), func(l look) any { return l.Address }},
		{text("位置", "position"), func(l look) any { return l.Position }},
	}
}

// reprDigest is a digest as the Repr-Digest header has it (RFC 9530).
func reprDigest(d domain.Digest) string {
	return "sha-256=:" + base64.StdEncoding.EncodeToString(d[:]) + ":"
}
