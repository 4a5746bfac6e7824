package cli_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/cli"
	"github.com/distpool/distpool/internal/cli/clitest"
	"github.com/distpool/distpool/internal/cli/console"
	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/recent"
)

func TestDemoShowsTheTutorialAndMatchingCounts(t *testing.T) {
	t.Setenv(beProgram, "1")
	t.Setenv("REDIS_URL", "")
	var out, errs clitest.Buffer
	start := time.Now()
	code := cli.Run(t.Context(), []string{"demo"}, console.Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
	if code != console.ExitOK || time.Since(start) > time.Minute {
		t.Fatalf("exit code %d after %v; %s", code, time.Since(start), errs.String())
	}
	if n := strings.Count(out.String(), "\nGot: "); n != 11 {
		t.Errorf("%d values, want 1 + 5 + 5", n)
	}
	for _, want := range []string{
		"Waiting for result...\nGot: 0.", "\nError: ", "sample.go:", "GetTimeout(100ms) gave up", "Get, later: 0.7",
		"\nworkers: ", "\nproducer: ", "\nOK: they match\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in the output", want)
		}
	}
	if !strings.Contains(errs.String(), "(100%)") {
		t.Errorf("no progress in %q", errs.String())
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

// startDemo starts the demo as a process of its own, on a Redis of the test, and
// returns it with its workers once they run.
func startDemo(t *testing.T) (cmd *exec.Cmd, mr *miniredis.Miniredis, workers []fleet.Worker) {
	mr = miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: mr.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(self, "demo")
	cmd.Env = append(os.Environ(), beProgram+"=1", "REDIS_URL="+mr.Addr())
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	clitest.Eventually(t, "two workers run", func() bool {
		workers, err = fleet.Workers(context.Background(), rdb)
		if err != nil {
			t.Fatal(err)
		}
		return len(workers) == 2
	})
	return cmd, mr, workers
}

// isGone reports whether a process has ended, even if nobody has waited for it.
func isGone(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") Z ")
}

func TestInterruptedDemoLeavesNothingInRedis(t *testing.T) {
	cmd, mr, workers := startDemo(t)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != console.ExitNoResult {
		t.Errorf("exit code %d, want %d", code, console.ExitNoResult)
	}
	for _, w := range workers {
		if !isGone(w.PID) {
			t.Errorf("worker %s still runs", w.ID)
		}
	}
	if keys := slices.DeleteFunc(mr.Keys(), recent.IsListKey); len(keys) > 0 {
		t.Errorf("keys are left: %q", keys)
	}
}

// Its jobs stay named in the list of recent jobs, which is everybody's and bounded.
func TestDemoLeavesNothingInARedisThatItWasGiven(t *testing.T) {
	cmd, mr, workers := startDemo(t)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	for _, w := range workers {
		if !isGone(w.PID) {
			t.Errorf("worker %s still runs", w.ID)
		}
	}
	if keys := slices.DeleteFunc(mr.Keys(), recent.IsListKey); len(keys) > 0 {
		t.Errorf("keys are left: %q", keys)
	}
}

func TestWorkersEndWithADemoThatIsKilled(t *testing.T) {
	cmd, _, workers := startDemo(t)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for _, w := range workers {
		clitest.Eventually(t, "worker "+w.ID+" ends", func() bool { return isGone(w.PID) })
	}
}

func TestDemoSaysThatAWorkerDied(t *testing.T) {
	cmd, _, workers := startDemo(t)
	if err := syscall.Kill(workers[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != console.ExitNoResult {
		t.Errorf("exit code %d, want %d", code, console.ExitNoResult)
	}
	if !isGone(workers[1].PID) {
		t.Error("the other worker still runs")
	}
}
