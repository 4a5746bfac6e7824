package await

import (
	"maps"
	"slices"
)

// Unfinished lists the chunks that were submitted and whose outcomes are not here.
func (j *Job) Unfinished() []int {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.awaited != nil {
		return slices.Sorted(maps.Keys(j.awaited))
	}
	var chunks []int
	for k := range j.counts.Chunks {
		if _, over := j.outcomes[k]; !over {
			chunks = append(chunks, k)
		}
	}
	return chunks
}

// FailedChunks is how many chunks are known to have failed calls; of a stream, which does
// not remember that, -1 if any has.
func (j *Job) FailedChunks() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.counts.Failed == 0:
		return 0
	case j.awaited != nil:
		return -1
	}
	n := 0
	for _, o := range j.outcomes {
		if len(o.Errors) > 0 {
			n++
		}
	}
	return max(n, 1)
}
