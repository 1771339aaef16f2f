package bagit

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

var day = time.Date(2026, 11, 24, 15, 4, 5, 0, time.FixedZone("+08:00", 8*3600))

// written makes a bag of ours.
func written(t testing.TB, files ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := NewWriter(&buf, Info{Folder: "沈文罚-2026-7", Date: day, Entries: []Entry{{"Source-Organization", "某局"}, {"External-Identifier", "沈文罚-2026-7"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, "content of "+name); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

var ours = []string{"data/records/1.json", "data/records/2.json", "data/文书/告知书.pdf", "data/100.txt", "data/空 格.txt", "proofs/1.tlog-proof", "README.html"}

func opened(t testing.TB, data []byte) fs.FS {
	t.Helper()
	fsys, err := OpenArchive(bytes.NewReader(data), int64(len(data)), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return fsys
}

func TestWriteAndRead(t *testing.T) {
	data := written(t, ours...)
	b, err := Open(opened(t, data))
	if err != nil {
		t.Fatal(err)
	}
	if r := b.Validate(); !r.Valid() || len(r.Warnings) > 0 || r.Files != 5 || r.Version != "1.0" {
		t.Errorf("the report is %+v, want a valid bag of 5 payload files without a warning", r)
	}
	want := []Entry{{"Source-Organization", "某局"}, {"External-Identifier", "沈文罚-2026-7"}, {"Bagging-Date", "2026-11-24"}, {"Payload-Oxum", "146.5"}}
	if !slices.Equal(b.Info, want) {
		t.Errorf("bag-info is %v, want %v", b.Info, want)
	}
	for _, name := range ours {
		f, err := b.OpenFile(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(f)
		if err != nil || string(got) != "content of "+name {
			t.Errorf("%s holds %q, %v", name, got, err)
		}
		_ = f.Close()
	}
	for _, manifest := range []string{"manifest-sha256.txt", "manifest-sha512.txt", "tagmanifest-sha256.txt", "tagmanifest-sha512.txt"} {
		text, err := fs.ReadFile(b.FS(), manifest)
		if err != nil {
			t.Fatal(err)
		}
		lines := splitLines(string(text))
		if strings.HasPrefix(manifest, "manifest") && (len(lines) != 5 || !strings.Contains(string(text), "  data/空 格.txt\n")) {
			t.Errorf("%s:\n%s", manifest, text)
		}
		if strings.HasPrefix(manifest, "tag") && len(lines) != 6 { // two of ours, bagit.txt, bag-info.txt, two manifests
			t.Errorf("%s:\n%s", manifest, text)
		}
	}
	if again := written(t, ours...); !bytes.Equal(again, data) {
		t.Error("the same input gave other bytes")
	}
}

func TestEmptyBag(t *testing.T) {
	b, err := Open(opened(t, written(t)))
	if err != nil {
		t.Fatal(err)
	}
	if r := b.Validate(); !r.Valid() || r.Files != 0 {
		t.Errorf("a bag without payload: %+v", r)
	}
}

// TestEveryByte changes each byte of each file of a bag in turn: none goes
// unseen.
func TestEveryByte(t *testing.T) {
	bag := unpacked(t, opened(t, written(t, "data/a", "data/b/c", "note.txt")))
	for name, file := range bag {
		for i := range file.Data {
			changed := bytes.Clone(file.Data)
			changed[i] ^= 1
			with := fstest.MapFS{}
			for n, f := range bag {
				with[n] = f
			}
			with[name] = &fstest.MapFile{Data: changed}
			if got, _ := judge(t, with); got != "invalid" {
				t.Errorf("%s with byte %d changed: the verdict is %s", name, i, got)
			}
		}
		without := fstest.MapFS{"data/keep": bag["data/a"]}
		for n, f := range bag {
			if n != name {
				without[n] = f
			}
		}
		if got, _ := judge(t, without); got != "invalid" {
			t.Errorf("without %s: the verdict is %s", name, got)
		}
	}
}

// unpacked is a bag in memory, without the folder around it.
func unpacked(t testing.TB, fsys fs.FS) fstest.MapFS {
	t.Helper()
	root, err := rootOf(fsys)
	if err != nil {
		t.Fatal(err)
	}
	bag := fstest.MapFS{}
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(root, name)
		bag[name] = &fstest.MapFile{Data: data}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return bag
}

func TestWriterRefuses(t *testing.T) {
	for _, names := range [][]string{
		{"/data/a"}, {"data/../a"}, {"data//a"}, {"./data/a"}, {`data\a`}, {"C:/a"}, {"~/a"}, {""}, {"data/"}, {"data"},
		{"data/a\nb"}, {"data/con"}, {"data/Aux.txt"}, {"data/a."}, {"data/a "}, {"data/a?"}, {"data/100%"}, {"data/\xff"}, {"data/Thumbs.db"},
		{"bagit.txt"}, {"bag-info.txt"}, {"manifest-sha256.txt"}, {"tagmanifest-sm3.txt"}, {"fetch.txt"},
		{"data/a", "data/a"}, {"data/a", "data/A"}, {"data/Núñez", "data/Nu\u0301n\u0303ez"}, {"BagIt.txt"},
		{"data/a", "data/a/b"}, {"data/a/b", "data/a"}, {"data/a/b", "data/A/c"}, {"data/" + strings.Repeat("长", 1500)},
	} {
		w, err := NewWriter(io.Discard, Info{Folder: "bag", Date: day})
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range names {
			_, err = w.Create(name)
			if last := i == len(names)-1; (err != nil) != last {
				t.Errorf("create %q: %v, want an error: %v", names[:i+1], err, last)
			}
		}
		if err := w.Close(); err == nil {
			t.Errorf("after %q the bag could be closed", names)
		}
	}
	for _, info := range []Info{
		{Date: day}, {Folder: "a/b", Date: day}, {Folder: "..", Date: day}, {Folder: "a"},
		{Folder: "a", Date: day, Entries: []Entry{{"A:B", "c"}}}, {Folder: "a", Date: day, Entries: []Entry{{"A", "c\nPayload-Oxum: 0.0"}}},
		{Folder: "a", Date: day, Entries: []Entry{{"payload-oxum", "1.1"}}}, {Folder: "a", Date: day, Entries: []Entry{{"", "1"}}},
	} {
		if _, err := NewWriter(io.Discard, info); err == nil {
			t.Errorf("a bag of %+v was begun", info)
		}
	}
}

func TestWriteBehindTheEnd(t *testing.T) {
	w, err := NewWriter(io.Discard, Info{Folder: "bag", Date: day})
	if err != nil {
		t.Fatal(err)
	}
	first, err := w.Create("data/a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Create("data/b"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(first, "late"); err == nil {
		t.Error("a file took bytes after the next one was begun")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Create("data/c"); err == nil {
		t.Error("a file was begun in a closed bag")
	}
}

// full fails once so many bytes were written.
type full struct{ left int }

var errFull = errors.New("no space left")

func (f *full) Write(p []byte) (int, error) {
	if len(p) > f.left {
		n := f.left
		f.left = 0
		return n, errFull
	}
	f.left -= len(p)
	return len(p), nil
}

func TestDiskFull(t *testing.T) {
	whole := len(written(t, "data/a", "data/b"))
	for room := range whole {
		w, err := NewWriter(&full{left: room}, Info{Folder: "沈文罚-2026-7", Date: day})
		for _, name := range []string{"data/a", "data/b"} {
			var f io.Writer
			if err == nil {
				f, err = w.Create(name)
			}
			if err == nil {
				_, err = io.WriteString(f, "content of "+name)
			}
		}
		if err == nil {
			err = w.Close()
		}
		if room < whole/2 && err == nil {
			t.Fatalf("with room for %d of %d bytes the bag was written", room, whole)
		}
	}
}

func entry(name, content string) func(*zip.Writer) error {
	return func(z *zip.Writer) error {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
		if err != nil {
			return err
		}
		_, err = io.WriteString(w, content)
		return err
	}
}

func TestHostileZips(t *testing.T) {
	link := func(z *zip.Writer) error {
		h := &zip.FileHeader{Name: "data/link"}
		h.SetMode(fs.ModeSymlink | 0o777)
		w, err := z.CreateHeader(h)
		if err == nil {
			_, err = io.WriteString(w, "/etc/passwd")
		}
		return err
	}
	lies := func(z *zip.Writer) error { // says one byte, holds a thousand
		var packed bytes.Buffer
		inner := zip.NewWriter(&packed)
		if err := entry("x", strings.Repeat("x", 1000))(inner); err != nil {
			return err
		}
		if err := inner.Close(); err != nil {
			return err
		}
		r, err := zip.NewReader(bytes.NewReader(packed.Bytes()), int64(packed.Len()))
		if err != nil {
			return err
		}
		raw, err := r.File[0].OpenRaw()
		if err != nil {
			return err
		}
		h := r.File[0].FileHeader
		h.Name, h.UncompressedSize64, h.Flags = "data/lies", 1, 0
		w, err := z.CreateRaw(&h)
		if err == nil {
			_, err = io.Copy(w, raw)
		}
		return err
	}
	for name, tt := range map[string]struct {
		entries []func(*zip.Writer) error
		limits  Limits
		say     string
	}{
		"absolute":        {[]func(*zip.Writer) error{entry("/etc/passwd", "")}, Limits{}, "absolute"},
		"up and out":      {[]func(*zip.Writer) error{entry("data/../../x", "")}, Limits{}, "part .."},
		"backslash":       {[]func(*zip.Writer) error{entry(`data\..\x`, "")}, Limits{}, "backslash"},
		"twice":           {[]func(*zip.Writer) error{entry("data/x", "a"), entry("data/x", "b")}, Limits{}, "twice"},
		"file and more":   {[]func(*zip.Writer) error{entry("data/x", "a"), entry("data/x/y", "b")}, Limits{}, "file and of a folder"},
		"link":            {[]func(*zip.Writer) error{link}, Limits{}, "neither a file nor a folder"},
		"too many":        {[]func(*zip.Writer) error{entry("a", ""), entry("b", ""), entry("c", "")}, Limits{Files: 2}, "more than 2 files"},
		"too large":       {[]func(*zip.Writer) error{entry("a", strings.Repeat("x", 100))}, Limits{Bytes: 99}, "more than 99 bytes"},
		"a bomb":          {[]func(*zip.Writer) error{entry("a", strings.Repeat("\x00", freely+1))}, Limits{}, "times its size"},
		"says too little": {[]func(*zip.Writer) error{entry("bagit.txt", "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"), lies}, Limits{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var buf bytes.Buffer
			z := zip.NewWriter(&buf)
			for _, e := range tt.entries {
				if err := e(z); err != nil {
					t.Fatal(err)
				}
			}
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			fsys, err := OpenArchive(bytes.NewReader(buf.Bytes()), int64(buf.Len()), tt.limits)
			if tt.say != "" {
				if err == nil || !strings.Contains(err.Error(), tt.say) {
					t.Fatalf("the error is %v, want one with %q", err, tt.say)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if data, err := fs.ReadFile(fsys, "data/lies"); err == nil || len(data) > 1 {
				t.Errorf("%d bytes were read of a file that says it has one (%v)", len(data), err)
			}
		})
	}
}

func TestHostileTars(t *testing.T) {
	for name, tt := range map[string]struct {
		header tar.Header
		say    string
	}{
		"link":     {tar.Header{Name: "data/x", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, "neither a file nor a folder"},
		"device":   {tar.Header{Name: "data/x", Typeflag: tar.TypeChar}, "neither a file nor a folder"},
		"absolute": {tar.Header{Name: "/data/x", Typeflag: tar.TypeReg}, "absolute"},
		"out":      {tar.Header{Name: "../x", Typeflag: tar.TypeReg}, "part .."},
	} {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		if err := w.WriteHeader(&tt.header); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := OpenArchive(bytes.NewReader(buf.Bytes()), int64(buf.Len()), Limits{})
		if err == nil || !strings.Contains(err.Error(), tt.say) {
			t.Errorf("%s: the error is %v, want one with %q", name, err, tt.say)
		}
	}
	cut := tarred(t, fstest.MapFS{"data/x": {Data: bytes.Repeat([]byte("x"), 5000)}})[:2000]
	if _, err := OpenArchive(bytes.NewReader(cut), int64(len(cut)), Limits{}); err == nil {
		t.Error("a tar that is cut off was opened")
	}
}

// A link in a folder does not lead out of the bag, nor does it count as a file.
func TestLinkInFolder(t *testing.T) {
	folder := t.TempDir()
	for name, file := range unpacked(t, opened(t, written(t, "data/a"))) {
		path := filepath.Join(folder, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, file.Data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if got, r := judge(t, os.DirFS(folder)); got != "valid" {
		t.Fatalf("the verdict is %s: %v", got, r.Errors)
	}
	outside := filepath.Join(t.TempDir(), "a")
	if err := os.Rename(filepath.Join(folder, "data", "a"), outside); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(folder, "data", "a")); err != nil {
		t.Fatal(err)
	}
	if _, r := judge(t, os.DirFS(folder)); !slices.Contains(codes(r.Errors), Irregular) || !slices.Contains(codes(r.Errors), Missing) {
		t.Errorf("with a link for a file the errors are %v", r.Errors)
	}
}

func TestLimits(t *testing.T) {
	bag := unpacked(t, opened(t, written(t, "data/a", "data/b")))
	for name, limits := range map[string]Limits{"files": {Files: 3}, "bytes": {Bytes: 100}, "tag files": {TagFile: 60}} {
		if _, err := OpenLimited(bag, limits); err == nil || errors.Is(err, ErrNotBag) {
			t.Errorf("over the limit of %s: %v", name, err)
		}
	}
}

func TestNames(t *testing.T) {
	for in, want := range map[string]string{
		"data/%7Ea": "data/%7Ea", "a%0ab%0D%": "a\nb\r%", "a%2": "a%2", "data/a%25b": "data/a%b", "%2525": "%25", "%%0a": "%\n",
	} {
		if got := decodeName(in); got != want {
			t.Errorf("%q is read as %q, want %q", in, got, want)
		}
	}
	// A name with a % as other tools pack it: as it should be, and as it is
	// written by those that do not know.
	sum := sha256.Sum256([]byte("x"))
	for _, tt := range []struct{ version, listed string }{{"1.0", "data/100%25"}, {"1.0", "data/100%"}, {"0.97", "data/100%"}, {"0.97", "data/100%25"}} {
		got, r := judge(t, fstest.MapFS{
			"bagit.txt":           {Data: []byte("BagIt-Version: " + tt.version + "\nTag-File-Character-Encoding: UTF-8\n")},
			"manifest-sha256.txt": {Data: []byte(hex.EncodeToString(sum[:]) + "  " + tt.listed + "\n")},
			"data/100%":           {Data: []byte("x")},
		})
		if got != "valid" {
			t.Errorf("BagIt %s with %s: the verdict is %s: %v", tt.version, tt.listed, got, r.Errors)
		}
	}
}

// TestIssuesAreBounded: a bag with endless mistakes does not fill the memory
// with complaints.
func TestIssuesAreBounded(t *testing.T) {
	var manifest strings.Builder
	for i := range 5000 {
		sum := sha256.Sum256([]byte{byte(i)})
		fmt.Fprintf(&manifest, "%s  data/%d\n", hex.EncodeToString(sum[:]), i)
	}
	_, r := judge(t, fstest.MapFS{
		"bagit.txt":           {Data: []byte("BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")},
		"manifest-sha256.txt": {Data: []byte(manifest.String())},
	})
	if len(r.Errors) != maxIssues+1 || r.Errors[maxIssues].Code != More {
		t.Errorf("%d errors are kept, want %d and a last one that says there are more", len(r.Errors), maxIssues)
	}
}

// TestSecondOpinion has our bag checked by a validator that we did not write,
// where there is one: bagit-python (apt install python3-bagit).
func TestSecondOpinion(t *testing.T) {
	python, err := exec.LookPath(either(os.Getenv("LIUHEN_PYTHON_BAGIT"), "python3"))
	if err != nil || exec.CommandContext(t.Context(), python, "-c", "import bagit").Run() != nil {
		t.Skip("there is no Python with the module bagit")
	}
	folder := t.TempDir()
	if err := os.CopyFS(folder, opened(t, written(t, ours...))); err != nil {
		t.Fatal(err)
	}
	bag := filepath.Join(folder, "沈文罚-2026-7")
	check := func() ([]byte, error) {
		return exec.CommandContext(t.Context(), python, "-c", "import bagit, sys; bagit.Bag(sys.argv[1]).validate()", bag).CombinedOutput()
	}
	if out, err := check(); err != nil {
		t.Errorf("bagit-python does not take our bag: %v\n%s", err, out)
	}
	path := filepath.Join(bag, "data", "records", "1.json")
	if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, []byte("Content of data/records/1.json"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if out, err := check(); err == nil {
		t.Errorf("bagit-python takes our bag with a changed file: %s", out)
	}
}

// TestCommonTools checks our bag as a stranger would who has nothing but the
// tools of the system.
func TestCommonTools(t *testing.T) {
	folder := t.TempDir()
	data := written(t, "data/records/1.json", "data/文书/告知书.pdf", "data/空 格.txt", "README.html")
	if err := os.CopyFS(folder, opened(t, data)); err != nil {
		t.Fatal(err)
	}
	for tool, ending := range map[string]string{"sha256sum": "sha256", "sha512sum": "sha512"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		for _, manifest := range []string{"manifest-", "tagmanifest-"} {
			cmd := exec.CommandContext(t.Context(), path, "--check", "--strict", manifest+ending+".txt")
			cmd.Dir = filepath.Join(folder, "沈文罚-2026-7")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s of %s%s.txt: %v\n%s", tool, manifest, ending, err, out)
			}
		}
	}
	if unzip, err := exec.LookPath("unzip"); err == nil {
		path := filepath.Join(t.TempDir(), "bag.zip")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), unzip, "-t", path).CombinedOutput(); err != nil {
			t.Errorf("unzip does not take our zip: %v\n%s", err, out)
		}
	}
}

func FuzzArchive(f *testing.F) {
	f.Add(written(f, "data/a", "note.txt"))
	f.Add(tarred(f, fstest.MapFS{"data/x": {Data: []byte("x")}, "bagit.txt": {Data: []byte("BagIt-Version: 0.97\nTag-File-Character-Encoding: UTF-16\n")}}))
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, data []byte) {
		limits := Limits{Files: 100, Bytes: 1 << 20, TagFile: 1 << 16}
		fsys, err := OpenArchive(bytes.NewReader(data), int64(len(data)), limits)
		if err != nil {
			return
		}
		b, err := OpenLimited(fsys, limits)
		if err != nil {
			return
		}
		r := b.Validate()
		if r.Bytes > limits.Bytes || r.Files > limits.Files {
			t.Errorf("%d bytes in %d files are over the limits", r.Bytes, r.Files)
		}
		for _, name := range b.Payload() {
			if !fs.ValidPath(name) || unsafe(name) != "" {
				t.Errorf("the payload has %q", name)
			}
		}
	})
}

// FuzzTagFiles reads tag files of any content.
func FuzzTagFiles(f *testing.F) {
	f.Add("BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  data/a\n", "A: b\n c\nPayload-Oxum: 3.1\n", "https://a - data/a\n")
	f.Add("BagIt-Version: 0.97\nTag-File-Character-Encoding: UTF-16\n", "\xfe\xff\x00a", "a : b", "x 1 ~/a")
	f.Add("BagIt-Version: 0.96\r\nTag-File-Character-Encoding: ISO-8859-1", "ab *./data/%0A\r\rcd ..\\x", ":\n : :", "- - -")
	f.Fuzz(func(t *testing.T, declaration, manifest, info, fetch string) {
		b, err := Open(fstest.MapFS{
			"bagit.txt": {Data: []byte(declaration)}, "manifest-sha256.txt": {Data: []byte(manifest)},
			"bag-info.txt": {Data: []byte(info)}, "fetch.txt": {Data: []byte(fetch)}, "data/a": {Data: []byte("abc")},
		})
		if err != nil {
			if !errors.Is(err, ErrNotBag) {
				t.Errorf("a tag file broke the reader: %v", err)
			}
			return
		}
		for _, m := range b.manifests {
			for _, l := range m.lines {
				if unsafe(l.path) != "" || !inPayload(l.path) || len(l.digest) != 64 {
					t.Errorf("the manifest line %+v was taken", l)
				}
			}
		}
		for _, e := range b.Info {
			if e.Label == "" || strings.ContainsAny(e.Label+e.Value, "\r\n") {
				t.Errorf("the entry %+v was taken", e)
			}
		}
		b.Validate()
	})
}
