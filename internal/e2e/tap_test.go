package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/job"
)

// tap is a way to Redis that watches for one script. It stops a connection right
// before the request reaches Redis, or right after Redis has answered it and before
// the client knows: the moments in which a process must be able to die.
type tap struct {
	url   string
	hit   chan struct{} // closed when the script went by; its connection stands still from then on
	once  sync.Once
	sha   []byte
	after bool
}

// asked is a Redis that is asked for a script and does not run it.
type asked struct {
	redis.UniversalClient
	sha string
}

func (a *asked) Process(_ context.Context, cmd redis.Cmder) error {
	a.sha, _ = cmd.Args()[1].(string)
	cmd.SetErr(errors.New("not run"))
	return cmd.Err()
}

// sha1Of is what the script of the record is called by.
func sha1Of(t *testing.T, name string) string {
	t.Helper()
	a := new(asked)
	switch name {
	case "finish":
		_, _ = job.Finish(t.Context(), a, "q", job.Finishing{}, nil)
	case "checkpoint":
		_, _ = job.Checkpoint(t.Context(), a, "q", "w")
	}
	if a.sha == "" {
		t.Fatalf("no script %q", name)
	}
	return a.sha
}

// newTap makes a tap for the script in front of the server on addr.
func newTap(t *testing.T, addr, script string, after bool) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	tp := &tap{url: "redis://" + l.Addr().String(), hit: make(chan struct{}), sha: []byte(sha1Of(t, script)), after: after}
	end := make(chan struct{})
	t.Cleanup(func() {
		close(end)
		l.Close()
	})
	go func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", addr)
			if err != nil {
				down.Close()
				continue
			}
			go tp.serve(down, up, end)
		}
	}()
	return tp
}

func (tp *tap) serve(down, up net.Conn, end <-chan struct{}) {
	defer down.Close()
	defer up.Close()
	var seen atomic.Bool
	over := make(chan struct{}, 2)
	go func() {
		var tail []byte // of what was read before: the name may come in two parts
		_, _ = io.Copy(up, &tapReader{Conn: down, pass: func(b []byte) (int, bool) {
			before := len(tail)
			all := append(tail, b...)
			at := bytes.Index(all, tp.sha)
			tail = slices.Clone(all[max(0, len(all)-len(tp.sha)+1):])
			if at < 0 {
				return len(b), true
			}
			seen.Store(true)
			if tp.after {
				return len(b), true
			}
			// What the same pipeline has before the script's request gets through.
			return max(0, bytes.LastIndex(all[:at], []byte("\r\n*"))+2-before), false
		}, tap: tp, end: end})
		over <- struct{}{}
	}()
	go func() {
		_, _ = io.Copy(down, &tapReader{Conn: up, pass: func(b []byte) (int, bool) {
			if seen.Load() {
				return 0, false
			}
			return len(b), true
		}, tap: tp, end: end})
		over <- struct{}{}
	}()
	<-over
}

// tapReader passes on what pass lets through, which is so many bytes; before what it
// does not it stands still, until end.
type tapReader struct {
	net.Conn
	pass  func([]byte) (n int, all bool)
	tap   *tap
	end   <-chan struct{}
	still bool
}

func (r *tapReader) Read(b []byte) (int, error) {
	if !r.still {
		n, err := r.Conn.Read(b)
		if n == 0 {
			return n, err
		}
		through, all := r.pass(b[:n])
		if all {
			return n, err
		}
		r.still = true
		if through > 0 {
			return through, nil
		}
	}
	r.tap.once.Do(func() { close(r.tap.hit) })
	<-r.end
	return 0, io.EOF
}
