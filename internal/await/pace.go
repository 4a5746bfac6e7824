package await

import "time"

// pace remembers when a job's calls ended, in a few samples, to tell how fast
// they do. The zero value is ready to use.
type pace struct {
	samples []sample // a ring once it has paceSamples; most jobs need one
	n       int      // samples taken so far; the last ones are kept
}

type sample struct {
	at   time.Time
	done int
}

const (
	paceSamples = 64
	// paceEvery is how far samples are apart at least, pacePast how far back the
	// rate looks. The first times paceSamples is more than the second.
	paceEvery = 250 * time.Millisecond
	pacePast  = 10 * time.Second
	// paceLeast is how many samples it looks back even when they are older: calls
	// may take longer than pacePast.
	paceLeast = 4
	// paceSoon is the time after which a first estimate makes sense.
	paceSoon = 100 * time.Millisecond
)

// note takes in that done calls had ended at now. The first one is the start.
func (p *pace) note(now time.Time, done int) {
	if p.n > 0 {
		last := p.samples[(p.n-1)%paceSamples]
		if done <= last.done || now.Sub(last.at) < paceEvery {
			return
		}
	}
	if s := (sample{now, done}); p.n < paceSamples {
		p.samples = append(p.samples, s)
	} else {
		p.samples[p.n%paceSamples] = s
	}
	p.n++
}

// rate is calls per second since about pacePast before now, at which done calls
// have ended. It falls while nothing ends.
func (p *pace) rate(now time.Time, done int) float64 {
	if p.n == 0 {
		return 0
	}
	from := p.samples[(p.n-1)%paceSamples]
	for i := p.n - 2; i >= max(0, p.n-paceSamples); i-- {
		s := p.samples[i%paceSamples]
		if now.Sub(s.at) > pacePast && p.n-i > paceLeast {
			break
		}
		from = s
	}
	past := now.Sub(from.at)
	if done <= from.done || past < paceSoon {
		return 0
	}
	return float64(done-from.done) / past.Seconds()
}
