package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/redisconn"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

var (
	// bulky returns a large value, and fails its first attempts.
	bulky = tasks.Define("sizes.bulky", func(ctx context.Context, b bulk) ([]byte, error) {
		if err := client(b.URL).Incr(ctx, fmt.Sprintf("%s:%d", b.Key, tasks.Info(ctx).Call)).Err(); err != nil {
			return nil, err
		}
		if tasks.Info(ctx).Attempt <= b.Fails {
			return nil, errStock
		}
		return random(b.Bytes, 7), nil
	})
	// verbose fails with a text of that many bytes.
	verbose = tasks.Define("sizes.verbose", func(_ context.Context, n int) (int, error) {
		return 0, errors.New(strings.Repeat("<", n))
	})
)

func init() { allTasks = append(allTasks, bulky, verbose) }

type bulk struct {
	probe
	Bytes, Fails int
}

// smallest gives the case's Redis the smallest limits that it can have: requests have
// at most 1 MiB.
func (e *env) smallest(t *testing.T) {
	t.Helper()
	if !e.real {
		return // miniredis has none
	}
	must(t, e.eachServer(t, func(ctx context.Context, c *redis.Client) error {
		if err := c.ConfigSet(ctx, "proto-max-bulk-len", "1mb").Err(); err != nil {
			return err
		}
		return c.ConfigSet(ctx, "client-query-buffer-limit", "1mb").Err()
	}))
}

// Arguments, values, checkpoints and errors that are larger than a request may be.
func TestARedisWithTheSmallestLimitsTakesAllSizes(t *testing.T) {
	eachAlone(t, func(t *testing.T, e *env) {
		e.smallest(t)
		p := e.pool(t)
		early, err := producer.ApplyAsync(ctx(t), p, echoBytes, random(3<<20, 2)) // no worker is there yet
		must(t, err)
		e.worker(t, 2)
		got, err := early.Get(ctx(t))
		if err != nil || !bytes.Equal(got, random(3<<20, 2)) {
			t.Errorf("a call on 3 MiB returned %d bytes, %v", len(got), err)
		}
		s, err := producer.Apply(ctx(t), p, produce, 3<<20)
		if err != nil || len(s) != 3<<20 {
			t.Errorf("a call returned %d bytes, %v; want 3 MiB", len(s), err)
		}
		var args [][]byte
		for i := range 5 {
			args = append(args, random(700<<10, byte(i)))
		}
		values, err := producer.Map(ctx(t), p, echoBytes, args, producer.ChunkSize(5))
		if err != nil || !bytes.Equal(bytes.Join(values, nil), bytes.Join(args, nil)) {
			t.Errorf("a map in one chunk of 3.5 MB returned %d values, %v", len(values), err)
		}
		small, err := producer.Map(ctx(t), p, size, make([][]byte, 400), producer.ChunkSize(1))
		if err != nil || len(small) != 400 {
			t.Errorf("a map in 400 chunks returned %d values, %v", len(small), err)
		}

		// The finished call of a chunk that waits for its retry is in a checkpoint.
		b := e.probe()
		values, err = producer.Map(ctx(t), p, bulky, []bulk{{b, 3 << 20, 0}, {b, 10, 1}}, producer.ChunkSize(2),
			producer.Retry(2, tasks.Every(300*time.Millisecond)))
		if err != nil || len(values[0]) != 3<<20 || len(values[1]) != 10 {
			t.Errorf("a map with a retry returned %d values, %v", len(values), err)
		}
		if n := e.rdb.Get(ctx(t), b.Key+":0").Val(); n != "1" {
			t.Errorf("the call that had finished ran %s times, want 1", n)
		}
	})
}

