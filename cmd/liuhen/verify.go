package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"liuhen/transparency"
	"liuhen/transparency/audit"
	"liuhen/transparency/keys"
)

// verifyFlags are what "liuhen verify" is asked for.
type verifyFlags struct {
	span, name, key, report string
	check                   string
	record                  uint64
	models                  bool
}

func verifyCommand(p *program) *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:   "verify [MODEL…]",
		Short: "核验记录、证明日志和读模型 · Verify the record, its log of proofs and the read models",
		Long: `核验：逐条重算记录的摘要，与证明日志、全部检查点、各案的链条比对；指出第一处问题及其像是何种改动。
Verify: hash every record anew and hold it against the log of proofs, every
checkpoint and the chain of each case; say where the first fault is and what kind
of change it looks like. Exit code 1 if there is one.

Where a system runs on the data folder (or with --server) it does the work and
answers: you trust that program, and with --key at least see that the checkpoint
that it names is signed by the log's key. Where none runs, this command reads the
folder itself and trusts nobody but the key: pin it with --key (the text, or a
file; "liuhen serve" printed it when the log began). Without --key the folder
vouches for itself, and whoever made it anew with a key of their own is not found
out. The server inside may tidy up its files as at every start: copy the folder
first if it is evidence.

With --read-models the read models are filled anew beside the live ones and
compared row by row; nothing is switched ("liuhen rebuild" does that).`,
		Example: `  liuhen verify
  liuhen verify --case 2026-001
  liuhen verify --range 1-5000 --json
  liuhen verify --data /copy/of/data --key example.org/liuhen/enf+ea1d…
  liuhen verify -o report.txt && liuhen verify --check-report report.txt --key KEY
  liuhen verify --read-models ledger`,
		RunE: func(c *cobra.Command, models []string) error { return p.verify(c.Context(), f, models) },
	}
	c.Flags().StringVar(&f.span, "range", "", "positions, as FROM-THROUGH")
	c.Flags().StringVar(&f.name, "case", "", "one case: its records, and that they are all")
	c.Flags().Uint64Var(&f.record, "record", 0, "one record, by its position")
	c.Flags().BoolVar(&f.models, "read-models", false, "the read models, or those that are named")
	c.Flags().StringVar(&f.key, "key", "", "the verifier key of the log, as text or in a file")
	c.Flags().StringVarP(&f.report, "report", "o", "", "write the result as a report to this file, and its signature with the log's keys beside it (.sig)")
	c.Flags().StringVar(&f.check, "check-report", "", "check the signature of a report that was written with --report; needs --key")
	c.Flags().BoolVar(&p.quiet, "quiet", false, "no progress bar")
	p.flags(c.Flags(), append([]string{"keys"}, clientKeys...)...)
	return c
}

func (f *verifyFlags) scope() (audit.Scope, error) {
	s := audit.Scope{Case: f.name, Record: f.record}
	if f.span != "" {
		from, through, ok := strings.Cut(f.span, "-")
		var err1, err2 error
		s.From, err1 = strconv.ParseUint(from, 10, 63)
		s.Through, err2 = strconv.ParseUint(through, 10, 63)
		if !ok || err1 != nil || err2 != nil || s.From == 0 {
			return s, usagef("--range %s: want two positions, such as 1-5000", f.span)
		}
	}
	if err := s.Check(); err != nil {
		return s, usagef("%v", err)
	}
	return s, nil
}

// pinned is the verifier key that was named, by its text or by a file.
func (f *verifyFlags) pinned() (string, error) {
	if f.key == "" || strings.Contains(f.key, "+") {
		return f.key, nil
	}
	text, err := os.ReadFile(f.key)
	if err != nil {
		return "", fmt.Errorf("--key: neither a verifier key nor a file with one: %w", err)
	}
	for word := range strings.FieldsSeq(string(text)) {
		if _, err := keys.NewVerifier(word); err == nil {
			return word, nil
		}
	}
	return "", fmt.Errorf("--key: there is no verifier key in %s", f.key)
}

