package deploytest

import (
	"os/exec"
	"strings"
	"testing"
)

// What only tests need would make every user's program larger, and its list of
// dependencies longer.
func TestTestDependenciesStayOutOfThePrograms(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "./cmd/...", "./asynqhandler/...", "./producer/...", "./results/...", "./tasks/...", "./worker/...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, err.(*exec.ExitError).Stderr)
	}
	list := string(out)
	if !strings.Contains(list, "github.com/distpool/distpool/producer\n") {
		t.Fatalf("go list does not see the packages; it printed:\n%s", list)
	}
	for _, only := range []string{
		"github.com/distpool/distpool/pooltest\n",
		"github.com/compose-spec/",
		"k8s.io/",
		"sigs.k8s.io/",
		"github.com/chromedp/",
		"github.com/Shopify/toxiproxy/",
		"github.com/distpool/distpool/internal/chaos\n",
		"github.com/distpool/distpool/internal/history\n",
		"github.com/distpool/distpool/internal/fleettest\n",
		"github.com/distpool/distpool/internal/redistest\n",
		"github.com/stretchr/testify/",
		"go.uber.org/goleak\n",
		"github.com/chromedp/",
		"testing\n",
	} {
		for line := range strings.Lines(list) {
			if strings.HasPrefix(line, only) {
				t.Errorf("%s is for tests, but a package or program imports it", strings.TrimSpace(line))
			}
		}
	}
}

// The test kit's embedded Redis must not become part of a program that only
// submits or works. The programs under cmd embed one on purpose, for the demo.
func TestTheEmbeddedRedisStaysOutOfThePackages(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "./asynqhandler/...", "./producer/...", "./results/...", "./tasks/...", "./worker/...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, err.(*exec.ExitError).Stderr)
	}
	if !strings.Contains(string(out), "github.com/distpool/distpool/worker\n") {
		t.Fatalf("go list does not see the packages; it printed:\n%s", out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "github.com/hibiken/asynqmon") || strings.HasPrefix(line, "github.com/distpool/distpool/internal/monitor") {
			t.Errorf("%s is for the monitor, but a package that users import needs it", strings.TrimSpace(line))
		}
		if strings.HasPrefix(line, "github.com/alicebob/miniredis/") || strings.HasPrefix(line, "github.com/distpool/distpool/pooltest") {
			t.Errorf("%s is for tests, but a package that users import needs it", strings.TrimSpace(line))
		}
	}
}

// Metrics and traces are for those who import them: a program that does not must
// not carry Prometheus or OpenTelemetry.
func TestPrometheusAndOpenTelemetryStayOutOfThePackages(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "./observe/...", "./asynqhandler/...", "./producer/...", "./results/...", "./tasks/...", "./worker/...", "./pooltest/...", "./health/...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, err.(*exec.ExitError).Stderr)
	}
	if !strings.Contains(string(out), "github.com/distpool/distpool/worker\n") {
		t.Fatalf("go list does not see the packages; it printed:\n%s", out)
	}
	for line := range strings.Lines(string(out)) {
		for _, prefix := range []string{"github.com/prometheus/", "go.opentelemetry.io/", "github.com/distpool/distpool/metrics", "github.com/distpool/distpool/traces"} {
			if strings.HasPrefix(line, prefix) {
				t.Errorf("%s is needed by a package that every user imports", strings.TrimSpace(line))
			}
		}
	}
}

// Package observe is for observers of any kind.
func TestObserveNeedsOnlyTheStandardLibrary(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./observe")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, err.(*exec.ExitError).Stderr)
	}
	if got := strings.TrimSpace(string(out)); got != "github.com/distpool/distpool/observe" {
		t.Errorf("package observe needs\n%s", got)
	}
}

// The run of a chunk is the same whatever stores and delivers it.
func TestExecuteKnowsNeitherRedisNorTheRecord(t *testing.T) {
	cmd := exec.Command("go", "list", "-f", `{{join .Imports "\n"}}`, "./internal/execute")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, err.(*exec.ExitError).Stderr)
	}
	if !strings.Contains(string(out), "github.com/distpool/distpool/internal/call\n") {
		t.Fatalf("go list does not see the package; it printed:\n%s", out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "redis") || strings.Contains(line, "asynq") || strings.HasSuffix(line, "internal/job\n") || strings.HasSuffix(line, "internal/queue\n") {
			t.Errorf("package execute imports %s", strings.TrimSpace(line))
		}
	}
}
