package record

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/names"
)

// What is here does in one script what otherwise takes several, on keys of the job
// and of asynq: only a server that holds all keys can do that. In a Cluster the
// parts run one by one. The parts that are asynq's are those of asynq v0.26: before
// any of these is used, the script that it stands for must have been recognised by
// the SHA-1 of its source.
const (
	AsynqEnqueue = "98d28b42650870a743450ffda9791e9e19c6991b"
	AsynqDequeue = "a8153319360adc71cdc370107f8ab9786f204765"
	AsynqDone    = "1241eaa1c73409baaf1fea0c08d203a4911bda15"
	AsynqForward = "522b1a6ae66fe79ea2f24a9af58798ab71879035"
	AsynqListing = "3c8548ad44d0dfcfde50f07ea9271d77f656042c" // writeServerStateCmd
)

// OneServer reports whether all keys are on one server, which runs what it is sent
// in the order in which it is sent.
func OneServer(c redis.UniversalClient) bool {
	_, ok := c.(*redis.Client)
	return ok
}

// AsynqQueues is the set of the queues that asynq knows: what its inspector lists, and
// lets operators pause (asynq v0.26, internal/base: AllQueues).
const AsynqQueues = "asynq:queues"

// Asynq's keys (asynq v0.26, internal/base).
func asynqKey(queue, name string) string { return "asynq:{" + queue + "}:" + name }

// Submission is asynq's enqueue of a job's only delivery, as asynq's client would
// send it.
type Submission struct {
	Queue  string
	Keys   []string // of the task, and of the pending list
	TaskID any
	Msg    any // asynq's message
	Now    any // ns
}

// Submit makes a job, enqueues its only delivery, names the queue to asynq and rings
// the bell. The reply is Create's. ok is false when the creation is not that of an
// inline job whose ID was drawn.
func (o Op) Submit(s Submission) (op Op, ok bool) {
	if o.script != createScript || len(s.Keys) != 2 {
		return Op{}, false
	}
	// As Create has put them: two, the fields, and the chunks.
	fields, chunks := o.args[2:2+2*o.args[1].(int)], o.args[2+2*o.args[1].(int):]
	inline, chosen, within := false, false, any("0")
	for i := 0; i < len(fields); i += 2 {
		switch fields[i] {
		case "inline":
			inline = true
		case "gen":
			chosen = true
		case "within":
			within = fields[i+1]
		}
	}
	if !inline || chosen || len(chunks) != 2 {
		return Op{}, false
	}
	args := make([]any, 0, 7+len(fields))
	args = append(args, o.args[0], within, s.Msg, s.TaskID, s.Now)
	for i := 0; i < len(fields); i += 2 {
		if name := fields[i].(string); name != "id" && name != "chunks" && !isUsual(name, fields[i+1]) {
			args = append(args, name, fields[i+1])
		}
	}
	args = append(args, "args", chunks[1])
	return Op{submitScript, []string{o.keys[0], s.Keys[0], s.Keys[1], BellKey(s.Queue), AsynqQueues}, args}, true
}

// Share is how many deliveries a queue is asked for first.
type Share struct {
	Queue string
	N     int
}

// Fetched is a delivery that was taken from its queue.
type Fetched struct {
	Queue  string
	TaskID string
	Msg    string    // asynq's message
	Asked  time.Time // when the request for it was sent
	Begun  *Begun    // the chunk was begun with it; nil: that is left to Begin
	Owned  bool      // the chunk is the worker's by this delivery, and GiveBack gives it up
}

// Fetch takes up to n deliveries from the queues, up to more of them in addition where
// no worker of the queue is idle, and begins chunks of theirs for worker where that is
// simple. Their leases last for the given time. It is not
// repeated when a connection breaks: each time would take other deliveries. After an
// error some may have been taken (see OwnDeliveries).
func Fetch(ctx context.Context, c redis.UniversalClient, worker string, shares []Share, n, more int, lease time.Duration) ([]Fetched, error) {
	keys := make([]string, 0, 5*len(shares))
	args := make([]any, 0, 4+2*len(shares))
	args = append(args, worker, n, time.Now().Add(lease).Unix(), more)
	for _, s := range shares {
		keys = append(keys, asynqKey(s.Queue, "pending"), asynqKey(s.Queue, "paused"), asynqKey(s.Queue, "active"), asynqKey(s.Queue, "lease"), BellKey(s.Queue))
		args = append(args, asynqKey(s.Queue, "t:"), s.N)
	}
	asked := time.Now()
	reply, err := Op{fetchScript, keys, args}.runOnce(ctx, c).Slice()
	if err != nil {
		return nil, err
	}
	fs := make([]Fetched, len(reply))
	for i, r := range reply {
		if fs[i], err = parseFetched(shares, r); err != nil {
			return nil, err
		}
		fs[i].Asked = asked
	}
	return fs, nil
}

