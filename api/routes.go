package api

import (
	"context"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Limits on what a request may carry.
const (
	maxAct    = 2 << 20  // bytes of the body of an act
	maxSmall  = 64 << 10 // of other bodies
	maxImport = 32 << 20 // of an import
	maxLaw    = 8 << 20  // of a draft of the law
)

// routes is the table of contents: every route there is.
func (s *server) routes(mux *http.ServeMux) {
	const acts, cases, lists, law, running = "acts", "cases", "lists", "law", "running"

	add(s, "POST /v1/cases", "open-case", acts, "Open a case with its first act", s.open, created, body(maxAct))
	add(s, "POST /v1/cases/{case}/acts", "record-act", acts, "Record an act in a case", s.record, created, body(maxAct))
	add(s, "POST /v1/imports", "import", acts, "Record rows of the log of another system", s.imports, body(maxImport), documented[importDoc])

	add(s, "GET /v1/cases/{case}", "read-case", cases, "A case as it stands", s.readCase)
	add(s, "GET /v1/cases/{case}/timeline", "read-timeline", cases, "The events of a case", s.timeline, listOf[timelineEntry])
	add(s, "GET /v1/cases/{case}/next", "read-next", cases, "What may be done next in a case, by whom, and why not", s.next)
	add(s, "GET /v1/cases/{case}/state", "read-state", cases, "All that is known of a case at a moment, in the form that moments are compared in", s.state)
	add(s, "GET /v1/cases/{case}/difference", "compare-moments", cases, "What is different between two moments of a case, value by value, and which record made it", s.difference, patched)
	add(s, "GET /v1/cases/{case}/replay", "replay-case", cases, "A case record by record: what each changed and what rules said", s.replayCase, streamed[replayLine])
	add(s, "GET /v1/cases/{case}/records/{event}", "read-record", cases, "An event byte for byte as it is stored", s.recorded, verbatim)
	if s.Log != nil {
		add(s, "GET /v1/cases/{case}/records/{event}/proof", "prove-record", cases, "A proof that an event is in the log of proofs (C2SP tlog-proof)", s.proof, proven)
		add(s, "GET /v1/cases/{case}/head", "read-head", cases, "How many events a case has and which is the last, with a proof", s.head)
		add(s, "GET /v1/cases/{case}/bundle", "bundle-case", cases, "A case with its proofs, to be checked offline by anybody", s.caseBundle, bundled)
		add(s, "GET /v1/bundle", "bundle", lists, "Several cases with their proofs, to be checked offline by anybody", s.bundle, bundled)
	}

	add(s, "GET /v1/ledger", "read-ledger", lists, "The ledger (台账): one row a case, the last opened first", s.ledger, listOf[ledgerEntry])
	add(s, "GET /v1/export", "export", lists, "Whole cases as an event log for other tools: XES, OCEL 2.0 or CSV", s.export, exported)
	add(s, "GET /v1/deadlines", "read-deadlines", lists, "Limits that run, least time left first", s.deadlines, listOf[deadlineEntry])
	add(s, "GET /v1/findings", "read-findings", lists, "What rules had to say, the latest record first", s.findings, listOf[findingEntry])
	add(s, "GET /v1/findings/counts", "count-findings", lists, "How often each rule was broken", s.findingCounts)
	add(s, "GET /v1/stats", "read-stats", lists, "How many records and cases there are, per procedure and act", s.stats, answers[statsBody])
	add(s, "GET /v1/access", "read-access-trail", lists, "Who looked at what, the latest first", s.access, listOf[lookEntry])

	add(s, "GET /v1/replay", "inspect-period", lists, "Judge the acts of a period anew, by the law and the registers of then, and list what differs with its cause", s.inspect, streamed[inspectLine])

	add(s, "GET /v1/procedures", "list-procedures", law, "The procedures in all their editions", s.procedures)
	add(s, "GET /v1/procedures/{name}", "read-procedure", law, "A procedure: stages, acts with their fields, rules", s.procedure)
	add(s, "GET /v1/procedures/{name}/schemas", "read-schemas", law, "What the fields of each act may hold, as JSON Schemas", s.schemas)
	add(s, "GET /v1/procedures/{name}/flow", "draw-procedure", law, "The flow chart of a procedure", s.flow, drawing)
	add(s, "POST /v1/law/dry-run", "dry-run-law", law, "Try a draft of an agency's law on the recorded cases: what would differ", s.dryRun, body(maxLaw), streamed[dryRunLine])

	add(s, "POST /v1/rebuilds", "rebuild", running, "Fill read models anew and compare", s.rebuild, body(maxSmall), streamed[rebuildLine])
	add(s, "POST /v1/verifications", "verify", running, "Verify the record, its log of proofs and the read models", s.verify, body(maxSmall), streamed[verifyLine])
	add(s, "GET /v1/reactions", "list-reactions", running, "What happens because of what was recorded: how far each reaction has come", s.listReactions)
	add(s, "GET /v1/reactions/set-aside", "list-set-aside", running, "Records that a reaction could not react to and that wait for a person", s.setAside)
	add(s, "POST /v1/reactions/set-aside/{id}/retry", "retry-set-aside", running, "Let a reaction try a record again", s.retry, body(maxSmall))
	add(s, "POST /v1/reactions/set-aside/{id}/drop", "drop-set-aside", running, "Say why a record needs no reaction", s.drop, body(maxSmall))
	add(s, "POST /v1/tokens", "issue-token", running, "Make a token; it is shown this once", s.issue, created, body(maxSmall))
	add(s, "GET /v1/tokens", "list-tokens", running, "All tokens, without their secrets", s.tokens)
	add(s, "DELETE /v1/tokens/{id}", "revoke-token", running, "Revoke a token for good", s.revoke)

	s.logRoutes(mux)
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", s.metrics.handler())
	mux.HandleFunc("GET /openapi.json", s.serveOpenAPI)
	mux.HandleFunc("GET /docs", s.serveDocs)
}

// add registers a route: its handler's errors go through the table of errors.
func add[I, O any](s *server, route, id, tag, summary string, handle func(context.Context, *I) (*O, error), more ...func(*server, *huma.Operation)) {
	method, path, _ := strings.Cut(route, " ")
	op := huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{tag},
		Responses: map[string]*huma.Response{},
	}
	for _, m := range more {
		m(s, &op)
	}
	op.Responses["default"] = s.problems()
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err != nil {
			return nil, answer(ctx, s.Logger, err)
		}
		return out, nil
	})
}

