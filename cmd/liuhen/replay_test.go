package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

func TestKeys(t *testing.T) {
	for key, want := range map[string]string{
		"\x1b[C": "n", "\x1bOB": "n", " ": "n", "\r": "n", "j": "n", "\x1b[6~": "n",
		"\x1b[D": "p", "\x1b[A": "p", "k": "p", "\x7f": "p",
		"\x1b[H": "g", "g": "g", "\x1b[F": "G", "G": "G", ":": ":", "/": ":",
		"q": "q", "\x03": "q", "\x04": "q", "\x1b": "q", "x": "?", "\x1b[Z": "?", "": "?", "行": "?",
	} {
		if got := commandOf([]byte(key)); got != want {
			t.Errorf("key %q: %q, want %q", key, got, want)
		}
	}
}

// TestStepper walks through three steps: forwards, backwards, to a revision, a day
// and an act.
func TestStepper(t *testing.T) {
	s := stepper{p: &program{config: Config{Lang: "en"}}}
	for i, act := range []string{"file-case", "inquire", "inquire"} {
		s.steps = append(s.steps, replayStep{timelineItem: timelineItem{
			Revision: i + 1, Act: act, ActName: rulebook.Text{ZH: map[string]string{"file-case": "立案", "inquire": "询问"}[act], EN: "The " + act},
			OccurredAt: time.Date(2026, 3, 10*(i+1), 9, 0, 0, 0, calendar.Shanghai),
		}})
	}
	for _, c := range []struct {
		command string
		at      int // the revision that is shown after it; 0: none was shown
	}{
		{"p", 0}, {"", 2}, {"n", 3}, {"n", 0}, {"b", 2}, {"g", 1}, {"G", 3}, {"2", 2}, {"4", 0}, {"0", 0}, {"2026-03-11", 2}, {"2026-03-31", 0},
		{"inquire", 3}, {"inquire", 2}, {"询", 3}, {"立案", 1}, {"FILE", 1}, {"?", 0}, {"nothing", 0},
	} {
		var out bytes.Buffer
		s.out = &out
		if s.do(c.command) {
			t.Fatalf("%q ends it", c.command)
		}
		shown := strings.HasPrefix(out.String(), "\n[")
		if shown != (c.at > 0) || shown && s.steps[s.i].Revision != c.at || out.Len() == 0 {
			t.Errorf("%q: at revision %d, said %q; want %d", c.command, s.steps[s.i].Revision, out.String(), c.at)
		}
	}
	s.out = new(bytes.Buffer)
	if !s.do("q") {
		t.Error("q does not end it")
	}
}
