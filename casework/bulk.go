package casework

import (
	"context"
	"errors"

	"liuhen/domain"
	"liuhen/domain/rulebook"
	"liuhen/eventstore"
)

// perEntry is how many records of one case go into one append: they are kept
// all or none, and a batch of the store holds 1,000.
const perEntry = 500

// A Result is what became of one command of many.
type Result struct {
	Receipt domain.Receipt
	Err     error
}

// RecordAll carries out many commands, on the same road as Record: cases are
// loaded as a set, and what was decided is appended in large groups. The
// commands of one case are carried out in the order given, each with a result
// of its own: one that fails does not hold up the others.
func (d *Desk) RecordAll(ctx context.Context, commands []domain.Command) []Result {
	results := make([]Result, len(commands))
	for rest := byCase(commands); len(rest) > 0; {
		var round, later []group
		for _, g := range rest {
			if len(g.at) > perEntry {
				later = append(later, group{id: g.id, at: g.at[perEntry:]})
				g.at = g.at[:perEntry]
			}
			round = append(round, g)
		}
		d.recordRound(ctx, commands, round, results)
		rest = later
	}
	return results
}

// A group is the commands of one case: their indices, in order.
type group struct {
	id domain.CaseID
	at []int
}

func byCase(commands []domain.Command) []group {
	var groups []group
	index := make(map[domain.CaseID]int)
	for i, c := range commands {
		g, ok := index[c.Case]
		if !ok {
			g = len(groups)
			index[c.Case] = g
			groups = append(groups, group{id: c.Case})
		}
		groups[g].at = append(groups[g].at, i)
	}
	return groups
}

// A draft is what was decided for one case and is not stored yet.
type draft struct {
	from     seen
	events   []domain.Event
	data     [][]byte
	commands []int // which command each event came from

	c    *domain.Case // as the events make it
	left []int        // commands that are not decided yet
	reg  domain.Registers
}

func (d *Desk) recordRound(ctx context.Context, commands []domain.Command, groups []group, results []Result) {
	loaded, err := d.loadAll(ctx, groups)
	if err != nil {
		for _, g := range groups {
			for _, i := range g.at {
				results[i].Err = err
			}
		}
		return
	}

	all := make([]*draft, len(groups))
	for i, g := range groups {
		all[i] = &draft{from: loaded[g.id], c: loaded[g.id].c, left: g.at}
	}
	d.draftAll(ctx, all, commands, results)

	drafts := make([]*draft, 0, len(groups))
	entries := make([]eventstore.Entry, 0, len(groups))
	for _, dr := range all {
		if len(dr.events) == 0 {
			continue
		}
		e := dr.events[0]
		drafts = append(drafts, dr)
		entries = append(entries, eventstore.Entry{
			Stream: domain.Subject(e.Agency(), e.Procedure(), e.Subject), After: dr.from.at, Data: dr.data,
		})
	}

	for n, outcome := range d.store.AppendAll(ctx, entries) {
		dr := drafts[n]
		switch {
		case outcome.Err == nil:
			d.keepAll(dr, outcome.Position, results)
		case errors.Is(outcome.Err, eventstore.ErrConflict), errors.Is(outcome.Err, eventstore.ErrUnknown):
			// Another wrote to this case meanwhile: its commands go one by one.
			for _, i := range dr.commands {
				results[i].Receipt, results[i].Err = d.Record(ctx, commands[i])
			}
		default:
			for _, i := range dr.commands {
				results[i].Err = outcome.Err
			}
		}
	}
}

