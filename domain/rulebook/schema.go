package rulebook

// Schema describes the fields of the act as a JSON Schema (draft 2020-12) of
// an object, with titles and descriptions in a language. Conditions that a
// schema cannot state (required_if) stand in the descriptions; Check judges
// them.
func (a *Act) Schema(lang string) map[string]any {
	s := objectSchema(a.Fields, lang)
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = a.Title.In(lang)
	return s
}

func objectSchema(fields []Field, lang string) map[string]any {
	properties := make(map[string]any, len(fields))
	required := []string{}
	for i := range fields {
		f := &fields[i]
		properties[f.Name] = f.schema(lang)
		if f.Required {
			required = append(required, f.Name)
		}
	}
	return map[string]any{
		"type": "object", "properties": properties, "required": required, "additionalProperties": false,
	}
}

func (f *Field) schema(lang string) map[string]any {
	s := f.schemaOne(lang)
	if f.Many {
		s = map[string]any{"type": "array", "items": s}
		if f.Required {
			s["minItems"] = 1
		}
	}
	s["title"] = f.Title.In(lang)
	help := f.Help.In(lang)
	if f.RequiredIf != "" {
		if help != "" {
			help += " "
		}
		if lang == "en" {
			help += "Required if " + f.RequiredIf
		} else {
			help += "必填条件：" + f.RequiredIf
		}
	}
	if help != "" {
		s["description"] = help
	}
	return s
}

func (f *Field) schemaOne(lang string) map[string]any {
	switch f.kind {
	case kindInteger, kindMoney:
		s := map[string]any{"type": "integer", "format": "int64"}
		if f.Min != nil {
			s["minimum"] = *f.Min
		}
		if f.Max != nil {
			s["maximum"] = *f.Max
		}
		return s
	case kindNumber:
		return map[string]any{"type": "number"}
	case kindBoolean:
		return map[string]any{"type": "boolean"}
	case kindDate:
		return map[string]any{"type": "string", "format": "date"}
	case kindTime:
		return map[string]any{"type": "string", "format": "date-time"}
	case kindUSCC:
		return map[string]any{"type": "string", "minLength": 18, "maxLength": 18}
	case kindRecord:
		return objectSchema(f.record.fields, lang)
	case kindCode:
		values := make([]map[string]any, len(f.codes.Codes))
		for i, c := range f.codes.Codes {
			values[i] = map[string]any{"const": c.Code, "title": c.Title.In(lang)}
		}
		return map[string]any{"type": "string", "oneOf": values}
	default:
		return map[string]any{"type": "string"}
	}
}
