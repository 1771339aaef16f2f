package audit

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// Statement is the result as the text that a signed report vouches for, byte for
// byte: what was looked at, under which checkpoint, and what was found. It cannot be
// taken for a checkpoint, for its first line is no origin of a log.
func (r Result) Statement() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "liuhen/verification/v1\n%s\nvolume %s\nat %s\n", r.Origin, r.Volume, r.At.UTC().Format(time.RFC3339))
	switch {
	case r.Scope.Case != "":
		fmt.Fprintf(&b, "case %s\n", r.Scope.Case)
	case r.Scope.Record > 0:
		fmt.Fprintf(&b, "record %d\n", r.Scope.Record)
	case r.Scope.From > 0:
		fmt.Fprintf(&b, "range %d-%d\n", r.Scope.From, r.Scope.Through)
	default:
		fmt.Fprintln(&b, "whole log")
	}
	fmt.Fprintf(&b, "records %d\ncheckpoints %d\ntiles %d\nproofs %d\nsealed %d %s\n", r.Records, r.Checkpoints, r.Tiles, r.Proofs, r.Sealed, hex.EncodeToString(r.Root[:]))
	fmt.Fprintf(&b, "faults %d\n", int64(len(r.Faults))+r.More)
	for _, f := range r.Faults {
		text, err := json.Marshal(f)
		if err != nil {
			panic("audit: " + err.Error()) // plain values
		}
		fmt.Fprintf(&b, "fault %s\n", text)
	}
	for _, u := range r.Unchecked {
		fmt.Fprintf(&b, "unchecked %s\n", u)
	}
	return b.Bytes()
}
