package worker

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/tasks"
)

func TestABadConfigurationIsRefusedByName(t *testing.T) {
	for field, cfg := range map[string]Config{
		"Concurrency": {Concurrency: -1},
		"Queues":      {Queues: map[string]int{"a b": 1}},
		"weight":      {Queues: map[string]int{"a": 0}},
		"Grace":       {Grace: -time.Second},
		"MaxResult":   {MaxResult: -1},

		"Concurrency is 65537":        {Concurrency: 65_537},
		`weight of queue "a" is 1001`: {Queues: map[string]int{"a": 1001}},
		"Grace is 2562047h":           {Grace: math.MaxInt64},
	} {
		err := cfg.withDefaults().validate()
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: error %v", field, err)
		}
	}
	if err := (Config{}).withDefaults().validate(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
}

func TestProgrammersErrorsPanic(t *testing.T) {
	task := tasks.Define("a", func(context.Context, int) (int, error) { return 0, nil })
	for name, ts := range map[string][]tasks.Runner{
		"no task":       nil,
		"two of a name": {task, task},
		"only declared": {tasks.Declare[int, int]("b")},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			index(ts)
		}()
	}
}

// ask sends what asynq sends when it wants a task from the queue.
func ask(d *doorbell, queue string) error {
	p := "asynq:{" + queue + "}:"
	return d.EvalSha(context.Background(), "0123456789012345678901234567890123456789",
		[]string{p + "pending", p + "paused", p + "active", p + "lease"}).Err()
}

// empty is a Redis on which every queue is empty.
type empty struct{ redis.UniversalClient }

func (empty) EvalSha(ctx context.Context, _ string, _ []string, _ ...any) *redis.Cmd {
	cmd := redis.NewCmd(ctx)
	cmd.SetErr(redis.Nil)
	return cmd
}

func TestTheDoorbellHoldsTheServerBackOnlyWhenEveryQueueIsEmpty(t *testing.T) {
	c := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	defer func() { _ = c.Close() }()
	d := newDoorbell(empty{c}, "w", []string{"a", "b"})
	asked := make(chan time.Duration, 1)
	timed := func(queue string) {
		began := time.Now()
		if err := ask(d, queue); err != redis.Nil {
			t.Errorf("asking for a task: %v", err)
		}
		asked <- time.Since(began)
	}
	for _, q := range []string{"a", "b"} {
		timed(q)
		if took := <-asked; took > listenFor/2 {
			t.Errorf("asking queue %s took %v although not every queue was known to be empty", q, took)
		}
	}
	go timed("a")
	if err := record.Ring("b", 1).Run(t.Context(), c).Err(); err != nil {
		t.Fatal(err)
	}
	if took := <-asked; took > listenFor/2 {
		t.Errorf("a ring was heard after %v", took)
	}
	timed("b")
	<-asked
	go timed("a")
	d.close()
	if took := <-asked; took > listenFor/2 {
		t.Errorf("closing was noticed after %v", took)
	}
	if err := ask(d, "a"); err != redis.Nil {
		t.Errorf("a closed doorbell lets a request through: %v", err)
	}
}
