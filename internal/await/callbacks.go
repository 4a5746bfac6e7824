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

// InCallback reports whether it is called by a callback, while one of the hub's runs:
// what waits for these then would wait for itself.
func (h *Hub) InCallback() bool { return h.callbacks.whenIdle() != nil && inCallback() }

// queue runs callbacks one after the other on one goroutine, in the order in which they
// were pushed. A panic in one is logged and harms no other. The goroutine exists only
// while there is something to run.
type queue struct {
	log *slog.Logger

	mu    sync.Mutex // guards all below
	queue []callback
	idle  chan struct{} // closed when the queue has run empty; nil while it does not run
}

type callback struct {
	job string
	f   func()
}

// push queues functions of a job.
func (q *queue) push(job string, fs ...func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, f := range fs {
		q.queue = append(q.queue, callback{job, f})
	}
	if q.idle == nil {
		q.idle = make(chan struct{})
		queuesRunning.Add(1)
		go q.run()
	}
}

// whenIdle returns a channel that is closed when nothing is queued or running; nil if that is so now.
func (q *queue) whenIdle() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.idle
}

func (q *queue) run() {
	empty := false
	defer func() {
		// A callback that calls runtime.Goexit (t.FailNow does) takes this goroutine
		// with it, but not the callbacks behind it.
		if !empty {
			go q.run()
		}
	}()
	for {
		q.mu.Lock()
		if len(q.queue) == 0 {
			empty = true
			queuesRunning.Add(-1)
			close(q.idle)
			q.queue, q.idle = nil, nil
			q.mu.Unlock()
			return
		}
		c := q.queue[0]
		q.queue[0] = callback{}
		q.queue = q.queue[1:]
		q.mu.Unlock()
		q.call(c)
	}
}

// call is looked for by inCallback.
//
//go:noinline
func (q *queue) call(c callback) {
	defer func() {
		if p := recover(); p != nil {
			q.log.Error("a callback panicked", "job", c.job, "panic", guard.Text(p), "stack", string(debug.Stack()))
		}
	}()
	c.f()
}

// queuesRunning counts the queues of this process that run a callback.
var queuesRunning atomic.Int64

var callEntry = reflect.ValueOf((*queue).call).Pointer()

// inCallback reports whether the goroutine runs a callback, of any pool. A callback
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
