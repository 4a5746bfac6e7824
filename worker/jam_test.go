package worker

import (
	"slices"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/record"
)

// serving describes a worker of the queue.
func serving(id, queue string, slots int, held ...record.HeldSlot) record.Worker {
	return record.Worker{ID: id, Concurrency: slots, Queues: map[string]int{queue: 1}, Tasks: []string{"t"}, Held: held}
}

// holds is a slot whose call, of chunk 0 of job, waits.
func holds(job string, n int64, awaited, queue string) record.HeldSlot {
	return record.HeldSlot{Job: job, Waits: []record.Wait{{Number: n, Job: awaited, Task: "t", Queue: queue}}}
}

func TestJams(t *testing.T) {
	other := serving("other", "q", 1)
	other.Tasks = []string{"else"}
	for name, tt := range map[string]struct {
		workers []record.Worker
		left    map[string]int
		want    []int64 // waits of worker "w" that fail
	}{
		"one slot, which waits":           {[]record.Worker{serving("w", "q", 1, holds("a", 1, "b", "q"))}, map[string]int{"b": 3}, []int64{1}},
		"two slots, which wait":           {[]record.Worker{serving("w", "q", 2, holds("a", 1, "b", "q"), holds("c", 2, "d", "q"))}, map[string]int{"b": 1, "d": 1}, []int64{1}},
		"the other slot is free or busy":  {[]record.Worker{serving("w", "q", 2, holds("a", 1, "b", "q"))}, map[string]int{"b": 1}, nil},
		"the other worker has a slot":     {[]record.Worker{serving("w", "q", 1, holds("a", 1, "b", "q")), serving("x", "q", 1)}, map[string]int{"b": 1}, nil},
		"the other worker waits too":      {[]record.Worker{serving("w", "q", 1, holds("a", 1, "b", "q")), serving("x", "q", 1, holds("c", 1, "d", "q"))}, map[string]int{"b": 1, "d": 1}, []int64{1}},
		"an earlier worker's is failed":   {[]record.Worker{serving("w", "q", 1, holds("a", 1, "b", "q")), serving("v", "q", 1, holds("c", 1, "d", "q"))}, map[string]int{"b": 1, "d": 1}, nil},
		"each set has its own":            {[]record.Worker{serving("w", "q", 1, holds("a", 1, "b", "q")), serving("v", "r", 1, holds("c", 1, "d", "r"))}, map[string]int{"b": 1, "d": 1}, []int64{1}},
		"the other does not know it":      {[]record.Worker{serving("w", "q", 1, holds("a", 1, "b", "q")), other}, map[string]int{"b": 1}, []int64{1}},
		"a worker of another queue":       {[]record.Worker{serving("w", "q", 1, holds("a", 1, "b", "q")), serving("x", "r", 9)}, map[string]int{"b": 1}, []int64{1}},
		"the job is over, or not here":    {[]record.Worker{serving("w", "q", 1, holds("a", 1, "b", "q"))}, nil, nil},
		"the queue has no worker":         {[]record.Worker{serving("w", "q", 1, holds("a", 1, "b", "r"))}, map[string]int{"b": 1}, nil},
		"another one's wait will end":     {[]record.Worker{serving("w", "q", 2, holds("a", 1, "b", "q"), holds("c", 2, "d", "r")), serving("x", "r", 1)}, map[string]int{"b": 1, "d": 1}, nil},
		"its job is held up further down": {[]record.Worker{serving("w", "q", 2, holds("a", 1, "b", "q"), holds("b", 2, "c", "q"))}, map[string]int{"b": 1, "c": 1}, []int64{2}},
		"its job has a chunk that waits":  {[]record.Worker{serving("w", "q", 2, holds("a", 1, "b", "q"), holds("b", 2, "c", "q"))}, map[string]int{"b": 2, "c": 1}, []int64{1}},
		"there and back, with room there": {[]record.Worker{serving("w", "r", 1, holds("x", 7, "a", "q")), serving("v", "q", 5, holds("a", 1, "b", "r"))}, map[string]int{"a": 1, "b": 1}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var o observer
			start := time.Now()
			if f := o.look(tt.workers, start); f.suspicious("w") || len(o.choose(f, tt.left, start)) > 0 {
				t.Error("a jam is seen at first sight")
			}
			f := o.look(tt.workers, start.Add(lifetime))
			var got []int64
			for _, j := range o.choose(f, tt.left, start) {
				if j.worker == "w" {
					got = append(got, j.wait.Number)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("waits %v are failed, want %v", got, tt.want)
			}
			if len(got) > 0 && !f.suspicious("w") {
				t.Error("it would not have been looked for")
			}
		})
	}
}

// A call that keeps its slot although its wait has failed is not waited for.
func TestOneCallAfterTheOtherIsFailed(t *testing.T) {
	workers := []record.Worker{serving("w", "q", 2, holds("a", 1, "b", "q"), holds("c", 2, "d", "q"))}
	left := map[string]int{"b": 1, "d": 1}
	var o observer
	now := time.Now()
	o.look(workers, now)
	for i, want := range []int64{1, 1, 2, 2} {
		now = now.Add(lifetime)
		js := o.choose(o.look(workers, now), left, now)
		if len(js) != 1 || js[0].wait.Number != want {
			t.Errorf("look %d: %+v is failed, want wait %d", i, js, want)
		}
	}
	o.look(nil, now)
	if len(o.chosen) != 0 {
		t.Errorf("%d slots that are gone are remembered", len(o.chosen))
	}
}

// A call on r maps on q, and a call of that maps on r again, whose only slot the
// first one holds: the one on q is told, although q has slots to spare.
func TestAJamAcrossQueues(t *testing.T) {
	workers := []record.Worker{serving("x", "r", 1, holds("o", 7, "a", "q")), serving("w", "q", 5, holds("a", 1, "b", "r"))}
	var o observer
	o.look(workers, time.Now())
	js := o.choose(o.look(workers, time.Now().Add(lifetime)), map[string]int{"a": 1, "b": 1}, time.Now())
	if len(js) != 1 || js[0].slots != 1 || js[0].workers != 1 {
		t.Errorf("jams: %+v; want the wait for b, on 1 slot of 1 worker", js)
	}
}

// A slot whose waits change is one in which something moves.
func TestOnlyTheSameWaitsMakeAJam(t *testing.T) {
	var o observer
	now := time.Now()
	for n := int64(1); n <= 10; n++ {
		workers := []record.Worker{serving("w", "q", 1, holds("a", n, "b", "q"))}
		if o.look(workers, now).suspicious("w") {
			t.Fatalf("wait %d is taken for the one before", n)
		}
		now = now.Add(lifetime)
	}
	if len(o.seen) != 1 {
		t.Errorf("%d waits are remembered, want 1", len(o.seen))
	}
}
