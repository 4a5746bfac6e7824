package main

import (
	"context"
	"fmt"
	"math"
	"runtime/metrics"
	"slices"
	"time"
)

func runSingles(ctx context.Context, sys system, s settings) (line any, err error) {
	err = within(ctx, sys, s, func(c client) error {
		if err := warm(ctx, c); err != nil {
			return err
		}
		watch := startWatch()
		if err := singles(ctx, c, square, s.n, s.g); err != nil {
			return err
		}
		line = watch.line(s.w, s.n)
		return nil
	})
	return line, err
}

func runMap(ctx context.Context, sys system, s settings) (line any, err error) {
	err = within(ctx, sys, s, func(c client) error {
		if err := warm(ctx, c); err != nil {
			return err
		}
		args := numbers(s.n)
		watch := startWatch()
		values, err := c.mapAll(ctx, square, args, s.chunk)
		if err != nil {
			return err
		}
		line = watch.line(s.w, s.n)
		return checkSquares(values, s.n)
	})
	return line, err
}

// latencyLine is what W3 prints.
type latencyLine struct {
	W   string  `json:"w"`
	N   int     `json:"n"`
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

func runLatency(ctx context.Context, sys system, s settings) (line any, err error) {
	err = within(ctx, sys, s, func(c client) error {
		if err := warm(ctx, c); err != nil {
			return err
		}
		took := make([]time.Duration, max(1, s.n))
		for i := range took {
			started := time.Now()
			v, err := c.apply(ctx, square, i)
			if err != nil {
				return err
			}
			took[i] = time.Since(started)
			if err := checkSquare(v, i); err != nil {
				return err
			}
		}
		slices.Sort(took)
		ms := func(share float64) float64 {
			return rounded(took[min(int(share*float64(len(took))), len(took)-1)].Seconds()*1000, 4)
		}
		line = latencyLine{s.w, len(took), ms(0.5), ms(0.99), ms(1)}
		return nil
	})
	return line, err
}

// sleepLine is what W5 prints.
type sleepLine struct {
	W   string  `json:"w"`
	N   int     `json:"n"`
	Sec float64 `json:"sec"`
	Eff float64 `json:"eff"` // ideal time / time
}

func runSleepers(ctx context.Context, sys system, s settings) (line any, err error) {
	err = within(ctx, sys, s, func(c client) error {
		if err := warm(ctx, c); err != nil {
			return err
		}
		args := numbers(s.n)
		watch := startWatch()
		if s.gSet {
			err = singles(ctx, c, sleep, s.n, s.g)
		} else {
			var values []int
			if values, err = c.mapAll(ctx, sleep, args, s.chunk); err == nil {
				err = checkSquares(values, s.n)
			}
		}
		took := time.Since(watch.at).Seconds()
		ideal := nap.Seconds() * float64(s.n) / float64(s.conc)
		line = sleepLine{s.w, s.n, rounded(took, 6), rounded(ideal/took, 4)}
		return err
	})
	return line, err
}

// streamLine is what W6 prints.
type streamLine struct {
	speedLine
	HeapMB float64 `json:"heap_mb"` // the peak of what the producer's heap holds, MiB
}

func runStream(ctx context.Context, sys system, s settings) (line any, err error) {
	err = within(ctx, sys, s, func(c client) error {
		if err := warm(ctx, c); err != nil {
			return err
		}
		heap := watchHeap()
		watch := startWatch()
		var seen squaresSeen
		for v, err := range c.stream(ctx, s.n, s.chunk) {
			if err != nil {
				heap.stop()
				return err
			}
			if err := seen.add(v, s.n); err != nil {
				heap.stop()
				return err
			}
		}
		line = streamLine{watch.line(s.w, s.n), rounded(float64(heap.stop())/(1<<20), 2)}
		return seen.complete(s.n)
	})
	return line, err
}

// squaresSeen checks that the squares of 0 to n-1 come exactly once each, in any
// order. It notes what has come in pages of bits and drops the full ones, so that
// it does not grow with n.
type squaresSeen struct {
	count int
	pages map[int]*[pageSize / 64]uint64
	left  map[int]int // numbers that a page still waits for
	full  map[int]bool
}

const pageSize = 1 << 16

func (s *squaresSeen) add(v, n int) error {
	arg := root(v)
	if arg*arg != v || arg >= n {
		return fmt.Errorf("wrong value: %d is no square of a number below %d", v, n)
	}
	if s.pages == nil {
		s.pages, s.left, s.full = map[int]*[pageSize / 64]uint64{}, map[int]int{}, map[int]bool{}
	}
	p, bit := arg/pageSize, arg%pageSize
	if s.full[p] {
		return fmt.Errorf("wrong values: the square of %d came twice", arg)
	}
	page := s.pages[p]
	if page == nil {
		page = new([pageSize / 64]uint64)
		s.pages[p], s.left[p] = page, min(pageSize, n-p*pageSize)
	}
	if page[bit/64]>>(bit%64)&1 == 1 {
		return fmt.Errorf("wrong values: the square of %d came twice", arg)
	}
	page[bit/64] |= 1 << (bit % 64)
	s.count++
	if s.left[p]--; s.left[p] == 0 {
		delete(s.pages, p)
		delete(s.left, p)
		s.full[p] = true
	}
	return nil
}

func (s *squaresSeen) complete(n int) error {
	if s.count != n {
		return fmt.Errorf("wrong values: %d came, want %d", s.count, n)
	}
	return nil
}

// root returns the integer square root of v, which is exact far beyond the
// numbers of any benchmark.
func root(v int) int { return int(math.Sqrt(float64(max(v, 0)))) }

// heapWatch samples the size of the heap.
type heapWatch struct {
	quit chan struct{}
	peak chan uint64
}

func watchHeap() *heapWatch {
	h := &heapWatch{make(chan struct{}), make(chan uint64)}
	go func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		var peak uint64
		for {
			metrics.Read(sample)
			peak = max(peak, sample[0].Value.Uint64())
			select {
			case <-tick.C:
			case <-h.quit:
				h.peak <- peak
				return
			}
		}
	}()
	return h
}

// stop ends the sampling and returns the largest sample, in bytes.
func (h *heapWatch) stop() uint64 {
	close(h.quit)
	return <-h.peak
}
