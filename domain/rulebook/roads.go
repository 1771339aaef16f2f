package rulebook

// roads says of a procedure which stages no case can come to, and from which
// ones it can never be closed.
func (l *loader) roads(f *file, p *Procedure) {
	if len(p.Stages) == 0 || p.Open {
		return
	}
	n := len(p.Stages)
	reached := make([]bool, n)
	for _, a := range p.Acts {
		if a.Opens && a.to >= 0 {
			reached[a.to] = true
		}
	}
	for changed := true; changed; {
		changed = false
		for _, a := range p.Acts {
			if a.to >= 0 && !reached[a.to] && (len(a.From) == 0 || anyOf(a.belongs, reached)) {
				reached[a.to], changed = true, true
			}
		}
	}
	// Backwards: from which stages an act that closes can be come to.
	ends := make([]bool, n)
	closes := false
	for changed := true; changed; {
		changed = false
		for _, a := range p.Acts {
			if !a.Closes && (a.to < 0 || !ends[a.to]) {
				continue
			}
			closes = closes || a.Closes
			anywhere := len(a.From) == 0 && !a.Opens // what begins a case is no way on from a stage
			for i := range ends {
				if !ends[i] && (anywhere || a.belongs[i]) {
					ends[i], changed = true, true
				}
			}
		}
	}
	for i, s := range p.Stages {
		switch {
		case !reached[i]:
			f.failAt(f.at["stages"], "stage %q: no act leads to it from the beginning of a case", s.Name)
		case closes && !ends[i] && !closed(p, int32(i)):
			f.failAt(f.at["stages"], "stage %q: no road leads from it to an act that closes the case", s.Name)
		}
	}
}

// closed reports whether a stage is come to by closing the case, or follows it.
func closed(p *Procedure, stage int32) bool {
	after := make([]bool, len(p.Stages))
	for _, a := range p.Acts {
		if a.Closes && a.to >= 0 {
			after[a.to] = true
		}
	}
	for changed := true; changed; {
		changed = false
		for _, a := range p.Acts {
			if a.to >= 0 && !after[a.to] && len(a.From) > 0 && anyOf(a.belongs, after) {
				after[a.to], changed = true, true
			}
		}
	}
	return after[stage]
}

func anyOf(in, of []bool) bool {
	for i := range in {
		if in[i] && of[i] {
			return true
		}
	}
	return false
}

// canPrecede reports whether some case that keeps to its stages has an act of
// first and, as a later record, one of then. It goes by what the engine finds
// (builtin.go): an act that closes is not found out of place in a closed case,
// and one that opens may come again, unless it is done once and the only one.
func (p *Procedure) canPrecede(first, then *actSet) bool {
	if p.Open || len(p.Stages) == 0 {
		return true
	}
	opener := -1 // the act that every case begins with and none has again
	openers := 0
	for i, a := range p.Acts {
		if a.Opens {
			opener, openers = i, openers+1
		}
	}
	if openers != 1 || !p.Acts[opener].Once {
		opener = -1
	}
	places := 2 * (len(p.Stages) + 1)
	reached, after := make([]bool, places), make([]bool, places)
	for i, a := range p.Acts {
		if to := a.leads(0); a.Opens {
			reached[to] = true
			after[to] = after[to] || first.has(int32(i))
		}
	}
	// each calls do for every act that fits into one of some places.
	each := func(in []bool, do func(act int32, to int)) {
		for i, a := range p.Acts {
			for at := range in {
				if i != opener && in[at] && a.fits(at) {
					do(int32(i), a.leads(at))
				}
			}
		}
	}
	spread := func(in []bool) {
		for changed := true; changed; {
			changed = false
			each(in, func(_ int32, to int) {
				changed = changed || !in[to]
				in[to] = true
			})
		}
	}
	spread(reached)
	each(reached, func(act int32, to int) { after[to] = after[to] || first.has(act) })
	spread(after)
	found := false
	each(after, func(act int32, _ int) { found = found || then.has(act) })
	return found
}

// fits reports whether the act is in order in a place. A place is where a case
// stands: twice its stage, counted from 1, and 0 before it has come to one; and
// one more where it is closed.
func (a *Act) fits(at int) bool {
	stage, closed := at/2, at%2 == 1
	in := len(a.From) == 0 || stage == 0 || a.belongs[stage-1]
	if closed {
		return a.Closes || in && len(a.From) > 0
	}
	return in
}

// leads is the place that the act leads to from another.
func (a *Act) leads(at int) int {
	stage, closed := at/2, a.Closes || at%2 == 1 && !a.Opens
	if a.to >= 0 {
		stage = int(a.to) + 1
	}
	if closed {
		return 2*stage + 1
	}
	return 2 * stage
}