func (s *server) schema(v any) *huma.Schema {
	return s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeOf(v), true, "")
}

// problems documents every answer that is not a success.
func (s *server) problems() *huma.Response {
	return &huma.Response{
		Description: "A problem: " + strings.Join(slices.Sorted(maps.Keys(titles)), ", "),
		Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: s.schema(Problem{})}},
	}
}

// created makes 201 the status of success.
func created(_ *server, op *huma.Operation) { op.DefaultStatus = http.StatusCreated }

// body limits the body, in bytes and in the time that it may take.
func body(most int64) func(*server, *huma.Operation) {
	return func(_ *server, op *huma.Operation) {
		op.MaxBodyBytes = most
		op.BodyReadTimeout = 30 * time.Second
	}
}

// documented documents the body of a request that the handler decodes itself.
func documented[T any](s *server, op *huma.Operation) {
	var v T
	op.SkipValidateBody = true
	op.RequestBody = &huma.RequestBody{
		Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: s.schema(v)}},
	}
}

// answers documents an answer that the handler writes itself.
func answers[T any](s *server, op *huma.Operation) {
	var v T
	op.Responses[strconv.Itoa(http.StatusOK)] = &huma.Response{
		Description: "The answer, in JSON or as CSV",
		Headers:     positionDocumented(),
		Content: map[string]*huma.MediaType{
			"application/json": {Schema: s.schema(v)},
			"text/csv":         {Schema: &huma.Schema{Type: huma.TypeString}},
		},
	}
}

// listOf documents a list of items.
func listOf[R any](s *server, op *huma.Operation) {
	answers[page[R]](s, op)
	op.Responses["200"].Headers["Link"] = &huma.Param{
		Description: "The next page: rel=next", Schema: &huma.Schema{Type: huma.TypeString},
	}
}

func positionDocumented() map[string]*huma.Param {
	return map[string]*huma.Param{positionHeader: {
		Description: "The answer holds everything up to this position", Schema: &huma.Schema{Type: huma.TypeString},
	}}
}

// drawing documents a picture.
func drawing(_ *server, op *huma.Operation) {
	op.Responses["200"] = &huma.Response{
		Description: "The chart",
		Content:     map[string]*huma.MediaType{"image/svg+xml": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}
}

// verbatim documents stored bytes.
func verbatim(_ *server, op *huma.Operation) {
	op.Responses["200"] = &huma.Response{
		Description: "A CloudEvents 1.0 event in structured JSON form; Repr-Digest is its SHA-256",
		Content:     map[string]*huma.MediaType{"application/cloudevents+json": {Schema: &huma.Schema{Type: huma.TypeObject}}},
	}
}

// proven documents a proof.
func proven(_ *server, op *huma.Operation) {
	op.Responses["200"] = &huma.Response{
		Description: "The proof; its extra data is the text of the leaf",
		Content:     map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}
}

// patched documents a difference.
func patched(s *server, op *huma.Operation) {
	op.Responses["200"] = &huma.Response{
		Description: "The difference; as a JSON Patch (RFC 6902) it turns the state at the first moment into that at the second",
		Headers:     positionDocumented(),
		Content: map[string]*huma.MediaType{
			"application/json":            {Schema: s.schema(differenceBody{})},
			"application/json-patch+json": {Schema: &huma.Schema{Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeObject}}},
		},
	}
}

// streamed documents a stream of lines.
func streamed[L any](s *server, op *huma.Operation) {
	var line L
	op.Responses["200"] = &huma.Response{
		Description: "One JSON object a line: progress, and last a report or a problem",
		Content:     map[string]*huma.MediaType{"application/x-ndjson": {Schema: s.schema(line)}},
	}
}
