package chaos

import (
	"math/rand/v2"
	"time"
)

// aim is what the seed says about one fault.
type aim struct {
	number int
	kind   string
	gap    time.Duration // after the start of the one before
	pick   uint32        // which target, of those that there are then
	length float64       // 0 to 1: how long, of what the kind allows
	rng    *rand.Rand    // for what else there is to draw
}

// schedule is the endless sequence of faults that follows from a seed.
type schedule struct {
	rng     *rand.Rand
	gap     time.Duration
	kinds   []string
	ordered bool
	deck    []string
	n       int
}

func newSchedule(c Config) *schedule {
	return &schedule{rng: rand.New(rand.NewPCG(c.Seed, 0xC4A05)), gap: c.Gap, kinds: c.Faults, ordered: c.Ordered}
}

// rest is how many faults come before one that leaves the system more time, to
// recover from all of them.
const rest = 10

// next draws the next fault. Kinds come like cards from a deck, so that each comes
// up about as often as the others.
func (s *schedule) next() aim {
	if len(s.deck) == 0 {
		s.deck = append(s.deck, s.kinds...)
		if !s.ordered {
			s.rng.Shuffle(len(s.deck), func(i, j int) { s.deck[i], s.deck[j] = s.deck[j], s.deck[i] })
		}
	}
	s.n++
	a := aim{
		number: s.n, kind: s.deck[0], pick: s.rng.Uint32(), length: s.rng.Float64(),
		gap: time.Duration(float64(s.gap) * (0.6 + 0.8*s.rng.Float64())),
		rng: rand.New(rand.NewPCG(s.rng.Uint64(), s.rng.Uint64())),
	}
	s.deck = s.deck[1:]
	if s.n%rest == 0 {
		a.gap *= 3
	}
	return a
}

// between scales the aim's length.
func (a aim) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(a.length*float64(hi-lo))
}