// draftAll decides the commands of many cases. What their rules ask of
// registers is asked for all cases at once, so that a round costs as many
// questions as the case with most of them.
func (d *Desk) draftAll(ctx context.Context, drafts []*draft, commands []domain.Command, results []Result) {
	for waiting := drafts; len(waiting) > 0; {
		var lookups []rulebook.Lookup
		var asking []*draft
		for _, dr := range waiting {
			if asks := d.draft(dr, commands, results); len(asks) > 0 {
				lookups, asking = append(lookups, asks...), append(asking, dr)
			}
		}
		if waiting = asking; len(waiting) == 0 {
			return
		}
		facts, at, err := d.lookUp(ctx, lookups)
		for _, dr := range waiting {
			switch {
			case err != nil && (dr.reg.NoFacts || ctx.Err() != nil): // it needs them
				results[dr.left[0]].Err = err
				dr.left = dr.left[1:]
				continue
			case err != nil:
				dr.reg.NoFacts = true
			}
			dr.reg.Facts, dr.reg.FactsAt = facts, at
		}
	}
}

// draft decides what is left of the commands of one case, each on what the one
// before made of it, until one needs to know what registers hold.
func (d *Desk) draft(dr *draft, commands []domain.Command, results []Result) []rulebook.Lookup {
	now := d.registers()
	dr.reg.Roster, dr.reg.Parameters, dr.reg.Calendars, dr.reg.Laws = now.Roster, now.Parameters, now.Calendars, now.Laws
	for ; len(dr.left) > 0; dr.left = dr.left[1:] {
		i := dr.left[0]
		cmd := commands[i]
		if dr.c != nil && cmd.Import != nil {
			cmd.Procedure = "" // a row of a log does not know whether its case is new
		}
		if receipt, ok := dr.c.Carried(cmd.ID); ok {
			results[i].Receipt, results[i].Err = same(cmd, receipt)
			continue
		}
		event, err := domain.Decide(d.law, dr.reg, dr.c, cmd, d.stamp())
		var ask *domain.Unanswered
		if errors.As(err, &ask) {
			return ask.Lookups
		}
		dr.reg.Facts = nil // the next command asks anew
		if err != nil {
			results[i].Err = err
			continue
		}
		data, err := event.Encode()
		if err != nil {
			results[i].Err = err
			continue
		}
		next, err := domain.Evolve(d.law, dr.c, domain.Recorded{Digest: domain.DigestOf(data), Event: event})
		if err != nil {
			results[i].Err = err
			continue
		}
		dr.c = next
		dr.events, dr.data, dr.commands = append(dr.events, event), append(dr.data, data), append(dr.commands, i)
	}
	return nil
}

// keepAll folds stored events into their case, now that their positions are
// known. The records of one entry lie next to each other.
func (d *Desk) keepAll(dr *draft, last eventstore.Position, results []Result) {
	s := dr.from
	first := last - eventstore.Position(len(dr.events)) + 1
	for n, event := range dr.events {
		i := dr.commands[n]
		s, results[i].Receipt, results[i].Err = d.keep(s, event, dr.data[n], first+eventstore.Position(n))
	}
}

// loadAll loads the cases of a round: those that memory does not have by one
// question to the read model.
func (d *Desk) loadAll(ctx context.Context, groups []group) (map[domain.CaseID]seen, error) {
	loaded := make(map[domain.CaseID]seen, len(groups))
	var missing []domain.CaseID
	for _, g := range groups {
		if s, ok := d.known.Get(g.id); ok {
			s, ok, err := d.catchUp(g.id, s)
			if err != nil {
				return nil, err
			}
			if ok {
				loaded[g.id] = s
				continue
			}
		}
		missing = append(missing, g.id)
	}
	if len(missing) > 0 && d.cases != nil {
		rest := missing[:0]
		found, through, err := d.cases.Load(ctx, missing)
		for _, id := range missing {
			if err == nil {
				if s, ok, err := d.unfold(id, found[id], through); err != nil {
					return nil, err
				} else if ok {
					loaded[id] = s
					continue
				}
			}
			rest = append(rest, id)
		}
		missing = rest
	}
	for _, id := range missing {
		s, err := d.loadStored(ctx, id)
		if err != nil {
			return nil, err
		}
		loaded[id] = s
	}
	return loaded, nil
}
