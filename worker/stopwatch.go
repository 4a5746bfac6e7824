package worker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/distpool/distpool/internal/record"
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
	exact     bool      // every call has a look of its own
	mark      time.Time // of the last look
	calls     int       // that ended since then
	share     int       // so many have a look together
	tick      uint32    // of the metronome, at the last look
	listening bool      // to the metronome
}

// start begins to measure, or begins anew.
func (s *stopwatch) start(m *metronome) {
	s.metronome = m
	s.mark, s.calls, s.share = time.Now(), 0, max(1, s.share)
	if s.listening {
		s.tick = s.metronome.tick.Load()
	}
}

// lap counts a call that has ended. It returns the time since the last look, and how
// many calls ended in it; 0 when it did not look.
func (s *stopwatch) lap() (took time.Duration, calls int) {
	s.calls++
	if s.calls < s.share && s.tick == s.metronome.tick.Load() {
		return 0, 0
	}
	return s.look()
}

// look is lap with a look at the clock, and no call that has ended.
func (s *stopwatch) look() (took time.Duration, calls int) {
	// Only the monotonic clock is read, which is half of time.Now.
	took, calls = time.Since(s.mark), s.calls
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
	return took, calls
}

// stop ends the measuring, until the next start.
func (s *stopwatch) stop() {
	if s.listening {
		s.listening = false
		s.metronome.leave()
	}
	s.share = 1
}

// metronome ticks while somebody listens, and for a while after.
type metronome struct {
	tick      atomic.Uint32
	listeners atomic.Int32

	mu    sync.Mutex
	ticks bool
}

// idleTicks is how long it ticks for nobody: chunks follow each other.
const idleTicks = 50

func (m *metronome) join() {
	m.listeners.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.ticks {
		m.ticks = true
		go m.run()
	}
}

func (m *metronome) leave() { m.listeners.Add(-1) }

func (m *metronome) run() {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	for idle := 0; ; {
		<-t.C
		m.tick.Add(1)
		if m.listeners.Load() > 0 {
			idle = 0
			continue
		}
		if idle++; idle < idleTicks {
			continue
		}
		m.mu.Lock()
		if m.listeners.Load() == 0 {
			m.ticks = false
			m.mu.Unlock()
			return
		}
		m.mu.Unlock()
		idle = 0
	}
}

// lap counts call i, which has ended, and looks at the clock now and then.
func (r *chunkRun) lap(i int) {
	took, calls := r.watch.lap()
	if calls > 0 {
		r.noted(i, took, calls)
	}
}

// settleClock notes the calls that have not been noted yet. The last of them was i.
func (r *chunkRun) settleClock(i int) {
	if r.watch.calls > 0 {
		took, calls := r.watch.look()
		r.noted(i, took, calls)
	}
}

// noted adds calls that took so long together to what the worker counts. The last of
// them was i.
func (r *chunkRun) noted(i int, took time.Duration, calls int) {
	r.worker.busyTime.Add(int64(took))
	r.worker.countCalls(calls)
	if took > r.slowest.Took && r.total > 1 {
		r.slowest = record.SlowCall{Call: r.first + i, Took: took, Worker: r.worker.self.ID}
	}
}
