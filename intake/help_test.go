package intake

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

// shared returns the path of a file of the shared data, which lies beside the
// module, and skips the test where there is none.
func shared(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	path := filepath.Join(dir, "..", "shared", "data", filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the shared data file %s is not there: %v", name, err)
	}
	return path
}

// write puts a file into a folder of the test's own and returns its path.
func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// pack gzips.
func pack(t testing.TB, text string) string {
	t.Helper()
	var b strings.Builder
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func mapping(t testing.TB, text string) *Mapping {
	t.Helper()
	m, err := ReadMapping("test.yaml", []byte(text))
	if err != nil {
		t.Fatalf("read mapping: %v", err)
	}
	return m
}

func loadMapping(t testing.TB, name string) *Mapping {
	t.Helper()
	m, err := LoadMapping(name)
	if err != nil {
		t.Fatalf("load mapping %s: %v", name, err)
	}
	return m
}

// walk goes through the items of a file, in order; the error is what ended
// them, nil at the end of the file.
func walk(t testing.TB, m *Mapping, path string, limits Limits, strict bool, do func(Item)) ([]Note, error) {
	t.Helper()
	s, err := openSource(context.Background(), path, limits.orDefault())
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	defer s.close()
	st, err := openStream(s, m, "test", strict)
	if err != nil {
		return nil, err
	}
	for {
		item, err := st.next()
		if errors.Is(err, io.EOF) {
			return st.rows.notes(), nil
		}
		if err != nil {
			return st.rows.notes(), err
		}
		do(item)
	}
}

func readAll(t testing.TB, m *Mapping, path string, limits Limits, strict bool) (items []Item, notes []Note, err error) {
	t.Helper()
	notes, err = walk(t, m, path, limits, strict, func(item Item) { items = append(items, item) })
	return items, notes, err
}

// mustRead is readAll of a file that has no fault.
func mustRead(t testing.TB, m *Mapping, path string) []Item {
	t.Helper()
	items, _, err := readAll(t, m, path, Limits{}, false)
	if err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	return items
}

// fieldsText is the fields of an item as JSON with sorted keys.
func fieldsText(t testing.TB, item Item) string {
	t.Helper()
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(item.Fields); err != nil {
		t.Fatalf("row %d: fields are not JSON: %v", item.Number, err)
	}
	return strings.TrimSpace(b.String())
}

// byCase sorts items by case and keeps the order inside each.
func byCase(items []Item) []Item {
	out := append([]Item(nil), items...)
	sort.SliceStable(out, func(i, j int) bool { return out[i].Case < out[j].Case })
	return out
}
