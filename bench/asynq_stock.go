package main

import (
	"context"
	"errors"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// asynq's own results (ResultWriter, a retention, and the inspector asked until
// the task is completed) were tried first: with 20,000 calls outstanding they are
// less than half as fast as the lists here, since all that wait have to ask.

func replyKey(id string) string { return "bench:reply:" + id }

// oneReply is the handler of asynq-stock: it pushes the result to a list of the
// call's own.
type oneReply struct{ rdb redis.UniversalClient }

func (o oneReply) handle(ctx context.Context, t *asynq.Task) error {
	out, err := compute(t.Type(), t.Payload())
	if err != nil {
		return err
	}
	id, _ := asynq.GetTaskID(ctx)
	_, err = o.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.RPush(ctx, replyKey(id), out)
		p.Expire(ctx, replyKey(id), keepResults)
		return nil
	})
	return err
}

// stockTransport enqueues with asynq's client, and who wants a value waits for
// its list.
type stockTransport struct {
	rdb    redis.UniversalClient
	client *asynq.Client
}

func newStockTransport(rdb redis.UniversalClient) *stockTransport {
	return &stockTransport{rdb, asynq.NewClientFromRedisClient(rdb)}
}

func (t *stockTransport) close() error { return t.rdb.Close() }

func (t *stockTransport) submit(ctx context.Context, task string, data []byte) (reply, error) {
	info, err := t.client.EnqueueContext(ctx, asynq.NewTask(task, data), asynq.Queue(asynqQueue))
	if err != nil {
		return nil, err
	}
	return &awaitedReply{t: t, key: replyKey(info.ID)}, nil
}

func (t *stockTransport) submitMany(ctx context.Context, task string, datas [][]byte) ([]reply, error) {
	return submitInParallel(ctx, t, task, datas)
}

// submitInParallel enqueues from as many goroutines as help.
func submitInParallel(ctx context.Context, t transport, task string, datas [][]byte) ([]reply, error) {
	replies := make([]reply, len(datas))
	err := spread(ctx, len(datas), 16, func(ctx context.Context, lo, hi int) (err error) {
		for i := lo; i < hi; i++ {
			if replies[i], err = t.submit(ctx, task, datas[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return replies, err
}

// awaitedReply is a list on which the answer will be. Taking it empties the list.
type awaitedReply struct {
	t   *stockTransport
	key string
}

func (r *awaitedReply) get(ctx context.Context) ([]byte, error) {
	for {
		popped, err := r.t.rdb.BLPop(ctx, 5*time.Second, r.key).Result()
		if err == nil {
			return []byte(popped[1]), nil
		}
		if ctx.Err() != nil || !errors.Is(err, redis.Nil) {
			return nil, err
		}
	}
}

func (r *awaitedReply) ready() bool {
	n, err := r.t.rdb.LLen(context.Background(), r.key).Result()
	return err == nil && n > 0
}

func (r *awaitedReply) forget(ctx context.Context) error { return r.t.rdb.Unlink(ctx, r.key).Err() }
