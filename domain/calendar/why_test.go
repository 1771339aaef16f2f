package calendar

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

func TestWhy(t *testing.T) {
	c := National()
	for _, tt := range []struct {
		name   string
		due    Due
		zh, en string
	}{
		{"over the National Day week", c.Due(Count{Start: MakeDate(2022, 9, 28), Limit: Limit{7, WorkingDays}}), `
自2022年9月28日（星期三）起算，当日不计入，期限7个工作日。
休息日：国庆节 2022年10月1日至10月7日。
调休上班：2022年10月8日至10月9日（国庆节）。
届满日：2022年10月12日（星期三）。`, `
Counted from 2022-09-28 (Wednesday), that day left out: 7 working days.
Rest days: National Day 2022-10-01 to 2022-10-07.
Weekend days worked: 2022-10-08 to 2022-10-09 (for National Day).
Due: 2022-10-12 (Wednesday).`},
		{"over New Year", c.Due(Count{Start: MakeDate(2022, 12, 30), Limit: Limit{10, WorkingDays}}), `
自2022年12月30日（星期五）起算，当日不计入，期限10个工作日。
休息日：元旦 2022年12月31日至2023年1月2日；周末 2023年1月7日至1月8日、2023年1月14日至1月15日。
届满日：2023年1月16日（星期一）。`, `
Counted from 2022-12-30 (Friday), that day left out: 10 working days.
Rest days: New Year 2022-12-31 to 2023-01-02; weekend 2023-01-07 to 2023-01-08, 2023-01-14 to 2023-01-15.
Due: 2023-01-16 (Monday).`},
		{"rolled", c.Due(Count{Start: MakeDate(2023, 6, 8), Limit: Limit{15, Days}, Roll: true}), `
自2023年6月8日（星期四）起算，当日不计入，期限15日。
休息日：端午节 2023年6月23日至6月24日。
调休上班：2023年6月25日（端午节）。
最后一日2023年6月23日（星期五）是休息日，顺延到其后第一个工作日。
届满日：2023年6月25日（星期日）。`, `
Counted from 2023-06-08 (Thursday), that day left out: 15 days.
Rest days: Dragon Boat Festival 2023-06-23 to 2023-06-24.
Weekend days worked: 2023-06-25 (for Dragon Boat Festival).
The last day, 2023-06-23 (Friday), is a rest day; it passes to the next working day.
Due: 2023-06-25 (Sunday).`},
		{"not rolled", c.Due(Count{Start: MakeDate(2024, 9, 9), Limit: Limit{90, Days}}), `
自2024年9月9日（星期一）起算，当日不计入，期限90日。
届满日：2024年12月8日（星期日）。`, `
Counted from 2024-09-09 (Monday), that day left out: 90 days.
Due: 2024-12-08 (Sunday).`},
		{"extended, paused and provisional", c.Due(Count{Start: MakeDate(2026, 10, 12), Limit: Limit{20, WorkingDays}, Extensions: []Limit{{10, WorkingDays}},
			Pauses: []Pause{{From: MakeDate(2026, 12, 1), Why: "鉴定"}, {From: MakeDate(2026, 10, 14), To: MakeDate(2026, 11, 4), Why: "听证"}, {From: MakeDate(2026, 11, 6), To: MakeDate(2026, 11, 8)}, {From: MakeDate(2026, 12, 10), To: MakeDate(2026, 12, 31)}}}), `
自2026年10月12日（星期一）起算，当日不计入，期限20个工作日。
延长10个工作日。
2026年10月14日（星期三）停止计时（听证），2026年11月4日（星期三）恢复，顺延15个工作日。
2026年11月6日（星期五）停止计时，未增加天数。
2026年12月1日（星期二）停止计时（鉴定），尚未恢复；恢复后届满日相应后延。
2026年12月10日（星期四）停止计时，未增加天数。
休息日：周末共12日。
届满日：2026年12月14日（星期一）。`, `
Counted from 2026-10-12 (Monday), that day left out: 20 working days.
Extended by 10 working days.
The clock was stopped on 2026-10-14 (Wednesday) (听证) and started again on 2026-11-04 (Wednesday), which added 15 working days.
The clock was stopped on 2026-11-06 (Friday), which added no days.
The clock was stopped on 2026-12-01 (Tuesday) (鉴定) and has not been started again; the date will move when it is.
The clock was stopped on 2026-12-10 (Thursday), which added no days.
Rest days: 12 days of weekends.
Due: 2026-12-14 (Monday).`},
		{"provisional", c.Due(Count{Start: MakeDate(2026, 12, 24), Limit: Limit{3, WorkingDays}}), `
自2026年12月24日（星期四）起算，当日不计入，期限3个工作日。
休息日：周末 2026年12月26日至12月27日。
届满日：2026年12月29日（星期二）。
此日暂定：2027年的放假通知尚未收录，收录后须重新计算。`, `
Counted from 2026-12-24 (Thursday), that day left out: 3 working days.
Rest days: weekend 2026-12-26 to 2026-12-27.
Due: 2026-12-29 (Tuesday).
Provisional: there is no holiday notice for 2027 yet; the date may move when there is.`},
		{"backwards", c.Latest(MakeDate(2025, 10, 20), Limit{7, WorkingDays}), `
自2025年10月20日（星期一）起倒计，当日不计入，提前7个工作日。
休息日：周末 2025年10月12日、2025年10月18日至10月19日。
调休上班：2025年10月11日（国庆节、中秋节）。
最迟：2025年10月10日（星期五）。`, `
Counted backwards from 2025-10-20 (Monday), that day left out: 7 working days.
Rest days: weekend 2025-10-12, 2025-10-18 to 2025-10-19.
Weekend days worked: 2025-10-11 (for National Day and Mid-Autumn Festival).
At the latest: 2025-10-10 (Friday).`},
		{"hours", c.Due(Count{At: time.Date(2024, 9, 30, 1, 30, 0, 0, time.UTC), Limit: Limit{24, Hours}}), `
自2024年9月30日（星期一） 09:30起算，期限24小时。
届满：2024年10月1日（星期二） 09:30。`, `
Counted from 2024-09-30 (Monday) 09:30: 24 hours.
Due: 2024-10-01 (Tuesday) 09:30.`},
		{"hours backwards", c.Latest(MakeDate(2024, 9, 30), Limit{24, Hours}), `
2024年9月30日（星期一）之前24小时，从该日零时起倒计。
最迟：2024年9月29日（星期日） 00:00。`, `
Counted backwards from the start of 2024-09-30 (Monday): 24 hours.
At the latest: 2024-09-29 (Sunday) 00:00.`},
		{"no start", c.Due(Count{Limit: Limit{7, Days}}), "\n没有起算日，无法计算。", "\nThere is no day to count from."},
		{"no limit", c.Due(Count{Start: MakeDate(2024, 9, 30)}), "\n没有期限，无法计算。", "\nThere is no limit to count."},
	} {
		for lang, want := range map[string]string{"zh": tt.zh[1:], "en": tt.en[1:]} {
			if got := tt.due.Why(lang); got != want {
				t.Errorf("%s: why is\n%s\nwant\n%s", tt.name, got, want)
			}
		}

		// A due that was kept as JSON can still say why, explained or not.
		for _, d := range []Due{tt.due, tt.due.Explained()} {
			data, err := json.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			var back Due
			if err := json.Unmarshal(data, &back); err != nil {
				t.Fatal(err)
			}
			if got := back.Why("zh"); got != tt.zh[1:] {
				t.Errorf("%s: why of %s is\n%s\nwant\n%s", tt.name, data, got, tt.zh[1:])
			}
		}
	}
}

