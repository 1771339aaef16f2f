package rulebook

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"liuhen/domain/calendar"
)

// Explain writes a procedure for a lawyer to read and check: its stages, its
// acts with who does them and what is written down, its rules with their
// articles, parameters and examples. lang is "zh" or "en". What could not be
// confirmed is marked.
func Explain(w io.Writer, b *Book, p *Procedure, lang string) error {
	x := &explaining{b: b, p: p, lang: lang}
	x.procedure()
	_, err := io.WriteString(w, x.out.String())
	return err
}

type explaining struct {
	b    *Book
	p    *Procedure
	lang string
	out  strings.Builder
}

// say picks the text of the reader's language.
func (x *explaining) say(zh, en string) string {
	if x.lang == "en" {
		return en
	}
	return zh
}

func (x *explaining) line(indent int, format string, args ...any) {
	fmt.Fprintf(&x.out, "%s%s\n", strings.Repeat("  ", indent), fmt.Sprintf(format, args...))
}

// item is a line with a heading, left out where there is nothing to say.
func (x *explaining) item(indent int, zh, en, value string) {
	if value != "" {
		x.line(indent, "%s%s", x.say(zh+"：", en+": "), value)
	}
}

func (x *explaining) procedure() {
	p := x.p
	x.line(0, "%s", x.say(
		fmt.Sprintf("%s（%s，%s 版）", p.Title.In("zh"), p.Name, p.Edition),
		fmt.Sprintf("%s (%s, edition of %s)", p.Title.In("en"), p.Name, p.Edition)))
	x.item(0, "依据", "Basis", p.Basis)
	x.item(0, "保管", "Retention", p.Retention)
	if d := p.Dossier; d != nil {
		x.item(0, "正卷顺序", "Order of the main volume", strings.Join(d.Main, x.say("、", ", ")))
		x.item(0, "副卷顺序", "Order of the side volume", strings.Join(d.Side, x.say("、", ", ")))
	}
	if p.Open {
		x.line(0, "%s", x.say("开放程序：接受任何行为和字段", "Open: any act and any field is accepted"))
	}
	if len(p.Stages) > 0 {
		x.out.WriteString("\n")
		names := make([]string, len(p.Stages))
		for i, s := range p.Stages {
			names[i] = fmt.Sprintf("%s %s", s.Title.In(x.lang), s.Name)
		}
		x.item(0, "阶段", "Stages", strings.Join(names, " → "))
	}
	if len(p.Acts) > 0 {
		x.line(0, "\n%s", x.say("一、行为", "I. Acts"))
		for _, a := range p.Acts {
			if !a.System {
				x.act(a)
			}
		}
	}
	x.line(0, "\n%s", x.say("二、规则", "II. Rules"))
	for _, r := range p.Rules {
		x.rule(r)
	}
	x.parameters()
}

func (x *explaining) act(a *Act) {
	x.line(0, "\n%s  %s", a.Title.In(x.lang), a.Name)
	var traits []string
	add := func(ok bool, zh, en string) {
		if ok {
			traits = append(traits, x.say(zh, en))
		}
	}
	add(a.Effect, "产生法律效果，可以拒绝", "has a legal effect and may be refused")
	add(!a.Effect, "事实，一律记录", "a fact, always recorded")
	add(a.Opens, "可以立卷", "may open a case")
	add(a.Closes, "结束案件", "closes the case")
	add(a.Once, "一案一次", "once in a case")
	x.line(1, "%s", strings.Join(traits, x.say("；", "; ")))
	x.item(1, "依据", "Basis", a.Basis)
	x.item(1, "由谁记录", "Recorded by", strings.Join(a.By, x.say("、", ", ")))
	if a.Officers > 0 {
		x.item(1, "执法人员", "Officers", x.say(strconv.Itoa(a.Officers)+" 名以上", "at least "+strconv.Itoa(a.Officers)))
	}
	if len(a.From) > 0 || a.To != "" {
		from := x.say("任何阶段", "any stage")
		if len(a.From) > 0 {
			from = x.stages(a.From)
		}
		if a.To != "" {
			from += " → " + x.stages([]string{a.To})
		}
		x.item(1, "阶段", "Stage", from)
	}
	switch a.Recording {
	case RecordText:
		x.item(1, "记录", "Recording", x.say("文字", "in writing"))
	case RecordVisual:
		x.item(1, "记录", "Recording", x.say("文字和音像", "in writing and audio-visual"))
	case RecordAsNeeded:
		x.item(1, "记录", "Recording", x.say("文字，音像视需要", "in writing, audio-visual as needed"))
	default: // the law asks for none
	}
	if d := a.Publicity; d != nil {
		x.item(1, "公示", "Published", x.say("结果在 "+d.limit.in("zh", x.p.params)+" 内公开", "the result within "+d.limit.in("en", x.p.params))+x.inBrackets(nonEmpty(d.Basis)))
	}
	for _, d := range a.Documents {
		x.document(a, d)
	}
	for i := range a.Fields {
		x.field(1, &a.Fields[i])
	}
	var rules []string
	for _, u := range x.p.judged[x.p.actIndex(a.Name)] {
		if u.kind != useClockStart && u.kind != useOrderBack {
			rules = append(rules, u.rule.ID)
		}
	}
	x.item(1, "规则", "Rules", strings.Join(rules, " "))
	var starts []string
	for _, r := range x.p.starting[x.p.actIndex(a.Name)] {
		starts = append(starts, r.ID+" "+r.clock.limit.in(x.lang, x.p.params))
	}
	x.item(1, "起算期限", "Starts", strings.Join(starts, x.say("、", ", ")))
	x.registers(a)
}

