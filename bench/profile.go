package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
)

// profiled runs f, and writes a profile of it if one was asked for.
func (s settings) profiled(f func() error) (err error) {
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
