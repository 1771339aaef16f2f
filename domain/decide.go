package domain

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// ErrNothingToNote says that a case has nothing new to note: an answer, which
// comes with *Invalid.
var ErrNothingToNote = errors.New("nothing to note")

// clockSkew is how far the clocks of two processes may differ.
const clockSkew = time.Minute

// ErrNoCase says that there is no such case and the command does not open one.
var ErrNoCase = errors.New("no such case")

// Registers are what acts are judged by beside their own case, as values: the
// same values give the same findings.
type Registers struct {
	Parameters *Parameters    // nil: those of the law files
	Calendars  *Calendars     // nil: the book's own
	Laws       *Laws          // nil: no agency has put a law file of its own in force
	Roster     Roster         // nil: what a command says of officers is taken as it is
	Facts      rulebook.Facts // what registers of other cases hold, as far as it was asked for
	FactsAt    uint64         // the position of the log at which Facts were read
	NoFacts    bool           // registers of other cases cannot be asked now: a fact is recorded all the same, and judged when they can
}

// Unanswered says what has to be looked up in registers before a command can
// be decided: all of it, so that the answers are of one position.
type Unanswered struct {
	Lookups []rulebook.Lookup
}

func (u *Unanswered) Error() string {
	return fmt.Sprintf("%d registers must be looked up first", len(u.Lookups))
}

// A Stamp is what the next event takes from the world outside the domain.
type Stamp struct {
	Event string    // UUIDv7
	Salt  string    // random
	Now   time.Time // becomes recordedtime
}

// Decide judges a command against a case (nil: there is none) and returns
// the event to record. A fact is always recorded, with its findings. The
// errors are answers: *Invalid (malformed), *Refusal (an effect that the law
// does not allow now, or an actor who may not record the act), *Stale (the
// case is not as the caller saw it) and ErrNoCase.
//
// Where rules need to know what registers hold, and reg has not got it, it
// returns *Unanswered: ask for it, at one position, and decide again. Where it cannot
// be asked for (reg.NoFacts) it does so only for what would create a legal effect.
func Decide(law Law, reg Registers, c *Case, cmd Command, stamp Stamp) (Event, error) {
	if problems := cmd.check(); len(problems) > 0 {
		return Event{}, &Invalid{Problems: problems}
	}
	if c == nil {
		return open(law, reg, cmd, stamp)
	}
	if cmd.CorrectsCommand != "" {
		receipt, ok := c.Carried(cmd.CorrectsCommand)
		if !ok || cmd.Corrects != "" {
			return Event{}, invalid("corrects_command", "本案没有由该命令记录的事件：%s", "the case has no event that came of the command %s", cmd.CorrectsCommand)
		}
		cmd.Corrects = receipt.Event
	}
	if cmd.Procedure != "" || cmd.Expect != 0 && cmd.Expect != c.Revision {
		return Event{}, &Stale{Case: c.ID, Expected: cmd.Expect, Actual: c.Revision}
	}
	return decide(law, c, reg, cmd, stamp)
}

func open(law Law, reg Registers, cmd Command, stamp Stamp) (Event, error) {
	if cmd.Procedure == "" {
		return Event{}, fmt.Errorf("%w: %s", ErrNoCase, cmd.Case)
	}
	var files []rulebook.FileRef
	if cmd.Procedure != LawProcedure {
		files = reg.Laws.On(cmd.Agency, calendar.DateOf(cmd.At))
	}
	book, err := law.Under(files)
	if err != nil {
		return Event{}, err
	}
	procedure, ok := book.InForce(cmd.Procedure, calendar.DateOf(cmd.At))
	if !ok {
		return Event{}, invalid("procedure", "没有程序 %q", "there is no procedure %q", cmd.Procedure)
	}
	if why := Token(cmd.Agency); why != "" {
		return Event{}, invalid("agency", "机关代码不合规：%s", "the agency %s", why)
	}
	if cmd.Corrects != "" || cmd.CorrectsCommand != "" {
		return Event{}, invalid("corrects", "新案件没有可更正的记录", "a new case has nothing to correct")
	}
	c := &Case{
		ID: cmd.Case, Agency: cmd.Agency, Procedure: procedure,
		History: procedure.NewHistory(string(cmd.Case), cmd.Agency), Law: files,
	}
	return decide(law, c, reg, cmd, stamp)
}

