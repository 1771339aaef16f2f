package eventstore

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
)

func TestOutcomeTravels(t *testing.T) {
	if p, err := decodeOutcome(encodeOutcome(77, nil)); p != 77 || err != nil {
		t.Errorf("position %d, %v", p, err)
	}
	for _, want := range answerErrors[1:] {
		_, err := decodeOutcome(encodeOutcome(0, fmt.Errorf("append to x: %w (at 3)", want)))
		if !errors.Is(err, want) || err.Error() != "append to x: "+want.Error()+" (at 3)" {
			t.Errorf("%v arrived as %v", want, err)
		}
	}
	_, err := decodeOutcome(encodeOutcome(0, &conflict{"x", 2, 3}))
	var r *remote
	if !errors.As(err, &r) || r.at != 3 || !errors.Is(err, ErrConflict) {
		t.Errorf("a conflict arrived as %v", err)
	}
	for _, b := range [][]byte{nil, {}, {0}, {0, 1}, {200, 'x'}, []byte("\x00 and words after it"), encodeOutcome(0, errors.New("odd"))} {
		if _, err := decodeOutcome(b); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q arrived as %v, want ErrUnknown", b, err)
		}
	}
}

func FuzzHandover(f *testing.F) {
	f.Add(encodeHandover("enf.a.p.1", 7, bytesOf("one", "", "three")))
	f.Add(encodeHandover("", 1<<63, nil))
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		stream, after, data, err := decodeHandover(b)
		if err != nil {
			return
		}
		stream2, after2, data2, err := decodeHandover(encodeHandover(stream, after, data))
		if err != nil || stream2 != stream || after2 != after || len(data2) != len(data) {
			t.Fatalf("%q %d %q came back as %q %d %q, %v", stream, after, data, stream2, after2, data2, err)
		}
		for i := range data {
			if !bytes.Equal(data[i], data2[i]) {
				t.Fatalf("record %d: %q came back as %q", i, data[i], data2[i])
			}
		}
	})
}

func FuzzPlace(f *testing.F) {
	f.Add("$JS.ACK.V.c.1.22.3.1700000000000000000.5")
	f.Add("$JS.ACK.hub.acc.V.c.1.22.3.1700000000000000000.5")
	f.Add("$JS.ACK.hub.acc.V.c.1.22.3.1700000000000000000.5.token")
	f.Add("$JS.ACK........")
	f.Fuzz(func(t *testing.T, reply string) {
		if seq, _, ok := parsePlace(reply); ok && seq == 0 {
			t.Fatalf("%q is at position 0", reply)
		}
	})
}

func TestPlace(t *testing.T) {
	for reply, want := range map[string]uint64{
		"$JS.ACK.V.c.1.22.3.1700000000000000000.5":             22,
		"$JS.ACK.hub.acc.V.c.1.22.3.1700000000000000000.5":     22,
		"$JS.ACK.hub.acc.V.c.1.22.3.1700000000000000000.5.a.b": 22,
		"$JS.ACK.V.c.1.0.3.1700000000000000000.5":              0,
		"$JS.FC.V.c.1": 0,
		"":             0,
	} {
		seq, at, ok := parsePlace(reply)
		if ok != (want > 0) || ok && (seq != want || at != 1700000000000000000) {
			t.Errorf("%q: %d at %d, %v", reply, seq, at, ok)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"stream":"V","seq":7,"batch":"b","count":3}`))
	f.Add([]byte(`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 5"},"stream":"V","seq":0}`))
	f.Add([]byte(`{"error":{}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, ok := parseAnswer(&nats.Msg{Data: b}); ok && a.code != 0 && classify(a) == fine {
			t.Fatalf("%q is an error and means stored", b)
		}
	})
}
