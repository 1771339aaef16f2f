package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"liuhen/domain/law"
	"liuhen/domain/rulebook"
)

func lawPrintCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "print DIR",
		Short: "把每个程序打印成文本文件，供法制人员核对 · Print every procedure to a file, for a lawyer",
		Long: `把每个程序（最新版本）打印成文本文件：阶段、行为、文书、字段、规则及其依据。
Print every procedure in its newest edition to DIR/<procedure>.txt, for a lawyer
to check. docs/law of the source is made with it.`,
		Example: `  liuhen law print docs/law`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			book, err := p.book()
			if err != nil {
				return err
			}
			prints, err := p.lawPrints(book)
			if err != nil {
				return err
			}
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			for name, text := range prints {
				if err := os.WriteFile(filepath.Join(args[0], name), text, 0o644); err != nil {
					return err
				}
			}
			p.say("%d 个文件写入 %s。", "%d files written to %s.", len(prints), args[0])
			return nil
		},
	}
	p.flags(c.Flags(), "law")
	return c
}

// lawPrints is the text of every procedure's newest edition, by file name.
func (p *program) lawPrints(book *rulebook.Book) (map[string][]byte, error) {
	prints := make(map[string][]byte)
	for _, edition := range book.Procedures() {
		newest, _ := book.Procedure(edition.Name)
		var text bytes.Buffer
		if err := rulebook.Explain(&text, book, newest, p.config.Lang); err != nil {
			return nil, fmt.Errorf("print %s: %w", newest.Name, err)
		}
		prints[newest.Name+".txt"] = text.Bytes()
	}
	return prints, nil
}

func lawDutiesCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "duties",
		Short: "列出真实年度报告的每一句职责由哪个程序承载 · What carries each duty of a real annual report",
		Long: `列出某局 2022 年度法治政府建设报告的每一句：其中的职责由哪个程序、哪些行为承载。
Go through a real bureau's report for 2022, sentence by sentence: which procedure and
which acts carry the duty stated there. Exit code 1 if an act named there is not in
the law. docs/DUTIES.md of the source is made with it.`,
		Example: `  liuhen law duties > docs/DUTIES.md
  liuhen law duties --json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			book, err := p.book()
			if err != nil {
				return err
			}
			duties, err := readDuties(law.Duties)
			if err != nil {
				return err
			}
			if err := checkDuties(book, duties); err != nil {
				return err
			}
			if p.json {
				return p.printJSON(p.out, duties)
			}
			return writeDuties(p.out, book, duties)
		},
	}
	p.flags(c.Flags(), "law")
	return c
}

// A duty is one sentence of a real bureau's annual report, and what carries
// the duty that it states.
type duty struct {
	Section string    `yaml:"section" json:"section"`
	Number  int       `yaml:"number" json:"number"`       // of the sentence in its section, from 1
	Begins  string    `yaml:"begins" json:"begins"`       // its first characters
	Duty    string    `yaml:"duty" json:"duty,omitempty"` // in our words
	Carried []carried `yaml:"carried" json:"carried"`
	None    string    `yaml:"none" json:"none,omitempty"` // why it states no duty
}

// carried names acts of a procedure.
type carried struct {
	Procedure string   `yaml:"procedure" json:"procedure"`
	Acts      []string `yaml:"acts" json:"acts"`
}

// readDuties reads the sentences, in the order of the report.
func readDuties(data []byte) ([]duty, error) {
	var all []duty
	if err := yaml.UnmarshalWithOptions(data, &all, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("duties: %w", err)
	}
	for _, d := range all {
		if (len(d.Carried) == 0) == (d.None == "") {
			return nil, fmt.Errorf("duties: %s %d: expected either carried or none", d.Section, d.Number)
		}
	}
	return all, nil
}

// checkDuties reports procedures and acts that are not in the law.
func checkDuties(book *rulebook.Book, duties []duty) error {
	for _, d := range duties {
		for _, c := range d.Carried {
			procedure, ok := book.Procedure(c.Procedure)
			if !ok {
				return fmt.Errorf("duties: %s %d: there is no procedure %q", d.Section, d.Number, c.Procedure)
			}
			for _, act := range c.Acts {
				if _, ok := procedure.Act(act); !ok {
					return fmt.Errorf("duties: %s %d: procedure %s has no act %q", d.Section, d.Number, c.Procedure, act)
				}
			}
		}
	}
	return nil
}

func writeDuties(w io.Writer, book *rulebook.Book, duties []duty) error {
	var b strings.Builder
	b.WriteString("# 职责对照 · Duties\n\n" +
		"Which procedure and which acts carry each duty of a real bureau's report on building a government under the rule of\n" +
		"law (2022). One row a sentence or heading of the report, named by its section, its number there and its first characters. This\n" +
		"file is made by `make docs` (`liuhen law duties`) from `domain/law/duties/report-2022.yaml`; a test keeps it fresh.\n")
	section := ""
	carried, none := 0, 0
	for _, d := range duties {
		if d.Section != section {
			section = d.Section
			fmt.Fprintf(&b, "\n## %s\n\n| | 句首 | 职责 | 承载的程序与行为 · Carried by |\n|---|---|---|---|\n", section)
		}
		var by []string
		for _, c := range d.Carried {
			procedure, _ := book.Procedure(c.Procedure)
			var acts []string
			for _, name := range c.Acts {
				a, _ := procedure.Act(name)
				acts = append(acts, fmt.Sprintf("%s `%s`", a.Title.ZH, name))
			}
			by = append(by, fmt.Sprintf("**%s** `%s`：%s", procedure.Title.ZH, c.Procedure, strings.Join(acts, "、")))
		}
		if len(by) == 0 {
			none++
			by = []string{"（不含职责：" + d.None + "）"}
		} else {
			carried++
		}
		fmt.Fprintf(&b, "| %d | %s… | %s | %s |\n", d.Number, cell(d.Begins), cell(d.Duty), strings.Join(by, "<br>"))
	}
	fmt.Fprintf(&b, "\n%d sentences state a duty and are carried; %d state none.\n", carried, none)
	_, err := io.WriteString(w, b.String())
	return err
}

// cell writes a text into a cell of a Markdown table.
func cell(s string) string { return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s) }
