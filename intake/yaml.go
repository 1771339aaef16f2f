package intake

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds on a mapping file, so that a hostile one cannot exhaust the parser.
const (
	maxMapping      = 256 << 10 // bytes
	maxMappingLine  = 10_000    // bytes of one line
	maxMappingDepth = 12        // mappings and lists inside each other
)

// A MappingError is one mistake in a mapping file, with its place.
type MappingError struct {
	File         string
	Line, Column int
	Message      string
}

func (e MappingError) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
}

// MappingErrors are all mistakes that were found in a mapping file.
type MappingErrors []MappingError

func (e MappingErrors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// A yamlFile decodes one YAML document by hand, so that every mistake has its
// place and one does not hide the next.
type yamlFile struct {
	name string
	errs MappingErrors
}

func (f *yamlFile) fail(n ast.Node, format string, args ...any) {
	f.failAt(place(n), format, args...)
}

func (f *yamlFile) failAt(at [2]int, format string, args ...any) {
	f.errs = append(f.errs, MappingError{File: f.name, Line: max(at[0], 1), Column: max(at[1], 1), Message: fmt.Sprintf(format, args...)})
}

// place is the line and column where a node begins; of a mapping, those of its
// first key.
func place(n ast.Node) [2]int {
	switch m := n.(type) {
	case nil:
		return [2]int{1, 1}
	case *ast.MappingNode:
		if !m.IsFlowStyle && len(m.Values) > 0 {
			return place(m.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return place(m.Key)
	}
	return tokenPlace(n.GetToken())
}

func tokenPlace(t *token.Token) [2]int {
	if t == nil || t.Position == nil {
		return [2]int{1, 1}
	}
	return [2]int{max(t.Position.Line, 1), max(t.Position.Column, 1)}
}

// parse reads the one document of a file. It does not panic, whatever the
// bytes, and returns nil after a mistake.
func (f *yamlFile) parse(data []byte) (root ast.Node) {
	if line, why := tooWild(data); why != "" {
		f.failAt([2]int{line, 1}, "%s", why)
		return nil
	}
	defer func() {
		if p := recover(); p != nil { // the parser is not ours; a bug of it is an unreadable file
			root = nil
			f.failAt([2]int{1, 1}, "cannot be read as YAML: %v", p)
		}
	}()
	file, err := parser.ParseBytes(data, 0)
	var syntax interface {
		GetToken() *token.Token
		GetMessage() string
	}
	switch {
	case errors.As(err, &syntax):
		f.failAt(tokenPlace(syntax.GetToken()), "YAML: %s", syntax.GetMessage())
		return nil
	case err != nil:
		f.failAt([2]int{1, 1}, "YAML: %v", err)
		return nil
	}
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil:
		case root != nil:
			f.fail(doc.Body, "one document a file, this is the second")
			return nil
		default:
			root = doc.Body
		}
	}
	if root == nil {
		f.failAt([2]int{1, 1}, "the file is empty, expected a mapping")
		return nil
	}
	if !f.plain(root, 0) {
		return nil
	}
	return root
}

// tooWild looks at the raw bytes for what would make a parser recurse or run
// without bound.
func tooWild(data []byte) (line int, why string) {
	if len(data) > maxMapping {
		return 1, fmt.Sprintf("has %d bytes, the limit is %d", len(data), maxMapping)
	}
	line, start, open := 1, 0, 0
	for i, b := range data {
		switch b {
		case '\n':
			line, start = line+1, i+1
		case '[', '{':
			open++
		case ']', '}':
			open = max(open-1, 0)
		}
		if open > 100 {
			return line, "too many open brackets"
		}
		if i-start > maxMappingLine {
			return line, fmt.Sprintf("the line has more than %d bytes", maxMappingLine)
		}
	}
	return 0, ""
}

// plain reports whether a node holds only mappings, lists and scalars: no
// anchors, aliases or tags.
func (f *yamlFile) plain(n ast.Node, depth int) bool {
	if depth > maxMappingDepth {
		f.fail(n, "more than %d levels deep", maxMappingDepth)
		return false
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			if !f.plain(v, depth) {
				return false
			}
		}
		return true
	case *ast.MappingValueNode:
		if _, ok := scalar(n.Key); !ok {
			f.fail(n.Key, "a key must be a plain word")
			return false
		}
		return f.plain(n.Value, depth+1)
	case *ast.SequenceNode:
		for _, v := range n.Values {
			if !f.plain(v, depth+1) {
				return false
			}
		}
		return true
	case nil:
		return true
	}
	if _, ok := scalar(n); !ok {
		f.fail(n, "%s is not allowed here: write the value out", strings.ToLower(n.Type().String()))
		return false
	}
	return true
}

