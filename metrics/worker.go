package metrics

import (
	"context"

	"github.com/distpool/distpool/observe"
)

func (m *Metrics) defineWorker() {
	m.calls = counter("calls_total", "Calls that got their outcome, by task and outcome: ok, or the kind of failure. Each call of each job counts once, over all workers together.", "task", "outcome")
	m.callTime = histogram("call_seconds", "How long calls ran, by task and result (ok, failed, timeout, interrupted). Each attempt counts, as soon as it ends.", callBuckets, "task", "result")
	m.inFlight = gauges("calls_in_flight", "Calls that run, by task.", "task")
	m.queueWait = histogram("queue_wait_seconds", "Time from the submission (or the start of a delayed job) until a chunk began, by queue; first begins only.", waitBuckets, "queue")
	m.deliveries = counter("deliveries_total", "Deliveries that were taken, by queue and what came of them (run, busy, recorded, ended, gone, ...).", "queue", "verdict")
	m.redeliveries = counter("redeliveries_total", "Deliveries that ran a chunk again, by task and reason: death (a worker died in it) or reissued (given back by a worker that ended, or issued again because its delivery was lost).", "task", "reason")
	m.chunks = counter("chunks_total", "Runs of chunks, by task and fate (recorded, unwanted, canceled, taken, put_back, given_back, refused).", "task", "fate")
	sum := func(f func(observe.WorkerState) int) func() float64 {
		return func() float64 {
			m.mu.Lock()
			defer m.mu.Unlock()
			n := 0
			for w := range m.workers {
				n += f(w)
			}
			return float64(n)
		}
	}
	m.running = gauge("workers", "Workers that run in this process.", sum(func(observe.WorkerState) int { return 1 }))
	m.slots = gauge("slots", "Slots of the workers of this process: calls that they run at the same time, at the most.", sum(observe.WorkerState.Slots))
	m.busy = gauge("slots_busy", "Slots that are taken.", sum(observe.WorkerState.Busy))
	m.draining = gauge("workers_draining", "Workers of this process that take no more deliveries: they end.", sum(func(w observe.WorkerState) int {
		if w.Draining() {
			return 1
		}
		return 0
	}))
}

// StartWorker implements observe.Worker.
func (m *Metrics) StartWorker(s observe.WorkerState) {
	m.names.know(s.Tasks())
	m.mu.Lock()
	m.workers[s] = true
	m.mu.Unlock()
	// What has not happened is 0: a rate over a metric that begins at 1 misses it.
	for _, task := range s.Tasks() {
		m.calls.WithLabelValues(task, callOK)
		m.calls.WithLabelValues(task, "error")
		m.inFlight.WithLabelValues(task)
		m.redeliveries.WithLabelValues(task, reasonDeath)
		m.redeliveries.WithLabelValues(task, reasonReissued)
	}
	for queue := range s.Queues() {
		m.deliveries.WithLabelValues(m.names.queue(queue), string(observe.Run))
	}
}

// StopWorker implements observe.Worker.
func (m *Metrics) StopWorker(s observe.WorkerState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.workers, s)
}

const (
	callOK         = "ok"
	reasonDeath    = "death"
	reasonReissued = "reissued"
)

// Deliver implements observe.Worker.
func (m *Metrics) Deliver(d observe.Delivery) {
	queue := m.names.queue(d.Queue)
	m.deliveries.WithLabelValues(queue, string(d.Verdict)).Inc()
	if d.Waited {
		m.queueWait.WithLabelValues(queue).Observe(d.Wait.Seconds())
	}
	if d.Verdict != observe.Run && d.Verdict != observe.Lost {
		return
	}
	switch {
	case d.Deaths > 0:
		m.redeliveries.WithLabelValues(m.names.known(d.Task), reasonDeath).Inc()
	case d.Number > 1:
		m.redeliveries.WithLabelValues(m.names.known(d.Task), reasonReissued).Inc()
	}
}

// BeginChunk implements observe.Worker.
func (m *Metrics) BeginChunk(ctx context.Context, _ *observe.Chunk) context.Context { return ctx }

// EndChunk implements observe.Worker.
func (m *Metrics) EndChunk(_ context.Context, c *observe.Chunk, end observe.ChunkEnd) {
	task := m.names.known(c.Task)
	m.chunks.WithLabelValues(task, string(end.Fate)).Inc()
	if end.Fate != observe.ChunkRecorded {
		return // its calls have no outcome yet, or have another
	}
	ok := end.Calls
	for kind, n := range end.Failed {
		ok -= n
		m.calls.WithLabelValues(task, kind).Add(float64(n))
	}
	if ok > 0 {
		m.calls.WithLabelValues(task, callOK).Add(float64(ok))
	}
}

// BeginCall implements observe.Worker.
func (m *Metrics) BeginCall(ctx context.Context, c *observe.Call) context.Context {
	m.inFlight.WithLabelValues(m.names.known(c.Task)).Inc()
	return ctx
}

// EndCall implements observe.Worker.
func (m *Metrics) EndCall(_ context.Context, c *observe.Call, end observe.CallEnd) {
	task := m.names.known(c.Task)
	m.inFlight.WithLabelValues(task).Dec()
	m.callTime.WithLabelValues(task, string(end.Result)).Observe(end.Took.Seconds())
}
