// Command liuhen keeps the audit trail of administrative enforcement: it
// records acts, judges them by the law, and answers what was done, when, by
// whom, and what is due. One binary is the server and its client.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// commands is the table of contents: one file each.
var commands = []func(*program) *cobra.Command{
	serveCommand,
	actCommand,
	caseCommand,
	timelineCommand,
	replayCommand,
	ledgerCommand,
	deadlinesCommand,
	findingsCommand,
	importCommand,
	exportCommand,
	bundleCommand,
	checkCommand,
	sampleCommand,
	statsCommand,
	rebuildCommand,
	verifyCommand,
	reactionsCommand,
	lawCommand,
	keygenCommand,
	witnessCommand,
	tokenCommand,
	configCommand,
	versionCommand,
}

// Exit codes of every command.
const (
	exitDone   = 0
	exitFailed = 1 // failed, refused, or not proven
	exitUsage  = 2 // called wrongly: nothing was tried
)

// A program is one run of the binary: where it reads and writes, and what it
// was told.
type program struct {
	in          io.Reader
	out, errOut io.Writer

	config  Config
	origins map[string]string // key of config → where its value came from
	json    bool              // print JSON instead of text
	quiet   bool              // no progress bars
	began   bool              // the command line was understood: an error from here on is no wrong usage
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program. It returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	p := &program{in: in, out: out, errOut: errOut}
	root := p.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	p.complain(err)
	var usage *usageError
	if !p.began || errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "liuhen",
		Short: "留痕：行政执法全过程记录 · The audit trail of administrative enforcement",
		Long: `留痕：行政执法全过程记录。记录执法行为，依法校验，随时可查。
liuhen records acts of enforcement, judges them by the law, and answers what
was done, when, by whom, and what is due.

Every setting can be given as a flag, as LIUHEN_<NAME> in the environment or in
DATA/liuhen.yaml, in this order of precedence; see "liuhen config --help".`,
		Example: `  liuhen serve                             # start the system
  liuhen deadlines                         # what is due, least time left first
  liuhen timeline 样例-2026-001            # what happened in a case
  liuhen law date 2022-09-28 "7 working days"`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(p.in)
	root.SetOut(p.out)
	root.SetErr(p.errOut)
	root.PersistentFlags().BoolVar(&p.json, "json", false, "print JSON")
	p.flags(root.PersistentFlags(), "data", "config", "lang")
	for _, command := range commands {
		root.AddCommand(command(p))
	}
	root.InitDefaultCompletionCmd()
	root.RunE = group
	root.Args = cobra.ArbitraryArgs
	p.prepare(root)
	return root
}

// prepare wraps every command: the settings are loaded before it runs, and
// errors from then on are no wrong usage.
func (p *program) prepare(c *cobra.Command) {
	for _, sub := range c.Commands() {
		p.prepare(sub)
	}
	if c.RunE == nil {
		return
	}
	inner := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := p.load(c.Flags(), os.Environ()); err != nil {
			return err
		}
		p.began = true
		return inner(c, args)
	}
}

// group is what a command does that only holds others.
func group(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		if err := c.Help(); err != nil {
			return err
		}
		return &usageError{what: fmt.Sprintf("%s needs a command", c.CommandPath())}
	}
	return &usageError{what: fmt.Sprintf("unknown command %q for %q", args[0], c.CommandPath())}
}

// A usageError says that the program was called wrongly.
type usageError struct{ what string }

func (e *usageError) Error() string { return e.what }

func usagef(format string, args ...any) error {
	return &usageError{what: fmt.Sprintf(format, args...)}
}

// say prints a line in the language asked for.
func (p *program) say(zh, en string, args ...any) {
	fmt.Fprintf(p.out, p.pick(zh, en)+"\n", args...)
}

// pick chooses between a Chinese and an English text.
func (p *program) pick(zh, en string) string {
	if p.config.Lang == "en" {
		return en
	}
	return zh
}

// complain prints an error for a person, or as JSON where that was asked for.
func (p *program) complain(err error) {
	var answer *problem
	if errors.As(err, &answer) {
		answer.print(p, err)
		return
	}
	if p.json {
		if p.printJSON(p.errOut, map[string]string{"error": err.Error()}) == nil {
			return
		}
	}
	fmt.Fprintln(p.errOut, "liuhen: "+err.Error())
}
