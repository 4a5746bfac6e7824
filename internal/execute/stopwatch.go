package execute

import (
	"sync/atomic"
	"time"
)

// A look at the clock takes as long as some calls do. So calls that are short share
// one, and a stopwatch looks more rarely while they are. What comes of it is true
// within these bounds:
//
//   - the time that is measured for a call may contain that of the calls before it
//     since the last look: clockEvery, as long as they are as short as they were;
//   - a call that suddenly takes longer is told from those before and after it by a timer,
//     which has the stopwatch look after the first call that ends late. A timer is late when
//     all processors are busy with calls, up to about 10 ms, for which Go lets a goroutine
//     run. So the slowest call is known if it took longer than that, or slept or waited
//     longer than lateAfter; otherwise it may be another one of at most mostShared that ran
//     with it;
//   - sums of times lose nothing.
const (
	clockEvery = 50 * time.Microsecond
	mostShared = 256
	lateAfter  = time.Millisecond
)

// stopwatch measures the calls of one chunk.
type stopwatch struct {
	count func(calls int, took time.Duration) // takes what was measured
	exact bool                                // every call has a look of its own

	mark  time.Time   // of the last look
	calls int         // that ended since then
	share int         // so many have a look together
	timer *time.Timer // sets late, lateAfter the last look; nil: calls have not shared one yet
	late  atomic.Bool

	slowest int           // index in the chunk of the call that took longest
	longest time.Duration // its time
}

// start begins to measure, or begins anew.
func (s *stopwatch) start() { s.mark, s.calls = time.Now(), 0 }

// lap counts call i, which has ended, and looks at the clock now and then.
func (s *stopwatch) lap(i int) {
	s.calls++
	if s.calls >= s.share || s.late.Load() {
		s.look(i)
	}
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
	case took > lateAfter:
		s.share = 1
	case took > clockEvery:
		s.share /= 2
	case took < clockEvery/2 && calls >= s.share && !s.exact:
		s.share = min(max(2, 2*s.share), mostShared)
	}
	if s.share > 1 {
		s.expect()
	}
	s.count(calls, took)
	if took > s.longest {
		s.slowest, s.longest = i, took
	}
}

// expect has the timer say when the calls that share the next look are late.
func (s *stopwatch) expect() {
	if s.timer == nil {
		s.timer = time.AfterFunc(lateAfter, func() { s.late.Store(true) })
		return
	}
	s.late.Store(false)
	s.timer.Reset(lateAfter)
}

// stop ends the measuring, until the next start.
func (s *stopwatch) stop() {
	if s.timer != nil {
		s.timer.Stop()
	}
}
