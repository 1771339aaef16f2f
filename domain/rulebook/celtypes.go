package rulebook

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"liuhen/domain/calendar"
)

// An objectType is a type of ours as CEL sees it: named fields, each with a
// CEL type and a way to read it. Values are read where they lie; nothing is
// copied into maps or messages before an expression asks for it.
type objectType struct {
	name   string
	cel    *cel.Type
	order  []string
	fields map[string]*types.FieldType
	source map[string]*Field // where the field is one of a law file
	acts   []*Act            // where it is the type of one of some acts
}

func newObjectType(name string) *objectType {
	return &objectType{
		name: name, cel: cel.ObjectType(name),
		fields: make(map[string]*types.FieldType), source: make(map[string]*Field),
	}
}

// attribute adds a field that every value of the type has.
func (t *objectType) attribute(name string, typ *cel.Type, get func(any) ref.Val) {
	t.order = append(t.order, name)
	t.fields[name] = &types.FieldType{
		Type:    typ,
		IsSet:   func(v any) bool { return !isZero(get(v)) },
		GetFrom: func(v any) (any, error) { return get(v), nil },
	}
}

// recorded adds a field of a law file; values are what Check returned.
func (t *objectType) recorded(f *Field) {
	typ, zero, convert := f.cel()
	name := f.Name
	t.order = append(t.order, name)
	t.source[name] = f
	t.fields[name] = &types.FieldType{
		Type: typ,
		IsSet: func(v any) bool {
			x, ok := v.(recorder).recorded(name)
			return ok && x != nil
		},
		GetFrom: func(v any) (any, error) {
			x, ok := v.(recorder).recorded(name)
			if !ok || x == nil {
				return zero, nil
			}
			out, err := convert(x)
			if err != nil {
				return nil, fmt.Errorf("field %s: %w", name, err)
			}
			return out, nil
		},
	}
}

// A recorder has fields as they were recorded.
type recorder interface {
	recorded(name string) (any, bool)
}

func isZero(v ref.Val) bool {
	switch v := v.(type) {
	case types.String:
		return v == ""
	case types.Int:
		return v == 0
	case types.Bool:
		return !bool(v)
	case types.Timestamp:
		return v.IsZero()
	case interface{ Size() ref.Val }:
		return v.Size() == types.IntZero
	}
	return false
}

// object is what our CEL values have in common. Embedding it leaves the
// fields, the name and Value to the type.
type object struct{ typ *objectType }

func (o object) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("a %s cannot become a %s", o.typ.name, t)
}

func (o object) ConvertToType(t ref.Type) ref.Val {
	if t == types.TypeType {
		return o.typ.cel
	}
	return types.NewErr("a %s cannot become a %s", o.typ.name, t.TypeName())
}

func (o object) Type() ref.Type { return o.typ.cel }

func (o object) get(self any, index ref.Val) ref.Val {
	name, ok := index.(types.String)
	f := o.typ.fields[string(name)]
	if !ok || f == nil {
		return types.NewErr("a %s has no field %v", o.typ.name, index)
	}
	v, err := f.GetFrom(self)
	if err != nil {
		return types.WrapErr(err)
	}
	return v.(ref.Val)
}

func (o object) isSet(self any, field ref.Val) ref.Val {
	name, ok := field.(types.String)
	f := o.typ.fields[string(name)]
	if !ok || f == nil {
		return types.NewErr("a %s has no field %v", o.typ.name, field)
	}
	return types.Bool(f.IsSet(self))
}

// stepValue is an act of the case. step is nil for an optional binding that
// found none: all of it then reads as zero.
type stepValue struct {
	object
	step *Step
	act  *Act // nil for an act that an open procedure does not list

	day      string  // made when first asked for
	officers ref.Val // likewise
}

func (v *stepValue) Value() any                  { return v }
func (v *stepValue) Get(i ref.Val) ref.Val       { return v.get(v, i) }
func (v *stepValue) IsSet(f ref.Val) ref.Val     { return v.isSet(v, f) }
func (v *stepValue) Equal(other ref.Val) ref.Val { return same(v, other) }
func (v *stepValue) recorded(name string) (any, bool) {
	if v.step == nil {
		return nil, false
	}
	x, ok := v.step.Fields[name]
	return x, ok
}

