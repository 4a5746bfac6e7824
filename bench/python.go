package main

import (
	"context"
	"errors"
	"io"
)

// pythons are the implementations that are Python's own pools.
var pythons []string

func isPython(string) bool { return false }

func runPython(context.Context, settings, io.Writer, io.Writer) error {
	return errors.ErrUnsupported
}
