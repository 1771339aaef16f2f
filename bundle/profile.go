package bundle

import (
	"bytes"
	_ "embed"
	"fmt"
	"slices"

	"github.com/goccy/go-yaml"

	"liuhen/domain"
	"liuhen/domain/rulebook"
)

//go:embed profiles.yaml
var shippedProfiles []byte

// A Profile says which records of a case a bundle shows. The zero Profile shows
// none.
type Profile struct {
	Name      rulebook.Text       `yaml:"name"`
	All       bool                `yaml:"all"`        // every record
	Acts      map[string][]string `yaml:"acts"`       // procedure → acts that are shown
	Addressee string              `yaml:"addressee"`  // field of those acts that must hold the reader's name; empty: none must
	NamesActs bool                `yaml:"names_acts"` // whether the acts of records that are not shown are named
}

// ReadProfiles reads profiles as profiles.yaml has them, by their codes.
func ReadProfiles(text []byte) (map[string]Profile, error) {
	var all map[string]Profile
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&all); err != nil {
		return nil, fmt.Errorf("profiles of bundles: %w", err)
	}
	for code, p := range all {
		if p.All && (len(p.Acts) > 0 || p.Addressee != "") {
			return nil, fmt.Errorf("profiles of bundles: %s: it shows all, so that its acts and its addressee mean nothing", code)
		}
	}
	return all, nil
}

// Profiles are those that the program ships with: full, party, public.
func Profiles() map[string]Profile {
	all, err := ReadProfiles(shippedProfiles)
	if err != nil {
		panic("bundle: " + err.Error()) // our own file, which a test reads
	}
	return all
}

// NeedsReader says whether what is shown depends on who reads.
func (p Profile) NeedsReader() bool { return p.Addressee != "" }

// Shows says whether a reader of that name sees a record. It is safe where it does
// not know: a procedure or an act that is not listed is not shown, and neither is
// a record whose addressee is somebody else or is written otherwise.
func (p Profile) Shows(r *domain.Recorded, reader string) bool {
	if p.All {
		return true
	}
	if !slices.Contains(p.Acts[r.Procedure()], r.Act()) {
		return false
	}
	if p.Addressee == "" {
		return true
	}
	name, ok := r.Data.Fields[p.Addressee].(string)
	return ok && reader != "" && name == reader
}
