package calendar

import (
	"fmt"
	"strings"
	"time"
)

// english has the names of the statutory holidays (全国年节及纪念日放假办法 2).
var english = map[string]string{
	"元旦":  "New Year",
	"春节":  "Spring Festival",
	"清明节": "Tomb-Sweeping Day",
	"劳动节": "Labour Day",
	"端午节": "Dragon Boat Festival",
	"中秋节": "Mid-Autumn Festival",
	"国庆节": "National Day",
}

// manyWeekends is how many weekends are named one by one; more are only counted.
const manyWeekends = 4

// Why says in words how the day was found: from when, how much, which days
// were passed over and which weekend days worked, pauses, extensions, rolling,
// the result, and what makes it provisional. It has several lines, each a
// sentence, in English for "en" and in Chinese otherwise. It says less of a Due
// read from JSON that was not Explained and was counted with another calendar
// than National.
func (d Due) Why(lang string) string {
	d = d.Explained()
	v := voice{english: lang == "en"}
	switch {
	case d.Start.IsZero():
		return v.pick("没有起算日，无法计算。", "There is no day to count from.")
	case d.On.IsZero():
		return v.pick("没有期限，无法计算。", "There is no limit to count.")
	case d.Backwards && !d.At.IsZero():
		v.say("%s之前%s，从该日零时起倒计。", "Counted backwards from the start of %s: %s.", v.date(d.Start), d.Limit.In(lang))
	case d.Backwards:
		v.say("自%s起倒计，当日不计入，提前%s。", "Counted backwards from %s, that day left out: %s.", v.date(d.Start), d.Limit.In(lang))
	case !d.At.IsZero():
		v.say("自%s起算，期限%s。", "Counted from %s: %s.", v.moment(d.StartAt), d.Limit.In(lang))
	default:
		v.say("自%s起算，当日不计入，期限%s。", "Counted from %s, that day left out: %s.", v.date(d.Start), d.Limit.In(lang))
	}

	for _, e := range d.Extensions {
		v.say("延长%s。", "Extended by %s.", e.In(lang))
	}
	for _, p := range d.Pauses {
		v.pause(p, d)
	}
	if rest := v.ranges(d.Skipped); rest != "" {
		v.say("休息日：%s。", "Rest days: %s.", rest)
	}
	if worked := v.ranges(d.Worked); worked != "" {
		v.say("调休上班：%s。", "Weekend days worked: %s.", worked)
	}
	if d.On != d.Unrolled {
		v.say("最后一日%s是休息日，顺延到其后第一个工作日。", "The last day, %s, is a rest day; it passes to the next working day.", v.date(d.Unrolled))
	}

	switch {
	case d.Backwards && !d.At.IsZero():
		v.say("最迟：%s。", "At the latest: %s.", v.moment(d.At))
	case d.Backwards:
		v.say("最迟：%s。", "At the latest: %s.", v.date(d.On))
	case !d.At.IsZero():
		v.say("届满：%s。", "Due: %s.", v.moment(d.At))
	default:
		v.say("届满日：%s。", "Due: %s.", v.date(d.On))
	}
	if d.Provisional {
		v.say("此日暂定：%[1]d年的放假通知尚未收录，收录后须重新计算。", "Provisional: there is no holiday notice for %[1]d yet; the date may move when there is.", d.Unpublished)
	}
	return strings.Join(v.lines, "\n")
}

// A voice gathers sentences in one language.
type voice struct {
	english bool
	lines   []string
}

func (v *voice) pick(chinese, english string) string {
	if v.english {
		return english
	}
	return chinese
}

func (v *voice) say(chinese, english string, args ...any) {
	v.lines = append(v.lines, fmt.Sprintf(v.pick(chinese, english), args...))
}

// pause says what one pause did.
func (v *voice) pause(p Pause, d Due) {
	reason := ""
	if p.Why != "" {
		reason = fmt.Sprintf(v.pick("（%s）", " (%s)"), p.Why)
	}
	kind := Days
	if d.Limit.Kind == WorkingDays {
		kind = WorkingDays
	}
	added := Limit{p.Days, kind}.In(v.pick("zh", "en"))
	switch {
	case p.To.IsZero() && d.Paused:
		v.say("%s停止计时%s，尚未恢复；恢复后届满日相应后延。", "The clock was stopped on %s%s and has not been started again; the date will move when it is.", v.date(p.From), reason)
	case p.Days == 0:
		v.say("%s停止计时%s，未增加天数。", "The clock was stopped on %s%s, which added no days.", v.date(p.From), reason)
	default:
		v.say("%s停止计时%s，%s恢复，顺延%s。", "The clock was stopped on %s%s and started again on %s, which added %s.", v.date(p.From), reason, v.date(p.To), added)
	}
}

// ranges lists rest days, or worked ones, without the pauses: the holidays by
// name, then the weekends together.
func (v *voice) ranges(list []Skip) string {
	var said, weekends []string
	days := 0
	for _, s := range list {
		switch s.Kind {
		case "weekend":
			weekends = append(weekends, v.span(s))
			days += s.To.Sub(s.From) + 1
		case "holiday":
			said = append(said, v.name(s.Name)+" "+v.span(s))
		case "make-up":
			said = append(said, fmt.Sprintf(v.pick("%s（%s）", "%s (for %s)"), v.span(s), v.name(s.Name)))
		}
	}
	switch {
	case len(weekends) > manyWeekends:
		said = append(said, fmt.Sprintf(v.pick("周末共%d日", "%d days of weekends"), days))
	case len(weekends) > 0:
		said = append(said, v.pick("周末 ", "weekend ")+strings.Join(weekends, v.pick("、", ", ")))
	}
	return strings.Join(said, v.pick("；", "; "))
}

func (v *voice) name(chinese string) string {
	if !v.english {
		return chinese
	}
	parts := strings.Split(chinese, "、")
	for i, p := range parts {
		if e, ok := english[p]; ok {
			parts[i] = e
		}
	}
	return strings.Join(parts, " and ")
}

func (v *voice) date(d Date) string {
	if v.english {
		return fmt.Sprintf("%s (%s)", d, d.Weekday())
	}
	weekday := []rune("日一二三四五六")[d.Weekday()]
	return fmt.Sprintf("%s（星期%c）", v.plain(d), weekday)
}

func (v *voice) plain(d Date) string {
	if v.english {
		return d.String()
	}
	y, m, dd := d.Date()
	return fmt.Sprintf("%d年%d月%d日", y, m, dd)
}

func (v *voice) moment(t time.Time) string {
	return v.date(DateOf(t)) + t.In(Shanghai).Format(" 15:04")
}

func (v *voice) span(s Skip) string {
	switch {
	case s.From == s.To:
		return v.plain(s.From)
	case v.english:
		return s.From.String() + " to " + s.To.String()
	case s.From.Year() == s.To.Year():
		return fmt.Sprintf("%s至%d月%d日", v.plain(s.From), s.To.Month(), s.To.Day())
	}
	return v.plain(s.From) + "至" + v.plain(s.To)
}
