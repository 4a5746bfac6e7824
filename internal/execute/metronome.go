package execute

import (
	"sync"
	"sync/atomic"
	"time"
)

// metronome ticks while stopwatches listen to it, and for a while after.
type metronome struct {
	tick      atomic.Uint32
	listeners atomic.Int32

	mu    sync.Mutex
	ticks bool
}

// idleTicks is the number of ticks that it makes without a listener: chunks follow each other.
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
