package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"liuhen/domain/law"
	"liuhen/domain/rulebook"
	"liuhen/projections"
)

// A program is the built binary, serving from a data folder of its own.
type program struct {
	binary, data, base, token string
	cmd                       *exec.Cmd
	client                    *http.Client
}

// start returns when /readyz says yes, and how long that took.
func (p *program) start(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	p.cmd = exec.Command(p.binary, "serve", "--data", p.data, "--keys", p.data+"-keys", "--http", strings.TrimPrefix(p.base, "http://"))
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		return 0, err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		resp, err := http.Get(p.base + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-tick.C:
		}
		if time.Since(began) > 2*time.Minute {
			return 0, fmt.Errorf("the program is not ready after %s", time.Since(began))
		}
	}
	token, err := os.ReadFile(filepath.Join(p.data, "admin.token"))
	if err != nil {
		return 0, err
	}
	p.token = strings.TrimSpace(string(token))
	return time.Since(began), nil
}

func (p *program) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		return err
	}
	return p.cmd.Wait()
}

// run runs a command of the program against itself.
func (p *program) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, p.binary, append(args, "--data", p.data)...)
	cmd.Stderr = os.Stderr
	return cmd.Output()
}

func (p *program) get(ctx context.Context, token, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+path, nil)
	if err != nil {
		return nil, err
	}
	return p.do(req, token, http.StatusOK)
}

func (p *program) post(ctx context.Context, token, path, key string, body any) ([]byte, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	return p.do(req, token, http.StatusCreated)
}

func (p *program) do(req *http.Request, token string, want int) ([]byte, error) {
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Liuhen-Purpose", "benchmark")
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != want {
		return nil, fmt.Errorf("%s %s: %s: %.300s", req.Method, req.URL.Path, resp.Status, data)
	}
	return data, nil
}

// role makes a token for a role.
func (p *program) role(ctx context.Context, role, agency string) (string, error) {
	data, err := p.post(ctx, p.token, "/v1/tokens", "token-"+role, map[string]any{"name": "bench " + role, "person": "bench-" + role, "role": role, "agency": agency})
	if err != nil {
		return "", err
	}
	var answer struct {
		Token string `json:"token"`
	}
	return answer.Token, json.Unmarshal(data, &answer)
}

func benchProgram(ctx context.Context, o options, r *report) error {
	dir, err := os.MkdirTemp("", "liuhen-bench-program")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	address, err := freeAddress()
	if err != nil {
		return err
	}
	p := &program{
		binary: o.binary, base: "http://" + address,
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, MaxConnsPerHost: 256}},
	}
	defer func() {
		if p.cmd != nil && p.cmd.ProcessState == nil {
			_ = p.stop()
		}
	}()
	for round := range o.rounds { // each into an empty data folder; the last one is gone on with
		if round > 0 {
			if err := p.stop(); err != nil {
				return err
			}
		}
		p.data = filepath.Join(dir, fmt.Sprint("data-", round))
		first, err := p.start(ctx)
		if err != nil {
			return err
		}
		r.add("Starting and stopping", "first start, with an empty data folder", "s", first.Seconds(), nil)
		if err := p.benchImport(ctx, o, r); err != nil {
			return err
		}
		if err := p.benchRoom(ctx, r); err != nil {
			return err
		}
	}
	inspector, err := p.role(ctx, "inspector", "*")
	if err != nil {
		return err
	}
	handler, err := p.role(ctx, "officer", "210100-kjj")
	if err != nil {
		return err
	}
	for round := range o.rounds {
		if err := p.benchHTTPActs(ctx, o, r, handler, round); err != nil {
			return err
		}
		if err := p.benchReads(ctx, o, r, inspector); err != nil {
			return err
		}
		if err := p.benchMemory(r, "after acts and reads over HTTP"); err != nil {
			return err
		}
	}
	for range o.rounds {
		if err := p.benchJudge(ctx, r); err != nil {
			return err
		}
	}
	if err := p.benchRebuild(ctx, o, r); err != nil {
		return err
	}
	for range o.rounds {
		began := time.Now()
		if err := p.stop(); err != nil {
			return err
		}
		r.add("Starting and stopping", "stop", "s", time.Since(began).Seconds(), nil)
		again, err := p.start(ctx)
		if err != nil {
			return err
		}
		r.add("Starting and stopping", "start with the log in", "s", again.Seconds(), nil)
	}
	return p.stop()
}

func (p *program) records(ctx context.Context, token string) int64 {
	data, err := p.get(ctx, token, "/v1/stats")
	if err != nil {
		return 1
	}
	var stats struct {
		Records int64 `json:"records"`
	}
	_ = json.Unmarshal(data, &stats)
	return max(1, stats.Records)
}

