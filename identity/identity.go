// Package identity knows who is asking and what they may do: roles, tokens,
// policies, and the trail of who looked at what. It knows no case and no act;
// what it decides on comes in as words.
package identity

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
)

// A Role is what a person or a program is in the office.
type Role string

// The roles. Which may do what is written in policies/*.cedar.
const (
	Officer       Role = "officer"        // 承办人员: handles cases
	Head          Role = "head"           // 机关负责人: approves and decides
	LegalReviewer Role = "legal-reviewer" // 法制审核人员: reviews before a decision
	Publisher     Role = "publisher"      // 公示人员: publishes, corrects and withdraws
	Supervisor    Role = "supervisor"     // 监督人员: watches over several agencies
	Inspector     Role = "inspector"      // 督察人员: like a supervisor, and sees who looked
	Administrator Role = "administrator"  // 系统管理员: runs the system, records nothing
	Importer      Role = "importer"       // a program that brings in logs of other systems
	System        Role = "system"         // a program of ours that acts on what was recorded
	Public        Role = "public"         // anybody
)

// Roles lists every role there is.
func Roles() []Role {
	return []Role{Officer, Head, LegalReviewer, Publisher, Supervisor, Inspector, Administrator, Importer, System, Public}
}

// Everywhere is the scope of an actor who is not bound to agencies.
const Everywhere = "*"

// An Actor is who asks: a person, or a program on behalf of one, in one role.
type Actor struct {
	Person   string // id of the person, as the trail names them
	Name     string // the person's name, frozen into what they record
	Role     Role
	Agencies []string // codes of the agencies they act for; Everywhere stands for all
	Token    string   // id of the token that they came with; not the token itself

	known *cedar.Entity // the actor as policies see them, where it has been made before
}

// Covers reports whether the actor acts for an agency. Codes are compared
// whole: no hierarchy is read out of their digits, for a code says nothing
// certain about who is whose superior. A superior's actor lists the agencies.
func (a Actor) Covers(agency string) bool {
	return slices.Contains(a.Agencies, agency) || slices.Contains(a.Agencies, Everywhere)
}

// Agency is the one agency that the actor acts for, and "" where there are
// several or none: then a new case must name its agency.
func (a Actor) Agency() string {
	if len(a.Agencies) != 1 || a.Agencies[0] == Everywhere {
		return ""
	}
	return a.Agencies[0]
}

// RecordsAs lists the roles of the law (the words in `by` of a procedure) in
// which the actor may record acts. A handler of one case may preside over or
// keep the minutes of another one's hearing; that the two are not the same
// person in one case is for the rules to judge (行政处罚法 第六十四条第四项).
// A reviewer is no handler, a head is no reviewer: who needs two roles holds
// two tokens, and the trail shows in which one they acted.
func (a Actor) RecordsAs() []string {
	switch a.Role {
	case Officer:
		return []string{"handler", "presider", "clerk"}
	case LegalReviewer:
		return []string{"legal-reviewer", "presider", "clerk"}
	case Head:
		return []string{"head"}
	case Publisher:
		return []string{"publisher"}
	case System:
		return []string{"system"}
	default:
		return nil
	}
}

// Groups of roles that policies can name.
const (
	caseworker Role = "caseworker" // who works on cases
	watcher    Role = "watcher"    // who watches over those who do
)

// group is the group that a role belongs to, or "".
func (r Role) group() Role {
	switch r {
	case Officer, Head, LegalReviewer, Publisher:
		return caseworker
	case Supervisor, Inspector:
		return watcher
	default:
		return ""
	}
}

// ParseScope reads a list of agency codes as people write it: "210100",
// "210100, 210200" or "*".
func ParseScope(s string) ([]string, error) {
	var agencies []string
	for code := range strings.SplitSeq(s, ",") {
		code = strings.TrimSpace(code)
		switch {
		case code == "":
			continue
		case len(code) > 64 || strings.ContainsAny(code, " .>/\\\"'\t\r\n") || code != Everywhere && strings.Contains(code, Everywhere):
			return nil, fmt.Errorf("agency %q: want a code of letters, digits, - and _, at most 64 bytes, or %s for all", code, Everywhere)
		case !slices.Contains(agencies, code):
			agencies = append(agencies, code)
		}
	}
	if len(agencies) > 1 && slices.Contains(agencies, Everywhere) {
		return []string{Everywhere}, nil
	}
	if len(agencies) > 500 {
		return nil, fmt.Errorf("%d agencies: at most 500 in one scope", len(agencies))
	}
	return agencies, nil
}
