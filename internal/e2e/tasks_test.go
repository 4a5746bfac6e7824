package e2e_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/redisconn"
	"github.com/distpool/distpool/tasks"
)

// The tasks of the suite. What a task must show or be told goes through Redis,
// so that it is the same in this process and in another one.

// probe is how a task and its test reach each other.
type probe struct {
	URL string // the Redis
	Key string // prefix of the keys used
}

type person struct {
	Name  string            `json:"name"`
	Age   int               `json:"age"`
	Tags  []string          `json:"tags"`
	Extra map[string]int64  `json:"extra,omitempty"`
	Boss  *person           `json:"boss,omitempty"`
	Notes map[string]string `json:"-"`
}

var (
	errStock = errors.New("out of stock")

	square = tasks.Define("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	add    = tasks.Define2("add", func(_ context.Context, a, b int) (int, error) { return a + b, nil })
	label  = tasks.Define3("label", func(_ context.Context, s string, n int, f float64) (string, error) {
		return fmt.Sprintf("%s/%d/%g", s, n, f), nil
	})
	older = tasks.Define("older", func(_ context.Context, p person) (person, error) {
		p.Age++
		return p, nil
	})
	echoInt64 = tasks.Define("echo.int64", func(_ context.Context, n int64) (int64, error) { return n, nil })
	echoUint  = tasks.Define("echo.uint64", func(_ context.Context, n uint64) (uint64, error) { return n, nil })
	echoSlice = tasks.Define("echo.slice", func(_ context.Context, s []int) ([]int, error) { return s, nil })
	echoBytes = tasks.Define("echo.bytes", func(_ context.Context, b []byte) ([]byte, error) { return b, nil })

	// size returns the length of its argument.
	size = tasks.Define("size", func(_ context.Context, b []byte) (int, error) { return len(b), nil })
	// count counts its runs in Redis.
	count = tasks.Define("count", func(ctx context.Context, p probe) (int64, error) {
		return client(p.URL).Incr(ctx, p.Key).Result()
	})
	// slowCount is count, and takes a moment.
	slowCount = tasks.Define("count.slow", func(ctx context.Context, p probe) (int64, error) {
		time.Sleep(20 * time.Millisecond) // the work: it must overlap with a worker's end
		return client(p.URL).Incr(ctx, p.Key).Result()
	})
	// hold starts, says so, and goes on when the key :open exists.
	hold = tasks.Define("hold", runHold)
	// linger starts, says so, and notes the time at which its context ends.
	linger = tasks.Define("linger", func(ctx context.Context, p probe) (int, error) {
		c := client(p.URL)
		if err := c.Incr(ctx, p.Key+":started").Err(); err != nil {
			return 0, err
		}
		<-ctx.Done()
		at := time.Now()
		return 0, c.RPush(context.WithoutCancel(ctx), p.Key+":ended", at.UnixMicro()).Err()
	})
	// note writes down from which queue it came.
	note = tasks.Define("note", func(ctx context.Context, p probe) (int, error) {
		return 0, client(p.URL).RPush(ctx, p.Key, tasks.Info(ctx).Queue).Err()
	})
	// sleep takes the given number of milliseconds.
	sleep = tasks.Define("sleep", func(ctx context.Context, ms int) (int, error) {
		select {
		case <-time.After(time.Duration(ms) * time.Millisecond):
			return ms, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	})
	// act does what its argument says.
	act = tasks.Define("act", runAct)
	// step counts its runs, takes a while, and squares.
	step = tasks.Define("step", runStep)
	// crash ends the worker's process when n is negative.
	crash = tasks.Define("crash", func(_ context.Context, n int) (int, error) {
		if n < 0 {
			os.Exit(9)
		}
		return n, nil
	})
	// try counts its runs, and fails until the attempt that it is told.
	try = tasks.Define("try", runTry)
	// stubborn sleeps, whatever its context says.
	stubborn = tasks.Define("stubborn", func(_ context.Context, ms int) (int, error) {
		time.Sleep(time.Duration(ms) * time.Millisecond)
		return ms, nil
	})
	// initial returns what the worker's Init has put into the context.
	initial = tasks.Define("initial", func(ctx context.Context, _ int) (string, error) {
		s, _ := ctx.Value(initKey{}).(string)
		return s, nil
	})
	// mix counts or holds, and says which worker ran it.
	mix = tasks.Define("mix", func(ctx context.Context, m mixed) (string, error) {
		if m.Hold.Key != "" {
			return runHold(ctx, m.Hold)
		}
		return tasks.Info(ctx).Worker, client(m.Count.URL).Incr(ctx, m.Count.Key).Err()
	})
	// produce returns a string of n bytes.
	produce = tasks.Define("produce", func(_ context.Context, n int) (string, error) { return strings.Repeat("x", n), nil })
	// divide returns what JSON cannot carry when its divisor is 0.
	divide = tasks.Define("divide", func(_ context.Context, by float64) (float64, error) { return 1 / math.Abs(by), nil })
	// whoami says which worker ran the call.
	whoami = tasks.Define("whoami", func(ctx context.Context, _ int) (string, error) { return tasks.Info(ctx).Worker, nil })
	// nest maps on the queues that it is told, one for each level below it.
	nest = tasks.Define("nest", runNest)
	// info returns all that a call knows about itself.
	info = tasks.Define("info", func(ctx context.Context, _ int) (tasks.CallInfo, error) { return tasks.Info(ctx), nil })

	allTasks = []tasks.Runner{
		square, add, label, older, echoInt64, echoUint, echoSlice, echoBytes, size, count, slowCount, hold, linger, note, sleep, act, step, crash, try, stubborn, initial, mix, produce, divide, whoami, info, nest,
	}
)

func init() { tasks.RegisterError("e2e.out-of-stock", errStock) }

type initKey struct{}

type mixed struct{ Count, Hold probe }

// stepArg is what step is told.
type stepArg struct {
	probe
	N, MS int
}

// ran is the key that counts the runs of step on this argument.
func (a stepArg) ran() string { return fmt.Sprintf("%s:ran:%d", a.Key, a.N) }

func runStep(ctx context.Context, a stepArg) (int, error) {
	if err := client(a.URL).Incr(ctx, a.ran()).Err(); err != nil {
		return 0, err
	}
	select {
	case <-time.After(time.Duration(a.MS) * time.Millisecond):
		return a.N * a.N, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// attempt is what try is told.
type attempt struct {
	probe
	Until int    // the attempt that succeeds
	How   string // "": an error; or one of the how constants
}

const (
	howPermanent  = "permanent"
	howRetryAfter = "retry after 300ms"
	howPanic      = "panic"
)

func runTry(ctx context.Context, a attempt) (int, error) {
	n := tasks.Info(ctx).Attempt
	nowMilli := time.Now().UnixMilli()
	if err := client(a.URL).RPush(ctx, fmt.Sprintf("%s:%d", a.Key, tasks.Info(ctx).Call), nowMilli).Err(); err != nil {
		return 0, err
	}
	if n >= a.Until {
		return n, nil
	}
	err := fmt.Errorf("attempt %d: %w", n, errStock)
	switch a.How {
	case howPermanent:
		return 0, tasks.Permanent(err)
	case howRetryAfter:
		return 0, tasks.RetryAfter(err, 300*time.Millisecond)
	case howPanic:
		panic(err)
	}
	return 0, err
}

// What act can be told to do.
const (
	actFine     = "fine"
	actError    = "error"
	actSentinel = "sentinel"
	actPanic    = "panic"
	actGoexit   = "goexit"
)

type actError1 struct{ What string }

func (e *actError1) Error() string { return "cannot " + e.What }

func runAct(_ context.Context, what string) (string, error) {
	switch what {
	case actError:
		return "", &actError1{"act"}
	case actSentinel:
		return "", fmt.Errorf("item 7: %w", errStock)
	case actPanic:
		panicInTheTask()
	case actGoexit:
		runtime.Goexit()
	}
	return what, nil
}

//go:noinline
func panicInTheTask() { panic("the task fell over") }

func runHold(ctx context.Context, p probe) (string, error) {
	c := client(p.URL)
	n, err := c.Incr(ctx, p.Key+":active").Result()
	if err != nil {
		return "", err
	}
	defer c.Decr(context.WithoutCancel(ctx), p.Key+":active")
	if err := c.RPush(ctx, p.Key+":started", n).Err(); err != nil {
		return "", err
	}
	for {
		open, err := c.Exists(ctx, p.Key+":open").Result()
		if err == nil && open == 1 {
			return tasks.Info(ctx).Worker, nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			c.SAdd(context.WithoutCancel(ctx), p.Key+":canceled", rand.Text()) // not Incr: a client that hears no answer says it again
			return "", ctx.Err()
		}
	}
}

var clients struct {
	sync.Mutex
	byURL map[string]redis.UniversalClient
}

// client returns the client of this process for a Redis, shared by all calls.
func client(url string) redis.UniversalClient {
	clients.Lock()
	defer clients.Unlock()
	if c, ok := clients.byURL[url]; ok {
		return c
	}
	target, err := redisconn.Parse(url)
	if err != nil {
		panic(err)
	}
	if clients.byURL == nil {
		clients.byURL = map[string]redis.UniversalClient{}
	}
	c := target.Client()
	clients.byURL[url] = c
	return c
}
