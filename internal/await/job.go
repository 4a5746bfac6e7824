package await

import (
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

	// Large says that frames of the job are known to be kept apart from its record.
	Large atomic.Bool

	hub     *Hub
	over    chan struct{} // closed once settled
	forgets atomic.Int32  // how many Forgets of this process are under way: they know why the record is gone

	// Guarded by the hub's mu:
	borrowed      string      // the reply channel of another pool that it listens to
	expiry, start *time.Timer // see Hub.Expire and AtStart
	late          bool        // its expiry has passed: unless it has begun it is to be ended

	mu        sync.Mutex // guards all below
	submitted bool       // the record exists, as far as we know: polling makes sense
	heard     time.Time  // when something last came from Redis
	moved     time.Time  // when it last told of progress, or its deliveries were looked for
	counts    job.Counts
	speed     speed
	places    places                // of the outcomes that have arrived, in the order of their recording
	outcomes  map[int]*wire.Outcome // by chunk; those of a stream until they are taken
	arrival   []recording           // of outcomes, in the order in which they arrived here
	awaited   map[int]struct{}      // only of a stream: chunks that were submitted and have not arrived
	taken     int                   // only of a stream: chunks that were taken
	misses    map[int]int           // by chunk: how often outcomes were absent that the record claims to have
	leftover  bool                  // it was canceled before it was tracked: what it has is read first
	settled   bool
	err       error         // why it settles without all outcomes; may be known before it is settled
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

// NewJob makes a job of the queue, in a lane of it, that waits to be tracked by a Hub.
func NewJob(lane string, ref job.Ref, task string, calls, chunks int, sealed bool) *Job {
	j := &Job{Lane: lane, Ref: ref, Task: task, Queue: job.QueueOf(lane), over: make(chan struct{}), outcomes: map[int]*wire.Outcome{}}
	j.ID = j.address().String()
	j.counts = job.Counts{State: job.Open, Calls: calls, Chunks: chunks}
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
	if !j.settled {
		return nil
	}
	return j.err
}

// Counts returns how far the job is, as last heard.
func (j *Job) Counts() job.Counts {
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
	for _, a := range j.arrival[min(seen, len(j.arrival)):] {
		news = append(news, *j.outcomes[a.chunk])
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

func (j *Job) announce() {
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
}

// Submitted says that Redis has so many calls and chunks of the job from now on, and that these are all
// if it is sealed.
func (j *Job) Submitted(calls, chunks int, sealed bool) {
	known := j.Counts()
	known.Calls, known.Chunks = calls, chunks
	switch {
	case sealed && chunks == 0:
		known.State = job.Done // no recording will announce the end of nothing
	case sealed:
		known.State = job.Sealed
	}
	j.hear(known, nil, recorded{})
}

// WasSubmitted reports whether the record is known to have existed: its submission
// was answered, or Redis told of it before that.
func (j *Job) WasSubmitted() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.submitted
}

// Fail settles the job without its outcomes.
func (j *Job) Fail(err error) {
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
