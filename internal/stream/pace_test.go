package stream

import (
	"testing"
	"time"
)

// simulate runs a fleet of slots workers, whose calls cost perCall and whose
// chunks cost overhead each, with full slots, for the given number of chunks.
func simulate(p *pace, perCall, overhead time.Duration, valueBytes, chunks, most int) {
	now := p.noted
	for range chunks {
		for p.onTheWay < p.slots {
			p.depart(p.size * valueBytes)
			p.sent += p.size
		}
		// All slots are busy for as long as one chunk takes; then all are done.
		now = now.Add(overhead + time.Duration(p.size)*perCall)
		p.note(now)
		for size := p.size; p.onTheWay > 0; {
			p.arrive(size, size*valueBytes)
		}
		p.adapt(most)
	}
}

func TestPaceAimsAtTheWorkOfAChunk(t *testing.T) {
	for _, c := range []struct {
		name                  string
		perCall, overhead     time.Duration
		valueBytes            int
		most                  int
		wantLeast, wantAtMost int
	}{
		{"long calls travel alone", time.Second, time.Millisecond, 1, 1 << 20, 1, 1},
		{"short calls travel together", time.Millisecond, time.Millisecond, 1, 1 << 20, 32, 200},
		{"very short ones as many as bytes allow", time.Nanosecond, 200 * time.Microsecond, 10, 1 << 20, streamBytes / 20, streamBytes / 10},
		{"large ones are few", time.Microsecond, time.Millisecond, 100 << 10, 1 << 20, 1, 2},
		{"larger ones than a chunk should be are alone", time.Microsecond, time.Millisecond, 1 << 20, 1 << 20, 1, 1},
		{"no more than the window allows", time.Nanosecond, 0, 1, 5, 5, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := pace{size: 1, slots: 4, noted: time.Now()}
			simulate(&p, c.perCall, c.overhead, c.valueBytes, 100, c.most)
			if p.size < c.wantLeast || p.size > c.wantAtMost {
				t.Errorf("%d calls for each chunk, want %d to %d", p.size, c.wantLeast, c.wantAtMost)
			}
		})
	}
}

func TestPaceFollowsCallsThatGetLonger(t *testing.T) {
	p := pace{size: 1, slots: 4, noted: time.Now()}
	simulate(&p, 10*time.Microsecond, time.Millisecond, 1, 100, 1<<20)
	if p.size < 1000 {
		t.Fatalf("%d calls for each chunk of short calls", p.size)
	}
	simulate(&p, 100*time.Millisecond, time.Millisecond, 1, 3, 1<<20)
	if p.size > 2 {
		t.Errorf("%d calls for each chunk, after three chunks of calls of 100 ms", p.size)
	}
}

func TestPaceDoesNotTakeIdleSlotsForWork(t *testing.T) {
	p := pace{size: 1, slots: 4, noted: time.Now()}
	now := p.noted
	for range 100 { // one chunk in a second, which takes 1 ms: a slow input
		now = now.Add(time.Second)
		p.note(now)
		p.depart(1)
		p.sent++
		now = now.Add(time.Millisecond)
		p.note(now)
		p.arrive(1, 1)
		p.adapt(1 << 20)
	}
	if p.size < 32 {
		t.Errorf("%d calls for each chunk, as if calls of 1 ms took longer", p.size)
	}
}
