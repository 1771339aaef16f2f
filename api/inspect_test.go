package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"

	"liuhen/casework"
	"liuhen/domain"
	"liuhen/domain/law"
	"liuhen/domain/rulebook"
	"liuhen/projections"
)

// An inspection of a test, as it came over the wire.
type inspectionMade struct {
	differences []domain.Inspected
	report      inspectReport
	exact       []byte // of the report
	signature   string
}

// inspectsPeriod asks for an inspection and sees that the report is of the
// differences that came before it.
func (o *office) inspectsPeriod(token, query string) inspectionMade {
	o.t.Helper()
	r := o.get(token, "/v1/replay?"+query, purposeHeader, "年度检查").is(200)
	var made inspectionMade
	digest := sha256.New()
	lines, progress := bytes.Split(bytes.TrimSuffix(r.body, []byte("\n")), []byte("\n")), 0
	for i, line := range lines {
		var l struct {
			Progress   *inspectProgress
			Difference json.RawMessage
			Report     json.RawMessage
			Signature  string
			Problem    *Problem
		}
		if err := json.Unmarshal(line, &l); err != nil || l.Problem != nil {
			o.t.Fatalf("%v in %s", err, line)
		}
		switch {
		case l.Progress != nil:
			progress++
		case l.Difference != nil:
			digest.Write(append(slices.Clone(l.Difference), '\n'))
			var d domain.Inspected
			if err := json.Unmarshal(l.Difference, &d); err != nil {
				o.t.Fatal(err)
			}
			made.differences = append(made.differences, d)
		case l.Report != nil && i == len(lines)-1:
			made.exact, made.signature = l.Report, l.Signature
			if err := json.Unmarshal(l.Report, &made.report); err != nil {
				o.t.Fatal(err)
			}
		}
	}
	if made.exact == nil || progress == 0 || made.report.Digest != "sha256:"+hex.EncodeToString(digest.Sum(nil)) {
		o.t.Fatalf("%s: %d lines of progress, the report is %s", query, progress, made.exact)
	}
	return made
}

