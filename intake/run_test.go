package intake

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A ledger is a sink that remembers what it recorded, as a receiver does.
type ledger struct {
	mu      sync.Mutex
	cases   map[string][]int64 // rows of each case, in the order of arrival
	seen    map[string]bool    // command ids
	batches []int
	flying  map[string]int // cases in batches under way
	most    int            // batches under way at once
	under   int
	broken  string                                 // the first thing that was wrong
	before  func(ctx context.Context, n int) error // called with the number of the batch before anything is recorded
	after   func(n int) error                      // and after
}

func newLedger() *ledger {
	return &ledger{cases: make(map[string][]int64), seen: make(map[string]bool), flying: make(map[string]int)}
}

func (l *ledger) record(ctx context.Context, b Batch) ([]Outcome, error) {
	l.mu.Lock()
	n := len(l.batches)
	if !b.DryRun {
		l.batches = append(l.batches, len(b.Commands))
	}
	l.under++
	l.most = max(l.most, l.under)
	mine := make(map[string]bool)
	for _, c := range b.Commands {
		if !mine[c.Case] && l.flying[c.Case] > 0 && l.broken == "" {
			l.broken = fmt.Sprintf("case %s is in two batches at once", c.Case)
		}
		mine[c.Case] = true
	}
	for c := range mine {
		l.flying[c]++
	}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.under--
		for c := range mine {
			l.flying[c]--
		}
	}()
	if l.before != nil && !b.DryRun {
		if err := l.before(ctx, n); err != nil {
			return nil, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Outcome, len(b.Commands))
	for i, c := range b.Commands {
		switch {
		case l.seen[c.CommandID]:
			out[i].Result = Already
			continue
		case strings.HasPrefix(c.Case, "bad"):
			out[i] = Outcome{Result: Refused, Why: "the office does not like it"}
			continue
		}
		out[i] = Outcome{Result: Taken, Findings: int(c.Row % 2), Event: fmt.Sprint("e", c.Row)}
		if b.DryRun {
			continue
		}
		l.seen[c.CommandID] = true
		l.cases[c.Case] = append(l.cases[c.Case], c.Row)
	}
	if l.after != nil && !b.DryRun {
		return out, l.after(n)
	}
	return out, nil
}

// check fails unless every row of a file was recorded once, each case in order.
func (l *ledger) check(t *testing.T, rows int) {
	t.Helper()
	if l.broken != "" {
		t.Error(l.broken)
	}
	got := 0
	for c, numbers := range l.cases {
		for i, n := range numbers {
			if got++; i > 0 && n <= numbers[i-1] {
				t.Errorf("case %s: row %d came after row %d", c, n, numbers[i-1])
			}
		}
	}
	if got != rows {
		t.Errorf("%d rows were recorded, want %d", got, rows)
	}
}

// logFile makes a CSV log of cases with a few rows each; every tenth case
// comes up again later.
func logFile(t testing.TB, prefix string, rows int) string {
	var b strings.Builder
	b.WriteString("id,what,when\n")
	for i := range rows {
		c := i / 4
		if i%40 == 7 {
			c = 0
		}
		fmt.Fprintf(&b, "%s%d,%c,2024-01-%02d\n", prefix, c, 'A'+rune(i%2), i%28+1)
	}
	return write(t, "log.csv", b.String())
}

func options(t testing.TB) Options {
	return Options{Mapping: mapping(t, csvMapping), Source: "test", BatchRows: 10}
}

