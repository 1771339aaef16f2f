package rulebook

import (
	"errors"
	"os"
	"strings"
	"testing"

	"liuhen/domain/law"
)

// TestIdleRules compares what is said of rules that can say nothing, each with
// its line and column, with testdata/idle.txt. The rules called K-… could.
func TestIdleRules(t *testing.T) {
	_, err := Load(os.DirFS("testdata/idle"))
	var es Errors
	if !errors.As(err, &es) {
		t.Fatalf("the idle rules load: %v", err)
	}
	for _, e := range es {
		if strings.HasPrefix(e.Rule, "K-") {
			t.Errorf("a rule that can say something is called idle: %v", e)
		}
	}
	golden(t, "testdata/idle.txt", err.Error()+"\n")
}

// TestNoIdleLaw says of the national law that every rule of it can say something.
func TestNoIdleLaw(t *testing.T) {
	if _, err := Load(law.Files); err != nil {
		t.Error(err)
	}
}

// TestCanPrecede walks the stages of the demo: clue, inquiry, done.
func TestCanPrecede(t *testing.T) {
	p, _ := load(t, strings.TrimSuffix(demo, "rules:\n")).Procedure("demo")
	set := func(name string) *actSet {
		in := make([]bool, len(p.Acts))
		in[p.acts[name]] = true
		return &actSet{in: in, names: []string{name}}
	}
	for _, tt := range []struct {
		first, then string
		want        bool
	}{
		{"file-case", "register", true},
		{"register", "close", true},
		{"close", "register", false}, // done is left by nothing
		{"archive", "close", true},   // what closes is not found out of place
		{"close", "archive", true},
		{"archive", "hearing", false}, // belongs to any stage, but not after closing
		{"hearing", "archive", true},
		{"register", "file-case", false}, // done once, and a case began with it
		{"register", "register", true},
		{"hearing", "hearing", true},
		{"archive", "archive", true},
		{"close", "close", true},
	} {
		if got := p.canPrecede(set(tt.first), set(tt.then)); got != tt.want {
			t.Errorf("%s before %s: %t, want %t", tt.first, tt.then, got, tt.want)
		}
	}
}
