package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"liuhen/bundle"
	"liuhen/domain/law"
	"liuhen/domain/rulebook"
	"liuhen/transparency/policy"
	"liuhen/transparency/timestamp"
)

func checkCommand(p *program) *cobra.Command {
	var key, policyFile string
	var recordsOnly bool
	c := &cobra.Command{
		Use:   "check FILE",
		Short: "离线核验案卷包 · Check a bundle, offline",
		Long: `离线核验案卷包：不用网络、服务器和数据库，只信所给的公钥。
Check a bundle without a network, a server or a database, trusting the key that
you give and nothing else. The key must come another way than from the bundle.

What is checked: the bag; every record against its leaf and its proof; the
checkpoint's signature, also after the key was replaced; the chain of each case;
that no record was left out; with --policy who has cosigned; with --tsa-roots the
time stamp; and that the readable pages say what the records say. Exit code 1 where
something is not proven, with what and which file.`,
		Example: `  liuhen check liuhen-样例-005.zip --key 'example.org/liuhen/210100/2026+1a2b3c4d+AR…'
  liuhen check 2026.zip --policy policy.txt --tsa-roots tsa.pem --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			o, err := p.against(key, policyFile, recordsOnly)
			if err != nil {
				return err
			}
			return p.check(args[0], o)
		},
	}
	fs := c.Flags()
	fs.StringVar(&key, "key", "", "verifier key of the log: one that it began with, or a later one")
	fs.StringVar(&policyFile, "policy", "", "file that says who must have cosigned (C2SP tlog-policy); it may name the log in place of --key")
	fs.BoolVar(&recordsOnly, "records-only", false, "do not compare the readable pages with the records")
	p.flags(fs, "tsa-roots")
	return c
}

// against gathers what a bundle is checked against.
func (p *program) against(key, policyFile string, recordsOnly bool) (bundle.Options, error) {
	o := bundle.Options{Key: key, Law: law.Files}
	if policyFile != "" {
		text, err := os.ReadFile(policyFile)
		if err != nil {
			return o, err
		}
		if o.Policy, err = policy.Parse(text); err != nil {
			return o, fmt.Errorf("%s: %w", policyFile, err)
		}
	}
	if path := p.config.TSARoots; path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return o, err
		}
		if o.Roots, err = timestamp.ParseRoots(text); err != nil {
			return o, fmt.Errorf("%s: %w", path, err)
		}
	}
	if !recordsOnly {
		o.Book = func(own fs.FS) (*rulebook.Book, error) { return rulebook.Load(law.Files, own) }
	}
	return o, nil
}

var errNotProven = errors.New("not proven")

// check checks a file and prints what was found.
func (p *program) check(path string, o bundle.Options) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	r, err := bundle.Check(f, info.Size(), o)
	if err != nil {
		return usagef("%v", err)
	}
	if p.json {
		err = p.printJSON(p.out, r)
	} else {
		p.printCheck(&r)
	}
	if err == nil && r.Verdict != bundle.Proven {
		return fmt.Errorf("%s: %w", path, errNotProven)
	}
	return err
}

func (p *program) printCheck(r *bundle.Result) {
	both := func(t rulebook.Text) { fmt.Fprintf(p.out, "%s\n%s\n", t.ZH, t.EN) }
	both(r.Says)
	for _, f := range r.Faults {
		fmt.Fprintf(p.out, "\n✗ %s\n  %s\n  %s\n", f.File, f.Says.ZH, f.Says.EN)
	}
	fmt.Fprintln(p.out)
	if r.Origin != "" {
		p.say("日志 %s，%d 条记录，最后一条存入于 %s", "log %s, %d records, the last of them stored %s", r.Origin, r.Size, p.moment(r.Sealed))
	}
	for _, c := range r.Cases {
		p.say("案件 %s：%d 条记录，出示 %d 条", "case %s: %d records, %d of them shown", c.Case, c.Records, c.Shown)
	}
	if r.Cosigned != nil {
		for _, w := range r.Cosigned.Cosigned {
			p.say("见证人 %s 于 %s 联署到第 %d 条", "the witness %s cosigned at %s, up to record %d", w.Witness, p.moment(w.At), r.Cosigned.Size)
		}
	}
	if r.Stamp != nil {
		p.say("可信时间戳：%s，%s", "trusted time stamp: %s, by %s", p.moment(r.Stamp.Time), r.Stamp.Signer)
	}
	own, unknown := 0, 0
	for _, l := range r.Law {
		switch {
		case l.Own:
			own++
		case !l.Shipped:
			unknown++
		}
	}
	if own+unknown > 0 {
		p.say("规则文件：本机关 %d 个，与本程序所附国家规则不同的 %d 个；日志不为规则文件作证", "law files: %d of the agency's own, %d that differ from those of this program; the log does not vouch for the law", own, unknown)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(p.out, "· %s\n", p.pick(n.ZH, n.EN))
	}
}
