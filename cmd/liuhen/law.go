package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing/fstest"

	"github.com/spf13/cobra"

	"liuhen/domain/calendar"
	"liuhen/domain/law"
	"liuhen/domain/rulebook"
)

func lawCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "law",
		Short: "查看和检验程序、规则、期限 · Read and check procedures, rules and limits",
		Long: `查看和检验程序、规则、期限；使本机关的规则文件施行。除 dry-run、propose、confirm、withdraw 外，不需要运行中的系统。
Read and check the law as the program has it, and put an agency's own files in force.
No running system is needed, but for dry-run, propose, confirm and withdraw.

With --law DIR further files are read as well. A system that is started with --law
holds every agency to them, from its start on and without a trace in the record: that
is for the operator of an installation. An agency puts files of its own in force with
propose and confirm: by two persons, for itself alone, from a day, as events.`,
		Example: `  liuhen law show
  liuhen law show penalty-ordinary --lang en | less
  liuhen law test
  liuhen law dry-run ours.yaml
  liuhen law propose ours.yaml --from 2027-01-01 --reason …
  liuhen law date 2022-09-28 "7 working days"`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	c.AddCommand(lawShowCommand(p), lawCheckCommand(p), lawTestCommand(p), lawCoverageCommand(p), lawFlowCommand(p), lawDiffCommand(p), lawPrintCommand(p), lawDutiesCommand(p), lawDateCommand(p), lawDryRunCommand(p), lawProposeCommand(p), lawConfirmCommand(p), lawWithdrawCommand(p))
	return c
}

// book loads the law: the program's own and, where there is one, an agency's.
func (p *program) book() (*rulebook.Book, error) {
	own, err := p.ownLaw()
	if err != nil {
		return nil, err
	}
	return rulebook.Load(law.Files, own)
}

// ownLaw reads an agency's own files into memory; none where there is no
// folder of them.
func (p *program) ownLaw() (fstest.MapFS, error) {
	own := fstest.MapFS{} // the standard library's file system in memory
	if p.config.Law == "" {
		return own, nil
	}
	if info, err := os.Stat(p.config.Law); err != nil || !info.IsDir() {
		return nil, usagef("law is %s: want a folder with law files", p.config.Law)
	}
	folder := os.DirFS(p.config.Law)
	err := fs.WalkDir(folder, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !lawName(name) {
			return err
		}
		text, err := fs.ReadFile(folder, name)
		own[name] = &fstest.MapFile{Data: text, Mode: 0o444}
		return err
	})
	return own, err
}

// lawName reports whether a file of that name is read as law.
func lawName(name string) bool {
	ext := path.Ext(name)
	return ext == ".yaml" || ext == ".yml"
}