// TestInspectionOfAPeriod inspects the sample office: everything is as recorded, the
// report is signed over its exact bytes, and the inspection stands in the trail.
func TestInspectionOfAPeriod(t *testing.T) {
	var signed [][]byte
	o, commands := filledWith(t, func(_ *office, c *Config) {
		c.SignReport = func(report []byte) (string, error) {
			signed = append(signed, slices.Clone(report))
			return "signature <&> of the report", nil
		}
	})
	before := len(o.trail.looks(t))
	day := now.Format("2006-01-02")
	made := o.inspectsPeriod(o.inspector, "from="+day+"&to="+day+"&acts=all")
	r := made.report
	if len(made.differences) != 0 || r.Acts != len(commands) || r.Same != r.Acts || r.Alarms != 0 || r.Unjudged != 0 || r.Through != uint64(len(commands)) || r.After != 0 {
		t.Errorf("report %s, differences %+v", made.exact, made.differences)
	}
	if r.Purpose != "年度检查" || r.Inspector != "wang" || r.Name != "王督" || r.Role != "inspector" || !slices.Equal(r.Agencies, []string{"*"}) || r.Scope != "all" || r.Says.ZH == "" {
		t.Errorf("report %s", made.exact)
	}
	if len(signed) != 1 || !bytes.Equal(signed[0], made.exact) || made.signature != "signature <&> of the report" {
		t.Errorf("signed was\n%s\nhanded out\n%s\nwith %q", signed, made.exact, made.signature)
	}
	var looks []projections.Look
	looks = append(looks, o.trail.looks(t)[before:]...)
	sum := sha256.Sum256(made.exact)
	if len(looks) != 2 || looks[0].What != "inspection" || looks[0].Purpose != "年度检查" || looks[1].What != "inspection report sha256:"+hex.EncodeToString(sum[:]) {
		t.Errorf("looks %+v", looks)
	}

	// Decisions only, of one procedure; a period before the first record; one's own
	// agencies.
	made = o.inspectsPeriod(o.inspector, "from=2026-01-01&to=2026-12-31&procedure=penalty-ordinary")
	effects := 0
	cases := map[domain.CaseID]bool{}
	for _, c := range commands {
		p, _ := o.book.Procedure("penalty-ordinary")
		if c.Procedure != "" {
			cases[c.Case] = c.Procedure == "penalty-ordinary"
		}
		if a, ok := p.Act(c.Act); cases[c.Case] && ok && a.Effect {
			effects++
		}
	}
	if made.report.Acts != effects || effects == 0 || made.report.Scope != "decisions" {
		t.Errorf("%d decisions, want %d", made.report.Acts, effects)
	}
	if made = o.inspectsPeriod(o.inspector, "from=2026-01-01&to=2026-11-23"); made.report.Acts != 0 || made.report.Cases != 0 {
		t.Errorf("before the first record: %s", made.exact)
	}
	if made = o.inspectsPeriod(o.supervisor, "from=2026-01-01&to=2026-12-31"); made.report.Acts != 0 || !slices.Equal(made.report.Agencies, []string{"210100", "210200"}) {
		t.Errorf("a supervisor of other agencies: %s", made.exact)
	}

	for _, token := range []string{o.li, o.head, o.importer, o.public, o.administrator} {
		o.get(token, "/v1/replay?from="+day+"&to="+day, purposeHeader, "x").problem(403, "forbidden")
	}
	o.get(o.supervisor, "/v1/replay?agency=elsewhere&from="+day+"&to="+day, purposeHeader, "x").problem(403, "forbidden")
	if p := o.get(o.inspector, "/v1/replay?from="+day+"&to="+day).problem(400, "unknown-parameter"); p.Errors[0].Location != "header."+purposeHeader {
		t.Errorf("without a purpose: %+v", p)
	}
	for _, bad := range []string{"from=" + day, "to=" + day, "from=2026-11-24&to=2026-11-23", "from=2026-11-25&to=2026-11-26", "from=yesterday&to=" + day} {
		o.get(o.inspector, "/v1/replay?"+bad, purposeHeader, "x").problem(400, "unknown-parameter")
	}
	o.trail.failWith(errBoom)
	o.get(o.inspector, "/v1/replay?from="+day+"&to="+day, purposeHeader, "x").problem(503, "unavailable")
}

// filledWith is filled, with changes to what the handler is made of.
func filledWith(t testing.TB, change ...func(*office, *Config)) (*office, []domain.Command) {
	t.Helper()
	o := openUnder(t, law.Files, map[string]string{"served.yaml": served}, change...)
	return o, o.fill()
}

// altered are read models of which one case has a record that was altered.
type altered struct {
	Reads
	change func(*domain.Recorded)
}

func (a altered) EachCaseBetween(ctx context.Context, p projections.Period) iter.Seq2[[][]domain.Recorded, error] {
	return func(yield func([][]domain.Recorded, error) bool) {
		for group, err := range a.Reads.EachCaseBetween(ctx, p) {
			for _, of := range group {
				for i := range of {
					a.change(&of[i])
				}
			}
			if !yield(group, err) {
				return
			}
		}
	}
}

