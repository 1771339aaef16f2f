package identity

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	policytree "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

//go:embed policies
var shipped embed.FS

// An Action is something that a policy allows or forbids.
type Action string

// The actions; policies/liuhen.cedarschema says on what each is done.
const (
	OpenCase        Action = "open-case"
	RecordAct       Action = "record-act"
	ReadCase        Action = "read-case"
	ReadLedger      Action = "read-ledger"
	ReadDeadlines   Action = "read-deadlines"
	ReadFindings    Action = "read-findings"
	Export          Action = "export"
	ReadStats       Action = "read-stats"
	ReadAccessTrail Action = "read-access-trail"
	ReadLaw         Action = "read-law"
	TryLaw          Action = "try-law"
	Inspect         Action = "inspect"
	Import          Action = "import"
	Rebuild         Action = "rebuild"
	ManageTokens    Action = "manage-tokens"
	ReadReactions   Action = "read-reactions"
	ManageReactions Action = "manage-reactions"
)

// A Resource is what an action is done to. Make one with CaseOf, OfficeOf,
// TokenFor or TheSystem.
type Resource struct {
	kind   cedar.EntityType
	id     string
	first  string // agency, or the person of a token
	second string // procedure, or the role of a token
}

// CaseOf is a case of an agency under a procedure ("" where it does not
// matter); the id may be empty for one that is about to be opened.
func CaseOf(id, agency, procedure string) Resource {
	return Resource{kind: "Case", id: id, first: agency, second: procedure}
}

// OfficeOf is everything that an agency keeps; Everywhere stands for all
// agencies together.
func OfficeOf(agency string) Resource { return Resource{kind: "Office", id: agency, first: agency} }

// TokenFor is a token of a person in a role; both are empty for the list of
// all tokens.
func TokenFor(person string, role Role) Resource {
	return Resource{kind: "Token", id: person, first: person, second: string(role)}
}

// TheSystem is the program itself.
func TheSystem() Resource { return Resource{kind: "System", id: "liuhen"} }

func (r Resource) entity() cedar.Entity {
	e := cedar.Entity{UID: cedar.NewEntityUID(r.kind, cedar.String(r.id))}
	switch r.kind {
	case "Case":
		e.Attributes = cedar.NewRecord(cedar.RecordMap{"agency": cedar.String(r.first), "procedure": cedar.String(r.second)})
	case "Office":
		e.Attributes = cedar.NewRecord(cedar.RecordMap{"agency": cedar.String(r.first)})
	case "Token":
		e.Attributes = cedar.NewRecord(cedar.RecordMap{"person": cedar.String(r.first), "role": cedar.String(r.second)})
	}
	return e
}

// A Reason is the policy that decided, in a sentence.
type Reason struct {
	Policy string `json:"policy"` // its @id
	ZH     string `json:"zh"`
	EN     string `json:"en"`
}

// In returns the sentence in a language ("zh" or "en").
func (r Reason) In(lang string) string {
	if lang == "en" && r.EN != "" || r.ZH == "" {
		return r.EN
	}
	return r.ZH
}

// A Decision is the answer to "may they?". An allowed one names the policies
// that permit. A denied one names those that forbid, or, where none permits,
// those that would have, had their conditions been met: what they ask for is
// then what is missing. Where there is none of these either, the reason has
// no policy id and names the roles that may.
type Decision struct {
	Allowed bool
	Reasons []Reason
}

// Why is the reasons as one text.
func (d Decision) Why(lang string) string {
	parts := make([]string, len(d.Reasons))
	for i, r := range d.Reasons {
		parts[i] = r.In(lang)
	}
	if lang == "en" {
		return strings.Join(parts, "; ")
	}
	return strings.Join(parts, "；")
}

// Policies are compiled policies. They never change, so many may ask at once.
type Policies struct {
	actions map[Action]*actionPolicies
	fixed   cedar.EntityMap // actions and roles
}

// actionPolicies are the policies that can concern one action.
type actionPolicies struct {
	list     policyList
	scoped   policyList // the permits among them, reduced to whom they are about
	reasons  map[cedar.PolicyID]Reason
	eligible []Role // those that any of the permits is about
}

