package pooltest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/pooltest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

var square = tasks.Define("square", func(_ context.Context, n int) (int, error) { return n * n, nil })

func TestOneLineGivesAPoolThatRunsCalls(t *testing.T) {
	pool := pooltest.New(t, square)
	got, err := producer.Map(t.Context(), pool, square, []int{1, 2, 3})
	if err != nil || !slices.Equal(got, []int{1, 4, 9}) {
		t.Errorf("got %v, %v", got, err)
	}
}

// record notes which calls ran, and how many at once.
type journal struct {
	mu            sync.Mutex // guards all below
	calls         []int
	running, most int
}

func (j *journal) task() *tasks.Task[int, int] {
	return tasks.Define("journal", func(_ context.Context, n int) (int, error) {
		j.mu.Lock()
		j.running++
		j.most = max(j.most, j.running)
		j.calls = append(j.calls, n)
		j.mu.Unlock()
		defer func() {
			j.mu.Lock()
			j.running--
			j.mu.Unlock()
		}()
		if n < 0 {
			return 0, errors.New("negative")
		}
		return n, nil
	})
}

func TestInlineCallsHaveRunInOrderWhenTheSubmissionReturns(t *testing.T) {
	j := &journal{}
	task := j.task()
	kit := pooltest.Start(t, []tasks.Runner{task}, pooltest.Inline())
	var want []int
	for round := range 5 {
		args := []int{round, -1, 10 * round, 3, 4, 5, 6}
		want = append(want, args...)
		m, err := producer.MapAsync(t.Context(), kit.Pool, task, args, producer.ChunkSize(1+round%3))
		if err != nil {
			t.Fatal(err)
		}
		// No lock: nothing runs any more.
		if !slices.Equal(j.calls, want) {
			t.Fatalf("calls ran as %v, want %v", j.calls, want)
		}
		if !m.Ready() {
			t.Fatal("the handle is not ready when the submission returns")
		}
		if _, err := m.GetTimeout(0); err == nil || errors.Is(err, results.ErrTimeout) {
			t.Fatalf("the map's error is %v, want that of the negative argument", err)
		}
	}
	if j.most != 1 {
		t.Errorf("%d calls ran at once", j.most)
	}
}

