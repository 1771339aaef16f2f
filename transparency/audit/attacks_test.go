package audit_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"liuhen/domain"
	"liuhen/eventstore"
	"liuhen/transparency"
	"liuhen/transparency/audit"
)

var update = flag.Bool("update", false, "write the table of attacks into docs/SECURITY.md")

// The record that is attacked: enough that a start, which looks at the last 256
// records and 16 others, finds a change in the middle by chance only.
const (
	attacked = 4000
	cases    = 50
	target   = 1234 // a position in the middle
)

// An attack is what somebody does who has the machine, and who finds it.
type attack struct {
	name, zh string
	do       func(t *testing.T, o *office) // on a stopped office; may serve and stop NATS
	start    string                        // in the incident by which the next start stops writing; empty: it need not notice
	running  string                        // in the incident by which a running system stops writing, where it was done to one
	verify   audit.Kind                    // the kind of the first fault; empty: nothing to find
	position uint64                        // of it
	scope    audit.Scope
	hide     func(audit.Records) audit.Records // what is shown to the audit instead
	later    string                            // who finds it, where that is not tested here
	chance   bool                              // a start can find it by chance
}

var attacks = []attack{
	{
		name: "one byte of a record changed in a block file of the stream", zh: "改动存储文件中一条记录的一个字节",
		do: func(t *testing.T, o *office) {
			b := readBlock(t, o, 1)
			payload(b.record(t, target))[300] ^= 1
			b.write(t)
		},
		verify: audit.Missing, position: target, chance: true,
	},
	{
		name: "a record replaced in a block file, its checksum made right again", zh: "在存储文件中替换一条记录，并补正校验和",
		do: func(t *testing.T, o *office) {
			b := readBlock(t, o, 1)
			r := b.record(t, target)
			replaceText(t, r, `"fine":200`, `"fine":100`)
			b.right(t, r)
			b.write(t)
		},
		verify: audit.Changed, position: target, chance: true,
	},
	{
		name: "the last record but one replaced in the same way", zh: "以同样方式替换倒数第二条记录",
		do: func(t *testing.T, o *office) {
			b := readBlock(t, o, 1)
			r := b.record(t, attacked-1)
			replaceText(t, r, `"fine":200`, `"fine":100`)
			b.right(t, r)
			b.write(t)
		},
		start: "has other bytes than the log knows", verify: audit.Changed, position: attacked - 1,
	},
	{
		name: "two records swapped in a block file, checksums made right again", zh: "在存储文件中调换两条记录，并补正校验和",
		do: func(t *testing.T, o *office) {
			b := readBlock(t, o, 1)
			one, two := b.record(t, target), b.record(t, target+1)
			if len(one) != len(two) {
				t.Fatal("the two records have different lengths")
			}
			was := bytes.Clone(one[20 : len(one)-8]) // sequence and time stay
			copy(one[20:len(one)-8], two[20:len(two)-8])
			copy(two[20:len(two)-8], was)
			b.right(t, one)
			b.right(t, two)
			b.write(t)
		},
		verify: audit.Moved, position: target, chance: true,
	},
	{
		name: "an older backup of the data folder put back", zh: "恢复整个数据目录的较旧备份",
		do:    func(t *testing.T, o *office) { copyFolder(t, o.older(t), o.dir) },
		start: "it was put back to an older state", verify: audit.Remembered, position: 1001,
	},
	{
		name: "an older backup of the stream alone put back", zh: "只恢复记录流的较旧备份",
		do: func(t *testing.T, o *office) {
			const stream = "nats/jetstream/$G/streams/" + testVolume
			copyFolder(t, filepath.Join(o.older(t), stream), filepath.Join(o.dir, stream))
		},
		start: "acknowledged records are missing", verify: audit.Lost, position: 1001,
	},
	{
		name: "an older backup of everything, the memory beside the key too", zh: "恢复包括密钥旁存根在内的全部较旧备份",
		do: func(t *testing.T, o *office) {
			copyFolder(t, o.older(t), o.dir)
			copyFolder(t, filepath.Join(o.older(t), "../away"), o.away)
		},
		later: "nobody here; a witness that has cosigned more (`transparency/attest` TestWitnessProvesLoss), or whoever holds a later proof or checkpoint",
	},
	{
		name: "records evicted by lowering max_msgs through the API", zh: "通过接口调低 max_msgs 清除记录",
		do: func(t *testing.T, o *office) {
			evict(t, o.serve(t))
			o.stop()
		},
		start: "100 records stand at positions 3901 to 4000", verify: audit.Missing, position: 1,
	},
	{
		name: "the stream deleted and made anew with forged records", zh: "删除记录流后以伪造的记录重建",
		do: func(t *testing.T, o *office) {
			js := o.serve(t)
			forge(t, o, js)
			o.stop()
		},
		start: "has other bytes than the log knows", verify: audit.Changed, position: 1,
	},
	{
		name: "a record that says it was made three days before it was stored", zh: "记录时间倒签三日",
		do: func(t *testing.T, o *office) {
			if why := o.start(t); why != "" {
				t.Fatal(why)
			}
			o.record(t, 1, 1, func(e *domain.Event) { e.Recorded = e.Recorded.AddDate(0, 0, -3) })
			o.stop()
		},
		verify: audit.Dated, position: attacked + 1,
	},
	{
		name: "an act slipped into the stream past the program", zh: "绕过系统直接写入记录流",
		do: func(t *testing.T, o *office) {
			js := o.serve(t)
			if _, err := js.Publish(t.Context(), subject("C-0001"), o.event(t, "C-0001", func(e *domain.Event) { e.Revision++ })); err != nil {
				t.Fatal(err)
			}
			o.stop()
		},
		verify: audit.Chain, position: attacked + 1,
	},
	{
		name: "a case shown without its last event", zh: "出示案件时隐去最后一条记录",
		do:    func(*testing.T, *office) {},
		hide:  func(r audit.Records) audit.Records { return &hiding{r, "C-0007"} },
		scope: audit.Scope{Case: "C-0007"}, verify: audit.Hidden,
	},
	{
		name: "a checkpoint signed by another key put into the history", zh: "在历史中放入由其他密钥签名的检查点",
		do: func(t *testing.T, o *office) {
			publish(t, o.serve(t), newKey(t), attacked+1, tlog.Hash{1})
			o.stop()
		},
		start: "no checkpoint signed with a key of this log", verify: audit.Signature,
	},
	{
		name: "a second checkpoint of the same size, signed by the log's own key", zh: "用日志自己的密钥就同一大小签出第二个检查点",
		do: func(t *testing.T, o *office) {
			publish(t, o.serve(t), o.key, attacked, tlog.Hash{1})
			o.stop()
		},
		start: "with different roots", verify: audit.TwoTruths,
	},
	{
		name: "a hash in a tile of the log altered", zh: "改动日志数据块中的一个哈希",
		do: func(t *testing.T, o *office) {
			path := filepath.Join(string(o.tiles()), "tile/0/004")
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			data[32*(target-4*256-1)] ^= 1
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		verify: audit.Tile, position: target, chance: true,
	},
	{
		name: "a leaf in the entries of the log altered", zh: "改动日志条目中的一个叶子",
		do: func(t *testing.T, o *office) {
			path := filepath.Join(string(o.tiles()), "tile/entries/004")
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			line := fmt.Appendf(nil, "\n%d\n", target)
			at := bytes.Index(data, line)
			copy(data[at+len(line):], "1999")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		verify: audit.Tile, position: target, chance: true,
	},
	{
		name: "the same, while the system runs: a checkpoint signed by another key", zh: "系统运行时：由其他密钥签名的检查点",
		do: func(t *testing.T, o *office) {
			publish(t, o.serve(t), newKey(t), attacked+1, tlog.Hash{1})
		},
		running: "no checkpoint signed with a key of this log",
	},
	{
		name: "the same, while the system runs: a second checkpoint of one size", zh: "系统运行时：同一大小的第二个检查点",
		do: func(t *testing.T, o *office) {
			publish(t, o.serve(t), o.key, attacked, tlog.Hash{1})
		},
		running: "of 4000 records whose root is not that",
	},
	{
		name: "the same, while the system runs: records evicted through the API", zh: "系统运行时：通过接口清除记录",
		do:      func(t *testing.T, o *office) { evict(t, o.serve(t)) },
		running: "100 records stand at positions 3901 to 4000",
	},
	{name: "two readers shown two logs by the operator (fork)", zh: "运营者向两个读者出示两个日志（分叉）", later: "a witness (`transparency/attest` TestWitnessProvesFork)"},
	{name: "a bundle with an event of its case hidden", zh: "导出包中隐去案件的一个事件", later: "`liuhen check` (`bundle` TestAttacks)"},
}

// evict has the server throw old records away.
func evict(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	stream, err := js.Stream(t.Context(), testVolume)
	if err != nil {
		t.Fatal(err)
	}
	c := stream.CachedInfo().Config
	c.MaxMsgs, c.Discard = 100, jetstream.DiscardOld
	if _, err := js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// forge makes the stream anew, of the same length, with chains of cases that hold
// together, and one fine that is smaller.
func forge(t *testing.T, o *office, js jetstream.JetStream) {
	t.Helper()
	stream, err := js.Stream(t.Context(), testVolume)
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	if err := js.DeleteStream(t.Context(), testVolume); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	heads := o.heads
	o.heads = map[string]domain.Recorded{}
	defer func() { o.heads = heads }()
	for i := range attacked {
		name := fmt.Sprintf("C-%04d", i%cases)
		data := o.event(t, name, func(e *domain.Event) {
			if i == target {
				e.Data.Fields["fine"] = int64(100)
			}
		})
		o.known(t, data)
		if _, err := js.PublishAsync(subject(name), data); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(time.Minute):
		t.Fatal("the forged records were not stored")
	}
}

// publish puts a checkpoint into the history.
func publish(t *testing.T, js jetstream.JetStream, key testKey, size int64, root tlog.Hash) {
	t.Helper()
	c := transparency.Checkpoint{Origin: testOrigin, Size: size, Root: root}
	signed, err := note.Sign(&note.Note{Text: c.Text()}, key.signer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "log."+testVolume+".checkpoint", signed); err != nil {
		t.Fatal(err)
	}
}

// hiding shows a case without its last record.
type hiding struct {
	audit.Records
	name string
}

func (h *hiding) Read(ctx context.Context, from, upTo uint64, name string) iter.Seq2[[]eventstore.Record, error] {
	return func(yield func([]eventstore.Record, error) bool) {
		for recs, err := range h.Records.Read(ctx, from, upTo, name) {
			if n := len(recs); name == h.name && n > 0 {
				recs = recs[:n-1] // the case comes in one batch
			}
			if !yield(recs, err) {
				return
			}
		}
	}
}

// older is a copy of the data folder as it was at 1,000 records.
func (o *office) older(t testing.TB) string {
	t.Helper()
	return filepath.Join(o.past, "data")
}

// row is one line of the table.
type row struct{ name, who, message, took string }

func TestAttacks(t *testing.T) {
	if testing.Short() {
		t.Skip("many starts of a server")
	}
	whole := newOffice(t)
	if why := whole.start(t); why != "" {
		t.Fatal(why)
	}
	whole.record(t, cases, 1000)
	whole.stop()
	whole.past = t.TempDir()
	copyFolder(t, whole.dir, filepath.Join(whole.past, "data"))
	copyFolder(t, whole.away, filepath.Join(whole.past, "away"))
	if why := whole.start(t); why != "" {
		t.Fatal(why)
	}
	whole.record(t, cases, attacked-1000)
	whole.stop()
	clean(t, whole.verify(t, audit.Scope{}))
	whole.stop()

	var rows []row
	for _, a := range attacks {
		ok := t.Run(strings.ReplaceAll(a.name, "/", " "), func(t *testing.T) {
			if a.do == nil {
				rows = append(rows, row{a.zh + " · " + a.name, a.later, "", ""})
				return
			}
			o := whole.copied(t)
			o.past = whole.past
			if a.running != "" {
				rows = append(rows, a.whileRunning(t, o))
				return
			}
			a.do(t, o)
			rows = append(rows, a.found(t, o))
		})
		if !ok {
			rows = append(rows, row{name: a.name})
		}
	}
	if !t.Failed() {
		table(t, rows)
	}
}

// whileRunning attacks a running system, which must stop writing.
func (a *attack) whileRunning(t *testing.T, o *office) row {
	if why := o.start(t, func(c *eventstore.Config) { c.CheckEvery = 20 * time.Millisecond }); why != "" {
		t.Fatal(why)
	}
	began := time.Now()
	a.do(t, o)
	why := ""
	for began := time.Now(); time.Since(began) < time.Minute && !strings.Contains(why, a.running); why = o.store.Status().Incident {
		<-time.After(time.Millisecond) // the store has no way to wait for an incident
	}
	if !strings.Contains(why, a.running) {
		t.Fatalf("the running system says %q, want %q", why, a.running)
	}
	took := time.Since(began)
	if _, err := o.store.Append(t.Context(), subject("C-9999"), attacked, []byte("{}")); !errors.Is(err, eventstore.ErrStopped) {
		t.Errorf("an append after it: %v, want ErrStopped", err)
	}
	o.stop()
	at := "running system"
	if strings.Contains(a.running, "100 records") {
		at = "running system, when it compares the configuration (hourly; every 20 ms in the test)"
	}
	return row{a.zh + " · " + a.name, at, part(why, a.running), took.Round(time.Millisecond).String()}
}

// found has a start, and an audit, find what was done.
func (a *attack) found(t *testing.T, o *office) row {
	var who, messages, took []string
	// The audit first, for a start could repair what it finds.
	if a.verify != "" || a.later != "" {
		s := o.source(t)
		if a.hide != nil {
			s.Records = a.hide(s.Records)
		}
		got, err := s.Run(t.Context(), a.scope)
		if err != nil {
			t.Fatal(err)
		}
		o.stop()
		f := got.First()
		switch {
		case a.verify == "" && f == nil:
		case a.verify == "":
			t.Errorf("verify finds %+v, want nothing: say in the table who finds it", f)
		case f == nil:
			t.Errorf("verify finds nothing, want %s", a.verify)
		case f.Kind != a.verify || f.Position != a.position:
			t.Errorf("verify finds %+v\nall: %+v\nwant %s at %d", f, got.Faults, a.verify, a.position)
		default:
			who = append(who, "verify")
			messages = append(messages, f.EN)
			took = append(took, (time.Duration(got.Seconds * 1e9)).Round(time.Millisecond).String())
		}
	}
	if a.hide == nil {
		began := time.Now()
		why := o.open(t)
		spent := time.Since(began)
		o.stop()
		switch {
		case a.start != "" && !strings.Contains(why, a.start):
			t.Errorf("the start says %q, want %q", why, a.start)
		case a.start != "":
			why = strings.ReplaceAll(why, o.dir, "(data)")
			why = strings.ReplaceAll(why, o.away, "(keys)")
			who, messages, took = append([]string{"start"}, who...), append([]string{part(why, a.start)}, messages...), append([]string{spent.Round(time.Millisecond).String()}, took...)
		case a.chance:
			who[0] += " (start: only by chance)"
		case why != "":
			t.Errorf("the start says %q: say so in the table", why)
		case a.verify != "":
			who[0] += " (not at a start)"
		}
	}
	if a.later != "" {
		who = append(who, a.later)
	}
	return row{a.zh + " · " + a.name, strings.Join(who, "; "), strings.Join(messages, "<br>"), strings.Join(took, "; ")}
}

// part is the one of several reasons that says something.
func part(why, says string) string {
	for p := range strings.SplitSeq(why, "; ") {
		if strings.Contains(p, says) {
			return p
		}
	}
	return why
}

// What differs from run to run is left out of the table.
var varying = []struct {
	what *regexp.Regexp
	as   string
}{
	{regexp.MustCompile(`the record at position \d+ has other bytes than the log knows`), "the record at position n has other bytes than the log knows"}, // a start reads some at random
	{regexp.MustCompile(`[0-9a-f]{12}…`), "…"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| \+0000 UTC)`), "(time)"},
	{regexp.MustCompile(`example\.org/liuhen/test\+[0-9a-f]{8}`), "example.org/liuhen/test+(id)"},
	{regexp.MustCompile(`entry \d+ of`), "entry n of"},
	{regexp.MustCompile(`历史第 \d+ 项`), "历史第 n 项"},
}

const (
	tableFile = "../../docs/SECURITY.md"
	tableFrom = "<!-- attacks: made by go test ./transparency/audit -run TestAttacks -update -->\n"
	tableTo   = "<!-- attacks end -->\n"
)

// table compares the table in docs/SECURITY.md with what was found, but for the
// times, or writes it.
func table(t *testing.T, rows []row) {
	t.Helper()
	var b strings.Builder
	b.WriteString("\n| Attack | Who finds it | What is said | Time to detection, in the run that made this table |\n| --- | --- | --- | --- |\n")
	for _, r := range rows {
		for _, v := range varying {
			r.message = v.what.ReplaceAllString(r.message, v.as)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.name, r.who, strings.ReplaceAll(r.message, "|", "\\|"), r.took)
	}
	b.WriteString("\n")
	doc, err := os.ReadFile(tableFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(doc), tableFrom)
	have, after, closed := strings.Cut(rest, tableTo)
	if !ok || !closed {
		t.Fatalf("%s has no place for the table: want the lines %q and %q", tableFile, tableFrom, tableTo)
	}
	if *update {
		if err := os.WriteFile(tableFile, []byte(before+tableFrom+b.String()+tableTo+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	times := regexp.MustCompile(`\| [^|]* \|\n`) // the last column
	if got, want := times.ReplaceAllString(b.String(), "|\n"), times.ReplaceAllString(have, "|\n"); got != want {
		t.Errorf("the table of attacks in %s is not what was found; run the test with -update\nfound:\n%s\nthere:\n%s", tableFile, got, want)
	}
}
