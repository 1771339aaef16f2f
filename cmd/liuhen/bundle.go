package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func bundleCommand(p *program) *cobra.Command {
	l := &list{
		filters: append(slices.Clone(caseFilters), []filter{
			{"profile", "full: every record; party: those served on the reader; public: what is published"},
			{"reader", "with --profile party: the party's name, exactly as it is recorded"},
		}...),
		switches: []filter{{"findings", "only cases with findings"}},
	}
	var path string
	var wait int
	c := &cobra.Command{
		Use:   "bundle [CASE …]",
		Short: "导出可离线核验的案卷包 · Cases with their proofs in one file that anybody can check",
		Long: `导出可离线核验的案卷包：记录原文、每条记录的证明、完整性证明、所依据的规则、可读页面。
Put cases into one file that anybody can check without a network and without
trusting us, by a public key ("liuhen check", or by hand as the file itself
tells): the records byte for byte, a proof of each, a proof that nothing was left
out, the law that judged them, and pages to read.

Without CASE the filters of "liuhen ledger" choose. What you may not read is not in
the file, and the bundle stays in the access trail. With --profile the records that
a reader may not see are given by leaf and proof only.`,
		Example: `  liuhen bundle 样例-005
  liuhen bundle 样例-005 --profile party --reader 沈阳某某科技有限公司 -o party.zip
  liuhen bundle --procedure penalty-ordinary --from 2026-01-01 -o 2026.zip`,
		RunE: func(c *cobra.Command, args []string) error {
			q := l.query(c)
			q.Set("wait", strconv.Itoa(wait))
			route := "/v1/bundle"
			switch len(args) {
			case 0:
			case 1:
				for _, f := range caseFilters {
					if q.Has(f.name) {
						return usagef("--%s chooses cases; with a CASE it means nothing", f.name)
					}
				}
				if q.Has("findings") {
					return usagef("--findings chooses cases; with a CASE it means nothing")
				}
				route = "/v1/cases" + at(args[0], "bundle")
			default:
				q.Set("case", strings.Join(args, ","))
			}
			k, err := p.client("bundle", false)
			if err != nil {
				return err
			}
			if path == "" {
				path = "liuhen-bundle.zip"
				if len(args) == 1 {
					path = "liuhen-" + strings.ReplaceAll(args[0], "/", "-") + ".zip"
				}
			}
			return p.bundle(c.Context(), k, route, q, path)
		},
	}
	fs := c.Flags()
	for _, f := range l.filters {
		fs.String(f.name, "", f.usage)
	}
	for _, f := range l.switches {
		fs.Bool(f.name, false, f.usage)
	}
	fs.StringVarP(&path, "output", "o", "", "file to write; - is the standard output (default: liuhen-CASE.zip here)")
	fs.IntVar(&wait, "wait", 15, "seconds to wait for witnesses to cosign, where they have cosigned before; at most 60")
	fs.BoolVar(&p.quiet, "quiet", false, "no progress bar")
	p.flags(fs, clientKeys...)
	return c
}

// bundle copies a bundle to a file, which has its name only once it is whole.
func (p *program) bundle(ctx context.Context, c *client, route string, q url.Values, path string) error {
	resp, err := c.request(ctx, http.MethodGet, route, q, nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	bar := p.bar(-1, p.pick("案卷包", "bundle"), "")
	in := io.TeeReader(resp.Body, bar)
	if path == "-" {
		_, err = io.Copy(p.out, in)
	} else {
		err = writeWhole(path, in)
	}
	if err != nil {
		_ = bar.Exit()
		return fmt.Errorf("bundle: %w", err)
	}
	_ = bar.Finish() // drawing it can fail; the bundle is there
	if path == "-" {
		return nil
	}
	if p.json {
		return p.printJSON(p.out, map[string]string{"file": path, "position": resp.Header.Get("Liuhen-Position")})
	}
	p.say("已写入 %s（日志第 %s 条为止）。核验：liuhen check %s --key <验证公钥>", "written to %s (up to position %s of the log); check it: liuhen check %s --key VERIFIERKEY",
		path, resp.Header.Get("Liuhen-Position"), path)
	return nil
}
