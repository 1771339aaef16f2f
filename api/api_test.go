package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"liuhen/domain"
	"liuhen/domain/rulebook"
	"liuhen/eventstore"
	"liuhen/eventstore/eventstoretest"
	"liuhen/projections"
)

func TestAnActBecomesARecordAndARow(t *testing.T) {
	o := open(t)
	var first domain.Receipt
	a := o.post(o.li, "/v1/cases", filing("沈科罚〔2026〕1号")).is(http.StatusCreated).into(&first)
	if first.Case != "沈科罚〔2026〕1号" || first.Revision != 1 || first.Position != 1 || first.Digest == (domain.Digest{}) || first.Duplicate {
		t.Errorf("receipt = %+v", first)
	}
	if a.header.Get("ETag") != `"1"` || a.header.Get(positionHeader) != "1" || a.header.Get("Location") != "/v1/cases/"+url.PathEscape("沈科罚〔2026〕1号") {
		t.Errorf("headers = %v", a.header)
	}
	path := a.header.Get("Location")

	var second domain.Receipt
	o.post(o.li, path+"/acts", act("inspect", "officers", []any{"li", map[string]any{"id": "zhao", "name": "赵敏"}}, "place", "浑南区",
		"fields", map[string]any{"remark": "两瓶", "amount": 12300}), "If-Match", `"1"`).is(http.StatusCreated).into(&second)
	if second.Revision != 2 {
		t.Errorf("second receipt = %+v", second)
	}

	var file caseFile
	c := o.get(o.zhao, path+"?min_position=2").is(http.StatusOK).into(&file)
	if file.Stage != "filed" || file.Revision != 2 || file.Head != second.Digest || len(file.Parties) != 1 || len(file.Officers) != 2 || file.Position < 2 {
		t.Errorf("case = %s", c.body)
	}
	if c.header.Get("ETag") != `"2"` {
		t.Errorf("ETag = %q, want \"2\"", c.header.Get("ETag"))
	}
	if len(file.Deadlines) != 1 || file.Deadlines[0].Light != projections.Green || file.Deadlines[0].Why == "" {
		t.Errorf("deadlines = %+v", file.Deadlines)
	}

	var line page[timelineEntry]
	o.get(o.li, path+"/timeline?min_position=2").is(http.StatusOK).into(&line)
	if len(line.Items) != 2 || line.Items[1].Act != "inspect" || line.Items[1].Place != "浑南区" || line.Items[1].Digest != second.Digest || line.Items[0].Actor != "li" {
		t.Errorf("timeline = %+v", line)
	}
	if line.Items[1].GapSeconds != 3600 || line.Items[1].ActName.ZH != "检查" {
		t.Errorf("entry = %+v", line.Items[1])
	}

	record := o.get(o.li, path+"/records/"+second.Event+"?min_position=2").is(http.StatusOK)
	if domain.DigestOf(record.body) != second.Digest || record.header.Get("Repr-Digest") != reprDigest(second.Digest) {
		t.Errorf("the stored bytes have digest %s (%s), the receipt %s", domain.DigestOf(record.body), record.header.Get("Repr-Digest"), second.Digest)
	}

	var ledger page[ledgerEntry]
	o.get(o.li, "/v1/ledger?min_position=2&total=true&party="+url.QueryEscape("科技")).is(http.StatusOK).into(&ledger)
	if len(ledger.Items) != 1 || ledger.Total == nil || *ledger.Total != 1 || ledger.Items[0].Parties[0] != "沈阳某某科技有限公司" || ledger.Items[0].StageName.EN != "Filed" {
		t.Errorf("ledger = %+v", ledger)
	}
	var board page[deadlineEntry]
	o.get(o.li, "/v1/deadlines?min_position=2&light=green").is(http.StatusOK).into(&board)
	if len(board.Items) != 1 || board.Items[0].Rule != "V-1" || board.Items[0].ActName.ZH != "决定" || board.Items[0].SecondsLeft <= 0 {
		t.Errorf("deadlines = %+v", board)
	}
	var stats statsBody
	o.get(o.administrator, "/v1/stats?min_position=2").is(http.StatusOK).into(&stats)
	if stats.Records != 2 || stats.Cases != 1 || len(stats.Acts) != 2 || stats.Position != 2 {
		t.Errorf("stats = %+v", stats)
	}
}

func TestNext(t *testing.T) {
	o := open(t)
	o.filed("C-1")
	var out struct {
		Roles []string
		Acts  []nextAct
	}
	o.get(o.li, "/v1/cases/C-1/next").is(http.StatusOK).into(&out)
	if !slices.Contains(out.Roles, "handler") {
		t.Errorf("roles = %v", out.Roles)
	}
	by := map[string]nextAct{}
	for _, a := range out.Acts {
		by[a.Act] = a
	}
	if !by["inspect"].Yours || !by["inspect"].Allowed {
		t.Errorf("inspect = %+v, want it to be the handler's", by["inspect"])
	}
	if d := by["decide"]; d.Yours || d.Allowed || len(d.Why) == 0 || d.Why[0].Cure.EN != "Give notice first" {
		t.Errorf("decide = %+v, want it refused for lack of notice", d)
	}
	o.get(o.supervisor, "/v1/cases/C-1/next").is(http.StatusOK).into(&out)
	if len(out.Roles) != 0 || slices.ContainsFunc(out.Acts, func(a nextAct) bool { return a.Yours }) {
		t.Errorf("a supervisor may record: %v %+v", out.Roles, out.Acts)
	}
}

func TestRefusal(t *testing.T) {
	o := open(t)
	o.filed("C-1")
	p := o.post(o.head, "/v1/cases/C-1/acts", act("decide")).problem(422, "refused")
	if p.Rule != "V-2" || p.Article != "行政处罚法 第四十四条" || p.Cure != "先行告知" || len(p.Findings) == 0 || !strings.Contains(p.Detail, "告知先于决定") || p.Title != "依法不能作出该行为" {
		t.Errorf("problem = %+v", p)
	}
	p = o.post(o.head, "/v1/cases/C-1/acts", act("decide"), "Accept-Language", "en-GB,en;q=0.9").problem(422, "refused")
	if p.Cure != "Give notice first" || !strings.Contains(p.Detail, "Notice comes before") || p.Title != "The act is refused" {
		t.Errorf("problem in English = %+v", p)
	}
	// A role that may not record the act.
	if p := o.post(o.li, "/v1/cases/C-1/acts", act("decide")).problem(422, "refused"); !slices.ContainsFunc(p.Findings, func(f rulebook.Finding) bool { return f.Rule == rulebook.RuleBy }) {
		t.Errorf("an officer decides: %+v", p)
	}
	// Carried out all the same: recorded, with the finding.
	r := o.recorded(o.head, "C-1", act("decide", "already_done", true, "reason", "系统停用期间作出"))
	if !slices.ContainsFunc(r.Findings, func(f rulebook.Finding) bool { return f.Rule == "V-2" }) {
		t.Errorf("findings = %+v, want V-2", r.Findings)
	}
	var found page[findingEntry]
	o.get(o.li, "/v1/findings?rule=V-2").is(200).into(&found)
	if len(found.Items) != 1 || found.Items[0].Case != "C-1" || found.Items[0].Says.EN == "" || found.Items[0].ActName.ZH != "决定" {
		t.Errorf("findings = %+v", found)
	}
	var counts struct{ Items []ruleCount }
	o.get(o.administrator, "/v1/findings/counts").is(200).into(&counts)
	if !slices.ContainsFunc(counts.Items, func(c ruleCount) bool { return c.Rule == "V-2" && c.Findings == 1 && c.Says.EN != "" }) {
		t.Errorf("counts = %+v", counts)
	}
	for _, c := range counts.Items {
		if c.Says.ZH == "" {
			t.Errorf("rule %s is counted without what it says", c.Rule)
		}
	}
}

