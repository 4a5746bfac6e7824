package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/health"
	"github.com/distpool/distpool/internal/redisconn"
	"github.com/distpool/distpool/metrics"
	"github.com/distpool/distpool/worker"
)

// operations is the HTTP server for those who run the worker.
type operations struct {
	rdb      redis.UniversalClient // of its own: the worker's is busy when one asks how busy it is
	listener net.Listener
	server   *http.Server
}

// listenAddress checks an address to listen on. Without a host it is this
// machine only: the pages have no password.
func listenAddress(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil || port == "" {
		return "", fmt.Errorf("%q is no host:port; use :9090 for this machine only, or 0.0.0.0:9090 for all that can reach it", s)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// startOperations serves metrics and probes of the worker that cfg describes,
// and adds itself to its observers.
func startOperations(ctx context.Context, addr string, cfg *worker.Config) (*operations, error) {
	rdb, err := redisconn.Open(ctx, cfg.Redis)
	if err != nil {
		return nil, fmt.Errorf("serving metrics: %w", err)
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		_ = rdb.Close()
		return nil, fmt.Errorf("serving metrics: %w; choose another address with -http", err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registry.MustRegister(metrics.NewQueues(rdb, slices.Sorted(maps.Keys(cfg.Queues))...))
	m, h := metrics.New(registry), health.New(rdb)
	cfg.Observers = append(cfg.Observers, m, h)
	mux := http.NewServeMux()
	mux.Handle("/", h.Handler())
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	o := &operations{rdb: rdb, listener: listener, server: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}}
	go func() {
		if err := o.server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			cfg.Logger.Error("serving metrics and probes ended", "error", err)
		}
	}()
	return o, nil
}

func (o *operations) address() string { return o.listener.Addr().String() }

// stop ends the server, which has answered until the worker was drained.
func (o *operations) stop() {
	_ = o.server.Close()
	_ = o.rdb.Close()
}
