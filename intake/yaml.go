package intake

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"liuhen/domain/yamlfile"
)

// bounds on a mapping file.
var bounds = yamlfile.Bounds{Bytes: 256 << 10, Line: 10_000, Brackets: 100, Depth: 12}

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

// place is where a node begins.
func place(n ast.Node) [2]int {
	p := yamlfile.At(n)
	return [2]int{p.Line, p.Column}
}

// parse reads the one document of a file and returns nil after a mistake.
func (f *yamlFile) parse(data []byte) ast.Node {
	root, wrong := yamlfile.Parse(data, bounds)
	switch {
	case wrong != nil:
		f.failAt([2]int{wrong.Line, wrong.Column}, "%s", wrong.Message)
	case root == nil:
		f.failAt([2]int{1, 1}, "the file is empty, expected a mapping")
	}
	return root
}

func scalar(n ast.Node) (string, bool) { return yamlfile.Scalar(n) }

func isNull(n ast.Node) bool { return yamlfile.IsNull(n) }

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
		e := entry{key: key, at: place(it.Key()), value: it.Value()}
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
