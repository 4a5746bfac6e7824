package record_test

import (
	"context"
	"fmt"
	"maps"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

// taskID is asynq's ID of the first delivery of job id, of one chunk.
func taskID(id string) string { return path.Base(id) + ":0:1" }

// one describes job id, of one chunk.
func one(id string) record.Op {
	j := job(1, 1, true)
	j.ID = id
	return record.Create(j, chunks(0, 1))
}

// enqueuer is asynq's client, and what it sends last.
type enqueuer struct {
	redis.UniversalClient
	keys []string
	args []any
	sha  string
}

func (e *enqueuer) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	e.sha, e.keys, e.args = sha, keys, args
	return e.UniversalClient.EvalSha(ctx, sha, keys, args...)
}

// enqueue has asynq enqueue the delivery of job id, and returns how it did it.
func enqueue(t *testing.T, rdb redis.UniversalClient, queue, id string) *enqueuer {
	t.Helper()
	e := &enqueuer{UniversalClient: rdb}
	_, err := asynq.NewClientFromRedisClient(e).EnqueueContext(t.Context(), asynq.NewTask("square", []byte("p")),
		asynq.TaskID(taskID(id)), asynq.Queue(queue), asynq.MaxRetry(5), asynq.Timeout(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// submit submits job id on the queue by the merged script.
func submit(t *testing.T, rdb redis.UniversalClient, queue, id string) {
	t.Helper()
	e := enqueue(t, rdb, "template", id)
	if e.sha != record.AsynqEnqueue {
		t.Fatalf("asynq enqueues with script %s, not with the one that the merged script stands for", e.sha)
	}
	prefix := "asynq:{" + queue + "}:"
	op, ok := one(id).Submit(record.Submission{
		Queue: queue, Keys: []string{prefix + "t:" + taskID(id), prefix + "pending"}, TaskID: taskID(id), Msg: e.args[0], Now: e.args[2],
	})
	if !ok {
		t.Fatal("the creation of a job of one chunk is not merged")
	}
	if n, err := op.Run(t.Context(), rdb).Int(); err != nil || n != 1 {
		t.Fatalf("submit answers %d, %v; want 1", n, err)
	}
}

// fetch takes deliveries of the queue.
func fetch(t *testing.T, rdb redis.UniversalClient, queue string, n, more int) []record.Fetched {
	t.Helper()
	ds, err := record.Fetch(t.Context(), rdb, "w", []record.Share{{Queue: queue, N: n}}, n, more, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

func TestAMergedSubmissionMakesWhatItsPartsMake(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		if n, err := one("a/parts").Run(t.Context(), rdb).Int(); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		enqueue(t, rdb, "a", "a/parts")
		submit(t, rdb, "b", "b/merged")
		parts, err := record.Read(t.Context(), rdb, "a/parts")
		if err != nil {
			t.Fatal(err)
		}
		merged, err := record.Read(t.Context(), rdb, "b/merged")
		if err != nil {
			t.Fatal(err)
		}
		merged.ID, merged.Queue, merged.Created = parts.ID, parts.Queue, parts.Created
		if fmt.Sprintf("%+v", merged) != fmt.Sprintf("%+v", parts) {
			t.Errorf("the parts make the job\n%+v, the merged script\n%+v", parts, merged)
		}
		if ttl := rdb.PTTL(t.Context(), record.Keys("b/merged")[0]).Val(); ttl <= openTTL-time.Minute || ttl > openTTL {
			t.Errorf("the job lives for %v, want %v", ttl, openTTL)
		}
		mine := rdb.HGetAll(t.Context(), "asynq:{b}:t:merged:0:1").Val()
		theirs := rdb.HGetAll(t.Context(), "asynq:{a}:t:parts:0:1").Val()
		if len(mine) != len(theirs) || mine["state"] != theirs["state"] {
			t.Errorf("asynq's task has the fields %v, and %v by the merged script", maps.Keys(theirs), maps.Keys(mine))
		}
		if got := rdb.LRange(t.Context(), "asynq:{b}:pending", 0, -1).Val(); len(got) != 1 || got[0] != "merged:0:1" {
			t.Errorf("pending is %q", got)
		}
		if n := rdb.LLen(t.Context(), record.BellKey("b")).Val(); n != 1 {
			t.Errorf("the bell has %d rings, want 1", n)
		}
		if !rdb.SIsMember(t.Context(), record.AsynqQueues, "b").Val() {
			t.Error("asynq does not know the queue")
		}
	})
}

func TestASubmissionThatIsSentTwiceHappensOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		e := enqueue(t, rdb, "q", "q/j")
		op, _ := one("q/j").Submit(record.Submission{Queue: "q", Keys: e.keys, TaskID: e.args[1], Msg: e.args[0], Now: e.args[2]})
		for _, want := range []int{1, 0} {
			if n, err := op.Run(t.Context(), rdb).Int(); err != nil || n != want {
				t.Errorf("it answers %d, %v; want %d", n, err, want)
			}
		}
		if n := rdb.LLen(t.Context(), "asynq:{q}:pending").Val(); n != 1 {
			t.Errorf("%d deliveries are pending, want 1", n)
		}
	})
}

