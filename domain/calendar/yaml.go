package calendar

import (
	"encoding"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// Dates, limits and spans read themselves from YAML nodes and not only from
// text, so that an error names line and column. (It is also much faster:
// goccy/go-yaml writes the rest of the file out for each text that it hands
// over.)

// UnmarshalYAML is UnmarshalText for a node of goccy/go-yaml.
func (d *Date) UnmarshalYAML(n ast.Node) error { return fromYAML(n, d) }

// UnmarshalYAML is UnmarshalText for a node of goccy/go-yaml.
func (l *Limit) UnmarshalYAML(n ast.Node) error { return fromYAML(n, l) }

// UnmarshalYAML is UnmarshalText for a node of goccy/go-yaml.
func (s *Span) UnmarshalYAML(n ast.Node) error { return fromYAML(n, s) }

func fromYAML(n ast.Node, into encoding.TextUnmarshaler) error {
	if anchor, ok := n.(*ast.AnchorNode); ok {
		n = anchor.Value
	}
	var text string
	switch n := n.(type) {
	case *ast.StringNode:
		text = n.Value
	case *ast.LiteralNode:
		text = n.Value.Value
	case *ast.NullNode:
	case ast.ScalarNode:
		text = n.GetToken().Value
	default:
		return &yaml.SyntaxError{Message: "a plain text was expected here", Token: n.GetToken()}
	}
	if err := into.UnmarshalText([]byte(text)); err != nil {
		return &yaml.SyntaxError{Message: err.Error(), Token: n.GetToken()}
	}
	return nil
}
