package api

import (
	"bytes"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"liuhen/bundle"
	"liuhen/domain/rulebook"
)

// checked checks a bundle as a stranger does who has the key.
func (o *office) checked(r *reply, key string) bundle.Result {
	o.t.Helper()
	r.is(http.StatusOK)
	got, err := bundle.Check(bytes.NewReader(r.body), int64(len(r.body)), bundle.Options{
		Key: key, Law: os.DirFS("testdata/law"), Book: func(fs.FS) (*rulebook.Book, error) { return o.book, nil },
	})
	if err != nil {
		o.t.Fatal(err)
	}
	if got.Verdict != bundle.Proven {
		o.t.Fatalf("%s: %s: %+v", r.asked, got.Verdict, got.Faults)
	}
	return got
}

func TestBundle(t *testing.T) {
	o, key := openWithLog(t)
	o.filed("C-1")
	o.filed("C-2")
	inspected := act("inspect", "officers", []string{"li", "zhao"}, "fields", map[string]any{"amount": 1})
	last := o.recorded(o.li, "C-1", inspected)

	// What was just recorded is in it, byte for byte, and the look is in the trail.
	r := o.get(o.li, "/v1/cases/C-1/bundle")
	got := o.checked(r, key)
	if len(got.Cases) != 1 || got.Cases[0].Records != 2 || got.Size < int64(last.Position) || !got.Pages || len(got.Law) != 2 || !got.Law[0].Shipped {
		t.Errorf("the bundle is %+v", got)
	}
	if d := r.header.Get("Content-Disposition"); d != "attachment; filename=liuhen-C-1.zip" || r.header.Get("Content-Type") != "application/zip" || r.header.Get(recordsHeader) != "2" {
		t.Errorf("the headers are %v", r.header)
	}
	looks := o.trail.looks(t)
	if l := looks[len(looks)-1]; l.What != "bundle" || l.Case != "C-1" || l.Rows != 2 || l.Person != "li" {
		t.Errorf("the last look is %+v", l)
	}

	// Several, by the filters of the ledger; what may not be read is not there.
	o.post(o.stranger, "/v1/cases", filing("D-1")).is(http.StatusCreated)
	o.caughtUp()
	if got := o.checked(o.get(o.li, "/v1/bundle"), key); len(got.Cases) != 2 {
		t.Errorf("of the own agency: %+v", got.Cases)
	}
	if got := o.checked(o.get(o.inspector, "/v1/bundle"), key); len(got.Cases) != 3 {
		t.Errorf("everywhere: %+v", got.Cases)
	}
	if got := o.checked(o.get(o.li, "/v1/bundle?case=C-2,C-1"), key); len(got.Cases) != 2 {
		t.Errorf("named: %+v", got.Cases)
	}
	looks = o.trail.looks(t)
	if a, b := looks[len(looks)-2], looks[len(looks)-1]; a.What != "bundle" || a.Case != "C-2" || b.Case != "C-1" {
		t.Errorf("the named cases are not in the trail: %+v, %+v", a, b)
	}

	// Masked: nothing of it is addressed to this reader, and that is all there is.
	r = o.get(o.li, "/v1/cases/C-1/bundle?profile=party&reader="+url.QueryEscape("沈阳某某科技有限公司"))
	if got := o.checked(r, key); got.Cases[0].Shown != 0 || got.Cases[0].Records != 2 || got.Profile != "party" {
		t.Errorf("for the party: %+v", got)
	}
	if l := last.Event; strings.Contains(string(r.body), l) {
		t.Error("the bundle for the party names an event")
	}

	o.get(o.stranger, "/v1/cases/C-1/bundle").problem(http.StatusNotFound, "not-found")
	o.get(o.stranger, "/v1/bundle?case=C-1").problem(http.StatusNotFound, "not-found")
	o.get(o.li, "/v1/bundle?case=C-9").problem(http.StatusNotFound, "not-found")
	o.get(o.li, "/v1/bundle?procedure=none").problem(http.StatusNotFound, "not-found")
	o.get("", "/v1/cases/C-1/bundle").problem(http.StatusUnauthorized, "unauthenticated")
	o.get(o.importer, "/v1/bundle").problem(http.StatusForbidden, "forbidden")
	for _, query := range []string{"profile=all", "profile=party", "reader=x"} {
		o.get(o.li, "/v1/cases/C-1/bundle?"+query).problem(http.StatusBadRequest, "unknown-parameter")
	}

	// A look that cannot be kept is not given.
	o.trail.failWith(errBoom)
	o.get(o.li, "/v1/cases/C-1/bundle").problem(http.StatusServiceUnavailable, "unavailable")
}
