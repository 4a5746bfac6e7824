package worker

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/job"
)

// hearAgain is the time between two tries to subscribe, and between two looks for new lanes.
const hearAgain = 5 * time.Second

// hearEnds hears of jobs that ended before their time, and cancels their calls.
func (w *worker) hearEnds(ctx context.Context) {
	channels := func() (all []string) {
		for _, lane := range w.lanes() {
			all = append(all, job.ControlChannel(lane))
		}
		return all
	}
	refused := func(err error) {
		w.log.Debug("this user may not subscribe to the control channels of its queues; jobs that end are found by polling", "error", err)
	}
	w.hear(ctx, channels, refused, func(m *redis.Message) {
		name, gen, _ := strings.Cut(m.Payload, " ")
		for _, lane := range w.lanes() {
			if job.ControlChannel(lane) == m.Channel {
				w.handler.Ended(lane, job.Ref{Name: name, Gen: gen})
			}
		}
	})
}

// hearCancels hears of deliveries that an operator cancels with asynq's tools, and cancels their
// jobs.
func (w *worker) hearCancels(ctx context.Context) {
	channel := func() []string { return []string{asynqfmt.CancelChannel} }
	refused := func(err error) {
		w.log.Warn("this user may not subscribe to asynq:cancel, so asynq's tools cannot cancel deliveries here; canceling jobs works without it", "error", err)
	}
	w.hear(ctx, channel, refused, func(m *redis.Message) {
		w.handler.Cancel(m.Payload, "its delivery was canceled with asynq's tools")
	})
}

// hear calls f with the messages of channels, of which there may be more each time, until ctx ends.
// Where the user has no right to them, refused is called once.
func (w *worker) hear(ctx context.Context, channels func() []string, refused func(error), f func(*redis.Message)) {
	for ctx.Err() == nil {
		err := w.hearOnce(ctx, channels, f)
		if err == nil {
			continue
		}
		if strings.Contains(err.Error(), "NOPERM") {
			refused(err)
			refused = func(error) {}
		}
		select {
		case <-ctx.Done():
		case <-time.After(hearAgain):
		}
	}
}

// hearOnce is hear until the subscription fails, or the channels are others.
func (w *worker) hearOnce(ctx context.Context, channels func() []string, f func(*redis.Message)) error {
	known := channels()
	sub := w.rdb.Subscribe(ctx, known...)
	defer func() { _ = sub.Close() }()
	if _, err := sub.Receive(ctx); err != nil { // a refusal comes as the first answer
		return err
	}
	messages := sub.Channel(redis.WithChannelHealthCheckInterval(10 * time.Second))
	look := time.NewTicker(hearAgain)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m, ok := <-messages:
			if !ok {
				return redis.ErrClosed
			}
			f(m)
		case <-look.C:
			if !slices.Equal(known, channels()) {
				return nil
			}
		}
	}
}
