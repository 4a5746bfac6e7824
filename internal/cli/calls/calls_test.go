package calls_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/distpool/distpool/internal/cli"
	"github.com/distpool/distpool/internal/cli/clitest"
	"github.com/distpool/distpool/internal/cli/console"
	"github.com/distpool/distpool/results"
)

func TestValuesAreLinesInTheOrderOfTheArguments(t *testing.T) {
	addr := clitest.Serve(t)
	file := filepath.Join(t.TempDir(), "args.jsonl")
	if err := os.WriteFile(file, []byte("5\n\n  6  \n7"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		args  []string
		stdin string
		want  string
	}{
		"apply":            {[]string{"apply", "square", "12"}, "", "144\n"},
		"apply, negative":  {[]string{"apply", "square", "--", "-12"}, "", "144\n"},
		"map, words":       {[]string{"map", "square", "3", "2", "1"}, "", "9\n4\n1\n"},
		"map, stdin":       {[]string{"map", "square"}, "3\r\n2\n\n1\n", "9\n4\n1\n"},
		"map, dash":        {[]string{"map", "square", "-"}, "4", "16\n"},
		"map, file":        {[]string{"map", "square", "--input", file}, "", "25\n36\n49\n"},
		"map, input dash":  {[]string{"map", "square", "--input", "-"}, "4", "16\n"},
		"map of nothing":   {[]string{"map", "square"}, "", ""},
		"map, chunks":      {[]string{"map", "square", "1", "2", "3", "--chunk-size", "2"}, "", "1\n4\n9\n"},
		"64 bits are kept": {[]string{"map", "square", "3037000499"}, "", "9223372030926249001\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got := clitest.Run(t, addr, row.stdin, row.args...)
			if row.args[0] == "map" {
				got.Err = withoutID(t, got.Err)
			}
			if got != clitest.OK(row.want) {
				t.Errorf("got %+v, want output %q", got, row.want)
			}
		})
	}
}

// withoutID is what a map wrote to standard error behind the line that names its job.
func withoutID(t *testing.T, text string) string {
	t.Helper()
	line := regexp.MustCompile(`^distpool: job distpool/[A-Z2-7]{26}\n`).FindString(text)
	if line == "" {
		t.Errorf("standard error begins with %q, want the ID of the job", text)
	}
	return text[len(line):]
}

func TestManyLinesKeepTheirOrder(t *testing.T) {
	var in, want strings.Builder
	for i := range 1000 {
		in.WriteString(strconv.Itoa(i) + "\n")
		want.WriteString(strconv.Itoa(i*i) + "\n")
	}
	got := clitest.Run(t, clitest.Serve(t), in.String(), "map", "square", "--chunk-size", "20")
	got.Err = withoutID(t, got.Err)
	if got != clitest.OK(want.String()) {
		t.Errorf("exit code %d, errors %q, %d bytes of output, want %d", got.Code, got.Err, len(got.Out), want.Len())
	}
}

func TestStarmapSpreadsTuples(t *testing.T) {
	got := clitest.Run(t, clitest.Serve(t), "[0,0,0]\n[1,2,3]\n", "starmap", "add3_random")
	values := strings.Split(strings.TrimSpace(got.Out), "\n")
	if got.Code != console.ExitOK || len(values) != 2 {
		t.Fatalf("got %+v", got)
	}
	for i, value := range values {
		f, err := strconv.ParseFloat(value, 64)
		if low := float64(6 * i); err != nil || f < low || f >= low+1 {
			t.Errorf("value %d is %s, want one from [%v, %v)", i, value, low, low+1)
		}
	}
}

func TestAnArgumentThatIsLeftOutIsNull(t *testing.T) {
	got := clitest.Run(t, clitest.Serve(t), "", "apply", "sleep_random")
	if f, err := strconv.ParseFloat(strings.TrimSpace(got.Out), 64); got.Code != console.ExitOK || err != nil || f < 0 || f >= 1 {
		t.Errorf("got %+v", got)
	}
}

