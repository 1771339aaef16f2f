// Package casework carries out commands. Record is the whole middle of the
// road: load the case, decide, append, and on a conflict judge anew.
package casework

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	lru "github.com/hashicorp/golang-lru/v2"

	"liuhen/domain"
	"liuhen/domain/rulebook"
	"liuhen/eventstore"
	"liuhen/internal/gather"
)

// tries is how often a command is judged anew when other processes write to its
// case.
const tries = 50

// A Store keeps records in order; an *eventstore.Store is one.
type Store interface {
	// Append writes records to the end of a stream, all or none, if nothing
	// has been written to it after position after.
	Append(ctx context.Context, stream string, after eventstore.Position, data ...[]byte) (eventstore.Position, error)
	// AppendAll is Append for many streams at once, in the order given; each
	// entry lands or fails by itself.
	AppendAll(ctx context.Context, entries []eventstore.Entry) []eventstore.Outcome
	// Since returns what was written to the stream after a position, from
	// memory, complete up to through; ok is false where memory begins later.
	Since(stream string, after eventstore.Position) (records []eventstore.Record, through eventstore.Position, ok bool)
	// Load reads a whole stream: slow, never wrong.
	Load(ctx context.Context, stream string) ([]eventstore.Record, eventstore.Position, error)
	// Newest is the last position of a stream after what memory has forgotten,
	// read back or not; 0 if there is none.
	Newest(stream string) eventstore.Position
	// End is the last position of all that this process knows of.
	End() eventstore.Position
	// Last asks for the position of the last record of all, and Wait waits
	// until Since knows of a position.
	Last(ctx context.Context) (eventstore.Position, error)
	Wait(ctx context.Context, p eventstore.Position) error
}

// Cases is the read model that cases are loaded from.
type Cases interface {
	// Load returns all records of the cases up to one position, which it
	// returns too. A case that it does not know is left out.
	Load(ctx context.Context, ids []domain.CaseID) (map[domain.CaseID][]domain.Recorded, uint64, error)
}

// A Desk carries out commands on cases.
type Desk struct {
	law       domain.Law
	registers func() domain.Registers
	facts     Facts
	patience  time.Duration // how long facts may take
	store     Store
	now       func() time.Time

	known       *lru.Cache[domain.CaseID, seen] // cases of late; safe for many goroutines
	remembering sync.Mutex                      // held while known is compared and set
	cold        gather.Group[domain.CaseID, found]
	cases       Cases
	turns       turns
}

// seen is a case and the position up to which it is complete. The case is nil
// where there was none.
type seen struct {
	c  *domain.Case
	at eventstore.Position
}

// found is what the read model has of a case, and how far it had come.
type found struct {
	records []domain.Recorded
	through uint64
}

// Facts answers what rules ask of registers, at a position not before from, and
// says at which.
type Facts func(ctx context.Context, lookups []rulebook.Lookup, from uint64) (rulebook.Facts, uint64, error)

// Options are the parts of a desk that have a default.
type Options struct {
	Registers func() domain.Registers // what acts are judged by now; nil: nothing, see domain.Registers
	Facts     Facts                   // nil: no register can be asked, see Desk.Decide
	Patience  time.Duration           // how long registers may take to answer; 0: 5 s
	Now       func() time.Time        // nil: time.Now
	Keep      int                     // cases kept in memory; 0: 20,000
}

// New returns a desk that judges by law and records in store. Cases that are
// not in memory come from cases; where that is nil, from the store itself.
func New(law domain.Law, store Store, cases Cases, o Options) *Desk {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Registers == nil {
		o.Registers = func() domain.Registers { return domain.Registers{} }
	}
	if o.Patience == 0 {
		o.Patience = 5 * time.Second
	}
	if o.Keep == 0 {
		o.Keep = 20_000
	}
	known, err := lru.New[domain.CaseID, seen](o.Keep)
	if err != nil {
		panic("casework: " + err.Error())
	}
	d := &Desk{law: law, registers: o.Registers, facts: o.Facts, patience: o.Patience, store: store, now: o.Now, known: known, cases: cases}
	d.cold = gather.Group[domain.CaseID, found]{Max: 1000, Do: d.find}
	return d
}

// find asks the read model for cases; one that it does not have is found
// empty.
func (d *Desk) find(ctx context.Context, ids []domain.CaseID) (map[domain.CaseID]found, error) {
	records, through, err := d.cases.Load(ctx, ids)
	if err != nil {
		return nil, err
	}
	m := make(map[domain.CaseID]found, len(ids))
	for _, id := range ids {
		m[id] = found{records: records[id], through: through}
	}
	return m, nil
}

