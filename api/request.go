package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"liuhen/domain/rulebook"
	"liuhen/identity"
)

// Names of our own headers.
const (
	positionHeader = "Liuhen-Position"   // the log position that an answer is complete to
	purposeHeader  = "Liuhen-Purpose"    // why personal data is read
	requestHeader  = "Liuhen-Request-Id" // names a request, in answers and in the log
	rowsTrailer    = "Liuhen-Rows"       // after a CSV: how many rows it has
)

// request is what is known of a request besides its route.
type request struct {
	id      string
	lang    string
	actor   identity.Actor
	purpose string
	address string // of the caller
	began   time.Time
	query   string // as it stands in the address
}

type requestKey struct{}

// about is what is known of the request of a context; nil outside of one.
func about(ctx context.Context) *request {
	r, _ := ctx.Value(requestKey{}).(*request)
	return r
}

func requestID(ctx context.Context) string {
	if r := about(ctx); r != nil {
		return r.id
	}
	return ""
}

var idLetters = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// around is what every request goes through before its route.
func (s *server) around(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var id [10]byte
		_, _ = rand.Read(id[:]) // never fails: crypto/rand
		req := &request{
			id: idLetters.EncodeToString(id[:]), lang: languageOf(r.Header.Get("Accept-Language")),
			address: r.RemoteAddr, began: s.Now(), query: r.URL.RawQuery,
		}
		if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
			req.address = host
		}
		r = r.WithContext(context.WithValue(r.Context(), requestKey{}, req))
		out := &response{ResponseWriter: w}
		out.Header().Set(requestHeader, req.id)
		out.Header().Set("X-Content-Type-Options", "nosniff")
		out.Header().Set("Cache-Control", "no-store")
		out.Header().Set("Content-Language", map[string]string{"zh": "zh-CN", "en": "en"}[req.lang])
		out.Header().Add("Vary", "Accept-Language")

		began := time.Now()
		defer func() { s.metrics.served(r, out.status(), time.Since(began)) }()
		defer func() {
			if fault := recover(); fault != nil {
				s.panicked(out, r, fault)
			}
		}()
		s.serve(mux, out, r, req)
	})
}

// panicked answers for a handler that panicked, where that is still possible.
func (s *server) panicked(out *response, r *http.Request, fault any) {
	if fault == http.ErrAbortHandler { // compared as net/http does
		panic(fault)
	}
	s.Logger.ErrorContext(r.Context(), "panic in a handler", "request", requestID(r.Context()), "panic", fault, "stack", string(debug.Stack()))
	if out.code != 0 {
		panic(http.ErrAbortHandler) // half an answer must not look like a whole one
	}
	write(out, problem(r.Context(), "internal", "内部错误；查询时请提供请求编号", "internal error; quote the request id when you ask about it"))
}

// serve finds the route, and for /v1 who asks.
func (s *server) serve(mux *http.ServeMux, w http.ResponseWriter, r *http.Request, req *request) {
	if _, pattern := mux.Handler(r); pattern == "" {
		s.noRoute(mux, w, r)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/v1/") {
		p := strict(r.Context(), r.URL.RawQuery)
		if p == nil {
			p = s.identify(r, req)
		}
		if p != nil {
			write(w, p)
			return
		}
	}
	mux.ServeHTTP(w, r)
}

// noRoute tells a path that is not there from a method that is not.
func (s *server) noRoute(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := mux.Handler(other); pattern != "" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		write(w, problem(r.Context(), "not-found", "没有该地址："+r.URL.Path, "there is nothing at "+r.URL.Path))
		return
	}
	methods := strings.Join(allowed, ", ")
	w.Header().Set("Allow", methods)
	write(w, problem(r.Context(), "method-not-allowed", "该地址只支持 "+methods, "this address takes "+methods))
}

// identify finds out who asks.
func (s *server) identify(r *http.Request, req *request) *Problem {
	ctx := r.Context()
	kind, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if token == "" || !strings.EqualFold(kind, "Bearer") {
		return problem(ctx, "unauthenticated", "请在请求头 Authorization 中提供令牌：Bearer lh_…", "send a token in the header Authorization: Bearer lh_…")
	}
	purpose, why := purposeOf(r.Header.Get(purposeHeader))
	if why.ZH != "" {
		p := problem(ctx, "unknown-parameter", why.ZH, why.EN)
		p.Errors = []FieldError{{Location: "header." + purposeHeader, Message: p.Detail}}
		return p
	}
	actor, err := s.Tokens.Verify(ctx, strings.TrimSpace(token))
	switch {
	case errors.Is(err, identity.ErrUnknownToken):
		return problem(ctx, "unauthenticated", "令牌无效", "the token is not known")
	case errors.Is(err, identity.ErrExpiredToken):
		return problem(ctx, "unauthenticated", "令牌已过期", "the token has expired")
	case errors.Is(err, identity.ErrRevokedToken):
		return problem(ctx, "unauthenticated", "令牌已被撤销", "the token was revoked")
	case err != nil:
		return answer(ctx, s.Logger, err)
	}
	req.actor, req.purpose = actor, purpose
	return nil
}

