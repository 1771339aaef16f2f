package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// A replaying is what "liuhen replay" was told.
type replaying struct {
	at, judged        string
	difference, patch bool
	lines             bool
	period            inspecting
}

func replayCommand(p *program) *cobra.Command {
	var r replaying
	c := &cobra.Command{
		Use:   "replay [CASE]",
		Short: "回放：逐条重现案件、比较两个时点、重新判断一段期间 · Replay a case, or judge a period anew",
		Long: `回放案件：逐条显示每个行为改变了什么、规则如何判断；或显示某一时点的案件（--at），
或比较两个时点（--difference）。不指明案件而给出期间（--from、--to）时，将该期间记录的
行为按当时的规则和登记册重新判断，列出与记录不同之处及其原因。
Replay a case: record by record, what each changed and what the rules said, with
their articles. In a terminal: → or space next, ← back, g first, G last, : jump to
a revision, a day or an act, q ends. With --lines the same is read from standard
input, a line each; else every step is printed.

--at shows the case at one moment, --difference what is different between two. A
moment is now, position:123, revision:5, recorded:TIME (as it was known then) or
occurred:TIME (as it was, with today's knowledge); a TIME is 2022-03-01 (the end of
that day in Shanghai) or 2022-03-01T09:00 or with a zone.

Without a case, and with --from and --to, the inspector's replay: every decision
recorded in the period judged anew, by the edition and the registers of then. What
differs is listed with its cause; an alarm makes the exit code 1. It needs --purpose,
which is kept in the access trail.`,
		Example: `  liuhen replay 样例-005
  liuhen replay 样例-005 --at recorded:2026-10-01 --judged both
  liuhen replay 样例-005 --difference revision:2 revision:5
  liuhen replay 样例-005 --difference occurred:2026-10-01 now --patch
  liuhen replay --from 2026-01-01 --to 2026-06-30 --agency 210100 --purpose "半年检查"`,
		Args: cobra.MaximumNArgs(3),
		RunE: func(c *cobra.Command, args []string) error { return p.replay(c, &r, args) },
	}
	fs := c.Flags()
	fs.StringVar(&r.at, "at", "", "show the case at this moment")
	fs.BoolVar(&r.difference, "difference", false, "what is different between two moments: CASE FROM [TO]")
	fs.BoolVar(&r.patch, "patch", false, "with --difference: as a JSON Patch (RFC 6902)")
	fs.StringVar(&r.judged, "judged", "", "then (without it), now or both: by the law and registers of then, of today, side by side")
	fs.BoolVar(&r.lines, "lines", false, "read where to go from standard input, a line each")
	r.period.flags(p, fs)
	c.MarkFlagsMutuallyExclusive("at", "difference", "from")
	p.flags(fs, clientKeys...)
	return c
}

func (p *program) replay(c *cobra.Command, r *replaying, args []string) error {
	switch {
	case len(args) == 0 && (r.period.from == "" || r.period.to == ""):
		return usagef("name a case, or a period with --from and --to")
	case len(args) == 0 && (r.at != "" || r.difference || r.lines):
		return usagef("--at, --difference and --lines are for one case: name it")
	case len(args) > 0 && (r.period.from != "" || r.period.to != "" || r.period.agency != "" || r.period.procedure != "" || r.period.acts != ""):
		return usagef("--from, --to, --agency, --procedure and --acts are for a period: leave the case out")
	case r.difference && len(args) < 2:
		return usagef("--difference wants CASE FROM [TO]")
	case !r.difference && len(args) > 1:
		return usagef("one case at a time; two moments go with --difference")
	case r.patch && !r.difference:
		return usagef("--patch goes with --difference")
	}
	k, err := p.client("replay", false)
	if err != nil {
		return err
	}
	ctx := c.Context()
	q := url.Values{}
	if r.judged != "" {
		q.Set("judged", r.judged)
	}
	switch {
	case len(args) == 0:
		return p.inspect(ctx, k, &r.period, r.judged)
	case r.at != "":
		q.Set("at", r.at)
		return p.showCase(ctx, k, args[0], q)
	case r.difference:
		return p.showDifference(ctx, k, args, r.patch)
	}
	return p.replayCase(ctx, k, args[0], q, r.lines)
}

