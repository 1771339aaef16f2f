package domain_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"liuhen/domain"
)

var addGolden = flag.Bool("add-golden", false, "write a golden record where there is none yet")

// Golden records are never edited: they are the promise that what was written
// can still be read. A new version of the envelope adds files.
func TestGoldenRecords(t *testing.T) {
	if *addGolden {
		for name, s := range stories(t) {
			for _, r := range s.play(t, nil) {
				file := filepath.Join("testdata", "record", "v1-"+name+"-"+r.Act()+".json")
				if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) && strings.HasPrefix(name, "ordinary-hearing-flawed") {
					if err := os.WriteFile(file, r.Raw, 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	files, err := filepath.Glob("testdata/record/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden records: %v", err)
	}
	digests := map[string]string{}
	for line := range strings.Lines(read(t, "testdata/record/SHA256SUMS")) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		digests[name] = "sha256:" + sum
	}
	for _, file := range files {
		data := []byte(read(t, file))
		r, err := domain.Read(7, time.Unix(0, 0), data)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if got, want := r.Digest.String(), digests[filepath.Base(file)]; got != want {
			t.Errorf("%s: digest %s, want %s: a golden record was edited, or has no line in SHA256SUMS", file, got, want)
		}
		again, err := r.Encode()
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if string(again) != string(data) {
			t.Errorf("%s: reading lost something:\n%s\n%s", file, data, again)
		}
	}
}

// Every record is a CloudEvents 1.0 event in structured JSON form, as the
// CloudEvents SDK sees it.
func TestRecordsAreCloudEvents(t *testing.T) {
	for name, s := range stories(t) {
		for _, r := range s.play(t, nil) {
			var ce cloudevents.Event
			if err := json.Unmarshal(r.Raw, &ce); err != nil {
				t.Fatalf("%s, %s: %v", name, r.Act(), err)
			}
			if err := ce.Validate(); err != nil {
				t.Errorf("%s, %s: %v", name, r.Act(), err)
			}
			if ce.Subject() != string(r.Subject) || ce.Type() != r.Type || !ce.Time().Equal(r.Time) || ce.ID() != r.ID || ce.Source() != r.Source {
				t.Errorf("%s, %s: the SDK reads other attributes: %s", name, r.Act(), ce)
			}
			for _, extension := range []string{"recordedtime", "edition", "caserevision", "commandid", "actor", "salt"} {
				if _, ok := ce.Extensions()[extension]; !ok {
					t.Errorf("%s, %s: the SDK sees no attribute %s", name, r.Act(), extension)
				}
			}
		}
	}
}

func TestReadRefusesWhatIsNoRecord(t *testing.T) {
	good := string(stories(t)["ordinary-lawful"].play(t, nil)[1].Raw)
	for name, bad := range map[string]string{
		"empty":                "",
		"cut short":            good[:len(good)/2],
		"no id":                strings.Replace(good, `"id":"event-1"`, `"id":""`, 1),
		"another version":      strings.Replace(good, `"specversion":"1.0"`, `"specversion":"2.0"`, 1),
		"no revision":          strings.Replace(good, `"caserevision":2`, `"caserevision":0`, 1),
		"a digest of no sort":  strings.Replace(good, `"previousdigest":"sha256:`, `"previousdigest":"sha1:`, 1),
		"no act":               strings.Replace(good, `"type":"penalty-ordinary.file-case"`, `"type":"penalty-ordinary"`, 1),
		"a number as a number": strings.Replace(good, `"fields":{`, `"fields":{"x":1e999,`, 1),
	} {
		if bad == good {
			t.Fatalf("%s: nothing was changed", name)
		}
		if _, err := domain.Read(1, time.Time{}, []byte(bad)); !errors.Is(err, domain.ErrRecord) {
			t.Errorf("%s: %v, want ErrRecord", name, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, r := range stories(f)["ordinary-hearing-flawed"].play(f, nil) {
		f.Add(r.Raw)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := domain.Read(1, time.Time{}, data)
		if err != nil {
			return
		}
		if r.Digest != domain.DigestOf(data) {
			t.Fatal("the digest is not of the bytes that were read")
		}
		_, _ = domain.Evolve(book, nil, r)
	})
}

func FuzzParseRoster(f *testing.F) {
	f.Add("officers:\n  - {id: li, name: 李明, certificates: [{number: '1', from: 2023-01-01, to: 2027-12-31}]}\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			t.Skip("longer than a fuzzed roster needs to be")
		}
		r, err := domain.ParseRoster([]byte(text))
		if (r == nil) == (err == nil) {
			t.Fatalf("roster %v and error %v", r, err)
		}
	})
}

func read(t testing.TB, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func BenchmarkRead(b *testing.B) {
	r := stories(b)["ordinary-lawful"].play(b, nil)[1]
	b.SetBytes(int64(len(r.Raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := domain.Read(1, time.Time{}, r.Raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecideAndEncode(b *testing.B) {
	s := stories(b)["ordinary-lawful"]
	records := s.play(b, nil)
	c, err := domain.Replay(book, records[:10])
	if err != nil {
		b.Fatal(err)
	}
	cmd, stamp := s.command(b, 10)
	b.ReportAllocs()
	for b.Loop() {
		e, err := decide(c, cmd, stamp)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := e.Encode(); err != nil {
			b.Fatal(err)
		}
	}
}
