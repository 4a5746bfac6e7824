package redistest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// startTimeout bounds one start. A start takes some 20 ms; a busy machine
	// and a large append-only file may take seconds.
	startTimeout = 30 * time.Second
	// stopTimeout bounds the wait for a signalled process to end.
	stopTimeout = 30 * time.Second
)

// Option changes how a server is started.
type Option func(*options)

type options struct {
	config   []string
	password string
	tls      bool
	sentinel bool
	down     time.Duration // see DownAfter
}

// Config adds lines to the server's redis.conf, such as "appendonly yes" or
// "maxmemory 8mb". They come last, so that they override the defaults.
func Config(lines ...string) Option {
	return func(o *options) { o.config = append(o.config, lines...) }
}

// Password makes the server want this password, which then is part of URL.
func Password(password string) Option {
	return func(o *options) { o.password = password }
}

// DownAfter is for StartFailover: how long a master may be silent before its replica
// takes its place. Defaults to a second, which a busy machine can keep a healthy master
// silent for.
func DownAfter(d time.Duration) Option {
	return func(o *options) { o.down = d }
}

// TLS makes the server speak TLS only, with a certificate for 127.0.0.1 and
// localhost from an authority made for it, whose certificate URL names.
func TLS() Option {
	return func(o *options) { o.tls = true }
}

// Server is a redis-server process, running or ended. Its methods may be called
// from several goroutines.
type Server struct {
	program string
	dir     string
	opts    options
	port    int

	mu   sync.Mutex // guards run and opts.config
	run  *process   // the latest process
	logs tail       // has its own lock
}

// StartProcess is Start for programs: the data folder is dir, which must exist,
// and the caller stops the server. A missing redis-server is ErrNoServer.
func StartProcess(dir string, opts ...Option) (*Server, error) {
	program, err := Find()
	if err != nil {
		return nil, err
	}
	s := &Server{program: program, dir: dir}
	for _, o := range opts {
		o(&s.opts)
	}
	if s.opts.tls {
		if err := writeCertificates(dir); err != nil {
			return nil, fmt.Errorf("making the certificates of redis-server: %w", err)
		}
	}
	// Another process may take the port between the choice and the start.
	for range 20 {
		if s.port, err = freePort(); err != nil {
			return nil, err
		}
		if err = s.start(); !errors.Is(err, errPortTaken) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Addr is the server's host:port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL names the server, with its password and CA certificate, in the form that
// all of distpool reads.
func (s *Server) URL() string {
	u := url.URL{Scheme: "redis", Host: s.Addr()}
	if s.opts.password != "" {
		u.User = url.UserPassword("", s.opts.password)
	}
	if s.opts.tls {
		u.Scheme = "rediss"
		u.RawQuery = url.Values{"ca_file": {s.CAFile()}}.Encode()
	}
	return u.String()
}

// CAFile is the PEM file with the certificate of the authority that a server
// started with TLS has its certificate from.
func (s *Server) CAFile() string { return filepath.Join(s.dir, caFile) }

// ClientCert is the PEM files of a certificate that a server started with TLS
// trusts in clients, and of its key. It asks for one only if it is configured to
// (Config("tls-auth-clients yes")).
func (s *Server) ClientCert() (cert, key string) {
	return filepath.Join(s.dir, clientCertFile), filepath.Join(s.dir, clientKeyFile)
}

// Configure adds lines to the server's redis.conf, as Config does, from its next
// start on.
func (s *Server) Configure(lines ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opts.config = append(s.opts.config, lines...)
}

// Dir is the server's data folder.
func (s *Server) Dir() string { return s.dir }

// Pid is the process ID of the latest process.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run.pid()
}

// Log returns the last lines that the server wrote, over all its processes.
func (s *Server) Log() string { return s.logs.String() }

// Kill ends the process with SIGKILL, as a crash would, and waits until it is
// gone. A process that has ended already is no error, here and in Stop.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run.end(syscall.SIGKILL)
}

// Stop ends the process with SIGTERM, also when it is paused, and waits until
// it is gone.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run.end(syscall.SIGTERM)
}

