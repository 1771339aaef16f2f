package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5/pgconn"

	"liuhen/domain"
	"liuhen/domain/rulebook"
	"liuhen/eventstore"
	"liuhen/identity"
	"liuhen/projections"
)

// A Problem is every answer that is not a success: application/problem+json
// (RFC 9457) with a code that programs go by.
type Problem struct {
	Title    string             `json:"title" doc:"The kind of problem in a few words"`
	Status   int                `json:"status" doc:"The HTTP status"`
	Code     string             `json:"code" doc:"The kind of problem, for programs; see the list in the description of this document"`
	Detail   string             `json:"detail" doc:"What happened here, in the language asked for"`
	Rule     string             `json:"rule,omitempty" doc:"The rule that refuses, or that asks for what is missing"`
	Article  string             `json:"article,omitempty" doc:"The article that the rule stands on"`
	Cure     string             `json:"cure,omitempty" doc:"What would cure it"`
	Findings []rulebook.Finding `json:"findings,omitempty" doc:"All that stands against the act, gravest first"`
	Errors   []FieldError       `json:"errors,omitempty" doc:"What is malformed, field by field"`
	Reasons  []identity.Reason  `json:"reasons,omitempty" doc:"The policies that deny"`
	Revision int                `json:"revision,omitempty" doc:"The revision that the case is at"`
	Between  []domain.Receipt   `json:"between,omitempty" doc:"What was recorded since the revision that the caller saw, oldest first"`
	Event    string             `json:"event,omitempty" doc:"The event that the idempotency key belongs to"`
	Position uint64             `json:"position,omitempty" doc:"The position that the data is complete to"`
	Request  string             `json:"request,omitempty" doc:"The id of the request, to be quoted when asking about it"`

	retryAfter int // seconds; 0: no header
}

// A FieldError is one thing wrong with a request.
type FieldError struct {
	Location string `json:"location" doc:"Where it is: query.limit, body.fields.amount, header.If-Match"`
	Message  string `json:"message" doc:"What is wrong, in the language asked for"`
	Rule     string `json:"rule,omitempty" doc:"The rule that asks for it, if one does"`
}

func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// GetStatus is for huma.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is for huma.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders is for huma.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="liuhen"`)
	}
	if p.Position > 0 {
		h.Set(positionHeader, strconv.FormatUint(p.Position, 10))
	}
	return h
}

