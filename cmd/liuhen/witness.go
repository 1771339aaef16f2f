package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"liuhen/transparency/keys"
	"liuhen/transparency/witness"
)

func witnessCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "witness",
		Short: "见证人：为检查点联署 · A witness: cosign the checkpoints of logs",
		Long: `见证人：为检查点联署。法院、档案馆、监督机关可以各自运行，互不依赖。
A witness cosigns a log's checkpoints, each with proof that it holds all of the
one before, and so nobody can be shown another log, or a log from which something
was taken away. A court, an archive or an ombudsman runs one; it needs no data of
the log, no database, and trusts the log in nothing. It speaks
https://c2sp.org/tlog-witness, or works from files that are carried to it.`,
		Example: `  liuhen witness keygen --name witness.court.example --key witness.key
  liuhen witness serve --key witness.key --state state --log KEY --listen :8099
  liuhen witness request --from https://liuhen.example/log --old 0 --out request
  liuhen witness sign --key witness.key --state state --log KEY --in request --out cosigned`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	c.AddCommand(witnessKeygenCommand(p), witnessServeCommand(p), witnessRequestCommand(p), witnessSignCommand(p))
	return c
}

func witnessKeygenCommand(p *program) *cobra.Command {
	var name, file string
	var show bool
	c := &cobra.Command{
		Use:   "keygen",
		Short: "生成见证人的密钥 · Make the keys of a witness",
		Long: `生成见证人的密钥。
Make the keys of a witness, one for Ed25519 and one for ML-DSA-44, and print the
public ones, which the log's operator and everybody who verifies must be given.
The private ones are in the file and are never printed.`,
		Example: `  liuhen witness keygen --name witness.court.example --key witness.key
  liuhen witness keygen --key witness.key --show`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) (err error) {
			var ring *keys.Ring
			if show {
				ring, err = keys.Load(file)
			} else if ring, err = keys.Create(file, name, keys.Cosignature, keys.MLDSA44); errors.Is(err, fs.ErrExist) {
				err = fmt.Errorf("there are keys in %s already (--show prints the public ones): %w", file, err)
			}
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, ring.Close()) }()
			return p.printKeys(ring)
		},
	}
	flags := c.Flags()
	flags.StringVar(&name, "name", "", "the witness's name, which nobody else has: a domain, with a path if you like")
	flags.StringVar(&file, "key", "", "the file for the keys")
	flags.BoolVar(&show, "show", false, "make nothing; print the public keys of the file")
	required(c, "key")
	c.MarkFlagsOneRequired("name", "show")
	c.MarkFlagsMutuallyExclusive("name", "show")
	return c
}

// A witnessing is what the commands that cosign were told.
type witnessing struct {
	key, state string
	logs       []string
}

func (w *witnessing) flags(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&w.key, "key", "", "the file with the witness's keys")
	flags.StringVar(&w.state, "state", "", "the folder where the newest cosigned checkpoint of each log is kept")
	flags.StringArrayVar(&w.logs, "log", nil, "verifier key of a log to witness; again for another, or for a log's further keys")
	required(c, "key", "state", "log")
}

// open returns a witness; close it with the function that comes with it.
func (w *witnessing) open() (*witness.Witness, func() error, error) {
	ring, err := keys.Load(w.key)
	if err != nil {
		return nil, nil, err
	}
	opened, err := witness.Open(w.state, ring, w.logs...)
	if err != nil {
		return nil, nil, errors.Join(err, ring.Close())
	}
	return opened, func() error { return errors.Join(opened.Close(), ring.Close()) }, nil
}

