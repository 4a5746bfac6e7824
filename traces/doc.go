// Package traces is OpenTelemetry spans of submissions, chunks and calls, joined
// across processes.
//
//	tr := traces.New()
//	pool, err := producer.Open(ctx, producer.Config{Observers: []observe.Pool{tr}})
//	err = worker.Run(ctx, worker.Config{Observers: []observe.Worker{tr}}, tasks...)
//
// A submission is a span of kind Producer, a child of the span in the context that
// the submission was given. Each run of a chunk is a span of kind Consumer, a child
// of the submission's, on whatever worker and however often it is delivered; each
// run of a call is a child of its chunk's. The context of the task's function
// carries the call's span, so that what the task does becomes its children: also
// jobs that it submits.
//
// The context travels in the job's record in the form of the W3C (traceparent,
// tracestate, baggage), so that chunks which are issued again, retried, or added to
// a stream later have it too. It costs the record some 90 bytes.
//
// How much of all that is recorded is the sampler's decision. The SDK's usual one
// (ParentBased) decides at the submission, for workers too.
package traces
