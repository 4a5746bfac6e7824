// Command webapp is a producer in a web application: it takes an upload of texts
// and pictures, maps a task over them on worker processes, and shows progress and
// results as they come, in any number of browsers. Run it with
//
//	go run ./examples/webapp
//
// which starts a web process and two worker processes, on an embedded Redis unless
// REDIS_URL names one. A process that dies is started again; jobs survive that,
// since they live in Redis. DISTPOOL_KEYRING names a file of keys to sign jobs with
// (docs/security.md). To run the parts by hand, on one Redis:
//
//	REDIS_URL=redis://127.0.0.1:6379 go run ./examples/webapp -web-only
//	REDIS_URL=redis://127.0.0.1:6379 go run ./examples/webapp -worker-only
//
//examples:serves
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/distpool/distpool/examples/webapp/inspect"
	"github.com/distpool/distpool/secure"
	"github.com/distpool/distpool/worker"
)

type options struct {
	addr                string
	webOnly, workerOnly bool
	workers, slots      int
	keep                time.Duration
	sample              string
	child               bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "webapp:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.child {
		ctx = whileParentLives(ctx)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	url := os.Getenv("REDIS_URL")
	switch {
	case o.sample != "":
		return writeSample(o.sample)
	case o.webOnly || o.workerOnly:
		if url == "" {
			url = "redis://127.0.0.1:6379"
		}
		ring, err := keyring()
		if err != nil {
			return err
		}
		if o.webOnly {
			return serve(ctx, o.addr, url, ring, o.keep, log)
		}
		return worker.Run(ctx, worker.Config{Redis: url, Keyring: ring, Concurrency: o.slots, Grace: workerGrace, Logger: log}, inspect.Task)
	default:
		return launch(ctx, o, url)
	}
}

// keyring reads the keys with which this program signs jobs and outcomes, and
// outside of which it trusts none; no keys when the environment names no file.
func keyring() (secure.Keyring, error) {
	path := os.Getenv("DISTPOOL_KEYRING")
	if path == "" {
		return secure.Keyring{}, nil
	}
	return secure.ReadKeyring(path)
}

func parse(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("webapp", flag.ContinueOnError)
	fs.StringVar(&o.addr, "addr", "127.0.0.1:8321", "`address` of the web process. There are no passwords: keep it on this machine")
	fs.BoolVar(&o.webOnly, "web-only", false, "run the web process alone, on the Redis of REDIS_URL")
	fs.BoolVar(&o.workerOnly, "worker-only", false, "run a worker alone, on the Redis of REDIS_URL")
	fs.IntVar(&o.workers, "workers", 2, "`number` of worker processes to start")
	fs.IntVar(&o.slots, "slots", 1, "files that a worker works on at the same time")
	fs.DurationVar(&o.keep, "keep", 2*time.Hour, "how long results are kept after the end of a job")
	fs.StringVar(&o.sample, "sample", "", "write an archive to try uploads with to this `file`, and end")
	fs.BoolVar(&o.child, "child", false, "end when standard input does (for processes that this program starts)")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	switch {
	case fs.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q; webapp -h lists the flags", fs.Arg(0))
	case o.webOnly && o.workerOnly:
		return o, errors.New("-web-only and -worker-only exclude each other; use neither to run both")
	case o.workers < 0 || o.slots < 1:
		return o, fmt.Errorf("-workers is %d and -slots is %d; use 0 or more workers, of 1 or more slots", o.workers, o.slots)
	case o.keep < time.Millisecond:
		return o, fmt.Errorf("-keep is %v; use a positive duration, such as 2h", o.keep)
	}
	return o, nil
}

const (
	workerGrace = 5 * time.Second
	// lastResort is when a child is gone for certain after its parent: a worker that
	// drains would wait for a Redis that has gone with it.
	lastResort = endTime + 5*time.Second
)

// whileParentLives ends the context, and soon the process, when standard input
// ends: the parent holds the other end of it, and lets go however it dies.
func whileParentLives(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	context.AfterFunc(ctx, func() {
		time.AfterFunc(lastResort, func() {
			os.Exit(1) //revive:disable-line:deep-exit nothing else ends a drain that hangs
		})
	})
	return ctx
}