func lawShowCommand(p *program) *cobra.Command {
	var edition string
	c := &cobra.Command{
		Use:   "show [PROCEDURE]",
		Short: "列出程序，或逐条打印一个程序 · List the procedures, or print one for a lawyer",
		Long: `列出程序，或打印一个程序：阶段、行为、文书、字段、规则及其依据。
List the procedures, or print one for a lawyer to check: stages, acts, documents,
fields, rules and the articles they rest on.`,
		Example: `  liuhen law show
  liuhen law show penalty-ordinary
  liuhen law show penalty-summary --lang en --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			book, err := p.book()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return p.listProcedures(book)
			}
			law, err := procedureOf(book, args[0], edition)
			if err != nil {
				return err
			}
			if p.json {
				return p.printJSON(p.out, law)
			}
			return rulebook.Explain(p.out, book, law, p.config.Lang)
		},
	}
	c.Flags().StringVar(&edition, "edition", "", "the edition of a day, such as 2021-07-15 (default: the newest)")
	p.flags(c.Flags(), "law")
	return c
}

func procedureOf(book *rulebook.Book, name, edition string) (*rulebook.Procedure, error) {
	if edition == "" {
		if law, ok := book.Procedure(name); ok {
			return law, nil
		}
		return nil, fmt.Errorf("there is no procedure %q; \"liuhen law show\" lists them", name)
	}
	day, err := calendar.ParseDate(edition)
	if err != nil {
		return nil, usagef("edition: %v", err)
	}
	if law, ok := book.Edition(name, day); ok {
		return law, nil
	}
	return nil, fmt.Errorf("there is no procedure %q in edition %s; \"liuhen law show\" lists them", name, day)
}

func (p *program) listProcedures(book *rulebook.Book) error {
	procedures := book.Procedures()
	if p.json {
		type brief struct {
			Name    string        `json:"name"`
			Edition calendar.Date `json:"edition"`
			Title   rulebook.Text `json:"title"`
			Basis   string        `json:"basis,omitempty"`
			Acts    int           `json:"acts"`
			Rules   int           `json:"rules"`
		}
		var all []brief
		for _, law := range procedures {
			all = append(all, brief{law.Name, law.Edition, law.Title, law.Basis, len(law.Acts), len(law.Rules)})
		}
		return p.printJSON(p.out, map[string]any{"procedures": all})
	}
	t := table{
		head:  []string{p.pick("程序", "PROCEDURE"), p.pick("版本", "EDITION"), p.pick("行为", "ACTS"), p.pick("规则", "RULES"), p.pick("名称", "NAME"), p.pick("依据", "BASIS")},
		right: []int{2, 3},
	}
	for _, law := range procedures {
		t.add(law.Name, law.Edition.String(), fmt.Sprint(len(law.Acts)), fmt.Sprint(len(law.Rules)), law.Title.In(p.config.Lang), law.Basis)
	}
	return t.write(p.out)
}

func lawCheckCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "check DIR",
		Short: "检查机关自己的规则文件和参数 · Check an agency's own law files and parameters",
		Long: `检查机关自己的规则文件和参数：每个错误给出文件、行、规则和应当如何。
Check an agency's own files: each error names file, line, rule and what was
expected; every example in them is run. Exit code 1 if anything is wrong.`,
		Example: `  liuhen law check /etc/liuhen/law`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p.config.Law = args[0]
			book, err := p.book()
			var wrong rulebook.Errors
			if errors.As(err, &wrong) {
				return p.reportLawErrors(wrong)
			}
			if err != nil {
				return err
			}
			var set []rulebook.Parameter
			for _, parameter := range book.Parameters() {
				if parameter.SetIn != "" {
					set = append(set, parameter)
				}
			}
			failed := failures(rulebook.RunExamples(book))
			if p.json {
				if err := p.printJSON(p.out, map[string]any{"errors": []rulebook.Error{}, "examples_failed": failed, "parameters_set": set}); err != nil {
					return err
				}
			} else {
				p.printParameters(set)
				p.printExampleResults(failed)
			}
			if len(failed) > 0 {
				return fmt.Errorf("%d examples fail", len(failed))
			}
			if !p.json {
				p.say("检查通过。", "Everything is in order.")
			}
			return nil
		},
	}
}

func (p *program) reportLawErrors(wrong rulebook.Errors) error {
	if p.json {
		if err := p.printJSON(p.out, map[string]any{"errors": wrong}); err != nil {
			return err
		}
	} else {
		for _, e := range wrong {
			fmt.Fprintln(p.out, e.Error())
		}
	}
	return fmt.Errorf("%d errors in %s", len(wrong), p.config.Law)
}

func (p *program) printParameters(set []rulebook.Parameter) {
	for _, parameter := range set {
		p.say("参数 %s = %v（默认 %v，%s）", "parameter %s = %v (default %v, %s)", parameter.Name, parameter.Value, parameter.Default, parameter.SetIn)
	}
}

func lawTestCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "test [PROCEDURE]",
		Short: "运行每条规则的正反例 · Run every example of every rule",
		Long: `运行每条规则的正反例并列表。
Run every example that stands beside a rule and print a table: how many hold,
how many are broken as they should be, and what does not come out as written.`,
		Example: `  liuhen law test
  liuhen law test penalty-ordinary
  liuhen law test --law /etc/liuhen/law --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			book, err := p.book()
			if err != nil {
				return err
			}
			results := rulebook.RunExamples(book)
			if len(args) == 1 {
				if _, err := procedureOf(book, args[0], ""); err != nil {
					return err
				}
				results = slices.DeleteFunc(results, func(r rulebook.ExampleResult) bool { return r.Procedure != args[0] })
			}
			return p.printLawTest(results)
		},
	}
	p.flags(c.Flags(), "law")
	return c
}

