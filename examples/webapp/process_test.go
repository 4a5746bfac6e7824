package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9/logging"
)

// beProgram makes this test binary the program, so that tests run its processes.
const beProgram = "DISTPOOL_TEST_BE_WEBAPP"

func TestMain(m *testing.M) {
	logging.Disable()
	if os.Getenv(beProgram) != "" {
		main()
		return
	}
	m.Run()
}

// patience bounds every wait: it is long, since other tests may have the machine.
const patience = 2 * time.Minute

// process is a running webapp.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	alive io.Closer // the process ends when this closes, if we die before it

	mu    sync.Mutex // guards out
	out   bytes.Buffer
	ended chan struct{} // closed after Wait
	err   error         // of Wait; read it after ended
}

// startProcess starts the program with the Redis of this address, or with an
// embedded one if it is empty.
func startProcess(t *testing.T, redisURL string, args ...string) *process {
	t.Helper()
	p := &process{t: t, ended: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], append(args, "-child")...)
	p.cmd.Env = append(os.Environ(), beProgram+"=1", "REDIS_URL="+redisURL)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.WaitDelay = time.Second
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.alive = stdin
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.alive.Close()
		_ = p.cmd.Process.Signal(syscall.SIGCONT) // where a test failed before it did
		select {
		case <-p.ended:
		case <-time.After(patience):
			p.kill()
			t.Error("a process did not end")
		}
		if t.Failed() {
			t.Logf("%v wrote:\n%s", args, p.text())
		}
	})
	return p
}

// Write keeps what the process writes.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

var serving = regexp.MustCompile(`webapp: (http://\S+) \(process (\d+)\)\n`)

// serves waits until the process says for the nth time that it serves, and
// returns the address and the ID of the web process.
func (p *process) serves(nth int) (url string, pid int) {
	p.t.Helper()
	until(p.t, "the web process serves", func() bool {
		select {
		case <-p.ended:
			p.t.Fatalf("the process ended: %v", p.err)
		default:
		}
		found := serving.FindAllStringSubmatch(p.text(), -1)
		if len(found) < nth {
			return false
		}
		url = found[nth-1][1]
		pid, _ = strconv.Atoi(found[nth-1][2])
		return true
	})
	return url, pid
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// pause keeps the process as it is, and resume lets it go on.
func (p *process) pause()  { p.signal(syscall.SIGSTOP) }
func (p *process) resume() { p.signal(syscall.SIGCONT) }

func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// stop is what a service manager does. The process must end well.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatal("the process does not end on SIGTERM")
	}
	if p.err != nil {
		p.t.Errorf("the process ended on SIGTERM with %v", p.err)
	}
}

func until(t *testing.T, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !met(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %v in vain: %s", patience, what)
		}
	}
}

// freeAddress is one that nobody listens on now, outside of the range from which
// outgoing connections get theirs.
func freeAddress(t *testing.T) string {
	t.Helper()
	for port := 12000 + os.Getpid()%8000; port < 30000; port++ {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}
