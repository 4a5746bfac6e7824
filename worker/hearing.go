package worker

import (
	"context"
	"strings"
	"time"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/listen"
)

const (
	// hearAgain is the time between two looks for new lanes.
	hearAgain = 5 * time.Second
	// hearSilence is how long a subscription may be silent before it is asked whether it stands. An
	// idle worker sends few commands; what it does not hear of it learns with its next beat.
	hearSilence = 10 * time.Second
)

// hear hears of jobs that ended before their time, and of deliveries that an operator cancels with
// asynq's tools, until ctx ends. It cancels their calls and jobs.
func (w *worker) hear(ctx context.Context) {
	ends := listen.New(listen.Config{
		Redis: w.rdb, Silence: hearSilence,
		Message: func(channel, payload string) {
			name, gen, _ := strings.Cut(payload, " ")
			for _, lane := range w.lanes() {
				if job.ControlChannel(lane) == channel {
					w.handler.Ended(lane, job.Ref{Name: name, Gen: gen})
				}
			}
		},
		Refused: func(err error) {
			w.log.Debug("this user may not subscribe to the control channels of its queues; jobs that end are found by polling", "error", err)
		},
	})
	defer ends.Close()
	cancels := listen.New(listen.Config{
		Redis: w.rdb, Silence: hearSilence,
		Message: func(_, task string) { w.handler.Cancel(task, "its delivery was canceled with asynq's tools") },
		Refused: func(err error) {
			w.log.Warn("this user may not subscribe to asynq:cancel, so asynq's tools cannot cancel deliveries here; canceling jobs works without it", "error", err)
		},
	})
	defer cancels.Close()
	cancels.Add(asynqfmt.CancelChannel)
	for {
		for _, lane := range w.lanes() {
			ends.Add(job.ControlChannel(lane))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(hearAgain):
		}
	}
}
