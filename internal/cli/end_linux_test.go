package cli_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/distpool/distpool/internal/cli/clitest"
	"github.com/distpool/distpool/internal/cli/console"
)

// terminal opens a pseudo terminal.
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	var number, lock uint32
	for request, arg := range map[uintptr]*uint32{syscall.TIOCGPTN: &number, syscall.TIOCSPTLCK: &lock} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, master.Fd(), request, uintptr(unsafe.Pointer(arg))); errno != 0 {
			t.Fatal(errno)
		}
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = slave.Close() })
	return master, slave
}

// command is a running command with an endless stream of calls as input.
type command struct {
	cmd   *exec.Cmd
	ended chan struct{}
	errs  *clitest.Buffer
}

// start starts the program with the output. The input is as yes 0.05 writes it.
func (s site) start(t *testing.T, out *os.File, how func(*exec.Cmd), args ...string) *command {
	t.Helper()
	c := &command{exec.Command(filepath.Join(s.dir, "distpool"), args...), make(chan struct{}), &clitest.Buffer{}}
	c.cmd.Env = append(os.Environ(), "REDIS_URL="+s.url, "DISTPOOL_KEYRING=")
	c.cmd.Stdout, c.cmd.Stderr = out, c.errs
	in, lines, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.cmd.Stdin = in
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if how != nil {
		how(c.cmd)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	go func() {
		for {
			if _, err := io.WriteString(lines, "0.05\n"); err != nil {
				return
			}
		}
	}()
	go func() { defer close(c.ended); _ = c.cmd.Wait() }()
	t.Cleanup(func() {
		_ = lines.Close()
		_ = c.cmd.Process.Kill()
		<-c.ended
	})
	return c
}

// code waits for the end of the command, and returns its exit code: -1 if a signal
// killed it.
func (c *command) code(t *testing.T) int {
	t.Helper()
	select {
	case <-c.ended:
		return c.cmd.ProcessState.ExitCode()
	case <-time.After(20 * time.Second):
		t.Fatalf("the command does not end; standard error:\n%s", c.errs)
		return 0
	}
}

// rest waits until nothing is left to be run.
func (s site) rest(t *testing.T) {
	t.Helper()
	rdb := client(t, s.url)
	clitest.Eventually(t, "no job runs and the queue is empty", func() bool {
		jobs := s.run(t, "", "jobs", "--json", "--limit", "1000")
		queues := s.run(t, "", "queues", "--json").Out
		return !strings.Contains(jobs.Out, `"status":"running"`) && !strings.Contains(jobs.Out, `"status":"pending"`) &&
			strings.Contains(queues, `"pending":0`) && strings.Contains(queues, `"active":0`) &&
			rdb.Exists(t.Context(), "asynq:{distpool}:scheduled", "asynq:{distpool}:retry").Val() == 0
	})
}

func (s site) runs(t *testing.T) {
	t.Helper()
	clitest.Eventually(t, "the job is listed", func() bool {
		return strings.Contains(s.run(t, "", "jobs", "--json").Out, `"status":"running"`)
	})
}

// However a command ends, the job of its stream ends with it.
func TestAStreamEndsWithItsCommand(t *testing.T) {
	s := newSite(t)
	s.worker(t)
	args := []string{"imap", "sleep", "--window", "50"}
	pipe := func(t *testing.T) (r, w *os.File) {
		t.Helper()
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
		return r, w
	}
	first := func(t *testing.T, r io.Reader) {
		t.Helper()
		if line, err := io.ReadAll(io.LimitReader(r, 1)); err != nil || len(line) == 0 {
			t.Fatalf("got %q, %v", line, err)
		}
	}
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			r, w := pipe(t)
			c := s.start(t, w, nil, args...)
			first(t, r)
			go func() { _, _ = io.Copy(io.Discard, r) }()
			s.runs(t)
			_ = c.cmd.Process.Signal(sig)
			if sig == syscall.SIGHUP {
				_ = c.cmd.Process.Signal(sig) // the kernel and the shell send one each
			}
			if code := c.code(t); code != console.ExitNoResult || !strings.Contains(c.errs.String(), "interrupted") {
				t.Errorf("exit code %d, %q", code, c.errs)
			}
			s.rest(t)
		})
	}
	t.Run("its reader has enough", func(t *testing.T) {
		r, w := pipe(t)
		c := s.start(t, w, nil, args...)
		_ = w.Close()
		first(t, r)
		s.runs(t)
		_ = r.Close()
		if code := c.code(t); code != console.ExitNoResult || c.errs.String() != "" {
			t.Errorf("exit code %d, %q", code, c.errs)
		}
		s.rest(t)
	})
	t.Run("its reader and that of its messages", func(t *testing.T) {
		r, w := pipe(t)
		c := s.start(t, w, func(cmd *exec.Cmd) { cmd.Stderr = w }, args...)
		_ = w.Close()
		first(t, r)
		s.runs(t)
		_ = r.Close()
		if code := c.code(t); code != console.ExitNoResult {
			t.Errorf("exit code %d", code)
		}
		s.rest(t)
	})
	t.Run("a full disk", func(t *testing.T) {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer full.Close()
		c := s.start(t, full, nil, args...)
		if code := c.code(t); code != console.ExitNoResult || !strings.Contains(c.errs.String(), "no space left") {
			t.Errorf("exit code %d, %q", code, c.errs)
		}
		s.rest(t)
	})
	t.Run("an output that nothing reads", func(t *testing.T) {
		_, w := pipe(t)
		if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, w.Fd(), syscall.F_SETPIPE_SZ, 4096); errno != 0 {
			t.Fatal(errno)
		}
		for range 4096/8 - 1 { // all but eight bytes: a few values
			if _, err := io.WriteString(w, "ballast\n"); err != nil {
				t.Fatal(err)
			}
		}
		c := s.start(t, w, nil, append(args, "--chunk-size", "1")...)
		s.runs(t)
		clitest.Eventually(t, "it waits for its reader", func() bool { return strings.Contains(blocked(c.cmd.Process.Pid), "pipe_write") })
		_ = c.cmd.Process.Signal(syscall.SIGTERM)
		if code := c.code(t); code != console.ExitNoResult {
			t.Errorf("exit code %d, %q", code, c.errs)
		}
		s.rest(t)
	})
	t.Run("its terminal is closed", func(t *testing.T) {
		master, slave := terminal(t)
		c := s.start(t, slave, func(cmd *exec.Cmd) {
			cmd.Stderr = slave
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 1}
		}, args...)
		_ = slave.Close()
		first(t, master)
		s.runs(t)
		_ = master.Close()
		if code := c.code(t); code != console.ExitNoResult {
			t.Errorf("exit code %d", code)
		}
		s.rest(t)
	})
}