// registers tells what an act enters and ends in registers.
func (x *explaining) registers(a *Act) {
	i := x.p.actIndex(a.Name)
	title := func(name string) string {
		for _, r := range x.b.registers {
			if r.Name == name {
				return r.Title.In(x.lang)
			}
		}
		return name
	}
	for _, e := range x.p.Enters {
		if e.on.has(i) {
			x.item(1, "记入登记册", "Enters the register", title(e.Register)+x.inBrackets([]string{strings.Join(strings.Fields(e.key.text), " ")}))
		}
		for k := range e.ends {
			if e.ends[k].acts.has(i) {
				x.item(1, "登记册终止", "Ends in the register", title(e.Register))
			}
		}
	}
}

func (x *explaining) stages(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = x.p.Stages[x.p.stages[n]].Title.In(x.lang)
	}
	return strings.Join(out, x.say("、", ", "))
}

func (x *explaining) document(a *Act, d Document) {
	name := "《" + d.Kind + "》"
	if x.lang == "en" && d.EN != "" {
		name = d.EN + " " + name
	}
	var notes []string
	if d.Required {
		notes = append(notes, x.say("必附", "required"))
	}
	switch d.Volume {
	case "main":
		notes = append(notes, x.say("正卷", "main volume"))
	case "side":
		notes = append(notes, x.say("副卷", "side volume"))
	}
	if d.External {
		notes = append(notes, x.say("对外", "goes to the party"))
	}
	if len(d.States) > 0 {
		notes = append(notes, x.say("载明 ", "states ")+strings.Join(x.fieldNames(a, d.States), x.say("、", ", ")))
	}
	x.item(1, "文书", "Document", name+x.inBrackets(notes))
}

func (x *explaining) fieldNames(a *Act, names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		f, _ := a.Field(n) // looked at when it was read
		out[i] = f.Title.In(x.lang)
	}
	return out
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func (x *explaining) inBrackets(notes []string) string {
	if len(notes) == 0 {
		return ""
	}
	return x.say("（"+strings.Join(notes, "，")+"）", " ("+strings.Join(notes, ", ")+")")
}

// typeWords are the words for field types.
var typeWords = map[fieldKind]Text{
	kindText: {"文本", "text"}, kindDate: {"日期", "day"}, kindTime: {"时间", "time"}, kindInteger: {"整数", "whole number"},
	kindNumber: {"数字", "number"}, kindBoolean: {"是否", "yes or no"}, kindMoney: {"金额（分）", "money (fen)"},
	kindCode: {"代码", "code"}, kindLimit: {"期限", "limit"}, kindPerson: {"人员", "person"},
	kindUSCC: {"统一社会信用代码", "unified social credit code"}, kindIDNumber: {"证件号码", "identity number"},
	kindEvent: {"案内记录", "event of the case"}, kindFile: {"文件全文", "text of a file"},
}

func (x *explaining) field(indent int, f *Field) {
	notes := []string{typeWords[f.kind].In(x.lang)}
	if f.kind == kindRecord {
		notes[0] = f.Type
	}
	if f.kind == kindCode {
		notes[0] += " " + f.Of
	}
	if f.Many {
		notes = append(notes, x.say("可多项", "several"))
	}
	if f.Required {
		notes = append(notes, x.say("必填", "required"))
	}
	if f.RequiredIf != "" {
		notes = append(notes, x.say("必填，若 ", "required if ")+f.RequiredIf)
	}
	if f.Min != nil {
		notes = append(notes, fmt.Sprintf("≥ %d", *f.Min))
	}
	if f.Max != nil {
		notes = append(notes, fmt.Sprintf("≤ %d", *f.Max))
	}
	x.line(indent, "· %s %s%s", f.Title.In(x.lang), f.Name, x.inBrackets(notes))
	if indent == 1 && f.kind == kindRecord {
		for i := range f.record.fields {
			x.field(indent+1, &f.record.fields[i])
		}
	}
}