func TestRun(t *testing.T) {
	l := newLedger()
	o := options(t)
	dir := t.TempDir()
	o.Report, o.State = filepath.Join(dir, "report.csv"), filepath.Join(dir, "state")
	path := write(t, "log.csv", "id,what,when\na,A,2024-01-01\na,B,2024-01-02\nx y,A,2024-01-01\nbad1,A,2024-01-03\nb,C,2024-01-03\na,A,2024-01-04\n")
	var last Progress
	report, err := Run(t.Context(), o, []string{path, path}, l.record, func(p Progress) { last = p })
	if err != nil {
		t.Fatal(err)
	}
	l.check(t, 3)
	want := map[Result]int64{Taken: 3, Already: 3, Refused: 6}
	if fmt.Sprint(report.Results) != fmt.Sprint(want) || report.Rows != 12 || report.Findings != 1 {
		t.Errorf("report %+v, want %v of 12 rows with 1 finding", report, want)
	}
	if report.Acts["a"][Taken] != 2 || report.Acts["C"][Refused] != 2 || len(report.Refusals) != 6 {
		t.Errorf("acts %v and %d refusals, want 2 of a taken, 2 of C refused, and 6 refusals", report.Acts, len(report.Refusals))
	}
	if last.Rows != 12 || last.Bytes != last.BytesTotal || last.Rate <= 0 {
		t.Errorf("last progress %+v, want 12 rows and all bytes", last)
	}
	lines := csvLines(t, o.Report)
	if len(lines) != 13 {
		t.Fatalf("the report has %d lines, want 12 and a header", len(lines))
	}
	for i, want := range map[int]string{
		1: "log.csv,1,2,,a,a,taken,,1,e1", 3: `log.csv,3,4,,,a,refused,case: the case id "x y" has ' '; letters, digits, - and _ are allowed,0,`,
		4: "log.csv,4,5,,bad1,a,refused,the office does not like it,0,", 5: `log.csv,5,6,,b,C,refused,act: the activity "C" is not in the mapping,0,`, 7: "log.csv,1,2,,a,a,already,,0,",
	} {
		if got := strings.Join(lines[i], ","); got != want {
			t.Errorf("line %d of the report:\n got %s\nwant %s", i, got, want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(o.State, "*")); len(left) > 0 {
		t.Errorf("journals are left after a complete run: %v", left)
	}
}

func csvLines(t *testing.T, path string) [][]string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text, ok := strings.CutPrefix(string(data), "\ufeff")
	if !ok {
		t.Errorf("the report has no byte order mark")
	}
	lines, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatalf("read report: %v", err)
	}
	return lines
}

func TestRunJSONLinesAndRepairs(t *testing.T) {
	o := options(t)
	o.Mapping = mapping(t, csvMapping+"ragged: pad\nfields: {x: x}\n")
	o.Report = filepath.Join(t.TempDir(), "report.jsonl")
	report, err := Run(t.Context(), o, []string{write(t, "log.csv", "id,what,when,x\na,A,2024-01-01\n")}, newLedger().record, nil)
	if err != nil || report.Results[Repaired] != 1 {
		t.Fatalf("run: %+v, %v, want one row repaired", report, err)
	}
	data, err := os.ReadFile(o.Report)
	if err != nil {
		t.Fatal(err)
	}
	var line Line
	if err := json.Unmarshal(data, &line); err != nil || line.Outcome != Repaired || !strings.Contains(line.Detail, "3 cells, the header has 4") {
		t.Errorf("report %s (%v), want the repair", data, err)
	}
}

