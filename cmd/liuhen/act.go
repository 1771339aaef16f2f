package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// actFlags is what "liuhen act" was told.
type actFlags struct {
	procedure, agency string
	at, place         string
	officers          []string
	fields            []string
	documents         []string
	evidence          []string
	body              string
	lateReason        string
	alreadyDone       bool
	corrects, reason  string
	revision          int
	command           string
}

func actCommand(p *program) *cobra.Command {
	var f actFlags
	c := &cobra.Command{
		Use:   "act [CASE] ACT",
		Short: "记录一个执法行为，或以此立一个新案件 · Record an act in a case, or open a case with it",
		Long: `记录一个执法行为；加 --procedure 则以该行为开立新案件（案号可由系统给）。
Record an act in a case. With --procedure the act opens a new case; the case id
may then be left to the system. The receipt is printed after the record is on
disk. A refused act exits with 1 and says rule, article and what would cure it.

Fields are given as NAME=VALUE and read by their type: money as 2000000 (fen) or
20000元, a list or record as JSON. NAME:=JSON is passed on as it is. "liuhen law
show PROCEDURE" lists acts and fields. Documents and evidence stay where they
are: their SHA-256, size and title are recorded. KIND=FILE says which of the
act's documents a file is.`,
		Example: `  liuhen act --procedure penalty-ordinary --agency 210100-kj 2026-017 receive-clue \
      --at "2026-11-20 09:30" --officer zhang-san --field source=投诉举报 --field summary=…
  liuhen act 2026-017 file-case --document 立案审批表=filing.pdf
  liuhen act 2026-017 collect-evidence --already-done --reason "系统停用期间作出" --at "2026-11-01 10:00"
  liuhen act 2026-017 file-case --body - < act.json`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error { return p.act(c.Context(), f, args) },
	}
	fs := c.Flags()
	fs.StringVar(&f.procedure, "procedure", "", "open a new case under this procedure")
	fs.StringVar(&f.agency, "agency", "", "agency of the new case")
	fs.StringVar(&f.at, "at", "", `when the act was carried out: "2026-11-23 11:52" in Shanghai, or RFC 3339 (default: now)`)
	fs.StringVar(&f.place, "place", "", "where it was carried out")
	fs.StringArrayVar(&f.officers, "officer", nil, "id of an officer who carried it out, or a JSON object with certificate (repeat it)")
	fs.StringArrayVar(&f.fields, "field", nil, "field of the act, NAME=VALUE or NAME:=JSON (repeat it)")
	fs.StringArrayVar(&f.documents, "document", nil, "document of the act, FILE or KIND=FILE (repeat it)")
	fs.StringArrayVar(&f.evidence, "evidence", nil, "piece of evidence, FILE or KIND=FILE (repeat it)")
	fs.StringVar(&f.body, "body", "", "file with the whole body in JSON, as the HTTP API takes it; - is the standard input")
	fs.StringVar(&f.lateReason, "late-reason", "", "why it is recorded late")
	fs.BoolVar(&f.alreadyDone, "already-done", false, "it was carried out outside the system: record it with its findings, whatever they are")
	fs.StringVar(&f.corrects, "corrects", "", "id of the event that this one puts right")
	fs.StringVar(&f.reason, "reason", "", "why it is corrected, or why it was carried out outside the system")
	fs.IntVar(&f.revision, "revision", 0, "record only if the case is at this revision")
	fs.StringVar(&f.command, "command-id", "", "id of the command; the same id gets the same receipt (default: a new one)")
	p.flags(fs, clientKeys...)
	return c
}

// actBody is what the API takes: POST /v1/cases and /v1/cases/{case}/acts.
type actBody struct {
	Procedure   string                     `json:"procedure,omitempty"`
	Case        string                     `json:"case,omitempty"`
	Agency      string                     `json:"agency,omitempty"`
	Act         string                     `json:"act"`
	OccurredAt  string                     `json:"occurred_at"`
	Place       string                     `json:"place,omitempty"`
	Officers    []json.RawMessage          `json:"officers,omitempty"`
	Fields      map[string]json.RawMessage `json:"fields,omitempty"`
	Documents   []rulebook.Reference       `json:"documents,omitempty"`
	Evidence    []rulebook.Reference       `json:"evidence,omitempty"`
	LateReason  string                     `json:"late_reason,omitempty"`
	AlreadyDone bool                       `json:"already_done,omitempty"`
	Corrects    string                     `json:"corrects,omitempty"`
	Reason      string                     `json:"reason,omitempty"`
}

