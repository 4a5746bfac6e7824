package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// idleLine is what W7 prints: of all workers together.
type idleLine struct {
	W          string  `json:"w"`
	CmdsPerS   float64 `json:"cmds_per_s"`
	CPUPercent float64 `json:"cpu_pct"` // of one core
}

// runIdleWorkers watches the workers that run, or one that it starts.
func runIdleWorkers(ctx context.Context, sys system, s settings) (line any, err error) {
	rdb := dial(s)
	defer rdb.Close()
	pids, err := workers(rdb)
	if err != nil {
		return nil, err
	}
	if len(pids) == 0 {
		child, err := startWorker(ctx, s)
		if err != nil {
			return nil, err
		}
		defer child.stop()
		pids = []int{child.cmd.Process.Pid}
	}
	// The workers have run a call before they are watched, as they would have.
	if err := within(ctx, sys, s, func(c client) error { return warm(ctx, c) }); err != nil {
		return nil, err
	}
	if err := pause(ctx, 3*time.Second); err != nil {
		return nil, err
	}
	cpuBefore, err := cpuOf(pids)
	if err != nil {
		return nil, err
	}
	quiet, err := watchRedis(ctx, rdb, s.watch)
	if err != nil {
		return nil, err
	}
	cpu, err := cpuOf(pids)
	if err != nil {
		return nil, err
	}
	return idleLine{s.w, rounded(quiet.commands, 2), rounded(100*(cpu-cpuBefore).Seconds()/quiet.took.Seconds(), 3)}, nil
}

// quietness is what Redis did in a while.
type quietness struct {
	took     time.Duration
	commands float64 // a second
	cpu      float64 // percent of a core
}

// watchRedis looks at what Redis does for a while.
func watchRedis(ctx context.Context, rdb redis.UniversalClient, d time.Duration) (quietness, error) {
	before, err := usageOf(ctx, rdb)
	if err != nil {
		return quietness{}, err
	}
	if err := pause(ctx, d); err != nil {
		return quietness{}, err
	}
	after, err := usageOf(ctx, rdb)
	if err != nil {
		return quietness{}, err
	}
	took := after.at.Sub(before.at)
	return quietness{
		took:     took,
		commands: float64(after.commands-before.commands-1) / took.Seconds(), // 1: the INFO itself
		cpu:      100 * (after.cpu - before.cpu).Seconds() / took.Seconds(),
	}, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// workers returns the process IDs of the workers on this machine. Each system
// here has asynq servers in its workers, which asynq lists.
func workers(rdb redis.UniversalClient) ([]int, error) {
	servers, err := asynq.NewInspectorFromRedisClient(rdb).Servers()
	if err != nil {
		return nil, fmt.Errorf("listing the workers: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("listing the workers: %w", err)
	}
	var pids []int
	for _, srv := range servers {
		// A worker that was killed stays in the list for a while.
		if srv.Host == host && syscall.Kill(srv.PID, 0) == nil && !slices.Contains(pids, srv.PID) {
			pids = append(pids, srv.PID)
		}
	}
	return pids, nil
}

func cpuOf(pids []int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		cpu, err := processCPU(pid)
		if err != nil {
			return 0, err
		}
		sum += cpu
	}
	return sum, nil
}

// workerProcess is a worker that this process has started.
type workerProcess struct {
	cmd   *exec.Cmd
	ask   io.Writer     // nil unless it is asked
	sizes *json.Decoder // its answers
}

// startWorker starts a worker as a process of its own, which ends with ctx.
func startWorker(ctx context.Context, s settings) (*workerProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program, to start a worker: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, "worker", "-impl", s.impl, "-conc", strconv.Itoa(s.conc), "-queues", strconv.Itoa(max(1, s.queues)), "-count", strconv.Itoa(max(1, s.count)))
	cmd.Env = append(os.Environ(), "REDIS_ADDR="+s.addr)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	// An interrupt typed at the terminal must not reach the child before us.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	w := &workerProcess{cmd: cmd}
	if s.asked {
		cmd.Args = append(cmd.Args, "-asked")
		in, err := cmd.StdinPipe()
		if err != nil {
			return nil, fmt.Errorf("starting a worker: %w", err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, fmt.Errorf("starting a worker: %w", err)
		}
		w.ask, w.sizes = in, json.NewDecoder(out)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a worker: %w", err)
	}
	return w, nil
}

// stop ends the worker with SIGTERM, and with SIGKILL when that does not help.
func (w *workerProcess) stop() error {
	_ = w.cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended
	kill := time.AfterFunc(20*time.Second, func() { _ = w.cmd.Process.Kill() })
	defer kill.Stop()
	var exit *exec.ExitError
	if err := w.cmd.Wait(); errors.As(err, &exit) && !asTold(exit) {
		return fmt.Errorf("a worker ended with %w", err)
	}
	return nil
}

// asTold says whether a process ended by SIGTERM itself, as one does that gets it
// twice: from the end of the context, and from stop.
func asTold(exit *exec.ExitError) bool {
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGTERM
}

// outstandingLine is what W9 prints.
type outstandingLine struct {
	W        string  `json:"w"`
	N        int     `json:"n"`
	CmdsPerS float64 `json:"cmds_per_s"`
	RedisCPU float64 `json:"redis_cpu_pct"` // of one core
	ProdCPU  float64 `json:"prod_cpu_pct"`
}

// runOutstanding watches Redis while calls wait for a worker that does not come,
// and then lets one run them.
func runOutstanding(ctx context.Context, sys system, s settings) (line any, err error) {
	rdb := dial(s)
	defer rdb.Close()
	if err := throughOnce(ctx, sys, s); err != nil {
		return nil, err
	}
	err = within(ctx, sys, s, func(c client) error {
		calls, err := submitAll(ctx, c, square, s.n, s.g)
		if err != nil {
			return err
		}
		// Silent jobs are looked at more often at first.
		if err := pause(ctx, 3*time.Second); err != nil {
			return err
		}
		cpu := ownCPU()
		quiet, err := watchRedis(ctx, rdb, s.watch)
		if err != nil {
			return err
		}
		line = outstandingLine{
			s.w, s.n, rounded(quiet.commands, 2), rounded(quiet.cpu, 2),
			rounded(100*(ownCPU()-cpu).Seconds()/quiet.took.Seconds(), 2),
		}
		return withWorker(ctx, sys, s, func() error { return collectAll(ctx, calls, s.g) })
	})
	return line, err
}
