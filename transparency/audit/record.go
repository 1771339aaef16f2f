package audit

import (
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"liuhen/domain"
	"liuhen/eventstore"
)

// An envelope is what an audit looks at in a record: as little as will do, for it
// looks at every one.
type envelope struct {
	SpecVersion string        `json:"specversion"`
	ID          string        `json:"id"`
	Source      string        `json:"source"`
	Type        string        `json:"type"`
	Subject     string        `json:"subject"`
	Time        time.Time     `json:"time"`
	Recorded    time.Time     `json:"recordedtime"`
	Revision    int           `json:"caserevision"`
	Previous    domain.Digest `json:"previousdigest"`
	Command     string        `json:"commandid"`
}

// parseEnvelope reads a record as strictly as domain.Read does, but for what the
// act itself says.
func parseEnvelope(data []byte) (e envelope, err error) {
	if err := json.Unmarshal(data, &e); err != nil {
		return e, err
	}
	procedure, act, _ := strings.Cut(e.Type, ".")
	switch {
	case e.SpecVersion != "1.0":
		return e, fmt.Errorf("specversion is %q", e.SpecVersion)
	case e.ID == "" || e.Source == "" || e.Subject == "" || e.Command == "" || procedure == "" || act == "":
		return e, fmt.Errorf("id %q, source %q, type %q, subject %q, commandid %q: none may be missing", e.ID, e.Source, e.Type, e.Subject, e.Command)
	case e.Revision < 1 || e.Time.IsZero() || e.Recorded.IsZero():
		return e, fmt.Errorf("caserevision %d, time %s, recordedtime %s", e.Revision, e.Time, e.Recorded)
	}
	return e, nil
}

// under is the subject that the record must be kept under.
func (e *envelope) under() string {
	procedure, _, _ := strings.Cut(e.Type, ".")
	return domain.Subject(strings.TrimPrefix(e.Source, "/agencies/"), procedure, domain.CaseID(e.Subject))
}

// A Tolerance is how far clocks may be apart before that is a fault.
type Tolerance struct {
	// Before is how long before it was stored a record may say that it was made:
	// it is judged, waits for its group and perhaps for a writer.
	Before time.Duration
	// After is how long after: the clock of a process may be ahead of the store's.
	After time.Duration
	// Back is how far the store's own clock may go back from one record to the next.
	Back time.Duration
}

// DefaultTolerance is generous to bulk imports, which are judged in groups, and to
// clocks that are set.
var DefaultTolerance = Tolerance{Before: 10 * time.Minute, After: 2 * time.Minute, Back: 2 * time.Minute}

// look holds a record against itself and the place where it stands.
func (t Tolerance) look(r *eventstore.Record) (e envelope, found *Fault) {
	e, err := parseEnvelope(r.Data)
	at := uint64(r.Position)
	if err != nil {
		return e, foundForeign(at, r.Name(), err)
	}
	if want := e.under(); want != r.Stream {
		return e, foundElsewhere(at, e.Subject)
	}
	if e.Recorded.Before(r.At.Add(-t.Before)) || e.Recorded.After(r.At.Add(t.After)) {
		return e, foundDated(at, e.Subject, e.Recorded, r.At)
	}
	return e, nil
}
