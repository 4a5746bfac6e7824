// Package metrics is Prometheus metrics of pools, workers and queues.
//
//	m := metrics.New(prometheus.DefaultRegisterer)
//	pool, err := producer.Open(ctx, producer.Config{Observers: []observe.Pool{m}})
//	err = worker.Run(ctx, worker.Config{Observers: []observe.Worker{m}}, tasks...)
//	http.Handle("/metrics", metrics.Handler())
//
// One Metrics serves any number of pools and workers of a process. Queues, a
// collector of its own, reports what is in asynq's queues and who serves them:
// one process per Redis is enough for that, such as the monitor.
//
// docs/observability.md lists the metrics; deploy/ has a Grafana dashboard and
// alert rules for them.
//
// Labels are bounded. A worker's task label is the name of a task that it runs;
// a pool's and every queue label is what the program uses, up to 500 different
// ones, and "(other)" beyond that.
package metrics
