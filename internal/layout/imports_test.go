package layout

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// allowed is the table of who may import what of ours. A name covers the
// packages below it, unless they have a row of their own; packages of one row
// may import each other. "internal" stands for the small helpers.
var allowed = []struct {
	pkg     string
	imports []string
}{
	{"domain/calendar", nil},
	{"domain/identifier", []string{"domain/calendar"}},
	{"domain/law", nil},
	{"domain/yamlfile", nil},
	{"domain/rulebook", []string{"domain/law", "domain/calendar", "domain/identifier", "domain/yamlfile"}},
	{"domain", nil}, // and, as everybody below may not, the packages in its folder
	{"eventstore", []string{"internal"}},
	{"evidence", []string{"internal"}},
	{"bagit", nil},
	{"export", []string{"domain"}},
	{"dossier", []string{"domain"}},
	{"bundle", []string{"domain", "eventstore", "transparency", "bagit", "dossier", "internal"}},
	{"identity", []string{"internal"}},
	{"transparency/sm", []string{"internal"}},
	{"transparency/keys", []string{"transparency/sm", "internal"}},
	{"transparency/policy", []string{"transparency/keys", "internal"}},
	{"transparency/witness", []string{"transparency/keys", "internal"}},
	{"transparency/timestamp", []string{"transparency/sm", "internal"}},
	{"transparency/audit", []string{"domain", "eventstore", "transparency", "internal"}}, // it reads records as what they are
	{"transparency", []string{"eventstore", "internal"}},
	{"casework", []string{"domain", "eventstore", "internal"}},
	{"projections", []string{"domain", "eventstore", "internal"}},
	{"reactions/pubsub", []string{"internal"}},
	{"reactions", []string{"domain", "eventstore", "casework", "internal"}},
	{"sample", []string{"domain"}},
	{"intake", []string{"domain", "casework", "internal"}},
	{"api", []string{"domain", "bundle", "export", "eventstore", "casework", "projections", "reactions", "transparency", "evidence", "identity", "internal"}},
	{"web", []string{"domain", "casework", "projections", "transparency", "evidence", "identity", "internal"}},
	{"internal/bench", []string{"*"}},
	{"internal/killtest", []string{"*"}},
	{"internal", []string{"internal"}},
	{"cmd/liuhen", []string{"*"}},
}

const module = "liuhen/"

func TestImports(t *testing.T) {
	root := moduleRoot(t)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if strings.HasPrefix(d.Name(), ".") && path != root || d.Name() == "testdata" {
				return filepath.SkipDir
			}
			return nil
		}
		// A test may use whatever it tests against.
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		checkFile(t, path, filepath.ToSlash(rel))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkFile(t *testing.T, path, rel string) {
	t.Helper()
	pkg := filepath.ToSlash(filepath.Dir(rel))
	own, may := permitted(pkg)
	if own == "" {
		t.Errorf("%s: package %s has no row in the table of allowed imports", rel, pkg)
		return
	}
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Errorf("%s: %v", rel, err)
		return
	}
	for _, spec := range file.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Errorf("%s: %v", rel, err)
		}
		of, ours := strings.CutPrefix(name, module)
		if !ours || below(of, own) {
			continue
		}
		if !slices.ContainsFunc(may, func(m string) bool { return m == "*" || below(of, m) }) {
			t.Errorf("%s imports %s; %s may import of ours: %s", rel, of, pkg, strings.Join(may, ", "))
		}
	}
}

// permitted returns the row with the longest name that covers the package;
// own is "" if there is none.
func permitted(pkg string) (own string, imports []string) {
	for _, row := range allowed {
		if below(pkg, row.pkg) && len(row.pkg) > len(own) {
			own, imports = row.pkg, row.imports
		}
	}
	return own, imports
}

// below reports whether a package is folder or stands in it.
func below(pkg, folder string) bool {
	return pkg == folder || strings.HasPrefix(pkg, folder+"/")
}

func TestTableNamesEachFolderOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range allowed {
		if seen[row.pkg] {
			t.Errorf("%s has two rows", row.pkg)
		}
		seen[row.pkg] = true
	}
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = up
	}
}
