package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/distpool/distpool/internal/chaos/load"
	"github.com/distpool/distpool/internal/history"
)

// place is where one process after the other runs: "w0" is the first worker's.
type place struct {
	name string
	link *link // its way to Redis; nil if it has none of its own
	spec load.Spec
	argv []string
	h    *history.Writer // the driver's
	logs string          // folder

	busy sync.Mutex // held while a fault is at work on it

	mu  sync.Mutex // guards all below
	run *child
	n   int // starts
}

// child is one process.
type child struct {
	name     string
	cmd      *exec.Cmd
	stdin    io.Closer
	ended    chan struct{}
	expected bool // it was told to end, or killed
}

// start starts the next process of the place.
func (p *place) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	spec := p.spec
	spec.Number, spec.Process = p.n, fmt.Sprintf("%s.%d", p.name, p.n)
	encoded, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(p.logs, spec.Process+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	c := &child{name: spec.Process, cmd: exec.Command(p.argv[0], p.argv[1:]...), ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), load.EnvSpec+"="+string(encoded))
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is for us
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := c.cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", spec.Process, err)
	}
	p.run = c
	go p.watch(c, log.Name())
	return nil
}

// watch waits for the end of the process, and starts the next one when it came
// unexpected: that is a violation, but the others must go on.
func (p *place) watch(c *child, log string) {
	err := c.cmd.Wait()
	p.mu.Lock()
	expected := c.expected
	p.mu.Unlock()
	if !expected {
		text, _ := os.ReadFile(log)
		p.h.Write(history.Event{What: history.Died, Text: fmt.Sprintf("%s: %v: %s", c.name, err, bytes.TrimSpace(text[max(0, len(text)-2000):]))})
	}
	close(c.ended)
	if !expected {
		_ = p.start()
	}
}

// current is the name of the running process.
func (p *place) current() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run.name
}

// signal sends sig. With end, the process is expected to end by it.
func (p *place) signal(sig syscall.Signal, end bool) *child {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.run.expected = p.run.expected || end
	_ = p.run.cmd.Process.Signal(sig) // it may be gone already: see watch
	return p.run
}

// finish tells the process to end, and kills it when it has not after a while.
func (p *place) finish(limit time.Duration) error {
	c := p.signal(syscall.SIGTERM, true)
	select {
	case <-c.ended:
		if code := c.cmd.ProcessState.ExitCode(); code != 0 {
			return fmt.Errorf("%s ended with status %d after SIGTERM", c.name, code)
		}
		return nil
	case <-time.After(limit):
		p.signal(syscall.SIGKILL, true)
		<-c.ended
		return fmt.Errorf("%s still ran %v after SIGTERM, and was killed", c.name, limit)
	}
}