// titles are the kinds of problem by code, in both languages.
var titles = map[string]struct {
	status int
	rulebook.Text
}{
	"malformed":              {http.StatusUnprocessableEntity, rulebook.Text{ZH: "请求不合规", EN: "The request is malformed"}},
	"unknown-parameter":      {http.StatusBadRequest, rulebook.Text{ZH: "参数不合规", EN: "A parameter is wrong"}},
	"unauthenticated":        {http.StatusUnauthorized, rulebook.Text{ZH: "未认证", EN: "Not authenticated"}},
	"forbidden":              {http.StatusForbidden, rulebook.Text{ZH: "无权进行", EN: "Not allowed"}},
	"not-found":              {http.StatusNotFound, rulebook.Text{ZH: "没有找到", EN: "Not found"}},
	"method-not-allowed":     {http.StatusMethodNotAllowed, rulebook.Text{ZH: "不支持该方法", EN: "Method not allowed"}},
	"not-acceptable":         {http.StatusNotAcceptable, rulebook.Text{ZH: "不提供该格式", EN: "Format not offered"}},
	"refused":                {http.StatusUnprocessableEntity, rulebook.Text{ZH: "依法不能作出该行为", EN: "The act is refused"}},
	"case-exists":            {http.StatusConflict, rulebook.Text{ZH: "案号已被使用", EN: "The case exists"}},
	"changed":                {http.StatusConflict, rulebook.Text{ZH: "案件已有变动", EN: "The case has changed"}},
	"idempotency-key-reused": {http.StatusUnprocessableEntity, rulebook.Text{ZH: "幂等键已用于其他行为", EN: "The idempotency key was used for something else"}},
	"not-waiting":            {http.StatusConflict, rulebook.Text{ZH: "已不在等待处理", EN: "It does not wait any more"}},
	"still-fails":            {http.StatusUnprocessableEntity, rulebook.Text{ZH: "重试仍未成功", EN: "It failed again"}},
	"too-large":              {http.StatusRequestEntityTooLarge, rulebook.Text{ZH: "内容过大", EN: "Too large"}},
	"unsupported-media-type": {http.StatusUnsupportedMediaType, rulebook.Text{ZH: "不支持该内容类型", EN: "Unsupported content type"}},
	"busy":                   {http.StatusServiceUnavailable, rulebook.Text{ZH: "系统繁忙", EN: "The system is busy"}},
	"no-writer":              {http.StatusServiceUnavailable, rulebook.Text{ZH: "暂无写入者", EN: "No writer at present"}},
	"full":                   {http.StatusServiceUnavailable, rulebook.Text{ZH: "磁盘已满", EN: "The disk is full"}},
	"stopped":                {http.StatusServiceUnavailable, rulebook.Text{ZH: "已停止写入", EN: "Writing is stopped"}},
	"outcome-unknown":        {http.StatusServiceUnavailable, rulebook.Text{ZH: "结果未知", EN: "The outcome is not known"}},
	"behind":                 {http.StatusServiceUnavailable, rulebook.Text{ZH: "数据尚未跟上", EN: "The data has not come so far yet"}},
	"unavailable":            {http.StatusServiceUnavailable, rulebook.Text{ZH: "暂时不可用", EN: "Not available at present"}},
	"timeout":                {http.StatusServiceUnavailable, rulebook.Text{ZH: "处理超时", EN: "It took too long"}},
	"internal":               {http.StatusInternalServerError, rulebook.Text{ZH: "内部错误", EN: "Internal error"}},
}

// problem makes a Problem of a code, with its detail in both languages.
func problem(ctx context.Context, code string, zh, en string) *Problem {
	kind, ok := titles[code]
	if !ok {
		panic("api: no problem code " + code)
	}
	lang := langOf(ctx)
	return &Problem{
		Title: kind.In(lang), Status: kind.status, Code: code, Detail: rulebook.Text{ZH: zh, EN: en}.In(lang),
		Request: requestID(ctx),
	}
}

