package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"iter"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
)

// floorSystem is what a call must cost at least: it speaks asynq's data format, and keeps a
// hash for each call, in three scripts of many entries each. It has no retries, errors, recovery
// or cancellation, runs one task, and is no system to use. What lies between it and
// distpool is the price of distpool's promises.
type floorSystem struct{}

//go:embed floor_submit.lua
var floorSubmitLua string

//go:embed floor_take.lua
var floorTakeLua string

//go:embed floor_finish.lua
var floorFinishLua string

var (
	floorSubmit = redis.NewScript(floorSubmitLua)
	floorTake   = redis.NewScript(floorTakeLua)
	floorFinish = redis.NewScript(floorFinishLua)
)

const (
	floorQueue = "floor"
	floorReply = "bench:floor:reply:"
	floorJobs  = "bench:floor:job:"
)

// gatherer sends what gathers while earlier batches are under way: at most 64 entries in a
// batch, and two batches at a time.
type gatherer[T any] struct {
	send func([]T)

	mu       sync.Mutex // guards what follows
	waiting  []T
	underWay int
}

func (g *gatherer[T]) add(x T) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, x)
	if g.underWay < 2 {
		g.underWay++
		go g.run()
	}
}

func (g *gatherer[T]) run() {
	for {
		g.mu.Lock()
		n := min(len(g.waiting), 64)
		if n == 0 {
			g.underWay--
			g.mu.Unlock()
			return
		}
		batch := g.waiting[:n:n]
		g.waiting = g.waiting[n:]
		g.mu.Unlock()
		g.send(batch)
	}
}

// floorOutcome is a value that is to be recorded.
type floorOutcome struct{ id, value string }

func (floorSystem) work(ctx context.Context, s settings) error {
	rdb := redis.NewClient(&redis.Options{Addr: s.addr, ClientName: workerName(os.Getpid()), PoolSize: 100})
	defer rdb.Close()
	if err := listFloor(ctx, rdb, s); err != nil {
		return err
	}
	w := &floorWorker{rdb: rdb, free: make(chan struct{}, s.conc), failed: make(chan error, 1)}
	w.outcomes.send = func(batch []floorOutcome) {
		args := []any{time.Now().Add(asynqfmt.CountersLast).Unix(), keepResults.Milliseconds(), floorJobs, len(batch)}
		for _, o := range batch {
			args = append(args, o.id, o.value)
		}
		day := asynqfmt.Prefix(floorQueue) + "processed:" + time.Now().UTC().Format(time.DateOnly)
		keys := []string{asynqfmt.ActiveKey(floorQueue), asynqfmt.LeaseKey(floorQueue), asynqfmt.Prefix(floorQueue), day}
		if err := floorFinish.Run(ctx, rdb, keys, args...).Err(); err != nil && ctx.Err() == nil {
			w.fail(err)
		}
	}
	for range s.conc {
		w.free <- struct{}{}
	}
	go w.serve(ctx)
	select {
	case <-ctx.Done():
		return nil
	case err := <-w.failed:
		return err
	}
}

// listFloor names the process among asynq's servers, where the bench looks for workers.
func listFloor(ctx context.Context, rdb *redis.Client, s settings) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	server := asynqfmt.Server{
		Host: host, PID: os.Getpid(), ID: "floor", Concurrency: s.conc, Queues: map[string]int{floorQueue: 1}, Status: "active", Started: time.Now(),
	}
	_, err = rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		server.Write(ctx, p, time.Now(), time.Hour)
		return nil
	})
	return err
}

type floorWorker struct {
	rdb      *redis.Client
	free     chan struct{} // one for each free slot
	outcomes gatherer[floorOutcome]
	failed   chan error
}

func (w *floorWorker) fail(err error) {
	select {
	case w.failed <- err:
	default:
	}
}

