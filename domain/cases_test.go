package domain_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/law"
	"liuhen/domain/rulebook"
)

// book is the law that the program ships with.
var book = func() *rulebook.Book {
	b, err := rulebook.Load(law.Files)
	if err != nil {
		panic(err)
	}
	return b
}()

// A story is a case of domain/testdata/cases: what was done, and what must be
// found.
type story struct {
	Procedure string                       `yaml:"procedure"`
	Title     rulebook.Text                `yaml:"title"`
	Note      string                       `yaml:"note"`
	Officers  map[string]map[string]string `yaml:"officers"`
	Steps     []storyStep                  `yaml:"steps"`
}

type storyStep struct {
	Act         string         `yaml:"act"`
	At          string         `yaml:"at"`
	Recorded    string         `yaml:"recorded"`
	Role        string         `yaml:"role"`
	Actor       string         `yaml:"actor"`
	Officers    []string       `yaml:"officers"`
	Fields      map[string]any `yaml:"fields"`
	Documents   []string       `yaml:"documents"`
	Evidence    []string       `yaml:"evidence"`
	LateReason  string         `yaml:"late_reason"`
	AlreadyDone bool           `yaml:"already_done"`
	Reason      string         `yaml:"reason"`
	Expect      []string       `yaml:"expect"`
	Refused     string         `yaml:"refused"`
	Note        string         `yaml:"note"`
}

func stories(t testing.TB) map[string]story {
	t.Helper()
	files, err := filepath.Glob("testdata/cases/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases to play: %v", err)
	}
	all := map[string]story{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var s story
		if err := yaml.UnmarshalWithOptions(data, &s, yaml.Strict()); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".yaml")] = s
	}
	return all
}

func moment(t testing.TB, s string) time.Time {
	t.Helper()
	for _, layout := range []string{"2006-01-02 15:04", "2006-01-02"} {
		if at, err := time.ParseInLocation(layout, s, calendar.Shanghai); err == nil {
			return at
		}
	}
	t.Fatalf("%q is no time", s)
	return time.Time{}
}

func (s story) command(t testing.TB, n int) (domain.Command, domain.Stamp) {
	t.Helper()
	step := s.Steps[n]
	recorded := step.Recorded
	if recorded == "" {
		recorded = step.At
	}
	cmd := domain.Command{
		ID: fmt.Sprintf("command-%d", n), Case: "C-1", Act: step.Act, At: moment(t, step.At),
		Actor:      domain.Actor{ID: step.Actor, Roles: []string{step.Role}},
		LateReason: step.LateReason, AlreadyDone: step.AlreadyDone, Reason: step.Reason,
		Fields: map[string]json.RawMessage{},
	}
	if n == 0 {
		cmd.Procedure, cmd.Agency = s.Procedure, "210100-kjj"
	}
	for _, key := range step.Officers {
		o := s.Officers[key]
		from, _ := calendar.ParseDate(o["valid_from"])
		to, _ := calendar.ParseDate(o["valid_to"])
		cmd.Officers = append(cmd.Officers, rulebook.Officer{
			ID: key, Name: o["name"], Certificate: o["certificate"], ValidFrom: from, ValidTo: to, Field: o["field"], Area: o["area"],
		})
	}
	for key, v := range step.Fields {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		cmd.Fields[key] = raw
	}
	refs := func(titles []string) (out []rulebook.Reference) {
		for _, title := range titles {
			out = append(out, rulebook.Reference{Kind: title, Title: title, Digest: domain.DigestOf([]byte(title)).String(), Size: int64(len(title))})
		}
		return out
	}
	cmd.Documents, cmd.Evidence = refs(step.Documents), refs(step.Evidence)
	return cmd, domain.Stamp{Event: fmt.Sprintf("event-%d", n), Salt: "salt", Now: moment(t, recorded)}
}

// decide decides with registers that nobody has entered anything into.
func decide(c *domain.Case, cmd domain.Command, stamp domain.Stamp) (domain.Event, error) {
	reg := domain.Registers{Facts: rulebook.Facts{}}
	for {
		event, err := domain.Decide(book, reg, c, cmd, stamp)
		var ask *domain.Unanswered
		if !errors.As(err, &ask) {
			return event, err
		}
		for _, l := range ask.Lookups {
			reg.Facts[l] = nil
		}
	}
}

