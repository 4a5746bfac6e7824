package metrics_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/metrics"
	"github.com/distpool/distpool/observe"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

var (
	double = tasks.Define("double", func(_ context.Context, n int) (int, error) { return 2 * n, nil })
	odd    = tasks.Define("odd", func(_ context.Context, n int) (int, error) {
		switch {
		case n%2 == 1:
			return n, nil
		case n == 0:
			panic("zero")
		}
		return 0, errors.New("even")
	})
	again = tasks.Define("again", func(ctx context.Context, n int) (int, error) {
		if tasks.Info(ctx).Attempt < 3 {
			return 0, errors.New("not yet")
		}
		return n, nil
	}, tasks.Retry(5, tasks.Backoff{Initial: time.Millisecond, Max: time.Millisecond}))
)

// world is a Redis with a pool and a worker that are watched.
type world struct {
	*testing.T
	redis *redistest.Server
	reg   *prometheus.Registry
	m     *metrics.Metrics
	pool  *producer.Pool
}

func start(t *testing.T) *world {
	w := &world{T: t, redis: redistest.Start(t), reg: prometheus.NewPedanticRegistry()}
	w.m = metrics.New(w.reg)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	ready := &readiness{started: make(chan struct{})}
	go func() {
		ended <- worker.Run(ctx, worker.Config{
			Redis: w.redis.URL(), Concurrency: 3, Grace: 5 * time.Second,
			Observers: []observe.Worker{w.m, ready},
		}, double, odd, again)
	}()
	select {
	case <-ready.started:
	case err := <-ended:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	var err error
	if w.pool, err = producer.Open(t.Context(), producer.Config{Redis: w.redis.URL(), Observers: []observe.Pool{w.m}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.pool.Release)
	w.reg.MustRegister(metrics.NewQueues(w.redis.Client(t)))
	return w
}

type readiness struct {
	observe.NopWorker
	started chan struct{}
}

func (r *readiness) StartWorker(observe.WorkerState) { close(r.started) }

// run uses all that there is.
func (w *world) run() {
	w.Helper()
	if v, err := producer.Apply(w.Context(), w.pool, double, 21); err != nil || v != 42 {
		w.Fatal(v, err)
	}
	if _, err := producer.Map(w.Context(), w.pool, odd, []int{0, 1, 2, 3, 4}, producer.ChunkSize(2)); err == nil {
		w.Fatal("a map of failing calls succeeded")
	}
	if _, err := producer.Apply(w.Context(), w.pool, again, 1); err != nil {
		w.Fatal(err)
	}
	n := 0
	for _, err := range producer.IMap(w.Context(), w.pool, double, slices.Values(make([]int, 100))) {
		if err != nil {
			w.Fatal(err)
		}
		n++
	}
	r, err := producer.ApplyAsync(w.Context(), w.pool, double, 1)
	if err != nil {
		w.Fatal(err)
	}
	if err := r.Wait(w.Context()); err != nil {
		w.Fatal(err)
	}
	if a, err := producer.Attach(w.Context(), w.pool, double, r.ID()); err != nil || a.Wait(w.Context()) != nil {
		w.Fatal(err)
	}
}

// value is the value of a counter or gauge, or the count of a histogram, summed
// over all series with these labels ("name=value").
func (w *world) value(name string, labels ...string) float64 {
	w.Helper()
	families, err := w.reg.Gather()
	if err != nil {
		w.Fatal(err)
	}
	sum, found := 0.0, false
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if !hasLabels(m, labels) {
				continue
			}
			found = true
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	if !found {
		return -1
	}
	return sum
}

func hasLabels(m *dto.Metric, want []string) bool {
	for _, l := range want {
		name, value, _ := strings.Cut(l, "=")
		if !slices.ContainsFunc(m.GetLabel(), func(p *dto.LabelPair) bool { return p.GetName() == name && p.GetValue() == value }) {
			return false
		}
	}
	return true
}

// eventually waits for a value that changes a moment after the caller of a job
// knows of its end.
func (w *world) eventually(want float64, name string, labels ...string) {
	w.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		got := w.value(name, labels...)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			w.Errorf("%s%v is %v, want %v", name, labels, got, want)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestMetricsCountEachJobChunkCallAndDelivery(t *testing.T) {
	w := start(t)
	w.run()
	for _, c := range []struct {
		want   float64
		name   string
		labels []string
	}{
		{102, "distpool_calls_total", []string{"task=double", "outcome=ok"}},
		{2, "distpool_calls_total", []string{"task=odd", "outcome=ok"}},
		{2, "distpool_calls_total", []string{"task=odd", "outcome=error"}},
		{1, "distpool_calls_total", []string{"task=odd", "outcome=panic"}},
		{1, "distpool_calls_total", []string{"task=again"}},
		{102, "distpool_call_seconds", []string{"task=double", "result=ok"}},
		{3, "distpool_call_seconds", []string{"task=odd", "result=failed"}},
		{2, "distpool_call_seconds", []string{"task=again", "result=failed"}}, // each attempt
		{1, "distpool_call_seconds", []string{"task=again", "result=ok"}},
		{0, "distpool_calls_in_flight", nil},
		{3, "distpool_chunks_total", []string{"task=odd", "fate=recorded"}},
		{0, "distpool_redeliveries_total", nil},
		{2, "distpool_submissions_total", []string{"task=double", "verb=apply", "result=ok"}},
		{1, "distpool_submissions_total", []string{"task=double", "verb=stream", "result=ok"}},
		{100, "distpool_submitted_calls_total", []string{"verb=stream"}},
		{5, "distpool_submitted_calls_total", []string{"task=odd"}},
		{4, "distpool_submission_seconds", nil},
		{1, "distpool_jobs_total", []string{"task=odd", "verb=map", "outcome=failed"}},
		{1, "distpool_jobs_total", []string{"verb=attach", "outcome=done"}},
		{1, "distpool_jobs_total", []string{"verb=stream", "outcome=done"}},
		{3, "distpool_result_latency_seconds", []string{"verb=apply"}},
		{1, "distpool_result_latency_seconds", []string{"verb=map"}},
		{0, "distpool_jobs_outstanding", nil},
		{3, "distpool_slots", nil},
		{0, "distpool_slots_busy", nil},
		{1, "distpool_workers", nil},
		{0, "distpool_workers_draining", nil},
		{0, "distpool_redis_errors_total", nil},
		{1, "distpool_queues_up", nil},
	} {
		w.eventually(c.want, c.name, c.labels...)
	}
	if got, chunks := w.value("distpool_queue_wait_seconds", "queue=distpool"), w.value("distpool_chunks_total"); got != chunks {
		t.Errorf("%v first waits of %v chunks were measured", got, chunks)
	}
	if n, c := w.value("distpool_redis_round_trip_seconds"), w.value("distpool_redis_commands_total"); n < 10 || c <= n {
		t.Errorf("%v round trips with %v commands; there were pipelines", n, c)
	}
}

func TestQueueWaitIsTheTimeWithoutAWorker(t *testing.T) {
	server := redistest.Start(t)
	pool, err := producer.Open(t.Context(), producer.Config{Redis: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Release()
	r, err := producer.ApplyAsync(t.Context(), pool, double, 1)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	reg := prometheus.NewRegistry()
	w := &world{T: t, redis: server, reg: reg, m: metrics.New(reg)}
	queues := metrics.NewQueues(server.Client(t), "distpool", "never-used")
	reg.MustRegister(queues)
	w.eventually(1, "distpool_queue_deliveries", "queue=distpool", "state=pending")
	w.eventually(0, "distpool_queue_workers", "queue=distpool")
	w.eventually(0, "distpool_queue_deliveries", "queue=never-used", "state=pending")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	waited := time.Since(began)
	go func() {
		ended <- worker.Run(ctx, worker.Config{Redis: server.URL(), Observers: []observe.Worker{w.m}}, double)
	}()
	if err := r.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.eventually(1, "distpool_queue_wait_seconds", "queue=distpool")
	w.eventually(1, "distpool_queue_workers", "queue=distpool") // once the numbers are old enough to be read again
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	families, _ := reg.Gather()
	for _, f := range families {
		if f.GetName() == "distpool_queue_wait_seconds" {
			if sum := f.GetMetric()[0].GetHistogram().GetSampleSum(); sum < waited.Seconds()-.001 || sum > time.Since(began).Seconds()+.01 {
				t.Errorf("the wait is %v s, but the worker started after %v", sum, waited)
			}
		}
	}
}

func TestQueuesSayThatRedisDoesNotAnswer(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	defer rdb.Close()
	reg := prometheus.NewRegistry()
	reg.MustRegister(metrics.NewQueues(rdb))
	families, err := reg.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "distpool_queues_up" || families[0].GetMetric()[0].GetGauge().GetValue() != 0 {
		t.Errorf("got %v, %v; want distpool_queues_up 0 alone", families, err)
	}
}

func TestErrorsOfRedisCountByKind(t *testing.T) {
	server := redistest.Start(t)
	reg := prometheus.NewRegistry()
	w := &world{T: t, reg: reg, m: metrics.New(reg)}
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()
	rdb.AddHook(w.m.RedisHook())
	rdb.Get(t.Context(), "none")           // a nil is no error
	rdb.EvalSha(t.Context(), "0000", nil)  // nor is NOSCRIPT
	rdb.Do(t.Context(), "no-such-command") // other
	rdb.ConfigSet(t.Context(), "maxmemory", "1")
	rdb.Set(t.Context(), "a", "b", 0) // memory
	rdb.ConfigSet(t.Context(), "maxmemory", "0")
	gone := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	defer gone.Close()
	gone.AddHook(w.m.RedisHook())
	_, _ = gone.Pipelined(t.Context(), func(p redis.Pipeliner) error { p.Get(t.Context(), "a"); return nil })
	for kind, want := range map[string]float64{"connection": 1, "memory": 1, "other": 1, "permission": 0, "moved": 0} {
		w.eventually(want, "distpool_redis_errors_total", "kind="+kind)
	}
}

func TestLabelsAreBounded(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := metrics.New(reg)
	w := &world{T: t, reg: reg, m: m}
	for i := range 2000 {
		name := strings.Repeat("x", 1+i%50) + time.Duration(i).String()
		m.EndSubmit(t.Context(), &observe.Submission{Task: name, Verb: observe.Apply, Calls: 1}, nil)
		m.Deliver(observe.Delivery{Task: name + "?", Queue: name, Verdict: observe.Run, Number: 2})
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if n := len(f.GetMetric()); n > 501 {
			t.Errorf("%s has %d series", f.GetName(), n)
		}
	}
	w.eventually(1500, "distpool_submissions_total", "task=(other)")
	w.eventually(2000, "distpool_redeliveries_total", "task=(other)") // a task that no worker here knows
}
