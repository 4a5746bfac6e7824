package await

import (
	"errors"
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/wire"
)

// recording is a chunk with its place in the order of recordings.
type recording struct{ chunk, place int }

// recorded is the outcomes of a chunk.
type recorded struct {
	recording
	frame []byte // nil: there are none
}

// open returns what the worker recorded, out of what was read.
func (j *Job) open(chunk int, frame []byte) ([]byte, error) {
	if j.Open == nil || frame == nil || j.has(chunk) { // what is here already is not looked at
		return frame, nil
	}
	return j.Open(chunk, frame)
}

// hear takes in what Redis says about the job, and outcomes when there are some. end is why
// nothing more will come of a job that ended early. It returns whether outcomes that the record
// has are missing here.
func (j *Job) hear(counts job.Counts, end error, out recorded) (missing bool) {
	j.mu.Lock()
	if j.settled {
		j.mu.Unlock()
		return false
	}
	j.submitted = true // Redis knows it, even if the submission's own reply is still on its way
	j.heard = time.Now()
	before := j.counts
	j.merge(counts)
	if j.counts != before {
		j.moved = j.heard
	}
	j.speed.note(j.heard, j.counts.Done)
	if out.frame != nil {
		if err := j.keep(out); err != nil {
			j.hub.LogCorrupt(j, err)
			j.settle(err)
			return false
		}
	}
	if end != nil {
		j.err = end
	}
	complete := j.complete()
	if j.err != nil && (complete || !j.leftover) {
		j.settle(j.err)
		j.hub.clear(j, false)
		return false
	}
	if complete && j.counts.State == job.Done {
		j.settle(nil)
		return false
	}
	j.announce()
	j.mu.Unlock()
	return !complete
}

// merge moves the counts forward. Notices and polls overtake each other, so
// a count that is smaller than the known one is old.
func (j *Job) merge(c job.Counts) {
	k := &j.counts
	if k.State.Ended() {
		return
	}
	if c.State != job.Open || k.State == job.Open {
		k.State = c.State
	}
	if c.Recorded >= k.Recorded && c.Done >= k.Done {
		k.Running = c.Running // it goes up and down: only the counts beside it tell its age
	}
	k.Calls, k.Chunks = max(k.Calls, c.Calls), max(k.Chunks, c.Chunks)
	k.Recorded = max(k.Recorded, c.Recorded)
	k.Done, k.Failed = max(k.Done, c.Done), max(k.Failed, c.Failed)
}

func (j *Job) keep(out recorded) error {
	if j.knows(out.chunk) {
		j.places.add(out.place)
		return nil
	}
	o, err := wire.ParseOutcome(out.frame)
	if err != nil {
		return fmt.Errorf("%w: job %s, chunk %d: %w", ErrCorrupt, j.ID, out.chunk, err)
	}
	j.places.add(out.place)
	delete(j.awaited, out.chunk)
	delete(j.misses, out.chunk)
	delete(j.misses, unlisted)
	j.outcomes[out.chunk] = &o
	j.arrival = append(j.arrival, out.recording)
	return nil
}

// has reports whether the outcomes of the chunk are here, or were.
func (j *Job) has(chunk int) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.knows(chunk)
}

// knows is has with mu held. A stream remembers what it waits for, not what it
// had: the first is bounded, the second is not.
func (j *Job) knows(chunk int) bool {
	if j.streams() {
		_, waits := j.awaited[chunk]
		return !waits
	}
	_, ok := j.outcomes[chunk]
	return ok
}

// complete reports whether all outcomes that the record is known to have had are
// here, or were. It is called with mu held.
func (j *Job) complete() bool { return len(j.outcomes)+j.taken >= j.counts.Recorded }

// maxMisses is how often outcomes that the record claims to have may be absent
// before they count as lost.
const maxMisses = 3

// unlisted stands, in place of a chunk, for outcomes of which not even the chunk
// can be found.
const unlisted = -1

// miss counts one more read of a chunk's outcomes that were not there, although
// the record claims to have them. After too many the job is given up, which it
// returns. What was to be left of a canceled job is missed once only.
func (j *Job) miss(chunk int) (givenUp bool) {
	j.mu.Lock()
	if j.misses == nil {
		j.misses = map[int]int{}
	}
	j.misses[chunk]++
	givenUp, err := j.misses[chunk] > maxMisses || j.leftover, j.err
	j.mu.Unlock()
	switch {
	case givenUp && err != nil:
		j.Fail(err)
	case givenUp:
		j.hub.lose(j, j.about(ErrExpired, "outcomes that it had are not there; does Redis evict keys (maxmemory-policy)?"))
	}
	return givenUp
}

// about makes an error name the job.
func (j *Job) about(kind error, why string) error {
	return fmt.Errorf("job %s of task %q: %w: %s", j.ID, j.Task, kind, why)
}

// verdict is why a job in the state, which has a reason, has no further outcomes; nil while it may
// have some, and when it is done.
func (j *Job) verdict(state job.State, reason string) error {
	switch state {
	case job.Open, job.Sealed, job.Done:
		return nil
	case job.Unstarted:
		return ErrNotStarted
	case job.Untrusted:
		return fmt.Errorf("job %s of task %q: %w by a worker: %s", j.ID, j.Task, ErrUntrusted, reason)
	case job.Missing:
		return j.about(ErrExpired, reason)
	case job.Corrupt:
		return j.about(ErrCorrupt, reason)
	case job.Gone:
		return j.about(ErrExpired, "it was forgotten, outlived its time to live, or Redis lost it")
	}
	return ErrCanceled
}

// lose gives up a job of which something is lost or damaged.
func (h *Hub) lose(j *Job, err error) {
	h.LogCorrupt(j, err)
	j.Fail(err)
}

// corrupt makes an error about a damaged record an ErrCorrupt; others stay.
func corrupt(err error) error {
	if job.IsDamaged(err) && !errors.Is(err, ErrCorrupt) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}
