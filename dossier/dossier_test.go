package dossier

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/law"
	"liuhen/domain/rulebook"
	"liuhen/sample"
)

var update = flag.Bool("update", false, "write the golden pages anew")

// today is the day on which the sample office is filled in: a Tuesday.
var today = time.Date(2026, 11, 24, 10, 0, 0, 0, calendar.Shanghai)

var national = sync.OnceValues(func() (*rulebook.Book, error) { return rulebook.Load(law.Files) })

func book(t testing.TB) *rulebook.Book {
	t.Helper()
	b, err := national()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A keeper records commands one after another, as the desk does.
type keeper struct {
	t    testing.TB
	book *rulebook.Book
	c    *domain.Case
	all  []domain.Recorded
}

func (k *keeper) record(cmd domain.Command) {
	k.t.Helper()
	n := len(k.all) + 1
	stamp := domain.Stamp{Event: fmt.Sprintf("%s-%d", cmd.Case, n), Salt: "salt", Now: today}
	reg := domain.Registers{Facts: rulebook.Facts{}}
	event, err := domain.Decide(k.book, reg, k.c, cmd, stamp)
	for ask := (*domain.Unanswered)(nil); errors.As(err, &ask); event, err = domain.Decide(k.book, reg, k.c, cmd, stamp) {
		for _, a := range ask.Lookups {
			reg.Facts[a] = nil // no other case has entered anything
		}
	}
	if err != nil {
		k.t.Fatalf("%s %s: %v", cmd.Case, cmd.Act, err)
	}
	data, err := event.Encode()
	if err != nil {
		k.t.Fatal(err)
	}
	r, err := domain.Read(uint64(n), today, data)
	if err != nil {
		k.t.Fatal(err)
	}
	if k.c, err = domain.Evolve(k.book, k.c, r); err != nil {
		k.t.Fatal(err)
	}
	k.all = append(k.all, r)
}

func (k *keeper) page() Case {
	return Case{
		Records: k.all, Procedure: k.c.Procedure, At: today, Position: uint64(len(k.all)),
		Deadlines: k.c.Procedure.Deadlines(k.c.History, k.book.Calendar()),
	}
}

// office is the cases of the sample office.
func office(t testing.TB) map[domain.CaseID]*keeper {
	t.Helper()
	o, err := sample.Read()
	if err != nil {
		t.Fatal(err)
	}
	commands, err := o.Commands(book(t), today)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[domain.CaseID]*keeper)
	for _, cmd := range commands {
		if all[cmd.Case] == nil {
			all[cmd.Case] = &keeper{t: t, book: book(t)}
		}
		all[cmd.Case].record(cmd)
	}
	return all
}

func written(t testing.TB, c Case) []byte {
	t.Helper()
	var page bytes.Buffer
	if err := Write(&page, c); err != nil {
		t.Fatal(err)
	}
	return page.Bytes()
}

// TestGolden holds pages of sample cases to what they were; -update writes
// them anew. Look at them in a browser then.
func TestGolden(t *testing.T) {
	all := office(t)
	for _, id := range []domain.CaseID{"样例-005", "样例-014"} {
		k := all[id]
		if k == nil {
			t.Fatalf("the sample office has no case %s", id)
		}
		got := written(t, k.page())
		path := filepath.Join("testdata", string(id)+".html")
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("the page of %s is not what it was; see the difference with -update and git diff", id)
		}
		if again := written(t, k.page()); !bytes.Equal(again, got) {
			t.Errorf("the page of %s is another each time", id)
		}
	}
}