// Record carries out a command and returns its receipt, which means that the
// event is on disk. A command id that has been carried out in the case before
// gets the receipt of that time, marked Duplicate.
//
// Besides the answers of domain.Decide it fails with *domain.Reused, and with
// the conditions of eventstore. After eventstore.ErrUnknown the event may be
// there all the same: send the command again, with the same id.
func (d *Desk) Record(ctx context.Context, cmd domain.Command) (domain.Receipt, error) {
	done, err := d.turns.take(ctx, cmd.Case)
	if err != nil {
		return domain.Receipt{}, fmt.Errorf("record %s on %s: waiting for the case: %w", cmd.Act, cmd.Case, err)
	}
	defer done()
	for range tries {
		var s seen
		if s, err = d.load(ctx, cmd.Case); err != nil {
			return domain.Receipt{}, fmt.Errorf("record %s: %w", cmd.Act, err)
		}
		if receipt, ok := s.c.Carried(cmd.ID); ok {
			return same(cmd, receipt)
		}
		event, refused := d.Decide(ctx, s.c, cmd)
		if refused != nil {
			// A no must not rest on a case that has gone on meanwhile.
			if newest := d.store.Newest(string(cmd.Case)); newest > s.at {
				if err = d.store.Wait(ctx, newest); err != nil {
					break
				}
				continue
			}
			return domain.Receipt{}, refused
		}
		data, refused := event.Encode()
		if refused != nil {
			return domain.Receipt{}, refused
		}

		var at eventstore.Position
		at, err = d.store.Append(ctx, domain.Subject(event.Agency(), event.Procedure(), cmd.Case), s.at, data)
		if err == nil {
			_, receipt, err := d.keep(s, event, data, at)
			return receipt, err
		}
		if err = d.lookAgain(ctx, err); err != nil {
			break
		}
	}
	if err == nil {
		err = eventstore.ErrConflict
	}
	return domain.Receipt{}, fmt.Errorf("record %s on %s: %w", cmd.Act, cmd.Case, err)
}

// Decide judges a command against a case, with what the registers hold now. It
// records nothing. Where registers of other cases cannot be read, what has happened
// is judged without them and says so; besides the answers of domain.Decide it then fails
// for what would create a legal effect.
func (d *Desk) Decide(ctx context.Context, c *domain.Case, cmd domain.Command) (domain.Event, error) {
	reg := d.registers()
	var wrong error // why registers cannot be asked
	for {
		event, err := domain.Decide(d.law, reg, c, cmd, d.stamp())
		var ask *domain.Unanswered
		if !errors.As(err, &ask) {
			return event, err
		}
		if reg.NoFacts {
			return domain.Event{}, wrong
		}
		if reg.Facts, reg.FactsAt, wrong = d.lookUp(ctx, ask.Lookups); wrong != nil {
			if ctx.Err() != nil {
				return domain.Event{}, wrong
			}
			reg.Facts, reg.NoFacts = nil, true
		}
	}
}

// lookUp asks the registers, as they are after all that has been recorded so
// far.
func (d *Desk) lookUp(ctx context.Context, lookups []rulebook.Lookup) (rulebook.Facts, uint64, error) {
	if d.facts == nil {
		return nil, 0, errors.New("the law asks registers, and there are none at hand")
	}
	ctx, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	facts, at, err := d.facts(ctx, lookups, uint64(d.store.End()))
	if err != nil {
		return nil, 0, fmt.Errorf("look up registers: %w", err)
	}
	return facts, at, nil
}

// lookAgain prepares for another try after an append that failed: nil means
// that the case can be judged anew.
func (d *Desk) lookAgain(ctx context.Context, failed error) error {
	switch {
	case errors.Is(failed, eventstore.ErrConflict), errors.Is(failed, eventstore.ErrUnknown):
		last, err := d.store.Last(ctx)
		if err == nil {
			err = d.store.Wait(ctx, last)
		}
		if err != nil {
			return fmt.Errorf("%w; looking for it: %w", failed, err)
		}
		return nil
	default:
		return failed
	}
}

// same returns the receipt of a command that comes again, if it is the same.
func same(cmd domain.Command, receipt domain.Receipt) (domain.Receipt, error) {
	if cmd.Act != receipt.Act || !cmd.At.Equal(receipt.OccurredAt) {
		return domain.Receipt{}, &domain.Reused{Command: cmd.ID, Event: receipt.Event}
	}
	return receipt, nil
}