// Batches go out several at a time, but never two with the same case.
func TestRunKeepsTheOrderOfCases(t *testing.T) {
	const rows = 4000
	l := newLedger()
	together := make(chan struct{}) // closed when two batches are under way at once
	var once sync.Once
	l.before = func(ctx context.Context, n int) error {
		l.mu.Lock()
		if l.under > 1 {
			once.Do(func() { close(together) })
		}
		l.mu.Unlock()
		if n > 0 {
			return nil
		}
		select { // the first batch is not done until another is handed in beside it
		case <-together:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	o := options(t)
	o.InFlight = 3
	report, err := Run(t.Context(), o, []string{logFile(t, "c", rows)}, l.record, nil)
	if err != nil {
		t.Fatal(err)
	}
	l.check(t, rows)
	if report.Results[Taken] != rows || l.most > 3 {
		t.Errorf("%v taken with %d batches at once, want %d and at most 3", report.Results, l.most, rows)
	}
	for _, n := range l.batches {
		if n > o.BatchRows {
			t.Errorf("a batch has %d rows, want at most %d", n, o.BatchRows)
		}
	}
}

func TestDryRun(t *testing.T) {
	o := options(t)
	o.DryRun, o.State = true, filepath.Join(t.TempDir(), "state")
	path := logFile(t, "c", 100)
	for name, sink := range map[string]Sink{"no sink": nil, "a sink": newLedger().record} {
		report, err := Run(t.Context(), o, []string{path}, sink, nil)
		if err != nil || report.Results[Taken] != 100 || !report.DryRun {
			t.Errorf("%s: dry run: %+v, %v, want 100 rows taken", name, report, err)
		}
	}
	if _, err := os.Stat(o.State); err == nil {
		t.Error("a dry run keeps a journal")
	}
}

func TestRunNeeds(t *testing.T) {
	path := logFile(t, "c", 4)
	m := mapping(t, csvMapping)
	sink := newLedger().record
	tests := []struct {
		o     Options
		files []string
		sink  Sink
		want  string
	}{
		{Options{Source: "s"}, []string{path}, sink, "no mapping"},
		{Options{Mapping: m}, []string{path}, sink, "no source"},
		{Options{Mapping: m, Source: "s"}, nil, sink, "no files"},
		{Options{Mapping: m, Source: "s"}, []string{path}, nil, "no sink"},
		{Options{Mapping: m, Source: "s"}, []string{path + "x"}, sink, "no such file"},
		{Options{Mapping: m, Source: "s"}, []string{filepath.Dir(path)}, sink, "is not a regular file"},
	}
	for _, tt := range tests {
		if _, err := Run(t.Context(), tt.o, tt.files, tt.sink, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("run: %v, want an error with %q", err, tt.want)
		}
	}
}

// Batches of large rows are cut by their size.
func TestRunCutsLargeBatches(t *testing.T) {
	l := newLedger()
	o := options(t)
	o.BatchRows = 1000
	o.Mapping = mapping(t, csvMapping+"fields: {x: x}\n")
	var b strings.Builder
	b.WriteString("id,what,when,x\n")
	for i := range 30 {
		fmt.Fprintf(&b, "c%d,A,2024-01-01,%s\n", i/2, strings.Repeat("x", 400_000))
	}
	if _, err := Run(t.Context(), o, []string{write(t, "log.csv", b.String())}, l.record, nil); err != nil {
		t.Fatal(err)
	}
	l.check(t, 30)
	if len(l.batches) != 8 { // five fit, of which the fifth goes with its case to the next
		t.Errorf("batches of %v rows, want 8 batches", l.batches)
	}
}

// A fault in the middle of a file does not lose the rows before it.
func TestRunStopsAtFault(t *testing.T) {
	l := newLedger()
	path := write(t, "log.csv", "id,what,when\n"+strings.Repeat("c,A,2024-01-01\n", 25)+"c,\"A\nc,A,2024-01-01\n")
	report, err := Run(t.Context(), options(t), []string{path}, l.record, nil)
	var fault *FileError
	if !errors.As(err, &fault) || fault.Line != 27 || report.Results[Taken] != 25 {
		t.Errorf("run: %v, %v taken; want a fault in line 27 and 25 taken", err, report.Results)
	}
	l.check(t, 25)
}

func TestRunRefusesASinkThatDoesNotAnswer(t *testing.T) {
	for name, sink := range map[string]Sink{
		"too few": func(context.Context, Batch) ([]Outcome, error) { return nil, nil },
		"nonsense": func(_ context.Context, b Batch) ([]Outcome, error) {
			return make([]Outcome, len(b.Commands)), nil
		},
	} {
		if _, err := Run(t.Context(), options(t), []string{logFile(t, "c", 20)}, sink, nil); err == nil || !strings.Contains(err.Error(), "the sink answered") {
			t.Errorf("%s: run: %v, want an error about the answer", name, err)
		}
	}
}

// The run is stopped again and again, in each of the ways there are; in the
// end every row is recorded once, and the report has each row once.
func TestResume(t *testing.T) {
	const rows = 1000
	failed := errors.New("the line went dead")
	ways := map[string]func(l *ledger, cancel context.CancelFunc, stop int){
		"cancelled": func(l *ledger, cancel context.CancelFunc, stop int) {
			l.before = func(ctx context.Context, n int) error {
				if n == stop {
					cancel()
					return ctx.Err()
				}
				return nil
			}
		},
		"not recorded": func(l *ledger, _ context.CancelFunc, stop int) {
			l.before = func(_ context.Context, n int) error {
				if n == stop {
					return failed
				}
				return nil
			}
		},
		"recorded, but the answer is lost": func(l *ledger, _ context.CancelFunc, stop int) {
			l.after = func(n int) error {
				if n == stop {
					return failed
				}
				return nil
			}
		},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			l := newLedger()
			o := options(t)
			dir := t.TempDir()
			o.State, o.Report = filepath.Join(dir, "state"), filepath.Join(dir, "report.csv")
			files := []string{logFile(t, "c", rows), logFile(t, "d", rows/2)}
			for stop := 20; ; stop += 37 {
				ctx, cancel := context.WithCancel(t.Context())
				way(l, cancel, stop)
				report, err := Run(ctx, o, files, l.record, nil)
				cancel()
				if err != nil {
					continue
				}
				total := report.Results[Taken] + report.Results[Already]
				if report.Rows != rows*3/2 || total != rows*3/2 || report.Files[0].Resumed != rows {
					t.Errorf("report %+v, want %d rows in all, and the first file done by an earlier run", report, rows*3/2)
				}
				if name == "not recorded" && report.Results[Already] > int64(o.BatchRows*(4+1)*3) {
					t.Errorf("%d rows were handed in again, the journal should hold back most", report.Results[Already])
				}
				break
			}
			l.check(t, rows*3/2)
			lines := csvLines(t, o.Report)
			seen := make(map[string]bool)
			for _, line := range lines[1:] {
				key := line[4] + " row " + line[1] // the cases of the two files differ
				if seen[key] {
					t.Errorf("the report has %s twice", key)
				}
				seen[key] = true
			}
			if len(lines) != rows*3/2+1 {
				t.Errorf("the report has %d lines, want %d and a header", len(lines)-1, rows*3/2)
			}
		})
	}
}

