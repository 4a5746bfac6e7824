package redistest

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is one running or ended server process, with its watchdog.
//
// The watchdog is a shell that waits for the end of its standard input, a pipe
// whose other end only this process holds, and then kills the server. So the
// server ends with us even if we are killed or panic. Linux's Pdeathsig would
// do it without a shell, but it strikes at the end of the thread that started
// the child, which the Go runtime may end at any time.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed after cmd.Wait returned
	err   error         // of cmd.Wait; read it after ended

	watchdog *exec.Cmd
}

func startProcess(cmd *exec.Cmd) (*process, error) {
	// An interrupt typed at the terminal must not reach the server before us:
	// the tests end first, then it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// A child of the server that writes a snapshot may keep its output open
	// after it was killed.
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	if err := p.watch(); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, fmt.Errorf("starting the watchdog: %w", err)
	}
	go func() {
		p.err = cmd.Wait()
		p.unwatch()
		close(p.ended)
	}()
	return p, nil
}

func (p *process) watch() error {
	p.watchdog = exec.Command("/bin/sh", "-c", `read line; kill -9 "$1"`, "watchdog", strconv.Itoa(p.pid()))
	p.watchdog.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if _, err := p.watchdog.StdinPipe(); err != nil {
		return err
	}
	return p.watchdog.Start()
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// state says how the process ended.
func (p *process) state() error {
	<-p.ended
	return p.err
}

func (p *process) signal(sig syscall.Signal) error {
	select {
	case <-p.ended:
		return fmt.Errorf("redis-server (process %d) has ended: %w", p.pid(), os.ErrProcessDone)
	default:
	}
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("sending %v to redis-server (process %d): %w", sig, p.pid(), err)
	}
	return nil
}

// end sends sig and waits until the process is gone.
func (p *process) end(sig syscall.Signal) error {
	_ = p.cmd.Process.Signal(sig)             // an error means that it is gone
	_ = p.cmd.Process.Signal(syscall.SIGCONT) // a paused process takes only SIGKILL
	select {
	case <-p.ended:
		return nil
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.ended
		return fmt.Errorf("redis-server (process %d) still ran %v after %v, and was killed", p.pid(), stopTimeout, sig)
	}
}

// unwatch ends the watchdog, at once after the server, so that it cannot kill
// another process to which the system gave the same ID later.
func (p *process) unwatch() {
	_ = p.watchdog.Process.Kill()
	_ = p.watchdog.Wait() // it was killed, which is an error
}

func (p *process) pause() error {
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid()))
		if err != nil {
			return nil // no /proc on this system: trust the signal
		}
		// The state is the letter after the program's name in parentheses.
		_, rest, _ := strings.Cut(string(stat), ") ")
		if strings.HasPrefix(rest, "T") || strings.HasPrefix(rest, "Z") {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
}
