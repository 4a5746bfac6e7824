package execute

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/distpool/distpool/internal/nested"
)

// callSlot is the slot as one call sees it: it implements nested.Slot.
type callSlot struct {
	run  *Run
	call int32 // index in the job. One of these is made for each call: 32 bytes, not more

	stage atomic.Int32 // see below; most calls never wait, and end without a lock
	mu    sync.Mutex   // guards all below, and serializes what is done with the pass
	waits int32
}

// The stages of a callSlot. It is entered with mu held.
const (
	slotFresh int32 = iota
	slotEntered
	slotOver
)

// slotEnded is a large negative value that is stored in waits when the call ends, so that
// a wait which is left later does not count as the last one.
const slotEnded = math.MinInt32 / 2

// Enter begins a wait.
func (s *callSlot) Enter(j nested.Job) (deadlock <-chan error, leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stage.CompareAndSwap(slotFresh, slotEntered) && s.stage.Load() == slotOver {
		return nil, func() {} // a goroutine that the call left behind: it holds nothing
	}
	if s.waits++; s.waits == 1 {
		s.run.chunk.Pass.giveUp()
	}
	deadlock, end := s.run.host.Wait(int(s.call), j)
	return deadlock, func() {
		end()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.waits--; s.waits == 0 {
			s.run.chunk.Pass.takeBack()
		}
	}
}

// end is called when the call has ended, whatever it has left behind.
func (s *callSlot) end() {
	if s.stage.Swap(slotOver) == slotFresh {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waits > 0 {
		s.run.host.EndWaits()
		s.run.chunk.Pass.takeBack()
	}
	s.waits = slotEnded
}
