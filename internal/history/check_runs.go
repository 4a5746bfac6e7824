package history

import (
	"slices"
	"time"
)

type chunkKey struct {
	job   string
	chunk int
}

// begins checks that nothing begins to run that was seen to be over: nothing of a
// job that was canceled, nothing of a chunk that has its outcomes.
//
// "Begins" is each single call. A worker that has begun the chunk before hears
// that it is over when the next of its calls is due, or by an announcement; what
// it may run until then is within Bound. If something was broken for this worker,
// or for Redis, after the end was seen, it may go on until Grace after that.
func (c *checker) begins() {
	canceled := map[string]int64{} // job -> when it was first seen canceled
	for _, j := range c.jobs {
		for _, a := range j.answers {
			if at, ok := canceled[j.id]; a.err == ErrCanceled && (!ok || a.at < at) {
				canceled[j.id] = a.at
			}
		}
	}
	over := map[chunkKey]int64{} // when an outcome of the chunk was first seen
	for _, r := range c.runs {
		if s, ok := c.outcomes[callKey{r.began.Sub, r.began.Call}]; ok {
			k := chunkKey{r.began.Job, r.began.Chunk}
			if at, ok := over[k]; !ok || s.at < at {
				over[k] = s.at
			}
		}
	}
	for _, r := range c.runs {
		e := r.began
		if at, ok := canceled[e.Job]; ok && c.tooLate(e, at) {
			c.violate(RuleCanceled, e.Job, e.At, "worker %s began call %d (chunk %d, run %s) %v after the job was seen canceled", e.Worker, e.Call, e.Chunk, e.Run, time.Duration(e.At-at).Round(time.Millisecond))
		}
		if at, ok := over[chunkKey{e.Job, e.Chunk}]; ok && c.tooLate(e, at) {
			c.violate(RuleAgain, e.Job, e.At, "worker %s began call %d (chunk %d, run %s) %v after an outcome of its chunk was seen", e.Worker, e.Call, e.Chunk, e.Run, time.Duration(e.At-at).Round(time.Millisecond))
		}
	}
}

// tooLate reports whether the run began too long after its end was seen.
func (c *checker) tooLate(e Event, seen int64) bool {
	if e.At <= seen+int64(c.rules.Bound) || c.mayHaveLost(seen, e.At) {
		return false
	}
	return !slices.ContainsFunc(c.report.Faults, func(f Fault) bool {
		return f.Silent && (f.Target == "" || f.Target == e.Process) && f.End >= seen && f.Start <= e.At && e.At <= f.End+int64(c.rules.Grace)
	})
}

// count sums the runs up.
func (c *checker) count() {
	c.report.Runs = len(c.runs)
	c.report.Calls = len(c.outcomes)
	type try struct {
		callKey
		attempt int
	}
	tries := map[try]int{}
	again := map[chunkKey]bool{}
	for _, r := range c.runs {
		e := r.began
		tries[try{callKey{e.Sub, e.Call}, e.Attempt}]++
		if e.Delivery > 1 {
			again[chunkKey{e.Job, e.Chunk}] = true
		}
	}
	c.report.Redelivered = len(again)
	for _, n := range tries {
		c.report.Rerun += n - 1
	}
}
