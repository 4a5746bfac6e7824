package worker

import (
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
)

// supervising makes the supervisor of a worker that serves queue q.
func supervising(t *testing.T) (*supervisor, *redis.Client) {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	if err := record.Load(t.Context(), rdb); err != nil {
		t.Fatal(err)
	}
	w := newWorker(Config{Queues: onlyQ}.withDefaults(), rdb, map[string]call.Task{})
	return newSupervisor(w), rdb
}

// round is what the supervisor does each superviseEvery.
func (s *supervisor) round(t *testing.T) {
	t.Helper()
	if lead, err := s.w.member.Lead(t.Context()); err != nil || !lead {
		t.Fatalf("the only worker leads: %v, %v", lead, err)
	}
	if err := s.pass(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestALeaderWithNothingToDoIsQuiet(t *testing.T) {
	s, rdb := supervising(t)
	for range 8 {
		s.round(t)
	}
	var sent counter
	rdb.AddHook(&sent)
	for range 8 {
		s.round(t)
	}
	// Each time its term and what was taken; each second time the queues; each fourth
	// time who leads, beside the term, and the archive.
	if want := 8*2 + 4 + 2 + 2; sent.n != want {
		t.Errorf("8 rounds sent %d commands, want %d", sent.n, want)
	}
}

// submitted makes the job j of one chunk on the queue, and moves its delivery to one of
// asynq's sets as an operator or a worker would.
func (s *supervisor) submitted(t *testing.T, rdb *redis.Client, queue, to string) (taskID string) {
	t.Helper()
	id := queue + "/j"
	op := record.Create(record.Job{
		ID: id, Task: "square", Codec: "json", Calls: 1, Chunks: 1, Sealed: true, OpenTTL: time.Hour, ResultTTL: time.Hour,
	}, []record.Chunk{{Number: 0, Args: []byte("0 1\n[1]")}})
	d := wire.Delivery{Job: id, Number: 1}
	if _, err := s.w.broker.Submit(t.Context(), op, queue, "square", []wire.Delivery{d}); err != nil {
		t.Fatal(err)
	}
	var err error
	switch prefix := "asynq:{" + queue + "}:"; to {
	case "archived":
		err = s.w.inspector.ArchiveTask(queue, d.TaskID())
	case "active":
		err = rdb.LMove(t.Context(), prefix+"pending", prefix+to, "RIGHT", "LEFT").Err()
		rdb.HSet(t.Context(), prefix+"t:"+d.TaskID(), "state", to)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d.TaskID()
}

func (s *supervisor) wasIssuedAgain(t *testing.T, rdb *redis.Client, queue, job string) bool {
	t.Helper()
	n, err := rdb.Exists(t.Context(), "asynq:{"+queue+"}:t:"+job+":0:2").Result()
	if err != nil {
		t.Fatal(err)
	}
	return n == 1
}

func TestWhatADeadWorkerHadIsIssuedAgainByTheNextPass(t *testing.T) {
	for passes := range 4 { // whatever this pass leaves out
		s, rdb := supervising(t)
		for range passes {
			s.round(t)
		}
		s.submitted(t, rdb, "q", "active")
		if b, err := record.Begin(t.Context(), rdb, record.Ref{ID: "q/j"}, 0, "dead", "", budget); err != nil || b.Verdict != record.Run {
			t.Fatal(b, err)
		}
		s.round(t)
		if !s.wasIssuedAgain(t, rdb, "q", "j") {
			t.Errorf("after %d passes the next one did not find what a dead worker had", passes)
		}
	}
}

func TestAQueueThatIsNewIsLookedAtBeforeAWorkerOfItCanCountAsDead(t *testing.T) {
	for passes := range 4 {
		s, rdb := supervising(t)
		for range passes {
			s.round(t)
		}
		s.submitted(t, rdb, "other", "active")
		if _, err := record.Begin(t.Context(), rdb, record.Ref{ID: "other/j"}, 0, "dead", "", budget); err != nil {
			t.Fatal(err)
		}
		rounds := 0
		for ; !s.wasIssuedAgain(t, rdb, "other", "j") && rounds < 20; rounds++ {
			s.round(t)
		}
		if time.Duration(rounds)*superviseEvery > fleet.Lifetime {
			t.Errorf("after %d passes it took %d more to find a new queue", passes, rounds)
		}
	}
}

func TestAnArchivedDeliveryIsFoundByOneOfTheNextPasses(t *testing.T) {
	for passes := range 5 {
		s, rdb := supervising(t)
		for range passes {
			s.round(t)
		}
		id := s.submitted(t, rdb, "q", "archived")
		for range archivesEvery {
			s.round(t)
		}
		if !s.wasIssuedAgain(t, rdb, "q", "j") {
			t.Errorf("after %d passes, %d more did not find an archived delivery", passes, archivesEvery)
		}
		if _, ok := s.issued[id]; !ok {
			t.Errorf("after %d passes: that its chunk was issued again has been forgotten", passes)
		}
	}
}

func TestALargeArchiveIsSeenAsAWholeInEightPasses(t *testing.T) {
	s, rdb := supervising(t)
	rest := make([]redis.Z, 0, 9990)
	for i := range cap(rest) {
		rest = append(rest, redis.Z{Score: float64(i), Member: fmt.Sprintf("old%d:0:1", i)})
	}
	if err := rdb.ZAdd(t.Context(), "asynq:{q}:archived", rest...).Err(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 8 {
		outs, err := s.outside(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range outs {
			seen[o.id] = true
		}
	}
	for _, z := range rest {
		if id := z.Member.(string); !seen[id] {
			t.Fatalf("8 passes saw %d of %d archived deliveries, and not %s", len(seen), len(rest), id)
		}
	}
}