func (p *program) act(ctx context.Context, f actFlags, args []string) error {
	act, caseID := args[len(args)-1], ""
	if len(args) == 2 {
		caseID = args[0]
	}
	if caseID == "" && f.procedure == "" {
		return usagef("name the case: liuhen act CASE %s, or open one with --procedure", act)
	}
	c, err := p.client("act", false)
	if err != nil {
		return err
	}
	body, err := p.actBody(ctx, c, f, caseID, act)
	if err != nil {
		return err
	}

	path := "/v1/cases"
	if f.procedure == "" {
		path = at("v1", "cases", caseID, "acts")
	}
	if f.command == "" {
		f.command = uuid.Must(uuid.NewV7()).String()
	}
	header := http.Header{"Idempotency-Key": {f.command}}
	if f.revision > 0 {
		header.Set("If-Match", strconv.Quote(strconv.Itoa(f.revision)))
	}
	var raw json.RawMessage
	err = retrying(ctx, func() error { return c.call(ctx, http.MethodPost, path, nil, header, body, &raw) })
	if err != nil {
		return err
	}
	if p.json {
		return p.printJSON(p.out, raw)
	}
	var receipt domain.Receipt
	if err := json.Unmarshal(raw, &receipt); err != nil {
		return fmt.Errorf("receipt: %w", err)
	}
	p.printReceipt(receipt)
	return nil
}

func (p *program) actBody(ctx context.Context, c *client, f actFlags, caseID, act string) (any, error) {
	if f.body != "" {
		text, err := p.readAll(f.body)
		if err != nil {
			return nil, err
		}
		return withPlace(text, f, caseID, act)
	}
	occurred, err := moment(f.at)
	if err != nil {
		return nil, err
	}
	b := actBody{
		Act: act, OccurredAt: occurred.Format(time.RFC3339), Place: f.place,
		LateReason: f.lateReason, AlreadyDone: f.alreadyDone, Corrects: f.corrects, Reason: f.reason,
	}
	if f.procedure != "" {
		b.Procedure, b.Agency, b.Case = f.procedure, f.agency, caseID
	}
	for _, o := range f.officers {
		if strings.HasPrefix(strings.TrimSpace(o), "{") {
			b.Officers = append(b.Officers, json.RawMessage(o))
			continue
		}
		b.Officers = append(b.Officers, quoted(o))
	}
	if b.Documents, err = references(f.documents); err != nil {
		return nil, err
	}
	if b.Evidence, err = references(f.evidence); err != nil {
		return nil, err
	}
	if len(f.fields) > 0 {
		if b.Fields, err = fieldsOf(ctx, c, f, caseID, act); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// withPlace adds to a body from a file what the command line says: the act,
// and for a new case its procedure, agency and id.
func withPlace(text []byte, f actFlags, caseID, act string) (any, error) {
	var body map[string]json.RawMessage
	if err := json.Unmarshal(text, &body); err != nil {
		return nil, usagef("--body: %v", err)
	}
	if body == nil {
		return nil, usagef("--body: want a JSON object")
	}
	set := func(key, value string) {
		if value != "" {
			body[key] = quoted(value)
		}
	}
	set("act", act)
	if f.procedure != "" {
		set("procedure", f.procedure)
		set("agency", f.agency)
		set("case", caseID)
	}
	if _, ok := body["occurred_at"]; !ok || f.at != "" {
		occurred, err := moment(f.at)
		if err != nil {
			return nil, err
		}
		set("occurred_at", occurred.Format(time.RFC3339))
	}
	return body, nil
}

// fieldsOf reads fields by the types that the act gives them.
func fieldsOf(ctx context.Context, c *client, f actFlags, caseID, act string) (map[string]json.RawMessage, error) {
	types, err := fieldTypes(ctx, c, f.procedure, f.agency, caseID, act)
	if err != nil {
		return nil, err
	}
	fields := map[string]json.RawMessage{}
	for _, text := range f.fields {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, usagef("--field %s: want NAME=VALUE or NAME:=JSON", text)
		}
		raw := name != strings.TrimSuffix(name, ":")
		name = strings.TrimSuffix(name, ":")
		if _, twice := fields[name]; twice {
			return nil, usagef("--field %s is given twice; give a list as JSON", name)
		}
		if fields[name], err = fieldValue(types[name], value, raw); err != nil {
			return nil, usagef("--field %s: %v", name, err)
		}
	}
	return fields, nil
}

// fieldTypes asks for the fields of an act. An act that the procedure does not
// list has none: its values are passed on as text.
func fieldTypes(ctx context.Context, c *client, procedure, agency, caseID, act string) (map[string]rulebook.Field, error) {
	query := url.Values{}
	if procedure == "" {
		var file struct {
			Procedure string `json:"procedure"`
			Edition   string `json:"edition"`
			Agency    string `json:"agency"`
		}
		if err := c.get(ctx, at("v1", "cases", caseID), nil, &file); err != nil {
			return nil, err
		}
		procedure, agency = file.Procedure, file.Agency
		query.Set("edition", file.Edition)
	}
	if agency != "" {
		query.Set("agency", agency) // whose own law files may have acts of their own
	}
	var law rulebook.Procedure
	if err := c.get(ctx, at("v1", "procedures", procedure), query, &law); err != nil {
		return nil, err
	}
	types := map[string]rulebook.Field{}
	for _, a := range law.Acts {
		if a.Name != act {
			continue
		}
		for _, field := range a.Fields {
			types[field.Name] = field
		}
	}
	return types, nil
}

// fieldValue turns what was typed into JSON of the field's type. What does
// not fit goes as text: the system then says what it expected.
func fieldValue(field rulebook.Field, value string, raw bool) (json.RawMessage, error) {
	if raw || field.Many || len(field.Record) > 0 {
		if json.Valid([]byte(value)) {
			return json.RawMessage(value), nil
		}
		if raw || !field.Many || len(field.Record) > 0 {
			return nil, errors.New("want JSON")
		}
		// A list of plain values may be given as one value.
		one, err := fieldValue(rulebook.Field{Type: field.Type}, value, false)
		if err != nil {
			return nil, err
		}
		return json.RawMessage("[" + string(one) + "]"), nil
	}
	switch field.Type {
	case "money":
		return moneyValue(value)
	case "integer", "number", "boolean":
		if json.Valid([]byte(value)) {
			return json.RawMessage(value), nil
		}
	case "time":
		if t, err := moment(value); err == nil {
			return quoted(t.Format(time.RFC3339)), nil
		}
	}
	return quoted(value), nil
}

// moneyValue reads fen, or yuan where that is said: 2000000, 20000元, 20000.50元.
func moneyValue(value string) (json.RawMessage, error) {
	yuan, ok := strings.CutSuffix(strings.TrimSpace(value), "元")
	if !ok {
		if json.Valid([]byte(value)) {
			return json.RawMessage(value), nil
		}
		return nil, errors.New("want fen (2000000) or yuan (20000元)")
	}
	whole, cents, _ := strings.Cut(strings.TrimSpace(yuan), ".")
	if len(cents) > 2 {
		return nil, errors.New("want at most two digits after the point")
	}
	fen, err := strconv.ParseInt(whole+(cents + "00")[:2], 10, 64)
	if err != nil {
		return nil, errors.New("want yuan such as 20000元 or 20000.50元")
	}
	return json.RawMessage(strconv.FormatInt(fen, 10)), nil
}

// references makes references to files; nothing of them is sent but digest,
// size and title.
func references(files []string) ([]rulebook.Reference, error) {
	var refs []rulebook.Reference
	for _, text := range files {
		kind, path, ok := strings.Cut(text, "=")
		if !ok {
			kind, path = "", text
		}
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		sum := sha256.New()
		size, err := io.Copy(sum, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		refs = append(refs, rulebook.Reference{
			Kind:      kind,
			Title:     filepath.Base(path),
			Digest:    "sha256:" + hex.EncodeToString(sum.Sum(nil)),
			Size:      size,
			MediaType: mime.TypeByExtension(filepath.Ext(path)),
		})
	}
	return refs, nil
}

// moment reads a time as an officer writes it; an empty one is now.
func moment(text string) (time.Time, error) {
	if text == "" {
		return time.Now().In(calendar.Shanghai), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, calendar.Shanghai); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef(`time %q: want "2006-01-02 15:04" (Shanghai) or RFC 3339`, text)
}

func quoted(s string) json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic("act: " + err.Error()) // a string always encodes
	}
	return bytes.TrimSpace(b.Bytes())
}