// A policyList keeps the order of the files, so that reasons come in that
// order too.
type policyList []struct {
	id     cedar.PolicyID
	policy *cedar.Policy
}

func (l policyList) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, p := range l {
			if !yield(p.id, p.policy) {
				return
			}
		}
	}
}

func (l *policyList) add(id cedar.PolicyID, p *cedar.Policy) {
	*l = append(*l, struct {
		id     cedar.PolicyID
		policy *cedar.Policy
	}{id, p})
}

// LoadPolicies compiles the policies that come with the program and those in
// an agency's own folders (files *.cedar at their root, may be nil). An
// agency's policies add to ours; a forbid of either wins. Each policy needs an
// annotation @id, unique among all, and @zh or @en that says it in a sentence.
// The error lists everything that is wrong, each with file and line.
func LoadPolicies(own ...fs.FS) (*Policies, error) {
	ours, err := fs.Sub(shipped, "policies")
	if err != nil {
		return nil, err
	}
	known, err := readSchema(ours)
	if err != nil {
		return nil, err
	}
	l := loader{schema: known, check: validate.New(known), seen: map[cedar.PolicyID]string{}}
	for _, fsys := range append([]fs.FS{ours}, own...) {
		if fsys != nil {
			l.folder(fsys)
		}
	}
	if len(l.wrong) > 0 {
		return nil, errors.Join(l.wrong...)
	}
	return l.compile(), nil
}

func readSchema(fsys fs.FS) (*resolved.Schema, error) {
	text, err := fs.ReadFile(fsys, "liuhen.cedarschema")
	if err != nil {
		return nil, err
	}
	var s schema.Schema
	s.SetFilename("liuhen.cedarschema")
	if err := s.UnmarshalCedar(text); err != nil {
		return nil, fmt.Errorf("policy schema: %w", err)
	}
	known, err := s.Resolve()
	if err != nil {
		return nil, fmt.Errorf("policy schema: %w", err)
	}
	return known, nil
}

type loader struct {
	schema   *resolved.Schema
	check    *validate.Validator
	seen     map[cedar.PolicyID]string // where each id was defined
	policies policyList
	reasons  []Reason // of policies, in the same order
	wrong    []error
}

func (l *loader) folder(fsys fs.FS) {
	names, err := fs.Glob(fsys, "*.cedar")
	if err != nil {
		l.wrong = append(l.wrong, err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			l.wrong = append(l.wrong, err)
			continue
		}
		list, err := cedar.NewPolicyListFromBytes(name, text)
		if err != nil {
			l.wrong = append(l.wrong, fmt.Errorf("%s: %w", name, err))
			continue
		}
		for _, p := range list {
			l.policy(p)
		}
	}
}

func (l *loader) policy(p *cedar.Policy) {
	where := fmt.Sprintf("%s:%d", p.Position().Filename, p.Position().Line)
	notes := p.Annotations()
	r := Reason{Policy: string(notes["id"]), ZH: string(notes["zh"]), EN: string(notes["en"])}
	id := cedar.PolicyID(r.Policy)
	switch before, twice := l.seen[id]; {
	case id == "":
		l.wrong = append(l.wrong, fmt.Errorf("%s: the policy has no @id", where))
	case twice:
		l.wrong = append(l.wrong, fmt.Errorf("%s: policy %s: the @id stands at %s too", where, id, before))
	case r.ZH == "" && r.EN == "":
		l.wrong = append(l.wrong, fmt.Errorf("%s: policy %s: wants @zh or @en, a sentence that says what it does", where, id))
	}
	l.seen[id] = where
	if err := l.check.Policy(r.Policy, (*ast.Policy)(p.AST())); err != nil {
		l.wrong = append(l.wrong, fmt.Errorf("%s: policy %s: %w", where, id, err))
	}
	l.policies.add(id, p)
	l.reasons = append(l.reasons, r)
}

