package await

import (
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/observe"
)

// Job is one job as the process that waits for it sees it: what has arrived of
// its outcomes, and how it ended. All handles of a process on the same job share
// one Job. It is safe for concurrent use.
type Job struct {
	ID    string // its address
	Lane  string // that it lives in
	Ref   job.Ref
	Task  string
	Queue string
	Origin

	// Open, if set, is given what was recorded of a chunk, and returns what the
	// worker made of it: it checks signatures and decrypts. Its error settles the
	// job. Set before the job is tracked.
	Open func(chunk int, frame []byte) ([]byte, error)

	borrowed string // the reply channel of another pool that it listens to; guarded by the hub's mu

	hub *Hub

	expiry, start *time.Timer // see Hub.Expire and AtStart; guarded by the hub's mu

	over chan struct{} // closed once settled

	large atomic.Bool // frames of it are kept apart from its record

	mu        sync.Mutex // guards all below
	submitted bool       // the record exists, as far as we know: polling makes sense
	heard     time.Time  // when something last came from Redis
	moved     time.Time  // when it last told of progress, or its deliveries were looked for
	counts    Counts
	speed     speed
	places    places                // of the outcomes that have arrived, in the order of their recording
	outcomes  map[int]*wire.Outcome // by chunk; those of a stream until they are taken
	arrival   []int                 // chunks of outcomes, in the order in which they arrived here
	recorded  map[int]int           // only of a stream: the places of these, by chunk
	awaited   map[int]struct{}      // only of a stream: chunks that were submitted and have not arrived
	taken     int                   // only of a stream: chunks that were taken
	misses    map[int]int           // by chunk: how often outcomes were absent that the record claims to have
	forgets   int                   // how many Forgets of this process are under way: they know why the record is gone
	settled   bool
	err       error         // settled without all outcomes, for this reason
	swept     bool          // the hub was told that nothing of it is to be left
	callbacks []func()      // run when settled
	done      chan struct{} // closed after over and after these callbacks; nil while nobody has asked for it
	changed   chan struct{} // closed at the next change; nil while nobody listens
}

// Origin is where a job comes from, as far as observers want to know. It is set
// before the job is tracked.
type Origin struct {
	Verb  observe.Verb
	Since time.Time // the submission's begin; zero without observers
}

// Counts is how far a job is.
type Counts struct {
	State    job.State
	Calls    int // known so far
	Chunks   int // known so far
	Recorded int // chunks with outcomes
	Done     int // calls with outcomes
	Failed   int // of these, failed
	Running  int // chunks that workers hold
}

// NewJob makes a job of the queue, in a lane of it, that waits to be tracked by a Hub.
func NewJob(lane string, ref job.Ref, task string, calls, chunks int, sealed bool) *Job {
	j := &Job{Lane: lane, Ref: ref, Task: task, Queue: job.QueueOf(lane), over: make(chan struct{}), outcomes: map[int]*wire.Outcome{}}
	j.ID = j.address().String()
	j.counts = Counts{State: job.Open, Calls: calls, Chunks: chunks}
	if sealed {
		j.counts.State = job.Sealed
	}
	return j
}

func (j *Job) address() names.Address { return names.Address{Queue: j.Queue, Name: j.Ref.Name} }

// Settled reports whether the job is over as far as this process is concerned:
// every outcome is here, or an error says why there will be none.
func (j *Job) Settled() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.settled
}

// Err is the reason why the job settled without all its outcomes; nil while it
// is not settled, and when it has them all.
func (j *Job) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// Counts returns how far the job is, as last heard.
func (j *Job) Counts() Counts {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.counts
}

// Rate is how many calls a second ended over the recent past.
func (j *Job) Rate() float64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	if j.settled {
		now = j.heard // nothing changes it any more
	}
	return j.speed.rate(now, j.counts.Done)
}

// Outcomes returns the outcomes that have arrived, by chunk.
func (j *Job) Outcomes() map[int]*wire.Outcome {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.settled && !j.streams() {
		return j.outcomes // nothing changes it any more
	}
	return maps.Clone(j.outcomes) // a stream's are taken out of it to the last
}

// Arrived returns the outcomes that arrived after the first seen ones, in the
// order of their arrival, and a channel that closes at the next change. Once
// ended is true no more will come.
func (j *Job) Arrived(seen int) (news []wire.Outcome, ended bool, changed <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, chunk := range j.arrival[min(seen, len(j.arrival)):] {
		news = append(news, *j.outcomes[chunk])
	}
	return news, j.settled, j.listen()
}

// Changed returns a channel that closes at the next change.
func (j *Job) Changed() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.listen()
}

