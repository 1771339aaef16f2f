package calendar

import (
	"strings"
	"testing"
)

func TestParseLimit(t *testing.T) {
	for text, want := range map[string]Limit{
		"7 working days":    {7, WorkingDays},
		"1 working day":     {1, WorkingDays},
		"7个工作日":             {7, WorkingDays},
		"7 个工作日":            {7, WorkingDays},
		"7工作日":              {7, WorkingDays},
		" 7  Working\tDays": {7, WorkingDays},
		"90 days":           {90, Days},
		"1 day":             {1, Days},
		"90 calendar days":  {90, Days},
		"90日":               {90, Days},
		"90天":               {90, Days},
		"15个自然日":            {15, Days},
		"6 months":          {6, Months},
		"6个月":               {6, Months},
		"1 year":            {1, Years},
		"2年":                {2, Years},
		"24 hours":          {24, Hours},
		"24小时":              {24, Hours},
		"24个小时":             {24, Hours},
		"0 days":            {0, Days},
	} {
		if got, err := ParseLimit(text); err != nil || got != want {
			t.Errorf("ParseLimit(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "days", "7", "-7 days", "7.5 days", "7 working", "seven days", "6月", "7 day working", "١ day"} {
		if got, err := ParseLimit(text); err == nil || !strings.Contains(err.Error(), "is not a limit: write it as") {
			t.Errorf("ParseLimit(%q) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"100001 days", "99999999999999999999 days"} {
		if got, err := ParseLimit(text); err == nil || !strings.Contains(err.Error(), "above 100000") {
			t.Errorf("ParseLimit(%q) = %v, %v", text, got, err)
		}
	}
}

func TestLimitIn(t *testing.T) {
	for _, tt := range []struct {
		limit  Limit
		zh, en string
	}{
		{Limit{7, WorkingDays}, "7个工作日", "7 working days"},
		{Limit{1, WorkingDays}, "1个工作日", "1 working day"},
		{Limit{90, Days}, "90日", "90 days"},
		{Limit{6, Months}, "6个月", "6 months"},
		{Limit{1, Years}, "1年", "1 year"},
		{Limit{24, Hours}, "24小时", "24 hours"},
		{Limit{}, "", ""},
	} {
		if zh, en := tt.limit.In("zh"), tt.limit.In("en"); zh != tt.zh || en != tt.en || tt.limit.String() != tt.en {
			t.Errorf("%#v is said %q and %q, want %q and %q", tt.limit, zh, en, tt.zh, tt.en)
		}
		for _, text := range []string{tt.zh, tt.en} {
			var back Limit
			if err := back.UnmarshalText([]byte(text)); err != nil || back != tt.limit {
				t.Errorf("%q is read as %#v, %v", text, back, err)
			}
		}
	}
}

func FuzzParseLimit(f *testing.F) {
	for _, s := range []string{"7 working days", "7个工作日", "90日", "6 months", "24小时", "100000 years", "00007 days", "7\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseLimit(s)
		if err != nil {
			return
		}
		for _, lang := range []string{"zh", "en"} {
			if back, err := ParseLimit(l.In(lang)); err != nil || back != l {
				t.Errorf("%q is read as %#v, said %q and read back as %#v, %v", s, l, l.In(lang), back, err)
			}
		}
		if on := National().Due(Count{Start: MakeDate(2022, 9, 28), Limit: l, Roll: true}).On; on.IsZero() {
			t.Errorf("%q has no last day", s)
		}
	})
}