// answer turns an error into the answer that the caller gets. It is the one
// table of errors of the program: refusals are told whole, conditions with
// what the caller can do, faults are logged whole and told as "internal error".
func answer(ctx context.Context, logger *slog.Logger, err error) *Problem {
	var (
		p       *Problem
		refusal *domain.Refusal
		invalid *domain.Invalid
		stale   *domain.Stale
		reused  *domain.Reused
		token   *identity.InvalidToken
	)
	switch {
	case errors.As(err, &p):
		if p.Request == "" {
			p.Request = requestID(ctx)
		}
		return p
	case errors.As(err, &refusal):
		return refused(ctx, refusal)
	case errors.As(err, &invalid):
		return malformed(ctx, invalid)
	case errors.As(err, &token):
		p := problem(ctx, "malformed", "令牌的内容不合规："+token.Field, "the token is malformed: "+token.Field)
		p.Errors = []FieldError{{Location: "body." + token.Field, Message: rulebook.Text{ZH: token.ZH, EN: token.EN}.In(langOf(ctx))}}
		return p
	case errors.As(err, &reused):
		p := problem(ctx, "idempotency-key-reused",
			"该幂等键已用于另一行为；请换用新键", "this idempotency key was used for another act; use a new one")
		p.Event = reused.Event
		return p
	case errors.As(err, &stale):
		p := problem(ctx, "changed", fmt.Sprintf("案件现为第 %d 号记录，而非第 %d 号", stale.Actual, stale.Expected),
			fmt.Sprintf("the case is at revision %d, not %d", stale.Actual, stale.Expected))
		p.Revision = stale.Actual
		return p
	case errors.Is(err, domain.ErrNoCase):
		return noCase(ctx)
	case errors.Is(err, identity.ErrNoToken):
		return problem(ctx, "not-found", "没有该令牌", "there is no such token")
	case errors.Is(err, projections.ErrCursor):
		p := problem(ctx, "unknown-parameter", "游标无效", "the cursor is not valid")
		p.Errors = []FieldError{{Location: "query.cursor", Message: p.Detail}}
		return p
	case errors.Is(err, eventstore.ErrConflict):
		return problem(ctx, "changed", "案件同时被多次改动，请重新读取后再试", "the case was changed many times meanwhile; read it and try again")
	case errors.Is(err, eventstore.ErrTooLarge):
		return problem(ctx, "too-large", "记录超过大小上限；大文件请存为证据并引用其摘要", "the record is over the size limit; keep large files as evidence and refer to their digest")
	case errors.Is(err, eventstore.ErrBusy):
		return later(ctx, logger, err, "busy", 1, "等待写入的内容过多，请稍后重试；未保存任何内容", "too much is waiting to be written; nothing was stored, try again shortly")
	case errors.Is(err, eventstore.ErrNoWriter):
		return later(ctx, logger, err, "no-writer", 2, "暂时没有进程持有写入权，请稍后重试；未保存任何内容", "no process holds the right to write just now; nothing was stored, try again shortly")
	case errors.Is(err, eventstore.ErrFull):
		return later(ctx, logger, err, "full", 30, "存放记录的磁盘已满；未保存任何内容", "the disk that the record is kept on is full; nothing was stored")
	case errors.Is(err, eventstore.ErrStopped):
		return later(ctx, logger, err, "stopped", 60, "因故障已停止写入："+err.Error(), "an incident has stopped all writing: "+err.Error())
	case errors.Is(err, eventstore.ErrUnknown):
		return later(ctx, logger, err, "outcome-unknown", 1,
			"无法确定是否已保存；请用同一幂等键（Idempotency-Key）重新提交，不会重复", "it is not known whether it was stored; send it again with the same Idempotency-Key, it will not be doubled")
	case errors.Is(err, context.DeadlineExceeded):
		return later(ctx, logger, err, "timeout", 2, "处理超时，请稍后重试", "it took too long; try again shortly")
	case errors.Is(err, context.Canceled):
		return problem(ctx, "timeout", "请求已中断", "the request was broken off")
	case databaseAway(err):
		return later(ctx, logger, err, "unavailable", 2, "数据库暂时不可用，请稍后重试", "the database is not available just now; try again shortly")
	default:
		logger.ErrorContext(ctx, "internal error", "request", requestID(ctx), "error", err)
		return problem(ctx, "internal", "内部错误；查询时请提供请求编号", "internal error; quote the request id when you ask about it")
	}
}

func refused(ctx context.Context, r *domain.Refusal) *Problem {
	cause, lang := r.Cause(), langOf(ctx)
	detail := cause.Says
	if cause.Detail.In(lang) != "" {
		detail = rulebook.Text{ZH: cause.Says.In("zh") + "：" + cause.Detail.In("zh"), EN: cause.Says.In("en") + ": " + cause.Detail.In("en")}
	}
	p := problem(ctx, "refused", detail.In("zh"), detail.In("en"))
	p.Rule, p.Article, p.Cure, p.Findings = cause.Rule, cause.Basis, cause.Cure.In(lang), r.Findings
	return p
}

func malformed(ctx context.Context, e *domain.Invalid) *Problem {
	lang := langOf(ctx)
	var fields []FieldError
	var names []string
	for _, wrong := range e.Problems {
		fields = append(fields, FieldError{Location: "body." + wrong.Field, Message: wrong.Detail.In(lang), Rule: wrong.Rule})
		names = append(names, wrong.Field+" "+wrong.Detail.In(lang))
	}
	all := strings.Join(names, "; ")
	p := problem(ctx, "malformed", all, all)
	p.Errors = fields
	for _, f := range fields {
		if f.Rule != "" {
			p.Rule = f.Rule
			break
		}
	}
	return p
}

