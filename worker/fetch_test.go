package worker

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/broker"
	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
)

// spy notes the scripts by which asynq does what is replaced here.
type spy struct {
	redis.UniversalClient
	mu            sync.Mutex
	dequeue, done string
	listing       string
	forward       string
	forwarded     chan struct{} // closed when forward is known
}

func (s *spy) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	s.mu.Lock()
	switch {
	case isDequeue(keys):
		s.dequeue = sha
	case len(keys) == 5 && strings.HasSuffix(keys[0], ":active") && strings.HasSuffix(keys[4], ":processed"):
		s.done = sha
	case len(keys) == 2 && strings.HasPrefix(keys[0], "asynq:servers:") && len(args) > 1:
		s.listing = sha
	case len(keys) == 2 && strings.HasSuffix(keys[0], ":retry") && s.forward == "":
		s.forward = sha
		close(s.forwarded)
	}
	s.mu.Unlock()
	return s.UniversalClient.EvalSha(ctx, sha, keys, args...)
}

// A version of asynq with other scripts is served all the same, but slower: the
// merged ones stand for those of one version.
func TestTheMergedScriptsStandForThoseOfThisAsynq(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	defer func() { _ = rdb.Close() }()
	s := &spy{UniversalClient: rdb, forwarded: make(chan struct{})}
	srv := asynq.NewServerFromRedisClient(s, asynq.Config{
		Concurrency: 1, TaskCheckInterval: time.Millisecond, DelayedTaskCheckInterval: time.Millisecond, LogLevel: asynq.FatalLevel,
	})
	ran := make(chan struct{})
	if err := srv.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error { close(ran); return nil })); err != nil {
		t.Fatal(err)
	}
	if _, err := asynq.NewClientFromRedisClient(rdb).Enqueue(asynq.NewTask("t", nil)); err != nil {
		t.Fatal(err)
	}
	<-ran
	<-s.forwarded
	srv.Shutdown()
	s.mu.Lock()
	defer s.mu.Unlock()
	got := []string{s.dequeue, s.done, s.forward, s.listing}
	want := []string{record.AsynqDequeue, record.AsynqDone, record.AsynqForward, record.AsynqListing}
	if !slices.Equal(got, want) {
		t.Errorf("asynq's scripts are %v, want %v: compare what stands for them with the new ones", got, want)
	}
}

