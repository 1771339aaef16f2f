package api

import (
	"context"
	"time"

	"liuhen/identity"
)

// A TokenItem is what is told of a token; the secret is told once, when it is
// made.
type TokenItem struct {
	ID        string    `json:"id"`
	Label     string    `json:"label,omitempty"`
	Person    string    `json:"person"`
	Name      string    `json:"name"`
	Role      string    `json:"role"`
	Agencies  []string  `json:"agencies"`
	Created   time.Time `json:"created"`
	CreatedBy string    `json:"created_by"`
	Expires   time.Time `json:"expires,omitzero"`
	Revoked   time.Time `json:"revoked,omitzero"`
	RevokedBy string    `json:"revoked_by,omitempty"`
	LastUsed  time.Time `json:"last_used,omitzero" doc:"To the minute"`
}

func tokenItemOf(t identity.Token) TokenItem {
	item := TokenItem{
		ID: t.ID, Label: t.Label, Person: t.Actor.Person, Name: t.Actor.Name, Role: string(t.Actor.Role), Agencies: t.Actor.Agencies,
		Created: t.Created, CreatedBy: t.CreatedBy, Expires: t.Expires, Revoked: t.Revoked, RevokedBy: t.RevokedBy, LastUsed: t.LastUsed,
	}
	if item.Agencies == nil {
		item.Agencies = []string{}
	}
	return item
}

type issueInput struct {
	Body struct {
		Person  string    `json:"person" minLength:"1" doc:"Id of the person, or of the program"`
		Name    string    `json:"name,omitempty" doc:"Name of the person, frozen into what they record"`
		Role    string    `json:"role" enum:"officer,head,legal-reviewer,publisher,supervisor,inspector,administrator,importer,system,public"`
		Agency  string    `json:"agency,omitempty" doc:"Codes of the agencies they act for, separated by commas; * for all"`
		Label   string    `json:"label,omitempty" doc:"What the token is for"`
		Expires time.Time `json:"expires,omitempty" doc:"When it ends; never without it"`
	}
}

type issueOutput struct {
	Body struct {
		TokenItem
		Token string `json:"token" doc:"The token, shown this once"`
	}
}

func (s *server) issue(ctx context.Context, in *issueInput) (*issueOutput, error) {
	want := identity.NewToken{
		Label: in.Body.Label, Person: in.Body.Person, Name: in.Body.Name, Role: identity.Role(in.Body.Role), Expires: in.Body.Expires,
	}
	if err := s.allow(ctx, identity.ManageTokens, identity.TokenFor(want.Person, want.Role)); err != nil {
		return nil, err
	}
	var err error
	if want.Agencies, err = identity.ParseScope(in.Body.Agency); err != nil {
		return nil, &identity.InvalidToken{Field: "agency", ZH: "机关代码须为字母、数字、- 和 _，以逗号分隔，或 * 表示全部", EN: err.Error()}
	}
	secret, token, err := s.Tokens.Issue(ctx, about(ctx).actor, want)
	if err != nil {
		return nil, err
	}
	out := &issueOutput{}
	out.Body.TokenItem, out.Body.Token = tokenItemOf(token), secret
	return out, nil
}

type tokensOutput struct {
	Body struct {
		Items []TokenItem `json:"items"`
	}
}

func (s *server) tokens(ctx context.Context, _ *struct{}) (*tokensOutput, error) {
	if err := s.allow(ctx, identity.ManageTokens, identity.TokenFor("", "")); err != nil {
		return nil, err
	}
	list, err := s.Tokens.List(ctx)
	if err != nil {
		return nil, err
	}
	out := &tokensOutput{}
	out.Body.Items = make([]TokenItem, len(list))
	for i, t := range list {
		out.Body.Items[i] = tokenItemOf(t)
	}
	return out, nil
}

type revokeInput struct {
	ID string `path:"id" maxLength:"64"`
}

func (s *server) revoke(ctx context.Context, in *revokeInput) (*struct{}, error) {
	if err := s.allow(ctx, identity.ManageTokens, identity.TokenFor("", "")); err != nil {
		return nil, err
	}
	t, err := s.Tokens.Find(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	// Whoever may make a token like it may end it, their own too.
	if t.Actor.Person != about(ctx).actor.Person {
		if err := s.allow(ctx, identity.ManageTokens, identity.TokenFor(t.Actor.Person, t.Actor.Role)); err != nil {
			return nil, err
		}
	}
	return &struct{}{}, s.Tokens.Revoke(ctx, about(ctx).actor, in.ID)
}