var severityWords = map[Severity]Text{
	Invalid: {"重大且明显违法", "invalid: gross and obvious"}, Veto: {"否决项", "veto: fails the whole file"},
	Major: {"程序违法，可致撤销", "major: can set the act aside"}, Minor: {"程序轻微违法", "minor"}, Notice: {"备案和形式", "notice: filing and form"},
}

func (x *explaining) rule(r *Rule) {
	x.line(0, "\n%s  %s", r.ID, r.Says.In(x.lang))
	x.item(1, "依据", "Basis", r.Basis)
	verdict := x.say("记录并标记", "recorded and flagged")
	if r.Verdict == Refuse {
		verdict = x.say("拒绝产生效果的行为；事实照记并标记", "an act with an effect is refused; a fact is recorded and flagged")
	}
	x.item(1, "违反时", "When broken", severityWords[r.Severity].In(x.lang)+x.say("；", "; ")+verdict)
	if r.Demands != "" {
		x.item(1, "要求填写", "Demands", r.Demands)
	}
	if !r.From.IsZero() || !r.Until.IsZero() {
		x.item(1, "适用于", "Applies to acts", x.say(
			fmt.Sprintf("%s 至 %s 的行为", orDash(r.From), orDash(r.Until)),
			fmt.Sprintf("from %s until %s", orDash(r.From), orDash(r.Until))))
	}
	if r.Unconfirmed {
		x.line(1, "%s", x.say("※ 依据或数值未经确认", "※ basis or figure not confirmed"))
	}
	for _, s := range x.shape(r) {
		x.line(1, "%s", s)
	}
	x.item(1, "补正", "Cure", r.Cure.In(x.lang))
	x.item(1, "说明", "Note", r.Note)
	for _, name := range r.Parameters {
		for _, p := range x.b.parameters {
			if p.Name == name {
				x.item(1, "参数", "Parameter", x.parameter(p))
			}
		}
	}
	words := map[string]string{
		"holds": x.say("符合", "holds"), "broken": x.say("违反", "broken"), "open": x.say("期限进行中", "open"),
	}
	for _, e := range r.Examples {
		steps := make([]string, len(e.Steps))
		for i := range e.Steps {
			steps[i] = strings.TrimSpace(x.p.title(e.Steps[i].Act).In(x.lang) + " " + e.Written[i])
		}
		text := strings.Join(steps, " → ")
		if !e.Due.IsZero() {
			text += x.say("，到期 ", ", due ") + e.Due.String()
		}
		if e.Note != "" {
			text += x.inBrackets([]string{e.Note})
		}
		x.line(1, "%s%s", x.say("例·"+words[e.Kind]+"：", "Example, "+words[e.Kind]+": "), text)
	}
}

func orDash(d calendar.Date) string {
	if d.IsZero() {
		return "…"
	}
	return d.String()
}

func (x *explaining) acts(s *actSet) string {
	if s.every {
		return x.say("任何行为", "any act")
	}
	if len(s.names) == 1 && s.names[0] == "effects" {
		return x.say("产生法律效果的行为", "any act with a legal effect")
	}
	out := make([]string, len(s.names))
	for i, n := range s.names {
		out[i] = x.say("「"+x.p.title(n).In("zh")+"」", "“"+x.p.title(n).In("en")+"”")
	}
	return strings.Join(out, x.say("或", " or "))
}

