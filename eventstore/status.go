package eventstore

import (
	"math/bits"
	"sync/atomic"
)

// Status is what a store is doing. The counters only grow, from Open on.
type Status struct {
	Volume   string
	Writing  bool     // this process is the writer and takes appends
	Holder   string   // of the lease, as far as this process knows; empty if unknown
	Self     string   // this process's name in the lease
	Epoch    uint64   // grows with each new holder
	Last     Position // the last position that this process shows
	Base     Position // the tail holds what comes after
	Released Position
	Lag      int    // Last − Released
	Unread   int    // records acknowledged and not read back yet
	Bytes    int64  // the size of the tail
	Incident string // why writing is stopped; empty if it is not
	Full     bool   // the disk has no room, or the embedded server has stopped writing for want of it

	Appended   int64     // records stored by this process
	Groups     int64     // sendings: single messages and batches, so about the syncs of the disk
	Batches    int64     // of them batches
	GroupSizes [11]int64 // sendings by size: [0] one record, [1] two or three, [2] four to seven … [10] from 1,024 on
	Conflicts  int64
	Unknowns   int64 // answers ErrUnknown
	Retries    int64 // sendings after the first of a group
	Foreign    int64 // times that the stream was found to have been written to by another
	FullTimes  int64 // groups refused with ErrFull
	Frozen     int64 // times that the embedded server stopped writing
	ColdHeads  int64 // appends that had to ask the stream, because the tail did not reach back
	HandedOver int64 // appends given to the writer in another process
	Slowed     int64 // appends held back because readers were behind
	Rereads    int64 // times that reading was begun anew
	Takeovers  int64 // times that this process took the lease
}

type counters struct {
	appended, groups, batches, conflicts, unknowns, retries, foreign, full,
	frozen, coldHeads, handedOver, slowed, rereads, takeovers atomic.Int64
	sizes [11]atomic.Int64
}

// group counts one sending of n records.
func (c *counters) group(n int) {
	c.groups.Add(1)
	if n > 1 {
		c.batches.Add(1)
	}
	c.sizes[min(bits.Len(uint(n))-1, len(c.sizes)-1)].Add(1)
}

// Status returns what the store is doing at this moment.
func (s *Store) Status() Status {
	r, _ := s.currentRole()
	_, shown, released, base := s.tail.ends()
	c := &s.count
	st := Status{
		Volume: s.cfg.Volume, Writing: r.writer != nil, Holder: r.holder, Self: s.cfg.Holder, Epoch: r.epoch,
		Last: shown, Base: base, Released: released, Lag: max(0, int(shown)-int(released)), Bytes: s.tail.size(), Unread: s.tail.waiting(),
		Incident: s.stopReason(), Full: s.frozen.Load() || s.cfg.Server != nil && s.cfg.Server.room() != nil,
		Appended: c.appended.Load(), Groups: c.groups.Load(), Batches: c.batches.Load(), Conflicts: c.conflicts.Load(),
		Unknowns: c.unknowns.Load(), Retries: c.retries.Load(), Foreign: c.foreign.Load(), FullTimes: c.full.Load(),
		Frozen: c.frozen.Load(), ColdHeads: c.coldHeads.Load(), HandedOver: c.handedOver.Load(), Slowed: c.slowed.Load(),
		Rereads: c.rereads.Load(), Takeovers: c.takeovers.Load(),
	}
	for i := range st.GroupSizes {
		st.GroupSizes[i] = c.sizes[i].Load()
	}
	return st
}