func (j *Job) listen() <-chan struct{} {
	if j.changed == nil {
		j.changed = make(chan struct{})
		if j.settled {
			close(j.changed)
		}
	}
	return j.changed
}

// Grow tells a job that is still being submitted its new totals.
func (j *Job) Grow(calls, chunks int, sealed bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.counts.State.Ended() {
		return
	}
	j.counts.Calls, j.counts.Chunks = max(calls, j.counts.Calls), max(chunks, j.counts.Chunks)
	if sealed {
		j.counts.State = job.Sealed
	}
}

// MarkSubmitted says that the record exists from now on.
func (j *Job) MarkSubmitted() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.submitted = true
	j.heard = time.Now()
	j.moved = j.heard
	j.speed.note(j.heard, j.counts.Done)
}

// HasLarge says that frames of the job are kept apart from its record.
func (j *Job) HasLarge() { j.large.Store(true) }

// Large reports whether frames of the job are known to be kept apart from its record.
func (j *Job) Large() bool { return j.large.Load() }

// WasSubmitted reports whether the record is known to have existed: its submission
// was answered, or Redis told of it before that.
func (j *Job) WasSubmitted() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.submitted
}

// MarkEmpty says that the job exists and has no calls: it is done.
func (j *Job) MarkEmpty() {
	j.hear(Counts{State: job.Done}, recorded{})
}

// recorded is the outcomes of a chunk, at their place in the order of recordings.
type recorded struct {
	chunk, place int
	frame        []byte // nil: there are none
}

// hear takes in what Redis says about the job, and outcomes when there
// are some. It returns whether outcomes that the record has are missing here.
func (j *Job) hear(counts Counts, out recorded) (missing bool) {
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
	switch {
	case j.counts.State == job.Canceled || j.counts.State == job.Forgotten:
		j.settle(ErrCanceled)
		j.hub.clear(j, false)
		return false
	case j.counts.State == job.Unstarted:
		j.settle(ErrNotStarted)
		j.hub.clear(j, false)
		return false
	case j.counts.State == job.Done && j.complete():
		j.settle(nil)
		return false
	}
	missing = !j.complete()
	j.announce()
	j.mu.Unlock()
	return missing
}

// merge moves the counts forward. Notices and polls overtake each other, so
// whatever is smaller than what is known is old.
func (j *Job) merge(c Counts) {
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
	if j.streams() {
		delete(j.awaited, out.chunk)
		j.recorded[out.chunk] = out.place
	}
	delete(j.misses, out.chunk)
	delete(j.misses, unlisted)
	j.outcomes[out.chunk] = &o
	j.arrival = append(j.arrival, out.chunk)
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
	if j.awaited != nil {
		_, waits := j.awaited[chunk]
		return !waits
	}
	_, ok := j.outcomes[chunk]
	return ok
}

// streams reports whether this is a stream.
func (j *Job) streams() bool { return j.awaited != nil }

// unlisted stands, in place of a chunk, for outcomes of which not even the chunk
// can be found.
const unlisted = -1

// miss counts one more read of a chunk's outcomes that were not there, although
// the record claims to have them. After too many the job is given up, which it
// returns.
func (j *Job) miss(chunk int) (givenUp bool) {
	j.mu.Lock()
	if j.misses == nil {
		j.misses = map[int]int{}
	}
	j.misses[chunk]++
	givenUp = j.misses[chunk] > maxMisses
	j.mu.Unlock()
	if givenUp {
		err := fmt.Errorf("job %s of task %q: %w: outcomes that it had are not there; does Redis evict keys (maxmemory-policy)?", j.ID, j.Task, ErrExpired)
		j.hub.LogCorrupt(j, err)
		j.fail(err)
	}
	return givenUp
}

// behind reports whether the record has outcomes that are not here.
func (j *Job) behind() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return !j.settled && !j.complete()
}

// complete reports whether all outcomes that the record is known to have had are
// here, or were. It is called with mu held.
func (j *Job) complete() bool { return len(j.outcomes)+j.taken >= j.counts.Recorded }

// fail settles the job without its outcomes.
func (j *Job) fail(err error) {
	j.mu.Lock()
	if j.settled {
		j.mu.Unlock()
		return
	}
	j.settle(err)
}

// settle ends the job for this process. It is called with mu held, and releases
// it.
func (j *Job) settle(err error) {
	j.settled, j.err = true, err
	j.counts.Running = 0
	callbacks := j.callbacks
	j.callbacks = nil
	if j.done == nil {
		j.done = j.over
		if len(callbacks) > 0 {
			j.done = make(chan struct{})
		}
	}
	done := j.done
	j.announce()
	j.mu.Unlock()
	j.hub.settled(j, done, callbacks)
}

func (j *Job) announce() {
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
}