// serve waits in BLMOVE while the queue is empty, and takes as many tasks as slots are free
// otherwise.
func (w *floorWorker) serve(ctx context.Context) {
	pending, active := asynqfmt.PendingKey(floorQueue), asynqfmt.ActiveKey(floorQueue)
	keys := []string{pending, active, asynqfmt.PausedKey(floorQueue), asynqfmt.LeaseKey(floorQueue)}
	for idle := true; ctx.Err() == nil; {
		<-w.free
		n := 1
		args := []any{n, time.Now().Add(asynqfmt.LeaseDuration).Unix(), asynqfmt.Prefix(floorQueue), floorJobs}
		if idle {
			id, err := w.rdb.BLMove(ctx, pending, active, "RIGHT", "LEFT", time.Second).Result()
			if err != nil {
				w.free <- struct{}{}
				if !errors.Is(err, redis.Nil) && ctx.Err() == nil {
					w.fail(err)
					return
				}
				continue
			}
			args = append(args, id)
		} else {
			for more := true; more && n < 64; {
				select {
				case <-w.free:
					n++
				default:
					more = false
				}
			}
			args[0] = n
		}
		taken, err := floorTake.Run(ctx, w.rdb, keys, args...).StringSlice()
		if err != nil {
			if ctx.Err() == nil {
				w.fail(err)
			}
			return
		}
		for i := 0; i < len(taken); i += 2 {
			go w.call(taken[i], taken[i+1])
		}
		for range n - len(taken)/2 {
			w.free <- struct{}{}
		}
		idle = len(taken) == 0
	}
}

func (w *floorWorker) call(id, arg string) {
	value, err := compute(square, []byte(arg))
	w.free <- struct{}{}
	if err != nil {
		w.fail(err)
		return
	}
	w.outcomes.add(floorOutcome{id, string(value)})
}

func (floorSystem) open(ctx context.Context, s settings) (client, error) {
	rdb := redis.NewClient(&redis.Options{Addr: s.addr, ClientName: "bench-producer", PoolSize: 100})
	c := &floorClient{rdb: rdb, pool: rand.Text(), waiting: map[string]chan string{}}
	c.submissions.send = c.submit
	sub := rdb.Subscribe(ctx, floorReply+c.pool)
	if _, err := sub.Receive(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", s.addr, err), sub.Close(), rdb.Close())
	}
	c.replies = sub
	go c.read()
	return c, nil
}

type floorClient struct {
	rdb         *redis.Client
	pool        string
	replies     *redis.PubSub
	submissions gatherer[floorCall]

	mu      sync.Mutex // guards what follows
	waiting map[string]chan string
}

// floorCall is a call that is to be submitted.
type floorCall struct {
	name, arg string
	sent      chan error
}

func (c *floorClient) submit(batch []floorCall) {
	ctx := context.Background()
	args := []any{time.Now().UnixNano(), (7 * 24 * time.Hour).Milliseconds(), asynqfmt.Prefix(floorQueue), floorJobs, len(batch)}
	for _, call := range batch {
		m := asynqfmt.Message{Type: square, Payload: []byte(`{"job":"` + call.name + `"}`), ID: call.name + ":0:1", Queue: floorQueue, Retry: 25, Timeout: 1800}
		args = append(args, call.name, m.Append(nil), call.arg, floorReply+c.pool)
	}
	err := floorSubmit.Run(ctx, c.rdb, []string{asynqfmt.PendingKey(floorQueue)}, args...).Err()
	for _, call := range batch {
		call.sent <- err
	}
}

// read takes values from notices: "NAME VALUE" in lines.
func (c *floorClient) read() {
	for m := range c.replies.Channel(redis.WithChannelSize(10_000)) {
		for line := range strings.Lines(m.Payload) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			c.mu.Lock()
			waiting := c.waiting[name]
			delete(c.waiting, name)
			c.mu.Unlock()
			if waiting != nil {
				waiting <- value
			}
		}
	}
}

func (c *floorClient) apply(ctx context.Context, task string, arg int) (int, error) {
	if task != square {
		return 0, errFloor
	}
	call := floorCall{rand.Text(), strconv.Itoa(arg), make(chan error, 1)}
	value := make(chan string, 1)
	c.mu.Lock()
	c.waiting[call.name] = value
	c.mu.Unlock()
	c.submissions.add(call)
	if err := <-call.sent; err != nil {
		return 0, err
	}
	select {
	case v := <-value:
		return strconv.Atoi(v)
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func (c *floorClient) close(context.Context) error {
	return errors.Join(c.replies.Close(), c.rdb.Close())
}

// errFloor is the answer to everything but single calls that block.
var errFloor = errors.New("the floor runs single calls of square only")

func (c *floorClient) applyAsync(context.Context, string, int) (pending[int], error) {
	return nil, errFloor
}

func (c *floorClient) mapAsync(context.Context, string, []int, int) (pending[[]int], error) {
	return nil, errFloor
}

func (c *floorClient) mapAll(context.Context, string, []int, int) ([]int, error) {
	return nil, errFloor
}

func (c *floorClient) stream(context.Context, int, int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) { yield(0, errFloor) }
}

func (c *floorClient) flip(context.Context, []byte) ([]byte, error) { return nil, errFloor }
