package worker

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

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