func same[T comparable](v T, other ref.Val) ref.Val {
	o, ok := other.Value().(T)
	return types.Bool(ok && o == v)
}

// recordValue is one value of a record type.
type recordValue struct {
	object
	fields map[string]any
}

func (v *recordValue) Value() any              { return v }
func (v *recordValue) Get(i ref.Val) ref.Val   { return v.get(v, i) }
func (v *recordValue) IsSet(f ref.Val) ref.Val { return v.isSet(v, f) }
func (v *recordValue) Equal(other ref.Val) ref.Val {
	o, ok := other.Value().(*recordValue)
	return types.Bool(ok && reflect.DeepEqual(o.fields, v.fields))
}
func (v *recordValue) recorded(name string) (any, bool) { x, ok := v.fields[name]; return x, ok }

type officerValue struct {
	object
	o *Officer
}

func (v *officerValue) Value() any              { return v }
func (v *officerValue) Get(i ref.Val) ref.Val   { return v.get(v, i) }
func (v *officerValue) IsSet(f ref.Val) ref.Val { return v.isSet(v, f) }
func (v *officerValue) Equal(other ref.Val) ref.Val {
	o, ok := other.Value().(*officerValue)
	return types.Bool(ok && *o.o == *v.o)
}

type referenceValue struct {
	object
	r *Reference
}

func (v *referenceValue) Value() any              { return v }
func (v *referenceValue) Get(i ref.Val) ref.Val   { return v.get(v, i) }
func (v *referenceValue) IsSet(f ref.Val) ref.Val { return v.isSet(v, f) }
func (v *referenceValue) Equal(other ref.Val) ref.Val {
	o, ok := other.Value().(*referenceValue)
	return types.Bool(ok && *o.r == *v.r)
}

// caseValue is the case as it stood before the act.
type caseValue struct {
	object
	j *judging
}

func (v *caseValue) Value() any                  { return v }
func (v *caseValue) Get(i ref.Val) ref.Val       { return v.get(v, i) }
func (v *caseValue) IsSet(f ref.Val) ref.Val     { return v.isSet(v, f) }
func (v *caseValue) Equal(other ref.Val) ref.Val { return same(v, other) }

// paramValues is the parameters with the values in force.
type paramValues struct {
	object
	values []ref.Val
	limits []calendar.Limit // where the parameter is a limit
	types  []string
	names  map[string]int
}

func (v *paramValues) Value() any                  { return v }
func (v *paramValues) Get(i ref.Val) ref.Val       { return v.get(v, i) }
func (v *paramValues) IsSet(f ref.Val) ref.Val     { return v.isSet(v, f) }
func (v *paramValues) Equal(other ref.Val) ref.Val { return same(v, other) }

// Types that are the same in every book.
var (
	officerType   = newOfficerType()
	referenceType = newReferenceType()
	caseType      = newCaseType()
	listAdapter   = types.DefaultTypeAdapter
	noList        = types.NewRefValList(listAdapter, nil)
	zeroTime      = types.Timestamp{}
)

func newOfficerType() *objectType {
	t := newObjectType("Officer")
	text := func(name string, get func(*Officer) string) {
		t.attribute(name, cel.StringType, func(v any) ref.Val { return types.String(get(v.(*officerValue).o)) })
	}
	text("id", func(o *Officer) string { return o.ID })
	text("name", func(o *Officer) string { return o.Name })
	text("certificate", func(o *Officer) string { return o.Certificate })
	text("valid_from", func(o *Officer) string { return dayText(o.ValidFrom) })
	text("valid_to", func(o *Officer) string { return dayText(o.ValidTo) })
	text("field", func(o *Officer) string { return o.Field })
	text("area", func(o *Officer) string { return o.Area })
	return t
}

func newReferenceType() *objectType {
	t := newObjectType("Reference")
	text := func(name string, get func(*Reference) string) {
		t.attribute(name, cel.StringType, func(v any) ref.Val { return types.String(get(v.(*referenceValue).r)) })
	}
	text("kind", func(r *Reference) string { return r.Kind })
	text("title", func(r *Reference) string { return r.Title })
	text("digest", func(r *Reference) string { return r.Digest })
	text("number", func(r *Reference) string { return r.Number })
	return t
}