func TestExplained(t *testing.T) {
	d := National().Due(Count{Start: MakeDate(2022, 9, 28), Limit: Limit{7, WorkingDays}, Roll: true,
		Pauses: []Pause{{From: MakeDate(2022, 9, 29), To: MakeDate(2022, 10, 2), Why: "听证"}}})
	data, err := json.Marshal(d.Explained())
	want := `{"on":"2022-10-13","unrolled":"2022-10-13","start":"2022-09-28","limit":"7 working days",` +
		`"pauses":[{"from":"2022-09-29","to":"2022-10-02","why":"听证","days":1}],"calendar":"` + National().Version() + `",` +
		`"skipped":[{"from":"2022-09-30","to":"2022-10-02","kind":"pause","name":"听证"},{"from":"2022-10-03","to":"2022-10-07","kind":"holiday","name":"国庆节"}],` +
		`"worked":[{"from":"2022-10-08","to":"2022-10-09","kind":"make-up","name":"国庆节"}]}`
	if err != nil || string(data) != want {
		t.Errorf("%s, %v; want\n%s", data, err, want)
	}
	if d.Skipped != nil || !reflect.DeepEqual(d.Explained().Explained(), d.Explained()) {
		t.Error("explaining changes what was explained")
	}

	// Another calendar's due that came as JSON says what it can.
	plain, _ := json.Marshal(new(Calendar).Due(Count{Start: MakeDate(2022, 9, 28), Limit: Limit{7, WorkingDays}}))
	var back Due
	if err := json.Unmarshal(plain, &back); err != nil {
		t.Fatal(err)
	}
	if got, want := back.Why("en"), `Counted from 2022-09-28 (Wednesday), that day left out: 7 working days.
Due: 2022-10-07 (Friday).
Provisional: there is no holiday notice for 2022 yet; the date may move when there is.`; got != want {
		t.Errorf("why is\n%s\nwant\n%s", got, want)
	}
}
