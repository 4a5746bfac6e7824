package main

import (
	"context"
	_ "embed" // the program
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// pythons are the implementations that are Python's own pools. They have no
// worker command: the processes are the pool's.
var pythons = []string{"python-pool", "python-threadpool"}

func isPython(impl string) bool { return slices.Contains(pythons, impl) }

//go:embed pool.py
var poolProgram string

// runPython lets Python measure itself.
func runPython(ctx context.Context, s settings, stdout, stderr io.Writer) error {
	python, err := exec.LookPath("python3")
	if err != nil {
		return fmt.Errorf("%s needs a python3 in PATH: %w", s.impl, err)
	}
	args := []string{"-c", poolProgram, s.w, "-impl", s.impl, "-n", strconv.Itoa(s.n), "-conc", strconv.Itoa(s.conc), "-chunk", strconv.Itoa(s.chunk)}
	if s.gSet {
		args = append(args, "-g", strconv.Itoa(s.g))
	}
	cmd := exec.CommandContext(ctx, python, args...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	// The pool's processes are in its group, and shall end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		if cmd.Process != nil {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it has left behind, if anything
		}
		return fmt.Errorf("%s of %s: python3: %w", s.w, s.impl, err)
	}
	return nil
}
