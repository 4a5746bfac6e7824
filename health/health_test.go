package health_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/distpool/distpool/health"
	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/observe"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

// wantProbe waits until a probe answers like that, and only like that.
func wantProbe(t *testing.T, h http.Handler, path string, code int, text string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		got := httptest.NewRecorder()
		h.ServeHTTP(got, httptest.NewRequest(http.MethodGet, path, nil))
		if got.Code == code && strings.Contains(got.Body.String(), text) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is %d %q, want %d %q", path, got.Code, got.Body, code, text)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestWorkerIsReadyWhileItServesAndRedisAnswers(t *testing.T) {
	server := redistest.Start(t)
	h := health.New(server.Client(t))
	probes := h.Handler()
	wantProbe(t, probes, "/healthz", http.StatusOK, "alive")
	wantProbe(t, probes, "/readyz", http.StatusServiceUnavailable, "no worker runs")

	double := tasks.Define("double", func(_ context.Context, n int) (int, error) { return 2 * n, nil })
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- worker.Run(ctx, worker.Config{Redis: server.URL(), Observers: []observe.Worker{h}}, double)
	}()
	wantProbe(t, probes, "/readyz", http.StatusOK, "ready")

	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	wantProbe(t, probes, "/readyz", http.StatusServiceUnavailable, "Redis does not answer")
	wantProbe(t, probes, "/healthz", http.StatusOK, "alive")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the probe took %v", took)
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	wantProbe(t, probes, "/readyz", http.StatusOK, "ready")
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	wantProbe(t, probes, "/readyz", http.StatusServiceUnavailable, "no worker runs")
}

func TestWorkerThatDrainsIsNotReady(t *testing.T) {
	h := health.New(redistest.Start(t).Client(t))
	h.StartWorker(draining{})
	wantProbe(t, h.Handler(), "/readyz", http.StatusServiceUnavailable, "worker w drains")
	wantProbe(t, h.Handler(), "/healthz", http.StatusOK, "alive")
}

type draining struct{ observe.WorkerState }

func (draining) ID() string     { return "w" }
func (draining) Draining() bool { return true }
