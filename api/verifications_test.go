package api

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"

	"liuhen/transparency/audit"
)

func lastLine(t *testing.T, body []byte) (l verifyLine) {
	t.Helper()
	lines := bytes.Split(bytes.TrimSpace(body), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], &l); err != nil {
		t.Fatalf("the answer ends with %s: %v", lines[len(lines)-1], err)
	}
	return l
}

// TestVerify asks for verifications: who may, what is passed on, and who is told
// which case a fault is about. What is found is for package audit and the tests
// of the program.
func TestVerify(t *testing.T) {
	var asked audit.Scope
	o := open(t, func(_ *office, c *Config) {
		c.Verify = func(_ context.Context, scope audit.Scope, progress func(done, of uint64)) (audit.Result, error) {
			asked = scope
			progress(7, 7)
			return audit.Result{Records: 7, Faults: []audit.Fault{{Kind: audit.Changed, Position: 3, Case: "C-1", ZH: "改动", EN: "changed"}}}, nil
		}
	})
	o.filed("C-1")
	a := o.post(o.administrator, "/v1/verifications", map[string]any{"from": 2, "through": 9}).is(200)
	if !bytes.Contains(a.body, []byte(`{"progress":{"done":7,"of":7}}`)) || asked != (audit.Scope{From: 2, Through: 9}) {
		t.Errorf("asked for %+v, answered %s", asked, a.body)
	}
	l := lastLine(t, a.body)
	if l.Result == nil || l.Clean == nil || *l.Clean || l.Result.Faults[0].Position != 3 || l.Result.Faults[0].Case != "" {
		t.Errorf("an administrator without a purpose is told %s", a.body)
	}
	a = o.post(o.administrator, "/v1/verifications", nil, purposeHeader, "drill").is(200)
	if l := lastLine(t, a.body); asked != (audit.Scope{}) || l.Result.Faults[0].Case != "C-1" {
		t.Errorf("with a purpose: asked for %+v, answered %s", asked, a.body)
	}
	o.post(o.li, "/v1/verifications", nil).problem(403, "forbidden")
	for _, body := range []map[string]any{
		{"from": 2}, {"from": 3, "through": 2}, {"case": "C-1", "record": 1}, {"read_models": true, "case": "C-1"}, {"models": []string{"ledger"}},
		{"read_models": true, "models": []string{"nothing"}},
	} {
		o.post(o.administrator, "/v1/verifications", body).problem(422, "malformed")
	}
	a = o.post(o.administrator, "/v1/verifications", map[string]any{"read_models": true, "models": []string{"ledger"}}).is(200)
	if l := lastLine(t, a.body); l.Report == nil || l.Clean == nil || !*l.Clean {
		t.Errorf("the ledger: %s", a.body)
	}
}