// TestEveryCase holds every page of the sample office to what all promise.
func TestEveryCase(t *testing.T) {
	for id, k := range office(t) {
		page := written(t, k.page())
		checkPage(t, page)
		text := string(page)
		for _, r := range k.all {
			for _, want := range []string{r.ID, r.Digest.String(), moment(r.Time), moment(r.Recorded)} {
				if !strings.Contains(text, want) {
					t.Errorf("the page of %s does not have %q of %s", id, want, r.Act())
				}
			}
			for _, o := range r.Data.Officers {
				if !strings.Contains(text, o.Name) || !strings.Contains(text, o.Certificate) {
					t.Errorf("the page of %s does not have the officer %+v", id, o)
				}
			}
			for _, d := range append(r.Data.Documents, r.Data.Evidence...) {
				if !strings.Contains(text, d.Digest) {
					t.Errorf("the page of %s does not have the digest of %s", id, d.Title)
				}
			}
			for _, f := range r.Data.Findings {
				if !strings.Contains(text, f.Rule) || !strings.Contains(text, html.EscapeString(f.Basis)) {
					t.Errorf("the page of %s does not have the finding %s with %s", id, f.Rule, f.Basis)
				}
			}
		}
		for _, d := range k.page().Deadlines {
			if !strings.Contains(text, d.Due.On.String()) {
				t.Errorf("the page of %s does not have the limit %s of %s", id, d.Rule, d.Due.On)
			}
		}
	}
}

// elements are all that a page is made of; none of them loads or runs anything.
var elements = map[string]bool{}

func init() {
	for _, e := range strings.Fields("html head meta title style body header footer section article h1 h2 h3 h4 p span a table thead tbody tr th td ol li code strong div br") {
		elements[e] = true
	}
}

// checkPage reads a page as a browser does: only known elements and attributes,
// every link to a place that is on it.
func checkPage(t testing.TB, page []byte) {
	t.Helper()
	if bytes.ContainsRune(page, 0) || !bytes.HasPrefix(page, []byte("<!DOCTYPE html>\n")) {
		t.Error("the page does not begin with its document type, or has a zero byte")
	}
	ids, links := map[string]bool{}, map[string]bool{}
	for z := html.NewTokenizer(bytes.NewReader(page)); ; {
		switch z.Next() {
		case html.ErrorToken:
			if z.Err() != io.EOF {
				t.Errorf("the page is no HTML: %v", z.Err())
			}
			for l := range links {
				if !ids[l] {
					t.Errorf("a link leads to %q, which is not on the page", l)
				}
			}
			return
		case html.CommentToken:
			t.Errorf("a comment: %s", z.Raw())
		case html.StartTagToken, html.SelfClosingTagToken, html.EndTagToken:
			raw := string(z.Raw())
			token := z.Token()
			if !elements[token.Data] {
				t.Errorf("the element %s", raw)
			}
			for _, a := range token.Attr {
				switch a.Key {
				case "lang", "class", "scope", "charset", "name", "content", "http-equiv":
				case "id":
					if ids[a.Val] {
						t.Errorf("the id %q stands twice", a.Val)
					}
					ids[a.Val] = true
				case "href":
					to, here := strings.CutPrefix(a.Val, "#")
					if !here {
						t.Errorf("a link out of the page: %s", raw)
					}
					if decoded, err := url.PathUnescape(to); err == nil {
						to = decoded
					}
					links[to] = true
				default:
					t.Errorf("the attribute %s of %s", a.Key, raw)
				}
			}
		case html.TextToken, html.DoctypeToken:
		}
	}
}

// nasty is text that would do harm where it were not escaped.
const nasty = `"><script>alert(1)</script><img src=x onerror=alert(2)>'--> ]]> {{.Case}} javascript:alert(3) </style></title></td></table> &amp; &#x41;`

