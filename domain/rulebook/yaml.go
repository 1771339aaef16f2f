package rulebook

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"

	"liuhen/domain/calendar"
	"liuhen/domain/yamlfile"
)

// bounds on one law file. The largest national text is well under a tenth of
// them.
var bounds = yamlfile.Bounds{Bytes: 2 << 20, Line: 20_000, Brackets: 500, Depth: 40}

// A pos is a place in a law file, counted from 1.
type pos struct {
	file      string
	line, col int
}

func (p pos) String() string { return fmt.Sprintf("%s:%d", p.file, p.line) }

// A reader decodes one YAML file by hand, so that every complaint has its
// place and says what was expected, and so that one mistake does not hide the
// next. procedure and rule name where the reader is; they go into its errors.
type reader struct {
	file      string
	source    string
	procedure string
	rule      string
	agency    bool // not one of the program's own files
	own       bool // one that an agency has put in force, see Book.With
	errs      *Errors
}

func (r *reader) failAt(at pos, format string, args ...any) {
	*r.errs = append(*r.errs, Error{
		File: at.file, Line: at.line, Column: at.col,
		Procedure: r.procedure, Rule: r.rule, Message: fmt.Sprintf(format, args...),
	})
}

func (r *reader) fail(n ast.Node, format string, args ...any) {
	r.failAt(r.at(n), format, args...)
}

// at is where a node begins; for a mapping that is its first key.
func (r *reader) at(n ast.Node) pos { return r.pos(yamlfile.At(n)) }

func (r *reader) pos(p yamlfile.Place) pos { return pos{r.file, p.Line, p.Column} }

// parse reads the one document of the file; nil for an empty one, and after a
// mistake. It never panics, whatever the bytes.
func (r *reader) parse(data []byte) ast.Node {
	root, wrong := yamlfile.Parse(data, bounds)
	if wrong != nil {
		r.failAt(r.pos(wrong.Place), "%s", wrong.Message)
	}
	r.source = string(data)
	return root
}

func scalar(n ast.Node) (string, bool) { return yamlfile.Scalar(n) }

func isNull(n ast.Node) bool { return yamlfile.IsNull(n) }

// entry is one key of a mapping with its value.
type entry struct {
	key   string
	at    pos
	value ast.Node
}

// entries returns the keys of a mapping in the order written. what names the
// mapping in an error.
func (r *reader) entries(n ast.Node, what string) []entry {
	if isNull(n) {
		return nil
	}
	m, ok := n.(ast.MapNode)
	if !ok {
		r.fail(n, "%s: expected keys and values, found %s", what, describe(n))
		return nil
	}
	var out []entry
	seen := make(map[string]bool)
	for it := m.MapRange(); it.Next(); {
		key, _ := scalar(it.Key())
		e := entry{key: key, at: r.pos(yamlfile.AtToken(it.Key().GetToken())), value: it.Value()}
		if seen[key] {
			r.failAt(e.at, "%s: %q stands twice", what, key)
			continue
		}
		seen[key] = true
		out = append(out, e)
	}
	return out
}

// keys decodes a mapping whose keys are known. An unknown key is an error that
// lists the known ones. It returns which keys were there.
func (r *reader) keys(n ast.Node, what string, known map[string]func(ast.Node)) map[string]pos {
	seen := make(map[string]pos)
	for _, e := range r.entries(n, what) {
		decode, ok := known[e.key]
		if !ok {
			r.failAt(e.at, "%s: unknown key %q, expected one of %s", what, e.key, list(keysOf(known)))
			continue
		}
		seen[e.key] = e.at
		decode(e.value)
	}
	return seen
}

func keysOf[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

func list(names []string) string {
	if len(names) == 0 {
		return "(none)"
	}
	return strings.Join(names, ", ")
}

func describe(n ast.Node) string {
	switch n := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "nothing"
	default:
		s, _ := scalar(n)
		return strconv.Quote(clip(s))
	}
}

func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

func (r *reader) items(n ast.Node) []ast.Node {
	if s, ok := n.(*ast.SequenceNode); ok {
		return s.Values
	}
	if isNull(n) {
		return nil
	}
	return []ast.Node{n}
}

func (r *reader) text(into *string, what string) func(ast.Node) {
	return func(n ast.Node) {
		s, ok := scalar(n)
		if !ok {
			r.fail(n, "%s: expected text, found %s", what, describe(n))
			return
		}
		*into = strings.TrimSpace(s)
	}
}

