// Package api is the HTTP face of the program: /v1 with OpenAPI 3.1, one
// table of errors (problem.go), and no decisions of its own. Who may do what
// is asked of package identity, what the law allows of package casework, what
// has been recorded of package projections.
//
// To learn the package read routes.go, which lists every route, then
// acts.go, which is the way of an act.
package api

import (
	"context"
	"io/fs"
	"iter"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"liuhen/casework"
	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
	"liuhen/eventstore"
	"liuhen/identity"
	"liuhen/projections"
	"liuhen/reactions"
	"liuhen/transparency"
	"liuhen/transparency/attest"
	"liuhen/transparency/audit"
	"liuhen/transparency/keys"
)

// A Desk carries out commands; *casework.Desk is one.
type Desk interface {
	Record(ctx context.Context, cmd domain.Command) (domain.Receipt, error)
	RecordAll(ctx context.Context, commands []domain.Command) []casework.Result
	// Decide judges a command and records nothing.
	Decide(ctx context.Context, c *domain.Case, cmd domain.Command) (domain.Event, error)
	Case(ctx context.Context, id domain.CaseID) (*domain.Case, error)
}

// A Record is the log of cases as far as this package asks it;
// *eventstore.Store is one.
type Record interface {
	// Wait waits until a desk's cases are complete up to a position.
	Wait(ctx context.Context, p eventstore.Position) error
}

// Reads are the read models; *projections.DB is one.
type Reads interface {
	Wait(ctx context.Context, model string, position uint64) (uint64, error)
	Load(ctx context.Context, ids []domain.CaseID) (map[domain.CaseID][]domain.Recorded, uint64, error)

	Timeline(ctx context.Context, f projections.TimelineFilter, p projections.Page) (projections.List[projections.TimelineItem], error)
	EachTimeline(ctx context.Context, f projections.TimelineFilter, header func(position uint64) error) iter.Seq2[projections.TimelineItem, error]
	Ledger(ctx context.Context, f projections.LedgerFilter, p projections.Page) (projections.List[projections.LedgerEntry], error)
	EachLedger(ctx context.Context, f projections.LedgerFilter, header func(position uint64) error) iter.Seq2[projections.LedgerEntry, error]
	EachCase(ctx context.Context, agencies []string, header func(position uint64) error) iter.Seq2[[]domain.Recorded, error]
	Choose(ctx context.Context, f projections.LedgerFilter) (projections.Chosen, error)
	EachChosen(ctx context.Context, f projections.LedgerFilter, through uint64, may func(projections.LedgerEntry) bool) iter.Seq2[[]domain.Recorded, error]
	RecordsOf(ctx context.Context, procedure string) ([]domain.Recorded, uint64, error)
	FactsThen(ctx context.Context, asked []domain.Asked) (domain.FactsThen, error)
	CountLedger(ctx context.Context, f projections.LedgerFilter, most int) (int, error)
	Deadlines(ctx context.Context, f projections.DeadlinesFilter, p projections.Page) (projections.List[projections.DeadlineItem], error)
	EachDeadline(ctx context.Context, f projections.DeadlinesFilter, header func(position uint64) error) iter.Seq2[projections.DeadlineItem, error]
	Findings(ctx context.Context, f projections.FindingsFilter, p projections.Page) (projections.List[projections.FindingItem], error)
	EachFinding(ctx context.Context, f projections.FindingsFilter, header func(position uint64) error) iter.Seq2[projections.FindingItem, error]
	CountFindings(ctx context.Context, f projections.FindingsFilter) ([]projections.RuleCount, error)
	Count(ctx context.Context, agencies []string) (projections.Stats, error)
	RecordedAt(ctx context.Context, position uint64) (time.Time, bool, error)
	PositionAt(ctx context.Context, t time.Time) (uint64, error)
	LedgerAt(ctx context.Context, f projections.LedgerFilter, at uint64, p projections.Page) (projections.List[projections.LedgerEntry], error)
	EachLedgerAt(ctx context.Context, f projections.LedgerFilter, at uint64, header func(position uint64) error) iter.Seq2[projections.LedgerEntry, error]
	DeadlinesAt(ctx context.Context, f projections.DeadlinesFilter, at uint64, calendars func(agency string) *calendar.Calendar, p projections.Page) (projections.List[projections.DeadlineItem], error)
	EachDeadlineAt(ctx context.Context, f projections.DeadlinesFilter, at uint64, calendars func(agency string) *calendar.Calendar, header func(position uint64) error) iter.Seq2[projections.DeadlineItem, error]
	CountBetween(ctx context.Context, p projections.Period) (int64, error)
	EachCaseBetween(ctx context.Context, p projections.Period) iter.Seq2[[][]domain.Recorded, error]
	LooksAt(ctx context.Context, f projections.LooksFilter, p projections.Page) (projections.List[projections.RecordedLook], error)
	EachLook(ctx context.Context, f projections.LooksFilter, header func(position uint64) error) iter.Seq2[projections.RecordedLook, error]
}

// Tokens are what callers identify themselves by; *identity.Tokens is one.
type Tokens interface {
	Verify(ctx context.Context, token string) (identity.Actor, error)
	Issue(ctx context.Context, by identity.Actor, want identity.NewToken) (string, identity.Token, error)
	List(ctx context.Context) ([]identity.Token, error)
	Find(ctx context.Context, id string) (identity.Token, error)
	Revoke(ctx context.Context, by identity.Actor, id string) error
}

