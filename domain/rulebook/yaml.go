package rulebook

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"liuhen/domain/calendar"
)

// Bounds on one law file. The largest national text is well under a tenth of
// them; they keep a hostile file from exhausting memory or stack.
const (
	maxFile  = 2 << 20 // bytes
	maxDepth = 40      // mappings and lists inside each other
	maxLine  = 20_000  // bytes in one line
)

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
func (r *reader) at(n ast.Node) pos {
	switch m := n.(type) {
	case nil:
		return pos{r.file, 1, 1}
	case *ast.MappingNode:
		if !m.IsFlowStyle && len(m.Values) > 0 {
			return r.at(m.Values[0])
		}
	case *ast.MappingValueNode:
		return r.at(m.Key)
	}
	return r.token(n.GetToken())
}

func (r *reader) token(t *token.Token) pos {
	if t == nil || t.Position == nil {
		return pos{r.file, 1, 1}
	}
	return pos{r.file, max(t.Position.Line, 1), max(t.Position.Column, 1)}
}

// parse reads the one document of the file. It never panics, whatever the
// bytes.
func (r *reader) parse(data []byte) (root ast.Node) {
	if len(data) > maxFile {
		r.failAt(pos{r.file, 1, 1}, "the file has %d bytes, the limit is %d", len(data), maxFile)
		return nil
	}
	if at, why := tooDeep(data); why != "" {
		r.failAt(pos{r.file, at, 1}, "%s", why)
		return nil
	}
	r.source = string(data)
	defer func() {
		if p := recover(); p != nil { // the parser is not ours; a bug of it is an unreadable file
			root = nil
			r.failAt(pos{r.file, 1, 1}, "the file cannot be read as YAML: %v", p)
		}
	}()
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var syntax interface {
			GetToken() *token.Token
			GetMessage() string
		}
		if errors.As(err, &syntax) {
			r.failAt(r.token(syntax.GetToken()), "YAML: %s", syntax.GetMessage())
		} else {
			r.failAt(pos{r.file, 1, 1}, "YAML: %v", err)
		}
		return nil
	}
	var bodies []ast.Node
	for _, doc := range file.Docs {
		if doc.Body != nil {
			bodies = append(bodies, doc.Body)
		}
	}
	switch len(bodies) {
	case 0:
		return nil
	case 1:
		if !r.plain(bodies[0], 0) {
			return nil
		}
		return bodies[0]
	}
	r.fail(bodies[1], "one document a file, found %d", len(bodies))
	return nil
}

// tooDeep looks at raw bytes for what would make a parser recurse without
// bound: brackets in brackets, and endless lines. It returns the line.
func tooDeep(data []byte) (int, string) {
	line, start, depth := 1, 0, 0
	for i, b := range data {
		switch b {
		case '\n':
			line, start = line+1, i+1
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(depth-1, 0)
		}
		if depth > 500 {
			return line, "too many open brackets"
		}
		if i-start > maxLine {
			return line, fmt.Sprintf("a line has more than %d bytes", maxLine)
		}
	}
	return 0, ""
}

// plain reports whether a node holds only mappings, lists and scalars: no
// anchors, aliases, tags or merge keys, which a lawyer would have to know.
func (r *reader) plain(n ast.Node, depth int) bool {
	if depth > maxDepth {
		r.fail(n, "more than %d levels deep", maxDepth)
		return false
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			if !r.plain(v, depth) {
				return false
			}
		}
		return true
	case *ast.MappingValueNode:
		if _, ok := scalar(n.Key); !ok {
			r.fail(n.Key, "a key must be a plain word")
			return false
		}
		return r.plain(n.Value, depth+1)
	case *ast.SequenceNode:
		for _, v := range n.Values {
			if !r.plain(v, depth+1) {
				return false
			}
		}
		return true
	case nil:
		return true
	}
	if _, ok := scalar(n); ok {
		return true
	}
	r.fail(n, "%s is not allowed here: write the value out", strings.ToLower(n.Type().String()))
	return false
}

// scalar returns the text of a scalar as it is written: 007 stays 007.
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	case *ast.NullNode:
		return "", true
	}
	return "", false
}

func isNull(n ast.Node) bool {
	_, null := n.(*ast.NullNode)
	return n == nil || null
}

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
		e := entry{key: key, at: r.token(it.Key().GetToken()), value: it.Value()}
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
	at := r.token(n.GetToken())
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
