package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// Options say how a run goes. Mapping and Source are needed.
type Options struct {
	Mapping *Mapping
	Source  string // the system that the logs come from; with file and row it names each command
	Batch   string // this import; empty: made of the first file's name and digest
	Agency  string // empty: the mapping's
	DryRun  bool   // nothing is recorded and no journal kept; the sink may be nil, or judges without recording
	Strict  bool   // XES that breaks its schema is an error

	BatchRows int    // rows of one batch; 0: 1,000
	InFlight  int    // batches handed to the sink at once; 0: 4
	State     string // folder of the journals; empty: a killed run cannot go on, but doubles nothing either
	Report    string // file of the row-by-row report (.csv or .jsonl); empty: none
	Limits    Limits
}

// A Progress tells how far a run has come.
type Progress struct {
	File       string // the one that is being read
	Rows       int64  // rows done, of all files
	Bytes      int64  // of the files as they are, packed or not
	BytesTotal int64
	Rate       float64       // rows a second, in this run
	Left       time.Duration // by the bytes that are left; 0: not known
}

// Run imports files, one after the other. The rows of a case reach the sink in
// the order of the log. Whatever kills a run, a further one with the same
// source, files and mapping goes on where it was, and no row is recorded
// twice.
//
// Rows that cannot be taken are refused one by one and do not stop the run; a
// file that cannot be read (*FileError), a sink that fails and a cancelled
// context do, and the report says how far it came. progress may be nil; it is
// called by one goroutine.
func Run(ctx context.Context, o Options, files []string, sink Sink, progress func(Progress)) (Report, error) {
	r := &run{Options: o, sink: sink, progress: progress, start: time.Now()}
	if err := r.check(files); err != nil {
		return Report{}, err
	}
	err := r.files(ctx, files)
	for _, j := range r.journals {
		r.tally.add(j.Tally)
	}
	if err == nil {
		for _, j := range r.journals {
			err = errors.Join(err, j.remove())
		}
	}
	r.report.finish(r.tally)
	r.report.Took = time.Since(r.start)
	return r.report, err
}

// A run is one call of Run.
type run struct {
	Options
	sink     Sink
	progress func(Progress)
	start    time.Time

	report   Report
	lines    *reportFile
	tally    tally
	journals []*journal // of the files so far

	bytes, before int64 // of all files; of those that are done with
	done, fresh   int64 // rows; those of this run
}

func (r *run) check(files []string) error {
	switch {
	case r.Mapping == nil:
		return errors.New("import: no mapping")
	case strings.TrimSpace(r.Source) == "":
		return errors.New("import: no source: the name of the system that the logs come from")
	case len(r.Source) > 200 || len(r.Batch) > 200:
		return errors.New("import: the names of source and batch may have 200 bytes each")
	case len(files) == 0:
		return errors.New("import: no files")
	case r.sink == nil && !r.DryRun:
		return errors.New("import: no sink")
	}
	r.Limits = r.Limits.orDefault()
	if r.BatchRows <= 0 {
		r.BatchRows = 1000
	}
	if r.InFlight <= 0 {
		r.InFlight = 4
	}
	if r.Agency == "" {
		r.Agency = r.Mapping.Agency
	}
	if r.DryRun {
		r.State = ""
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return fmt.Errorf("import: %w", err)
		}
		r.bytes += info.Size()
	}
	return nil
}

func (r *run) files(ctx context.Context, files []string) (err error) {
	r.report = Report{Source: r.Source, Batch: r.Batch, DryRun: r.DryRun}
	if r.lines, err = openReport(r.Report); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.lines.close()) }()
	for _, path := range files {
		if err := r.oneFile(ctx, path); err != nil {
			return err
		}
	}
	return nil
}

// oneFile imports a file.
func (r *run) oneFile(ctx context.Context, path string) error {
	s, err := openSource(ctx, path, r.Limits)
	if err != nil {
		return err
	}
	defer s.close()
	if r.report.Batch == "" {
		r.report.Batch = clip(s.name, 150) + "@" + s.digest[len("sha256:"):][:12]
	}
	folder := r.State
	if slices.ContainsFunc(r.journals, func(j *journal) bool { return j.Digest == s.digest }) {
		folder = "" // the same file again: its rows are handed in again, and are known
	}
	j, err := openJournal(folder, r.Source, s, r.Mapping)
	if err != nil {
		return err
	}
	if err := r.stillThere(ctx, j); err != nil {
		return err
	}
	r.journals = append(r.journals, j)
	if j.Rows > 0 {
		r.lines.resume(j.Report, j.Offset)
	}
	r.report.Files = append(r.report.Files, FileReport{Name: s.name, Digest: s.digest, Rows: j.Rows, Resumed: j.Rows})
	r.done += j.Rows
	if !j.Done {
		err = r.pipeline(ctx, s, j)
		if err == nil {
			err = s.unchanged()
		}
		j.Done = err == nil
		err = errors.Join(err, r.save(j))
	}
	r.before += s.size
	return err
}

