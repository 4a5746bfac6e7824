package worker

import (
	"context"
	"testing"
	"time"

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
		if owner := ownerOf(t, rdb, "q/j0"); owner != "w" || pending(t, rdb) != 0 {
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
		if owner := ownerOf(t, rdb, "q/j0"); owner != want || pending(t, rdb) != back {
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
	if owner := ownerOf(t, rdb, "q/j0"); owner != "w" || pending(t, rdb) != 1 {
		t.Errorf("the chunk that was begun anew is %q's, and %d deliveries are in the queue", owner, pending(t, rdb))
	}
}

// Jobs of one chosen name in two queues have one asynq task ID but for the generation.
func TestAJobOfTheSameNameInAnotherQueueIsNotGivenBack(t *testing.T) {
	free := 2
	f, rdb := fetching(t, 0, &free, map[string]int{"q": 1, "r": 1})
	b := broker.New(rdb)
	refs := []record.Ref{{ID: "q/same", Gen: "G1"}, {ID: "r/same", Gen: "G2"}}
	for i, queue := range []string{"q", "r"} {
		op := record.Create(record.Job{
			ID: refs[i].ID, Gen: refs[i].Gen, Task: "square", Codec: "json", Calls: 1, Chunks: 1, Sealed: true, OpenTTL: time.Hour, ResultTTL: time.Hour,
		}, []record.Chunk{{Number: 0, Args: []byte("0 1\n[1]")}})
		d := wire.Delivery{Job: refs[i].ID, Gen: refs[i].Gen, Number: 1}
		if _, err := b.Submit(t.Context(), op, queue, "square", []wire.Delivery{d}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.fetch(t.Context()); err != nil || len(f.fetched) != 2 {
		t.Fatalf("fetched are %+v, %v; want both", f.fetched, err)
	}
	if _, a := f.ask("r"); a != handOut {
		t.Fatalf("the fetcher answers %v", a)
	}
	for _, ref := range refs { // by the record both are this worker's
		if _, err := record.Begin(t.Context(), rdb, ref, 0, "w", "", budget); err != nil {
			t.Fatal(err)
		}
	}
	f.close() // the other one goes back
	f.wait(t.Context())
	absent := map[string]bool{}
	for _, ref := range refs {
		f.ifAbsent(record.ChunkRef{Job: ref}, func() { absent[ref.ID] = true })
	}
	if !absent["q/same"] || absent["r/same"] {
		t.Errorf("absent are %v, want the one that went back", absent)
	}
	f.over("same:0:1:G1")
	own, err := record.OwnDeliveries(t.Context(), rdb, "w", "r", func(id string) bool { return f.held[chunkOf(id)].n > 0 })
	if err != nil || len(own) > 0 || ownerOf(t, rdb, "r/same") != "w" {
		t.Errorf("of the other queue %q would be taken from the handler, %v", own, err)
	}
	if n := pending(t, rdb); n != 1 {
		t.Errorf("%d deliveries are back in the queue, want 1", n)
	}
}
