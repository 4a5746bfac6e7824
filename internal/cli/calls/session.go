package calls

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/cli/console"
	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/keyfile"
	"github.com/distpool/distpool/internal/lanes"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/secure"
	"github.com/distpool/distpool/tasks"
)

// session is an open pool, with its client.
type session struct {
	*console.App
	in   *inspect.Inspector
	rdb  redis.UniversalClient
	pool *producer.Pool
	ring secure.Keyring
}

// withPool calls f with a pool of the Redis that the flags name, which it then lets go
// of: jobs that are not over go on. The context that f gets ends with the time of
// --timeout.
func withPool(ctx context.Context, a *console.App, ring secure.Keyring, f func(ctx context.Context, s *session) error) error {
	return a.Look(ctx, func(ctx context.Context, in *inspect.Inspector, rdb redis.UniversalClient) error {
		pool, err := producer.Open(ctx, producer.Config{
			Client: rdb, Queue: a.Queue, Keyring: ring,
			Logger: slog.New(slog.NewTextHandler(a.Err, &slog.HandlerOptions{Level: slog.LevelWarn})),
		})
		if err != nil {
			return err
		}
		defer pool.Release()
		return f(ctx, &session{a, in, rdb, pool, ring})
	})
}

// found is a job as it is read, with its task.
type found struct {
	job.Snapshot
	queue string
	label string // its task's name
	task  *console.RawTask
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
func (s *session) declare(name, codec string) (*console.RawTask, error) {
	encrypted := keyfile.Encrypted(s.ring)
	switch {
	case codec == tasks.JSON.Name():
		return console.DeclareTask(name)
	case codec != encrypted.Name():
		return nil, fmt.Errorf("its arguments and values are encoded with codec %q; the command line reads %q and %q only", codec, tasks.JSON.Name(), encrypted.Name())
	case s.ring.IsZero():
		return nil, fmt.Errorf("it is encrypted; give its keys with --keyring or $%s", keyfile.Env)
	}
	return console.DeclareTask(name, tasks.WithCodec(encrypted))
}
