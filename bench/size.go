package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// processSize is how large a process is, after a garbage collection.
type processSize struct {
	Heap       float64 `json:"heap_mb"`     // in use, MiB
	Resident   float64 `json:"resident_mb"` // MiB
	Goroutines int     `json:"goroutines"`
}

// ownSize is the size of this process.
func ownSize() (processSize, error) {
	debug.FreeOSMemory() // what is left is in use
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	pages, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return processSize{}, err
	}
	fields := strings.Fields(string(pages))
	if len(fields) < 2 {
		return processSize{}, fmt.Errorf("/proc/self/statm is %q", pages)
	}
	resident, err := strconv.Atoi(fields[1])
	if err != nil {
		return processSize{}, err
	}
	const mb = 1 << 20
	return processSize{rounded(float64(m.HeapAlloc)/mb, 2), rounded(float64(resident*os.Getpagesize())/mb, 2), runtime.NumGoroutine()}, nil
}

// tellSize answers each line with the size of this process.
func tellSize(in io.Reader, out io.Writer) {
	answers := json.NewEncoder(out)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		size, err := ownSize()
		if err == nil {
			err = answers.Encode(size)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "telling the size of this process:", err)
			return
		}
	}
}

// size asks the worker, which was started to be asked.
func (w *workerProcess) size() (size processSize, err error) {
	if _, err := io.WriteString(w.ask, "\n"); err != nil {
		return size, fmt.Errorf("asking a worker for its size: %w", err)
	}
	if err := w.sizes.Decode(&size); err != nil {
		return size, fmt.Errorf("asking a worker for its size: %w", err)
	}
	return size, nil
}

// sizes is how large all have become by a moment at which no call is under way.
type sizes struct {
	Part          string      `json:"part"`
	Minutes       float64     `json:"minutes"`
	Calls         int64       `json:"calls"` // so far
	RedisMB       float64     `json:"redis_mb"`
	RedisResident float64     `json:"redis_resident_mb"`
	Keys          int64       `json:"keys"`
	Producer      processSize `json:"producer"`
	Worker        processSize `json:"worker"`
}

// grown is the largest of the ratios of s to an earlier time. One more MiB, key or goroutine of few
// is no growth.
func (s sizes) grown(since sizes) float64 {
	most := 0.0
	for _, pair := range [][3]float64{
		{s.RedisMB, since.RedisMB, 1}, {s.RedisResident, since.RedisResident, 1}, {float64(s.Keys), float64(since.Keys), 10},
		{s.Producer.Heap, since.Producer.Heap, 1}, {s.Producer.Resident, since.Producer.Resident, 1}, {float64(s.Producer.Goroutines), float64(since.Producer.Goroutines), 10},
		{s.Worker.Heap, since.Worker.Heap, 1}, {s.Worker.Resident, since.Worker.Resident, 1}, {float64(s.Worker.Goroutines), float64(since.Worker.Goroutines), 10},
	} {
		most = max(most, pair[0]/max(pair[1], pair[2]))
	}
	return rounded(most, 3)
}

// calls has callers make blocking calls, which stop five times while all is measured.
func (m *growth) calls(ctx context.Context) (err error) {
	m.s.asked = true
	w, err := startWorker(ctx, m.s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	c, err := distpoolSystem{}.open(ctx, m.s)
	if err != nil {
		return err
	}
	defer c.close(ctx)
	if err := warm(ctx, c); err != nil {
		return err
	}
	var all []sizes
	calls, began := int64(0), time.Now()
	const parts = 5
	for part := range parts {
		n, err := m.callFor(ctx, c, m.last/parts)
		if err != nil {
			return err
		}
		calls += n
		s, err := m.sizesNow(ctx, w)
		if err != nil {
			return err
		}
		s.Part, s.Minutes, s.Calls = "calls", rounded(time.Since(began).Minutes(), 2), calls
		if err := m.out.Encode(s); err != nil {
			return err
		}
		all = append(all, s)
		fmt.Fprintf(m.log, "part %d of %d: %.0f calls/s\n", part+1, parts, float64(n)/(m.last/parts).Seconds())
	}
	return m.out.Encode(map[string]any{"part": "calls", "what": "the end ÷ after a fifth, the worst", "ratio": all[parts-1].grown(all[0])})
}

// callFor has all callers make blocking calls for a while.
func (m *growth) callFor(ctx context.Context, c client, d time.Duration) (int64, error) {
	until := time.Now().Add(d)
	made := make([]int64, m.g)
	err := spread(ctx, m.g, m.g, func(ctx context.Context, caller, _ int) error {
		for i := 0; time.Now().Before(until); i++ {
			v, err := c.apply(ctx, square, i)
			if err != nil {
				return err
			}
			if err := checkSquare(v, i); err != nil {
				return err
			}
			made[caller]++
		}
		return nil
	})
	var n int64
	for _, k := range made {
		n += k
	}
	return n, err
}

func (m *growth) sizesNow(ctx context.Context, w *workerProcess) (s sizes, err error) {
	memory, keys, err := settledMemory(ctx, m.rdb)
	if err != nil {
		return s, err
	}
	u, err := usageOf(ctx, m.rdb)
	if err != nil {
		return s, err
	}
	s.RedisMB, s.RedisResident, s.Keys = rounded(float64(memory)/(1<<20), 2), rounded(float64(u.resident)/(1<<20), 2), keys
	if s.Producer, err = ownSize(); err != nil {
		return s, err
	}
	s.Worker, err = w.size()
	return s, err
}
