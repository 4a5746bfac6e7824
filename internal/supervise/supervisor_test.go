package supervise

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/job"
)

// fleet is a Fleet of workers that a test lists as live.
type fleet struct {
	mu    sync.Mutex
	alive map[string]bool
	sound bool
	asked []string // guarded by mu: "WORKER TASKID"
}

func (f *fleet) Lead(context.Context) (bool, error) { return true, nil }

func (f *fleet) Alive(context.Context) (map[string]bool, bool, error) { return f.alive, f.sound, nil }

func (f *fleet) Ask(_ context.Context, worker, _ string, chunks []job.Delivery) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range chunks {
		f.asked = append(f.asked, worker+" "+d.TaskID())
	}
	return nil
}

func start(t *testing.T) (*Supervisor, *fleet, *redis.Client) {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { rdb.Close() })
	f := &fleet{alive: map[string]bool{"alive": true}, sound: true}
	cfg := Config{
		Redis: rdb, Fleet: f, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Lanes: func(context.Context) ([]string, error) { return []string{"q"}, nil },
	}
	cfg.KeepArchived, cfg.ArchivedFor = 100, 24*time.Hour
	return New(cfg), f, rdb
}

func submit(t *testing.T, rdb *redis.Client, names ...string) {
	t.Helper()
	for _, name := range names {
		d := job.Delivery{Ref: job.Ref{Name: name}, Number: 1}
		_, err := job.Submit(t.Context(), rdb, "q", []job.Submission{job.New(
			job.Job{Ref: d.Ref, About: "1 square", Pool: "pool", Calls: 1, Chunks: 1, Life: time.Hour, TTL: time.Minute},
			[]job.Chunk{{Args: []byte(name), TaskID: d.TaskID(), Message: job.Message("q", "square", d, "", time.Time{})}})})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func take(t *testing.T, rdb *redis.Client, worker string, n int) []job.Taken {
	t.Helper()
	taken, err := job.Take(t.Context(), rdb, "q", job.Taking{Worker: worker, Most: n, Room: 1 << 20, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return taken
}

func pass(t *testing.T, s *Supervisor) {
	t.Helper()
	if err := s.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// later has all that the supervisor has seen be so for longer.
func later(s *Supervisor, longer time.Duration) {
	for id, c := range s.lanes["q"].active {
		c.since = c.since.Add(-longer)
		s.lanes["q"].active[id] = c
	}
}

func list(t *testing.T, rdb *redis.Client, key string) []string {
	t.Helper()
	ids, err := rdb.LRange(t.Context(), key, 0, -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func TestChunksOfADeadWorkerAreIssuedAgain(t *testing.T) {
	s, f, rdb := start(t)
	submit(t, rdb, "a", "b", "c")
	take(t, rdb, "alive", 1)
	take(t, rdb, "dead", 1)
	f.sound = false
	pass(t, s)
	if n := len(list(t, rdb, asynqfmt.ActiveKey("q"))); n != 2 {
		t.Fatal("a supervisor with a troubled heartbeat took another worker for dead")
	}
	f.sound = true
	pass(t, s)
	pass(t, s) // changes nothing
	if got := fmt.Sprint(list(t, rdb, asynqfmt.PendingKey("q"))); got != "[c:0:1 b:0:2]" {
		t.Fatalf("pending: %s, want b at the head again", got)
	}
	if got := fmt.Sprint(list(t, rdb, asynqfmt.ActiveKey("q"))); got != "[a:0:1]" {
		t.Fatalf("active: %s, want only what the live worker runs", got)
	}
	again := take(t, rdb, "alive", 1)[0]
	if again.Name != "b" || again.Deaths != 1 {
		t.Fatalf("took %+v, want b with one death", again)
	}
	rdb.SAdd(t.Context(), asynqfmt.QueuesKey, "q")
	info, err := asynq.NewInspectorFromRedisClient(rdb).GetTaskInfo("q", "b:0:2")
	if err != nil || info.Type != "square" || info.ID != "b:0:2" {
		t.Fatalf("asynq sees %+v, %v", info, err)
	}
}

func TestADeliveryThatNoWorkerBeganIsIssuedAgain(t *testing.T) {
	s, _, rdb := start(t)
	submit(t, rdb, "a")
	rdb.LMove(t.Context(), asynqfmt.PendingKey("q"), asynqfmt.ActiveKey("q"), "RIGHT", "LEFT")
	pass(t, s)
	if n := len(list(t, rdb, asynqfmt.PendingKey("q"))); n != 0 {
		t.Fatal("it was issued again at once: its worker may be about to begin it")
	}
	later(s, unbegunFor)
	pass(t, s)
	taken := take(t, rdb, "alive", 5)
	if len(taken) != 1 || taken[0].TaskID != "a:0:2" || taken[0].Deaths != 0 {
		t.Fatalf("took %+v, want a second delivery that no death counts against", taken)
	}
}

func TestAWorkerThatHoldsAChunkForLongIsAsked(t *testing.T) {
	s, f, rdb := start(t)
	submit(t, rdb, "a")
	take(t, rdb, "alive", 1)
	pass(t, s)
	if len(f.asked) != 0 {
		t.Fatalf("asked %v at once", f.asked)
	}
	later(s, askAfter)
	pass(t, s)
	pass(t, s)
	if got := fmt.Sprint(f.asked); got != "[alive a:0:1]" {
		t.Fatalf("asked %s, want once", got)
	}
}

func TestDeliveriesOfChunksThatAreOverLeaveTheActiveList(t *testing.T) {
	s, _, rdb := start(t)
	submit(t, rdb, "canceled", "gone")
	take(t, rdb, "alive", 2)
	if _, err := job.Cancel(t.Context(), rdb, "q", "enough", job.Ref{Name: "canceled"}); err != nil {
		t.Fatal(err)
	}
	rdb.Del(t.Context(), job.Key("q", "gone"))
	pass(t, s)
	if n := len(list(t, rdb, asynqfmt.ActiveKey("q"))); n != 2 {
		t.Fatal("they ended at once: an asynq.Server may be about to end them")
	}
	later(s, overFor)
	pass(t, s)
	if got := list(t, rdb, asynqfmt.ActiveKey("q")); len(got) != 0 {
		t.Fatalf("active: %s", got)
	}
	if got := list(t, rdb, asynqfmt.PendingKey("q")); len(got) != 0 {
		t.Fatalf("pending: %s", got)
	}
}

func TestAnArchivedDeliveryWithoutAnOutcomeIsIssuedAgain(t *testing.T) {
	s, _, rdb := start(t)
	var names []string
	for i := range 500 {
		names = append(names, fmt.Sprintf("j%d", i))
	}
	submit(t, rdb, names...)
	ids := list(t, rdb, asynqfmt.PendingKey("q"))
	rdb.Del(t.Context(), asynqfmt.PendingKey("q"))
	for i, id := range ids { // as asynqmon's "archive all" does
		rdb.ZAdd(t.Context(), asynqfmt.ArchivedKey("q"), redis.Z{Score: float64(time.Now().Unix() - int64(i)), Member: id})
		rdb.HSet(t.Context(), asynqfmt.TaskKey("q", id), "state", "archived")
	}
	for range 3 * archiveEvery {
		pass(t, s)
	}
	if n := len(list(t, rdb, asynqfmt.PendingKey("q"))); n != 500 {
		t.Fatalf("%d of 500 chunks were issued again", n)
	}
	if n := rdb.ZCard(t.Context(), asynqfmt.ArchivedKey("q")).Val(); n != 100 {
		t.Fatalf("%d deliveries are archived, want the bound of 100", n)
	}
	if n := rdb.Exists(t.Context(), asynqfmt.TaskKey("q", "j0:0:1")).Val(); n != 0 {
		t.Fatal("the oldest delivery was removed from the archive, and its hash was not")
	}
}

func TestADamagedRecordDoesNotStopSupervision(t *testing.T) {
	s, _, rdb := start(t)
	submit(t, rdb, "string", "version", "lost")
	take(t, rdb, "dead", 3)
	rdb.Set(t.Context(), job.Key("q", "string"), "x", time.Hour)
	rdb.HSet(t.Context(), job.Key("q", "version"), "about", "9 square")
	pass(t, s)
	if got := fmt.Sprint(list(t, rdb, asynqfmt.PendingKey("q"))); got != "[lost:0:2]" {
		t.Fatalf("pending: %s, want the chunk of the sound job", got)
	}
}

func TestAnArchivedDeliveryOfADeadWorkerIsIssuedAgain(t *testing.T) {
	s, _, rdb := start(t)
	submit(t, rdb, "a", "b")
	take(t, rdb, "dead", 1)
	take(t, rdb, "alive", 1)
	for _, id := range list(t, rdb, asynqfmt.ActiveKey("q")) { // as asynq's recoverer does after the last retry
		rdb.LRem(t.Context(), asynqfmt.ActiveKey("q"), 0, id)
		rdb.ZAdd(t.Context(), asynqfmt.ArchivedKey("q"), redis.Z{Score: float64(time.Now().Unix()), Member: id})
	}
	pass(t, s)
	if got := fmt.Sprint(list(t, rdb, asynqfmt.PendingKey("q"))); got != "[a:0:2]" {
		t.Fatalf("pending: %s, want the chunk of the dead worker", got)
	}
}

func TestTheArchiveIsBoundedUnderLoad(t *testing.T) {
	s, _, rdb := start(t)
	for round := range 10 {
		p := rdb.Pipeline()
		for i := range 1000 {
			id := fmt.Sprintf("old%d-%d:0:1", round, i)
			p.ZAdd(t.Context(), asynqfmt.ArchivedKey("q"), redis.Z{Score: float64(time.Now().Unix()), Member: id})
		}
		if _, err := p.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range archiveEvery {
			pass(t, s)
		}
		if n := rdb.ZCard(t.Context(), asynqfmt.ArchivedKey("q")).Val(); n > 100 {
			t.Fatalf("round %d: %d deliveries are archived, want at most 100", round, n)
		}
	}
}

// archive archives the deliveries of jobs as an operator does who archives a queue.
func archive(t *testing.T, rdb *redis.Client, names ...string) {
	t.Helper()
	for i, name := range names {
		id := name + ":0:1"
		rdb.LRem(t.Context(), asynqfmt.PendingKey("q"), 1, id)
		rdb.ZAdd(t.Context(), asynqfmt.ArchivedKey("q"), redis.Z{Score: float64(time.Now().Unix() + int64(i)), Member: id})
		rdb.HSet(t.Context(), asynqfmt.TaskKey("q", id), "state", "archived")
	}
}

func TestNothingLeavesTheArchiveBeforeItIsIssuedAgain(t *testing.T) {
	s, f, rdb := start(t)
	var names []string
	for i := range 150 { // 100 may stay
		names = append(names, fmt.Sprint("j", i))
	}
	submit(t, rdb, names...)
	archive(t, rdb, names...)
	f.sound = false
	pass(t, s)
	if n := rdb.ZCard(t.Context(), asynqfmt.ArchivedKey("q")).Val(); n != 150 {
		t.Fatalf("%d deliveries are archived, of 150 of which none was issued again", n)
	}
	f.sound = true
	for range archiveEvery {
		pass(t, s)
	}
	if n := rdb.LLen(t.Context(), asynqfmt.PendingKey("q")).Val(); n != 150 {
		t.Errorf("%d of 150 deliveries were issued again", n)
	}
	if n := rdb.ZCard(t.Context(), asynqfmt.ArchivedKey("q")).Val(); n != 100 {
		t.Errorf("%d deliveries are archived, want 100", n)
	}
}

func TestAnArchivedDeliveryWithoutArgumentsEndsItsJob(t *testing.T) {
	s, _, rdb := start(t)
	submit(t, rdb, "lost", "well")
	archive(t, rdb, "lost", "well")
	rdb.HDel(t.Context(), job.Key("q", "lost"), "args:0")
	pass(t, s)
	for name, want := range map[string]job.State{"lost": job.Corrupt, "well": job.Sealed} {
		if got, err := job.Read(t.Context(), rdb, "q", name); err != nil || got.State != want {
			t.Errorf("job %s is %s, %v; want %s", name, got.State, err, want)
		}
	}
}