// word reads a name: of an act, a stage, a field.
func (r *reader) word(n ast.Node, what string) (string, bool) {
	s, ok := scalar(n)
	if !ok || strings.TrimSpace(s) == "" {
		r.fail(n, "%s: expected a name, found %s", what, describe(n))
		return "", false
	}
	return strings.TrimSpace(s), true
}

// words reads one name or a list of them.
func (r *reader) words(into *[]string, what string) func(ast.Node) {
	return func(n ast.Node) {
		for _, item := range r.items(n) {
			if w, ok := r.word(item, what); ok {
				*into = append(*into, w)
			}
		}
	}
}

func (r *reader) boolean(into *bool, what string) func(ast.Node) {
	return func(n ast.Node) {
		b, ok := n.(*ast.BoolNode)
		if !ok {
			r.fail(n, "%s: expected true or false, found %s", what, describe(n))
			return
		}
		*into = b.Value
	}
}

func (r *reader) integer(into *int64, what string) func(ast.Node) {
	return func(n ast.Node) {
		s, _ := scalar(n)
		i, err := strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 10, 64)
		if err != nil {
			r.fail(n, "%s: expected a whole number, found %s", what, describe(n))
			return
		}
		*into = i
	}
}

// both reads a text in both languages. A plain text stands for both.
func (r *reader) both(into *Text, what string) func(ast.Node) {
	return func(n ast.Node) {
		if s, ok := scalar(n); ok && s != "" {
			*into = Text{ZH: s, EN: s}
			return
		}
		r.keys(n, what, map[string]func(ast.Node){
			"zh": r.text(&into.ZH, what+".zh"),
			"en": r.text(&into.EN, what+".en"),
		})
		if into.ZH == "" && into.EN == "" {
			r.fail(n, "%s: expected {zh: …, en: …}", what)
		}
	}
}

func (r *reader) date(into *calendar.Date, what string) func(ast.Node) {
	return func(n ast.Node) {
		s, _ := scalar(n)
		if s == "" {
			return
		}
		d, err := calendar.ParseDate(s)
		if err != nil {
			r.fail(n, "%s: expected a day such as 2021-07-15, found %s", what, describe(n))
			return
		}
		*into = d
	}
}

// oneOf reads a word out of a closed list.
func oneOf[T ~string](r *reader, into *T, what string, allowed ...T) func(ast.Node) {
	return func(n ast.Node) {
		s, _ := scalar(n)
		if !slices.Contains(allowed, T(s)) {
			names := make([]string, len(allowed))
			for i, a := range allowed {
				names[i] = string(a)
			}
			r.fail(n, "%s: expected one of %s, found %s", what, list(names), describe(n))
			return
		}
		*into = T(s)
	}
}

// inside is the place in the file of a character of a scalar. The scalar may
// be plain, quoted, or a folded block, so the characters other than white
// space are followed through the source one by one. line and col count from 1
// within value; col counts characters.
func (r *reader) inside(n ast.Node, value string, line, col int) pos {
	at := r.pos(yamlfile.AtToken(n.GetToken()))
	src := []rune(r.source[r.offset(at):])
	want := []rune(value)

	// Where in value the wanted character is.
	target, l, c := 0, 1, 1
	for target < len(want) && (l < line || l == line && c < col) {
		if want[target] == '\n' {
			l, c = l+1, 1
		} else {
			c++
		}
		target++
	}

	// Walk the source until it shows that character.
	step := func() {
		if src[0] == '\n' {
			at.line, at.col = at.line+1, 1
		} else {
			at.col++
		}
		src = src[1:]
	}
	if len(src) > 0 && (src[0] == '"' || src[0] == '\'') {
		step()
	}
	if _, block := n.(*ast.LiteralNode); block {
		for len(src) > 0 && src[0] != '\n' {
			step()
		}
	}
	for i := 0; i < len(want); i++ {
		if isSpace(want[i]) {
			continue
		}
		for len(src) > 0 && src[0] != want[i] {
			step()
		}
		if i >= target || len(src) == 0 {
			break
		}
		step()
	}
	return at
}

func isSpace(c rune) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// offset is the byte offset of a place in the source.
func (r *reader) offset(at pos) int {
	i := 0
	for line := 1; line < at.line; line++ {
		n := strings.IndexByte(r.source[i:], '\n')
		if n < 0 {
			return len(r.source)
		}
		i += n + 1
	}
	for col := 1; col < at.col && i < len(r.source) && r.source[i] != '\n'; col++ {
		_, size := utf8.DecodeRuneInString(r.source[i:])
		i += size
	}
	return i
}
