package rulebook

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"
	"unicode"

	"cel.dev/cel-go/cel"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"golang.org/x/text/unicode/norm"

	"liuhen/domain/calendar"
	"liuhen/domain/identifier"
)

// calendarVariable is a variable that no expression can name: functions that
// count working days get it as a further argument, so that the calendar comes in
// with what an act is judged by and not with the law.
const calendarVariable = "_calendar"

var calendarType = newObjectType("Calendar")

// calendarValue is a calendar as expressions pass it on.
type calendarValue struct {
	object
	*calendar.Calendar
}

func newCalendarValue(c *calendar.Calendar) *calendarValue {
	return &calendarValue{object{calendarType}, c}
}

func (v *calendarValue) Value() any                  { return v }
func (v *calendarValue) Equal(other ref.Val) ref.Val { return same(v, other) }

// byCalendar adds the calendar to the calls of functions, given with the number of
// their other arguments.
func byCalendar(functions map[string]int) cel.EnvOption {
	var macros []cel.Macro
	for name, n := range functions {
		macros = append(macros, cel.GlobalMacro(name, n, func(f cel.MacroExprFactory, _ celast.Expr, args []celast.Expr) (celast.Expr, *cel.Error) {
			return f.NewCall(name, append(args, f.NewIdent(calendarVariable))...), nil
		}))
	}
	return cel.Macros(macros...)
}

// functions are what the law format offers beside CEL's own. All are pure.
func functions(shared *catalogue) []cel.EnvOption {
	str, num, ts := cel.StringType, cel.IntType, cel.TimestampType

	// counted makes a function of a day and a limit, by the calendar in force.
	counted := func(name string, count func(*calendar.Calendar, calendar.Date, calendar.Limit) calendar.Date) cel.EnvOption {
		return cel.Function(name, cel.Overload(name+"_day_limit", []*cel.Type{str, str, calendarType.cel}, str,
			cel.FunctionBinding(func(args ...ref.Val) ref.Val {
				d, err := calendar.ParseDate(string(args[0].(types.String)))
				if err != nil {
					return types.WrapErr(err)
				}
				l, err := calendar.ParseLimit(string(args[1].(types.String)))
				if err != nil {
					return types.WrapErr(err)
				}
				if l.Kind == calendar.Hours {
					return types.NewErr("%s counts days, not %s", name, l)
				}
				return types.String(count(args[2].(*calendarValue).Calendar, d, l).String())
			})))
	}
	twoDays := func(args []ref.Val, count func(from, to calendar.Date) int) ref.Val {
		from, err := calendar.ParseDate(string(args[0].(types.String)))
		if err != nil {
			return types.WrapErr(err)
		}
		to, err := calendar.ParseDate(string(args[1].(types.String)))
		if err != nil {
			return types.WrapErr(err)
		}
		return types.Int(count(from, to))
	}
	// between makes a function of two days.
	between := func(name string, count func(from, to calendar.Date) int) cel.EnvOption {
		return cel.Function(name, cel.Overload(name+"_day_day", []*cel.Type{str, str}, num,
			cel.BinaryBinding(func(a, b ref.Val) ref.Val { return twoDays([]ref.Val{a, b}, count) })))
	}
	valid := func(name string, ok func(string) bool) cel.EnvOption {
		return cel.Function(name, cel.Overload(name+"_string", []*cel.Type{str}, cel.BoolType,
			cel.UnaryBinding(func(s ref.Val) ref.Val { return types.Bool(ok(string(s.(types.String)))) })))
	}

	options := []cel.EnvOption{
		cel.Function("day", cel.Overload("day_timestamp", []*cel.Type{ts}, str,
			cel.UnaryBinding(func(t ref.Val) ref.Val {
				return types.String(dayText(calendar.DateOf(t.(types.Timestamp).Time)))
			}))),
		byCalendar(map[string]int{"due": 2, "due_unrolled": 2, "latest": 2, "workdays_between": 2, "notice_problem": 3}),
		noticeProblem(),
		counted("due", func(cal *calendar.Calendar, d calendar.Date, l calendar.Limit) calendar.Date {
			return cal.Due(calendar.Count{Start: d, Limit: l, Roll: true}).On
		}),
		counted("due_unrolled", func(cal *calendar.Calendar, d calendar.Date, l calendar.Limit) calendar.Date {
			return cal.Due(calendar.Count{Start: d, Limit: l}).On
		}),
		counted("latest", func(cal *calendar.Calendar, d calendar.Date, l calendar.Limit) calendar.Date {
			return cal.Latest(d, l).On
		}),
		between("days_between", func(from, to calendar.Date) int { return to.Sub(from) }),
		cel.Function("workdays_between", cel.Overload("workdays_between_day_day", []*cel.Type{str, str, calendarType.cel}, num,
			cel.FunctionBinding(func(args ...ref.Val) ref.Val { return twoDays(args, args[2].(*calendarValue).Workdays) }))),
		between("years_between", fullYears),
		cel.Function("hours_between", cel.Overload("hours_between_timestamps", []*cel.Type{ts, ts}, cel.DoubleType,
			cel.BinaryBinding(func(a, b ref.Val) ref.Val {
				from, to := a.(types.Timestamp).Time, b.(types.Timestamp).Time
				return types.Double(float64(to.Sub(from)) / float64(time.Hour))
			}))),
		valid("valid_uscc", func(s string) bool { return identifier.CheckUSCC(s) == nil }),
		valid("valid_id_number", func(s string) bool { return identifier.CheckID(s) == nil }),
		cel.Function("normal", cel.Overload("normal_string", []*cel.Type{str}, str,
			cel.UnaryBinding(func(s ref.Val) ref.Val { return types.String(normal(string(s.(types.String)))) }))),
		cel.Function("digest", cel.Overload("digest_string", []*cel.Type{str}, str,
			cel.UnaryBinding(func(s ref.Val) ref.Val {
				return types.String(fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(s.(types.String)))))
			}))),
		cel.Function("parameter_kind", cel.Overload("parameter_kind_string", []*cel.Type{str}, str,
			cel.UnaryBinding(func(s ref.Val) ref.Val { return shared.parameterKind(string(s.(types.String))) }))),

		cel.Function("has", caseMethod("case_has", cel.BoolType, func(c *caseValue, name string) ref.Val {
			return types.Bool(c.j.countActs(name) > 0)
		})),
		cel.Function("count", caseMethod("case_count", num, func(c *caseValue, name string) ref.Val {
			return types.Int(c.j.countActs(name))
		})),
		cel.Function("officers", caseMethod("case_officers", cel.ListType(str), func(c *caseValue, name string) ref.Val {
			return types.NewStringList(listAdapter, c.j.officersOf(name))
		})),
	}
	return append(options, folds()...)
}

