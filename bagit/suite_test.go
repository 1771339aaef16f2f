package bagit

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// shared is the path of a file of the shared data, which lies beside the
// module; the test is skipped where it is not there.
func shared(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join("..", "..", "shared", "data", filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the shared data file %s is not there: %v", name, err)
	}
	return path
}

// suite reads the conformance suite of the Library of Congress: each bag by
// "version/expectation/name".
func suite(t testing.TB) map[string]fstest.MapFS {
	t.Helper()
	data, err := os.ReadFile(shared(t, "vectors/bagit_conformance_suite.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	bags := make(map[string]fstest.MapFS)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return bags
		}
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.SplitN(strings.TrimPrefix(h.Name, "./"), "/", 4)
		if len(parts) < 4 || parts[3] == "" || h.Typeflag != tar.TypeReg {
			continue
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.Join(parts[:3], "/")
		if bags[name] == nil {
			bags[name] = fstest.MapFS{}
		}
		bags[name][parts[3]] = &fstest.MapFile{Data: content, Mode: 0o644}
	}
}

func codes(issues []Issue) []Code {
	var list []Code
	for _, i := range issues {
		if !slices.Contains(list, i.Code) {
			list = append(list, i.Code)
		}
	}
	slices.Sort(list)
	return list
}

// judge is the verdict on a bag in the words of the suite.
func judge(t testing.TB, fsys fs.FS) (string, Report) {
	t.Helper()
	b, err := Open(fsys)
	if err != nil {
		if !errors.Is(err, ErrNotBag) {
			t.Fatalf("open: %v", err)
		}
		return "invalid", Report{Errors: []Issue{{Code: Malformed, Detail: err.Error()}}}
	}
	r := b.Validate()
	switch {
	case !r.Valid():
		return "invalid", r
	case len(r.Warnings) > 0:
		return "warning", r
	}
	return "valid", r
}

// differ are the bags on which we differ from the suite, and why.
var differ = map[string]string{
	"v0.97/warning/special-system-files": "its manifest lists data/.DS_Store, which this copy of the suite has lost; TestSuiteRestored puts it back",
}

func TestSuite(t *testing.T) {
	bags := suite(t)
	index, err := os.Open(shared(t, "vectors/bagit_conformance_index.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer index.Close()
	rows, err := csv.NewReader(index).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows)-1 != 60 || len(bags) != 60 {
		t.Fatalf("the index has %d bags and the suite %d, want 60", len(rows)-1, len(bags))
	}
	for _, row := range rows[1:] {
		name := row[0] + "/" + row[1] + "/" + row[2]
		t.Run(name, func(t *testing.T) {
			got, r := judge(t, bags[name])
			want := row[1]
			if want == "windows-only" || want == "linux-only" {
				want = "invalid" // a bag travels: what leads out of it on one system is refused on all
			}
			if _, ok := differ[name]; ok {
				if got == want {
					t.Errorf("the verdict is %s, as the suite wants; it need not be listed as different", got)
				}
				return
			}
			// The suite calls bags valid that its own lint warns of.
			if got != want && !(want == "valid" && got == "warning") {
				t.Errorf("the verdict is %s, want %s\nerrors: %v\nwarnings: %v", got, want, r.Errors, r.Warnings)
			}
		})
	}
}

// TestSuiteReasons holds the verdicts to their reasons, so that a bag is not
// found invalid by accident.
func TestSuiteReasons(t *testing.T) {
	bags := suite(t)
	for name, want := range map[string]Code{
		"v0.97/invalid/baginfo-missing-encoding":                                     Malformed,
		"v0.97/invalid/bom-in-bagit.txt":                                             Malformed,
		"v0.97/invalid/corrupt-data-file":                                            Corrupt,
		"v0.97/invalid/corrupt-tag-file":                                             Corrupt,
		"v0.97/invalid/extra-file-in-bag":                                            Unlisted,
		"v0.97/invalid/invalid-version-number":                                       Malformed,
		"v0.97/invalid/missing-baginfo":                                              Missing,
		"v0.97/invalid/missing-bagit.txt":                                            Malformed,
		"v0.97/invalid/out-of-scope-file-paths-using-dot-notation":                   Unsafe,
		"v0.97/invalid/out-of-scope-file-paths-using-dot-notation-for-fetch":         Unsafe,
		"v0.97/invalid/same-filename-listed-twice-with-different-hashes":             Twice,
		"v0.97/linux-only/out-of-scope-file-paths-using-absolute-path":               Unsafe,
		"v0.97/linux-only/out-of-scope-file-paths-using-absolute-path-for-fetch":     Unsafe,
		"v0.97/linux-only/out-of-scope-file-paths-using-shortcut":                    Unsafe,
		"v0.97/linux-only/out-of-scope-file-paths-using-shortcut-for-fetch":          Unsafe,
		"v0.97/linux-only/out-of-scope-file-paths-using-shortcut-username":           Unsafe,
		"v0.97/linux-only/out-of-scope-file-paths-using-shortcut-username-for-fetch": Unsafe,
		"v0.97/windows-only/out-of-scope-file-paths-using-absolute-path":             Unsafe,
		"v0.97/windows-only/out-of-scope-file-paths-using-absolute-path-for-fetch":   Unsafe,
		"v0.97/windows-only/out-of-scope-file-paths-using-shortcut":                  Unsafe,
		"v0.97/windows-only/out-of-scope-file-paths-using-shortcut-for-fetch":        Unsafe,
		"v0.97/windows-only/out-of-scope-file-paths-using-unc":                       Unsafe,
		"v0.97/windows-only/out-of-scope-file-paths-using-unc-for-fetch":             Unsafe,
		"v1.0/invalid/bagit-with-invalid-whitespace":                                 Malformed,
		"v1.0/invalid/notAllManifestsListAllFiles":                                   Unlisted,
		"v1.0/invalid/same-filename-listed-twice-with-different-hashes":              Malformed, // bagit.txt has a blank too much, too
		"v1.0/invalid/same-filename-listed-twice-with-the-same-hash":                 Twice,
	} {
		if _, r := judge(t, bags[name]); !slices.Contains(codes(r.Errors), want) {
			t.Errorf("%s: the errors are %v, want one that is %s", name, r.Errors, want)
		}
	}
	for name, want := range map[string]Code{
		"v0.97/warning/duplicate-file-with-different-case":                      Clash,
		"v0.97/warning/made-with-md5sum-tools":                                  Flourish,
		"v0.97/warning/relative-path":                                           Flourish,
		"v0.97/warning/same-filename-listed-twice-with-different-normalization": Clash,
		"v0.97/warning/same-filename-listed-twice-with-the-same-hash":           Twice,
		"v0.97/valid/bag-with-leading-dot-slash-in-manifest":                    Flourish,
	} {
		if _, r := judge(t, bags[name]); !slices.Contains(codes(r.Warnings), want) {
			t.Errorf("%s: the warnings are %v, want one that is %s", name, r.Warnings, want)
		}
	}
}

// TestSuiteRestored puts back what the copy of the suite has lost, or what a
// blank too much hides.
func TestSuiteRestored(t *testing.T) {
	bags := suite(t)
	system := maps.Clone(bags["v0.97/warning/special-system-files"])
	system["data/.DS_Store"] = &fstest.MapFile{}
	got, r := judge(t, system)
	if got != "warning" || !slices.Contains(codes(r.Warnings), Unportable) {
		t.Errorf("with data/.DS_Store the verdict is %s, want warning: %v, %v", got, r.Errors, r.Warnings)
	}

	twice := maps.Clone(bags["v1.0/invalid/same-filename-listed-twice-with-different-hashes"])
	twice["bagit.txt"] = &fstest.MapFile{Data: []byte("BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")}
	if _, r := judge(t, twice); !slices.Contains(codes(r.Errors), Twice) {
		t.Errorf("without the blank the errors are %v, want one that is %s", r.Errors, Twice)
	}

	bothCases := maps.Clone(bags["v0.97/warning/duplicate-file-with-different-case"])
	bothCases["data/HELLO.txt"] = bothCases["data/hello.txt"]
	info := bothCases["bag-info.txt"].Data
	bothCases["bag-info.txt"] = &fstest.MapFile{Data: bytes.Replace(info, []byte("6.1"), []byte("12.2"), 1)}
	delete(bothCases, "tagmanifest-sha512.txt")
	if got, r := judge(t, bothCases); got != "warning" || !slices.Contains(codes(r.Warnings), Clash) {
		t.Errorf("with both files the verdict is %s, want warning: %v, %v", got, r.Errors, r.Warnings)
	}
}

// TestSuitePacked judges every bag again as a zip and as a tar, each in its
// folder: how a bag is packed changes no verdict.
func TestSuitePacked(t *testing.T) {
	for name, bag := range suite(t) {
		want, _ := judge(t, bag)
		for kind, pack := range map[string]func(testing.TB, fstest.MapFS) []byte{"zip": zipped, "tar": tarred} {
			packed := pack(t, bag)
			fsys, err := OpenArchive(bytes.NewReader(packed), int64(len(packed)), Limits{})
			if err != nil {
				t.Errorf("%s as %s: %v", name, kind, err)
				continue
			}
			if err := fstest.TestFS(fsys, "bag"); err != nil {
				t.Errorf("%s as %s: %v", name, kind, err)
			}
			if got, r := judge(t, fsys); got != want {
				t.Errorf("%s as %s: the verdict is %s, as a folder it is %s: %v", name, kind, got, want, r.Errors)
			}
		}
	}
}

func zipped(t testing.TB, bag fstest.MapFS) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for _, name := range slices.Sorted(maps.Keys(bag)) {
		w, err := z.Create("bag/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(bag[name].Data); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func tarred(t testing.TB, bag fstest.MapFS) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, name := range slices.Sorted(maps.Keys(bag)) {
		if err := w.WriteHeader(&tar.Header{Name: "bag/" + name, Mode: 0o644, Size: int64(len(bag[name].Data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(bag[name].Data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}
