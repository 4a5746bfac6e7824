package nested

// MaxWaits bounds the waits of one worker that others look at. A worker with more publishes
// none, since its heartbeat is to stay small.
const MaxWaits = 1 << 10

// HeldSlot is a slot held by a call that waits for jobs which it has submitted, as its worker
// publishes it.
type HeldSlot struct {
	Job   string `json:"job"` // the call's own
	Chunk int    `json:"chunk"`
	Waits []Wait `json:"waits"` // one, unless the call waits on several goroutines
}

// Wait is a call's wait for a job.
type Wait struct {
	Number int64  `json:"n"` // counted by the worker
	Job    string `json:"job"`
	Task   string `json:"task"`
	Queue  string `json:"queue"`
}
