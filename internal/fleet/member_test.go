package fleet

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/nested"
	"github.com/distpool/distpool/internal/supervise"
)

func TestAHeartbeatIsOneCommandWhileNothingChanges(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		m := member(rdb, "w")
		const full = 5 // commands describe the worker
		var sent counter
		held := []nested.HeldSlot{{Job: "j", Waits: []nested.Wait{{Number: 1, Job: nested.Job{ID: "k"}}}}}
		beat := func(held []nested.HeldSlot) int64 {
			t.Helper()
			before := sent.n.Load()
			if err := m.beat(t.Context(), held); err != nil {
				t.Fatal(err)
			}
			n := sent.n.Load() - before
			ws, err := Workers(t.Context(), rdb)
			if err != nil || len(ws) != 1 || !reflect.DeepEqual(ws[0].Held, held) {
				t.Fatalf("after a heartbeat that says %+v: %+v, %v", held, ws, err)
			}
			return n
		}
		beat(nil)
		rdb.AddHook(&sent) // after the commands that open the connection
		if n := beat(nil); n != 1 {
			t.Errorf("the second heartbeat is %d commands, want 1", n)
		}
		if n := beat(held); n != full {
			t.Errorf("a heartbeat with news is %d commands, want %d as at first", n, full)
		}
		if n := beat(held); n != 1 {
			t.Errorf("a heartbeat without news is %d commands, want 1", n)
		}
		rdb.FlushAll(t.Context())
		if n := beat(held); n != full+1 {
			t.Errorf("when Redis had lost all a heartbeat is %d commands, want %d", n, full+1)
		}
		m.describedAt = m.describedAt.Add(-describeEvery)
		if n := beat(held); n != full {
			t.Errorf("a heartbeat after %v is %d commands, want %d", describeEvery, n, full)
		}
	})
}

