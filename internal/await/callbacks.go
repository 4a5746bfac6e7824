package await

import "github.com/distpool/distpool/internal/callbacks"

// Over is closed when the job is settled.
func (j *Job) Over() <-chan struct{} { return j.over }

// Done is closed when the job is settled, after the callbacks that were
// registered before that have run. In a callback, which these may be waiting for, of
// whichever job and pool, it is Over.
func (j *Job) Done() <-chan struct{} {
	if callbacks.Inside() {
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
	j.hub.callbacks.Push(j.ID, f)
}
