package tasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"time"

	"github.com/distpool/distpool/tasks"
)

// A task is a function with a name. Called directly it is just the function,
// which is how a test of it looks.
func ExampleDefine() {
	square := tasks.Define("square", func(_ context.Context, n int) (int, error) {
		return n * n, nil
	})

	n, err := square.Call(context.Background(), 12)
	fmt.Println(square.Name(), n, err)
	// Output: square 144 <nil>
}

// A function of two arguments is called with a tuple of both.
func ExampleDefine2() {
	scale := tasks.Define2("scale", func(_ context.Context, x float64, by int) (float64, error) {
		return x * float64(by), nil
	})

	fmt.Println(scale.Call(context.Background(), tasks.Of2(1.5, 2)))
	// Output: 3 <nil>
}

func ExampleDefine3() {
	add := tasks.Define3("add3", func(_ context.Context, a, b, c int) (int, error) {
		return a + b + c, nil
	})

	fmt.Println(add.Call(context.Background(), tasks.Of3(1, 2, 3)))
	// Output: 6 <nil>
}

// A producer that does not link a task's function declares the task. It can be
// submitted, but not run.
func ExampleDeclare() {
	resize := tasks.Declare[tasks.Args2[string, int], []byte]("images.resize")

	fmt.Println(resize.Defined())
	_, err := resize.Call(context.Background(), tasks.Of2("cat.png", 64))
	fmt.Println(err)
	// Output:
	// false
	// task "images.resize" cannot be called here: it is only declared, without a function; make it with tasks.Define in a program that runs it
}

// Mistakes in a program show when it starts.
func ExampleDefine_badName() {
	defer func() { fmt.Println(recover()) }()
	tasks.Define("my task", func(context.Context, int) (int, error) { return 0, nil })
	// Output: tasks.Define: name "my task" has ' ' at byte 2; use 1 to 200 ASCII letters, digits and . _ : / - and start with a letter or a digit
}

// Zip2 turns two columns into the calls of a Starmap. It stops at the end of
// the shorter one.
func ExampleZip2() {
	for _, call := range tasks.Zip2([]string{"a", "b", "c"}, []int{1, 2}) {
		fmt.Println(call.A, call.B)
	}
	// Output:
	// a 1
	// b 2
}

func ExampleZip3() {
	calls := tasks.Zip3([]int{0, 1, 2}, []int{0, 2, 4}, []int{0, 3, 6})
	fmt.Println(calls)
	// Output: [{0 0 0} {1 2 3} {2 4 6}]
}

// A tuple travels as an array.
func ExampleOf2() {
	data, err := tasks.JSON.Marshal(tasks.Of2(1, "x"))
	fmt.Println(string(data), err)
	// Output: [1,"x"] <nil>
}

// The arguments of consecutive calls travel together. One that cannot be
// encoded is named by its call, and in a tuple by its number.
func ExampleTask_EncodeArgs() {
	scale := tasks.Declare[tasks.Args2[float64, any], float64]("scale")

	data, err := scale.EncodeArgs(tasks.Zip2([]float64{1, 2.5}, []any{3, 4}))
	fmt.Println(string(data), err)

	_, err = scale.EncodeArgs(tasks.Zip2([]float64{1, 2.5}, []any{3, make(chan int)}))
	fmt.Println(err)
	// Output:
	// [[1,3],[2.5,4]] <nil>
	// call 1: arg 2 of "scale": cannot encode chan int as JSON
}

func ExampleArgError() {
	_, err := tasks.Declare[float64, int]("later").EncodeArgs([]float64{math.Inf(1)})

	if e, ok := errors.AsType[*tasks.ArgError](err); ok {
		fmt.Printf("task %s, call %d: %v\n", e.Task, e.Call, e.Err)
	}
	// Output: task later, call 0: cannot encode +Inf as JSON
}

// Values are decoded into memory that the caller owns.
func ExampleTask_DecodeValues() {
	square := tasks.Declare[int, int]("square")
	values := make([]int, 3)
	fmt.Println(square.DecodeValues([]byte("[1,4,9]"), values), values)
	fmt.Println(square.DecodeValues([]byte(`[1,"four",9]`), values))
	// Output:
	// <nil> [1 4 9]
	// value 1 of "square": cannot use JSON string as int; the worker's result type must be compatible with int
}

// Numbers keep all their digits, also where the type leaves open what they are.
func ExampleJSON() {
	var v any
	err := tasks.JSON.Unmarshal([]byte(`{"id":9007199254740993}`), &v)
	fmt.Println(v, err)

	_, err = tasks.JSON.Marshal("not \xff text")
	fmt.Println(err)
	// Output:
	// map[id:9007199254740993] <nil>
	// string "not \xff text" is not valid UTF-8, which JSON cannot carry; use []byte
}

// indented is a codec made of another one. It has its own name, since a
// producer and a worker must use the same.
type indented struct{}

func (indented) Name() string                       { return "json-indented" }
func (indented) Marshal(v any) ([]byte, error)      { return json.MarshalIndent(v, "", " ") }
func (indented) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

func ExampleWithCodec() {
	square := tasks.Declare[int, int]("square", tasks.WithCodec(indented{}))
	data, err := square.EncodeArgs([]int{1, 2})
	fmt.Printf("%s: %q %v\n", square.Codec().Name(), data, err)
	// Output: json-indented: "[\n 1,\n 2\n]" <nil>
}

// A file that does not exist will not exist at the next attempt either.
func ExamplePermanent() {
	err := tasks.Permanent(fmt.Errorf("word count: %w", fs.ErrNotExist))

	fmt.Println(err)
	fmt.Println(tasks.IsPermanent(err), errors.Is(err, fs.ErrNotExist))
	// Output:
	// word count: file does not exist
	// true true
}

func ExampleRetryAfter() {
	err := tasks.RetryAfter(errors.New("rate limit reached"), 30*time.Second)

	fmt.Println(err)
	fmt.Println(tasks.RetryDelay(err))
	// Output:
	// rate limit reached
	// 30s true
}

var errNoStock = errors.New("no stock")

// A registered error has a code that travels with the error of a call.
func ExampleRegisterError() {
	tasks.RegisterError("shop.no-stock", errNoStock)

	// On the worker's side.
	codes := tasks.ErrorCodes(fmt.Errorf("item 7: %w", errNoStock))
	fmt.Println(codes)

	// On the producer's.
	err, ok := tasks.ErrorForCode(codes[0])
	fmt.Println(err == errNoStock, ok)
	// Output:
	// [shop.no-stock]
	// true true
}

// A task's function can ask which call it runs. WithInfo stands for the worker.
func ExampleInfo() {
	charge := tasks.Define("charge", func(ctx context.Context, cents int) (string, error) {
		call := tasks.Info(ctx)
		// The same key in every attempt and delivery.
		return fmt.Sprintf("charge %d with key %s/%d, attempt %d", cents, call.Job, call.Call, call.Attempt), nil
	})

	ctx := tasks.WithInfo(context.Background(), tasks.CallInfo{Job: "j7", Call: 3, Calls: 10, Attempt: 2})
	fmt.Println(charge.Call(ctx, 995))
	// Output: charge 995 with key j7/3, attempt 2 <nil>
}
