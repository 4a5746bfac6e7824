package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/distpool/distpool/results"
)

// failure is how a failed call is printed.
type failure struct {
	Task     string       `json:"task"`
	Job      string       `json:"job"`
	Call     int          `json:"call"`
	Kind     results.Kind `json:"kind"`
	Message  string       `json:"message"`
	Type     string       `json:"type,omitempty"`
	Attempts int          `json:"attempts"`
	Worker   string       `json:"worker,omitempty"`
}

func newFailure(e *results.TaskError) failure {
	return failure{
		Task: e.Task, Job: e.Job, Call: e.Call, Kind: e.Kind, Message: e.Message, Type: e.Type,
		Attempts: e.Attempts, Worker: e.Worker,
	}
}

// print prints a line for each call, and more about the failed ones on standard
// error. failed is nil if there are none.
func (a *app) print(values []json.RawMessage, failed *results.MapError) error {
	out := bufio.NewWriter(a.Out)
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	var left []*results.TaskError
	if failed != nil {
		left = failed.Errors
	}
	var errs []error
	for i, value := range values {
		if len(left) > 0 && left[0].Call == i {
			e := left[0]
			left = left[1:]
			errs = append(errs, lines.Encode(map[string]failure{"error": newFailure(e)}))
			a.explain(e)
			continue
		}
		errs = append(errs, lines.Encode(value)) // a value that is nil is null
	}
	if err := errors.Join(append(errs, out.Flush())...); err != nil {
		return &exitError{ExitNoResult, fmt.Errorf("printing the values: %w", err)}
	}
	if failed != nil {
		return &exitError{ExitCallFailed, nil}
	}
	return nil
}

func (a *app) explain(e *results.TaskError) {
	fmt.Fprintf(a.Err, "distpool: %v\n", e)
	if e.Stack != "" {
		fmt.Fprintf(a.Err, "stack, from worker %s:\n%s\n", e.Worker, strings.TrimSpace(e.Stack))
	}
}
