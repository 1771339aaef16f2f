package bundle

import (
	"bytes"
	_ "embed"
	"flag"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// The example is a bundle of format 1 as it once was written, with its key. It is
// never made anew without a reason: what was handed out must stay checkable.
//
//go:embed testdata/example.zip
var example []byte

//go:embed testdata/example.key
var exampleKey string

var writeExample = flag.Bool("example", false, "write testdata/example.zip anew")

func TestExample(t *testing.T) {
	if *writeExample {
		o := busy(t)
		err := os.WriteFile("testdata/example.zip", o.bundle("C-1", "C-3"), 0o600)
		if err == nil {
			err = os.WriteFile("testdata/example.key", []byte(o.key()+"\n"), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	r := check(t, example, options(strings.TrimSpace(exampleKey)))
	isProven(t, r)
	if len(r.Cases) != 2 || r.Size != 10 {
		t.Errorf("the example is %+v", r)
	}
}

// FuzzCheck checks any bytes.
func FuzzCheck(f *testing.F) {
	f.Add(example)
	f.Add([]byte("PK\x05\x06" + strings.Repeat("\x00", 18)))
	f.Add([]byte{})
	bag := unpack(f, example)
	for _, name := range []string{manifestFile, checkpointFile, keysFile, proofFile("data/cases/1/", 1)} {
		without := bag.clone()
		delete(without, name)
		f.Add(without.rebag(f))
	}
	key := strings.TrimSpace(exampleKey)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, o := range []Options{{Key: key}, {}} {
			r := check(t, data, o)
			if r.Verdict == Proven && !sameRecords(t, bag, data) {
				t.Error("records that are not those of the example are called proven")
			}
		}
	})
}

// FuzzChanged changes one file of a bundle that is good and packs it anew, with
// manifests that fit.
func FuzzChanged(f *testing.F) {
	bag := unpack(f, example)
	names := slices.Sorted(maps.Keys(bag))
	for i := range names {
		f.Add(uint8(i), uint32(3), []byte("x"), uint8(1))
	}
	key := strings.TrimSpace(exampleKey)
	f.Fuzz(func(t *testing.T, which uint8, at uint32, with []byte, cut uint8) {
		name := names[int(which)%len(names)]
		text := bag[name]
		from := min(int(at), len(text))
		to := min(from+int(cut), len(text))
		changed := bag.clone()
		changed[name] = slices.Concat(text[:from], with, text[to:])
		data := changed.rebag(t)
		r := check(t, data, Options{Key: key})
		if r.Verdict == Proven && !sameRecords(t, bag, data) {
			t.Errorf("%s with %q in the place of %q is called proven", name, with, text[from:to])
		}
	})
}

// sameRecords says whether a bundle shows records that the example has, each with
// its own proof, and no others.
func sameRecords(t testing.TB, bag files, data []byte) bool {
	t.Helper()
	for name, text := range unpack(t, data) {
		if strings.Contains(name, "/records/") && !bytes.Equal(text, bag[name]) {
			return false
		}
	}
	return true
}