// Health is how the program does, for /readyz and /metrics.
type Health struct {
	Ready    bool                 `json:"ready"`              // it can record and read
	Reasons  []string             `json:"reasons,omitempty"`  // why it is not, or what it lacks
	Position uint64               `json:"position"`           // of the last record
	Writer   bool                 `json:"writer"`             // this process writes
	Incident string               `json:"incident,omitempty"` // what has stopped all writing
	Models   []projections.Status `json:"models,omitempty"`   // the read models
	Stores   []eventstore.Status  `json:"-"`                  // of each volume, for /metrics

	Log       transparency.Status    `json:"log"`
	Attested  attest.Status          `json:"attested"` // who has vouched for it
	Reactions []reactions.Status     `json:"-"`        // for /metrics, which anybody may read: what they fail with can name a case
	Ticks     []reactions.TickStatus `json:"-"`
}

// Config is what the package needs. All fields are needed but those that say
// otherwise.
type Config struct {
	Desk   Desk
	Record Record
	Reads  Reads
	Book   *rulebook.Book // the law that the program runs on
	// Law is the same with the files that agencies have put in force for themselves, and
	// InForce which of them an agency has in force on a day; nil: there are none.
	Law     domain.Law
	InForce func(agency string, on calendar.Date) []rulebook.FileRef
	// Calendar is what an agency counts days by now; nil: the book's own calendar.
	Calendar func(agency string) *calendar.Calendar
	// Registers is what acts are judged by now beside their cases; nil: nothing.
	Registers func() domain.Registers
	Roster    *domain.RosterFile // officers whom the log does not know; may be nil
	Policies  *identity.Policies
	Tokens    Tokens
	Trail     *Trail

	// SignReport signs the report of an inspection, byte for byte as it is handed
	// out; nil: reports are not signed.
	SignReport func(report []byte) (signature string, err error)

	// Registered waits until acts are judged by what was recorded of officers
	// up to a position; nil where no register follows the log.
	Registered func(ctx context.Context, position uint64) error

	Reactions Reactions

	// LawFiles are the national law files that Book was made of, and OwnLaw those of
	// the agency's own, for bundles; nil: they have none.
	LawFiles, OwnLaw fs.FS

	// Log is the log of proofs, and LogKeys its keys; nil where there is none.
	Log     Proofs
	LogKeys *keys.Chain

	// Rebuild fills read models anew and tells how far it is; see
	// projections.Rebuild.
	Rebuild func(ctx context.Context, models []string, progress func(projections.Progress)) (projections.Report, error)
	// Verify holds record, log and history against each other (package audit), and
	// VerifyModels read models against the record (projections.Audit). Both tell how
	// far they are. Verify is nil where there is no log.
	Verify       func(ctx context.Context, scope audit.Scope, progress func(done, of uint64)) (audit.Result, error)
	VerifyModels func(ctx context.Context, models []string, progress func(projections.Progress)) (projections.Report, error)
	// Draft is the law with other files of an agency's own, by name: added to
	// those that the program runs on and that agencies have put in force, each in the
	// place of its namesake, or alone. It fails with rulebook.Errors.
	Draft func(files map[string]string, alone bool) (domain.Law, error)
	// Health is asked by /readyz and /metrics; it must answer at once.
	Health func(ctx context.Context) Health

	Logger   *slog.Logger
	Version  string           // of the program, for the OpenAPI document
	Now      func() time.Time // nil: time.Now
	Patience time.Duration    // how long min_position may wait; 0: 5 s
}

// server is the package at work. Its fields do not change.
type server struct {
	Config
	asking   chan struct{} // has one for each caller who is served; see few
	trying   sync.Mutex    // held while a draft of the law is tried
	auditing sync.Mutex    // held while the record is verified
	judging  sync.Mutex    // held while a period is inspected
	api      huma.API
	metrics  *metrics
	openapi  []byte
	docs     []byte
}

// New returns the handler of every route. It panics where the routes
// contradict each other, which is a bug.
func New(c Config) http.Handler {
	if c.Law == nil {
		c.Law = c.Book
	}
	if c.InForce == nil {
		c.InForce = func(string, calendar.Date) []rulebook.FileRef { return nil }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Patience == 0 {
		c.Patience = 5 * time.Second
	}
	mux := http.NewServeMux()
	s := &server{Config: c, metrics: newMetrics(c), asking: make(chan struct{}, fewAtOnce)}
	s.api = humago.New(mux, s.config())
	s.routes(mux)
	s.document()
	return s.around(mux)
}

// config is huma's, without what we do ourselves: no schema links in bodies,
// no pages from other hosts, JSON only.
func (s *server) config() huma.Config {
	format := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshal}
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:       "liuhen 留痕",
				Version:     s.Version,
				Description: description,
				License:     &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token": {Type: "http", Scheme: "bearer", Description: "A token from POST /v1/tokens"},
				},
			},
			Security: []map[string][]string{{"token": {}}},
		},
		Formats:                      map[string]huma.Format{"application/json": format, "json": format},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
	}
}
