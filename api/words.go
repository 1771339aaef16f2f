package api

import (
	"context"
	"regexp"
	"strings"

	"golang.org/x/text/language"

	"liuhen/domain/rulebook"
)

var languages = language.NewMatcher([]language.Tag{language.SimplifiedChinese, language.English})

// language chooses zh or en by an Accept-Language header; zh where it says
// nothing of use.
func languageOf(header string) string {
	if header == "" || len(header) > 1000 {
		return "zh"
	}
	tags, _, err := language.ParseAcceptLanguage(header)
	if err != nil || len(tags) == 0 {
		return "zh"
	}
	_, index, confidence := languages.Match(tags...)
	if index == 1 && confidence > language.No {
		return "en"
	}
	return "zh"
}

// langOf is the language of a request.
func langOf(ctx context.Context) string {
	if r := about(ctx); r != nil {
		return r.lang
	}
	return "zh"
}

// text makes a text in both languages.
func text(zh, en string) rulebook.Text { return rulebook.Text{ZH: zh, EN: en} }

// said turns huma's English sentences into Chinese.
var said = []struct {
	en *regexp.Regexp
	zh string
}{
	{regexp.MustCompile(`^unexpected property$`), "未知字段"},
	{regexp.MustCompile(`^unknown query parameter$`), "未知参数"},
	{regexp.MustCompile(`^expected required property (.+) to be present$`), "缺少必填字段 $1"},
	{regexp.MustCompile(`^required (.+) parameter is missing$`), "缺少必填参数"},
	{regexp.MustCompile(`^expected string to be RFC 3339 date-time$`), "须为 RFC 3339 时间，如 2026-11-24T09:30:00+08:00"},
	{regexp.MustCompile(`^expected string to be RFC 3339 date$`), "须为日期，如 2026-11-24"},
	{regexp.MustCompile(`^expected boolean$`), "须为 true 或 false"},
	{regexp.MustCompile(`^expected number$`), "须为数字"},
	{regexp.MustCompile(`^expected integer$`), "须为整数"},
	{regexp.MustCompile(`^expected string$`), "须为文字"},
	{regexp.MustCompile(`^expected array$`), "须为列表"},
	{regexp.MustCompile(`^expected object$`), "须为对象"},
	{regexp.MustCompile(`^expected value to be one of "(.+)"$`), "须为以下之一：$1"},
	{regexp.MustCompile(`^expected number >= (.+)$`), "不得小于 $1"},
	{regexp.MustCompile(`^expected number <= (.+)$`), "不得大于 $1"},
	{regexp.MustCompile(`^expected (?:array )?length >= (.+)$`), "长度不得少于 $1"},
	{regexp.MustCompile(`^expected (?:array )?length <= (.+)$`), "长度不得超过 $1"},
	{regexp.MustCompile(`^expected value to match exactly one schema but matched none$`), "不符合任何允许的形式"},
	{regexp.MustCompile(`^invalid integer$`), "须为整数"},
	{regexp.MustCompile(`^invalid boolean$`), "须为 true 或 false"},
	{regexp.MustCompile(`^request body is required$`), "缺少请求内容"},
	{regexp.MustCompile(`^request body is too large limit=(\d+) bytes$`), "请求内容超过 $1 字节"},
	{regexp.MustCompile(`^request body read timeout$`), "读取请求内容超时"},
	{regexp.MustCompile(`^validation failed$`), "请求不合规"},
	{regexp.MustCompile(`^unknown content type: (.*)$`), "不支持内容类型 $1；请用 application/json"},
	{regexp.MustCompile(`^(?:invalid character|unexpected end of JSON input|json: ).*$`), "不是合规的 JSON：$0"},
}

// inWords says a sentence of huma's in a language.
func inWords(en, lang string) string {
	if lang == "en" {
		return en
	}
	for _, s := range said {
		if m := s.en.FindStringSubmatchIndex(en); m != nil {
			return string(s.en.ExpandString(nil, s.zh, en, m))
		}
	}
	return en
}

var missing = regexp.MustCompile(`^(?:缺少必填字段|expected required property) (\S+)`)

// locate points at the field itself where huma points at the object that
// lacks it.
func locate(location, message string) (string, string) {
	if m := missing.FindStringSubmatch(message); m != nil && !strings.HasSuffix(location, "."+m[1]) {
		return location + "." + m[1], message
	}
	return location, message
}
