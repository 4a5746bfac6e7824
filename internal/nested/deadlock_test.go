package nested

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// runs is the queue and the task of a worker.
type runs struct{ queue, task string }

func (r runs) Serves(queue string) bool { return queue == r.queue }

func (r runs) Knows(task string) bool { return task == r.task }

const lifetime = 5 * time.Second

func detector() *Detector { return &Detector{Lifetime: lifetime} }

// serving describes a worker of the queue.
func serving(id, queue string, slots int, held ...HeldSlot) Worker {
	return Worker{ID: id, Slots: slots, Runs: runs{queue, "t"}, Held: held}
}

// holds is a slot of which the call, of chunk 0 of job, waits.
func holds(job string, n int64, awaited, queue string) HeldSlot {
	return HeldSlot{Job: job, Waits: []Wait{{n, Job{awaited, "t", queue}}}}
}

func TestDeadlocks(t *testing.T) {
	other := serving("other", "q", 1)
	other.Runs = runs{"q", "else"}
	for name, tt := range map[string]struct {
		workers []Worker
		left    map[string]int
		want    []int64 // waits of worker "w" that fail
	}{
		"one slot, which waits":           {[]Worker{serving("w", "q", 1, holds("a", 1, "b", "q"))}, map[string]int{"b": 3}, []int64{1}},
		"two slots, which wait":           {[]Worker{serving("w", "q", 2, holds("a", 1, "b", "q"), holds("c", 2, "d", "q"))}, map[string]int{"b": 1, "d": 1}, []int64{1}},
		"the other slot is free or busy":  {[]Worker{serving("w", "q", 2, holds("a", 1, "b", "q"))}, map[string]int{"b": 1}, nil},
		"the other worker has a slot":     {[]Worker{serving("w", "q", 1, holds("a", 1, "b", "q")), serving("x", "q", 1)}, map[string]int{"b": 1}, nil},
		"the other worker waits too":      {[]Worker{serving("w", "q", 1, holds("a", 1, "b", "q")), serving("x", "q", 1, holds("c", 1, "d", "q"))}, map[string]int{"b": 1, "d": 1}, []int64{1}},
		"an earlier worker's is failed":   {[]Worker{serving("w", "q", 1, holds("a", 1, "b", "q")), serving("v", "q", 1, holds("c", 1, "d", "q"))}, map[string]int{"b": 1, "d": 1}, nil},
		"each set has its own":            {[]Worker{serving("w", "q", 1, holds("a", 1, "b", "q")), serving("v", "r", 1, holds("c", 1, "d", "r"))}, map[string]int{"b": 1, "d": 1}, []int64{1}},
		"the other does not know it":      {[]Worker{serving("w", "q", 1, holds("a", 1, "b", "q")), other}, map[string]int{"b": 1}, []int64{1}},
		"a worker of another queue":       {[]Worker{serving("w", "q", 1, holds("a", 1, "b", "q")), serving("x", "r", 9)}, map[string]int{"b": 1}, []int64{1}},
		"the job is over, or not here":    {[]Worker{serving("w", "q", 1, holds("a", 1, "b", "q"))}, nil, nil},
		"the queue has no worker":         {[]Worker{serving("w", "q", 1, holds("a", 1, "b", "r"))}, map[string]int{"b": 1}, nil},
		"another one's wait will end":     {[]Worker{serving("w", "q", 2, holds("a", 1, "b", "q"), holds("c", 2, "d", "r")), serving("x", "r", 1)}, map[string]int{"b": 1, "d": 1}, nil},
		"its job is held up further down": {[]Worker{serving("w", "q", 2, holds("a", 1, "b", "q"), holds("b", 2, "c", "q"))}, map[string]int{"b": 1, "c": 1}, []int64{2}},
		"its job has a chunk that waits":  {[]Worker{serving("w", "q", 2, holds("a", 1, "b", "q"), holds("b", 2, "c", "q"))}, map[string]int{"b": 2, "c": 1}, []int64{1}},
		"there and back, with room there": {[]Worker{serving("w", "r", 1, holds("x", 7, "a", "q")), serving("v", "q", 5, holds("a", 1, "b", "r"))}, map[string]int{"a": 1, "b": 1}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := detector()
			start := time.Now()
			if f := d.look(tt.workers, start); f.suspicious("w") || len(d.choose(f, tt.left, start)) > 0 {
				t.Error("a deadlock is seen at first sight")
			}
			f := d.look(tt.workers, start.Add(lifetime))
			suspicious := f.suspicious("w")
			var got []int64
			for _, j := range d.choose(f, tt.left, start) {
				if j.worker == "w" {
					got = append(got, j.wait.Number)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("waits %v are failed, want %v", got, tt.want)
			}
			if len(got) > 0 && !suspicious {
				t.Error("it would not have been looked for")
			}
		})
	}
}

// A call that keeps its slot although its wait has failed is not waited for.
func TestOneCallAfterTheOtherIsFailed(t *testing.T) {
	workers := []Worker{serving("w", "q", 2, holds("a", 1, "b", "q"), holds("c", 2, "d", "q"))}
	left := map[string]int{"b": 1, "d": 1}
	d := detector()
	now := time.Now()
	d.look(workers, now)
	for i, want := range []int64{1, 1, 2, 2} {
		now = now.Add(lifetime)
		js := d.choose(d.look(workers, now), left, now)
		if len(js) != 1 || js[0].wait.Number != want {
			t.Errorf("look %d: %+v is failed, want wait %d", i, js, want)
		}
	}
	d.look(nil, now)
	if len(d.chosen) != 0 {
		t.Errorf("%d slots that are gone are remembered", len(d.chosen))
	}
}

