package rulebook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"

	"liuhen/domain/calendar"
)

// Check holds the fields of an act, as they came in JSON, against what the
// procedure says of them. It returns them as rules read and records keep them:
// text, codes, days (2022-09-28), times (RFC 3339 in Shanghai) and limits as
// string, whole numbers and money (fen) as int64, numbers as float64, booleans
// as bool, lists as []any and records as map[string]any. Null and empty text
// count as absent and are left out.
//
// The problems are what is malformed: an unknown act or field, a missing one, a
// value of the wrong type. Whether the act is lawful is for Judge.
func (p *Procedure) Check(act string, fields map[string]json.RawMessage) (map[string]any, []Problem) {
	c := &checking{}
	a, ok := p.Act(act)
	if !ok {
		c.wrong("act", "程序 %[1]s 没有行为 %[2]q", "procedure %[1]s has no act %[2]q", p.Name, act)
		return nil, c.problems
	}
	out := make(map[string]any, len(fields))
	if p.Open && !p.lists(act) {
		for _, name := range keysOf(fields) {
			if v := c.anything("fields."+name, fields[name]); v != nil {
				out[name] = v
			}
		}
		return out, c.problems
	}
	for _, name := range keysOf(fields) {
		f, ok := a.Field(name)
		if !ok {
			c.wrong("fields."+name, "「%[1]s」没有字段 %[2]q，有：%[3]s", "%[1]s has no field %[2]q; it has %[3]s",
				a.Title.In("zh"), name, list(fieldNames(a.Fields)))
			continue
		}
		if v := c.value("fields."+name, f, fields[name]); v != nil {
			out[name] = v
		}
	}
	c.missing("fields", a.Fields, out)
	if len(c.problems) == 0 {
		c.missingIf(p, a, out)
	}
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	return out, nil
}

func (p *Procedure) lists(act string) bool { _, ok := p.acts[act]; return ok }

func fieldNames(fields []Field) []string {
	names := make([]string, len(fields))
	for i := range fields {
		names[i] = fields[i].Name
	}
	return names
}

type checking struct{ problems []Problem }

// wrong notes a problem. Both forms take the same arguments.
func (c *checking) wrong(path, zh, en string, args ...any) {
	c.problems = append(c.problems, Problem{Field: path, Detail: Text{ZH: format(zh, args), EN: format(en, args)}})
}

func format(form string, args []any) string {
	if len(args) == 0 {
		return form
	}
	return fmt.Sprintf(form, args...)
}

// missing notes required fields that have no value.
func (c *checking) missing(path string, fields []Field, have map[string]any) {
	for i := range fields {
		f := &fields[i]
		if _, ok := have[f.Name]; !ok && f.Required && !c.has(path+"."+f.Name) {
			c.wrong(path+"."+f.Name, "缺少必填字段「%[1]s」", "the required field %[2]q is missing", f.Title.ZH, f.Title.In("en"))
		}
	}
}

