package metrics

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/job"
)

const (
	// queuesAge is how old the numbers may be: several scrapers, and a page that is
	// reloaded, cost Redis no more than one.
	queuesAge = 2 * time.Second
	// queuesPatience is how long a scrape waits for Redis. The rest of it must not
	// be lost because Redis is away.
	queuesPatience = 3 * time.Second
	// servedFor is how long a queue without jobs is reported after its last worker was
	// seen: for longer than any alert about that looks back.
	servedFor = 24 * time.Hour
)

// Queues is a collector of what is in asynq's queues, and of the live workers
// that serve them. A queue that spans a Cluster is several of asynq's, which are added up. A queue is reported from its first job or worker on; one that never
// had a job, until 24 hours after its last worker was seen. Everything it reports is the same on every process that asks
// the same Redis, so one is enough; with more of them, queries take the max by
// queue, not the sum. While Redis does not answer, distpool_queues_up is 0 and
// the others are absent.
type Queues struct {
	rdb       redis.UniversalClient
	inspector *asynq.Inspector
	only      []string
	served    map[string]time.Time // when a worker of the queue was last seen; of the reading under way

	up, deliveries, latency, paused, memory, workers, slots *prometheus.Desc

	mu      sync.Mutex    // guards all below
	reading chan struct{} // closed when the reading under way is over; nil: none is
	last    []prometheus.Metric
	at      time.Time
}

// NewQueues makes the collector for the queues with the given names, by default
// for all queues that had jobs or workers. It is to be registered by the caller, who also
// keeps rdb and may close it when nobody collects any more.
func NewQueues(rdb redis.UniversalClient, queues ...string) *Queues {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
	}
	return &Queues{
		rdb: rdb, inspector: asynq.NewInspectorFromRedisClient(rdb), only: slices.Clone(queues), served: map[string]time.Time{},
		up:         desc("queues_up", "1 when Redis told what is in the queues, 0 when it did not."),
		deliveries: desc("queue_deliveries", "Deliveries in the queue, by asynq's state: pending, active, scheduled, retry, archived (failed calls, for operators to see), completed.", "queue", "state"),
		latency:    desc("queue_latency_seconds", "For how long the oldest pending delivery of the queue has been waiting.", "queue"),
		paused:     desc("queue_paused", "1 while the queue is paused, otherwise 0.", "queue"),
		memory:     desc("queue_memory_bytes", "Memory of the queue in Redis, estimated by asynq; without the jobs' records.", "queue"),
		workers:    desc("queue_workers", "Live workers that serve the queue.", "queue"),
		slots:      desc("queue_slots", "Slots of the live workers that serve the queue. A worker of several queues counts for each.", "queue"),
	}
}

// Describe implements prometheus.Collector.
func (q *Queues) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{q.up, q.deliveries, q.latency, q.paused, q.memory, q.workers, q.slots} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (q *Queues) Collect(ch chan<- prometheus.Metric) {
	ms, ok := q.current()
	up := 0.0
	if ok {
		up = 1
	}
	ch <- prometheus.MustNewConstMetric(q.up, prometheus.GaugeValue, up)
	for _, m := range ms {
		ch <- m
	}
}

// current returns numbers that are not too old, and reads them if there are none.
// asynq's inspector takes no context, so the reading goes on behind a scrape that
// has given up, and there is one at a time.
func (q *Queues) current() ([]prometheus.Metric, bool) {
	q.mu.Lock()
	if time.Since(q.at) < queuesAge {
		defer q.mu.Unlock()
		return q.last, true
	}
	if q.reading == nil {
		q.reading = make(chan struct{})
		go q.read()
	}
	over := q.reading
	q.mu.Unlock()
	patience := time.NewTimer(queuesPatience)
	defer patience.Stop()
	select {
	case <-over:
	case <-patience.C:
		return nil, false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if time.Since(q.at) >= queuesAge+queuesPatience {
		return nil, false // the reading failed
	}
	return q.last, true
}

func (q *Queues) read() {
	ms, err := q.ask()
	q.mu.Lock()
	defer q.mu.Unlock()
	if err == nil {
		q.last, q.at = ms, time.Now()
	} else {
		q.last, q.at = nil, time.Time{}
	}
	close(q.reading)
	q.reading = nil
}

// known are the queues that had jobs, and all queues that are or were served.
func (q *Queues) known(existing []string, ws []fleet.Worker) []string {
	now := time.Now()
	for _, w := range ws {
		for name := range w.Queues {
			if _, ok := q.served[name]; ok || len(q.served) < maxNames {
				q.served[name] = now
			}
		}
	}
	var names []string
	for _, lane := range existing {
		if name := job.QueueOf(lane); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for name, seen := range q.served {
		if now.Sub(seen) > servedFor {
			delete(q.served, name)
		} else if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func (q *Queues) ask() ([]prometheus.Metric, error) {
	ctx, cancel := context.WithTimeout(context.Background(), queuesPatience)
	defer cancel()
	ws, err := fleet.Workers(ctx, q.rdb)
	if err != nil {
		return nil, err
	}
	existing, err := q.inspector.Queues()
	if err != nil {
		return nil, err
	}
	names := q.only
	if len(names) == 0 {
		names = q.known(existing, ws)
	}
	infos, err := inspect.QueueInfos(q.inspector, slices.DeleteFunc(slices.Clone(existing), func(lane string) bool { return !slices.Contains(names, job.QueueOf(lane)) }))
	if err != nil {
		return nil, err
	}
	var ms []prometheus.Metric
	for _, name := range names {
		tell := func(d *prometheus.Desc, v float64, labels ...string) {
			ms = append(ms, prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{name}, labels...)...))
		}
		info := infos[name]
		if info == nil {
			info = &asynq.QueueInfo{} // nothing was ever submitted to it
		}
		for _, n := range []struct {
			state string
			n     int
		}{
			{"pending", info.Pending}, {"active", info.Active}, {"scheduled", info.Scheduled},
			{"retry", info.Retry}, {"archived", info.Archived}, {"completed", info.Completed},
		} {
			tell(q.deliveries, float64(n.n), n.state)
		}
		tell(q.latency, info.Latency.Seconds())
		tell(q.memory, float64(info.MemoryUsage))
		paused := 0.0
		if info.Paused {
			paused = 1
		}
		tell(q.paused, paused)
		workers, slots := 0, 0
		for _, w := range ws {
			if w.Serves(name) {
				workers++
				slots += w.Concurrency
			}
		}
		tell(q.workers, float64(workers))
		tell(q.slots, float64(slots))
	}
	return ms, nil
}