// play records a story step by step, as bytes that are read again, and
// returns the records.
func (s story) play(t testing.TB, check func(n int, e domain.Event)) []domain.Recorded {
	t.Helper()
	var c *domain.Case
	var records []domain.Recorded
	for n, step := range s.Steps {
		cmd, stamp := s.command(t, n)
		event, err := decide(c, cmd, stamp)
		if err != nil {
			t.Fatalf("step %d, %s: %v", n+1, step.Act, err)
		}
		data, err := event.Encode()
		if err != nil {
			t.Fatalf("step %d, %s: %v", n+1, step.Act, err)
		}
		r, err := domain.Read(uint64(n+1), stamp.Now, data)
		if err != nil {
			t.Fatalf("step %d, %s: %v", n+1, step.Act, err)
		}
		if decided, read := inUTC(event.Step()), inUTC(r.Step()); !reflect.DeepEqual(decided, read) {
			t.Errorf("step %d, %s: what was decided and what is read differ:\n%+v\n%+v", n+1, step.Act, decided, read)
		}
		if c, err = domain.Evolve(book, c, r); err != nil {
			t.Fatalf("step %d, %s: %v", n+1, step.Act, err)
		}
		if check != nil {
			check(n, event)
		}
		records = append(records, r)
	}
	return records
}

// inUTC makes two spellings of one moment equal.
func inUTC(s rulebook.Step) rulebook.Step {
	s.At, s.Recorded = s.At.UTC(), s.Recorded.UTC()
	return s
}

func TestCases(t *testing.T) {
	for name, s := range stories(t) {
		t.Run(name, func(t *testing.T) {
			s.play(t, func(n int, e domain.Event) {
				var found []string
				for _, f := range e.Data.Findings {
					found = append(found, f.Rule)
				}
				slices.Sort(found)
				want := slices.Sorted(slices.Values(s.Steps[n].Expect))
				if !slices.Equal(found, want) {
					t.Errorf("step %d, %s: found %v, want %v\n%+v", n+1, e.Act(), found, want, e.Data.Findings)
				}
			})
		})
	}
}

// An unlawful effect is refused when it is asked for, and recorded with its
// findings when it was done already.
func TestEffectIsRefusedFactIsRecorded(t *testing.T) {
	for name, s := range stories(t) {
		t.Run(name, func(t *testing.T) {
			records := s.play(t, nil)
			for n, step := range s.Steps {
				act, ok := mustProcedure(t, s.Procedure).Act(step.Act)
				if !ok {
					t.Fatalf("no act %s", step.Act)
				}
				refuses := slices.ContainsFunc(records[n].Data.Findings, func(f rulebook.Finding) bool { return f.Verdict == rulebook.Refuse })
				c, err := domain.Replay(book, records[:n])
				if err != nil {
					t.Fatal(err)
				}
				cmd, stamp := s.command(t, n)
				cmd.AlreadyDone = false
				_, err = decide(c, cmd, stamp)
				var refusal *domain.Refusal
				if got, want := errors.As(err, &refusal), refuses && act.Effect; got != want {
					t.Errorf("step %d, %s: refused is %v, want %v (%v)", n+1, step.Act, got, want, err)
				}
				if refusal != nil && (refusal.Cause().Basis == "" || refusal.Cause().Says.ZH == "") {
					t.Errorf("step %d, %s: the refusal names no article or rule: %+v", n+1, step.Act, refusal.Cause())
				}
			}
		})
	}
}

func mustProcedure(t testing.TB, name string) *rulebook.Procedure {
	t.Helper()
	p, ok := book.Procedure(name)
	if !ok {
		t.Fatalf("no procedure %s", name)
	}
	return p
}

// The real case of a justice bureau's review in May 2025: filed on
// 2024-09-09, the decision dated 2024-12-11. The day on the document counts.
func TestLateDecisionOfARealCase(t *testing.T) {
	s := stories(t)["ordinary-late-decision"]
	records := s.play(t, nil)
	for _, r := range records {
		for _, f := range r.Data.Findings {
			if f.Rule != "R-028" {
				continue
			}
			if f.Severity != rulebook.Minor || f.Due.String() != "2024-12-09" {
				t.Errorf("R-028 is %s, due %s; want minor, due 2024-12-09", f.Severity, f.Due)
			}
			return
		}
	}
	t.Error("the late decision was not found")
}

func TestEvolveRefusesABrokenChain(t *testing.T) {
	records := stories(t)["ordinary-lawful"].play(t, nil)
	for name, broken := range map[string][]domain.Recorded{
		"one left out": slices.Concat(records[:3], records[4:6]),
		"two swapped":  {records[0], records[2], records[1]},
		"one twice":    {records[0], records[1], records[1]},
		"not begun":    records[1:3],
	} {
		if _, err := domain.Replay(book, broken); !errors.Is(err, domain.ErrChain) {
			t.Errorf("%s: %v, want ErrChain", name, err)
		}
	}
	changed := slices.Clone(records)
	data := []byte(strings.Replace(string(records[1].Raw), "甲公司", "乙公司", 1))
	forged, err := domain.Read(records[1].Position, records[1].StoredAt, data)
	if err != nil {
		t.Fatal(err)
	}
	changed[1] = forged
	if _, err := domain.Replay(book, changed); !errors.Is(err, domain.ErrChain) {
		t.Errorf("a record with one name changed: %v, want ErrChain", err)
	}
}
