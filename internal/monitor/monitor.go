package monitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/monitor/gate"
	"github.com/distpool/distpool/internal/monitor/live"
	"github.com/distpool/distpool/internal/monitor/page"
)

// Monitor is a running monitor's parts. Make it with New.
type Monitor struct {
	cfg     Config
	in      *inspect.Inspector
	gate    *gate.Gate
	live    *live.Feed
	rates   *rates
	samples *sampler
	pages   *page.Set
	handler http.Handler
}

// New makes a monitor. Close ends it.
func New(cfg Config) (*Monitor, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	pages, err := page.Load()
	if err != nil {
		return nil, err
	}
	cfg.Redis.AddHook(commandLimit{})
	m := &Monitor{
		cfg: cfg, in: inspect.New(cfg.Redis),
		rates: newRates(), samples: &sampler{}, pages: pages,
	}
	m.in.SetKeys(cfg.Keyring)
	access := cfg.access()
	access.Unknown = m.unknown
	m.gate = gate.New(access)
	m.live = live.New(cfg.Logger, m.renderLive, m.prepare)
	m.handler = m.gate.Guard(m.routes())
	return m, nil
}

// Handler serves everything, behind the gate.
func (m *Monitor) Handler() http.Handler { return m.handler }

// Close ends the event streams and what feeds them.
func (m *Monitor) Close() { m.live.Close() }

const (
	// shutdownTime is how long requests may take to end.
	shutdownTime = 5 * time.Second
	writeTimeout = 30 * time.Second
)

// Run serves until ctx ends, and then lets running requests finish for five
// seconds. ready is called with the address once it listens; it may be nil.
func Run(ctx context.Context, cfg Config, ready func(addr net.Addr)) error {
	m, err := New(cfg)
	if err != nil {
		return err
	}
	defer m.Close()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", m.cfg.Addr)
	if err != nil {
		return fmt.Errorf("the monitor cannot listen: %w; choose another address", err)
	}
	srv := &http.Server{
		Handler:           m.handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      writeTimeout, // event streams move it ahead
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(m.cfg.Logger.Handler(), slog.LevelDebug),
	}
	if ready != nil {
		ready(listener.Addr())
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	select {
	case err = <-served:
		return fmt.Errorf("the monitor stopped serving: %w", err)
	case <-ctx.Done():
	}
	m.Close() // streams do not end by themselves
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	if err := srv.Shutdown(end); err != nil && !errors.Is(err, http.ErrServerClosed) {
		_ = srv.Close()
	}
	return nil
}