func (p *program) verify(ctx context.Context, f verifyFlags, models []string) error {
	scope, err := f.scope()
	if err != nil {
		return err
	}
	if f.models && (scope != (audit.Scope{}) || f.report != "") || !f.models && len(models) > 0 {
		return usagef("read models are verified by themselves: liuhen verify --read-models [MODEL…]")
	}
	vkey, err := f.pinned()
	if err != nil {
		return err
	}
	if f.check != "" {
		return p.checkReport(f.check, vkey)
	}
	lock, err := p.alone(f.models)
	if err != nil {
		return err
	}
	bar := p.bar(-1, p.pick("核验", "verify"), "records")
	defer func() { _ = bar.Exit() }() // drawing can fail; the verification goes on
	var result audit.Result
	var signed signedReport
	if lock != nil {
		if vkey == "" {
			fmt.Fprintln(p.errOut, p.pick("未指定公钥（--key）：数据目录只能自己为自己作证", "no key is pinned (--key): the data folder vouches for itself"))
		}
		result, err = p.verifyStopped(ctx, scope, vkey, shown(bar))
		signed.statement = result.Statement()
		err = errors.Join(err, lock.release())
	} else {
		var report *rebuildReport
		if result, signed, report, err = p.verifyRunning(ctx, scope, f.models, models, vkey, bar); err == nil && report != nil {
			return p.verifiedModels(*report)
		}
	}
	if err != nil {
		return err
	}
	return p.verified(result, signed, f.report)
}

// alone takes the lock of the data folder where no system runs on it; nil where
// one does, or another is named. It does not make a folder that is not there.
func (p *program) alone(models bool) (*folderLock, error) {
	if p.config.Server != "" || models {
		return nil, nil //nolint:nilnil // no lock is what is asked of
	}
	if _, err := os.Stat(filepath.Join(p.config.Data, "nats")); err != nil {
		return nil, fmt.Errorf("there is no record under %s: name another folder with --data, or a system with --server", p.config.Data)
	}
	lock, err := lockFolder(p.config.Data)
	if err != nil && existing(filepath.Join(p.config.Data, addressName)) != "" {
		return nil, nil //nolint:nilnil // a system runs there
	}
	return lock, err
}

func shown(bar *progressbar.ProgressBar) func(done, of uint64) {
	return func(done, of uint64) {
		bar.ChangeMax64(int64(max(of, done+1)))
		_ = bar.Set64(int64(done))
	}
}

// A verifyLine is one line of the answer of POST /v1/verifications.
type verifyLine struct {
	Progress *struct{ Done, Of uint64 } `json:"progress"`
	Filling  *struct {
		Model    string `json:"model"`
		Phase    string `json:"phase"`
		Position uint64 `json:"position"`
		Target   uint64 `json:"target"`
	} `json:"filling"`
	Result    *audit.Result  `json:"result"`
	Statement string         `json:"statement"`
	Signature string         `json:"signature"`
	Report    *rebuildReport `json:"report"`
	Problem   *problem       `json:"problem"`
}

// verifyRunning has the running system verify.
func (p *program) verifyRunning(ctx context.Context, scope audit.Scope, readModels bool, models []string, vkey string, bar *progressbar.ProgressBar) (audit.Result, signedReport, *rebuildReport, error) {
	c, err := p.client("verify", true)
	if err != nil {
		return audit.Result{}, signedReport{}, nil, err
	}
	ask := struct {
		audit.Scope
		ReadModels bool     `json:"read_models,omitempty"`
		Models     []string `json:"models,omitempty"`
	}{scope, readModels, models}
	body, err := json.Marshal(ask)
	if err != nil {
		return audit.Result{}, signedReport{}, nil, err
	}
	resp, err := c.request(ctx, http.MethodPost, "/v1/verifications", nil, nil, body)
	if err != nil {
		return audit.Result{}, signedReport{}, nil, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 16<<20)
	show := shown(bar)
	for lines.Scan() {
		var line verifyLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return audit.Result{}, signedReport{}, nil, fmt.Errorf("answer: %w", err)
		}
		switch {
		case line.Problem != nil:
			return audit.Result{}, signedReport{}, nil, line.Problem
		case line.Progress != nil:
			show(line.Progress.Done, line.Progress.Of)
		case line.Filling != nil:
			bar.Describe(line.Filling.Phase + " " + line.Filling.Model)
			show(line.Filling.Position, line.Filling.Target)
		case line.Report != nil:
			return audit.Result{}, signedReport{}, line.Report, nil
		case line.Result != nil:
			return *line.Result, signedReport{[]byte(line.Statement), []byte(line.Signature)}, nil, p.named(ctx, c, *line.Result, vkey)
		}
	}
	if err := lines.Err(); err != nil {
		return audit.Result{}, signedReport{}, nil, fmt.Errorf("answer: %w", err)
	}
	return audit.Result{}, signedReport{}, nil, errors.New("the answer ended before the result; see the log of the system")
}

