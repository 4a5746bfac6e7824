package queue

import (
	"sync"
	"time"
)

// crewRest is how long a goroutine of a crew waits for more to do.
const crewRest = 100 * time.Millisecond

// crew runs functions in goroutines, which it keeps for a while. On its way into the Redis client a
// new one has to grow its stack, and to grow it again: a tenth of what a busy worker does.
type crew struct {
	once sync.Once
	idle chan func()
}

func (c *crew) run(f func()) {
	c.once.Do(func() { c.idle = make(chan func()) })
	select {
	case c.idle <- f:
	default:
		go c.work(f)
	}
}

func (c *crew) work(f func()) {
	rest := time.NewTimer(crewRest)
	defer rest.Stop()
	for {
		f()
		rest.Reset(crewRest)
		select {
		case f = <-c.idle:
		case <-rest.C:
			return
		}
	}
}
