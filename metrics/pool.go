package metrics

import (
	"context"
	"time"

	"github.com/distpool/distpool/observe"
)

func (m *Metrics) definePool() {
	m.submissions = counter("submissions_total", "Submissions by task, verb (apply, map, stream) and result (ok, error). A stream counts when its loop is over.", "task", "verb", "result")
	m.submissionTime = histogram("submission_seconds", "How long submissions took until their job was in Redis, by verb. Streams, which last as long as their loop, are not among them.", callBuckets, "verb")
	m.submittedCalls = counter("submitted_calls_total", "Calls of submitted jobs, by task and verb.", "task", "verb")
	m.jobs = counter("jobs_total", "Jobs that were over for a pool which waited for them, by task, verb (attach for those that were made elsewhere) and outcome.", "task", "verb", "outcome")
	m.resultLatency = histogram("result_latency_seconds", "Time from the submission of a job until its outcomes were in the hands of the pool, by task and verb. Streams and attached jobs are not among them.", waitBuckets, "task", "verb")
	m.outstanding = gauge("jobs_outstanding", "Jobs that pools of this process wait for.", func() float64 {
		m.mu.Lock()
		defer m.mu.Unlock()
		n := 0
		for p := range m.pools {
			n += p.Outstanding()
		}
		return float64(n)
	})
}

// OpenPool implements observe.Pool.
func (m *Metrics) OpenPool(s observe.PoolState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pools[s] = true
}

// ClosePool implements observe.Pool.
func (m *Metrics) ClosePool(s observe.PoolState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.pools, s)
}

type submissionKey struct{}

// BeginSubmit implements observe.Pool.
func (m *Metrics) BeginSubmit(ctx context.Context, s *observe.Submission) context.Context {
	if s.Verb == observe.Stream {
		return ctx
	}
	return context.WithValue(ctx, submissionKey{}, time.Now())
}

// EndSubmit implements observe.Pool.
func (m *Metrics) EndSubmit(ctx context.Context, s *observe.Submission, err error) {
	task, verb, result := m.names.task(s.Task), string(s.Verb), "ok"
	if err != nil {
		result = "error"
	}
	m.submissions.WithLabelValues(task, verb, result).Inc()
	m.submittedCalls.WithLabelValues(task, verb).Add(float64(s.Calls))
	if began, ok := ctx.Value(submissionKey{}).(time.Time); ok {
		m.submissionTime.WithLabelValues(verb).Observe(time.Since(began).Seconds())
	}
}

// Settle implements observe.Pool.
func (m *Metrics) Settle(s observe.Settlement) {
	task, verb := m.names.task(s.Task), string(s.Verb)
	m.jobs.WithLabelValues(task, verb, string(s.Outcome)).Inc()
	if (s.Verb == observe.Apply || s.Verb == observe.Map) && (s.Outcome == observe.JobDone || s.Outcome == observe.JobFailed) {
		m.resultLatency.WithLabelValues(task, verb).Observe(s.Took.Seconds())
	}
}
