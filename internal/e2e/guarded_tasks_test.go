package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/distpool/distpool/observe"
	"github.com/distpool/distpool/tasks"
)

// Tasks and observers with code that misbehaves, outside of the task's function.

// The ways to misbehave.
const (
	badPanic  = "panic"
	badGoexit = "goexit"
	badBlock  = "block"
	badSelf   = "self" // an Unwrap that returns its own error
	badNil    = "nil"  // a nil pointer as error
	badExit   = "exit" // ends the process
)

// misbehave does it.
func misbehave(how string) {
	switch how {
	case badPanic:
		panic("a method fell over")
	case badGoexit:
		runtime.Goexit()
	case badBlock:
		select {}
	case badExit:
		os.Exit(9)
	}
}

// badError is an error with a method, In, that misbehaves.
type badError struct{ In, How string }

func (e *badError) Error() string {
	e.do("Error")
	return "a bad error"
}

func (e *badError) Is(error) bool {
	e.do("Is")
	return false
}

func (e *badError) As(any) bool {
	e.do("As")
	return false
}

func (e *badError) Unwrap() error {
	if e.In == "Unwrap" && e.How == badSelf {
		return e
	}
	e.do("Unwrap")
	return nil
}

// do reads a field, as methods do: a nil pointer panics.
func (e *badError) do(method string) {
	if e.In == method {
		misbehave(e.How)
	}
}

// badValue is a value of a panic, with methods that misbehave.
type badValue struct{ How string }

func (v badValue) String() string {
	misbehave(v.How)
	return "a bad value"
}

// strictError is an error with an Is that expects errors of its own type.
type strictError struct{ Code int }

func (e *strictError) Error() string        { return fmt.Sprint("code ", e.Code) }
func (e *strictError) Is(target error) bool { return target.(*strictError).Code == e.Code }

// badFormat is an error that misbehaves when fmt formats it.
type badFormat struct{ How string }

func (badFormat) Error() string            { return "a formatted error" }
func (f badFormat) Format(fmt.State, rune) { misbehave(f.How) }

// badCall is what err and badly are told.
type badCall struct {
	N       int
	In, How string
	Panics  bool // with the error, instead of returning it
}

func runErr(ctx context.Context, c badCall) (int, error) {
	var err error
	switch {
	case c.How == "" || c.In == "once" && tasks.Info(ctx).Attempt > 1:
		return c.N * 10, nil
	case c.How == badNil:
		var e *badError
		err = e
	case c.In == "String":
		panic(badValue{c.How})
	case c.In == "Format":
		err = badFormat{c.How}
	case c.In == "strict":
		err = &strictError{404}
	case c.In == "Error": // wrapping it would call the method here
		err = &badError{c.In, c.How}
	default:
		err = fmt.Errorf("wrapped: %w", tasks.RetryAfter(&badError{c.In, c.How}, 0))
	}
	if c.Panics {
		panic(err)
	}
	return c.N, err
}

// badArg misbehaves when it is decoded, where How is not "". N is negative in a process
// in which it must not be decoded.
type badArg struct {
	N   int
	How string
}

func (a *badArg) UnmarshalJSON(data []byte) error {
	type plain badArg
	if err := json.Unmarshal(data, (*plain)(a)); err != nil {
		return err
	}
	if os.Getenv(envWorker) != "" || a.How != badExit {
		misbehave(a.How)
	}
	return nil
}

// badResult misbehaves when it is encoded, where How is not "".
type badResult struct {
	N   int
	How string
}

func (r badResult) MarshalJSON() ([]byte, error) {
	misbehave(r.How)
	return json.Marshal(r.N)
}

// shy encodes itself as what it cannot decode.
type shy struct{ n int }

func (s shy) MarshalJSON() ([]byte, error) { return json.Marshal(fmt.Sprint("shy ", s.n)) }

// retryArg is a slice that its first attempt changes.
type retryArg struct {
	S []int
	M map[string]int
}

var (
	badErr     = tasks.Define("bad.err", runErr)
	badRun     = tasks.Define("bad.arg", func(_ context.Context, a badArg) (int, error) { return a.N * 10, nil })
	badResults = tasks.Define("bad.result", func(_ context.Context, a badCall) (badResult, error) { return badResult{a.N, a.How}, nil })
	badRead    = tasks.Declare[badCall, int]("bad.result")
	shyly      = tasks.Define("bad.shy", func(ctx context.Context, n int) (shy, error) {
		if n == 2 && tasks.Info(ctx).Attempt == 1 {
			return shy{}, errors.New("not yet")
		}
		return shy{n}, nil
	})
	shyRead = tasks.Declare[int, string]("bad.shy")
	clears  = tasks.Define("bad.clears", func(ctx context.Context, b []byte) (int, error) {
		sum := 0
		for _, c := range b {
			sum += int(c)
		}
		clear(b)
		if tasks.Info(ctx).Attempt < 3 {
			return 0, errors.New("not yet")
		}
		return sum, nil
	})
	changes = tasks.Define("bad.changes", func(ctx context.Context, a retryArg) (string, error) {
		got := fmt.Sprint(a.S, a.M)
		clear(a.S)
		a.M["changed"]++
		if tasks.Info(ctx).Attempt < 3 {
			return "", errors.New("not yet")
		}
		return got, nil
	})
)

func init() {
	hardened := tasks.Define("hardened", func(_ context.Context, n int) (int, error) { return n, nil }, tasks.HardTimeout(time.Second))
	allTasks = append(allTasks, hardened, badErr, badRun, badResults, shyly, changes, clears)
}

// badObserver misbehaves in the named method, for calls 1 and 3.
type badObserver struct {
	observe.NopWorker
	in, how string
}

func (o badObserver) do(method string, call int) {
	if o.in == method && call%2 == 1 {
		misbehave(o.how)
	}
}

func (o badObserver) Deliver(observe.Delivery) { o.do("Deliver", 1) }
func (o badObserver) BeginChunk(ctx context.Context, _ *observe.Chunk) context.Context {
	o.do("BeginChunk", 1)
	return ctx
}
func (o badObserver) EndChunk(context.Context, *observe.Chunk, observe.ChunkEnd) { o.do("EndChunk", 1) }
func (o badObserver) BeginCall(ctx context.Context, c *observe.Call) context.Context {
	o.do("BeginCall", c.Call)
	return ctx
}
func (o badObserver) EndCall(_ context.Context, c *observe.Call, _ observe.CallEnd) {
	o.do("EndCall", c.Call)
}
func (o badObserver) RoundTrip(observe.RoundTrip) { o.do("RoundTrip", 1) }

// badlyObserved gives a worker such an observer.
func badlyObserved(in, how string) func(*workerSpec) {
	return func(s *workerSpec) { s.Observer = in + " " + how }
}

// observers are the observers of the worker.
func (s workerSpec) observers() []observe.Worker {
	in, how, ok := strings.Cut(s.Observer, " ")
	if !ok {
		return nil
	}
	return []observe.Worker{badObserver{in: in, how: how}}
}
