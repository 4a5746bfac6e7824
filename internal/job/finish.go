package job

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Finished is one entry of Finish: a chunk with its outcomes, or one that is given back.
type Finished struct{ args []any }

// Size is about how many bytes the entry has.
func (f Finished) Size() int { return sizeOf(f.args) }

// Outcomes are what Record stores of a chunk.
type Outcomes struct {
	Frame  []byte // see package wire
	Calls  int    // of the chunk
	Failed int    // of these

	SlowCall int           // index in the job of the slowest call
	SlowTook time.Duration // under 1 ms: not worth remembering

	// Message is asynq's message of the delivery with the error in it. Where calls failed
	// the delivery is archived with it; empty: the delivery is done.
	Message []byte
}

// Record records the outcomes of a chunk and ends its delivery. The first recording of a
// chunk wins.
func Record(d Delivery, o Outcomes) Finished {
	slow := ""
	if o.SlowTook >= time.Millisecond {
		slow = strconv.FormatInt(o.SlowTook.Milliseconds(), 10) + " " + strconv.Itoa(o.SlowCall)
	}
	return Finished{[]any{"record", d.TaskID(), d.Name, d.Gen, d.Chunk, d.Number, o.Frame, o.Calls, o.Failed, slow, o.Message}}
}

// Where a delivery waits that is given back.
const (
	Head = "head" // of pending: it runs next
	Tail = "tail" // of pending: others run first
)

// Return gives a chunk back with what the worker has of it: part, which finishes so many
// calls; nil is nothing. Its delivery waits at the Head or the Tail of pending. message is
// asynq's.
func Return(d Delivery, part []byte, calls int, where string, message []byte) Finished {
	return Finished{[]any{"return", d.TaskID(), d.Name, d.Gen, d.Chunk, d.Number, part, calls, where, message}}
}

// PutOff is Return of a delivery that waits in asynq's retry set until the given time, in
// whole seconds. message is asynq's, with the error.
func PutOff(d Delivery, part []byte, calls int, until time.Time, message []byte) Finished {
	return Finished{[]any{"return", d.TaskID(), d.Name, d.Gen, d.Chunk, d.Number, part, calls, until.Unix(), message}}
}

// Dismiss archives a task that is no delivery, or whose job is damaged. message is asynq's,
// with the error.
func Dismiss(taskID string, message []byte) Finished {
	return Finished{[]any{"dismiss", taskID, "", "", 0, 0, message}}
}

// Hosted is the entry of a chunk whose delivery an asynq.Server has taken, and ends itself.
// next is the task ID of the delivery with which a chunk that is given back comes again.
func (f Finished) Hosted(next string) Finished {
	f.args[1] = next
	return f
}

func sizeOf(args []any) int {
	n := 0
	for _, a := range args {
		switch a := a.(type) {
		case []byte:
			n += len(a)
		case string:
			n += len(a)
		default:
			n += 8
		}
	}
	return n
}

// Answer is what Finish says of one entry.
type Answer string

// The answers of Finish. All but OK mean that the job was not changed.
const (
	OK       Answer = "ok"
	Recorded Answer = "recorded" // the chunk has its outcomes
	Ended    Answer = "canceled" // its job was canceled
	NoJob    Answer = "gone"
	NotOwner Answer = "lost"     // the chunk is not this worker's
	BadJob   Answer = "damaged"  // the job's record
	NoFrame  Answer = "unstored" // the large frame of the outcomes is not there: nothing was done at all
)

// Finishing is what all entries of one Finish share.
type Finishing struct {
	Worker string
	Inline int       // the largest outcomes that travel in notices, in bytes
	Now    time.Time // by the clock of this process, as asynq has it
}

// Finish records or returns chunks of one lane and ends their deliveries, in this order.
// Without an answer it is not known which entries were done, and sending them again is safe.
func Finish(ctx context.Context, c redis.UniversalClient, lane string, f Finishing, entries []Finished) ([]Answer, error) {
	n := 7
	for _, e := range entries {
		n += len(e.args)
	}
	args := append(begin(finishScript, lane, n), lane, f.Worker)
	args = append(args, day(f.Now)...)
	args = append(args, f.Inline, publishBy(c), len(entries))
	for _, e := range entries {
		args = append(args, e.args...)
	}
	reply, err := send(ctx, c, finishScript, false, args).StringSlice()
	if err != nil {
		return nil, err
	}
	if len(reply) != len(entries) {
		return nil, fmt.Errorf("finish in lane %s answered %d of %d entries", lane, len(reply), len(entries))
	}
	answers := make([]Answer, len(reply))
	for i, s := range reply {
		answers[i] = Answer(s)
	}
	return answers, nil
}
