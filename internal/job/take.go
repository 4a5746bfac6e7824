package job

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
)

// Verdict says what is to be done with a delivery that was taken.
type Verdict string

// The verdicts of Take.
const (
	Run     Verdict = "run"     // run the chunk: the worker owns it
	Alone   Verdict = "alone"   // run the chunk beside no other: take the delivery again, by its ID, when nothing else runs
	Late    Verdict = "late"    // its job had to begin before now: Expire ends it
	NoArgs  Verdict = "missing" // its arguments are not there, and neither is an outcome: the job is damaged
	Paused  Verdict = "paused"  // nothing: the queue is paused, and the delivery is in pending again
	Damaged Verdict = "damaged" // its job is not readable, or the task is no delivery of distpool
	Held    Verdict = "held"    // nothing: a worker has the chunk by a delivery that asynq has moved. This one stays in active for the supervisor

	// With these the delivery has ended.
	WasRecorded Verdict = "recorded" // its chunk has its outcomes
	HadEnded    Verdict = "ended"    // its job is over
	WasGone     Verdict = "gone"     // there is no such job
	Occupied    Verdict = "busy"     // a worker runs its chunk
	Stale       Verdict = "stale"    // it was issued again
)

// IsOver reports whether there is nothing to do about the delivery.
func (v Verdict) IsOver() bool {
	switch v {
	case WasRecorded, HadEnded, WasGone, Occupied, Stale, Paused, Held:
		return true
	}
	return false
}

// Taken is one delivery that a worker has taken off its lane.
type Taken struct {
	Delivery // the zero Delivery: it is none of distpool
	TaskID   string
	Verdict  Verdict
	About    string // see ParseAbout; empty: its job is not known

	// Of a chunk that is to be run.
	Calls  int           // of the job, as far as known
	Args   []byte        // framed
	Deaths int           // of workers that ran the chunk
	Part   []byte        // what a checkpoint saved of it; empty: nothing
	Waited time.Duration // how long the delivery was pending, if Taking.Waits; negative: not known
}

// Taking asks for deliveries of a lane.
type Taking struct {
	Worker string
	Most   int       // deliveries
	Room   int       // bytes of arguments; the first chunk may have more
	Moved  []string  // task IDs of deliveries that are in active already: without a lease, or this worker's
	Budget int       // how many workers may die in a chunk before a call of it is given up. The attempt before that gets the verdict Alone; 0: it does not
	Waits  bool      // the worker wants to know how long deliveries waited
	Hosted bool      // an asynq.Server has moved the deliveries, and ends them itself: Take leaves them in active
	Now    time.Time // by the clock of this process, as asynq has it
}

// Take moves deliveries from pending to active and makes the worker the owner of those
// chunks that may run. Deliveries of which nothing is to be done end here.
// It is sent once: if the reply is lost, the error says so, and the record says which chunks are the worker's.
func Take(ctx context.Context, c redis.UniversalClient, lane string, t Taking) ([]Taken, error) {
	args := append(begin(takeScript, lane, 10+len(t.Moved)), lane, t.Worker, t.Most, t.Now.Add(asynqfmt.LeaseDuration).Unix(), t.Room)
	args = append(args, day(t.Now)...)
	args = append(args, t.Budget, flag(t.Waits), flag(t.Hosted))
	for _, id := range t.Moved {
		args = append(args, id)
	}
	reply, err := send(ctx, c, takeScript, true, args).Slice()
	if err != nil {
		return nil, err
	}
	taken := make([]Taken, 0, len(reply))
	for _, r := range reply {
		one, err := parseTaken(r)
		if err != nil {
			return taken, fmt.Errorf("the reply of take in lane %s: %w", lane, err)
		}
		taken = append(taken, one)
	}
	return taken, nil
}

// PutBack moves deliveries that BLMOVE has moved to active, and that were not taken, back to
// the head of pending.
func PutBack(ctx context.Context, c redis.UniversalClient, lane string, taskIDs ...string) error {
	args := append(make([]any, 0, 1+len(taskIDs)), lane)
	for _, id := range taskIDs {
		args = append(args, id)
	}
	return run(ctx, c, putBackScript, lane, args).Err()
}

// flag is a truth value as scripts have it.
func flag(b bool) string {
	if b {
		return "1"
	}
	return ""
}

// day is the date of asynq's counters, and when they go.
func day(now time.Time) []any {
	return []any{now.UTC().Format(time.DateOnly), now.Add(asynqfmt.CountersLast).Unix()}
}

func parseTaken(reply any) (Taken, error) {
	fields, _ := reply.([]any)
	text := func(i int) string {
		if i < len(fields) {
			s, _ := fields[i].(string)
			return s
		}
		return ""
	}
	t := Taken{TaskID: text(0), Verdict: Verdict(text(1)), About: text(2), Waited: -1}
	if t.TaskID == "" {
		return t, fmt.Errorf("%v is no delivery", reply)
	}
	var ok bool
	if t.Delivery, ok = ParseTaskID(t.TaskID); !ok {
		t.Delivery, t.Verdict = Delivery{}, Damaged
	}
	if t.Verdict != Run {
		return t, nil
	}
	t.Args, t.Part = []byte(text(4)), []byte(text(6))
	var err error
	if t.Calls, err = parseCount(text(3)); err != nil {
		t.Verdict = Damaged
	}
	t.Deaths, _ = strconv.Atoi(text(5))
	if ms, _ := fields[len(fields)-1].(int64); len(fields) == 8 && ms >= 0 {
		t.Waited = time.Duration(ms) * time.Millisecond
	}
	return t, nil
}