func TestALateRecordNeedsAReason(t *testing.T) {
	o := open(t)
	o.filed("C-1", "occurred_at", now.AddDate(0, 0, -3).Format(time.RFC3339))
	body := act("inspect", "officers", []string{"li", "zhao"}, "occurred_at", now.AddDate(0, 0, -20).Format(time.RFC3339))
	p := o.post(o.li, "/v1/cases/C-1/acts", body).problem(422, "malformed")
	if len(p.Errors) != 1 || p.Errors[0].Location != "body.late_reason" || p.Rule != "V-4" {
		t.Errorf("problem = %+v", p)
	}
	body["late_reason"] = "纸质材料由乡镇转交"
	o.recorded(o.li, "C-1", body)
	var line page[timelineEntry]
	o.get(o.li, "/v1/cases/C-1/timeline?late=true").is(200).into(&line)
	if len(line.Items) != 1 || !line.Items[0].Late || line.Items[0].LateReason == "" || line.Items[0].GapSeconds < 20*24*3600 {
		t.Errorf("late entries = %+v", line.Items)
	}
}

func TestCorrection(t *testing.T) {
	o := open(t)
	o.filed("C-1")
	wrong := o.recorded(o.li, "C-1", act("inspect", "officers", []string{"li", "zhao"}, "fields", map[string]any{"amount": 1}))
	right := act("inspect", "officers", []string{"li", "zhao"}, "fields", map[string]any{"amount": 100}, "corrects", wrong.Event)
	if p := o.post(o.li, "/v1/cases/C-1/acts", right).problem(422, "malformed"); p.Errors[0].Location != "body.reason" {
		t.Errorf("a correction without a reason: %+v", p)
	}
	right["reason"] = "金额录入有误"
	made := o.recorded(o.li, "C-1", right)
	var line page[timelineEntry]
	o.get(o.li, "/v1/cases/C-1/timeline?corrected=true").is(200).into(&line)
	if len(line.Items) != 2 || line.Items[0].CorrectedBy != made.Event || line.Items[1].Corrects != wrong.Event {
		t.Errorf("corrected entries = %+v", line.Items)
	}
}

func TestIdempotency(t *testing.T) {
	o := open(t)
	var first, again, other domain.Receipt
	o.post(o.li, "/v1/cases", filing("C-1"), "Idempotency-Key", "k-1").is(201).into(&first)
	o.post(o.li, "/v1/cases", filing("C-1"), "Idempotency-Key", "k-1").is(200).into(&again)
	if again.Event != first.Event || !again.Duplicate {
		t.Errorf("again = %+v, want the receipt of %s", again, first.Event)
	}
	// Without a case id too.
	o.post(o.li, "/v1/cases", filing(""), "Idempotency-Key", "k-2").is(201).into(&first)
	o.post(o.li, "/v1/cases", filing(""), "Idempotency-Key", "k-2").is(200).into(&again)
	o.post(o.zhao, "/v1/cases", filing(""), "Idempotency-Key", "k-2").is(201).into(&other)
	if again.Case != first.Case || again.Event != first.Event || other.Case == first.Case {
		t.Errorf("case made by the system: %s, again %s, another person's %s", first.Case, again.Case, other.Case)
	}
	p := o.post(o.li, "/v1/cases/C-1/acts", act("notice"), "Idempotency-Key", "k-1").problem(422, "idempotency-key-reused")
	if p.Event == "" {
		t.Errorf("problem = %+v, want the event of the key", p)
	}
	o.post(o.li, "/v1/cases", filing("C-1"), "Idempotency-Key", "k-9").problem(409, "case-exists")
	// Another agency's officer who guesses case and key gets no receipt.
	o.post(o.stranger, "/v1/cases", filing("C-1", "agency", "210200"), "Idempotency-Key", "k-1").problem(409, "case-exists")
	if p := o.post(o.li, "/v1/cases/C-1/acts", act("notice"), "Idempotency-Key", strings.Repeat("k", 201)).problem(400, "unknown-parameter"); p.Errors[0].Location != "header.Idempotency-Key" {
		t.Errorf("problem = %+v", p)
	}
}

func TestAChangedCase(t *testing.T) {
	o := open(t)
	o.filed("C-1")
	came := o.recorded(o.zhao, "C-1", act("notice"))
	p := o.post(o.li, "/v1/cases/C-1/acts", act("notice"), "If-Match", `"1"`).problem(409, "changed")
	if p.Revision != 2 || len(p.Between) != 1 || p.Between[0].Event != came.Event || p.Between[0].Act != "notice" {
		t.Errorf("problem = %+v, want what came between", p)
	}
	for _, bad := range []string{"1", `W/"1"`, `"x"`, `"0"`, `"01"`, `"1`, `"1","2"`} {
		if p := o.post(o.li, "/v1/cases/C-1/acts", act("notice"), "If-Match", bad).problem(400, "unknown-parameter"); p.Errors[0].Location != "header.If-Match" {
			t.Errorf("If-Match %s: %+v", bad, p)
		}
	}
	o.post(o.li, "/v1/cases/C-1/acts", act("notice"), "If-Match", `*`).is(201)
}

