package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
)

// watching measures what the monitor costs those that it watches, and how fast its
// pages answer: bench watch.
type watching struct {
	jobs, calls int // what is there to be looked at: single calls, and one map
	chunk       int // of the map
	rounds      int
	each        time.Duration // of a measurement
	browsers    int           // each watches every page
	g           int           // goroutines that submit single calls all the time

	s      settings
	redis  *redistest.Server
	rdb    redis.UniversalClient
	pool   *producer.Pool
	worker *workerProcess
	live   string // the path of the map's page
	log    io.Writer
}

// pageLine is how fast a page answered.
type pageLine struct {
	Page  string  `json:"page"`
	P50   float64 `json:"p50_ms"`
	Worst float64 `json:"worst_ms"`
	Bytes int     `json:"bytes"`
}

// costs are what a call cost in one measurement, on average.
type costs struct {
	CallsPerS float64 `json:"calls_per_s"`
	RedisUs   float64 `json:"redis_us_per_call"`
	WorkerUs  float64 `json:"worker_us_per_call"`
	BothUs    float64 `json:"both_us_per_call"`
	Monitor   float64 `json:"monitor_pct_of_core"`
	Events    float64 `json:"events_per_s"`
}

// watchLine is the outcome: medians, and the medians of watched / alone of each round,
// less one, in percent.
type watchLine struct {
	Rounds      int     `json:"rounds"`
	Streams     int     `json:"streams"`
	Alone       costs   `json:"alone"`
	Watched     costs   `json:"watched"`
	LessCalls   float64 `json:"fewer_calls_pct"`
	MoreCost    float64 `json:"more_time_pct"`       // of Redis and workers, for each call
	NoiseOfCost float64 `json:"noise_of_more_pct"`   // half of what lies between the quartiles of the rounds
	NoiseOfLess float64 `json:"noise_of_fewer_pct"`  // the same of the calls
	RedisShare  float64 `json:"redis_pct_of_second"` // what the monitor takes of each second of Redis while nothing else happens
}

func watchCommand(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	w := &watching{log: stderr, s: settings{conc: 10, queues: 1, impl: "distpool"}}
	fs := flag.NewFlagSet("bench watch", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&w.jobs, "jobs", 100_000, "`jobs` of one call that are there to be listed")
	fs.IntVar(&w.calls, "calls", 1_000_000, "`calls` of a map that is watched")
	fs.IntVar(&w.chunk, "chunk", 50, "`calls` of the map that travel together")
	fs.IntVar(&w.rounds, "rounds", 10, "how often both are measured, in turn")
	fs.DurationVar(&w.each, "for", 5*time.Second, "how long a measurement takes")
	fs.IntVar(&w.browsers, "browsers", 3, "browsers, each with all four pages open")
	fs.IntVar(&w.g, "g", 64, "`goroutines` that submit single calls")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return usageError{err}
	}
	if fs.NArg() > 0 || min(w.jobs, w.calls, w.chunk, w.rounds, w.browsers, w.g) < 1 || w.each < time.Second {
		return usagef("all numbers must be 1 or more, -for 1s or more, and there are no other arguments")
	}
	if err := w.start(ctx); err != nil {
		return errors.Join(err, w.end())
	}
	defer func() { err = errors.Join(err, w.end()) }()
	out := json.NewEncoder(stdout)
	pages, err := w.answers(ctx)
	if err != nil {
		return err
	}
	for _, p := range pages {
		if err := out.Encode(p); err != nil {
			return err
		}
	}
	line, err := w.compare(ctx)
	if err != nil {
		return err
	}
	return out.Encode(line)
}

// start starts Redis and a worker, and makes what is looked at: jobs that are over, and
// a map that nobody runs, so that it stays as large as it is.
func (w *watching) start(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "bench-redis-")
	if err != nil {
		return err
	}
	if w.redis, err = redistest.StartProcess(dir); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	w.s.addr = w.redis.Addr()
	w.rdb = dial(w.s)
	if w.worker, err = startWorker(ctx, w.s); err != nil {
		return err
	}
	if err := allRun(ctx, w.s, 1); err != nil {
		return err
	}
	if w.pool, err = producer.Open(ctx, producer.Config{Redis: w.s.addr, ResultTTL: time.Hour}); err != nil {
		return err
	}
	fmt.Fprintf(w.log, "making %d jobs, and a map of %d calls\n", w.jobs, w.calls)
	if err := w.fill(ctx); err != nil {
		return err
	}
	m, err := producer.MapAsync(ctx, w.pool, squareTask, slices.Collect(upTo(w.calls)), producer.ChunkSize(w.chunk), producer.Queue("nobody"))
	if err != nil {
		return err
	}
	w.live = "/jobs/" + m.ID()
	return nil
}

