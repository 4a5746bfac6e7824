package e2e_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

// What a death may cost. A worker is known to be dead 5 s after its last heartbeat,
// a supervisor's pass comes each 2 s, and a leader that died with it is replaced
// within 7 s.
const (
	recovery           = 10 * time.Second
	recoveryWithLeader = 15 * time.Second
	recoveryOfPoison   = 45 * time.Second // three deaths
)

func dies(s *workerSpec) { s.Dies = true }

// metronome measures by how much this machine was late so far: bounds in seconds
// are for machines that run what is ready to run.
func metronome(t *testing.T) (late func() time.Duration) {
	var mu sync.Mutex // guards worst
	var worst time.Duration
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	go func() {
		for {
			const beat = 50 * time.Millisecond
			began := time.Now()
			select {
			case <-end:
				return
			case <-time.After(beat):
			}
			mu.Lock()
			worst = max(worst, time.Since(began)-beat)
			mu.Unlock()
		}
	}()
	return func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return worst
	}
}

// inTime checks a bound, with what the machine was late: by that much several steps
// on the way may have been.
func inTime(t *testing.T, what string, took, bound time.Duration, late func() time.Duration) {
	t.Helper()
	if slack := 4 * late(); took > bound+slack {
		t.Errorf("%s took %v, want %v at the most (and %v for this machine)", what, took, bound, slack)
	}
}

// leader waits until a worker leads the supervision, and returns its ID.
func (e *env) leader(t *testing.T) string {
	t.Helper()
	var id string
	eventually(t, "a worker leads", func() bool {
		id = e.rdb.Get(ctx(t), "distpool:@{workers}:leader").Val()
		return id != ""
	})
	return id
}

// killing is one way to die.
type killing struct {
	name   string
	script string // the moment is when this script of the record goes by
	after  bool   // when it has been answered; else before it arrives
	calls  int    // in the one chunk
	ms     int    // that each call takes
	// runs is how often the calls run: at the least, and at the most.
	least, most int
	early       int // how many calls, from the first, run no more than once
}

func killings() []killing {
	kinds := []struct {
		n int
		killing
	}{
		{8, killing{name: "at a random moment", calls: 2, ms: 400, least: 1, most: 2}},
		{3, killing{name: "before it is finished", script: "finish", calls: 2, ms: 50, least: 2, most: 2}},
		{4, killing{name: "finished and not known", script: "finish", after: true, calls: 2, ms: 50, least: 1, most: 1, early: 2}},
		{2, killing{name: "before it is saved", script: "checkpoint", calls: 4, ms: 350, least: 1, most: 2}},
		{3, killing{name: "saved and not known", script: "checkpoint", after: true, calls: 4, ms: 350, least: 1, most: 2, early: 3}},
	}
	var all []killing
	for _, k := range kinds {
		for range k.n {
			all = append(all, k.killing)
		}
	}
	return all
}

func TestTwentyKillsCostTenSecondsAndNoOutcome(t *testing.T) {
	usual(t)
	t.Parallel()
	server := redistest.Start(t)
	late := metronome(t)
	keeper := newEnv(t, server.URL(), true)
	keeper.worker(t, 1)
	keeper.leader(t) // stays alive: what its death costs is another test
	warm(t, keeper)

	all := killings()
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	var mu sync.Mutex // guards took
	var took []time.Duration
	var wg sync.WaitGroup
	atOnce := make(chan struct{}, 5)
	for _, k := range all {
		wg.Go(func() {
			atOnce <- struct{}{}
			defer func() { <-atOnce }()
			t.Run(k.name, func(t *testing.T) {
				d := k.run(t, server, late)
				mu.Lock()
				defer mu.Unlock()
				took = append(took, d)
			})
		})
	}
	wg.Wait()
	slices.Sort(took)
	if len(took) != 20 {
		t.Fatalf("%d of 20 kills came to an end", len(took))
	}
	t.Logf("recovered after %v (median), %v at the most; the machine was %v late", took[len(took)/2], took[len(took)-1], late())
}

// warm has the server know all scripts: so they go by under their names.
func warm(t *testing.T, e *env) {
	t.Helper()
	p := e.pool(t)
	for _, args := range [][]int{{1}, {600, 600, 1}} { // the second one saves
		_, err := producer.Map(ctx(t), p, sleep, args, producer.ChunkSize(3))
		must(t, err)
	}
	// Known even where no worker has used it yet: see sha1Of.
	_, err := producer.Apply(ctx(t), p, square, 2)
	must(t, err)
}