func parseFetched(shares []Share, reply any) (Fetched, error) {
	f, _ := reply.([]any)
	if len(f) != 3 && len(f) != 11 {
		return Fetched{}, fmt.Errorf("fetching deliveries: unknown reply %v", reply)
	}
	q, ok := f[0].(int64)
	if !ok || q < 0 || int(q) >= len(shares) {
		return Fetched{}, fmt.Errorf("fetching deliveries: unknown reply %v", reply)
	}
	text := func(i int) string { s, _ := f[i].(string); return s }
	d := Fetched{Queue: shares[q].Queue, TaskID: text(1), Msg: text(2)}
	if len(f) == 11 {
		d.Owned = true
		calls, err := strconv.Atoi(text(5))
		if err != nil || calls < 0 || calls > maxCount {
			return d, nil // damaged: Begin says so
		}
		d.Begun = &Begun{
			Verdict: Run, Delivery: 1, Args: []byte(text(3)), Codec: text(4), Calls: calls, Task: text(6), Policy: text(7), Headers: text(8),
			Inline: text(9) == "1", Big: text(10) == "1",
		}
	}
	return d, nil
}

// OwnDeliveries lists deliveries that are out of the queue and whose chunk worker
// holds according to the record, but those that it knows of.
func OwnDeliveries(ctx context.Context, c redis.Cmdable, worker, queue string, known func(taskID string) bool) ([]string, error) {
	ids, err := c.LRange(ctx, asynqKey(queue, "active"), 0, -1).Result()
	if err != nil {
		return nil, err
	}
	ids = slices.DeleteFunc(ids, known)
	if len(ids) == 0 {
		return nil, nil
	}
	// It is in one of two places. What cannot be read is not ours.
	inline, other := make([]*redis.StringCmd, len(ids)), make([]*redis.StringCmd, len(ids))
	_, _ = c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			job, chunk := partsOf(queue, id)
			inline[i], other[i] = p.HGet(ctx, Keys(job)[0], "run"), p.HGet(ctx, Keys(job)[4], chunk)
		}
		return nil
	})
	var own []string
	for i, id := range ids {
		if (inline[i].Val() == worker || other[i].Val() == worker) && !known(id) {
			own = append(own, id)
		}
	}
	return own, nil
}

// partsOf is the job and the chunk of a delivery, by asynq's task ID.
func partsOf(queue, taskID string) (job, chunk string) {
	name, rest, _ := strings.Cut(taskID, ":")
	chunk, _, _ = strings.Cut(rest, ":")
	return names.Address{Queue: queue, Name: name}.String(), chunk
}

// GiveBack puts deliveries that worker has fetched back to the front of their queues,
// the first one to the very front, and the chunks that it owns by them back into the
// record.
func GiveBack(ctx context.Context, c redis.UniversalClient, worker string, ds []Fetched) error {
	if len(ds) == 0 {
		return nil
	}
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, d := range slices.Backward(ds) {
			job, chunk := partsOf(d.Queue, d.TaskID)
			if !d.Owned {
				chunk = ""
			}
			// With its source: it is rare, and the worker may not load scripts.
			giveBackScript.Eval(ctx, p, []string{
				asynqKey(d.Queue, "active"), asynqKey(d.Queue, "lease"), asynqKey(d.Queue, "pending"), asynqKey(d.Queue, "t:") + d.TaskID,
				BellKey(d.Queue), Keys(job)[0], Keys(job)[4],
			}, d.TaskID, worker, chunk)
		}
		return nil
	})
	return err
}

// statsTTL is how long asynq keeps its counters of a day.
const statsTTL = 90 * 24 * time.Hour

// Finish is Recording.Run, of a chunk without failures, and the end of its delivery.
// inlineJob says that the job is known to be inline.
func Finish(job Ref, inlineJob bool, chunk int, r Recording, queue, taskID string) Op {
	now := time.Now()
	script, keys := finishScript, make([]string, 0, 10)
	if inlineJob {
		script, keys = finishInline, append(keys, Keys(job.ID)[0])
	} else {
		keys = append(keys, Keys(job.ID)...)
	}
	prefix := asynqKey(queue, "")
	keys = append(keys, prefix+"active", prefix+"lease", prefix+"t:"+taskID, prefix+"processed:"+now.UTC().Format(time.DateOnly), prefix+"processed")
	return Op{script, keys, append(r.args(job, chunk), taskID, now.Add(statsTTL).Unix())}
}
