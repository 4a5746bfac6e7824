package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/cli"
	"github.com/distpool/distpool/internal/redistest"
)

// programs builds the programs once, and returns the directory they are in.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "distpool-programs-")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "./cmd/worker", "./cmd/distpool")
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		return dir, errors.New(string(out))
	}
	return dir, nil
})

// programsDir is what to remove at the end.
var programsDir atomic.Pointer[string]

// site is a real Redis with real processes around it.
type site struct {
	dir, url string
}

func newSite(t *testing.T) site {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	programsDir.Store(&dir)
	return site{dir, redistest.Start(t).URL()}
}

// worker starts a worker process, and returns when it is registered.
func (s site) worker(t *testing.T, args ...string) (log *buffer) {
	t.Helper()
	cmd := exec.Command(filepath.Join(s.dir, "worker"), append([]string{"-concurrency", "2", "-grace", "1s"}, args...)...)
	log = &buffer{}
	cmd.Env = append(os.Environ(), "REDIS_URL="+s.url, "DISTPOOL_KEYRING=")
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the worker ended with %v; its log:\n%s", err, log)
		}
	})
	eventually(t, "the worker is registered", func() bool { return s.run(t, "", "workers", "--json").out != "" })
	return log
}

// run runs the program as a process.
func (s site) run(t *testing.T, stdin string, args ...string) outcome {
	t.Helper()
	return s.runIn(bounded(t), t, stdin, nil, args...)
}

