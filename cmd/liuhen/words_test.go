package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

func TestTableLinesUp(t *testing.T) {
	tbl := table{head: []string{"案号", "N", "NAME"}, right: []int{1}}
	tbl.add("样例-1", "7", "甲")
	tbl.add("C-1", "1,234", "line\nbreak\x1b[2J")
	tbl.note("a note")
	var out bytes.Buffer
	if err := tbl.write(&out); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"案号        N  NAME",
		"样例-1      7  甲",
		"C-1     1,234  line break�[2J",
		"    a note",
		"",
	}, "\n")
	if out.String() != want {
		t.Errorf("table is\n%s\nwant\n%s", out.String(), want)
	}
}

func TestWords(t *testing.T) {
	zh, en := &program{config: Config{Lang: "zh"}}, &program{config: Config{Lang: "en"}}
	at := time.Date(2026, 11, 23, 3, 52, 0, 0, time.UTC)
	for _, c := range []struct{ got, want string }{
		{zh.moment(at), "2026-11-23 11:52 (周一)"},
		{en.moment(at), "2026-11-23 11:52 (Mon)"},
		{zh.moment(time.Time{}), ""},
		{zh.day(calendar.MakeDate(2026, 2, 28)), "2026-02-28 (周六)"},
		{zh.yuan(2000000), "20,000.00 元"},
		{en.yuan(-5), "-0.05 yuan"},
		{grouped(1234567), "1,234,567"},
		{shortened("样例甲科技有限公司", 9), "样例甲科…"},
		{masked("postgres://u:secret@h/d"), "postgres://u:xxxxx@h/d"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestFieldValues(t *testing.T) {
	for _, c := range []struct {
		field       rulebook.Field
		value, want string
	}{
		{rulebook.Field{Type: "text"}, "2026", `"2026"`},
		{rulebook.Field{Type: "text"}, `a<b "c"`, `"a<b \"c\""`},
		{rulebook.Field{Type: "integer"}, "12", "12"},
		{rulebook.Field{Type: "integer"}, "a dozen", `"a dozen"`}, // the system says what it expected
		{rulebook.Field{Type: "boolean"}, "true", "true"},
		{rulebook.Field{Type: "money"}, "2000000", "2000000"},
		{rulebook.Field{Type: "money"}, "20000元", "2000000"},
		{rulebook.Field{Type: "money"}, "0.5元", "50"},
		{rulebook.Field{Type: "money"}, "1.005元", "error"},
		{rulebook.Field{Type: "money"}, "much", "error"},
		{rulebook.Field{Type: "date"}, "2026-11-23", `"2026-11-23"`},
		{rulebook.Field{Type: "time"}, "2026-11-23 11:52", `"2026-11-23T11:52:00+08:00"`},
		{rulebook.Field{Type: "text", Many: true}, "one", `["one"]`},
		{rulebook.Field{Type: "text", Many: true}, `["a","b"]`, `["a","b"]`},
		{rulebook.Field{Type: "party", Record: []rulebook.Field{{Name: "name"}}}, `{"name":"甲"}`, `{"name":"甲"}`},
		{rulebook.Field{Type: "party", Record: []rulebook.Field{{Name: "name"}}}, "甲", "error"},
		{rulebook.Field{}, "anything", `"anything"`},
	} {
		got, err := fieldValue(c.field, c.value, false)
		if err != nil {
			got = []byte("error")
		}
		if string(got) != c.want {
			t.Errorf("%s of type %s is %s (%v), want %s", c.value, c.field.Type, got, err, c.want)
		}
	}
	if got, err := fieldValue(rulebook.Field{Type: "text"}, "12", true); err != nil || string(got) != "12" {
		t.Errorf("x:=12 is %s, %v; want 12", got, err)
	}
}

func TestSizesAndExpiry(t *testing.T) {
	for text, want := range map[string]int64{"1024": 1024, "512MiB": 512 << 20, "2 GiB": 2 << 30, "7KiB": 7 << 10, "9B": 9} {
		if got, err := parseBytes(text); err != nil || got != want {
			t.Errorf("parseBytes(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "much", "-1", "1TB", "99999999999GiB"} {
		if got, err := parseBytes(text); err == nil {
			t.Errorf("parseBytes(%q) = %d, want an error", text, got)
		}
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2027-12-31": time.Date(2027, 12, 31, 16, 0, 0, 0, time.UTC), // the end of that day in Shanghai
		"30d":        now.Add(30 * 24 * time.Hour),
		"12h":        now.Add(12 * time.Hour),
	} {
		if got, err := expiry(text, now); err != nil || !got.Equal(want) {
			t.Errorf("expiry(%q) = %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"soon", "0d", "-3d", "3.5d", "d"} {
		if got, err := expiry(text, now); err == nil {
			t.Errorf("expiry(%q) = %s, want an error", text, got)
		}
	}
}

// Every setting has a manual, and every flag a usage.
func TestEverySettingIsExplained(t *testing.T) {
	for _, key := range append(append([]string{"data", "config", "lang"}, serveKeys...), clientKeys...) {
		if manual()[key] == "" {
			t.Errorf("setting %s has no comment in Config", key)
		}
	}
	if len(manual()) != 3+len(serveKeys)+len(clientKeys) {
		t.Errorf("Config has %d settings, and %d of them are flags", len(manual()), 3+len(serveKeys)+len(clientKeys))
	}
}