// benchImport imports the log by the command a user would type.
func (p *program) benchImport(ctx context.Context, o options, r *report) error {
	if _, err := os.Stat(o.log); err != nil {
		r.Settings["log"] = "absent: import, rebuild and reads were not measured"
		return fmt.Errorf("no log to import: %w (name one with --log and --mapping)", err)
	}
	r.Settings["log"] = filepath.Base(o.log)
	began := time.Now()
	out, err := p.run(ctx, "import", "--mapping", o.mapping, "--json", o.log)
	if err != nil {
		return err
	}
	took := time.Since(began).Seconds()
	var report struct {
		Rows int64 `json:"rows"`
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return err
	}
	if report.Rows == 0 {
		return fmt.Errorf("import says nothing of rows: %.300s", out)
	}
	r.Settings["imported rows"] = strconv.FormatInt(report.Rows, 10)
	r.add("Import", "import of the log by the command, over HTTP", "records/s", float64(report.Rows)/took, nil).beside(rawBatch, 0.3)
	began = time.Now()
	inspector, err := p.role(ctx, "inspector", "*")
	if err != nil {
		return err
	}
	if _, err := p.get(ctx, inspector, "/v1/ledger?limit=1&min_position="+strconv.FormatInt(report.Rows, 10)); err != nil {
		return err
	}
	r.add("Import", "until the read models have the last of it", "s", time.Since(began).Seconds(), nil)
	return nil
}

func (p *program) benchHTTPActs(ctx context.Context, o options, r *report, token string, round int) error {
	const clients = 64
	var n atomic.Int64
	lat := make([][]time.Duration, clients)
	g, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	for c := range clients {
		g.Go(func() error {
			for time.Since(start) < o.seconds {
				i := n.Add(1)
				id := fmt.Sprintf("bench-%d-%d", round, i)
				t := time.Now()
				_, err := p.post(ctx, token, "/v1/cases", id, map[string]any{
					"procedure": "penalty-ordinary", "case": id, "agency": "210100-kjj", "act": "receive-clue",
					"occurred_at": time.Now().Add(-time.Minute).Format(time.RFC3339),
					"fields":      map[string]any{"source": "report", "summary": "群众举报"},
				})
				if err != nil {
					return err
				}
				lat[c] = append(lat[c], time.Since(t))
			}
			return nil
		})
	}
	err := g.Wait()
	all := flat(lat)
	r.add("Over HTTP", "acts over HTTP, 64 clients", "acts/s", float64(len(all))/time.Since(start).Seconds(), all).beside(rawSingle, 0)
	return err
}

// benchReads asks one question after another, each for something else.
func (p *program) benchReads(ctx context.Context, o options, r *report, token string) error {
	cases, err := p.someCases(ctx, token)
	if err != nil {
		return err
	}
	for _, q := range []struct {
		name string
		path func() string
	}{
		{"timeline of a case", func() string { return "/v1/cases/" + url.PathEscape(cases[rand.N(len(cases))]) + "/timeline" }},
		{"ledger search", func() string { return "/v1/ledger?q=" + url.QueryEscape(cases[rand.N(len(cases))]) }},
		{"ledger of a procedure, a page", func() string { return "/v1/ledger?procedure=traffic-fine&limit=50" }},
		{"deadline board, a page", func() string { return "/v1/deadlines?limit=50" }},
		{"findings, a page", func() string { return "/v1/findings?limit=50" }},
	} {
		var lat []time.Duration
		start := time.Now()
		for time.Since(start) < o.seconds/2 {
			t := time.Now()
			if _, err := p.get(ctx, token, q.path()); err != nil {
				return err
			}
			lat = append(lat, time.Since(t))
		}
		r.add("Reading over HTTP, the log in, one client", q.name, "answers/s", float64(len(lat))/time.Since(start).Seconds(), lat)
	}
	return nil
}