// stillThere asks the sink, without recording anything, for the last row that
// the journal says was recorded. Where the sink does not know it, the journal
// is of another store, or the store was set back: the file is begun anew.
func (r *run) stillThere(ctx context.Context, j *journal) error {
	if j.Rows == 0 {
		return nil
	}
	if j.Probe != nil {
		b := Batch{Source: r.Source, Batch: r.report.Batch, DryRun: true, Commands: []Command{*j.Probe}}
		outcomes, err := r.sink(ctx, b)
		if err != nil {
			return fmt.Errorf("look for row %d of %s: %w", j.Probe.Row, j.File, err)
		}
		if len(outcomes) == 1 && outcomes[0].Result == Already {
			return nil
		}
	}
	j.restart()
	return nil
}

// A chunk is what is handed to the sink at once, with the rows that are
// refused here already.
type chunk struct {
	items    []Item
	commands []Command
	packed   int64 // bytes of the file that had been read by then

	done     chan struct{} // closed when the sink has answered; then:
	outcomes []Outcome
	err      error
}

// pipeline reads a file in one goroutine, hands its chunks to the sink, a few
// at a time, and notes their outcomes in order.
func (r *run) pipeline(ctx context.Context, s *source, j *journal) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	chunks := make(chan *chunk, 2)
	file := &r.report.Files[len(r.report.Files)-1]
	var readErr error
	go func() {
		defer close(chunks)
		readErr = r.read(ctx, s, j.Rows, file, chunks)
	}()

	var flying []*chunk // handed to the sink, oldest first
	var err error
	land := func() {
		c := flying[0]
		flying = flying[1:]
		<-c.done
		if err != nil {
			return // behind a failed chunk nothing counts: the journal holds a beginning of the file
		}
		if err = c.err; err == nil {
			err = r.keep(c, s, j, file)
		}
		if err != nil {
			cancel()
		}
	}
	for c := range chunks {
		for err == nil && len(flying) > 0 && (len(flying) >= r.InFlight || meets(flying, c)) {
			land()
		}
		if err != nil {
			continue // let the reader come to its end
		}
		r.launch(ctx, c)
		flying = append(flying, c)
	}
	for len(flying) > 0 {
		land()
	}
	if err != nil {
		return err
	}
	return readErr
}

