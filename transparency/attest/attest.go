// Package attest has others vouch for a log's checkpoints: witnesses, who cosign
// that it only grew, and once a day an authority that stamps the time (RFC 3161).
// Neither is waited for: a witness that is down is told of, and asked again. A
// witness that has seen more than the log has, or something else, is an incident.
package attest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"liuhen/transparency"
	"liuhen/transparency/policy"
	"liuhen/transparency/timestamp"
	"liuhen/transparency/witness"
)

// Config says who is asked.
type Config struct {
	Log       *transparency.Log
	Witnesses []*witness.Client
	Authority *timestamp.Client // nil: none

	// Every is how often witnesses are asked while there are new checkpoints;
	// default 10 s.
	Every time.Duration
	// StampEvery is how old the newest stamp becomes before a checkpoint is stamped
	// again, if there is a newer one; default 24 h.
	StampEvery time.Duration

	Logger *slog.Logger
	Now    func() time.Time // nil: time.Now
}

// Clients are the witnesses of a policy that have an address: one a URL, with all
// their keys.
func Clients(p *policy.Policy) ([]*witness.Client, error) {
	var urls []string
	byURL := map[string][]string{}
	for _, w := range p.Witnesses {
		if w.URL == "" {
			continue // asked with a file that is carried
		}
		if byURL[w.URL] == nil {
			urls = append(urls, w.URL)
		}
		byURL[w.URL] = append(byURL[w.URL], w.Key)
	}
	clients := make([]*witness.Client, len(urls))
	for i, url := range urls {
		var err error
		if clients[i], err = witness.NewClient(url, byURL[url]...); err != nil {
			return nil, err
		}
	}
	return clients, nil
}

// Stamped is an entry of the history of kind KindTimestamp, as JSON.
type Stamped struct {
	Size       int64           `json:"size"`       // of the checkpoint
	Checkpoint string          `json:"checkpoint"` // the signed note that was stamped, byte for byte
	Token      []byte          `json:"token"`      // RFC 3161, DER
	Stamp      timestamp.Stamp `json:"stamp"`      // what it says
}

// An Attester has others vouch for a log.
type Attester struct {
	cfg Config

	mu     sync.Mutex // guards what follows
	status Status
}

// Status is who has vouched.
type Status struct {
	Witnesses []WitnessStatus `json:"witnesses,omitempty"`
	StampedAt time.Time       `json:"stamped_at,omitzero"` // by the authority
	Stamped   int64           `json:"stamped,omitempty"`   // size of the checkpoint
	StampWhy  string          `json:"stamp_error,omitempty"`
}

// WitnessStatus is one witness.
type WitnessStatus struct {
	Name     string    `json:"name"`
	Cosigned int64     `json:"cosigned"` // size of the newest checkpoint that it cosigned
	At       time.Time `json:"at,omitzero"`
	Why      string    `json:"error,omitempty"` // why it did not when it was last asked
}

// New returns an attester.
func New(c Config) *Attester {
	if c.Every == 0 {
		c.Every = 10 * time.Second
	}
	if c.StampEvery == 0 {
		c.StampEvery = 24 * time.Hour
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	a := &Attester{cfg: c}
	for _, w := range c.Witnesses {
		w.Log = c.Log.Keys() // what only the witness signed is no proof against the log
		a.status.Witnesses = append(a.status.Witnesses, WitnessStatus{Name: w.Name()})
	}
	return a
}

// Status returns who has vouched.
func (a *Attester) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.status
	s.Witnesses = append([]WitnessStatus(nil), s.Witnesses...)
	return s
}

