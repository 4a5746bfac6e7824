package traces

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/distpool/distpool/observe"
)

// The attributes of spans; docs/observability.md explains them. Logs have the same
// names, without "distpool.".
const (
	jobKey      = attribute.Key("distpool.job")
	chunkKey    = attribute.Key("distpool.chunk")
	callKey     = attribute.Key("distpool.call")
	taskKey     = attribute.Key("distpool.task")
	queueKey    = attribute.Key("distpool.queue")
	attemptKey  = attribute.Key("distpool.attempt")
	deliveryKey = attribute.Key("distpool.delivery")
	workerKey   = attribute.Key("distpool.worker")
	verbKey     = attribute.Key("distpool.verb")
	callsKey    = attribute.Key("distpool.calls")
	chunksKey   = attribute.Key("distpool.chunks")
	failedKey   = attribute.Key("distpool.failed")
	fateKey     = attribute.Key("distpool.fate")
	resultKey   = attribute.Key("distpool.result")
)

// scope names what makes the spans.
const scope = "github.com/distpool/distpool"

// Traces makes spans of what pools and workers do. It implements observe.Pool and
// observe.Worker, and is safe for concurrent use.
type Traces struct {
	observe.NopPool
	observe.NopWorker

	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	link       bool
}

// Option changes what New makes.
type Option func(*Traces)

// Provider makes the spans of p, instead of otel.GetTracerProvider() at the time
// of New.
func Provider(p trace.TracerProvider) Option {
	return func(t *Traces) { t.tracer = p.Tracer(scope) }
}

// Propagator is how context travels, instead of W3C trace context and baggage.
// Producers and workers must agree.
func Propagator(p propagation.TextMapPropagator) Option {
	return func(t *Traces) { t.propagator = p }
}

// Link makes each chunk the root of a trace of its own that is linked to the
// submission's: for jobs so large, or so long in the queue, that one trace of all
// their calls is of no use. It is for the worker's side.
func Link() Option { return func(t *Traces) { t.link = true } }

// New makes a Traces.
func New(opts ...Option) *Traces {
	t := &Traces{propagator: propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})}
	for _, o := range opts {
		o(t)
	}
	if t.tracer == nil {
		t.tracer = otel.GetTracerProvider().Tracer(scope)
	}
	return t
}

// RoundTrip implements observe.Pool and observe.Worker. It does nothing: a span
// for each round trip is redisotel's to make.
func (*Traces) RoundTrip(observe.RoundTrip) {}

// messaging are the attributes by which OpenTelemetry's conventions know a queue.
func messaging(queue, operation string) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("messaging.system", "distpool"),
		attribute.String("messaging.destination.name", queue),
		attribute.String("messaging.operation.type", operation),
	}
}

// BeginSubmit implements observe.Pool.
func (t *Traces) BeginSubmit(ctx context.Context, s *observe.Submission) context.Context {
	ctx, _ = t.tracer.Start(ctx, "submit "+s.Task, trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithAttributes(messaging(s.Queue, "send")...),
		trace.WithAttributes(taskKey.String(s.Task), queueKey.String(s.Queue), verbKey.String(string(s.Verb))))
	if s.Headers == nil {
		s.Headers = map[string]string{}
	}
	t.propagator.Inject(ctx, propagation.MapCarrier(s.Headers))
	return ctx
}

// EndSubmit implements observe.Pool.
func (t *Traces) EndSubmit(ctx context.Context, s *observe.Submission, err error) {
	span := trace.SpanFromContext(ctx)
	span.SetAttributes(jobKey.String(s.Job), callsKey.Int(s.Calls), chunksKey.Int(s.Chunks))
	finish(span, err)
}

// BeginChunk implements observe.Worker.
func (t *Traces) BeginChunk(ctx context.Context, c *observe.Chunk) context.Context {
	ctx = t.propagator.Extract(ctx, propagation.MapCarrier(c.Headers))
	opts := []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(messaging(c.Queue, "process")...),
		trace.WithAttributes(jobKey.String(c.Job), chunkKey.Int(c.Chunk), taskKey.String(c.Task), queueKey.String(c.Queue),
			deliveryKey.Int(c.Number), workerKey.String(c.Worker)),
	}
	if t.link {
		opts = append(opts, trace.WithNewRoot(), trace.WithLinks(trace.LinkFromContext(ctx)))
	}
	ctx, _ = t.tracer.Start(ctx, "chunk "+c.Task, opts...)
	return ctx
}

// EndChunk implements observe.Worker.
func (t *Traces) EndChunk(ctx context.Context, _ *observe.Chunk, end observe.ChunkEnd) {
	failed := 0
	for _, n := range end.Failed {
		failed += n
	}
	span := trace.SpanFromContext(ctx)
	span.SetAttributes(callsKey.Int(end.Calls), failedKey.Int(failed), fateKey.String(string(end.Fate)))
	finish(span, end.Err)
}

// BeginCall implements observe.Worker.
func (t *Traces) BeginCall(ctx context.Context, c *observe.Call) context.Context {
	ctx, _ = t.tracer.Start(ctx, "call "+c.Task, trace.WithAttributes(
		jobKey.String(c.Job), chunkKey.Int(c.Chunk), callKey.Int(c.Call), taskKey.String(c.Task), queueKey.String(c.Queue),
		attemptKey.Int(c.Attempt), workerKey.String(c.Worker)))
	return ctx
}

// EndCall implements observe.Worker.
func (t *Traces) EndCall(ctx context.Context, _ *observe.Call, end observe.CallEnd) {
	span := trace.SpanFromContext(ctx)
	span.SetAttributes(resultKey.String(string(end.Result)))
	finish(span, end.Err)
}

// finish ends a span, with its error if there is one.
func finish(span trace.Span, err error) {
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}
