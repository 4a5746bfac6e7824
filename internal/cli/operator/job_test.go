package operator_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/distpool/distpool/internal/cli/clitest"
	"github.com/distpool/distpool/internal/cli/console"
	"github.com/distpool/distpool/internal/inspect"
)

type jobDetail struct {
	jobJSON
	FailedCalls []failedCall `json:"failed_calls"`
}

type failedCall struct {
	Call                               int
	Kind, Message, Worker, Args, Stack string
}

func TestJobShowsItsFailedCalls(t *testing.T) {
	addr := clitest.Serve(t)
	id := clitest.Submitted(t, addr, "map", "panic", `"<b>\u001b[31m"`, `"second"`)
	clitest.Run(t, addr, "", "get", id)

	got := clitest.Run(t, addr, "", "job", id, "--json")
	jobs := clitest.Decode[jobDetail](t, got.Out)
	if got.Code != console.ExitOK || len(jobs) != 1 {
		t.Fatalf("got %+v", got)
	}
	j := jobs[0]
	if j.Job != id || j.Status != string(inspect.Failed) || j.Calls != 2 || j.Failed != 2 || len(j.FailedCalls) != 2 {
		t.Fatalf("got %+v", j)
	}
	if f := j.FailedCalls[1]; f.Call != 1 || f.Args != `"second"` || f.Message == "" || f.Worker == "" || !strings.Contains(f.Stack, "sample.go") {
		t.Errorf("got %+v", f)
	}

	text := clitest.Run(t, addr, "", "job", id)
	if text.Code != console.ExitOK || !strings.Contains(text.Out, "<b>") || !strings.Contains(text.Out, "second") {
		t.Errorf("got %+v", text)
	}
	if strings.ContainsRune(text.Out, '\x1b') {
		t.Errorf("the arguments of others steer the terminal: %q", text.Out)
	}
}

func TestWatchFollowsAJobToItsEnd(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	id := clitest.Submitted(t, addr, "map", "square", "1", "2", "3", "--chunk-size", "1")
	ended := make(chan clitest.Outcome, 1)
	ctx := clitest.Bounded(t)
	go func() { ended <- clitest.RunIn(ctx, addr, "", "job", id, "--watch", "--json") }()
	clitest.StartWorker(t, addr)
	got := <-ended
	jobs := clitest.Decode[jobJSON](t, got.Out)
	if got.Code != console.ExitOK || got.Err != "" || len(jobs) == 0 {
		t.Fatalf("got %+v", got)
	}
	if last := jobs[len(jobs)-1]; last.Status != string(inspect.Succeeded) || last.Done != 3 {
		t.Errorf("the last line is %+v", last)
	}
	if !slices.IsSortedFunc(jobs, func(a, b jobJSON) int { return a.Done - b.Done }) {
		t.Errorf("it went back: %+v", jobs)
	}
}

func TestWatchEndsWithTheExitCodeOfTheJob(t *testing.T) {
	addr := clitest.Serve(t)
	failed := clitest.Submitted(t, addr, "apply", "fail", `"no luck"`)
	got := clitest.Run(t, addr, "", "job", failed, "--watch")
	if got.Code != console.ExitCallFailed || !strings.Contains(got.Out, "no luck") {
		t.Errorf("failed: %+v", got)
	}
	canceled := clitest.Submitted(t, addr, "apply", "square", "1", "--queue", "lonely")
	if got := clitest.Run(t, addr, "", "cancel", canceled); got.Code != console.ExitOK {
		t.Fatalf("%+v", got)
	}
	got = clitest.Run(t, addr, "", "job", canceled, "--watch")
	if got.Code != console.ExitNoResult || !strings.Contains(got.Err, inspect.CancelReason) {
		t.Errorf("canceled: %+v", got)
	}
}

