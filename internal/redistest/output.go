package redistest

import (
	"bytes"
	"regexp"
	"sync"
)

// readyLine is what a server, or a Sentinel, writes when it has begun to serve.
var readyLine = regexp.MustCompile(`[Rr]eady to accept connections|Sentinel ID is`)

// readiness is the writer for a server's output. It closes serving once the
// server says that it accepts connections.
type readiness struct {
	logs    *tail
	serving chan struct{}

	mu    sync.Mutex // guards what follows
	text  bytes.Buffer
	ready bool
}

func newReadiness(logs *tail) *readiness {
	return &readiness{logs: logs, serving: make(chan struct{})}
}

func (r *readiness) Write(p []byte) (int, error) {
	r.logs.add(p)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ready {
		r.text.Write(p)
		if readyLine.Match(r.text.Bytes()) {
			r.ready = true
			close(r.serving)
		}
	}
	return len(p), nil
}

func (r *readiness) portTaken() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Contains(r.text.Bytes(), []byte("Address already in use"))
}

// tail keeps the last 16 KiB of what it is given.
type tail struct {
	mu  sync.Mutex // guards buf
	buf []byte
}

func (t *tail) add(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - 16<<10; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