// run kills one worker and returns how long the caller had to wait from there.
func (k killing) run(t *testing.T, server *redistest.Server, late func() time.Duration) time.Duration {
	e := newEnv(t, server.URL(), true)
	at, way := e.url, (*tap)(nil)
	if k.script != "" {
		way = newTap(t, server.Addr(), k.script, k.after)
		at = way.url
	}
	victim := e.worker(t, 1, dies, func(s *workerSpec) { s.Redis = at })
	p := e.pool(t)
	args, want := make([]stepArg, k.calls), squares(k.calls)
	gate := e.probe()
	for i := range args {
		args[i] = stepArg{gate, i, k.ms}
	}
	m, err := producer.MapAsync(ctx(t), p, step, args, producer.ChunkSize(k.calls))
	must(t, err)
	if way != nil {
		receive(t, "the script goes by", way.hit)
	} else {
		eventually(t, "the first call has begun", func() bool { return e.rdb.Exists(ctx(t), args[0].ran()).Val() == 1 })
		time.Sleep(rand.N(time.Duration(k.calls*k.ms) * time.Millisecond)) // the random moment
	}
	victim.kill()
	killed := time.Now()
	<-victim.ended
	e.worker(t, 1) // what a service manager does
	got, err := m.Get(ctx(t))
	took := time.Since(killed)
	same(t, "the squares", got, err, want)
	inTime(t, "the value", took, recovery, late)
	e.outcomesOnce(t, m.ID(), want)
	if k.script == "finish" && k.after {
		// A delivery that comes late is dropped.
		d := job.Delivery{Ref: e.ref(t, m.ID()), Number: 7}
		e.deliver(t, e.lane(t, m.ID()), "step", d)
		eventually(t, "the delivery has been dropped", func() bool {
			return e.rdb.Exists(ctx(t), asynqfmt.TaskKey(e.lane(t, m.ID()), d.TaskID())).Val() == 0
		})
	}
	for i, a := range args {
		n, _ := e.rdb.Get(ctx(t), a.ran()).Int()
		most := k.most
		if i < k.early {
			most = 1
		}
		if n < k.least || n > most {
			t.Errorf("call %d ran %d times, want %d to %d", i, n, k.least, most)
		}
	}
	return took
}

// outcomesOnce checks that a job of one chunk was recorded once, and that another
// handle says the same.
func (e *env) outcomesOnce(t *testing.T, id string, want []int) {
	t.Helper()
	m, err := producer.AttachMap(ctx(t), e.pool(t), step, id)
	must(t, err)
	got, err := m.Get(ctx(t))
	same(t, "the squares of another handle", got, err, want)
	if s := e.snapshot(t, id); s.Recorded != 1 || s.Done != len(want) || s.Failed != 0 || s.State != job.Done {
		t.Errorf("the record says %+v, want 1 chunk recorded, %d calls done and 0 failed, and done", s, len(want))
	}
}

func TestTheCallOfALeaderThatIsKilledIsRunByAnother(t *testing.T) {
	usual(t)
	t.Parallel()
	e := newEnv(t, redistest.Start(t).URL(), true)
	late := metronome(t)
	first := e.worker(t, 1, dies)
	p, gate := e.pool(t), e.probe()
	r, err := producer.ApplyAsync(ctx(t), p, hold, gate)
	must(t, err)
	e.awaitStarted(t, gate, 1)
	if id := e.leader(t); !strings.HasPrefix(id, first.name+":") {
		t.Fatalf("%s leads, want the only worker, %s", id, first.name)
	}
	second := e.worker(t, 1)
	first.kill()
	killed := time.Now()
	<-first.ended
	e.open(t, gate)
	ran, err := r.Get(ctx(t))
	took := time.Since(killed)
	must(t, err)
	inTime(t, "the value", took, recoveryWithLeader, late)
	if live := e.workers(t); len(live) != 1 || ran != live[0].ID {
		t.Errorf("the call ended on worker %q, want %s", ran, second.name)
	}
	t.Logf("recovered %v after the kill", took)
}

func TestACallThatKillsEveryWorkerIsGivenUp(t *testing.T) {
	usual(t)
	t.Parallel()
	e := newEnv(t, redistest.Start(t).URL(), true)
	late := metronome(t)
	p := e.pool(t)
	// The deadly call shares its chunk with two others, and its worker with another
	// chunk.
	m, err := producer.MapAsync(ctx(t), p, crash, []int{1, -1, 2, 3}, producer.ChunkSize(3))
	must(t, err)
	// What a service manager does: start each one that died again.
	started := time.Now()
	last := e.launch(t, 2, dies)
	for deaths := 0; !m.Ready(); {
		select {
		case <-last.ended:
			if deaths++; deaths > 3 {
				t.Fatal("the chunk killed a fourth worker")
			}
			last = e.launch(t, 2, dies)
		case <-m.Done():
		case <-time.After(patience):
			t.Fatalf("no result %v after the start", time.Since(started))
		}
	}
	took := time.Since(started)
	inTime(t, "giving the call up", took, recoveryOfPoison, late)
	values, err := m.Get(ctx(t))
	me, ok := errors.AsType[*results.MapError](err)
	if !ok || len(me.Errors) != 1 || me.Errors[0].Call != 1 || !errors.Is(err, results.ErrWorkerLost) {
		t.Fatalf("error %v, want one of call 1 that is ErrWorkerLost", err)
	}
	mentions(t, err, `"crash"`, "call 1")
	same(t, "the other calls", values, nil, []int{1, 0, 2, 3})
	// Both slots of the worker are free again.
	gate := e.probe()
	h, err := producer.MapAsync(ctx(t), p, hold, []probe{gate, gate}, producer.ChunkSize(1))
	must(t, err)
	e.awaitStarted(t, gate, 2)
	e.open(t, gate)
	ran, err := h.Get(ctx(t))
	must(t, err)
	for _, id := range ran {
		if !strings.HasPrefix(id, last.name+":") {
			t.Errorf("a call ran on %s, want %s", id, last.name)
		}
	}
	t.Logf("given up %v after the first worker started", took)
}
