package traces_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/observe"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/traces"
	"github.com/distpool/distpool/worker"
)

// A worker process of this test is this program, with this variable naming the
// Redis.
const asWorker = "DISTPOOL_TRACES_TEST_REDIS"

// holding gets a word from each call of seen in this process that holds.
var holding = make(chan struct{}, 10)

// seen is what the task of another process sees of its span.
var seen = tasks.Define("seen", func(ctx context.Context, hold bool) (string, error) {
	if hold {
		fmt.Println("holding")
		holding <- struct{}{}
		<-ctx.Done()
		return "", ctx.Err()
	}
	span := trace.SpanContextFromContext(ctx)
	return span.TraceID().String() + " " + span.SpanID().String(), nil
})

func TestMain(m *testing.M) {
	if url := os.Getenv(asWorker); url != "" {
		tr := traces.New(traces.Provider(sdk.NewTracerProvider()))
		err := worker.Run(context.Background(), worker.Config{Redis: url, Concurrency: 1, Observers: []observe.Worker{tr}}, seen)
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	m.Run()
}

// provider makes a provider that keeps its spans.
func provider() (*sdk.TracerProvider, *tracetest.InMemoryExporter) {
	e := tracetest.NewInMemoryExporter()
	return sdk.NewTracerProvider(sdk.WithSyncer(e)), e
}

// openPool opens a pool that is traced.
func openPool(t *testing.T, url string) (*producer.Pool, *tracetest.InMemoryExporter) {
	t.Helper()
	p, e := provider()
	pool, err := producer.Open(t.Context(), producer.Config{Redis: url, Observers: []observe.Pool{traces.New(traces.Provider(p))}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Release)
	return pool, e
}

// runWorker runs a worker that is traced, to the end of the test or stop.
func runWorker(t *testing.T, url string, opts []traces.Option, ts ...tasks.Runner) (_ *tracetest.InMemoryExporter, stop func()) {
	t.Helper()
	p, e := provider()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		tr := traces.New(append(opts, traces.Provider(p))...)
		ended <- worker.Run(ctx, worker.Config{Redis: url, Concurrency: 2, Observers: []observe.Worker{tr}}, ts...)
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return e, stop
}

func named(spans tracetest.SpanStubs, name string) (found []tracetest.SpanStub) {
	for _, s := range spans {
		if s.Name == name {
			found = append(found, s)
		}
	}
	return found
}

func attr(s tracetest.SpanStub, key string) attribute.Value {
	for _, a := range s.Attributes {
		if string(a.Key) == key {
			return a.Value
		}
	}
	return attribute.Value{}
}

func childOf(child, parent tracetest.SpanStub) bool {
	return child.SpanContext.TraceID() == parent.SpanContext.TraceID() && child.Parent.SpanID() == parent.SpanContext.SpanID()
}

var errEven = errors.New("even")

func TestSubmissionChunkAndCallAreOneTraceAcrossProviders(t *testing.T) {
	url := redistest.Start(t).URL()
	var inner trace.Tracer
	odd := tasks.Define("odd", func(ctx context.Context, n int) (int, error) {
		_, span := inner.Start(ctx, "inside")
		defer span.End()
		if n%2 == 0 {
			return 0, errEven
		}
		return n, nil
	})
	pool, produced := openPool(t, url)
	own, ownSpans := provider()
	inner = own.Tracer("test")
	ctx, root := inner.Start(t.Context(), "request")
	worked, stop := runWorker(t, url, nil, odd)
	if _, err := producer.Map(ctx, pool, odd, []int{1, 2, 3}, producer.ChunkSize(2)); err == nil {
		t.Fatal("no call failed")
	}
	root.End()
	stop()

	submits := named(produced.GetSpans(), "submit odd")
	if len(submits) != 1 {
		t.Fatalf("the pool made %d spans of the submission", len(submits))
	}
	submit := submits[0]
	if submit.SpanKind != trace.SpanKindProducer || !childOf(submit, named(ownSpans.GetSpans(), "request")[0]) {
		t.Errorf("the submission's span is of kind %v with parent %v, want a producer's in the request", submit.SpanKind, submit.Parent.SpanID())
	}
	job := attr(submit, "distpool.job").AsString()
	if job == "" || attr(submit, "distpool.calls").AsInt64() != 3 || attr(submit, "distpool.chunks").AsInt64() != 2 || attr(submit, "distpool.queue").AsString() != "distpool" {
		t.Errorf("the submission's attributes are %v", submit.Attributes)
	}
	chunks, calls, insides := named(worked.GetSpans(), "chunk odd"), named(worked.GetSpans(), "call odd"), named(ownSpans.GetSpans(), "inside")
	if len(chunks) != 2 || len(calls) != 3 || len(insides) != 3 {
		t.Fatalf("%d chunks, %d calls, %d spans of the task; want 2, 3, 3", len(chunks), len(calls), len(insides))
	}
	byChunk := map[int64]tracetest.SpanStub{}
	for _, c := range chunks {
		byChunk[attr(c, "distpool.chunk").AsInt64()] = c
		if !childOf(c, submit) || !c.Parent.IsRemote() || c.SpanKind != trace.SpanKindConsumer || attr(c, "distpool.job").AsString() != job {
			t.Errorf("a chunk is no consumer's child of the submission: %+v", c)
		}
	}
	if c := byChunk[0]; c.Status.Code != codes.Error || !strings.Contains(c.Status.Description, "even") || attr(c, "distpool.failed").AsInt64() != 1 {
		t.Errorf("the status of the chunk with the failed call is %+v, its attributes %v", c.Status, c.Attributes)
	}
	if c := byChunk[1]; c.Status.Code == codes.Error {
		t.Errorf("the status of the good chunk is %+v", c.Status)
	}
	for _, c := range calls {
		i := attr(c, "distpool.call").AsInt64()
		if !childOf(c, byChunk[i/2]) || attr(c, "distpool.job").AsString() != job || attr(c, "distpool.attempt").AsInt64() != 1 {
			t.Errorf("call %d is no child of its chunk: %+v", i, c)
		}
		if failed := c.Status.Code == codes.Error; failed != (i == 1) || failed && (len(c.Events) != 1 || c.Status.Description != "even") {
			t.Errorf("the status of call %d is %+v with %d events", i, c.Status, len(c.Events))
		}
		if n := len(slices.DeleteFunc(slices.Clone(insides), func(s tracetest.SpanStub) bool { return !childOf(s, c) })); n != 1 {
			t.Errorf("call %d has %d spans of its task", i, n)
		}
	}
}

func TestRetriesAndStreamsStayInTheirTrace(t *testing.T) {
	url := redistest.Start(t).URL()
	again := tasks.Define("again", func(ctx context.Context, n int) (int, error) {
		if tasks.Info(ctx).Attempt == 1 {
			return 0, errEven
		}
		return n, nil
	}, tasks.Retry(1, tasks.Backoff{Initial: 200 * time.Millisecond, Max: 200 * time.Millisecond})) // long enough to be put back
	double := tasks.Define("double", func(_ context.Context, n int) (int, error) { return 2 * n, nil })
	pool, produced := openPool(t, url)
	worked, stop := runWorker(t, url, nil, again, double)
	if _, err := producer.Apply(t.Context(), pool, again, 1); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range producer.IMap(t.Context(), pool, double, slices.Values(make([]int, 500))) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	stop()
	submit := named(produced.GetSpans(), "submit again")[0]
	fates, attempts := map[string]bool{}, map[int64]bool{}
	for _, c := range named(worked.GetSpans(), "chunk again") {
		fates[attr(c, "distpool.fate").AsString()] = childOf(c, submit)
	}
	if !maps.Equal(fates, map[string]bool{"put_back": true, "recorded": true}) {
		t.Errorf("the runs of the retried chunk, and whether they are in the trace: %v", fates)
	}
	for _, c := range named(worked.GetSpans(), "call again") {
		attempts[attr(c, "distpool.attempt").AsInt64()] = c.SpanContext.TraceID() == submit.SpanContext.TraceID()
	}
	if !maps.Equal(attempts, map[int64]bool{1: true, 2: true}) {
		t.Errorf("the attempts, and whether they are in the trace: %v", attempts)
	}
	stream := named(produced.GetSpans(), "submit double")[0]
	if attr(stream, "distpool.calls").AsInt64() != 500 || attr(stream, "distpool.verb").AsString() != "stream" {
		t.Errorf("the stream's attributes are %v", stream.Attributes)
	}
	chunks, calls := named(worked.GetSpans(), "chunk double"), named(worked.GetSpans(), "call double")
	if len(chunks) < 2 || len(calls) != 500 {
		t.Errorf("%d chunks and %d calls of the stream", len(chunks), len(calls))
	}
	for _, c := range chunks {
		if !childOf(c, stream) {
			t.Errorf("chunk %v is not in the stream's trace", attr(c, "distpool.chunk").AsInt64())
		}
	}
}

func TestLinkMakesEachChunkATraceOfItsOwn(t *testing.T) {
	url := redistest.Start(t).URL()
	double := tasks.Define("double", func(_ context.Context, n int) (int, error) { return 2 * n, nil })
	pool, produced := openPool(t, url)
	worked, stop := runWorker(t, url, []traces.Option{traces.Link()}, double)
	if _, err := producer.Apply(t.Context(), pool, double, 1); err != nil {
		t.Fatal(err)
	}
	stop()
	submit, chunk := named(produced.GetSpans(), "submit double")[0], named(worked.GetSpans(), "chunk double")[0]
	if chunk.Parent.IsValid() || len(chunk.Links) != 1 || chunk.Links[0].SpanContext.SpanID() != submit.SpanContext.SpanID() {
		t.Errorf("the chunk has parent %v and links %v, want a link to the submission alone", chunk.Parent.SpanID(), chunk.Links)
	}
}

// A chunk whose worker was killed is issued again by a worker that has never seen
// its first delivery.
func TestTraceSurvivesTheDeathOfAWorkerProcess(t *testing.T) {
	url := redistest.Start(t).URL()
	pool, produced := openPool(t, url)
	startProcess := func() (*exec.Cmd, *bufio.Scanner) {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), asWorker+"="+url)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd, bufio.NewScanner(out)
	}
	first, lines := startProcess()
	hold, err := producer.ApplyAsync(t.Context(), pool, seen, true)
	if err != nil {
		t.Fatal(err)
	}
	if !lines.Scan() || lines.Text() != "holding" {
		t.Fatalf("the worker process wrote %q", lines.Text())
	}
	// Here, so that its spans can be looked at.
	worked, stop := runWorker(t, url, nil, seen)
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-holding: // by the worker in this process: the chunk was issued again
	case <-time.After(60 * time.Second):
		t.Fatal("the chunk of the killed worker did not come back")
	}
	if err := hold.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	submit := named(produced.GetSpans(), "submit seen")[0]
	chunks := named(worked.GetSpans(), "chunk seen")
	if len(chunks) != 1 || !childOf(chunks[0], submit) || attr(chunks[0], "distpool.delivery").AsInt64() < 2 {
		t.Fatalf("the chunk that was issued again is %+v, want a child of %v", chunks, submit.SpanContext.SpanID())
	}

	startProcess()
	got, err := producer.Apply(t.Context(), pool, seen, false)
	if err != nil {
		t.Fatal(err)
	}
	if submit := named(produced.GetSpans(), "submit seen")[1]; !strings.HasPrefix(got, submit.SpanContext.TraceID().String()) {
		t.Errorf("the other process's call is in trace %s, the submission in %s", got, submit.SpanContext.TraceID())
	}
}