func TestTheEndOfWatchingLeavesTheJob(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	id := clitest.Submitted(t, addr, "map", "square", "1", "2")
	got := clitest.Run(t, addr, "", "job", id, "--watch", "--timeout", "2s")
	if got.Code != console.ExitNoResult || !strings.Contains(got.Err, "square: waiting, 0 of 2 calls") || !strings.Contains(got.Err, "distpool job "+id+" --watch") {
		t.Errorf("timeout: %+v", got)
	}
	ctx, interrupt := context.WithCancel(clitest.Bounded(t))
	errs := make(chan clitest.Outcome, 1)
	go func() { errs <- clitest.RunIn(ctx, addr, "", "job", id, "--watch") }()
	interrupt()
	if got := <-errs; got.Code != console.ExitNoResult {
		t.Errorf("interrupt: %+v", got)
	}
	clitest.StartWorker(t, addr)
	if got := clitest.Run(t, addr, "", "get", id); got != clitest.OK("1\n4\n") {
		t.Errorf("get: %+v", got)
	}
}

func TestWhatCannotBeAnIDIsWrongUse(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	for _, command := range []string{"get", "job", "retry-failed"} {
		for _, id := range []string{"", "not an ID", strings.Repeat("x", 101), "q/", "/x", "a b/x"} {
			got := clitest.Run(t, addr, "", command, id)
			if got.Code != console.ExitUsage || !strings.Contains(got.Err, command+": job ") || !strings.Contains(got.Err, "use 1 to 100") {
				t.Errorf("%s %q: %+v", command, id, got)
			}
		}
	}
}

func TestAnUnknownJobIsExitCode3(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	for _, args := range [][]string{{"job", "nobody"}, {"job", "nobody", "--watch"}, {"cancel", "nobody"}} {
		got := clitest.Run(t, addr, "", args...)
		if got.Code != console.ExitNoResult || !strings.Contains(got.Out+got.Err, "nobody") || !strings.Contains(got.Out+got.Err, "no such job") {
			t.Errorf("%v: %+v", args, got)
		}
	}
}

// A bare name is of the queue of --queue.
func TestJobsOfAnyQueueAreNamedByTheirAddress(t *testing.T) {
	addr := clitest.Serve(t)
	const queue = "a/b:c"
	id := clitest.Submitted(t, addr, "apply", "square", "3", "--queue", queue) // no worker serves it
	name, ok := strings.CutPrefix(id, queue+"/")
	if !ok {
		t.Fatalf("the ID is %q", id)
	}
	if j := listed(t, addr, 1)[0]; j.Job != id || j.Queue != queue {
		t.Errorf("listed is %+v", j)
	}
	if got := clitest.Run(t, addr, "", "__complete", "get", ""); !strings.Contains(got.Out, id) {
		t.Errorf("the shell completes %+v", got)
	}
	for _, row := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"job", id, "--json"}, console.ExitOK, `"job":"` + id + `"`},
		{[]string{"job", name, "--queue", queue, "--json"}, console.ExitOK, `"job":"` + id + `"`},
		{[]string{"job", name}, console.ExitNoResult, "distpool/" + name},
		{[]string{"job", "other/" + name, "--queue", queue}, console.ExitNoResult, "other/" + name},
		{[]string{"cancel", name}, console.ExitNoResult, "distpool/" + name},
		{[]string{"cancel", name, "--queue", queue}, console.ExitOK, id},
		{[]string{"get", name, "--queue", queue}, console.ExitNoResult, "job " + id},
		{[]string{"retry-failed", id}, console.ExitOK, "no call of job " + id + " failed"},
		{[]string{"retry-failed", name, "--queue", queue}, console.ExitOK, "no call of job " + id + " failed"},
	} {
		got := clitest.Run(t, addr, "", row.args...)
		if got.Code != row.code || !strings.Contains(got.Out+got.Err, row.want) {
			t.Errorf("%q: %+v, want exit code %d and %q", row.args, got, row.code, row.want)
		}
	}
}
