// Package broker hands deliveries to asynq. It is the only code that enqueues.
package broker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/combine"
	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
)

const (
	// asynq archives a task that is out of retries without telling anybody, so it
	// gets more than it can use; attempts are counted in the job record.
	maxRetry = 10_000
	// asynq frees a slot when a task's timeout passes although the handler still
	// runs, and without a timeout it sets one of 30 minutes. Deadlines are kept in
	// our own contexts; asynq's must never come.
	timeout = 10 * 365 * 24 * time.Hour
)

// Broker enqueues deliveries through asynq's own client. It is safe for
// concurrent use.
type Broker struct {
	rdb       redis.UniversalClient
	client    *asynq.Client
	inspector *asynq.Inspector
	// inOrder says that a pipeline is executed in the order in which it was
	// written, so that the record, the deliveries and the bell can share one. A
	// Cluster runs the parts on different nodes in any order: there each waits for
	// the one before it.
	inOrder bool
	shared  *combine.Client
}

// New makes a Broker on a client that stays the caller's.
func New(rdb redis.UniversalClient) *Broker {
	return &Broker{
		rdb: rdb, inspector: asynq.NewInspectorFromRedisClient(rdb), client: asynq.NewClientFromRedisClient(capturer{rdb, &sync.Map{}}),
		inOrder: record.OneServer(rdb), shared: combine.New(rdb),
	}
}

// Submit applies op (which puts chunks into the record) and then enqueues their
// deliveries on the queue and rings its bell, in one round trip where the server
// allows it. task becomes the asynq task type, which is what operators see.
//
// The reply is op's. When err is not nil, any part may have happened: the caller
// decides between sending all of it again, which is harmless, and canceling.
func (b *Broker) Submit(ctx context.Context, op record.Op, queue, task string, ds []wire.Delivery) (*redis.Cmd, error) {
	return b.SubmitAt(ctx, op, queue, task, ds, time.Time{})
}

// SubmitAt is Submit of deliveries that are not for now: asynq keeps them, and
// gives them to the queue when start has come (see Start). The zero time, and
// one that has passed, are now.
func (b *Broker) SubmitAt(ctx context.Context, op record.Op, queue, task string, ds []wire.Delivery, start time.Time) (*redis.Cmd, error) {
	captured, err := b.capture(ctx, queue, task, ds, start)
	if err != nil {
		return nil, err
	}
	if one, ok := b.merge(op, queue, captured); ok {
		reply := one.Run(ctx, b.shared)
		return reply, reply.Err()
	}
	ring := record.Ring(queue, len(ds))
	if !b.inOrder {
		return b.submitInSteps(ctx, op, captured, ring, len(ds) > 0)
	}
	p := b.rdb.Pipeline()
	queued := op.Queue(ctx, p)
	var replies enqueued
	if len(ds) > 0 {
		replies = captured.add(ctx, p)
		ring.Queue(ctx, p)
	}
	_, _ = p.Exec(ctx) // each command's own error is looked at below
	reply := queued.Reply()
	if err := reply.Err(); record.IsNoScript(err) {
		// The server lost its scripts (restart, failover, SCRIPT FLUSH): run each
		// step with its source, which loads it again. What did pass is not repeated
		// harmfully: creating and enqueueing twice is as good as once.
		return b.submitInSteps(ctx, op, captured, ring, len(ds) > 0)
	} else if err != nil {
		return nil, err
	}
	late, err := b.settle(ctx, captured, replies)
	if err == nil && late {
		// The bell rang before those were there to be found: ring it again.
		err = ring.Run(ctx, b.rdb).Err()
	}
	return reply, err
}

// merge makes one script of the commonest submission: the creation of a job of one
// chunk, whose delivery is for now.
func (b *Broker) merge(op record.Op, queue string, captured *capture) (record.Op, bool) {
	if !b.inOrder || len(captured.cmds) != 1 {
		return record.Op{}, false
	}
	enqueue := captured.cmds[0]
	if enqueue.sha != record.AsynqEnqueue || len(enqueue.args) != 3 {
		return record.Op{}, false // it is for later, or asynq has changed
	}
	return op.Submit(record.Submission{Queue: queue, Keys: enqueue.keys, Msg: enqueue.args[0], TaskID: enqueue.args[1], Now: enqueue.args[2]})
}

