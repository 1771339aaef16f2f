package domain

import (
	"maps"
	"slices"

	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

// RegisterProcedure is the procedure whose cases are the officers: one case a
// person, with the certificates as they were issued, suspended and ended
// (domain/law/officer.yaml).
const RegisterProcedure = "officer"

// A Register is the roster as the log has it at a position: who was qualified
// on a day follows from what is recorded of the officer's certificates. It is
// a value: With makes the next one. Officers whom the log does not know are
// looked up in what it stands on, a RosterFile or nothing.
type Register struct {
	at      uint64
	below   *RosterFile
	files   map[CaseID]*officerFile
	persons map[string]*officerFile
}

// NewRegister returns the register of an empty log. below may be nil.
func NewRegister(below *RosterFile) *Register { return &Register{below: below} }

// With returns the register after one more record, which may be of any
// procedure, and may have been taken in before.
func (g *Register) With(r Recorded) *Register {
	next := *g
	next.at = max(g.at, r.Position)
	if r.Procedure() != RegisterProcedure {
		return &next
	}
	var file officerFile
	if known := g.files[r.Subject]; known != nil {
		file = *known
	}
	if r.Revision != file.revision+1 {
		return &next
	}
	file.revision++
	file.take(r.Step())
	next.files = maps.Clone(g.files)
	if next.files == nil {
		next.files = make(map[CaseID]*officerFile)
	}
	next.files[r.Subject] = &file
	next.persons = make(map[string]*officerFile, len(next.files))
	for _, f := range next.files {
		if f.officer.ID != "" {
			next.persons[f.officer.ID] = f
		}
	}
	return &next
}

// UpTo returns the register at a later position, up to which no record was of
// its procedure.
func (g *Register) UpTo(position uint64) *Register {
	next := *g
	next.at = max(g.at, position)
	return &next
}

// At is the position of the last record that was taken in.
func (g *Register) At() uint64 { return g.at }

// Known reports whether it knows anybody. Where it does not, what commands say
// of officers is taken as it is.
func (g *Register) Known() bool { return len(g.persons) > 0 || g.below != nil }

// Officer returns the officer with the certificate that was valid on a day;
// where none was, with the one that had ended last, or begins next.
func (g *Register) Officer(id string, on calendar.Date) (rulebook.Officer, bool) {
	if f, ok := g.persons[id]; ok {
		return f.officer.on(on), true
	}
	if g.below != nil {
		return g.below.Officer(id, on)
	}
	return rulebook.Officer{}, false
}

// officerFile is one officer's case.
type officerFile struct {
	revision int
	steps    []rulebook.Step // those not corrected, each correction in the place of what it corrects
	officer  rosterOfficer
}

// take adds a step and reads the file anew: it is short, and a correction may
// change what followed.
func (f *officerFile) take(s rulebook.Step) {
	f.steps = slices.Clone(f.steps)
	place := slices.IndexFunc(f.steps, func(earlier rulebook.Step) bool { return earlier.Event == s.Corrects })
	if s.Corrects != "" && place >= 0 {
		f.steps[place] = s
	} else {
		f.steps = append(f.steps, s)
	}
	f.officer = rosterOfficer{}
	var suspended []interval
	for _, s := range f.steps {
		suspended = f.read(s, suspended)
	}
	for _, gap := range suspended {
		f.officer.Certificates = without(f.officer.Certificates, gap)
	}
}

// interval is from one day to another, both included; a zero to is open.
type interval struct{ from, to calendar.Date }

// read applies one act. The names are those of domain/law/officer.yaml.
func (f *officerFile) read(s rulebook.Step, suspended []interval) []interval {
	o := &f.officer
	text := func(field string) string { v, _ := s.Fields[field].(string); return v }
	day := func(field string) calendar.Date {
		d, _ := calendar.ParseDate(text(field)) // zero where there is none
		return d
	}
	last := func() rosterCertificate {
		if n := len(o.Certificates); n > 0 {
			return o.Certificates[n-1]
		}
		return rosterCertificate{}
	}
	switch s.Act {
	case "enrol-officer":
		o.ID, o.Name = text("person"), text("full_name")
	case "issue-certificate":
		if card := text("card"); card != "" && card != "enforcement" {
			return suspended // a certificate of supervision does not allow enforcement
		}
		o.Certificates = append(o.Certificates, rosterCertificate{
			Number: text("certificate_no"), From: day("valid_from"), To: day("valid_to"), Field: text("category"), Area: text("area"),
		})
	case "renew-certificate":
		c := last()
		c.Number, c.From, c.To = text("certificate_no"), day("valid_from"), day("valid_to")
		o.Certificates = append(o.Certificates, c)
	case "change-certificate":
		c, from := last(), day("changed_from")
		o.end(from.AddDays(-1))
		c.From = from
		if v := text("category"); v != "" {
			c.Field = v
		}
		if v := text("area"); v != "" {
			c.Area = v
		}
		o.Certificates = append(o.Certificates, c)
	case "suspend-certificate":
		suspended = append(suspended, interval{day("suspended_from"), day("suspended_to")})
	case "resume-certificate":
		if n := len(suspended); n > 0 {
			suspended[n-1].to = day("resumed_from").AddDays(-1)
		}
	case "revoke-certificate":
		o.end(day("revoked_on").AddDays(-1))
	case "transfer-officer":
		if stays, _ := s.Fields["enforcement_post"].(bool); !stays {
			o.end(day("transferred_on"))
		}
	case "leave-post":
		o.end(day("left_on"))
	case "cancel-certificate":
		o.end(day("handed_in_on"))
	}
	return suspended
}

// end lets no certificate be valid after a day.
func (o *rosterOfficer) end(on calendar.Date) {
	var kept []rosterCertificate
	for _, c := range o.Certificates {
		if c.To.After(on) {
			c.To = on
		}
		if !c.To.Before(c.From) {
			kept = append(kept, c)
		}
	}
	o.Certificates = kept
}

// without takes the days of a gap out of certificates.
func without(certificates []rosterCertificate, gap interval) []rosterCertificate {
	var out []rosterCertificate
	add := func(c rosterCertificate) {
		if !c.To.Before(c.From) {
			out = append(out, c)
		}
	}
	for _, c := range certificates {
		before, after := c, c
		if end := gap.from.AddDays(-1); before.To.After(end) {
			before.To = end
		}
		add(before)
		if gap.to.IsZero() {
			continue
		}
		if begin := gap.to.AddDays(1); after.From.Before(begin) {
			after.From = begin
		}
		add(after)
	}
	return out
}
