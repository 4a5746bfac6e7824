package execute

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/nested"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/tasks"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// bench is an Executor with its counters.
type bench struct {
	*Executor
	drain           context.CancelFunc
	calls, failures atomic.Int64
	busy            atomic.Int64 // ns
	recycled        atomic.Int32
	drainAfter      int64 // drains once so many calls ended; 0: never
}

// executor returns one that knows the tasks.
func executor(ts ...tasks.Runner) *bench {
	b := &bench{}
	serving, drain := context.WithCancel(context.Background())
	b.drain = drain
	b.Executor = &Executor{
		Worker: "w", Tasks: map[string]call.Task{}, MaxResult: 1 << 20, MaxDeaths: 3,
		Serving: serving, Waits: &nested.Waits{}, CountFailure: func() { b.failures.Add(1) }, Recycle: func() { b.recycled.Add(1) },
		Log: slog.New(slog.DiscardHandler),
		Count: func(calls int, took time.Duration) {
			b.busy.Add(int64(took))
			if n := b.calls.Add(int64(calls)); b.drainAfter > 0 && n >= b.drainAfter {
				drain()
			}
		},
	}
	for _, t := range ts {
		b.Tasks[t.Name()] = tasks.Erase(t)
	}
	return b
}

// host is a Host that notes what it is told.
type host struct {
	saved  []wire.Partial
	onSave func()
}

func (h *host) OpenArgs(_ call.Task, _, _ int, data []byte) ([]byte, error) { return data, nil }
func (h *host) OpenPartial(p wire.Partial) (wire.Partial, error)            { return p, nil }

func (h *host) Save(_ context.Context, p wire.Partial) {
	h.saved = append(h.saved, p)
	if h.onSave != nil {
		h.onSave()
	}
}

// chunkOf is a chunk of the task with the arguments, from call 1000 of a large job on.
func chunkOf[A any](t testing.TB, task tasks.Runner, args ...A) *Chunk {
	t.Helper()
	data, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	return &Chunk{
		Job: "q/j", Number: 3, Task: task.Name(), Queue: "q", Codec: "json", Total: 1 << 20,
		Args: wire.EncodeArgs(1000, len(args), data),
	}
}

// numbers are 0 to n-1.
func numbers(n int) []int {
	ns := make([]int, n)
	for i := range ns {
		ns[i] = i
	}
	return ns
}

// ends runs a chunk, which must end so.
func ends(t testing.TB, want End, r *Run) Result {
	t.Helper()
	got := r.Do(t.Context())
	if got.End != want {
		t.Fatalf("the run ended with %+v, want end %d", got, want)
	}
	return got
}

// values are what the outcome has of calls that returned numbers.
func values(t testing.TB, o wire.Outcome) []int {
	t.Helper()
	var vs []int
	if len(o.Values) > 0 {
		if err := json.Unmarshal(o.Values, &vs); err != nil {
			t.Fatal(err)
		}
	}
	return vs
}

// kinds are the failures of an outcome, by call.
func kinds(o wire.Outcome) map[int]wire.Kind {
	ks := map[int]wire.Kind{}
	for _, e := range o.Errors {
		ks[e.Call] = e.Kind
	}
	return ks
}
