package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"os"
	"strconv"
	"time"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

var (
	squareTask = tasks.Define(square, func(_ context.Context, n int) (int, error) { return n * n, nil })
	sleepTask  = tasks.Define(sleep, func(_ context.Context, n int) (int, error) {
		time.Sleep(nap)
		return n * n, nil
	})
	flipTask = tasks.Define(flip, func(_ context.Context, data []byte) ([]byte, error) { return flipped(data), nil })
)

// intTask finds a task by its name.
func intTask(name string) *tasks.Task[int, int] {
	if name == sleep {
		return sleepTask
	}
	return squareTask
}

// flipped returns data with every bit changed.
func flipped(data []byte) []byte {
	out := make([]byte, len(data))
	whole := len(data) &^ 7
	for i := 0; i < whole; i += 8 { // by eight, so that a call is mostly transport
		binary.NativeEndian.PutUint64(out[i:], ^binary.NativeEndian.Uint64(data[i:]))
	}
	for i := whole; i < len(data); i++ {
		out[i] = ^data[i]
	}
	return out
}

// distpoolSystem is distpool as its documentation shows it, with no settings but
// those that the measurement is about.
type distpoolSystem struct{}

func (distpoolSystem) work(ctx context.Context, s settings) error {
	queues := map[string]int{worker.DefaultQueue: 1}
	for i := 1; i < s.queues; i++ {
		queues["other-"+strconv.Itoa(i)] = 1
	}
	return worker.Run(ctx, worker.Config{
		Redis:       "redis://" + s.addr + "?client_name=" + workerName(os.Getpid()),
		Concurrency: s.conc,
		Queues:      queues,
	}, squareTask, sleepTask, flipTask)
}

// open makes a pool. Values stay in Redis for as long as they do by default, also
// in W2 and W3, whose jobs are the blocking forms'.
func (distpoolSystem) open(ctx context.Context, s settings) (client, error) {
	pool, err := producer.Open(ctx, producer.Config{Redis: "redis://" + s.addr})
	if err != nil {
		return nil, err
	}
	return distpoolClient{pool}, nil
}

type distpoolClient struct{ pool *producer.Pool }

func (c distpoolClient) close(ctx context.Context) error { return c.pool.Terminate(ctx) }

func (c distpoolClient) apply(ctx context.Context, task string, arg int) (int, error) {
	return producer.Apply(ctx, c.pool, intTask(task), arg)
}

func (c distpoolClient) applyAsync(ctx context.Context, task string, arg int) (pending[int], error) {
	r, err := producer.ApplyAsync(ctx, c.pool, intTask(task), arg)
	if err != nil {
		return nil, err
	}
	return handle[int]{r}, nil
}

func (c distpoolClient) mapAsync(ctx context.Context, task string, args []int, chunk int) (pending[[]int], error) {
	m, err := producer.MapAsync(ctx, c.pool, intTask(task), args, producer.ChunkSize(chunk))
	if err != nil {
		return nil, err
	}
	return handle[[]int]{m}, nil
}

func (c distpoolClient) mapAll(ctx context.Context, task string, args []int, chunk int) ([]int, error) {
	return producer.Map(ctx, c.pool, intTask(task), args, producer.ChunkSize(chunk))
}

func (c distpoolClient) stream(ctx context.Context, n, chunk int) iter.Seq2[int, error] {
	return producer.IMapUnordered(ctx, c.pool, squareTask, upTo(n), producer.ChunkSize(chunk))
}

func (c distpoolClient) flip(ctx context.Context, data []byte) ([]byte, error) {
	return producer.Apply(ctx, c.pool, flipTask, data)
}

// handle makes a handle of distpool a pending.
type handle[T any] struct {
	h interface {
		Get(context.Context) (T, error)
		Ready() bool
		Forget(context.Context) error
	}
}

func (h handle[T]) get(ctx context.Context) (T, error) { return h.h.Get(ctx) }
func (h handle[T]) ready() bool                        { return h.h.Ready() }
func (h handle[T]) forget(ctx context.Context) error   { return h.h.Forget(ctx) }

var _ pending[int] = handle[int]{(*results.AsyncResult[int])(nil)}

// upTo yields the ints from 0 to n-1.
func upTo(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

// workerName is the name under which the connections of a worker process appear
// in Redis's list of clients.
func workerName(pid int) string { return fmt.Sprintf("bench-worker-%d", pid) }
