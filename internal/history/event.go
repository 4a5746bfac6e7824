package history

// What is what an event says.
type What string

// The events. Producers write the first group, workers the second, the driver the
// third.
const (
	// Submit: the submission Sub is about to be sent, according to Plan. Job is set
	// if the caller chose the ID.
	Submit What = "submit"
	// Accepted: Sub was accepted as job Job, and Handle is the handle on it.
	Accepted What = "accepted"
	// Refused: the submission Sub failed with Err: it was not accepted.
	Refused What = "refused"
	// Attached: Handle is another handle on Job.
	Attached What = "attached"
	// Got: Get of Handle returned Outs, or Err for the whole of the job.
	Got What = "got"
	// Saw: AsCompleted of Handle yielded Outs[0] for call Call, while the job ran.
	Saw What = "saw"
	// GaveUp: Get of Handle did not return by the end of the drain.
	GaveUp What = "gaveup"
	// CancelAsked: somebody is about to cancel Job.
	CancelAsked What = "cancel"
	// Yielded: the stream Sub yielded Outs[0] for its call Call.
	Yielded What = "yielded"
	// Left: the loop over the stream Sub was left early.
	Left What = "left"
	// Ended: the stream Sub ended by itself, with Err if that is not empty.
	Ended What = "ended"

	// Began: the worker Worker begins the run Run of call Call of Sub, in chunk Chunk
	// of Job, by delivery Delivery and as attempt Attempt.
	Began What = "began"
	// Ran: the run Run came to Outs[0].
	Ran What = "ran"

	// Injected: the fault Fault is over.
	Injected What = "fault"
	// Died: the process Text ended by itself, although it should not.
	Died What = "died"
	// Audited: the record of Job, read at the very end, says Outs, or Err for the
	// whole of the job; and that it was over at Finished.
	Audited What = "audited"
	// Orphaned: deliveries of Job were deleted by an operator, or may be lost, nobody
	// who lives waits for it, and it is not over. From now on the auditor waits for it.
	Orphaned What = "orphaned"
	// Unended: Job was not over at the end of the drain; Text says how it stood.
	Unended What = "unended"
)

// The errors of whole jobs, as Err names them.
const (
	ErrCanceled = "canceled"
	ErrExpired  = "expired" // the record is gone
	ErrUnknown  = "unknown" // Redis has no such job
	ErrClosed   = "closed"  // the pool was closed: no answer
	ErrTimeout  = "timeout" // the time to wait was over: no answer
	ErrOther    = "other"
)

// Event is one line of a history.
type Event struct {
	At   int64 `json:"at"` // ns since 1970
	What What  `json:"what"`

	Sub    string `json:"sub,omitempty"`
	Job    string `json:"job,omitempty"`
	Handle string `json:"handle,omitempty"`
	Plan   *Plan  `json:"plan,omitempty"`

	Chunk    int    `json:"chunk,omitempty"`
	Call     int    `json:"call,omitempty"`
	Attempt  int    `json:"attempt,omitempty"`
	Delivery int    `json:"delivery,omitempty"`
	Worker   string `json:"worker,omitempty"`
	Run      string `json:"run,omitempty"`

	Outs  []Outcome `json:"outs,omitempty"`
	Err   string    `json:"err,omitempty"`
	Text  string    `json:"text,omitempty"`
	Fault *Fault    `json:"fault,omitempty"`
	// Finished is when Job was over according to its record (ns since 1970), 0 if it
	// does not say.
	Finished int64 `json:"finished,omitempty"`

	Process string `json:"-"` // the name of its file
}

// Outcome is what became of one call.
type Outcome struct {
	Kind     string `json:"k,omitempty"` // "" for a value, else the kind of failure
	Value    uint32 `json:"v,omitempty"`
	Run      string `json:"r,omitempty"` // who computed it; "" for a failure that no run computed
	Attempts int    `json:"a,omitempty"` // of a failure
}

// The kinds of failure that Outcome.Kind names: those of package results.
const (
	KindError      = "error"
	KindPanic      = "panic"
	KindWorkerLost = "worker_lost"
)

// Fault is something that the driver broke, from Start to End (ns since 1970).
type Fault struct {
	Kind    string   `json:"kind"`
	Target  string   `json:"target,omitempty"` // the process that it hit; "" for Redis itself, and so everybody
	Start   int64    `json:"start"`
	End     int64    `json:"end"`
	Jobs    []string `json:"jobs,omitempty"`    // of the deliveries that it hit
	Lossy   bool     `json:"lossy,omitempty"`   // Redis may have lost writes that it had acknowledged
	Silent  bool     `json:"silent,omitempty"`  // Target, or everybody, was cut off, slowed down or ended by it
	Skipped bool     `json:"skipped,omitempty"` // there was nothing to break
	Failed  string   `json:"failed,omitempty"`  // why it could not be injected, or undone
}
