// Package health answers the probes of a worker process: is it alive, and is it
// ready for work?
//
//	h := health.New(client)
//	go http.ListenAndServe("127.0.0.1:9090", h.Handler())
//	err := worker.Run(ctx, worker.Config{Observers: []observe.Worker{h}}, tasks...)
package health

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/observe"
)

// patience is how long a probe waits for Redis. Kubernetes gives a probe one
// second by default.
const patience = 800 * time.Millisecond

// Health knows how the workers of this process are. It is an observe.Worker, and
// safe for concurrent use.
type Health struct {
	observe.NopWorker
	rdb redis.UniversalClient

	mu      sync.Mutex // guards workers
	workers map[observe.WorkerState]bool
}

// New makes a Health that asks rdb, which stays the caller's, whether Redis
// answers.
func New(rdb redis.UniversalClient) *Health {
	return &Health{rdb: rdb, workers: map[observe.WorkerState]bool{}}
}

// StartWorker implements observe.Worker.
func (h *Health) StartWorker(s observe.WorkerState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.workers[s] = true
}

// StopWorker implements observe.Worker.
func (h *Health) StopWorker(s observe.WorkerState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.workers, s)
}

// Ready returns nil when at least one worker runs, none is draining, and Redis
// answers within 0.8 s; otherwise it says what is wrong.
func (h *Health) Ready(ctx context.Context) error {
	if err := h.serving(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// go-redis looks at a context between its attempts, not within one.
	answer := make(chan error, 1)
	go func() { answer <- h.rdb.Ping(ctx).Err() }()
	var err error
	select {
	case err = <-answer:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("not ready: Redis does not answer: %w", err)
	}
	return nil
}

func (h *Health) serving() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.workers) == 0 {
		return errors.New("not ready: no worker runs")
	}
	for w := range h.workers {
		if w.Draining() {
			return fmt.Errorf("not ready: worker %s drains", w.ID())
		}
	}
	return nil
}

// Handler serves /healthz, which answers 200 as long as the process can answer,
// and /readyz, which answers 200 or, with the reason, 503. A liveness probe must
// be /healthz: a Redis that is away is no reason to kill workers.
func (h *Health) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, "alive")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := h.Ready(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ready")
	})
	return mux
}
