package monitor

import (
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/distpool/distpool/metrics"
)

// metricsHandler serves what Prometheus may know from a monitor: all queues of the
// Redis, the monitor's own round trips to it, and the process. Between scrapes it
// reads nothing. It adds a hook to the client of the Config.
func metricsHandler(cfg Config) http.HandlerFunc {
	registry := prometheus.NewRegistry()
	own := metrics.New(registry)
	cfg.Redis.AddHook(own.RedisHook())
	registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		metrics.NewQueues(cfg.Redis),
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelWarn),
	}).ServeHTTP
}