func caseMethod(id string, result *cel.Type, f func(*caseValue, string) ref.Val) cel.FunctionOpt {
	return cel.MemberOverload(id, []*cel.Type{caseType.cel, cel.StringType}, result,
		cel.BinaryBinding(func(c, name ref.Val) ref.Val { return f(c.(*caseValue), string(name.(types.String))) }))
}

// folds are sum, max and min of a list; of an empty one they are zero or "".
// max and min of texts serve days.
func folds() []cel.EnvOption {
	fold := func(name, id string, of *cel.Type, zero ref.Val, f func(a, b ref.Val) ref.Val) cel.FunctionOpt {
		return cel.Overload(name+"_"+id, []*cel.Type{cel.ListType(of)}, of, cel.UnaryBinding(func(l ref.Val) ref.Val {
			acc := zero
			it := l.(traits.Lister).Iterator()
			for first := true; it.HasNext() == types.True; first = false {
				if v := it.Next(); first {
					acc = v
				} else {
					acc = f(acc, v)
				}
			}
			return acc
		}))
	}
	pick := func(want types.Int) func(a, b ref.Val) ref.Val {
		return func(a, b ref.Val) ref.Val {
			if a.(traits.Comparer).Compare(b) == want {
				return a
			}
			return b
		}
	}
	add := func(a, b ref.Val) ref.Val { return a.(traits.Adder).Add(b) }
	return []cel.EnvOption{
		cel.Function("sum", fold("sum", "ints", cel.IntType, types.IntZero, add), fold("sum", "doubles", cel.DoubleType, types.Double(0), add)),
		cel.Function("max", fold("max", "ints", cel.IntType, types.IntZero, pick(1)), fold("max", "texts", cel.StringType, types.String(""), pick(1))),
		cel.Function("min", fold("min", "ints", cel.IntType, types.IntZero, pick(-1)), fold("min", "texts", cel.StringType, types.String(""), pick(-1))),
	}
}

// fullYears counts birthdays: full years from one day to a later one. Who was
// born on 29 February is a year older on 1 March of a common year.
func fullYears(from, to calendar.Date) int {
	if to.Before(from) {
		return -fullYears(to, from)
	}
	fy, fm, fd := from.Date()
	ty, tm, td := to.Date()
	years := ty - fy
	if tm < fm || tm == fm && td < fd {
		years--
	}
	return years
}

// normal brings a name into the form in which two spellings of it are equal:
// compatibility forms folded (NFKC), every bracket round, no white space.
func normal(s string) string {
	s = norm.NFKC.String(s)
	return strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c):
			return -1
		case strings.ContainsRune("[〔【〖{", c):
			return '('
		case strings.ContainsRune("]〕】〗}", c):
			return ')'
		}
		return unicode.ToLower(c)
	}, s)
}
