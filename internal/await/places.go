package await

// places is which places in the order of a job's recordings have been seen here, from 0.
type places struct {
	below int              // all before this one
	above map[int]struct{} // and these
}

// add notes that what was recorded at the place is here.
func (p *places) add(place int) {
	if place < p.below {
		return
	}
	if place > p.below {
		if p.above == nil {
			p.above = map[int]struct{}{}
		}
		p.above[place] = struct{}{}
		return
	}
	for p.below++; ; p.below++ {
		if _, seen := p.above[p.below]; !seen {
			return
		}
		delete(p.above, p.below)
	}
}

// missing lists the first n places before end that were not seen.
func (p *places) missing(end, n int) []int {
	var all []int
	for place := p.below; place < end && len(all) < n; place++ {
		if _, seen := p.above[place]; !seen {
			all = append(all, place)
		}
	}
	return all
}

// saw notes that the outcomes at the place are here, or were.
func (j *Job) saw(place int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.places.add(place)
}

// missing lists the first n places of recordings that the record has and that are not here.
func (j *Job) missing(n int) []int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.places.missing(j.counts.Recorded, n)
}