// A replayStep is what one record did to its case.
type replayStep struct {
	timelineItem
	Position  uint64              `json:"position"`
	Basis     string              `json:"basis"`
	Stage     string              `json:"stage"`
	StageName rulebook.Text       `json:"stage_name"`
	Closed    bool                `json:"closed"`
	Changes   []replayChange      `json:"changes"`
	JudgedNow *[]rulebook.Finding `json:"judged_now"`
}

// A replayChange is one value that was changed.
type replayChange struct {
	Path   string          `json:"path"`
	Before json.RawMessage `json:"before"`
	After  json.RawMessage `json:"after"`
	By     *struct {
		Revision  int    `json:"revision"`
		Position  uint64 `json:"position"`
		Act       string `json:"act"`
		Actor     string `json:"actor"`
		ActorName string `json:"actor_name"`
	} `json:"by"`
	ActName rulebook.Text `json:"act_name"`
	Passed  bool          `json:"passed"`
	Rule    string        `json:"rule"`
	Basis   string        `json:"basis"`
}

// replayCase steps through a case.
func (p *program) replayCase(ctx context.Context, k *client, id string, q url.Values, lines bool) error {
	resp, err := k.request(ctx, http.MethodGet, at("v1", "cases", id, "replay"), q, nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	s := stepper{p: p, out: p.out}
	read := json.NewDecoder(resp.Body)
	for {
		var line struct {
			Step    json.RawMessage `json:"step"`
			Problem *problem        `json:"problem"`
		}
		err := read.Decode(&line)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && line.Problem != nil {
			err = line.Problem
		}
		if err != nil {
			return fmt.Errorf("replay %s: %w", id, err)
		}
		if p.json {
			fmt.Fprintf(p.out, "%s\n", line.Step)
			continue
		}
		var step replayStep
		if err := json.Unmarshal(line.Step, &step); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		s.steps = append(s.steps, step)
	}
	if p.json || len(s.steps) == 0 {
		return nil
	}
	c, err := k.firstOf(ctx, id)
	if err != nil {
		return err
	}
	s.law = k.editionOf(c.Procedure, c.Edition.String())
	in, isFile := p.in.(*os.File)
	switch {
	case lines:
		return s.followLines(p.in)
	case isFile && term.IsTerminal(int(in.Fd())) && terminal(p.out):
		return s.followKeys(in)
	}
	for s.i = range s.steps {
		s.show()
	}
	return nil
}

// firstOf is the law that a case goes by.
func (c *client) firstOf(ctx context.Context, id string) (caseFile, error) {
	var f caseFile
	return f, c.get(ctx, at("v1", "cases", id), nil, &f)
}

// A stepper goes to and fro in a case.
type stepper struct {
	p     *program
	out   io.Writer
	law   *rulebook.Procedure
	steps []replayStep
	i     int // the step that is shown
}

// followLines does what it is told, a line each, until q or the end.
func (s *stepper) followLines(in io.Reader) error {
	s.show()
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if s.do(strings.TrimSpace(lines.Text())) {
			return nil
		}
	}
	return lines.Err()
}

// followKeys does what the keys say. The terminal is as it was when it returns.
func (s *stepper) followKeys(in *os.File) error {
	was, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return err
	}
	defer func() { _ = term.Restore(int(in.Fd()), was) }() // there is no better terminal to be had
	s.out = returning{s.p.out}
	s.show()
	keys := make([]byte, 16)
	for {
		n, err := in.Read(keys)
		if err != nil {
			return nil // the terminal has gone
		}
		command := commandOf(keys[:n])
		if command == ":" {
			line, err := term.NewTerminal(struct {
				io.Reader
				io.Writer
			}{in, s.p.out}, s.p.pick("跳至（序号、日期或行为）：", "go to (revision, day or act): ")).ReadLine()
			if err != nil {
				continue
			}
			command = strings.TrimSpace(line)
		}
		if s.do(command) {
			return nil
		}
	}
}

// returning writes lines for a raw terminal.
type returning struct{ w io.Writer }

func (r returning) Write(b []byte) (int, error) {
	_, err := r.w.Write([]byte(strings.ReplaceAll(string(b), "\n", "\r\n")))
	return len(b), err
}