// shape puts the rule's condition into words, as far as it is not an expression.
func (x *explaining) shape(r *Rule) []string {
	var out []string
	add := func(zh, en string, args ...any) {
		out = append(out, fmt.Sprintf(x.say(zh, en), args...))
	}
	expression := func(zh, en string, e *expression) {
		if e != nil {
			add(zh+"：%s", en+": %s", strings.Join(strings.Fields(e.text), " "))
		}
	}
	withs := func(binds []binding) {
		for _, b := range binds {
			if b.lookup != nil {
				title := b.lookup.register.Title
				add("其中 %s 指登记册%s中 %s 名下的记录", "where %s is what the register %s has under %s",
					b.name, x.say("「"+title.ZH+"」", quoted(title)), strings.Join(strings.Fields(b.lookup.key.text), " "))
				continue
			}
			which := x.say("最近一次", "the last ")
			switch {
			case b.all:
				which = x.say("全部", "all ")
			case b.first:
				which = x.say("第一次", "the first ")
			}
			if b.optional {
				which = x.say("如有，", "if any, ") + which
			}
			add("其中 %s 指%s%s", "where %s is %s%s", b.name, which, x.acts(&b.acts))
		}
	}
	switch {
	case r.require != nil:
		add("针对：%s", "On: %s", x.acts(&r.onSet))
		withs(r.require.binds)
		expression("条件", "When", r.require.when)
		expression("要求", "Requires", r.require.must)
	case r.clock != nil:
		c := r.clock
		add("期限：%s应在%s之后 %s 内", "Limit: %s within %[3]s after %[2]s", x.acts(&c.ends), x.acts(&c.starts), c.limit.in(x.lang, x.p.params))
		if c.from != "" {
			add("自 %s 所载之日起算", "counted from the day in %s", c.from)
		}
		if c.on != "" {
			add("以 %s 所载之日为准", "the day in %s counts", c.on)
		}
		if !c.rolls {
			add("期满日不顺延", "the last day does not roll over rest days")
		}
		if c.each {
			add("每次分别起算", "each start has its own clock")
		}
		for _, p := range c.pauses {
			add("自%s至%s不计入", "not counted from %s to %s", x.acts(&p.from), x.acts(&p.to))
		}
		for _, e := range c.extend {
			add("可由%s延长（%s）", "extended by %s (%s)", x.acts(&e.act), e.field)
		}
		if len(c.lapses.names) > 0 {
			add("因%s而终止", "ended by %s", x.acts(&c.lapses))
		}
		expression("起算条件", "Starts when", c.when)
		x.matches(&out, c.match)
	case r.ahead != nil:
		a := r.ahead
		add("提前：%s最迟在%s %s 前", "Ahead: %s at the latest %[3]s before %[2]s", x.acts(&a.act), x.acts(&a.of), a.by.in(x.lang, x.p.params))
		if a.planned != "" {
			add("通知时即按 %s 所载之日判断", "a notice is judged at once by the day in %s", a.planned)
		}
		if a.optional {
			add("可以没有通知", "the notice may be missing")
		}
		withs(a.binds)
		expression("条件", "When", a.when)
		x.matches(&out, a.match)
	case r.order != nil:
		o := r.order
		add("顺序：%s先于%s", "Order: %s before %s", x.acts(&o.first), x.acts(&o.then))
		if !o.needed {
			add("只判断先后，前者可以没有", "only the order counts; the first may be missing")
		}
		withs(o.binds)
		expression("条件", "When", o.when)
		expression("除非", "Unless", o.unless)
		x.matches(&out, o.match)
	case r.count != nil:
		add("次数：%s在一案中最多 %d 次", "Count: %s at most %d times in a case", x.acts(&r.count.act), r.count.atMost)
		withs(r.count.binds)
		expression("条件", "When", r.count.when)
	}
	return out
}

func (x *explaining) matches(out *[]string, pairs []pairing) {
	for _, p := range pairs {
		*out = append(*out, fmt.Sprintf(x.say("两者的 %s 与 %s 相同", "paired by %s and %s"), p.act, p.other))
	}
}

func (x *explaining) parameters() {
	used := map[string]bool{}
	for _, r := range x.p.Rules {
		for _, name := range r.Parameters {
			used[name] = true
		}
	}
	if len(used) == 0 {
		return
	}
	x.line(0, "\n%s\n", x.say("三、参数", "III. Parameters"))
	for _, p := range x.b.parameters {
		if used[p.Name] {
			x.line(0, "%s", x.parameter(p))
			x.item(1, "依据", "Basis", p.Basis)
		}
	}
}

func (x *explaining) parameter(p *Parameter) string {
	value := fmt.Sprint(p.Value)
	switch v := p.Value.(type) {
	case int64:
		if p.Type == "money" {
			value = fmt.Sprintf(x.say("%d.%02d 元", "%d.%02d yuan"), v/100, v%100)
		}
	case string:
		if l, err := calendar.ParseLimit(v); err == nil && p.Type == "limit" {
			value = l.In(x.lang)
		}
	}
	s := fmt.Sprintf("%s = %s", p.Name, value)
	if says := p.Says.In(x.lang); says != "" {
		s += x.say("，", ", ") + says
	}
	switch {
	case p.SetIn != "":
		s += x.say("（由 "+p.SetIn+" 设定）", " (set in "+p.SetIn+")")
	case p.Unconfirmed:
		s += x.say("（※ 未经确认，请按本地规定设定）", " (※ not confirmed: set it by the local rules)")
	}
	return s
}
