package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// asynqSystem is asynq by hand, as a good engineer would write it for calls and
// their answers. Each of the three is the best that we could make of its means.
type asynqSystem struct {
	// check is asynq's TaskCheckInterval; 0 is its default, a second.
	check time.Duration
	// replies makes a handler push its result to a list of the producer, beside the
	// key that keeps it. Without it, each call has a list of its own.
	replies bool
	// servers is how many asynq servers share a process and its slots: each has one
	// loop that fetches.
	servers int
	// pipelined lets commands of concurrent goroutines share a pipeline.
	pipelined bool
}

var (
	asynqStock        = asynqSystem{servers: 1}
	asynqTuned        = asynqSystem{servers: 1, check: time.Millisecond, replies: true}
	asynqTunedFurther = asynqSystem{servers: 4, check: time.Millisecond, replies: true, pipelined: true}
	// One server for each of 10 slots is no faster with many calls, but answers a
	// single one in a third of the time: ten loops look each millisecond. It costs
	// thousands of commands a second while nothing happens.
	asynqTenServers = asynqSystem{servers: 10, check: time.Millisecond, replies: true, pipelined: true}
	// With 64 slots and 256 callers more loops are faster.
	asynq32Servers = asynqSystem{servers: 32, check: time.Millisecond, replies: true, pipelined: true}
)

const (
	asynqQueue = "default"
	// keepResults is how long a result stays in Redis, as distpool keeps those of
	// its jobs.
	keepResults = time.Hour
)

func (a asynqSystem) redis(s settings, name string) redis.UniversalClient {
	var rdb redis.UniversalClient = redis.NewClient(&redis.Options{Addr: s.addr, ClientName: name, PoolSize: 100})
	if a.pipelined {
		rdb = newCombiner(rdb)
	}
	return rdb
}

func (a asynqSystem) work(ctx context.Context, s settings) error {
	rdb := a.redis(s, workerName(os.Getpid()))
	defer rdb.Close()
	queues := map[string]int{asynqQueue: 1}
	for i := 1; i < s.queues; i++ {
		queues["other-"+strconv.Itoa(i)] = 1
	}
	handler := oneReply{rdb}.handle
	if a.replies {
		handler = replier{rdb}.handle
	}
	servers := min(a.servers, s.conc)
	var started []*asynq.Server
	defer func() {
		for _, srv := range started {
			srv.Shutdown()
		}
	}()
	for i := range servers {
		srv := asynq.NewServerFromRedisClient(rdb, asynq.Config{
			Concurrency:       (i+1)*s.conc/servers - i*s.conc/servers,
			Queues:            queues,
			TaskCheckInterval: a.check,
			LogLevel:          asynq.ErrorLevel,
		})
		if err := srv.Start(asynq.HandlerFunc(handler)); err != nil {
			return fmt.Errorf("starting an asynq server: %w", err)
		}
		started = append(started, srv)
	}
	<-ctx.Done()
	return nil
}

func (a asynqSystem) open(ctx context.Context, s settings) (client, error) {
	rdb := a.redis(s, "bench-producer")
	if err := rdb.Ping(ctx).Err(); err != nil {
		return nil, fmt.Errorf("opening %s: %w", s.addr, err)
	}
	c := &asynqClient{slots: s.conc}
	if a.replies {
		c.transport = newReplyTransport(rdb, a.pipelined)
	} else {
		c.transport = newStockTransport(rdb)
	}
	return c, nil
}

// compute is the three tasks, from the bytes of the arguments to those of the
// values. Ints are separated by commas: as short as JSON and faster.
func compute(task string, data []byte) ([]byte, error) {
	switch task {
	case square, sleep:
		ns, err := parseInts(data)
		if err != nil {
			return nil, err
		}
		for i, n := range ns {
			if task == sleep {
				time.Sleep(nap)
			}
			ns[i] = n * n
		}
		return appendInts(nil, ns), nil
	case flip:
		return flipped(data), nil
	}
	return nil, fmt.Errorf("unknown task %q: %w", task, asynq.SkipRetry)
}

func appendInts(b []byte, ns []int) []byte {
	if b == nil {
		b = make([]byte, 0, 8*len(ns))
	}
	for i, n := range ns {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return b
}

var errNoInts = errors.New("not a list of ints with commas between them")

// parseInts reads what appendInts wrote. Negative numbers do not occur.
func parseInts(b []byte) ([]int, error) {
	ns := make([]int, 0, 1+bytes.Count(b, []byte{','}))
	n, digits := 0, 0
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9' && digits < 18:
			n, digits = 10*n+int(c-'0'), digits+1
		case c == ',' && digits > 0:
			ns = append(ns, n)
			n, digits = 0, 0
		default:
			return nil, errNoInts
		}
	}
	if digits == 0 {
		return nil, errNoInts
	}
	return append(ns, n), nil
}
