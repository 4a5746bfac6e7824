package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

// What happens while old and new workers and producers run side by side:
// docs/operations.md tells operators to rely on it.

// The argument and the value of a task before and after its new version.
type (
	orderV1 struct{ Item string }
	orderV2 struct {
		Item  string
		Count int // new; 0 from those who do not know it
	}
	billV1 struct{ Text string }
	billV2 struct {
		Text  string
		Taxes int // new
	}
)

var (
	orderOld = tasks.Define("upgrade.order", func(_ context.Context, o orderV1) (billV1, error) { return billV1{"old " + o.Item}, nil })
	orderNew = tasks.Define("upgrade.order", func(_ context.Context, o orderV2) (billV2, error) {
		return billV2{fmt.Sprintf("new %d %s", o.Count, o.Item), 7}, nil
	})
	cheer = tasks.Define("upgrade.cheer", func(_ context.Context, n int) (string, error) { return fmt.Sprint("hurrah ", n), nil })
)

// version runs a worker of one version in this process, until the test ends or stop
// is called. It is in the registry when version returns.
func (e *env) version(t *testing.T, name, queue string, ts ...tasks.Runner) (stop func()) {
	t.Helper()
	running, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- worker.Run(running, worker.Config{Redis: e.url, Concurrency: 2, Queues: map[string]int{queue: 1}, Name: name, Keyring: suiteKeyring, Logger: slog.New(slog.NewTextHandler(e.log, nil))}, ts...)
	}()
	over := false
	stop = func() {
		if over {
			return
		}
		over = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the %s worker: %v", name, err)
		}
	}
	t.Cleanup(stop)
	eventually(t, "the "+name+" worker is registered", func() bool {
		ws, err := fleet.Workers(ctx(t), e.rdb)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range ws {
			if w.Serves(queue) && strings.HasPrefix(w.ID, name+":") {
				return true
			}
		}
		return false
	})
	return stop
}

func TestATaskThatOnlyNewWorkersKnowIsRunByThem(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p := e.pool(t)
		e.version(t, "old", e.queue, orderOld)
		stopNew := e.version(t, "new", e.queue, orderNew, cheer)
		got, err := producer.Map(ctx(t), p, cheer, numbers(20), producer.ChunkSize(1))
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range got {
			if want := fmt.Sprint("hurrah ", i); s != want {
				t.Errorf("call %d is %q, want %q", i, s, want)
			}
		}
		// One after the other, they wait for nobody's poll.
		began := time.Now()
		for i := range 20 {
			s, err := producer.Apply(ctx(t), p, cheer, i)
			same(t, "a call", s, err, fmt.Sprint("hurrah ", i))
		}
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("20 calls of a task that one of two workers knows took %v", took)
		}
		// Rolled back: those who know it have gone.
		stopNew()
		if _, err := producer.Apply(ctx(t), p, cheer, 1); !errors.Is(err, results.ErrUnknownTask) {
			t.Errorf("without the new worker: %v, want ErrUnknownTask", err)
		}
	})
}

// Workers of different tasks on one queue take each other's calls. That must not cost them
// their slots, nor the callers asynq's seconds.
func TestWorkersOfDifferentTasksShareAQueue(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2, only("sleep", "square"))
		e.worker(t, 2, only("count"))
		p := e.pool(t)
		began := time.Now()
		const calls = 60
		got, err := producer.Map(ctx(t), p, sleep, slices.Repeat([]int{20}, calls), producer.ChunkSize(1))
		same(t, "a map", len(got), err, calls)
		// At two calls in each of asynq's rounds it would be 90 s, and without the other worker
		// it is 0.6 s.
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("a map of %d calls of 20 ms took %v", calls, took)
		}
		began = time.Now()
		var both sync.WaitGroup
		both.Go(func() {
			for i := range calls {
				n, err := producer.Apply(ctx(t), p, square, i)
				same(t, "a call for the one", n, err, i*i)
			}
		})
		both.Go(func() {
			mark := e.probe()
			for i := range calls {
				n, err := producer.Apply(ctx(t), p, count, mark)
				same(t, "a call for the other", n, err, int64(i+1))
			}
		})
		both.Wait()
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("twice %d calls, one after the other, took %v", calls, took)
		}
	})
}

// A call that came to one of many workers that do not know it is brought back for the one
// that does, and not for whoever listens: that was a draw, and each further one took longer.
func TestOneOfManyWorkersThatKnowsATaskGetsItsCalls(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		const others = 5
		for range others {
			e.launch(t, 2, only("square"))
		}
		e.worker(t, 2, only("add"))
		eventually(t, "all workers are registered", func() bool { return len(e.workers(t)) == others+1 })
		p := e.pool(t)
		const calls = 40
		began := time.Now()
		for i := range calls {
			n, err := producer.Apply(ctx(t), p, add, tasks.Of2(i, 1))
			same(t, "a call", n, err, i+1)
		}
		// It was 15 s and more, and is 1 s.
		if took := time.Since(began); took > 8*time.Second {
			t.Errorf("%d calls that one of %d workers knows took %v", calls, others+1, took)
		}
	})
}

func TestArgumentsAndValuesMayGetFieldsWhileOldAndNewRun(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p := e.pool(t)
		onOld, onNew := producer.Queue(e.queue+"-old"), producer.Queue(e.queue+"-new")
		e.version(t, "old", e.queue+"-old", orderOld)
		e.version(t, "new", e.queue+"-new", orderNew)
		v2, err := producer.Apply(ctx(t), p, orderNew, orderV2{"tea", 3}, onOld)
		same(t, "a new producer on an old worker, which does not know the count", v2, err, billV2{"old tea", 0})
		v1, err := producer.Apply(ctx(t), p, orderOld, orderV1{"tea"}, onNew)
		same(t, "an old producer on a new worker", v1, err, billV1{"new 0 tea"})
	})
}

// A record that another version of distpool wrote is not guessed at: its handle says
// so at once, and names the remedy. Nothing else is touched.
func TestARecordOfAnotherVersionIsAnErrorOfItsHandle(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p := e.pool(t)
		r, err := producer.ApplyAsync(ctx(t), p, square, 3)
		if err != nil {
			t.Fatal(err)
		}
		e.setField(t, r.ID(), "about", "2"+e.field(t, r.ID(), "about")[1:])
		_, err = r.Get(ctx(t))
		if !errors.Is(err, results.ErrCorrupt) {
			t.Fatalf("the handle says %v, want ErrCorrupt", err)
		}
		mentions(t, err, r.ID(), `"2 square"`, "run the same version of distpool everywhere")
		survivors(t, p, e.worker(t, 1))
	})
}
