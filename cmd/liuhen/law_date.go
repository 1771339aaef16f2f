package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"liuhen/domain/calendar"
)

func lawDateCommand(p *program) *cobra.Command {
	var q struct {
		before     bool
		noRoll     bool
		pauses     []string
		extensions []string
	}
	c := &cobra.Command{
		Use:   "date DAY LIMIT",
		Short: "计算期限届满日并说明算法 · Count a limit and say why",
		Long: `计算期限届满日并说明算法。
Count a limit from a day (which is not counted) and say how: which days were
passed over, what was extended, paused or rolled. Limits are written as
"7 working days", "90 days", "6 months", "2 years", "24 hours", or in Chinese:
7个工作日, 90日. For hours the start may have a time: "2022-09-28 16:00".
The last day passes to the next working day where it is a rest day (民事诉讼法
第八十五条) unless --no-roll says otherwise.`,
		Example: `  liuhen law date 2022-09-28 "7 working days"
  liuhen law date 2024-09-09 90日 --lang en
  liuhen law date 2025-10-20 "7 working days" --before       # latest day for a notice ahead
  liuhen law date 2025-01-10 "90 days" --pause 2025-02-10..2025-03-01 --extend "30 days"`,
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			start, at, err := dayOrMoment(args[0])
			if err != nil {
				return err
			}
			limit, err := calendar.ParseLimit(args[1])
			if err != nil {
				return usagef("%v", err)
			}
			count := calendar.Count{Start: start, At: at, Limit: limit, Roll: !q.noRoll}
			for _, text := range q.extensions {
				extension, err := calendar.ParseLimit(text)
				if err != nil {
					return usagef("--extend: %v", err)
				}
				count.Extensions = append(count.Extensions, extension)
			}
			for _, text := range q.pauses {
				pause, err := parsePause(text)
				if err != nil {
					return err
				}
				count.Pauses = append(count.Pauses, pause)
			}
			if q.before {
				if len(count.Pauses)+len(count.Extensions) > 0 {
					return usagef("--before counts backwards: it knows no --pause and no --extend")
				}
				return p.printDue(calendar.National().Latest(start, limit))
			}
			return p.printDue(calendar.National().Due(count))
		},
	}
	c.Flags().BoolVar(&q.before, "before", false, "count backwards: the latest day for what must be done so long before DAY")
	c.Flags().BoolVar(&q.noRoll, "no-roll", false, "a last day that is a rest day stays")
	c.Flags().StringArrayVar(&q.pauses, "pause", nil, "the clock stood still, FROM..TO, or FROM.. while it still does (repeat it)")
	c.Flags().StringArrayVar(&q.extensions, "extend", nil, "the limit was extended by this (repeat it)")
	return c
}

func (p *program) printDue(due calendar.Due) error {
	due = due.Explained()
	why := due.Why(p.config.Lang)
	if p.json {
		return p.printJSON(p.out, struct {
			calendar.Due
			Why []string `json:"why"`
		}{due, strings.Split(strings.TrimSpace(why), "\n")})
	}
	if !due.At.IsZero() {
		p.say("%s", "%s", p.moment(due.At))
	} else {
		p.say("%s", "%s", p.day(due.On))
	}
	p.say("%s", "%s", strings.TrimSpace(why))
	return nil
}

// dayOrMoment reads a day, or a time of which it also returns the day.
func dayOrMoment(text string) (calendar.Date, time.Time, error) {
	if d, err := calendar.ParseDate(text); err == nil {
		return d, time.Time{}, nil
	}
	t, err := moment(text)
	if err != nil || text == "" {
		return calendar.Date{}, time.Time{}, usagef("day %q: want 2022-09-28", text)
	}
	return calendar.DateOf(t), t, nil
}

func parsePause(text string) (calendar.Pause, error) {
	from, to, ok := strings.Cut(text, "..")
	if !ok {
		return calendar.Pause{}, usagef("--pause %s: want FROM..TO", text)
	}
	var pause calendar.Pause
	var err error
	if pause.From, err = calendar.ParseDate(from); err != nil {
		return calendar.Pause{}, usagef("--pause: %v", err)
	}
	if to != "" {
		if pause.To, err = calendar.ParseDate(to); err != nil {
			return calendar.Pause{}, usagef("--pause: %v", err)
		}
	}
	return pause, nil
}
