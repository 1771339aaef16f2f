package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"liuhen/internal/gather"
	"liuhen/projections"
)

// perGroup is how many looks are kept with one append at most.
const perGroup = 500

// A Trail keeps who looked at what, as many looks with one append as come
// while the one before is under way: a quiet office pays one append a look, a
// busy one hardly more in all.
type Trail struct {
	looks gather.Group[*[]byte, struct{}] // by address: two equal looks are two
}

// NewTrail returns a trail that keeps looks by keep, which must have them on
// disk when it returns nil, all or none, and which is called from one
// goroutine at a time.
func NewTrail(keep func(ctx context.Context, data [][]byte) error) *Trail {
	return &Trail{looks: gather.Group[*[]byte, struct{}]{
		Max: perGroup,
		Do: func(ctx context.Context, looks []*[]byte) (map[*[]byte]struct{}, error) {
			data := make([][]byte, len(looks))
			for i, l := range looks {
				data[i] = *l
			}
			return nil, keep(ctx, data)
		},
	}}
}

// A Look is one reading of personal data as it is kept. Beside what the read
// model shows it holds what helps to follow it up.
//
// Agency is that of the case that was looked at; of a list, the one that it was
// asked for, and "*" for a list over several.
type Look struct {
	projections.Look
	Name    string `json:"name,omitempty"`    // of the person
	Token   string `json:"token,omitempty"`   // id of the token that the person came with
	Request string `json:"request,omitempty"` // id of the HTTP request
	Format  string `json:"format,omitempty"`  // csv where the whole filtered list was handed out
}

// Looked keeps a look and returns when it is on disk. Who shows personal data
// calls it before showing, and does not show where it fails: what is shown is
// in the trail. A look whose Looked failed may be in the trail all the same.
func (t *Trail) Looked(ctx context.Context, l Look) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(l); err != nil {
		return fmt.Errorf("access trail: %w", err)
	}
	data := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	if _, _, err := t.looks.Get(ctx, &data); err != nil {
		return fmt.Errorf("access trail: %w", err)
	}
	return nil
}
