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
	folded
	below    *RosterFile
	officers map[CaseID]*officerFile
	persons  map[string][]*officerFile // by id, the file that was opened last at the end
}

// NewRegister returns the register of an empty log. below may be nil.
func NewRegister(below *RosterFile) *Register {
	return &Register{folded: folded{procedure: RegisterProcedure}, below: below}
}

// With returns the register after further records, in their order. They may be
// of any procedure, and may have been taken in before. It fails with ErrChain
// where one of an officer's records is missing.
func (g *Register) With(records ...Recorded) (*Register, error) {
	next := *g
	var changed []CaseID
	var err error
	if next.folded, changed, err = g.with(records...); err != nil {
		return nil, err
	}
	if len(changed) > 0 {
		if next.officers = maps.Clone(g.officers); next.officers == nil {
			next.officers = make(map[CaseID]*officerFile)
		}
		for _, id := range changed {
			next.officers[id] = readOfficer(next.files[id])
		}
		next.index()
	}
	return &next, nil
}

// index finds the officers' files by person.
func (g *Register) index() {
	g.persons = make(map[string][]*officerFile, len(g.officers))
	for _, f := range g.officers {
		if f.officer.ID != "" {
			g.persons[f.officer.ID] = append(g.persons[f.officer.ID], f)
		}
	}
	for _, files := range g.persons {
		slices.SortFunc(files, func(a, b *officerFile) int { return int(int64(a.opened) - int64(b.opened)) })
	}
}

// UpTo returns the register at a later position, up to which no record was of
// its procedure.
func (g *Register) UpTo(position uint64) *Register {
	next := *g
	next.folded = g.upTo(position)
	return &next
}

// At is the position of the last record that was taken in.
func (g *Register) At() uint64 { return g.at }

// Knows reports whether an agency's officers are in it: a certificate of one of
// them was recorded, or there is a file below.
func (g *Register) Knows(agency string) bool {
	if g.below != nil {
		return true
	}
	for _, f := range g.officers {
		if f.agency == agency && f.certified {
			return true
		}
	}
	return false
}

// Officer returns the officer with the certificate that was valid on a day;
// where none was, with the one that had ended last, or begins next. A file of
// the agency itself counts before one of another agency.
func (g *Register) Officer(agency, id string, on calendar.Date) (rulebook.Officer, bool) {
	files := g.persons[id]
	for _, f := range slices.Backward(files) {
		if f.agency == agency {
			return f.officer.on(on), true
		}
	}
	if g.below != nil {
		if o, ok := g.below.Officer(agency, id, on); ok {
			return o, true
		}
	}
	if len(files) > 0 {
		return files[len(files)-1].officer.on(on), true
	}
	return rulebook.Officer{}, false
}

// officerFile is one officer's case.
type officerFile struct {
	agency    string
	opened    uint64
	officer   rosterOfficer
	certified bool // a certificate was issued
}

// interval is from one day to another, both included; a zero to is open.
type interval struct{ from, to calendar.Date }

// A held certificate is one with the days on which it was suspended.
type held struct {
	rosterCertificate
	card      string // "" and enforcement allow enforcement; supervision does not
	suspended []interval
}

// readOfficer reads a file anew: it is short, and a correction may change what
// followed.
func readOfficer(of *file) *officerFile {
	f := &officerFile{agency: of.agency, opened: of.opened}
	var all []held
	for _, s := range of.steps {
		all = f.read(s, all)
	}
	for _, c := range all {
		if c.card != "" && c.card != "enforcement" {
			continue
		}
		f.certified = true
		f.officer.Certificates = append(f.officer.Certificates, c.valid()...)
	}
	return f
}

// read applies one act to the certificates. The names are those of
// domain/law/officer.yaml.
func (f *officerFile) read(s rulebook.Step, all []held) []held {
	text := func(field string) string { v, _ := s.Fields[field].(string); return v }
	day := func(field string) calendar.Date {
		d, _ := calendar.ParseDate(text(field)) // zero where there is none
		return d
	}
	var last held
	if n := len(all); n > 0 {
		last = all[n-1]
		last.suspended = slices.Clone(last.suspended)
	}
	switch s.Act {
	case "enrol-officer":
		f.officer.ID, f.officer.Name = text("person"), text("full_name")
	case "issue-certificate":
		return append(all, held{card: text("card"), rosterCertificate: rosterCertificate{
			Number: text("certificate_no"), From: day("valid_from"), To: day("valid_to"), Field: text("category"), Area: text("area"),
		}})
	case "renew-certificate":
		last.Number, last.From, last.To = text("certificate_no"), day("valid_from"), day("valid_to")
		return append(ended(all, last.From.AddDays(-1)), last)
	case "change-certificate":
		last.From = day("changed_from")
		if v := text("category"); v != "" {
			last.Field = v
		}
		if v := text("area"); v != "" {
			last.Area = v
		}
		return append(ended(all, last.From.AddDays(-1)), last)
	case "suspend-certificate":
		for i := range all {
			all[i].suspended = append(all[i].suspended, interval{day("suspended_from"), day("suspended_to")})
		}
	case "resume-certificate":
		until := day("resumed_from").AddDays(-1)
		for i := range all {
			for k, gap := range all[i].suspended {
				if gap.to.IsZero() || gap.to.After(until) { // it ends earlier, never later
					all[i].suspended[k].to = until
				}
			}
		}
	case "revoke-certificate":
		return ended(all, day("revoked_on").AddDays(-1))
	case "transfer-officer":
		if stays, _ := s.Fields["enforcement_post"].(bool); !stays {
			return ended(all, day("transferred_on"))
		}
	case "leave-post":
		return ended(all, day("left_on"))
	case "cancel-certificate":
		return ended(all, day("handed_in_on"))
	}
	return all
}

// ended lets no certificate be valid after a day.
func ended(all []held, on calendar.Date) []held {
	var kept []held
	for _, c := range all {
		if c.To.After(on) {
			c.To = on
		}
		if !c.To.Before(c.From) {
			kept = append(kept, c)
		}
	}
	return kept
}

// valid is the certificate without the days on which it was suspended: one for
// each stretch that is left.
func (c held) valid() []rosterCertificate {
	stretches := []rosterCertificate{c.rosterCertificate}
	for _, gap := range c.suspended {
		var left []rosterCertificate
		add := func(s rosterCertificate) {
			if !s.To.Before(s.From) {
				left = append(left, s)
			}
		}
		for _, s := range stretches {
			before, after := s, s
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
		stretches = left
	}
	return stretches
}
