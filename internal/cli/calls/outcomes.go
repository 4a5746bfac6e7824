package calls

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/distpool/distpool/internal/cli/console"
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

// callLine is the outcome of a call as an object.
type callLine struct {
	Job   string           `json:"job,omitempty"`
	Call  int              `json:"call"`
	Of    *int             `json:"of,omitempty"` // its index in the job that it was retried from
	Value *json.RawMessage `json:"value,omitempty"`
	Error *failure         `json:"error,omitempty"`
}

// form says how outcomes of calls are printed.
type form struct {
	asJSON bool   // as objects, which say which call they are of
	job    string // in these; "" leaves it out
	of     []int  // see callLine; nil: the job is no retry
}

const callsJSONHelp = `
With --json each line is an object with the members job, call (counted from 0),
and value or error.`

// outcomes prints outcomes of calls, one a line, and more about failed ones on
// standard error.
type outcomes struct {
	app    *console.App
	form   form
	out    io.Writer
	lines  *json.Encoder
	failed bool // some call
}

func newOutcomes(a *console.App, out io.Writer, f form) *outcomes {
	o := &outcomes{app: a, form: f, out: out, lines: json.NewEncoder(out)}
	o.lines.SetEscapeHTML(false)
	return o
}

// print prints the outcome of a call. A value that is nil is null.
func (o *outcomes) print(call int, value json.RawMessage, failed *results.TaskError) error {
	if failed != nil {
		o.failed = true
		fmt.Fprintf(o.app.Err, "distpool: %v\n", failed)
		if failed.Stack != "" {
			fmt.Fprintf(o.app.Err, "stack, from worker %s:\n%s\n", failed.Worker, strings.TrimSpace(failed.Stack))
		}
	}
	if o.form.asJSON {
		l := callLine{Job: o.form.job, Call: call}
		if o.form.of != nil {
			l.Of = &o.form.of[call]
		}
		if failed != nil {
			f := newFailure(failed)
			l.Error = &f
		} else {
			l.Value = &value
		}
		return o.lines.Encode(l)
	}
	if o.form.of != nil {
		if _, err := fmt.Fprintf(o.out, "%d\t", o.form.of[call]); err != nil {
			return err
		}
	}
	if failed != nil {
		return o.lines.Encode(map[string]failure{"error": newFailure(failed)})
	}
	return o.lines.Encode(value)
}

// printAll prints a line for each call. failed is nil if no call failed.
func printAll(a *console.App, values []json.RawMessage, failed *results.MapError, f form) error {
	out := bufio.NewWriter(a.Out)
	lines := newOutcomes(a, out, f)
	var left []*results.TaskError
	if failed != nil {
		left = failed.Errors
	}
	var errs []error
	for i, value := range values {
		var e *results.TaskError
		if len(left) > 0 && left[0].Call == i {
			e, left = left[0], left[1:]
		}
		errs = append(errs, lines.print(i, value, e))
	}
	if err := console.Printed(errors.Join(append(errs, out.Flush())...)); err != nil {
		return err
	}
	if failed != nil {
		return console.CallFailed(nil)
	}
	return nil
}

// printID prints the ID of a job that is not waited for.
func printID(a *console.App, id string, asJSON bool) error {
	if !asJSON {
		_, err := fmt.Fprintln(a.Out, id)
		return console.Printed(err)
	}
	return console.Printed(json.NewEncoder(a.Out).Encode(map[string]string{"job": id}))
}
