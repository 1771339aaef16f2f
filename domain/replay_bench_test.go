package domain_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"liuhen/domain"
	"liuhen/domain/rulebook"
)

// longCase is a case of the ordinary procedure with so many records: filed, and then
// inquiry after inquiry.
func longCase(b *testing.B, n int) []domain.Recorded {
	b.Helper()
	var c *domain.Case
	var records []domain.Recorded
	for i := range n {
		cmd := domain.Command{
			ID: fmt.Sprintf("c-%d", i), Case: "L-1", Act: "show-certificate", At: today.Add(time.Duration(i-n) * time.Hour),
			Actor: domain.Actor{ID: "li", Roles: []string{"*"}}, Import: &domain.Import{Source: "bench", Batch: "1", Row: int64(i + 1)},
			Officers: []rulebook.Officer{{ID: "li", Name: "李"}, {ID: "zhao", Name: "赵"}},
			Fields:   map[string]json.RawMessage{"person": json.RawMessage(`"王五"`), "rights_told": json.RawMessage(`true`)},
		}
		if i == 0 {
			cmd.Act, cmd.Agency, cmd.Procedure = "receive-clue", "kjj", "penalty-ordinary"
			cmd.Fields = map[string]json.RawMessage{"source": json.RawMessage(`"report"`), "summary": json.RawMessage(`"x"`)}
		}
		event, err := domain.Decide(book, domain.Registers{Facts: rulebook.Facts{}}, c, cmd, domain.Stamp{Event: fmt.Sprintf("event-%d", i+1), Salt: "salt", Now: cmd.At.Add(time.Minute)})
		if err != nil {
			b.Fatal(err)
		}
		data, err := event.Encode()
		if err != nil {
			b.Fatal(err)
		}
		r, err := domain.Read(uint64(i+1), cmd.At, data)
		if err != nil {
			b.Fatal(err)
		}
		if c, err = domain.Evolve(book, c, r); err != nil {
			b.Fatal(err)
		}
		records = append(records, r)
	}
	return records
}

// BenchmarkReplay measures what is asked of one case: it folded as it was, its state
// as a document, all steps, and the difference between its first record and its last.
func BenchmarkReplay(b *testing.B) {
	for _, n := range []int{20, 5000} {
		records := longCase(b, n)
		last := domain.Moment{By: domain.ByPosition, Position: uint64(n), Time: today}
		past := func(m domain.Moment) domain.Past {
			p, err := domain.At(book, records, m, nil)
			if err != nil {
				b.Fatal(err)
			}
			return p
		}
		b.Run(fmt.Sprintf("fold-%d", n), func(b *testing.B) {
			for b.Loop() {
				past(last)
			}
		})
		b.Run(fmt.Sprintf("hindsight-%d", n), func(b *testing.B) {
			for b.Loop() {
				past(domain.Moment{By: domain.ByOccurred, Position: uint64(n), Time: today})
			}
		})
		b.Run(fmt.Sprintf("state-%d", n), func(b *testing.B) {
			for b.Loop() {
				past(last).State()
			}
		})
		b.Run(fmt.Sprintf("steps-%d", n), func(b *testing.B) {
			for b.Loop() {
				for _, err := range domain.Steps(book, records, nil) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
		b.Run(fmt.Sprintf("difference-%d", n), func(b *testing.B) {
			for b.Loop() {
				domain.Changes(past(domain.Moment{By: domain.ByPosition, Position: 1, Time: today}), past(last))
			}
		})
	}
}