// scalar returns the text of a scalar as it is written: 007 stays 007.
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode, *ast.NullNode:
		return n.GetToken().Value, true
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
	at    [2]int
	value ast.Node
}

// entries returns the keys of a mapping in the order written.
func (f *yamlFile) entries(n ast.Node, what string) []entry {
	m, ok := n.(ast.MapNode)
	if !ok {
		f.fail(n, "%s: expected keys and values, found %s", what, describe(n))
		return nil
	}
	var out []entry
	for it := m.MapRange(); it.Next(); {
		key, _ := scalar(it.Key())
		e := entry{key: key, at: tokenPlace(it.Key().GetToken()), value: it.Value()}
		if slices.ContainsFunc(out, func(o entry) bool { return o.key == key }) {
			f.failAt(e.at, "%s: %q stands twice", what, key)
			continue
		}
		out = append(out, e)
	}
	return out
}

// keys decodes a mapping whose keys are known; each decoder gets the value. It
// returns where the keys stand that were there.
func (f *yamlFile) keys(n ast.Node, what string, known map[string]func(ast.Node)) map[string][2]int {
	found := make(map[string][2]int)
	for _, e := range f.entries(n, what) {
		decode, ok := known[e.key]
		if !ok {
			f.failAt(e.at, "%s: unknown key %q, expected one of %s", what, e.key, strings.Join(sortedKeys(known), ", "))
			continue
		}
		found[e.key] = e.at
		decode(e.value)
	}
	return found
}

func sortedKeys[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

func describe(n ast.Node) string {
	switch n := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys and values"
	case *ast.SequenceNode:
		return "a list"
	case nil, *ast.NullNode:
		return "nothing (a word such as null is written in quotes)"
	default:
		s, _ := scalar(n)
		return strconv.Quote(cut(s))
	}
}

// text decodes a word or sentence that may not be empty.
func (f *yamlFile) text(into *string, what string) func(ast.Node) {
	return func(n ast.Node) {
		s, ok := scalar(n)
		if !ok || isNull(n) || strings.TrimSpace(s) == "" {
			f.fail(n, "%s: expected text, found %s", what, describe(n))
			return
		}
		*into = s
	}
}

// choice decodes one of a few words.
func (f *yamlFile) choice(into *string, what string, words ...string) func(ast.Node) {
	return func(n ast.Node) {
		s, _ := scalar(n)
		if !slices.Contains(words, s) {
			f.fail(n, "%s: expected one of %s, found %s", what, strings.Join(words, ", "), describe(n))
			return
		}
		*into = s
	}
}

// flag decodes true or false.
func (f *yamlFile) flag(into *bool, what string) func(ast.Node) {
	return func(n ast.Node) {
		b, ok := n.(*ast.BoolNode)
		if !ok {
			f.fail(n, "%s: expected true or false, found %s", what, describe(n))
			return
		}
		*into = b.Value
	}
}

// list decodes one text or a list of them.
func (f *yamlFile) list(into *[]string, what string) func(ast.Node) {
	return func(n ast.Node) {
		items := []ast.Node{n}
		if s, ok := n.(*ast.SequenceNode); ok {
			items = s.Values
		}
		*into = []string{}
		for _, item := range items {
			s, ok := scalar(item)
			if !ok || isNull(item) {
				f.fail(item, "%s: expected text or a list of it, found %s", what, describe(item))
				continue
			}
			*into = append(*into, s)
		}
	}
}

// table decodes text → text.
func (f *yamlFile) table(into *map[string]string, what string) func(ast.Node) {
	return func(n ast.Node) {
		*into = make(map[string]string)
		for _, e := range f.entries(n, what) {
			s, ok := scalar(e.value)
			if !ok || isNull(e.value) {
				f.fail(e.value, "%s: expected text for %q, found %s", what, e.key, describe(e.value))
				continue
			}
			(*into)[e.key] = s
		}
	}
}
