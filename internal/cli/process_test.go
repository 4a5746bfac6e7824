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
	"github.com/distpool/distpool/internal/cli/clitest"
	"github.com/distpool/distpool/internal/cli/console"
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
func (s site) worker(t *testing.T, args ...string) (log *clitest.Buffer) {
	t.Helper()
	cmd := exec.Command(filepath.Join(s.dir, "worker"), append([]string{"-concurrency", "2", "-grace", "1s"}, args...)...)
	log = &clitest.Buffer{}
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
	clitest.Eventually(t, "the worker is registered", func() bool { return s.run(t, "", "workers", "--json").Out != "" })
	return log
}

// run runs the program as a process.
func (s site) run(t *testing.T, stdin string, args ...string) clitest.Outcome {
	t.Helper()
	return s.runIn(clitest.Bounded(t), t, stdin, nil, args...)
}

func (s site) runIn(ctx context.Context, t *testing.T, stdin string, env []string, args ...string) clitest.Outcome {
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
	return clitest.Outcome{Code: cmd.ProcessState.ExitCode(), Out: out.String(), Err: errs.String()}
}

// submitted submits a job and returns its ID.
func (s site) submitted(t *testing.T, args ...string) string {
	t.Helper()
	got := s.run(t, "", append(args, "--async")...)
	if got.Code != console.ExitOK || got.Out == "" {
		t.Fatalf("%v: %+v", args, got)
	}
	return strings.TrimSpace(got.Out)
}

// Every command that there is runs here as a process, beside worker processes, on a
// real Redis: a command without a row fails the test.
func TestEveryCommandWorksOnRealProcesses(t *testing.T) {
	s := newSite(t)
	s.worker(t)
	id := s.submitted(t, "map", "square", "2", `"x"`, "3")
	if got := s.run(t, "", "get", id); got.Code != console.ExitCallFailed {
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
			if got.Code != row.code || !strings.Contains(got.Out, row.want) {
				t.Errorf("got %+v, want exit code %d and %s", got, row.code, row.want)
			}
			if strings.Contains(row.args, "--json") {
				for _, line := range clitest.Decode[map[string]any](t, got.Out) {
					if len(line) == 0 {
						t.Errorf("an empty object in %s", got.Out)
					}
				}
			}
		})
	}
}

// monitorProcess is a monitor that serves, and what it has said of that.
type monitorProcess struct {
	URL          string
	Write, Token *bool

	cmd       *exec.Cmd
	interrupt context.CancelFunc
	log       clitest.Buffer
}

func (s site) monitor(t *testing.T, args ...string) *monitorProcess {
	t.Helper()
	m := &monitorProcess{}
	ctx, interrupt := context.WithCancel(clitest.Bounded(t))
	m.interrupt = interrupt
	m.cmd = exec.CommandContext(ctx, filepath.Join(s.dir, "distpool"), append([]string{"monitor", "--addr", "127.0.0.1:0", "--json"}, args...)...)
	m.cmd.Cancel = func() error { return m.cmd.Process.Signal(os.Interrupt) }
	m.cmd.Env = append(os.Environ(), "REDIS_URL="+s.url, "DISTPOOL_KEYRING=")
	m.cmd.Stderr = &m.log
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(out).Decode(m); err != nil {
		t.Fatalf("%v; its log: %s", err, &m.log)
	}
	return m
}

// stop interrupts the monitor, and returns its exit code.
func (m *monitorProcess) stop() int {
	m.interrupt()
	_ = m.cmd.Wait()
	return m.cmd.ProcessState.ExitCode()
}

func TestMonitorSaysAsJSONWhereItServes(t *testing.T) {
	m := newSite(t).monitor(t)
	if !strings.HasPrefix(m.URL, "http://127.0.0.1:") || m.Write == nil || *m.Write || m.Token == nil || *m.Token {
		t.Errorf("got %+v", m)
	}
	if code := m.stop(); code != console.ExitOK {
		t.Errorf("it ended with %d", code)
	}
}

func TestDemoSaysAsJSONHowItEnded(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	got := s.runIn(ctx, t, "", nil, "demo", "--json")
	lines := clitest.Decode[struct {
		OK                bool
		Files             int
		Counted, Expected map[string]int
	}](t, got.Out)
	if got.Code != console.ExitOK || len(lines) != 1 || !lines[0].OK || lines[0].Files == 0 || lines[0].Counted["words"] == 0 || lines[0].Counted["words"] != lines[0].Expected["words"] {
		t.Errorf("exit code %d, %+v", got.Code, lines)
	}
	if !strings.Contains(got.Err, "\nOK: they match\n") {
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
	if got := s.run(t, "", "get", id); got.Code != console.ExitCallFailed {
		t.Fatalf("%+v", got)
	}
	clitest.Eventually(t, "the job is listed", func() bool { return strings.Contains(s.run(t, "", "jobs").Out, id) })
	offered := func(words ...string) string { return s.run(t, "", append([]string{"__complete"}, words...)...).Out }
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
	if got := s.run(t, "", "__complete", "get", ""); got.Code != console.ExitOK || got.Out != ":36\n" && got.Out != ":4\n" {
		t.Errorf("without Redis: %+v", got)
	}
}

// Scripts want silence; whoever reads a log of something that takes long does not.
func TestProgressIsLinesWhereThereIsNoTerminal(t *testing.T) {
	s := newSite(t)
	s.worker(t)
	args := append([]string{"map", "sleep", "--chunk-size", "1"}, strings.Fields(strings.Repeat("1.5 ", 16))...)
	got := s.run(t, "", args...) // 12 s on two slots
	if got.Code != console.ExitOK || strings.Count(got.Out, "\n") != 16 {
		t.Fatalf("%+v", got)
	}
	if !strings.HasSuffix(got.Err, "sleep: 16 of 16 (100%)\n") || strings.Contains(got.Err, "sleep: 2 of") || strings.ContainsAny(got.Err, "\r\x1b") {
		t.Errorf("standard error %q", got.Err)
	}
}
