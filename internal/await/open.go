package await

import (
	"fmt"

	"github.com/distpool/distpool/internal/job"
)

// open returns what the worker recorded, out of what was read.
func (j *Job) open(chunk int, frame []byte) ([]byte, error) {
	if j.Open == nil || frame == nil || j.has(chunk) { // what is here already is not looked at
		return frame, nil
	}
	return j.Open(chunk, frame)
}

// refuse settles a job whose outcomes, as they are in the record, were refused.
func (h *Hub) refuse(j *Job, chunk int, err error) {
	h.Log.Error("giving up on a job: its outcomes cannot be used", "job", j.ID, "task", j.Task, "chunk", chunk, "error", err)
	j.fail(fmt.Errorf("job %s of task %q: %w", j.ID, j.Task, err))
}

// openNotice is open for the outcomes of a notice. A notice that does not open is
// no reason to give the job up, since the record may be good: it is read.
func (h *Hub) openNotice(j *Job, n *job.Notice) bool {
	outcome, err := j.open(n.Chunk, n.Frame)
	if err != nil {
		h.Log.Warn("ignoring a notice whose outcomes cannot be used; the record is read instead", "job", j.ID, "task", j.Task, "chunk", n.Chunk, "error", err)
		return false
	}
	n.Frame = outcome
	return true
}

// reread has the job's record read.
func (h *Hub) reread(j *Job) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.jobs[j.address()] == j {
		h.markDirty(j)
	}
}