// Run asks until ctx ends, and returns nil then. Only the process that seals asks.
func (a *Attester) Run(ctx context.Context) error {
	if len(a.cfg.Witnesses) == 0 && a.cfg.Authority == nil {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(a.cfg.Every)
	defer tick.Stop()
	for {
		if err := a.Once(ctx); err != nil && ctx.Err() == nil {
			a.cfg.Logger.Warn("what others vouch for could not be kept", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Once asks everybody once, if there is something to ask.
func (a *Attester) Once(ctx context.Context) error {
	c := a.cfg.Log.Checkpoint()
	if c.Size == 0 || !a.cfg.Log.Sealing() {
		return nil
	}
	return errors.Join(a.cosign(ctx, c), a.stamp(ctx, c))
}

// cosign asks the witnesses who have not cosigned a checkpoint yet.
func (a *Attester) cosign(ctx context.Context, c transparency.Checkpoint) error {
	status := a.Status()
	var asked []*witness.Client
	var which []int
	for i, w := range a.cfg.Witnesses {
		if status.Witnesses[i].Cosigned != c.Size || status.Witnesses[i].Why != "" {
			asked, which = append(asked, w), append(which, i)
		}
	}
	if len(asked) == 0 {
		return nil
	}
	var lines []note.Signature
	for k, answer := range witness.CosignAll(ctx, asked, c.Note, a.cfg.Log.Consistency) {
		if answer.Err != nil {
			a.judge(ctx, answer)
		}
		lines = append(lines, answer.Signatures...)
		a.mu.Lock()
		w := &a.status.Witnesses[which[k]]
		if w.Why = ""; answer.Err != nil {
			w.Why = answer.Err.Error()
		} else {
			w.Cosigned, w.At = c.Size, a.cfg.Now()
		}
		a.mu.Unlock()
	}
	if len(lines) == 0 {
		return nil
	}
	return a.keep(ctx, c, lines)
}

// keep writes cosignatures into the history, with those that the same checkpoint
// has already.
func (a *Attester) keep(ctx context.Context, c transparency.Checkpoint, lines []note.Signature) error {
	signed := c.Note
	have, err := a.cfg.Log.Cosigned(ctx)
	if err == nil && have.Size == c.Size {
		signed = have.Note
	} else if err != nil && !errors.Is(err, transparency.ErrNone) {
		return err
	}
	cosigned, err := witness.Attach(signed, lines)
	if err != nil {
		return err
	}
	kind := transparency.KindCosigned
	if have.Size > c.Size { // it does not go back
		kind = transparency.KindCarried
	}
	_, err = a.cfg.Log.History().Add(ctx, kind, cosigned)
	return err
}

// Carry takes in what came back from a witness without a network.
func (a *Attester) Carry(ctx context.Context, carried []byte, vkeys ...string) (int64, error) {
	c, lines, err := witness.Import(carried, vkeys...)
	if err != nil {
		return 0, err
	}
	if origin := a.cfg.Log.Status().Origin; c.Origin != origin {
		return 0, fmt.Errorf("the carried checkpoint is of the log %q, not of %q", c.Origin, origin)
	}
	signed, err := a.cfg.Log.CheckpointAt(ctx, c.Size)
	if err != nil {
		return 0, err
	}
	if signed.Root != c.Root {
		return 0, fmt.Errorf("the carried checkpoint of %d records has another root than the one that the log signed; is it signed by the log? then that is proof of two truths: keep it", c.Size)
	}
	return c.Size, a.keep(ctx, signed, lines)
}

// judge looks at why a witness did not cosign: it may be proof of loss.
func (a *Attester) judge(ctx context.Context, answer witness.Answer) {
	var more *witness.SeenMoreError
	var forked *witness.ForkedError
	switch {
	case errors.As(answer.Err, &more) && more.Checkpoint != nil:
		// Another process may have sealed since this one last heard of it.
		newest, err := a.cfg.Log.Newest(ctx)
		if err != nil || more.Size <= newest.Size {
			return
		}
		a.cfg.Log.Report("lost records", fmt.Sprintf("the witness %s has cosigned the log at %d records, the log itself ends with a checkpoint of %d: records that were acknowledged are missing",
			more.Witness, more.Size, newest.Size), string(more.Checkpoint), string(newest.Note))
	case errors.As(answer.Err, &forked) && forked.Checkpoint != nil:
		a.cfg.Log.Report("two truths", fmt.Sprintf("the witness %s has cosigned %d records of this log with another root: the log, or its record, was replaced",
			forked.Witness, forked.Size), string(forked.Checkpoint), string(a.cfg.Log.Checkpoint().Note))
	default: // it is down, or says so without proof: told in the status
		a.cfg.Logger.Info("a witness did not cosign", "witness", answer.Witness, "err", answer.Err)
	}
}

// stamp has a checkpoint stamped when the newest stamp is old.
func (a *Attester) stamp(ctx context.Context, c transparency.Checkpoint) error {
	if a.cfg.Authority == nil {
		return nil
	}
	last, err := a.lastStamp(ctx)
	if err != nil {
		return err
	}
	if last.Size == c.Size || last.Size > 0 && a.cfg.Now().Sub(last.Stamp.Time) < a.cfg.StampEvery {
		a.stamped(last, nil)
		return nil
	}
	token, s, err := a.cfg.Authority.Stamp(ctx, c.Note)
	if err != nil {
		a.stamped(last, err)
		return nil // told in the status; asked again
	}
	last = Stamped{Size: c.Size, Checkpoint: string(c.Note), Token: token, Stamp: s}
	text, err := json.Marshal(last)
	if err != nil {
		return err
	}
	if _, err := a.cfg.Log.History().Add(ctx, transparency.KindTimestamp, text); err != nil {
		return err
	}
	a.stamped(last, nil)
	return nil
}

func (a *Attester) lastStamp(ctx context.Context) (Stamped, error) {
	e, err := a.cfg.Log.History().Last(ctx, transparency.KindTimestamp)
	if errors.Is(err, transparency.ErrNone) {
		return Stamped{}, nil
	}
	if err != nil {
		return Stamped{}, err
	}
	var s Stamped
	if err := json.Unmarshal(e.Data, &s); err != nil {
		return Stamped{}, fmt.Errorf("entry %d of the history of the log: %w", e.Seq, err)
	}
	return s, nil
}

func (a *Attester) stamped(s Stamped, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status.Stamped, a.status.StampedAt, a.status.StampWhy = s.Size, s.Stamp.Time, ""
	if err != nil {
		a.status.StampWhy = err.Error()
	}
}
