package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/distpool/distpool/observe"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

// soon bounds waits for what must happen, on a busy machine.
const soon = time.Minute

// served runs a worker of one slot on the Redis, and the next one when it is to be started
// afresh, until the returned function is called, which returns what the last Run did.
func served(addr string, cfg worker.Config, ts ...tasks.Runner) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	cfg.Redis, cfg.Concurrency, cfg.Logger = "redis://"+addr, 1, slog.New(slog.DiscardHandler)
	go func() {
		err := worker.ErrRecycle
		for ctx.Err() == nil && errors.Is(err, worker.ErrRecycle) {
			err = worker.Run(ctx, cfg, ts...)
		}
		ended <- err
	}()
	return sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
}

func opened(t *testing.T, addr string) (context.Context, *producer.Pool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	t.Cleanup(cancel)
	p, err := producer.Open(ctx, producer.Config{Redis: "redis://" + addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Terminate(context.Background()) })
	return ctx, p
}

// idle waits until no goroutine of this process works on a chunk.
func idle(t *testing.T) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	for end := time.Now().Add(soon); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if !strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "(*routine).work") {
			return
		}
	}
	t.Fatal("a goroutine still works on a chunk")
}

// late returns from UnmarshalJSON once it may, if it is 2.
type late struct{ N int }

var lateMay atomic.Pointer[chan struct{}]

func (l *late) UnmarshalJSON(data []byte) error {
	err := json.Unmarshal(data, &l.N)
	if may := lateMay.Load(); may != nil && l.N == 2 {
		<-*may
	}
	return err
}

// heard is an observer that counts, and waits in BeginCall of call 1 if it is to.
type heard struct {
	observe.NopWorker
	may         chan struct{}
	leaves      string // the method that ends its goroutine, in every second call
	begun, over atomic.Int32
}

func (h *heard) BeginCall(ctx context.Context, c *observe.Call) context.Context {
	h.begun.Add(1)
	if h.may != nil && c.Call == 1 {
		<-h.may
	}
	if h.leaves == "BeginCall" && c.Call%2 == 1 {
		runtime.Goexit()
	}
	return ctx
}

func (h *heard) EndCall(_ context.Context, c *observe.Call, _ observe.CallEnd) {
	h.over.Add(1)
	if h.leaves == "EndCall" && c.Call%2 == 1 {
		runtime.Goexit()
	}
}

func TestACallThatWasGivenUpBeforeItsTaskDoesNotRun(t *testing.T) {
	for _, in := range []string{"UnmarshalJSON", "BeginCall"} {
		t.Run(in, func(t *testing.T) {
			redis := miniredis.RunT(t)
			var runs atomic.Int32
			task := tasks.Define("late", func(_ context.Context, l late) (int, error) {
				if l.N == 2 {
					runs.Add(1)
				}
				return l.N, nil
			})
			may, cfg, h := make(chan struct{}), worker.Config{}, &heard{}
			ctx, p := opened(t, redis.Addr())
			if in == "BeginCall" {
				h.may = may
				cfg.Observers = []observe.Worker{h}
			} else {
				lateMay.Store(&may)
				defer lateMay.Store(nil)
			}
			stop := served(redis.Addr(), cfg, task)
			declared := tasks.Declare[int, int]("late")
			vs, err := producer.Map(ctx, p, declared, []int{1, 2}, producer.ChunkSize(2), producer.HardTimeout(300*time.Millisecond))
			if me, ok := errors.AsType[*results.MapError](err); !ok || me.Errors[0].Kind != results.KindTimeout || !slices.Equal(vs, []int{1, 0}) {
				t.Errorf("%v, %v; want a timeout of the second call", vs, err)
			}
			if err := stop(); err != nil && !errors.Is(err, worker.ErrRecycle) {
				t.Error(err)
			}
			close(may)
			idle(t)
			if n := runs.Load(); n != 0 {
				t.Errorf("the task ran %d times after its call had been given up", n)
			}
			if b, o := h.begun.Load(), h.over.Load(); b != o {
				t.Errorf("the observer was told of %d begins and %d ends", b, o)
			}
		})
	}
}

