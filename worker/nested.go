package worker

import (
	"context"
	"log/slog"

	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/nested"
	"github.com/distpool/distpool/internal/record"
)

// Chunk names the chunk to the waits of its calls.
func (r *chunkRun) Chunk() (job string, chunk int) { return r.delivery.Job, r.delivery.Chunk }

// Logger returns the chunk's log.
func (r *chunkRun) Logger() *slog.Logger { return r.logger() }

// Wait begins a wait of a call for a nested job.
func (r *chunkRun) Wait(index int, j nested.Job) (deadlock <-chan error, end func()) {
	return r.worker.waits.Begin(r, index, j)
}

// EndWaits ends the waits of the call that has ended.
func (r *chunkRun) EndWaits() { r.worker.waits.EndAll(r) }

// detector finds waits of this worker in deadlocks.
func (w *worker) detector() *nested.Detector {
	return &nested.Detector{
		Worker: w.self.ID, Waits: &w.waits, Lifetime: fleet.Lifetime, Logger: w.log,
		Workers: func(ctx context.Context) ([]nested.Worker, error) {
			live, err := fleet.Workers(ctx, w.rdb)
			workers := make([]nested.Worker, len(live))
			for i, o := range live {
				workers[i] = nested.Worker{ID: o.ID, Slots: o.Concurrency, Held: o.Held, Runs: o}
			}
			return workers, err
		},
		Left: func(ctx context.Context, jobs []string) (map[string]int, error) { return record.ChunksLeft(ctx, w.rdb, jobs) },
	}
}