// All failures of a chunk together take some MiB at the most.
func TestLargeErrorsOfALargeChunkTravel(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p := e.pool(t)
		const calls = 6000
		args := make([]int, calls)
		for i := range args {
			args[i] = 16 << 10
		}
		m, err := producer.MapAsync(ctx(t), p, verbose, args, producer.ChunkSize(calls))
		must(t, err)
		_, err = m.Get(ctx(t))
		me, ok := errors.AsType[*results.MapError](err)
		if !ok || len(me.Errors) != calls {
			t.Fatalf("a map of failing calls returned %.200v", err)
		}
		all := 0
		for i, te := range me.Errors {
			all += len(te.Message)
			if te.Call != i || !strings.HasPrefix(te.Message, strings.Repeat("<", 100)) {
				t.Fatalf("failure %d is of call %d and says %.200q", i, te.Call, te.Message)
			}
		}
		if me.Errors[0].Message != strings.Repeat("<", 16<<10) {
			t.Errorf("the first message has %d bytes, want all of its 16 KiB", len(me.Errors[0].Message))
		}
		if all > 16<<20 {
			t.Errorf("the messages have %d bytes together", all)
		}
		n, err := producer.Apply(ctx(t), p, square, 3)
		same(t, "the call after", n, err, 9)
	})
}

// narrow refuses to record outcomes of more than 1 MiB, as a managed service does with
// what it counts as one request or record.
type narrow struct{ refused atomic.Int64 }

// largeFrame is the reference to a large frame, with its size.
var largeFrame = regexp.MustCompile(`^@ \w+ (\d+)$`)

// refusal is an error reply.
type refusal string

func (r refusal) Error() string { return string(r) }

// RedisError says what it is to go-redis.
func (refusal) RedisError() {}

func (n *narrow) refuses(cmd redis.Cmder) bool {
	if cmd.Name() != "evalsha" && cmd.Name() != "eval" {
		return false
	}
	for _, arg := range cmd.Args() {
		frame, _ := arg.([]byte)
		reference := largeFrame.FindSubmatch(frame)
		if reference == nil {
			continue
		}
		if size, err := strconv.Atoi(string(reference[1])); err == nil && size > 1<<20 {
			n.refused.Add(1)
			cmd.SetErr(refusal("ERR max request size exceeded. Limit: 1048576 bytes"))
			return true
		}
	}
	return false
}

func (*narrow) DialHook(next redis.DialHook) redis.DialHook { return next }

func (n *narrow) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if n.refuses(cmd) {
			return cmd.Err()
		}
		return next(ctx, cmd)
	}
}

func (n *narrow) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return next(ctx, slices.DeleteFunc(slices.Clone(cmds), n.refuses))
	}
}

func TestOutcomesThatAreRefusedForTheirSizeFailTheLargestOnly(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		var runs atomic.Int64
		fill := tasks.Define("sizes.fill", func(_ context.Context, n int) (string, error) {
			runs.Add(1)
			return strings.Repeat("x", n), nil
		})
		hook := &narrow{}
		rdb, err := redisconn.Open(ctx(t), e.url)
		must(t, err)
		rdb.AddHook(hook)
		working, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		t.Cleanup(func() { // asynq panics when its client is closed under it
			stop()
			must(t, receive(t, "the worker's end", ended))
			rdb.Close()
		})
		go func() {
			ended <- worker.Run(working, worker.Config{Client: rdb, Queues: map[string]int{e.queue: 1}, Keyring: suiteKeyring, Concurrency: 1,
				Logger: slog.New(slog.NewTextHandler(e.log, nil))}, fill)
		}()
		p := e.pool(t)
		m, err := producer.MapAsync(ctx(t), p, fill, []int{10, 900_000, 600_000}, producer.ChunkSize(3))
		must(t, err)
		values, err := m.Get(ctx(t))
		me, ok := errors.AsType[*results.MapError](err)
		if !ok || len(me.Errors) != 1 || me.Errors[0].Call != 1 || me.Errors[0].Kind != results.KindBadResult {
			t.Fatalf("a map whose outcomes are refused: %.300v", err)
		}
		mentions(t, err, "900004 bytes", "max request size exceeded", "ChunkSize", "raise the limit")
		if !slices.Equal(lengths(values), []int{10, 0, 600_000}) {
			t.Errorf("the values have %d bytes", lengths(values))
		}
		_, err = producer.Apply(ctx(t), p, fill, 2<<20)
		mentions(t, err, "2097156 bytes", "raise the limit")
		if n := runs.Load(); n != 4 || hook.refused.Load() == 0 {
			t.Errorf("calls ran %d times, want 4; %d requests were refused", n, hook.refused.Load())
		}
	})
}