// keep folds the event that has just been stored into the case, so that the
// next command finds it in memory.
func (d *Desk) keep(s seen, event domain.Event, data []byte, at eventstore.Position) (seen, domain.Receipt, error) {
	r := domain.Recorded{Position: uint64(at), Digest: domain.DigestOf(data), Raw: data, Event: event}
	next, err := domain.Evolve(d.law, s.c, r)
	if err != nil {
		return seen{}, domain.Receipt{}, err
	}
	kept := seen{c: next, at: at}
	d.remember(next.ID, kept)
	return kept, domain.ReceiptOf(r), nil
}

// remember keeps a case in memory, unless what is there goes further: who only
// reads a case may come late.
func (d *Desk) remember(id domain.CaseID, s seen) {
	d.remembering.Lock()
	defer d.remembering.Unlock()
	if known, ok := d.known.Peek(id); !ok || known.at <= s.at {
		d.known.Add(id, s)
	}
}

// Case returns a case as it is now. It fails with domain.ErrNoCase.
func (d *Desk) Case(ctx context.Context, id domain.CaseID) (*domain.Case, error) {
	s, err := d.load(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", id, err)
	}
	if s.c == nil {
		return nil, fmt.Errorf("%w: %s", domain.ErrNoCase, id)
	}
	return s.c, nil
}

// load returns the case and the position up to which it is complete: what
// memory or the read model has, and the tail of the store after it.
func (d *Desk) load(ctx context.Context, id domain.CaseID) (seen, error) {
	if s, ok := d.known.Get(id); ok {
		if s, ok, err := d.catchUp(id, s); ok || err != nil {
			return s, err
		}
	}
	s, err := d.read(ctx, id)
	if err != nil {
		return seen{}, err
	}
	d.remember(id, s)
	return s, nil
}

// read loads a case that memory does not have. Concurrent reads share one
// question to the read model.
func (d *Desk) read(ctx context.Context, id domain.CaseID) (seen, error) {
	if d.cases != nil {
		records, _, err := d.cold.Get(ctx, id)
		if err == nil {
			if s, ok, err := d.unfold(id, records.records, records.through); ok || err != nil {
				return s, err
			}
		}
		// A read model that is down or far behind makes us slow, not wrong.
	}
	return d.loadStored(ctx, id)
}

// unfold folds a case from the read model and the store's memory after it.
func (d *Desk) unfold(id domain.CaseID, records []domain.Recorded, through uint64) (seen, bool, error) {
	c, err := domain.Replay(d.law, records)
	if err != nil {
		return seen{}, false, err
	}
	return d.catchUp(id, seen{c: c, at: eventstore.Position(through)})
}

// loadStored folds a case from the store itself: from its memory, where that
// reaches back to the beginning.
func (d *Desk) loadStored(ctx context.Context, id domain.CaseID) (seen, error) {
	if s, ok, err := d.catchUp(id, seen{}); ok || err != nil {
		return s, err
	}
	records, through, err := d.store.Load(ctx, string(id))
	if err != nil {
		return seen{}, err
	}
	return d.fold(seen{}, records, through)
}

// catchUp adds what the store's memory has after s. It reports false where
// that memory begins later than s ends.
func (d *Desk) catchUp(id domain.CaseID, s seen) (seen, bool, error) {
	records, through, ok := d.store.Since(string(id), s.at)
	if !ok {
		return seen{}, false, nil
	}
	s, err := d.fold(s, records, through)
	return s, true, err
}

func (d *Desk) fold(s seen, records []eventstore.Record, through eventstore.Position) (seen, error) {
	for _, stored := range records {
		r, err := domain.Read(uint64(stored.Position), stored.At, stored.Data)
		if err != nil {
			return seen{}, err
		}
		if s.c, err = domain.Evolve(d.law, s.c, r); err != nil {
			return seen{}, err
		}
	}
	s.at = through
	return s, nil
}

func (d *Desk) stamp() domain.Stamp {
	var salt [16]byte
	_, _ = rand.Read(salt[:]) // never fails: crypto/rand
	return domain.Stamp{
		Event: uuid.Must(uuid.NewV7()).String(),
		Salt:  base64.RawStdEncoding.EncodeToString(salt[:]),
		Now:   d.now(),
	}
}