func (s site) runIn(ctx context.Context, t *testing.T, stdin string, env []string, args ...string) outcome {
	t.Helper()
	cmd := exec.CommandContext(ctx, filepath.Join(s.dir, "distpool"), args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Env = append(append(os.Environ(), "REDIS_URL="+s.url, "DISTPOOL_KEYRING="), env...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// submitted submits a job and returns its ID.
func (s site) submitted(t *testing.T, args ...string) string {
	t.Helper()
	got := s.run(t, "", append(args, "--async")...)
	if got.code != cli.ExitOK || got.out == "" {
		t.Fatalf("%v: %+v", args, got)
	}
	return strings.TrimSpace(got.out)
}

// Every command that there is runs here as a process, beside worker processes, on a
// real Redis: a command without a row fails the test.
func TestEveryCommandWorksOnRealProcesses(t *testing.T) {
	s := newSite(t)
	s.worker(t)
	id := s.submitted(t, "map", "square", "2", `"x"`, "3")
	if got := s.run(t, "", "get", id); got.code != cli.ExitCallFailed {
		t.Fatalf("%+v", got)
	}
	waiting := s.submitted(t, "apply", "square", "1", "--queue", "lonely")
	s.submitted(t, "apply", "square", "2", "--queue", "lonely") // and stays
	rows := map[string]struct {
		args  string
		stdin string
		code  int
		want  string // in the output
	}{
		"apply":         {"apply square 12 --json", "", 0, `"call":0,"value":144}`},
		"map":           {"map square 1 2 --json", "", 0, `"call":1,"value":4}`},
		"starmap":       {"starmap add3_random [1,2,3] --json", "", 0, `"call":0,"value":6`},
		"imap":          {"imap square --unordered --json", "7\n", 0, `{"call":0,"value":49}`},
		"get":           {"get --json " + id, "", 1, `"call":2,"value":9}`},
		"retry-failed":  {"retry-failed --json " + id, "", 1, `"call":0,"of":1,"error":{`},
		"jobs":          {"jobs --json --limit 1000", "", 0, `"job":`},
		"job":           {"job --json " + id, "", 0, `"failed_calls":[{"call":1,`},
		"cancel":        {"cancel --json " + waiting, "", 0, `"state":"canceled"`},
		"workers":       {"workers --json", "", 0, `"slots":2`},
		"queues":        {"queues --json", "", 0, `"queue":"distpool"`},
		"queues pause":  {"queues pause lonely --json", "", 0, `"paused":true`},
		"queues resume": {"queues resume lonely --json", "", 0, `"paused":false`},
		"queues lanes":  {"queues lanes distpool --json", "", 0, `"lane":"distpool","new":true`},
		"doctor":        {"doctor --json", "", 1, `{"check":"queue lonely","verdict":"bad"`}, // where a job waits
		"version":       {"version --json", "", 0, `"go":"go`},
		"completion":    {"completion bash", "", 0, "__start_distpool"},
		"help":          {"help retry-failed", "", 0, "64 MiB"},
	}
	// They go on until they are told to end, or need more time; see their own tests.
	elsewhere := map[string]string{"monitor": "TestMonitorSaysAsJSONWhereItServes", "probe": "TestProbeOfARealMonitorProcess", "demo": "TestDemoSaysAsJSONHowItEnded"}
	for _, name := range cli.CommandNames() {
		row, ok := rows[name]
		if !ok && elsewhere[name] == "" {
			t.Errorf("%s: no row", name)
		}
		if !ok {
			continue
		}
		t.Run(name, func(t *testing.T) {
			got := s.run(t, row.stdin, strings.Fields(row.args)...)
			if got.code != row.code || !strings.Contains(got.out, row.want) {
				t.Errorf("got %+v, want exit code %d and %s", got, row.code, row.want)
			}
			if strings.Contains(row.args, "--json") {
				for _, line := range decode[map[string]any](t, got.out) {
					if len(line) == 0 {
						t.Errorf("an empty object in %s", got.out)
					}
				}
			}
		})
	}
}

func TestMonitorSaysAsJSONWhereItServes(t *testing.T) {
	s := newSite(t)
	ctx, stop := context.WithCancel(bounded(t))
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.CommandContext(ctx, filepath.Join(s.dir, "distpool"), "monitor", "--redis", s.url, "--addr", "127.0.0.1:0", "--json")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	var line struct {
		URL          string
		Write, Token *bool
	}
	if err := json.NewDecoder(out).Decode(&line); err != nil || !strings.HasPrefix(line.URL, "http://127.0.0.1:") || line.Write == nil || *line.Write || line.Token == nil || *line.Token {
		t.Errorf("got %+v, %v", line, err)
	}
	stop()
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != cli.ExitOK {
		t.Errorf("it ended with %v", cmd.ProcessState)
	}
}

func TestDemoSaysAsJSONHowItEnded(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	got := s.runIn(ctx, t, "", nil, "demo", "--json")
	lines := decode[struct {
		OK                bool
		Files             int
		Counted, Expected map[string]int
	}](t, got.out)
	if got.code != cli.ExitOK || len(lines) != 1 || !lines[0].OK || lines[0].Files == 0 || lines[0].Counted["words"] == 0 || lines[0].Counted["words"] != lines[0].Expected["words"] {
		t.Errorf("exit code %d, %+v", got.code, lines)
	}
	if !strings.Contains(got.err, "\nOK: they match\n") {
		t.Error("the story is not on standard error")
	}
}

func client(t *testing.T, url string) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(o)
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

func TestCompletionOffersWhatThereIs(t *testing.T) {
	s := newSite(t)
	s.worker(t)
	id := s.submitted(t, "apply", "fail", `"x"`)
	if got := s.run(t, "", "get", id); got.code != cli.ExitCallFailed {
		t.Fatalf("%+v", got)
	}
	eventually(t, "the job is listed", func() bool { return strings.Contains(s.run(t, "", "jobs").out, id) })
	offered := func(words ...string) string { return s.run(t, "", append([]string{"__complete"}, words...)...).out }
	for _, row := range []struct {
		words []string
		want  string
		is    bool
	}{
		{[]string{"apply", ""}, "\nsquare\n", true},
		{[]string{"apply", "square", ""}, "square", false},
		{[]string{"get", ""}, id + "\tfail, failed", true},
		{[]string{"retry-failed", ""}, id, true},
		{[]string{"cancel", ""}, id, false}, // it is over
		{[]string{"queues", "pause", ""}, "distpool", true},
		{[]string{"map", "--queue", ""}, "distpool", true},
		{[]string{"jobs", "--task", ""}, "\nsquare\n", true},
		{[]string{"jobs", "--status", ""}, "canceled", true},
	} {
		if got := "\n" + offered(row.words...); strings.Contains(got, row.want) != row.is {
			t.Errorf("%q offers %q; has %q: want %v", row.words, got, row.want, row.is)
		}
	}
	// Names in Redis are anybody's, and go into a shell.
	rdb := client(t, s.url)
	if err := rdb.SAdd(t.Context(), "asynq:queues", "$(touch /tmp/x)").Err(); err != nil {
		t.Fatal(err)
	}
	if got := offered("queues", "pause", ""); strings.Contains(got, "touch") {
		t.Errorf("a queue's name goes into the shell: %q", got)
	}
	s.url = "redis://127.0.0.1:1"
	if got := s.run(t, "", "__complete", "get", ""); got.code != cli.ExitOK || got.out != ":36\n" && got.out != ":4\n" {
		t.Errorf("without Redis: %+v", got)
	}
}

// Scripts want silence; whoever reads a log of something that takes long does not.
func TestProgressIsLinesWhereThereIsNoTerminal(t *testing.T) {
	s := newSite(t)
	s.worker(t)
	args := append([]string{"map", "sleep", "--chunk-size", "1"}, strings.Fields(strings.Repeat("1.5 ", 16))...)
	got := s.run(t, "", args...) // 12 s on two slots
	if got.code != cli.ExitOK || strings.Count(got.out, "\n") != 16 {
		t.Fatalf("%+v", got)
	}
	if !strings.HasSuffix(got.err, "sleep: 16 of 16 (100%)\n") || strings.Contains(got.err, "sleep: 2 of") || strings.ContainsAny(got.err, "\r\x1b") {
		t.Errorf("standard error %q", got.err)
	}
}