func decide(law Law, c *Case, reg Registers, cmd Command, stamp Stamp) (Event, error) {
	c, files, err := c.underLaw(law, reg, cmd)
	if err != nil {
		return Event{}, err
	}
	p := c.Procedure
	if p.Reserves(cmd.Act) {
		return Event{}, fmt.Errorf("%w: %w", ErrNothingToNote, &Invalid{Problems: problem("act", "该行为只由系统记录", "only the program records this act")})
	}
	fields, problems := p.Check(cmd.Act, cmd.Fields)
	problems = append(problems, c.checkCorrection(cmd)...)
	if len(problems) > 0 {
		return Event{}, &Invalid{Problems: problems}
	}

	if len(fields) == 0 {
		fields = nil // as it will be read
	}

	event := Event{
		SpecVersion: "1.0",
		ID:          stamp.Event,
		Source:      "/agencies/" + c.Agency,
		Type:        p.Name + "." + cmd.Act,
		Subject:     c.ID,
		Time:        cmd.At.In(calendar.Shanghai),
		ContentType: "application/json",
		Recorded:    stamp.Now.UTC(),
		Edition:     p.Edition,
		Revision:    c.Revision + 1,
		Previous:    c.Head,
		Command:     cmd.ID,
		Correlation: cmd.Correlation,
		Causation:   cmd.Causation,
		Actor:       cmd.Actor.ID,
		ActorRole:   role(p, cmd),
		Salt:        stamp.Salt,
		Data: Data{
			ActorName:   cmd.Actor.Name,
			Officers:    certified(reg.Roster, c.Agency, cmd.Officers, calendar.DateOf(cmd.At)),
			Law:         files,
			Place:       cmd.Place,
			Fields:      fields,
			Documents:   cmd.Documents,
			Evidence:    cmd.Evidence,
			Corrects:    cmd.Corrects,
			Reason:      cmd.Reason,
			LateReason:  cmd.LateReason,
			AlreadyDone: cmd.AlreadyDone,
			Import:      cmd.Import,
		},
	}
	if len(event.Data.Officers) > 0 && reg.Roster != nil && reg.Roster.Knows(c.Agency) {
		event.Data.RosterAt = reg.Roster.At()
	}
	cal, noticeAt := reg.Calendars.For(c.Agency)
	event.Data.CalendarAt = noticeAt
	known := rulebook.Known{Facts: reg.Facts, Calendar: cal}
	event.Data.Parameters = p.Applied(cmd.Act, reg.Parameters.On(c.Agency, calendar.DateOf(cmd.At)))
	if act, ok := p.Act(cmd.Act); ok && act.Notes {
		return c.note(law, reg, known, cmd, event)
	}
	step := event.Step()
	asked, missing := p.Asks(c.History, step, known)
	if len(missing) > 0 && (!reg.NoFacts || c.creates(cmd)) {
		return Event{}, &Unanswered{Lookups: asked}
	}
	switch {
	case len(missing) > 0: // what has happened is recorded; a rule that it cannot be judged by says so
		known.Facts = nil
		event.Data.Registers = &RegistersRead{Asked: asked, Unanswered: true}
	case len(asked) > 0:
		event.Data.Registers = &RegistersRead{At: reg.FactsAt, Asked: asked}
	}
	event.Data.Findings = p.Judge(c.History, step, known)
	if err := c.weigh(cmd, event); err != nil || p.Name != LawProcedure {
		return event, err
	}
	return event, c.checkLawFile(law, reg, event.Step())
}

