package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal, the next one has its usual effect.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// The exit codes.
const (
	exitOK = iota
	exitFailed
	exitUsage
)

// usageError is an error of whoever called the program.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

const usage = `bench measures distpool beside its peers.

  bench worker [-conc C] [-impl I] [-queues Q]             a worker, until SIGTERM
  bench run W [-n N] [-conc C] [-g G] [-chunk K] [-impl I]  one measurement, W is W1 to W12
  bench compare [-n N] [-rounds R] [-only REGEXP]          all of them, with a Redis of its own
  bench watch [-rounds R] [-for D] [-browsers B]           what the monitor costs, with a Redis of its own
  bench growth [-for D] [-only REGEXP]                     what grows, and what does not, with a Redis of its own

worker and run use the Redis that REDIS_ADDR names (host:port). -h after a command lists its flags.
`

// run is the program.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return exitUsage
	}
	commands := map[string]func(context.Context, []string, io.Writer, io.Writer) error{
		"worker": workerCommand, "run": runCommand, "compare": compareCommand,
		"watch": watchCommand, "monitor": webMonitorCommand, "growth": growthCommand,
	}
	command, ok := commands[args[0]]
	if !ok {
		fmt.Fprint(stderr, usage)
		if strings.TrimLeft(args[0], "-") == "h" || strings.TrimLeft(args[0], "-") == "help" {
			return exitOK
		}
		return exitUsage
	}
	switch err := command(ctx, args[1:], stdout, stderr); {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &usageError{}):
		fmt.Fprintf(stderr, "bench %s: %v\n", args[0], err)
		return exitUsage
	default:
		fmt.Fprintf(stderr, "bench %s: %v\n", args[0], err)
		return exitFailed
	}
}

// settings are what the flags and the environment say.
type settings struct {
	addr   string // of Redis, host:port
	impl   string
	conc   int  // slots of a worker
	queues int  // that a worker serves
	count  int  // workers of one process
	asked  bool // a worker answers each line of its standard input with its size

	w     string // the workload
	n     int
	g     int
	gSet  bool // -g was given
	chunk int
	size  int
	watch time.Duration

	profile       string // file for a profile of this process's processor time
	memoryProfile string // and for one of its allocations
}

// parse reads the flags that args hold; define names them.
func (s *settings) parse(fs *flag.FlagSet, args []string, stderr io.Writer) error {
	fs.SetOutput(stderr)
	fs.IntVar(&s.conc, "conc", 10, "`slots` of a worker")
	fs.StringVar(&s.impl, "impl", "distpool", "what is measured: "+strings.Join(implementations(), ", "))
	fs.StringVar(&s.profile, "cpuprofile", "", "`file` for a profile of this process's processor time, for go tool pprof")
	fs.StringVar(&s.memoryProfile, "memprofile", "", "`file` for a profile of what this process allocates; how much in all goes to standard error")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return usageError{err}
	}
	fs.Visit(func(f *flag.Flag) { s.gSet = s.gSet || f.Name == "g" })
	if fs.NArg() > 0 {
		return usagef("unexpected argument %q; -h lists the flags", fs.Arg(0))
	}
	if s.conc < 1 {
		return usagef("-conc is %d; use 1 or more slots", s.conc)
	}
	if s.addr = os.Getenv("REDIS_ADDR"); s.addr == "" && !isPython(s.impl) {
		return usagef("the environment variable REDIS_ADDR is not set; set it to the host:port of a Redis that may be filled, such as 127.0.0.1:6379")
	}
	return nil
}

func workerCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var s settings
	fs := flag.NewFlagSet("bench worker", flag.ContinueOnError)
	fs.IntVar(&s.queues, "queues", 1, "number of `queues` to serve; calls come in the first one")
	fs.IntVar(&s.count, "count", 1, "`workers` in this process")
	fs.BoolVar(&s.asked, "asked", false, "answer each line of standard input with the size of this process")
	if err := s.parse(fs, args, stderr); err != nil {
		return err
	}
	if s.queues < 1 || s.count < 1 {
		return usagef("-queues %d, -count %d: use 1 or more", s.queues, s.count)
	}
	sys, err := findSystem(s.impl)
	if err != nil {
		return err
	}
	if s.asked {
		go tellSize(os.Stdin, stdout)
	}
	return s.profiled(stderr, func() error {
		return spread(ctx, s.count, s.count, func(ctx context.Context, _, _ int) error { return sys.work(ctx, s) })
	})
}

func runCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var s settings
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		s.w, args = args[0], args[1:]
	}
	fs := flag.NewFlagSet("bench run", flag.ContinueOnError)
	fs.IntVar(&s.n, "n", 0, "`number` of calls (default: the workload's own)")
	fs.IntVar(&s.g, "g", 64, "`goroutines` that submit single calls")
	fs.IntVar(&s.chunk, "chunk", 0, "`calls` of a map that travel together; 0 is automatic")
	fs.IntVar(&s.size, "size", 1<<20, "W10: `bytes` of a value")
	fs.DurationVar(&s.watch, "for", 10*time.Second, "W7, W9: how long to watch")
	if err := s.parse(fs, args, stderr); err != nil {
		return err
	}
	w, ok := workloads[s.w]
	switch {
	case !ok:
		return usagef("the workload is %q; name one of W1 to W12 first, as in: bench run W1 -n 20000", s.w)
	case s.n < 0, s.g < 1, s.chunk < 0, s.size < 1, s.watch < time.Second:
		return usagef("-n %d, -g %d, -chunk %d, -size %d, -for %v: -n and -chunk cannot be negative, -g and -size must be 1 or more, -for 1s or more", s.n, s.g, s.chunk, s.size, s.watch)
	}
	if s.n == 0 {
		s.n = w.n
	}
	if isPython(s.impl) {
		return runPython(ctx, s, stdout, stderr)
	}
	sys, err := findSystem(s.impl)
	if err != nil {
		return err
	}
	var line any
	err = s.profiled(stderr, func() (err error) {
		line, err = w.run(ctx, sys, s)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s of %s: %w", s.w, s.impl, err)
	}
	return json.NewEncoder(stdout).Encode(line)
}
