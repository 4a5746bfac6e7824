package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/distpool/distpool/internal/redisconn"
)

// workers is the worker processes.
type workers struct {
	ps       []*process
	stopping atomic.Bool
}

// process is one worker process.
type process struct {
	cmd    *exec.Cmd
	stdin  io.Closer // the process ends when this closes, also because we died
	stderr tail
	ended  chan struct{} // closed after Wait
	err    error         // of Wait; read it after ended
}

// startWorkers starts the processes. fail is called with the reason when one ends
// too early.
func startWorkers(command []string, url, queue string, fail context.CancelCauseFunc) (*workers, error) {
	ws := &workers{}
	for i := range processes {
		p, err := start(command, url, queue)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("starting a worker process: %w", err), ws.stop())
		}
		ws.ps = append(ws.ps, p)
		go func() {
			<-p.ended
			if !ws.stopping.Load() {
				fail(fmt.Errorf("worker process %d ended early: %w", i+1, p.report()))
			}
		}()
	}
	return ws, nil
}

func start(command []string, url, queue string) (*process, error) {
	p := &process{ended: make(chan struct{})}
	args := append(command[1:len(command):len(command)], queue)
	p.cmd = exec.Command(command[0], args...)
	// By the environment: anybody may read a command line, and the URL may have a
	// password in it.
	p.cmd.Env = append(os.Environ(), redisconn.EnvURL+"="+url)
	p.cmd.Stderr = &p.stderr
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// report says how an ended process ended, with what it left on standard error.
func (p *process) report() error {
	err := p.err
	if err == nil {
		err = errors.New("exit status 0")
	}
	if text := strings.TrimSpace(p.stderr.String()); text != "" {
		return fmt.Errorf("%w\n%s", err, text)
	}
	return err
}

// stopLimit is how long a process may take to drain before it is killed.
const stopLimit = 6 * time.Second

// stop ends the processes and waits for them.
func (ws *workers) stop() error {
	ws.stopping.Store(true)
	for _, p := range ws.ps {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		_ = p.stdin.Close()
	}
	var errs []error
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	for i, p := range ws.ps {
		select {
		case <-p.ended:
			if p.err != nil {
				errs = append(errs, fmt.Errorf("worker process %d: %w", i+1, p.report()))
			}
		case <-limit.C:
			limit.Reset(0) // the others' time is over as well
			_ = p.cmd.Process.Kill()
			<-p.ended
			errs = append(errs, fmt.Errorf("worker process %d did not drain within %v and was killed: %w", i+1, stopLimit, p.report()))
		}
	}
	return errors.Join(errs...)
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex // guards kept
	kept []byte
}

const tailBytes = 16 << 10

// Write keeps p, at the expense of what is older.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if surplus := len(t.kept) - tailBytes; surplus > 0 {
		t.kept = append(t.kept[:0], t.kept[surplus:]...)
	}
	return len(p), nil
}

// String returns what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept)
}