// commandOf is what a key, as a terminal sends it, tells the stepper to do.
func commandOf(key []byte) string {
	switch string(key) {
	case "\x1b[C", "\x1b[B", "\x1bOC", "\x1bOB", "\x1b[6~", " ", "\r", "\n", "n", "j":
		return "n"
	case "\x1b[D", "\x1b[A", "\x1bOD", "\x1bOA", "\x1b[5~", "\x7f", "p", "b", "k":
		return "p"
	case "\x1b[H", "\x1b[1~", "\x1bOH", "g":
		return "g"
	case "\x1b[F", "\x1b[4~", "\x1bOF", "G":
		return "G"
	case ":", "/":
		return ":"
	case "q", "\x03", "\x04", "\x1b":
		return "q"
	}
	return "?"
}

// do carries out one command and reports whether it was to end. What is not one of
// its letters is where to go: a revision, a day, an act.
func (s *stepper) do(command string) (end bool) {
	last := len(s.steps) - 1
	var to int
	switch command {
	case "q", "quit":
		return true
	case "", "n":
		to = s.i + 1
	case "p", "b":
		to = max(s.i-1, -1)
	case "g":
		to = 0
	case "G":
		to = last
	case "?":
		s.say("→ 空格 n 下一条；← p 上一条；g 第一条；G 最后一条；: 跳至序号、日期或行为；q 结束。",
			"→ space n next; ← p back; g first; G last; : go to a revision, a day or an act; q ends.")
		return false
	default:
		to = s.find(command)
	}
	switch {
	case to > last:
		s.say("已是最后一条。", "That was the last record.")
	case to < 0 && (command == "p" || command == "b"):
		s.say("已是第一条。", "This is the first record.")
	case to < 0:
		s.say("没有 %q：请写序号、日期（2026-01-31）或行为。", "There is no %q: write a revision, a day (2026-01-31) or an act.", command)
	default:
		s.i = to
		s.show()
	}
	return false
}

// find is the step that is meant: by its revision, the first that was carried out
// on a day or later, or the next whose act has the name or a part of its title; -1
// for none.
func (s *stepper) find(what string) int {
	if n, err := strconv.Atoi(what); err == nil {
		return slices.IndexFunc(s.steps, func(t replayStep) bool { return t.Revision == n })
	}
	if day, err := calendar.ParseDate(what); err == nil {
		return slices.IndexFunc(s.steps, func(t replayStep) bool { return !calendar.DateOf(t.OccurredAt).Before(day) })
	}
	for n := range s.steps {
		i := (s.i + 1 + n) % len(s.steps)
		t := &s.steps[i]
		if t.Act == what || strings.Contains(t.ActName.ZH, what) || strings.Contains(strings.ToLower(t.ActName.EN), strings.ToLower(what)) {
			return i
		}
	}
	return -1
}

func (s *stepper) say(zh, en string, args ...any) { fmt.Fprintf(s.out, s.p.pick(zh, en)+"\n", args...) }

// show prints the step.
func (s *stepper) show() {
	p, t := s.p, &s.steps[s.i]
	line := func(indent int, text string) {
		fmt.Fprintln(s.out, strings.Repeat(" ", indent)+printable(text))
	}
	fmt.Fprintln(s.out)
	line(0, fmt.Sprintf(p.pick("〔%d/%d〕%s（%s）", "[%d/%d] %s (%s)"), t.Revision, len(s.steps), t.ActName.In(p.config.Lang), t.Act))
	line(2, fmt.Sprintf(p.pick("发生 %s，记录 %s，记录人 %s，第 %d 位", "carried out %s, recorded %s by %s, position %d"),
		p.moment(t.OccurredAt), p.moment(t.RecordedAt), either(t.ActorName, t.Actor), t.Position))
	if t.Basis != "" {
		line(2, p.pick("依据：", "article: ")+t.Basis)
	}
	said := t.timelineItem
	said.Findings = nil // they come with their articles
	var officers []string
	for _, o := range t.Officers {
		officers = append(officers, either(o.Name, o.ID))
	}
	if len(officers) > 0 {
		line(2, p.pick("执法人员：", "officers: ")+p.listed(officers))
	}
	for _, text := range p.about(s.law, said) {
		line(2, text)
	}
	for _, text := range s.changed(t) {
		line(2, text)
	}
	s.findings(t, line)
}

