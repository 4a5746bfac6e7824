package worker

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/broker"
	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
)

// ownerOf is who has the only chunk of the job, by the record.
func ownerOf(t *testing.T, rdb *redis.Client, job string) string {
	t.Helper()
	owner, err := rdb.HGet(t.Context(), record.Keys(job)[0], "run").Result()
	if err != nil {
		t.Fatal(err)
	}
	return owner
}

// A chunk that was issued again while its first delivery waited has two in the queue,
// and one fetch may take both. It is begun by the first.
func TestAChunkIsGivenUpWithTheLastOfItsDeliveries(t *testing.T) {
	for _, keep := range []bool{false, true} {
		free := 3
		f, rdb := fetching(t, 1, &free, onlyQ)
		if err := broker.New(rdb).Enqueue(t.Context(), "q", "square", []wire.Delivery{{Job: "q/j0", Number: 2}, {Job: "q/j0", Number: 3}}); err != nil {
			t.Fatal(err)
		}
		if err := f.fetch(t.Context()); err != nil {
			t.Fatal(err)
		}
		if owner := ownerOf(t, rdb, "j0"); owner != "w" || pending(t, rdb) != 0 {
			t.Fatalf("the chunk is %q's, and %d deliveries are in the queue; want it to be this worker's by 3 deliveries", owner, pending(t, rdb))
		}
		if keep {
			if _, a := f.ask("q"); a != handOut {
				t.Fatalf("the fetcher answers %v", a)
			}
		}
		f.close()
		f.wait(t.Context())
		want, back := "", int64(3)
		if keep {
			want, back = "w", 2
		}
		if owner := ownerOf(t, rdb, "j0"); owner != want || pending(t, rdb) != back {
			t.Errorf("one of its deliveries is with the handler: %v; the chunk is %q's, want %q, and %d deliveries are back, want %d", keep, owner, want, pending(t, rdb), back)
		}
	}
}

// oneByOne sends what is in a pipeline one by one, and has then called once after the first.
type oneByOne struct{ then func() }

func (*oneByOne) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*oneByOne) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (o *oneByOne) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for i := range cmds {
			if err := next(ctx, cmds[i:i+1]); err != nil {
				return err
			}
			if then := o.then; then != nil && cmds[i].Name() == "eval" {
				o.then = nil
				then()
			}
		}
		return nil
	}
}

// The first delivery that goes back may be fetched, and the chunk begun, before the last
// one is back: by the same worker, too.
func TestAChunkIsGivenUpOnce(t *testing.T) {
	free := 2
	f, rdb := fetching(t, 1, &free, onlyQ)
	if err := broker.New(rdb).Enqueue(t.Context(), "q", "square", []wire.Delivery{{Job: "q/j0", Number: 2}}); err != nil {
		t.Fatal(err)
	}
	if err := f.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	rdb.AddHook(&oneByOne{func() {
		ds, err := record.Fetch(t.Context(), rdb, "w", []record.Share{{Queue: "q", N: 1}}, 1, 0, lease)
		if err != nil || len(ds) != 1 || ds[0].Begun == nil {
			t.Errorf("another fetch brings %+v, %v; want one delivery, and its chunk begun", ds, err)
		}
	}})
	f.close()
	f.wait(t.Context())
	if owner := ownerOf(t, rdb, "j0"); owner != "w" || pending(t, rdb) != 1 {
		t.Errorf("the chunk that was begun anew is %q's, and %d deliveries are in the queue", owner, pending(t, rdb))
	}
}
