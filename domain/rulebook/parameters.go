package rulebook

import (
	"maps"
	"slices"

	"cel.dev/cel-go/common/types"

	"liuhen/domain/calendar"
)

// Parameter returns a value that an agency may set, by its name.
func (b *Book) Parameter(name string) (Parameter, bool) {
	for _, p := range b.parameters {
		if p.Name == name {
			return *p, true
		}
	}
	return Parameter{}, false
}

// Applied returns those of an agency's values that an act is judged by: of the
// parameters that its rules look at, and of their type. They are frozen into
// the event, so that a replay, and the limits that the act begins, go by them.
func (p *Procedure) Applied(act string, values map[string]any) map[string]any {
	if len(values) == 0 {
		return nil
	}
	uses := p.anyAct
	if i := p.actIndex(act); i >= 0 {
		uses = p.judged[i]
	}
	applied := make(map[string]any)
	for _, u := range uses {
		for _, name := range u.rule.Parameters {
			if v, ok := values[name]; ok && p.params.takes(name, v) {
				applied[name] = v
			}
		}
	}
	if len(applied) == 0 {
		return nil
	}
	return applied
}

// takes reports whether a value is of a parameter's type.
func (v *paramValues) takes(name string, value any) bool {
	i, ok := v.names[name]
	if !ok {
		return false
	}
	switch v.types[i] {
	case "money", "integer":
		_, ok = whole(value)
	case "boolean":
		_, ok = value.(bool)
	case "limit":
		text, isText := value.(string)
		l, err := calendar.ParseLimit(text)
		ok = isText && err == nil && l.N > 0
	default:
		_, ok = value.(string)
	}
	return ok
}

// under is the parameters with the values that were frozen into an act.
func (v *paramValues) under(s *Step) *paramValues {
	if s == nil || len(s.Params) == 0 {
		return v
	}
	c := *v
	c.values, c.limits = slices.Clone(v.values), slices.Clone(v.limits)
	for _, name := range slices.Sorted(maps.Keys(s.Params)) {
		if !v.takes(name, s.Params[name]) {
			continue // the law has changed its type since
		}
		value := s.Params[name]
		if i, ok := whole(value); ok {
			value = i
		}
		c.set(c.names[name], value)
	}
	return &c
}

// parameterKind is the CEL function parameter_kind: what sort of value a parameter
// takes, "" where there is none of the name.
func (c *catalogue) parameterKind(name string) types.String {
	if p := c.params[name]; p != nil {
		return types.String(p.Type)
	}
	return ""
}
