package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/progress"
	"github.com/distpool/distpool/internal/redisconn"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

// session is an open pool, with its client.
type session struct {
	app  *app
	rdb  redis.UniversalClient
	pool *producer.Pool
}

func (a *app) open(ctx context.Context) (*session, error) {
	s := &session{app: a}
	var err error
	if s.rdb, err = redisconn.Open(ctx, a.flags.redis); err != nil {
		return nil, err
	}
	s.pool, err = producer.Open(ctx, producer.Config{
		Client: s.rdb, Queue: a.flags.queue, Logger: slog.New(slog.NewTextHandler(a.Err, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		_ = s.rdb.Close()
		return nil, err
	}
	return s, nil
}

// leave lets go of Redis without a word to the jobs, which go on.
func (s *session) leave() {
	s.pool.Release()
	_ = s.rdb.Close()
}

// waiting says what is waited for.
type waiting struct {
	label string // the task's name
	queue string
	ours  bool // the job is ours to cancel
}

// finish waits for the job, prints its outcomes and ends the session.
func (s *session) finish(ctx context.Context, m *results.MapResult[json.RawMessage], w waiting) error {
	s.wait(ctx, m, w)
	values, err := m.Get(ctx)
	failed, _ := errors.AsType[*results.MapError](err)
	if err != nil && failed == nil {
		return s.abandon(ctx, m, w, err)
	}
	s.pool.Close()
	if jerr := s.pool.Join(context.WithoutCancel(ctx)); jerr != nil {
		return noResult(jerr)
	}
	_ = s.rdb.Close()
	return s.app.print(values, failed)
}

// abandon ends the session on a job whose outcomes did not come.
func (s *session) abandon(ctx context.Context, m *results.MapResult[json.RawMessage], w waiting, err error) error {
	defer s.leave()
	switch {
	case ctx.Err() == nil: // the job is over, without outcomes
		return noResult(fmt.Errorf("job %s: %w", m.ID(), err))
	case w.ours && !errors.Is(err, results.ErrTimeout):
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelLimit)
		defer cancel()
		if cerr := m.Cancel(limited); cerr != nil {
			return noResult(fmt.Errorf("interrupted, but canceling job %s failed, so it goes on: %w", m.ID(), cerr))
		}
		return noResult(fmt.Errorf("interrupted: job %s was canceled", m.ID()))
	}
	p := m.Progress()
	return noResult(fmt.Errorf("%w (%d of %d calls are over); the job goes on: distpool get %s", err, p.Done, p.Calls, m.ID()))
}

const cancelLimit = 5 * time.Second

// patience is how long no worker may serve the queue before that is said.
const patience = 2 * time.Second

// wait waits, and shows on standard error what there is to know meanwhile.
func (s *session) wait(ctx context.Context, m *results.MapResult[json.RawMessage], w waiting) {
	say := func(text string) { fmt.Fprintln(s.app.Err, text) }
	show := func(results.Progress) {}
	if calls := m.Progress().Calls; calls > 1 && progress.IsTerminal(s.app.Err) {
		meter := progress.Bar(s.app.Err, w.label, calls)
		defer meter.End()
		say, show = meter.Say, meter.Show
	}
	served, said := time.Now(), false
	for p := range m.Watch(ctx) {
		show(p)
		if !p.NoWorker {
			served = time.Now()
		}
		if !said && time.Since(served) >= patience {
			said = true
			say(fmt.Sprintf("distpool: no worker serves queue %q; the job waits for one (an interrupt ends the waiting)", w.queue))
		}
	}
}