// A journal of a store that has been emptied or set back counts for nothing.
func TestStaleJournal(t *testing.T) {
	const rows = 400
	o := options(t)
	o.State = t.TempDir()
	path := logFile(t, "c", rows)
	l := newLedger()
	l.before = func(_ context.Context, n int) error {
		if n == 20 {
			return errors.New("stop")
		}
		return nil
	}
	if _, err := Run(t.Context(), o, []string{path}, l.record, nil); err == nil {
		t.Fatal("the run was not stopped")
	}
	if left, _ := filepath.Glob(filepath.Join(o.State, "*")); len(left) != 1 {
		t.Fatalf("journals: %v, want one", left)
	}
	empty := newLedger()
	report, err := Run(t.Context(), o, []string{path}, empty.record, nil)
	if err != nil || report.Files[0].Resumed != 0 || report.Results[Taken] != rows {
		t.Errorf("run on an empty store: %+v, %v; want all %d rows taken anew", report, err, rows)
	}
	empty.check(t, rows)
}

func TestDamagedJournal(t *testing.T) {
	o := options(t)
	o.State = t.TempDir()
	path := logFile(t, "c", 100)
	l := newLedger()
	l.after = func(n int) error {
		if n == 4 {
			return errors.New("stop")
		}
		return nil
	}
	if _, err := Run(t.Context(), o, []string{path}, l.record, nil); err == nil {
		t.Fatal("the run was not stopped")
	}
	left, _ := filepath.Glob(filepath.Join(o.State, "*"))
	if len(left) != 1 {
		t.Fatalf("journals: %v, want one", left)
	}
	if err := os.WriteFile(left[0], []byte(`{"rows": 99`), 0o600); err != nil {
		t.Fatal(err)
	}
	l.after = nil
	if _, err := Run(t.Context(), o, []string{path}, l.record, nil); err != nil {
		t.Fatal(err)
	}
	l.check(t, 100)
}