// Enqueue enqueues deliveries of chunks that are in the record already, and
// rings the bell.
func (b *Broker) Enqueue(ctx context.Context, queue, task string, ds []wire.Delivery) error {
	return b.EnqueueAt(ctx, queue, task, ds, time.Time{})
}

// EnqueueAt is Enqueue with the start of SubmitAt.
func (b *Broker) EnqueueAt(ctx context.Context, queue, task string, ds []wire.Delivery, start time.Time) error {
	captured, err := b.capture(ctx, queue, task, ds, start)
	if err != nil {
		return err
	}
	return b.enqueueInSteps(ctx, captured, record.Ring(queue, len(ds)))
}

func (b *Broker) submitInSteps(ctx context.Context, op record.Op, captured *capture, ring record.Op, deliver bool) (*redis.Cmd, error) {
	reply := op.Run(ctx, b.rdb)
	if err := reply.Err(); err != nil {
		return nil, err
	}
	if !deliver {
		return reply, nil
	}
	return reply, b.enqueueInSteps(ctx, captured, ring)
}

func (b *Broker) enqueueInSteps(ctx context.Context, captured *capture, ring record.Op) error {
	p := b.rdb.Pipeline()
	replies := captured.add(ctx, p)
	_, _ = p.Exec(ctx) // the errors are the commands' own
	if _, err := b.settle(ctx, captured, replies); err != nil {
		return err
	}
	return ring.Run(ctx, b.rdb).Err()
}

// capture lets asynq's client encode the deliveries, without sending them.
func (b *Broker) capture(ctx context.Context, queue, task string, ds []wire.Delivery, start time.Time) (*capture, error) {
	captured := &capture{queue: queue, cmds: make([]command, 0, len(ds))}
	ctx = context.WithValue(ctx, captureKey{}, captured)
	atMilli := time.Now().UnixMilli()
	if !start.IsZero() {
		atMilli = max(atMilli, start.UnixMilli())
		// asynq cuts the time down to a second: never start early for that.
		start = start.Add(time.Second - time.Nanosecond).Truncate(time.Second)
	}
	for _, d := range ds {
		d.At = atMilli
		_, err := b.client.EnqueueContext(ctx, asynq.NewTask(task, d.Encode()), asynq.ProcessAt(start),
			asynq.TaskID(d.TaskID()), asynq.Queue(queue), asynq.MaxRetry(maxRetry), asynq.Timeout(timeout))
		if err != nil {
			return nil, fmt.Errorf("enqueueing %s on queue %q: %w", d.TaskID(), queue, err)
		}
	}
	return captured, nil
}

// settle looks at asynq's real replies: 1 is enqueued, 0 is "this ID exists",
// which is success too, since IDs are derived from what they deliver. Deliveries
// for which the server did not know asynq's script are sent again, each with its source:
// it may be lost once more. late says that there were such.
func (b *Broker) settle(ctx context.Context, captured *capture, replies enqueued) (late bool, err error) {
	var again []command
	var errs []error
	// Any other failure of the naming is made good by the next submission: in a Cluster the
	// node of that key may be away alone, and operators can wait.
	if len(captured.cmds) > 0 && redis.HasErrorPrefix(replies.named.Err(), "NOPERM") {
		return false, fmt.Errorf("naming queue %q to asynq: %w", captured.queue, replies.named.Err())
	}
	for i, reply := range replies.deliveries {
		if err := reply.Err(); record.IsNoScript(err) {
			again = append(again, captured.cmds[i])
		} else if err != nil {
			errs = append(errs, err)
		}
	}
	if len(again) > 0 {
		p := b.rdb.Pipeline()
		for _, cmd := range again {
			p.Eval(ctx, cmd.source, cmd.keys, cmd.args...)
		}
		resent, _ := p.Exec(ctx)
		for _, reply := range resent {
			if err := reply.Err(); err != nil {
				errs = append(errs, err)
			}
		}
	}
	if len(errs) > 0 {
		return len(again) > 0, fmt.Errorf("enqueueing: %d of %d deliveries failed: %w", len(errs), len(replies.deliveries), errs[0])
	}
	return len(again) > 0, nil
}