func TestAFailedCallIsALineInItsPlace(t *testing.T) {
	got := clitest.Run(t, clitest.Serve(t), "", "map", "square", "2", `"x"`, "3")
	lines := strings.Split(got.Out, "\n")
	if got.Code != console.ExitCallFailed || len(lines) != 4 || lines[0] != "4" || lines[2] != "9" {
		t.Fatalf("got %+v", got)
	}
	type failure struct {
		Task, Job, Kind, Message, Worker string
		Call                             int
	}
	var line struct{ Error failure }
	if err := json.Unmarshal([]byte(lines[1]), &line); err != nil {
		t.Fatal(err)
	}
	if e := line.Error; e.Task != "square" || e.Call != 1 || e.Kind != string(results.KindBadArgument) || e.Message == "" || e.Job == "" || e.Worker == "" {
		t.Errorf("line %s", lines[1])
	}
	if !strings.Contains(got.Err, `task "square", call 1`) {
		t.Errorf("standard error %q", got.Err)
	}
}

func TestThePanicsStackGoesToStandardError(t *testing.T) {
	got := clitest.Run(t, clitest.Serve(t), "", "apply", "panic", `"<on fire>"`)
	if got.Code != console.ExitCallFailed || !strings.Contains(got.Out, "<on fire>") || strings.Contains(got.Out, "goroutine") {
		t.Errorf("exit code %d, output %q", got.Code, got.Out)
	}
	if !strings.Contains(got.Err, "sample.go") {
		t.Errorf("no stack on standard error: %q", got.Err)
	}
}