// TestHostileText puts it wherever text comes from outside.
func TestHostileText(t *testing.T) {
	at := time.Date(2026, 11, 20, 9, 0, 0, 0, calendar.Shanghai)
	refs := []rulebook.Reference{{Kind: nasty, Title: nasty, Digest: nasty, MediaType: nasty, Number: nasty}}
	data := domain.Data{
		ActorName: nasty, Place: nasty, Reason: nasty, LateReason: nasty, Documents: refs, Evidence: refs,
		Officers: []rulebook.Officer{{ID: nasty, Name: nasty, Certificate: nasty, Field: nasty, Area: nasty}},
		Fields: domain.Fields{
			nasty: nasty, "party": map[string]any{"name": nasty, nasty: []any{nasty, map[string]any{nasty: nasty}, nil, true, 1.5, int64(7), []any{}, map[string]any{}}},
		},
		Findings: []rulebook.Finding{{
			Rule: nasty, Basis: nasty, Severity: nasty, Verdict: nasty, Says: rulebook.Text{ZH: nasty, EN: nasty + "2"}, Detail: rulebook.Text{ZH: nasty, EN: nasty + "2"},
			Cure: rulebook.Text{ZH: nasty, EN: nasty + "2"}, Looked: []string{nasty, "e"}, Of: nasty, Assumed: true, Failed: true,
		}},
		Import: &domain.Import{Source: nasty, Batch: nasty, Row: 1},
	}
	event := func(id string, revision int) domain.Recorded {
		return domain.Recorded{Position: uint64(revision), Event: domain.Event{
			ID: id, Source: "/agencies/" + nasty, Type: "imported." + nasty, Subject: nasty, Time: at, Recorded: at.Add(time.Hour), Revision: revision,
			Actor: nasty, ActorRole: nasty, Data: data,
		}}
	}
	first, second := event(nasty, 1), event("e", 2)
	second.Data.Corrects = nasty
	imported, ok := book(t).Procedure("imported")
	if !ok {
		t.Fatal("there is no procedure imported")
	}
	for name, procedure := range map[string]*rulebook.Procedure{"no law": nil, "an open procedure": imported} {
		page := written(t, Case{
			Records: []domain.Recorded{first, second}, Procedure: procedure, At: today, Withheld: 3, Note: rulebook.Text{ZH: nasty, EN: nasty + "2"},
			Deadlines: []rulebook.Deadline{{Rule: nasty, Says: rulebook.Text{ZH: nasty, EN: nasty}, Basis: nasty, Start: nasty}},
		})
		t.Run(name, func(t *testing.T) { checkPage(t, page) })
		if !bytes.Contains(page, []byte("&lt;script&gt;alert(1)")) {
			t.Error("the text itself is not on the page")
		}
		if re := regexp.MustCompile(`(?i)<(script|img)|javascript:[^ ]* *"`); re.Match(page) {
			t.Errorf("%s", re.Find(page))
		}
	}
}

// TestCorrections shows the correction beside what it corrects.
func TestCorrections(t *testing.T) {
	k := &keeper{t: t, book: book(t)}
	cmd := domain.Command{
		ID: "1", Case: "C-1", Agency: "a", Procedure: "imported", Act: "接收", At: today.Add(-72*time.Hour - 5*time.Minute), Import: &domain.Import{Source: "s", Batch: "b", Row: 1},
		Actor: domain.Actor{ID: "li"},
	}
	k.record(cmd)
	cmd.ID, cmd.Procedure, cmd.Corrects, cmd.Reason = "2", "", k.all[0].ID, "写错了"
	k.record(cmd)
	page := string(written(t, k.page()))
	for _, want := range []string{
		`<article id="e-C-1-1" class="corrected">`, `已被更正 <span lang="en">corrected by</span> <a href="#e-C-1-2">#2 接收</a>`,
		`更正 <span lang="en">corrects</span> <a href="#e-C-1-1">#1 接收</a>`, "写错了", "3天5分后", "3 d 5 min later", "并非当时记录",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not have %s", want)
		}
	}
}

func TestWhatIsNoCase(t *testing.T) {
	a, b := domain.Recorded{}, domain.Recorded{}
	a.Subject, b.Subject = "A", "B"
	for _, records := range [][]domain.Recorded{nil, {a, b}} {
		if err := Write(io.Discard, Case{Records: records}); err == nil {
			t.Errorf("a page of %d records that are no case was written", len(records))
		}
	}
	if err := Write(full{}, Case{Records: []domain.Recorded{a}}); !errors.Is(err, errFull) {
		t.Errorf("the error is %v, want %v", err, errFull)
	}
}

var errFull = errors.New("no space left")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestNumbers(t *testing.T) {
	for fen, want := range map[int64]string{0: "0.00", 5: "0.05", -105: "-1.05", 123456789: "1,234,567.89", 100000: "1,000.00", -99999999: "-999,999.99"} {
		if got := yuan(fen); got != want {
			t.Errorf("%d fen are %s, want %s", fen, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "at once", 59 * time.Second: "59 s later", 25 * time.Hour: "1 d 1 h later", -time.Minute: "1 min before the time claimed"} {
		if got := gap(d).EN; got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
}
