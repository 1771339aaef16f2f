package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"liuhen/domain"
	"liuhen/domain/rulebook"
)

// A problem is an answer of the system that is not a success
// (application/problem+json).
type problem struct {
	Status   int                `json:"status"`
	Code     string             `json:"code"`
	Title    string             `json:"title"`
	Detail   string             `json:"detail"`
	Rule     string             `json:"rule"`
	Article  string             `json:"article"`
	Cure     string             `json:"cure"`
	Findings []rulebook.Finding `json:"findings"`
	Errors   []struct {
		Location string `json:"location"`
		Message  string `json:"message"`
		Rule     string `json:"rule"`
	} `json:"errors"`
	Between []domain.Receipt `json:"between"` // what was recorded since the revision that we saw

	raw []byte
}

func readProblem(resp *http.Response) error {
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("answer %s: %w", resp.Status, err)
	}
	e := &problem{}
	if json.Unmarshal(raw, e) != nil || e.Status == 0 {
		e = &problem{Status: resp.StatusCode, Title: http.StatusText(resp.StatusCode), Detail: strings.TrimSpace(string(raw))}
		raw, _ = json.Marshal(e)
	}
	e.raw = raw
	return e
}

func (e *problem) Error() string {
	switch {
	case e.Detail != "":
		return e.Detail
	case e.Title != "":
		return e.Title
	}
	return http.StatusText(e.Status)
}

// print tells a person what is wrong, under which rule and article, and what
// would cure it; err says what was being done.
func (e *problem) print(p *program, err error) {
	if p.json {
		fmt.Fprintln(p.errOut, string(e.raw))
		return
	}
	code := fmt.Sprint(e.Status)
	if e.Code != "" {
		code += " " + e.Code
	}
	fmt.Fprintf(p.errOut, "liuhen: %s (%s)\n", err, code)
	line := func(zh, en, text string) {
		if text != "" {
			fmt.Fprintf(p.errOut, "  %s%s\n", p.pick(zh+"：", en+": "), text)
		}
	}
	line("规则", "rule", e.Rule)
	line("依据", "article", e.Article)
	line("补正", "cure", e.Cure)
	for _, f := range e.Findings {
		if f.Rule != e.Rule {
			line("另见 "+f.Rule, "also "+f.Rule, f.Says.In(p.config.Lang))
		}
	}
	for _, at := range e.Errors {
		rule := ""
		if at.Rule != "" {
			rule = " [" + at.Rule + "]"
		}
		fmt.Fprintf(p.errOut, "  %s: %s%s\n", at.Location, at.Message, rule)
	}
	for _, r := range e.Between {
		line("其间已记录", "recorded meanwhile", fmt.Sprintf("%d %s %s", r.Revision, r.Act, p.moment(r.OccurredAt)))
	}
	if e.Code == "forbidden" && p.config.TokenFile == "" {
		line("提示", "hint", p.pick(
			`用 "liuhen token create --use" 为经办人员签发本机令牌，或用 --token-file 指定令牌`,
			`make a token for who does the work with "liuhen token create --use", or name one with --token-file`))
	}
}