func TestWrongUseIsExitCode2WithTheReason(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	file := filepath.Join(t.TempDir(), "bad.jsonl")
	if err := os.WriteFile(file, []byte("1\n\n{oops\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		args  string
		stdin string
		want  string
	}{
		{"apply", "", "arg"},
		{"apply a 1 2", "", "arg"},
		{"apply square x", "", "x is not a JSON value"},
		{"apply square -12", "", `"--"`},
		{"apply sp@ce 1", "", `"sp@ce"`},
		{"map square 1 x", "", "argument 2: x is not a JSON value"},
		{"map square", "1\n2 3\n", "standard input: line 2: 2 3"},
		{"map square --input " + file, "", file + ": line 3: {oops"},
		{"map square --input " + file + ".gone", "", "no such file"},
		{"map square 1 --input " + file, "", "exclude each other"},
		{"map square 1 --chunk-size -1", "", "--chunk-size is -1"},
		{"starmap add3_random", "[1,2,3]\n7\n", "tuple 2 is 7"},
		{"map square 1 --queue {x}", "", "--queue"},
		{"map square 1 --timeout -1s", "", "--timeout is -1s"},
		{"get", "", "distpool get ID"},
		{"retry-failed", "", "distpool retry-failed ID"},
		{"imap square --window -1", "1", "--window is -1"},
		{"apply square 1 --encrypt", "", "--keyring"},
		{"juggle", "", "juggle"},
		{"map square 1 --no-such-flag", "", "--no-such-flag"},
	} {
		got := clitest.Run(t, addr, row.stdin, strings.Fields(row.args)...)
		if got.Code != console.ExitUsage || got.Out != "" || !strings.Contains(got.Err, row.want) {
			t.Errorf("%s: got %+v, want exit code 2 and %q", row.args, got, row.want)
		}
	}
	if got := clitest.Run(t, "gopher://x", "", "apply", "square", "1"); got.Code != console.ExitUsage || !strings.Contains(got.Err, "gopher") {
		t.Errorf("bad URL: got %+v", got)
	}
}

func TestNoRedisIsExitCode3(t *testing.T) {
	mr := miniredis.RunT(t)
	addr := mr.Addr()
	mr.Close()
	got := clitest.Run(t, addr, "", "apply", "square", "1")
	if got.Code != console.ExitNoResult || !strings.Contains(got.Err, addr) {
		t.Errorf("got %+v", got)
	}
}

func TestTimeoutLeavesTheJobForGet(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	got := clitest.Run(t, addr, "", "map", "square", "2", "3", "--timeout", "3s") // the submission must fit into it, also on a loaded machine
	if got.Code != console.ExitNoResult || got.Out != "" {
		t.Fatalf("got %+v", got)
	}
	_, id, found := strings.Cut(strings.TrimSpace(got.Err), "distpool get ")
	if !found {
		t.Fatalf("no ID in %q", got.Err)
	}
	clitest.StartWorker(t, addr)
	if got := clitest.Run(t, addr, "", "get", id); got != clitest.OK("4\n9\n") {
		t.Errorf("get: %+v", got)
	}
}

func TestAsyncPrintsTheIDForGet(t *testing.T) {
	addr := clitest.Serve(t)
	for want, args := range map[string][]string{
		"144\n":  {"apply", "square", "12", "--async"},
		"1\n4\n": {"map", "square", "1", "2", "--async"},
	} {
		submitted := clitest.Run(t, addr, "", args...)
		id := strings.TrimSpace(submitted.Out)
		if submitted.Code != console.ExitOK || id == "" || submitted.Err != "" {
			t.Fatalf("%v: %+v", args, submitted)
		}
		for range 2 { // a result stays
			if got := clitest.Run(t, addr, "", "get", id); got != clitest.OK(want) {
				t.Errorf("%v: %+v", args, got)
			}
		}
	}
}

func TestGetShowsFailedCallsToo(t *testing.T) {
	addr := clitest.Serve(t)
	id := strings.TrimSpace(clitest.Run(t, addr, "", "starmap", "add3_random", "[1]", "--async").Out)
	got := clitest.Run(t, addr, "", "get", id)
	if got.Code != console.ExitCallFailed || !strings.HasPrefix(got.Out, `{"error":{"task":"add3_random","job":"`+id) {
		t.Errorf("got %+v", got)
	}
}

func TestGetOfAnUnknownJobIsExitCode3(t *testing.T) {
	got := clitest.Run(t, miniredis.RunT(t).Addr(), "", "get", "nobody")
	if got.Code != console.ExitNoResult || !strings.Contains(got.Err, "nobody") || !strings.Contains(got.Err, results.ErrUnknownJob.Error()) {
		t.Errorf("got %+v", got)
	}
}

func TestAnInterruptCancelsTheJob(t *testing.T) {
	addr := clitest.Serve(t)
	ctx, interrupt := context.WithCancel(clitest.Bounded(t))
	var out, said clitest.Buffer
	ended := make(chan clitest.Outcome, 1)
	go func() {
		code := cli.Run(ctx, []string{"--redis", addr, "apply", "sleep", "3600"}, console.Streams{In: strings.NewReader(""), Out: &out, Err: &said})
		ended <- clitest.Outcome{Code: code, Out: out.String(), Err: said.String()}
	}()
	// The call runs before the program hears that it was submitted.
	clitest.Eventually(t, "the program waits for the job", func() bool { return strings.Contains(said.String(), "distpool: job ") })
	interrupt()
	got := <-ended
	if got.Code != console.ExitNoResult || !strings.Contains(got.Err, "was canceled") {
		t.Fatalf("got %+v", got)
	}
	_, rest, _ := strings.Cut(got.Err, "interrupted: job ")
	id, _, _ := strings.Cut(rest, " ")
	if got := clitest.Run(t, addr, "", "get", id); got.Code != console.ExitNoResult || !strings.Contains(got.Err, results.ErrCanceled.Error()) {
		t.Errorf("get: %+v", got)
	}
}

func TestItSaysThatNoWorkerServesTheQueue(t *testing.T) {
	addr := clitest.Serve(t) // another queue
	got := clitest.Run(t, addr, "", "apply", "square", "1", "--queue", "lonely", "--timeout", "5s")
	if n := strings.Count(got.Err, `no worker serves queue "lonely"`); got.Code != console.ExitNoResult || n != 1 {
		t.Errorf("said %d times; got %+v", n, got)
	}
}