// fetching makes a fetcher with so many free slots, and n submitted jobs.
func fetching(t *testing.T, n int, free *int, queues map[string]int) (*fetcher, *redis.Client) {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	if err := record.Load(t.Context(), rdb); err != nil {
		t.Fatal(err)
	}
	b := broker.New(rdb)
	for i := range n {
		id := fmt.Sprintf("q/j%d", i)
		op := record.Create(record.Job{
			ID: id, Task: "square", Codec: "json", Calls: 1, Chunks: 1, Sealed: true, OpenTTL: time.Hour, ResultTTL: time.Hour,
		}, []record.Chunk{{Number: 0, Args: []byte("0 1\n[1]")}})
		if _, err := b.Submit(t.Context(), op, "q", "square", []wire.Delivery{{Job: id, Number: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	return newFetcher(rdb, "w", Config{Concurrency: *free, Queues: queues}, func() int { return *free }), rdb
}

var onlyQ = map[string]int{"q": 1}

func pending(t *testing.T, rdb *redis.Client) int64 {
	t.Helper()
	n, err := rdb.LLen(t.Context(), "asynq:{q}:pending").Result()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNoMoreDeliveriesAreHereThanSlotsAreFree(t *testing.T) {
	free := 3
	f, rdb := fetching(t, 10, &free, onlyQ)
	if _, a := f.ask("q"); a != unknown {
		t.Fatalf("an empty fetcher answers %v", a)
	}
	if err := f.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := pending(t, rdb); n != 7 {
		t.Errorf("%d deliveries are left in the queue, want 7", n)
	}
	for range 3 {
		if msg, a := f.ask("q"); a != handOut || msg == "" {
			t.Errorf("the fetcher answers %v", a)
		}
	}
	if n := f.free(); n != 0 {
		t.Errorf("%d slots count as free while 3 deliveries are on their way to 3 slots", n)
	}
	if b := f.arrived("j0:0:1"); b == nil || b.Verdict != record.Run {
		t.Errorf("the handler hears %+v of the first delivery", b)
	}
	free--
	if n := f.free(); n != 0 {
		t.Errorf("%d slots count as free, want 0", n)
	}
}

// The process was stopped, or starved, after the fetch: another worker may have taken
// the chunk over, and recorded it.
func TestAChunkThatWasBegunLongAgoIsBegunAnew(t *testing.T) {
	free := 2
	f, _ := fetching(t, 2, &free, onlyQ)
	if err := f.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.fetched[0].Asked = f.fetched[0].Asked.Add(-fleet.Lifetime + fleet.BeatEvery)
	for range 2 {
		if _, a := f.ask("q"); a != handOut {
			t.Fatalf("the fetcher answers %v", a)
		}
	}
	if b := f.arrived("j0:0:1"); b != nil {
		t.Errorf("a chunk that was begun when its worker may have been dead since runs without another look: %+v", b)
	}
	if b := f.arrived("j1:0:1"); b == nil {
		t.Error("a chunk that was begun just now is begun once more")
	}
}

func TestAFetchThatEmptiedTheQueuesIsFollowedByListening(t *testing.T) {
	free := 4
	f, rdb := fetching(t, 3, &free, map[string]int{"q": 1, "b": 1})
	rdb.RPush(t.Context(), record.BellKey("q"), "1", "1") // rung for what is fetched now
	if err := f.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, a := f.ask("q"); a != handOut {
			t.Fatalf("the fetcher answers %v, want a delivery", a)
		}
	}
	for _, q := range []string{"q", "b"} {
		if _, a := f.ask(q); a != silent {
			t.Errorf("for %s the fetcher answers %v, want that it is time to listen", q, a)
		}
	}
	if n := rdb.LLen(t.Context(), record.BellKey("q")).Val(); n != 0 {
		t.Errorf("%d rings wait although nothing is left to fetch", n)
	}
	f.listened()
	if _, a := f.ask("q"); a != unknown {
		t.Errorf("after listening the fetcher answers %v, want that it has to fetch", a)
	}
}

func TestClosingGivesBackWhatWasFetchedAndNotBegun(t *testing.T) {
	free := 4
	f, rdb := fetching(t, 4, &free, onlyQ)
	if err := f.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.ask("q")
	f.close()
	f.wait(t.Context())
	if n := pending(t, rdb); n != 3 {
		t.Errorf("%d deliveries are back, want the 3 that were not handed out", n)
	}
	for i := 1; i < 4; i++ {
		if owner := rdb.HGet(t.Context(), record.Keys(fmt.Sprint("q/j", i))[0], "run").Val(); owner != "" {
			t.Errorf("the record says that %s runs chunk %d", owner, i)
		}
	}
}

func TestShortChunksAreFetchedAheadAndGivenBackWhenNoSlotComes(t *testing.T) {
	free := 2
	f, rdb := fetching(t, 10, &free, onlyQ)
	for range 10 {
		f.note(time.Microsecond)
	}
	if err := f.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	here := len(f.fetched)
	f.mu.Unlock()
	if here != 10 {
		t.Fatalf("%d deliveries are here, want all 10: calls are short and nobody is idle", here)
	}
	for deadline := time.Now().Add(10 * time.Second); pending(t, rdb) != 8 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if n := pending(t, rdb); n != 8 {
		t.Errorf("%d deliveries are back in the queue, want the 8 for which there was no slot", n)
	}
	if n := f.ahead(); n != 0 {
		t.Errorf("%d more would be fetched ahead although chunks turned out to be long", n)
	}
}

func TestLongChunksAreNotFetchedAhead(t *testing.T) {
	free := 2
	f, rdb := fetching(t, 10, &free, onlyQ)
	f.note(10 * time.Millisecond)
	if err := f.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := pending(t, rdb); n != 8 {
		t.Errorf("%d deliveries are left in the queue, want 8", n)
	}
}

func TestWhatWasFetchedWithoutAReplyIsGivenBack(t *testing.T) {
	free := 1
	f, rdb := fetching(t, 2, &free, onlyQ)
	if err := f.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	// A fetch of which this worker has never heard.
	if _, err := record.Fetch(t.Context(), rdb, "w", []record.Share{{Queue: "q", N: 1}}, 1, 0, lease); err != nil {
		t.Fatal(err)
	}
	if err := f.reclaim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := pending(t, rdb); n != 0 {
		t.Errorf("%d deliveries came back although nothing was suspect", n)
	}
	f.suspect = time.Now().Add(time.Minute)
	if err := f.reclaim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := pending(t, rdb); n != 1 {
		t.Errorf("%d deliveries came back, want the one that nobody here knows", n)
	}
}

func TestTheSharesOfQueuesFollowTheirWeights(t *testing.T) {
	free := 1
	f, _ := fetching(t, 0, &free, map[string]int{"heavy": 3, "light": 1})
	got := map[string]int{}
	const n, rounds = 8, 2000
	for range rounds {
		sum := 0
		for _, s := range f.shares(n) {
			got[s.Queue] += s.N
			sum += s.N
		}
		if sum != n {
			t.Fatalf("the shares add up to %d, want %d", sum, n)
		}
	}
	if part := float64(got["heavy"]) / (n * rounds); part < 0.72 || part > 0.78 {
		t.Errorf("the queue of weight 3 of 4 is asked first in %.3f of all cases, want 0.75", part)
	}
	f.strict = true
	if ss := f.shares(n); ss[0].Queue != "heavy" || ss[0].N != n || ss[1].N != 0 {
		t.Errorf("with strict priority the shares are %v", ss)
	}
}

// The reply of a recording may come late, or not at all: the slot is free, but the
// chunk is this worker's until then.
func TestAChunkStaysListedUntilItsRecordingIsAnswered(t *testing.T) {
	free := 1
	f, rdb := fetching(t, 1, &free, onlyQ)
	if err := f.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := newWorker(Config{Concurrency: 1, MaxResult: DefaultMaxResult, Queues: onlyQ, Logger: slog.New(slog.DiscardHandler)}, rdb, map[string]call.Task{})
	r := &chunkRun{worker: w, delivery: wire.Delivery{Job: "q/j0", Number: 1}, taskID: "j0:0:1", task: "square", queue: "q", inline: true}
	if !w.enlist(r) {
		t.Fatal("the chunk is listed already")
	}
	if err := record.Load(t.Context(), rdb); err != nil {
		t.Fatal(err)
	}
	if !w.finisher.take(r, record.Recording{Outcome: []byte("0 1 0\n[1]"), Calls: 1}) {
		t.Fatal("the finisher does not take the chunk")
	}
	if !w.finisher.ended("j0:0:1") || w.finisher.ended("j0:0:1") {
		t.Error("asynq is not kept from ending the delivery once, and only once")
	}
	w.finisher.wait(t.Context())
	if len(w.running) != 0 {
		t.Error("the chunk is still listed although its recording was answered")
	}
	if s := rdb.HGet(t.Context(), record.Keys("q/j0")[0], "state").Val(); s != "done" {
		t.Errorf("the job is %q, want done", s)
	}
	if n := rdb.LLen(t.Context(), "asynq:{q}:active").Val(); n != 0 {
		t.Errorf("%d deliveries are active, want none", n)
	}
}

// A chunk that runs here must not be given back because another delivery of it came
// without our knowing, or came again and was over.
func TestAnotherDeliveryOfAChunkThatRunsHereIsNotReclaimed(t *testing.T) {
	free := 2
	f, rdb := fetching(t, 1, &free, onlyQ)
	if err := f.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := func() {
		t.Helper()
		if err := broker.New(rdb).Enqueue(t.Context(), "q", "square", []wire.Delivery{{Job: "q/j0", Number: 2}}); err != nil {
			t.Fatal(err)
		}
	}
	runs := func(when string) {
		t.Helper()
		if err := f.reclaim(t.Context()); err != nil {
			t.Fatal(err)
		}
		if owner := rdb.HGet(t.Context(), record.Keys("q/j0")[0], "run").Val(); owner != "w" {
			t.Errorf("the owner of the chunk is %q %s, want this worker, which runs it", owner, when)
		}
	}
	again()
	if err := f.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.over("j0:0:2") // the handler found that the chunk runs here
	f.suspect = time.Now().Add(time.Minute)
	runs("when its second delivery was over")
	rdb.LPush(t.Context(), "asynq:{q}:active", "j0:0:3") // taken, and the reply was lost
	runs("when a third one was taken")
	f.over("j0:0:1")
	if err := f.reclaim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if owner := rdb.HGet(t.Context(), record.Keys("q/j0")[0], "run").Val(); owner != "" {
		t.Errorf("the owner of the chunk is %q, although nothing of it is here", owner)
	}
}

// The recording of large outcomes goes alone, and its slot does not wait for it either.
func TestLargeOutcomesAreRecordedInTheBackground(t *testing.T) {
	free := 2
	f, rdb := fetching(t, 2, &free, onlyQ)
	if err := f.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := newWorker(Config{Concurrency: 1, MaxResult: DefaultMaxResult, Queues: onlyQ, Logger: slog.New(slog.DiscardHandler)}, rdb, map[string]call.Task{})
	take := func(job string, size int) bool {
		d := wire.Delivery{Job: job, Number: 1}
		r := &chunkRun{worker: w, delivery: d, taskID: d.TaskID(), task: "square", queue: "q", inline: true}
		if !w.enlist(r) {
			t.Fatal("the chunk is listed already")
		}
		return w.finisher.take(r, record.Recording{Outcome: []byte("0 1 0\n" + strings.Repeat("x", size)), Calls: 1})
	}
	if !take("q/j0", 100<<10) {
		t.Error("the finisher does not take outcomes of 100 KiB")
	}
	if take("q/j1", finishUpTo) {
		t.Errorf("the finisher takes outcomes of more than %d bytes", finishUpTo)
	}
	w.finisher.wait(t.Context())
	if s := rdb.HGet(t.Context(), record.Keys("q/j0")[0], "state").Val(); s != "done" {
		t.Errorf("the job is %q, want done", s)
	}
	if len(w.finisher.room) != 0 || len(w.finisher.large) != 0 {
		t.Errorf("%d and %d places are taken, although nothing is under way", len(w.finisher.room), len(w.finisher.large))
	}
}
