package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/pflag"

	"liuhen/domain"
	"liuhen/domain/calendar"
)

// An inspecting is the period that is judged anew.
type inspecting struct{ from, to, agency, procedure, acts string }

func (i *inspecting) flags(p *program, fs *pflag.FlagSet) {
	fs.StringVar(&i.from, "from", "", "judge anew what was recorded on this day or later, 2026-01-01")
	fs.StringVar(&i.to, "to", "", "and on this day or before")
	fs.StringVar(&i.agency, "agency", "", "only of this agency")
	fs.StringVar(&i.procedure, "procedure", "", "only of this procedure")
	fs.StringVar(&i.acts, "acts", "", "decisions (without it): acts with a legal effect; all: every act")
	fs.BoolVar(&p.quiet, "quiet", false, "no progress bar")
}

// An inspectLine is one line of the answer.
type inspectLine struct {
	Progress *struct {
		Records int64 `json:"records"`
		Of      int64 `json:"of"`
	} `json:"progress"`
	Difference json.RawMessage `json:"difference"`
	Report     json.RawMessage `json:"report"`
	Signature  string          `json:"signature"`
	Problem    *problem        `json:"problem"`
}

type inspectReport struct {
	From      calendar.Date `json:"from"`
	To        calendar.Date `json:"to"`
	Through   uint64        `json:"through"`
	Agencies  []string      `json:"agencies"`
	Inspector string        `json:"inspector"`
	Name      string        `json:"inspector_name"`
	Purpose   string        `json:"purpose"`
	Request   string        `json:"request"`
	Digest    string        `json:"differences_digest"`
	domain.InspectionReport
}

// inspect judges a period anew and prints what differs as it comes.
func (p *program) inspect(ctx context.Context, k *client, period *inspecting, judged string) error {
	q := url.Values{"from": {period.from}, "to": {period.to}}
	for name, value := range map[string]string{"agency": period.agency, "procedure": period.procedure, "acts": period.acts, "judged": judged} {
		if value != "" {
			q.Set(name, value)
		}
	}
	resp, err := k.request(ctx, http.MethodGet, "/v1/replay", q, nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 64<<20)
	bar := p.bar(-1, p.pick("重新判断", "judging anew"), "records")
	defer func() { _ = bar.Exit() }() // drawing can fail; the inspection goes on
	digest := sha256.New()
	for lines.Scan() {
		var line inspectLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		switch {
		case line.Problem != nil:
			return line.Problem
		case line.Report != nil:
			_ = bar.Finish()
			return p.endInspection(line, lines.Bytes(), "sha256:"+hex.EncodeToString(digest.Sum(nil)))
		case line.Difference != nil:
			digest.Write(append(line.Difference, '\n'))
			if p.json {
				fmt.Fprintf(p.out, "%s\n", lines.Bytes())
				continue
			}
			if err := p.printInspected(line.Difference); err != nil {
				return err
			}
		case line.Progress != nil:
			bar.ChangeMax64(max(line.Progress.Of, line.Progress.Records+1))
			_ = bar.Set64(line.Progress.Records)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return errors.New("the answer ended before the report; see the log of the system")
}

var causes = map[domain.InspectionCause][2]string{
	domain.CauseAlarm: {"警报", "ALARM"}, domain.CauseLawChanged: {"规则文本有变", "law changed"}, domain.CauseEditionGone: {"版本缺失", "edition gone"},
	domain.CauseRegisters: {"登记册有变", "registers changed"}, domain.CauseTodaysLaw: {"今日版本不同", "today's edition"},
}

func (p *program) cause(c domain.InspectionCause) string {
	if words, ok := causes[c]; ok {
		return p.pick(words[0], words[1])
	}
	return string(c)
}

func (p *program) printInspected(raw json.RawMessage) error {
	var d domain.Inspected
	if err := json.Unmarshal(raw, &d); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	p.say("〔%s〕%s 第 %d 号 %s（%s，记录于 %s，第 %d 位）", "[%s] %s record %d %s (%s, recorded %s, position %d)",
		p.cause(d.Cause), printable(string(d.Case)), d.Revision, d.ActName.In(p.config.Lang), printable(either(d.ActorName, d.Actor)), p.moment(d.RecordedAt), d.Position)
	if d.Cause != domain.CauseEditionGone {
		p.say("    记录：%s", "    recorded: %s", p.rulesOf(d.Recorded))
		p.say("    重判：%s（按 %s 版）", "    judged anew: %s (edition of %s)", p.rulesOf(d.Judged), d.JudgedBy)
	}
	if len(d.Officers) > 0 {
		var officers []string
		for _, o := range d.Officers {
			officers = append(officers, strings.TrimSpace(either(o.Name, o.ID)+" "+o.Certificate))
		}
		p.say("    登记册当时的人员证件：%s", "    certificates in the register of then: %s", printable(p.listed(officers)))
	}
	fmt.Fprint(p.out, wrapped(d.Because.In(p.config.Lang), 100, "    "))
	return nil
}

// endInspection prints the report and checks that it is of the differences that
// came before it.
func (p *program) endInspection(line inspectLine, raw []byte, digest string) error {
	var r inspectReport
	if err := json.Unmarshal(line.Report, &r); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	if r.Digest != digest {
		return fmt.Errorf("the differences that were handed out have digest %s, the report says %s: part of the answer was lost or altered", digest, r.Digest)
	}
	if p.json {
		fmt.Fprintf(p.out, "%s\n", raw)
	} else {
		sum := sha256.Sum256(line.Report)
		p.printPairs([][2]string{
			{p.pick("期间", "period"), fmt.Sprintf(p.pick("%s 至 %s 记录（至第 %d 位）", "recorded %s to %s (up to position %d)"), r.From, r.To, r.Through)},
			{p.pick("机关", "agencies"), p.listed(r.Agencies)},
			{p.pick("检查人", "inspector"), either(r.Name, r.Inspector)},
			{p.pick("目的", "purpose"), r.Purpose},
			{p.pick("案件", "cases"), fmt.Sprint(r.Cases)},
			{p.pick("重新判断的行为", "acts judged anew"), fmt.Sprint(r.Acts)},
			{p.pick("与记录一致", "as recorded"), fmt.Sprint(r.Same)},
			{p.pick("不同", "different"), p.countsByCause(r.InspectionReport)},
			{p.pick("警报", "alarms"), fmt.Sprint(r.Alarms)},
			{p.pick("缺少登记册未能判断", "not judged for want of a register"), fmt.Sprint(r.Unjudged)},
			{p.pick("不同之处的摘要", "digest of the differences"), r.Digest},
			{p.pick("报告的摘要", "digest of the report"), "sha256:" + hex.EncodeToString(sum[:])},
			{p.pick("签名", "signature"), either(line.Signature, p.pick("（未签名）", "(not signed)"))},
			{p.pick("请求编号", "request"), r.Request},
		})
	}
	if r.Alarms > 0 {
		return fmt.Errorf(p.pick("%d 处警报：重新判断的结果与记录不同而原因不明", "%d alarms: judged anew, acts come out otherwise for no reason that shows"), r.Alarms)
	}
	return nil
}

func (p *program) countsByCause(r domain.InspectionReport) string {
	var all []string
	for _, c := range []domain.InspectionCause{domain.CauseAlarm, domain.CauseLawChanged, domain.CauseEditionGone, domain.CauseRegisters, domain.CauseTodaysLaw} {
		if n := r.Differences[c]; n > 0 {
			all = append(all, fmt.Sprintf("%s %d", p.cause(c), n))
		}
	}
	if len(all) == 0 {
		return p.pick("无", "none")
	}
	return p.listed(all)
}