func TestAHeartbeatAfterAFailedOneDescribesTheWorker(t *testing.T) {
	server := miniredis.RunT(t)
	m := member(client(t, server), "w")
	if err := m.beat(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	server.SetError("LOADING")
	if m.beat(t.Context(), nil) == nil {
		t.Fatal("the heartbeat that Redis refused is no error")
	}
	server.SetError("")
	server.Del(index) // what Redis has of the worker is not certain
	if err := m.beat(t.Context(), nil); err != nil || !server.Exists(index) {
		t.Errorf("the next heartbeat did not put the worker into the index: %v", err)
	}
}

func TestATroubledMemberTakesNoWorkerForDead(t *testing.T) {
	server := miniredis.RunT(t)
	m := member(client(t, server), "w")
	if err := m.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	certain := func() bool {
		t.Helper()
		alive, certain, err := m.Alive(t.Context())
		if err != nil || len(alive) != 1 || !alive["w"] {
			t.Fatalf("alive: %v, %v", alive, err)
		}
		return certain
	}
	if certain() {
		t.Error("a worker that has just joined is certain of others' deaths")
	}
	m.troubled.Store(time.Now().Add(-Lifetime - time.Second).UnixNano())
	if !certain() {
		t.Error("a worker without trouble is not certain")
	}
	m.trouble()
	if certain() {
		t.Error("a worker whose heartbeat failed is certain of others' deaths")
	}
}

func TestAMemberBeatsAndDoesItsDuties(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	rdb := client(t, server)
	m := member(rdb, "w")
	var log bytes.Buffer
	m.log = slog.New(slog.NewTextHandler(&log, nil))
	if err := m.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.SetError("LOADING")
	held := []nested.HeldSlot{{Job: "j", Waits: []nested.Wait{{Number: 1, Job: nested.Job{ID: "k"}}}}}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	answered, beaten := make(chan Question, 1), make(chan []nested.HeldSlot, 100)
	failed := make(chan struct{}, 100)
	running.Go(func() {
		m.Run(ctx, Duties{
			Held: func() []nested.HeldSlot {
				failed <- struct{}{}
				return held
			},
			Counts: func() Counts { return Counts{Busy: 1, Calls: 3, Took: 5 * time.Millisecond} },
			Answer: func(_ context.Context, q Question) { answered <- q },
			Then:   func(_ context.Context, held []nested.HeldSlot) { beaten <- held },
		})
	})
	<-failed
	<-failed // so the first heartbeat was refused
	server.SetError("")
	want := Question{"q", job.Delivery{Ref: job.Ref{Name: "j", Gen: "g"}, Chunk: 7, Number: 2}}
	if err := m.Ask(t.Context(), "w", want.Lane, []job.Delivery{want.Delivery}); err != nil {
		t.Fatal(err)
	}
	if got := <-beaten; !reflect.DeepEqual(got, held) {
		t.Errorf("after a heartbeat it is told of %+v", got)
	}
	if q := <-answered; q != want {
		t.Errorf("it was asked %+v, want %+v", q, want)
	}
	live, err := LiveWorkers(t.Context(), rdb)
	if err != nil || len(live) != 1 || live[0].LastSeen > Lifetime || live[0].Stats.Busy != 1 || live[0].Stats.Took != 5 || !reflect.DeepEqual(live[0].Held, held) {
		t.Errorf("the registry has %+v, %v", live, err)
	}
	stop()
	running.Wait()
	if !m.Troubled() {
		t.Error("a heartbeat that failed is no trouble")
	}
	for _, line := range []string{"Redis does not take this worker's heartbeat; will keep trying", "Redis takes this worker's heartbeat again"} {
		if n := strings.Count(log.String(), line); n != 1 {
			t.Errorf("the log says %q %d times, want once:\n%s", line, n, &log)
		}
	}
	if err := m.Leave(t.Context()); err != nil || server.Exists(index) {
		t.Errorf("it does not leave: %v", err)
	}
}

func TestAMemberServesItsSupervisor(t *testing.T) {
	rdb := client(t, miniredis.RunT(t))
	m := member(rdb, "alive")
	if err := m.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.troubled.Store(0)
	var f supervise.Fleet = m
	s := supervise.New(supervise.Config{
		Redis: rdb, Fleet: f, Logger: slog.New(slog.DiscardHandler), KeepArchived: 100, ArchivedFor: time.Hour,
		Lanes: func(context.Context) ([]string, error) { return []string{"q"}, nil },
	})
	for _, name := range []string{"a", "b"} {
		d := job.Delivery{Ref: job.Ref{Name: name}, Number: 1}
		_, err := job.Submit(t.Context(), rdb, "q", []job.Submission{job.New(
			job.Job{Ref: d.Ref, About: "1 square", Pool: "pool", Calls: 1, Chunks: 1, Life: time.Hour, TTL: time.Minute},
			[]job.Chunk{{Args: []byte(name), TaskID: d.TaskID(), Message: job.Message("q", "square", d, "", time.Time{})}})})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, worker := range []string{"alive", "dead"} {
		taken, err := job.Take(t.Context(), rdb, "q", job.Taking{Worker: worker, Most: 1, Room: 1 << 20, Now: time.Now()})
		if err != nil || len(taken) != 1 {
			t.Fatal(taken, err)
		}
	}
	if lead, err := f.Lead(t.Context()); err != nil || !lead {
		t.Fatalf("the only worker leads: %v, %v", lead, err)
	}
	if err := s.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ids := rdb.LRange(t.Context(), "asynq:{q}:pending", 0, -1).Val(); fmt.Sprint(ids) != "[b:0:2]" {
		t.Errorf("pending: %q, want the chunk of the dead worker", ids)
	}
	if err := f.Ask(t.Context(), "alive", "q", []job.Delivery{{Ref: job.Ref{Name: "a", Gen: "g"}, Chunk: 3, Number: 2}}); err != nil {
		t.Fatal(err)
	}
	asked, err := asked(t.Context(), rdb, "alive")
	if want := (Question{"q", job.Delivery{Ref: job.Ref{Name: "a", Gen: "g"}, Chunk: 3, Number: 2}}); err != nil || len(asked) != 1 || asked[0] != want {
		t.Errorf("the worker was asked %+v, %v; want %+v", asked, err, want)
	}
}
