package bench

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

// slots is the concurrency of every worker here.
const slots = 10

var square = tasks.Define("square", func(_ context.Context, n int) (int, error) { return n * n, nil })

// open starts a Redis, a worker and a pool.
func open(b *testing.B) *producer.Pool {
	b.Helper()
	url := redistest.Start(b).URL()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx, worker.Config{Redis: url, Concurrency: slots, Logger: log}, square) }()
	p, err := producer.Open(ctx, producer.Config{Redis: url, Logger: log})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = p.Terminate(context.Background())
		stop()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	check(b, apply(b, p, 7), 7) // everything is up and loaded
	return p
}

func apply(b *testing.B, p *producer.Pool, n int) int {
	v, err := producer.Apply(context.Background(), p, square, n)
	if err != nil {
		b.Error(err)
	}
	return v
}

func check(b *testing.B, got, n int) {
	if got != n*n {
		b.Errorf("the square of %d came back as %d", n, got)
	}
}

// One call after the other: what a user waits for.
func BenchmarkApplyOneByOne(b *testing.B) {
	b.Run("distpool", func(b *testing.B) {
		p := open(b)
		for i := 0; b.Loop(); i++ {
			check(b, apply(b, p, i), i)
		}
	})
	b.Run("asynq", func(b *testing.B) {
		h := openByHand(b, time.Millisecond)
		for i := 0; b.Loop(); i++ {
			check(b, h.apply(b, i), i)
		}
	})
}

// Calls from 64 goroutines: what a busy web application does.
func BenchmarkApplyFrom64(b *testing.B) {
	b.Run("distpool", func(b *testing.B) {
		p := open(b)
		from64(b, func(i int) { check(b, apply(b, p, i), i) })
	})
	b.Run("asynq", func(b *testing.B) {
		h := openByHand(b, time.Millisecond)
		from64(b, func(i int) { check(b, h.apply(b, i), i) })
	})
}

func from64(b *testing.B, f func(i int)) {
	next := make(chan int)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	b.ResetTimer()
	for i := range b.N {
		next <- i
	}
	close(next)
	wg.Wait()
}

// A map of 100,000 calls with automatic chunks; asynq has nothing like it.
func BenchmarkMap(b *testing.B) {
	const n = 100_000
	p := open(b)
	args := make([]int, n)
	for i := range args {
		args[i] = i
	}
	b.ResetTimer()
	started := time.Now()
	rounds := max(1, b.N/500) // -benchtime counts single calls; a map is many
	for range rounds {
		vs, err := producer.Map(context.Background(), p, square, args)
		if err != nil || len(vs) != n {
			b.Fatalf("%d values, error %v", len(vs), err)
		}
		for i, v := range vs {
			check(b, v, i)
		}
	}
	b.ReportMetric(float64(n*rounds)/time.Since(started).Seconds(), "calls/s")
}

// byHand is the baseline: asynq as a good engineer uses it for a call and its
// answer. The handler pushes the result to a list of its own for each call, on
// which the caller waits.
type byHand struct {
	client *asynq.Client
	rdb    *redis.Client
}

func openByHand(b *testing.B, checkEvery time.Duration) byHand {
	b.Helper()
	addr := redistest.Start(b).Addr()
	rdb := redis.NewClient(&redis.Options{Addr: addr, PoolSize: 100})
	srv := asynq.NewServer(asynq.RedisClientOpt{Addr: addr}, asynq.Config{
		Concurrency: slots, TaskCheckInterval: checkEvery, LogLevel: asynq.ErrorLevel,
	})
	err := srv.Start(asynq.HandlerFunc(func(ctx context.Context, t *asynq.Task) error {
		var n int
		if err := json.Unmarshal(t.Payload(), &n); err != nil {
			return err
		}
		id, _ := asynq.GetTaskID(ctx)
		_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			p.RPush(ctx, "reply:"+id, n*n)
			p.Expire(ctx, "reply:"+id, time.Minute)
			return nil
		})
		return err
	}))
	if err != nil {
		b.Fatal(err)
	}
	h := byHand{asynq.NewClient(asynq.RedisClientOpt{Addr: addr, PoolSize: 100}), rdb}
	b.Cleanup(func() {
		srv.Shutdown()
		_ = h.client.Close()
		_ = rdb.Close()
	})
	check(b, h.apply(b, 7), 7)
	return h
}

func (h byHand) apply(b *testing.B, n int) int {
	info, err := h.client.Enqueue(asynq.NewTask("square", []byte(strconv.Itoa(n))))
	if err != nil {
		b.Error(err)
		return 0
	}
	reply, err := h.rdb.BLPop(context.Background(), 10*time.Second, "reply:"+info.ID).Result()
	if err != nil {
		b.Error(err)
		return 0
	}
	v, err := strconv.Atoi(reply[1])
	if err != nil {
		b.Error(err)
	}
	return v
}

// A stream of a million calls, taken as they complete.
func BenchmarkIMapUnordered(b *testing.B) {
	const n = 1_000_000
	p := open(b)
	b.ResetTimer()
	started := time.Now()
	rounds := max(1, b.N/5000)
	for range rounds {
		got, sum := 0, 0
		for v, err := range producer.IMapUnordered(context.Background(), p, square, upTo(n)) {
			if err != nil {
				b.Fatal(err)
			}
			got, sum = got+1, sum+v
		}
		if want := (n - 1) * n / 2 * (2*n - 1) / 3; got != n || sum != want {
			b.Fatalf("%d values that sum up to %d, want %d and %d", got, sum, n, want)
		}
	}
	b.ReportMetric(float64(n*rounds)/time.Since(started).Seconds(), "calls/s")
}

func upTo(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}