func TestFetchTakesNoMoreThanItIsAskedForAndBeginsThem(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		for i := range 5 {
			submit(t, rdb, "q", fmt.Sprint("q/j", i))
		}
		ds := fetch(t, rdb, "q", 3, 0)
		if len(ds) != 3 {
			t.Fatalf("%d deliveries, want 3", len(ds))
		}
		for i, d := range ds {
			id := fmt.Sprint("q/j", i)
			if d.TaskID != taskID(id) || d.Queue != "q" || d.Msg == "" || d.Begun == nil {
				t.Fatalf("delivery %d is %+v", i, d)
			}
			if b := d.Begun; b.Verdict != record.Run || b.Delivery != 1 || string(b.Args) != "a0" || b.Task != "square" || b.Codec != "json" || b.Calls != 1 {
				t.Errorf("it begins with %+v", b)
			}
			if owner := rdb.HGet(t.Context(), record.Keys(id)[0], "run").Val(); owner != "w" {
				t.Errorf("the owner of %s is %q, want the worker", id, owner)
			}
			if state := rdb.HGet(t.Context(), "asynq:{q}:t:"+d.TaskID, "state").Val(); state != "active" {
				t.Errorf("asynq's state is %q, want active", state)
			}
		}
		if n := rdb.LLen(t.Context(), "asynq:{q}:pending").Val(); n != 2 {
			t.Errorf("%d are left, want 2", n)
		}
		if n := rdb.ZCard(t.Context(), "asynq:{q}:lease").Val(); n != 3 {
			t.Errorf("there are %d leases, want 3", n)
		}
	})
}

func TestFetchLeavesToBeginWhatAsksForThought(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		spoil := map[string]func(key string){
			"canceled":   func(key string) { rdb.HSet(t.Context(), key, "state", "canceled") },
			"held":       func(key string) { rdb.HSet(t.Context(), key, "run", "another") },
			"died":       func(key string) { rdb.HSet(t.Context(), key, "run", "", "run:lost", 1) },
			"saved":      func(key string) { rdb.HSet(t.Context(), key, "run:part", "p") },
			"expires":    func(key string) { rdb.HSet(t.Context(), key, "expires", 1) },
			"recorded":   func(key string) { rdb.HDel(t.Context(), key, "args") },
			"generation": func(key string) { rdb.HSet(t.Context(), key, "gen", "g") },
			"gone":       func(key string) { rdb.Del(t.Context(), key) },
			"no hash":    func(key string) { rdb.Del(t.Context(), key); rdb.Set(t.Context(), key, "x", 0) },
			"no number":  func(key string) { rdb.HSet(t.Context(), key, "calls", "many") },
		}
		for what, damage := range spoil {
			queue := "q"
			submit(t, rdb, queue, "q/j")
			damage(record.Keys("q/j")[0])
			ds := fetch(t, rdb, queue, 1, 0)
			if len(ds) != 1 || ds[0].Begun != nil {
				t.Errorf("%s: fetched %+v, want the delivery alone", what, ds)
			}
			rdb.FlushAll(t.Context())
		}
	})
}