// has reports whether there is a problem with a field already.
func (c *checking) has(path string) bool {
	return slices.ContainsFunc(c.problems, func(p Problem) bool {
		rest, within := strings.CutPrefix(p.Field, path)
		return within && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// missingIf notes fields that this act needs because of its other fields.
func (c *checking) missingIf(p *Procedure, a *Act, have map[string]any) {
	var j *judging
	for i := range a.Fields {
		f := &a.Fields[i]
		if _, ok := have[f.Name]; ok || f.needed == nil {
			continue
		}
		if j == nil {
			j = p.begin(p.NewHistory("", ""), &Step{Act: a.Name, Fields: have}, p.params, Known{})
			defer j.end()
		}
		if v, _, err := f.needed.program.Eval(j); err != nil || v == types.True {
			c.wrong("fields."+f.Name, "此处须填「%[1]s」（条件：%[3]s）", "the field %[2]q is needed here (condition: %[3]s)",
				f.Title.ZH, f.Title.In("en"), f.RequiredIf)
		}
	}
}

// value reads one field; nil for an absent or a wrong one.
func (c *checking) value(path string, f *Field, raw json.RawMessage) any {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	if !f.Many {
		return c.one(path, f, raw)
	}
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		c.wrong(path, "须为列表", "expected a list")
		return nil
	}
	out := make([]any, 0, len(items))
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", path, i)
		var v any
		if item = bytes.TrimSpace(item); string(item) != "null" {
			v = c.one(at, f, item)
		}
		if v == nil {
			if !c.has(at) {
				c.wrong(at, "列表中的项不能为空", "an item of a list cannot be empty")
			}
			continue
		}
		out = append(out, v)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func (c *checking) one(path string, f *Field, raw json.RawMessage) any {
	switch f.kind {
	case kindInteger, kindMoney:
		n, err := strconv.ParseInt(string(raw), 10, 64)
		switch {
		case err != nil && f.kind == kindMoney:
			c.wrong(path, "金额须为整数，以分为单位", "expected an amount of money: a whole number of fen")
		case err != nil:
			c.wrong(path, "须为整数", "expected a whole number")
		case f.Min != nil && n < *f.Min:
			c.wrong(path, "不得小于 %[1]d", "expected at least %[1]d", *f.Min)
		case f.Max != nil && n > *f.Max:
			c.wrong(path, "不得大于 %[1]d", "expected at most %[1]d", *f.Max)
		default:
			return n
		}
		return nil
	case kindNumber:
		var n float64
		if json.Unmarshal(raw, &n) != nil {
			c.wrong(path, "须为数字", "expected a number")
			return nil
		}
		return n
	case kindBoolean:
		var b bool
		if json.Unmarshal(raw, &b) != nil {
			c.wrong(path, "须为 true 或 false", "expected true or false")
			return nil
		}
		return b
	case kindRecord:
		var m map[string]json.RawMessage
		if json.Unmarshal(raw, &m) != nil {
			c.wrong(path, "须为对象，含字段：%[1]s", "expected an object with %[1]s", list(fieldNames(f.record.fields)))
			return nil
		}
		return c.record(path, f.record, m)
	default: // every other kind is written as text
		var s string
		if json.Unmarshal(raw, &s) != nil {
			c.wrong(path, "须为文本", "expected text")
			return nil
		}
		if f.kind == kindFile {
			return c.file(path, s)
		}
		if s = strings.TrimSpace(s); s == "" {
			return nil
		}
		return c.text(path, f, s)
	}
}

// MaxFile is how many bytes the text of a file may have, where it stands in the
// record itself: as JSON a byte may take six.
const MaxFile = 64 << 10

// file takes the text of a file as it is, so that its digest is the file's.
func (c *checking) file(path, s string) any {
	switch {
	case strings.TrimSpace(s) == "":
		return nil
	case len(s) > MaxFile:
		c.wrong(path, "文件有 %[1]d 字节，上限 %[2]d 字节", "the file has %[1]d bytes, the limit is %[2]d", len(s), MaxFile)
		return nil
	case strings.ContainsRune(s, utf8.RuneError):
		c.wrong(path, "文件不是 UTF-8 文本，或含有字符 U+FFFD", "the file is not UTF-8, or has the character U+FFFD")
		return nil
	}
	return s
}

func (c *checking) record(path string, t *recordType, m map[string]json.RawMessage) any {
	out := make(map[string]any, len(m))
	for _, name := range keysOf(m) {
		i := slices.IndexFunc(t.fields, func(f Field) bool { return f.Name == name })
		if i < 0 {
			c.wrong(path+"."+name, "没有字段 %[1]q，有：%[2]s", "there is no field %[1]q; there are %[2]s", name, list(fieldNames(t.fields)))
			continue
		}
		if v := c.value(path+"."+name, &t.fields[i], m[name]); v != nil {
			out[name] = v
		}
	}
	c.missing(path, t.fields, out)
	if len(out) == 0 {
		return nil
	}
	return out
}

// text reads a value that is written as text and has a form.
func (c *checking) text(path string, f *Field, s string) any {
	switch f.kind {
	case kindDate:
		d, err := calendar.ParseDate(s)
		if err != nil {
			c.wrong(path, "须为日期，如 2022-09-28", "expected a day such as 2022-09-28")
			return nil
		}
		return d.String()
	case kindTime:
		t, ok := parseTime(s)
		if !ok {
			c.wrong(path, "须为时间，如 2022-09-28T09:30:00+08:00", "expected a time such as 2022-09-28T09:30:00+08:00")
			return nil
		}
		return t.In(calendar.Shanghai).Format(time.RFC3339Nano)
	case kindCode:
		if !f.codes.Has(s) {
			var known []string
			for _, k := range f.codes.Codes {
				known = append(known, k.Code)
			}
			c.wrong(path, "代码表 %[1]s 没有代码 %[2]q，有：%[3]s", "code table %[1]s has no code %[2]q; it has %[3]s", f.codes.Name, clip(s), list(known))
			return nil
		}
	case kindLimit:
		l, err := calendar.ParseLimit(s)
		if err != nil {
			c.wrong(path, "须为期限，如 7个工作日、90日", "expected a limit such as 7 working days or 90 days")
			return nil
		}
		return l.String()
	case kindUSCC:
		if s = strings.ToUpper(s); len(s) != 18 || !alphanumeric(s) {
			c.wrong(path, "统一社会信用代码须为 18 位数字或大写字母", "expected a unified social credit code: 18 digits or capital letters")
			return nil
		}
		return s
	case kindIDNumber:
		if s = strings.ToUpper(s); len(s) > 40 || !alphanumeric(strings.NewReplacer("(", "", ")", "", "-", "").Replace(s)) {
			c.wrong(path, "证件号码须为数字或字母，至多 40 位", "expected the number of an identity document: at most 40 digits or letters")
			return nil
		}
		return s
	case kindPerson, kindEvent:
		if utf8.RuneCountInString(s) > 200 {
			c.wrong(path, "至多 200 字", "expected at most 200 characters")
			return nil
		}
	default: // text has no form
	}
	return s
}

func alphanumeric(s string) bool {
	for i := range len(s) {
		if c := s[i]; !(c >= '0' && c <= '9' || c >= 'A' && c <= 'Z') {
			return false
		}
	}
	return s != ""
}

// parseTime reads RFC 3339, and a local time in Shanghai without its offset.
func parseTime(s string) (time.Time, bool) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, true
	}
	for _, form := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04"} {
		if t, err := time.ParseInLocation(form, s, calendar.Shanghai); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// anything reads a value of an act that an open procedure does not list.
func (c *checking) anything(path string, raw json.RawMessage) any {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		c.wrong(path, "不是合法的 JSON", "not valid JSON")
		return nil
	}
	v, err := plainNumbers(v)
	if err != nil {
		c.wrong(path, "数字超出范围", "a number is out of range")
		return nil
	}
	if v == "" {
		return nil
	}
	return v
}

func plainNumbers(v any) (any, error) {
	var err error
	switch x := v.(type) {
	case json.Number:
		if i, err := x.Int64(); err == nil {
			return i, nil
		}
		return x.Float64()
	case []any:
		for i := range x {
			if x[i], err = plainNumbers(x[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k := range x {
			if x[k], err = plainNumbers(x[k]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}
