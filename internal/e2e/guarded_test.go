package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// failures are the failed calls of a map, by index.
func failures(t *testing.T, err error) map[int]*results.TaskError {
	t.Helper()
	failed := map[int]*results.TaskError{}
	if err == nil {
		return failed
	}
	me, ok := errors.AsType[*results.MapError](err)
	if !ok {
		t.Fatalf("the error is no *results.MapError: %v", err)
	}
	for _, te := range me.Errors {
		failed[te.Call] = te
	}
	return failed
}

// The calls around one with a bad error run, and have their values.
func TestABadErrorCostsItsOwnCall(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p := e.pool(t)
		for _, c := range []struct {
			call badCall
			want string // part of the message
		}{
			{badCall{How: badNil}, "nil pointer, which is not a nil error"},
			{badCall{In: "Error", How: badPanic}, "Error panicked: a method fell over"},
			{badCall{In: "Error", How: badGoexit}, "Error called runtime.Goexit"},
			{badCall{In: "Unwrap", How: badPanic}, "wrapped: a bad error"},
			{badCall{In: "Unwrap", How: badGoexit}, "wrapped: a bad error"},
			{badCall{In: "Unwrap", How: badSelf}, "wrapped: a bad error"},
			{badCall{In: "Is", How: badPanic}, "wrapped: a bad error (its Is panicked: a method fell over)"},
			{badCall{In: "Is", How: badGoexit}, "wrapped: a bad error"},
			{badCall{In: "As", How: badPanic}, "wrapped: a bad error"},
			{badCall{In: "strict", How: badPanic}, "code 404"},
			{badCall{In: "Format", How: badGoexit}, "a formatted error"},
			{badCall{In: "String", How: badPanic}, "PANIC"},
			{badCall{In: "String", How: badGoexit}, "badValue that cannot be described"},
		} {
			for _, panics := range []bool{false, true} {
				c.call.Panics = panics
				args := []badCall{{N: 0}, c.call, {N: 2}, c.call, {N: 4}}
				vs, err := producer.Map(ctx(t), p, badErr, args, producer.ChunkSize(5))
				same(t, fmt.Sprintf("%+v: the values", c.call), vs, nil, []int{0, 0, 20, 0, 40})
				failed := failures(t, err)
				if len(failed) != 2 || failed[1] == nil || failed[3] == nil {
					t.Fatalf("%+v: %v, want failures of calls 1 and 3", c.call, err)
				}
				mentions(t, failed[1], c.want)
				wantKind := results.KindError
				if panics || c.call.In == "String" {
					wantKind = results.KindPanic
				}
				if failed[1].Kind != wantKind {
					t.Errorf("%+v: kind %s, want %s", c.call, failed[1].Kind, wantKind)
				}
			}
		}
		// A real failure right behind, and retries.
		args := []badCall{{How: badNil}, {In: "Is", How: badPanic}, {N: 2}}
		vs, err := producer.Map(ctx(t), p, badErr, args, producer.ChunkSize(3), producer.Retry(2, tasks.Backoff{Initial: time.Millisecond}))
		same(t, "the values after retries", vs, nil, []int{0, 0, 20})
		for i, te := range failures(t, err) {
			if te.Attempts != 3 {
				t.Errorf("call %d failed after %d attempts, want 3", i, te.Attempts)
			}
		}
		vs, err = producer.Map(ctx(t), p, badErr, []badCall{{N: 1, In: "once", How: badNil}, {N: 2}}, producer.ChunkSize(2), producer.Retry(1, tasks.Backoff{}))
		same(t, "a call that succeeds with its retry", vs, err, []int{10, 20})
		v, err := producer.Apply(ctx(t), p, badErr, badCall{N: 3})
		same(t, "a call after them", v, err, 30)
	})
}