func (w *watching) end() (err error) {
	if w.pool != nil {
		w.pool.Release()
	}
	if w.worker != nil {
		err = w.worker.stop()
	}
	if w.redis != nil {
		err = errors.Join(err, w.rdb.Close(), w.redis.Stop())
	}
	return err
}

// fill makes the jobs, whose records stay for an hour.
func (w *watching) fill(ctx context.Context) error {
	var next atomic.Int64
	return w.onEach(func() error {
		for n := int(next.Add(1)); n <= w.jobs; n = int(next.Add(1)) {
			r, err := producer.ApplyAsync(ctx, w.pool, squareTask, n)
			if err != nil {
				return err
			}
			v, err := r.Get(ctx)
			if err != nil {
				return err
			}
			if err := checkSquare(v, n); err != nil {
				return err
			}
		}
		return nil
	})
}

// onEach runs f on each of the submitting goroutines.
func (w *watching) onEach(f func() error) error {
	errs := make([]error, w.g)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { errs[i] = f() })
	}
	all.Wait()
	return errors.Join(errs...)
}

// pages are those that browsers keep open.
func (w *watching) pages() []string { return []string{"/jobs", w.live, "/workers", "/throughput"} }

const answersOfEach = 30

// answers asks for each page a few times, while nothing else happens.
func (w *watching) answers(ctx context.Context) ([]pageLine, error) {
	m, err := startWebMonitor(ctx, w.s)
	if err != nil {
		return nil, err
	}
	defer m.stop()
	var lines []pageLine
	for _, page := range append(w.pages(), "/jobs?status=running", "/jobs?task=none", "/asynqmon/api/queues", "/asynqmon/api/queues/nobody/pending_tasks?page=1&size=100") {
		took := make([]float64, answersOfEach)
		l := pageLine{Page: strings.Replace(page, w.live, "/jobs/MAP", 1)}
		for i := range took {
			began := time.Now()
			n, err := m.get(ctx, page)
			if err != nil {
				return nil, err
			}
			took[i], l.Bytes = float64(time.Since(began).Microseconds())/1000, n
		}
		slices.Sort(took)
		l.P50, l.Worst = rounded(took[len(took)/2], 1), rounded(took[len(took)-1], 1)
		lines = append(lines, l)
	}
	return lines, nil
}

// compare measures with and without a monitor, in turn: which of them comes first
// changes with each round.
func (w *watching) compare(ctx context.Context) (watchLine, error) {
	l := watchLine{Rounds: w.rounds, Streams: w.browsers * len(w.pages())}
	if _, err := w.measure(ctx, false); err != nil { // to warm up
		return l, err
	}
	var alone, watched []costs
	var less, more []float64
	for round := range w.rounds {
		for i := range 2 {
			with := (round+i)%2 == 1
			got, err := w.measure(ctx, with)
			if err != nil {
				return l, err
			}
			if with {
				watched = append(watched, got)
			} else {
				alone = append(alone, got)
			}
		}
		a, b := alone[round], watched[round]
		less, more = append(less, 100*(1-b.CallsPerS/a.CallsPerS)), append(more, 100*(b.BothUs/a.BothUs-1))
		fmt.Fprintf(w.log, "round %d: alone %.0f calls/s at %.1f us, watched %.0f at %.1f us\n", round+1, a.CallsPerS, a.BothUs, b.CallsPerS, b.BothUs)
	}
	l.Alone, l.Watched = medians(alone), medians(watched)
	l.LessCalls, l.NoiseOfLess = quartiles(less)
	l.MoreCost, l.NoiseOfCost = quartiles(more)
	var err error
	l.RedisShare, err = w.share(ctx)
	return l, err
}