func (p *program) printLawTest(results []rulebook.ExampleResult) error {
	failed := failures(results)
	if p.json {
		if err := p.printJSON(p.out, map[string]any{"examples": results, "failed": len(failed)}); err != nil {
			return err
		}
	} else {
		t := table{
			head:  []string{p.pick("程序", "PROCEDURE"), p.pick("规则", "RULE"), p.pick("符合", "HOLDS"), p.pick("违反", "BROKEN"), p.pick("在途", "OPEN"), p.pick("结果", "RESULT")},
			right: []int{2, 3, 4},
		}
		for _, group := range byRule(results) {
			counts := map[string]int{}
			bad := 0
			for _, r := range group {
				counts[r.Kind]++
				if !r.OK {
					bad++
				}
			}
			outcome := p.pick("通过", "ok")
			if bad > 0 {
				outcome = fmt.Sprintf(p.pick("%d 例不符", "%d wrong"), bad)
			}
			t.add(group[0].Procedure, group[0].Rule, fmt.Sprint(counts["holds"]), fmt.Sprint(counts["broken"]), fmt.Sprint(counts["open"]), outcome)
		}
		if err := t.write(p.out); err != nil {
			return err
		}
		p.printExampleResults(failed)
		p.say("%d 例，%d 例不符。", "%d examples, %d wrong.", len(results), len(failed))
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d examples fail", len(failed))
	}
	return nil
}

func lawFlowCommand(p *program) *cobra.Command {
	var edition string
	c := &cobra.Command{
		Use:   "flow PROCEDURE",
		Short: "画程序的执法流程图（SVG）· Draw a procedure's flow chart (SVG)",
		Long: `画程序的执法流程图，供事前公示：各阶段及其行为、起算的期限、阶段之间的去向。
Draw a procedure's flow chart for the publication that is due before the act: the
stages with their acts, the limits that these start, and the ways between stages.`,
		Example: `  liuhen law flow penalty-ordinary > penalty-ordinary.svg
  liuhen law flow permit --lang en > permit.svg`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			book, err := p.book()
			if err != nil {
				return err
			}
			law, err := procedureOf(book, args[0], edition)
			if err != nil {
				return err
			}
			return rulebook.Flow(p.out, law, p.config.Lang)
		},
	}
	c.Flags().StringVar(&edition, "edition", "", "the edition of a day, such as 2021-07-15 (default: the newest)")
	p.flags(c.Flags(), "law")
	return c
}

func lawDiffCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "diff PROCEDURE EDITION EDITION",
		Short: "用文字说明两个版本之间的变化 · Say in words what changed between two editions",
		Long: `用文字说明一个程序两个版本之间的变化：阶段、行为、文书、字段、规则。
Say in words what changed from one edition of a procedure to another: stages, acts,
documents, fields, rules. With --law DIR an agency's own editions are compared too.`,
		Example: `  liuhen law diff our-procedure 2024-01-01 2026-03-01 --law /etc/liuhen/law`,
		Args:    cobra.ExactArgs(3),
		RunE: func(_ *cobra.Command, args []string) error {
			book, err := p.book()
			if err != nil {
				return err
			}
			var editions [2]*rulebook.Procedure
			for i := range editions {
				if editions[i], err = procedureOf(book, args[0], args[1+i]); err != nil {
					return err
				}
			}
			changes := rulebook.Diff(editions[0], editions[1])
			if p.json {
				return p.printJSON(p.out, map[string]any{"changes": append([]rulebook.Change{}, changes...)})
			}
			for _, change := range changes {
				fmt.Fprintln(p.out, change.Says.In(p.config.Lang))
			}
			p.say("%d 处变化。", "%d changes.", len(changes))
			return nil
		},
	}
	p.flags(c.Flags(), "law")
	return c
}

func lawCoverageCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "coverage",
		Short: "逐号列出每条规则在哪个程序、多少例 · Say of each numbered rule where it is",
		Long: `逐号列出每条规则：在哪些程序里、运行了多少例；未收录的，说明理由。
Go through the numbered rules (R-001 to R-120): which procedures have each, how
many of its examples ran, and why one is left out. Exit code 1 if a rule is
missing without a reason or one of its examples does not come out as written
("liuhen law test" runs those of all rules).`,
		Example: `  liuhen law coverage
  liuhen law coverage --json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			book, err := p.book()
			if err != nil {
				return err
			}
			return p.printCoverage(book.Coverage(rulebook.RunExamples(book)))
		},
	}
	p.flags(c.Flags(), "law")
	return c
}

func (p *program) printCoverage(all []rulebook.Coverage) error {
	type line struct {
		rulebook.Coverage
		LeftOut string `json:"left_out"` // in the language asked for; empty: it is there
	}
	lines := make([]line, len(all))
	missing, leftOut, examples := 0, 0, 0
	t := table{
		head:  []string{p.pick("规则", "RULE"), p.pick("例", "EXAMPLES"), p.pick("程序", "PROCEDURES")},
		right: []int{1},
	}
	for i, c := range all {
		lines[i] = line{c, c.LeftOut.In(p.config.Lang)}
		examples += c.Examples
		where := strings.Join(c.Procedures, " ")
		switch {
		case c.Missing() || c.Failed > 0:
			missing++
			where = p.pick("缺 ", "missing ") + where
		case lines[i].LeftOut != "":
			leftOut++
			where = p.pick("不由规则引擎判断：", "not judged by the law engine: ") + lines[i].LeftOut
		}
		t.add(c.Rule, fmt.Sprint(c.Examples), where)
	}
	if p.json {
		if err := p.printJSON(p.out, lines); err != nil {
			return err
		}
	} else {
		if err := t.write(p.out); err != nil {
			return err
		}
		p.say("%d 条规则，%d 例，%d 条另有去处，%d 条缺。", "%d rules, %d examples, %d kept elsewhere, %d missing.", len(all), examples, leftOut, missing)
	}
	if missing > 0 {
		return fmt.Errorf("%d rules are missing or have examples that fail", missing)
	}
	return nil
}

func (p *program) printExampleResults(failed []rulebook.ExampleResult) {
	for _, r := range failed {
		fmt.Fprintf(p.out, "%s: %s %s: %s\n", r.Source, r.Procedure, r.Rule, strings.TrimSpace(r.Why))
	}
}

func failures(results []rulebook.ExampleResult) []rulebook.ExampleResult {
	failed := []rulebook.ExampleResult{}
	for _, r := range results {
		if !r.OK {
			failed = append(failed, r)
		}
	}
	return failed
}

// byRule groups results that stand together.
func byRule(results []rulebook.ExampleResult) [][]rulebook.ExampleResult {
	var groups [][]rulebook.ExampleResult
	for _, r := range results {
		last := len(groups) - 1
		if last < 0 || groups[last][0].Rule != r.Rule || groups[last][0].Procedure != r.Procedure {
			groups = append(groups, nil)
			last++
		}
		groups[last] = append(groups[last], r)
	}
	return groups
}