func TestWhoAsks(t *testing.T) {
	o := open(t)
	for _, tc := range []struct{ name, header string }{
		{"nothing", ""}, {"another scheme", "Basic bGk6bGk="}, {"no token", "Bearer"}, {"not a token", "Bearer hello"}, {"unknown", "Bearer lh_" + strings.Repeat("a", 58)},
	} {
		a := o.get("", "/v1/ledger", "Authorization", tc.header)
		a.problem(401, "unauthenticated")
		if !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s: WWW-Authenticate = %q", tc.name, a.header.Get("WWW-Authenticate"))
		}
	}
	o.get("", "/v1/ledger", "Authorization", "bearer  "+o.li).is(200)

	// A token that is made, used, listed, revoked.
	var made struct{ ID, Token, Role string }
	o.post(o.administrator, "/v1/tokens", map[string]any{"person": "qian", "name": "钱某", "role": "officer", "agency": "210100"}).is(201).into(&made)
	o.get(made.Token, "/v1/ledger").is(200)
	listed := o.get(o.administrator, "/v1/tokens").is(200)
	if !bytes.Contains(listed.body, []byte(made.ID)) || bytes.Contains(listed.body, []byte(made.Token[3:])) {
		t.Errorf("tokens = %s, want the id %s and never the secret", listed.body, made.ID)
	}
	o.ask(o.administrator, "DELETE", "/v1/tokens/"+made.ID, nil).is(204)
	if p := o.get(made.Token, "/v1/ledger").problem(401, "unauthenticated"); !strings.Contains(p.Detail, "撤销") {
		t.Errorf("problem = %+v", p)
	}
	o.ask(o.administrator, "DELETE", "/v1/tokens/nothing", nil).problem(404, "not-found")

	for _, tc := range []struct {
		body     map[string]any
		location string
	}{
		{map[string]any{"person": "x", "role": "king"}, "body.role"},
		{map[string]any{"person": "x", "role": "officer"}, "body.agency"},
		{map[string]any{"person": "x", "role": "officer", "agency": "a b"}, "body.agency"},
		{map[string]any{"person": "x", "role": "inspector", "agency": "*", "expires": "2001-01-01T00:00:00Z"}, "body.expires"},
		{map[string]any{"role": "officer", "agency": "A"}, "body.person"},
	} {
		if p := o.post(o.administrator, "/v1/tokens", tc.body).problem(422, "malformed"); len(p.Errors) == 0 || p.Errors[0].Location != tc.location {
			t.Errorf("%v: %+v, want an error at %s", tc.body, p, tc.location)
		}
	}
	o.post(o.administrator, "/v1/tokens", map[string]any{"person": "admin", "role": "officer", "agency": "210100"}).problem(403, "forbidden")
}

// Separation of duties, agencies, purposes.
func TestWhoMay(t *testing.T) {
	o := open(t)
	o.filed("C-1")
	for _, tc := range []struct {
		name         string
		token        string
		method, path string
		body         any
		header       []string
		status       int
		code, policy string
	}{
		{"an administrator opens a case", o.administrator, "POST", "/v1/cases", filing("C-2", "agency", "210100"), nil, 403, "forbidden", "administrator-records-nothing"},
		{"an administrator records an act", o.administrator, "POST", "/v1/cases/C-1/acts", act("notice"), []string{purposeHeader, "repair"}, 403, "forbidden", "administrator-records-nothing"},
		{"an administrator records an act of no case", o.administrator, "POST", "/v1/cases/C-404/acts", act("notice"), nil, 403, "forbidden", "administrator-records-nothing"},
		{"an administrator reads a case", o.administrator, "GET", "/v1/cases/C-1", nil, nil, 403, "forbidden", "administrator-needs-purpose"},
		{"an administrator reads no case", o.administrator, "GET", "/v1/cases/C-404", nil, nil, 403, "forbidden", "administrator-needs-purpose"},
		{"an administrator reads the ledger", o.administrator, "GET", "/v1/ledger", nil, nil, 403, "forbidden", "administrator-needs-purpose"},
		{"an administrator reads with a purpose", o.administrator, "GET", "/v1/cases/C-1", nil, []string{purposeHeader, "恢复演练"}, 200, "", ""},
		{"an administrator reads with an encoded purpose", o.administrator, "GET", "/v1/ledger", nil, []string{purposeHeader, url.PathEscape("恢复演练")}, 200, "", ""},
		{"a supervisor records an act", o.supervisor, "POST", "/v1/cases/C-1/acts", act("notice"), nil, 403, "forbidden", "watchers-record-nothing"},
		{"a supervisor reads", o.supervisor, "GET", "/v1/cases/C-1", nil, nil, 200, "", ""},
		{"an officer opens a case of another agency", o.li, "POST", "/v1/cases", filing("C-2", "agency", "210200"), nil, 403, "forbidden", "work-on-own-agency"},
		{"an officer reads the ledger of another agency", o.li, "GET", "/v1/ledger?agency=210200", nil, nil, 403, "forbidden", "staff-read-own-agency"},
		{"an officer sees who looked", o.li, "GET", "/v1/access", nil, nil, 403, "forbidden", ""},
		{"an officer imports", o.li, "POST", "/v1/imports", map[string]any{}, nil, 403, "forbidden", ""},
		{"an officer rebuilds", o.li, "POST", "/v1/rebuilds", nil, nil, 403, "forbidden", ""},
		{"an officer lists tokens", o.li, "GET", "/v1/tokens", nil, nil, 403, "forbidden", ""},
		{"an importer reads a case", o.importer, "GET", "/v1/cases/C-1", nil, nil, 403, "forbidden", ""},
		{"anybody reads the law", o.public, "GET", "/v1/procedures/visit", nil, nil, 200, "", ""},
		{"anybody reads a case", o.public, "GET", "/v1/cases/C-1", nil, nil, 403, "forbidden", ""},
		// Not revealed: the same answer as for a case that is not there.
		{"a stranger reads a case", o.stranger, "GET", "/v1/cases/C-1", nil, nil, 404, "not-found", ""},
		{"a stranger reads a timeline", o.stranger, "GET", "/v1/cases/C-1/timeline", nil, nil, 404, "not-found", ""},
		{"a stranger reads a record", o.stranger, "GET", "/v1/cases/C-1/records/x", nil, nil, 404, "not-found", ""},
		{"a stranger records an act", o.stranger, "POST", "/v1/cases/C-1/acts", act("notice"), nil, 404, "not-found", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := o.ask(tc.token, tc.method, tc.path, tc.body, tc.header...)
			if tc.code == "" {
				a.is(tc.status)
				return
			}
			p := a.problem(tc.status, tc.code)
			if tc.status == 403 && (len(p.Reasons) == 0 || p.Reasons[0].Policy != tc.policy) {
				t.Errorf("reasons = %+v, want policy %q", p.Reasons, tc.policy)
			}
		})
	}
	var list page[ledgerEntry]
	if o.get(o.stranger, "/v1/ledger").is(200).into(&list); len(list.Items) != 0 {
		t.Errorf("a stranger's ledger has %d cases", len(list.Items))
	}
	if o.get(o.stranger, "/v1/findings?case=C-1").is(200).into(&list); len(list.Items) != 0 {
		t.Errorf("a stranger's findings of C-1: %d", len(list.Items))
	}
	if o.get(o.supervisor, "/v1/ledger").is(200).into(&list); len(list.Items) != 1 {
		t.Errorf("a supervisor's ledger has %d cases, want 1", len(list.Items))
	}
}