// compile sorts the policies by the actions that they can concern.
func (l *loader) compile() *Policies {
	ps := &Policies{actions: map[Action]*actionPolicies{}, fixed: cedar.EntityMap{}}
	for uid, action := range l.schema.Actions {
		ps.fixed[uid] = action.Entity
	}
	for _, role := range Roles() {
		e := cedar.Entity{UID: role.uid()}
		if group := role.group(); group != "" {
			e.Parents = cedar.NewEntityUIDSet(group.uid())
			ps.fixed[group.uid()] = cedar.Entity{UID: group.uid()}
		}
		ps.fixed[role.uid()] = e
	}
	for uid, action := range l.schema.Actions {
		if action.AppliesTo == nil {
			continue // a group, like read-personal
		}
		ap := &actionPolicies{reasons: map[cedar.PolicyID]Reason{}}
		for i, p := range l.policies {
			if !ps.concerns(p.policy, uid) {
				continue
			}
			here := *(*ast.Policy)(p.policy.AST())
			here.Action = ast.Scope{}.All() // that the action is meant is settled
			ap.list.add(p.id, fromAST(&here))
			ap.reasons[p.id] = l.reasons[i]
			if here.Effect == ast.EffectPermit {
				scope := here
				scope.Resource, scope.Conditions = ast.Scope{}.All(), nil
				ap.scoped.add(p.id, fromAST(&scope))
			}
		}
		ap.eligible = ap.open(ps.fixed)
		ps.actions[Action(uid.ID)] = ap
	}
	return ps
}

func fromAST(p *ast.Policy) *cedar.Policy { return cedar.NewPolicyFromAST((*policytree.Policy)(p)) }

// open lists the roles that some permit for the action is about.
func (ap *actionPolicies) open(fixed cedar.EntityMap) []Role {
	var roles []Role
	for _, role := range Roles() {
		e := &entities{principal: Actor{Role: role}.entity(), fixed: fixed}
		for _, p := range ap.scoped {
			var one policyList
			one.add(p.id, p.policy)
			if ok, _ := cedar.Authorize(one, e, cedar.Request{Principal: e.principal.UID}); bool(ok) {
				roles = append(roles, role)
				break
			}
		}
	}
	return roles
}

// concerns reports whether a policy's scope includes an action.
func (ps *Policies) concerns(p *cedar.Policy, action cedar.EntityUID) bool {
	scope := *(*ast.Policy)(p.AST())
	scope.Effect, scope.Conditions = ast.EffectPermit, nil
	scope.Principal, scope.Resource = ast.Scope{}.All(), ast.Scope{}.All()
	var one policyList
	one.add("scope", fromAST(&scope))
	allowed, _ := cedar.Authorize(one, ps.fixed, cedar.Request{Action: action})
	return bool(allowed)
}

// entities are those that one question is about, besides the fixed ones.
type entities struct {
	principal, resource cedar.Entity
	fixed               cedar.EntityMap
}

func (r Role) uid() cedar.EntityUID { return cedar.NewEntityUID("Role", cedar.String(r)) }

// Get finds an entity for cedar.
func (e *entities) Get(uid cedar.EntityUID) (cedar.Entity, bool) {
	switch uid {
	case e.principal.UID:
		return e.principal, true
	case e.resource.UID:
		return e.resource, true
	}
	return e.fixed.Get(uid)
}

// prepared returns the actor with its entity made once for all questions to
// come. The actor's fields must not change afterwards.
func (a Actor) prepared() Actor {
	e := a.entity()
	a.known = &e
	return a
}

func (a Actor) entity() cedar.Entity {
	if a.known != nil {
		return *a.known
	}
	agencies := make([]cedar.Value, 0, len(a.Agencies))
	everywhere := false
	for _, code := range a.Agencies {
		everywhere = everywhere || code == Everywhere
		agencies = append(agencies, cedar.String(code))
	}
	return cedar.Entity{
		UID:     cedar.NewEntityUID("Person", cedar.String(a.Person)),
		Parents: cedar.NewEntityUIDSet(a.Role.uid()),
		Attributes: cedar.NewRecord(cedar.RecordMap{
			"id":         cedar.String(a.Person),
			"role":       cedar.String(a.Role),
			"agencies":   cedar.NewSet(agencies...),
			"everywhere": cedar.Boolean(everywhere),
		}),
	}
}

