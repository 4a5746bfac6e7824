package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// logBuffer collects what pools and workers write.
type logBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// testWorker is a running worker: a process, or a goroutine of this one.
type testWorker struct {
	name  string // the first part of its ID
	term  func() // SIGTERM, or the end of its context
	kill  func() // SIGKILL; for processes only
	pid   int    // of a process
	ended <-chan struct{}
	err   error // how it ended; read it after ended
}

// nameOf is the name in a worker's ID, or in what begins with one.
func nameOf(id string) string {
	name, _, _ := strings.Cut(id, ":")
	return name
}

// worker starts a worker of the case's queue and returns when it is registered.
// It is stopped when t ends.
func (e *env) worker(t *testing.T, slots int, change ...func(*workerSpec)) *testWorker {
	t.Helper()
	w := e.launch(t, slots, change...)
	eventually(t, "worker "+w.name+" is registered", func() bool {
		select {
		case <-w.ended:
			t.Fatalf("worker %s ended at once: %v", w.name, w.err)
		default:
		}
		for _, r := range e.workers(t) {
			if strings.HasPrefix(r.ID, w.name+":") {
				return true
			}
		}
		return false
	})
	return w
}

// launch is worker without the wait.
func (e *env) launch(t *testing.T, slots int, change ...func(*workerSpec)) *testWorker {
	t.Helper()
	w, err := e.tryLaunch(t, slots, change...)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// tryLaunch is launch for any goroutine, which must not end the test.
func (e *env) tryLaunch(t *testing.T, slots int, change ...func(*workerSpec)) (*testWorker, error) {
	t.Helper()
	spec := workerSpec{
		Redis: e.url, Name: fmt.Sprintf("w%d", queues.Add(1)), Queue: e.queue, Slots: slots, Grace: 20 * time.Second,
	}
	for _, f := range change {
		f(&spec)
	}
	start := e.goroutine
	if e.real {
		start = e.process
	}
	w, err := start(t, spec)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if err := w.stop(t); err != nil && !spec.Dies {
			t.Errorf("worker %s ended with %v", w.name, err)
		}
	})
	return w, nil
}

func (e *env) goroutine(_ *testing.T, spec workerSpec) (*testWorker, error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	w := &testWorker{name: spec.Name, term: cancel, ended: ended}
	go func() {
		defer close(ended)
		w.err = spec.run(ctx, e.log)
	}()
	return w, nil
}

func (e *env) process(t *testing.T, spec workerSpec) (*testWorker, error) {
	t.Helper()
	encoded, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	// The race detector would sleep for a second at the end of each worker. A race
	// that it found shows as the exit status 66.
	cmd.Env = append(os.Environ(), envWorker+"="+string(encoded), "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
	cmd.Stdout, cmd.Stderr = e.log, e.log
	// A group of its own: what is typed at the terminal is for the tests.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// The worker ends with this pipe, and so with this process.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	w := &testWorker{
		name: spec.Name, ended: ended, pid: cmd.Process.Pid,
		term: func() { _ = cmd.Process.Signal(syscall.SIGTERM) },
		kill: func() { _ = cmd.Process.Kill() },
	}
	go func() {
		defer close(ended)
		w.err = cmd.Wait()
	}()
	t.Cleanup(func() { // runs after stop; only a worker that does not stop is still there
		stdin.Close()
		<-ended
	})
	return w, nil
}

// stop ends the worker as an operator would and returns how it ended: nil is
// exit status 0.
func (w *testWorker) stop(t *testing.T) error {
	t.Helper()
	w.term()
	select {
	case <-w.ended:
		return w.err
	case <-time.After(patience):
		t.Errorf("worker %s did not end within %v of SIGTERM", w.name, patience)
		return errors.New("still running")
	}
}

// only makes a worker know just these tasks.
func only(names ...string) func(*workerSpec) {
	return func(s *workerSpec) { s.Tasks = names }
}