// measure submits single calls for a while, with all pages watched or without a
// monitor.
func (w *watching) measure(ctx context.Context, with bool) (c costs, err error) {
	var m *webMonitor
	var events atomic.Int64
	if with {
		var leave func()
		if m, leave, err = w.watched(ctx, &events); err != nil {
			return c, err
		}
		defer m.stop()
		defer leave()
	}
	pids := []int{w.worker.cmd.Process.Pid}
	read := func() (r redisUsage, worker, mon time.Duration, err error) {
		if r, err = usageOf(ctx, w.rdb); err == nil {
			worker, err = cpuOf(pids)
		}
		if err == nil && m != nil {
			mon, err = processCPU(m.cmd.Process.Pid)
		}
		return r, worker, mon, err
	}
	redisBefore, workerBefore, monBefore, err := read()
	if err != nil {
		return c, err
	}
	seen := events.Load()
	began := time.Now()
	var calls atomic.Int64
	err = w.onEach(func() error {
		for time.Since(began) < w.each {
			v, err := producer.Apply(ctx, w.pool, squareTask, 7, producer.ResultTTL(20*time.Second))
			if err != nil {
				return err
			}
			if err := checkSquare(v, 7); err != nil {
				return err
			}
			calls.Add(1)
		}
		return nil
	})
	if err != nil {
		return c, err
	}
	took, n := time.Since(began).Seconds(), float64(calls.Load())
	redisAfter, workerAfter, monAfter, err := read()
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 / n }
	c = costs{
		CallsPerS: n / took, RedisUs: us(redisAfter.cpu - redisBefore.cpu), WorkerUs: us(workerAfter - workerBefore),
		Monitor: 100 * (monAfter - monBefore).Seconds() / took, Events: float64(events.Load()-seen) / took,
	}
	c.BothUs = c.RedisUs + c.WorkerUs
	return c, err
}

// share is what watching takes of Redis while nothing else happens, in percent of a
// processor, beyond what goes on without it. Redis has one thread, so it takes that
// part of the calls which Redis could carry at the most.
func (w *watching) share(ctx context.Context) (float64, error) {
	quiet, err := watchRedis(ctx, w.rdb, 2*w.each)
	if err != nil {
		return 0, err
	}
	var events atomic.Int64
	m, leave, err := w.watched(ctx, &events)
	if err != nil {
		return 0, err
	}
	defer m.stop()
	defer leave()
	busy, err := watchRedis(ctx, w.rdb, 2*w.each)
	return rounded(busy.cpu-quiet.cpu, 2), err
}

// watched starts a monitor whose pages are open in all browsers, and have come.
func (w *watching) watched(ctx context.Context, events *atomic.Int64) (_ *webMonitor, leave func(), err error) {
	m, err := startWebMonitor(ctx, w.s)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var open sync.WaitGroup
	leave = func() {
		cancel()
		open.Wait()
	}
	first := make(chan error, w.browsers*len(w.pages()))
	for range w.browsers {
		for _, page := range w.pages() {
			open.Go(func() { m.stream(ctx, page, events, first) })
		}
	}
	for range cap(first) {
		if err := <-first; err != nil {
			leave()
			return nil, nil, errors.Join(err, m.stop())
		}
	}
	return m, leave, nil
}

// medians takes the median of each number.
func medians(of []costs) costs {
	get := func(f func(costs) float64) float64 {
		xs := make([]float64, len(of))
		for i, c := range of {
			xs[i] = f(c)
		}
		slices.Sort(xs)
		return rounded((xs[(len(xs)-1)/2]+xs[len(xs)/2])/2, 1)
	}
	return costs{
		get(func(c costs) float64 { return c.CallsPerS }), get(func(c costs) float64 { return c.RedisUs }), get(func(c costs) float64 { return c.WorkerUs }),
		get(func(c costs) float64 { return c.BothUs }), get(func(c costs) float64 { return c.Monitor }), get(func(c costs) float64 { return c.Events }),
	}
}

// quartiles is the median, and half of what lies between the quartiles.
func quartiles(xs []float64) (median, half float64) {
	xs = slices.Sorted(slices.Values(xs))
	n := len(xs)
	return rounded((xs[(n-1)/2]+xs[n/2])/2, 2), rounded((xs[(3*n)/4]-xs[n/4])/2, 2)
}
