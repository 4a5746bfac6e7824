package await

import (
	"testing"
	"time"

	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/wire"
)

// submitStream makes an open job of single calls, and tracks it.
func submitStream(t *testing.T, h *Hub, reply string, chunks int) *Job {
	t.Helper()
	j, err := h.Track(NewStream("q", "s", "task"))
	if err != nil {
		t.Fatal(err)
	}
	j.Expect(0, chunks)
	create(t, h, "s", reply, chunks, true)
	j.Submitted(chunks, chunks, false)
	return j
}

// takeOne waits for the outcomes of a chunk, which must be all that there are.
func takeOne(t *testing.T, j *Job, chunk int) {
	t.Helper()
	for {
		news, ended, changed := j.Take()
		if len(news) == 1 && news[0].Chunk == chunk && news[0].First == chunk {
			return
		}
		if len(news) > 0 || ended {
			t.Fatalf("took %+v, ended %t, %v; want chunk %d", news, ended, j.Err(), chunk)
		}
		waitDone(t, changed, "the next outcome")
	}
}

// What is taken is forgotten here and in Redis, whether notices bring it or
// polling does, and the job is done all the same.
func TestStreamIsTakenPieceByPiece(t *testing.T) {
	for name, c := range map[string]struct {
		reply  bool
		inline int
	}{"by notices": {true, 1000}, "by notices that make the hub read": {true, 0}, "by polling": {false, 1000}} {
		t.Run(name, func(t *testing.T) {
			h, rdb := startHub(t)
			reply := ""
			if c.reply {
				reply = h.Pool
			}
			const n = 30
			j := submitStream(t, h, reply, n)
			for i := range n {
				chunk := n - 1 - i
				recordOut(t, h, "s", chunk, "[1]", c.inline)
				hush(j)
				takeOne(t, j, chunk)
				if err := job.Consume(t.Context(), rdb, "q", j.Ref, []int{chunk}, []int{i}); err != nil {
					t.Fatal(err)
				}
			}
			j.mu.Lock()
			if len(j.outcomes)+len(j.arrival)+len(j.awaited)+len(j.misses)+len(j.places.above) > 0 {
				t.Errorf("the job holds %d outcomes, %d arrivals, %d awaited, misses %v", len(j.outcomes), len(j.arrival), len(j.awaited), j.misses)
			}
			j.mu.Unlock()
			seal := job.Add(j.Ref, n, n, true, time.Hour, nil)
			if _, err := job.Submit(t.Context(), rdb, "q", []job.Submission{seal}); err != nil {
				t.Fatal(err)
			}
			hush(j)
			waitDone(t, j.Done(), "the end")
			if j.Err() != nil {
				t.Error(j.Err())
			}
		})
	}
}

func TestStreamTakesNoOutcomeTwice(t *testing.T) {
	h, _ := startHub(t)
	j := submitStream(t, h, h.Pool, 2)
	frame := wire.Outcome{First: 1, Calls: 1, Values: []byte("[1]")}.Encode()
	j.hear(j.Counts(), nil, recorded{recording{chunk: 1}, frame})
	takeOne(t, j, 1)
	j.hear(j.Counts(), nil, recorded{recording{chunk: 1}, frame}) // read twice, or its notice overtaken by a read
	if news, _, _ := j.Take(); len(news) > 0 {
		t.Errorf("took %+v again", news)
	}
}

// Terminate looks at the outcomes of a stream that goes on taking what is left.
func TestOutcomesOfAStreamThatIsOverMayBeReadWhileTheyAreTaken(t *testing.T) {
	j := NewStream("q", "j", "square")
	j.outcomes[0], j.arrival, j.settled = &wire.Outcome{}, []recording{{}}, true
	outcomes := j.Outcomes()
	if news, ended, _ := j.Take(); len(news) != 1 || !ended {
		t.Errorf("taken are %v, ended: %v", news, ended)
	}
	if len(outcomes) != 1 || len(j.Outcomes()) != 0 {
		t.Errorf("after that the outcomes that were read are %v, and those left %v", outcomes, j.Outcomes())
	}
}