// readAll reads a file, or the standard input for "-".
func (p *program) readAll(path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(p.in)
	}
	return os.ReadFile(path)
}

func (p *program) printReceipt(r domain.Receipt) {
	if r.Duplicate {
		p.say("此命令此前已执行，回执如下。", "This command had been carried out before; its receipt:")
	}
	t := [][2]string{
		{p.pick("案件", "case"), string(r.Case)},
		{p.pick("行为", "act"), r.Act},
		{p.pick("事件", "event"), r.Event},
		{p.pick("位置", "position"), fmt.Sprint(r.Position)},
		{p.pick("案内序号", "revision"), fmt.Sprint(r.Revision)},
		{p.pick("摘要", "digest"), r.Digest.String()},
		{p.pick("发生时间", "occurred"), p.moment(r.OccurredAt)},
		{p.pick("记录时间", "recorded"), p.moment(r.RecordedAt)},
	}
	p.printPairs(t)
	p.printFindings(r.Findings)
}

// printPairs prints names and values in two columns.
func (p *program) printPairs(pairs [][2]string) {
	widest := 0
	for _, pair := range pairs {
		widest = max(widest, width(pair[0]))
	}
	for _, pair := range pairs {
		if pair[1] != "" {
			fmt.Fprintf(p.out, "%s%s  %s\n", pair[0], strings.Repeat(" ", widest-width(pair[0])), printable(pair[1]))
		}
	}
}

// printFindings lists what rules said of an act.
func (p *program) printFindings(findings []rulebook.Finding) {
	if len(findings) == 0 {
		return
	}
	p.say("偏差 %d 项：", "Findings: %d", len(findings))
	for _, f := range findings {
		fmt.Fprintf(p.out, "  %s [%s] %s\n", f.Rule, p.severity(string(f.Severity)), printable(f.Says.In(p.config.Lang)))
		for _, line := range []struct{ zh, en, text string }{
			{"依据", "article", f.Basis},
			{"情况", "detail", f.Detail.In(p.config.Lang)},
			{"补正", "cure", f.Cure.In(p.config.Lang)},
		} {
			if line.text != "" {
				fmt.Fprintf(p.out, "    %s%s\n", p.pick(line.zh+"：", line.en+": "), printable(line.text))
			}
		}
	}
}