func (s *stepper) findings(t *replayStep, line func(int, string)) {
	p := s.p
	tell := func(zh, en string, findings []rulebook.Finding) {
		if len(findings) == 0 {
			line(2, p.pick(zh+"：未见偏差", en+": nothing found"))
		}
		for _, f := range findings {
			line(2, fmt.Sprintf("%s %s [%s] %s", p.pick(zh+"：", en+":"), f.Rule, p.severity(string(f.Severity)), either(f.Detail.In(p.config.Lang), f.Says.In(p.config.Lang))))
			line(4, p.pick("依据：", "article: ")+f.Basis)
		}
	}
	tell("规则", "rules", t.Findings)
	if t.JudgedNow != nil {
		tell("按今日规则", "by today's law", *t.JudgedNow)
	}
}

// changed is what a step changed beside what its act says: the stage, limits, what
// a correction put right, findings that stand no more.
func (s *stepper) changed(t *replayStep) []string {
	var lines []string
	for i := range t.Changes {
		c := &t.Changes[i]
		parts := strings.Split(strings.TrimPrefix(c.Path, "/"), "/")
		switch parts[0] {
		case "case", "agency", "procedure", "edition", "opened":
			continue // the first step says them
		case "acts":
			quiet := []string{"event", "revision", "recorded_at", "act", "reason"}
			if t.Corrects == "" || len(parts) > 2 && slices.Contains(quiet, parts[2]) {
				continue
			}
		case "findings":
			if len(parts) < 3 || parts[2] != "stands" || c.Before == nil {
				continue
			}
		case "deadlines":
			if c.Before == nil && parts[len(parts)-1] != "due" || c.Before != nil && c.After == nil && parts[len(parts)-1] != "due" {
				continue // a limit that begins or ends is told by its last day
			}
		}
		lines = append(lines, s.p.changeText(s.law, t.Act, c))
	}
	return lines
}

// changeText is one change in a line.
func (p *program) changeText(law *rulebook.Procedure, act string, c *replayChange) string {
	value := func(raw json.RawMessage) string {
		if raw == nil {
			return p.pick("（无）", "(none)")
		}
		var v any
		if json.Unmarshal(raw, &v) != nil {
			return string(raw)
		}
		switch v := v.(type) {
		case string:
			return p.stageTitle(law, c.Path, v)
		case bool:
			return p.yesNo(v)
		}
		return string(raw)
	}
	text := fmt.Sprintf("%s：%s → %s", p.pathText(law, act, c), value(c.Before), value(c.After))
	if p.config.Lang == "en" {
		text = fmt.Sprintf("%s: %s → %s", p.pathText(law, act, c), value(c.Before), value(c.After))
	}
	if c.Rule != "" {
		text += fmt.Sprintf(p.pick("（%s，%s）", " (%s, %s)"), c.Rule, c.Basis)
	}
	if c.Passed {
		text += p.pick("〔因时间经过〕", " (time has passed)")
	}
	return text
}

func (p *program) stageTitle(law *rulebook.Procedure, path, value string) string {
	switch {
	case path == "/stage" && law != nil:
		for _, stage := range law.Stages {
			if stage.Name == value {
				return stage.Title.In(p.config.Lang)
			}
		}
	case strings.HasPrefix(path, "/deadlines/") && strings.HasSuffix(path, "/state"):
		return p.clockState(value)
	}
	return value
}

var clockStates = map[string][2]string{
	"running": {"计算中", "running"}, "paused": {"中止", "paused"}, "overdue": {"已逾期", "overdue"}, "met": {"按期完成", "met"}, "late": {"逾期完成", "done late"},
}

// clockState is how a limit stands, in words.
func (p *program) clockState(s string) string {
	if words, ok := clockStates[s]; ok {
		return p.pick(words[0], words[1])
	}
	return s
}

var pathNames = map[string][2]string{
	"stage": {"阶段", "stage"}, "closed": {"已结案", "closed"}, "opened": {"立案日", "opened"}, "revision": {"记录数", "records"}, "head": {"末条摘要", "head"},
	"due": {"期限届满日", "limit ends"}, "due_at": {"期限届满时间", "limit ends at"}, "state": {"期限状态", "limit"}, "done": {"期限由此完成", "limit met by"}, "done_on": {"完成日", "done on"},
	"limit": {"期限", "limit"}, "start_on": {"起算日", "from"}, "stands": {"偏差仍有效", "finding stands"},
	"occurred_at": {"发生时间", "carried out"}, "recorded_at": {"记录时间", "recorded"}, "place": {"地点", "place"}, "officers": {"执法人员", "officers"}, "documents": {"文书", "documents"}, "evidence": {"证据", "evidence"},
}

