package execute

import (
	"time"
)

// A look at the clock takes as long as some calls do. So calls that are short share
// one, and a stopwatch looks more rarely while they are. What comes of it is true
// within these bounds:
//
//   - the time that is measured for a call may contain that of the calls before it
//     since the last look: clockEvery, as long as they are as short as they were;
//   - a call that suddenly takes longer is told from those before and after it, by a
//     metronome that ticks meanwhile: the clock is looked at after the first call behind
//     a tick. A tick comes late when all processors are busy with calls, up to about
//     10 ms, for which Go lets a goroutine run. So the slowest call is known if it took
//     longer than that, or slept or waited longer than two ticks; otherwise it may be
//     another one of at most mostShared that ran with it;
//   - sums of times lose nothing.
const (
	clockEvery = 50 * time.Microsecond
	mostShared = 256
	tickEvery  = time.Millisecond
)

// stopwatch measures the calls of one chunk.
type stopwatch struct {
	metronome *metronome
	count     func(calls int, took time.Duration) // takes what was measured
	exact     bool                                // every call has a look of its own

	mark      time.Time // of the last look
	calls     int       // that ended since then
	share     int       // so many have a look together
	tick      uint32    // of the metronome, at the last look
	listening bool      // to the metronome

	slowest int           // index in the chunk of the call that took longest
	longest time.Duration // its time
}

// start begins to measure, or begins anew.
func (s *stopwatch) start() {
	s.mark, s.calls, s.share = time.Now(), 0, max(1, s.share)
	if s.listening {
		s.tick = s.metronome.tick.Load()
	}
}

// lap counts call i, which has ended, and looks at the clock now and then.
func (s *stopwatch) lap(i int) {
	s.calls++
	if s.calls < s.share && s.tick == s.metronome.tick.Load() {
		return
	}
	s.look(i)
}

// settle looks at the clock if calls have ended since the last look. The last of them was i.
func (s *stopwatch) settle(i int) {
	if s.calls > 0 {
		s.look(i)
	}
}

// look looks at the clock, and counts the calls that have ended. The last of them was i.
func (s *stopwatch) look(i int) {
	// Only the monotonic clock is read, which is half of time.Now.
	took, calls := time.Since(s.mark), s.calls
	s.mark, s.calls = s.mark.Add(took), 0
	switch {
	case took > clockEvery:
		s.share = max(1, s.share/2)
		if took > tickEvery {
			s.share = 1
		}
	case took < clockEvery/2 && s.share < mostShared && calls >= s.share && !s.exact:
		s.share *= 2
		if !s.listening {
			s.listening = true
			s.metronome.join()
		}
	}
	if s.listening {
		s.tick = s.metronome.tick.Load()
	}
	s.count(calls, took)
	if took > s.longest {
		s.slowest, s.longest = i, took
	}
}

// stop ends the measuring, until the next start.
func (s *stopwatch) stop() {
	if s.listening {
		s.listening = false
		s.metronome.leave()
	}
	s.share = 1
}