// read makes chunks of a file, behind the rows that are done.
func (r *run) read(ctx context.Context, s *source, skip int64, file *FileReport, chunks chan<- *chunk) error {
	st, err := openStream(s, r.Mapping, r.Source, r.Strict)
	if err != nil {
		return err
	}
	defer func() { file.Notes = st.rows.notes() }()
	for n := range skip {
		if err := st.skip(); err != nil {
			return fmt.Errorf("go on behind row %d: %w", n, err)
		}
		if n%10_000 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	send := func(items []Item) error {
		if len(items) == 0 {
			return nil
		}
		select {
		case chunks <- r.chunk(items, s.packed):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	items := make([]Item, 0, r.BatchRows)
	size := 0
	for {
		item, err := st.next()
		if err != nil {
			if sendErr := send(items); sendErr != nil {
				return sendErr
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		more := item.size()
		if len(items) == r.BatchRows || len(items) > 0 && size+more > batchBytes {
			n := r.divide(items, &item)
			rest := append(make([]Item, 0, r.BatchRows), items[n:]...)
			if err := send(items[:n:n]); err != nil {
				return err
			}
			items, size = rest, 0
			for i := range items {
				size += items[i].size()
			}
		}
		items, size = append(items, item), size+more
	}
}

// batchBytes is about how large the commands of one batch may be together;
// the API takes a few times as much.
const batchBytes = 2 << 20

// size is about how many bytes the command of an item has.
func (i *Item) size() int {
	n := 250 + len(i.Case) + len(i.Act) + len(i.Officer) + i.Parts.size()
	for name, value := range i.Fields {
		n += len(name) + len(value) + 4
	}
	return n
}

// divide says how many rows of a full batch go now: all, or those before the
// case that goes on behind it, so that the next batch need not wait for this.
func (r *run) divide(items []Item, next *Item) int {
	n := len(items)
	for n > 0 && items[n-1].Case == next.Case {
		n--
	}
	if n == 0 {
		return len(items)
	}
	return n
}

func (r *run) chunk(items []Item, packed int64) *chunk {
	c := &chunk{items: items, commands: make([]Command, 0, len(items)), packed: packed, done: make(chan struct{})}
	for _, item := range items {
		if item.Refused == "" {
			c.commands = append(c.commands, item.Command(r.Mapping.Procedure, r.Agency))
		}
	}
	return c
}

// meets reports whether a chunk has a case in common with one that is flying:
// it must wait then, for the rows of a case to arrive in order.
func meets(flying []*chunk, c *chunk) bool {
	cases := make(map[string]bool)
	for i := range c.commands {
		cases[c.commands[i].Case] = true
	}
	for _, f := range flying {
		for i := range f.commands {
			if cases[f.commands[i].Case] {
				return true
			}
		}
	}
	return false
}

// launch hands a chunk to the sink.
func (r *run) launch(ctx context.Context, c *chunk) {
	if len(c.commands) == 0 || r.sink == nil {
		c.outcomes = make([]Outcome, len(c.commands))
		for i := range c.outcomes {
			c.outcomes[i].Result = Taken
		}
		close(c.done)
		return
	}
	go func() {
		defer close(c.done)
		b := Batch{Source: r.Source, Batch: r.report.Batch, DryRun: r.DryRun, Commands: c.commands}
		c.outcomes, c.err = r.sink(ctx, b)
		switch {
		case c.err != nil:
			c.err = fmt.Errorf("record rows %d to %d: %w", c.commands[0].Row, c.commands[len(c.commands)-1].Row, c.err)
		case len(c.outcomes) != len(c.commands):
			c.err = fmt.Errorf("record rows %d to %d: the sink answered for %d of %d", c.commands[0].Row,
				c.commands[len(c.commands)-1].Row, len(c.outcomes), len(c.commands))
		}
	}()
}

// keep notes what became of a chunk.
func (r *run) keep(c *chunk, s *source, j *journal, file *FileReport) error {
	n := 0
	for i := range c.items {
		item := &c.items[i]
		var o Outcome
		if item.Refused == "" {
			o = c.outcomes[n]
			if o.Result == Taken || o.Result == Already {
				j.Probe = &c.commands[n]
			}
			n++
		}
		l := item.line(o)
		switch l.Outcome {
		case Taken, Repaired, Already, Refused:
		default:
			return fmt.Errorf("row %d: the sink answered %q", item.Number, l.Outcome)
		}
		j.Tally.count(l.Act, l.Outcome, 1, int64(l.Findings))
		if l.Outcome == Refused && len(r.report.Refusals) < maxRefusals {
			r.report.Refusals = append(r.report.Refusals, l)
		}
		if err := r.lines.write(&l); err != nil {
			return err
		}
	}
	j.Rows += int64(len(c.items))
	file.Rows = j.Rows
	r.done += int64(len(c.items))
	r.fresh += int64(len(c.items))
	if j.due() {
		if err := r.save(j); err != nil {
			return err
		}
	}
	r.tell(s, c.packed)
	return nil
}

// save brings the report and then the journal to disk.
func (r *run) save(j *journal) error {
	path, end, err := r.lines.flush()
	if err != nil {
		return err
	}
	j.Report, j.Offset = path, end
	return j.save()
}

func (r *run) tell(s *source, packed int64) {
	if r.progress == nil {
		return
	}
	p := Progress{File: s.name, Rows: r.done, Bytes: r.before + packed, BytesTotal: r.bytes}
	if took := time.Since(r.start).Seconds(); took > 0 {
		p.Rate = float64(r.fresh) / took
		if p.Bytes > 0 && r.fresh > 0 {
			p.Left = time.Duration(took / float64(p.Bytes) * float64(p.BytesTotal-p.Bytes) * float64(time.Second))
		}
	}
	r.progress(p)
}