// A denied case and a missing one get answers that differ in nothing but the
// id of the request.
func TestADeniedCaseIsNotRevealed(t *testing.T) {
	o := open(t)
	o.filed("C-1")
	strip := func(r *reply) string {
		var p Problem
		r.into(&p)
		p.Request = ""
		header := r.header.Clone()
		header.Del(requestHeader)
		return fmt.Sprintf("%d %+v %v", r.status, p, header)
	}
	for _, path := range []string{"/v1/cases/%s", "/v1/cases/%s/next", "/v1/cases/%s/timeline", "/v1/cases/%s/timeline?format=csv", "/v1/cases/%s/records/x"} {
		denied, missing := o.get(o.stranger, fmt.Sprintf(path, "C-1")), o.get(o.stranger, fmt.Sprintf(path, "C-404"))
		if strip(denied) != strip(missing) {
			t.Errorf("%s: denied\n%s\nmissing\n%s", path, strip(denied), strip(missing))
		}
	}
	denied, missing := o.post(o.stranger, "/v1/cases/C-1/acts", act("notice")), o.post(o.stranger, "/v1/cases/C-404/acts", act("notice"))
	if strip(denied) != strip(missing) {
		t.Errorf("acts: denied\n%s\nmissing\n%s", strip(denied), strip(missing))
	}
}