// Pause stops the process with SIGSTOP: it keeps its connections and accepts
// new ones, up to its backlog, but answers nothing. Pause returns when the
// process has come to rest.
func (s *Server) Pause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run.pause()
}

// Resume lets a paused process go on.
func (s *Server) Resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run.signal(syscall.SIGCONT)
}

// RestartProcess is Restart for programs.
func (s *Server) RestartProcess() error {
	s.mu.Lock()
	run := s.run
	s.mu.Unlock()
	if err := run.end(syscall.SIGTERM); err != nil {
		return err
	}
	// A connection of a client may hold the port for a moment.
	deadline := time.Now().Add(startTimeout)
	for {
		err := s.start()
		if !errors.Is(err, errPortTaken) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// errPortTaken means that the server could not bind its port.
var errPortTaken = errors.New("the port is taken")

// start starts a process on s.port and waits until it serves.
func (s *Server) start() error {
	conf := filepath.Join(s.dir, "redis.conf")
	if err := os.WriteFile(conf, []byte(s.config()), 0o600); err != nil {
		return fmt.Errorf("writing the configuration of redis-server: %w", err)
	}
	ready := newReadiness(&s.logs)
	cmd := exec.Command(s.program, conf)
	if s.opts.sentinel {
		cmd.Args = append(cmd.Args, "--sentinel")
	}
	cmd.Dir = s.dir
	cmd.Stdout, cmd.Stderr = ready, ready
	run, err := startProcess(cmd)
	if err != nil {
		return fmt.Errorf("starting %s: %w", s.program, err)
	}
	// The server says itself that it serves. A PING could be answered by
	// another server, which took the port first.
	select {
	case <-ready.serving:
	case <-run.ended:
		if ready.portTaken() {
			return fmt.Errorf("starting redis-server on %s: %w", s.Addr(), errPortTaken)
		}
		return fmt.Errorf("redis-server ended at once (%v); it wrote:\n%s", run.state(), s.logs.String())
	case <-time.After(startTimeout):
		return errors.Join(
			fmt.Errorf("redis-server was not ready after %v; it wrote:\n%s", startTimeout, s.logs.String()),
			run.end(syscall.SIGKILL))
	}
	s.mu.Lock()
	s.run = run
	s.mu.Unlock()
	return nil
}

func (s *Server) config() string {
	lines := []string{
		"bind 127.0.0.1",
		"daemonize no",
		"loglevel notice",
		`logfile ""`,
		"dir " + strconv.Quote(s.dir),
	}
	if !s.opts.sentinel { // which refuses lines about data
		lines = append(lines, `save ""`, "appendonly no")
	}
	if s.opts.tls {
		lines = append(lines,
			"port 0",
			"tls-port "+strconv.Itoa(s.port),
			"tls-cert-file "+strconv.Quote(filepath.Join(s.dir, certFile)),
			"tls-key-file "+strconv.Quote(filepath.Join(s.dir, keyFile)),
			"tls-ca-cert-file "+strconv.Quote(s.CAFile()),
			"tls-auth-clients no")
	} else {
		lines = append(lines, "port "+strconv.Itoa(s.port))
	}
	if s.opts.password != "" {
		lines = append(lines, "requirepass "+strconv.Quote(s.opts.password))
	}
	s.mu.Lock() // against Configure
	defer s.mu.Unlock()
	return strings.Join(append(lines, s.opts.config...), "\n") + "\n"
}

// freePort returns a port that nobody uses now, below the range from which the
// system gives ports to outgoing connections: while a server of that range is
// down, a client that keeps dialing it can be given the very port as its own,
// talk to itself, and keep the server from coming back.
func freePort() (int, error) {
	low := 32768
	if b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		if f := strings.Fields(string(b)); len(f) == 2 {
			if n, err := strconv.Atoi(f[0]); err == nil && n > 11000 {
				low = n
			}
		}
	}
	var err error
	for range 100 {
		port := 10000 + rand.IntN(low-10000)
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("finding a free port for redis-server: %w", err)
}
