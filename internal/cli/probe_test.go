package cli_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/cli/clitest"
	"github.com/distpool/distpool/internal/cli/console"
)

func TestProbeTellsByItsExitCodeWhetherAProcessIsWell(t *testing.T) {
	answers := http.NewServeMux()
	answers.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ready\n")) })
	answers.HandleFunc("/drains", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "not ready: worker w drains", http.StatusServiceUnavailable)
	})
	answers.Handle("/elsewhere", http.RedirectHandler("/readyz", http.StatusFound))
	hang := make(chan struct{})
	answers.HandleFunc("/hangs", func(http.ResponseWriter, *http.Request) { <-hang })
	srv := httptest.NewServer(answers)
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(hang) })
	gone := httptest.NewServer(answers)
	gone.Close()

	for _, tt := range []struct {
		name string
		args []string
		code int
		out  string
		err  string
	}{
		{"well", []string{srv.URL + "/readyz"}, console.ExitOK, "ready", ""},
		{"draining", []string{srv.URL + "/drains"}, console.ExitNoResult, "", "503 Service Unavailable: not ready: worker w drains"},
		{"well, as JSON", []string{srv.URL + "/readyz", "--json"}, console.ExitOK, `"status":200,"answer":"ready"}`, ""},
		{"draining, as JSON", []string{srv.URL + "/drains", "--json"}, console.ExitNoResult, `"status":503,`, "503"},
		{"another page", []string{srv.URL + "/elsewhere"}, console.ExitNoResult, "", "302 Found"},
		{"hanging", []string{srv.URL + "/hangs", "--timeout", "50ms"}, console.ExitNoResult, "", "deadline"},
		{"gone", []string{gone.URL + "/readyz"}, console.ExitNoResult, "", "refused"},
		{"no URL", []string{"127.0.0.1:9090"}, console.ExitUsage, "", "http://127.0.0.1:9090/readyz"},
		{"nothing", nil, console.ExitUsage, "", "arg"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := clitest.Run(t, "127.0.0.1:1", "", append([]string{"probe"}, tt.args...)...)
			if got.Code != tt.code || !strings.Contains(got.Out, tt.out) || !strings.Contains(got.Err, tt.err) {
				t.Errorf("got %+v, want code %d, %q and %q", got, tt.code, tt.out, tt.err)
			}
		})
	}
}

func TestProbeOfARealMonitorProcess(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	addr := clitest.Serve(t)
	monitor := exec.CommandContext(ctx, os.Args[0], "monitor", "--redis", addr, "--addr", "127.0.0.1:0")
	monitor.Env = append(os.Environ(), beProgram+"=1")
	out := &clitest.Buffer{}
	monitor.Stdout = out
	if err := monitor.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = monitor.Process.Kill(); _ = monitor.Wait() })
	var url string
	clitest.Eventually(t, "the monitor listens", func() bool {
		_, rest, ok := strings.Cut(out.String(), "http://")
		if ok {
			url = "http://" + strings.Fields(rest)[0]
		}
		return ok
	})
	probe := exec.CommandContext(ctx, os.Args[0], "probe", url+"/readyz")
	probe.Env = append(os.Environ(), beProgram+"=1")
	if said, err := probe.CombinedOutput(); err != nil || strings.TrimSpace(string(said)) != "ready" {
		t.Errorf("the probe says %q, %v", said, err)
	}
}
