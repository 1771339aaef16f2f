package api

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// description stands at the head of the OpenAPI document.
const description = `Records acts of administrative enforcement and answers questions about them.

Send a token with each request to /v1: ` + "`Authorization: Bearer lh_…`" + `. ` + "`Accept-Language`" + ` chooses zh (default) or en for texts.
An administrator who reads personal data states why in ` + "`Liuhen-Purpose`" + `; whoever reads a case is kept in the access trail.

A receipt means that the event is on disk. Send ` + "`Idempotency-Key`" + ` with an act, and the same request may be sent again without doubling it.
` + "`min_position`" + ` with a receipt's position reads what was written. Unknown parameters and fields are errors. Money is in fen, days are yyyy-mm-dd in Shanghai, times RFC 3339.

Each answer that is not a success is ` + "`application/problem+json`" + ` with a code: refused (the law does not allow the act: rule, article, cure, findings), malformed, unknown-parameter, changed (with what came between), case-exists, idempotency-key-reused, unauthenticated, forbidden, not-found (also what you may not see), too-large; and with Retry-After: busy, no-writer, full, stopped, outcome-unknown (send it again with the same key), behind, unavailable, timeout.`

//go:embed docs.css
var docsStyle string

//go:embed docs.html
var docsText string

// docsPolicy lets the page load nothing, from us or anybody, but its own
// style, which is known by its digest.
var docsPolicy = func() string {
	sum := sha256.Sum256([]byte(docsStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()

// document makes the OpenAPI document and the page of it, once.
func (s *server) document() {
	var err error
	if s.openapi, err = json.Marshal(s.api.OpenAPI()); err != nil {
		panic("api: OpenAPI document: " + err.Error())
	}
	page := template.Must(template.New("docs").Parse(docsText))
	var out bytes.Buffer
	if err := page.Execute(&out, s.docsPage()); err != nil {
		panic("api: page of the OpenAPI document: " + err.Error())
	}
	s.docs = out.Bytes()
}

func (s *server) serveOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/openapi+json")
	_, _ = w.Write(s.openapi)
}

func (s *server) serveDocs(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", docsPolicy)
	h.Set("Referrer-Policy", "no-referrer")
	_, _ = w.Write(s.docs)
}

// docsPage is what the page shows.
type docsPage struct {
	Title, Version string
	About          []string // paragraphs
	Style          template.CSS
	Groups         []docsGroup
	Schemas        []docsSchema
}

type docsGroup struct {
	Name       string
	Operations []docsOperation
}

type docsOperation struct {
	ID, Method, Path, Summary string
	Parameters                []docsRow
	Body                      *docsBody
	Answers                   []docsBody
}

type docsBody struct {
	Status, About, Types string
	Schema               string // name of a schema, or ""
	Rows                 []docsRow
}

type docsRow struct {
	Name, In, Type, Link, About string
	Needed                      bool
}

type docsSchema struct {
	Name string
	Rows []docsRow
}

var tagNames = []struct{ tag, title string }{
	{"acts", "记录 · Recording"},
	{"cases", "案件 · Cases"},
	{"lists", "台账与清单 · Lists"},
	{"law", "程序与规则 · The law"},
	{"running", "运行 · Running the system"},
}

func (s *server) docsPage() docsPage {
	api := s.api.OpenAPI()
	page := docsPage{
		Title: api.Info.Title, Version: api.Info.Version, Style: template.CSS(docsStyle),
		About: strings.Split(strings.ReplaceAll(description, "`", ""), "\n\n"),
	}
	for _, t := range tagNames {
		g := docsGroup{Name: t.title}
		for _, path := range slices.Sorted(maps.Keys(api.Paths)) {
			item := api.Paths[path]
			for _, op := range []*huma.Operation{item.Get, item.Post, item.Delete} {
				if op != nil && slices.Contains(op.Tags, t.tag) {
					g.Operations = append(g.Operations, docsOperationOf(op))
				}
			}
		}
		page.Groups = append(page.Groups, g)
	}
	schemas := api.Components.Schemas.Map()
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		page.Schemas = append(page.Schemas, docsSchema{Name: name, Rows: rowsOf(schemas[name])})
	}
	return page
}

func docsOperationOf(op *huma.Operation) docsOperation {
	out := docsOperation{ID: op.OperationID, Method: op.Method, Path: op.Path, Summary: op.Summary}
	for _, p := range op.Parameters {
		typ, link := typeOf(p.Schema)
		out.Parameters = append(out.Parameters, docsRow{Name: p.Name, In: p.In, Type: typ, Link: link, Needed: p.Required, About: p.Description})
	}
	if op.RequestBody != nil {
		b := docsBodyOf("", "", op.RequestBody.Content)
		out.Body = &b
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		r := op.Responses[status]
		out.Answers = append(out.Answers, docsBodyOf(status, r.Description, r.Content))
	}
	return out
}

func docsBodyOf(status, about string, content map[string]*huma.MediaType) docsBody {
	b := docsBody{Status: status, About: about, Types: strings.Join(slices.Sorted(maps.Keys(content)), ", ")}
	for _, typ := range slices.Sorted(maps.Keys(content)) {
		schema := content[typ].Schema
		if schema == nil {
			continue
		}
		if schema.Ref != "" {
			b.Schema = refName(schema.Ref)
		} else if schema.Type == huma.TypeObject {
			b.Rows = rowsOf(schema)
		}
		break
	}
	return b
}

func refName(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }

func rowsOf(s *huma.Schema) []docsRow {
	var rows []docsRow
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		typ, link := typeOf(p)
		rows = append(rows, docsRow{Name: name, Type: typ, Link: link, Needed: slices.Contains(s.Required, name), About: p.Description})
	}
	return rows
}

// typeOf says in words what a value is, and which schema it leads to.
func typeOf(s *huma.Schema) (typ, link string) {
	switch {
	case s == nil:
		return "", ""
	case s.Ref != "":
		return refName(s.Ref), refName(s.Ref)
	case s.Type == huma.TypeArray:
		typ, link = typeOf(s.Items)
		return typ + "[]", link
	case len(s.OneOf) > 0:
		parts := make([]string, len(s.OneOf))
		for i, one := range s.OneOf {
			parts[i], _ = typeOf(one)
		}
		return strings.Join(parts, " | "), ""
	case s.Type == huma.TypeObject && s.AdditionalProperties != nil:
		if values, ok := s.AdditionalProperties.(*huma.Schema); ok {
			typ, link = typeOf(values)
			return "{…: " + typ + "}", link
		}
	case s.Type == "":
		return "any", ""
	}
	typ = s.Type
	if s.Format != "" {
		typ += " " + s.Format
	}
	if len(s.Enum) > 0 {
		parts := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			parts[i] = fmt.Sprint(v)
		}
		typ = strings.Join(parts, " | ")
	}
	if s.Maximum != nil {
		typ += " ≤ " + strconv.FormatFloat(*s.Maximum, 'f', -1, 64)
	}
	return typ, ""
}
