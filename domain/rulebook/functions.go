package rulebook

import (
	"strings"
	"time"
	"unicode"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"golang.org/x/text/unicode/norm"

	"liuhen/domain/calendar"
	"liuhen/domain/identifier"
)

// functions are what the law format offers beside CEL's own. All are pure.
func functions(cal *calendar.Calendar, shared *catalogue) []cel.EnvOption {
	str, num, ts := cel.StringType, cel.IntType, cel.TimestampType

	// counted makes a function of a day and a limit.
	counted := func(name string, count func(calendar.Date, calendar.Limit) calendar.Date) cel.EnvOption {
		return cel.Function(name, cel.Overload(name+"_day_limit", []*cel.Type{str, str}, str,
			cel.BinaryBinding(func(day, limit ref.Val) ref.Val {
				d, err := calendar.ParseDate(string(day.(types.String)))
				if err != nil {
					return types.WrapErr(err)
				}
				l, err := calendar.ParseLimit(string(limit.(types.String)))
				if err != nil {
					return types.WrapErr(err)
				}
				if l.Kind == calendar.Hours {
					return types.NewErr("%s counts days, not %s", name, l)
				}
				return types.String(count(d, l).String())
			})))
	}
	// between makes a function of two days.
	between := func(name string, count func(from, to calendar.Date) int) cel.EnvOption {
		return cel.Function(name, cel.Overload(name+"_day_day", []*cel.Type{str, str}, num,
			cel.BinaryBinding(func(a, b ref.Val) ref.Val {
				from, err := calendar.ParseDate(string(a.(types.String)))
				if err != nil {
					return types.WrapErr(err)
				}
				to, err := calendar.ParseDate(string(b.(types.String)))
				if err != nil {
					return types.WrapErr(err)
				}
				return types.Int(count(from, to))
			})))
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
		counted("due", func(d calendar.Date, l calendar.Limit) calendar.Date {
			return cal.Due(calendar.Count{Start: d, Limit: l, Roll: true}).On
		}),
		counted("due_unrolled", func(d calendar.Date, l calendar.Limit) calendar.Date {
			return cal.Due(calendar.Count{Start: d, Limit: l}).On
		}),
		counted("latest", func(d calendar.Date, l calendar.Limit) calendar.Date { return cal.Latest(d, l).On }),
		between("days_between", func(from, to calendar.Date) int { return to.Sub(from) }),
		between("workdays_between", func(from, to calendar.Date) int { return cal.Workdays(from, to) }),
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