// Each observer is told of the begin and the end of each call, whatever others do.
func TestAnObserverThatEndsItsGoroutineHidesNoCall(t *testing.T) {
	for _, in := range []string{"BeginCall", "EndCall"} {
		t.Run(in, func(t *testing.T) {
			redis := miniredis.RunT(t)
			task := tasks.Define("negate", func(_ context.Context, n int) (int, error) {
				if n == 3 {
					panic("three")
				}
				return -n, nil
			})
			before, leaves, after := &heard{}, &heard{leaves: in}, &heard{}
			stop := served(redis.Addr(), worker.Config{Observers: []observe.Worker{before, leaves, after}}, task)
			ctx, p := opened(t, redis.Addr())
			vs, err := producer.Map(ctx, p, task, []int{0, 1, 2, 3, 4}, producer.ChunkSize(5))
			if !slices.Equal(vs, []int{0, -1, -2, 0, -4}) || err == nil {
				t.Errorf("values %v, %v", vs, err)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			for _, o := range []*heard{before, leaves, after} {
				if b, e := o.begun.Load(), o.over.Load(); b != 5 || e != 5 {
					t.Errorf("an observer was told of %d begins and %d ends, want 5 of each", b, e)
				}
			}
		})
	}
}

// stuckCodec is JSON, and does not return from the method In.
type stuckCodec struct {
	name string
	in   string
}

var stuckNow atomic.Bool

func (c stuckCodec) Name() string                  { return c.name }
func (c stuckCodec) Marshal(v any) ([]byte, error) { return tasks.JSON.Marshal(v) }
func (c stuckCodec) Unmarshal(data []byte, v any) error {
	if _, ok := v.(*[]string); ok && c.in == "Unmarshal" && stuckNow.Load() {
		select {}
	}
	return tasks.JSON.Unmarshal(data, v)
}

// stuckArray can split.
type stuckArray struct{ stuckCodec }

func (c stuckArray) Split(data []byte) ([][]byte, error) {
	if c.in == "Split" && stuckNow.Load() {
		select {}
	}
	return tasks.JSON.Split(data)
}
func (c stuckArray) Join(items [][]byte) ([]byte, error) { return tasks.JSON.Join(items) }

// What a codec does for a whole chunk is bounded, too: when a chunk goes on after a
// wait, its arguments are taken apart, and its saved values are read.
func TestAHardTimeoutCoversTheCodecOfAChunk(t *testing.T) {
	for _, c := range []struct {
		codec tasks.Codec
		want  []string
	}{
		{stuckArray{stuckCodec{"stuck-split", "Split"}}, []string{"", "", ""}},
		{stuckCodec{"stuck-read", "Unmarshal"}, []string{"", "2", ""}},
	} {
		t.Run(c.codec.Name(), func(t *testing.T) {
			redis := miniredis.RunT(t)
			defer stuckNow.Store(false)
			task := tasks.Define("stuck", func(ctx context.Context, n int) (string, error) {
				if n == 2 && tasks.Info(ctx).Attempt == 1 {
					stuckNow.Store(true)
					return "", errors.New("not yet")
				}
				return fmt.Sprint(n), nil
			}, tasks.WithCodec(c.codec), tasks.HardTimeout(time.Second), tasks.Retry(1, tasks.Every(200*time.Millisecond)))
			stop := served(redis.Addr(), worker.Config{}, task)
			ctx, p := opened(t, redis.Addr())
			m, err := producer.MapAsync(ctx, p, task, []int{1, 2, 3}, producer.ChunkSize(3))
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Wait(ctx); err != nil {
				t.Fatalf("the map does not end: %v", err)
			}
			stuckNow.Store(false)
			vs, err := m.Get(ctx)
			me, ok := errors.AsType[*results.MapError](err)
			if !ok {
				t.Fatalf("%v, %v; want a *results.MapError", vs, err)
			}
			for _, te := range me.Errors {
				if te.Kind != results.KindTimeout && te.Kind != results.KindBadResult {
					t.Errorf("call %d: %v", te.Call, te)
				}
			}
			if !slices.Equal(vs, c.want) {
				t.Errorf("values %q, want %q; %v", vs, c.want, err)
			}
			if err := stop(); err != nil && !errors.Is(err, worker.ErrRecycle) {
				t.Error(err)
			}
		})
	}
}

// The next owner of a chunk may have a task of another retry policy, and a codec that
// reads all arguments in one go.
func TestACallThatIsTakenOverHasItsArgument(t *testing.T) {
	redis := miniredis.RunT(t)
	codec := tasks.WithCodec(stuckCodec{"whole", ""})
	failed := make(chan struct{})
	first := tasks.Define("taken", func(context.Context, int) (int, error) {
		defer close(failed)
		return 0, errors.New("not here")
	}, codec, tasks.Retry(1, tasks.Every(2*time.Second)))
	second := tasks.Define("taken", func(_ context.Context, n int) (int, error) { return n, nil }, codec)
	stop := served(redis.Addr(), worker.Config{}, first)
	ctx, p := opened(t, redis.Addr())
	r, err := producer.ApplyAsync(ctx, p, tasks.Declare[int, int]("taken", codec), 7)
	if err != nil {
		t.Fatal(err)
	}
	<-failed
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	stop = served(redis.Addr(), worker.Config{}, second)
	defer func() { _ = stop() }()
	if v, err := r.Get(ctx); v != 7 || err != nil {
		t.Errorf("the value is %d, %v; want 7", v, err)
	}
}

// Leaver ends the goroutine that decodes "leave" into it.
type Leaver struct{}

func (*Leaver) UnmarshalJSON(data []byte) error {
	if string(data) == `"leave"` {
		runtime.Goexit()
	}
	return nil
}

// A struct without a name has the methods of what it embeds, and belongs to no package.
func TestAMethodOfAnEmbeddedTypeCostsItsOwnCall(t *testing.T) {
	redis := miniredis.RunT(t)
	stop := served(redis.Addr(), worker.Config{},
		tasks.Define("embedded", func(context.Context, struct{ Leaver }) (int, error) { return 1, nil }),
		tasks.Define("pointed", func(context.Context, struct{ *Leaver }) (int, error) { return 1, nil }))
	ctx, p := opened(t, redis.Addr())
	for _, name := range []string{"embedded", "pointed"} {
		vs, err := producer.Map(ctx, p, tasks.Declare[string, int](name), []string{"", "leave", ""}, producer.ChunkSize(3))
		me, ok := errors.AsType[*results.MapError](err)
		if !ok || len(me.Errors) != 1 || me.Errors[0].Kind != results.KindBadArgument || !slices.Equal(vs, []int{1, 0, 1}) {
			t.Errorf("%s: %v, %v; want a bad argument of call 1", name, vs, err)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