// pathText names what a path leads to: a field by its title.
func (p *program) pathText(law *rulebook.Procedure, act string, c *replayChange) string {
	parts := strings.Split(strings.TrimPrefix(c.Path, "/"), "/")
	last := parts[len(parts)-1]
	if parts[0] == "acts" && len(parts) > 3 && parts[2] == "fields" {
		return p.fieldPath(law, act, parts[3:])
	}
	if parts[0] == "acts" && len(parts) > 3 {
		last = parts[2]
	}
	if words, ok := pathNames[last]; ok {
		return p.pick(words[0], words[1])
	}
	return c.Path
}

func (p *program) fieldPath(law *rulebook.Procedure, act string, parts []string) string {
	var known []rulebook.Field
	if law != nil {
		for _, a := range law.Acts {
			if a.Name == act {
				known = a.Fields
			}
		}
	}
	var names []string
	for _, part := range parts {
		name := part
		for _, f := range known {
			if f.Name == part {
				name, known = f.Title.In(p.config.Lang), f.Record
				break
			}
		}
		names = append(names, name)
	}
	return strings.Join(names, "/")
}

// showDifference prints what is different between two moments.
func (p *program) showDifference(ctx context.Context, k *client, args []string, patch bool) error {
	q := url.Values{"from": {args[1]}}
	if len(args) > 2 {
		q.Set("to", args[2])
	}
	if patch {
		q.Set("format", "patch")
	}
	var raw json.RawMessage
	if err := k.get(ctx, at("v1", "cases", args[0], "difference"), q, &raw); err != nil {
		return err
	}
	if patch || p.json {
		return p.printJSON(p.out, raw)
	}
	var d struct {
		From, To struct {
			Says rulebook.Text `json:"says"`
		}
		Changes []replayChange `json:"changes"`
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	c, err := k.firstOf(ctx, args[0])
	if err != nil {
		return err
	}
	law := k.editionOf(c.Procedure, c.Edition.String())
	p.say("前：%s", "before: %s", d.From.Says.In(p.config.Lang))
	p.say("后：%s", "after: %s", d.To.Says.In(p.config.Lang))
	if len(d.Changes) == 0 {
		p.say("没有不同。", "Nothing is different.")
		return nil
	}
	t := table{head: []string{p.pick("序", "REV"), p.pick("行为", "ACT"), p.pick("记录人", "BY"), p.pick("依据", "ARTICLE")}, right: []int{0}}
	for i := range d.Changes {
		change := &d.Changes[i]
		rev, act, by := "", p.pick("（时间经过）", "(time has passed)"), ""
		name := ""
		if change.By != nil {
			rev, act, by, name = fmt.Sprint(change.By.Revision), change.ActName.In(p.config.Lang), either(change.By.ActorName, change.By.Actor), change.By.Act
		}
		basis := change.Basis
		line := *change
		line.Rule, line.Passed = "", false
		if change.Rule != "" {
			basis = change.Rule + " " + basis
		}
		t.add(rev, act, by, basis)
		t.note(p.changeText(law, name, &line))
		t.note(change.Path)
	}
	if err := t.write(p.out); err != nil {
		return err
	}
	p.say("共 %d 处不同。", "%d values are different.", len(d.Changes))
	return nil
}

// judgedOtherwise are the acts that today's law judges otherwise.
func (p *program) judgedOtherwise(c caseFile) table {
	t := table{head: []string{p.pick("行为", "ACT"), p.pick("当时", "THEN"), p.pick("今日", "NOW")}}
	if c.JudgedNow == nil {
		return t
	}
	for _, d := range c.JudgedNow.Differs {
		t.add(d.ActName.In(p.config.Lang), p.rulesOf(d.Then), p.rulesOf(d.Now))
	}
	return t
}

// rulesOf names the rules that found something.
func (p *program) rulesOf(findings []rulebook.Finding) string {
	var all []string
	for _, f := range findings {
		all = append(all, f.Rule+" ["+p.severity(string(f.Severity))+"]")
	}
	if len(all) == 0 {
		return p.pick("无", "none")
	}
	return p.listed(all)
}