func TestFetchTakesNothingFromAPausedQueueAndFillsUpFromTheOthers(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		for i := range 2 {
			submit(t, rdb, "a", fmt.Sprint("a/a", i))
			submit(t, rdb, "b", fmt.Sprint("b/b", i))
			submit(t, rdb, "c", fmt.Sprint("c/c", i))
		}
		rdb.Set(t.Context(), "asynq:{a}:paused", 1, 0)
		ds, err := record.Fetch(t.Context(), rdb, "w", []record.Share{{"a", 2}, {"b", 1}, {"c", 0}}, 3, 0, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		var got string
		for _, d := range ds {
			got += d.TaskID + " "
		}
		if want := "b0:0:1 b1:0:1 c0:0:1 "; got != want {
			t.Errorf("fetched %s, want %s", got, want)
		}
	})
}

func TestFetchTakesMoreOnlyWhileNobodyListensAndPassesTheRingOn(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		for i := range 6 {
			submit(t, rdb, "q", fmt.Sprint("q/j", i))
		}
		rdb.Del(t.Context(), record.BellKey("q")) // as a worker does that listens
		if ds := fetch(t, rdb, "q", 1, 3); len(ds) != 1 {
			t.Errorf("%d deliveries while a worker may be idle, want 1", len(ds))
		}
		if n := rdb.LLen(t.Context(), record.BellKey("q")).Val(); n != 1 {
			t.Errorf("the bell has %d rings, want 1 for what was left", n)
		}
		if ds := fetch(t, rdb, "q", 1, 3); len(ds) != 4 {
			t.Errorf("%d deliveries while a ring waits, want 4", len(ds))
		}
		rdb.Del(t.Context(), record.BellKey("q"))
		if ds := fetch(t, rdb, "q", 2, 0); len(ds) != 1 {
			t.Errorf("%d deliveries, want the last one", len(ds))
		}
		if n := rdb.LLen(t.Context(), record.BellKey("q")).Val(); n != 0 {
			t.Errorf("the bell has %d rings, want none: nothing is left", n)
		}
	})
}

func TestWhatIsGivenBackIsFetchedInTheOldOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		for i := range 3 {
			submit(t, rdb, "q", fmt.Sprint("q/j", i))
		}
		ds := fetch(t, rdb, "q", 2, 0)
		if err := record.GiveBack(t.Context(), rdb, "w", ds); err != nil {
			t.Fatal(err)
		}
		if n := rdb.LLen(t.Context(), "asynq:{q}:active").Val() + rdb.ZCard(t.Context(), "asynq:{q}:lease").Val(); n != 0 {
			t.Errorf("%d entries of them are left as active or leased", n)
		}
		again := fetch(t, rdb, "q", 3, 0)
		for i, d := range again {
			if d.TaskID != fmt.Sprint("j", i, ":0:1") || d.Begun == nil || d.Begun.Delivery != 1 {
				t.Errorf("delivery %d is %+v; want it begun for the first time", i, d)
			}
		}
		if len(again) != 3 {
			t.Errorf("%d deliveries, want 3", len(again))
		}
	})
}

func TestDeliveriesThatWorkerDoesNotKnowAreFound(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		for i := range 3 {
			submit(t, rdb, "q", fmt.Sprint("q/j", i))
		}
		fetch(t, rdb, "q", 3, 0)
		rdb.HSet(t.Context(), record.Keys("q/j1")[0], "run", "another")
		own, err := record.OwnDeliveries(t.Context(), rdb, "w", "q", func(id string) bool { return id == "j0:0:1" })
		if err != nil || len(own) != 1 || own[0] != "j2:0:1" {
			t.Errorf("found %q, %v; want the one that is the worker's and unknown", own, err)
		}
	})
}

