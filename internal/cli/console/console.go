// Package console is what the commands of the distpool program share: standard
// streams and flags (App), exit codes, tables and JSON, and what a shell completes.
package console

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/keyfile"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/redisconn"
	"github.com/distpool/distpool/secure"
)

// Streams are the program's standard streams.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// App is one run of the program: its streams, and the flags that all commands have.
type App struct {
	Streams
	Redis   string
	Queue   string
	Timeout time.Duration // 0: none

	keyring string  // see package keyfile
	out     *output // Out, as it was opened
}

// New returns an App whose streams remember whether they could be written to.
func New(s Streams) *App {
	out := newOutput(s.Out, false)
	return &App{Streams: Streams{In: s.In, Out: out, Err: newOutput(s.Err, true)}, out: out}
}

// AddFlags gives the root command the flags of all commands.
func (a *App) AddFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&a.Redis, "redis", "", "URL of the Redis to use (default $REDIS_URL, or redis://127.0.0.1:6379)")
	f.StringVar(&a.keyring, "keyring", "", "file of keys: sign jobs, believe only outcomes that are signed, show what is encrypted (default $"+keyfile.Env+")")
	f.StringVar(&a.Queue, "queue", names.DefaultQueue, "queue to send the job to, and of a job that is named without its queue")
	f.DurationVar(&a.Timeout, "timeout", 0, "how long to wait, such as 30s; 0 waits for ever")
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return a.checkFlags() }
	a.CompleteFlag(root, "queue", QueueWords)
}

func (a *App) checkFlags() error {
	if err := names.CheckQueue(a.Queue); err != nil {
		return Usagef("--queue: %w", err)
	}
	if a.Timeout < 0 {
		return Usagef("--timeout is %v; use a positive duration, or 0 to wait for ever", a.Timeout)
	}
	return nil
}

// Limit returns a context that ends when the time of --timeout is over.
func (a *App) Limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.Timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, a.Timeout)
}

// Keys reads the keyring that the flag or the environment names.
func (a *App) Keys() (secure.Keyring, error) {
	ring, warning, err := keyfile.Load(a.keyring)
	if err != nil {
		return ring, Usage(err)
	}
	if warning != "" {
		fmt.Fprintf(a.Err, "distpool: warning: %s\n", warning)
	}
	return ring, nil
}

// Look calls f with an inspector of the Redis that the flags name. The context
// that f gets ends with the time of --timeout.
func (a *App) Look(ctx context.Context, f func(ctx context.Context, in *inspect.Inspector, rdb redis.UniversalClient) error) error {
	ctx, cancel := a.Limit(ctx)
	defer cancel()
	rdb, err := redisconn.Open(ctx, a.Redis)
	if err != nil {
		return NoResult(err)
	}
	defer func() { _ = rdb.Close() }()
	if err := f(ctx, inspect.New(rdb), rdb); err != nil {
		return NoResult(err)
	}
	return nil
}

// OneID wants the ID of a job, and nothing else.
func OneID(cmd *cobra.Command, args []string) error {
	if err := cobra.ExactArgs(1)(cmd, args); err != nil {
		return err
	}
	if _, err := names.ParseAddress(args[0], names.DefaultQueue); err != nil {
		return fmt.Errorf("%s: %w", cmd.Name(), err)
	}
	return nil
}

// AddressWidth is the length of the longest ID of a job.
const AddressWidth = 201

// Address completes a job's ID that a person typed: a bare name is of the queue of --queue.
func (a *App) Address(word string) string {
	full, err := names.ParseAddress(word, a.Queue)
	if err != nil {
		return word // no job has this ID: the command that looks for it says so
	}
	return full.String()
}
