package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// A payload is `LIST NUMBER\n` and the arguments: where the answer goes, and
// which of the producer's calls it answers. An answer is `NUMBER ok\n` and the
// values, or `NUMBER failed\n` and why.

func resultKey(list, number string) string { return "bench:result:" + list + ":" + number }

// replier is the handler of asynq-tuned.
type replier struct{ rdb redis.UniversalClient }

// handle keeps the result in a key, for whoever asks later, and pushes it to the
// producer's list, in one round trip.
func (r replier) handle(ctx context.Context, t *asynq.Task) error {
	head, data, _ := bytes.Cut(t.Payload(), []byte{'\n'})
	list, number, ok := bytes.Cut(head, []byte{' '})
	if !ok {
		return fmt.Errorf("a payload without its first line: %w", asynq.SkipRetry)
	}
	answer := make([]byte, 0, len(number)+len(" failed\n")+len(data)*2)
	answer = append(answer, number...)
	out, err := compute(t.Type(), data)
	if err != nil {
		answer = append(append(answer, " failed\n"...), err.Error()...)
	} else {
		answer = append(append(answer, " ok\n"...), out...)
	}
	key := "bench:replies:" + string(list)
	_, perr := r.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, resultKey(string(list), string(number)), answer, keepResults)
		p.RPush(ctx, key, answer)
		p.Expire(ctx, key, keepResults) // should the producer be gone
		return nil
	})
	return errors.Join(err, perr)
}

// replyTransport enqueues, and has one goroutine that takes answers from the
// producer's list.
type replyTransport struct {
	rdb    redis.UniversalClient
	client *asynq.Client
	list   string
	batch  *capturer // nil: each task is enqueued by itself
	ctx    context.Context
	stop   context.CancelFunc
	ended  chan struct{} // closed when the reader has ended

	mu      sync.Mutex // guards what follows
	last    int64
	waiting map[int64]*listReply
}

func newReplyTransport(rdb redis.UniversalClient, pipelined bool) *replyTransport {
	t := &replyTransport{rdb: rdb, list: uuid.NewString(), ended: make(chan struct{}), waiting: map[int64]*listReply{}}
	enqueue := rdb
	if pipelined {
		t.batch = newCapturer(rdb)
		enqueue = t.batch
	}
	t.client = asynq.NewClientFromRedisClient(enqueue)
	t.ctx, t.stop = context.WithCancel(context.Background())
	go t.read()
	return t
}

func (t *replyTransport) close() error {
	t.stop()
	err := t.rdb.Close() // which ends the reader's waiting
	<-t.ended
	return err
}

// expect notes that an answer will come.
func (t *replyTransport) expect() *listReply {
	r := &listReply{t: t, answer: make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	r.number = t.last
	t.waiting[r.number] = r
	return r
}

func (t *replyTransport) task(r *listReply, task string, data []byte) *asynq.Task {
	payload := make([]byte, 0, len(t.list)+24+len(data))
	payload = append(append(payload, t.list...), ' ')
	payload = append(strconv.AppendInt(payload, r.number, 10), '\n')
	return asynq.NewTask(task, append(payload, data...))
}

func (t *replyTransport) submit(ctx context.Context, task string, data []byte) (reply, error) {
	r := t.expect()
	_, err := t.client.EnqueueContext(ctx, t.task(r, task, data), asynq.Queue(asynqQueue))
	return r, err
}

// submitMany puts up to 500 tasks into one pipeline, where it may.
func (t *replyTransport) submitMany(ctx context.Context, task string, datas [][]byte) ([]reply, error) {
	if t.batch == nil {
		return submitInParallel(ctx, t, task, datas)
	}
	replies := make([]reply, 0, len(datas))
	for lo := 0; lo < len(datas); lo += 500 {
		err := t.batch.together(ctx, func(ctx context.Context) error {
			for _, data := range datas[lo:min(lo+500, len(datas))] {
				r := t.expect()
				replies = append(replies, r)
				if _, err := t.client.EnqueueContext(ctx, t.task(r, task, data), asynq.Queue(asynqQueue)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return replies, nil
}

// read waits for an answer, and takes with it what else is there.
func (t *replyTransport) read() {
	defer close(t.ended)
	key := "bench:replies:" + t.list
	for t.ctx.Err() == nil {
		first, err := t.rdb.BLPop(t.ctx, 5*time.Second, key).Result()
		if err != nil {
			if !errors.Is(err, redis.Nil) {
				_ = pause(t.ctx, 100*time.Millisecond) // ends with t
			}
			continue
		}
		t.answer(first[1])
		for {
			more, err := t.rdb.LPopCount(t.ctx, key, 1000).Result()
			if err != nil {
				break // nothing is left, or BLPop will say what is wrong
			}
			for _, a := range more {
				t.answer(a)
			}
		}
	}
}

// answer gives an answer to who waits for it. A second one, of a task that ran
// twice, is for nobody.
func (t *replyTransport) answer(a string) {
	number, rest, _ := bytes.Cut([]byte(a), []byte{' '})
	state, data, _ := bytes.Cut(rest, []byte{'\n'})
	n, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil {
		return
	}
	t.mu.Lock()
	r := t.waiting[n]
	delete(t.waiting, n)
	t.mu.Unlock()
	if r == nil {
		return
	}
	if string(state) != "ok" {
		r.err = errors.New(string(data))
	}
	r.data = data
	close(r.answer)
}

// listReply is an answer that comes over the list.
type listReply struct {
	t      *replyTransport
	number int64
	answer chan struct{} // closed when data and err are set
	data   []byte
	err    error
}

func (r *listReply) get(ctx context.Context) ([]byte, error) {
	select {
	case <-r.answer:
		return r.data, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (r *listReply) ready() bool {
	select {
	case <-r.answer:
		return true
	default:
		return false
	}
}

func (r *listReply) forget(ctx context.Context) error {
	return r.t.rdb.Unlink(ctx, resultKey(r.t.list, strconv.FormatInt(r.number, 10))).Err()
}
