package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
)

const (
	restartPause = time.Second
	// stopTime is how long a child may take to end before it is killed.
	stopTime = lastResort + 2*time.Second
)

// launch starts everything on this machine: what a service manager does elsewhere.
// It returns once ctx has ended and all children have.
func launch(ctx context.Context, o options, url string) error {
	if url == "" {
		server, err := miniredis.Run()
		if err != nil {
			return fmt.Errorf("starting the embedded Redis: %w", err)
		}
		defer server.Close()
		url = "redis://" + server.Addr()
	}
	// Asked before the children are: they would be started again and again.
	free, err := net.Listen("tcp", o.addr)
	if err != nil {
		return fmt.Errorf("%w; -addr names another address", err)
	}
	free.Close()
	program, err := os.Executable()
	if err != nil {
		return err
	}
	var children sync.WaitGroup
	start := func(args ...string) {
		children.Go(func() { keepRunning(ctx, program, url, append(args, "-child")) })
	}
	start("-web-only", "-addr", o.addr, "-keep", o.keep.String())
	for range o.workers {
		start("-worker-only", "-slots", strconv.Itoa(o.slots))
	}
	children.Wait()
	return nil
}

// keepRunning runs a child, and starts it again when it ends, until ctx does.
func keepRunning(ctx context.Context, program, url string, args []string) {
	for {
		err := runChild(ctx, program, url, args)
		if ctx.Err() != nil {
			return
		}
		fmt.Fprintf(os.Stderr, "webapp: the process %s ended (%v); starting it again\n", args[0], err)
		select {
		case <-time.After(restartPause):
		case <-ctx.Done():
			return
		}
	}
}

func runChild(ctx context.Context, program, url string, args []string) error {
	c := exec.CommandContext(ctx, program, args...)
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = stopTime
	// By the environment: anybody may read a command line, and the address may have a
	// password in it.
	c.Env = append(os.Environ(), "REDIS_URL="+url)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	stdin, err := c.StdinPipe() // held open while this process lives
	if err != nil {
		return err
	}
	defer stdin.Close()
	return c.Run()
}