// A mapping that was put right in the meantime starts at the beginning, and
// the rows that were taken keep their ids.
func TestIDsDoNotDependOnTheMapping(t *testing.T) {
	path := write(t, "log.csv", "id,what,when\na,A,2024-01-01\na,C,2024-01-02\n")
	l := newLedger()
	o := options(t)
	if _, err := Run(t.Context(), o, []string{path}, l.record, nil); err != nil {
		t.Fatal(err)
	}
	o.Mapping = mapping(t, strings.Replace(csvMapping, "B: b", "B: b, C: c", 1))
	report, err := Run(t.Context(), o, []string{path}, l.record, nil)
	if err != nil || report.Results[Already] != 1 || report.Results[Taken] != 1 {
		t.Errorf("second run: %v, %v; want one row already there and one taken", report.Results, err)
	}
	o.Source = "another system"
	if report, err = Run(t.Context(), o, []string{path}, l.record, nil); err != nil || report.Results[Taken] != 2 {
		t.Errorf("run of another source: %v, %v; want both rows taken", report.Results, err)
	}
}

// The process is killed with SIGKILL at a row, several times over; what the
// sink has is in a file, as a receiver's would be.
func TestKill(t *testing.T) {
	const rows = 3000
	dir := t.TempDir()
	log := logFile(t, "c", rows)
	store := filepath.Join(dir, "store")
	kills := 0
	for limit := 400; ; limit += 650 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKillChild$", "-test.count=1")
		cmd.Env = append(os.Environ(), "INTAKE_KILL="+strings.Join([]string{log, store, filepath.Join(dir, "state"), fmt.Sprint(limit)}, "\n"))
		out, err := cmd.CombinedOutput()
		if err == nil {
			break
		}
		if kills++; kills > 10 {
			t.Fatalf("the run does not come to its end: %v\n%s", err, out)
		}
	}
	if kills < 3 {
		t.Errorf("the run was killed %d times, want at least 3", kills)
	}
	l := readStore(t, store)
	l.check(t, rows)
}

// TestKillChild is the process that TestKill kills.
func TestKillChild(t *testing.T) {
	args := strings.Split(os.Getenv("INTAKE_KILL"), "\n")
	if len(args) != 4 {
		t.Skip("runs as a child of TestKill")
	}
	var limit int
	fmt.Sscan(args[3], &limit)
	l := readStore(t, args[1])
	had := len(l.seen)
	f, err := os.OpenFile(args[1], os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var mu sync.Mutex
	sink := func(ctx context.Context, b Batch) ([]Outcome, error) {
		mu.Lock()
		defer mu.Unlock()
		out, err := l.record(ctx, b)
		for i, c := range b.Commands {
			if err != nil || b.DryRun || out[i].Result != Taken {
				continue
			}
			fmt.Fprintf(f, "%s %s %d\n", c.CommandID, c.Case, c.Row)
			if had++; had == limit {
				p, err := os.FindProcess(os.Getpid())
				if err != nil {
					t.Error(err)
				}
				if err := p.Kill(); err != nil { // SIGKILL
					t.Error(err)
				}
				select {} // nothing behind this is to happen
			}
		}
		return out, err
	}
	o := options(t)
	o.State = args[2]
	if _, err := Run(t.Context(), o, []string{args[0]}, sink, nil); err != nil {
		t.Fatal(err)
	}
}

// readStore reads what the children recorded.
func readStore(t *testing.T, path string) *ledger {
	t.Helper()
	l := newLedger()
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return l
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var id, c string
		var row int64
		if _, err := fmt.Sscan(s.Text(), &id, &c, &row); err != nil {
			t.Fatalf("store line %q: %v", s.Text(), err)
		}
		if l.seen[id] {
			t.Errorf("row %d was recorded twice", row)
		}
		l.seen[id] = true
		l.cases[c] = append(l.cases[c], row)
	}
	return l
}