// TestInspectionFindsCauses inspects an office in which a certificate was revoked
// since, a record was altered, and the agency's rule is another.
func TestInspectionFindsCauses(t *testing.T) {
	var registers *casework.Registers
	alter := func(*domain.Recorded) {}
	o, _ := filledWith(t, func(o *office, c *Config) {
		registers = casework.NewRegisters(nil, o.book.Calendar())
		running, stop := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = registers.Run(running, o.store, o.db, c.Logger)
		}()
		t.Cleanup(func() { stop(); <-done })
		o.desk.Desk = casework.New(o.book, o.store, o.db, casework.Options{Now: c.Now, Facts: o.db.Facts, Registers: registers.Now})
		c.Registers = registers.Now
		c.Reads = altered{c.Reads, func(r *domain.Recorded) { alter(r) }}
	})
	day := now.Format("2006-01-02")
	if made := o.inspectsPeriod(o.inspector, "acts=all&from="+day+"&to="+day); len(made.differences) != 0 {
		t.Fatalf("the sample as it is: %+v", made.differences[0])
	}

	// The register of an officer whose certificate is revoked with effect from the
	// beginning: acts were recorded with it by then.
	officer := func(act string, fields map[string]any) {
		t.Helper()
		raw := map[string]json.RawMessage{}
		for name, v := range fields {
			raw[name], _ = json.Marshal(v)
		}
		cmd := domain.Command{ID: "officer " + act, Case: "证-001", Act: act, At: now, Actor: domain.Actor{ID: "admin", Roles: []string{"*"}}, Fields: raw, AlreadyDone: true, Reason: "补录"}
		if act == "enrol-officer" {
			cmd.Agency, cmd.Procedure = "样例科技局", domain.RegisterProcedure
		}
		r, err := o.desk.Record(t.Context(), cmd)
		if err != nil {
			t.Fatal(err)
		}
		o.settled(r)
		if err := registers.Wait(t.Context(), r.Position); err != nil {
			t.Fatal(err)
		}
	}
	officer("enrol-officer", map[string]any{"person": "yl-li", "full_name": "李样例", "unit": "执法科", "staff_kind": "formal"})
	officer("issue-certificate", map[string]any{
		"certificate_no": "YL-0101", "card": "enforcement", "category": "科技", "area": "2101", "issuer": "司法局", "valid_from": "2023-01-01", "valid_to": "2027-12-31",
	})
	before := o.stored()
	opened, err := o.desk.Record(t.Context(), domain.Command{
		ID: "show", Case: "样例-010", Act: "show-certificate", At: now, Actor: domain.Actor{ID: "yl-li", Roles: []string{"*"}},
		Officers: []rulebook.Officer{{ID: "yl-li"}}, AlreadyDone: true, Reason: "补录",
		Fields: map[string]json.RawMessage{"person": json.RawMessage(`"丁"`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	o.settled(opened)
	officer("revoke-certificate", map[string]any{"ground": "fraud", "reason": "取得资格不实", "revoked_on": "2023-01-02"})
	made := o.inspectsPeriod(o.inspector, "acts=all&procedure=penalty-ordinary&from="+day+"&to="+day)
	if len(made.differences) != 1 || made.differences[0].Cause != domain.CauseRegisters || made.differences[0].Event != opened.Event || made.differences[0].Alarm || made.differences[0].Position != uint64(before)+1 {
		t.Errorf("a certificate was revoked since: %+v", made.differences)
	}

	// An altered record is an alarm.
	alter = func(r *domain.Recorded) {
		if len(r.Data.Findings) > 0 && r.Subject == "样例-005" && strings.HasPrefix(r.Data.Findings[0].Rule, "R-") {
			r.Data.Findings = r.Data.Findings[1:]
		}
	}
	made = o.inspectsPeriod(o.inspector, "acts=all&procedure=penalty-ordinary&from="+day+"&to="+day)
	if made.report.Alarms == 0 || made.report.Differences[domain.CauseAlarm] != made.report.Alarms || made.report.Same+len(made.differences) != made.report.Acts {
		t.Errorf("an altered record: %+v", made.report.InspectionReport)
	}
	for _, d := range made.differences {
		if d.Alarm && (d.Case != "样例-005" || len(d.Judged) <= len(d.Recorded)) {
			t.Errorf("alarm at %+v", d)
		}
	}
	if keys := slices.Sorted(maps.Keys(made.report.Differences)); len(keys) != 2 || !strings.Contains(string(made.exact), `"alarms":`) {
		t.Errorf("causes %v", keys)
	}
}