func TestWhoLooked(t *testing.T) {
	o := open(t)
	o.filed("C-1")
	before := len(o.trail.looks(t))
	o.get(o.li, "/v1/cases/C-1").is(200)
	o.get(o.zhao, "/v1/cases/C-1/timeline?act=inspect").is(200)
	o.get(o.supervisor, "/v1/ledger?closed=false").is(200)
	o.get(o.administrator, "/v1/findings", purposeHeader, "核查").is(200)
	o.get(o.supervisor, "/v1/ledger?format=csv").is(200)
	o.get(o.stranger, "/v1/cases/C-1").is(404)
	o.get(o.li, "/v1/cases/C-404").is(404) // nothing was seen
	o.get(o.administrator, "/v1/stats").is(200)
	var got []string
	for _, l := range o.trail.looks(t)[before:] {
		got = append(got, strings.Join([]string{l.Person, l.What, string(l.Case), l.Agency, l.Query, l.Purpose}, "|"))
	}
	want := []string{
		"li|case|C-1|210100||", "zhao|timeline|C-1|210100|act=inspect|", "zheng|ledger||*|closed=false|",
		"admin|findings||*||核查", "zheng|ledger||*|format=csv|", "wu|denied read-case|C-1|210100||",
	}
	if !slices.Equal(got, want) {
		t.Errorf("looks:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	// What cannot be kept is not shown.
	o.trail.failWith(eventstore.ErrFull)
	a := o.get(o.li, "/v1/cases/C-1")
	a.problem(503, "unavailable")
	if a.header.Get("Retry-After") == "" || bytes.Contains(a.body, []byte("沈阳")) {
		t.Errorf("answer = %v %s", a.header, a.body)
	}
	o.get(o.li, "/v1/ledger?format=csv").problem(503, "unavailable")
	o.get(o.administrator, "/v1/stats").is(200)
	o.post(o.li, "/v1/cases/C-1/acts", act("notice")).is(201) // not in the way of the acts
}

// The whole way of a look: a second volume, its read model, the inspector's
// question.
func TestAccessTrail(t *testing.T) {
	o := open(t, func(o *office, c *Config) {
		looks := eventstoretest.Run(t, eventstore.Config{Server: o.server, Volume: "LOOKS", Subjects: []string{"look.>"}})
		c.Trail = NewTrail(func(ctx context.Context, data [][]byte) error {
			last, err := looks.Last(ctx)
			if err == nil {
				_, err = looks.Append(ctx, "look.all", last, data...)
			}
			return err
		})
		running, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- projections.RunAll(running, o.db, looks, c.Logger, projections.Access...) }()
		t.Cleanup(func() {
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	})
	o.filed("C-1")
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() { o.get(o.li, "/v1/cases/C-1/timeline").is(200) })
		wait.Go(func() { o.get(o.zhao, "/v1/ledger").is(200) })
	}
	wait.Wait()
	o.get(o.administrator, "/v1/cases/C-1", purposeHeader, "核查投诉").is(200)

	var all, ofCase page[lookEntry]
	o.get(o.inspector, "/v1/access?limit=100&min_position=41").is(200).into(&all)
	if len(all.Items) != 41 || all.Position < 41 {
		t.Errorf("%d looks up to %d, want 41", len(all.Items), all.Position)
	}
	o.get(o.inspector, "/v1/access?case=C-1&limit=100&from=2026-11-24&to=2026-11-24").is(200).into(&ofCase)
	if len(ofCase.Items) != 21 || ofCase.Items[0].Person != "admin" || ofCase.Items[0].Purpose != "核查投诉" || ofCase.Items[0].Agency != "210100" {
		t.Errorf("looks at C-1: %d, the last %+v", len(ofCase.Items), ofCase.Items[0])
	}
	var mine page[lookEntry]
	o.get(o.inspector, "/v1/access?person=wang&min_position=43").is(200).into(&mine)
	if len(mine.Items) != 2 || mine.Items[0].What != "access" { // what an inspector opens is kept too
		t.Errorf("the inspector's own looks: %+v", mine.Items)
	}
}

func TestStrictness(t *testing.T) {
	o := open(t)
	o.filed("C-1")
	for _, tc := range []struct {
		method, target string
		body           any
		status         int
		code, location string
	}{
		{"GET", "/v1/ledger?agncy=210100", nil, 400, "unknown-parameter", "query.agncy"},
		{"GET", "/v1/ledger?Agency=210100", nil, 400, "unknown-parameter", "query.Agency"},
		{"GET", "/v1/ledger?agency=", nil, 400, "unknown-parameter", "query.agency"},
		{"GET", "/v1/ledger?agency=210100&agency=210100", nil, 400, "unknown-parameter", "query.agency"},
		{"GET", "/v1/ledger?limit=0", nil, 400, "unknown-parameter", "query.limit"},
		{"GET", "/v1/ledger?limit=1001", nil, 400, "unknown-parameter", "query.limit"},
		{"GET", "/v1/ledger?limit=ten", nil, 400, "unknown-parameter", "query.limit"},
		{"GET", "/v1/ledger?closed=maybe", nil, 400, "unknown-parameter", "query.closed"},
		{"GET", "/v1/ledger?from=2026-13-01", nil, 400, "unknown-parameter", "query.from"},
		{"GET", "/v1/ledger?from=yesterday", nil, 400, "unknown-parameter", "query.from"},
		{"GET", "/v1/ledger?cursor=x", nil, 400, "unknown-parameter", "query.cursor"},
		{"GET", "/v1/ledger?min_position=-1", nil, 400, "unknown-parameter", "query.min_position"},
		{"GET", "/v1/ledger?format=xml", nil, 400, "unknown-parameter", "query.format"},
		{"GET", "/v1/ledger?format=csv&limit=3", nil, 400, "unknown-parameter", "query.format"},
		{"GET", "/v1/ledger?q=%ff", nil, 400, "unknown-parameter", "query.q"},
		{"GET", "/v1/ledger?q=%zz", nil, 400, "unknown-parameter", ""},
		{"GET", "/v1/ledger?q=a;b", nil, 400, "unknown-parameter", ""},
		{"GET", "/v1/deadlines?light=blue", nil, 400, "unknown-parameter", "query.light"},
		{"GET", "/v1/cases/C-1?fields=all", nil, 400, "unknown-parameter", "query.fields"},
		{"GET", "/v1/procedures?x=1", nil, 400, "unknown-parameter", "query.x"},
		{"GET", "/v1/nothing", nil, 404, "not-found", ""},
		{"PUT", "/v1/ledger", nil, 405, "method-not-allowed", ""},
		{"DELETE", "/v1/cases/C-1", nil, 405, "method-not-allowed", ""},
		{"POST", "/v1/cases", "{", 400, "malformed", "body"},
		{"POST", "/v1/cases", "", 400, "malformed", ""},
		{"POST", "/v1/cases", `[]`, 422, "malformed", "body"},
		{"POST", "/v1/cases", `{} {}`, 400, "malformed", "body"},
		{"POST", "/v1/cases", `{"act":"a","act":"b"}`, 400, "malformed", "body"},
		{"POST", "/v1/cases", filing("C-2", "colour", "red"), 422, "malformed", "body.colour"},
		{"POST", "/v1/cases", filing("C-2", "Place", "x"), 422, "malformed", "body.Place"},
		{"POST", "/v1/cases", filing("C-2", "occurred_at", "yesterday"), 422, "malformed", "body.occurred_at"},
		{"POST", "/v1/cases", filing("C-2", "occurred_at", "2026-11-24 10:00"), 422, "malformed", "body.occurred_at"},
		{"POST", "/v1/cases", filing("C-2", "procedure", "nothing"), 422, "malformed", "body.procedure"},
		{"POST", "/v1/cases", filing("C 2"), 422, "malformed", "body.case"},
		{"POST", "/v1/cases", filing("C-2", "officers", "li"), 422, "malformed", "body.officers"},
		{"POST", "/v1/cases", filing("C-2", "officers", []any{map[string]any{"id": "li", "rank": 3}}), 422, "malformed", "body.officers[0]"},
		{"POST", "/v1/cases", filing("C-2", "documents", []any{map[string]any{"title": "x", "digest": "md5:0"}}), 422, "malformed", "body.documents[0].digest"},
		{"POST", "/v1/cases", filing("C-2", "fields", map[string]any{"party": map[string]any{"name": "x"}, "hat": 1}), 422, "malformed", "body.fields.hat"},
		{"POST", "/v1/cases", filing("C-2", "fields", map[string]any{}), 422, "malformed", "body.fields.party"},
		{"POST", "/v1/cases", map[string]any{"procedure": "visit", "occurred_at": "2026-11-24T09:00:00+08:00"}, 422, "malformed", "body.act"},
		{"POST", "/v1/cases/C-1/acts", act("inspect", "procedure", "visit"), 422, "malformed", "body.procedure"},
		{"POST", "/v1/cases/C-1/acts", act("fly"), 422, "malformed", "body.act"},
		{"POST", "/v1/cases/C-1/acts", act("inspect", "fields", map[string]any{"amount": "much"}), 422, "malformed", "body.fields.amount"},
		{"POST", "/v1/cases/C-1/acts?dry=1", act("inspect"), 400, "unknown-parameter", "query.dry"},
	} {
		body, _ := json.Marshal(tc.body)
		t.Run(fmt.Sprintf("%s %s %.60s", tc.method, tc.target, body), func(t *testing.T) {
			for _, lang := range []string{"zh", "en"} {
				p := o.ask(o.li, tc.method, tc.target, tc.body, "Accept-Language", lang).problem(tc.status, tc.code)
				if tc.location != "" && !slices.ContainsFunc(p.Errors, func(e FieldError) bool { return e.Location == tc.location && e.Message != "" }) {
					t.Errorf("errors = %+v, want one at %s", p.Errors, tc.location)
				}
			}
		})
	}
	if a := o.ask(o.li, "PUT", "/v1/ledger", nil); a.header.Get("Allow") != "GET" {
		t.Errorf("Allow = %q, want GET", a.header.Get("Allow"))
	}
	o.post(o.li, "/v1/cases", "act=inspect", "Content-Type", "application/x-www-form-urlencoded").problem(415, "unsupported-media-type")
	o.post(o.li, "/v1/cases", `{"act":"`+strings.Repeat("x", maxAct)+`"}`).problem(413, "too-large")
}

// The table of errors.
func TestErrors(t *testing.T) {
	o := open(t)
	o.filed("C-1")
	for _, tc := range []struct {
		err    error
		status int
		code   string
		after  string
	}{
		{eventstore.ErrBusy, 503, "busy", "1"},
		{eventstore.ErrNoWriter, 503, "no-writer", "2"},
		{eventstore.ErrFull, 503, "full", "30"},
		{fmt.Errorf("%w: checkpoint 12 is larger than the stream", eventstore.ErrStopped), 503, "stopped", "60"},
		{eventstore.ErrUnknown, 503, "outcome-unknown", "1"},
		{eventstore.ErrTooLarge, 413, "too-large", ""},
		{eventstore.ErrConflict, 409, "changed", ""},
		{context.DeadlineExceeded, 503, "timeout", "2"},
		{&pgconn.PgError{Code: "57P03", Message: "the database system is starting up"}, 503, "unavailable", "2"},
		{&pgconn.PgError{Code: "42601", Message: "syntax error: secret detail"}, 500, "internal", ""},
		{errBoom, 500, "internal", ""},
	} {
		t.Run(tc.err.Error(), func(t *testing.T) {
			o.desk.failWith(fmt.Errorf("record inspect on C-1: %w", tc.err))
			defer o.desk.failWith(nil)
			a := o.post(o.li, "/v1/cases/C-1/acts", act("notice"))
			p := a.problem(tc.status, tc.code)
			if got := a.header.Get("Retry-After"); got != tc.after {
				t.Errorf("Retry-After = %q, want %q", got, tc.after)
			}
			if strings.Contains(string(a.body), "secret detail") {
				t.Errorf("the answer tells %s", a.body)
			}
			if tc.status == 500 && (!strings.Contains(o.log.String(), "secret detail") || !strings.Contains(o.log.String(), p.Request)) {
				t.Errorf("the log does not tell the whole under %s: %s", p.Request, o.log)
			}
			if tc.code == "stopped" && !strings.Contains(p.Detail, "checkpoint 12") {
				t.Errorf("detail = %q, want the reason", p.Detail)
			}
			if tc.code == "internal" && p.Detail != "内部错误；查询时请提供请求编号" {
				t.Errorf("detail = %q", p.Detail)
			}
		})
	}
}

func TestAHandlerThatPanics(t *testing.T) {
	o := open(t)
	o.desk.Desk = nil
	p := o.get(o.li, "/v1/cases/C-1").problem(500, "internal")
	if !strings.Contains(o.log.String(), "panic in a handler") || !strings.Contains(o.log.String(), p.Request) {
		t.Errorf("log = %s", o.log)
	}
}

func TestMinPositionThatDoesNotCome(t *testing.T) {
	o := open(t)
	r := o.filed("C-1")
	ahead := fmt.Sprintf("min_position=%d", r.Position+100)
	for _, path := range []string{"/v1/ledger?", "/v1/cases/C-1?", "/v1/cases/C-1/timeline?", "/v1/stats?"} {
		a := o.get(o.li, path+ahead)
		a.problem(503, "behind")
		if a.header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", path)
		}
	}
}

