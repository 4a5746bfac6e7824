package worker_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/distpool/distpool/observe"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

type markKey struct{}

// ends is an observer whose contexts carry a value, and end when its methods return.
type ends struct{ observe.NopWorker }

func ended(ctx context.Context) context.Context {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, markKey{}, "marked"), time.Minute)
	defer cancel()
	return ctx
}

func (ends) BeginChunk(ctx context.Context, _ *observe.Chunk) context.Context { return ended(ctx) }
func (ends) BeginCall(ctx context.Context, _ *observe.Call) context.Context   { return ended(ctx) }

// submits is such an observer of a pool.
type submits struct{ observe.NopPool }

func (submits) BeginSubmit(ctx context.Context, _ *observe.Submission) context.Context {
	return ended(ctx)
}

// What an observer derives from a context it may also end. That ends no call, no chunk and no
// submission; a call that is canceled is told so all the same.
func TestAnObserversContextEndsNothing(t *testing.T) {
	redis := miniredis.RunT(t)
	began := make(chan struct{})
	task := tasks.Define("marked", func(ctx context.Context, n int) (string, error) {
		if n < 0 {
			close(began)
			<-ctx.Done()
		}
		mark, _ := ctx.Value(markKey{}).(string)
		return mark, ctx.Err()
	})
	stop := served(redis.Addr(), worker.Config{Observers: []observe.Worker{ends{}, ends{}}}, task)
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	p, err := producer.Open(ctx, producer.Config{Redis: "redis://" + redis.Addr(), Observers: []observe.Pool{submits{}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Terminate(context.Background()) }()
	vs, err := producer.Map(ctx, p, task, []int{1, 2, 3}, producer.ChunkSize(3))
	if err != nil || !slices.Equal(vs, []string{"marked", "marked", "marked"}) {
		t.Errorf("%q, %v; want the mark of the observer", vs, err)
	}
	r, err := producer.ApplyAsync(ctx, p, task, -1)
	if err != nil {
		t.Fatal(err)
	}
	<-began
	if err := r.Cancel(ctx); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil { // it waits for the call
		t.Error(err)
	}
}
