package rulebook

import (
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"liuhen/domain/calendar"
)

// HolidaysOf reads the holidays of a notice from a field of the record type
// calendar-holiday: name, off_from, off_to (days), work (list of days).
func HolidaysOf(items []any) []calendar.Holiday {
	day := func(v any) calendar.Date {
		s, _ := v.(string)
		d, _ := calendar.ParseDate(s) // zero where there is none
		return d
	}
	holidays := make([]calendar.Holiday, 0, len(items))
	for _, item := range items {
		fields, _ := item.(map[string]any)
		name, _ := fields["name"].(string)
		h := calendar.Holiday{Name: name, Off: calendar.Span{From: day(fields["off_from"]), To: day(fields["off_to"])}}
		if h.Off.To.IsZero() {
			h.Off.To = h.Off.From
		}
		worked, _ := fields["work"].([]any)
		for _, w := range worked {
			h.Work = append(h.Work, day(w))
		}
		holidays = append(holidays, h)
	}
	return holidays
}

// noticeProblem is the CEL function notice_problem(year, title, holidays): what is
// wrong with a notice beside the calendar in force, "" for nothing.
func noticeProblem() cel.EnvOption {
	return cel.Function("notice_problem", cel.Overload("notice_problem_year_title_holidays",
		[]*cel.Type{cel.IntType, cel.StringType, cel.ListType(cel.DynType), calendarType.cel}, cel.StringType,
		cel.FunctionBinding(func(args ...ref.Val) ref.Val {
			var items []any
			for it := args[2].(traits.Lister).Iterator(); it.HasNext() == types.True; {
				r, ok := it.Next().(*recordValue)
				if !ok {
					return types.NewErr("notice_problem takes a list of records")
				}
				items = append(items, r.fields)
			}
			year := int64(args[0].(types.Int))
			n := calendar.Notice{Year: int(year), Title: string(args[1].(types.String)), Holidays: HolidaysOf(items)}
			if int64(n.Year) != year {
				return types.String(fmt.Sprintf("there is no year %d", year))
			}
			if _, err := args[3].(*calendarValue).With(n); err != nil {
				return types.String(err.Error())
			}
			return types.String("")
		})))
}
