package deploytest

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/sample"
	"github.com/distpool/distpool/metrics"
	"github.com/distpool/distpool/observe"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/worker"
)

// reported are the metrics that a pool, a worker and the collector of queues really
// report once a call ran, with their labels; a histogram has its suffixes, too.
func reported(t *testing.T) map[string]map[string]bool {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	reg := prometheus.NewRegistry()
	m := metrics.New(reg)
	rdb.AddHook(m.RedisHook())
	reg.MustRegister(metrics.NewQueues(rdb))
	quiet := slog.New(slog.DiscardHandler)
	ctx, stop := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() {
		over <- worker.Run(ctx, worker.Config{Client: rdb, Grace: time.Second, Logger: quiet, Observers: []observe.Worker{m}}, sample.All()...)
	}()
	t.Cleanup(func() { // before the client is closed
		stop()
		if err := <-over; err != nil {
			t.Errorf("the worker: %v", err)
		}
	})
	p, err := producer.Open(ctx, producer.Config{Client: rdb, Logger: quiet, Observers: []observe.Pool{m}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Terminate(context.Background()) })
	if _, err := producer.Apply(ctx, p, sample.Square, 7); err != nil {
		t.Fatal(err)
	}
	// The caller has its value a moment before the worker counts the chunk.
	var families []*dto.MetricFamily
	counted := func(f *dto.MetricFamily) bool { return f.GetName() == "distpool_chunks_total" }
	for deadline := time.Now().Add(time.Minute); !slices.ContainsFunc(families, counted); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a minute after its call the worker reports no chunk")
		}
		if families, err = reg.Gather(); err != nil {
			t.Fatal(err)
		}
	}
	series := map[string]map[string]bool{}
	for _, f := range families {
		labels := map[string]bool{}
		for _, one := range f.GetMetric() {
			for _, l := range one.GetLabel() {
				labels[l.GetName()] = true
			}
		}
		series[f.GetName()] = labels
		if len(f.GetMetric()) > 0 && f.GetMetric()[0].GetHistogram() != nil {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				series[f.GetName()+suffix] = labels
			}
		}
	}
	return series
}