// note makes the event of an act that records findings on earlier acts. Where
// there is nothing to record the command is Invalid.
func (c *Case) note(law Law, reg Registers, known rulebook.Known, cmd Command, event Event) (Event, error) {
	if cmd.Import != nil || cmd.Corrects != "" {
		return Event{}, invalid("act", "系统登记的问题不能导入，也不能更正", "what the program notes is neither imported nor corrected")
	}
	if event.Time.After(event.Recorded.Add(clockSkew)) {
		return Event{}, invalid("occurred_at", "不得在将来登记问题", "findings cannot be noted in the future")
	}
	p := c.Procedure
	step := event.Step()
	again := rulebook.Again{Known: known}
	var unreadable error
	again.Law = func(files []rulebook.FileRef) *rulebook.Procedure {
		then, err := lawOf(law, files, p)
		if err != nil || then == nil {
			unreadable = errors.Join(unreadable, err)
			return p
		}
		return then
	}
	asked, missing := p.NoteAsks(c.History, step, again)
	if unreadable != nil {
		return Event{}, unreadable
	}
	if len(missing) > 0 {
		return Event{}, &Unanswered{Lookups: asked}
	}
	if len(asked) > 0 {
		event.Data.Registers = &RegistersRead{At: reg.FactsAt, Asked: asked}
	}
	if reg.Roster != nil && reg.Roster.Knows(c.Agency) {
		event.Data.RosterAt = reg.Roster.At()
		again.Certify = func(officers []rulebook.Officer, on calendar.Date) []rulebook.Officer {
			return certified(reg.Roster, c.Agency, officers, on)
		}
	}
	event.Data.Findings = p.Note(c.History, step, again)
	if len(event.Data.Findings) == 0 {
		return Event{}, fmt.Errorf("%w: %w", ErrNothingToNote, &Invalid{Problems: problem("act", "没有需要登记的新问题", "there is nothing new to note")})
	}
	return event, c.weigh(cmd, event)
}

// creates reports whether a command asks for a new legal effect, which can be refused.
func (c *Case) creates(cmd Command) bool {
	act, known := c.Procedure.Act(cmd.Act)
	return known && act.Effect && !cmd.AlreadyDone && cmd.Import == nil
}

// weigh decides whether the findings stand in the way. Facts, acts that were
// carried out outside the system and imports are recorded whatever was found.
func (c *Case) weigh(cmd Command, event Event) error {
	if cmd.Import != nil {
		return nil
	}
	effect := c.creates(cmd)
	for _, f := range event.Data.Findings {
		if f.Demands != "" {
			return &Invalid{Problems: []rulebook.Problem{{Field: f.Demands, Rule: f.Rule, Detail: f.Detail}}}
		}
	}
	for _, f := range event.Data.Findings {
		if refuses(f, effect) {
			return &Refusal{Case: c.ID, Act: cmd.Act, Findings: event.Data.Findings}
		}
	}
	return nil
}

// refuses reports whether a finding stands in the way of an act: one with a
// legal effect where the rule asks for that, and any that the actor may not
// record.
func refuses(f rulebook.Finding, effect bool) bool {
	return f.Verdict == rulebook.Refuse && effect || f.Rule == rulebook.RuleBy
}

// role is the role of the law in which the actor records the act.
func role(p *rulebook.Procedure, cmd Command) string {
	if cmd.Import != nil || len(cmd.Actor.Roles) == 0 {
		return ""
	}
	if act, ok := p.Act(cmd.Act); ok {
		for _, by := range act.By {
			if slices.Contains(cmd.Actor.Roles, by) || slices.Contains(cmd.Actor.Roles, "*") {
				return by
			}
		}
	}
	return cmd.Actor.Roles[0]
}

// certified freezes each officer's certificate as the roster has it on the
// day of the act. What a caller claims of a certificate counts only where
// there is no roster of the agency at all.
func certified(roster Roster, agency string, officers []rulebook.Officer, on calendar.Date) []rulebook.Officer {
	if roster == nil || !roster.Knows(agency) {
		return officers
	}
	out := make([]rulebook.Officer, len(officers))
	for i, o := range officers {
		if known, ok := roster.Officer(agency, o.ID, on); ok {
			out[i] = known
		} else {
			out[i] = rulebook.Officer{ID: o.ID, Name: o.Name}
		}
	}
	return out
}