// A call on r maps on q, and a call of that maps on r again, of which the only slot the
// first one holds: the one on q is told, although q has slots to spare.
func TestADeadlockAcrossQueues(t *testing.T) {
	workers := []Worker{serving("x", "r", 1, holds("o", 7, "a", "q")), serving("w", "q", 5, holds("a", 1, "b", "r"))}
	d := detector()
	d.look(workers, time.Now())
	js := d.choose(d.look(workers, time.Now().Add(lifetime)), map[string]int{"a": 1, "b": 1}, time.Now())
	if len(js) != 1 || js[0].slots != 1 || js[0].workers != 1 {
		t.Errorf("deadlocks: %+v; want the wait for b, on 1 slot of 1 worker", js)
	}
}

// In a slot with waits that change something moves.
func TestOnlyTheSameWaitsMakeADeadlock(t *testing.T) {
	d := detector()
	now := time.Now()
	for n := int64(1); n <= 10; n++ {
		workers := []Worker{serving("w", "q", 1, holds("a", n, "b", "q"))}
		if d.look(workers, now).suspicious("w") {
			t.Fatalf("wait %d is taken for the one before", n)
		}
		now = now.Add(lifetime)
	}
	if len(d.seen) != 1 {
		t.Errorf("%d waits are remembered, want 1", len(d.seen))
	}
}

// fleetOf has a detector look at these workers. Each job has one chunk.
func (d *Detector) fleetOf(workers func() []Worker) {
	d.Workers = func(context.Context) ([]Worker, error) { return workers(), nil }
	d.Left = func(_ context.Context, jobs []string) (map[string]int, error) {
		left := map[string]int{}
		for _, j := range jobs {
			left[j] = 1
		}
		return left, nil
	}
}

func TestAWaitInADeadlockFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		d := detector()
		d.Worker, d.Waits, d.Logger = "w", &Waits{}, slog.New(slog.NewTextHandler(&log, nil))
		d.fleetOf(func() []Worker { return []Worker{serving("w", "q", 1, d.Waits.Lasting()...)} })
		h := &chunk{job: "a", log: d.Logger}
		deadlock, end := d.Waits.Begin(h, 7, Job{ID: "b", Task: "t", Queue: "q"})
		defer end()
		if held := d.Waits.Lasting(); len(held) != 0 {
			t.Errorf("a wait that may be short is published: %+v", held)
		}
		time.Sleep(publishAfter)
		for range 2 {
			d.Look(t.Context(), d.Waits.Lasting())
			time.Sleep(lifetime)
		}
		select {
		case err := <-deadlock:
			if !errors.Is(err, ErrNoSlot) || !strings.Contains(err.Error(), "job b") {
				t.Errorf("the wait failed with %v", err)
			}
		default:
			t.Fatal("the wait goes on although its worker's only slot is held by it")
		}
		d.Look(t.Context(), d.Waits.Lasting())
		select {
		case err := <-deadlock:
			t.Errorf("the wait failed again, with %v", err)
		default:
		}
		if n := strings.Count(log.String(), "call=7 nested=b queue=q slots=1 workers=1"); n != 1 {
			t.Errorf("the log has it %d times, want once:\n%s", n, &log)
		}
	})
}

func TestNoWaitIsPublishedThatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ws Waits
		first, second := &chunk{job: "a"}, &chunk{job: "c"}
		_, end := ws.Begin(first, 0, Job{ID: "b"})
		ws.Begin(second, 0, Job{ID: "d"})
		ws.Begin(second, 1, Job{ID: "e"})
		time.Sleep(publishAfter)
		if got := fmt.Sprint(ws.Lasting()); got != "[{a 0 [{1 {b  }}]} {c 0 [{2 {d  }} {3 {e  }}]}]" {
			t.Errorf("published: %s", got)
		}
		end()
		if got := fmt.Sprint(ws.Lasting()); got != "[{c 0 [{2 {d  }} {3 {e  }}]}]" {
			t.Errorf("published after a wait has ended: %s", got)
		}
		ws.EndAll(second)
		if got := ws.Lasting(); len(got) != 0 {
			t.Errorf("published after all waits have ended: %v", got)
		}
	})
}

func TestAWorkerWithVeryManyWaitsPublishesNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ws Waits
		h := &chunk{job: "a"}
		for range MaxWaits {
			ws.Begin(h, 0, Job{ID: "b"})
		}
		time.Sleep(publishAfter)
		if held := ws.Lasting(); len(held) != 1 || len(held[0].Waits) != MaxWaits {
			t.Errorf("published: %d slots, want one with all waits", len(held))
		}
		ws.Begin(h, 0, Job{ID: "b"})
		if held := ws.Lasting(); len(held) != 0 {
			t.Errorf("published: %d slots with more waits than others look at", len(held))
		}
	})
}

// chunk is a Holder.
type chunk struct {
	job string
	log *slog.Logger
}

func (c *chunk) Chunk() (string, int) { return c.job, 0 }

func (c *chunk) Logger() *slog.Logger { return c.log }