func TestFinishRecordsAndEndsTheDelivery(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, inline := range []bool{true, false} {
			submit(t, rdb, "q", "q/j")
			fetch(t, rdb, "q", 1, 0)
			op := record.Finish(record.Ref{ID: "q/j"}, inline, 0, record.Recording{Outcome: []byte("o"), Calls: 1, Inline: 100}, "q", "j:0:1")
			for _, want := range []string{"ok", "recorded"} {
				if s, err := op.Run(t.Context(), rdb).Text(); err != nil || s != want {
					t.Errorf("finish answers %q, %v; want %q", s, err, want)
				}
			}
			s, err := record.Read(t.Context(), rdb, "q/j")
			if err != nil || s.State != record.Done || s.Recorded != 1 || s.Done != 1 || s.Failed != 0 || string(s.Out) != "o" || s.Finished == 0 {
				t.Errorf("the job reads %+v, %v", s, err)
			}
			if ttl := rdb.PTTL(t.Context(), record.Keys("q/j")[0]).Val(); ttl <= 0 || ttl > resultTTL {
				t.Errorf("the job lives for %v, want %v", ttl, resultTTL)
			}
			info, err := asynq.NewInspectorFromRedisClient(rdb).GetQueueInfo("q")
			if err != nil || info.Active != 0 || info.Pending != 0 || info.Processed != 1 || info.ProcessedTotal != 1 {
				t.Errorf("asynq's queue is %+v, %v; want one processed task and none left", info, err)
			}
			if n := rdb.Exists(t.Context(), "asynq:{q}:t:j:0:1").Val() + rdb.ZCard(t.Context(), "asynq:{q}:lease").Val(); n != 0 {
				t.Error("something is left of the delivery")
			}
			rdb.FlushAll(t.Context())
		}
	})
}

func TestAsynqsCounterOfAllTasksStartsAnewWhenItIsFull(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		submit(t, rdb, "q", "q/j")
		fetch(t, rdb, "q", 1, 0)
		rdb.Set(t.Context(), "asynq:{q}:processed", "9223372036854775807", 0)
		op := record.Finish(record.Ref{ID: "q/j"}, true, 0, record.Recording{Outcome: []byte("o"), Calls: 1}, "q", "j:0:1")
		if s, err := op.Run(t.Context(), rdb).Text(); err != nil || s != "ok" {
			t.Fatal(s, err)
		}
		if n := rdb.Get(t.Context(), "asynq:{q}:processed").Val(); n != "1" {
			t.Errorf("it is %s, want 1", n)
		}
	})
}

// refusedFinish is TestAReferenceToNothingIsRefused of the script that ends the chunk's
// delivery, too: without an outcome the delivery is not over.
func refusedFinish(t *testing.T, rdb redis.UniversalClient, alone func(record.Op) error, inline bool) {
	t.Helper()
	finish := func(outcome []byte) record.Op {
		return record.Finish(record.Ref{ID: "q/j"}, inline, 0, record.Recording{Outcome: outcome, Calls: 2, Apart: true}, "q", "j:0:1")
	}
	rerecord(t, rdb, finish([]byte("o")), record.WasGone) // loads the script
	create(t, rdb, job(2, 1, inline), chunks(0, 1))
	rdb.LPush(t.Context(), "asynq:{q}:active", "j:0:1")
	rdb.ZAdd(t.Context(), "asynq:{q}:lease", redis.Z{Score: 1, Member: "j:0:1"})
	rdb.HSet(t.Context(), "asynq:{q}:t:j:0:1", "state", "active")
	delivery := []string{"asynq:{q}:active", "asynq:{q}:lease", "asynq:{q}:t:j:0:1"}
	op := finish(big('o'))
	if err := alone(op); err == nil || !strings.HasPrefix(err.Error(), "LARGEGONE") {
		t.Fatalf("finish answers %v", err)
	}
	if s := read(t, rdb); s.Recorded != 0 || s.Out != nil {
		t.Fatalf("the job reads %+v", s)
	}
	if n := rdb.Exists(t.Context(), delivery...).Val(); n != 3 {
		t.Errorf("finish has ended the delivery of a chunk that has no outcome: %d of its 3 keys are there", n)
	}
	rerecord(t, rdb, op, record.OK) // with the frame
	if n := rdb.Exists(t.Context(), delivery...).Val(); n != 0 {
		t.Errorf("%d keys of the delivery are left once its chunk is recorded", n)
	}
	if _, err := record.Forget(t.Context(), rdb, "q/j"); err != nil {
		t.Fatal(err)
	}
	counters := rdb.Keys(t.Context(), "asynq:{q}:processed*").Val()
	if len(counters) != 2 {
		t.Errorf("asynq's counters are %q", counters)
	}
	rdb.Del(t.Context(), counters...)
}