func (p *program) someCases(ctx context.Context, token string) ([]string, error) {
	data, err := p.get(ctx, token, "/v1/ledger?procedure=traffic-fine&limit=1000")
	if err != nil {
		return nil, err
	}
	var list struct {
		Items []struct {
			Case string `json:"case"`
		} `json:"items"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, err
	}
	var cases []string
	for _, item := range list.Items {
		cases = append(cases, item.Case)
	}
	if len(cases) == 0 {
		return nil, fmt.Errorf("the ledger has no case of the imported log")
	}
	return cases, nil
}

// benchRebuild rebuilds the read models together and one by one, and copies
// the rows of each into empty tables of its kind, as fast as the database can.
func (p *program) benchRebuild(ctx context.Context, o options, r *report) error {
	db, closeDB, err := p.openDB(ctx)
	if err != nil {
		return err
	}
	defer closeDB()
	for range o.rounds {
		began := time.Now()
		if _, err := p.rebuild(ctx); err != nil {
			return err
		}
		r.add("Rebuild", "rebuild of all read models, compared row by row and switched", "s", time.Since(began).Seconds(), nil)
		for _, model := range projections.All {
			rows, took, err := projections.CopyRows(ctx, db, model.Name)
			if err != nil {
				return err
			}
			limit := fmt.Sprintf(rawCopy, model.Name)
			r.add("Raw limits", limit, "rows/s", float64(rows)/took.Seconds(), nil)
			report, err := p.rebuild(ctx, model.Name)
			if err != nil {
				return err
			}
			m := r.add("Rebuild", fmt.Sprintf("%s filled anew from %d records, indexes made", model.Name, report.Position), "rows/s", float64(report.Rows)/report.Filled, nil)
			r.besideNow(m, limit, 0.4)
			r.add("Rebuild", fmt.Sprintf("%s: records read, folded and applied", model.Name), "records/s", float64(report.Position)/report.Filled, nil).
				beside(rawRead, 0)
			r.Settings["rows of "+model.Name] = strconv.FormatInt(report.Rows, 10)
		}
	}
	return nil
}

// rebuild rebuilds read models and returns the report on the last.
func (p *program) rebuild(ctx context.Context, models ...string) (projections.ModelReport, error) {
	out, err := p.run(ctx, append([]string{"rebuild", "--json"}, models...)...)
	if err != nil {
		return projections.ModelReport{}, err
	}
	var report projections.Report
	if err := json.Unmarshal(out, &report); err != nil || len(report.Models) == 0 {
		return projections.ModelReport{}, fmt.Errorf("report of the rebuild: %w: %.300s", err, out)
	}
	if !report.Clean() {
		return projections.ModelReport{}, fmt.Errorf("the rebuild found differences: %.300s", out)
	}
	return report.Models[len(report.Models)-1], nil
}

func (p *program) law() (*rulebook.Book, error) { return rulebook.Load(law.Files) }

func (p *program) openPool(ctx context.Context) (*pgxpool.Pool, error) {
	return pgxpool.New(ctx, "postgres://liuhen@/liuhen?sslmode=disable&host="+url.QueryEscape(filepath.Join(p.data, "pg")))
}

// openDB connects to the program's own PostgreSQL.
func (p *program) openDB(ctx context.Context) (*projections.DB, func(), error) {
	book, err := p.law()
	if err != nil {
		return nil, nil, err
	}
	pool, err := p.openPool(ctx)
	if err != nil {
		return nil, nil, err
	}
	db, err := projections.Open(ctx, pool, book)
	if err != nil {
		pool.Close()
		return nil, nil, err
	}
	return db, pool.Close, nil
}

// benchRoom is what the log takes, just imported.
func (p *program) benchRoom(ctx context.Context, r *report) error {
	inspector, err := p.role(ctx, "inspector", "*")
	if err != nil {
		return err
	}
	if err := p.benchMemory(r, "after the import"); err != nil {
		return err
	}
	return p.disk(ctx, r, float64(p.records(ctx, inspector)))
}

func (p *program) benchMemory(r *report, when string) error {
	rss, pg, err := p.memory()
	if err != nil {
		return err
	}
	r.add("Room", "resident memory of the program, log in, "+when, "MiB", rss, nil)
	r.add("Room", "resident memory of its PostgreSQL (proportional), "+when, "MiB", pg, nil)
	return nil
}

// memory is the resident memory of the program, and what its PostgreSQL adds
// (proportional set size), in MiB.
func (p *program) memory() (rss, pg float64, err error) {
	rss, err = procKB(p.cmd.Process.Pid, "status", "VmRSS")
	if err != nil {
		return 0, 0, err
	}
	tree := []int{p.cmd.Process.Pid}
	for len(tree) > 0 {
		lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", tree[0]))
		if err != nil {
			return 0, 0, err
		}
		tree = tree[1:]
		for _, list := range lists {
			children, err := os.ReadFile(list)
			if err != nil {
				continue // a thread that has just ended has no children
			}
			for _, field := range strings.Fields(string(children)) {
				pid, err := strconv.Atoi(field)
				if err != nil {
					return 0, 0, err
				}
				if kb, err := procKB(pid, "smaps_rollup", "Pss"); err == nil { // one that has just ended adds nothing
					pg += kb
				}
				tree = append(tree, pid)
			}
		}
	}
	return rss / 1024, pg / 1024, nil
}

func procKB(pid int, file, key string) (float64, error) {
	kb, _, _ := strings.Cut(procField(fmt.Sprintf("/proc/%d/%s", pid, file), key), " ")
	return strconv.ParseFloat(kb, 64)
}

// disk is what a million records take: the stream, the read models with their
// indexes, and beside them the write-ahead log, whose size is a setting.
func (p *program) disk(ctx context.Context, r *report, records float64) error {
	nats, err := diskUse(filepath.Join(p.data, "nats"))
	if err != nil {
		return err
	}
	r.add("Room", "disk of the stream, per million records", "MiB", nats/records*1e6, nil)
	pool, err := p.openPool(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	var models, wal float64
	if err := pool.QueryRow(ctx, `
		select
			pg_database_size(current_database()) / 1048576.0::float8,
			(select sum(size) from pg_ls_waldir()) / 1048576.0::float8`).Scan(&models, &wal); err != nil {
		return err
	}
	r.add("Room", "disk of the read models, per million records", "MiB", models/records*1e6, nil)
	r.add("Room", "disk of PostgreSQL's write-ahead log at this moment", "MiB", wal, nil)
	return nil
}

func diskUse(dir string) (mib float64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // it has gone since
		}
		mib += float64(info.Size()) / (1 << 20)
		return nil
	})
	return mib, err
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
