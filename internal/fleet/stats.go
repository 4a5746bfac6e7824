package fleet

import "time"

// Stats tells people how a worker is doing. No promise depends on it.
type Stats struct {
	Busy   int     `json:"busy"`             // slots with a chunk
	Calls  int64   `json:"calls"`            // that ended since it started, counting each attempt
	Failed int64   `json:"failed,omitempty"` // that failed for good
	Took   int64   `json:"took,omitempty"`   // what calls took, added up, ms
	Rate   float64 `json:"rate"`             // calls per second, over the last ten seconds or so
	// History counts the calls that ended in each of the last quarters of a minute, the
	// latest last. Only quarters that have passed are in it. Until is the end of the
	// latest, by the worker's clock (Unix time, s).
	History []int64 `json:"hist,omitempty"`
	Until   int64   `json:"until,omitempty"`
}

// HistoryStep is the time that each number of Stats.History is about.
const HistoryStep = 15 * time.Second

// Counts is what a worker has done so far. Stats are made of it.
type Counts struct {
	Busy   int           // slots with a chunk
	Calls  int64         // that ended, counting each attempt
	Failed int64         // that failed for good
	Took   time.Duration // of all calls together
}
