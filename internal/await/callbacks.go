package await

import (
	"log/slog"
	"reflect"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/distpool/distpool/internal/guard"
)

// callbackQueue runs functions one after the other on one goroutine, in the
// order in which they were pushed. A panic in one is logged and harms no other.
// The goroutine exists only while there is something to run.
type callbackQueue struct {
	log *slog.Logger

	mu      sync.Mutex // guards all below
	queue   []callback
	running bool
	idle    chan struct{} // closed when the queue has run empty; nil while nobody waits
}

type callback struct {
	job string
	f   func()
}

func (q *callbackQueue) push(job string, fs ...func()) {
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

func (q *callbackQueue) run() {
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

func (q *callbackQueue) next() (c callback, ok bool) {
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

// call is looked for by inCallback.
//
//go:noinline
func (q *callbackQueue) call(c callback) {
	defer func() {
		if p := recover(); p != nil {
			q.log.Error("a callback panicked", "job", c.job, "panic", guard.Text(p), "stack", string(debug.Stack()))
		}
	}()
	c.f()
}

// busy reports whether a callback runs.
func (q *callbackQueue) busy() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.running
}

// queuesRunning counts the queues of this process that run a callback.
var queuesRunning atomic.Int64

var callEntry = reflect.ValueOf((*callbackQueue).call).Pointer()

// inCallback reports whether the goroutine runs a callback, of any queue. A callback
// is given a value and no context, so its stack alone can tell.
func inCallback() bool {
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

// wait returns a channel that is closed when nothing is queued or running.
func (q *callbackQueue) wait() <-chan struct{} {
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

// Over is closed when the job is settled.
func (j *Job) Over() <-chan struct{} { return j.over }

// Done is closed when the job is settled, after the callbacks that were
// registered before that have run. In a callback, which these may be waiting for, of
// whichever job and pool, it is Over.
func (j *Job) Done() <-chan struct{} {
	if inCallback() {
		return j.over
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.done == nil {
		j.done = make(chan struct{})
	}
	return j.done
}

// OnSettle runs f on the hub's callback goroutine once the job is settled. When
// it is settled already, f is queued at once.
func (j *Job) OnSettle(f func()) {
	j.mu.Lock()
	if !j.settled {
		j.callbacks = append(j.callbacks, f)
		j.mu.Unlock()
		return
	}
	j.mu.Unlock()
	j.hub.callbacks.push(j.ID, f)
}