func noCase(ctx context.Context) *Problem {
	return problem(ctx, "not-found", "没有该案件，或您无权查阅", "there is no such case, or you may not read it")
}

// forbidden says why a decision denies.
func forbidden(ctx context.Context, d identity.Decision) *Problem {
	p := problem(ctx, "forbidden", d.Why("zh"), d.Why("en"))
	p.Reasons = d.Reasons
	return p
}

// later is a condition that passes; it is logged, for operators to see. That
// the store is busy is no news when a thousand clients hear it each second.
func later(ctx context.Context, logger *slog.Logger, err error, code string, seconds int, zh, en string) *Problem {
	level := slog.LevelWarn
	if code == "busy" {
		level = slog.LevelDebug
	}
	logger.Log(ctx, level, "a request was turned away", "code", code, "request", requestID(ctx), "error", err)
	p := problem(ctx, code, zh, en)
	p.retryAfter = seconds
	return p
}

// databaseAway reports whether the database could not be reached or is
// shutting down or starting, which passes.
func databaseAway(err error) bool {
	var connect *pgconn.ConnectError
	var broken *net.OpError
	if errors.As(err, &connect) || errors.As(err, &broken) || pgconn.SafeToRetry(err) || errors.Is(err, io.ErrUnexpectedEOF) {
		return true
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	switch pg.Code[:2] {
	case "08", "53", "57": // connection, resources, operator intervention
		return true
	}
	return false
}

// huma makes its own errors with this function, which is one for the whole
// program; those that are not ours carry nothing but a status and a text.
func init() {
	huma.ValidateStrictCasing = true
	huma.NewErrorWithContext = func(hc huma.Context, status int, msg string, errs ...error) huma.StatusError {
		ctx := context.Background()
		if hc != nil {
			ctx = hc.Context()
		}
		return rejected(ctx, status, msg, errs)
	}
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		return rejected(context.Background(), status, msg, errs)
	}
}

// rejected is the answer to a request that huma rejects before a handler sees
// it: a wrong parameter is 400, a malformed body 422 or, where it is not JSON
// at all, 400.
func rejected(ctx context.Context, status int, msg string, errs []error) *Problem {
	lang := langOf(ctx)
	var fields []FieldError
	outside := false
	for _, err := range errs {
		f := FieldError{Message: err.Error()}
		var d huma.ErrorDetailer
		if errors.As(err, &d) {
			f = FieldError{Location: d.ErrorDetail().Location, Message: d.ErrorDetail().Message}
		}
		f.Message = inWords(f.Message, lang)
		f.Location, f.Message = locate(f.Location, f.Message)
		outside = outside || !strings.HasPrefix(f.Location, "body")
		fields = append(fields, f)
	}
	slices.SortFunc(fields, func(a, b FieldError) int { return strings.Compare(a.Location, b.Location) })
	code := "malformed"
	switch {
	case status == http.StatusRequestEntityTooLarge:
		code = "too-large"
	case status == http.StatusUnsupportedMediaType:
		code = "unsupported-media-type"
	case status == http.StatusNotAcceptable:
		code = "not-acceptable"
	case status == http.StatusRequestTimeout:
		code = "timeout"
	case status >= 500:
		code = "internal"
	case len(fields) > 0 && outside:
		code = "unknown-parameter"
	}
	detail := inWords(msg, lang)
	if len(fields) > 0 && code != "internal" {
		parts := make([]string, len(fields))
		for i, f := range fields {
			parts[i] = strings.TrimSpace(f.Location + " " + f.Message)
		}
		detail = strings.Join(parts, "; ")
	}
	p := problem(ctx, code, detail, detail)
	p.Errors = fields
	if code == "malformed" && status == http.StatusBadRequest {
		p.Status = http.StatusBadRequest
	}
	return p
}
