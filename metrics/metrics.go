package metrics

import (
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/observers"
	"github.com/distpool/distpool/observe"
)

// Buckets of durations, in seconds. Round trips take less than calls, and calls
// less than waits.
var (
	roundTripBuckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}
	callBuckets      = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200}
	waitBuckets      = []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43200}
)

// Metrics counts what pools and workers do. It implements observe.Pool and
// observe.Worker, and is safe for concurrent use.
type Metrics struct {
	names labels

	mu      sync.Mutex // guards all below
	pools   map[observe.PoolState]bool
	workers map[observe.WorkerState]bool

	// Pools.
	submissions    *prometheus.CounterVec
	submissionTime *prometheus.HistogramVec
	submittedCalls *prometheus.CounterVec
	jobs           *prometheus.CounterVec
	resultLatency  *prometheus.HistogramVec
	outstanding    prometheus.GaugeFunc
	// Workers.
	calls        *prometheus.CounterVec
	callTime     *prometheus.HistogramVec
	inFlight     *prometheus.GaugeVec
	queueWait    *prometheus.HistogramVec
	deliveries   *prometheus.CounterVec
	redeliveries *prometheus.CounterVec
	chunks       *prometheus.CounterVec
	slots, busy  prometheus.GaugeFunc
	running      prometheus.GaugeFunc
	draining     prometheus.GaugeFunc
	// Redis.
	redisTime     *prometheus.HistogramVec
	redisWaits    *prometheus.CounterVec
	redisCommands *prometheus.CounterVec
	redisErrors   *prometheus.CounterVec
}

// New makes the metrics and registers them. It panics when reg has metrics of
// these names already, as prometheus.MustRegister does: one Metrics per registry.
// A nil reg registers nothing; Metrics is a prometheus.Collector, to be
// registered by the caller.
func New(reg prometheus.Registerer) *Metrics {
	m := &Metrics{pools: map[observe.PoolState]bool{}, workers: map[observe.WorkerState]bool{}}
	m.definePool()
	m.defineWorker()
	m.defineRedis()
	if reg != nil {
		reg.MustRegister(m)
	}
	return m
}

// Handler serves the metrics of prometheus.DefaultGatherer. With a registry of
// your own use promhttp.HandlerFor.
func Handler() http.Handler { return promhttp.Handler() }

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func gauge(name, help string, f func() float64) prometheus.GaugeFunc {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, f)
}

func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
}

func gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

// namespace begins the name of every metric.
const namespace = "distpool"

func (m *Metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		m.submissions, m.submissionTime, m.submittedCalls, m.jobs, m.resultLatency, m.outstanding,
		m.calls, m.callTime, m.inFlight, m.queueWait, m.deliveries, m.redeliveries, m.chunks, m.slots, m.busy, m.running, m.draining,
		m.redisTime, m.redisWaits, m.redisCommands, m.redisErrors,
	}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.collectors() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.collectors() {
		c.Collect(ch)
	}
}

func (m *Metrics) defineRedis() {
	m.redisTime = histogram("redis_round_trip_seconds", "Round trips to Redis: a command, or a pipeline of them. Requests that wait for something to happen are not among them.", roundTripBuckets)
	m.redisWaits = counter("redis_waits_total", "Requests to Redis that waited for something to happen, such as an idle worker's for work.")
	m.redisCommands = counter("redis_commands_total", "Commands in round trips to Redis.")
	m.redisErrors = counter("redis_errors_total", "Requests to Redis that failed, by kind: connection (no answer), memory, moved (Cluster), permission, other.", "kind")
	m.redisWaits.WithLabelValues()
	m.redisCommands.WithLabelValues()
	for _, kind := range errorKinds {
		m.redisErrors.WithLabelValues(kind) // 0 is worth more than nothing: rates start there
	}
}

// RoundTrip implements observe.Pool and observe.Worker.
func (m *Metrics) RoundTrip(r observe.RoundTrip) {
	if r.Waits {
		m.redisWaits.WithLabelValues().Inc()
	} else {
		m.redisTime.WithLabelValues().Observe(r.Took.Seconds())
		m.redisCommands.WithLabelValues().Add(float64(r.Commands))
	}
	if r.Err != nil {
		m.redisErrors.WithLabelValues(errorKind(r.Err)).Inc()
	}
}

// RedisHook is for a Redis client that the program gives to pools and workers by
// their Config.Client: client.AddHook(m.RedisHook()) makes its round trips count
// as those of clients that they open themselves. Add it once to a client.
func (m *Metrics) RedisHook() redis.Hook { return observers.Hook(m.RoundTrip) }