func (c *Case) checkCorrection(cmd Command) []rulebook.Problem {
	if cmd.Corrects == "" {
		return nil
	}
	step, ok := c.step(cmd.Corrects)
	switch {
	case !ok:
		return problem("corrects", "本案没有这条未被更正的记录：%s", "the case has no uncorrected event %s", cmd.Corrects)
	case step.Act != cmd.Act:
		return problem("corrects", "只能用同一种行为更正：该记录是 %s", "an event is corrected by the same act; this one is %s", step.Act)
	case cmd.Reason == "":
		return problem("reason", "更正必须说明理由", "a correction needs a reason")
	}
	return nil
}

// check says what is malformed whatever the case.
func (cmd *Command) check() []rulebook.Problem {
	var ps []rulebook.Problem
	add := func(p []rulebook.Problem) { ps = append(ps, p...) }
	if why := Token(string(cmd.Case)); why != "" {
		add(problem("case", "案号不合规：%s", "the case id %s", why))
	}
	if cmd.ID == "" || len(cmd.ID) > 200 {
		add(problem("command_id", "命令编号须为 1 到 200 字节", "the command id must have 1 to 200 bytes"))
	}
	if cmd.Act == "" {
		add(problem("act", "缺少行为", "the act is missing"))
	}
	if y := cmd.At.Year(); cmd.At.IsZero() || y < 1900 || y > 2200 {
		add(problem("occurred_at", "缺少发生时间，或年份不在 1900 至 2200 之间", "the time is missing or its year is not within 1900 to 2200"))
	}
	if cmd.AlreadyDone && cmd.Reason == "" && cmd.Import == nil {
		add(problem("reason", "补录系统外已作出的行为必须说明理由", "recording an act that was already carried out needs a reason"))
	}
	for _, limit := range []struct {
		field  string
		n, max int
	}{
		{"fields", len(cmd.Fields), MaxFields},
		{"documents", len(cmd.Documents), MaxReferences},
		{"evidence", len(cmd.Evidence), MaxReferences},
		{"officers", len(cmd.Officers), MaxOfficers},
		{"place", len(cmd.Place), MaxText},
		{"reason", len(cmd.Reason), MaxText},
		{"late_reason", len(cmd.LateReason), MaxText},
		{"correlation", len(cmd.Correlation), 200},
		{"causation", len(cmd.Causation), 200},
	} {
		if limit.n > limit.max {
			add(problem(limit.field, "超出上限：%d，上限 %d", "over the limit: %d, limit %d", limit.n, limit.max))
		}
	}
	for i, o := range cmd.Officers {
		if o.ID == "" || len(o.ID) > 200 || len(o.Name) > MaxText {
			add(problem(fmt.Sprintf("officers[%d].id", i), "执法人员须有 1 到 200 字节的编号", "an officer needs an id of 1 to 200 bytes"))
		}
		if slices.ContainsFunc(cmd.Officers[:i], func(p rulebook.Officer) bool { return p.ID == o.ID }) {
			add(problem(fmt.Sprintf("officers[%d].id", i), "%s 重复", "%s is named twice", o.ID))
		}
	}
	for _, list := range []struct {
		name string
		refs []rulebook.Reference
	}{{"documents", cmd.Documents}, {"evidence", cmd.Evidence}} {
		for i, r := range list.refs {
			var d Digest
			if err := d.UnmarshalText([]byte(r.Digest)); err != nil || r.Digest == "" {
				add(problem(fmt.Sprintf("%s[%d].digest", list.name, i), "摘要须为 sha256: 加 64 位十六进制", "the digest must be sha256: and 64 hexadecimal digits"))
			}
			if r.Title == "" || len(r.Title) > MaxText || r.Size < 0 {
				add(problem(fmt.Sprintf("%s[%d].title", list.name, i), "须有标题，大小不得为负", "needs a title and a size that is not negative"))
			}
		}
	}
	return ps
}

func problem(field, zh, en string, args ...any) []rulebook.Problem {
	return []rulebook.Problem{{Field: field, Detail: rulebook.Text{ZH: fmt.Sprintf(zh, args...), EN: fmt.Sprintf(en, args...)}}}
}

func invalid(field, zh, en string, args ...any) error {
	return &Invalid{Problems: problem(field, zh, en, args...)}
}
