// Package callbacks runs the callbacks of a pool, one after the other.
package callbacks

import (
	"log/slog"
	"reflect"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/distpool/distpool/internal/guard"
)

// Queue runs functions one after the other on one goroutine, in the
// order in which they were pushed. A panic in one is logged and harms no other.
// The goroutine exists only while there is something to run.
type Queue struct {
	Log *slog.Logger

	mu      sync.Mutex // guards all below
	queue   []callback
	running bool
	idle    chan struct{} // closed when the queue has run empty; nil while nobody waits
}

type callback struct {
	job string
	f   func()
}

// Push queues functions of a job.
func (q *Queue) Push(job string, fs ...func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, f := range fs {
		q.queue = append(q.queue, callback{job, f})
	}
	if !q.running {
		q.running = true
		queuesRunning.Add(1)
		go q.run()
	}
}

func (q *Queue) run() {
	empty := false
	defer func() {
		// A callback that calls runtime.Goexit (t.FailNow does) takes this goroutine
		// with it, but not the callbacks behind it.
		if !empty {
			go q.run()
		}
	}()
	for {
		c, ok := q.next()
		if !ok {
			empty = true
			return
		}
		q.call(c)
	}
}

func (q *Queue) next() (c callback, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) == 0 {
		q.running, q.queue = false, nil
		queuesRunning.Add(-1)
		if q.idle != nil {
			close(q.idle)
			q.idle = nil
		}
		return callback{}, false
	}
	c = q.queue[0]
	q.queue[0] = callback{}
	q.queue = q.queue[1:]
	return c, true
}

// call is looked for by Inside.
//
//go:noinline
func (q *Queue) call(c callback) {
	defer func() {
		if p := recover(); p != nil {
			q.Log.Error("a callback panicked", "job", c.job, "panic", guard.Text(p), "stack", string(debug.Stack()))
		}
	}()
	c.f()
}

// Waits reports whether waiting for the queue's callbacks would be waiting for the caller: it
// is one, while one of the queue's runs.
func (q *Queue) Waits() bool {
	q.mu.Lock()
	running := q.running
	q.mu.Unlock()
	return running && Inside()
}

// queuesRunning counts the queues of this process that run a callback.
var queuesRunning atomic.Int64

var callEntry = reflect.ValueOf((*Queue).call).Pointer()

// Inside reports whether the goroutine runs a callback, of any queue. A callback
// is given a value and no context, so its stack alone can tell.
func Inside() bool {
	if queuesRunning.Load() == 0 {
		return false
	}
	var pcs [64]uintptr
	for skip := 1; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs[:])
		frames := runtime.CallersFrames(pcs[:n])
		for more := n > 0; more; {
			var f runtime.Frame
			if f, more = frames.Next(); f.Entry == callEntry {
				return true
			}
		}
		if n < len(pcs) {
			return false
		}
	}
}

// Idle returns a channel that is closed when nothing is queued or running.
func (q *Queue) Idle() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.running {
		c := make(chan struct{})
		close(c)
		return c
	}
	if q.idle == nil {
		q.idle = make(chan struct{})
	}
	return q.idle
}
