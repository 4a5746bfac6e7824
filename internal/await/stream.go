package await

import (
	"maps"
	"slices"

	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/wire"
)

// NewStream makes an open job whose outcomes are taken out of it as they come
// (Take), so that it holds no more than what is on its way, however long it
// gets. It must be told of every chunk before that is submitted (Expect), and
// what was taken may be removed from the record. Arrived is not for it, and
// Outcomes are those that nobody has taken yet.
func NewStream(lane, name, task string) *Job {
	j := NewJob(lane, job.Ref{Name: name}, task, 0, 0, false)
	j.awaited = map[int]struct{}{}
	return j
}

// streams reports whether this is a stream.
func (j *Job) streams() bool { return j.awaited != nil }

// Expect tells a stream that the n chunks from first on will be submitted.
func (j *Job) Expect(first, n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for chunk := first; chunk < first+n; chunk++ {
		j.awaited[chunk] = struct{}{}
	}
}

// Arrival is the outcomes of one chunk of a stream.
type Arrival struct {
	Chunk int
	Place int // in the order of recordings
	wire.Outcome
}

// Take removes the outcomes that have arrived from a stream and returns them in
// the order of their arrival, with a channel that closes at the next change.
// Once ended is true no more will come.
func (j *Job) Take() (news []Arrival, ended bool, changed <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, a := range j.arrival {
		news = append(news, Arrival{a.chunk, a.place, *j.outcomes[a.chunk]})
	}
	j.taken += len(j.arrival)
	j.arrival = j.arrival[:0]
	clear(j.outcomes)
	return news, j.settled, j.listen()
}

// Unfinished lists the submitted chunks without outcomes here.
func (j *Job) Unfinished() []int {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.streams() {
		return slices.Sorted(maps.Keys(j.awaited))
	}
	var chunks []int
	for k := range j.counts.Chunks {
		if !j.knows(k) {
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
	case j.streams():
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
