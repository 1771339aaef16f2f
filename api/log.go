package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"liuhen/bundle"
	"liuhen/domain"
	"liuhen/eventstore"
	"liuhen/identity"
	"liuhen/transparency"
)

// Proofs are the log of proofs; *transparency.Log is one.
type Proofs interface {
	bundle.Log
	Checkpoint() transparency.Checkpoint
	Tile(path string) ([]byte, error)
	Prove(ctx context.Context, p eventstore.Position) (transparency.Inclusion, error)
	Status() transparency.Status
}

// sealedFor is from when on a log that has records to seal and does not is told by
// /readyz.
const sealedFor = 30 * time.Second

// StandingLog says why the log of proofs does not go on, if it does not.
func StandingLog(s transparency.Status, now time.Time) []string {
	switch {
	case s.Incident != "":
		return nil // it has stopped writing, which is told as such
	case s.Standing != "":
		return []string{"the log of proofs stands still: " + s.Standing}
	case s.Integrated > s.Size && now.Sub(s.SealedAt) > sealedFor:
		return []string{fmt.Sprintf("the log of proofs is sealed at %d of %d records since %s; some process must have its keys",
			s.Size, s.Integrated, s.SealedAt.UTC().Format(time.RFC3339))}
	}
	return nil
}

// logRoutes are those of the log as C2SP tlog-tiles has them, below /log, and what
// a reader needs beside. They are public, for there is nothing in them but digests.
func (s *server) logRoutes(mux *http.ServeMux) {
	if s.Log == nil {
		return
	}
	mux.HandleFunc("GET /log/checkpoint", s.serveCheckpoint)
	mux.HandleFunc("GET /log/cosigned", s.few(s.serveCosigned))
	mux.HandleFunc("GET /log/tile/{path...}", s.serveTile)
	mux.HandleFunc("GET /log/keys", s.few(s.serveKeys))
	mux.HandleFunc("GET /log/history", s.few(s.serveHistory))
}

// fewAtOnce is how many callers may at once ask for what the store must be asked
// for: nobody need identify themselves, and the store has acts to keep.
const fewAtOnce = 4

// few turns callers away while others are served.
func (s *server) few(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.asking <- struct{}{}:
			defer func() { <-s.asking }()
			serve(w, r)
		default:
			w.Header().Set("Retry-After", "1")
			write(w, problem(r.Context(), "busy", "正在答复他人，请稍后再试", "others are being served; try again shortly"))
		}
	}
}

// serveCheckpoint is the newest checkpoint, a signed note.
func (s *server) serveCheckpoint(w http.ResponseWriter, r *http.Request) {
	c := s.Log.Checkpoint()
	if c.Note == nil {
		w.Header().Set("Retry-After", "1")
		write(w, problem(r.Context(), "not-found", "尚无已签名的检查点", "nothing was signed yet"))
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=1")
	_, _ = w.Write(c.Note)
}

// serveCosigned is the newest checkpoint that witnesses have cosigned, with their
// signatures: a little older than the newest.
func (s *server) serveCosigned(w http.ResponseWriter, r *http.Request) {
	c, err := s.Log.Cosigned(r.Context())
	switch {
	case errors.Is(err, transparency.ErrNone):
		write(w, problem(r.Context(), "not-found", "尚无见证人联署的检查点", "no checkpoint was cosigned yet"))
	case err != nil:
		s.Logger.WarnContext(r.Context(), "cosigned checkpoint", "err", err)
		write(w, problem(r.Context(), "unavailable", "暂时无法读取日志的历史", "the history of the log cannot be read just now"))
	default:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "public, max-age=5")
		_, _ = w.Write(c.Note)
	}
}