// blocked is what the threads of a process wait for in the kernel.
func blocked(pid int) string {
	var all strings.Builder
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/wchan", pid))
	for _, f := range files {
		text, _ := os.ReadFile(f)
		all.Write(text)
		all.WriteString(" ")
	}
	return all.String()
}

func TestAMapThatIsKilledHasToldItsID(t *testing.T) {
	s := newSite(t)
	out, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	c := s.start(t, out, nil, "map", "square", "2", "3")
	id := ""
	clitest.Eventually(t, "it prints its ID", func() bool {
		_, text, _ := strings.Cut(c.errs.String(), "distpool: job ")
		var ended bool
		id, _, ended = strings.Cut(text, "\n")
		return ended
	})
	_ = c.cmd.Process.Kill()
	<-c.ended
	s.worker(t)
	if got := s.run(t, "", "get", id); got != clitest.OK("4\n9\n") {
		t.Errorf("got %+v", got)
	}
}

func TestSignalsThatWereIgnoredStayIgnored(t *testing.T) {
	s := newSite(t)
	out, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	c := s.start(t, out, func(cmd *exec.Cmd) {
		cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", `trap "" HUP; exec "$@"`, "sh", cmd.Path}, cmd.Args[1:]...)
	}, "map", "square", "2")
	clitest.Eventually(t, "it waits", func() bool { return strings.Contains(c.errs.String(), "distpool: job ") })
	_ = c.cmd.Process.Signal(syscall.SIGHUP)
	s.worker(t)
	if code := c.code(t); code != console.ExitOK {
		t.Errorf("exit code %d, %q", code, c.errs)
	}
}

func TestACommandThatCannotPrintFails(t *testing.T) {
	s := newSite(t)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, args := range []string{"version", "version --json", "--help", "help", "map --help", "help map", "completion bash", "jobs", "queues", "workers", "doctor"} {
		c := s.start(t, full, nil, strings.Fields(args)...)
		if code := c.code(t); code != console.ExitNoResult || !strings.Contains(c.errs.String(), "printing: ") || strings.Count(c.errs.String(), "no space left") != 1 {
			t.Errorf("%s: exit code %d, %q", args, code, c.errs)
		}
	}
}

func TestAMapReadsItsInputUntilItIsInterrupted(t *testing.T) {
	s := newSite(t)
	_, slave := terminal(t)
	c := s.start(t, nil, func(cmd *exec.Cmd) { cmd.Stdin = slave }, "map", "square")
	clitest.Eventually(t, "it reads", func() bool { return strings.Contains(c.errs.String(), "reading arguments") })
	_ = c.cmd.Process.Signal(syscall.SIGINT)
	if code := c.code(t); code != console.ExitNoResult || !strings.Contains(c.errs.String(), "interrupted while standard input was read") {
		t.Errorf("exit code %d, %q", code, c.errs)
	}
}
