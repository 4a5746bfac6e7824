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

// saw notes that the outcomes of the chunk, at the place, are here, or were. It returns false if
// they are not.
func (j *Job) saw(chunk, place int) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.knows(chunk) {
		return false
	}
	j.places.add(place)
	return true
}

// missing lists the first n places of recordings that the record has and that are not here.
func (j *Job) missing(n int) []int {
	j.mu.Lock()
	defer j.mu.Unlock()
	var all []int
	for place := j.places.below; place < j.counts.Recorded && len(all) < n; place++ {
		if _, seen := j.places.above[place]; !seen {
			all = append(all, place)
		}
	}
	return all
}

// behind reports whether the record has outcomes that are not here.
func (j *Job) behind() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return !j.settled && !j.complete()
}
