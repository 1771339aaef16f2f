package transparency

import (
	"errors"
	"testing"
)

func TestReport(t *testing.T) {
	k := newKey(t, testOrigin)
	report := []byte("liuhen/verification/v1\nfaults 0\n")
	signed, err := SignReport(report, testOrigin, 42, k.signer)
	if err != nil {
		t.Fatal(err)
	}
	if size, err := VerifyReport(report, signed, testOrigin, k.known()); err != nil || size != 42 {
		t.Errorf("signed at %d records (%v), want 42", size, err)
	}
	for i := range report {
		other := append([]byte(nil), report...)
		other[i] ^= 1
		if _, err := VerifyReport(other, signed, testOrigin, k.known()); !errors.Is(err, ErrNotProven) {
			t.Errorf("byte %d changed: %v, want ErrNotProven", i, err)
		}
	}
	if _, err := VerifyReport(report, signed, testOrigin+"/other", k.known()); !errors.Is(err, ErrNotProven) {
		t.Errorf("another log: %v, want ErrNotProven", err)
	}
	if _, err := VerifyReport(report, signed, testOrigin, newKey(t, testOrigin).known()); !errors.Is(err, ErrNotProven) {
		t.Errorf("another key: %v, want ErrNotProven", err)
	}
	// Neither is taken for the other.
	if _, err := OpenCheckpoint(signed, testOrigin, k.known()); !errors.Is(err, ErrNotProven) {
		t.Errorf("as a checkpoint: %v, want ErrNotProven", err)
	}
	if _, err := SignReport(report, testOrigin, 42); err == nil {
		t.Error("signed without a key")
	}
}
