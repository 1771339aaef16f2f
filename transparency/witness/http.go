package witness

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
)

// sizeType is the content type of the size in a 409.
const sizeType = "text/x.tlog.size"

// Handler answers POST /add-checkpoint and GET /<origin hash>/checkpoint.
func (w *Witness) Handler(logger *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", func(rw http.ResponseWriter, r *http.Request) { w.addCheckpoint(rw, r, logger) })
	mux.HandleFunc("GET /{hash}/checkpoint", w.getCheckpoint)
	return mux
}

func (w *Witness) addCheckpoint(rw http.ResponseWriter, r *http.Request, logger *slog.Logger) {
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxRequest))
	if err != nil {
		http.Error(rw, "the request cannot be read: "+err.Error(), http.StatusBadRequest)
		return
	}
	lines, _, err := w.Add(body)
	var conflict *ConflictError
	switch {
	case err == nil:
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = rw.Write(lines)
	case errors.As(err, &conflict):
		rw.Header().Set("Content-Type", sizeType)
		rw.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(rw, formatSize(conflict.Size))
	case errors.Is(err, ErrBadRequest):
		http.Error(rw, err.Error(), http.StatusBadRequest)
	case errors.Is(err, ErrUnknownLog):
		http.Error(rw, err.Error(), http.StatusNotFound)
	case errors.Is(err, ErrSignature):
		http.Error(rw, err.Error(), http.StatusForbidden)
	case errors.Is(err, ErrInconsistent):
		// The log's key signed it: it may prove that the log shows two faces.
		logger.Error("a log asked for a cosignature on what contradicts its past", "err", err, "request", string(body))
		http.Error(rw, err.Error(), http.StatusUnprocessableEntity)
	default:
		logger.Error("add-checkpoint", "err", err)
		http.Error(rw, "internal error", http.StatusInternalServerError)
	}
}

func (w *Witness) getCheckpoint(rw http.ResponseWriter, r *http.Request) {
	for origin := range w.logs {
		if originHash(origin) != r.PathValue("hash") {
			continue
		}
		if newest := w.Newest(origin); newest != nil {
			rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
			rw.Header().Set("Cache-Control", "no-cache")
			_, _ = rw.Write(newest)
			return
		}
	}
	http.Error(rw, "no checkpoint of that log was cosigned here; the path is the SHA-256 of its origin in lower-case hexadecimal", http.StatusNotFound)
}

// endpoint joins the prefix of a witness and a path.
func endpoint(prefix, path string) string { return strings.TrimSuffix(prefix, "/") + "/" + path }