// Without a HardTimeout the methods of an error have a bound of their own.
func TestABadErrorThatDoesNotReturnCostsTenSeconds(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p := e.pool(t)
		var all sync.WaitGroup
		for _, in := range []string{"Error", "Unwrap", "Is"} {
			all.Go(func() {
				vs, err := producer.Map(ctx(t), p, badErr, []badCall{{N: 1}, {In: in, How: badBlock}, {N: 3}}, producer.ChunkSize(3))
				if !slices.Equal(vs, []int{10, 0, 30}) {
					t.Errorf("%s: values %v, want [10 0 30]", in, vs)
				}
				me, ok := errors.AsType[*results.MapError](err)
				if !ok || len(me.Errors) != 1 || me.Errors[0].Call != 1 || !strings.Contains(err.Error(), "did not return within 10s") {
					t.Errorf("%s: %v, want a failure of call 1 that tells of methods which did not return", in, err)
				}
			})
		}
		all.Wait()
	})
}

// Where a call has a HardTimeout, the methods that run for it have no longer.
func TestAHardTimeoutCoversAllCodeOfACall(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p := e.pool(t)
		hard := producer.HardTimeout(300 * time.Millisecond)
		check := func(what string, vs []int, err error, want string) {
			t.Helper()
			same(t, what, vs, nil, []int{10, 0, 30})
			failed := failures(t, err)
			if len(failed) != 1 || failed[1] == nil || failed[1].Kind != results.KindTimeout {
				t.Fatalf("%s: %v, want a timeout of call 1", what, err)
			}
			mentions(t, failed[1], "300ms", want)
		}
		defer e.service(t, 1)()
		vs, err := producer.Map(ctx(t), p, badErr, []badCall{{N: 1}, {In: "Error", How: badBlock}, {N: 3}}, producer.ChunkSize(3), hard)
		check("a blocked Error", vs, err, "a method of its error did not return")
		vs, err = producer.Map(ctx(t), p, badRun, []badArg{{N: 1}, {1, badBlock}, {N: 3}}, producer.ChunkSize(3), hard)
		check("a blocked UnmarshalJSON", vs, err, "decoding its argument did not return")
		vs, err = producer.Map(ctx(t), p, badRead, []badCall{{N: 10}, {How: badBlock}, {N: 30}}, producer.ChunkSize(3), hard)
		check("a blocked MarshalJSON", vs, err, "encoding the call's value")
		// A failing call after which the slot must be there.
		vs, err = producer.Map(ctx(t), p, badErr, []badCall{{N: 1}, {How: badNil}, {N: 3}}, producer.ChunkSize(3), hard)
		same(t, "beside a nil pointer", vs, nil, []int{10, 0, 30})
		if failed := failures(t, err); len(failed) != 1 || failed[1] == nil {
			t.Errorf("%v, want a failure of call 1", err)
		}
	})
}

// service starts a worker anew whenever it ends, as a service manager does, until the
// returned function is called.
func (e *env) service(t *testing.T, slots int) (stop func()) {
	t.Helper()
	w := e.launch(t, slots, dies)
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-w.ended:
				next, err := e.tryLaunch(t, slots, dies)
				if err != nil {
					t.Errorf("starting a worker anew: %v", err)
					return
				}
				w = next
			case <-quit:
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-ended
	}
}

func TestABadArgumentOrValueCostsItsOwnCall(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p := e.pool(t)
		for _, how := range []string{badPanic, badGoexit} {
			word := map[string]string{badPanic: "panicked: a method fell over", badGoexit: "called runtime.Goexit"}[how]
			vs, err := producer.Map(ctx(t), p, badRun, []badArg{{N: 1}, {1, how}, {N: 3}}, producer.ChunkSize(3))
			same(t, "beside a bad argument", vs, nil, []int{10, 0, 30})
			failed := failures(t, err)
			if len(failed) != 1 || failed[1] == nil || failed[1].Kind != results.KindBadArgument {
				t.Fatalf("%s: %v, want a bad argument of call 1", how, err)
			}
			mentions(t, failed[1], "decoding", word)
			vs, err = producer.Map(ctx(t), p, badRead, []badCall{{N: 10}, {How: how}, {N: 30}}, producer.ChunkSize(3))
			same(t, "beside a bad value", vs, nil, []int{10, 0, 30})
			failed = failures(t, err)
			if len(failed) != 1 || failed[1] == nil || failed[1].Kind != results.KindBadResult {
				t.Fatalf("%s: %v, want a bad value of call 1", how, err)
			}
			mentions(t, failed[1], "encoding", word)
		}
		v, err := producer.Apply(ctx(t), p, square, 3)
		same(t, "a call after them", v, err, 9)
	})
}

