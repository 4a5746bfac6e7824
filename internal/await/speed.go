package await

import "time"

// speed remembers when a job's calls ended, in a few samples, to tell how fast
// they do. The zero value is ready to use.
type speed []sample

type sample struct {
	at   time.Time
	done int
}

const (
	// speedEvery is how far samples are apart at least, speedPast how far back the
	// rate looks.
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
	if n := len(*p); n > 0 {
		last := (*p)[n-1]
		if done <= last.done || now.Sub(last.at) < speedEvery {
			return
		}
	}
	*p = append(p.recent(now), sample{now, done})
}

// recent is the samples that the rate at now looks at.
func (p *speed) recent(now time.Time) speed {
	s := *p
	for len(s) > speedLeast && now.Sub(s[0].at) > speedPast {
		s = s[1:]
	}
	return s
}

// rate is calls per second since about speedPast before now, at which done calls
// have ended. It falls while nothing ends.
func (p *speed) rate(now time.Time, done int) float64 {
	s := p.recent(now)
	if len(s) == 0 || done <= s[0].done {
		return 0
	}
	past := now.Sub(s[0].at)
	if past < speedSoon {
		return 0
	}
	return float64(done-s[0].done) / past.Seconds()
}