// Allow answers whether an actor may do an action to a resource. The purpose
// is what the actor stated as the reason of this request, or "". An action
// that is not in the schema is a bug and panics. A policy that cannot be
// evaluated denies, whatever the others say.
func (ps *Policies) Allow(a Actor, action Action, r Resource, purpose string) Decision {
	ap, ok := ps.actions[action]
	if !ok {
		panic("identity: no action " + string(action))
	}
	e := &entities{principal: a.entity(), resource: r.entity(), fixed: ps.fixed}
	req := cedar.Request{
		Principal: e.principal.UID,
		Action:    cedar.NewEntityUID("Action", cedar.String(action)),
		Resource:  e.resource.UID,
		Context:   contextOf(purpose),
	}
	allowed, diagnostic := cedar.Authorize(ap.list, e, req)
	d := Decision{Allowed: bool(allowed)}
	for _, fault := range diagnostic.Errors {
		d.Allowed = false
		d.Reasons = append(d.Reasons, Reason{
			Policy: string(fault.PolicyID),
			ZH:     fmt.Sprintf("策略 %s 无法求值：%s", fault.PolicyID, fault.Message),
			EN:     fmt.Sprintf("policy %s cannot be evaluated: %s", fault.PolicyID, fault.Message),
		})
	}
	if len(d.Reasons) > 0 {
		return d
	}
	for _, reason := range diagnostic.Reasons {
		d.Reasons = append(d.Reasons, ap.reasons[reason.PolicyID])
	}
	if !d.Allowed && len(d.Reasons) == 0 {
		d.Reasons = ap.missing(a, action, e, req)
	}
	return d
}

var noPurpose = cedar.NewRecord(cedar.RecordMap{"purpose": cedar.String("")})

func contextOf(purpose string) cedar.Record {
	if purpose == "" {
		return noPurpose
	}
	return cedar.NewRecord(cedar.RecordMap{"purpose": cedar.String(purpose)})
}

// missing explains a denial that no policy forbids: the permits that are
// about this actor, or, where there is none, that their role is not meant.
func (ap *actionPolicies) missing(a Actor, action Action, e *entities, req cedar.Request) []Reason {
	_, diagnostic := cedar.Authorize(ap.scoped, e, req)
	var reasons []Reason
	for _, reason := range diagnostic.Reasons {
		reasons = append(reasons, ap.reasons[reason.PolicyID])
	}
	if len(reasons) > 0 {
		return reasons
	}
	return []Reason{{
		ZH: fmt.Sprintf("角色 %s 不能进行 %s；可以的角色：%s", a.Role, action, words(ap.eligible, "、")),
		EN: fmt.Sprintf("the role %s may not do %s; roles that may: %s", a.Role, action, words(ap.eligible, ", ")),
	}}
}

// Agencies returns those of the actor's agencies in which they may do an
// action to an office, which is how a list is kept to what they may see. With
// asked not empty it is about that one agency. all says that no agency is
// excluded. Where there is no agency left, the decision tells why.
func (ps *Policies) Agencies(a Actor, action Action, asked, purpose string) (agencies []string, all bool, d Decision) {
	scope := a.Agencies
	if asked != "" {
		scope = []string{asked}
	}
	if len(scope) == 0 {
		return nil, false, ps.Allow(a, action, OfficeOf(""), purpose)
	}
	var denied Decision
	for _, agency := range scope {
		d := ps.Allow(a, action, OfficeOf(agency), purpose)
		switch {
		case !d.Allowed:
			denied = d
		case agency == Everywhere:
			return nil, true, d
		default:
			agencies = append(agencies, agency)
		}
	}
	if len(agencies) == 0 {
		return nil, false, denied
	}
	slices.Sort(agencies)
	return agencies, false, Decision{Allowed: true}
}

func words(roles []Role, between string) string {
	parts := make([]string, len(roles))
	for i, r := range roles {
		parts[i] = string(r)
	}
	return strings.Join(parts, between)
}
