package api

import (
	"context"
	"errors"
	"strconv"
	"time"

	"liuhen/identity"
	"liuhen/reactions"
)

// Reactions are what must happen because something was recorded; a
// *reactions.Runner is one.
type Reactions interface {
	// Measure makes Status fresh.
	Measure(ctx context.Context) error
	Status() []reactions.Status
	TickStatus() []reactions.TickStatus
	SetAside(ctx context.Context, closed bool) ([]reactions.Aside, error)
	Retry(ctx context.Context, id, by string) (reactions.Aside, error)
	Drop(ctx context.Context, id, by, why string) (reactions.Aside, error)
}

type reactionsOutput struct {
	Body struct {
		Items []reactions.Status `json:"items"`
		Ticks []tickItem         `json:"ticks" doc:"What is done from time to time"`
	}
}

// A tickItem is a TickStatus with its interval in seconds.
type tickItem struct {
	reactions.TickStatus
	Every float64 `json:"every_seconds" doc:"Between the end of one and the begin of the next"`
}

func (s *server) listReactions(ctx context.Context, _ *struct{}) (*reactionsOutput, error) {
	if err := s.allow(ctx, identity.ReadReactions, identity.TheSystem()); err != nil {
		return nil, err
	}
	if err := s.Reactions.Measure(ctx); err != nil {
		s.Logger.WarnContext(ctx, "positions of reactions", "error", err) // what is known is shown
	}
	out := &reactionsOutput{}
	out.Body.Items = s.Reactions.Status()
	out.Body.Ticks = []tickItem{}
	for _, t := range s.Reactions.TickStatus() {
		out.Body.Ticks = append(out.Body.Ticks, tickItem{TickStatus: t, Every: t.Every.Seconds()})
	}
	return out, nil
}

type setAsideInput struct {
	Closed bool `query:"closed" doc:"Also those that were retried or dropped"`
}

type setAsideOutput struct {
	Body struct {
		Items []reactions.Aside `json:"items"`
	}
}

func (s *server) setAside(ctx context.Context, in *setAsideInput) (*setAsideOutput, error) {
	if err := s.allow(ctx, identity.ReadReactions, identity.TheSystem()); err != nil {
		return nil, err
	}
	list, err := s.Reactions.SetAside(ctx, in.Closed)
	if err != nil {
		return nil, err
	}
	out := &setAsideOutput{}
	if out.Body.Items = list; list == nil {
		out.Body.Items = []reactions.Aside{}
	}
	return out, nil
}

type retryInput struct {
	ID string `path:"id" maxLength:"64" doc:"As the list has it"`
}

type asideOutput struct {
	Body reactions.Aside
}

func (s *server) retry(ctx context.Context, in *retryInput) (*asideOutput, error) {
	if err := s.allow(ctx, identity.ManageReactions, identity.TheSystem()); err != nil {
		return nil, err
	}
	entry, err := s.Reactions.Retry(ctx, in.ID, about(ctx).actor.Person)
	if err != nil {
		return nil, asideProblem(ctx, err)
	}
	return &asideOutput{Body: entry}, nil
}

type dropInput struct {
	ID   string `path:"id" maxLength:"64" doc:"As the list has it"`
	Body struct {
		Reason string `json:"reason" minLength:"1" maxLength:"2000" doc:"Why the record needs no reaction; it is kept"`
	}
}

func (s *server) drop(ctx context.Context, in *dropInput) (*asideOutput, error) {
	if err := s.allow(ctx, identity.ManageReactions, identity.TheSystem()); err != nil {
		return nil, err
	}
	entry, err := s.Reactions.Drop(ctx, in.ID, about(ctx).actor.Person, in.Body.Reason)
	if err != nil {
		return nil, asideProblem(ctx, err)
	}
	return &asideOutput{Body: entry}, nil
}

// asideProblem answers for what can be wrong with one that is set aside; a fault
// goes to the table of errors.
func asideProblem(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, reactions.ErrNoAside):
		return problem(ctx, "not-found", "没有以此编号搁置的记录", "no record is set aside under this id")
	case errors.Is(err, reactions.ErrClosedAside):
		return problem(ctx, "not-waiting", "该记录已重试成功或者已作放弃处理", "the record was retried or dropped before")
	case errors.Is(err, reactions.ErrStillFails):
		return problem(ctx, "still-fails", "重试仍未成功："+err.Error(), err.Error())
	case errors.Is(err, reactions.ErrNoReaction):
		return problem(ctx, "not-waiting", "程序中已无此反应；请说明理由后放弃", err.Error())
	case errors.Is(err, reactions.ErrNoReason):
		p := problem(ctx, "malformed", "放弃须说明理由", "a record is dropped with a reason")
		p.Errors = []FieldError{{Location: "body.reason", Message: p.Detail}}
		return p
	}
	return err
}

// standsFor is from when on a reaction that stands still is told by /readyz: a
// moment's fault is none.
const standsFor = 30 * time.Second

// StandingReactions says which reactions have stood still for a while, a sentence
// each. Why is for who may read it: GET /v1/reactions.
func StandingReactions(list []reactions.Status, now time.Time) []string {
	var reasons []string
	for _, r := range list {
		if len(r.Standing) > 0 && now.Sub(r.Standing[0].Since) > standsFor {
			s := r.Standing[0]
			reasons = append(reasons, "reaction "+r.Name+" stands still at position "+strconv.FormatUint(s.Position, 10)+" since "+s.Since.UTC().Format(time.RFC3339)+"; see: liuhen reactions")
		}
	}
	return reasons
}