// serveTile is a tile or a bundle of entries. It never changes.
func (s *server) serveTile(w http.ResponseWriter, r *http.Request) {
	data, err := s.Log.Tile("tile/" + r.PathValue("path"))
	if errors.Is(err, transparency.ErrNone) {
		write(w, problem(r.Context(), "not-found", "检查点中没有该数据块："+r.URL.Path, "the newest checkpoint has no such tile: "+r.URL.Path))
		return
	}
	if err != nil {
		s.Logger.ErrorContext(r.Context(), "tile", "path", r.URL.Path, "err", err)
		write(w, problem(r.Context(), "internal", "内部错误；查询时请提供请求编号", "internal error; quote the request id when you ask about it"))
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(data)
}

// logKeys is the answer of GET /log/keys.
type logKeys struct {
	Origin    string   `json:"origin"`
	First     []string `json:"first"`     // the keys that the log began with
	Now       []string `json:"now"`       // those that sign today
	Rotations []string `json:"rotations"` // signed notes, by which each vouched for the next
}

// serveKeys tells the public keys. Who pins a key takes it from elsewhere.
func (s *server) serveKeys(w http.ResponseWriter, r *http.Request) {
	k := logKeys{Origin: s.Log.Status().Origin, Now: s.LogKeys.Newest(), Rotations: []string{}}
	settings, err := s.Log.History().Settings(r.Context())
	if err == nil {
		k.First = settings.Keys
		var published []transparency.HistoryEntry
		published, err = s.Log.History().Of(r.Context(), transparency.KindRotation)
		for _, e := range published {
			k.Rotations = append(k.Rotations, string(e.Data))
		}
	}
	if err != nil {
		s.Logger.WarnContext(r.Context(), "keys of the log", "err", err)
		write(w, problem(r.Context(), "unavailable", "暂时无法读取日志的历史", "the history of the log cannot be read just now"))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "public, max-age=60")
	_ = json.NewEncoder(w).Encode(k)
}

// historyLine is one entry of GET /log/history.
type historyLine struct {
	Seq  uint64            `json:"seq"`
	Kind transparency.Kind `json:"kind"`
	At   time.Time         `json:"at"`
	Data []byte            `json:"data,omitempty"` // base64
}

// historyMost is how many entries are told at once.
const historyMost = 1000

// serveHistory lists entries of the history after a number, one JSON object a
// line. Of an incident it says only that there was one: its reason names files of
// this machine.
func (s *server) serveHistory(w http.ResponseWriter, r *http.Request) {
	after := uint64(0)
	for name, values := range r.URL.Query() {
		n, err := strconv.ParseUint(values[0], 10, 64)
		if name != "after" || len(values) > 1 || err != nil {
			write(w, problem(r.Context(), "malformed", "只支持参数 after，为条目编号", "the one parameter is after, the number of an entry"))
			return
		}
		after = n
	}
	end, err := s.Log.History().End(r.Context())
	if err != nil {
		write(w, problem(r.Context(), "unavailable", "暂时无法读取日志的历史", "the history of the log cannot be read just now"))
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	if after >= end {
		return
	}
	enc := json.NewEncoder(w)
	for e, err := range s.Log.History().Follow(r.Context(), after) {
		if err != nil {
			panic(http.ErrAbortHandler) // half an answer must not look like a whole one
		}
		line := historyLine{e.Seq, e.Kind, e.At, e.Data}
		if e.Kind == transparency.KindIncident {
			line.Data = nil
		}
		if err := enc.Encode(line); err != nil {
			return
		}
		if e.Seq >= end || e.Seq >= after+historyMost {
			return
		}
	}
}

// proofOutput is a proof after C2SP tlog-proof.
type proofOutput struct {
	ContentType string `header:"Content-Type"`
	Position    string `header:"Liuhen-Position"`
	Body        []byte
}

// proof proves that a record is in the log.
func (s *server) proof(ctx context.Context, in *recordedInput) (*proofOutput, error) {
	r, through, err := s.found(ctx, in)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.Patience)
	defer cancel()
	p, err := s.Log.Prove(ctx, eventstore.Position(r.Position))
	if err != nil {
		return nil, unsealed(ctx, err)
	}
	return &proofOutput{ContentType: "text/plain; charset=utf-8", Position: position(through), Body: p.Marshal()}, nil
}

// unsealed is the answer where the log has not come far enough.
func unsealed(ctx context.Context, err error) error {
	p := problem(ctx, "unavailable", "该记录尚未封入证明日志，请稍后再试："+err.Error(), "the log of proofs is not sealed so far; try again shortly: "+err.Error())
	p.retryAfter = 2
	return p
}

type headInput struct {
	SeenFrom
	Case string `path:"case" maxLength:"64"`
}

type headOutput struct {
	Body transparency.CaseHead
}

// head shows how many records a case has and which is the last, so that a reader
// who has so many knows that they are all.
func (s *server) head(ctx context.Context, in *headInput) (*headOutput, error) {
	if err := s.waitForRecord(ctx, in.MinPosition); err != nil {
		return nil, err
	}
	c, err := s.openedFor(ctx, identity.ReadCase, domain.CaseID(in.Case))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.Patience)
	defer cancel()
	all, err := s.Log.Heads(ctx, []string{string(c.ID)}, eventstore.Position(in.MinPosition))
	if err != nil {
		return nil, unsealed(ctx, err)
	}
	return &headOutput{all[0]}, nil
}
