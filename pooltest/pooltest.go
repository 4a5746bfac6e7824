package pooltest

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/tasks"
)

// New returns a pool whose calls run on a worker in this process, on an embedded
// Redis. The worker knows the tasks ts. All of it ends when t does, with jobs
// that are not over canceled; t fails if something does not start or end as it
// should.
func New(t testing.TB, ts ...tasks.Runner) *producer.Pool {
	t.Helper()
	return Start(t, ts).Pool
}

// Start is New with options.
func Start(t testing.TB, ts []tasks.Runner, opts ...Option) *Kit {
	t.Helper()
	log := &lockedBuffer{}
	k, err := Open(ts, append([]Option{Logger(slog.New(slog.NewTextHandler(log, nil)))}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Errorf("ending the pool of this test: %v", err)
		}
		if text := log.String(); t.Failed() && text != "" {
			t.Logf("pool and workers wrote:\n%s", text)
		}
	})
	return k
}

// lockedBuffer collects what several goroutines log.
type lockedBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