func TestLanguageOf(t *testing.T) {
	for header, want := range map[string]string{
		"": "zh", "en": "en", "en-US,en;q=0.5": "en", "zh-CN,zh;q=0.9,en;q=0.8": "zh", "fr": "zh", "fr,en;q=0.1": "en", "*": "zh",
		"en;q=0.1,zh;q=0.9": "zh", "not a header;;;": "zh", strings.Repeat("en,", 1000): "zh",
	} {
		if got := languageOf(header); got != want {
			t.Errorf("languageOf(%.40q) = %s, want %s", header, got, want)
		}
	}
}

func TestPages(t *testing.T) {
	o := open(t)
	for i := range 25 {
		o.filed(fmt.Sprintf("C-%02d", i))
	}
	seen := map[domain.CaseID]bool{}
	target, pages := "/v1/ledger?limit=10&procedure=visit", 0
	for target != "" {
		var p page[ledgerEntry]
		a := o.get(o.li, target).is(200).into(&p)
		for _, e := range p.Items {
			seen[e.Case] = true
		}
		pages++
		target = ""
		if link := a.header.Get("Link"); link != "" {
			target = strings.TrimSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`)
			if !strings.Contains(target, "procedure=visit") || !strings.Contains(target, "cursor="+p.Next) {
				t.Errorf("link = %s", link)
			}
		}
		if (target == "") != (p.Next == "") {
			t.Errorf("next = %q, Link = %q", p.Next, a.header.Get("Link"))
		}
	}
	if pages != 3 || len(seen) != 25 {
		t.Errorf("%d cases on %d pages, want 25 on 3", len(seen), pages)
	}
}

func TestCSV(t *testing.T) {
	o := open(t)
	evil := "=cmd|'/c calc'!A1,\"二\"\n行"
	o.filed("C-1", "fields", map[string]any{"party": map[string]any{"name": evil}})
	o.filed("C-2")
	a := o.get(o.li, "/v1/ledger?format=csv").is(200)
	if !bytes.HasPrefix(a.body, []byte("\ufeff案号,")) {
		t.Errorf("begins with %q, want a byte order mark and 案号", a.body[:20])
	}
	if a.header.Get("Content-Type") != "text/csv; charset=utf-8; header=present" || a.header.Get(positionHeader) == "" || a.trailer.Get(rowsTrailer) != "2" {
		t.Errorf("headers = %v, trailer = %v", a.header, a.trailer)
	}
	rows, err := csv.NewReader(bytes.NewReader(a.body[3:])).ReadAll()
	if err != nil || len(rows) != 3 {
		t.Fatalf("rows = %v, %v", rows, err)
	}
	if rows[1][1] != "沈阳某某科技有限公司" || rows[2][1] != "'"+evil {
		t.Errorf("parties = %q, %q", rows[1][1], rows[2][1])
	}
	for _, path := range []string{"/v1/deadlines", "/v1/findings", "/v1/cases/C-1/timeline", "/v1/stats"} {
		a := o.get(o.li, path+"?format=csv", "Accept-Language", "en").is(200)
		rows, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(a.body, []byte("\ufeff")))).ReadAll()
		if err != nil || len(rows) == 0 || strings.ContainsAny(rows[0][0], "案机序") {
			t.Errorf("%s: %v, %v", path, rows, err)
		}
	}
	a = o.get(o.inspector, "/v1/access?format=csv").is(200)
	if !bytes.HasPrefix(a.body, []byte("\ufeff时间,")) {
		t.Errorf("access = %q", a.body)
	}
}

func TestInert(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "plain": "plain", "=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@SUM(A1)": "'@SUM(A1)", "\t=1": "'\t=1", "\r": "'\r",
		"  =1": "'  =1", "＝1": "'＝1", "a=1": "a=1", "沈科罚〔2026〕1号": "沈科罚〔2026〕1号", "210100199001011234": "210100199001011234",
	} {
		if got := inert(in); got != want {
			t.Errorf("inert(%q) = %q, want %q", in, got, want)
		}
	}
}

func row(n int, more ...any) map[string]any {
	r := map[string]any{
		"row": n, "case": fmt.Sprintf("L-%d", n), "procedure": "visit", "act": "file-case", "occurred_at": "2020-03-01T10:00:00+08:00",
		"fields": map[string]any{"party": map[string]any{"name": "某厂"}}, "command_id": fmt.Sprintf("import-%d", n),
	}
	for i := 0; i < len(more); i += 2 {
		r[more[i].(string)] = more[i+1]
	}
	return r
}

type importAnswer struct {
	Results                 []importResult
	Taken, Already, Refused int
	Position                uint64
}

func TestImport(t *testing.T) {
	o := open(t)
	body := map[string]any{"source": "旧系统", "batch": "b-1", "commands": []any{
		row(1), row(2),
		row(3, "case", "L-1", "act", "decide", "officers", []string{"li"}, "fields", map[string]any{}), // unlawful: a finding
		row(4, "act", "fly"),              // no such act
		row(5, "occurred_at", "long ago"), // not a time
		row(6, "agency", "210200"),        // another's agency
		row(7, "colour", "red"),           // unknown field
		row(8, "case", "L 8"),             // not an id
	}}
	var got importAnswer
	o.post(o.importer, "/v1/imports", body).is(200).into(&got)
	var results []string
	for _, r := range got.Results {
		results = append(results, fmt.Sprintf("%d %s %s", r.Row, r.Result, r.Code))
	}
	want := []string{"1 taken ", "2 taken ", "3 taken ", "4 refused malformed", "5 refused malformed", "6 refused forbidden", "7 refused malformed", "8 refused malformed"}
	if !slices.Equal(results, want) || got.Taken != 3 || got.Refused != 5 || got.Position != 3 {
		t.Errorf("results:\n%s\nwant:\n%s", strings.Join(results, "\n"), strings.Join(want, "\n"))
	}
	if got.Results[2].Findings == 0 {
		t.Error("an unlawful act was imported without a finding")
	}
	var again importAnswer
	o.post(o.importer, "/v1/imports", body).is(200).into(&again)
	if again.Already != 3 || again.Taken != 0 || again.Results[0].Event != got.Results[0].Event {
		t.Errorf("again = %+v", again)
	}
	var line page[timelineEntry]
	o.get(o.li, "/v1/cases/L-1/timeline?min_position=3").is(200).into(&line)
	if len(line.Items) != 2 || line.Items[0].Import == nil || line.Items[0].Import.Source != "旧系统" || line.Items[0].Import.Row != 1 {
		t.Errorf("timeline = %+v", line.Items)
	}

	// An importer keeps to its agencies also where the case exists.
	o.post(o.stranger, "/v1/cases", filing("S-1")).is(201)
	o.post(o.importer, "/v1/imports", map[string]any{"source": "s", "batch": "b", "commands": []any{row(9, "case", "S-1", "act", "notice", "fields", nil)}}).is(200).into(&got)
	if got.Results[0].Code != "forbidden" {
		t.Errorf("results = %+v", got.Results)
	}

	// A trial run records nothing.
	before := o.get(o.li, "/v1/stats?min_position=4").is(200).body
	body["dry_run"], body["batch"], body["commands"] = true, "b-2", []any{row(21), row(22, "case", "L-21", "act", "notice", "fields", nil), row(23, "act", "fly")}
	o.post(o.importer, "/v1/imports", body).is(200).into(&got)
	if got.Taken != 2 || got.Refused != 1 {
		t.Errorf("trial run = %+v", got)
	}
	if after := o.get(o.li, "/v1/stats").is(200).body; !bytes.Equal(before, after) {
		t.Errorf("a trial run changed %s to %s", before, after)
	}

	// A store that turns rows away turns the request away.
	o.desk.failWith(eventstore.ErrBusy)
	body["dry_run"] = false
	o.post(o.importer, "/v1/imports", body).problem(503, "busy")
	o.desk.failWith(nil)

	o.post(o.administrator, "/v1/imports", body).problem(403, "forbidden")
	o.post(o.administrator, "/v1/imports", body, purposeHeader, "首次导入").is(200)
	for _, bad := range []struct {
		body     any
		location string
	}{
		{map[string]any{"source": "s", "batch": "b", "commands": []any{}}, "body.commands"},
		{map[string]any{"source": "s", "batch": "b", "commands": make([]int, perImport+1)}, "body.commands"},
		{map[string]any{"batch": "b", "commands": []any{row(1)}}, "body.source"},
		{map[string]any{"source": "s", "batch": "b", "comands": []any{}}, "body"},
		{"[", "body"},
	} {
		if p := o.post(o.importer, "/v1/imports", bad.body).problem(422, "malformed"); len(p.Errors) == 0 || p.Errors[0].Location != bad.location {
			t.Errorf("%v: %+v, want an error at %s", bad.body, p, bad.location)
		}
	}
}

// A row may put an earlier one of its case right, as an act may.
func TestImportCorrects(t *testing.T) {
	o := open(t)
	hand := func(r map[string]any) importResult {
		var got importAnswer
		o.post(o.importer, "/v1/imports", map[string]any{"source": "旧系统", "batch": "b-1", "commands": []any{r}}).is(200).into(&got)
		return got.Results[0]
	}
	first := hand(row(1))
	if r := hand(row(2, "case", "L-1", "corrects", first.Event)); r.Result != "refused" || len(r.Errors) != 1 || r.Errors[0].Location != "body.reason" {
		t.Errorf("without a reason: %+v", r)
	}
	if r := hand(row(3, "case", "L-1", "corrects", "e0", "reason", "录入错误")); r.Result != "refused" || r.Code != "malformed" {
		t.Errorf("of no event: %+v", r)
	}
	second := hand(row(4, "case", "L-1", "corrects", first.Event, "reason", "录入错误"))
	if second.Result != "taken" {
		t.Fatalf("correction: %+v", second)
	}
	var line page[timelineEntry]
	o.get(o.li, fmt.Sprintf("/v1/cases/L-1/timeline?min_position=%d", second.Position)).is(200).into(&line)
	if len(line.Items) != 2 || line.Items[0].CorrectedBy != second.Event || line.Items[1].Reason != "录入错误" {
		t.Errorf("timeline = %+v", line.Items)
	}
}

// Who is told that officers were taken in hands in their acts next.
func TestImportOfOfficersWaitsForTheirRegister(t *testing.T) {
	var waited []uint64
	o := open(t, func(_ *office, c *Config) {
		c.Registered = func(_ context.Context, position uint64) error { waited = append(waited, position); return nil }
	})
	var got importAnswer
	hand := func(rows ...any) {
		o.post(o.importer, "/v1/imports", map[string]any{"source": "旧系统", "batch": "b-1", "commands": rows}).is(200).into(&got)
	}
	hand(row(1))
	if len(waited) != 0 {
		t.Errorf("waited for %v, with no officers", waited)
	}
	hand(row(2), row(3, "case", "L-1", "procedure", "officer", "act", "notice", "fields", nil))
	if len(waited) != 1 || waited[0] != got.Position || got.Position == 0 {
		t.Errorf("waited for %v, want %d", waited, got.Position)
	}
}

func TestRebuild(t *testing.T) {
	o := open(t)
	o.filed("C-1")
	for _, body := range []any{nil, map[string]any{"model": "ledger"}, map[string]any{"models": []string{"stats", "findings"}}} {
		a := o.post(o.administrator, "/v1/rebuilds", body).is(200)
		if a.header.Get("Content-Type") != "application/x-ndjson" {
			t.Errorf("content type = %q", a.header.Get("Content-Type"))
		}
		var last rebuildLine
		progress := 0
		for lines := bufio.NewScanner(bytes.NewReader(a.body)); lines.Scan(); {
			last = rebuildLine{}
			if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
				t.Fatalf("line %s: %v", lines.Bytes(), err)
			}
			if last.Progress != nil {
				progress++
			}
		}
		if last.Report == nil || last.Clean == nil || !*last.Clean || progress == 0 {
			t.Errorf("rebuild %v: %s", body, a.body)
		}
	}
	// Rows that differ name persons: shown only to who says why.
	if _, err := o.pool.Exec(t.Context(), `update ledger_v1.entry set parties = '{某人}'`); err != nil {
		t.Fatal(err)
	}
	if a := o.post(o.administrator, "/v1/rebuilds", map[string]any{"model": "ledger"}).is(200); !bytes.Contains(a.body, []byte(`"clean":false`)) || bytes.Contains(a.body, []byte("某")) {
		t.Errorf("without a purpose: %s", a.body)
	}
	if _, err := o.pool.Exec(t.Context(), `update ledger_v1.entry set parties = '{某人}'`); err != nil {
		t.Fatal(err)
	}
	if a := o.post(o.administrator, "/v1/rebuilds", map[string]any{"model": "ledger"}, purposeHeader, "drill").is(200); !bytes.Contains(a.body, []byte("某人")) {
		t.Errorf("with a purpose: %s", a.body)
	}
	if looks := o.trail.looks(t); len(looks) != 1 || looks[0].What != "rebuild" {
		t.Errorf("looks = %+v, want one at the rows of the rebuild", looks)
	}
	if p := o.post(o.administrator, "/v1/rebuilds", map[string]any{"model": "nothing"}).problem(422, "malformed"); p.Errors[0].Location != "body.model" {
		t.Errorf("problem = %+v", p)
	}
	o.post(o.administrator, "/v1/rebuilds", map[string]any{"models": []string{"stats", "access"}}).problem(422, "malformed")
}

func TestProcedures(t *testing.T) {
	o := open(t)
	var list struct{ Items []procedureItem }
	o.get(o.public, "/v1/procedures").is(200).into(&list)
	if len(list.Items) != 1 || list.Items[0].Name != "visit" || !list.Items[0].Newest || list.Items[0].Acts != 5 {
		t.Errorf("procedures = %+v", list)
	}
	var p rulebook.Procedure
	o.get(o.public, "/v1/procedures/visit?edition=2021-07-15").is(200).into(&p)
	if len(p.Acts) != 5 || len(p.Rules) < 4 || p.Acts[0].Fields[0].Name != "party" {
		t.Errorf("procedure = %+v", p)
	}
	var schemas struct {
		Acts map[string]struct {
			Type       string
			Properties map[string]struct{ Title string }
		}
	}
	o.get(o.public, "/v1/procedures/visit/schemas").is(200).into(&schemas)
	first := schemas.Acts[p.Acts[0].Name]
	if len(schemas.Acts) != 5 || first.Type != "object" || first.Properties["party"].Title != p.Acts[0].Fields[0].Title.ZH {
		t.Errorf("schemas = %+v", schemas)
	}
	if flow := o.get(o.public, "/v1/procedures/visit/flow").is(200); !strings.HasPrefix(string(flow.body), "<svg") || flow.header.Get("Content-Type") != "image/svg+xml" {
		t.Errorf("flow chart = %.80s, %s", flow.body, flow.header.Get("Content-Type"))
	}
	o.get(o.public, "/v1/procedures/nothing/flow").problem(404, "not-found")
	o.get(o.public, "/v1/procedures/nothing").problem(404, "not-found")
	o.get(o.public, "/v1/procedures/visit?edition=2001-01-01").problem(404, "not-found")
}

func TestOpenAPI(t *testing.T) {
	o := open(t)
	a := o.get("", "/openapi.json").is(200)
	var doc struct {
		OpenAPI    string
		Paths      map[string]map[string]json.RawMessage
		Components struct{ Schemas map[string]json.RawMessage }
	}
	a.into(&doc)
	if doc.OpenAPI != "3.1.0" || len(doc.Paths) != 31 {
		t.Errorf("OpenAPI %s with %d paths", doc.OpenAPI, len(doc.Paths))
	}
	for _, ref := range strings.Split(string(a.body), `"$ref":"`)[1:] {
		name, _, _ := strings.Cut(strings.TrimPrefix(ref, "#/components/schemas/"), `"`)
		if _, ok := doc.Components.Schemas[name]; !ok {
			t.Errorf("a reference leads nowhere: %s", name)
		}
	}
	for _, want := range []string{`"min_position"`, `"Idempotency-Key"`, `"application/problem+json"`, `"text/csv"`, `"application/x-ndjson"`} {
		if !bytes.Contains(a.body, []byte(want)) {
			t.Errorf("the document does not tell of %s", want)
		}
	}

	d := o.get("", "/docs").is(200)
	policy := d.header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy = %s", policy)
	}
	for _, never := range []string{"<script", "http://", "https://", " style=", "src="} {
		if bytes.Contains(d.body, []byte(never)) {
			t.Errorf("the page contains %s", never)
		}
	}
	for path := range doc.Paths {
		if !bytes.Contains(d.body, []byte(path)) {
			t.Errorf("the page does not show %s", path)
		}
	}
	if !bytes.Contains(d.body, []byte(docsStyle)) {
		t.Error("the style in the page is not the one that the policy lets in")
	}
}

