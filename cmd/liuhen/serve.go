package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// stopWithin is how long a graceful stop may take; what has not ended by then
// is given up, and the next start recovers.
const stopWithin = 10 * time.Second

func serveCommand(p *program) *cobra.Command {
	var sample bool
	c := &cobra.Command{
		Use:   "serve",
		Short: "启动系统 · Start the system",
		Long: `启动系统：记录（NATS JetStream）、读模型（PostgreSQL）、HTTP 接口，全部在一个进程和一个数据目录内。
Start the system: the record (NATS JetStream), the read models (PostgreSQL) and
HTTP, all of it from this one program and one data folder. Ctrl-C stops it
cleanly. --nats and --postgres use outside servers instead. With --sample an
empty system is filled with a small synthetic office to look at.`,
		Example: `  liuhen serve
  liuhen serve --data /srv/liuhen --http 127.0.0.1:9090
  liuhen serve --sample
  liuhen serve --nats nats://n1:4222,n2:4222,n3:4222 --replicas 3 --postgres postgres://liuhen@db/liuhen`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return p.serve(c.Context(), sample) },
	}
	c.Flags().BoolVar(&sample, "sample", false, "fill an empty system with a small synthetic office")
	p.flags(c.Flags(), serveKeys...)
	return c
}

// serve runs the system until ctx ends, and stops it in the reverse order in
// which it was started: HTTP, read models, record, NATS, PostgreSQL.
func (p *program) serve(ctx context.Context, withSample bool) (err error) {
	if p.config.Data, err = filepath.Abs(p.config.Data); err != nil {
		return err
	}
	lock, err := lockFolder(p.config.Data)
	if err != nil {
		return err
	}
	me := running{PID: os.Getpid(), Started: time.Now()}
	defer func() { err = errors.Join(err, lock.release()) }()
	if err := errors.Join(lock.tell(me), removeAddress(p.config.Data)); err != nil {
		return err
	}
	if err := p.limitMemory(); err != nil {
		return err
	}

	s := &system{program: p, logger: p.logger(), failed: make(chan error, 1)}
	began := time.Now()
	err = s.start(ctx, withSample)
	if err == nil {
		me.Address = s.address
		err = errors.Join(lock.tell(me), writeAddress(p.config.Data, me))
	}
	if err == nil {
		p.announce(s, time.Since(began))
		select {
		case <-ctx.Done():
		case err = <-s.failed:
		}
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // stopped while it was starting
	}
	fmt.Fprintln(p.errOut, p.pick("正在停止…", "stopping …"))
	stopErr := errors.Join(removeAddress(p.config.Data), s.stop())
	if err == nil && stopErr == nil {
		fmt.Fprintln(p.errOut, p.pick("已停止。", "stopped."))
	}
	return errors.Join(err, stopErr)
}

func (p *program) logger() *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(p.config.LogLevel)); err != nil {
		panic("serve: log level: " + err.Error()) // Config.check lets no other through
	}
	options := &slog.HandlerOptions{Level: level}
	if p.config.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(p.errOut, options))
	}
	return slog.New(slog.NewTextHandler(p.errOut, options))
}

// announce tells where the data lies, the address, where the token is, and
// what to try next.
func (p *program) announce(s *system, took time.Duration) {
	p.say("留痕已启动（%.1f 秒）。按 Ctrl-C 停止。", "liuhen is running (started in %.1f s). Ctrl-C stops it.", took.Seconds())
	pairs := [][2]string{
		{p.pick("数据目录", "data"), p.config.Data},
		{p.pick("地址", "address"), s.address + p.pick("（接口说明 ", " (documentation ") + s.address + "/docs" + p.pick("）", ")")},
		{p.pick("管理员令牌", "administrator's token"), s.whereToken()},
	}
	if s.newKeys {
		pairs = append(pairs, [2]string{p.pick("证明日志公钥", "public key of the log"),
			strings.Join(s.keys.Newest(), " ") + p.pick("（请另行保存，供他人核验）", " (keep it elsewhere, for others to check with)")})
	}
	if p.config.NATS != "" {
		pairs = append(pairs, [2]string{"NATS", masked(p.config.NATS)})
	}
	if p.config.Postgres != "" {
		pairs = append(pairs, [2]string{"PostgreSQL", masked(p.config.Postgres)})
	}
	p.printPairs(pairs)
	p.say("\n可以在另一终端试试：", "\nTo try next, in another terminal:")
	for _, line := range s.suggestions() {
		fmt.Fprintln(p.out, "  "+line)
	}
}

// whereToken says where the administrator's token is.
func (s *system) whereToken() string {
	p, path := s.program, filepath.Join(s.program.config.Data, tokenName)
	switch {
	case s.newToken:
		return path + p.pick("（新签发，仅属主可读）", " (just made; only its owner can read it)")
	case existing(path) == "":
		return p.pick("不在本数据目录", "not in this data folder")
	}
	return path
}

// suggestions are three commands that work as they stand here.
func (s *system) suggestions() []string {
	p := s.program
	prefix := "liuhen "
	if self, err := os.Executable(); err == nil {
		prefix = self + " "
		if wd, err := os.Getwd(); err == nil {
			if rel, err := filepath.Rel(wd, self); err == nil && !strings.HasPrefix(rel, "..") {
				prefix = "." + string(filepath.Separator) + rel + " "
				if strings.ContainsRune(rel, filepath.Separator) {
					prefix = rel + " "
				}
			}
		}
	}
	where := ""
	if p.config.Data != defaultData() {
		where = " --data " + p.config.Data
	}
	if s.sampled {
		return []string{
			prefix + "deadlines" + where,
			prefix + "timeline 样例-005" + where,
			prefix + "ledger --findings" + where,
		}
	}
	if s.store.Status().Last > 0 {
		return []string{prefix + "stats" + where, prefix + "deadlines" + where, prefix + "ledger" + where}
	}
	return []string{
		prefix + "token create --person zhang-san --name 张三 --role officer --agency kejiju --use" + where,
		prefix + "act --procedure penalty-ordinary 2026-001 receive-clue --field source=report --field summary=举报" + where,
		prefix + "case 2026-001 --next" + where,
	}
}