// The producer's own methods: encoding what is submitted, decoding what comes back.
func TestABadMethodInTheProducerIsAnErrorThere(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p := e.pool(t)
		sends := tasks.Declare[badResult, int]("square") // it encodes as an int
		for _, how := range []string{badPanic, badGoexit} {
			_, err := producer.Apply(ctx(t), p, sends, badResult{3, how})
			mentions(t, err, "encoding")
			n := 0
			for v, err := range producer.IMap(ctx(t), p, sends, slices.Values([]badResult{{3, how}})) {
				n++
				mentions(t, err, "encoding")
				if v != 0 {
					t.Errorf("value %d", v)
				}
			}
			if n != 1 {
				t.Errorf("%s: the stream has %d items, want its error alone", how, n)
			}
			reads := tasks.Declare[person, badPerson]("older")
			r, err := producer.ApplyAsync(ctx(t), p, reads, person{Name: how})
			must(t, err)
			for range 2 { // a second Get says the same
				if _, err := r.Get(ctx(t)); err == nil {
					t.Errorf("%s: a value that cannot be decoded is no error", how)
				} else {
					mentions(t, err, "decoding")
				}
			}
		}
		short, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if _, err := producer.ApplyAsync(short, p, sends, badResult{3, badBlock}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a blocked MarshalJSON: %v, want the end of the context", err)
		}
		v, err := producer.Apply(ctx(t), p, sends, badResult{3, ""})
		same(t, "a call after them", v, err, 9)
	})
}

// badPerson misbehaves as its name says when it is decoded.
type badPerson struct{ person }

func (b *badPerson) UnmarshalJSON(data []byte) error {
	for _, how := range []string{badPanic, badGoexit} {
		if strings.Contains(string(data), how) {
			misbehave(how)
		}
	}
	return nil
}

// An argument that ends each process that decodes it is given up after three, as a
// call is that does so; its neighbours have their values.
func TestAnArgumentThatKillsEveryWorkerIsGivenUp(t *testing.T) {
	usual(t)
	t.Parallel()
	e := newEnv(t, shared.start(t, single), true)
	p := e.pool(t)
	m, err := producer.MapAsync(ctx(t), p, badRun, []badArg{{N: 1}, {2, badExit}, {N: 3}, {N: 4}}, producer.ChunkSize(3))
	must(t, err)
	last := e.launch(t, 2, dies)
	for deaths := 0; !m.Ready(); {
		select {
		case <-last.ended:
			if deaths++; deaths > 3 {
				t.Fatal("the argument killed a fourth worker")
			}
			last = e.launch(t, 2, dies)
		case <-m.Done():
		case <-time.After(patience):
			t.Fatal("the argument is not given up")
		}
	}
	vs, err := m.Get(ctx(t))
	same(t, "the other calls", vs, nil, []int{10, 0, 30, 40})
	failed := failures(t, err)
	if len(failed) != 1 || failed[1] == nil || !errors.Is(failed[1], results.ErrWorkerLost) {
		t.Fatalf("error %v, want one of call 1 that is ErrWorkerLost", err)
	}
	mentions(t, failed[1], `"bad.arg"`, "call 1")
}

func TestEachAttemptGetsTheArgumentAsSubmitted(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p := e.pool(t)
		arg := retryArg{[]int{1, 2, 3}, map[string]int{"a": 1}}
		for _, wait := range []time.Duration{time.Millisecond, 300 * time.Millisecond} {
			got, err := producer.Map(ctx(t), p, changes, []retryArg{arg, arg}, producer.ChunkSize(2), producer.Retry(2, tasks.Every(wait)))
			want := "[1 2 3] map[a:1]"
			same(t, "what the last attempts saw", got, err, []string{want, want})
			// Large byte strings travel raw.
			large := bytes.Repeat([]byte{0xfe}, 20<<10)
			sums, err := producer.Map(ctx(t), p, clears, [][]byte{large, large}, producer.ChunkSize(2), producer.Retry(2, tasks.Every(wait)))
			same(t, "the sums that the last attempts saw", sums, err, []int{20 << 10 * 0xfe, 20 << 10 * 0xfe})
		}
	})
}

