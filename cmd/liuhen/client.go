package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A client asks a running system over HTTP.
type client struct {
	base    string // http://host:port
	token   string
	lang    string
	purpose string // why personal data is read
	hint    string // what to say when nobody answers
}

// client finds the running system: the one that was named, or the one whose
// address stands in the data folder. Some commands are for administrators,
// who do not come with the token for everyday work.
func (p *program) client(command string, administrator bool) (*client, error) {
	c := &client{base: p.config.Server, lang: p.config.Lang, purpose: p.config.Purpose, hint: "is it running there?"}
	if c.base == "" {
		running, err := readAddress(p.config.Data)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("no system is running on the data folder %s: start it with \"liuhen serve --data %s\", or name another folder with --data or an address with --server", p.config.Data, p.config.Data)
		}
		if err != nil {
			return nil, err
		}
		c.base = running.Address
		c.hint = fmt.Sprintf("process %d wrote that address into %s and may have been killed; start the system again with \"liuhen serve\"", running.PID, p.config.Data)
	}
	if !strings.Contains(c.base, "://") {
		c.base = "http://" + c.base
	}
	c.base = strings.TrimRight(c.base, "/")

	path := p.config.TokenFile
	if path == "" && !administrator {
		path = existing(filepath.Join(p.config.Data, cliName))
	}
	if path == "" {
		path = filepath.Join(p.config.Data, tokenName)
		if c.purpose == "" {
			c.purpose = "command line of the server: liuhen " + command
		}
	}
	token, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the token (--token-file names another file): %w", err)
	}
	c.token = strings.TrimSpace(string(token))
	return c, nil
}

// existing is the path if a file is there, else "".
func existing(path string) string {
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// request sends one request and returns the answer if its status is good, and
// else a *problem. The caller closes the body.
func (c *client) request(ctx context.Context, method, path string, query url.Values, header http.Header, body []byte) (*http.Response, error) {
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		r.Header[name] = values
	}
	r.Header.Set("Accept-Language", c.lang)
	r.Header.Set("Authorization", "Bearer "+c.token)
	if c.purpose != "" {
		r.Header.Set("Liuhen-Purpose", url.PathEscape(c.purpose))
	}
	if len(body) > 0 {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &unreachable{base: c.base, hint: c.hint, err: err}
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		return nil, readProblem(resp)
	}
	return resp, nil
}

// An unreachable says that nobody answered.
type unreachable struct {
	base, hint string
	err        error
}

func (e *unreachable) Error() string {
	return fmt.Sprintf("nobody answers at %s: %s (%v)", e.base, e.hint, e.err)
}

func (e *unreachable) Unwrap() error { return e.err }

// get asks for something and decodes the answer into v.
func (c *client) get(ctx context.Context, path string, query url.Values, v any) error {
	return c.call(ctx, http.MethodGet, path, query, nil, nil, v)
}

// call sends in, if any, as JSON and decodes the answer into v, if any.
func (c *client) call(ctx context.Context, method, path string, query url.Values, header http.Header, in, v any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	resp, err := c.request(ctx, method, path, query, header, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if v == nil || resp.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return fmt.Errorf("answer of %s: %w", path, err)
	}
	return nil
}

// retrying repeats a call that is safe to repeat (it carries a command id)
// while nobody answers or the system asks for patience, for a while.
func retrying(ctx context.Context, try func() error) error {
	var err error
	for wait := 200 * time.Millisecond; wait < 4*time.Second; wait *= 2 {
		if err = try(); !worthAnother(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
	return err
}

func worthAnother(err error) bool {
	var nobody *unreachable
	var answer *problem
	switch {
	case errors.As(err, &nobody):
		return true
	case errors.As(err, &answer):
		return answer.Status == http.StatusServiceUnavailable
	}
	return false
}

// copyTo streams an answer as it is.
func (c *client) copyTo(ctx context.Context, w io.Writer, path string, query url.Values) error {
	resp, err := c.request(ctx, http.MethodGet, path, query, nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, resp.Body)
	return err
}

// at makes a path of segments, each escaped.
func at(segments ...string) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteString("/" + url.PathEscape(s))
	}
	return b.String()
}
