package e2e_test

import (
	"errors"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

// A worker is known to be dead 5 s after its last heartbeat, a supervisor's pass
// comes each 3 s, and a leader that died with it is replaced within 7 s. The rest
// is for a machine that is busy.
const recovery = 20 * time.Second

func dies(s *workerSpec) { s.Dies = true }

func TestTheCallOfAKilledWorkerIsRunByAnother(t *testing.T) {
	usual(t)
	t.Parallel()
	e := newEnv(t, redistest.Start(t).URL(), true)
	first := e.worker(t, 1, dies)
	p, gate := e.pool(t), e.probe()
	r, err := producer.ApplyAsync(ctx(t), p, hold, gate)
	if err != nil {
		t.Fatal(err)
	}
	e.awaitStarted(t, gate, 1)
	second := e.worker(t, 1)
	first.kill()
	killed := time.Now()
	<-first.ended
	e.open(t, gate)
	ran, err := r.GetTimeout(recovery)
	if err != nil {
		t.Fatalf("%v after the worker was killed: %v", time.Since(killed), err)
	}
	if live := e.workers(t); len(live) != 1 || ran != live[0].ID {
		t.Errorf("the call ended on worker %q, want %s", ran, second.name)
	}
	t.Logf("recovered %v after the kill", time.Since(killed))
}

func TestACallThatKillsEveryWorkerIsGivenUp(t *testing.T) {
	usual(t)
	t.Parallel()
	e := newEnv(t, redistest.Start(t).URL(), true)
	p := e.pool(t)
	// The deadly call shares its chunk with two others, and its worker with another
	// chunk.
	m, err := producer.MapAsync(ctx(t), p, crash, []int{1, -1, 2, 3}, producer.ChunkSize(3))
	if err != nil {
		t.Fatal(err)
	}
	// What a service manager does: start each one that died again.
	started := time.Now()
	for deaths := 0; ; deaths++ {
		w := e.launch(t, 2, dies)
		select {
		case <-w.ended:
			if deaths == 3 {
				t.Fatal("the chunk killed a fourth worker")
			}
			continue
		case <-m.Done():
		case <-time.After(3 * recovery):
			t.Fatalf("no result %v after the start", time.Since(started))
		}
		break
	}
	values, err := m.Get(ctx(t))
	me, ok := errors.AsType[*results.MapError](err)
	if !ok || len(me.Errors) != 1 || me.Errors[0].Call != 1 || !errors.Is(err, results.ErrWorkerLost) {
		t.Fatalf("error %v, want one of call 1 that is ErrWorkerLost", err)
	}
	mentions(t, err, `"crash"`, "call 1")
	same(t, "the other calls", values, nil, []int{1, 0, 2, 3})
	t.Logf("given up %v after the first worker started", time.Since(started))
}
