package await

import "time"

// speed remembers when a job's calls ended, in a few samples, to tell how fast
// they do. The zero value is ready to use.
type speed struct {
	samples []sample // a ring once it has speedSamples; most jobs need one
	n       int      // samples taken so far; the last ones are kept
}

type sample struct {
	at   time.Time
	done int
}

const (
	speedSamples = 64
	// speedEvery is how far samples are apart at least, speedPast how far back the
	// rate looks. The first times speedSamples is more than the second.
	speedEvery = 250 * time.Millisecond
	speedPast  = 10 * time.Second
	// speedLeast is how many samples it looks back even when they are older: calls
	// may take longer than speedPast.
	speedLeast = 4
	// speedSoon is the time after which a first estimate makes sense.
	speedSoon = 100 * time.Millisecond
)

// note takes in that done calls had ended at now. The first one is the start.
func (p *speed) note(now time.Time, done int) {
	if p.n > 0 {
		last := p.samples[(p.n-1)%speedSamples]
		if done <= last.done || now.Sub(last.at) < speedEvery {
			return
		}
	}
	if s := (sample{now, done}); p.n < speedSamples {
		p.samples = append(p.samples, s)
	} else {
		p.samples[p.n%speedSamples] = s
	}
	p.n++
}

// rate is calls per second since about speedPast before now, at which done calls
// have ended. It falls while nothing ends.
func (p *speed) rate(now time.Time, done int) float64 {
	if p.n == 0 {
		return 0
	}
	from := p.samples[(p.n-1)%speedSamples]
	for i := p.n - 2; i >= max(0, p.n-speedSamples); i-- {
		s := p.samples[i%speedSamples]
		if now.Sub(s.at) > speedPast && p.n-i > speedLeast {
			break
		}
		from = s
	}
	past := now.Sub(from.at)
	if done <= from.done || past < speedSoon {
		return 0
	}
	return float64(done-from.done) / past.Seconds()
}
