// Package yamlfile reads one YAML document from bytes that nobody vouches for,
// into nodes that know their place. Who decodes them by hand can say of every
// mistake where it is, and one mistake does not hide the next.
package yamlfile

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds keep a hostile file from exhausting memory or stack.
type Bounds struct {
	Bytes    int // of the file
	Line     int // bytes of one line
	Brackets int // open at once
	Depth    int // mappings and lists inside each other
}

// A Place is a line and a column, counted from 1.
type Place struct{ Line, Column int }

// A Mistake is why a file cannot be read.
type Mistake struct {
	Place
	Message string
}

// Parse reads the one document of a file, which holds only mappings, lists and
// scalars: no anchors, aliases, tags or merge keys. The node is nil for an
// empty file. Parse does not panic, whatever the bytes.
func Parse(data []byte, b Bounds) (root ast.Node, wrong *Mistake) {
	if wrong := b.check(data); wrong != nil {
		return nil, wrong
	}
	defer func() {
		if p := recover(); p != nil { // the parser is not ours; a bug of it is an unreadable file
			root, wrong = nil, &Mistake{Place{1, 1}, fmt.Sprintf("the file cannot be read as YAML: %v", p)}
		}
	}()
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey()) // who decodes tells of them, with the place
	var syntax interface {
		GetToken() *token.Token
		GetMessage() string
	}
	switch {
	case errors.As(err, &syntax):
		return nil, &Mistake{AtToken(syntax.GetToken()), "YAML: " + syntax.GetMessage()}
	case err != nil:
		return nil, &Mistake{Place{1, 1}, "YAML: " + err.Error()}
	}
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil:
		case root != nil:
			return nil, &Mistake{At(doc.Body), "one document a file, this is the second"}
		default:
			root = doc.Body
		}
	}
	if wrong := b.plain(root, 0); wrong != nil {
		return nil, wrong
	}
	return root, nil
}

// check looks at the raw bytes for what would make a parser recurse or run
// without bound.
func (b Bounds) check(data []byte) *Mistake {
	if len(data) > b.Bytes {
		return &Mistake{Place{1, 1}, fmt.Sprintf("the file has %d bytes, the limit is %d", len(data), b.Bytes)}
	}
	line, start, open := 1, 0, 0
	for i, c := range data {
		switch c {
		case '\n':
			line, start = line+1, i+1
		case '[', '{':
			open++
		case ']', '}':
			open = max(open-1, 0)
		}
		if open > b.Brackets {
			return &Mistake{Place{line, 1}, fmt.Sprintf("too many open brackets: more than %d", b.Brackets)}
		}
		if i-start > b.Line {
			return &Mistake{Place{line, 1}, fmt.Sprintf("the line has more than %d bytes", b.Line)}
		}
	}
	return nil
}

func (b Bounds) plain(n ast.Node, depth int) *Mistake {
	if depth > b.Depth {
		return &Mistake{At(n), fmt.Sprintf("more than %d levels deep", b.Depth)}
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			if wrong := b.plain(v, depth); wrong != nil {
				return wrong
			}
		}
		return nil
	case *ast.MappingValueNode:
		if _, ok := Scalar(n.Key); !ok {
			return &Mistake{At(n.Key), "a key must be a plain word"}
		}
		return b.plain(n.Value, depth+1)
	case *ast.SequenceNode:
		for _, v := range n.Values {
			if wrong := b.plain(v, depth+1); wrong != nil {
				return wrong
			}
		}
		return nil
	case nil:
		return nil
	}
	if _, ok := Scalar(n); !ok {
		return &Mistake{At(n), strings.ToLower(n.Type().String()) + " is not allowed here: write the value out"}
	}
	return nil
}

// At is where a node begins; for a mapping that is its first key.
func At(n ast.Node) Place {
	switch m := n.(type) {
	case nil:
		return Place{1, 1}
	case *ast.MappingNode:
		if !m.IsFlowStyle && len(m.Values) > 0 {
			return At(m.Values[0])
		}
	case *ast.MappingValueNode:
		return At(m.Key)
	}
	return AtToken(n.GetToken())
}

// AtToken is where a token begins.
func AtToken(t *token.Token) Place {
	if t == nil || t.Position == nil {
		return Place{1, 1}
	}
	return Place{max(t.Position.Line, 1), max(t.Position.Column, 1)}
}

// Scalar returns the text of a scalar as it is written: 007 stays 007. Null is
// the empty text.
func Scalar(n ast.Node) (string, bool) {
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

// IsNull reports whether there is no value.
func IsNull(n ast.Node) bool {
	_, null := n.(*ast.NullNode)
	return n == nil || null
}
