package yamlfile

import (
	"strings"
	"testing"
)

var bounds = Bounds{Bytes: 4000, Line: 200, Brackets: 20, Depth: 5}

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		text  string
		place Place
		says  string
	}{
		"a syntax error":        {"a: 1\nb: [1, 2\n", Place{2, 4}, "YAML"},
		"an anchor":             {"a: &x 1\n", Place{1, 4}, "not allowed"},
		"two documents":         {"a: 1\n---\nb: 2\n", Place{3, 1}, "second"},
		"a mapping as key":      {"{a: 1}: 2\n", Place{1, 7}, "YAML"},
		"too deep":              {"a: {b: {c: {d: {e: {f: 1}}}}}\n", Place{1, 24}, "5 levels"},
		"too long a line":       {"a: 1\nb: " + strings.Repeat("x", 300), Place{2, 1}, "200 bytes"},
		"too many brackets":     {strings.Repeat("[", 30), Place{1, 1}, "brackets"},
		"too long a file":       {strings.Repeat("a\n", 3000), Place{1, 1}, "4000"},
		"nothing":               {"", Place{}, ""},
		"a comment":             {"# nothing\n", Place{}, ""},
		"keys and values":       {"a: 1\nb: [x, 007]\n", Place{}, ""},
		"a key that is doubled": {"a: 1\na: 2\n", Place{}, ""}, // for who decodes to tell
	} {
		_, wrong := Parse([]byte(c.text), bounds)
		switch {
		case c.says == "" && wrong != nil:
			t.Errorf("%s: %+v, want it to be read", name, *wrong)
		case c.says != "" && (wrong == nil || !strings.Contains(wrong.Message, c.says) || wrong.Place != c.place):
			t.Errorf("%s: %+v, want %q at %v", name, wrong, c.says, c.place)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"a: 1\n", "a:\n  - b\n  - {c: d}\n", "a: |\n  x\n", "? {a}\n: b\n", "a: *b\n", "!!x y\n", "\t", "[[[["} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		root, wrong := Parse([]byte(text), bounds)
		if root != nil && wrong != nil {
			t.Fatalf("both %v and %+v", root, *wrong)
		}
		if wrong != nil && (wrong.Line < 1 || wrong.Column < 1 || wrong.Message == "") {
			t.Fatalf("a mistake without a place: %+v", *wrong)
		}
	})
}
