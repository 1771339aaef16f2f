package rulebook

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// A Change is one difference between two editions of a procedure.
type Change struct {
	What string `json:"what"` // "act serve-prior-notice", "rule R-023", "stage hearing", "procedure"
	Kind string `json:"kind"` // added, removed or changed
	Says Text   `json:"says"` // the whole change in a sentence
}

// Diff says in words what changed from one edition of a procedure to another:
// stages, acts and rules that came and went, and what of each is different, as
// far as a reader of the law sees it (not examples, code tables and parameters).
func Diff(before, after *Procedure) []Change {
	d := &differ{}
	d.compare("procedure", Text{ZH: "程序", EN: "procedure"}, before, after, "acts", "rules", "stages", "source", "edition")
	pairs(before.Stages, after.Stages, func(s Stage) string { return s.Name }, func(name string, a, b *Stage) {
		d.one("stage "+name, stageText(a, b), a, b)
	})
	pairs(before.Acts, after.Acts, func(a *Act) string { return a.Name }, func(name string, a, b **Act) {
		d.one("act "+name, actText(a, b), a, b)
	})
	pairs(before.Rules, after.Rules, func(r *Rule) string { return r.ID }, func(id string, a, b **Rule) {
		d.one("rule "+id, Text{ZH: "规则 " + id, EN: "rule " + id}, a, b)
	})
	return d.changes
}

type differ struct{ changes []Change }

func stageText(a, b *Stage) Text {
	s := a
	if s == nil {
		s = b
	}
	return Text{ZH: "阶段「" + s.Title.ZH + "」", EN: "stage " + quoted(s.Title)}
}

func actText(a, b **Act) Text {
	s := a
	if s == nil {
		s = b
	}
	return Text{ZH: "行为「" + (*s).Title.ZH + "」", EN: "act " + quoted((*s).Title)}
}

// pairs goes through what stands under the same name in two lists, in the
// order of the second; what is gone comes last.
func pairs[T any](before, after []T, name func(T) string, do func(name string, a, b *T)) {
	old := make(map[string]*T, len(before))
	for i := range before {
		old[name(before[i])] = &before[i]
	}
	seen := make(map[string]bool, len(after))
	for i := range after {
		n := name(after[i])
		seen[n] = true
		do(n, old[n], &after[i])
	}
	for i := range before {
		if n := name(before[i]); !seen[n] {
			do(n, &before[i], nil)
		}
	}
}

// one compares a thing that may be missing on one side.
func (d *differ) one(what string, title Text, before, after any) {
	switch {
	case reflect.ValueOf(before).IsNil():
		d.add(what, "added", Text{ZH: "新增" + title.ZH, EN: title.EN + " is new"})
	case reflect.ValueOf(after).IsNil():
		d.add(what, "removed", Text{ZH: "删去" + title.ZH, EN: title.EN + " is gone"})
	default:
		d.compare(what, title, before, after, "source")
	}
}

func (d *differ) add(what, kind string, says Text) {
	d.changes = append(d.changes, Change{What: what, Kind: kind, Says: says})
}

// compare sets two things beside each other in the form that the API shows.
func (d *differ) compare(what string, title Text, before, after any, but ...string) {
	a, b := plainly(before), plainly(after)
	keys := keysOf(a)
	for _, k := range keysOf(b) {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		if slices.Contains(but, k) || reflect.DeepEqual(a[k], b[k]) {
			continue
		}
		label, ok := diffWords[k]
		if !ok {
			label = Text{ZH: k, EN: k}
		}
		d.add(what, "changed", Text{
			ZH: fmt.Sprintf("%s的%s：%s → %s", title.ZH, label.ZH, inWords(a[k], "zh"), inWords(b[k], "zh")),
			EN: fmt.Sprintf("%s, %s: %s → %s", title.EN, label.EN, inWords(a[k], "en"), inWords(b[k], "en")),
		})
	}
}

// plainly is a value as JSON has it.
func plainly(v any) map[string]any {
	data, err := json.Marshal(v)
	if err != nil {
		panic("rulebook: " + err.Error())
	}
	m := make(map[string]any)
	if err := json.Unmarshal(data, &m); err != nil {
		panic("rulebook: " + err.Error())
	}
	return m
}

// inWords writes a JSON value for a reader; a text in both languages in one.
func inWords(v any, lang string) string {
	switch v := v.(type) {
	case nil:
		return Text{ZH: "（无）", EN: "(none)"}.In(lang)
	case bool:
		if v {
			return Text{ZH: "是", EN: "yes"}.In(lang)
		}
		return Text{ZH: "否", EN: "no"}.In(lang)
	case map[string]any:
		if zh, ok := v["zh"].(string); ok && len(v) <= 2 {
			en, _ := v["en"].(string)
			return Text{ZH: zh, EN: en}.In(lang)
		}
		var parts []string
		for _, k := range keysOf(v) {
			label, ok := diffWords[k]
			if !ok {
				label = Text{ZH: k, EN: k}
			}
			parts = append(parts, label.In(lang)+"="+inWords(v[k], lang))
		}
		return "{" + strings.Join(parts, Text{ZH: "，", EN: ", "}.In(lang)) + "}"
	case []any:
		var parts []string
		for _, item := range v {
			parts = append(parts, inWords(item, lang))
		}
		return "[" + strings.Join(parts, Text{ZH: "、", EN: ", "}.In(lang)) + "]"
	default:
		return fmt.Sprint(v)
	}
}

// diffWords are the words for what a procedure, an act or a rule consists of.
var diffWords = map[string]Text{
	"title": {"名称", "name"}, "basis": {"依据", "basis"}, "retention": {"保管期限", "retention"}, "dossier": {"卷宗顺序", "order of the file"},
	"open": {"接受任何行为", "accepts any act"}, "help": {"说明", "help"}, "effect": {"产生法律效果", "has a legal effect"},
	"opens": {"可以立卷", "may open a case"}, "closes": {"结束案件", "closes the case"}, "once": {"一案一次", "once in a case"},
	"by": {"由谁记录", "recorded by"}, "officers": {"执法人员数", "officers"}, "from": {"从", "from"}, "to": {"到", "to"},
	"recording": {"记录方式", "recording"}, "publicity": {"公示", "publicity"}, "documents": {"文书", "documents"}, "fields": {"字段", "fields"},
	"says": {"内容", "what it says"}, "severity": {"程度", "severity"}, "verdict": {"处理", "verdict"}, "cure": {"补救", "cure"},
	"until": {"到期", "until"}, "unconfirmed": {"未经确认", "unconfirmed"}, "demands": {"必须说明", "demands"}, "note": {"注", "note"},
	"shape": {"形式", "shape"}, "on": {"适用行为", "judged on"}, "parameters": {"参数", "parameters"}, "text": {"条文表达", "expression"},
	"name": {"名", "key"}, "kind": {"种类", "kind"}, "required": {"必填", "required"}, "type": {"类型", "type"}, "volume": {"卷", "volume"},
	"external": {"对外", "goes to the party"}, "within": {"期限", "within"}, "states": {"载明", "states"}, "many": {"可多项", "many"}, "of": {"代码表", "code table"},
}