func TestHealthAndMetrics(t *testing.T) {
	o := open(t)
	o.filed("机密案号-1")
	o.get(o.li, "/v1/cases/"+url.PathEscape("机密案号-1")).is(200)
	o.get("", "/healthz").is(200)
	o.get("", "/readyz").is(200)
	m := string(o.get("", "/metrics").is(200).body)
	for _, want := range []string{
		`liuhen_http_requests_total{route="GET /v1/cases/{case}",status="200"} 1`, `liuhen_ready 1`, `liuhen_read_model_position{model="ledger"} 1`,
		`liuhen_http_request_duration_seconds_count{route="POST /v1/cases"} 1`,
	} {
		if !strings.Contains(m, want) {
			t.Errorf("no %s in\n%s", want, m)
		}
	}
	if strings.Contains(m, "机密") {
		t.Error("the figures name a case")
	}
	for _, want := range []string{
		`liuhen_store_records_total{volume="CASES"} 1`, `liuhen_store_group_size_count{volume="CASES"} 1`, `liuhen_store_position{volume="CASES"} 1`,
	} {
		if !strings.Contains(m, want) {
			t.Errorf("no %s in\n%s", want, m)
		}
	}
	o.health = Health{Reasons: []string{"the database is away"}}
	a := o.get("", "/readyz").is(503)
	if !bytes.Contains(a.body, []byte("the database is away")) || a.header.Get("Retry-After") == "" {
		t.Errorf("readyz = %s", a.body)
	}
}

// A reader who goes away during a CSV, and a database that goes away, must not
// leave an answer that looks whole.
func TestABrokenCSVIsNotWhole(t *testing.T) {
	o := open(t)
	o.filed("C-1")
	srv := httptest.NewServer(breaking{o.handler})
	defer srv.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/v1/ledger?format=csv", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+o.li)
	res, err := http.DefaultClient.Do(req)
	if err == nil {
		defer res.Body.Close()
		_, err = new(bytes.Buffer).ReadFrom(res.Body)
	}
	if err == nil {
		t.Error("a broken CSV reads as a whole one")
	}
}

// breaking panics in the middle of an answer.
type breaking struct{ http.Handler }

func (b breaking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.Handler.ServeHTTP(&brokenWriter{ResponseWriter: w}, r)
}

type brokenWriter struct {
	http.ResponseWriter
	written int
}

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.written > 0 {
		panic("in the middle")
	}
	n, err := w.ResponseWriter.Write(p)
	w.written += n
	return n, err
}