// purposeOf reads a stated purpose: text, as it is or percent-encoded.
func purposeOf(header string) (string, rulebook.Text) {
	purpose := strings.TrimSpace(header)
	if decoded, err := url.PathUnescape(purpose); err == nil {
		purpose = strings.TrimSpace(decoded)
	}
	if len(purpose) > 500 || !utf8.ValidString(purpose) || strings.ContainsFunc(purpose, unicode.IsControl) {
		return "", text("目的须为不超过 500 字节、无控制字符的 UTF-8 文字", "the purpose must be UTF-8 text of at most 500 bytes without control characters")
	}
	return purpose, rulebook.Text{}
}

// strict rejects what net/url and huma would pass over in silence: a query
// that is not well-formed, a parameter that is given twice or is empty.
func strict(ctx context.Context, rawQuery string) *Problem {
	if rawQuery == "" {
		return nil
	}
	values, err := url.ParseQuery(rawQuery)
	if err != nil {
		return problem(ctx, "unknown-parameter", "查询参数的编码不合规："+err.Error(), "the query is not well-formed: "+err.Error())
	}
	var wrong []FieldError
	for name, given := range values {
		var message rulebook.Text
		switch {
		case len(given) > 1:
			message = text("只能给一次", "is given more than once")
		case given[0] == "":
			message = text("为空；不用的参数请不要写", "is empty; leave out what you do not use")
		case !utf8.ValidString(given[0]) || strings.ContainsRune(given[0], 0):
			message = text("不是 UTF-8 文字", "is not UTF-8 text")
		default:
			continue
		}
		wrong = append(wrong, FieldError{Location: "query." + name, Message: message.In(langOf(ctx))})
	}
	if len(wrong) == 0 {
		return nil
	}
	slices.SortFunc(wrong, func(a, b FieldError) int { return strings.Compare(a.Location, b.Location) })
	p := problem(ctx, "unknown-parameter", "", "")
	parts := make([]string, len(wrong))
	for i, f := range wrong {
		parts[i] = f.Location + " " + f.Message
	}
	p.Detail, p.Errors = strings.Join(parts, "; "), wrong
	return p
}

// write sends a problem from outside of huma.
func write(w http.ResponseWriter, p *Problem) {
	for name, values := range p.GetHeaders() {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(p) // the caller may have gone
}

// response remembers the status that was sent.
type response struct {
	http.ResponseWriter
	code int
}

// WriteHeader is for http.ResponseWriter.
func (w *response) WriteHeader(code int) {
	if w.code == 0 {
		w.code = code
	}
	w.ResponseWriter.WriteHeader(code)
}

// Write is for http.ResponseWriter.
func (w *response) Write(b []byte) (int, error) {
	if w.code == 0 {
		w.code = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController, which flushes and sets deadlines.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *response) status() int {
	if w.code == 0 {
		return http.StatusOK
	}
	return w.code
}

// unmarshal decodes a body. Beyond encoding/json it refuses a name that stands
// twice in one object, for which of the two was meant cannot be known, and
// text behind the value.
func unmarshal(data []byte, v any) error {
	if _, untyped := v.(*any); untyped { // huma decodes twice, into any first
		if err := noDuplicates(data); err != nil {
			return err
		}
	}
	return json.Unmarshal(data, v)
}

// errTwice says that a name stands twice in an object.
type errTwice struct{ name string }

func (e errTwice) Error() string { return fmt.Sprintf("json: %q stands twice in one object", e.name) }

func noDuplicates(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	type level struct {
		names map[string]bool // nil in an array
		key   bool            // a name comes next
	}
	var levels []level
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var top *level
		if len(levels) > 0 {
			top = &levels[len(levels)-1]
		}
		if name, ok := tok.(string); ok && top != nil && top.names != nil && top.key {
			if top.names[name] {
				return errTwice{name}
			}
			top.names[name], top.key = true, false
			continue
		}
		if top != nil {
			top.key = true // after a value comes a name
		}
		switch tok {
		case json.Delim('{'):
			levels = append(levels, level{names: map[string]bool{}, key: true})
		case json.Delim('['):
			levels = append(levels, level{})
		case json.Delim('}'), json.Delim(']'):
			levels = levels[:len(levels)-1]
		}
		if len(levels) > 100 {
			return errors.New("json: nested deeper than 100 levels")
		}
	}
}

// allow asks whether the caller may, and says why not.
func (s *server) allow(ctx context.Context, action identity.Action, on identity.Resource) error {
	r := about(ctx)
	if d := s.Policies.Allow(r.actor, action, on, r.purpose); !d.Allowed {
		return forbidden(ctx, d)
	}
	return nil
}

// waitFor waits for the read models that an answer is made from to hold what
// the caller has seen already.
func (s *server) waitFor(ctx context.Context, position uint64, models ...string) error {
	if position == 0 {
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, s.Patience)
	defer cancel()
	for _, model := range models {
		at, err := s.Reads.Wait(wait, model, position)
		if err != nil && wait.Err() != nil && ctx.Err() == nil {
			return s.behind(ctx, at, position)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *server) behind(ctx context.Context, at, wanted uint64) error {
	p := problem(ctx, "behind",
		fmt.Sprintf("数据到第 %d 位，尚未到第 %d 位，请稍后重试", at, wanted),
		fmt.Sprintf("the data is complete to position %d and not yet to %d; try again shortly", at, wanted))
	p.Position, p.retryAfter = at, 1
	return p
}

// position writes a log position for a header.
func position(at uint64) string { return strconv.FormatUint(at, 10) }