func witnessServeCommand(p *program) *cobra.Command {
	var w witnessing
	var listen string
	c := &cobra.Command{
		Use:   "serve",
		Short: "运行联网的见证人 · Run a witness that logs ask over the network",
		Long: `运行联网的见证人。
Run a witness that logs ask over HTTP: POST /add-checkpoint, and GET
/<SHA-256 of the log's origin>/checkpoint for whoever wants to see what it
cosigned. Put it behind a proxy for TLS. The folder of state must outlive it and
is never brought back from a backup: a witness that has lost it takes new keys.`,
		Example: `  liuhen witness serve --key witness.key --state state --listen 127.0.0.1:8099 \
      --log "example.org/liuhen/210100/2026+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return p.serveWitness(c.Context(), w, listen) },
	}
	w.flags(c)
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:8099", "address to listen on, host:port; port 0 takes a free one")
	p.flags(c.Flags(), "log-level", "log-format")
	return c
}

func (p *program) serveWitness(ctx context.Context, w witnessing, listen string) (err error) {
	opened, closeAll, err := w.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           opened.Handler(p.logger()),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
	}
	p.say("见证人在 http://%s 应答", "the witness answers at http://%s", listener.Addr())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer cancel()
		return server.Shutdown(ctx)
	})
	return g.Wait()
}

func witnessRequestCommand(p *program) *cobra.Command {
	var from, out string
	var old int64
	c := &cobra.Command{
		Use:   "request",
		Short: "为离线见证人准备请求文件 · Make the file that is carried to a witness without a network",
		Long: `为离线见证人准备请求文件。
Make the file that is carried to a witness without a network, from what a log has
public: its newest checkpoint and the proof that it holds all that the witness has
cosigned before. The log's operator can make it, or the witness's own people on
another machine. --from is the address of the log, or a folder with a copy of it.`,
		Example: `  liuhen witness request --from https://liuhen.example/log --old 0 --out request
  liuhen witness request --from /media/copy/log --old 20852014 --out request`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return p.makeRequest(c.Context(), from, old, out) },
	}
	flags := c.Flags()
	flags.StringVar(&from, "from", "", "the log's address (https://…/log), or a folder with a copy of it")
	flags.Int64Var(&old, "old", 0, "the size that the witness last cosigned; 0 if it has cosigned none")
	flags.StringVar(&out, "out", "", "where the request goes; it must not be there yet")
	required(c, "from", "old", "out")
	return c
}

func (p *program) makeRequest(ctx context.Context, from string, old int64, out string) error {
	read := func(path string) ([]byte, error) { return os.ReadFile(filepath.Join(from, filepath.FromSlash(path))) }
	if strings.HasPrefix(from, "https://") || strings.HasPrefix(from, "http://") {
		read = func(path string) ([]byte, error) { return download(ctx, strings.TrimSuffix(from, "/")+"/"+path) }
	}
	if old < 0 {
		return usagef("--old is %d: want the size that the witness last cosigned, or 0", old)
	}
	request, err := witness.MakeRequest(read, old)
	if err != nil {
		return fmt.Errorf("request from %s: %w", from, err)
	}
	f, err := os.OpenFile(filepath.Clean(out), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(request.Marshal())
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if p.json {
		return p.printJSON(p.out, map[string]string{"request": out})
	}
	p.say("请求文件已写入 %s", "the request is in %s", out)
	return nil
}

// download returns a small public file.
func download(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: status %s", url, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, 1<<20))
}

func witnessSignCommand(p *program) *cobra.Command {
	var w witnessing
	var in, out string
	c := &cobra.Command{
		Use:   "sign",
		Short: "离线联署：读入请求文件，写出联署 · Cosign without a network: a file in, a file out",
		Long: `离线联署：读入请求文件，写出联署。
Cosign a checkpoint that was carried here in a file, on a machine without a
network. The file is the body of an add-checkpoint request: the size that this
witness cosigned last, the proof from there, and the checkpoint. What is written
is the checkpoint with this witness's signatures, to be carried back.

If the request begins at another size than this witness has cosigned, nothing is
signed and the size is said, for the file to be made anew from there. If it
contradicts what was cosigned before, nothing is signed either: keep that file, for
it may prove that the log was forked.`,
		Example: `  liuhen witness sign --key witness.key --state state --in request --out cosigned \
      --log "example.org/liuhen/210100/2026+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return p.signCarried(w, in, out) },
	}
	w.flags(c)
	c.Flags().StringVar(&in, "in", "", "the request that was carried here")
	c.Flags().StringVar(&out, "out", "", "where the cosigned checkpoint goes; it must not be there yet")
	required(c, "in", "out")
	return c
}

func (p *program) signCarried(w witnessing, in, out string) (err error) {
	request, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	// The place for the answer is taken first: what is cosigned cannot be taken
	// back, and should not be lost for want of a place.
	f, err := os.OpenFile(filepath.Clean(out), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	signed, err := w.sign(request)
	if err != nil {
		return errors.Join(fmt.Errorf("cosign %s: %w", in, err), f.Close(), os.Remove(out))
	}
	_, err = f.Write(signed)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("the checkpoint was cosigned, but not written to %s (a copy is in %s): %w", out, w.state, err)
	}
	if p.json {
		return p.printJSON(p.out, map[string]string{"cosigned": out})
	}
	p.say("已联署，写入 %s", "cosigned; the checkpoint with the cosignatures is in %s", out)
	return nil
}

// sign cosigns one request.
func (w *witnessing) sign(request []byte) (signed []byte, err error) {
	opened, closeAll, err := w.open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	_, signed, err = opened.Add(request)
	var conflict *witness.ConflictError
	if errors.As(err, &conflict) {
		return nil, fmt.Errorf("%w, and carry that file here", err)
	}
	return signed, err
}
