// Package observe is how pools and workers tell what they do: the interfaces
// behind packages metrics (Prometheus) and traces (OpenTelemetry), which cost a
// program nothing unless it imports them, and behind observers of your own.
//
//	m := metrics.New(prometheus.DefaultRegisterer)
//	tr := traces.New()
//	pool, err := producer.Open(ctx, producer.Config{Observers: []observe.Pool{m, tr}})
//	err = worker.Run(ctx, worker.Config{Observers: []observe.Worker{m, tr}}, tasks...)
//
// Observers are called where the thing happens, on whatever goroutine does it, and
// what they take is added to it: they must not block and must be safe for
// concurrent use. A panic in one, or runtime.Goexit, is logged and harms nothing: the
// other observers are told, and no outcome changes. (runtime.Goexit in BeginSubmit or
// EndSubmit ends the goroutine that submits, and those behind it are not told.) One that
// does not return holds up what it is told of; at the begin and the end of a call the
// HardTimeout covers it, and those behind it are not told. An
// error whose methods panic or do not end is replaced by its text. Without observers
// nothing is measured, not even the time.
//
// What begins also ends: for each Begin there is one End, with the same pointer
// and the context that Begin returned. With several observers each one begins in
// the context of those before it, and they end in the opposite order.
//
// An observer should embed [NopPool] or [NopWorker], so that it still builds
// when these interfaces grow.
package observe