// named checks that the checkpoint that a system names in its result is signed by
// the log whose key is pinned.
func (p *program) named(ctx context.Context, c *client, r audit.Result, vkey string) error {
	if vkey == "" || r.Checkpoint == "" {
		return nil
	}
	var served struct {
		Rotations []string `json:"rotations"`
	}
	if err := c.get(ctx, "/log/keys", nil, &served); err != nil {
		return err
	}
	var rotations [][]byte
	for _, text := range served.Rotations {
		rotations = append(rotations, []byte(text))
	}
	chain, err := keys.Verifiers(vkey, rotations)
	if err != nil {
		return err
	}
	got, err := transparency.OpenCheckpoint([]byte(r.Checkpoint), chain.Name(), chain)
	if err != nil {
		return fmt.Errorf("the checkpoint that the system names is not signed by the key that is pinned: %w", err)
	}
	if got.Size != r.Sealed || got.Root != r.Root {
		return fmt.Errorf("the system says that the log has %d records, its checkpoint says %d", r.Sealed, got.Size)
	}
	return nil
}

// A signedReport is a result as the text that is kept, and its signature; empty
// where the keys of the log were not at hand.
type signedReport struct{ statement, signature []byte }

// write writes the report, and its signature beside it.
func (r signedReport) write(path string) error {
	if err := os.WriteFile(path, r.statement, 0o644); err != nil {
		return err
	}
	if len(r.signature) == 0 {
		return nil
	}
	return os.WriteFile(path+".sig", r.signature, 0o644)
}

// checkReport checks the signature of a report by a key that is pinned.
func (p *program) checkReport(path, vkey string) error {
	if vkey == "" {
		return usagef("--check-report needs --key: the verifier key of the log, from elsewhere than the report")
	}
	report, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	signature, err := os.ReadFile(path + ".sig")
	if err != nil {
		return err
	}
	known, err := keys.NewVerifier(vkey)
	if err != nil {
		return err
	}
	size, err := transparency.VerifyReport(report, signature, known.Name(), note.VerifierList(known))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	p.say("✓ 该报告由日志 %s 在有 %s 条记录时签名", "✓ the log %s signed this report when it had %s records", known.Name(), grouped(size))
	return nil
}

// verified prints a result, writes the report, and fails where anything was found.
func (p *program) verified(r audit.Result, signed signedReport, report string) error {
	if report != "" {
		if err := signed.write(report); err != nil {
			return fmt.Errorf("report: %w", err)
		}
		if len(signed.signature) == 0 {
			fmt.Fprintln(p.errOut, p.pick("报告未签名：日志的密钥不在此处", "the report is not signed: the keys of the log were not at hand"))
		}
	}
	if p.json {
		if err := p.printJSON(p.out, r); err != nil {
			return err
		}
	} else {
		p.printVerified(r)
	}
	if f := r.First(); f != nil {
		if f.Position > 0 {
			return fmt.Errorf("%s", p.pick(fmt.Sprintf("核验未通过，第一处在位置 %d：", f.Position), fmt.Sprintf("not as it was signed, first at position %d: ", f.Position))+f.In(p.config.Lang))
		}
		return fmt.Errorf("%s", p.pick("核验未通过：", "not as it was signed: ")+f.In(p.config.Lang))
	}
	return nil
}

func (p *program) printVerified(r audit.Result) {
	p.say("日志：%s", "log: %s", r.Origin)
	p.say("记录：%s 条（位置 %d 至 %d），案件 %s 件，用时 %.1f 秒", "records: %s (positions %d to %d), cases: %s, in %.1f s",
		grouped(r.Records), r.From, r.Through, grouped(r.Cases), r.Seconds)
	p.say("检查点：%s 个；最新的有 %s 条记录；日志文件：%s 个；包含证明：%s 个", "checkpoints: %s, the newest of %s records; files of the log: %s; proofs of inclusion: %s",
		grouped(r.Checkpoints), grouped(r.Sealed), grouped(r.Tiles), grouped(r.Proofs))
	for i := range r.Faults {
		f := &r.Faults[i]
		name := ""
		if f.Case != "" {
			name = " [" + f.Case + "]"
		}
		fmt.Fprintf(p.out, "✗ %s%s\n", f.In(p.config.Lang), name)
	}
	if r.More > 0 {
		p.say("另有 %s 处问题未逐一列出", "and %s more faults", grouped(r.More))
	}
	for _, u := range r.Unchecked {
		p.say("未能核验：%s", "could not be checked: %s", u)
	}
	if r.Clean() {
		p.say("✓ 与签名时一致", "✓ all is as it was signed")
	}
}

// verifiedModels prints what was found of read models, and fails where it is
// something.
func (p *program) verifiedModels(r rebuildReport) error {
	if err := p.printRebuild(r); err != nil {
		return err
	}
	for _, m := range r.Models {
		if m.Differences > 0 {
			return fmt.Errorf("%s has %d rows that are not as the record has them; \"liuhen rebuild %s\" puts them right", m.Model, m.Differences, m.Model)
		}
	}
	return nil
}