func newCaseType() *objectType {
	t := newObjectType("Case")
	text := func(name string, get func(*judging) string) {
		t.attribute(name, cel.StringType, func(v any) ref.Val { return types.String(get(v.(*caseValue).j)) })
	}
	text("id", func(j *judging) string { return j.h.Case })
	text("opened", func(j *judging) string { return dayText(j.opened()) })
	text("stage", func(j *judging) string { return j.h.Stage })
	text("agency", func(j *judging) string { return j.h.Agency })
	text("area", func(j *judging) string { return j.h.Area })
	return t
}

func dayText(d calendar.Date) string {
	var buf [10]byte
	text, _ := d.AppendText(buf[:0]) // never fails
	return string(text)
}

// attributes adds what every act has, whatever its fields.
func (t *objectType) attributes() {
	text := func(name string, get func(*stepValue) string) {
		t.attribute(name, cel.StringType, func(v any) ref.Val {
			s := v.(*stepValue)
			if s.step == nil {
				return types.String("")
			}
			return types.String(get(s))
		})
	}
	instant := func(name string, get func(*Step) time.Time) {
		t.attribute(name, cel.TimestampType, func(v any) ref.Val {
			s := v.(*stepValue)
			if s.step == nil {
				return zeroTime
			}
			return types.Timestamp{Time: get(s.step)}
		})
	}
	boolean := func(name string, get func(*Step) bool) {
		t.attribute(name, cel.BoolType, func(v any) ref.Val {
			s := v.(*stepValue)
			return types.Bool(s.step != nil && get(s.step))
		})
	}
	references := func(name string, get func(*Step) []Reference) {
		t.attribute(name, cel.ListType(referenceType.cel), func(v any) ref.Val {
			s := v.(*stepValue)
			if s.step == nil {
				return noList
			}
			refs := get(s.step)
			if len(refs) == 0 {
				return noList
			}
			vals := make([]ref.Val, len(refs))
			for i := range refs {
				vals[i] = &referenceValue{object{referenceType}, &refs[i]}
			}
			return types.NewRefValList(listAdapter, vals)
		})
	}
	text("name", func(s *stepValue) string { return s.step.Act })
	text("id", func(s *stepValue) string { return s.step.Event })
	text("day", func(s *stepValue) string {
		if s.day == "" {
			s.day = dayText(calendar.DateOf(s.step.At))
		}
		return s.day
	})
	text("actor", func(s *stepValue) string { return s.step.Actor })
	text("role", func(s *stepValue) string { return s.step.Role })
	text("late_reason", func(s *stepValue) string { return s.step.LateReason })
	instant("at", func(s *Step) time.Time { return s.At })
	instant("recorded", func(s *Step) time.Time { return s.Recorded })
	boolean("already_done", func(s *Step) bool { return s.AlreadyDone })
	boolean("imported", func(s *Step) bool { return s.Imported })
	t.attribute("needs_officers", cel.IntType, func(v any) ref.Val {
		if a := v.(*stepValue).act; a != nil {
			return types.Int(a.Officers)
		}
		return types.IntZero
	})
	t.attribute("officers", cel.ListType(officerType.cel), func(v any) ref.Val {
		s := v.(*stepValue)
		if s.step == nil || len(s.step.Officers) == 0 {
			return noList
		}
		if s.officers == nil {
			vals := make([]ref.Val, len(s.step.Officers))
			for i := range s.step.Officers {
				vals[i] = &officerValue{object{officerType}, &s.step.Officers[i]}
			}
			s.officers = types.NewRefValList(listAdapter, vals)
		}
		return s.officers
	})
	references("documents", func(s *Step) []Reference { return s.Documents })
	references("evidence", func(s *Step) []Reference { return s.Evidence })
}

