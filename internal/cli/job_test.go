package cli_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/distpool/distpool/internal/cli"
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
	addr := serve(t)
	id := submitted(t, addr, "map", "panic", `"<b>\u001b[31m"`, `"second"`)
	program(bounded(t), addr, "", "get", id)

	got := program(bounded(t), addr, "", "job", id, "--json")
	jobs := decode[jobDetail](t, got.out)
	if got.code != cli.ExitOK || len(jobs) != 1 {
		t.Fatalf("got %+v", got)
	}
	j := jobs[0]
	if j.Job != id || j.Status != string(inspect.Failed) || j.Calls != 2 || j.Failed != 2 || len(j.FailedCalls) != 2 {
		t.Fatalf("got %+v", j)
	}
	if f := j.FailedCalls[1]; f.Call != 1 || f.Args != `"second"` || f.Message == "" || f.Worker == "" || !strings.Contains(f.Stack, "sample.go") {
		t.Errorf("got %+v", f)
	}

	text := program(bounded(t), addr, "", "job", id)
	if text.code != cli.ExitOK || !strings.Contains(text.out, "<b>") || !strings.Contains(text.out, "second") {
		t.Errorf("got %+v", text)
	}
	if strings.ContainsRune(text.out, '\x1b') {
		t.Errorf("the arguments of others steer the terminal: %q", text.out)
	}
}

func TestWatchFollowsAJobToItsEnd(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	id := submitted(t, addr, "map", "square", "1", "2", "3", "--chunk-size", "1")
	ended := make(chan outcome, 1)
	ctx := bounded(t)
	go func() { ended <- program(ctx, addr, "", "job", id, "--watch", "--json") }()
	startWorker(t, addr)
	got := <-ended
	jobs := decode[jobJSON](t, got.out)
	if got.code != cli.ExitOK || got.err != "" || len(jobs) == 0 {
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
	addr := serve(t)
	failed := submitted(t, addr, "apply", "fail", `"no luck"`)
	got := program(bounded(t), addr, "", "job", failed, "--watch")
	if got.code != cli.ExitCallFailed || !strings.Contains(got.out, "no luck") {
		t.Errorf("failed: %+v", got)
	}
	canceled := submitted(t, addr, "apply", "square", "1", "--queue", "lonely")
	if got := program(bounded(t), addr, "", "cancel", canceled); got.code != cli.ExitOK {
		t.Fatalf("%+v", got)
	}
	got = program(bounded(t), addr, "", "job", canceled, "--watch")
	if got.code != cli.ExitNoResult || !strings.Contains(got.err, inspect.CancelReason) {
		t.Errorf("canceled: %+v", got)
	}
}

func TestTheEndOfWatchingLeavesTheJob(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	id := submitted(t, addr, "map", "square", "1", "2")
	got := program(bounded(t), addr, "", "job", id, "--watch", "--timeout", "2s")
	if got.code != cli.ExitNoResult || !strings.Contains(got.err, "square: waiting, 0 of 2 calls") || !strings.Contains(got.err, "distpool job "+id+" --watch") {
		t.Errorf("timeout: %+v", got)
	}
	ctx, interrupt := context.WithCancel(bounded(t))
	errs := make(chan outcome, 1)
	go func() { errs <- program(ctx, addr, "", "job", id, "--watch") }()
	interrupt()
	if got := <-errs; got.code != cli.ExitNoResult {
		t.Errorf("interrupt: %+v", got)
	}
	startWorker(t, addr)
	if got := program(bounded(t), addr, "", "get", id); got != (outcome{cli.ExitOK, "1\n4\n", ""}) {
		t.Errorf("get: %+v", got)
	}
}

func TestWhatCannotBeAnIDIsWrongUse(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	for _, command := range []string{"get", "job", "retry-failed"} {
		for _, id := range []string{"", "not an ID", strings.Repeat("x", 101), "q/", "/x", "a b/x"} {
			got := program(bounded(t), addr, "", command, id)
			if got.code != cli.ExitUsage || !strings.Contains(got.err, command+": job ") || !strings.Contains(got.err, "use 1 to 100") {
				t.Errorf("%s %q: %+v", command, id, got)
			}
		}
	}
}

func TestAnUnknownJobIsExitCode3(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	for _, args := range [][]string{{"job", "nobody"}, {"job", "nobody", "--watch"}, {"cancel", "nobody"}} {
		got := program(bounded(t), addr, "", args...)
		if got.code != cli.ExitNoResult || !strings.Contains(got.out+got.err, "nobody") || !strings.Contains(got.out+got.err, "no such job") {
			t.Errorf("%v: %+v", args, got)
		}
	}
}

// A bare name is of the queue of --queue.
func TestJobsOfAnyQueueAreNamedByTheirAddress(t *testing.T) {
	addr := serve(t)
	const queue = "a/b:c"
	id := submitted(t, addr, "apply", "square", "3", "--queue", queue) // no worker serves it
	name, ok := strings.CutPrefix(id, queue+"/")
	if !ok {
		t.Fatalf("the ID is %q", id)
	}
	if j := listed(t, addr, 1)[0]; j.Job != id || j.Queue != queue {
		t.Errorf("listed is %+v", j)
	}
	if got := program(bounded(t), addr, "", "__complete", "get", ""); !strings.Contains(got.out, id) {
		t.Errorf("the shell completes %+v", got)
	}
	for _, row := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"job", id, "--json"}, cli.ExitOK, `"job":"` + id + `"`},
		{[]string{"job", name, "--queue", queue, "--json"}, cli.ExitOK, `"job":"` + id + `"`},
		{[]string{"job", name}, cli.ExitNoResult, "distpool/" + name},
		{[]string{"job", "other/" + name, "--queue", queue}, cli.ExitNoResult, "other/" + name},
		{[]string{"cancel", name}, cli.ExitNoResult, "distpool/" + name},
		{[]string{"cancel", name, "--queue", queue}, cli.ExitOK, id},
		{[]string{"get", name, "--queue", queue}, cli.ExitNoResult, "job " + id},
		{[]string{"retry-failed", id}, cli.ExitOK, "no call of job " + id + " failed"},
		{[]string{"retry-failed", name, "--queue", queue}, cli.ExitOK, "no call of job " + id + " failed"},
	} {
		got := program(bounded(t), addr, "", row.args...)
		if got.code != row.code || !strings.Contains(got.out+got.err, row.want) {
			t.Errorf("%q: %+v, want exit code %d and %q", row.args, got, row.code, row.want)
		}
	}
}
