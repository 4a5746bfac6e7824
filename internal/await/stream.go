package await

import (
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
	j.awaited, j.recorded = map[int]struct{}{}, map[int]int{}
	return j
}

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
	if len(j.arrival) > 0 {
		news = make([]Arrival, len(j.arrival))
		for i, chunk := range j.arrival {
			news[i] = Arrival{chunk, j.recorded[chunk], *j.outcomes[chunk]}
		}
		j.taken += len(j.arrival)
		j.arrival = j.arrival[:0]
		clear(j.outcomes)
		clear(j.recorded)
	}
	return news, j.settled, j.listen()
}