// cel returns the CEL type of a field, what an absent one reads as, and how a
// recorded value becomes a CEL value. Whole numbers may come as int64,
// float64, int or json.Number: a record that was read back from its JSON does
// not tell them apart.
func (f *Field) cel() (*cel.Type, ref.Val, func(any) (ref.Val, error)) {
	typ, zero, convert := f.celOne()
	if !f.Many {
		return typ, zero, convert
	}
	return cel.ListType(typ), noList, func(v any) (ref.Val, error) {
		items, ok := v.([]any)
		if !ok {
			return nil, fmt.Errorf("recorded as %T, not as a list", v)
		}
		vals := make([]ref.Val, len(items))
		for i, item := range items {
			val, err := convert(item)
			if err != nil {
				return nil, err
			}
			vals[i] = val
		}
		return types.NewRefValList(listAdapter, vals), nil
	}
}

func (f *Field) celOne() (*cel.Type, ref.Val, func(any) (ref.Val, error)) {
	switch f.kind {
	case kindInteger, kindMoney:
		return cel.IntType, types.IntZero, func(v any) (ref.Val, error) {
			i, ok := whole(v)
			if !ok {
				return nil, fmt.Errorf("recorded as %T, not as a whole number", v)
			}
			return types.Int(i), nil
		}
	case kindNumber:
		return cel.DoubleType, types.Double(0), func(v any) (ref.Val, error) {
			switch n := v.(type) {
			case float64:
				return types.Double(n), nil
			case json.Number:
				x, err := n.Float64()
				return types.Double(x), err
			}
			i, ok := whole(v)
			if !ok {
				return nil, fmt.Errorf("recorded as %T, not as a number", v)
			}
			return types.Double(i), nil
		}
	case kindBoolean:
		return cel.BoolType, types.False, func(v any) (ref.Val, error) {
			b, ok := v.(bool)
			if !ok {
				return nil, fmt.Errorf("recorded as %T, not as true or false", v)
			}
			return types.Bool(b), nil
		}
	case kindTime:
		return cel.TimestampType, zeroTime, func(v any) (ref.Val, error) {
			s, _ := v.(string)
			t, err := time.Parse(time.RFC3339Nano, s)
			if err != nil {
				return nil, fmt.Errorf("recorded as %v, not as a time", v)
			}
			return types.Timestamp{Time: t}, nil
		}
	case kindRecord:
		t := f.record.object
		return t.cel, &recordValue{object: object{t}}, func(v any) (ref.Val, error) {
			m, ok := v.(map[string]any)
			if !ok {
				return nil, fmt.Errorf("recorded as %T, not as a record", v)
			}
			return &recordValue{object{t}, m}, nil
		}
	default: // every other kind is kept as text
		return cel.StringType, types.String(""), func(v any) (ref.Val, error) {
			s, ok := v.(string)
			if !ok {
				return nil, fmt.Errorf("recorded as %T, not as text", v)
			}
			return types.String(s), nil
		}
	}
}

// whole reads a whole number as Check, encoding/json or a hand wrote it.
func whole(v any) (int64, bool) {
	switch n := v.(type) {
	case int64:
		return n, true
	case int:
		return int64(n), true
	case float64:
		return int64(n), n == float64(int64(n))
	case json.Number:
		i, err := n.Int64()
		return i, err == nil
	}
	return 0, false
}

// typeProvider tells CEL of our object types and leaves the rest to the
// standard one.
type typeProvider struct {
	types.Provider
	mu      sync.RWMutex // guards objects: more are added while others are asked for
	objects map[string]*objectType
}

// object is nil where there is no such type.
func (p *typeProvider) object(name string) *objectType {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.objects[name]
}

func (p *typeProvider) add(t *objectType) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.objects[t.name] = t
}

func (p *typeProvider) FindStructType(name string) (*types.Type, bool) {
	if t := p.object(name); t != nil {
		return types.NewTypeTypeWithParam(t.cel), true
	}
	return nil, false
}

func (p *typeProvider) FindStructFieldNames(name string) ([]string, bool) {
	if t := p.object(name); t != nil {
		return t.order, true
	}
	return nil, false
}

func (p *typeProvider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	if t := p.object(name); t != nil {
		f, ok := t.fields[field]
		return f, ok
	}
	return nil, false
}

func (p *typeProvider) NewValue(name string, _ map[string]ref.Val) ref.Val {
	return types.NewErr("a %s cannot be made in an expression", name)
}