func TestInlineSubmissionWaitsNoLongerThanItsContext(t *testing.T) {
	open := make(chan struct{})
	held := tasks.Define("held", func(ctx context.Context, _ int) (int, error) {
		select {
		case <-open:
			return 1, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	})
	kit := pooltest.Start(t, []tasks.Runner{held}, pooltest.Inline())
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	r, err := producer.ApplyAsync(ctx, kit.Pool, held, 0)
	if err != nil {
		t.Fatal(err)
	}
	if r.Ready() {
		t.Error("ready before the call could end")
	}
	close(open)
	if v, err := r.Get(t.Context()); v != 1 || err != nil {
		t.Errorf("got %v, %v", v, err)
	}
}

func TestInlineRefusesACallThatSubmits(t *testing.T) {
	var kit *pooltest.Kit
	outer := tasks.Define("outer", func(ctx context.Context, n int) (int, error) {
		return producer.Apply(ctx, kit.Pool, square, n)
	})
	kit = pooltest.Start(t, []tasks.Runner{outer, square}, pooltest.Inline())
	_, err := producer.Apply(t.Context(), kit.Pool, outer, 3)
	if err == nil || !strings.Contains(err.Error(), "without Inline") {
		t.Errorf("error is %v, want one that says what to do", err)
	}
}

func TestACallMaySubmitToAPoolWithSlots(t *testing.T) {
	var pool *producer.Pool
	outer := tasks.Define("outer", func(ctx context.Context, n int) (int, error) {
		return producer.Apply(ctx, pool, square, n)
	})
	pool = pooltest.New(t, outer, square)
	if v, err := producer.Apply(t.Context(), pool, outer, 3); v != 9 || err != nil {
		t.Errorf("got %v, %v", v, err)
	}
}

func TestWorkersAndConcurrencyMakeTheFleet(t *testing.T) {
	var all sync.WaitGroup
	all.Add(6)
	together := tasks.Define("together", func(ctx context.Context, _ int) (string, error) {
		all.Done()
		all.Wait() // returns only if six calls run at once
		return tasks.Info(ctx).Worker, nil
	})
	kit := pooltest.Start(t, []tasks.Runner{together}, pooltest.Workers(2), pooltest.Concurrency(3))
	names, err := producer.Map(t.Context(), kit.Pool, together, make([]int, 6), producer.ChunkSize(1))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	if n := len(slices.Compact(names)); n != 2 {
		t.Errorf("%d workers ran the calls, want 2", n)
	}
}

func TestAdvanceExpiresResultsAndNotWorkers(t *testing.T) {
	kit := pooltest.Start(t, []tasks.Runner{square}, pooltest.Workers(2))
	r, err := producer.ApplyAsync(t.Context(), kit.Pool, square, 5, producer.ResultTTL(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	kit.Advance(59 * time.Minute)
	if _, err := producer.Attach(t.Context(), kit.Pool, square, r.ID()); err != nil {
		t.Errorf("after 59 minutes of 60: %v", err)
	}
	kit.Advance(time.Minute)
	if _, err := producer.Attach(t.Context(), kit.Pool, square, r.ID()); !errors.Is(err, results.ErrUnknownJob) {
		t.Errorf("after 60 minutes of 60: %v, want ErrUnknownJob", err)
	}
	if v, err := producer.Apply(t.Context(), kit.Pool, square, 6); v != 36 || err != nil {
		t.Errorf("a call after the jump: %v, %v", v, err)
	}
}

func TestFakeRunsInPlaceOfADeclaredTask(t *testing.T) {
	charge := tasks.Declare[string, int]("charge")
	pool := pooltest.New(t, pooltest.Fake(charge, func(_ context.Context, card string) (int, error) {
		return len(card), nil
	}))
	if v, err := producer.Apply(t.Context(), pool, charge, "1234"); v != 4 || err != nil {
		t.Errorf("got %v, %v", v, err)
	}
}

func TestNamedQueuesAreServed(t *testing.T) {
	kit := pooltest.Start(t, []tasks.Runner{square}, pooltest.Queues("mail", "reports"))
	for _, q := range []string{"mail", "reports", kit.Queue()} {
		if v, err := producer.Apply(t.Context(), kit.Pool, square, 7, producer.Queue(q)); v != 49 || err != nil {
			t.Errorf("queue %s: %v, %v", q, v, err)
		}
	}
}

func TestOnARealRedisTheQueueIsGoneAtTheEnd(t *testing.T) {
	server := redistest.Start(t)
	t.Run("with the kit", func(t *testing.T) {
		a := pooltest.Start(t, []tasks.Runner{square}, pooltest.Redis(server.URL()))
		b := pooltest.Start(t, []tasks.Runner{square}, pooltest.Redis(server.URL()))
		if a.Queue() == b.Queue() {
			t.Errorf("two kits share the queue %s", a.Queue())
		}
		for _, k := range []*pooltest.Kit{a, b} {
			if v, err := producer.Apply(t.Context(), k.Pool, square, 7); v != 49 || err != nil {
				t.Errorf("got %v, %v", v, err)
			}
		}
	})
	rdb := server.Client(t)
	left, err := rdb.Keys(t.Context(), "*pooltest*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range left { // records of jobs go by themselves
		if !strings.HasPrefix(key, "distpool:{") || rdb.TTL(t.Context(), key).Val() <= 0 {
			t.Errorf("left behind: %s", key)
		}
	}
}

func TestContradictionsAreErrors(t *testing.T) {
	for _, opts := range [][]pooltest.Option{
		{pooltest.Inline(), pooltest.Workers(2)},
		{pooltest.Inline(), pooltest.Concurrency(2)},
		{pooltest.Workers(-1)},
		{pooltest.Concurrency(-1)},
		{pooltest.Redis("http://127.0.0.1")},
		{pooltest.Queues("no such:queue")},
	} {
		k, err := pooltest.Open([]tasks.Runner{square}, opts...)
		if err == nil {
			t.Errorf("options %v are accepted", opts)
			k.Close()
		}
	}
}

type greetingKey struct{}

func TestInitReachesEveryCall(t *testing.T) {
	greet := tasks.Define("greet", func(ctx context.Context, name string) (string, error) {
		greeting, _ := ctx.Value(greetingKey{}).(string)
		return greeting + ", " + name, nil
	})
	k := pooltest.Start(t, []tasks.Runner{greet}, pooltest.Workers(2), pooltest.Init(func(ctx context.Context) (context.Context, error) {
		return context.WithValue(ctx, greetingKey{}, "hello"), nil
	}))
	got, err := producer.Map(t.Context(), k.Pool, greet, []string{"a", "b"}, producer.ChunkSize(1))
	if err != nil || !slices.Equal(got, []string{"hello, a", "hello, b"}) {
		t.Errorf("%q, %v", got, err)
	}
	broken := errors.New("no greeting")
	if k, err := pooltest.Open([]tasks.Runner{greet}, pooltest.Init(func(context.Context) (context.Context, error) { return nil, broken })); !errors.Is(err, broken) {
		t.Errorf("a failing Init: %v", err)
		_ = k.Close()
	}
}

func TestNoGoroutineIsLeft(t *testing.T) {
	before := goleak.IgnoreCurrent()
	stuck := tasks.Define("stuck", func(ctx context.Context, _ int) (int, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	})
	for _, end := range []func(*producer.Pool){
		func(*producer.Pool) {},
		func(p *producer.Pool) { _ = p.Terminate(context.Background()) },
	} {
		k, err := pooltest.Open([]tasks.Runner{square, stuck}, pooltest.Workers(2))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := producer.MapAsync(t.Context(), k.Pool, stuck, make([]int, 20)); err != nil {
			t.Fatal(err)
		}
		end(k.Pool)
		for range 2 {
			if err := k.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := pooltest.Open([]tasks.Runner{square}, pooltest.Redis("redis://127.0.0.1:1")); err == nil {
		t.Error("a Redis that is not there is no error")
	}
	goleak.VerifyNone(t, before)
}

func ExampleOpen() {
	kit, err := pooltest.Open([]tasks.Runner{square}, pooltest.Inline())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer kit.Close()

	result, err := producer.ApplyAsync(context.Background(), kit.Pool, square, 12)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.Ready()) // it has run
	fmt.Println(result.GetTimeout(0))
	// Output:
	// true
	// 144 <nil>
}
