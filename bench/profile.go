package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
)

// profiled runs f, and writes the profiles of it that were asked for.
func (s settings) profiled(log io.Writer, f func() error) error {
	return s.processorProfiled(func() error { return s.memoryProfiled(log, f) })
}

func (s settings) processorProfiled(f func() error) (err error) {
	if s.profile == "" {
		return f()
	}
	file, err := os.Create(s.profile)
	if err != nil {
		return fmt.Errorf("-cpuprofile: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := pprof.StartCPUProfile(file); err != nil {
		return fmt.Errorf("-cpuprofile: %w", err)
	}
	defer pprof.StopCPUProfile()
	return f()
}

// memoryProfiled also says on log how much was allocated in all, since a profile is a
// sample.
func (s settings) memoryProfiled(log io.Writer, f func() error) (err error) {
	if s.memoryProfile == "" {
		return f()
	}
	file, err := os.Create(s.memoryProfile)
	if err != nil {
		return fmt.Errorf("-memprofile: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := f(); err != nil {
		return err
	}
	runtime.ReadMemStats(&after)
	fmt.Fprintf(log, "allocated: %d objects, %d bytes\n", after.Mallocs-before.Mallocs, after.TotalAlloc-before.TotalAlloc)
	if err := pprof.Lookup("allocs").WriteTo(file, 0); err != nil {
		return fmt.Errorf("-memprofile: %w", err)
	}
	return nil
}
