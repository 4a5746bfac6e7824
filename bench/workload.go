package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// workload is one kind of measurement.
type workload struct {
	n   int // the default of -n
	run func(ctx context.Context, sys system, s settings) (line any, err error)
}

// workloads are all that bench run knows, by name.
var workloads = map[string]workload{
	"W1":        {20_000, runSingles},
	"W2":        {1_000_000, runMap},
	"W3":        {1_000, runLatency},
	"W4":        {10_000, memoryOf(ofQueuedCalls)},
	"W4-map":    {1_000_000, memoryOf(ofQueuedMap)},
	"W4-stored": {10_000, memoryOf(ofStoredValues)},
	"W4-left":   {10_000, memoryOf(ofNothing)},
	"W5":        {1_000, runSleepers},
	"W6":        {1_000_000, runStream},
	"W7":        {0, runIdleWorkers},
	"W8":        {20_000, runRedisCost},
	"W9":        {10_000, runOutstanding},
	"W10":       {200, runLarge},
	"W11":       {200, runWakes},
	"W12":       {40_000, runCallers},
}

// speedLine is what W1 and W2 print.
type speedLine struct {
	W       string  `json:"w"`
	N       int     `json:"n"`
	Sec     float64 `json:"sec"`
	Rate    float64 `json:"rate"` // calls a second
	ProdCPU float64 `json:"prod_cpu_s"`
}

// stopwatch measures the wall clock and this process's processor time.
type stopwatch struct {
	at  time.Time
	cpu time.Duration
}

func startWatch() stopwatch { return stopwatch{time.Now(), ownCPU()} }

// line makes the line of n calls that have ended now.
func (s stopwatch) line(w string, n int) speedLine {
	took, cpu := time.Since(s.at).Seconds(), (ownCPU() - s.cpu).Seconds()
	return speedLine{w, n, rounded(took, 6), rounded(float64(n)/took, 1), rounded(cpu, 3)}
}

// rounded keeps so many digits behind the point: more would be noise.
func rounded(x float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(x*p) / p
}

// checkSquare checks the value of one call.
func checkSquare(got, arg int) error {
	if got != arg*arg {
		return fmt.Errorf("wrong value: the square of %d came back as %d", arg, got)
	}
	return nil
}

// checkSquares checks the values of a map over 0, 1, 2, ...
func checkSquares(values []int, n int) error {
	if len(values) != n {
		return fmt.Errorf("wrong values: %d came back, want %d", len(values), n)
	}
	for i, v := range values {
		if err := checkSquare(v, i); err != nil {
			return err
		}
	}
	return nil
}

// numbers returns 0, 1, 2, ... n-1.
func numbers(n int) []int {
	ns := make([]int, n)
	for i := range ns {
		ns[i] = i
	}
	return ns
}

// spread runs do on g goroutines, each for its share of the numbers below n, and
// returns all errors. No share goes on after the first error.
func spread(ctx context.Context, n, g int, do func(ctx context.Context, lo, hi int) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g = max(1, min(g, n))
	errs := make([]error, g)
	var wg sync.WaitGroup
	for i := range g {
		wg.Go(func() {
			if errs[i] = do(ctx, i*n/g, (i+1)*n/g); errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// submitAll submits n single calls of task from g goroutines.
func submitAll(ctx context.Context, c client, task string, n, g int) ([]pending[int], error) {
	calls := make([]pending[int], n)
	err := spread(ctx, n, g, func(ctx context.Context, lo, hi int) (err error) {
		for i := lo; i < hi; i++ {
			if calls[i], err = c.applyAsync(ctx, task, i); err != nil {
				return err
			}
		}
		return nil
	})
	return calls, err
}

// collectAll waits for the values of the calls that submitAll has made, and
// checks each.
func collectAll(ctx context.Context, calls []pending[int], g int) error {
	return spread(ctx, len(calls), g, func(ctx context.Context, lo, hi int) error {
		for i := lo; i < hi; i++ {
			v, err := calls[i].get(ctx)
			if err != nil {
				return err
			}
			if err := checkSquare(v, i); err != nil {
				return err
			}
		}
		return nil
	})
}

// singles runs n single calls of task from g goroutines: each submits its share
// without waiting, and then takes the values of its share.
func singles(ctx context.Context, c client, task string, n, g int) error {
	return spread(ctx, n, g, func(ctx context.Context, lo, hi int) (err error) {
		calls := make([]pending[int], hi-lo)
		for i := range calls {
			if calls[i], err = c.applyAsync(ctx, task, lo+i); err != nil {
				return err
			}
		}
		for i, call := range calls {
			v, err := call.get(ctx)
			if err != nil {
				return err
			}
			if err := checkSquare(v, lo+i); err != nil {
				return err
			}
		}
		return nil
	})
}