// A value may encode itself in a way that the worker cannot decode. A worker that goes
// on with a chunk does not decode what another one has saved.
func TestSavedValuesNeedNotDecodeOnTheWorker(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p := e.pool(t)
		got, err := producer.Map(ctx(t), p, shyRead, []int{1, 2, 3}, producer.ChunkSize(3), producer.Retry(1, tasks.Every(300*time.Millisecond)))
		same(t, "the values", got, err, []string{"shy 1", "shy 2", "shy 3"})
	})
}

func TestACallOfAStreamKnowsThatItsTotalIsUnknown(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p := e.pool(t)
		n := 0
		for i, err := range producer.IMap(ctx(t), p, info, slices.Values(numbers(20))) {
			must(t, err)
			if i.Calls != -1 || i.Call != n {
				t.Errorf("call %d of %d, want call %d of -1", i.Call, i.Calls, n)
			}
			n++
		}
		if n != 20 {
			t.Errorf("%d calls, want 20", n)
		}
		is, err := producer.Map(ctx(t), p, info, numbers(3))
		must(t, err)
		if is[2].Calls != 3 {
			t.Errorf("a call of a map says that there are %d, want 3", is[2].Calls)
		}
	})
}

func TestACallTimeoutLongerThanTheHardTimeoutIsRefused(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p := e.pool(t)
		long, short := producer.CallTimeout(time.Minute), producer.HardTimeout(time.Second)
		refused := func(err error) {
			t.Helper()
			mentions(t, err, "CallTimeout is 1m0s", "HardTimeout (1s)", "make it shorter")
		}
		_, err := producer.Apply(ctx(t), p, square, 2, long, short)
		refused(err)
		_, err = producer.Map(ctx(t), p, square, []int{2}, short, long)
		refused(err)
		n := 0
		for _, err := range producer.IMap(ctx(t), p, square, slices.Values([]int{2}), long, short) {
			n++
			refused(err)
		}
		if n != 1 {
			t.Errorf("the stream has %d items, want its error alone", n)
		}
		hard := tasks.Declare[int, int]("square", tasks.HardTimeout(time.Second))
		_, err = producer.Apply(ctx(t), p, hard, 2, long)
		refused(err)
		// What only the worker's task says.
		_, err = producer.Apply(ctx(t), p, tasks.Declare[int, int]("hardened"), 2, long)
		refused(err)
		if te := taskError(t, err); te.Kind != results.KindBadArgument {
			t.Errorf("kind %s", te.Kind)
		}
		func() {
			defer func() {
				if text := fmt.Sprint(recover()); !strings.Contains(text, "CallTimeout is 1m0s") {
					t.Errorf("defining such a task panics with %q", text)
				}
			}()
			tasks.Declare[int, int]("both", tasks.CallTimeout(time.Minute), tasks.HardTimeout(time.Second))
		}()
		v, err := producer.Apply(ctx(t), p, square, 2, producer.CallTimeout(time.Minute), producer.HardTimeout(time.Minute))
		same(t, "equal limits", v, err, 4)
	})
}

func TestAnInputThatCallsGoexitEndsItsStream(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p := e.pool(t)
		for _, end := range []func(){func() { panic(badValue{badGoexit}) }, runtime.Goexit} {
			var got []int
			var last error
			input := func(yield func(int) bool) {
				if yield(2) && yield(3) {
					end()
				}
			}
			for v, err := range producer.IMap(ctx(t), p, square, input) {
				if last = err; err == nil {
					got = append(got, v)
				}
			}
			same(t, "the squares before the end", got, nil, []int{4, 9})
			mentions(t, last, "the input")
		}
	})
}
