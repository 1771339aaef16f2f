package main

import (
	"os"
	"path/filepath"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"liuhen/domain"
)

// lawAct is what the commands share that put an agency's own law file in force:
// each records one act of the procedure agency-law.
type lawAct struct {
	actFlags
	day, why, backReason, basis, caseID string

	again bool // in a case that is there
}

// with adds a field that is text; an empty one is left out.
func (f *lawAct) with(name, text string) {
	if text != "" {
		f.fields = append(f.fields, name+":="+string(quoted(text)))
	}
}

// file adds a law file by its name and either its text or its digest.
func (f *lawAct) file(path string, whole bool) error {
	name := filepath.Base(path)
	if !lawName(name) {
		return usagef("%s: want a law file, which ends with .yaml or .yml", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f.with("file_name", name)
	if !whole {
		f.with("digest", domain.DigestOf(text).String())
		return nil
	}
	if !utf8.Valid(text) {
		return usagef("%s: want UTF-8", path)
	}
	f.with("text", string(text))
	return nil
}

func lawProposeCommand(p *program) *cobra.Command {
	var f lawAct
	c := &cobra.Command{
		Use:   "propose FILE",
		Short: "提出本机关的规则文件 · Propose a law file of your agency's own",
		Long: `提出本机关的规则文件（规则、参数、程序）：全文入记录，由第二人以 confirm 确认后施行。
Propose a law file of your agency's own (rules, parameters, procedures). Its text goes
into the record; a second person puts it in force with "liuhen law confirm". A file
with a mistake, or with an example that does not come out as written, is not taken:
each mistake is told with file, line and column. From its day on a file takes the
place of an earlier one of its name. "liuhen law dry-run" tells what it would change.`,
		Example: `  liuhen law propose ours.yaml --from 2027-01-01 --reason "裁量基准修订"
  liuhen law propose ours.yaml --case 规则-2027-01 --from 2027-01-01 --reason …`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if f.day == "" || f.why == "" {
				return usagef("law propose needs --from DAY and --reason TEXT")
			}
			if err := f.file(args[0], true); err != nil {
				return err
			}
			f.with("valid_from", f.day)
			f.with("reason", f.why)
			f.with("local_basis", f.basis)
			words := []string{"propose-file"}
			if f.caseID != "" {
				words = []string{f.caseID, "propose-file"}
			}
			if !f.again {
				f.procedure = domain.LawProcedure
			}
			return p.act(c.Context(), f.actFlags, words)
		},
	}
	fs := c.Flags()
	fs.StringVar(&f.caseID, "case", "", "id of the case to open (default: the system gives one)")
	fs.BoolVar(&f.again, "again", false, "propose another text in the case that --case names")
	fs.StringVar(&f.agency, "agency", "", "the agency whose law it is")
	fs.StringVar(&f.day, "from", "", "day from which it is to be in force")
	fs.StringVar(&f.why, "reason", "", "why")
	fs.StringVar(&f.basis, "basis", "", "document it rests on")
	p.flags(fs, clientKeys...)
	return c
}

func lawConfirmCommand(p *program) *cobra.Command {
	var f lawAct
	var until string
	c := &cobra.Command{
		Use:   "confirm CASE FILE",
		Short: "由第二人确认，使规则文件施行 · Put a proposed law file in force, as the second person",
		Long: `由提出人以外的人核对文件并确认：自指定之日起，本机关的行为按其判断。
Put a law file in force that another has proposed. FILE is the text that you have
checked: it must be, byte for byte, what was proposed in the case. From the day on, and
not from a day that is past unless --back-reason says why, the acts of the agency are
judged by it, and each names it.`,
		Example: `  liuhen law confirm 规则-2027-01 ours.yaml --from 2027-01-01`,
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if f.day == "" {
				return usagef("law confirm needs --from DAY")
			}
			if err := f.file(args[1], false); err != nil {
				return err
			}
			f.with("valid_from", f.day)
			f.with("valid_to", until)
			f.with("back_reason", f.backReason)
			return p.act(c.Context(), f.actFlags, []string{args[0], "put-in-force"})
		},
	}
	fs := c.Flags()
	fs.StringVar(&f.day, "from", "", "day from which it is in force")
	fs.StringVar(&until, "until", "", "last day on which it is in force (default: open)")
	fs.StringVar(&f.backReason, "back-reason", "", "why it is in force from a day that is past")
	p.flags(fs, clientKeys...)
	return c
}

func lawWithdrawCommand(p *program) *cobra.Command {
	var f lawAct
	c := &cobra.Command{
		Use:   "withdraw CASE",
		Short: "废止本机关的规则文件 · Withdraw a law file of your agency's own",
		Long: `废止本机关的规则文件。此前按其判断的行为不变，其后的行为不再按其判断。
Withdraw a law file. What was judged by it stays as it was judged; acts of the days
after its last are not judged by it any more.`,
		Example: `  liuhen law withdraw 规则-2027-01 --until 2027-06-30 --reason …`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if f.day == "" || f.why == "" {
				return usagef("law withdraw needs --until DAY and --reason TEXT")
			}
			f.with("valid_to", f.day)
			f.with("reason", f.why)
			f.with("back_reason", f.backReason)
			return p.act(c.Context(), f.actFlags, []string{args[0], "withdraw-file"})
		},
	}
	fs := c.Flags()
	fs.StringVar(&f.day, "until", "", "last day on which it is in force")
	fs.StringVar(&f.why, "reason", "", "why")
	fs.StringVar(&f.backReason, "back-reason", "", "why its last day is past")
	p.flags(fs, clientKeys...)
	return c
}
