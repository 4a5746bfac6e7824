package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/cli/progress"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/keyfile"
	"github.com/distpool/distpool/internal/lanes"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/redisconn"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/secure"
	"github.com/distpool/distpool/tasks"
)

// session is an open pool, with its client.
type session struct {
	app  *app
	rdb  redis.UniversalClient
	pool *producer.Pool
	ring secure.Keyring
}

func (a *app) open(ctx context.Context) (*session, error) {
	ring, err := a.keys()
	if err != nil {
		return nil, err
	}
	s := &session{app: a, ring: ring}
	if s.rdb, err = redisconn.Open(ctx, a.flags.redis); err != nil {
		return nil, noResult(err)
	}
	s.pool, err = producer.Open(ctx, producer.Config{
		Client: s.rdb, Queue: a.flags.queue, Keyring: ring,
		Logger: slog.New(slog.NewTextHandler(a.Err, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		_ = s.rdb.Close()
		return nil, noResult(err)
	}
	return s, nil
}

// keys reads the keyring that the flag or the environment names.
func (a *app) keys() (secure.Keyring, error) {
	ring, warning, err := keyfile.Load(a.flags.keyring)
	if err != nil {
		return ring, usage(err)
	}
	if warning != "" {
		fmt.Fprintf(a.Err, "distpool: warning: %s\n", warning)
	}
	return ring, nil
}

// found is a job as it is read, with its task.
type found struct {
	job.Snapshot
	queue string
	label string // its task's name
	task  *rawTask
}

// find reads the job with this address.
func (s *session) find(ctx context.Context, id string) (f found, err error) {
	a := names.SplitAddress(id)
	f.queue = a.Queue
	lane, err := lanes.NewRouter(s.rdb).Reading().Find(ctx, a.Queue, a.Name)
	if err == nil {
		f.Snapshot, err = job.Read(ctx, s.rdb, lane, a.Name)
	}
	if err == nil && f.State == job.Gone {
		err = results.ErrUnknownJob
	}
	if err == nil {
		f.label = f.About.Task
		f.task, err = s.declare(f.About.Task, f.About.Codec)
	}
	if err != nil {
		return f, fmt.Errorf("job %s: %w", id, err)
	}
	return f, nil
}

// declare makes the task of a job whose codec has this name.
func (s *session) declare(name, codec string) (*rawTask, error) {
	encrypted := keyfile.Encrypted(s.ring)
	switch {
	case codec == tasks.JSON.Name():
		return declare(name)
	case codec != encrypted.Name():
		return nil, fmt.Errorf("its arguments and values are encoded with codec %q; the command line reads %q and %q only", codec, tasks.JSON.Name(), encrypted.Name())
	case s.ring.IsZero():
		return nil, fmt.Errorf("it is encrypted; give its keys with --keyring or $%s", keyfile.Env)
	}
	return declare(name, tasks.WithCodec(encrypted))
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
	named bool // its ID has been printed
	form  form
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
	w.form.job = m.ID()
	return s.app.print(values, failed, w.form)
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
	return noResult(fmt.Errorf("%w (%d of %d calls are over); to wait again: distpool get %s", err, p.Done, p.Calls, m.ID()))
}

// idLine tells the ID of a job that is waited for, in case this program is killed.
func idLine(id string) string { return "distpool: job " + id }

const cancelLimit = 5 * time.Second

// quiet is how long there are no lines of progress where there is no terminal:
// scripts want silence, and logs of what takes long something to look at.
const quiet = 10 * time.Second

// patience is how long no worker may serve the queue before that is said.
const patience = 2 * time.Second

// wait waits, and shows on standard error what there is to know meanwhile.
func (s *session) wait(ctx context.Context, m *results.MapResult[json.RawMessage], w waiting) {
	say := func(text string) { fmt.Fprintln(s.app.Err, text) }
	show := func(results.Progress) {}
	began, said := time.Now(), false
	served := began
	switch calls := m.Progress().Calls; {
	case calls > 1 && progress.IsTerminal(beneath(s.app.Err)):
		meter := progress.Bar(beneath(s.app.Err), w.label, calls)
		defer meter.End()
		say, show = meter.Say, meter.Show
	case calls > 1:
		meter := progress.Lines(s.app.Err, w.label, calls)
		show = func(p results.Progress) {
			if time.Since(began) >= quiet {
				meter.Show(p)
			}
		}
	}
	for p := range m.Watch(ctx) {
		show(p)
		if !p.NoWorker {
			served = time.Now()
		}
		if w.ours && !w.named && time.Since(began) >= patience {
			w.named = true
			say(idLine(m.ID()))
		}
		if !said && time.Since(served) >= patience {
			said = true
			say(fmt.Sprintf("distpool: no worker serves queue %q; the job waits for one (an interrupt ends the waiting)", w.queue))
		}
	}
}
