package bundle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"liuhen/domain"
	"liuhen/eventstore"
	"liuhen/internal/checkpoint"
	"liuhen/transparency"
	"liuhen/transparency/attest"
)

// A Log is the log of proofs as far as bundles ask it; *transparency.Log is one.
type Log interface {
	Heads(ctx context.Context, cases []string, least eventstore.Position) ([]transparency.CaseHead, error)
	Wait(ctx context.Context, size int64) (transparency.Checkpoint, error)
	Cosigned(ctx context.Context) (transparency.Checkpoint, error)
	ProveUnder(c transparency.Checkpoint, positions []uint64) ([]transparency.Inclusion, error)
	Consistency(old, size int64) (tlog.TreeProof, error)
	History() *transparency.History
}

// Collect takes from the log what a bundle of some cases needs: their heads, all
// under one checkpoint, and who has vouched for that one or a later one. It waits
// until the log is sealed at a position at least, and then, where witnesses have
// cosigned before, so long for them to cosign again.
func Collect(ctx context.Context, l Log, cases []domain.CaseID, least uint64, wait time.Duration) (Evidence, error) {
	var e Evidence
	names := make([]string, len(cases))
	for i, id := range cases {
		names[i] = string(id)
	}
	var err error
	if e.Settings, err = l.History().Settings(ctx); err != nil {
		return e, err
	}
	if e.Heads, err = l.Heads(ctx, names, eventstore.Position(least)); err != nil {
		return e, err
	}
	if len(e.Heads) == 0 {
		return e, errors.New("bundle: there are no cases")
	}
	// The checkpoint of the heads, not the newest: the log may have gone on.
	note := e.Heads[0].Inclusion.Checkpoint
	c, err := checkpoint.Peek(note)
	if err != nil {
		return e, err
	}
	e.Checkpoint = transparency.Checkpoint{Origin: c.Origin, Size: c.Size, Root: c.Root, Note: note}
	rotations, err := l.History().Of(ctx, transparency.KindRotation)
	if err != nil {
		return e, err
	}
	for _, r := range rotations {
		e.Rotations = append(e.Rotations, r.Data)
	}
	if e.Cosigned, err = cosigned(ctx, l, e.Checkpoint, wait); err != nil {
		return e, err
	}
	e.Stamped, err = stamped(ctx, l, e.Checkpoint)
	return e, err
}

// asking is how often the log is asked whether witnesses have cosigned.
const asking = 100 * time.Millisecond

func cosigned(ctx context.Context, l Log, c transparency.Checkpoint, wait time.Duration) (*Later, error) {
	wanted := time.NewTimer(wait)
	defer wanted.Stop()
	tick := time.NewTicker(asking)
	defer tick.Stop()
	for {
		got, err := l.Cosigned(ctx)
		switch {
		case errors.Is(err, transparency.ErrNone): // there are no witnesses
			return nil, nil //nolint:nilnil // none is no error
		case err != nil:
			return nil, err
		case got.Size >= c.Size:
			return later(l, c, got.Size, got.Note, nil)
		}
		select {
		case <-tick.C:
		case <-wanted.C:
			return nil, nil //nolint:nilnil // likewise: the bundle is made without
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func stamped(ctx context.Context, l Log, c transparency.Checkpoint) (*Later, error) {
	e, err := l.History().Last(ctx, transparency.KindTimestamp)
	if errors.Is(err, transparency.ErrNone) {
		return nil, nil //nolint:nilnil // none is no error
	}
	if err != nil {
		return nil, err
	}
	var s attest.Stamped
	if err := json.Unmarshal(e.Data, &s); err != nil {
		return nil, fmt.Errorf("entry %d of the history of the log: %w", e.Seq, err)
	}
	if s.Size < c.Size {
		return nil, nil //nolint:nilnil // it says nothing of the last records
	}
	return later(l, c, s.Size, []byte(s.Checkpoint), s.Token)
}

func later(l Log, c transparency.Checkpoint, size int64, note, token []byte) (*Later, error) {
	grown := &Later{Note: note, Token: token}
	if size == c.Size {
		return grown, nil
	}
	var err error
	if grown.Consistency, err = l.Consistency(c.Size, size); err != nil {
		return nil, err
	}
	return grown, nil
}
