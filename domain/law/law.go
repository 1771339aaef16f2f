// Package law carries the texts of the law: procedures and rules as YAML, one
// file a procedure, for rulebook to read. It holds no code but the embedding.
package law

import "embed"

// Files are the procedures that the program ships with.
//
//go:embed *.yaml
var Files embed.FS

// Duties says, sentence by sentence of a real bureau's annual report, which
// procedures and acts carry the duties stated there.
//
//go:embed duties/report-2022.yaml
var Duties []byte
