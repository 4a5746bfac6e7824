package monitor

import (
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/redistest"
)

const (
	// soon is the promised bound: within it a page says that it is stale, is live again,
	// and every request is answered.
	soon = 5 * time.Second
	// tries is how often a fault is tried when something took longer. A machine that is
	// busy may hold up one of them.
	tries = 3
)

// fault is something that makes Redis unreadable.
type fault struct {
	hurt, heal func(t *testing.T)
}

func stopped(servers ...*redistest.Server) fault {
	each := func(f func(*redistest.Server) error) func(*testing.T) {
		return func(t *testing.T) {
			t.Helper()
			for _, s := range servers {
				if err := f(s); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return fault{each((*redistest.Server).Pause), each((*redistest.Server).Resume)}
}

func killed(s *redistest.Server) fault {
	return fault{
		func(t *testing.T) {
			t.Helper()
			if err := s.Kill(); err != nil {
				t.Fatal(err)
			}
		},
		func(t *testing.T) { t.Helper(); s.Restart(t) },
	}
}

func restarted(s *redistest.Server) fault {
	return fault{
		func(t *testing.T) {
			t.Helper()
			if err := s.Stop(); err != nil {
				t.Fatal(err)
			}
		},
		func(t *testing.T) { t.Helper(); s.Restart(t) },
	}
}

// slowed is a way to the address, at addr, on which each answer takes as long as
// given while it hurts.
func slowed(t *testing.T, to string, by time.Duration) (f fault, addr string) {
	t.Helper()
	var delay atomic.Int64
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	carry := func(to, from net.Conn, slow bool) {
		defer to.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			for began := time.Now(); slow && time.Since(began) < time.Duration(delay.Load()); {
				time.Sleep(10 * time.Millisecond)
			}
			if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
				return
			}
		}
	}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			go carry(far, near, false)
			go carry(near, far, true)
		}
	}()
	set := func(d time.Duration) func(*testing.T) { return func(*testing.T) { delay.Store(int64(d)) } }
	return fault{set(by), set(0)}, l.Addr().String()
}

// until is how long it takes until f holds.
func until(t *testing.T, what string, f func() bool) time.Duration {
	t.Helper()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if f() {
			return time.Since(began)
		}
		if time.Since(began) > 6*soon {
			t.Fatalf("after %v it is not so that %s", 6*soon, what)
		}
	}
}

// inTime wants nothing to take longer than is promised.
func inTime(t *testing.T, try func() []time.Duration) {
	t.Helper()
	for n := 1; ; n++ {
		took := try()
		t.Logf("took %v", took)
		if slices.Max(took) <= soon {
			return
		}
		if n == tries {
			t.Fatal("which is too long")
		}
	}
}
