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
